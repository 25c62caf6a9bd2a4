//! Logged trigger events: what the event of a function says about messages, callers and workflows.
//!
//! A JSON object in, the received messages and the kind of trigger out; None where the object is no
//! event that AWS, Pub/Sub or Event Grid sends, and no `CloudEvent`. The lists that a pipe of EventBridge and
//! Event Grid give are some too. At most [`MESSAGES_MAX`] messages are read of one event.

use serde_json::Value;

use super::aws_messages::{self, MESSAGES_MAX, read_count};
use super::broker_messages;
use super::carrier::{self, object_in};
use super::cloud_events;
use super::google_messages;
use super::json_fields::{Object, id, lookup, text};
use crate::signal::{self, Facts, Http, MessageRef, Text, TraceContext, Via, Workflow};

/// Fields in which loggers and tracers keep a whole event.
const HOLDERS: [&str; 14] = [
    "event",
    "Event",
    "input",
    "lambda_event",
    "lambdaEvent",
    "lambda.event",
    "faas.event",
    "aws.lambda.event",
    "function.request",
    "rpc.request.payload",
    "cloudEvent",
    "cloudevent",
    "cloud_event",
    "envelope",
];
/// Fields that an event has, one at least, unless it has one of the next.
const MARKS: [&str; 12] = [
    "Records",
    "records",
    "Messages",
    "ReceiptHandle",
    "detail-type",
    "requestContext",
    "Execution",
    "_datadog",
    "eventSource",
    "specversion",
    "dataVersion",
    "parentTypeName",
];
/// The others, in any case; loggers have them too, but seldom as objects.
const OBJECT_MARKS: [&str; 6] = ["context", "payload", "message", "data", "headers", "info"];
/// Where the context object of a workflow lies in what a state machine passes on, in any case.
const CONTEXT_PLACES: [&str; 4] = ["_datadog", "payload", "context", "stepfunctions"];
/// Where it lies in a message.
const MESSAGE_PLACES: [&str; 4] = ["body", "detail", "sns", "message"];
/// Objects inside each other that are looked through for it: a queue's record, its body, a notification's
/// message, the payload of a task, the tracer's field.
const CONTEXT_DEPTH_MAX: usize = 6;

/// What an event tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EventFacts {
    pub(crate) received: Vec<MessageRef>,
    pub(crate) trigger: Option<Via>,
    pub(crate) http: Option<Http>,
    pub(crate) workflow: Option<Workflow>,
    /// Joins the executions of a workflow that started others.
    pub(crate) correlation_id: Option<Text>,
    /// The trace that the event itself carries, where it is not a message's: its caller's position.
    pub(crate) trace: Option<TraceContext>,
}

impl EventFacts {
    /// Adds what facts do not say themselves; answers the caller's position.
    pub(crate) fn add_to(self, facts: &mut Facts) -> Option<TraceContext> {
        // In the order of the event: each message is followed by what it holds.
        let named = std::mem::take(&mut facts.received);
        let is_named = |id: &Text| self.received.iter().any(|message| message.id == *id);
        let others: Vec<MessageRef> =
            named.iter().filter(|own| !is_named(&own.id)).cloned().collect();
        for message in self.received {
            match named.iter().find(|own| own.id == message.id) {
                Some(own) => {
                    let mut own = own.clone();
                    complete(&mut own, message);
                    facts.received.push(own);
                }
                None => facts.received.push(message),
            }
        }
        facts.received.extend(others);
        facts.trigger = facts.trigger.or(self.trigger);
        facts.http = facts.http.take().or(self.http);
        facts.workflow = facts.workflow.take().or(self.workflow);
        let is_new = |id: &Text| !facts.correlation_ids.contains(id);
        let correlation_id = self.correlation_id.filter(is_new);
        facts.correlation_ids.extend(correlation_id);
        self.trace
    }
}

/// The event knows how a message travelled; a bare id does not.
fn complete(own: &mut MessageRef, told: MessageRef) {
    own.via = told.via;
    own.queue = own.queue.take().or(told.queue);
    own.sent = own.sent.or(told.sent);
    own.receive_count = own.receive_count.or(told.receive_count);
    own.dead_letter_source = own.dead_letter_source.take().or(told.dead_letter_source);
    own.group = own.group.or(told.group);
    own.trace = own.trace.or(told.trace);
}

/// Reads an object as an event; None where it is none.
pub(crate) fn read(event: &Object) -> Option<EventFacts> {
    let told = records(event)
        .or_else(|| bus(event))
        .or_else(|| destination(event))
        .or_else(|| http(event))
        .or_else(|| socket(event))
        .or_else(|| resolver(event))
        .or_else(|| pushed(event))
        .or_else(|| triggered(vec![cloud_events::of_event(event)?]))
        .or_else(|| brokered(event))
        .or_else(|| received(event));
    let Some(mut told) = told else { return workflow(event) };
    if let Some(run) = run_of_messages(event) {
        told.workflow = Some(run.workflow);
        told.correlation_id = run.correlation_id;
    }
    Some(told)
}

/// Reads the event that an object is or holds, as an object or as its text.
pub(crate) fn held(object: &Object) -> Option<EventFacts> {
    read(object).or_else(|| {
        HOLDERS.iter().filter_map(|name| object.get(*name)).find_map(|value| match value {
            Value::Object(event) => read(event),
            Value::String(text) => read(&object_in(text)?),
            Value::Array(records) => listed(records),
            _ => None,
        })
    })
}

/// The list that a pipe or Event Grid gives, or what a resolver is asked for many at once.
fn listed(records: &[Value]) -> Option<EventFacts> {
    triggered(messages_of(records)).or_else(|| resolver(records.first()?.as_object()?))
}

/// Reads the event that attributes hold, or that the entries of a body are.
pub(crate) fn held_in(entries: &[(Text, signal::Value)]) -> Option<EventFacts> {
    let is_event = entries.iter().any(|(key, value)| {
        let is_object = || matches!(value, signal::Value::Map(_));
        MARKS.contains(&&**key) || (is_one_of(key, &OBJECT_MARKS) && is_object())
    });
    if is_event && let Some(event) = read(&to_json(entries)) {
        return Some(event);
    }
    let holders = entries.iter().filter(|(key, _)| HOLDERS.contains(&&**key));
    holders.into_iter().find_map(|(_, value)| match value {
        signal::Value::Map(event) => read(&to_json(event)),
        signal::Value::Str(text) => read(&object_in(text)?),
        signal::Value::List(records) => {
            let records: Vec<Value> = records.iter().map(value_to_json).collect();
            listed(&records)
        }
        _ => None,
    })
}

pub(crate) fn to_json(entries: &[(Text, signal::Value)]) -> Object {
    entries.iter().map(|(key, value)| (key.to_string(), value_to_json(value))).collect()
}

/// Values are as deep as decoders let them be, which bound that.
fn value_to_json(value: &signal::Value) -> Value {
    match value {
        signal::Value::Bool(truth) => Value::from(*truth),
        signal::Value::Int(n) => Value::from(*n),
        signal::Value::Float(x) => Value::from(*x),
        signal::Value::Str(text) => Value::from(&**text),
        signal::Value::List(items) => items.iter().map(value_to_json).collect(),
        signal::Value::Map(entries) => Value::Object(to_json(entries)),
    }
}

fn triggered(received: Vec<MessageRef>) -> Option<EventFacts> {
    let trigger = Some(received.first()?.via);
    Some(EventFacts { received, trigger, ..EventFacts::default() })
}

fn records(event: &Object) -> Option<EventFacts> {
    let mut received = Vec::new();
    // `Messages` is what the receive call of SQS answers.
    let places = ["Records", "records", "Messages"];
    match places.iter().find_map(|name| event.get(*name))? {
        Value::Array(items) => received = messages_of(items),
        // Kafka groups its records by topic and partition.
        Value::Object(partitions) => {
            let items = partitions.values().filter_map(Value::as_array).flatten();
            received.extend(
                items
                    .filter_map(Value::as_object)
                    .filter_map(aws_messages::kafka)
                    .take(MESSAGES_MAX),
            );
        }
        _ => {}
    }
    triggered(received)
}

fn messages_of(records: &[Value]) -> Vec<MessageRef> {
    let mut received = Vec::new();
    for item in records.iter().filter_map(Value::as_object) {
        if received.len() < MESSAGES_MAX {
            let told = aws_messages::of_record(item);
            let other = told.is_empty().then(|| cloud_events::of_event(item)).flatten();
            received.extend(told.into_iter().chain(other));
        }
    }
    received.truncate(MESSAGES_MAX);
    received
}

/// One message of the receive call of SQS.
fn received(event: &Object) -> Option<EventFacts> {
    event.contains_key("ReceiptHandle").then(|| aws_messages::of_record(event)).and_then(triggered)
}

fn brokered(event: &Object) -> Option<EventFacts> {
    let told = broker_messages::of_event(event)?;
    let trigger = Some(Via::Queue);
    Some(EventFacts {
        received: told.received,
        trigger,
        trace: told.trace,
        ..EventFacts::default()
    })
}

fn bus(event: &Object) -> Option<EventFacts> {
    triggered(aws_messages::of_bus(event)?)
}

/// What Lambda reports to a destination of asynchronous invocations.
fn destination(event: &Object) -> Option<EventFacts> {
    triggered(aws_messages::of_destination(event)?)
}

/// API Gateway (REST, HTTP), function URLs and load balancers.
fn http(event: &Object) -> Option<EventFacts> {
    let context = event.get("requestContext")?.as_object()?;
    let method = text(context, "http.method").or_else(|| text(event, "httpMethod"))?;
    // `GET /orders/{id}`; `$default` is no route, and a raw path would make a flow of every id.
    let routed = text(event, "routeKey").and_then(|key| Some(key.split_once(' ')?.1));
    let route = routed.or_else(|| text(event, "resource")).filter(|route| route.starts_with('/'));
    let headers =
        ["headers", "multiValueHeaders"].iter().filter_map(|name| event.get(*name)?.as_object());
    Some(EventFacts {
        trigger: Some(Via::Http),
        http: Some(Http {
            method: Some(Text::from(method)),
            route: route.map(Text::from),
            status: None,
        }),
        correlation_id: context.get("requestId").and_then(id),
        trace: headers.into_iter().find_map(carrier::read),
        ..EventFacts::default()
    })
}

/// A WebSocket API of API Gateway: a flow of each route. What comes over one connection are requests of their
/// own; headers come only where it is opened.
fn socket(event: &Object) -> Option<EventFacts> {
    let context = event.get("requestContext")?.as_object()?;
    text(context, "connectionId")?;
    let headers = event.get("headers").and_then(Value::as_object);
    Some(EventFacts {
        trigger: Some(Via::Http),
        http: Some(Http {
            method: text(context, "eventType").map(Text::from),
            route: text(context, "routeKey").map(Text::from),
            status: None,
        }),
        correlation_id: context.get("requestId").and_then(id),
        trace: headers.and_then(carrier::read),
        ..EventFacts::default()
    })
}

/// What AppSync asks a function: a flow of each field, `Query getOrder`, by its request's headers.
fn resolver(event: &Object) -> Option<EventFacts> {
    let parent = text(event, "info.parentTypeName").or_else(|| text(event, "parentTypeName"))?;
    let field = text(event, "info.fieldName").or_else(|| text(event, "fieldName"))?;
    let headers = lookup(event, "request.headers").and_then(Value::as_object);
    Some(EventFacts {
        trigger: Some(Via::Http),
        http: Some(Http {
            method: Some(Text::from(parent)),
            route: Some(Text::from(field)),
            status: None,
        }),
        trace: headers.and_then(carrier::read),
        ..EventFacts::default()
    })
}

fn pushed(event: &Object) -> Option<EventFacts> {
    triggered(vec![google_messages::of_event(event)?])
}

/// What a state machine passes on to a task.
fn workflow(event: &Object) -> Option<EventFacts> {
    let run = run_in(event, &[&CONTEXT_PLACES], CONTEXT_DEPTH_MAX)?;
    Some(EventFacts {
        trigger: Some(Via::Workflow),
        correlation_id: run.correlation_id,
        workflow: Some(run.workflow),
        trace: run.trace,
        ..EventFacts::default()
    })
}

/// A step of a workflow's execution.
struct Run {
    workflow: Workflow,
    /// The first of executions that started each other.
    correlation_id: Option<Text>,
    trace: Option<TraceContext>,
}

/// The step that sent an event's messages: a task that waits for its token, an event that a step put. Messages
/// of several executions tell of none.
fn run_of_messages(event: &Object) -> Option<Run> {
    let items = match event.get("Records").and_then(Value::as_array) {
        Some(items) => items.as_slice(),
        None => &[],
    };
    let itself = std::iter::once(event).filter(|_| items.is_empty());
    let objects = items.iter().filter_map(Value::as_object).take(MESSAGES_MAX).chain(itself);
    let places = [&CONTEXT_PLACES[..], &MESSAGE_PLACES];
    let mut runs = objects.filter_map(|object| run_in(object, &places, CONTEXT_DEPTH_MAX));
    let first = runs.next()?;
    let execution = &first.workflow.execution_id;
    runs.all(|other| other.workflow.execution_id == *execution).then_some(first)
}

/// The context object of Step Functions, by itself or in one of these places, as an object or as its text.
fn run_in(object: &Object, places: &[&[&str]], depth: usize) -> Option<Run> {
    let depth = depth.checked_sub(1)?;
    let inner = || {
        let held = object.iter().filter(|(name, _)| places.iter().any(|of| is_one_of(name, of)));
        held.into_iter().find_map(|(_, value)| match value {
            Value::Object(inner) => run_in(inner, places, depth),
            Value::String(text) if text.contains("Execution") => {
                run_in(&object_in(text)?, places, depth)
            }
            _ => None,
        })
    };
    let mut run = run_told(object).or_else(inner)?;
    run.trace = carrier::read(object).or(run.trace);
    Some(run)
}

/// What a context object says. Of executions that started each other Datadog names the first.
fn run_told(context: &Object) -> Option<Run> {
    let execution_id = Text::from(text(context, "Execution.Id")?);
    let state = Text::from(text(context, "State.Name")?);
    let retry_count = lookup(context, "State.RetryCount").and_then(read_count);
    let root = context.get("RootExecutionId").and_then(id);
    let is_traced = context.contains_key("serverless-version");
    Some(Run {
        correlation_id: root.or_else(|| is_traced.then(|| Text::clone(&execution_id))),
        workflow: Workflow { execution_id, state, retry_count },
        trace: None,
    })
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
#[path = "trigger_events_tests.rs"]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
mod tests;
