//! Answers against what a test file expects.

use std::collections::BTreeMap;

use throughline::promql::{Answer, Output, parse_series_description};
use throughline::series::{CounterReset, Histogram, RawSeries, SampleValue};
use throughline::signal::Labels;

use super::script::{Case, Messages, When, is_scalar, number};

/// Relative difference that counts as equal.
const EPSILON: f64 = 1e-6;

#[derive(Debug)]
pub(crate) enum Expected {
    Scalar(f64),
    Text(String),
    /// Values by time, in the file's order.
    Series(Vec<(Labels, BTreeMap<i64, SampleValue>)>),
}

impl Expected {
    pub(crate) fn new(case: &Case) -> Result<Self, String> {
        if let Some(text) = &case.string {
            return Ok(Self::Text(text.clone()));
        }
        if let [line] = case.values.as_slice()
            && is_scalar(line)
        {
            return Ok(Self::Scalar(number(line).unwrap_or(f64::NAN)));
        }
        let (start, step) = match (case.when, case.matrix) {
            (_, Some(range)) | (When::Range(range), None) => (range.start, range.step),
            (When::Instant(at), None) => (at, 0),
        };
        let mut series = Vec::new();
        for line in &case.values {
            let parsed = parse_series_description(line);
            let (labels, values) = parsed.map_err(|error| format!("expected {line}: {error}"))?;
            let mut t = start;
            let mut samples = BTreeMap::new();
            for value in values {
                samples.extend(value.map(|value| (t, value)));
                t += step;
            }
            series.push((labels, samples));
        }
        Ok(Self::Series(series))
    }
}

pub(crate) fn check_notes(case: &Case, answer: &Answer) -> Result<(), String> {
    check_messages("warning", &case.warnings, &answer.warnings)?;
    check_messages("info", &case.infos, &answer.infos)
}

fn check_messages(kind: &str, expected: &Messages, got: &[String]) -> Result<(), String> {
    if expected.none
        && let Some(first) = got.first()
    {
        return Err(format!("unexpected {kind}: {first}"));
    }
    if expected.wanted.is_empty() {
        return Ok(());
    }
    for pattern in &expected.wanted {
        if !got.iter().any(|message| pattern.matches(message)) {
            return Err(format!("{kind} {pattern:?} is missing; got {got:?}"));
        }
    }
    match got.iter().find(|message| !expected.wanted.iter().any(|p| p.matches(message))) {
        Some(message) => Err(format!("unexpected {kind}: {message}")),
        None => Ok(()),
    }
}

pub(crate) fn check_values(
    case: &Case,
    expected: &Expected,
    output: &Output,
) -> Result<(), String> {
    match (expected, output) {
        (Expected::Scalar(x), Output::Scalar(_, y)) if same(*x, *y) => Ok(()),
        (Expected::Text(text), Output::String(_, got)) if unquoted(text) == *got => Ok(()),
        (Expected::Series(expected), Output::Vector(got) | Output::Matrix(got)) => {
            check_series(case, expected, got)
        }
        _ => Err(format!("expected {expected:?}, got {output:?}")),
    }
}

fn unquoted(text: &str) -> String {
    let literal = throughline::promql::Query::parse(text).map(|query| query.to_string());
    let plain = literal.unwrap_or_default();
    let inner = plain.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or_default().replace("\\\"", "\"").replace("\\\\", "\\")
}

fn check_series(
    case: &Case,
    expected: &[(Labels, BTreeMap<i64, SampleValue>)],
    got: &[RawSeries],
) -> Result<(), String> {
    if case.ordered {
        let order: Vec<&Labels> = got.iter().map(|series| &series.labels).collect();
        let wanted: Vec<&Labels> = expected.iter().map(|(labels, _)| labels).collect();
        if order != wanted {
            return Err(format!("order: {}", list(&order)));
        }
    }
    for series in got {
        let wanted = expected.iter().find(|(labels, _)| *labels == series.labels);
        let Some((_, wanted)) = wanted else {
            return Err(format!("unexpected series {}: {:?}", series.labels, series.samples));
        };
        let times: Vec<i64> = series.samples.iter().map(|sample| sample.t).collect();
        if !times.iter().eq(wanted.keys()) {
            return Err(format!("{}: samples at {times:?}", series.labels));
        }
        for (sample, value) in series.samples.iter().zip(wanted.values()) {
            if !same_value(value, &sample.value) {
                let value = format!("expected {value:?}, got {:?}", sample.value);
                return Err(format!("{} at {}: {value}", series.labels, sample.t));
            }
        }
    }
    let has_samples = expected.iter().filter(|(_, samples)| !samples.is_empty());
    let missing = has_samples.map(|(labels, _)| labels);
    let missing: Vec<&Labels> =
        missing.filter(|labels| !got.iter().any(|s| s.labels == **labels)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("missing: {}", list(&missing))) }
}

fn list(labels: &[&Labels]) -> String {
    labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn same_value(expected: &SampleValue, got: &SampleValue) -> bool {
    match (expected, got) {
        (SampleValue::Float(x), SampleValue::Float(y)) => same(*x, *y),
        (SampleValue::Histogram(g), SampleValue::Histogram(h)) => same_histogram(g, h),
        _ => false,
    }
}

#[expect(clippy::float_cmp, reason = "exact equality comes first, for infinities")]
fn same(x: f64, y: f64) -> bool {
    if x == y || (x.is_nan() && y.is_nan()) {
        return true;
    }
    let difference = (x - y).abs();
    if x == 0.0 || y == 0.0 || x.abs() + y.abs() < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / (x.abs() + y.abs()).min(f64::MAX) < EPSILON
}

fn same_histogram(expected: &Histogram, got: &Histogram) -> bool {
    let populated = |counts: &[(i32, f64)]| -> Vec<(i32, f64)> {
        counts.iter().copied().filter(|(_, count)| *count != 0.0).collect()
    };
    let same_counts = |x: &[(i32, f64)], y: &[(i32, f64)]| {
        let (x, y) = (populated(x), populated(y));
        x.len() == y.len() && x.iter().zip(&y).all(|((i, n), (j, m))| i == j && same(*n, *m))
    };
    let hints = expected.counter_reset == CounterReset::Unknown
        || expected.counter_reset == got.counter_reset;
    hints
        && expected.schema == got.schema
        && expected.custom_bounds == got.custom_bounds
        && same(expected.zero_threshold, got.zero_threshold)
        && same(expected.zero_count, got.zero_count)
        && same(expected.count, got.count)
        && same(expected.sum, got.sum)
        && same_counts(&expected.positive, &got.positive)
        && same_counts(&expected.negative, &got.negative)
}
