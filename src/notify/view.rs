//! What pages and APIs see of the dispatcher: copies, made under its lock and shown outside.

use std::collections::BTreeMap;

use super::alert::TrackedAlert;
use super::dispatcher::{ALERT_BYTES_MAX, ALERTS_MAX, group_key};
use super::group::{Fingerprint, Group, GroupKey};
use super::routing::Inhibitors;
use super::{Config, Dispatcher, PostedAlert, Silence};
use crate::signal::{Labels, Text, Timestamp};

/// A group and what its receiver was told.
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

/// An alert that fires.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertView {
    pub labels: Labels,
    pub annotations: BTreeMap<Text, Text>,
    pub starts_at: Timestamp,
    /// When it ends unless somebody speaks of it again; for one of our rules, `resolve_timeout` from now.
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    pub generator_url: Text,
    /// The receivers that its routes lead to.
    pub receivers: Vec<Text>,
    pub suppression: Suppression,
    /// No group looked at it yet.
    pub is_unprocessed: bool,
}

/// What holds an alert back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suppression {
    /// Ids of silences.
    pub silenced_by: Vec<Text>,
    /// Fingerprints of alerts.
    pub inhibited_by: Vec<u64>,
    /// Names of time intervals that mute the group's route.
    pub muted_by: Vec<Text>,
}

/// A group with its firing alerts.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertGroupView {
    pub receiver: Text,
    pub labels: Labels,
    pub alerts: Vec<AlertView>,
}

/// An alert as it is pushed on: firing, or resolved lately.
#[derive(Clone, Copy, Debug)]
pub struct PushView<'a> {
    pub labels: &'a Labels,
    pub annotations: &'a BTreeMap<Text, Text>,
    pub starts_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
}

impl Dispatcher {
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Every group.
    pub fn groups(&self) -> Vec<GroupView> {
        let view = |(key, group): (&GroupKey, &Group)| GroupView {
            receiver: Text::clone(&group.receiver),
            labels: key.labels.clone(),
            n_firing: self.firing(group).count(),
            told_at: group.told.values().map(|told| told.at).max(),
            waiting: group
                .outbox
                .values()
                .map(|out| (Text::clone(&out.id), out.attempts))
                .collect(),
        };
        self.held.groups.iter().map(view).collect()
    }

    /// Every alert that fires, whoever found it.
    pub fn alerts(&self, now: Timestamp) -> Vec<AlertView> {
        let inhibitors = Inhibitors::new(&self.config, &self.held.alerts);
        let firing = self.held.alerts.values().filter(|alert| alert.is_firing());
        firing.map(|alert| self.alert_view(alert, &inhibitors, now)).collect()
    }

    /// The groups with alerts that fire.
    pub fn alert_groups(&self, now: Timestamp) -> Vec<AlertGroupView> {
        let inhibitors = Inhibitors::new(&self.config, &self.held.alerts);
        let view = |(key, group): (&GroupKey, &Group)| {
            let route = self.config.route(&key.route)?;
            let muted_by = self.config.muting(route, now);
            let alert = |alert| {
                let mut view = self.alert_view(alert, &inhibitors, now);
                view.suppression.muted_by.clone_from(&muted_by);
                view
            };
            Some(AlertGroupView {
                receiver: Text::clone(&group.receiver),
                labels: key.labels.clone(),
                alerts: self.firing(group).map(alert).collect(),
            })
        };
        let groups = self.held.groups.iter().filter_map(view);
        groups.filter(|group| !group.alerts.is_empty()).collect()
    }

    /// What a real Alertmanager should know: what our rules found, firing or resolved lately.
    pub fn pushed(&self) -> impl Iterator<Item = PushView<'_>> {
        let ours = self.held.alerts.values().filter(|alert| alert.is_ours());
        ours.map(|alert| PushView {
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: alert.started_at,
            resolved_at: alert.resolved_at,
        })
    }

    /// How many new alerts may be posted for now: none where too much is said of those that are held.
    fn room_for_alerts(&self) -> usize {
        let bytes: usize = self.held.alerts.values().map(TrackedAlert::text_bytes).sum();
        let room = ALERTS_MAX.saturating_sub(self.held.alerts.len());
        if bytes < ALERT_BYTES_MAX { room } else { 0 }
    }

    /// Of what is posted, that for which there is room. An end always has it, and so has what is held already,
    /// which would end if nobody could repeat it; where there is none for others it says no more than before.
    pub fn with_room(&self, posted: Vec<PostedAlert>, now: Timestamp) -> Vec<PostedAlert> {
        let mut room = self.room_for_alerts();
        let is_full = room == 0;
        let fits = |mut one: PostedAlert| {
            let held = self.held.alerts.get(&one.labels.fingerprint());
            if let Some(held) = held.filter(|held| is_full && one.text_bytes() > held.text_bytes())
            {
                one.annotations.clone_from(&held.annotations);
                one.generator_url = Text::clone(&held.generator_url);
            }
            if held.is_some() || one.ends_at.is_some_and(|end| end <= now) {
                return Some(one);
            }
            room = room.checked_sub(1)?;
            Some(one)
        };
        posted.into_iter().filter_map(fits).collect()
    }

    /// Every silence that is not forgotten.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.held.silences.iter()
    }

    pub fn silence(&self, id: &str) -> Option<&Silence> {
        self.held.silences.get(id)
    }

    /// Whether a silence is taken, new or changed: for now it may be refused.
    pub fn has_room_for(&self, silence: &Silence) -> bool {
        self.held.silences.has_room_for(silence)
    }

    fn firing<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a TrackedAlert> {
        let alerts = group.alerts.iter().filter_map(|id: &Fingerprint| self.held.alerts.get(id));
        alerts.filter(|alert| alert.is_firing())
    }

    fn alert_view(
        &self,
        alert: &TrackedAlert,
        inhibitors: &Inhibitors<'_>,
        now: Timestamp,
    ) -> AlertView {
        let routes: Vec<_> = self.config.routes_of(&alert.labels).collect();
        let looked_at = |route: &&super::config::Route| {
            let group = self.held.groups.get(&group_key(route, alert));
            group.is_some_and(|group| group.flushed_at.is_some())
        };
        let is_unprocessed = !routes.is_empty() && !routes.iter().any(looked_at);
        let mut receivers: Vec<Text> = routes
            .iter()
            .filter_map(|route| self.config.receivers.get(route.receiver))
            .map(|receiver| Text::clone(&receiver.name))
            .collect();
        receivers.dedup();
        let inhibiting = inhibitors.of(&alert.labels).into_iter();
        AlertView {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at: alert.started_at,
            ends_at: alert
                .until
                .filter(|_| !alert.is_held)
                .unwrap_or_else(|| now.saturating_add(self.config.resolve_timeout)),
            updated_at: alert.updated_at,
            generator_url: Text::clone(&alert.generator_url),
            receivers,
            suppression: Suppression {
                silenced_by: self.held.silences.holding(&alert.labels, now).cloned().collect(),
                inhibited_by: inhibiting
                    .filter_map(|id| Some(self.held.alerts.get(&id)?.labels.signature()))
                    .collect(),
                muted_by: Vec::new(),
            },
            is_unprocessed,
        }
    }
}
