//! Freezing and thawing: from the graph to blocks of facts and back.
//!
//! A request that is over comes in, with everything that is joined to it; it is frozen if all of that
//! is over as well. What comes back is worked out by the next tick as if it had just arrived, but that
//! what was said of it is known, so nothing is said twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::blocks::{BlockId, BlockKey, Line, NewBlock, Start};
use super::cells::Fact;
use super::class::Gone;
use super::engine::Engine;
use super::environment::place_of;
use super::fact::{Age, LogFact, Mark, PlatformFact, SignalId, Source, SpanFact};
use super::frozen::Frozen;
use super::graph::{Cell, Graph, NodeId, Said, Touched, hash_of, hash_of_trace};
use super::intake::HOLDING_BYTES;
use super::known::{Init, Known};
use super::legacy::{FrozenInvocation, FrozenRequest, Tokens};
use super::pack::{Pen, Reader};
use super::request::{Change, Request, State};
use super::settle::{Ground, standing};
use super::table::Table;
use super::tell::unhex;
use super::view;
use super::weak::WeakKey;
use crate::number::usize_from_u32;
use crate::signal::{Facts, SignalKind, Text, Timestamp, TraceId};

/// Invocations of one block. What is joined to more stays in the graph: it would be slow to bring back.
const BLOCK_HOPS_MAX: usize = 256;
/// An init that ended this much before or after a late event's time may be the event's.
const INIT_BEFORE: Duration = Duration::from_secs(1);
const INIT_AFTER: Duration = Duration::from_secs(30);

/// What was said of things that came back, until the next tick finds them again.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Back {
    invocations: Table<Text, Told>,
    requests: Table<Text, u64>,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Told {
    pub(super) said: Said,
    pub(super) init: Option<Init>,
}

impl Back {
    pub(super) fn invocation(&mut self, id: &Text) -> Option<Told> {
        self.invocations.remove(id)
    }

    pub(super) fn request(&mut self, id: &Text) -> Option<u64> {
        self.requests.remove(id)
    }
}

/// Everything that is joined to a request.
#[derive(Debug, Default)]
struct Joined {
    entries: BTreeSet<NodeId>,
    nodes: BTreeSet<NodeId>,
    cells: BTreeSet<Cell>,
}

/// Facts of one cell.
#[derive(Debug)]
pub(super) struct CellFacts {
    pub(super) cell: Cell,
    /// Attempts that are final and gone: of records, and of a request id.
    pub(super) n_sealed: u32,
    pub(super) gone: Gone,
    pub(super) spans: Vec<SpanFact>,
    pub(super) logs: Vec<LogFact>,
    pub(super) platform: Vec<PlatformFact>,
}

impl CellFacts {
    fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        let spans = self.spans.iter().map(|fact| &fact.source);
        let logs = self.logs.iter().map(|fact| &fact.source);
        spans.chain(logs).chain(self.platform.iter().map(|fact| &fact.source))
    }

    pub(super) fn marks(&self) -> impl Iterator<Item = &Mark> {
        let spans = self.spans.iter().map(|fact| &fact.mark);
        let logs = self.logs.iter().map(|fact| &fact.mark);
        spans.chain(logs).chain(self.platform.iter().map(|fact| &fact.mark))
    }

    fn into_facts(self) -> impl Iterator<Item = Fact> {
        let spans = self.spans.into_iter().map(Fact::Span);
        let logs = self.logs.into_iter().map(Fact::Log);
        spans.chain(logs).chain(self.platform.into_iter().map(Fact::Platform))
    }
}

/// A block, read.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) cells: Vec<CellFacts>,
    pub(super) invocations: Vec<(Text, Told)>,
    /// As many as there are invocations.
    pub(super) frozen: Vec<FrozenInvocation>,
    pub(super) requests: Vec<(Text, u64)>,
    /// As many as there are requests.
    pub(super) left: Vec<FrozenRequest>,
}

impl Engine {
    /// Freezes requests that are over, where all that is joined to them is over too.
    pub(super) fn freeze(&mut self, over: &[NodeId]) {
        for &entry in over {
            let Some(joined) = self.joined(entry) else { continue };
            let keys = self.keys_of(&joined);
            if self.held.frozen.has_room(&keys) {
                self.put_away(&joined, keys);
            }
        }
    }

    fn joined(&self, entry: NodeId) -> Option<Joined> {
        let graph = &self.held.graph;
        let mut found = Joined::default();
        let mut entries = vec![entry];
        let mut near = Vec::new();
        while let Some(entry) = entries.pop() {
            if !found.entries.insert(entry) {
                continue;
            }
            let held = self.held.requests.get(&entry)?;
            let is_over = held.summary.state == State::Finished && held.said.is_some();
            if !is_over || held.n_left_out > 0 || self.held.unsure.contains(&entry) {
                return None;
            }
            for &id in &held.reach {
                if !found.nodes.insert(id) {
                    continue;
                }
                let node = graph.nodes.get(&id)?;
                let is_cut = node.owners.values().any(|owner| owner.is_sealed)
                    || node.causes.iter().any(|edge| edge.is_sealed);
                if is_cut || found.nodes.len() > BLOCK_HOPS_MAX {
                    return None;
                }
                entries.extend(node.owners.keys());
                graph.near(node, &self.rules, &mut near)?;
                let traces = node.known.traces.iter().map(|&trace| Cell::Trace(trace));
                for cell in traces.chain([node.cell.clone()]) {
                    self.held.cells.near(cell, BLOCK_HOPS_MAX, &mut found.cells, &mut near)?;
                }
                for id in near.drain(..) {
                    if found.nodes.contains(&id) {
                        continue;
                    }
                    let owners = &graph.nodes.get(&id)?.owners;
                    owners.first()?;
                    entries.extend(owners.keys());
                }
            }
        }
        Some(found)
    }

    fn keys_of(&self, joined: &Joined) -> Vec<BlockKey> {
        let nodes = joined.nodes.iter().filter_map(|id| self.held.graph.nodes.get(id));
        let (mut finding, mut awakening) = (Vec::new(), Vec::new());
        for node in nodes {
            let known = &node.known;
            finding.extend(Graph::names_of(known));
            awakening.extend(known.traces.iter().map(hash_of_trace));
            awakening.extend(known.pointers.iter().map(|pointer| hash_of_trace(&pointer.trace)));
            awakening.extend(known.origins.iter().map(|origin| hash_of_trace(&origin.trace)));
            awakening.extend(known.sent.iter().map(|sent| hash_of(&sent.id)));
            awakening.extend(known.received.iter().map(|message| hash_of(&message.id)));
            awakening.extend(Graph::keys_of(node).iter().map(WeakKey::hash));
        }
        awakening.extend(joined.cells.iter().map(|cell| match cell {
            Cell::Trace(trace) => hash_of_trace(trace),
            Cell::Run(key) | Cell::Records(_, key) => hash_of(key),
        }));
        for hashes in [&mut finding, &mut awakening] {
            hashes.sort_unstable();
            hashes.dedup();
        }
        finding.retain(|hash| awakening.binary_search(hash).is_err());
        let finding = finding.into_iter().map(BlockKey::finding);
        awakening.into_iter().map(BlockKey::awakening).chain(finding).collect()
    }

    fn put_away(&mut self, joined: &Joined, keys: Vec<BlockKey>) {
        let lines = self.lines(joined);
        let mut contents = Contents::default();
        let mut due = Age::MAX;
        for entry in &joined.entries {
            let Some(held) = self.held.requests.remove(entry) else { continue };
            self.held.due.remove(&(held.due, *entry));
            due = due.min(held.due);
            let tokens = Tokens::of(self.ground(), *entry, &held.reach);
            contents.left.push(FrozenRequest { due: held.due, tokens });
            contents.requests.push((held.id, held.said.unwrap_or_default()));
        }
        let mut starts = BTreeSet::new();
        let (mut first, mut newest) = (Timestamp::MAX, Age::ZERO);
        let cells: Vec<&Cell> = joined.cells.iter().collect();
        for &id in &joined.nodes {
            let Some(node) = self.held.graph.take(id) else { continue };
            let cell = cells.binary_search(&&node.cell).ok();
            contents.frozen.push(FrozenInvocation::of(&node, cell));
            let known = node.known;
            (first, newest) = (first.min(known.start), newest.max(known.news));
            starts.extend(self.held.environments.freeze(id, &known));
            let told = Told { said: node.said, init: node.environment_init };
            contents.invocations.push((known.id, told));
        }
        contents.cells.extend(cells.into_iter().filter_map(|cell| self.held.cells.take(cell)));
        for mark in contents.cells.iter().flat_map(CellFacts::marks) {
            self.held.memory.release(mark);
            let weight = u64::from(mark.bytes) + HOLDING_BYTES;
            self.held.bytes = self.held.bytes.saturating_sub(weight);
        }
        let frozen = &mut self.held.frozen;
        let facts = contents.write(frozen, first, newest);
        let starts = starts.into_iter().collect();
        let records = contents.cells.iter().flat_map(|cell| &cell.logs);
        let told = records.filter_map(|log| Some(log.mark.identity?.short())).collect();
        frozen.add(&NewBlock { lines, keys, starts, told, due, facts });
    }

    fn lines(&mut self, joined: &Joined) -> Vec<Line> {
        let held = &mut self.held;
        let mut lines = Vec::new();
        for entry in &joined.entries {
            let Some(request) = held.requests.get(entry) else { continue };
            let nodes = request.reach.iter().filter_map(|id| held.graph.nodes.get(id));
            let marks = nodes.fold(0, |marks, node| marks | marks_of(&node.known));
            let summary = &request.summary;
            lines.push(Line {
                id: unhex(&request.id),
                flow: held.frozen.number_of_flow(&summary.flow),
                outcome: summary.outcome,
                is_lacking: summary.is_lacking,
                start: summary.start,
                end: summary.end,
                marks,
            });
        }
        lines
    }

    /// Brings back what a signal may change.
    pub(super) fn wake_for(&mut self, kind: &SignalKind, source: &Source) {
        let mut blocks: BTreeSet<BlockId> = BTreeSet::new();
        let mut look = |key: u64| self.look_for(key, &mut blocks);
        match kind {
            SignalKind::Metric(_) => return,
            SignalKind::Span(span) => {
                look(hash_of_trace(&span.trace_id));
                for link in &span.links {
                    look(hash_of_trace(&link.trace_id));
                    link.message_id.iter().for_each(|id| look(hash_of(id)));
                }
                each_key(&span.facts, &mut look);
            }
            SignalKind::Log(record) => {
                record.trace.iter().for_each(|trace| look(hash_of_trace(&trace.trace_id)));
                each_key(&record.facts, &mut look);
            }
            SignalKind::Platform(event) => {
                event.trace.iter().for_each(|trace| look(hash_of_trace(&trace.trace_id)));
                event.invocation_id.iter().for_each(|id| look(hash_of(id)));
            }
        }
        if let SignalKind::Platform(event) = kind
            && event.invocation_id.is_none()
            && let Some(name) = source.name()
        {
            let place = place_of(name, source.instance.as_ref());
            let from = Start { place, time: event.time.saturating_sub(INIT_BEFORE) };
            let to = event.time.saturating_add(event.duration.unwrap_or_default());
            blocks.extend(self.held.frozen.started(from, to.saturating_add(INIT_AFTER)));
        }
        for id in blocks {
            self.wake(id);
        }
    }

    /// Brings back what may hold the first telling of a record: a repeat that says less than that names none
    /// of its keys. False where there is none.
    pub(super) fn wake_told(&mut self, identity: SignalId) -> bool {
        let blocks: Vec<BlockId> = self.held.frozen.holding(identity).collect();
        blocks.iter().for_each(|&block| self.wake(block));
        !blocks.is_empty()
    }

    /// Adds the blocks that a key brings back.
    fn look_for(&mut self, key: u64, blocks: &mut BTreeSet<BlockId>) {
        if self.absent.has(key) {
            return;
        }
        let n_before = blocks.len();
        blocks.extend(self.held.frozen.awakened_by(key));
        if blocks.len() == n_before {
            self.absent.note(key);
        }
    }

    /// Brings back what carries a key that somebody began to carry; facts move between invocations, and
    /// causes go, without a signal that names it. False where there is none.
    pub(super) fn wake_entered(&mut self, touched: &mut Touched) -> bool {
        let keys = std::mem::take(&mut touched.entered);
        let mut blocks = BTreeSet::new();
        if !self.held.frozen.is_empty() {
            keys.into_iter().for_each(|key| self.look_for(key, &mut blocks));
        }
        let is_any = !blocks.is_empty();
        blocks.into_iter().for_each(|block| self.wake(block));
        is_any
    }

    pub(super) fn wake(&mut self, id: BlockId) {
        let Some(block) = self.held.frozen.get(id) else { return };
        let contents = Contents::read(block.facts, &self.held.frozen);
        self.held.frozen.wake(id);
        self.take_back(contents);
    }

    fn take_back(&mut self, contents: Contents) {
        contents.frozen.iter().for_each(|own| self.held.environments.wake(own.run()));
        for cell in contents.cells {
            let key = cell.cell.clone();
            let (n_sealed, gone) = (cell.n_sealed, cell.gone.clone());
            self.held.cells.heavy.remove(&key);
            for fact in cell.into_facts() {
                let mark = *fact.mark();
                self.held.bytes += u64::from(mark.bytes) + HOLDING_BYTES;
                if let Some(identity) = mark.identity {
                    self.held.memory.hold(identity, mark.hash, key.clone());
                }
                self.held.cells.insert(&key, fact);
            }
            self.held.cells.set_sealed(&key, n_sealed, gone);
        }
        self.held.back.invocations.extend(contents.invocations);
        self.held.back.requests.extend(contents.requests);
    }

    /// What came back and was not found again is gone.
    pub(super) fn settle_back(&mut self, changes: &mut Vec<Change>) {
        self.held.frozen.forget();
        let back = std::mem::take(&mut self.held.back);
        let requests: BTreeSet<Text> = back.requests.into_keys().collect();
        changes.extend(requests.into_iter().map(Change::RequestGone));
        let invocations: BTreeMap<Text, Told> = back.invocations.into_iter().collect();
        for (id, told) in invocations {
            if told.said.invocation.is_some() {
                changes.push(Change::InvocationGone(id));
            }
            changes.extend(told.said.deliveries.into_keys().map(Change::DeliveryGone));
        }
    }

    /// Puts a block together aside: what is held stays as it is.
    fn put_together(&self, contents: Contents) -> Self {
        let inits: Table<Text, Option<Init>> =
            contents.invocations.iter().map(|(id, told)| (Text::clone(id), told.init)).collect();
        let mut aside = self.aside();
        aside.take_back(contents);
        let mut nothing = Vec::new();
        let mut touched = aside.derive(&mut nothing);
        aside.held.graph.wire(&mut touched, &self.rules);
        aside.regroup(&mut touched, &mut nothing);
        for node in aside.held.graph.nodes.values_mut() {
            node.environment_init = inits.get(&node.known.id).copied().flatten();
        }
        aside
    }

    /// The requests of a block.
    pub(super) fn look_into(&self, id: BlockId) -> Vec<Request> {
        let Some(block) = self.held.frozen.get(id) else { return Vec::new() };
        let aside = self.put_together(Contents::read(block.facts, &self.held.frozen));
        let ground = Ground { graph: &aside.held.graph, ..self.ground() };
        let views = aside.held.requests.iter().filter_map(|(&entry, held)| {
            let flow = view::flow(&ground.graph.nodes.get(&entry)?.known);
            let standing = standing(ground, entry, &held.reach, flow);
            let request = view::request(ground, entry, &held.reach, &standing)?;
            Some(Request { state: State::Finished, ..request })
        });
        views.collect()
    }
}

impl Contents {
    fn write(&self, frozen: &mut Frozen, first: Timestamp, newest: Age) -> Vec<u8> {
        let mut sources: Vec<&Arc<Source>> = Vec::new();
        for source in self.cells.iter().flat_map(CellFacts::sources) {
            if !sources.iter().any(|known| Arc::ptr_eq(known, source) || *known == source) {
                sources.push(source);
            }
        }
        let number = |source: &Arc<Source>| {
            let same = |known: &&Arc<Source>| Arc::ptr_eq(known, source) || *known == source;
            sources.iter().position(same).unwrap_or(0)
        };
        let numbers: Vec<u32> = sources.iter().map(|source| frozen.sources.take(source)).collect();
        let mut pen = Pen::new(&mut frozen.names, first, newest);
        pen.list(&numbers, |pen, &number| pen.number(u64::from(number)));
        pen.list(&self.cells, |pen, cell| {
            write_cell(pen, cell);
            pen.list(&cell.spans, |pen, fact| {
                pen.length(number(&fact.source));
                fact.write(pen);
            });
            pen.list(&cell.logs, |pen, fact| {
                pen.length(number(&fact.source));
                fact.write(pen);
            });
            pen.list(&cell.platform, |pen, fact| {
                pen.length(number(&fact.source));
                fact.write(pen);
            });
        });
        pen.list(&self.invocations, |pen, (id, told)| {
            pen.hash(id);
            write_told(pen, told);
        });
        pen.list(&self.requests, |pen, (id, said)| {
            pen.hash(id);
            pen.raw(&said.to_be_bytes());
        });
        for own in &self.frozen {
            own.write(&mut pen, sources.iter().map(|source| &***source));
        }
        for left in &self.left {
            left.write(&mut pen);
        }
        pen.bytes
    }

    pub(super) fn read(bytes: &[u8], frozen: &Frozen) -> Self {
        let mut reader = Reader::new(bytes, &frozen.names);
        let sources = reader.list(Reader::small);
        let sources: Vec<Arc<Source>> =
            sources.iter().map(|&n| frozen.sources.get(n).cloned().unwrap_or_default()).collect();
        let source = |reader: &mut Reader<'_>| {
            sources.get(usize_from_u32(reader.small())).cloned().unwrap_or_default()
        };
        let cells = reader.list(|reader| {
            let cell = read_cell(reader);
            let (n_sealed, gone) = read_gone(reader, &cell);
            let trace = match &cell {
                Cell::Trace(trace) => *trace,
                _ => TraceId([0; 16]),
            };
            let spans = reader.list(|reader| {
                let source = source(reader);
                SpanFact::read(reader, trace, source)
            });
            let logs = reader.list(|reader| {
                let source = source(reader);
                LogFact::read(reader, source)
            });
            let platform = reader.list(|reader| {
                let source = source(reader);
                PlatformFact::read(reader, source)
            });
            CellFacts { cell, n_sealed, gone, spans, logs, platform }
        });
        let invocations = reader.list(|reader| (reader.hash(), read_told(reader)));
        let requests = reader.list(|reader| (reader.hash(), u64::from_be_bytes(reader.raw())));
        let own =
            invocations.iter().map(|(id, _)| FrozenInvocation::read(&mut reader, id, &sources));
        let frozen = own.collect();
        let left = requests.iter().map(|_| FrozenRequest::read(&mut reader)).collect();
        Self { cells, invocations, frozen, requests, left }
    }
}

fn write_cell(pen: &mut Pen<'_>, cell: &CellFacts) {
    match &cell.cell {
        Cell::Trace(trace) => {
            pen.number(0);
            pen.trace_id(*trace);
        }
        Cell::Run(id) => {
            pen.number(1);
            pen.id(id);
        }
        Cell::Records(function, key) => {
            pen.number(2);
            pen.name(function);
            pen.id(key);
        }
    }
    if let Cell::Run(_) = &cell.cell {
        cell.gone.write(pen);
    } else {
        pen.number(u64::from(cell.n_sealed));
    }
}

fn read_gone(reader: &mut Reader<'_>, cell: &Cell) -> (u32, Gone) {
    match cell {
        Cell::Run(_) => (0, Gone::read(reader)),
        _ => (reader.small(), Gone::default()),
    }
}

fn read_cell(reader: &mut Reader<'_>) -> Cell {
    match reader.number() {
        0 => Cell::Trace(reader.trace_id()),
        1 => Cell::Run(reader.text()),
        _ => Cell::Records(reader.text(), reader.text()),
    }
}

fn write_told(pen: &mut Pen<'_>, told: &Told) {
    pen.option(told.said.invocation.as_ref(), |pen, said| pen.raw(&said.to_be_bytes()));
    pen.length(told.said.deliveries.len());
    for (id, said) in told.said.deliveries.iter() {
        pen.hash(id);
        pen.raw(&said.to_be_bytes());
    }
    pen.option(told.init.as_ref(), |pen, init| {
        pen.option(init.duration.as_ref(), |pen, duration| pen.duration(*duration));
        pen.option(init.end.as_ref(), |pen, end| pen.time(*end));
    });
}

fn read_told(reader: &mut Reader<'_>) -> Told {
    let invocation = reader.option(|reader| u64::from_be_bytes(reader.raw()));
    let deliveries = reader.list(|reader| (reader.hash(), u64::from_be_bytes(reader.raw())));
    let said = Said { invocation, deliveries: deliveries.into_iter().collect() };
    let init = reader.option(|reader| Init {
        duration: reader.option(Reader::duration),
        end: reader.option(Reader::time),
    });
    Told { said, init }
}

fn each_key(facts: &Facts, look: &mut impl FnMut(u64)) {
    let ids = facts.correlation_ids.iter().chain(&facts.invocation_id);
    let ids = ids.chain(facts.workflow.as_ref().map(|workflow| &workflow.execution_id));
    ids.for_each(|id| look(hash_of(id)));
    for message in facts.sent.iter().chain(&facts.received) {
        look(hash_of(&message.id));
        message.trace.iter().for_each(|trace| look(hash_of_trace(&trace.trace_id)));
    }
}

/// The bits of an invocation's function and queues.
fn marks_of(known: &Known) -> u64 {
    let received = known.received.iter().filter_map(|message| message.queue.as_ref());
    let queues = received.chain(known.sent.iter().filter_map(|sent| sent.queue.as_ref()));
    queues.chain([&known.function]).fold(0, |marks, name| marks | mark_of(name))
}

/// The bit that a name sets.
pub(super) fn mark_of(name: &str) -> u64 {
    1 << (hash_of(name) % 64)
}
