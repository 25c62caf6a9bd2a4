//! Admission by bytes: what is being read and decoded has a bound, in all, for each sender and for each
//! address of those who have not proven who they are; and nobody waits for it.
//!
//! Who asks for room, and for how much, comes in; the right to hold it goes out, or nothing. Never does a
//! body that does not go on hold what others need: where there is no room, half-sent bodies that stopped
//! growing give way, who stopped first goes first. What a body becomes while it is decoded has its room here too,
//! and waits for it only where another is decoded, so there is always one that goes on.

mod coming;
mod making;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::signal::Text;
pub(super) use coming::Coming;
pub(super) use making::Making;

/// A half-sent body that did not grow this long gives way where room is needed. It is told to come again, and
/// a body that is on its way takes no longer between two pieces.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// In whose name bytes are held. An address of `None` is this machine, where sidecars and proxies come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// Proven before the body is read.
    Named(Text),
    /// Signed, which only the whole body proves: nobody yet.
    Unproven(Option<IpAddr>),
    /// Nobody needs a credential.
    Anyone(Option<IpAddr>),
}

/// What bytes count in, beside all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    Of(Text),
    OfUnproven,
    OfUnprovenAt(IpAddr),
    At(IpAddr),
}

/// A share, and its part of all.
type Part = (Share, usize);

impl Sender {
    /// One sender has half at the most, so that a second one is always heard; one address of those who are
    /// not proven has half of their half. Where nobody has a name each address is a sender, but this machine
    /// is not told apart, and has all.
    fn shares(&self) -> [Option<Part>; 2] {
        match self {
            Self::Named(name) => [Some((Share::Of(Text::clone(name)), 2)), None],
            Self::Unproven(peer) => {
                [peer.map(|peer| (Share::OfUnprovenAt(peer), 4)), Some((Share::OfUnproven, 2))]
            }
            Self::Anyone(peer) => [peer.map(|peer| (Share::At(peer), 2)), None],
        }
    }
}

/// Bytes of all bodies in flight. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    in_flight: Arc<Mutex<InFlight>>,
    bytes_max: usize,
    /// A body is decoded, and what it became has its room or is gone.
    made: Arc<Notify>,
}

#[derive(Debug, Default)]
struct InFlight {
    all: Held,
    /// Promised to bodies that are decoded now. Beside all, in nobody's share.
    making: usize,
    /// Only of those who hold some.
    shares: BTreeMap<Share, Held>,
    /// By the number of each.
    half_sent: BTreeMap<u64, HalfSent>,
    n_half_sent: u64,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// Of those, of half-sent bodies.
    half_sent: usize,
    /// The half-sent bodies, by when they last grew.
    line: BTreeSet<(Instant, u64)>,
}

impl Held {
    fn fits(&self, more: usize, max: usize) -> bool {
        self.bytes.checked_add(more).is_some_and(|all| all <= max)
    }
}

/// A body that is being read and waits for more.
#[derive(Debug)]
struct HalfSent {
    sender: Sender,
    grew_at: Instant,
    bytes: usize,
    away: Arc<Notify>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
struct Wish<'a> {
    sender: &'a Sender,
    bytes: usize,
    /// The half-sent body that asks.
    body: Option<u64>,
}

/// The right to hold some bytes; given back when dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Admission,
    bytes: usize,
    sender: Sender,
}

impl Admitted {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Held in another's name from now on; None: who that is holds too much, and the room is given back.
    pub(super) fn pass_to(self, sender: &Sender) -> Option<Self> {
        if self.sender == *sender {
            return Some(self);
        }
        let admission = self.admission.clone();
        let bytes = self.bytes;
        // For a moment nobody holds it; so it needs no room twice.
        drop(self);
        let is_admitted = admission.admit(Wish { sender, bytes, body: None });
        is_admitted.then(|| Self { admission, bytes, sender: sender.clone() })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        lock(&self.admission.in_flight).give_back(&self.sender, self.bytes);
    }
}

fn lock(in_flight: &Mutex<InFlight>) -> MutexGuard<'_, InFlight> {
    // Sums are whole whatever panicked meanwhile.
    in_flight.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Admission {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { in_flight: Arc::default(), bytes_max, made: Arc::default() }
    }

    /// The most that a sender may ever hold: of a body as it comes, and of one with all that it becomes.
    pub(super) fn share(&self, sender: &Sender) -> usize {
        let parts = sender.shares().into_iter().flatten();
        parts.map(|(_, part)| self.bytes_max.div_ceil(part)).min().unwrap_or(self.bytes_max)
    }

    /// A body that comes, nothing of which is held yet.
    pub(super) fn begin(&self, sender: &Sender) -> Coming {
        Coming::new(self.clone(), sender.clone())
    }

    /// Room for so much, at once or not at all: a client that is refused comes again later.
    pub(super) fn admit_more(&self, sender: &Sender, bytes: usize) -> Option<Admitted> {
        self.admit(Wish { sender, bytes, body: None }).then(|| Admitted {
            admission: self.clone(),
            bytes,
            sender: sender.clone(),
        })
    }

    /// Whether so much could be held, were what is half sent gone; nothing is taken and nobody goes.
    fn may_hold(&self, sender: &Sender, bytes: usize) -> bool {
        let in_flight = lock(&self.in_flight);
        let wish = Wish { sender, bytes, body: None };
        let mut shares = sender.shares().into_iter().flatten();
        in_flight.may_hold(None, self.bytes_max, wish)
            && shares.all(|(share, part)| {
                in_flight.may_hold(Some(&share), self.bytes_max.div_ceil(part), wish)
            })
    }

    fn admit(&self, wish: Wish<'_>) -> bool {
        let mut in_flight = lock(&self.in_flight);
        if wish.body.is_some_and(|id| !in_flight.half_sent.contains_key(&id)) {
            return false;
        }
        // Nobody goes for a wish that is refused all the same.
        let firm = |share: Option<&Share>, max| in_flight.may_hold(share, max, wish);
        let shares = wish.sender.shares();
        let may = firm(None, self.bytes_max)
            && shares
                .iter()
                .flatten()
                .all(|(share, part)| firm(Some(share), self.bytes_max.div_ceil(*part)));
        if !may {
            return false;
        }
        let fits = shares.iter().flatten().all(|(share, part)| {
            in_flight.make_room(Some(share), self.bytes_max.div_ceil(*part), wish)
        }) && in_flight.make_room(None, self.bytes_max, wish);
        if fits {
            in_flight.take(wish);
        }
        fits
    }
}

impl InFlight {
    fn held(&self, share: Option<&Share>) -> Option<&Held> {
        share.map_or(Some(&self.all), |share| self.shares.get(share))
    }

    /// Whether a wish would fit into a share, were what others have half sent gone.
    fn may_hold(&self, share: Option<&Share>, max: usize, wish: Wish<'_>) -> bool {
        let Some(held) = self.held(share) else { return wish.bytes <= max };
        let own = wish.body.and_then(|id| self.half_sent.get(&id)).map_or(0, |body| body.bytes);
        let firm = held.bytes - held.half_sent + own + self.making_in(share);
        firm.checked_add(wish.bytes).is_some_and(|all| all <= max)
    }

    /// What is decoded now takes of all, and of nobody's share.
    fn making_in(&self, share: Option<&Share>) -> usize {
        if share.is_none() { self.making } else { 0 }
    }

    /// True where a wish fits into a share (`None`: into all), if need be because bodies that stalled in it
    /// were sent away.
    fn make_room(&mut self, share: Option<&Share>, max: usize, wish: Wish<'_>) -> bool {
        loop {
            let Some(held) = self.held(share) else { return wish.bytes <= max };
            if held.fits(wish.bytes, max.saturating_sub(self.making_in(share))) {
                return true;
            }
            let oldest = held.line.iter().find(|(_, id)| Some(*id) != wish.body);
            match oldest {
                Some(&(grew_at, id)) if grew_at.elapsed() >= STALLED_AFTER => self.send_away(id),
                _ => return false,
            }
        }
    }

    /// Of all and of each share of a sender.
    fn each(&mut self, sender: &Sender, mut change: impl FnMut(&mut Held)) {
        change(&mut self.all);
        for (share, _) in sender.shares().into_iter().flatten() {
            let held = self.shares.entry(share.clone()).or_default();
            change(held);
            if held.bytes == 0 && held.line.is_empty() {
                self.shares.remove(&share);
            }
        }
    }

    fn take(&mut self, wish: Wish<'_>) {
        let body = wish.body.and_then(|id| self.half_sent.get_mut(&id));
        let half_sent = if body.is_some() { wish.bytes } else { 0 };
        if let Some(body) = body {
            body.bytes += wish.bytes;
        }
        self.each(wish.sender, |held| {
            held.bytes += wish.bytes;
            held.half_sent += half_sent;
        });
    }

    fn give_back(&mut self, sender: &Sender, bytes: usize) {
        self.each(sender, |held| held.bytes -= bytes);
    }

    /// Gives back what a half-sent body holds, and tells it so.
    fn send_away(&mut self, id: u64) {
        if let Some(body) = self.leave(id) {
            self.give_back(&body.sender, body.bytes);
            body.away.notify_one();
        }
    }

    /// A body begins to wait for more of itself; gives its number.
    fn wait(&mut self, body: HalfSent) -> u64 {
        self.n_half_sent += 1;
        let id = self.n_half_sent;
        self.stand(id, body);
        id
    }

    /// It grew, and stands at the end of every line.
    fn grew(&mut self, id: u64, now: Instant) {
        if let Some(body) = self.leave(id) {
            self.stand(id, HalfSent { grew_at: now, ..body });
        }
    }

    fn stand(&mut self, id: u64, body: HalfSent) {
        self.each(&body.sender, |held| {
            held.half_sent += body.bytes;
            held.line.insert((body.grew_at, id));
        });
        self.half_sent.insert(id, body);
    }

    /// It waits no more, and holds what it holds. None: it was sent away.
    fn leave(&mut self, id: u64) -> Option<HalfSent> {
        let body = self.half_sent.remove(&id)?;
        self.each(&body.sender, |held| {
            held.half_sent -= body.bytes;
            held.line.remove(&(body.grew_at, id));
        });
        Some(body)
    }
}
