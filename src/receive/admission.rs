//! Admission by bytes: what is being read and decoded has a bound, and nobody waits for it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes are admitted in units of this size.
const UNIT: usize = 1024;

/// The bytes of all bodies in flight.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<Semaphore>);

/// The right to hold some bytes; given back when dropped.
#[derive(Debug)]
pub(super) struct Admitted(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Admission {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes_max / UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// At once or not at all: a client that is refused comes again later.
    pub(super) fn admit(&self, bytes: usize) -> Option<Admitted> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(units).ok().map(Admitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_when_their_body_is_done() {
        let admission = Admission::new(4096);
        let first = admission.admit(3000);
        assert!(first.is_some());
        assert!(admission.admit(2000).is_none());
        drop(first);
        assert!(admission.admit(4096).is_some());
    }
}
