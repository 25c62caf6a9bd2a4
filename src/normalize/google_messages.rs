//! Messages of Google Pub/Sub as functions get them: pushed, as the data of a `CloudEvent`, or as the event
//! of a function of the first generation.
//!
//! An object in, the message out; None where nothing shows that it is one of Pub/Sub's, since loggers
//! call many things `message`. A message that fell out of a subscription says of which.
//! Source: cloud.google.com/pubsub/docs/push, cloud.google.com/pubsub/docs/handling-failures

use serde_json::Value;

use super::aws_messages::read_count;
use super::aws_names::resource_name;
use super::carrier::{self, object_in};
use super::event_time;
use super::json_fields::{Object, id, text};
use crate::signal::{MessageRef, Text, TraceContext, Via};

/// What a message comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    /// The `CloudEvent`, or the envelope itself.
    outer: &'a Object,
    /// What holds message and subscription.
    pub(crate) push: &'a Object,
    pub(crate) message: &'a Object,
}

/// The envelope of a push; it may be the data of a `CloudEvent`.
pub(crate) fn enveloped(outer: &Object) -> Option<Envelope<'_>> {
    let push = outer.get("data").and_then(Value::as_object).unwrap_or(outer);
    let message = push.get("message")?.as_object()?;
    let is_message = ["data", "messageId", "message_id", "attributes"];
    let found = is_message.iter().any(|name| message.contains_key(*name));
    found.then_some(Envelope { outer, push, message })
}

/// The message that an event is of.
pub(crate) fn of_event(event: &Object) -> Option<MessageRef> {
    pushed(event).or_else(|| background(event))
}

fn pushed(event: &Object) -> Option<MessageRef> {
    let envelope = enveloped(event)?;
    let Envelope { outer, push, message } = envelope;
    let told_id = first(message, &["messageId", "message_id"]).and_then(id);
    // The id of the `CloudEvent` is the message's.
    let event_id = || outer.get("id").and_then(id).filter(|_| envelope.is_cloud_event());
    let subscription = text(push, "subscription");
    let published = first(message, &["publishTime", "publish_time"]);
    if subscription.is_none() && published.is_none() && !envelope.is_cloud_event() {
        return None;
    }
    let mut pushed = MessageRef::new(told_id.or_else(event_id)?, Via::Topic);
    let topic = || text(outer, "source").filter(|from| from.contains("/topics/"));
    pushed.queue = subscription.or_else(topic).and_then(resource_name).map(Text::from);
    pushed.sent = published.and_then(event_time::read);
    pushed.receive_count = push.get("deliveryAttempt").and_then(read_count).filter(|n| *n > 0);
    describe(&mut pushed, message);
    pushed.trace = pushed.trace.or_else(|| carrier::read(outer));
    Some(pushed)
}

impl Envelope<'_> {
    fn is_cloud_event(&self) -> bool {
        text(self.outer, "type").is_some_and(|kind| kind.starts_with("google.cloud.pubsub."))
    }
}

/// An event of the first generation: the message has no id of its own, its context has. Older ones have the
/// context's fields beside the data.
fn background(event: &Object) -> Option<MessageRef> {
    let message = event.get("data")?.as_object()?;
    let context = event.get("context").and_then(Value::as_object).unwrap_or(event);
    text(context, "eventType").filter(|kind| kind.contains("pubsub"))?;
    let mut told = MessageRef::new(id(context.get("eventId")?)?, Via::Topic);
    let topic = text(context, "resource.name").or_else(|| text(context, "resource"));
    told.queue = topic.and_then(resource_name).map(Text::from);
    told.sent = context.get("timestamp").and_then(event_time::read);
    describe(&mut told, message);
    Some(told)
}

/// What a message itself says.
fn describe(told: &mut MessageRef, message: &Object) {
    let attributes = message.get("attributes").and_then(Value::as_object);
    let key = text(message, "orderingKey").or_else(|| text(message, "ordering_key"));
    told.group = key.map(MessageRef::group_of);
    told.trace = attributes.and_then(carrier::read).or_else(|| carried(message));
    // Pub/Sub itself adds it, when it forwards to a dead-letter topic.
    told.dead_letter_source = attributes
        .and_then(|attributes| text(attributes, "CloudPubSubDeadLetterSourceSubscription"))
        .and_then(resource_name)
        .map(Text::from);
}

/// The position that the data carries, where it is an object.
fn carried(message: &Object) -> Option<TraceContext> {
    match message.get("data")? {
        Value::Object(data) => carrier::read(data),
        Value::String(data) => carrier::read(&object_in(data)?),
        _ => None,
    }
}

fn first<'a>(object: &'a Object, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| object.get(*name))
}

#[cfg(test)]
#[path = "google_messages_tests.rs"]
mod tests;
