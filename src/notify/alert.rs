//! Alerts as the dispatcher holds them: those of our rules, and those that others post.
//!
//! An alert holds while its rule says so or until the end that a post gave it, whichever is later.
//! Never do the labels of one change: they are its identity.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notice;
use crate::evaluate::{Evidence, Transition};
use crate::signal::{Labels, Text, Timestamp};

/// An alert that fires, or that resolved lately.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrackedAlert {
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<Text, Text>,
    pub(crate) started_at: Timestamp,
    pub(crate) resolved_at: Option<Timestamp>,
    /// When a rule or a post last spoke of it.
    pub(crate) updated_at: Timestamp,
    /// A rule of ours says that it fires.
    pub(crate) is_held: bool,
    /// A post says that it fires until then.
    pub(crate) until: Option<Timestamp>,
    pub(crate) generator_url: Text,
    pub(crate) corrected: bool,
    pub(crate) evidence: Option<Evidence>,
}

/// An alert that somebody else found and posted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostedAlert {
    pub labels: Labels,
    pub annotations: BTreeMap<Text, Text>,
    pub starts_at: Timestamp,
    /// None: `resolve_timeout` after it was taken.
    pub ends_at: Option<Timestamp>,
    pub generator_url: Text,
}

/// Of all that an alert says.
fn text_bytes(labels: &Labels, annotations: &BTreeMap<Text, Text>, url: &str) -> usize {
    let labels: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    let said = annotations.iter().map(|(name, text)| name.len() + text.len());
    labels + said.sum::<usize>() + url.len()
}

impl PostedAlert {
    pub(super) fn text_bytes(&self) -> usize {
        text_bytes(&self.labels, &self.annotations, &self.generator_url)
    }
}

impl TrackedAlert {
    pub(crate) fn text_bytes(&self) -> usize {
        text_bytes(&self.labels, &self.annotations, &self.generator_url)
    }

    pub(super) fn is_firing(&self) -> bool {
        self.resolved_at.is_none()
    }

    /// As a message tells it.
    pub(super) fn told(&self) -> notice::Alert {
        notice::Alert {
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            started_at: self.started_at,
            resolved_at: self.resolved_at,
            corrected: self.corrected,
            evidence: self.evidence.clone(),
            generator_url: Text::clone(&self.generator_url),
        }
    }

    /// A rule of ours found it. What others post is theirs to push on.
    pub(super) fn is_ours(&self) -> bool {
        self.is_held || self.until.is_none()
    }

    /// As a rule tells it; `before` is what was known.
    pub(super) fn held(transition: &Transition, before: Option<&Self>, now: Timestamp) -> Self {
        let firing = before.filter(|alert| alert.is_firing());
        Self {
            labels: transition.labels.clone(),
            annotations: transition.annotations.clone(),
            started_at: firing.map_or(transition.at, |alert| alert.started_at),
            resolved_at: None,
            updated_at: now,
            is_held: true,
            until: firing.and_then(|alert| alert.until),
            generator_url: Text::default(),
            corrected: false,
            evidence: transition.evidence.clone(),
        }
    }

    /// The rule no longer says so.
    pub(super) fn let_go(&mut self, transition: &Transition, now: Timestamp) {
        self.is_held = false;
        self.updated_at = now;
        if transition.evidence.is_some() {
            self.evidence.clone_from(&transition.evidence);
        }
        if self.until.is_none_or(|until| until <= now) {
            self.resolved_at = Some(transition.at.max(self.started_at));
            self.corrected = transition.corrected;
        }
    }

    /// As a post tells it. What our own rule says of it is better known and stays.
    pub(super) fn posted(
        posted: &PostedAlert,
        before: Option<&Self>,
        resolve_timeout: Duration,
        now: Timestamp,
    ) -> Self {
        let until = posted.ends_at.unwrap_or_else(|| now.saturating_add(resolve_timeout));
        let Some(firing) = before.filter(|alert| alert.is_firing()) else {
            return Self {
                labels: posted.labels.clone(),
                annotations: posted.annotations.clone(),
                started_at: posted.starts_at,
                resolved_at: (until <= now).then_some(until.max(posted.starts_at)),
                updated_at: now,
                is_held: false,
                until: Some(until),
                generator_url: Text::clone(&posted.generator_url),
                corrected: false,
                evidence: None,
            };
        };
        let mut alert = firing.clone();
        alert.updated_at = now;
        alert.until = Some(until);
        if !alert.is_held {
            alert.annotations.clone_from(&posted.annotations);
            alert.generator_url = Text::clone(&posted.generator_url);
            alert.started_at = alert.started_at.min(posted.starts_at);
            alert.resolved_at = (until <= now).then_some(until.max(alert.started_at));
        }
        alert
    }

    /// Ends one that nobody holds any more. True if it ended now.
    pub(super) fn expire(&mut self, now: Timestamp) -> bool {
        let Some(until) = self.until.filter(|until| *until <= now) else { return false };
        let ends = self.is_firing() && !self.is_held;
        if ends {
            self.resolved_at = Some(until.max(self.started_at));
        }
        ends
    }
}
