//! One rule at one time: its query, its labels and texts, and what becomes of its results.
//!
//! What goes in is a rule, its state and a way to read series; what goes out are proposed transitions
//! or recorded samples. A rule that fails keeps its alerts as they are and says why in its health.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::alerting::{self, Alerts, Found, Proposed};
use super::rule::{Alerting, Group, Kind, Rule};
use super::template::{Answer, Scope, Template};
use super::{AlertState, Evaluation, Recorded, Select, Transition, alerts_series};
use crate::promql::{Options, Output, Query};
use crate::series::{RawSeries, STALE_NAN_BITS, Sample, SampleValue, SelectError, Selection};
use crate::signal::{Labels, METRIC_NAME, Text, Timestamp};

/// Samples that one rule may read at once: rules run every second beside everything else.
const SAMPLES_MAX: usize = 10_000_000;

/// What a rule remembers.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct RuleState {
    pub(crate) alerts: Alerts,
    /// Evaluation time of the last evaluation; it never goes back.
    pub(crate) evaluated_at: Option<Timestamp>,
    /// Log time of the last evaluation.
    pub(crate) run_at: Option<Timestamp>,
    /// Why the last evaluation failed.
    pub(crate) error: Option<String>,
    pub(crate) query_offset: Duration,
    /// How long the last evaluation took.
    pub(crate) took: Duration,
    /// Series that a recording rule gave last time.
    pub(crate) recorded: BTreeSet<Labels>,
}

/// What every evaluation of one tick shares.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) select: &'a Select<'a>,
    pub(crate) external_labels: &'a Labels,
    pub(crate) external_url: &'a str,
}

/// Evaluates one rule at `at`; `out` has what the rules before it in the group gave.
pub(crate) fn evaluate(
    group: &Group,
    rule: &Rule,
    state: &mut RuleState,
    at: Timestamp,
    (world, out): (&World<'_>, &mut Evaluation),
) {
    let previous = state.evaluated_at;
    let (recorded, alerts_before) = (std::mem::take(&mut out.recorded), &out.alerts);
    let results = {
        let select = |selection: &Selection<'_>| {
            overlaid(world.select, selection, recorded.iter().chain(alerts_before))
        };
        let world = World { select: &select, ..*world };
        match &rule.kind {
            Kind::Alert(alerting) => alerts(group, (rule, alerting), state, at, &world)
                .map(|proposed| (proposed, Vec::new())),
            Kind::Record => {
                record(group, rule, state, at, &world).map(|samples| (Proposed::default(), samples))
            }
        }
    };
    out.recorded = recorded;
    debug_assert!(previous.is_none_or(|previous| previous <= at), "evaluation time went back");
    state.evaluated_at = Some(at);
    match results {
        Ok((Proposed { transitions, kept }, samples)) => {
            state.error = None;
            if group.reads_alerts {
                out.alerts.extend(alerts_after(&state.alerts, &transitions, at));
            }
            out.transitions.extend(transitions);
            out.kept.extend(kept);
            out.recorded.extend(samples);
        }
        Err(error) => state.error = Some(error),
    }
}

/// `ALERTS` of a rule once what it proposes has happened (alert-generator specification, "Time Series
/// to Create"): samples of what is active, markers of what has just ended.
fn alerts_after(alerts: &Alerts, proposed: &[Transition], at: Timestamp) -> Vec<Recorded> {
    let mut states: BTreeMap<&Labels, AlertState> =
        alerts.iter().map(|(labels, alert)| (labels, alert.state)).collect();
    let mut ended = Vec::new();
    for transition in proposed {
        let before = states.insert(&transition.labels, transition.to);
        ended.extend(before.map(|before| alerts_series(&transition.labels, before)));
    }
    let active = states.into_iter().filter(|(_, state)| *state != AlertState::Inactive);
    let mut samples: Vec<Recorded> =
        ended.into_iter().map(|labels| Recorded { labels, at, value: None }).collect();
    samples.extend(active.map(|(labels, state)| Recorded {
        labels: alerts_series(labels, state),
        at,
        value: Some(1.0),
    }));
    samples
}

/// A group's recorded samples are seen by its later rules before they are stored.
fn overlaid<'r>(
    select: &Select<'_>,
    selection: &Selection<'_>,
    recorded: impl Iterator<Item = &'r Recorded>,
) -> Result<Vec<RawSeries>, SelectError> {
    let mut found = select(selection)?;
    for sample in recorded {
        let t = sample.at.as_millis();
        let is_within = t > selection.start && t <= selection.end;
        if !is_within || !selection.matchers.iter().all(|m| m.matches_labels(&sample.labels)) {
            continue;
        }
        let value = SampleValue::Float(sample.value.unwrap_or(f64::from_bits(STALE_NAN_BITS)));
        let new = Sample { t, value };
        match found.iter_mut().find(|series| series.labels == sample.labels) {
            Some(series) => {
                series.samples.retain(|sample| sample.t < t);
                series.samples.push(new);
            }
            None => found.push(RawSeries::new(sample.labels.clone(), vec![new])),
        }
    }
    Ok(found)
}

fn alerts(
    group: &Group,
    (rule, alerting): (&Rule, &Alerting),
    state: &mut RuleState,
    at: Timestamp,
    world: &World<'_>,
) -> Result<Proposed, String> {
    let found = found(group, (rule, alerting), at, world)?;
    let previous = state.evaluated_at;
    let mut proposed = alerting::step(&rule.key, &alerting.ages, &mut state.alerts, found, at);
    let resolves = |transition: &Transition| {
        let before = state.alerts.get(&transition.labels).map(|alert| alert.state);
        transition.to == AlertState::Inactive && before == Some(AlertState::Firing)
    };
    // Where the expression was true for the last time, it is now asked again: if it is false there
    // too, late data corrected the alert. With `keep_firing_for` that time is long past.
    if alerting.ages.keep_firing.is_zero()
        && proposed.transitions.iter().any(resolves)
        && let Some(previous) = previous.filter(|previous| *previous < at)
        && let Ok(then) = self::found(group, (rule, alerting), previous, world)
    {
        let still: BTreeSet<&Labels> = then.iter().map(|found| &found.labels).collect();
        for transition in proposed.transitions.iter_mut().filter(|one| resolves(one)) {
            transition.corrected = !still.contains(&transition.labels);
        }
    }
    Ok(proposed)
}

/// The rule's results as alerts.
fn found(
    group: &Group,
    (rule, alerting): (&Rule, &Alerting),
    at: Timestamp,
    world: &World<'_>,
) -> Result<Vec<Found>, String> {
    let vector = vector(&rule.query, at, world.select)?;
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (result, value) in vector {
        let value = match value {
            SampleValue::Float(x) => x,
            // Prometheus shows a histogram's alert with the value 0.
            SampleValue::Histogram(_) => 0.0,
        };
        let source = result.without(METRIC_NAME);
        let texts = Texts { labels: &source, value, at, world };
        let mut labels = source.clone();
        for (name, template) in &rule.labels {
            labels = labels.with(name, &texts.expand(template));
        }
        let labels = labels.with("alertname", &rule.name);
        let annotations = alerting
            .annotations
            .iter()
            .map(|(name, template)| (Text::clone(name), texts.expand(template).into()))
            .collect();
        if !seen.insert(labels.clone()) {
            return Err(format!(
                "two results have the labels {labels} once the alert's are applied"
            ));
        }
        all.push(Found { labels, annotations, value });
        within_limit(group, all.len())?;
    }
    Ok(all)
}

fn record(
    group: &Group,
    rule: &Rule,
    state: &mut RuleState,
    at: Timestamp,
    world: &World<'_>,
) -> Result<Vec<Recorded>, String> {
    if state.evaluated_at == Some(at) {
        return Ok(Vec::new());
    }
    let mut now = BTreeMap::new();
    for (result, value) in vector(&rule.query, at, world.select)? {
        let SampleValue::Float(value) = value else {
            return Err("the result is a native histogram, which cannot be recorded".to_owned());
        };
        let mut labels = result.with(METRIC_NAME, &rule.name);
        for (name, template) in &rule.labels {
            labels = labels.with(name, template.text());
        }
        if now.insert(labels.clone(), value).is_some() {
            return Err(format!(
                "two results have the labels {labels} once the rule's are applied"
            ));
        }
        within_limit(group, now.len())?;
    }
    let gone = std::mem::take(&mut state.recorded);
    state.recorded = now.keys().cloned().collect();
    let ended = gone.into_iter().filter(|labels| !now.contains_key(labels));
    let mut samples: Vec<Recorded> =
        ended.map(|labels| Recorded { labels, at, value: None }).collect();
    samples.extend(now.into_iter().map(|(labels, value)| Recorded {
        labels,
        at,
        value: Some(value),
    }));
    Ok(samples)
}

fn within_limit(group: &Group, n_results: usize) -> Result<(), String> {
    let max = group.results_max();
    if n_results > max {
        return Err(format!("the rule gave more than the limit of {max} results; aggregate more"));
    }
    Ok(())
}

/// A scalar is a vector of one element without labels.
fn vector(
    query: &Query,
    at: Timestamp,
    select: &Select<'_>,
) -> Result<Vec<(Labels, SampleValue)>, String> {
    let options = Options { samples_max: SAMPLES_MAX, ..Options::default() };
    let answer = query.instant(at.as_millis(), &options, &|selection| select(selection));
    match answer.map_err(|error| error.to_string())?.output {
        Output::Scalar(_, value) => Ok(vec![(Labels::default(), SampleValue::Float(value))]),
        Output::Vector(series) => {
            let sample = |series: RawSeries| {
                series.samples.into_iter().next_back().map(|sample| (series.labels, sample.value))
            };
            Ok(series.into_iter().filter_map(sample).collect())
        }
        Output::String(..) | Output::Matrix(_) => {
            Err("the result is no vector and no scalar".to_owned())
        }
    }
}

/// Fills templates for one result.
struct Texts<'a> {
    labels: &'a Labels,
    value: f64,
    at: Timestamp,
    world: &'a World<'a>,
}

impl Texts<'_> {
    /// What cannot be filled says so in its own place, as in Prometheus: an alert with a broken text
    /// is worth more than none.
    fn expand(&self, template: &Template) -> String {
        let query = |text: &str| {
            let query = Query::parse(text).map_err(|error| error.to_string())?;
            let samples = vector(&query, self.at, self.world.select)?;
            let answer = samples.into_iter().filter_map(|(labels, value)| match value {
                SampleValue::Float(value) => Some(Answer { labels, value }),
                SampleValue::Histogram(_) => None,
            });
            Ok(answer.collect())
        };
        let scope = Scope {
            labels: self.labels,
            value: self.value,
            external_labels: self.world.external_labels,
            external_url: self.world.external_url,
            at: self.at,
            query: &query,
        };
        template
            .expand(&scope)
            .unwrap_or_else(|error| format!("<error expanding template: {error}>"))
    }
}
