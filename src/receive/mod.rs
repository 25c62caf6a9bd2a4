//! Receive: sockets to deliveries.
//!
//! What comes in: connections on two listeners, OTLP over gRPC and everything over HTTP. What goes out:
//! [`Delivery`]s, each with a way to answer; the client hears of success only when the answer says that
//! the batch is on disk. Never is a body read before its token and its size are admitted, never is a
//! transient trouble answered with a status that forbids a retry (OTLP specification, "Failures").

mod admission;
mod answer;
mod body;
pub mod captured;
mod credential;
mod decode;
mod grpc;
mod http;
pub mod pubsub_oidc;
pub mod reach;
mod remote_write;
pub mod room;
pub mod signature;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::listen::origin::{Hosts, is_foreign};
use crate::listen::tally::Tally;
use crate::listen::{BindError, Door, Listening};
use crate::normalize;
use crate::signal::{Batch, Fnv128, Receiver, SecretHash, Text};
use admission::Admission;
use answer::Failure;
use credential::Principal;
use decode::Workshop;
use pubsub_oidc::PubsubOidc;
use reach::Reach;
use room::Room;
use signature::Signer;

/// Where to listen and whom to let in.
#[derive(Clone, Debug)]
pub struct Config {
    pub otlp_grpc: SocketAddr,
    pub ingest: SocketAddr,
    pub door: Door,
    pub limits: Limits,
}

/// Whom to let in; swapped at a reload, so that tokens and secrets change without a restart.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// All tokens, those that may not deliver too, so that they are told so. Of two that are alive, either
    /// lets in.
    pub tokens: Vec<Token>,
    /// Secrets that sign what their owners send.
    pub signers: Vec<Signer>,
    /// Checks the tokens of Pub/Sub's pushes.
    pub pubsub: Option<Arc<PubsubOidc>>,
    /// A client's certificate lets in.
    pub clients_ingest: bool,
    /// Whose pages may deliver, should one want to.
    pub hosts: Hosts,
    /// True where any credential is configured: then a delivery without one is refused.
    pub required: bool,
}

/// A token, known by the SHA-256 of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub name: String,
    pub hash: SecretHash,
    pub reach: Reach,
}

/// Bounds of what one client can make us hold. `Default` has the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a body, before and after decompression.
    pub body_bytes_max: usize,
    /// Of all bodies that are being read or decoded; one sender that has a name has half at the most.
    pub in_flight_bytes_max: usize,
    /// From the end of the headers until the body is read.
    pub body_timeout: Duration,
}

impl Limits {
    /// A quarter of the process's memory is for what is in flight, and no body is larger than one sender's
    /// half of that.
    pub fn of_memory(memory_max_bytes: u64) -> Self {
        let in_flight_bytes_max = crate::number::usize_from_u64(memory_max_bytes / 4);
        let body_bytes_max = BODY_BYTES_MAX.min(in_flight_bytes_max / 2);
        Self { body_bytes_max, in_flight_bytes_max, body_timeout: Duration::from_mins(1) }
    }
}

/// The OTLP specification recommends 64 MiB; Firehose sends as much.
const BODY_BYTES_MAX: usize = 64 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self::of_memory(512 << 20)
    }
}

/// The memory that a batch is admitted with. Whoever has the batch keeps it, until the batch is gone: what
/// queues behind the disk and before the engine is in flight too.
#[derive(Debug, Default)]
pub struct Weight {
    #[expect(dead_code, reason = "held for its drop")]
    admitted: Option<admission::Admitted>,
}

/// How a batch comes to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Its sender can send smaller ones.
    Pushed,
    /// We asked for it, in pieces that have a bound; the same would come again for ever.
    Fetched,
}

/// A batch that asks to be put on disk.
#[derive(Debug)]
pub struct Delivery {
    pub batch: Batch,
    pub weight: Weight,
    pub way: Way,
    /// `Ok`: it is on disk.
    pub answer: oneshot::Sender<Result<(), Refusal>>,
}

/// Not now; the sender keeps the batch and comes again. Never the batch's fault, but for one that never fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the daemon is stopping")]
    Draining,
    #[error("the disk is full")]
    DiskFull,
    #[error("the disk failed")]
    Poisoned,
    #[error(
        "too much is in flight: all deliveries fill a quarter of `memory_max`, or one sender its half of that"
    )]
    Overloaded,
    #[error("open requests fill the engine's half of `memory_max`")]
    Memory,
    #[error("too much waits for the disk")]
    Behind,
    #[error("too many pushes wait for the keys that prove their tokens")]
    Keys,
    #[error("what is in the body would fill the engine's half of `memory_max` alone")]
    Oversized,
}

/// Bounds that refuse deliveries; labels of `throughline_self_receive_refusals_total`.
pub const CAUSES: [&str; 4] = ["overloaded", "memory", "behind", "keys"];

impl Refusal {
    /// Which bound was met, as one of [`CAUSES`]; None: no bound refuses, but the disk or a stop.
    pub const fn bound(self) -> Option<&'static str> {
        match self {
            Self::Overloaded => Some("overloaded"),
            Self::Memory => Some("memory"),
            Self::Behind => Some("behind"),
            Self::Keys => Some("keys"),
            Self::Draining | Self::DiskFull | Self::Poisoned | Self::Oversized => None,
        }
    }
}

/// What deliveries need of the rest.
#[derive(Clone, Debug)]
pub struct Shared {
    pub normalize: Arc<ArcSwap<normalize::Config>>,
    pub access: Arc<ArcSwap<Access>>,
    pub clock: Clock,
    pub accepted: mpsc::Sender<Delivery>,
    /// What the engine's memory still takes.
    pub room: Arc<Room>,
    /// Deliveries that were answered with an error, by its code (one of [`CODES`]).
    pub errors: Arc<Tally>,
}

/// What every request handler works with.
#[derive(Debug)]
struct Desk {
    shared: Shared,
    limits: Limits,
    admission: Admission,
    workshop: Workshop,
}

/// Both listeners, accepting.
#[derive(Debug)]
pub struct Receivers {
    otlp_grpc: Listening,
    ingest: Listening,
}

impl Receivers {
    /// Binds both addresses and begins to accept.
    pub async fn bind(config: Config, shared: Shared) -> Result<Self, BindError> {
        let Config { otlp_grpc, ingest, door, limits } = config;
        let desk = Arc::new(Desk {
            shared,
            limits,
            admission: Admission::new(limits.in_flight_bytes_max),
            workshop: Workshop::new(),
        });
        let ours = |router: Router| {
            router.layer(middleware::from_fn_with_state(Arc::clone(&desk), refuse_foreign))
        };
        let (grpc, http) = (ours(grpc::router(&desk)), ours(http::router(Arc::clone(&desk))));
        Ok(Self {
            otlp_grpc: Listening::start(otlp_grpc, grpc, door.clone()).await?,
            ingest: Listening::start(ingest, http, door).await?,
        })
    }

    pub fn otlp_grpc(&self) -> SocketAddr {
        self.otlp_grpc.address()
    }

    pub fn ingest(&self) -> SocketAddr {
        self.ingest.address()
    }

    /// Accepts no more; lets open requests end, for `deadline` at most.
    pub async fn drain(self, deadline: Duration) {
        tokio::join!(self.otlp_grpc.drain(deadline), self.ingest.drain(deadline));
    }
}

/// Why deliveries are answered with an error.
pub const CODES: [&str; 10] = [
    "unauthorized",
    "forbidden",
    "cross_origin",
    "content_type",
    "content_encoding",
    "too_large",
    "too_slow",
    "broken",
    "undecodable",
    "refused",
];

/// No page delivers: a browser may send plain text anywhere without asking, also where no token is needed.
async fn refuse_foreign(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    if is_foreign(&request, &desk.shared.access.load().hosts) {
        let (code, message) = ("cross_origin", "a delivery from another site's page is refused");
        desk.shared.errors.count(code);
        return http::plain(StatusCode::FORBIDDEN, code, message);
    }
    next.run(request).await
}

impl Desk {
    /// Hands a batch over and waits until it is on disk.
    async fn deliver(&self, batch: Batch, weight: Weight) -> Result<(), Failure> {
        let (answer, durable) = oneshot::channel();
        let delivery = Delivery { batch, weight, way: Way::Pushed, answer };
        let sent = self.shared.accepted.try_send(delivery).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => self.shared.room.refused(Refusal::Behind),
            mpsc::error::TrySendError::Closed(_) => Refusal::Draining,
        });
        let durable = match sent {
            Ok(()) => durable.await.unwrap_or(Err(Refusal::Draining)),
            Err(refusal) => Err(refusal),
        };
        durable.map_err(Failure::from)
    }

    /// Passes an outcome on; an undecodable body is in the books first: its length, nothing of its content.
    async fn booked<T>(
        &self,
        receiver: Receiver,
        bytes: &[u8],
        outcome: Result<T, Failure>,
    ) -> Result<T, Failure> {
        if matches!(outcome, Err(Failure::Undecodable { .. })) {
            let mut batch = Batch::new(receiver, self.shared.clock.now());
            batch.undecodable_bytes = Some(crate::number::u64_from_usize(bytes.len()));
            batch.body_hash = hash(bytes);
            self.deliver(batch, Weight::default()).await?;
        }
        outcome
    }
}

/// Names a body: 128 bits of SHA-256, which is quick where the processor helps.
fn hash(bytes: &[u8]) -> u128 {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.first_chunk::<16>().map_or(0, |half| u128::from_le_bytes(*half))
}

/// Names a delivery of nobody in particular.
pub fn declared_id(receiver: Receiver, id: &str) -> u128 {
    declared(&Principal(Text::default()), receiver, id)
}

/// Names a delivery: whose, where, which.
fn declared(principal: &Principal, receiver: Receiver, id: &str) -> u128 {
    let place = format!("{receiver:?}");
    Fnv128::default()
        .field(principal.0.as_bytes())
        .field(place.as_bytes())
        .field(id.as_bytes())
        .finish()
}
