//! Where evidence meets: invocations that a span belongs to and that point at it, that sent a message
//! and that took it up.

use serde::{Deserialize, Serialize};

use super::graph::{Node, NodeId, Touched};
use super::node_set::NodeSet;
use super::table::Table;

/// Takings of one message, and its senders; what more invocations share is no message id and joins
/// nothing. Law 4: without it one constant id would cost the square of its uses.
pub(super) const TAKINGS_MAX: usize = 1_000;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SpanPoint {
    pub(super) owners: NodeSet,
    pub(super) pointers: NodeSet,
}

impl SpanPoint {
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.pointers.is_empty()
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MessagePoint {
    pub(super) senders: NodeSet,
    pub(super) receivers: NodeSet,
}

impl MessagePoint {
    /// Whether it still names one message.
    pub(super) fn is_telling(&self) -> bool {
        self.senders.len() <= TAKINGS_MAX && self.receivers.len() <= TAKINGS_MAX
    }

    /// Whether what changes here can change anything: also when the bound is being crossed.
    fn is_watched(&self) -> bool {
        self.senders.len() <= TAKINGS_MAX + 1 && self.receivers.len() <= TAKINGS_MAX + 1
    }
}

/// A message has a new sender or taking, or lost one: its other takings look different.
pub(super) fn touch_message(
    point: &MessagePoint,
    nodes: &Table<NodeId, Node>,
    touched: &mut Touched,
) {
    if !point.is_watched() {
        return;
    }
    touched.rewire.extend(point.receivers.iter());
    touched.told.extend(point.receivers.iter());
    for other in point.receivers.iter().chain(point.senders.iter()) {
        touched.views.extend(nodes.get(&other).into_iter().flat_map(|node| node.owners.keys()));
    }
}
