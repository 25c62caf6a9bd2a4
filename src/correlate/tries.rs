//! Tries of a message whose sender nobody knows: a later one follows the one before it, so that all of
//! them are one request.
//!
//! An invocation without any other cause comes in; edges from earlier tries of its messages go out. It
//! depends on the set of takings alone: their order is that of their starts.

use std::collections::{BTreeMap, BTreeSet};

use super::class::RUNS_MAX;
use super::edges::arrival;
use super::graph::{Edge, Graph, Node, NodeId};
use super::known::Known;
use super::messages::Life;
use super::points::MessagePoint;
use super::request::Evidence;
use super::rules::Rules;
use crate::signal::{MessageRef, Text, Via};

/// Takings of one message that may be tries of it. As with request ids, what more share is a constant.
pub(super) const TRIES_MAX: usize = RUNS_MAX;

impl Graph {
    /// Where a message was taken up several times and nobody is known to have sent it.
    fn tried(&self, message: &MessageRef, rules: &Rules) -> Option<&MessagePoint> {
        let point = self.messages.get(&message.id)?;
        let n = point.receivers.len();
        let is_tried = (2..=TRIES_MAX).contains(&n)
            && (point.senders.is_empty() || rules.begins_request(message));
        is_tried.then_some(point)
    }

    /// Whose causes depend on what is known of this invocation's.
    pub(super) fn other_tries(&self, known: &Known, rules: &Rules) -> impl Iterator<Item = NodeId> {
        let points = known.received.iter().filter_map(|message| self.tried(message, rules));
        points.flat_map(|point| point.receivers.iter())
    }

    /// The edges from earlier tries to an invocation that nothing else caused.
    pub(super) fn earlier_tries(&self, id: NodeId, node: &Node, rules: &Rules) -> Vec<Edge> {
        if node.causes.iter().any(|edge| edge.is_sealed && !edge.is_retry) {
            return Vec::new();
        }
        let mut others: BTreeMap<NodeId, Vec<Edge>> = BTreeMap::new();
        let mut found = Vec::new();
        for message in &node.known.received {
            if self.tried(message, rules).is_none() {
                continue;
            }
            let life = Life::told(self, rules, &message.id, None);
            let Some(idx) = life.takings.iter().position(|taking| taking.node == Some(id)) else {
                continue;
            };
            let cause = life.before(idx).filter_map(|taking| taking.node).find(|&cause| {
                let told = others.entry(cause).or_insert_with(|| self.told_causes(cause, rules));
                has(told, &message.id)
            });
            found.extend(cause.map(|cause| Edge {
                cause,
                message: Some(Text::clone(&message.id)),
                evidence: Evidence::MessageId,
                via: if message.via == Via::Unknown { arrival(&node.known) } else { message.via },
                under: Some(Text::clone(&message.id)),
                is_sealed: false,
                is_retry: true,
            }));
        }
        found.sort();
        found
    }

    /// What caused an invocation, but for earlier tries.
    fn told_causes(&self, id: NodeId, rules: &Rules) -> Vec<Edge> {
        let Some(node) = self.nodes.get(&id) else { return Vec::new() };
        if !node.strong.is_empty() {
            return node.strong.clone();
        }
        let mut causes = self.weak_causes(id, node, rules);
        causes.extend(node.causes.iter().filter(|edge| edge.is_sealed && !edge.is_retry).cloned());
        causes
    }
}

/// Whether the requests that these causes bring hold the message. In a batch that is part of others'
/// requests a message of nobody's is tried unseen: the next try begins its request.
fn has(causes: &[Edge], message: &Text) -> bool {
    let is_of = |edge: &Edge| edge.message.as_ref().is_none_or(|own| own == message);
    causes.is_empty() || causes.iter().any(is_of)
}

/// What an invocation that follows earlier tries is itself the first to try. Messages of another source than
/// those that were tried before came inside of them: alone they are no work of their own.
pub(super) fn first_tries(known: &Known, causes: &[Edge]) -> Vec<Text> {
    if causes.is_empty() || causes.iter().any(|edge| !edge.is_retry) {
        return Vec::new();
    }
    let tried: BTreeSet<&Text> = causes.iter().filter_map(|edge| edge.message.as_ref()).collect();
    let (tried, first): (Vec<&MessageRef>, Vec<&MessageRef>) =
        known.received.iter().partition(|message| tried.contains(&message.id));
    let source = |message: &MessageRef| (message.via, message.queue.clone(), is_dead(message));
    let sources: BTreeSet<_> = tried.into_iter().map(source).collect();
    if !first.iter().any(|message| sources.contains(&source(message))) {
        return Vec::new();
    }
    first.into_iter().map(|message| Text::clone(&message.id)).collect()
}

const fn is_dead(message: &MessageRef) -> bool {
    message.dead_letter_source.is_some()
}
