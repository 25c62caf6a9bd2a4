//! Metrics as OTLP/JSON.
//!
//! In: one metric's JSON at a time. Out: the same [`Metric`]s as protobuf gives. The generated types'
//! own JSON reading turns a metric with one odd value into one without data, in silence; here a point
//! with a value of a wrong type is rejected alone, and a metric whose list of points is none counts as
//! one rejected record.

use opentelemetry_proto::tonic::metrics::v1 as proto;

use crate::normalize::shorten::shorten;

use super::exemplar;
use super::gather::{Gather, NAME_BYTES_MAX};
use super::json::{Found, Stop, read_attributes};
use super::json_reader::{Fault, Reader};
use super::metric_series::{self, Target};
use super::metrics::{Metric, Point, Points, Read};
use proto::exponential_histogram_data_point::Buckets;
use proto::number_data_point::Value as Number;
use proto::summary_data_point::ValueAtQuantile;

const TEMPORALITIES: [&str; 3] = ["UNSPECIFIED", "DELTA", "CUMULATIVE"];

/// Reads one metric and gives its points to `gather`.
pub(super) fn metric(
    reader: &mut Reader<'_>,
    gather: &mut Gather<'_>,
    found: &Found,
) -> Result<(), Stop> {
    let offset = reader.place().offset();
    let mut metric = Metric::default();
    reader.object(|reader, key| {
        match key {
            "name" => metric.name = reader.text()?.into_owned(),
            "unit" => metric.unit = reader.text()?.into_owned(),
            "description" => metric.description = reader.text()?.into_owned(),
            "gauge" => {
                let points = data(reader, gather, &mut metric, number)?;
                metric.points = Points::Gauge(points);
            }
            "sum" => {
                let points = data(reader, gather, &mut metric, number)?;
                metric.points = Points::Sum(points);
            }
            "histogram" => {
                let points = data(reader, gather, &mut metric, explicit)?;
                metric.points = Points::Histogram(points);
            }
            "exponentialHistogram" | "exponential_histogram" => {
                let points = data(reader, gather, &mut metric, exponential)?;
                metric.points = Points::Exponential(points);
            }
            "summary" => {
                let points = data(reader, gather, &mut metric, summary)?;
                metric.points = Points::Summary(points);
            }
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    let name = shorten(&metric.name, NAME_BYTES_MAX);
    let mismatch = reader.take_mismatch().map(|mismatch| match name {
        "" => mismatch.to_string(),
        name => format!("{name}: {mismatch}"),
    });
    let Some(fault) = found.fault.clone().or(mismatch) else {
        let target = Target::new(found.resource, gather);
        return Ok(metric_series::accept(metric, &target, gather)?);
    };
    // The metric itself is wrong: so is each of its points, and at least one record.
    for _ in 0..metric.points.len().max(1) {
        gather.reject(offset, fault.clone())?;
    }
    Ok(())
}

impl Points {
    fn len(&self) -> usize {
        match self {
            Self::Untold => 0,
            Self::Gauge(points) | Self::Sum(points) => points.len(),
            Self::Histogram(points) => points.len(),
            Self::Exponential(points) => points.len(),
            Self::Summary(points) => points.len(),
        }
    }
}

/// How one field of a point is read; what it does not know it skips.
type ReadField<T> = fn(&mut Reader<'_>, &str, &mut T) -> Result<(), Fault>;

/// `Gauge`, `Sum`, …: the list of points, and what else a metric's data says.
fn data<T: Default>(
    reader: &mut Reader<'_>,
    gather: &mut Gather<'_>,
    metric: &mut Metric,
    field: ReadField<T>,
) -> Result<Vec<Read<Point<T>>>, Fault> {
    let mut points = Vec::new();
    reader.object(|reader, key| match key {
        "dataPoints" | "data_points" => reader.list(|reader| {
            points.push(point(reader, gather, field)?);
            Ok(())
        }),
        "aggregationTemporality" | "aggregation_temporality" => {
            let number = reader.enumeration("AGGREGATION_TEMPORALITY_", &TEMPORALITIES)?;
            metric.temporality = number.unwrap_or_default();
            Ok(())
        }
        "isMonotonic" | "is_monotonic" => {
            metric.monotonic = reader.bool()?.unwrap_or_default();
            Ok(())
        }
        _ => reader.skip(),
    })?;
    Ok(points)
}

/// One point. What was wrong before it, in the metric, stays noted for the metric.
fn point<T: Default>(
    reader: &mut Reader<'_>,
    gather: &mut Gather<'_>,
    field: ReadField<T>,
) -> Result<Read<Point<T>>, Fault> {
    let before = reader.take_mismatch();
    let mut point: Point<T> = Point::default();
    reader.object(|reader, key| match key {
        "attributes" => read_attributes(reader, gather, &mut point.attributes),
        "exemplars" => exemplar::from_json(reader, gather, &mut point.exemplars),
        _ => field(reader, key, &mut point.data),
    })?;
    let wrong = reader.take_mismatch();
    if let Some(before) = before {
        reader.put_back(before);
    }
    Ok(wrong.map_or(Ok(point), |mismatch| Err(mismatch.to_string())))
}

fn number(
    reader: &mut Reader<'_>,
    key: &str,
    point: &mut proto::NumberDataPoint,
) -> Result<(), Fault> {
    let stamped = Stamped {
        start: &mut point.start_time_unix_nano,
        time: &mut point.time_unix_nano,
        flags: &mut point.flags,
    };
    if stamped.takes(reader, key)? {
        return Ok(());
    }
    match key {
        "asDouble" | "as_double" => {
            point.value = reader.f64()?.map(Number::AsDouble).or(point.value);
        }
        "asInt" | "as_int" => point.value = reader.i64()?.map(Number::AsInt).or(point.value),
        _ => reader.skip()?,
    }
    Ok(())
}

fn explicit(
    reader: &mut Reader<'_>,
    key: &str,
    point: &mut proto::HistogramDataPoint,
) -> Result<(), Fault> {
    let stamped = Stamped {
        start: &mut point.start_time_unix_nano,
        time: &mut point.time_unix_nano,
        flags: &mut point.flags,
    };
    if stamped.takes(reader, key)? {
        return Ok(());
    }
    match key {
        "count" => point.count = reader.u64()?.unwrap_or_default(),
        "sum" => point.sum = reader.f64()?,
        "bucketCounts" | "bucket_counts" => counts(reader, &mut point.bucket_counts)?,
        "explicitBounds" | "explicit_bounds" => reader.list(|reader| {
            point.explicit_bounds.push(reader.f64()?.unwrap_or_default());
            Ok(())
        })?,
        _ => reader.skip()?,
    }
    Ok(())
}

fn exponential(
    reader: &mut Reader<'_>,
    key: &str,
    point: &mut proto::ExponentialHistogramDataPoint,
) -> Result<(), Fault> {
    let stamped = Stamped {
        start: &mut point.start_time_unix_nano,
        time: &mut point.time_unix_nano,
        flags: &mut point.flags,
    };
    if stamped.takes(reader, key)? {
        return Ok(());
    }
    match key {
        "count" => point.count = reader.u64()?.unwrap_or_default(),
        "sum" => point.sum = reader.f64()?,
        "scale" => point.scale = reader.i32()?.unwrap_or_default(),
        "zeroCount" | "zero_count" => point.zero_count = reader.u64()?.unwrap_or_default(),
        "zeroThreshold" | "zero_threshold" => {
            point.zero_threshold = reader.f64()?.unwrap_or_default();
        }
        "positive" => point.positive = Some(buckets(reader)?),
        "negative" => point.negative = Some(buckets(reader)?),
        _ => reader.skip()?,
    }
    Ok(())
}

fn buckets(reader: &mut Reader<'_>) -> Result<Buckets, Fault> {
    let mut buckets = Buckets::default();
    reader.object(|reader, key| {
        match key {
            "offset" => buckets.offset = reader.i32()?.unwrap_or_default(),
            "bucketCounts" | "bucket_counts" => counts(reader, &mut buckets.bucket_counts)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(buckets)
}

fn summary(
    reader: &mut Reader<'_>,
    key: &str,
    point: &mut proto::SummaryDataPoint,
) -> Result<(), Fault> {
    let stamped = Stamped {
        start: &mut point.start_time_unix_nano,
        time: &mut point.time_unix_nano,
        flags: &mut point.flags,
    };
    if stamped.takes(reader, key)? {
        return Ok(());
    }
    match key {
        "count" => point.count = reader.u64()?.unwrap_or_default(),
        "sum" => point.sum = reader.f64()?.unwrap_or_default(),
        "quantileValues" | "quantile_values" => reader.list(|reader| {
            let mut value = ValueAtQuantile::default();
            reader.object(|reader, key| {
                match key {
                    "quantile" => value.quantile = reader.f64()?.unwrap_or_default(),
                    "value" => value.value = reader.f64()?.unwrap_or_default(),
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            point.quantile_values.push(value);
            Ok(())
        })?,
        _ => reader.skip()?,
    }
    Ok(())
}

fn counts(reader: &mut Reader<'_>, counts: &mut Vec<u64>) -> Result<(), Fault> {
    reader.list(|reader| {
        counts.push(reader.u64()?.unwrap_or_default());
        Ok(())
    })
}

/// Flags beyond 32 bits do not exist; the bits that do are taken.
fn flags(reader: &mut Reader<'_>) -> Result<u32, Fault> {
    let flags = reader.u64()?.unwrap_or_default();
    Ok(u32::try_from(flags & u64::from(u32::MAX)).unwrap_or_default())
}

/// The fields that a point of every shape has.
struct Stamped<'a> {
    start: &'a mut u64,
    time: &'a mut u64,
    flags: &'a mut u32,
}

impl Stamped<'_> {
    /// Reads the value if `key` is one of these fields; says whether it was.
    fn takes(self, reader: &mut Reader<'_>, key: &str) -> Result<bool, Fault> {
        match key {
            "startTimeUnixNano" | "start_time_unix_nano" => {
                *self.start = reader.u64()?.unwrap_or_default();
            }
            "timeUnixNano" | "time_unix_nano" => *self.time = reader.u64()?.unwrap_or_default(),
            "flags" => *self.flags = flags(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
