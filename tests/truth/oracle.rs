//! The naive oracle: signals in, invocations and who caused whom out, in the shortest way that the rules can
//! be written down, everything compared with everything, and no code shared with the engine. What requests
//! add up to is on its other page, `measured`. It knows what the simulator's workloads hold: invocations are
//! named by their request id, causes form no rings, and nothing waits for an hour but for a person.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use PlatformStage::{InitReport, Report, RuntimeDone};
use PlatformStatus::Success;
use throughline::signal::{
    Batch, Facts, MessageRef, PlatformStage, PlatformStatus, Timestamp, Workflow,
};
use throughline::simulate::scenario;

use crate::said::{Function, Part, beginning, unique};

/// Entries of one function under one key; more are strangers to each other.
const ENTRIES_MAX: usize = 20;
/// What comes after so much silence only continues what was.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);
/// Lambda's prices (x86).
const GB_SECOND_USD: f64 = 0.000_016_666_7;
const INVOCATION_USD: f64 = 0.000_000_2;
const FEMTO: f64 = 1e15;
/// What proves a cause, the strongest first.
pub(crate) const PROOFS: [&str; 4] = ["Trace", "Link", "MessageId", "CorrelationId"];

/// A cause, the message that it sent, the message under which it sent that, and what proves it.
pub(crate) type Edge<'a> = (usize, Option<&'a str>, Option<&'a str>, usize);

/// A run, or one message of it.
pub(crate) type Piece<'a> = (usize, Option<&'a str>);
/// A message as one run took it up.
#[derive(Default)]
pub(crate) struct Taken<'a> {
    pub(crate) is_dead: bool,
    pub(crate) queue: Option<&'a str>,
    /// Of a dead letter: where it was before.
    source: Option<String>,
    pub(crate) is_good: bool,
    pub(crate) sent: Option<Timestamp>,
    pub(crate) n_receives: Option<u32>,
}

impl Taken<'_> {
    /// Whether a message that failed here may be what was read from a dead-letter queue there.
    pub(crate) fn falls_to(&self, letter: &Self) -> bool {
        let is_other = |source: &String| self.queue.is_some_and(|queue| *queue != **source);
        letter.is_dead && !self.is_dead && !letter.source.as_ref().is_some_and(is_other)
    }
}

pub(crate) struct Run<'a> {
    pub(crate) name: (Function<'a>, &'a str),
    /// Under its name, from 1.
    pub(crate) n: usize,
    /// Hours of silence before it.
    pub(crate) era: usize,
    pub(crate) parts: Vec<Part<'a>>,
    pub(crate) times: (Timestamp, Timestamp),
    pub(crate) init: Option<(Timestamp, Timestamp)>,
    pub(crate) is_good: bool,
    /// In femto-dollars.
    pub(crate) cost: Option<f64>,
    pub(crate) received: BTreeMap<&'a str, Taken<'a>>,
    pub(crate) causes: BTreeSet<Edge<'a>>,
}

impl<'a> Run<'a> {
    pub(crate) fn facts(&self) -> impl Iterator<Item = &'a Facts> {
        self.parts.iter().filter_map(|part| part.said.facts)
    }
    pub(crate) fn step(&self) -> Option<&'a Workflow> {
        self.facts().find_map(|facts| facts.workflow.as_ref())
    }
    /// What it sent, in which part of it.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&'a MessageRef, &Part<'a>)> {
        self.parts.iter().flat_map(|part| {
            let sent = part.said.facts.map_or(&[][..], |facts| &facts.sent).iter();
            sent.map(move |message| (message, part))
        })
    }
    pub(crate) fn label(&self) -> String {
        format!("{} {} {}", self.name.0.0, self.name.1, self.times.0)
    }
}

/// Invocations in order of time; attempts under one request id are told apart by their starts.
fn runs(batches: &[Batch]) -> Vec<Run<'_>> {
    let all = unique(batches);
    let mut groups: BTreeMap<_, Vec<Part<'_>>> = BTreeMap::new();
    for part in &all {
        let Some(id) = part.said.invocation else { continue };
        groups.entry((part.said.function, id)).or_default().push(*part);
    }
    let mut runs = Vec::new();
    for (name, parts) in groups {
        let mut starts: Vec<Timestamp> = parts.iter().filter_map(beginning).collect();
        starts.sort();
        starts.dedup_by(|later, first| later.since(*first) <= Duration::from_secs(1));
        let n_of = |p: &&Part<'_>| starts.iter().filter(|s| **s <= p.said.times.0).count().max(1);
        for n in 1..=starts.len().max(1) {
            let own = parts.iter().filter(|part| n_of(part) == n).copied().collect();
            runs.push(Run { n, ..run(name, own, &all) });
        }
    }
    runs.sort_by_key(|run| (run.times.0, run.name));
    let mut last = runs.first().map_or(Timestamp::EPOCH, |run| run.times.1);
    let mut era = 0;
    for run in &mut runs {
        era += usize::from(run.times.0.since(last) > FORGOTTEN_AFTER);
        (run.era, last) = (era, last.max(run.times.1));
    }
    runs
}

fn run<'a>(name: (Function<'a>, &'a str), parts: Vec<Part<'a>>, all: &[Part<'a>]) -> Run<'a> {
    let of = |stage| parts.iter().filter_map(|p| p.said.event).filter(move |e| e.stage == stage);
    let ends = || of(Report).chain(of(RuntimeDone));
    let lasted = ends().find_map(|event| event.duration);
    let done = ends().map(|event| event.time).max();
    let first = parts.iter().filter_map(beginning).min();
    let first = first.or(done.map(|done| done.saturating_sub(lasted.unwrap_or_default())));
    let start = first.or(parts.iter().map(|part| part.said.times.0).min()).expect("some parts");
    let heads = || parts.iter().filter_map(|part| part.head);
    let last = heads().map(|head| head.end).max().or(done);
    let last = last.or(parts.iter().map(|part| part.said.times.1).max());
    let end = lasted.map(|lasted| start.saturating_add(lasted)).or(last).unwrap_or(start);
    // The init that the report tells, or the one of its environment that had just ended.
    let place = |part: &Part<'a>| Some((part.said.function, part.said.by.instance.as_deref()?));
    let here = parts.iter().find_map(place);
    let soon = start.saturating_add(Duration::from_millis(1));
    let nearby = all.iter().filter(|part| here.is_some() && place(part) == here);
    let inits = nearby.filter_map(|p| p.said.event).filter(|event| event.stage == InitReport);
    let mut before = inits.filter(|e| e.time <= soon && soon.since(e.time).as_millis() < 3);
    let own = parts.iter().find_map(|part| part.said.event?.init_duration);
    let before = before.find_map(|event| Some((event.time.min(start), event.duration?)));
    let init = before.map(|(end, lasted)| (end, own.unwrap_or(lasted)));
    let init = init
        .or(own.map(|lasted| (start, lasted)))
        .map(|(end, lasted)| (end.saturating_sub(lasted), end));
    let mut received: BTreeMap<&str, Taken<'_>> = BTreeMap::new();
    for (part, facts) in parts.iter().filter_map(|part| Some((part, part.said.facts?))) {
        for message in &facts.received {
            let own =
                received.entry(&*message.id).or_insert(Taken { is_good: true, ..Taken::default() });
            let mut queues = scenario::queues().into_iter();
            let known = queues.find(|queue| queue.dlq.is_some() && queue.dlq == message.queue);
            let source = message.dead_letter_source.as_ref().map(ToString::to_string);
            let source = source.or(known.map(|queue| queue.name.to_string()));
            own.is_dead |= source.is_some();
            own.source = own.source.take().or(source);
            own.queue = own.queue.or(message.queue.as_deref());
            own.is_good &= facts.error.is_none() || part.head.is_some();
            own.sent = own.sent.into_iter().chain(message.sent).min();
            own.n_receives = own.n_receives.max(message.receive_count);
        }
    }
    // The platform is believed before spans, spans before records; who names one message of many in a
    // record blames that message alone.
    let told = ends().filter_map(|e| Some((e.stage == Report, e.status? != Success))).max();
    let is_for_all = |facts: &Facts| facts.received.is_empty() || received.len() == 1;
    let mut records = parts.iter().filter(|p| p.said.span.is_none()).filter_map(|p| p.said.facts);
    let is_good = match told {
        Some((_, is_bad)) => !is_bad,
        None if heads().next().is_some() => !heads().any(|head| head.failed),
        None => !records.any(|facts| facts.error.is_some() && is_for_all(facts)),
    };
    received.values_mut().for_each(|own| own.is_good &= is_good);
    let cost = cost(name.0.0, &parts);
    let (times, causes) = ((start, end), BTreeSet::new());
    Run { name, n: 1, era: 0, parts, times, init, is_good, cost, received, causes }
}

/// In femto-dollars: by what the platform bills, and the memory that it or the settings tell.
fn cost(function: &str, parts: &[Part<'_>]) -> Option<f64> {
    let mut events: Vec<_> = parts.iter().filter_map(|part| part.said.event).collect();
    events.sort_by_key(|event| event.time);
    let billed = events.iter().rev().find_map(|event| event.billed)?;
    let told = events.iter().rev().find_map(|event| event.memory_size_bytes);
    let told = told.or(parts.iter().find_map(|part| part.said.by.memory_bytes));
    let mut known = scenario::functions().into_iter().filter(|known| *known.name == *function);
    let bytes = told.or(known.next().and_then(|known| known.memory_bytes))?;
    let gb = f64::from(u32::try_from(bytes >> 20).expect("megabytes")) / 1024.0;
    Some(((billed.as_secs_f64() * gb * GB_SECOND_USD + INVOCATION_USD) * FEMTO).round())
}

/// What a run names as its cause: spans, or messages by their ids; the message that came that way, and
/// what that proves.
fn asked<'a>(run: &Run<'a>) -> BTreeSet<(String, Option<&'a str>, usize)> {
    let one = run.received.keys().copied().next().filter(|_| run.received.len() == 1);
    let by_id = run.received.keys().map(|id| (id.to_string(), Some(*id), 2));
    let mut asked: BTreeSet<_> = by_id.collect();
    for part in &run.parts {
        let header = part.said.event.and_then(|event| event.trace);
        let header = header.and_then(|to| Some(format!("{} {}", to.trace_id, to.span_id?)));
        let parent = part.head.and_then(|s| Some(format!("{} {}", s.trace_id, s.parent_id?)));
        asked.extend(header.into_iter().chain(parent).map(|span| (span, one, 0)));
        let own = match part.said.facts.map_or(&[][..], |facts| &facts.received) {
            [message] => Some(&*message.id),
            _ => part.under,
        };
        for link in part.said.span.map_or(&[][..], |span| &span.links) {
            let message = link.message_id.as_deref().or(own).or(one);
            asked.insert((format!("{} {}", link.trace_id, link.span_id), message, 1));
        }
    }
    asked
}

/// Causes by trace, link and message id; where a parent's message is known, the parent only proves that. What
/// none of these caused and runs again under its request id follows its last run.
fn add_strong<'a>(runs: &mut [Run<'a>]) {
    let mut offered: BTreeMap<String, Vec<(usize, Option<&'a str>)>> = BTreeMap::new();
    for (at, run) in runs.iter().enumerate() {
        let spans = run.parts.iter().filter_map(|part| Some((part.said.span?, part.under)));
        let spans = spans.map(|(s, under)| (format!("{} {}", s.trace_id, s.span_id), under));
        let sent = run.sent().map(|(message, part)| (message.id.to_string(), part.under));
        for (token, under) in spans.chain(sent) {
            offered.entry(token).or_default().push((at, under));
        }
    }
    for (at, run) in runs.iter_mut().enumerate() {
        let mut found: BTreeMap<Piece<'a>, (Option<&'a str>, usize)> = BTreeMap::new();
        for (token, message, proof) in asked(run) {
            let others = offered.get(&token).into_iter().flatten();
            for (cause, under) in others.filter(|(cause, _)| *cause != at) {
                let known = found.entry((*cause, message)).or_insert((*under, proof));
                *known = (known.0.or(*under), known.1.min(proof));
            }
        }
        let general = |cause| found.get(&(cause, None)).map(|known| known.1);
        let named: BTreeSet<_> = found.keys().filter(|p| p.1.is_some()).map(|p| p.0).collect();
        let edges = found.iter().map(|(&(cause, message), &(under, proof))| {
            (cause, message, under, general(cause).map_or(proof, |other| proof.min(other)))
        });
        run.causes = edges.filter(|e| e.1.is_some() || !named.contains(&e.0)).collect();
    }
    for at in 0..runs.len() {
        let name = runs[at].name;
        let before = runs[..at].iter().rposition(|run| run.name == name);
        let run = &mut runs[at];
        run.causes.extend(before.filter(|_| run.causes.is_empty()).map(|at| (at, None, None, 2)));
    }
}

/// Whether one of a trace's entries would be a stranger to the first of them: it says that the trace began
/// with it, or the two speak of different things.
fn is_stranger(first: &Run<'_>, other: &Run<'_>, trace: &str) -> bool {
    let here = |id: &dyn std::fmt::Display| format!("trace {id}") == trace;
    let heads = || other.parts.iter().filter_map(|p| p.head).filter(|s| here(&s.trace_id));
    let headers = other.parts.iter().filter_map(|part| part.said.event?.trace);
    let mut callers = headers.filter(|to| here(&to.trace_id) && to.span_id.is_some());
    let is_called = callers.next().is_some() || heads().any(|head| head.parent_id.is_some());
    let ids = |run: &Run<'_>| -> BTreeSet<String> {
        run.facts().flat_map(|facts| &facts.correlation_ids).map(ToString::to_string).collect()
    };
    let (ours, theirs) = (ids(first), ids(other));
    let differ = !ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(&theirs);
    differ || (heads().next().is_some() && !is_called)
}

/// What carries the same correlation id, execution or trace was caused by the first that does.
fn add_weak(runs: &mut [Run<'_>]) {
    let mut carriers: BTreeMap<(bool, String, usize), BTreeSet<usize>> = BTreeMap::new();
    for (at, run) in runs.iter().enumerate().filter(|(_, run)| run.causes.is_empty()) {
        let ids = run.facts().flat_map(|facts| &facts.correlation_ids).map(ToString::to_string);
        let traces = run.parts.iter().filter_map(|p| Some(format!("trace {}", p.said.trace?)));
        let execution = run.step().map(|step| (false, step.execution_id.to_string()));
        for key in ids.chain(traces).map(|key| (true, key)).chain(execution) {
            carriers.entry((key.0, key.1, run.era)).or_default().insert(at);
        }
    }
    for ((is_bounded, key, _), members) in carriers {
        let cause = *members.first().expect("somebody carries it");
        let is_like = |at: &&usize| runs[**at].name.0 == runs[cause].name.0;
        let is_few = members.iter().filter(is_like).count() <= ENTRIES_MAX;
        for at in members.into_iter().skip(1).filter(|_| is_few || !is_bounded) {
            let is_trace = is_bounded && key.starts_with("trace ");
            if !(is_trace && is_stranger(&runs[cause], &runs[at], &key)) {
                runs[at].causes.insert((cause, None, None, if is_trace { 0 } else { 3 }));
            }
        }
    }
}

/// Invocations in order of time, with their causes.
pub(crate) fn joined(batches: &[Batch]) -> Vec<Run<'_>> {
    let mut runs = runs(batches);
    add_strong(&mut runs);
    add_weak(&mut runs);
    runs
}
