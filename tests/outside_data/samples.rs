//! Captured payloads of the AWS, log and metric-stream dialects, against golden texts of our own.
//!
//! Every file of the folders in [`FOLDERS`] is either a case in [`CASES`] or listed, with the reason, in
//! `tests/golden/samples/not-payloads.txt`; a file that is neither fails, so that none is overlooked.
//! `UPDATE_GOLDEN=1` writes the golden texts anew; they are reviewed by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use throughline::normalize::otlp::OtlpSignal;
use throughline::normalize::{
    Config, Normalized, Origin, Undecodable, azure_records, cloudflare, cloudwatch_logs, firehose,
    json_log, lambda_telemetry, metric_stream, otlp, pubsub, show, vercel, xray,
};
use throughline::signal::{Receiver, Timestamp};

use crate::Report;

mod cases;
mod otel_metrics;

pub(crate) use cases::{CASES, Case};

/// The folders whose every file is accounted for.
const FOLDERS: [&str; 30] = [
    "../otel/awscloudwatch",
    "../otel/awsfirehose/cwlogs",
    "../otel/awsfirehose/cwmetricstream",
    "../otel/awss3_event",
    "../otel/azureeventhub/receiver",
    "../otel/azureeventhub/translator_azure",
    "../otel/countconnector",
    "../otel/elastic_beats",
    "../otel/gcp_logentry",
    "../otel/jaeger",
    "../otel/otlp_examples",
    "../otel/servicegraphconnector",
    "../otel/zipkin",
    "../otel/awsxray",
    "../otel/cloudflare",
    "../otel/vercel/logs",
    "../otel/vercel/speed-insights",
    "aws-events",
    "aws-recorded",
    "azure",
    "cwlogs",
    "emf",
    "firehose",
    "gcp",
    "lambda-json-logs",
    "lambda-text-logs",
    "metricstream",
    "powertools-logs",
    "telemetry-api",
    "xray",
];

/// More lines than this are shown as counts and their first [`HEAD_LINES`].
const LINES_MAX: usize = 40;
const HEAD_LINES: usize = 12;
const DECOMPRESSED_MAX: usize = 16 << 20;

/// How a file is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire {
    /// `/v1/traces`, `/v1/logs`, `/v1/metrics`, in JSON.
    Otlp(OtlpSignal),
    /// `/ingest/aws/xray`.
    Xray,
    /// `/ingest/cloudflare/logpush`.
    Cloudflare,
    /// `/ingest/vercel`.
    Vercel,
    /// `/ingest/json`.
    Json,
    /// An object whose values are log lines, which go to `/ingest/json` one by one.
    NamedLines,
    /// `/ingest/aws/telemetry`.
    Telemetry,
    /// `/ingest/aws/firehose`.
    Firehose,
    /// Decoded CloudWatch Logs payloads, or a forwarder's envelope around packed ones.
    CloudWatch,
    /// A JSON array of decoded payloads.
    CloudWatchList,
    /// A decoded payload between lines of prose.
    CloudWatchInProse,
    MetricStream,
    /// `/ingest/gcp/pubsub`.
    Pubsub,
    /// `/ingest/azure/eventhub`.
    Eventhub,
    /// OTLP/JSON that was decoded from a metric stream's record; it is encoded again.
    MetricStreamOtel,
    /// A function's event, logged by the function that it triggered.
    Event,
    /// Answers of the SQS API, as a consumer logs them: the messages anywhere in them.
    Received,
}

/// Runs every case, and accounts for every file.
pub(crate) fn run(shared: &Path) -> Report {
    let samples = shared.join("samples/serverless");
    if !samples.is_dir() {
        let lines = vec![format!("no samples at {}", samples.display())];
        return Report { lines, problems: Vec::new() };
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/samples");
    let mut report = Report::default();
    for case in CASES {
        let outcome = check(case, &samples, &golden);
        report.lines.push(format!("{} {}/1", case.0, usize::from(outcome.is_ok())));
        report.problems.extend(outcome.err().map(|reason| format!("{}: {reason}", case.0)));
    }
    let unlisted = unlisted(&samples, &golden).into_iter();
    report.problems.extend(
        unlisted.map(|file| format!("{file}: neither a case nor listed in not-payloads.txt")),
    );
    report
}

fn check(case: &Case, samples: &Path, golden: &Path) -> Result<(), String> {
    let Case(file, wire, arrived) = case;
    let body = fs::read(samples.join(file)).map_err(|e| format!("cannot read it: {e}"))?;
    let got = shown(&body, *wire, arrived)?;
    let path = golden.join(format!("{}.txt", file.trim_start_matches("../")));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return write(&path, &got);
    }
    let expected = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if expected == got { Ok(()) } else { Err(difference(&expected, &got)) }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).and_then(|()| fs::write(path, text)).map_err(|e| e.to_string())
}

fn difference(expected: &str, got: &str) -> String {
    let (mut old, mut new) = (expected.lines(), got.lines());
    let mut line = 1;
    loop {
        match (old.next(), new.next()) {
            (None, None) => return "the texts differ in their line ends".to_owned(),
            (a, b) if a == b => line += 1,
            (a, b) => {
                let show = |text: Option<&str>| text.unwrap_or("(nothing)").to_owned();
                return format!("line {line}\n- {}\n+ {}", show(a), show(b));
            }
        }
    }
}

fn shown(body: &[u8], wire: Wire, arrived: &str) -> Result<String, String> {
    let arrived = Timestamp::parse_rfc3339(arrived).ok_or("the case's time is none")?;
    let origin = Origin { arrived, ..Origin::default() };
    let text = match normalize(body, wire, &origin)? {
        Ok(normalized) => digest(&show::text(&normalized)),
        Err(undecodable) => format!("undecodable: {undecodable}"),
    };
    Ok(format!("{text}\n"))
}

pub(crate) type Outcome = Result<Normalized, Undecodable>;

/// Reads a body by its wire; an error where it is not even what the wire unwraps.
pub(crate) fn normalize(body: &[u8], wire: Wire, origin: &Origin) -> Result<Outcome, String> {
    let config = Config::default();
    let json = || serde_json::from_slice::<Value>(body).map_err(|e| e.to_string());
    let cloudwatch =
        |body: &[u8]| cloudwatch_logs::normalize(body, origin, &config, DECOMPRESSED_MAX);
    let by_firehose = |body: &[u8]| {
        firehose::normalize(body, origin, &config, DECOMPRESSED_MAX)
            .map(|delivery| delivery.normalized)
    };
    Ok(match wire {
        Wire::Otlp(signal) => {
            let (encoding, receiver) = (otlp::Encoding::Json, Receiver::OtlpHttp);
            otlp::normalize(
                &otlp::Body { bytes: body, signal, encoding, receiver },
                origin,
                &config,
            )
        }
        Wire::Xray => xray::normalize(body, origin, &config),
        Wire::Cloudflare => cloudflare::normalize(body, origin, &config),
        Wire::Vercel => vercel::normalize(body, origin, &config),
        Wire::Json => json_log::normalize(body, origin, &config),
        Wire::Telemetry => lambda_telemetry::normalize(body, origin, &config),
        Wire::MetricStream => metric_stream::normalize(body, origin, &config),
        Wire::CloudWatch => cloudwatch(body),
        Wire::Firehose => by_firehose(body),
        Wire::NamedLines => {
            let object = json()?;
            let lines: Vec<&Value> =
                object.as_object().into_iter().flat_map(|o| o.values()).collect();
            let body = serde_json::to_vec(&lines).map_err(|e| e.to_string())?;
            json_log::normalize(&body, origin, &config)
        }
        Wire::CloudWatchList => {
            let list = json()?;
            let payloads: String =
                list.as_array().into_iter().flatten().map(Value::to_string).collect();
            cloudwatch(payloads.as_bytes())
        }
        Wire::CloudWatchInProse => {
            let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
            let start = text.find('{').unwrap_or_default();
            let end = text.rfind("\n}").map_or(text.len(), |at| at + 2);
            cloudwatch(text.get(start..end).unwrap_or_default().as_bytes())
        }
        Wire::Eventhub => azure_records::normalize(body, origin, &config),
        Wire::Pubsub => {
            pubsub::normalize(body, origin, &config, DECOMPRESSED_MAX).map(|push| push.normalized)
        }
        Wire::Event => json_log::normalize(&logged(&json()?), origin, &config),
        Wire::Received => {
            let mut messages = Vec::new();
            received(json()?, &mut messages);
            json_log::normalize(&logged(&json!({ "Records": messages })), origin, &config)
        }
        Wire::MetricStreamOtel => by_firehose(&otel_metrics::firehose_body(&json()?)?),
    })
}

/// The record of a function that logs its event.
fn logged(event: &Value) -> Vec<u8> {
    let record = json!({
        "level": "INFO", "message": "received", "function_name": "consumer",
        "function_request_id": "7b1f3a52-0f0c-4b0e-9a53-1c2d3e4f5a6b", "event": event,
    });
    record.to_string().into_bytes()
}

/// The messages anywhere in an answer, their bodies as text again.
fn received(value: Value, messages: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.into_iter().for_each(|item| received(item, messages)),
        Value::Object(mut object) if object.contains_key("ReceiptHandle") => {
            if let Some(body) = object.get_mut("Body").filter(|body| body.is_object()) {
                *body = Value::String(body.to_string());
            }
            messages.push(Value::Object(object));
        }
        Value::Object(object) => {
            object.into_iter().for_each(|(_, inner)| received(inner, messages));
        }
        _ => {}
    }
}

/// The text, or for many lines how often each kind of signal comes, the first lines and the last.
fn digest(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= LINES_MAX {
        return text.to_owned();
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for line in &lines {
        let words: Vec<&str> = line.split([' ', '{']).collect();
        let kind = match words.as_slice() {
            [_, kind @ ("platform" | "metric"), what, ..] => format!("{kind} {what}"),
            [_, "log", ..] => "log".to_owned(),
            _ => continue,
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let mut shown: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} x {kind}")).collect();
    shown.extend(lines.iter().take(HEAD_LINES).map(ToString::to_string));
    shown.push("...".to_owned());
    shown.extend(lines.last().map(ToString::to_string));
    shown.join("\n")
}

/// Files of the folders that nobody accounts for.
fn unlisted(samples: &Path, golden: &Path) -> Vec<String> {
    let listed = fs::read_to_string(golden.join("not-payloads.txt")).unwrap_or_default();
    let is_listed = |file: &str| listed.lines().any(|line| line.split(": ").next() == Some(file));
    let mut files = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(samples.join(folder)) else { continue };
        let names = entries
            .flatten()
            .map(|entry| entry.path())
            .filter_map(|path: PathBuf| Some(format!("{folder}/{}", path.file_name()?.to_str()?)));
        files.extend(
            names.filter(|file| {
                !is_listed(file) && !CASES.iter().any(|case| case.0 == file.as_str())
            }),
        );
    }
    files.sort();
    files
}
