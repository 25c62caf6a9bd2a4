//! `/api/slos`, `/api/queues`, `/api/findings`, `/api/ledger`.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Asking, Views, answer};
use crate::evaluate::ActiveAlert;
use crate::series::{RawSeries, SampleValue};
use crate::signal::{Labels, Timestamp};

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/api/slos", get(slos))
        .route("/api/queues", get(queues))
        .route("/api/findings", get(findings))
        .route("/api/ledger", get(ledger))
}

async fn slos(State(views): State<Views>) -> Response {
    computed(&views, slos_json).await
}

async fn queues(State(views): State<Views>) -> Response {
    computed(&views, queues_json).await
}

/// An answer that takes queries; at a bound of theirs the client may come again.
async fn computed(
    views: &Views,
    answer: impl FnOnce(&Asking<'_>) -> Value + Send + 'static,
) -> Response {
    match views.compute(None, answer).await {
        Ok(value) => Json(value).into_response(),
        Err(error) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "query", &error.to_string()),
    }
}

/// The objectives with their state, read without the evaluator's lock.
pub(crate) fn slos_json(asking: &Asking<'_>) -> Value {
    let views = asking.views;
    let slos = {
        let evaluator = views.evaluator.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        evaluator.slos()
    };
    let (now, select) = (views.settled(), asking.select());
    let slos: Vec<Value> = slos.iter().map(|slo| slo.state_json(now, &select)).collect();
    json!({ "slos": slos })
}

/// The value of each series of an instant query, with its labels.
fn values(asking: &Asking<'_>, query: &str, now: Timestamp) -> Vec<(Labels, f64)> {
    let value = |one: RawSeries| match one.samples.last().map(|sample| &sample.value) {
        Some(SampleValue::Float(value)) => Some((one.labels, *value)),
        _ => None,
    };
    asking.instant(query, now).into_iter().filter_map(value).collect()
}

type ByName = BTreeMap<String, f64>;

/// By one of the labels; of several that share it the largest.
fn by_label<'a>(found: impl IntoIterator<Item = &'a (Labels, f64)>, label: &str) -> ByName {
    let mut values = BTreeMap::new();
    for (labels, value) in found {
        if let Some(name) = labels.get(label) {
            let held = values.entry(name.to_owned()).or_insert(*value);
            *held = value.max(*held);
        }
    }
    values
}

/// Every queue that anything is known of. Values that nothing told are null.
pub(crate) fn queues_json(asking: &Asking<'_>) -> Value {
    let now = asking.views.settled();
    let ask = |query: &str| values(asking, query, now);
    let depth = by_label(&ask("max by (queue) (throughline_queue_depth)"), "queue");
    let age = by_label(&ask("max by (queue) (throughline_queue_oldest_age_seconds)"), "queue");
    let lag = ask(
        "histogram_quantiles(sum by (queue, le) (increase(throughline_queue_lag_seconds_bucket[15m])), \"quantile\", 0.5, 0.95, 0.99)",
    );
    let lag = |q: &str| {
        by_label(lag.iter().filter(|(labels, _)| labels.get("quantile") == Some(q)), "queue")
    };
    let (p50, p95, p99) = (lag("0.5"), lag("0.95"), lag("0.99"));
    let told = ask("max by (source_queue, queue) (throughline_dlq_depth)");
    let dlq_depth = by_label(&told, "queue");
    let arrived =
        ask("sum by (source_queue, queue) (increase(throughline_dlq_arrivals_total[1h]))");
    let arrivals = by_label(&arrived, "source_queue");
    let dlq_of = |name: &str| {
        let serves = |(labels, _): &&(Labels, f64)| labels.get("source_queue") == Some(name);
        let (labels, _) = arrived.iter().rfind(serves).or_else(|| told.iter().rfind(serves))?;
        labels.get("queue").map(str::to_owned)
    };
    let value = |map: &ByName, name: &str| map.get(name).copied().filter(|value| value.is_finite());
    let mut names: Vec<&String> =
        depth.keys().chain(age.keys()).chain(p50.keys()).chain(arrivals.keys()).collect();
    names.sort();
    names.dedup();
    // A dead-letter queue stands in the line of the queue that it is known to serve, else in its own.
    let placed: BTreeSet<String> = names.iter().filter_map(|name| dlq_of(name)).collect();
    let queues: Vec<Value> = names
        .into_iter()
        .filter(|name| !placed.contains(*name))
        .map(|name| {
            let dlq = dlq_of(name);
            json!({
                "queue": name,
                "depth": value(&depth, name),
                "oldest_age_seconds": value(&age, name),
                "lag_seconds": {"p50": value(&p50, name), "p95": value(&p95, name), "p99": value(&p99, name)},
                "dead_letter_queue": dlq,
                "dlq_depth": dlq.as_ref().and_then(|dlq| value(&dlq_depth, dlq)),
                "dlq_arrivals_1h": value(&arrivals, name),
            })
        })
        .collect();
    json!({"queues": queues})
}

async fn findings(State(views): State<Views>) -> Json<Value> {
    let mut findings: Vec<Value> = Vec::new();
    let engine = views.engine.read().unwrap_or_else(std::sync::PoisonError::into_inner).findings();
    findings.extend(engine.iter().map(|finding| json!(finding)));
    let series = views.series.read().unwrap_or_else(std::sync::PoisonError::into_inner).findings();
    findings.extend(series.iter().map(|finding| json!(finding)));
    let gaps = views.gaps.lock().unwrap_or_else(std::sync::PoisonError::into_inner).findings();
    findings.extend(gaps.iter().map(|finding| json!(finding)));
    findings.extend((views.findings)());
    let evaluator = views.evaluator.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    findings.extend(evaluator.active().iter().filter_map(of_function));
    Json(json!({"findings": findings}))
}

/// What a rule found out about one function, queue or flow: the rules are the only place that has thresholds.
fn of_function(alert: &ActiveAlert) -> Option<Value> {
    let named = |label: &str| alert.labels.get(label).filter(|name| !name.is_empty());
    let (function, queue, flow) = (named("faas_name"), named("queue"), named("flow"));
    function.or(queue).or(flow)?;
    let note = |name: &str| alert.annotations.get(name).map(|text| &**text);
    Some(json!({
        "kind": alert.labels.get("alertname"),
        "function": function,
        "queue": queue,
        "flow": flow,
        "message": note("summary").unwrap_or(&alert.rule.name),
        "detail": note("description"),
        "runbook_url": note("runbook_url"),
        "since": alert.active_at,
    }))
}

async fn ledger(State(views): State<Views>) -> Json<Value> {
    Json(json!(views.engine.read().unwrap_or_else(std::sync::PoisonError::into_inner).ledger()))
}
