//! The time-series store: deltas in event-time slots, read back as cumulative series.
//!
//! In come signed deltas at event time ([`Series::add`], [`Series::observe`]) and samples as they are
//! ([`Series::append`]); out go the samples that a query selects. A derived counter is never stored as
//! a running total, so a correction touches one slot and nothing is ever reset.

pub mod catalog;
pub mod export;
pub mod matcher;
pub mod sample;
mod bits;
mod bounds;
mod chunk;
mod counter;
mod distribution;
mod exemplar;
mod lateness;
mod plain;
mod read;
mod remarks;
mod slots;
mod snapshot;
mod store;
mod table;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

pub use matcher::{MatchOp, Matcher};
pub use sample::{CounterReset, Histogram, RawSeries, STALE_NAN_BITS, Sample, SampleValue};
pub use snapshot::SnapshotError;
pub use store::{Config, Dropped, Observation, SelectError, Selection, Series};
