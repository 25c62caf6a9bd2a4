//! What goes first when memory is short: signals of requests that are held.
//!
//! A batch comes in before it is on disk; whether it is mostly of work that is known goes out. Nothing is
//! changed: what the batch says is judged when it is applied.

use std::collections::HashSet;

use super::dedup::{DELIVERY_BYTES, PASSED_BYTES};
use super::engine::{Engine, INVOCATION_BYTES, REQUEST_BYTES};
use super::fact::{SpanFact, weight};
use super::intake::HOLDING_BYTES;
use crate::number::u64_from_usize;
use crate::signal::{Batch, Facts, LogRecord, Signal, SignalKind, SpanKind, Text, TraceId};

/// What begins an invocation that nobody knows, and a request of its own.
const NEWCOMER_BYTES: u64 = INVOCATION_BYTES + REQUEST_BYTES;

/// Of a batch that seems to begin more, invocations are told apart by name: a large one speaks of each in turns.
const TURNS_MAX: u64 = 1_000;

/// What holding a batch takes at the most, about, once it is worked out; where all of it is new.
pub fn room_for(batch: &Batch) -> u64 {
    let (mut facts, mut known, mut n_newcomers, mut last) = (0, DELIVERY_BYTES, 0, None);
    for signal in &batch.signals {
        let Some(held) = weight_of(signal) else {
            known += signal.identity.map_or(0, |_| PASSED_BYTES);
            continue;
        };
        facts += u64_from_usize(held) + HOLDING_BYTES;
        // Signals of one invocation follow one another.
        let begun = begun_by(&signal.kind, last);
        n_newcomers += u64::from(begun.is_one);
        last = begun.invocation.or(last);
    }
    if n_newcomers > TURNS_MAX {
        n_newcomers = n_newcomers.min(n_begun(batch));
    }
    // A span whose parent came before, or comes later, is of an invocation of its resource.
    let n_least = if facts == 0 { 0 } else { u64_from_usize(batch.resources.len()) };
    let held = facts.saturating_add(known);
    held.saturating_add(n_newcomers.max(n_least).saturating_mul(NEWCOMER_BYTES))
}

/// Invocations that a batch begins at the most, each once.
fn n_begun(batch: &Batch) -> u64 {
    let (mut named, mut n_others) = (HashSet::new(), 0);
    for signal in batch.signals.iter().filter(|signal| weight_of(signal).is_some()) {
        let begun = begun_by(&signal.kind, None);
        match (begun.invocation, &signal.kind) {
            // Two roots are two runs, whatever they are called.
            (Some(id), SignalKind::Platform(_) | SignalKind::Log(_)) => {
                named.insert((signal.resource, id));
            }
            _ => n_others += u64::from(begun.is_one),
        }
    }
    u64_from_usize(named.len()).saturating_add(n_others)
}

/// None: the engine holds nothing of it.
fn weight_of(signal: &Signal) -> Option<usize> {
    let own = size_of::<SpanFact>();
    match &signal.kind {
        SignalKind::Metric(_) => None,
        SignalKind::Platform(event) => event.invocation_id.as_ref().map(|_id| size_of_val(event)),
        SignalKind::Span(span) => {
            Some(own + size_of_val(span.links.as_slice()) + weight(Some(&span.facts)))
        }
        SignalKind::Log(record) if names_nothing(record) => None,
        SignalKind::Log(record) => Some(own + weight(Some(&record.facts))),
    }
}

/// It joins nothing: it counts for its function and is held nowhere.
fn names_nothing(record: &LogRecord) -> bool {
    let facts = &record.facts;
    record.trace.is_none()
        && facts.invocation_id.is_none()
        && facts.correlation_ids.is_empty()
        && facts.workflow.is_none()
        && facts.sent.is_empty()
        && facts.received.is_empty()
}

/// What a signal says of its invocation.
struct Begun<'a> {
    /// It may be the first of it.
    is_one: bool,
    invocation: Option<&'a Text>,
}

fn begun_by<'a>(kind: &'a SignalKind, last: Option<&Text>) -> Begun<'a> {
    let (invocation, is_root) = match kind {
        SignalKind::Metric(_) => (None, false),
        SignalKind::Platform(event) => (event.invocation_id.as_ref(), false),
        SignalKind::Span(span) => {
            let begins = matches!(span.kind, SpanKind::Server | SpanKind::Consumer);
            (span.facts.invocation_id.as_ref(), begins || span.parent_id.is_none())
        }
        SignalKind::Log(record) => {
            let invocation = record.facts.invocation_id.as_ref();
            (invocation, invocation.is_none())
        }
    };
    let is_other = invocation.is_some_and(|id| Some(id) != last);
    Begun { is_one: is_root || is_other, invocation }
}

impl Engine {
    /// Whether most of what a batch joins by is held already. Points of metrics and records that name
    /// nothing count for neither side: they take no memory of requests.
    pub fn is_of_held(&self, batch: &Batch) -> bool {
        let (mut n_held, mut n_new) = (0_usize, 0_usize);
        for signal in &batch.signals {
            match self.joins_held(&signal.kind) {
                Some(true) => n_held += 1,
                Some(false) => n_new += 1,
                None => {}
            }
        }
        n_held >= n_new
    }

    /// None: it names nothing to join by.
    fn joins_held(&self, kind: &SignalKind) -> Option<bool> {
        match kind {
            SignalKind::Metric(_) => None,
            SignalKind::Platform(event) => {
                let id = event.invocation_id.as_ref()?;
                Some(self.held.cells.runs.contains_key(id))
            }
            SignalKind::Span(span) => {
                let links = || span.links.iter().any(|link| self.holds_trace(&link.trace_id));
                Some(self.holds_trace(&span.trace_id) || links() || self.holds_named(&span.facts))
            }
            SignalKind::Log(record) => {
                let is_held = record.trace.is_some_and(|trace| self.holds_trace(&trace.trace_id))
                    || self.holds_named(&record.facts);
                (!names_nothing(record)).then_some(is_held)
            }
        }
    }

    fn holds_trace(&self, trace: &TraceId) -> bool {
        self.held.cells.traces.contains_key(trace)
    }

    fn holds_named(&self, facts: &Facts) -> bool {
        let is_run = |id| self.held.cells.runs.contains_key(id);
        let messages = facts.received.iter().chain(&facts.sent).map(|message| &message.id);
        let workflow = facts.workflow.as_ref().map(|workflow| &workflow.execution_id);
        facts.invocation_id.as_ref().is_some_and(is_run)
            || facts
                .correlation_ids
                .iter()
                .chain(workflow)
                .chain(messages)
                .any(|name| self.held.graph.named(name).next().is_some())
    }
}
