//! A tick, part by part: what came, what time changed, what is put away, what goes.
//!
//! A tick comes in; parts of its changes go out, each small enough to be measured while all that it
//! touches is still near. All that came is worked out before anything is said of it, and requests before
//! their invocations, so it does not matter where a part ends.

use std::collections::BTreeSet;
use std::time::Duration;

use super::engine::{Engine, Over};
use super::graph::{NodeId, Touched};
use super::request::{Change, FinalLine};
use crate::signal::Timestamp;

/// Requests, invocations, final requests and blocks, and requests that are put away, in one part of a
/// tick: few enough that what they touch is still in the processor's caches when it is measured. Tests
/// meet every border.
const REQUESTS_AT_ONCE: usize = if cfg!(test) { 1 } else { 256 };
const INVOCATIONS_AT_ONCE: usize = if cfg!(test) { 1 } else { 512 };
const SEALED_AT_ONCE: usize = if cfg!(test) { 1 } else { 128 };
const FROZEN_AT_ONCE: usize = if cfg!(test) { 1 } else { 256 };

/// How far a tick is ([`Engine::begin_tick`]).
#[derive(Debug, Default)]
pub struct Progress {
    step: Step,
    /// Requests to look at, and those of them that time may have changed.
    requests: BTreeSet<NodeId>,
    due: BTreeSet<NodeId>,
    /// Invocations to tell.
    told: BTreeSet<NodeId>,
    over: Over,
}

#[derive(Clone, Copy, Debug, Default)]
enum Step {
    /// What came since the last tick, and what came back.
    #[default]
    News,
    Requests,
    Invocations,
    /// Requests that are final: held ones, then frozen ones.
    Finals,
    FrozenFinals,
    Ages,
    /// Putting away what is over.
    Freeze,
    Bounds,
    Over,
}

impl Engine {
    /// One journaled tick (at most 1 s of age): settles, expires, and says what changed.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Change> {
        let mut progress = self.begin_tick(now);
        let mut changes = Vec::new();
        while let Some(next) = self.next_part(&mut progress, &|_| true) {
            changes.extend(next);
        }
        changes
    }

    /// Begins a tick that goes part by part, so that what a part says can be measured and forgotten
    /// before the next one, and readers get between them. All parts are to be taken before anything
    /// else is applied.
    pub fn begin_tick(&mut self, now: Timestamp) -> Progress {
        self.grow_older(now);
        Progress::default()
    }

    /// The next part's changes; None once the tick is over. Of final requests that lie frozen only
    /// those are shown that are to be kept, and what lies in one block with them.
    pub fn next_part(
        &mut self,
        progress: &mut Progress,
        is_kept: &dyn Fn(&FinalLine<'_>) -> bool,
    ) -> Option<Vec<Change>> {
        let mut changes = Vec::new();
        let Progress { step, requests, due, told, over } = progress;
        *step = match step {
            Step::News => {
                let touched = self.news(&mut changes);
                *told = touched.moved;
                told.extend(touched.told);
                (*requests, *due) = (touched.views, touched.due);
                Step::Requests
            }
            Step::Requests => {
                for entry in first_of(requests, REQUESTS_AT_ONCE) {
                    self.show(entry, due.contains(&entry), (told, over), &mut changes);
                }
                if requests.is_empty() { Step::Invocations } else { Step::Requests }
            }
            Step::Invocations => {
                for id in first_of(told, INVOCATIONS_AT_ONCE) {
                    self.tell_as_it_stands(id, &mut changes);
                }
                if told.is_empty() { Step::Finals } else { Step::Invocations }
            }
            Step::Finals => {
                let finals = last_of(&mut over.finals, SEALED_AT_ONCE);
                self.seal(finals, &mut changes);
                if over.finals.is_empty() { Step::FrozenFinals } else { Step::Finals }
            }
            Step::FrozenFinals if self.seal_due(SEALED_AT_ONCE, is_kept, &mut changes) => {
                Step::News
            }
            Step::FrozenFinals => Step::Ages,
            Step::Ages => {
                self.expire(&mut changes);
                self.count_uncorrelated(&mut changes);
                self.held.memory.shrink();
                self.held.cells.shrink();
                self.held.graph.shrink();
                Step::Freeze
            }
            Step::Freeze => {
                self.absent.clear();
                let some = last_of(&mut over.finished, FROZEN_AT_ONCE);
                self.freeze(&some);
                if over.finished.is_empty() { Step::Bounds } else { Step::Freeze }
            }
            Step::Bounds => {
                self.relieve(&mut changes);
                Step::Over
            }
            Step::Over => return None,
        };
        Some(changes)
    }

    /// What the facts that came make different, and what time may.
    fn news(&mut self, changes: &mut Vec<Change>) -> Touched {
        let mut touched = self.rework(changes);
        while let Some(&(due, id)) = self.held.due.first()
            && due <= self.held.age
        {
            self.held.due.pop_first();
            touched.views.insert(id);
            touched.due.insert(id);
        }
        self.hear(&mut touched);
        touched
    }

    fn count_uncorrelated(&mut self, changes: &mut Vec<Change>) {
        let counts = std::mem::take(&mut self.held.uncorrelated);
        changes.extend(counts.into_iter().map(|((function, secs), count)| {
            let at = Timestamp::EPOCH.saturating_add(Duration::from_secs(secs));
            Change::Uncorrelated { function, count, at }
        }));
    }
}

fn first_of(all: &mut BTreeSet<NodeId>, n_max: usize) -> Vec<NodeId> {
    std::iter::from_fn(|| all.pop_first()).take(n_max).collect()
}

fn last_of<T>(all: &mut Vec<T>, n_max: usize) -> Vec<T> {
    all.split_off(all.len().saturating_sub(n_max))
}
