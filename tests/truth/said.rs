//! Signals laid open for the oracle: who said what when, without a rule of how it comes together.

use throughline::signal::{Batch, Facts, Platform, Resource, SignalKind, Span, Timestamp, TraceId};

/// One signal and who said it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) by: &'a Resource,
    pub(crate) identity: Option<u128>,
    pub(crate) span: Option<&'a Span>,
    pub(crate) event: Option<&'a Platform>,
    /// Of spans and records.
    pub(crate) facts: Option<&'a Facts>,
    pub(crate) function: &'a str,
    pub(crate) invocation: Option<&'a str>,
    pub(crate) trace: Option<TraceId>,
    /// When it was, or began and ended.
    pub(crate) times: (Timestamp, Timestamp),
}

pub(crate) fn all(batch: &Batch) -> impl Iterator<Item = Said<'_>> {
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
        let of_event = event.and_then(|event| event.invocation_id.as_deref());
        let invocation = of_event.or(facts.and_then(|facts| facts.invocation_id.as_deref()));
        let at = signal.kind.event_time();
        let times = (span.map_or(at, |span| span.start), at);
        let identity = signal.identity;
        Said { by, identity, span, event, facts, function, invocation, trace, times }
    })
}
