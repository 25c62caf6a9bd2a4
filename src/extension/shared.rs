//! What the tasks of the extension share: the spill, which invocations ended, how far the sending is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::spill::{Batch, Spill};
use super::telemetry::Turn;
use crate::clock::Clock;

/// Ended invocations that are remembered until somebody asks; Managed Instances run many at once and
/// nobody asks there.
const DONE_MAX: usize = 64;

/// How far the sending is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Working,
    /// The last attempt failed, the next has to wait.
    Resting,
}

/// How much time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hurry {
    /// Batches may grow a little.
    None,
    /// An invocation ended and the environment waits for us.
    Flush,
    /// The environment ends: no rest between attempts.
    Last,
}

#[derive(Debug)]
pub(super) struct Shared {
    spill: Mutex<Spill>,
    done: Mutex<VecDeque<String>>,
    /// Wakes the lifecycle: telemetry arrived.
    arrived: Notify,
    /// Wakes the sender: something waits, or there is a hurry.
    wake: Notify,
    progress: watch::Sender<Progress>,
    hurry: watch::Sender<Hurry>,
    clock: Clock,
}

/// A panic elsewhere leaves plain queues, so the lock is taken all the same.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(spill: Spill, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            spill: Mutex::new(spill),
            done: Mutex::new(VecDeque::new()),
            arrived: Notify::new(),
            wake: Notify::new(),
            progress: watch::Sender::new(Progress::Working),
            hurry: watch::Sender::new(Hurry::None),
            clock,
        })
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The spill; never held over an `await`.
    pub(super) fn spill(&self) -> MutexGuard<'_, Spill> {
        locked(&self.spill)
    }

    /// Notes what a batch told of invocations and wakes whoever waits for it.
    pub(super) fn arrived(&self, turns: Vec<Turn>) {
        let mut done = locked(&self.done);
        for turn in turns {
            match turn {
                // An asynchronous retry has the request id of the attempt before it.
                Turn::Started(id) => done.retain(|known| *known != id),
                Turn::Done(id) => {
                    if done.len() == DONE_MAX {
                        done.pop_front();
                    }
                    done.push_back(id);
                }
            }
        }
        drop(done);
        self.arrived.notify_one();
        self.wake.notify_one();
    }

    /// Waits for the end of an invocation, for `max` at most.
    pub(super) async fn ended(&self, request_id: &str, max: Duration) {
        let ended = async {
            while !self.take_done(request_id) {
                self.arrived.notified().await;
            }
        };
        // Without the event there is nothing to wait for: what there is goes out all the same.
        let _ = tokio::time::timeout(max, ended).await;
    }

    fn take_done(&self, request_id: &str) -> bool {
        let mut done = locked(&self.done);
        let before = done.len();
        done.retain(|known| known != request_id);
        done.len() < before
    }

    /// Waits until nothing has arrived for `quiet`.
    pub(super) async fn quiet(&self, quiet: Duration) {
        while tokio::time::timeout(quiet, self.arrived.notified()).await.is_ok() {}
    }

    /// Sends at once what waits, for `max` at most; ends early where an attempt failed and has to wait.
    pub(super) async fn flush(&self, max: Duration) {
        self.hurry(Hurry::Flush);
        let mut progress = self.progress.subscribe();
        let over = progress.wait_for(|p| *p == Progress::Resting || self.spill().is_empty());
        let _ = tokio::time::timeout(max, over).await;
        self.hurry(Hurry::None);
    }

    /// Sends until nothing waits.
    pub(super) async fn drain(&self) {
        self.hurry(Hurry::Last);
        let mut progress = self.progress.subscribe();
        // The sender lives as long as we do.
        let _ = progress.wait_for(|_| self.spill().is_empty()).await;
    }

    fn hurry(&self, hurry: Hurry) {
        self.hurry.send_replace(hurry);
        self.wake.notify_one();
    }

    // What the sender calls.

    pub(super) fn hurried(&self) -> Hurry {
        *self.hurry.borrow()
    }

    pub(super) fn progress(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    /// Resolves when something may have changed.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The batch to send now.
    pub(super) fn next(&self) -> Option<Batch> {
        let now = self.clock.now();
        self.spill().next(now)
    }
}
