//! A queue and what polls it: messages that wait, and invocations that hold some of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::run::Message;
use crate::number::u64_from_usize;
use crate::signal::Timestamp;

/// How a consumer takes messages up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consumer {
    /// Messages of one invocation.
    pub(super) batch_max: usize,
    /// How long a batch that is not full is waited for.
    pub(super) window: Duration,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) consumer: Consumer,
    /// By when they can be taken up, then by arrival.
    waiting: BTreeMap<(Timestamp, u64), Message>,
    n_arrived: u64,
    /// The next look at the queue.
    poll_at: Option<Timestamp>,
    /// Ends of the invocations that hold messages.
    busy_until: Vec<Timestamp>,
    depth_max: u64,
}

/// What the broker says of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    pub(super) visible_max: u64,
    pub(super) visible: u64,
    pub(super) oldest_age: Duration,
}

impl Queue {
    pub(super) fn new(consumer: Consumer) -> Self {
        Self {
            consumer,
            waiting: BTreeMap::new(),
            n_arrived: 0,
            poll_at: None,
            busy_until: Vec::new(),
            depth_max: 0,
        }
    }

    /// Puts a message in, to be seen from `visible` on; answers when to look at the queue, if that is
    /// earlier than the next look.
    pub(super) fn put(&mut self, message: Message, visible: Timestamp) -> Option<Timestamp> {
        self.waiting.insert((visible, self.n_arrived), message);
        self.n_arrived += 1;
        self.depth_max = self.depth_max.max(self.n_visible(visible));
        self.next_look(visible)
    }

    /// The next look, where none earlier is planned; `now` is the present.
    pub(super) fn next_look(&mut self, now: Timestamp) -> Option<Timestamp> {
        let (&(first, _), _) = self.waiting.first_key_value()?;
        let is_full =
            self.waiting.range(..=(now, u64::MAX)).nth(self.consumer.batch_max - 1).is_some();
        let window = if is_full { Duration::ZERO } else { self.consumer.window };
        let at = first.saturating_add(window).max(now);
        if self.poll_at.is_some_and(|planned| planned <= at) {
            return None;
        }
        self.poll_at = Some(at);
        Some(at)
    }

    /// Whether a look at `now` is the planned one; earlier plans that were replaced are void.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        let is_due = self.poll_at == Some(now);
        if is_due {
            self.poll_at = None;
        }
        is_due
    }

    /// When the next of `concurrency_max` consumers is free; None where one is.
    pub(super) fn busy(&mut self, concurrency_max: usize, now: Timestamp) -> Option<Timestamp> {
        self.busy_until.retain(|&until| until > now);
        if self.busy_until.len() < concurrency_max {
            return None;
        }
        let next = self.busy_until.iter().min().copied()?;
        self.poll_at = Some(next);
        Some(next)
    }

    pub(super) fn occupy(&mut self, until: Timestamp) {
        self.busy_until.push(until);
    }

    /// The oldest messages that can be taken up now, at most a batch.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<Message> {
        let visible = self.waiting.range(..=(now, u64::MAX)).map(|(&key, _)| key);
        let keys: Vec<_> = visible.take(self.consumer.batch_max).collect();
        keys.into_iter().filter_map(|key| self.waiting.remove(&key)).collect()
    }

    fn n_visible(&self, now: Timestamp) -> u64 {
        u64_from_usize(self.waiting.range(..=(now, u64::MAX)).count())
    }

    /// The depth now, and the largest since the last call.
    pub(super) fn take_depth(&mut self, now: Timestamp) -> Depth {
        let visible = self.n_visible(now);
        let sent = self.waiting.values().map(|message| message.sent).min();
        let visible_max = std::mem::replace(&mut self.depth_max, visible).max(visible);
        Depth {
            visible_max,
            visible,
            oldest_age: sent.map_or(Duration::ZERO, |sent| now.since(sent)),
        }
    }
}
