//! Facts: what the engine keeps of a signal. Signals come in; the parts that join and judge stay.
//!
//! A fact never holds attributes, bodies or names: those stay in the journal. Two facts with equal
//! content are equal whatever batch brought them, so everything derived from a *set* of facts is the
//! same in every order of arrival.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::pack::{Pen, Reader};
use crate::number::{u32_from_usize, usize_from_u32};
use crate::signal::{
    Facts, LogRecord, Platform, PlatformStage, PlatformStatus, Resource, Severity, Span, SpanId,
    SpanKind, SpanLink, Text, Timestamp, TraceContext, TraceId,
};

/// Time that we watched since the engine began: the sum of ticks of at most one second each.
pub(super) type Age = Duration;

/// What a span or record without facts says.
static NOTHING: Facts = Facts {
    invocation_id: None,
    function: None,
    correlation_ids: Vec::new(),
    sent: Vec::new(),
    received: Vec::new(),
    cold_start: None,
    trigger: None,
    error: None,
    http: None,
    peer: None,
    workflow: None,
    duration: None,
    stands_for: None,
};

/// Who speaks, without attributes; shared by all facts of one resource of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Source {
    pub(super) function: Option<Text>,
    pub(super) service: Option<Text>,
    pub(super) version: Option<Text>,
    pub(super) instance: Option<Text>,
    pub(super) account: Option<Text>,
    pub(super) region: Option<Text>,
    pub(super) memory_bytes: Option<u64>,
}

impl Source {
    pub(super) fn of(resource: &Resource) -> Self {
        Self {
            function: resource.function.clone(),
            service: resource.service.clone(),
            version: resource.version.clone(),
            instance: resource.instance.clone(),
            account: resource.account.clone(),
            region: resource.region.clone(),
            memory_bytes: resource.memory_bytes,
        }
    }

    /// The function's name, or the service's where no function is named.
    pub(super) fn name(&self) -> Option<&Text> {
        self.function.as_ref().or(self.service.as_ref())
    }

    /// The same function in the same environment, as far as both tell.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        if std::ptr::eq(self, other) {
            return true;
        }
        self.name() == other.name()
            && agree(self.account.as_ref(), other.account.as_ref())
            && agree(self.region.as_ref(), other.region.as_ref())
            && agree(self.instance.as_ref(), other.instance.as_ref())
    }
}

fn agree(a: Option<&Text>, b: Option<&Text>) -> bool {
    a.is_none() || b.is_none() || a == b
}

/// What identifies a signal, in halves: a number of 128 bits would align all that holds one to 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct SignalId([u64; 2]);

impl SignalId {
    /// A quarter of it: enough to look for it, not to know it.
    pub(super) fn short(self) -> u32 {
        let [a, b, c, d, ..] = xxh3_64(&u128::from(self).to_be_bytes()).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

impl From<u128> for SignalId {
    fn from(n: u128) -> Self {
        let bytes = n.to_be_bytes();
        let (high, low) = bytes.split_at(8);
        let half = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap_or_default());
        Self([half(high), half(low)])
    }
}

impl From<SignalId> for u128 {
    fn from(SignalId([high, low]): SignalId) -> Self {
        Self::from(high) << 64 | Self::from(low)
    }
}

/// How a fact is known, and what it weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) identity: Option<SignalId>,
    /// Of the whole signal and its source: orders facts of equal time, tells repeats from conflicts.
    pub(super) hash: u64,
    /// When it came.
    pub(super) age: Age,
    /// Estimate of what holding it costs.
    pub(super) bytes: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SpanFact {
    pub(super) mark: Mark,
    pub(super) source: Arc<Source>,
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) kind: SpanKind,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) failed: bool,
    pub(super) links: Vec<SpanLink>,
    told: Option<Arc<Facts>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LogFact {
    pub(super) mark: Mark,
    pub(super) source: Arc<Source>,
    pub(super) time: Timestamp,
    pub(super) severity: Option<Severity>,
    pub(super) trace: Option<TraceContext>,
    told: Option<Arc<Facts>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PlatformFact {
    pub(super) mark: Mark,
    pub(super) source: Arc<Source>,
    pub(super) event: Platform,
}

impl SpanFact {
    /// Without its trace, which its cell names.
    pub(super) fn write(&self, pen: &mut Pen<'_>) {
        pen.span_id(self.span);
        pen.mark(&self.mark);
        pen.option(self.parent.as_ref(), |pen, parent| pen.span_id(*parent));
        let kind = KINDS.iter().position(|kind| *kind == self.kind).unwrap_or(0);
        pen.length(kind << 1 | usize::from(self.failed));
        pen.time(self.start);
        pen.span_time(self.end.since(self.start));
        pen.list(&self.links, |pen, link| {
            pen.trace_id(link.trace_id);
            pen.span_id(link.span_id);
            pen.option(link.message_id.as_ref(), Pen::id);
        });
        pen.facts(self.facts());
    }

    pub(super) fn read(reader: &mut Reader<'_>, trace: TraceId, source: Arc<Source>) -> Self {
        let span = reader.span_id();
        let mark = reader.mark();
        let parent = reader.option(Reader::span_id);
        let n = reader.small();
        let kind = KINDS.get(usize_from_u32(n >> 1)).copied().unwrap_or(SpanKind::Internal);
        let start = reader.time();
        let end = start.saturating_add(reader.span_time());
        let links = reader.list(|reader| SpanLink {
            trace_id: reader.trace_id(),
            span_id: reader.span_id(),
            message_id: reader.option(Reader::text),
        });
        let told = held(reader.facts());
        let failed = n & 1 == 1;
        Self { mark, source, trace, span, parent, kind, start, end, failed, links, told }.weighed()
    }

    fn weighed(mut self) -> Self {
        let own = size_of::<Self>() + self.links.len() * size_of::<SpanLink>();
        self.mark.bytes = u32_from_usize(own + weight(self.told.as_deref()));
        self
    }
}

impl LogFact {
    pub(super) fn write(&self, pen: &mut Pen<'_>) {
        pen.mark(&self.mark);
        pen.time(self.time);
        let severity = self.severity.and_then(|own| SEVERITIES.iter().position(|s| *s == own));
        pen.length(severity.map_or(0, |n| n + 1));
        pen.option(self.trace.as_ref(), Pen::context);
        pen.facts(self.facts());
    }

    pub(super) fn read(reader: &mut Reader<'_>, source: Arc<Source>) -> Self {
        let mark = reader.mark();
        let time = reader.time();
        let severity = usize_from_u32(reader.small()).checked_sub(1);
        let severity = severity.and_then(|n| SEVERITIES.get(n)).copied();
        let trace = reader.option(Reader::context);
        let told = held(reader.facts());
        Self { mark, source, time, severity, trace, told }.weighed()
    }

    fn weighed(mut self) -> Self {
        self.mark.bytes = u32_from_usize(size_of::<Self>() + weight(self.told.as_deref()));
        self
    }
}

const STAGES: [PlatformStage; 7] = [
    PlatformStage::InitStart,
    PlatformStage::InitReport,
    PlatformStage::Start,
    PlatformStage::RuntimeDone,
    PlatformStage::Report,
    PlatformStage::LogsDropped,
    PlatformStage::Other,
];

const STATUSES: [PlatformStatus; 4] = [
    PlatformStatus::Success,
    PlatformStatus::Failure,
    PlatformStatus::Error,
    PlatformStatus::Timeout,
];

const KINDS: [SpanKind; 5] = [
    SpanKind::Internal,
    SpanKind::Server,
    SpanKind::Client,
    SpanKind::Producer,
    SpanKind::Consumer,
];

const SEVERITIES: [Severity; 6] = [
    Severity::Trace,
    Severity::Debug,
    Severity::Info,
    Severity::Warn,
    Severity::Error,
    Severity::Fatal,
];

impl PlatformFact {
    pub(super) fn write(&self, pen: &mut Pen<'_>) {
        let event = &self.event;
        pen.mark(&self.mark);
        pen.time(event.time);
        pen.length(STAGES.iter().position(|stage| *stage == event.stage).unwrap_or(0));
        pen.option(event.invocation_id.as_ref(), Pen::id);
        let status = event.status.and_then(|own| STATUSES.iter().position(|s| *s == own));
        pen.length(status.map_or(0, |n| n + 1));
        pen.option(event.error_type.as_ref(), Pen::name);
        for duration in [event.duration, event.billed, event.init_duration] {
            pen.option(duration.as_ref(), |pen, duration| pen.duration(*duration));
        }
        for bytes in [event.memory_size_bytes, event.memory_used_bytes] {
            pen.option(bytes.as_ref(), |pen, bytes| pen.number(*bytes));
        }
        pen.option(event.trace.as_ref(), Pen::context);
        pen.option(event.span_id.as_ref(), |pen, span| pen.span_id(*span));
    }

    pub(super) fn read(reader: &mut Reader<'_>, source: Arc<Source>) -> Self {
        let mark = reader.mark();
        let time = reader.time();
        let stage = STAGES.get(usize_from_u32(reader.small())).copied();
        let mut event = Platform::new(time, stage.unwrap_or(PlatformStage::Other));
        event.invocation_id = reader.option(Reader::text);
        let status = usize_from_u32(reader.small()).checked_sub(1);
        event.status = status.and_then(|n| STATUSES.get(n)).copied();
        event.error_type = reader.option(Reader::text);
        event.duration = reader.option(Reader::duration);
        event.billed = reader.option(Reader::duration);
        event.init_duration = reader.option(Reader::duration);
        event.memory_size_bytes = reader.option(Reader::number);
        event.memory_used_bytes = reader.option(Reader::number);
        event.trace = reader.option(Reader::context);
        event.span_id = reader.option(Reader::span_id);
        Self { mark, source, event }.weighed()
    }

    fn weighed(mut self) -> Self {
        self.mark.bytes = u32_from_usize(size_of::<Self>() + 64);
        self
    }
}

fn held(facts: Facts) -> Option<Arc<Facts>> {
    (facts != NOTHING).then(|| Arc::new(facts))
}

/// Slots of [`Tellings`].
const TELLINGS: usize = 1 << 12;

/// What signals said lately, so that many of them share it: calls of the same peer, records of one
/// invocation that say no more than whose they are. Nothing depends on what is found here.
#[derive(Default)]
pub(super) struct Tellings(Vec<Option<Arc<Facts>>>);

impl std::fmt::Debug for Tellings {
    /// No state: nothing depends on what is found here.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tellings").finish_non_exhaustive()
    }
}

impl Tellings {
    pub(super) fn share(&mut self, facts: &Facts) -> Option<Arc<Facts>> {
        if *facts == NOTHING {
            return None;
        }
        if !is_common(facts) {
            return Some(Arc::new(facts.clone()));
        }
        if self.0.is_empty() {
            self.0.resize(TELLINGS, None);
        }
        let texts = facts.peer.iter().flat_map(|peer| [&peer.name, &peer.operation]);
        let texts = texts.chain(&facts.invocation_id);
        let hash = texts.fold(0, |hash: u64, text| hash.rotate_left(8) ^ xxh3_64(text.as_bytes()));
        let slot = self.0.get_mut(usize::try_from(hash).unwrap_or(0) % TELLINGS)?;
        match slot {
            Some(held) if **held == *facts => Some(Arc::clone(held)),
            _ => Some(Arc::clone(slot.insert(Arc::new(facts.clone())))),
        }
    }
}

/// Whether others are likely to say the same.
fn is_common(facts: &Facts) -> bool {
    facts.sent.is_empty()
        && facts.received.is_empty()
        && facts.correlation_ids.is_empty()
        && facts.error.is_none()
        && facts.http.is_none()
        && facts.workflow.is_none()
        && facts.duration.is_none()
}

impl SpanFact {
    pub(super) fn new(
        span: &Span,
        source: Arc<Source>,
        mark: Mark,
        tellings: &mut Tellings,
    ) -> Self {
        let fact = Self {
            mark,
            source,
            trace: span.trace_id,
            span: span.span_id,
            parent: span.parent_id,
            kind: span.kind,
            start: span.start,
            end: span.end.max(span.start),
            failed: span.failed,
            links: span.links.clone(),
            told: tellings.share(&span.facts),
        };
        fact.weighed()
    }

    pub(super) fn facts(&self) -> &Facts {
        self.told.as_deref().unwrap_or(&NOTHING)
    }

    /// The function that the span names, itself or by its resource.
    pub(super) fn function(&self) -> Option<&Text> {
        self.facts().function.as_ref().or(self.source.function.as_ref())
    }

    /// Orders two tellings of one span: the lesser wins, whichever came first.
    pub(super) fn canonical(&self) -> Vec<u8> {
        let content = (self.parent, self.kind, self.start, self.end, self.failed);
        encode(&(content, &self.links, self.facts(), &*self.source))
    }
}

impl LogFact {
    pub(super) fn new(
        record: &LogRecord,
        source: Arc<Source>,
        mark: Mark,
        tellings: &mut Tellings,
    ) -> Self {
        let fact = Self {
            mark,
            source,
            time: record.time,
            severity: record.severity,
            trace: record.trace,
            told: tellings.share(&record.facts),
        };
        fact.weighed()
    }

    pub(super) fn facts(&self) -> &Facts {
        self.told.as_deref().unwrap_or(&NOTHING)
    }

    pub(super) fn function(&self) -> Option<&Text> {
        self.facts().function.as_ref().or(self.source.function.as_ref())
    }

    /// The function, or the service that stands in for it.
    pub(super) fn function_or_service(&self) -> Option<&Text> {
        self.facts().function.as_ref().or(self.source.name())
    }

    pub(super) fn canonical(&self) -> Vec<u8> {
        encode(&(self.time, self.severity, self.trace, self.facts(), &*self.source))
    }
}

impl PlatformFact {
    pub(super) fn new(event: &Platform, source: Arc<Source>, mark: Mark) -> Self {
        let mut event = event.clone();
        event.text = None;
        Self { mark, source, event }.weighed()
    }

    pub(super) fn canonical(&self) -> Vec<u8> {
        encode(&(&self.event, &*self.source))
    }
}

/// What several are likely to share weighs as much as a share of it.
pub(super) fn weight(facts: Option<&Facts>) -> usize {
    facts.map_or(0, |facts| {
        if is_common(facts) {
            return size_of::<Facts>() / 4;
        }
        let messages = facts.sent.len() + facts.received.len();
        size_of::<Facts>() + messages * 160 + facts.correlation_ids.len() * 56
    })
}

/// Postcard never fails on these types: it has no unsized sequences to guess and writes to memory.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap_or_default()
}
