//! Reading the configuration again: by SIGHUP or by POST, the same way.
//!
//! What changes the state goes through the log like everything that does; a bad file changes nothing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use super::doors::Doors;
use super::start::deliverable;
use super::state::{Entry, State};
use super::terms::Terms;
use super::threads::Log;
use crate::config::{Config, Listen};
use crate::forward::alertmanagers::Peer;
use crate::forward::endpoint::Endpoint;
use crate::internal_telemetry::happening::ConfigReloaded;
use crate::signal::Diagnostic;
use crate::{normalize, notify, promql};

/// Reads the configuration again and hands it to every stage, or says what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Reload {
    /// File and overrides; None: it cannot be read again.
    pub(super) source: Option<(Option<PathBuf>, Vec<String>)>,
    pub(super) state: State,
    pub(super) normalize: Arc<ArcSwap<normalize::Config>>,
    pub(super) doors: Doors,
    /// What the start was given and no reload changes.
    pub(super) fixed: Arc<Fixed>,
    /// Set when recovery is over.
    pub(super) log: Arc<OnceLock<Log>>,
    /// One at a time: what one takes back must be what it changed itself, and what holds in the end is what
    /// was read last.
    pub(super) turn: Arc<Mutex<()>>,
}

/// Settings that hold from a start to the next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fixed {
    listen: Listen,
    data_dir: PathBuf,
    memory_max_bytes: u64,
    journal_size_max_bytes: u64,
    query: promql::limits::Limits,
    remote_write: Vec<Endpoint>,
    alertmanagers: Vec<Peer>,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            listen: config.listen,
            data_dir: config.data_dir.clone(),
            memory_max_bytes: config.memory_max_bytes,
            journal_size_max_bytes: config.journal_size_max_bytes,
            query: config.query,
            remote_write: config.remote_write.clone(),
            alertmanagers: config.alertmanagers.clone(),
        }
    }

    /// What is not in force of a configuration that was read again, for people.
    fn until_restart(&self, config: &Config) -> Vec<String> {
        let read = Self::of(config);
        // The bounds of queries follow from the memory: one change is told once.
        let has_same_memory = self.memory_max_bytes == read.memory_max_bytes;
        let changed = [
            ("listen", self.listen != read.listen),
            ("data_dir", self.data_dir != read.data_dir),
            ("memory_max", !has_same_memory),
            ("journal.size_max", self.journal_size_max_bytes != read.journal_size_max_bytes),
            ("query", has_same_memory && self.query != read.query),
            ("forward.remote_write", self.remote_write != read.remote_write),
            ("forward.alertmanagers", self.alertmanagers != read.alertmanagers),
        ];
        let changed = changed.into_iter().filter(|(_, is_other)| *is_other);
        changed.map(|(key, _)| format!("`{key}` changes at the next start only")).collect()
    }
}

impl Reload {
    pub(super) fn new(
        source: Option<(Option<PathBuf>, Vec<String>)>,
        config: &Config,
        state: &State,
        normalize: &Arc<ArcSwap<normalize::Config>>,
        doors: &Doors,
    ) -> Self {
        let (normalize, log) = (Arc::clone(normalize), Arc::default());
        let (state, doors) = (state.clone(), doors.clone());
        let fixed = Arc::new(Fixed::of(config));
        Self { source, state, normalize, doors, fixed, log, turn: Arc::default() }
    }

    /// Blocks until the new configuration is on disk and in force, after all that began before. Gives what of
    /// it is not in force before the next start.
    pub(super) fn run(&self) -> Result<Vec<String>, Vec<Diagnostic>> {
        // It guards no data that a panic could leave in halves.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.try_run();
        ConfigReloaded { errors: outcome.as_ref().err().map_or(&[], Vec::as_slice) }.emit();
        outcome
    }

    fn try_run(&self) -> Result<Vec<String>, Vec<Diagnostic>> {
        let Some((file, sets)) = &self.source else { return Ok(Vec::new()) };
        let config = Config::load(file.as_deref(), sets)?;
        deliverable(&config)?;
        let terms = Terms::of(&config);
        terms.check()?;
        let name = file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        if let Some(refusal) = self.doors.refusal(&config) {
            return Err(vec![Diagnostic::new(&name, "", 0, 0, refusal)]);
        }
        self.write(&terms, &config.notify)
            .map_err(|error| vec![Diagnostic::new(&name, "", 0, 0, error)])?;
        self.doors.set(&config);
        let later = self.fixed.until_restart(&config);
        for warning in config.warnings.iter().chain(&later) {
            tracing::warn!(event = "config.file.found", "{warning}");
        }
        self.normalize.store(Arc::new(config.normalize));
        Ok(later)
    }

    /// The routing takes effect when the record is applied, so it is there before, and goes again where there
    /// is no record.
    fn write(&self, terms: &Terms, routing: &notify::Config) -> Result<(), &'static str> {
        let log = self.log.get().ok_or("recovery is not over; try again")?;
        let entry = terms.entry().map_err(|_failed| "it cannot be written as text")?;
        let before = self.state.routing.swap(Arc::new(routing.clone()));
        log.write_and_wait(entry).map_err(|_refused| {
            self.state.routing.store(before);
            "the journal took no record of it; try again"
        })
    }
}

impl Terms {
    pub(super) fn entry(&self) -> Result<Entry, serde_json::Error> {
        Ok(Entry::Terms(serde_json::to_string(self)?))
    }
}
