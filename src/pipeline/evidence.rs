//! Where to look: what stands behind an alert, gathered when it begins and when it ends.
//!
//! Transitions come in, the same with evidence go out: a real request, what is bad in figures, a version
//! that changed. What is not known is left out. The engine's lock is held only while a request is found.

mod find;
mod impact;
mod matter;
mod numbers;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use self::impact::{Objective, usual_ms};
use self::matter::Matter;
use self::numbers::{Numbers, equal};
use crate::correlate::request::{Hop, Part, PathPart, millis};
use crate::correlate::{Engine, Outcome, Request};
use crate::evaluate::alert::{Example, FailedAt, VersionChange};
use crate::evaluate::{AlertState, Evidence, Reads, RuleKey, Select, Transition};
use crate::signal::{Labels, Text};

/// Alerts of one tick that get figures; of more, each is one of many, and its request tells enough.
const FIGURES_MAX: usize = 20;
/// Steps of a request that a message shows.
const TIMELINE_LINES: usize = 3;
/// A version that came within this time is news.
const VERSION_NEWS: Duration = Duration::from_hours(1);

/// Finds a request under the engine's lock.
pub(super) type Requests<'a> = dyn Fn(&dyn Fn(&Engine) -> Option<Request>) -> Option<Request> + 'a;

/// What evidence is made of.
pub(super) struct Sources<'a> {
    pub(super) requests: &'a Requests<'a>,
    pub(super) select: &'a Select<'a>,
    pub(super) objective: &'a Objective<'a>,
    /// What the rule of an alert asks for.
    pub(super) reads: &'a dyn Fn(&RuleKey) -> Reads,
    pub(super) external_url: &'a str,
}

/// Gives transitions their evidence, in a key of its own and as annotations that every receiver shows.
pub(super) fn attach(transitions: &mut [Transition], sources: &Sources<'_>) {
    let changed = transitions.iter_mut().filter(|one| one.to != AlertState::Pending);
    for (idx, transition) in changed.enumerate() {
        let numbers = Numbers { select: sources.select, at: transition.at };
        let numbers = Some(&numbers).filter(|_| idx < FIGURES_MAX);
        if transition.to == AlertState::Firing {
            firing(transition, sources, numbers);
        } else if let Some(numbers) = numbers {
            resolved(transition, sources, numbers);
        }
    }
}

fn firing(transition: &mut Transition, sources: &Sources<'_>, numbers: Option<&Numbers<'_>>) {
    let (labels, at) = (&transition.labels, transition.at);
    let reads = (sources.reads)(&transition.rule);
    let matter = Matter::of(labels, &reads, &|| {
        let (slo, service) = impact::objective_of(labels)?;
        (sources.objective)(service, slo, at)
    });
    let found = (sources.requests)(&|engine| find::find(labels, &matter, at, engine));
    let failed = found.as_ref().and_then(|request| matter.failed(request, labels));
    let request = found.as_ref().map(|found| describe(found, sources.external_url, numbers));
    let function = failed.map(|hop| Text::clone(&hop.function));
    let function = function.or_else(|| request.as_ref().map(|r| Text::clone(&r.function)));
    let function = labels.get("faas_name").map(Text::from).or(function);
    let mut impact = numbers.and_then(|n| impact::of_firing(labels, &reads, n, sources.objective));
    if let (Matter::Time(_), Some(impact)) = (&matter, &mut impact) {
        impact.tell_of_time();
    }
    let evidence = Evidence {
        impact,
        version: numbers.zip(function).and_then(|(n, function)| version(&function, n)),
        request: request
            .map(|request| Example { failed: failed.map(failed_at), ..request.example }),
    };
    evidence.annotate(&mut transition.annotations);
    transition.evidence = (evidence != Evidence::default()).then_some(evidence);
}

fn resolved(transition: &mut Transition, sources: &Sources<'_>, numbers: &Numbers<'_>) {
    let (labels, began) = (&transition.labels, transition.active_at);
    let reads = (sources.reads)(&transition.rule);
    let impact = impact::of_resolved(labels, &reads, began, (numbers, sources.objective));
    transition.evidence =
        impact.map(|impact| Evidence { impact: Some(impact), ..Evidence::default() });
}

fn failed_at(hop: &Hop) -> FailedAt {
    FailedAt {
        function: Text::clone(&hop.function),
        queue: hop.queue.clone(),
        attempt: hop.attempt,
        outcome: hop.outcome.as_str().into(),
        error: hop.error.clone(),
    }
}

/// A request in a message's words, and the function that its excess lies in.
struct Described {
    example: Example,
    function: Text,
}

/// A stretch of a request, when it began, and what it usually takes.
struct Step<'a> {
    part: &'a PathPart,
    hop: &'a Hop,
    begins: Duration,
    usual_ms: Option<f64>,
}

fn describe(request: &Request, external_url: &str, numbers: Option<&Numbers<'_>>) -> Described {
    let mut steps = steps(request);
    steps.sort_by_key(|step| std::cmp::Reverse(step.part.duration));
    steps.truncate(TIMELINE_LINES);
    for step in &mut steps {
        step.usual_ms = numbers.and_then(|numbers| usual(step, numbers));
    }
    let excess = |step: &&Step<'_>| {
        let excess = millis(step.part.duration) - step.usual_ms.unwrap_or(0.0);
        std::cmp::Reverse(Duration::try_from_secs_f64(excess.max(0.0) / 1e3).unwrap_or_default())
    };
    let worst = steps.iter().min_by_key(excess);
    let slowest = worst.map_or_else(
        || request.flow.to_string(),
        |step| format!("{} ({})", step.hop.function, step.part.part.as_str()),
    );
    let function = worst.map_or_else(Text::default, |step| Text::clone(&step.hop.function));
    let example = Example {
        request_id: Text::clone(&request.id),
        flow: Text::clone(&request.flow),
        outcome: request.outcome.as_str().into(),
        duration_ms: millis(request.duration),
        failed: None,
        slowest: slowest.into(),
        slowest_ms: worst.map_or(0.0, |step| millis(step.part.duration)),
        usual_ms: worst.and_then(|step| step.usual_ms),
        error: request.hops.iter().rev().find_map(|hop| hop.error.clone()),
        url: format!("{external_url}/requests/{}", request.id).into(),
        timeline: timeline(steps),
    };
    Described { example, function }
}

fn steps(request: &Request) -> Vec<Step<'_>> {
    let mut begins = Duration::ZERO;
    let mut steps = Vec::with_capacity(request.critical_path.len());
    for part in &request.critical_path {
        if let Some(hop) = request.hops.iter().find(|hop| hop.id == part.hop) {
            steps.push(Step { part, hop, begins, usual_ms: None });
        }
        begins = begins.saturating_add(part.duration);
    }
    steps
}

/// What this part of this hop takes on average, from the hour before.
fn usual(step: &Step<'_>, numbers: &Numbers<'_>) -> Option<f64> {
    let function = || equal("faas_name", &step.hop.function);
    match step.part.part {
        Part::Init => usual_ms("throughline_init_duration_seconds", &function(), numbers),
        Part::Run => usual_ms("throughline_invocation_duration_seconds", &function(), numbers),
        Part::QueueWait => {
            let queue = equal("queue", step.hop.queue.as_deref()?);
            usual_ms("throughline_queue_lag_seconds", &queue, numbers)
        }
        Part::RetryWait | Part::Downstream | Part::Gap => None,
    }
}

/// The longest steps, in the order in which they happened.
fn timeline(mut steps: Vec<Step<'_>>) -> Vec<Text> {
    steps.sort_by_key(|step| step.begins);
    let width = steps.iter().map(|step| step.hop.function.chars().count()).max().unwrap_or(0);
    let line = |step: &Step<'_>| {
        let (begins, took) = (step.begins.as_secs_f64(), step.part.duration.as_secs_f64());
        let (function, part) = (&step.hop.function, step.part.part.as_str());
        let mut line = format!("+{begins:>7.3} s  {function:<width$}  {part:<10}  {took:>8.3} s");
        if step.hop.outcome != Outcome::Ok {
            // Writing to a String cannot fail.
            let _ = write!(line, "  {}", step.hop.outcome.as_str());
        }
        line.into()
    };
    steps.iter().map(line).collect()
}

/// A version of the function that was not there an hour ago, where another one was.
fn version(function: &str, numbers: &Numbers<'_>) -> Option<VersionChange> {
    let matcher = equal("faas_name", function);
    let text = format!("sum by (faas_version) (throughline_invocations_total{{{matcher}}})");
    let by_count = |found: Vec<(Labels, f64)>| -> Vec<(Text, f64)> {
        let versions = found
            .into_iter()
            .filter_map(|(labels, value)| Some((labels.get("faas_version")?.into(), value)));
        let mut versions: Vec<(Text, f64)> = versions.collect();
        versions.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        versions
    };
    let before = by_count(numbers.before(VERSION_NEWS).vector(&text));
    let (known, _) = before.first()?;
    let is_new = |(name, value): &(Text, f64)| {
        *value > 0.0 && !before.iter().any(|(before, _)| before == name)
    };
    let (new, _) = by_count(numbers.vector(&text)).into_iter().find(is_new)?;
    let version = equal("faas_version", &new);
    let text = format!("sum(throughline_invocations_total{{{matcher},{version}}})");
    let minute = Duration::from_mins(1);
    let values = numbers.steps(&text, minute, 60);
    let n_minutes = values.iter().rev().take_while(|value| **value > 0.0).count();
    let age = minute.saturating_mul(u32::try_from(n_minutes.saturating_sub(1)).unwrap_or(0));
    Some(VersionChange {
        function: function.into(),
        version: new,
        before: Some(Text::clone(known)),
        since: numbers.at.saturating_sub(age),
    })
}
