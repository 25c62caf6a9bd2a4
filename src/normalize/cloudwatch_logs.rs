//! CloudWatch Logs subscriptions: decoded payloads in, log records and platform events out.
//!
//! A payload is `{"messageType":"DATA_MESSAGE","owner","logGroup","logStream","logEvents":[…]}`; several
//! may follow each other, with or without line ends between. Every log event is one signal, known by its
//! id, so that a delivery repeated under another request id counts once. Control messages (health checks
//! of the destination) are filtered, one each. Records of the group `aws/spans` are spans. A bad event or
//! payload leaves its neighbours alone.
//! Source: docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::event_time;
use super::gather::Gather;
use super::inflate::inflate;
use super::json_fields::is_placeholder;
use super::json_log::{self, Around, Rules};
use super::pieces::{DEPTH_MAX, VALUE_BYTES_MAX, is_within_depth};
use super::redact::Redactor;
use super::{Config, Normalized, Origin, Undecodable, cloudwatch_spans};
use crate::signal::{self, Fnv128, Receiver, Resource, Text};

/// Broken payloads of one record behind which reading is taken up again.
const RESTARTS_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow, default)]
    message_type: Cow<'a, str>,
    #[serde(borrow, default)]
    owner: Cow<'a, str>,
    #[serde(borrow, default)]
    log_group: Cow<'a, str>,
    #[serde(borrow, default)]
    log_stream: Cow<'a, str>,
    #[serde(borrow)]
    log_events: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(default)]
    timestamp: Value,
    #[serde(default)]
    message: Value,
}

/// Where the function's name stands in a payload.
#[derive(Debug, PartialEq, Eq)]
struct LogSource<'a> {
    function: Option<&'a str>,
    version: Option<&'a str>,
}

/// Reads decoded payloads, and the two envelopes in which they reach a forwarder function:
/// `{"awslogs":{"data":…}}` and Kinesis records. `decompressed_max` bounds each envelope's content.
pub fn normalize(
    body: &[u8],
    origin: &Origin,
    config: &Config,
    decompressed_max: usize,
) -> Result<Normalized, Undecodable> {
    let redactor = Redactor::new(&config.redact);
    let rules = Rules { fields: &config.fields, redactor: &redactor };
    let mut gather = Gather::new(Receiver::Firehose, origin, &redactor);
    let speaker = gather.nobody();
    match forwarded(body) {
        Some(contents) => {
            for (position, packed) in contents.iter().enumerate() {
                gather.at(position);
                match unpack(packed, decompressed_max) {
                    Ok(plain) => read_into(&plain, &speaker, rules, &mut gather),
                    Err(reason) => gather.reject(&reason),
                }
            }
        }
        None => read_into(body, &speaker, rules, &mut gather),
    }
    gather.finish_readable()
}

/// The event of a forwarder function; neither field is there in a payload itself.
#[derive(Deserialize)]
struct Forwarded {
    awslogs: Option<Packed>,
    #[serde(rename = "Records")]
    records: Option<Vec<KinesisRecord>>,
}

#[derive(Deserialize)]
struct KinesisRecord {
    kinesis: Packed,
}

#[derive(Deserialize)]
struct Packed {
    data: String,
}

/// What the forwarder's event, or a list of such, holds; None where the body is none.
fn forwarded(body: &[u8]) -> Option<Vec<String>> {
    let is_list = body.trim_ascii_start().starts_with(b"[");
    let events: Vec<Forwarded> = if is_list {
        serde_json::from_slice(body).ok()?
    } else {
        vec![serde_json::from_slice(body).ok()?]
    };
    let each = events.into_iter().flat_map(|event| {
        let of_kinesis = event.records.into_iter().flatten().map(|record| record.kinesis.data);
        event.awslogs.map(|one| one.data).into_iter().chain(of_kinesis)
    });
    let contents: Vec<String> = each.collect();
    (!contents.is_empty()).then_some(contents)
}

/// Base64, then whatever compression lies inside.
pub(crate) fn unpack(packed: &str, decompressed_max: usize) -> Result<Vec<u8>, String> {
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let bytes = base64::Engine::decode(&BASE64, packed.trim())
        .map_err(|e| format!("the record's data is no base64: {e}"))?;
    let plain = inflate(&bytes, decompressed_max).map_err(|e| format!("the record's data {e}"))?;
    Ok(plain.into_owned())
}

/// Whether a body holds subscription payloads.
pub(crate) fn is_payload(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "only whether the fields are there counts")]
    struct Shape {
        log_group: serde::de::IgnoredAny,
        log_events: serde::de::IgnoredAny,
    }
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Shape>();
    matches!(values.next(), Some(Ok(_)))
}

/// Reads payloads into a delivery. Where one is cut off, reading goes on at the next line; after
/// [`RESTARTS_MAX`] of them the rest is given up, because each restart may run over all that is left.
pub(crate) fn read_into(body: &[u8], nobody: &Resource, rules: Rules<'_>, gather: &mut Gather) {
    let mut rest = body;
    let mut n_restarts = 0;
    while !rest.trim_ascii().is_empty() && !gather.is_full() {
        let mut payloads = serde_json::Deserializer::from_slice(rest).into_iter::<Payload<'_>>();
        let mut trouble = None;
        for payload in payloads.by_ref() {
            match payload {
                Ok(payload) => read_payload(&payload, nobody, rules, gather),
                // Asking for another would move the offset past the bad one.
                Err(e) => {
                    trouble = Some(e);
                    break;
                }
            }
        }
        let Some(e) = trouble else { return };
        gather.reject(&format!("no CloudWatch Logs payload: {e}"));
        n_restarts += 1;
        if n_restarts > RESTARTS_MAX {
            return gather.reject("too many broken payloads; the rest of the record is not read");
        }
        let read = rest.get(payloads.byte_offset()..).unwrap_or_default();
        let bad = read.trim_ascii_start();
        // A payload of another shape is whole JSON and can be stepped over; broken JSON ends with its line.
        let whole = serde_json::Deserializer::from_slice(bad).into_iter::<&RawValue>();
        rest = after_bad(bad, whole);
    }
}

fn after_bad<'a, R: serde_json::de::Read<'a>>(
    bad: &'a [u8],
    mut values: serde_json::StreamDeserializer<'a, R, &'a RawValue>,
) -> &'a [u8] {
    let line_len = bad.iter().position(|b| *b == b'\n').map_or(bad.len(), |at| at + 1);
    let len = match values.next() {
        Some(Ok(_)) => values.byte_offset().max(1),
        _ => line_len,
    };
    bad.get(len..).unwrap_or_default()
}

fn read_payload(payload: &Payload<'_>, nobody: &Resource, rules: Rules<'_>, gather: &mut Gather) {
    if payload.message_type == "CONTROL_MESSAGE" {
        gather.filter();
        return;
    }
    let speaker = speaker(payload, nobody);
    for event in &payload.log_events {
        if gather.is_full() {
            return;
        }
        if event.get().len() > VALUE_BYTES_MAX {
            gather.reject("a log event of more than 4 MiB");
            continue;
        }
        let around = Around::arrival(rules, gather.arrived());
        match serde_json::from_str::<Event<'_>>(event.get()) {
            Ok(event) => read_event(&event, payload, &speaker, around, gather),
            Err(e) => gather.reject(&format!("no log event: {e}")),
        }
    }
}

fn read_event(
    event: &Event<'_>,
    payload: &Payload<'_>,
    speaker: &Resource,
    around: Around<'_>,
    gather: &mut Gather,
) {
    if cloudwatch_spans::is_group(&payload.log_group) {
        return read_span(event, payload, around, gather);
    }
    let time = event_time::read(&event.timestamp);
    let around = Around { fallback: time.unwrap_or(around.arrived), ..around };
    let told = match &event.message {
        Value::String(text) => match object_of(text) {
            Some(object) => json_log::of_object(&object, None, around),
            None => json_log::of_text(text, around),
        },
        Value::Object(object) if is_within_depth(&event.message, DEPTH_MAX) => {
            json_log::of_object(object, None, around)
        }
        _ => return gather.reject("a log event needs a message"),
    };
    gather.accept(identity(event, payload), speaker, told);
}

/// A record of the group in which X-Ray keeps spans.
fn read_span(event: &Event<'_>, payload: &Payload<'_>, around: Around<'_>, gather: &mut Gather) {
    let object = match &event.message {
        Value::String(text) => object_of(text),
        Value::Object(object) if is_within_depth(&event.message, DEPTH_MAX) => Some(object.clone()),
        _ => None,
    };
    let Some(object) = object else { return gather.reject("a span of aws/spans is an object") };
    let account = Some(&*payload.owner).filter(|owner| !is_placeholder(owner));
    let Rules { fields, redactor } = around.rules;
    let around =
        cloudwatch_spans::Around { fields, redactor, account: account.unwrap_or_default() };
    match cloudwatch_spans::read(&object, around) {
        Ok(read) => gather.accept(Some(read.identity), &read.speaker, read.told),
        Err(reason) => gather.reject(reason),
    }
}

fn object_of(text: &str) -> Option<super::json_fields::Object> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    match value {
        value if !is_within_depth(&value, DEPTH_MAX) => None,
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// Event ids are unique within their log group; two subscriptions of one group deliver the same ids.
fn identity(event: &Event<'_>, payload: &Payload<'_>) -> Option<u128> {
    let hash = Fnv128::default()
        .field(b"cloudwatch")
        .field(payload.owner.as_bytes())
        .field(payload.log_group.as_bytes())
        .field(event.id.as_bytes());
    (!event.id.is_empty()).then(|| hash.finish())
}

fn speaker(payload: &Payload<'_>, nobody: &Resource) -> Resource {
    let source = log_source(&payload.log_group, &payload.log_stream);
    let owned = |text: &str| (!is_placeholder(text)).then(|| Text::from(text));
    let mut speaker = nobody.clone();
    speaker.function = source.function.map(Text::from);
    speaker.version = source.version.map(Text::from);
    speaker.instance = owned(&payload.log_stream);
    speaker.account = owned(&payload.owner);
    if let Some(group) = owned(&payload.log_group) {
        let key = Text::from("aws.log.group.names");
        speaker.attributes.0.push((key, signal::Value::Str(group)));
    }
    speaker
}

/// `/aws/lambda/NAME` names the function (`/aws/lambda/us-east-1.NAME` one at the edge); in a shared
/// group only the stream does: `2020/03/05/NAME[VERSION]INSTANCE`.
fn log_source<'a>(group: &'a str, stream: &'a str) -> LogSource<'a> {
    let (before, version) = match stream
        .split_once('[')
        .and_then(|(before, rest)| Some((before, rest.split_once(']')?.0)))
    {
        Some((before, version)) => (before, Some(version)),
        None => ("", None),
    };
    let of_group = group.strip_prefix("/aws/lambda/").map(|name| match name.split_once('.') {
        Some((region, name)) if region.contains('-') => name,
        _ => name,
    });
    let of_stream = before.rsplit('/').next();
    let function = of_group.or(of_stream).filter(|name| !name.is_empty());
    LogSource { function, version: version.filter(|version| !version.is_empty()) }
}

#[cfg(test)]
#[path = "cloudwatch_logs_tests.rs"]
mod tests;
