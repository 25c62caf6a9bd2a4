//! Measure: changes of requests, invocations and messages in; samples of series out.

use crate::correlate::Change;
use crate::series::Series;
use crate::signal::{MetricPoint, Timestamp};

/// Remembers the last contribution of every correctable subject, so that a correction subtracts the
/// old and adds the new.
#[derive(Debug, Default)]
pub struct Measure {}

/// Good/total counter at a latency objective's own threshold, or of outcomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    pub slo: crate::signal::Text,
    pub service: crate::signal::Text,
    pub sli: Sli,
}

/// What makes an event of an SLO good.
#[derive(Clone, Debug, PartialEq)]
pub enum Sli {
    /// Finished requests of a flow (None: all) whose outcome is ok.
    Availability { flow: Option<crate::signal::Text> },
    /// Finished requests of a flow that took at most the threshold.
    Latency {
        flow: Option<crate::signal::Text>,
        threshold: std::time::Duration,
        whole_request: bool,
    },
}

impl Measure {
    pub fn new() -> Self {
        Self::default()
    }

    /// The objectives whose `throughline_slo_*` counters are kept from now on.
    pub fn set_objectives(&mut self, _objectives: Vec<Objective>) {}

    /// Applies one tick's changes to the store.
    pub fn apply(&mut self, _changes: &[Change], _series: &mut Series, _now: Timestamp) {}

    /// Stores one pushed or platform metric point.
    pub fn point(&mut self, _point: &MetricPoint, _series: &mut Series, _now: Timestamp) {}
}
