//! Letting go: requests that are no longer correctable, memory that is full, things that expire.
//!
//! A final request leaves its invocations behind only as long as another request still holds them; a
//! final invocation leaves tombstones, so that what comes later for it is late, never new.

use super::cells::Remains;
use super::dedup::REMEMBERED;
use super::engine::{Early, Engine, Held, Quiet, TICK_MAX};
use super::fact::{Age, SignalId};
use super::graph::{Node, NodeId};
use super::known::Known;
use super::legacy::{InvocationLegacy, Tokens};
use super::request::{Change, Request, State};
use super::runs::SAME_START;
use super::stubs::Former;
use super::weak::WeakKey;
use crate::signal::Text;

/// Blocks of frozen requests that come back together to make room.
const RELIEVED_AT_ONCE: usize = 64;

impl Engine {
    /// Makes requests final, and the invocations that nobody else holds.
    pub(super) fn seal(&mut self, finals: Vec<(NodeId, Request)>, changes: &mut Vec<Change>) {
        let mut gone = Vec::new();
        for (entry, mut request) in finals {
            let Some(held) = self.held.requests.remove(&entry) else { continue };
            self.held.due.remove(&(held.due, entry));
            self.held.unsure.remove(&entry);
            request.state = State::Final;
            let tokens = Tokens::of(self.ground(), entry, &held.reach);
            self.leave_tokens(&tokens, &held.id);
            for id in held.reach {
                let Some(node) = self.held.graph.nodes.get_mut(&id) else { continue };
                if let Some(owner) = node.owners.get_mut(&entry) {
                    owner.is_sealed = true;
                }
                if node.owners.values().all(|owner| owner.is_sealed) {
                    gone.push(id);
                }
            }
            changes.push(Change::RequestFinal(Box::new(request)));
        }
        self.bury(gone, changes);
    }

    /// What comes later with one of these tokens continues a request that is final. What means nothing
    /// among the living means nothing later.
    pub(super) fn leave_tokens(&mut self, tokens: &Tokens, request: &Text) {
        let age = self.held.age;
        let former = Former { request: Text::clone(request), since: age };
        let pending = age.saturating_add(self.rules.config.pending_max);
        let (graph, stubs) = (&self.held.graph, &mut self.held.stubs);
        let tells = |key: &WeakKey| !graph.quarantined.contains_key(key);
        for (message, sending) in &tokens.messages {
            stubs.leave_message(Text::clone(message), sending.clone(), &former, pending);
        }
        for message in &tokens.again {
            stubs.leave(Text::clone(message), &former, pending);
        }
        let a_while = age.saturating_add(REMEMBERED);
        // As long as a repeat that was taken up until then can come and be corrected.
        let done_until = a_while.saturating_add(self.rules.config.allowed_lateness);
        for (message, done) in &tokens.done {
            stubs.leave_done(Text::clone(message), *done, &former, done_until);
        }
        for (id, class) in &tokens.runs {
            stubs.leave_run(Text::clone(id), *class, &former, pending);
        }
        for execution in &tokens.executions {
            if tells(&WeakKey::Execution(Text::clone(execution))) {
                stubs.leave(Text::clone(execution), &former, pending);
            }
        }
        for trace in tokens.traces.iter().filter(|trace| tells(&WeakKey::Trace(**trace))) {
            let token = trace.text();
            stubs.leave(token, &former, a_while);
        }
    }

    /// Makes invocations final, those of one cell together.
    pub(super) fn bury(
        &mut self,
        ids: impl IntoIterator<Item = NodeId>,
        changes: &mut Vec<Change>,
    ) {
        let (graph, age) = (&mut self.held.graph, self.held.age);
        let sealed = ids.into_iter().filter_map(|id| Some((id, graph.seal(id)?)));
        let mut sealed: Vec<(NodeId, Box<Node>)> = sealed.collect();
        sealed.iter().for_each(|(_, node)| graph.leave_messages(&node.known, age));
        sealed.sort_by(|(_, a), (_, b)| a.cell.cmp(&b.cell));
        let gap = self.rules.config.settle_after;
        let (mut remains, mut torn) = (Vec::with_capacity(sealed.len()), Vec::new());
        for of_cell in sealed.chunk_by(|(_, a), (_, b)| a.cell == b.cell) {
            let known: Vec<&Known> = of_cell.iter().map(|(_, node)| &node.known).collect();
            let Some((_, first)) = of_cell.first() else { continue };
            let (n_before, n_torn) = (remains.len(), torn.len());
            remains.extend(self.held.cells.bury(&first.cell, &known, gap, &mut torn));
            torn.iter_mut().skip(n_torn).for_each(|torn| torn.place += n_before);
        }
        self.held.cells.take_torn(torn, &mut remains);
        for ((id, node), remains) in sealed.into_iter().zip(remains) {
            self.leave(id, node, remains, changes);
        }
    }

    fn leave(&mut self, id: NodeId, node: Box<Node>, remains: Remains, changes: &mut Vec<Change>) {
        let age = self.held.age;
        for mark in remains.marks {
            if let Some(identity) = mark.identity {
                self.held.memory.seal(identity, age);
            }
            let weight = u64::from(mark.bytes) + super::intake::HOLDING_BYTES;
            self.held.bytes = self.held.bytes.saturating_sub(weight);
        }
        let legacy = InvocationLegacy::of(*node);
        if legacy.has_init {
            self.held.environments.seal(id, &legacy.run);
        } else {
            self.held.environments.leave(id, &legacy.run);
        }
        self.leave_tombstones(&legacy, remains.keys.into_iter());
        self.leave_behind(legacy, changes);
    }

    /// Says that an invocation is final; the keys that it counts under stop counting some time.
    pub(super) fn leave_behind(&mut self, legacy: InvocationLegacy, changes: &mut Vec<Change>) {
        let age = self.held.age;
        legacy.keys.into_iter().for_each(|key| self.held.retired.add(age, key));
        if legacy.said.invocation.is_some() {
            changes.push(Change::InvocationFinal(legacy.run.id));
        }
        changes.extend(legacy.said.deliveries.into_keys().map(Change::DeliveryFinal));
    }

    /// What comes later for one of these keys of a final invocation is late.
    pub(super) fn leave_tombstones(
        &mut self,
        legacy: &InvocationLegacy,
        keys: impl Iterator<Item = SignalId>,
    ) {
        let gap = self.rules.config.settle_after;
        let slack = if legacy.has_request_id { SAME_START } else { gap };
        let until = legacy.last.saturating_add(slack);
        for key in keys {
            self.held.memory.bury(key, legacy.class, until, self.held.age);
        }
    }

    /// When memory is short, the oldest of what is over is forgotten; where that is not enough, the oldest
    /// settled requests become final early.
    pub(super) fn relieve(&mut self, changes: &mut Vec<Change>) {
        self.forget_early();
        if !self.is_crowded() {
            let (age, lateness) = (self.held.age, self.rules.config.allowed_lateness);
            self.held.notes.early.take_if(|early| age.saturating_sub(early.last) > lateness);
            return;
        }
        self.relieve_frozen(changes);
        self.relieve_settled(changes);
        // What waits in heavy cells is of invocations that are held: it goes with them, or keeps them open.
        // Not before memory is nearly full.
        if self.is_nearly_full() && self.held.cells.hasten(self.held.age) {
            let touched = self.rework(changes);
            for entry in touched.views {
                self.look_at(entry, self.held.age);
            }
            self.relieve_settled(changes);
        }
    }

    /// The oldest of those that are over are final.
    fn relieve_settled(&mut self, changes: &mut Vec<Change>) {
        let settled =
            self.held.requests.iter().filter(|(_, held)| held.summary.state != State::Open);
        let mut settled: Vec<(Age, NodeId)> =
            settled.map(|(&id, held)| (held.summary.news, id)).collect();
        settled.sort();
        for (news, entry) in settled {
            if !self.is_crowded() {
                break;
            }
            if self.awaits_cells(entry) {
                continue;
            }
            let request = self.view_of(entry).filter(|request| request.state != State::Open);
            if let Some(request) = request {
                self.note_early(self.held.age.saturating_sub(news));
                self.seal_early(entry, request, changes);
            }
        }
    }

    /// The oldest of the frozen come back and are final.
    fn relieve_frozen(&mut self, changes: &mut Vec<Change>) {
        let lateness = self.rules.config.allowed_lateness;
        while self.is_crowded() && !self.held.frozen.is_empty() {
            for _ in 0..RELIEVED_AT_ONCE {
                let Some(id) = self.held.frozen.oldest() else { break };
                self.wake(id);
            }
            let touched = self.rework(changes);
            for entry in touched.views {
                // Whatever is not made final is looked at again by the next tick.
                self.look_at(entry, self.held.age);
                let Some(request) = self.view_of(entry) else { continue };
                if request.state == State::Open {
                    continue;
                }
                let news = self.news_of(entry);
                let left = self.held.age.saturating_sub(news).min(lateness);
                self.note_early(left);
                self.seal_early(entry, request, changes);
            }
        }
    }

    fn note_early(&mut self, left: Age) {
        let Held { age: last, now: since, .. } = self.held;
        let early = self.held.notes.early.get_or_insert(Early { since, last, least: left });
        (early.last, early.least) = (last, early.least.min(left));
    }

    fn seal_early(&mut self, entry: NodeId, mut request: Request, changes: &mut Vec<Change>) {
        if self.is_news(entry, &mut request) {
            changes.push(Change::Request(Box::new(request.clone())));
        }
        self.seal(vec![(entry, request)], changes);
        // What it leaves behind gives way as well.
        self.forget_early();
    }

    /// When the last fact of a request came.
    fn news_of(&self, entry: NodeId) -> Age {
        let reach = self.held.requests.get(&entry).into_iter().flat_map(|held| &held.reach);
        let nodes = reach.filter_map(|id| self.held.graph.nodes.get(id));
        nodes.map(|node| node.known.news).max().unwrap_or_default()
    }

    /// Forgets what is old enough.
    pub(super) fn expire(&mut self, changes: &mut Vec<Change>) {
        let age = self.held.age;
        let mut gone = Vec::new();
        while let Some(&(due, id)) = self.held.orphans.first() {
            if due > age {
                break;
            }
            self.held.orphans.pop_first();
            let Some(node) = self.held.graph.nodes.get(&id) else { continue };
            let news = node.known.news.saturating_add(self.rules.config.allowed_lateness);
            if !node.owners.values().all(|owner| owner.is_sealed) {
                continue;
            }
            if news > age {
                self.held.orphans.insert((news, id));
            } else if self.held.cells.await_for(&node.known, &node.cell) {
                self.held.orphans.insert((age.saturating_add(TICK_MAX), id));
            } else {
                self.tell(id, Some(Quiet), changes);
                gone.push(id);
            }
        }
        self.bury(gone, changes);
        self.held.memory.expire(age);
        self.held.stubs.expire(age);
        self.forget_rings();
        self.held.cells.expire();
        let config = &self.rules.config;
        let kept = config.allowed_lateness.saturating_add(config.incomplete_after);
        self.held.environments.expire(age, kept);
        while let Some(key) = self.held.retired.take_old(age) {
            self.held.graph.forget_retired(&key);
        }
    }
}
