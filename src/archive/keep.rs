//! Which final requests are kept: the bad ones, a sample by hash, and of each flow and hour the
//! slowest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Config;
use crate::correlate::{Outcome, Request};
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

impl Slowest {
    pub(super) fn judge(&mut self, request: &Request, config: &Config) -> Verdict {
        if config.errors && request.outcome != Outcome::Ok || is_sampled(&request.id, config.sample)
        {
            return Verdict::Keep;
        }
        let hour = request.end.as_secs() / 3600;
        let is_over = self.hours.len() >= HOURS_MAX
            && self.hours.first_key_value().is_some_and(|(oldest, _)| hour < *oldest);
        if is_over || config.slowest_per_flow == 0 {
            return Verdict::Leave;
        }
        self.contend(request, hour, config.slowest_per_flow)
    }

    fn contend(&mut self, request: &Request, hour: u64, n_max: usize) -> Verdict {
        let flows = self.hours.entry(hour).or_default();
        let flow = flows.entry(Text::clone(&request.flow)).or_default();
        let own = Contestant {
            duration: request.duration,
            id: Text::clone(&request.id),
            start: request.start,
        };
        if flow.contains(&own) {
            return Verdict::Keep;
        }
        if flow.len() < n_max && self.n_contestants < CONTESTANTS_MAX {
            flow.insert(own);
            self.n_contestants += 1;
            self.close_old_hours();
            return Verdict::Keep;
        }
        match flow.first() {
            Some(fastest) if *fastest < own => {
                let displaced = flow.pop_first();
                flow.insert(own);
                displaced.map_or(Verdict::Keep, Verdict::KeepInsteadOf)
            }
            _ => Verdict::Leave,
        }
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
