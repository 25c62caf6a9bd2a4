//! What one subject adds to the series, in a form that can be taken back.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::series::{Observation, Series};
use crate::signal::{Labels, METRIC_NAME, Text, Timestamp};

/// Label sets that are shared between contributions; at the bound the cache begins anew, which costs
/// time and nothing else.
const LABEL_SETS_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Amount {
    Add(f64),
    Observe(f64),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Contribution {
    labels: Arc<Labels>,
    amount: Amount,
}

/// All that one version of a subject adds; it lies at one event time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Contributions {
    at: Timestamp,
    exemplar: Text,
    parts: Vec<Contribution>,
}

impl Contributions {
    /// How many leading contributions another version has as well.
    pub(super) fn common_with(&self, other: &Self) -> usize {
        if self.at != other.at || self.exemplar != other.exemplar {
            return 0;
        }
        self.parts.iter().zip(&other.parts).take_while(|(a, b)| a == b).count()
    }

    /// Holds each label set once, with all others that go through here.
    pub(super) fn share_labels(&mut self, shared: &mut HashSet<Arc<Labels>>) {
        for part in &mut self.parts {
            match shared.get(&part.labels) {
                Some(labels) => part.labels = Arc::clone(labels),
                None => drop(shared.insert(Arc::clone(&part.labels))),
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Takes back all but the first `n_same`.
    pub(super) fn take_back(&self, n_same: usize, series: &mut Series) {
        for part in self.parts.iter().skip(n_same) {
            match part.amount {
                Amount::Add(delta) => series.add(&part.labels, self.at, -delta),
                Amount::Observe(value) => self.observe(part, value, -1, series),
            }
        }
    }

    /// Gives all but the first `n_same`, and notes how late they are.
    pub(super) fn give(&self, n_same: usize, series: &mut Series, now: Timestamp) {
        let mut noted = "";
        for part in self.parts.iter().skip(n_same) {
            match part.amount {
                Amount::Add(delta) => series.add(&part.labels, self.at, delta),
                Amount::Observe(value) => self.observe(part, value, 1, series),
            }
            if part.labels.name() != noted {
                noted = part.labels.name();
                series.note_lateness(noted, now.since(self.at), now);
            }
        }
    }

    fn observe(&self, part: &Contribution, value: f64, count: i64, series: &mut Series) {
        let exemplar = (!self.exemplar.is_empty()).then_some(&*self.exemplar);
        series.observe_with_exemplar(&part.labels, self.at, Observation { value, count, exemplar });
    }
}

/// Collects the contributions of one version of a subject.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    labels: &'a mut LabelCache,
    counted: Contributions,
}

impl<'a> Tally<'a> {
    pub(super) fn new(labels: &'a mut LabelCache, at: Timestamp, exemplar: Text) -> Self {
        Self { labels, counted: Contributions { at, exemplar, parts: Vec::new() } }
    }

    /// One more of what the metric counts.
    pub(super) fn count(&mut self, metric: &'static str, labels: &[(&'static str, &str)]) {
        self.add(metric, labels, 1.0);
    }

    pub(super) fn add(
        &mut self,
        metric: &'static str,
        labels: &[(&'static str, &str)],
        delta: f64,
    ) {
        self.push(metric, labels, Amount::Add(delta));
    }

    pub(super) fn observe(
        &mut self,
        metric: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.push(metric, labels, Amount::Observe(value));
    }

    fn push(&mut self, metric: &'static str, labels: &[(&'static str, &str)], amount: Amount) {
        let labels = self.labels.get(metric, labels);
        self.counted.parts.push(Contribution { labels, amount });
    }

    pub(super) fn finish(self) -> Contributions {
        let mut counted = self.counted;
        counted.parts.shrink_to_fit();
        counted
    }
}

/// Shares equal label sets, so that a contribution holds a pointer and no text.
#[derive(Debug, Default)]
pub(super) struct LabelCache {
    sets: HashMap<u64, Arc<Labels>>,
    hasher: RandomState,
}

impl LabelCache {
    fn get(&mut self, metric: &'static str, labels: &[(&'static str, &str)]) -> Arc<Labels> {
        let hash = self.hasher.hash_one((metric, labels));
        if let Some(held) = self.sets.get(&hash)
            && held.name() == metric
            && labels.iter().all(|(name, value)| held.get(name).unwrap_or_default() == *value)
        {
            return Arc::clone(held);
        }
        let pairs = labels.iter().map(|(name, value)| (Text::from(*name), Text::from(*value)));
        let made = Arc::new(Labels::new(pairs.chain([(METRIC_NAME.into(), metric.into())])));
        if self.sets.len() >= LABEL_SETS_MAX {
            self.sets.clear();
        }
        self.sets.insert(hash, Arc::clone(&made));
        made
    }
}
