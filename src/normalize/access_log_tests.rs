use expect_test::{Expect, expect};

use crate::normalize::{Config, Origin, json_log, show};
use crate::signal::Timestamp;

fn check(body: &str, expect: &Expect) {
    let arrived = Timestamp::parse_rfc3339("2026-04-09T12:35:00Z").expect("a time");
    let origin = Origin { arrived, ..Origin::default() };
    expect.assert_eq(&show::outcome(&json_log::normalize(
        body.as_bytes(),
        &origin,
        &Config::default(),
    )));
}

#[test]
fn the_gateways_id_is_no_invocation() {
    check(
        r#"{"requestId":"c6af9ac6-7b61-11e6-9a41-93e8deadbeef","ip":"10.0.0.1","requestTime":"09/Apr/2026:12:34:56 +0000","httpMethod":"GET","resourcePath":"/orders/{id}","status":"200","protocol":"HTTP/1.1","responseLength":"12"}
{"requestId":"JKJaXmPLvHcESHA=","requestTimeEpoch":1775738096123,"httpMethod":"POST","routeKey":"POST /orders","status":"502","integrationRequestId":"8f507cfc","integrationStatus":"200","responseLatency":"31","xrayTraceId":"1-5f29ab21-d4ebf299219a65bd5c31d6da","domainName":"api.shop.example"}"#,
        &expect![[r#"
            2026-04-09T12:34:56.000000000Z log severity=Info correlation=c6af9ac6-7b61-11e6-9a41-93e8deadbeef method=GET route=/orders/{id} body="GET /orders/{id} 200" attributes=ip,protocol,resourcePath,responseLength anonymous
            2026-04-09T12:34:56.123000000Z log severity=Error trace=5f29ab21d4ebf299219a65bd5c31d6da invocation=8f507cfc correlation=JKJaXmPLvHcESHA= took=31ms method=POST route=/orders body="POST /orders 502" attributes=domainName,integrationRequestId,integrationStatus,responseLatency,routeKey,xrayTraceId service=api.shop.example anonymous
            2 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn lines_in_common_log_format_are_read() {
    check(
        r#"10.0.0.1 - - [09/Apr/2026:12:34:56 +0000]"GET /orders HTTP/1.1" 503 12 c6af9ac6-7b61
10.0.0.1 - alice [09/Apr/2026:14:34:56 +0200] "GET /orders HTTP/1.1" 200 12 c6af9ac7-7b61"#,
        &expect![[r#"
            2026-04-09T12:34:56.000000000Z log severity=Error correlation=c6af9ac6-7b61 method=GET route=/orders body="GET /orders 503" anonymous
            2026-04-09T12:34:56.000000000Z log severity=Info correlation=c6af9ac7-7b61 method=GET route=/orders body="GET /orders 200" anonymous
            2 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn what_only_looks_like_it_is_not_taken() {
    check(
        r#"{"level":"INFO","message":"answered","requestId":"8f507cfc","httpMethod":"GET","path":"/","status":200}
10.0.0.1 - - [09/Apr/2026:12:34:56 +0000] "GET /orders HTTP/1.1" 503 12
10.0.0.1 - - [99/Foo/2026:12:34:56 +0000] "GET /orders HTTP/1.1" 503 12 c6af9ac6-7b61"#,
        &expect![[r#"
            2026-04-09T12:35:00.000000000Z log severity=Info invocation=8f507cfc body="answered" attributes=httpMethod,path,status anonymous
            rejected 1: neither JSON nor a log line of a known format
            rejected 2: neither JSON nor a log line of a known format
            1 signals, 2 rejected, 0 filtered"#]],
    );
}
