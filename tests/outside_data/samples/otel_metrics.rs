//! A metric stream's record in OpenTelemetry 1.0, made again from its decoded form.
//!
//! OTLP/JSON requests in, the body of a Firehose request out, whose one record holds them as
//! length-delimited protobuf. Only what metric streams write is read: summaries and their attributes.

use base64::Engine;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, ResourceMetrics, ScopeMetrics, Summary, SummaryDataPoint, metric, summary_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Value, json};

/// The body; an error where the requests are not of the expected shape.
pub(crate) fn firehose_body(requests: &Value) -> Result<Vec<u8>, String> {
    let requests = requests.as_array().ok_or("a list of requests is expected")?;
    let mut record = Vec::new();
    for request in requests {
        let request = ExportMetricsServiceRequest {
            resource_metrics: list(request, "resourceMetrics").map(resource_metrics).collect(),
        };
        record.extend(request.encode_length_delimited_to_vec());
    }
    let data = base64::engine::general_purpose::STANDARD.encode(record);
    let body = json!({"requestId": "made-again", "timestamp": 0, "records": [{"data": data}]});
    serde_json::to_vec(&body).map_err(|e| e.to_string())
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// OTLP/JSON writes 64-bit numbers as text and leaves zeros out.
fn integer(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn float(value: &Value, key: &str) -> f64 {
    value.get(key).and_then(Value::as_f64).unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn resource_metrics(value: &Value) -> ResourceMetrics {
    let attributes = value.get("resource").map(attributes).unwrap_or_default();
    ResourceMetrics {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_metrics: list(value, "scopeMetrics")
            .map(|scope| ScopeMetrics {
                metrics: list(scope, "metrics").map(summary).collect(),
                ..ScopeMetrics::default()
            })
            .collect(),
        ..ResourceMetrics::default()
    }
}

fn summary(value: &Value) -> Metric {
    let data_points = value.get("summary").into_iter().flat_map(|s| list(s, "dataPoints"));
    Metric {
        name: text(value, "name"),
        unit: text(value, "unit"),
        data: Some(metric::Data::Summary(Summary {
            data_points: data_points.map(point).collect(),
        })),
        ..Metric::default()
    }
}

fn point(value: &Value) -> SummaryDataPoint {
    let quantiles = list(value, "quantileValues");
    SummaryDataPoint {
        attributes: attributes(value),
        start_time_unix_nano: integer(value, "startTimeUnixNano"),
        time_unix_nano: integer(value, "timeUnixNano"),
        count: integer(value, "count"),
        sum: float(value, "sum"),
        quantile_values: quantiles
            .map(|quantile| summary_data_point::ValueAtQuantile {
                quantile: float(quantile, "quantile"),
                value: float(quantile, "value"),
            })
            .collect(),
        ..SummaryDataPoint::default()
    }
}

fn attributes(value: &Value) -> Vec<KeyValue> {
    list(value, "attributes").map(key_value).collect()
}

fn key_value(value: &Value) -> KeyValue {
    let inner = value.get("value");
    let plain = inner.and_then(|v| v.get("stringValue")).and_then(Value::as_str);
    let nested = inner.and_then(|v| v.get("kvlistValue")).map(|v| list(v, "values"));
    let value_of = plain.map(|text| any_value::Value::StringValue(text.to_owned())).or_else(|| {
        let values = nested?.map(key_value).collect();
        Some(any_value::Value::KvlistValue(KeyValueList { values }))
    });
    KeyValue {
        key: text(value, "key"),
        value: Some(AnyValue { value: value_of }),
        ..KeyValue::default()
    }
}
