//! What queries read: cumulative series made from slots, samples as they are, label sets, exemplars.
//!
//! A derived series has a sample at the end of every slot from the one before its family's first
//! increment (there it is zero) until the last tick. A histogram answers under its own name, and as
//! `_bucket`, `_sum` and `_count`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::blocks::Damaged;
use super::bounds::le;
use super::counter::{cumulative, from_parts};
use super::payload;
use super::sealed::{Detail, Reach};
use super::slots::{Delta, GRID_MAX, Slot, last_of};
use super::store::second;
use super::table::{Data, Entry, Table};
use super::{
    Histogram, MatchOp, Matcher, RawSeries, Sample, SampleValue, SelectError, Selection, Series,
};
use crate::signal::{Exemplar, Labels, METRIC_NAME};

/// Samples of one series in one selection; longer selections get a coarser grid. A second's grid
/// spans three hours, as Prometheus's limit of 11,000 points a query has it.
const POINTS_MAX: i64 = 11_000;
/// The same for native histograms, which cost a hundred times as much to read.
const NATIVE_POINTS_MAX: i64 = 2_000;
/// Seconds between samples, finest first.
const STEPS: [i64; 4] = [1, 10, 60, GRID_MAX];
const LE: &str = "le";

/// How a stored series is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum View {
    AsIs,
    Bucket(f64),
    Sum,
    Count,
}

impl View {
    fn suffix(self) -> &'static str {
        match self {
            Self::AsIs => "",
            Self::Bucket(_) => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
        }
    }
}

struct Found<'a> {
    labels: Labels,
    entry: &'a Entry,
    view: View,
}

/// The conditions of a selector, by what they are about.
struct Conditions<'a> {
    name: Vec<&'a Matcher>,
    le: Vec<&'a Matcher>,
    others: Vec<&'a Matcher>,
}

impl<'a> Conditions<'a> {
    fn new(matchers: &'a [Matcher]) -> Self {
        let mut sorted = Self { name: Vec::new(), le: Vec::new(), others: Vec::new() };
        for matcher in matchers {
            match &*matcher.name {
                METRIC_NAME => sorted.name.push(matcher),
                LE => sorted.le.push(matcher),
                _ => sorted.others.push(matcher),
            }
        }
        sorted
    }

    /// The one name that can match, if there is only one.
    fn exact_name(&self) -> Option<&'a str> {
        self.name.iter().find(|m| m.op == MatchOp::Equal).map(|m| &*m.value)
    }

    /// The condition that the fewest series can meet, of those that name their values.
    fn narrowest(&self, table: &Table) -> Option<Narrow<'a>> {
        let told = self.others.iter().filter_map(|matcher| {
            let (label, values) = (&*matcher.name, matcher.values()?);
            Some(Narrow { label, n_series: table.n_with_label(label, &values), values })
        });
        told.min_by_key(|narrow| narrow.n_series)
    }

    fn accept_name(&self, name: &str) -> bool {
        self.name.iter().all(|matcher| matcher.matches(name))
    }

    fn accept_le(&self, value: &str) -> bool {
        self.le.iter().all(|matcher| matcher.matches(value))
    }

    fn accept_others(&self, labels: &Labels) -> bool {
        self.others.iter().all(|matcher| matcher.matches_labels(labels))
    }
}

/// A label that few series have with the values that are asked for.
struct Narrow<'a> {
    label: &'a str,
    values: BTreeSet<&'a str>,
    n_series: usize,
}

impl Narrow<'_> {
    fn entries<'t>(&self, table: &'t Table) -> impl Iterator<Item = &'t Entry> {
        let ids = table.with_label(self.label, &self.values);
        ids.into_iter().filter_map(|id| table.get(id))
    }
}

impl Series {
    /// All series that match, with their samples in the selection, in the order of their labels.
    pub fn select(&self, selection: &Selection<'_>) -> Result<Vec<RawSeries>, SelectError> {
        let mut reader = Reader {
            series: self,
            selection,
            grids: BTreeMap::new(),
            kept: BTreeMap::new(),
            n_read: 0,
        };
        let mut selected = Vec::new();
        for found in self.find(selection.matchers) {
            let samples = reader.samples(&found)?;
            if !samples.is_empty() {
                selected.push(RawSeries { labels: found.labels, samples });
            }
        }
        Ok(selected)
    }

    /// Label sets of all series that match and have a sample in `[start, end]` (milliseconds).
    pub fn label_sets(&self, matchers: &[Matcher], start: i64, end: i64) -> Vec<Labels> {
        let is_there = |found: &Found<'_>| match &found.entry.data {
            Data::Plain(plain) => {
                let sealed = found.entry.sealed;
                plain.has_in(start, end)
                    || sealed.is_some_and(|span| span.first <= end && span.last >= start)
            }
            _ => self.seen(found.entry).is_some_and(|(first, last)| {
                first.saturating_mul(1000) <= end && last.saturating_mul(1000) + 999 >= start
            }),
        };
        self.find(matchers).into_iter().filter(is_there).map(|found| found.labels).collect()
    }

    /// From which to which second a derived series answers.
    pub(super) fn seen(&self, entry: &Entry) -> Option<(i64, i64)> {
        let (first, last) = self.table.life(entry, &self.zones)?;
        Some((first, last.max(second(self.now))))
    }

    fn find(&self, matchers: &[Matcher]) -> Vec<Found<'_>> {
        let conditions = Conditions::new(matchers);
        let narrowest = conditions.narrowest(&self.table);
        let mut found = Vec::new();
        if let Some(name) = conditions.exact_name() {
            for base in
                ["", "_bucket", "_sum", "_count"].iter().filter_map(|end| name.strip_suffix(end))
            {
                let n_named = self.table.n_named(base);
                let entries = match &narrowest {
                    Some(narrow) if narrow.n_series < n_named => {
                        let of_base = |entry: &&Entry| entry.labels.name() == base;
                        narrow.entries(&self.table).filter(of_base).collect()
                    }
                    _ => self.table.named(base).collect(),
                };
                self.find_among(base, entries, &conditions, &mut found);
            }
        } else if let Some(narrow) = narrowest {
            let mut by_name: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
            for entry in narrow.entries(&self.table) {
                by_name.entry(entry.labels.name()).or_default().push(entry);
            }
            for (name, entries) in by_name {
                self.find_among(name, entries, &conditions, &mut found);
            }
        } else {
            for name in self.table.names() {
                let entries = self.table.named(name).collect();
                self.find_among(name, entries, &conditions, &mut found);
            }
        }
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        found
    }

    /// Of the series of one metric, those that match, in every form in which they do.
    fn find_among<'a>(
        &self,
        base: &str,
        mut entries: Vec<&'a Entry>,
        wanted: &Conditions<'_>,
        into: &mut Vec<Found<'a>>,
    ) {
        let (is_wanted, has_views) = (wanted.accept_name(base), self.table.has_histograms(base));
        if !is_wanted && !has_views {
            return;
        }
        entries.retain(|entry| wanted.accept_others(&entry.labels));
        if is_wanted {
            let own = entries
                .iter()
                .filter(|entry| wanted.accept_le(entry.labels.get(LE).unwrap_or_default()));
            into.extend(own.map(|entry| Found {
                labels: entry.labels.clone(),
                entry,
                view: View::AsIs,
            }));
        }
        if !has_views {
            return;
        }
        let mut views = vec![View::Sum, View::Count];
        views.extend(self.bounds.shown().into_iter().map(View::Bucket));
        for view in views {
            let name = format!("{base}{}", view.suffix());
            let bound = if let View::Bucket(bound) = view { le(bound) } else { String::new() };
            if !wanted.accept_name(&name) || !wanted.accept_le(&bound) {
                continue;
            }
            let held = entries.iter().filter(|entry| matches!(entry.data, Data::Distribution(..)));
            into.extend(held.map(|entry| Found {
                labels: entry.labels.with(METRIC_NAME, &name).with(LE, &bound),
                entry,
                view,
            }));
        }
    }
}

/// Reads the series of one selection, within its allowance of samples.
struct Reader<'a> {
    series: &'a Series,
    selection: &'a Selection<'a>,
    /// Most series of a selection share one grid: by first second, last second, points.
    grids: BTreeMap<(i64, i64, i64), Arc<[i64]>>,
    /// Of grids, by first and last second and length: the ends of windows.
    kept: BTreeMap<(i64, i64, usize), Arc<[i64]>>,
    n_read: usize,
}

impl Reader<'_> {
    fn samples(&mut self, found: &Found<'_>) -> Result<Vec<Sample>, SelectError> {
        let (start, end) = (self.selection.start.saturating_add(1), self.selection.end);
        match &found.entry.data {
            Data::Plain(plain) => {
                let mut samples = self.series.sealed_samples(found.entry, start, end)?;
                samples.extend(plain.samples(start, end));
                let samples = payload::latest(samples);
                self.spend(samples.len())?;
                Ok(samples)
            }
            Data::Counter(counter) => {
                let grid = self.grid(found.entry, POINTS_MAX)?;
                let later = self.later(&grid, |reach| {
                    let sealed = self.series.sealed_deltas(found.entry, reach)?;
                    Ok(in_order(sealed, counter.slots.after(reach.first)))
                })?;
                let grid = self.thinned(found, &later, grid)?;
                let values = cumulative(&later, counter.total, &grid, |n| i128::from(*n));
                Ok(values.map(|(s, sum)| float((s, from_parts(sum, found.entry.parts)))).collect())
            }
            Data::Distribution(held, _) => {
                let native = found.view == View::AsIs;
                let points_max = if native { NATIVE_POINTS_MAX } else { POINTS_MAX };
                let bounds = &self.series.bounds;
                let grid = self.grid(found.entry, points_max)?;
                let later = self.later(&grid, |reach| {
                    let sealed = self.series.sealed_counts(found.entry, reach)?;
                    Ok(in_order(sealed, held.slots.after(reach.first)))
                })?;
                let grid = self.thinned(found, &later, grid)?;
                Ok(match found.view {
                    View::AsIs => natives(held.natives(&later, &grid)),
                    View::Bucket(bound) => {
                        floats(held.bucket_values(&later, &grid, (bounds, bound)))
                    }
                    View::Sum => floats(held.sum_values(&later, &grid)),
                    View::Count => floats(held.count_values(&later, &grid)),
                })
            }
        }
    }

    /// The seconds at which a derived series has samples in the selection.
    fn grid(&mut self, entry: &Entry, points_max: i64) -> Result<Arc<[i64]>, SelectError> {
        let Some((first, last)) = self.series.seen(entry) else { return Ok(Arc::default()) };
        let from = first.max(self.selection.start.div_euclid(1000).saturating_add(1));
        let to = last.min(self.selection.end.div_euclid(1000));
        let zones = &self.series.zones;
        let key = (from, to, points_max);
        let grid: &Arc<[i64]> = self.grids.entry(key).or_insert_with(|| {
            let span = to.saturating_sub(from);
            let step = STEPS.into_iter().find(|step| span / step < points_max);
            let step = step.unwrap_or(GRID_MAX);
            let next = |s: &i64| {
                let after = s.saturating_add(1);
                (*s < to).then(|| last_of(after, step.max(zones.spacing(after))).min(to))
            };
            std::iter::successors((from <= to).then_some(from), next).collect()
        });
        Ok(Arc::clone(grid))
    }

    /// The slots after the first second of the grid. For a single window the sums of blocks do, if
    /// nothing falls.
    fn later<D: Delta>(
        &self,
        grid: &[i64],
        read: impl Fn(Reach) -> Result<Vec<Slot<D>>, Damaged>,
    ) -> Result<Vec<Slot<D>>, Damaged> {
        let reach = Reach { first: first(grid), last: last(grid), detail: Detail::Slots };
        if self.selection.windows.is_some_and(|windows| windows.first_end == windows.last_end) {
            let sums = read(Reach { detail: Detail::Sums, ..reach })?;
            if sums.iter().all(|(_, delta)| delta.is_rise()) {
                return Ok(sums);
            }
        }
        read(reach)
    }

    /// The seconds to read: all, or where the selection looks only at windows of a series that rises,
    /// their ends.
    fn thinned<D: Delta>(
        &mut self,
        found: &Found<'_>,
        later: &[Slot<D>],
        grid: Arc<[i64]>,
    ) -> Result<Arc<[i64]>, SelectError> {
        let windows = self.selection.windows.filter(|_| later.iter().all(|(_, d)| d.is_rise()));
        let Some(windows) = windows else {
            self.spend(grid.len())?;
            return Ok(grid);
        };
        let key = (first(&grid), last(&grid), grid.len());
        let kept = self.kept.entry(key).or_insert_with(|| windows.ends(&grid));
        let kept = Arc::clone(kept);
        windows.note(&found.labels, &grid);
        self.spend(kept.len())?;
        Ok(kept)
    }

    fn spend(&mut self, n: usize) -> Result<(), SelectError> {
        self.n_read = self.n_read.saturating_add(n);
        let max = self.selection.samples_max;
        if self.n_read > max { Err(SelectError::TooManySamples { max }) } else { Ok(()) }
    }
}

fn float((second, value): (i64, f64)) -> Sample {
    Sample { t: second.saturating_mul(1000), value: SampleValue::Float(value) }
}

fn in_order<D>(mut sealed: Vec<Slot<D>>, head: Vec<Slot<D>>) -> Vec<Slot<D>> {
    sealed.extend(head);
    sealed.sort_by_key(|(key, _)| *key);
    sealed
}

fn last(grid: &[i64]) -> i64 {
    grid.last().copied().unwrap_or(i64::MIN)
}

fn first(grid: &[i64]) -> i64 {
    grid.first().copied().unwrap_or(i64::MAX)
}

fn natives(values: Vec<(i64, Arc<Histogram>)>) -> Vec<Sample> {
    let sample = |(second, histogram): (i64, _)| Sample {
        t: second.saturating_mul(1000),
        value: SampleValue::Histogram(histogram),
    };
    values.into_iter().map(sample).collect()
}

fn floats(values: Vec<(i64, f64)>) -> Vec<Sample> {
    values.into_iter().map(float).collect()
}

/// See [`Series::exemplars`].
pub(super) fn exemplars(
    series: &Series,
    matchers: &[Matcher],
    start: i64,
    end: i64,
) -> Vec<(Labels, Vec<Exemplar>)> {
    let wanted = Conditions::new(matchers);
    let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
    for entry in series.table.iter().filter(|entry| wanted.accept_others(&entry.labels)) {
        let Data::Distribution(_, exemplars) = &entry.data else { continue };
        let name = entry.labels.name();
        let bucket_name = format!("{name}_bucket");
        if wanted.accept_name(name) && wanted.accept_le("") {
            found.insert(entry.labels.clone(), exemplars.within(start, end));
        }
        if !wanted.accept_name(&bucket_name) {
            continue;
        }
        for exemplar in exemplars.within(start, end) {
            let bound = le(series.bounds.shown_above(exemplar.value));
            if wanted.accept_le(&bound) {
                let labels = entry.labels.with(METRIC_NAME, &bucket_name).with(LE, &bound);
                found.entry(labels).or_default().push(exemplar);
            }
        }
    }
    for (labels, exemplars) in series.remarks.exemplars(start, end) {
        let wanted = wanted.accept_name(labels.name())
            && wanted.accept_le(labels.get(LE).unwrap_or_default())
            && wanted.accept_others(labels);
        if wanted {
            found.entry(labels.clone()).or_default().extend(exemplars);
        }
    }
    found.into_iter().filter(|(_, exemplars)| !exemplars.is_empty()).collect()
}
