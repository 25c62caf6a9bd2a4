//! Prometheus's text format (0.0.4): classic buckets, no created timestamps.

use std::fmt::Write as _;

use prometheus::proto::MetricFamily;
use prometheus::{Encoder as _, TextEncoder};

use crate::series::catalog;
use crate::series::export::{ExportHistogram, ExportSeries, ExportValue};
use crate::signal::{Labels, METRIC_NAME, MetricType};

/// The derived series, in the order of their labels, and the daemon's own.
pub(super) fn encode(derived: &[ExportSeries], own: &[MetricFamily]) -> Vec<u8> {
    let mut out = text(derived).into_bytes();
    let before = out.len();
    if TextEncoder::new().encode(own, &mut out).is_err() {
        out.truncate(before);
    }
    out
}

/// The series, those of one metric under its HELP and TYPE.
fn text(series: &[ExportSeries]) -> String {
    let mut out = String::new();
    let mut previous = "";
    for one in series {
        let name = one.labels.name();
        if name != previous {
            previous = name;
            header(&mut out, name, &one.value);
        }
        match &one.value {
            ExportValue::Counter(value) | ExportValue::Gauge(value) => {
                sample(&mut out, name, &one.labels, None, *value);
            }
            ExportValue::Histogram(histogram) => {
                write_histogram(&mut out, name, &one.labels, histogram);
            }
        }
    }
    out
}

fn header(out: &mut String, name: &str, value: &ExportValue) {
    let metric = catalog::find(name);
    let kind = match super::kind(metric, value) {
        MetricType::Counter => "counter",
        MetricType::Histogram => "histogram",
        _ => "gauge",
    };
    if let Some(metric) = metric {
        let _ = writeln!(
            out,
            "# HELP {name} {}",
            metric.help.replace('\\', "\\\\").replace('\n', "\\n")
        );
    }
    let _ = writeln!(out, "# TYPE {name} {kind}");
}

fn write_histogram(out: &mut String, name: &str, labels: &Labels, histogram: &ExportHistogram) {
    let bucket = format!("{name}_bucket");
    for (bound, count) in &histogram.classic {
        let le = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
        sample(out, &bucket, labels, Some(&le), *count);
    }
    sample(out, &format!("{name}_sum"), labels, None, histogram.native.sum);
    sample(out, &format!("{name}_count"), labels, None, histogram.native.count);
}

fn sample(out: &mut String, name: &str, labels: &Labels, le: Option<&str>, value: f64) {
    out.push_str(name);
    let mut open = '{';
    for (label, value) in
        labels.iter().filter(|(label, _)| *label != METRIC_NAME).chain(le.map(|le| ("le", le)))
    {
        out.push(open);
        open = ',';
        let _ = write!(out, "{label}=\"{}\"", escaped(value));
    }
    if open == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {}", shown(value));
}

/// A label's value, as it stands between quotes.
pub(crate) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub(crate) fn shown(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Timestamp;

    #[test]
    fn labels_are_escaped_and_each_metric_has_one_header() {
        let one = |outcome: &str, value| ExportSeries {
            labels: Labels::of(&[
                (METRIC_NAME, "throughline_requests_total"),
                ("flow", "a\"b\\c\nd"),
                ("outcome", outcome),
            ]),
            created: Timestamp::EPOCH,
            value: ExportValue::Counter(value),
        };
        let text = text(&[one("error", 0.0), one("ok", 2.0)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[1], "# TYPE throughline_requests_total counter");
        assert_eq!(lines[2], r#"throughline_requests_total{flow="a\"b\\c\nd",outcome="error"} 0"#);
    }
}
