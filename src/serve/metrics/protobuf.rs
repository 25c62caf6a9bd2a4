//! Prometheus's protobuf format: length-delimited metric families, with native histograms beside the
//! classic buckets, exemplars and created timestamps.
//!
//! Source: prometheus/docs `content/docs/instrumenting/exposition_formats.md`, "Protobuf format".

use prometheus::proto as own;
use prost::Message as _;

use super::message::{
    Bucket, BucketSpan, Counter, Exemplar, Gauge, Histogram, Kind, LabelPair, Metric, MetricFamily,
    Timestamp, Value,
};
use crate::number::{i64_from_f64, i64_from_u64, u32_from_usize, u64_from_f64};
use crate::series::catalog;
use crate::series::export::{ExportHistogram, ExportSeries, ExportValue};
use crate::series::runs;
use crate::signal::{self, Labels, METRIC_NAME, MetricType};

pub(super) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Whether a media range of an Accept header means this format.
pub(super) fn is_range(range: &str) -> bool {
    let mut parameters = range.split(';').map(str::trim);
    parameters.next() == Some("application/vnd.google.protobuf")
        && parameters.clone().any(|one| one == "proto=io.prometheus.client.MetricFamily")
        && parameters.any(|one| one == "encoding=delimited")
}

/// The derived series, in the order of their metrics' names, and the daemon's own.
pub(super) fn encode(derived: &[ExportSeries], own: &[own::MetricFamily]) -> Vec<u8> {
    let of_one_metric = |a: &ExportSeries, b: &ExportSeries| a.labels.name() == b.labels.name();
    let families = derived.chunk_by(of_one_metric).filter_map(family);
    let mut out = Vec::new();
    for family in families.chain(own.iter().filter_map(own_family)) {
        family.encode_length_delimited(&mut out).expect("a vector grows as far as it must");
    }
    out
}

/// The series of one metric.
fn family(series: &[ExportSeries]) -> Option<MetricFamily> {
    let first = series.first()?;
    let metric = catalog::find(first.labels.name());
    let kind = match super::kind(metric, &first.value) {
        MetricType::Counter => Kind::Counter,
        MetricType::Histogram => Kind::Histogram,
        _ => Kind::Gauge,
    };
    Some(MetricFamily {
        name: first.labels.name().to_owned(),
        help: metric.map_or_else(String::new, |metric| metric.help.to_owned()),
        kind: Some(i32::from(kind)),
        metric: series.iter().map(one).collect(),
    })
}

fn one(series: &ExportSeries) -> Metric {
    let created = Some(timestamp(series.created));
    let value = match &series.value {
        ExportValue::Counter(value) => Value::Counter(Counter { value: Some(*value), created }),
        ExportValue::Gauge(value) => Value::Gauge(Gauge { value: Some(*value) }),
        ExportValue::Histogram(histogram) => {
            Value::Histogram(Histogram { created, ..native_and_classic(histogram) })
        }
    };
    Metric { label: pairs(&series.labels), value: Some(value) }
}

fn pairs(labels: &Labels) -> Vec<LabelPair> {
    let shown = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
    shown
        .map(|(name, value)| LabelPair { name: name.to_owned(), value: value.to_owned() })
        .collect()
}

fn timestamp(at: signal::Timestamp) -> Timestamp {
    let nanos = at.as_nanos();
    Timestamp {
        seconds: i64_from_u64(nanos / 1_000_000_000),
        nanos: i32::try_from(nanos % 1_000_000_000).unwrap_or(0),
    }
}

/// Counts are whole: each is a sum of observations.
fn native_and_classic(histogram: &ExportHistogram) -> Histogram {
    let native = &histogram.native;
    let mut before = 0;
    let mut positive_span = Vec::new();
    let mut positive_delta = Vec::new();
    for run in runs(&native.positive) {
        let length = u32_from_usize(run.buckets.len());
        positive_span.push(BucketSpan { offset: Some(run.offset), length: Some(length) });
        for (_, count) in run.buckets {
            let count = i64_from_f64(*count);
            positive_delta.push(count - before);
            before = count;
        }
    }
    Histogram {
        sample_count: Some(u64_from_f64(native.count)),
        sample_sum: Some(native.sum),
        bucket: histogram
            .classic
            .iter()
            .map(|(bound, n)| bucket(*bound, u64_from_f64(*n)))
            .collect(),
        schema: Some(native.schema),
        zero_threshold: Some(native.zero_threshold),
        zero_count: Some(u64_from_f64(native.zero_count)),
        positive_span,
        positive_delta,
        created: None,
        exemplars: histogram.exemplar.iter().map(exemplar).collect(),
    }
}

fn bucket(upper_bound: f64, cumulative_count: u64) -> Bucket {
    Bucket { cumulative_count: Some(cumulative_count), upper_bound: Some(upper_bound) }
}

fn exemplar(exemplar: &signal::Exemplar) -> Exemplar {
    let trace_id = (!exemplar.trace_id.is_empty())
        .then(|| LabelPair { name: "trace_id".to_owned(), value: exemplar.trace_id.to_string() });
    Exemplar {
        label: trace_id.into_iter().chain(pairs(&exemplar.others)).collect(),
        value: Some(exemplar.value),
        timestamp: Some(timestamp(signal::Timestamp::from_millis(exemplar.t))),
    }
}

/// The daemon's own: counters, gauges and classic histograms.
fn own_family(family: &own::MetricFamily) -> Option<MetricFamily> {
    let kind = match family.get_field_type() {
        own::MetricType::COUNTER => Kind::Counter,
        own::MetricType::GAUGE => Kind::Gauge,
        own::MetricType::HISTOGRAM => Kind::Histogram,
        _ => return None,
    };
    Some(MetricFamily {
        name: family.name().to_owned(),
        help: family.help().to_owned(),
        kind: Some(i32::from(kind)),
        metric: family.get_metric().iter().map(|metric| own_metric(metric, kind)).collect(),
    })
}

fn own_metric(metric: &own::Metric, kind: Kind) -> Metric {
    let value = match kind {
        Kind::Counter => {
            Value::Counter(Counter { value: Some(metric.get_counter().get_value()), created: None })
        }
        Kind::Gauge => Value::Gauge(Gauge { value: Some(metric.get_gauge().get_value()) }),
        Kind::Histogram => {
            let held = metric.get_histogram();
            let cells = held.get_bucket().iter();
            Value::Histogram(Histogram {
                sample_count: Some(held.get_sample_count()),
                sample_sum: Some(held.get_sample_sum()),
                bucket: cells
                    .map(|one| bucket(one.upper_bound(), one.cumulative_count()))
                    .collect(),
                ..Histogram::default()
            })
        }
    };
    let labels = metric.get_label().iter();
    let label = labels
        .map(|pair| LabelPair { name: pair.name().to_owned(), value: pair.value().to_owned() })
        .collect();
    Metric { label, value: Some(value) }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::series::{CounterReset, Histogram as Native};

    /// What is read back, one line a metric.
    fn check(derived: &[ExportSeries], own: &[own::MetricFamily], expected: &Expect) {
        let body = encode(derived, own);
        let mut rest = body.as_slice();
        let mut shown = String::new();
        while !rest.is_empty() {
            let family = MetricFamily::decode_length_delimited(&mut rest).unwrap();
            writeln!(shown, "{} {:?}", family.name, family.kind()).unwrap();
            for metric in &family.metric {
                let labels: String = metric
                    .label
                    .iter()
                    .map(|pair| format!("{}={:?} ", pair.name, pair.value))
                    .collect();
                let value = shown_value(metric.value.as_ref().unwrap());
                writeln!(shown, "- {labels}{value}").unwrap();
            }
        }
        expected.assert_eq(&shown);
    }

    fn shown_value(value: &Value) -> String {
        match value {
            Value::Gauge(gauge) => format!("{:?}", gauge.value.unwrap()),
            Value::Counter(counter) => {
                format!(
                    "{:?} since {:?}",
                    counter.value.unwrap(),
                    counter.created.map(|at| at.seconds)
                )
            }
            Value::Histogram(held) => {
                let spans = held.positive_span.iter().map(|span| (span.offset(), span.length()));
                let exemplars =
                    held.exemplars.iter().map(|one| (&*one.label[0].value, one.value()));
                format!(
                    "n {} sum {} classic {:?} schema {:?} zero {} spans {:?} deltas {:?} since {:?} exemplars {:?}",
                    held.sample_count(),
                    held.sample_sum(),
                    held.bucket
                        .iter()
                        .map(|one| (one.upper_bound(), one.cumulative_count()))
                        .collect::<Vec<_>>(),
                    held.schema,
                    held.zero_count(),
                    spans.collect::<Vec<_>>(),
                    held.positive_delta,
                    held.created.map(|at| at.seconds),
                    exemplars.collect::<Vec<_>>(),
                )
            }
        }
    }

    fn series(name: &str, value: ExportValue) -> ExportSeries {
        ExportSeries {
            labels: Labels::of(&[(METRIC_NAME, name), ("flow", "a\"b")]),
            created: signal::Timestamp::from_millis(7_500),
            value,
        }
    }

    #[test]
    fn a_histogram_is_native_and_classic_with_its_exemplar_and_creation() {
        let native = Native {
            counter_reset: CounterReset::No,
            schema: 5,
            zero_threshold: 1e-9,
            zero_count: 1.0,
            count: 9.0,
            sum: 4.5,
            positive: vec![(-3, 2.0), (-2, 1.0), (4, 5.0)],
            negative: Vec::new(),
            custom_bounds: std::sync::Arc::from([]),
        };
        let exemplar = signal::Exemplar {
            trace_id: "abc".into(),
            others: Labels::default(),
            value: 1.25,
            t: 9_000,
        };
        let histogram = ExportHistogram {
            native,
            classic: vec![(1.0, 4.0), (f64::INFINITY, 9.0)],
            exemplar: Some(exemplar),
        };
        let value = ExportValue::Histogram(Box::new(histogram));
        check(
            &[
                series("throughline_request_duration_seconds", value),
                series("throughline_requests_open", ExportValue::Gauge(3.0)),
                series("throughline_requests_total", ExportValue::Counter(2.0)),
            ],
            &[],
            &expect![[r#"
                throughline_request_duration_seconds Histogram
                - flow="a\"b" n 9 sum 4.5 classic [(1.0, 4), (inf, 9)] schema Some(5) zero 1 spans [(-3, 2), (5, 1)] deltas [2, -1, 4] since Some(7) exemplars [("abc", 1.25)]
                throughline_requests_open Gauge
                - flow="a\"b" 3.0
                throughline_requests_total Counter
                - flow="a\"b" 2.0 since Some(7)
            "#]],
        );
    }

    #[test]
    fn our_own_series_are_told_as_in_text() {
        let registry = prometheus::Registry::new();
        let options = prometheus::Opts::new("n_total", "help").const_label("kind", "x");
        let counter = prometheus::IntCounter::with_opts(options).unwrap();
        counter.inc_by(4);
        registry.register(Box::new(counter)).unwrap();
        let options = prometheus::HistogramOpts::new("d_seconds", "help").buckets(vec![0.5, 1.0]);
        let histogram = prometheus::Histogram::with_opts(options).unwrap();
        histogram.observe(0.7);
        registry.register(Box::new(histogram)).unwrap();
        check(
            &[],
            &registry.gather(),
            &expect![[r#"
                d_seconds Histogram
                - n 1 sum 0.7 classic [(0.5, 0), (1.0, 1)] schema None zero 0 spans [] deltas [] since None exemplars []
                n_total Counter
                - kind="x" 4.0 since None
            "#]],
        );
    }
}
