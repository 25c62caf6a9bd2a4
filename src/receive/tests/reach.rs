//! Tokens that reach some receivers only.

use super::*;

fn only(names: &str) -> Reach {
    let all = names.split_whitespace().map(|one| named(one).expect("a receiver"));
    Reach::Only(all.collect::<Vec<_>>().concat())
}

/// A desk that knows three tokens, by what they reach.
async fn scoped() -> Desk {
    desk_with(Ok(()), Limits::default(), |access| {
        access.tokens = vec![
            token("firehose-key", only("firehose json")),
            token("otlp-key", only("otlp")),
            token("reader", only("")),
        ];
        access.required = true;
    })
    .await
}

#[tokio::test]
async fn a_token_delivers_to_its_receivers_and_is_told_so_elsewhere() {
    let desk = scoped().await;
    check(
        &desk,
        &[
            r#"/ingest/json | authorization: Bearer firehose-key | {"message":"a","level":"INFO"}"#,
            r#"/ingest/aws/firehose | x-amz-firehose-access-key: firehose-key | {"requestId":"1","timestamp":1,"records":[]}"#,
            r#"/v1/traces | content-type: application/json | authorization: Bearer firehose-key | {"resourceSpans":[]}"#,
            r#"/v1/traces | content-type: application/json | authorization: Bearer otlp-key | {"resourceSpans":[]}"#,
            r#"/ingest/json | authorization: Bearer otlp-key | {"message":"a"}"#,
            r"/ingest/gcp/pubsub | authorization: Bearer otlp-key | {}",
            r#"/ingest/aws/firehose | x-amz-firehose-request-id: 7 | x-amz-firehose-access-key: otlp-key | {"requestId":"7","timestamp":1,"records":[]}"#,
            r#"/ingest/json | authorization: Bearer reader | {"message":"a"}"#,
            r#"/ingest/json | authorization: Bearer nobody | {"message":"a"}"#,
        ],
        expect![[r#"
            200 {"accepted":1,"errors":[],"rejected":0}
            200 {"requestId":"1","timestamp":"…"}
            403 {"code":7,"message":"the token `the firehose-key` may not deliver to `otlp_http`; its `receivers` are firehose, json"}
            200 {}
            403 {"error":{"code":"forbidden","message":"the token `the otlp-key` may not deliver to `json`; its `receivers` are otlp_grpc, otlp_http"}}
            403 {"error":{"code":"forbidden","message":"the token `the otlp-key` may not deliver to `pubsub`; its `receivers` are otlp_grpc, otlp_http"}}
            403 {"errorMessage":"the token `the otlp-key` may not deliver to `firehose`; its `receivers` are otlp_grpc, otlp_http","requestId":"7","timestamp":"…"}
            403 {"error":{"code":"forbidden","message":"the token `the reader` may not deliver: it has no scope `ingest`"}}
            401 {"error":{"code":"unauthorized","message":"no known credential: send `Authorization: Bearer TOKEN`"}}
        "#]],
    )
    .await;
    assert_eq!(desk.batches.lock().expect("not poisoned").len(), 3, "nothing else was taken");
    let told: Vec<_> = desk.errors.take().collect();
    assert_eq!(told, [("unauthorized", 1), ("forbidden", 5)]);
}

#[tokio::test]
async fn one_secret_under_two_names_reaches_what_either_does() {
    let desk = desk_with(Ok(()), Limits::default(), |access| {
        access.tokens = vec![
            token("both", only("")),
            token("both", only("json")),
            token("both", only("firehose")),
        ];
        access.required = true;
    })
    .await;
    for path in ["/ingest/json", "/ingest/aws/firehose"] {
        let body = r#"{"requestId":"1","timestamp":1,"records":[]}"#;
        let answer = ask(&desk, &format!("{path} | authorization: Bearer both | {body}")).await;
        assert!(answer.starts_with("200 "), "{path}: {answer}");
    }
    let answer = ask(&desk, "/ingest/vercel | authorization: Bearer both | []").await;
    assert!(answer.starts_with("403 "), "{answer}");
}

/// The body of who may not deliver is not waited for.
#[tokio::test]
async fn it_is_told_before_its_body() {
    let desk = scoped().await;
    let mut stream = TcpStream::connect(desk.receivers.ingest()).await.expect("a connection");
    let head = "POST /ingest/json HTTP/1.1\r\nhost: x\r\nauthorization: Bearer otlp-key\r\ncontent-length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 2048];
    let reading = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut answer));
    let n = reading.await.expect("an answer without a body").expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..n]).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 403 "), "{answer}");
    assert!(answer.contains("www-authenticate: bearer error=\"insufficient_scope\""), "{answer}");
}
