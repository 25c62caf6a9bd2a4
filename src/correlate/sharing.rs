//! What parentless invocations share: which of them carry a key, and which follow from that.
//!
//! An invocation without evidence of its own comes in; it joins the sets of its keys, and the first of each
//! set is its cause. Never does an invocation follow a stranger in a trace that both were told to be of.

use std::collections::BTreeSet;

use super::edges;
use super::graph::{Edge, Graph, Node, NodeId, Touched};
use super::known::Known;
use super::rules::Rules;
use super::weak::{Functions, Lead, Member, WeakKey, WeakSet};
use crate::signal::Text;

/// Correlation ids of one invocation: a batch of a queue has ten messages unless it is told otherwise. One
/// that names more works for many requests, or is many that share a constant id.
pub(super) const IDS_MAX: usize = 16;

/// Whether an invocation names too many correlation ids to be joined by one of them.
pub(super) fn is_medley(known: &Known) -> bool {
    known.correlation_ids.len() > IDS_MAX
}

/// Whether both name correlation ids, and none in common. They are sorted.
fn are_apart(a: &[Text], b: &[Text]) -> bool {
    !a.is_empty() && !b.is_empty() && !a.iter().any(|id| b.binary_search(id).is_ok())
}

impl Graph {
    pub(super) fn lead(&self, key: &WeakKey, rules: &Rules) -> Lead {
        let functions = Functions(&self.nodes);
        self.weak.get(key).map_or(Lead::Nobody, |set| set.lead(key, &functions, &rules.config))
    }

    /// What a key decides may have changed: everybody who carries it looks again.
    fn weak_changed(&mut self, key: &WeakKey, before: Lead, after: Lead, touched: &mut Touched) {
        let Some(set) = self.weak.get(key) else { return };
        if before != after {
            touched.rewire.extend(set.everybody());
        }
    }

    fn note_quarantine(&mut self, key: &WeakKey, lead: Lead) {
        if lead == Lead::Quarantined {
            let n = self.weak.get(key).map_or(0, WeakSet::len);
            self.quarantined.insert(key.clone(), n);
        } else {
            self.quarantined.remove(key);
        }
    }

    pub(super) fn enter_weak(&mut self, id: NodeId, touched: &mut Touched, rules: &Rules) {
        let Some(node) = self.nodes.get(&id) else { return };
        let known = &node.known;
        let member = Member::of(id, known);
        let mut keys = Vec::new();
        if is_medley(known) {
            self.medleys.insert(id);
        } else {
            keys.extend(known.correlation_ids.iter().cloned().map(WeakKey::Correlation));
        }
        keys.extend(
            known.workflow.iter().map(|w| WeakKey::Execution(Text::clone(&w.execution_id))),
        );
        keys.extend(known.traces.iter().copied().map(WeakKey::Trace));
        let mut joins: Vec<WeakKey> =
            known.origins.iter().map(|o| WeakKey::Trace(o.trace)).collect();
        joins.dedup();
        for key in &keys {
            let before = self.lead(key, rules);
            self.weak.entry(key.clone()).or_default().add(&member);
            let after = self.lead(key, rules);
            self.weak_changed(key, before, after, touched);
            self.note_quarantine(key, after);
        }
        for key in &joins {
            self.weak.entry(key.clone()).or_default().join(id);
        }
        touched.entered.extend(keys.iter().chain(&joins).map(WeakKey::hash));
        if let Some(node) = self.nodes.get_mut(&id) {
            node.keys = keys;
            node.joins = joins;
        }
    }

    pub(super) fn leave_weak(&mut self, id: NodeId, touched: &mut Touched, rules: &Rules) {
        self.medleys.remove(&id);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let keys = std::mem::take(&mut node.keys);
        let joins = std::mem::take(&mut node.joins);
        let member = Member::of(id, &node.known);
        for key in keys {
            let before = self.lead(&key, rules);
            let Some(set) = self.weak.get_mut(&key) else { continue };
            set.remove(&member);
            let after = self.lead(&key, rules);
            self.weak_changed(&key, before, after, touched);
            self.note_quarantine(&key, after);
            self.weak_prune(&key);
        }
        for key in joins {
            if let Some(set) = self.weak.get_mut(&key) {
                set.leave(id);
            }
            self.weak_prune(&key);
        }
    }

    pub(super) fn retire(&mut self, id: NodeId) {
        self.medleys.remove(&id);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let keys = std::mem::take(&mut node.keys);
        let joins = std::mem::take(&mut node.joins);
        let member = Member::of(id, &node.known);
        for key in &keys {
            if let Some(set) = self.weak.get_mut(key) {
                set.retire(&member);
            }
        }
        for key in joins {
            if let Some(set) = self.weak.get_mut(&key) {
                set.leave(id);
            }
            self.weak_prune(&key);
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.keys = keys;
        }
    }

    /// A final invocation that was not here carried a key.
    pub(super) fn count_retired(&mut self, key: &WeakKey, function: &Text) {
        self.weak.entry(key.clone()).or_default().count_retired(function);
    }

    /// Forgets how many final invocations carried a key.
    pub(super) fn forget_retired(&mut self, key: &WeakKey) {
        if let Some(set) = self.weak.get_mut(key) {
            set.forget_retired();
        }
        self.weak_prune(key);
    }

    pub(super) fn weak_prune(&mut self, key: &WeakKey) {
        if self.weak.get(key).is_some_and(WeakSet::is_empty) {
            self.weak.remove(key);
            self.quarantined.remove(key);
        }
    }

    pub(super) fn weak_causes(&self, id: NodeId, node: &Node, rules: &Rules) -> Vec<Edge> {
        let mut found: BTreeSet<Edge> = BTreeSet::new();
        for key in node.keys.iter().chain(&node.joins) {
            let Lead::First(first) = self.lead(key, rules) else { continue };
            if first == id || !self.may_follow(first, key, node) {
                continue;
            }
            let is_join = node.joins.contains(key) && !node.keys.contains(key);
            found.extend(edges::weak(first, key, node, is_join));
        }
        // One message or none from one cause: an edge for each message makes the general one idle.
        let labelled: BTreeSet<NodeId> =
            found.iter().filter(|edge| edge.message.is_some()).map(|edge| edge.cause).collect();
        found.retain(|edge| edge.message.is_some() || !labelled.contains(&edge.cause));
        let mut causes: Vec<Edge> = found.into_iter().collect();
        causes.dedup_by(|a, b| a.cause == b.cause && a.message == b.message);
        causes
    }

    /// A trace that several were told to be of proves nothing of those that began it themselves, and of
    /// those that work under other correlation ids.
    fn may_follow(&self, first: NodeId, key: &WeakKey, node: &Node) -> bool {
        let (WeakKey::Trace(trace), Some(first)) = (key, self.nodes.get(&first)) else {
            return true;
        };
        node.known.roots.binary_search(trace).is_err()
            && !are_apart(&first.known.correlation_ids, &node.known.correlation_ids)
    }
}
