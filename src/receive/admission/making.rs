//! Room for what bodies become while they are decoded.
//!
//! It is promised beside what is in flight, so that both together have one bound. Never does it keep all of them
//! from going on: where bodies that wait to be decoded fill everything, one goes on all the same, and what it holds
//! comes back.

use super::{Admission, lock};

/// Room for what one body becomes; given back when dropped.
#[derive(Debug)]
pub(in crate::receive) struct Making {
    admission: Admission,
    bytes: usize,
}

impl Drop for Making {
    fn drop(&mut self) {
        lock(&self.admission.in_flight).making -= self.bytes;
        self.admission.made.notify_one();
    }
}

impl Admission {
    /// Waits until there is room, or nothing else is decoded. One waits at a time, whoever holds a place first.
    pub(in crate::receive) async fn make(&self, bytes: usize) -> Making {
        loop {
            if let Some(making) = self.make_now(bytes) {
                return making;
            }
            // Another is at work, and tells when it is done; were it done by now, that is remembered.
            self.made.notified().await;
        }
    }

    fn make_now(&self, bytes: usize) -> Option<Making> {
        let mut in_flight = lock(&self.in_flight);
        let all = in_flight.all.bytes.saturating_add(in_flight.making).saturating_add(bytes);
        let may = in_flight.making == 0 || all <= self.bytes_max;
        may.then(|| {
            in_flight.making += bytes;
            Making { admission: self.clone(), bytes }
        })
    }
}
