//! Listen: an address to requests: accepts, bounds, speaks TLS where it is told to, serves HTTP/1.1 and
//! HTTP/2 on the same socket, drains.
//!
//! What comes in: connections. What goes out: requests to a router, those over a client's certificate
//! with a [`Client`] among their extensions. Never does a connection that says nothing, reads nothing or is
//! only ever refused keep others out (`guests`); each has a time for its first bytes, to say something, and
//! to read what it asked for.
//!
//! `axum::serve` has no header timeout, no cap of connections and no deadline for a drain, and hyper's own
//! timers begin only after the first bytes told which HTTP it is, so the loop is ours.

mod awaited;
mod connection;
pub mod descriptors;
mod greeter;
mod guests;
pub mod origin;
pub mod tally;
pub mod tls;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::signal::Text;
use connection::Connection;
use guests::Guests;
use tally::Tally;

/// Streams that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 128;
/// Streams that a peer reset before we looked at them; more end the connection (CVE-2023-44487).
const RESETS_MAX: usize = 20;
/// Bytes of all headers of one request.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// A peer that does not answer a ping this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Pause after a failed accept, so that running out of descriptors does not spin; and until it is tried
/// again to make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of one listener. `Default` has the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At once; for one more, who was idle the longest goes. One address has half, loopback all.
    pub connections_max: usize,
    /// Of those, that no answer has served yet, TLS handshakes among them; more push out the oldest.
    /// (Turns for handshakes were tried: who takes one and says nothing blocks the others.)
    pub newcomers_max: usize,
    /// From the accept until the first bytes, the handshake included, and from the start of each
    /// request until its headers are read.
    pub header_timeout: Duration,
    /// Without a request that is worked on and without a piece of an answer that is taken; HTTP/1 has
    /// `header_timeout` for that.
    pub idle_timeout: Duration,
    /// Until something of what waits to be written is taken.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Three listeners and the files of the journal stay below 4,096 descriptors; where there are
            // fewer, `within` has the bound.
            connections_max: 1000,
            newcomers_max: 500,
            header_timeout: Duration::from_secs(10),
            // Longer than the minute in which SDKs export metrics: they keep their connection.
            idle_timeout: Duration::from_secs(75),
            // nginx's `send_timeout`, which asks the same.
            write_timeout: Duration::from_mins(1),
        }
    }
}

/// What a listener is: its bounds, and the certificate that it shows.
#[derive(Clone, Debug)]
pub struct Door {
    pub limits: Limits,
    /// None: plain HTTP.
    pub tls: Option<tls::Shown>,
    /// Bounds that were met, by which of [`BOUNDS`].
    pub met: Arc<Tally>,
}

impl Default for Door {
    fn default() -> Self {
        Self { limits: Limits::default(), tls: None, met: Arc::new(Tally::new(&BOUNDS)) }
    }
}

/// Its address has all of its places: it is not served.
const ADDRESS: &str = "address";
/// Another has its place.
const PLACE: &str = "place";
/// Neither a handshake nor a whole head nor another request came in time.
const SILENT: &str = "silent";
/// What it asked for was not read in time.
const UNREAD: &str = "unread";
/// A head is too long.
const HEAD: &str = "head";
/// What a listener's connections and requests can meet.
pub const BOUNDS: [&str; 5] = [ADDRESS, PLACE, SILENT, UNREAD, HEAD];

/// Who proved to be who they are by a certificate that we believe; a request's extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client(pub Text);

/// Where a request comes from, as far as it tells one sender from another (of IPv6 its network); a request's
/// extension. None: this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub Option<IpAddr>);

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", remedy(.source))]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

impl BindError {
    /// Why an address cannot be listened on now, if it cannot.
    pub fn of(address: SocketAddr) -> Option<Self> {
        let source = std::net::TcpListener::bind(address).err()?;
        Some(Self { address, source })
    }
}

/// What to do about an address that is not ours to listen on.
fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "; is another daemon running?",
        std::io::ErrorKind::AddrNotAvailable => "; no interface of this machine has it",
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 are for root, or for who has CAP_NET_BIND_SERVICE"
        }
        _ => "",
    }
}

/// The token that a request shows as a bearer, or as the password of any user (RFC 7617): browsers ask a person
/// for that, and agents know it as `basic_auth`.
pub fn token(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let password = || {
        let packed = credential(headers, "basic")?;
        let text = String::from_utf8(STANDARD.decode(packed).ok()?).ok()?;
        text.split_once(':').map(|(_, password)| Cow::Owned(password.to_owned()))
    };
    bearer(headers).map(Cow::Borrowed).or_else(password)
}

/// The token that a request shows as a bearer, and in no other way (RFC 6750).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    credential(headers, "bearer")
}

/// What is sent under a scheme, whose name is as one likes (RFC 9110, section 11.1).
fn credential<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (own, credential) = text.split_once(' ')?;
    own.eq_ignore_ascii_case(scheme).then(|| credential.trim_start())
}

/// A listener and the task that accepts on it.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Binds and begins to accept.
    pub async fn start(address: SocketAddr, router: Router, door: Door) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopping) = watch::channel(None);
        let task = tokio::spawn(accept(listener, router, door, stopping));
        Ok(Self { address, stop, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more; lets open requests end, for `deadline` at most.
    pub async fn drain(self, deadline: Duration) {
        let _ = self.stop.send(Some(deadline));
        if let Err(error) = self.task.await {
            tracing::error!(event = "receive.listener.failed", %error);
        }
    }
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // hyper's timeouts do nothing without a timer.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(128 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}

async fn accept(
    listener: TcpListener,
    router: Router,
    door: Door,
    mut stopping: watch::Receiver<Option<Duration>>,
) {
    let limits = door.limits;
    let builder = Arc::new(builder(limits));
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let mut guests = Guests::new(limits);
    let deadline = loop {
        let (stream, from): (TcpStream, SocketAddr) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(event = "receive.connection.failed", %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            deadline = stopped(&mut stopping) => break deadline,
        };
        if !guests.may_come(from.ip()) {
            door.met.count(ADDRESS);
            tracing::debug!(
                event = "receive.connection.refused",
                "its address has all of its places"
            );
            continue;
        }
        let place = tokio::select! {
            place = place(&places, &guests) => place,
            deadline = stopped(&mut stopping) => break deadline,
        };
        let connection = Connection {
            standing: guests.seat(from.ip()),
            builder: Arc::clone(&builder),
            router: router.clone(),
            limits,
            met: Arc::clone(&door.met),
            stopping: stopping.clone(),
            // Before the handshake, so that nothing is missed.
            others: door.tls.as_ref().map(tls::Shown::others),
        };
        tokio::spawn(serve(connection, stream, door.tls.clone(), place));
    };
    drop(listener);
    // All places are free once everybody has gone.
    let all = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    if tokio::time::timeout(deadline, places.acquire_many(all)).await.is_err() {
        tracing::warn!(
            event = "receive.connections.stopped",
            "some clients did not end in time; what they had not finished was not acknowledged"
        );
    }
}

/// The right to be connected: at once, or when somebody has gone for it.
async fn place(places: &Arc<Semaphore>, guests: &Guests) -> OwnedSemaphorePermit {
    loop {
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return place;
        }
        guests.make_room();
        let place = Arc::clone(places).acquire_owned();
        if let Ok(Ok(place)) = tokio::time::timeout(ACCEPT_PAUSE, place).await {
            return place;
        }
    }
}

async fn serve(
    connection: Connection,
    stream: TcpStream,
    shown: Option<tls::Shown>,
    place: OwnedSemaphorePermit,
) {
    match shown {
        None => connection.serve(stream, None).await,
        Some(shown) => {
            let mut stopping = connection.stopping.clone();
            let greeted = tokio::select! {
                greeted = connection.handshake(stream, &shown) => greeted,
                // A handshake is not worth waiting for.
                _ = stopped(&mut stopping) => None,
            };
            if let Some((stream, client)) = greeted {
                connection.serve(stream, client).await;
            }
        }
    }
    drop(place);
}

/// Resolves with the drain's deadline once the daemon stops.
async fn stopped(stopping: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stopping.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}
