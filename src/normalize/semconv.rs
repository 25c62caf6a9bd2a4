//! OpenTelemetry's attribute names, old and new, to [`Facts`].
//!
//! In: attributes of a span, its links and its status, or of a log record, already redacted. Out:
//! [`Facts`] in the vocabulary that every dialect shares. Where an old and a new name of one thing are
//! both there, the new one wins, whatever their order. Nothing is guessed from times or names of spans.
//!
//! Source: semantic conventions 1.44 (`faas`, `messaging`, `http`, `rpc`, `database`, `exceptions`) and
//! the names that they replaced. What they have no name for has these, which the simulator emits too:
//!
//! | attribute | is |
//! |---|---|
//! | `messaging.message.id` as a list | a span about several messages |
//! | `messaging.message.sent_timestamp`, `aws.sqs.sent_timestamp` | when the message was sent, ms since the epoch; on a span or a link |
//! | `messaging.message.delivery_attempt`, `aws.sqs.approximate_receive_count` | how often it has been received, this time included |
//! | `messaging.dead_letter.source`, `aws.sqs.dead_letter_queue_source_arn` | the queue that it fell out of |
//! | `workflow.execution_id`, `aws.step_functions.execution_arn` | the run of a workflow |
//! | `workflow.state`, `workflow.retry_count` | its step, and how often that was tried before |
//! | `faas.trigger` with `queue`, `topic`, `stream`, `event_bus`, `schedule`, `invoke`, `workflow` | the contract's `via`, beside the conventions' own words |

pub(crate) mod log_fields;
pub(crate) mod messaging;
pub(crate) mod resource;

use std::collections::HashMap;

use crate::signal::{
    Attributes, ErrorFact, ErrorKind, Facts, Http, MessageRef, Peer, SpanKind, Text, Timestamp,
    TraceContext, Value, Via, Workflow,
};

use super::cloud_events;
use super::config::Fields;
use super::shorten::shorten;
use super::trigger_events;
use messaging::{Messaging, Side};
use resource::ResourceId;

/// Longest error text kept, in bytes: a type, a message, no stack trace.
pub(crate) const ERROR_BYTES_MAX: usize = 1024;
/// Most correlation ids taken from one signal.
const CORRELATION_IDS_MAX: usize = 16;

/// A span's status code (OTLP `Status.StatusCode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SpanStatus {
    #[default]
    Unset,
    Ok,
    Error,
}

/// An exception that a span event or a log record tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(crate) kind: Option<Text>,
    pub(crate) message: Option<Text>,
}

/// A span, as far as its facts depend on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanView<'a> {
    pub(crate) kind: SpanKind,
    pub(crate) name: &'a str,
    pub(crate) start: Timestamp,
    pub(crate) status: SpanStatus,
    pub(crate) status_message: &'a str,
    /// The last one that its events tell.
    pub(crate) exception: Option<&'a Exception>,
    pub(crate) attributes: &'a Attributes,
    pub(crate) links: &'a [LinkView],
    /// The function that its resource names.
    pub(crate) function: Option<&'a str>,
}

/// A span's link with its attributes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinkView {
    pub(crate) context: TraceContext,
    pub(crate) attributes: Attributes,
}

impl LinkView {
    /// What it says about messages, and whether it names an error.
    fn messaging(&self) -> (Messaging<'_>, bool) {
        let (mut messaging, mut has_error) = (Messaging::default(), false);
        for (key, value) in &self.attributes.0 {
            match key.split_once('.') {
                Some(("messaging", rest)) => messaging.note(rest, value),
                Some(("aws", rest)) => messaging.note_aws(rest, value),
                _ => has_error |= &**key == "error.type",
            }
        }
        (messaging, has_error)
    }

    /// `messaging.message.id` of the link.
    pub(crate) fn message_id(&self) -> Option<Text> {
        match self.attributes.get("messaging.message.id") {
            Some(Value::Str(id)) if !id.is_empty() => Some(Text::clone(id)),
            _ => None,
        }
    }
}

/// What a span says, and whether it failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SpanFacts {
    pub(crate) facts: Facts,
    pub(crate) failed: bool,
    /// The caller's position, where the span holds the event that carries it.
    pub(crate) caller: Option<TraceContext>,
}

/// Reads a span. It failed if its status says so, or if it has no status but an `error.type`, a server's
/// 5xx or a client's 429: libraries that predate the status conventions leave it unset.
pub(crate) fn span(view: &SpanView<'_>, fields: &Fields) -> SpanFacts {
    let seen = Seen::of(view.attributes, fields);
    let failed = match view.status {
        SpanStatus::Error => true,
        SpanStatus::Ok => false,
        SpanStatus::Unset => seen.tells_failure(view.kind),
    };
    let mut facts = seen.facts(Some(view.kind), view.function);
    facts.peer = seen.peer(view);
    if failed {
        facts.error = Some(seen.error(view.exception, view.status_message, view.name));
    }
    let mut read = SpanFacts { facts, failed, caller: None };
    seen.messages(view, &mut read);
    read.facts.sent.extend(seen.invoked(view));
    seen.cloud_event(view, &mut read);
    if let Some(event) = trigger_events::held_in(&view.attributes.0) {
        read.caller = event.add_to(&mut read.facts);
    }
    read
}

/// Reads a log record's attributes. Its exception is an error whatever its severity.
pub(crate) fn log(attributes: &Attributes, fields: &Fields, function: Option<&str>) -> Facts {
    let seen = Seen::of(attributes, fields);
    let mut facts = seen.facts(None, function);
    let is_error = seen.error_type.or(seen.exception_type).or(seen.exception_message).is_some();
    if is_error {
        facts.error = Some(seen.error(None, "", ""));
    }
    let named = seen.messaging.messages(seen.messaging.via(seen.rpc_service));
    match seen.messaging.side(None) {
        Some(Side::Sent) => facts.sent.extend(named),
        Some(Side::Received) => {
            facts.received.extend(named.map(|m| MessageRef { failed: is_error, ..m }));
        }
        None => {}
    }
    facts
}

/// Attributes that mean something, found in one pass.
#[derive(Clone, Debug, Default)]
struct Seen<'a> {
    invocation_id: Option<&'a str>,
    function: Option<&'a str>,
    resource_id: Option<&'a str>,
    cold_start: Option<bool>,
    trigger: Option<&'a str>,
    has_cron: bool,
    invoked_name: Option<&'a str>,
    http_method: Option<&'a str>,
    http_route: Option<&'a str>,
    http_status: Option<u16>,
    rpc_service: Option<&'a str>,
    rpc_method: Option<&'a str>,
    db_system: Option<&'a str>,
    db_operation: Option<&'a str>,
    peer_service: Option<&'a str>,
    server_address: Option<&'a str>,
    url: Option<&'a str>,
    error_type: Option<&'a str>,
    exception_type: Option<&'a str>,
    exception_message: Option<&'a str>,
    execution_id: Option<&'a str>,
    state: Option<&'a str>,
    retry_count: Option<u32>,
    /// Of the answer to a call of AWS.
    answer_id: Option<&'a str>,
    cloud_event_id: Option<&'a str>,
    cloud_event_source: Option<&'a str>,
    messaging: Messaging<'a>,
    correlation_ids: Vec<Text>,
}

impl<'a> Seen<'a> {
    fn of(attributes: &'a Attributes, fields: &Fields) -> Self {
        let mut seen = Self::default();
        for (key, value) in &attributes.0 {
            let (head, rest) = key.split_once('.').unwrap_or((key, ""));
            match head {
                "messaging" => seen.messaging.note(rest, value),
                "faas" => seen.note_faas(rest, value),
                "http" => seen.note_http(rest, value),
                "aws" => seen.note_aws(rest, value),
                "rpc" | "db" | "server" | "net" | "peer" | "url" => seen.note_peer(key, value),
                "error" | "exception" => seen.note_error(key, value),
                "workflow" => seen.note_workflow(rest, value),
                "cloudevents" => seen.note_cloud_event(rest, value),
                "cloud" if rest == "resource_id" => either(&mut seen.resource_id, text(value)),
                _ => {}
            }
            if fields.correlation_id.iter().any(|name| *name == **key) {
                push_correlation_id(&mut seen.correlation_ids, value);
            }
        }
        if let Some(id) = seen.messaging.conversation {
            push_id(&mut seen.correlation_ids, id);
        }
        seen
    }

    fn note_faas(&mut self, rest: &str, value: &'a Value) {
        match rest {
            "invocation_id" => self.invocation_id = text(value),
            "execution" => either(&mut self.invocation_id, text(value)),
            "name" => self.function = text(value),
            "id" => either(&mut self.resource_id, text(value)),
            "coldstart" => self.cold_start = truth(value),
            "trigger" => self.trigger = text(value),
            "cron" => self.has_cron = true,
            "invoked_name" => self.invoked_name = text(value),
            _ => {}
        }
    }

    fn note_http(&mut self, rest: &str, value: &'a Value) {
        match rest {
            "request.method" => self.http_method = text(value),
            "method" => either(&mut self.http_method, text(value)),
            "route" => self.http_route = text(value),
            "response.status_code" => self.http_status = small(value),
            "status_code" => either(&mut self.http_status, small(value)),
            "url" => either(&mut self.url, text(value)),
            "host" => either(&mut self.server_address, text(value)),
            _ => {}
        }
    }

    fn note_aws(&mut self, rest: &str, value: &'a Value) {
        match rest {
            "lambda.request_id" => either(&mut self.invocation_id, text(value)),
            "lambda.invoked_arn" => either(&mut self.resource_id, text(value)),
            "request_id" | "requestId" => either(&mut self.answer_id, text(value)),
            "step_functions.execution_arn" => either(&mut self.execution_id, text(value)),
            _ => self.messaging.note_aws(rest, value),
        }
    }

    fn note_peer(&mut self, key: &str, value: &'a Value) {
        match key {
            "rpc.service" => self.rpc_service = text(value),
            "rpc.method" => self.note_rpc_method(text(value)),
            "db.system.name" => self.db_system = text(value),
            "db.system" => either(&mut self.db_system, text(value)),
            "db.operation.name" => self.db_operation = text(value),
            "db.operation" => either(&mut self.db_operation, text(value)),
            "peer.service" => self.peer_service = text(value),
            "server.address" => self.server_address = text(value),
            "net.peer.name" => either(&mut self.server_address, text(value)),
            "url.full" => self.url = text(value),
            _ => {}
        }
    }

    /// Since 1.39 the method holds the service, which had an attribute of its own: `shop.Orders/Place`.
    fn note_rpc_method(&mut self, method: Option<&'a str>) {
        let parts = method.and_then(|method| method.rsplit_once('/'));
        either(&mut self.rpc_service, parts.map(|(service, _)| service));
        self.rpc_method = parts.map(|(_, method)| method).or(method);
    }

    fn note_error(&mut self, key: &str, value: &'a Value) {
        match key {
            "error.type" => self.error_type = text(value),
            "exception.type" => self.exception_type = text(value),
            "exception.message" => self.exception_message = text(value),
            "error.message" => either(&mut self.exception_message, text(value)),
            _ => {}
        }
    }

    fn note_workflow(&mut self, rest: &str, value: &'a Value) {
        match rest {
            "execution_id" => self.execution_id = text(value),
            "state" => self.state = text(value),
            "retry_count" => self.retry_count = number(value).and_then(|n| u32::try_from(n).ok()),
            _ => {}
        }
    }

    fn note_cloud_event(&mut self, rest: &str, value: &'a Value) {
        match rest {
            "event_id" => self.cloud_event_id = text(value),
            "event_source" => self.cloud_event_source = text(value),
            _ => {}
        }
    }

    /// Adds the `CloudEvent` that the span made or took up.
    fn cloud_event(&self, view: &SpanView<'_>, read: &mut SpanFacts) {
        let Some((id, source)) = self.cloud_event_id.zip(self.cloud_event_source) else { return };
        let event = cloud_events::named(id, source);
        match self.messaging.side(Some(view.kind)) {
            Some(Side::Sent) => {
                read.facts.sent.push(MessageRef { sent: Some(view.start), ..event });
            }
            Some(Side::Received) => {
                read.facts.received.push(MessageRef { failed: read.failed, ..event });
            }
            None => {}
        }
    }

    fn tells_failure(&self, kind: SpanKind) -> bool {
        let by_status = match (kind, self.http_status) {
            (SpanKind::Server, Some(status)) => status >= 500,
            (SpanKind::Client, Some(status)) => status == 429 || status >= 500,
            _ => false,
        };
        by_status || self.error_type.is_some()
    }

    fn facts(&self, kind: Option<SpanKind>, resource_function: Option<&str>) -> Facts {
        Facts {
            invocation_id: self.invocation_id.filter(|_| !self.invokes(kind)).map(Text::from),
            function: self.function(kind, resource_function),
            correlation_ids: self.correlation_ids.clone(),
            cold_start: self.cold_start,
            trigger: self.via(kind),
            http: self.http(),
            workflow: self.execution_id.map(|id| Workflow {
                execution_id: id.into(),
                state: self.state.unwrap_or_default().into(),
                retry_count: self.retry_count,
            }),
            ..Facts::default()
        }
    }

    /// The function, where it is another than the resource's, or the resource names none.
    fn function(&self, kind: Option<SpanKind>, resource_function: Option<&str>) -> Option<Text> {
        let by_id = || {
            let is_call = matches!(kind, Some(SpanKind::Client | SpanKind::Producer));
            let is_needed = resource_function.is_none() && !is_call;
            self.resource_id.filter(|_| is_needed).and_then(|id| ResourceId::parse(id).name)
        };
        let name = self.function.or_else(by_id).filter(|name| !name.is_empty())?;
        (resource_function != Some(name)).then(|| name.into())
    }

    /// `faas.trigger`, or what the span's kind and attributes tell of its cause.
    fn via(&self, kind: Option<SpanKind>) -> Option<Via> {
        let by_system = self.messaging.system.map(messaging::via_of_system);
        match self.trigger {
            Some("http") => return Some(Via::Http),
            Some("timer" | "schedule") => return Some(Via::Schedule),
            Some("pubsub") => return Some(by_system.unwrap_or(Via::Topic)),
            Some("datasource") => return Some(by_system.unwrap_or(Via::Unknown)),
            Some("invoke") => return Some(Via::Invoke),
            Some("queue") => return Some(Via::Queue),
            Some("topic") => return Some(Via::Topic),
            Some("stream") => return Some(Via::Stream),
            Some("event_bus") => return Some(Via::EventBus),
            Some("workflow") => return Some(Via::Workflow),
            _ => {}
        }
        match kind {
            Some(SpanKind::Consumer) if by_system.is_some() => by_system,
            Some(SpanKind::Server) if self.http_method.is_some() => Some(Via::Http),
            Some(SpanKind::Server | SpanKind::Consumer) if self.has_cron => Some(Via::Schedule),
            Some(SpanKind::Server | SpanKind::Consumer) if self.execution_id.is_some() => {
                Some(Via::Workflow)
            }
            _ => None,
        }
    }

    fn http(&self) -> Option<Http> {
        let http = Http {
            method: self.http_method.map(Text::from),
            route: self.http_route.map(Text::from),
            status: self.http_status,
        };
        (http != Http::default()).then_some(http)
    }

    /// Whom a client or producer span called; None where it does not say.
    fn peer(&self, view: &SpanView<'_>) -> Option<Peer> {
        if !matches!(view.kind, SpanKind::Client | SpanKind::Producer) {
            return None;
        }
        let queue = if self.messaging.is_told() { self.messaging.queue() } else { None };
        let name = queue
            .or(self.peer_service)
            .or(self.invoked_name)
            .or(self.rpc_service)
            .or(self.db_system)
            .or(self.server_address)
            .or_else(|| self.url.and_then(host))
            .or(self.messaging.system)?;
        let told = if queue.is_some() { self.messaging.operation() } else { None };
        let operation = told
            .or(self.rpc_method)
            .or(self.db_operation)
            .or(self.http_method)
            .unwrap_or(view.name);
        Some(Peer { name: name.into(), operation: operation.into() })
    }

    /// The error's own type and message, and what kind that is: the type decides where it can.
    fn error(&self, event: Option<&Exception>, status: &str, name: &str) -> ErrorFact {
        let event_type = event.and_then(|exception| exception.kind.as_deref());
        let event_message = event.and_then(|exception| exception.message.as_deref());
        let kind = event_type.or(self.exception_type).or(self.error_type).unwrap_or_default();
        let status = Some(status).filter(|status| !status.is_empty());
        let message = event_message.or(self.exception_message).or(status).unwrap_or_default();
        let throttled = self.http_status == Some(429);
        let mut text = String::with_capacity(kind.len() + message.len() + 2);
        text.push_str(kind);
        if !kind.is_empty() && !message.is_empty() {
            text.push_str(": ");
        }
        text.push_str(message);
        if text.is_empty() {
            match self.http_status {
                Some(status) => text = format!("HTTP {status}"),
                None => text.push_str(name),
            }
        }
        let judged = match ErrorKind::of(kind) {
            ErrorKind::Other => ErrorKind::of(shorten(&text, ERROR_BYTES_MAX)),
            judged => judged,
        };
        ErrorFact {
            kind: if throttled { ErrorKind::Throttled } else { judged },
            message: shorten(&text, ERROR_BYTES_MAX).into(),
        }
    }

    /// Adds the messages that the span and its links name.
    fn messages(&self, view: &SpanView<'_>, read: &mut SpanFacts) {
        let Some(side) = self.messaging.side(Some(view.kind)) else { return };
        let mut named = self.named(view.links);
        match side {
            Side::Sent => {
                for message in &mut named {
                    message.sent = message.sent.or(Some(view.start));
                }
                read.facts.sent = named;
            }
            Side::Received => {
                for message in &mut named {
                    message.failed |= read.failed;
                }
                read.facts.received = named;
            }
        }
    }

    /// Whether this is a call that invokes a function. What names an invocation there is the one that the
    /// call began: OpenTelemetry's instrumentation of the JavaScript SDK has `faas.execution` so.
    fn invokes(&self, kind: Option<SpanKind>) -> bool {
        let is_call = matches!(kind, Some(SpanKind::Client | SpanKind::Producer));
        let service = self.rpc_service.and_then(|service| service.rsplit('.').next());
        let is_lambda = service.is_some_and(|service| {
            ["Lambda", "AWSLambda"].iter().any(|name| name.eq_ignore_ascii_case(service))
        });
        let is_invoke =
            matches!(self.rpc_method, Some("Invoke" | "InvokeAsync" | "InvokeWithResponseStream"));
        is_call && (is_lambda && is_invoke || self.invoked_name.is_some())
    }

    /// The run that a call began, by the request id of its answer: processors of spans copy the caller's own
    /// `faas.invocation_id` onto all of them.
    fn invoked(&self, view: &SpanView<'_>) -> Option<MessageRef> {
        let id = self.answer_id.or(self.invocation_id).filter(|_| self.invokes(Some(view.kind)))?;
        Some(MessageRef { sent: Some(view.start), ..MessageRef::new(id, Via::Invoke) })
    }

    /// Messages by the span's own attributes, then by its links; each id once.
    fn named(&self, links: &[LinkView]) -> Vec<MessageRef> {
        let via = self.messaging.via(self.rpc_service);
        let mut named: Vec<MessageRef> = self.messaging.messages(via).collect();
        if links.is_empty() {
            return named;
        }
        // Only looked up, never walked: its order does not show.
        let mut places: HashMap<Text, usize> =
            named.iter().enumerate().map(|(place, m)| (Text::clone(&m.id), place)).collect();
        for link in links {
            let (of_link, has_error) = link.messaging();
            for mut message in of_link.messages_of_link(&self.messaging, link.context) {
                message.failed = has_error;
                let place = places.get(&message.id).copied();
                if let Some(known) = place.and_then(|place| named.get_mut(place)) {
                    known.trace = known.trace.or(message.trace);
                } else if named.len() < messaging::MESSAGES_MAX {
                    places.insert(Text::clone(&message.id), named.len());
                    named.push(message);
                }
            }
        }
        named
    }
}

/// Fills a slot that nothing has filled: an old name beside a new one.
fn either<T>(slot: &mut Option<T>, value: Option<T>) {
    if slot.is_none() {
        *slot = value;
    }
}

/// Text that says something.
fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// A whole number, also where it is written as text or as a float.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(n) => Some(*n),
        Value::Str(text) => text.trim().parse().ok(),
        Value::Float(x) if x.fract() == 0.0 => Some(crate::number::i64_from_f64(*x)),
        _ => None,
    }
}

fn small(value: &Value) -> Option<u16> {
    number(value).and_then(|n| u16::try_from(n).ok())
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Str(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::Str(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Takes a correlation id that is text or a whole number.
fn push_correlation_id(ids: &mut Vec<Text>, value: &Value) {
    match value {
        Value::Str(id) => push_id(ids, id),
        Value::Int(id) => push_id(ids, &id.to_string()),
        _ => {}
    }
}

fn push_id(ids: &mut Vec<Text>, id: &str) {
    let is_new = !id.is_empty() && ids.iter().all(|known| **known != *id);
    if is_new && ids.len() < CORRELATION_IDS_MAX {
        ids.push(id.into());
    }
}

/// The host of a URL, without user, port and path.
fn host(url: &str) -> Option<&str> {
    let after = url.split_once("://")?.1;
    let authority = after.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    host.split(':').next().filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests;
