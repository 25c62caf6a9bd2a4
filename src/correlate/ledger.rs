//! The books of law 5: what became of every signal of every accepted batch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::number::u64_from_usize;
use crate::signal::{Batch, Receiver};

/// Counts by receiver. `received = applied + duplicate + conflict + rejected + filtered + late + dropped + pending`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pub receivers: BTreeMap<Receiver, Counts>,
    pub undecodable: Undecodable,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub received: u64,
    pub applied: u64,
    pub duplicate: u64,
    pub conflict: u64,
    pub rejected: u64,
    pub filtered: u64,
    pub late: u64,
    pub dropped: BTreeMap<String, u64>,
    pub pending: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undecodable {
    pub batches: u64,
    pub bytes: u64,
}

/// What became of one signal, or of a whole delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Applied,
    Duplicate,
    Conflict,
    Late,
    Dropped(&'static str),
}

impl Counts {
    /// Law 5: nothing that came in is unaccounted for.
    pub fn is_balanced(&self) -> bool {
        let gone: u64 = self.dropped.values().sum();
        let known = self.applied + self.duplicate + self.conflict + self.rejected;
        self.received == known + self.filtered + self.late + gone + self.pending
    }

    fn add(&mut self, verdict: Verdict, n: u64) {
        match verdict {
            Verdict::Applied => self.applied += n,
            Verdict::Duplicate => self.duplicate += n,
            Verdict::Conflict => self.conflict += n,
            Verdict::Late => self.late += n,
            Verdict::Dropped(cause) => *self.dropped.entry(cause.to_owned()).or_default() += n,
        }
    }
}

impl Ledger {
    /// Books a delivery that is judged as a whole.
    pub(super) fn whole(&mut self, batch: &Batch, verdict: Verdict) {
        let n = u64_from_usize(batch.signals.len())
            + u64::from(batch.rejected)
            + u64::from(batch.filtered);
        let counts = self.receivers.entry(batch.receiver).or_default();
        counts.received += n;
        counts.add(verdict, n);
        debug_assert!(counts.is_balanced());
    }

    /// Books a delivery signal by signal.
    pub(super) fn each(&mut self, batch: &Batch, verdicts: &[Verdict]) {
        let counts = self.receivers.entry(batch.receiver).or_default();
        counts.received += u64_from_usize(verdicts.len());
        for &verdict in verdicts {
            counts.add(verdict, 1);
        }
        let (rejected, filtered) = (u64::from(batch.rejected), u64::from(batch.filtered));
        counts.received += rejected + filtered;
        counts.rejected += rejected;
        counts.filtered += filtered;
        debug_assert!(counts.is_balanced());
    }
}
