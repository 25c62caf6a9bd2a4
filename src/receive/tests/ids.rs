//! Ids of deliveries, and encodings, as headers tell them.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::*;

/// Delivers with these headers, any bytes of which are given; gives the status.
async fn deliver(desk: &Desk, headers: &[(&str, &[u8])], body: Vec<u8>) -> u16 {
    let mut told = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        told.append(name, HeaderValue::from_bytes(value).expect("a value"));
    }
    let url = format!("http://{}/ingest/json", desk.receivers.ingest());
    let answer = client().post(url).headers(told).body(body).send().await.expect("an answer");
    answer.status().as_u16()
}

#[tokio::test]
async fn an_empty_id_names_no_delivery_and_any_other_does() {
    let desk = desk(Ok(()), &[], Limits::default()).await;
    let body = br#"{"message":"a"}"#;
    for key in [&b""[..], b"  ", b"a", b"\xe9", b"\xe8", b"a "] {
        assert_eq!(deliver(&desk, &[("idempotency-key", key)], body.to_vec()).await, 200);
    }
    let batches = desk.batches.lock().expect("not poisoned");
    let ids: Vec<Option<u128>> = batches.iter().map(|batch| batch.declared_id).collect();
    assert_eq!(ids[..2], [None, None]);
    assert!(ids[2..].iter().all(Option::is_some) && ids[3] != ids[4], "{ids:?}");
    assert_eq!(ids[2], ids[5], "spaces around it are none of it");
}

#[tokio::test]
async fn one_encoding_is_taken_and_no_two() {
    let desk = desk(Ok(()), &[], Limits::default()).await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(br#"{"message":"a"}"#).expect("memory");
    let packed = packed.finish().expect("memory");
    let name = "content-encoding";
    for (headers, status) in [
        (&[(name, &b"gzip"[..])][..], 200),
        (&[(name, b"identity, gzip")], 200),
        (&[(name, b"GZIP, ")], 200),
        (&[(name, b"gzip, gzip")], 415),
        (&[(name, b"gzip"), (name, b"gzip")], 415),
        (&[(name, b"gzip"), (name, b"zstd")], 415),
        (&[(name, b"br")], 415),
    ] {
        assert_eq!(deliver(&desk, headers, packed.clone()).await, status, "{headers:?}");
    }
}
