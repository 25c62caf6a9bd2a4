//! One remote write request as it grows, in either version of the protocol.
//!
//! In: series with samples, floats and native histograms. Out: a snappy block. Never true: a request
//! with more samples than receivers take.
//! Source: Prometheus Remote-Write 1.0 and 2.0 specifications.

use std::collections::HashMap;

use prost::Message as _;

use super::endpoint::Protocol;
use super::progress::{Packed, REQUEST_SAMPLES_MAX};
use crate::normalize::remote_write::message::{
    Count, Histogram as WrittenHistogram, Label, MetadataV2, Sample as Written, SeriesV1, SeriesV2,
    Span, ZeroCount,
};
use crate::number::{u32_from_usize, u64_from_usize};
use crate::series::{CounterReset, Histogram, Sample, SampleValue, catalog, runs};
use crate::signal::{Labels, MetricType, NativeHistogram};

pub(super) struct Request {
    protocol: Protocol,
    /// Series, each with its field's key and length.
    body: Vec<u8>,
    /// Texts of the second version, by their place.
    symbols: HashMap<String, u32>,
    n_samples: usize,
}

impl Request {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { protocol, body: Vec::new(), symbols: HashMap::new(), n_samples: 0 }
    }

    pub(super) fn has_room(&self, n_samples: usize) -> bool {
        self.n_samples + n_samples <= REQUEST_SAMPLES_MAX
    }

    pub(super) fn push(&mut self, labels: &Labels, samples: &[Sample]) {
        self.n_samples += samples.len();
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        for sample in samples {
            match &sample.value {
                SampleValue::Float(value) => {
                    floats.push(Written { value: *value, timestamp: sample.t, start_timestamp: 0 });
                }
                SampleValue::Histogram(held) => histograms.push(written(held, sample.t)),
            }
        }
        let (key, series) = match self.protocol {
            Protocol::V1 => {
                let pair =
                    |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
                let labels = labels.iter().map(pair).collect();
                let exemplars = Vec::new();
                let series = SeriesV1 { labels, samples: floats, exemplars, histograms };
                (1, series.encode_length_delimited_to_vec())
            }
            Protocol::V2 => {
                let mut labels_refs = Vec::with_capacity(labels.len() * 2);
                for (name, value) in labels.iter() {
                    labels_refs.extend([self.symbol(name), self.symbol(value)]);
                }
                let series = SeriesV2 {
                    labels_refs,
                    samples: floats,
                    histograms,
                    metadata: self.metadata(labels.name()),
                    ..SeriesV2::default()
                };
                (5, series.encode_length_delimited_to_vec())
            }
        };
        // Length-delimited.
        self.body.push(key << 3 | 2);
        self.body.extend(series);
    }

    /// The place of a text; the first is the empty one.
    fn symbol(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let next = u32_from_usize(self.symbols.len() + 1);
        *self.symbols.entry(text.to_owned()).or_insert(next)
    }

    /// What one of our own metrics is. A histogram's classic series are told as what they are part of.
    fn metadata(&mut self, name: &str) -> Option<MetadataV2> {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let metric = catalog::find(name).or_else(|| catalog::find(base?))?;
        let kind = match metric.kind {
            MetricType::Counter => 1,
            MetricType::Gauge => 2,
            MetricType::Histogram => 3,
            _ => 0,
        };
        let (help_ref, unit_ref) = (self.symbol(metric.help), self.symbol(metric.unit));
        Some(MetadataV2 { kind, help_ref, unit_ref })
    }

    /// What it holds, if it holds anything; then it is empty.
    pub(super) fn close(&mut self) -> Option<Packed> {
        if self.n_samples == 0 {
            return None;
        }
        let n_samples = u64_from_usize(std::mem::take(&mut self.n_samples));
        let mut body = std::mem::take(&mut self.body);
        if self.protocol == Protocol::V2 {
            let mut symbols: Vec<(String, u32)> = self.symbols.drain().collect();
            symbols.sort_by_key(|(_, place)| *place);
            let empty = [(String::new(), 0)];
            for (text, _) in empty.iter().chain(&symbols) {
                body.push(4 << 3 | 2);
                prost::encoding::encode_varint(u64_from_usize(text.len()), &mut body);
                body.extend(text.as_bytes());
            }
        }
        // Compressing fails only beyond 4 GiB, and a request holds 2,000 samples.
        let packed = snap::raw::Encoder::new().compress_vec(&body).ok()?;
        Some(Packed { bytes: packed, n_samples })
    }
}

/// With float counts, which may be what corrections and merged buckets left.
fn written(held: &Histogram, t: i64) -> WrittenHistogram {
    let (positive_spans, positive_counts) = spans(&held.positive);
    let (negative_spans, negative_counts) = spans(&held.negative);
    let is_custom = held.schema == NativeHistogram::CUSTOM;
    WrittenHistogram {
        count: Some(Count::Float(held.count)),
        sum: held.sum,
        schema: held.schema,
        zero_threshold: held.zero_threshold,
        zero_count: (!is_custom).then_some(ZeroCount::Float(held.zero_count)),
        negative_spans,
        negative_counts,
        positive_spans,
        positive_counts,
        reset_hint: match held.counter_reset {
            CounterReset::Unknown => 0,
            CounterReset::Yes => 1,
            CounterReset::No => 2,
            CounterReset::Gauge => 3,
        },
        timestamp: t,
        custom_values: held.custom_bounds.to_vec(),
        ..WrittenHistogram::default()
    }
}

fn spans(buckets: &[(i32, f64)]) -> (Vec<Span>, Vec<f64>) {
    let span = |run: crate::series::Run<'_>| Span {
        offset: run.offset,
        length: u32_from_usize(run.buckets.len()),
    };
    (runs(buckets).map(span).collect(), buckets.iter().map(|(_, n)| *n).collect())
}
