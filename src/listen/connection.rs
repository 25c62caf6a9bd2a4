//! One connection, from its first bytes to its end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service;

use super::Client;
use super::tls::{Shown, client};

/// HTTP/2's preface is as long, and no useful request is shorter.
const FIRST_BYTES: usize = 24;

/// What a connection has shown of itself so far.
#[derive(Debug, Default)]
pub(super) struct Standing {
    n_read: AtomicUsize,
    is_known: AtomicBool,
    away: Notify,
}

impl Standing {
    /// Its first bytes are read: from here on hyper's own timers hold.
    fn has_begun(&self) -> bool {
        self.n_read.load(Ordering::Relaxed) >= FIRST_BYTES || self.is_known()
    }

    /// It has sent a whole request head.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    pub(super) fn send_away(&self) {
        self.away.notify_one();
    }
}

/// A connection and what serves it.
pub(super) struct Connection {
    pub(super) standing: Arc<Standing>,
    pub(super) builder: Arc<Builder<TokioExecutor>>,
    pub(super) router: Router,
    pub(super) watcher: Watcher,
    pub(super) header_timeout: Duration,
}

impl Connection {
    /// The TLS handshake, in its time. None: there was none.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        shown: &Shown,
    ) -> Option<(TlsStream<TcpStream>, Option<Client>)> {
        let acceptor = TlsAcceptor::from(shown.server());
        let shaking = acceptor.accept(stream);
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.header_timeout, shaking) => shaken,
            () = self.standing.away.notified() => return None,
        };
        match shaken {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let client = certificates.and_then(|chain| Some(client(chain.first()?)));
                Some((stream, client))
            }
            Ok(Err(error)) => {
                tracing::debug!(event = "receive.handshake.failed", %error);
                None
            }
            Err(_elapsed) => None,
        }
    }

    /// Serves requests until either side ends it.
    pub(super) async fn serve<S>(self, stream: S, client: Option<Client>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { standing, builder, router, watcher, header_timeout } = self;
        let greeter = Greeter { router, standing: Arc::clone(&standing), client };
        let io = TokioIo::new(Heard { stream, standing: Arc::clone(&standing) });
        let serving = builder.serve_connection(io, TowerToHyperService::new(greeter)).into_owned();
        let serving = watcher.watch(serving);
        let too_late = tokio::time::sleep(header_timeout);
        tokio::pin!(serving, too_late);
        let mut is_watched = true;
        loop {
            tokio::select! {
                ended = &mut serving => {
                    if let Err(error) = ended {
                        tracing::debug!(event = "receive.connection.failed", %error);
                    }
                    return;
                }
                () = standing.away.notified() => return,
                () = &mut too_late, if is_watched => {
                    if !standing.has_begun() {
                        return;
                    }
                    is_watched = false;
                }
            }
        }
    }
}

/// Notes that a request head has come, and names the client to whoever handles it.
#[derive(Clone, Debug)]
struct Greeter {
    router: Router,
    standing: Arc<Standing>,
    client: Option<Client>,
}

impl<B> Service<Request<B>> for Greeter
where
    Router: Service<Request<B>>,
{
    type Response = <Router as Service<Request<B>>>::Response;
    type Error = <Router as Service<Request<B>>>::Error;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.router.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.standing.is_known.store(true, Ordering::Relaxed);
        if let Some(client) = &self.client {
            request.extensions_mut().insert(client.clone());
        }
        self.router.call(request)
    }
}

/// A stream that counts what was read of it.
struct Heard<S> {
    stream: S,
    standing: Arc<Standing>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !self.standing.has_begun() {
            self.standing.n_read.fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
