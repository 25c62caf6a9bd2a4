//! The walker and the JSON reader against prost: whatever prost wrote, both read as the generated types
//! hold it; and no bytes, and no cut, make either panic or invent a span.

use std::borrow::Cow;

use base64::Engine;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value as Any,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, span::Event, span::Link,
};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value as Json, json};

use super::*;
use crate::normalize::otlp::gather::Gather;
use crate::normalize::otlp::id::Id;
use crate::normalize::otlp::protobuf::note_exception;
use crate::normalize::otlp::record::{RawLink, RawLog, RawSpan};
use crate::signal::{SpanId, TraceId, Value};

fn any_value() -> impl Strategy<Value = Option<AnyValue>> {
    let leaf = prop_oneof![
        ".{0,8}".prop_map(Any::StringValue),
        "[a-z0-9-]{1,8}".prop_map(Any::StringValue),
        prop::bool::ANY.prop_map(Any::BoolValue),
        prop::num::i64::ANY.prop_map(Any::IntValue),
        (-1e6..1e6).prop_map(Any::DoubleValue),
        prop::collection::vec(prop::num::u8::ANY, 0..6).prop_map(Any::BytesValue),
    ];
    let tree = leaf.prop_recursive(3, 12, 4, |inner| {
        let value = inner.prop_map(|value| AnyValue { value: Some(value) });
        prop_oneof![
            prop::collection::vec(value.clone(), 0..4)
                .prop_map(|values| Any::ArrayValue(ArrayValue { values })),
            prop::collection::vec(("[a-z.]{1,6}", value), 0..4).prop_map(|pairs| {
                let values = pairs
                    .into_iter()
                    .map(|(key, value)| KeyValue { key, value: Some(value), ..KeyValue::default() })
                    .collect();
                Any::KvlistValue(KeyValueList { values })
            }),
        ]
    });
    prop::option::weighted(0.9, tree.prop_map(|value| AnyValue { value: Some(value) }))
}

/// Keys that mean something and keys that do not.
fn key() -> impl Strategy<Value = String> {
    let known = [
        "messaging.message.id",
        "messaging.system",
        "messaging.destination.name",
        "messaging.operation.type",
        "faas.invocation_id",
        "faas.coldstart",
        "http.response.status_code",
        "http.route",
        "error.type",
        "exception.type",
        "exception.message",
        "correlation_id",
        "workflow.execution_id",
        "service.name",
        "faas.max_memory",
        "cloud.resource_id",
        "db.system",
    ];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), "[a-zA-Z._]{0,8}"]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let pair =
        (key(), any_value()).prop_map(|(key, value)| KeyValue { key, value, ..Default::default() });
    prop::collection::vec(pair, 0..6)
}

/// Mostly valid ids; sometimes none, zeros, or another length.
fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(1_u8..=255, length),
        1 => Just(vec![]),
        1 => Just(vec![0; length]),
        1 => prop::collection::vec(prop::num::u8::ANY, length + 1),
    ]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1_u64..1_000, prop::num::u64::ANY]
}

fn event() -> impl Strategy<Value = Event> {
    let name = prop_oneof![Just("exception".to_owned()), ".{0,4}"];
    (name, attributes()).prop_map(|(name, attributes)| Event {
        name,
        attributes,
        ..Event::default()
    })
}

fn link() -> impl Strategy<Value = Link> {
    (id(16), id(8), attributes()).prop_map(|(trace_id, span_id, attributes)| Link {
        trace_id,
        span_id,
        attributes,
        trace_state: "a=b".into(),
        flags: 3,
        ..Link::default()
    })
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (id(16), id(8), id(8));
    let told = (".{0,8}", -1_i32..7, time(), time());
    let more = (
        attributes(),
        prop::collection::vec(event(), 0..3),
        prop::collection::vec(link(), 0..3),
        prop::option::of((0..4_i32, ".{0,8}")),
    );
    (ids, told, more).prop_map(|(ids, told, (attributes, events, links, status))| Span {
        trace_id: ids.0,
        span_id: ids.1,
        parent_span_id: ids.2,
        name: told.0,
        kind: told.1,
        start_time_unix_nano: told.2,
        end_time_unix_nano: told.3,
        attributes,
        events,
        links,
        status: status.map(|(code, message)| Status { code, message }),
        trace_state: "x=y".into(),
        dropped_links_count: 3,
        flags: 1,
        ..Span::default()
    })
}

fn log() -> impl Strategy<Value = LogRecord> {
    let body = prop_oneof![
        any_value(),
        Just(Some(AnyValue {
            value: Some(Any::StringValue(r#"{"requestId":"r","level":"warn"}"#.into()))
        })),
    ];
    (time(), time(), -1_i32..26, "[a-z]{0,5}", body, (attributes(), id(16), id(8))).prop_map(
        |(time, observed, severity, word, body, (attributes, trace_id, span_id))| LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: observed,
            severity_number: severity,
            severity_text: word,
            body,
            attributes,
            trace_id,
            span_id,
            flags: 1,
            event_name: "e".into(),
            ..LogRecord::default()
        },
    )
}

fn trace_request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope = prop::collection::vec(span(), 0..3).prop_map(|spans| ScopeSpans {
        spans,
        schema_url: "u".into(),
        ..ScopeSpans::default()
    });
    let by_resource = (prop::option::of(attributes()), prop::collection::vec(scope, 0..3))
        .prop_map(|(attributes, scope_spans)| ResourceSpans {
            resource: attributes.map(|attributes| Resource { attributes, ..Resource::default() }),
            scope_spans,
            schema_url: "u".into(),
        });
    prop::collection::vec(by_resource, 0..3)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn log_request() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope = prop::collection::vec(log(), 0..4)
        .prop_map(|log_records| ScopeLogs { log_records, ..ScopeLogs::default() });
    let by_resource = (prop::option::of(attributes()), prop::collection::vec(scope, 0..3))
        .prop_map(|(attributes, scope_logs)| ResourceLogs {
            resource: attributes.map(|attributes| Resource { attributes, ..Resource::default() }),
            scope_logs,
            ..ResourceLogs::default()
        });
    prop::collection::vec(by_resource, 0..3)
        .prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

fn plain(value: &AnyValue) -> Option<Value> {
    Some(match value.value.as_ref()? {
        Any::StringValue(text) => Value::Str(text.as_str().into()),
        Any::BoolValue(truth) => Value::Bool(*truth),
        Any::IntValue(n) => Value::Int(*n),
        Any::DoubleValue(x) => Value::Float(*x),
        Any::ArrayValue(list) => Value::List(list.values.iter().filter_map(plain).collect()),
        Any::KvlistValue(map) => Value::Map(
            map.values
                .iter()
                .filter_map(|p| Some((p.key.as_str().into(), plain(p.value.as_ref()?)?)))
                .collect(),
        ),
        Any::BytesValue(bytes) => Value::Str(base64(bytes).into()),
        Any::StringValueStrindex(_) => return None,
    })
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn kept(pairs: &[KeyValue]) -> Attributes {
    let said = pairs.iter().filter(|pair| !pair.key.is_empty());
    Attributes(
        said.filter_map(|p| Some((p.key.as_str().into(), plain(p.value.as_ref()?)?))).collect(),
    )
}

fn raw_span<'a>(span: &'a Span, gather: &Gather<'_>) -> RawSpan<'a> {
    let mut raw = RawSpan {
        trace_id: Id::<TraceId>::from_bytes(&span.trace_id),
        span_id: Id::<SpanId>::from_bytes(&span.span_id),
        parent_id: Id::<SpanId>::from_bytes(&span.parent_span_id),
        kind: span.kind,
        name: Cow::Borrowed(&span.name),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: kept(&span.attributes),
        links: Vec::new(),
        exception: None,
        status: span.status.as_ref().map_or(0, |status| status.code),
        status_message: span.status.as_ref().map_or("", |status| &status.message).into(),
    };
    for event in &span.events {
        note_exception(&event.name, kept(&event.attributes), gather, &mut raw.exception);
    }
    raw.links.extend(span.links.iter().map(|link| RawLink {
        trace_id: Id::<TraceId>::from_bytes(&link.trace_id),
        span_id: Id::<SpanId>::from_bytes(&link.span_id),
        attributes: kept(&link.attributes),
    }));
    raw
}

fn raw_log(log: &LogRecord) -> RawLog<'_> {
    let mut attributes = kept(&log.attributes);
    attributes.0.push(("event.name".into(), Value::Str(log.event_name.as_str().into())));
    RawLog {
        time: log.time_unix_nano,
        observed: log.observed_time_unix_nano,
        severity: log.severity_number,
        severity_text: Cow::Borrowed(&log.severity_text),
        body: log.body.as_ref().and_then(plain),
        attributes,
        trace_id: Id::<TraceId>::from_bytes(&log.trace_id),
        span_id: Id::<SpanId>::from_bytes(&log.span_id),
    }
}

fn resource(resource: Option<&Resource>, gather: &mut Gather<'_>) -> u32 {
    gather.resource(kept(resource.map_or(&[], |resource| &resource.attributes)))
}

fn spans_by_prost(request: &ExportTraceServiceRequest, config: &Config) -> Normalized {
    let origin = origin();
    let mut gather = Gather::new(Receiver::OtlpHttp, &origin, config);
    for by_resource in &request.resource_spans {
        let resource = resource(by_resource.resource.as_ref(), &mut gather);
        for span in by_resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            let raw = raw_span(span, &gather);
            gather.span(resource, 0, raw).unwrap();
        }
    }
    gather.finish()
}

fn logs_by_prost(request: &ExportLogsServiceRequest, config: &Config) -> Normalized {
    let origin = origin();
    let mut gather = Gather::new(Receiver::OtlpHttp, &origin, config);
    for by_resource in &request.resource_logs {
        let resource = resource(by_resource.resource.as_ref(), &mut gather);
        for log in by_resource.scope_logs.iter().flat_map(|scope| &scope.log_records) {
            gather.log(resource, 0, raw_log(log)).unwrap();
        }
    }
    gather.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn json_value(value: &AnyValue) -> Json {
    match &value.value {
        None => json!({}),
        Some(Any::StringValue(text)) => json!({"stringValue": text}),
        Some(Any::BoolValue(truth)) => json!({"boolValue": truth}),
        Some(Any::IntValue(n)) => json!({"intValue": n.to_string()}),
        Some(Any::DoubleValue(x)) => json!({"doubleValue": x}),
        Some(Any::ArrayValue(list)) => {
            let values: Vec<Json> = list.values.iter().map(json_value).collect();
            json!({"arrayValue": {"values": values}})
        }
        Some(Any::KvlistValue(map)) => json!({"kvlistValue": {"values": json_pairs(&map.values)}}),
        Some(Any::BytesValue(bytes)) => json!({"bytesValue": base64(bytes)}),
        Some(Any::StringValueStrindex(n)) => json!({"stringValueStrindex": n}),
    }
}

fn json_pairs(pairs: &[KeyValue]) -> Json {
    pairs.iter().map(|p| json!({"key": p.key, "value": p.value.as_ref().map(json_value)})).collect()
}

fn json_span(span: &Span) -> Json {
    let events = span
        .events
        .iter()
        .map(|event| json!({"name": event.name, "attributes": json_pairs(&event.attributes)}));
    let links = span.links.iter().map(|link| {
        json!({
            "traceId": hex(&link.trace_id),
            "spanId": hex(&link.span_id),
            "attributes": json_pairs(&link.attributes),
        })
    });
    json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "parentSpanId": hex(&span.parent_span_id),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start_time_unix_nano.to_string(),
        "endTimeUnixNano": span.end_time_unix_nano,
        "attributes": json_pairs(&span.attributes),
        "events": events.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "status": span.status.as_ref().map(|s| json!({"code": s.code, "message": s.message})),
    })
}

fn json_request(request: &ExportTraceServiceRequest) -> String {
    let by_resource = request.resource_spans.iter().map(|by_resource| {
        let scopes = by_resource
            .scope_spans
            .iter()
            .map(|scope| json!({"spans": scope.spans.iter().map(json_span).collect::<Vec<_>>()}));
        let resource = by_resource.resource.as_ref();
        json!({
            "resource": resource.map(|r| json!({"attributes": json_pairs(&r.attributes)})),
            "scopeSpans": scopes.collect::<Vec<_>>(),
        })
    });
    json!({"resourceSpans": by_resource.collect::<Vec<_>>()}).to_string()
}

fn both(bytes: &[u8], signal: OtlpSignal) {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let _ = read(bytes, signal, encoding, &Config::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn spans_are_what_prost_holds(request in trace_request()) {
        let config = Config::default();
        let ours = read(&request.encode_to_vec(), OtlpSignal::Traces, Encoding::Protobuf, &config);
        prop_assert_eq!(ours, Ok(spans_by_prost(&request, &config)));
    }

    #[test]
    fn json_says_the_same_as_protobuf(request in trace_request()) {
        let config = Config::default();
        let json = json_request(&request);
        let ours = read(json.as_bytes(), OtlpSignal::Traces, Encoding::Json, &config);
        prop_assert_eq!(ours, Ok(spans_by_prost(&request, &config)));
    }

    #[test]
    fn log_records_are_what_prost_holds(request in log_request()) {
        let config = Config::default();
        let ours = read(&request.encode_to_vec(), OtlpSignal::Logs, Encoding::Protobuf, &config);
        prop_assert_eq!(ours, Ok(logs_by_prost(&request, &config)));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for signal in [OtlpSignal::Traces, OtlpSignal::Logs, OtlpSignal::Metrics] {
            both(&bytes, signal);
        }
    }

    #[test]
    fn no_changed_byte_panics(
        request in trace_request(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for mut bytes in [request.encode_to_vec(), json_request(&request).into_bytes()] {
            for (at, byte) in &changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            both(&bytes, OtlpSignal::Traces);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_cut_body_gives_no_span_that_the_whole_does_not(request in trace_request()) {
        let config = Config::default();
        let whole = spans_by_prost(&request, &config).batch.signals;
        for (bytes, encoding) in [
            (request.encode_to_vec(), Encoding::Protobuf),
            (json_request(&request).into_bytes(), Encoding::Json),
        ] {
            for length in 0..bytes.len() {
                let Ok(cut) = read(&bytes[..length], OtlpSignal::Traces, encoding, &config) else {
                    continue;
                };
                prop_assert_eq!(encoding, Encoding::Protobuf, "half a JSON text is no JSON");
                for (ours, theirs) in cut.batch.signals.iter().zip(&whole) {
                    prop_assert_eq!(&ours.kind, &theirs.kind);
                }
            }
        }
    }
}
