//! Replay: what was captured, through every stage again, in simulated time.
//!
//! In: batches with the times at which they come, or a journal that no daemon uses. Out: the requests,
//! and the alerts that would have fired and when. The same state as the daemon's takes the same records;
//! rules are evaluated after its ticks. Never is anything sent, never is the captured folder changed.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use super::rehearsal::{Happened, Rehearsal};
use super::state::{Entry, read};
use super::terms::Terms;
use crate::archive;
use crate::config::Config;
use crate::correlate::{Outcome, Request, RequestFilter};
use crate::evaluate::{AlertState, Evidence, RuleKey, Transition};
use crate::journal::inspect;
use crate::notify;
use crate::signal::{Batch, Labels, Text, Timestamp};

/// As in the daemon: ages count ticks of a second.
const TICK: Duration = Duration::from_secs(1);
/// Requests that one replay shows at most; the archive looks no further.
const REQUESTS_MAX: usize = 200_000;
/// Alerts that one replay remembers.
const ALERTS_MAX: usize = 100_000;
/// The longest pause between two batches that is lived through tick by tick; of a longer one this much
/// is, so that alerts of before resolve, and the rest is skipped.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// Every request is kept, however old the capture: days count from its newest.
const RETENTION: Duration = Duration::from_hours(365 * 24);

/// One alert from its begin to its end.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Alerted {
    pub name: Text,
    pub group: Text,
    pub labels: Labels,
    pub annotations: BTreeMap<Text, Text>,
    pub value: f64,
    /// When its expression first was true.
    pub active_at: Timestamp,
    pub fired_at: Timestamp,
    /// None: it fires still where the data ends.
    pub resolved_at: Option<Timestamp>,
    /// What made the message: a real request, counts, a trend.
    pub evidence: Option<Evidence>,
    #[serde(skip)]
    rule: RuleKey,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcomes {
    /// In the order in which they fired.
    pub alerts: Vec<Alerted>,
    /// Alerts beyond those that are remembered.
    pub n_more_alerts: u64,
    /// Oldest first; `REQUESTS_MAX` at most, the newest.
    pub requests: Vec<Request>,
    /// What became of every signal, as `/api/ledger` has it.
    pub ledger: serde_json::Value,
    /// None: nothing was captured.
    pub begin: Option<Timestamp>,
    pub end: Option<Timestamp>,
}

/// Whose rules are evaluated over a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesHold {
    Ours,
    TheJournals,
}

/// A rehearsal of what was captured.
#[derive(Debug)]
pub struct Replay {
    rehearsal: Rehearsal,
    terms: Terms,
    rules: RulesHold,
    alerts: Vec<Alerted>,
    n_more_alerts: u64,
    begin: Option<Timestamp>,
}

impl Replay {
    /// Under the settings of `config`; every request is kept. `begin` lies before all that comes.
    ///
    /// # Errors
    /// What is wrong with the rules, or with the folder for kept requests.
    pub fn new(config: &Config, rules: RulesHold, begin: Timestamp) -> Result<Self, Vec<String>> {
        let mut config = config.clone();
        config.archive = archive::Config {
            errors: true,
            slowest_per_flow: 0,
            sample: 1.0,
            size_max_bytes: u64::MAX,
            retention: RETENTION,
        };
        // Nothing is sent, whatever the settings say.
        config.notify = notify::Config::default();
        Ok(Self {
            rehearsal: Rehearsal::new(&config, begin)?,
            terms: Terms::of(&config),
            rules,
            alerts: Vec::new(),
            n_more_alerts: 0,
            begin: None,
        })
    }

    /// Takes a batch that comes at `at`; time passes until then. Batches come in the order of time.
    pub fn batch(&mut self, batch: Batch, at: Timestamp) {
        self.begin.get_or_insert(at);
        self.pass_until(at);
        self.rehearsal.take(batch);
    }

    /// Lets time pass behind the last batch until no request is open, for as long as one may wait.
    pub fn settle(&mut self) {
        let correlate = self.rehearsal.state().terms().correlate;
        let patience = correlate.incomplete_after + correlate.retry_after_max();
        let begin = self.rehearsal.now();
        let (quiet, end) =
            (begin.saturating_add(correlate.settle_after + TICK), begin.saturating_add(patience));
        while self.rehearsal.now() < end && (self.rehearsal.now() < quiet || self.is_open()) {
            self.pass_until(self.rehearsal.now().saturating_add(TICK));
        }
    }

    fn is_open(&self) -> bool {
        let state = self.rehearsal.state();
        read(&state.engine).open_by_flow().iter().any(|(_, n)| *n > 0)
    }

    /// Takes a journal's records as they were written, but for what rules and notifiers made of them.
    /// Gives the number of records that the journal no longer has in front of its first.
    ///
    /// # Errors
    /// Where it is no data directory, a daemon uses it, or the journal is damaged.
    pub fn journal(&mut self, data_dir: &Path) -> Result<u64, String> {
        let dir = data_dir.join("journal");
        let _lock = super::folder::lock_existing(data_dir)?;
        let from = inspect::begin(&dir).map_err(|error| error.to_string())?;
        inspect::read(&dir, from, &mut |replayed| {
            let entry = Entry::decode(replayed.payload).map_err(|error| error.to_string())?;
            self.record(entry, replayed.log_time);
            Ok(())
        })
        .map_err(|error| error.to_string())?;
        Ok(from.seq)
    }

    fn record(&mut self, entry: Entry, at: Timestamp) {
        self.begin.get_or_insert(at);
        let entry = match entry {
            // Made again by the rules that hold now.
            Entry::Alerts { .. } | Entry::Receipt(_) | Entry::Kept(_) => return,
            Entry::Terms(json) => match self.terms(&json) {
                Some(entry) => entry,
                None => return,
            },
            Entry::Batch(_) | Entry::Command(_) | Entry::Tick => entry,
        };
        let happened = self.rehearsal.apply(&entry, at);
        self.note_all(&happened);
    }

    /// The journal's settings, but for what is kept and, where ours hold, the rules.
    fn terms(&self, json: &str) -> Option<Entry> {
        let mut terms: Terms = serde_json::from_str(json).ok()?;
        terms.archive = self.terms.archive.clone();
        if self.rules == RulesHold::Ours {
            terms.rules = self.terms.rules.clone();
        }
        terms.entry().ok()
    }

    fn pass_until(&mut self, at: Timestamp) {
        let lived = self.rehearsal.now().saturating_add(PAUSE_MAX);
        let mut happened = Vec::new();
        self.rehearsal.advance(at.min(lived), &mut |one| happened.push(one));
        if at > lived {
            happened.push(self.rehearsal.apply(&Entry::Tick, at));
        }
        happened.iter().for_each(|one| self.note_all(one));
    }

    fn note_all(&mut self, happened: &Happened) {
        happened.transitions.iter().for_each(|transition| self.note(transition));
    }

    fn note(&mut self, transition: &Transition) {
        let Transition { rule, labels, at, .. } = transition;
        let has_room = self.alerts.len() < ALERTS_MAX;
        let known = self.alerts.iter_mut().rev().find(|alert| {
            alert.resolved_at.is_none() && alert.rule == *rule && alert.labels == *labels
        });
        match (transition.to, known) {
            (AlertState::Inactive, Some(alert)) => alert.resolved_at = Some(*at),
            (AlertState::Firing, None) if has_room => {
                self.alerts.push(Alerted {
                    name: Text::clone(&rule.name),
                    group: Text::clone(&rule.group),
                    labels: labels.clone(),
                    annotations: transition.annotations.clone(),
                    value: transition.value,
                    active_at: transition.active_at,
                    fired_at: *at,
                    resolved_at: None,
                    evidence: transition.evidence.clone(),
                    rule: rule.clone(),
                });
            }
            (AlertState::Firing, None) => self.n_more_alerts += 1,
            _ => {}
        }
    }

    /// Everything that is known now.
    ///
    /// # Errors
    /// Where kept requests cannot be read.
    pub fn outcomes(self) -> Result<Outcomes, String> {
        let filter = RequestFilter { limit: REQUESTS_MAX, ..RequestFilter::default() };
        let (mut requests, ledger) = {
            let engine = read(&self.rehearsal.state().engine);
            (engine.requests(&filter), serde_json::json!(engine.ledger()))
        };
        // The engine's version comes first: it is at least as new as the archive's.
        requests.extend(
            self.rehearsal.state().archive.requests(&filter).map_err(|error| error.to_string())?,
        );
        let mut seen = HashSet::new();
        requests.retain(|request| seen.insert(Text::clone(&request.id)));
        requests.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
        Ok(Outcomes {
            alerts: self.alerts,
            n_more_alerts: self.n_more_alerts,
            requests,
            ledger,
            begin: self.begin,
            end: self.begin.map(|_| self.rehearsal.now()),
        })
    }
}

impl Outcomes {
    /// How many requests ended how; none are left out.
    pub fn by_outcome(&self) -> Vec<(Outcome, usize)> {
        let n = |outcome: Outcome| self.requests.iter().filter(|r| r.outcome == outcome).count();
        let counted = Outcome::ALL.into_iter().map(|outcome| (outcome, n(outcome)));
        counted.filter(|(_, n)| *n > 0).collect()
    }
}
