//! A request that a daemon holds, as an event test.
//!
//! What is kept of a request is its hops, not the telemetry that told of them; so the signals are made anew:
//! the platform's start and report of each run, a log record that names its messages and its error, a span
//! where a trace led to it. What they become is rehearsed, and that is what the test expects: it holds from
//! the start. Where it is not what the daemon showed, a comment says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::Config;
use crate::correlate::request::{Evidence, Hop, millis};
use crate::correlate::{Lookup, Outcome, Request};
use crate::pipeline::Rehearsal;
use crate::receive::captured::{self, Captured};
use crate::signal::{Fnv128, Text, Timestamp, Via, format_duration};

/// From the start of the test to that of the request.
const LEAD: Duration = Duration::from_secs(10);
/// From an end until it is told.
const TOLD_AFTER: Duration = Duration::from_millis(100);
/// From the last signal until the request is looked at: longer than the default `settle_after`.
const SETTLED: Duration = Duration::from_secs(30);

/// One signal of the test.
struct Signal {
    at: Duration,
    path: &'static str,
    function: Option<Text>,
    body: Value,
}

/// The test file's text.
///
/// # Errors
/// Where the request has no hops, or a rehearsal of it cannot begin.
pub fn of_request(request: &Request) -> Result<String, Vec<String>> {
    let Some(first) = request.hops.iter().map(|hop| hop.start).min() else {
        return Err(vec![format!("the request {} has no hops", request.id)]);
    };
    let start = request.start.min(first).saturating_sub(LEAD);
    let signals = signals(request, start);
    let last = signals.iter().map(|signal| signal.at).max().unwrap_or_default();
    let key = request.hops.first().map(|hop| Text::from(invocation_id(hop))).unwrap_or_default();
    let at = last.saturating_add(SETTLED);
    let rehearsed = rehearsed(&signals, (start, at), &key)?;
    Ok(written(request, &signals, &Told { start, at, key: &key, rehearsed: rehearsed.as_ref() }))
}

fn signals(request: &Request, start: Timestamp) -> Vec<Signal> {
    let hops: BTreeMap<&str, &Hop> = request.hops.iter().map(|hop| (&*hop.id, hop)).collect();
    let correlation = format!("as-test-{}", request.id);
    let mut signals = Vec::new();
    for hop in &request.hops {
        let at = end(hop).saturating_add(TOLD_AFTER).since(start);
        let causes: Vec<&Hop> =
            hop.causes.iter().filter_map(|id| hops.get(&**id).copied()).collect();
        let function = Some(Text::clone(&hop.function));
        let next = || request.hops.iter().filter(|other| other.causes.contains(&hop.id));
        let sent: Vec<&Text> = next()
            .filter(|other| other.evidence == Some(Evidence::MessageId))
            .flat_map(|other| &other.message_ids)
            .collect();
        let is_by_correlation = |one: &Hop| one.evidence == Some(Evidence::CorrelationId);
        let shared =
            (is_by_correlation(hop) || next().any(is_by_correlation)).then_some(&*correlation);
        let mut body = platform(hop);
        body.push(record(hop, shared, &sent));
        let path = "/ingest/aws/telemetry";
        signals.push(Signal { at, path, function, body: Value::Array(body) });
        let is_traced = |one: &Hop| matches!(one.evidence, Some(Evidence::Trace | Evidence::Link));
        if hop.evidence.is_none() || is_traced(hop) || next().any(is_traced) {
            let cause = causes.first().copied().filter(|_| is_traced(hop));
            let (path, body) = ("/v1/traces", span(request, hop, cause));
            signals.push(Signal { at, path, function: None, body });
        }
    }
    signals.sort_by_key(|signal| signal.at);
    signals
}

fn end(hop: &Hop) -> Timestamp {
    hop.end.unwrap_or(hop.start)
}

fn invocation_id(hop: &Hop) -> &str {
    hop.invocation_id.as_deref().unwrap_or(&hop.id)
}

/// What the Telemetry API says of a run.
fn platform(hop: &Hop) -> Vec<Value> {
    let (id, began) = (invocation_id(hop), hop.start);
    let version = hop.version.as_deref().unwrap_or("$LATEST");
    let started = json!({"time": began, "type": "platform.start", "record": {"requestId": id, "version": version}});
    let Some(duration) = hop.duration else { return vec![started] };
    let status = match hop.outcome {
        Outcome::Timeout => "timeout",
        Outcome::Ok | Outcome::Incomplete => "success",
        Outcome::Error | Outcome::Throttled | Outcome::DeadLettered => "error",
    };
    let mut metrics = json!({"durationMs": millis(duration), "billedDurationMs": millis(hop.billed.unwrap_or(duration)), "memorySizeMB": 128, "maxMemoryUsedMB": 64});
    if let Some(init) = hop.init {
        metrics["initDurationMs"] = json!(millis(init));
    }
    let report = json!({"time": end(hop), "type": "platform.report", "record": {"requestId": id, "status": status, "metrics": metrics}});
    vec![started, report]
}

/// What the function says of itself.
fn record(hop: &Hop, correlation: Option<&str>, sent: &[&Text]) -> Value {
    let mut record = json!({
        "timestamp": hop.start,
        "level": if hop.error.is_some() { "ERROR" } else { "INFO" },
        "message": hop.error.as_deref().unwrap_or("ran"),
        "function_request_id": invocation_id(hop),
    });
    if let Some(correlation) = correlation {
        record["correlation_id"] = json!(correlation);
    }
    if !sent.is_empty() {
        record["sent_message_ids"] = json!(sent);
    }
    if !hop.message_ids.is_empty() {
        record["message_ids"] = json!(hop.message_ids);
        let place = match hop.via {
            Via::Stream => "stream",
            Via::EventBus => "event_bus",
            _ => "queue",
        };
        if let Some(queue) = &hop.queue {
            record[place] = json!(queue);
        }
        if let Some(wait) = hop.queue_wait {
            record["sent_timestamp"] = json!(hop.start.saturating_sub(wait).as_millis());
        }
        if hop.message_ids.len() == 1 {
            record["receive_count"] = json!(hop.attempt);
        }
    }
    if let Some(error) = &hop.error {
        let (kind, message) = error.split_once(": ").unwrap_or(("Error", error));
        record["exception_name"] = json!(kind);
        record["exception_message"] = json!(message);
    }
    json!({"time": hop.start, "type": "function", "record": record})
}

/// Ids of the span that stands for a hop.
fn span_ids(request: &Request, hop: &Hop) -> (String, String) {
    let hash = Fnv128::default().field(hop.id.as_bytes()).finish();
    (request.id.to_string(), format!("{:016x}", (hash >> 64) | 1))
}

fn span(request: &Request, hop: &Hop, cause: Option<&Hop>) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let (trace, id) = span_ids(request, hop);
    let mut attributes = vec![text("faas.invocation_id", invocation_id(hop))];
    if hop.evidence.is_none()
        && let Some((method, route)) = request.flow.split_once(' ')
    {
        attributes.extend([text("http.request.method", method), text("http.route", route)]);
    }
    let mut resource = vec![text("faas.name", &hop.function)];
    resource.extend(hop.service.as_deref().map(|service| text("service.name", service)));
    resource.extend(hop.version.as_deref().map(|version| text("faas.version", version)));
    let kind = match hop.via {
        Via::Queue | Via::Topic | Via::Stream | Via::EventBus => 5,
        _ => 2,
    };
    let mut span = json!({
        "traceId": trace, "spanId": id, "kind": kind, "name": &*hop.function,
        "startTimeUnixNano": hop.start.as_nanos().to_string(),
        "endTimeUnixNano": end(hop).as_nanos().to_string(),
        "attributes": attributes,
    });
    if hop.outcome != Outcome::Ok {
        span["status"] = json!({"code": 2, "message": hop.error.as_deref().unwrap_or("failed")});
    }
    if let Some(cause) = cause {
        let (trace, id) = span_ids(request, cause);
        if hop.evidence == Some(Evidence::Link) {
            span["links"] = json!([{"traceId": trace, "spanId": id}]);
        } else {
            span["parentSpanId"] = json!(id);
        }
    }
    json!({"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"spans": [span]}]}]})
}

/// The request that the signals become.
fn rehearsed(
    signals: &[Signal],
    (start, look): (Timestamp, Duration),
    key: &str,
) -> Result<Option<Request>, Vec<String>> {
    let config = Config::load(None, &[])
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let mut rehearsal = Rehearsal::new(&config, start)?;
    for signal in signals {
        let at = start.saturating_add(signal.at);
        rehearsal.advance(at, &mut drop);
        let headers: Vec<(String, String)> = headers(signal);
        let body = signal.body.to_string().into_bytes();
        let request = Captured { path: signal.path, headers: &headers, body: &body };
        let read = captured::read(&request, at, &config.normalize)
            .map_err(|error| vec![error.to_string()])?;
        rehearsal.take(read.batch);
    }
    rehearsal.advance(start.saturating_add(look), &mut drop);
    let engine = &rehearsal.state().engine;
    let found = engine.read().unwrap_or_else(std::sync::PoisonError::into_inner).lookup(key);
    Ok(match found {
        Lookup::One(request) => Some(*request),
        Lookup::None | Lookup::Several(_) => None,
    })
}

fn headers(signal: &Signal) -> Vec<(String, String)> {
    let function = signal.function.iter();
    function.map(|name| ("Lambda-Function-Name".to_owned(), name.to_string())).collect()
}

/// What is written beside the signals.
struct Told<'a> {
    start: Timestamp,
    at: Duration,
    key: &'a str,
    rehearsed: Option<&'a Request>,
}

/// What a test looks at.
fn shape(request: &Request) -> Value {
    let hop = |hop: &Hop| json!({"function": hop.function, "via": hop.via, "attempt": hop.attempt, "outcome": hop.outcome});
    let hops: Vec<Value> = request.hops.iter().map(hop).collect();
    json!({"flow": request.flow, "outcome": request.outcome, "hops": hops})
}

fn written(request: &Request, signals: &[Signal], told: &Told<'_>) -> String {
    let mut out = format!(
        "# Made from request {} of a daemon: its signals are made anew from its hops, they are not those\n# that were received. Run it with `throughline test`.\n",
        request.id
    );
    let (shown, became) = (shape(request), told.rehearsed.map(shape));
    if became.as_ref() != Some(&shown) {
        let _ = writeln!(out, "# They do not tell all: the daemon showed\n#   {shown}");
    }
    let name = json!(format!("{} ends {}", request.flow, request.outcome.as_str()));
    let _ = writeln!(out, "event_tests:\n- name: {name}\n  start: {}\n  signals:", told.start);
    for signal in signals {
        let _ = writeln!(out, "  - at: {}\n    post: {}", format_duration(signal.at), signal.path);
        for (name, value) in headers(signal) {
            let _ = writeln!(out, "    headers: {{{name}: {}}}", json!(value));
        }
        // A literal `${` is no placeholder.
        let body = signal.body.to_string().replace("${", "$${");
        let _ = writeln!(out, "    body: '{}'", body.replace('\'', "''"));
    }
    let (at, key) = (format_duration(told.at), json!(told.key));
    let expected = match became {
        Some(became) => format!("is: {became}"),
        None => "absent: true".to_owned(),
    };
    let _ = writeln!(out, "  expect:\n  - at: {at}\n    request: {key}\n    {expected}");
    out
}
