//! The engine against the naive oracle on batches that no simulator makes: messages of nobody, some of them
//! tried again and others new, beside messages of a known sender, and what was done for each of them.
//!
//! A seed gives the workload and the order in which it is heard. `THROUGHLINE_SEEDS` says how many seeds; one
//! that failed once joins [`REGRESSIONS`].

use std::collections::BTreeSet;
use std::time::Duration;

use throughline::signal::{
    Attributes, Facts, MessageRef, Signal, SignalKind, Span, SpanId, SpanKind, Text, Timestamp,
    TraceId, Via,
};

use crate::against_oracle::{dice, text, told};
use crate::laws::{Told, batch};
use crate::measured;
use crate::reading::Daemon;
use crate::seeds::check_all;
use crate::stories::{failure, function, later};

/// Seeds of an ordinary run.
const SEEDS: u64 = 600;
/// Seeds that once failed.
const REGRESSIONS: [u64; 0] = [];
/// Numbers of spans come after it.
const SPANS_FROM: u64 = 1_000;
/// Messages of nobody.
const MESSAGES: u64 = 5;

/// What is told of a workload, a span at a time.
struct Story {
    seed: u64,
    n_spans: u64,
    n_runs: u64,
    told: Vec<Told>,
    /// Messages that a known sender sent.
    asked: BTreeSet<Text>,
}

impl Story {
    /// A span of a function's run, in a trace of its own; the head where it has no parent.
    fn span(&mut self, run: &Run, parent: Option<SpanId>, facts: Facts) -> SpanId {
        self.n_spans += 1;
        let span_id = SpanId((self.n_spans + SPANS_FROM).to_be_bytes());
        let is_failed = facts.error.is_some();
        let span = Span {
            trace_id: run.trace,
            span_id,
            parent_id: parent,
            kind: if parent.is_some() { SpanKind::Consumer } else { SpanKind::Server },
            name: Text::from("span"),
            start: run.start,
            end: run.start.saturating_add(Duration::from_millis(if parent.is_some() {
                50
            } else {
                90
            })),
            failed: is_failed,
            links: Vec::new(),
            facts,
            attributes: Attributes::default(),
        };
        let kind = SignalKind::Span(Box::new(span));
        let signal = Signal { identity: None, resource: 0, kind };
        self.told.push(Told { resource: function(&run.function), signal });
        span_id
    }

    fn begin(&mut self, function: &str, start: Timestamp) -> Run {
        self.n_runs += 1;
        let trace = TraceId(u128::from(self.n_runs + 7_000).to_be_bytes());
        let id = Text::from(format!("run-{:03}", self.n_runs));
        Run { function: Text::from(function), id, trace, start }
    }

    /// A run that takes messages up, each in a span of its own, and does something for some of them.
    fn take(&mut self, run: &Run, messages: &BTreeSet<Text>, queue: &str, purpose: u64) {
        let is_failed = dice(self.seed, purpose, 3) == 0;
        let head = Facts {
            invocation_id: Some(Text::clone(&run.id)),
            error: is_failed.then(failure),
            ..Facts::default()
        };
        let head = self.span(run, None, head);
        for (n, id) in (0..).zip(messages) {
            let mut message = MessageRef::new(Text::clone(id), Via::Queue);
            message.queue = Some(Text::from(queue));
            message.dead_letter_source = (queue == "jobs-dlq").then(|| Text::from("jobs"));
            let is_one_failed = dice(self.seed, purpose + 10 + n, 4) == 0;
            let mut facts = Facts {
                received: vec![message],
                error: is_one_failed.then(failure),
                ..Facts::default()
            };
            let goes_on = dice(self.seed, purpose + 20 + n, 3) == 0;
            let next = Text::from(format!("{}-{n}", run.id));
            if goes_on {
                facts.sent.push(MessageRef::new(Text::clone(&next), Via::Topic));
            }
            self.span(run, Some(head), facts);
            if goes_on {
                let other = self.begin("follow", later(run.start, 200));
                let facts = Facts {
                    invocation_id: Some(Text::clone(&other.id)),
                    received: vec![MessageRef::new(next, Via::Topic)],
                    ..Facts::default()
                };
                self.span(&other, None, facts);
            }
        }
    }
}

struct Run {
    function: Text,
    id: Text,
    trace: TraceId,
    start: Timestamp,
}

/// Up to six runs of `work`, each with up to three messages of nobody and, now and then, one that `ask` sent;
/// now and then `drain` reads one from the dead-letter queue.
fn story(seed: u64) -> Story {
    let (told, asked) = (Vec::new(), BTreeSet::new());
    let mut story = Story { seed, n_spans: 0, n_runs: 0, told, asked };
    let mut at = crate::start();
    for n in 0..2 + dice(seed, 1, 5) {
        at = later(at, 1_000 + dice(seed, 100 + n, 20_000));
        let purpose = 1_000 * (n + 1);
        let is_drain = dice(seed, purpose, 6) == 0;
        let n_messages = 1 + dice(seed, purpose + 1, 3);
        let pick = |m| Text::from(format!("m{}", dice(seed, purpose + 2 + m, MESSAGES)));
        let mut messages: BTreeSet<Text> = (0..n_messages).map(pick).collect();
        if dice(seed, purpose + 8, 4) == 0 {
            let id = Text::from(format!("asked-{}", dice(seed, purpose + 9, 2)));
            let sent = MessageRef {
                queue: Some(Text::from("jobs")),
                ..MessageRef::new(Text::clone(&id), Via::Queue)
            };
            if story.asked.insert(Text::clone(&id)) {
                let run =
                    story.begin("ask", later(at, 0).saturating_sub(Duration::from_millis(500)));
                let facts = Facts {
                    invocation_id: Some(Text::clone(&run.id)),
                    sent: vec![sent],
                    ..Facts::default()
                };
                story.span(&run, None, facts);
            }
            messages.insert(id);
        }
        let (function, queue) = if is_drain { ("drain", "jobs-dlq") } else { ("work", "jobs") };
        let run = story.begin(function, at);
        story.take(&run, &messages, queue, purpose + 100);
    }
    story
}

fn check(seed: u64) -> Result<(), String> {
    let story = story(seed);
    let whole = batch(&story.told.iter().collect::<Vec<_>>(), crate::start());
    let mut expected: Vec<String> =
        measured::requests(std::slice::from_ref(&whole)).iter().map(text).collect();
    // In any order, a tick now and then.
    let mut order: Vec<(u64, &Told)> = (SPANS_FROM + 1..).zip(&story.told).collect();
    order.sort_by_key(|(span, _)| dice(seed, 50_000 + span, 1 << 40));
    let mut daemon = Daemon::new(crate::start());
    for some in order.chunks(3) {
        daemon
            .apply(&batch(&some.iter().map(|(_, told)| *told).collect::<Vec<_>>(), crate::start()));
        if dice(seed, some[0].0, 3) == 0 {
            daemon.tick();
        }
    }
    let known = daemon.finish();
    let mut known: Vec<String> = told(&known).iter().map(text).collect();
    expected.sort();
    known.sort();
    if expected == known {
        return Ok(());
    }
    Err(format!(
        "seed {seed}: the oracle says\n{}the engine says\n{}",
        expected.concat(),
        known.concat()
    ))
}

#[test]
fn batches_of_retried_and_new_messages_are_told_apart() {
    check_all(check, SEEDS, &REGRESSIONS);
}
