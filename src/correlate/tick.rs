//! A tick, part by part: what came, what time changed, what is put away, what goes.
//!
//! A tick comes in; parts of its changes go out, each small enough to be measured while all that it
//! touches is still near. What the parts leave does not depend on where one ends: nothing is final, and
//! nothing is put away, before all that came is heard.

use std::time::Duration;

use super::engine::Engine;
use super::graph::{Cell, NodeId, Touched};
use super::request::Change;
use crate::signal::Timestamp;

/// Cells, due requests, final blocks and requests that are put away in one part of a tick: few enough
/// that what they touch is still in the processor's caches when it is measured. Tests meet every border.
const CELLS_AT_ONCE: usize = if cfg!(test) { 2 } else { 512 };
const DUE_AT_ONCE: usize = if cfg!(test) { 1 } else { 256 };
const SEALED_AT_ONCE: usize = if cfg!(test) { 1 } else { 128 };
const FROZEN_AT_ONCE: usize = if cfg!(test) { 1 } else { 256 };

/// How far a tick is ([`Engine::begin_tick`]).
#[derive(Debug)]
pub struct TickPart(Step, Vec<NodeId>);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// What came since the last tick.
    News,
    /// What time changed.
    Due,
    /// Putting away what is over, all of which this tick has found.
    Freeze,
    /// Bounds and ages.
    End,
    Over,
}

impl Engine {
    /// One journaled tick (at most 1 s of age): settles, expires, and says what changed.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Change> {
        let mut part = self.begin_tick(now);
        let mut changes = Vec::new();
        while let Some(next) = self.next_part(&mut part) {
            changes.extend(next);
        }
        changes
    }

    /// Begins a tick that goes part by part, so that what a part says can be measured and forgotten
    /// before the next one, and readers get between them. All parts are to be taken before anything
    /// else is applied.
    pub fn begin_tick(&mut self, now: Timestamp) -> TickPart {
        self.absent.clear();
        self.grow_older(now);
        // Traces feed the runs: those that come first are not worked out twice.
        self.held.cells.dirty.sort_by_key(|cell| !matches!(cell, Cell::Trace(_)));
        TickPart(Step::News, Vec::new())
    }

    /// The next part's changes; None once the tick is over.
    pub fn next_part(&mut self, part: &mut TickPart) -> Option<Vec<Change>> {
        let mut changes = Vec::new();
        let TickPart(step, finished) = part;
        *step = match step {
            Step::News if self.held.cells.dirty.is_empty() => {
                self.settle_back(&mut changes);
                Step::Due
            }
            Step::News => {
                self.hear_news(finished, &mut changes);
                Step::News
            }
            Step::Due => self.look_at_due(finished, &mut changes),
            Step::Freeze => {
                let n = finished.len().saturating_sub(FROZEN_AT_ONCE);
                let some = finished.split_off(n);
                self.freeze(&some);
                if finished.is_empty() { Step::End } else { Step::Freeze }
            }
            Step::End => {
                self.relieve(&mut changes);
                self.expire(&mut changes);
                self.count_uncorrelated(&mut changes);
                Step::Over
            }
            Step::Over => return None,
        };
        Some(changes)
    }

    /// Works out a part of what the facts that came make different. Nothing is final before all of them
    /// are heard.
    fn hear_news(&mut self, finished: &mut Vec<NodeId>, changes: &mut Vec<Change>) {
        let mut touched = self.derive(CELLS_AT_ONCE, changes);
        self.held.graph.wire(&mut touched, &self.rules);
        self.regroup(&mut touched, changes);
        self.hear(&mut touched);
        let over = self.show(touched, changes);
        for (entry, _) in over.finals {
            self.look_at(entry, self.held.age);
        }
        finished.extend(over.finished);
    }

    /// Looks at some of the requests that time may have changed: held ones first, then frozen ones that
    /// are final by now.
    fn look_at_due(&mut self, finished: &mut Vec<NodeId>, changes: &mut Vec<Change>) -> Step {
        let mut touched = Touched::default();
        while touched.due.len() < DUE_AT_ONCE
            && let Some(&(due, id)) = self.held.due.first()
            && due <= self.held.age
        {
            self.held.due.pop_first();
            touched.views.insert(id);
            touched.due.insert(id);
        }
        if touched.due.is_empty() {
            if !self.seal_due(SEALED_AT_ONCE, changes) {
                return Step::Freeze;
            }
            touched = self.rework(changes);
        }
        self.hear(&mut touched);
        let over = self.show(touched, changes);
        self.seal(over.finals, changes);
        finished.extend(over.finished);
        Step::Due
    }

    fn count_uncorrelated(&mut self, changes: &mut Vec<Change>) {
        let counts = std::mem::take(&mut self.held.uncorrelated);
        changes.extend(counts.into_iter().map(|((function, secs), count)| {
            let at = Timestamp::EPOCH.saturating_add(Duration::from_secs(secs));
            Change::Uncorrelated { function, count, at }
        }));
    }
}
