//! One look at one group: what each of its notifiers should hear now.
//!
//! What comes in: the group, its alerts and what holds them back. What goes out: new messages for the
//! outbox. Never is an alert announced that is silenced, inhibited or on a muted route; but the end of
//! one that was announced is always told, silenced or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::alert::TrackedAlert;
use super::config::Route;
use super::group::{Fingerprint, Group, GroupKey, Outgoing, Told, reason};
use super::receivers::Receiver;
use super::routing::Inhibitors;
use super::silence::Silences;
use super::{Config, Notice};
use crate::signal::{Fnv128, Labels, Text, Timestamp};

/// What a look sees.
pub(super) struct Look<'a> {
    pub(super) config: &'a Config,
    pub(super) external_url: &'a str,
    pub(super) alerts: &'a BTreeMap<Fingerprint, TrackedAlert>,
    pub(super) silences: &'a Silences,
    pub(super) inhibitors: &'a Inhibitors<'a>,
    pub(super) now: Timestamp,
}

/// What came of it.
pub(super) struct Flushed {
    again: Timestamp,
    changed_meanwhile: bool,
    made: BTreeMap<usize, Outgoing>,
}

/// A group's alerts by what is to be said of them.
#[derive(Default)]
struct Sorted {
    firing: BTreeSet<Fingerprint>,
    resolved: BTreeSet<Fingerprint>,
    /// Firing or over, and held back.
    muted: BTreeSet<Fingerprint>,
}

impl Look<'_> {
    /// None: the group's route is gone.
    pub(super) fn at(&self, key: &GroupKey, group: &Group) -> Option<Flushed> {
        let route = self.config.route(&key.route)?;
        let receiver = self.config.receivers.get(route.receiver)?;
        let mut flushed = Flushed {
            again: self.now.saturating_add(route.group_interval),
            changed_meanwhile: false,
            made: BTreeMap::new(),
        };
        if !self.config.muting(route, self.now).is_empty() {
            return Some(flushed);
        }
        let sorted = self.sort(group);
        for position in 0..receiver.n_notifiers() {
            let before = group.told.get(&position);
            let says = self.says(&sorted, before);
            let busy = group.outbox.get(&position);
            if busy.is_some_and(|out| {
                out.says.firing == says.firing && out.says.resolved == says.resolved
            }) {
                continue;
            }
            // What is on its way arrives first: order within a group is never turned around.
            if busy.is_some_and(|out| out.is_offered) {
                flushed.changed_meanwhile = true;
                continue;
            }
            let notifier = Notifier { key, route, receiver, position };
            if let Some(mut out) = self.message(&notifier, before, &sorted, says) {
                // The time for which a message is tried counts from the first that failed.
                out.made_at = busy.map_or(self.now, |busy| busy.made_at);
                flushed.made.insert(position, out);
            }
        }
        Some(flushed)
    }

    fn sort(&self, group: &Group) -> Sorted {
        let mut sorted = Sorted::default();
        for id in &group.alerts {
            let Some(alert) = self.alerts.get(id) else { continue };
            let held_back = self.silences.holding(&alert.labels, self.now).next().is_some()
                || !self.inhibitors.of(&alert.labels).is_empty();
            if held_back {
                sorted.muted.insert(*id);
            }
            match alert.is_firing() {
                true if !held_back => sorted.firing.insert(*id),
                true => true,
                false => sorted.resolved.insert(*id),
            };
        }
        sorted
    }

    /// What a notifier would know after a message made now.
    fn says(&self, sorted: &Sorted, before: Option<&Told>) -> Told {
        let knows = |id: &Fingerprint| before.is_some_and(|told| told.firing.contains(id));
        let firing = |id: &&Fingerprint| self.alerts.get(id).is_some_and(TrackedAlert::is_firing);
        // What was told before it was held back still counts as told.
        let still = sorted.muted.iter().filter(firing).filter(|id| knows(id));
        let resolved = sorted.resolved.iter().filter(|id| knows(id) || !sorted.muted.contains(id));
        Told {
            at: self.now,
            firing: sorted.firing.iter().chain(still).copied().collect(),
            resolved: resolved.copied().collect(),
            handle: None,
        }
    }

    fn message(
        &self,
        notifier: &Notifier<'_>,
        before: Option<&Told>,
        sorted: &Sorted,
        says: Told,
    ) -> Option<Outgoing> {
        let Notifier { key, route, receiver, position } = notifier;
        if sorted.firing.is_empty() && says.resolved.is_empty() {
            return None;
        }
        let resolved = receiver.sends_resolved(*position);
        let reason = reason(before, &says, resolved, route.repeat_interval)?;
        let shown = sorted.firing.iter().chain(&says.resolved);
        let notice = Notice {
            receiver: Text::clone(&receiver.name),
            reason,
            alerts: shown.filter_map(|id| self.alerts.get(id)).map(TrackedAlert::told).collect(),
            group_labels: key.labels.clone(),
            group_key: group_key(route, &key.labels).into(),
            external_url: self.external_url.into(),
            undelivered_to: None,
            at: self.now,
        };
        Some(Outgoing {
            id: message_id(&key.show(), &receiver.name, *position, self.now),
            notice: Arc::new(notice),
            says,
            made_at: self.now,
            attempts: 0,
            next_attempt: self.now,
            is_offered: false,
        })
    }
}

/// One notifier of the receiver of a group's route.
struct Notifier<'a> {
    key: &'a GroupKey,
    route: &'a Route,
    receiver: &'a Receiver,
    position: usize,
}

impl Flushed {
    pub(super) fn into_group(self, group: &mut Group, now: Timestamp) {
        group.flushed_at = Some(now);
        group.flush_at = self.again;
        group.changed_meanwhile = self.changed_meanwhile;
        group.outbox.extend(self.made);
    }
}

/// `{}/{severity="page"}:{alertname="X"}`: the route's matchers, then the group's labels.
fn group_key(route: &Route, labels: &Labels) -> String {
    format!("{}:{}", route.key, super::group::shown(labels))
}

fn message_id(group: &str, receiver: &str, position: usize, made_at: Timestamp) -> Text {
    let hash = Fnv128::default()
        .field(group.as_bytes())
        .field(receiver.as_bytes())
        .field(&position.to_le_bytes())
        .field(&made_at.as_nanos().to_le_bytes());
    format!("{:032x}", hash.finish()).into()
}
