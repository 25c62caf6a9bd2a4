//! What one message tells: the alerts of a group as they were when it was made.
//!
//! Inert, and the same for every attempt: each notifier renders it in its own form. Never does it hold
//! an address or a secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::group::Reason;
use crate::evaluate::Evidence;
use crate::signal::{Labels, Text, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub receiver: Text,
    pub reason: Reason,
    /// Firing first, then resolved.
    pub alerts: Vec<Alert>,
    pub group_labels: Labels,
    /// One group's messages belong together: the dedup key, the thread.
    pub group_key: Text,
    /// Where links lead.
    pub external_url: Text,
    /// The receiver that could not be reached, where this one hears of it instead.
    pub undelivered_to: Option<Text>,
    /// When the message was made (log time).
    pub at: Timestamp,
}

/// An alert that fires, or that resolved and is not yet told everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: BTreeMap<Text, Text>,
    pub started_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    /// Late data made it false; it never was true.
    pub corrected: bool,
    pub evidence: Option<Evidence>,
    /// Where it was found, as a post says; empty for our own.
    pub generator_url: Text,
}

impl Notice {
    /// The receiver's name as Alertmanager's templates and webhooks have it: with what is special in a
    /// regular expression escaped (Go's `regexp.QuoteMeta`).
    pub(crate) fn receiver_quoted(&self) -> String {
        let quoted = |c: char| {
            let is_special = r"\.+*?()|[]{}^$".contains(c);
            is_special.then_some('\\').into_iter().chain([c])
        };
        self.receiver.chars().flat_map(quoted).collect()
    }

    pub fn is_firing(&self) -> bool {
        self.alerts.iter().any(Alert::is_firing)
    }

    /// The labels that all its alerts have.
    pub(crate) fn common_labels(&self) -> Vec<(&str, &str)> {
        common(self.alerts.iter().map(|alert| alert.labels.iter().collect()))
    }

    /// The annotations that all its alerts have.
    pub(crate) fn common_annotations(&self) -> Vec<(&str, &str)> {
        common(self.alerts.iter().map(|alert| alert.annotations().collect()))
    }
}

/// The pairs that every set has.
fn common<'a>(mut sets: impl Iterator<Item = Vec<(&'a str, &'a str)>>) -> Vec<(&'a str, &'a str)> {
    let mut shared = sets.next().unwrap_or_default();
    for set in sets {
        shared.retain(|pair| set.contains(pair));
    }
    shared
}

impl Alert {
    pub fn is_firing(&self) -> bool {
        self.resolved_at.is_none()
    }

    pub(crate) fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.annotations.iter().map(|(name, value)| (&**name, &**value))
    }

    /// An annotation that says something.
    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(|text| &**text).filter(|text| !text.is_empty())
    }

    /// 16 hex digits of its labels.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:016x}", self.labels.signature())
    }

    /// Where the alert was found.
    pub(crate) fn generator_url(&self, external_url: &str) -> String {
        match &*self.generator_url {
            "" => format!("{external_url}/alerts#{}", self.fingerprint()),
            given => given.to_owned(),
        }
    }
}
