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
mod block;
mod block_cache;
mod blocks;
mod bounds;
mod chunk;
mod column;
mod compare;
mod counter;
mod decimal;
mod distribution;
mod entries;
mod erase;
mod exemplar;
pub mod findings;
mod lateness;
pub mod looks;
mod natives;
mod payload;
mod plain;
mod read;
mod remarks;
mod rice;
mod seal;
mod sealed;
mod slots;
mod snapshot;
mod store;
mod table;
mod taken;
mod values;
pub mod windows;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod seal_tests;
#[cfg(test)]
mod tests;

pub use lateness::Lateness;
pub use matcher::{MatchOp, Matcher};
pub use read::{label_sets_shared, select_shared};
pub use sample::{
    CounterReset, Histogram, RawSeries, Run, STALE_NAN_BITS, Sample, SampleValue, runs,
};
pub use snapshot::{SnapshotError, is_whole_block};
pub use store::{Address, Config, Dropped, Observation, SelectError, Selection, Series};
pub use taken::GoesOn;
pub use values::{label_names_shared, label_values_shared};
