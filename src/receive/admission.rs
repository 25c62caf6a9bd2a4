//! Admission by bytes: what is being read and decoded has a bound, in all and for each sender, and nobody
//! waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::credential::Principal;
use crate::signal::Text;

/// Bytes of all bodies in flight. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    in_flight: Arc<Mutex<InFlight>>,
    bytes_max: usize,
    /// Of one sender that has a name.
    share_bytes_max: usize,
}

#[derive(Debug, Default)]
struct InFlight {
    bytes: usize,
    /// Only of those who hold some.
    by_sender: BTreeMap<Text, usize>,
}

/// The right to hold some bytes; given back when dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    in_flight: Arc<Mutex<InFlight>>,
    bytes: usize,
    sender: Option<Text>,
}

impl Admitted {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

fn lock(in_flight: &Mutex<InFlight>) -> MutexGuard<'_, InFlight> {
    // Sums are whole whatever panicked meanwhile.
    in_flight.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Admission {
    /// One sender has half at the most, so that a second one is always heard. Where nobody has a name
    /// there is one sender, and it has all.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { in_flight: Arc::default(), bytes_max, share_bytes_max: bytes_max.div_ceil(2) }
    }

    /// At once or not at all: a client that is refused comes again later.
    pub(super) fn admit(&self, principal: &Principal, bytes: usize) -> Option<Admitted> {
        self.admit_more(principal, bytes, 0)
    }

    /// As [`Admission::admit`], for a body that holds `own` bytes already. One that alone takes more than there
    /// is goes on where nobody else holds anything: it would be refused for ever.
    pub(super) fn admit_more(
        &self,
        principal: &Principal,
        bytes: usize,
        own: usize,
    ) -> Option<Admitted> {
        let sender = (!principal.0.is_empty()).then(|| Text::clone(&principal.0));
        let mut in_flight = lock(&self.in_flight);
        let is_alone = own > 0 && in_flight.bytes <= own;
        let has_room = |held: &usize, max: usize| is_alone || *held <= max;
        let all = in_flight.bytes.checked_add(bytes);
        let all = all.filter(|all| has_room(all, self.bytes_max))?;
        if let Some(sender) = &sender {
            let held = in_flight.by_sender.get(sender).copied().unwrap_or_default();
            let held = held.checked_add(bytes);
            let held = held.filter(|held| has_room(held, self.share_bytes_max))?;
            in_flight.by_sender.insert(Text::clone(sender), held);
        }
        in_flight.bytes = all;
        Some(Admitted { in_flight: Arc::clone(&self.in_flight), bytes, sender })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut in_flight = lock(&self.in_flight);
        in_flight.bytes = in_flight.bytes.saturating_sub(self.bytes);
        let Some(sender) = &self.sender else { return };
        let held = in_flight.by_sender.get(sender).copied().unwrap_or_default();
        match held.checked_sub(self.bytes).filter(|left| *left > 0) {
            Some(left) => drop(in_flight.by_sender.insert(Text::clone(sender), left)),
            None => drop(in_flight.by_sender.remove(sender)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Principal {
        Principal(name.into())
    }

    #[test]
    fn bytes_come_back_when_their_body_is_done() {
        let admission = Admission::new(4096);
        let nobody = named("");
        let first = admission.admit(&nobody, 3000);
        assert!(first.is_some());
        assert!(admission.admit(&nobody, 2000).is_none());
        drop(first);
        assert!(admission.admit(&nobody, 4096).is_some());
        assert!(admission.admit(&nobody, usize::MAX).is_none());
    }

    #[test]
    fn a_body_that_takes_more_than_there_is_goes_alone() {
        let admission = Admission::new(4000);
        for sender in [named(""), named("a")] {
            let body = admission.admit(&sender, 1500);
            assert!(body.is_some());
            let other = admission.admit(&named("b"), 1);
            assert!(admission.admit_more(&sender, 9000, 1500).is_none(), "another is there");
            drop(other);
            let more = admission.admit_more(&sender, 9000, 1500);
            assert!(more.is_some());
            assert!(admission.admit(&named("b"), 1).is_none(), "nobody comes beside it");
            drop((body, more));
        }
        assert!(admission.admit(&named(""), 4001).is_none(), "none begins beyond it");
        assert_eq!(lock(&admission.in_flight).bytes, 0);
    }

    #[test]
    fn one_sender_leaves_room_for_another() {
        let admission = Admission::new(4000);
        let (a, b) = (named("a"), named("b"));
        let first = admission.admit(&a, 1500);
        assert!(first.is_some());
        assert!(admission.admit(&a, 501).is_none(), "half is the most");
        let second = admission.admit(&b, 2000);
        assert!(second.is_some());
        let rest = admission.admit(&a, 500);
        assert!(rest.is_some());
        assert!(admission.admit(&b, 1).is_none());
        drop((first, second));
        assert!(admission.admit(&a, 1500).is_some());
        drop(rest);
        assert!(lock(&admission.in_flight).by_sender.is_empty(), "who holds nothing is not held");
        assert_eq!(lock(&admission.in_flight).bytes, 0);
    }
}
