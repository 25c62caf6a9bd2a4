//! Which routes take an alert, and what holds it back there: inhibition, time intervals.
//!
//! What comes in: the checked configuration and labels. What goes out: positions of routes, fingerprints
//! of inhibiting alerts, names of muting intervals. Never does the order of alerts matter.

use std::collections::BTreeMap;

use super::Config;
use super::alert::TrackedAlert;
use super::config::{Inhibit, Route};
use super::group::Fingerprint;
use crate::series::{MatchOp, Matcher};
use crate::signal::{Labels, Text, Timestamp};

impl Config {
    /// The routes that take these labels, Alertmanager's `Route.Match`: the deepest ones; a match ends
    /// the search among its siblings unless it says `continue`.
    pub(crate) fn routes_of(&self, labels: &Labels) -> impl Iterator<Item = &Route> {
        let mut taken = Vec::new();
        descend(&self.routes, 0, labels, &mut taken);
        taken.into_iter().filter_map(|index| self.routes.get(index))
    }

    pub(crate) fn route(&self, id: &str) -> Option<&Route> {
        self.routes.iter().find(|route| *route.id == *id)
    }

    /// The time intervals because of which a route says nothing at `now`: those that mute it and hold,
    /// or those during which alone it is active, where none of them holds.
    pub(crate) fn muting(&self, route: &Route, now: Timestamp) -> Vec<Text> {
        let holds = |name: &&Text| {
            self.intervals
                .get(&***name)
                .is_some_and(|intervals| intervals.iter().any(|one| one.contains(now)))
        };
        let mut muting: Vec<Text> = route.mute.iter().filter(holds).cloned().collect();
        if !route.active.is_empty() && !route.active.iter().any(|name| holds(&name)) {
            muting.extend(route.active.iter().cloned());
        }
        muting
    }
}

fn descend(routes: &[Route], index: usize, labels: &Labels, taken: &mut Vec<usize>) -> bool {
    let Some(route) = routes.get(index) else { return false };
    if !route.matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
        return false;
    }
    let before = taken.len();
    for child in &route.children {
        let matched = descend(routes, *child, labels, taken);
        if matched && routes.get(*child).is_some_and(|child| !child.continues) {
            break;
        }
    }
    if taken.len() == before {
        taken.push(index);
    }
    true
}

/// `name=~"value"`, as group keys and APIs show it.
pub(crate) fn show(matcher: &Matcher) -> String {
    let op = match matcher.op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    format!("{}{op}{:?}", matcher.name, matcher.value)
}

/// The firing sources of every inhibition rule, found by the values of its `equal` labels.
#[derive(Debug)]
pub(crate) struct Inhibitors<'a>(Vec<Inhibitor<'a>>);

#[derive(Debug)]
struct Inhibitor<'a> {
    rule: &'a Inhibit,
    /// The least source, by the values of the rule's `equal` labels.
    any: BTreeMap<Vec<&'a str>, Fingerprint>,
    /// The same of those that are not targets as well.
    one_sided: BTreeMap<Vec<&'a str>, Fingerprint>,
}

fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches_labels(labels))
}

fn values<'a>(rule: &Inhibit, labels: &'a Labels) -> Vec<&'a str> {
    rule.equal.iter().map(|name| labels.get(name).unwrap_or_default()).collect()
}

impl<'a> Inhibitors<'a> {
    pub(crate) fn new(config: &'a Config, alerts: &'a BTreeMap<Fingerprint, TrackedAlert>) -> Self {
        let inhibitor = |rule: &'a Inhibit| {
            let mut inhibitor =
                Inhibitor { rule, any: BTreeMap::new(), one_sided: BTreeMap::new() };
            let firing = alerts.iter().filter(|(_, alert)| alert.is_firing());
            for (id, alert) in firing.filter(|(_, alert)| all_match(&rule.source, &alert.labels)) {
                if !all_match(&rule.target, &alert.labels) {
                    inhibitor.one_sided.entry(values(rule, &alert.labels)).or_insert(*id);
                }
                inhibitor.any.entry(values(rule, &alert.labels)).or_insert(*id);
            }
            inhibitor
        };
        Self(config.inhibit.iter().map(inhibitor).collect())
    }

    /// The alerts that inhibit one with these labels. What matches both sides of a rule is not
    /// inhibited by its like (Alertmanager's `inhibit.go`).
    pub(crate) fn of(&self, labels: &Labels) -> Vec<Fingerprint> {
        let by = |inhibitor: &Inhibitor<'_>| {
            let Inhibitor { rule, any, one_sided } = inhibitor;
            let sources = if all_match(&rule.source, labels) { one_sided } else { any };
            let found = all_match(&rule.target, labels)
                .then(|| sources.get(&values(rule, labels)))
                .flatten();
            found.copied()
        };
        let mut found: Vec<Fingerprint> = self.0.iter().filter_map(by).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}
