//! Traces and logs over protobuf, walked in place.
//!
//! In: `ExportTraceServiceRequest` or `ExportLogsServiceRequest` on the wire. Out: raw records to
//! [`Gather`]. Broken framing outside of the records ends the reading; a record that is broken inside
//! rejects itself. Fields in any order are read, unknown ones are skipped; of a singular field that
//! comes twice the last one counts, and repeated parts of a resource or a status add up.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::normalize::Undecodable;
use crate::normalize::semconv::Exception;
use crate::signal::{Attributes, SpanId, Text, TraceId, Value};

use super::gather::{Gather, LINKS_MAX};
use super::id::Id;
use super::record::{RawLink, RawLog, RawSpan};
use crate::normalize::wire::{Fault, Field, Message};

/// Deepest nesting of an attribute's value. The proto's own limit in most languages is 100 for all.
const DEPTH_MAX: usize = 32;

pub(super) fn traces(body: &[u8], gather: &mut Gather<'_>) -> Result<(), Undecodable> {
    request(body, gather, |gather, resource, offset, message| match span(message, gather) {
        Ok(raw) => gather.span(resource, offset, raw),
        Err(fault) => gather.reject(fault.offset, fault.to_string()),
    })
}

pub(super) fn logs(body: &[u8], gather: &mut Gather<'_>) -> Result<(), Undecodable> {
    request(body, gather, |gather, resource, offset, message| match log(message, gather) {
        Ok(raw) => gather.log(resource, offset, raw),
        Err(fault) => gather.reject(fault.offset, fault.to_string()),
    })
}

impl From<Fault> for Undecodable {
    fn from(fault: Fault) -> Self {
        Self { offset: fault.offset, message: format!("not OTLP protobuf: {fault}") }
    }
}

/// Walks requests, resources and scopes, which have the same field numbers for traces and logs. A
/// resource may stand behind its records, so it is looked for first.
fn request<'a>(
    body: &'a [u8],
    gather: &mut Gather<'_>,
    mut record: impl FnMut(&mut Gather<'_>, u32, usize, Message<'a>) -> Result<(), Undecodable>,
) -> Result<(), Undecodable> {
    let mut request = Message::new(body);
    while let Some(field) = request.next()? {
        if field.number != 1 {
            continue;
        }
        let by_resource = field.message()?;
        let resource = resource(by_resource, gather)?;
        let mut scopes = by_resource;
        while let Some(field) = scopes.next()? {
            if field.number != 2 {
                continue;
            }
            let mut records = field.message()?;
            while let Some(field) = records.next()? {
                if field.number == 2 {
                    let message = field.message()?;
                    record(gather, resource, message.offset(), message)?;
                }
            }
        }
    }
    Ok(())
}

fn resource(mut by_resource: Message<'_>, gather: &mut Gather<'_>) -> Result<u32, Fault> {
    let mut attributes = Attributes::default();
    while let Some(field) = by_resource.next()? {
        if field.number != 1 {
            continue;
        }
        let mut resource = field.message()?;
        while let Some(field) = resource.next()? {
            if field.number == 1 {
                attribute(field, gather, &mut attributes)?;
            }
        }
    }
    Ok(gather.resource(attributes))
}

fn span<'a>(mut message: Message<'a>, gather: &mut Gather<'_>) -> Result<RawSpan<'a>, Fault> {
    let mut span = RawSpan::default();
    while let Some(field) = message.next()? {
        match field.number {
            1 => span.trace_id = Id::<TraceId>::from_bytes(field.message()?.bytes()),
            2 => span.span_id = Id::<SpanId>::from_bytes(field.message()?.bytes()),
            4 => span.parent_id = Id::<SpanId>::from_bytes(field.message()?.bytes()),
            5 => span.name = field.text()?,
            6 => span.kind = enumeration(field)?,
            7 => span.start = field.fixed64()?,
            8 => span.end = field.fixed64()?,
            9 => attribute(field, gather, &mut span.attributes)?,
            11 => event(field.message()?, gather, &mut span.exception)?,
            13 => {
                let link = link(field.message()?, gather)?;
                if span.links.len() < LINKS_MAX {
                    span.links.push(link);
                }
            }
            15 => status(field.message()?, &mut span)?,
            _ => {}
        }
    }
    Ok(span)
}

fn status<'a>(mut message: Message<'a>, span: &mut RawSpan<'a>) -> Result<(), Fault> {
    while let Some(field) = message.next()? {
        match field.number {
            2 => span.status_message = field.text()?,
            3 => span.status = enumeration(field)?,
            _ => {}
        }
    }
    Ok(())
}

fn link(mut message: Message<'_>, gather: &mut Gather<'_>) -> Result<RawLink, Fault> {
    let mut link = RawLink::default();
    while let Some(field) = message.next()? {
        match field.number {
            1 => link.trace_id = Id::<TraceId>::from_bytes(field.message()?.bytes()),
            2 => link.span_id = Id::<SpanId>::from_bytes(field.message()?.bytes()),
            4 => attribute(field, gather, &mut link.attributes)?,
            _ => {}
        }
    }
    Ok(link)
}

/// Takes the exception out of an event; other events say nothing that is kept.
fn event(
    mut message: Message<'_>,
    gather: &mut Gather<'_>,
    exception: &mut Option<Exception>,
) -> Result<(), Fault> {
    let (mut name, mut attributes) = (Cow::Borrowed(""), Attributes::default());
    while let Some(field) = message.next()? {
        match field.number {
            2 => name = field.text()?,
            3 => attribute(field, gather, &mut attributes)?,
            _ => {}
        }
    }
    note_exception(&name, attributes, gather, exception);
    Ok(())
}

/// Keeps the exception that an event tells (semantic conventions, "Exceptions on spans").
pub(super) fn note_exception(
    name: &str,
    mut attributes: Attributes,
    gather: &Gather<'_>,
    exception: &mut Option<Exception>,
) {
    if name != "exception" {
        return;
    }
    gather.redact(&mut attributes);
    let text = |key| attributes.str(key).filter(|text| !text.is_empty()).map(Text::from);
    *exception =
        Some(Exception { kind: text("exception.type"), message: text("exception.message") });
}

fn log<'a>(mut message: Message<'a>, gather: &mut Gather<'_>) -> Result<RawLog<'a>, Fault> {
    let mut log = RawLog::default();
    while let Some(field) = message.next()? {
        match field.number {
            1 => log.time = field.fixed64()?,
            2 => log.severity = enumeration(field)?,
            3 => log.severity_text = field.text()?,
            5 => log.body = body(field.message()?, gather)?,
            6 => attribute(field, gather, &mut log.attributes)?,
            9 => log.trace_id = Id::<TraceId>::from_bytes(field.message()?.bytes()),
            10 => log.span_id = Id::<SpanId>::from_bytes(field.message()?.bytes()),
            11 => log.observed = field.fixed64()?,
            12 => gather.event_name(&field.text()?, &mut log.attributes),
            _ => {}
        }
    }
    Ok(log)
}

fn attribute(
    field: Field<'_>,
    gather: &mut Gather<'_>,
    attributes: &mut Attributes,
) -> Result<(), Fault> {
    let (key, value) = key_value(field.message()?, gather, 0)?;
    gather.attribute(attributes, &key, value);
    Ok(())
}

fn key_value<'a>(
    mut message: Message<'a>,
    gather: &mut Gather<'_>,
    depth: usize,
) -> Result<(Cow<'a, str>, Option<Value>), Fault> {
    let (mut key, mut value) = (Cow::Borrowed(""), None);
    while let Some(field) = message.next()? {
        match field.number {
            1 => key = field.text()?,
            2 => value = any_value(field.message()?, gather, depth)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// A log's body: text is taken whole, because it is redacted and read before it is shortened.
fn body(mut message: Message<'_>, gather: &mut Gather<'_>) -> Result<Option<Value>, Fault> {
    let mut value = None;
    while let Some(field) = message.next()? {
        value = match field.number {
            1 => Some(Value::Str(field.text()?.into())),
            _ => one_of(field, gather, 0)?.or(value),
        };
    }
    Ok(value)
}

/// An `AnyValue`; None where it is empty.
fn any_value(
    mut message: Message<'_>,
    gather: &mut Gather<'_>,
    depth: usize,
) -> Result<Option<Value>, Fault> {
    let mut value = None;
    while let Some(field) = message.next()? {
        value = one_of(field, gather, depth)?.or(value);
    }
    Ok(value)
}

/// One field of an `AnyValue`. Bytes become base64, as in JSON.
fn one_of(field: Field<'_>, gather: &mut Gather<'_>, depth: usize) -> Result<Option<Value>, Fault> {
    if depth >= DEPTH_MAX {
        return Err(field.fault("a value is nested too deeply"));
    }
    Ok(Some(match field.number {
        1 => gather.value(&field.text()?),
        2 => Value::Bool(field.varint()? != 0),
        3 => Value::Int(field.varint()?.cast_signed()),
        4 => Value::Float(f64::from_bits(field.fixed64()?)),
        5 => Value::List(list(field.message()?, gather, depth + 1)?),
        6 => Value::Map(map(field.message()?, gather, depth + 1)?),
        7 => bytes_value(field.message()?.bytes(), gather),
        _ => return Ok(None),
    }))
}

/// Bytes as base64; more than what fits a value is not even encoded.
pub(super) fn bytes_value(bytes: &[u8], gather: &mut Gather<'_>) -> Value {
    let kept = bytes.get(..Attributes::VALUE_BYTES_MAX).unwrap_or(bytes);
    gather.value(&STANDARD.encode(kept))
}

fn list(
    mut message: Message<'_>,
    gather: &mut Gather<'_>,
    depth: usize,
) -> Result<Vec<Value>, Fault> {
    let mut values = Vec::new();
    while let Some(field) = message.next()? {
        if field.number == 1 {
            values.extend(any_value(field.message()?, gather, depth)?);
        }
    }
    Ok(values)
}

fn map(
    mut message: Message<'_>,
    gather: &mut Gather<'_>,
    depth: usize,
) -> Result<Vec<(Text, Value)>, Fault> {
    let mut entries = Vec::new();
    while let Some(field) = message.next()? {
        if field.number == 1 {
            let (key, value) = key_value(field.message()?, gather, depth)?;
            entries.extend(value.map(|value| (gather.text(&key), value)));
        }
    }
    Ok(entries)
}

/// An enum's number; protobuf writes negative ones as ten bytes.
fn enumeration(field: Field<'_>) -> Result<i32, Fault> {
    Ok(i32::try_from(field.varint()?.cast_signed()).unwrap_or_default())
}
