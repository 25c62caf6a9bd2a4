use expect_test::{Expect, expect};

use super::*;
use crate::normalize::show;
use crate::signal::Timestamp;

fn check(body: &str, expect: &Expect) {
    let arrived = Timestamp::parse_rfc3339("2019-11-15T11:30:00Z").expect("a time");
    let origin = Origin { arrived, ..Origin::default() };
    expect.assert_eq(&show::outcome(&normalize(body.as_bytes(), &origin, &Config::default())));
}

#[test]
fn a_functions_entry_is_a_record_of_its_request() {
    check(
        r#"[{"id":"1","deploymentId":"dpl_1","source":"lambda","host":"a.vercel.app","timestamp":1573817250283,"projectId":"p","projectName":"shop","level":"info","message":"order taken {\"correlation_id\":\"o-17\"}","entrypoint":"api/orders.js","requestId":"643af4e3","statusCode":200,"executionRegion":"sfo1","traceId":"1b02cd14bb8642fd092bc23f54c7ffcd","spanId":"f24e8631bd11faa7","proxy":{"method":"POST","path":"/api/orders","statusCode":200}},
            {"id":"2","source":"lambda","timestamp":1573817250284,"projectId":"p","projectName":"shop","level":"info","entrypoint":"api/orders.js","requestId":"643af4e4","statusCode":-1,"proxy":{"method":"POST","statusCode":502}},
            {"id":"3","source":"edge","timestamp":1573817250285,"projectId":"p","projectName":"shop","level":"info","entrypoint":"middleware","requestId":"643af4e5","statusCode":500},
            {"id":"4","source":"build","timestamp":1573817250286,"projectId":"p","level":"error","message":"Build failed"}]"#,
        &expect![[r#"
            2019-11-15T11:27:30.283000000Z log severity=Info trace=1b02cd14bb8642fd092bc23f54c7ffcd/f24e8631bd11faa7 invocation=643af4e3 correlation=o-17 method=POST body="order taken {\"correlation_id\":\"o-17\"}" attributes=entrypoint,host,projectId,proxy,source,statusCode function=shop/api/orders.js service=shop version=dpl_1 region=sfo1
            2019-11-15T11:27:30.284000000Z log severity=Error invocation=643af4e4 error=other because="no answer: the function ended before it "… method=POST body="" attributes=entrypoint,projectId,proxy,source,statusCode function=shop/api/orders.js service=shop
            2019-11-15T11:27:30.285000000Z log severity=Info invocation=643af4e5 error=other because="HTTP 500" body="" attributes=entrypoint,projectId,source,statusCode function=shop/middleware service=shop
            2019-11-15T11:27:30.286000000Z log severity=Error error=other because="Build failed" body="Build failed" attributes=projectId,source service=p
            4 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn the_lines_of_lambda_in_an_entry_are_the_platforms() {
    check(
        r#"{"id":"1","source":"lambda","timestamp":1573817250283,"projectName":"shop","entrypoint":"api/a.js","requestId":"r","level":"info","message":"START RequestId: 643af4e3-975a-4cc7-9e7a-1eda11539d90 Version: $LATEST\nhello\nEND RequestId: 643af4e3-975a-4cc7-9e7a-1eda11539d90\nREPORT RequestId: 643af4e3-975a-4cc7-9e7a-1eda11539d90\tDuration: 249.56 ms\tBilled Duration: 250 ms\tMemory Size: 1024 MB\tMax Memory Used: 93 MB\t\n"}"#,
        &expect![[r#"
            2019-11-15T11:27:30.033440000Z platform Start invocation=r function=shop/api/a.js service=shop
            2019-11-15T11:27:30.283000000Z platform RuntimeDone invocation=r function=shop/api/a.js service=shop
            2019-11-15T11:27:30.283000000Z platform Report invocation=r duration=249.56ms billed=250ms size=1073741824 used=97517568 function=shop/api/a.js service=shop
            2019-11-15T11:27:30.283000000Z log severity=Info invocation=r body="hello" attributes=entrypoint,source function=shop/api/a.js service=shop
            4 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn what_is_no_entry_is_named_and_browsers_are_filtered() {
    check(
        r#"{"schema":"vercel.speed_insights.v1","timestamp":"2023-09-14T15:30:00.000Z","metricType":"CLS","value":0.1}
{"id":"1","message":"no time"}
7"#,
        &expect![[r#"
            rejected 1: a log entry needs a timestamp
            rejected 2: a log entry is an object
            0 signals, 2 rejected, 1 filtered"#]],
    );
    check("[]", &expect!["0 signals, 0 rejected, 0 filtered"]);
    check("<html>", &expect!["undecodable: a log entry is an object"]);
}
