use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::normalize::{Config, Origin, pubsub, show};

fn check(entry: &Value, expect: &Expect) {
    let origin = Origin {
        arrived: Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap(),
        ..Origin::default()
    };
    let body = entry.to_string();
    let push = pubsub::normalize(body.as_bytes(), &origin, &Config::default(), 1 << 20).unwrap();
    expect.assert_eq(&show::text(&push.normalized));
}

fn gen1(line: &str, severity: &str) -> Value {
    json!({
        "insertId": "i-1", "severity": severity, "textPayload": line,
        "logName": "projects/shop/logs/cloudfunctions.googleapis.com%2Fcloud-functions",
        "timestamp": "2026-11-25T09:59:59.5Z", "labels": {"execution_id": "j22o0ucdhpop"},
        "resource": {"type": "cloud_function", "labels":
            {"function_name": "checkout", "region": "us-central1", "project_id": "shop"}},
        "trace": "projects/shop/traces/b24dd86d3aa6a386ff2aa6a7f16660a0",
    })
}

fn request(status: u16, reason: &str) -> Value {
    json!({
        "insertId": "r-1", "severity": "ERROR", "textPayload": reason,
        "logName": "projects/shop/logs/run.googleapis.com%2Frequests",
        "timestamp": "2026-11-25T09:59:59Z", "labels": {"instanceId": "00f4"},
        "httpRequest": {"requestMethod": "POST", "requestUrl": "https://x/orders/7",
            "status": status, "latency": "0.250s", "requestSize": "12"},
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": "checkout",
            "revision_name": "checkout-00007", "location": "us-central1", "project_id": "shop"}},
        "trace": "projects/shop/traces/b24dd86d3aa6a386ff2aa6a7f16660a0",
        "spanId": "3e3a5741b18f0710",
    })
}

#[test]
fn the_platforms_lines_about_an_execution_are_its_start_and_its_report() {
    check(
        &gen1("Function execution started", "DEBUG"),
        &expect![[r#"
        2026-11-25T09:59:59.500000000Z platform Start invocation=j22o0ucdhpop trace=b24dd86d3aa6a386ff2aa6a7f16660a0 function=checkout account=shop region=us-central1
        1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        &gen1("Function execution took 123 ms, finished with status code: 200", "DEBUG"),
        &expect![[r#"
            2026-11-25T09:59:59.500000000Z platform Report invocation=j22o0ucdhpop status=Success duration=123ms trace=b24dd86d3aa6a386ff2aa6a7f16660a0 function=checkout account=shop region=us-central1
            1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        &gen1("Function execution took 60002 ms, finished with status: 'timeout'", "DEBUG"),
        &expect![[r#"
            2026-11-25T09:59:59.500000000Z platform Report invocation=j22o0ucdhpop status=Timeout error_type=timeout duration=60.002s trace=b24dd86d3aa6a386ff2aa6a7f16660a0 function=checkout account=shop region=us-central1
            1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        &gen1("Function execution took 5 ms, finished with status: 'crash'", "DEBUG"),
        &expect![[r#"
            2026-11-25T09:59:59.500000000Z platform Report invocation=j22o0ucdhpop status=Error error_type=crash duration=5ms trace=b24dd86d3aa6a386ff2aa6a7f16660a0 function=checkout account=shop region=us-central1
            1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn user_code_cannot_speak_for_the_platform() {
    check(
        &gen1("Function execution took 5 ms, finished with status: 'ok'", "INFO"),
        &expect![[r#"
            2026-11-25T09:59:59.500000000Z log severity=Info trace=b24dd86d3aa6a386ff2aa6a7f16660a0 invocation=j22o0ucdhpop body="Function execution took 5 ms, finished w"… function=checkout account=shop region=us-central1
            1 signals, 0 rejected, 0 filtered"#]],
    );
    let mut spoofed = gen1("Function execution started", "DEBUG");
    spoofed["logName"] = json!("projects/shop/logs/run.googleapis.com%2Fstdout");
    check(
        &spoofed,
        &expect![[r#"
        2026-11-25T09:59:59.500000000Z log severity=Debug trace=b24dd86d3aa6a386ff2aa6a7f16660a0 invocation=j22o0ucdhpop body="Function execution started" function=checkout account=shop region=us-central1
        1 signals, 0 rejected, 0 filtered"#]],
    );
    let mut lambda = gen1("", "DEFAULT");
    lambda.as_object_mut().unwrap().remove("textPayload");
    lambda["jsonPayload"] = json!({"time": "2026-11-25T09:59:59Z", "type": "platform.start",
        "record": {"requestId": "x"}});
    check(
        &lambda,
        &expect![[r#"
            2026-11-25T09:59:59.000000000Z log severity=Info trace=b24dd86d3aa6a386ff2aa6a7f16660a0 invocation=j22o0ucdhpop body="" attributes=record,type,log.untrusted function=checkout account=shop region=us-central1
            1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn a_line_of_the_request_log_is_a_whole_invocation() {
    check(
        &request(200, ""),
        &expect![[r#"
        2026-11-25T09:59:59.250000000Z platform Report invocation=r-1 status=Success duration=250ms trace=b24dd86d3aa6a386ff2aa6a7f16660a0 span=3e3a5741b18f0710 function=checkout version=checkout-00007 account=shop region=us-central1
        1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        &request(404, ""),
        &expect![[r#"
        2026-11-25T09:59:59.250000000Z platform Report invocation=r-1 status=Success duration=250ms trace=b24dd86d3aa6a386ff2aa6a7f16660a0 span=3e3a5741b18f0710 function=checkout version=checkout-00007 account=shop region=us-central1
        1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        &request(503, ""),
        &expect![[r#"
        2026-11-25T09:59:59.250000000Z platform Report invocation=r-1 status=Failure error_type=HTTP 503 duration=250ms trace=b24dd86d3aa6a386ff2aa6a7f16660a0 span=3e3a5741b18f0710 function=checkout version=checkout-00007 account=shop region=us-central1
        1 signals, 0 rejected, 0 filtered"#]],
    );
    let words = "The request was aborted because there was no available instance.";
    check(
        &request(429, words),
        &expect![[r#"
        2026-11-25T09:59:59.250000000Z platform Report invocation=r-1 status=Failure error_type=HTTP 429: The request was aborted because there was no available instance. duration=250ms trace=b24dd86d3aa6a386ff2aa6a7f16660a0 span=3e3a5741b18f0710 function=checkout version=checkout-00007 account=shop region=us-central1
        1 signals, 0 rejected, 0 filtered"#]],
    );
    let words =
        "The request has been terminated because it has reached the maximum request timeout.";
    check(
        &request(504, words),
        &expect![[r#"
        2026-11-25T09:59:59.250000000Z platform Report invocation=r-1 status=Timeout error_type=HTTP 504: The request has been terminated because it has reached the maximum request timeout. duration=250ms trace=b24dd86d3aa6a386ff2aa6a7f16660a0 span=3e3a5741b18f0710 function=checkout version=checkout-00007 account=shop region=us-central1
        1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn what_code_writes_keeps_its_fields_and_its_place() {
    let mut entry = gen1("", "ERROR");
    entry.as_object_mut().unwrap().remove("textPayload");
    entry["jsonPayload"] =
        json!({"message": "no stock", "correlation_id": "o-7", "sent_message_id": "m-1"});
    entry["spanId"] = json!("3e3a5741b18f0710");
    check(
        &entry,
        &expect![[r#"
        2026-11-25T09:59:59.500000000Z log severity=Error trace=b24dd86d3aa6a386ff2aa6a7f16660a0/3e3a5741b18f0710 invocation=j22o0ucdhpop correlation=o-7 sent=(Queue m-1 sent=2026-11-25T09:59:59.500000000Z) error=other because="no stock" body="no stock" function=checkout account=shop region=us-central1
        1 signals, 0 rejected, 0 filtered"#]],
    );
    let mut audit = gen1("", "ERROR");
    audit.as_object_mut().unwrap().remove("textPayload");
    audit["logName"] = json!("projects/shop/logs/cloudaudit.googleapis.com%2Factivity");
    audit["protoPayload"] = json!({"methodName": "UpdateFunction",
        "status": {"code": 3, "message": "Build failed"}});
    check(
        &audit,
        &expect![[r#"
        2026-11-25T09:59:59.500000000Z log severity=Error trace=b24dd86d3aa6a386ff2aa6a7f16660a0 invocation=j22o0ucdhpop error=other because="Build failed" body="Build failed" attributes=methodName,status function=checkout account=shop region=us-central1
        1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn missing_unknown_and_absurd_fields_harm_nothing() {
    check(
        &json!({"logName": "x", "resource": {}}),
        &expect![[r#"
        2026-11-25T10:00:00.000000000Z log severity=Info body="" anonymous
        1 signals, 0 rejected, 0 filtered"#]],
    );
    let mut entry = gen1("plain", "NOT_A_SEVERITY");
    entry["timestamp"] = json!("INVALID_TIMESTAMP");
    entry["receiveTimestamp"] = json!("2026-11-25T09:59:58Z");
    entry["somethingNew"] = json!({"deep": [1, 2]});
    check(
        &entry,
        &expect![[r#"
        2026-11-25T09:59:58.000000000Z log severity=Info trace=b24dd86d3aa6a386ff2aa6a7f16660a0 invocation=j22o0ucdhpop body="plain" function=checkout account=shop region=us-central1
        1 signals, 0 rejected, 0 filtered"#]],
    );
    let mut job = gen1("job output", "INFO");
    job["resource"] = json!({"type": "cloud_run_job", "labels": {"job_name": "nightly",
        "location": "europe-west4", "project_id": "shop"}});
    check(
        &job,
        &expect![[r#"
        2026-11-25T09:59:59.500000000Z log severity=Info trace=b24dd86d3aa6a386ff2aa6a7f16660a0 invocation=j22o0ucdhpop body="job output" function=nightly account=shop region=europe-west4
        1 signals, 0 rejected, 0 filtered"#]],
    );
}
