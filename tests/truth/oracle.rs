//! The naive oracle: signals in, requests out, in the shortest way that the rules can be written down.
//!
//! It holds everything, compares everything with everything and shares no code with the engine. It knows
//! what the simulator's workloads hold: invocations are named by their platform request id, causes form
//! no rings, and no key is quarantined but by its number of entries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use PlatformStage::{InitReport, Report, RuntimeDone, Start};
use PlatformStatus::Success;
use throughline::signal::{
    Batch, Facts, PlatformStage, PlatformStatus, Span, SpanKind, Timestamp, Workflow,
};
use throughline::simulate::scenario;

use crate::against_oracle::Found;
use crate::said::{Said, all};

/// Entries of one function under one key; more are strangers to each other.
const ENTRIES_MAX: usize = 20;

/// What is said in an invocation; the span that begins it; the message that a span works on.
#[derive(Clone, Copy)]
struct Part<'a> {
    said: Said<'a>,
    head: Option<&'a Span>,
    under: Option<&'a str>,
}

/// When its invocation began, where it tells that.
fn beginning(part: &Part<'_>) -> Option<Timestamp> {
    let started = part.said.event.is_some_and(|event| event.stage == Start);
    (started || part.head.is_some()).then_some(part.said.times.0)
}

/// Every signal once; only records without an identity may come again.
fn unique(batches: &[Batch]) -> Vec<Part<'_>> {
    let (mut deliveries, mut identities) = (BTreeSet::new(), BTreeSet::new());
    let new = |batch: &&Batch| batch.declared_id.is_none_or(|id| deliveries.insert(id));
    let (mut spans, mut parts) = (BTreeMap::new(), Vec::new());
    for said in batches.iter().filter(new).flat_map(all) {
        if let Some(span) = said.span {
            spans.insert((span.trace_id, span.span_id), (span, said));
        } else if said.identity.is_none_or(|identity| identities.insert(identity)) {
            parts.push(Part { said, head: None, under: None });
        }
    }
    for (span, said) in spans.values() {
        let (mut at, mut under) = (*span, None);
        // Up to the span that has an invocation of its own, or no parent in its resource.
        while at.facts.invocation_id.is_none() && at.kind != SpanKind::Server {
            let above = at.parent_id.and_then(|id| spans.get(&(at.trace_id, id)));
            let Some((above, _)) = above.filter(|(_, other)| other.by == said.by) else { break };
            if let (None, SpanKind::Consumer, [message]) = (under, at.kind, &*at.facts.received) {
                under = Some(&*message.id);
            }
            at = above;
        }
        let invocation = said.invocation.or(at.facts.invocation_id.as_deref());
        let head = (at.span_id == span.span_id).then_some(at);
        parts.push(Part { said: Said { invocation, ..*said }, head, under });
    }
    parts
}

/// A cause, the message that it sent, and the message under which it sent that.
type Edge<'a> = (usize, Option<&'a str>, Option<&'a str>);
/// A run, or one message of it.
type Piece<'a> = (usize, Option<&'a str>);

struct Run<'a> {
    name: (&'a str, &'a str),
    parts: Vec<Part<'a>>,
    times: (Timestamp, Timestamp),
    init: Duration,
    is_good: bool,
    /// Messages: whether from a dead-letter queue, whether they went well.
    received: BTreeMap<&'a str, (bool, bool)>,
    causes: BTreeSet<Edge<'a>>,
}

impl<'a> Run<'a> {
    fn facts(&self) -> impl Iterator<Item = &'a Facts> {
        self.parts.iter().filter_map(|part| part.said.facts)
    }
    fn step(&self) -> Option<&'a Workflow> {
        self.facts().find_map(|facts| facts.workflow.as_ref())
    }
    /// What it sent, to where, and under which message.
    fn sent(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>, Option<&'a str>)> {
        self.parts.iter().flat_map(|part| {
            let sent = part.said.facts.map_or(&[][..], |facts| &facts.sent).iter();
            sent.map(|message| (&*message.id, message.queue.as_deref(), part.under))
        })
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
            runs.push(run(name, parts.iter().filter(|p| n_of(p) == n).copied().collect(), &all));
        }
    }
    runs.sort_by_key(|run| (run.times.0, run.name));
    runs
}

fn run<'a>(name: (&'a str, &'a str), parts: Vec<Part<'a>>, all: &[Part<'a>]) -> Run<'a> {
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
    let init = own.or_else(|| before.find_map(|event| event.duration)).unwrap_or_default();
    let mut received: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for (part, facts) in parts.iter().filter_map(|part| Some((part, part.said.facts?))) {
        for message in &facts.received {
            let (is_dead, failed) = received.entry(&*message.id).or_default();
            let mut queues = scenario::queues().into_iter();
            let from_dlq = queues.any(|q| q.dlq.is_some() && q.dlq == message.queue);
            *is_dead |= message.dead_letter_source.is_some() || from_dlq;
            *failed |= facts.error.is_some() && part.head.is_none();
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
    received.values_mut().for_each(|own| own.1 = is_good && !own.1);
    Run { name, parts, times: (start, end), init, is_good, received, causes: BTreeSet::new() }
}

/// What a run names as its cause: spans, or messages by their ids, and the message that came that way.
fn asked<'a>(run: &Run<'a>) -> BTreeSet<(String, Option<&'a str>)> {
    let one = run.received.keys().copied().next().filter(|_| run.received.len() == 1);
    let by_id = run.received.keys().map(|id| (id.to_string(), Some(*id)));
    let mut asked: BTreeSet<_> = by_id.collect();
    for part in &run.parts {
        let header = part.said.event.and_then(|event| event.trace);
        let header = header.and_then(|to| Some(format!("{} {}", to.trace_id, to.span_id?)));
        let parent = part.head.and_then(|s| Some(format!("{} {}", s.trace_id, s.parent_id?)));
        asked.extend(header.into_iter().chain(parent).map(|span| (span, one)));
        let own = match part.said.facts.map_or(&[][..], |facts| &facts.received) {
            [message] => Some(&*message.id),
            _ => part.under,
        };
        for link in part.said.span.map_or(&[][..], |span| &span.links) {
            let message = link.message_id.as_deref().or(own).or(one);
            asked.insert((format!("{} {}", link.trace_id, link.span_id), message));
        }
    }
    asked
}

/// Causes by trace, link and message id; a span's parent belongs to no message in particular, so where
/// its sender is known by a message it says no more.
fn add_strong<'a>(runs: &mut [Run<'a>]) {
    let mut offered: BTreeMap<String, Vec<(usize, Option<&'a str>)>> = BTreeMap::new();
    for (at, run) in runs.iter().enumerate() {
        let spans = run.parts.iter().filter_map(|part| Some((part.said.span?, part.under)));
        let spans = spans.map(|(s, under)| (format!("{} {}", s.trace_id, s.span_id), under));
        for (token, under) in spans.chain(run.sent().map(|(id, _, under)| (id.to_owned(), under))) {
            offered.entry(token).or_default().push((at, under));
        }
    }
    for (at, run) in runs.iter_mut().enumerate() {
        let mut found: BTreeMap<Piece<'a>, Option<&'a str>> = BTreeMap::new();
        for (token, message) in asked(run) {
            let others =
                offered.get(&token).into_iter().flatten().filter(|(cause, _)| *cause != at);
            for (cause, under) in others {
                let known = found.entry((*cause, message)).or_insert(*under);
                *known = known.or(*under);
            }
        }
        let named: BTreeSet<_> = found.keys().filter(|p| p.1.is_some()).map(|p| p.0).collect();
        let edges = found.into_iter().map(|((cause, message), under)| (cause, message, under));
        run.causes = edges.filter(|e| e.1.is_some() || !named.contains(&e.0)).collect();
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
    let mut carriers: BTreeMap<(bool, String), BTreeSet<usize>> = BTreeMap::new();
    for (at, run) in runs.iter().enumerate().filter(|(_, run)| run.causes.is_empty()) {
        let ids = run.facts().flat_map(|facts| &facts.correlation_ids).map(ToString::to_string);
        let traces = run.parts.iter().filter_map(|p| Some(format!("trace {}", p.said.trace?)));
        let execution = run.step().map(|step| (false, step.execution_id.to_string()));
        for key in ids.chain(traces).map(|key| (true, key)).chain(execution) {
            carriers.entry(key).or_default().insert(at);
        }
    }
    for ((is_bounded, key), members) in carriers {
        let cause = *members.first().expect("somebody carries it");
        let is_like = |at: &&usize| runs[**at].name.0 == runs[cause].name.0;
        let is_few = members.iter().filter(is_like).count() <= ENTRIES_MAX;
        for at in members.into_iter().skip(1).filter(|_| is_few || !is_bounded) {
            let is_trace = is_bounded && key.starts_with("trace ");
            if !(is_trace && is_stranger(&runs[cause], &runs[at], &key)) {
                runs[at].causes.insert((cause, None, None));
            }
        }
    }
}

/// What nothing caused follows the try before it of a message that nobody sent; the reader of a dead-letter
/// queue follows the last that failed with it. A batch that is a part of others has no such tries.
fn add_tries(runs: &mut [Run<'_>]) {
    let sent: BTreeSet<&str> = runs.iter().flat_map(|run| run.sent().map(|sent| sent.0)).collect();
    let mut found = Vec::new();
    for (at, run) in runs.iter().enumerate().filter(|(_, run)| run.causes.is_empty()) {
        for (&id, &(is_dead, _)) in run.received.iter().filter(|(id, _)| !sent.contains(*id)) {
            let has = |e: &Edge<'_>| e.1.is_none_or(|own| own == id);
            let holds = |run: &Run<'_>| run.causes.is_empty() || run.causes.iter().any(has);
            let tried = |of: &dyn Fn(&Run<'_>, (bool, bool)) -> bool| {
                let is_try = |run: &Run<'_>| Some(of(run, *run.received.get(id)?) && holds(run));
                runs[..at].iter().rposition(|run| is_try(run) == Some(true))
            };
            let own = tried(&|other, own| other.name.0 == run.name.0 && own.0 == is_dead);
            let failed = || tried(&|_, (other_dead, is_good)| is_dead && !other_dead && !is_good);
            let any = || tried(&|_, (other_dead, _)| is_dead && !other_dead);
            found.extend(own.or_else(failed).or_else(any).map(|cause| (at, cause, id)));
        }
    }
    for (at, cause, id) in found {
        runs[at].causes.insert((cause, Some(id), Some(id)));
    }
}

/// All that an entry caused.
fn reach<'a>(runs: &[Run<'a>], entry: usize) -> BTreeSet<Piece<'a>> {
    let (mut held, mut rest) = (BTreeSet::from([(entry, None)]), vec![(entry, None)]);
    while let Some((from, piece)) = rest.pop() {
        let is_sent = |id| runs[from].causes.iter().any(|edge| edge.1 == Some(id));
        for (at, run) in runs.iter().enumerate().filter(|(at, _)| *at != entry) {
            for (_, message, under) in run.causes.iter().filter(|edge| edge.0 == from) {
                let passes = under.is_none_or(|id| piece == Some(id) || !is_sent(id));
                if (piece.is_none() || passes) && held.insert((at, *message)) {
                    rest.push((at, *message));
                }
            }
        }
    }
    held
}

pub(crate) fn requests(batches: &[Batch]) -> Vec<Found> {
    let mut runs = runs(batches);
    add_strong(&mut runs);
    add_weak(&mut runs);
    add_tries(&mut runs);
    let entries = (0..runs.len()).filter(|at| runs[*at].causes.is_empty());
    entries.map(|entry| request(&runs, entry, &reach(&runs, entry))).collect()
}

/// Who took a message up, the last first: whether from a dead-letter queue, whether that went well.
fn takers<'r>(runs: &'r [Run<'_>], id: &'r str) -> impl Iterator<Item = &'r (bool, bool)> {
    runs.iter().rev().filter_map(move |run| run.received.get(id))
}

fn request(runs: &[Run<'_>], entry: usize, held: &BTreeSet<Piece<'_>>) -> Found {
    let is_read = |queue: Option<&str>| {
        let mut read = runs.iter().flat_map(Run::facts).flat_map(|facts| &facts.received);
        let is_known = scenario::queues().iter().any(|known| Some(&*known.name) == queue);
        queue.is_some() && (is_known || read.any(|message| message.queue.as_deref() == queue))
    };
    let (mut hops, mut last, mut is_good) = (BTreeSet::new(), BTreeMap::new(), true);
    for (at, run) in runs.iter().enumerate().filter(|(at, _)| held.iter().any(|p| p.0 == *at)) {
        let has = |id: &str| held.contains(&(at, None)) || held.contains(&(at, Some(id)));
        let ours: BTreeMap<_, _> = run.received.iter().filter(|(id, _)| has(id)).collect();
        let mut tries: Vec<_> = ours.iter().map(|(id, own)| (id.to_string(), own.1)).collect();
        if tries.is_empty() {
            let step = run.step().map(|step| format!("{} {}", step.execution_id, step.state));
            tries.push((step.unwrap_or(run.name.1.to_owned()), run.is_good));
        }
        let (ids, well): (Vec<_>, _) = (ours.keys().collect(), tries.iter().all(|one| one.1));
        let ((function, id), (start, end)) = (run.name, run.times);
        hops.insert(format!("{function} {id} {well} {ids:?} {start}..{end}"));
        last.extend(tries.into_iter().map(|(piece, well)| ((function, piece), well)));
        // Sent to where somebody reads and taken up by nobody; or a dead-letter queue had it, and nobody
        // succeeded with it afterwards.
        is_good &= run.sent().all(|(id, queue, under)| {
            !(under.is_none_or(has) && is_read(queue)) || takers(runs, id).next().is_some()
        });
        let ends_dead = |id| takers(runs, id).find(|own| own.0 || own.1).is_some_and(|own| own.0);
        is_good &= !ours.keys().any(|id| ends_dead(id));
    }
    Found {
        entry: runs[entry].name.1.to_owned(),
        is_good: is_good && last.values().all(|well| *well),
        start: runs[entry].times.0.saturating_sub(runs[entry].init),
        end: held.iter().map(|piece| runs[piece.0].times.1).max().expect("its own"),
        hops: hops.into_iter().collect(),
    }
}
