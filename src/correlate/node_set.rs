//! Small sets of invocations: most points of the graph are touched by one or two, a few by thousands.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::graph::NodeId;

/// As many lie in place; more go to the heap.
const FEW: usize = 3;

/// A set of invocations, in order.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Vec<NodeId>", into = "Vec<NodeId>")]
pub(super) enum NodeSet {
    /// Sorted; what is not used is no node's number.
    Few([NodeId; FEW]),
    Many(BTreeSet<NodeId>),
}

/// Shows the members: a set that was large once is no other than one that never was.
impl std::fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Default for NodeSet {
    fn default() -> Self {
        Self::Few([NodeId::NONE; FEW])
    }
}

impl NodeSet {
    pub(super) fn insert(&mut self, id: NodeId) {
        match self {
            Self::Many(ids) => drop(ids.insert(id)),
            Self::Few(ids) if ids.contains(&id) => {}
            Self::Few(ids) => match ids.last_mut() {
                Some(last) if *last == NodeId::NONE => {
                    *last = id;
                    ids.sort_unstable();
                }
                _ => {
                    let all = ids.iter().copied().chain([id]).collect();
                    *self = Self::Many(all);
                }
            },
        }
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        match self {
            Self::Many(ids) => drop(ids.remove(&id)),
            Self::Few(ids) => {
                if let Some(own) = ids.iter_mut().find(|own| **own == id) {
                    *own = NodeId::NONE;
                    ids.sort_unstable();
                }
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        let (few, many) = match self {
            Self::Few(ids) => (Some(ids), None),
            Self::Many(ids) => (None, Some(ids)),
        };
        let few = few.into_iter().flatten().filter(|&&id| id != NodeId::NONE);
        few.chain(many.into_iter().flat_map(|ids| ids.iter())).copied()
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(ids) => ids.iter().filter(|&&id| id != NodeId::NONE).count(),
            Self::Many(ids) => ids.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<NodeId>> for NodeSet {
    fn from(ids: Vec<NodeId>) -> Self {
        let mut set = Self::default();
        ids.into_iter().for_each(|id| set.insert(id));
        set
    }
}

impl From<NodeSet> for Vec<NodeId> {
    fn from(set: NodeSet) -> Self {
        set.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_was_large_once_shows_no_more_than_it_holds() {
        let mut shrunk = NodeSet::from((1..9).map(NodeId::of).collect::<Vec<_>>());
        (3..9).for_each(|n| shrunk.remove(NodeId::of(n)));
        let small = NodeSet::from(vec![NodeId::of(1), NodeId::of(2)]);
        assert_eq!(format!("{shrunk:?}"), format!("{small:?}"));
    }

    #[test]
    fn a_set_is_the_same_in_place_and_on_the_heap() {
        let mut set = NodeSet::default();
        let mut model = BTreeSet::new();
        for n in [5, 1, 5, 9, 3, 7, 1, 2] {
            set.insert(NodeId::of(n));
            model.insert(NodeId::of(n));
            assert!(set.iter().eq(model.iter().copied()), "{n}");
            assert_eq!(set.len(), model.len());
        }
        for n in [9, 4, 1, 2, 3, 5, 7] {
            set.remove(NodeId::of(n));
            model.remove(&NodeId::of(n));
            assert!(set.iter().eq(model.iter().copied()), "{n}");
        }
        assert!(set.is_empty());
    }
}
