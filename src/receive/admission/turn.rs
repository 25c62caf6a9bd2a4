//! Turns: one body at a time gets all of the room, where it needs more than there is for it beside others.
//!
//! Who asks for a turn comes in; the right to go on alone goes out, once what others began is done. Never does
//! one wait behind another: who comes while a turn is taken is refused, and comes again. Turns leave at least
//! as much time between them as they took, so that who needs none is heard too.

use std::time::Duration;

use tokio::time::Instant;

use super::{Admission, STALLED_AFTER, lock};

/// What others began is over much sooner, but for bodies that come slowly; nobody begins meanwhile.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(3);
/// How often is looked for half-sent bodies that stalled meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Others may hold this part of all beside a turn: a body that comes slowly keeps nobody up.
const BESIDE: usize = 8;

/// Whose turn it is, and when the next may begin.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) is_taken: bool,
    free_at: Option<Instant>,
}

impl Turns {
    fn take(&mut self, now: Instant) -> bool {
        let is_free = !self.is_taken && self.free_at.is_none_or(|at| at <= now);
        self.is_taken |= is_free;
        is_free
    }
}

/// Nobody else begins while it is held.
#[derive(Debug)]
pub(in crate::receive) struct Turn {
    admission: Admission,
    began: Instant,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = Instant::now();
        let turns = &mut lock(&self.admission.in_flight).turns;
        turns.is_taken = false;
        turns.free_at = Some(now + now.duration_since(self.began));
    }
}

impl Admission {
    /// The turn of a body that holds `own` bytes. None: another has it, had it just now, or others do not get
    /// done.
    pub(in crate::receive) async fn turn(&self, own: usize) -> Option<Turn> {
        self.turn_within(own, WAIT_MAX).await
    }

    pub(super) async fn turn_within(&self, own: usize, wait_max: Duration) -> Option<Turn> {
        let began = Instant::now();
        if !lock(&self.in_flight).turns.take(began) {
            return None;
        }
        let turn = Turn { admission: self.clone(), began };
        let others_are_done = async {
            while !self.is_nearly_alone(own) {
                // What is given back wakes it; what stalls has to be looked for.
                let _ = tokio::time::timeout(LOOK_EVERY, self.given_back.notified()).await;
            }
        };
        tokio::time::timeout(wait_max, others_are_done).await.ok().map(|()| turn)
    }

    fn is_nearly_alone(&self, own: usize) -> bool {
        let mut in_flight = lock(&self.in_flight);
        loop {
            if in_flight.all.bytes <= own.saturating_add(self.bytes_max / BESIDE) {
                return true;
            }
            match in_flight.all.line.first() {
                Some(&(grew_at, id)) if grew_at.elapsed() >= STALLED_AFTER => {
                    in_flight.send_away(id);
                }
                _ => return false,
            }
        }
    }
}
