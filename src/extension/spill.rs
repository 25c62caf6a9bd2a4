//! What waits for the destination: bounded, in order, and cut into batches whose identity never changes.
//!
//! A batch is made once, from what waits at that moment; from then on its bytes and its key are fixed,
//! whether it is sent once or ten times. At the bound, log records of the platform's batches go first,
//! the platform's own events last; OTLP is refused, since an SDK tries again. What is dropped is counted
//! and told in the next batch.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;

use bytes::Bytes;
use serde_json::json;
use xxhash_rust::xxh3::xxh3_128;

use super::telemetry::{self, Survey};
use crate::number::u64_from_usize;
use crate::signal::Timestamp;

/// A batch takes up what waits until it has this many bytes.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Telemetry batches that are known by their content, so that a repeated post counts once.
const RECENT_MAX: usize = 64;
/// Smaller bodies cost more to compress than to send.
const PACKED_BYTES_MIN: usize = 1024;
/// What a waiting piece costs beside its body.
const PIECE_BYTES: usize = 128;

/// Where a body goes and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Below the destination's root.
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    /// `Content-Encoding`, as the sender gave it.
    pub(super) encoding: Option<String>,
}

pub(super) const JSON: &str = "application/json";
pub(super) const PROTOBUF: &str = "application/x-protobuf";

impl Kind {
    pub(super) const TELEMETRY: Self =
        Self { path: "ingest/aws/telemetry", content_type: JSON, encoding: None };

    fn is_telemetry(&self) -> bool {
        *self == Self::TELEMETRY
    }

    /// Whether bodies can be joined: arrays of events can, and so can protobuf messages, whose repeated
    /// fields add up when their bytes follow each other.
    fn is_joinable(&self) -> bool {
        self.encoding.is_none() && (self.is_telemetry() || self.content_type == PROTOBUF)
    }
}

#[derive(Debug)]
struct Piece {
    kind: Kind,
    body: Bytes,
    n_records: u64,
}

impl Piece {
    fn cost(&self) -> usize {
        self.body.len() + PIECE_BYTES
    }
}

/// Why records did not reach the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    MemoryBound,
    Rejected,
}

impl Cause {
    const fn reason(self) -> &'static str {
        match self {
            Self::MemoryBound => "throughline extension: the memory bound THROUGHLINE_SPILL_BYTES",
            Self::Rejected => "throughline extension: the destination rejected the batch",
        }
    }
}

/// What did not reach the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// One delivery: the same bytes under the same key, however often it is sent.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) kind: Kind,
    pub(super) body: Bytes,
    pub(super) key: String,
    n_records: u64,
    /// What it holds of the bound.
    cost: usize,
    /// What its own `platform.logsDropped` events tell.
    tells: BTreeMap<Cause, Lost>,
}

/// What became of a telemetry batch that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Whole,
    /// Without its log records.
    PlatformEvents,
    Nothing,
    Repeat,
}

/// Everything that waits.
#[derive(Debug)]
pub(super) struct Spill {
    waiting: VecDeque<Piece>,
    in_flight: Option<Batch>,
    bytes: usize,
    bytes_max: usize,
    lost: BTreeMap<Cause, Lost>,
    recent: VecDeque<u128>,
    identifier: String,
    n_batches: u64,
}

impl Spill {
    /// `identifier` names the environment.
    pub(super) fn new(bytes_max: usize, identifier: &str) -> Self {
        Self {
            waiting: VecDeque::new(),
            in_flight: None,
            bytes: 0,
            bytes_max,
            lost: BTreeMap::new(),
            recent: VecDeque::with_capacity(RECENT_MAX),
            identifier: identifier.to_owned(),
            n_batches: 0,
        }
    }

    /// True where nothing waits, nothing is on its way and nothing has to be told.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_none() && self.lost.is_empty()
    }

    /// Bytes that wait or are on their way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a batch of the Telemetry API.
    pub(super) fn offer_telemetry(&mut self, body: &Bytes, survey: &Survey<'_>) -> Taken {
        let hash = xxh3_128(body);
        if self.recent.contains(&hash) {
            return Taken::Repeat;
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(hash);
        let whole = Piece { kind: Kind::TELEMETRY, body: body.clone(), n_records: survey.n_events };
        if self.bytes + whole.cost() <= self.bytes_max {
            self.push(whole);
            return Taken::Whole;
        }
        let cut = telemetry::array(&survey.platform);
        let n_platform = u64_from_usize(survey.platform.len());
        let cut = Piece { kind: Kind::TELEMETRY, body: Bytes::from(cut), n_records: n_platform };
        // The platform's own events have an eighth of their own.
        if n_platform == 0 || self.bytes + cut.cost() > self.bytes_max + self.bytes_max / 8 {
            self.lose(Cause::MemoryBound, survey.n_events, body.len());
            return Taken::Nothing;
        }
        let n_bytes = body.len().saturating_sub(cut.body.len());
        self.lose(Cause::MemoryBound, survey.n_events.saturating_sub(n_platform), n_bytes);
        self.push(cut);
        Taken::PlatformEvents
    }

    /// Counts a body that nobody could read.
    pub(super) fn unreadable(&mut self, n_bytes: usize) {
        self.lose(Cause::Rejected, 1, n_bytes);
    }

    /// Takes an OTLP body; false: no room, the sender may come again.
    #[must_use]
    pub(super) fn offer_otlp(&mut self, kind: Kind, body: Bytes) -> bool {
        let piece = Piece { kind, body, n_records: 1 };
        let has_room = self.bytes + piece.cost() <= self.bytes_max;
        if has_room {
            self.push(piece);
        }
        has_room
    }

    fn push(&mut self, piece: Piece) {
        self.bytes += piece.cost();
        self.waiting.push_back(piece);
    }

    fn lose(&mut self, cause: Cause, n_records: u64, n_bytes: usize) {
        let lost = self.lost.entry(cause).or_default();
        lost.records += n_records;
        lost.bytes += u64_from_usize(n_bytes);
    }

    /// The batch to send now: the one that is on its way until it is delivered or rejected, else a new one.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Batch> {
        if self.in_flight.is_none() {
            self.in_flight = self.cut(now);
        }
        self.in_flight.clone()
    }

    fn cut(&mut self, now: Timestamp) -> Option<Batch> {
        let kind = match self.waiting.front() {
            Some(piece) => piece.kind.clone(),
            None if !self.lost.is_empty() => Kind::TELEMETRY,
            None => return None,
        };
        let mut pieces: Vec<Piece> = Vec::new();
        let mut size = 0;
        while let Some(piece) = self.waiting.pop_front_if(|piece| {
            let is_first = size == 0;
            let fits = size + piece.body.len() <= BATCH_BYTES_MAX;
            piece.kind == kind && (is_first || (kind.is_joinable() && fits))
        }) {
            size += piece.cost();
            pieces.push(piece);
        }
        let tells =
            if kind.is_telemetry() { std::mem::take(&mut self.lost) } else { BTreeMap::new() };
        let body = if kind.is_telemetry() {
            let told = dropped_events(&tells, now);
            telemetry::joined(pieces.iter().map(|piece| &*piece.body).chain([&*told]))
        } else {
            pieces.iter().flat_map(|piece| piece.body.iter().copied()).collect()
        };
        Some(self.sealed(kind, body, &pieces, tells))
    }

    /// Names a batch. The hash belongs to the key because a snapshot of the environment (SnapStart) is
    /// restored many times, and every copy goes on with the same number.
    fn sealed(
        &mut self,
        mut kind: Kind,
        plain: Vec<u8>,
        pieces: &[Piece],
        tells: BTreeMap<Cause, Lost>,
    ) -> Batch {
        let key = format!("{}-{}-{:032x}", self.identifier, self.n_batches, xxh3_128(&plain));
        self.n_batches += 1;
        let is_worth_packing = kind.encoding.is_none() && plain.len() >= PACKED_BYTES_MIN;
        let body = match is_worth_packing.then(|| gzip(&plain)).flatten() {
            Some(packed) => {
                kind.encoding = Some("gzip".to_owned());
                packed
            }
            None => plain,
        };
        Batch {
            kind,
            body: Bytes::from(body),
            key,
            n_records: pieces.iter().map(|piece| piece.n_records).sum(),
            cost: pieces.iter().map(Piece::cost).sum(),
            tells,
        }
    }

    /// The batch on its way has arrived.
    pub(super) fn delivered(&mut self) {
        if let Some(batch) = self.in_flight.take() {
            self.bytes = self.bytes.saturating_sub(batch.cost);
        }
    }

    /// The batch on its way is bad for good: it is lost, and so is what it told.
    pub(super) fn rejected(&mut self) {
        let Some(batch) = self.in_flight.take() else { return };
        self.bytes = self.bytes.saturating_sub(batch.cost);
        for (cause, told) in batch.tells {
            let lost = self.lost.entry(cause).or_default();
            lost.records += told.records;
            lost.bytes += told.bytes;
        }
        if batch.n_records > 0 {
            self.lose(Cause::Rejected, batch.n_records, batch.cost);
        }
    }

    /// What is lost with the environment: dropped and not yet told, waiting, on its way.
    pub(super) fn left(&self) -> Lost {
        let told = self.in_flight.iter().flat_map(|batch| batch.tells.values());
        let dropped: u64 = self.lost.values().chain(told).map(|lost| lost.records).sum();
        let waiting: u64 = self.waiting.iter().map(|piece| piece.n_records).sum();
        let in_flight = self.in_flight.as_ref().map_or(0, |batch| batch.n_records);
        Lost { records: dropped + waiting + in_flight, bytes: u64_from_usize(self.bytes) }
    }
}

fn dropped_events(lost: &BTreeMap<Cause, Lost>, now: Timestamp) -> Vec<u8> {
    let events = lost.iter().map(|(cause, lost)| {
        json!({
            "time": now.to_string(),
            "type": "platform.logsDropped",
            "record": {
                "reason": cause.reason(),
                "droppedRecords": lost.records,
                "droppedBytes": lost.bytes,
            },
        })
    });
    events.collect::<serde_json::Value>().to_string().into_bytes()
}

/// `None`: memory cannot fail to be written to, but were it so, the plain bytes would do.
fn gzip(plain: &[u8]) -> Option<Vec<u8>> {
    let room = Vec::with_capacity(plain.len() / 4);
    let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
#[path = "spill_tests.rs"]
mod tests;
