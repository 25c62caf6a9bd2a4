//! The store itself.

use std::time::Duration;

use super::{Matcher, RawSeries};
use crate::signal::{Labels, Text, Timestamp};

/// Checked settings. `Default` is the contract's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a sample can be queried.
    pub retention: Duration,
    pub memory_max_bytes: u64,
    /// Series of one metric; more go to one overflow series.
    pub series_per_metric_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retention: Duration::from_hours(720),
            memory_max_bytes: 100 << 20,
            series_per_metric_max: 2000,
        }
    }
}

/// What a query asks for: all series that match, with their samples in `(start, end]`.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    pub matchers: &'a [Matcher],
    /// Milliseconds since the epoch, exclusive.
    pub start: i64,
    /// Milliseconds since the epoch, inclusive.
    pub end: i64,
    /// Samples that the query may still read, over all its series.
    pub samples_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    #[error("the query would read more than {max} samples; narrow its selectors or its range")]
    TooManySamples { max: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MetricMetadata {
    pub name: Text,
    #[serde(rename = "type")]
    pub kind: MetricType,
    pub help: Text,
    pub unit: Text,
}

/// All series, in memory, with a bound.
#[derive(Debug)]
pub struct Series {
    config: Config,
}

impl Series {
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Adds `delta` (negative for a correction) to a derived counter, in the slot of `at`.
    pub fn add(&mut self, _labels: &Labels, _at: Timestamp, _delta: f64) {}

    /// Adds `count` observations of `value` (negative for a correction) to a derived histogram.
    pub fn observe(&mut self, _labels: &Labels, _at: Timestamp, _value: f64, _count: i64) {}

    /// Stores a gauge, scraped, pushed or recorded sample as it is.
    pub fn append(&mut self, _labels: &Labels, _sample: super::Sample) {}

    pub fn select(&self, _selection: &Selection<'_>) -> Result<Vec<RawSeries>, SelectError> {
        Ok(Vec::new())
    }

    /// Label sets of all series that match and have a sample in `[start, end]` (milliseconds).
    pub fn label_sets(&self, _matchers: &[Matcher], _start: i64, _end: i64) -> Vec<Labels> {
        Vec::new()
    }

    pub fn metadata(&self) -> Vec<MetricMetadata> {
        Vec::new()
    }

    /// p99 over 15 min of (applied - event time) of what reached series of this metric.
    pub fn lateness(&self, _metric: &str) -> Duration {
        Duration::ZERO
    }

    /// Forgets what is older than retention; called on ticks.
    pub fn tick(&mut self, _now: Timestamp) {}
}
