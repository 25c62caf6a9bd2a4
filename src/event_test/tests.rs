//! The format's promises as text, and the rule pack's own event tests.

use std::path::Path;

use super::*;
use crate::correlate::Lookup;
use crate::receive::captured::{self, Captured};
use crate::signal::Timestamp;

#[test]
fn the_pack_s_event_tests_hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("alert-rules/throughline.events.yaml");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert!(is_event_test(&text));
    let report = run(&path, &text, &|path| std::fs::read(path));
    let failures: Vec<&str> = report.failures().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(report.passed() > 0);
}

/// A test file as text, its report as text.
fn check(text: &str, expect: &expect_test::Expect) {
    let read = |path: &Path| match path.to_str() {
        Some("dir/rules.yaml") => Ok(RULES.as_bytes().to_vec()),
        Some("dir/notify.yaml") => Ok(NOTIFY.as_bytes().to_vec()),
        Some("dir/captured.json") => Ok(br#"{"requestId":"r","level":"ERROR"}"#.to_vec()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let report = run(Path::new("dir/t.yaml"), text, &read);
    let failures: Vec<&str> = report.failures().collect();
    expect.assert_eq(&format!("{} passed\n{}", report.passed(), failures.join("\n")));
}

const RULES: &str = "\
groups:
- name: g
  rules:
  - alert: Failed
    expr: sum by (faas_name) (throughline_invocations_total{outcome=\"error\"}) > 0
    for: 10s
    labels: {severity: page}
    annotations: {summary: '{{ $labels.faas_name }} failed {{ $value }} times'}
";

const NOTIFY: &str = "\
route: {receiver: on-call, group_by: [alertname]}
receivers:
- name: on-call
  webhook_configs: [{url: 'http://127.0.0.1:9/'}]
  email_configs: [{to: a@example.org, from: b@example.org, smarthost: 'mail.example.org:587'}]
";

#[test]
fn what_comes_in_is_seen_as_request_series_alert_and_message() {
    check(
        "\
rule_files: [rules.yaml]
notify_file: notify.yaml
set: [correlate.settle_after=5s]
event_tests:
- name: whole
  signals:
  - at: 1500ms
    every: 1s
    times: 2
    post: /ingest/json
    headers: {Lambda-Function-Name: f}
    body: {timestamp: '${time}', requestId: 'r-${n}', level: ERROR, error: '$${n}'}
  expect:
  - {at: 1s, request: r-1, absent: true}
  - {at: 10s, request: r-2, is: {outcome: error, hops: [{function: f, error: '...${n}...'}]}}
  - {at: 10s, query: throughline_invocations_total > 0, samples: [{labels: 'throughline_invocations_total{faas_name=\"f\", faas_version=\"\", outcome=\"error\"}', value: 2}]}
  - {at: 15s, alert: Failed, pending: [{labels: {faas_name: f, severity: page}}]}
  - {at: 30s, alert: Failed, firing: [{labels: {faas_name: f, severity: page}, annotations: {summary: f failed ... times}}]}
  - {at: 30s, receiver: on-call, messages: [{notifier: webhook, body: {status: firing}}, {notifier: email, body: '...Subject: ...f failed...'}]}
  fires_only: [Failed]
",
        &expect_test::expect![[r"
            7 passed
        "]],
    );
}

#[test]
fn what_differs_is_told_with_its_place() {
    check(
        "\
rule_files: [rules.yaml]
event_tests:
- name: wrong
  signals:
  - {at: 1s, post: /ingest/json, headers: {Lambda-Function-Name: f}, file: captured.json}
  expect:
  - {at: 5s, request: q, is: {outcome: ok}}
  - at: 30s
    alert: Failed
  must_not_fire: [Failed, Unknown]
",
        &expect_test::expect![[r"
            2 passed
            dir/t.yaml:7:5: wrong: at 5s: no request is known by `q`
            dir/t.yaml:10:27: wrong: no rule file has an alert `Unknown`"]],
    );
    check(
        "\
rule_files: [rules.yaml]
event_tests:
- name: unreadable
  signals: [{at: 1s, post: /ingest/xml, body: x}]
",
        &expect_test::expect![[r"
            0 passed
            dir/t.yaml:4:13: unreadable: /ingest/xml cannot be read: the ingest port has no path `/ingest/xml`; it has /ingest/json, /ingest/aws/telemetry, /ingest/aws/firehose, /ingest/aws/xray, /ingest/gcp/pubsub, /ingest/azure/eventhub, /ingest/cloudflare/logpush, /ingest/vercel, /v1/traces, /v1/logs, /v1/metrics and /api/v1/write"]],
    );
}

#[test]
fn errors_of_the_file_have_their_place() {
    check(
        "\
event_tests:
- signals: [{at: soon, post: /ingest/json}]
  expect: [{at: 1s, query: up, firing: []}]
",
        &expect_test::expect![[r"
            0 passed
            dir/t.yaml:2:13: a signal has a `body` or a `file`, one of them
                - signals: [{at: soon, post: /ingest/json}]
                            ^
            dir/t.yaml:2:18: `soon` is no duration; write 30s, 5m or 1h30m
                - signals: [{at: soon, post: /ingest/json}]
                                 ^
            dir/t.yaml:3:12: expect one of: `request` with `is` or `absent: true`; `query` with `samples`; `alert` with `firing` and `pending`; `receiver` with `messages`
                  expect: [{at: 1s, query: up, firing: []}]
                           ^"]],
    );
    check(
        "event_tests: [{signal: []}]\n",
        &expect_test::expect![[r"
        0 passed
        dir/t.yaml:1:16: unknown field `signal`, expected one of name, start, end, signals, expect, must_not_fire, fires_only
            event_tests: [{signal: []}]
                           ^"]],
    );
    check(
        "rule_files: [none.yaml]\nevent_tests: []\n",
        &expect_test::expect![[r#"
        0 passed
        --set rules.files=["dir/none.yaml"]:1:18: cannot read dir/none.yaml: entity not found
            {rules: {files: ["dir/none.yaml"]}}
                             ^"#]],
    );
}

/// An order with a trace, a queue and an error, then its test: run, it holds and tells the same.
#[test]
fn a_request_becomes_a_test_that_comes_to_the_same_request() {
    let config = Config::load(None, &[]).expect("defaults");
    let start = Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").expect("a time");
    let mut rehearsal = Rehearsal::new(&config, start).expect("a folder");
    let posts = [
        ("/v1/traces", SPANS),
        (
            "/ingest/json",
            r#"{"timestamp":"2026-11-25T10:00:00.4Z","level":"INFO","message":"sent","function_name":"pay","function_request_id":"p-1","sent_message_id":"m-1","queue":"orders"}
{"timestamp":"2026-11-25T10:00:02Z","level":"INFO","message":"message received","function_name":"fulfil","function_request_id":"f-1","message_id":"m-1","queue":"orders","receive_count":1,"sent_timestamp":1795600800400}
{"timestamp":"2026-11-25T10:00:02.5Z","level":"ERROR","message":"failed","function_name":"fulfil","function_request_id":"f-1","message_id":"m-1","queue":"orders","exception_name":"KeyError","exception_message":"'${sku}'"}"#,
        ),
    ];
    rehearsal.advance(start.saturating_add(std::time::Duration::from_secs(5)), &mut drop);
    for (path, body) in posts {
        let request = Captured { path, headers: &[], body: body.as_bytes() };
        let read = captured::read(&request, rehearsal.now(), &config.normalize).expect("readable");
        assert_eq!(read.rejections, []);
        rehearsal.take(read.batch);
    }
    rehearsal.advance(start.saturating_add(std::time::Duration::from_mins(1)), &mut drop);
    let found = rehearsal.state().engine.read().expect("no panic").lookup("m-1");
    let Lookup::One(request) = found else { panic!("{found:?}") };
    assert_eq!(request.hops.len(), 3);
    let text = of_request(&request).expect("a test");
    assert!(!text.contains("do not tell all"), "{text}");
    let report = run(Path::new("t.yaml"), &text, &|path| std::fs::read(path));
    let failures: Vec<&str> = report.failures().collect();
    assert!(failures.is_empty() && report.passed() == 1, "{text}\n{}", failures.join("\n"));
    for part in ["POST /orders", "KeyError", "$${sku}", r#""via":"queue""#, r#""outcome":"error""#]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

const SPANS: &str = r#"{"resourceSpans":[
  {"resource":{"attributes":[{"key":"faas.name","value":{"stringValue":"checkout"}}]},"scopeSpans":[{"spans":[
    {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b171","kind":2,"name":"POST /orders","startTimeUnixNano":"1795600800000000000","endTimeUnixNano":"1795600800600000000","attributes":[{"key":"faas.invocation_id","value":{"stringValue":"c-1"}},{"key":"http.request.method","value":{"stringValue":"POST"}},{"key":"http.route","value":{"stringValue":"/orders"}}]}]}]},
  {"resource":{"attributes":[{"key":"faas.name","value":{"stringValue":"pay"}}]},"scopeSpans":[{"spans":[
    {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b172","parentSpanId":"eee19b7ec3c1b171","kind":2,"name":"pay","startTimeUnixNano":"1795600800100000000","endTimeUnixNano":"1795600800500000000","attributes":[{"key":"faas.invocation_id","value":{"stringValue":"p-1"}}]}]}]}
]}"#;
