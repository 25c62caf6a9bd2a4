//! Signals laid open for the oracle: who said what when, each once, and in which invocation.

use std::collections::{BTreeMap, BTreeSet};

use throughline::signal::{
    Batch, Facts, Platform, PlatformStage, Resource, SignalKind, Span, SpanKind, Timestamp, TraceId,
};

/// A function's name, and the account and region that it runs in.
pub(crate) type Function<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// One signal and who said it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) by: &'a Resource,
    pub(crate) identity: Option<u128>,
    pub(crate) span: Option<&'a Span>,
    pub(crate) event: Option<&'a Platform>,
    /// Of spans and records.
    pub(crate) facts: Option<&'a Facts>,
    pub(crate) function: Function<'a>,
    pub(crate) invocation: Option<&'a str>,
    pub(crate) trace: Option<TraceId>,
    /// When it was, or began and ended.
    pub(crate) times: (Timestamp, Timestamp),
}

fn all(batch: &Batch) -> impl Iterator<Item = Said<'_>> {
    batch.signals.iter().map(|signal| {
        let by = &batch.resources[usize::try_from(signal.resource).expect("small")];
        let (mut span, mut event, mut facts, mut trace) = (None, None, None, None);
        match &signal.kind {
            SignalKind::Span(own) => {
                (span, facts, trace) = (Some(&**own), Some(&own.facts), Some(own.trace_id));
            }
            SignalKind::Platform(own) => {
                (event, trace) = (Some(&**own), own.trace.map(|trace| trace.trace_id));
            }
            SignalKind::Log(own) => {
                (facts, trace) = (Some(&own.facts), own.trace.map(|trace| trace.trace_id));
            }
            SignalKind::Metric(_) => {}
        }
        let function = facts.and_then(|facts| facts.function.as_deref());
        let function = function.or(by.function.as_deref()).unwrap_or("unknown");
        let function = (function, by.account.as_deref(), by.region.as_deref());
        let of_event = event.and_then(|event| event.invocation_id.as_deref());
        let invocation = of_event.or(facts.and_then(|facts| facts.invocation_id.as_deref()));
        let at = signal.kind.event_time();
        let times = (span.map_or(at, |span| span.start), at);
        let identity = signal.identity;
        Said { by, identity, span, event, facts, function, invocation, trace, times }
    })
}

/// What is said in an invocation; the span that begins it; the message that a span works on.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) said: Said<'a>,
    pub(crate) head: Option<&'a Span>,
    pub(crate) under: Option<&'a str>,
}

/// When its invocation began, where it tells that.
pub(crate) fn beginning(part: &Part<'_>) -> Option<Timestamp> {
    let started = part.said.event.is_some_and(|event| event.stage == PlatformStage::Start);
    (started || part.head.is_some()).then_some(part.said.times.0)
}

/// Every signal once; only records without an identity may come again.
pub(crate) fn unique(batches: &[Batch]) -> Vec<Part<'_>> {
    let (mut deliveries, mut identities) = (BTreeSet::new(), BTreeSet::new());
    let new = |batch: &&Batch| batch.declared_id.is_none_or(|id| deliveries.insert(id));
    let (mut spans, mut parts) = (BTreeMap::new(), Vec::new());
    for said in batches.iter().filter(new).flat_map(all) {
        if let Some(span) = said.span {
            spans.insert((span.trace_id, span.span_id), (span, said));
        } else if said.identity.is_none_or(|identity| identities.insert(identity)) {
            parts.push(Part { said, head: None, under: None });
        }
    }
    for (span, said) in spans.values() {
        let (mut at, mut under) = (*span, None);
        // Up to the span that has an invocation of its own, or no parent in its resource.
        while at.facts.invocation_id.is_none() && at.kind != SpanKind::Server {
            let above = at.parent_id.and_then(|id| spans.get(&(at.trace_id, id)));
            let Some((above, _)) = above.filter(|(_, other)| other.by == said.by) else { break };
            if let (None, SpanKind::Consumer, [message]) = (under, at.kind, &*at.facts.received) {
                under = Some(&*message.id);
            }
            at = above;
        }
        let invocation = said.invocation.or(at.facts.invocation_id.as_deref());
        let head = (at.span_id == span.span_id).then_some(at);
        parts.push(Part { said: Said { invocation, ..*said }, head, under });
    }
    at_home(&mut parts);
    parts
}

/// A function that is known in one account and region runs there also where that is not told.
fn at_home(parts: &mut [Part<'_>]) {
    let mut homes: BTreeMap<&str, [BTreeSet<&str>; 2]> = BTreeMap::new();
    for part in &*parts {
        let (name, account, region) = part.said.function;
        let [accounts, regions] = homes.entry(name).or_default();
        accounts.extend(account);
        regions.extend(region);
    }
    let only = |told: &BTreeSet<_>| told.first().copied().filter(|_| told.len() == 1);
    for part in parts {
        let (name, account, region) = &mut part.said.function;
        let [accounts, regions] = &homes[name];
        (*account, *region) = (account.or(only(accounts)), region.or(only(regions)));
    }
}
