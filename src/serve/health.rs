//! Health and reload, as in Prometheus.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Views;

pub(super) async fn healthy() -> &'static str {
    "throughline is healthy\n"
}

/// 200 once recovery is over.
pub(super) async fn ready(State(views): State<Views>) -> Response {
    if views.ready.load(Ordering::Acquire) {
        "throughline is ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "replaying the journal\n").into_response()
    }
}

/// Reads the configuration again; the answer says what is wrong with a bad one.
pub(super) async fn reload(State(views): State<Views>) -> Response {
    let reload = std::sync::Arc::clone(&views.reload);
    match tokio::task::spawn_blocking(move || reload()).await {
        Ok(Ok(())) => "reloaded\n".into_response(),
        Ok(Err(errors)) => {
            let shown: String = errors.iter().map(|error| format!("{error}\n")).collect();
            (StatusCode::BAD_REQUEST, shown).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
