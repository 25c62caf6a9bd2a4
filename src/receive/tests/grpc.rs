//! OTLP over gRPC, by hand.

use super::*;

/// A gRPC call by hand: one length-prefixed message over HTTP/2.
async fn call(
    desk: &Desk,
    method: &str,
    encoding: Option<&str>,
    message: &[u8],
) -> (Option<String>, Vec<u8>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let mut body = vec![u8::from(encoding.is_some())];
    body.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
    body.extend_from_slice(message);
    let mut request = client
        .post(format!(
            "http://{}/opentelemetry.proto.collector.{method}/Export",
            desk.receivers.otlp_grpc()
        ))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body);
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let answer = request.send().await.expect("an answer");
    let header = |name: &str| {
        answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let status = header("grpc-status").map(|status| {
        let details =
            if header("grpc-status-details-bin").is_some() { " with details" } else { "" };
        format!("{status}{details}")
    });
    (status, answer.bytes().await.expect("a body").to_vec())
}

#[tokio::test]
async fn grpc_takes_every_encoding_and_answers_by_the_matrix() {
    let good = desk(Ok(()), &[], Limits::default()).await;
    let packed = zstd::bulk::compress(&traces(2), 1).expect("memory");
    for (encoding, message) in [(None, traces(2)), (Some("zstd"), packed)] {
        let (status, body) = call(&good, "trace.v1.TraceService", encoding, &message).await;
        assert_eq!(
            (status, body),
            (None, vec![0; 5]),
            "an empty response message, its status in the trailers"
        );
    }
    assert_eq!(
        good.batches
            .lock()
            .expect("not poisoned")
            .iter()
            .map(|batch| batch.signals.len())
            .sum::<usize>(),
        4
    );
    let (status, _) = call(&good, "trace.v1.TraceService", None, b"\xff\xff").await;
    assert_eq!(status.as_deref(), Some("3"), "INVALID_ARGUMENT");
    let (status, _) = call(&good, "profiles.v1.ProfilesService", None, b"").await;
    assert_eq!(status.as_deref(), Some("12"), "UNIMPLEMENTED");

    let refusing = desk(Err(Refusal::DiskFull), &[], Limits::default()).await;
    let (status, _) = call(&refusing, "trace.v1.TraceService", None, &traces(1)).await;
    assert_eq!(status.as_deref(), Some("14 with details"), "UNAVAILABLE with RetryInfo");

    let closed = desk(Ok(()), &["s3cret"], Limits::default()).await;
    let (status, _) = call(&closed, "trace.v1.TraceService", None, &traces(1)).await;
    assert_eq!(status.as_deref(), Some("16"), "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_message_is_admitted_as_it_comes_and_before_it_is_unpacked() {
    let limits = Limits { in_flight_bytes_max: 10_240, ..Limits::default() };
    let desk = desk(Ok(()), &[], limits).await;
    // A gRPC message is refused while it comes, not once it is there.
    let (status, _) = call(&desk, "trace.v1.TraceService", None, &vec![0; 20_000]).await;
    assert_eq!(status.as_deref(), Some("8"), "RESOURCE_EXHAUSTED: there is never room for it");
    let (status, _) = call(&desk, "trace.v1.TraceService", None, &traces(1)).await;
    assert_eq!(status, None, "room comes back");
    // Nor is one that is packed unpacked before there is room for what it becomes.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![0; 200_000]).expect("memory");
    let packed = packed.finish().expect("memory");
    let waiting = desk.waiting.lock().expect("not poisoned").replace(Vec::new());
    assert!(waiting.is_none());
    assert!(ask(&desk, r#"/ingest/json | {"message":"a"}"#).await.starts_with("200 "));
    let (status, _) = call(&desk, "trace.v1.TraceService", Some("gzip"), &packed).await;
    assert_eq!(status.as_deref(), Some("14 with details"), "UNAVAILABLE with RetryInfo");
    *desk.waiting.lock().expect("not poisoned") = None;
    let (status, _) = call(&desk, "trace.v1.TraceService", Some("br"), &traces(1)).await;
    assert_eq!(status.as_deref(), Some("12"), "UNIMPLEMENTED");
    let (status, _) = call(&desk, "trace.v1.TraceService", Some("gzip"), &traces(1)).await;
    assert_eq!(status.as_deref(), Some("3"), "it is not packed as it says");
}
