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
    pub fn is_firing(&self) -> bool {
        self.alerts.iter().any(Alert::is_firing)
    }
}

impl Alert {
    pub fn is_firing(&self) -> bool {
        self.resolved_at.is_none()
    }
}
