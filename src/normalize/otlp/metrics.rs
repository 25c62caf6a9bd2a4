//! Metrics as OTLP gives them, from protobuf through the generated types.
//!
//! In: `ExportMetricsServiceRequest` on the wire. Out: [`Metric`]s, which [`super::metric_series`] turns
//! into points; JSON makes the same ones ([`super::json_metrics`]). Never true: that a metric of an
//! unknown type is passed over in silence; it counts as one rejected record.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1 as proto;
use prost::Message;

use crate::normalize::Undecodable;
use crate::signal::{Attributes, Value};

use super::exemplar::{self, RawExemplar};
use super::gather::Gather;
use super::metric_series::{self, Target};
use super::protobuf::bytes_value;

/// A point as it was read, or why it could not be.
pub(super) type Read<T> = Result<T, String>;

/// A point of a generated type, its attributes and exemplars apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Point<T> {
    pub(super) attributes: Attributes,
    pub(super) exemplars: Vec<RawExemplar>,
    pub(super) data: T,
}

/// One metric.
#[derive(Clone, Debug, Default)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) description: String,
    pub(super) points: Points,
    /// The enum's number.
    pub(super) temporality: i32,
    pub(super) monotonic: bool,
}

/// `Metric.data`.
#[derive(Clone, Debug, Default)]
pub(super) enum Points {
    #[default]
    Untold,
    Gauge(Vec<Read<Point<proto::NumberDataPoint>>>),
    Sum(Vec<Read<Point<proto::NumberDataPoint>>>),
    Histogram(Vec<Read<Point<proto::HistogramDataPoint>>>),
    Exponential(Vec<Read<Point<proto::ExponentialHistogramDataPoint>>>),
    Summary(Vec<Read<Point<proto::SummaryDataPoint>>>),
}

pub(super) fn protobuf(body: &[u8], gather: &mut Gather<'_>) -> Result<(), Undecodable> {
    let request = ExportMetricsServiceRequest::decode(body).map_err(|error| Undecodable {
        offset: 0,
        message: format!("not OTLP protobuf: {error}"),
    })?;
    for by_resource in request.resource_metrics {
        let attributes = attributes(by_resource.resource.unwrap_or_default().attributes, gather);
        let resource = gather.resource(attributes);
        let target = Target::new(resource, gather);
        for metric in by_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            let metric = read_metric(metric, gather);
            metric_series::accept(metric, &target, gather)?;
        }
    }
    Ok(())
}

fn read_metric(metric: proto::Metric, gather: &mut Gather<'_>) -> Metric {
    use proto::metric::Data;
    let mut read = Metric {
        name: metric.name,
        unit: metric.unit,
        description: metric.description,
        ..Metric::default()
    };
    read.points = match metric.data {
        None => Points::Untold,
        Some(Data::Gauge(gauge)) => Points::Gauge(numbers(gauge.data_points, gather)),
        Some(Data::Sum(sum)) => {
            read.temporality = sum.aggregation_temporality;
            read.monotonic = sum.is_monotonic;
            Points::Sum(numbers(sum.data_points, gather))
        }
        Some(Data::Histogram(histogram)) => {
            read.temporality = histogram.aggregation_temporality;
            Points::Histogram(apart(histogram.data_points, gather, |point| {
                (&mut point.attributes, Some(&mut point.exemplars))
            }))
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            read.temporality = histogram.aggregation_temporality;
            Points::Exponential(apart(histogram.data_points, gather, |point| {
                (&mut point.attributes, Some(&mut point.exemplars))
            }))
        }
        Some(Data::Summary(summary)) => {
            Points::Summary(apart(summary.data_points, gather, |point| {
                (&mut point.attributes, None)
            }))
        }
    };
    read
}

fn numbers(
    points: Vec<proto::NumberDataPoint>,
    gather: &mut Gather<'_>,
) -> Vec<Read<Point<proto::NumberDataPoint>>> {
    apart(points, gather, |point| (&mut point.attributes, Some(&mut point.exemplars)))
}

/// A point's attributes, and its exemplars where its shape has them.
type Beside<'a> = (&'a mut Vec<KeyValue>, Option<&'a mut Vec<proto::Exemplar>>);

/// Takes the points' attributes and exemplars out of them.
fn apart<T>(
    points: Vec<T>,
    gather: &mut Gather<'_>,
    of: fn(&mut T) -> Beside<'_>,
) -> Vec<Read<Point<T>>> {
    let one = |mut data| {
        let (pairs, told) = of(&mut data);
        let (pairs, told) = (std::mem::take(pairs), told.map(std::mem::take).unwrap_or_default());
        let attributes = attributes(pairs, gather);
        Ok(Point { attributes, exemplars: exemplar::from_protobuf(told, gather), data })
    };
    points.into_iter().map(one).collect()
}

pub(super) fn attributes(pairs: Vec<KeyValue>, gather: &mut Gather<'_>) -> Attributes {
    let mut attributes = Attributes::default();
    for pair in pairs {
        let value = pair.value.and_then(|value| plain(value, gather));
        gather.attribute(&mut attributes, &pair.key, value);
    }
    attributes
}

/// An attribute's value; prost has bounded its depth. An index into a table of strings (profiles only)
/// says nothing here.
fn plain(value: AnyValue, gather: &mut Gather<'_>) -> Option<Value> {
    use any_value::Value as Any;
    Some(match value.value? {
        Any::StringValue(text) => gather.value(&text),
        Any::BoolValue(truth) => Value::Bool(truth),
        Any::IntValue(n) => Value::Int(n),
        Any::DoubleValue(x) => Value::Float(x),
        Any::ArrayValue(list) => {
            Value::List(list.values.into_iter().filter_map(|value| plain(value, gather)).collect())
        }
        Any::KvlistValue(map) => {
            let mut entries = Vec::with_capacity(map.values.len());
            for pair in map.values {
                let value = pair.value.and_then(|value| plain(value, gather));
                entries.extend(value.map(|value| (gather.text(&pair.key), value)));
            }
            Value::Map(entries)
        }
        Any::BytesValue(bytes) => bytes_value(&bytes, gather),
        Any::StringValueStrindex(_) => return None,
    })
}
