//! The naive oracle: signals in, requests out, in the shortest way that the rules can be written down.
//!
//! It holds everything, sorts everything, compares everything with everything and shares no code with
//! the engine. It knows what the simulator's workloads hold: invocations are named by their platform
//! request id, causes form no rings, and no key is quarantined but by its number of entries.

mod invocations;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use throughline::correlate::Outcome;
use throughline::correlate::request::Evidence;
use throughline::signal::{Batch, SignalKind, SpanId, Timestamp, TraceId};

use invocations::{Run, Said, runs, unique};
use requests::{All, inits};

/// Entries of one function under one key; more are strangers to each other.
const ENTRIES_MAX: usize = 20;

/// A request, as far as the oracle tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) entry: String,
    pub(crate) flow: String,
    pub(crate) outcome: Outcome,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// USD; None where no hop tells its cost.
    pub(crate) cost: Option<f64>,
    /// One line each, sorted.
    pub(crate) hops: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge<'a> {
    cause: usize,
    message: Option<&'a str>,
    evidence: Evidence,
    under: Option<&'a str>,
}

/// What a request holds of a run: all of it, or these messages.
type Held<'a> = Option<BTreeSet<&'a str>>;

fn has(held: &Held<'_>, message: &str) -> bool {
    held.as_ref().is_none_or(|ids| ids.contains(message))
}

pub(crate) fn requests(batches: &[Batch]) -> Vec<Found> {
    let said = unique(batches);
    let mut runs = runs(&said);
    runs.sort_by_key(|run| (run.start, run.function, run.id));
    let strong: Vec<_> = (0..runs.len()).map(|at| strong(&runs, at)).collect();
    for (at, edges) in strong.iter().enumerate() {
        let weak = || weak(&runs, &strong, at);
        runs[at].causes = if edges.is_empty() { weak() } else { edges.clone() };
    }
    let inits = inits(&said, &runs);
    let entries: Vec<usize> = (0..runs.len()).filter(|&at| runs[at].causes.is_empty()).collect();
    let reaches: Vec<BTreeMap<usize, Held<'_>>> =
        entries.iter().map(|&e| reach(&runs, e)).collect();
    let all = All { runs: &runs, reaches: &reaches, inits: &inits };
    (0..entries.len()).map(|n| all.request(entries[n], n)).collect()
}

/// A span that a run names, and why.
struct Pointer<'a> {
    trace: TraceId,
    span: SpanId,
    evidence: Evidence,
    message: Option<&'a str>,
}

/// Causes by trace, link and message id: for each cause and message the strongest.
fn strong<'a>(runs: &[Run<'a>], at: usize) -> Vec<Edge<'a>> {
    let run = &runs[at];
    let only = |ids: &mut dyn Iterator<Item = &'a str>| ids.next().filter(|_| ids.next().is_none());
    let one = only(&mut run.received.keys().copied());
    let mut pointers: Vec<Pointer<'a>> = Vec::new();
    let to = |trace, span, evidence, message| Pointer { trace, span, evidence, message };
    for said in &run.said {
        if let Some(span) = said.span() {
            let parent = span.parent_id.filter(|_| said.is_head);
            pointers.extend(parent.map(|id| to(span.trace_id, id, Evidence::Trace, one)));
            let of_span = match span.facts.received.as_slice() {
                [message] => Some(&*message.id),
                _ => said.under,
            };
            pointers.extend(span.links.iter().map(|link| {
                let message = link.message_id.as_deref().or(of_span).or(one);
                to(link.trace_id, link.span_id, Evidence::Link, message)
            }));
        }
        let header = said.platform().and_then(|event| event.trace);
        pointers
            .extend(header.and_then(|t| Some(to(t.trace_id, t.span_id?, Evidence::Trace, one))));
    }
    let mut found = BTreeMap::new();
    let mut add = |edge: Edge<'a>| {
        let known = found.entry((edge.cause, edge.message)).or_insert(edge.clone());
        known.evidence = known.evidence.min(edge.evidence);
        known.under = known.under.or(edge.under);
    };
    for (cause, other) in runs.iter().enumerate().filter(|(cause, _)| *cause != at) {
        for said in &other.said {
            let Some(span) = said.span() else { continue };
            let is_it = |to: &&Pointer<'_>| (to.trace, to.span) == (span.trace_id, span.span_id);
            for to in pointers.iter().filter(is_it) {
                let (message, evidence) = (to.message, to.evidence);
                add(Edge { cause, message, evidence, under: said.under });
            }
        }
        for (&message, &under) in other.sent.iter().filter(|(id, _)| run.received.contains_key(*id))
        {
            add(Edge { cause, message: Some(message), evidence: Evidence::MessageId, under });
        }
    }
    // The span's parent belongs to no message in particular: of a sender of some it says no more.
    let general: BTreeMap<usize, Evidence> =
        found.values().filter(|e| e.message.is_none()).map(|e| (e.cause, e.evidence)).collect();
    let labelled: BTreeSet<usize> =
        found.values().filter(|e| e.message.is_some()).map(|e| e.cause).collect();
    let mut edges: Vec<Edge<'a>> = found
        .into_values()
        .filter(|e| e.message.is_some() || !labelled.contains(&e.cause))
        .collect();
    edges
        .iter_mut()
        .for_each(|e| e.evidence = e.evidence.min(*general.get(&e.cause).unwrap_or(&e.evidence)));
    edges.sort();
    edges
}

/// What carries the same correlation id, execution or trace was caused by the first that does.
fn weak<'a>(runs: &[Run<'a>], strong: &[Vec<Edge<'a>>], at: usize) -> Vec<Edge<'a>> {
    let keys = |run: &Run<'a>| -> BTreeSet<(Evidence, String)> {
        let facts = run.said.iter().filter_map(Said::facts);
        let ids = facts.flat_map(|facts| {
            let execution = facts
                .workflow
                .as_ref()
                .map(|workflow| format!("execution {}", workflow.execution_id));
            facts.correlation_ids.iter().map(ToString::to_string).chain(execution)
        });
        let ids = ids.map(|id| (Evidence::CorrelationId, id));
        let traces = run.said.iter().filter_map(|said| match said.kind {
            SignalKind::Span(span) => Some(span.trace_id),
            SignalKind::Platform(event) => event.trace.map(|trace| trace.trace_id),
            SignalKind::Log(record) => record.trace.map(|trace| trace.trace_id),
            SignalKind::Metric(_) => None,
        });
        ids.chain(traces.map(|trace| (Evidence::Trace, trace.to_string()))).collect()
    };
    let own = keys(&runs[at]);
    let mut edges = BTreeSet::new();
    for key in own {
        let members: Vec<usize> = (0..runs.len())
            .filter(|&other| strong[other].is_empty() && keys(&runs[other]).contains(&key))
            .collect();
        let cause = members[0];
        let n_entries =
            members.iter().filter(|&&m| runs[m].function == runs[cause].function).count();
        if cause != at && (n_entries <= ENTRIES_MAX || key.1.starts_with("execution ")) {
            edges.insert(Edge { cause, message: None, evidence: key.0, under: None });
        }
    }
    edges.into_iter().collect()
}

/// All that an entry caused, until nothing more is found.
fn reach<'a>(runs: &[Run<'a>], entry: usize) -> BTreeMap<usize, Held<'a>> {
    let mut held: BTreeMap<usize, Held<'a>> = [(entry, None)].into();
    loop {
        let before = held.clone();
        for (at, run) in runs.iter().enumerate().filter(|(at, _)| *at != entry) {
            for edge in &run.causes {
                let Some(of_cause) = held.get(&edge.cause) else { continue };
                let passes = edge.under.is_none_or(|under| {
                    let is_sent =
                        runs[edge.cause].causes.iter().any(|own| own.message == Some(under));
                    has(of_cause, under) || !is_sent
                });
                if !passes {
                    continue;
                }
                let own = held.entry(at).or_insert(Some(BTreeSet::new()));
                match (own.as_mut(), edge.message) {
                    (Some(ids), Some(message)) => drop(ids.insert(message)),
                    _ => *own = None,
                }
            }
        }
        if held == before {
            return held;
        }
    }
}
