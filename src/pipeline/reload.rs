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
use crate::config::Config;
use crate::internal_telemetry::happening::ConfigReloaded;
use crate::signal::Diagnostic;
use crate::{normalize, notify};

/// Reads the configuration again and hands it to every stage, or says what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Reload {
    /// File and overrides; None: it cannot be read again.
    pub(super) source: Option<(Option<PathBuf>, Vec<String>)>,
    pub(super) state: State,
    pub(super) normalize: Arc<ArcSwap<normalize::Config>>,
    pub(super) doors: Doors,
    /// Set when recovery is over.
    pub(super) log: Arc<OnceLock<Log>>,
    /// One at a time: what one takes back must be what it changed itself, and what holds in the end is what
    /// was read last.
    pub(super) turn: Arc<Mutex<()>>,
}

impl Reload {
    pub(super) fn new(
        source: Option<(Option<PathBuf>, Vec<String>)>,
        state: &State,
        normalize: &Arc<ArcSwap<normalize::Config>>,
        doors: &Doors,
    ) -> Self {
        let (normalize, log) = (Arc::clone(normalize), Arc::default());
        let (state, doors) = (state.clone(), doors.clone());
        Self { source, state, normalize, doors, log, turn: Arc::default() }
    }

    /// Blocks until the new configuration is on disk and in force, after all that began before.
    pub(super) fn run(&self) -> Result<(), Vec<Diagnostic>> {
        // It guards no data that a panic could leave in halves.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.try_run();
        ConfigReloaded { errors: outcome.as_ref().err().map_or(&[], Vec::as_slice) }.emit();
        outcome
    }

    fn try_run(&self) -> Result<(), Vec<Diagnostic>> {
        let Some((file, sets)) = &self.source else { return Ok(()) };
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
        for warning in &config.warnings {
            tracing::warn!(event = "config.file.found", "{warning}");
        }
        self.normalize.store(Arc::new(config.normalize));
        Ok(())
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
