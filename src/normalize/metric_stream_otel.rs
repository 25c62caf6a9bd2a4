//! CloudWatch metric streams in OpenTelemetry 1.0: length-delimited protobuf in, metric points out.
//!
//! A record holds one or more `ExportMetricsServiceRequest`s, each behind its length as a varint. Every
//! summary point is one CloudWatch statistic set and is mapped as a JSON record is, so that the format
//! that a stream happens to use does not show in the series. Quantile 0 is the minimum, 1 the maximum.
//! Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-metric-streams-formats-opentelemetry-100.html

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{SummaryDataPoint, metric};
use prost::Message;
use serde_json::Value;

use super::gather::Gather;
use super::metric_stream::{MetricRecord, Statistics, read_record};
use crate::signal::{Resource, Text};

/// Whether bytes begin with a length and a request of that length.
pub(crate) fn is_requests(bytes: &[u8]) -> bool {
    // 0x0a is field 1 (`resource_metrics`) of the request; no text starts with a length and a line end
    // that fits the text's own length.
    split_request(bytes).is_some_and(|(request, _)| request.first() == Some(&0x0a))
}

/// Reads requests into a delivery. A broken one ends the record: nothing tells where the next begins.
pub(crate) fn read_into(bytes: &[u8], speaker: &Resource, gather: &mut Gather) {
    let mut rest = bytes;
    while !rest.is_empty() && !gather.is_full() {
        let Some((request, tail)) = split_request(rest) else {
            return gather.reject("a metric request is cut off");
        };
        rest = tail;
        match ExportMetricsServiceRequest::decode(request) {
            Ok(request) => read_request(request, speaker, gather),
            Err(e) => gather.reject(&format!("no OpenTelemetry metric request: {e}")),
        }
    }
}

fn split_request(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    let len = prost::encoding::decode_varint(&mut rest).ok()?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}

fn read_request(request: ExportMetricsServiceRequest, speaker: &Resource, gather: &mut Gather) {
    for resource_metrics in request.resource_metrics {
        let attributes = resource_metrics.resource.map(|r| r.attributes).unwrap_or_default();
        let account = text(&attributes, "cloud.account.id").unwrap_or_default();
        let region = text(&attributes, "cloud.region").unwrap_or_default();
        let metrics = resource_metrics.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
        for metric in metrics {
            let Some(metric::Data::Summary(summary)) = metric.data else {
                gather.reject("a metric stream holds summaries only");
                continue;
            };
            for point in &summary.data_points {
                match record(&metric.unit, point) {
                    Some(mut record) => {
                        record.account_id = Text::from(account);
                        record.region = Text::from(region);
                        read_record(&record, speaker, gather);
                    }
                    None => gather.reject("a point needs Namespace and MetricName"),
                }
            }
        }
    }
}

fn record(unit: &str, point: &SummaryDataPoint) -> Option<MetricRecord> {
    let max = point.quantile_values.iter().find(|q| q.quantile >= 1.0).map(|q| q.value);
    Some(MetricRecord {
        account_id: Text::from(""),
        region: Text::from(""),
        namespace: text(&point.attributes, "Namespace")?.to_owned(),
        metric_name: text(&point.attributes, "MetricName")?.to_owned(),
        dimensions: dimensions(&point.attributes),
        timestamp: i64::try_from(point.time_unix_nano).map_or(Value::Null, Value::from),
        value: Statistics {
            max: max.map_or(Value::Null, Value::from),
            sum: Value::from(point.sum),
        },
        unit: if unit == "{Count}" { "Count".to_owned() } else { unit.to_owned() },
    })
}

fn dimensions(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    match value(attributes, "Dimensions") {
        Some(AnyValue::KvlistValue(list)) => list
            .values
            .iter()
            .filter_map(|kv| match kv.value.as_ref()?.value.as_ref()? {
                any_value::Value::StringValue(text) => Some((kv.key.clone(), text.clone())),
                _ => None,
            })
            .collect(),
        _ => BTreeMap::new(),
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a AnyValue> {
    attributes.iter().find(|kv| kv.key == key)?.value.as_ref()?.value.as_ref()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match value(attributes, key)? {
        AnyValue::StringValue(text) => Some(text),
        _ => None,
    }
}
