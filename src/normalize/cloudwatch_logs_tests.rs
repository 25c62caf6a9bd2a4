use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::normalize::show;
use crate::signal::Timestamp;

fn origin() -> Origin {
    Origin {
        arrived: Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap(),
        ..Origin::default()
    }
}

fn check(body: &str, expect: &Expect) {
    expect.assert_eq(&show::outcome(&normalize(
        body.as_bytes(),
        &origin(),
        &Config::default(),
        1 << 20,
    )));
}

fn payload(group: &str, stream: &str, messages: &[&str]) -> String {
    let events: Vec<Value> = messages
        .iter()
        .enumerate()
        .map(|(i, message)| json!({"id": format!("{i}"), "timestamp": 1_795_600_700_250_i64, "message": message}))
        .collect();
    json!({"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": group, "logStream": stream,
        "subscriptionFilters": ["all"], "logEvents": events})
    .to_string()
}

const CONTROL: &str = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1795600700250,"message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}"#;

const STREAM: &str = "2026/11/25/[$LATEST]20bddfd5a2dc4c6b97ac02800eae90d0";

#[test]
fn every_kind_of_message_is_read_for_what_it_is() {
    check(
        &payload(
            "/aws/lambda/pay",
            STREAM,
            &[
                "START RequestId: 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c Version: 7\n",
                "2026-11-25T09:58:20.113Z\t8edab1f8-7d34-4a8e-a965-15ccbbb78d4c\tINFO\thello\n",
                r#"{"timestamp":"2026-11-25T09:58:20.114Z","level":"INFO","requestId":"8edab1f8-7d34-4a8e-a965-15ccbbb78d4c","message":"json","correlation_id":"c-1"}"#,
                r#"{"time":"2026-11-25T09:58:20.115Z","type":"platform.report","record":{"requestId":"8edab1f8","metrics":{"durationMs":3}}}"#,
                "plain words",
                "no end of line{\"time\":\"2026-11-25T09:58:20Z\",\"type\":\"platform.start\",\"record\":{\"requestId\":\"8edab1f8\"}}",
            ],
        ),
        &expect![[r#"
            2026-11-25T09:58:20.250000000Z platform Start invocation=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c function=pay version=$LATEST account=123456789012
            2026-11-25T09:58:20.113000000Z log severity=Info invocation=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c body="hello" function=pay version=$LATEST account=123456789012
            2026-11-25T09:58:20.114000000Z log severity=Info invocation=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c correlation=c-1 body="json" function=pay version=$LATEST account=123456789012
            2026-11-25T09:58:20.115000000Z platform Report invocation=8edab1f8 duration=3ms function=pay version=$LATEST account=123456789012
            2026-11-25T09:58:20.250000000Z log body="plain words" function=pay version=$LATEST account=123456789012
            2026-11-25T09:58:20.000000000Z platform Start invocation=8edab1f8 text="no end of line" function=pay version=$LATEST account=123456789012
            6 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn functions_are_named_by_the_group_or_else_by_the_stream() {
    for (group, stream, function, version) in [
        ("/aws/lambda/pay", "2026/11/25/[$LATEST]ab", Some("pay"), Some("$LATEST")),
        ("/aws/lambda/us-east-1.edge", "2026/11/25/[3]ab", Some("edge"), Some("3")),
        ("shared", "2026/11/25/pay[42]ab", Some("pay"), Some("42")),
        ("shared", "2026/11/25/[42]ab", None, Some("42")),
        ("shared", "testLogStream", None, None),
        ("", "", None, None),
    ] {
        let source = log_source(group, stream);
        assert_eq!(source, LogSource { function, version }, "{group} {stream}");
    }
}

#[test]
fn payloads_follow_each_other_and_control_messages_are_filtered() {
    let one = payload("/aws/lambda/pay", STREAM, &["plain"]);
    check(
        &format!("{one}{CONTROL}\n{CONTROL}{one}\n"),
        &expect![[r#"
        2026-11-25T09:58:20.250000000Z log body="plain" function=pay version=$LATEST account=123456789012
        2026-11-25T09:58:20.250000000Z log body="plain" function=pay version=$LATEST account=123456789012
        2 signals, 0 rejected, 2 filtered"#]],
    );
}

#[test]
fn bad_payloads_and_events_leave_their_neighbours_alone() {
    let one = payload("/aws/lambda/pay", STREAM, &["plain"]);
    check(
        &format!("{one}\n{{\"messageType\":\"DATA_MESSAGE\",\"logEv\n{one}"),
        &expect![[r#"
            2026-11-25T09:58:20.250000000Z log body="plain" function=pay version=$LATEST account=123456789012
            2026-11-25T09:58:20.250000000Z log body="plain" function=pay version=$LATEST account=123456789012
            rejected 1: no CloudWatch Logs payload: control character (\u0000-\u001F) found while parsing a string at line 3 column 0
            2 signals, 1 rejected, 0 filtered"#]],
    );
    check(
        &format!("{{\"other\":1}}{one}"),
        &expect![[r#"
            2026-11-25T09:58:20.250000000Z log body="plain" function=pay version=$LATEST account=123456789012
            rejected 0: no CloudWatch Logs payload: missing field `logEvents` at line 1 column 11
            1 signals, 1 rejected, 0 filtered"#]],
    );
    check(
        r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","logEvents":[{"id":"1","timestamp":1795600700250},7,{"id":"2","timestamp":"1795600700250","message":{"level":"INFO","msg":"object"}},{"message":"no id, no time"}]}"#,
        &expect![[r#"
            2026-11-25T09:58:20.250000000Z log severity=Info body="object" account=1
            2026-11-25T10:00:00.000000000Z log body="no id, no time" account=1 anonymous
            rejected 0: a log event needs a message
            rejected 1: no log event: invalid type: integer `7`, expected struct Event at line 1 column 1
            2 signals, 2 rejected, 0 filtered"#]],
    );
    check(
        "nonsense",
        &expect!["undecodable: no CloudWatch Logs payload: expected ident at line 1 column 2"],
    );
}

#[test]
fn a_record_of_broken_payloads_is_given_up_in_time() {
    let body = format!("{}{}", "{\"x\":[\n".repeat(100_000), payload("g", "s", &["lost"]));
    let mut gather =
        Gather::new(Receiver::Firehose, &origin(), &Redactor::new(&Config::default().redact));
    let nobody = gather.nobody();
    let config = Config::default();
    let redactor = Redactor::new(&config.redact);
    let rules = Rules { fields: &config.fields, redactor: &redactor };
    read_into(body.as_bytes(), &nobody, rules, &mut gather);
    assert_eq!(gather.finish().unwrap().rejections.len(), RESTARTS_MAX + 2);
}

#[test]
fn an_event_is_known_by_its_id_within_its_group() {
    let identities = |group: &str| {
        let body = payload(group, STREAM, &["a", "b"]);
        let normalized =
            normalize(body.as_bytes(), &origin(), &Config::default(), 1 << 20).unwrap();
        normalized.batch.signals.iter().map(|s| s.identity.unwrap()).collect::<Vec<_>>()
    };
    let pay = identities("/aws/lambda/pay");
    assert_eq!(pay, identities("/aws/lambda/pay"));
    assert_ne!(pay[0], pay[1]);
    assert_ne!(pay[0], identities("/aws/lambda/ship")[0]);
}

#[test]
fn forwarders_envelopes_are_opened() {
    use base64::Engine;
    let packed = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let one = packed(&payload("/aws/lambda/pay", STREAM, &["plain"]));
    check(
        &json!({"awslogs": {"data": one}}).to_string(),
        &expect![[r#"
        2026-11-25T09:58:20.250000000Z log body="plain" function=pay version=$LATEST account=123456789012
        1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        &json!({"Records": [{"kinesis": {"data": "%%"}}, {"kinesis": {"data": one}}]}).to_string(),
        &expect![[r#"
            2026-11-25T09:58:20.250000000Z log body="plain" function=pay version=$LATEST account=123456789012
            rejected 0: the record's data is no base64: Invalid symbol 37, offset 0.
            1 signals, 1 rejected, 0 filtered"#]],
    );
}

#[test]
fn step_functions_records_name_their_execution() {
    check(
        &payload(
            "/aws/vendedlogs/states/shop-Logs",
            "states/shop/2026-11-25-10-00/7851b2d9",
            &[
                r#"{"id":"2","type":"TaskStateEntered","details":{"name":"Pay"},"event_timestamp":"1795600700250","execution_arn":"arn:aws:states:eu-west-1:1:execution:shop:e-1"}"#,
            ],
        ),
        &expect![[r#"
            2026-11-25T09:58:20.250000000Z log workflow=arn:aws:states:eu-west-1:1:execution:shop:e-1 state=Pay body="" attributes=details,execution_arn,id,type account=123456789012
            1 signals, 0 rejected, 0 filtered"#]],
    );
}
