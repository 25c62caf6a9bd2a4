//! Messages inside events: records of queues, topics, streams and buses, and what they carry.
//!
//! One record in, the messages that it is out: a message that went through a queue may be another's
//! envelope, and only the inner one's id is known to its first sender. A record of an unknown kind is
//! no message.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::aws_names::{function_arn, resource_name};
use super::carrier::{self, PAYLOAD_BYTES_MAX, object_in};
use super::cloud_events;
use super::event_time;
use super::json_fields::{Object, count, id, lookup, text};
use crate::signal::{MessageRef, Text, Timestamp, TraceContext, Via};

/// The largest batch that an event source mapping delivers (SQS, Kinesis, DynamoDB: 10,000).
pub(crate) const MESSAGES_MAX: usize = 10_000;
/// Envelopes inside each other that are opened: an event of a bus in a notification in a queue.
const ENVELOPES_MAX: usize = 3;
/// Headers of a Kafka record that are looked through.
const KAFKA_HEADERS_MAX: usize = 100;

/// What a record is, before what it holds is looked at.
struct Outer {
    message: MessageRef,
    /// What the platform itself passes on; a tracer of the sender knows better.
    system: Option<TraceContext>,
    /// The asynchronous invocation that had been given the body, and was given up.
    given_up: Option<MessageRef>,
}

impl From<MessageRef> for Outer {
    fn from(message: MessageRef) -> Self {
        Self { message, system: None, given_up: None }
    }
}

/// The messages that a record of an event is and holds, outermost first.
pub(crate) fn of_record(record: &Object) -> Vec<MessageRef> {
    of_record_within(record, ENVELOPES_MAX)
}

fn of_record_within(record: &Object, depth: usize) -> Vec<MessageRef> {
    let from = text(record, "eventSource").or_else(|| text(record, "EventSource"));
    let body = || text(record, "body").or_else(|| text(record, "Body")).and_then(object_in);
    if let Some(sns) = record.get("Sns").and_then(Value::as_object) {
        return notification(sns, depth);
    }
    match from {
        Some("aws:sqs") => opened(sqs(record), body(), depth),
        Some("aws:kinesis") => {
            opened(stream(record, "kinesis.sequenceNumber"), kinesis_data(record), depth)
        }
        Some("aws:dynamodb") => opened(stream(record, "dynamodb.SequenceNumber"), None, depth),
        Some(s3) if s3.starts_with("aws:s3") => opened(object_store(record), None, depth),
        Some(_) => Vec::new(),
        // The bare message of the receive API, as non-Lambda consumers log it.
        None if record.contains_key("ReceiptHandle") => opened(sqs(record), body(), depth),
        None if record.contains_key("recordId") => {
            opened(delivery_stream(record), kinesis_data(record), depth)
        }
        None => body().map_or_else(Vec::new, |body| inside(&body, depth).messages),
    }
}

/// A message with the trace that it carries, and the messages inside it.
fn opened(outer: Option<Outer>, body: Option<Object>, depth: usize) -> Vec<MessageRef> {
    let held = body.map(|body| inside(&body, depth)).unwrap_or_default();
    let Some(Outer { mut message, system, given_up }) = outer else { return held.messages };
    // What a tracer put into the message names the sender's own span; the system's header may be that
    // of a tracer whose spans we never see.
    message.trace = message.trace.or(held.trace).or(system);
    // What fell out of its source was read from this queue.
    let queue = message.queue.clone();
    let held = match given_up {
        Some(invocation) => fallen(invocation, Text::default(), held.messages),
        None => held.messages,
    };
    let mut messages = vec![message];
    messages.extend(held.into_iter().map(|mut inner| {
        if inner.dead_letter_source.is_some() && inner.queue.is_none() {
            inner.queue.clone_from(&queue);
        }
        inner
    }));
    messages
}

/// What a message's body holds.
#[derive(Default)]
struct Inside {
    messages: Vec<MessageRef>,
    /// Of the outermost of them, or of the body itself.
    trace: Option<TraceContext>,
}

fn inside(body: &Object, depth: usize) -> Inside {
    let carried = carrier::read(body);
    let Some(depth) = depth.checked_sub(1) else {
        return Inside { messages: Vec::new(), trace: carried };
    };
    let messages = if text(body, "Type") == Some("Notification") {
        notification(body, depth)
    } else if let Some(messages) = of_bus(body).or_else(|| of_destination(body)) {
        messages
    } else if let Some(event) = cloud_events::structured(body) {
        vec![event]
    } else {
        let records = body.get("Records").and_then(Value::as_array).into_iter().flatten();
        records
            .filter_map(Value::as_object)
            .flat_map(|record| of_record_within(record, depth))
            .take(MESSAGES_MAX)
            .collect()
    };
    let trace = messages.first().and_then(|message| message.trace).or(carried);
    Inside { messages, trace }
}

fn sqs(record: &Object) -> Option<Outer> {
    let mut message = MessageRef::new(id(first(record, &["messageId", "MessageId"])?)?, Via::Queue);
    message.queue = text(record, "eventSourceARN").and_then(resource_name).map(Text::from);
    let system = first(record, &["attributes", "Attributes"]).and_then(Value::as_object);
    if let Some(system) = system {
        message.sent = system.get("SentTimestamp").and_then(event_time::read);
        message.receive_count = system.get("ApproximateReceiveCount").and_then(read_count);
        message.dead_letter_source =
            text(system, "DeadLetterQueueSourceArn").and_then(resource_name).map(Text::from);
        message.group = text(system, "MessageGroupId").map(MessageRef::group_of);
    }
    let attributes = first(record, &["messageAttributes", "MessageAttributes"]);
    let attributes = attributes.and_then(Value::as_object);
    message.trace = attributes.and_then(carrier::read);
    let given_up = attributes.and_then(|attributes| given_up(attributes, message.sent));
    Some(Outer { message, system: system.and_then(carrier::read), given_up })
}

/// The invocation whose event a function's own dead-letter queue or topic holds, by the attributes that
/// Lambda sets there: `RequestID`, `ErrorCode` and `ErrorMessage`. Its function is not told.
fn given_up(attributes: &Object, at: Option<Timestamp>) -> Option<MessageRef> {
    let value = |name: &str| {
        let attribute = attributes.get(name)?.as_object()?;
        first(attribute, &["stringValue", "StringValue", "Value"])
    };
    value("ErrorCode").or_else(|| value("ErrorMessage"))?;
    let mut invocation = MessageRef::new(id(value("RequestID")?)?, Via::Invoke);
    invocation.sent = at;
    Some(invocation)
}

fn notification(sns: &Object, depth: usize) -> Vec<MessageRef> {
    let message = || {
        let mut message = MessageRef::new(id(sns.get("MessageId")?)?, Via::Topic);
        message.queue = text(sns, "TopicArn").and_then(resource_name).map(Text::from);
        message.sent = sns.get("Timestamp").and_then(event_time::read);
        let attributes = sns.get("MessageAttributes").and_then(Value::as_object);
        message.trace = attributes.and_then(carrier::read);
        let given_up = attributes.and_then(|attributes| given_up(attributes, message.sent));
        Some(Outer { message, system: None, given_up })
    };
    opened(message(), text(sns, "Message").and_then(object_in), depth)
}

/// Kinesis and DynamoDB know a record by shard and sequence number; the event id holds both where the
/// shard is told.
fn stream(record: &Object, sequence_path: &str) -> Option<Outer> {
    let sequence = id(lookup(record, sequence_path)?)?;
    let event_id = text(record, "eventID").filter(|id| id.ends_with(&*sequence));
    let mut message = MessageRef::new(event_id.map_or(sequence, Text::from), Via::Stream);
    message.queue = text(record, "eventSourceARN").and_then(resource_name).map(Text::from);
    message.sent = lookup(record, "kinesis.approximateArrivalTimestamp")
        .or_else(|| lookup(record, "dynamodb.ApproximateCreationDateTime"))
        .and_then(event_time::read);
    Some(message.into())
}

/// A record of a delivery stream that reads a Kinesis stream: it is that one's record.
fn delivery_stream(record: &Object) -> Option<Outer> {
    let told = record.get("kinesisRecordMetadata")?.as_object()?;
    let (shard, sequence) = (text(told, "shardId")?, id(told.get("sequenceNumber")?)?);
    let mut message = MessageRef::new(format!("{shard}:{sequence}"), Via::Stream);
    message.sent = told.get("approximateArrivalTimestamp").and_then(event_time::read);
    Some(message.into())
}

/// What a producer put into a stream's record, where that is an object.
fn kinesis_data(record: &Object) -> Option<Object> {
    let data = text(record, "kinesis.data").or_else(|| text(record, "data"))?;
    let data = (data.len() <= PAYLOAD_BYTES_MAX).then(|| STANDARD.decode(data).ok()).flatten()?;
    data.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(&data).ok()).flatten()
}

/// A notification of an object store: who put the object got the same request id as answer.
fn object_store(record: &Object) -> Option<Outer> {
    let request = id(lookup(record, "responseElements.x-amz-request-id")?)?;
    let mut message = MessageRef::new(request, Via::EventBus);
    message.queue = text(record, "s3.bucket.name").map(Text::from);
    message.sent = record.get("eventTime").and_then(event_time::read);
    Some(message.into())
}

pub(crate) fn kafka(record: &Object) -> Option<MessageRef> {
    let topic = text(record, "topic")?;
    let (partition, offset) = (count(record.get("partition")?)?, count(record.get("offset")?)?);
    let mut message = MessageRef::new(format!("{topic}-{partition}:{offset}"), Via::Stream);
    message.queue = Some(Text::from(topic));
    message.sent = record.get("timestamp").and_then(event_time::read);
    // A list of objects with one header each, in bytes. Together they are one carrier.
    let headers = record.get("headers").and_then(Value::as_array).into_iter().flatten();
    let headers = headers.take(KAFKA_HEADERS_MAX).filter_map(Value::as_object).flatten();
    let carrier = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
    message.trace = carrier::read(&carrier);
    Some(message)
}

/// An event of EventBridge, by the bus or by a schedule, and the message that it tells of.
pub(crate) fn of_bus(event: &Object) -> Option<Vec<MessageRef>> {
    let kind = text(event, "detail-type")?;
    let from = text(event, "source")?;
    let is_schedule = kind == "Scheduled Event" || from == "aws.scheduler";
    let via = if is_schedule { Via::Schedule } else { Via::EventBus };
    let mut message = MessageRef::new(id(event.get("id")?)?, via);
    message.sent = event.get("time").and_then(event_time::read);
    let detail = event.get("detail").and_then(Value::as_object);
    message.trace = detail.and_then(carrier::read).or_else(|| carrier::read(event));
    let mut messages = vec![message];
    messages.extend(detail.and_then(of_destination).into_iter().flatten());
    messages.extend(detail.filter(|_| from == "aws.s3").and_then(object_on_bus));
    Some(messages)
}

/// A change of an object, as a bus tells it: by the request that made it, as a notification does.
fn object_on_bus(detail: &Object) -> Option<MessageRef> {
    let mut message = MessageRef::new(id(detail.get("request-id")?)?, Via::EventBus);
    message.queue = text(detail, "bucket.name").map(Text::from);
    Some(message)
}

/// The record of an asynchronous invocation that succeeded or was given up (Lambda destinations 1.0):
/// the invocation itself as the message, and what it had been given, which fell out of its source.
pub(crate) fn of_destination(record: &Object) -> Option<Vec<MessageRef>> {
    let context = record.get("requestContext")?.as_object()?;
    let condition = text(context, "condition")?;
    let function = function_arn(text(context, "functionArn")?)?.name;
    let mut invocation = MessageRef::new(id(context.get("requestId")?)?, Via::Invoke);
    invocation.sent = record.get("timestamp").and_then(event_time::read);
    if condition == "Success" {
        return Some(vec![invocation]);
    }
    let payload = record.get("requestPayload").and_then(Value::as_object);
    let given = payload.map(|payload| inside(payload, 1).messages).unwrap_or_default();
    Some(fallen(invocation, Text::from(function), given))
}

/// An invocation that was given up, and what it had been given: that fell out of its source, and its queue
/// is now where it fell, which the record does not name. What came from no queue fell with the invocation.
fn fallen(
    mut invocation: MessageRef,
    function: Text,
    mut given: Vec<MessageRef>,
) -> Vec<MessageRef> {
    for message in &mut given {
        message.dead_letter_source = message.queue.take();
    }
    if given.iter().all(|message| message.dead_letter_source.is_none()) {
        invocation.dead_letter_source = Some(function);
    }
    given.insert(0, invocation);
    given
}

fn first<'a>(object: &'a Object, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| object.get(*name))
}

/// A small count, as a number or as text.
pub(crate) fn read_count(value: &Value) -> Option<u32> {
    u32::try_from(count(value)?).ok()
}

/// A message's sending time that lies after its arrival, or absurdly long before it, tells nothing:
/// queues keep messages for at most 14 days.
pub(crate) fn drop_absurd_sent_times(messages: &mut [MessageRef], arrived: Timestamp) {
    const KEPT_MAX: Duration = Duration::from_hours(14 * 24);
    let earliest = arrived.saturating_sub(KEPT_MAX);
    let latest = arrived.saturating_add(event_time::FUTURE_MAX);
    for message in messages {
        message.sent = message.sent.filter(|sent| (earliest..=latest).contains(sent));
    }
}
