//! Ticks: once a second of the clock, a record that time passed.
//!
//! The clock comes in, ticks go into the journal. There is never more than one a second, except
//! after a clock was set.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::state::Entry;
use super::threads::Log;
use super::troubles::{StepWatch, Troubles};
use crate::clock::Clock;
use crate::internal_telemetry::Metrics;
use crate::internal_telemetry::happening::{DeliveriesFailed, LimitMet};
use crate::journal::Priority;
use crate::listen::tally::Tally;
use crate::receive;
use crate::signal::Timestamp;

/// Age counts one tick a second.
const TICK: Duration = Duration::from_secs(1);
/// A tick comes this long after a whole second. Counters are kept by seconds, and rules are judged up to
/// a second that is over: a tick in its middle would judge the one before it. What happened at the end
/// of the second has this long to be sent and synced, otherwise the next tick judges it.
const AFTER_SECOND: Duration = Duration::from_millis(100);
/// Two ticks lie no closer, whatever the clock does.
const BETWEEN_TICKS: Duration = Duration::from_millis(250);

/// What listeners and receivers count, and where it is told.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) met: Arc<Tally>,
    pub(super) errors: Arc<Tally>,
    pub(super) metrics: Arc<Metrics>,
}

impl Counted {
    pub(super) fn new(met: Arc<Tally>, metrics: &Arc<Metrics>) -> Self {
        let errors = Arc::new(Tally::new(&receive::CODES));
        Self { met, errors, metrics: Arc::clone(metrics) }
    }

    fn tell(&self) {
        for (limit, n) in self.met.take() {
            LimitMet { limit, n }.emit(&self.metrics);
        }
        for (code, n) in self.errors.take() {
            DeliveriesFailed { code, n }.emit(&self.metrics);
        }
    }
}

/// Writes a tick every second of the clock, and looks at clock, disk and doors.
pub(super) async fn run(
    log: Log,
    clock: Clock,
    troubles: Troubles,
    counted: Counted,
    mut stopping: watch::Receiver<bool>,
) {
    let mut steps = StepWatch::new(&clock);
    loop {
        tokio::select! {
            () = tokio::time::sleep(clock.real(until_tick(clock.now()))) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        if let Some(step) = steps.look(&clock) {
            troubles.add(&step, clock.now());
        }
        troubles.look(clock.now());
        counted.tell();
        if log.write(Entry::Tick, Priority::Essential).await.is_err() && log.is_poisoned() {
            return;
        }
    }
}

/// How long to wait for the next tick.
fn until_tick(now: Timestamp) -> Duration {
    let into = now.saturating_sub(AFTER_SECOND).as_nanos() % 1_000_000_000;
    let wait = TICK.saturating_sub(Duration::from_nanos(into));
    if wait < BETWEEN_TICKS { wait.saturating_add(TICK) } else { wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_come_shortly_after_whole_seconds() {
        let wait = |ms: i64| until_tick(Timestamp::from_millis(1_000_000 + ms)).as_millis();
        // Just after one, in the middle, a little late, and so late that one is left out.
        let waits = [0, 99, 100, 101, 600, 849, 851, 999].map(wait);
        assert_eq!(waits, [1100, 1001, 1000, 999, 500, 251, 1249, 1101]);
    }
}
