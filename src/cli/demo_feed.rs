//! Feeds a simulation to a running daemon over its own ingest port, in the demo's time.
//!
//! Each payload is posted when the clock reaches its time; what the daemon refuses is posted again, as
//! real exporters do. At most [`POSTS_MAX`] posts are under way, and the feed waits for one to end
//! before it begins another.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::signal::Timestamp;
use crate::simulate::{Emission, Simulation};

/// Posts under way at once.
const POSTS_MAX: usize = 16;
/// Tries of one post; with the waits below, a daemon may be away for half a minute.
const TRIES_MAX: u32 = 20;
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Longest answer time of one post.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longest sleep before the clock is looked at again: its speed changes when it meets the wall clock.
const SLEEP_MAX: Duration = Duration::from_millis(250);

/// How the feed went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fed {
    pub n_accepted: u64,
    /// Refused for good, or until the tries were over.
    pub n_failed: u64,
}

impl Fed {
    fn count(&mut self, is_accepted: bool) {
        self.n_accepted += u64::from(is_accepted);
        self.n_failed += u64::from(!is_accepted);
    }
}

/// Posts everything that the simulation sends to `ingest_url` (`http://127.0.0.1:4318`). Ends with the
/// simulation; dropping the future stops it, with all posts that are under way.
///
/// # Errors
/// Where no HTTP client can be made.
pub(super) async fn feed(
    mut simulation: Simulation,
    ingest_url: String,
    clock: Clock,
) -> anyhow::Result<Fed> {
    // A second installation is refused and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client =
        reqwest::Client::builder().timeout(ANSWER_MAX).build().context("no HTTP client")?;
    let places = Arc::new(Semaphore::new(POSTS_MAX));
    let mut posts = JoinSet::new();
    let mut fed = Fed::default();
    while let Some(emission) = simulation.next() {
        // Nobody asks a demo for its truth; it would grow for as long as the demo runs.
        drop(simulation.take_truth());
        wait_until(emission.at, &clock).await;
        let place = Arc::clone(&places).acquire_owned().await;
        let post = Post { client: client.clone(), url: format!("{ingest_url}{}", emission.path) };
        posts.spawn(async move {
            let is_accepted = post.until_accepted(&emission).await;
            drop(place);
            is_accepted
        });
        while let Some(ended) = posts.try_join_next() {
            fed.count(ended.unwrap_or(false));
        }
    }
    while let Some(ended) = posts.join_next().await {
        fed.count(ended.unwrap_or(false));
    }
    Ok(fed)
}

async fn wait_until(at: Timestamp, clock: &Clock) {
    loop {
        let now = clock.now();
        if now >= at {
            return;
        }
        let left = clock.real(at.since(now)).clamp(Duration::from_millis(1), SLEEP_MAX);
        tokio::time::sleep(left).await;
    }
}

struct Post {
    client: reqwest::Client,
    url: String,
}

enum Answered {
    Accepted,
    Refused,
    /// Come again later.
    NotNow,
}

impl Post {
    async fn until_accepted(&self, emission: &Emission) -> bool {
        let mut wait = WAIT_FIRST;
        for _ in 0..TRIES_MAX {
            match self.once(emission).await {
                Answered::Accepted => return true,
                Answered::Refused => return false,
                Answered::NotNow => tokio::time::sleep(wait).await,
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
        false
    }

    async fn once(&self, emission: &Emission) -> Answered {
        let mut request = self
            .client
            .post(&self.url)
            .header("content-type", emission.content_type)
            .body(emission.body.clone());
        for header in &emission.headers {
            request = request.header(header.name, &header.value);
        }
        match request.send().await.map(|answer| answer.status().as_u16()) {
            Ok(200..=299) => Answered::Accepted,
            Ok(429 | 502 | 503 | 504) | Err(_) => Answered::NotNow,
            Ok(_) => Answered::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode, Uri};
    use bytes::Bytes;

    use super::*;
    use crate::simulate::SimulationConfig;

    /// What a daemon got: bodies by path, accepted at their second coming.
    #[derive(Default)]
    struct Daemon {
        seen: BTreeMap<Bytes, u32>,
        accepted: Vec<String>,
    }

    async fn take(
        State(daemon): State<Arc<Mutex<Daemon>>>,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> StatusCode {
        let mut daemon = daemon.lock().unwrap();
        let n_seen = daemon.seen.entry(body).or_default();
        *n_seen += 1;
        if *n_seen == 1 && uri.path() == "/ingest/json" {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        if uri.path() == "/ingest/aws/telemetry" {
            assert!(headers.contains_key("idempotency-key"));
            return StatusCode::BAD_REQUEST;
        }
        daemon.accepted.push(uri.path().to_owned());
        StatusCode::OK
    }

    #[tokio::test]
    async fn every_payload_is_posted_until_it_is_accepted_or_refused_for_good() {
        let daemon = Arc::new(Mutex::new(Daemon::default()));
        let app = axum::Router::new().fallback(take).with_state(Arc::clone(&daemon));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let config = SimulationConfig::new(1, Timestamp::from_nanos(1), 10);
        let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
        for emission in Simulation::new(&config) {
            *expected.entry(emission.path).or_default() += 1;
        }
        let fed = feed(Simulation::new(&config), url, Clock::wall()).await.unwrap();
        server.abort();
        let refused = expected.remove("/ingest/aws/telemetry").unwrap();
        assert_eq!(crate::number::usize_from_u64(fed.n_failed), refused);
        let mut accepted: BTreeMap<&str, usize> = BTreeMap::new();
        let daemon = daemon.lock().unwrap();
        for path in &daemon.accepted {
            *accepted.entry(path).or_default() += 1;
        }
        assert_eq!(accepted, expected);
    }
}
