//! Sends due messages and journals what became of them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::state::Entry;
use super::threads::Log;
use crate::clock::Clock;
use crate::internal_telemetry::Metrics;
use crate::internal_telemetry::happening::MessageAttempted;
use crate::journal::Priority;
use crate::notify::{Message, Receipt, send};
use crate::signal::Text;

/// Attempts on their way at once; a dead receiver cannot hold more than these for its timeout.
const ATTEMPTS_MAX: usize = 32;
/// Delivered ids that are remembered, so that an offer made before the receipt was applied is not
/// taken for a new one.
const DELIVERED_MAX: usize = 10_000;

/// Runs until the channel closes; then waits for what is on its way.
pub(super) async fn run(
    mut due: mpsc::Receiver<Vec<Message>>,
    log: Log,
    clock: Clock,
    metrics: Arc<Metrics>,
) {
    let client = match send::client() {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(event = "notify.client.failed", %error);
            return;
        }
    };
    let permits = Arc::new(Semaphore::new(ATTEMPTS_MAX));
    let mut on_their_way: HashSet<Text> = HashSet::new();
    let mut delivered: VecDeque<Text> = VecDeque::new();
    let mut attempts: JoinSet<(Text, bool)> = JoinSet::new();
    loop {
        tokio::select! {
            offered = due.recv() => {
                let Some(offered) = offered else { break };
                for message in offered {
                    if delivered.contains(&message.id) || !on_their_way.insert(Text::clone(&message.id)) {
                        continue;
                    }
                    let (client, log, clock) = (client.clone(), log.clone(), clock.clone());
                    let (permits, metrics) = (Arc::clone(&permits), Arc::clone(&metrics));
                    attempts.spawn(async move {
                        let _permit = permits.acquire().await;
                        attempt(&client, message, &log, &clock, &metrics).await
                    });
                }
            }
            Some(Ok((id, ok))) = attempts.join_next(), if !attempts.is_empty() => {
                on_their_way.remove(&id);
                if ok {
                    delivered.push_back(id);
                    if delivered.len() > DELIVERED_MAX {
                        delivered.pop_front();
                    }
                }
            }
        }
    }
    while attempts.join_next().await.is_some() {}
}

#[tracing::instrument(name = "notify.attempt", skip_all, fields(receiver = %message.notice.receiver, id = %message.id))]
async fn attempt(
    client: &reqwest::Client,
    message: Message,
    log: &Log,
    clock: &Clock,
    metrics: &Metrics,
) -> (Text, bool) {
    let failure = send::send(client, &message, clock.now()).await;
    MessageAttempted {
        receiver: &message.notice.receiver,
        id: &message.id,
        failure: failure.as_ref(),
    }
    .emit(metrics);
    let ok = failure.is_none();
    let receipt = Receipt { id: Text::clone(&message.id), at: clock.now(), failure, handle: None };
    if log.write(Entry::Receipt(receipt), Priority::Essential).await.is_err() {
        tracing::warn!(event = "notify.receipt.failed", id = %message.id, "not on disk: the message may go out again, under the same id");
    }
    (message.id, ok)
}
