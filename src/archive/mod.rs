//! Archive: kept requests on disk, found by any id, time, duration, outcome.

use std::path::Path;
use std::time::Duration;

use crate::correlate::{Lookup, Request, RequestFilter};
use crate::signal::Timestamp;

/// What is kept, and how much.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Keep every request whose outcome is not ok.
    pub errors: bool,
    /// Keep the slowest of each flow and hour.
    pub slowest_per_flow: usize,
    /// Keep this share of the rest, chosen by the hash of the id.
    pub sample: f64,
    pub size_max_bytes: u64,
    pub retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            errors: true,
            slowest_per_flow: 100,
            sample: 0.01,
            size_max_bytes: 10 << 30,
            retention: Duration::from_hours(7 * 24),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("archive: {0}")]
    Store(String),
}

#[derive(Debug)]
pub struct Archive {}

impl Archive {
    /// Opens an empty archive in `dir`; what was there is removed, replay makes it again.
    pub fn create(_dir: &Path, _config: Config) -> Result<Self, Error> {
        Ok(Self {})
    }

    /// Keeps a final request if it is one to keep.
    pub fn offer(&self, _request: &Request) -> Result<(), Error> {
        Ok(())
    }

    /// By any id that belongs to a kept request.
    pub fn lookup(&self, _key: &str) -> Result<Lookup, Error> {
        Ok(Lookup::None)
    }

    /// Kept requests, newest first.
    pub fn requests(&self, _filter: &RequestFilter) -> Result<Vec<Request>, Error> {
        Ok(Vec::new())
    }

    /// Removes days that are older than retention or over the size.
    pub fn tick(&self, _now: Timestamp) -> Result<(), Error> {
        Ok(())
    }
}
