//! Spans in CloudWatch: the records of the log group `aws/spans`, where X-Ray keeps what it takes.
//!
//! A record in: a span in the names of OpenTelemetry, its attributes and its resource's as plain objects,
//! times as numbers of nanoseconds, kind and status as words. A span out, known by its ids, so that the
//! same span by OTLP or as a segment document counts once.
//! Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Transaction-Search.html

use serde_json::Value;

use super::config::Fields;
use super::gather::{Speaker, Told};
use super::json_fields::{Object, attribute, count, lookup, text};
use super::redact::Redactor;
use super::semconv::{self, Exception, LinkView, SpanStatus, SpanView};
use super::shorten::shorten;
use crate::signal::{
    Attributes, Resource, SignalKind, Span, SpanId, SpanKind, SpanLink, Text, Timestamp,
    TraceContext, TraceId, span_identity,
};

/// The log group.
const GROUP: &str = "aws/spans";
/// Longest name kept, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// OpenTelemetry SDKs keep 128 links by default.
const LINKS_MAX: usize = 128;

/// What surrounds a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) fields: &'a Fields,
    pub(super) redactor: &'a Redactor,
    pub(super) account: &'a str,
}

/// A span, who speaks, and how it is known.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) identity: u128,
    pub(super) speaker: Resource,
    pub(super) told: Told,
}

/// Whether records of this log group are spans.
pub(super) fn is_group(log_group: &str) -> bool {
    log_group == GROUP
}

/// Reads a record.
///
/// # Errors
/// What it lacks to be a span.
pub(super) fn read(record: &Object, around: Around<'_>) -> Result<Read, &'static str> {
    let trace_id = text(record, "traceId").and_then(TraceId::from_hex);
    let span_id = text(record, "spanId").and_then(SpanId::from_hex);
    let (Some(trace_id), Some(span_id)) = (trace_id, span_id) else {
        return Err("traceId is no trace id, or spanId no span id");
    };
    let start = nanos(record, "startTimeUnixNano").ok_or("startTimeUnixNano is missing")?;
    let took = || record.get("durationNano").and_then(count);
    let end = nanos(record, "endTimeUnixNano")
        .or_else(|| Some(start.saturating_add(std::time::Duration::from_nanos(took()?))))
        .ok_or("neither endTimeUnixNano nor durationNano is there")?;
    let mut speaker = semconv::resource::resource(
        attributes(lookup(record, "resource.attributes"), around.redactor),
        None,
    );
    if speaker.account.is_none() && !around.account.is_empty() {
        speaker.account = Some(Text::from(around.account));
    }
    let attributes = attributes(record.get("attributes"), around.redactor);
    let kind = kind(record);
    let name = text(record, "name").unwrap_or_default();
    let links = links(record, around.redactor);
    let exception = exception(record);
    let view = SpanView {
        kind,
        name,
        start,
        status: status(record),
        status_message: text(record, "status.message").unwrap_or_default(),
        exception: exception.as_ref(),
        attributes: &attributes,
        links: &links,
        function: speaker.function.as_deref(),
    };
    let read = semconv::span(&view, around.fields);
    let parent_id = text(record, "parentSpanId").and_then(SpanId::from_hex);
    // A span with a parent knows its caller already.
    let caller = read.caller.filter(|_| parent_id.is_none()).and_then(|caller| {
        Some(SpanLink { trace_id: caller.trace_id, span_id: caller.span_id?, message_id: None })
    });
    let span = Span {
        trace_id,
        span_id,
        parent_id,
        kind,
        name: Text::from(shorten(name, NAME_BYTES_MAX)),
        start,
        end,
        failed: read.failed,
        links: links.iter().filter_map(link).chain(caller).collect(),
        facts: read.facts,
        attributes,
    };
    let told = Told {
        kind: SignalKind::Span(Box::new(span)),
        speaker: Speaker::default(),
        event: None,
        points: Vec::new(),
    };
    Ok(Read { identity: span_identity(&trace_id, span_id), speaker, told })
}

fn nanos(record: &Object, name: &str) -> Option<Timestamp> {
    let nanos = record.get(name).and_then(count).filter(|nanos| *nanos > 0)?;
    // The end of what signed nanoseconds hold.
    i64::try_from(nanos).is_ok().then(|| Timestamp::from_nanos(nanos))
}

/// A plain object, redacted; what is null is not there.
fn attributes(object: Option<&Value>, redactor: &Redactor) -> Attributes {
    let entries = object.and_then(Value::as_object).into_iter().flatten();
    let entries = entries.filter(|(key, value)| !key.is_empty() && !value.is_null());
    let named = |(key, value): (&String, &Value)| {
        (Text::from(shorten(key, NAME_BYTES_MAX)), attribute(value, 4))
    };
    let mut attributes = Attributes(entries.take(Attributes::MAX).map(named).collect());
    redactor.attributes(&mut attributes);
    attributes
}

/// `SERVER`, or as protobuf's JSON says it: `SPAN_KIND_SERVER`.
fn kind(record: &Object) -> SpanKind {
    let word = text(record, "kind").unwrap_or_default();
    match word.strip_prefix("SPAN_KIND_").unwrap_or(word) {
        "SERVER" => SpanKind::Server,
        "CLIENT" => SpanKind::Client,
        "PRODUCER" => SpanKind::Producer,
        "CONSUMER" => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

fn status(record: &Object) -> SpanStatus {
    let word = text(record, "status.code").unwrap_or_default();
    match word.strip_prefix("STATUS_CODE_").unwrap_or(word) {
        "OK" => SpanStatus::Ok,
        "ERROR" => SpanStatus::Error,
        _ => SpanStatus::Unset,
    }
}

fn links(record: &Object, redactor: &Redactor) -> Vec<LinkView> {
    let links = record.get("links").and_then(Value::as_array).into_iter().flatten();
    let each = links.filter_map(Value::as_object).take(LINKS_MAX);
    each.filter_map(|link| {
        let trace_id = text(link, "traceId").and_then(TraceId::from_hex)?;
        let span_id = text(link, "spanId").and_then(SpanId::from_hex);
        let context = TraceContext { trace_id, span_id };
        Some(LinkView { context, attributes: attributes(link.get("attributes"), redactor) })
    })
    .collect()
}

fn link(view: &LinkView) -> Option<SpanLink> {
    let span_id = view.context.span_id?;
    Some(SpanLink { trace_id: view.context.trace_id, span_id, message_id: view.message_id() })
}

/// The last exception that the span's events tell. Names of attributes hold dots, so they are keys.
fn exception(record: &Object) -> Option<Exception> {
    let events = record.get("events")?.as_array()?;
    let last = events.iter().rev().find(|event| event["name"] == "exception")?;
    let told = last.get("attributes").and_then(Value::as_object)?;
    let part = |name: &str| text(told, name).map(Text::from);
    Some(Exception { kind: part("exception.type"), message: part("exception.message") })
}
