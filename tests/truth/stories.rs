//! Stories for the naive oracle: who ran when, took which messages up and sent which, told by spans, by records
//! and the platform, or by both; and how the engine hears them.
//!
//! A seed decides what is told how, the order in which it is heard, what comes together and what comes again.

use std::time::Duration;

use throughline::signal::{
    Attributes, ErrorFact, ErrorKind, Facts, LogRecord, MessageRef, Platform, PlatformStage,
    PlatformStatus, Receiver, Resource, Signal, SignalKind, Span, SpanId, SpanKind, SpanLink, Text,
    Timestamp, TraceId,
};

use crate::against_oracle::{dice, differ, text, told};
use crate::laws::{Told, batch, shuffled};
use crate::measured;
use crate::reading::Daemon;

/// How long each run takes.
const LASTS: Duration = Duration::from_millis(90);
/// Signals of one batch.
const BATCH_MAX: u64 = 6;

/// A span that others may point at.
pub(crate) type Place = (TraceId, SpanId);

/// One message as a run takes it up, and what was done for it.
#[derive(Clone, Default)]
pub(crate) struct Work {
    pub(crate) message: Option<MessageRef>,
    pub(crate) is_failed: bool,
    pub(crate) sent: Vec<MessageRef>,
    /// The span that the message says it was sent by.
    pub(crate) link: Option<Place>,
}

impl Work {
    pub(crate) fn on(message: MessageRef) -> Self {
        Self { message: Some(message), ..Self::default() }
    }
}

/// What is known of a whole run.
#[derive(Clone, Default)]
pub(crate) struct Run {
    /// None: one of its own.
    pub(crate) id: Option<Text>,
    pub(crate) is_failed: bool,
    /// Of all of it: correlation ids, its workflow.
    pub(crate) facts: Facts,
    pub(crate) parent: Option<Place>,
    pub(crate) works: Vec<Work>,
}

/// How a run is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Spans,
    Records,
    Both,
}

/// What is told of a workload.
pub(crate) struct Story {
    pub(crate) seed: u64,
    pub(crate) told: Vec<Told>,
    n_runs: u64,
}

pub(crate) fn function(name: &str) -> Resource {
    Resource { function: Some(Text::from(name)), ..Resource::default() }
}

pub(crate) fn later(time: Timestamp, millis: u64) -> Timestamp {
    time.saturating_add(Duration::from_millis(millis))
}

pub(crate) fn failure() -> ErrorFact {
    ErrorFact { kind: ErrorKind::Other, message: Text::from("boom") }
}

impl Story {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, told: Vec::new(), n_runs: 0 }
    }

    pub(crate) fn dice(&self, purpose: u64, n: u64) -> u64 {
        dice(self.seed, purpose, n)
    }

    fn say(&mut self, by: &Resource, kind: SignalKind) {
        let n = u128::try_from(self.told.len()).expect("small");
        let identity = (!matches!(kind, SignalKind::Span(_))).then_some(n + 1);
        let signal = Signal { identity, resource: 0, kind };
        self.told.push(Told { resource: by.clone(), signal });
    }

    /// A run is told in the style that the dice say.
    pub(crate) fn run(&mut self, by: &Resource, start: Timestamp, run: &Run) -> Place {
        let styles = [Style::Spans, Style::Records, Style::Both];
        let pick = self.dice(40_000 + self.n_runs, 3);
        self.run_in(styles[usize::try_from(pick).expect("small")], by, start, run)
    }

    /// Gives the place of its head, which only spans tell.
    pub(crate) fn run_in(
        &mut self,
        style: Style,
        by: &Resource,
        start: Timestamp,
        run: &Run,
    ) -> Place {
        self.n_runs += 1;
        let trace =
            run.parent.map_or(TraceId(u128::from(self.n_runs + 7_000).to_be_bytes()), |p| p.0);
        let head = SpanId((self.n_runs * 100).to_be_bytes());
        let id = run.id.clone().unwrap_or_else(|| Text::from(format!("run-{:03}", self.n_runs)));
        let named =
            |facts: &Facts| Facts { invocation_id: Some(Text::clone(&id)), ..facts.clone() };
        if style != Style::Records {
            let facts = Facts { error: run.is_failed.then(failure), ..named(&run.facts) };
            let mut own = span(trace, head, facts, start);
            own.parent_id = run.parent.map(|parent| parent.1);
            self.say(by, SignalKind::Span(Box::new(own)));
            for (n, work) in (1..).zip(&run.works) {
                let span_id = SpanId((self.n_runs * 100 + n).to_be_bytes());
                let mut span = span(trace, span_id, facts_of(work), later(start, n));
                (span.parent_id, span.kind) = (Some(head), SpanKind::Consumer);
                span.end = later(start, 50);
                span.links.extend(work.link.map(|(trace_id, span_id)| {
                    let message_id = work.message.as_ref().map(|own| Text::clone(&own.id));
                    SpanLink { trace_id, span_id, message_id }
                }));
                self.say(by, SignalKind::Span(Box::new(span)));
            }
        }
        if style != Style::Spans {
            let mut began = Platform::new(start, PlatformStage::Start);
            began.invocation_id = Some(Text::clone(&id));
            self.say(by, SignalKind::Platform(Box::new(began)));
            self.say(by, record(named(&run.facts), later(start, 1)));
            for (n, work) in (2..).zip(&run.works) {
                self.say(by, record(named(&facts_of(work)), later(start, n)));
            }
            let end = start.saturating_add(LASTS);
            let mut report = Platform::new(end, PlatformStage::Report);
            let status =
                if run.is_failed { PlatformStatus::Failure } else { PlatformStatus::Success };
            (report.status, report.duration, report.billed) =
                (Some(status), Some(LASTS), Some(LASTS));
            report.memory_size_bytes = Some(512 << 20);
            report.invocation_id = Some(id);
            self.say(by, SignalKind::Platform(Box::new(report)));
        }
        (trace, head)
    }
}

fn facts_of(work: &Work) -> Facts {
    Facts {
        received: work.message.clone().into_iter().collect(),
        sent: work.sent.clone(),
        error: work.is_failed.then(failure),
        ..Facts::default()
    }
}

fn span(trace_id: TraceId, span_id: SpanId, facts: Facts, start: Timestamp) -> Span {
    Span {
        trace_id,
        span_id,
        parent_id: None,
        kind: SpanKind::Server,
        name: Text::from("span"),
        start,
        end: start.saturating_add(LASTS),
        failed: facts.error.is_some(),
        links: Vec::new(),
        facts,
        attributes: Attributes::default(),
    }
}

fn record(facts: Facts, time: Timestamp) -> SignalKind {
    SignalKind::Log(Box::new(LogRecord {
        time,
        severity: None,
        trace: None,
        body: Text::from("told"),
        facts,
        attributes: Attributes::default(),
    }))
}

/// In any order, with repeats, so many at once, a tick now and then.
fn hear(once: &[Told], seed: u64) -> Result<Daemon, String> {
    let is_repeated = |(n, _): &(u64, &Told)| dice(seed, 60_000 + n, 4) == 0;
    let repeats: Vec<Told> =
        (0..).zip(once).filter(is_repeated).map(|(_, told)| told.clone()).collect();
    let n_repeats = repeats.len();
    let all = shuffled([once.to_vec(), repeats].concat(), seed);
    let mut daemon = Daemon::new(crate::start());
    let (mut left, mut n) = (all.as_slice(), 0);
    while !left.is_empty() {
        n += 1;
        let size = usize::try_from(1 + dice(seed, 70_000 + n, BATCH_MAX)).expect("small");
        let (now, rest) = left.split_at(size.min(left.len()));
        daemon.apply(&batch(&now.iter().collect::<Vec<_>>(), crate::start()));
        // Now and then for so long that requests are over and put away.
        let secs = [0, 0, 1, 1, 2, 30];
        let pick = usize::try_from(dice(seed, 80_000 + n, 6)).expect("small");
        (0..secs[pick]).for_each(|_| daemon.tick());
        left = rest;
    }
    let counts = daemon.engine.ledger().receivers[&Receiver::OtlpHttp].clone();
    let n_applied = usize::try_from(counts.applied).expect("small");
    let n_again = usize::try_from(counts.duplicate).expect("small");
    if counts.is_balanced() && n_applied == once.len() && n_again == n_repeats {
        Ok(daemon)
    } else {
        Err(format!("seed {seed}: {n_repeats} repeats of {}: {counts:?}", once.len()))
    }
}

/// How the engine differs from the oracle, or from itself when it hears all of it at once.
pub(crate) fn check(story: &Story) -> Result<(), String> {
    let (seed, all) = (story.seed, &story.told);
    let whole = batch(&all.iter().collect::<Vec<_>>(), crate::start());
    let mut expected = measured::requests(std::slice::from_ref(&whole));
    let known = hear(all, seed)?.finish();
    let mut found = told(&known);
    expected.sort_by_key(text);
    found.sort_by_key(text);
    let (one, other): (String, String) =
        (expected.iter().map(text).collect(), found.iter().map(text).collect());
    if one != other {
        return Err(format!("seed {seed}: the oracle says\n{one}the engine says\n{other}"));
    }
    if let Some(differ) = expected.iter().zip(&found).find_map(|(one, other)| differ(one, other)) {
        return Err(format!("seed {seed}: {differ} in\n{one}"));
    }
    let mut daemon = Daemon::new(crate::start());
    daemon.apply(&whole);
    if daemon.finish().requests == known.requests {
        Ok(())
    } else {
        Err(format!("seed {seed}: heard at once it is told otherwise\n{one}"))
    }
}
