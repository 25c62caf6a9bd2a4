//! Access logs of API Gateway: a log record of each request, with what it tells of the invocation.
//!
//! In: the JSON that the console suggests for REST and HTTP APIs, with further `$context` variables
//! under their own names, or the line in Common Log Format. Out: a record whose HTTP facts are the
//! request's. Its `requestId` is the gateway's: a correlation id, as Powertools logs it, and never the
//! function's; that one is told as `integrationRequestId` (`$context.integration.requestId`) or
//! `awsEndpointRequestId`.
//! Source: docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html

use serde_json::Value;

use super::event_time;
use super::gather::{Speaker, Told};
use super::json_fields::{Object, Reader, count, id, is_placeholder, millis, text};
use super::json_log::Around;
use super::logged_trace::trace_context;
use super::shorten::shorten;
use crate::signal::{Attributes, Facts, Http, LogRecord, Severity, SignalKind, Text, Timestamp};

const ROUTE: [&str; 3] = ["routeKey", "resourcePath", "path"];
const INVOCATION: [&str; 4] =
    ["integrationRequestId", "integration.requestId", "awsEndpointRequestId", "lambdaRequestId"];

/// Whether a JSON record has the shape: a route, a status and the gateway's id, or the id that no other
/// service has (`$context.extendedRequestId`); and no level or message, which a logger would have written.
pub(crate) fn is_record(object: &Object) -> bool {
    let has = |name: &str| object.contains_key(name);
    let has_route = has("routeKey") || has("httpMethod") && ROUTE.into_iter().any(has);
    let is_shaped = has_route && has("status") && has("requestId");
    (is_shaped || has("extendedRequestId")) && !["level", "message", "msg"].into_iter().any(has)
}

/// Reads a record of that shape.
pub(crate) fn of_object(object: &Object, around: Around<'_>) -> Told {
    let object = around.rules.cleaned(object);
    let first = |names: &[&str]| names.iter().find_map(|name| text(&object, name));
    let request = Request {
        // A route of an HTTP API is called by its method too.
        method: text(&object, "httpMethod")
            .or_else(|| Some(text(&object, "routeKey")?.split_once(' ')?.0)),
        route: first(&ROUTE),
        status: object.get("status").and_then(count),
        id: first(&["requestId", "extendedRequestId"]),
        time: object
            .get("requestTimeEpoch")
            .and_then(event_time::read)
            .or_else(|| text(&object, "requestTime").and_then(clf_time)),
    };
    let mut reader = Reader::new(&object);
    let taken = ["requestId", "requestTime", "requestTimeEpoch", "httpMethod", "status"];
    taken.into_iter().for_each(|name| reader.mark(name));
    let mut log = record(&request, reader.attributes(), around);
    log.facts.invocation_id =
        INVOCATION.iter().find_map(|name| super::json_fields::lookup(&object, name).and_then(id));
    let latency = ["responseLatency", "latency"];
    log.facts.duration = latency.iter().find_map(|name| millis(object.get(*name)?));
    log.trace = first(&["xrayTraceId", "xrayTraceID"]).and_then(trace_context);
    let service = first(&["domainName", "apiId"]).map(Text::from);
    let speaker = Speaker { service, ..Speaker::default() };
    Told { kind: SignalKind::Log(Box::new(log)), speaker, event: None, points: Vec::new() }
}

/// Reads a line in Common Log Format: `ip caller user [time]"METHOD path protocol" status length id`.
pub(crate) fn of_text(line: &str, around: Around<'_>) -> Option<Told> {
    let (who, rest) = line.trim().split_once(" [")?;
    // An address and two names, which are `-` where nobody is told.
    (who.split(' ').count() == 3 && who.len() <= 256).then_some(())?;
    let (time, rest) = rest.split_once(']')?;
    let (asked, rest) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
    let mut asked = asked.split(' ');
    let (method, route) = (asked.next()?, asked.next()?);
    method.bytes().all(|c| c.is_ascii_uppercase()).then_some(())?;
    let mut rest = rest.split_ascii_whitespace();
    let status = rest.next()?.parse().ok()?;
    // A length, then the gateway's id; a web server's own log has none.
    let gateway_id = rest.nth(1).filter(|id| !is_placeholder(id))?;
    let request = Request {
        method: Some(method),
        route: Some(route),
        status: Some(status),
        id: Some(gateway_id),
        time: Some(clf_time(time)?),
    };
    let log = record(&request, Attributes::default(), around);
    let kind = SignalKind::Log(Box::new(log));
    Some(Told { kind, speaker: Speaker::default(), event: None, points: Vec::new() })
}

struct Request<'a> {
    method: Option<&'a str>,
    route: Option<&'a str>,
    status: Option<u64>,
    id: Option<&'a str>,
    time: Option<Timestamp>,
}

fn record(request: &Request<'_>, attributes: Attributes, around: Around<'_>) -> LogRecord {
    let judged = event_time::judge(request.time, around.fallback, around.arrived);
    let status = request.status.and_then(|status| u16::try_from(status).ok());
    // An HTTP API's route key holds the method: `GET /orders/{id}`; `$default` is no route.
    let route = request.route.map(|key| key.split_once(' ').map_or(key, |(_, route)| route));
    let route = route.filter(|route| route.starts_with('/'));
    let method = request.method.unwrap_or("?");
    let code = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let body = format!("{method} {} {code}", route.or(request.route).unwrap_or("-"));
    let is_fault = status.is_some_and(|status| status >= 500);
    LogRecord {
        time: judged.time,
        severity: Some(if is_fault { Severity::Error } else { Severity::Info }),
        trace: None,
        body: Text::from(shorten(&body, LogRecord::BODY_BYTES_MAX)),
        facts: Facts {
            correlation_ids: request.id.map(Text::from).into_iter().collect(),
            http: Some(Http {
                method: request.method.map(Text::from),
                route: route.map(Text::from),
                status,
            }),
            ..Facts::default()
        },
        attributes,
    }
}

/// `09/Apr/2015:12:34:56 +0000`.
fn clf_time(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (date, zone) = text.trim().split_once(' ')?;
    let (day, rest) = date.split_once('/')?;
    let (month, rest) = rest.split_once('/')?;
    let (year, clock) = rest.split_once(':')?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (hours, minutes) = zone.split_at_checked(3)?;
    let value = format!("{year}-{month:02}-{day:0>2}T{clock}{hours}:{minutes}");
    event_time::read(&Value::String(value))
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
