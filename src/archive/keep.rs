//! Which final requests are kept: the bad ones, a sample by hash, and of each flow and hour the
//! slowest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Config;
use crate::correlate::{FinalLine, Outcome};
use crate::number::{f64_from_u64, u64_from_f64};
use crate::signal::{Fnv128, Text, Timestamp};

/// Hours in which a slower request still displaces a faster one: correctable ones are final within
/// a day and its lateness.
const HOURS_MAX: usize = 26;
/// Requests in all contests; beyond, a further one is left out unless it displaces another.
const CONTESTANTS_MAX: usize = 200_000;

/// What becomes of an offered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Leave,
    Keep,
    KeepInsteadOf(Contestant),
}

/// One that is kept only because it is slow. The order is from fast to slow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Contestant {
    duration: Duration,
    pub(super) id: Text,
    pub(super) start: Timestamp,
}

/// The slowest of each hour (since the epoch, of the request's end) and flow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Slowest {
    hours: BTreeMap<u64, BTreeMap<Text, BTreeSet<Contestant>>>,
    n_contestants: usize,
}

impl Contestant {
    fn of(line: &FinalLine<'_>) -> Self {
        Self { duration: line.end.since(line.start), id: line.id.into(), start: line.start }
    }
}

fn hour_of(line: &FinalLine<'_>) -> u64 {
    line.end.as_secs() / 3600
}

fn is_kept_anyway(line: &FinalLine<'_>, config: &Config) -> bool {
    config.errors && line.outcome != Outcome::Ok || is_sampled(line.id, config.sample)
}

impl Slowest {
    /// Whether a request would be kept.
    pub(super) fn wants(&self, line: &FinalLine<'_>, config: &Config) -> bool {
        is_kept_anyway(line, config) || self.is_slow_enough(line, config)
    }

    fn is_slow_enough(&self, line: &FinalLine<'_>, config: &Config) -> bool {
        let hour = hour_of(line);
        let is_over = self.hours.len() >= HOURS_MAX
            && self.hours.first_key_value().is_some_and(|(oldest, _)| hour < *oldest);
        if is_over || config.slowest_per_flow == 0 {
            return false;
        }
        let flow = self.hours.get(&hour).and_then(|flows| flows.get(line.flow));
        let n = flow.map_or(0, BTreeSet::len);
        let own = Contestant::of(line);
        n < config.slowest_per_flow && self.n_contestants < CONTESTANTS_MAX
            || flow.is_some_and(|flow| {
                flow.first().is_some_and(|fastest| *fastest < own) || flow.contains(&own)
            })
    }

    pub(super) fn judge(&mut self, line: &FinalLine<'_>, config: &Config) -> Verdict {
        if is_kept_anyway(line, config) {
            return Verdict::Keep;
        }
        if !self.is_slow_enough(line, config) {
            return Verdict::Leave;
        }
        let flows = self.hours.entry(hour_of(line)).or_default();
        let flow = flows.entry(line.flow.into()).or_default();
        let is_room = flow.len() < config.slowest_per_flow && self.n_contestants < CONTESTANTS_MAX;
        if !flow.insert(Contestant::of(line)) {
            return Verdict::Keep;
        }
        if is_room {
            self.n_contestants += 1;
            self.close_old_hours();
            return Verdict::Keep;
        }
        flow.pop_first().map_or(Verdict::Keep, Verdict::KeepInsteadOf)
    }

    /// These take part no longer.
    pub(super) fn forget(&mut self, ids: &BTreeSet<Text>) {
        let flows = self.hours.values_mut().flat_map(BTreeMap::values_mut);
        flows.for_each(|flow| flow.retain(|contestant| !ids.contains(&contestant.id)));
        let flows = self.hours.values().flat_map(BTreeMap::values);
        self.n_contestants = flows.map(BTreeSet::len).sum();
    }

    fn close_old_hours(&mut self) {
        while self.hours.len() > HOURS_MAX
            && let Some((_, flows)) = self.hours.pop_first()
        {
            let n_closed: usize = flows.values().map(BTreeSet::len).sum();
            self.n_contestants = self.n_contestants.saturating_sub(n_closed);
        }
    }
}

/// The same ids in every run and on every machine.
fn is_sampled(id: &str, share: f64) -> bool {
    if share >= 1.0 {
        return true;
    }
    u64_from_f64(share * f64_from_u64(u64::MAX)) > mixed(id)
}

/// FNV leaves the last bytes of an id in the low bits; the finalizer of MurmurHash3 spreads them.
fn mixed(id: &str) -> u64 {
    let hash = Fnv128::default().field(id.as_bytes()).finish();
    let mut half = u64::try_from((hash ^ (hash >> 64)) & u128::from(u64::MAX)).unwrap_or_default();
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        half = (half ^ (half >> 33)).wrapping_mul(factor);
    }
    half ^ (half >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_about_its_share_and_always_the_same() {
        let n = (0..100_000).filter(|i| is_sampled(&format!("{i:032x}"), 0.01)).count();
        assert!((850..1150).contains(&n), "{n}");
        assert!(is_sampled("any", 1.0) && !is_sampled("any", 0.0));
    }
}
