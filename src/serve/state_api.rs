//! `/api/slos`, `/api/queues`, `/api/findings`, `/api/ledger`.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Views, select_from};
use crate::evaluate::ActiveAlert;
use crate::promql::{Options, Output, Query};
use crate::series::SampleValue;
use crate::signal::Timestamp;

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/api/slos", get(slos))
        .route("/api/queues", get(queues))
        .route("/api/findings", get(findings))
        .route("/api/ledger", get(ledger))
}

async fn slos(State(views): State<Views>) -> Json<Value> {
    Json(slos_json(&views).await)
}

pub(crate) async fn slos_json(views: &Views) -> Value {
    let (evaluator, series, now) = (
        std::sync::Arc::clone(&views.evaluator),
        std::sync::Arc::clone(&views.series),
        views.settled(),
    );
    let computed = tokio::task::spawn_blocking(move || {
        evaluator
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .slos_json(now, &select_from(&series))
    });
    computed.await.unwrap_or_else(|_panicked| json!({"slos": []}))
}

async fn queues(State(views): State<Views>) -> Json<Value> {
    let computed = tokio::task::spawn_blocking(move || queues_json(&views)).await;
    Json(computed.unwrap_or_else(|_panicked| json!({"queues": []})))
}

/// The value of each series of an instant query, by one of its labels.
fn by_label(
    views: &Views,
    query: &str,
    label: &str,
    now: Timestamp,
) -> BTreeMap<String, (f64, crate::signal::Labels)> {
    let Ok(parsed) = Query::parse(query) else { return BTreeMap::new() };
    let Ok(answer) = parsed.instant(now, &Options::default(), &select_from(&views.series)) else {
        return BTreeMap::new();
    };
    let Output::Vector(series) = answer.output else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for one in series {
        if let (Some(name), Some(SampleValue::Float(value))) =
            (one.labels.get(label), one.samples.last().map(|sample| &sample.value))
        {
            found.insert(name.to_owned(), (*value, one.labels.clone()));
        }
    }
    found
}

/// Every queue that anything is known of. Values that nothing told are null.
pub(crate) fn queues_json(views: &Views) -> Value {
    let now = views.settled();
    let ask = |query: &str, label: &str| by_label(views, query, label, now);
    let depth = ask("max by (queue) (throughline_queue_depth)", "queue");
    let age = ask("max by (queue) (throughline_queue_oldest_age_seconds)", "queue");
    let lag = |q: &str| {
        ask(
            &format!(
                "histogram_quantile({q}, sum by (queue, le) (increase(throughline_queue_lag_seconds_bucket[15m])))"
            ),
            "queue",
        )
    };
    let (p50, p95, p99) = (lag("0.5"), lag("0.95"), lag("0.99"));
    let dlq_depth = ask("max by (queue) (throughline_dlq_depth)", "queue");
    let arrivals = ask(
        "sum by (source_queue, queue) (increase(throughline_dlq_arrivals_total[1h]))",
        "source_queue",
    );
    let told = ask(
        "max by (source_queue, queue) (throughline_dlq_depth{source_queue!=\"\"})",
        "source_queue",
    );
    let dlq_of = |name: &str| {
        let (_, labels) = arrivals.get(name).or_else(|| told.get(name))?;
        labels.get("queue").map(str::to_owned)
    };
    let value = |map: &BTreeMap<String, (f64, crate::signal::Labels)>, name: &str| {
        map.get(name).map(|(value, _)| *value).filter(|x| x.is_finite())
    };
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
    findings.extend((views.findings)().iter().map(|finding| json!(finding)));
    let evaluator = views.evaluator.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    findings.extend(evaluator.active().iter().filter_map(of_function));
    Json(json!({"findings": findings}))
}

/// What a rule found out about one function, or one queue: the rules are the only place that has thresholds.
fn of_function(alert: &ActiveAlert) -> Option<Value> {
    let named = |label: &str| alert.labels.get(label).filter(|name| !name.is_empty());
    let (function, queue) = (named("faas_name"), named("queue"));
    function.or(queue)?;
    let note = |name: &str| alert.annotations.get(name).map(|text| &**text);
    Some(json!({
        "kind": alert.labels.get("alertname"),
        "function": function,
        "queue": queue,
        "message": note("summary").unwrap_or(&alert.rule.name),
        "detail": note("description"),
        "runbook_url": note("runbook_url"),
        "since": alert.active_at,
    }))
}

async fn ledger(State(views): State<Views>) -> Json<Value> {
    Json(json!(views.engine.read().unwrap_or_else(std::sync::PoisonError::into_inner).ledger()))
}
