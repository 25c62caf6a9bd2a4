//! Facts: what the engine keeps of a signal. Signals come in; the parts that join and judge stay.
//!
//! A fact never holds attributes, bodies or names: those stay in the journal. Two facts with equal
//! content are equal whatever batch brought them, so everything derived from a *set* of facts is the
//! same in every order of arrival.

use std::sync::Arc;
use std::time::Duration;

use postcard::ser_flavors::ExtendFlavor;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::number::u32_from_usize;
use crate::signal::{
    Facts, LogRecord, Platform, Resource, Severity, Span, SpanId, SpanKind, SpanLink, Text,
    Timestamp, TraceContext, TraceId,
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
};

/// Who speaks, without attributes; shared by all facts of one resource of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
        self.name() == other.name()
            && agree(self.account.as_ref(), other.account.as_ref())
            && agree(self.region.as_ref(), other.region.as_ref())
            && agree(self.instance.as_ref(), other.instance.as_ref())
    }
}

fn agree(a: Option<&Text>, b: Option<&Text>) -> bool {
    a.is_none() || b.is_none() || a == b
}

/// How a fact is known, and what it weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) identity: Option<u128>,
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
    told: Option<Box<Facts>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LogFact {
    pub(super) mark: Mark,
    pub(super) source: Arc<Source>,
    pub(super) time: Timestamp,
    pub(super) severity: Option<Severity>,
    pub(super) trace: Option<TraceContext>,
    told: Option<Box<Facts>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PlatformFact {
    pub(super) mark: Mark,
    pub(super) source: Arc<Source>,
    pub(super) event: Platform,
}

fn boxed(facts: &Facts) -> Option<Box<Facts>> {
    (*facts != NOTHING).then(|| Box::new(facts.clone()))
}

impl SpanFact {
    pub(super) fn new(span: &Span, source: Arc<Source>, mark: Mark) -> Self {
        let mut fact = Self {
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
            told: boxed(&span.facts),
        };
        let own = size_of::<Self>() + fact.links.len() * size_of::<SpanLink>();
        fact.mark.bytes = u32_from_usize(own + weight(fact.told.as_deref()));
        fact
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
    pub(super) fn new(record: &LogRecord, source: Arc<Source>, mark: Mark) -> Self {
        let mut fact = Self {
            mark,
            source,
            time: record.time,
            severity: record.severity,
            trace: record.trace,
            told: boxed(&record.facts),
        };
        fact.mark.bytes = u32_from_usize(size_of::<Self>() + weight(fact.told.as_deref()));
        fact
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
        let mut fact = Self { mark, source, event };
        fact.mark.bytes = u32_from_usize(size_of::<Self>() + 64);
        fact
    }

    pub(super) fn canonical(&self) -> Vec<u8> {
        encode(&(&self.event, &*self.source))
    }
}

fn weight(facts: Option<&Facts>) -> usize {
    facts.map_or(0, |facts| {
        let messages = facts.sent.len() + facts.received.len();
        size_of::<Facts>() + messages * 160 + facts.correlation_ids.len() * 56
    })
}

/// Postcard never fails on these types: it has no unsized sequences to guess and writes to memory.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap_or_default()
}

/// Digests of values; the buffer is kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Digests {
    scratch: Vec<u8>,
}

impl Digests {
    /// A hash of the whole content that is the same in every run and version (XXH3).
    pub(super) fn of<T: Serialize>(&mut self, value: &T) -> u64 {
        self.scratch.clear();
        let into = ExtendFlavor::new(std::mem::take(&mut self.scratch));
        self.scratch = postcard::serialize_with_flavor(value, into).unwrap_or_default();
        xxh3_64(&self.scratch)
    }
}
