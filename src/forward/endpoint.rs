//! Whom to send to, as the configuration says.

use std::fmt;
use std::time::Duration;

use crate::signal::{Fnv128, Labels};

/// As Prometheus scrapes by default at home; a store of 10,000 series then gets 700 samples a second.
pub const INTERVAL: Duration = Duration::from_secs(15);
/// Prometheus's default for one request.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// One remote write endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// Time between samples of a series.
    pub interval: Duration,
    /// Of one request.
    pub timeout: Duration,
    /// Added to every series that does not have them itself.
    pub labels: Labels,
    pub protocol: Protocol,
    /// Whether native histograms leave; their classic series always do.
    pub sends_native_histograms: bool,
}

/// Which message a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `prometheus.WriteRequest`, which every receiver takes.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`: each text once a request, and what a metric is.
    V2,
}

impl Protocol {
    /// By the name of its message, as Prometheus's `protobuf_message` has it.
    pub fn named(message: &str) -> Option<Self> {
        match message {
            "prometheus.WriteRequest" => Some(Self::V1),
            "io.prometheus.write.v2.Request" => Some(Self::V2),
            _ => None,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::V1 => "application/x-protobuf",
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    pub(super) fn version(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }
}

impl Endpoint {
    /// Names the file that remembers where it stands.
    pub fn file_name(&self) -> String {
        format!("remote-write-{:032x}", Fnv128::default().field(self.url.as_bytes()).finish())
    }

    /// Its host, for logs and labels; a path may hold a tenant's secret.
    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        host.rsplit('@').next().unwrap_or_default()
    }
}

impl fmt::Debug for Endpoint {
    /// Without the token and without what a URL may hide.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("host", &self.host())
            .field("interval", &self.interval)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}
