//! Where evidence meets: invocations that a span belongs to and that point at it, that sent a message
//! and that took it up.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::class::Class;
use super::fact::Age;
use super::graph::{Node, NodeId, Touched};
use super::known::{Known, Place};
use super::node_set::NodeSet;
use super::request::Outcome;
use super::stubs::Sending;
use super::table::Table;
use super::tries::TRIES_MAX;
use crate::signal::{MessageRef, SpanId, Text, Timestamp, TraceId, Via};

/// All invocations.
pub(super) type Nodes = Table<NodeId, Box<Node>>;

/// Takings of one message, and its senders; what more invocations share is no message id and joins
/// nothing. Law 4: without it one constant id would cost the square of its uses.
pub(super) const TAKINGS_MAX: usize = 1_000;

/// Invocations of one trace that are looked through one by one for the owner of a span.
const OWNERS_FEW: usize = 4;

/// One trace, or several whose ids end alike: whose its spans are, and who points at which of them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct TracePoint {
    /// Invocations with spans here.
    owners: NodeSet,
    /// Where they are many: of each span.
    by_span: Table<SpanId, NodeSet>,
    pointers: BTreeSet<(SpanId, NodeId)>,
}

impl TracePoint {
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.pointers.is_empty()
    }

    /// An invocation has these spans of the trace; they are sorted.
    pub(super) fn own(&mut self, id: NodeId, places: &[Place], nodes: &Nodes) {
        self.owners.insert(id);
        if !self.by_span.is_empty() {
            self.file(id, places);
        } else if self.owners.len() > OWNERS_FEW {
            let owners: Vec<NodeId> = self.owners.iter().collect();
            for owner in owners {
                let half = places.first().map(|place| place.trace.half());
                let of_trace = |place: &&Place| Some(place.trace.half()) == half;
                let known = nodes.get(&owner).map(|node| node.known.places.as_slice());
                for place in known.unwrap_or_default().iter().filter(of_trace) {
                    self.by_span.entry(place.span).or_default().insert(owner);
                }
            }
        }
    }

    fn file(&mut self, id: NodeId, places: &[Place]) {
        for place in places {
            self.by_span.entry(place.span).or_default().insert(id);
        }
    }

    pub(super) fn disown(&mut self, id: NodeId, places: &[Place]) {
        self.owners.remove(id);
        if self.by_span.is_empty() {
            return;
        }
        for place in places {
            if let Some(owners) = self.by_span.get_mut(&place.span) {
                owners.remove(id);
                if owners.is_empty() {
                    self.by_span.remove(&place.span);
                }
            }
        }
    }

    pub(super) fn point_at(&mut self, span: SpanId, id: NodeId) {
        self.pointers.insert((span, id));
    }

    pub(super) fn unpoint(&mut self, span: SpanId, id: NodeId) {
        self.pointers.remove(&(span, id));
    }

    /// The invocations that a span of this trace belongs to.
    pub(super) fn owners_of(&self, place: (TraceId, SpanId), nodes: &Nodes) -> NodeSet {
        let by_span = self.by_span.get(&place.1);
        let owners = if self.by_span.is_empty() { Some(&self.owners) } else { by_span };
        let mut found = NodeSet::default();
        for id in owners.into_iter().flat_map(NodeSet::iter) {
            if nodes.get(&id).is_some_and(|node| node.known.place(place).is_some()) {
                found.insert(id);
            }
        }
        found
    }

    /// The invocations that point at one of these spans, which are sorted.
    pub(super) fn pointing_at(&self, places: &[Place]) -> impl Iterator<Item = NodeId> {
        // Whichever are fewer are looked for among the others.
        let few = self.pointers.len() <= places.len();
        let by_pointer = few.then_some(&self.pointers).into_iter().flatten();
        let is_here = |span: SpanId| places.binary_search_by_key(&span, |place| place.span).is_ok();
        let by_pointer = by_pointer.filter(move |(span, _)| is_here(*span));
        let by_place = if few { &[] } else { places };
        let range = |place: &Place| {
            self.pointers.range((place.span, NodeId::default())..=(place.span, NodeId::NONE))
        };
        by_pointer.chain(by_place.iter().flat_map(range)).map(|(_, id)| *id)
    }
}

/// The places of each trace, which lie side by side.
pub(super) fn by_trace(places: &[Place]) -> impl Iterator<Item = (TraceId, &[Place])> {
    let chunks = places.chunk_by(|a, b| a.trace == b.trace);
    chunks.filter_map(|chunk| Some((chunk.first()?.trace, chunk)))
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MessagePoint {
    pub(super) senders: NodeSet,
    pub(super) receivers: NodeSet,
    /// Of requests that are final, as long as others have it.
    pub(super) left: Option<Box<Left>>,
}

/// What is known of a message by invocations that are final: requests that go on with it, or have it in one of
/// their batches, look the same whichever of them was final first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Left {
    pub(super) takings: Vec<LeftTaking>,
    pub(super) sendings: Vec<(Age, Sending)>,
}

/// An invocation that took it up.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LeftTaking {
    pub(super) since: Age,
    pub(super) id: Text,
    pub(super) function: Text,
    pub(super) class: Class,
    pub(super) start: Timestamp,
    pub(super) message: MessageRef,
    pub(super) verdict: Outcome,
    pub(super) is_ended: bool,
}

impl MessagePoint {
    /// Whether it still names one message.
    pub(super) fn is_telling(&self) -> bool {
        self.senders.len() <= TAKINGS_MAX && self.receivers.len() <= TAKINGS_MAX
    }

    /// An invocation that had the message is final. What is left of earlier ones stays while somebody is held
    /// who came before they were final; of a constant nothing does.
    pub(super) fn leave(&mut self, message: &Text, known: &Known, age: Age, nodes: &Nodes) {
        let holders = self.senders.iter().chain(self.receivers.iter());
        let came = holders.filter_map(|id| Some(nodes.get(&id)?.known.came)).min();
        let is_constant = self.receivers.len() > TRIES_MAX;
        let Some(came) = came.filter(|_| !is_constant) else {
            self.left = None;
            return;
        };
        let left = self.left.get_or_insert_default();
        left.takings.retain(|taking| taking.since >= came);
        left.sendings.retain(|(since, _)| *since >= came);
        if left.takings.len() + left.sendings.len() >= TRIES_MAX {
            return;
        }
        left.takings.extend(known.received(message).map(|own| LeftTaking {
            since: age,
            id: Text::clone(&known.id),
            function: Text::clone(&known.function),
            class: known.class,
            start: known.start,
            message: own.clone(),
            verdict: known.verdict.outcome,
            is_ended: known.end.is_some(),
        }));
        // A record of an invocation was not sent when that was asked for.
        let sent = known.sent(message).filter(|sent| sent.via != Via::Invoke);
        left.sendings.extend(
            sent.map(|sent| {
                (age, Sending { at: sent.at, queue: sent.queue.clone(), via: sent.via })
            }),
        );
    }

    /// Forgets what was left by invocations with these ids.
    pub(super) fn forget(&mut self, ids: &BTreeSet<Text>) {
        if let Some(left) = &mut self.left {
            left.takings.retain(|taking| !ids.contains(&taking.id));
        }
    }

    /// Whether what changes here can change anything: also when the bound is being crossed.
    fn is_watched(&self) -> bool {
        self.senders.len() <= TAKINGS_MAX + 1 && self.receivers.len() <= TAKINGS_MAX + 1
    }
}

/// A message has a new sender or taking, or lost one: its other takings look different.
pub(super) fn touch_message(point: &MessagePoint, nodes: &Nodes, touched: &mut Touched) {
    if !point.is_watched() {
        return;
    }
    touched.rewire.extend(point.receivers.iter());
    touched.told.extend(point.receivers.iter());
    for other in point.receivers.iter().chain(point.senders.iter()) {
        touched.views.extend(nodes.get(&other).into_iter().flat_map(|node| node.owners.keys()));
    }
}
