//! Collect: doors that we open ourselves, to what does not push.
//!
//! What comes in: a [`Config`] that names whom to ask. What goes out: [`Delivery`]s, the same as the
//! receivers give, so what is pulled is journaled, counted and correlated as what is pushed. Never is
//! anything pulled counted twice: each point is known by its series and its time.

pub mod aws;
pub mod files;
mod points;
pub mod scrape;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::normalize;
use crate::receive::{Delivery, Refusal, Way, Weight};
use crate::signal::Batch;

/// First wait after a refused delivery; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait between two tries to hand over a batch.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    pub scrapes: Vec<scrape::Job>,
    pub pollers: Vec<aws::Poller>,
    pub files: Vec<files::Job>,
    /// Where positions are kept.
    pub data_dir: std::path::PathBuf,
}

/// What every collector works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shared {
    pub normalize: Arc<ArcSwap<normalize::Config>>,
    pub clock: Clock,
    pub accepted: mpsc::Sender<Delivery>,
    pub stopping: watch::Receiver<bool>,
}

/// Collects until told to stop; a new configuration ends what it does not name and starts what is new.
pub async fn run(mut configs: watch::Receiver<Config>, shared: Shared) {
    let mut stopping = shared.stopping.clone();
    let mut scraping = scrape::Running::default();
    let mut polling = aws::Running::default();
    let mut following = files::Running::default();
    loop {
        let config = configs.borrow_and_update().clone();
        scraping.come_to(&config.scrapes, &shared).await;
        polling.come_to(&config.pollers, &shared).await;
        following.come_to(&config.files, &config.data_dir, &shared).await;
        let is_open = tokio::select! {
            () = told(&mut stopping) => break,
            changed = configs.changed() => changed.is_ok(),
        };
        if !is_open {
            // Nobody can bring another configuration; what runs goes on.
            told(&mut stopping).await;
            break;
        }
    }
    scraping.end().await;
    polling.end().await;
    following.end().await;
}

/// Resolves once it is said, or nobody can say it any more.
async fn told(said: &mut watch::Receiver<bool>) {
    drop(said.wait_for(|said| *said).await);
}

impl Shared {
    /// Hands a batch over and waits until it is on disk. Refusals are tried again for `patience`; then,
    /// or when the daemon stops, the last refusal is given.
    async fn deliver(&self, batch: Batch, patience: Duration) -> Result<(), Refusal> {
        let (mut wait, mut waited) = (BACKOFF_MIN, Duration::ZERO);
        loop {
            let (answer, durable) = oneshot::channel();
            let (batch, weight, way) = (batch.clone(), Weight::default(), Way::Fetched);
            let delivery = Delivery { batch, weight, way, answer };
            let outcome = match self.accepted.try_send(delivery) {
                Ok(()) => durable.await.unwrap_or(Err(Refusal::Draining)),
                Err(mpsc::error::TrySendError::Full(_)) => Err(Refusal::Behind),
                Err(mpsc::error::TrySendError::Closed(_)) => Err(Refusal::Draining),
            };
            let Err(refusal) = outcome else { return Ok(()) };
            let is_over = waited >= patience || *self.stopping.borrow();
            if is_over || matches!(refusal, Refusal::Draining | Refusal::Poisoned) {
                return Err(refusal);
            }
            let mut stopping = self.stopping.clone();
            tokio::select! {
                () = told(&mut stopping) => return Err(refusal),
                () = tokio::time::sleep(self.clock.real(wait)) => {}
            }
            waited += wait;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }
}
