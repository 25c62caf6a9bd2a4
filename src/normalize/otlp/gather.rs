//! Records to signals: judged, redacted, read for their facts, and counted.
//!
//! In: raw records in the body's order, each under its resource. Out: a [`Normalized`] batch. Every
//! record that comes in is either a signal or a rejection.

use std::collections::{BTreeMap, BTreeSet};

use crate::normalize::allowance::weight;
use crate::normalize::event_time::{self, FUTURE_MAX};
use crate::normalize::odd::Odd;
use crate::normalize::redact::Redactor;
use crate::normalize::semconv::{self, LinkView, SpanView, log_fields};
use crate::normalize::shorten::{HELP_BYTES_MAX, shorten};
use crate::normalize::trigger_events;
use crate::normalize::{Config, Normalized, Origin, Rejection, Undecodable};
use crate::number::{u32_from_usize, usize_from_u32};
use crate::signal::{
    Attributes, Batch, Fnv128, LogRecord, MetricMetadata, MetricPoint, Receiver, Remark, Resource,
    Severity, Signal, SignalKind, Span, SpanLink, Text, Timestamp, TraceContext, Value,
    span_identity,
};

use super::id::Id;
use super::intern::Interner;
use super::json_reader::Reader;
use super::metric_series;
use super::record::{RawLink, RawLog, RawSpan, span_kind, span_status};
use crate::normalize::gather::RECORDS_MAX;

/// Longest span, metric or attribute name kept, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 1024;
/// Most links of one span: Lambda's largest SQS batch. SDKs keep 128 by default.
pub(super) const LINKS_MAX: usize = 10_000;
/// Latest time taken, in nanoseconds: 2262, the end of what signed nanoseconds hold.
pub(super) const TIME_MAX: u64 = i64::MAX.unsigned_abs();

#[derive(Debug)]
pub(super) struct Gather<'c> {
    config: &'c Config,
    origin: &'c Origin,
    redactor: Redactor,
    texts: Interner,
    batch: Batch,
    rejections: Vec<Rejection>,
    /// The time of the newest point of a resource, milliseconds since the epoch.
    newest_points: BTreeMap<u32, Timestamp>,
    /// Names of metrics that a remark describes.
    described: BTreeSet<Text>,
    odd: Odd,
    /// Records seen so far: the next one's index.
    n_records: usize,
}

impl<'c> Gather<'c> {
    pub(super) fn new(receiver: Receiver, origin: &'c Origin, config: &'c Config) -> Self {
        Self {
            config,
            origin,
            redactor: Redactor::new(&config.redact),
            texts: Interner::new(),
            batch: Batch::new(receiver, origin.arrived),
            rejections: Vec::new(),
            newest_points: BTreeMap::new(),
            described: BTreeSet::new(),
            odd: Odd::default(),
            n_records: 0,
        }
    }

    pub(super) fn finish(mut self) -> Normalized {
        for (resource, time) in std::mem::take(&mut self.newest_points) {
            if let Some(labels) = metric_series::target_info(resource, &mut self) {
                self.remark(Remark::Target { labels, time });
            }
        }
        self.batch.remarks.extend(std::mem::take(&mut self.odd).into_remarks());
        self.batch.rejected = u32_from_usize(self.rejections.len());
        Normalized { batch: self.batch, rejections: self.rejections }
    }

    /// Shared text: a name, or another text that is likely to come again.
    pub(super) fn text(&mut self, text: &str) -> Text {
        self.texts.text(text)
    }

    /// Adds an attribute, unless there are enough; without a value or a key it says nothing.
    pub(super) fn attribute(&mut self, to: &mut Attributes, key: &str, value: Option<Value>) {
        let Some(value) = value else { return };
        if key.is_empty() || to.0.len() >= Attributes::MAX {
            return;
        }
        if to.0.capacity() == 0 {
            to.0.reserve(12);
        }
        let key = self.texts.text(shorten(key, NAME_BYTES_MAX));
        to.0.push((key, value));
    }

    /// A text value, shortened. What is to be shortened is redacted before: half a JSON object would
    /// no longer be known as one.
    pub(super) fn value(&mut self, text: &str) -> Value {
        if text.len() > Attributes::VALUE_BYTES_MAX
            && let Some(redacted) = self.redactor.text(text)
        {
            return Value::Str(shorten(&redacted, Attributes::VALUE_BYTES_MAX).into());
        }
        Value::Str(self.texts.text(shorten(text, Attributes::VALUE_BYTES_MAX)))
    }

    /// A log record's event name, which was the attribute `event.name` before it had its own field.
    pub(super) fn event_name(&mut self, name: &str, to: &mut Attributes) {
        if !name.is_empty() {
            let value = self.value(name);
            self.attribute(to, "event.name", Some(value));
        }
    }

    /// Takes up a resource; gives its index. The same one twice in a row is one.
    pub(super) fn resource(&mut self, mut attributes: Attributes) -> u32 {
        self.redactor.attributes(&mut attributes);
        let resource = semconv::resource::resource(attributes, self.origin.function.as_deref());
        if self.batch.resources.last() != Some(&resource) {
            self.batch.resources.push(resource);
        }
        u32_from_usize(self.batch.resources.len().saturating_sub(1))
    }

    pub(super) fn resource_at(&self, index: u32) -> Option<&Resource> {
        self.batch.resources.get(usize::try_from(index).ok()?)
    }

    pub(super) fn redact(&self, attributes: &mut Attributes) {
        self.redactor.attributes(attributes);
    }

    /// Counts one record.
    ///
    /// # Errors
    /// Where the body holds more than [`RECORDS_MAX`], or what it became takes more memory than it may.
    fn count(&mut self, offset: usize) -> Result<usize, Undecodable> {
        if self.n_records >= RECORDS_MAX {
            self.origin.allowance.end_at_too_many();
            let message =
                format!("more than {RECORDS_MAX} records in one delivery; send smaller ones");
            return Err(Undecodable { offset, message });
        }
        if self.origin.allowance.is_used_up() {
            let message = "more than memory is allowed for: send smaller batches".to_owned();
            return Err(Undecodable { offset, message });
        }
        self.n_records += 1;
        Ok(self.n_records - 1)
    }

    /// Counts one record that is bad for good.
    pub(super) fn reject(&mut self, offset: usize, message: String) -> Result<(), Undecodable> {
        let index = self.count(offset)?;
        self.origin.allowance.spend(size_of::<Rejection>() + message.len());
        self.rejections.push(Rejection { index, message });
        Ok(())
    }

    /// Counts and judges a span.
    pub(super) fn span(
        &mut self,
        resource: u32,
        offset: usize,
        raw: RawSpan<'_>,
    ) -> Result<(), Undecodable> {
        match self.judge_span(resource, raw) {
            Ok(span) => {
                self.count(offset)?;
                self.push(
                    Some(span_identity(&span.trace_id, span.span_id)),
                    resource,
                    SignalKind::Span(Box::new(span)),
                );
                Ok(())
            }
            Err(message) => self.reject(offset, message.to_owned()),
        }
    }

    /// Counts and judges a log record.
    pub(super) fn log(
        &mut self,
        resource: u32,
        offset: usize,
        raw: RawLog<'_>,
    ) -> Result<(), Undecodable> {
        self.count(offset)?;
        let (identity, record) = self.log_record(resource, raw);
        self.push(identity, resource, SignalKind::Log(Box::new(record)));
        Ok(())
    }

    /// Counts one metric point.
    pub(super) fn point(
        &mut self,
        resource: u32,
        read: Result<MetricPoint, String>,
    ) -> Result<(), Undecodable> {
        match read {
            Ok(point) => {
                self.count(0)?;
                let newest = self.newest_points.entry(resource).or_insert(point.time);
                *newest = point.time.max(*newest);
                let identity = Fnv128::default()
                    .field(b"metric")
                    .field(&point.labels.fingerprint().to_be_bytes())
                    .field(&point.time.as_nanos().to_be_bytes())
                    .finish();
                self.push(Some(identity), resource, SignalKind::Metric(Box::new(point)));
                Ok(())
            }
            Err(message) => self.reject(0, message),
        }
    }

    /// Describes a metric, once a body. Of two that become one name the first is believed.
    pub(super) fn describe(&mut self, told: &MetricMetadata) {
        if self.described.insert(Text::clone(&told.name)) {
            let help = shorten(&told.help, HELP_BYTES_MAX).into();
            self.remark(Remark::Metric(MetricMetadata { help, ..told.clone() }));
        }
    }

    pub(super) fn remark(&mut self, remark: Remark) {
        if self.batch.remarks.len() < RECORDS_MAX {
            self.batch.remarks.push(remark);
        }
    }

    /// The latest time that is believed.
    pub(super) fn latest(&self) -> Timestamp {
        self.origin.arrived.saturating_add(FUTURE_MAX)
    }

    /// Refuses the time of a sample that would be kept for no query.
    pub(super) fn sample_time(&self, time: Timestamp) -> Result<(), String> {
        event_time::sample(time, self.origin.arrived, self.config.sample_age_max)
    }

    fn push(&mut self, identity: Option<u128>, resource: u32, mut kind: SignalKind) {
        if let Some(speaker) = self.batch.resources.get(usize_from_u32(resource)) {
            self.odd.mend(speaker, &mut kind);
        }
        // [`Gather::count`] tells of it before the next one.
        self.origin.allowance.spend(weight(&kind));
        self.batch.signals.push(Signal { identity, resource, kind });
    }

    fn judge_span(&mut self, resource: u32, raw: RawSpan<'_>) -> Result<Span, &'static str> {
        let trace_id = match raw.trace_id {
            Id::Valid(id) => id,
            Id::Absent => return Err("the span has no trace id"),
            Id::Bad => return Err("the trace id is not 16 bytes"),
        };
        let span_id = match raw.span_id {
            Id::Valid(id) => id,
            Id::Absent => return Err("the span has no span id"),
            Id::Bad => return Err("the span id is not 8 bytes"),
        };
        if raw.parent_id == Id::Bad {
            return Err("the parent's span id is not 8 bytes");
        }
        let (start, end) = times(raw.start, raw.end, self.latest())?;
        let mut attributes = raw.attributes;
        self.redactor.attributes(&mut attributes);
        let links = self.links(raw.links);
        let kind = span_kind(raw.kind);
        let name = shorten(&raw.name, NAME_BYTES_MAX);
        let read = semconv::span(
            &SpanView {
                kind,
                name,
                start,
                status: span_status(raw.status),
                status_message: &raw.status_message,
                exception: raw.exception.as_ref(),
                attributes: &attributes,
                links: &links,
                function: self.resource_at(resource).and_then(|r| r.function.as_deref()),
            },
            &self.config.fields,
        );
        let parent_id = raw.parent_id.valid();
        // A span with a parent knows its caller already.
        let caller = read.caller.filter(|_| parent_id.is_none()).and_then(|caller| {
            let TraceContext { trace_id, span_id } = caller;
            Some(SpanLink { trace_id, span_id: span_id?, message_id: None })
        });
        Ok(Span {
            trace_id,
            span_id,
            parent_id,
            kind,
            name: self.texts.text(name),
            start,
            end,
            failed: read.failed,
            links: links.iter().filter_map(span_link).chain(caller).collect(),
            facts: read.facts,
            attributes,
        })
    }

    /// Links that name a span; the others lead nowhere.
    fn links(&self, raw: Vec<RawLink>) -> Vec<LinkView> {
        raw.into_iter()
            .filter_map(|mut link| {
                self.redactor.attributes(&mut link.attributes);
                let trace_id = link.trace_id.valid()?;
                let context = TraceContext { trace_id, span_id: link.span_id.valid() };
                Some(LinkView { context, attributes: link.attributes })
            })
            .collect()
    }

    fn log_record(&mut self, resource: u32, raw: RawLog<'_>) -> (Option<u128>, LogRecord) {
        let mut attributes = raw.attributes;
        self.redactor.attributes(&mut attributes);
        let config = self.config;
        let fields = &config.fields;
        let function = self.resource_at(resource).and_then(|r| r.function.clone());
        let mut facts = semconv::log(&attributes, fields, function.as_deref());
        let (body, entries) = self.body(raw.body);
        let mut told = log_fields::BodyFacts::default();
        if let Some(entries) = &entries {
            told = log_fields::read(entries, fields, &mut facts);
            if facts.function == function {
                facts.function = None;
            }
        }
        let of_body = || entries.as_deref().and_then(trigger_events::held_in);
        let event = trigger_events::held_in(&attributes.0).or_else(of_body);
        let caller = event.and_then(|event| event.add_to(&mut facts));
        let caller = caller.filter(|_| facts.invocation_id.is_some());
        let by_word = || Severity::of(&raw.severity_text);
        let trace = raw.trace_id.valid();
        let context = trace.map(|trace_id| TraceContext { trace_id, span_id: raw.span_id.valid() });
        let event_id = attributes.first_str(&["log.record.uid", "aws.cloudwatch.event.id"]);
        let identity =
            event_id.map(|id| Fnv128::default().field(b"log").field(id.as_bytes()).finish());
        let stamped = [raw.time, raw.observed].into_iter().find(|t| (1..=TIME_MAX).contains(t));
        let record = LogRecord {
            time: told.time.or(stamped.map(Timestamp::from_nanos)).unwrap_or(self.origin.arrived),
            severity: severity(raw.severity).or_else(by_word).or(told.severity),
            trace: context.or(told.trace).or(caller),
            body,
            facts,
            attributes,
        };
        (identity, record)
    }

    /// A log's body as text, redacted and shortened; and its entries where it is an object.
    fn body(&mut self, body: Option<Value>) -> (Text, Option<Vec<(Text, Value)>>) {
        let Some(mut body) = body else { return (Text::from(""), None) };
        self.redactor.value(&mut body);
        let bytes_max = LogRecord::BODY_BYTES_MAX;
        match body {
            Value::Str(text) => {
                let entries = self.object(&text);
                let is_long = text.len() > bytes_max;
                (if is_long { shorten(&text, bytes_max).into() } else { text }, entries)
            }
            other => {
                let text = shorten(&other.to_text(), bytes_max).into();
                (text, if let Value::Map(entries) = other { Some(entries) } else { None })
            }
        }
    }

    /// The entries of text that is a JSON object.
    fn object(&mut self, text: &str) -> Option<Vec<(Text, Value)>> {
        if !text.trim_start().starts_with('{') {
            return None;
        }
        let mut reader = Reader::new(text);
        let value = super::json::plain_value(&mut reader, self).ok()??;
        reader.end().ok()?;
        if let Value::Map(entries) = value { Some(entries) } else { None }
    }
}

fn span_link(link: &LinkView) -> Option<SpanLink> {
    let TraceContext { trace_id, span_id } = link.context;
    Some(SpanLink { trace_id, span_id: span_id?, message_id: link.message_id() })
}

/// Start and end; an end that is missing is the start, a start that is missing the end. What lies ahead, or
/// takes longer than anything runs, is a broken clock's.
fn times(start: u64, end: u64, latest: Timestamp) -> Result<(Timestamp, Timestamp), &'static str> {
    if start > TIME_MAX || end > TIME_MAX {
        return Err("the span's time is out of range");
    }
    let start = if start == 0 { end } else { start };
    if start == 0 {
        return Err("the span has no time");
    }
    let end = if end == 0 { start } else { end };
    let (start, end) = (Timestamp::from_nanos(start), Timestamp::from_nanos(end));
    if end.max(start) > latest {
        return Err("the span ends more than 10 minutes ahead of its arrival");
    }
    if end.since(start) > event_time::RUN_MAX {
        return Err("the span takes more than a year");
    }
    Ok((start, end))
}

/// From OTLP's severity number: 24 values in six groups of four (logs data model, "SeverityNumber").
fn severity(number: i32) -> Option<Severity> {
    Some(match number {
        1..=4 => Severity::Trace,
        5..=8 => Severity::Debug,
        9..=12 => Severity::Info,
        13..=16 => Severity::Warn,
        17..=20 => Severity::Error,
        21..=24 => Severity::Fatal,
        _ => return None,
    })
}
