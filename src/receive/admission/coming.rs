//! A body on its way: the bytes that are held for it while it comes.
//!
//! How far it has come goes in; the right to hold it comes out once it is whole. Never is it sent away while
//! it goes on: as much again as there is, or [`QUICK_BYTES`] more, counts as going on.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Admission, Admitted, HalfSent, Sender, Wish, lock};

/// A body that grew by so much goes on, however long it is. Smaller pieces go on only where they double it: a
/// byte now and then keeps nobody's place.
const QUICK_BYTES: usize = 1 << 20;

/// Room of a body that is being read; given back when dropped.
#[derive(Debug)]
pub(in crate::receive) struct Coming {
    admission: Admission,
    sender: Sender,
    bytes: usize,
    waiting: Option<Waiting>,
}

/// It has its place among the half-sent bodies.
#[derive(Debug)]
struct Waiting {
    id: u64,
    away: Arc<Notify>,
    /// So long, and it went on.
    goes_on_at: usize,
}

impl Coming {
    pub(super) const fn new(admission: Admission, sender: Sender) -> Self {
        Self { admission, sender, bytes: 0, waiting: None }
    }

    /// Whether what is announced could be held at all now.
    pub(in crate::receive) fn may_hold(&self, bytes: usize) -> bool {
        self.admission.may_hold(&self.sender, bytes)
    }

    /// Room for more of it; false: there is none.
    pub(in crate::receive) fn admit(&mut self, bytes: usize) -> bool {
        let body = self.waiting.as_ref().map(|waiting| waiting.id);
        let is_admitted = self.admission.admit(Wish { sender: &self.sender, bytes, body });
        if is_admitted {
            self.bytes += bytes;
        }
        is_admitted
    }

    /// So much has come, and more is awaited.
    pub(in crate::receive) fn wait(&mut self, length: usize) {
        if self.waiting.as_ref().is_some_and(|waiting| length < waiting.goes_on_at) {
            return;
        }
        let now = Instant::now();
        let goes_on_at = length + length.clamp(1, QUICK_BYTES);
        let mut in_flight = lock(&self.admission.in_flight);
        if let Some(waiting) = &mut self.waiting {
            waiting.goes_on_at = goes_on_at;
            in_flight.grew(waiting.id, now);
            return;
        }
        let (away, sender) = (Arc::<Notify>::default(), self.sender.clone());
        let body = HalfSent { sender, grew_at: now, bytes: self.bytes, away: Arc::clone(&away) };
        let id = in_flight.wait(body);
        self.waiting = Some(Waiting { id, away, goes_on_at });
    }

    /// Resolves when others need its room.
    pub(in crate::receive) async fn sent_away(&self) {
        match &self.waiting {
            Some(waiting) => waiting.away.notified().await,
            None => std::future::pending().await,
        }
    }

    /// It is whole. None: its room was given to others.
    pub(in crate::receive) fn arrived(mut self) -> Option<Admitted> {
        if !self.stay() {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        Some(Admitted { admission: self.admission.clone(), bytes, sender: self.sender.clone() })
    }

    /// Waits no more; false: it was sent away, and holds nothing.
    fn stay(&mut self) -> bool {
        let Some(waiting) = self.waiting.take() else { return true };
        let stays = lock(&self.admission.in_flight).leave(waiting.id).is_some();
        if !stays {
            self.bytes = 0;
        }
        stays
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        if self.stay() {
            lock(&self.admission.in_flight).give_back(&self.sender, self.bytes);
        }
    }
}
