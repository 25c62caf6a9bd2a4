//! What somebody should know about the store: what it lost, what is full, what is less exact.

use serde::Serialize;

use super::Series;
use super::table::Data;
use crate::number::u64_from_usize;
use crate::signal::{METRIC_NAME, Timestamp};

/// Histograms that are named; the rest are counted by the last.
const LISTED_MAX: usize = 20;

/// Something that somebody should know.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub kind: &'static str,
    pub message: String,
    /// When it was looked at last.
    pub since: Timestamp,
}

impl Series {
    /// All findings of the store, the worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let damaged = self.damaged_blocks().iter().map(|name| {
            let message = format!(
                "the series block {name} was damaged and is set aside in the data directory as \
                 {name}.damaged; samples of its hours are lost"
            );
            ("damaged_series_block", message)
        });
        let dropped = self.dropped();
        let lost = [
            (
                dropped.early_blocks,
                "blocks of series were dropped before their retention ended; raise `series.size_max`",
            ),
            (
                dropped.samples,
                "samples were dropped before they could be sealed; raise `memory_max`",
            ),
            (dropped.slots, "slots of derived series lost their resolution; raise `memory_max`"),
            (
                dropped.failed_writes,
                "blocks of series could not be written or merged and are tried again; see to the disk",
            ),
            (
                dropped.mismatched,
                "samples or deltas named a series of another kind and were not taken; rename their metric",
            ),
        ];
        let lost = lost.iter().filter(|(n, _)| *n > 0);
        let lost = lost.map(|(n, what)| ("dropped_series", format!("{what} ({n} so far)")));
        let full = self.table.full(super::store::second(self.now)).map(|name| {
            let n = self.table.n_of(name);
            let message = if self.table.overflows(name) {
                format!(
                    "{name} has {n} series, the most that there is room for; what names new ones goes to \
                     {name}{{otel_metric_overflow=\"true\"}}"
                )
            } else {
                format!(
                    "{name} has {n} series, the most that there is room for; samples of new ones are \
                     dropped: send fewer label sets, or raise `series.sampled_per_metric_max` and \
                     `memory_max`"
                )
            };
            ("full_metric", message)
        });
        let finding = |(kind, message)| Finding { kind, message, since: self.now };
        damaged.chain(lost).chain(full).chain(self.merged_histograms()).map(finding).collect()
    }

    /// Histograms that reached their bucket budget.
    fn merged_histograms(&self) -> impl Iterator<Item = (&'static str, String)> {
        let mut merged = self.table.iter().filter_map(|entry| match &entry.data {
            Data::Distribution(held, _) => held.merged_error().map(|error| (entry, error)),
            _ => None,
        });
        let listed: Vec<_> = merged.by_ref().take(LISTED_MAX).collect();
        let n_more = u64_from_usize(merged.count());
        let named = listed.into_iter().map(|(entry, error)| {
            let labels = entry.labels.without(METRIC_NAME);
            format!(
                "{}{labels} spans so many values that its buckets were merged; its quantiles hold \
                 within {:.1} %, others' within 2.2 %",
                entry.labels.name(),
                error * 100.0
            )
        });
        let more = (n_more > 0).then(|| format!("{n_more} more histograms have merged buckets"));
        named.chain(more).map(|message| ("merged_buckets", message))
    }
}
