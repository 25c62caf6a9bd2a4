//! What the daemon was told to do, for those who ask: the configuration, whom it scrapes, whom it tells.
//!
//! Inert. Never is a secret in it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::signal::{Labels, Text, Timestamp};

/// Swapped at a reload.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The configuration as YAML, as it was written.
    pub config: Text,
    /// What it comes to, by the names of Prometheus's flags for the same.
    pub flags: BTreeMap<&'static str, String>,
    pub targets: Vec<ScrapeTarget>,
    /// Where alerts are pushed on to.
    pub alertmanagers: Vec<String>,
    pub retention: Duration,
    pub read_at: Timestamp,
}

/// A page that is scraped.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeTarget {
    pub job: Text,
    /// `host:port`.
    pub address: Text,
    pub scheme: Text,
    pub path: Text,
    /// On all of its series, `job` and `instance` among them.
    pub labels: Labels,
    pub interval: Duration,
    pub timeout: Duration,
}
