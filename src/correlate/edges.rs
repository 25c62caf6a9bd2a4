//! Cause edges by evidence: parent span, then link or message header, then message id, then a shared
//! correlation id.
//!
//! A node and the indexes come in; its causes go out, one edge for each cause and message.

use std::collections::BTreeMap;

use super::graph::{Edge, Graph, Node, NodeId};
use super::known::{Known, Pointer, Sent};
use super::request::Evidence;
use super::rules::Rules;
use super::weak::WeakKey;
use crate::signal::{MessageRef, Text, Via};

/// Causes that rest on more than a shared id.
pub(super) fn strong(graph: &Graph, id: NodeId, node: &Node, rules: &Rules) -> Vec<Edge> {
    let known = &node.known;
    if known.received.iter().any(|message| rules.begins_request(message)) {
        return Vec::new();
    }
    let mut found = Found::default();
    for pointer in &known.pointers {
        if let Some(edge) = by_pointer(graph, pointer, known)
            && edge.cause != id
        {
            found.add(edge);
        }
    }
    for message in &known.received {
        let Some(point) = graph.messages.get(&message.id).filter(|point| point.is_telling()) else {
            continue;
        };
        for sender in point.senders.iter().filter(|&sender| sender != id) {
            let Some(sent) = graph.nodes.get(&sender).and_then(|n| n.known.sent(&message.id))
            else {
                continue;
            };
            // What becomes of an invocation follows its run, where that is seen, not who asked for it.
            if message.via == Via::Invoke
                && sent.via == Via::Invoke
                && graph.runs_under(&message.id).next().is_some()
            {
                continue;
            }
            let via = if message.via == Via::Unknown { sent.via } else { message.via };
            found.add(Edge {
                cause: sender,
                message: Some(Text::clone(&message.id)),
                evidence: Evidence::MessageId,
                via,
                under: sent.under.clone(),
                is_sealed: false,
                is_retry: false,
            });
        }
    }
    for record in known.received.iter().filter(|message| message.via == Via::Invoke) {
        if let Some(run) = told_run(graph, known, record) {
            by_record(known, record, run).into_iter().for_each(|edge| found.add(edge));
        }
    }
    for (caller, sent) in graph.callers(known).filter(|&(caller, _)| caller != id) {
        found.add(by_answer(caller, sent));
    }
    if found.edges.is_empty()
        && let Some(edge) = earlier_run(graph, known)
    {
        found.add(edge);
    }
    open_envelopes(known, found.finish())
}

/// Who sent a message that lies inside of another, or around it, sent the whole delivery. It came the way of
/// the outermost.
fn open_envelopes(known: &Known, mut edges: Vec<Edge>) -> Vec<Edge> {
    if known.envelopes.is_empty() {
        return edges;
    }
    let mut found = Found::default();
    for edge in edges.drain(..) {
        for other in edge.message.iter().flat_map(|message| known.delivered_with(message)) {
            let own = known.received(other).map(|message| message.via);
            let via = own.filter(|&via| via != Via::Unknown).unwrap_or(edge.via);
            found.add(Edge { message: Some(Text::clone(other)), via, ..edge.clone() });
        }
        found.add(edge);
    }
    found.finish()
}

fn by_pointer(graph: &Graph, pointer: &Pointer, known: &Known) -> Option<Edge> {
    let cause = graph.span_owner(pointer.trace, pointer.span)?;
    let place = graph.nodes.get(&cause)?.known.place((pointer.trace, pointer.span))?;
    let under = place.under.clone();
    let only = match known.received.as_slice() {
        [message] => Some(Text::clone(&message.id)),
        _ => None,
    };
    let message = pointer.message.clone().or(only);
    let carried = message.as_ref().and_then(|id| known.received(id)).map(|message| message.via);
    let via = carried.filter(|&via| via != Via::Unknown).unwrap_or_else(|| arrival(known));
    Some(Edge {
        cause,
        message,
        evidence: pointer.evidence,
        via,
        under,
        is_sealed: false,
        is_retry: false,
    })
}

/// The edge from who was told, in the platform's answer, the request id under which this ran.
fn by_answer(caller: NodeId, sent: &Sent) -> Edge {
    Edge {
        cause: caller,
        message: None,
        evidence: Evidence::MessageId,
        via: Via::Invoke,
        under: sent.under.clone(),
        is_sealed: false,
        is_retry: false,
    }
}

/// The last run of the invocation that a record tells the end of, by its request id. Of runs of several
/// functions it is the named one's, or nobody's.
pub(super) fn told_run<'g>(
    graph: &'g Graph,
    own: &Known,
    record: &MessageRef,
) -> Option<(NodeId, &'g Known)> {
    let runs = graph.runs_under(&record.id);
    let runs = runs.filter_map(|run| Some((run, &graph.nodes.get(&run)?.known)));
    let mut runs: Vec<(NodeId, &Known)> = runs.filter(|(_, run)| run.id != own.id).collect();
    let named = record.dead_letter_source.as_ref();
    if runs.iter().any(|(_, run)| Some(&run.function) == named) {
        runs.retain(|(_, run)| Some(&run.function) == named);
    }
    let (_, first) = runs.first()?;
    let is_one = runs.iter().all(|(_, run)| run.function == first.function);
    let last = runs.iter().max_by_key(|(_, run)| run.order());
    last.filter(|_| is_one).copied()
}

/// Edges to who was handed a record of what became of a run: all of it belongs to the run where it was
/// handed nothing else, else the record and what both took up.
fn by_record(known: &Known, record: &MessageRef, (cause, run): (NodeId, &Known)) -> Vec<Edge> {
    let edge = |message: Option<&Text>| Edge {
        cause,
        message: message.cloned(),
        evidence: Evidence::MessageId,
        via: Via::Invoke,
        under: message.filter(|id| run.received(id).is_some()).cloned(),
        is_sealed: false,
        is_retry: false,
    };
    let n_of = |via: Via| known.received.iter().filter(|message| message.via == via).count();
    if n_of(Via::Invoke) == 1 && n_of(Via::Queue) <= 1 {
        return vec![edge(None)];
    }
    let ids = known.received.iter().map(|message| &message.id);
    let ids = ids.filter(|id| **id == record.id || run.received(id).is_some());
    ids.map(|id| edge(Some(id))).collect()
}

/// How work reached an invocation, as far as it tells itself.
pub(super) fn arrival(known: &Known) -> Via {
    let carried = known.received.iter().map(|message| message.via).find(|&v| v != Via::Unknown);
    let http = known.route.as_ref().map(|_| Via::Http);
    known.trigger.or(carried).or(http).unwrap_or(Via::Unknown)
}

/// A later run of a request id follows the one before it, where nothing else tells its cause.
fn earlier_run(graph: &Graph, known: &Known) -> Option<Edge> {
    let cause = graph.of_id(known.earlier.as_ref()?)?;
    Some(Edge {
        cause,
        message: None,
        evidence: Evidence::MessageId,
        via: arrival(known),
        under: None,
        is_sealed: false,
        is_retry: false,
    })
}

/// The edge that a shared key makes.
pub(super) fn weak(cause: NodeId, key: &WeakKey, node: &Node, is_join: bool) -> Vec<Edge> {
    let known = &node.known;
    let edge = |message: Option<Text>, evidence, via| Edge {
        cause,
        message,
        evidence,
        via,
        under: None,
        is_sealed: false,
        is_retry: false,
    };
    match key {
        WeakKey::Correlation(_) => vec![edge(None, Evidence::CorrelationId, Via::Unknown)],
        WeakKey::Execution(_) => vec![edge(None, Evidence::CorrelationId, Via::Workflow)],
        WeakKey::Trace(trace) if is_join => {
            let of_trace = known.origins.iter().filter(|origin| origin.trace == *trace);
            let via = arrival(known);
            let edges = of_trace.map(|origin| edge(origin.message.clone(), Evidence::Link, via));
            open_envelopes(known, edges.collect())
        }
        WeakKey::Trace(_) => vec![edge(None, Evidence::Trace, arrival(known))],
    }
}

/// Edges by cause and message, the strongest evidence of each.
#[derive(Default)]
struct Found {
    edges: BTreeMap<(NodeId, Option<Text>), Edge>,
}

impl Found {
    fn add(&mut self, edge: Edge) {
        match self.edges.entry((edge.cause, edge.message.clone())) {
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(edge);
            }
            std::collections::btree_map::Entry::Occupied(mut slot) => {
                let known = slot.get_mut();
                known.evidence = known.evidence.min(edge.evidence);
                if known.via == Via::Unknown {
                    known.via = edge.via;
                }
                known.under = known.under.take().or(edge.under);
            }
        }
    }

    /// Where messages tell what a cause carried, the general edge from it only lends its evidence: a
    /// batch does not belong to one sender because its span has one parent.
    fn finish(self) -> Vec<Edge> {
        let general: BTreeMap<NodeId, Evidence> = self
            .edges
            .values()
            .filter(|edge| edge.message.is_none())
            .map(|edge| (edge.cause, edge.evidence))
            .collect();
        let mut edges: Vec<Edge> = self.edges.into_values().collect();
        let labelled: std::collections::BTreeSet<NodeId> =
            edges.iter().filter(|edge| edge.message.is_some()).map(|edge| edge.cause).collect();
        edges.retain(|edge| edge.message.is_some() || !labelled.contains(&edge.cause));
        for edge in &mut edges {
            if let Some(&evidence) = general.get(&edge.cause) {
                edge.evidence = edge.evidence.min(evidence);
            }
        }
        edges.sort();
        edges
    }
}
