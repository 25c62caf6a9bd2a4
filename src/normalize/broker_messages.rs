//! Messages of Amazon MQ as functions get them, from ActiveMQ and from RabbitMQ.
//!
//! An event in, its messages out. RabbitMQ gives a message no id, its publisher may: of one without an id
//! only the trace is told, and only where it came alone.
//! Source: docs.aws.amazon.com/lambda/latest/dg/with-mq.html

use serde_json::Value;

use super::aws_messages::MESSAGES_MAX;
use super::carrier;
use super::event_time;
use super::json_fields::{Object, id, text};
use crate::signal::{MessageRef, Text, TraceContext, Via};

/// What an event of a broker tells.
#[derive(Debug)]
pub(crate) struct Brokered {
    pub(crate) received: Vec<MessageRef>,
    /// Of a message without an id.
    pub(crate) trace: Option<TraceContext>,
}

/// Reads an event of a broker; None where it is none.
pub(crate) fn of_event(event: &Object) -> Option<Brokered> {
    match text(event, "eventSource")? {
        "aws:mq" => {
            let messages = objects(event.get("messages")?);
            let received = messages.filter_map(active).collect();
            Some(Brokered { received, trace: None })
        }
        "aws:rmq" => Some(rabbit(event.get("rmqMessagesByQueue")?.as_object()?)),
        _ => None,
    }
}

fn active(message: &Object) -> Option<MessageRef> {
    let mut told = MessageRef::new(id(message.get("messageID")?)?, Via::Queue);
    told.queue = text(message, "destination.physicalName").map(Text::from);
    told.sent = message.get("timestamp").and_then(event_time::read);
    told.trace = message.get("properties").and_then(Value::as_object).and_then(carrier::read);
    Some(told)
}

fn rabbit(queues: &Object) -> Brokered {
    let mut told = Brokered { received: Vec::new(), trace: None };
    let mut n_messages = 0;
    for (name, messages) in queues {
        // `orders::/`: the queue, then its virtual host.
        let queue = name.split_once("::").map_or(name.as_str(), |(queue, _)| queue);
        for message in objects(messages).take(MESSAGES_MAX - told.received.len()) {
            n_messages += 1;
            let properties = message.get("basicProperties").and_then(Value::as_object);
            let headers = properties.and_then(|told| told.get("headers")?.as_object());
            let trace = headers.and_then(carrier::read);
            let Some(id) = properties.and_then(|told| id(told.get("messageId")?)) else {
                told.trace = trace;
                continue;
            };
            let queue = Some(Text::from(queue));
            told.received.push(MessageRef { queue, trace, ..MessageRef::new(id, Via::Queue) });
        }
    }
    told.trace = told.trace.filter(|_| n_messages == 1);
    told
}

fn objects(list: &Value) -> impl Iterator<Item = &Object> {
    list.as_array().into_iter().flatten().filter_map(Value::as_object).take(MESSAGES_MAX)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::normalize::show::message_text;

    fn check(event: &Value, expect: &Expect) {
        let shown = of_event(event.as_object().unwrap()).map(|told| {
            let trace = told.trace.map(|trace| format!("trace {}", trace.trace_id));
            told.received.iter().map(message_text).chain(trace).collect::<Vec<_>>().join("\n")
        });
        expect.assert_eq(shown.as_deref().unwrap_or("no event"));
    }

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn messages_of_active_mq_are_known_by_id_queue_and_properties() {
        check(
            &json!({"eventSource": "aws:mq", "messages": [
                {"messageID": "ID:b-1:1", "destination": {"physicalName": "orders"},
                    "timestamp": 1_795_600_800_250_i64, "properties": {"traceparent": PARENT}},
                {"messageID": null, "destination": {"physicalName": "orders"}}]}),
            &expect![
                "Queue ID:b-1:1 queue=orders sent=2026-11-25T10:00:00.250000000Z trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"
            ],
        );
    }

    #[test]
    fn messages_of_rabbit_mq_carry_headers_as_bytes_and_need_an_id_of_their_publisher() {
        let header = json!({"traceparent": {"bytes": PARENT.as_bytes()}, "n": 10});
        let message = |id: Value| json!({"basicProperties": {"messageId": id, "headers": header}});
        let event = |messages: Value| json!({"eventSource": "aws:rmq", "rmqMessagesByQueue": {"orders::/": messages}});
        check(
            &event(json!([message(json!("m-1")), message(json!(null))])),
            &expect![
                "Queue m-1 queue=orders trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"
            ],
        );
        check(
            &event(json!([message(json!(null))])),
            &expect!["trace 0af7651916cd43dd8448eb211c80319c"],
        );
        check(&event(json!([message(json!(null)), message(json!(null))])), &expect![[r""]]);
        check(&json!({"eventSource": "aws:sqs", "messages": []}), &expect!["no event"]);
    }
}
