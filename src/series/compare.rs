//! Whether two stores say the same of what happened lately.
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
            let newest = entries.filter_map(|entry| {
                // Many series: what each says is held as its digest.
                let digest = xxh3_128(newest(entry, from)?.as_bytes());
                Some((entry.labels.clone(), digest))
            });
            newest.collect()
        };
        let (mine, theirs) = (held(self), held(other));
        let names = mine.keys().chain(theirs.keys());
        let differing = names.filter(|labels| mine.get(labels) != theirs.get(labels));
        Some(differing.map(|labels| labels.name().to_owned()).collect())
    }
}

/// The counts since ever and what happened from a second on, in a form that compares; None: nothing did.
fn newest(entry: &Entry, from: i64) -> Option<String> {
    let after = from.saturating_sub(1);
    match &entry.data {
        Data::Counter(held) => {
            let slots = held.slots.after(after);
            (!slots.is_empty()).then(|| format!("{} {slots:?}", held.total))
        }
        Data::Distribution(held, _) => {
            let slots = held.slots.after(after);
            (!slots.is_empty()).then(|| format!("{:?} {slots:?}", held.native_total()))
        }
        Data::Plain(held) => {
            let samples = held.samples(after.saturating_mul(1000), i64::MAX);
            (!samples.is_empty()).then(|| samples.iter().map(written).collect())
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
        assert_eq!(differing(&|series| series.append(&of("gauge"), sample(1, 4.0))), ["gauge"]);
        assert_eq!(differing(&|series| series.append(&of("new"), sample(1, 4.0))), ["new"]);
    }
}
