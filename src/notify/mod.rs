//! Notify: alert changes to delivered messages.
//!
//! What comes in: journaled alert transitions, [`Command`]s and [`Receipt`]s, and time. What goes out:
//! [`Message`]s that are due. The [`Dispatcher`] is pure, and so is the rendering of a [`Notice`] by each of the
//! [`notifiers`]; [`send`] is the edge. Never is a message made from a transition that is not on disk,
//! and never does one message go out under two ids.

mod address;
mod alert;
mod card;
pub mod config;
mod dispatcher;
mod fallback;
mod flush;
mod group;
pub mod http_config;
mod interval;
mod matchers;
pub mod notice;
pub mod notifiers;
pub mod receivers;
mod routing;
#[cfg(test)]
pub(crate) mod samples;
pub mod secret;
pub mod send;
mod silence;
pub mod template;
#[cfg(test)]
mod tests;
pub mod trial;
mod view;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::signal::{Text, Timestamp};

pub use alert::PostedAlert;
pub use config::Config;
pub use dispatcher::{ALERTS_MAX, Dispatcher};
pub use group::Reason;
pub use matchers::parse as parse_matchers;
pub use notice::Notice;
pub use receivers::check::Files;
pub use silence::{Silence, SilenceError, SilenceMatcher, SilenceState};
pub use view::{AlertGroupView, AlertView, GroupView, PushView, Suppression};

/// What somebody outside wants of the dispatcher, journaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a silence, or puts it in the place of the one with its id.
    SetSilence(Silence),
    ExpireSilence(Text),
    PostAlerts(Vec<PostedAlert>),
}

/// A message that is due. It is offered again on every tick until its receipt is applied, with the
/// same id.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Stable over every attempt and across restarts: the `webhook-id` header.
    pub id: Text,
    /// Of the notifier within its receiver.
    pub position: usize,
    pub notifier: Arc<receivers::Notifier>,
    pub notice: Arc<Notice>,
    /// Of the message that this one can take the place of.
    pub handle: Option<Text>,
}

/// The fate of one attempt, journaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub id: Text,
    pub at: Timestamp,
    /// None: delivered.
    pub failure: Option<Failure>,
    /// By what a later message can change this one, where the notifier can do that.
    pub handle: Option<Text>,
}

/// Why an attempt did not deliver. The text names no address and no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub message: Text,
    pub retryable: bool,
    /// How long the other side asked us to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Trying again helps.
    pub(crate) fn for_now(message: String) -> Self {
        Self { message: message.into(), retryable: true, retry_after: None }
    }

    /// Trying again does not help.
    pub(crate) fn for_good(message: String) -> Self {
        Self { message: message.into(), retryable: false, retry_after: None }
    }
}
