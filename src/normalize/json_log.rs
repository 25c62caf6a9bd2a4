//! Structured JSON logs: NDJSON, arrays, single (pretty-printed) objects, and the text between them.
//!
//! A body in, [`Normalized`] out: log records, and platform events where a record has their shape. A bad
//! piece is rejected by its position and leaves its neighbours alone; a body of which nothing can be read
//! is [`Undecodable`]. A record that claims to be the platform's but carries a level and a message was
//! written by user code and is never taken for a platform event.

use std::borrow::Cow;

use serde_json::Value;

use super::access_log;
use super::aws_messages;
use super::config::Fields;
use super::emf;
use super::event_time::{self, EventTime};
use super::gather::{EventKey, Gather, Told};
use super::json_facts::{self, error_fact, first_line};
use super::json_fields::{Object, Reader};
use super::lambda_telemetry;
use super::lambda_text::{self, Line, LogLine, PlatformLine};
use super::pieces::{Piece, Pieces};
use super::redact::Redactor;
use super::shorten::shorten;
use super::{Config, Normalized, Origin, Undecodable};
use crate::signal::{
    self, Attributes, LogRecord, Receiver, Resource, Severity, SignalKind, Text, Timestamp,
    TraceContext,
};

const TIME: [&str; 13] = [
    "timestamp",
    "time",
    "@timestamp",
    "ts",
    "Timestamp",
    "eventTime",
    "event_timestamp",
    "datetime",
    "asctime",
    "date",
    "timeMillis",
    "@t",
    "_aws.Timestamp",
];
const LEVEL: [&str; 10] = [
    "level",
    "severity",
    "levelname",
    "log.level",
    "Level",
    "loglevel",
    "logLevel",
    "log_level",
    "severity_text",
    "@l",
];
const MESSAGE: [&str; 9] =
    ["message", "msg", "Message", "event", "body", "text", "log", "@message", "@m"];

/// Longest message that is searched for an object inside, in bytes.
const EMBEDDED_BYTES_MAX: usize = 256 * 1024;
/// Candidates for the start of an object that are tried in one message.
const EMBEDDED_TRIES_MAX: usize = 4;

/// How records are read: what fields are called, and what must not be kept of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) fields: &'a Fields,
    pub(crate) redactor: &'a Redactor,
}

impl Rules<'_> {
    /// The object without what must not be kept.
    pub(crate) fn cleaned<'o>(&self, object: &'o Object) -> Cow<'o, Object> {
        if self.redactor.is_idle() {
            return Cow::Borrowed(object);
        }
        let mut value = Value::Object(object.clone());
        self.redactor.json(&mut value);
        match value {
            Value::Object(cleaned) => Cow::Owned(cleaned),
            // An object stays one, whatever is taken out of it.
            _ => Cow::Owned(Object::new()),
        }
    }

    /// The text, where the object that it ends with is without what must not be kept.
    fn cleaned_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.redactor.is_idle() {
            return Cow::Borrowed(text);
        }
        match embedded(text) {
            Some((prefix, object)) => {
                let cleaned = Value::Object(self.cleaned(&object).into_owned());
                Cow::Owned(format!("{prefix}{cleaned}"))
            }
            None => self.redactor.text(text).map_or(Cow::Borrowed(text), Cow::Owned),
        }
    }
}

/// What surrounds a record: how to read it, and when it can have happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    pub(crate) rules: Rules<'a>,
    pub(crate) arrived: Timestamp,
    /// The transport's own time of the record; the arrival where it has none.
    pub(crate) fallback: Timestamp,
}

impl<'a> Around<'a> {
    pub(crate) fn arrival(rules: Rules<'a>, arrived: Timestamp) -> Self {
        Self { rules, arrived, fallback: arrived }
    }
}

/// Reads a body of `/ingest/json`. An empty array is a delivery of nothing; an empty body is no body.
pub fn normalize(body: &[u8], origin: &Origin, config: &Config) -> Result<Normalized, Undecodable> {
    if body.trim_ascii().is_empty() {
        return Err(Undecodable { offset: 0, message: "the body is empty".to_owned() });
    }
    let redactor = Redactor::new(&config.redact);
    let rules = Rules { fields: &config.fields, redactor: &redactor };
    let mut gather = Gather::new(Receiver::Json, origin, &redactor);
    let speaker =
        Resource { function: origin.function.as_deref().map(Text::from), ..gather.nobody() };
    read_into(body, &speaker, rules, &mut gather);
    gather.finish_readable()
}

/// Reads a body of log records into a delivery.
pub(crate) fn read_into(body: &[u8], speaker: &Resource, rules: Rules<'_>, gather: &mut Gather) {
    let around = Around::arrival(rules, gather.arrived());
    for piece in Pieces::new(body, is_glued) {
        if gather.is_full() {
            return;
        }
        match piece {
            Piece::Json(Value::Object(object)) => {
                gather.accept(None, speaker, of_object(&object, None, around));
            }
            Piece::Json(_) => gather.reject("a log record is an object or a line of text"),
            Piece::Text(text) => match of_known_text(&text, around) {
                Some(told) => gather.accept(None, speaker, told),
                None => gather.reject("neither JSON nor a log line of a known format"),
            },
            Piece::Prefix(text) => gather.accept(None, speaker, of_text(text, around)),
            Piece::Bad(message) => gather.reject(&message),
        }
    }
}

/// Reads an object; `line` is the text around it, where it came inside a line.
pub(crate) fn of_object(object: &Object, line: Option<&LogLine<'_>>, around: Around<'_>) -> Told {
    let is_platform = line.is_none_or(|line| line.severity.is_none());
    if let Some(told) = is_platform.then(|| lambda_telemetry::platform(object, around)).flatten() {
        return told;
    }
    if line.is_none() && access_log::is_record(object) {
        return access_log::of_object(object, around);
    }
    let mut told = record(object, line, around);
    if let SignalKind::Log(log) = &mut told.kind
        && lambda_telemetry::poses_as_platform(object)
        && log.attributes.0.len() < Attributes::MAX
    {
        log.attributes.0.push((Text::from("log.untrusted"), signal::Value::Bool(true)));
    }
    told
}

/// Reads a text line of any kind; one of no known format is a record without a level.
pub(crate) fn of_text(text: &str, around: Around<'_>) -> Told {
    of_known_text(text, around).unwrap_or_else(|| {
        let line = LogLine { message: text.trim_end(), ..LogLine::default() };
        text_record(&line, around)
    })
}

/// A text line in a format that platforms, runtimes or loggers write.
fn of_known_text(text: &str, around: Around<'_>) -> Option<Told> {
    match lambda_text::read(text, around.fallback) {
        Line::Platform(line) => Some(platform_line(*line, around)),
        Line::Log(line) => Some(text_record(&line, around)),
        Line::Plain => {
            if let Some(told) = access_log::of_text(text, around) {
                return Some(told);
            }
            let line = LogLine { message: text.trim(), ..LogLine::default() };
            let told = embedded(line.message).map(|(prefix, object)| {
                if is_glued(prefix, &object) {
                    glued(prefix, &object, around)
                } else {
                    embedding_record(&line, &object, around)
                }
            });
            // `[AWS Parameters Extension] …`: agents name themselves so.
            let is_bracketed =
                text.strip_prefix('[').is_some_and(|rest| rest.starts_with(char::is_alphabetic));
            told.or_else(|| {
                (is_bracketed || is_out_of_memory(text)).then(|| text_record(&line, around))
            })
        }
    }
}

fn platform_line(line: PlatformLine, around: Around<'_>) -> Told {
    let mut event = line.event;
    let told = event.time;
    let EventTime { time, original } =
        event_time::judge(Some(told), around.fallback, around.arrived);
    event.time = time;
    if original.is_some() && line.has_time {
        event.text = Some(Text::from(format!("original_timestamp {told}")));
    }
    let key = line.has_time.then(|| EventKey { name: "timeout line".to_owned(), time: told });
    let speaker = super::gather::Speaker { version: line.version, ..Default::default() };
    Told { kind: SignalKind::Platform(Box::new(event)), speaker, event: key, points: Vec::new() }
}

/// An object that is a record of its own, behind text that somebody wrote without a line's end. They
/// are one log event, so the text stays with the record.
fn glued(prefix: &str, object: &Object, around: Around<'_>) -> Told {
    let mut told = of_object(object, None, around);
    let text = Text::from(shorten(prefix.trim(), Attributes::VALUE_BYTES_MAX));
    match &mut told.kind {
        SignalKind::Platform(event) => event.text = event.text.take().or(Some(text)),
        SignalKind::Log(log) => {
            let value = signal::Value::Str(text);
            log.attributes.0.push((Text::from("glued_text"), value));
        }
        SignalKind::Span(_) | SignalKind::Metric(_) => {}
    }
    told
}

pub(crate) fn text_record(line: &LogLine<'_>, around: Around<'_>) -> Told {
    match embedded(line.message) {
        Some((prefix, object)) if prefix.trim().is_empty() => {
            of_object(&object, Some(line), around)
        }
        Some((_, object)) => embedding_record(line, &object, around),
        None => record(&Object::new(), Some(line), around),
    }
}

/// Text with an object in it: the text is the message, the object tells the rest.
fn embedding_record(line: &LogLine<'_>, object: &Object, around: Around<'_>) -> Told {
    let mut told = record(object, Some(line), around);
    if let SignalKind::Log(log) = &mut told.kind {
        log.body = body(line.message, around.rules);
    }
    told
}

/// The object that a message ends with, and the text before it.
fn embedded(message: &str) -> Option<(&str, Object)> {
    let message = message.trim_end();
    if !message.ends_with('}') || message.len() > EMBEDDED_BYTES_MAX {
        return None;
    }
    let starts = message.match_indices('{').take(EMBEDDED_TRIES_MAX);
    starts.into_iter().find_map(|(at, _)| {
        let (prefix, tail) = message.split_at(at);
        let value: Value = serde_json::from_str(tail).ok()?;
        let is_flat = super::pieces::is_within_depth(&value, super::pieces::DEPTH_MAX);
        match value {
            Value::Object(object) if is_flat => Some((prefix, object)),
            _ => None,
        }
    })
}

/// Whether an object behind text is a record of its own. A runtime's line with an object in it is not:
/// there the object is part of the message.
fn is_glued(prefix: &str, object: &Object) -> bool {
    let has = |names: &[&str]| names.iter().any(|name| object.contains_key(*name));
    let is_record = has(&TIME) && (has(&LEVEL) || has(&["message", "msg", "record"]));
    is_record && !prefix.trim().is_empty() && lambda_text::app_line(prefix).is_none()
}

fn record(object: &Object, line: Option<&LogLine<'_>>, around: Around<'_>) -> Told {
    let fields = around.rules.fields;
    let object = around.rules.cleaned(object);
    let mut reader = Reader::new(&object);
    let inner = message_object(&object);
    if let Some(inner) = inner.as_ref() {
        reader.look_into(inner);
    }
    let told_time = reader.take_as(&fields.timestamp, &TIME, event_time::read);
    let told_time = told_time.or(line.and_then(|line| line.time));
    let EventTime { time, original } =
        event_time::judge(told_time, around.fallback, around.arrived);
    let severity = reader
        .take_as(&fields.level, &LEVEL, read_severity)
        .or(line.and_then(|line| line.severity));
    let body = take_body(&mut reader, line, around.rules);
    let speaker = json_facts::speaker(&mut reader, fields);
    let error = json_facts::error(&reader, fields, severity, &body)
        .or_else(|| is_out_of_memory(&body).then(|| error_fact(first_line(&body))));
    let mut facts = json_facts::facts(&mut reader, fields, error);
    facts.invocation_id = facts.invocation_id.or_else(|| line?.invocation_id.map(Text::from));
    let caller = json_facts::event(&reader).and_then(|event| event.add_to(&mut facts));
    // A record without an invocation would be taken for a part of the caller.
    let caller = caller.filter(|_| facts.invocation_id.is_some());
    let trace = more_exact(json_facts::trace(&mut reader), caller);
    aws_messages::drop_absurd_sent_times(&mut facts.received, around.arrived);
    for message in &mut facts.sent {
        message.sent = Some(time);
    }
    let mut attributes = reader.attributes();
    if let Some(original) = original {
        let value = signal::Value::Str(Text::from(original.to_string()));
        attributes.0.push((Text::from("original_timestamp"), value));
    }
    let log = LogRecord { time, severity, trace, body, facts, attributes };
    let points = emf::points(&object, time);
    Told { kind: SignalKind::Log(Box::new(log)), speaker, event: None, points }
}

/// A record's own position, unless it only names a trace and its event the very span.
fn more_exact(own: Option<TraceContext>, caller: Option<TraceContext>) -> Option<TraceContext> {
    let is_exact = own.is_some_and(|own| own.span_id.is_some());
    let caller = caller.filter(|caller| !is_exact && (own.is_none() || caller.span_id.is_some()));
    caller.or(own)
}

/// The message, where it is an object or the text of one: `console.log(JSON.stringify(…))` below a
/// JSON formatter.
fn message_object(object: &Object) -> Option<Object> {
    MESSAGE.iter().find_map(|name| match object.get(*name)? {
        Value::Object(inner) => Some(inner.clone()),
        Value::String(text) if text.starts_with('{') => {
            embedded(text).filter(|(prefix, _)| prefix.is_empty()).map(|(_, inner)| inner)
        }
        _ => None,
    })
}

fn read_severity(value: &Value) -> Option<Severity> {
    match value {
        Value::String(word) => lambda_text::severity(word.trim())
            .or_else(|| word.trim().parse().ok().and_then(numbered_severity)),
        Value::Number(number) => number.as_u64().and_then(numbered_severity),
        _ => None,
    }
}

/// pino's and bunyan's numbers.
fn numbered_severity(n: u64) -> Option<Severity> {
    Some(match n {
        10..20 => Severity::Trace,
        20..30 => Severity::Debug,
        30..40 => Severity::Info,
        40..50 => Severity::Warn,
        50..60 => Severity::Error,
        60..=70 => Severity::Fatal,
        _ => return None,
    })
}

fn take_body(reader: &mut Reader<'_>, line: Option<&LogLine<'_>>, rules: Rules<'_>) -> Text {
    let found = MESSAGE.iter().find_map(|name| {
        let value = reader.record().get(*name)?;
        // An event object is the trigger's and stays an attribute; as text it is structlog's message.
        let is_event = *name == "event" && !value.is_string();
        (!is_event && !value.is_null()).then_some((*name, value))
    });
    match found {
        Some((name, Value::String(text))) => {
            if let Some((key, _)) = reader.record().get_key_value(name) {
                reader.mark(key);
            }
            body(text, rules)
        }
        // The object stays an attribute too, where fields can be found and redacted by name.
        Some((_, Value::Object(inner))) => MESSAGE
            .iter()
            .find_map(|name| inner.get(*name)?.as_str().map(|text| body(text, rules)))
            .unwrap_or_else(|| Text::from("")),
        Some((_, other)) => body(&other.to_string(), rules),
        None => body(line.map(|line| line.message).unwrap_or_default(), rules),
    }
}

fn body(text: &str, rules: Rules<'_>) -> Text {
    Text::from(shorten(&rules.cleaned_text(text.trim_end()), LogRecord::BODY_BYTES_MAX))
}

/// The words with which runtimes die of too little memory, when no level tells it.
fn is_out_of_memory(text: &str) -> bool {
    let head = first_line(shorten(text, 512));
    ["JavaScript heap out of memory", "java.lang.OutOfMemoryError", "runtime: out of memory"]
        .iter()
        .any(|words| head.contains(words))
        || ["MemoryError", "NoMemoryError"].iter().any(|word| head.starts_with(word))
}

#[cfg(test)]
#[path = "json_log_tests.rs"]
mod tests;
