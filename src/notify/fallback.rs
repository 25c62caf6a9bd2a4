//! Messages that their own receiver cannot be told: the root route's receiver hears of them instead.
//!
//! A message that was given up (72 h of trying, or an address that refuses for good) comes in; the same
//! notice for every notifier of the root's receiver goes out, under ids made of the first one. What
//! cannot be delivered there either is counted, and goes nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::group::{Outgoing, Told};
use super::receivers::Receiver;
use super::{Config, Message, Notice, Receipt};
use crate::signal::{Fnv128, Text, Timestamp};

/// Messages that wait for the root's receiver; a receiver that is lost makes one a group and change.
const FALLBACKS_MAX: usize = 1_000;

/// By the message's id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Fallbacks(BTreeMap<Text, Fallback>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fallback {
    position: usize,
    outgoing: Outgoing,
}

/// What a receipt meant for one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// None of these.
    Unknown,
    Settled,
    GivenUp,
}

impl Fallbacks {
    /// Takes a message that was given up. False: there is nobody else to tell, or no room.
    pub(super) fn take(&mut self, given_up: &Outgoing, config: &Config, now: Timestamp) -> bool {
        let Some(root) = root(config) else { return false };
        let lost = &given_up.notice.receiver;
        if root.name == *lost || root.notifiers.is_empty() {
            return false;
        }
        if self.0.len() + root.notifiers.len() > FALLBACKS_MAX {
            return false;
        }
        let notice = Arc::new(Notice {
            receiver: Text::clone(&root.name),
            undelivered_to: Some(Text::clone(lost)),
            ..Notice::clone(&given_up.notice)
        });
        for position in 0..root.notifiers.len() {
            let hash = Fnv128::default()
                .field(given_up.id.as_bytes())
                .field(root.name.as_bytes())
                .field(&position.to_le_bytes());
            let id: Text = format!("{:032x}", hash.finish()).into();
            let outgoing = Outgoing {
                id: Text::clone(&id),
                says: Told::default(),
                notice: Arc::clone(&notice),
                made_at: now,
                attempts: 0,
                next_attempt: now,
                is_offered: false,
            };
            self.0.insert(id, Fallback { position, outgoing });
        }
        true
    }

    pub(super) fn receipt(&mut self, receipt: &Receipt) -> Fate {
        let Some(fallback) = self.0.get_mut(&receipt.id) else { return Fate::Unknown };
        let is_over = match &receipt.failure {
            None => true,
            Some(failure) => !failure.retryable || fallback.outgoing.back_off(receipt).is_none(),
        };
        if is_over {
            self.0.remove(&receipt.id);
        }
        if is_over && receipt.failure.is_some() { Fate::GivenUp } else { Fate::Settled }
    }

    /// Messages that are due.
    pub(super) fn due(&self, config: &Config, now: Timestamp) -> Vec<Message> {
        let Some(root) = root(config) else { return Vec::new() };
        let message = |fallback: &Fallback| {
            let Fallback { position, outgoing } = fallback;
            let notifier = root.notifiers.get(*position)?;
            (outgoing.next_attempt <= now && outgoing.notice.receiver == root.name).then(|| {
                Message {
                    id: Text::clone(&outgoing.id),
                    position: *position,
                    notifier: Arc::clone(notifier),
                    notice: Arc::clone(&outgoing.notice),
                    handle: None,
                }
            })
        };
        self.0.values().filter_map(message).collect()
    }

    /// After a reload: what nobody can be told any more goes, and is counted by the caller.
    pub(super) fn retain(&mut self, config: &Config) -> usize {
        let n_before = self.0.len();
        let root = root(config);
        self.0.retain(|_, fallback| {
            root.is_some_and(|root| {
                root.name == fallback.outgoing.notice.receiver
                    && fallback.position < root.notifiers.len()
            })
        });
        n_before - self.0.len()
    }
}

fn root(config: &Config) -> Option<&Receiver> {
    config.receivers.get(config.routes.first()?.receiver)
}
