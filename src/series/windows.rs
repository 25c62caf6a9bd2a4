//! What `rate` and `increase` need of a derived series: of each window its first and last sample, and
//! how many there are.
//!
//! A counter that only rises is told by these: a window of thirty days costs two sums. What is never
//! true: a thinned series that falls somewhere; those are answered whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::signal::Labels;

/// The windows `(end - width, end]` for `end = first_end, first_end + step, …, last_end`; all in
/// milliseconds.
#[derive(Debug)]
pub struct Windows {
    pub first_end: i64,
    pub last_end: i64,
    /// Positive where there is more than one window.
    pub step: i64,
    pub width: i64,
    /// Of each series that came thinned: all seconds at which it has samples.
    thinned: Mutex<BTreeMap<Labels, Arc<[i64]>>>,
}

impl Windows {
    pub fn new((first_end, last_end): (i64, i64), step: i64, width: i64) -> Self {
        Self { first_end, last_end, step, width, thinned: Mutex::default() }
    }

    fn thinned(&self) -> MutexGuard<'_, BTreeMap<Labels, Arc<[i64]>>> {
        // A map of copies is as good after a panic as before.
        self.thinned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seconds at which the series has samples, if it came with only some of them.
    pub fn seconds_of(&self, labels: &Labels) -> Option<Arc<[i64]>> {
        self.thinned().get(labels).map(Arc::clone)
    }

    pub(crate) fn note(&self, labels: &Labels, seconds: &Arc<[i64]>) {
        self.thinned().insert(labels.clone(), Arc::clone(seconds));
    }

    /// Of ascending seconds those that are the first or the last of a window.
    pub(crate) fn ends(&self, seconds: &[i64]) -> Arc<[i64]> {
        let mut kept = Vec::new();
        let mut end = self.first_end;
        while end <= self.last_end {
            let within = within(seconds, end.saturating_sub(self.width), end);
            kept.extend(within.first().into_iter().chain(within.last()));
            let Some(next) = end.checked_add(self.step.max(1)) else { break };
            end = next;
        }
        kept.sort_unstable();
        kept.dedup();
        kept.into()
    }
}

/// Of ascending seconds those in `(start, end]` (milliseconds).
pub fn within(seconds: &[i64], start: i64, end: i64) -> &[i64] {
    let after = |t: i64| seconds.partition_point(|second| second.saturating_mul(1000) <= t);
    seconds.get(after(start)..after(end)).unwrap_or_default()
}
