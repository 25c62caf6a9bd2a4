//! The queries behind the pages: a text, a time, numbers by labels.

use crate::promql::{Options, Output, Query, Range};
use crate::series::SampleValue;
use crate::serve::{Views, select_from};
use crate::signal::Labels;

/// One line of a chart.
pub(super) struct Line {
    pub(super) labels: Labels,
    /// (milliseconds, value), finite values only.
    pub(super) points: Vec<(i64, f64)>,
}

/// The present value of every series of a query; none where it fails (the page shows a dash).
pub(super) fn instant(views: &Views, query: &str) -> Vec<(Labels, f64)> {
    let Ok(parsed) = Query::parse(query) else { return Vec::new() };
    let Ok(answer) =
        parsed.instant(views.settled(), &Options::default(), &select_from(&views.series))
    else {
        return Vec::new();
    };
    match answer.output {
        Output::Vector(series) => series
            .into_iter()
            .filter_map(|one| Some((one.labels.clone(), float(&one.samples.last()?.value)?)))
            .collect(),
        Output::Scalar(_, value) => vec![(Labels::default(), value)],
        Output::String(..) | Output::Matrix(_) => Vec::new(),
    }
}

/// The value of the only series, if there is one.
pub(super) fn number(views: &Views, query: &str) -> Option<f64> {
    instant(views, query).first().map(|(_, value)| *value)
}

/// The last quarter of an hour, a point every ten seconds.
pub(super) fn lines(views: &Views, query: &str) -> Vec<Line> {
    const SPAN_MS: i64 = 15 * 60 * 1000;
    const STEP_MS: i64 = 10_000;
    let end = views.settled().as_millis() / STEP_MS * STEP_MS;
    let Ok(parsed) = Query::parse(query) else { return Vec::new() };
    let range = Range { start: end - SPAN_MS, end, step: STEP_MS };
    let Ok(answer) = parsed.range(range, &Options::default(), &select_from(&views.series)) else {
        return Vec::new();
    };
    let Output::Matrix(series) = answer.output else { return Vec::new() };
    let line = |one: crate::series::RawSeries| Line {
        labels: one.labels,
        points: one
            .samples
            .iter()
            .filter_map(|s| Some((s.t, float(&s.value)?)))
            .filter(|(_, v)| v.is_finite())
            .collect(),
    };
    series.into_iter().map(line).collect()
}

fn float(value: &SampleValue) -> Option<f64> {
    match value {
        SampleValue::Float(x) => Some(*x),
        SampleValue::Histogram(_) => None,
    }
}
