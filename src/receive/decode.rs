//! Plain bytes to a normalized batch, by the endpoint they came to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::Failure;
use super::{Desk, Refusal, hash};
use crate::normalize::otlp::{self, Encoding, OtlpSignal};
use crate::normalize::remote_write::{self, Version, Written};
use crate::normalize::{
    self, Normalized, Origin, Undecodable, azure_records, cloudflare, firehose, json_log,
    lambda_telemetry, pubsub, vercel, xray,
};
use crate::signal::Receiver;

/// Bodies from here on are decoded off the async threads.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Large bodies that are decoded at once: as many as there are processors, since more are no sooner done.
/// A body of nothing but tiny records grows two-hundredfold before its signals can be weighed, to the 250,000
/// that one may hold.
pub(super) fn large_decodes_max() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Otlp { signal: OtlpSignal, encoding: Encoding, receiver: Receiver },
    Json,
    Firehose,
    Telemetry,
    RemoteWrite(Version),
    Pubsub,
    Eventhub,
    Xray,
    Cloudflare,
    Vercel,
}

impl Endpoint {
    pub(super) const fn receiver(self) -> Receiver {
        match self {
            Self::Otlp { receiver, .. } => receiver,
            Self::Json => Receiver::Json,
            Self::Firehose => Receiver::Firehose,
            Self::Telemetry => Receiver::Telemetry,
            Self::RemoteWrite(_) => Receiver::RemoteWrite,
            Self::Pubsub => Receiver::Pubsub,
            Self::Eventhub => Receiver::Eventhub,
            Self::Xray => Receiver::Xray,
            Self::Cloudflare => Receiver::Cloudflare,
            Self::Vercel => Receiver::Vercel,
        }
    }
}

/// A decoded delivery; its batch carries the hash of the body.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) normalized: Normalized,
    /// The delivery's id inside the body, where the protocol has one there.
    pub(super) request_id: Option<String>,
    /// Of remote write: what was taken.
    pub(super) written: Written,
}

/// Decodes; a panic inside is our fault, so the client is asked to come again.
pub(super) async fn decode(
    desk: &Arc<Desk>,
    endpoint: Endpoint,
    bytes: Bytes,
    origin: Origin,
) -> Result<Decoded, Failure> {
    let large = bytes.len() > INLINE_BYTES_MAX;
    let turn = if large { desk.large_decodes.acquire().await.ok() } else { None };
    let desk = Arc::clone(desk);
    let run = move || {
        let config = desk.shared.normalize.load();
        let body = Body { endpoint, bytes: &bytes, bytes_max: desk.limits.body_bytes_max };
        std::panic::catch_unwind(AssertUnwindSafe(|| read(body, &origin, &config))).map_err(drop)
    };
    let outcome =
        if large { tokio::task::spawn_blocking(run).await.unwrap_or(Err(())) } else { run() };
    drop(turn);
    match outcome {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(Undecodable { offset, message })) => Err(Failure::Undecodable { offset, message }),
        Err(()) => {
            tracing::error!(event = "receive.decoder.failed", ?endpoint);
            Err(Failure::Refused(Refusal::Overloaded))
        }
    }
}

/// Plain bytes that came to an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) bytes: &'a [u8],
    /// Of what is packed inside.
    pub(super) bytes_max: usize,
}

/// What a body says.
pub(super) fn read(
    body: Body<'_>,
    origin: &Origin,
    config: &normalize::Config,
) -> Result<Decoded, Undecodable> {
    let Body { endpoint, bytes, bytes_max } = body;
    let mut request_id = None;
    let mut written = Written::default();
    let mut normalized = match endpoint {
        Endpoint::Otlp { signal, encoding, receiver } => {
            otlp::normalize(&otlp::Body { bytes, signal, encoding, receiver }, origin, config)?
        }
        Endpoint::Json => json_log::normalize(bytes, origin, config)?,
        Endpoint::Telemetry => lambda_telemetry::normalize(bytes, origin, config)?,
        Endpoint::Firehose => {
            let delivery = firehose::normalize(bytes, origin, config, bytes_max)?;
            request_id = Some(delivery.request_id);
            delivery.normalized
        }
        Endpoint::RemoteWrite(version) => {
            let request = remote_write::normalize(bytes, version, origin, config)?;
            written = request.written;
            request.normalized
        }
        Endpoint::Eventhub => azure_records::normalize(bytes, origin, config)?,
        Endpoint::Xray => xray::normalize(bytes, origin, config)?,
        Endpoint::Cloudflare => cloudflare::normalize(bytes, origin, config)?,
        Endpoint::Vercel => vercel::normalize(bytes, origin, config)?,
        Endpoint::Pubsub => {
            let push = pubsub::normalize(bytes, origin, config, bytes_max)?;
            request_id = push.id;
            push.normalized
        }
    };
    normalized.batch.body_hash = hash(bytes);
    Ok(Decoded { normalized, request_id, written })
}
