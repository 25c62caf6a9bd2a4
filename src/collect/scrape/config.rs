//! What a scrape job is made of, and its targets.

use std::collections::BTreeMap;
use std::time::Duration;

use super::presets::Preset;
use super::relabel::Relabel;
use crate::signal::{Fnv128, Labels, Text};

/// As remote write's; queues move in seconds.
pub const INTERVAL: Duration = Duration::from_secs(15);
/// Prometheus's default; never longer than the interval.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// A page of a large exporter has a few MiB.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Samples of one page; the series store holds as many series in its memory.
pub const SAMPLES_MAX: usize = 50_000;
/// Targets of all jobs together.
pub const TARGETS_MAX: usize = 1000;

/// One entry of `scrape`.
#[derive(Clone, PartialEq)]
pub struct Job {
    pub name: String,
    /// `host:port` each.
    pub targets: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
    /// `http` or `https`.
    pub scheme: String,
    pub path: String,
    pub params: BTreeMap<String, Vec<String>>,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// On every series of its targets.
    pub labels: Labels,
    /// A page's own `job` and `instance` win over ours.
    pub honor_labels: bool,
    /// Times that a page tells are taken.
    pub honor_timestamps: bool,
    /// Asks for protobuf first, which alone has native histograms; of one that has both, they are taken.
    pub native_histograms: bool,
    /// Names that a broker or platform uses, to the contract's.
    pub preset: Option<Preset>,
    pub relabel: Vec<Relabel>,
    pub body_bytes_max: usize,
    pub samples_max: usize,
}

impl std::fmt::Debug for Job {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

/// One page to fetch.
#[derive(Clone, PartialEq)]
pub struct Target {
    pub(super) job: String,
    pub(super) instance: String,
    pub(super) url: String,
    pub(super) interval: Duration,
    /// Where in the interval its scrapes lie.
    pub(super) phase: Duration,
    pub(super) labels: Labels,
    pub(super) settings: Job,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("job", &self.job)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Its targets, each with the labels `job` and `instance` and the job's own.
    pub fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        self.targets.iter().map(|address| self.target(address))
    }

    fn target(&self, address: &str) -> Target {
        let mut url = format!("{}://{address}{}", self.scheme, self.path);
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, values) in &self.params {
            for value in values {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        if !query.is_empty() {
            url.push(if self.path.contains('?') { '&' } else { '?' });
            url.push_str(&query);
        }
        let own = [("job", self.name.as_str()), ("instance", address)];
        let own = own.map(|(name, value)| (Text::from(name), Text::from(value)));
        let hash = Fnv128::default().field(self.name.as_bytes()).field(url.as_bytes()).finish();
        let every = self.interval.as_nanos().max(1);
        let phase = u64::try_from(hash % every).unwrap_or_default();
        Target {
            job: self.name.clone(),
            instance: address.to_owned(),
            url,
            interval: self.interval,
            phase: Duration::from_nanos(phase),
            labels: Labels::new(own.into_iter().chain(self.labels.pairs().iter().cloned())),
            settings: self.clone(),
        }
    }
}

impl Target {
    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.instance
    }

    /// On every series of it.
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Names it among all targets.
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.job, self.url)
    }
}
