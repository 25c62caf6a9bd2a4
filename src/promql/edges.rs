//! Windows whose ends are taken from beyond them: the modifiers `anchored` and `smoothed`.
//!
//! In: a window's samples with those up to a lookback before it, and for `smoothed` after it. Out: the
//! change between the values at its two ends, without extrapolation. `anchored` takes the last sample
//! before the window as its start; `smoothed` reads both ends off the line between their neighbours.
//! Never true: a counter's reset counted twice where an end lies between a value and its reset.
//! Source: PROM-52, `extendedRate` in `promql/functions.go`.

use std::sync::Arc;

use super::ast::{Edges, Span};
use super::evaluate::Evaluator;
use super::histogram::{add, divide, is_custom, multiply, subtract, was_reset};
use super::rate::{Change, Input, histogram_value, seconds};
use super::value::{Element, Frame, Series};
use crate::number::f64_from_i64;
use crate::series::{CounterReset, Histogram, SampleValue};

/// A window's two ends, and the samples that stand for them.
#[derive(Clone, Copy)]
struct Ends {
    start: i64,
    end: i64,
    first: usize,
    last: usize,
    edges: Edges,
    counts: Counts,
}

/// Whether a fall is a reset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    Up,
    Freely,
}

/// A value at a time.
type Point<T> = (i64, T);

impl Ends {
    /// None where no sample is in the window.
    fn find(times: &[i64], frame: &Frame<'_>, counts: Counts) -> Option<Self> {
        let (start, end, edges) = (frame.start, frame.end, frame.edges);
        let mut last = times.len().checked_sub(1)?;
        let before = times.get(..last)?;
        let first = before.partition_point(|t| *t <= start).saturating_sub(1);
        if edges == Edges::Smoothed {
            last = before.partition_point(|t| *t < end);
        }
        let (first_t, last_t) = (*times.get(first)?, *times.get(last)?);
        let is_out = last_t <= start || (edges == Edges::Smoothed && first_t > end);
        (!is_out).then_some(Self { start, end, first, last, edges, counts })
    }

    fn reads_left_off_a_line(&self, first_t: i64) -> bool {
        self.edges == Edges::Smoothed && first_t < self.start
    }

    fn reads_right_off_a_line(&self, last_t: i64) -> bool {
        self.edges == Edges::Smoothed && self.last > 0 && last_t > self.end
    }
}

/// The samples that `resets` and `changes` look at: from the last one before the window on.
pub(super) fn anchored<'s>(input: Input<'s>, frame: &Frame<'_>) -> Option<Input<'s>> {
    if frame.edges == Edges::Within {
        return Some(input);
    }
    let times: Vec<i64> = input.samples.iter().map(|sample| sample.t).collect();
    let ends = Ends::find(&times, frame, Counts::Freely)?;
    let samples = input.samples.get(ends.first..=ends.last)?;
    let starts = input.starts.get(ends.first..=ends.last).unwrap_or_default();
    Some(Input { samples, starts, ..input })
}

impl Evaluator<'_> {
    /// `rate`, `increase` or `delta` of a window with such edges.
    pub(super) fn change_between_edges(
        &self,
        change: Change,
        input: Input<'_>,
        frame: &Frame<'_>,
    ) -> Option<SampleValue> {
        let counts = if change == Change::Delta { Counts::Freely } else { Counts::Up };
        let floats: Vec<Point<f64>> = input.floats().collect();
        if !floats.is_empty() && floats.len() < input.samples.len() {
            self.notes.mixed(input.span, input.name);
            return None;
        }
        let times: Vec<i64> = input.samples.iter().map(|sample| sample.t).collect();
        let ends = Ends::find(&times, frame, counts)?;
        let range = seconds(frame.end.saturating_sub(frame.start));
        let per = if change == Change::Rate { range } else { 1.0 };
        if !floats.is_empty() {
            return Some(SampleValue::Float(float_change(&floats, ends)? / per));
        }
        let histograms: Vec<Point<&Histogram>> =
            times.into_iter().zip(input.histograms()).collect();
        let moved = self.histogram_change_between(&histograms, ends, input)?;
        Some(histogram_value(divide(&moved, per)))
    }

    fn histogram_change_between(
        &self,
        samples: &[Point<&Histogram>],
        ends: Ends,
        input: Input<'_>,
    ) -> Option<Histogram> {
        let is_gauge = |h: &Histogram| h.counter_reset == CounterReset::Gauge;
        let within = samples.get(ends.first..=ends.last)?;
        let custom = is_custom(within.first()?.1);
        if within.iter().any(|(_, h)| is_custom(h) != custom) {
            self.notes.mixed_schemas(input.span, input.name);
            return None;
        }
        if ends.counts == Counts::Up && within.iter().any(|(_, h)| is_gauge(h)) {
            self.not_a("counter", input);
        }
        let (first, last) = (*samples.get(ends.first)?, *samples.get(ends.last)?);
        let left = if ends.reads_left_off_a_line(first.0) {
            self.on_line([first, *samples.get(ends.first + 1)?], ends.start, ends.counts, input)?
        } else {
            first.1.clone()
        };
        let right = if ends.reads_right_off_a_line(last.0) {
            self.on_line([*samples.get(ends.last - 1)?, last], ends.end, ends.counts, input)?
        } else {
            last.1.clone()
        };
        if ends.counts == Counts::Freely && !(is_gauge(&left) && is_gauge(&right)) {
            self.not_a("gauge", input);
        }
        let mut moved = self.difference(&right, &left, input)?;
        if ends.counts == Counts::Up {
            for lost in lost_to_resets(samples, ends, [&left, &right]) {
                moved = self.sum_of(&moved, lost, input)?;
            }
        }
        Some(moved)
    }

    fn difference(&self, a: &Histogram, b: &Histogram, input: Input<'_>) -> Option<Histogram> {
        let Ok(difference) = subtract(a, b) else {
            self.notes.mixed_schemas(input.span, input.name);
            return None;
        };
        if difference.bounds_reconciled {
            self.notes.reconciled(input.span, "subtraction");
        }
        Some(difference.histogram)
    }

    pub(super) fn sum_of(
        &self,
        a: &Histogram,
        b: &Histogram,
        input: Input<'_>,
    ) -> Option<Histogram> {
        let Ok(sum) = add(a, b) else {
            self.notes.mixed_schemas(input.span, input.name);
            return None;
        };
        if sum.bounds_reconciled {
            self.notes.reconciled(input.span, "addition");
        }
        Some(sum.histogram)
    }

    /// The histogram at `t` on the line between two neighbours; a counter that was reset between them
    /// rises from nothing.
    fn on_line(
        &self,
        [(t1, h1), (t2, h2)]: [Point<&Histogram>; 2],
        t: i64,
        counts: Counts,
        input: Input<'_>,
    ) -> Option<Histogram> {
        if t == t1 || t == t2 {
            return Some(if t == t1 { h1 } else { h2 }.clone());
        }
        if is_custom(h1) != is_custom(h2) {
            self.notes.mixed_schemas(input.span, input.name);
            return None;
        }
        let part = fraction(t1, t2, t);
        if counts == Counts::Up && was_reset(h2, h1) {
            return Some(multiply(h2, part));
        }
        let moved = self.difference(h2, h1, input)?;
        self.sum_of(&multiply(&moved, part), h1, input)
    }

    /// An instant selector with `smoothed`: read off the line between the neighbours of `t`. After
    /// the last sample that one holds; before the first there is nothing.
    pub(super) fn smoothed_at(&self, series: &[Series], t: i64, span: Span) -> Vec<Element> {
        let lookback = self.lookback;
        let one = |series: &Series| {
            let samples = &series.samples;
            let from = samples.partition_point(|s| s.t <= t.saturating_sub(lookback));
            let to = samples.partition_point(|s| s.t <= t.saturating_add(lookback));
            let samples = samples.get(from..to)?;
            let (n_samples, name) = (samples.len(), series.labels.name());
            let input = Input { samples, starts: &[], n_samples, name, span };
            let value = self.value_at(input, t)?;
            Some(Element { labels: Arc::clone(&series.labels), drop_name: false, t, value })
        };
        series.iter().filter_map(one).collect()
    }

    fn value_at(&self, input: Input<'_>, t: i64) -> Option<SampleValue> {
        let n_floats = input.floats().count();
        if n_floats > 0 && n_floats < input.samples.len() {
            self.notes.mixed(input.span, input.name);
            return None;
        }
        let at = input.samples.partition_point(|sample| sample.t <= t);
        let before = input.samples.get(at.checked_sub(1)?)?;
        let after = match input.samples.get(at) {
            Some(after) if before.t < t => after,
            _ => return Some(before.value.clone()),
        };
        match (&before.value, &after.value) {
            (SampleValue::Float(x), SampleValue::Float(y)) => {
                Some(SampleValue::Float(x + (y - x) * fraction(before.t, after.t, t)))
            }
            (SampleValue::Histogram(g), SampleValue::Histogram(h)) => {
                let is_gauge = g.counter_reset == CounterReset::Gauge;
                let counts = if is_gauge { Counts::Freely } else { Counts::Up };
                let h = self.on_line([(before.t, &**g), (after.t, &**h)], t, counts, input)?;
                Some(SampleValue::Histogram(Arc::new(h)))
            }
            _ => None,
        }
    }
}

fn fraction(t1: i64, t2: i64, t: i64) -> f64 {
    f64_from_i64(t.saturating_sub(t1)) / f64_from_i64(t2.saturating_sub(t1))
}

fn float_change(samples: &[Point<f64>], ends: Ends) -> Option<f64> {
    let is_counter = ends.counts == Counts::Up;
    let on_line = |a: Point<f64>, b: Point<f64>, t: i64| {
        let from = if is_counter && b.1 < a.1 { 0.0 } else { a.1 };
        from + (b.1 - from) * fraction(a.0, b.0, t)
    };
    let (first, last) = (*samples.get(ends.first)?, *samples.get(ends.last)?);
    let left = if ends.reads_left_off_a_line(first.0) {
        on_line(first, *samples.get(ends.first + 1)?, ends.start)
    } else {
        first.1
    };
    let right = if ends.reads_right_off_a_line(last.0) {
        on_line(*samples.get(ends.last - 1)?, last, ends.end)
    } else {
        last.1
    };
    let mut moved = right - left;
    if is_counter {
        let from = ends.first + usize::from(first.0 <= ends.start);
        let to = ends.last + usize::from(last.0 < ends.end);
        let inner = samples.get(from..to).unwrap_or_default();
        let mut before = left;
        for now in inner.iter().map(|(_, x)| *x).chain([right]) {
            if now < before {
                moved += before;
            }
            before = now;
        }
    }
    Some(moved)
}

/// What a counter had before each of its resets.
fn lost_to_resets<'h>(
    samples: &[Point<&'h Histogram>],
    ends: Ends,
    [left, right]: [&'h Histogram; 2],
) -> Vec<&'h Histogram> {
    let mut from = ends.first + 1;
    let mut before = left;
    if let (Some((first_t, first)), Some((_, second))) =
        (samples.get(ends.first), samples.get(from))
        && ends.reads_left_off_a_line(*first_t)
        && was_reset(second, first)
    {
        // The line to the left end has this reset in it already.
        before = second;
        from += 1;
    }
    if from > ends.last {
        return Vec::new();
    }
    let inner = samples.get(from..ends.last).unwrap_or_default();
    let mut lost = Vec::new();
    // The last sample is the right end, or gave it its reset.
    for now in inner.iter().map(|(_, h)| *h).chain([right]) {
        if was_reset(now, before) {
            lost.push(before);
        }
        before = now;
    }
    lost
}
