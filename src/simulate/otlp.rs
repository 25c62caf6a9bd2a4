//! Runs as OpenTelemetry spans, by the semantic conventions 1.44 (`faas`, `messaging`, `db`, `http`,
//! `rpc`), and these where they have no name: `correlation_id`, `messaging.message.sent_timestamp` (ms),
//! `messaging.message.delivery_attempt`, `messaging.dead_letter.source`.
//!
//! A head span for the invocation, a CONSUMER span below it for each message of a queue, CLIENT and
//! PRODUCER spans for what it did. With context, messages are joined by links (queues) or parents (the
//! bus); without, every invocation begins a trace of its own.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};

use super::book::timeout_text;
use super::config::Own;
use super::exporter::{InstanceSpan, Item, Told};
use super::instances::whole_millis;
use super::plan::{ACCOUNT, Function, REGION, SERVICE, VERSION};
use super::run::{Failure, Position, Run, Step, Taken, What};
use super::wire::system;
use crate::signal::{SpanId, Text, Timestamp, Via};

/// W3C trace flags: sampled.
const SAMPLED: u32 = 1;

pub(super) fn resource(function: Function, instance: &str) -> Resource {
    let attributes = vec![
        text("service.name", SERVICE),
        text("faas.name", function.as_str()),
        text("faas.version", VERSION),
        text("faas.instance", instance),
        int("faas.max_memory", i64::from(function.memory_mb()) << 20),
        text("cloud.provider", "aws"),
        text("cloud.platform", "aws_lambda"),
        text("cloud.region", REGION),
        text("cloud.account.id", ACCOUNT),
        text("cloud.resource_id", function.arn()),
    ];
    Resource { attributes, ..Resource::default() }
}

pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "shop".to_owned(), ..InstrumentationScope::default() }
}

/// All spans of a run. One that was stopped at its timeout never exports its spans; only where no trace
/// header leads to it does its SDK's guard tell of it.
pub(super) fn spans(run: &Run, own: Own) -> Vec<Told> {
    if run.is_timed_out() && own == Own::Spans {
        return Vec::new();
    }
    let mut spans = vec![head(run, own)];
    spans.extend(run.steps.iter().map(|step| step_span(run, step, Below::Head)));
    for taken in &run.taken {
        if taken.message.via == Via::Queue {
            spans.push(message_span(run, taken, own));
        }
        spans.extend(taken.steps.iter().map(|step| step_span(run, step, Below::Message(taken))));
    }
    let told = |span: Span| Told {
        ready: Timestamp::from_nanos(span.end_time_unix_nano),
        item: Item::Span(Box::new(InstanceSpan { instance: Text::clone(&run.instance), span })),
    };
    spans.into_iter().map(told).collect()
}

fn head(run: &Run, own: Own) -> Span {
    let name = match (&run.http, run.taken.first()) {
        (Some(http), _) => format!("{} {}", http.method, http.route),
        (None, Some(taken)) => format!("{} process", taken.message.queue),
        (None, None) => run.function.as_str().to_owned(),
    };
    let kind = if run.taken.is_empty() { SpanKind::Server } else { SpanKind::Consumer };
    let mut span = span(run, run.position.span, &name, kind);
    span.parent_span_id = run.parent.map_or_else(Vec::new, |parent| parent.span.0.to_vec());
    span.start_time_unix_nano = run.start.as_nanos();
    span.end_time_unix_nano = run.end.as_nanos();
    span.attributes.push(text("faas.invocation_id", &run.invocation_id));
    span.attributes.push(text("faas.trigger", trigger(run.via)));
    span.attributes.push(boolean("faas.coldstart", run.init.is_some()));
    span.attributes.extend(run.correlation_id.as_ref().map(|id| text("correlation_id", id)));
    if let Some(state) = &run.state {
        span.attributes.push(text("workflow.execution_id", &state.execution));
        span.attributes.push(text("workflow.state", state.name));
        span.attributes.push(int("workflow.retry_count", i64::from(state.n_retries)));
    }
    if let Some(http) = &run.http {
        span.attributes.push(text("http.request.method", http.method));
        span.attributes.push(text("http.route", http.route));
        span.attributes.push(int("http.response.status_code", i64::from(http.status)));
    }
    name_messages(run, own, &mut span);
    if run.is_timed_out() {
        fail(&mut span, &Failure::new("TaskTimedOut", timeout_text(run.function)));
    }
    if let Some(failure) = run.ending.failure() {
        fail(&mut span, failure);
    }
    span
}

/// `faas.trigger`; `invoke` is ours, for what the conventions call `other`.
const fn trigger(via: Via) -> &'static str {
    match via {
        Via::Http => "http",
        Via::Workflow => "workflow",
        Via::Queue | Via::Stream | Via::EventBus | Via::Topic => "pubsub",
        _ => "invoke",
    }
}

/// The head names what it took up: by links where messages of a queue carry a context, else by ids.
fn name_messages(run: &Run, own: Own, span: &mut Span) {
    let Some(first) = run.taken.first() else { return };
    span.attributes.extend(messaging(first, "process"));
    if let Some(source) = first.message.dead_letter_source {
        span.attributes.push(text("messaging.dead_letter.source", source));
    }
    let is_linked = |taken: &&Taken| taken.message.via == Via::Queue && own == Own::Spans;
    span.links.extend(run.taken.iter().filter(is_linked).filter_map(link));
    if !span.links.is_empty() {
        return;
    }
    match run.taken.as_slice() {
        [only] => span.attributes.extend(of_message(only)),
        many => {
            let ids = many.iter().map(|taken| string(&taken.message.id)).collect();
            let list = Value::ArrayValue(ArrayValue { values: ids });
            span.attributes.push(attribute("messaging.message.id", list));
        }
    }
}

/// The processing of one message of a queue.
fn message_span(run: &Run, taken: &Taken, own: Own) -> Span {
    let name = format!("{} process", taken.message.queue);
    let mut span = span(run, taken.span, &name, SpanKind::Consumer);
    span.parent_span_id = run.position.span.0.to_vec();
    span.start_time_unix_nano = taken.start.as_nanos();
    span.end_time_unix_nano = taken.end.as_nanos();
    span.attributes.extend(messaging(taken, "process"));
    span.attributes.extend(of_message(taken));
    let conversation = taken.message.correlation_id();
    span.attributes.extend(conversation.map(|id| text("messaging.message.conversation_id", id)));
    if let Some(source) = taken.message.dead_letter_source {
        span.attributes.push(text("messaging.dead_letter.source", source));
    }
    if own == Own::Spans {
        span.links.extend(link(taken));
    }
    if let Some(failure) = &taken.failure {
        fail(&mut span, failure);
    }
    span
}

fn link(taken: &Taken) -> Option<Link> {
    let Position { trace, span } = taken.message.position?;
    Some(Link {
        trace_id: trace.0.to_vec(),
        span_id: span.0.to_vec(),
        attributes: of_message(taken),
        flags: SAMPLED,
        ..Link::default()
    })
}

fn messaging(taken: &Taken, operation: &'static str) -> [KeyValue; 4] {
    [
        text("messaging.system", system(taken.message.via)),
        text("messaging.destination.name", taken.message.queue),
        text("messaging.operation.type", operation),
        text("messaging.operation.name", operation),
    ]
}

fn of_message(taken: &Taken) -> Vec<KeyValue> {
    let message = &taken.message;
    let mut attributes = vec![
        text("messaging.message.id", &message.id),
        int("messaging.message.sent_timestamp", message.sent.as_millis()),
    ];
    if message.via == Via::Queue {
        let attempt = i64::from(message.n_receives);
        attributes.push(int("messaging.message.delivery_attempt", attempt));
    }
    attributes
}

/// What a step's span hangs below.
#[derive(Clone, Copy, Debug)]
enum Below<'a> {
    Head,
    Message(&'a Taken),
}

fn step_span(run: &Run, step: &Step, below: Below<'_>) -> Span {
    let is_send = matches!(step.what, What::Send { .. });
    let kind = if is_send { SpanKind::Producer } else { SpanKind::Client };
    let (parent, correlation_id) = match below {
        Below::Head => (run.position.span, run.correlation_id.as_deref()),
        Below::Message(taken) => (taken.span, taken.message.correlation_id()),
    };
    let mut span = span(run, step.span, &step_name(&step.what), kind);
    span.parent_span_id = parent.0.to_vec();
    span.start_time_unix_nano = step.start.as_nanos();
    span.end_time_unix_nano = step.end.as_nanos();
    span.attributes = step_attributes(step);
    if let (true, Some(id)) = (is_send, correlation_id) {
        span.attributes.push(text("messaging.message.conversation_id", id));
    }
    if let Some(failure) = &step.failure {
        fail(&mut span, failure);
    }
    span
}

fn step_name(what: &What) -> String {
    match what {
        What::Database { operation, table } => format!("{operation} {table}"),
        What::Http { method, .. } => (*method).to_owned(),
        What::Invoke(function) => format!("{} invoke", function.as_str()),
        What::Send { queue, .. } => format!("{queue} send"),
    }
}

fn step_attributes(step: &Step) -> Vec<KeyValue> {
    match &step.what {
        What::Database { operation, table } => vec![
            text("db.system.name", "aws.dynamodb"),
            text("db.operation.name", *operation),
            text("db.collection.name", *table),
        ],
        What::Http { host, method } => {
            let mut attributes = vec![
                text("http.request.method", *method),
                text("server.address", *host),
                text("url.full", format!("https://{host}/v1")),
            ];
            if step.failure.is_none() {
                attributes.push(int("http.response.status_code", 200));
            }
            attributes
        }
        What::Invoke(function) => {
            let throttled = step.failure.as_ref().is_some_and(|f| f.kind.contains("TooMany"));
            vec![
                text("rpc.system", "aws-api"),
                text("rpc.service", "Lambda"),
                text("rpc.method", "Invoke"),
                text("faas.invoked_name", function.as_str()),
                text("faas.invoked_provider", "aws"),
                text("faas.invoked_region", REGION),
                int("http.response.status_code", if throttled { 429 } else { 200 }),
            ]
        }
        What::Send { message_id, queue, via } => vec![
            text("messaging.system", system(*via)),
            text("messaging.destination.name", *queue),
            text("messaging.operation.type", "send"),
            text("messaging.operation.name", "send"),
            text("messaging.message.id", message_id),
            int("messaging.message.sent_timestamp", whole_millis(step.start).as_millis()),
        ],
    }
}

fn span(run: &Run, id: SpanId, name: &str, kind: SpanKind) -> Span {
    Span {
        trace_id: run.position.trace.0.to_vec(),
        span_id: id.0.to_vec(),
        name: name.to_owned(),
        kind: i32::from(kind),
        flags: SAMPLED,
        ..Span::default()
    }
}

fn fail(span: &mut Span, failure: &Failure) {
    span.attributes.push(text("error.type", failure.kind));
    span.status =
        Some(Status { message: failure.message.clone(), code: i32::from(StatusCode::Error) });
    span.events.push(Event {
        time_unix_nano: span.end_time_unix_nano,
        name: "exception".to_owned(),
        attributes: vec![
            text("exception.type", failure.kind),
            text("exception.message", &failure.message),
        ],
        ..Event::default()
    });
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn string(value: impl Into<String>) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.into())) }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn boolean(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}
