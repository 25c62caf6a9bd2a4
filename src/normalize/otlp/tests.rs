//! What OTLP bodies become, as text; and the walker against prost.

mod json_traps;
mod metric_points;
mod oracle;
mod rejections;

use std::fmt::Write;

use crate::normalize::show;
use crate::normalize::{Config, Normalized, Origin, Undecodable};
use crate::signal::{
    Attributes, HistogramPoint, MetricPoint, MetricValue, Receiver, SignalKind, Timestamp,
};

use super::{Body, Encoding, OtlpSignal, normalize};

fn origin() -> Origin {
    Origin { arrived: Timestamp::from_nanos(9_000_000_000), ..Origin::default() }
}

fn read(
    bytes: &[u8],
    signal: OtlpSignal,
    encoding: Encoding,
    config: &Config,
) -> Result<Normalized, Undecodable> {
    let body = Body { bytes, signal, encoding, receiver: Receiver::OtlpHttp };
    normalize(&body, &origin(), config)
}

fn read_json(json: &str, signal: OtlpSignal) -> Result<Normalized, Undecodable> {
    read(json.as_bytes(), signal, Encoding::Json, &Config::default())
}

/// Everything that was read, a line each.
fn render(read: &Result<Normalized, Undecodable>) -> String {
    let normalized = match read {
        Ok(normalized) => normalized,
        Err(undecodable) => return format!("undecodable at {}: {undecodable}", undecodable.offset),
    };
    assert_eq!(usize::try_from(normalized.batch.rejected), Ok(normalized.rejections.len()));
    let mut text = String::new();
    for signal in &normalized.batch.signals {
        let line = match &signal.kind {
            SignalKind::Span(span) => format!(
                "span {:?} {:?} {}..{} {}/{}{}{} {}",
                span.name,
                span.kind,
                span.start.as_nanos(),
                span.end.as_nanos(),
                span.trace_id,
                span.span_id,
                span.parent_id.map_or_else(String::new, |id| format!("<{id}")),
                if span.failed { " FAILED" } else { "" },
                attributes(&span.attributes),
            ),
            SignalKind::Log(log) => format!(
                "log {} {:?} {:?} {}",
                log.time.as_nanos(),
                log.severity,
                log.body,
                attributes(&log.attributes),
            ),
            SignalKind::Metric(point) => metric(point),
            SignalKind::Platform(event) => format!("{event:?}"),
        };
        writeln!(text, "{line}").unwrap();
    }
    for remark in &normalized.batch.remarks {
        writeln!(text, "{}", show::remark(remark)).unwrap();
    }
    for rejection in &normalized.rejections {
        writeln!(text, "rejected {}: {}", rejection.index, rejection.message).unwrap();
    }
    text
}

fn attributes(attributes: &Attributes) -> String {
    let entries: Vec<String> =
        attributes.0.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    format!("[{}]", entries.join(", "))
}

fn metric(point: &MetricPoint) -> String {
    let value = match &point.value {
        MetricValue::Gauge(value) => format!("gauge {value}"),
        MetricValue::Sum { value, monotonic, temporality } => {
            format!("sum {value} {temporality:?}{}", if *monotonic { " monotonic" } else { "" })
        }
        MetricValue::Histogram { point, temporality } => match point {
            HistogramPoint::Explicit { count, sum, bounds, counts } => {
                format!("histogram n={count} sum={sum} {bounds:?} {counts:?} {temporality:?}")
            }
            HistogramPoint::Exponential { count, sum, scale, zero_count, positive, .. } => format!(
                "exponential n={count} sum={sum} scale={scale} zero={zero_count} +{}{:?} {temporality:?}",
                positive.offset, positive.counts
            ),
        },
        MetricValue::Stale => "stale".to_owned(),
        MetricValue::Native(native) => format!("native n={} sum={}", native.count, native.sum),
        MetricValue::Summary(summary) => {
            format!("summary n={} sum={} {:?}", summary.count, summary.sum, summary.quantiles)
        }
    };
    let start =
        point.start.map_or_else(String::new, |start| format!(" since {}", start.as_nanos()));
    format!("{} @{}{start}: {value}", point.labels, point.time.as_nanos())
}
