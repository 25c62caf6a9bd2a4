//! Facts of one invocation in, what they add up to out: a pure function of the set.
//!
//! Fields merge by fixed precedence, platform report before span before log, and among equals by time
//! and content; never by arrival.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use super::class::Class;
use super::fact::{Age, LogFact};
use super::judge::judge;
use super::known::{Ending, Init, Known, Origin, Place, Pointer, Sent};
use super::request::{Call, Evidence};
use super::runs::{Member, Parts};
use crate::number::u32_from_usize;
use crate::signal::{
    ErrorKind, Facts, MessageRef, Platform, PlatformStage, Text, Timestamp, TraceId, Via,
};

/// Calls of one invocation that are kept; the rest only shows in its duration.
const CALLS_MAX: usize = 1_000;

/// How an invocation is named.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    pub(super) id: Text,
    pub(super) invocation_id: Option<Text>,
    pub(super) run: u32,
    /// The run before it, by id.
    pub(super) earlier: Option<Text>,
    pub(super) class: Class,
}

impl Naming {
    /// Of what no request id names.
    pub(super) fn of(id: Text) -> Self {
        Self { id, invocation_id: None, run: 1, earlier: None, class: Class::default() }
    }
}

pub(super) fn assemble(mut parts: Parts<'_>, naming: Naming) -> Known {
    parts.sort();
    let timing = timing(&parts);
    let billed = last_told(&parts, |event| event.billed);
    let (cold_start, init) = cold_start(&parts, billed);
    let told = tell(&parts);
    let pointers = pointers(&parts, &told.places);
    Known {
        id: naming.id,
        function: function(&parts),
        service: first_source(&parts, |source| source.service.clone()),
        version: first_source(&parts, |source| source.version.clone()),
        instance: first_source(&parts, |source| source.instance.clone()),
        invocation_id: naming.invocation_id,
        run: naming.run,
        earlier: naming.earlier,
        class: naming.class,
        start: timing.start,
        end: timing.end,
        ending: timing.ending,
        last: timing.last,
        verdict: judge(&parts),
        cold_start,
        init,
        billed,
        memory_size_bytes: last_told(&parts, |event| event.memory_size_bytes)
            .or_else(|| first_source(&parts, |source| source.memory_bytes)),
        memory_used_bytes: last_told(&parts, |event| event.memory_used_bytes),
        route: route(&parts),
        trigger: all_facts(&parts).find_map(|facts| facts.trigger),
        workflow: all_facts(&parts).find_map(|facts| facts.workflow.clone()),
        received: received(&parts, &told.places),
        failures: failures(&parts),
        envelopes: envelopes(&parts, &told.places),
        sent: sent(&parts, &told.places),
        roots: roots(&parts, &pointers),
        pointers,
        places: told.places,
        correlation_ids: told.correlation_ids,
        traces: told.traces,
        origins: origins(&parts),
        calls: calls(&parts),
        throttled_by: throttled_by(&parts),
        stands_for: stands_for(&parts),
        n_spans: u32_from_usize(parts.spans.len()),
        n_logs: u32_from_usize(parts.logs.len()),
        came: came(&parts),
        news: news(&parts),
    }
}

/// Sampled rows count for those that were left out, unless the platform tells of every invocation itself.
/// A head's own count goes before what records within it say.
fn stands_for(parts: &Parts<'_>) -> u32 {
    if !parts.platform.is_empty() {
        return 1;
    }
    let heads = parts.heads.iter().filter_map(|span| span.facts().stands_for).max();
    let logs = || parts.logs.iter().filter_map(|record| record.log.facts().stands_for).max();
    let told = if parts.heads.is_empty() { logs() } else { heads };
    told.map_or(1, NonZeroU32::get)
}

/// Facts of heads, then of other spans, then of logs.
fn all_facts<'p>(parts: &'p Parts<'_>) -> impl Iterator<Item = &'p Facts> {
    let heads = parts.heads.iter().map(|span| span.facts());
    let spans = parts.spans.iter().map(|member| member.span.facts());
    heads.chain(spans).chain(parts.logs.iter().map(|record| record.log.facts()))
}

fn first_source<T>(
    parts: &Parts<'_>,
    field: impl Fn(&super::fact::Source) -> Option<T>,
) -> Option<T> {
    let platform = parts.platform.iter().map(|fact| &fact.source);
    let heads = parts.heads.iter().map(|span| &span.source);
    let logs = parts.logs.iter().map(|record| &record.log.source);
    platform.chain(heads).chain(logs).find_map(|source| field(source))
}

fn function(parts: &Parts<'_>) -> Text {
    let platform = parts.platform.iter().find_map(|fact| fact.source.function.as_ref());
    let head = || parts.heads.iter().find_map(|span| span.function());
    let log = || parts.logs.iter().find_map(|record| record.log.function());
    let named = platform.or_else(head).or_else(log).cloned();
    named
        .or_else(|| first_source(parts, |source| source.service.clone()))
        .unwrap_or_else(|| Text::from("unknown"))
}

fn last_of<'p>(parts: &'p Parts<'_>, stage: PlatformStage) -> Option<&'p Platform> {
    parts.platform.iter().rev().map(|fact| &fact.event).find(|event| event.stage == stage)
}

/// A field of the platform's account, by the last event that tells it: two sources may report one run.
fn last_told<T>(parts: &Parts<'_>, field: impl Fn(&Platform) -> Option<T>) -> Option<T> {
    parts.platform.iter().rev().find_map(|fact| field(&fact.event))
}

fn first_of<'p>(parts: &'p Parts<'_>, stage: PlatformStage) -> Option<&'p Platform> {
    parts.platform.iter().map(|fact| &fact.event).find(|event| event.stage == stage)
}

struct Timing {
    start: Timestamp,
    end: Option<Timestamp>,
    ending: Ending,
    last: Timestamp,
}

fn timing(parts: &Parts<'_>) -> Timing {
    let report = last_of(parts, PlatformStage::Report);
    let done = last_of(parts, PlatformStage::RuntimeDone);
    let run = report.and_then(|e| e.duration).or(done.and_then(|e| e.duration));
    let head_start = parts.heads.iter().map(|span| span.start).min();
    let head_end = parts.heads.iter().map(|span| span.end).max();
    let log = log_extent(parts);
    let over = done.or(report).map(|event| event.time);
    let start = first_of(parts, PlatformStage::Start)
        .map(|event| event.time)
        .or(head_start)
        .or(over.map(|time| time.saturating_sub(run.unwrap_or_default())))
        .or(log.start)
        .or(parts.platform.first().map(|fact| fact.event.time))
        .unwrap_or_default();
    let by_duration = run.map(|run| start.saturating_add(run));
    let told = by_duration.or(head_end).or(over).or(log.told_end).map(|end| end.max(start));
    let last = last_time(parts).max(start);
    let ending = match told {
        Some(_) => Ending::Told,
        None if first_of(parts, PlatformStage::Start).is_some() => Ending::Awaited,
        None => Ending::Unseen,
    };
    let end = told.or((ending == Ending::Unseen).then_some(last));
    Timing { start, end, ending, last }
}

struct LogExtent {
    start: Option<Timestamp>,
    /// The end that a record with a duration tells.
    told_end: Option<Timestamp>,
}

fn log_extent(parts: &Parts<'_>) -> LogExtent {
    let logs = || parts.logs.iter().map(|record| record.log);
    let began =
        |log: &LogFact| log.time.saturating_sub(log.facts().duration.unwrap_or(Duration::ZERO));
    let timed = logs().filter(|log| log.facts().duration.is_some());
    LogExtent { start: logs().map(began).min(), told_end: timed.map(|log| log.time).max() }
}

fn last_time(parts: &Parts<'_>) -> Timestamp {
    let platform = parts.platform.iter().map(|fact| fact.event.time);
    let spans = parts.spans.iter().map(|member| member.span.end);
    let logs = parts.logs.iter().map(|record| record.log.time);
    platform.chain(spans).chain(logs).max().unwrap_or_default()
}

/// Where nothing leads anywhere, zero: then nothing asks.
fn came(parts: &Parts<'_>) -> Age {
    let platform = parts.platform.iter().filter(|fact| fact.event.trace.is_some());
    let platform = platform.map(|fact| fact.mark.age);
    let spans = parts.spans.iter().map(|member| member.span.mark.age);
    let leads = |log: &LogFact| {
        let facts = log.facts();
        log.trace.is_some() || !facts.received.is_empty() || facts.workflow.is_some()
    };
    let logs = parts.logs.iter().map(|record| record.log).filter(|log| leads(log));
    let logs = logs.map(|log| log.mark.age);
    platform.chain(spans).chain(logs).min().unwrap_or_default()
}

fn news(parts: &Parts<'_>) -> Age {
    let platform = parts.platform.iter().map(|fact| fact.mark.age);
    let spans = parts.spans.iter().map(|member| member.span.mark.age);
    let logs = parts.logs.iter().map(|record| record.log.mark.age);
    platform.chain(spans).chain(logs).max().unwrap_or_default()
}

fn cold_start(parts: &Parts<'_>, billed: Option<Duration>) -> (Option<bool>, Option<Init>) {
    let duration = parts.platform.iter().find_map(|fact| fact.event.init_duration);
    let told = all_facts(parts).find_map(|facts| facts.cold_start);
    if duration.is_some() {
        return (Some(true), Some(Init { duration, end: None }));
    }
    let told = told.or(billed.map(|_| false));
    (told, (told == Some(true)).then_some(Init { duration: None, end: None }))
}

fn route(parts: &Parts<'_>) -> Option<Text> {
    all_facts(parts).enumerate().find_map(|(idx, facts)| {
        // A client span's route is another's; only the head's, or a record's, is our own.
        let is_member = idx >= parts.heads.len() && idx < parts.heads.len() + parts.spans.len();
        let http = facts.http.as_ref().filter(|_| !is_member)?;
        let (method, route) = (http.method.as_ref()?, http.route.as_ref()?);
        Some(Text::from(format!("{method} {route}")))
    })
}

fn merge_message(into: &mut MessageRef, other: &MessageRef) {
    into.queue = into.queue.take().or_else(|| other.queue.clone());
    if into.via == Via::Unknown {
        into.via = other.via;
    }
    into.sent = match (into.sent, other.sent) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    into.receive_count = into.receive_count.max(other.receive_count);
    into.dead_letter_source =
        into.dead_letter_source.take().or_else(|| other.dead_letter_source.clone());
    into.group = match (into.group, other.group) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    into.trace = into.trace.or(other.trace);
    into.failed |= other.failed;
}

/// Whether a message that an event shows carries a position of this very invocation: then it was made here,
/// and not taken up.
fn is_own(message: &MessageRef, places: &[Place]) -> bool {
    let at = message.trace.and_then(|at| Some((at.trace_id, at.span_id?)));
    at.is_some_and(|at| places.binary_search_by_key(&at, |own| (own.trace, own.span)).is_ok())
}

fn received(parts: &Parts<'_>, places: &[Place]) -> Vec<MessageRef> {
    let mut messages: BTreeMap<Text, MessageRef> = BTreeMap::new();
    let mut add = |message: &MessageRef, failed: bool| {
        if is_own(message, places) {
            return;
        }
        let known = messages.entry(Text::clone(&message.id)).or_insert_with(|| {
            let mut first = message.clone();
            first.failed = false;
            first
        });
        merge_message(known, message);
        known.failed |= failed;
    };
    for member in &parts.spans {
        let is_head = parts.heads.iter().any(|head| std::ptr::eq(*head, member.span));
        for message in &member.span.facts().received {
            add(message, member.span.failed && !is_head);
        }
    }
    for record in &parts.logs {
        let facts = record.log.facts();
        facts.received.iter().for_each(|message| add(message, facts.error.is_some()));
    }
    messages.into_values().collect()
}

/// What failed spans and error records that name one message say, by the message: of several the first.
fn failures(parts: &Parts<'_>) -> Vec<(Text, Text)> {
    let is_head =
        |member: &Member<'_>| parts.heads.iter().any(|head| std::ptr::eq(*head, member.span));
    let spans = parts.spans.iter().filter(|member| member.span.failed && !is_head(member));
    let spans = spans.map(|member| member.span.facts());
    let mut found = BTreeMap::new();
    for facts in spans.chain(parts.logs.iter().map(|record| record.log.facts())) {
        if let ([message], Some(error)) = (facts.received.as_slice(), &facts.error) {
            found.entry(Text::clone(&message.id)).or_insert_with(|| Text::clone(&error.message));
        }
    }
    found.into_iter().collect()
}

/// Depth of what holds no other message.
const DEPTH_MAX: u8 = 2;

/// How deep a message lies in what functions are handed: queues and streams hold notifications, and these
/// hold events. None where that is not told.
const fn depth(via: Via) -> Option<u8> {
    match via {
        Via::Queue | Via::Stream => Some(0),
        Via::Topic => Some(1),
        Via::EventBus | Via::Schedule | Via::Invoke | Via::Workflow | Via::Http => Some(DEPTH_MAX),
        Via::Unknown => None,
    }
}

/// What one signal names stands in the order of its event: each message is followed by what it holds. Several
/// may each tell a part of the way inwards.
fn envelopes(parts: &Parts<'_>, places: &[Place]) -> Vec<(Text, Text)> {
    let mut found = BTreeMap::new();
    for facts in all_facts(parts).filter(|facts| facts.received.len() > 1) {
        let mut outer: Option<&MessageRef> = None;
        for message in facts.received.iter().filter(|message| !is_own(message, places)) {
            let is_inside = outer.is_some_and(|outer| {
                let depths = depth(outer.via).zip(depth(message.via));
                depths.is_some_and(|(outer, inner)| outer < inner)
            });
            match outer.filter(|outer| is_inside && outer.id != message.id) {
                Some(outer) => drop(found.insert(Text::clone(&message.id), Text::clone(&outer.id))),
                None => outer = Some(message),
            }
        }
    }
    let of_all = found.keys().map(|inner| (Text::clone(inner), outermost(&found, inner)));
    of_all.filter(|(inner, outer)| inner != outer).collect()
}

/// The message around all that a message lies in. Depths differ, so there are no more steps than depths; where
/// two signals tell the opposite, none is outermost.
fn outermost(found: &BTreeMap<Text, Text>, message: &Text) -> Text {
    let steps = std::iter::successors(Some(message), |at| found.get(*at));
    steps.take(usize::from(DEPTH_MAX) + 1).last().cloned().unwrap_or_default()
}

fn sent(parts: &Parts<'_>, places: &[Place]) -> Vec<Sent> {
    let mut messages: BTreeMap<Text, Sent> = BTreeMap::new();
    let mut add = |message: &MessageRef, time: Timestamp, under: Option<&Text>| {
        let at = message.sent.unwrap_or(time);
        let known = messages.entry(Text::clone(&message.id)).or_insert_with(|| Sent {
            id: Text::clone(&message.id),
            queue: None,
            via: message.via,
            at,
            under: None,
        });
        known.queue = known.queue.take().or_else(|| message.queue.clone());
        known.under = known.under.take().or_else(|| under.cloned());
        known.at = known.at.min(at);
        if known.via == Via::Unknown {
            known.via = message.via;
        }
    };
    for member in &parts.spans {
        let span = member.span;
        span.facts().sent.iter().for_each(|m| add(m, span.start, member.under.as_ref()));
    }
    for record in &parts.logs {
        let log = record.log;
        let made = log.facts().received.iter().filter(|message| is_own(message, places));
        log.facts().sent.iter().chain(made).for_each(|m| add(m, log.time, record.under.as_ref()));
    }
    messages.into_values().collect()
}

struct Told {
    places: Vec<Place>,
    correlation_ids: Vec<Text>,
    traces: Vec<TraceId>,
}

fn tell(parts: &Parts<'_>) -> Told {
    let of_span = |member: &Member<'_>| Place {
        trace: member.span.trace,
        span: member.span.span,
        under: member.under.clone(),
    };
    let mut places: Vec<Place> = parts.spans.iter().map(of_span).collect();
    let platform =
        parts.platform.iter().filter_map(|fact| fact.event.trace.zip(fact.event.span_id));
    places.extend(platform.map(|(at, span)| Place { trace: at.trace_id, span, under: None }));
    // Stable: of one span, what the span itself tells comes first.
    places.sort_by_key(|place| (place.trace, place.span));
    places.dedup_by_key(|place| (place.trace, place.span));
    let mut traces: Vec<TraceId> = places.iter().map(|place| place.trace).collect();
    traces.extend(parts.platform.iter().filter_map(|f| f.event.trace).map(|at| at.trace_id));
    traces.extend(parts.logs.iter().filter_map(|r| r.log.trace).map(|at| at.trace_id));
    traces.sort_unstable();
    traces.dedup();
    let ids: BTreeSet<Text> =
        all_facts(parts).flat_map(|facts| facts.correlation_ids.iter().cloned()).collect();
    Told { places, correlation_ids: ids.into_iter().collect(), traces }
}

fn pointers(parts: &Parts<'_>, places: &[Place]) -> Vec<Pointer> {
    let mut found = BTreeSet::new();
    let mut add = |trace: TraceId, span, evidence, message: Option<Text>| {
        let key = (trace, span);
        if places.binary_search_by_key(&key, |place| (place.trace, place.span)).is_err() {
            found.insert(Pointer { trace, span, evidence, message });
        }
    };
    for head in &parts.heads {
        if let Some(parent) = head.parent {
            add(head.trace, parent, Evidence::Trace, None);
        }
    }
    for fact in &parts.platform {
        if let Some(trace) = fact.event.trace
            && let Some(parent) = trace.span_id
        {
            add(trace.trace_id, parent, Evidence::Trace, None);
        }
    }
    // A record inside the invocation that stands at a span outside of it stands at its caller's.
    for trace in parts.logs.iter().filter_map(|record| record.log.trace) {
        if let Some(span) = trace.span_id {
            add(trace.trace_id, span, Evidence::Trace, None);
        }
    }
    for member in &parts.spans {
        let only = match member.span.facts().received.as_slice() {
            [message] => Some(&message.id),
            _ => None,
        };
        for link in &member.span.links {
            let message = link.message_id.as_ref().or(only).or(member.under.as_ref());
            add(link.trace_id, link.span_id, Evidence::Link, message.cloned());
        }
    }
    for message in all_facts(parts).flat_map(|facts| &facts.received) {
        if let Some(trace) = message.trace
            && let Some(span) = trace.span_id
        {
            add(trace.trace_id, span, Evidence::Link, Some(Text::clone(&message.id)));
        }
    }
    found.into_iter().collect()
}

/// Traces in which a span that begins the invocation has no parent, and nothing else names a caller.
fn roots(parts: &Parts<'_>, pointers: &[Pointer]) -> Vec<TraceId> {
    let has_caller = |trace: TraceId| {
        let of_trace = |pointer: &Pointer| pointer.trace == trace;
        pointers.iter().any(|p| of_trace(p) && p.evidence == Evidence::Trace)
    };
    let heads = parts.heads.iter().filter(|head| head.parent.is_none()).map(|head| head.trace);
    let mut roots: Vec<TraceId> = heads.filter(|trace| !has_caller(*trace)).collect();
    roots.sort_unstable();
    roots.dedup();
    roots
}

fn origins(parts: &Parts<'_>) -> Vec<Origin> {
    let mut found = BTreeSet::new();
    for message in all_facts(parts).flat_map(|facts| &facts.received) {
        if let Some(trace) = message.trace {
            found.insert(Origin { trace: trace.trace_id, message: Some(Text::clone(&message.id)) });
        }
    }
    for link in parts.spans.iter().flat_map(|member| &member.span.links) {
        let message = link.message_id.clone();
        found.insert(Origin { trace: link.trace_id, message });
    }
    found.into_iter().collect()
}

fn calls(parts: &Parts<'_>) -> Vec<Call> {
    let calls = parts.spans.iter().filter_map(|member| {
        let span = member.span;
        let peer = span.facts().peer.as_ref()?;
        Some(Call {
            peer: Text::clone(&peer.name),
            operation: Text::clone(&peer.operation),
            start: span.start,
            duration: span.end.since(span.start),
            ok: !span.failed,
        })
    });
    calls.take(CALLS_MAX).collect()
}

fn throttled_by(parts: &Parts<'_>) -> Vec<Text> {
    let throttled = parts.spans.iter().filter_map(|member| {
        let facts = member.span.facts();
        let peer = facts.peer.as_ref()?;
        let error = facts.error.as_ref()?;
        (error.kind == ErrorKind::Throttled).then(|| Text::clone(&peer.name))
    });
    throttled.take(CALLS_MAX).collect()
}
