//! What an alert is about: failures, time or cold starts. It decides which request shows it, and where.

use std::time::Duration;

use serde_json::Value;

use crate::correlate::request::Hop;
use crate::correlate::{Outcome, Request};
use crate::evaluate::Reads;
use crate::signal::{Labels, parse_duration};

/// Parts of the names of metrics of failures; they weigh more than those of time. The depth of a
/// dead-letter queue is none of them: rules about time ask it what to leave out.
const OF_FAILURES: [&str; 5] =
    ["_errors_total", "_retries_total", "_timeouts_total", "_dlq_arrivals_", "_duplicate_"];
/// Parts of the names of metrics of time.
const OF_TIME: [&str; 4] = ["_duration_seconds", "_lag_seconds", "_age_seconds", "_wait_seconds"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Matter {
    /// Something failed: requests that ended so, the worst first.
    Failures(Vec<Outcome>),
    /// Something took long: requests that took at least this.
    Time(Duration),
    ColdStarts,
}

impl Matter {
    /// By the objective, where the alert is about one, otherwise by what its rule asks for.
    pub(super) fn of(
        labels: &Labels,
        reads: &Reads,
        objective: &dyn Fn() -> Option<Value>,
    ) -> Self {
        if let Some(slo) = objective() {
            return match slo["sli"].as_str() {
                Some("latency") => {
                    let threshold = slo["threshold"].as_str().and_then(parse_duration);
                    Self::Time(threshold.unwrap_or_default())
                }
                Some("freshness") => Self::Time(Duration::ZERO),
                Some("completeness") => Self::Failures(vec![Outcome::Incomplete]),
                _ => Self::failures(),
            };
        }
        let reads_any = |parts: &[&str]| {
            reads.metrics.iter().any(|metric| parts.iter().any(|part| metric.contains(part)))
        };
        if reads_any(&["_cold_starts_total"]) {
            return Self::ColdStarts;
        }
        if reads_any(&["_throttles_total"]) {
            return Self::Failures(vec![Outcome::Throttled]);
        }
        if !reads_any(&OF_FAILURES) && reads_any(&OF_TIME) {
            return Self::Time(Duration::ZERO);
        }
        // An outcome of attempts says nothing of how their requests ended.
        let of_requests = reads.outcomes.iter().filter(|_| labels.get("faas_name").is_none());
        let asked = |outcome: &Outcome| of_requests.clone().any(|name| **name == *outcome.as_str());
        let asked: Vec<Outcome> = bad().filter(asked).collect();
        if asked.is_empty() { Self::failures() } else { Self::Failures(asked) }
    }

    fn failures() -> Self {
        Self::Failures(bad().collect())
    }

    /// The hop that failed, where the alert is about failures: of the alert's function, where it names
    /// one; of its queue before others, then one that says why, then the last.
    pub(super) fn failed<'r>(&self, request: &'r Request, labels: &Labels) -> Option<&'r Hop> {
        let Self::Failures(_) = self else { return None };
        let queue = labels.get("source_queue").or_else(|| labels.get("queue"));
        let is_named =
            |hop: &&Hop| labels.get("faas_name").is_none_or(|name| *hop.function == *name);
        let worth = |hop: &&Hop| {
            let is_queued = queue.is_some() && hop.queue.as_deref() == queue;
            (is_queued, hop.error.is_some(), hop.start)
        };
        let failed = request.hops.iter().filter(|hop| hop.outcome != Outcome::Ok);
        failed.filter(is_named).max_by_key(worth)
    }
}

/// The worst first.
fn bad() -> impl Iterator<Item = Outcome> {
    Outcome::ALL.into_iter().rev().filter(|outcome| *outcome != Outcome::Ok)
}
