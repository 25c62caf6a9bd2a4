//! Metric points: what users push, and what platforms report about functions and queues.

use serde::{Deserialize, Serialize};

use super::{Labels, Oddity, Text, Timestamp};

/// The bit pattern of Prometheus's staleness marker (`model/value/value.go`).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

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
    /// No recorded value: the series ends here (OTLP data point flag 1, Prometheus's stale marker).
    Stale,
    /// A native histogram as Prometheus has it.
    Native(Box<NativeHistogram>),
    /// One point of a summary: the series `_sum`, `_count` and one a quantile.
    Summary(Box<SummaryPoint>),
}

/// A summary as OTLP gives it. Stale where every value is the stale marker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SummaryPoint {
    pub count: f64,
    pub sum: f64,
    /// Quantile (0 to 1) and value, as told.
    pub quantiles: Vec<(f64, f64)>,
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

impl HistogramPoint {
    /// Bytes of its buckets and bounds.
    pub fn heap_bytes(&self) -> usize {
        let bytes = |counts: &[u64]| size_of_val(counts);
        match self {
            Self::Explicit { bounds, counts, .. } => size_of_val(bounds.as_slice()) + bytes(counts),
            Self::Exponential { positive, negative, .. } => {
                bytes(&positive.counts) + bytes(&negative.counts)
            }
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BucketSpan {
    pub offset: i32,
    pub counts: Vec<u64>,
}

/// Prometheus's native histogram: cumulative unless it is a gauge's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NativeHistogram {
    pub reset: ResetHint,
    /// Bucket `i` covers `(2^((i-1)*2^-schema), 2^(i*2^-schema)]`; [`Self::CUSTOM`]: `custom_bounds`.
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    /// Ascending by index, each index once.
    pub positive: Vec<(i32, f64)>,
    pub negative: Vec<(i32, f64)>,
    /// Upper bounds of custom buckets, ascending.
    pub custom_bounds: Vec<f64>,
}

impl NativeHistogram {
    /// The schema of histograms with bounds of their own.
    pub const CUSTOM: i32 = -53;
}

/// What the sender knows about a reset between a native histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetHint {
    #[default]
    Unknown,
    Yes,
    No,
    Gauge,
}

/// What a delivery says beside its signals, of series or of itself: for show, counted nowhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Remark {
    Metric(MetricMetadata),
    Exemplar {
        series: Labels,
        exemplar: Exemplar,
    },
    /// What a sender's resource says of itself: the series `target_info`, 1 at this time.
    Target {
        labels: Labels,
        time: Timestamp,
    },
    Odd(Oddity),
}

/// What kind of thing a metric is, as Prometheus's metadata has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    Unknown,
}

/// What is known of a metric beside its samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricMetadata {
    pub name: Text,
    #[serde(rename = "type")]
    pub kind: MetricType,
    pub help: Text,
    pub unit: Text,
}

/// One observation with the trace that it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exemplar {
    /// The real trace id, else the request's id; empty where a sender names none.
    pub trace_id: Text,
    /// Further labels of a pushed exemplar.
    pub others: Labels,
    pub value: f64,
    /// Milliseconds since the epoch.
    pub t: i64,
}

impl Exemplar {
    /// Of all labels, names and values together, in characters (`OpenMetrics` 1.0).
    pub const CHARS_MAX: usize = 128;

    /// By its labels, of which `trace_id` names the trace. `t` is in milliseconds since the epoch.
    pub fn of(labels: &Labels, value: f64, t: i64) -> Self {
        let trace_id = labels.get("trace_id").unwrap_or_default().into();
        Self { trace_id, others: labels.without("trace_id"), value, t }
    }
}
