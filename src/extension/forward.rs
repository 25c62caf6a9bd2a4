//! Batches to the destination, one at a time: with their key, with pauses after failures.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use tokio::time::Instant;

use super::settings::Destination;
use super::shared::{Hurry, Progress, Shared};
use super::spill::Batch;

/// How long a batch may grow where nobody waits for it.
const LINGER: Duration = Duration::from_millis(250);
/// A batch of this size is sent without lingering.
const DUE_BYTES: usize = 256 << 10;
/// The pause after the first failure; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Also while the environment is frozen no pause is longer for long: it thaws with an invocation.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A longer `Retry-After` is cut: the environment may not live so long.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// The pause while the environment ends.
const LAST_PAUSE: Duration = Duration::from_millis(50);
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// What became of an attempt.
enum Sent {
    Delivered,
    /// Bad for good: sending it again would be answered alike.
    Rejected(String),
    Later {
        reason: String,
        after: Duration,
    },
}

struct Lane {
    destination: Destination,
    function: String,
    /// Made at the first attempt: reading the system's certificates has no place in an init.
    client: Option<reqwest::Client>,
    pause: Duration,
    is_troubled: bool,
}

/// Sends for as long as the environment lives.
pub(super) async fn forward(destination: Destination, function: String, shared: Arc<Shared>) {
    let mut lane =
        Lane { destination, function, client: None, pause: PAUSE_MIN, is_troubled: false };
    loop {
        linger(&shared).await;
        let Some(batch) = shared.next() else { continue };
        match lane.send(&batch).await {
            Sent::Delivered => {
                shared.spill().delivered();
                lane.recovered();
                shared.progress(Progress::Working);
            }
            Sent::Rejected(reason) => {
                shared.spill().rejected();
                tracing::error!(
                    event = "extension.batch.rejected", path = batch.kind.path, %reason
                );
                shared.progress(Progress::Working);
            }
            Sent::Later { reason, after } => {
                lane.failed(&reason);
                shared.progress(Progress::Resting);
                rest(&shared, after.max(lane.pause)).await;
                shared.progress(Progress::Working);
                lane.pause = (lane.pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Waits until something waits, and a little longer where nobody is in a hurry.
async fn linger(shared: &Shared) {
    while shared.spill().is_empty() {
        shared.woken().await;
    }
    let until = Instant::now() + LINGER;
    while shared.hurried() == Hurry::None && shared.spill().bytes() < DUE_BYTES {
        tokio::select! {
            () = tokio::time::sleep_until(until) => return,
            () = shared.woken() => {}
        }
    }
}

async fn rest(shared: &Shared, pause: Duration) {
    let began = Instant::now();
    loop {
        let pause = if shared.hurried() == Hurry::Last { LAST_PAUSE } else { pause };
        tokio::select! {
            () = tokio::time::sleep_until(began + pause) => return,
            () = shared.woken() => {}
        }
    }
}

impl Lane {
    async fn send(&mut self, batch: &Batch) -> Sent {
        let later = |reason: String| Sent::Later { reason, after: Duration::ZERO };
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return later(format!("no client can be made: {error}")),
        };
        let url = match self.destination.url.join(batch.kind.path) {
            Ok(url) => url,
            Err(error) => return Sent::Rejected(error.to_string()),
        };
        let mut request = client
            .post(url)
            .timeout(self.destination.answer_max)
            .header(CONTENT_TYPE, batch.kind.content_type)
            .header("Idempotency-Key", &batch.key)
            .header("Lambda-Function-Name", &self.function)
            .body(batch.body.clone());
        if let Some(encoding) = &batch.kind.encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        if let Some(token) = &self.destination.token {
            request = request.bearer_auth(token);
        }
        match request.send().await {
            Ok(response) => judged(&response),
            // The address may hold a secret; the kind of trouble does not.
            Err(error) => later(cause(&error.without_url())),
        }
    }

    fn client(&mut self) -> Result<reqwest::Client, reqwest::Error> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            // One lane, one connection.
            .pool_max_idle_per_host(1)
            .user_agent(concat!("throughline-extension/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &self.destination.ca {
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(ca)?);
        } else if self.destination.url.scheme() == "http" {
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build()?;
        Ok(self.client.insert(client).clone())
    }

    fn failed(&mut self, reason: &str) {
        if !self.is_troubled {
            tracing::warn!(event = "extension.destination.failed", reason);
        }
        self.is_troubled = true;
    }

    fn recovered(&mut self) {
        if self.is_troubled {
            tracing::info!(event = "extension.destination.recovered");
        }
        self.is_troubled = false;
        self.pause = PAUSE_MIN;
    }
}

fn judged(response: &reqwest::Response) -> Sent {
    let status = response.status();
    if status.is_success() {
        return Sent::Delivered;
    }
    let reason = format!("answered {status}");
    match status {
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Sent::Rejected(reason),
        // A wrong token or path is mended by people: the batch waits as long as there is room.
        _ => {
            let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
            let after = after.and_then(|seconds| seconds.trim().parse().ok());
            let after = after.map_or(Duration::ZERO, Duration::from_secs);
            Sent::Later { reason, after: after.min(RETRY_AFTER_MAX) }
        }
    }
}

/// An error with what is behind it.
fn cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        text = format!("{text}: {error}");
        inner = error.source();
    }
    text
}
