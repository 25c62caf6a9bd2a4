use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;

fn show_platform(line: &PlatformLine) -> String {
    let event = &line.event;
    let mut text = format!("{:?} {}", event.stage, event.invocation_id.as_deref().unwrap_or("-"));
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, " {name}={value}");
        }
    };
    add("at", line.has_time.then(|| event.time.to_string()));
    add("version", line.version.as_ref().map(ToString::to_string));
    add("status", event.status.map(|s| format!("{s:?}")));
    add("error", event.error_type.as_ref().map(ToString::to_string));
    add("duration", event.duration.map(|d| format!("{d:?}")));
    add("billed", event.billed.map(|d| format!("{d:?}")));
    add("size", event.memory_size_bytes.map(|n| n.to_string()));
    add("used", event.memory_used_bytes.map(|n| n.to_string()));
    add("init", event.init_duration.map(|d| format!("{d:?}")));
    add("trace", event.trace.map(|t| t.trace_id.to_string()));
    add("span", event.span_id.map(|s| s.to_string()));
    add("text", event.text.as_ref().map(|t| format!("{t:?}")));
    text
}

fn check(line: &str, expect: &Expect) {
    let shown = match read(line, Timestamp::EPOCH) {
        Line::Platform(line) => show_platform(&line),
        Line::Log(log) => format!(
            "log at={} id={} severity={:?} {:?}",
            log.time.map_or_else(|| "-".to_owned(), |t| t.to_string()),
            log.invocation_id.unwrap_or("-"),
            log.severity,
            log.message
        ),
        Line::Plain => "plain".to_owned(),
    };
    expect.assert_eq(&shown);
}

const ID: &str = "8edab1f8-7d34-4a8e-a965-15ccbbb78d4c";

#[test]
fn an_invocation_starts_ends_and_is_reported() {
    check(&format!("START RequestId: {ID} Version: $LATEST\n"), &expect![[]]);
    check(&format!("END RequestId: {ID}\n"), &expect![[]]);
    check(
        &format!(
            "REPORT RequestId: {ID}\tDuration: 306.34 ms\tBilled Duration: 610 ms\tMemory Size: 3009 MB\t\
             Max Memory Used: 155 MB\tInit Duration: 303.2 ms\t\nXRAY TraceId: \
             1-5d83c0ad-b8eb33a0b1de97d804fac890\tSegmentId: 31255c3b19bd3637\tSampled: true\t\n"
        ),
        &expect![[]],
    );
}

#[test]
fn reports_with_spaces_or_literal_escapes_say_the_same() {
    check(
        &format!(
            "REPORT RequestId: {ID} Duration: 0.81 ms  Billed Duration: 100 ms Memory Size: 128 MB \
             Max Memory Used: 90 MB  Init Duration: 1234 ms"
        ),
        &expect![[]],
    );
    check(
        &format!(
            "REPORT RequestId: {ID}\\tDuration: 1.76 ms\\tBilled Duration: 100 ms\\tMemory Size: 128 MB\\t\
             Max Memory Used: 48 MB\\tInit Duration: 120.96 ms\\t\\n"
        ),
        &expect![[]],
    );
}

#[test]
fn reports_tell_how_it_ended_and_what_a_restore_took() {
    check(
        &format!("REPORT RequestId: {ID}\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tStatus: timeout"),
        &expect![[]],
    );
    check(
        &format!(
            "REPORT RequestId: {ID}\tDuration: 12.00 ms\tBilled Duration: 330 ms\tRestore Duration: 511.25 ms\t\
             Billed Restore Duration: 303 ms\tStatus: error\tError Type: Runtime.OutOfMemory"
        ),
        &expect![[]],
    );
}

#[test]
fn an_environment_tells_of_its_init() {
    check("INIT_START Runtime Version: nodejs:18.v6\tRuntime Version ARN: arn:aws:x\n", &expect![[]]);
    check(
        "INIT_REPORT Init Duration: 9999.47 ms\tPhase: init\tStatus: timeout",
        &expect![[]],
    );
    check("RESTORE_REPORT Restore Duration: 511.25 ms", &expect![[]]);
    check("EXTENSION\tName: agent\tState: Ready\tEvents: [INVOKE, SHUTDOWN]", &expect![[]]);
}

#[test]
fn timeouts_and_crashes_end_their_invocation() {
    check(
        &format!("2020-06-09T15:02:26.150Z {ID} Task timed out after 3.00 seconds\n\n"),
        &expect![[]],
    );
    check(
        &format!("RequestId: {ID} Error: Runtime exited with error: signal: killed\nRuntime.ExitError"),
        &expect![[]],
    );
    check(&format!("RequestId: {ID} Process exited before completing request"), &expect![[]]);
}

#[test]
fn runtimes_lines_tell_time_request_and_level() {
    check(&format!("2020-03-05T16:30:36.113Z\t{ID}\tDEBUG\thello\tworld\n"), &expect![[]]);
    check("2020-03-05T16:30:36.113Z\tundefined\tINFO\tcold", &expect![[]]);
    check(&format!("2020-03-05T16:30:36.113Z\t{ID}\tfail\tno stock"), &expect![[]]);
    check(&format!("[INFO]\t2020-03-05T16:30:36.113Z\t{ID}\thello\n"), &expect![[]]);
    check("[ERROR] KeyError: 'id'\nTraceback (most recent call last):", &expect![[]]);
    check(&format!("2020-03-05 16:30:36 {ID} INFO  Handler:12 - hello"), &expect![[]]);
    check("2020-03-05T16:30:36Z WARN slow", &expect![[]]);
    check("ERROR: no stock", &expect![[]]);
}

#[test]
fn what_only_looks_like_it_is_plain() {
    for line in [
        "REPORT invalid report log line",
        "REPORT RequestId: 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c no numbers",
        "START RequestId: the-best Version: 1",
        "RequestId: 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c was fine",
        "our Task timed out after 3 tries",
        "Information about orders",
        "[1,\"NR_LAMBDA_MONITORING\",\"H4sI\"]",
        "12 items",
        "",
    ] {
        check(line, &expect!["plain"]);
    }
}
