//! What a node of the tree is at every step of a range query, worked out series by series.
//!
//! In: a checked tree and the fetched series. Out: of each instant selector, each function of a plain
//! window and each simple aggregation over one of these, its values at all steps. The series lie side by
//! side, so they are shared out among threads; aggregations take them up in the order of their labels.
//! What has native histograms, start timestamps, a time of its own (`@`) or stands in a subquery is left
//! to be worked out step by step. Never true: another answer than that way gives.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::EvalError;
use super::aggregate::{group_labels, larger, smaller};
use super::ast::{Aggregate, AggregateOp, Edges, Expr, Kind, Selector};
use super::evaluate::Evaluator;
use super::kahan::{Mean, Sum};
use super::limits::Interrupt;
use super::sliding::{ABSENT, Ends, Seen, Slide, is_present, slide};
use super::value::{Element, Series};
use crate::number::{u64_from_i64, usize_from_u64};
use crate::series::{RawSeries, Sample, SampleValue};
use crate::signal::Labels;

/// Values that are worked out at once before they are aggregated: 8 MiB.
const VALUES_AT_ONCE: usize = 1 << 20;
/// Threads of one query.
const THREADS_MAX: usize = 4;
/// Samples and values that are worth another thread: a millisecond or two of work.
const WORTH_A_THREAD: usize = 400_000;
/// A value takes a quarter of what a sample is counted as.
const VALUES_A_SAMPLE: usize = 4;

/// One node at all steps.
#[derive(Debug)]
pub(super) struct Columns {
    labels: Vec<Arc<Labels>>,
    drop_name: bool,
    /// All steps of the first label set, then of the next.
    values: Vec<f64>,
    n_steps: usize,
}

/// A selector, and what is made of it.
struct Source<'e> {
    /// The node whose series were fetched.
    selector: usize,
    /// Where remarks about it point to.
    window: &'e Expr,
    slide: Slide,
    ends: Ends,
}

impl Source<'_> {
    fn drop_name(&self) -> bool {
        !matches!(self.slide, Slide::Newest | Slide::First | Slide::Last)
    }
}

impl Columns {
    fn elements(&self, step: usize, t: i64) -> Vec<Element> {
        let at = |(i, labels): (usize, &Arc<Labels>)| {
            let x = *self.values.get(i * self.n_steps + step)?;
            let element = || Element {
                labels: Arc::clone(labels),
                drop_name: self.drop_name,
                t,
                value: SampleValue::Float(x),
            };
            is_present(x).then(element)
        };
        self.labels.iter().enumerate().filter_map(at).collect()
    }
}

impl<'q> Evaluator<'q> {
    /// Works out what can be, for a query of several steps.
    pub(super) fn precompute(&mut self, expr: &'q Expr) -> Result<(), EvalError> {
        let mut rest = vec![expr];
        while let Some(expr) = rest.pop() {
            let done = match &expr.kind {
                Kind::Aggregate(aggregate) => self.aggregated(aggregate)?,
                _ => match self.source(expr) {
                    Some(source) => self.plain(&source)?,
                    None => None,
                },
            };
            if let Some(columns) = done {
                if self.columns.len() <= expr.id {
                    self.columns.resize_with(expr.id + 1, || None);
                }
                if let Some(slot) = self.columns.get_mut(expr.id) {
                    *slot = Some(columns);
                }
                continue;
            }
            match &expr.kind {
                Kind::Subquery { .. } => {}
                // They look at the samples themselves.
                Kind::Call { function, .. }
                    if matches!(function.name, "timestamp" | "start_timestamp" | "info") => {}
                _ => rest.extend(expr.children()),
            }
        }
        Ok(())
    }

    /// What the node is at a step, if it was worked out.
    pub(super) fn at_step(&self, id: usize, t: i64) -> Option<Vec<Element>> {
        let columns = self.columns.get(id)?.as_ref()?;
        let step = t.saturating_sub(self.range.start) / self.range.step.max(1);
        Some(columns.elements(usize_from_u64(u64_from_i64(step)), t))
    }

    /// The whole answer, where the whole query was worked out and no two series turn out alike.
    pub(super) fn whole(&mut self, expr: &Expr) -> Result<Option<Vec<RawSeries>>, EvalError> {
        let id = expr.unwrapped().id;
        let Some(columns) = self.columns.get_mut(id).and_then(Option::take) else {
            return Ok(None);
        };
        let shown = |labels: &Arc<Labels>| super::value::shown(labels, columns.drop_name);
        let labels: Vec<Labels> = columns.labels.iter().map(shown).collect();
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by(|a, b| labels.get(*a).cmp(&labels.get(*b)));
        let is_twice = |pair: &[usize]| matches!(pair, [a, b] if labels.get(*a) == labels.get(*b));
        if order.windows(2).any(is_twice) {
            // Perhaps never at the same time.
            if let Some(slot) = self.columns.get_mut(id) {
                *slot = Some(columns);
            }
            return Ok(None);
        }
        self.spend(columns.values.iter().filter(|x| is_present(**x)).count())?;
        let mut all = Vec::with_capacity(labels.len());
        for at in order {
            let from = at * columns.n_steps;
            let row = columns.values.get(from..from + columns.n_steps).unwrap_or_default();
            let times = std::iter::successors(Some(self.range.start), |t| {
                t.checked_add(self.range.step.max(1))
            });
            let present = times.zip(row).filter(|(_, x)| is_present(**x));
            let sample = |(t, x): (i64, &f64)| Sample { t, value: SampleValue::Float(*x) };
            let samples: Vec<Sample> = present.map(sample).collect();
            if let (false, Some(labels)) = (samples.is_empty(), labels.get(at)) {
                all.push(RawSeries::new(labels.clone(), samples));
            }
        }
        Ok(Some(all))
    }

    fn n_steps(&self) -> usize {
        let span = self.range.end.saturating_sub(self.range.start);
        usize_from_u64(u64_from_i64(span / self.range.step.max(1))).saturating_add(1)
    }

    fn source<'e>(&self, expr: &'e Expr) -> Option<Source<'e>> {
        let expr = expr.unwrapped();
        let (window, selector, width, slide) = match &expr.kind {
            Kind::Selector(selector) => (expr, selector, self.lookback, Slide::Newest),
            Kind::Call { function, args } => {
                let slide = Slide::named(function.name)?;
                let [arg] = args.as_slice() else { return None };
                let Kind::Window { selector, range } = &arg.unwrapped().kind else { return None };
                (arg, selector, self.positive(range).ok()?, slide)
            }
            _ => return None,
        };
        let Selector { shift, edges: Edges::Within, .. } = selector else { return None };
        if shift.at.is_some() {
            return None;
        }
        let first = self.shifted(shift, self.range.start).ok()?;
        let ends = Ends { first, step: self.range.step, width, n: self.n_steps() };
        let selector = window.unwrapped().id;
        let is_float = |sample: &Sample| matches!(sample.value, SampleValue::Float(_));
        let series = self.series_of(selector);
        let is_plain = series
            .iter()
            .all(|series| series.starts.is_empty() && series.samples.iter().all(is_float));
        is_plain.then_some(Source { selector, window, slide, ends })
    }

    /// Makes room for values; false where there is none to spare.
    fn room_for(&self, n_values: usize) -> Result<bool, EvalError> {
        let n = n_values / VALUES_A_SAMPLE;
        if n > self.samples_left.get().min(self.held.room()) / 4 {
            return Ok(false);
        }
        self.spend(n)?;
        Ok(true)
    }

    fn plain(&self, source: &Source<'_>) -> Result<Option<Columns>, EvalError> {
        let series = self.series_of(source.selector);
        let n_values = series.len().saturating_mul(source.ends.n);
        if !self.room_for(n_values)? {
            return Ok(None);
        }
        let Some((labels, drop_name)) = self.labels_of(source) else { return Ok(None) };
        let mut values = Vec::with_capacity(n_values);
        self.rows(source, |_, row| values.extend_from_slice(row))?;
        Ok(Some(Columns { labels, drop_name, values, n_steps: source.ends.n }))
    }

    /// The labels of each series of a source, and whether their names are yet to be dropped. None where
    /// names go at once and series would turn out alike: perhaps never at the same time.
    fn labels_of(&self, source: &Source<'_>) -> Option<(Vec<Arc<Labels>>, bool)> {
        let labels = self.series_of(source.selector).iter().map(|series| &series.labels);
        if self.delayed_name_removal || !source.drop_name() {
            return Some((labels.cloned().collect(), source.drop_name()));
        }
        let labels: Vec<Arc<Labels>> = labels.map(|labels| self.shown(labels)).collect();
        let n_different = labels.iter().collect::<HashSet<_>>().len();
        (n_different == labels.len()).then_some((labels, false))
    }

    fn aggregated(&self, aggregate: &Aggregate) -> Result<Option<Columns>, EvalError> {
        let Some(source) = self.source(&aggregate.inner) else { return Ok(None) };
        if Totals::new(aggregate.op, 0).is_none() {
            return Ok(None);
        }
        let mut places: HashMap<Labels, usize, foldhash::fast::RandomState> = HashMap::default();
        let mut labels = Vec::new();
        let mut place_of = Vec::new();
        let Some((own, drop_name)) = self.labels_of(&source) else { return Ok(None) };
        for own in &own {
            let group = group_labels(own, &aggregate.grouping);
            let place = *places.entry(group).or_insert_with_key(|group| {
                labels.push(Arc::new(group.clone()));
                labels.len() - 1
            });
            place_of.push(place);
        }
        let n_steps = source.ends.n;
        if !self.room_for(labels.len().saturating_mul(n_steps))? {
            return Ok(None);
        }
        let mut groups: Vec<Totals> =
            labels.iter().filter_map(|_| Totals::new(aggregate.op, n_steps)).collect();
        self.rows(&source, |at, row| {
            if let Some(group) = place_of.get(at).and_then(|place| groups.get_mut(*place)) {
                group.add(row);
            }
        })?;
        let values = groups.into_iter().flat_map(Totals::values).collect();
        Ok(Some(Columns { labels, drop_name, values, n_steps }))
    }

    /// Shows the values of each series, in their order, with its number.
    fn rows(
        &self,
        source: &Source<'_>,
        mut show: impl FnMut(usize, &[f64]),
    ) -> Result<(), EvalError> {
        let n_steps = source.ends.n;
        let all = self.series_of(source.selector);
        let at_once = (VALUES_AT_ONCE / n_steps).max(1);
        let mut values = vec![ABSENT; at_once.min(all.len()) * n_steps];
        let mut first = 0;
        for part in all.chunks(at_once) {
            let seen = slide_all(source, part, (&mut values, &self.interrupt));
            self.interrupt.check()?;
            for (i, row) in values.chunks(n_steps).take(part.len()).enumerate() {
                show(first + i, row);
            }
            first += part.len();
            if source.slide.is_of_counters() {
                for (series, _) in
                    part.iter().zip(seen).filter(|(_, seen)| *seen == Seen::Something)
                {
                    self.check_counter_name(series.labels.name(), source.window.span);
                }
            }
        }
        Ok(())
    }
}

/// Fills `values`, `n` of each series one after the other, on as many threads as pay.
fn slide_all(
    source: &Source<'_>,
    series: &[Series],
    (values, interrupt): (&mut [f64], &Interrupt),
) -> Vec<Seen> {
    let (slide_of, ends) = (source.slide, source.ends);
    let one = |series: &[Series], values: &mut [f64], seen: &mut [Seen]| {
        for ((series, row), seen) in series.iter().zip(values.chunks_mut(ends.n)).zip(seen) {
            if interrupt.check().is_err() {
                return;
            }
            *seen = slide(slide_of, series, &ends, (row, interrupt));
        }
    };
    let mut seen = vec![Seen::Nothing; series.len()];
    let n_samples: usize = series.iter().map(|series| series.samples.len()).sum();
    let work = n_samples + series.len() * ends.n;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let n_threads =
        (work / WORTH_A_THREAD + 1).min(cores).min(THREADS_MAX).min(series.len().max(1));
    if n_threads == 1 {
        one(series, values, &mut seen);
        return seen;
    }
    let share = series.len().div_ceil(n_threads);
    std::thread::scope(|scope| {
        let parts = series.chunks(share).zip(values.chunks_mut(share * ends.n));
        for ((series, values), seen) in parts.zip(seen.chunks_mut(share)) {
            scope.spawn(move || one(series, values, seen));
        }
    });
    seen
}

/// An aggregation of one group, at each step.
enum Totals {
    Sums(Vec<(bool, Sum)>),
    Means(Vec<(bool, Mean)>),
    Smallest(Vec<f64>),
    Largest(Vec<f64>),
    Counts(Vec<f64>),
    Any(Vec<f64>),
}

impl Totals {
    fn new(op: AggregateOp, n_steps: usize) -> Option<Self> {
        Some(match op {
            AggregateOp::Sum => Self::Sums(vec![(false, Sum::default()); n_steps]),
            AggregateOp::Avg => Self::Means(vec![(false, Mean::default()); n_steps]),
            AggregateOp::Min => Self::Smallest(vec![ABSENT; n_steps]),
            AggregateOp::Max => Self::Largest(vec![ABSENT; n_steps]),
            AggregateOp::Count => Self::Counts(vec![ABSENT; n_steps]),
            AggregateOp::Group => Self::Any(vec![ABSENT; n_steps]),
            _ => return None,
        })
    }

    fn add(&mut self, row: &[f64]) {
        let present = |x: &f64| is_present(*x).then_some(*x);
        match self {
            Self::Sums(held) => {
                for ((any, sum), x) in held.iter_mut().zip(row).filter(|(_, x)| is_present(**x)) {
                    *any = true;
                    sum.add(*x);
                }
            }
            Self::Means(held) => {
                for ((any, mean), x) in held.iter_mut().zip(row).filter(|(_, x)| is_present(**x)) {
                    *any = true;
                    mean.add(*x);
                }
            }
            Self::Smallest(held) => fold(held, row, smaller),
            Self::Largest(held) => fold(held, row, larger),
            Self::Counts(held) => {
                for (n, _) in held.iter_mut().zip(row).filter(|(_, x)| is_present(**x)) {
                    *n = present(n).unwrap_or(0.0) + 1.0;
                }
            }
            Self::Any(held) => {
                for (any, _) in held.iter_mut().zip(row).filter(|(_, x)| is_present(**x)) {
                    *any = 1.0;
                }
            }
        }
    }

    fn values(self) -> Vec<f64> {
        match self {
            Self::Sums(held) => {
                held.iter().map(|(any, sum)| if *any { sum.total() } else { ABSENT }).collect()
            }
            Self::Means(held) => {
                held.iter().map(|(any, mean)| if *any { mean.mean() } else { ABSENT }).collect()
            }
            Self::Smallest(held) | Self::Largest(held) | Self::Counts(held) | Self::Any(held) => {
                held
            }
        }
    }
}

/// The first of a group counts as compared with itself, as [`smaller`] and [`larger`] have it for NaN.
fn fold(held: &mut [f64], row: &[f64], better: fn(f64, f64) -> f64) {
    for (best, x) in held.iter_mut().zip(row).filter(|(_, x)| is_present(**x)) {
        *best = if is_present(*best) { better(*best, *x) } else { *x };
    }
}
