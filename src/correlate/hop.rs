//! One invocation's place in one request.

use std::collections::BTreeSet;
use std::time::Duration;

use super::class::Class;
use super::cost;
use super::edges;
use super::graph::{Edge, Node, NodeId};
use super::known::{Ending, Known};
use super::messages::Life;
use super::reach::Labels;
use super::request::{Hop, Outcome, State};
use super::settle::Ground;
use crate::signal::{MessageRef, Text, Timestamp, Via};

/// An init that ended longer before the run is no part of the request.
const INIT_BEFORE_MAX: Duration = Duration::from_secs(10);

/// What a piece of work is: its attempts share the key, the last one decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    Message(Text, Text),
    Run(Text, Text),
    Step(Text, Text, Text),
    Invocation(Text),
}

/// A try of a piece of work; of all tries the greatest order is the last.
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) piece: Piece,
    /// Whose it was, beside the function's name.
    pub(super) class: Class,
    pub(super) order: (u32, Timestamp, Text),
    pub(super) outcome: Outcome,
}

/// A hop, with what the critical path and the request's outcome need to know of it.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) hop: Hop,
    pub(super) node: NodeId,
    pub(super) init: Option<(Timestamp, Timestamp)>,
    pub(super) sent: Option<Timestamp>,
    /// The hop that caused it, by id.
    pub(super) cause: Option<Text>,
    /// The attempt before it, by id; of a dead letter the last before it fell.
    pub(super) earlier: Option<Text>,
    /// It read from a dead-letter queue what had been tried before.
    pub(super) is_fallen: bool,
    pub(super) tries: Vec<Try>,
    /// A message of it ends in a dead-letter queue.
    pub(super) is_dead_lettered: bool,
    /// Its start, or the last that is known of it.
    pub(super) last_end: Timestamp,
}

/// Start and end of the init before a run.
pub(super) fn init_of(node: &Node) -> Option<(Timestamp, Timestamp)> {
    let init = node.init()?;
    let end = init.end.unwrap_or(node.known.start).min(node.known.start);
    if node.known.start.since(end) > INIT_BEFORE_MAX {
        return None;
    }
    Some((end.saturating_sub(init.duration?), end))
}

/// An invocation's own outcome.
pub(super) fn own_outcome(known: &Known, state: State) -> Outcome {
    match known.verdict.outcome {
        Outcome::Ok if state != State::Open && known.ending == Ending::Awaited => {
            Outcome::Incomplete
        }
        own => own,
    }
}

struct Taken<'a> {
    message: &'a MessageRef,
    life: Life,
    idx: usize,
}

pub(super) fn place(
    ground: Ground<'_>,
    entry: NodeId,
    id: NodeId,
    reach: &BTreeSet<NodeId>,
    state: State,
) -> Option<Placed> {
    let node = ground.graph.nodes.get(&id)?;
    let known = &node.known;
    let labels = &node.owners.get(&entry)?.labels;
    let taken = taken(ground, known, labels);
    let causes: Vec<&Edge> = node
        .causes
        .iter()
        .filter(|edge| id != entry && reach.contains(&edge.cause))
        .filter(|edge| edge.message.as_ref().is_none_or(|message| labels.has(message)))
        .collect();
    let own = own_outcome(known, state);
    let first = taken.iter().filter(|one| !is_of_record(one, &taken)).min_by_key(|taken| {
        let taking = taken.life.takings.get(taken.idx);
        (taking.and_then(|t| t.sent).unwrap_or(Timestamp::MAX), &taken.message.id)
    });
    let queue = queue_of(&taken);
    let first_taking = first.and_then(|taken| taken.life.takings.get(taken.idx));
    let outcome = taken.iter().map(|taken| taken.life.outcome(taken.idx)).max().unwrap_or(own);
    let outcome = outcome.max(if taken.is_empty() { own } else { Outcome::Ok });
    let attempt = taken.iter().map(|taken| taken.life.attempt(taken.idx)).max();
    let before = first.and_then(|taken| taken.life.before(taken.idx).next());
    let is_letter = first_taking.is_some_and(|taking| taking.dead_letter.is_some());
    let init = init_of(node);
    let strongest = causes.iter().min_by_key(|edge| (edge.evidence, edge.via));
    let sent = first_taking.and_then(|taking| taking.sent);
    let hop = Hop {
        id: Text::clone(&known.id),
        causes: cause_ids(ground, &causes),
        via: strongest.map_or_else(|| edges::arrival(known), |edge| edge.via),
        evidence: strongest.map(|edge| edge.evidence),
        function: Text::clone(&known.function),
        service: known.service.clone(),
        version: known.version.clone(),
        invocation_id: known.invocation_id.clone(),
        attempt: attempt.unwrap_or_else(|| own_attempt(known)),
        start: known.start,
        end: known.end,
        duration: known.end.map(|end| end.since(known.start)),
        queue,
        queue_wait: sent.map(|sent| known.start.since(sent)),
        cold_start: node.cold_start(),
        init: init.map(|(from, to)| to.since(from)),
        outcome,
        error: error(known, &taken).filter(|_| outcome != Outcome::Ok),
        message_ids: taken.iter().map(|taken| Text::clone(&taken.message.id)).collect(),
        shared: node.owners.len() > 1,
        spans: known.n_spans,
        logs: known.n_logs,
        billed: known.billed,
        cost_usd: cost::whole(known, ground.rules).map(|c| cost::usd(cost::share(c, node, entry))),
    };
    Some(Placed {
        node: id,
        init,
        sent,
        cause: primary_cause(ground, &causes, first.map(|taken| &taken.message.id)),
        earlier: match first {
            Some(_) => before.map(|try_before| Text::clone(&try_before.id)),
            None => known.earlier.clone(),
        },
        is_fallen: is_letter && before.is_some_and(|before| before.dead_letter.is_none()),
        tries: tries(known, &taken, own),
        is_dead_lettered: taken.iter().any(|taken| taken.life.ends_dead_lettered()),
        last_end: known.end.unwrap_or(known.last),
        hop,
    })
}

/// Why it failed, or a message of it in this request.
fn error(known: &Known, taken: &[Taken<'_>]) -> Option<Text> {
    let failed = taken.iter().filter(|taken| taken.life.outcome(taken.idx) != Outcome::Ok);
    let of_message = || failed.filter_map(|taken| known.failure(&taken.message.id)).min();
    known.verdict.text.as_ref().or_else(of_message).cloned()
}

/// Whether a message is only part of the record of what became of an invocation that had it.
fn is_of_record(one: &Taken<'_>, all: &[Taken<'_>]) -> bool {
    let is_record = |taken: &Taken<'_>| taken.message.via == Via::Invoke;
    one.message.dead_letter_source.is_some() && !is_record(one) && all.iter().any(is_record)
}

/// The queue that the invocation was given its work from: of a message that came in the envelope of another,
/// that is the envelope's.
fn queue_of(taken: &[Taken<'_>]) -> Option<Text> {
    let order = |taken: &&Taken<'_>| {
        let is_outer = matches!(taken.message.via, Via::Queue | Via::Stream);
        let sent = taken.life.takings.get(taken.idx).and_then(|taking| taking.sent);
        (!is_outer, sent.unwrap_or(Timestamp::MAX), Text::clone(&taken.message.id))
    };
    let outer = taken.iter().min_by_key(order)?;
    outer.life.takings.get(outer.idx)?.queue.clone()
}

/// The messages of an invocation that are this request's, where they tell of takings.
fn taken<'a>(ground: Ground<'_>, known: &'a Known, labels: &Labels) -> Vec<Taken<'a>> {
    let ours = known.received.iter().filter(|message| labels.has(&message.id));
    let taken = ours.filter_map(|message| {
        let life = Life::of(ground, &message.id);
        let idx = life.position(&known.id)?;
        Some(Taken { message, life, idx })
    });
    taken.collect()
}

/// The attempt by the platform's request id or the workflow's own count.
pub(super) fn own_attempt(known: &Known) -> u32 {
    let step = known.workflow.as_ref().and_then(|workflow| workflow.retry_count);
    known.run.max(step.unwrap_or(0).saturating_add(1))
}

fn cause_ids(ground: Ground<'_>, causes: &[&Edge]) -> Vec<Text> {
    let ids: BTreeSet<Text> = causes
        .iter()
        .filter_map(|edge| Some(Text::clone(&ground.graph.nodes.get(&edge.cause)?.known.id)))
        .collect();
    ids.into_iter().collect()
}

/// The cause that sent the first message, else the last that began.
fn primary_cause(ground: Ground<'_>, causes: &[&Edge], message: Option<&Text>) -> Option<Text> {
    let known = |edge: &Edge| ground.graph.nodes.get(&edge.cause).map(|node| &node.known);
    let ranked = causes.iter().filter_map(|edge| {
        let cause = known(edge)?;
        Some((message.is_some() && edge.message.as_ref() == message, cause.order(), &cause.id))
    });
    ranked.max().map(|(_, _, id)| Text::clone(id))
}

fn tries(known: &Known, taken: &[Taken<'_>], own: Outcome) -> Vec<Try> {
    let order = |n: u32| (n, known.start, Text::clone(&known.id));
    if !taken.is_empty() {
        let tries = taken.iter().map(|taken| Try {
            piece: Piece::Message(Text::clone(&known.function), Text::clone(&taken.message.id)),
            class: known.class,
            order: order(0),
            outcome: taken.life.outcome(taken.idx),
        });
        return tries.collect();
    }
    let (piece, n) = match (&known.workflow, &known.invocation_id) {
        (Some(step), _) => {
            let state = Text::clone(&step.state);
            let piece =
                Piece::Step(Text::clone(&step.execution_id), state, Text::clone(&known.function));
            (piece, step.retry_count.unwrap_or(0))
        }
        (None, Some(id)) => (Piece::Run(Text::clone(&known.function), Text::clone(id)), known.run),
        (None, None) => (Piece::Invocation(Text::clone(&known.id)), 0),
    };
    vec![Try { piece, class: known.class, order: order(n), outcome: own }]
}

/// The worst of all pieces of work, each judged by its last try: of the function, in one account and region.
pub(super) fn worst<'a>(tries: impl Iterator<Item = &'a Try>) -> Outcome {
    let mut tries: Vec<&Try> = tries.collect();
    tries.sort_by(|a, b| (&a.piece, &b.order).cmp(&(&b.piece, &a.order)));
    let last = tries.chunk_by(|a, b| a.piece == b.piece).flat_map(|tries| {
        let mut later: Vec<Class> = Vec::new();
        tries.iter().filter(move |one| {
            let is_last = !later.iter().any(|class| class.agrees(one.class));
            if !later.contains(&one.class) {
                later.push(one.class);
            }
            is_last
        })
    });
    last.map(|one| one.outcome).max().unwrap_or(Outcome::Ok)
}
