//! Logged trigger events: what a Lambda event says about messages, callers and workflows.
//!
//! A JSON object in, the received messages and the kind of trigger out; None where the object is no
//! event that AWS sends. At most [`MESSAGES_MAX`] messages are read of one event.

use std::time::Duration;

use serde_json::Value;

use super::aws_names::resource_name;
use super::event_time;
use super::json_fields::{Object, count, id, lookup, text};
use super::logged_trace::trace_context;
use crate::signal::{Http, MessageRef, Text, Timestamp, TraceContext, Via, Workflow};

/// The largest batch that an event source mapping delivers (SQS, Kinesis, DynamoDB: 10,000).
pub(crate) const MESSAGES_MAX: usize = 10_000;

/// Longest message body that is searched for an SNS or EventBridge envelope, in bytes.
const ENVELOPE_BYTES_MAX: usize = 256 * 1024;

/// What an event tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EventFacts {
    pub(crate) received: Vec<MessageRef>,
    pub(crate) trigger: Option<Via>,
    pub(crate) http: Option<Http>,
    pub(crate) workflow: Option<Workflow>,
    /// The trace that the event itself carries, where it is not a message's.
    pub(crate) trace: Option<TraceContext>,
}

/// Reads an object as an event; None where it is none.
pub(crate) fn read(event: &Object) -> Option<EventFacts> {
    records(event)
        .or_else(|| event_bus(event).map(|(message, via)| triggered(via, vec![message])))
        .or_else(|| http(event))
        .or_else(|| workflow(event))
}

fn triggered(via: Via, received: Vec<MessageRef>) -> EventFacts {
    EventFacts { received, trigger: Some(via), ..EventFacts::default() }
}

fn records(event: &Object) -> Option<EventFacts> {
    let mut received = Vec::new();
    match event.get("Records").or_else(|| event.get("records"))? {
        Value::Array(items) => {
            for item in items.iter().filter_map(Value::as_object) {
                read_record(item, &mut received);
            }
        }
        // Kafka groups its records by topic and partition.
        Value::Object(partitions) => {
            let items = partitions.values().filter_map(Value::as_array).flatten();
            received.extend(items.filter_map(Value::as_object).filter_map(kafka));
        }
        _ => {}
    }
    received.truncate(MESSAGES_MAX);
    let via = received.first()?.via;
    Some(triggered(via, received))
}

fn read_record(record: &Object, received: &mut Vec<MessageRef>) {
    if received.len() >= MESSAGES_MAX {
        return;
    }
    let from = text(record, "eventSource").or_else(|| text(record, "EventSource"));
    let message = match from {
        Some("aws:sqs") => sqs(record),
        Some("aws:sns") => record.get("Sns").and_then(Value::as_object).and_then(sns),
        Some("aws:kinesis") => stream(record, "kinesis.sequenceNumber"),
        Some("aws:dynamodb") => stream(record, "dynamodb.SequenceNumber"),
        // The bare message of the receive API, as non-Lambda consumers log it.
        None if record.contains_key("ReceiptHandle") => sqs(record),
        _ => None,
    };
    received.extend(message);
    let body = text(record, "body").or_else(|| text(record, "Body"));
    if from == Some("aws:sqs") || from.is_none() {
        received.extend(body.and_then(enveloped));
    }
}

/// A message that went through a queue may be another's envelope: SNS and EventBridge put theirs into
/// the body, and only that one's id is known to the first sender.
fn enveloped(body: &str) -> Option<MessageRef> {
    if !body.trim_start().starts_with('{') || body.len() > ENVELOPE_BYTES_MAX {
        return None;
    }
    let body: Object = serde_json::from_str(body).ok()?;
    let is_notification = text(&body, "Type") == Some("Notification");
    if is_notification { sns(&body) } else { event_bus(&body).map(|(message, _)| message) }
}

fn sqs(record: &Object) -> Option<MessageRef> {
    let mut message = MessageRef::new(id(first(record, &["messageId", "MessageId"])?)?, Via::Queue);
    message.queue = text(record, "eventSourceARN").and_then(resource_name).map(Text::from);
    let system = first(record, &["attributes", "Attributes"]).and_then(Value::as_object);
    if let Some(system) = system {
        message.sent = system.get("SentTimestamp").and_then(event_time::read);
        message.receive_count = system.get("ApproximateReceiveCount").and_then(receive_count);
        message.dead_letter_source =
            text(system, "DeadLetterQueueSourceArn").and_then(resource_name).map(Text::from);
    }
    // What an OpenTelemetry producer put into the message names its own span; the system's header may
    // be that of a tracer whose spans we never see.
    let carried =
        first(record, &["messageAttributes", "MessageAttributes"]).and_then(carried_trace);
    message.trace =
        carried.or_else(|| system.and_then(|s| text(s, "AWSTraceHeader")).and_then(trace_context));
    Some(message)
}

fn sns(notification: &Object) -> Option<MessageRef> {
    let mut message = MessageRef::new(id(notification.get("MessageId")?)?, Via::Topic);
    message.queue = text(notification, "TopicArn").and_then(resource_name).map(Text::from);
    message.sent = notification.get("Timestamp").and_then(event_time::read);
    message.trace = notification.get("MessageAttributes").and_then(carried_trace);
    Some(message)
}

/// Kinesis and DynamoDB know a record by shard and sequence number; the event id holds both where the
/// shard is told.
fn stream(record: &Object, sequence_path: &str) -> Option<MessageRef> {
    let sequence = id(lookup(record, sequence_path)?)?;
    let event_id = text(record, "eventID").filter(|id| id.ends_with(&*sequence));
    let mut message = MessageRef::new(event_id.map_or(sequence, Text::from), Via::Stream);
    message.queue = text(record, "eventSourceARN").and_then(resource_name).map(Text::from);
    message.sent = lookup(record, "kinesis.approximateArrivalTimestamp")
        .or_else(|| lookup(record, "dynamodb.ApproximateCreationDateTime"))
        .and_then(event_time::read);
    Some(message)
}

fn kafka(record: &Object) -> Option<MessageRef> {
    let topic = text(record, "topic")?;
    let (partition, offset) = (count(record.get("partition")?)?, count(record.get("offset")?)?);
    let mut message = MessageRef::new(format!("{topic}-{partition}:{offset}"), Via::Stream);
    message.queue = Some(Text::from(topic));
    message.sent = record.get("timestamp").and_then(event_time::read);
    Some(message)
}

/// An EventBridge event, and how it came: by the bus, or by a schedule.
fn event_bus(event: &Object) -> Option<(MessageRef, Via)> {
    let kind = text(event, "detail-type")?;
    let from = text(event, "source")?;
    let is_schedule = kind == "Scheduled Event" || from == "aws.scheduler";
    let via = if is_schedule { Via::Schedule } else { Via::EventBus };
    let mut message = MessageRef::new(id(event.get("id")?)?, via);
    message.sent = event.get("time").and_then(event_time::read);
    Some((message, via))
}

/// API Gateway (REST, HTTP), function URLs and load balancers.
fn http(event: &Object) -> Option<EventFacts> {
    let context = event.get("requestContext")?.as_object()?;
    let method = text(context, "http.method").or_else(|| text(event, "httpMethod"))?;
    // `GET /orders/{id}`; `$default` is no route, and a raw path would make a flow of every id.
    let routed = text(event, "routeKey").and_then(|key| Some(key.split_once(' ')?.1));
    let route = routed.or_else(|| text(event, "resource")).filter(|route| route.starts_with('/'));
    let header = event.get("headers").and_then(Value::as_object).and_then(|headers| {
        let named =
            |name: &str| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_str();
        named("traceparent").or_else(|| named("x-amzn-trace-id"))
    });
    Some(EventFacts {
        trigger: Some(Via::Http),
        http: Some(Http {
            method: Some(Text::from(method)),
            route: route.map(Text::from),
            status: None,
        }),
        trace: header.and_then(trace_context),
        ..EventFacts::default()
    })
}

/// The context object of Step Functions, as a state machine passes it on.
fn workflow(event: &Object) -> Option<EventFacts> {
    let execution_id = Text::from(text(event, "Execution.Id")?);
    let state = Text::from(text(event, "State.Name")?);
    let retry_count = lookup(event, "State.RetryCount").and_then(receive_count);
    Some(EventFacts {
        trigger: Some(Via::Workflow),
        workflow: Some(Workflow { execution_id, state, retry_count }),
        ..EventFacts::default()
    })
}

/// `traceparent` among message attributes, in the spelling of SQS, of its API or of SNS.
fn carried_trace(attributes: &Value) -> Option<TraceContext> {
    let carrier = attributes.get("traceparent").or_else(|| attributes.get("Traceparent"))?;
    let value = ["stringValue", "StringValue", "Value"].iter().find_map(|key| carrier.get(key))?;
    trace_context(value.as_str()?)
}

fn first<'a>(object: &'a Object, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| object.get(*name))
}

/// A small count, as a number or as text.
pub(crate) fn receive_count(value: &Value) -> Option<u32> {
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

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::normalize::show::message_text;

    fn check(event: &Value, expect: &Expect) {
        let shown = match read(event.as_object().unwrap()) {
            None => "no event".to_owned(),
            Some(facts) => {
                let mut lines = vec![format!("{:?} {:?}", facts.trigger, facts.http)];
                lines.extend(facts.received.iter().map(message_text));
                lines.extend(facts.workflow.map(|w| format!("{w:?}")));
                lines.extend(facts.trace.map(|t| format!("trace {}", t.trace_id)));
                lines.join("\n")
            }
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn queue_records_tell_when_how_often_and_out_of_which_queue() {
        check(
            &json!({"Records": [{
                "messageId": "m-1", "eventSource": "aws:sqs", "body": "hi",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:orders-dlq",
                "attributes": {
                    "SentTimestamp": "1795600800250", "ApproximateReceiveCount": "3",
                    "AWSTraceHeader": "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad",
                    "DeadLetterQueueSourceArn": "arn:aws:sqs:eu-west-1:123456789012:orders"}
            }]}),
            &expect![[r#"
                Some(Queue) None
                Queue m-1 queue=orders-dlq sent=2026-11-25T10:00:00.250000000Z receive_count=3 dead_letter_source=orders trace=67891233abcdef012345678912345678/463ac35c9f6413ad"#]],
        );
    }

    #[test]
    fn the_producers_own_trace_wins_over_the_systems_header() {
        check(
            &json!({"Records": [{
                "messageId": "m-1", "eventSource": "aws:sqs",
                "messageAttributes": {"traceparent": {"dataType": "String", "stringValue":
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
                "attributes": {"AWSTraceHeader": "Root=1-67891233-abcdef012345678912345678"}
            }]}),
            &expect![[r#"
                Some(Queue) None
                Queue m-1 trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"#]],
        );
    }

    #[test]
    fn envelopes_inside_queue_messages_are_messages_too() {
        let notification = json!({"Type": "Notification", "MessageId": "n-1",
            "TopicArn": "arn:aws:sns:eu-west-1:1:orders-topic", "Timestamp": "2026-11-25T10:00:00Z"});
        let bus = json!({"id": "e-1", "detail-type": "OrderPlaced", "source": "shop",
            "time": "2026-11-25T10:00:00Z", "detail": {}});
        check(
            &json!({"Records": [
                {"messageId": "m-1", "eventSource": "aws:sqs", "body": notification.to_string()},
                {"messageId": "m-2", "eventSource": "aws:sqs", "body": bus.to_string()},
            ]}),
            &expect![[r#"
                Some(Queue) None
                Queue m-1
                Topic n-1 queue=orders-topic sent=2026-11-25T10:00:00.000000000Z
                Queue m-2
                EventBus e-1 sent=2026-11-25T10:00:00.000000000Z"#]],
        );
    }

    #[test]
    fn topics_streams_and_buses_name_their_messages() {
        check(
            &json!({"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "n-1",
                "TopicArn": "arn:aws:sns:eu-west-1:1:news", "Timestamp": "2026-11-25T10:00:00Z"}}]}),
            &expect![[r#"
                Some(Topic) None
                Topic n-1 queue=news sent=2026-11-25T10:00:00.000000000Z"#]],
        );
        check(
            &json!({"Records": [{"eventSource": "aws:kinesis", "eventID": "shardId-0:495",
                "kinesis": {"sequenceNumber": "495", "approximateArrivalTimestamp": 1_795_600_800.25},
                "eventSourceARN": "arn:aws:kinesis:eu-west-1:1:stream/clicks"}]}),
            &expect![[r#"
                Some(Stream) None
                Stream shardId-0:495 queue=clicks sent=2026-11-25T10:00:00.250000000Z"#]],
        );
        check(
            &json!({"eventSource": "aws:kafka", "records": {"clicks-0":
                [{"topic": "clicks", "partition": 0, "offset": 15, "timestamp": 1_795_600_800_250_i64}]}}),
            &expect![[r#"
                Some(Stream) None
                Stream clicks-0:15 queue=clicks sent=2026-11-25T10:00:00.250000000Z"#]],
        );
        check(
            &json!({"id": "e-1", "detail-type": "Scheduled Event", "source": "aws.events",
                "time": "2026-11-25T10:00:00Z"}),
            &expect![[r#"
                Some(Schedule) None
                Schedule e-1 sent=2026-11-25T10:00:00.000000000Z"#]],
        );
    }

    #[test]
    fn callers_and_workflows_are_told() {
        check(
            &json!({"resource": "/orders/{id}", "httpMethod": "GET", "requestContext": {},
                "headers": {"X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678"}}),
            &expect![[r#"
                Some(Http) Some(Http { method: Some("GET"), route: Some("/orders/{id}"), status: None })
                trace 67891233abcdef012345678912345678"#]],
        );
        check(
            &json!({"routeKey": "$default", "rawPath": "/x/1",
                "requestContext": {"http": {"method": "POST"}}}),
            &expect![[
                r#"Some(Http) Some(Http { method: Some("POST"), route: None, status: None })"#
            ]],
        );
        check(
            &json!({"Execution": {"Id": "arn:aws:states:x"}, "State": {"Name": "Pay", "RetryCount": 2}}),
            &expect![[r#"
                Some(Workflow) None
                Workflow { execution_id: "arn:aws:states:x", state: "Pay", retry_count: Some(2) }"#]],
        );
    }

    #[test]
    fn other_objects_are_no_events() {
        for value in [
            json!({"Records": []}),
            json!({"Records": [{"eventSource": "aws:s3", "s3": {}}]}),
            json!({"records": "text"}),
            json!({"id": "x", "source": "y"}),
            json!({"requestContext": "x", "httpMethod": "GET"}),
        ] {
            check(&value, &expect!["no event"]);
        }
    }
}
