//! What is pushed about series beside samples: metadata of metrics, and exemplars.
//!
//! In: metadata and exemplars in any order, repeats included. Out: one metadata a metric, the newest exemplars of
//! each series in ascending order. Never true: that anything here counts in a sum or makes a series.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::signal::{Exemplar, Labels, MetricMetadata, Text};

/// Pushed metrics that are described. A Prometheus server with all common exporters has 5,000.
const METRICS_MAX: usize = 20_000;
/// Exemplars over all pushed series, about 400 bytes each; beyond, the oldest go.
const EXEMPLARS_MAX: u64 = 20_000;
/// Exemplars of one series, so that one cannot push out all others.
const EXEMPLARS_PER_SERIES_MAX: usize = 100;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Remarks {
    metrics: BTreeMap<Text, MetricMetadata>,
    exemplars: BTreeMap<Labels, Vec<Exemplar>>,
    n_exemplars: u64,
    dropped: u64,
}

impl Remarks {
    pub(super) fn describe(&mut self, metadata: &MetricMetadata) {
        let is_known = self.metrics.contains_key(&metadata.name);
        if is_known || self.metrics.len() < METRICS_MAX {
            self.metrics.insert(Text::clone(&metadata.name), metadata.clone());
        } else {
            self.dropped += 1;
        }
    }

    pub(super) fn exemplar(&mut self, series: &Labels, exemplar: &Exemplar) {
        let held = self.exemplars.entry(series.clone()).or_default();
        let order = |e: &Exemplar| (e.t, Text::clone(&e.trace_id), e.value.to_bits());
        let Err(at) = held.binary_search_by_key(&order(exemplar), order) else { return };
        held.insert(at, exemplar.clone());
        self.n_exemplars += 1;
        if held.len() > EXEMPLARS_PER_SERIES_MAX {
            held.remove(0);
            self.n_exemplars -= 1;
            self.dropped += 1;
        }
        if self.n_exemplars > EXEMPLARS_MAX {
            self.drop_oldest();
        }
    }

    /// Drops the older half, so that the cost of looking through all is spread.
    fn drop_oldest(&mut self) {
        let mut times: Vec<i64> = self.exemplars.values().flatten().map(|e| e.t).collect();
        let half = times.len() / 2;
        let (_, from, _) = times.select_nth_unstable(half);
        let from = *from;
        self.exemplars.values_mut().for_each(|held| held.retain(|e| e.t > from));
        self.exemplars.retain(|_, held| !held.is_empty());
        let n = self.exemplars.values().map(Vec::len).sum();
        let n = crate::number::u64_from_usize(n);
        self.dropped += self.n_exemplars - n;
        self.n_exemplars = n;
    }

    /// Takes out exemplars that name one of these. Gives how many.
    pub(super) fn forget(&mut self, ids: &BTreeSet<Text>) -> usize {
        let is_meant = |exemplar: &Exemplar| {
            ids.contains(&exemplar.trace_id)
                || exemplar.others.iter().any(|(_, value)| ids.contains(value))
        };
        let before = self.n_exemplars;
        self.exemplars.values_mut().for_each(|held| held.retain(|e| !is_meant(e)));
        self.exemplars.retain(|_, held| !held.is_empty());
        let n = self.exemplars.values().map(Vec::len).sum();
        self.n_exemplars = crate::number::u64_from_usize(n);
        crate::number::usize_from_u64(before).saturating_sub(n)
    }

    pub(super) fn metrics(&self) -> impl Iterator<Item = &MetricMetadata> {
        self.metrics.values()
    }

    /// Those in `[start, end]` (milliseconds), by series.
    pub(super) fn exemplars(
        &self,
        start: i64,
        end: i64,
    ) -> impl Iterator<Item = (&Labels, Vec<Exemplar>)> {
        self.exemplars.iter().map(move |(labels, held)| {
            let within = held.iter().filter(|e| (start..=end).contains(&e.t));
            (labels, within.cloned().collect())
        })
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(remarks: &mut Remarks, series: &str, t: i64) {
        let exemplar = Exemplar {
            trace_id: format!("{t:x}").into(),
            others: Labels::default(),
            value: 1.0,
            t,
        };
        remarks.exemplar(&Labels::of(&[("__name__", series)]), &exemplar);
    }

    #[test]
    fn repeats_change_nothing_and_the_oldest_go_first() {
        let mut remarks = Remarks::default();
        for t in (0..150).rev().chain(0..150) {
            take(&mut remarks, "a", t);
        }
        let held: Vec<i64> =
            remarks.exemplars(0, 140).flat_map(|(_, held)| held).map(|e| e.t).collect();
        assert_eq!(held, (50..=140).collect::<Vec<i64>>());
    }

    #[test]
    fn all_series_together_have_a_bound() {
        let mut remarks = Remarks::default();
        for i in 0..=i64::try_from(EXEMPLARS_MAX).unwrap() {
            take(&mut remarks, &format!("m{i}"), i);
        }
        assert!(remarks.n_exemplars <= EXEMPLARS_MAX / 2 + 1);
        assert!(remarks.exemplars.contains_key(&Labels::of(&[("__name__", "m20000")])));
        assert_eq!(remarks.dropped + remarks.n_exemplars, EXEMPLARS_MAX + 1);
    }
}
