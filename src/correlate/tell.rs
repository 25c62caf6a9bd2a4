//! An invocation and its messages as measuring counts them: once, however many requests share them.

use super::cost;
use super::edges;
use super::fact::Age;
use super::graph::Node;
use super::hop::{init_of, own_attempt, own_outcome};
use super::known::Ending;
use super::messages::Life;
use super::request::{CausedBy, Delivery, Invocation, Outcome, State};
use super::settle::Ground;
use crate::signal::{Fnv128, MessageRef, Text, TraceId, Via};

/// Longest name of a shard or partition: a topic of Kafka has 249.
const PARTITION_BYTES_MAX: usize = 280;

/// A hash as an id: 32 hex digits.
pub(super) fn hex(hash: u128) -> Text {
    TraceId(hash.to_be_bytes()).text()
}

/// The hash whose hex digits these are.
pub(super) fn unhex(digits: &str) -> u128 {
    u128::from_str_radix(digits, 16).unwrap_or(0)
}

/// Whether an invocation counts now: it told its end, or it has been quiet for long enough that
/// nothing more is expected.
pub(super) fn is_countable(ground: Ground<'_>, node: &Node) -> bool {
    let known = &node.known;
    let quiet: Age = known.news.saturating_add(ground.rules.config.settle_after);
    match known.ending {
        Ending::Told => true,
        Ending::Awaited => {
            let patience = ground.rules.patience(&known.function);
            let patience = patience.unwrap_or(ground.rules.config.incomplete_after);
            known.news.saturating_add(patience) <= ground.age
        }
        Ending::Unseen => quiet <= ground.age,
    }
}

pub(super) fn invocation(ground: Ground<'_>, node: &Node) -> Invocation {
    let known = &node.known;
    let outcome = own_outcome(known, State::Finished);
    let lives = known.received.iter().filter_map(|message| {
        let life = Life::of(ground, &message.id);
        let idx = life.position(&known.id)?;
        Some(life.attempt(idx))
    });
    let init = init_of(node);
    Invocation {
        id: Text::clone(&known.id),
        function: Text::clone(&known.function),
        version: known.version.clone(),
        start: known.start,
        end: known.end.unwrap_or(known.last),
        duration: known.end.map(|end| end.since(known.start)),
        outcome,
        error_kind: known.verdict.kind.filter(|_| outcome != Outcome::Ok),
        attempt: lives.max().unwrap_or(1).max(own_attempt(known)),
        init: init.map(|(from, to)| to.since(from)),
        cold_start: node.cold_start().unwrap_or(false),
        billed: known.billed,
        cost_usd: cost::whole(known, ground.rules).map(cost::usd),
        memory_size_bytes: ground.rules.memory_bytes(known),
        memory_used_bytes: known.memory_used_bytes,
        timeout: ground.rules.timeout(&known.function),
        exemplar: exemplar(node),
        calls: known.calls.clone(),
        throttled_by: known.throttled_by.clone(),
        caused_by: caused_by(ground, node),
        uncorrelated: 0,
        stands_for: known.stands_for,
    }
}

/// A trace id, else the id of the earliest request.
fn exemplar(node: &Node) -> Text {
    if let Some(trace) = node.known.traces.first() {
        return trace.text();
    }
    let earliest = node.owners.values().min_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
    earliest.map_or_else(|| Text::clone(&node.known.id), |owner| Text::clone(&owner.id))
}

fn caused_by(ground: Ground<'_>, node: &Node) -> Option<CausedBy> {
    // A try after another of its own was caused by whoever caused that.
    let causes = node.causes.iter().filter(|edge| !edge.is_retry).filter_map(|edge| {
        let cause = &ground.graph.nodes.get(&edge.cause)?.known;
        Some((edge.evidence, cause.order(), edge.via, &cause.function))
    });
    let (_, _, via, function) = causes.min()?;
    Some(CausedBy { function: Text::clone(function), via })
}

/// Ids of streams name their place: `shardId-000000000006:4959…` of Kinesis, `orders-3:1041` of Kafka. Of
/// messages in groups, which are taken up one after the other, it is the part that their group falls into.
fn partition(message: &MessageRef) -> Option<Text> {
    of_stream(message).or_else(|| message.group.map(|n| format!("group-{n:02}").into()))
}

fn of_stream(message: &MessageRef) -> Option<Text> {
    let (place, _) = message.id.rsplit_once(':').filter(|_| message.via == Via::Stream)?;
    let (name, number) = place.rsplit_once('-')?;
    let is_numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_ours = name == "shardId" || message.queue.as_deref() == Some(name);
    (is_numbered && is_ours && place.len() <= PARTITION_BYTES_MAX).then(|| Text::from(place))
}

/// The messages that an invocation took up, where their queue is known.
pub(super) fn deliveries(ground: Ground<'_>, node: &Node) -> Vec<Delivery> {
    let known = &node.known;
    let deliveries = known.received.iter().filter_map(|message| {
        let life = Life::of(ground, &message.id);
        let idx = life.position(&known.id)?;
        let taking = life.takings.get(idx)?;
        let hash =
            Fnv128::default().field(message.id.as_bytes()).field(known.id.as_bytes()).finish();
        let mut dead_letter = life.dead_letter(idx);
        if let Some(letter) = &mut dead_letter
            && message.via == Via::Invoke
            && let Some((_, run)) = edges::told_run(ground.graph, known, message)
        {
            letter.function = Text::clone(&run.function);
        }
        let queue = dead_letter.as_ref().map(|letter| &letter.queue).or(taking.queue.as_ref())?;
        Some(Delivery {
            id: hex(hash),
            queue: Text::clone(queue),
            function: Text::clone(&known.function),
            taken_up: taking.start,
            // A record of an invocation waited in no queue but its message's.
            lag: taking
                .sent
                .filter(|_| message.via != Via::Invoke)
                .map(|sent| taking.start.since(sent)),
            duplicate: life.is_duplicate(idx),
            dead_letter,
            partition: partition(message),
            exemplar: exemplar(node),
            stands_for: known.stands_for,
        })
    });
    deliveries.collect()
}
