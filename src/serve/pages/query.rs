//! The queries behind the pages: a text, a time, numbers by labels.

use crate::promql::Range;
use crate::series::{RawSeries, SampleValue};
use crate::serve::Asking;
use crate::signal::Labels;

/// One line of a chart.
pub(super) struct Line {
    pub(super) labels: Labels,
    /// (milliseconds, value), finite values only.
    pub(super) points: Vec<(i64, f64)>,
}

/// The present value of every series of a query; none where it fails (the page shows a dash).
pub(super) fn instant(asking: &Asking<'_>, query: &str) -> Vec<(Labels, f64)> {
    let found = asking.instant(query, asking.views.settled());
    let value = |one: RawSeries| {
        let value = float(&one.samples.last()?.value)?;
        Some((one.labels, value))
    };
    found.into_iter().filter_map(value).collect()
}

/// The value of the only series, if there is one.
pub(super) fn number(asking: &Asking<'_>, query: &str) -> Option<f64> {
    instant(asking, query).first().map(|(_, value)| *value)
}

/// The last quarter of an hour, a point every ten seconds.
pub(super) fn lines(asking: &Asking<'_>, query: &str) -> Vec<Line> {
    const SPAN_MS: i64 = 15 * 60 * 1000;
    const STEP_MS: i64 = 10_000;
    let end = asking.views.settled().as_millis() / STEP_MS * STEP_MS;
    let found = asking.range(query, Range { start: end - SPAN_MS, end, step: STEP_MS });
    let line = |one: RawSeries| Line {
        labels: one.labels,
        points: one
            .samples
            .iter()
            .filter_map(|s| Some((s.t, float(&s.value)?)))
            .filter(|(_, v)| v.is_finite())
            .collect(),
    };
    found.into_iter().map(line).collect()
}

fn float(value: &SampleValue) -> Option<f64> {
    match value {
        SampleValue::Float(x) => Some(*x),
        SampleValue::Histogram(_) => None,
    }
}
