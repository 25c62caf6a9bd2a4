//! `/api/requests`: kept and open requests.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::params::Params;
use super::{Views, answer};
use crate::correlate::{Hop, Lookup, Outcome, Request, RequestFilter};
use crate::signal::{Text, Timestamp};

/// Requests of one answer where the caller does not say.
const LIMIT: usize = 50;
/// Requests of one answer at most.
const LIMIT_MAX: usize = 1000;

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/api/requests", get(list)).route("/api/requests/{key}", get(one))
}

/// What a list shows, and where the next one begins.
pub(crate) struct Page {
    pub(crate) requests: Vec<Request>,
    pub(crate) next: Option<String>,
}

async fn list(State(views): State<Views>, params: Params) -> Response {
    let found = params.get("key").map(|key| find(&views, key));
    let page = match found {
        Some(Ok(found)) => page_of(found, &params),
        Some(Err(response)) => return *response,
        None => page(&views, &params),
    };
    match page {
        Ok(page) => Json(json!({"requests": page.requests, "next": page.next})).into_response(),
        Err(message) => answer::error(StatusCode::BAD_REQUEST, "bad_parameter", &message),
    }
}

/// Of what a key led to, that which else was asked for.
fn page_of(found: Lookup, params: &Params) -> Result<Page, String> {
    let (filter, after) = (filter(params)?, cursor(params)?);
    let mut requests = match found {
        Lookup::None => Vec::new(),
        Lookup::One(request) => vec![*request],
        Lookup::Several(requests) => requests,
    };
    requests.retain(|request| is_wanted(request, &filter));
    Ok(cut(requests, after.as_ref(), filter.limit))
}

/// One page of the newest requests that the parameters select.
pub(crate) fn page(views: &Views, params: &Params) -> Result<Page, String> {
    let mut filter = filter(params)?;
    let limit = filter.limit;
    let after = cursor(params)?;
    if let Some((start, _)) = &after {
        filter.end = Some(filter.end.map_or(*start, |end| end.min(*start)));
    }
    // Room for the requests of the cursor's own instant that were shown before.
    filter.limit = limit.saturating_mul(2).saturating_add(1);
    let mut requests =
        views.engine.read().unwrap_or_else(std::sync::PoisonError::into_inner).requests(&filter);
    requests.extend(views.archive.requests(&filter).map_err(|error| error.to_string())?);
    // The engine's version comes first: it is at least as new as the archive's.
    let mut seen = std::collections::HashSet::new();
    requests.retain(|request| seen.insert(Text::clone(&request.id)));
    Ok(cut(requests, after.as_ref(), limit))
}

/// The newest that come after a cursor.
fn cut(mut requests: Vec<Request>, after: Option<&(Timestamp, String)>, limit: usize) -> Page {
    requests.sort_by(|a, b| (b.start, &b.id).cmp(&(a.start, &a.id)));
    if let Some((start, id)) = after {
        requests.retain(|request| (request.start, &*request.id) < (*start, id.as_str()));
    }
    let more = requests.len() > limit;
    requests.truncate(limit);
    let next = requests
        .last()
        .filter(|_| more)
        .map(|last| format!("{}-{}", last.start.as_nanos(), last.id));
    Page { requests, next }
}

fn cursor(params: &Params) -> Result<Option<(Timestamp, String)>, &'static str> {
    let cursor = params.get("cursor").map(parse_cursor);
    cursor.map(|cursor| cursor.ok_or("invalid parameter \"cursor\"")).transpose()
}

fn parse_cursor(text: &str) -> Option<(Timestamp, String)> {
    let (nanos, id) = text.split_once('-')?;
    Some((Timestamp::from_nanos(nanos.parse().ok()?), id.to_owned()))
}

fn filter(params: &Params) -> Result<RequestFilter, String> {
    let text = |name: &str| params.get(name).map(Text::from);
    let time = |name: &str| params.millis(name).map(|millis| millis.map(Timestamp::from_millis));
    let outcome = match params.get("outcome") {
        None => None,
        Some(word) => {
            let known = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == word);
            Some(known.ok_or_else(|| format!("invalid parameter \"outcome\": \"{word}\" is none of ok, error, timeout, throttled, dead_lettered, incomplete"))?)
        }
    };
    let min_duration = params.span_millis("min_duration")?;
    let min_duration =
        min_duration.map(|millis| Duration::from_millis(crate::number::u64_from_i64(millis)));
    Ok(RequestFilter {
        function: text("function"),
        flow: text("flow"),
        queue: text("queue"),
        outcome,
        min_duration,
        start: time("start")?,
        end: time("end")?,
        limit: params.number("limit")?.unwrap_or(LIMIT).clamp(1, LIMIT_MAX),
    })
}

/// Whether a request that a key led to is also what else was asked for.
fn is_wanted(request: &Request, filter: &RequestFilter) -> bool {
    let has_hop = |is_it: &dyn Fn(&Hop) -> bool| request.hops.iter().any(is_it);
    let RequestFilter { function, flow, queue, outcome, min_duration, start, end, limit: _ } =
        filter;
    flow.as_ref().is_none_or(|flow| request.flow == *flow)
        && function.as_ref().is_none_or(|name| has_hop(&|hop| hop.function == *name))
        && queue.as_ref().is_none_or(|name| has_hop(&|hop| hop.queue.as_ref() == Some(name)))
        && outcome.is_none_or(|outcome| request.outcome == outcome)
        && min_duration.is_none_or(|least| request.duration >= least)
        && start.is_none_or(|start| request.start >= start)
        && end.is_none_or(|end| request.start <= end)
}

/// What the engine and the archive know by a key: a request that is final may go on in one that is not. The
/// engine's version is at least as new as the archive's.
pub(crate) fn find(views: &Views, key: &str) -> Result<Lookup, Box<Response>> {
    let held = views.engine.read().unwrap_or_else(std::sync::PoisonError::into_inner).lookup(key);
    if matches!(&held, Lookup::One(request) if *request.id == *key) {
        return Ok(held);
    }
    let kept = views.archive.lookup(key).map_err(|error| {
        Box::new(answer::error(StatusCode::INTERNAL_SERVER_ERROR, "archive", &error.to_string()))
    })?;
    Ok(held.or_also(kept, key))
}

async fn one(State(views): State<Views>, Path(key): Path<String>) -> Response {
    match find(&views, &key) {
        Ok(Lookup::One(request)) => Json(*request).into_response(),
        Ok(Lookup::Several(requests)) => {
            let shown: Vec<Value> = requests
                .iter()
                .map(
                    |r| json!({"id": r.id, "flow": r.flow, "start": r.start, "outcome": r.outcome, "continues": r.continues}),
                )
                .collect();
            (StatusCode::MULTIPLE_CHOICES, Json(json!({"requests": shown}))).into_response()
        }
        Ok(Lookup::None) => {
            answer::error(StatusCode::NOT_FOUND, "unknown_key", "no request is known by this key")
        }
        Err(response) => *response,
    }
}
