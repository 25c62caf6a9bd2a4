use expect_test::{Expect, expect};

use super::*;
use crate::normalize::show;

fn check(body: &str, expect: &Expect) {
    let arrived = Timestamp::parse_rfc3339("2020-08-04T18:40:00Z").expect("a time");
    let origin = Origin { arrived, ..Origin::default() };
    expect.assert_eq(&show::outcome(&normalize(body.as_bytes(), &origin, &Config::default())));
}

#[test]
fn a_function_with_a_call_and_a_sent_message_is_an_invocation() {
    check(
        r#"{"trace_id":"1-5f29ab21-d4ebf299219a65bd5c31d6da","id":"1111111111111111","name":"checkout","start_time":1596566305.5,"end_time":1596566306.5,
            "origin":"AWS::Lambda","parent_id":"aaaaaaaaaaaaaaaa","resource_arn":"arn:aws:lambda:us-east-1:123456789012:function:checkout",
            "http":{"response":{"status":200}},"aws":{"request_id":"8f507cfc"}}
        {"trace_id":"1-5f29ab21-d4ebf299219a65bd5c31d6da","id":"2222222222222222","name":"checkout","start_time":1596566305.6,"end_time":1596566306.4,
            "origin":"AWS::Lambda::Function","parent_id":"1111111111111111","aws":{"function_arn":"arn:aws:lambda:us-east-1:123456789012:function:checkout"},
            "annotations":{"correlation_id":"o-17"},
            "subsegments":[
                {"id":"3333333333333333","name":"Invocation","start_time":1596566305.7,"end_time":1596566306.3,"subsegments":[
                    {"id":"4444444444444444","name":"DynamoDB","namespace":"aws","start_time":1596566305.8,"end_time":1596566305.9,"throttle":true,"error":true,
                     "http":{"response":{"status":400}},"aws":{"operation":"PutItem","table_name":"stock"}},
                    {"id":"5555555555555555","name":"SQS","namespace":"aws","start_time":1596566306.0,"end_time":1596566306.1,
                     "aws":{"operation":"SendMessage","queue_url":"https://sqs.us-east-1.amazonaws.com/123456789012/orders","message_id":"m-1"}}]}]}"#,
        &expect![[r#"
            2020-08-04T18:38:25.500000000Z span Server trace=5f29ab21d4ebf299219a65bd5c31d6da span=1111111111111111 parent=aaaaaaaaaaaaaaaa end=2020-08-04T18:38:26.500000000Z invocation=8f507cfc name="checkout" function=checkout account=123456789012 region=us-east-1
            2020-08-04T18:38:25.600000000Z span Internal trace=5f29ab21d4ebf299219a65bd5c31d6da span=2222222222222222 parent=1111111111111111 end=2020-08-04T18:38:26.400000000Z correlation=o-17 name="checkout" function=checkout account=123456789012 region=us-east-1
            2020-08-04T18:38:25.700000000Z span Internal trace=5f29ab21d4ebf299219a65bd5c31d6da span=3333333333333333 parent=2222222222222222 end=2020-08-04T18:38:26.300000000Z name="Invocation" function=checkout account=123456789012 region=us-east-1
            2020-08-04T18:38:25.800000000Z span Client trace=5f29ab21d4ebf299219a65bd5c31d6da span=4444444444444444 parent=3333333333333333 end=2020-08-04T18:38:25.900000000Z error=throttled because="throttled" name="DynamoDB" function=checkout account=123456789012 region=us-east-1
            2020-08-04T18:38:26.000000000Z span Producer trace=5f29ab21d4ebf299219a65bd5c31d6da span=5555555555555555 parent=3333333333333333 end=2020-08-04T18:38:26.100000000Z sent=(Queue m-1 queue=orders sent=2020-08-04T18:38:26.000000000Z) name="SQS" function=checkout account=123456789012 region=us-east-1
            5 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn attempts_of_an_asynchronous_invocation_are_runs_of_their_own() {
    check(
        r#"{"trace_id":"1-5f29ab21-d4ebf299219a65bd5c31d6da","id":"1111111111111111","name":"f","start_time":1596566300,"end_time":1596566306.5,
            "origin":"AWS::Lambda","parent_id":"aaaaaaaaaaaaaaaa","aws":{"request_id":"r"},"fault":true,"subsegments":[
            {"id":"2222222222222222","name":"Dwell Time","start_time":1596566300,"end_time":1596566301},
            {"id":"3333333333333333","name":"Attempt #1","start_time":1596566301,"end_time":1596566302,"fault":true},
            {"id":"4444444444444444","name":"Attempt #2","start_time":1596566305,"end_time":1596566306}]}"#,
        &expect![[r#"
            2020-08-04T18:38:21.000000000Z span Server trace=5f29ab21d4ebf299219a65bd5c31d6da span=3333333333333333 parent=aaaaaaaaaaaaaaaa end=2020-08-04T18:38:22.000000000Z invocation=r error=other because="Attempt #1" name="Attempt #1" function=f
            2020-08-04T18:38:25.000000000Z span Server trace=5f29ab21d4ebf299219a65bd5c31d6da span=4444444444444444 parent=aaaaaaaaaaaaaaaa end=2020-08-04T18:38:26.000000000Z invocation=r name="Attempt #2" function=f
            2 signals, 0 rejected, 2 filtered"#]],
    );
}

#[test]
fn links_faults_and_progress_are_read() {
    check(
        r#"{"format": "json", "version": 1}
{"trace_id":"1-5f29ab21-d4ebf299219a65bd5c31d6da","id":"1111111111111111","name":"shop","start_time":1596566300.1,"in_progress":true}
{"trace_id":"1-5f29ab21-d4ebf299219a65bd5c31d6da","id":"1111111111111111","name":"shop","start_time":1596566300.1,"end_time":1596566301.25,"fault":true,
 "cause":{"exceptions":[{"id":"3e9e11e3ab3fba60","type":"KeyError","message":"'id'"}]},"http":{"request":{"method":"GET","url":"https://shop.example/cart"},"response":{"status":500}},
 "links":[{"trace_id":"1-5f29ab22-d4ebf299219a65bd5c31d6da","id":"7777777777777777","attributes":{"messaging.message.id":"m-9"}}]}
{"trace_id":"1-5f29ab21-d4ebf299219a65bd5c31d6da","id":"2222222222222222","name":"shop","start_time":1596566300.1,"end_time":1596566301.25,"error":true,
 "http":{"response":{"status":404}}}"#,
        &expect![[r#"
            2020-08-04T18:38:20.100000000Z span Server trace=5f29ab21d4ebf299219a65bd5c31d6da span=1111111111111111 end=2020-08-04T18:38:21.250000000Z trigger=Http error=other because="KeyError: 'id'" method=GET name="shop" service=shop
            2020-08-04T18:38:20.100000000Z span Server trace=5f29ab21d4ebf299219a65bd5c31d6da span=2222222222222222 end=2020-08-04T18:38:21.250000000Z name="shop" service=shop
            2 signals, 0 rejected, 1 filtered"#]],
    );
}

#[test]
fn documents_travel_as_text_and_bad_ones_are_named() {
    check(
        r#"{"TraceSegmentDocuments":[
            "{\"trace_id\":\"1-5f29ab21-d4ebf299219a65bd5c31d6da\",\"id\":\"1111111111111111\",\"name\":\"a\",\"start_time\":1596566300,\"end_time\":1596566301}",
            "{\"trace_id\":\"5f29ab21d4ebf299219a65bd5c31d6da\",\"id\":\"2222222222222222\",\"name\":\"b\",\"type\":\"subsegment\",\"parent_id\":\"1111111111111111\",\"namespace\":\"remote\",\"start_time\":1596566300,\"end_time\":1596566301}",
            "{\"id\":\"1111111111111111\"}",
            "{\"trace_id\":\"1-5f29ab21-d4ebf299219a65bd5c31d6da\",\"id\":\"11\"}",
            "{\"trace_id\":\"1-5f29ab21-d4ebf299219a65bd5c31d6da\",\"id\":\"1111111111111112\",\"start_time\":\"soon\"}",
            "{\"trace_id\":\"1-5f29ab21-d4ebf299219a65bd5c31d6da\",\"id\":\"1111111111111113\",\"type\":\"subsegment\"}",
            7]}"#,
        &expect![[r#"
            2020-08-04T18:38:20.000000000Z span Server trace=5f29ab21d4ebf299219a65bd5c31d6da span=1111111111111111 end=2020-08-04T18:38:21.000000000Z name="a" service=a
            2020-08-04T18:38:20.000000000Z span Client trace=5f29ab21d4ebf299219a65bd5c31d6da span=2222222222222222 parent=1111111111111111 end=2020-08-04T18:38:21.000000000Z name="b"
            rejected 2: trace_id is no trace id, as 1-8 digits-24 digits
            rejected 3: id is no segment id of 16 hex digits
            rejected 4: start_time or end_time is no time in seconds
            rejected 5: an independent subsegment needs a parent_id
            rejected 6: a segment document is JSON as text
            2 signals, 5 rejected, 0 filtered"#]],
    );
    check(
        r#"{"Traces":[{"Id":"1-5f29ab21-d4ebf299219a65bd5c31d6da","Segments":[{"Id":"1111111111111111",
            "Document":"{\"trace_id\":\"1-5f29ab21-d4ebf299219a65bd5c31d6da\",\"id\":\"1111111111111111\",\"name\":\"a\",\"start_time\":1596566300,\"end_time\":1596566301}"}]}]}"#,
        &expect![[r#"
            2020-08-04T18:38:20.000000000Z span Server trace=5f29ab21d4ebf299219a65bd5c31d6da span=1111111111111111 end=2020-08-04T18:38:21.000000000Z name="a" service=a
            1 signals, 0 rejected, 0 filtered"#]],
    );
    check("nothing of the kind", &expect!["undecodable: no segment document"]);
}

#[test]
fn a_link_names_the_span_that_sent_the_message() {
    let body = r#"{"trace_id":"1-5f29ab21-d4ebf299219a65bd5c31d6da","id":"1111111111111111","name":"f","start_time":1596566300,"end_time":1596566301,
        "links":[{"trace_id":"1-5f29ab22-d4ebf299219a65bd5c31d6da","id":"7777777777777777","attributes":{"messaging.message.id":"m-9"}},{"trace_id":"x"}]}"#;
    let read =
        normalize(body.as_bytes(), &Origin::default(), &Config::default()).expect("a segment");
    let SignalKind::Span(span) = &read.batch.signals[0].kind else { panic!("a span") };
    let link = SpanLink {
        trace_id: TraceId::from_hex("5f29ab22d4ebf299219a65bd5c31d6da").expect("an id"),
        span_id: SpanId::from_hex("7777777777777777").expect("an id"),
        message_id: Some("m-9".into()),
    };
    assert_eq!(span.links, [link]);
}
