//! Known fields inside a log record's structured body.
//!
//! In: the body of an OTLP log record as a map (a JSON object, or one written as text), already
//! redacted. Out: what its attributes did not say: ids, level, times, errors. The names are those of
//! the config and those that loggers for functions use (Lambda's JSON logs, Powertools). Names of the
//! config may be paths with dots. A value is only taken where its type fits.

use std::collections::HashSet;
use std::time::Duration;

use crate::signal::{
    ErrorFact, ErrorKind, Facts, MessageRef, Severity, Text, Timestamp, TraceContext, Value, Via,
};

use super::super::config::Fields;
use super::super::send_answers;
use super::super::shorten::shorten;
use super::super::trace_header::{traceparent, x_amzn_trace_id};
use super::{ERROR_BYTES_MAX, push_correlation_id, truth};

const INVOCATION_ID: [&str; 6] = [
    "requestId",
    "function_request_id",
    "FunctionRequestId",
    "awsRequestId",
    "aws_request_id",
    "AWSRequestId",
];
const FUNCTION: [&str; 3] = ["function_name", "functionName", "FunctionName"];
const COLD_START: [&str; 3] = ["cold_start", "coldStart", "ColdStart"];
const CORRELATION_ID: [&str; 1] = ["CorrelationId"];
const LEVEL: [&str; 4] = ["level", "Level", "severity", "log_level"];
const ERROR_TYPE: [&str; 4] = ["errorType", "exception_name", "error.type", "exception.type"];
const ERROR_MESSAGE: [&str; 4] =
    ["errorMessage", "exception_message", "error.message", "exception.message"];
const SENT_IDS: [&str; 2] = ["sent_message_id", "sentMessageId"];
const RECEIVED_IDS: [&str; 2] = ["message_id", "messageId"];
const XRAY: [&str; 3] = ["xray_trace_id", "XrayTraceId", "xrayTraceId"];

/// What a body says beside [`Facts`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BodyFacts {
    pub(crate) severity: Option<Severity>,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) time: Option<Timestamp>,
}

/// Adds to `facts` what the body says and they do not.
pub(crate) fn read(body: &[(Text, Value)], fields: &Fields, facts: &mut Facts) -> BodyFacts {
    let find = |names: &[String], known: &[&str]| {
        let own = names.iter().find_map(|name| at_path(body, name));
        own.or_else(|| known.iter().find_map(|name| entry(body, name)))
    };
    let words = |names: &[String], known: &[&str]| find(names, known).and_then(plain_text);
    for name in fields.correlation_id.iter().map(String::as_str).chain(CORRELATION_ID) {
        if let Some(value) = at_path(body, name) {
            push_correlation_id(&mut facts.correlation_ids, value);
        }
    }
    if facts.invocation_id.is_none() {
        facts.invocation_id = words(&fields.invocation_id, &INVOCATION_ID);
    }
    if facts.function.is_none() {
        facts.function = words(&fields.function, &FUNCTION);
    }
    if facts.cold_start.is_none() {
        facts.cold_start = find(&fields.cold_start, &COLD_START).and_then(truth);
    }
    if facts.duration.is_none() {
        facts.duration = find(&fields.duration_ms, &[]).and_then(millis);
    }
    if facts.error.is_none() {
        facts.error = error(words(&fields.error, &ERROR_TYPE), words(&[], &ERROR_MESSAGE));
    }
    let failed = facts.error.is_some();
    add_messages(&mut facts.sent, find(&fields.sent_ids, &SENT_IDS));
    let is_new = |answered: &MessageRef, sent: &[MessageRef]| {
        sent.iter().all(|message| message.id != answered.id)
    };
    for answered in send_answers::read_entries(body) {
        if is_new(&answered, &facts.sent) {
            facts.sent.push(answered);
        }
    }
    add_messages(&mut facts.received, find(&fields.received_ids, &RECEIVED_IDS));
    for message in &mut facts.received {
        message.failed |= failed;
    }
    BodyFacts {
        severity: words(&fields.level, &LEVEL).and_then(|word| Severity::of(&word)),
        trace: trace(body),
        time: find(&fields.timestamp, &[]).and_then(time),
    }
}

fn entry<'a>(entries: &'a [(Text, Value)], name: &str) -> Option<&'a Value> {
    entries.iter().find(|(key, _)| **key == *name).map(|(_, value)| value)
}

/// An entry by its whole name, else by the path that the name's dots describe.
fn at_path<'a>(entries: &'a [(Text, Value)], path: &str) -> Option<&'a Value> {
    if let Some(value) = entry(entries, path) {
        return Some(value);
    }
    let (head, rest) = path.split_once('.')?;
    match entry(entries, head)? {
        Value::Map(inner) => at_path(inner, rest),
        _ => None,
    }
}

fn plain_text(value: &Value) -> Option<Text> {
    match value {
        Value::Str(text) if !text.is_empty() => Some(Text::clone(text)),
        Value::Int(n) => Some(n.to_string().into()),
        _ => None,
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(n) => Some(crate::number::f64_from_i64(*n)),
        Value::Float(x) => Some(*x),
        Value::Str(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn millis(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(float(value)? / 1e3).ok()
}

/// RFC 3339, or a number since the epoch whose size tells its unit: seconds below 10^11 (the year
/// 5138), milliseconds below 10^14, microseconds below 10^17, else nanoseconds.
fn time(value: &Value) -> Option<Timestamp> {
    if let Some(time) = value.as_str().and_then(Timestamp::parse_rfc3339) {
        return Some(time);
    }
    let number = float(value).filter(|x| x.is_finite() && *x > 0.0)?;
    let seconds = match number {
        x if x < 1e11 => x,
        x if x < 1e14 => x / 1e3,
        x if x < 1e17 => x / 1e6,
        x => x / 1e9,
    };
    Some(Timestamp::from_secs_f64(seconds))
}

fn trace(body: &[(Text, Value)]) -> Option<TraceContext> {
    let by_xray = XRAY.iter().find_map(|name| entry(body, name)?.as_str());
    let by_w3c = entry(body, "traceparent").and_then(Value::as_str);
    by_w3c.and_then(traceparent).or_else(|| by_xray.and_then(x_amzn_trace_id))
}

fn error(kind: Option<Text>, message: Option<Text>) -> Option<ErrorFact> {
    let text = match (kind, message) {
        (Some(kind), Some(message)) => format!("{kind}: {message}").into(),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => return None,
    };
    let message = shorten(&text, ERROR_BYTES_MAX);
    Some(ErrorFact { kind: ErrorKind::of(message), message: message.into() })
}

/// Adds the ids of one field, which may be a list.
fn add_messages(messages: &mut Vec<MessageRef>, ids: Option<&Value>) {
    let ids = match ids {
        Some(Value::List(ids)) => ids.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => return,
    };
    let mut known: HashSet<Text> = messages.iter().map(|m| Text::clone(&m.id)).collect();
    for id in ids.iter().take(super::messaging::MESSAGES_MAX).filter_map(plain_text) {
        if known.insert(Text::clone(&id)) {
            messages.push(MessageRef::new(id, Via::Unknown));
        }
    }
}
