//! Plain bytes to a normalized batch, by the endpoint they came to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::admission::{Admission, Making};
use super::answer::Failure;
use super::{Desk, Refusal, hash};
use crate::normalize::allowance::Allowance;
use crate::normalize::otlp::{self, Encoding, OtlpSignal};
use crate::normalize::remote_write::{self, Version, Written};
use crate::normalize::{
    self, Normalized, Origin, Undecodable, azure_records, cloudflare, firehose, json_log,
    lambda_telemetry, pubsub, vercel, xray,
};
use crate::signal::{Fnv128, Receiver};

/// Bodies from here on are decoded off the async threads.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// What such a small one may become; one that becomes more is decoded anew as a large one.
const INLINE_MADE_MAX: usize = 4 << 20;
/// A large body may become so many times as long at once: records of 300 bytes take a kilobyte.
const GROWTH_USUAL: usize = 6;

/// Where large bodies are decoded, off the async threads.
#[derive(Debug)]
pub(super) struct Workshop {
    /// As many as there are processors: more are no sooner done.
    places: Arc<Semaphore>,
    /// Who has a place and waits for room: one at a time, so that small ones do not pass a large one for ever.
    next: Mutex<()>,
}

/// A place at work, and room for what comes of it.
type Right = (Option<OwnedSemaphorePermit>, Making);

impl Workshop {
    pub(super) fn new() -> Self {
        let places = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { places: Arc::new(Semaphore::new(places)), next: Mutex::default() }
    }

    /// The right to work and to make so much, in this order: who has room is at work, and soon done.
    async fn begin(&self, admission: &Admission, bytes: usize) -> Right {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let _next = self.next.lock().await;
        (place, admission.make(bytes).await)
    }
}

/// What a body of this length may become at first; one that becomes more is decoded anew.
fn usual(length: usize) -> usize {
    length.saturating_mul(GROWTH_USUAL).saturating_add(INLINE_MADE_MAX)
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
    /// Bytes that its batch takes, about.
    pub(super) weight: usize,
}

/// Decodes; a panic inside is our fault, so the client is asked to come again. What it becomes has a bound
/// while it is made, and is `made_max` bytes at the most.
pub(super) async fn decode(
    desk: &Arc<Desk>,
    endpoint: Endpoint,
    bytes: Bytes,
    origin: Origin,
    made_max: usize,
) -> Result<Decoded, Failure> {
    let work = Work { desk: Arc::clone(desk), endpoint, bytes, origin };
    // (Trials while memory is short were decoded elsewhere, to keep these threads free for refusals: on two
    // processors a refusal took as long as before.)
    if work.bytes.len() <= INLINE_BYTES_MAX {
        let allowance = Allowance::of(INLINE_MADE_MAX.min(made_max));
        let outcome = work.run(&allowance);
        if !(outcome.is_err() && allowance.is_used_up()) {
            return outcome;
        }
    }
    let mut bytes_max = usual(work.bytes.len()).min(made_max);
    loop {
        let right = desk.workshop.begin(&desk.admission, bytes_max).await;
        let (allowance, work) = (Allowance::of(bytes_max), work.clone());
        let made = {
            let allowance = allowance.clone();
            tokio::task::spawn_blocking(move || {
                // Held until it is done, whether anybody still waits for it or not.
                let _right = right;
                work.run(&allowance)
            })
        };
        let outcome = made.await.unwrap_or(Err(Failure::Refused(Refusal::Overloaded)));
        if !(outcome.is_err() && allowance.is_used_up()) {
            return outcome;
        }
        if bytes_max == made_max {
            let message = "what is in the body takes more than its sender may hold of a quarter of `memory_max`";
            return Err(Failure::Oversized(message));
        }
        bytes_max = made_max;
    }
}

/// A body to decode.
#[derive(Clone, Debug)]
struct Work {
    desk: Arc<Desk>,
    endpoint: Endpoint,
    bytes: Bytes,
    origin: Origin,
}

impl Work {
    fn run(&self, allowance: &Allowance) -> Result<Decoded, Failure> {
        let Self { desk, endpoint, bytes, origin } = self;
        let config = desk.shared.normalize.load();
        let body = Body { endpoint: *endpoint, bytes, bytes_max: desk.limits.body_bytes_max };
        let origin = Origin { allowance: allowance.clone(), ..origin.clone() };
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| read(body, &origin, &config)));
        match outcome {
            Ok(Ok(decoded)) => Ok(decoded),
            Ok(Err(Undecodable { message, .. })) if allowance.is_too_many() => {
                Err(Failure::TooMany(message))
            }
            Ok(Err(Undecodable { offset, message })) => {
                Err(Failure::Undecodable { offset, message })
            }
            Err(_panic) => {
                tracing::error!(event = "receive.decoder.failed", ?endpoint);
                Err(Failure::Refused(Refusal::Overloaded))
            }
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
    normalized.batch.body_hash = name(bytes, origin);
    Ok(Decoded { normalized, request_id, written, weight: origin.allowance.spent() })
}

/// Names what was said. The function that a header names says it too: the same bytes of another are no repeat.
fn name(bytes: &[u8], origin: &Origin) -> u128 {
    let body = hash(bytes);
    origin.function.as_deref().map_or(body, |function| {
        Fnv128::default().field(&body.to_be_bytes()).field(function.as_bytes()).finish()
    })
}
