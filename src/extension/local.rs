//! Local sockets: where the platform posts telemetry, where the function's SDK exports OTLP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::otlp;
use super::settings::Listen;
use super::shared::Shared;
use super::spill::Taken;
use super::telemetry::survey;

/// A post of the platform reaches twice its `maxBytes` and some more; OTLP exports are smaller.
pub(super) const BODY_BYTES_MAX: usize = 6 << 20;

/// A listener and the task that serves it.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves telemetry posts.
pub(super) async fn telemetry(listen: Listen, shared: &Arc<Shared>) -> std::io::Result<Local> {
    let router = Router::new().fallback(post(take)).with_state(Arc::clone(shared));
    serve(listen.telemetry, router).await
}

/// Serves OTLP on both ports, as far as they are free: HTTP and gRPC on either.
pub(super) async fn otlp(listen: Listen, shared: &Arc<Shared>) -> Vec<Local> {
    let mut served = Vec::new();
    for address in listen.otlp.iter().flat_map(|(http, grpc)| [*http, *grpc]) {
        match serve(address, otlp::router(Arc::clone(shared))).await {
            Ok(local) => served.push(local),
            // Another collector's, perhaps; telemetry goes on without it.
            Err(error) => {
                tracing::warn!(event = "extension.listener.failed", %address, %error);
            }
        }
    }
    served
}

async fn serve(address: SocketAddr, router: Router) -> std::io::Result<Local> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(event = "extension.listener.failed", %address, %error);
        }
    });
    Ok(Local { address, task })
}

/// The whole body, within the bound.
pub(super) async fn read(body: axum::body::Body) -> Result<Bytes, StatusCode> {
    axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)
}

/// One post of the platform. It is always taken: what has no room is counted and told, while a refusal
/// would only move the loss to where nobody counts.
async fn take(State(shared): State<Arc<Shared>>, request: Request) -> StatusCode {
    let body = match read(request.into_body()).await {
        Ok(body) => body,
        Err(status) => {
            shared.spill().unreadable(BODY_BYTES_MAX);
            return status;
        }
    };
    let Some(survey) = survey(&body) else {
        shared.spill().unreadable(body.len());
        return StatusCode::OK;
    };
    let taken = shared.spill().offer_telemetry(&body, &survey);
    if taken == Taken::Repeat {
        tracing::debug!(event = "extension.batch.repeated");
    }
    shared.arrived(survey.turns);
    StatusCode::OK
}
