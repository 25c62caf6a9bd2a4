//! Log records that the platform says it dropped before they reached anybody.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Finding, KEPT};
use crate::signal::{Platform, PlatformStage, Text, Timestamp};

/// Events that are remembered, so that a repeat counts once.
const REMEMBERED: usize = 64;
/// Longest reason that is shown, in bytes.
const REASON_BYTES_MAX: usize = 200;

/// What one function lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Lost {
    n: u64,
    /// The first of them, the last, and what the last says.
    since: Timestamp,
    last: Timestamp,
    reason: Text,
    seen: VecDeque<u128>,
}

pub(super) fn is_loss(event: &Platform) -> bool {
    event.stage == PlatformStage::LogsDropped
}

impl Lost {
    /// Counts an event; true where it is the first of a day.
    pub(super) fn note(&mut self, id: Option<u128>, event: &Platform, now: Timestamp) -> bool {
        if id.is_some_and(|id| self.seen.contains(&id)) {
            return false;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.extend(id);
        let is_first = self.n == 0 || now.since(self.last) >= KEPT;
        if is_first {
            (self.n, self.since) = (0, now);
        }
        self.n += 1;
        self.last = now;
        let told = event.text.as_deref().unwrap_or("no reason told");
        let cut = told.floor_char_boundary(REASON_BYTES_MAX.min(told.len()));
        self.reason = Text::from(told.get(..cut).unwrap_or_default());
        is_first
    }

    pub(super) fn finding(&self, function: &Text, now: Timestamp) -> Option<Finding> {
        if self.n == 0 || now.since(self.last) >= KEPT {
            return None;
        }
        let (n, last, reason) = (self.n, self.last, &self.reason);
        let message = format!(
            "log records of {function} were dropped before they were sent, told {n} times, last at {last}: {reason}; its requests may lack records"
        );
        let function = Text::clone(function);
        Some(Finding { kind: "logs_dropped", function, field: None, message, since: self.since })
    }
}
