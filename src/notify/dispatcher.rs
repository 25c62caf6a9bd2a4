//! The dispatcher: routes alerts into groups, decides what each notifier hears and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::config::{GroupBy, Route};
use super::group::{Fingerprint, Group, Outgoing, Told, reason};
use super::notice::{Alert, Notice};
use super::{Config, Message, Receipt};
use crate::evaluate::{AlertState, Transition};
use crate::signal::{Fnv128, Labels, Text, Timestamp};

/// Routes, groups and remembers what was told to whom. Pure: given transitions, receipts and time,
/// gives messages.
#[derive(Clone, Debug, Default)]
pub struct Dispatcher {
    config: Config,
    external_url: Text,
    alerts: BTreeMap<Fingerprint, Alert>,
    groups: BTreeMap<GroupKey, Group>,
    failed_for_good: u64,
}

/// The route's position and the group's labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    route: usize,
    labels: Labels,
}

/// A group as pages and APIs show it.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupView {
    pub receiver: Text,
    pub labels: Labels,
    pub n_firing: usize,
    /// When a notifier last heard of it.
    pub told_at: Option<Timestamp>,
    /// Messages that wait for a receipt, with their attempts.
    pub waiting: Vec<(Text, u32)>,
}

impl Dispatcher {
    /// `external_url` is where links in messages lead.
    pub fn new(config: Config, external_url: &str) -> Self {
        Self { config, external_url: external_url.into(), ..Self::default() }
    }

    /// A reload: alerts that fire are routed anew; what was told is kept where the group stays the same.
    pub fn set_config(&mut self, config: Config, now: Timestamp) {
        self.config = config;
        let old = std::mem::take(&mut self.groups);
        let firing: Vec<Fingerprint> = self.alerts.keys().copied().collect();
        for fingerprint in firing {
            self.route(fingerprint, now);
        }
        for (key, group) in &mut self.groups {
            if let Some(before) = old.get(key) {
                group.told = before.told.clone();
                group.outbox = before.outbox.clone();
                group.flushed_at = before.flushed_at;
            }
        }
    }

    /// Takes one journaled transition; `now` is log time.
    pub fn apply(&mut self, transition: &Transition, now: Timestamp) {
        let fingerprint = transition.labels.fingerprint();
        match transition.to {
            AlertState::Pending => {}
            AlertState::Firing => {
                let started_at = match self.alerts.get(&fingerprint) {
                    Some(alert) if alert.resolved_at.is_none() => alert.started_at,
                    _ => transition.at,
                };
                self.alerts.insert(
                    fingerprint,
                    Alert {
                        labels: transition.labels.clone(),
                        annotations: transition.annotations.clone(),
                        started_at,
                        resolved_at: None,
                        corrected: false,
                        evidence: transition.evidence.clone(),
                    },
                );
                self.route(fingerprint, now);
            }
            AlertState::Inactive => {
                let Some(alert) = self.alerts.get_mut(&fingerprint) else { return };
                alert.resolved_at = Some(transition.at.max(alert.started_at));
                alert.corrected = transition.corrected;
                self.schedule(fingerprint, now);
            }
        }
    }

    /// Takes one journaled receipt.
    pub fn receipt(&mut self, receipt: &Receipt) {
        let found = self.groups.iter_mut().find_map(|(key, group)| {
            let position = group.outbox.iter().find(|(_, outgoing)| outgoing.id == receipt.id)?.0;
            Some((key.clone(), *position))
        });
        let Some((key, position)) = found else { return };
        let Some(group) = self.groups.get_mut(&key) else { return };
        let Some(outgoing) = group.outbox.get_mut(&position) else { return };
        let retryable = receipt.failure.as_ref().map(|failure| failure.retryable);
        if retryable == Some(true) && outgoing.back_off(receipt).is_some() {
            return;
        }
        if retryable.is_some() {
            self.failed_for_good += 1;
        }
        if let Some(outgoing) = group.outbox.remove(&position) {
            // A message that can never be delivered counts as told: sending it again would fail again.
            let before = group.told.get(&position).and_then(|told| told.handle.clone());
            let handle = receipt.handle.clone().or(before);
            group.told.insert(position, Told { at: receipt.at, handle, ..outgoing.says });
        }
        self.forget_resolved(&key, receipt.at);
    }

    /// Messages that are due at `now` (log time). A message is offered until its receipt is applied:
    /// the sender leaves out those that are on their way.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Message> {
        let due: Vec<GroupKey> = self
            .groups
            .iter()
            .filter(|(_, group)| group.flush_at.is_some_and(|at| at <= now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.flush(&key, now);
        }
        let mut messages = Vec::new();
        for (key, group) in &self.groups {
            for (position, outgoing) in
                group.outbox.iter().filter(|(_, outgoing)| outgoing.next_attempt <= now)
            {
                messages.extend(self.message(key, *position, outgoing));
            }
        }
        messages
    }

    /// Every group, for pages and APIs.
    pub fn groups(&self) -> Vec<GroupView> {
        let view = |(key, group): (&GroupKey, &Group)| {
            let receiver = self.receiver(key.route)?;
            let firing = |id: &&Fingerprint| {
                self.alerts.get(id).is_some_and(|alert| alert.resolved_at.is_none())
            };
            Some(GroupView {
                receiver: Text::clone(&receiver.name),
                labels: key.labels.clone(),
                n_firing: group.alerts.iter().filter(firing).count(),
                told_at: group.told.values().map(|told| told.at).max(),
                waiting: group
                    .outbox
                    .values()
                    .map(|out| (Text::clone(&out.id), out.attempts))
                    .collect(),
            })
        };
        self.groups.iter().filter_map(view).collect()
    }

    /// Messages given up since the start of the log.
    pub fn failed_for_good(&self) -> u64 {
        self.failed_for_good
    }

    /// Puts an alert into the group of every route that takes it.
    fn route(&mut self, fingerprint: Fingerprint, now: Timestamp) {
        let Some(alert) = self.alerts.get(&fingerprint) else { return };
        let mut taken = Vec::new();
        if !self.config.routes.is_empty() {
            descend(&self.config.routes, 0, &alert.labels, &mut taken);
        }
        let severity = alert.labels.get("severity");
        for index in taken {
            let Some(route) = self.config.routes.get(index) else { continue };
            let labels = match &route.group_by {
                GroupBy::All => alert.labels.clone(),
                GroupBy::Names(names) => alert.labels.filtered(|name| names.contains(name)),
            };
            let wait = route.wait(severity);
            let group =
                self.groups.entry(GroupKey { route: index, labels }).or_insert_with(|| Group {
                    alerts: BTreeSet::new(),
                    flush_at: None,
                    flushed_at: None,
                    told: BTreeMap::new(),
                    outbox: BTreeMap::new(),
                });
            group.alerts.insert(fingerprint);
            // A page joins at once; everything else waits for the group's interval.
            let at = match group.flushed_at {
                Some(flushed) if !wait.is_zero() => {
                    flushed.saturating_add(route.group_interval).max(now)
                }
                _ => now.saturating_add(wait),
            };
            group.flush_at = Some(group.flush_at.map_or(at, |planned| planned.min(at)));
        }
    }

    /// Plans a look at the groups of an alert that resolved.
    fn schedule(&mut self, fingerprint: Fingerprint, now: Timestamp) {
        for (key, group) in
            self.groups.iter_mut().filter(|(_, group)| group.alerts.contains(&fingerprint))
        {
            let interval = self
                .config
                .routes
                .get(key.route)
                .map_or(std::time::Duration::ZERO, |route| route.group_interval);
            let at =
                group.flushed_at.map_or(now, |flushed| flushed.saturating_add(interval).max(now));
            group.flush_at = Some(group.flush_at.map_or(at, |planned| planned.min(at)));
        }
    }

    /// Looks at one group: makes a message for each notifier that has something to hear.
    fn flush(&mut self, key: &GroupKey, now: Timestamp) {
        let Some((route, receiver)) =
            self.config.routes.get(key.route).zip(self.receiver(key.route))
        else {
            return;
        };
        let Some(group) = self.groups.get(key) else { return };
        let mut says = Told { at: now, ..Told::default() };
        for fingerprint in &group.alerts {
            match self.alerts.get(fingerprint) {
                Some(alert) if alert.resolved_at.is_some() => says.resolved.insert(*fingerprint),
                Some(alert) if !self.is_inhibited(alert) => says.firing.insert(*fingerprint),
                _ => false,
            };
        }
        let mut made = Vec::new();
        let group_key = group_key(&self.config.routes, key);
        for (position, notifier) in receiver.notifiers.iter().enumerate() {
            let busy = group.outbox.get(&position);
            if busy.is_some_and(|out| {
                out.attempts == 0
                    || (out.says.firing == says.firing && out.says.resolved == says.resolved)
            }) {
                continue;
            }
            let before = group.told.get(&position);
            let Some(why) = reason(before, &says, notifier.send_resolved, route.repeat_interval)
            else {
                continue;
            };
            let shown = says.firing.iter().chain(&says.resolved);
            let notice = Notice {
                receiver: Text::clone(&receiver.name),
                reason: why,
                alerts: shown.filter_map(|id| self.alerts.get(id)).cloned().collect(),
                group_labels: key.labels.clone(),
                group_key: group_key.as_str().into(),
                external_url: Text::clone(&self.external_url),
                at: now,
            };
            let out = Outgoing {
                id: message_id(&group_key, &receiver.name, position, now),
                notice: Arc::new(notice),
                says: says.clone(),
                made_at: now,
                attempts: 0,
                next_attempt: now,
            };
            made.push((position, out));
        }
        let repeat = now.saturating_add(route.repeat_interval);
        let again = now.saturating_add(route.group_interval);
        let Some(group) = self.groups.get_mut(key) else { return };
        group.flushed_at = Some(now);
        let busy = !group.outbox.is_empty();
        group.flush_at = if busy {
            Some(again)
        } else if says.firing.is_empty() {
            None
        } else {
            Some(repeat)
        };
        group.outbox.extend(made);
        self.forget_resolved(key, now);
    }

    /// Drops resolved alerts that every notifier of the group knows about, and empty groups.
    fn forget_resolved(&mut self, key: &GroupKey, now: Timestamp) {
        let silent = |position: &usize| {
            let notifier =
                self.receiver(key.route).and_then(|receiver| receiver.notifiers.get(*position));
            notifier.is_none_or(|notifier| !notifier.send_resolved)
        };
        let silent: BTreeSet<usize> = self
            .groups
            .get(key)
            .into_iter()
            .flat_map(|group| group.told.keys())
            .filter(|at| silent(at))
            .copied()
            .collect();
        let Some(group) = self.groups.get_mut(key) else { return };
        let open = !group.outbox.is_empty();
        let alerts = &self.alerts;
        let is_over =
            |id: &Fingerprint| alerts.get(id).is_none_or(|alert| alert.resolved_at.is_some());
        // Who does not want to hear of an end needs no message to forget the alert.
        for (_, told) in group.told.iter_mut().filter(|(position, _)| silent.contains(position)) {
            told.firing.retain(|id| !is_over(id));
        }
        let told = |id: &Fingerprint| group.told.values().all(|told| !told.firing.contains(id));
        let gone: Vec<Fingerprint> =
            group.alerts.iter().copied().filter(|id| !open && is_over(id) && told(id)).collect();
        for id in &gone {
            group.alerts.remove(id);
        }
        let changed_since = group.alerts.iter().any(|id| {
            let resolved = is_over(id);
            group.told.values().any(|told| {
                if resolved { told.firing.contains(id) } else { !told.firing.contains(id) }
            })
        });
        if !open && changed_since && group.flush_at.is_none() {
            group.flush_at = Some(now);
        }
        if group.alerts.is_empty() && !open {
            self.groups.remove(key);
        }
        for id in gone {
            if !self.groups.values().any(|group| group.alerts.contains(&id)) {
                self.alerts.remove(&id);
            }
        }
    }

    fn is_inhibited(&self, target: &Alert) -> bool {
        self.config.inhibit.iter().any(|rule| {
            let all = |matchers: &[crate::series::Matcher], alert: &Alert| {
                matchers.iter().all(|m| m.matches_labels(&alert.labels))
            };
            let equal = |source: &Alert| {
                rule.equal.iter().all(|name| source.labels.get(name) == target.labels.get(name))
            };
            // An alert that matches both sides does not inhibit itself or its like (Alertmanager, inhibit.go).
            all(&rule.target, target)
                && !all(&rule.source, target)
                && self.alerts.values().any(|source| {
                    source.resolved_at.is_none() && all(&rule.source, source) && equal(source)
                })
        })
    }

    fn receiver(&self, route: usize) -> Option<&super::config::Receiver> {
        self.config.receivers.get(self.config.routes.get(route)?.receiver)
    }

    fn message(&self, key: &GroupKey, position: usize, outgoing: &Outgoing) -> Option<Message> {
        let receiver = self.receiver(key.route)?;
        Some(Message {
            id: Text::clone(&outgoing.id),
            position,
            notifier: Arc::clone(receiver.notifiers.get(position)?),
            notice: Arc::clone(&outgoing.notice),
            handle: self.groups.get(key)?.told.get(&position).and_then(|told| told.handle.clone()),
        })
    }
}

/// Alertmanager's `Route.Match`: the deepest routes that take the labels; a match ends the search
/// among its siblings unless it says `continue`.
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

/// `{}/{severity="page"}:{alertname="X"}`: the route's matchers, then the group's labels.
fn group_key(routes: &[Route], key: &GroupKey) -> String {
    let mut path = Vec::new();
    let mut at = Some(key.route);
    while let Some(index) = at {
        let shown = routes
            .get(index)
            .map(|route| route.matchers.iter().map(show).collect::<Vec<_>>().join(","));
        path.push(format!("{{{}}}", shown.unwrap_or_default()));
        at = routes.iter().position(|route| route.children.contains(&index));
    }
    path.reverse();
    let labels = if key.labels.is_empty() { "{}".to_owned() } else { key.labels.to_string() };
    format!("{}:{labels}", path.join("/"))
}

fn show(matcher: &crate::series::Matcher) -> String {
    use crate::series::MatchOp;
    let op = match matcher.op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    format!("{}{op}{:?}", matcher.name, matcher.value)
}

fn message_id(group_key: &str, receiver: &str, position: usize, made_at: Timestamp) -> Text {
    let hash = Fnv128::default()
        .field(group_key.as_bytes())
        .field(receiver.as_bytes())
        .field(&position.to_le_bytes())
        .field(&made_at.as_nanos().to_le_bytes());
    format!("{:032x}", hash.finish()).into()
}
