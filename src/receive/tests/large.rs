//! Bodies that need more room than there is for one sender beside others.

use super::*;
use crate::normalize::allowance::weight;
use crate::normalize::{Origin, json_log};

/// Of everything in flight.
const BYTES_MAX: usize = 8 << 20;

/// Records that become several times as long.
fn records(n: usize) -> Vec<u8> {
    "{\"message\":\"a\",\"x\":1}\n".repeat(n).into_bytes()
}

/// How many records take so many bytes, with the body that they come in.
fn n_of(bytes: usize) -> usize {
    let one = records(1);
    let read = json_log::normalize(&one, &Origin::default(), &normalize::Config::default());
    let weight = weight(&read.expect("readable").batch.signals[0].kind);
    bytes / (weight + one.len())
}

async fn post(desk: &Desk, token: &str, body: Vec<u8>) -> String {
    ask_bytes(desk, &["/ingest/json", &format!("authorization: Bearer {token}")], body).await
}

#[tokio::test]
async fn a_body_larger_than_one_senders_share_gets_in_while_another_keeps_the_house_busy() {
    let limits = Limits {
        in_flight_bytes_max: BYTES_MAX,
        body_bytes_max: BYTES_MAX / 2,
        ..Limits::default()
    };
    let desk = desk(Ok(()), &["one", "two"], limits).await;
    // What the other sends is never applied all at once: something of it is always there.
    *desk.waiting.lock().expect("not poisoned") = Some(Vec::new());
    let waiting = Arc::clone(&desk.waiting);
    let applying = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Some(all) = waiting.lock().expect("not poisoned").as_mut() {
                let n = all.len();
                all.drain(..n.saturating_sub(1).max(n / 2));
            }
        }
    });
    let url = format!("http://{}/ingest/json", desk.receivers.ingest());
    let busy = tokio::spawn(async move {
        let client = client();
        loop {
            let asked = client
                .post(&url)
                .bearer_auth("two")
                .body(records(n_of(BYTES_MAX / 16)))
                .send()
                .await;
            let _ = asked.expect("an answer").bytes().await;
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = post(&desk, "one", records(n_of(BYTES_MAX / 8 * 6))).await;
    assert!(answer.starts_with("200 "), "{answer}");
    let answer = post(&desk, "one", records(n_of(BYTES_MAX / 8 * 9))).await;
    let is_told = answer.starts_with("413 ") && answer.contains("a quarter of `memory_max`");
    assert!(is_told || answer.starts_with("503 "), "{answer}");
    busy.abort();
    applying.abort();
}

#[tokio::test]
async fn what_takes_more_than_there_is_in_all_is_told_so_and_what_takes_nearly_all_is_taken() {
    let limits = Limits {
        in_flight_bytes_max: BYTES_MAX,
        body_bytes_max: BYTES_MAX / 2,
        ..Limits::default()
    };
    let desk = desk(Ok(()), &["one"], limits).await;
    let answer = post(&desk, "one", records(n_of(BYTES_MAX / 8 * 6))).await;
    assert!(answer.starts_with("200 "), "{answer}");
    let answer = post(&desk, "one", records(n_of(BYTES_MAX / 8 * 9))).await;
    assert!(answer.starts_with("413 "), "{answer}");
    let answer = post(&desk, "one", records(10)).await;
    assert!(answer.starts_with("200 "), "its turn is over: {answer}");
}
