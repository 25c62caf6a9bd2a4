//! OTLP over gRPC: the three Export methods, read and answered by hand ("gRPC over HTTP2", Requests and
//! Responses), so that a message is admitted and unpacked as every other body is.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};

use super::admission::Sender;
use super::answer::Failure;
use super::body::{Held, Packing, Place, gather};
use super::credential::Principal;
use super::decode::{Decoded, Endpoint, decode};
use super::{Desk, declared, http};
use crate::listen::token;
use crate::normalize::Origin;
use crate::normalize::otlp::{Encoding, OtlpSignal};
use crate::number::{u32_from_usize, usize_from_u32};
use crate::signal::Receiver;

/// Before each message: whether it is packed, and its length.
const PREFIX_BYTES: usize = 5;
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const ENCODING: &str = "grpc-encoding";
const KIND: HeaderValue = HeaderValue::from_static("application/grpc");

pub(super) fn router(desk: &Arc<Desk>) -> Router {
    let method = |path: &str, signal| {
        let path = format!("/opentelemetry.proto.collector.{path}/Export");
        let export =
            move |State(desk): State<Arc<Desk>>, request: Request| export(desk, signal, request);
        (path, post(export))
    };
    let mut router = Router::new();
    for (path, export) in [
        method("trace.v1.TraceService", OtlpSignal::Traces),
        method("logs.v1.LogsService", OtlpSignal::Logs),
        method("metrics.v1.MetricsService", OtlpSignal::Metrics),
    ] {
        router = router.route(&path, export);
    }
    router
        .fallback(|| async { failed(tonic::Status::unimplemented("no such method")) })
        .with_state(Arc::clone(desk))
}

fn failed(status: tonic::Status) -> Response {
    status.into_http::<Body>().into_response()
}

#[tracing::instrument(name = "receive.delivery", skip_all, fields(receiver = ?Receiver::OtlpGrpc))]
async fn export(desk: Arc<Desk>, signal: OtlpSignal, request: Request) -> Response {
    let access = desk.shared.access.load_full();
    let (parts, body) = request.into_parts();
    let secret = token(&parts.headers);
    let principal = match access.known(secret.as_deref(), Receiver::OtlpGrpc, &parts.extensions) {
        Ok(principal) => principal,
        Err(failure) => return failed(told(&desk, &failure)),
    };
    let Some(packing) = packing(&parts.headers) else { return unknown_encoding() };
    let sender = principal.sender(&parts.extensions);
    let call = Call { signal, packing, headers: parts.headers, principal, sender };
    match take(&desk, &call, body).await {
        Ok(message) => success(&message),
        Err(failure) => failed(told(&desk, &failure)),
    }
}

/// The status of a call that did not succeed; it is counted.
fn told(desk: &Desk, failure: &Failure) -> tonic::Status {
    desk.shared.errors.count(failure.code());
    failure.grpc()
}

/// One call, but for its body.
struct Call {
    signal: OtlpSignal,
    /// Of a message that says that it is packed.
    packing: Packing,
    headers: HeaderMap,
    principal: Principal,
    sender: Sender,
}

/// None where the name is not known.
fn packing(headers: &HeaderMap) -> Option<Packing> {
    let Some(name) = headers.get(ENCODING) else { return Some(Packing::Plain) };
    match name.as_bytes() {
        b"identity" => Some(Packing::Plain),
        b"gzip" | b"zstd" | b"deflate" => Some(Packing::Stream),
        _ => None,
    }
}

/// A client that hears of what is taken sends that from then on ("Compression", section 3).
fn unknown_encoding() -> Response {
    let mut response = failed(tonic::Status::unimplemented("this grpc-encoding is not known"));
    let taken = HeaderValue::from_static("identity,gzip,zstd,deflate");
    response.headers_mut().insert("grpc-accept-encoding", taken);
    response
}

async fn take(desk: &Arc<Desk>, call: &Call, body: Body) -> Result<Bytes, Failure> {
    desk.shared.room.enter().map_err(Failure::Refused)?;
    let place = Place { desk, sender: &call.sender };
    let raw = message(gather(place, body, 0).await?, call.packing)?;
    let _trial = desk.shared.room.trial().map_err(Failure::Refused)?;
    let receiver = Receiver::OtlpGrpc;
    let held = desk.booked(receiver, &raw.bytes, raw.unpack(place).await).await?;
    let endpoint = Endpoint::Otlp { signal: call.signal, encoding: Encoding::Protobuf, receiver };
    let origin = Origin { arrived: desk.shared.clock.now(), ..Origin::default() };
    let made_max = place.made_bytes_max(raw.admitted_with(&held));
    let outcome = decode(desk, endpoint, held.bytes.clone(), origin, made_max).await;
    let Decoded { normalized, weight, .. } = desk.booked(receiver, &held.bytes, outcome).await?;
    let mut batch = normalized.batch;
    let weight = place.admit_made(weight)?;
    let id = http::id_in(&call.headers, http::IDEMPOTENCY_KEY);
    batch.declared_id = id.map(|id| declared(&call.principal, receiver, &id));
    desk.deliver(batch, weight).await?;
    Ok(http::export_bytes(call.signal, &normalized.rejections).into())
}

/// The one message of a call.
fn message(held: Held, packing: Packing) -> Result<Held, Failure> {
    let Some((prefix, message)) = held.bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Failure::Broken("the call ended before its message".to_owned()));
    };
    let [flag, length @ ..] = *prefix;
    let length = usize_from_u32(u32::from_be_bytes(length));
    if message.len() < length {
        return Err(Failure::Broken("the call ended in the middle of its message".to_owned()));
    }
    let wrong = |message: &str| Failure::Undecodable { offset: 0, message: message.to_owned() };
    if message.len() > length {
        return Err(wrong("a call has one message"));
    }
    let packing = match flag {
        0 => Packing::Plain,
        // An empty message may be said to be packed.
        1 if length == 0 => Packing::Plain,
        1 if packing == Packing::Stream => packing,
        1 => return Err(wrong("the message is packed and `grpc-encoding` does not say how")),
        _ => return Err(wrong("the message is neither plain nor packed")),
    };
    let bytes = held.bytes.slice(PREFIX_BYTES..);
    Ok(held.with(bytes, packing))
}

fn success(message: &Bytes) -> Response {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32_from_usize(message.len()));
    framed.put_slice(message);
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let trailers = std::future::ready(Some(Ok::<_, Infallible>(trailers)));
    let body = Full::new(framed.freeze()).with_trailers(trailers);
    ([(header::CONTENT_TYPE, KIND)], Body::new(body)).into_response()
}
