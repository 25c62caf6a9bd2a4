//! One page over HTTP: what it is asked for, how much of it is read.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName};

use super::config::Target;
use crate::normalize::exposition::Format;

/// OpenMetrics first: it has exemplars, units and an end.
const ACCEPTED: &str = "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
/// Protobuf alone has native histograms.
const ACCEPTED_NATIVE: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,";
const PATIENCE: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// A page as it came.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    pub(super) format: Format,
}

/// A client for one target; it keeps its connection between scrapes.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: reqwest::Client,
}

impl Fetcher {
    pub(super) fn try_new(target: &Target) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")))
            // A target that answers with another address would make us fetch what nobody configured.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(target.settings.timeout)
            .build()?;
        Ok(Self { client })
    }

    /// The page, or why there is none.
    pub(super) async fn fetch(&self, target: &Target) -> Result<Fetched, String> {
        let settings = &target.settings;
        let native = if settings.native_histograms { ACCEPTED_NATIVE } else { "" };
        let mut asking = self
            .client
            .get(&target.url)
            .header(ACCEPT, format!("{native}{ACCEPTED}"))
            .header(PATIENCE, settings.timeout.as_secs_f64().to_string());
        if let Some(token) = &settings.token {
            asking = asking.bearer_auth(token);
        }
        // Without the URL: its parameters may hold a secret.
        let told = |error: reqwest::Error| chain(&error.without_url());
        let mut answer = asking.send().await.map_err(told)?;
        if !answer.status().is_success() {
            return Err(format!("the target answered {}", answer.status()));
        }
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let format = match kind.and_then(|kind| kind.split(';').next()).map(str::trim) {
            Some("application/openmetrics-text") => Format::OpenMetrics,
            Some("application/vnd.google.protobuf") => Format::Protobuf,
            _ => Format::Text,
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            if bytes.len() + chunk.len() > settings.body_bytes_max {
                return Err(format!("the page has more than {} bytes", settings.body_bytes_max));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Fetched { bytes, format })
    }
}

/// An error with its causes: the outermost says only that sending failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
