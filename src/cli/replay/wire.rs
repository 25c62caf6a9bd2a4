//! What captured bytes are: by name, or by how they look.

use std::path::Path;

use serde_json::{Value, json};

use crate::normalize::{self, Origin, cloudwatch_logs, metric_stream};
use crate::receive::captured::{self, Captured};
use crate::signal::{Batch, Timestamp};

/// A dialect of captured files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Posted(Posted),
    /// Subscription payloads, one behind the other, as Firehose writes them to S3.
    CloudwatchLogs,
    /// JSON records, one a line, as Firehose writes them to S3.
    MetricStream,
    /// `TIME MESSAGE`, as the export of a log group to S3 has it.
    Text,
}

/// A body of the ingest port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Posted {
    path: &'static str,
    content_type: &'static str,
}

const fn posted(path: &'static str) -> Wire {
    Wire::Posted(Posted { path, content_type: "application/json" })
}

const fn protobuf(path: &'static str) -> Wire {
    Wire::Posted(Posted { path, content_type: "application/x-protobuf" })
}

impl Wire {
    /// The words of `--from`.
    pub(super) const NAMES: &str = "json, otlp-traces, otlp-logs, otlp-metrics (JSON), otlp-traces-pb, otlp-logs-pb, otlp-metrics-pb, cloudwatch-logs, metric-stream, firehose, telemetry, pubsub, eventhub, xray, cloudflare, vercel, remote-write, text";

    /// By its name.
    pub(super) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "json" => posted("/ingest/json"),
            "otlp-traces" => posted("/v1/traces"),
            "otlp-logs" => posted("/v1/logs"),
            "otlp-metrics" => posted("/v1/metrics"),
            "otlp-traces-pb" => protobuf("/v1/traces"),
            "otlp-logs-pb" => protobuf("/v1/logs"),
            "otlp-metrics-pb" => protobuf("/v1/metrics"),
            "cloudwatch-logs" => Self::CloudwatchLogs,
            "metric-stream" => Self::MetricStream,
            "firehose" => posted("/ingest/aws/firehose"),
            "telemetry" => posted("/ingest/aws/telemetry"),
            "pubsub" => posted("/ingest/gcp/pubsub"),
            "eventhub" => posted("/ingest/azure/eventhub"),
            "xray" => posted("/ingest/aws/xray"),
            "cloudflare" => posted("/ingest/cloudflare/logpush"),
            "vercel" => posted("/ingest/vercel"),
            "remote-write" => protobuf("/api/v1/write"),
            "text" => Self::Text,
            _ => return None,
        })
    }

    /// By how the bytes begin; None where that does not say.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.trim_ascii_start();
        let first = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>().next();
        match first {
            Some(Ok(Value::Array(items))) => Some(of_list(&items)),
            Some(Ok(Value::Object(object))) => Some(of_object(&object)),
            _ => is_text(bytes).then_some(Self::Text),
        }
    }

    /// How many lines may be decoded together; None where the whole is one.
    pub(super) fn lines_max(self, bytes: &[u8]) -> Option<usize> {
        let is_json = match self {
            Self::Posted(posted) => posted.content_type == "application/json",
            Self::MetricStream => true,
            Self::CloudwatchLogs | Self::Text => false,
        };
        let first = bytes.trim_ascii_start().split(|byte| *byte == b'\n').next()?;
        let stands_alone =
            is_json && serde_json::from_slice::<serde::de::IgnoredAny>(first).is_ok();
        let are_many = self == Self::MetricStream || self == posted("/ingest/json");
        stands_alone.then_some(if are_many { usize::MAX } else { 1 })
    }

    /// What a piece becomes.
    pub(super) fn decode(
        self,
        piece: &[u8],
        origin: &Origin,
        config: &normalize::Config,
        body_bytes_max: usize,
    ) -> Result<Batch, String> {
        let normalized = match self {
            Self::Posted(Posted { path, content_type }) => {
                let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
                if let Some(function) = &origin.function {
                    headers.push(("lambda-function-name".to_owned(), function.clone()));
                }
                let request = Captured { path, headers: &headers, body: piece };
                captured::read(&request, origin.arrived, config)
                    .map_err(|error| error.to_string())?
            }
            Self::CloudwatchLogs | Self::Text => {
                cloudwatch_logs::normalize(piece, origin, config, body_bytes_max)
                    .map_err(|error| error.to_string())?
            }
            Self::MetricStream => metric_stream::normalize(piece, origin, config)
                .map_err(|error| error.to_string())?,
        };
        Ok(normalized.batch)
    }
}

fn of_list(items: &[Value]) -> Wire {
    let is_telemetry = items.first().is_some_and(|item| {
        item.get("record").is_some()
            && item.get("type").and_then(Value::as_str).is_some_and(|kind| {
                kind.starts_with("platform.") || ["function", "extension"].contains(&kind)
            })
    });
    posted(if is_telemetry { "/ingest/aws/telemetry" } else { "/ingest/json" })
}

fn of_object(object: &serde_json::Map<String, Value>) -> Wire {
    let has = |names: &[&str]| names.iter().all(|name| object.contains_key(*name));
    let either = |names: [&str; 2]| names.iter().any(|name| object.contains_key(*name));
    match () {
        () if either(["resourceSpans", "resource_spans"]) => posted("/v1/traces"),
        () if either(["resourceLogs", "resource_logs"]) => posted("/v1/logs"),
        () if either(["resourceMetrics", "resource_metrics"]) => posted("/v1/metrics"),
        () if has(&["messageType", "logEvents"]) || has(&["awslogs"]) => Wire::CloudwatchLogs,
        () if has(&["namespace", "metric_name", "value"]) => Wire::MetricStream,
        () if has(&["requestId", "records"]) => posted("/ingest/aws/firehose"),
        () if object.get("records").is_some_and(Value::is_array) => {
            posted("/ingest/azure/eventhub")
        }
        () if has(&["message", "subscription"]) => posted("/ingest/gcp/pubsub"),
        () => posted("/ingest/json"),
    }
}

/// Whether the first line is a time and a message.
fn is_text(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    std::str::from_utf8(line).is_ok_and(|line| timed(line).is_some())
}

/// `TIME MESSAGE`.
fn timed(line: &str) -> Option<(Timestamp, &str)> {
    let (time, message) = line.split_once(' ')?;
    let looks_so = time.len() >= 20 && time.contains('T');
    Some((Timestamp::parse_rfc3339(time).filter(|_| looks_so)?, message))
}

/// Exported text in the envelope of a subscription. A line without a time belongs to the one before.
pub(super) fn enveloped(text: &[u8], function: &str, path: &Path) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut events: Vec<(Timestamp, String)> = Vec::new();
    for line in text.lines() {
        match (timed(line), events.last_mut()) {
            (Some((time, message)), _) => events.push((time, message.to_owned())),
            (None, Some((_, message))) => {
                message.push('\n');
                message.push_str(line);
            }
            (None, None) => {}
        }
    }
    let stream = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let name = path.display();
    let events: Vec<Value> = events
        .iter()
        .enumerate()
        .map(|(at, (time, message))| {
            json!({"id": format!("{name} {at}"), "timestamp": time.as_millis(), "message": message})
        })
        .collect();
    let envelope = json!({
        "messageType": "DATA_MESSAGE",
        "owner": "",
        "logGroup": format!("/aws/lambda/{function}"),
        "logStream": stream,
        "subscriptionFilters": [],
        "logEvents": events,
    });
    envelope.to_string().into_bytes()
}
