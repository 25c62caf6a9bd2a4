//! Who is connected: what each connection has shown of itself, and who goes where there is no room.
//!
//! An address and what its connection did come in; who is sent away goes out. Never does somebody who says
//! nothing, or whom every answer refused, keep others out: those are strangers, with a number of their own,
//! and the oldest goes when there are too many. Never do idle connections fill the house: the one that was
//! idle the longest goes for who comes, and where nobody idles, whose half-sent body is awaited the longest.
//! Never does one address have all the places but loopback, where
//! sidecars and proxies of the machine come from and nobody else.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Limits;

/// HTTP/2's preface is as long, and no useful request is shorter.
const FIRST_BYTES: usize = 24;
/// An answer has this long to leave before its connection counts as idle.
const SETTLED: Duration = Duration::from_secs(1);

/// What a connection has shown of itself so far.
#[derive(Debug)]
pub(super) struct Standing {
    /// None: loopback.
    peer: Option<IpAddr>,
    begun: Instant,
    n_read: AtomicUsize,
    /// Requests whose answers have not begun.
    n_working: AtomicUsize,
    /// Of those, whose bodies have come in part.
    n_awaited: AtomicUsize,
    /// Since when there are such, in milliseconds since `begun`.
    awaited_ms: AtomicU64,
    /// When a request came or a piece of an answer was taken, in milliseconds since `begun`.
    touched_ms: AtomicU64,
    is_known: AtomicBool,
    is_leaving: AtomicBool,
    pub(super) away: Notify,
}

impl Standing {
    pub(super) fn of(address: IpAddr) -> Self {
        Self {
            peer: peer(address),
            begun: Instant::now(),
            n_read: AtomicUsize::new(0),
            n_working: AtomicUsize::new(0),
            n_awaited: AtomicUsize::new(0),
            awaited_ms: AtomicU64::new(0),
            touched_ms: AtomicU64::new(0),
            is_known: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            away: Notify::new(),
        }
    }

    pub(super) const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    pub(super) fn note_read(&self, n: usize) {
        if !self.has_begun() {
            self.n_read.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Its first bytes are read: from here on hyper's own timers hold.
    pub(super) fn has_begun(&self) -> bool {
        self.n_read.load(Ordering::Relaxed) >= FIRST_BYTES
    }

    /// An answer served it, so it is none of the strangers.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    pub(super) fn is_working(&self) -> bool {
        self.n_working.load(Ordering::Relaxed) > 0
    }

    /// All that it works on are requests whose bodies are not whole: it waits for its client, not for us.
    pub(super) fn only_waits(&self) -> bool {
        let n_working = self.n_working.load(Ordering::Relaxed);
        n_working > 0 && self.n_awaited.load(Ordering::Relaxed) >= n_working
    }

    pub(super) fn begin_awaiting(&self) {
        if self.n_awaited.fetch_add(1, Ordering::Relaxed) == 0 {
            self.awaited_ms.store(self.age_ms(), Ordering::Relaxed);
        }
    }

    pub(super) fn end_awaiting(&self) {
        self.n_awaited.fetch_sub(1, Ordering::Relaxed);
    }

    /// Since when nothing but bodies is waited for; a request or an answer in between is progress.
    fn awaited_since(&self) -> Instant {
        let since = self.begun + Duration::from_millis(self.awaited_ms.load(Ordering::Relaxed));
        since.max(self.touched())
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn touched(&self) -> Instant {
        self.begun + Duration::from_millis(self.touched_ms.load(Ordering::Relaxed))
    }

    pub(super) fn touch(&self) {
        self.touched_ms.fetch_max(self.age_ms(), Ordering::Relaxed);
    }

    /// An answer tells whether somebody was served: it is no error of who asked, credentials among them.
    pub(super) fn judge(&self, status: StatusCode, headers: &HeaderMap) {
        // gRPC says 200 to everything; 14 is UNAVAILABLE, which is our trouble.
        let grpc = headers.get("grpc-status").map_or(b"0".as_slice(), |status| status.as_bytes());
        if !status.is_client_error() && matches!(grpc, b"0" | b"14") {
            self.is_known.store(true, Ordering::Relaxed);
        }
    }

    fn is_stranger(&self) -> bool {
        !self.is_known() && !self.is_leaving.load(Ordering::Relaxed)
    }

    /// Known, and without anything to do for a while.
    fn is_idle(&self, settled: Duration) -> bool {
        let is_leaving = self.is_leaving.load(Ordering::Relaxed);
        self.is_known() && !is_leaving && !self.is_working() && self.touched().elapsed() >= settled
    }

    /// It has only waited for its client for a while.
    fn is_stalled(&self, settled: Duration) -> bool {
        let is_leaving = self.is_leaving.load(Ordering::Relaxed);
        self.only_waits() && !is_leaving && self.awaited_since().elapsed() >= settled
    }

    fn send_away(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        self.away.notify_one();
    }
}

/// A request that is being worked on, until its answer begins or nobody wants it any more.
#[derive(Debug)]
pub(super) struct Working(pub(super) Arc<Standing>);

impl Working {
    pub(super) fn begin(standing: &Arc<Standing>) -> Self {
        // A request may be shorter than what tells which HTTP it is.
        standing.n_read.fetch_max(FIRST_BYTES, Ordering::Relaxed);
        standing.n_working.fetch_add(1, Ordering::Relaxed);
        standing.touch();
        Self(Arc::clone(standing))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.touch();
        self.0.n_working.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whose places count together. Who has one address of IPv6 has the 2^64 of its network.
fn peer(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Some(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
        }
    }
}

/// The connections of one listener, oldest first.
#[derive(Debug)]
pub(super) struct Guests {
    all: Vec<Arc<Standing>>,
    newcomers_max: usize,
    /// Of one address.
    peer_max: usize,
    settled: Duration,
}

impl Guests {
    pub(super) fn new(limits: Limits) -> Self {
        // Half, so that a second address is always heard. A proxy in front of many is one address: half
        // of a thousand that are open at once is more than it needs for deliveries of milliseconds.
        let peer_max = limits.connections_max.div_ceil(2);
        Self { all: Vec::new(), newcomers_max: limits.newcomers_max, peer_max, settled: SETTLED }
    }

    /// Whether one more of this address may stay. Of too many strangers the oldest is sent away.
    pub(super) fn may_come(&mut self, address: IpAddr) -> bool {
        if self.all.len() < self.newcomers_max.min(self.peer_max) {
            return true;
        }
        // Who has gone is held by this list alone.
        self.all.retain(|one| Arc::strong_count(one) > 1);
        if self.strangers().count() >= self.newcomers_max {
            let _ = send_away(self.strangers().next());
        }
        let Some(peer) = peer(address) else { return true };
        let of_peer = || self.all.iter().filter(|one| one.peer == Some(peer));
        if of_peer().count() < self.peer_max {
            return true;
        }
        let stranger = of_peer().find(|one| one.is_stranger());
        let idle = || self.longest_idle(of_peer());
        send_away(stranger.or_else(idle).or_else(|| self.longest_stalled(of_peer())))
    }

    /// Sends somebody away, so that another has the place: a stranger, who was idle the longest, or whose
    /// half-sent body is awaited the longest.
    pub(super) fn make_room(&self) {
        let idle = || self.longest_idle(self.all.iter());
        let stalled = || self.longest_stalled(self.all.iter());
        let _ = send_away(self.strangers().next().or_else(idle).or_else(stalled));
    }

    pub(super) fn seat(&mut self, address: IpAddr) -> Arc<Standing> {
        let newest = Arc::new(Standing::of(address));
        self.all.push(Arc::clone(&newest));
        newest
    }

    fn strangers(&self) -> impl Iterator<Item = &Arc<Standing>> {
        self.all.iter().filter(|one| one.is_stranger())
    }

    fn longest_idle<'a>(
        &self,
        among: impl Iterator<Item = &'a Arc<Standing>>,
    ) -> Option<&'a Arc<Standing>> {
        among.filter(|one| one.is_idle(self.settled)).min_by_key(|one| one.touched())
    }

    fn longest_stalled<'a>(
        &self,
        among: impl Iterator<Item = &'a Arc<Standing>>,
    ) -> Option<&'a Arc<Standing>> {
        among.filter(|one| one.is_stalled(self.settled)).min_by_key(|one| one.awaited_since())
    }
}

/// False: there is nobody.
fn send_away(one: Option<&Arc<Standing>>) -> bool {
    if let Some(one) = one {
        tracing::debug!(event = "receive.connection.stopped", "another has its place");
        one.send_away();
    }
    one.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(connections_max: usize) -> Guests {
        Guests::new(Limits { connections_max, newcomers_max: 100, ..Limits::default() })
    }

    fn come(guests: &mut Guests, address: &str) -> Option<Arc<Standing>> {
        let address = address.parse().expect("an address");
        guests.may_come(address).then(|| guests.seat(address))
    }

    fn serve(one: &Standing) {
        one.judge(StatusCode::OK, &HeaderMap::new());
    }

    #[test]
    fn one_address_leaves_half_to_others() {
        for (first, same, other) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
        ] {
            let mut guests = guests(8);
            let mut held: Vec<_> =
                (0..4).map(|_| come(&mut guests, first).expect("room")).collect();
            held.iter().for_each(|one| serve(one));
            assert!(come(&mut guests, same).is_none(), "all of them have just been served");
            assert!(come(&mut guests, other).is_some());
            let working = Working::begin(&held[0]);
            guests.settled = Duration::ZERO;
            held.extend(come(&mut guests, same));
            let leaving = held.iter().map(|one| one.is_leaving.load(Ordering::Relaxed));
            let leaving: Vec<bool> = leaving.collect();
            assert_eq!(
                leaving,
                [false, true, false, false, false],
                "who idles goes, not who works"
            );
            drop(working);
        }
    }

    #[test]
    fn loopback_has_all_places() {
        let mut guests = guests(8);
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.2"].repeat(3) {
            assert!(come(&mut guests, address).is_some());
        }
    }

    #[test]
    fn only_who_was_served_is_known() {
        let known = |status: StatusCode, grpc: Option<&'static str>| {
            let one = Standing::of(IpAddr::V6(Ipv6Addr::LOCALHOST));
            let grpc = grpc.map(|code| ("grpc-status".parse().expect("a name"), code.parse()));
            let headers = grpc.into_iter().map(|(name, code)| (name, code.expect("a value")));
            one.judge(status, &headers.collect());
            one.is_known()
        };
        for status in [200, 204, 302, 503] {
            assert!(known(StatusCode::from_u16(status).expect("a status"), None), "{status}");
        }
        for status in [400, 401, 403, 404, 405, 413, 431] {
            assert!(!known(StatusCode::from_u16(status).expect("a status"), None), "{status}");
        }
        let grpc = |code| known(StatusCode::OK, Some(code));
        assert_eq!(["0", "14", "16", "12", "3"].map(grpc), [true, true, false, false, false]);
    }
}
