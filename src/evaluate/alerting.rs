//! The states of one rule's alerts: results at one time in, proposed transitions out.
//!
//! A proposal changes nothing. State changes when the transition comes back from the journal
//! ([`Alert::apply`]), so what was sent is never ahead of what is on disk.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rule::Ages;
use super::{AlertState, Evidence, Kept, RuleKey, Transition};
use crate::signal::{Labels, Text, Timestamp};

/// The alerts of one rule that are not inactive.
pub(crate) type Alerts = BTreeMap<Labels, Alert>;

/// One alert that is pending or firing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) state: AlertState,
    pub(crate) annotations: BTreeMap<Text, Text>,
    /// When the expression first became true, in evaluation time.
    pub(crate) active_at: Timestamp,
    /// From where `for` counts: later than `active_at` by the time that nobody watched.
    pub(crate) ages_from: Timestamp,
    pub(crate) value: f64,
    /// When the expression became false, where `keep_firing_for` holds the alert.
    pub(crate) kept_since: Option<Timestamp>,
    pub(crate) evidence: Option<Evidence>,
}

/// One element of an alerting rule's result, with the alert's labels and texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<Text, Text>,
    pub(crate) value: f64,
}

/// What one evaluation of a rule asks to be journaled.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Proposed {
    pub(crate) transitions: Vec<Transition>,
    /// Alerts that `keep_firing_for` began to hold, or let go without an end.
    pub(crate) kept: Vec<Kept>,
}

/// Compares what a rule found at `at` with its alerts. Values, annotations and the clock of
/// `keep_firing_for` are updated in place (the clock is told, too); changes of state are proposed, ordered
/// by labels.
pub(crate) fn step(
    rule: &RuleKey,
    ages: &Ages,
    alerts: &mut Alerts,
    found: Vec<Found>,
    at: Timestamp,
) -> Proposed {
    let (mut proposed, mut kept) = (Vec::new(), Vec::new());
    let mut present: BTreeMap<Labels, Found> =
        found.into_iter().map(|found| (found.labels.clone(), found)).collect();
    for (labels, alert) in alerts.iter_mut() {
        let kept_before = alert.kept_since;
        let change = match present.remove(labels) {
            Some(found) => {
                alert.value = found.value;
                alert.annotations = found.annotations;
                if let Some(evidence) = &alert.evidence {
                    evidence.annotate(&mut alert.annotations);
                }
                alert.kept_since = None;
                let is_due = at.since(alert.ages_from) >= ages.hold;
                (alert.state == AlertState::Pending && is_due).then_some(AlertState::Firing)
            }
            None => (!is_kept(alert, ages, at)).then_some(AlertState::Inactive),
        };
        if change.is_none() && alert.kept_since != kept_before {
            let (rule, labels, since) = (rule.clone(), labels.clone(), alert.kept_since);
            kept.push(Kept { rule, labels, since });
        }
        proposed.extend(change.map(|to| transition(rule, labels, alert, (to, at))));
    }
    for (labels, found) in present {
        let state = if ages.hold.is_zero() { AlertState::Firing } else { AlertState::Pending };
        let Found { annotations, value, .. } = found;
        let alert = Alert {
            state,
            annotations,
            active_at: at,
            ages_from: at,
            value,
            kept_since: None,
            evidence: None,
        };
        proposed.push(transition(rule, &labels, &alert, (state, at)));
    }
    proposed.sort_by(|a, b| a.labels.cmp(&b.labels));
    Proposed { transitions: proposed, kept }
}

/// Whether `keep_firing_for` still holds an alert whose expression is false.
fn is_kept(alert: &mut Alert, ages: &Ages, at: Timestamp) -> bool {
    if alert.state != AlertState::Firing || ages.keep_firing.is_zero() {
        return false;
    }
    let since = *alert.kept_since.get_or_insert(at);
    at.since(since) < ages.keep_firing
}

/// The end of an alert whose rule is gone.
pub(crate) fn resolve(rule: &RuleKey, labels: &Labels, alert: &Alert, at: Timestamp) -> Transition {
    transition(rule, labels, alert, (AlertState::Inactive, at))
}

fn transition(
    rule: &RuleKey,
    labels: &Labels,
    alert: &Alert,
    (to, at): (AlertState, Timestamp),
) -> Transition {
    Transition {
        rule: rule.clone(),
        labels: labels.clone(),
        annotations: alert.annotations.clone(),
        to,
        at,
        active_at: alert.active_at,
        value: alert.value,
        corrected: false,
        evidence: alert.evidence.clone(),
    }
}

impl Alert {
    /// Time passed that nobody watched: it does not count.
    pub(crate) fn skip(&mut self, unwatched: Duration) {
        self.ages_from = self.ages_from.saturating_add(unwatched);
        self.kept_since = self.kept_since.map(|since| since.saturating_add(unwatched));
    }

    /// Takes a journaled transition; None: the alert is over.
    pub(crate) fn apply(before: Option<Self>, transition: &Transition) -> Option<Self> {
        if transition.to == AlertState::Inactive {
            return None;
        }
        let ages_from = before.as_ref().map_or(transition.active_at, |alert| alert.ages_from);
        let evidence =
            transition.evidence.clone().or_else(|| before.and_then(|alert| alert.evidence));
        Some(Self {
            state: transition.to,
            annotations: transition.annotations.clone(),
            active_at: transition.active_at,
            ages_from,
            value: transition.value,
            kept_since: None,
            evidence,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;

    /// Each word of `results` is one evaluation, 10 s after the last: the alerts whose expression is
    /// true (`a`, `b`, `ab`), `-` for none, `!` for a crash and recovery from the journal.
    fn check(ages: Ages, results: &str, expect: &Expect) {
        let rule = RuleKey { file: "f".into(), group: "g".into(), name: "A".into() };
        let mut alerts = Alerts::new();
        let mut journal = Vec::new();
        let mut shown = String::new();
        let mut seconds = 0;
        for word in results.split_whitespace() {
            if word == "!" {
                alerts.clear();
                for record in &journal {
                    replay(&mut alerts, record);
                }
                continue;
            }
            let at = Timestamp::from_millis(seconds * 1000);
            let found = word.chars().filter(|c| *c != '-').map(|c| Found {
                labels: Labels::of(&[("alertname", "A"), ("x", &c.to_string())]),
                annotations: BTreeMap::new(),
                value: 1.0,
            });
            let proposed = step(&rule, &ages, &mut alerts, found.collect(), at);
            journal.extend(proposed.kept.into_iter().map(Record::Kept));
            for transition in proposed.transitions {
                let record = Record::Changed(Box::new(transition.clone()));
                replay(&mut alerts, &record);
                journal.push(record);
                let name = transition.labels.get("x").unwrap_or_default().to_owned();
                let since = transition.active_at.as_secs();
                let _ = writeln!(shown, "{seconds}s {name} {:?} since {since}s", transition.to);
            }
            seconds += 10;
        }
        expect.assert_eq(&shown);
    }

    enum Record {
        Changed(Box<Transition>),
        Kept(Kept),
    }

    fn replay(alerts: &mut Alerts, record: &Record) {
        let transition = match record {
            Record::Changed(transition) => transition,
            Record::Kept(kept) => {
                if let Some(alert) = alerts.get_mut(&kept.labels) {
                    alert.kept_since = kept.since;
                }
                return;
            }
        };
        let before = alerts.remove(&transition.labels);
        if let Some(alert) = Alert::apply(before, transition) {
            alerts.insert(transition.labels.clone(), alert);
        }
    }

    fn ages(hold: u64, keep_firing: u64) -> Ages {
        Ages { hold: Duration::from_secs(hold), keep_firing: Duration::from_secs(keep_firing) }
    }

    #[test]
    fn an_alert_without_for_fires_at_once() {
        check(
            ages(0, 0),
            "- a ab b -",
            &expect![[r"
            10s a Firing since 10s
            20s b Firing since 20s
            30s a Inactive since 10s
            40s b Inactive since 20s
        "]],
        );
    }

    #[test]
    fn an_alert_fires_only_after_for() {
        check(
            ages(20, 0),
            "a a - a a a a -",
            &expect![[r"
            0s a Pending since 0s
            20s a Inactive since 0s
            30s a Pending since 30s
            50s a Firing since 30s
            70s a Inactive since 30s
        "]],
        );
    }

    #[test]
    fn a_pending_alert_survives_a_restart() {
        check(
            ages(30, 0),
            "a a ! a a -",
            &expect![[r"
            0s a Pending since 0s
            30s a Firing since 0s
            40s a Inactive since 0s
        "]],
        );
    }

    #[test]
    fn a_firing_alert_survives_a_restart_and_fires_once() {
        check(
            ages(0, 0),
            "a ! a ! -",
            &expect![[r"
            0s a Firing since 0s
            20s a Inactive since 0s
        "]],
        );
    }

    #[test]
    fn keep_firing_for_counts_on_over_a_restart() {
        check(
            ages(0, 40),
            "a - ! - a - - ! - - ! - -",
            &expect![[r"
            0s a Firing since 0s
            80s a Inactive since 0s
        "]],
        );
    }

    #[test]
    fn the_evidence_of_an_alert_stays_while_its_own_texts_change() {
        let rule = RuleKey { file: "f".into(), group: "g".into(), name: "A".into() };
        let found = |says: &str| Found {
            labels: Labels::of(&[("alertname", "A")]),
            annotations: [("summary".into(), says.into())].into(),
            value: 1.0,
        };
        let mut alerts = Alerts::new();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let begun = step(&rule, &ages(0, 0), &mut alerts, vec![found("one")], at(0)).transitions;
        let mut begun = begun.into_iter().next().expect("it fires");
        let request = crate::evaluate::alert::Example {
            request_id: "r".into(),
            flow: "POST /orders".into(),
            outcome: "error".into(),
            duration_ms: 12.0,
            failed: None,
            slowest: "fulfil (run)".into(),
            slowest_ms: 9.0,
            usual_ms: None,
            error: None,
            timeline: Vec::new(),
            url: "http://x/requests/r".into(),
        };
        begun.evidence = Some(Evidence { request: Some(request), ..Evidence::default() });
        replay(&mut alerts, &Record::Changed(Box::new(begun)));
        step(&rule, &ages(0, 0), &mut alerts, vec![found("two")], at(10));
        let shown = alerts.values().next().expect("it still fires").annotations.clone();
        let shown: Vec<String> =
            shown.iter().map(|(name, text)| format!("{name}: {text}")).collect();
        expect![[r"
            evidence: POST /orders ended error after 12 ms, 9 ms of it in fulfil (run). http://x/requests/r
            request_url: http://x/requests/r
            summary: two"]]
        .assert_eq(&shown.join("\n"));
    }

    #[test]
    fn keep_firing_for_bridges_gaps() {
        check(
            ages(0, 20),
            "a - a - - - -",
            &expect![[r"
            0s a Firing since 0s
            50s a Inactive since 0s
        "]],
        );
    }
}
