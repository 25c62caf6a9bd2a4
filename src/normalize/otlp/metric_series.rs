//! Metric points to series with Prometheus's names and labels.
//!
//! In: [`Metric`]s under a resource. Out: [`MetricPoint`]s. `job` is `service.namespace/service.name`;
//! `instance` is `service.instance.id`, else `faas.instance`, because cumulative counters of two
//! environments must not mix. A summary's point stays one, whose series are told when it
//! is measured. A histogram without a sum has the sum NaN: not told, rather than 0. Never true: that a
//! point with another number of buckets than it has bounds for, or without a time, becomes a series.
//! Source: the OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility".

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1 as proto;

use crate::normalize::Undecodable;
use crate::normalize::shorten::shorten;
use crate::number::{f64_from_i64, f64_from_u64};
use crate::signal::{
    Attributes, BucketSpan, HistogramPoint, Labels, METRIC_NAME, MetricMetadata, MetricPoint,
    MetricType, MetricValue, STALE_NAN_BITS, SummaryPoint, Temporality, Text, Timestamp, Value,
};

use super::exemplar;
use super::gather::{Gather, NAME_BYTES_MAX, TIME_MAX};
use super::metric_name::{NameKind, label_name, metric_name, unit_name};
use super::metrics::{Metric, Point, Points, Read};

/// `DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u32 = 1;
/// Most buckets of one point. SDKs keep 160; thousands are somebody's mistake.
const BUCKETS_MAX: usize = 4096;
/// Most quantiles of one summary's point: each is a series.
const QUANTILES_MAX: usize = 100;
/// Scales of exponential histograms: the SDK specification's bounds.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// Whose points they are.
#[derive(Clone, Debug)]
pub(super) struct Target {
    resource: u32,
    /// `job` and `instance`, where told.
    labels: Vec<(Text, Text)>,
}

impl Target {
    pub(super) fn new(resource: u32, gather: &Gather<'_>) -> Self {
        let mut labels = Vec::new();
        if let Some(known) = gather.resource_at(resource) {
            let namespace = known.attributes.str("service.namespace").filter(|n| !n.is_empty());
            let job = known.service.as_ref().map(|service| match namespace {
                Some(namespace) => format!("{namespace}/{service}").into(),
                None => Text::clone(service),
            });
            let own = known.attributes.str("service.instance.id").map(Text::from);
            let instance = own.or_else(|| known.instance.clone());
            labels.extend(job.map(|job| (Text::from("job"), job)));
            labels.extend(instance.map(|instance| (Text::from("instance"), instance)));
        }
        Self { resource, labels }
    }

    /// Attributes, then job and instance, then the name; of attributes whose keys become one label the
    /// values are joined by `;` in the order of the keys (the specification's rule).
    fn labels_of(&self, name: &str, mut attributes: Attributes, gather: &mut Gather<'_>) -> Labels {
        attributes.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut labels: BTreeMap<Text, String> = BTreeMap::new();
        for (key, value) in &attributes.0 {
            let name = gather.text(&label_name(key));
            let value = value.to_text();
            labels
                .entry(name)
                .and_modify(|joined| {
                    joined.push(';');
                    joined.push_str(&value);
                })
                .or_insert(value);
        }
        let own = labels.into_iter().map(|(name, value)| (name, gather.text(&value)));
        let own: Vec<(Text, Text)> = own.collect();
        let name = (Text::from(METRIC_NAME), gather.text(name));
        Labels::new(own.into_iter().chain(self.labels.iter().cloned()).chain([name]))
    }
}

/// Gives every point of a metric to `gather`, or its rejection.
pub(super) fn accept(
    metric: Metric,
    target: &Target,
    gather: &mut Gather<'_>,
) -> Result<(), Undecodable> {
    let told = shorten(&metric.name, NAME_BYTES_MAX);
    let kind = match &metric.points {
        Points::Untold => {
            return gather.reject(0, format!("{told}: the metric has no data of a known type"));
        }
        Points::Gauge(_) => NameKind::Gauge,
        Points::Sum(_) if metric.monotonic => NameKind::MonotonicSum,
        _ => NameKind::Other,
    };
    let unit = shorten(&metric.unit, NAME_BYTES_MAX);
    let series = Series {
        about: MetricMetadata {
            name: metric_name(told, unit, kind).into(),
            kind: metric_type(&metric),
            help: metric.description.as_str().into(),
            unit: unit_name(unit).into(),
        },
        temporality: temporality(metric.temporality),
        monotonic: metric.monotonic,
        target,
    };
    match metric.points {
        Points::Untold => Ok(()),
        Points::Gauge(points) => series.each(points, gather, Series::gauge),
        Points::Sum(points) => series.each(points, gather, Series::sum),
        Points::Histogram(points) => series.each(points, gather, Series::explicit),
        Points::Exponential(points) => series.each(points, gather, Series::exponential),
        Points::Summary(points) => series.each(points, gather, Series::summary),
    }
}

/// As Prometheus calls it: a sum that may fall is a gauge.
fn metric_type(metric: &Metric) -> MetricType {
    match &metric.points {
        Points::Untold => MetricType::Unknown,
        Points::Sum(_) if metric.monotonic => MetricType::Counter,
        Points::Gauge(_) | Points::Sum(_) => MetricType::Gauge,
        Points::Histogram(_) | Points::Exponential(_) => MetricType::Histogram,
        Points::Summary(_) => MetricType::Summary,
    }
}

fn temporality(number: i32) -> Result<Temporality, &'static str> {
    match number {
        1 => Ok(Temporality::Delta),
        2 => Ok(Temporality::Cumulative),
        _ => Err("the aggregation temporality is not told"),
    }
}

/// What all points of one metric have in common.
#[derive(Debug)]
struct Series<'t> {
    /// Its name is the series'.
    about: MetricMetadata,
    temporality: Result<Temporality, &'static str>,
    monotonic: bool,
    target: &'t Target,
}

/// A point but for its value.
#[derive(Debug)]
struct Place {
    labels: Labels,
    time: Timestamp,
    start: Option<Timestamp>,
    is_stale: bool,
}

impl Place {
    fn point(self, value: MetricValue) -> MetricPoint {
        let value = if self.is_stale { MetricValue::Stale } else { value };
        MetricPoint { labels: self.labels, time: self.time, start: self.start, value }
    }
}

impl Series<'_> {
    fn each<T>(
        &self,
        points: Vec<Read<Point<T>>>,
        gather: &mut Gather<'_>,
        convert: impl Fn(&Self, Point<T>, &mut Gather<'_>) -> Read<MetricPoint>,
    ) -> Result<(), Undecodable> {
        let mut is_told = false;
        for point in points {
            let mut exemplars = Vec::new();
            let read = match point {
                _ if self.about.name.is_empty() => Err("the metric has no name".to_owned()),
                Ok(mut point) => {
                    exemplars = std::mem::take(&mut point.exemplars);
                    convert(self, point, gather)
                }
                Err(message) => Err(message),
            };
            if let Ok(point) = &read {
                is_told = true;
                for told in exemplars {
                    exemplar::accept(&seen_in(point, told.value), told, gather);
                }
            }
            let read = read.map_err(|message| format!("{}: {message}", self.about.name));
            gather.point(self.target.resource, read)?;
        }
        if is_told {
            gather.describe(&self.about);
        }
        Ok(())
    }

    fn gauge(
        &self,
        point: Point<proto::NumberDataPoint>,
        gather: &mut Gather<'_>,
    ) -> Read<MetricPoint> {
        let data = point.data;
        let place = self.place(
            point.attributes,
            &Stamp {
                start: data.start_time_unix_nano,
                time: data.time_unix_nano,
                flags: data.flags,
            },
            gather,
        )?;
        if place.is_stale {
            return Ok(place.point(MetricValue::Stale));
        }
        Ok(place.point(MetricValue::Gauge(number(data.value)?)))
    }

    fn sum(
        &self,
        point: Point<proto::NumberDataPoint>,
        gather: &mut Gather<'_>,
    ) -> Read<MetricPoint> {
        let (monotonic, temporality) = (self.monotonic, self.temporality?);
        let mut point = self.gauge(point, gather)?;
        if let MetricValue::Gauge(value) = point.value {
            point.value = MetricValue::Sum { value, monotonic, temporality };
        }
        Ok(point)
    }

    fn explicit(
        &self,
        point: Point<proto::HistogramDataPoint>,
        gather: &mut Gather<'_>,
    ) -> Read<MetricPoint> {
        let data = point.data;
        let place = self.place(
            point.attributes,
            &Stamp {
                start: data.start_time_unix_nano,
                time: data.time_unix_nano,
                flags: data.flags,
            },
            gather,
        )?;
        let temporality = self.temporality?;
        let (bounds, mut counts) = (data.explicit_bounds, data.bucket_counts);
        if counts.is_empty() && bounds.is_empty() {
            // Count and sum alone are allowed: one bucket holds everything.
            counts.push(data.count);
        }
        if counts.len() > BUCKETS_MAX || bounds.len() >= BUCKETS_MAX {
            return Err(format!("more than {BUCKETS_MAX} buckets"));
        }
        if counts.len() != bounds.len() + 1 && !place.is_stale {
            let (n_counts, n_bounds) = (counts.len(), bounds.len());
            return Err(format!("{n_counts} bucket counts do not fit {n_bounds} bounds"));
        }
        let is_rising = bounds.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        if !is_rising || bounds.iter().any(|bound| bound.is_nan()) {
            return Err("the bounds do not rise".to_owned());
        }
        same_count(data.count, [&counts[..]], 0)?;
        let sum = data.sum.unwrap_or(f64::NAN);
        let point = HistogramPoint::Explicit { count: data.count, sum, bounds, counts };
        Ok(place.point(MetricValue::Histogram { point, temporality }))
    }

    fn exponential(
        &self,
        point: Point<proto::ExponentialHistogramDataPoint>,
        gather: &mut Gather<'_>,
    ) -> Read<MetricPoint> {
        let data = point.data;
        let place = self.place(
            point.attributes,
            &Stamp {
                start: data.start_time_unix_nano,
                time: data.time_unix_nano,
                flags: data.flags,
            },
            gather,
        )?;
        let temporality = self.temporality?;
        if !SCALES.contains(&data.scale) {
            return Err(format!("scale {} is out of range", data.scale));
        }
        let positive = buckets(data.positive)?;
        let negative = buckets(data.negative)?;
        same_count(data.count, [&positive.counts[..], &negative.counts[..]], data.zero_count)?;
        let point = HistogramPoint::Exponential {
            count: data.count,
            sum: data.sum.unwrap_or(f64::NAN),
            scale: data.scale,
            zero_count: data.zero_count,
            zero_threshold: data.zero_threshold,
            positive,
            negative,
        };
        Ok(place.point(MetricValue::Histogram { point, temporality }))
    }

    fn summary(
        &self,
        point: Point<proto::SummaryDataPoint>,
        gather: &mut Gather<'_>,
    ) -> Read<MetricPoint> {
        let data = point.data;
        let place = self.place(
            point.attributes,
            &Stamp {
                start: data.start_time_unix_nano,
                time: data.time_unix_nano,
                flags: data.flags,
            },
            gather,
        )?;
        if data.quantile_values.len() > QUANTILES_MAX {
            return Err(format!("more than {QUANTILES_MAX} quantiles"));
        }
        let stale = f64::from_bits(STALE_NAN_BITS);
        let told = |value: f64| if place.is_stale { stale } else { value };
        let quantiles = data.quantile_values.iter();
        let summary = SummaryPoint {
            count: told(f64_from_u64(data.count)),
            sum: told(data.sum),
            quantiles: quantiles.map(|q| (q.quantile, told(q.value))).collect(),
        };
        let value = MetricValue::Summary(Box::new(summary));
        let Place { labels, time, start, .. } = place;
        Ok(MetricPoint { labels, time, start, value })
    }

    fn place(
        &self,
        mut attributes: Attributes,
        stamp: &Stamp,
        gather: &mut Gather<'_>,
    ) -> Read<Place> {
        if stamp.time == 0 {
            return Err("the point has no time".to_owned());
        }
        if stamp.time > TIME_MAX {
            return Err("the point's time is out of range".to_owned());
        }
        gather.sample_time(Timestamp::from_nanos(stamp.time))?;
        gather.redact(&mut attributes);
        Ok(Place {
            labels: self.target.labels_of(&self.about.name, attributes, gather),
            time: Timestamp::from_nanos(stamp.time),
            start: (1..=stamp.time)
                .contains(&stamp.start)
                .then(|| Timestamp::from_nanos(stamp.start)),
            is_stale: stamp.flags & NO_RECORDED_VALUE != 0,
        })
    }
}

/// The series of a point in which people look for an exemplar of this value: a classic bucket's, or its own.
fn seen_in(point: &MetricPoint, value: Option<f64>) -> Labels {
    match (&point.value, value) {
        (
            MetricValue::Histogram { point: HistogramPoint::Explicit { bounds, .. }, .. },
            Some(value),
        ) => {
            let bound = bounds.iter().copied().find(|bound| value <= *bound);
            point.labels.bucket(bound.unwrap_or(f64::INFINITY))
        }
        _ => point.labels.clone(),
    }
}

/// What a resource says beside `job` and `instance`: the labels of `target_info`. None where it says nothing
/// more, or has neither.
pub(super) fn target_info(index: u32, gather: &mut Gather<'_>) -> Option<Labels> {
    let target = Target::new(index, gather);
    let resource = gather.resource_at(index)?;
    let known = [
        ("faas.name", &resource.function),
        ("faas.version", &resource.version),
        ("faas.instance", &resource.instance),
        ("cloud.account.id", &resource.account),
        ("cloud.region", &resource.region),
    ];
    // An environment that is the `instance` is told already.
    let is_told = |value: &Text| target.labels.iter().any(|(_, told)| told == value);
    let known = known.into_iter().filter_map(|(key, value)| {
        let value = value.as_ref().filter(|value| key != "faas.instance" || !is_told(value))?;
        Some((Text::from(key), Value::Str(Text::clone(value))))
    });
    let is_of_job = |key: &str| matches!(key, "service.namespace" | "service.instance.id");
    let rest = resource.attributes.0.iter().filter(|(key, _)| !is_of_job(key)).cloned();
    let mut told: Vec<(Text, Value)> = known.chain(rest).collect();
    if target.labels.is_empty() || told.is_empty() {
        return None;
    }
    told.truncate(Attributes::MAX);
    Some(target.labels_of("target_info", Attributes(told), gather))
}

/// A point's times, in nanoseconds since the epoch, and its flags.
#[derive(Debug)]
struct Stamp {
    start: u64,
    time: u64,
    flags: u32,
}

fn number(value: Option<proto::number_data_point::Value>) -> Read<f64> {
    match value {
        Some(proto::number_data_point::Value::AsDouble(value)) => Ok(value),
        Some(proto::number_data_point::Value::AsInt(value)) => Ok(f64_from_i64(value)),
        None => Err("the point has no value".to_owned()),
    }
}

fn buckets(buckets: Option<proto::exponential_histogram_data_point::Buckets>) -> Read<BucketSpan> {
    let Some(buckets) = buckets else { return Ok(BucketSpan::default()) };
    let counts = buckets.bucket_counts;
    if counts.len() > BUCKETS_MAX {
        return Err(format!("more than {BUCKETS_MAX} buckets"));
    }
    let last = i32::try_from(counts.len()).ok().and_then(|n| buckets.offset.checked_add(n));
    if last.is_none() {
        return Err(format!("bucket offset {} is out of range", buckets.offset));
    }
    Ok(BucketSpan { offset: buckets.offset, counts })
}

/// metrics.proto: the count must be the sum of the buckets.
fn same_count<const N: usize>(count: u64, buckets: [&[u64]; N], zero: u64) -> Read<()> {
    let all = buckets.into_iter().flatten();
    let total = all.fold(u128::from(zero), |total, n| total + u128::from(*n));
    if total == u128::from(count) {
        return Ok(());
    }
    Err(format!("the count {count} is not the {total} of the buckets"))
}
