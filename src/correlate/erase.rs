//! Erasure: what ids lead to is let go of before its time, and what would still name it.
//!
//! Ids come in; the requests that they led to go out, as they were last shown. Whole requests go, open ones
//! too: what they caused and what caused them is of no use without them. What was counted of them stays
//! counted, and repeats of their signals stay late by digests of their ids. Never is a request touched that
//! shares nothing with them but a batch that names none of the ids.

use std::collections::BTreeSet;

use super::blocks::BlockId;
use super::engine::Engine;
use super::graph::{NodeId, hash_of, hash_of_trace};
use super::request::{Change, Request, State};
use super::weak::WeakKey;
use crate::signal::{Text, TraceId};

/// A shorter text stands in too many others by chance.
const WITHIN_MIN: usize = 4;

/// What was let go of.
#[derive(Clone, Debug, Default)]
pub struct Erased {
    /// As they were last shown.
    pub requests: Vec<Request>,
    /// To be counted, and not to be kept.
    pub changes: Vec<Change>,
}

impl Erased {
    /// Every id of what went: whatever names one of them may name it.
    pub fn ids(&self) -> BTreeSet<Text> {
        self.requests.iter().flat_map(Request::ids).cloned().collect()
    }
}

impl Request {
    /// Its own id and every other that belongs to it.
    pub fn ids(&self) -> impl Iterator<Item = &Text> {
        let of_hops = self.hops.iter();
        let of_hops = of_hops
            .flat_map(|hop| hop.invocation_id.iter().chain(&hop.message_ids).chain([&hop.id]));
        let keys = self.keys.iter().map(|key| &key.value);
        [&self.id].into_iter().chain(&self.aliases).chain(keys).chain(of_hops)
    }
}

impl Engine {
    /// Lets go of all that one of these ids leads to. `gone` are ids of requests that were final before and are
    /// erased elsewhere: what they left behind by name goes too. To be called right after a tick, and followed
    /// by one.
    pub fn erase(&mut self, ids: &BTreeSet<Text>, gone: &BTreeSet<Text>) -> Erased {
        let mut erased = Erased::default();
        let hashes = |id: &Text| {
            let trace = TraceId::from_hex(id).map(|trace| hash_of_trace(&trace));
            [hash_of(id)].into_iter().chain(trace)
        };
        // Each once: several ids lead to one block.
        let blocks: BTreeSet<BlockId> =
            ids.iter().flat_map(hashes).flat_map(|hash| self.held.frozen.found_by(hash)).collect();
        blocks.into_iter().for_each(|block| self.wake(block));
        // What waits is worked out now, or it would come up later.
        self.held.cells.heavy.clear();
        let touched = self.rework(&mut erased.changes);
        for entry in touched.views {
            // Whatever stays is looked at by the next tick.
            self.look_at(entry, self.held.age);
        }
        let named: BTreeSet<NodeId> = ids.iter().flat_map(|id| self.held.graph.named(id)).collect();
        let nodes = named.iter().filter_map(|id| self.held.graph.nodes.get(id));
        let entries: BTreeSet<NodeId> =
            nodes.flat_map(|node| node.owners.keys().copied()).collect();
        for entry in entries {
            self.let_go_of(entry, &mut erased);
        }
        // No open request held the rest.
        self.bury(named, &mut erased.changes);
        let gone: BTreeSet<Text> = gone.iter().chain(ids).cloned().chain(erased.ids()).collect();
        self.forget_names(ids, &gone);
        erased
    }

    fn let_go_of(&mut self, entry: NodeId, erased: &mut Erased) {
        let Some(request) = self.view_of(entry) else { return };
        let mut changes = Vec::new();
        self.seal(vec![(entry, request.clone())], &mut changes);
        for change in changes {
            erased.changes.push(match change {
                // It is not over, so it does not count.
                Change::RequestFinal(open) if request.state == State::Open => {
                    Change::RequestGone(Text::clone(&open.id))
                }
                other => other,
            });
        }
        erased.requests.push(request);
    }

    /// Takes out what final requests leave behind by name.
    fn forget_names(&mut self, ids: &BTreeSet<Text>, gone: &BTreeSet<Text>) {
        self.held.stubs.forget(|token, request| ids.contains(token) || gone.contains(request));
        self.held.graph.messages.values_mut().for_each(|point| point.forget(gone));
        let text = |key: &WeakKey| match key {
            WeakKey::Correlation(id) | WeakKey::Execution(id) => Text::clone(id),
            WeakKey::Trace(trace) => trace.text(),
        };
        let is_gone = |key: &WeakKey| {
            let text = text(key);
            gone.contains(&text) && self.held.graph.named(&text).next().is_none()
        };
        let retired = self.held.retired.keys();
        let keys: BTreeSet<WeakKey> = retired.filter(|key| is_gone(key)).cloned().collect();
        self.held.retired.retain(|key| !keys.contains(key));
        keys.iter().for_each(|key| self.held.graph.forget_retired(key));
        let within: Vec<&Text> = ids.iter().filter(|id| id.len() >= WITHIN_MIN).collect();
        self.held.frozen.names.blank(|name| within.iter().any(|id| name.contains(&***id)));
    }
}
