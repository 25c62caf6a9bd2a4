//! Requests that somebody captured, or wrote down for a test, read as the ingest port reads them.
//!
//! Path, headers and body come in; the batch that the daemon would have put on disk goes out. No socket,
//! no token, no clock.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::credential::Principal;
use super::decode::{self, Body, Decoded, Endpoint};
use super::http::{delivery_id, endpoint_of_otlp, origin};
use super::{Limits, declared, remote_write};
use crate::normalize::inflate::{inflate, unsnap};
use crate::normalize::otlp::OtlpSignal;
use crate::normalize::{Config, Normalized};
use crate::signal::{Text, Timestamp};

/// An HTTP request to the ingest port.
#[derive(Clone, Debug, Default)]
pub struct Captured<'a> {
    /// `/ingest/json` or another of the ingest paths.
    pub path: &'a str,
    /// (name, value). Without a content type, OTLP is JSON.
    pub headers: &'a [(String, String)],
    /// Packed or plain: told by its magic number; remote write is always packed.
    pub body: &'a [u8],
}

/// Why a request could not be read; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// What the daemon would have made of a request that came at `arrived`.
///
/// # Errors
/// Where the path takes nothing, or where the daemon would have refused the body for good.
pub fn read(
    request: &Captured<'_>,
    arrived: Timestamp,
    config: &Config,
) -> Result<Normalized, Unreadable> {
    let headers = headers(request)?;
    let endpoint = endpoint(request.path, &headers)?;
    let bytes_max = Limits::default().body_bytes_max;
    let plain = match endpoint {
        Endpoint::RemoteWrite(_) => unsnap(request.body, bytes_max).map(Cow::Owned),
        _ => inflate(request.body, bytes_max),
    };
    let plain = plain.map_err(|error| Unreadable(format!("the body {error}")))?;
    let body = Body { endpoint, bytes: &plain, bytes_max };
    let Decoded { mut normalized, request_id, .. } =
        decode::read(body, &origin(arrived, endpoint, &headers), config)
            .map_err(|error| Unreadable(error.to_string()))?;
    let id = delivery_id(endpoint, &headers, request_id.as_deref());
    let nobody = Principal(Text::default());
    normalized.batch.declared_id = id.map(|id| declared(&nobody, endpoint.receiver(), &id));
    Ok(normalized)
}

fn headers(request: &Captured<'_>) -> Result<HeaderMap, Unreadable> {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers {
        let wrong = |what: &str| Unreadable(format!("`{name}: {value}` has no valid {what}"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("name"))?;
        let value = HeaderValue::from_str(value).map_err(|_| wrong("value"))?;
        headers.insert(name, value);
    }
    if request.path.starts_with("/v1/") && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(headers)
}

fn endpoint(path: &str, headers: &HeaderMap) -> Result<Endpoint, Unreadable> {
    let found = match path {
        "/v1/traces" => endpoint_of_otlp(OtlpSignal::Traces, headers),
        "/v1/logs" => endpoint_of_otlp(OtlpSignal::Logs, headers),
        "/v1/metrics" => endpoint_of_otlp(OtlpSignal::Metrics, headers),
        "/ingest/json" => Ok(Endpoint::Json),
        "/ingest/aws/firehose" => Ok(Endpoint::Firehose),
        "/ingest/aws/telemetry" => Ok(Endpoint::Telemetry),
        "/ingest/gcp/pubsub" => Ok(Endpoint::Pubsub),
        "/ingest/azure/eventhub" => Ok(Endpoint::Eventhub),
        "/ingest/aws/xray" => Ok(Endpoint::Xray),
        "/ingest/cloudflare/logpush" => Ok(Endpoint::Cloudflare),
        "/ingest/vercel" => Ok(Endpoint::Vercel),
        "/api/v1/write" => remote_write::version(headers).map(Endpoint::RemoteWrite),
        _ => {
            return Err(Unreadable(format!(
                "the ingest port has no path `{path}`; it has /ingest/json, /ingest/aws/telemetry, /ingest/aws/firehose, /ingest/aws/xray, /ingest/gcp/pubsub, /ingest/azure/eventhub, /ingest/cloudflare/logpush, /ingest/vercel, /v1/traces, /v1/logs, /v1/metrics and /api/v1/write"
            )));
        }
    };
    found.map_err(|failure| Unreadable(failure.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Receiver;

    #[test]
    fn a_captured_request_becomes_the_batch_that_the_port_makes_of_it() {
        let at = Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").expect("a time");
        let config = Config::default();
        let named = [
            ("Lambda-Function-Name".to_owned(), "fulfil".to_owned()),
            ("Idempotency-Key".to_owned(), "k".to_owned()),
        ];
        let body = br#"{"requestId":"r","level":"ERROR","message":"no"}"#;
        let json = Captured { path: "/ingest/json", headers: &named, body };
        let batch = read(&json, at, &config).expect("readable").batch;
        assert_eq!((batch.receiver, batch.arrived, batch.signals.len()), (Receiver::Json, at, 1));
        assert_eq!(batch.resources.first().and_then(|one| one.function.as_deref()), Some("fulfil"));
        assert!(batch.declared_id.is_some() && batch.body_hash != 0);

        let other = [("Lambda-Function-Name".to_owned(), "checkout".to_owned())];
        let of_other = read(&Captured { headers: &other, ..json.clone() }, at, &config);
        let hash = of_other.expect("readable").batch.body_hash;
        assert_ne!(hash, batch.body_hash, "another function's words are no repeat");

        let otlp =
            Captured { path: "/v1/traces", body: br#"{"resourceSpans":[]}"#, ..json.clone() };
        let read_otlp = read(&otlp, at, &config).expect("JSON where nothing is said");
        assert_eq!(read_otlp.batch.receiver, Receiver::OtlpHttp);

        let nowhere = Captured { path: "/ingest/xml", ..json.clone() };
        let error = read(&nowhere, at, &config).expect_err("no such path").to_string();
        assert!(error.contains("no path `/ingest/xml`; it has /ingest/json"), "{error}");
        let torn = Captured { path: "/ingest/json", body: b"{", ..json };
        assert!(read(&torn, at, &config).is_err());
    }
}
