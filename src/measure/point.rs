//! Pushed and platform metric points: cumulative ones as they are, deltas added up.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::number::f64_from_u64;
use crate::series::{CounterReset, Histogram, STALE_NAN_BITS, Sample, SampleValue, Series};
use crate::signal::{
    BucketSpan, HistogramPoint, Labels, METRIC_NAME, MetricPoint, MetricValue, NativeHistogram,
    ResetHint, SummaryPoint, Temporality,
};

/// Series of exponential histograms with delta temporality that are added up; further ones are
/// dropped and counted.
const ACCUMULATED_MAX: usize = 2000;
/// Series of a summary that count.
const SUMMARY_TOTALS: usize = 2;
/// The schemas of Prometheus's native histograms.
const SCHEMA_MAX: i32 = 8;
const SCHEMA_MIN: i32 = -4;

/// Adds up what senders give as deltas of native histograms; everything else the store adds up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Accumulator {
    histograms: BTreeMap<Labels, (i64, Histogram)>,
    unsupported: u64,
}

impl Accumulator {
    pub(super) fn unsupported(&self) -> u64 {
        self.unsupported
    }

    pub(super) fn point(&mut self, point: &MetricPoint, series: &mut Series) {
        let t = point.time.as_millis();
        let float = |value| Sample { t, value: SampleValue::Float(value) };
        match &point.value {
            MetricValue::Gauge(value)
            | MetricValue::Sum { value, temporality: Temporality::Cumulative, monotonic: false } => {
                series.append(&point.labels, float(*value));
            }
            MetricValue::Sum { value, temporality: Temporality::Cumulative, .. } => {
                series.append_since(&point.labels, point.start, float(*value));
            }
            MetricValue::Sum { value, temporality: Temporality::Delta, .. } => {
                series.add(&point.labels, point.time, *value);
            }
            MetricValue::Stale => {
                series.append(&point.labels, float(f64::from_bits(STALE_NAN_BITS)));
            }
            MetricValue::Native(histogram) => {
                let value = SampleValue::Histogram(Arc::new(pushed(histogram)));
                let counts = histogram.reset != ResetHint::Gauge;
                series.append_since(
                    &point.labels,
                    point.start.filter(|_| counts),
                    Sample { t, value },
                );
            }
            MetricValue::Histogram { point: histogram, temporality } => {
                self.histogram(point, histogram, *temporality, series);
            }
            MetricValue::Summary(summary) => {
                for (idx, (labels, value)) in
                    summary_series(&point.labels, summary).into_iter().enumerate()
                {
                    let start = point.start.filter(|_| idx < SUMMARY_TOTALS);
                    series.append_since(&labels, start, float(value));
                }
            }
        }
    }

    fn histogram(
        &mut self,
        point: &MetricPoint,
        histogram: &HistogramPoint,
        temporality: Temporality,
        series: &mut Series,
    ) {
        if let HistogramPoint::Explicit { count, sum, bounds, counts } = histogram {
            for (labels, value) in classic(&point.labels, bounds, counts) {
                store(&labels, point, value, temporality, series);
            }
            let own = |end: &str| {
                point.labels.with(METRIC_NAME, &format!("{}{end}", point.labels.name()))
            };
            store(&own("_count"), point, f64_from_u64(*count), temporality, series);
            store(&own("_sum"), point, *sum, temporality, series);
            return;
        }
        let Some(mut native) = native(histogram) else {
            self.unsupported += 1;
            return;
        };
        let mut t = point.time.as_millis();
        let start = point.start.filter(|_| temporality == Temporality::Cumulative);
        if temporality == Temporality::Delta {
            let is_held = self.histograms.contains_key(&point.labels);
            if !is_held && self.histograms.len() >= ACCUMULATED_MAX {
                self.unsupported += 1;
                return;
            }
            if let Some((last, sum)) = self.histograms.get(&point.labels) {
                // A delta that comes late counts from now on: the series must not go down.
                t = t.max(*last);
                native = merged(native, sum.clone());
            }
            self.histograms.insert(point.labels.clone(), (t, native.clone()));
        }
        let value = SampleValue::Histogram(Arc::new(native));
        series.append_since(&point.labels, start, Sample { t, value });
    }
}

fn store(
    labels: &Labels,
    point: &MetricPoint,
    value: f64,
    temporality: Temporality,
    series: &mut Series,
) {
    match temporality {
        Temporality::Delta => series.add(labels, point.time, value),
        Temporality::Cumulative => {
            let t = point.time.as_millis();
            let sample = Sample { t, value: SampleValue::Float(value) };
            series.append_since(labels, point.start, sample);
        }
    }
}

/// The `_bucket` series of an explicit histogram with their counts, which add up as `le` rises.
fn classic(labels: &Labels, bounds: &[f64], counts: &[u64]) -> Vec<(Labels, f64)> {
    let mut below = 0_u64;
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let bucket = |(bound, n): (f64, &u64)| {
        below = below.saturating_add(*n);
        (labels.bucket(bound), f64_from_u64(below))
    };
    bounds.zip(counts).map(bucket).collect()
}

/// The series of a summary, as Prometheus's text format has them: totals, then quantiles.
fn summary_series(labels: &Labels, summary: &SummaryPoint) -> Vec<(Labels, f64)> {
    let total = |end: &str| labels.with(METRIC_NAME, &format!("{}{end}", labels.name()));
    let quantiles = summary.quantiles.iter();
    let quantiles = quantiles.map(|(q, value)| (labels.with("quantile", &q.to_string()), *value));
    [(total("_sum"), summary.sum), (total("_count"), summary.count)]
        .into_iter()
        .chain(quantiles)
        .collect()
}

/// As it was pushed; finer schemas than Prometheus knows are brought down.
fn pushed(point: &NativeHistogram) -> Histogram {
    let mut histogram = Histogram {
        counter_reset: match point.reset {
            ResetHint::Unknown => CounterReset::Unknown,
            ResetHint::Yes => CounterReset::Yes,
            ResetHint::No => CounterReset::No,
            ResetHint::Gauge => CounterReset::Gauge,
        },
        schema: point.schema,
        zero_threshold: point.zero_threshold,
        zero_count: point.zero_count,
        count: point.count,
        sum: point.sum,
        positive: point.positive.clone(),
        negative: point.negative.clone(),
        custom_bounds: point.custom_bounds.as_slice().into(),
    };
    coarsen(&mut histogram, SCHEMA_MAX);
    histogram
}

/// None for explicit histograms and for scales that are coarser than any schema.
fn native(point: &HistogramPoint) -> Option<Histogram> {
    let HistogramPoint::Exponential {
        count,
        sum,
        scale,
        zero_count,
        zero_threshold,
        positive,
        negative,
    } = point
    else {
        return None;
    };
    if *scale < SCHEMA_MIN {
        return None;
    }
    let mut native = Histogram {
        counter_reset: CounterReset::Unknown,
        schema: *scale,
        zero_threshold: *zero_threshold,
        zero_count: f64_from_u64(*zero_count),
        count: f64_from_u64(*count),
        sum: *sum,
        positive: buckets(positive),
        negative: buckets(negative),
        custom_bounds: Arc::from([]),
    };
    coarsen(&mut native, SCHEMA_MAX);
    Some(native)
}

/// OpenTelemetry's bucket `i` ends where Prometheus's bucket `i + 1` ends.
fn buckets(span: &BucketSpan) -> Vec<(i32, f64)> {
    let first = span.offset.saturating_add(1);
    (first..=i32::MAX)
        .zip(&span.counts)
        .filter(|(_, n)| **n > 0)
        .map(|(bucket, n)| (bucket, f64_from_u64(*n)))
        .collect()
}

/// Brings a histogram down to a schema; each step joins neighbours.
fn coarsen(histogram: &mut Histogram, schema: i32) {
    let Ok(steps) = u32::try_from(histogram.schema.saturating_sub(schema)) else { return };
    if steps == 0 {
        return;
    }
    let join = |buckets: &[(i32, f64)]| {
        let mut joined: BTreeMap<i32, f64> = BTreeMap::new();
        for (bucket, n) in buckets {
            // (bucket - 1) >> steps, plus 1; beyond 31 steps only the sign is left.
            let bucket = (i64::from(*bucket) - 1) >> steps.min(31);
            *joined.entry(i32::try_from(bucket).unwrap_or_default() + 1).or_default() += n;
        }
        joined.into_iter().collect::<Vec<_>>()
    };
    histogram.positive = join(&histogram.positive);
    histogram.negative = join(&histogram.negative);
    histogram.schema = schema;
}

fn merged(mut a: Histogram, mut b: Histogram) -> Histogram {
    let schema = a.schema.min(b.schema);
    coarsen(&mut a, schema);
    coarsen(&mut b, schema);
    let join = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        let mut joined: BTreeMap<i32, f64> = a.iter().copied().collect();
        for (bucket, n) in b {
            *joined.entry(*bucket).or_default() += n;
        }
        joined.into_iter().collect::<Vec<_>>()
    };
    Histogram {
        positive: join(&a.positive, &b.positive),
        negative: join(&a.negative, &b.negative),
        zero_threshold: a.zero_threshold.max(b.zero_threshold),
        zero_count: a.zero_count + b.zero_count,
        count: a.count + b.count,
        sum: a.sum + b.sum,
        ..a
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_its_quantiles_and_two_totals() {
        let labels =
            Labels::new([("__name__".into(), "rpc_seconds".into()), ("job".into(), "shop".into())]);
        let summary =
            SummaryPoint { count: 3.0, sum: 1.5, quantiles: vec![(0.0, 0.1), (0.99, 0.7)] };
        let told = summary_series(&labels, &summary);
        let lines: Vec<String> = told.iter().map(|(l, value)| format!("{l} {value}")).collect();
        assert_eq!(
            lines,
            [
                "rpc_seconds_sum{job=\"shop\"} 1.5",
                "rpc_seconds_count{job=\"shop\"} 3",
                "rpc_seconds{job=\"shop\", quantile=\"0\"} 0.1",
                "rpc_seconds{job=\"shop\", quantile=\"0.99\"} 0.7",
            ]
        );
    }
}
