use expect_test::{Expect, expect};

use super::*;
use crate::normalize::show;

fn shown(body: &str, function: Option<&str>) -> String {
    let origin = Origin {
        arrived: Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap(),
        function: function.map(str::to_owned),
        ..Origin::default()
    };
    show::outcome(&normalize(body.as_bytes(), &origin, &Config::default()))
}

fn check(events: &[&str], expect: &Expect) {
    expect.assert_eq(&shown(&format!("[{}]", events.join(",")), Some("pay")));
}

#[test]
fn an_invocation_is_told_from_start_to_report() {
    check(
        &[
            r#"{"time":"2026-11-25T09:59:03.165Z","type":"platform.start","record":{"requestId":"459921b5","version":"3","tracing":{"spanId":"24cd7d670fa455f0","type":"X-Amzn-Trace-Id","value":"Root=1-6352a70e-1e2c502e358361800241fd45;Parent=35465b3a9e2f7c6a;Sampled=1"}}}"#,
            r#"{"time":"2026-11-25T09:59:05.764Z","type":"platform.runtimeDone","record":{"requestId":"459921b5","status":"failure","errorType":"Runtime.ExitError","metrics":{"durationMs":2599.0,"producedBytes":8}}}"#,
            r#"{"time":"2026-11-25T09:59:05.766Z","type":"platform.report","record":{"requestId":"459921b5","metrics":{"durationMs":2599.4,"billedDurationMs":2600,"memorySizeMB":128,"maxMemoryUsedMB":94,"initDurationMs":549.04},"status":"timeout"}}"#,
        ],
        &expect![[r#"
            2026-11-25T09:59:03.165000000Z platform Start invocation=459921b5 trace=6352a70e1e2c502e358361800241fd45/35465b3a9e2f7c6a span=24cd7d670fa455f0 function=pay version=3
            2026-11-25T09:59:05.764000000Z platform RuntimeDone invocation=459921b5 status=Failure error_type=Runtime.ExitError duration=2.599s function=pay
            2026-11-25T09:59:05.766000000Z platform Report invocation=459921b5 status=Timeout duration=2.5994s billed=2.6s init=549.04ms size=134217728 used=98566144 function=pay
            3 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn a_report_of_a_run_of_decades_is_refused() {
    check(
        &[
            r#"{"time":"2026-11-25T09:59:05Z","type":"platform.report","record":{"requestId":"r-1","metrics":{"durationMs":1e12},"status":"success"}}"#,
            r#"{"time":"2026-11-25T09:59:05Z","type":"platform.report","record":{"requestId":"r-2","metrics":{"durationMs":1,"initDurationMs":1e12},"status":"success"}}"#,
            r#"{"time":"2026-11-25T09:59:05Z","type":"platform.report","record":{"requestId":"r-3","metrics":{"durationMs":31622400000},"status":"success"}}"#,
        ],
        &expect![[r#"
            2026-11-25T09:59:05.000000000Z platform Report invocation=r-3 status=Success duration=31622400s function=pay
            rejected 0: the platform tells a duration of more than a year
            rejected 1: the platform tells a duration of more than a year
            1 signals, 2 rejected, 0 filtered"#]],
    );
}

#[test]
fn an_environment_tells_of_init_restore_and_lost_logs() {
    check(
        &[
            r#"{"time":"2026-11-25T09:59:00Z","type":"platform.initStart","record":{"initializationType":"on-demand","phase":"init"}}"#,
            r#"{"time":"2026-11-25T09:59:01Z","type":"platform.initRuntimeDone","record":{"status":"success"}}"#,
            r#"{"time":"2026-11-25T09:59:01Z","type":"platform.initReport","record":{"metrics":{"durationMs":500.0},"status":"error","errorType":"Runtime.ImportModuleError"}}"#,
            r#"{"time":"2026-11-25T09:59:01Z","type":"platform.initStart","record":{"initializationType":"provisioned-concurrency","phase":"init"}}"#,
            r#"{"time":"2026-11-25T09:59:01Z","type":"platform.restoreStart","record":{}}"#,
            r#"{"time":"2026-11-25T09:59:01Z","type":"platform.restoreReport","record":{"status":"success","metrics":{"durationMs":150.5}}}"#,
            r#"{"time":"2026-11-25T09:59:01Z","type":"platform.logsDropped","record":{"reason":"BufferFull","droppedRecords":1,"droppedBytes":1024}}"#,
            r#"{"time":"2026-11-25T09:59:01Z","type":"platform.extension","record":{"name":"x","state":"Ready","events":["SHUTDOWN"]}}"#,
        ],
        &expect![[r#"
            2026-11-25T09:59:00.000000000Z platform InitStart function=pay
            2026-11-25T09:59:01.000000000Z platform Other status=Success text="platform.initRuntimeDone" function=pay
            2026-11-25T09:59:01.000000000Z platform InitReport status=Error error_type=Runtime.ImportModuleError duration=500ms function=pay
            2026-11-25T09:59:01.000000000Z platform Other text="platform.initStart" function=pay
            2026-11-25T09:59:01.000000000Z platform InitStart function=pay
            2026-11-25T09:59:01.000000000Z platform InitReport status=Success duration=150.5ms function=pay
            2026-11-25T09:59:01.000000000Z platform LogsDropped text="BufferFull: 1 records, 1024 bytes" function=pay
            2026-11-25T09:59:01.000000000Z platform Other text="platform.extension" function=pay
            8 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn function_and_extension_records_may_be_text_or_objects() {
    check(
        &[
            r#"{"time":"2026-11-25T09:59:00Z","type":"function","record":"hello\n"}"#,
            r#"{"time":"2026-11-25T09:59:00Z","type":"function","record":"2026-11-25T09:58:20.113Z\t8edab1f8-7d34-4a8e-a965-15ccbbb78d4c\tINFO\thello"}"#,
            r#"{"time":"2026-11-25T09:59:00Z","type":"function","record":{"timestamp":"2026-11-25T09:58:59Z","level":"ERROR","requestId":"r-1","message":"no"}}"#,
            r#"{"time":"2026-11-25T09:59:00Z","type":"extension","record":"flushed"}"#,
        ],
        &expect![[r#"
            2026-11-25T09:59:00.000000000Z log body="hello" function=pay anonymous
            2026-11-25T09:58:20.113000000Z log severity=Info invocation=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c body="hello" function=pay anonymous
            2026-11-25T09:58:59.000000000Z log severity=Error invocation=r-1 error=other because="no" body="no" function=pay anonymous
            2026-11-25T09:59:00.000000000Z log body="flushed" attributes=log.source function=pay anonymous
            4 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn legacy_events_are_read() {
    check(
        &[
            r#"{"time":"2026-11-25T09:59:00Z","type":"platform.end","record":{"requestId":"459921b5"}}"#,
            r#"{"time":"2026-11-25T09:59:00Z","type":"platform.fault","record":"RequestId: d783b35e-a91d-4251-af17-035953428a2c Process exited before completing request"}"#,
            r#"{"time":"2026-11-25T09:59:00Z","type":"platform.runtimeDone","record":"done"}"#,
        ],
        &expect![[r#"
            2026-11-25T09:59:00.000000000Z platform RuntimeDone invocation=459921b5 function=pay
            2026-11-25T09:59:00.000000000Z platform RuntimeDone invocation=d783b35e-a91d-4251-af17-035953428a2c status=Error error_type=Runtime.ExitError text="Process exited before completing request" function=pay
            2026-11-25T09:59:00.000000000Z platform Other text="done" function=pay
            3 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn bad_events_are_rejected_one_by_one() {
    check(
        &[
            r#"{"hello":"world"}"#,
            r#"{"time":"2026-11-25T09:59:00Z","type":"platform.start"}"#,
            r#"{"time":"noon","type":"platform.start","record":{}}"#,
            r#"{"time":"2026-11-25T09:59:00Z","type":"weather","record":{}}"#,
            r#"{"time":"2026-11-25T09:59:00Z","type":"function","record":7}"#,
            r#"{"time":"2026-11-25T09:59:00Z","type":"platform.start","record":{"requestId":"r-1"}}"#,
        ],
        &expect![[r#"
            2026-11-25T09:59:00.000000000Z platform Start invocation=r-1 function=pay
            rejected 0: an event needs a type
            rejected 1: an event needs a record
            rejected 2: a platform event needs a time
            rejected 3: the type is neither platform.*, function nor extension
            rejected 4: the record is neither text nor an object
            1 signals, 5 rejected, 0 filtered"#]],
    );
    // The list was read: sent again it would be no better.
    assert_eq!(
        shown(r#"[{"time":"x"}]"#, None),
        "rejected 0: an event needs a type\n0 signals, 1 rejected, 0 filtered"
    );
    assert!(shown(r#"{"time":"x"}"#, None).starts_with("undecodable"));
    assert!(shown("[{'time': 'x'}]", None).starts_with("undecodable"));
    assert!(shown("", None).starts_with("undecodable"));
}

#[test]
fn the_batch_names_its_function_where_the_header_does_not() {
    let start = r#"{"time":"2026-11-25T09:59:03Z","type":"platform.start","record":{"requestId":"r-1","functionArn":"arn:aws:lambda:eu-west-1:123456789012:function:ship:4"}}"#;
    let log = r#"{"time":"2026-11-25T09:59:03Z","type":"function","record":"hi"}"#;
    let init = r#"{"time":"2026-11-25T09:59:02Z","type":"platform.initStart","record":{"functionName":"ship","functionVersion":"4","instanceId":"i-1"}}"#;
    let expect = expect![[r#"
        2026-11-25T09:59:03.000000000Z log body="hi" function=ship account=123456789012 region=eu-west-1 anonymous
        2026-11-25T09:59:03.000000000Z platform Start invocation=r-1 function=ship account=123456789012 region=eu-west-1
        2026-11-25T09:59:02.000000000Z platform InitStart function=ship version=4 account=123456789012 region=eu-west-1
        3 signals, 0 rejected, 0 filtered"#]];
    expect.assert_eq(&shown(&format!("[{log},{start}]\n[{init}]"), None));
}

#[test]
fn an_event_sent_twice_has_one_identity_and_a_retry_has_another() {
    let identity = |time: &str| {
        let origin = Origin {
            arrived: Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap(),
            function: Some("pay".to_owned()),
            ..Origin::default()
        };
        let body = format!(
            r#"[{{"time":"{time}","type":"platform.start","record":{{"requestId":"r-1"}}}}]"#
        );
        let normalized = normalize(body.as_bytes(), &origin, &Config::default()).unwrap();
        normalized.batch.signals[0].identity.unwrap()
    };
    assert_eq!(identity("2026-11-25T09:59:00.000Z"), identity("2026-11-25T09:59:00Z"));
    assert_ne!(identity("2026-11-25T09:59:00Z"), identity("2026-11-25T09:58:00Z"));
}

/// In a burst, environments of one function begin and end in the same millisecond.
#[test]
fn inits_of_two_environments_in_one_millisecond_are_two() {
    let inits = |instance: &str, ms: f64| {
        let body = format!(
            r#"[{{"time":"2026-11-25T09:59:00Z","type":"platform.initStart","record":{{"initializationType":"on-demand","functionName":"pay","instanceId":"{instance}"}}}},
                {{"time":"2026-11-25T09:59:01Z","type":"platform.initReport","record":{{"initializationType":"on-demand","status":"success","metrics":{{"durationMs":{ms}}}}}}}]"#
        );
        let origin = Origin::default();
        let read = normalize(body.as_bytes(), &origin, &Config::default()).unwrap();
        read.batch.signals.iter().map(|signal| signal.identity.unwrap()).collect::<Vec<_>>()
    };
    let (one, same, other) = (inits("a", 310.5), inits("a", 310.5), inits("b", 310.5));
    assert_eq!(one, same);
    assert!(one.iter().all(|identity| !other.contains(identity)), "{one:?} {other:?}");
    // Where no event tells the environment's name, what it took tells two apart.
    assert!(!inits("", 310.5).contains(&inits("", 299.0)[1]));
}
