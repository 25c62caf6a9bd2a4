//! Records that reject themselves, limits, and what is redacted before anything is kept.

use expect_test::{Expect, expect};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span::Link};
use prost::Message;

use super::*;
use crate::signal::LogRecord as KeptLog;

fn request(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn span() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: 10,
        end_time_unix_nano: 20,
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(Any::StringValue(value.into())) }),
        ..KeyValue::default()
    }
}

fn traces(bytes: &[u8]) -> Result<Normalized, Undecodable> {
    read(bytes, OtlpSignal::Traces, Encoding::Protobuf, &Config::default())
}

fn check(spans: Vec<Span>, expect: &Expect) {
    let shown = render(&traces(&request(spans)));
    let short = shown.replace("01010101010101010101010101010101/0202020202020202", "ids");
    expect.assert_eq(&short);
}

#[test]
fn spans_without_ids_or_time_are_rejected_one_by_one() {
    check(
        vec![
            Span { trace_id: vec![], ..span() },
            Span { trace_id: vec![0; 16], ..span() },
            Span { trace_id: vec![1; 8], ..span() },
            Span { span_id: vec![], ..span() },
            Span { span_id: vec![1; 16], ..span() },
            Span { parent_span_id: vec![1; 3], ..span() },
            Span { start_time_unix_nano: 0, end_time_unix_nano: 0, ..span() },
            Span { end_time_unix_nano: u64::MAX, ..span() },
            span(),
        ],
        &expect![[r#"
            span "" Internal 10..20 ids []
            rejected 0: the span has no trace id
            rejected 1: the span has no trace id
            rejected 2: the trace id is not 16 bytes
            rejected 3: the span has no span id
            rejected 4: the span id is not 8 bytes
            rejected 5: the parent's span id is not 8 bytes
            rejected 6: the span has no time
            rejected 7: the span's time is out of range
        "#]],
    );
}

#[test]
fn a_missing_start_is_the_end_and_an_early_end_is_the_start() {
    check(
        vec![
            Span { start_time_unix_nano: 0, ..span() },
            Span { end_time_unix_nano: 0, ..span() },
            Span { end_time_unix_nano: 5, ..span() },
        ],
        &expect![[r#"
            span "" Internal 20..20 ids []
            span "" Internal 10..10 ids []
            span "" Internal 10..10 ids []
            odd: EndsBeforeStart 1 of unknown, 0202020202020202
        "#]],
    );
}

#[test]
fn names_values_and_counts_are_limited() {
    let many = (0..200).map(|i| text(&format!("k{i}"), "v")).collect();
    let long = vec![text("a", &"é".repeat(10_000)), text(&"k".repeat(2000), "v")];
    let read = traces(&request(vec![
        Span { attributes: many, ..span() },
        Span { attributes: long, name: "n".repeat(2000), ..span() },
    ]))
    .unwrap();
    let sizes: Vec<String> = read
        .batch
        .signals
        .iter()
        .filter_map(
            |signal| if let SignalKind::Span(span) = &signal.kind { Some(span) } else { None },
        )
        .map(|span| {
            let lengths = span.attributes.0.iter().map(|(k, v)| k.len() + v.to_text().len());
            format!(
                "{} {} {}",
                span.name.len(),
                span.attributes.0.len(),
                lengths.max().unwrap_or(0)
            )
        })
        .collect();
    expect![[r"
        0 128 5
        1024 2 16385"]]
    .assert_eq(&sizes.join("\n"));
}

#[test]
fn a_span_that_is_broken_inside_rejects_itself_alone() {
    // Within the span: field 9 (attributes) claims more bytes than the span holds.
    let broken = [0x4a, 0x7f, 1];
    let whole = span().encode_to_vec();
    let mut scope = Vec::new();
    for bytes in [&broken[..], &whole] {
        scope.extend([0x12, u8::try_from(bytes.len()).unwrap()]);
        scope.extend(bytes);
    }
    let mut body = Vec::new();
    for _ in 0..2 {
        let tag = if body.is_empty() { 0x12 } else { 0x0a };
        let inner = if body.is_empty() { scope.clone() } else { body };
        body = vec![tag, u8::try_from(inner.len()).unwrap()];
        body.extend(inner);
    }
    expect![[r#"
        span "" Internal 10..20 01010101010101010101010101010101/0202020202020202 []
        rejected 0: a field is longer than what holds it at byte 8
    "#]]
    .assert_eq(&render(&traces(&body)));
}

#[test]
fn groups_and_foreign_bytes_are_undecodable() {
    expect!["undecodable at 0: not OTLP protobuf: groups are not supported at byte 0"]
        .assert_eq(&render(&traces(&[0x0b, 0x0c])));
    expect!["undecodable at 2: not OTLP protobuf: a field is longer than what holds it at byte 2"]
        .assert_eq(&render(&traces(&[0x0a, 0x7f])));
    expect!["undecodable at 0: not OTLP protobuf: a field has the wrong wire type at byte 0"]
        .assert_eq(&render(&traces(&[0x08, 1])));
}

#[test]
fn values_nested_beyond_32_reject_their_span() {
    let mut value = AnyValue { value: Some(Any::IntValue(1)) };
    for _ in 0..32 {
        let values = vec![value];
        let list = opentelemetry_proto::tonic::common::v1::ArrayValue { values };
        value = AnyValue { value: Some(Any::ArrayValue(list)) };
    }
    let pair = KeyValue { key: "deep".into(), value: Some(value), ..KeyValue::default() };
    let shown = render(&traces(&request(vec![Span { attributes: vec![pair], ..span() }])));
    assert!(shown.starts_with("rejected 0: a value is nested too deeply"), "{shown}");
}

#[test]
fn text_that_is_no_utf8_is_shown_with_replacement_characters() {
    let mut body = request(vec![Span { name: "abc".into(), ..span() }]);
    let at = body.windows(3).position(|w| w == b"abc").unwrap();
    body[at + 1] = 0xff;
    expect![[r#"
        span "a�c" Internal 10..20 01010101010101010101010101010101/0202020202020202 []
    "#]]
    .assert_eq(&render(&traces(&body)));
}

#[test]
fn more_records_than_the_limit_are_undecodable() {
    let mut scope = Vec::new();
    for _ in 0..=crate::normalize::gather::RECORDS_MAX {
        scope.extend([0x12, 0]);
    }
    let scope_logs = ScopeLogs::decode(&scope[..]).unwrap();
    let resource_logs =
        vec![ResourceLogs { scope_logs: vec![scope_logs], ..ResourceLogs::default() }];
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let read = read(&body, OtlpSignal::Logs, Encoding::Protobuf, &Config::default());
    let message = read.map(|_| ()).unwrap_err().message;
    assert_eq!(message, "more than 250000 records in one delivery; send smaller ones");
}

fn secretive() -> Config {
    let mut config = Config::default();
    config.redact.drop = vec!["password".into()];
    config.redact.hash = vec!["correlation_id".into(), "user.id".into()];
    config.redact.hash_key = b"key".to_vec();
    config
}

fn logs(records: Vec<LogRecord>, config: &Config) -> Normalized {
    let scope_logs = vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    read(&body, OtlpSignal::Logs, Encoding::Protobuf, config).unwrap()
}

fn with_body(body: &str) -> LogRecord {
    let body = Some(AnyValue { value: Some(Any::StringValue(body.into())) });
    LogRecord { body, ..LogRecord::default() }
}

fn first_log(normalized: &Normalized) -> &KeptLog {
    match &normalized.batch.signals[0].kind {
        SignalKind::Log(log) => log,
        other => panic!("{other:?} is no log record"),
    }
}

#[test]
fn secrets_are_gone_before_anything_is_derived_or_cut() {
    let padding = "x".repeat(70_000);
    let body = format!(r#"{{"pad":"{padding}","password":"hunter2","correlation_id":"c-1"}}"#);
    let read = logs(vec![with_body(&body)], &secretive());
    let log = first_log(&read);
    assert!(!format!("{read:?}").contains("hunter2"));
    assert!(!format!("{read:?}").contains("c-1"));
    assert_eq!(log.body.len(), KeptLog::BODY_BYTES_MAX);
    assert!(log.facts.correlation_ids[0].starts_with("hash:"));
}

#[test]
fn equal_ids_still_join_when_hashed() {
    let attribute = LogRecord {
        attributes: vec![text("correlation_id", "c-1"), text("app.user.id", "u")],
        ..LogRecord::default()
    };
    let by_attribute = logs(vec![attribute], &secretive());
    let by_body = logs(vec![with_body(r#"{"correlation_id":"c-1"}"#)], &secretive());
    let ids = |read: &Normalized| first_log(read).facts.correlation_ids.clone();
    assert_eq!(ids(&by_attribute), ids(&by_body));
    assert!(!format!("{by_attribute:?}").contains("\"u\""));
}

#[test]
fn links_that_name_no_span_are_left_out() {
    let links = vec![
        Link { trace_id: vec![3; 16], span_id: vec![4; 8], ..Link::default() },
        Link { trace_id: vec![3; 16], ..Link::default() },
        Link::default(),
    ];
    let read = traces(&request(vec![Span { links, ..span() }])).unwrap();
    let SignalKind::Span(span) = &read.batch.signals[0].kind else { panic!("no span") };
    assert_eq!(span.links.len(), 1);
}

#[test]
fn a_span_that_comes_twice_has_one_identity_and_a_resource_that_repeats_is_one() {
    let mut body = request(vec![span()]);
    body.extend(request(vec![span(), Span { span_id: vec![9; 8], ..span() }]));
    let read = traces(&body).unwrap();
    let ids: Vec<_> = read.batch.signals.iter().map(|signal| signal.identity).collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
    assert_eq!(read.batch.resources.len(), 1);
}

#[test]
fn log_records_are_known_only_by_an_id_of_their_own() {
    let named = LogRecord { attributes: vec![text("log.record.uid", "1")], ..LogRecord::default() };
    let read = logs(vec![named, LogRecord::default()], &Config::default());
    let ids: Vec<_> = read.batch.signals.iter().map(|signal| signal.identity.is_some()).collect();
    assert_eq!(ids, [true, false]);
}
