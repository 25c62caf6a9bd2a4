//! Health and reload, as in Prometheus.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Views;

pub(super) async fn healthy() -> &'static str {
    "throughline is healthy\n"
}

/// 200 while work is taken; otherwise why not, a reason a line.
pub(super) async fn ready(State(views): State<Views>) -> Response {
    let reasons = (views.unready)();
    if reasons.is_empty() {
        return "throughline is ready\n".into_response();
    }
    let shown: String = reasons.iter().map(|reason| format!("{reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, shown).into_response()
}

/// Reads the configuration again; the answer says what is wrong with a bad one, and what of a good one takes a
/// restart.
pub(super) async fn reload(State(views): State<Views>) -> Response {
    let reload = std::sync::Arc::clone(&views.reload);
    match tokio::task::spawn_blocking(move || reload()).await {
        Ok(Ok(later)) => {
            let lines = later.iter().map(|one| format!("{one}\n"));
            std::iter::once("reloaded\n".to_owned())
                .chain(lines)
                .collect::<String>()
                .into_response()
        }
        Ok(Err(errors)) => {
            let shown: String = errors.iter().map(|error| format!("{error}\n")).collect();
            (StatusCode::BAD_REQUEST, shown).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
