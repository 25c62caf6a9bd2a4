//! Vercel log drains: JSON arrays or NDJSON of log entries.
//!
//! An entry in; a log record out, known by its id, and the platform events of the START, END and REPORT
//! lines that the entry of a function on Lambda holds. The request is the invocation, `project` with the
//! entrypoint the function, the deployment its version. A status code of -1 is a function that died
//! without an answer.
//! Source: vercel.com/docs/drains/reference/logs

use super::event_time;
use super::gather::{Gather, Speaker, Told};
use super::json_facts::error_fact;
use super::json_fields::{Object, id, lookup, number, text};
use super::json_log::{self, Around, Rules};
use super::lambda_text::{self, Line, LogLine};
use super::redact::Redactor;
use super::{Config, Normalized, Origin, Undecodable};
use crate::number::i64_from_f64;
use crate::signal::{
    Fnv128, Http, Platform, PlatformStage, Receiver, Resource, Severity, SignalKind, SpanId, Text,
    TraceContext, TraceId,
};

/// Lines of one entry that are looked at for platform events.
const LINES_MAX: usize = 1_000;

/// Reads a body of `/ingest/vercel`.
pub fn normalize(body: &[u8], origin: &Origin, config: &Config) -> Result<Normalized, Undecodable> {
    let redactor = Redactor::new(&config.redact);
    let rules = Rules { fields: &config.fields, redactor: &redactor };
    let mut gather = Gather::new(Receiver::Vercel, origin, &redactor);
    let nobody = gather.nobody();
    let around = Around::arrival(rules, gather.arrived());
    gather.objects(body, "a log entry is an object", |entry, gather| {
        read(entry, &nobody, around, gather);
    });
    gather.finish_readable()
}

fn read(entry: &Object, nobody: &Resource, around: Around<'_>, gather: &mut Gather) {
    // Speed insights and web analytics, which a drain may send too, tell of browsers.
    if text(entry, "schema").is_some_and(|schema| schema.starts_with("vercel.")) {
        return gather.filter();
    }
    let Some(time) = entry.get("timestamp").and_then(event_time::read) else {
        return gather.reject("a log entry needs a timestamp");
    };
    let around = Around { fallback: time, ..around };
    let identity = entry.get("id").and_then(id).map(|id| {
        let hash = Fnv128::default().field(b"vercel");
        let hash = hash.field(text(entry, "projectId").unwrap_or_default().as_bytes());
        hash.field(id.as_bytes()).finish()
    });
    let message = text(entry, "message").unwrap_or_default();
    let (platform, rest) = if is_function(entry) {
        taken_apart(message, around)
    } else {
        (Vec::new(), message.to_owned())
    };
    let speaker = speaker(entry);
    let request = entry.get("requestId").and_then(id);
    for (idx, mut event) in platform.into_iter().enumerate() {
        // Lambda's own request id is told nowhere else.
        event.invocation_id = request.clone().or(event.invocation_id);
        let kind = SignalKind::Platform(Box::new(event));
        let told = Told { kind, speaker: speaker.clone(), event: None, points: Vec::new() };
        let identity = identity.map(|entry| {
            Fnv128::default().field(&entry.to_be_bytes()).field(&idx.to_be_bytes()).finish()
        });
        gather.accept(identity, nobody, told);
    }
    gather.accept(identity, nobody, record(entry, &rest, speaker, around));
}

fn is_function(entry: &Object) -> bool {
    matches!(text(entry, "source"), Some("lambda" | "edge" | "serverless" | "edge-function"))
}

/// The platform's own lines, and what is left of the message.
fn taken_apart(message: &str, around: Around<'_>) -> (Vec<Platform>, String) {
    let mut told = Vec::new();
    let mut rest = Vec::new();
    for line in message.lines().take(LINES_MAX) {
        match lambda_text::read(line, around.fallback) {
            Line::Platform(line) => {
                told.push(Platform { time: around.fallback, ..line.event });
            }
            Line::Log(_) | Line::Plain => rest.push(line),
        }
    }
    if told.is_empty() {
        return (told, message.to_owned());
    }
    // An entry has one time, that of its last line; the start lies the run's duration before it.
    let run = told.iter().find_map(|event| event.duration).unwrap_or_default();
    for event in told.iter_mut().filter(|event| event.stage == PlatformStage::Start) {
        event.time = event.time.saturating_sub(run);
    }
    (told, rest.join("\n").trim().to_owned())
}

/// Functions are named as the daemon's own are told apart: by project and entrypoint.
fn speaker(entry: &Object) -> Speaker {
    let project = text(entry, "projectName").or_else(|| text(entry, "projectId"));
    let entrypoint = text(entry, "entrypoint");
    let function = project.zip(entrypoint).filter(|_| is_function(entry));
    Speaker {
        service: project.map(Text::from),
        function: function.map(|(project, path)| Text::from(format!("{project}/{path}"))),
        version: text(entry, "deploymentId").map(Text::from),
        region: text(entry, "executionRegion").map(Text::from),
        ..Speaker::default()
    }
}

fn record(entry: &Object, message: &str, speaker: Speaker, around: Around<'_>) -> Told {
    let status = ["statusCode", "proxy.statusCode"]
        .iter()
        .find_map(|name| lookup(entry, name).and_then(number).map(i64_from_f64));
    let died = is_function(entry) && entry.get("statusCode").and_then(number) == Some(-1.0);
    let severity = text(entry, "level").and_then(Severity::of).unwrap_or(Severity::Info);
    let line = LogLine {
        message,
        time: Some(around.fallback),
        severity: Some(if died { severity.max(Severity::Error) } else { severity }),
        ..LogLine::default()
    };
    let mut told = json_log::text_record(&line, around);
    if let SignalKind::Log(log) = &mut told.kind {
        let own = json_log::of_object(&without_message(entry), Some(&line), around);
        if let SignalKind::Log(entry) = own.kind {
            log.attributes.0.extend(entry.attributes.0);
            log.attributes.0.truncate(crate::signal::Attributes::MAX);
        }
        log.facts.invocation_id =
            entry.get("requestId").and_then(id).or_else(|| log.facts.invocation_id.take());
        log.trace = trace(entry).or(log.trace);
        let code = status.and_then(|code| u16::try_from(code).ok()).filter(|code| *code > 0);
        let method = text(entry, "proxy.method").map(Text::from);
        if code.is_some() || method.is_some() {
            log.facts.http = Some(Http { method, route: None, status: code });
        }
        if died {
            log.facts.error = Some(error_fact("no answer: the function ended before it gave one"));
        } else if log.facts.error.is_none() && is_function(entry) {
            let bad = code.filter(|code| *code >= 500);
            log.facts.error = bad.map(|code| error_fact(&format!("HTTP {code}")));
        }
    }
    told.speaker = speaker;
    told
}

/// What becomes attributes: not what is a fact or a name already.
fn without_message(entry: &Object) -> Object {
    const TAKEN: [&str; 12] = [
        "message",
        "timestamp",
        "level",
        "id",
        "requestId",
        "traceId",
        "spanId",
        "trace.id",
        "span.id",
        "projectName",
        "deploymentId",
        "executionRegion",
    ];
    let left = entry.iter().filter(|(name, _)| !TAKEN.contains(&name.as_str()));
    left.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn trace(entry: &Object) -> Option<TraceContext> {
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| text(entry, name));
    let trace_id = first(["traceId", "trace.id"]).and_then(TraceId::from_hex)?;
    let span_id = first(["spanId", "span.id"]).and_then(SpanId::from_hex);
    Some(TraceContext { trace_id, span_id })
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
#[path = "vercel_tests.rs"]
mod tests;
