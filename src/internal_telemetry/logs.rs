//! Where own logs and traces go: stderr, and an OTLP endpoint when one is configured.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How own log events look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    Json,
}

/// Flushes own traces when dropped.
#[derive(Debug, Default)]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            // Nobody is left to tell: the process is ending.
            drop(provider.shutdown());
        }
    }
}

/// Starts logging to stderr from `level` on (`RUST_LOG` overrides it) and, where
/// `OTEL_EXPORTER_OTLP_ENDPOINT` names an endpoint other than `own_ingest`, exporting own traces.
pub fn start(format: LogFormat, level: &str, own_ingest: &str) -> Guard {
    // What the verifier of certificates finds wrong is told where it is handled, without the host's name.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        let quiet = "fjall=warn,lsm_tree=warn,rustls_platform_verifier=off";
        EnvFilter::new(format!("{level},{quiet}"))
    });
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let text = (!json)
        .then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false));
    let structured = json.then(|| {
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)
    });
    let provider = exporter(own_ingest);
    // Spans of the libraries that carry our own export would export themselves for ever.
    let ours = FilterFn::new(|meta| meta.target().starts_with("throughline"));
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("throughline")).with_filter(ours)
    });
    // A second start (in tests) keeps the first subscriber.
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(text)
        .with(structured)
        .with(traces)
        .try_init();
    if started.is_err() {
        return Guard::default();
    }
    Guard { provider }
}

fn exporter(own_ingest: &str) -> Option<SdkTracerProvider> {
    let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT")
        .ok()
        .filter(|endpoint| !endpoint.is_empty())?;
    if endpoint.contains(own_ingest) {
        return None;
    }
    // The blocking client: the asynchronous one panics on the exporter's own thread
    // (opentelemetry-rust #3125).
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().build().ok()?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name("throughline").build();
    Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
