//! What queries read: cumulative series made from slots, samples as they are, label sets, exemplars.
//!
//! A derived series has a sample at the end of every slot from the one before its family's first
//! increment (there it is zero) until the last tick. A histogram answers under its own name, and as
//! `_bucket`, `_sum` and `_count`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use super::blocks::{Damaged, Disk};
use super::bounds::{Bounds, le};
use super::counter::{cumulative, from_parts};
use super::distribution::Distribution;
use super::looks::Part;
use super::payload;
use super::plain::Plain;
use super::sealed::{Detail, Reach};
use super::slots::{Delta, GRID_MAX, Slot, last_of};
use super::store::second;
use super::table::{Data, Entry, Table};
use super::taken::{Access, Candidates, GoesOn, Head, LOOK, Seen, Taken};
use super::{
    Histogram, MatchOp, Matcher, RawSeries, Sample, SampleValue, SelectError, Selection, Series,
};
use crate::go_regex::SMALL;
use crate::number::{u64_from_i64, usize_from_u64};
use crate::signal::{Exemplar, Labels, METRIC_NAME};

/// Series that are decoded at once.
const TAKEN_AT_ONCE: usize = 4096;
/// Threads of one selection.
const THREADS_MAX: usize = 4;
/// Samples that are worth another thread: a millisecond or two of decoding.
const WORTH_A_THREAD: usize = 200_000;
/// About how far samples lie apart, to tell how much work a range is.
pub(super) const SAMPLE_SPACING_MS: i64 = 15_000;
/// What a series costs beside its samples, in samples.
const SERIES_COST: usize = 100;
/// How often a selection that met a block which was merged away is begun anew.
const TRIES_MAX: usize = 3;
/// A sample that is passed over takes a nanosecond or two and no memory: so many count as one.
const PASSED_OVER_A_SAMPLE: usize = 16;
/// Samples of one series in one selection; longer selections get a coarser grid. A second's grid
/// spans three hours, as Prometheus's limit of 11,000 points a query has it.
const POINTS_MAX: i64 = 11_000;
/// The same for native histograms, which cost a hundred times as much to read.
const NATIVE_POINTS_MAX: i64 = 2_000;
/// Seconds between samples, finest first.
const STEPS: [i64; 4] = [1, 10, 60, GRID_MAX];
pub(super) const LE: &str = "le";

/// How a stored series is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum View {
    AsIs,
    Bucket(f64),
    Sum,
    Count,
}

impl View {
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::AsIs => "",
            Self::Bucket(_) => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
        }
    }
}

/// The conditions of a selector, by what they are about.
pub(super) struct Conditions<'a> {
    name: Vec<&'a Matcher>,
    le: Vec<&'a Matcher>,
    others: Vec<&'a Matcher>,
}

impl<'a> Conditions<'a> {
    pub(super) fn new(matchers: &'a [Matcher]) -> Self {
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

    /// Series of one look: few where it takes long to compare them with what is asked for.
    pub(super) fn look(&self) -> usize {
        let all = self.name.iter().chain(&self.le).chain(&self.others);
        let n_bytes: usize = all.map(|matcher| matcher.n_bytes()).sum();
        (LOOK * SMALL / n_bytes.max(SMALL)).max(1)
    }

    /// The one name that can match, if there is only one.
    pub(super) fn exact_name(&self) -> Option<&'a str> {
        self.name.iter().find(|m| m.op == MatchOp::Equal).map(|m| &*m.value)
    }

    /// The condition that the fewest series can meet, of those that name their values.
    pub(super) fn narrowest(&self, table: &Table) -> Option<Narrow<'a>> {
        let told = self.others.iter().filter_map(|matcher| {
            let (label, values) = (&*matcher.name, matcher.values()?);
            Some(Narrow { label, n_series: table.n_with_label(label, &values), values })
        });
        told.min_by_key(|narrow| narrow.n_series)
    }

    pub(super) fn accept_name(&self, name: &str) -> bool {
        self.name.iter().all(|matcher| matcher.matches(name))
    }

    /// Whether series of this name may be wanted: by their own, or by a view of histograms.
    pub(super) fn may_accept(&self, name: &str, is_histogram: impl FnOnce() -> bool) -> bool {
        let ends = || ["_bucket", "_sum", "_count"].into_iter();
        let is_view = || ends().any(|end| self.accept_name(&format!("{name}{end}")));
        self.accept_name(name) || (is_histogram() && is_view())
    }

    pub(super) fn accept_le(&self, value: &str) -> bool {
        self.le.iter().all(|matcher| matcher.matches(value))
    }

    pub(super) fn accept_le_of(&self, labels: &Labels) -> bool {
        self.le.is_empty() || self.accept_le(labels.get(LE).unwrap_or_default())
    }

    pub(super) fn accept_others(&self, labels: &Labels) -> bool {
        self.others.iter().all(|matcher| matcher.matches_labels(labels))
    }
}

/// A label that few series have with the values that are asked for.
pub(super) struct Narrow<'a> {
    label: &'a str,
    values: BTreeSet<&'a str>,
    pub(super) n_series: usize,
}

impl Narrow<'_> {
    pub(super) fn entries<'t>(&self, table: &'t Table) -> impl Iterator<Item = &'t Entry> {
        let ids = table.with_label(self.label, &self.values);
        ids.into_iter().filter_map(|id| table.get(id))
    }
}

impl Series {
    /// All series that match, with their samples in the selection, in the order of their labels.
    pub fn select(&self, selection: &Selection<'_>) -> Result<Vec<RawSeries>, SelectError> {
        select(Access::Held(self), selection, &|| true)
    }

    /// Label sets of all series that match and have a sample in `[start, end]` (milliseconds).
    pub fn label_sets(&self, matchers: &[Matcher], start: i64, end: i64) -> Vec<Labels> {
        label_sets(Access::Held(self), matchers, (start, end), &|| true)
    }

    pub(super) fn has_in(&self, entry: &Entry, start: i64, end: i64) -> bool {
        match &entry.data {
            Data::Plain(plain) => {
                let sealed = entry.sealed;
                plain.has_in(start, end)
                    || sealed.is_some_and(|span| span.first <= end && span.last >= start)
            }
            _ => self.seen(entry).is_some_and(|(first, last)| {
                first.saturating_mul(1000) <= end && last.saturating_mul(1000) + 999 >= start
            }),
        }
    }

    /// From which to which second a derived series answers.
    pub(super) fn seen(&self, entry: &Entry) -> Option<(i64, i64)> {
        let (first, last) = self.table.life(entry, &self.zones)?;
        Some((first, last.max(second(self.now))))
    }
}

/// As [`Series::select`], of a store that others write to: its lock is held only for short looks at a few
/// series each, which are of one moment; what was taken is decoded without it. It is not brought to its end
/// where `goes_on` says no.
pub fn select_shared(
    series: &RwLock<Series>,
    selection: &Selection<'_>,
    goes_on: GoesOn<'_>,
) -> Result<Vec<RawSeries>, SelectError> {
    let access = Access::Shared(series);
    let mut tries = 0;
    loop {
        let selected = select(access, selection, goes_on);
        match &selected {
            Err(error) if tries < TRIES_MAX && was_merged_away(access, error) => tries += 1,
            _ => return selected,
        }
    }
}

/// Whether the block that could not be read is no longer one of the store's: a merge took it away after
/// it was looked at, and the next try knows better.
pub(super) fn was_merged_away(access: Access<'_>, error: &SelectError) -> bool {
    match error {
        SelectError::Damaged { name } => !access.look(|series| series.blocks.lists(name)),
        SelectError::TooManySamples { .. } | SelectError::Ended => false,
    }
}

/// As [`Series::label_sets`], in short looks, and not to the end where `goes_on` says no.
pub fn label_sets_shared(
    series: &RwLock<Series>,
    matchers: &[Matcher],
    range: (i64, i64),
    goes_on: GoesOn<'_>,
) -> Vec<Labels> {
    label_sets(Access::Shared(series), matchers, range, goes_on)
}

fn label_sets(
    access: Access<'_>,
    matchers: &[Matcher],
    (start, end): (i64, i64),
    goes_on: GoesOn<'_>,
) -> Vec<Labels> {
    let wanted = Conditions::new(matchers);
    let mut sets = Vec::new();
    let ids = access.candidates(&wanted, goes_on);
    access.each(&ids, wanted.look(), goes_on, |series, ids| {
        let mut forms = series.forms(&wanted, "");
        for entry in ids.iter().filter_map(|id| series.table.get(*id)) {
            let views = series.views(entry, &wanted, &mut forms);
            if !views.is_empty() && series.has_in(entry, start, end) {
                sets.extend(views.into_iter().map(|(labels, _)| labels));
            }
        }
        ids.len()
    });
    sets.sort();
    sets
}

fn select(
    access: Access<'_>,
    selection: &Selection<'_>,
    goes_on: GoesOn<'_>,
) -> Result<Vec<RawSeries>, SelectError> {
    let wanted = Conditions::new(selection.matchers);
    let Begun { candidates, n_taken, mut seen, bounds, disk } = begin(access, &wanted, selection);
    let ids = access.resolved(candidates, &wanted, goes_on);
    let n_read = AtomicUsize::new(0);
    let reading = Reading { selection, bounds: &bounds, disk: &disk, n_read: &n_read, goes_on };
    let mut selected = Vec::new();
    let mut rest = ids.get(n_taken..).unwrap_or_default();
    loop {
        let n = rest.len().min(TAKEN_AT_ONCE - seen.taken.len());
        let (ids, others) = rest.split_at_checked(n).unwrap_or((rest, &[]));
        access.each(ids, wanted.look(), goes_on, |series, ids| {
            series.take(ids, &wanted, selection, &mut seen)
        });
        if !goes_on() {
            return Err(SelectError::Ended);
        }
        reading.spend(seen.newest.len())?;
        selected.append(&mut seen.newest);
        selected.extend(reading.all(&seen.taken)?);
        seen.taken.clear();
        rest = others;
        if rest.is_empty() {
            break;
        }
    }
    put_in_order(&mut selected);
    Ok(selected)
}

/// What the first look at a store gives: of a selection of few series all that is needed.
struct Begun {
    candidates: Candidates,
    /// Of the candidates the first so many are looked at already.
    n_taken: usize,
    seen: Seen,
    bounds: Bounds,
    disk: Arc<Disk>,
}

fn begin(access: Access<'_>, wanted: &Conditions<'_>, selection: &Selection<'_>) -> Begun {
    access.look(|series| {
        let candidates = series.candidates(wanted);
        let (ids, mut seen) = (candidates.ids(), Seen::default());
        let first = ids.get(..wanted.look()).unwrap_or(ids);
        series.take(first, wanted, selection, &mut seen);
        let (n_taken, bounds) = (first.len(), series.bounds.clone());
        Begun { candidates, n_taken, seen, bounds, disk: Arc::clone(series.blocks.disk()) }
    })
}

/// In the order of their labels. Candidates come name by name, so nearly all there is to do is within
/// names; views of histograms, and labels that sort before `__name__`, may need more.
fn put_in_order(selected: &mut [RawSeries]) {
    let by_labels = |a: &RawSeries, b: &RawSeries| a.labels.cmp(&b.labels);
    for of_name in selected.chunk_by_mut(|a, b| a.labels.name() == b.labels.name()) {
        of_name.sort_by(by_labels);
    }
    if !selected.is_sorted_by(|a, b| a.labels <= b.labels) {
        selected.sort_by(by_labels);
    }
}

/// What all readers of one selection share.
#[derive(Clone, Copy)]
struct Reading<'a> {
    selection: &'a Selection<'a>,
    bounds: &'a Bounds,
    disk: &'a Disk,
    n_read: &'a AtomicUsize,
    goes_on: GoesOn<'a>,
}

impl Reading<'_> {
    fn spend(self, n: usize) -> Result<(), SelectError> {
        let before = self.n_read.fetch_add(n, Ordering::Relaxed);
        let max = self.selection.samples_max;
        if before.saturating_add(n) > max {
            return Err(SelectError::TooManySamples { max });
        }
        Ok(())
    }

    /// Decodes on as many threads as pay.
    fn all(self, taken: &[Taken]) -> Result<Vec<RawSeries>, SelectError> {
        let span = self.selection.end.saturating_sub(self.selection.start).max(0);
        let per_series =
            usize_from_u64(u64_from_i64(span / SAMPLE_SPACING_MS)).saturating_add(SERIES_COST);
        let work = taken.len().saturating_mul(per_series);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let n_threads = (work / WORTH_A_THREAD + 1).min(cores).min(THREADS_MAX);
        if n_threads == 1 {
            return self.some(taken);
        }
        let share = taken.len().div_ceil(n_threads).max(1);
        std::thread::scope(|scope| {
            let read: Vec<_> =
                taken.chunks(share).map(|part| scope.spawn(move || self.some(part))).collect();
            let mut selected = Vec::with_capacity(taken.len());
            for part in read {
                selected
                    .extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(selected)
        })
    }

    fn some(self, taken: &[Taken]) -> Result<Vec<RawSeries>, SelectError> {
        let mut reader = Reader { shared: self, grids: BTreeMap::new(), kept: BTreeMap::new() };
        let mut selected = Vec::with_capacity(taken.len());
        for taken in taken {
            // A series may be a month of blocks.
            if !(self.goes_on)() {
                return Err(SelectError::Ended);
            }
            reader.read(taken, &mut selected)?;
        }
        Ok(selected)
    }
}

/// Reads series of one selection, within its allowance of samples.
struct Reader<'a> {
    shared: Reading<'a>,
    /// Most series of a selection share one grid: by first second, last second, points.
    grids: BTreeMap<(i64, i64, i64), Arc<[i64]>>,
    /// Of grids, by first and last second and length: the ends of windows.
    kept: BTreeMap<(i64, i64, usize), Arc<[i64]>>,
}

impl Reader<'_> {
    fn read(&mut self, taken: &Taken, into: &mut Vec<RawSeries>) -> Result<(), SelectError> {
        match &taken.head {
            Head::Plain(plain) => {
                let samples = self.samples(taken, plain)?;
                // There is no other view of it than its own.
                push(into, taken.views.first().map(|(labels, _)| (labels, samples)));
            }
            Head::Counter(counter) => {
                let grid = self.grid(taken, POINTS_MAX);
                let later = self.later(&grid, |reach| {
                    let sealed = taken.sealed_deltas(self.shared.disk, reach)?;
                    Ok(in_order(sealed, counter.slots.after(reach.first)))
                })?;
                for (labels, _) in &taken.views {
                    let grid = self.thinned(labels, &later, &grid)?;
                    let values = cumulative(&later, counter.total, &grid, |n| i128::from(*n));
                    let sample = |(s, sum)| float((s, from_parts(sum, taken.parts)));
                    push(into, [(labels, values.map(sample).collect())]);
                }
            }
            Head::Distribution(held) => {
                let (natives, floats): (Vec<_>, Vec<_>) =
                    taken.views.iter().partition(|(_, view)| *view == View::AsIs);
                self.read_distribution((taken, held), (&natives, NATIVE_POINTS_MAX), into)?;
                self.read_distribution((taken, held), (&floats, POINTS_MAX), into)?;
            }
        }
        Ok(())
    }

    fn samples(&self, taken: &Taken, plain: &Plain) -> Result<Vec<Sample>, SelectError> {
        let Selection { start, end, looks, .. } = *self.shared.selection;
        let part = Part { start: start.saturating_add(1), end, looks };
        let mut gathered = taken.sealed_samples(self.shared.disk, part)?;
        plain.append_to(&mut gathered, part);
        let samples = payload::latest(gathered.samples);
        self.shared.spend(samples.len() + gathered.n_passed_over / PASSED_OVER_A_SAMPLE)?;
        Ok(samples)
    }

    /// The views of one histogram that share a grid, and so their slots.
    fn read_distribution(
        &mut self,
        (taken, held): (&Taken, &Distribution),
        (views, points_max): (&[&(Labels, View)], i64),
        into: &mut Vec<RawSeries>,
    ) -> Result<(), SelectError> {
        if views.is_empty() {
            return Ok(());
        }
        let Reading { bounds, disk, .. } = self.shared;
        let grid = self.grid(taken, points_max);
        let later = self.later(&grid, |reach| {
            let sealed = taken.sealed_counts(held, disk, reach)?;
            Ok(in_order(sealed, held.slots.after(reach.first)))
        })?;
        for (labels, view) in views {
            let grid = self.thinned(labels, &later, &grid)?;
            let samples = match view {
                View::AsIs => natives(held.natives(&later, &grid)),
                View::Bucket(bound) => floats(held.bucket_values(&later, &grid, (bounds, *bound))),
                View::Sum => floats(held.sum_values(&later, &grid)),
                View::Count => floats(held.count_values(&later, &grid)),
            };
            push(into, [(labels, samples)]);
        }
        Ok(())
    }

    /// The seconds at which a derived series has samples in the selection.
    fn grid(&mut self, taken: &Taken, points_max: i64) -> Arc<[i64]> {
        let Some((first, last)) = taken.seen else { return Arc::default() };
        let selection = self.shared.selection;
        let from = first.max(selection.start.div_euclid(1000).saturating_add(1));
        let to = last.min(selection.end.div_euclid(1000));
        let zones = &taken.zones;
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
        Arc::clone(grid)
    }

    /// The slots after the first second of the grid. For a single window the sums of blocks do, if
    /// nothing falls.
    fn later<D: Delta>(
        &self,
        grid: &[i64],
        read: impl Fn(Reach) -> Result<Vec<Slot<D>>, Damaged>,
    ) -> Result<Vec<Slot<D>>, Damaged> {
        let reach = Reach { first: first(grid), last: last(grid), detail: Detail::Slots };
        if self
            .shared
            .selection
            .windows
            .is_some_and(|windows| windows.first_end == windows.last_end)
        {
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
        labels: &Labels,
        later: &[Slot<D>],
        grid: &Arc<[i64]>,
    ) -> Result<Arc<[i64]>, SelectError> {
        let windows = self.shared.selection.windows;
        let Some(windows) = windows.filter(|_| later.iter().all(|(_, d)| d.is_rise())) else {
            self.shared.spend(grid.len())?;
            return Ok(Arc::clone(grid));
        };
        let key = (first(grid), last(grid), grid.len());
        let kept = self.kept.entry(key).or_insert_with(|| windows.ends(grid));
        let kept = Arc::clone(kept);
        windows.note(labels, grid);
        self.shared.spend(kept.len())?;
        Ok(kept)
    }
}

/// Those that have samples.
fn push<'l>(into: &mut Vec<RawSeries>, read: impl IntoIterator<Item = (&'l Labels, Vec<Sample>)>) {
    let some = read.into_iter().filter(|(_, samples)| !samples.is_empty());
    into.extend(some.map(|(labels, samples)| RawSeries::new(labels.clone(), samples)));
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
    let histograms = series.table.histogram_names().flat_map(|name| series.table.named(name));
    for entry in histograms.filter(|entry| wanted.accept_others(&entry.labels)) {
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
