//! The Alertmanager API, version 2, over our own alerts, groups and silences.
//!
//! What comes in: requests of `amtool`, of Grafana's Alertmanager data source, of senders of alerts. What
//! goes out: Alertmanager's JSON (`api/v2/openapi.yaml`). Never does a write change anything but through
//! the journal. An operation's errors are JSON strings; a body that cannot be read is `{"code","message"}`.

mod alerts;
pub(super) mod silences;

use std::sync::PoisonError;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Views;
use super::params::Params;
use crate::notify::parse_matchers;
use crate::series::{MatchOp, Matcher};
use crate::signal::Timestamp;

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/api/v2/status", get(status))
        .route("/api/v2/receivers", get(receivers))
        .route("/api/v2/alerts", get(alerts::list).post(alerts::post))
        .route("/api/v2/alerts/groups", get(alerts::groups))
        .route("/api/v2/silences", get(silences::list).post(silences::post))
        .route("/api/v2/silence/{id}", get(silences::one).delete(silences::expire))
}

/// An operation's error: a JSON string.
fn failed(status: StatusCode, message: &str) -> Response {
    (status, Json(message)).into_response()
}

/// A body that is not what the operation takes.
fn unreadable(message: &str) -> Response {
    let status = StatusCode::BAD_REQUEST;
    (status, Json(json!({"code": status.as_u16(), "message": message}))).into_response()
}

/// A time as given. Go's zero time is none.
fn time(given: Option<&String>, name: &str) -> Result<Option<Timestamp>, String> {
    match given.map(String::as_str) {
        None | Some("") => Ok(None),
        Some(zero) if zero.starts_with("0001-01-01T00:00:00") => Ok(None),
        Some(text) => Timestamp::parse_rfc3339(text)
            .map(Some)
            .ok_or_else(|| format!("{name}: `{text}` is no RFC 3339 time after 1970")),
    }
}

/// The matchers of every `filter` parameter.
fn filters(params: &Params) -> Result<Vec<Matcher>, String> {
    let mut all = Vec::new();
    for filter in params.all("filter") {
        all.extend(parse_matchers(filter).map_err(|error| format!("bad matcher format: {error}"))?);
    }
    Ok(all)
}

/// Alertmanager's `matchFilterLabels`: a name that is not there matches only what asks for nothing.
fn passes<'a>(filters: &[Matcher], value: impl Fn(&str) -> Option<&'a str>) -> bool {
    filters.iter().all(|matcher| {
        let found = value(&matcher.name);
        let negative = matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRegex);
        match found {
            Some(_) if negative && matcher.value.is_empty() => true,
            None if !negative && !matcher.value.is_empty() => false,
            found => matcher.matches(found.unwrap_or_default()),
        }
    })
}

async fn status(State(views): State<Views>) -> Json<Value> {
    let dispatcher = views.dispatcher.read().unwrap_or_else(PoisonError::into_inner);
    Json(json!({
        // One daemon, no gossip.
        "cluster": {"status": "disabled", "peers": []},
        "versionInfo": {
            "version": env!("CARGO_PKG_VERSION"), "revision": "", "branch": "",
            "buildUser": "", "buildDate": "", "goVersion": "",
        },
        "config": {"original": dispatcher.config().shown()},
        "uptime": views.started_at.to_string(),
    }))
}

async fn receivers(State(views): State<Views>) -> Json<Value> {
    let dispatcher = views.dispatcher.read().unwrap_or_else(PoisonError::into_inner);
    let receivers = dispatcher.config().receivers().iter();
    Json(receivers.map(|receiver| json!({"name": receiver.name})).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Labels;

    #[test]
    fn a_filter_on_a_label_that_is_not_there_is_as_in_alertmanager() {
        let labels = Labels::of(&[("a", "x")]);
        let check = |filter: &str, expect: bool| {
            let filters = parse_matchers(filter).expect("a filter");
            assert_eq!(passes(&filters, |name| labels.get(name)), expect, "{filter}");
        };
        check("a=x", true);
        check("a!=x", false);
        check("b=x", false);
        check("b!=x", true);
        check("b=\"\"", true);
        check("a!=\"\"", true);
        check("b=~\".*\"", false);
        check("a=~\"x|y\",b!~\"x\"", true);
    }

    #[test]
    fn gos_zero_time_is_no_time() {
        let at = |text: &str| time(Some(&text.to_owned()), "startsAt");
        assert_eq!(at("0001-01-01T00:00:00.000Z"), Ok(None));
        assert_eq!(at("1970-01-01T00:00:01Z"), Ok(Some(Timestamp::from_millis(1000))));
        assert_eq!(at("soon"), Err("startsAt: `soon` is no RFC 3339 time after 1970".to_owned()));
    }
}
