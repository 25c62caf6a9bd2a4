//! Alert changes: what evaluate gives to notify, by way of the journal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::signal::{Labels, Text, Timestamp};

/// A rule's identity: alert state follows it and the labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleKey {
    pub file: Text,
    pub group: Text,
    pub name: Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Inactive,
    Pending,
    Firing,
}

/// One alert entered a state. Journaled before anything is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    pub rule: RuleKey,
    /// Of the alert: `alertname`, the rule's labels, the result's labels.
    pub labels: Labels,
    pub annotations: BTreeMap<Text, Text>,
    pub to: AlertState,
    /// The evaluation's (event) time at which it happened.
    pub at: Timestamp,
    /// When the expression first became true.
    pub active_at: Timestamp,
    pub value: f64,
    /// The alert was made false by late data, not by what came after.
    pub corrected: bool,
    pub evidence: Option<Evidence>,
}

/// `keep_firing_for` began to hold an alert whose expression is false, or no longer has to. Journaled, so
/// that a restart does not hold it anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub rule: RuleKey,
    pub labels: Labels,
    /// When the expression became false; None: it is true again.
    pub since: Option<Timestamp>,
}

/// What stands behind an alert when it begins, and when it ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// A real request that shows it.
    pub request: Option<Example>,
    pub impact: Option<Impact>,
    /// A version that came lately to the function that the excess lies in.
    pub version: Option<VersionChange>,
}

/// Where to look: a real request behind the alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    pub request_id: Text,
    pub flow: Text,
    pub outcome: Text,
    pub duration_ms: f64,
    /// Where it failed, where the alert is about failures.
    pub failed: Option<FailedAt>,
    /// The hop and part that took the most beyond its own usual: `fulfil (queue_wait)`.
    pub slowest: Text,
    pub slowest_ms: f64,
    /// What that part usually takes: the mean of the hour before. None: not known.
    pub usual_ms: Option<f64>,
    /// Its error, where it has one.
    pub error: Option<Text>,
    /// At most three lines: the steps that matter, in their order.
    pub timeline: Vec<Text>,
    /// Page of the request.
    pub url: Text,
}

/// The hop that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedAt {
    pub function: Text,
    /// From where it had its work.
    pub queue: Option<Text>,
    pub attempt: u32,
    pub outcome: Text,
    pub error: Option<Text>,
}

/// How much is bad.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Impact {
    pub counts: Option<Counts>,
    pub trend: Option<Trend>,
    pub budget: Option<Budget>,
    /// Of an alert that ended: the greatest share of bad events in a minute.
    pub peak_ratio: Option<f64>,
}

/// Bad events of all, in the minutes before the alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// What is counted: `requests`.
    pub what: Text,
    /// What the bad ones are: `bad`, `were retries`; empty where `what` says it.
    pub how: Text,
    pub bad: u64,
    /// None: only bad ones are counted.
    pub total: Option<u64>,
    pub window_s: u64,
}

/// A figure in equal steps, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// What it is: `bad requests`.
    pub what: Text,
    pub step_s: u64,
    pub values: Vec<f64>,
}

/// What is left of an objective's error budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    pub slo: Text,
    pub window_s: u64,
    /// How much of the window was measured; None: not known.
    pub measured_s: Option<u64>,
    /// Below 0 where more than all is spent.
    pub left_ratio: f64,
    /// The budget as minutes in which everything fails.
    pub whole_minutes: f64,
    /// How many times faster than allowed it was spent in the last hour.
    pub burn_1h: Option<f64>,
    /// At that speed; None: not within the window.
    pub gone_at: Option<Timestamp>,
    /// The share that was spent while the alert fired. Only of one that ended.
    pub spent_ratio: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionChange {
    pub function: Text,
    pub version: Text,
    pub before: Option<Text>,
    /// When it was first seen.
    pub since: Timestamp,
}

impl Evidence {
    /// What every receiver shows, whatever it knows of ours: as annotations.
    pub(crate) fn annotate(&self, annotations: &mut BTreeMap<Text, Text>) {
        if let Some(example) = &self.request {
            annotations.insert("evidence".into(), example.sentence().into());
            annotations.insert("request_url".into(), Text::clone(&example.url));
        }
    }
}

impl Impact {
    /// Requests that are bad because they took too long are slow ones.
    pub(crate) fn tell_of_time(&mut self) {
        if let Some(counts) = self.counts.as_mut().filter(|counts| *counts.how == *"bad") {
            counts.how = "slow".into();
        }
        if let Some(trend) = self.trend.as_mut().filter(|trend| *trend.what == *"bad requests") {
            trend.what = "slow requests".into();
        }
    }
}

impl Example {
    /// Where to look first: `fulfil on orders, attempt 3: KeyError`, `fulfil (queue_wait)`.
    pub(crate) fn place(&self) -> String {
        self.failed.as_ref().map_or_else(|| self.slowest.to_string(), FailedAt::place)
    }

    fn sentence(&self) -> String {
        let Self { flow, outcome, duration_ms, slowest, slowest_ms, url, .. } = self;
        let place = if let Some(failed) = &self.failed {
            format!("failed at {}", failed.place())
        } else {
            let error = self.error.as_ref().map(|error| error.trim_end().trim_end_matches('.'));
            let error = error.map(|error| format!("; {error}"));
            format!("{slowest_ms:.0} ms of it in {slowest}{}", error.unwrap_or_default())
        };
        format!("{flow} ended {outcome} after {duration_ms:.0} ms, {place}. {url}")
    }
}

impl FailedAt {
    fn place(&self) -> String {
        let Self { function, queue, attempt, outcome, error } = self;
        let mut text = function.to_string();
        // Writing to a String cannot fail.
        if let Some(queue) = queue {
            let _ = write!(text, " on {queue}");
        }
        if *attempt > 1 {
            let _ = write!(text, ", attempt {attempt}");
        }
        let why = error.as_ref().unwrap_or(outcome);
        let _ = write!(text, ": {}", why.trim_end().trim_end_matches('.'));
        text
    }
}
