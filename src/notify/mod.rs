//! Notify: alert changes to delivered messages.

use serde::{Deserialize, Serialize};

use crate::evaluate::Transition;
use crate::signal::{Text, Timestamp};

/// Routes, groups and remembers what was told to whom. Pure: given transitions, receipts and time,
/// gives messages.
#[derive(Debug, Default)]
pub struct Dispatcher {}

/// A message that is due. It is offered again on every tick until its receipt is applied, with the
/// same id.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Stable over every attempt and across restarts: the `webhook-id` header.
    pub id: Text,
    /// Name of the receiver in the notify configuration.
    pub receiver: Text,
    /// Position of the notifier within the receiver.
    pub integration: usize,
    pub group_key: Text,
    /// The webhook v4 body, or the notifier's own.
    pub body: serde_json::Value,
}

/// The fate of one attempt, journaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub id: Text,
    pub at: Timestamp,
    /// None: delivered. Else why not, and whether to try again.
    pub failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub message: Text,
    pub retryable: bool,
}

impl Dispatcher {
    /// Takes one journaled transition.
    pub fn apply(&mut self, _transition: &Transition) {}

    /// Takes one journaled receipt.
    pub fn receipt(&mut self, _receipt: &Receipt) {}

    /// Messages that are due at `now` (log time) and not being sent.
    pub fn tick(&mut self, _now: Timestamp) -> Vec<Message> {
        Vec::new()
    }
}
