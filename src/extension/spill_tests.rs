use std::io::Read as _;

use super::*;

const MAX: usize = 64 << 10;

fn spill() -> Spill {
    Spill::new(MAX, "env")
}

fn offer(spill: &mut Spill, body: &str) -> Taken {
    let body = Bytes::from(body.to_owned());
    let survey = telemetry::survey(&body).expect("a batch");
    spill.offer_telemetry(&body, &survey)
}

fn plain(batch: &Batch) -> String {
    let mut text = String::new();
    match batch.kind.encoding.as_deref() {
        Some("gzip") => {
            flate2::read::GzDecoder::new(&*batch.body).read_to_string(&mut text).expect("gzip");
        }
        _ => text = String::from_utf8(batch.body.to_vec()).expect("text"),
    }
    text
}

fn next(spill: &mut Spill) -> Batch {
    spill.next(Timestamp::from_millis(1_000)).expect("a batch")
}

fn log(n: usize, bytes: usize) -> String {
    format!(r#"{{"time":"t{n}","type":"function","record":"{}"}}"#, "x".repeat(bytes))
}

const START: &str = r#"{"time":"t","type":"platform.start","record":{"requestId":"a"}}"#;

#[test]
fn what_waits_is_one_batch_and_keeps_its_identity_until_it_arrives() {
    let mut spill = spill();
    assert_eq!(offer(&mut spill, &format!("[{START}]")), Taken::Whole);
    assert_eq!(offer(&mut spill, &format!("[{}]", log(1, 3))), Taken::Whole);
    let first = next(&mut spill);
    assert_eq!(plain(&first), format!("[{START},{}]", log(1, 3)));
    // What comes meanwhile does not change it.
    offer(&mut spill, &format!("[{}]", log(2, 3)));
    let again = next(&mut spill);
    assert_eq!((&again.key, &again.body), (&first.key, &first.body));
    spill.delivered();
    let second = next(&mut spill);
    assert_ne!(second.key, first.key);
    assert_eq!(plain(&second), format!("[{}]", log(2, 3)));
    spill.delivered();
    assert!(spill.is_empty());
    assert_eq!(spill.bytes(), 0);
}

#[test]
fn a_batch_that_the_platform_posts_twice_counts_once() {
    let mut spill = spill();
    offer(&mut spill, &format!("[{START}]"));
    assert_eq!(offer(&mut spill, &format!("[{START}]")), Taken::Repeat);
    assert_eq!(plain(&next(&mut spill)), format!("[{START}]"));
    spill.delivered();
    assert_eq!(offer(&mut spill, &format!("[{START}]")), Taken::Repeat);
    assert!(spill.is_empty());
}

#[test]
fn copies_of_an_environment_never_give_one_key_to_two_batches() {
    let (mut one, mut other) = (spill(), spill());
    offer(&mut one, &format!("[{}]", log(1, 3)));
    offer(&mut other, &format!("[{}]", log(2, 3)));
    assert_ne!(next(&mut one).key, next(&mut other).key);
}

#[test]
fn at_the_bound_log_records_go_first_and_the_loss_is_told() {
    let mut spill = spill();
    assert_eq!(offer(&mut spill, &format!("[{}]", log(1, 60_000))), Taken::Whole);
    let mixed = format!("[{START},{},{}]", log(2, 6_000), log(3, 6_000));
    assert_eq!(offer(&mut spill, &mixed), Taken::PlatformEvents);
    assert_eq!(offer(&mut spill, &format!("[{}]", log(4, 6_000))), Taken::Nothing);
    let batch = next(&mut spill);
    let events: Vec<serde_json::Value> = serde_json::from_str(&plain(&batch)).expect("events");
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds, ["function", "platform.start", "platform.logsDropped"]);
    assert_eq!(events[2]["record"]["droppedRecords"], 3);
    assert_eq!(events[2]["time"], "1970-01-01T00:00:01.000000000Z");
    // Told once: what was delivered is not told again.
    spill.delivered();
    assert!(spill.is_empty());
}

#[test]
fn what_the_destination_rejects_is_told_in_the_next_batch() {
    let mut spill = spill();
    offer(&mut spill, &format!("[{START},{}]", log(1, 3)));
    next(&mut spill);
    spill.rejected();
    assert_eq!(spill.bytes(), 0);
    let told = next(&mut spill);
    assert!(plain(&told).contains("rejected the batch"), "{}", plain(&told));
    assert!(plain(&told).contains(r#""droppedRecords":2"#), "{}", plain(&told));
    // The report itself may be rejected, and is not forgotten.
    spill.rejected();
    assert_eq!(spill.left().records, 2);
}

#[test]
fn otlp_is_refused_at_the_bound_and_joined_where_bytes_add_up() {
    let mut spill = spill();
    let kind = Kind { path: "v1/traces", content_type: PROTOBUF, encoding: None };
    assert!(spill.offer_otlp(kind.clone(), Bytes::from_static(b"ab")));
    assert!(spill.offer_otlp(kind.clone(), Bytes::from_static(b"cd")));
    let packed = Kind { encoding: Some("gzip".to_owned()), ..kind.clone() };
    assert!(spill.offer_otlp(packed.clone(), Bytes::from_static(b"ef")));
    assert!(spill.offer_otlp(packed, Bytes::from_static(b"gh")));
    assert!(!spill.offer_otlp(kind, Bytes::from(vec![0; MAX])));
    let mut bodies = Vec::new();
    while let Some(batch) = spill.next(Timestamp::EPOCH) {
        bodies.push(batch.body);
        spill.delivered();
    }
    assert_eq!(bodies, ["abcd", "ef", "gh"]);
}

#[test]
fn a_batch_larger_than_the_target_goes_alone() {
    let mut spill = Spill::new(8 << 20, "env");
    offer(&mut spill, &format!("[{}]", log(1, 2 << 20)));
    offer(&mut spill, &format!("[{}]", log(2, 10)));
    assert!(plain(&next(&mut spill)).len() > 2 << 20);
    spill.delivered();
    assert_eq!(plain(&next(&mut spill)), format!("[{}]", log(2, 10)));
}
