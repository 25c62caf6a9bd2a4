//! Metric points: what users push, and what platforms report about functions and queues.

use serde::{Deserialize, Serialize};

use super::{Labels, Timestamp};

/// One value of one series at one time. The labels include `__name__`. Platform metrics that the
/// contract knows arrive under the contract's names (`throughline_queue_depth{queue}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    pub labels: Labels,
    pub time: Timestamp,
    /// Start of the interval of a sum or histogram, where told.
    pub start: Option<Timestamp>,
    pub value: MetricValue,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MetricValue {
    Gauge(f64),
    Sum {
        value: f64,
        monotonic: bool,
        temporality: Temporality,
    },
    Histogram {
        point: HistogramPoint,
        temporality: Temporality,
    },
    /// No recorded value: the series ends here (OTLP data point flag 1).
    Stale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Temporality {
    Cumulative,
    Delta,
}

/// An explicit-bucket or base-2 exponential histogram, as OTLP gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HistogramPoint {
    /// `counts` has one more entry than `bounds`; the last is the overflow.
    Explicit { count: u64, sum: f64, bounds: Vec<f64>, counts: Vec<u64> },
    /// Bucket `offset + i` of scale `s` covers `(2^(i*2^-s), 2^((i+1)*2^-s)]`.
    Exponential {
        count: u64,
        sum: f64,
        scale: i32,
        zero_count: u64,
        zero_threshold: f64,
        positive: BucketSpan,
        negative: BucketSpan,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BucketSpan {
    pub offset: i32,
    pub counts: Vec<u64>,
}
