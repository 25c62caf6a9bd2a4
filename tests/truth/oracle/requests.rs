//! Invocations and what each entry reaches in, requests out: outcomes, attempts, costs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use throughline::correlate::Outcome;
use throughline::correlate::request::Evidence;
use throughline::signal::{PlatformStage, Timestamp, Workflow};
use throughline::simulate::scenario;

use super::invocations::{Run, Said};
use super::{Edge, Found, Held, has};

/// The init before each run: its report's, or the last of its environment.
pub(super) fn inits(said: &[Said<'_>], runs: &[Run<'_>]) -> Vec<Option<Duration>> {
    let told = said.iter().filter_map(|one| Some((one.by, one.platform()?)));
    let told: Vec<_> = told.filter(|(_, e)| e.stage == PlatformStage::InitReport).collect();
    let of_environment = |run: &Run<'_>| {
        let instance = run.said.iter().find_map(|one| one.by.instance.as_deref())?;
        let ours = told.iter().filter(|(by, _)| {
            by.instance.as_deref() == Some(instance) && by.function.as_deref() == Some(run.function)
        });
        ours.filter(|(_, e)| {
            run.start.saturating_add(Duration::from_millis(1)) >= e.time
                && run.start.since(e.time) < Duration::from_millis(2)
        })
        .find_map(|(_, e)| e.duration)
    };
    let own =
        |run: &Run<'_>| run.said.iter().filter_map(Said::platform).find_map(|e| e.init_duration);
    runs.iter().map(|run| own(run).or_else(|| of_environment(run))).collect()
}

/// A try of a piece of work; the greatest is the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Try {
    n: u32,
    start: Timestamp,
    outcome: Outcome,
}

/// The messages of a run that a request holds.
fn ours<'a>(run: &Run<'a>, held: &Held<'_>) -> Vec<&'a str> {
    run.received.keys().copied().filter(|id| has(held, id)).collect()
}

fn step<'a>(run: &Run<'a>) -> Option<&'a Workflow> {
    run.said.iter().filter_map(Said::facts).find_map(|facts| facts.workflow.as_ref())
}

/// The attempt by the request id, or by the workflow's own count.
fn number(run: &Run<'_>) -> u32 {
    run.n.max(step(run).and_then(|step| step.retry_count).unwrap_or(0) + 1)
}

fn flow(run: &Run<'_>) -> String {
    let https = run.said.iter().filter_map(Said::facts).filter_map(|facts| facts.http.as_ref());
    let mut routes = https.filter_map(|http| Some((http.method.as_ref()?, http.route.as_ref()?)));
    let named = routes.next().map(|(method, route)| format!("{method} {route}"));
    named.unwrap_or(run.function.to_owned())
}

pub(super) struct All<'r, 'a> {
    pub(super) runs: &'r [Run<'a>],
    pub(super) reaches: &'r [BTreeMap<usize, Held<'a>>],
    pub(super) inits: &'r [Option<Duration>],
}

impl All<'_, '_> {
    /// Everybody who took a message up, in order of time.
    fn takings(&self, message: &str) -> Vec<usize> {
        (0..self.runs.len()).filter(|&at| self.runs[at].received.contains_key(message)).collect()
    }

    fn is_dead(&self, at: usize, message: &str) -> bool {
        let own = &self.runs[at].received[message];
        let by_queue =
            || scenario::queues().iter().any(|queue| queue.dlq == own.queue && own.queue.is_some());
        own.dead_letter_source.is_some() || by_queue()
    }

    fn own(&self, at: usize, message: &str) -> Outcome {
        let run = &self.runs[at];
        if run.outcome == Outcome::Ok && run.received[message].failed {
            Outcome::Error
        } else {
            run.outcome
        }
    }

    /// How a taking went: the last failed one before a dead letter is what put it there.
    fn outcome(&self, at: usize, message: &str) -> Outcome {
        let takings = self.takings(message);
        let after = takings.iter().skip_while(|&&taking| taking != at).skip(1);
        let fell = after
            .take_while(|&&taking| {
                self.is_dead(taking, message) || self.own(taking, message) == Outcome::Ok
            })
            .any(|&taking| self.is_dead(taking, message));
        let own = self.own(at, message);
        if fell && own != Outcome::Ok && !self.is_dead(at, message) {
            Outcome::DeadLettered
        } else {
            own
        }
    }

    fn attempt(&self, at: usize, message: &str) -> u32 {
        let is_dead = self.is_dead(at, message);
        let same = self.takings(message).into_iter().take_while(|&taking| taking != at);
        let same = same.filter(|&t| {
            self.runs[t].function == self.runs[at].function && self.is_dead(t, message) == is_dead
        });
        let rank = u32::try_from(same.count()).expect("small") + 1;
        if is_dead { rank } else { self.runs[at].received[message].receive_count.unwrap_or(rank) }
    }

    pub(super) fn request(&self, entry: usize, n: usize) -> Found {
        let reach = &self.reaches[n];
        let first = &self.runs[entry];
        let mut last: BTreeMap<String, Try> = BTreeMap::new();
        let (mut hops, mut cost, mut worst) = (Vec::new(), None, Outcome::Ok);
        for (&at, held) in reach {
            let run = &self.runs[at];
            for (piece, one) in self.tries(at, held) {
                let known = last.entry(piece).or_insert(one);
                *known = (*known).max(one);
            }
            let mut sent =
                run.sent.iter().filter(|(_, under)| under.is_none_or(|id| has(held, id)));
            if sent.any(|(id, _)| self.is_lost(run, id)) {
                worst = worst.max(Outcome::Incomplete);
            }
            if ours(run, held).iter().any(|message| self.is_given_up(message)) {
                worst = worst.max(Outcome::DeadLettered);
            }
            let passes = |edge: &&Edge<'_>| {
                reach.contains_key(&edge.cause) && edge.message.is_none_or(|m| has(held, m))
            };
            let by = run.causes.iter().filter(passes).map(|edge| edge.evidence).min();
            hops.push(self.hop(at, held, by.filter(|_| at != entry)));
            cost = self.cost(at, held).map(|own| cost.unwrap_or(0.0) + own).or(cost);
        }
        hops.sort();
        let outcome = last.values().map(|one| one.outcome).chain([worst]).max();
        Found {
            entry: first.id.to_owned(),
            flow: flow(first),
            outcome: outcome.unwrap_or(Outcome::Ok),
            start: first.start.saturating_sub(self.inits[entry].unwrap_or_default()),
            end: reach.keys().map(|&at| self.runs[at].end).max().unwrap_or(first.end),
            cost,
            hops,
        }
    }

    /// What a run tried for a request, by piece of work.
    fn tries(&self, at: usize, held: &Held<'_>) -> Vec<(String, Try)> {
        let run = &self.runs[at];
        let one = |n, outcome| Try { n, start: run.start, outcome };
        let taken = ours(run, held);
        if taken.is_empty() {
            let piece = step(run).map(|step| format!("{} {}", step.execution_id, step.state));
            let piece = format!("{} {}", run.function, piece.as_deref().unwrap_or(run.id));
            return vec![(piece, one(number(run), run.outcome))];
        }
        let of = |id: &&str| (format!("{} {id}", run.function), one(0, self.outcome(at, id)));
        taken.iter().map(of).collect()
    }

    fn hop(&self, at: usize, held: &Held<'_>, by: Option<Evidence>) -> String {
        let run = &self.runs[at];
        let taken = ours(run, held);
        let outcome = taken.iter().map(|id| self.outcome(at, id)).max().unwrap_or(run.outcome);
        let attempt = taken.iter().map(|id| self.attempt(at, id)).max().unwrap_or(number(run));
        let shared = self.reaches.iter().filter(|reach| reach.contains_key(&at)).count() > 1;
        let Run { function, id, start, end, .. } = run;
        let outcome = outcome.as_str();
        format!("{function} {id} #{attempt} {outcome} {by:?} {shared} {taken:?} {start}..{end}")
    }

    /// A dead-letter queue had it, and nobody succeeded with it afterwards.
    fn is_given_up(&self, message: &str) -> bool {
        let takings = self.takings(message);
        let last = takings.iter().rposition(|&taking| self.is_dead(taking, message));
        last.is_some_and(|last| {
            takings[last + 1..].iter().all(|&t| self.own(t, message) != Outcome::Ok)
        })
    }

    /// A message to a queue that somebody reads, which nobody took up.
    fn is_lost(&self, run: &Run<'_>, id: &str) -> bool {
        let sent = run.said.iter().filter_map(Said::facts).flat_map(|facts| &facts.sent);
        let mut queue =
            sent.filter(|message| *message.id == *id).filter_map(|message| message.queue.as_ref());
        let Some(queue) = queue.next() else { return false };
        let read = self
            .runs
            .iter()
            .flat_map(|run| run.received.values())
            .any(|m| m.queue.as_ref() == Some(queue));
        self.takings(id).is_empty()
            && (read || scenario::queues().iter().any(|known| known.name == *queue))
    }

    /// A request's share, by the messages that it holds.
    fn cost(&self, at: usize, held: &Held<'_>) -> Option<f64> {
        let run = &self.runs[at];
        let billed = run.said.iter().filter_map(Said::platform).find_map(|event| event.billed)?;
        let function =
            scenario::functions().into_iter().find(|known| *known.name == *run.function)?;
        let gigabytes = f64::from(u32::try_from(function.memory_bytes? >> 20).ok()?) / 1024.0;
        let whole = billed.as_secs_f64() * gigabytes * 0.000_016_666_7 + 0.000_000_2;
        let weight =
            |held: &Held<'_>| held.as_ref().map_or(run.received.len(), BTreeSet::len).max(1);
        let all: usize = self.reaches.iter().filter_map(|reach| reach.get(&at)).map(weight).sum();
        let part = |n: usize| f64::from(u32::try_from(n).expect("small"));
        Some(whole * part(weight(held)) / part(all))
    }
}
