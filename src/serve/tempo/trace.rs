//! Requests as one OTLP trace: a span for each hop, with its init and its wait below it.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::correlate::{Hop, Outcome, Request};
use crate::signal::{Timestamp, TraceId, Via};

/// One trace of that id, of all hops of these requests; a hop that they share is told once.
pub(super) fn of(id: &str, requests: &[Request]) -> TracesData {
    let trace_id = TraceId::from_hex(id)
        .map_or_else(|| xxh3_128(id.as_bytes()).to_be_bytes().to_vec(), |id| id.0.to_vec());
    let known: BTreeSet<&str> = hops(requests).map(|(_, hop)| &*hop.id).collect();
    let mut told = BTreeSet::new();
    let mut by_function: BTreeMap<(&str, &str), Vec<Span>> = BTreeMap::new();
    for (request, hop) in hops(requests) {
        if told.insert(&*hop.id) {
            let spans = by_function.entry((service(hop), &hop.function)).or_default();
            spans.extend(spans_of(request, hop, &Trace { id: &trace_id, known: &known }));
        }
    }
    let resource_spans = by_function
        .into_iter()
        .map(|((service, function), spans)| resource_spans(service, function, spans))
        .collect();
    TracesData { resource_spans }
}

fn hops(requests: &[Request]) -> impl Iterator<Item = (&Request, &Hop)> {
    requests.iter().flat_map(|request| request.hops.iter().map(move |hop| (request, hop)))
}

/// The service that a hop says it is of, else its function.
pub(super) fn service(hop: &Hop) -> &str {
    hop.service.as_deref().unwrap_or(&hop.function)
}

fn resource_spans(service: &str, function: &str, spans: Vec<Span>) -> ResourceSpans {
    let attributes = vec![text("service.name", service), text("faas.name", function)];
    let scope = InstrumentationScope { name: "throughline".to_owned(), ..Default::default() };
    ResourceSpans {
        resource: Some(Resource { attributes, ..Default::default() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }],
        ..Default::default()
    }
}

/// What all spans of an answer have in common.
struct Trace<'a> {
    id: &'a [u8],
    /// Hops that are told of: a span names no other as its parent.
    known: &'a BTreeSet<&'a str>,
}

fn spans_of(request: &Request, hop: &Hop, trace: &Trace<'_>) -> Vec<Span> {
    let run = run(request, hop, trace);
    let below = |name: &str, from: Timestamp, to: Timestamp| Span {
        trace_id: trace.id.to_vec(),
        span_id: span_id(&format!("{} {name}", hop.id)),
        parent_span_id: run.span_id.clone(),
        name: name.to_owned(),
        kind: i32::from(SpanKind::Internal),
        start_time_unix_nano: from.as_nanos(),
        end_time_unix_nano: to.as_nanos(),
        ..Default::default()
    };
    let wait = hop.queue_wait.filter(|wait| !wait.is_zero());
    let wait = wait.map(|wait| below("queue wait", hop.start.saturating_sub(wait), hop.start));
    let init = hop.init.map(|init| below("init", hop.start.saturating_sub(init), hop.start));
    let mut spans: Vec<Span> = wait.into_iter().chain(init).collect();
    spans.insert(0, run);
    spans
}

fn run(request: &Request, hop: &Hop, trace: &Trace<'_>) -> Span {
    let mut causes = hop.causes.iter().filter(|cause| trace.known.contains(&***cause));
    let parent = causes.next();
    let links = causes.map(|cause| Link {
        trace_id: trace.id.to_vec(),
        span_id: span_id(cause),
        ..Default::default()
    });
    let is_entry = hop.causes.is_empty();
    Span {
        trace_id: trace.id.to_vec(),
        span_id: span_id(&hop.id),
        parent_span_id: parent.map(|cause| span_id(cause)).unwrap_or_default(),
        name: if is_entry { &request.flow } else { &hop.function }.to_string(),
        kind: i32::from(kind(hop)),
        start_time_unix_nano: hop.start.as_nanos(),
        end_time_unix_nano: hop.end.unwrap_or(hop.start).as_nanos(),
        attributes: attributes(request, hop),
        links: links.collect(),
        status: Some(status(hop)),
        ..Default::default()
    }
}

const fn kind(hop: &Hop) -> SpanKind {
    match hop.via {
        Via::Queue | Via::Topic | Via::Stream | Via::EventBus => SpanKind::Consumer,
        Via::Http | Via::Invoke => SpanKind::Server,
        Via::Schedule | Via::Workflow | Via::Unknown => SpanKind::Internal,
    }
}

fn status(hop: &Hop) -> Status {
    let code = if hop.outcome == Outcome::Ok { StatusCode::Ok } else { StatusCode::Error };
    let message = hop.error.as_deref().unwrap_or(match hop.outcome {
        Outcome::Ok => "",
        other => other.as_str(),
    });
    Status { code: i32::from(code), message: message.to_owned() }
}

fn attributes(request: &Request, hop: &Hop) -> Vec<KeyValue> {
    let texts = [
        ("throughline.request_id", Some(&*request.id)),
        ("throughline.hop_id", Some(&*hop.id)),
        ("throughline.outcome", Some(hop.outcome.as_str())),
        ("faas.version", hop.version.as_deref()),
        ("faas.invocation_id", hop.invocation_id.as_deref()),
        ("messaging.destination.name", hop.queue.as_deref()),
        ("messaging.message.id", hop.message_ids.first().map(|id| &**id)),
    ];
    let mut all: Vec<KeyValue> =
        texts.into_iter().filter_map(|(key, value)| Some(text(key, value?))).collect();
    all.push(attribute("throughline.attempt", any_value::Value::IntValue(hop.attempt.into())));
    let cold = hop.cold_start.map(any_value::Value::BoolValue);
    all.extend(cold.map(|cold| attribute("faas.coldstart", cold)));
    let cost = hop.cost_usd.map(any_value::Value::DoubleValue);
    all.extend(cost.map(|cost| attribute("throughline.cost_usd", cost)));
    all
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}

/// The same for the same hop in every answer.
fn span_id(of: &str) -> Vec<u8> {
    xxh3_64(of.as_bytes()).to_be_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::*;

    fn hop(id: &str, function: &str, more: &Value) -> Value {
        let mut hop = json!({
            "id": id, "causes": [], "via": "http", "evidence": null, "function": function,
            "service": "shop", "version": "7", "invocation_id": format!("i-{id}"), "attempt": 1,
            "start": "2026-11-25T10:00:01Z", "end": "2026-11-25T10:00:02Z", "duration_ms": 1000.0,
            "queue": null, "queue_wait_ms": null, "cold_start": null, "init_ms": null,
            "outcome": "ok", "error": null, "message_ids": [], "shared": false, "spans": 1, "logs": 0,
            "billed_ms": null, "cost_usd": null,
        });
        for (name, value) in more.as_object().unwrap() {
            hop[name] = value.clone();
        }
        hop
    }

    fn request(id: &str, hops: &[Value]) -> Request {
        let request = json!({
            "id": id, "aliases": [], "flow": "POST /orders", "outcome": "ok", "state": "finished",
            "start": "2026-11-25T10:00:00Z", "end": "2026-11-25T10:00:05Z", "duration_ms": 5000.0,
            "response_ms": null, "continues": null, "keys": [], "hops": hops, "critical_path": [],
            "missing": [], "cost_usd": null, "stands_for": 1,
        });
        serde_json::from_value(request).unwrap()
    }

    /// Each span with its resource, names of spans for their ids.
    fn shown(data: &TracesData) -> String {
        let of = |span: &Span| span.name.clone();
        let spans: Vec<(&ResourceSpans, &Span)> = data
            .resource_spans
            .iter()
            .flat_map(|one| {
                one.scope_spans
                    .iter()
                    .flat_map(move |s| s.spans.iter().map(move |span| (one, span)))
            })
            .collect();
        let named = |id: &[u8]| {
            let found = spans.iter().find(|(_, span)| span.span_id == id);
            found.map_or_else(|| "-".to_owned(), |(_, span)| of(span))
        };
        let line = |(resource, span): &(&ResourceSpans, &Span)| {
            let links: Vec<String> = span.links.iter().map(|link| named(&link.span_id)).collect();
            let status = span.status.as_ref().map_or("", |status| &*status.message);
            let values = resource.resource.iter().flat_map(|one| &one.attributes);
            let function: Vec<&KeyValue> = values.filter(|one| one.key == "faas.name").collect();
            format!(
                "{} kind {} of {} under {} links {links:?} {} to {} ms {status}\n",
                span.name,
                span.kind,
                json!(function[0].value),
                named(&span.parent_span_id),
                span.start_time_unix_nano / 1_000_000 % 100_000,
                span.end_time_unix_nano / 1_000_000 % 100_000,
            )
        };
        spans.iter().map(line).collect()
    }

    #[test]
    fn hops_are_spans_under_their_first_cause_with_their_waits() {
        let entry = hop("a", "checkout", &json!({"cold_start": true, "init_ms": 300.0}));
        let taken = hop(
            "b",
            "fulfil",
            &json!({"causes": ["a", "c", "unseen"], "via": "queue", "evidence": "message_id",
                "queue": "orders", "queue_wait_ms": 250.0, "start": "2026-11-25T10:00:03Z",
                "end": null, "outcome": "timeout", "error": "Task timed out"}),
        );
        let other = hop("c", "refund", &json!({}));
        let id = "4f1d0c9e8b7a6d5c4f1d0c9e8b7a6d5c";
        // The second request shares a hop with the first: it is told once.
        let requests = [request(id, &[entry, taken.clone()]), request("other", &[other, taken])];
        let trace = of(id, &requests);
        expect![[r#"
            POST /orders kind 2 of {"stringValue":"checkout"} under - links [] 1000 to 2000 ms 
            init kind 1 of {"stringValue":"checkout"} under POST /orders links [] 700 to 1000 ms 
            fulfil kind 5 of {"stringValue":"fulfil"} under POST /orders links ["POST /orders"] 3000 to 3000 ms Task timed out
            queue wait kind 1 of {"stringValue":"fulfil"} under fulfil links [] 2750 to 3000 ms 
            POST /orders kind 2 of {"stringValue":"refund"} under - links [] 1000 to 2000 ms 
        "#]].assert_eq(&shown(&trace));
        assert_eq!(
            trace.resource_spans[0].scope_spans[0].spans[0].trace_id,
            TraceId::from_hex(id).unwrap().0
        );
        assert_eq!(of(id, &requests), trace, "the same ids in every answer");
    }
}
