//! What has been seen: identities of signals, ids of deliveries, bodies, and tombstones.
//!
//! A signal or a delivery comes in; a verdict goes out. Nothing here ever decides by arrival order
//! which content wins: it only tells a repeat (same content) from a conflict (other content), and a
//! repeat of something held from a repeat of something that is final and gone (`late`).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::class::Class;
use super::fact::{Age, Mark, SignalId};
use super::graph::Cell;
use super::remembered::take_old;
use super::table::{self, Table};
use crate::number::u64_from_usize;
use crate::signal::{Batch, Receiver, SignalKind, SpanId, Timestamp, TraceId};

/// How long ids of deliveries and tombstones are remembered: longer than Firehose's retry time of
/// two hours.
pub(super) const REMEMBERED: Duration = Duration::from_mins(150);
/// How long a byte-identical body without an id counts as a repeat.
const BODY_REMEMBERED: Duration = Duration::from_mins(15);
/// Functions, accounts and regions with final invocations of one request id, beside the first.
const NAMESAKES_MAX: usize = 64;

/// What each takes, about: its share of a table and its place in the order in which it goes.
pub(super) const PASSED_BYTES: u64 = 150;
const NAMESAKE_BYTES: u64 = 48;
pub(super) const DELIVERY_BYTES: u64 = 120;
const BODY_BYTES: u64 = 130;

/// What is known of a signal or a delivery that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    New,
    Duplicate,
    Conflict,
    Late,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Life {
    /// A fact that a correctable invocation holds, and where it lies.
    Held(Cell),
    /// Taken and handed on (a metric point, an event that changes nothing).
    Passed(Age),
    /// Its invocation is final.
    Sealed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Identity {
    hash: u64,
    life: Life,
}

/// Final invocations of one function, account and region: what belongs to them and comes now is late.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Tombstone {
    class: Class,
    n: u32,
    /// Facts up to here are their own; later ones begin a new attempt.
    until: Timestamp,
}

impl Tombstone {
    fn add(&mut self, other: Self) {
        self.n = self.n.saturating_add(other.n);
        self.until = self.until.max(other.until);
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Passing {
    Identity(SignalId),
    Tombstone(SignalId),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Delivery {
    body_hash: u128,
    age: Age,
}

/// Everything that has been seen and may be seen again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Memory {
    identities: Table<SignalId, Identity>,
    tombstones: Table<SignalId, Tombstone>,
    /// Further ones under the same key, of other functions, accounts and regions.
    namesakes: Table<SignalId, Vec<Tombstone>>,
    n_namesakes: usize,
    passing: VecDeque<(Age, Passing)>,
    declared: Table<u128, Delivery>,
    declared_order: VecDeque<(Age, u128)>,
    bodies: Table<(Receiver, u128), Age>,
    bodies_order: VecDeque<(Age, (Receiver, u128))>,
    /// Entries forgotten early because a bound was met.
    pub(super) forgotten: u64,
}

impl Memory {
    /// Gives back the room of many that are gone.
    pub(super) fn shrink(&mut self) {
        table::shrink(&mut self.identities);
        table::shrink(&mut self.tombstones);
        table::shrink(&mut self.namesakes);
        table::shrink(&mut self.declared);
        table::shrink(&mut self.bodies);
    }

    /// Judges a whole delivery, and remembers it.
    pub(super) fn delivery(&mut self, batch: &Batch, age: Age) -> Seen {
        if let Some(id) = batch.declared_id {
            if let Some(first) = self.declared.get(&id) {
                let same = first.body_hash == batch.body_hash;
                return if same { Seen::Duplicate } else { Seen::Conflict };
            }
            self.declared.insert(id, Delivery { body_hash: batch.body_hash, age });
            self.declared_order.push_back((age, id));
            return Seen::New;
        }
        let known = |signal: &crate::signal::Signal| {
            signal.identity.is_some() || signal.kind.event_time() > Timestamp::EPOCH
        };
        // A hash of 0 is a body that nobody hashed.
        if batch.body_hash == 0 || batch.signals.is_empty() || !batch.signals.iter().all(known) {
            return Seen::New;
        }
        let key = (batch.receiver, batch.body_hash);
        if self.bodies.contains_key(&key) {
            return Seen::Duplicate;
        }
        self.bodies.insert(key, age);
        self.bodies_order.push_back((age, key));
        Seen::New
    }

    /// Judges a signal by its identity; remembers nothing.
    pub(super) fn signal(
        &self,
        identity: SignalId,
        hash: u64,
        lateness: Duration,
        age: Age,
    ) -> Seen {
        let Some(known) = self.identities.get(&identity) else { return Seen::New };
        match &known.life {
            Life::Sealed => Seen::Late,
            Life::Passed(at) if age.saturating_sub(*at) > lateness => Seen::Late,
            _ if known.hash == hash => Seen::Duplicate,
            _ => Seen::Conflict,
        }
    }

    /// Remembers a fact for as long as its invocation is held.
    pub(super) fn hold(&mut self, identity: SignalId, hash: u64, cell: Cell) {
        self.identities.insert(identity, Identity { hash, life: Life::Held(cell) });
    }

    /// A fact is no longer held here; whoever has it tells its repeats.
    pub(super) fn release(&mut self, mark: &Mark) {
        if let Some(identity) = mark.identity {
            self.identities.remove(&identity);
        }
    }

    /// Where a held fact lies.
    pub(super) fn place(&self, identity: SignalId) -> Option<&Cell> {
        match &self.identities.get(&identity)?.life {
            Life::Held(cell) => Some(cell),
            _ => None,
        }
    }

    /// Remembers a signal that is not held.
    pub(super) fn pass(&mut self, identity: SignalId, hash: u64, age: Age) {
        self.identities.insert(identity, Identity { hash, life: Life::Passed(age) });
        self.passing.push_back((age, Passing::Identity(identity)));
    }

    /// A fact's invocation is final: a repeat is late from now on.
    pub(super) fn seal(&mut self, identity: SignalId, age: Age) {
        if let Some(known) = self.identities.get_mut(&identity) {
            known.life = Life::Sealed;
            self.passing.push_back((age, Passing::Identity(identity)));
        }
    }

    /// As [`Memory::seal`], of a fact that was not held here.
    pub(super) fn seal_anew(&mut self, identity: SignalId, hash: u64, age: Age) {
        self.identities.insert(identity, Identity { hash, life: Life::Sealed });
        self.passing.push_back((age, Passing::Identity(identity)));
    }

    /// Leaves a tombstone: what belongs to `key` and happened up to `until` is late.
    pub(super) fn bury(&mut self, key: SignalId, class: Class, until: Timestamp, age: Age) {
        let stone = Tombstone { class, n: 1, until };
        let Some(first) = self.tombstones.get_mut(&key) else {
            self.tombstones.insert(key, stone);
            self.passing.push_back((age, Passing::Tombstone(key)));
            return;
        };
        if first.class == class {
            first.add(stone);
            return;
        }
        let others = self.namesakes.entry(key).or_default();
        if let Some(other) = others.iter_mut().find(|other| other.class == class) {
            other.add(stone);
        } else if others.len() < NAMESAKES_MAX {
            others.push(stone);
            self.n_namesakes += 1;
        } else {
            self.forgotten += 1;
        }
    }

    fn stones(&self, key: SignalId) -> impl Iterator<Item = &Tombstone> {
        let first = self.tombstones.get(&key);
        let others = first.filter(|_| !self.namesakes.is_empty());
        let others = others.and_then(|_| self.namesakes.get(&key));
        first.into_iter().chain(others.into_iter().flatten())
    }

    /// How many final invocations lie under a key, by whose they were.
    pub(super) fn buried(&self, key: SignalId) -> impl Iterator<Item = (Class, u32)> {
        self.stones(key).map(|stone| (stone.class, stone.n))
    }

    /// Whether a span is of a final invocation.
    pub(super) fn is_span_buried(&self, trace: &TraceId, span: SpanId) -> bool {
        !self.tombstones.is_empty() && self.tombstones.contains_key(&span_key(&trace.0, &span.0))
    }

    /// Whether something that happened at `time` belongs to a final invocation of its class.
    pub(super) fn is_buried(
        &self,
        key: SignalId,
        class: impl Fn() -> Class,
        time: Timestamp,
    ) -> bool {
        self.stones(key).any(|stone| time <= stone.until && stone.class.agrees(class()))
    }

    /// Forgets what is old enough.
    pub(super) fn expire(&mut self, age: Age) {
        while let Some(what) = take_old(&mut self.passing, age, REMEMBERED) {
            self.forget(what);
        }
        while let Some(id) = take_old(&mut self.declared_order, age, REMEMBERED) {
            self.declared.remove(&id);
        }
        while let Some(key) = take_old(&mut self.bodies_order, age, BODY_REMEMBERED) {
            self.bodies.remove(&key);
        }
    }

    fn forget(&mut self, what: Passing) {
        match what {
            Passing::Identity(id) => drop(self.identities.remove(&id)),
            Passing::Tombstone(key) => {
                self.tombstones.remove(&key);
                let others = self.namesakes.remove(&key);
                self.n_namesakes -= others.map_or(0, |others| others.len());
            }
        }
    }

    /// What signals that are no longer held and tombstones take.
    pub(super) fn signals_bytes(&self) -> u64 {
        u64_from_usize(self.passing.len()) * PASSED_BYTES
            + u64_from_usize(self.n_namesakes) * NAMESAKE_BYTES
    }

    pub(super) fn deliveries_bytes(&self) -> u64 {
        u64_from_usize(self.declared_order.len()) * DELIVERY_BYTES
    }

    pub(super) fn bodies_bytes(&self) -> u64 {
        u64_from_usize(self.bodies_order.len()) * BODY_BYTES
    }

    /// Forgets the oldest signal or tombstone, though it is not old enough.
    pub(super) fn forget_signal(&mut self) {
        if let Some((_, what)) = self.passing.pop_front() {
            self.forgotten += 1;
            self.forget(what);
        }
    }

    /// As [`Memory::forget_signal`], of the ids of deliveries.
    pub(super) fn forget_delivery(&mut self) {
        if let Some((_, id)) = self.declared_order.pop_front() {
            self.forgotten += 1;
            self.declared.remove(&id);
        }
    }

    /// As [`Memory::forget_signal`], of bodies.
    pub(super) fn forget_body(&mut self) {
        if let Some((_, key)) = self.bodies_order.pop_front() {
            self.forgotten += 1;
            self.bodies.remove(&key);
        }
    }
}

/// The tombstone key of a platform request id.
pub(super) fn run_key(invocation_id: &str) -> SignalId {
    key_of(1, invocation_id.as_bytes(), &[])
}

/// The tombstone key of a span.
pub(super) fn span_key(trace: &[u8], span: &[u8]) -> SignalId {
    key_of(2, trace, span)
}

/// The tombstone key of records that only a function and a key join.
pub(super) fn record_key(function: &str, key: &str) -> SignalId {
    key_of(3, function.as_bytes(), key.as_bytes())
}

fn key_of(kind: u64, a: &[u8], b: &[u8]) -> SignalId {
    (xxh3_128_with_seed(a, kind) ^ xxh3_128_with_seed(b, !kind).rotate_left(64)).into()
}

/// The identity under which a signal is remembered; spans are known by their ids. Asynchronous retries reuse the platform's
/// request id, so a platform event is known by its time as well: the second attempt's report is no
/// repeat of the first's.
pub(super) fn identity_of(identity: Option<u128>, kind: &SignalKind) -> Option<SignalId> {
    let identity = identity?;
    Some(match kind {
        SignalKind::Span(_) => return None,
        SignalKind::Platform(event) => key_of(event.time.as_nanos(), &identity.to_be_bytes(), &[]),
        _ => identity.into(),
    })
}
