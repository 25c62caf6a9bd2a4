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
use crate::clock::Clock;
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

/// One message, as a person reads it.
#[derive(Clone, Debug)]
struct Line {
    fires: bool,
    at: String,
    title: String,
    message: String,
}

impl Inbox {
    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/style.css", get(style))
            .route("/webhook", post(take))
            .with_state(self.clone())
    }

    /// Keeps a message that tells of something new; one with a known id is a repeat and changes nothing.
    fn keep(&self, id: &str, message: &Value) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.seen.len() >= MESSAGES_MAX * 10 {
            kept.seen.clear();
        }
        if !kept.seen.insert(id.to_owned()) {
            return;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut is_news = false;
        for alert in message["alerts"].as_array().into_iter().flatten() {
            let (fingerprint, fires) = (text(&alert["fingerprint"]), alert["status"] == "firing");
            is_news |= if fires {
                kept.firing.insert(fingerprint)
            } else {
                kept.firing.remove(&fingerprint)
            };
        }
        if !is_news {
            return;
        }
        let line = Line {
            fires: message["status"] == "firing",
            at: Clock::wall().now().to_string().get(11..19).unwrap_or_default().to_owned(),
            title: text(&message["title"]),
            message: text(&message["message"]),
        };
        // The title is the message's first line.
        line.message.lines().for_each(|line| say(&format!("  {line}")));
        say("");
        kept.lines.push_front(line);
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
    for Line { fires, at, title, message } in &kept.lines {
        let class = if *fires { "firing" } else { "resolved" };
        html.raw("<section class=\"alert ").raw(class).raw("\"><h2>").text(title);
        html.raw("</h2><pre>");
        for line in message.lines().skip(1) {
            let target = line.split_once(": http").filter(|(name, _)| !name.contains(' '));
            if let Some((name, url)) = target {
                let url = format!("http{url}");
                html.raw("<a href=\"").text(&url).raw("\">").text(name).raw("</a>  ");
            } else {
                html.text(line).raw("\n");
            }
        }
        html.raw("</pre><p class=\"note\">came at ").text(at).raw(" UTC</p></section>");
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
        let says = |status: &str| serde_json::json!({"status": status, "alerts": [{"status": status, "fingerprint": "f"}]});
        for (id, status) in [("1", "firing"), ("1", "firing"), ("2", "firing"), ("3", "resolved")] {
            inbox.keep(id, &says(status));
        }
        let kept =
            inbox.0.lock().map(|kept| kept.lines.iter().map(|line| line.fires).collect::<Vec<_>>());
        assert_eq!(kept.ok(), Some(vec![false, true]), "newest first");
    }
}
