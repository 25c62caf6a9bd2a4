//! Scraping: pages of Prometheus metrics, fetched at an interval.
//!
//! In: jobs with their targets. Out: one batch a scrape, with `up`, `scrape_duration_seconds` and
//! Prometheus's other series about the scrape itself; series that a page no longer shows, or that
//! cannot be fetched any more, end with a stale marker. Never is a redirect followed, never is more of
//! a page held than `body_max`.
//! Source: prometheus.io/docs/prometheus/latest/configuration/configuration, `scrape_config`.

pub mod config;
mod fetch;
mod pass;
pub mod presets;
pub mod relabel;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::config::{Job, Target};
use self::fetch::Fetcher;
use self::pass::{Memory, Outcome};
use super::{Shared, told};
use crate::clock::Clock;
use crate::normalize::redact::Redactor;
use crate::signal::{Batch, Timestamp};

/// The targets that are scraped now.
#[derive(Debug, Default)]
pub(super) struct Running {
    by_target: HashMap<String, One>,
}

#[derive(Debug)]
struct One {
    target: Target,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Ends what the jobs do not name, starts what is new, leaves alone what is the same.
    pub(super) async fn come_to(&mut self, jobs: &[Job], shared: &Shared) {
        let mut wanted: HashMap<String, Target> =
            jobs.iter().flat_map(Job::targets).map(|target| (target.key(), target)).collect();
        let gone: Vec<String> = self
            .by_target
            .iter()
            .filter(|(key, one)| wanted.get(*key) != Some(&one.target))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(one) = self.by_target.remove(&key) {
                one.end().await;
            }
        }
        wanted.retain(|key, _| !self.by_target.contains_key(key));
        for (key, target) in wanted {
            let (stop, stopped) = watch::channel(false);
            let task = tokio::spawn(run(target.clone(), shared.clone(), stopped));
            self.by_target.insert(key, One { target, stop, task });
        }
    }

    /// Waits until all have ended; the daemon's own stop has been told to them.
    pub(super) async fn end(&mut self) {
        for (_, one) in self.by_target.drain() {
            one.end().await;
        }
    }
}

impl One {
    async fn end(self) {
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(event = "collect.task.failed", %error);
        }
    }
}

/// Scrapes one target at its interval, until it is no longer wanted or the daemon stops.
async fn run(target: Target, shared: Shared, mut unwanted: watch::Receiver<bool>) {
    let fetcher = match Fetcher::try_new(&target) {
        Ok(fetcher) => fetcher,
        Err(error) => {
            tracing::error!(event = "collect.client.failed", target = target.instance, %error);
            return;
        }
    };
    let mut stopping = shared.stopping.clone();
    let mut scraping =
        Scraping { target: Arc::new(target), memory: Memory::default(), fails: false };
    loop {
        let now = shared.clock.now();
        let due = next(now, scraping.target.interval, scraping.target.phase);
        let wait = shared.clock.real(due.since(now));
        tokio::select! {
            // When the daemon stops, series do not end: it comes back.
            () = told(&mut stopping) => return,
            () = told(&mut unwanted) => {
                if !*shared.stopping.borrow() {
                    scraping.give_up(&shared).await;
                }
                return;
            }
            () = tokio::time::sleep(wait) => {}
        }
        tokio::select! {
            () = told(&mut stopping) => return,
            () = scraping.once(&fetcher, &shared) => {}
        }
    }
}

/// When the next scrape is due: at the target's own phase of the interval, so that targets do not all
/// come at once and a restart keeps the rhythm.
fn next(now: Timestamp, interval: Duration, phase: Duration) -> Timestamp {
    let every = interval.as_nanos().max(1);
    let phase = phase.as_nanos() % every;
    let now = u128::from(now.as_nanos());
    let last = now.saturating_sub(phase) / every * every + phase;
    let due = if last > now { last } else { last + every };
    Timestamp::from_nanos(u64::try_from(due).unwrap_or(u64::MAX))
}

struct Scraping {
    target: Arc<Target>,
    memory: Memory,
    /// Whether the last scrape failed; a failure is told once.
    fails: bool,
}

impl Scraping {
    async fn once(&mut self, fetcher: &Fetcher, shared: &Shared) {
        let at = shared.clock.now();
        let stopwatch = Clock::stopwatch();
        let page = fetcher.fetch(&self.target).await;
        let took = stopwatch.elapsed();
        let outcome = page.and_then(|page| pass::read(&page, &self.target, at));
        self.note(outcome.as_ref().err().map(String::as_str));
        let batch = self.batch(outcome.ok(), at, took, shared);
        // A gap in gauges is what a scrape that nobody can take means; the next one is due soon.
        if let Err(refusal) = shared.deliver(batch, self.target.interval / 2).await {
            tracing::warn!(event = "collect.batch.refused", target = self.target.instance, %refusal);
        }
    }

    fn batch(
        &mut self,
        outcome: Option<Outcome>,
        at: Timestamp,
        took: Duration,
        shared: &Shared,
    ) -> Batch {
        let redactor = Redactor::new(&shared.normalize.load().redact);
        self.memory.batch(&self.target, outcome, pass::When { at, took }, &redactor)
    }

    /// Ends every series of a target that the configuration no longer names.
    async fn give_up(&mut self, shared: &Shared) {
        let batch = self.memory.end(&self.target, shared.clock.now());
        if let Err(refusal) = shared.deliver(batch, Duration::from_secs(1)).await {
            tracing::warn!(event = "collect.batch.refused", target = self.target.instance, %refusal);
        }
    }

    fn note(&mut self, failure: Option<&str>) {
        let Target { job, instance, .. } = &*self.target;
        match failure {
            Some(error) if !self.fails => {
                tracing::warn!(event = "collect.scrape.failed", job, instance, error);
            }
            Some(error) => tracing::debug!(event = "collect.scrape.failed", job, instance, error),
            None if self.fails => tracing::info!(event = "collect.scrape.started", job, instance),
            None => {}
        }
        self.fails = failure.is_some();
    }
}
