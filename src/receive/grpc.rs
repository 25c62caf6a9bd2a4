//! OTLP over gRPC: the three Export methods, with a codec that hands raw messages to our own decoder.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Buf as _, BufMut as _, Bytes};
use http_body::Frame;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};

use super::admission::Admitted;
use super::answer::Failure;
use super::body::{Place, Size};
use super::credential::{Principal, bearer};
use super::decode::{Endpoint, decode};
use super::{Desk, Refusal, declared, http};
use crate::normalize::Origin;
use crate::normalize::otlp::{Encoding, OtlpSignal};
use crate::signal::Receiver;

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
        .fallback(|| async {
            tonic::Status::unimplemented("no such method").into_http::<Body>().into_response()
        })
        .with_state(Arc::clone(desk))
}

async fn export(desk: Arc<Desk>, signal: OtlpSignal, request: Request) -> Response {
    let access = desk.shared.access.load_full();
    let token = access.token(bearer(request.headers()));
    let Some(principal) = token.or_else(|| access.certified(request.extensions())) else {
        return Failure::Unauthorized.grpc().into_http::<Body>().into_response();
    };
    let held = Arc::new(Mutex::new(Vec::new()));
    let (desk_of_body, sender) = (Arc::clone(&desk), principal.clone());
    let kept = Arc::clone(&held);
    let request = request.map(|body| Weighed { body, desk: desk_of_body, sender, held: kept });
    let mut grpc = Grpc::new(RawCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .apply_max_message_size_config(Some(desk.limits.body_bytes_max), None);
    grpc.unary(Export { desk, signal, principal, held }, request).await.into_response()
}

/// A body whose frames are admitted as they come: nothing is gathered for a client that has no room.
struct Weighed {
    body: Body,
    desk: Arc<Desk>,
    sender: Principal,
    held: Arc<Mutex<Vec<Admitted>>>,
}

impl HttpBody for Weighed {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let Some(frame) = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|error| Failure::Broken(error.to_string()).grpc())?;
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let admitted = self.desk.admission.admit(&self.sender, bytes);
        let admitted = admitted.ok_or_else(|| Failure::Refused(Refusal::Overloaded).grpc())?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(admitted);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// One call.
struct Export {
    desk: Arc<Desk>,
    signal: OtlpSignal,
    principal: Principal,
    /// What the body was admitted with; given back once the message is.
    held: Arc<Mutex<Vec<Admitted>>>,
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future =
        Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, tonic::Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (desk, signal, principal) =
            (Arc::clone(&self.desk), self.signal, self.principal.clone());
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Box::pin(async move {
            let id = request
                .metadata()
                .get("idempotency-key")
                .and_then(|id| id.to_str().ok())
                .map(str::to_owned);
            let delivery = Sent { bytes: request.into_inner(), id, principal };
            let answered = take(&desk, signal, delivery).await;
            answered.map(tonic::Response::new).map_err(|failure| failure.grpc())
        })
    }
}

/// A message, its declared id, and who sent it.
struct Sent {
    bytes: Bytes,
    id: Option<String>,
    principal: Principal,
}

#[tracing::instrument(name = "receive.delivery", skip_all, fields(receiver = ?Receiver::OtlpGrpc))]
async fn take(desk: &Arc<Desk>, signal: OtlpSignal, sent: Sent) -> Result<Bytes, Failure> {
    let Sent { bytes, id, principal } = sent;
    let place = Place { desk, sender: &principal };
    let _admitted = place.admit(bytes.len())?;
    let receiver = Receiver::OtlpGrpc;
    let endpoint = Endpoint::Otlp { signal, encoding: Encoding::Protobuf, receiver };
    let origin = Origin { arrived: desk.shared.clock.now(), ..Origin::default() };
    let outcome = decode(desk, endpoint, bytes.clone(), origin).await;
    let decoded = desk.booked(receiver, &bytes, outcome).await?.normalized;
    let mut batch = decoded.batch;
    let size = Size { plain: bytes.len(), admitted: bytes.len() };
    let weight = place.admit_signals(batch.signals.len(), size)?;
    batch.declared_id = id.map(|id| declared(&principal, receiver, &id));
    desk.deliver(batch, weight).await.map_err(Failure::Refused)?;
    Ok(http::export_bytes(signal, &decoded.rejections).into())
}

/// Messages as their bytes.
#[derive(Clone, Copy, Debug, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}
