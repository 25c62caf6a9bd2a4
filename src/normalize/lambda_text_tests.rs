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
    check(
        &format!("START RequestId: {ID} Version: $LATEST\n"),
        &expect!["Start 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c version=$LATEST"],
    );
    check(
        &format!("END RequestId: {ID}\n"),
        &expect!["RuntimeDone 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c"],
    );
    check(
        &format!(
            "REPORT RequestId: {ID}\tDuration: 306.34 ms\tBilled Duration: 610 ms\tMemory Size: 3009 MB\t\
             Max Memory Used: 155 MB\tInit Duration: 303.2 ms\t\nXRAY TraceId: \
             1-5d83c0ad-b8eb33a0b1de97d804fac890\tSegmentId: 31255c3b19bd3637\tSampled: true\t\n"
        ),
        &expect![
            "Report 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c duration=306.34ms billed=610ms size=3155165184 used=162529280 init=303.2ms trace=5d83c0adb8eb33a0b1de97d804fac890 span=31255c3b19bd3637"
        ],
    );
}

#[test]
fn reports_with_spaces_or_literal_escapes_say_the_same() {
    check(
        &format!(
            "REPORT RequestId: {ID} Duration: 0.81 ms  Billed Duration: 100 ms Memory Size: 128 MB \
             Max Memory Used: 90 MB  Init Duration: 1234 ms"
        ),
        &expect![
            "Report 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c duration=810µs billed=100ms size=134217728 used=94371840 init=1.234s"
        ],
    );
    check(
        &format!(
            "REPORT RequestId: {ID}\\tDuration: 1.76 ms\\tBilled Duration: 100 ms\\tMemory Size: 128 MB\\t\
             Max Memory Used: 48 MB\\tInit Duration: 120.96 ms\\t\\n"
        ),
        &expect![
            "Report 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c duration=1.76ms billed=100ms size=134217728 used=50331648 init=120.96ms"
        ],
    );
}

#[test]
fn reports_tell_how_it_ended_and_what_a_restore_took() {
    check(
        &format!(
            "REPORT RequestId: {ID}\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tStatus: timeout"
        ),
        &expect![
            "Report 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c status=Timeout duration=3s billed=3s"
        ],
    );
    check(
        &format!(
            "REPORT RequestId: {ID}\tDuration: 12.00 ms\tBilled Duration: 330 ms\tRestore Duration: 511.25 ms\t\
             Billed Restore Duration: 303 ms\tStatus: error\tError Type: Runtime.OutOfMemory"
        ),
        &expect![
            "Report 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c status=Error error=Runtime.OutOfMemory duration=12ms billed=330ms init=511.25ms"
        ],
    );
}

#[test]
fn an_environment_tells_of_its_init() {
    check(
        "INIT_START Runtime Version: nodejs:18.v6\tRuntime Version ARN: arn:aws:x\n",
        &expect![[
            r#"InitStart - text="INIT_START Runtime Version: nodejs:18.v6\tRuntime Version ARN: arn:aws:x""#
        ]],
    );
    check(
        "INIT_REPORT Init Duration: 9999.47 ms\tPhase: init\tStatus: timeout",
        &expect![[
            r#"InitReport - status=Timeout duration=9.99947s text="INIT_REPORT Init Duration: 9999.47 ms\tPhase: init\tStatus: timeout""#
        ]],
    );
    check(
        "RESTORE_REPORT Restore Duration: 511.25 ms",
        &expect![[
            r#"InitReport - duration=511.25ms text="RESTORE_REPORT Restore Duration: 511.25 ms""#
        ]],
    );
    check(
        "EXTENSION\tName: agent\tState: Ready\tEvents: [INVOKE, SHUTDOWN]",
        &expect![[
            r#"Other - text="EXTENSION\tName: agent\tState: Ready\tEvents: [INVOKE, SHUTDOWN]""#
        ]],
    );
}

#[test]
fn timeouts_and_crashes_end_their_invocation() {
    check(
        &format!("2020-06-09T15:02:26.150Z {ID} Task timed out after 3.00 seconds\n\n"),
        &expect![[
            r#"RuntimeDone 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c at=2020-06-09T15:02:26.150000000Z status=Timeout duration=3s text="Task timed out after 3.00 seconds""#
        ]],
    );
    check(
        &format!(
            "RequestId: {ID} Error: Runtime exited with error: signal: killed\nRuntime.ExitError"
        ),
        &expect![[
            r#"RuntimeDone 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c status=Error error=Runtime.OutOfMemory text="Error: Runtime exited with error: signal: killed\nRuntime.ExitError""#
        ]],
    );
    check(
        &format!("RequestId: {ID} Process exited before completing request"),
        &expect![[
            r#"RuntimeDone 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c status=Error error=Runtime.ExitError text="Process exited before completing request""#
        ]],
    );
}

#[test]
fn runtimes_lines_tell_time_request_and_level() {
    check(
        &format!("2020-03-05T16:30:36.113Z\t{ID}\tDEBUG\thello\tworld\n"),
        &expect![[
            r#"log at=2020-03-05T16:30:36.113000000Z id=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c severity=Some(Debug) "hello\tworld""#
        ]],
    );
    check(
        "2020-03-05T16:30:36.113Z\tundefined\tINFO\tcold",
        &expect![[r#"log at=2020-03-05T16:30:36.113000000Z id=- severity=Some(Info) "cold""#]],
    );
    check(
        &format!("2020-03-05T16:30:36.113Z\t{ID}\tfail\tno stock"),
        &expect![[
            r#"log at=2020-03-05T16:30:36.113000000Z id=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c severity=Some(Error) "no stock""#
        ]],
    );
    check(
        &format!("[INFO]\t2020-03-05T16:30:36.113Z\t{ID}\thello\n"),
        &expect![[
            r#"log at=2020-03-05T16:30:36.113000000Z id=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c severity=Some(Info) "hello""#
        ]],
    );
    check(
        "[ERROR] KeyError: 'id'\nTraceback (most recent call last):",
        &expect![[
            r#"log at=- id=- severity=Some(Error) "KeyError: 'id'\nTraceback (most recent call last):""#
        ]],
    );
    check(
        &format!("2020-03-05 16:30:36 {ID} INFO  Handler:12 - hello"),
        &expect![[
            r#"log at=- id=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c severity=Some(Info) "INFO  Handler:12 - hello""#
        ]],
    );
    check(
        "2020-03-05T16:30:36Z WARN slow",
        &expect![[r#"log at=2020-03-05T16:30:36.000000000Z id=- severity=Some(Warn) "WARN slow""#]],
    );
    check("ERROR: no stock", &expect![[r#"log at=- id=- severity=Some(Error) "ERROR: no stock""#]]);
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
