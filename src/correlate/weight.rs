//! What weighs too much: cells of so many facts that they are not worked out at every tick, and of so many
//! records that they take no more.
//!
//! A constant id puts everything that carries it into one cell. What that costs must not grow with what is
//! held: the more facts a cell has, the longer it waits between two looks at it.

use std::time::Duration;

use super::cells::Cells;
use super::engine::Engine;
use super::fact::Age;
use super::graph::{Cell, NodeId};
use super::known::Known;
use crate::number::u32_from_usize;
use crate::signal::Text;

/// Cells of fewer facts are worked out at every tick in which something came to them. One of more waits in
/// between, by the number of its facts: so what a constant id costs does not grow with what is held under it,
/// and takes a twentieth of a core at the most (a fact takes about two microseconds).
const HEAVY_FACTS: usize = if cfg!(test) { 6_000 } else { 25_000 };
const WAIT_A_FACT: Duration = Duration::from_micros(if cfg!(test) { 400 } else { 40 });
/// Records of one cell: more than any invocation writes. Under a constant id they would be of one invocation
/// that never ends.
pub(super) const RECORDS_MAX: usize = 50_000;

impl Cells {
    fn n_facts(&self, cell: &Cell) -> usize {
        match cell {
            Cell::Trace(trace) => {
                self.traces.get(trace).map_or(0, |own| own.spans.iter().len() + own.logs.len())
            }
            Cell::Run(id) => self
                .runs
                .get(id)
                .map_or(0, |own| own.platform.len() + own.logs.len() + own.bundles.len()),
            Cell::Records(..) => self.n_records(cell),
        }
    }

    fn n_records(&self, cell: &Cell) -> usize {
        match cell {
            Cell::Trace(trace) => self.traces.get(trace).map_or(0, |own| own.logs.len()),
            Cell::Run(id) => self.runs.get(id).map_or(0, |own| own.logs.len()),
            Cell::Records(function, key) => {
                let key = (Text::clone(function), Text::clone(key));
                self.records.get(&key).map_or(0, |own| own.logs.len())
            }
        }
    }

    /// Whether a cell takes no more records; it is noted.
    pub(super) fn is_full_of_records(&mut self, cell: &Cell) -> bool {
        let is_full = self.n_records(cell) >= RECORDS_MAX;
        if is_full && !self.full.contains(cell) {
            self.full.insert(cell.clone());
        }
        is_full
    }

    /// Forgets what was noted of cells that are gone or smaller.
    pub(super) fn expire(&mut self) {
        if self.heavy.is_empty() && self.full.is_empty() {
            return;
        }
        let mut heavy = std::mem::take(&mut self.heavy);
        heavy.retain(|cell, _| self.has(cell));
        self.heavy = heavy;
        let mut full = std::mem::take(&mut self.full);
        full.retain(|cell| self.n_records(cell) >= RECORDS_MAX);
        self.full = full;
    }

    /// The cells that are to be looked at now.
    pub(super) fn take_due(&mut self, age: Age) -> Vec<Cell> {
        let dirty = std::mem::take(&mut self.dirty);
        if self.heavy.is_empty() {
            return dirty;
        }
        let is_due = |cell: &Cell| self.heavy.get(cell).is_none_or(|due| *due <= age);
        let (due, later) = dirty.into_iter().partition(is_due);
        self.dirty = later;
        due
    }

    /// A cell has been worked out.
    pub(super) fn note_weight(&mut self, cell: &Cell, age: Age) {
        if self.n_facts(cell) >= HEAVY_FACTS {
            self.heavy.insert(cell.clone(), age.saturating_add(self.wait(cell)));
        } else if !self.heavy.is_empty() {
            self.heavy.remove(cell);
        }
    }

    /// Cells that wait are looked at once a quarter of their time is over, so that they take a fifth of a core
    /// at the most. False where there are none.
    pub(super) fn hasten(&mut self, age: Age) -> bool {
        let is_over = |cell: &&Cell| {
            let due = self.heavy.get(*cell);
            due.is_some_and(|due| due.saturating_sub(age) <= self.wait(cell) / 4 * 3)
        };
        let hastened: Vec<Cell> = self.dirty.iter().filter(is_over).cloned().collect();
        for cell in &hastened {
            self.heavy.remove(cell);
        }
        !hastened.is_empty()
    }

    /// How long a cell of so many facts waits between two looks at it.
    fn wait(&self, cell: &Cell) -> Duration {
        WAIT_A_FACT.saturating_mul(u32_from_usize(self.n_facts(cell)))
    }

    /// Whether facts of an invocation came that have not been worked out yet.
    pub(super) fn await_for(&self, known: &Known, cell: &Cell) -> bool {
        let mut traces = known.traces.iter().map(|&trace| Cell::Trace(trace));
        !self.heavy.is_empty() && (self.is_dirty(cell) || traces.any(|cell| self.is_dirty(&cell)))
    }

    /// Whether something came to a cell that has not been worked out yet.
    pub(super) fn is_dirty(&self, cell: &Cell) -> bool {
        match cell {
            Cell::Trace(trace) => self.traces.get(trace).is_some_and(|own| own.is_dirty),
            Cell::Run(id) => self.runs.get(id).is_some_and(|own| own.is_dirty),
            Cell::Records(function, key) => {
                let key = (Text::clone(function), Text::clone(key));
                self.records.get(&key).is_some_and(|own| own.is_dirty)
            }
        }
    }
}

impl Engine {
    /// Whether facts of its invocations came that have not been worked out yet.
    pub(super) fn awaits_cells(&self, entry: NodeId) -> bool {
        let (graph, cells) = (&self.held.graph, &self.held.cells);
        if cells.heavy.is_empty() {
            return false;
        }
        let reach = self.held.requests.get(&entry).into_iter().flat_map(|held| &held.reach);
        let mut nodes = reach.filter_map(|id| graph.nodes.get(id));
        nodes.any(|node| cells.await_for(&node.known, &node.cell))
    }
}
