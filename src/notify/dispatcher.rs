//! The dispatcher: routes alerts into groups, decides what each notifier hears and when.
//!
//! What comes in: journaled transitions, [`Command`]s and receipts, and log time. What goes out:
//! messages that are due. Never does a message follow from what is not in the journal, and never are two
//! messages of one group on their way to one notifier.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::TrackedAlert;
use super::config::{GroupBy, Route};
use super::fallback::{Fallbacks, Fate};
use super::group::{Fingerprint, Group, GroupKey, Outgoing, Told};
use super::receivers::Receiver;
use super::routing::Inhibitors;
use super::silence::Silences;
use super::{Command, Config, Message, Receipt};
use crate::evaluate::{AlertState, Evidence, Transition};
use crate::signal::{Text, Timestamp};

/// How long a resolved alert can still be seen and pushed on (Prometheus's `resolvedRetention`).
const RESOLVED_KEPT: Duration = Duration::from_mins(15);
/// How often what is over is looked for.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// Alerts that are held; posts beyond are refused.
pub const ALERTS_MAX: usize = 50_000;
/// Bytes of the labels and annotations of all of them, where posts are refused.
pub(super) const ALERT_BYTES_MAX: usize = 32 << 20;

/// Routes, groups and remembers what was told to whom. Pure: given transitions, commands, receipts and
/// time, gives messages.
#[derive(Clone, Debug, Default)]
pub struct Dispatcher {
    pub(super) config: Config,
    pub(super) external_url: Text,
    pub(super) held: Held,
}

/// All that the journal made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) alerts: BTreeMap<Fingerprint, TrackedAlert>,
    pub(super) groups: BTreeMap<GroupKey, Group>,
    pub(super) silences: Silences,
    fallbacks: Fallbacks,
    failed_for_good: u64,
    /// Commands that could not be done when their turn came.
    refused: u64,
    swept_at: Timestamp,
}

impl Dispatcher {
    /// `external_url` is where links in messages lead.
    pub fn new(config: Config, external_url: &str) -> Self {
        Self { config, external_url: external_url.into(), held: Held::default() }
    }

    /// All state, for a snapshot: alerts, groups with what each notifier was told and what waits for a
    /// receipt, silences. [`Dispatcher::restore`] reads it back.
    pub fn save(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.held).expect("plain data into memory")
    }

    /// A dispatcher as it was saved. A configuration other than the one it was saved under is then
    /// given by [`Dispatcher::set_config`].
    ///
    /// # Errors
    /// Where the bytes are not what [`Dispatcher::save`] of this version wrote.
    pub fn restore(
        config: Config,
        external_url: &str,
        saved: &[u8],
    ) -> Result<Self, postcard::Error> {
        Ok(Self { config, external_url: external_url.into(), held: postcard::from_bytes(saved)? })
    }

    /// A reload: alerts are routed anew; what was told is kept where the group and its receiver stay
    /// the same. What waits for a receiver that is gone is given up.
    pub fn set_config(&mut self, config: Config, now: Timestamp) {
        self.config = config;
        let mut old = std::mem::take(&mut self.held.groups);
        let grouped: BTreeSet<Fingerprint> =
            old.values().flat_map(|group| &group.alerts).copied().collect();
        let routed: Vec<Fingerprint> = self
            .held
            .alerts
            .iter()
            .filter(|(id, alert)| alert.is_firing() || grouped.contains(id))
            .map(|(id, _)| *id)
            .collect();
        for id in routed {
            self.route(id, now);
        }
        for (key, group) in &mut self.held.groups {
            let n_notifiers =
                receiver_of(&self.config, &key.route).map_or(0, Receiver::n_notifiers);
            let Some(before) = old.get_mut(key) else { continue };
            if before.receiver == group.receiver {
                before.told.retain(|position, _| *position < n_notifiers);
                group.told = std::mem::take(&mut before.told);
                group.flushed_at = before.flushed_at;
                group.outbox = std::mem::take(&mut before.outbox);
                before.outbox = group.outbox.split_off(&n_notifiers);
            }
        }
        let given_up: usize = old.values().map(|group| group.outbox.len()).sum();
        let given_up = given_up + self.held.fallbacks.retain(&self.config);
        self.held.failed_for_good += crate::number::u64_from_usize(given_up);
    }

    /// Takes one journaled transition; `now` is log time.
    pub fn apply(&mut self, transition: &Transition, now: Timestamp) {
        let id = transition.labels.fingerprint();
        match transition.to {
            AlertState::Pending => {}
            AlertState::Firing => {
                let alert = TrackedAlert::held(transition, self.held.alerts.get(&id), now);
                self.put(id, alert, now);
            }
            AlertState::Inactive => {
                let Some(alert) = self.held.alerts.get_mut(&id) else { return };
                alert.let_go(transition, now);
                if !alert.is_firing() {
                    self.schedule(id, now);
                }
            }
        }
    }

    /// Takes one journaled command; `now` is log time.
    pub fn command(&mut self, command: &Command, now: Timestamp) {
        match command {
            Command::SetSilence(silence) => {
                if self.held.silences.set(silence).is_err() {
                    self.held.refused += 1;
                }
            }
            Command::ExpireSilence(id) => self.held.silences.expire(id, now),
            Command::PostAlerts(posted) => {
                for one in posted {
                    self.post(one, now);
                }
            }
        }
    }

    fn post(&mut self, posted: &super::PostedAlert, now: Timestamp) {
        let id = posted.labels.fingerprint();
        let before = self.held.alerts.get(&id);
        let alert = TrackedAlert::posted(posted, before, self.config.resolve_timeout, now);
        if !alert.is_firing() && !before.is_some_and(TrackedAlert::is_firing) {
            // An end without a beginning: nobody was told, nobody needs to be.
            return;
        }
        self.put(id, alert, now);
    }

    /// Puts what is known now in the place of what was; plans a look where that is a change.
    fn put(&mut self, id: Fingerprint, alert: TrackedAlert, now: Timestamp) {
        let fires = alert.is_firing();
        let before = self.held.alerts.insert(id, alert);
        match (before.is_some_and(|before| before.is_firing()), fires) {
            (false, true) => self.route(id, now),
            (true, false) => self.schedule(id, now),
            _ => {}
        }
    }

    /// Takes one journaled receipt.
    pub fn receipt(&mut self, receipt: &Receipt) {
        match self.held.fallbacks.receipt(receipt) {
            Fate::Unknown => self.receipt_of_group(receipt),
            Fate::Settled => {}
            Fate::GivenUp => self.held.failed_for_good += 1,
        }
    }

    fn receipt_of_group(&mut self, receipt: &Receipt) {
        let found = self.held.groups.iter_mut().find_map(|(key, group)| {
            let position = group.outbox.iter().find(|(_, outgoing)| outgoing.id == receipt.id)?.0;
            Some((key.clone(), *position))
        });
        let Some((key, position)) = found else { return };
        let Some(group) = self.held.groups.get_mut(&key) else { return };
        if std::mem::take(&mut group.changed_meanwhile) {
            group.flush_by(receipt.at);
        }
        let Some(outgoing) = group.outbox.get_mut(&position) else { return };
        outgoing.is_offered = false;
        let retryable = receipt.failure.as_ref().map(|failure| failure.retryable);
        if retryable == Some(true) && outgoing.back_off(receipt).is_some() {
            return;
        }
        if let Some(outgoing) = group.outbox.remove(&position) {
            if retryable.is_some() && !self.held.fallbacks.take(&outgoing, &self.config, receipt.at)
            {
                self.held.failed_for_good += 1;
            }
            // A message that can never be delivered counts as told: sending it again would fail again.
            let before = group.told.get(&position).and_then(|told| told.handle.clone());
            let handle = receipt.handle.clone().or(before);
            group.told.insert(position, Told { at: receipt.at, handle, ..outgoing.says });
        }
        self.forget_resolved(&key);
    }

    /// Messages that are due at `now` (log time). A message is offered until its receipt is applied:
    /// the sender leaves out those that are on their way.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Message> {
        self.expire(now);
        let due: Vec<GroupKey> = self
            .held
            .groups
            .iter()
            .filter(|(_, group)| group.flush_at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        if !due.is_empty() {
            self.flush(&due, now);
        }
        if now.since(self.held.swept_at) >= SWEEP_EVERY {
            self.sweep(now);
        }
        let (config, mut messages) = (&self.config, Vec::new());
        for (key, group) in &mut self.held.groups {
            let Some(receiver) = receiver_of(config, &key.route) else { continue };
            let Group { outbox, told, .. } = group;
            for (position, outgoing) in
                outbox.iter_mut().filter(|(_, outgoing)| outgoing.next_attempt <= now)
            {
                outgoing.is_offered = true;
                messages.extend(message(receiver, *position, outgoing, told.get(position)));
            }
        }
        messages.extend(self.held.fallbacks.due(config, now));
        messages
    }

    /// Messages given up since the start of the log.
    pub fn failed_for_good(&self) -> u64 {
        self.held.failed_for_good
    }

    /// Puts an alert into the group of every route that takes it.
    fn route(&mut self, id: Fingerprint, now: Timestamp) {
        let Some(alert) = self.held.alerts.get(&id) else { return };
        for route in self.config.routes_of(&alert.labels) {
            let wait = route.wait(alert.labels.get("severity"));
            // A page joins at once; everything else waits for the group's interval.
            let first = alert.started_at.min(now).saturating_add(wait).max(now);
            let receiver = self.config.receivers.get(route.receiver);
            let receiver = receiver.map_or_else(Text::default, |one| Text::clone(&one.name));
            let group = self
                .held
                .groups
                .entry(group_key(route, alert))
                .or_insert_with(|| Group::new(receiver, first));
            group.alerts.insert(id);
            group.flush_by(match group.flushed_at {
                Some(flushed) if !wait.is_zero() => {
                    flushed.saturating_add(route.group_interval).max(now)
                }
                _ => first,
            });
        }
    }

    /// Plans a look at the groups of an alert that resolved.
    fn schedule(&mut self, id: Fingerprint, now: Timestamp) {
        let Some(alert) = self.held.alerts.get(&id) else { return };
        for route in self.config.routes_of(&alert.labels) {
            if let Some(group) = self.held.groups.get_mut(&group_key(route, alert)) {
                let interval = route.group_interval;
                group.flush_by(
                    group
                        .flushed_at
                        .map_or(now, |flushed| flushed.saturating_add(interval).max(now)),
                );
            }
        }
    }

    /// Takes requests of these ids out of what alerts and waiting messages show. Gives how many showed one.
    pub fn forget_requests(&mut self, ids: &BTreeSet<Text>) -> usize {
        let shows = |evidence: &Option<Evidence>| {
            let request = evidence.as_ref().and_then(|evidence| evidence.request.as_ref());
            request.is_some_and(|request| ids.contains(&request.request_id))
        };
        let mut n = 0;
        for alert in self.held.alerts.values_mut().filter(|alert| shows(&alert.evidence)) {
            alert.evidence = None;
            n += 1;
        }
        let groups = self.held.groups.values_mut();
        for outgoing in groups.flat_map(|group| group.outbox.values_mut()) {
            if outgoing.notice.alerts.iter().any(|alert| shows(&alert.evidence)) {
                let alerts = Arc::make_mut(&mut outgoing.notice).alerts.iter_mut();
                alerts
                    .filter(|alert| shows(&alert.evidence))
                    .for_each(|alert| alert.evidence = None);
                n += 1;
            }
        }
        n
    }

    /// Ends posted alerts that nobody posted again.
    fn expire(&mut self, now: Timestamp) {
        let ended: Vec<Fingerprint> = self
            .held
            .alerts
            .iter_mut()
            .filter_map(|(id, alert)| alert.expire(now).then_some(*id))
            .collect();
        for id in ended {
            self.schedule(id, now);
        }
    }

    /// Looks at groups: makes a message for each notifier that has something to hear.
    fn flush(&mut self, due: &[GroupKey], now: Timestamp) {
        let inhibitors = Inhibitors::new(&self.config, &self.held.alerts);
        let mut flushed = Vec::new();
        for key in due {
            let Some(group) = self.held.groups.get(key) else { continue };
            let look = super::flush::Look {
                config: &self.config,
                external_url: &self.external_url,
                alerts: &self.held.alerts,
                silences: &self.held.silences,
                inhibitors: &inhibitors,
                now,
            };
            flushed.push(look.at(key, group));
        }
        for (key, flushed) in due.iter().zip(flushed) {
            let Some(group) = self.held.groups.get_mut(key) else { continue };
            match flushed {
                Some(flushed) => flushed.into_group(group, now),
                // Its route is gone.
                None => drop(self.held.groups.remove(key)),
            }
            self.forget_resolved(key);
        }
    }

    /// Drops resolved alerts that every notifier of the group knows about, and empty groups.
    fn forget_resolved(&mut self, key: &GroupKey) {
        let Some(group) = self.held.groups.get_mut(key) else { return };
        let receiver = receiver_of(&self.config, &key.route);
        let alerts = &self.held.alerts;
        let is_over = |id: &Fingerprint| alerts.get(id).is_none_or(|alert| !alert.is_firing());
        // Who does not want to hear of an end needs no message to forget the alert.
        for (position, told) in &mut group.told {
            if receiver.is_none_or(|receiver| !receiver.sends_resolved(*position)) {
                told.firing.retain(|id| !is_over(id));
            }
        }
        if !group.outbox.is_empty() {
            return;
        }
        let told = &group.told;
        group
            .alerts
            .retain(|id| !is_over(id) || told.values().any(|told| told.firing.contains(id)));
        if group.alerts.is_empty() {
            self.held.groups.remove(key);
        }
    }

    /// Forgets resolved alerts that no group waits for, and silences that ended long ago.
    fn sweep(&mut self, now: Timestamp) {
        self.held.swept_at = now;
        self.held.silences.sweep(now);
        let over = |alert: &TrackedAlert| {
            alert.resolved_at.is_some_and(|at| at.saturating_add(RESOLVED_KEPT) <= now)
        };
        if !self.held.alerts.values().any(over) {
            return;
        }
        let grouped: BTreeSet<Fingerprint> =
            self.held.groups.values().flat_map(|group| &group.alerts).copied().collect();
        self.held.alerts.retain(|id, alert| !over(alert) || grouped.contains(id));
    }
}

pub(super) fn receiver_of<'a>(config: &'a Config, route_id: &str) -> Option<&'a Receiver> {
    config.receivers.get(config.route(route_id)?.receiver)
}

pub(super) fn group_key(route: &Route, alert: &TrackedAlert) -> GroupKey {
    let labels = match &route.group_by {
        GroupBy::All => alert.labels.clone(),
        GroupBy::Names(names) => alert.labels.filtered(|name| names.contains(name)),
    };
    GroupKey { route: Text::clone(&route.id), labels }
}

fn message(
    receiver: &Receiver,
    position: usize,
    outgoing: &Outgoing,
    told: Option<&Told>,
) -> Option<Message> {
    Some(Message {
        id: Text::clone(&outgoing.id),
        position,
        notifier: Arc::clone(receiver.notifiers.get(position)?),
        notice: Arc::clone(&outgoing.notice),
        handle: told.and_then(|told| told.handle.clone()),
    })
}
