//! Tests of the answers, over real sockets on loopback.

mod grpc;
mod half_sent;
mod ids;
mod reach;
mod signed;

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use expect_test::{Expect, expect};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::reach::{Reach, named};
use super::room::Room;
use super::signature::{Scheme, Signer};
use super::{Access, Config, Delivery, Limits, Receivers, Refusal, Shared, Token, Weight};
use crate::clock::Clock;
use crate::listen::Door;
use crate::listen::tally::Tally;
use crate::normalize;
use crate::signal::{Batch, Receiver, SecretHash};

/// Receivers whose deliveries all have the same fate.
struct Desk {
    receivers: Receivers,
    batches: Arc<Mutex<Vec<Batch>>>,
    /// Of deliveries that nobody has applied yet; None: all are, at once.
    waiting: Arc<Mutex<Option<Vec<Weight>>>>,
    errors: Arc<Tally>,
}

async fn desk(fate: Result<(), Refusal>, tokens: &[&str], limits: Limits) -> Desk {
    let token = |text: &&str| token(text, Reach::All);
    desk_with(fate, limits, |access| {
        access.tokens = tokens.iter().map(token).collect();
        access.required = !tokens.is_empty();
    })
    .await
}

fn token(text: &str, reach: Reach) -> Token {
    Token { name: format!("the {text}"), hash: SecretHash::of(text), reach }
}

async fn desk_with(
    fate: Result<(), Refusal>,
    limits: Limits,
    change: impl FnOnce(&mut Access),
) -> Desk {
    let (accepted, mut deliveries) = mpsc::channel::<Delivery>(16);
    let batches = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&batches);
    let waiting = Arc::new(Mutex::new(None::<Vec<Weight>>));
    let behind = Arc::clone(&waiting);
    tokio::spawn(async move {
        while let Some(Delivery { batch, weight, answer, .. }) = deliveries.recv().await {
            kept.lock().expect("not poisoned").push(batch);
            if let Some(all) = behind.lock().expect("not poisoned").as_mut() {
                all.push(weight);
            }
            let _ = answer.send(fate);
        }
    });
    let errors = Arc::new(Tally::new(&super::CODES));
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut access = Access::default();
    change(&mut access);
    let config = Config { otlp_grpc: any, ingest: any, door: Door::default(), limits };
    let shared = Shared {
        normalize: Arc::new(ArcSwap::from_pointee(normalize::Config::default())),
        access: Arc::new(ArcSwap::from_pointee(access)),
        clock: Clock::wall(),
        accepted,
        room: Arc::new(Room::new(u64::MAX)),
        errors: Arc::clone(&errors),
    };
    let receivers = Receivers::bind(config, shared).await.expect("free ports");
    Desk { receivers, batches, waiting, errors }
}

fn client() -> reqwest::Client {
    // Other tests may have installed the provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// One request as `path | header: value | … | body`; its answer as status, the headers that matter, body.
async fn ask(desk: &Desk, request: &str) -> String {
    let mut parts: Vec<&str> = request.split(" | ").collect();
    let body = parts.pop().unwrap_or_default().to_owned().into_bytes();
    ask_bytes(desk, &parts, body).await
}

async fn ask_bytes(desk: &Desk, parts: &[&str], body: Vec<u8>) -> String {
    let (path, headers) = parts.split_first().expect("a path");
    let mut sending = client().post(format!("http://{}{path}", desk.receivers.ingest())).body(body);
    for header in headers {
        let (name, value) = header.split_once(": ").expect("a header");
        sending = sending.header(name, value);
    }
    let answer = sending.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let retry = answer.headers().get("retry-after").map(|_| " retry-after").unwrap_or_default();
    let text = answer.bytes().await.expect("a body");
    // The time of day is the only thing that changes.
    let shown = String::from_utf8_lossy(&text).into_owned();
    let shown = match serde_json::from_str::<serde_json::Value>(&shown) {
        Ok(mut json) => {
            if json.get("timestamp").is_some() {
                json["timestamp"] = "…".into();
            }
            json.to_string()
        }
        Err(_) => shown.escape_debug().to_string(),
    };
    format!("{status}{retry} {shown}")
}

async fn check(desk: &Desk, requests: &[&str], expect: Expect) {
    let mut shown = String::new();
    for request in requests {
        shown.push_str(&ask(desk, request).await);
        shown.push('\n');
    }
    expect.assert_eq(&shown);
}

fn traces(n: u8) -> Vec<u8> {
    let span = |i: u8| Span {
        trace_id: vec![1; 16],
        span_id: vec![i + 1; 8],
        start_time_unix_nano: 1_790_000_000_000_000_000,
        end_time_unix_nano: 1_790_000_000_000_000_001,
        ..Span::default()
    };
    let scope_spans =
        vec![ScopeSpans { spans: (0..n).map(span).collect(), ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
    .encode_to_vec()
}

#[tokio::test]
async fn success_is_told_in_each_protocols_own_words() {
    let desk = desk(Ok(()), &[], Limits::default()).await;
    check(
        &desk,
        &[
            r#"/v1/traces | content-type: application/json | {"resourceSpans":[]}"#,
            r#"/ingest/json | {"message":"a","level":"INFO"}"#,
            r#"/ingest/aws/firehose | x-amz-firehose-request-id: 7 | {"requestId":"7","timestamp":1,"records":[]}"#,
            r"/ingest/aws/telemetry | []",
            r#"/ingest/gcp/pubsub | {"message":{"messageId":"1","data":"%"},"subscription":"s"}"#,
            r#"/ingest/azure/eventhub | {"records":[{"category":"A"},7]}"#,
        ],
        expect![[r#"
            200 {}
            200 {"accepted":1,"errors":[],"rejected":0}
            200 {"requestId":"7","timestamp":"…"}
            200 {}
            200 {}
            200 {"accepted":1,"errors":[{"index":1,"message":"a record is an object"}],"rejected":1}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn bad_input_is_told_where_and_never_harms_its_neighbours() {
    let desk = desk(Ok(()), &[], Limits::default()).await;
    check(
        &desk,
        &[
            "/ingest/json | {\"message\":\"good\",\"level\":\"INFO\"}\n{\"message\":\"cut\n{\"message\":\"good too\",\"level\":\"INFO\"}",
            "/ingest/json | \u{1}\u{2}",
            "/v1/traces | content-type: application/json | {\"resourceSpans\": 5}",
            "/v1/traces | content-type: text/plain | x",
            "/v1/logs | content-type: application/json | content-encoding: br | x",
            "/v1/logs | content-type: application/json | content-encoding: gzip | x",
            "/ingest/aws/firehose | x-amz-firehose-request-id: 9 | nonsense",
            "/ingest/gcp/pubsub | nonsense",
            "/ingest/azure/eventhub | {\"records\":[{",
            "/nowhere | x",
        ],
        expect![[r#"
            200 {"accepted":2,"errors":[{"index":1,"message":"JSON is cut off: EOF while parsing a string at line 1 column 15"}],"rejected":1}
            400 {"accepted":0,"errors":[{"index":0,"message":"byte 0: neither JSON nor a log line of a known format"}],"rejected":0}
            400 {"code":3,"message":"byte 18: not OTLP/JSON: a list expected at byte 18"}
            415 {"code":3,"message":"content type `text/plain` is not taken here"}
            415 {"code":3,"message":"content encoding `br` is not known; send gzip, zstd, deflate, snappy or none"}
            400 {"code":3,"message":"byte 0: the body is not packed as its content-encoding says"}
            400 {"errorMessage":"byte 1: no Firehose delivery: expected ident at line 1 column 2","requestId":"9","timestamp":"…"}
            200 {}
            400 {"accepted":0,"errors":[{"index":0,"message":"byte 0: JSON is cut off: EOF while parsing an object at line 1 column 13"}],"rejected":0}
            404 {"error":{"code":"not_found","message":"no such path"}}
        "#]],
    )
    .await;
    let batches = desk.batches.lock().expect("not poisoned");
    let undecodable = batches.iter().filter(|batch| batch.undecodable_bytes.is_some()).count();
    assert_eq!(undecodable, 6, "undecodable bodies are in the books");
}

/// A request whose body never ends; its answer.
async fn ask_slowly(desk: &Desk, path: &str) -> String {
    let mut stream = TcpStream::connect(desk.receivers.ingest()).await.expect("a connection");
    let kind = if path == "/api/v1/write" { "x-protobuf" } else { "json" };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/{kind}\r\ncontent-encoding: identity\r\ncontent-length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ =
        tokio::time::timeout(Duration::from_secs(30), reading).await.expect("an answer in time");
    String::from_utf8_lossy(&answer).to_ascii_lowercase()
}

#[tokio::test]
async fn transient_trouble_may_always_be_retried() {
    let limits = Limits { body_timeout: Duration::from_millis(50), ..Limits::default() };
    let slow = desk(Ok(()), &[], limits).await;
    for path in [
        "/v1/traces",
        "/ingest/json",
        "/ingest/aws/firehose",
        "/ingest/aws/telemetry",
        "/api/v1/write",
        "/ingest/gcp/pubsub",
        "/ingest/azure/eventhub",
    ] {
        let answer = ask_slowly(&slow, path).await;
        assert!(answer.starts_with("http/1.1 503 "), "{path}: {answer}");
        assert!(answer.contains("\r\nretry-after: 1\r\n"), "{path}: {answer}");
        assert!(answer.contains("did not arrive in time"), "{path}: {answer}");
    }
    for refusal in [
        Refusal::Draining,
        Refusal::DiskFull,
        Refusal::Poisoned,
        Refusal::Overloaded,
        Refusal::Memory,
        Refusal::Behind,
    ] {
        let desk = desk(Err(refusal), &[], Limits::default()).await;
        for request in [
            r#"/v1/traces | content-type: application/json | {"resourceSpans":[]}"#,
            r#"/ingest/json | {"message":"a","level":"INFO"}"#,
            r#"/ingest/aws/firehose | {"requestId":"7","timestamp":1,"records":[]}"#,
            r"/ingest/aws/telemetry | []",
            r"/api/v1/write | content-encoding: identity | ",
            r#"/ingest/gcp/pubsub | {"message":{"messageId":"1"}}"#,
            r#"/ingest/azure/eventhub | {"records":[]}"#,
        ] {
            let answer = ask(&desk, request).await;
            assert!(answer.starts_with("503 retry-after"), "{refusal:?} {request}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_token_is_checked_before_anything_else() {
    let desk = desk(Ok(()), &["s3cret"], Limits::default()).await;
    check(
        &desk,
        &[
            r#"/ingest/json | {"message":"a","level":"INFO"}"#,
            r#"/ingest/json | authorization: Bearer wrong | {"message":"a","level":"INFO"}"#,
            r#"/ingest/json | authorization: Bearer s3cret | {"message":"a","level":"INFO"}"#,
            r#"/ingest/aws/firehose | x-amz-firehose-request-id: 1 | {"requestId":"1","timestamp":1,"records":[]}"#,
            r#"/ingest/aws/firehose | x-amz-firehose-access-key: s3cret | {"requestId":"1","timestamp":1,"records":[]}"#,
            "/nowhere | x",
            "/nowhere | authorization: Bearer s3cret | x",
            "/v1/traces | content-type: text/plain | x",
            "/v1/traces | authorization: Bearer s3cret | content-type: text/plain | x",
            "/api/v1/write | content-type: text/plain | x",
        ],
        expect![[r#"
            401 {"error":{"code":"unauthorized","message":"no known credential: send `Authorization: Bearer TOKEN`"}}
            401 {"error":{"code":"unauthorized","message":"no known credential: send `Authorization: Bearer TOKEN`"}}
            200 {"accepted":1,"errors":[],"rejected":0}
            401 {"errorMessage":"no known access key: set the stream's access key to a token with the scope `ingest`","requestId":"1","timestamp":"…"}
            200 {"requestId":"1","timestamp":"…"}
            401 {"error":{"code":"unauthorized","message":"no known credential: send `Authorization: Bearer TOKEN`"}}
            404 {"error":{"code":"not_found","message":"no such path"}}
            401 {"code":16,"message":"no known credential: send `Authorization: Bearer TOKEN`"}
            415 {"code":3,"message":"content type `text/plain` is not taken here"}
            401 no known credential: send `Authorization: Bearer TOKEN`
        "#]],
    )
    .await;
    assert_eq!(desk.batches.lock().expect("not poisoned").len(), 2);
}

#[tokio::test]
async fn no_page_of_another_site_delivers() {
    let desk = desk(Ok(()), &[], Limits::default()).await;
    check(
        &desk,
        &[
            r#"/ingest/json | content-type: text/plain | origin: http://evil.example | {"message":"a"}"#,
            r"/v1/logs | content-type: application/json | host: evil.example | origin: http://evil.example | {}",
            r#"/ingest/json | content-type: text/plain | {"message":"a"}"#,
        ],
        expect![[r#"
            403 {"error":{"code":"cross_origin","message":"a delivery from another site's page is refused"}}
            403 {"error":{"code":"cross_origin","message":"a delivery from another site's page is refused"}}
            200 {"accepted":1,"errors":[],"rejected":0}
        "#]],
    )
    .await;
    let grpc = format!("http://{}", desk.receivers.otlp_grpc());
    let url = format!("{grpc}/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let asked = client().post(url).header("origin", "http://evil.example").body("x");
    assert_eq!(asked.send().await.expect("an answer").status(), 403);
    assert_eq!(desk.batches.lock().expect("not poisoned").len(), 1);
}

#[tokio::test]
async fn bodies_have_a_bound_packed_and_unpacked() {
    let limits = Limits { body_bytes_max: 100_000, ..Limits::default() };
    let desk = desk(Ok(()), &[], limits).await;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 10_000_000]).expect("memory");
    let bomb = bomb.finish().expect("memory");
    assert!(bomb.len() < 100_000);
    let answer = ask_bytes(
        &desk,
        &["/v1/logs", "content-type: application/x-protobuf", "content-encoding: gzip"],
        bomb,
    )
    .await;
    assert!(answer.starts_with("413 "), "{answer}");
    let answer = ask_bytes(&desk, &["/ingest/json"], vec![b' '; 200_000]).await;
    assert!(answer.starts_with("413 "), "{answer}");
    let large = self::desk(Ok(()), &[], Limits::default()).await;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 20_000_000]).expect("memory");
    let bomb = bomb.finish().expect("memory");
    let answer = ask_bytes(&large, &["/ingest/json", "content-encoding: gzip"], bomb).await;
    assert!(answer.starts_with("413 "), "it grows a thousandfold: {answer}");
    let many = format!("[{}]", "[],".repeat(250_001)).into_bytes();
    let answer = ask_bytes(&large, &["/ingest/json"], many).await;
    assert!(answer.starts_with("413 ") && answer.contains("more than 250000 records"), "{answer}");
    let empty = [0x12, 0x00].repeat(250_001);
    let mut scope = vec![0x12];
    prost::encoding::encode_varint(500_002, &mut scope);
    scope.extend(empty);
    let mut resource = vec![0x0a];
    prost::encoding::encode_varint(crate::number::u64_from_usize(scope.len()), &mut resource);
    resource.extend(scope);
    let protobuf = ["/v1/logs", "content-type: application/x-protobuf"];
    let answer = ask_bytes(&large, &protobuf, resource).await;
    assert!(answer.starts_with("413 "), "{answer}");
    let nested = "[".repeat(10_000).into_bytes();
    let answer = ask_bytes(&desk, &["/ingest/json"], nested).await;
    assert!(answer.starts_with("400 "), "{answer}");
}

#[tokio::test]
async fn what_is_in_flight_has_a_bound() {
    let limits = Limits { in_flight_bytes_max: 10_240, ..Limits::default() };
    let desk = desk(Ok(()), &[], limits).await;
    let answer = ask_bytes(&desk, &["/ingest/json"], vec![b' '; 20_000]).await;
    assert!(answer.starts_with("413 ") && answer.contains("10240 bytes"), "for ever: {answer}");
    let answer = ask_bytes(&desk, &["/ingest/json"], vec![b'['; 5_000]).await;
    assert!(answer.starts_with("400 "), "there is room for it: {answer}");
    let answer = ask(&desk, r#"/ingest/json | {"message":"a","level":"INFO"}"#).await;
    assert!(answer.starts_with("200 "), "room comes back: {answer}");
    // Small records become large: what they are decoded to counts too.
    let many = r#"{"message":"a"}"#.repeat(60).into_bytes();
    let answer = ask_bytes(&desk, &["/ingest/json"], many.clone()).await;
    let is_told = answer.starts_with("413 ") && answer.contains("send smaller batches");
    assert!(is_told, "where nobody else is too, or it may be refused for ever: {answer}");
    assert_eq!(desk.batches.lock().expect("not poisoned").len(), 2, "one of nothing but its bytes");
}

/// An answer is sent when a batch is on disk; the engine may be behind.
#[tokio::test]
async fn what_waits_for_the_engine_is_in_flight() {
    let limits = Limits { in_flight_bytes_max: 10_240, ..Limits::default() };
    let desk = desk(Ok(()), &[], limits).await;
    *desk.waiting.lock().expect("not poisoned") = Some(Vec::new());
    let some = r#"/ingest/json | {"message":"a"}{"message":"b"}{"message":"c"}"#;
    let mut n = 0;
    while ask(&desk, some).await.starts_with("200 ") {
        n += 1;
        assert!(n < 100, "what waits has no bound");
    }
    assert!(n > 2, "{n}");
    *desk.waiting.lock().expect("not poisoned") = Some(Vec::new());
    assert!(ask(&desk, some).await.starts_with("200 "), "it is applied");
}

#[tokio::test]
async fn every_encoding_gives_the_same_batch() {
    let desk = desk(Ok(()), &[], Limits::default()).await;
    let plain = traces(3);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("memory");
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(&plain).expect("memory");
    let packed = [
        ("identity", plain.clone()),
        ("gzip", gzip.finish().expect("memory")),
        ("deflate", zlib.finish().expect("memory")),
        ("zstd", zstd::bulk::compress(&plain, 1).expect("memory")),
    ];
    for (name, body) in packed {
        let encoding = format!("content-encoding: {name}");
        let answer = ask_bytes(
            &desk,
            &["/v1/traces", "content-type: application/x-protobuf", &encoding],
            body,
        )
        .await;
        assert!(answer.starts_with("200 "), "{name}: {answer}");
    }
    let batches = desk.batches.lock().expect("not poisoned");
    assert_eq!(batches.len(), 4);
    assert!(batches.iter().all(
        |batch| batch.signals == batches[0].signals && batch.body_hash == batches[0].body_hash
    ));
}

#[tokio::test]
async fn a_delivery_is_named_by_its_protocol_or_its_key() {
    let desk = desk(Ok(()), &[], Limits::default()).await;
    for request in [
        r#"/ingest/json | idempotency-key: k | {"message":"a","level":"INFO"}"#,
        r#"/ingest/json | idempotency-key: k | {"message":"a","level":"INFO"}"#,
        r#"/ingest/json | {"message":"a","level":"INFO"}"#,
        r#"/ingest/aws/firehose | x-amz-firehose-request-id: k | {"requestId":"k","timestamp":1,"records":[]}"#,
        r#"/ingest/gcp/pubsub | {"message":{"messageId":"k"},"subscription":"s"}"#,
        r#"/ingest/gcp/pubsub | {"message":{"messageId":"k"},"subscription":"s"}"#,
        r#"/ingest/gcp/pubsub | x-goog-pubsub-message-id: k | x-goog-pubsub-subscription-name: s | {"level":"INFO","message":"a"}"#,
    ] {
        ask(&desk, request).await;
    }
    let batches = desk.batches.lock().expect("not poisoned");
    let ids: Vec<Option<u128>> = batches.iter().map(|batch| batch.declared_id).collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[2], None);
    assert!(
        ids[3].is_some() && ids[3] != ids[0],
        "the same id at another door is another delivery"
    );
    assert!(
        ids[4].is_some() && ids[4] == ids[5] && ids[5] == ids[6],
        "with its envelope or without"
    );
}

/// One series of version 1 with `n` samples; the last has no believable time.
fn written(n: i64) -> Vec<u8> {
    use crate::normalize::remote_write::message::{Label, Sample, SeriesV1};
    let now = Clock::wall().now().as_millis();
    let samples = (0..n).map(|i| Sample {
        value: 1.0,
        timestamp: if i + 1 == n { -1 } else { now + i },
        start_timestamp: 0,
    });
    let labels = vec![Label { name: b"__name__".to_vec(), value: b"m".to_vec() }];
    let series = SeriesV1 { labels, samples: samples.collect(), ..SeriesV1::default() };
    let series = series.encode_to_vec();
    let mut body = vec![0x0a];
    prost::encoding::encode_varint(crate::number::u64_from_usize(series.len()), &mut body);
    body.extend(series);
    body
}

#[tokio::test]
async fn remote_write_is_answered_by_its_specification() {
    let snappy = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).expect("memory");
    let v2 = "content-type: application/x-protobuf;proto=io.prometheus.write.v2.Request";
    let cases: [(&[&str], Vec<u8>); 9] = [
        (&["content-type: application/x-protobuf", "content-encoding: snappy"], snappy(b"")),
        (&[], snappy(&[])),
        (&["content-encoding: zstd"], zstd::bulk::compress(b"", 1).expect("memory")),
        (&[v2, "content-encoding: snappy"], snappy(b"")),
        (&["content-encoding: snappy"], snappy(&written(3))),
        (&["content-encoding: snappy"], b"\xff\xff\xff\xff\x0f".to_vec()),
        (&["content-type: application/json"], snappy(b"")),
        (&["content-type: application/x-protobuf;proto=other.Message"], snappy(b"")),
        (&["content-encoding: br"], snappy(b"")),
    ];
    let desk = desk(Ok(()), &[], Limits::default()).await;
    let mut shown = String::new();
    for (headers, body) in cases {
        let mut asked =
            client().post(format!("http://{}/api/v1/write", desk.receivers.ingest())).body(body);
        for (name, value) in headers.iter().filter_map(|header| header.split_once(": ")) {
            asked = asked.header(name, value);
        }
        let answer = asked.send().await.expect("an answer");
        let of = |name: &str| {
            let name = format!("x-prometheus-remote-write-{name}-written");
            answer.headers().get(name).and_then(|n| n.to_str().ok()).unwrap_or("?").to_owned()
        };
        let counts = [of("samples"), of("histograms"), of("exemplars")].join("/");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("text");
        shown.extend([format!("{status} {counts} {text}\n")]);
    }
    expect![[r"
        204 0/0/0 
        204 0/0/0 
        204 0/0/0 
        204 0/0/0 
        400 2/0/0 1 samples were rejected: 2: m: the time -1 is before 1970
        413 0/0/0 the body is larger than 67108864 bytes; send smaller batches
        415 0/0/0 content type `application/json` is not taken here
        415 0/0/0 content type `application/x-protobuf;proto=other.Message` is not taken here
        415 0/0/0 content encoding `br` is not known; send gzip, zstd, deflate, snappy or none
    "]]
    .assert_eq(&shown);
    let batches = desk.batches.lock().expect("not poisoned");
    let good: usize = batches.iter().map(|batch| batch.signals.len()).sum();
    assert_eq!(good, 2, "what is good in a request with bad samples is stored");
}

#[tokio::test]
async fn segments_and_workers_come_in_by_their_own_paths() {
    let desk = desk(Ok(()), &[], Limits::default()).await;
    check(
        &desk,
        &[
            r#"/ingest/aws/xray | {"trace_id":"1-5f29ab21-d4ebf299219a65bd5c31d6da","id":"1111111111111111","name":"a","start_time":1596566300,"end_time":1596566301}"#,
            r#"/ingest/aws/xray | {"trace_id":"1-5f29ab21-d4ebf299219a65bd5c31d6da"} {"format":"json","version":1}"#,
            r#"/ingest/cloudflare/logpush | {"content":"tests"}"#,
            "/ingest/cloudflare/logpush | x",
        ],
        expect![[r#"
            200 {"accepted":1,"errors":[],"rejected":0}
            400 {"accepted":0,"errors":[{"index":0,"message":"byte 0: id is no segment id of 16 hex digits"}],"rejected":0}
            200 {"accepted":0,"errors":[],"rejected":0}
            400 {"accepted":0,"errors":[{"index":0,"message":"byte 0: a Logpush record is an object"}],"rejected":0}
        "#]],
    )
    .await;
    let (xray, cloudflare) = (Receiver::Xray, Receiver::Cloudflare);
    assert_eq!(took(&desk), [xray, xray, cloudflare, cloudflare]);
}

/// The receivers of the batches that came.
fn took(desk: &Desk) -> Vec<Receiver> {
    let batches = desk.batches.lock().expect("not poisoned");
    batches.iter().map(|batch| batch.receiver).collect()
}
