//! Whether two stores say the same: how much they counted, and what happened lately.
//!
//! Two stores come in that the same log made, by two ways; the metrics of which they differ go out. What is
//! sealed into blocks is not looked at, since blocks belong to a folder: counts since ever, and the newest
//! stretch, which is never sealed. Never is a difference told that a bound of memory made: what it drops
//! depends on everything that a store holds.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_128;

use super::table::{Data, Entry};
use super::{Sample, SampleValue, Series};

impl Series {
    /// Names of metrics of which the other store holds something else; those that `is_beside` names may
    /// differ. None: either met its bound of memory, and the two cannot be compared.
    pub fn differing(
        &self,
        other: &Self,
        is_beside: impl Fn(&str) -> bool,
    ) -> Option<BTreeSet<String>> {
        if [self, other].iter().any(|one| one.dropped.samples + one.dropped.slots > 0) {
            return None;
        }
        let from = self.zones.fine_from().max(other.zones.fine_from());
        let held = |series: &'_ Self| -> BTreeMap<_, _> {
            let entries = series.table.iter().filter(|entry| !is_beside(entry.labels.name()));
            entries.map(|entry| (entry.labels.clone(), Said::of(entry, from))).collect()
        };
        let (mine, theirs) = (held(self), held(other));
        let names = mine.keys().chain(theirs.keys());
        let differing = names.filter(|labels| {
            let (mine, theirs) = (mine.get(labels), theirs.get(labels));
            mine.and_then(|said| said.newest) != theirs.and_then(|said| said.newest)
                || mine.zip(theirs).is_some_and(|(mine, theirs)| mine.total != theirs.total)
        });
        Some(differing.map(|labels| labels.name().to_owned()).collect())
    }
}

/// What a series says, as digests: there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    /// The counts since ever, of what counts. A series of which all is sealed goes once no block has it, and one of
    /// the stores may have none of the blocks; so it counts where both have the series.
    total: Option<u128>,
    /// What happened from a second on; None: nothing did.
    newest: Option<u128>,
}

impl Said {
    fn of(entry: &Entry, from: i64) -> Self {
        let after = from.saturating_sub(1);
        let digest = |text: &str| xxh3_128(text.as_bytes());
        match &entry.data {
            Data::Counter(held) => {
                let slots = held.slots.after(after);
                Self {
                    total: Some(digest(&held.total.to_string())),
                    newest: (!slots.is_empty()).then(|| digest(&format!("{slots:?}"))),
                }
            }
            Data::Distribution(held, _) => {
                let slots = held.slots.after(after);
                Self {
                    total: Some(digest(&format!("{:?}", held.native_total()))),
                    newest: (!slots.is_empty()).then(|| digest(&format!("{slots:?}"))),
                }
            }
            Data::Plain(held) => {
                let samples = held.samples(after.saturating_mul(1000), i64::MAX);
                let written = || samples.iter().map(written).collect::<String>();
                Self { total: None, newest: (!samples.is_empty()).then(|| digest(&written())) }
            }
        }
    }
}

/// To the bit: staleness markers are no equal numbers.
fn written(sample: &Sample) -> String {
    match &sample.value {
        SampleValue::Float(value) => format!("{} {:x};", sample.t, value.to_bits()),
        SampleValue::Histogram(histogram) => format!("{} {histogram:?};", sample.t),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Config;
    use crate::signal::{Labels, METRIC_NAME, Timestamp};

    fn at(second: u64) -> Timestamp {
        Timestamp::from_nanos((1_000_000 + second) * 1_000_000_000)
    }

    fn sample(second: u64, value: f64) -> Sample {
        Sample { t: at(second).as_millis(), value: SampleValue::Float(value) }
    }

    /// A counter, a gauge that ends and one that is beside the log.
    fn store(more: impl FnOnce(&mut Series)) -> Series {
        let mut series = Series::new(Config::default());
        let of = |name: &str| Labels::of(&[(METRIC_NAME, name), ("faas_name", "a")]);
        series.tick(at(0));
        series.add(&of("throughline_cold_starts_total"), at(1), 1.0);
        series.append(&of("gauge"), sample(1, 3.0));
        series.append(&of("gauge"), sample(2, f64::from_bits(crate::series::STALE_NAN_BITS)));
        more(&mut series);
        series.tick(at(3));
        series
    }

    #[test]
    fn what_differs_is_named_and_what_is_beside_the_log_is_not() {
        let of = |name: &str| Labels::of(&[(METRIC_NAME, name), ("faas_name", "a")]);
        let differing = |more: &dyn Fn(&mut Series)| {
            let found = store(|_| ()).differing(&store(more), |name| name == "ours");
            found.expect("no bound was met").into_iter().collect::<Vec<_>>()
        };
        assert!(differing(&|_| ()).is_empty());
        assert!(differing(&|series| series.append(&of("ours"), sample(1, 1.0))).is_empty());
        let counted =
            differing(&|series| series.add(&of("throughline_cold_starts_total"), at(2), 1.0));
        assert_eq!(counted, ["throughline_cold_starts_total"]);
        // Hours ago, in a series that nothing happened to since.
        let hours = |count: f64| {
            let mut series =
                store(|series| series.add(&of("throughline_retries_total"), at(2), count));
            series.tick(at(9 * 3600));
            series
        };
        assert_eq!(hours(1.0).differing(&hours(1.0), |_| false), Some(BTreeSet::new()));
        let old = hours(1.0).differing(&hours(2.0), |_| false).expect("no bound was met");
        assert_eq!(old.into_iter().collect::<Vec<_>>(), ["throughline_retries_total"]);
        assert_eq!(differing(&|series| series.append(&of("gauge"), sample(1, 4.0))), ["gauge"]);
        assert_eq!(differing(&|series| series.append(&of("new"), sample(1, 4.0))), ["new"]);
    }
}
