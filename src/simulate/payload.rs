//! Items to HTTP bodies: OTLP, JSON lines, Telemetry API batches, Firehose deliveries.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value, json};

use super::exporter::{Header, Item, LogEvent, Payload};
use super::otlp;
use super::plan::{ACCOUNT, Function, REGION};
use super::wire::log_group;
use crate::number::u64_from_usize;
use crate::signal::{Text, Timestamp};

/// OTLP bodies from this size on are compressed, as exporters are told to.
const GZIP_FROM_BYTES: usize = 4096;
const JSON: &str = "application/json";

pub(super) fn traces(function: Function, items: &[Item], at: Timestamp) -> Payload {
    let mut by_instance: BTreeMap<Text, Vec<Span>> = BTreeMap::new();
    for item in items {
        if let Item::Span(told) = item {
            by_instance.entry(Text::clone(&told.instance)).or_default().push(told.span.clone());
        }
    }
    let resource_spans = by_instance
        .into_iter()
        .map(|(instance, spans)| ResourceSpans {
            resource: Some(otlp::resource(function, &instance)),
            scope_spans: vec![ScopeSpans {
                scope: Some(otlp::scope()),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        })
        .collect();
    let plain = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let is_long = plain.len() >= GZIP_FROM_BYTES;
    Payload {
        at,
        path: "/v1/traces",
        content_type: "application/x-protobuf",
        headers: is_long.then(|| Header::new("content-encoding", "gzip")).into_iter().collect(),
        body: if is_long { gzip(&plain) } else { plain },
    }
}

pub(super) fn json_lines(function: Function, items: &[Item], at: Timestamp, id: String) -> Payload {
    let mut body = Vec::new();
    for item in items {
        if let Item::Line(line) = item {
            body.extend_from_slice(line.as_bytes());
            body.push(b'\n');
        }
    }
    Payload {
        at,
        path: "/ingest/json",
        content_type: "application/x-ndjson",
        headers: batch_headers(function, id),
        body,
    }
}

pub(super) fn telemetry(function: Function, items: &[Item], at: Timestamp, id: String) -> Payload {
    let events = items.iter().filter_map(|item| match item {
        Item::Event(event) => Some(event.clone()),
        _ => None,
    });
    let events: Value = events.collect();
    Payload {
        at,
        path: "/ingest/aws/telemetry",
        content_type: JSON,
        headers: batch_headers(function, id),
        body: events.to_string().into_bytes(),
    }
}

fn batch_headers(function: Function, id: String) -> Vec<Header> {
    vec![Header::new("lambda-function-name", function.as_str()), Header::new("idempotency-key", id)]
}

/// When and as what a delivery is sent.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) at: Timestamp,
    pub(super) id: String,
}

/// A CloudWatch Logs subscription by Firehose: a record for each log stream.
pub(super) fn log_subscription(
    function: Function,
    items: &[Item],
    n_before: u64,
    sending: Sending,
) -> Payload {
    let mut by_stream: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (idx, item) in items.iter().enumerate() {
        if let Item::Log(event) = item {
            let number = n_before + u64_from_usize(idx);
            by_stream.entry(&event.stream).or_default().push(log_event(event, number));
        }
    }
    let records = by_stream.into_iter().map(|(stream, events)| {
        let content = json!({
            "messageType": "DATA_MESSAGE",
            "owner": ACCOUNT,
            "logGroup": log_group(function),
            "logStream": stream,
            "subscriptionFilters": ["throughline"],
            "logEvents": events,
        });
        gzip(content.to_string().as_bytes())
    });
    firehose("logs", &records.collect::<Vec<_>>(), sending)
}

fn log_event(event: &LogEvent, number: u64) -> Value {
    let millis = event.time.as_millis();
    json!({
        "id": format!("3{millis:020}{number:035}"),
        "timestamp": millis,
        "message": event.message,
    })
}

/// A metric stream by Firehose: all records of a minute as JSON lines.
pub(super) fn metric_stream(items: &[Item], at: Timestamp, id: String) -> Payload {
    let lines = items.iter().filter_map(|item| match item {
        Item::Metric(metric) => Some(format!("{metric}\n")),
        _ => None,
    });
    firehose("metrics", &[lines.collect::<String>().into_bytes()], Sending { at, id })
}

fn firehose(stream: &str, records: &[Vec<u8>], Sending { at, id }: Sending) -> Payload {
    let records: Vec<Value> =
        records.iter().map(|data| json!({ "data": STANDARD.encode(data) })).collect();
    let source = format!("arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/{stream}");
    let body = json!({ "requestId": id, "timestamp": at.as_millis(), "records": records });
    Payload {
        at,
        path: "/ingest/aws/firehose",
        content_type: JSON,
        headers: vec![
            Header::new("x-amz-firehose-protocol-version", "1.0"),
            Header::new("x-amz-firehose-request-id", id),
            Header::new("x-amz-firehose-source-arn", source),
        ],
        body: body.to_string().into_bytes(),
    }
}

/// Without a file name or a time, so that the same bytes come out each time.
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.expect("a vector takes every byte")
}
