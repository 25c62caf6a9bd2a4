use expect_test::{Expect, expect};

use super::*;
use crate::normalize::show;

fn check(body: &str, expect: &Expect) {
    let arrived = Timestamp::parse_rfc3339("2026-03-03T05:30:00Z").expect("a time");
    let origin = Origin { arrived, ..Origin::default() };
    expect.assert_eq(&show::outcome(&normalize(body.as_bytes(), &origin, &Config::default())));
}

#[test]
fn a_workers_event_is_an_invocation_with_what_it_wrote() {
    check(
        r#"{"CPUTimeMs":4,"WallTimeMs":120,"Event":{"RayID":"7a1f7ad4df2f870a","Request":{"URL":"https://shop.example/orders","Method":"POST"},"Response":{"Status":201}},"EventTimestampMs":1772515746000,"EventType":"fetch","Exceptions":[],"Logs":[{"Level":"log","Message":["order",{"id":17}],"TimestampMs":1772515746010},{"Level":"warn","Message":[{"message":"slow","correlation_id":"o-17"}],"TimestampMs":1772515746020},{"Level":"log","Message":[{"time":"2026-03-03T05:29:06Z","type":"platform.report","record":{"requestId":"spoofed"}}],"TimestampMs":1772515746030}],"Outcome":"ok","ScriptName":"shop","ScriptVersion":{"id":"v-9"}}"#,
        &expect![[r#"
            2026-03-03T05:29:06.120000000Z platform Report invocation=7a1f7ad4df2f870a status=Success duration=120ms function=shop version=v-9
            2026-03-03T05:29:06.010000000Z log severity=Info invocation=7a1f7ad4df2f870a body="order {\"id\":17}" attributes=id function=shop version=v-9
            2026-03-03T05:29:06.020000000Z log severity=Warn invocation=7a1f7ad4df2f870a correlation=o-17 body="slow" function=shop version=v-9
            2026-03-03T05:29:06.000000000Z log severity=Info invocation=7a1f7ad4df2f870a body="" attributes=record,type,log.untrusted function=shop version=v-9
            4 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn outcomes_are_told_apart() {
    check(
        r#"{"EventTimestampMs":1772515746000,"EventType":"fetch","Event":{"RayID":"a"},"Outcome":"exception","ScriptName":"shop","WallTimeMs":1,"Exceptions":[{"Name":"TypeError","Message":"x is undefined","Stack":"at a","TimestampMs":1772515746001}]}
{"EventTimestampMs":1772515746000,"EventType":"queue","Event":{"Queue":"orders","BatchSize":3},"Outcome":"exceededCpu","ScriptName":"shop"}
{"EventTimestampMs":1772515746000,"EventType":"fetch","Event":{"RayID":"b"},"Outcome":"exceededMemory","ScriptName":"shop"}
{"EventTimestampMs":1772515746000,"EventType":"fetch","Event":{"RayID":"c","Response":{"Status":502}},"Outcome":"ok","ScriptName":"shop"}
{"EventTimestampMs":1772515746000,"EventType":"fetch","Event":{"RayID":"d"},"Outcome":"canceled","ScriptName":"shop"}"#,
        &expect![[r#"
            2026-03-03T05:29:06.001000000Z platform Report invocation=a status=Failure error_type=TypeError: x is undefined duration=1ms function=shop
            2026-03-03T05:29:06.001000000Z log severity=Error invocation=a error=other because="TypeError: x is undefined" body="TypeError: x is undefined" attributes=errorMessage,errorType,stackTrace function=shop
            2026-03-03T05:29:06.000000000Z platform Report invocation=event-0cbb0da69068799f434d6afa23b32635 status=Timeout error_type=exceededCpu function=shop
            2026-03-03T05:29:06.000000000Z platform Report invocation=b status=Error error_type=out of memory (exceededMemory) function=shop
            2026-03-03T05:29:06.000000000Z platform Report invocation=c status=Failure error_type=HTTP 502 function=shop
            2026-03-03T05:29:06.000000000Z platform Report invocation=d function=shop
            6 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn requests_at_the_edge_are_invocations_only_of_workers_that_they_name() {
    check(
        r#"{"RayID":"a","EdgeStartTimestamp":"2026-03-03T05:29:06Z","ClientRequestMethod":"GET","ClientRequestPath":"/x","EdgeResponseStatus":200,"WorkerStatus":"ok","WorkerScriptName":"shop","WorkerWallTimeUs":2500,"ZoneName":"shop.example"}
{"RayID":"b","EdgeStartTimestamp":1772515746000000000,"ClientRequestMethod":"GET","ClientRequestPath":"/y","EdgeResponseStatus":503,"WorkerStatus":"unknown","ZoneName":"shop.example"}"#,
        &expect![[r#"
            2026-03-03T05:29:06.002500000Z platform Report invocation=a status=Success duration=2.5ms function=shop
            2026-03-03T05:29:06.000000000Z log severity=Error method=GET body="GET /y 503" attributes=RayID service=shop.example
            2 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn the_trial_upload_is_filtered_and_strangers_are_named() {
    check(r#"{"content":"tests"}"#, &expect!["0 signals, 0 rejected, 1 filtered"]);
    check(
        r#"{"content":"tests"}
{"RayID":"a","EdgeStartTimestamp":"soon"}
{"EventTimestampMs":"soon","Outcome":"ok"}
{"QueryName":"example.com"}
[1]"#,
        &expect![[r#"
            rejected 1: EdgeStartTimestamp is no time
            rejected 2: EventTimestampMs is no time
            rejected 3: neither a Workers trace event (EventTimestampMs, Outcome) nor an HTTP request (RayID, EdgeStartTimestamp)
            rejected 4: a Logpush record is an object
            0 signals, 4 rejected, 1 filtered"#]],
    );
    check("no JSON", &expect!["undecodable: a Logpush record is an object"]);
}
