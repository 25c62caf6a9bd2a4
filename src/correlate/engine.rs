//! The engine: the pure core that holds invocations, edges and requests.

use std::time::Duration;

use super::Config;
use super::ledger::Ledger;
use super::request::{Change, Outcome, Request};
use crate::signal::{Batch, Text, Timestamp};

/// Holds everything that is open or correctable.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    ledger: Ledger,
}

/// What became of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Indexes of the metric signals that are new: the series store takes them.
    pub metrics: Vec<usize>,
}

/// What the engine thinks somebody should know.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// `quarantined_key`, `incomplete_request`, `memory`, ...
    pub kind: &'static str,
    pub message: String,
    pub since: Timestamp,
}

/// Which requests to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RequestFilter {
    pub function: Option<Text>,
    pub flow: Option<Text>,
    pub queue: Option<Text>,
    pub outcome: Option<Outcome>,
    pub min_duration: Option<Duration>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub limit: usize,
}

/// What a key leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    None,
    One(Box<Request>),
    /// The key belongs to several: earliest first.
    Several(Vec<Request>),
}

impl Engine {
    pub fn new(config: Config) -> Self {
        Self { config, ledger: Ledger::default() }
    }

    /// A reload: what is held stays, new settings hold from now on.
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
    }

    /// Takes one journaled batch. `now` is log time.
    pub fn apply(&mut self, _batch: &Batch, _now: Timestamp) -> Applied {
        Applied::default()
    }

    /// One journaled tick (at most 1 s of age): settles, expires, and says what changed.
    pub fn tick(&mut self, _now: Timestamp) -> Vec<Change> {
        Vec::new()
    }

    /// By any id that belongs to a request: its own id or alias, correlation, trace, invocation or message id.
    pub fn lookup(&self, _key: &str) -> Lookup {
        Lookup::None
    }

    /// Open and correctable requests, newest first.
    pub fn requests(&self, _filter: &RequestFilter) -> Vec<Request> {
        Vec::new()
    }

    /// Requests that are not finished, by flow.
    pub fn open_by_flow(&self) -> Vec<(Text, u64)> {
        Vec::new()
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn findings(&self) -> Vec<Finding> {
        Vec::new()
    }
}
