//! What the facts of one invocation add up to. Inert: [`super::assemble`] makes it, the graph joins it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::class::Class;
use super::fact::Age;
use super::request::{Call, Evidence, Outcome};
use crate::signal::{ErrorKind, MessageRef, SpanId, Text, Timestamp, TraceId, Via, Workflow};

/// One invocation as its own facts tell it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    /// 32 hex digits; also the id of the request that it is the entry of.
    pub(super) id: Text,
    pub(super) function: Text,
    pub(super) service: Option<Text>,
    pub(super) version: Option<Text>,
    pub(super) instance: Option<Text>,
    pub(super) invocation_id: Option<Text>,
    /// From 1: the n-th run under one platform request id.
    pub(super) run: u32,
    /// The run before it, by id.
    pub(super) earlier: Option<Text>,
    /// Whose its request id is.
    pub(super) class: Class,
    pub(super) start: Timestamp,
    /// The end where told; the last record where nothing ever tells; None while it is awaited.
    pub(super) end: Option<Timestamp>,
    pub(super) ending: Ending,
    /// Time of the last fact.
    pub(super) last: Timestamp,
    pub(super) verdict: Verdict,
    pub(super) cold_start: Option<bool>,
    pub(super) init: Option<Init>,
    pub(super) billed: Option<Duration>,
    pub(super) memory_size_bytes: Option<u64>,
    pub(super) memory_used_bytes: Option<u64>,
    /// `METHOD route`, where both are known.
    pub(super) route: Option<Text>,
    pub(super) trigger: Option<Via>,
    pub(super) workflow: Option<Workflow>,
    /// Sorted by id, each once.
    pub(super) received: Vec<MessageRef>,
    /// Why messages of it failed, by their ids; sorted.
    pub(super) failures: Vec<(Text, Text)>,
    /// Messages that came inside of others, each with the outermost: one delivery is all of them. Sorted.
    pub(super) envelopes: Vec<(Text, Text)>,
    /// Sorted by id, each once.
    pub(super) sent: Vec<Sent>,
    /// Outward pointers to spans that may have caused it; sorted.
    pub(super) pointers: Vec<Pointer>,
    /// The spans that are part of it; sorted.
    pub(super) places: Vec<Place>,
    pub(super) correlation_ids: Vec<Text>,
    /// Traces that it is part of; sorted.
    pub(super) traces: Vec<TraceId>,
    /// Traces that it began; sorted.
    pub(super) roots: Vec<TraceId>,
    /// Traces that its messages came from; sorted.
    pub(super) origins: Vec<Origin>,
    pub(super) calls: Vec<Call>,
    pub(super) throttled_by: Vec<Text>,
    /// How many invocations alike it counts as: its source kept one of so many.
    pub(super) stands_for: u32,
    pub(super) n_spans: u32,
    pub(super) n_logs: u32,
    /// When the first fact came by which it may be joined to others: a message, a trace, a workflow.
    pub(super) came: Age,
    /// When its last fact came.
    pub(super) news: Age,
}

/// What is known of an invocation's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// A span, a report or a record tells it.
    Told,
    /// The platform told the start, so it tells the end too.
    Awaited,
    /// Nothing tells: the last record stands in.
    Unseen,
}

/// How it went, by its own facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) kind: Option<ErrorKind>,
    pub(super) text: Option<Text>,
}

/// An init that came before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Init {
    pub(super) duration: Option<Duration>,
    /// None: at the invocation's start.
    pub(super) end: Option<Timestamp>,
}

/// A message that the invocation sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) id: Text,
    pub(super) queue: Option<Text>,
    pub(super) via: Via,
    pub(super) at: Timestamp,
    /// Sent while this message was processed.
    pub(super) under: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Pointer {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// `Trace` for a parent, `Link` for a link or a message's own header.
    pub(super) evidence: Evidence,
    /// The message that carried it.
    pub(super) message: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) under: Option<Text>,
}

/// The trace of a message that was taken up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) trace: TraceId,
    pub(super) message: Option<Text>,
}

impl Known {
    pub(super) fn order(&self) -> (Timestamp, &Text) {
        (self.start, &self.id)
    }

    /// Its end, or its last fact.
    pub(super) fn over(&self) -> Timestamp {
        self.end.unwrap_or(self.last).max(self.last)
    }

    /// Its span of this trace. Who passes on only the lower half of a trace id means the trace that ends
    /// so and has the very span.
    pub(super) fn place(&self, (trace, span): (TraceId, SpanId)) -> Option<&Place> {
        let at = |trace: TraceId| {
            let key = (trace, span);
            let idx = self.places.binary_search_by_key(&key, |own| (own.trace, own.span)).ok()?;
            self.places.get(idx)
        };
        let ends_alike = |own: &&Place| own.span == span && own.trace.half() == trace.half();
        match at(trace) {
            None if trace.is_half() => self.places.iter().find(ends_alike),
            None => at(trace.as_half()),
            exact => exact,
        }
    }

    /// The outermost message of the delivery that this one is part of.
    fn outermost<'a>(&'a self, message: &'a Text) -> &'a Text {
        let idx = self.envelopes.binary_search_by(|(inner, _)| inner.cmp(message));
        idx.ok().and_then(|idx| self.envelopes.get(idx)).map_or(message, |(_, outer)| outer)
    }

    /// The other messages of the same delivery.
    pub(super) fn delivered_with<'a>(
        &'a self,
        message: &'a Text,
    ) -> impl Iterator<Item = &'a Text> {
        let outer = self.outermost(message);
        let inside = self.envelopes.iter().filter(move |(_, own)| own == outer);
        let all = [outer].into_iter().chain(inside.map(|(inner, _)| inner));
        all.filter(move |other| *other != message)
    }

    /// The ids of its messages, each once.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Text> {
        let sent = self.sent.iter().map(|sent| &sent.id);
        let received = self.received.iter().map(|message| &message.id);
        sent.filter(|id| self.received(id).is_none()).chain(received)
    }

    /// Why a message failed, where its own span or record tells.
    pub(super) fn failure(&self, message: &str) -> Option<&Text> {
        let idx = self.failures.binary_search_by(|(id, _)| (**id).cmp(message)).ok()?;
        self.failures.get(idx).map(|(_, text)| text)
    }

    pub(super) fn is_enveloped(&self, message: &str) -> bool {
        self.envelopes.binary_search_by(|(inner, _)| (**inner).cmp(message)).is_ok()
    }

    pub(super) fn received(&self, message: &str) -> Option<&MessageRef> {
        let idx = self.received.binary_search_by(|known| (*known.id).cmp(message)).ok()?;
        self.received.get(idx)
    }

    pub(super) fn sent(&self, message: &str) -> Option<&Sent> {
        let idx = self.sent.binary_search_by(|known| (*known.id).cmp(message)).ok()?;
        self.sent.get(idx)
    }
}
