//! A request as people see it, worked out from the graph.
//!
//! An entry, its reach and its standing come in; a [`Request`] goes out. Nothing is kept: what is shown
//! is always what the facts now tell.

use std::collections::{BTreeMap, BTreeSet};

use super::cost;
use super::critical_path::{Stop, critical_path};
use super::graph::NodeId;
use super::hop::{Placed, place, worst};
use super::known::Known;
use super::reach::Labels;
use super::request::{Evidence, Key, KeyKind, Outcome, Request, State};
use super::settle::{Ground, Standing};
use crate::signal::{Text, Timestamp, Via};

/// The entry's method and route, else its function.
pub(super) fn flow(known: &Known) -> &Text {
    known.route.as_ref().unwrap_or(&known.function)
}

pub(super) fn request(
    ground: Ground<'_>,
    entry: NodeId,
    reach: &BTreeSet<NodeId>,
    standing: &Standing,
) -> Option<Request> {
    let known = &ground.graph.nodes.get(&entry)?.known;
    let mut placed: Vec<Placed> =
        reach.iter().filter_map(|&id| place(ground, entry, id, reach, standing.state)).collect();
    placed.sort_by(|a, b| (a.hop.start, &a.hop.id).cmp(&(b.hop.start, &b.hop.id)));
    let own = placed.iter().position(|placed| placed.node == entry)?;
    let first = placed.get(own)?;
    let start = first.init.map_or(first.hop.start, |(from, _)| from.min(first.hop.start));
    let end = placed.iter().map(|p| p.last_end).max().unwrap_or(start).max(start);
    let path = critical_path(&stops(ground, &placed), own, start, end);
    let cost = cost_of(ground, entry, &placed);
    Some(Request {
        id: Text::clone(&known.id),
        aliases: aliases(ground, entry, &placed),
        flow: Text::clone(flow(known)),
        outcome: outcome(&placed, standing),
        state: standing.state,
        start,
        end,
        duration: end.since(start),
        response: known.end.map(|end| end.since(start)),
        continues: ground.stubs.continued_by(known),
        keys: keys(ground, entry, &placed),
        hops: placed.into_iter().map(|placed| placed.hop).collect(),
        critical_path: path,
        missing: standing.missing.clone(),
        cost_usd: cost,
        stands_for: known.stands_for,
    })
}

fn outcome(placed: &[Placed], standing: &Standing) -> Outcome {
    let mut outcome = worst(placed.iter().flat_map(|placed| &placed.tries));
    if placed.iter().any(|placed| placed.is_dead_lettered) {
        outcome = outcome.max(Outcome::DeadLettered);
    }
    if !standing.missing.is_empty() {
        outcome = outcome.max(Outcome::Incomplete);
    }
    match outcome {
        // Nobody knows yet: an open request is not incomplete, it is open.
        Outcome::Incomplete if standing.state == State::Open => Outcome::Ok,
        known => known,
    }
}

/// Every hop could have been an entry while its cause was unknown; the ids belong to the earliest
/// request that holds them, whatever the order of arrival was.
fn aliases(ground: Ground<'_>, entry: NodeId, placed: &[Placed]) -> Vec<Text> {
    let mut ids: Vec<Text> = placed
        .iter()
        .filter(|placed| placed.node != entry)
        .filter(|placed| {
            let node = ground.graph.nodes.get(&placed.node).filter(|node| !node.begins());
            let owners = node.map(|node| &node.owners);
            let earliest = owners.and_then(|owners| {
                owners.iter().min_by(|(_, a), (_, b)| (a.start, &a.id).cmp(&(b.start, &b.id)))
            });
            earliest.is_some_and(|(&id, _)| id == entry)
        })
        .map(|placed| Text::clone(&placed.hop.id))
        .collect();
    ids.sort();
    ids
}

fn keys(ground: Ground<'_>, entry: NodeId, placed: &[Placed]) -> Vec<Key> {
    let mut keys = BTreeSet::new();
    for one in placed {
        let Some(node) = ground.graph.nodes.get(&one.node) else { continue };
        let Some(owner) = node.owners.get(&entry) else { continue };
        let known = &node.known;
        let mut add = |kind, value: Text| keys.insert(Key { kind, value });
        if let Some(id) = &known.invocation_id {
            add(KeyKind::InvocationId, Text::clone(id));
        }
        for id in &one.hop.message_ids {
            add(KeyKind::MessageId, Text::clone(id));
        }
        for sent in &known.sent {
            if sent.under.as_ref().is_none_or(|under| owner.labels.has(under)) {
                add(KeyKind::MessageId, Text::clone(&sent.id));
            }
        }
        // What a shared invocation was told by all its messages belongs to none of them in particular.
        if node.owners.len() > 1 && owner.labels != Labels::All {
            continue;
        }
        let executions = known.workflow.iter().map(|workflow| &workflow.execution_id);
        for id in known.correlation_ids.iter().chain(executions) {
            add(KeyKind::CorrelationId, Text::clone(id));
        }
        for trace in &known.traces {
            add(KeyKind::TraceId, trace.text());
        }
    }
    keys.into_iter().collect()
}

fn cost_of(ground: Ground<'_>, entry: NodeId, placed: &[Placed]) -> Option<f64> {
    let nodes = placed.iter().filter_map(|placed| ground.graph.nodes.get(&placed.node));
    let shares: Vec<u64> = nodes
        .filter_map(|node| Some(cost::share(cost::whole(&node.known, ground.rules)?, node, entry)))
        .collect();
    (!shares.is_empty()).then(|| cost::usd(shares.iter().fold(0, |sum, &n| sum.saturating_add(n))))
}

fn stops<'a>(ground: Ground<'a>, placed: &'a [Placed]) -> Vec<Stop<'a>> {
    let positions: BTreeMap<&Text, usize> =
        placed.iter().enumerate().map(|(idx, placed)| (&placed.hop.id, idx)).collect();
    let position = |id: &Option<Text>| id.as_ref().and_then(|id| positions.get(id)).copied();
    let stop = |placed: &'a Placed| Stop {
        id: &placed.hop.id,
        start: placed.hop.start,
        end: placed.last_end,
        init: placed.init,
        sent: placed.sent.map(|sent: Timestamp| sent.min(placed.hop.start)),
        cause: position(&placed.cause),
        earlier: position(&placed.earlier),
        is_fallen: placed.is_fallen,
        is_waited: placed.sent.is_none()
            && placed.hop.evidence == Some(Evidence::Trace)
            && matches!(placed.hop.via, Via::Http | Via::Invoke | Via::Unknown),
        calls: ground.graph.nodes.get(&placed.node).map_or(&[], |node| &node.known.calls),
    };
    placed.iter().map(stop).collect()
}
