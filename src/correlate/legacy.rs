//! What invocations and requests leave behind once they are final: tombstones, so that what comes later
//! for them is late; tokens, by which something later may still continue them; counts towards quarantine.
//!
//! Those in the graph tell it when they go. Those that are frozen told it when they were put away, so a
//! block goes without being put together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::blocks::{BlockId, Line};
use super::class::Class;
use super::dedup::{record_key, run_key, span_key};
use super::edges::arrival;
use super::engine::Engine;
use super::environment::Run;
use super::fact::{Age, Source};
use super::freeze::{CellFacts, Contents};
use super::frozen::Frozen;
use super::graph::{Cell, Graph, Node, NodeId, Said};
use super::known::Known;
use super::messages::Life;
use super::pack::{Pen, Reader};
use super::request::{Change, FinalLine, Outcome, Request, State};
use super::settle::Ground;
use super::stubs::{Done, Sending};
use super::tell::hex;
use super::tries::TRIES_MAX;
use super::weak::WeakKey;
use crate::number::usize_from_u32;
use crate::signal::{MessageRef, SpanId, Text, Timestamp, TraceId, Via};

/// An invocation, as far as it matters when it is final.
#[derive(Debug)]
pub(super) struct InvocationLegacy {
    pub(super) run: Run,
    pub(super) said: Said,
    pub(super) has_init: bool,
    /// Its end, or its last fact.
    pub(super) last: Timestamp,
    /// The platform's request id names it.
    pub(super) has_request_id: bool,
    /// Whose it is.
    pub(super) class: Class,
    /// What it goes on counting under.
    pub(super) keys: Vec<WeakKey>,
}

impl InvocationLegacy {
    pub(super) fn of(node: Node) -> Self {
        let (known, keys) = (&node.known, Graph::keys_of(&node).to_vec());
        Self {
            run: Run::of(known),
            has_init: node.environment_init.is_some(),
            last: known.over(),
            has_request_id: known.invocation_id.is_some(),
            class: class_of(known.invocation_id.is_some(), known.class, &known.function),
            said: node.said,
            keys,
        }
    }
}

/// What only a trace or a key joins is known by its function.
fn class_of(has_request_id: bool, class: Class, function: &Text) -> Class {
    if has_request_id { class } else { Class::of(Some(function), None, None) }
}

/// By what something later may still continue a request.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Messages that nobody took up.
    pub(super) messages: Vec<(Text, Sending)>,
    /// Messages that may be taken up again, or from a dead-letter queue.
    pub(super) again: Vec<Text>,
    /// Messages that are done: a delivery of one is a repeat.
    pub(super) done: Vec<(Text, Done)>,
    /// Runs under a request id that may be tried again, or told of elsewhere.
    pub(super) runs: Vec<(Text, Class)>,
    /// Workflows that it is part of.
    pub(super) executions: Vec<Text>,
    pub(super) traces: Vec<TraceId>,
}

impl Tokens {
    pub(super) fn of(ground: Ground<'_>, entry: NodeId, reach: &BTreeSet<NodeId>) -> Self {
        let mut tokens = Self::default();
        let graph = ground.graph;
        for node in reach.iter().filter_map(|id| graph.nodes.get(id)) {
            let Some(owner) = node.owners.get(&entry) else { continue };
            let known = &node.known;
            for sent in &known.sent {
                let is_ours = sent.under.as_ref().is_none_or(|under| owner.labels.has(under));
                let point = graph.messages.get(&sent.id);
                let is_taken = point.is_some_and(|point| !point.receivers.is_empty())
                    || sent.via == Via::Invoke && graph.runs_under(&sent.id).next().is_some();
                if is_ours && !is_taken {
                    let sending = Sending { at: sent.at, queue: sent.queue.clone(), via: sent.via };
                    tokens.messages.push((Text::clone(&sent.id), sending));
                }
            }
            let received = known.received.iter().filter(|message| owner.labels.has(&message.id));
            received.for_each(|message| tokens.add_taken(ground, known, message));
            if may_be_tried_again(graph, known) {
                tokens.runs.extend(known.invocation_id.clone().map(|id| (id, known.class)));
            }
            let execution = known.workflow.as_ref().map(|workflow| &workflow.execution_id);
            tokens.executions.extend(execution.cloned());
            tokens.traces.extend(&known.traces);
        }
        tokens.messages.sort_unstable();
        tokens.messages.dedup_by(|later, first| later.0 == first.0);
        tokens.again.sort_unstable();
        tokens.again.dedup();
        tokens.done.sort_unstable();
        tokens.done.dedup();
        tokens.runs.sort_unstable();
        tokens.runs.dedup();
        tokens.executions.sort_unstable();
        tokens.executions.dedup();
        tokens.traces.sort_unstable();
        tokens.traces.dedup();
        tokens
    }

    /// A message may be taken up once more after its last try: for work, where that failed or was not its
    /// first, so that what the invocation says of itself may not be what the queue was told; else for nothing.
    /// What too many took up is a constant.
    fn add_taken(&mut self, ground: Ground<'_>, known: &Known, message: &MessageRef) {
        let life = Life::of(ground, &message.id);
        let Some(idx) = life.position(&known.id) else { return };
        if life.is_superseded(idx) {
            return;
        }
        let is_good = life.outcome(idx) == Outcome::Ok;
        if !is_good || life.attempt(idx) > 1 {
            self.again.push(Text::clone(&message.id));
        }
        if is_good && message.via != Via::Invoke && life.takings.len() <= TRIES_MAX {
            let by = known.class.named(&known.function);
            self.done.push((Text::clone(&message.id), Done { by, at: known.start }));
        }
    }
}

/// Whether a run that failed may have another under its request id, or a record of its end. Who calls over
/// HTTP tries again by itself, under another id.
fn may_be_tried_again(graph: &Graph, known: &Known) -> bool {
    let Some(id) = known.invocation_id.as_deref() else { return false };
    let is_failed = known.verdict.outcome != Outcome::Ok && arrival(known) != Via::Http;
    let is_later = |run: NodeId| {
        graph.nodes.get(&run).is_some_and(|run| {
            run.known.class.agrees(known.class) && run.known.order() > known.order()
        })
    };
    is_failed && !graph.runs_under(id).any(is_later)
}

/// What a frozen invocation leaves, beside what was said of it.
#[derive(Debug)]
pub(super) struct FrozenInvocation {
    run: Run,
    class: Class,
    last: Timestamp,
    /// The place of its cell in the block.
    cell: Option<usize>,
    places: Vec<(TraceId, SpanId)>,
    keys: Vec<WeakKey>,
}

impl FrozenInvocation {
    pub(super) fn of(node: &Node, cell: Option<usize>) -> Self {
        let known = &node.known;
        Self {
            run: Run::of(known),
            class: known.class,
            last: known.over(),
            cell,
            places: known.places.iter().map(|place| (place.trace, place.span)).collect(),
            keys: Graph::keys_of(node).to_vec(),
        }
    }

    pub(super) const fn run(&self) -> &Run {
        &self.run
    }

    /// Its id stands beside what was said of it, its instance is that of one of the block's sources.
    pub(super) fn write<'a>(
        &self,
        pen: &mut Pen<'_>,
        mut sources: impl Iterator<Item = &'a Source>,
    ) {
        pen.name(&self.run.function);
        let source = sources.position(|source| source.instance == self.run.instance);
        pen.option(source.as_ref(), |pen, source| pen.length(*source));
        self.class.write_beside(pen);
        pen.time(self.run.start);
        pen.time(self.last);
        pen.option(self.cell.as_ref(), |pen, cell| pen.length(*cell));
        pen.list(&self.places, |pen, (trace, span)| {
            pen.trace_id(*trace);
            pen.span_id(*span);
        });
        pen.list(&self.keys, |pen, key| match key {
            WeakKey::Correlation(id) => {
                pen.number(0);
                pen.id(id);
            }
            WeakKey::Execution(id) => {
                pen.number(1);
                pen.id(id);
            }
            WeakKey::Trace(trace) => {
                pen.number(2);
                pen.trace_id(*trace);
            }
        });
    }

    pub(super) fn read(reader: &mut Reader<'_>, id: &Text, sources: &[Arc<Source>]) -> Self {
        let function = reader.text();
        let source = reader.option(Reader::small);
        let source = source.and_then(|source| sources.get(usize_from_u32(source)));
        let instance = source.and_then(|source| source.instance.clone());
        Self {
            class: Class::read_beside(reader, &function),
            run: Run { function, instance, start: reader.time(), id: Text::clone(id) },
            last: reader.time(),
            cell: reader.option(Reader::small).map(usize_from_u32),
            places: reader.list(|reader| (reader.trace_id(), reader.span_id())),
            keys: reader.list(|reader| match reader.number() {
                0 => WeakKey::Correlation(reader.text()),
                1 => WeakKey::Execution(reader.text()),
                _ => WeakKey::Trace(reader.trace_id()),
            }),
        }
    }
}

/// What a frozen request leaves, and when.
#[derive(Debug)]
pub(super) struct FrozenRequest {
    pub(super) due: Age,
    pub(super) tokens: Tokens,
}

impl FrozenRequest {
    pub(super) fn write(&self, pen: &mut Pen<'_>) {
        pen.duration(self.due);
        pen.list(&self.tokens.messages, |pen, (id, sending)| {
            pen.id(id);
            pen.time(sending.at);
            pen.option(sending.queue.as_ref(), Pen::name);
            pen.via(sending.via);
        });
        pen.list(&self.tokens.again, Pen::id);
        pen.list(&self.tokens.done, |pen, (id, done)| {
            pen.id(id);
            done.by.write(pen);
            pen.time(done.at);
        });
        pen.list(&self.tokens.runs, |pen, (id, class)| {
            pen.id(id);
            class.write(pen);
        });
        pen.list(&self.tokens.executions, Pen::id);
        pen.list(&self.tokens.traces, |pen, trace| pen.trace_id(*trace));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let due = reader.duration();
        let messages = reader.list(|reader| {
            let id = reader.text();
            let (at, queue) = (reader.time(), reader.option(Reader::text));
            (id, Sending { at, queue, via: reader.via() })
        });
        let again = reader.list(Reader::text);
        let done = reader
            .list(|reader| (reader.text(), Done { by: Class::read(reader), at: reader.time() }));
        let runs = reader.list(|reader| (reader.text(), Class::read(reader)));
        let executions = reader.list(Reader::text);
        let traces = reader.list(Reader::trace_id);
        Self { due, tokens: Tokens { messages, again, done, runs, executions, traces } }
    }
}

impl Engine {
    /// Lets go of frozen requests that are final by now, at most so many blocks. What is not final as a
    /// whole comes back. False where there was none.
    pub(super) fn seal_due(
        &mut self,
        n_max: usize,
        is_kept: &dyn Fn(&FinalLine<'_>) -> bool,
        changes: &mut Vec<Change>,
    ) -> bool {
        let mut n = 0;
        while n < n_max
            && let Some(id) = self.held.frozen.due(self.held.age)
        {
            if !self.seal_frozen(id, is_kept, changes) {
                self.wake(id);
            }
            n += 1;
        }
        n > 0
    }

    /// Makes the requests of a block final as if they had come back for it. False, and nothing is done,
    /// where one of them is not final yet, or where they were put away under other settings.
    fn seal_frozen(
        &mut self,
        id: BlockId,
        is_kept: &dyn Fn(&FinalLine<'_>) -> bool,
        changes: &mut Vec<Change>,
    ) -> bool {
        let frozen = &self.held.frozen;
        let Some(block) = frozen.get(id) else { return true };
        let contents = Contents::read(block.facts, frozen);
        let age = self.held.age;
        if frozen.is_of_other_settings(id) || contents.left.iter().any(|left| left.due > age) {
            return false;
        }
        let shown = if block.lines().any(|line| is_wanted(&line, frozen, is_kept)) {
            self.look_into(id)
        } else {
            Vec::new()
        };
        let mut shown: BTreeMap<Text, Request> =
            shown.into_iter().map(|request| (Text::clone(&request.id), request)).collect();
        if !shown.is_empty() && contents.requests.iter().any(|(id, _)| !shown.contains_key(id)) {
            return false;
        }
        for ((id, _), left) in contents.requests.iter().zip(&contents.left) {
            self.leave_tokens(&left.tokens, id);
            changes.push(match shown.remove(id) {
                Some(request) => {
                    Change::RequestFinal(Box::new(Request { state: State::Final, ..request }))
                }
                None => Change::RequestForgotten(Text::clone(id)),
            });
        }
        let marks = contents.cells.iter().flat_map(CellFacts::marks);
        for (identity, hash) in marks.filter_map(|mark| Some((mark.identity?, mark.hash))) {
            self.held.memory.seal_anew(identity, hash, age);
        }
        for ((_, told), own) in contents.invocations.into_iter().zip(contents.frozen) {
            let cell = own.cell.and_then(|cell| Some(&contents.cells.get(cell)?.cell));
            let (key, has_request_id) = match cell {
                Some(Cell::Run(id)) => (Some(run_key(id)), true),
                Some(Cell::Records(function, key)) => (Some(record_key(function, key)), false),
                Some(Cell::Trace(_)) | None => (None, false),
            };
            let FrozenInvocation { run, class, last, keys, .. } = own;
            for key in &keys {
                self.held.graph.count_retired(key, &run.function);
            }
            let legacy = InvocationLegacy {
                class: class_of(has_request_id, class, &run.function),
                run,
                said: told.said,
                has_init: told.init.is_some(),
                last,
                has_request_id,
                keys,
            };
            self.held.environments.seal_frozen(&legacy.run, legacy.has_init);
            let spans = own.places.iter().map(|(trace, span)| span_key(&trace.0, &span.0));
            self.leave_tombstones(&legacy, key.into_iter().chain(spans));
            self.leave_behind(legacy, changes);
        }
        self.held.frozen.wake(id);
        true
    }
}

fn is_wanted(line: &Line, frozen: &Frozen, is_kept: &dyn Fn(&FinalLine<'_>) -> bool) -> bool {
    let Line { outcome, start, end, .. } = *line;
    is_kept(&FinalLine { id: &hex(line.id), flow: frozen.flow(line.flow), outcome, start, end })
}
