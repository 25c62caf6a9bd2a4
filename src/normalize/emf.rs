//! CloudWatch's Embedded Metric Format: metrics inside a log record.
//!
//! A JSON log record in, the metric points that its `_aws` member declares out, one for each metric and
//! set of dimensions; the record itself stays a log record. A metric whose target is missing or no
//! number, and a set that names a missing dimension, make no point, as in CloudWatch. Sets are never
//! summed. Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
//! CloudWatch_Embedded_Metric_Format_Specification.html

use std::collections::BTreeMap;

use serde_json::Value;

use super::json_fields::{Object, number, text};
use crate::number::{f64_from_u64, i32_from_f64};
use crate::signal::{
    BucketSpan, HistogramPoint, Labels, METRIC_NAME, MetricPoint, MetricValue, Temporality, Text,
    Timestamp,
};

/// The specification's bounds.
const METRICS_MAX: usize = 100;
const DIMENSIONS_MAX: usize = 30;
const VALUES_MAX: usize = 100;
/// Directives and sets of one record; Powertools writes one directive with a few sets.
const SETS_MAX: usize = 16;

/// Buckets of a power of two, as the store keeps them (schema 5).
const SCALE: i32 = 5;
/// More buckets than this between the least and the greatest value are not kept: 2^40 apart.
const BUCKETS_MAX: usize = 40 << SCALE;

/// The points of a record; none where it declares no metric.
pub(super) fn points(record: &Object, time: Timestamp) -> Vec<MetricPoint> {
    let directives = record
        .get("_aws")
        .and_then(|aws| aws.get("CloudWatchMetrics")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_object);
    directives.take(SETS_MAX).flat_map(|directive| of_directive(directive, record, time)).collect()
}

fn of_directive(directive: &Object, record: &Object, time: Timestamp) -> Vec<MetricPoint> {
    let Some(namespace) = text(directive, "Namespace") else { return Vec::new() };
    let list = |name: &str| directive.get(name).and_then(Value::as_array).into_iter().flatten();
    let sets: Vec<Vec<(Text, Text)>> =
        list("Dimensions").take(SETS_MAX).filter_map(|set| dimensions(set, record)).collect();
    let metrics = list("Metrics").take(METRICS_MAX).filter_map(Value::as_object);
    let mut points = Vec::new();
    for metric in metrics {
        let Some(name) = text(metric, "Name") else { continue };
        let unit = text(metric, "Unit").unwrap_or("None");
        let Some(value) = record.get(name).and_then(|target| value(target, unit)) else { continue };
        for set in &sets {
            let own = [(METRIC_NAME, name), ("namespace", namespace)]
                .map(|(label, value)| (Text::from(label), Text::from(value)));
            let labels = Labels::new(set.iter().cloned().chain(own));
            points.push(MetricPoint { labels, time, start: None, value: value.clone() });
        }
    }
    points
}

/// The values of a set's dimensions, which are members of the record.
fn dimensions(set: &Value, record: &Object) -> Option<Vec<(Text, Text)>> {
    let names = set.as_array().filter(|names| names.len() <= DIMENSIONS_MAX)?;
    let dimension = |name: &Value| {
        let name = name.as_str()?;
        let value = match record.get(name)? {
            Value::String(value) => Text::from(value.as_str()),
            Value::Number(value) => Text::from(value.to_string()),
            _ => return None,
        };
        Some((Text::from(name), value))
    };
    names.iter().map(dimension).collect()
}

/// Counts add up; of everything else each number is an observation.
fn value(target: &Value, unit: &str) -> Option<MetricValue> {
    let values: Vec<f64> = match target {
        Value::Array(values) if values.len() <= VALUES_MAX => {
            values.iter().map(number).collect::<Option<_>>()?
        }
        Value::Number(_) => vec![number(target)?],
        _ => return None,
    };
    if values.is_empty() {
        return None;
    }
    let sum = values.iter().sum();
    if unit == "Count" && values.iter().all(|value| *value >= 0.0) {
        let temporality = Temporality::Delta;
        return Some(MetricValue::Sum { value: sum, monotonic: true, temporality });
    }
    let point = observations(&values, sum)?;
    Some(MetricValue::Histogram { point, temporality: Temporality::Delta })
}

/// Bucket `i` holds `(2^(i/32), 2^((i+1)/32)]`.
fn observations(values: &[f64], sum: f64) -> Option<HistogramPoint> {
    let buckets = |sign: f64| {
        let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
        for value in values.iter().map(|value| value * sign).filter(|value| *value > 0.0) {
            let idx = (value.log2() * f64::from(1_u32 << SCALE)).ceil() - 1.0;
            *counts.entry(i32_from_f64(idx)).or_default() += 1;
        }
        span(&counts)
    };
    let count = crate::number::u64_from_usize(values.len());
    let n_zero = values.iter().filter(|value| **value == 0.0).count();
    debug_assert!(f64_from_u64(count) >= 1.0, "a metric has a value");
    Some(HistogramPoint::Exponential {
        count,
        sum,
        scale: SCALE,
        zero_count: crate::number::u64_from_usize(n_zero),
        zero_threshold: 0.0,
        positive: buckets(1.0)?,
        negative: buckets(-1.0)?,
    })
}

fn span(counts: &BTreeMap<i32, u64>) -> Option<BucketSpan> {
    let (Some((first, _)), Some((last, _))) = (counts.first_key_value(), counts.last_key_value())
    else {
        return Some(BucketSpan::default());
    };
    let n_buckets = usize::try_from(i64::from(*last) - i64::from(*first) + 1).ok()?;
    if n_buckets > BUCKETS_MAX {
        return None;
    }
    let counts = (*first..=*last).map(|idx| counts.get(&idx).copied().unwrap_or_default());
    Some(BucketSpan { offset: *first, counts: counts.collect() })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::normalize::{Config, Origin, json_log, show};

    fn check(record: &Value, expect: &Expect) {
        let origin = Origin {
            arrived: Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap(),
            ..Origin::default()
        };
        let body = record.to_string();
        let read = json_log::normalize(body.as_bytes(), &origin, &Config::default()).unwrap();
        expect.assert_eq(&show::text(&read));
    }

    fn record(sets: &Value, metrics: &Value) -> Value {
        json!({"_aws": {"Timestamp": 1_795_600_799_000_i64, "CloudWatchMetrics":
            [{"Namespace": "shop", "Dimensions": sets, "Metrics": metrics}]},
            "service": "orders", "stage": "prod", "booked": [2, 1], "took": [0.5, 0, 8.0], "bad": "x"})
    }

    #[test]
    fn every_metric_and_set_of_dimensions_is_a_series_of_its_own() {
        check(
            &record(
                &json!([["service"], ["service", "stage"], []]),
                &json!([{"Name": "booked", "Unit": "Count"}]),
            ),
            &expect![[r#"
                2026-11-25T09:59:59.000000000Z log body="" attributes=_aws,bad,booked,stage,took service=orders anonymous
                2026-11-25T09:59:59.000000000Z metric booked{job="orders", namespace="shop", service="orders"} sum=3 temporality=Delta service=orders anonymous
                2026-11-25T09:59:59.000000000Z metric booked{job="orders", namespace="shop", service="orders", stage="prod"} sum=3 temporality=Delta service=orders anonymous
                2026-11-25T09:59:59.000000000Z metric booked{job="orders", namespace="shop"} sum=3 temporality=Delta service=orders anonymous
                4 signals, 0 rejected, 0 filtered"#]],
        );
        check(
            &record(&json!([["service"]]), &json!([{"Name": "took", "Unit": "Milliseconds"}])),
            &expect![[r#"
                2026-11-25T09:59:59.000000000Z log body="" attributes=_aws,bad,booked,stage,took service=orders anonymous
                2026-11-25T09:59:59.000000000Z metric took{job="orders", namespace="shop", service="orders"} histogram service=orders anonymous
                2 signals, 0 rejected, 0 filtered"#]],
        );
    }

    #[test]
    fn what_is_missing_or_no_number_makes_no_point() {
        let metrics = json!([{"Name": "bad"}, {"Name": "none"}, {"Unit": "Count"}, 7]);
        check(
            &record(&json!([["service"]]), &metrics),
            &expect![[r#"
            2026-11-25T09:59:59.000000000Z log body="" attributes=_aws,bad,booked,stage,took service=orders anonymous
            1 signals, 0 rejected, 0 filtered"#]],
        );
        let metrics = json!([{"Name": "booked", "Unit": "Count"}]);
        check(
            &record(&json!([["nobody"], "service"]), &metrics),
            &expect![[r#"
            2026-11-25T09:59:59.000000000Z log body="" attributes=_aws,bad,booked,stage,took service=orders anonymous
            1 signals, 0 rejected, 0 filtered"#]],
        );
    }

    #[test]
    fn values_lie_in_the_bucket_that_holds_them() {
        for value in [1e-9, 0.5, 1.0, 1.0001, 3.0, 8.0, 1e12] {
            let Some(HistogramPoint::Exponential { positive, .. }) = observations(&[value], value)
            else {
                panic!("a histogram")
            };
            let lower = 2_f64.powf(f64::from(positive.offset) / 32.0);
            let upper = 2_f64.powf(f64::from(positive.offset + 1) / 32.0);
            assert!(lower < value * 1.000_001 && value <= upper * 1.000_001, "{value}");
        }
    }
}
