//! The only reader of clocks.
//!
//! Everything else is given `now`. A [`Clock`] is cheap to clone. The accelerated form serves the
//! demo: it starts in the past and runs `speed` times as fast until it meets the wall clock, so that
//! stamps, ages and rule evaluation all agree on one time.
#![expect(clippy::disallowed_methods, reason = "this module is the seam that the rule protects")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::number::{f64_from_u64, u64_from_f64};
use crate::signal::Timestamp;

/// A source of the present.
#[derive(Clone, Debug)]
pub struct Clock {
    anchor_wall: Timestamp,
    anchor: Instant,
    /// How far the clock lies behind the wall at its anchor; zero for the wall clock.
    behind: Duration,
    speed: f64,
    /// Nanoseconds that somebody sets, in the place of any machine's time.
    hand: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The machine's wall clock, read anew at every call.
    pub fn wall() -> Self {
        Self::accelerated(Duration::ZERO, 1.0)
    }

    /// A clock that starts `behind` the wall clock and runs `speed` times as fast until it meets it.
    /// `speed` at or below 1 never catches up.
    pub fn accelerated(behind: Duration, speed: f64) -> Self {
        Self { anchor_wall: wall_now(), anchor: Instant::now(), behind, speed, hand: None }
    }

    /// A clock that is moved by hand, for simulations.
    #[cfg(test)]
    pub(crate) fn by_hand(hand: Arc<AtomicU64>) -> Self {
        Self { hand: Some(hand), ..Self::wall() }
    }

    /// The present on this clock.
    pub fn now(&self) -> Timestamp {
        if let Some(hand) = &self.hand {
            return Timestamp::from_nanos(hand.load(Ordering::Relaxed));
        }
        let wall = wall_now();
        if self.behind.is_zero() {
            return wall;
        }
        let elapsed =
            f64_from_u64(u64::try_from(self.anchor.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let start = self.anchor_wall.saturating_sub(self.behind);
        let ahead = start.saturating_add(Duration::from_nanos(u64_from_f64(elapsed * self.speed)));
        ahead.min(wall)
    }

    /// Whether it is meant to differ from the wall clock.
    pub fn is_accelerated(&self) -> bool {
        !self.behind.is_zero()
    }

    /// How long to wait in real time for `span` to pass on this clock.
    pub fn real(&self, span: Duration) -> Duration {
        if self.speed > 1.0 && self.now() < wall_now().saturating_sub(Duration::from_millis(50)) {
            span.div_f64(self.speed)
        } else {
            span
        }
    }

    /// A monotonic stopwatch, for measuring how long our own work took.
    pub fn stopwatch() -> Stopwatch {
        Stopwatch(Instant::now())
    }
}

/// How long our own work took, by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Time since the stopwatch was made.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

fn wall_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accelerated_clock_starts_behind_and_never_passes_the_wall() {
        let clock = Clock::accelerated(Duration::from_hours(1), 10.0);
        let wall = wall_now();
        assert!(clock.now() < wall.saturating_sub(Duration::from_secs(3500)));
        let fast = Clock::accelerated(Duration::from_nanos(1), 1e9);
        assert!(fast.now() <= wall_now());
    }
}
