//! Application Insights' tables, as diagnostic settings export them.
//!
//! A row of AppRequests, AppDependencies, AppTraces or AppExceptions in; a span or a log record out.
//! `OperationId` is the trace, `Id` the span, `ParentId` its parent. A sampled row stands for
//! `ItemCount` items: requests and durations count so often, the request that is shown is the one that was
//! kept.
//! Source: learn.microsoft.com/azure/azure-monitor/reference/tables/apprequests

use std::num::NonZeroU32;

use serde_json::Value;

use super::azure_fields::{field, text};
use super::azure_records::is_wrapper;
use super::azure_trigger;
use super::gather::{Speaker, Told};
use super::json_facts::error_fact;
use super::json_fields::{Object, Reader, count, id, millis, truth};
use super::json_log::{self, Around};
use super::lambda_text::LogLine;
use super::shorten::shorten;
use crate::signal::{
    Facts, Http, Peer, Severity, SignalKind, Span, SpanId, SpanKind, Text, TraceContext, TraceId,
    span_identity,
};

/// Longest span name kept, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Sampling keeps at least a thousandth of a percent.
const ITEM_COUNT_MAX: u32 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Requests,
    Dependencies,
    Traces,
    Exceptions,
}

impl Table {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "AppRequests" => Self::Requests,
            "AppDependencies" => Self::Dependencies,
            "AppTraces" => Self::Traces,
            "AppExceptions" => Self::Exceptions,
            _ => return None,
        })
    }
}

/// One row and what surrounds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) record: &'a Object,
    pub(super) properties: &'a Object,
    pub(super) around: Around<'a>,
}

/// A span is known by its ids; log rows have none.
pub(super) fn read(table: Table, row: &Row<'_>) -> Result<(Option<u128>, Told), &'static str> {
    match table {
        Table::Traces | Table::Exceptions => Ok((None, log(row))),
        Table::Requests | Table::Dependencies => {
            span(table, row).map(|(identity, told)| (Some(identity), told))
        }
    }
}

/// An operation of a function app is named as its function is; a web app's is `GET Home/Index`. Every row
/// of an operation names it, so a function's calls lie in its own resource.
fn speaker(row: &Row<'_>) -> Speaker {
    let app = text(row.record, "AppRoleName");
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name = text(row.record, "OperationName").filter(|name| name.chars().all(is_in_name));
    Speaker {
        function: app.zip(name).map(|(app, name)| Text::from(format!("{app}/{name}"))),
        service: app.map(Text::from),
        instance: text(row.record, "AppRoleInstance").map(Text::from),
        version: text(row.record, "AppVersion").map(Text::from),
        ..Speaker::default()
    }
}

fn invocation_id(row: &Row<'_>) -> Option<Text> {
    field(row.properties, "InvocationId").and_then(id)
}

fn span(table: Table, row: &Row<'_>) -> Result<(u128, Told), &'static str> {
    let record = row.record;
    let trace_id = text(record, "OperationId").and_then(TraceId::from_hex);
    let span_id = text(record, "Id").and_then(|id| SpanId::from_hex(id.trim_matches('|')));
    let (Some(trace_id), Some(span_id)) = (trace_id, span_id) else {
        return Err("OperationId is no trace id, or Id no span id");
    };
    let duration = field(record, "DurationMs").and_then(millis).ok_or("DurationMs is missing")?;
    let failed = field(record, "Success").and_then(truth) == Some(false);
    let start = row.around.fallback;
    let name = text(record, "Name").unwrap_or_default();
    let kind = span_kind(table, record);
    let mut reader = Reader::new(record);
    ["OperationId", "Id", "ParentId", "Name", "DurationMs"]
        .into_iter()
        .for_each(|name| reader.mark(name));
    let mut attributes = reader.attributes();
    row.around.rules.redactor.attributes(&mut attributes);
    let span = Span {
        trace_id,
        span_id,
        // The root's parent is the operation itself, which is no span id.
        parent_id: text(record, "ParentId").and_then(SpanId::from_hex),
        kind,
        name: Text::from(shorten(name, NAME_BYTES_MAX)),
        start,
        end: start.saturating_add(duration),
        failed,
        links: Vec::new(),
        facts: span_facts(kind, row, failed),
        attributes,
    };
    let identity = span_identity(&span.trace_id, span.span_id);
    let told = Told {
        kind: SignalKind::Span(Box::new(span)),
        speaker: speaker(row),
        event: None,
        points: Vec::new(),
    };
    Ok((identity, told))
}

/// Sampling keeps one of `ItemCount` items. What is beyond any rate of sampling is not believed.
fn item_count(record: &Object) -> Option<NonZeroU32> {
    let n = u32::try_from(field(record, "ItemCount").and_then(count)?).ok()?;
    NonZeroU32::new(n).filter(|n| (2..=ITEM_COUNT_MAX).contains(&n.get()))
}

fn span_kind(table: Table, record: &Object) -> SpanKind {
    match table {
        Table::Requests => SpanKind::Server,
        _ if text(record, "Name").is_some_and(|name| name.ends_with(" publish")) => {
            SpanKind::Producer
        }
        _ if text(record, "DependencyType") == Some("InProc") => SpanKind::Internal,
        _ => SpanKind::Client,
    }
}

fn span_facts(kind: SpanKind, row: &Row<'_>, failed: bool) -> Facts {
    let status = field(row.record, "ResultCode").and_then(count);
    let status = status.and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 100);
    let name = text(row.record, "Name").unwrap_or_default();
    let result = text(row.record, "ResultCode").unwrap_or("failed");
    let peer = text(row.record, "Target").filter(|_| kind == SpanKind::Client).map(|target| Peer {
        name: Text::from(shorten(target, NAME_BYTES_MAX)),
        operation: Text::from(shorten(name, NAME_BYTES_MAX)),
    });
    Facts {
        invocation_id: invocation_id(row).filter(|_| kind == SpanKind::Server),
        error: failed.then(|| error_fact(result)),
        http: status.map(|status| Http { method: None, route: None, status: Some(status) }),
        peer,
        stands_for: item_count(row.record),
        ..Facts::default()
    }
}

/// Application Insights' own levels, 0 verbose to 4 critical.
fn severity(record: &Object) -> Option<Severity> {
    Some(match field(record, "SeverityLevel").and_then(count)? {
        0 => Severity::Debug,
        1 => Severity::Info,
        2 => Severity::Warn,
        3 => Severity::Error,
        _ => Severity::Fatal,
    })
}

fn log(row: &Row<'_>) -> Told {
    let record = row.record;
    let is_exception = text(record, "ExceptionType").is_some();
    let usual = if is_exception { Severity::Error } else { Severity::Info };
    let message = ["Message", "OuterMessage", "InnermostMessage"];
    let line = LogLine {
        message: message.iter().find_map(|name| text(record, name)).unwrap_or_default(),
        time: Some(row.around.fallback),
        severity: Some(severity(record).unwrap_or(usual)),
        ..LogLine::default()
    };
    let mut fields = row.properties.clone();
    if let Some(kind) = text(record, "ExceptionType") {
        let inner = text(record, "InnermostType").filter(|_| is_wrapper(kind));
        let message = text(record, "InnermostMessage").filter(|_| inner.is_some());
        let message = message.unwrap_or(line.message);
        fields.insert("errorType".to_owned(), Value::String(inner.unwrap_or(kind).to_owned()));
        fields.insert("errorMessage".to_owned(), Value::String(message.to_owned()));
    }
    if let Some(count) = field(record, "ItemCount") {
        fields.insert("ItemCount".to_owned(), count.clone());
    }
    let mut told = json_log::of_object(&fields, Some(&line), row.around);
    if let SignalKind::Log(log) = &mut told.kind {
        log.facts.invocation_id = log.facts.invocation_id.take().or_else(|| invocation_id(row));
        log.facts.stands_for = item_count(record);
        log.trace = text(record, "OperationId").and_then(TraceId::from_hex).map(|trace_id| {
            let span_id = text(record, "ParentId").and_then(SpanId::from_hex);
            TraceContext { trace_id, span_id }
        });
        let category = text(row.properties, "Category");
        azure_trigger::add_to(&mut log.facts, category, line.message);
    }
    told.speaker = speaker(row);
    told
}
