//! When a request ends: what it still waits for, and what never came.
//!
//! The request's hops and the age come in; its standing goes out, with the next age at which it could
//! differ. What is *missing* once all deadlines are over depends on the set of facts alone.

use std::collections::{BTreeMap, BTreeSet};

use super::config::QueueConfig;
use super::fact::Age;
use super::graph::{Graph, Node, NodeId};
use super::known::{Ending, Known};
use super::messages::Life;
use super::request::{Missing, Outcome, State};
use super::rules::{Learned, Rules};
use super::stubs::Stubs;
use crate::signal::{MessageRef, Text, Via};

/// Runs under one request id that Lambda tries by itself: the first and two retries
/// (Lambda Developer Guide, "Error handling for asynchronous invocation").
const RUNS_MAX: u32 = 3;

/// All that judging and showing requests reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'a> {
    pub(super) graph: &'a Graph,
    pub(super) rules: &'a Rules,
    pub(super) learned: &'a Learned,
    pub(super) stubs: &'a Stubs,
    pub(super) age: Age,
}

/// Where a request stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) state: State,
    /// Sorted; empty while it may still come.
    pub(super) missing: Vec<Missing>,
    /// The age at which to look again, news or not.
    pub(super) due: Age,
    /// When its last fact came.
    pub(super) news: Age,
    /// Waits for something that nobody is known to tell or to take up, yet.
    pub(super) is_unsure: bool,
}

struct Wait {
    deadline: Age,
    missing: Option<Missing>,
}

pub(super) fn standing(
    ground: Ground<'_>,
    entry: NodeId,
    reach: &BTreeSet<NodeId>,
    flow: &str,
) -> Standing {
    let nodes = || reach.iter().filter_map(|id| ground.graph.nodes.get(id).map(|node| &**node));
    let news = nodes().map(|node| node.known.news).max().unwrap_or_default();
    let patience = news.saturating_add(ground.rules.incomplete_after(flow));
    let mut waits = Waits { ground, entry, patience, found: Vec::new(), is_unsure: false };
    let mut last_runs = None;
    for node in nodes() {
        waits.end(node);
        waits.messages(node);
        if waits.retries(node) {
            let last_runs = last_runs.get_or_insert_with(|| self::last_runs(nodes()));
            waits.next_run(node, last_runs);
        }
    }
    let config = &ground.rules.config;
    let quiet = news.saturating_add(config.settle_after);
    let open_until = waits.found.iter().map(|wait| wait.deadline).chain([quiet]).max();
    let open_until = open_until.unwrap_or(quiet);
    let is_open = open_until > ground.age;
    let pending = waits.found.iter().map(|wait| wait.deadline).chain([quiet]);
    let next = pending.filter(|&deadline| deadline > ground.age).min();
    let last = news.saturating_add(config.allowed_lateness).max(open_until);
    let mut missing: Vec<Missing> =
        waits.found.into_iter().filter_map(|wait| wait.missing).collect();
    if is_open {
        missing.clear();
    }
    missing.sort_by(|a, b| (&a.after, &a.expected).cmp(&(&b.after, &b.expected)));
    Standing {
        state: match (is_open, ground.age >= last) {
            (true, _) => State::Open,
            (false, false) => State::Finished,
            (false, true) => State::Final,
        },
        missing,
        due: next.unwrap_or(last),
        news,
        is_unsure: waits.is_unsure,
    }
}

/// The last run of each request id: earlier ones wait for nothing.
fn last_runs<'a>(nodes: impl Iterator<Item = &'a Node>) -> BTreeMap<(Text, Text), u32> {
    let mut last: BTreeMap<(Text, Text), u32> = BTreeMap::new();
    for node in nodes {
        if let Some(id) = &node.known.invocation_id {
            let key = (Text::clone(&node.known.function), Text::clone(id));
            let run = last.entry(key).or_default();
            *run = (*run).max(node.known.run);
        }
    }
    last
}

struct Waits<'a> {
    ground: Ground<'a>,
    entry: NodeId,
    patience: Age,
    found: Vec<Wait>,
    is_unsure: bool,
}

impl Waits<'_> {
    /// A started invocation, until its end or its own timeout.
    fn end(&mut self, node: &Node) {
        let known = &node.known;
        if known.ending != Ending::Awaited {
            return;
        }
        let own = self.ground.rules.patience(&known.function);
        let own = own.map_or(self.patience, |own| known.news.saturating_add(own));
        let name = known.invocation_id.as_ref().unwrap_or(&known.id);
        let expected = Text::from(format!("the end of invocation {name} of {}", known.function));
        self.found.push(Wait {
            deadline: own.min(self.patience),
            missing: Some(Missing { after: Text::clone(&known.id), expected }),
        });
    }

    /// A message that was sent to a queue with a consumer, until it is taken up.
    fn messages(&mut self, node: &Node) {
        let Some(owner) = node.owners.get(&self.entry) else { return };
        for sent in &node.known.sent {
            let is_ours = sent.under.as_ref().is_none_or(|under| {
                owner.labels.has(under) || node.known.received(under).is_none()
            });
            let point = self.ground.graph.messages.get(&sent.id);
            let is_taken = point.is_some_and(|p| !p.receivers.is_empty() || !p.is_telling());
            if !is_ours || is_taken {
                continue;
            }
            let Some(queue) = &sent.queue else { continue };
            if !self.ground.rules.has_consumer(self.ground.learned, queue) {
                self.is_unsure = true;
                continue;
            }
            let expected = Text::from(format!("a consumer of message {} on {queue}", sent.id));
            self.found.push(Wait {
                deadline: self.patience,
                missing: Some(Missing { after: Text::clone(&node.known.id), expected }),
            });
        }
    }

    /// A failed attempt that its trigger will try again. True where that depends on whether there is
    /// a later run.
    fn retries(&mut self, node: &Node) -> bool {
        let known = &node.known;
        let mut is_message_failed = false;
        let mut longest = None;
        for message in &known.received {
            let Some((life, idx)) = self.failed_life(node, message) else { continue };
            is_message_failed = true;
            longest = longest.max(self.next_receive(&life, idx));
        }
        self.found.extend(longest.map(|wait| retry(known, wait)));
        if is_message_failed {
            return false;
        }
        let is_failed = !matches!(known.verdict.outcome, Outcome::Ok | Outcome::Incomplete);
        let via = super::edges::arrival(known);
        let is_async = matches!(via, Via::EventBus | Via::Topic | Via::Schedule);
        is_failed && is_async && known.run < RUNS_MAX
    }

    fn next_run(&mut self, node: &Node, last_runs: &BTreeMap<(Text, Text), u32>) {
        let known = &node.known;
        let Some(id) = &known.invocation_id else { return };
        let last = last_runs.get(&(Text::clone(&known.function), Text::clone(id)));
        if last == Some(&known.run) {
            self.found.push(retry(known, self.ground.rules.config.retry_after));
        }
    }

    /// How long a failed receive waits for the next one: again from its queue or, after the last that the
    /// queue allows, from the dead-letter queue, where somebody takes from that.
    fn next_receive(&self, life: &Life, idx: usize) -> Option<Age> {
        let (rules, learned) = (self.ground.rules, self.ground.learned);
        let taking = life.takings.get(idx)?;
        let queue = taking.dead_letter.as_ref().map(|letter| &letter.queue);
        let queue = queue.or(taking.queue.as_ref()).and_then(|queue| rules.queue(queue));
        let is_last = |queue: &QueueConfig| {
            queue.max_receive_count.is_some_and(|most| life.attempt(idx) >= most)
                && queue.dlq.as_ref().is_none_or(|dlq| !rules.has_consumer(learned, dlq))
        };
        (!queue.is_some_and(is_last)).then(|| rules.retry_after(queue))
    }

    /// The life of a message that failed in this invocation, and this try of it, where nothing came after.
    fn failed_life(&self, node: &Node, message: &MessageRef) -> Option<(Life, usize)> {
        if !matches!(message.via, Via::Queue | Via::Stream) {
            return None;
        }
        let life = Life::of(self.ground, &message.id);
        let idx = life.position(&node.known.id)?;
        let is_last = life.outcome(idx) != Outcome::Ok && !life.is_superseded(idx);
        is_last.then_some((life, idx))
    }
}

fn retry(known: &Known, wait: Age) -> Wait {
    Wait { deadline: known.news.saturating_add(wait), missing: None }
}
