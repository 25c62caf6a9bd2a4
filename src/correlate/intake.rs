//! Intake: every signal of a batch gets exactly one verdict, and its fact goes to its cell.

use std::sync::Arc;

use super::cells::Fact;
use super::class::Class;
use super::dedup::{Seen, identity_of, record_key, run_key, span_key};
use super::digest::digest;
use super::engine::{Applied, Engine};
use super::fact::{LogFact, Mark, PlatformFact, SignalId, Source, SpanFact, Tellings};
use super::graph::Cell;
use super::ledger::Verdict;
use crate::number::usize_from_u32;
use crate::signal::{
    Batch, LogRecord, Platform, PlatformStage, Signal, SignalKind, Span, Text, Timestamp,
};

/// What holding one fact costs beside the fact, about: its identity, and its share of the invocation
/// and of the indexes.
pub(super) const HOLDING_BYTES: u64 = 256;

/// A resource of the batch, as facts share it.
struct Speaker {
    source: Arc<Source>,
    hash: u64,
}

/// Where a signal belongs.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one signal")]
enum Route {
    Cell(Cell, Fact),
    /// An init: it belongs to an environment.
    Environment,
    /// It changes nothing, or belongs to nothing.
    Nowhere,
    /// Its function's count of records that name nothing to join by.
    Uncorrelated(Text),
}

impl Engine {
    pub(super) fn take_in(&mut self, batch: &Batch) -> Applied {
        let speakers: Vec<Speaker> = batch
            .resources
            .iter()
            .map(|resource| {
                let source = Source::of(resource);
                Speaker { hash: digest(&source), source: Arc::new(source) }
            })
            .collect();
        let nobody = Speaker { source: Arc::new(Source::default()), hash: 0 };
        let mut applied = Applied::default();
        let mut verdicts = Vec::with_capacity(batch.signals.len());
        for (idx, signal) in batch.signals.iter().enumerate() {
            let speaker = speakers.get(usize_from_u32(signal.resource)).unwrap_or(&nobody);
            let verdict = self.take(signal, speaker);
            if verdict == Verdict::Applied && matches!(signal.kind, SignalKind::Metric(_)) {
                applied.metrics.push(idx);
            }
            verdicts.push(verdict);
        }
        self.held.ledger.each(batch, &verdicts);
        applied
    }

    fn take(&mut self, signal: &Signal, speaker: &Speaker) -> Verdict {
        if !self.held.frozen.is_empty() {
            self.wake_for(&signal.kind, &speaker.source);
        }
        let identity = identity_of(signal.identity, &signal.kind);
        let hash = digest(&signal.kind) ^ speaker.hash.rotate_left(17);
        let age = self.held.age;
        let seen = match (&signal.kind, identity) {
            (SignalKind::Span(span), _) => self.seen_span(span, hash),
            (SignalKind::Log(_), Some(id)) => match self.seen_by_identity(id, hash) {
                Seen::New if self.wake_told(id) => self.seen_by_identity(id, hash),
                seen => seen,
            },
            (_, Some(id)) => self.seen_by_identity(id, hash),
            (_, None) => Seen::New,
        };
        let mark = Mark { identity, hash, age, bytes: 0 };
        match seen {
            Seen::Duplicate => return Verdict::Duplicate,
            Seen::Late => return Verdict::Late,
            Seen::Conflict => {
                let route = route(&signal.kind, &speaker.source, mark, &mut self.tellings);
                self.resolve(route, mark);
                return Verdict::Conflict;
            }
            Seen::New => {}
        }
        if self.belongs_to_final(&signal.kind, &speaker.source) {
            return Verdict::Late;
        }
        match route(&signal.kind, &speaker.source, mark, &mut self.tellings) {
            Route::Cell(cell, Fact::Log(fact)) if self.held.cells.is_full_of_records(&cell) => {
                let name = fact.function_or_service().cloned();
                self.count_uncorrelated_record(name, &signal.kind);
                self.pass(mark)
            }
            Route::Cell(cell, fact) => self.hold(&cell, fact),
            Route::Environment => {
                if let (SignalKind::Platform(event), Some(name)) =
                    (&signal.kind, speaker.source.name())
                {
                    let instance = speaker.source.instance.clone();
                    self.held.environments.add(Text::clone(name), instance, event, age);
                }
                self.pass(mark)
            }
            Route::Nowhere => self.pass(mark),
            Route::Uncorrelated(function) => {
                self.count_uncorrelated_record(Some(function), &signal.kind);
                self.pass(mark)
            }
        }
    }

    fn count_uncorrelated_record(&mut self, function: Option<Text>, kind: &SignalKind) {
        let function = function.unwrap_or_else(|| Text::from("unknown"));
        let key = (function, kind.event_time().as_secs());
        *self.held.uncorrelated.entry(key).or_default() += 1;
    }

    /// Judges a span: it is known by its ids, so its trace tells whether it is held.
    fn seen_span(&self, span: &Span, hash: u64) -> Seen {
        match self.held.cells.span_hash(&span.trace_id, span.span_id) {
            Some(held) if held == hash => Seen::Duplicate,
            Some(_) => Seen::Conflict,
            None if self.held.memory.is_span_buried(&span.trace_id, span.span_id) => Seen::Late,
            None => Seen::New,
        }
    }

    fn seen_by_identity(&self, identity: SignalId, hash: u64) -> Seen {
        let lateness = self.rules.config.allowed_lateness;
        self.held.memory.signal(identity, hash, lateness, self.held.age)
    }

    fn pass(&mut self, mark: Mark) -> Verdict {
        if let Some(identity) = mark.identity {
            self.held.memory.pass(identity, mark.hash, mark.age);
        }
        Verdict::Applied
    }

    fn hold(&mut self, cell: &Cell, fact: Fact) -> Verdict {
        if self.is_full() && !self.held.cells.has(cell) {
            let (_, n) = self.held.notes.dropped.get_or_insert((self.held.now, 0));
            *n += 1;
            return Verdict::Dropped("memory");
        }
        let mark = *fact.mark();
        self.held.bytes += u64::from(mark.bytes) + HOLDING_BYTES;
        if let Some(identity) = mark.identity {
            self.held.memory.hold(identity, mark.hash, cell.clone());
        }
        self.held.cells.insert(cell, fact);
        Verdict::Applied
    }

    /// Two tellings of one fact: the lesser encoding wins, whichever came first.
    fn resolve(&mut self, route: Route, mark: Mark) {
        let Route::Cell(cell, new) = route else { return };
        let (place, old) = match (&new, mark.identity) {
            (Fact::Span(span), _) => {
                (cell.clone(), self.held.cells.take_span(span.trace, span.span))
            }
            (_, Some(identity)) => {
                let Some(place) = self.held.memory.place(identity).cloned() else { return };
                let old = self.held.cells.take_fact(&place, identity);
                (place, old)
            }
            (_, None) => return,
        };
        let Some(old) = old else { return };
        let before = u64::from(old.mark().bytes);
        let (cell, fact) =
            if new.canonical() < old.canonical() { (cell, new) } else { (place, old) };
        self.held.bytes += u64::from(fact.mark().bytes);
        self.held.bytes = self.held.bytes.saturating_sub(before);
        if let Some(identity) = mark.identity {
            self.held.memory.hold(identity, fact.mark().hash, cell.clone());
        }
        self.held.cells.insert(&cell, fact);
    }

    /// Whether the invocation that a signal belongs to is final and gone.
    fn belongs_to_final(&self, kind: &SignalKind, source: &Source) -> bool {
        let memory = &self.held.memory;
        match kind {
            SignalKind::Metric(_) => false,
            SignalKind::Platform(event) => {
                let began = event.time.saturating_sub(event.duration.unwrap_or_default());
                let id = event.invocation_id.as_ref();
                let class = || Class::told(source.function.as_ref(), source);
                id.is_some_and(|id| memory.is_buried(run_key(id), class, began))
            }
            SignalKind::Span(span) => {
                let function = span.facts.function.as_ref().or(source.function.as_ref());
                if let Some(id) = &span.facts.invocation_id {
                    let class = || Class::told(function, source);
                    return memory.is_buried(run_key(id), class, span.start);
                }
                let parent =
                    span.parent_id.filter(|_| span.kind != crate::signal::SpanKind::Server);
                let key = parent.map(|parent| span_key(&span.trace_id.0, &parent.0));
                let class = || Class::told(function.or(source.name()), source);
                key.is_some_and(|key| memory.is_buried(key, class, Timestamp::EPOCH))
            }
            SignalKind::Log(record) => self.record_belongs_to_final(record, source),
        }
    }

    fn record_belongs_to_final(&self, record: &LogRecord, source: &Source) -> bool {
        let memory = &self.held.memory;
        let function = record.facts.function.as_ref().or(source.function.as_ref());
        let class = || Class::told(function, source);
        if let Some(id) = &record.facts.invocation_id {
            return memory.is_buried(run_key(id), class, record.time);
        }
        if let Some(trace) = record.trace {
            let key = trace.span_id.map(|span| span_key(&trace.trace_id.0, &span.0));
            return key.is_some_and(|key| memory.is_buried(key, class, Timestamp::EPOCH));
        }
        let name = record.facts.function.as_ref().or(source.name());
        joining_key(record).is_some_and(|key| {
            let name = name.map_or("unknown", |name| name);
            memory.is_buried(record_key(name, &key), Class::default, record.time)
        })
    }
}

fn route(kind: &SignalKind, source: &Arc<Source>, mark: Mark, tellings: &mut Tellings) -> Route {
    match kind {
        SignalKind::Metric(_) => Route::Nowhere,
        SignalKind::Span(span) => route_span(span, source, mark, tellings),
        SignalKind::Platform(event) => route_platform(event, source, mark),
        SignalKind::Log(record) => route_record(record, source, mark, tellings),
    }
}

fn route_span(span: &Span, source: &Arc<Source>, mark: Mark, tellings: &mut Tellings) -> Route {
    let fact = SpanFact::new(span, Arc::clone(source), mark, tellings);
    Route::Cell(Cell::Trace(span.trace_id), Fact::Span(fact))
}

fn route_platform(event: &Platform, source: &Arc<Source>, mark: Mark) -> Route {
    let is_init = matches!(event.stage, PlatformStage::InitStart | PlatformStage::InitReport);
    match &event.invocation_id {
        _ if matches!(event.stage, PlatformStage::LogsDropped | PlatformStage::Other) => {
            Route::Nowhere
        }
        None if is_init => Route::Environment,
        None => Route::Nowhere,
        Some(id) => {
            let fact = PlatformFact::new(event, Arc::clone(source), mark);
            Route::Cell(Cell::Run(Text::clone(id)), Fact::Platform(fact))
        }
    }
}

fn route_record(
    record: &LogRecord,
    source: &Arc<Source>,
    mark: Mark,
    tellings: &mut Tellings,
) -> Route {
    let mut fact = || Fact::Log(LogFact::new(record, Arc::clone(source), mark, tellings));
    if let Some(id) = &record.facts.invocation_id {
        return Route::Cell(Cell::Run(Text::clone(id)), fact());
    }
    if let Some(trace) = record.trace {
        return Route::Cell(Cell::Trace(trace.trace_id), fact());
    }
    let function = record.facts.function.as_ref().or(source.name()).cloned();
    let function = function.unwrap_or_else(|| Text::from("unknown"));
    match joining_key(record) {
        Some(key) => Route::Cell(Cell::Records(function, key), fact()),
        None => Route::Uncorrelated(function),
    }
}

/// What joins a record that names neither invocation nor trace: its correlation id, else its
/// workflow's execution, else a message. Of several the least, so that order cannot matter.
fn joining_key(record: &LogRecord) -> Option<Text> {
    let facts = &record.facts;
    let execution = || facts.workflow.as_ref().map(|workflow| Text::clone(&workflow.execution_id));
    let received = || facts.received.iter().map(|message| Text::clone(&message.id)).min();
    let sent = || facts.sent.iter().map(|message| Text::clone(&message.id)).min();
    let correlation = facts.correlation_ids.iter().min().cloned();
    correlation.or_else(execution).or_else(received).or_else(sent)
}
