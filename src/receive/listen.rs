//! One listener: accepts, bounds, serves HTTP/1.1 and HTTP/2 on the same socket, drains.
//!
//! `axum::serve` has no header timeout, no cap of connections and no deadline for a drain, so the loop
//! is ours.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::{BindError, Limits};

/// Streams that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 128;
/// Bytes of all headers of one request.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// A peer that does not answer a ping this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener and the task that accepts on it.
#[derive(Debug)]
pub(super) struct Listening {
    address: SocketAddr,
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<()>,
}

impl Listening {
    pub(super) async fn start(
        address: SocketAddr,
        router: Router,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopping) = watch::channel(None);
        let task = tokio::spawn(accept(listener, router, limits, stopping));
        Ok(Self { address, stop, task })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn drain(self, deadline: Duration) {
        let _ = self.stop.send(Some(deadline));
        if let Err(error) = self.task.await {
            tracing::error!(event = "receive.listener.failed", %error);
        }
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<Option<Duration>>,
) {
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
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let deadline = loop {
        let permit = tokio::select! {
            permit = Arc::clone(&connections).acquire_owned() => permit,
            deadline = stopped(&mut stopping) => break deadline,
        };
        let stream: TcpStream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(event = "receive.connection.failed", %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            deadline = stopped(&mut stopping) => break deadline,
        };
        // Acknowledgements are small and waited for.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(event = "receive.connection.failed", %error);
        }
        let service = TowerToHyperService::new(router.clone());
        let connection =
            graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(event = "receive.connection.failed", %error);
            }
            drop(permit);
        });
    };
    drop(listener);
    if tokio::time::timeout(deadline, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            event = "receive.connections.stopped",
            "some clients did not end in time; what they had not finished was not acknowledged"
        );
    }
}

/// Resolves with the drain's deadline once the daemon stops.
async fn stopped(stopping: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stopping.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}
