use base64::Engine;
use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::normalize::show;
use crate::signal::Timestamp;

fn check(body: &str, expect: &Expect) {
    let origin = Origin {
        arrived: Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap(),
        ..Origin::default()
    };
    let shown = match normalize(body.as_bytes(), &origin, &Config::default(), 1 << 20) {
        Ok(push) => format!("{:?}\n{}", push.id, show::text(&push.normalized)),
        Err(undecodable) => format!("undecodable: {undecodable}"),
    };
    expect.assert_eq(&shown);
}

fn entry() -> Value {
    json!({"logName": "projects/p/logs/stdout", "resource": {"type": "global"},
        "timestamp": "2026-11-25T09:59:59Z", "insertId": "i", "textPayload": "hello"})
}

fn wrapped(data: &str) -> Value {
    let data = base64::engine::general_purpose::STANDARD.encode(data);
    json!({"message": {"data": data, "messageId": "5187"}, "subscription": "projects/p/subscriptions/s"})
}

#[test]
fn envelopes_cloud_events_and_bare_bodies_hold_the_same_entry() {
    check(
        &wrapped(&entry().to_string()).to_string(),
        &expect![[r#"
        Some("projects/p/subscriptions/s 5187")
        2026-11-25T09:59:59.000000000Z log severity=Info body="hello"
        1 signals, 0 rejected, 0 filtered"#]],
    );
    let event = json!({"specversion": "1.0", "id": "1", "data": wrapped(&entry().to_string())});
    check(
        &event.to_string(),
        &expect![[r#"
        Some("projects/p/subscriptions/s 5187")
        2026-11-25T09:59:59.000000000Z log severity=Info body="hello"
        1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        &entry().to_string(),
        &expect![[r#"
        None
        2026-11-25T09:59:59.000000000Z log severity=Info body="hello"
        1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn other_structured_logs_are_read_as_such() {
    let line =
        r#"{"time":"2026-11-25T09:59:59Z","level":"info","message":"hi","function_name":"f"}"#;
    check(
        &wrapped(line).to_string(),
        &expect![[r#"
        Some("projects/p/subscriptions/s 5187")
        2026-11-25T09:59:59.000000000Z log severity=Info body="hi" function=f anonymous
        1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn a_message_that_says_nothing_is_rejected_and_a_body_that_is_none_undecodable() {
    check(
        &wrapped("").to_string(),
        &expect![[r#"
        Some("projects/p/subscriptions/s 5187")
        rejected 0: the message has no data
        0 signals, 1 rejected, 0 filtered"#]],
    );
    check(
        r#"{"message":{"messageId":"1"},"subscription":"s"}"#,
        &expect![[r#"
        Some("s 1")
        rejected 0: the message has no data
        0 signals, 1 rejected, 0 filtered"#]],
    );
    check(
        r#"{"message":{"data":"%%","messageId":"1"},"subscription":"s"}"#,
        &expect![[r#"
        Some("s 1")
        rejected 0: the record's data is no base64: Invalid symbol 37, offset 0.
        0 signals, 1 rejected, 0 filtered"#]],
    );
    check(
        &wrapped("test message 3").to_string(),
        &expect![[r#"
        Some("projects/p/subscriptions/s 5187")
        rejected 0: neither JSON nor a log line of a known format
        0 signals, 1 rejected, 0 filtered"#]],
    );
    check("nonsense", &expect!["undecodable: neither JSON nor a log line of a known format"]);
    let deep = format!(
        r#"{{"logName":"x","resource":{{}},"jsonPayload":{}1{}}}"#,
        r#"{"a":"#.repeat(70),
        "}".repeat(70)
    );
    check(
        &wrapped(&deep).to_string(),
        &expect![[r#"
        Some("projects/p/subscriptions/s 5187")
        rejected 0: nested more than 64 deep
        0 signals, 1 rejected, 0 filtered"#]],
    );
}
