//! Sends due messages and journals what became of them.
//!
//! Every notifier has a lane of its own: one that is dead or slow delays no other.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::state::Entry;
use super::threads::Log;
use super::troubles::Troubles;
use crate::clock::Clock;
use crate::internal_telemetry::Metrics;
use crate::internal_telemetry::happening::{LaneFilled, MessageAttempted};
use crate::journal::Priority;
use crate::notify::send::{Outcome, Sender};
use crate::notify::{Message, Receipt};
use crate::signal::Text;

/// Attempts of one notifier that are on their way at once; others of it wait for them.
const LANE_ATTEMPTS_MAX: usize = 8;
/// Messages of one notifier that wait or are on their way; more are offered again by the next tick.
const LANE_MESSAGES_MAX: usize = 1_000;
/// Delivered ids that are remembered, so that an offer made before the receipt was applied is not
/// taken for a new one.
const DELIVERED_MAX: usize = 10_000;

/// A notifier: its receiver and its position there.
type LaneKey = (Text, usize);

/// The messages of one notifier.
#[derive(Debug)]
struct Lane {
    attempts: Arc<Semaphore>,
    n_messages: usize,
}

impl Default for Lane {
    fn default() -> Self {
        Self { attempts: Arc::new(Semaphore::new(LANE_ATTEMPTS_MAX)), n_messages: 0 }
    }
}

/// What an attempt works with.
#[derive(Clone)]
struct Means {
    sender: Arc<Sender>,
    log: Log,
    clock: Clock,
    metrics: Arc<Metrics>,
    troubles: Troubles,
}

/// An attempt that ended.
struct Ended {
    id: Text,
    lane: LaneKey,
    is_delivered: bool,
}

/// What is on its way and what has arrived. A lane lives while it has messages.
#[derive(Default)]
struct Lanes {
    by_notifier: BTreeMap<LaneKey, Lane>,
    on_their_way: HashSet<Text>,
    delivered: VecDeque<Text>,
    attempts: JoinSet<Ended>,
}

/// Runs until the channel closes; then waits for what is on its way.
pub(super) async fn run(
    mut due: mpsc::Receiver<Vec<Message>>,
    log: Log,
    clock: Clock,
    metrics: Arc<Metrics>,
    troubles: Troubles,
) {
    let means = Means { sender: Arc::default(), log, clock, metrics, troubles };
    let mut lanes = Lanes::default();
    loop {
        tokio::select! {
            offered = due.recv() => {
                let Some(offered) = offered else { break };
                for message in offered {
                    lanes.start(message, &means);
                }
            }
            Some(ended) = lanes.attempts.join_next(), if !lanes.attempts.is_empty() => {
                if let Ok(ended) = ended {
                    lanes.end(ended);
                }
            }
        }
    }
    while lanes.attempts.join_next().await.is_some() {}
}

impl Lanes {
    fn start(&mut self, message: Message, means: &Means) {
        if self.delivered.contains(&message.id) || self.on_their_way.contains(&message.id) {
            return;
        }
        let key = (Text::clone(&message.notice.receiver), message.position);
        let lane = self.by_notifier.entry(key.clone()).or_default();
        if lane.n_messages >= LANE_MESSAGES_MAX {
            LaneFilled { receiver: &message.notice.receiver }.emit(&means.metrics);
            return;
        }
        lane.n_messages += 1;
        self.on_their_way.insert(Text::clone(&message.id));
        let (permits, means) = (Arc::clone(&lane.attempts), means.clone());
        self.attempts.spawn(async move {
            let _permit = permits.acquire().await;
            let id = Text::clone(&message.id);
            let is_delivered = attempt(&message, &means).await;
            Ended { id, lane: key, is_delivered }
        });
    }

    fn end(&mut self, ended: Ended) {
        let Ended { id, lane, is_delivered } = ended;
        if let Some(found) = self.by_notifier.get_mut(&lane) {
            found.n_messages = found.n_messages.saturating_sub(1);
            if found.n_messages == 0 {
                self.by_notifier.remove(&lane);
            }
        }
        self.on_their_way.remove(&id);
        if is_delivered {
            self.delivered.push_back(id);
            if self.delivered.len() > DELIVERED_MAX {
                self.delivered.pop_front();
            }
        }
    }
}

/// True where the message arrived and its receipt is on disk: without one its group waits for it, so it
/// is offered again.
#[tracing::instrument(name = "notify.attempt", skip_all, fields(receiver = %message.notice.receiver, id = %message.id))]
async fn attempt(message: &Message, means: &Means) -> bool {
    let Means { sender, log, clock, metrics, troubles } = means;
    let Outcome { failure, handle } = sender.send(message, clock.now()).await;
    let receiver = &message.notice.receiver;
    MessageAttempted { receiver, id: &message.id, failure: failure.as_ref() }.emit(metrics);
    troubles.attempted(message, failure.as_ref(), clock.now());
    let is_delivered = failure.is_none();
    let receipt = Receipt { id: Text::clone(&message.id), at: clock.now(), failure, handle };
    let is_noted = log.write(Entry::Receipt(receipt), Priority::Essential).await.is_ok();
    if !is_noted {
        tracing::warn!(event = "notify.receipt.failed", id = %message.id, "not on disk: the message may go out again, under the same id");
    }
    is_delivered && is_noted
}
