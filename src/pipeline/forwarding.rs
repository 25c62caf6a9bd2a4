//! Carries the store's series to remote write endpoints, one task each, until told to stop.
//!
//! In: the store, where each endpoint stood when the daemon stopped. Out: requests; progress on disk
//! after every interval that was taken. Never does an endpoint that is away hold anything up: its
//! backlog is the store itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::state::State;
use crate::clock::Clock;
use crate::config::Config;
use crate::forward::endpoint::Endpoint;
use crate::forward::progress::{Outgoing, Packed, Progress};
use crate::forward::send::{self, Outcome};
use crate::internal_telemetry::Metrics;
use crate::internal_telemetry::happening::{ForwardSkipped, ForwardStarted, SamplesForwarded};
use crate::series::{Series, select_shared};

/// How often it is looked whether an interval is over.
const POLL: Duration = Duration::from_secs(1);

/// What every endpoint's task works with.
#[derive(Clone)]
pub(super) struct Forwarding {
    series: Arc<RwLock<Series>>,
    clock: Clock,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
}

impl Forwarding {
    pub(super) fn of(
        state: &State,
        clock: &Clock,
        metrics: &Arc<Metrics>,
        stopping: &watch::Receiver<bool>,
    ) -> Self {
        Self {
            series: Arc::clone(&state.series),
            clock: clock.clone(),
            metrics: Arc::clone(metrics),
            stopping: stopping.clone(),
        }
    }

    /// Forwards to every endpoint of the configuration until told to stop.
    pub(super) fn start(self, config: &Config) -> tokio::task::JoinHandle<()> {
        let dir = config.data_dir.join("forward");
        tokio::spawn(self.all(config.remote_write.clone(), dir))
    }

    async fn all(self, endpoints: Vec<Endpoint>, dir: PathBuf) {
        if endpoints.is_empty() {
            return;
        }
        let client = match send::client() {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(event = "forward.client.failed", %error);
                return;
            }
        };
        let mut tasks = JoinSet::new();
        for endpoint in endpoints {
            let file = dir.join(endpoint.file_name());
            let one = One { progress: load(&file), file, endpoint, client: client.clone() };
            tasks.spawn(one.run(self.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// One endpoint.
struct One {
    progress: Progress,
    /// Where progress is kept.
    file: PathBuf,
    endpoint: Endpoint,
    client: reqwest::Client,
}

impl One {
    async fn run(mut self, mut world: Forwarding) {
        ForwardStarted { endpoint: self.endpoint.host() }.emit();
        loop {
            tokio::select! {
                _ = world.stopping.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(POLL) => {}
            }
            while let Some(outgoing) = self.next(&world).await {
                if !self.deliver(&outgoing, &mut world).await {
                    return;
                }
                self.progress.advance(outgoing);
                if let Err(error) = save(&self.file, &self.progress) {
                    tracing::warn!(event = "forward.progress.failed", %error, "after a restart samples go out twice");
                }
            }
        }
    }

    /// The next interval, read off the runtime's threads.
    async fn next(&mut self, world: &Forwarding) -> Option<Outgoing> {
        let (progress, endpoint) = (self.progress.clone(), self.endpoint.clone());
        let (series, now) = (Arc::clone(&world.series), world.clock.now());
        let reading = tokio::task::spawn_blocking(move || {
            progress.next(now, &endpoint, &|selection| select_shared(&series, selection, &|| true))
        });
        match reading.await {
            Ok(Ok(outgoing)) => outgoing,
            Ok(Err(error)) => {
                let skipped = self.progress.give_up(world.clock.now());
                self.skipped(skipped, &error.to_string(), world);
                None
            }
            Err(error) => {
                tracing::error!(event = "forward.task.failed", %error);
                None
            }
        }
    }

    /// Sends all requests of an interval, each until it is taken or rejected; false where the daemon
    /// stops before.
    async fn deliver(&self, outgoing: &Outgoing, world: &mut Forwarding) -> bool {
        if !outgoing.skipped.is_zero() {
            self.skipped(outgoing.skipped, "the endpoint was away for longer than is kept", world);
        }
        for request in &outgoing.requests {
            if !self.deliver_one(request, world).await {
                return false;
            }
        }
        true
    }

    async fn deliver_one(&self, request: &Packed, world: &mut Forwarding) -> bool {
        let mut n_failures = 0;
        let told = |outcome: &'static str, why: &str, metrics: &Metrics| {
            let (endpoint, n) = (self.endpoint.host(), request.n_samples);
            SamplesForwarded { endpoint, outcome, why, n }.emit(metrics);
        };
        loop {
            let sent = send::send(&self.client, &self.endpoint, request.bytes.clone()).await;
            let wait = match sent {
                Outcome::Taken => {
                    told("sent", "", &world.metrics);
                    return true;
                }
                Outcome::Rejected { why } => {
                    told("rejected", &why, &world.metrics);
                    return true;
                }
                Outcome::Refused { why, after } => {
                    n_failures += 1;
                    told("refused", &why, &world.metrics);
                    send::wait(n_failures, after)
                }
            };
            tokio::select! {
                _ = world.stopping.wait_for(|stop| *stop) => return false,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn skipped(&self, skipped: Duration, why: &str, world: &Forwarding) {
        ForwardSkipped { endpoint: self.endpoint.host(), skipped, why }.emit(&world.metrics);
    }
}

/// Without a readable file it begins with now: counters are sums, so nothing is counted twice.
fn load(file: &Path) -> Progress {
    let Ok(bytes) = std::fs::read(file) else { return Progress::default() };
    Progress::decode(&bytes).unwrap_or_else(|error| {
        tracing::warn!(event = "forward.progress.failed", %error, "beginning anew");
        Progress::default()
    })
}

/// Whole or not at all: a new file takes the old one's name.
fn save(file: &Path, progress: &Progress) -> std::io::Result<()> {
    let bytes = progress.encode().map_err(std::io::Error::other)?;
    let new = file.with_extension("new");
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(&new, bytes)?;
    std::fs::File::open(&new)?.sync_all()?;
    std::fs::rename(&new, file)
}
