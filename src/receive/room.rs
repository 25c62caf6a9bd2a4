//! Room in the engine's memory for what is on its way to it.
//!
//! What a batch will take there, at the most, is promised before the batch is put on disk, and stays promised
//! until a tick has worked the batch out: only then does the engine's own weight hold it. So what is
//! acknowledged finds its place, and what would not is refused, which its sender can mend. Never does anybody
//! wait here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{CAUSES, Refusal};
use crate::listen::tally::Tally;

/// Deliveries that are decoded at once to tell whether they go on with what is held, while memory is short.
/// More are refused as they come: to read them all would take the time in which a refusal is quick.
const TRIALS_MAX: usize = 4;

/// What the engine holds and what it is to hold. A tick says anew what is true.
#[derive(Debug)]
pub struct Room {
    bytes_max: AtomicU64,
    /// What the engine held at the last tick.
    held: AtomicU64,
    promised: AtomicU64,
    /// Of what is promised: applied, and not worked out yet.
    applied: AtomicU64,
    /// Open requests alone take three quarters: new work is refused, whatever it would take.
    is_crowded: AtomicBool,
    trials: Semaphore,
    turned_away: Tally,
}

/// What a batch is to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    New,
    /// It goes on with what is held, so it may have the last eighth too.
    OfHeld,
}

/// Bytes that a batch will find; given back when dropped before the engine has it.
#[derive(Debug)]
pub struct Promise {
    room: Arc<Room>,
    bytes: u64,
}

impl Promise {
    /// The batch is applied; the next tick works it out.
    pub fn keep(mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.room.applied.fetch_add(bytes, Ordering::AcqRel);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.room.promised.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// What the engine says after a tick.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub held: u64,
    pub bytes_max: u64,
    pub is_crowded: bool,
}

impl Room {
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max: AtomicU64::new(bytes_max),
            held: AtomicU64::new(0),
            promised: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            is_crowded: AtomicBool::new(false),
            trials: Semaphore::new(TRIALS_MAX),
            turned_away: Tally::new(&CAUSES),
        }
    }

    fn taken(&self) -> u64 {
        self.held.load(Ordering::Acquire).saturating_add(self.promised.load(Ordering::Acquire))
    }

    /// Whether a batch of new work could find room if nothing else were there. What could not is refused for
    /// good, where its sender can send less at once.
    pub fn could_hold(&self, bytes: u64) -> bool {
        bytes <= self.bound(Claim::New)
    }

    fn bound(&self, claim: Claim) -> u64 {
        let max = self.bytes_max.load(Ordering::Relaxed);
        match claim {
            Claim::New => max / 8 * 7,
            Claim::OfHeld => max,
        }
    }

    /// Room for a batch that takes `bytes` at the most. One that alone takes more than there is goes where
    /// nothing else is on its way: it would be refused for ever. (What is pushed is asked for
    /// [`Room::could_hold`] before.)
    pub fn promise(self: &Arc<Self>, bytes: u64, claim: Claim) -> Option<Promise> {
        if claim == Claim::New && self.is_crowded.load(Ordering::Relaxed) {
            return None;
        }
        let (held, bound) = (self.held.load(Ordering::Acquire), self.bound(claim));
        let may_go_alone = held < self.bytes_max.load(Ordering::Relaxed) / 4 * 3;
        let more = |promised: u64| {
            let all = promised.saturating_add(bytes);
            let fits = held.saturating_add(all) <= bound;
            (fits || (promised == 0 && may_go_alone)).then_some(all)
        };
        let promised = self.promised.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        promised.ok().map(|_before| Promise { room: Arc::clone(self), bytes })
    }

    /// Before anything of a delivery is read: nothing is taken, whatever it is, or it would not be tried.
    pub(super) fn enter(&self) -> Result<(), Refusal> {
        let is_full = self.taken() >= self.bound(Claim::OfHeld);
        if is_full || (self.is_short() && self.trials.available_permits() == 0) {
            return Err(self.refused(Refusal::Memory));
        }
        Ok(())
    }

    fn is_short(&self) -> bool {
        self.is_crowded.load(Ordering::Relaxed) || self.taken() >= self.bound(Claim::New)
    }

    /// Before a delivery is decoded, and until it is judged: None where memory is not short.
    pub(super) fn trial(&self) -> Result<Option<SemaphorePermit<'_>>, Refusal> {
        if !self.is_short() {
            return Ok(None);
        }
        self.trials.try_acquire().map(Some).map_err(|_none| self.refused(Refusal::Memory))
    }

    /// Counts a delivery that is refused before it asks for the disk.
    pub(super) fn refused(&self, refusal: Refusal) -> Refusal {
        if let Some(cause) = refusal.bound() {
            self.turned_away.count(cause);
        }
        refusal
    }

    /// How many deliveries were refused before they asked for the disk, by cause, since this was asked last.
    pub fn take_turned_away(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.turned_away.take()
    }

    /// From here on a tick works out what is applied: so many of the bytes that are promised.
    pub fn begin_tick(&self) -> u64 {
        self.applied.swap(0, Ordering::AcqRel)
    }

    /// The engine's own weight holds now what the tick began with.
    pub fn end_tick(&self, worked: u64, told: Told) {
        self.bytes_max.store(told.bytes_max, Ordering::Relaxed);
        self.is_crowded.store(told.is_crowded, Ordering::Relaxed);
        self.held.store(told.held, Ordering::Release);
        self.promised.fetch_sub(worked, Ordering::AcqRel);
    }

    /// Between two ticks: what comes until the next would find no place.
    pub fn is_nearly_full(&self) {
        self.is_crowded.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(held: u64) -> Told {
        Told { held, bytes_max: 800, is_crowded: held >= 600 }
    }

    fn tick(room: &Room, held: u64) {
        let worked = room.begin_tick();
        room.end_tick(worked, told(held));
    }

    #[test]
    fn what_is_on_its_way_keeps_its_room_until_a_tick_has_worked_it_out() {
        let room = Arc::new(Room::new(800));
        tick(&room, 400);
        let first = room.promise(200, Claim::New).expect("room");
        assert!(room.promise(200, Claim::New).is_none(), "an eighth is for what is held");
        assert!(room.promise(201, Claim::OfHeld).is_none());
        assert!(room.promise(200, Claim::OfHeld).is_some());
        first.keep();
        assert!(
            room.promise(200, Claim::New).is_none(),
            "it is applied, and nothing weighs it yet"
        );
        let worked = room.begin_tick();
        let meanwhile = room.promise(50, Claim::New).expect("room");
        meanwhile.keep();
        room.end_tick(worked, told(500));
        assert!(
            room.promise(151, Claim::New).is_none(),
            "what came during the tick is not worked out"
        );
        assert!(room.promise(150, Claim::New).is_some());
        tick(&room, 500);
        assert!(room.promise(200, Claim::New).is_some());
    }

    #[test]
    fn a_promise_that_is_not_kept_is_given_back() {
        let room = Arc::new(Room::new(800));
        drop(room.promise(700, Claim::New).expect("room"));
        assert_eq!(room.taken(), 0);
    }

    #[test]
    fn a_batch_that_takes_more_than_there_is_goes_alone() {
        let room = Arc::new(Room::new(800));
        let small = room.promise(1, Claim::New);
        assert!(room.promise(9000, Claim::New).is_none());
        drop(small);
        assert!(room.could_hold(700) && !room.could_hold(701));
        let large = room.promise(9000, Claim::New);
        assert!(large.is_some());
        assert!(room.promise(1, Claim::OfHeld).is_none());
        assert_eq!(room.enter(), Err(Refusal::Memory), "nothing is read any more");
        drop(large);
        tick(&room, 600);
        assert!(room.promise(1, Claim::New).is_none(), "open requests alone take three quarters");
        assert!(room.promise(1, Claim::OfHeld).is_some());
        assert_eq!(room.take_turned_away().collect::<Vec<_>>(), [("memory", 1)]);
    }

    #[test]
    fn short_of_memory_few_are_tried_at_once() {
        let room = Room::new(800);
        assert!(room.trial().expect("no refusal").is_none());
        tick(&room, 600);
        let trials: Vec<_> = std::iter::repeat_with(|| room.trial()).take(TRIALS_MAX + 1).collect();
        assert_eq!(trials.iter().filter(|trial| trial.is_ok()).count(), TRIALS_MAX);
        assert_eq!(room.enter(), Err(Refusal::Memory), "it would not be tried");
        drop(trials);
        assert!(room.enter().is_ok() && room.trial().is_ok());
    }
}
