//! What the host of Azure Functions logs of the message that a run was given.
//!
//! A host's line in: `Trigger Details: MessageId: …, DeliveryCount: 1, EnqueuedTimeUtc: …, …` of Service Bus,
//! `…, DequeueCount: 1, InsertionTime: …` of a storage queue. The received message out, without its queue,
//! which the line does not name. Lines of user code are none, and neither is that of a blob: its message is
//! the host's own.

use super::aws_messages::read_count;
use super::azure_fields;
use super::json_fields::id;
use crate::signal::{Facts, MessageRef, Via};

/// Adds what a line tells to the facts of its record.
pub(super) fn add_to(facts: &mut Facts, category: Option<&str>, line: &str) {
    let is_hosts =
        |category: &str| category.starts_with("Function.") && !category.ends_with(".User");
    let Some(told) = category.filter(|name| is_hosts(name)).and_then(|_| message(line)) else {
        return;
    };
    facts.trigger = facts.trigger.or(Some(told.via));
    if facts.received.iter().all(|known| known.id != told.id) {
        facts.received.push(told);
    }
}

fn message(line: &str) -> Option<MessageRef> {
    let fields = line.strip_prefix("Trigger Details: ")?;
    let told = |names: &[&str]| {
        let mut pairs = fields.split(", ").filter_map(|field| field.split_once(": "));
        pairs.find(|(name, _)| names.contains(name)).map(|(_, value)| value.trim())
    };
    if told(&["BlobCreated"]).is_some() {
        return None;
    }
    let mut message = MessageRef::new(id(&told(&["MessageId"])?.into())?, Via::Queue);
    let sent = told(&["EnqueuedTimeUtc", "EnqueuedTime", "InsertionTime", "InsertedOn"]);
    message.sent = sent.and_then(azure_fields::text_time);
    let count = told(&["DeliveryCount", "DequeueCount"]);
    message.receive_count = count.and_then(|n| read_count(&n.into())).filter(|n| *n > 0);
    Some(message)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::normalize::show::message_text;

    fn check(line: &str, expect: &Expect) {
        let mut facts = Facts::default();
        add_to(&mut facts, Some("Function.mail"), line);
        expect.assert_eq(&facts.received.iter().map(message_text).collect::<String>());
    }

    #[test]
    fn the_host_tells_of_the_message_of_a_queue() {
        check(
            "Trigger Details: MessageId: 796ff79c0e2742568c47095abd3fa7a6, SequenceNumber: 6, DeliveryCount: 2, EnqueuedTimeUtc: 2026-11-25T09:59:56.6630000+00:00, LockedUntilUtc: 2026-11-25T10:00:56.6780000+00:00, SessionId: (null)",
            &expect![
                "Queue 796ff79c0e2742568c47095abd3fa7a6 sent=2026-11-25T09:59:56.663000000Z receive_count=2"
            ],
        );
        check(
            "Trigger Details: MessageId: b00a86dc-298d-4cd2-811f-98ec39545539, DequeueCount: 1, InsertionTime: 11/25/2026 9:59:51 AM +00:00",
            &expect![
                "Queue b00a86dc-298d-4cd2-811f-98ec39545539 sent=2026-11-25T09:59:51.000000000Z receive_count=1"
            ],
        );
        check(
            "Trigger Details: MessageId: baab008b-9e8a-4e30-8c60-28c0dca96b2d, DequeueCount: 1, InsertionTime: 2026-11-25T09:59:39.000+00:00, BlobCreated: 2026-11-25T09:59:28.000+00:00",
            &expect![""],
        );
        check("Trigger Details: PartitionId: 3, Offset: 7-9, Count: 4", &expect![""]);
    }

    #[test]
    fn user_code_does_not_speak_for_the_host() {
        for category in [Some("Function.mail.User"), Some("Host.Results"), None] {
            let mut facts = Facts::default();
            add_to(&mut facts, category, "Trigger Details: MessageId: m-1, DequeueCount: 1");
            assert_eq!(facts, Facts::default(), "{category:?}");
        }
    }
}
