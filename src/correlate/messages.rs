//! The life of one message: who took it up, how each try went, whether it was dead-lettered.
//!
//! A message id and the graph come in; takings in order of time go out. An outcome belongs to a message
//! in an invocation: a batch may succeed while one of its messages fails.

use std::time::Duration;

use super::class::Class;
use super::dedup::REMEMBERED;
use super::graph::{Graph, NodeId};
use super::known::Known;
use super::points::LeftTaking;
use super::request::{DeadLetter, Outcome};
use super::rules::Rules;
use super::settle::Ground;
use super::stubs::{Done, Sending};
use crate::signal::{MessageRef, Text, Timestamp, Via};

const NANOS_A_SECOND: u64 = 1_000_000_000;

/// One invocation that took the message up.
#[derive(Clone, Debug)]
pub(super) struct Taking {
    /// None where it is final.
    pub(super) node: Option<NodeId>,
    pub(super) id: Text,
    pub(super) function: Text,
    class: Class,
    pub(super) start: Timestamp,
    pub(super) queue: Option<Text>,
    pub(super) sent: Option<Timestamp>,
    receive_count: Option<u32>,
    pub(super) dead_letter: Option<DeadLetter>,
    /// By the invocation, and by what names the message.
    own: Outcome,
    is_incomplete: bool,
}

impl Taking {
    /// The same function, of the same account and region as far as they are told, took it up from the same side of
    /// its dead-letter queue.
    fn is_by_who_took(&self, other: &Self) -> bool {
        self.function == other.function
            && self.class.agrees(other.class)
            && self.dead_letter.is_some() == other.dead_letter.is_some()
    }
}

/// What a taking is made of: an invocation that is held, or what one that is final left.
struct Told<'a> {
    node: Option<NodeId>,
    id: &'a Text,
    function: &'a Text,
    class: Class,
    start: Timestamp,
    message: &'a MessageRef,
    verdict: Outcome,
    is_ended: bool,
}

impl<'a> Told<'a> {
    fn by(node: NodeId, known: &'a Known, message: &str) -> Option<Self> {
        Some(Self {
            node: Some(node),
            id: &known.id,
            function: &known.function,
            class: known.class,
            start: known.start,
            message: known.received(message)?,
            verdict: known.verdict.outcome,
            is_ended: known.end.is_some(),
        })
    }

    const fn left(taking: &'a LeftTaking) -> Self {
        let LeftTaking { since: _, id, function, class, start, message, verdict, is_ended } =
            taking;
        let (class, start, verdict, is_ended) = (*class, *start, *verdict, *is_ended);
        Self { node: None, id, function, class, start, message, verdict, is_ended }
    }
}

/// When a message was sent, as it says itself. Of whole seconds (EventBridge's `time`) the sender's clock knows
/// which part.
fn exact(own: Option<Timestamp>, by_sender: Option<Timestamp>) -> Option<Timestamp> {
    let (Some(told), Some(sent)) = (own, by_sender) else { return own.or(by_sender) };
    let is_whole = told.as_nanos() % NANOS_A_SECOND == 0;
    let is_within = sent >= told && sent.since(told) < Duration::from_secs(1);
    Some(if is_whole && is_within { sent } else { told })
}

/// All takings of one message, in order of (start, id).
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) takings: Vec<Taking>,
    /// What was done before, in requests that are final.
    done: Vec<Done>,
}

impl Life {
    pub(super) fn of(ground: Ground<'_>, message: &Text) -> Self {
        let told = Self::told(ground.graph, ground.rules, message, ground.stubs.sending(message));
        Self { done: ground.stubs.done(message).to_vec(), ..told }
    }

    /// `left`: how it was sent, if its sender is final and gone.
    pub(super) fn told(
        graph: &Graph,
        rules: &Rules,
        message: &Text,
        left: Option<&Sending>,
    ) -> Self {
        let Some(point) = graph.messages.get(message).filter(|point| point.is_telling()) else {
            return Self { takings: Vec::new(), done: Vec::new() };
        };
        let sent = || {
            let nodes = point.senders.iter().filter_map(|id| graph.nodes.get(&id));
            let sent = nodes.filter_map(|node| node.known.sent(message));
            // A record of an invocation was not sent when that was asked for.
            sent.filter(|sent| sent.via != Via::Invoke)
        };
        let left = left.filter(|left| left.via != Via::Invoke && point.senders.is_empty());
        let gone = || point.left.iter().flat_map(|left| &left.sendings).map(|(_, sent)| sent);
        let queues = sent().map(|sent| &sent.queue).chain(gone().map(|sent| &sent.queue));
        let sent_queue = queues.flatten().min();
        let sent_queue = sent_queue.or(left.and_then(|left| left.queue.as_ref())).cloned();
        let times = sent().map(|sent| sent.at).chain(gone().map(|sent| sent.at));
        let sent_at = times.min().or(left.map(|left| left.at));
        let nodes = point.receivers.iter().filter_map(|id| Some((id, graph.nodes.get(&id)?)));
        let held = nodes.filter_map(|(id, node)| Told::by(id, &node.known, message));
        let left = point.left.iter().flat_map(|left| &left.takings).map(Told::left);
        let takings = held.chain(left).map(|told| {
            let (own, verdict) = (told.message, told.verdict);
            Taking {
                node: told.node,
                id: Text::clone(told.id),
                function: Text::clone(told.function),
                class: told.class,
                start: told.start,
                queue: own.queue.clone().or_else(|| sent_queue.clone()),
                sent: exact(own.sent, sent_at),
                receive_count: own.receive_count,
                dead_letter: rules.dead_letter(own),
                own: if verdict == Outcome::Ok && own.failed { Outcome::Error } else { verdict },
                is_incomplete: !told.is_ended,
            }
        });
        let mut takings: Vec<Taking> = takings.collect();
        takings.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
        Self { takings, done: Vec::new() }
    }

    pub(super) fn position(&self, id: &str) -> Option<usize> {
        self.takings.iter().position(|taking| *taking.id == *id)
    }

    /// The takings after which the message may have fallen into the dead-letter queue that `idx` reads, the
    /// likeliest first.
    fn falls(&self, idx: usize) -> impl Iterator<Item = usize> {
        let letter = self.takings.get(idx).and_then(|taking| taking.dead_letter.as_ref());
        let fell = move |failed: bool| {
            self.takings.iter().enumerate().take(idx).rev().filter(move |(_, taking)| {
                let is_source = |letter: &DeadLetter| {
                    taking.queue.as_ref().is_none_or(|queue| *queue == letter.source_queue)
                };
                taking.dead_letter.is_none()
                    && letter.is_some_and(is_source)
                    && (taking.own != Outcome::Ok) == failed
            })
        };
        fell(true).chain(fell(false)).map(|(idx, _)| idx)
    }

    fn fell_after(&self, idx: usize) -> Option<usize> {
        self.falls(idx).next()
    }

    /// The takings that `idx` may come after, the likeliest first: earlier tries by the same function; else,
    /// where it reads a dead-letter queue, those after which the message fell there.
    pub(super) fn before(&self, idx: usize) -> impl Iterator<Item = &Taking> {
        let own = self.takings.get(idx);
        let tries = self
            .takings
            .iter()
            .take(idx)
            .rev()
            .filter(move |taking| own.is_some_and(|own| taking.is_by_who_took(own)));
        tries.chain(self.falls(idx).filter_map(|idx| self.takings.get(idx)))
    }

    fn is_dead_lettered_next(&self, idx: usize) -> bool {
        (idx + 1..self.takings.len()).any(|letter| self.fell_after(letter) == Some(idx))
    }

    /// How this try of the message went.
    pub(super) fn outcome(&self, idx: usize) -> Outcome {
        match self.takings.get(idx) {
            Some(_) if self.is_dead_lettered_next(idx) => Outcome::DeadLettered,
            Some(taking) => taking.own,
            None => Outcome::Ok,
        }
    }

    /// From 1; the broker's own count where it tells one.
    pub(super) fn attempt(&self, idx: usize) -> u32 {
        let Some(taking) = self.takings.get(idx) else { return 1 };
        let earlier = self.takings.iter().take(idx);
        let same = earlier.filter(|other| other.is_by_who_took(taking));
        let rank = u32::try_from(same.count()).unwrap_or(u32::MAX).saturating_add(1);
        if taking.dead_letter.is_some() { rank } else { taking.receive_count.unwrap_or(rank) }
    }

    /// Whether a later taking by the same function, or a dead letter, took this one's place.
    pub(super) fn is_superseded(&self, idx: usize) -> bool {
        let Some(taking) = self.takings.get(idx) else { return false };
        self.is_dead_lettered_next(idx)
            || self.takings.iter().skip(idx + 1).any(|later| later.is_by_who_took(taking))
    }

    /// The message was taken up again after a success that nothing contradicts.
    pub(super) fn is_duplicate(&self, idx: usize) -> bool {
        let Some(taking) = self.takings.get(idx) else { return false };
        let own = taking.class.named(&taking.function);
        // Stubs last longer: what is said of a repeat does not change when they go.
        let is_after = |done: &Done| {
            let since = taking.start.since(done.at);
            done.by.agrees(own) && done.at < taking.start && since <= REMEMBERED
        };
        if taking.dead_letter.is_none() && self.done.iter().any(is_after) {
            return true;
        }
        self.takings.iter().enumerate().take(idx).any(|(earlier, other)| {
            other.is_by_who_took(taking)
                && other.queue == taking.queue
                && !other.is_incomplete
                && self.outcome(earlier) == Outcome::Ok
        })
    }

    /// The dead-letter queue that `idx` reads, with the function that failed.
    pub(super) fn dead_letter(&self, idx: usize) -> Option<DeadLetter> {
        let mut letter = self.takings.get(idx)?.dead_letter.clone()?;
        if let Some(taking) = self.fell_after(idx).and_then(|idx| self.takings.get(idx)) {
            letter.function = Text::clone(&taking.function);
        }
        Some(letter)
    }

    /// Whether the message is in the hands of a dead-letter queue at the last.
    pub(super) fn ends_dead_lettered(&self) -> bool {
        let last = self.takings.iter().rposition(|taking| taking.dead_letter.is_some());
        last.is_some_and(|last| {
            self.takings.iter().skip(last + 1).all(|later| later.own != Outcome::Ok)
        })
    }
}
