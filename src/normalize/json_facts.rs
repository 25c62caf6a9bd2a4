//! Facts of JSON log records: ids, messages, errors and speakers under the names that loggers give them.
//!
//! A [`Reader`] over one record in, [`Facts`], [`Speaker`] and trace position out. Configured names come
//! first; the known ones are those of Lambda's own JSON format, Powertools (all its languages), pino,
//! winston, structlog, zap, ECS and OpenTelemetry's log bridges. Ids are taken as they are told, never
//! guessed from prose.

use std::collections::BTreeSet;

use serde_json::Value;

use super::aws_messages::read_count;
use super::aws_names::{function_arn, resource_name};
use super::config::Fields;
use super::event_time;
use super::gather::Speaker;
use super::json_fields::{Reader, count, id, millis, text, truth};
use super::logged_trace::trace_context;
use super::send_answers;
use super::shorten::shorten;
use super::trigger_events::{self, EventFacts};
use crate::signal::{
    ErrorFact, ErrorKind, Facts, MessageRef, Severity, SpanId, Text, TraceContext, TraceId, Via,
    Workflow,
};

/// Most correlation ids of one record; more than a few are a list of something else.
const CORRELATION_IDS_MAX: usize = 16;
/// Most message ids that one record names: the batches of the platforms' send calls hold 10 to 500.
const MESSAGE_IDS_MAX: usize = send_answers::MESSAGES_MAX;
/// Longest error message kept, in bytes.
const ERROR_BYTES_MAX: usize = 1024;

const INVOCATION: [&str; 18] = [
    "function_request_id",
    "FunctionRequestId",
    "functionRequestId",
    "faas.invocation_id",
    "faas.execution",
    "awsRequestId",
    "aws_request_id",
    "AwsRequestId",
    "AWSRequestId",
    "lambda_request_id",
    "lambdaRequestId",
    "invocation_id",
    "invocationId",
    "requestId",
    "RequestId",
    "request_id",
    "context.awsRequestId",
    "lambda_context.aws_request_id",
];
const CORRELATION: [&str; 7] = [
    "CorrelationId",
    "correlationID",
    "correlation-id",
    "X-Correlation-Id",
    "correlation.id",
    // OpenFaaS names a call so.
    "X-Call-Id",
    "x-call-id",
];
const COLD_START: [&str; 4] = ["cold_start", "ColdStart", "coldStart", "faas.coldstart"];
const FUNCTION: [&str; 7] = [
    "function_name",
    "FunctionName",
    "functionName",
    "faas.name",
    "lambda_function_name",
    "context.functionName",
    "lambda_context.function_name",
];
const ARN: [&str; 5] =
    ["function_arn", "FunctionArn", "functionArn", "invokedFunctionArn", "cloud.resource_id"];
const VERSION: [&str; 4] =
    ["function_version", "FunctionVersion", "functionVersion", "faas.version"];
const MEMORY: [&str; 4] =
    ["function_memory_size", "FunctionMemorySize", "functionMemorySize", "memoryLimitInMB"];
const SERVICE: [&str; 5] = ["service", "Service", "service.name", "serviceName", "service_name"];
const XRAY: [&str; 7] = [
    "xray_trace_id",
    "XrayTraceId",
    "XRayTraceId",
    "xrayTraceId",
    "X-Amzn-Trace-Id",
    "x-amzn-trace-id",
    "traceparent",
];
const TRACE: [&str; 5] = ["trace_id", "traceId", "trace.id", "otelTraceID", "TraceId"];
const SPAN: [&str; 5] = ["span_id", "spanId", "span.id", "otelSpanID", "SpanId"];
const SENT: [&str; 6] = [
    "sent_message_id",
    "sentMessageId",
    "SentMessageId",
    "sent_message_ids",
    "sentMessageIds",
    "SentMessageIds",
];
const RECEIVED: [&str; 8] = [
    "received_message_id",
    "receivedMessageId",
    "message_id",
    "messageId",
    "MessageId",
    "message_ids",
    "messageIds",
    "messaging.message.id",
];
const ERROR_TYPE: [&str; 11] = [
    "errorType",
    "error_type",
    "error.type",
    "error.name",
    "exception_name",
    "exceptionName",
    "exception.type",
    "Exception.Type",
    "err.type",
    "err.name",
    "exc_type",
];
const ERROR_MESSAGE: [&str; 9] = [
    "errorMessage",
    "error_message",
    "error.message",
    "exception.message",
    "Exception.Message",
    "exception_message",
    "err.message",
    "stack_trace.value",
    "reason.message",
];
const ERROR_TEXT: [&str; 5] = ["error", "err", "exception", "exc_info", "Exception"];

/// Everything of a record that joins. An error record that names a message says that it failed; the
/// messages of a whole event that an error record shows are not named.
pub(crate) fn facts(reader: &mut Reader<'_>, fields: &Fields, error: Option<ErrorFact>) -> Facts {
    let mut facts = Facts {
        invocation_id: reader.take_id(&fields.invocation_id, &INVOCATION),
        correlation_ids: reader.take_ids(&fields.correlation_id, &CORRELATION, CORRELATION_IDS_MAX),
        cold_start: reader.take(&fields.cold_start, &COLD_START).and_then(truth),
        duration: reader.see(&fields.duration_ms, &[]).and_then(millis),
        workflow: execution(reader),
        error,
        ..Facts::default()
    };
    messages(reader, fields, &mut facts);
    facts
}

/// Who speaks, as far as the record tells.
pub(crate) fn speaker(reader: &mut Reader<'_>, fields: &Fields) -> Speaker {
    let arn = reader.see(&[], &ARN).and_then(Value::as_str).and_then(function_arn);
    let name = reader.take_id(&fields.function, &FUNCTION);
    let megabytes = reader.take(&[], &MEMORY).and_then(count);
    Speaker {
        service: reader.take_id(&[], &SERVICE),
        function: name.or_else(|| arn.map(|arn| Text::from(arn.name))),
        version: reader
            .take_id(&[], &VERSION)
            .or_else(|| arn.and_then(|arn| arn.version).map(Text::from)),
        instance: None,
        account: arn.map(|arn| Text::from(arn.account)),
        region: arn.map(|arn| Text::from(arn.region)),
        memory_bytes: megabytes.and_then(|mb| mb.checked_mul(1024 * 1024)),
    }
}

/// Where in a trace the record stands.
pub(crate) fn trace(reader: &mut Reader<'_>) -> Option<TraceContext> {
    let header = reader.see(&[], &XRAY).and_then(Value::as_str).and_then(trace_context);
    if header.is_some() {
        reader.take(&[], &XRAY);
        return header;
    }
    let told = reader.see(&[], &TRACE).and_then(Value::as_str).and_then(trace_context)?;
    let span_id = reader.see(&[], &SPAN).and_then(Value::as_str).and_then(SpanId::from_hex);
    reader.take(&[], &TRACE);
    if span_id.is_some() {
        reader.take(&[], &SPAN);
    }
    let trace_id: TraceId = told.trace_id;
    Some(TraceContext { trace_id, span_id: span_id.or(told.span_id) })
}

/// What went wrong. A field that the configuration names always tells an error; known fields do at
/// level ERROR or without a level, because a warning's error was handled; and a record at level ERROR
/// is one by itself.
pub(crate) fn error(
    reader: &Reader<'_>,
    fields: &Fields,
    severity: Option<Severity>,
    body: &str,
) -> Option<ErrorFact> {
    if let Some(told) = reader.see(&fields.error, &[]).filter(|v| **v != Value::Bool(false)) {
        return Some(error_fact(&described(told)));
    }
    if severity.is_some_and(|severity| severity < Severity::Error) {
        return None;
    }
    let text = |names: &[&str]| reader.see(&[], names).and_then(Value::as_str);
    let told = match (text(&ERROR_TYPE), text(&ERROR_MESSAGE)) {
        (Some(kind), Some(message)) => Some(format!("{kind}: {message}")),
        // Powertools puts the error's own text into the message.
        (Some(kind), None) if severity.is_some() => Some(format!("{kind}: {}", first_line(body))),
        (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
        (None, None) => text(&ERROR_TEXT).map(last_line),
    };
    told.map(|told| error_fact(&told)).or_else(|| severity.map(|_| error_fact(first_line(body))))
}

/// An error from the text that describes it.
pub(crate) fn error_fact(text: &str) -> ErrorFact {
    let message = shorten(text.trim(), ERROR_BYTES_MAX);
    ErrorFact { kind: ErrorKind::of(message), message: Text::from(message) }
}

/// A configured error field may hold text, an object with type and message, or only `true`.
fn described(value: &Value) -> String {
    let Value::Object(object) = value else {
        return value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    };
    let first = |names: [&str; 3]| names.iter().find_map(|name| text(object, name));
    match (first(["type", "name", "errorType"]), first(["message", "msg", "errorMessage"])) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => shorten(&value.to_string(), ERROR_BYTES_MAX).to_owned(),
    }
}

pub(crate) fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

/// Python's tracebacks end with the error; one-line texts are it.
fn last_line(text: &str) -> String {
    let is_traceback = text.trim_start().starts_with("Traceback");
    let line = if is_traceback { text.trim_end().lines().next_back() } else { None };
    line.unwrap_or_else(|| first_line(text)).to_owned()
}

fn messages(reader: &mut Reader<'_>, fields: &Fields, facts: &mut Facts) {
    let (via, place) = destination(reader);
    let sent = reader.take_ids(&fields.sent_ids, &SENT, MESSAGE_IDS_MAX);
    let mut answered = send_results(reader, via, place.as_ref());
    let mut received = reader.take_ids(&fields.received_ids, &RECEIVED, MESSAGE_IDS_MAX);
    if !answered.is_empty() {
        let answered_ids: BTreeSet<&Text> = answered.iter().map(|message| &message.id).collect();
        received.retain(|id| !answered_ids.contains(id));
        let told: BTreeSet<&Text> = sent.iter().collect();
        answered.retain(|message| !told.contains(&message.id));
    }
    // A record that names both sides tells the place of only one of them, and not of which.
    let one_sided = (sent.is_empty() && answered.is_empty()) || received.is_empty();
    let place = place.filter(|_| one_sided);
    if !one_sided {
        answered.iter_mut().for_each(|message| message.queue = None);
    }
    let via = if one_sided { via } else { Via::Queue };
    let named = |id: Text| MessageRef { queue: place.clone(), ..MessageRef::new(id, via) };
    facts.sent = sent.into_iter().map(named).chain(answered).collect();
    facts.received = received.into_iter().map(named).collect();
    if let [only] = facts.received.as_mut_slice() {
        delivery(reader, only);
    }
    for message in &mut facts.received {
        message.failed = facts.error.is_some();
    }
    failures(reader, facts);
}

/// What a record tells of the one message that it received.
fn delivery(reader: &Reader<'_>, message: &mut MessageRef) {
    const COUNT: [&str; 4] =
        ["receive_count", "receiveCount", "approximate_receive_count", "ApproximateReceiveCount"];
    const SENT_AT: [&str; 3] = ["sent_timestamp", "sentTimestamp", "SentTimestamp"];
    const DEAD: [&str; 3] =
        ["DeadLetterQueueSourceArn", "deadLetterQueueSourceArn", "dead_letter_queue_source_arn"];
    message.receive_count = reader.see(&[], &COUNT).and_then(read_count);
    message.sent = reader.see(&[], &SENT_AT).and_then(event_time::read);
    message.dead_letter_source =
        reader.see(&[], &DEAD).and_then(Value::as_str).and_then(resource_name).map(Text::from);
}

/// What the answers of send calls name; a place that the record names is theirs.
fn send_results(reader: &Reader<'_>, via: Via, place: Option<&Text>) -> Vec<MessageRef> {
    let objects = [Some(reader.record()), reader.message()];
    let mut sent: Vec<MessageRef> =
        objects.into_iter().flatten().flat_map(send_answers::read).collect();
    sent.truncate(MESSAGE_IDS_MAX);
    for message in sent.iter_mut().filter(|_| place.is_some()) {
        message.queue = place.cloned();
        message.via = via;
    }
    sent
}

/// The answer of a batch function that failed for some of its messages.
fn failures(reader: &Reader<'_>, facts: &mut Facts) {
    const FAILED: [&str; 4] = [
        "batchItemFailures",
        "response.batchItemFailures",
        "result.batchItemFailures",
        "output.batchItemFailures",
    ];
    let listed = reader.see(&[], &FAILED).and_then(Value::as_array);
    let each = listed.into_iter().flatten().take(MESSAGE_IDS_MAX);
    let mut failed: BTreeSet<Text> =
        each.filter_map(|failure| id(failure.get("itemIdentifier")?)).collect();
    for message in &mut facts.received {
        message.failed |= failed.remove(&message.id);
    }
    let unnamed = failed.into_iter();
    facts
        .received
        .extend(unnamed.map(|id| MessageRef { failed: true, ..MessageRef::new(id, Via::Queue) }));
}

/// The queue, topic, stream or bus that a record names.
fn destination(reader: &Reader<'_>) -> (Via, Option<Text>) {
    const PLACES: [(Via, &[&str]); 4] = [
        (Via::Queue, &["queue", "queue_name", "queueName", "queue_url", "queueUrl", "QueueUrl"]),
        (Via::Topic, &["topic", "topic_arn", "topicArn", "TopicArn"]),
        (Via::Stream, &["stream", "stream_name", "streamName", "StreamName"]),
        (
            Via::EventBus,
            &["event_bus", "eventBus", "event_bus_name", "eventBusName", "EventBusName"],
        ),
    ];
    PLACES
        .iter()
        .find_map(|(via, names)| {
            let name = resource_name(reader.see(&[], names)?.as_str()?)?;
            Some((*via, Some(Text::from(name))))
        })
        .unwrap_or((Via::Queue, None))
}

/// The history records that Step Functions writes to CloudWatch name their execution.
fn execution(reader: &Reader<'_>) -> Option<Workflow> {
    let execution_id = id(reader.see(&[], &["execution_arn", "executionArn"])?)?;
    let state = reader.see(&[], &["details.name", "state_name", "stateName"]).and_then(id);
    Some(Workflow {
        execution_id,
        state: state.unwrap_or_else(|| Text::from("")),
        retry_count: None,
    })
}

/// The trigger event, where the record is one or holds one.
pub(crate) fn event(reader: &Reader<'_>) -> Option<EventFacts> {
    let objects = [Some(reader.record()), reader.message()];
    objects.into_iter().flatten().find_map(trigger_events::held)
}
