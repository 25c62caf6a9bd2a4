//! Alerts that others post, many at once.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Daemon;

/// What a post says, of the 2 MiB that a body may have.
const TEXT_BYTES: usize = 1_900_000;

fn alert(n: usize) -> Value {
    json!([{"labels": {"alertname": format!("a{n}")}, "annotations": {"text": "x".repeat(TEXT_BYTES)}}])
}

/// Posts one alert; gives the status of the answer.
fn post(daemon: &Daemon, n: usize) -> impl Future<Output = u16> + Send + 'static {
    let url = format!("http://{}/api/v2/alerts", daemon.pipeline.addresses().web);
    let sent = daemon.client.post(url).json(&alert(n)).send();
    async move { sent.await.expect("an answer").status().as_u16() }
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_at_once_pass_no_bound_and_what_is_acknowledged_is_held() {
    let dir = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(dir.path(), &[]).await;
    // 32 MiB may be said: there is room for one more after these.
    let n_fit = (32 << 20) / TEXT_BYTES;
    for n in 0..n_fit {
        assert_eq!(post(&daemon, n).await, 200, "{n}");
    }
    let at_once: JoinSet<u16> = (n_fit..n_fit + 6).map(|n| post(&daemon, n)).collect();
    let mut answers = at_once.join_all().await;
    answers.sort_unstable();
    assert_eq!(answers, [200, 503, 503, 503, 503, 503]);
    // Beside them the daemon may tell of its own.
    let (_, held) = daemon.get("/api/v2/alerts").await;
    let is_posted = |alert: &&Value| alert["annotations"]["text"].is_string();
    let n_held = held.as_array().map(|all| all.iter().filter(is_posted).count());
    assert_eq!(n_held, Some(n_fit + 1));
    daemon.stop().await;
}
