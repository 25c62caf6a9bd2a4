use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::normalize::config::Fields;
use crate::normalize::show;

const ARRIVED: &str = "2026-11-25T10:00:00Z";

fn origin() -> Origin {
    Origin { arrived: Timestamp::parse_rfc3339(ARRIVED).unwrap(), ..Origin::default() }
}

fn shown(body: impl AsRef<[u8]>, origin: &Origin, config: &Config) -> String {
    show::outcome(&normalize(body.as_ref(), origin, config))
}

fn check(body: impl AsRef<[u8]>, expect: &Expect) {
    expect.assert_eq(&shown(body, &origin(), &Config::default()));
}

fn check_with(fields: Fields, body: &str, expect: &Expect) {
    let config = Config { fields, ..Config::default() };
    expect.assert_eq(&shown(body, &origin(), &config));
}

#[test]
fn lambdas_own_json_format_is_read() {
    check(
        r#"{"timestamp":"2026-11-25T09:59:58.078Z","level":"INFO","requestId":"d661f7cf-9208-46b9-85b0-213b04a91065","message":"paid"}
{"timestamp":"2026-11-25T09:59:59Z","level":"ERROR","requestId":"d661f7cf-9208-46b9-85b0-213b04a91065","errorType":"TimeoutError","errorMessage":"upstream timed out","stackTrace":["at x"]}
{"time":"2026-11-25T09:59:59.100Z","type":"platform.report","record":{"requestId":"d661f7cf-9208-46b9-85b0-213b04a91065","status":"success","metrics":{"durationMs":1.317,"billedDurationMs":2,"memorySizeMB":1024,"maxMemoryUsedMB":68,"initDurationMs": 10}}}"#,
        &expect![[r#"
            2026-11-25T09:59:58.078000000Z log severity=Info invocation=d661f7cf-9208-46b9-85b0-213b04a91065 body="paid" anonymous
            2026-11-25T09:59:59.000000000Z log severity=Error invocation=d661f7cf-9208-46b9-85b0-213b04a91065 error=timeout because="TimeoutError: upstream timed out" body="" attributes=errorMessage,errorType,stackTrace anonymous
            2026-11-25T09:59:59.100000000Z platform Report invocation=d661f7cf-9208-46b9-85b0-213b04a91065 status=Success duration=1.317ms billed=2ms init=10ms size=1073741824 used=71303168
            3 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn user_code_cannot_pose_as_the_platform() {
    check(
        r#"{"time":"2026-11-25T09:59:59Z","type":"platform.report","record":{"requestId":"d661f7cf-9208-46b9-85b0-213b04a91065"},"level":"INFO","message":"x"}"#,
        &expect![[r#"
            2026-11-25T09:59:59.000000000Z log severity=Info body="x" attributes=record,type,log.untrusted anonymous
            1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn powertools_records_of_any_casing_are_read() {
    check(
        r#"[{"level":"INFO","location":"collect.handler:9","message":"Collecting payment","timestamp":"2026-11-25 09:47:12,494+0000","service":"payment","cold_start":true,"function_name":"pay","function_memory_size":"128","function_arn":"arn:aws:lambda:eu-west-1:123456789012:function:pay:7","function_request_id":"52fdfc07-2182-154f-163f-5f0f9a621d72","correlation_id":"c-1","xray_trace_id":"1-66bc8205-21f8b5190da519d22b2b0533"},
{"Level":"Warning","Message":"slow","Timestamp":"2026-11-25T09:47:12Z","Service":"payment","ColdStart":false,"FunctionName":"pay","FunctionMemorySize":256,"FunctionRequestId":"52fdfc07-2182-154f-163f-5f0f9a621d72","CorrelationId":"c-1","XrayTraceId":"1-66bc8205-21f8b5190da519d22b2b0533"},
{"level":"ERROR","message":"no luck","timestamp":"2026-11-25T09:47:12Z","service":"service_undefined","exception_name":"ConnectionError","exception":"Traceback (most recent call last):\n  File\nConnectionError: refused"}]"#,
        &expect![[r#"
            2026-11-25T09:47:12.494000000Z log severity=Info trace=66bc820521f8b5190da519d22b2b0533 invocation=52fdfc07-2182-154f-163f-5f0f9a621d72 correlation=c-1 cold_start=true body="Collecting payment" attributes=function_arn,location function=pay service=payment version=7 account=123456789012 region=eu-west-1 memory=134217728 anonymous
            2026-11-25T09:47:12.000000000Z log severity=Warn trace=66bc820521f8b5190da519d22b2b0533 invocation=52fdfc07-2182-154f-163f-5f0f9a621d72 correlation=c-1 cold_start=false body="slow" function=pay service=payment memory=268435456 anonymous
            2026-11-25T09:47:12.000000000Z log severity=Error error=connection because="ConnectionError: no luck" body="no luck" attributes=exception,exception_name,service anonymous
            3 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn generic_loggers_are_read() {
    check(
        r#"{"level":30,"time":1795600700250,"pid":1,"msg":"pino"}
{"level":50,"time":1795600700250,"err":{"type":"Error","message":"connect ECONNREFUSED","stack":"x"},"msg":"pino error"}
{"level":"warn","message":"winston","timestamp":"2026-11-25T09:58:20.250Z"}
{"event":"structlog","level":"error","timestamp":"2026-11-25T09:58:20.250Z","exc_info":"Traceback\n  x\nValueError: bad order"}
{"level":"dpanic","ts":1795600700.25,"caller":"x.go:1","msg":"zap"}
{"@timestamp":"2026-11-25T09:58:20.250Z","log.level":"info","message":"ecs","trace.id":"0af7651916cd43dd8448eb211c80319c","span.id":"b7ad6b7169203331","service.name":"shop"}
{"asctime":"2026-11-25 09:58:20,250","levelname":"CRITICAL","message":"python"}"#,
        &expect![[r#"
            2026-11-25T09:58:20.250000000Z log severity=Info body="pino" attributes=pid anonymous
            2026-11-25T09:58:20.250000000Z log severity=Error error=connection because="Error: connect ECONNREFUSED" body="pino error" attributes=err anonymous
            2026-11-25T09:58:20.250000000Z log severity=Warn body="winston" anonymous
            2026-11-25T09:58:20.250000000Z log severity=Error error=other because="ValueError: bad order" body="structlog" attributes=exc_info anonymous
            2026-11-25T09:58:20.250000000Z log severity=Fatal error=other because="zap" body="zap" attributes=caller anonymous
            2026-11-25T09:58:20.250000000Z log severity=Info trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331 body="ecs" service=shop anonymous
            2026-11-25T09:58:20.250000000Z log severity=Fatal error=other because="python" body="python" anonymous
            7 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn configured_names_are_looked_up_first_and_paths_reach_in() {
    let name = |name: &str| vec![name.to_owned()];
    let fields = Fields {
        correlation_id: name("ctx.order"),
        function: name("svc"),
        invocation_id: name("reqId"),
        timestamp: name("when"),
        level: name("lvl"),
        duration_ms: name("took"),
        error: name("oops"),
        cold_start: name("cold"),
        sent_ids: name("out"),
        received_ids: name("in"),
    };
    check_with(
        fields,
        r#"{"svc":"pay","reqId":"r-1","when":1795600700,"lvl":"info","took":12.5,"cold":1,"oops":"card declined","out":["m-2","m-3"],"in":"m-1","ctx":{"order":"o-1"},"msg":"done"}
{"svc":"pay","when":1795600700,"oops":false,"msg":"fine"}
{"svc":"pay","when":1795600700,"oops":{"type":"Throttled","message":"Rate exceeded"},"msg":"bad"}"#,
        &expect![[r#"
            2026-11-25T09:58:20.000000000Z log severity=Info invocation=r-1 correlation=o-1 sent=(Queue m-2 sent=2026-11-25T09:58:20.000000000Z) sent=(Queue m-3 sent=2026-11-25T09:58:20.000000000Z) received=(Queue m-1 failed) cold_start=true took=12.5ms error=other because="card declined" body="done" attributes=ctx,oops,took function=pay anonymous
            2026-11-25T09:58:20.000000000Z log body="fine" attributes=oops function=pay anonymous
            2026-11-25T09:58:20.000000000Z log error=throttled because="Throttled: Rate exceeded" body="bad" attributes=oops function=pay anonymous
            3 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn the_answer_of_a_send_call_names_what_was_sent() {
    check(
        r#"{"message":"sent","response":{"MessageId":"m-1","MD5OfMessageBody":"x","ResponseMetadata":{"RequestId":"r"}}}
{"message":"put","Entries":[{"EventId":"e-1"}],"FailedEntryCount":0}
{"message":"told","topic_arn":"arn:aws:sns:eu-west-1:1:news","response":{"MessageId":"n-1","$metadata":{}}}
{"message":"both","messageId":"m-1","queue":"orders","response":{"MessageId":"m-2","MD5OfMessageBody":"x"},"sentMessageId":"m-2"}
{"message":"who knows","response":{"MessageId":"m-1"}}
{"message":"answer","response":{"batchItemFailures":[{"itemIdentifier":"m-7"}]}}"#,
        &expect![[r#"
            2026-11-25T10:00:00.000000000Z log sent=(Queue m-1 sent=2026-11-25T10:00:00.000000000Z) body="sent" attributes=response anonymous
            2026-11-25T10:00:00.000000000Z log sent=(EventBus e-1 sent=2026-11-25T10:00:00.000000000Z) body="put" attributes=Entries,FailedEntryCount anonymous
            2026-11-25T10:00:00.000000000Z log sent=(Topic n-1 queue=news sent=2026-11-25T10:00:00.000000000Z) body="told" attributes=response,topic_arn anonymous
            2026-11-25T10:00:00.000000000Z log sent=(Queue m-2 sent=2026-11-25T10:00:00.000000000Z) received=(Queue m-1) body="both" attributes=queue,response anonymous
            2026-11-25T10:00:00.000000000Z log body="who knows" attributes=response anonymous
            2026-11-25T10:00:00.000000000Z log received=(Queue m-7 failed) body="answer" attributes=response anonymous
            6 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn a_push_that_is_logged_is_a_message_of_its_subscription() {
    check(
        r#"{"severity":"INFO","message":{"data":"e30=","messageId":"5187","message_id":"5187","publishTime":"2026-11-25T09:59:58.250Z","attributes":{"googclient_traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},"subscription":"projects/shop/subscriptions/orders"}"#,
        &expect![[r#"
            2026-11-25T10:00:00.000000000Z log severity=Info received=(Topic 5187 queue=orders sent=2026-11-25T09:59:58.250000000Z trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331) trigger=Topic body="" attributes=message,subscription anonymous
            1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn sent_and_received_messages_are_named() {
    check(
        r#"{"message":"queued","sent_message_id":"m-1","queue_url":"https://sqs.eu-west-1.amazonaws.com/1/orders","correlation_id":"c-1"}
{"message":"got it","messageId":"m-1","queue":"orders","receive_count":2,"sentTimestamp":1795600700250}
{"message":"failed","level":"error","message_id":"m-1"}
{"message":{"MessageId":"m-4","MD5OfMessageBody":"x"}}
{"message":"answer","batchItemFailures":[{"itemIdentifier":"m-7"}]}"#,
        &expect![[r#"
            2026-11-25T10:00:00.000000000Z log correlation=c-1 sent=(Queue m-1 queue=orders sent=2026-11-25T10:00:00.000000000Z) body="queued" attributes=queue_url anonymous
            2026-11-25T10:00:00.000000000Z log received=(Queue m-1 queue=orders sent=2026-11-25T09:58:20.250000000Z receive_count=2) body="got it" attributes=queue,receive_count,sentTimestamp anonymous
            2026-11-25T10:00:00.000000000Z log severity=Error received=(Queue m-1 failed) error=other because="failed" body="failed" anonymous
            2026-11-25T10:00:00.000000000Z log sent=(Queue m-4 sent=2026-11-25T10:00:00.000000000Z) body="" attributes=message anonymous
            2026-11-25T10:00:00.000000000Z log received=(Queue m-7 failed) body="answer" attributes=batchItemFailures anonymous
            5 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn logged_events_tell_what_triggered_the_function() {
    check(
        r#"{"message":"event","event":{"Records":[{"messageId":"m-1","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:1:orders","attributes":{"SentTimestamp":"1795600700250","ApproximateReceiveCount":"1"}},{"messageId":"m-2","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:1:orders"}]},"level":"ERROR"}
{"Records":[{"EventSource":"aws:sns","Sns":{"MessageId":"n-1","TopicArn":"arn:aws:sns:eu-west-1:1:news"}}]}
{"level":"INFO","message":"{\"id\":\"e-1\",\"detail-type\":\"OrderPlaced\",\"source\":\"shop\",\"detail\":{}}"}
{"message":"in","event":{"routeKey":"POST /orders","requestContext":{"http":{"method":"POST"}}}}"#,
        &expect![[r#"
            2026-11-25T10:00:00.000000000Z log severity=Error received=(Queue m-1 queue=orders sent=2026-11-25T09:58:20.250000000Z receive_count=1) received=(Queue m-2 queue=orders) trigger=Queue error=other because="event" body="event" attributes=event anonymous
            2026-11-25T10:00:00.000000000Z log received=(Topic n-1 queue=news) trigger=Topic body="" attributes=Records anonymous
            2026-11-25T10:00:00.000000000Z log severity=Info received=(EventBus e-1) trigger=EventBus body="{\"id\":\"e-1\",\"detail-type\":\"OrderPlaced\","… anonymous
            2026-11-25T10:00:00.000000000Z log trigger=Http method=POST route=/orders body="in" attributes=event anonymous
            4 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn bad_pieces_are_rejected_by_their_position() {
    check(
        b"{\"msg\":\"a\"}\n{\"msg\":\"cut\n\xff\xfe\nnot json\n42\n{\"msg\":\"b\"}",
        &expect![[r#"
            2026-11-25T10:00:00.000000000Z log body="a" anonymous
            2026-11-25T10:00:00.000000000Z log body="b" anonymous
            rejected 1: JSON is cut off: EOF while parsing a string at line 1 column 11
            rejected 2: not UTF-8
            rejected 3: neither JSON nor a log line of a known format
            rejected 4: neither JSON nor a log line of a known format
            2 signals, 4 rejected, 0 filtered"#]],
    );
    check(
        r#"[{"msg":"a"},{"msg":oops},{"msg":"b"},{"msg":"cu"#,
        &expect![[r#"
        2026-11-25T10:00:00.000000000Z log body="a" anonymous
        2026-11-25T10:00:00.000000000Z log body="b" anonymous
        rejected 1: not JSON: expected value at line 1 column 8
        rejected 3: JSON is cut off: EOF while parsing a string at line 1 column 10
        2 signals, 2 rejected, 0 filtered"#]],
    );
}

#[test]
fn text_between_and_glued_to_json_becomes_records() {
    check(
        "[AWS Extension] level set to info.{\"time\":\"2026-11-25T09:58:20Z\",\"type\":\"platform.start\",\"record\":{\"requestId\":\"d661f7cf\",\"version\":\"8\"}}\n\
         START RequestId: 8edab1f8-7d34-4a8e-a965-15ccbbb78d4c Version: 3\n\
         2026-11-25T09:58:20.113Z\t8edab1f8-7d34-4a8e-a965-15ccbbb78d4c\tINFO\tsaw {\"correlationId\":\"c-9\"}\n\
         2026-11-25T09:58:20.113Z\t8edab1f8-7d34-4a8e-a965-15ccbbb78d4c\tERROR\tInvoke Error \t{\"errorType\":\"TypeError\",\"errorMessage\":\"x is undefined\",\"stack\":[]}\n\
         2026-11-25T09:58:20.113Z\t8edab1f8-7d34-4a8e-a965-15ccbbb78d4c\tINFO\t{\"level\":40,\"time\":1795600700250,\"msg\":\"pino\"}\n\
         <--- Last few GCs ---> JavaScript heap out of memory",
        &expect![[r#"
            2026-11-25T10:00:00.000000000Z log body="[AWS Extension] level set to info." anonymous
            2026-11-25T09:58:20.000000000Z platform Start invocation=d661f7cf version=8
            2026-11-25T10:00:00.000000000Z platform Start invocation=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c version=3 anonymous
            2026-11-25T09:58:20.113000000Z log severity=Info invocation=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c correlation=c-9 body="saw {\"correlationId\":\"c-9\"}" anonymous
            2026-11-25T09:58:20.113000000Z log severity=Error invocation=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c error=other because="TypeError: x is undefined" body="Invoke Error \t{\"errorType\":\"TypeError\",\""… attributes=errorMessage,errorType,stack anonymous
            2026-11-25T09:58:20.250000000Z log severity=Warn invocation=8edab1f8-7d34-4a8e-a965-15ccbbb78d4c body="pino" anonymous
            2026-11-25T10:00:00.000000000Z log error=out_of_memory because="<--- Last few GCs ---> JavaScript heap o"… body="<--- Last few GCs ---> JavaScript heap o"… anonymous
            7 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn a_pretty_printed_object_is_one_record() {
    check(
        "{\n  \"level\": \"INFO\",\n  \"message\": {\n    \"order_id\": \"o-1\",\n    \"correlation_id\": \"c-1\"\n  }\n}\n",
        &expect![[r#"
        2026-11-25T10:00:00.000000000Z log severity=Info correlation=c-1 body="" attributes=message anonymous
        1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn nothing_readable_is_undecodable() {
    for (body, reason) in [
        ("", "the body is empty"),
        (" \n", "the body is empty"),
        ("hello", "neither JSON nor a log line of a known format"),
        ("42", "neither JSON nor a log line of a known format"),
        ("[1,2]", ""),
    ] {
        let text = shown(body, &origin(), &Config::default());
        assert!(text.starts_with("undecodable: ") && text.contains(reason), "{body}: {text}");
    }
    check("[]", &expect!["0 signals, 0 rejected, 0 filtered"]);
}

#[test]
fn absurd_times_are_kept_beside_the_arrival() {
    check(
        r#"{"timestamp":"2019-01-01T00:00:00Z","msg":"old"}
{"timestamp":"2026-11-25T10:30:00Z","msg":"ahead"}
{"timestamp":"2019-01-01T00:00:00Z","type":"platform.start","time":"2019-01-01T00:00:00Z","record":{"requestId":"r-1"}}"#,
        &expect![[r#"
            2026-11-25T10:00:00.000000000Z log body="old" attributes=original_timestamp anonymous
            2026-11-25T10:00:00.000000000Z log body="ahead" attributes=original_timestamp anonymous
            2026-11-25T10:00:00.000000000Z platform Start invocation=r-1 text="original_timestamp 2019-01-01T00:00:00.0"…
            3 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn a_field_that_reads_as_nothing_gives_way_to_the_next_name() {
    check(
        r#"{"time":"noon","ts":1795600700,"level":"x","severity":"WARN","status":"error","msg":"a"}"#,
        &expect![[r#"
            2026-11-25T09:58:20.000000000Z log severity=Warn body="a" attributes=level,status,time anonymous
            1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn secrets_leave_records_messages_and_the_text_around_objects() {
    let config = Config {
        redact: crate::normalize::config::Redact {
            drop: vec!["password".to_owned()],
            hash: vec!["correlation_id".to_owned()],
            hash_key: b"key".to_vec(),
        },
        ..Config::default()
    };
    let body = r#"{"msg":"a","password":"hunter2","correlation_id":"c-1","deep":{"Password":"hunter2"}}
{"message":{"password":"hunter2","correlation_id":"c-1"}}
{"message":"{\"password\":\"hunter2\",\"order\":1}"}
{"message":"login {\"password\":\"hunter2\"}"}
INFO login {"password":"hunter2","correlation_id":"c-1"}"#;
    let normalized = normalize(body.as_bytes(), &origin(), &config).unwrap();
    assert!(!format!("{normalized:?}").contains("hunter2"));
    let expect = expect![[r#"
        2026-11-25T10:00:00.000000000Z log correlation=hash:bd58a4309d6824a581d6ece13912afa5 body="a" attributes=deep anonymous
        2026-11-25T10:00:00.000000000Z log correlation=hash:bd58a4309d6824a581d6ece13912afa5 body="" attributes=message anonymous
        2026-11-25T10:00:00.000000000Z log body="{\"order\":1}" anonymous
        2026-11-25T10:00:00.000000000Z log body="login {}" anonymous
        2026-11-25T10:00:00.000000000Z log severity=Info correlation=hash:bd58a4309d6824a581d6ece13912afa5 body="INFO login {\"correlation_id\":\"hash:bd58a"… anonymous
        5 signals, 0 rejected, 0 filtered"#]];
    expect.assert_eq(&show::text(&normalized));
}

#[test]
fn long_messages_are_shortened_and_kept() {
    let body = format!("{{\"message\":\"{}\"}}", "ä".repeat(300_000));
    let normalized = normalize(body.as_bytes(), &origin(), &Config::default()).unwrap();
    let [signal] = normalized.batch.signals.as_slice() else { panic!("one signal") };
    let SignalKind::Log(log) = &signal.kind else { panic!("a log record") };
    assert_eq!(log.body.len(), LogRecord::BODY_BYTES_MAX);
}

#[test]
fn the_header_names_the_function_and_a_record_may_name_another() {
    let origin = Origin { function: Some("pay".to_owned()), ..origin() };
    let body = "{\"msg\":\"a\"}\n{\"msg\":\"b\",\"function_name\":\"other\"}";
    let expect = expect![[r#"
        2026-11-25T10:00:00.000000000Z log body="a" function=pay anonymous
        2026-11-25T10:00:00.000000000Z log names_function=other body="b" function=pay anonymous
        2 signals, 0 rejected, 0 filtered"#]];
    expect.assert_eq(&shown(body, &origin, &Config::default()));
}

#[test]
fn a_delivery_of_too_many_records_is_refused_as_a_whole() {
    let body = format!("[{}]", "[],".repeat(super::super::gather::RECORDS_MAX + 1));
    let text = shown(body, &origin(), &Config::default());
    assert!(text.starts_with("undecodable: more than"), "{text}");
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(normalized) = normalize(&body, &origin(), &Config::default()) {
            prop_assert_eq!(normalized.rejections.len(), usize::try_from(normalized.batch.rejected).unwrap());
        }
    }

    #[test]
    fn records_survive_any_cut(cut in 0_usize..400) {
        let line = r#"{"level":"INFO","message":"x","Records":[{"eventSource":"aws:sqs","messageId":"m"}],"a":{"b":[1,2]}}"#;
        let body = format!("{}\n{line}", line.get(..cut.min(line.len())).unwrap_or(line));
        let normalized = normalize(body.as_bytes(), &origin(), &Config::default()).unwrap();
        prop_assert!(!normalized.batch.signals.is_empty());
    }
}
