//! A start that is not over: the state is put together from the log, and half of it is shown to nobody.
//!
//! Requests come in; until recovery is over each is told to come again, in the form of its API, and people
//! how far it is. Never does an answer of 200 show a state that is not whole: who scrapes a counter that
//! climbs again would count everything twice.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::{come_again, error_at};
use super::pages::html::Html;
use super::pages::plain;
use crate::signal::Timestamp;

/// What is answered whatever the state is: it shows none of it.
const ALWAYS: [&str; 5] = [
    "/-/healthy",
    "/-/ready",
    "/api/v1/status/walreplay",
    "/assets/script.js",
    "/assets/style.css",
];
/// How soon a browser looks again.
const REFRESH_SECONDS: &str = "2";

/// How far a start is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Records of the log that were applied.
    pub records: u64,
    /// The log time of the newest of them.
    pub reached: Option<Timestamp>,
    /// The state is whole.
    pub is_over: bool,
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.reached {
            _ if self.is_over => f.write_str("the journal is replayed"),
            Some(reached) => write!(
                f,
                "replaying the journal: {} records so far, up to what came at {reached}",
                self.records
            ),
            None => f.write_str("replaying the journal: reading the newest snapshot"),
        }
    }
}

/// Asked at each request.
pub type Starting = Arc<dyn Fn() -> Start + Send + Sync>;

/// Lets through what shows no state, and all of it once the state is whole.
pub(super) async fn gate(
    State(starting): State<Starting>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if ALWAYS.contains(&path) {
        return next.run(request).await;
    }
    let start = starting();
    if start.is_over { next.run(request).await } else { come_again(not_yet(path, start)) }
}

fn not_yet(path: &str, start: Start) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let is_for_programs = ["/api/", "/tempo/", "/-/"].iter().any(|api| path.starts_with(api));
    if is_for_programs || matches!(path, "/metrics" | "/federate") {
        return error_at(
            path,
            status,
            "starting",
            &format!("{start}; come again when /-/ready says 200"),
        );
    }
    let mut main = Html::new();
    main.raw("<h1>Starting</h1><p>").text(start).raw(
        ".</p><p>Nothing is shown before all of it is there. This page looks again by itself.</p>",
    );
    let mut response = (status, plain("Starting", &main)).into_response();
    response.headers_mut().insert(header::REFRESH, HeaderValue::from_static(REFRESH_SECONDS));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::body::{Body, to_bytes};
    use axum::routing::any;
    use axum::{Router, middleware};
    use tower_service::Service as _;

    use super::*;

    /// Status, `Retry-After` and body of an answer before the state is whole.
    async fn ask(path: &str, is_over: &Arc<AtomicBool>) -> (u16, bool, String) {
        let is_over = Arc::clone(is_over);
        let starting: Starting = Arc::new(move || Start {
            records: 7,
            reached: Some(Timestamp::EPOCH),
            is_over: is_over.load(Ordering::Relaxed),
        });
        let mut router = Router::new()
            .fallback(any(async || "state"))
            .layer(middleware::from_fn_with_state(starting, gate));
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let answer = router.call(request).await.expect("an answer");
        let status = answer.status().as_u16();
        let comes_again = answer.headers().contains_key(header::RETRY_AFTER);
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        (status, comes_again, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn half_a_state_is_shown_to_nobody() {
        let is_over = Arc::new(AtomicBool::new(false));
        for path in [
            "/",
            "/requests",
            "/requests/r-1",
            "/metrics",
            "/federate",
            "/api/ledger",
            "/api/requests",
            "/api/v1/query",
            "/api/v1/alerts",
            "/api/v2/alerts",
            "/tempo/api/search",
            "/-/reload",
        ] {
            let (status, comes_again, body) = ask(path, &is_over).await;
            assert_eq!((status, comes_again), (503, true), "{path}");
            assert!(
                body.contains("7 records so far, up to what came at 1970-01-01"),
                "{path}: {body}"
            );
        }
        for path in ALWAYS {
            assert_eq!(ask(path, &is_over).await, (200, false, "state".to_owned()), "{path}");
        }
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(ask("/metrics", &is_over).await, (200, false, "state".to_owned()));
    }

    #[tokio::test]
    async fn each_api_is_told_in_its_own_form() {
        let is_over = Arc::new(AtomicBool::new(false));
        let json = async |path: &str| {
            let (_, _, body) = ask(path, &is_over).await;
            serde_json::from_str::<serde_json::Value>(&body).expect("JSON")
        };
        assert_eq!(json("/api/v1/query").await["errorType"], "unavailable");
        assert!(json("/api/v2/alerts").await.is_string());
        assert_eq!(json("/api/ledger").await["error"]["code"], "starting");
        let (_, _, page) = ask("/slos", &is_over).await;
        assert!(
            page.starts_with("<!doctype html>") && page.contains("<h1>Starting</h1>"),
            "{page}"
        );
    }
}
