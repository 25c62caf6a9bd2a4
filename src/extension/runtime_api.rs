//! Lambda's own APIs inside the environment: registration, events, the subscription to telemetry.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::settings::{Place, Subscription};
use crate::signal::Timestamp;

const IDENTIFIER: &str = "Lambda-Extension-Identifier";
/// Longest answer that is read for its reason, in bytes.
const REASON_BYTES_MAX: usize = 300;
/// Everything but `next` answers at once; `next` may wait for days.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{call}: {source}")]
    Unreachable { call: &'static str, source: reqwest::Error },
    #[error("{call} was answered {status}: {reason}")]
    Refused { call: &'static str, status: u16, reason: String },
    #[error("{call} was answered without {what}")]
    Incomplete { call: &'static str, what: &'static str },
}

/// The calls of one registered extension.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    client: reqwest::Client,
    root: String,
    identifier: String,
}

/// What registration tells of the function.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Function {
    pub(super) function_name: String,
    pub(super) function_version: String,
}

/// What `next` was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Invoke {
        request_id: String,
        deadline: Timestamp,
    },
    Shutdown {
        reason: String,
        deadline: Timestamp,
    },
    /// An event of a kind that we did not register for.
    Other,
}

impl RuntimeApi {
    /// Registers for SHUTDOWN, and for INVOKE where the environment has such events.
    pub(super) async fn register(place: &Place) -> Result<(Self, Function), ApiError> {
        const CALL: &str = "registering";
        let client = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            // Plain HTTP on loopback: reading the system's certificates would cost milliseconds of init.
            .tls_certs_only([])
            .build()
            .map_err(|source| ApiError::Unreachable { call: CALL, source })?;
        let events =
            if place.is_managed { json!(["SHUTDOWN"]) } else { json!(["INVOKE", "SHUTDOWN"]) };
        let root = format!("http://{}", place.runtime_api);
        let request = client
            .post(format!("{root}/2020-01-01/extension/register"))
            .header("Lambda-Extension-Name", &place.name)
            .timeout(ANSWER_MAX)
            .json(&json!({"events": events}));
        let response = answered(CALL, request).await?;
        let identifier = response.headers().get(IDENTIFIER).and_then(|id| id.to_str().ok());
        let identifier = identifier
            .ok_or(ApiError::Incomplete { call: CALL, what: "Lambda-Extension-Identifier" })?
            .to_owned();
        let function = response
            .json()
            .await
            .map_err(|_| ApiError::Incomplete { call: CALL, what: "the function's name" })?;
        Ok((Self { client, root, identifier }, function))
    }

    /// Names this environment.
    pub(super) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Subscribes to telemetry by one version of the schema, to be posted to `port`.
    pub(super) async fn subscribe(
        &self,
        wanted: &Subscription,
        schema: &str,
        port: u16,
    ) -> Result<(), ApiError> {
        let timeout = u64::try_from(wanted.timeout.as_millis()).unwrap_or(u64::MAX);
        let body = json!({
            "schemaVersion": schema,
            "types": wanted.types,
            "buffering": {
                "maxItems": wanted.n_items_max, "maxBytes": wanted.bytes_max, "timeoutMs": timeout,
            },
            "destination": {
                "protocol": "HTTP", "URI": format!("http://sandbox.localdomain:{port}/telemetry"),
            },
        });
        let request = self
            .client
            .put(format!("{}/2022-07-01/telemetry", self.root))
            .header(IDENTIFIER, &self.identifier)
            .timeout(ANSWER_MAX)
            .json(&body);
        let response = answered("subscribing to telemetry", request).await?;
        if response.status() == StatusCode::ACCEPTED {
            // Local emulation takes the call and sends nothing.
            tracing::warn!(
                event = "extension.subscription.accepted",
                "the environment accepts the subscription without telemetry (local emulation)"
            );
        }
        Ok(())
    }

    /// Says that we are done and waits for what comes next; the environment may freeze meanwhile.
    pub(super) async fn next(&self) -> Result<Event, ApiError> {
        const CALL: &str = "asking for the next event";
        let request = self
            .client
            .get(format!("{}/2020-01-01/extension/event/next", self.root))
            .header(IDENTIFIER, &self.identifier);
        let wire: WireEvent = answered(CALL, request)
            .await?
            .json()
            .await
            .map_err(|_| ApiError::Incomplete { call: CALL, what: "an event" })?;
        let deadline = Timestamp::from_millis(wire.deadline_ms);
        Ok(match wire.event_type.as_str() {
            "INVOKE" => Event::Invoke { request_id: wire.request_id, deadline },
            "SHUTDOWN" => Event::Shutdown { reason: wire.shutdown_reason, deadline },
            _ => Event::Other,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireEvent {
    event_type: String,
    deadline_ms: i64,
    request_id: String,
    shutdown_reason: String,
}

async fn answered(
    call: &'static str,
    request: reqwest::RequestBuilder,
) -> Result<Response, ApiError> {
    let response = request.send().await.map_err(|source| ApiError::Unreachable { call, source })?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let mut reason = response.text().await.unwrap_or_default();
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    Err(ApiError::Refused { call, status, reason })
}
