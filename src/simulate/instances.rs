//! Execution environments: which instance takes an invocation, and whether it must begin with an init.
//!
//! An instance runs one invocation at a time and is reclaimed when it was idle for
//! [`KEEP_ALIVE`]. At most [`CONCURRENCY_MAX`] of a function run at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::plan::{CONCURRENCY_MAX, Function, KEEP_ALIVE};
use super::random::Random;
use crate::number::u64_from_usize;
use crate::signal::{Text, Timestamp};

/// Longest init: who calls a function waits for it within a timeout of their own.
const INIT_MAX: Duration = Duration::from_secs(5);

/// What a new environment costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Share of free instances that are found recycled.
    pub(super) recycled: f64,
    /// Inits take so many times their usual time.
    pub(super) init_factor: u32,
}

impl Weather {
    pub(super) const CALM: Self = Self { recycled: 0.0, init_factor: 1 };
    pub(super) const STORM: Self = Self { recycled: 0.65, init_factor: 3 };
}

/// The instance that an invocation got.
#[derive(Clone, Debug)]
pub(super) struct Started {
    /// The name of its log stream: `2026/11/25/[$LATEST]` and 32 hex digits.
    pub(super) instance: Text,
    /// The run's begin, on a whole millisecond, as the platform stamps it.
    pub(super) start: Timestamp,
    pub(super) init: Option<Duration>,
}

#[derive(Debug)]
struct Instance {
    name: Text,
    busy_until: Timestamp,
}

/// All instances of all functions.
#[derive(Debug, Default)]
pub(super) struct Instances {
    pools: BTreeMap<Function, Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    instances: Vec<Instance>,
    /// Most that ran at once since it was last asked.
    busy_max: u64,
}

impl Instances {
    /// An instance for an invocation that comes at `at`; None where the platform throttles it.
    pub(super) fn acquire(
        &mut self,
        function: Function,
        at: Timestamp,
        weather: Weather,
        random: &mut Random,
    ) -> Option<Started> {
        let pool = self.pools.entry(function).or_default();
        pool.instances.retain(|one| one.busy_until.saturating_add(KEEP_ALIVE) > at);
        let n_busy = pool.instances.iter().filter(|one| one.busy_until > at).count();
        if n_busy >= CONCURRENCY_MAX {
            return None;
        }
        pool.busy_max = pool.busy_max.max(u64_from_usize(n_busy) + 1);
        // The one that was used last, as the platform does: the rest falls idle and goes.
        let free = pool.instances.iter_mut().filter(|one| one.busy_until <= at);
        let warm = free.max_by_key(|one| one.busy_until);
        let recycled = weather.recycled > 0.0 && random.chance(weather.recycled);
        if let Some(warm) = warm.filter(|_| !recycled) {
            let start = whole_millis(at);
            warm.busy_until = start;
            return Some(Started { instance: Arc::clone(&warm.name), start, init: None });
        }
        let init = (random.latency(function.init()) * weather.init_factor).min(INIT_MAX);
        let start = whole_millis(at.saturating_add(init));
        let name = Text::from(format!("{}[$LATEST]{}", day(at), random.hex(32)));
        pool.instances.push(Instance { name: Arc::clone(&name), busy_until: start });
        Some(Started { instance: name, start, init: Some(init) })
    }

    /// Keeps an instance busy until its invocation ends.
    pub(super) fn occupy(&mut self, function: Function, instance: &str, until: Timestamp) {
        let pool = self.pools.entry(function).or_default();
        if let Some(one) = pool.instances.iter_mut().find(|one| *one.name == *instance) {
            one.busy_until = one.busy_until.max(until);
        }
    }

    /// Most invocations at once since the last call, which is 0 for a function that did not run.
    pub(super) fn take_busy_max(&mut self, function: Function) -> u64 {
        self.pools.get_mut(&function).map_or(0, |pool| std::mem::take(&mut pool.busy_max))
    }
}

/// The first whole millisecond that is not earlier.
pub(super) fn whole_millis(t: Timestamp) -> Timestamp {
    Timestamp::from_nanos(t.as_nanos().div_ceil(1_000_000).saturating_mul(1_000_000))
}

/// `2026/11/25/`, as log streams begin.
fn day(t: Timestamp) -> String {
    t.to_string().split_once('T').map_or_else(String::new, |(day, _)| day.replace('-', "/") + "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_instance_is_used_again_until_it_is_reclaimed() {
        let (mut instances, mut random) = (Instances::default(), Random::new(1, 0));
        let mut acquire = |instances: &mut Instances, second: u64| {
            let at = Timestamp::from_nanos(second * 1_000_000_000);
            let started = instances.acquire(Function::Payment, at, Weather::CALM, &mut random);
            let started = started.unwrap();
            let until = started.start.saturating_add(Duration::from_secs(2));
            instances.occupy(Function::Payment, &started.instance, until);
            started
        };
        let first = acquire(&mut instances, 100);
        assert!(first.init.is_some(), "new");
        assert_ne!(acquire(&mut instances, 101).instance, first.instance, "the first is busy");
        let third = acquire(&mut instances, 110);
        assert_eq!(third.init, None);
        assert_eq!(instances.take_busy_max(Function::Payment), 2);
        assert!(acquire(&mut instances, 110 + 3 + 360).init.is_some(), "reclaimed");
    }
}
