//! `CloudEvents` of any source, and the events of Azure's Event Grid in its own words, as functions log them.
//!
//! An object in, the message out. In structured mode the event is the object; in binary mode its attributes
//! are headers, `ce-id` and so on, and the body stands elsewhere. What it carries of a trace are the extension
//! `traceparent` and the tracers' headers.
//! Source: `CloudEvents` 1.0.2, its HTTP and Kafka bindings and its extension for distributed tracing;
//! learn.microsoft.com/azure/event-grid/event-schema

use serde_json::Value;

use super::carrier;
use super::event_time;
use super::json_fields::{Object, id, text};
use crate::signal::{MessageRef, Timestamp, Via};

/// Headers of an event that are looked through: servers allow about a hundred.
const HEADERS_MAX: usize = 256;
/// Ids of fewer bytes are often counted: alone they are no sign of one event.
const ID_BYTES_MIN: usize = 16;

/// The message that an event is, whichever way it is written.
pub(crate) fn of_event(event: &Object) -> Option<MessageRef> {
    structured(event).or_else(|| binary(event)).or_else(|| event_grid(event))
}

pub(crate) fn structured(event: &Object) -> Option<MessageRef> {
    text(event, "specversion")?;
    text(event, "type")?;
    let mut told = message(event.get("id")?, text(event, "source")?, event.get("time"))?;
    told.trace = carrier::read(event);
    Some(told)
}

/// Headers may be lists, and have names in any case; Kafka's binding has `ce_` before them.
fn binary(event: &Object) -> Option<MessageRef> {
    let headers = event.get("headers")?.as_object()?;
    let named = |wanted: &str| {
        let is_it = |name: &str| {
            let bare = name.get(..3).filter(|start| {
                start.eq_ignore_ascii_case("ce-") || start.eq_ignore_ascii_case("ce_")
            });
            bare.is_some() && name.get(3..).is_some_and(|rest| rest.eq_ignore_ascii_case(wanted))
        };
        let found = headers.iter().take(HEADERS_MAX).find(|(name, _)| is_it(name));
        found.and_then(|(_, value)| value.as_array().map_or(Some(value), |list| list.first()))
    };
    named("specversion")?;
    named("type")?;
    let mut told = message(named("id")?, named("source")?.as_str()?, named("time"))?;
    told.trace = carrier::read(headers);
    Some(told)
}

/// One event of the list that Event Grid gives.
fn event_grid(event: &Object) -> Option<MessageRef> {
    text(event, "eventType")?;
    text(event, "dataVersion")?;
    text(event, "subject")?;
    let at = event.get("eventTime")?;
    message(event.get("id")?, text(event, "topic").unwrap_or_default(), Some(at))
}

fn message(own: &Value, source: &str, at: Option<&Value>) -> Option<MessageRef> {
    let own = id(own)?;
    // Counted ids of nobody in particular are everybody's.
    if source.is_empty() && own.len() < ID_BYTES_MIN {
        return None;
    }
    let mut told = named(&own, source);
    told.sent = at.and_then(event_time::read).filter(|at| *at > Timestamp::EPOCH);
    Some(told)
}

/// The event of this id, which is one within its source.
pub(crate) fn named(own: &str, source: &str) -> MessageRef {
    if own.len() < ID_BYTES_MIN {
        return MessageRef::new(format!("{source}#{own}"), Via::EventBus);
    }
    MessageRef::new(own, Via::EventBus)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::normalize::show::message_text;

    fn check(events: &[Value], expect: &Expect) {
        let shown = events.iter().map(|event| match of_event(event.as_object().unwrap()) {
            Some(message) => format!("{}\n", message_text(&message)),
            None => "nothing\n".to_owned(),
        });
        expect.assert_eq(&shown.collect::<String>());
    }

    #[test]
    fn events_are_read_in_both_modes() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        check(
            &[
                json!({"specversion": "1.0", "id": "9aeb0fdf-c01e-0131-0922-9eb54906e209",
                    "source": "/shop/orders", "type": "order.placed",
                    "time": "2026-11-25T10:00:00Z", "traceparent": traceparent, "data": {}}),
                json!({"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.placed"}),
                json!({"headers": {"Ce-Id": ["9aeb0fdf-c01e-0131-0922-9eb54906e209"],
                    "ce-source": "/shop/orders", "CE-TYPE": "order.placed", "ce-specversion": "1.0",
                    "traceparent": traceparent}, "body": "{}"}),
                json!({"headers": {"ce_id": "8", "ce_source": "/shop", "ce_type": "t",
                    "ce_specversion": "1.0", "ce_traceparent": traceparent}}),
                json!({"id": "831e1650-001e-001b-66ab-eeb76e069631", "topic": "/subscriptions/1/t",
                    "subject": "blobs/a", "eventType": "Microsoft.Storage.BlobCreated",
                    "eventTime": "2026-11-25T10:00:00Z", "dataVersion": "1", "data": {}}),
            ],
            &expect![[r"
                EventBus 9aeb0fdf-c01e-0131-0922-9eb54906e209 sent=2026-11-25T10:00:00.000000000Z trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331
                EventBus /shop#7
                EventBus 9aeb0fdf-c01e-0131-0922-9eb54906e209 trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331
                EventBus /shop#8 trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331
                EventBus 831e1650-001e-001b-66ab-eeb76e069631 sent=2026-11-25T10:00:00.000000000Z
            "]],
        );
    }

    #[test]
    fn what_only_looks_like_an_event_is_none() {
        check(
            &[
                json!({"id": "9aeb0fdf-c01e-0131-0922-9eb54906e209", "source": "/shop", "type": "t"}),
                json!({"specversion": "1.0", "source": "/shop", "type": "t"}),
                json!({"headers": {"ce-id": "9aeb0fdf-c01e-0131-0922-9eb54906e209"}}),
                json!({"headers": {"c": "x", "é-id": "1"}}),
                json!({"id": "1", "eventType": "click", "eventTime": "2026-11-25T10:00:00Z"}),
            ],
            &expect![[r"
                nothing
                nothing
                nothing
                nothing
                nothing
            "]],
        );
    }
}
