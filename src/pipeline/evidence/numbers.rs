//! Figures of the store for evidence: small PromQL queries, read at one time.
//!
//! Our counters have no resets, so what they grew in a window is their end less their start, exactly;
//! where a counter has no start it began within the window, at zero.

use std::time::Duration;

use crate::evaluate::Select;
use crate::number::u64_from_f64;
use crate::promql::{Options, Output, Query, Range};
use crate::series::{RawSeries, SampleValue};
use crate::signal::{Labels, Timestamp, format_duration};

/// Samples that one figure may read.
const SAMPLES_MAX: usize = 1_000_000;

/// Reads figures at one time.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    pub(super) select: &'a Select<'a>,
    pub(super) at: Timestamp,
}

/// A sum of counters, as text with a place for an offset.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    /// `{offset}` stands for the offset.
    text: String,
}

impl Counter {
    /// `sum(metric{…})`; `matchers` is PromQL.
    pub(super) fn sum(metric: &str, matchers: &str) -> Self {
        Self { text: format!("sum({metric}{{{matchers}}}{{offset}})") }
    }

    /// The largest of several views of the same events, by a label.
    pub(super) fn largest(metric: &str, by: &str, matchers: &str) -> Self {
        Self { text: format!("max(sum by ({by}) ({metric}{{{matchers}}}{{offset}}))") }
    }

    pub(super) fn less(self, other: &Self) -> Self {
        Self { text: format!("({} - ({} or vector(0)))", self.text, other.text) }
    }

    /// What it grew in the `window` before the time that is asked for.
    fn grown(&self, window: Duration) -> String {
        let at = |offset: &str| self.text.replace("{offset}", offset);
        let offset = format!(" offset {}", format_duration(window));
        format!("({}) - (({}) or vector(0))", at(""), at(&offset))
    }
}

/// A label matcher of PromQL.
pub(super) fn equal(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

impl Numbers<'_> {
    pub(super) fn before(self, age: Duration) -> Self {
        Self { at: self.at.saturating_sub(age), ..self }
    }

    /// None where there is no such counter.
    pub(super) fn grown(&self, counter: &Counter, window: Duration) -> Option<f64> {
        self.number(&counter.grown(window))
    }

    pub(super) fn number(&self, text: &str) -> Option<f64> {
        let found = self.vector(text);
        found.first().map(|(_, value)| *value).filter(|value| value.is_finite())
    }

    /// Every series of the answer with its value; nothing where the query fails.
    pub(super) fn vector(&self, text: &str) -> Vec<(Labels, f64)> {
        let answer = Query::parse(text).ok().and_then(|query| {
            query.instant(self.at.as_millis(), &options(), &|s| (self.select)(s)).ok()
        });
        let Some(Output::Vector(series)) = answer.map(|answer| answer.output) else {
            return Vec::new();
        };
        series.iter().filter_map(|one| Some((one.labels.clone(), last(one)?))).collect()
    }

    /// `n` windows of a length, one after the other, the last of them ending now: what a counter grew
    /// in each. A counter that is not there grew nothing.
    pub(super) fn windows(&self, counter: &Counter, length: Duration, n: u32) -> Vec<f64> {
        self.steps(&counter.grown(length), length, n)
    }

    /// The value of a query at `n` times, the last of them now; 0 where it has none.
    pub(super) fn steps(&self, text: &str, step: Duration, n: u32) -> Vec<f64> {
        let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let start = self.at.saturating_sub(step.saturating_mul(n.saturating_sub(1)));
        let range = Range { start: start.as_millis(), end: self.at.as_millis(), step: step_ms };
        let answer = Query::parse(text)
            .ok()
            .and_then(|query| query.range(range, &options(), &|s| (self.select)(s)).ok());
        let series = match answer.map(|answer| answer.output) {
            Some(Output::Matrix(series)) => series,
            _ => Vec::new(),
        };
        let at = |idx: u32| {
            let t = start.saturating_add(step.saturating_mul(idx)).as_millis();
            let sample = series.first()?.samples.iter().find(|sample| sample.t == t)?;
            float(&sample.value).filter(|value| value.is_finite())
        };
        (0..n).map(|idx| at(idx).unwrap_or(0.0).max(0.0)).collect()
    }
}

/// A count that was read as a number.
pub(super) fn whole(x: f64) -> u64 {
    u64_from_f64(x.max(0.0).round())
}

fn options() -> Options {
    Options { samples_max: SAMPLES_MAX, ..Options::default() }
}

fn last(series: &RawSeries) -> Option<f64> {
    float(&series.samples.last()?.value)
}

fn float(value: &SampleValue) -> Option<f64> {
    if let SampleValue::Float(x) = value { Some(*x) } else { None }
}
