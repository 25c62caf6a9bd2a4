//! Prometheus remote write: samples, native histograms, exemplars and metadata to a batch.
//!
//! In: a decompressed `prometheus.WriteRequest` (1.0) or `io.prometheus.write.v2.Request` (2.0). Out:
//! metric points, and remarks (exemplars, metadata), which count as no signals. A stale marker ends its
//! series. A series with bad labels, a sample with an impossible time reject themselves alone. Never
//! true: that a request is decoded as a whole before its records are bounded.
//! Source: prometheus.io/docs/specs/prw, versions 1.0 and 2.0.

pub(super) mod histogram;
pub mod message;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use super::allowance::{Allowance, of_labels, of_point};
use super::event_time;
use super::gather::RECORDS_MAX;
use super::redact::Redactor;
use super::shorten::{HELP_BYTES_MAX, NAME_BYTES_MAX, shorten};
use super::wire::{Fault, Field, Message};
use super::{Config, Normalized, Origin, Rejection, Undecodable};
use crate::number::u32_from_usize;
use crate::signal::{
    Attributes, Batch, Exemplar, Fnv128, Labels, MetricMetadata, MetricPoint, MetricType,
    MetricValue, Receiver, Remark, Resource, STALE_NAN_BITS, Signal, SignalKind, Temporality, Text,
    Timestamp,
};
use message::{Label, MetadataV1, SeriesV1, SeriesV2};

/// Most distinct texts of a version 2 request.
const SYMBOLS_MAX: usize = 1 << 20;
/// Largest series message: more than [`RECORDS_MAX`] honest samples. It bounds what decoding one takes.
const SERIES_BYTES_MAX: usize = 8 << 20;

/// Which message a request is; its content type says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// What was taken, for the answer's headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub samples: usize,
    pub histograms: usize,
    pub exemplars: usize,
}

/// A request as it was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteRequest {
    pub normalized: Normalized,
    pub written: Written,
}

/// Reads a request. `batch.declared_id` and `batch.body_hash` are left to the caller.
///
/// # Errors
/// [`Undecodable`] where the body is no such request, or holds more than a delivery may.
pub fn normalize(
    body: &[u8],
    version: Version,
    origin: &Origin,
    config: &Config,
) -> Result<WriteRequest, Undecodable> {
    let mut batch = Batch::new(Receiver::RemoteWrite, origin.arrived);
    batch.resources.push(Resource::default());
    let mut gather = Gather {
        redactor: Redactor::new(&config.redact),
        arrived: origin.arrived,
        age_max: config.sample_age_max,
        batch,
        rejections: Vec::new(),
        written: Written::default(),
        described: BTreeSet::new(),
        allowance: origin.allowance.clone(),
    };
    match version {
        Version::V1 => version_1(body, &mut gather)?,
        Version::V2 => version_2(body, &mut gather)?,
    }
    Ok(gather.finish())
}

fn broken(fault: Fault) -> Undecodable {
    Undecodable { offset: fault.offset, message: format!("no write request: {fault}") }
}

fn version_1(body: &[u8], gather: &mut Gather) -> Result<(), Undecodable> {
    let mut request = Message::new(body);
    while let Some(field) = request.next().map_err(broken)? {
        match field.number {
            1 => {
                let series: SeriesV1 = decode(field)?;
                let exemplars = series.exemplars.iter().map(|exemplar| ToldExemplar {
                    labels: labels(&exemplar.labels),
                    value: exemplar.value,
                    timestamp: exemplar.timestamp,
                });
                gather.series(&ToldSeries {
                    labels: labels(&series.labels),
                    exemplars: exemplars.collect(),
                    samples: series.samples,
                    histograms: series.histograms,
                    created: 0,
                })?;
            }
            3 => {
                let metadata: MetadataV1 = decode(field)?;
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                gather.metadata(
                    &text(&metadata.metric_family_name),
                    metadata.kind,
                    [&text(&metadata.help), &text(&metadata.unit)],
                );
            }
            4 | 5 => {
                return Err(other_version(
                    field,
                    "2.0: its content type needs `;proto=io.prometheus.write.v2.Request`",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn version_2(body: &[u8], gather: &mut Gather) -> Result<(), Undecodable> {
    let symbols = Symbols::read(body)?;
    let mut request = Message::new(body);
    while let Some(field) = request.next().map_err(broken)? {
        match field.number {
            5 => {
                let series: SeriesV2 = decode(field)?;
                let exemplars = series.exemplars.iter().map(|exemplar| ToldExemplar {
                    labels: symbols.labels(&exemplar.labels_refs),
                    value: exemplar.value,
                    timestamp: exemplar.timestamp,
                });
                let told = ToldSeries {
                    labels: symbols.labels(&series.labels_refs),
                    exemplars: exemplars.collect(),
                    samples: series.samples,
                    histograms: series.histograms,
                    created: series.created_timestamp,
                };
                if told.n_records() == 0 {
                    gather.reject("the series has neither samples nor histograms")?;
                    continue;
                }
                if let (Ok(labels), Some(metadata)) = (&told.labels, series.metadata) {
                    let text = |at| symbols.text(at).unwrap_or_default();
                    let texts = [text(metadata.help_ref), text(metadata.unit_ref)];
                    if metadata.kind != 0 || texts.iter().any(|text| !text.is_empty()) {
                        let family = family(labels.name(), metadata.kind);
                        gather.metadata(family, metadata.kind, texts);
                    }
                }
                gather.series(&told)?;
            }
            1..=3 => {
                return Err(other_version(field, "1.0: its content type says 2.0"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn other_version(field: Field<'_>, what: &str) -> Undecodable {
    let Fault { offset, .. } = field.fault("");
    Undecodable { offset, message: format!("this is a remote write request of version {what}") }
}

fn decode<T: prost::Message + Default>(field: Field<'_>) -> Result<T, Undecodable> {
    let message = field.message().map_err(broken)?;
    if message.bytes().len() > SERIES_BYTES_MAX {
        let message = format!("a series of more than {SERIES_BYTES_MAX} bytes; send fewer samples");
        return Err(Undecodable { offset: field.fault("").offset, message });
    }
    T::decode(message.bytes()).map_err(|error| Undecodable {
        offset: message.offset(),
        message: format!("no write request: {error}"),
    })
}

/// The metric family that a series of a histogram or summary belongs to.
fn family(name: &str, kind: i32) -> &str {
    let is_composed = matches!(metric_type(kind), MetricType::Histogram | MetricType::Summary);
    let ends = ["_bucket", "_sum", "_count"];
    let base = ends.iter().find_map(|end| name.strip_suffix(end)).filter(|_| is_composed);
    base.unwrap_or(name)
}

/// Both versions number the types alike.
fn metric_type(kind: i32) -> MetricType {
    match kind {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// The texts of a version 2 request; None where one is no UTF-8.
struct Symbols(Vec<Option<Text>>);

impl Symbols {
    fn read(body: &[u8]) -> Result<Self, Undecodable> {
        let mut symbols = Vec::new();
        let mut request = Message::new(body);
        while let Some(field) = request.next().map_err(broken)? {
            if field.number != 4 {
                continue;
            }
            if symbols.len() >= SYMBOLS_MAX {
                let message = format!("more than {SYMBOLS_MAX} symbols; send smaller requests");
                return Err(Undecodable { offset: field.fault("").offset, message });
            }
            let bytes = field.message().map_err(broken)?.bytes();
            symbols.push(std::str::from_utf8(bytes).ok().map(Text::from));
        }
        Ok(Self(symbols))
    }

    fn get(&self, at: u32) -> Option<&Option<Text>> {
        self.0.get(usize::try_from(at).ok()?)
    }

    fn text(&self, at: u32) -> Option<&str> {
        self.get(at)?.as_deref()
    }

    fn labels(&self, refs: &[u32]) -> Result<Labels, String> {
        if !refs.len().is_multiple_of(2) {
            return Err("a label reference has no value".to_owned());
        }
        let one = |at: &u32| match self.get(*at) {
            Some(Some(text)) => Ok(Text::clone(text)),
            Some(None) => Err("a label is no UTF-8".to_owned()),
            None => Err(format!("symbol {at} is not among the {} symbols", self.0.len())),
        };
        let texts = refs.iter().map(one).collect::<Result<Vec<Text>, String>>()?;
        let pairs = texts.chunks_exact(2).filter_map(|pair| match pair {
            [name, value] => Some((Text::clone(name), Text::clone(value))),
            _ => None,
        });
        checked(pairs.collect())
    }
}

fn labels(told: &[Label]) -> Result<Labels, String> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(Text::from);
    let pair = |label: &Label| Ok((text(&label.name)?, text(&label.value)?));
    let pairs: Result<Vec<(Text, Text)>, std::str::Utf8Error> = told.iter().map(pair).collect();
    checked(pairs.map_err(|_| "a label is no UTF-8".to_owned())?)
}

/// Senders must sort labels; one that does not harms nobody, so order alone rejects nothing.
fn checked(mut pairs: Vec<(Text, Text)>) -> Result<Labels, String> {
    if pairs.len() > Attributes::MAX {
        return Err(format!("more than {} labels", Attributes::MAX));
    }
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    let twice = pairs.windows(2).find(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
    if let Some([(name, _), ..]) = twice {
        return Err(format!("the label {:?} comes twice", shorten(name, 100)));
    }
    for (name, value) in &pairs {
        if name.is_empty() {
            return Err("a label has no name".to_owned());
        }
        if name.len() > NAME_BYTES_MAX || value.len() > Attributes::VALUE_BYTES_MAX {
            return Err(format!("the label {:?} is too long", shorten(name, 100)));
        }
    }
    Ok(Labels::new(pairs))
}

struct ToldExemplar {
    labels: Result<Labels, String>,
    value: f64,
    timestamp: i64,
}

/// A series as either version tells it.
struct ToldSeries {
    labels: Result<Labels, String>,
    samples: Vec<message::Sample>,
    histograms: Vec<message::Histogram>,
    exemplars: Vec<ToldExemplar>,
    /// Start of its samples where they do not tell their own; 0: not told.
    created: i64,
}

impl ToldSeries {
    fn n_records(&self) -> usize {
        self.samples.len() + self.histograms.len()
    }
}

/// The request so far.
struct Gather {
    redactor: Redactor,
    arrived: Timestamp,
    /// How old a sample may be.
    age_max: Duration,
    batch: Batch,
    rejections: Vec<Rejection>,
    written: Written,
    /// Metrics whose metadata this request already told.
    described: BTreeSet<Text>,
    allowance: Allowance,
}

impl Gather {
    fn finish(mut self) -> WriteRequest {
        self.batch.rejected = u32_from_usize(self.rejections.len());
        let normalized = Normalized { batch: self.batch, rejections: self.rejections };
        WriteRequest { normalized, written: self.written }
    }

    fn count(&self) -> Result<usize, Undecodable> {
        let n = self.batch.signals.len() + self.rejections.len();
        if n >= RECORDS_MAX {
            self.allowance.end_at_too_many();
            let message =
                format!("more than {RECORDS_MAX} samples in one request; send smaller ones");
            return Err(Undecodable { offset: 0, message });
        }
        if self.allowance.is_used_up() {
            let message = "more than memory is allowed for; send smaller requests".to_owned();
            return Err(Undecodable { offset: 0, message });
        }
        Ok(n)
    }

    fn reject(&mut self, message: &str) -> Result<(), Undecodable> {
        let index = self.count()?;
        let message = shorten(message, 300).to_owned();
        self.allowance.spend(size_of::<Rejection>() + message.len());
        self.rejections.push(Rejection { index, message });
        Ok(())
    }

    fn series(&mut self, told: &ToldSeries) -> Result<(), Undecodable> {
        let named = |labels: &Labels| match labels.name() {
            "" => Err("the series has no metric name".to_owned()),
            _ => Ok(self.redactor.labels(labels)),
        };
        let labels = match told.labels.as_ref().map_err(Clone::clone).and_then(named) {
            Ok(labels) => labels,
            Err(why) => {
                for _ in 0..told.n_records() {
                    self.reject(&why)?;
                }
                return Ok(());
            }
        };
        let fingerprint = labels.fingerprint();
        self.allowance.spend(of_labels(&labels));
        for sample in &told.samples {
            let times = self.times(sample.timestamp, [sample.start_timestamp, told.created]);
            let counts = times.as_ref().is_ok_and(|times| times.start.is_some());
            let value = sample.value;
            let value = match value.to_bits() {
                STALE_NAN_BITS => MetricValue::Stale,
                // What tells since when it counts is a counter.
                _ if counts => MetricValue::Sum {
                    value,
                    monotonic: true,
                    temporality: Temporality::Cumulative,
                },
                _ => MetricValue::Gauge(value),
            };
            if self.point(&labels, fingerprint, times, Ok(value))? {
                self.written.samples += 1;
            }
        }
        for wire in &told.histograms {
            let times = self.times(wire.timestamp, [wire.start_timestamp, told.created]);
            if self.point(&labels, fingerprint, times, histogram::read(wire))? {
                self.written.histograms += 1;
            }
        }
        for exemplar in &told.exemplars {
            self.exemplar(&labels, exemplar);
        }
        Ok(())
    }

    /// Adds a point or its rejection; true where it was added.
    fn point(
        &mut self,
        labels: &Labels,
        fingerprint: u128,
        times: Result<Times, String>,
        value: Result<MetricValue, String>,
    ) -> Result<bool, Undecodable> {
        let (times, value) = match (times, value) {
            (Ok(times), Ok(value)) => (times, value),
            (Err(why), _) | (_, Err(why)) => {
                self.reject(&format!("{labels}: {why}"))?;
                return Ok(false);
            }
        };
        self.count()?;
        let Times { time, start } = times;
        let identity = Fnv128::default()
            .field(b"metric")
            .field(&fingerprint.to_be_bytes())
            .field(&time.as_nanos().to_be_bytes())
            .finish();
        let point = MetricPoint { labels: labels.clone(), time, start, value };
        self.allowance.spend(of_point(&point));
        let kind = SignalKind::Metric(Box::new(point));
        self.batch.signals.push(Signal { identity: Some(identity), resource: 0, kind });
        Ok(true)
    }

    fn times(&self, millis: i64, starts: [i64; 2]) -> Result<Times, String> {
        let time = self.time(millis)?;
        let start = starts.into_iter().find(|start| (1..=millis).contains(start));
        Ok(Times { time, start: start.map(Timestamp::from_millis) })
    }

    fn time(&self, millis: i64) -> Result<Timestamp, String> {
        if millis < 0 {
            return Err(format!("the time {millis} is before 1970"));
        }
        let time = Timestamp::from_millis(millis);
        event_time::sample(time, self.arrived, self.age_max)?;
        Ok(time)
    }

    /// Exemplars are a convenience: one that is not good is left out of what was written, no more.
    fn exemplar(&mut self, series: &Labels, told: &ToldExemplar) {
        let (Ok(labels), Ok(time)) = (&told.labels, self.time(told.timestamp)) else { return };
        if labels.n_chars() > Exemplar::CHARS_MAX || !self.has_room() {
            return;
        }
        let labels = self.redactor.labels(labels);
        self.allowance.spend(size_of::<Remark>() + of_labels(&labels));
        let exemplar = Exemplar::of(&labels, told.value, time.as_millis());
        self.batch.remarks.push(Remark::Exemplar { series: series.clone(), exemplar });
        self.written.exemplars += 1;
    }

    fn metadata(&mut self, name: &str, kind: i32, [help, unit]: [&str; 2]) {
        let is_new = !name.is_empty() && self.described.insert(name.into());
        if !is_new || name.len() > NAME_BYTES_MAX || !self.has_room() {
            return;
        }
        self.batch.remarks.push(Remark::Metric(MetricMetadata {
            name: name.into(),
            kind: metric_type(kind),
            help: shorten(help, HELP_BYTES_MAX).into(),
            unit: shorten(unit, NAME_BYTES_MAX).into(),
        }));
    }

    fn has_room(&self) -> bool {
        self.batch.remarks.len() < RECORDS_MAX
    }
}

struct Times {
    time: Timestamp,
    start: Option<Timestamp>,
}
