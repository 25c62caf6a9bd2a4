//! All series by id, by labels and by metric name; families and overflow.
//!
//! A family is what a closed label makes of one label set (every outcome of a flow): its members are
//! made together, begin at zero together and go together, so no set of adds can leave half of one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::block::Span;
use super::catalog::{self, FOREIGN_PARTS};
use super::counter::{Counter, origin};
use super::distribution::Distribution;
use super::entries::Entries;
use super::exemplar::Exemplars;
use super::plain::Plain;
use super::slots::Zones;
use crate::signal::{Labels, METRIC_NAME, Text};

pub(crate) type SeriesId = u64;

/// The label of the series that takes what a full metric has no room for (OpenTelemetry metrics SDK,
/// "Overflow attribute").
const OVERFLOW: &str = "otel_metric_overflow";
/// After an overflow new label sets overflow for this many seconds, longer than the allowed lateness:
/// a correction finds the series that took what it corrects.
const OVERFLOW_FOR: i64 = 20 * 60;
/// Map entries, list heads and the like of one series.
pub(crate) const ENTRY_BYTES: usize = 512;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Data {
    Counter(Counter),
    Distribution(Box<Distribution>, Exemplars),
    Plain(Plain),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Distribution,
    Plain,
}

impl Data {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Counter::default()),
            Kind::Distribution => Self::Distribution(Box::default(), Exemplars::default()),
            Kind::Plain => Self::Plain(Plain::default()),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Distribution(..) => Kind::Distribution,
            Self::Plain(_) => Kind::Plain,
        }
    }

    /// Nothing is held at any time that can be asked for.
    fn is_spent(&self) -> bool {
        match self {
            Self::Counter(counter) => counter.slots.is_empty(),
            Self::Distribution(held, _) => held.slots.is_empty(),
            Self::Plain(plain) => plain.is_empty(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: SeriesId,
    pub(crate) labels: Labels,
    pub(crate) data: Data,
    /// The family's members have the ids `leader..leader + n_family`.
    leader: SeriesId,
    n_family: u64,
    /// Parts of one in which a counter's sums are exact.
    pub(crate) parts: i64,
    /// First and last time of what is in blocks: seconds of slots, milliseconds of samples.
    pub(crate) sealed: Option<Span>,
}

impl Entry {
    /// What lay before `border` (seconds) is in a block now, and spans this.
    pub(crate) fn seal(&mut self, border: i64, span: Span) {
        match &mut self.data {
            Data::Counter(counter) => drop(counter.slots.take_before(border)),
            Data::Distribution(held, _) => drop(held.slots.take_before(border)),
            Data::Plain(plain) => drop(plain.take_before(border.saturating_mul(1000))),
        }
        self.sealed = Some(self.sealed.map_or(span, |sealed| sealed.joined(span)));
    }

    /// The oldest block, which held this span, is gone.
    pub(crate) fn forget(&mut self, span: Span) {
        match &mut self.data {
            Data::Counter(Counter { dropped_to, .. }) => {
                *dropped_to = (*dropped_to).max(Some(span.last));
            }
            Data::Distribution(held, _) => held.dropped_to = held.dropped_to.max(Some(span.last)),
            Data::Plain(_) => {}
        }
        let first = |sealed: &Span| sealed.first.max(span.last.saturating_add(1));
        self.sealed = self
            .sealed
            .filter(|sealed| sealed.last > span.last)
            .map(|sealed| Span { first: first(&sealed), ..sealed });
    }

    fn is_spent(&self) -> bool {
        self.sealed.is_none() && self.data.is_spent()
    }

    /// When a derived series is zero before its first slot, and its last slot.
    fn life(&self, zones: &Zones) -> Option<(i64, Option<i64>)> {
        let (first, last, dropped_to) = match &self.data {
            Data::Counter(held) => (held.slots.first(), held.slots.last(), held.dropped_to),
            Data::Distribution(held, _) => (held.slots.first(), held.slots.last(), held.dropped_to),
            Data::Plain(_) => return None,
        };
        let sealed = self.sealed.map(|span| zones.key(span.first));
        let first = sealed.into_iter().chain(first).min();
        let last = last.max(self.sealed.map(|span| span.last));
        Some((origin(first, dropped_to, zones)?, last))
    }

    pub(crate) fn bytes(&self) -> usize {
        let data: usize = match &self.data {
            Data::Counter(counter) => counter.slots.sizes().map(|(_, n)| n).sum(),
            Data::Distribution(held, exemplars) => {
                let slots: usize = held.slots.sizes().map(|(_, n)| n).sum();
                slots + held.bytes() + exemplars.bytes()
            }
            Data::Plain(plain) => plain.sizes().map(|(_, n)| n).sum(),
        };
        ENTRY_BYTES + data
    }
}

/// Whether a label set that is not there yet may become a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    UpTo { per_metric: usize },
    Closed,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    entries: Entries,
    next: SeriesId,
    /// Which series was asked for by its labels last.
    resolved: SeriesId,
    /// Until which second a metric's new label sets overflow.
    overflowing: BTreeMap<Text, i64>,
    /// What went to an overflow series, or for samples nowhere.
    pub(crate) overflowed: u64,
    /// What named a series of another kind, and was not taken.
    pub(crate) mismatched: u64,
    by_labels: HashMap<Labels, SeriesId, foldhash::fast::RandomState>,
    /// Names of which a series is a derived histogram.
    histograms: BTreeSet<Text>,
    /// Names and values of labels: many series share each.
    texts: HashSet<Text>,
    by_name: BTreeMap<Text, Vec<SeriesId>>,
    /// By label and value; metric names are in `by_name`.
    postings: HashMap<Text, HashMap<Text, Vec<SeriesId>>>,
}

/// The series that takes what a full metric has no room for.
fn overflow_of(name: &str) -> Labels {
    Labels::of(&[(METRIC_NAME, name), (OVERFLOW, "true")])
}

impl Table {
    /// The series of these labels, made if need be; the overflow series where there is no room for
    /// it. With it, how many were made. None where the labels already name a series of another kind,
    /// and for plain samples without room: mixing gauges of several sources would tell lies.
    pub(crate) fn resolve(
        &mut self,
        labels: &Labels,
        kind: Kind,
        admission: Admission,
        now: i64,
    ) -> Option<(&mut Entry, usize)> {
        let n_before = self.entries.len();
        let held = self.next_in_turn(labels).or_else(|| self.by_labels.get(labels).copied());
        let id = match held {
            Some(id) => id,
            None => self.admit(labels, kind, admission, now)?,
        };
        self.resolved = id;
        let n_new = self.entries.len() - n_before;
        let entry = self.entries.get_mut(id).filter(|entry| entry.data.kind() == kind);
        self.mismatched += u64::from(entry.is_none());
        entry.map(|entry| (entry, n_new))
    }

    /// Who sends the same series again and again sends them in one order, which is that of their ids.
    fn next_in_turn(&self, labels: &Labels) -> Option<SeriesId> {
        let id = self.resolved.saturating_add(1);
        self.entries.get(id).filter(|entry| entry.labels == *labels).map(|_| id)
    }

    pub(crate) fn get_mut(&mut self, id: SeriesId) -> Option<&mut Entry> {
        self.entries.get_mut(id)
    }

    fn admit(
        &mut self,
        labels: &Labels,
        kind: Kind,
        admission: Admission,
        now: i64,
    ) -> Option<SeriesId> {
        let family = family_of(labels);
        let n_held = self.n_of(labels.name());
        let n_new = family.iter().filter(|member| member.name() == labels.name()).count();
        let overflowing = self.overflowing.get(labels.name()).is_some_and(|until| now < *until);
        let has_room = match admission {
            Admission::UpTo { per_metric } => !overflowing && n_held + n_new <= per_metric,
            Admission::Closed => false,
        };
        if has_room {
            self.create(family, kind);
            return self.by_labels.get(labels).copied();
        }
        self.overflowed += 1;
        self.overflowing.insert(labels.name().into(), now.saturating_add(OVERFLOW_FOR));
        if kind == Kind::Plain {
            return None;
        }
        let labels = overflow_of(labels.name());
        if !self.by_labels.contains_key(&labels) {
            self.create(vec![labels.clone()], kind);
        }
        self.by_labels.get(&labels).copied()
    }

    fn create(&mut self, mut family: Vec<Labels>, kind: Kind) {
        family.retain(|labels| !self.by_labels.contains_key(labels));
        let leader = self.next;
        let n_family = crate::number::u64_from_usize(family.len());
        for labels in family {
            let id = self.next;
            self.next += 1;
            let labels = labels.shared(&mut self.texts);
            self.index(id, &labels, kind);
            let parts = catalog::find(labels.name()).map_or(FOREIGN_PARTS, |metric| metric.parts);
            let data = Data::new(kind);
            let entry = Entry { id, labels, data, leader, n_family, parts, sealed: None };
            self.entries.insert(entry);
        }
    }

    fn index(&mut self, id: SeriesId, labels: &Labels, kind: Kind) {
        if kind == Kind::Distribution && !self.has_histograms(labels.name()) {
            self.histograms.insert(labels.name().into());
        }
        self.by_labels.insert(labels.clone(), id);
        match self.by_name.get_mut(labels.name()) {
            Some(ids) => ids.push(id),
            None => {
                self.by_name.insert(labels.name().into(), vec![id]);
            }
        }
        for (name, value) in labels.pairs().iter().filter(|(name, _)| **name != *METRIC_NAME) {
            let by_value = self.postings.entry(Text::clone(name)).or_default();
            by_value.entry(Text::clone(value)).or_default().push(id);
        }
    }

    /// Names of which new label sets overflow.
    pub(crate) fn full(&self, now: i64) -> impl Iterator<Item = &Text> {
        self.overflowing.iter().filter(move |(_, until)| now < **until).map(|(name, _)| name)
    }

    /// How many series a metric has.
    pub(crate) fn n_of(&self, name: &str) -> usize {
        self.by_name.get(name).map_or(0, Vec::len)
    }

    /// Whether a metric's new label sets have an overflow series, and are not dropped.
    pub(crate) fn overflows(&self, name: &str) -> bool {
        self.by_labels.contains_key(&overflow_of(name))
    }

    pub(crate) fn has_histograms(&self, name: &str) -> bool {
        self.histograms.contains(name)
    }

    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &Text> {
        self.by_name.keys()
    }

    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Entry> {
        self.by_name.get(name).into_iter().flatten().filter_map(|id| self.entries.get(*id))
    }

    pub(crate) fn ids_named(&self, name: &str) -> &[SeriesId] {
        self.by_name.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Names of which a series is a derived histogram, ascending.
    pub(crate) fn histogram_names(&self) -> impl Iterator<Item = &Text> {
        self.histograms.iter()
    }

    pub(crate) fn n_named(&self, name: &str) -> usize {
        self.by_name.get(name).map_or(0, Vec::len)
    }

    /// Labels other than the metric's name.
    pub(crate) fn label_names(&self) -> impl Iterator<Item = &Text> {
        self.postings.keys()
    }

    /// The values of a label, in no order.
    pub(crate) fn values_of(&self, label: &str) -> impl Iterator<Item = &Text> {
        self.postings.get(label).into_iter().flat_map(HashMap::keys)
    }

    pub(crate) fn ids_labelled(&self, label: &str, value: &str) -> &[SeriesId] {
        let ids = self.postings.get(label).and_then(|by_value| by_value.get(value));
        ids.map(Vec::as_slice).unwrap_or_default()
    }

    /// The series that have this label with one of these values; a value counts once.
    pub(crate) fn with_label(&self, name: &str, values: &BTreeSet<&str>) -> Vec<SeriesId> {
        let by_value = self.postings.get(name);
        let lists = values.iter().filter_map(|value| by_value?.get(*value));
        lists.flatten().copied().collect()
    }

    pub(crate) fn n_with_label(&self, name: &str, values: &BTreeSet<&str>) -> usize {
        let by_value = self.postings.get(name);
        values.iter().filter_map(|value| Some(by_value?.get(*value)?.len())).sum()
    }

    pub(crate) fn get(&self, id: SeriesId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Changes the series of which `wants` says that they would change.
    pub(crate) fn change(
        &mut self,
        wants: impl Fn(&Entry) -> bool,
        change: impl FnMut(&mut Entry),
    ) {
        self.entries.change(wants, change);
    }

    /// What a snapshot holds, shared with this table until either changes.
    pub(crate) fn frozen(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            next: self.next,
            overflowing: self.overflowing.clone(),
            overflowed: self.overflowed,
            mismatched: self.mismatched,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn range(&self, ids: Range<SeriesId>) -> impl Iterator<Item = &Entry> {
        self.entries.range(ids)
    }

    /// No series has this id or a higher one.
    pub(crate) fn end(&self) -> SeriesId {
        self.next
    }

    /// When the entry's family begins (at zero) and when it last changed, in seconds. None where
    /// corrections took everything: then the family was never there.
    pub(crate) fn life(&self, entry: &Entry, zones: &Zones) -> Option<(i64, i64)> {
        let members = self.entries.range(entry.leader..entry.leader + entry.n_family);
        let (mut first, mut last) = (None, None);
        for member in members {
            let Some((from, to)) = member.life(zones) else { continue };
            first = first.into_iter().chain([from]).min();
            last = last.max(to);
        }
        first.map(|first| (first, last.unwrap_or(first)))
    }

    /// Removes families of which nothing is left, and forgets overflows that are over.
    pub(crate) fn sweep(&mut self, now: i64) {
        self.overflowing.retain(|_, until| now < *until);
        let mut spent: BTreeMap<SeriesId, bool> = BTreeMap::new();
        for entry in self.entries.iter() {
            *spent.entry(entry.leader).or_insert(true) &= entry.is_spent();
        }
        if !spent.values().any(|is_spent| *is_spent) {
            return;
        }
        self.entries.retain(|entry| !spent.get(&entry.leader).copied().unwrap_or_default());
        self.reindex();
    }

    fn reindex(&mut self) {
        self.by_labels.clear();
        self.by_name.clear();
        self.postings.clear();
        self.texts.clear();
        self.histograms.clear();
        let entries = std::mem::take(&mut self.entries);
        for entry in entries.iter() {
            let texts = entry.labels.pairs().iter().flat_map(|(name, value)| [name, value]);
            self.texts.extend(texts.cloned());
            self.index(entry.id, &entry.labels, entry.data.kind());
        }
        self.entries = entries;
    }
}

/// The labels and their siblings; only themselves where no label is closed and nothing goes along.
fn family_of(labels: &Labels) -> Vec<Labels> {
    let Some(metric) = catalog::find(labels.name()) else { return vec![labels.clone()] };
    let closed = metric.closed_label;
    let mut family: Vec<Labels> = match closed {
        Some(label) if labels.get(label.name).is_some_and(|v| label.values.contains(&v)) => {
            label.values.iter().map(|value| labels.with(label.name, value)).collect()
        }
        _ => vec![labels.clone()],
    };
    family.extend(metric.companions.iter().map(|name| labels.with(METRIC_NAME, name)));
    family
}

/// What a snapshot holds of a table; the indexes are made anew.
#[derive(Serialize, Deserialize)]
struct Saved<E, O> {
    entries: E,
    next: SeriesId,
    overflowing: O,
    overflowed: u64,
    mismatched: u64,
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let (entries, overflowing) = (&self.entries, &self.overflowing);
        let (overflowed, mismatched) = (self.overflowed, self.mismatched);
        Saved { entries, next: self.next, overflowing, overflowed, mismatched }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Saved { entries, next, overflowing, overflowed, mismatched } = Saved::deserialize(d)?;
        let mut table = Self { entries, next, overflowing, ..Self::default() };
        (table.overflowed, table.mismatched) = (overflowed, mismatched);
        let mut texts = HashSet::new();
        let share = |entry: &mut Entry| entry.labels = entry.labels.shared(&mut texts);
        table.entries.change(|_| true, share);
        table.reindex();
        Ok(table)
    }
}
