//! Messages, from the attributes of a span, a link or a log record.
//!
//! In: attributes under `messaging.` and what AWS calls the same things. Out: whether messages were
//! sent or received, and a [`MessageRef`] for each that is named. Nothing is guessed: a span that names
//! no message id gives no message.

use crate::number::{u32_from_usize, u64_from_i64, usize_from_u64};
use crate::signal::{MessageRef, SpanKind, Text, Timestamp, TraceContext, Value, Via};

use super::{either, number, text};

/// Most messages taken from one signal: Lambda's largest SQS batch (10,000).
pub(crate) const MESSAGES_MAX: usize = 10_000;

/// What ends the path of a dead-letter queue of Service Bus.
const SERVICE_BUS_DLQ: &str = "/$deadletterqueue";

/// The side of a message that a signal is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sent,
    Received,
}

/// What attributes say about messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Messaging<'a> {
    pub(crate) system: Option<&'a str>,
    destination: Option<&'a str>,
    /// `aws.sqs.queue.url`, `aws.sns.topic.arn`, …: where `messaging.destination.name` is missing.
    destination_arn: Option<&'a str>,
    /// What waits for whoever takes it up, where the destination is a topic.
    subscription: Option<&'a str>,
    operation: Option<&'a str>,
    operation_name: Option<&'a str>,
    ids: Option<&'a Value>,
    pub(crate) conversation: Option<&'a str>,
    sent: Option<Timestamp>,
    receive_count: Option<u32>,
    dead_letter_source: Option<&'a str>,
    /// Messages with one key are delivered one after the other.
    ordering_key: Option<&'a str>,
}

impl<'a> Messaging<'a> {
    /// Takes up one attribute under `messaging.`.
    pub(crate) fn note(&mut self, rest: &str, value: &'a Value) {
        match rest {
            "system" => self.system = text(value),
            "destination.name" => self.destination = text(value),
            "destination" | "source.name" => either(&mut self.destination, text(value)),
            "destination.subscription.name" => self.subscription = text(value),
            "operation.type" => self.operation = text(value),
            "operation" => either(&mut self.operation, text(value)),
            "operation.name" => self.operation_name = text(value),
            "message.id" => self.ids = Some(value),
            "message_id" => either(&mut self.ids, Some(value)),
            "message.conversation_id" => self.conversation = text(value),
            "conversation_id" => either(&mut self.conversation, text(value)),
            "message.sent_timestamp" | "sqs.message.sent_timestamp" => self.sent = millis(value),
            "servicebus.message.enqueued_time" | "eventhubs.message.enqueued_time" => {
                either(
                    &mut self.sent,
                    number(value).and_then(|s| nonzero_millis(s.saturating_mul(1000))),
                );
            }
            "message.delivery_attempt" => self.receive_count = count(value),
            "gcp_pubsub.message.delivery_attempt" | "servicebus.message.delivery_count" => {
                either(&mut self.receive_count, count(value));
            }
            "gcp_pubsub.message.ordering_key" => self.ordering_key = text(value),
            "dead_letter.source" => self.dead_letter_source = text(value),
            _ => {}
        }
    }

    /// Takes up one attribute under `aws.`.
    pub(crate) fn note_aws(&mut self, rest: &str, value: &'a Value) {
        match rest {
            "sqs.sent_timestamp" => either(&mut self.sent, millis(value)),
            "sqs.approximate_receive_count" => either(&mut self.receive_count, count(value)),
            "sqs.dead_letter_queue_source_arn" => {
                either(&mut self.dead_letter_source, text(value));
            }
            "sqs.queue.url" | "queue_url" | "sns.topic.arn" | "kinesis.stream_name" => {
                either(&mut self.destination_arn, text(value));
            }
            _ => {}
        }
    }

    /// The queue's own name, not its ARN or URL. What Pub/Sub has waiting, waits in a subscription.
    pub(crate) fn queue(&self) -> Option<&'a str> {
        let is_pubsub = self.system.is_some_and(|system| system.contains("pubsub"));
        let subscription = self.subscription.filter(|_| is_pubsub);
        subscription
            .or(self.destination)
            .or(self.destination_arn)
            .map(own_name)
            .filter(|name| !name.is_empty())
    }

    /// The queue that the messages fell out of, where they lie in a dead-letter queue. Service Bus has those
    /// below the queue or subscription that they serve.
    fn dead_letters_of(&self) -> Option<&'a str> {
        let below = || {
            let queue = self.queue()?;
            let at = queue.len().checked_sub(SERVICE_BUS_DLQ.len())?;
            let (source, end) = queue.split_at_checked(at)?;
            end.eq_ignore_ascii_case(SERVICE_BUS_DLQ).then_some(source)
        };
        self.dead_letter_source.map(own_name).or_else(below)
    }

    /// The operation as the semantic conventions or the library call it.
    pub(crate) fn operation(&self) -> Option<&'a str> {
        self.operation_name.or(self.operation)
    }

    /// True where anything was said about messages at all.
    pub(crate) fn is_told(&self) -> bool {
        self.system.is_some() || self.ids.is_some() || self.operation.is_some()
    }

    /// How such a message travels. `service` is the API's name (`rpc.service`), where no system is told.
    pub(crate) fn via(&self, service: Option<&str>) -> Via {
        self.system.or(service).map_or(Via::Unknown, via_of_system)
    }

    /// The side that the signal is on: by the operation, else by the span's kind.
    pub(crate) fn side(&self, kind: Option<SpanKind>) -> Option<Side> {
        match self.operation {
            Some("create" | "send" | "publish") => return Some(Side::Sent),
            Some("receive" | "process" | "deliver") => return Some(Side::Received),
            Some("settle") => return None,
            _ => {}
        }
        match (kind, self.operation_name) {
            (Some(SpanKind::Producer), _) => Some(Side::Sent),
            (Some(SpanKind::Consumer), _) => Some(Side::Received),
            (_, Some(name)) => side_of_name(name),
            _ => None,
        }
    }

    /// Every message that is named, with what is known of each.
    pub(crate) fn messages(&self, via: Via) -> impl Iterator<Item = MessageRef> + use<'_, 'a> {
        let one = match self.ids {
            Some(Value::List(_)) | None => None,
            Some(id) => Some(id),
        };
        let many = if let Some(Value::List(ids)) = self.ids { ids.as_slice() } else { &[] };
        let queue: Option<Text> = self.queue().map(Text::from);
        one.into_iter().chain(many).take(MESSAGES_MAX).filter_map(move |id| {
            let id = match id {
                Value::Str(id) if !id.is_empty() => Text::clone(id),
                Value::Int(id) => id.to_string().into(),
                _ => return None,
            };
            Some(MessageRef {
                queue: queue.clone(),
                sent: self.sent,
                receive_count: self.receive_count,
                dead_letter_source: self.dead_letters_of().map(Text::from),
                group: self.ordering_key.map(MessageRef::group_of),
                ..MessageRef::new(id, via)
            })
        })
    }

    /// The messages of a link, with the trace context that it carries; what it does not say is taken
    /// from its span.
    pub(crate) fn messages_of_link(
        &self,
        span: &Self,
        context: TraceContext,
    ) -> impl Iterator<Item = MessageRef> {
        let told = Self {
            system: self.system.or(span.system),
            destination: self.destination.or(self.destination_arn).or_else(|| span.queue()),
            subscription: self.subscription.or(span.subscription),
            sent: self.sent,
            dead_letter_source: self.dead_letter_source.or(span.dead_letter_source),
            ordering_key: self.ordering_key.or(span.ordering_key),
            ..*self
        };
        let via = told.via(None);
        let messages: Vec<MessageRef> = told.messages(via).collect();
        messages.into_iter().map(move |message| MessageRef { trace: Some(context), ..message })
    }
}

fn side_of_name(name: &str) -> Option<Side> {
    let name = name.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if any(&["send", "publish", "put", "produce"]) {
        Some(Side::Sent)
    } else if any(&["receive", "process", "deliver", "consume", "poll"]) {
        Some(Side::Received)
    } else {
        None
    }
}

/// How messages of a `messaging.system` travel; an unknown system is a queue.
pub(crate) fn via_of_system(system: &str) -> Via {
    let system = system.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| system.contains(word));
    if any(&["eventbridge", "event_bus", "eventgrid"]) {
        Via::EventBus
    } else if any(&["kafka", "kinesis", "eventhub", "event_hubs", "pulsar"]) {
        Via::Stream
    } else if any(&["sns", "pubsub", "simplenotification"]) {
        Via::Topic
    } else {
        Via::Queue
    }
}

/// The last part of an ARN, a URL or a Google resource name; other names as they are.
pub(crate) fn own_name(name: &str) -> &str {
    let last = |text, separator| str::rsplit(text, separator).next().unwrap_or(text);
    if name.starts_with("arn:") {
        last(last(name, ':'), '/')
    } else if name.contains("://") {
        last(name.split(['?', '#']).next().unwrap_or(name).trim_end_matches('/'), '/')
    } else if name.starts_with("projects/") {
        last(name, '/')
    } else {
        name
    }
}

fn millis(value: &Value) -> Option<Timestamp> {
    number(value).and_then(nonzero_millis)
}

fn nonzero_millis(millis: i64) -> Option<Timestamp> {
    (millis > 0).then(|| Timestamp::from_millis(millis))
}

fn count(value: &Value) -> Option<u32> {
    number(value).map(|n| u32_from_usize(usize_from_u64(u64_from_i64(n)))).filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_travel_their_own_way() {
        for (system, via) in [
            ("aws_sqs", Via::Queue),
            ("AmazonSQS", Via::Queue),
            ("servicebus", Via::Queue),
            ("rabbitmq", Via::Queue),
            ("aws.sns", Via::Topic),
            ("gcp_pubsub", Via::Topic),
            ("kafka", Via::Stream),
            ("aws_kinesis", Via::Stream),
            ("eventhubs", Via::Stream),
            ("aws.eventbridge", Via::EventBus),
            ("event_bus", Via::EventBus),
        ] {
            assert_eq!(via_of_system(system), via, "{system}");
        }
    }

    #[test]
    fn a_dead_letter_queue_of_service_bus_lies_below_what_it_serves() {
        for (queue, source) in [
            ("orders/$DeadLetterQueue", Some("orders")),
            ("shop/subscriptions/mail/$deadletterqueue", Some("shop/subscriptions/mail")),
            ("orders", None),
            ("$deadletterqueue", None),
        ] {
            let messaging = Messaging { destination: Some(queue), ..Messaging::default() };
            assert_eq!(messaging.dead_letters_of(), source, "{queue}");
        }
    }

    #[test]
    fn what_pubsub_delivers_is_of_a_subscription() {
        let of = |system| {
            let (destination, subscription) =
                (Some("orders"), Some("projects/p/subscriptions/mail"));
            Messaging { system: Some(system), destination, subscription, ..Messaging::default() }
        };
        assert_eq!(of("gcp_pubsub").queue(), Some("mail"));
        assert_eq!(of("servicebus").queue(), Some("orders"));
    }

    #[test]
    fn names_are_taken_out_of_arns_and_urls() {
        for (full, own) in [
            ("arn:aws:sqs:eu-west-1:123456789012:orders", "orders"),
            ("arn:aws:events:eu-west-1:123456789012:event-bus/shop", "shop"),
            ("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks", "clicks"),
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders?x=/y", "orders"),
            ("projects/p/topics/orders", "orders"),
            ("orders/$deadletterqueue", "orders/$deadletterqueue"),
            ("", ""),
        ] {
            assert_eq!(own_name(full), own, "{full}");
        }
    }
}
