//! What one query, and all queries together, may take.
//!
//! In: settings. Out: an [`Interrupt`] that ends a query from outside, and a [`Pool`] of samples that
//! all running queries share. Never true: that a query goes on for long after it was interrupted, or
//! that samples of an ended query stay counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use super::EvalError;

/// Bytes of one sample while a query holds it: a time and a value beside what lists waste.
pub(super) const SAMPLE_BYTES: usize = 32;

/// Checked settings. [`Limits::for_memory`] has the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How far back an instant selector looks.
    pub lookback: Duration,
    /// From the request until the answer, the wait for a turn included.
    pub timeout: Duration,
    /// Samples that one query may hold.
    pub samples_max: usize,
    /// Series that one query may select, over all its selectors.
    pub series_max: usize,
    /// Queries that compute at once; more wait their turn.
    pub concurrent_max: usize,
    /// Samples that all queries together may hold.
    pub pool: usize,
}

impl Limits {
    /// Queries share a quarter of the process's memory; one that runs alone may take all of it.
    pub fn for_memory(memory_max_bytes: u64) -> Self {
        let pool = crate::number::usize_from_u64(memory_max_bytes / 4) / SAMPLE_BYTES;
        Self {
            // Prometheus's default.
            lookback: Duration::from_mins(5),
            // Prometheus's default; Grafana waits for less.
            timeout: Duration::from_mins(2),
            samples_max: pool,
            // Ten dashboards of everything; more is a selector that was forgotten.
            series_max: 100_000,
            // Two cores compute, two wait for the store's lock.
            concurrent_max: 4,
            pool,
        }
    }
}

/// Why a query was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    TimedOut,
    Canceled,
}

/// Ends a query from outside. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// The first reason holds.
    pub fn set(&self, stop: Stop) {
        let code = match stop {
            Stop::TimedOut => 1,
            Stop::Canceled => 2,
        };
        let _ = self.0.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<(), EvalError> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            1 => Err(EvalError::Stopped(Stop::TimedOut)),
            _ => Err(EvalError::Stopped(Stop::Canceled)),
        }
    }
}

/// Samples that all queries together may hold. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool(Arc<AtomicUsize>);

impl Pool {
    pub fn new(samples: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(samples)))
    }

    /// Takes room for samples that are held beyond the query that found them.
    ///
    /// # Errors
    /// Where there is not enough at the moment.
    pub fn hold(&self, n: usize) -> Result<Held, EvalError> {
        let held = Held::new(self.clone());
        held.take(n)?;
        Ok(held)
    }

    /// How many are free at the moment.
    pub(super) fn room(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one query holds of a pool; given back when this goes.
#[derive(Debug)]
pub struct Held {
    pool: Pool,
    n: std::cell::Cell<usize>,
}

impl Held {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, n: std::cell::Cell::new(0) }
    }

    pub(super) fn room(&self) -> usize {
        self.pool.room()
    }

    /// Samples that are held; they only grow until the query ends.
    pub(super) fn n(&self) -> usize {
        self.n.get()
    }

    pub(super) fn take(&self, n: usize) -> Result<(), EvalError> {
        let taken = self
            .pool
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(n));
        taken.map_err(|_left| EvalError::Crowded)?;
        self.n.set(self.n.get() + n);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pool.0.fetch_add(self.n.get(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_held_is_given_back() {
        let pool = Pool::new(10);
        let (a, b) = (Held::new(pool.clone()), Held::new(pool.clone()));
        assert_eq!(a.take(7), Ok(()));
        assert_eq!(b.take(4), Err(EvalError::Crowded));
        assert_eq!(b.take(3), Ok(()));
        drop(a);
        assert_eq!(b.take(7), Ok(()));
        drop(b);
        assert_eq!(pool.room(), 10);
    }

    #[test]
    fn the_first_reason_to_stop_holds() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.check(), Ok(()));
        interrupt.set(Stop::TimedOut);
        interrupt.set(Stop::Canceled);
        assert_eq!(interrupt.check(), Err(EvalError::Stopped(Stop::TimedOut)));
    }
}
