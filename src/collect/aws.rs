//! AWS: what SQS and CloudWatch tell only when they are asked.
//!
//! In: pollers, each of one region. Out: the depth of queues and dead-letter queues (SQS), the age of the
//! oldest message, throttles and concurrency (CloudWatch), the last at the times that CloudWatch gives.
//! A queue's redrive policy names its dead-letter queue by itself. Missing is not zero: what was not
//! answered becomes no point.

mod call;
pub mod config;
mod credentials;
mod metrics;
mod profile;
mod queues;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::call::Caller;
pub use self::config::Poller;
use self::metrics::Wanted;
use self::queues::Queues;
use super::{Shared, told};

/// The pollers that run now.
#[derive(Debug, Default)]
pub(super) struct Running {
    pollers: Vec<Poller>,
    stop: Option<watch::Sender<bool>>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Begins anew where the configuration is another one.
    pub(super) async fn come_to(&mut self, pollers: &[Poller], shared: &Shared) {
        if self.pollers == pollers {
            return;
        }
        self.end().await;
        let (stop, stopped) = watch::channel(false);
        for poller in pollers {
            self.tasks.spawn(run(poller.clone(), shared.clone(), stopped.clone()));
        }
        self.pollers = pollers.to_vec();
        self.stop = Some(stop);
    }

    /// Waits until all have ended.
    pub(super) async fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send_replace(true);
        }
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(event = "collect.task.failed", %error);
            }
        }
    }
}

async fn run(poller: Poller, shared: Shared, mut unwanted: watch::Receiver<bool>) {
    let caller = match Caller::try_new(&poller, shared.clock.clone()) {
        Ok(caller) => caller,
        Err(error) => {
            tracing::error!(event = "collect.client.failed", %error);
            return;
        }
    };
    let mut polling = Polling {
        caller,
        queues: Queues::default(),
        wanted: Wanted::default(),
        fails: false,
        poller,
        shared: shared.clone(),
    };
    let mut stopping = shared.stopping.clone();
    loop {
        tokio::select! {
            () = told(&mut stopping) => return,
            () = told(&mut unwanted) => return,
            () = polling.once() => {}
        }
        let wait = shared.clock.real(polling.poller.interval);
        tokio::select! {
            () = told(&mut stopping) => return,
            () = told(&mut unwanted) => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct Polling {
    caller: Caller,
    queues: Queues,
    wanted: Wanted,
    /// Whether the last look failed; a failure is told once.
    fails: bool,
    poller: Poller,
    shared: Shared,
}

impl Polling {
    async fn once(&mut self) {
        let mut failures = Vec::new();
        let depths = self.queues.look(&self.caller, &self.poller, &mut failures).await;
        let at = self.shared.clock.now();
        let mut batches = vec![queues::batch(&depths, at)];
        let names = depths.iter().map(|depth| depth.queue.clone());
        self.wanted.come_to(&self.poller, names);
        let normalize = self.shared.normalize.load_full();
        match self.wanted.look(&self.caller, &normalize).await {
            Ok(batch) => batches.extend(batch),
            Err(error) => failures.push(format!("CloudWatch: {error}")),
        }
        for batch in batches.into_iter().filter(|batch| !batch.signals.is_empty()) {
            let patience = self.poller.interval.min(Duration::from_secs(30));
            if let Err(refusal) = self.shared.deliver(batch, patience).await {
                tracing::warn!(event = "collect.batch.refused", region = self.poller.region, %refusal);
                // What CloudWatch told is asked for again.
                self.wanted.forget();
            }
        }
        self.note(&failures);
    }

    fn note(&mut self, failures: &[String]) {
        let region = &self.poller.region;
        match failures.first() {
            Some(error) if !self.fails => {
                tracing::warn!(event = "collect.poll.failed", region, n = failures.len(), error);
            }
            Some(error) => {
                tracing::debug!(event = "collect.poll.failed", region, n = failures.len(), error);
            }
            None if self.fails => tracing::info!(event = "collect.poll.started", region),
            None => {}
        }
        self.fails = !failures.is_empty();
    }
}
