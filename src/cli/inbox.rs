//! The demo's local page: takes the webhooks that a pager would take, and shows them.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;

use super::say;
use crate::serve::pages::html::Html;

/// Messages that the page keeps; older ones go.
const MESSAGES_MAX: usize = 200;

/// What came in, newest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    seen: HashSet<String>,
    /// The alerts that fire, by their fingerprint: a message about a group repeats those that are known.
    firing: HashSet<String>,
}

#[derive(Clone, Debug)]
struct Line {
    status: String,
    name: String,
    starts_at: String,
    summary: String,
    evidence: String,
    request_url: Option<String>,
}

impl Inbox {
    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/style.css", get(style))
            .route("/webhook", post(take))
            .with_state(self.clone())
    }

    /// Keeps the alerts of a message; one with a known id is a repeat and changes nothing.
    fn keep(&self, id: &str, message: &Value) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.seen.len() >= MESSAGES_MAX * 10 {
            kept.seen.clear();
        }
        if !kept.seen.insert(id.to_owned()) {
            return;
        }
        for alert in message["alerts"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (fingerprint, fires) = (text(&alert["fingerprint"]), alert["status"] == "firing");
            let news = if fires {
                kept.firing.insert(fingerprint)
            } else {
                kept.firing.remove(&fingerprint)
            };
            if !news {
                continue;
            }
            let line = Line {
                status: text(&alert["status"]),
                name: text(&alert["labels"]["alertname"]),
                starts_at: text(&alert["startsAt"]),
                summary: text(&alert["annotations"]["summary"]),
                evidence: text(&alert["annotations"]["evidence"]),
                request_url: alert["annotations"]["request_url"].as_str().map(str::to_owned),
            };
            say(&format!("  {:8} {:22} {}", line.status, line.name, line.summary));
            if line.status == "firing" && !line.evidence.is_empty() {
                say(&format!("  {:8} {:22} {}", "", "", line.evidence));
            }
            kept.lines.push_front(line);
        }
        kept.lines.truncate(MESSAGES_MAX);
    }
}

async fn take(
    State(inbox): State<Inbox>,
    headers: HeaderMap,
    Json(message): Json<Value>,
) -> StatusCode {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    inbox.keep(id, &message);
    StatusCode::OK
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css")], include_str!("../serve/pages/style.css")).into_response()
}

async fn page(State(inbox): State<Inbox>) -> Response {
    let kept = inbox.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut html = Html::new();
    html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"3\"><title>Delivered alerts</title><link rel=\"stylesheet\" href=\"/style.css\"></head><body><main><h1>Delivered alerts</h1><p class=\"note\">What a pager or chat would have received from the demo.</p>");
    for line in &kept.lines {
        let (class, badge) =
            if line.status == "firing" { ("firing", "firing") } else { ("resolved", "ok") };
        html.raw("<section class=\"alert ").raw(class).raw("\"><h2>").text(&line.name);
        html.raw(" <span class=\"badge ")
            .raw(badge)
            .raw("\">")
            .raw(class)
            .raw("</span></h2><p>")
            .text(&line.summary);
        html.raw("</p><p class=\"note\">").text(&line.evidence);
        if let Some(url) = &line.request_url {
            html.raw(" <a href=\"").text(url).raw("\">the request</a>");
        }
        html.raw("</p><p class=\"note\">since ").text(&line.starts_at).raw("</p></section>");
    }
    html.raw("</main></body></html>");
    let policy = "default-src 'none'; style-src 'self'; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_shown_when_it_fires_and_when_it_ends_not_when_it_is_repeated() {
        let inbox = Inbox::default();
        let says =
            |status: &str| serde_json::json!({"alerts": [{"status": status, "fingerprint": "f"}]});
        for (id, status) in [("1", "firing"), ("1", "firing"), ("2", "firing"), ("3", "resolved")] {
            inbox.keep(id, &says(status));
        }
        let kept = inbox
            .0
            .lock()
            .map(|kept| kept.lines.iter().map(|line| line.status.clone()).collect::<Vec<_>>());
        assert_eq!(kept.ok(), Some(vec!["resolved".to_owned(), "firing".to_owned()]));
    }
}
