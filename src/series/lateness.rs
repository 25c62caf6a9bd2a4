//! How late what reaches a metric is: p99 over 15 minutes of applied minus event time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::number::{f64_from_u64, i32_from_f64, u64_from_f64};
use crate::signal::{Text, Timestamp};

/// Minutes of memory, the present one included.
const MINUTES: u64 = 15;
/// Log buckets a power of two: an answer is at most 0.3 % above the truth, so that rules over data which
/// is five minutes late wait less than a second more than they must.
const PER_POWER: f64 = 256.0;
/// Metrics that are watched; further ones have no history, so their lateness is zero.
const METRICS_MAX: usize = 4096;

/// How late something is, as one of log buckets of milliseconds: the first holds all below one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lateness(u16);

impl Lateness {
    pub fn of(late: Duration) -> Self {
        let millis = f64_from_u64(u64::try_from(late.as_micros()).unwrap_or(u64::MAX)) / 1000.0;
        if millis < 1.0 {
            return Self(0);
        }
        let bucket = i32_from_f64((millis.log2() * PER_POWER).ceil()) + 1;
        Self(u16::try_from(bucket).unwrap_or(u16::MAX))
    }
}

/// Counts by minute and log bucket of milliseconds.
type Minutes = BTreeMap<u64, BTreeMap<u16, u64>>;

/// Of each metric; shared with snapshots until the metric has news.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latenesses(BTreeMap<Text, Arc<Minutes>>);

impl Latenesses {
    /// Notes what reached a metric as late as this, `n` times.
    pub(crate) fn note(&mut self, metric: &str, late: Lateness, n: u64, now: Timestamp) {
        if !self.0.contains_key(metric) {
            if self.0.len() >= METRICS_MAX {
                return;
            }
            self.0.insert(metric.into(), Arc::default());
        }
        let Some(minutes) = self.0.get_mut(metric) else { return };
        let minutes = Arc::make_mut(minutes);
        *minutes.entry(now.as_secs() / 60).or_default().entry(late.0).or_default() += n;
    }

    pub(crate) fn forget(&mut self, now: Timestamp) {
        let oldest = (now.as_secs() / 60).saturating_sub(MINUTES - 1);
        self.0.retain(|_, minutes| {
            if minutes.first_key_value().is_some_and(|(minute, _)| *minute < oldest) {
                *minutes = Arc::new(Arc::make_mut(minutes).split_off(&oldest));
            }
            !minutes.is_empty()
        });
    }

    pub(crate) fn p99(&self, metric: &str, now: Timestamp) -> Duration {
        let oldest = (now.as_secs() / 60).saturating_sub(MINUTES - 1);
        let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
        for (_, minute) in self.0.get(metric).into_iter().flat_map(|m| m.range(oldest..)) {
            for (bucket, n) in minute {
                *counts.entry(*bucket).or_default() += n;
            }
        }
        let total: u64 = counts.values().sum();
        let rank = total - total / 100;
        let mut seen = 0;
        for (bucket, n) in counts {
            seen += n;
            if seen >= rank && seen > 0 {
                return upper(bucket);
            }
        }
        Duration::ZERO
    }
}

fn upper(bucket: u16) -> Duration {
    let millis = ((f64::from(bucket) - 1.0) / PER_POWER).exp2();
    Duration::from_micros(u64_from_f64((millis * 1000.0).ceil()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_the_p99_of_the_last_quarter_of_an_hour() {
        let mut lateness = Latenesses::default();
        let at = |minute: u64| Timestamp::from_nanos(minute * 60_000_000_000);
        assert_eq!(lateness.p99("a", at(0)), Duration::ZERO);
        for _ in 0..99 {
            lateness.note("a", Lateness::of(Duration::from_millis(500)), 1, at(20));
        }
        lateness.note("a", Lateness::of(Duration::from_mins(10)), 1, at(20));
        let p99 = lateness.p99("a", at(21));
        assert!(p99 >= Duration::from_millis(500) && p99 < Duration::from_millis(550), "{p99:?}");
        lateness.note("a", Lateness::of(Duration::from_mins(1)), 1, at(20));
        assert!(lateness.p99("a", at(21)) >= Duration::from_mins(1));
        lateness.forget(at(35));
        assert_eq!(lateness.p99("a", at(35)), Duration::ZERO);
    }
}
