//! Notify: alert changes to delivered messages.
//!
//! What comes in: journaled alert transitions and [`Receipt`]s, and time. What goes out: [`Message`]s
//! that are due. The [`Dispatcher`] is pure; [`webhook`] does the sending at the edge. Never is a
//! message made from a transition that is not on disk, and never does one message go out under two ids.

pub mod config;
pub mod webhook;
mod dispatcher;
mod group;
mod matchers;
mod payload;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::signal::{Text, Timestamp};

pub use config::Config;
pub use dispatcher::{Dispatcher, GroupView};

/// A message that is due. It is offered again on every tick until its receipt is applied, with the
/// same id.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Stable over every attempt and across restarts: the `webhook-id` header.
    pub id: Text,
    /// Name of the receiver in the notify configuration.
    pub receiver: Text,
    pub url: Text,
    pub group_key: Text,
    /// The webhook v4 body.
    pub body: serde_json::Value,
}

/// The fate of one attempt, journaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub id: Text,
    pub at: Timestamp,
    /// None: delivered.
    pub failure: Option<Failure>,
}

/// Why an attempt did not deliver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub message: Text,
    pub retryable: bool,
}
