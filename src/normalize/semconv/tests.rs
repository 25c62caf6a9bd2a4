use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;
use crate::normalize::Config;
use crate::signal::{SpanId, TraceId};

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(n) => match n.as_i64() {
            Some(n) => Value::Int(n),
            None => Value::Float(n.as_f64().unwrap()),
        },
        serde_json::Value::String(text) => Value::Str(text.as_str().into()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(value).collect()),
        other => Value::Str(other.to_string().into()),
    }
}

/// Attributes from a JSON object.
fn attributes(json: &str) -> Attributes {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap();
    Attributes(object.iter().map(|(k, v)| (k.as_str().into(), value(v))).collect())
}

fn message(message: &MessageRef) -> String {
    let mut text = format!("{} {:?}", message.id, message.via);
    if let Some(queue) = &message.queue {
        write!(text, " on {queue}").unwrap();
    }
    if let Some(sent) = message.sent {
        write!(text, " sent {}ms", sent.as_millis()).unwrap();
    }
    if let Some(count) = message.receive_count {
        write!(text, " received {count}x").unwrap();
    }
    if let Some(source) = &message.dead_letter_source {
        write!(text, " dead-lettered from {source}").unwrap();
    }
    if let Some(span_id) = message.trace.and_then(|trace| trace.span_id) {
        write!(text, " from span {span_id}").unwrap();
    }
    if message.failed {
        text.push_str(" FAILED");
    }
    text
}

/// Only what is told, a line each.
fn render(facts: &Facts) -> String {
    let mut text = String::new();
    let mut line = |name: &str, told: Option<String>| {
        if let Some(told) = told {
            writeln!(text, "{name}: {told}").unwrap();
        }
    };
    line("invocation", facts.invocation_id.as_deref().map(str::to_owned));
    line("function", facts.function.as_deref().map(str::to_owned));
    if !facts.correlation_ids.is_empty() {
        line("correlation", Some(facts.correlation_ids.join(", ")));
    }
    line("cold start", facts.cold_start.map(|cold| cold.to_string()));
    line("trigger", facts.trigger.map(|via| format!("{via:?}")));
    line("error", facts.error.as_ref().map(|e| format!("{:?}: {}", e.kind, e.message)));
    line(
        "http",
        facts
            .http
            .as_ref()
            .map(|http| format!("{:?} {:?} {:?}", http.method, http.route, http.status)),
    );
    line("peer", facts.peer.as_ref().map(|peer| format!("{} {}", peer.name, peer.operation)));
    line(
        "workflow",
        facts
            .workflow
            .as_ref()
            .map(|w| format!("{} {:?} {:?}", w.execution_id, w.state, w.retry_count)),
    );
    line("duration", facts.duration.map(|d| format!("{d:?}")));
    for sent in &facts.sent {
        line("sent", Some(message(sent)));
    }
    for received in &facts.received {
        line("received", Some(message(received)));
    }
    text
}

struct Case<'a> {
    kind: SpanKind,
    status: SpanStatus,
    status_message: &'a str,
    exception: Option<Exception>,
    links: Vec<LinkView>,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            kind: SpanKind::Internal,
            status: SpanStatus::Unset,
            status_message: "",
            exception: None,
            links: Vec::new(),
        }
    }
}

fn read(case: &Case<'_>, json: &str) -> SpanFacts {
    let attributes = attributes(json);
    let view = SpanView {
        kind: case.kind,
        name: "the span",
        start: Timestamp::from_millis(5_000),
        status: case.status,
        status_message: case.status_message,
        exception: case.exception.as_ref(),
        attributes: &attributes,
        links: &case.links,
        function: Some("mine"),
    };
    span(&view, &Config::default().fields)
}

fn check_case(case: &Case<'_>, json: &str, expect: &Expect) {
    let read = read(case, json);
    let failed = if read.failed { "FAILED\n" } else { "" };
    expect.assert_eq(&format!("{failed}{}", render(&read.facts)));
}

fn check(kind: SpanKind, json: &str, expect: &Expect) {
    check_case(&Case { kind, ..Case::default() }, json, expect);
}

#[test]
fn an_entry_tells_its_invocation_and_its_cause() {
    check(
        SpanKind::Server,
        r#"{"faas.invocation_id":"r-1","faas.coldstart":true,"faas.trigger":"http","http.request.method":"POST","http.route":"/orders","http.response.status_code":201,"correlation_id":"c-1"}"#,
        &expect![[r#"
            invocation: r-1
            correlation: c-1
            cold start: true
            trigger: Http
            http: Some("POST") Some("/orders") Some(201)
        "#]],
    );
}

#[test]
fn old_names_are_read_and_new_ones_win() {
    check(
        SpanKind::Server,
        r#"{"faas.execution":"old","http.method":"GET","http.status_code":"200"}"#,
        &expect![[r#"
            invocation: old
            trigger: Http
            http: Some("GET") None Some(200)
        "#]],
    );
    let both = [("faas.invocation_id", "new"), ("faas.execution", "old")];
    for order in [both, [both[1], both[0]]] {
        let list = order.map(|(k, v)| (Text::from(k), Value::Str(v.into()))).to_vec();
        let facts = log(&Attributes(list), &Config::default().fields, None);
        assert_eq!(facts.invocation_id.as_deref(), Some("new"));
    }
}

#[test]
fn a_producer_sends_and_its_start_is_when() {
    check(
        SpanKind::Producer,
        r#"{"messaging.system":"aws_sqs","messaging.destination.name":"https://sqs.eu-west-1.amazonaws.com/1/orders","messaging.message.id":"m-1","messaging.operation.type":"send","messaging.message.conversation_id":"c-9"}"#,
        &expect![[r"
            correlation: c-9
            peer: orders send
            sent: m-1 Queue on orders sent 5000ms
        "]],
    );
    check(
        SpanKind::Client,
        r#"{"messaging.system":"aws.sns","messaging.destination":"orders","messaging.message_id":"m-1","messaging.operation":"publish"}"#,
        &expect![[r"
            peer: orders publish
            sent: m-1 Topic on orders sent 5000ms
        "]],
    );
}

#[test]
fn a_consumer_receives_with_all_that_its_message_tells() {
    check(
        SpanKind::Consumer,
        r#"{"messaging.system":"aws_sqs","messaging.destination.name":"orders-dlq","messaging.message.id":["m-1","m-2"],"messaging.operation.type":"process","messaging.message.sent_timestamp":"1000","messaging.message.delivery_attempt":2,"messaging.dead_letter.source":"arn:aws:sqs:eu-west-1:1:orders"}"#,
        &expect![[r"
            trigger: Queue
            received: m-1 Queue on orders-dlq sent 1000ms received 2x dead-lettered from orders
            received: m-2 Queue on orders-dlq sent 1000ms received 2x dead-lettered from orders
        "]],
    );
    check(
        SpanKind::Consumer,
        r#"{"messaging.system":"AmazonSQS","aws.sqs.queue.url":"https://sqs/1/q","messaging.message.id":"m","aws.sqs.sent_timestamp":7,"aws.sqs.approximate_receive_count":"3","aws.sqs.dead_letter_queue_source_arn":"arn:aws:sqs:eu-west-1:1:src"}"#,
        &expect![[r"
            trigger: Queue
            received: m Queue on q sent 7ms received 3x dead-lettered from src
        "]],
    );
}

#[test]
fn settling_is_neither_sending_nor_receiving() {
    check(
        SpanKind::Client,
        r#"{"messaging.system":"servicebus","messaging.destination.name":"q","messaging.message.id":"m","messaging.operation.type":"settle"}"#,
        &expect![[r"
            peer: q settle
        "]],
    );
}

fn link(n: u8, json: &str) -> LinkView {
    let context = TraceContext { trace_id: TraceId([n; 16]), span_id: Some(SpanId([n; 8])) };
    LinkView { context, attributes: attributes(json) }
}

#[test]
fn links_of_a_batch_name_its_messages_each_once() {
    let case = Case {
        kind: SpanKind::Consumer,
        links: vec![
            link(1, r#"{"messaging.message.id":"m-1","messaging.message.sent_timestamp":1000}"#),
            link(
                2,
                r#"{"messaging.message.id":"m-2","error.type":"Boom","messaging.message.delivery_attempt":3}"#,
            ),
            link(3, r#"{"messaging.message.id":"m-1"}"#),
            link(4, "{}"),
        ],
        ..Case::default()
    };
    check_case(
        &case,
        r#"{"messaging.system":"aws_sqs","messaging.destination.name":"orders"}"#,
        &expect![[r"
            trigger: Queue
            received: m-1 Queue on orders sent 1000ms from span 0101010101010101
            received: m-2 Queue on orders received 3x from span 0202020202020202 FAILED
        "]],
    );
}

#[test]
fn a_failed_consumer_fails_its_messages() {
    let case = Case {
        kind: SpanKind::Consumer,
        status: SpanStatus::Error,
        status_message: "no stock",
        exception: Some(Exception { kind: Some("OutOfStock".into()), message: None }),
        ..Case::default()
    };
    check_case(
        &case,
        r#"{"messaging.system":"kafka","messaging.destination.name":"t","messaging.message.id":"m"}"#,
        &expect![[r"
            FAILED
            trigger: Stream
            error: Other: OutOfStock: no stock
            received: m Stream on t FAILED
        "]],
    );
}

#[test]
fn client_spans_name_their_peer() {
    for (json, want) in [
        (
            r#"{"rpc.system":"aws-api","rpc.service":"DynamoDB","rpc.method":"PutItem","db.system":"dynamodb"}"#,
            "DynamoDB PutItem",
        ),
        (
            r#"{"db.system.name":"postgresql","db.operation.name":"SELECT","server.address":"10.0.0.1"}"#,
            "postgresql SELECT",
        ),
        (
            r#"{"rpc.system.name":"grpc","rpc.method":"shop.v1.Orders/Place","server.address":"10.0.0.1"}"#,
            "shop.v1.Orders Place",
        ),
        (r#"{"db.system":"redis","db.operation":"GET"}"#, "redis GET"),
        (r#"{"http.request.method":"GET","server.address":"api.example"}"#, "api.example GET"),
        (
            r#"{"http.method":"GET","http.url":"https://u:p@api.example:8443/x?y"}"#,
            "api.example GET",
        ),
        (r#"{"peer.service":"payments","server.address":"10.0.0.1"}"#, "payments the span"),
        (r#"{"faas.invoked_name":"pay"}"#, "pay the span"),
    ] {
        let read = read(&Case { kind: SpanKind::Client, ..Case::default() }, json);
        let peer = read.facts.peer.map(|peer| format!("{} {}", peer.name, peer.operation));
        assert_eq!(peer.as_deref(), Some(want), "{json}");
    }
    assert_eq!(read(&Case { kind: SpanKind::Client, ..Case::default() }, "{}").facts.peer, None);
    let server =
        read(&Case { kind: SpanKind::Server, ..Case::default() }, r#"{"server.address":"a"}"#);
    assert_eq!(server.facts.peer, None);
}

#[test]
fn failures_are_told_by_status_and_by_what_predates_it() {
    use SpanKind::{Client, Server};
    use SpanStatus::{Error, Ok, Unset};
    let shown: Vec<String> = [
        (Server, Unset, r#"{"http.response.status_code":503}"#),
        (Server, Unset, r#"{"http.response.status_code":404}"#),
        (Client, Unset, r#"{"http.response.status_code":429}"#),
        (Client, Unset, r#"{"error.type":"TooManyRequestsException"}"#),
        (Client, Ok, r#"{"error.type":"TooManyRequestsException"}"#),
        (Server, Error, "{}"),
        (Server, Error, r#"{"exception.type":"ConnectionError","exception.message":"db"}"#),
        (Client, Error, r#"{"error.type":"AccessDeniedException"}"#),
    ]
    .into_iter()
    .map(|(kind, status, json)| {
        let read = read(&Case { kind, status, ..Case::default() }, json);
        let error = read.facts.error.map(|e| format!("{:?} {}", e.kind, e.message));
        format!("{} {}", read.failed, error.unwrap_or_default())
    })
    .collect();
    expect![[r"
        true Other HTTP 503
        false 
        true Throttled HTTP 429
        true Throttled TooManyRequestsException
        false 
        true Other the span
        true Connection ConnectionError: db
        true AccessDenied AccessDeniedException"]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn a_call_that_invokes_names_the_run_that_it_began() {
    let shown = |kind, json: &str| {
        let facts = read(&Case { kind, ..Case::default() }, json).facts;
        let sent: Vec<String> = facts.sent.iter().map(message).collect();
        format!("{:?} {}", facts.invocation_id, sent.join(", "))
    };
    for (kind, json, want) in [
        (
            SpanKind::Client,
            r#"{"rpc.service":"Lambda","rpc.method":"Invoke","aws.request_id":"r-1"}"#,
            "None r-1 Invoke sent 5000ms",
        ),
        (
            SpanKind::Client,
            r#"{"rpc.method":"AWSLambda/Invoke","aws.requestId":"r-1"}"#,
            "None r-1 Invoke sent 5000ms",
        ),
        (
            SpanKind::Client,
            r#"{"faas.invoked_name":"pay","faas.execution":"r-1"}"#,
            "None r-1 Invoke sent 5000ms",
        ),
        (
            SpanKind::Client,
            r#"{"rpc.service":"DynamoDB","rpc.method":"PutItem","aws.request_id":"r-1"}"#,
            "None ",
        ),
        (SpanKind::Server, r#"{"faas.execution":"r-1","aws.request_id":"r-2"}"#, r#"Some("r-1") "#),
    ] {
        assert_eq!(shown(kind, json), want, "{json}");
    }
}

#[test]
fn cloud_events_are_made_and_taken_up() {
    let json = r#"{"cloudevents.event_id":"7","cloudevents.event_source":"/shop"}"#;
    for (kind, sent, received) in [(SpanKind::Producer, 1, 0), (SpanKind::Consumer, 0, 1)] {
        let facts = read(&Case { kind, ..Case::default() }, json).facts;
        assert_eq!((facts.sent.len(), facts.received.len()), (sent, received));
        let all = facts.sent.iter().chain(&facts.received);
        assert!(all.into_iter().all(|event| &*event.id == "/shop#7"));
    }
}

#[test]
fn triggers_are_read_from_words_systems_and_workflows() {
    use SpanKind::{Consumer, Server};
    for (kind, json, want) in [
        (Server, r#"{"faas.trigger":"timer"}"#, Some(Via::Schedule)),
        (Server, r#"{"faas.trigger":"pubsub"}"#, Some(Via::Topic)),
        (Server, r#"{"faas.trigger":"pubsub","messaging.system":"aws_sqs"}"#, Some(Via::Queue)),
        (Server, r#"{"faas.trigger":"event_bus"}"#, Some(Via::EventBus)),
        (Server, r#"{"faas.trigger":"other"}"#, None),
        (Server, r#"{"faas.trigger":"other","workflow.execution_id":"e"}"#, Some(Via::Workflow)),
        (Server, r#"{"faas.cron":"* * *"}"#, Some(Via::Schedule)),
        (Consumer, r#"{"messaging.system":"aws.eventbridge"}"#, Some(Via::EventBus)),
        (Consumer, "{}", None),
    ] {
        let read = read(&Case { kind, ..Case::default() }, json);
        assert_eq!(read.facts.trigger, want, "{json}");
    }
}

#[test]
fn workflows_are_known_by_their_execution() {
    check(
        SpanKind::Internal,
        r#"{"aws.step_functions.execution_arn":"arn:e","workflow.state":"Charge","workflow.retry_count":2}"#,
        &expect![[r#"
            workflow: arn:e "Charge" Some(2)
        "#]],
    );
}

#[test]
fn a_function_is_named_only_where_it_is_not_the_resources_own() {
    let function = |json: &str| read(&Case::default(), json).facts.function;
    assert_eq!(function(r#"{"faas.name":"mine"}"#), None);
    assert_eq!(function(r#"{"faas.name":"other"}"#).as_deref(), Some("other"));
    assert_eq!(function(r#"{"aws.lambda.invoked_arn":"arn:aws:lambda:r:1:function:x"}"#), None);
    let arn = attributes(r#"{"aws.lambda.invoked_arn":"arn:aws:lambda:r:1:function:x:prod"}"#);
    let facts = log(&arn, &Config::default().fields, None);
    assert_eq!(facts.function.as_deref(), Some("x"));
}

fn check_body(json: &str, expect: &Expect) {
    let mut config = Config::default();
    config.fields.invocation_id = vec!["ctx.req".into()];
    config.fields.duration_ms = vec!["took".into()];
    config.fields.timestamp = vec!["ts".into()];
    let mut facts = Facts::default();
    let told = log_fields::read(&attributes(json).0, &config.fields, &mut facts);
    let mut text = render(&facts);
    if let Some(severity) = told.severity {
        writeln!(text, "severity: {severity:?}").unwrap();
    }
    if let Some(trace) = told.trace {
        writeln!(text, "trace: {}", trace.trace_id).unwrap();
    }
    if let Some(time) = told.time {
        writeln!(text, "time: {}ms", time.as_millis()).unwrap();
    }
    expect.assert_eq(&text);
}

#[test]
fn a_logs_body_is_read_for_what_its_attributes_do_not_say() {
    check_body(
        r#"{"ctx.req":"r-1","took":12.5,"ts":1700000000000,"level":"ERROR","function_name":"f","cold_start":true,"xray_trace_id":"1-67891233-abcdef012345678912345678","correlationId":"c","errorType":"Boom","errorMessage":"bad","message_id":["m-1","m-1"],"sent_message_id":"m-2"}"#,
        &expect![[r"
            invocation: r-1
            function: f
            correlation: c
            cold start: true
            error: Other: Boom: bad
            duration: 12.5ms
            sent: m-2 Unknown
            received: m-1 Unknown FAILED
            severity: Error
            trace: 67891233abcdef012345678912345678
            time: 1700000000000ms
        "]],
    );
    check_body(r#"{"level":7,"cold_start":"maybe","errorType":[]}"#, &expect![""]);
}

#[test]
fn error_records_fail_the_messages_that_they_name() {
    let record = attributes(
        r#"{"exception.type":"Boom","messaging.operation.type":"process","messaging.message.id":"m"}"#,
    );
    expect![[r"
        error: Other: Boom
        received: m Unknown FAILED
    "]]
    .assert_eq(&render(&log(&record, &Config::default().fields, None)));
}
