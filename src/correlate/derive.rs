//! From cells that changed to the graph: invocations that are new, different or gone.

use std::collections::BTreeSet;

use super::blocks::BlockId;
use super::class::Gone;
use super::dedup::run_key;
use super::engine::Engine;
use super::environment::{Rivals, Run};
use super::graph::{Cell, NodeId, Touched};
use super::known::Known;
use super::request::Change;
use crate::signal::{Text, Timestamp};

impl Engine {
    /// Works out the invocations of all dirty cells, and of frozen ones from which an init goes to another.
    pub(super) fn derive(&mut self, changes: &mut Vec<Change>) -> Touched {
        let mut touched = Touched::default();
        loop {
            self.derive_dirty(&mut touched, changes);
            let rivals = self.held.environments.assign(&mut self.held.graph, &mut touched);
            let started = |one: &Rivals| self.held.frozen.started(one.from, one.until);
            let blocks: BTreeSet<BlockId> = rivals.iter().flat_map(started).collect();
            if blocks.is_empty() {
                return touched;
            }
            blocks.into_iter().for_each(|block| self.wake(block));
        }
    }

    /// Traces come first: they feed the runs.
    fn derive_dirty(&mut self, touched: &mut Touched, changes: &mut Vec<Change>) {
        let age = self.held.age;
        let (traces, others): (Vec<Cell>, Vec<Cell>) = self
            .held
            .cells
            .take_due(age)
            .into_iter()
            .partition(|cell| matches!(cell, Cell::Trace(_)));
        self.held.cells.dirty.extend(others);
        for cell in traces {
            let Cell::Trace(trace) = cell else { continue };
            self.held.cells.settle(&cell);
            let known = self.held.cells.derive_trace(trace);
            self.update(&cell, known, touched, changes);
        }
        let gap = self.rules.config.settle_after;
        for cell in self.held.cells.take_due(age) {
            self.held.cells.settle(&cell);
            let known = match &cell {
                Cell::Trace(_) => continue,
                Cell::Run(id) => {
                    self.recall(id);
                    self.held.cells.derive_run(id)
                }
                Cell::Records(function, key) => {
                    self.held.cells.derive_records(&(Text::clone(function), Text::clone(key)), gap)
                }
            };
            self.update(&cell, known, touched, changes);
        }
    }

    /// A request id that was here before is the same, if it has been away.
    fn recall(&mut self, id: &Text) {
        if let Some(cell) = self.held.cells.runs.get_mut(id)
            && cell.gone.is_none()
        {
            let mut gone = Gone::recalled(self.held.memory.buried(run_key(id)));
            if gone == Gone::default()
                && let Some(class) = self.held.stubs.run(id)
            {
                gone.add(class, Timestamp::EPOCH);
            }
            cell.gone = Some(gone);
        }
    }

    fn nodes_of(&mut self, cell: &Cell) -> Option<&mut Vec<(Text, NodeId)>> {
        let cells = &mut self.held.cells;
        match cell {
            Cell::Trace(trace) => cells.traces.get_mut(trace).map(|cell| &mut cell.nodes),
            Cell::Run(id) => cells.runs.get_mut(id).map(|cell| &mut cell.nodes),
            Cell::Records(function, key) => cells
                .records
                .get_mut(&(Text::clone(function), Text::clone(key)))
                .map(|cell| &mut cell.nodes),
        }
    }

    /// Makes the graph hold exactly these invocations of a cell.
    fn update(
        &mut self,
        cell: &Cell,
        known: Vec<Known>,
        touched: &mut Touched,
        changes: &mut Vec<Change>,
    ) {
        let mut old = self.nodes_of(cell).map(std::mem::take).unwrap_or_default();
        old.sort_unstable();
        let mut new = Vec::with_capacity(known.len());
        for known in known {
            if self.held.learned.learn(&known) {
                touched.views.extend(&self.held.unsure);
            }
            let id = Text::clone(&known.id);
            let place = old.binary_search_by(|(old, _)| old.cmp(&id));
            let known_before = place.ok().and_then(|idx| old.get_mut(idx));
            let node = if let Some((_, held)) = known_before {
                let node = std::mem::replace(held, NodeId::NONE);
                self.replace(node, known, touched);
                node
            } else {
                let told = self.held.back.invocation(&known.id);
                let node = self.held.graph.add(known, cell.clone(), touched);
                if let (Some(told), Some(node)) = (told, self.held.graph.nodes.get_mut(&node)) {
                    (node.said, node.environment_init) = (told.said, told.init);
                }
                self.arrive(node, touched);
                node
            };
            new.push((id, node));
        }
        for (_, node) in old.into_iter().filter(|(_, node)| *node != NodeId::NONE) {
            self.remove(node, touched, changes);
        }
        if let Some(nodes) = self.nodes_of(cell) {
            *nodes = new;
        }
        self.prune(cell);
        self.held.cells.note_weight(cell, self.held.age);
    }

    /// What can follow no init any more gives back the one that it had.
    fn arrive(&mut self, id: NodeId, touched: &mut Touched) {
        let Some(node) = self.held.graph.nodes.get_mut(&id) else { return };
        let follows = self.held.environments.arrive(id, &node.known);
        if !follows && node.environment_init.take().is_some() {
            touched.views.extend(node.owners.keys());
            touched.told.insert(id);
        }
    }

    fn replace(&mut self, id: NodeId, known: Known, touched: &mut Touched) {
        if let Some(node) = self.held.graph.nodes.get(&id) {
            if node.known == known {
                return;
            }
            self.held.environments.leave(id, &Run::of(&node.known));
        }
        self.held.graph.replace(id, known, touched, &self.rules);
        self.arrive(id, touched);
    }

    fn remove(&mut self, id: NodeId, touched: &mut Touched, changes: &mut Vec<Change>) {
        if let Some(node) = self.held.graph.nodes.get(&id) {
            self.held.environments.leave(id, &Run::of(&node.known));
        }
        let Some(node) = self.held.graph.remove(id, touched, &self.rules) else { return };
        if node.said.invocation.is_some() {
            changes.push(Change::InvocationGone(node.known.id));
        }
        changes.extend(node.said.deliveries.into_keys().map(Change::DeliveryGone));
    }

    /// Forgets a cell that a change of route has emptied.
    fn prune(&mut self, cell: &Cell) {
        let cells = &mut self.held.cells;
        match cell {
            Cell::Trace(trace) if cells.traces.get(trace).is_some_and(|cell| cell.is_empty()) => {
                cells.traces.remove(trace);
            }
            Cell::Run(id) if cells.runs.get(id).is_some_and(|cell| cell.is_empty()) => {
                cells.forget_run(id);
            }
            Cell::Records(function, key) => {
                let key = (Text::clone(function), Text::clone(key));
                if cells.records.get(&key).is_some_and(|cell| cell.logs.is_empty()) {
                    cells.records.remove(&key);
                }
            }
            _ => {}
        }
    }
}
