//! What one subject adds to the series, in a form that can be taken back.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use serde::{Deserialize, Serialize};

use crate::series::{Address, Lateness, Observation, Series};
use crate::signal::{Labels, METRIC_NAME, Text, Timestamp, TraceId};

/// Label sets that are shared between contributions; at the bound the cache begins anew, which costs
/// time and nothing else.
const LABEL_SETS_MAX: usize = 100_000;

/// Room for the parts of a subject.
const PARTS_USUAL: usize = 16;

/// An id. Those that are a hash in hex digits, as nearly all are, take no memory of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Id {
    Hash([u8; 16]),
    Text(Text),
}

impl Default for Id {
    fn default() -> Self {
        Self::Text(Text::default())
    }
}

impl Id {
    pub(super) fn of(text: &Text) -> Self {
        match TraceId::from_hex(text) {
            // Digits of the other case are another text.
            Some(id) if !text.bytes().any(|byte| byte.is_ascii_uppercase()) => Self::Hash(id.0),
            _ => Self::Text(Text::clone(text)),
        }
    }

    fn text(&self) -> Text {
        match self {
            Self::Hash(id) => TraceId(*id).text(),
            Self::Text(text) => Text::clone(text),
        }
    }
}

/// What the amounts of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Kind {
    Add,
    Observe,
}

/// A series that is added to.
#[derive(Debug)]
pub(super) struct Target {
    address: Address,
    kind: Kind,
    /// Empty where it was only restored: what is given is counted anew.
    metric: &'static str,
}

impl Target {
    fn new(labels: Labels, kind: Kind, metric: &'static str) -> Self {
        Self { address: Address::new(labels), kind, metric }
    }

    fn labels(&self) -> &Labels {
        self.address.labels()
    }

    /// Which series it is.
    pub(super) fn named(&self) -> (Labels, Kind) {
        (self.labels().clone(), self.kind)
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.labels() == other.labels()
    }
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        (self.labels(), self.kind).serialize(s)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (labels, kind) = Deserialize::deserialize(d)?;
        Ok(Self::new(labels, kind, ""))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Contribution {
    pub(super) target: Arc<Target>,
    pub(super) amount: f64,
}

impl PartialEq for Contribution {
    fn eq(&self, other: &Self) -> bool {
        // Label sets are shared, so that equal ones are nearly always the same.
        self.amount == other.amount
            && (Arc::ptr_eq(&self.target, &other.target) || self.target == other.target)
    }
}

/// All that one version of a subject adds; it lies at one event time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contributions {
    pub(super) at: Timestamp,
    pub(super) exemplar: Id,
    /// How many alike the subject stands for; every part counts so often.
    pub(super) times: u32,
    pub(super) parts: Vec<Contribution>,
}

impl Contributions {
    /// How many leading contributions another version has as well.
    pub(super) fn common_with(&self, other: &Self) -> usize {
        let is_alike = self.at == other.at && self.times == other.times;
        if !is_alike || self.exemplar != other.exemplar {
            return 0;
        }
        self.parts.iter().zip(&other.parts).take_while(|(a, b)| a == b).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Takes back all but the first `n_same`.
    pub(super) fn take_back(&self, n_same: usize, series: &mut Series) {
        let exemplar = self.exemplar.text();
        for part in self.parts.iter().skip(n_same) {
            match part.target.kind {
                Kind::Add => series.add_to(&part.target.address, self.at, -self.weighed(part)),
                Kind::Observe => self.observe(part, -1, &exemplar, series),
            }
        }
    }

    /// Gives all but the first `n_same`, and notes how late they are.
    pub(super) fn give(&self, n_same: usize, store: &mut Store<'_>) {
        if n_same == self.parts.len() {
            return;
        }
        let Store { series, now, latenesses } = store;
        let late = Lateness::of(now.since(self.at));
        let exemplar = self.exemplar.text();
        let mut noted = "";
        for part in self.parts.iter().skip(n_same) {
            let Target { address, kind, metric } = &*part.target;
            match kind {
                Kind::Add => series.add_to(address, self.at, self.weighed(part)),
                Kind::Observe => self.observe(part, 1, &exemplar, series),
            }
            if !std::ptr::eq(noted, *metric) {
                noted = metric;
                *latenesses.entry((metric, late)).or_default() += 1;
            }
        }
    }

    fn weighed(&self, part: &Contribution) -> f64 {
        part.amount * f64::from(self.times)
    }

    fn observe(&self, part: &Contribution, sign: i64, exemplar: &Text, series: &mut Series) {
        let exemplar = Some(exemplar).filter(|exemplar| !exemplar.is_empty());
        let count = sign * i64::from(self.times);
        let seen = Observation { value: part.amount, count, exemplar };
        series.observe_at(&part.target.address, self.at, seen);
    }
}

/// How late what was counted was, by metric: how often.
pub(super) type Latenesses = HashMap<(&'static str, Lateness), u64, RandomState>;

/// Where contributions go, and the log time at which they do.
pub(super) struct Store<'a> {
    pub(super) series: &'a mut Series,
    pub(super) now: Timestamp,
    pub(super) latenesses: Latenesses,
}

/// Collects the contributions of one version of a subject.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    labels: &'a mut LabelCache,
    at: Timestamp,
    exemplar: Id,
    times: u32,
    parts: Vec<Contribution>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(labels: &'a mut LabelCache, at: Timestamp, exemplar: &Text) -> Self {
        Self {
            labels,
            at,
            exemplar: Id::of(exemplar),
            times: 1,
            parts: Vec::with_capacity(PARTS_USUAL),
        }
    }

    /// The subject stands for so many alike.
    pub(super) fn times(self, times: u32) -> Self {
        Self { times, ..self }
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
        self.push(metric, Kind::Add, labels, delta);
    }

    pub(super) fn observe(
        &mut self,
        metric: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.push(metric, Kind::Observe, labels, value);
    }

    fn push(
        &mut self,
        metric: &'static str,
        kind: Kind,
        labels: &[(&'static str, &str)],
        amount: f64,
    ) {
        let target = self.labels.get(metric, kind, labels);
        self.parts.push(Contribution { target, amount });
    }

    pub(super) fn finish(self) -> Contributions {
        let Self { at, exemplar, times, parts, .. } = self;
        Contributions { at, exemplar, times, parts }
    }
}

/// Shares equal label sets, so that a contribution holds a pointer and no text.
#[derive(Debug, Default)]
pub(super) struct LabelCache {
    sets: HashMap<u64, Cached, RandomState>,
    hasher: RandomState,
}

/// A target, and what was asked for when it was made.
#[derive(Debug)]
struct Cached {
    labels: Box<[(&'static str, Text)]>,
    target: Arc<Target>,
}

impl Cached {
    fn is_of(&self, metric: &str, kind: Kind, labels: &[(&'static str, &str)]) -> bool {
        let is_same = |((name, value), asked): (&(&str, Text), &(&str, &str))| {
            (std::ptr::eq(*name, asked.0) || *name == asked.0) && **value == *asked.1
        };
        self.target.kind == kind
            && self.target.metric == metric
            && self.labels.len() == labels.len()
            && self.labels.iter().zip(labels).all(is_same)
    }
}

impl LabelCache {
    fn get(
        &mut self,
        metric: &'static str,
        kind: Kind,
        labels: &[(&'static str, &str)],
    ) -> Arc<Target> {
        // The same metric has the same label names: which are asked for is seen when they are compared.
        let mut hasher = self.hasher.build_hasher();
        hasher.write(metric.as_bytes());
        labels.iter().for_each(|(_, value)| hasher.write(value.as_bytes()));
        let hash = hasher.finish();
        if let Some(held) = self.sets.get(&hash).filter(|held| held.is_of(metric, kind, labels)) {
            return Arc::clone(&held.target);
        }
        let pairs = labels.iter().map(|(name, value)| (Text::from(*name), Text::from(*value)));
        let set = Labels::new(pairs.chain([(METRIC_NAME.into(), metric.into())]));
        let target = Arc::new(Target::new(set, kind, metric));
        if self.sets.len() >= LABEL_SETS_MAX {
            self.sets.clear();
        }
        let labels = labels.iter().map(|(name, value)| (*name, Text::from(*value))).collect();
        self.sets.insert(hash, Cached { labels, target: Arc::clone(&target) });
        target
    }
}
