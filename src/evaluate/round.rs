//! One round: the rules that are due at one time, evaluated beside the engine.
//!
//! A round is begun under the evaluator's lock and takes along what it needs, is evaluated on some
//! threads without any lock, and is taken back under the lock. What comes in: groups with their
//! state, a way to read series, a stopwatch. What goes out: the rules' new state, transitions and
//! recorded samples, in the order of the groups however many threads there are. What is never true:
//! a rule that was not reached and looks as if it had been.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::evaluation::{self, RuleState, World};
use super::rule::{Group, Rule};
use super::{Config, Evaluation, Select};
use crate::signal::Timestamp;

/// `query_offset: auto` never waits longer: what is later does not count any more
/// (`correlate.allowed_lateness`).
const AUTO_OFFSET_MAX: Duration = Duration::from_mins(15);
/// A round takes no longer; rules that it did not reach are counted as missed and come first in the
/// next one. Long enough for every rule that is worth having at intervals of a second.
const ROUND_MAX: Duration = Duration::from_secs(5);
/// More threads would take the processor from the engine.
const THREADS_MAX: usize = 4;

/// Reads how long the round has taken so far.
pub type Elapsed<'a> = dyn Fn() -> Duration + Sync + 'a;

/// What is due, with the state that it starts from.
#[derive(Debug)]
pub struct Round {
    pub(super) now: Timestamp,
    pub(super) config: Arc<Config>,
    pub(super) jobs: Vec<Job>,
    pub(super) threads: usize,
    /// The ends of alerts and series whose rule is gone.
    pub(super) ended: Evaluation,
}

/// One group, and for each of its rules the state and how far behind now it is evaluated.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) group: Arc<Group>,
    pub(super) states: Vec<Arc<RuleState>>,
    pub(super) offsets: Vec<Duration>,
}

/// What a round found. Nothing has happened before [`super::Evaluator::finish`].
#[derive(Debug, Default)]
pub struct Finished {
    pub(super) now: Timestamp,
    pub(super) groups: Vec<Done>,
    pub(super) ended: Evaluation,
}

/// One group after its evaluation; states of rules that were reached.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) group: Arc<Group>,
    pub(super) states: Vec<RuleState>,
    pub(super) took: Duration,
    pub(super) evaluation: Evaluation,
}

impl Job {
    pub(super) fn new(
        group: &Arc<Group>,
        config: &Config,
        lateness: &mut dyn FnMut(&str) -> Duration,
        state: impl Fn(&Rule) -> Arc<RuleState>,
    ) -> Self {
        let fixed = group.query_offset.or(config.query_offset);
        let offsets = group.rules.iter().map(|rule| {
            let mut latest = || rule.metrics.iter().map(|m| lateness(m)).max().unwrap_or_default();
            fixed.unwrap_or_else(|| latest().min(AUTO_OFFSET_MAX))
        });
        let offsets = offsets.collect();
        Self { group: Arc::clone(group), states: group.rules.iter().map(state).collect(), offsets }
    }

    /// Evaluates rule after rule; each sees what those before it recorded.
    pub(super) fn evaluate(self, now: Timestamp, world: &World<'_>, elapsed: &Elapsed<'_>) -> Done {
        let Self { group, states, offsets } = self;
        let began = elapsed();
        let mut evaluation = Evaluation::default();
        let mut done = Vec::with_capacity(states.len());
        for ((rule, state), offset) in group.rules.iter().zip(states).zip(offsets) {
            let rule_began = elapsed();
            if rule_began >= ROUND_MAX {
                break;
            }
            let mut state = Arc::unwrap_or_clone(state);
            state.query_offset = offset;
            let at = now.saturating_sub(offset);
            let at = state.evaluated_at.map_or(at, |last| last.max(at));
            evaluation::evaluate(&group, rule, &mut state, at, (world, &mut evaluation));
            state.run_at = Some(now);
            state.took = elapsed().saturating_sub(rule_began);
            done.push(state);
        }
        let took = elapsed().saturating_sub(began);
        Done { group, states: done, took, evaluation }
    }
}

impl Round {
    pub(super) fn new(now: Timestamp, config: &Arc<Config>, jobs: Vec<Job>) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        Self { now, config: Arc::clone(config), jobs, threads, ended: Evaluation::default() }
    }

    #[cfg(test)]
    pub(super) fn on_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    #[cfg(test)]
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.jobs.iter().map(|job| &*job.group.name)
    }

    /// Evaluates every group, on as many threads as there are processors but at most a few. A group
    /// whose evaluation panics counts as not reached.
    pub fn evaluate(self, select: &Select<'_>, elapsed: &Elapsed<'_>) -> Finished {
        let Self { now, config, jobs, threads, ended } = self;
        let world = World {
            select,
            external_labels: &config.external_labels,
            external_url: &config.external_url,
        };
        let n_jobs = jobs.len();
        let queue: Vec<std::sync::Mutex<Option<Job>>> =
            jobs.into_iter().map(|job| std::sync::Mutex::new(Some(job))).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = BTreeMap::new();
            while let Some((at, job)) = take(&queue, &next) {
                done.insert(at, job.evaluate(now, &world, elapsed));
            }
            done
        };
        let n_threads = threads.min(n_jobs);
        let mut groups = BTreeMap::new();
        if n_threads <= 1 {
            groups = work();
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(work)).collect();
                groups.extend(threads.into_iter().filter_map(|t| t.join().ok()).flatten());
            });
        }
        Finished { now, groups: groups.into_values().collect(), ended }
    }
}

fn take(queue: &[std::sync::Mutex<Option<Job>>], next: &AtomicUsize) -> Option<(usize, Job)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    let job = queue.get(at)?.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()?;
    Some((at, job))
}
