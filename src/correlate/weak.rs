//! Correlation ids: parentless invocations that carry one, which of them comes first, and when an id
//! is too common to mean anything.
//!
//! Quarantine is a property of the set of invocations that carry the id, so order cannot matter.

use serde::{Deserialize, Serialize};

use super::Config;
use super::few::{FewMap, FewSet};
use super::graph::{NodeId, hash_of, hash_of_trace};
use super::known::Known;
use super::node_set::NodeSet;
use crate::signal::{Text, Timestamp, TraceId};

/// What parentless invocations have in common, weakest evidence of all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum WeakKey {
    Correlation(Text),
    /// A workflow's execution: unique by nature, so entries of one function are no sign of misuse.
    Execution(Text),
    /// A trace in which the parent span itself is not seen (lost, sampled away, or the platform's own).
    Trace(TraceId),
}

impl WeakKey {
    /// As the names of invocations are hashed.
    pub(super) fn hash(&self) -> u64 {
        match self {
            Self::Correlation(id) | Self::Execution(id) => hash_of(id),
            Self::Trace(trace) => hash_of_trace(trace),
        }
    }
}

/// Whom a key names as the cause of all others that carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    Nobody,
    Quarantined,
    First(NodeId),
}

/// What a key keeps of an invocation that carries it.
#[derive(Debug)]
pub(super) struct Member {
    place: (Timestamp, Text, NodeId),
    function: Text,
}

impl Member {
    pub(super) fn of(id: NodeId, known: &Known) -> Self {
        let place = (known.start, Text::clone(&known.id), id);
        Self { place, function: Text::clone(&known.function) }
    }
}

/// The parentless invocations that carry one key.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct WeakSet {
    members: FewSet<(Timestamp, Text, NodeId)>,
    /// Invocations that only name the key as the origin of a message: never first.
    joiners: NodeSet,
    by_function: FewMap<Text, usize>,
    /// Members that are final and gone; they still count.
    retired: FewMap<Text, usize>,
    n_retired: usize,
}

impl WeakSet {
    pub(super) fn lead(&self, key: &WeakKey, functions: &Functions<'_>, config: &Config) -> Lead {
        let Some((_, _, first)) = self.members.first() else { return Lead::Nobody };
        if self.members.len() + self.n_retired > config.joins_max {
            return Lead::Quarantined;
        }
        if let Some(function) = functions.of(*first)
            && !matches!(key, WeakKey::Execution(_))
        {
            let live = self.by_function.get(function).copied().unwrap_or(0);
            let gone = self.retired.get(function).copied().unwrap_or(0);
            if live + gone > config.entries_max {
                return Lead::Quarantined;
            }
        }
        Lead::First(*first)
    }

    pub(super) fn add(&mut self, member: &Member) {
        if self.members.insert(member.place.clone(), ()).is_none() {
            self.by_function.update(&member.function, |n| *n += 1);
        }
    }

    pub(super) fn remove(&mut self, member: &Member) {
        if self.members.remove(&member.place).is_some()
            && let Some(n) = self.by_function.get_mut(&member.function)
        {
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.by_function.remove(&member.function);
            }
        }
    }

    /// A member is final: it goes, but it still counts towards quarantine.
    pub(super) fn retire(&mut self, member: &Member) {
        let n = self.members.len();
        self.remove(member);
        if self.members.len() < n {
            self.count_retired(&member.function);
        }
    }

    /// One more that carried the key is final.
    pub(super) fn count_retired(&mut self, function: &Text) {
        self.retired.update(function, |n| *n += 1);
        self.n_retired += 1;
    }

    pub(super) fn join(&mut self, id: NodeId) {
        self.joiners.insert(id);
    }

    pub(super) fn leave(&mut self, id: NodeId) {
        self.joiners.remove(id);
    }

    pub(super) fn forget_retired(&mut self) {
        self.retired = FewMap::default();
        self.n_retired = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.joiners.is_empty() && self.n_retired == 0
    }

    /// Everybody whose cause the key may decide.
    pub(super) fn everybody(&self) -> impl Iterator<Item = NodeId> {
        self.members.keys().map(|&(_, _, id)| id).chain(self.joiners.iter())
    }

    pub(super) fn len(&self) -> usize {
        self.members.len() + self.n_retired
    }
}

/// Looks up the function of a node while a set is borrowed.
#[derive(Debug)]
pub(super) struct Functions<'a>(pub(super) &'a super::points::Nodes);

impl Functions<'_> {
    fn of(&self, id: NodeId) -> Option<&Text> {
        self.0.get(&id).map(|node| &node.known.function)
    }
}
