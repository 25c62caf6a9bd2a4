//! The Lambda Telemetry API: batches of `{time, type, record}` events.
//!
//! A JSON array (or NDJSON, as the TCP destination sends it) in; platform events and log records out.
//! Platform events get an identity, so that a batch that the platform sends twice counts once; plain
//! log records never do. Source: docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
//! and the older Logs API, whose `platform.end` and `platform.fault` are read too.

use serde_json::Value;

use super::aws_names::{FunctionArn, function_arn};
use super::event_time::{self, EventTime};
use super::gather::{EventKey, Gather, Speaker, Told};
use super::json_fields::{Object, count, id, lookup, millis, text};
use super::json_log::{self, Around, Rules};
use super::lambda_text::{self, Line};
use super::logged_trace::trace_context;
use super::pieces::{Piece, Pieces};
use super::redact::Redactor;
use super::shorten::shorten;
use super::{Config, Normalized, Origin, Undecodable};
use crate::signal::{
    self, Attributes, Platform, PlatformStage, PlatformStatus, Receiver, Resource, SignalKind,
    SpanId, Text, Timestamp,
};

/// Longest free text kept of a platform event, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// Reads a body of `/ingest/aws/telemetry`. One environment sends a batch, so what one of its events
/// tells of the function holds for all of them.
pub fn normalize(body: &[u8], origin: &Origin, config: &Config) -> Result<Normalized, Undecodable> {
    if body.trim_ascii().is_empty() {
        return Err(Undecodable { offset: 0, message: "the body is empty".to_owned() });
    }
    let redactor = Redactor::new(&config.redact);
    let rules = Rules { fields: &config.fields, redactor: &redactor };
    let mut gather = Gather::new(Receiver::Telemetry, origin, &redactor);
    let environment = environment(body);
    let speaker = Resource {
        function: origin.function.as_deref().map(Text::from).or(environment.function),
        version: environment.version,
        instance: environment.instance,
        account: environment.account,
        region: environment.region,
        ..gather.nobody()
    };
    let around = Around::arrival(rules, gather.arrived());
    gather.objects(body, "no object with time, type and record", |event, gather| {
        match read(event, around) {
            Ok(told) => gather.accept(None, &speaker, told),
            Err(reason) => gather.reject(reason),
        }
    });
    gather.finish_list(body)
}

/// What the events of a batch tell of the environment that sent them; the first that tells wins.
fn environment(body: &[u8]) -> Speaker {
    let mut known = Speaker::default();
    for piece in Pieces::new(body, |_, _| false) {
        let Piece::Json(Value::Object(event)) = piece else { continue };
        let Some(record) = event.get("record").and_then(Value::as_object) else { continue };
        let of_environment = ["platform.initStart", "platform.start"];
        if !text(&event, "type").is_some_and(|kind| of_environment.contains(&kind)) {
            continue;
        }
        let told = speaker(record);
        let is_init = text(&event, "type") == Some("platform.initStart");
        if known.function.is_none() && told.function.is_some() {
            known = told;
        }
        if is_init && known.function.is_some() {
            break;
        }
    }
    known
}

fn speaker(record: &Object) -> Speaker {
    let arn = text(record, "functionArn").and_then(function_arn);
    let of_arn = |part: fn(FunctionArn<'_>) -> &str| arn.map(|arn| Text::from(part(arn)));
    let version = text(record, "functionVersion").or_else(|| text(record, "version"));
    Speaker {
        function: text(record, "functionName").map(Text::from).or_else(|| of_arn(|arn| arn.name)),
        version: version.map(Text::from),
        instance: text(record, "instanceId").map(Text::from),
        account: of_arn(|arn| arn.account),
        region: of_arn(|arn| arn.region),
        ..Speaker::default()
    }
}

/// One event of a batch.
fn read(event: &Object, around: Around<'_>) -> Result<Told, &'static str> {
    let kind = text(event, "type").ok_or("an event needs a type")?;
    let record = event.get("record").ok_or("an event needs a record")?;
    if kind.starts_with("platform.") {
        return platform(event, around).ok_or("a platform event needs a time");
    }
    if !matches!(kind, "function" | "extension") {
        return Err("the type is neither platform.*, function nor extension");
    }
    let time = event.get("time").and_then(event_time::read).unwrap_or(around.fallback);
    let around = Around { fallback: time, ..around };
    let mut told = match record {
        Value::String(line) => json_log::of_text(line, around),
        Value::Object(object) => json_log::of_object(object, None, around),
        _ => return Err("the record is neither text nor an object"),
    };
    if let SignalKind::Log(log) = &mut told.kind
        && kind == "extension"
        && log.attributes.0.len() < Attributes::MAX
    {
        let value = signal::Value::Str(Text::from("extension"));
        log.attributes.0.push((Text::from("log.source"), value));
    }
    Ok(told)
}

/// Whether a record of user code looks like an event of the platform.
pub(crate) fn poses_as_platform(object: &Object) -> bool {
    text(object, "type").is_some_and(|kind| kind.starts_with("platform."))
        && object.contains_key("record")
}

/// A platform event, known by its shape: `{time, type: "platform.…", record}` and no level beside a
/// message, which user code would have written.
pub(crate) fn platform(event: &Object, around: Around<'_>) -> Option<Told> {
    let kind = text(event, "type").filter(|kind| kind.starts_with("platform."))?;
    let record = event.get("record")?;
    let told = event.get("time").and_then(event_time::read)?;
    if event.contains_key("level") && event.contains_key("message") {
        return None;
    }
    let EventTime { time, original } =
        event_time::judge(Some(told), around.fallback, around.arrived);
    let (mut platform, speaker) = match record {
        Value::Object(record) => (of_record(kind, record, time), speaker(record)),
        Value::String(line) => (of_line(kind, line, time), Speaker::default()),
        _ => return None,
    };
    if original.is_some() && platform.text.is_none() {
        platform.text = Some(Text::from(format!("original_timestamp {told}")));
    }
    Some(Told {
        kind: SignalKind::Platform(Box::new(platform)),
        speaker,
        event: Some(EventKey { name: shorten(kind, TEXT_BYTES_MAX).to_owned(), time: told }),
        points: Vec::new(),
    })
}

fn stage(kind: &str) -> PlatformStage {
    match kind {
        "platform.initStart" | "platform.restoreStart" => PlatformStage::InitStart,
        "platform.initReport" | "platform.restoreReport" => PlatformStage::InitReport,
        "platform.start" => PlatformStage::Start,
        "platform.runtimeDone" | "platform.end" => PlatformStage::RuntimeDone,
        "platform.report" => PlatformStage::Report,
        "platform.logsDropped" => PlatformStage::LogsDropped,
        // initRuntimeDone says nothing that initReport does not say better.
        _ => PlatformStage::Other,
    }
}

fn of_record(kind: &str, record: &Object, time: Timestamp) -> Platform {
    let stage = match stage(kind) {
        PlatformStage::InitStart | PlatformStage::InitReport if is_ahead(record) => {
            PlatformStage::Other
        }
        stage => stage,
    };
    let mut event = Platform::new(time, stage);
    event.invocation_id = record.get("requestId").and_then(id);
    event.status = text(record, "status").and_then(lambda_text::status);
    event.error_type = text(record, "errorType").map(|t| Text::from(shorten(t, TEXT_BYTES_MAX)));
    event.duration = lookup(record, "metrics.durationMs").and_then(millis);
    event.billed = lookup(record, "metrics.billedDurationMs").and_then(millis);
    event.memory_size_bytes = megabytes(record, "metrics.memorySizeMB");
    event.memory_used_bytes = megabytes(record, "metrics.maxMemoryUsedMB");
    event.init_duration = lookup(record, "metrics.initDurationMs")
        .and_then(millis)
        .or_else(|| lookup(record, "metrics.restoreDurationMs").and_then(millis));
    event.trace = text(record, "tracing.value").and_then(trace_context);
    event.span_id = text(record, "tracing.spanId").and_then(SpanId::from_hex);
    event.text = match event.stage {
        PlatformStage::LogsDropped => Some(dropped(record)),
        PlatformStage::Other => Some(Text::from(shorten(kind, TEXT_BYTES_MAX))),
        _ => None,
    };
    event
}

/// Whether an environment begins ahead of all invocations: nobody waits for such an init, so it makes no
/// cold start (Lambda Telemetry API, `initializationType`).
fn is_ahead(record: &Object) -> bool {
    let ahead = ["provisioned-concurrency", "lambda-managed-instances"];
    text(record, "initializationType").is_some_and(|kind| ahead.contains(&kind))
}

/// Legacy events whose record is a line of text.
fn of_line(kind: &str, line: &str, time: Timestamp) -> Platform {
    if let Line::Platform(line) = lambda_text::read(line, time) {
        return Platform { time, ..line.event };
    }
    let mut event = Platform::new(time, PlatformStage::Other);
    event.status = (kind == "platform.fault").then_some(PlatformStatus::Error);
    event.text = Some(Text::from(shorten(line.trim(), TEXT_BYTES_MAX)));
    event
}

fn dropped(record: &Object) -> Text {
    let n = |name: &str| record.get(name).and_then(count).unwrap_or_default();
    let reason = text(record, "reason").unwrap_or("no reason told");
    let (records, bytes) = (n("droppedRecords"), n("droppedBytes"));
    Text::from(format!("{}: {records} records, {bytes} bytes", shorten(reason, TEXT_BYTES_MAX)))
}

/// Lambda writes MB and means MiB.
fn megabytes(record: &Object, path: &str) -> Option<u64> {
    count(lookup(record, path)?)?.checked_mul(1024 * 1024)
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
#[path = "lambda_telemetry_tests.rs"]
mod tests;
