//! Traces and logs as OTLP/JSON.
//!
//! In: a JSON object with `resourceSpans`, `resourceLogs` or `resourceMetrics`. Out: raw records to
//! [`Gather`]. Keys may be camelCase or snake_case, in any order; unknown ones are skipped. What is no
//! JSON, or another signal's request, is undecodable; a record with a value of a wrong type rejects
//! itself; one whose *resource* is wrong does too, because nobody knows whose it is.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::normalize::Undecodable;
use crate::signal::{Attributes, SpanId, Text, TraceId, Value};

use super::gather::{Gather, LINKS_MAX};
use super::id::Id;
use super::json_reader::{Fault, Kind, Place, Reader};
use super::protobuf::{bytes_value, note_exception};
use super::record::{RawLink, RawLog, RawSpan};
use super::{OtlpSignal, json_metrics};

const SPAN_KINDS: [&str; 6] =
    ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const STATUS_CODES: [&str; 3] = ["UNSET", "OK", "ERROR"];
const SEVERITIES: [&str; 25] = [
    "UNSPECIFIED",
    "TRACE",
    "TRACE2",
    "TRACE3",
    "TRACE4",
    "DEBUG",
    "DEBUG2",
    "DEBUG3",
    "DEBUG4",
    "INFO",
    "INFO2",
    "INFO3",
    "INFO4",
    "WARN",
    "WARN2",
    "WARN3",
    "WARN4",
    "ERROR",
    "ERROR2",
    "ERROR3",
    "ERROR4",
    "FATAL",
    "FATAL2",
    "FATAL3",
    "FATAL4",
];

/// Why reading ended: the text is no JSON, or holds too many records.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Fault),
    Undecodable(Undecodable),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Undecodable> for Stop {
    fn from(undecodable: Undecodable) -> Self {
        Self::Undecodable(undecodable)
    }
}

impl From<Stop> for Undecodable {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Undecodable(undecodable) => undecodable,
            Stop::Fault(Fault { offset, message }) => {
                Self { offset, message: format!("not OTLP/JSON: {message} at byte {offset}") }
            }
        }
    }
}

pub(super) fn request(
    body: &[u8],
    signal: OtlpSignal,
    gather: &mut Gather<'_>,
) -> Result<(), Undecodable> {
    let text = simdutf8::compat::from_utf8(body).map_err(|error| Undecodable {
        offset: error.valid_up_to(),
        message: format!("not OTLP/JSON: no UTF-8 at byte {}", error.valid_up_to()),
    })?;
    let mut reader = Reader::new(text.strip_prefix('\u{feff}').unwrap_or(text));
    read_request(&mut reader, signal, gather).map_err(Undecodable::from)
}

fn read_request(
    reader: &mut Reader<'_>,
    signal: OtlpSignal,
    gather: &mut Gather<'_>,
) -> Result<(), Stop> {
    if reader.kind()? != Kind::Object {
        return Err(wrong(0, "an object expected"));
    }
    reader.object_of(|reader, key| {
        match signal_of(key) {
            Some(found) if found == signal => {
                reader.list_of(|reader| by_resource(reader, signal, gather))?;
            }
            Some(_) => {
                let what = "another signal's request: send it to its own path";
                return Err(wrong(reader.place().offset(), what));
            }
            None => reader.skip()?,
        }
        match reader.take_mismatch() {
            Some(mismatch) => Err(wrong(mismatch.offset, &mismatch.to_string())),
            None => Ok(()),
        }
    })?;
    Ok(reader.end()?)
}

fn wrong(offset: usize, what: &str) -> Stop {
    Stop::Undecodable(Undecodable { offset, message: format!("not OTLP/JSON: {what}") })
}

fn signal_of(key: &str) -> Option<OtlpSignal> {
    match key {
        "resourceSpans" | "resource_spans" => Some(OtlpSignal::Traces),
        "resourceLogs" | "resource_logs" => Some(OtlpSignal::Logs),
        "resourceMetrics" | "resource_metrics" => Some(OtlpSignal::Metrics),
        _ => None,
    }
}

/// One of `resourceSpans`, …. Scopes that stand before their resource are passed over, and read when
/// it is known; senders put it first, so that is rare.
fn by_resource(
    reader: &mut Reader<'_>,
    signal: OtlpSignal,
    gather: &mut Gather<'_>,
) -> Result<(), Stop> {
    let mut found = None;
    let mut passed_over = Vec::new();
    reader.object_of(|reader, key| match (key, &found) {
        ("resource", None) => {
            found = Some(resource(reader, signal, gather)?);
            Ok(())
        }
        (key, Some(found)) if is_scopes(key) => scopes(reader, found, gather),
        (key, _) => {
            if is_scopes(key) {
                passed_over.push(reader.place());
            }
            Ok(reader.skip()?)
        }
    })?;
    reject_mismatch(reader, gather)?;
    if passed_over.is_empty() {
        return Ok(());
    }
    let end = reader.place();
    let found = match found {
        Some(found) => found,
        None => Found { signal, resource: gather.resource(Attributes::default()), fault: None },
    };
    for place in passed_over {
        reader.go_back(place);
        scopes(reader, &found, gather)?;
    }
    reader.go_back(end);
    Ok(())
}

fn is_scopes(key: &str) -> bool {
    matches!(
        key,
        "scopeSpans"
            | "scope_spans"
            | "scopeLogs"
            | "scope_logs"
            | "scopeMetrics"
            | "scope_metrics"
    )
}

fn resource(
    reader: &mut Reader<'_>,
    signal: OtlpSignal,
    gather: &mut Gather<'_>,
) -> Result<Found, Fault> {
    let mut attributes = Attributes::default();
    reader.object(|reader, key| match key {
        "attributes" => read_attributes(reader, gather, &mut attributes),
        _ => reader.skip(),
    })?;
    let mismatch = reader.take_mismatch();
    let fault = mismatch.map(|mismatch| format!("its resource is wrong: {mismatch}"));
    Ok(Found { signal, resource: gather.resource(attributes), fault })
}

fn scopes(reader: &mut Reader<'_>, found: &Found, gather: &mut Gather<'_>) -> Result<(), Stop> {
    reader.list_of(|reader| by_scope(reader, found, gather))?;
    reject_mismatch(reader, gather)
}

/// Whose records are being read.
#[derive(Debug)]
pub(super) struct Found {
    signal: OtlpSignal,
    pub(super) resource: u32,
    /// Set where the resource itself is wrong.
    pub(super) fault: Option<String>,
}

fn by_scope(reader: &mut Reader<'_>, found: &Found, gather: &mut Gather<'_>) -> Result<(), Stop> {
    reader.object_of(|reader, key| match (found.signal, key) {
        (OtlpSignal::Traces, "spans") => {
            reader.list_of(|reader| record(reader, gather, found, read_span, Gather::span))
        }
        (OtlpSignal::Logs, "logRecords" | "log_records") => {
            reader.list_of(|reader| record(reader, gather, found, read_log, Gather::log))
        }
        (OtlpSignal::Metrics, "metrics") => {
            reader.list_of(|reader| json_metrics::metric(reader, gather, found))
        }
        _ => Ok(reader.skip()?),
    })?;
    reject_mismatch(reader, gather)
}

/// A list that is none: whatever it held counts as one rejected record.
fn reject_mismatch(reader: &mut Reader<'_>, gather: &mut Gather<'_>) -> Result<(), Stop> {
    if let Some(mismatch) = reader.take_mismatch() {
        gather.reject(mismatch.offset, mismatch.to_string())?;
    }
    Ok(())
}

/// Reads one record and gives it to `accept`, or rejects it.
fn record<'a, 'c, R>(
    reader: &mut Reader<'a>,
    gather: &mut Gather<'c>,
    found: &Found,
    read: impl Fn(&mut Reader<'a>, &mut Gather<'c>) -> Result<R, Fault>,
    accept: impl Fn(&mut Gather<'c>, u32, usize, R) -> Result<(), Undecodable>,
) -> Result<(), Stop> {
    let offset = reader.place().offset();
    let raw = read(reader, gather)?;
    let mismatch = reader.take_mismatch();
    match (&found.fault, mismatch) {
        (Some(fault), _) => gather.reject(offset, fault.clone())?,
        (None, Some(mismatch)) => gather.reject(offset, mismatch.to_string())?,
        (None, None) => accept(gather, found.resource, offset, raw)?,
    }
    Ok(())
}

fn read_span<'a>(reader: &mut Reader<'a>, gather: &mut Gather<'_>) -> Result<RawSpan<'a>, Fault> {
    let mut span = RawSpan::default();
    reader.object(|reader, key| {
        match key {
            "traceId" | "trace_id" => span.trace_id = Id::<TraceId>::from_hex(&reader.text()?),
            "spanId" | "span_id" => span.span_id = Id::<SpanId>::from_hex(&reader.text()?),
            "parentSpanId" | "parent_span_id" => {
                span.parent_id = Id::<SpanId>::from_hex(&reader.text()?);
            }
            "name" => span.name = reader.text()?,
            "kind" => {
                let kind = reader.enumeration("SPAN_KIND_", &SPAN_KINDS)?;
                span.kind = kind.unwrap_or_default();
            }
            "startTimeUnixNano" | "start_time_unix_nano" => {
                span.start = reader.u64()?.unwrap_or_default();
            }
            "endTimeUnixNano" | "end_time_unix_nano" => {
                span.end = reader.u64()?.unwrap_or_default();
            }
            "attributes" => read_attributes(reader, gather, &mut span.attributes)?,
            "events" => reader.list(|reader| read_event(reader, gather, &mut span))?,
            "links" => reader.list(|reader| read_link(reader, gather, &mut span))?,
            "status" => reader.object(|reader, key| read_status(reader, key, &mut span))?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(span)
}

fn read_status<'a>(
    reader: &mut Reader<'a>,
    key: &str,
    span: &mut RawSpan<'a>,
) -> Result<(), Fault> {
    match key {
        "code" => {
            let code = reader.enumeration("STATUS_CODE_", &STATUS_CODES)?;
            span.status = code.unwrap_or_default();
        }
        "message" => span.status_message = reader.text()?,
        _ => reader.skip()?,
    }
    Ok(())
}

fn read_event(
    reader: &mut Reader<'_>,
    gather: &mut Gather<'_>,
    span: &mut RawSpan<'_>,
) -> Result<(), Fault> {
    let (mut name, mut attributes) = (Cow::Borrowed(""), Attributes::default());
    reader.object(|reader, key| {
        match key {
            "name" => name = reader.text()?.into_owned().into(),
            "attributes" => read_attributes(reader, gather, &mut attributes)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    note_exception(&name, attributes, gather, &mut span.exception);
    Ok(())
}

fn read_link(
    reader: &mut Reader<'_>,
    gather: &mut Gather<'_>,
    span: &mut RawSpan<'_>,
) -> Result<(), Fault> {
    let mut link = RawLink::default();
    reader.object(|reader, key| {
        match key {
            "traceId" | "trace_id" => link.trace_id = Id::<TraceId>::from_hex(&reader.text()?),
            "spanId" | "span_id" => link.span_id = Id::<SpanId>::from_hex(&reader.text()?),
            "attributes" => read_attributes(reader, gather, &mut link.attributes)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    if span.links.len() < LINKS_MAX {
        span.links.push(link);
    }
    Ok(())
}

fn read_log<'a>(reader: &mut Reader<'a>, gather: &mut Gather<'_>) -> Result<RawLog<'a>, Fault> {
    let mut log = RawLog::default();
    reader.object(|reader, key| {
        match key {
            "timeUnixNano" | "time_unix_nano" => log.time = reader.u64()?.unwrap_or_default(),
            "observedTimeUnixNano" | "observed_time_unix_nano" => {
                log.observed = reader.u64()?.unwrap_or_default();
            }
            "severityNumber" | "severity_number" => {
                let severity = reader.enumeration("SEVERITY_NUMBER_", &SEVERITIES)?;
                log.severity = severity.unwrap_or_default();
            }
            "severityText" | "severity_text" => log.severity_text = reader.text()?,
            "body" => log.body = read_body(reader, gather)?,
            "attributes" => read_attributes(reader, gather, &mut log.attributes)?,
            "eventName" | "event_name" => {
                gather.event_name(&reader.text()?, &mut log.attributes);
            }
            "traceId" | "trace_id" => log.trace_id = Id::<TraceId>::from_hex(&reader.text()?),
            "spanId" | "span_id" => log.span_id = Id::<SpanId>::from_hex(&reader.text()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(log)
}

/// A log's body: text is taken whole, because it is redacted and read before it is shortened.
fn read_body(reader: &mut Reader<'_>, gather: &mut Gather<'_>) -> Result<Option<Value>, Fault> {
    let mut value = None;
    reader.object(|reader, key| {
        let read = match key {
            "stringValue" | "string_value" => reader.string()?.map(|text| Value::Str(text.into())),
            _ => one_of(reader, key, gather)?,
        };
        value = read.or(value.take());
        Ok(())
    })?;
    Ok(value)
}

/// A list of key-value objects.
pub(super) fn read_attributes(
    reader: &mut Reader<'_>,
    gather: &mut Gather<'_>,
    attributes: &mut Attributes,
) -> Result<(), Fault> {
    reader.list(|reader| {
        let (key, value) = key_value(reader, gather)?;
        gather.attribute(attributes, &key, value);
        Ok(())
    })
}

fn key_value<'a>(
    reader: &mut Reader<'a>,
    gather: &mut Gather<'_>,
) -> Result<(Cow<'a, str>, Option<Value>), Fault> {
    let (mut name, mut value) = (Cow::Borrowed(""), None);
    reader.object(|reader, key| {
        match key {
            "key" => name = reader.text()?,
            "value" => value = any_value(reader, gather)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok((name, value))
}

fn any_value(reader: &mut Reader<'_>, gather: &mut Gather<'_>) -> Result<Option<Value>, Fault> {
    let mut value = None;
    reader.object(|reader, key| {
        value = one_of(reader, key, gather)?.or(value.take());
        Ok(())
    })?;
    Ok(value)
}

/// One entry of an `AnyValue`; None for null and for what is unknown.
fn one_of(
    reader: &mut Reader<'_>,
    key: &str,
    gather: &mut Gather<'_>,
) -> Result<Option<Value>, Fault> {
    Ok(match key {
        "stringValue" | "string_value" => reader.string()?.map(|text| gather.value(&text)),
        "boolValue" | "bool_value" => reader.bool()?.map(Value::Bool),
        "intValue" | "int_value" => reader.i64()?.map(Value::Int),
        "doubleValue" | "double_value" => reader.f64()?.map(Value::Float),
        "arrayValue" | "array_value" => {
            let mut values = Vec::new();
            in_values(reader, |reader| {
                values.extend(any_value(reader, gather)?);
                Ok(())
            })?;
            Some(Value::List(values))
        }
        "kvlistValue" | "kvlist_value" => {
            let mut entries = Vec::new();
            in_values(reader, |reader| {
                let (key, value) = key_value(reader, gather)?;
                entries.extend(value.map(|value| (gather.text(&key), value)));
                Ok(())
            })?;
            Some(Value::Map(entries))
        }
        "bytesValue" | "bytes_value" => bytes(reader, gather)?,
        _ => {
            reader.skip()?;
            None
        }
    })
}

/// `{"values":[…]}`; `{}` is an empty list.
fn in_values(
    reader: &mut Reader<'_>,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    reader.object(|reader, key| match key {
        "values" => reader.list(&mut item),
        _ => reader.skip(),
    })
}

/// Base64 in either alphabet, shown as the standard one.
fn bytes(reader: &mut Reader<'_>, gather: &mut Gather<'_>) -> Result<Option<Value>, Fault> {
    let place: Place = reader.place();
    let Some(text) = reader.string()? else { return Ok(None) };
    let decoded = STANDARD.decode(text.as_bytes()).or_else(|_| URL_SAFE.decode(text.as_bytes()));
    if let Ok(bytes) = decoded {
        return Ok(Some(bytes_value(&bytes, gather)));
    }
    reader.note(place, "base64");
    Ok(None)
}

/// Any JSON as an attribute's value; None for null. Large numbers become floats.
pub(super) fn plain_value(
    reader: &mut Reader<'_>,
    gather: &mut Gather<'_>,
) -> Result<Option<Value>, Fault> {
    Ok(match reader.kind()? {
        Kind::Null => {
            reader.skip()?;
            None
        }
        Kind::Bool => reader.bool()?.map(Value::Bool),
        Kind::Text => reader.string()?.map(|text| gather.value(&text)),
        Kind::Number => {
            let place = reader.place();
            let whole = reader.i64()?;
            if whole.is_none() {
                reader.take_mismatch();
                reader.go_back(place);
            }
            match whole {
                Some(n) => Some(Value::Int(n)),
                None => reader.f64()?.map(Value::Float),
            }
        }
        Kind::List => {
            let mut values = Vec::new();
            reader.list(|reader| {
                values.extend(plain_value(reader, gather)?);
                Ok(())
            })?;
            Some(Value::List(values))
        }
        Kind::Object => {
            let mut entries: Vec<(Text, Value)> = Vec::new();
            reader.object(|reader, key| {
                let value = plain_value(reader, gather)?;
                entries.extend(value.map(|value| (gather.text(key), value)));
                Ok(())
            })?;
            Some(Value::Map(entries))
        }
    })
}
