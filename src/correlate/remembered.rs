//! What is remembered of what is over: what it takes, and how it gives way.
//!
//! Ages come in with what is remembered since then; what goes is the oldest, once it is old enough, or of the kind
//! that takes the most where memory is short, which is counted. What is open or can be corrected is never
//! touched here.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dedup::REMEMBERED;
use super::engine::{Engine, Held};
use super::fact::Age;
use super::weak::WeakKey;
use crate::number::u64_from_usize;

/// A key under which final invocations count, beside its text, and its place in the order in which they go, about.
const KEY_BYTES: u64 = 300;
const RETIRED_BYTES: u64 = 56;

/// What is remembered, in kinds that go each in its own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Identities of signals, and tombstones.
    Signals,
    /// Deliveries by their declared ids.
    Deliveries,
    Bodies,
    /// Tokens of final requests.
    Stubs,
    /// Keys that final invocations count under.
    Retired,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::Signals, Self::Deliveries, Self::Bodies, Self::Stubs, Self::Retired];
}

/// What has been remembered for so long, oldest first.
pub(super) fn take_old<T>(order: &mut VecDeque<(Age, T)>, age: Age, kept: Duration) -> Option<T> {
    let is_old = |(since, _): &mut (Age, T)| age.saturating_sub(*since) >= kept;
    order.pop_front_if(is_old).map(|(_, what)| what)
}

/// Keys that final invocations still count under, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Retired {
    order: VecDeque<(Age, WeakKey)>,
    /// What their texts take.
    bytes: u64,
}

impl Retired {
    pub(super) fn add(&mut self, age: Age, key: WeakKey) {
        self.bytes += text_bytes(&key);
        self.order.push_back((age, key));
    }

    pub(super) fn take_old(&mut self, age: Age) -> Option<WeakKey> {
        take_old(&mut self.order, age, REMEMBERED).inspect(|key| self.bytes -= text_bytes(key))
    }

    fn take_oldest(&mut self) -> Option<WeakKey> {
        let oldest = self.order.pop_front().map(|(_, key)| key);
        oldest.inspect(|key| self.bytes -= text_bytes(key))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &WeakKey> {
        self.order.iter().map(|(_, key)| key)
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&WeakKey) -> bool) {
        self.order.retain(|(_, key)| is_kept(key));
        self.bytes = self.keys().map(text_bytes).sum();
    }

    /// `n_keys`: those that anybody counts under.
    fn weight(&self, n_keys: usize) -> u64 {
        let n_own = self.order.len().min(n_keys);
        let places = u64_from_usize(self.order.len()) * RETIRED_BYTES;
        places + u64_from_usize(n_own) * KEY_BYTES + self.bytes
    }
}

fn text_bytes(key: &WeakKey) -> u64 {
    match key {
        WeakKey::Correlation(id) | WeakKey::Execution(id) => u64_from_usize(id.len()),
        WeakKey::Trace(_) => 0,
    }
}

impl Held {
    fn weight_of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Signals => self.memory.signals_bytes(),
            Kind::Deliveries => self.memory.deliveries_bytes(),
            Kind::Bodies => self.memory.bodies_bytes(),
            Kind::Stubs => self.stubs.bytes,
            Kind::Retired => self.retired.weight(self.graph.weak.len()),
        }
    }

    fn forget_oldest(&mut self, kind: Kind) {
        match kind {
            Kind::Signals => self.memory.forget_signal(),
            Kind::Deliveries => self.memory.forget_delivery(),
            Kind::Bodies => self.memory.forget_body(),
            Kind::Stubs => self.stubs.forget_next(),
            Kind::Retired => {
                if let Some(key) = self.retired.take_oldest() {
                    self.memory.forgotten += 1;
                    self.graph.forget_retired(&key);
                }
            }
        }
    }
}

impl Engine {
    /// What is remembered of what is over takes so much.
    pub(super) fn remembered_bytes(&self) -> u64 {
        Kind::ALL.iter().map(|&kind| self.held.weight_of(kind)).sum()
    }

    /// What is over gives way before anything that can be corrected does, and before what arrives between two
    /// ticks would have to be refused: from five eighths of memory on, down to an eighth. Beyond that a
    /// repeat is likelier than a late fact, and would count twice.
    pub(super) fn forget_early(&mut self) {
        let eighth = self.rules.config.memory_max_bytes / 8;
        while self.bytes() > eighth * 5 && self.remembered_bytes() > eighth {
            let heaviest = Kind::ALL.into_iter().max_by_key(|&kind| self.held.weight_of(kind));
            let Some(kind) = heaviest else { break };
            self.held.forget_oldest(kind);
        }
    }
}
