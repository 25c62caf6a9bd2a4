//! One group of alerts on one route, and what each notifier was last told about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Receipt;
use super::notice::Notice;
use crate::signal::{Fnv128, Labels, Text, Timestamp};

/// A fingerprint of an alert's labels.
pub(crate) type Fingerprint = u128;

/// First pause before a failed message is tried again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between two attempts.
const RETRY_PAUSE_MAX: Duration = Duration::from_mins(5);
/// Longest pause that a notifier may ask for (`Retry-After`): a mistaken one must not silence pages.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);
/// How long a message is tried before it is given up.
const RETRY_TOTAL: Duration = Duration::from_hours(72);

/// The route's id and the group's labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct GroupKey {
    pub(crate) route: Text,
    pub(crate) labels: Labels,
}

impl GroupKey {
    /// `{}/{severity="page"}:{alertname="X"}`
    pub(crate) fn show(&self) -> String {
        format!("{}:{}", self.route, shown(&self.labels))
    }
}

/// A group's labels as Alertmanager's group keys have them.
pub(crate) fn shown(labels: &Labels) -> String {
    if labels.is_empty() { "{}".to_owned() } else { labels.to_string() }
}

/// Alerts of one route that share the labels of `group_by`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    /// The name of the receiver of its route.
    pub(crate) receiver: Text,
    pub(crate) alerts: BTreeSet<Fingerprint>,
    /// When the group is next looked at.
    pub(crate) flush_at: Timestamp,
    pub(crate) flushed_at: Option<Timestamp>,
    /// A look found something to say while a message was on its way: look again after its receipt.
    pub(crate) changed_meanwhile: bool,
    /// By the notifier's position in the receiver.
    pub(crate) told: BTreeMap<usize, Told>,
    pub(crate) outbox: BTreeMap<usize, Outgoing>,
}

/// The last thing that a notifier has received about a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) at: Timestamp,
    pub(crate) firing: BTreeSet<Fingerprint>,
    pub(crate) resolved: BTreeSet<Fingerprint>,
    /// By what the message can be changed where it lies (Slack's channel and time).
    pub(crate) handle: Option<Text>,
}

/// A message that waits for its receipt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outgoing {
    pub(crate) id: Text,
    pub(crate) says: Told,
    pub(crate) notice: Arc<Notice>,
    pub(crate) made_at: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) next_attempt: Timestamp,
    /// Given to the sender, and no receipt since: it may be on its way.
    pub(crate) is_offered: bool,
}

impl Group {
    pub(crate) fn new(receiver: Text, flush_at: Timestamp) -> Self {
        Self {
            receiver,
            alerts: BTreeSet::new(),
            flush_at,
            flushed_at: None,
            changed_meanwhile: false,
            told: BTreeMap::new(),
            outbox: BTreeMap::new(),
        }
    }

    /// Looks at it at this time at the latest.
    pub(crate) fn flush_by(&mut self, at: Timestamp) {
        self.flush_at = self.flush_at.min(at);
    }
}

/// Why a group is told, in Alertmanager's words (`notification_reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    First,
    NewAlerts,
    SomeResolved,
    AllResolved,
    Repeat,
    /// Somebody tries the notifier out.
    Test,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first notification",
            Self::NewAlerts => "new alerts added",
            Self::SomeResolved => "some alerts resolved",
            Self::AllResolved => "all alerts resolved",
            Self::Repeat => "repeat interval elapsed",
            Self::Test => "test",
        }
    }
}

/// What a notifier should hear, if anything: Alertmanager's `DedupStage.needsUpdate`.
pub(crate) fn reason(
    before: Option<&Told>,
    now: &Told,
    send_resolved: bool,
    repeat: Duration,
) -> Option<Reason> {
    let Some(before) = before.filter(|told| !told.firing.is_empty()) else {
        let reason = if before.is_none() { Reason::First } else { Reason::NewAlerts };
        return (!now.firing.is_empty()).then_some(reason);
    };
    if !now.firing.is_subset(&before.firing) {
        return Some(Reason::NewAlerts);
    }
    if now.firing.is_empty() {
        return send_resolved.then_some(Reason::AllResolved);
    }
    if send_resolved && !now.resolved.is_subset(&before.resolved) {
        return Some(Reason::SomeResolved);
    }
    (now.at.since(before.at) >= repeat).then_some(Reason::Repeat)
}

impl Outgoing {
    /// After a retryable failure: when to try again. None: given up.
    pub(crate) fn back_off(&mut self, receipt: &Receipt) -> Option<Timestamp> {
        self.attempts = self.attempts.saturating_add(1);
        let asked = receipt.failure.as_ref().and_then(|failure| failure.retry_after);
        let pause =
            asked.map_or_else(|| self.pause(), |asked| asked.clamp(self.pause(), RETRY_AFTER_MAX));
        self.next_attempt = receipt.at.saturating_add(pause);
        (receipt.at.since(self.made_at) < RETRY_TOTAL).then_some(self.next_attempt)
    }

    /// Doubles with every attempt; from it goes up to a quarter, by the message's id, so that messages
    /// that failed together do not come again together. The same again at replay.
    fn pause(&self) -> Duration {
        let whole = RETRY_FIRST
            .saturating_mul(1 << self.attempts.min(10).saturating_sub(1))
            .min(RETRY_PAUSE_MAX);
        let hash = Fnv128::default()
            .field(self.id.as_bytes())
            .field(&self.attempts.to_le_bytes())
            .finish();
        let [share, ..] = hash.to_le_bytes();
        whole.saturating_sub(whole.saturating_mul(u32::from(share)) / 1024)
    }
}
