//! The local OTLP endpoint. Bodies are not decoded: what an SDK exports goes on as it is.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};

use super::local::read;
use super::shared::Shared;
use super::spill::{JSON, Kind, PROTOBUF};

const TRACES: &str = "v1/traces";
const LOGS: &str = "v1/logs";
const METRICS: &str = "v1/metrics";

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let http = |path: &'static str| post(move |shared, request| export(path, shared, request));
    let grpc = |path: &'static str| post(move |shared, request| call(path, shared, request));
    Router::new()
        .route("/v1/traces", http(TRACES))
        .route("/v1/logs", http(LOGS))
        .route("/v1/metrics", http(METRICS))
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", grpc(TRACES))
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", grpc(LOGS))
        .route("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", grpc(METRICS))
        .with_state(shared)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// OTLP over HTTP.
async fn export(
    path: &'static str,
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let kind = text(&parts.headers, header::CONTENT_TYPE).unwrap_or_default();
    let content_type = match kind.split(';').next().unwrap_or_default().trim() {
        PROTOBUF | "application/protobuf" => PROTOBUF,
        JSON => JSON,
        _ => return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
    };
    let encoding = text(&parts.headers, header::CONTENT_ENCODING)
        .filter(|encoding| *encoding != "identity")
        .map(str::to_owned);
    let body = match read(body).await {
        Ok(body) => body,
        Err(status) => return status.into_response(),
    };
    if !offered(&shared, Kind { path, content_type, encoding }, body) {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response();
    }
    // An empty message, in either encoding.
    let answer = if content_type == JSON { "{}" } else { "" };
    ([(header::CONTENT_TYPE, content_type)], answer).into_response()
}

fn offered(shared: &Shared, kind: Kind, body: Bytes) -> bool {
    // An empty export tells nothing.
    let taken = body.is_empty() || shared.spill().offer_otlp(kind, body);
    shared.arrived(Vec::new());
    taken
}

/// One unary gRPC call: five bytes (packed or not, length) and the message; the answer is an empty
/// message and a status in the trailers.
async fn call(path: &'static str, State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let encoding = parts.headers.get("grpc-encoding").and_then(|value| value.to_str().ok());
    let encoding = encoding.filter(|name| *name != "identity").map(str::to_owned);
    let Ok(framed) = read(body).await else {
        return status(8, "the message is too large");
    };
    let Some((is_packed, message)) = unframed(&framed) else {
        return status(13, "the message is cut short");
    };
    let encoding = match (is_packed, encoding) {
        (true, Some(name)) if matches!(&*name, "gzip" | "zstd" | "deflate") => Some(name),
        (true, _) => return status(12, "the message is packed in a way that is not known here"),
        (false, _) => None,
    };
    if !offered(&shared, Kind { path, content_type: PROTOBUF, encoding }, message) {
        return status(14, "the extension's memory is full; try again");
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(&[0; 5]))
        .with_trailers(async move { Some(Ok::<_, std::convert::Infallible>(trailers)) });
    ([(header::CONTENT_TYPE, "application/grpc")], Body::new(body)).into_response()
}

fn unframed(framed: &Bytes) -> Option<(bool, Bytes)> {
    let (head, rest) = framed.split_first_chunk::<5>()?;
    let [packed, length @ ..] = *head;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    (rest.len() == length).then(|| (packed == 1, framed.slice(5..)))
}

/// An answer without a message ("Trailers-Only").
fn status(code: u8, message: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
        (header::HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(code))),
        (header::HeaderName::from_static("grpc-message"), HeaderValue::from_static(message)),
    ];
    headers.into_response()
}
