//! OTLP over gRPC: the three Export methods, with a codec that hands raw messages to our own decoder.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};

use super::answer::Failure;
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
    let mut grpc = Grpc::new(RawCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .apply_max_message_size_config(Some(desk.limits.body_bytes_max), None);
    grpc.unary(Export { desk, signal, principal }, request).await.into_response()
}

/// One call.
struct Export {
    desk: Arc<Desk>,
    signal: OtlpSignal,
    principal: Principal,
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<tonic::Response<Bytes>, tonic::Status>> + Send>,
    >;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (desk, signal, principal) =
            (Arc::clone(&self.desk), self.signal, self.principal.clone());
        Box::pin(async move {
            let id = request
                .metadata()
                .get("idempotency-key")
                .and_then(|id| id.to_str().ok())
                .map(str::to_owned);
            let bytes = request.into_inner();
            let answered = take(
                &desk,
                signal,
                bytes,
                id.map(|id| declared(&principal, Receiver::OtlpGrpc, &id)),
            )
            .await;
            answered.map(tonic::Response::new).map_err(|failure| failure.grpc())
        })
    }
}

#[tracing::instrument(name = "receive.delivery", skip_all, fields(receiver = ?Receiver::OtlpGrpc))]
async fn take(
    desk: &Arc<Desk>,
    signal: OtlpSignal,
    bytes: Bytes,
    declared_id: Option<u128>,
) -> Result<Bytes, Failure> {
    let _admitted =
        desk.admission.admit(bytes.len()).ok_or(Failure::Refused(Refusal::Overloaded))?;
    let receiver = Receiver::OtlpGrpc;
    let endpoint = Endpoint::Otlp { signal, encoding: Encoding::Protobuf, receiver };
    let origin = Origin { arrived: desk.shared.clock.now(), ..Origin::default() };
    let outcome = decode(desk, endpoint, bytes.clone(), origin).await;
    let decoded = desk.booked(receiver, &bytes, outcome).await?.normalized;
    let mut batch = decoded.batch;
    batch.declared_id = declared_id;
    desk.deliver(batch).await.map_err(Failure::Refused)?;
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
