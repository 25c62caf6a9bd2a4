//! Cloudflare Logpush: Workers Trace Events, and HTTP requests as far as they tell invocations.
//!
//! In: NDJSON. Out: for each event of a Worker what the platform reports of the invocation, and its
//! console messages and uncaught exceptions as log records; for a request at the edge that a named
//! Worker answered the same, else a log record. A fetch is known by its ray; what has none (a queue, a
//! schedule, an alarm) by a hash of the event, so that a repeat is one. The upload with which a job's
//! destination is tried is filtered. Never is a trace guessed: Logpush tells none.
//! Source: developers.cloudflare.com/logs/logpush/logpush-job/datasets/

use std::time::Duration;

use serde_json::Value;

use super::event_time::{self, EventTime};
use super::gather::{Gather, Speaker, Told};
use super::json_fields::{Object, attribute, count, id, lookup, millis, text};
use super::json_log::{self, Around, Rules};
use super::lambda_text::{self, LogLine};
use super::redact::Redactor;
use super::shorten::shorten;
use super::{Config, Normalized, Origin, Undecodable};
use crate::signal::{
    self, Fnv128, Http, LogRecord, Platform, PlatformStage, PlatformStatus, Receiver, Resource,
    Severity, SignalKind, Text, Timestamp,
};

/// Longest reason kept of a failed invocation, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// Reads a body of `/ingest/cloudflare/logpush`.
pub fn normalize(body: &[u8], origin: &Origin, config: &Config) -> Result<Normalized, Undecodable> {
    if body.trim_ascii().is_empty() {
        return Err(Undecodable { offset: 0, message: "the body is empty".to_owned() });
    }
    let redactor = Redactor::new(&config.redact);
    let rules = Rules { fields: &config.fields, redactor: &redactor };
    let mut gather = Gather::new(Receiver::Cloudflare, origin, &redactor);
    let nobody = gather.nobody();
    let around = Around::arrival(rules, gather.arrived());
    gather.objects(body, "a Logpush record is an object", |record, gather| {
        read(record, &nobody, around, gather);
    });
    gather.finish_readable()
}

fn read(record: &Object, nobody: &Resource, around: Around<'_>, gather: &mut Gather) {
    // `{"content":"tests"}` is what a job's destination is tried with.
    if record.len() == 1 && record.get("content").is_some_and(Value::is_string) {
        return gather.filter();
    }
    let is_event = record.contains_key("Outcome") || record.contains_key("EventType");
    if is_event && record.contains_key("EventTimestampMs") {
        return worker(record, nobody, around, gather);
    }
    if record.contains_key("RayID") && record.contains_key("EdgeStartTimestamp") {
        let hash = Fnv128::default().field(b"cloudflare http");
        let ray = text(record, "RayID").unwrap_or_default();
        let identity = hash.field(ray.as_bytes()).finish();
        return match edge(record, around) {
            Ok(told) => gather.accept(Some(identity), nobody, told),
            Err(reason) => gather.reject(reason),
        };
    }
    gather.reject(
        "neither a Workers trace event (EventTimestampMs, Outcome) nor an HTTP request (RayID, EdgeStartTimestamp)",
    );
}

fn plain(kind: SignalKind, speaker: Speaker) -> Told {
    Told { kind, speaker, event: None, points: Vec::new() }
}

/// One event of a Worker: its invocation, then what it wrote and threw.
fn worker(event: &Object, nobody: &Resource, around: Around<'_>, gather: &mut Gather) {
    let Some(told) = event.get("EventTimestampMs").and_then(event_time::read) else {
        return gather.reject("EventTimestampMs is no time");
    };
    let EventTime { time: start, .. } =
        event_time::judge(Some(told), around.fallback, around.arrived);
    let whole = Fnv128::default()
        .field(b"cloudflare event")
        .field(Value::Object(event.clone()).to_string().as_bytes())
        .finish();
    let ray = lookup(event, "Event.RayID").and_then(id);
    let invocation = ray.unwrap_or_else(|| Text::from(format!("event-{whole:032x}")));
    let speaker = Speaker {
        function: text(event, "ScriptName").map(Text::from),
        version: text(event, "ScriptVersion.id").map(Text::from),
        ..Speaker::default()
    };
    let wall = event.get("WallTimeMs").and_then(millis);
    let mut platform =
        Platform::new(start.saturating_add(wall.unwrap_or_default()), PlatformStage::Report);
    platform.duration = wall;
    platform.invocation_id = Some(Text::clone(&invocation));
    judge(event, &mut platform);
    let platform = SignalKind::Platform(Box::new(platform));
    gather.accept(Some(whole), nobody, plain(platform, speaker.clone()));
    let written = entries(event, "Logs").map(|entry| (entry, false));
    let thrown = entries(event, "Exceptions").map(|entry| (entry, true));
    for (idx, (entry, is_thrown)) in written.chain(thrown).enumerate() {
        let Some(entry) = entry.as_object() else {
            gather.reject("an entry of Logs or Exceptions is an object");
            continue;
        };
        let around = Around { fallback: start, ..around };
        let mut told = if is_thrown { exception(entry, around) } else { log(entry, around) };
        told.speaker = speaker.clone();
        if let SignalKind::Log(log) = &mut told.kind {
            log.facts.invocation_id = Some(Text::clone(&invocation));
        }
        let identity =
            Fnv128::default().field(&whole.to_be_bytes()).field(&idx.to_be_bytes()).finish();
        gather.accept(Some(identity), nobody, told);
    }
}

fn entries<'a>(event: &'a Object, name: &str) -> impl Iterator<Item = &'a Value> {
    event.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// What became of the invocation. A client that went away says nothing about the Worker.
fn judge(event: &Object, platform: &mut Platform) {
    let outcome = text(event, "Outcome").unwrap_or_default();
    let answered = lookup(event, "Event.Response.Status").and_then(count);
    let thrown = entries(event, "Exceptions").next().and_then(Value::as_object).map(described);
    platform.status = match outcome {
        "ok" if answered.is_some_and(|status| status >= 500) => Some(PlatformStatus::Failure),
        "ok" => Some(PlatformStatus::Success),
        "exceededCpu" | "exceededWallTime" => Some(PlatformStatus::Timeout),
        "exceededMemory" => Some(PlatformStatus::Error),
        "canceled" | "responseStreamDisconnected" | "" | "unknown" => None,
        // exception, scriptNotFound, killSwitch, and what is named later.
        _ => Some(PlatformStatus::Failure),
    };
    let reason = match (outcome, thrown, answered) {
        (_, Some(thrown), _) => thrown,
        ("exceededMemory", ..) => "out of memory (exceededMemory)".to_owned(),
        ("ok", None, Some(status)) => format!("HTTP {status}"),
        (outcome, ..) => outcome.to_owned(),
    };
    if platform.status.is_some_and(|status| status != PlatformStatus::Success) {
        platform.error_type = Some(Text::from(shorten(&reason, REASON_BYTES_MAX)));
    }
}

/// `Name: message`.
fn described(exception: &Object) -> String {
    let part = |name: &str| text(exception, name).unwrap_or_default();
    let (name, message) = (part("Name"), part("Message"));
    if name.is_empty() || message.is_empty() {
        return format!("{name}{message}");
    }
    format!("{name}: {message}")
}

fn exception(entry: &Object, around: Around<'_>) -> Told {
    let mut fields = Object::new();
    for (from, to) in [("Name", "errorType"), ("Message", "errorMessage"), ("Stack", "stackTrace")]
    {
        if let Some(value) = entry.get(from).filter(|value| !value.is_null()) {
            fields.insert(to.to_owned(), value.clone());
        }
    }
    let message = described(entry);
    let line = line(entry, &message, Severity::Error);
    json_log::of_object(&fields, Some(&line), around)
}

/// A console message: its arguments, as the console shows them.
fn log(entry: &Object, around: Around<'_>) -> Told {
    let parts = match entry.get("Message") {
        Some(Value::Array(parts)) => parts.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let severity = text(entry, "Level").and_then(lambda_text::severity).unwrap_or(Severity::Info);
    if let [Value::Object(only)] = parts {
        return json_log::of_object(only, Some(&line(entry, "", severity)), around);
    }
    let words: Vec<String> = parts
        .iter()
        .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
        .collect();
    json_log::text_record(&line(entry, &words.join(" "), severity), around)
}

/// With a severity, so that nothing that user code writes is taken for the platform's.
fn line<'a>(entry: &Object, message: &'a str, severity: Severity) -> LogLine<'a> {
    LogLine {
        message,
        time: entry.get("TimestampMs").and_then(event_time::read),
        severity: Some(severity),
        ..LogLine::default()
    }
}

/// A request at the edge. The Worker that answered it is an invocation where the record names it.
fn edge(request: &Object, around: Around<'_>) -> Result<Told, &'static str> {
    let told = request.get("EdgeStartTimestamp").and_then(event_time::read);
    let told = told.ok_or("EdgeStartTimestamp is no time")?;
    let EventTime { time: start, .. } =
        event_time::judge(Some(told), around.fallback, around.arrived);
    let status = request.get("EdgeResponseStatus").and_then(count);
    let worker = text(request, "WorkerScriptName");
    let ran = text(request, "WorkerStatus").filter(|status| *status != "unknown");
    if let (Some(worker), Some(ran)) = (worker, ran) {
        let speaker = Speaker { function: Some(Text::from(worker)), ..Speaker::default() };
        let event = invocation(request, start, ran, status);
        return Ok(plain(SignalKind::Platform(Box::new(event)), speaker));
    }
    Ok(edge_record(request, start, status, around))
}

fn invocation(request: &Object, start: Timestamp, ran: &str, status: Option<u64>) -> Platform {
    let micros = request.get("WorkerWallTimeUs").and_then(count).map(Duration::from_micros);
    let end = start.saturating_add(micros.unwrap_or_default());
    let mut event = Platform::new(end, PlatformStage::Report);
    event.duration = micros;
    event.invocation_id = text(request, "RayID").map(Text::from);
    event.status = Some(match (ran, status) {
        ("ok", Some(500..)) => PlatformStatus::Failure,
        ("ok", _) => PlatformStatus::Success,
        ("exceededCpu" | "exceededWallTime", _) => PlatformStatus::Timeout,
        _ => PlatformStatus::Failure,
    });
    if event.status != Some(PlatformStatus::Success) {
        let reason = if ran == "ok" {
            format!("HTTP {}", status.unwrap_or_default())
        } else {
            ran.to_owned()
        };
        event.error_type = Some(Text::from(shorten(&reason, REASON_BYTES_MAX)));
    }
    event
}

fn edge_record(request: &Object, time: Timestamp, status: Option<u64>, around: Around<'_>) -> Told {
    let request = around.rules.cleaned(request);
    let method = text(&request, "ClientRequestMethod");
    let path = text(&request, "ClientRequestPath").unwrap_or_default();
    let code = status.and_then(|status| u16::try_from(status).ok()).filter(|code| *code > 0);
    let severity =
        if code.is_some_and(|code| code >= 500) { Severity::Error } else { Severity::Info };
    let body = format!("{} {path} {}", method.unwrap_or("?"), code.unwrap_or_default());
    let mut log = LogRecord {
        time,
        severity: Some(severity),
        trace: None,
        body: Text::from(shorten(&body, LogRecord::BODY_BYTES_MAX)),
        facts: signal::Facts::default(),
        attributes: signal::Attributes::default(),
    };
    log.facts.http = Some(Http { method: method.map(Text::from), route: None, status: code });
    for name in ["RayID", "ClientRequestHost", "EdgeColoCode", "CacheCacheStatus"] {
        if let Some(value) = request.get(name) {
            log.attributes.0.push((Text::from(name), attribute(value, 1)));
        }
    }
    let service = ["ZoneName", "ClientRequestHost"].iter().find_map(|name| text(&request, name));
    let speaker = Speaker { service: service.map(Text::from), ..Speaker::default() };
    plain(SignalKind::Log(Box::new(log)), speaker)
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
#[path = "cloudflare_tests.rs"]
mod tests;
