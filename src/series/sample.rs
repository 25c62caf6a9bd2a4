//! What a query reads: samples of series, floats or native histograms.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::signal::Labels;

/// The value of the sample that ends a series.
pub const STALE_NAN_BITS: u64 = crate::signal::STALE_NAN_BITS;

/// One series with the samples of a selection, in ascending order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct RawSeries {
    pub labels: Labels,
    pub samples: Vec<Sample>,
    /// Of each sample, since when its counter counts: milliseconds, 0 where unknown. Empty where
    /// storage keeps none.
    pub starts: Vec<i64>,
}

impl RawSeries {
    /// Samples without start timestamps.
    pub fn new(labels: Labels, samples: Vec<Sample>) -> Self {
        Self { labels, samples, starts: Vec::new() }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since the epoch; may be negative in tests.
    pub t: i64,
    pub value: SampleValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl SampleValue {
    /// What counted nothing yet, in the same buckets.
    pub(crate) fn zero(&self) -> Self {
        match self {
            Self::Float(_) => Self::Float(0.0),
            Self::Histogram(held) => Self::Histogram(Arc::new(Histogram {
                counter_reset: CounterReset::Unknown,
                schema: held.schema,
                zero_threshold: held.zero_threshold,
                zero_count: 0.0,
                count: 0.0,
                sum: 0.0,
                positive: Vec::new(),
                negative: Vec::new(),
                custom_bounds: Arc::clone(&held.custom_bounds),
            })),
        }
    }
}

/// A native histogram with float counts, as PromQL computes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    pub counter_reset: CounterReset,
    /// Bucket `i` covers `(2^((i-1)*2^-schema), 2^(i*2^-schema)]`; -53 means `custom_bounds`.
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    /// (index, count) in ascending order of index, no duplicates.
    pub positive: Vec<(i32, f64)>,
    pub negative: Vec<(i32, f64)>,
    /// Upper bounds where the schema is -53.
    pub custom_bounds: Arc<[f64]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CounterReset {
    #[default]
    Unknown,
    Yes,
    No,
    Gauge,
}

/// Neighbouring buckets without a gap, as exposition and remote write tell them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run<'a> {
    /// Empty buckets between the end of the run before and this one; of the first, from bucket 0.
    pub offset: i32,
    /// (index, count)
    pub buckets: &'a [(i32, f64)],
}

/// The runs of buckets that are in ascending order of index.
pub fn runs(buckets: &[(i32, f64)]) -> impl Iterator<Item = Run<'_>> {
    let mut end = 0;
    buckets.chunk_by(|(a, _), (b, _)| b - a == 1).filter_map(move |buckets| {
        let ((first, _), (last, _)) = (buckets.first()?, buckets.last()?);
        let offset = first - end;
        end = last + 1;
        Some(Run { offset, buckets })
    })
}
