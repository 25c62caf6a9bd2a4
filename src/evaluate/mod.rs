//! Evaluate: rules over series to alert changes; `slo` compiles objectives to rules.

pub mod alert;

use std::time::Duration;

pub use alert::{AlertState, Evidence, RuleKey, Transition};

use crate::series::{RawSeries, SelectError, Selection};
use crate::signal::{Labels, Text, Timestamp};

/// Reads the series of one selection; the daemon locks its store inside, tests bring their own.
pub type Select<'a> = dyn Fn(&Selection<'_>) -> Result<Vec<RawSeries>, SelectError> + Sync + 'a;

/// p99 over 15 min of (applied - event time) of what reached a metric.
pub type Lateness<'a> = dyn Fn(&str) -> Duration + Sync + 'a;

/// All rule groups and the state of their alerts. Pure: given time and series, gives transitions.
#[derive(Debug, Default)]
pub struct Evaluator {}

/// What one tick of evaluation gave. Neither has happened before it is journaled and applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    pub transitions: Vec<Transition>,
    pub recorded: Vec<Recorded>,
}

/// A sample of a recording rule.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Recorded {
    pub labels: Labels,
    pub at: Timestamp,
    /// None is a staleness marker.
    pub value: Option<f64>,
}

#[derive(Clone, Debug, Default)]
pub struct Config {
    pub rule_files: Vec<(String, String)>,
    pub slo_files: Vec<(String, String)>,
    pub evaluation_interval: Duration,
    pub query_offset: Option<Duration>,
    pub external_url: String,
    pub external_labels: Labels,
}
pub mod pack {
    pub const DEMO_SLOS: &str = "";
    pub fn runbook(_n: &str) -> Option<&'static str> {
        None
    }
}
pub mod slo {
    pub fn generate(_f: &[(String, String)]) -> Result<String, Vec<crate::signal::Diagnostic>> {
        Ok(String::new())
    }
}
pub mod unit_test {
    pub struct TestReport {
        pub passed: usize,
        pub failures: Vec<String>,
    }
    pub fn run(
        _p: &std::path::Path,
        _r: &dyn Fn(&std::path::Path) -> std::io::Result<String>,
    ) -> TestReport {
        TestReport { passed: 0, failures: Vec::new() }
    }
}

impl Evaluator {
    pub fn try_new(_c: Config) -> Result<Self, Vec<crate::signal::Diagnostic>> {
        Ok(Self {})
    }
    pub fn set_config(&mut self, _c: Config) -> Result<(), Vec<crate::signal::Diagnostic>> {
        Ok(())
    }
    pub fn objectives(&self) -> Vec<crate::measure::Objective> {
        Vec::new()
    }
    /// Evaluates the groups that are due at `now` (log time), each at `now - query_offset`.
    pub fn evaluate(
        &mut self,
        _now: Timestamp,
        _select: &Select<'_>,
        _lateness: &Lateness<'_>,
    ) -> Evaluation {
        Evaluation::default()
    }

    /// Takes a transition back from the journal: live, right after it was written, and at recovery.
    pub fn apply(&mut self, _transition: &Transition) {}

    /// `ALERTS` and `ALERTS_FOR_STATE` samples of what is pending or firing.
    pub fn alert_series(&self, _now: Timestamp) -> Vec<(Labels, f64)> {
        Vec::new()
    }

    /// `data` of `/api/v1/rules`.
    pub fn rules_json(&self, _filter: &RuleFilter) -> serde_json::Value {
        serde_json::json!({"groups": []})
    }

    /// `data` of `/api/v1/alerts`.
    pub fn alerts_json(&self) -> serde_json::Value {
        serde_json::json!({"alerts": []})
    }

    /// Every alert that is not inactive, firing first.
    pub fn active(&self) -> Vec<ActiveAlert> {
        Vec::new()
    }

    /// The objectives with their state, as `/api/slos` shows them.
    pub fn slos_json(&self, _now: Timestamp, _select: &Select<'_>) -> serde_json::Value {
        serde_json::json!({"slos": []})
    }
}

/// Query parameters of `/api/v1/rules`.
#[derive(Clone, Debug, Default)]
pub struct RuleFilter {
    /// `alert` or `record`.
    pub kind: Option<String>,
    pub rule_names: Vec<String>,
    pub groups: Vec<String>,
    pub files: Vec<String>,
    pub exclude_alerts: bool,
}

/// One alert as pages and APIs show it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveAlert {
    pub rule: RuleKey,
    pub state: AlertState,
    pub labels: Labels,
    pub annotations: std::collections::BTreeMap<Text, Text>,
    pub active_at: Timestamp,
    pub value: f64,
    pub evidence: Option<Evidence>,
}
