//! Everything that comes by HTTP: routes, headers, answers of success.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use opentelemetry_proto::tonic::collector::{logs, metrics, trace};
use prost::Message as _;
use serde_json::json;

use super::answer::{Failure, protobuf};
use super::body::Packing;
use super::decode::{Decoded, Endpoint, decode};
use super::pubsub_oidc::Denied;
use super::{Desk, Refusal, body, declared, remote_write};
use crate::listen::token;
use crate::normalize::otlp::{Encoding, OtlpSignal};
use crate::normalize::remote_write::{Version, Written};
use crate::normalize::{Origin, Rejection};
use crate::signal::{Receiver, Timestamp};

/// Rejections that an answer names; the rest is in their number.
const ERRORS_MAX: usize = 100;
/// Names a delivery where its protocol has nothing of its own for it.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/logs", post(logs))
        .route("/v1/metrics", post(metrics))
        .route("/ingest/json", post(json_logs))
        .route("/ingest/aws/firehose", post(firehose))
        .route("/ingest/aws/telemetry", post(telemetry))
        .route("/api/v1/write", post(write))
        .route("/ingest/gcp/pubsub", post(pubsub))
        .route("/ingest/azure/eventhub", post(eventhub))
        .route("/ingest/aws/xray", post(xray))
        .route("/ingest/cloudflare/logpush", post(cloudflare))
        .route("/ingest/vercel", post(vercel).get(vercel_handshake))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(desk)
}

async fn unknown_path(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let unknown = || plain(StatusCode::NOT_FOUND, "not_found", "no such path");
    to_stranger(&desk, Endpoint::Json, &request).unwrap_or_else(unknown)
}

async fn wrong_method(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (status, message) = (StatusCode::METHOD_NOT_ALLOWED, "this path takes POST");
    let wrong = || plain(status, "method_not_allowed", message);
    to_stranger(&desk, Endpoint::Json, &request).unwrap_or_else(wrong)
}

/// What is answered to who has no credential where one is needed, before anything else is told.
fn to_stranger(desk: &Desk, endpoint: Endpoint, request: &Request) -> Option<Response> {
    let access = desk.shared.access.load();
    let secret = token(request.headers());
    let known = access.known(secret.as_deref(), endpoint.receiver(), request.extensions());
    let failure = known.err().filter(|failure| *failure == Failure::Unauthorized)?;
    Some(failed(desk, &failure, endpoint, ""))
}

pub(super) fn plain(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

async fn traces(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    otlp(desk, OtlpSignal::Traces, request).await
}

async fn logs(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    otlp(desk, OtlpSignal::Logs, request).await
}

async fn metrics(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    otlp(desk, OtlpSignal::Metrics, request).await
}

async fn json_logs(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    take(desk, Endpoint::Json, request).await
}

async fn firehose(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    take(desk, Endpoint::Firehose, request).await
}

async fn telemetry(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    take(desk, Endpoint::Telemetry, request).await
}

async fn write(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    match remote_write::version(request.headers()) {
        Ok(version) => take(desk, Endpoint::RemoteWrite(version), request).await,
        Err(failure) => {
            let endpoint = Endpoint::RemoteWrite(Version::V1);
            let wrong = || failed(&desk, &failure, endpoint, "");
            to_stranger(&desk, endpoint, &request).unwrap_or_else(wrong)
        }
    }
}

async fn pubsub(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    take(desk, Endpoint::Pubsub, request).await
}

async fn eventhub(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    take(desk, Endpoint::Eventhub, request).await
}

async fn xray(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    take(desk, Endpoint::Xray, request).await
}

async fn cloudflare(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    take(desk, Endpoint::Cloudflare, request).await
}

async fn vercel(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let code = desk.shared.access.load().vercel_code();
    verified(code, take(desk, Endpoint::Vercel, request).await)
}

/// A drain is set up only where its address answers with the code that Vercel gave for it. The code
/// proves whose address it is and lets nobody in.
async fn vercel_handshake(State(desk): State<Arc<Desk>>) -> Response {
    verified(desk.shared.access.load().vercel_code(), Json(json!({})).into_response())
}

fn verified(code: Option<HeaderValue>, mut response: Response) -> Response {
    if let Some(code) = code {
        response.headers_mut().insert("x-vercel-verify", code);
    }
    response
}

async fn otlp(desk: Arc<Desk>, signal: OtlpSignal, request: Request) -> Response {
    match endpoint_of_otlp(signal, request.headers()) {
        Ok(endpoint) => take(desk, endpoint, request).await,
        Err(failure) => {
            let (encoding, receiver) = (Encoding::Json, Receiver::OtlpHttp);
            let endpoint = Endpoint::Otlp { signal, encoding, receiver };
            let wrong = || failed(&desk, &failure, endpoint, "");
            to_stranger(&desk, endpoint, &request).unwrap_or_else(wrong)
        }
    }
}

pub(super) fn endpoint_of_otlp(
    signal: OtlpSignal,
    headers: &HeaderMap,
) -> Result<Endpoint, Failure> {
    let kind = text(headers, header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let encoding = match kind.as_str() {
        "application/x-protobuf" | "application/protobuf" => Encoding::Protobuf,
        "application/json" => Encoding::Json,
        _ => return Err(Failure::ContentType(kind)),
    };
    Ok(Endpoint::Otlp { signal, encoding, receiver: Receiver::OtlpHttp })
}

fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The whole way of one delivery: token, body, decoding, disk, answer.
#[tracing::instrument(name = "receive.delivery", skip_all, fields(receiver = ?endpoint.receiver()))]
async fn take(desk: Arc<Desk>, endpoint: Endpoint, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header_id =
        text(&parts.headers, "x-amz-firehose-request-id").unwrap_or_default().to_owned();
    match delivered(&desk, endpoint, &parts, body).await {
        Ok(delivered) => success(&desk, endpoint, delivered),
        Err(failure) => failed(&desk, &failure, endpoint, &header_id),
    }
}

/// The answer to a delivery that did not succeed; it is counted.
fn failed(desk: &Desk, failure: &Failure, endpoint: Endpoint, request_id: &str) -> Response {
    desk.shared.errors.count(failure.code());
    failure.http(endpoint, request_id, desk.shared.clock.now())
}

/// What an answer of success tells.
struct Delivered {
    accepted: usize,
    rejections: Vec<Rejection>,
    request_id: Option<String>,
    written: Written,
}

async fn delivered(
    desk: &Arc<Desk>,
    endpoint: Endpoint,
    parts: &Parts,
    body: axum::body::Body,
) -> Result<Delivered, Failure> {
    let (headers, now) = (&parts.headers, desk.shared.clock.now());
    let access = desk.shared.access.load_full();
    let claim = match access.claim(endpoint, parts, now) {
        Err(Failure::Unauthorized) => {
            access.pushed(endpoint, headers, now).await.map_err(|denied| match denied {
                Denied::Unproven => Failure::Unauthorized,
                Denied::Later => Failure::Refused(desk.shared.room.refused(Refusal::Keys)),
            })?
        }
        other => other?,
    };
    let unsaid = match endpoint {
        // Remote write 1.0 has one encoding, and senders of old do not name it.
        Endpoint::RemoteWrite(_) => Packing::Snappy,
        _ => Packing::Plain,
    };
    desk.shared.room.enter().map_err(Failure::Refused)?;
    let sender = claim.sender(&parts.extensions);
    let place = body::Place { desk, sender: &sender };
    let raw = body::read(place, headers, body, unsaid).await?;
    let signed_id = claim.id();
    let principal = access.prove(claim, &raw.bytes).ok_or(Failure::Unauthorized)?;
    let sender = principal.sender(&parts.extensions);
    let place = body::Place { desk, sender: &sender };
    let raw = raw.proven(place)?;
    let _trial = desk.shared.room.trial().map_err(Failure::Refused)?;
    let receiver = endpoint.receiver();
    let held = desk.booked(receiver, &raw.bytes, raw.unpack(place).await).await?;
    let origin = origin(desk.shared.clock.now(), endpoint, headers);
    let made_max = place.made_bytes_max(raw.admitted_with(&held));
    let outcome = decode(desk, endpoint, held.bytes.clone(), origin, made_max).await;
    let decoded = desk.booked(receiver, &held.bytes, outcome).await?;
    let Decoded { normalized, request_id, written, weight } = decoded;
    let mut batch = normalized.batch;
    let id = signed_id
        .filter(|id| !id.is_empty())
        .or_else(|| delivery_id(endpoint, headers, request_id.as_deref()));
    batch.declared_id = id.map(|id| declared(&principal, receiver, &id));
    let accepted = batch.signals.len();
    let weight = place.admit_made(weight)?;
    desk.deliver(batch, weight).await?;
    Ok(Delivered { accepted, rejections: normalized.rejections, request_id, written })
}

/// What names a delivery, by its headers or (`request_id`) by its body.
pub(super) fn delivery_id(
    endpoint: Endpoint,
    headers: &HeaderMap,
    request_id: Option<&str>,
) -> Option<String> {
    match endpoint {
        Endpoint::Firehose => {
            let source = text(headers, "x-amz-firehose-source-arn").unwrap_or_default();
            let of_body = request_id.filter(|id| !id.is_empty()).map(str::to_owned);
            let id = id_in(headers, "x-amz-firehose-request-id").or(of_body)?;
            Some(format!("{source} {id}"))
        }
        Endpoint::Pubsub => request_id.map(str::to_owned).or_else(|| unwrapped_id(headers)),
        _ => id_in(headers, IDEMPOTENCY_KEY),
    }
}

/// The id that a header tells, whatever bytes it has. An empty one names nothing: every delivery would be the
/// repeat of the first.
pub(super) fn id_in(headers: &HeaderMap, name: &str) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes().trim_ascii();
    (!bytes.is_empty()).then(|| bytes.iter().copied().map(char::from).collect())
}

/// The id of a Pub/Sub message that was pushed without its envelope (`--push-no-wrapper-write-metadata`).
fn unwrapped_id(headers: &HeaderMap) -> Option<String> {
    let subscription = text(headers, "x-goog-pubsub-subscription-name").unwrap_or_default();
    id_in(headers, "x-goog-pubsub-message-id").map(|id| format!("{subscription} {id}"))
}

pub(super) fn origin(arrived: Timestamp, endpoint: Endpoint, headers: &HeaderMap) -> Origin {
    let common = text(headers, "x-amz-firehose-common-attributes")
        .filter(|_| endpoint == Endpoint::Firehose);
    let common = common.and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
    let pairs = common
        .as_ref()
        .and_then(|value| value["commonAttributes"].as_object())
        .into_iter()
        .flatten();
    Origin {
        arrived,
        function: text(headers, "lambda-function-name").map(str::to_owned),
        attributes: pairs
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        ..Origin::default()
    }
}

fn success(desk: &Desk, endpoint: Endpoint, delivered: Delivered) -> Response {
    let Delivered { accepted, rejections, request_id, written } = delivered;
    match endpoint {
        Endpoint::Otlp { signal, encoding, .. } => export_response(signal, encoding, &rejections),
        Endpoint::Json
        | Endpoint::Eventhub
        | Endpoint::Xray
        | Endpoint::Cloudflare
        | Endpoint::Vercel => {
            let errors: Vec<&Rejection> = rejections.iter().take(ERRORS_MAX).collect();
            Json(json!({"accepted": accepted, "rejected": rejections.len(), "errors": errors})).into_response()
        }
        Endpoint::Firehose => {
            Json(json!({"requestId": request_id.unwrap_or_default(), "timestamp": desk.shared.clock.now().as_millis()})).into_response()
        }
        Endpoint::RemoteWrite(_) => remote_write::success(written, &rejections),
        Endpoint::Telemetry | Endpoint::Pubsub => Json(json!({})).into_response(),
    }
}

/// The first reasons and the number, for `partial_success.error_message`.
pub(super) fn reasons(rejections: &[Rejection]) -> String {
    let shown: Vec<String> = rejections
        .iter()
        .take(5)
        .map(|rejection| format!("{}: {}", rejection.index, rejection.message))
        .collect();
    shown.join("; ")
}

fn export_response(signal: OtlpSignal, encoding: Encoding, rejections: &[Rejection]) -> Response {
    if encoding == Encoding::Json {
        let name = match signal {
            OtlpSignal::Traces => "rejectedSpans",
            OtlpSignal::Logs => "rejectedLogRecords",
            OtlpSignal::Metrics => "rejectedDataPoints",
        };
        if rejections.is_empty() {
            return Json(json!({})).into_response();
        }
        return Json(json!({"partialSuccess": {name: rejections.len().to_string(), "errorMessage": reasons(rejections)}})).into_response();
    }
    protobuf(export_bytes(signal, rejections))
}

/// The encoded `Export…ServiceResponse`.
pub(super) fn export_bytes(signal: OtlpSignal, rejections: &[Rejection]) -> Vec<u8> {
    let rejected = i64::try_from(rejections.len()).unwrap_or(i64::MAX);
    let error_message = reasons(rejections);
    let some = rejected > 0;
    match signal {
        OtlpSignal::Traces => {
            let partial_success = some.then_some(trace::v1::ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message,
            });
            trace::v1::ExportTraceServiceResponse { partial_success }.encode_to_vec()
        }
        OtlpSignal::Logs => {
            let partial_success = some.then_some(logs::v1::ExportLogsPartialSuccess {
                rejected_log_records: rejected,
                error_message,
            });
            logs::v1::ExportLogsServiceResponse { partial_success }.encode_to_vec()
        }
        OtlpSignal::Metrics => {
            let partial_success = some.then_some(metrics::v1::ExportMetricsPartialSuccess {
                rejected_data_points: rejected,
                error_message,
            });
            metrics::v1::ExportMetricsServiceResponse { partial_success }.encode_to_vec()
        }
    }
}
