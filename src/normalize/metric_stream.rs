//! CloudWatch metric streams in JSON: one record a line in, one metric point a record out.
//!
//! CloudWatch tells the same fact once per set of dimensions (function; function and alias; none), so a
//! metric that the contract knows is taken from exactly one set, and nothing is ever summed over sets.
//! Every other record keeps a series of its own, `aws_<namespace>_<metric>`, with its dimensions as labels.
//! A point with an absurd time is rejected: a gauge shown at another time would be untrue.
//! Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-metric-streams-formats-json.html

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::event_time;
use super::gather::{Gather, Speaker, Told};
use super::json_fields::number;
use super::redact::Redactor;
use super::{Config, Normalized, Origin, Undecodable};
use crate::signal::{
    Fnv128, Labels, METRIC_NAME, MetricPoint, MetricValue, Receiver, Resource, SignalKind,
    Temporality, Text, Timestamp,
};

/// CloudWatch allows 30 dimensions a metric.
const DIMENSIONS_MAX: usize = 30;
/// Longest record, in bytes: 30 dimensions of 255 + 1,024 characters and the extra statistics.
const RECORD_BYTES_MAX: usize = 256 * 1024;

/// Depth of a dead-letter queue; also told as `throughline_queue_depth`, see `measure::depth`.
const DLQ_DEPTH: &str = "throughline_dlq_depth";
const QUEUE_DEPTH: &str = "throughline_queue_depth";

/// One record, in whatever format it came.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct MetricRecord {
    #[serde(default)]
    pub(crate) account_id: Text,
    #[serde(default)]
    pub(crate) region: Text,
    pub(crate) namespace: String,
    pub(crate) metric_name: String,
    #[serde(default)]
    pub(crate) dimensions: BTreeMap<String, String>,
    pub(crate) timestamp: Value,
    pub(crate) value: Statistics,
    #[serde(default)]
    pub(crate) unit: String,
}

/// The statistics of one period. Real rows with a sum above 0 and a maximum of 0 exist, so nothing is
/// assumed of how they compare.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Statistics {
    pub(crate) max: Value,
    pub(crate) sum: Value,
}

/// Reads a stream's records, one JSON object after another.
pub fn normalize(body: &[u8], origin: &Origin, config: &Config) -> Result<Normalized, Undecodable> {
    let redactor = Redactor::new(&config.redact);
    let mut gather = Gather::new(Receiver::Firehose, origin, &redactor);
    let speaker = gather.nobody();
    read_into(body, &speaker, &mut gather);
    gather.finish_readable()
}

/// Whether a body holds metric stream records: the first has three of the four fields that they are known
/// by, so that one which lacks a field is rejected for that and not taken for a log record.
pub(crate) fn is_records(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Shape {
        namespace: Option<serde::de::IgnoredAny>,
        metric_name: Option<serde::de::IgnoredAny>,
        dimensions: Option<serde::de::IgnoredAny>,
        value: Option<serde::de::IgnoredAny>,
    }
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Shape>();
    let Some(Ok(Shape { namespace, metric_name, dimensions, value })) = values.next() else {
        return false;
    };
    let fields = [namespace, metric_name, dimensions, value];
    fields.iter().filter(|field| field.is_some()).count() >= 3
}

/// Reads records into a delivery: by lines, because that is how they are written, so that a broken one
/// ends with its line.
pub(crate) fn read_into(body: &[u8], speaker: &Resource, gather: &mut Gather) {
    for line in body.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        if gather.is_full() {
            return;
        }
        if line.len() > RECORD_BYTES_MAX {
            gather.reject("a metric record of more than 256 KiB");
            continue;
        }
        for record in serde_json::Deserializer::from_slice(line).into_iter::<MetricRecord>() {
            match record {
                Ok(record) => read_record(&record, speaker, gather),
                Err(e) => gather.reject(&format!("no metric stream record: {e}")),
            }
        }
    }
}

/// One record to one point.
pub(crate) fn read_record(record: &MetricRecord, speaker: &Resource, gather: &mut Gather) {
    let Some(time) = event_time::read(&record.timestamp) else {
        return gather.reject("a metric record needs a timestamp");
    };
    if !event_time::is_plausible(time, gather.arrived()) {
        return gather
            .reject("the timestamp lies more than 7 days before or 10 minutes after the arrival");
    }
    if record.dimensions.len() > DIMENSIONS_MAX {
        return gather.reject("a metric record has at most 30 dimensions");
    }
    let Some(point) = point(record, time) else {
        return gather.reject("the value lacks the statistics sum and max");
    };
    let identity = Fnv128::default()
        .field(b"cwmetric")
        .field(record.account_id.as_bytes())
        .field(record.region.as_bytes())
        .field(&point.labels.fingerprint().to_be_bytes())
        .field(&time.as_nanos().to_be_bytes())
        .finish();
    let told = Told {
        kind: SignalKind::Metric(Box::new(point)),
        speaker: Speaker {
            account: Some(Text::clone(&record.account_id)).filter(|id| !id.is_empty()),
            region: Some(Text::clone(&record.region)).filter(|name| !name.is_empty()),
            ..Speaker::default()
        },
        event: None,
        points: Vec::new(),
    };
    gather.accept(Some(identity), speaker, told);
}

/// Whether a queue is called as dead-letter queues are. It only adds a series of that name, so that alerts
/// about dead letters need no configuration; which queue it serves, and that a message was dead-lettered, is
/// never taken from a name.
/// `orders-dlq`, `orders_dead_letter`, `OrdersDLQ.fifo`, `orders-dead-letter-queue`, and the `orders-poison`
/// that the Functions host makes beside a storage queue.
pub fn is_dead_letter_name(queue: &str) -> bool {
    let name = queue.to_ascii_lowercase();
    let name = name.strip_suffix(".fifo").unwrap_or(&name);
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    name.starts_with("dlq-")
        || name.ends_with("-poison")
        || ["dlq", "deadletter", "deadletters", "deadletterqueue", "deadletterq"]
            .iter()
            .any(|suffix| letters.ends_with(suffix))
}

fn point(record: &MetricRecord, time: Timestamp) -> Option<MetricPoint> {
    let (sum, max) = (number(&record.value.sum), number(&record.value.max));
    if let Some(known) = known_series(record) {
        let value = match known.statistic {
            Statistic::Sum => {
                MetricValue::Sum { value: sum?, monotonic: true, temporality: Temporality::Delta }
            }
            Statistic::Max => MetricValue::Gauge(max?),
            Statistic::MaxMillis => MetricValue::Gauge(max? / 1_000.0),
        };
        return Some(MetricPoint { labels: known.labels, time, start: None, value });
    }
    // The most telling statistic: of counts the sum, of sizes, times and levels the worst.
    let (stat, value) = if record.unit == "Count" { ("sum", sum?) } else { ("max", max?) };
    let labels = own_labels(record, stat);
    Some(MetricPoint { labels, time, start: None, value: MetricValue::Gauge(value) })
}

enum Statistic {
    Sum,
    Max,
    /// Told in seconds.
    MaxMillis,
}

struct KnownSeries {
    labels: Labels,
    statistic: Statistic,
}

/// The series of the contract, each from its one set of dimensions.
fn known_series(record: &MetricRecord) -> Option<KnownSeries> {
    let mut dimensions = record.dimensions.iter();
    let (dimension, name) = dimensions.next()?;
    if dimensions.next().is_some() {
        return None;
    }
    let of = |series: &str, label: &str| Labels::of(&[(METRIC_NAME, series), (label, name)]);
    let max = |labels| Some(KnownSeries { labels, statistic: Statistic::Max });
    match (record.namespace.as_str(), record.metric_name.as_str(), dimension.as_str()) {
        ("AWS/Lambda", "Throttles", "FunctionName") => {
            let labels = of("throughline_throttles_total", "faas_name").with("source", "platform");
            Some(KnownSeries { labels, statistic: Statistic::Sum })
        }
        ("AWS/Lambda", "ConcurrentExecutions", "FunctionName") => {
            max(of("throughline_concurrency", "faas_name"))
        }
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName") => {
            let series = if is_dead_letter_name(name) { DLQ_DEPTH } else { QUEUE_DEPTH };
            max(of(series, "queue"))
        }
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName") => {
            max(of("throughline_queue_oldest_age_seconds", "queue"))
        }
        // Milliseconds that the last record read was old: how far the stream's consumers are behind.
        ("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", "StreamName") => {
            let labels = of("throughline_queue_oldest_age_seconds", "queue");
            Some(KnownSeries { labels, statistic: Statistic::MaxMillis })
        }
        _ => None,
    }
}

fn own_labels(record: &MetricRecord, stat: &str) -> Labels {
    let namespace = record.namespace.strip_prefix("AWS/").unwrap_or(&record.namespace);
    let namespace = snake(&namespace.to_ascii_lowercase());
    let name = format!("aws_{namespace}_{}", snake(&record.metric_name));
    let own = [
        (METRIC_NAME, name.as_str()),
        ("stat", stat),
        ("account_id", &record.account_id),
        ("region", &record.region),
    ];
    let dimensions = record.dimensions.iter().map(|(name, value)| {
        let label = snake(name);
        let is_ours = own.iter().any(|(ours, _)| *ours == label);
        let label = if is_ours { format!("dimension_{label}") } else { label };
        (Text::from(label), Text::from(value.as_str()))
    });
    let own = own.map(|(name, value)| (Text::from(name), Text::from(value)));
    Labels::new(dimensions.chain(own))
}

/// `ApproximateNumberOfMessages` to `approximate_number_of_messages`; runs of capitals and digits stay
/// one word (`5XXError` is `5xx_error`), and what no label may hold becomes `_`.
pub(super) fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 8);
    let mut letters = name.chars().peekable();
    let mut before = '_';
    while let Some(letter) = letters.next() {
        let next_is_small = letters.peek().is_some_and(char::is_ascii_lowercase);
        let starts_word = letter.is_ascii_uppercase()
            && (before.is_ascii_lowercase() || before.is_ascii_alphanumeric() && next_is_small);
        if starts_word {
            snake.push('_');
        }
        let kept = if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
        if kept != '_' || !snake.ends_with('_') {
            snake.push(kept);
        }
        before = if letter.is_ascii_alphanumeric() { letter } else { '_' };
    }
    snake
}

#[cfg(test)]
#[path = "metric_stream_tests.rs"]
mod tests;
