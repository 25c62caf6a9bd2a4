//! Memory that what is decoded may take, counted while it is made.
//!
//! Signals come in one by one, as they are taken up; out goes whether there is still room. What a body becomes
//! depends on what is in it: three bytes may be a record of a kilobyte. Never is more made than was allowed,
//! but for the record that meets the bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::signal::{
    Attributes, Facts, Labels, MetricPoint, MetricValue, Signal, SignalKind, Value,
};

/// Of a text's own memory, beside its bytes; about.
const TEXT_BYTES: usize = 32;
/// Of a message, sent or received, or a correlation id among the facts of a signal.
const FACT_BYTES: usize = 160;
/// A place in the list of signals, which is up to twice as long as it need be.
const PLACE_BYTES: usize = 2 * size_of::<Signal>();

/// How much may be made of a body. Clones share it; `Default` has no bound.
#[derive(Clone, Debug)]
pub struct Allowance {
    bytes_max: usize,
    spent: Arc<AtomicUsize>,
    is_too_many: Arc<AtomicBool>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self::of(usize::MAX)
    }
}

impl Allowance {
    pub fn of(bytes_max: usize) -> Self {
        Self { bytes_max, spent: Arc::default(), is_too_many: Arc::default() }
    }

    /// Takes so many bytes; false: it is used up.
    pub(crate) fn spend(&self, bytes: usize) -> bool {
        let before = self.spent.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.bytes_max
    }

    /// Bytes that were made, about.
    pub fn spent(&self) -> usize {
        self.spent.load(Ordering::Relaxed)
    }

    /// More would have been made: what there is of the body is not all of it.
    pub fn is_used_up(&self) -> bool {
        self.spent() > self.bytes_max
    }

    /// The body holds more records than one delivery may, however small they are.
    pub(crate) fn end_at_too_many(&self) {
        self.is_too_many.store(true, Ordering::Relaxed);
    }

    /// It was not read to its end because of that.
    pub fn is_too_many(&self) -> bool {
        self.is_too_many.load(Ordering::Relaxed)
    }
}

/// Bytes of a signal in memory, about.
pub(crate) fn weight(kind: &SignalKind) -> usize {
    PLACE_BYTES
        + match kind {
            SignalKind::Span(span) => {
                let links = size_of_val(span.links.as_slice());
                size_of_val(&**span) + links + of_facts(&span.facts) + of(&span.attributes)
            }
            SignalKind::Log(record) => {
                let body = TEXT_BYTES + record.body.len();
                size_of_val(&**record) + body + of_facts(&record.facts) + of(&record.attributes)
            }
            SignalKind::Platform(event) => size_of_val(&**event) + FACT_BYTES,
            SignalKind::Metric(point) => of_point(point) + of_labels(&point.labels),
        }
}

/// A point without its labels.
pub(crate) fn of_point(point: &MetricPoint) -> usize {
    let value = match &point.value {
        MetricValue::Gauge(_) | MetricValue::Sum { .. } | MetricValue::Stale => 0,
        MetricValue::Histogram { point, .. } => point.heap_bytes(),
        MetricValue::Native(histogram) => {
            let buckets = histogram.positive.len() + histogram.negative.len();
            size_of_val(&**histogram) + 16 * buckets + 8 * histogram.custom_bounds.len()
        }
        MetricValue::Summary(summary) => {
            size_of_val(&**summary) + size_of_val(summary.quantiles.as_slice())
        }
    };
    PLACE_BYTES + size_of_val(point) + value
}

/// Names are shared among series, values often not.
pub(crate) fn of_labels(labels: &Labels) -> usize {
    labels.iter().map(|(_, value)| 2 * TEXT_BYTES + value.len()).sum()
}

fn of_facts(facts: &Facts) -> usize {
    (facts.sent.len() + facts.received.len() + facts.correlation_ids.len()) * FACT_BYTES
}

fn of(attributes: &Attributes) -> usize {
    let one =
        |value: &Value| size_of::<(crate::signal::Text, Value)>() + TEXT_BYTES + of_value(value);
    attributes.0.iter().map(|(_, value)| one(value)).sum()
}

fn of_value(value: &Value) -> usize {
    match value {
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        Value::Str(text) => TEXT_BYTES + text.len(),
        Value::List(list) => list.iter().map(|one| size_of::<Value>() + of_value(one)).sum(),
        Value::Map(map) => {
            map.iter().map(|(key, value)| 2 * TEXT_BYTES + key.len() + of_value(value)).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalize::otlp::{self, Encoding, OtlpSignal};
    use crate::normalize::{Config, Origin, json_log, remote_write};
    use crate::signal::Receiver;

    fn origin(bytes_max: usize) -> Origin {
        Origin { allowance: Allowance::of(bytes_max), ..Origin::default() }
    }

    /// By every way that signals are gathered, how many of a thousand are made under an allowance.
    fn made(origin: &Origin) -> [Option<usize>; 3] {
        let config = Config::default();
        let logs = "{\"message\":\"a\",\"x\":1}\n".repeat(1000);
        let logs = json_log::normalize(logs.as_bytes(), origin, &config);
        let record =
            r#"{"body":{"stringValue":"a"},"attributes":[{"key":"x","value":{"intValue":"1"}}]}"#;
        let records = vec![record; 1000].join(",");
        let body =
            format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#);
        let (signal, encoding) = (OtlpSignal::Logs, Encoding::Json);
        let body =
            otlp::Body { bytes: body.as_bytes(), signal, encoding, receiver: Receiver::OtlpHttp };
        let otlp = otlp::normalize(&body, origin, &config);
        // One series with a thousand samples of a value and no time.
        let sample = b"\x12\x09\x09\0\0\0\0\0\0\xf0\x3f".repeat(1000);
        let label = b"\x0a\x0d\x0a\x08__name__\x12\x01x";
        let series = [&label[..], &sample].concat();
        let length = series.len();
        let bytes = [
            b"\x0a",
            &[0x80 | u8::try_from(length & 0x7f).unwrap()][..],
            &[u8::try_from(length >> 7).unwrap()],
        ];
        let written = [bytes.concat(), series].concat();
        let version = remote_write::Version::V1;
        let written = remote_write::normalize(&written, version, origin, &config);
        [
            logs.ok().map(|read| read.batch.signals.len()),
            otlp.ok().map(|read| read.batch.signals.len()),
            written.ok().map(|read| read.normalized.batch.signals.len()),
        ]
    }

    #[test]
    fn what_is_made_ends_where_its_allowance_does() {
        for way in 0..3 {
            let free = origin(usize::MAX);
            assert_eq!(made(&free)[way], Some(1000));
            assert!(!free.allowance.is_used_up());
        }
        let none = origin(10_000);
        assert_eq!(made(&none), [None; 3]);
        assert!(none.allowance.is_used_up());
    }
}
