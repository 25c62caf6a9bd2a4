//! The engine: the pure core that holds invocations, edges and requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Config;
use super::cells::Cells;
use super::dedup::{Memory, Seen};
use super::digest::digest;
use super::environment::Environments;
use super::fact::{Age, Tellings};
use super::freeze::Back;
use super::frozen::{Absent, Frozen};
use super::graph::{Graph, Node, NodeId, Touched};
use super::hop::init_of;
use super::known::Ending;
use super::ledger::{Ledger, Verdict};
use super::reach::{Above, Owner, entries_of, reach};
use super::remembered::Retired;
use super::request::{Change, Outcome, Request, State};
use super::rings::Ring;
use super::rules::{Learned, Rules};
use super::settle::{Ground, Standing, standing};
use super::stubs::Stubs;
use super::{tell, view};
use crate::number::u64_from_usize;
use crate::signal::{Batch, Text, Timestamp};

/// The most that one tick ages the engine: time that we did not watch ages nothing.
pub(super) const TICK_MAX: Duration = Duration::from_secs(1);
/// What an invocation in the graph takes beside its facts, and a request beside its invocations, about: a
/// daemon with 100,000 open requests of one record each held 3.4 KiB for each, and 4.5 where each had a
/// correlation id of its own.
pub(super) const INVOCATION_BYTES: u64 = 2_000;
pub(super) const REQUEST_BYTES: u64 = 1_300;

/// Holds everything that is open or correctable.
#[derive(Debug)]
pub struct Engine {
    pub(super) rules: Arc<Rules>,
    pub(super) held: Held,
    pub(super) tellings: Tellings,
    /// Keys that bring no frozen request back, since the last tick.
    pub(super) absent: Absent,
}

/// All state that must survive a restart. [`Engine::moment`] writes the fields in this order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) age: Age,
    pub(super) last_tick: Option<Timestamp>,
    /// Log time as last told.
    pub(super) now: Timestamp,
    pub(super) ledger: Ledger,
    pub(super) memory: Memory,
    pub(super) cells: Cells,
    pub(super) environments: Environments,
    pub(super) graph: Graph,
    pub(super) learned: Learned,
    pub(super) stubs: Stubs,
    pub(super) frozen: Frozen,
    pub(super) back: Back,
    pub(super) requests: BTreeMap<NodeId, HeldRequest>,
    /// When to look at a request again, news or not.
    pub(super) due: BTreeSet<(Age, NodeId)>,
    /// Requests that wait for something that traffic may yet teach us to expect.
    pub(super) unsure: BTreeSet<NodeId>,
    /// Invocations that no open request holds, by when they go.
    pub(super) orphans: BTreeSet<(Age, NodeId)>,
    /// Log records that name nothing to join by, by function and second.
    pub(super) uncorrelated: BTreeMap<(Text, u64), u64>,
    /// Keys that final invocations still count under, by when they stop.
    pub(super) retired: Retired,
    pub(super) bytes: u64,
    pub(super) notes: Notes,
}

/// What happened that somebody should know.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Memory makes requests final early. None: not for as long as a request can be corrected.
    pub(super) early: Option<Early>,
    /// Since when signals were dropped because memory was full, and how many.
    pub(super) dropped: Option<(Timestamp, u64)>,
    /// Causes that form rings, by the function of the first of each.
    pub(super) rings: BTreeMap<Text, Ring>,
    /// Since when requests met the bound of hops, and how many did.
    pub(super) overlong: Option<(Timestamp, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Early {
    pub(super) since: Timestamp,
    pub(super) last: Age,
    /// The least lateness that was left.
    pub(super) least: Age,
}

/// One request that is held.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeldRequest {
    pub(super) id: Text,
    pub(super) reach: BTreeSet<NodeId>,
    pub(super) n_left_out: u32,
    pub(super) due: Age,
    /// Digest of what was last said of it.
    pub(super) said: Option<u64>,
    pub(super) summary: Summary,
}

/// As of the last look, for lists; outcome and end as of when it was last over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) flow: Text,
    pub(super) outcome: Outcome,
    pub(super) state: State,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) news: Age,
    pub(super) is_lacking: bool,
}

impl Summary {
    fn note_entry(&mut self, entry: &Node) {
        let (known, flow) = (&entry.known, view::flow(&entry.known));
        if self.flow != *flow {
            self.flow = Text::clone(flow);
        }
        self.start = init_of(entry).map_or(known.start, |(from, _)| from.min(known.start));
    }
}

/// What became of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Indexes of the metric signals that are new: the series store takes them.
    pub metrics: Vec<usize>,
}

/// What the engine thinks somebody should know.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// `quarantined_key`, `incomplete_request`, `cause_ring`, `memory`, ...
    pub kind: &'static str,
    pub message: String,
    pub since: Timestamp,
}

/// Which requests to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RequestFilter {
    pub function: Option<Text>,
    pub flow: Option<Text>,
    pub queue: Option<Text>,
    pub outcome: Option<Outcome>,
    pub min_duration: Option<Duration>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub limit: usize,
}

/// What a key leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    None,
    One(Box<Request>),
    /// The key belongs to several: earliest first.
    Several(Vec<Request>),
}

impl Engine {
    pub fn new(config: Config) -> Self {
        Self::with(config, Held::default())
    }

    pub(super) fn with(config: Config, held: Held) -> Self {
        let mut engine = Self::of(Arc::new(Rules::new(config)), held);
        engine.note_settings();
        engine
    }

    fn of(rules: Arc<Rules>, held: Held) -> Self {
        Self { rules, held, tellings: Tellings::default(), absent: Absent::default() }
    }

    fn note_settings(&mut self) {
        let settings = digest(&self.rules.config);
        self.held.frozen.set_settings(settings);
    }

    /// An engine of the same settings and age, to put something together in.
    pub(super) fn aside(&self) -> Self {
        let held = Held { age: self.held.age, now: self.held.now, ..Held::default() };
        Self::of(Arc::clone(&self.rules), held)
    }

    /// A reload: what is held stays, new settings hold from now on.
    pub fn set_config(&mut self, config: Config) {
        self.rules = Arc::new(Rules::new(config));
        self.note_settings();
        let all: Vec<NodeId> = self.held.requests.keys().copied().collect();
        for id in all {
            self.look_at(id, self.held.age);
        }
    }

    /// Takes one journaled batch. `now` is log time.
    pub fn apply(&mut self, batch: &Batch, now: Timestamp) -> Applied {
        self.held.now = now;
        if let Some(bytes) = batch.undecodable_bytes {
            self.held.ledger.undecodable.batches += 1;
            self.held.ledger.undecodable.bytes += bytes;
        }
        match self.held.memory.delivery(batch, self.held.age) {
            Seen::New | Seen::Late => self.take_in(batch),
            Seen::Duplicate => {
                self.held.ledger.whole(batch, Verdict::Duplicate);
                Applied::default()
            }
            Seen::Conflict => {
                self.held.ledger.whole(batch, Verdict::Conflict);
                Applied::default()
            }
        }
    }

    /// Works out what the facts that came now make different.
    pub(super) fn rework(&mut self, changes: &mut Vec<Change>) -> Touched {
        let mut touched = self.derive(changes);
        self.held.graph.wire(&mut touched, &self.rules);
        while self.wake_entered(&mut touched) {
            touched.add(self.derive(changes));
            self.held.graph.wire(&mut touched, &self.rules);
        }
        self.regroup(&mut touched, changes);
        self.settle_back(changes);
        touched
    }

    pub(super) fn grow_older(&mut self, now: Timestamp) {
        let passed = self.held.last_tick.map_or(Duration::ZERO, |last| now.since(last));
        self.held.age = self.held.age.saturating_add(passed.min(TICK_MAX));
        self.held.last_tick = Some(now);
        self.held.now = now;
    }

    pub(super) fn ground(&self) -> Ground<'_> {
        Ground {
            graph: &self.held.graph,
            rules: &self.rules,
            learned: &self.held.learned,
            stubs: &self.held.stubs,
            age: self.held.age,
        }
    }

    /// Finds the requests that changed nodes belong to, and what each request now reaches.
    pub(super) fn regroup(&mut self, touched: &mut Touched, changes: &mut Vec<Change>) {
        let hops_max = self.rules.config.hops_max;
        let graph = &self.held.graph;
        let above = Above::of(graph, touched.moved.iter().chain(&touched.entries).copied());
        touched.entries.extend(&above.entries);
        for &id in touched.moved.iter().filter(|&&id| !above.is_settled(id)) {
            touched.entries.extend(entries_of(graph, id, hops_max));
        }
        let mut loose = touched.moved.clone();
        for entry in std::mem::take(&mut touched.entries) {
            let graph = &self.held.graph;
            let is_entry = match graph.nodes.get(&entry) {
                Some(node) if node.begins() => true,
                _ if above.is_settled(entry) => false,
                _ if entries_of(graph, entry, hops_max).contains(&entry) => {
                    self.note_ring(entry);
                    true
                }
                _ => false,
            };
            if is_entry {
                self.spread(entry, touched, &mut loose);
            } else if let Some(held) = self.held.requests.remove(&entry) {
                self.let_go(entry, &held, touched, &mut loose);
                if held.said.is_some() {
                    changes.push(Change::RequestGone(held.id));
                }
            }
        }
        for id in loose {
            let Some(node) = self.held.graph.nodes.get(&id) else { continue };
            if node.owners.values().all(|owner| owner.is_sealed) {
                let lateness = self.rules.config.allowed_lateness;
                self.held.orphans.insert((node.known.news.saturating_add(lateness), id));
            }
        }
    }

    fn let_go(
        &mut self,
        entry: NodeId,
        held: &HeldRequest,
        touched: &mut Touched,
        loose: &mut BTreeSet<NodeId>,
    ) {
        self.held.due.remove(&(held.due, entry));
        self.held.unsure.remove(&entry);
        for id in &held.reach {
            if let Some(node) = self.held.graph.nodes.get_mut(id)
                && node.owners.remove(&entry).is_some()
            {
                touched.views.extend(node.owners.keys());
                loose.insert(*id);
            }
        }
    }

    /// Follows an entry to all that it caused.
    fn spread(&mut self, entry: NodeId, touched: &mut Touched, loose: &mut BTreeSet<NodeId>) {
        let found = reach(&self.held.graph, entry, self.rules.config.hops_max);
        let Some(node) = self.held.graph.nodes.get(&entry) else { return };
        let (id, start) = (Text::clone(&node.known.id), node.known.start);
        let new: BTreeSet<NodeId> = found.nodes.keys().copied().collect();
        let age = self.held.age;
        let back = &mut self.held.back;
        let held = self.held.requests.entry(entry).or_insert_with(|| HeldRequest {
            id: Text::clone(&id),
            reach: BTreeSet::new(),
            n_left_out: 0,
            due: age,
            said: back.request(&id),
            summary: Summary {
                flow: Text::clone(view::flow(&node.known)),
                outcome: Outcome::Ok,
                state: State::Open,
                start,
                end: start,
                news: age,
                is_lacking: false,
            },
        });
        if found.n_left_out > 0 && held.n_left_out == 0 {
            let (since, n) = self.held.notes.overlong.unwrap_or((self.held.now, 0));
            self.held.notes.overlong = Some((since, n + 1));
        }
        held.n_left_out = found.n_left_out;
        let old = std::mem::replace(&mut held.reach, new);
        for id in old.iter().filter(|id| !found.nodes.contains_key(id)) {
            if let Some(node) = self.held.graph.nodes.get_mut(id)
                && node.owners.remove(&entry).is_some()
            {
                touched.views.extend(node.owners.keys());
                loose.insert(*id);
            }
        }
        for (to, labels) in found.nodes {
            let Some(node) = self.held.graph.nodes.get_mut(&to) else { continue };
            let owner = Owner { labels, id: Text::clone(&id), start, is_sealed: false };
            if node.owners.get(&entry) != Some(&owner) {
                node.owners.insert(entry, owner);
                touched.views.extend(node.owners.keys());
            }
        }
        touched.views.insert(entry);
    }

    /// A request that has news is open, whatever else it waits for: it is looked through once it may be
    /// quiet, or when something of it is due.
    pub(super) fn hear(&mut self, touched: &mut Touched) {
        let mut news: Vec<(NodeId, Age)> = Vec::new();
        for id in touched.told.iter().chain(&touched.moved) {
            let Some(node) = self.held.graph.nodes.get(id) else { continue };
            news.extend(node.owners.keys().map(|&entry| (entry, node.known.news)));
        }
        news.sort_unstable_by(|a, b| b.cmp(a));
        news.dedup_by_key(|(entry, _)| *entry);
        for (entry, news) in news {
            let quiet = news.saturating_add(self.rules.config.settle_after);
            if quiet > self.held.age
                && !touched.due.contains(&entry)
                && touched.views.contains(&entry)
                && self.note_news(entry, news, quiet)
            {
                touched.views.remove(&entry);
            }
        }
    }

    /// It is open until it is quiet. False where it is not held.
    fn note_news(&mut self, entry: NodeId, news: Age, quiet: Age) -> bool {
        let age = self.held.age;
        let Some(node) = self.held.graph.nodes.get(&entry) else { return false };
        let Some(held) = self.held.requests.get_mut(&entry) else { return false };
        held.summary.note_entry(node);
        held.summary.state = State::Open;
        held.summary.is_lacking = false;
        held.summary.news = held.summary.news.max(news);
        let due = if held.due > age { held.due.min(quiet) } else { quiet };
        self.look_at(entry, due);
        true
    }

    /// Looks at a request anew and says what differs; notes its invocations that are to be told, and whether
    /// it is over.
    pub(super) fn show(
        &mut self,
        entry: NodeId,
        is_due: bool,
        (told, over): (&mut BTreeSet<NodeId>, &mut Over),
        changes: &mut Vec<Change>,
    ) {
        let was_open = self.held.requests.get(&entry).map(|held| held.summary.state);
        let Some(standing) = self.stand(entry) else { return };
        let Some(held) = self.held.requests.get(&entry) else { return };
        // Time may have made an end of one of its invocations, or it is over now.
        let is_over = standing.state != State::Open;
        if is_due || is_over && was_open == Some(State::Open) {
            told.extend(held.reach.iter().filter(|id| self.may_be_told(**id)));
        }
        if !is_over {
            return;
        }
        if standing.state == State::Final && self.awaits_cells(entry) {
            self.look_at(entry, self.held.age.saturating_add(TICK_MAX));
            return;
        }
        match self.finish(entry, &standing, changes) {
            Some(last) => over.finals.push(last),
            None => over.finished.push(entry),
        }
    }

    pub(super) fn tell_as_it_stands(&mut self, id: NodeId, changes: &mut Vec<Change>) {
        let quiet = self.has_quiet_owner(id).then_some(Quiet);
        self.tell(id, quiet, changes);
    }

    /// Whether time, or the end of its request, may change what is said of an invocation.
    fn may_be_told(&self, id: NodeId) -> bool {
        let is_said = |node: &Node| {
            // Without a trace it is shown by the request that holds it.
            node.known.ending == Ending::Told
                && node.said.invocation.is_some()
                && !node.known.traces.is_empty()
        };
        self.held.graph.nodes.get(&id).is_some_and(|node| !is_said(node))
    }

    fn has_quiet_owner(&self, id: NodeId) -> bool {
        let owners = self.held.graph.nodes.get(&id).into_iter().flat_map(|node| node.owners.keys());
        let mut held = owners.filter_map(|entry| self.held.requests.get(entry));
        held.any(|held| held.summary.state != State::Open)
    }

    /// Says a request that is over, where it differs from what was said. Gives it if it is final.
    fn finish(
        &mut self,
        entry: NodeId,
        standing: &Standing,
        changes: &mut Vec<Change>,
    ) -> Option<(NodeId, Request)> {
        let held = self.held.requests.get(&entry)?;
        let mut request = view::request(self.ground(), entry, &held.reach, standing)?;
        let is_final = request.state == State::Final;
        if self.is_news(entry, &mut request) {
            if !is_final {
                changes.push(Change::Request(Box::new(request)));
                return None;
            }
            changes.push(Change::Request(Box::new(request.clone())));
        }
        is_final.then_some((entry, request))
    }

    /// Whether a request that is over differs from what was said of it; from now on it does not.
    pub(super) fn is_news(&mut self, entry: NodeId, request: &mut Request) -> bool {
        request.state = State::Finished;
        let said = Some(digest(request));
        let Some(held) = self.held.requests.get_mut(&entry) else { return false };
        held.summary.outcome = request.outcome;
        held.summary.start = request.start;
        held.summary.end = request.end;
        std::mem::replace(&mut held.said, said) != said
    }

    /// Works out where a request stands. It is put together only once it is over, or somebody asks.
    fn stand(&mut self, entry: NodeId) -> Option<Standing> {
        let held = self.held.requests.get(&entry)?;
        let ground = self.ground();
        let node = ground.graph.nodes.get(&entry)?;
        let standing = standing(ground, entry, &held.reach, view::flow(&node.known));
        self.look_at(entry, standing.due);
        if standing.is_unsure {
            self.held.unsure.insert(entry);
        } else {
            self.held.unsure.remove(&entry);
        }
        let node = self.held.graph.nodes.get(&entry)?;
        let summary = &mut self.held.requests.get_mut(&entry)?.summary;
        summary.note_entry(node);
        summary.state = standing.state;
        summary.news = standing.news;
        summary.is_lacking = !standing.missing.is_empty();
        Some(standing)
    }

    pub(super) fn look_at(&mut self, entry: NodeId, due: Age) {
        if let Some(held) = self.held.requests.get_mut(&entry) {
            self.held.due.remove(&(held.due, entry));
            held.due = due;
            self.held.due.insert((due, entry));
        }
    }

    /// Says what differs of an invocation and of the messages that it took up. Once one of its requests
    /// is final it stays as it was said: some of its neighbours are gone, so it would only look different.
    pub(super) fn tell(&mut self, id: NodeId, quiet: Option<Quiet>, changes: &mut Vec<Change>) {
        let ground = self.ground();
        let Some(node) = ground.graph.nodes.get(&id) else { return };
        if node.owners.values().any(|owner| owner.is_sealed) {
            return;
        }
        let counts = quiet.is_some() || tell::is_countable(ground, node);
        let invocation = counts.then(|| tell::invocation(ground, node));
        let deliveries = tell::deliveries(ground, node);
        let Some(node) = self.held.graph.nodes.get_mut(&id) else { return };
        if let Some(invocation) = invocation {
            let said = Some(digest(&invocation));
            if node.said.invocation != said {
                node.said.invocation = said;
                changes.push(Change::Invocation(Box::new(invocation)));
            }
        }
        let mut gone = std::mem::take(&mut node.said.deliveries);
        for delivery in deliveries {
            let said = digest(&delivery);
            node.said.deliveries.insert(Text::clone(&delivery.id), said);
            if gone.remove(&delivery.id) != Some(said) {
                changes.push(Change::Delivery(Box::new(delivery)));
            }
        }
        changes.extend(gone.into_keys().map(Change::DeliveryGone));
    }

    /// Estimate of the memory that facts, what is worked out from them and what is remembered of what is over
    /// take.
    pub fn bytes(&self) -> u64 {
        let invocations = u64_from_usize(self.held.graph.nodes.len()) * INVOCATION_BYTES;
        let requests = u64_from_usize(self.held.requests.len()) * REQUEST_BYTES;
        let held = self.held.bytes + self.held.frozen.bytes + invocations + requests;
        held + self.remembered_bytes()
    }

    pub fn ledger(&self) -> &Ledger {
        &self.held.ledger
    }

    /// What facts and what is worked out from them may take.
    pub fn bytes_max(&self) -> u64 {
        self.rules.config.memory_max_bytes
    }

    /// Whether memory is short: right after a tick this means that open requests, beside the eighth that what
    /// is over keeps, take three quarters of it, and admission should refuse new work. The last quarter is for
    /// what arrives between two ticks.
    pub fn is_crowded(&self) -> bool {
        self.bytes() >= self.rules.config.memory_max_bytes / 4 * 3
    }

    /// Whether memory is soon full: admission should not wait for the next tick.
    pub fn is_nearly_full(&self) -> bool {
        self.bytes() >= self.rules.config.memory_max_bytes / 8 * 7
    }

    /// Whether memory is full: signals of new requests are dropped, and counted.
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.rules.config.memory_max_bytes
    }
}

/// Requests that a tick found over.
#[derive(Debug, Default)]
pub(super) struct Over {
    /// With their last views.
    pub(super) finals: Vec<(NodeId, Request)>,
    pub(super) finished: Vec<NodeId>,
}

/// A request of the invocation is over: it counts though its end is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet;
