//! Enough of the Tempo API for Grafana's exemplar links, trace view and search.
//!
//! What comes in: requests of Grafana's Tempo data source. What goes out: requests as traces, OTLP in
//! protobuf or JSON. A trace id gives all requests that it belongs to, a request id that request. Spans
//! stand for hops, their inits and their waits: what a hop did inside is counted, not kept.
//! Source: grafana/tempo `pkg/tempopb/tempo.proto`, `docs/sources/tempo/api_docs`.

mod trace;
mod traceql;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use serde_json::{Value, json};

use super::params::Params;
use super::requests_api::{find, page};
use super::{Views, answer};
use crate::correlate::{Lookup, Request};

/// Traces of one search where the caller does not say.
const LIMIT: usize = 20;
/// Requests that one search looks at: the newest of its time.
const SEARCHED_MAX: usize = 1000;

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/tempo/api/echo", get(async || "echo"))
        .route("/tempo/api/v2/traces/{id}", get(by_id_v2))
        .route("/tempo/api/traces/{id}", get(by_id))
        .route("/tempo/api/search", get(search))
}

/// `tempopb.TraceByIDResponse`, of which nothing but the trace is ever set.
#[derive(Clone, PartialEq, prost::Message)]
struct TraceByIdResponse {
    #[prost(message, optional, tag = "1")]
    trace: Option<TracesData>,
}

async fn by_id_v2(
    State(views): State<Views>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match told(&views, &id) {
        Ok(trace) if wants_protobuf(&headers) => {
            protobuf(&TraceByIdResponse { trace: Some(trace) })
        }
        Ok(trace) => Json(json!({ "trace": trace })).into_response(),
        Err(response) => *response,
    }
}

async fn by_id(State(views): State<Views>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match told(&views, &id) {
        Ok(trace) if wants_protobuf(&headers) => protobuf(&trace),
        Ok(trace) => Json(trace).into_response(),
        Err(response) => *response,
    }
}

/// Everything that the id leads to, as one trace of that id.
fn told(views: &Views, id: &str) -> Result<TracesData, Box<Response>> {
    let requests = match find(views, id)? {
        Lookup::One(request) => vec![*request],
        Lookup::Several(requests) => requests,
        Lookup::None => {
            let message = "no request is known by this id";
            return Err(Box::new(answer::error(StatusCode::NOT_FOUND, "unknown_key", message)));
        }
    };
    Ok(trace::of(id, &requests))
}

fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|value| value.contains("application/protobuf"))
}

fn protobuf(message: &impl prost::Message) -> Response {
    ([(header::CONTENT_TYPE, "application/protobuf")], message.encode_to_vec()).into_response()
}

/// The newest requests that a TraceQL selector of one pair of braces means.
async fn search(State(views): State<Views>, params: Params) -> Response {
    match searched(&views, &params) {
        Ok(traces) => Json(json!({"traces": traces, "metrics": {}})).into_response(),
        Err(message) => answer::error(StatusCode::BAD_REQUEST, "bad_query", &message),
    }
}

fn searched(views: &Views, params: &Params) -> Result<Vec<Value>, String> {
    let conditions = traceql::parse(params.get("q").unwrap_or("{}"))?;
    let limit = params.number("limit")?.unwrap_or(LIMIT).min(SEARCHED_MAX);
    let mut asked = vec![("limit".to_owned(), SEARCHED_MAX.to_string())];
    for name in ["start", "end"] {
        asked.extend(params.get(name).map(|value| (name.to_owned(), value.to_owned())));
    }
    let found = page(views, &Params(asked))?.requests;
    let meant = found.iter().filter(|request| conditions.iter().all(|one| one.holds(request)));
    Ok(meant.take(limit).map(summary).collect())
}

fn summary(request: &Request) -> Value {
    let entry = request.hops.first();
    json!({
        "traceID": request.id,
        "rootServiceName": entry.map(trace::service),
        "rootTraceName": request.flow,
        "startTimeUnixNano": request.start.as_nanos().to_string(),
        "durationMs": u64::try_from(request.duration.as_millis()).unwrap_or(u64::MAX),
    })
}
