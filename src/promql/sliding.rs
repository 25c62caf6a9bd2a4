//! Functions of a window that slides over one series.
//!
//! In: a series of floats, and where its windows end. Out: a value for each window, or [`ABSENT`]. Two
//! marks move over the samples once, so a window costs what its function has to look at and nothing
//! for being found, and no window is copied. Never true: another value, to the bit, than the window
//! alone gives.

use super::aggregate::{larger, smaller};
use super::kahan::{Mean, Sum, Variance};
use super::limits::Interrupt;
use super::rate::{Change, Span, changes, extrapolation, resets};
use super::starts::Starts;
use super::value::Series;
use crate::number::f64_from_usize;
use crate::series::{STALE_NAN_BITS, Sample, SampleValue};

/// Samples of windows between two looks at whether anybody still waits: a millisecond or less.
const AT_ONCE: usize = 1 << 15;

/// No value: the mark that ends a series, which no function gives.
pub(super) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

pub(super) fn is_present(x: f64) -> bool {
    x.to_bits() != STALE_NAN_BITS
}

/// What is made of each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slide {
    /// The newest sample, unless it ends the series: an instant selector.
    Newest,
    Moved(Change),
    LastMove(Change),
    Sum,
    Mean,
    Min,
    Max,
    Count,
    Present,
    First,
    Last,
    Changes,
    Resets,
    Stddev,
    Stdvar,
}

impl Slide {
    pub(super) fn named(function: &str) -> Option<Self> {
        Some(match function {
            "rate" => Self::Moved(Change::Rate),
            "increase" => Self::Moved(Change::Increase),
            "delta" => Self::Moved(Change::Delta),
            "irate" => Self::LastMove(Change::Rate),
            "idelta" => Self::LastMove(Change::Delta),
            "sum_over_time" => Self::Sum,
            "avg_over_time" => Self::Mean,
            "min_over_time" => Self::Min,
            "max_over_time" => Self::Max,
            "count_over_time" => Self::Count,
            "present_over_time" => Self::Present,
            "first_over_time" => Self::First,
            "last_over_time" => Self::Last,
            "changes" => Self::Changes,
            "resets" => Self::Resets,
            "stddev_over_time" => Self::Stddev,
            "stdvar_over_time" => Self::Stdvar,
            _ => return None,
        })
    }

    /// Whether it is about a counter, so that a metric that is not named like one is remarked upon.
    pub(super) fn is_of_counters(self) -> bool {
        matches!(self, Self::Moved(Change::Rate | Change::Increase))
    }
}

/// The windows `(end - width, end]` for `n` ends from `first` on; milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) first: i64,
    pub(super) step: i64,
    pub(super) width: i64,
    pub(super) n: usize,
}

/// Whether any window holds a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Seen {
    #[default]
    Nothing,
    Something,
}

/// Writes the value of each window to `out`, which has `ends.n` places; not all of them once the query is
/// ended.
pub(super) fn slide(
    what: Slide,
    series: &Series,
    ends: &Ends,
    (out, interrupt): (&mut [f64], &Interrupt),
) -> Seen {
    let samples = series.samples.as_slice();
    let mut seen = Seen::Nothing;
    let (mut from, mut to) = (Mark::default(), Mark::default());
    let (mut from_second, mut to_second) = (Mark::default(), Mark::default());
    let falls = if matches!(what, Slide::Moved(_)) { falls(samples) } else { Vec::new() };
    let (mut end, mut n_since) = (ends.first, 0);
    for slot in out.iter_mut().take(ends.n) {
        let start = end.saturating_sub(ends.width);
        let after = |sample: &Sample, t: i64| sample.t > t;
        from.advance(samples, |sample| after(sample, start));
        to.advance(samples, |sample| after(sample, end));
        let window = samples.get(from.at..to.at).unwrap_or_default();
        *slot = ABSENT;
        n_since += window.len();
        if n_since > AT_ONCE {
            n_since = 0;
            if interrupt.check().is_err() {
                return seen;
            }
        }
        if !window.is_empty() {
            seen = Seen::Something;
            let n_samples = series.seconds.as_deref().map_or(window.len(), |seconds| {
                let after = |second: &i64, t: i64| second.saturating_mul(1000) > t;
                from_second.advance(seconds, |second| after(second, start));
                to_second.advance(seconds, |second| after(second, end));
                (to_second.at - from_second.at).max(window.len())
            });
            let within = Within { window, from: from.at, falls: &falls, samples };
            *slot = within.value(what, Span { start, end, n_samples }).unwrap_or(ABSENT);
        }
        end = end.saturating_add(ends.step);
    }
    seen
}

/// How many elements of an ascending list were passed.
#[derive(Default)]
struct Mark {
    at: usize,
}

impl Mark {
    fn advance<T>(&mut self, list: &[T], is_beyond: impl Fn(&T) -> bool) {
        let rest = list.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(is_beyond).unwrap_or(rest.len());
    }
}

fn float(sample: &Sample) -> f64 {
    match &sample.value {
        SampleValue::Float(x) => *x,
        SampleValue::Histogram(_) => f64::NAN,
    }
}

/// The places of samples that are below the one before.
fn falls(samples: &[Sample]) -> Vec<usize> {
    let is_fall = |pair: &[Sample]| matches!(pair, [a, b] if float(b) < float(a));
    (1..).zip(samples.windows(2)).filter(|(_, pair)| is_fall(pair)).map(|(at, _)| at).collect()
}

struct Within<'a> {
    window: &'a [Sample],
    /// Where the window begins in all samples.
    from: usize,
    falls: &'a [usize],
    samples: &'a [Sample],
}

impl Within<'_> {
    fn value(&self, what: Slide, span: Span) -> Option<f64> {
        let window = self.window;
        let floats = || window.iter().map(float);
        let first = window.first().map(float)?;
        let last = window.last().map(float)?;
        Some(match what {
            Slide::Moved(change) => return self.moved(change, span),
            Slide::LastMove(change) => return self.last_move(change),
            Slide::Sum => {
                let mut sum = Sum::default();
                floats().for_each(|x| sum.add(x));
                sum.total()
            }
            Slide::Mean => {
                let mut mean = Mean::default();
                floats().for_each(|x| mean.add(x));
                mean.mean()
            }
            Slide::Min => floats().fold(first, smaller),
            Slide::Max => floats().fold(first, larger),
            Slide::Count => f64_from_usize(window.len()),
            Slide::Present => 1.0,
            Slide::First => first,
            Slide::Newest | Slide::Last => last,
            Slide::Changes => changes(window),
            Slide::Resets => resets(window, &Starts::new(window, &[])),
            Slide::Stddev => self.variance().sqrt(),
            Slide::Stdvar => self.variance(),
        })
    }

    fn variance(&self) -> f64 {
        let mut variance = Variance::default();
        self.window.iter().for_each(|sample| variance.add(float(sample)));
        variance.variance()
    }

    fn moved(&self, change: Change, span: Span) -> Option<f64> {
        let [oldest, .., newest] = self.window else { return None };
        let (first, last) = (float(oldest), float(newest));
        let mut moved = last - first;
        let is_counter = change != Change::Delta;
        if is_counter {
            let end = self.from + self.window.len();
            let at = self.falls.partition_point(|at| *at <= self.from);
            let falls = self.falls.get(at..).unwrap_or_default().iter();
            for before in
                falls.take_while(|at| **at < end).filter_map(|at| self.samples.get(at - 1))
            {
                moved += float(before);
            }
        }
        let factor = extrapolation(span, (oldest.t, newest.t), moved, is_counter.then_some(first))?;
        Some(moved * (factor / if change == Change::Rate { span.seconds() } else { 1.0 }))
    }

    fn last_move(&self, change: Change) -> Option<f64> {
        let [.., before, now] = self.window else { return None };
        super::rate::last_move(change, (before.t, float(before)), (now.t, float(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::limits::Stop;
    use super::*;
    use crate::signal::Labels;

    /// Each of ten thousand windows of a day would be looked through: seconds.
    #[test]
    fn a_query_that_was_ended_slides_no_further_than_some_windows() {
        let sample = |t: i64| Sample { t: t * 10_000, value: SampleValue::Float(1.0) };
        let samples: Vec<Sample> = (1..=8640 + 1000).map(sample).collect();
        let labels = Arc::new(Labels::default());
        let series = Series { labels, samples, starts: Vec::new(), seconds: None };
        let ends = Ends { first: 86_400_000, step: 1000, width: 86_400_000, n: 10_000 };
        let n_written = |interrupt: &Interrupt| {
            let mut out = vec![ABSENT; ends.n];
            let seen = slide(Slide::Stddev, &series, &ends, (&mut out, interrupt));
            assert_eq!(seen, Seen::Something);
            out.iter().filter(|x| is_present(**x)).count()
        };
        let interrupt = Interrupt::default();
        interrupt.set(Stop::TimedOut);
        assert!(n_written(&interrupt) * 8640 <= AT_ONCE);
        let short = Ends { n: 20, ..ends };
        let mut out = vec![ABSENT; short.n];
        slide(Slide::Stddev, &series, &short, (&mut out, &Interrupt::default()));
        assert!(out.iter().all(|x| is_present(*x)));
    }
}
