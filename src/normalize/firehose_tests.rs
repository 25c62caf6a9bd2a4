use std::io::Write;

use base64::Engine;
use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::normalize::show;
use crate::signal::Timestamp;

const DECOMPRESSED_MAX: usize = 1 << 20;

fn origin() -> Origin {
    Origin {
        arrived: Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap(),
        attributes: vec![("stage".to_owned(), "prod".to_owned())],
        ..Origin::default()
    }
}

fn shown(body: &str) -> String {
    match normalize(body.as_bytes(), &origin(), &Config::default(), DECOMPRESSED_MAX) {
        Ok(delivery) => format!("{}\n{}", delivery.request_id, show::text(&delivery.normalized)),
        Err(undecodable) => format!("undecodable at {}: {undecodable}", undecodable.offset),
    }
}

fn check(records: &[Vec<u8>], expect: &Expect) {
    let encode = |bytes: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(bytes);
    let records: Vec<_> = records.iter().map(|bytes| json!({"data": encode(bytes)})).collect();
    let body = json!({"requestId": "f-1", "timestamp": 1_795_600_740_000_i64, "records": records});
    expect.assert_eq(&shown(&body.to_string()));
}

fn gzip(plain: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn logs(message: &str) -> String {
    json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "/aws/lambda/pay", "logStream": "s",
        "logEvents": [{"id": "7", "timestamp": 1_795_600_740_000_i64, "message": message}]})
    .to_string()
}

const METRIC: &str = r#"{"account_id":"1","region":"eu-west-1","namespace":"AWS/SQS","metric_name":"ApproximateAgeOfOldestMessage","dimensions":{"QueueName":"orders"},"timestamp":1795600740000,"value":{"max":4.0,"min":0.0,"sum":7.0,"count":3.0},"unit":"Seconds"}"#;

#[test]
fn records_are_read_for_what_they_hold() {
    check(
        &[
            gzip(&logs("hello")),
            format!("{METRIC}\n{METRIC}\n").into_bytes(),
            br#"{"level":"INFO","msg":"plain ndjson","timestamp":1795600740000}"#.to_vec(),
        ],
        &expect![[r#"
            f-1
            2026-11-25T09:59:00.000000000Z log body="hello" function=pay account=1
            2026-11-25T09:59:00.000000000Z metric throughline_queue_oldest_age_seconds{queue="orders"} gauge=4 account=1 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric throughline_queue_oldest_age_seconds{queue="orders"} gauge=4 account=1 region=eu-west-1
            2026-11-25T09:59:00.000000000Z log severity=Info body="plain ndjson" anonymous
            4 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn bad_records_are_rejected_under_their_position_in_the_request() {
    let mut cut = gzip(&logs("hello"));
    cut.truncate(30);
    check(
        &[cut, gzip(&logs("kept")), b"\x00\x01".to_vec(), Vec::new(), gzip(&"0".repeat(2 << 20))],
        &expect![[r#"
            f-1
            2026-11-25T09:59:00.000000000Z log body="kept" function=pay account=1
            rejected 0: the record's data is no valid gzip: incomplete deflate stream
            rejected 2: the record is neither text nor of a binary format that is known, or it is cut off
            rejected 3: the record is empty
            rejected 4: the record's data holds more than 1048419 bytes when decompressed; send smaller pieces
            1 signals, 4 rejected, 0 filtered"#]],
    );
}

#[test]
fn all_records_together_have_one_room() {
    let half = format!("{{\"msg\":\"{}\"}}", "x".repeat(DECOMPRESSED_MAX * 2 / 3));
    check(
        &[gzip(&half), gzip(&half), gzip(&logs("small"))],
        &expect![[r#"
        f-1
        2026-11-25T10:00:00.000000000Z log body="xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… anonymous
        2026-11-25T09:59:00.000000000Z log body="small" function=pay account=1
        rejected 1: the record's data holds more than 349516 bytes when decompressed; send smaller pieces
        2 signals, 1 rejected, 0 filtered"#]],
    );
}

#[test]
fn the_transformation_event_is_read_too() {
    let expect = expect![[r#"
        i-1
        2026-11-25T09:59:00.000000000Z log body="hello" function=pay account=1 region=us-east-1
        rejected 1: no record: missing field `data` at line 1 column 16
        1 signals, 1 rejected, 0 filtered"#]];
    let data = base64::engine::general_purpose::STANDARD.encode(gzip(&logs("hello")));
    let body = json!({"invocationId": "i-1", "deliveryStreamArn": "arn", "region": "us-east-1",
        "records": [{"recordId": "1", "approximateArrivalTimestamp": 1, "data": data}, {"recordId": "2"}]});
    expect.assert_eq(&shown(&body.to_string()));
}

#[test]
fn what_is_no_delivery_is_undecodable() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"requestId":"f-1"}"#,
        r#"{"requestId":"f-1","records":7}"#,
        "{\"requestId\":",
    ] {
        assert!(shown(body).starts_with("undecodable"), "{body}: {}", shown(body));
    }
    let expect = expect![[r#"
        f-1
        0 signals, 0 rejected, 0 filtered"#]];
    expect.assert_eq(&shown(r#"{"requestId":"f-1","timestamp":1,"records":[]}"#));
}
