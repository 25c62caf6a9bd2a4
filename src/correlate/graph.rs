//! The graph: invocations, the indexes that join them, and the cause edges between them.
//!
//! Invocations as their facts tell them come in; edges go out. A node's number is never used twice, so
//! a number that leads nowhere means final and gone, never somebody else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::edges;
use super::fact::Age;
use super::few::FewMap;
use super::known::{Init, Known, Sent};
use super::node_set::NodeSet;
use super::points::{Left, MessagePoint, Nodes, TAKINGS_MAX, TracePoint, by_trace, touch_message};
use super::reach::Owner;
use super::request::Evidence;
use super::rules::Rules;
use super::sharing::is_medley;
use super::table::{self, Table};
use super::tries::first_tries;
use super::weak::{Lead, Member, WeakKey, WeakSet};
use crate::signal::{SpanId, Text, Timestamp, TraceId, Via};

/// Names one invocation for as long as it is held.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(super) struct NodeId(u64);

impl NodeId {
    /// No node's number; greater than any.
    pub(super) const NONE: Self = Self(u64::MAX);

    #[cfg(test)]
    pub(super) const fn of(n: u64) -> Self {
        Self(n)
    }
}

/// Which facts an invocation is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Cell {
    Run(Text),
    Trace(TraceId),
    Records(Text, Text),
}

/// A cause: `cause` made the node that holds the edge happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Edge {
    pub(super) cause: NodeId,
    /// The message that carried the cause; None: the whole invocation.
    pub(super) message: Option<Text>,
    pub(super) evidence: Evidence,
    pub(super) via: Via,
    /// What the cause was processing: only requests of this message continue here.
    pub(super) under: Option<Text>,
    /// The cause is final and gone; the edge stays so that the others keep their share.
    pub(super) is_sealed: bool,
    /// The cause is an earlier try of the message ([`super::tries`]).
    pub(super) is_retry: bool,
}

/// What was last said of an invocation and of its messages, as digests.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) invocation: Option<u64>,
    pub(super) deliveries: FewMap<Text, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) known: Known,
    pub(super) cell: Cell,
    /// The init that events of its environment tell.
    pub(super) environment_init: Option<Init>,
    pub(super) strong: Vec<Edge>,
    /// Sorted.
    pub(super) causes: Vec<Edge>,
    /// Its messages that nobody tried before, where others of it are all that it has causes for: it is the
    /// entry of these. Sorted.
    pub(super) first_tries: Vec<Text>,
    pub(super) effects: NodeSet,
    pub(super) keys: Vec<WeakKey>,
    pub(super) joins: Vec<WeakKey>,
    /// The requests that it is part of, by their entries.
    pub(super) owners: FewMap<NodeId, Owner>,
    pub(super) said: Said,
}

impl Node {
    /// Whether it is an entry: of all that it does, or of its first tries.
    pub(super) fn begins(&self) -> bool {
        self.causes.is_empty() || !self.first_tries.is_empty()
    }

    pub(super) fn cold_start(&self) -> Option<bool> {
        self.environment_init.map(|_| true).or(self.known.cold_start)
    }

    /// The init that came before it, by its own report or by its environment.
    pub(super) fn init(&self) -> Option<Init> {
        match (self.known.init, self.environment_init) {
            (Some(own), Some(environment)) => Some(Init {
                duration: own.duration.or(environment.duration),
                end: own.end.or(self.environment_end(own, environment)),
            }),
            (own, environment) => own.or(environment),
        }
    }

    /// An init of which the environment only tells that it began, ends by the duration that the
    /// invocation's own report tells.
    fn environment_end(&self, own: Init, environment: Init) -> Option<Timestamp> {
        match (environment.duration, own.duration, environment.end) {
            (None, Some(duration), Some(begun)) => {
                Some(begun.saturating_add(duration).min(self.known.start))
            }
            (_, _, end) => end,
        }
    }
}

/// What one tick has to look at again.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Nodes whose causes may have changed.
    pub(super) rewire: BTreeSet<NodeId>,
    /// Nodes whose place in requests may have changed.
    pub(super) moved: BTreeSet<NodeId>,
    /// Entries whose reach may have changed.
    pub(super) entries: BTreeSet<NodeId>,
    /// Entries whose view may have changed.
    pub(super) views: BTreeSet<NodeId>,
    /// Entries to look at again because time passed.
    pub(super) due: BTreeSet<NodeId>,
    /// Nodes that look different though their own facts are the same.
    pub(super) told: BTreeSet<NodeId>,
    /// Keys, as hashes, that somebody began to carry without a cause: frozen ones may carry them too.
    pub(super) entered: Vec<u64>,
}

impl Touched {
    pub(super) fn add(&mut self, other: Self) {
        let Self { rewire, moved, entries, views, due, told, entered } = other;
        self.rewire.extend(rewire);
        self.moved.extend(moved);
        self.entries.extend(entries);
        self.views.extend(views);
        self.due.extend(due);
        self.told.extend(told);
        self.entered.extend(entered);
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Graph {
    next: u64,
    pub(super) nodes: Nodes,
    /// By the lower half of their ids.
    traces: Table<u64, TracePoint>,
    pub(super) messages: Table<Text, MessagePoint>,
    pub(super) weak: Table<WeakKey, WeakSet>,
    /// Correlation, execution, invocation and trace ids, and ids of hops.
    names: Table<u64, NodeSet>,
    /// Keys whose set is quarantined now, with the size of the set.
    pub(super) quarantined: BTreeMap<WeakKey, usize>,
    /// Parentless invocations that name too many correlation ids to be of one request.
    pub(super) medleys: BTreeSet<NodeId>,
    /// Message ids that too many invocations share to be of one message.
    pub(super) crowded: BTreeSet<Text>,
}

impl Graph {
    /// Gives back the room of many that are gone.
    pub(super) fn shrink(&mut self) {
        table::shrink(&mut self.nodes);
        table::shrink(&mut self.traces);
        table::shrink(&mut self.messages);
        table::shrink(&mut self.weak);
        table::shrink(&mut self.names);
    }

    pub(super) fn add(&mut self, known: Known, cell: Cell, touched: &mut Touched) -> NodeId {
        self.next += 1;
        let id = NodeId(self.next);
        let node = Node {
            known,
            cell,
            environment_init: None,
            strong: Vec::new(),
            causes: Vec::new(),
            first_tries: Vec::new(),
            effects: NodeSet::default(),
            keys: Vec::new(),
            joins: Vec::new(),
            owners: FewMap::default(),
            said: Said::default(),
        };
        self.nodes.insert(id, Box::new(node));
        self.index(id, touched);
        touched.moved.insert(id);
        id
    }

    /// Replaces what is known of a node. False where it is the same.
    pub(super) fn replace(
        &mut self,
        id: NodeId,
        known: Known,
        touched: &mut Touched,
        rules: &Rules,
    ) -> bool {
        if self.nodes.get(&id).is_none_or(|node| node.known == known) {
            return false;
        }
        let left = self.unindex(id, Some(touched));
        self.leave_weak(id, touched, rules);
        if let Some(node) = self.nodes.get_mut(&id) {
            // Where it lies among others depends on its edges and on its entry's start.
            if node.owners.is_empty() || node.known.start != known.start {
                touched.moved.insert(id);
            }
            node.known = known;
            touched.views.extend(node.owners.keys());
            touched.told.insert(id);
            touched.told.extend(node.effects.iter());
        }
        self.index(id, touched);
        for (message, left) in left {
            if let Some(point) = self.messages.get_mut(&message) {
                point.left = Some(left);
            }
        }
        true
    }

    /// Takes a node out because its facts now tell otherwise.
    pub(super) fn remove(
        &mut self,
        id: NodeId,
        touched: &mut Touched,
        rules: &Rules,
    ) -> Option<Box<Node>> {
        self.unindex(id, Some(touched));
        self.leave_weak(id, touched, rules);
        let node = self.nodes.remove(&id)?;
        for edge in &node.causes {
            if let Some(cause) = self.nodes.get_mut(&edge.cause) {
                cause.effects.remove(id);
            }
        }
        touched.rewire.extend(node.effects.iter());
        touched.entries.extend(node.owners.keys());
        touched.entries.insert(id);
        touched.rewire.remove(&id);
        touched.moved.remove(&id);
        touched.told.remove(&id);
        Some(node)
    }

    /// Takes a node out because it is final: what it caused keeps its edges.
    pub(super) fn seal(&mut self, id: NodeId) -> Option<Box<Node>> {
        self.unindex(id, None);
        self.retire(id);
        let node = self.nodes.remove(&id)?;
        for effect in node.effects.iter() {
            if let Some(effect) = self.nodes.get_mut(&effect) {
                let own = |edge: &&mut Edge| edge.cause == id;
                effect.strong.iter_mut().filter(own).for_each(|edge| edge.is_sealed = true);
                effect.causes.iter_mut().filter(own).for_each(|edge| edge.is_sealed = true);
            }
        }
        for edge in &node.causes {
            if let Some(cause) = self.nodes.get_mut(&edge.cause) {
                cause.effects.remove(id);
            }
        }
        Some(node)
    }

    /// Takes a node out as if it had never been here. The caller takes out all that is joined to it.
    pub(super) fn take(&mut self, id: NodeId) -> Option<Box<Node>> {
        self.unindex(id, None);
        let node = self.nodes.remove(&id)?;
        self.medleys.remove(&id);
        let member = Member::of(id, &node.known);
        for key in node.keys.iter().chain(&node.joins) {
            if let Some(set) = self.weak.get_mut(key) {
                set.remove(&member);
                set.leave(id);
            }
            self.weak_prune(key);
        }
        Some(node)
    }

    /// Adds the invocations that a change of this one may change, but for those of its cells. None where
    /// it is joined to too many to tell, or to some that are final.
    pub(super) fn near(&self, node: &Node, rules: &Rules, near: &mut Vec<NodeId>) -> Option<()> {
        let known = &node.known;
        for id in known.messages() {
            let point = self.messages.get(id).filter(|point| point.is_telling())?;
            if point.left.is_some() {
                return None;
            }
            near.extend(point.senders.iter().chain(point.receivers.iter()));
        }
        near.extend(self.told_of(known));
        near.extend(self.callers(known).map(|(caller, _)| caller));
        near.extend(self.called(known));
        for record in known.received.iter().filter(|message| message.via == Via::Invoke) {
            near.extend(self.runs_under(&record.id));
        }
        for (trace, places) in by_trace(&known.places) {
            let Some(point) = self.traces.get(&trace.half()) else { continue };
            near.extend(point.pointing_at(places));
        }
        for pointer in &known.pointers {
            let Some(point) = self.traces.get(&pointer.trace.half()) else { continue };
            near.extend(point.owners_of((pointer.trace, pointer.span), &self.nodes).iter());
        }
        if node.strong.is_empty() && is_medley(known) {
            return None;
        }
        for key in node.keys.iter().chain(&node.joins) {
            if self.lead(key, rules) == Lead::Quarantined {
                return None;
            }
            near.extend(self.weak.get(key).into_iter().flat_map(WeakSet::everybody));
        }
        Some(())
    }

    /// The live node that a span belongs to.
    pub(super) fn span_owner(&self, trace: TraceId, span: SpanId) -> Option<NodeId> {
        let owners = self.traces.get(&trace.half())?.owners_of((trace, span), &self.nodes);
        let order = |id: &NodeId| self.nodes.get(id).map(|node| node.known.order());
        owners.iter().filter(|id| order(id).is_some()).min_by_key(order)
    }

    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = NodeId> {
        let by_name = self.names.get(&hash_of(name)).into_iter().flat_map(NodeSet::iter);
        let trace = TraceId::from_hex(name);
        let of_trace = trace.and_then(|trace| self.names.get(&hash_of_trace(&trace)));
        let is_in = move |known: &Known| trace.is_some_and(|trace| known.traces.contains(&trace));
        let of_trace = of_trace.into_iter().flat_map(NodeSet::iter);
        let of_trace =
            of_trace.filter(move |id| self.nodes.get(id).is_some_and(|node| is_in(&node.known)));
        let by_name = by_name.chain(of_trace);
        let by_message = self.messages.get(name).into_iter();
        let ends = by_message.flat_map(|point| point.senders.iter().chain(point.receivers.iter()));
        by_name.chain(ends)
    }

    /// The invocation of this id.
    pub(super) fn of_id(&self, id: &Text) -> Option<NodeId> {
        let named = self.names.get(&hash_of(id))?;
        named.iter().find(|named| self.nodes.get(named).is_some_and(|node| node.known.id == *id))
    }

    /// The invocations under a request id. None where too many go by that name.
    pub(super) fn runs_under(&self, id: &str) -> impl Iterator<Item = NodeId> {
        let named = self.names.get(&hash_of(id)).filter(|named| named.len() <= TAKINGS_MAX);
        let is_run = |known: &Known| known.invocation_id.as_deref() == Some(id);
        let is_run = move |run: &NodeId| self.nodes.get(run).is_some_and(|n| is_run(&n.known));
        named.into_iter().flat_map(NodeSet::iter).filter(is_run)
    }

    /// Who was handed a record of what became of an invocation, or a message of that very id.
    fn told_of(&self, known: &Known) -> impl Iterator<Item = NodeId> {
        let point = known.invocation_id.as_ref().and_then(|id| self.messages.get(id));
        let point = point.filter(|point| point.is_telling());
        point.into_iter().flat_map(|point| point.receivers.iter())
    }

    /// Who was told that what it invoked is the run of this very request id.
    pub(super) fn callers(&self, known: &Known) -> impl Iterator<Item = (NodeId, &Sent)> {
        let id = known.invocation_id.as_deref();
        let point = id.and_then(|id| self.messages.get(id)).filter(|point| point.is_telling());
        let senders = point.into_iter().flat_map(|point| point.senders.iter());
        let calls = senders
            .filter_map(move |sender| Some((sender, self.nodes.get(&sender)?.known.sent(id?)?)));
        calls.filter(|(_, sent)| sent.via == Via::Invoke)
    }

    /// The runs that an invocation was told to have invoked.
    fn called(&self, known: &Known) -> impl Iterator<Item = NodeId> {
        let calls = known.sent.iter().filter(|sent| sent.via == Via::Invoke);
        calls.flat_map(|sent| self.runs_under(&sent.id))
    }

    /// Hashes of what leads to an invocation. Two names of one hash only make somebody look twice.
    pub(super) fn names_of(known: &Known) -> impl Iterator<Item = u64> {
        let texts = known.correlation_ids.iter().chain([&known.id]).chain(&known.invocation_id);
        let texts = texts.chain(known.workflow.as_ref().map(|workflow| &workflow.execution_id));
        texts.map(|text| hash_of(text)).chain(known.traces.iter().map(hash_of_trace))
    }

    fn index(&mut self, id: NodeId, touched: &mut Touched) {
        let Some(node) = self.nodes.get(&id) else { return };
        let known = &node.known;
        for (trace, places) in by_trace(&known.places) {
            let point = self.traces.entry(trace.half()).or_default();
            point.own(id, places, &self.nodes);
            touched.rewire.extend(point.pointing_at(places));
        }
        for pointer in &known.pointers {
            self.traces.entry(pointer.trace.half()).or_default().point_at(pointer.span, id);
        }
        for sent in &known.sent {
            let point = self.messages.entry(Text::clone(&sent.id)).or_default();
            point.senders.insert(id);
            note_crowd(&mut self.crowded, &sent.id, point);
            touch_message(point, &self.nodes, touched);
        }
        for message in &known.received {
            let point = self.messages.entry(Text::clone(&message.id)).or_default();
            point.receivers.insert(id);
            note_crowd(&mut self.crowded, &message.id, point);
            touch_message(point, &self.nodes, touched);
        }
        for name in Self::names_of(known) {
            self.names.entry(name).or_default().insert(id);
        }
        touched.rewire.extend(self.told_of(known));
        touched.rewire.extend(self.called(known));
        touched.rewire.insert(id);
    }

    /// Leaves what an invocation that was taken out told of messages that others have.
    pub(super) fn leave_messages(&mut self, known: &Known, age: Age) {
        for message in known.messages() {
            if let Some(point) = self.messages.get_mut(message) {
                point.leave(message, known, age, &self.nodes);
            }
        }
    }

    /// Without `touched` nobody is to look again. Gives what final requests left of messages that nobody else has.
    fn unindex(&mut self, id: NodeId, mut touched: Option<&mut Touched>) -> Vec<(Text, Box<Left>)> {
        let mut left = Vec::new();
        let Some(node) = self.nodes.get(&id) else { return left };
        let known = &node.known;
        for (trace, places) in by_trace(&known.places) {
            let Some(point) = self.traces.get_mut(&trace.half()) else { continue };
            point.disown(id, places);
            if let Some(touched) = &mut touched {
                touched.rewire.extend(point.pointing_at(places));
            }
            if point.is_empty() {
                self.traces.remove(&trace.half());
            }
        }
        for pointer in &known.pointers {
            let Some(point) = self.traces.get_mut(&pointer.trace.half()) else { continue };
            point.unpoint(pointer.span, id);
            if point.is_empty() {
                self.traces.remove(&pointer.trace.half());
            }
        }
        for message in known.messages() {
            let Some(point) = self.messages.get_mut(message) else { continue };
            point.senders.remove(id);
            point.receivers.remove(id);
            note_crowd(&mut self.crowded, message, point);
            if let Some(touched) = &mut touched {
                touch_message(point, &self.nodes, touched);
            }
            if point.senders.is_empty() && point.receivers.is_empty() {
                let point = self.messages.remove(message);
                left.extend(point.and_then(|p| Some((Text::clone(message), p.left?))));
            }
        }
        if let Some(touched) = touched {
            touched.rewire.extend(self.told_of(&node.known));
            touched.rewire.extend(self.called(&node.known));
        }
        for name in Self::names_of(&node.known) {
            if let Some(ids) = self.names.get_mut(&name) {
                ids.remove(id);
                if ids.is_empty() {
                    self.names.remove(&name);
                }
            }
        }
        left
    }

    /// Works out the causes of all nodes that were touched.
    pub(super) fn wire(&mut self, touched: &mut Touched, rules: &Rules) {
        let mut reweak = std::mem::take(&mut touched.rewire);
        for &id in &reweak {
            let Some(node) = self.nodes.get(&id) else { continue };
            let mut strong = edges::strong(self, id, node, rules);
            keep_sealed(&node.strong, &mut strong);
            let is_parentless = strong.is_empty()
                && !node.known.received.iter().any(|message| rules.begins_request(message));
            let is_member =
                !node.keys.is_empty() || !node.joins.is_empty() || self.medleys.contains(&id);
            if let Some(node) = self.nodes.get_mut(&id) {
                node.strong = strong;
            }
            if is_parentless && !is_member {
                self.enter_weak(id, touched, rules);
            } else if !is_parentless && is_member {
                self.leave_weak(id, touched, rules);
            }
        }
        reweak.append(&mut touched.rewire);
        let nodes = reweak.iter().filter_map(|id| self.nodes.get(id));
        let others: Vec<NodeId> =
            nodes.flat_map(|node| self.other_tries(&node.known, rules)).collect();
        reweak.extend(others);
        for id in reweak {
            let Some(node) = self.nodes.get(&id) else { continue };
            let mut causes = node.strong.clone();
            if causes.is_empty() {
                causes = self.weak_causes(id, node, rules);
                if causes.is_empty() {
                    causes = self.earlier_tries(id, node, rules);
                }
                keep_sealed(&node.causes, &mut causes);
            }
            let first_tries = first_tries(&node.known, &causes);
            if causes != node.causes || first_tries != node.first_tries {
                self.set_causes(id, &causes, first_tries, touched);
            }
        }
    }

    fn set_causes(
        &mut self,
        id: NodeId,
        causes: &[Edge],
        first_tries: Vec<Text>,
        touched: &mut Touched,
    ) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        touched.entries.extend(node.owners.keys());
        touched.entries.insert(id);
        touched.moved.insert(id);
        node.first_tries = first_tries;
        let old = std::mem::replace(&mut node.causes, causes.to_vec());
        for edge in &old {
            if let Some(cause) = self.nodes.get_mut(&edge.cause) {
                cause.effects.remove(id);
            }
        }
        for edge in causes {
            if let Some(cause) = self.nodes.get_mut(&edge.cause) {
                cause.effects.insert(id);
            }
        }
    }

    /// The weak keys that a final node leaves counts under.
    pub(super) fn keys_of(node: &Node) -> &[WeakKey] {
        &node.keys
    }
}

fn note_crowd(crowded: &mut BTreeSet<Text>, message: &Text, point: &MessagePoint) {
    if point.is_telling() {
        crowded.remove(message);
    } else if !crowded.contains(message) {
        crowded.insert(Text::clone(message));
    }
}

pub(super) fn hash_of(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// Of the lower half: some tracers pass on no more of it.
pub(super) fn hash_of_trace(trace: &TraceId) -> u64 {
    xxh3_64(&trace.half().to_be_bytes())
}

fn keep_sealed(old: &[Edge], new: &mut Vec<Edge>) {
    let sealed = old.iter().filter(|edge| edge.is_sealed).cloned();
    new.extend(sealed);
    new.sort();
    new.dedup_by(|a, b| a.cause == b.cause && a.message == b.message);
}
