//! Pub/Sub push: envelopes around log entries.
//!
//! `{"message":{"data":…,"messageId":…},"subscription":…}` in, wrapped in a CloudEvent too, or a bare body
//! where the subscription does not wrap; Cloud Logging entries, or any structured log, inside. A message
//! that can be read as one but not understood is rejected, never refused: Pub/Sub would send it again
//! for days. Source: cloud.google.com/pubsub/docs/push

use serde_json::Value;

use super::cloudwatch_logs::unpack;
use super::gather::Gather;
use super::google_messages::{Envelope, enveloped};
use super::json_fields::text;
use super::json_log::{self, Around, Rules};
use super::pieces::{DEPTH_MAX, is_within_depth};
use super::redact::Redactor;
use super::{Config, Normalized, Origin, Undecodable, gcp_log_entry};
use crate::signal::{Receiver, Resource, Text};

/// What a push became.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// Subscription and message id, which name the delivery; None for a body without an envelope.
    pub id: Option<String>,
    pub normalized: Normalized,
}

/// Reads a push's body. Its message may hold `decompressed_max` bytes once unpacked.
pub fn normalize(
    body: &[u8],
    origin: &Origin,
    config: &Config,
    decompressed_max: usize,
) -> Result<Push, Undecodable> {
    let redactor = Redactor::new(&config.redact);
    let rules = Rules { fields: &config.fields, redactor: &redactor };
    let mut gather = Gather::new(Receiver::Pubsub, origin, &redactor);
    let speaker =
        Resource { function: origin.function.as_deref().map(Text::from), ..gather.nobody() };
    let value = serde_json::from_slice::<Value>(body).ok();
    let envelope = value.as_ref().and_then(Value::as_object).and_then(enveloped);
    let Some(Envelope { push, message, .. }) = envelope else {
        read_content(body, &speaker, rules, &mut gather);
        return Ok(Push { id: None, normalized: gather.finish_readable()? });
    };
    let subscription = text(push, "subscription").unwrap_or_default();
    let message_id = text(message, "messageId").or_else(|| text(message, "message_id"));
    let id = message_id.filter(|id| !id.is_empty()).map(|id| format!("{subscription} {id}"));
    match text(message, "data").map(|data| unpack(data, decompressed_max)) {
        Some(Ok(plain)) => read_content(&plain, &speaker, rules, &mut gather),
        Some(Err(reason)) => gather.reject(&reason),
        None => gather.reject("the message has no data"),
    }
    Ok(Push { id, normalized: gather.finish()? })
}

fn read_content(plain: &[u8], speaker: &Resource, rules: Rules<'_>, gather: &mut Gather) {
    match serde_json::from_slice::<Value>(plain) {
        Ok(Value::Object(entry)) if gcp_log_entry::is_entry(&entry) => {
            let around = Around::arrival(rules, gather.arrived());
            if entry.values().all(|value| is_within_depth(value, DEPTH_MAX)) {
                gcp_log_entry::read_into(&entry, speaker, around, gather);
            } else {
                gather.reject(&format!("nested more than {DEPTH_MAX} deep"));
            }
        }
        _ if plain.trim_ascii().is_empty() => gather.reject("the message is empty"),
        _ => json_log::read_into(plain, speaker, rules, gather),
    }
}

#[cfg(test)]
#[path = "pubsub_tests.rs"]
mod tests;
