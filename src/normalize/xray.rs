//! AWS X-Ray segment documents: spans in the names of OpenTelemetry.
//!
//! In: documents alone, after each other, in an array, as text in a `PutTraceSegments` call or a
//! `BatchGetTraces` answer, or behind the daemon's header line. Out: a span for each segment and
//! subsegment, embedded or independent, with the facts that the conventions' attributes tell.
//!
//! A document in progress is filtered: the whole one follows under the same id. Where Lambda's own
//! segment tells attempts, each attempt is the run and the segment around them, with the time that the
//! event waited, is none: it is filtered. Metadata stays out, since X-Ray itself does not search it.
//! Source: docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html

use serde_json::Value;

use super::aws_names::{function_arn, resource_name};
use super::gather::{Gather, Speaker, Told};
use super::json_fields::{Object, attribute, is_placeholder, lookup, number, text};
use super::pieces::{DEPTH_MAX, is_within_depth};
use super::redact::Redactor;
use super::semconv::{self, Exception, LinkView, SpanStatus, SpanView};
use super::shorten::shorten;
use super::trace_header::x_amzn_trace_id;
use super::{Config, Normalized, Origin, Undecodable};
use crate::number::u64_from_f64;
use crate::signal::{
    self, Attributes, Receiver, Resource, SignalKind, Span, SpanId, SpanKind, SpanLink, Text,
    Timestamp, TraceContext, TraceId, span_identity,
};

/// Longest name kept, in bytes; X-Ray's own limit is 200.
const NAME_BYTES_MAX: usize = 512;
/// Most links of one segment; X-Ray's own limit is 20.
const LINKS_MAX: usize = 128;

/// Reads a body of `/ingest/aws/xray`.
pub fn normalize(body: &[u8], origin: &Origin, config: &Config) -> Result<Normalized, Undecodable> {
    if body.trim_ascii().is_empty() {
        return Err(Undecodable { offset: 0, message: "the body is empty".to_owned() });
    }
    let redactor = Redactor::new(&config.redact);
    let mut gather = Gather::new(Receiver::Xray, origin, &redactor);
    let nobody = gather.nobody();
    gather.objects(body, "no segment document", |object, gather| {
        Intake { gather, nobody: &nobody, redactor: &redactor, config }.envelope(object);
    });
    gather.finish_readable()
}

struct Intake<'a> {
    gather: &'a mut Gather,
    nobody: &'a Resource,
    redactor: &'a Redactor,
    config: &'a Config,
}

/// What a subsegment has of the segment around it.
#[derive(Clone)]
struct Above {
    trace_id: TraceId,
    parent: SpanId,
    speaker: Speaker,
    /// The request id, where each attempt of it is a run of its own.
    attempts_of: Option<Text>,
}

impl Intake<'_> {
    /// A document, or what holds documents as text.
    fn envelope(&mut self, object: &Object) {
        if let Some(Value::Array(documents)) = object.get("TraceSegmentDocuments") {
            documents.iter().for_each(|document| self.packed(document));
        } else if let Some(Value::Array(traces)) = object.get("Traces") {
            let segments = traces.iter().filter_map(|trace| trace.get("Segments")?.as_array());
            let documents = segments.flatten().map(|s| s.get("Document").unwrap_or(&Value::Null));
            documents.for_each(|document| self.packed(document));
        } else if object.contains_key("format") && !object.contains_key("id") {
            // The header line of the daemon's datagrams: {"format": "json", "version": 1}.
        } else {
            self.document(object);
        }
    }

    fn packed(&mut self, document: &Value) {
        let parsed = document.as_str().and_then(|text| serde_json::from_str(text).ok());
        match parsed.filter(|value| is_within_depth(value, DEPTH_MAX)) {
            Some(Value::Object(object)) => self.document(&object),
            _ => self.gather.reject("a segment document is JSON as text"),
        }
    }

    fn document(&mut self, document: &Object) {
        let trace_id = text(document, "trace_id").and_then(trace_id);
        let Some(trace_id) = trace_id else {
            return self.gather.reject("trace_id is no trace id, as 1-8 digits-24 digits");
        };
        let parent = text(document, "parent_id").and_then(SpanId::from_hex);
        let is_segment = text(document, "type") != Some("subsegment");
        if !is_segment && parent.is_none() {
            return self.gather.reject("an independent subsegment needs a parent_id");
        }
        // An independent subsegment does not say whose it is: it is found by its parent.
        let speaker = if is_segment { speaker(document) } else { Speaker::default() };
        let attempts_of = if is_segment { attempts_of(document) } else { None };
        let above = Above { trace_id, parent: SpanId([0; 8]), speaker, attempts_of };
        let role = if is_segment { Role::Segment } else { Role::Subsegment };
        self.span(document, &above, parent, role);
    }

    /// A segment or subsegment and everything in it.
    fn span(&mut self, document: &Object, above: &Above, parent: Option<SpanId>, role: Role) {
        if self.gather.is_full() {
            return;
        }
        let Some(id) = text(document, "id").and_then(SpanId::from_hex) else {
            return self.gather.reject("id is no segment id of 16 hex digits");
        };
        let is_around = role == Role::Segment && above.attempts_of.is_some();
        // What stands around the attempts is no span, so their parent is whoever called.
        let below = Above { parent: id, ..above.clone() };
        let place = Place { above, id, parent, role };
        if is_around || is_true(document, "in_progress") {
            self.gather.filter();
        } else {
            match self.read(document, &place) {
                Ok((identity, told)) => self.gather.accept(Some(identity), self.nobody, told),
                Err(reason) => self.gather.reject(reason),
            }
        }
        let inner = document.get("subsegments").and_then(Value::as_array);
        for subsegment in inner.into_iter().flatten() {
            let Value::Object(subsegment) = subsegment else {
                self.gather.reject("a subsegment is an object");
                continue;
            };
            let is_attempt = is_around
                && text(subsegment, "name").is_some_and(|name| name.starts_with("Attempt"));
            let (role, parent) = match (is_around, is_attempt) {
                (true, true) => (Role::Attempt, parent),
                (true, false) => (Role::Subsegment, parent),
                _ => (Role::Subsegment, Some(below.parent)),
            };
            if is_around && !is_attempt {
                // The time that the event waited is no work of the function.
                self.gather.filter();
                continue;
            }
            self.span(subsegment, &below, parent, role);
        }
    }

    fn read(&self, document: &Object, place: &Place<'_>) -> Result<(u128, Told), &'static str> {
        let start = document.get("start_time").and_then(seconds);
        let end = document.get("end_time").and_then(seconds);
        let (Some(start), Some(end)) = (start, end) else {
            return Err("start_time or end_time is no time in seconds");
        };
        let name = text(document, "name").unwrap_or_default();
        let kind = kind(document, place.role);
        let mut attributes = attributes(document, kind);
        if place.role == Role::Attempt {
            let id = place.above.attempts_of.clone();
            attributes.extend(id.map(|id| named("faas.invocation_id", signal::Value::Str(id))));
        }
        let mut attributes = Attributes(attributes);
        attributes.0.truncate(Attributes::MAX);
        self.redactor.attributes(&mut attributes);
        let links = links(document);
        let exception = exception(document);
        let status = status(document, exception.is_some());
        let function = place.above.speaker.function.as_deref();
        let view = SpanView {
            kind,
            name,
            start,
            status,
            status_message: if is_true(document, "throttle") { "throttled" } else { "" },
            exception: exception.as_ref(),
            attributes: &attributes,
            links: &links,
            function,
        };
        let read = semconv::span(&view, &self.config.fields);
        let span = Span {
            trace_id: place.above.trace_id,
            span_id: place.id,
            parent_id: place.parent,
            kind,
            name: Text::from(shorten(name, NAME_BYTES_MAX)),
            start,
            end,
            failed: read.failed,
            links: links.iter().filter_map(link).collect(),
            facts: read.facts,
            attributes,
        };
        let told = Told {
            kind: SignalKind::Span(Box::new(span)),
            speaker: place.above.speaker.clone(),
            event: None,
            points: Vec::new(),
        };
        Ok((span_identity(&place.above.trace_id, place.id), told))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Segment,
    Subsegment,
    /// `Attempt #n` in Lambda's own segment.
    Attempt,
}

struct Place<'a> {
    above: &'a Above,
    id: SpanId,
    parent: Option<SpanId>,
    role: Role,
}

/// X-Ray's form, or the plain 32 digits that OpenTelemetry's exporters may send.
fn trace_id(text: &str) -> Option<TraceId> {
    TraceId::from_hex(text).or_else(|| x_amzn_trace_id(text).map(|context| context.trace_id))
}

/// Seconds since the epoch with a fraction; to the microsecond, which is all that they hold.
fn seconds(value: &Value) -> Option<Timestamp> {
    // The end of what signed nanoseconds hold.
    let seconds = number(value).filter(|x| *x > 0.0 && *x < 9.2e9)?;
    Some(Timestamp::from_nanos(u64_from_f64((seconds * 1e6).round()) * 1_000))
}

fn is_true(document: &Object, name: &str) -> bool {
    document.get(name) == Some(&Value::Bool(true))
}

/// The request id of Lambda's own segment, where it tells attempts (asynchronous invocations).
fn attempts_of(segment: &Object) -> Option<Text> {
    if text(segment, "origin") != Some("AWS::Lambda") {
        return None;
    }
    let inner = segment.get("subsegments")?.as_array()?;
    let is_attempt = |s: &Value| {
        s.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with("Attempt"))
    };
    inner.iter().any(is_attempt).then_some(())?;
    text(segment, "aws.request_id").map(Text::from)
}

/// Lambda's segments are named by their function; any other names a service.
fn speaker(segment: &Object) -> Speaker {
    let arn = ["resource_arn", "aws.function_arn"].iter().find_map(|name| text(segment, name));
    let arn = arn.and_then(function_arn);
    let origin = text(segment, "origin").unwrap_or_default();
    let name = text(segment, "name").map(Text::from);
    let is_function = arn.is_some() || origin.starts_with("AWS::Lambda");
    let owned = |text: &str| Some(Text::from(text));
    let function =
        arn.and_then(|arn| owned(arn.name)).or_else(|| name.clone().filter(|_| is_function));
    Speaker {
        service: name.filter(|_| !is_function),
        function,
        version: arn
            .and_then(|arn| arn.version)
            .or_else(|| text(segment, "service.version"))
            .map(Text::from),
        account: arn
            .map(|arn| arn.account)
            .or_else(|| text(segment, "aws.account_id"))
            .map(Text::from),
        region: arn.map(|arn| arn.region).map(Text::from),
        ..Speaker::default()
    }
}

fn kind(document: &Object, role: Role) -> SpanKind {
    match role {
        // The function's own segment is the inside of Lambda's, which has the request id.
        Role::Segment if text(document, "origin") == Some("AWS::Lambda::Function") => {
            match text(document, "parent_id") {
                Some(_) => SpanKind::Internal,
                None => SpanKind::Server,
            }
        }
        Role::Segment | Role::Attempt => SpanKind::Server,
        Role::Subsegment => match text(document, "namespace") {
            Some("aws") if sends(document) => SpanKind::Producer,
            Some("aws" | "remote") => SpanKind::Client,
            _ if document.contains_key("sql") => SpanKind::Client,
            _ => SpanKind::Internal,
        },
    }
}

fn sends(document: &Object) -> bool {
    let operations = [
        "SendMessage",
        "SendMessageBatch",
        "Publish",
        "PublishBatch",
        "PutRecord",
        "PutRecords",
        "PutEvents",
    ];
    text(document, "aws.operation").is_some_and(|operation| operations.contains(&operation))
}

fn named(name: &'static str, value: signal::Value) -> (Text, signal::Value) {
    (Text::from(name), value)
}

/// What the document says, by the names of the conventions; annotations keep theirs.
fn attributes(document: &Object, kind: SpanKind) -> Vec<(Text, signal::Value)> {
    const SAME: [(&str, &str); 22] = [
        ("http.request.method", "http.request.method"),
        ("http.request.url", "url.full"),
        ("http.request.client_ip", "client.address"),
        ("http.request.user_agent", "user_agent.original"),
        ("http.response.status", "http.response.status_code"),
        ("http.response.content_length", "http.response.body.size"),
        ("user", "enduser.id"),
        ("origin", "aws.xray.origin"),
        ("aws.operation", "rpc.method"),
        ("aws.request_id", "aws.request_id"),
        ("aws.region", "cloud.region"),
        ("aws.account_id", "cloud.account.id"),
        ("aws.retries", "aws.retries"),
        ("aws.table_name", "aws.dynamodb.table_names"),
        ("aws.function_name", "faas.invoked_name"),
        ("aws.message_id", "messaging.message.id"),
        ("aws.MessageId", "messaging.message.id"),
        ("aws.elastic_beanstalk.environment_name", "deployment.environment.name"),
        ("aws.ec2.instance_id", "host.id"),
        ("aws.ecs.container", "container.name"),
        ("aws.eks.pod", "k8s.pod.name"),
        ("sql.database_type", "db.system.name"),
    ];
    let mut found: Vec<(Text, signal::Value)> = SAME
        .iter()
        .filter_map(|(path, name)| {
            let value = lookup(document, path).filter(|value| !value.is_null())?;
            Some(named(name, attribute(value, 2)))
        })
        .collect();
    let is_call = matches!(kind, SpanKind::Client | SpanKind::Producer);
    if let Some(name) = text(document, "name").filter(|_| is_call) {
        let peer = signal::Value::Str(Text::from(shorten(name, NAME_BYTES_MAX)));
        let is_aws = text(document, "namespace") == Some("aws");
        found.push(named(if is_aws { "rpc.service" } else { "peer.service" }, peer));
    }
    if text(document, "origin") == Some("AWS::Lambda") {
        let id = text(document, "aws.request_id").map(Text::from);
        found.extend(id.map(|id| named("faas.invocation_id", signal::Value::Str(id))));
    }
    if kind == SpanKind::Producer {
        found.extend(destination(document));
    }
    let annotations = document.get("annotations").and_then(Value::as_object);
    for (key, value) in annotations.into_iter().flatten() {
        if !key.is_empty() && found.len() < Attributes::MAX {
            let key = Text::from(shorten(key, NAME_BYTES_MAX));
            found.push((key, attribute(value, 2)));
        }
    }
    found
}

/// Where a message was sent to.
fn destination(document: &Object) -> Vec<(Text, signal::Value)> {
    const PLACES: [(&str, &str); 5] = [
        ("aws.queue_url", "aws_sqs"),
        ("aws.QueueUrl", "aws_sqs"),
        ("aws.topic_arn", "aws.sns"),
        ("aws.stream_name", "aws_kinesis"),
        ("aws.event_bus_name", "aws_eventbridge"),
    ];
    let text_value = |text: &str| signal::Value::Str(Text::from(text));
    let place = PLACES.iter().find_map(|(path, system)| {
        let name = text(document, path).and_then(resource_name)?;
        Some((name, *system))
    });
    let mut found = vec![named("messaging.operation.type", text_value("send"))];
    if let Some((name, system)) = place.filter(|(name, _)| !is_placeholder(name)) {
        found.push(named("messaging.destination.name", text_value(name)));
        found.push(named("messaging.system", text_value(system)));
    }
    found
}

fn links(document: &Object) -> Vec<LinkView> {
    let links = document.get("links").and_then(Value::as_array);
    let each = links.into_iter().flatten().filter_map(Value::as_object).take(LINKS_MAX);
    each.filter_map(|link| {
        let trace_id = text(link, "trace_id").and_then(trace_id)?;
        let span_id = ["id", "span_id"].iter().find_map(|name| text(link, name));
        let span_id = span_id.and_then(SpanId::from_hex);
        let told = link.get("attributes").and_then(Value::as_object).into_iter().flatten();
        let attributes = told
            .take(Attributes::MAX)
            .map(|(key, value)| (Text::from(shorten(key, NAME_BYTES_MAX)), attribute(value, 2)));
        let context = TraceContext { trace_id, span_id };
        Some(LinkView { context, attributes: Attributes(attributes.collect()) })
    })
    .collect()
}

fn link(view: &LinkView) -> Option<SpanLink> {
    let span_id = view.context.span_id?;
    Some(SpanLink { trace_id: view.context.trace_id, span_id, message_id: view.message_id() })
}

/// The first exception of the cause; a cause that only names another segment's exception tells none.
fn exception(document: &Object) -> Option<Exception> {
    let exceptions = lookup(document, "cause.exceptions")?.as_array()?;
    let first = exceptions.first()?.as_object()?;
    let part = |name: &str| text(first, name).map(Text::from);
    let exception = Exception { kind: part("type"), message: part("message") };
    (exception != Exception::default()).then_some(exception)
}

/// A fault is the server's, a throttle is told as one, and an error is the caller's: it fails the span
/// that raised it, but not a server that answered 4xx as it should.
fn status(document: &Object, has_exception: bool) -> SpanStatus {
    let code = lookup(document, "http.response.status").and_then(number);
    let is_answer = code.is_some_and(|code| (400.0..500.0).contains(&code));
    let failed = is_true(document, "fault")
        || is_true(document, "throttle")
        || (is_true(document, "error") && (has_exception || !is_answer));
    if failed { SpanStatus::Error } else { SpanStatus::Unset }
}

#[cfg(test)]
#[path = "xray_tests.rs"]
mod tests;
