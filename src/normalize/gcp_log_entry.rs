//! Google Cloud Logging entries: what functions, Cloud Run services and jobs write, and what the
//! platform writes about them.
//!
//! A `LogEntry` in; a log record out, or a platform event where Google itself reports a run: the
//! `Function execution …` lines of functions of the first generation, and Cloud Run's request log. User
//! code cannot write either: those lines come at severity DEBUG under the function's own log, the
//! request log under a name that containers cannot write to; anything else that looks like them stays a
//! log record. Neither billed duration nor cold starts are told, so neither is guessed.
//! Source: cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry

use std::time::Duration;

use serde_json::Value;

use super::event_time::{self, EventTime};
use super::gather::{Gather, Speaker, Told};
use super::json_facts::first_line;
use super::json_fields::{Object, id, text};
use super::json_log::{self, Around};
use super::lambda_text::LogLine;
use super::shorten::shorten;
use crate::number::u64_from_f64;
use crate::signal::{
    Fnv128, Http, Platform, PlatformStage, PlatformStatus, Resource, Severity, SignalKind, SpanId,
    Text, Timestamp, TraceContext, TraceId,
};

/// Longest reason kept of a failed request, in bytes.
const REASON_BYTES_MAX: usize = 256;

/// Whether an object is an entry.
pub(crate) fn is_entry(object: &Object) -> bool {
    object.get("logName").is_some_and(Value::is_string)
        && object.get("resource").is_some_and(Value::is_object)
}

/// Reads one entry into a delivery. Google names a repeat by log, time and insert id.
pub(crate) fn read_into(
    entry: &Object,
    resource: &Resource,
    around: Around<'_>,
    gather: &mut Gather,
) {
    let identity = text(entry, "insertId").map(|insert_id| {
        Fnv128::default()
            .field(b"gcp")
            .field(text(entry, "logName").unwrap_or_default().as_bytes())
            .field(text(entry, "timestamp").unwrap_or_default().as_bytes())
            .field(insert_id.as_bytes())
            .finish()
    });
    let told_time = ["timestamp", "receiveTimestamp"]
        .iter()
        .find_map(|name| event_time::read(entry.get(*name)?));
    let EventTime { time, .. } = event_time::judge(told_time, around.fallback, around.arrived);
    let around = Around { fallback: time, ..around };
    let speaker = speaker(entry);
    let mut told = match platform(entry, time) {
        Some(event) => Told {
            kind: SignalKind::Platform(Box::new(event)),
            speaker: Speaker::default(),
            event: None,
            points: Vec::new(),
        },
        None => record(entry, time, around),
    };
    told.speaker = over(speaker, told.speaker);
    gather.accept(identity, resource, told);
}

/// What the platform says of the speaker wins over what the record says.
fn over(platform: Speaker, own: Speaker) -> Speaker {
    Speaker {
        service: platform.service.or(own.service),
        function: platform.function.or(own.function),
        version: platform.version.or(own.version),
        instance: platform.instance.or(own.instance),
        account: platform.account.or(own.account),
        region: platform.region.or(own.region),
        memory_bytes: own.memory_bytes,
    }
}

fn speaker(entry: &Object) -> Speaker {
    let label = |name: &str| text(entry, &format!("resource.labels.{name}")).map(Text::from);
    let is_run = resource_type(entry) == "cloud_run_revision";
    Speaker {
        service: None,
        function: label("function_name")
            .or_else(|| label("job_name"))
            .or_else(|| label("service_name").filter(|_| is_run)),
        version: label("revision_name"),
        instance: text(entry, "labels.instanceId").map(Text::from),
        account: label("project_id"),
        region: label("region").or_else(|| label("location")),
        memory_bytes: None,
    }
}

fn resource_type(entry: &Object) -> &str {
    text(entry, "resource.type").unwrap_or_default()
}

/// Gen1's execution id. A service of Cloud Run joins by trace: its request log has no execution id.
fn execution_id(entry: &Object) -> Option<Text> {
    (resource_type(entry) != "cloud_run_revision")
        .then(|| entry.get("labels")?.get("execution_id").and_then(id))
        .flatten()
}

fn trace_id(entry: &Object) -> Option<TraceId> {
    TraceId::from_hex(text(entry, "trace")?.rsplit('/').next()?)
}

fn span_id(entry: &Object) -> Option<SpanId> {
    SpanId::from_hex(text(entry, "spanId")?)
}

fn platform(entry: &Object, time: Timestamp) -> Option<Platform> {
    let log = text(entry, "logName")?.rsplit("/logs/").next()?;
    match log {
        "cloudfunctions.googleapis.com%2Fcloud-functions" => execution(entry, time),
        "run.googleapis.com%2Frequests" => request(entry, time),
        _ => None,
    }
}

/// `Function execution started`, `Function execution took 123 ms, finished with status code: 200` or
/// `… with status: 'timeout'`.
fn execution(entry: &Object, time: Timestamp) -> Option<Platform> {
    let line = text(entry, "textPayload")?.trim();
    let invocation_id = execution_id(entry)?;
    if text(entry, "severity") != Some("DEBUG") {
        return None;
    }
    let mut event = if line == "Function execution started" {
        Platform::new(time, PlatformStage::Start)
    } else {
        let told = line.strip_prefix("Function execution took ")?;
        let (ms, end) = told.split_once(" ms, finished with status")?;
        let mut event = Platform::new(time, PlatformStage::Report);
        event.duration = Some(Duration::from_millis(ms.trim().parse().ok()?));
        judge_end(&mut event, end.trim_start_matches(" code").trim_start_matches(": "));
        event
    };
    event.invocation_id = Some(invocation_id);
    event.trace = trace_id(entry).map(|trace_id| TraceContext { trace_id, span_id: None });
    Some(event)
}

/// `200`, `'ok'`, `'timeout'`, `'load timeout'`, `'crash'`, `'error'`, `'connection error'`.
fn judge_end(event: &mut Platform, end: &str) {
    let word = end.trim_matches('\'');
    event.status = Some(match (word.parse::<u16>(), word) {
        (Ok(..=499), _) | (_, "ok") => PlatformStatus::Success,
        (Ok(_), _) => PlatformStatus::Failure,
        (_, "timeout" | "load timeout") => PlatformStatus::Timeout,
        (_, "crash") => PlatformStatus::Error,
        _ => PlatformStatus::Failure,
    });
    if event.status != Some(PlatformStatus::Success) {
        event.error_type = Some(Text::from(shorten(word, REASON_BYTES_MAX)));
    }
}

/// A line of Cloud Run's request log: a whole request to one instance, stamped at its start. Its span
/// is the one that the container's own spans have as parent, so both are one invocation.
fn request(entry: &Object, start: Timestamp) -> Option<Platform> {
    let http = entry.get("httpRequest")?.as_object()?;
    let latency = seconds(text(http, "latency")?)?;
    let mut event = Platform::new(start.saturating_add(latency), PlatformStage::Report);
    event.duration = Some(latency);
    event.invocation_id = text(entry, "insertId").map(Text::from);
    event.trace = trace_id(entry).map(|trace_id| TraceContext { trace_id, span_id: None });
    event.span_id = span_id(entry);
    let status = http_status(http);
    let reason = text(entry, "textPayload").map(first_line);
    let says = |words: &str| reason.is_some_and(|reason| reason.contains(words));
    let is_throttled = status == Some(429) && says("no available instance");
    event.status = Some(match status {
        Some(504) if says("maximum request timeout") => PlatformStatus::Timeout,
        Some(500..) => PlatformStatus::Failure,
        _ if is_throttled => PlatformStatus::Failure,
        _ => PlatformStatus::Success,
    });
    if event.status != Some(PlatformStatus::Success) {
        let code = status.unwrap_or_default();
        let told = reason.map_or_else(|| format!("HTTP {code}"), |r| format!("HTTP {code}: {r}"));
        event.error_type = Some(Text::from(shorten(&told, REASON_BYTES_MAX)));
    }
    Some(event)
}

fn http_status(http: &Object) -> Option<u16> {
    http.get("status")?.as_u64().and_then(|status| u16::try_from(status).ok())
}

/// A duration in protobuf's JSON: `0.001901s`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    let is_sane = (0.0..=1e6).contains(&seconds);
    is_sane.then(|| Duration::from_nanos(u64_from_f64((seconds * 1e9).round())))
}

/// What the code wrote: text, JSON, or an audit record.
fn record(entry: &Object, time: Timestamp, around: Around<'_>) -> Told {
    let severity = text(entry, "severity").and_then(Severity::of).unwrap_or(Severity::Info);
    let payload =
        ["jsonPayload", "protoPayload"].iter().find_map(|name| entry.get(*name)?.as_object());
    let audit = payload.and_then(|payload| {
        text(payload, "status.message").or_else(|| text(payload, "methodName"))
    });
    let line = LogLine {
        message: text(entry, "textPayload").or(audit).unwrap_or_default(),
        severity: Some(severity),
        time: Some(time),
        ..LogLine::default()
    };
    let mut told = match payload {
        Some(payload) => json_log::of_object(payload, Some(&line), around),
        None => json_log::text_record(&line, around),
    };
    if let SignalKind::Log(log) = &mut told.kind {
        log.facts.invocation_id = log.facts.invocation_id.take().or_else(|| execution_id(entry));
        let position =
            trace_id(entry).map(|trace_id| TraceContext { trace_id, span_id: span_id(entry) });
        log.trace = position.or(log.trace);
        if let Some(http) = entry.get("httpRequest").and_then(Value::as_object) {
            log.facts.http = Some(Http {
                method: text(http, "requestMethod").map(Text::from),
                route: None,
                status: http_status(http),
            });
        }
    }
    told
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
#[path = "gcp_log_entry_tests.rs"]
mod tests;
