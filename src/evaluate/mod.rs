//! Evaluate: rules over series to alert changes; `slo` compiles objectives to rules.
//!
//! Rule and SLO files come in as text, series through a closure, time as an argument; proposed
//! transitions and recorded samples go out. The core reads no clock and does no I/O. What is never
//! true: an alert whose state changed before the change came back from the journal, an evaluation
//! time that goes back, or a failed rule that looks healthy.

pub mod alert;
mod alerting;
mod evaluation;
pub mod pack;
pub(crate) mod place;
mod round;
mod rule;
mod rule_file;
mod saved;
mod show;
pub mod slo;
mod template;
#[cfg(test)]
mod tests;
pub mod unit_test;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use alert::{AlertState, Evidence, Kept, RuleKey, Transition};
pub use round::{Elapsed, Finished, Round};

use self::alerting::Alert;
use self::evaluation::RuleState;
use self::round::{Done, Job};
use self::rule::Group;
use self::slo::Slo;
use crate::measure::Objective;
use crate::series::{MatchOp, Matcher, RawSeries, STALE_NAN_BITS, SelectError, Selection};
use crate::signal::{Diagnostic, Labels, METRIC_NAME, Text, Timestamp};

/// Reads the series of one selection; the daemon locks its store inside, tests bring their own.
pub type Select<'a> = dyn Fn(&Selection<'_>) -> Result<Vec<RawSeries>, SelectError> + Sync + 'a;

/// p99 over 15 min of (applied - event time) of what reached a metric.
pub type Lateness<'a> = dyn Fn(&str) -> Duration + Sync + 'a;

/// A pause between two ticks that is longer was not watched (a restart, a suspended machine) and ages
/// no alert; shorter ones are a busy machine.
const UNWATCHED_MIN: Duration = Duration::from_secs(10);
/// What a tick ages at most.
const TICK: Duration = Duration::from_secs(1);
/// Ticks during which the end of an `ALERTS` series is told, so that no reader misses it.
const GONE_TICKS: u8 = 3;

/// Checked settings; the texts are checked when they are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// (name, text) of Prometheus rule files. None at all: the pack that is built in.
    pub rule_files: Vec<(String, String)>,
    /// (name, text) of OpenSLO, Sloth and short-form files.
    pub slo_files: Vec<(String, String)>,
    /// Of groups that name none. Default 1 s: evaluation costs little here, and its interval is the
    /// greatest part of the way from a failure to its message.
    pub evaluation_interval: Duration,
    /// None: `auto`, by the lateness of what a rule selects.
    pub query_offset: Option<Duration>,
    /// Where people reach the pages: `$externalURL`.
    pub external_url: String,
    pub external_labels: Labels,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rule_files: Vec::new(),
            slo_files: Vec::new(),
            evaluation_interval: Duration::from_secs(1),
            query_offset: None,
            external_url: String::new(),
            external_labels: Labels::default(),
        }
    }
}

/// All rule groups and the state of their alerts. Pure: given time and series, gives transitions.
#[derive(Debug, Default)]
pub struct Evaluator {
    config: Arc<Config>,
    groups: Vec<Arc<Group>>,
    slos: Vec<Slo>,
    warnings: Vec<Diagnostic>,
    /// By file and group.
    group_states: BTreeMap<(Text, Text), GroupState>,
    rule_states: BTreeMap<RuleKey, Arc<RuleState>>,
    /// `ALERTS` series that ended, and for how many ticks that is still told.
    gone: BTreeMap<Labels, u8>,
    /// Log time of the last tick.
    ticked_at: Option<Timestamp>,
}

/// What a group remembers.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct GroupState {
    last_tick: Option<u64>,
    /// Intervals in which the group should have run and did not, or not to its end.
    missed: u64,
    run_at: Option<Timestamp>,
    /// How long the last evaluation took.
    took: Duration,
}

/// What one tick of evaluation gave. None of it has happened before it is journaled and applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    pub transitions: Vec<Transition>,
    pub recorded: Vec<Recorded>,
    pub kept: Vec<Kept>,
    /// Groups that the round did not reach, or not to their end.
    pub missed: u64,
    /// `ALERTS` as later rules of the same group see it; in the store it comes with the next tick.
    pub(crate) alerts: Vec<Recorded>,
}

/// A sample of a recording rule.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Recorded {
    pub labels: Labels,
    pub at: Timestamp,
    /// None is a staleness marker.
    pub value: Option<f64>,
}

/// What files became.
struct Loaded {
    groups: Vec<Arc<Group>>,
    slos: Vec<Slo>,
    warnings: Vec<Diagnostic>,
}

impl Evaluator {
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn try_new(config: Config) -> Result<Self, Vec<Diagnostic>> {
        let mut evaluator = Self::default();
        evaluator.set_config(config)?;
        Ok(evaluator)
    }

    /// Takes other rules and settings. Alerts whose rule stays keep their state; those of rules that
    /// are gone resolve at the next evaluation.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files; then nothing has changed.
    pub fn set_config(&mut self, config: Config) -> Result<(), Vec<Diagnostic>> {
        let Loaded { groups, slos, warnings } = load(&config)?;
        self.config = Arc::new(config);
        self.groups = groups;
        self.slos = slos;
        self.warnings = warnings;
        let groups: BTreeSet<(&Text, &Text)> =
            self.groups.iter().map(|g| (&g.file, &g.name)).collect();
        self.group_states.retain(|(file, name), _| groups.contains(&(file, name)));
        Ok(())
    }

    /// Without files the pack is not taken: unit tests bring all their rules.
    pub(crate) fn with_groups(groups: Vec<Arc<Group>>, config: Config) -> Self {
        Self { config: Arc::new(config), groups, ..Self::default() }
    }

    /// What is suspicious about the files but no error: alerts that can never fire.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The names of all alerts that could fire.
    pub fn alert_names(&self) -> BTreeSet<Text> {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        let alerts = rules.filter(|rule| matches!(rule.kind, rule::Kind::Alert(_)));
        alerts.map(|rule| Text::clone(&rule.name)).collect()
    }

    /// The objectives whose `throughline_slo_*` counters the rules need.
    pub(crate) fn objectives(&self) -> Vec<Objective> {
        self.slos.iter().filter_map(Slo::objective).collect()
    }

    /// Evaluates the groups that are due at `now` (log time), each at `now - query_offset`.
    pub fn evaluate(
        &mut self,
        now: Timestamp,
        select: &Select<'_>,
        lateness: &Lateness<'_>,
    ) -> Evaluation {
        let finished = self.begin(now, lateness).evaluate(select, &|| Duration::ZERO);
        self.finish(finished)
    }

    /// What is due at `now`, those that waited longest first. [`Round::evaluate`] needs no lock;
    /// [`Evaluator::finish`] takes back what it found.
    pub fn begin(&mut self, now: Timestamp, lateness: &Lateness<'_>) -> Round {
        let ended = self.end_removed(now);
        let mut due: Vec<usize> =
            (0..self.groups.len()).filter(|idx| self.is_due(*idx, now)).collect();
        due.sort_by_key(|idx| {
            self.groups.get(*idx).and_then(|group| self.group_states.get(&group.key())?.run_at)
        });
        let mut known: BTreeMap<String, Duration> = BTreeMap::new();
        let mut lateness = |metric: &str| match known.get(metric) {
            Some(late) => *late,
            None => *known.entry(metric.to_owned()).or_insert(lateness(metric)),
        };
        let jobs = due.iter().filter_map(|idx| self.job(*idx, &mut lateness)).collect();
        Round { ended, ..Round::new(now, &self.config, jobs) }
    }

    fn job(&self, idx: usize, lateness: &mut dyn FnMut(&str) -> Duration) -> Option<Job> {
        let state =
            |rule: &rule::Rule| self.rule_states.get(&rule.key).cloned().unwrap_or_default();
        Some(Job::new(self.groups.get(idx)?, &self.config, lateness, state))
    }

    /// Takes back what a round found: the state of its rules. Transitions and samples are returned
    /// and happen when they come back from the journal.
    pub fn finish(&mut self, finished: Finished) -> Evaluation {
        let Finished { now, groups, ended } = finished;
        let mut all = ended;
        for done in groups {
            let found = self.take(done, now);
            all.transitions.extend(found.transitions);
            all.recorded.extend(found.recorded);
            all.kept.extend(found.kept);
            all.missed += found.missed;
        }
        all
    }

    fn take(&mut self, done: Done, now: Timestamp) -> Evaluation {
        let Done { group, states, took, mut evaluation } = done;
        let is_whole = states.len() == group.rules.len();
        for (rule, state) in group.rules.iter().zip(states) {
            self.rule_states.insert(rule.key.clone(), Arc::new(state));
        }
        let state = self.group_states.entry(group.key()).or_default();
        state.took = took;
        if is_whole {
            state.run_at = Some(now);
        } else {
            state.missed += 1;
            evaluation.missed += 1;
        }
        evaluation
    }

    fn is_due(&mut self, idx: usize, now: Timestamp) -> bool {
        let Some(group) = self.groups.get(idx) else { return false };
        let interval = group.interval.unwrap_or(self.config.evaluation_interval);
        let tick = group.tick(now, interval);
        let state = self.group_states.entry(group.key()).or_default();
        match state.last_tick {
            // A clock that stepped back waits until it is where it was.
            Some(last) if tick <= last => return false,
            Some(last) => state.missed += tick - last - 1,
            None => {}
        }
        state.last_tick = Some(tick);
        true
    }

    /// Evaluates one group whether it is due or not.
    pub(crate) fn evaluate_group(
        &mut self,
        idx: usize,
        now: Timestamp,
        select: &Select<'_>,
    ) -> Evaluation {
        let jobs = self.job(idx, &mut |_| Duration::ZERO).into_iter().collect();
        self.finish(Round::new(now, &self.config, jobs).evaluate(select, &|| Duration::ZERO))
    }

    /// Alerts and recorded series of rules that no file has any more.
    fn end_removed(&mut self, now: Timestamp) -> Evaluation {
        let mut ended = Evaluation::default();
        let known: BTreeSet<&RuleKey> =
            self.groups.iter().flat_map(|g| &g.rules).map(|r| &r.key).collect();
        self.rule_states.retain(|key, state| {
            if known.contains(key) {
                return true;
            }
            let at = state.evaluated_at.unwrap_or(now);
            let alerts = state.alerts.iter();
            let ends = alerts.map(|(l, alert)| alerting::resolve(key, l, alert, at.max(now)));
            ended.transitions.extend(ends);
            let series = std::mem::take(&mut Arc::make_mut(state).recorded).into_iter();
            ended.recorded.extend(series.map(|labels| Recorded { labels, at: now, value: None }));
            // Until the transitions come back from the journal they are proposed again.
            !state.alerts.is_empty()
        });
        ended
    }

    fn forget_gone(&mut self) {
        self.gone.retain(|_, left| {
            *left = left.saturating_sub(1);
            *left > 0
        });
    }

    /// Takes a transition back from the journal: live, right after it was written, and at recovery.
    pub fn apply(&mut self, transition: &Transition) {
        let state = Arc::make_mut(self.rule_states.entry(transition.rule.clone()).or_default());
        let before = state.alerts.remove(&transition.labels);
        let series_before =
            before.as_ref().map(|alert| alerts_series(&transition.labels, alert.state));
        let ended = |series: Labels| (series, GONE_TICKS);
        let for_state = for_state_series(&transition.labels);
        if let Some(alert) = Alert::apply(before, transition) {
            let series = alerts_series(&transition.labels, alert.state);
            self.gone.extend(series_before.filter(|before| *before != series).map(ended));
            self.gone.remove(&series);
            self.gone.remove(&for_state);
            state.alerts.insert(transition.labels.clone(), alert);
        } else if let Some(before) = series_before {
            self.gone.extend([before, for_state].map(ended));
        }
    }

    /// Takes back from the journal when `keep_firing_for` began to hold an alert. Live it is known already.
    pub fn keep(&mut self, kept: &Kept) {
        let Some(state) = self.rule_states.get_mut(&kept.rule) else { return };
        if let Some(alert) = Arc::make_mut(state).alerts.get_mut(&kept.labels) {
            alert.kept_since = kept.since;
        }
    }

    /// A second of log time passed. Gives the samples of `Evaluator::alert_series`. Time that nobody
    /// watched ages no alert: it is added to where `for` and `keep_firing_for` count from.
    pub fn tick(&mut self, now: Timestamp) -> Vec<(Labels, f64)> {
        let pause = self.ticked_at.map_or(Duration::ZERO, |last| now.since(last));
        self.ticked_at = Some(self.ticked_at.map_or(now, |last| last.max(now)));
        if pause > UNWATCHED_MIN {
            let unwatched = pause.saturating_sub(TICK);
            for state in self.rule_states.values_mut().filter(|state| !state.alerts.is_empty()) {
                let alerts = Arc::make_mut(state).alerts.values_mut();
                alerts.for_each(|alert| alert.skip(unwatched));
            }
        }
        let samples = self.alert_series();
        self.forget_gone();
        samples
    }

    /// `ALERTS` and `ALERTS_FOR_STATE` samples of what is pending or firing, and staleness markers of
    /// those that have just ended.
    pub(crate) fn alert_series(&self) -> Vec<(Labels, f64)> {
        let mut samples = Vec::new();
        for (labels, alert) in self.rule_states.values().flat_map(|state| &state.alerts) {
            samples.push((alerts_series(labels, alert.state), 1.0));
            samples.push((for_state_series(labels), alert.active_at.as_secs_f64().floor()));
        }
        let ended = f64::from_bits(STALE_NAN_BITS);
        samples.extend(self.gone.keys().map(|labels| (labels.clone(), ended)));
        samples
    }

    /// `data` of `/api/v1/rules`.
    pub fn rules_json(&self, filter: &RuleFilter) -> serde_json::Value {
        show::rules(self, filter)
    }

    /// `data` of `/api/v1/alerts`.
    pub fn alerts_json(&self) -> serde_json::Value {
        show::alerts(self)
    }

    /// Every alert that is not inactive, firing first.
    pub fn active(&self) -> Vec<ActiveAlert> {
        let mut all = Vec::new();
        for (rule, state) in &self.rule_states {
            all.extend(state.alerts.iter().map(|(labels, alert)| ActiveAlert {
                rule: rule.clone(),
                state: alert.state,
                labels: labels.clone(),
                annotations: alert.annotations.clone(),
                active_at: alert.active_at,
                value: alert.value,
                evidence: alert.evidence.clone(),
            }));
        }
        all.sort_by_key(|alert| (std::cmp::Reverse(alert.state), alert.active_at));
        all
    }

    /// What a rule asks for; empty where there is no such rule.
    pub(crate) fn reads(&self, key: &RuleKey) -> Reads {
        let mut rules = self.groups.iter().flat_map(|group| &group.rules);
        let Some(rule) = rules.find(|rule| rule.key == *key) else { return Reads::default() };
        let matchers = rule.query.selectors().into_iter().flatten();
        let outcomes = matchers.filter(|m| *m.name == *"outcome" && m.op == MatchOp::Equal);
        let outcomes = outcomes.map(|matcher| Text::clone(&matcher.value)).collect();
        Reads { metrics: rule.metrics.clone(), outcomes }
    }

    /// The objective of this name (and service), to read its state without this evaluator's lock.
    pub(crate) fn objective_named(&self, service: Option<&str>, name: &str) -> Option<Slo> {
        let is_it = |slo: &&Slo| {
            *slo.name == *name && service.is_none_or(|service| *slo.service == *service)
        };
        self.slos.iter().find(is_it).cloned()
    }

    /// All objectives, to read their state without this evaluator's lock.
    pub(crate) fn slos(&self) -> Vec<Slo> {
        self.slos.clone()
    }
}

/// Every error of every file.
fn load(config: &Config) -> Result<Loaded, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut groups = Vec::new();
    let pack = [(pack::PACK_NAME.to_owned(), pack::PACK.to_owned())];
    let files = if config.rule_files.is_empty() { &pack[..] } else { &config.rule_files };
    for (name, text) in files {
        match rule_file::parse(name, text) {
            Ok(found) => groups.extend(found),
            Err(found) => errors.extend(found),
        }
    }
    let mut slos = Vec::new();
    let mut warnings = Vec::new();
    for ((name, _), loaded) in config.slo_files.iter().zip(slo::load(&config.slo_files)) {
        match loaded {
            Ok(loaded) => {
                warnings.extend(loaded.warnings);
                match rule_file::parse(name, &loaded.rules) {
                    Ok(found) => groups.extend(found),
                    Err(found) => errors.extend(found.iter().map(|error| generated(name, error))),
                }
                slos.extend(loaded.slos);
            }
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    rule::follow_recordings(&mut groups);
    let groups = groups.into_iter().map(Arc::new).collect();
    Ok(Loaded { groups, slos, warnings })
}

/// An error in rules that were made from an SLO file: its own query is wrong, its place is unknown.
fn generated(name: &str, error: &Diagnostic) -> Diagnostic {
    let message = format!(
        "the rules made from it are wrong: {} in `{}`",
        error.message,
        error.source_line.trim()
    );
    Diagnostic::new(name, "", 0, 0, message)
}

pub(crate) fn alerts_series(labels: &Labels, state: AlertState) -> Labels {
    let state = show::state(state);
    labels.with(METRIC_NAME, "ALERTS").with("alertstate", state)
}

fn for_state_series(labels: &Labels) -> Labels {
    labels.with(METRIC_NAME, "ALERTS_FOR_STATE")
}

/// What a rule asks for: what its alerts are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// Metrics, and what they are recorded from.
    pub(crate) metrics: Vec<String>,
    /// Outcomes that it asks for by name.
    pub(crate) outcomes: Vec<Text>,
}

/// Query parameters of `/api/v1/rules`.
#[derive(Clone, Debug, Default)]
pub struct RuleFilter {
    /// `alert` or `record`.
    pub kind: Option<String>,
    pub rule_names: Vec<String>,
    pub groups: Vec<String>,
    pub files: Vec<String>,
    pub exclude_alerts: bool,
    /// The labels, as they are configured, meet one of these; all do where there is none.
    pub selectors: Vec<Vec<Matcher>>,
}

/// One alert as pages and APIs show it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveAlert {
    pub rule: RuleKey,
    pub state: AlertState,
    pub labels: Labels,
    pub annotations: BTreeMap<Text, Text>,
    pub active_at: Timestamp,
    pub value: f64,
    pub evidence: Option<Evidence>,
}
