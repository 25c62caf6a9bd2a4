//! Functions that look at how a series moves through a window: `rate`, `increase`, `delta`,
//! `irate`, `idelta`, `deriv`, `predict_linear`, `resets`, `changes`. The extrapolation is that
//! of `extrapolatedRate` in `promql/functions.go`. What is never true: a counter extrapolated
//! below zero.

use super::ast::{self, Edges};
use super::evaluate::Evaluator;
use super::histogram::{
    add, compact, divide, equal, is_custom, multiply, reduce, subtract, was_reset,
};
use super::kahan::Sum;
use super::starts::Starts;
use super::value::Frame;
use crate::number::{f64_from_i64, f64_from_usize};
use crate::series::{CounterReset, Histogram, Sample, SampleValue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Rate,
    Increase,
    Delta,
}

/// One window's samples and where the expression that selects them stands.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) samples: &'a [Sample],
    /// Start timestamps of the samples, or nothing.
    pub(super) starts: &'a [i64],
    /// How many samples the window holds: of counters that only rise the ends suffice.
    pub(super) n_samples: usize,
    pub(super) name: &'a str,
    pub(super) span: ast::Span,
}

impl<'a> Input<'a> {
    pub(super) fn floats(&self) -> impl Iterator<Item = (i64, f64)> + 'a {
        self.samples.iter().filter_map(|sample| match &sample.value {
            SampleValue::Float(x) => Some((sample.t, *x)),
            SampleValue::Histogram(_) => None,
        })
    }

    pub(super) fn histograms(&self) -> impl Iterator<Item = &'a Histogram> + 'a {
        self.samples.iter().filter_map(|sample| match &sample.value {
            SampleValue::Float(_) => None,
            SampleValue::Histogram(h) => Some(&**h),
        })
    }
}

pub(super) fn seconds(millis: i64) -> f64 {
    f64_from_i64(millis) / 1000.0
}

pub(super) fn histogram_value(mut h: Histogram) -> SampleValue {
    h.counter_reset = CounterReset::Gauge;
    compact(&mut h);
    SampleValue::Histogram(h.into())
}

impl Evaluator<'_> {
    pub(super) fn rate(
        &self,
        change: Change,
        input: Input<'_>,
        frame: &Frame<'_>,
    ) -> Option<SampleValue> {
        if frame.edges != Edges::Within {
            return self.change_between_edges(change, input, frame);
        }
        let is_counter = change != Change::Delta;
        let floats: Vec<(i64, f64)> = input.floats().collect();
        let counts: Vec<&Histogram> = input.histograms().collect();
        if is_counter && !floats.is_empty() {
            self.check_counter_name(input.name, input.span);
        }
        if !floats.is_empty() && !counts.is_empty() {
            self.notes.mixed(input.span, input.name);
            return None;
        }
        let starts = Starts::new(input.samples, if is_counter { input.starts } else { &[] });
        if starts.overlap() {
            self.starts_overlap(input);
        }
        // One sample alone tells by how much its counter rose where it tells since when.
        let from_nothing = starts.first_after(frame.start);
        if input.samples.len() < 2 && from_nothing.is_none() {
            return None;
        }
        let window = Span { start: frame.start, end: frame.end, n_samples: input.n_samples };
        let pace = Pace {
            window,
            ends: (input.samples.first()?.t, input.samples.last()?.t),
            per: if change == Change::Rate { window.seconds() } else { 1.0 },
            starts: is_counter.then_some(starts),
            from_nothing,
        };
        if counts.is_empty() {
            return float_rate(&pace, &floats).map(SampleValue::Float);
        }
        self.histogram_rate(&pace, &counts, input).map(histogram_value)
    }

    fn histogram_rate(
        &self,
        pace: &Pace,
        counts: &[&Histogram],
        input: Input<'_>,
    ) -> Option<Histogram> {
        let first = *counts.first()?;
        let mut moved = if counts.len() > 1 {
            self.histogram_change(counts, pace.starts.as_ref(), input)?
        } else {
            empty_like(first)
        };
        if pace.from_nothing.is_some() {
            moved = self.sum_of(&moved, first, input)?;
        }
        let factor = pace.factor(moved.count, first.count)?;
        Some(multiply(&moved, factor))
    }

    fn starts_overlap(&self, input: Input<'_>) {
        let message = "sample has start time that overlaps with previous sample timestamp";
        let name = input.name;
        let about = if name.is_empty() { String::new() } else { format!(" for metric {name:?}") };
        self.notes.warn(input.span, &format!("{message}{about}"));
    }

    /// Remarks upon a metric that is not named like a counter.
    pub(super) fn check_counter_name(&self, name: &str, span: ast::Span) {
        let suffixes = ["_total", "_sum", "_count", "_bucket"];
        if !name.is_empty() && !suffixes.iter().any(|suffix| name.ends_with(suffix)) {
            let message = format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \
                 {name:?}"
            );
            self.notes.info(span, &message);
        }
    }

    pub(super) fn not_a(&self, kind: &str, input: Input<'_>) {
        let message = format!("this native histogram metric is not a {kind}: {:?}", input.name);
        self.notes.warn(input.span, &message);
    }

    /// The last minus the first, plus what resets in between took away if it is a counter.
    fn histogram_change(
        &self,
        counts: &[&Histogram],
        counter: Option<&Starts>,
        input: Input<'_>,
    ) -> Option<Histogram> {
        let (first, last) = (*counts.first()?, *counts.last()?);
        let is_gauge = |h: &Histogram| h.counter_reset == CounterReset::Gauge;
        if counter.is_some() && counts.iter().any(|h| is_gauge(h)) {
            self.not_a("counter", input);
        }
        if counter.is_none() && !(is_gauge(first) && is_gauge(last)) {
            self.not_a("gauge", input);
        }
        // With a reset right after it, the first sample's layout does not matter.
        let second = *counts.get(1)?;
        let is_reset = |at: usize, before: &Histogram, now: &Histogram| {
            counter.is_some_and(|starts| starts.is_reset(at) || was_reset(now, before))
        };
        let blank = is_reset(1, first, second).then(|| empty_like(second));
        let first = blank.as_ref().unwrap_or(first);
        let custom = is_custom(first);
        let between = counts.get(1..counts.len() - 1).unwrap_or_default();
        let differs = |h: &Histogram| is_custom(h) != custom;
        if differs(last) || (counter.is_some() && between.iter().any(|h| differs(h))) {
            self.notes.mixed_schemas(input.span, input.name);
            return None;
        }
        let mut schema = first.schema.min(last.schema);
        if counter.is_some() {
            schema = between.iter().fold(schema, |schema, h| schema.min(h.schema));
        }
        let mut moved = last.clone();
        reduce(&mut moved, schema);
        let difference = subtract(&moved, first).ok()?;
        if difference.bounds_reconciled {
            self.notes.reconciled(input.span, "subtraction");
        }
        moved = difference.histogram;
        if counter.is_none() {
            return Some(moved);
        }
        let mut before = first;
        for (at, now) in counts.iter().enumerate().skip(1) {
            if is_reset(at, before, now) {
                let sum = add(&moved, before).ok()?;
                if sum.bounds_reconciled {
                    self.notes.reconciled(input.span, "addition");
                }
                moved = sum.histogram;
            }
            before = now;
        }
        Some(moved)
    }

    /// `irate`, per second, or `idelta`: from the last sample but one to the last.
    pub(super) fn instant_change(&self, change: Change, input: Input<'_>) -> Option<SampleValue> {
        let [.., before, now] = input.samples else { return None };
        let interval = seconds(now.t.saturating_sub(before.t));
        if interval == 0.0 {
            return None;
        }
        let is_rate = change == Change::Rate;
        let per = if is_rate { interval } else { 1.0 };
        let starts = Starts::new(input.samples, input.starts);
        let begins_anew = is_rate && starts.is_reset(input.samples.len().saturating_sub(1));
        match (&before.value, &now.value) {
            (SampleValue::Float(x), SampleValue::Float(y)) => {
                let x = if begins_anew { 0.0 } else { *x };
                last_move(change, (before.t, x), (now.t, *y)).map(SampleValue::Float)
            }
            (SampleValue::Histogram(g), SampleValue::Histogram(h)) => {
                let n_gauges =
                    [g, h].iter().filter(|h| h.counter_reset == CounterReset::Gauge).count();
                if is_rate && n_gauges > 0 {
                    self.not_a("counter", input);
                }
                if !is_rate && n_gauges < 2 {
                    self.not_a("gauge", input);
                }
                let moved = if begins_anew || (is_rate && was_reset(h, g)) {
                    (**h).clone()
                } else if let Ok(difference) = subtract(h, g) {
                    if difference.bounds_reconciled {
                        self.notes.reconciled(input.span, "subtraction");
                    }
                    difference.histogram
                } else {
                    self.notes.mixed_schemas(input.span, input.name);
                    return None;
                };
                Some(histogram_value(divide(&moved, per)))
            }
            _ => {
                self.notes.mixed(input.span, input.name);
                None
            }
        }
    }

    /// The slope of the floats, or their line's value at `at` plus `ahead` seconds.
    pub(super) fn line(&self, input: Input<'_>, at: Option<(i64, f64)>) -> Option<SampleValue> {
        let floats: Vec<(i64, f64)> = input.floats().collect();
        if floats.len() < input.samples.len() && !floats.is_empty() {
            self.ignored_histograms(input);
        }
        if floats.len() < 2 {
            return None;
        }
        let origin = at.map_or(floats.first()?.0, |(t, _)| t);
        let line = regression(&floats, origin);
        let value = match at {
            None => line.slope,
            Some((_, ahead)) => line.slope * ahead + line.intercept,
        };
        Some(SampleValue::Float(value))
    }

    pub(super) fn ignored_histograms(&self, input: Input<'_>) {
        let message = super::notes::about(
            "ignored histograms in a range containing both floats and histograms",
            input.name,
        );
        self.notes.info(input.span, &message);
    }
}

/// From one float sample to the next: by how much, or for a counter's rate how fast.
pub(super) fn last_move(
    change: Change,
    (before, x): (i64, f64),
    (now, y): (i64, f64),
) -> Option<f64> {
    let interval = seconds(now.saturating_sub(before));
    if interval == 0.0 {
        return None;
    }
    let is_rate = change == Change::Rate;
    let moved = if is_rate && y < x { y } else { y - x };
    Some(if is_rate { moved / interval } else { moved })
}

/// A window, and what makes a rate of how its samples moved.
struct Pace {
    window: Span,
    /// The times of the first and the last sample.
    ends: (i64, i64),
    /// What the change is divided by.
    per: f64,
    /// Of counters: where they began anew.
    starts: Option<Starts>,
    /// When the counter is known to have been nothing, in the window and before the first sample.
    from_nothing: Option<i64>,
}

impl Pace {
    /// What the change from the first to the last sample is multiplied by.
    fn factor(&self, moved: f64, first: f64) -> Option<f64> {
        let factor = if let Some(start) = self.from_nothing {
            extrapolation_to_end(self.window, self.ends, start)
        } else {
            let first = self.starts.is_some().then_some(first);
            extrapolation(self.window, self.ends, moved, first)?
        };
        Some(factor / self.per)
    }
}

fn float_rate(pace: &Pace, floats: &[(i64, f64)]) -> Option<f64> {
    let (_, first) = *floats.first()?;
    let mut moved = match &pace.starts {
        Some(starts) => counter_increase(floats, starts),
        None => float_delta(floats),
    };
    if pace.from_nothing.is_some() {
        moved += first;
    }
    Some(moved * pace.factor(moved, first)?)
}

fn empty_like(h: &Histogram) -> Histogram {
    Histogram {
        counter_reset: CounterReset::Unknown,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: 0.0,
        sum: 0.0,
        positive: Vec::new(),
        negative: Vec::new(),
        ..h.clone()
    }
}

fn float_delta(floats: &[(i64, f64)]) -> f64 {
    match floats {
        [(_, first), .., (_, last)] => last - first,
        _ => 0.0,
    }
}

fn counter_increase(floats: &[(i64, f64)], starts: &Starts) -> f64 {
    let mut increase = float_delta(floats);
    for (at, pair) in (1..).zip(floats.windows(2)) {
        if let [(_, before), (_, now)] = pair
            && (now < before || starts.is_reset(at))
        {
            increase += before;
        }
    }
    increase
}

/// A window `(start, end]` in milliseconds, and how many samples it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) n_samples: usize,
}

impl Span {
    pub(super) fn seconds(self) -> f64 {
        seconds(self.end.saturating_sub(self.start))
    }
}

/// By how much the change from the `oldest` to the `newest` sample falls short of that over the whole
/// window: it is extended by half an interval at the most, and for a counter that started at `first`
/// not to where it would be below zero.
pub(super) fn extrapolation(
    window: Span,
    (oldest, newest): (i64, i64),
    moved: f64,
    first: Option<f64>,
) -> Option<f64> {
    let covered = seconds(newest.saturating_sub(oldest));
    let interval = covered / f64_from_usize(window.n_samples.checked_sub(1)?);
    let threshold = interval * 1.1;
    let mut to_start = seconds(oldest.saturating_sub(window.start));
    let mut to_end = seconds(window.end.saturating_sub(newest));
    if to_start >= threshold {
        to_start = interval / 2.0;
    }
    if let Some(first) = first
        && moved > 0.0
        && first >= 0.0
    {
        to_start = to_start.min(covered * (first / moved));
    }
    if to_end >= threshold {
        to_end = interval / 2.0;
    }
    Some((covered + to_start + to_end) / covered)
}

/// As [`extrapolation`], for a counter that is known to have been nothing at `start`, in the window.
fn extrapolation_to_end(window: Span, (oldest, newest): (i64, i64), start: i64) -> f64 {
    let gaps = window.n_samples.saturating_sub(1).max(1);
    let interval = seconds(newest.saturating_sub(oldest)) / f64_from_usize(gaps);
    let covered = seconds(newest.saturating_sub(start));
    let mut to_end = seconds(window.end.saturating_sub(newest));
    if to_end >= interval * 1.1 {
        to_end = interval / 2.0;
    }
    (covered + to_end) / covered
}

struct Line {
    slope: f64,
    /// The value at the origin.
    intercept: f64,
}

#[expect(clippy::float_cmp, reason = "a constant series is one whose values are the same")]
fn regression(floats: &[(i64, f64)], origin: i64) -> Line {
    let first = floats.first().map_or(0.0, |(_, y)| *y);
    if floats.iter().all(|(_, y)| *y == first) {
        let intercept = if first.is_infinite() { f64::NAN } else { first };
        return Line { slope: if first.is_infinite() { f64::NAN } else { 0.0 }, intercept };
    }
    let [mut sum_x, mut sum_y, mut sum_of_products, mut sum_of_squares] = [Sum::default(); 4];
    for (t, y) in floats {
        let x = seconds(t.saturating_sub(origin));
        sum_x.add(x);
        sum_y.add(*y);
        sum_of_products.add(x * y);
        sum_of_squares.add(x * x);
    }
    let n = f64_from_usize(floats.len());
    let (total_x, total_y) = (sum_x.total(), sum_y.total());
    let covariance = sum_of_products.total() - total_x * total_y / n;
    let slope = covariance / (sum_of_squares.total() - total_x * total_x / n);
    Line { slope, intercept: total_y / n - slope * total_x / n }
}

/// How often a counter fell; a change between floats and histograms is a reset.
pub(super) fn resets(samples: &[Sample], starts: &Starts) -> f64 {
    count_pairs(samples, |at, before, now| match (before, now) {
        (SampleValue::Float(x), SampleValue::Float(y)) => y < x || starts.is_reset(at),
        (SampleValue::Histogram(g), SampleValue::Histogram(h)) => {
            starts.is_reset(at) || was_reset(h, g)
        }
        _ => true,
    })
}

#[expect(clippy::float_cmp, reason = "any difference is a change")]
pub(super) fn changes(samples: &[Sample]) -> f64 {
    count_pairs(samples, |_, before, now| match (before, now) {
        (SampleValue::Float(x), SampleValue::Float(y)) => x != y && !(x.is_nan() && y.is_nan()),
        (SampleValue::Histogram(g), SampleValue::Histogram(h)) => !equal(g, h),
        _ => true,
    })
}

/// `counts` is told where the second of a pair is.
fn count_pairs(
    samples: &[Sample],
    counts: impl Fn(usize, &SampleValue, &SampleValue) -> bool,
) -> f64 {
    let pairs = (1..).zip(samples.windows(2)).filter(|(at, pair)| match pair {
        [before, now] => counts(*at, &before.value, &now.value),
        _ => false,
    });
    f64_from_usize(pairs.count())
}
