//! One connection, from its first bytes to its end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::greeter::Greeter;
use super::guests::Standing;
use super::tally::Tally;
use super::tls::{Shown, client};
use super::{Client, Limits, PLACE, SILENT, UNREAD, stopped};

/// Who is sent away in between requests is told so, and has this long to hear it.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection and what serves it.
pub(super) struct Connection {
    pub(super) standing: Arc<Standing>,
    pub(super) builder: Arc<Builder<TokioExecutor>>,
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) met: Arc<Tally>,
    pub(super) stopping: watch::Receiver<Option<Duration>>,
    /// None: no TLS, so nobody was let in by a certificate.
    pub(super) others: Option<watch::Receiver<()>>,
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
            shaken = tokio::time::timeout(self.limits.header_timeout, shaking) => shaken,
            () = self.standing.away.notified() => {
                self.met.count(PLACE);
                return None;
            }
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
            Err(_elapsed) => {
                self.met.count(SILENT);
                None
            }
        }
    }

    /// Serves requests until either side ends it, or until nothing happens any more.
    pub(super) async fn serve<S>(self, stream: S, client: Option<Client>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { standing, builder, router, limits, met, mut stopping, mut others } = self;
        let greeter = Greeter::new(router, Arc::clone(&standing), client, Arc::clone(&met));
        let io = TokioIo::new(Heard {
            stream,
            standing: Arc::clone(&standing),
            patience: limits.write_timeout,
            met: Arc::clone(&met),
            blocked: None,
        });
        let serving = builder.serve_connection(io, TowerToHyperService::new(greeter)).into_owned();
        let look = sleep(limits.header_timeout);
        tokio::pin!(serving, look);
        let (mut patience, mut is_leaving, mut is_stopping) = (limits.idle_timeout, false, false);
        loop {
            tokio::select! {
                ended = &mut serving => {
                    if let Err(error) = ended {
                        tracing::debug!(event = "receive.connection.failed", %error);
                        let told = error.downcast_ref::<hyper::Error>();
                        // A head, or another request, that did not come.
                        if told.is_some_and(hyper::Error::is_timeout) {
                            met.count(SILENT);
                        }
                    }
                    return;
                }
                () = standing.away.notified() => {
                    met.count(PLACE);
                    // Whose client sends no more hears nothing of a farewell either.
                    if !standing.is_known() || standing.only_waits() {
                        return;
                    }
                    serving.as_mut().graceful_shutdown();
                    (patience, is_leaving) = (FAREWELL, true);
                    look.as_mut().reset(Instant::now() + patience);
                }
                () = changed(&mut others), if !is_leaving => {
                    serving.as_mut().graceful_shutdown();
                    (patience, is_leaving) = (limits.write_timeout, true);
                    look.as_mut().reset(Instant::now() + patience);
                }
                _ = stopped(&mut stopping), if !is_stopping => {
                    serving.as_mut().graceful_shutdown();
                    is_stopping = true;
                }
                () = &mut look => {
                    let is_idle = !standing.is_working();
                    let idle_at = standing.touched() + patience;
                    let is_over = is_idle && idle_at <= Instant::now();
                    if !standing.has_begun() {
                        met.count(SILENT);
                        return;
                    }
                    if is_over && is_leaving {
                        return;
                    }
                    if is_over {
                        met.count(SILENT);
                        serving.as_mut().graceful_shutdown();
                        (patience, is_leaving) = (limits.write_timeout, true);
                    }
                    let waits = if is_idle && !is_over { idle_at } else { Instant::now() + patience };
                    look.as_mut().reset(waits);
                }
            }
        }
    }
}

/// Resolves when other client authorities are believed.
async fn changed(others: &mut Option<watch::Receiver<()>>) {
    // Who shows certificates is gone with the listener; nobody changes them any more.
    let is_gone = match others {
        Some(others) => others.changed().await.is_err(),
        None => true,
    };
    if is_gone {
        std::future::pending::<()>().await;
    }
}

/// A stream that counts what was read of it, and fails where nothing can be written for too long: the
/// other side reads nothing.
struct Heard<S> {
    stream: S,
    standing: Arc<Standing>,
    patience: Duration,
    met: Arc<Tally>,
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> Heard<S> {
    fn in_time<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let patience = self.patience;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(patience)));
        let met = &self.met;
        blocked.as_mut().poll(cx).map(|()| {
            met.count(UNREAD);
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.standing.note_read(buf.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.in_time(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.in_time(shut, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.in_time(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
