//! Prometheus remote write: which version a sender speaks, and how it is answered.
//!
//! In: headers; what a request became. Out: a version, 204 or 400, and the headers that say how much was
//! written, which version 2.0 demands. Never is a rejected sample hidden behind a success: a sender that
//! is not told would count it as stored. One exception, which Prometheus does not make: a sample that
//! contradicts one that is held is known only once it is applied, after the answer; the lesser encoding
//! stands, whichever came first, and the ledger has a `conflict`.
//! Source: prometheus.io/docs/specs/prw/remote_write_spec_2_0, "Required `Written` Response Headers".

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer::Failure;
use super::http::reasons;
use crate::normalize::Rejection;
use crate::normalize::remote_write::{Version, Written};

/// By the content type's `proto`; without one it is 1.0, as it was before there was a choice.
pub(super) fn version(headers: &HeaderMap) -> Result<Version, Failure> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(Version::V1) };
    let given = given.to_str().unwrap_or("?");
    let mut parts = given.split(';').map(str::trim);
    let is_protobuf = parts.next().is_some_and(|kind| {
        ["application/x-protobuf", "application/protobuf"]
            .iter()
            .any(|known| kind.eq_ignore_ascii_case(known))
    });
    let proto = parts.find_map(|part| part.strip_prefix("proto="));
    match proto.map(|proto| proto.trim_matches('"')) {
        _ if !is_protobuf => Err(Failure::ContentType(given.to_owned())),
        None | Some("prometheus.WriteRequest") => Ok(Version::V1),
        Some("io.prometheus.write.v2.Request") => Ok(Version::V2),
        Some(_) => Err(Failure::ContentType(given.to_owned())),
    }
}

/// 204, or 400 where some of it was rejected: what was good is stored all the same.
pub(super) fn success(written: Written, rejections: &[Rejection]) -> Response {
    let mut response = if rejections.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let message =
            format!("{} samples were rejected: {}", rejections.len(), reasons(rejections));
        (StatusCode::BAD_REQUEST, message).into_response()
    };
    tell(written, &mut response);
    response
}

/// Sets the headers that say how much was written.
pub(super) fn tell(written: Written, response: &mut Response) {
    for (name, n) in [
        ("x-prometheus-remote-write-samples-written", written.samples),
        ("x-prometheus-remote-write-histograms-written", written.histograms),
        ("x-prometheus-remote-write-exemplars-written", written.exemplars),
    ] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(n));
    }
}
