//! What leaves by `/metrics` and remote write: present totals, and the high-water marks over them.
//!
//! A correction may lower a total here; a scraper would read that as a restart. So what leaves is the
//! highest value that ever left, until the total has passed it again.

use std::collections::BTreeMap;
use std::sync::RwLock;

use serde::{Deserialize, Serialize};

use super::catalog;
use super::counter::from_parts;
use super::distribution::halve_native;
use super::read::Conditions;
use super::store::second;
use super::table::Data;
use super::taken::Access;
use super::{Histogram, SampleValue, Series};
use crate::signal::{Exemplar, Labels, Timestamp};

/// One series with its present total.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportSeries {
    pub labels: Labels,
    /// When it was zero for the last time; the epoch for gauges.
    pub created: Timestamp,
    pub value: ExportValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExportValue {
    Counter(f64),
    Gauge(f64),
    Histogram(Box<ExportHistogram>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ExportHistogram {
    /// `count` is the sum of its buckets.
    pub native: Histogram,
    /// (upper bound in the metric's unit, cumulative count), ascending; infinity last.
    pub classic: Vec<(f64, f64)>,
    pub exemplar: Option<Exemplar>,
}

/// A gauge that is older says nothing about the present: Prometheus's lookback.
const GAUGE_AGE_MAX_MS: i64 = 5 * 60 * 1000;

impl Series {
    /// The present totals of all derived series and the newest values of the contract's gauges, in
    /// the order of their labels.
    pub fn export(&self) -> Vec<ExportSeries> {
        export(Access::Held(self))
    }

    fn export_one(&self, entry: &super::table::Entry) -> Option<ExportSeries> {
        let labels = entry.labels.clone();
        let created = || {
            let (first, _) = self.seen(entry)?;
            Some(Timestamp::from_millis(first.saturating_mul(1000)))
        };
        match &entry.data {
            Data::Counter(counter) => {
                let value = ExportValue::Counter(from_parts(counter.total, entry.parts));
                Some(ExportSeries { labels, created: created()?, value })
            }
            Data::Distribution(held, exemplars) => {
                let value = ExportValue::Histogram(Box::new(ExportHistogram {
                    native: held.native_total(),
                    classic: held.classic_total(&self.bounds),
                    exemplar: exemplars.newest().cloned(),
                }));
                Some(ExportSeries { labels, created: created()?, value })
            }
            Data::Plain(plain) => {
                catalog::find(labels.name())?;
                let now = second(self.now).saturating_mul(1000).saturating_add(999);
                let last = plain.samples(now.saturating_sub(GAUGE_AGE_MAX_MS), now).pop()?;
                let SampleValue::Float(value) = last.value else { return None };
                let is_stale = value.to_bits() == super::STALE_NAN_BITS;
                let value = ExportValue::Gauge(value);
                (!is_stale).then_some(ExportSeries { labels, created: Timestamp::EPOCH, value })
            }
        }
    }
}

/// As [`Series::export`], of a store that others write to: each series is of one moment, its neighbours
/// perhaps of the next.
pub fn export_shared(series: &RwLock<Series>) -> Vec<ExportSeries> {
    export(Access::Shared(series))
}

fn export(access: Access<'_>) -> Vec<ExportSeries> {
    let mut exported = Vec::new();
    let (everything, goes_on) = (Conditions::new(&[]), || true);
    let ids = access.candidates(&everything, &goes_on);
    access.each(&ids, everything.look(), &goes_on, |series, ids| {
        let entries = ids.iter().filter_map(|id| series.table.get(*id));
        exported.extend(entries.filter_map(|entry| series.export_one(entry)));
        ids.len()
    });
    exported.sort_by(|a: &ExportSeries, b| a.labels.cmp(&b.labels));
    exported
}

/// The highest values that ever left, by series. A series that is no longer exported is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HighWater(BTreeMap<Labels, Mark>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Mark {
    Counter(f64),
    Histogram { native: Histogram, classic: Vec<(f64, f64)> },
}

impl HighWater {
    /// Lifts every exported counter and bucket to its mark, and the marks to what is exported.
    pub fn lift(&mut self, exported: &mut [ExportSeries]) {
        let mut marks = BTreeMap::new();
        for series in exported {
            let mark = self.0.remove(&series.labels);
            match (&mut series.value, mark) {
                (ExportValue::Gauge(_), _) => continue,
                (ExportValue::Counter(value), Some(Mark::Counter(mark))) => {
                    *value = value.max(mark);
                }
                (ExportValue::Histogram(held), Some(Mark::Histogram { native, classic })) => {
                    held.lift(native, &classic);
                }
                _ => {}
            }
            marks.insert(series.labels.clone(), Mark::of(&series.value));
        }
        self.0 = marks;
    }
}

impl Mark {
    fn of(value: &ExportValue) -> Self {
        match value {
            ExportValue::Counter(value) | ExportValue::Gauge(value) => Self::Counter(*value),
            ExportValue::Histogram(held) => {
                Self::Histogram { native: held.native.clone(), classic: held.classic.clone() }
            }
        }
    }
}

/// Lifts every bucket of a derived histogram to its mark.
pub fn lift_native(native: &mut Histogram, mut mark: Histogram) {
    while mark.schema > native.schema {
        mark.positive = halve_native(&mark.positive);
        mark.schema -= 1;
    }
    let mut buckets: BTreeMap<i32, f64> = mark.positive.into_iter().collect();
    for (bucket, n) in &native.positive {
        let held = buckets.entry(*bucket).or_default();
        *held = held.max(*n);
    }
    native.zero_count = native.zero_count.max(mark.zero_count);
    native.sum = native.sum.max(mark.sum);
    native.count = native.zero_count + buckets.values().sum::<f64>();
    native.positive = buckets.into_iter().collect();
}

impl ExportHistogram {
    fn lift(&mut self, mark: Histogram, classic: &[(f64, f64)]) {
        lift_native(&mut self.native, mark);
        let native = &self.native;
        for (bound, n) in &mut self.classic {
            let mark = classic.iter().find(|(at, _)| at.total_cmp(bound).is_eq());
            *n = n.max(mark.map_or(0.0, |(_, n)| *n));
            if *bound == f64::INFINITY {
                // Where a value moved from one bucket to another, the marks count it in both.
                *n = n.max(native.count);
            }
        }
    }
}
