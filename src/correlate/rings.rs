//! Causes that form rings: noted, so that somebody hears of them.
//!
//! The first of a ring comes in as it is found; what was found lately stays, one a function.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::{Engine, Held};
use super::fact::Age;
use super::graph::NodeId;
use crate::signal::{Text, Timestamp};

/// Functions whose rings are told.
const RINGS_MAX: usize = 100;
/// How long a ring is told after the last look at it.
const RING_KEPT: Duration = Duration::from_hours(24);

/// The last ring of causes that began with a function.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ring {
    pub(super) invocation: Text,
    pub(super) since: Timestamp,
    last: Age,
}

impl Engine {
    /// Causes form a ring, and this is the first of it.
    pub(super) fn note_ring(&mut self, entry: NodeId) {
        let Some(node) = self.held.graph.nodes.get(&entry) else { return };
        let Held { age: last, now: since, .. } = self.held;
        let known = &node.known;
        let rings = &mut self.held.notes.rings;
        if rings.len() >= RINGS_MAX && !rings.contains_key(&known.function) {
            return;
        }
        let invocation = Text::clone(known.invocation_id.as_ref().unwrap_or(&known.id));
        let since = rings.get(&known.function).map_or(since, |ring| ring.since);
        rings.insert(Text::clone(&known.function), Ring { invocation, since, last });
    }

    pub(super) fn forget_rings(&mut self) {
        let age = self.held.age;
        self.held.notes.rings.retain(|_, ring| age.saturating_sub(ring.last) < RING_KEPT);
    }
}
