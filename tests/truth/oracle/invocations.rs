//! Signals in, invocations out: repeats are dropped, attempts are told apart by their starts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use throughline::correlate::Outcome;
use throughline::signal::{
    Batch, ErrorKind, Facts, MessageRef, Platform, PlatformStage, PlatformStatus, Resource,
    SignalKind, Span, SpanKind, Timestamp,
};

use super::Edge;

/// One signal and who said it.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) by: &'a Resource,
    pub(super) kind: &'a SignalKind,
    /// A span that begins its invocation.
    pub(super) is_head: bool,
    /// The message whose processing a span is part of.
    pub(super) under: Option<&'a str>,
}

impl<'a> Said<'a> {
    pub(super) fn span(&self) -> Option<&'a Span> {
        if let SignalKind::Span(span) = self.kind { Some(span) } else { None }
    }
    pub(super) fn platform(&self) -> Option<&'a Platform> {
        if let SignalKind::Platform(event) = self.kind { Some(event) } else { None }
    }
    pub(super) fn facts(&self) -> Option<&'a Facts> {
        match self.kind {
            SignalKind::Span(span) => Some(&span.facts),
            SignalKind::Log(record) => Some(&record.facts),
            _ => None,
        }
    }
    pub(super) fn function(&self) -> &'a str {
        let own = self.facts().and_then(|facts| facts.function.as_deref());
        own.or(self.by.function.as_deref()).unwrap_or("unknown")
    }
    /// When its invocation began, where it tells that.
    pub(super) fn beginning(&self) -> Option<Timestamp> {
        let event = self.platform().filter(|event| event.stage == PlatformStage::Start);
        event
            .map(|event| event.time)
            .or(self.span().filter(|_| self.is_head).map(|span| span.start))
    }
    pub(super) fn time(&self) -> Timestamp {
        self.span().map_or_else(|| self.kind.event_time(), |span| span.start)
    }
}

pub(super) struct Run<'a> {
    pub(super) function: &'a str,
    pub(super) id: &'a str,
    /// Its number under its request id.
    pub(super) n: u32,
    pub(super) said: Vec<Said<'a>>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) outcome: Outcome,
    pub(super) received: BTreeMap<&'a str, MessageRef>,
    pub(super) sent: BTreeMap<&'a str, Option<&'a str>>,
    pub(super) causes: Vec<Edge<'a>>,
}

/// Every signal once; only records without an identity may come again.
pub(super) fn unique(batches: &[Batch]) -> Vec<Said<'_>> {
    let (mut deliveries, mut signals) = (BTreeSet::new(), BTreeSet::new());
    let mut spans: BTreeMap<_, Said<'_>> = BTreeMap::new();
    let mut rest = Vec::new();
    for batch in batches.iter().filter(|b| b.declared_id.is_none_or(|id| deliveries.insert(id))) {
        for signal in &batch.signals {
            let by = &batch.resources[usize::try_from(signal.resource).expect("small")];
            let one = Said { by, kind: &signal.kind, is_head: false, under: None };
            if let Some(span) = one.span() {
                spans.insert((span.trace_id, span.span_id), one);
            } else if signal.identity.is_none_or(|identity| signals.insert(identity)) {
                rest.push(one);
            }
        }
    }
    let parent = |one: &Said<'_>| -> Option<Said<'_>> {
        let span = one.span()?;
        spans.get(&(span.trace_id, span.parent_id?)).filter(|above| above.by == one.by).copied()
    };
    let is_head = |one: &Said<'_>| {
        let span = one.span().expect("a span");
        span.facts.invocation_id.is_some() || span.kind == SpanKind::Server || parent(one).is_none()
    };
    for &one in spans.values() {
        let mut at = one;
        let mut under = None;
        while !is_head(&at) {
            let span = at.span().expect("a span");
            let only = (span.kind == SpanKind::Consumer).then_some(span.facts.received.as_slice());
            if let (None, Some([message])) = (under, only) {
                under = Some(&*message.id);
            }
            at = parent(&at).expect("it is no head");
        }
        // Members are filed under their head's invocation.
        rest.push(Said { is_head: is_head(&one), under, ..one });
    }
    rest
}

pub(super) fn runs<'a>(said: &[Said<'a>]) -> Vec<Run<'a>> {
    let id_of = |one: &Said<'a>| match one.kind {
        SignalKind::Platform(event) => event.invocation_id.as_deref(),
        _ => one.facts()?.invocation_id.as_deref(),
    };
    // In the simulator an invocation is a trace's only one of its instance and time.
    let heads: Vec<&Said<'a>> = said.iter().filter(|one| one.is_head).collect();
    let head_of = |one: &Said<'a>| {
        let span = one.span()?;
        heads.iter().filter(|head| head.by == one.by).find(|head| {
            let head = head.span().expect("a span");
            head.trace_id == span.trace_id && head.start <= span.start && span.start <= head.end
        })
    };
    let mut groups: BTreeMap<(&str, &str), Vec<Said<'a>>> = BTreeMap::new();
    for one in said {
        if let Some(id) = id_of(one).or_else(|| id_of(head_of(one)?)) {
            groups.entry((one.function(), id)).or_default().push(*one);
        }
    }
    let mut runs = Vec::new();
    for ((function, id), said) in groups {
        let mut starts: Vec<Timestamp> = said.iter().filter_map(Said::beginning).collect();
        starts.sort();
        starts.dedup_by(|later, first| later.since(*first) <= Duration::from_secs(1));
        let of =
            |one: &Said<'_>| starts.iter().filter(|&&start| start <= one.time()).count().max(1);
        for n in 1..=starts.len().max(1) {
            let own: Vec<Said<'a>> = said.iter().filter(|one| of(one) == n).copied().collect();
            runs.push(run(function, id, u32::try_from(n).expect("small"), own));
        }
    }
    runs
}

fn run<'a>(function: &'a str, id: &'a str, n: u32, said: Vec<Said<'a>>) -> Run<'a> {
    let of = |stage| said.iter().filter_map(Said::platform).filter(move |e| e.stage == stage);
    let ends = || of(PlatformStage::Report).chain(of(PlatformStage::RuntimeDone));
    let lasted = ends().find_map(|event| event.duration);
    let done = ends().map(|event| event.time).max();
    let before_done = done.map(|done| done.saturating_sub(lasted.unwrap_or_default()));
    let first = said.iter().filter_map(Said::beginning).min().or(before_done);
    let start = first.or(said.iter().map(Said::time).min()).expect("a run is made of something");
    let heads = || said.iter().filter(|one| one.is_head).filter_map(Said::span);
    let by_head = heads().map(|head| head.end).max().or(done);
    let last = said.iter().map(|one| one.kind.event_time()).max();
    let end = lasted.map(|lasted| start.saturating_add(lasted)).or(by_head).or(last);
    let mut received: BTreeMap<&str, MessageRef> = BTreeMap::new();
    let mut sent = BTreeMap::new();
    for one in &said {
        let Some(facts) = one.facts() else { continue };
        let blamed = facts.error.is_some() && !one.is_head;
        for message in &facts.received {
            let known = received
                .entry(&*message.id)
                .or_insert(MessageRef { failed: false, ..message.clone() });
            known.sent = known.sent.or(message.sent);
            known.trace = known.trace.or(message.trace);
            known.receive_count = known.receive_count.max(message.receive_count);
            known.dead_letter_source =
                known.dead_letter_source.take().or(message.dead_letter_source.clone());
            known.failed |= blamed;
        }
        for message in &facts.sent {
            let under = sent.entry(&*message.id).or_insert(one.under);
            *under = under.or(one.under);
        }
    }
    let outcome = outcome(&said, received.len() > 1);
    let end = end.unwrap_or(start);
    Run { function, id, n, said, start, end, outcome, received, sent, causes: Vec::new() }
}

/// The platform is believed before spans, spans before records; who names one message of many in a
/// record blames that message alone.
fn outcome(said: &[Said<'_>], is_batch: bool) -> Outcome {
    let of = |stage| {
        let events = said.iter().filter_map(Said::platform).filter(move |e| e.stage == stage);
        events
            .filter_map(|event| event.status)
            .max_by_key(|status| *status != PlatformStatus::Success)
    };
    let heads: Vec<&Span> = said.iter().filter(|one| one.is_head).filter_map(Said::span).collect();
    let in_records = || said.iter().filter(|one| one.span().is_none()).filter_map(Said::facts);
    let outcome = match of(PlatformStage::Report).or(of(PlatformStage::RuntimeDone)) {
        Some(PlatformStatus::Success) => Outcome::Ok,
        Some(PlatformStatus::Timeout) => Outcome::Timeout,
        Some(_) => Outcome::Error,
        None if heads.iter().any(|head| head.failed) => Outcome::Error,
        None if !heads.is_empty() => Outcome::Ok,
        None if in_records().any(|f| f.error.is_some() && (f.received.is_empty() || !is_batch)) => {
            Outcome::Error
        }
        None => Outcome::Ok,
    };
    // A client that was throttled makes its own invocation throttled, if that failed of it.
    let errors = said.iter().filter_map(Said::facts).filter_map(|facts| facts.error.as_ref());
    let told = errors.map(|error| error.kind).find(|kind| *kind != ErrorKind::Other);
    let timed_out = heads
        .iter()
        .filter_map(|head| head.facts.error.as_ref())
        .any(|e| e.message.contains("Task timed out"));
    match outcome {
        Outcome::Error if timed_out => Outcome::Timeout,
        Outcome::Error if told == Some(ErrorKind::Throttled) => Outcome::Throttled,
        other => other,
    }
}
