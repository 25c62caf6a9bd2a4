//! Answers of send calls: the messages that a record shows to have been sent.
//!
//! A record in, a message for each that an SDK's answer names; the answer is the record itself or stands in
//! the field in which loggers keep one. An id counts only beside something that no request and no received
//! message has: the checksum that SQS gives back, a count of failures, what an SDK says of the exchange.
//! An answer of Lambda names the run that was begun: the request id of the exchange is that of the run.
//! Source: the API references of SQS, SNS, EventBridge, Kinesis, S3, Lambda and Pub/Sub.

use serde_json::Value;

use super::carrier::object_in;
use super::json_fields::{Object, id, text};
use super::trigger_events::to_json;
use crate::signal::{self, MessageRef, Text, Via};

/// Most messages that one record names: the batches of the platforms' send calls hold 10 to 1,000.
pub(crate) const MESSAGES_MAX: usize = 1_000;

/// Fields in which loggers keep an answer, and nothing else.
const ANSWERS: [&str; 4] = ["response", "Response", "resp", "res"];
/// Fields of an answer or of what is the function's own.
const RESULTS: [&str; 4] = ["result", "Result", "output", "Output"];
/// What an SDK says of an exchange, beside its answer: boto3, and the JavaScript SDK from version 3 on.
const EXCHANGES: [&str; 2] = ["ResponseMetadata", "$metadata"];
/// Fields of which an answer has one at least.
const MARKS: [&str; 4] = ["MD5OfMessageBody", "Successful", "Entries", "FailedRecordCount"];

/// The messages that a record's answers name.
pub(crate) fn read(record: &Object) -> Vec<MessageRef> {
    let mut sent = Vec::new();
    answer(record, &mut sent);
    for name in ANSWERS.into_iter().chain(RESULTS) {
        let parsed;
        let held = match record.get(name) {
            Some(Value::Object(held)) => held,
            Some(Value::String(text)) => {
                let Some(object) = object_in(text) else { continue };
                parsed = object;
                &parsed
            }
            _ => continue,
        };
        answer(held, &mut sent);
        sent.extend(published(held));
        if ANSWERS.contains(&name) && !has_exchange(held) {
            sent.extend(stream_record(held));
        }
    }
    sent.truncate(MESSAGES_MAX);
    sent
}

/// The same of the entries of a body.
pub(crate) fn read_entries(entries: &[(Text, signal::Value)]) -> Vec<MessageRef> {
    let is_told = entries.iter().any(|(key, value)| match value {
        signal::Value::Map(_) => {
            [&ANSWERS[..], &RESULTS, &EXCHANGES].iter().any(|names| names.contains(&&**key))
        }
        _ => MARKS.contains(&&**key),
    });
    if is_told { read(&to_json(entries)) } else { Vec::new() }
}

/// What Pub/Sub's publish answers: its ids are numbers, as those of no queue are.
fn published(held: &Object) -> impl Iterator<Item = MessageRef> {
    let ids = ["messageIds", "message_ids"].iter().find_map(|name| held.get(*name));
    let ids = ids.and_then(Value::as_array).into_iter().flatten().filter_map(id);
    let numbers = ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
    numbers.take(MESSAGES_MAX).map(|id| MessageRef::new(id, Via::Topic))
}

fn answer(object: &Object, sent: &mut Vec<MessageRef>) {
    let is_exchange = has_exchange(object);
    if let Some(id) = object.get("MessageId").and_then(id) {
        if object.contains_key("MD5OfMessageBody") {
            sent.push(MessageRef::new(id, Via::Queue));
        } else if is_exchange {
            sent.push(MessageRef::new(id, Via::Topic));
        }
    }
    for entry in list(object, "Successful") {
        let via = if is_exchange && !entry.contains_key("MD5OfMessageBody") {
            Via::Topic
        } else {
            Via::Queue
        };
        sent.extend(entry.get("MessageId").and_then(id).map(|id| MessageRef::new(id, via)));
    }
    // What is put has no id yet.
    let events = list(object, "Entries").filter_map(|entry| id(entry.get("EventId")?));
    sent.extend(events.map(|id| MessageRef::new(id, Via::EventBus)));
    if is_exchange {
        sent.extend(stream_record(object));
        sent.extend(put_object(object));
        sent.extend(invoked(object));
    }
    if object.contains_key("FailedRecordCount") {
        sent.extend(list(object, "Records").filter_map(stream_record));
    }
}

/// Kinesis knows a record by shard and sequence number; an event's record has both as its id.
fn stream_record(entry: &Object) -> Option<MessageRef> {
    let (shard, sequence) = (text(entry, "ShardId")?, id(entry.get("SequenceNumber")?)?);
    Some(MessageRef::new(format!("{shard}:{sequence}"), Via::Stream))
}

/// The notification of a bucket names the request that put the object; what was only read has a size and a
/// date.
fn put_object(object: &Object) -> Option<MessageRef> {
    let is_read = object.contains_key("LastModified") || object.contains_key("ContentLength");
    (object.contains_key("ETag") && !is_read).then_some(())?;
    Some(MessageRef::new(exchange_id(object)?, Via::EventBus))
}

/// What Lambda answers to an invocation, with or without waiting for its end: no other answer has the
/// status once more beside the exchange's. A dry run (204) begins nothing.
fn invoked(object: &Object) -> Option<MessageRef> {
    let status = object.get("StatusCode").and_then(Value::as_u64)?;
    matches!(status, 200 | 202).then_some(())?;
    Some(MessageRef::new(exchange_id(object)?, Via::Invoke))
}

fn exchange_id(object: &Object) -> Option<&str> {
    let request = text(object, "ResponseMetadata.RequestId");
    request.or_else(|| text(object, "$metadata.requestId"))
}

fn has_exchange(object: &Object) -> bool {
    EXCHANGES.iter().any(|name| object.get(*name).is_some_and(Value::is_object))
}

fn list<'a>(object: &'a Object, name: &str) -> impl Iterator<Item = &'a Object> {
    let items = object.get(name).and_then(Value::as_array).into_iter().flatten();
    items.take(MESSAGES_MAX).filter_map(Value::as_object)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::normalize::show::message_text;

    fn check(records: &[Value], expect: &Expect) {
        let shown = records.iter().map(|record| {
            let sent = read(record.as_object().unwrap());
            sent.iter().map(message_text).collect::<Vec<_>>().join(", ") + "\n"
        });
        expect.assert_eq(&shown.collect::<String>());
    }

    #[test]
    fn answers_name_what_was_sent() {
        check(
            &[
                json!({"MessageId": "m-1", "MD5OfMessageBody": "x"}),
                json!({"response": {"MessageId": "m-1", "MD5OfMessageBody": "x", "$metadata": {}}}),
                json!({"result": {"Successful": [{"Id": "0", "MessageId": "m-1", "MD5OfMessageBody": "x"},
                    {"Id": "1", "MessageId": "m-2", "MD5OfMessageBody": "y"}], "Failed": []}}),
                json!({"Response": {"MessageId": "n-1", "ResponseMetadata": {"RequestId": "r"}}}),
                json!({"output": {"Successful": [{"Id": "0", "MessageId": "n-1"}], "$metadata": {}}}),
                json!({"Entries": [{"EventId": "e-1"}, {"ErrorCode": "ThrottlingException"},
                    {"EventId": "e-2"}], "FailedEntryCount": 1}),
                json!({"response": {"ShardId": "shardId-0", "SequenceNumber": "495"}}),
                json!({"ShardId": "shardId-0", "SequenceNumber": "495", "$metadata": {}}),
                json!({"res": {"FailedRecordCount": 0, "Records": [
                    {"ShardId": "shardId-0", "SequenceNumber": "496"}]}}),
                json!({"response": {"messageIds": ["5187", "5188"]}}),
                json!({"response": {"ETag": "\"x\"", "ResponseMetadata": {"RequestId": "C3D1"}}}),
                json!({"response": "{\"MessageId\":\"m-1\",\"MD5OfMessageBody\":\"x\"}"}),
                json!({"response": {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": "{}",
                    "$metadata": {"httpStatusCode": 200, "requestId": "r-1"}}}),
                json!({"StatusCode": 202, "ResponseMetadata": {"RequestId": "r-2"}}),
            ],
            &expect![[r"
                Queue m-1
                Queue m-1
                Queue m-1, Queue m-2
                Topic n-1
                Topic n-1
                EventBus e-1, EventBus e-2
                Stream shardId-0:495
                Stream shardId-0:495
                Stream shardId-0:496
                Topic 5187, Topic 5188
                EventBus C3D1
                Queue m-1
                Invoke r-1
                Invoke r-2
            "]],
        );
    }

    #[test]
    fn an_id_alone_proves_nothing() {
        for record in [
            json!({"MessageId": "m-1"}),
            json!({"response": {"MessageId": "m-1"}}),
            json!({"ShardId": "shardId-0", "SequenceNumber": "495"}),
            json!({"messageIds": ["5187"]}),
            json!({"result": {"messageIds": ["059f36b4-87a3-44ab-83d2-661975830a7d"]}}),
            json!({"result": {"ShardId": "shardId-0", "SequenceNumber": "495"}}),
            json!({"Entries": [{"Source": "shop", "DetailType": "OrderPlaced", "Detail": "{}"}]}),
            json!({"Records": [{"ShardId": "shardId-0", "SequenceNumber": "496"}]}),
            json!({"response": {"ETag": "x", "LastModified": "2026", "$metadata": {"requestId": "C"}}}),
            json!({"response": {"Messages": [{"MessageId": "m-1", "Body": "x"}], "$metadata": {}}}),
            json!({"StatusCode": 200, "requestId": "r-1"}),
            json!({"response": {"StatusCode": 204, "$metadata": {"requestId": "dry"}}}),
            json!({"response": "sent", "result": null}),
        ] {
            assert_eq!(read(record.as_object().unwrap()), [], "{record}");
        }
    }

    #[test]
    fn entries_of_a_body_are_answers_too() {
        let text = |text: &str| signal::Value::Str(text.into());
        let answer =
            vec![("MessageId".into(), text("m-1")), ("MD5OfMessageBody".into(), text("x"))];
        let held = [("response".into(), signal::Value::Map(answer.clone()))];
        assert_eq!(read_entries(&answer).len(), 1);
        assert_eq!(read_entries(&held).len(), 1);
        assert_eq!(read_entries(&[("response".into(), text("m-1"))]), []);
    }
}
