//! Bodies of which half is sent and no more, over real sockets.

use super::*;

const ROOM: Limits = Limits {
    body_bytes_max: 40_000,
    in_flight_bytes_max: 80_000,
    // Nothing here waits for it.
    body_timeout: Duration::from_mins(10),
};

/// Sends a head and so many bytes of a body that has one more.
async fn begin(desk: &Desk, headers: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(desk.receivers.ingest()).await.expect("a connection");
    let length = bytes + 1;
    let head = format!(
        "POST /ingest/json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b' '; bytes]).await.expect("sent");
    stream
}

/// Asks until it is taken; how often it was refused. The half that is sent is held for less than its minute.
async fn refused_before(desk: &Desk, request: &str) -> usize {
    let mut n = 0;
    loop {
        let answer = ask(desk, request).await;
        if answer.starts_with("200 ") {
            return n;
        }
        assert!(answer.starts_with("503 retry-after"), "{answer}");
        n += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(n < 600, "half-sent bodies hold everything");
    }
}

async fn answer_of(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(30), reading).await;
    let _ = read.expect("an answer in time");
    answer.to_ascii_lowercase()
}

fn large() -> String {
    format!(r#"/ingest/json | {{"message":"{}"}}"#, "a".repeat(12_000))
}

#[tokio::test]
async fn an_open_daemon_is_not_held_by_half_sent_bodies() {
    let desk = desk(Ok(()), &[], ROOM).await;
    let mut halves = Vec::new();
    for _ in 0..2 {
        halves.push(begin(&desk, "", 39_000).await);
    }
    // Both are read before somebody else comes; then nothing fits until they stalled.
    let small = r#"/ingest/json | {"message":"a"}"#;
    refused_before(&desk, small).await;
    refused_before(&desk, &large()).await;
    let answer = answer_of(halves.remove(0)).await;
    assert!(answer.starts_with("http/1.1 503 ") && answer.contains("retry-after"), "{answer}");
    assert!(answer.contains("did not arrive in time"), "{answer}");
    let told: Vec<_> = desk.errors.take().map(|(code, _)| code).collect();
    assert_eq!(told, ["too_slow", "refused"]);
    // One that goes on after all is taken.
    let mut slow = begin(&desk, "", 10).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    slow.write_all(b"7").await.expect("sent");
    assert!(answer_of(slow).await.starts_with("http/1.1 400 "), "nobody needed its room");
}

#[tokio::test]
async fn who_only_claims_to_have_signed_holds_nobody_else_up() {
    let signer = Signer::try_new("shop", Scheme::StandardWebhooks, "whsec_c2VjcmV0");
    let desk = desk_with(Ok(()), ROOM, |access| {
        access.signers = vec![signer.expect("a secret")];
        access.tokens = vec![token("t", Reach::All)];
        access.required = true;
    })
    .await;
    let now = Clock::wall().now().as_secs();
    let claim =
        format!("webhook-id: 1\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,c2VjcmV0\r\n");
    let mut halves = Vec::new();
    for _ in 0..4 {
        halves.push(begin(&desk, &claim, 19_000).await);
    }
    // Who is proven has the other half at once.
    let proven = large().replace(" | {", " | authorization: Bearer t | {");
    assert_eq!(refused_before(&desk, &proven).await, 0);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
    let body = large().split(" | ").last().expect("a body").to_owned();
    let tag = ring::hmac::sign(&key, format!("2.{now}.{body}").as_bytes());
    let tag = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tag);
    let whole = format!(
        "/ingest/json | webhook-id: 2 | webhook-timestamp: {now} | webhook-signature: v1,{tag} | {body}"
    );
    refused_before(&desk, &whole).await;
    // Proven, it is no longer one of those who are not.
    *desk.waiting.lock().expect("not poisoned") = Some(Vec::new());
    refused_before(&desk, &whole).await;
    let next = begin(&desk, &claim, 19_000).await;
    let next = (next, begin(&desk, &claim, 19_000).await);
    refused_before(&desk, &proven).await;
    drop((next, halves));
}
