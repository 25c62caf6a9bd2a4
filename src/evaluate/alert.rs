//! Alert changes: what evaluate gives to notify, by way of the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::signal::{Labels, Text, Timestamp};

/// A rule's identity: alert state follows it and the labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleKey {
    pub file: Text,
    pub group: Text,
    pub name: Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Inactive,
    Pending,
    Firing,
}

/// One alert entered a state. Journaled before anything is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    pub rule: RuleKey,
    /// Of the alert: `alertname`, the rule's labels, the result's labels.
    pub labels: Labels,
    pub annotations: BTreeMap<Text, Text>,
    pub to: AlertState,
    /// The evaluation's (event) time at which it happened.
    pub at: Timestamp,
    /// When the expression first became true.
    pub active_at: Timestamp,
    pub value: f64,
    /// The alert was made false by late data, not by what came after.
    pub corrected: bool,
    pub evidence: Option<Evidence>,
}

/// Where to look: a real request behind the alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub request_id: Text,
    pub flow: Text,
    pub outcome: Text,
    pub duration_ms: f64,
    /// The hop and part that took the most of it: `fulfil (queue_wait)`.
    pub slowest: Text,
    pub slowest_ms: f64,
    /// Its error, where it has one.
    pub error: Option<Text>,
    /// Page of the request.
    pub url: Text,
}
