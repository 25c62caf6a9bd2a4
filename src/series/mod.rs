//! The time-series store: deltas in event-time slots, read back as cumulative series.

pub mod sample;
pub mod matcher;
mod store;

pub use matcher::{MatchOp, Matcher};
pub use sample::{CounterReset, Histogram, RawSeries, STALE_NAN_BITS, Sample, SampleValue};
pub use store::{Config, MetricMetadata, MetricType, SelectError, Selection, Series};
