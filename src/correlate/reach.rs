//! Requests as reachability: the entries of a node, and what an entry caused.
//!
//! The graph comes in; entries and reaches go out. Walks are bounded by the most hops that a request
//! may have.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::graph::{Edge, Graph, Node, NodeId};
use super::table::Set;
use crate::signal::{Text, Timestamp};

/// Causes that form a ring are looked at one by one up to here; beyond, the first of all is the entry.
const RING_MAX: usize = 64;

/// By what a request reaches a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Labels {
    /// The whole invocation is its own.
    All,
    /// Only these messages of it are.
    Messages(BTreeSet<Text>),
}

impl Labels {
    pub(super) fn has(&self, message: &str) -> bool {
        match self {
            Self::All => true,
            Self::Messages(ids) => ids.contains(message),
        }
    }

    /// Adds what an edge brings; true where something is new.
    fn add(&mut self, message: Option<&Text>) -> bool {
        match (self, message) {
            (Self::All, _) => false,
            (Self::Messages(ids), Some(message)) => ids.insert(Text::clone(message)),
            (all, None) => {
                *all = Self::All;
                true
            }
        }
    }
}

/// A request that a node is part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) labels: Labels,
    /// The request's id, and its entry's start.
    pub(super) id: Text,
    pub(super) start: Timestamp,
    /// The request is final.
    pub(super) is_sealed: bool,
}

/// The entries that lead to a node, itself included where nothing caused it.
pub(super) fn entries_of(graph: &Graph, id: NodeId, hops_max: usize) -> Vec<NodeId> {
    if graph.nodes.get(&id).is_some_and(|node| node.causes.is_empty()) {
        return vec![id];
    }
    let up = climb(graph, id, hops_max);
    let mut entries: Vec<NodeId> = Vec::new();
    let mut is_sealed_above = false;
    for &at in &up {
        let Some(node) = graph.nodes.get(&at) else { continue };
        if node.begins() {
            entries.push(at);
        }
        is_sealed_above |= node.causes.iter().any(|edge| !graph.nodes.contains_key(&edge.cause));
    }
    if entries.is_empty() && !is_sealed_above {
        entries = ring_entries(graph, &up, hops_max);
    }
    entries
}

/// What lies above many invocations: each of them is passed once, however many lead there.
#[derive(Debug, Default)]
pub(super) struct Above {
    /// Those without a cause.
    pub(super) entries: Vec<NodeId>,
    /// Those that have an entry above them, or one that is final and gone.
    settled: Set<NodeId>,
}

impl Above {
    pub(super) fn of(graph: &Graph, ids: impl Iterator<Item = NodeId>) -> Self {
        let mut found = Self::default();
        let mut stack: Vec<NodeId> = ids.collect();
        let mut seen = Set::default();
        let mut links = Vec::new();
        let mut tops = Vec::new();
        while let Some(at) = stack.pop() {
            let Some(node) = graph.nodes.get(&at) else { continue };
            if !seen.insert(at) {
                continue;
            }
            if node.begins() {
                found.entries.push(at);
            }
            if node.causes.iter().all(|edge| graph.nodes.contains_key(&edge.cause)) {
                tops.extend(node.begins().then_some(at));
            } else {
                tops.push(at);
            }
            links.extend(node.causes.iter().map(|edge| (edge.cause, at)));
            stack.extend(node.causes.iter().map(|edge| edge.cause));
        }
        links.sort_unstable();
        while let Some(at) = tops.pop() {
            if found.settled.insert(at) {
                let from = links.partition_point(|(cause, _)| *cause < at);
                let below = links.iter().skip(from).take_while(|(cause, _)| *cause == at);
                tops.extend(below.map(|(_, effect)| *effect));
            }
        }
        found
    }

    /// Whether the entries of an invocation are among those that were found; else its causes form a ring.
    pub(super) fn is_settled(&self, id: NodeId) -> bool {
        self.settled.contains(&id)
    }
}

fn climb(graph: &Graph, id: NodeId, hops_max: usize) -> BTreeSet<NodeId> {
    let mut seen = BTreeSet::new();
    let mut stack = vec![id];
    while let Some(at) = stack.pop() {
        let Some(node) = graph.nodes.get(&at) else { continue };
        if seen.len() >= hops_max || !seen.insert(at) {
            continue;
        }
        stack.extend(node.causes.iter().map(|edge| edge.cause));
    }
    seen
}

/// Where causes form rings (a request and its reply), the first of each ring that nothing else caused
/// is the entry: by start, then id.
fn ring_entries(graph: &Graph, up: &BTreeSet<NodeId>, hops_max: usize) -> Vec<NodeId> {
    let first = |ids: &BTreeSet<NodeId>| {
        let order = |id: &&NodeId| graph.nodes.get(id).map(|node| node.known.order());
        ids.iter().filter(|id| graph.nodes.contains_key(id)).min_by_key(order).copied()
    };
    if up.len() > RING_MAX {
        return first(up).into_iter().collect();
    }
    let above: BTreeMap<NodeId, BTreeSet<NodeId>> =
        up.iter().map(|&id| (id, climb(graph, id, hops_max))).collect();
    let mut entries = BTreeSet::new();
    for own in above.values() {
        let is_source =
            own.iter().all(|id| above.get(id).is_some_and(|other| other.len() == own.len()));
        if is_source {
            entries.extend(first(own));
        }
    }
    entries.into_iter().collect()
}

/// What an entry caused.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) nodes: BTreeMap<NodeId, Labels>,
    /// Hops left out because the request has too many.
    pub(super) n_left_out: u32,
}

pub(super) fn reach(graph: &Graph, entry: NodeId, hops_max: usize) -> Reach {
    let mut found = Reach::default();
    let first_tries = graph.nodes.get(&entry).map(|node| &node.first_tries);
    let labels = match first_tries {
        Some(own) if !own.is_empty() => Labels::Messages(own.iter().cloned().collect()),
        _ => Labels::All,
    };
    found.nodes.insert(entry, labels);
    let mut queue = VecDeque::from([entry]);
    while let Some(at) = queue.pop_front() {
        let Some(node) = graph.nodes.get(&at) else { continue };
        let Some(labels) = found.nodes.get(&at).cloned() else { continue };
        for effect in node.effects.iter() {
            let Some(to) = graph.nodes.get(&effect) else { continue };
            let passing: Vec<&Edge> = to
                .causes
                .iter()
                .filter(|edge| edge.cause == at && passes(node, &labels, edge))
                .collect();
            if passing.is_empty() {
                continue;
            }
            if !found.nodes.contains_key(&effect) && found.nodes.len() >= hops_max {
                found.n_left_out = found.n_left_out.saturating_add(1);
                continue;
            }
            let is_new = !found.nodes.contains_key(&effect);
            let nothing = || Labels::Messages(BTreeSet::new());
            let own = found.nodes.entry(effect).or_insert_with(nothing);
            let grew =
                passing.iter().fold(false, |grew, edge| own.add(edge.message.as_ref()) | grew);
            if is_new || grew {
                queue.push_back(effect);
            }
        }
    }
    found
}

/// Whether a request that holds `labels` of a node continues along an edge from it. A message whose
/// sender nobody knows belongs to all, unless it begins a request of its own.
fn passes(node: &Node, labels: &Labels, edge: &Edge) -> bool {
    let Some(under) = &edge.under else { return true };
    let is_known = || node.causes.iter().any(|own| own.message.as_ref() == Some(under));
    labels.has(under) || !(edge.is_retry || !node.first_tries.is_empty() || is_known())
}
