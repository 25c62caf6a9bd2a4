//! Azure Monitor records, as Event Hubs relays post them.
//!
//! A body in: `{"records":[…]}`, nested or not, an array, NDJSON, one record, or plain text; broken outer
//! JSON with single-quoted properties is mended. Out: platform events where the Functions host tells of
//! an execution, spans where Application Insights does, metric points, else log records. The host's own
//! lines come in the category `Function.NAME`; what user code writes comes in `Function.NAME.User` and
//! is never taken for the host's. Functions are named `APP/NAME`, as `faas.name` of OpenTelemetry is.
//! Source: learn.microsoft.com/azure/azure-monitor/reference/tables/functionapplogs

use std::time::Duration;

use serde_json::Value;

use super::azure_fields::{self, field, text};
use super::event_time::{self, EventTime};
use super::gather::{EventKey, Gather, Speaker, Told};
use super::json_fields::{Object, id, lookup};
use super::json_log::{self, Around, Rules};
use super::lambda_text::LogLine;
use super::pieces::{Piece, Pieces};
use super::redact::Redactor;
use super::shorten::shorten;
use super::{Config, Normalized, Origin, Undecodable, app_insights, azure_metric, azure_trigger};
use crate::signal::{
    Labels, METRIC_NAME, MetricPoint, MetricValue, Platform, PlatformStage, PlatformStatus,
    Receiver, Resource, Severity, SignalKind, Temporality, Text, Timestamp,
};

/// Envelopes inside envelopes; more than relays make.
const NESTED_MAX: usize = 4;
/// Longest reason kept of a failed execution, in bytes.
const REASON_BYTES_MAX: usize = 1024;
/// Longest body that is mended: what Event Hubs takes in one message is 1 MiB.
const MENDED_BYTES_MAX: usize = 2 << 20;

/// Reads a body of `/ingest/azure/eventhub`.
pub fn normalize(body: &[u8], origin: &Origin, config: &Config) -> Result<Normalized, Undecodable> {
    if body.trim_ascii().is_empty() {
        return Err(Undecodable { offset: 0, message: "the body is empty".to_owned() });
    }
    let redactor = Redactor::new(&config.redact);
    let rules = Rules { fields: &config.fields, redactor: &redactor };
    let mut gather = Gather::new(Receiver::Eventhub, origin, &redactor);
    let speaker =
        Resource { function: origin.function.as_deref().map(Text::from), ..gather.nobody() };
    let mut reading = Reading { speaker: &speaker, rules, gather: &mut gather, found_json: false };
    match mended(body) {
        Some(text) => reading.body(text.as_bytes()),
        None => reading.body(body),
    }
    // An envelope that was read is answered with success, whatever its records are.
    let found_json = reading.found_json;
    if found_json { gather.finish() } else { gather.finish_readable() }
}

/// The body with its single-quoted strings in double quotes, where only that makes it JSON.
fn mended(body: &[u8]) -> Option<String> {
    let is_json = |text: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    let text = std::str::from_utf8(body).ok().filter(|text| {
        let opens = text.trim_start().starts_with(['{', '[']);
        opens && text.len() <= MENDED_BYTES_MAX && text.contains('\'')
    })?;
    if is_json(body) {
        return None;
    }
    let mended = azure_fields::requoted(text);
    is_json(mended.as_bytes()).then_some(mended)
}

struct Reading<'a, 'g> {
    speaker: &'a Resource,
    rules: Rules<'a>,
    gather: &'g mut Gather,
    found_json: bool,
}

impl Reading<'_, '_> {
    fn body(&mut self, body: &[u8]) {
        let around = Around::arrival(self.rules, self.gather.arrived());
        for piece in Pieces::new(body, |_, _| false) {
            if self.gather.is_full() {
                return;
            }
            match piece {
                Piece::Json(value) => {
                    self.found_json = true;
                    self.value(&value, NESTED_MAX);
                }
                Piece::Text(text) => {
                    let line = LogLine { message: text.trim(), ..LogLine::default() };
                    self.gather.accept(None, self.speaker, json_log::text_record(&line, around));
                }
                Piece::Prefix(_) => self.gather.reject("text before a record"),
                Piece::Bad(message) => self.gather.reject(&message),
            }
        }
    }

    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Object(object) => match field(object, "records") {
                Some(Value::Array(records)) if depth > 0 => {
                    records.iter().for_each(|record| self.value(record, depth - 1));
                }
                Some(_) => self.gather.reject("records is no list of records"),
                None => self.record(object),
            },
            Value::Array(records) if depth > 0 => {
                records.iter().for_each(|record| self.value(record, depth - 1));
            }
            _ => self.gather.reject("a record is an object"),
        }
    }

    fn record(&mut self, record: &Object) {
        if self.gather.is_full() {
            return;
        }
        let arrived = self.gather.arrived();
        if text(record, "metricName").is_some() {
            return azure_metric::read_into(record, self.speaker, self.gather);
        }
        let told_time = azure_fields::time(record);
        let EventTime { time, .. } = event_time::judge(told_time, arrived, arrived);
        let around = Around { rules: self.rules, arrived, fallback: time };
        let properties = azure_fields::properties(record).unwrap_or_default();
        let table = ["Type", "category"].iter().find_map(|name| text(record, name));
        if let Some(table) = table.and_then(app_insights::Table::of) {
            let row = app_insights::Row { record, properties: &properties, around };
            match app_insights::read(table, &row) {
                Ok((identity, told)) => self.gather.accept(identity, self.speaker, told),
                Err(reason) => self.gather.reject(reason),
            }
        } else {
            let told = function_log(record, &properties, around);
            self.gather.accept(None, self.speaker, told);
        }
    }
}

/// A record of a function app, or of any other resource.
fn function_log(record: &Object, properties: &Object, around: Around<'_>) -> Told {
    let resource = azure_fields::resource(text(record, "resourceId").unwrap_or_default());
    let app = text(properties, "appName").map(str::to_owned).or_else(|| {
        let is_site = resource.namespace.as_deref() == Some("web_sites");
        resource.name.filter(|_| is_site)
    });
    let name = text(properties, "functionName").map(|name| name.trim_start_matches("Functions."));
    let speaker = Speaker {
        function: app.as_ref().zip(name).map(|(app, name)| Text::from(format!("{app}/{name}"))),
        service: app.map(Text::from),
        instance: ["hostInstanceId", "roleInstance"]
            .iter()
            .find_map(|name| text(properties, name))
            .map(Text::from),
        account: resource.subscription.map(Text::from),
        region: text(record, "location").map(Text::from),
        ..Speaker::default()
    };
    let Some(event) = execution(properties, around.fallback) else {
        let poison = moved_to_poison(properties, speaker.function.as_deref(), around.fallback);
        let mut told = log_record(record, properties, speaker, around);
        told.points.extend(poison);
        return told;
    };
    let stage = if event.stage == PlatformStage::Start { "started" } else { "completed" };
    let event_key = EventKey { name: format!("azure {stage}"), time: event.time };
    Told {
        kind: SignalKind::Platform(Box::new(event)),
        speaker,
        event: Some(event_key),
        points: Vec::new(),
    }
}

/// What the host says of an execution, by its message, which every version writes:
/// `Executing 'Functions.NAME' (Reason='…', Id=…)`,
/// `Executed 'Functions.NAME' (Succeeded, Id=…, Duration=25ms)`.
fn execution(properties: &Object, time: Timestamp) -> Option<Platform> {
    let category = text(properties, "category")?;
    let is_hosts = category.starts_with("Function.") && !category.ends_with(".User");
    let message = text(properties, "message").filter(|_| is_hosts)?;
    let told_id = text(properties, "functionInvocationId");
    let after = |key: &str| message.rsplit_once(key).map(|(_, rest)| rest);
    let invocation_id =
        told_id.or_else(|| after("Id=")?.split([',', ')']).next().map(str::trim))?;
    let mut event = if is_line(message, "Executing") {
        Platform::new(time, PlatformStage::Start)
    } else if is_line(message, "Executed") {
        let mut event = Platform::new(time, PlatformStage::Report);
        let ms = after("Duration=").and_then(|rest| rest.split("ms").next()?.trim().parse().ok());
        event.duration = ms.map(Duration::from_millis);
        event.status = message.contains("(Succeeded").then_some(PlatformStatus::Success);
        if message.contains("(Failed") {
            judge_failure(&mut event, properties);
        }
        event
    } else {
        return None;
    };
    event.invocation_id = Some(Text::from(invocation_id));
    Some(event)
}

fn is_line(message: &str, verb: &str) -> bool {
    let quoted = message.strip_prefix(verb).map(str::trim_start);
    quoted.is_some_and(|rest| rest.starts_with(['\'', '"']) && rest.contains("Id="))
}

fn judge_failure(event: &mut Platform, properties: &Object) {
    let details = ["exceptionType", "exceptionMessage", "exceptionDetails"];
    let is_timeout = details
        .iter()
        .any(|name| text(properties, name).is_some_and(|t| t.contains("FunctionTimeoutException")));
    event.status = Some(if is_timeout { PlatformStatus::Timeout } else { PlatformStatus::Failure });
    let reason = reason(properties);
    if !reason.is_empty() {
        event.error_type = Some(Text::from(shorten(&reason, REASON_BYTES_MAX)));
    }
}

/// `TYPE: MESSAGE`. The host wraps what user code threw into an exception of its own, which says only that
/// something was thrown; the details hold the inner one.
fn reason(properties: &Object) -> String {
    let kind = text(properties, "exceptionType");
    let is_wrapped = kind.is_none_or(is_wrapper);
    let inner = text(properties, "exceptionDetails").filter(|_| is_wrapped).and_then(innermost);
    let words = || [kind, text(properties, "exceptionMessage")].into_iter().flatten();
    inner.unwrap_or_else(|| words().collect::<Vec<_>>().join(": "))
}

/// `FunctionInvocationException` of the host, by whatever namespace.
pub(super) fn is_wrapper(kind: &str) -> bool {
    kind.rsplit('.').next() == Some("FunctionInvocationException")
}

/// The last of `OUTER : message ---> INNER : message`, as .NET writes exceptions, without where it was.
fn innermost(details: &str) -> Option<String> {
    let (_, inner) = details.rsplit_once("---> ")?;
    let line = inner.lines().next().unwrap_or_default();
    let line = line.split("   at ").next().unwrap_or(line).trim();
    let line = line.replacen(" : ", ": ", 1);
    (!line.is_empty()).then_some(line)
}

/// What the Functions host writes when it moves a message of a storage queue to the poison queue beside it:
/// one arrival there. It names no message, so only the count is known.
fn moved_to_poison(
    properties: &Object,
    function: Option<&str>,
    time: Timestamp,
) -> Option<MetricPoint> {
    let is_users = |category: &str| category.ends_with(".User");
    let message =
        text(properties, "message")?.strip_prefix("Message has reached MaxDequeueCount of ")?;
    if text(properties, "category").is_none_or(is_users) {
        return None;
    }
    let (_, queue) = message.split_once("Moving message to queue '")?;
    let (queue, _) = queue.split_once('\'')?;
    let source = queue.strip_suffix("-poison").filter(|source| !source.is_empty())?;
    let named = [
        (METRIC_NAME, "throughline_dlq_arrivals_total"),
        ("queue", queue),
        ("source_queue", source),
        ("faas_name", function.unwrap_or_default()),
    ];
    let value = MetricValue::Sum { value: 1.0, monotonic: true, temporality: Temporality::Delta };
    Some(MetricPoint { labels: Labels::of(&named), time, start: None, value })
}

/// A log record: the properties are its fields, the envelope's own stay attributes.
fn log_record(record: &Object, properties: &Object, speaker: Speaker, around: Around<'_>) -> Told {
    let mut flat = properties.clone();
    for (key, value) in record {
        // The workflow is the definition of a logic app, the same for all its runs: it joins nothing.
        let is_carried = ["properties", "time", "timeStamp", "level", "records", "workflowId"]
            .iter()
            .any(|name| key.eq_ignore_ascii_case(name));
        if !is_carried {
            flat.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let wrapped = text(properties, "exceptionType").filter(|kind| is_wrapper(kind));
    let inner = wrapped.and_then(|_| innermost(text(properties, "exceptionDetails")?));
    let known = [
        ("exceptionType", "errorType"),
        ("exceptionMessage", "errorMessage"),
        ("operationId", "traceId"),
    ];
    for (azure, ours) in known {
        if let Some(value) = field(properties, azure).and_then(id) {
            flat.insert(ours.to_owned(), Value::String(value.to_string()));
        }
    }
    if let Some((kind, message)) = inner.as_deref().and_then(|inner| inner.split_once(": ")) {
        flat.insert("errorType".to_owned(), kind.into());
        flat.insert("errorMessage".to_owned(), message.into());
    }
    let level = ["level", "Level"].iter().find_map(|name| text(properties, name));
    let level = level.or_else(|| text(record, "level"));
    let message = ["message", "resultDescription", "operationName"];
    let message = message
        .iter()
        .find_map(|name| text(properties, name).or_else(|| text(record, name)))
        .unwrap_or_default();
    let line = LogLine {
        message,
        time: Some(around.fallback),
        severity: Some(level.and_then(Severity::of).unwrap_or(Severity::Info)),
        ..LogLine::default()
    };
    flat.remove("level");
    let mut told = json_log::of_object(&flat, Some(&line), around);
    if let SignalKind::Log(log) = &mut told.kind {
        // The request ids of storage accounts and gateways are not invocations of a function.
        log.facts.invocation_id = field(properties, "functionInvocationId").and_then(id);
        let run = lookup(properties, "resource.runId").and_then(id);
        log.facts.correlation_ids.extend(run);
        azure_trigger::add_to(&mut log.facts, text(properties, "category"), line.message);
    }
    told.speaker = Speaker {
        version: told.speaker.version,
        memory_bytes: told.speaker.memory_bytes,
        ..speaker
    };
    told
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
#[path = "azure_records_tests.rs"]
mod tests;
