//! `throughline demo`: the daemon on throw-away data, fed over loopback through its own receivers.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::demo_feed;
use super::inbox::Inbox;
use super::{EXIT_DISK, run, say};
use crate::clock::Clock;
use crate::config::{Config, Listen};
use crate::internal_telemetry::{self, LogFormat};
use crate::notify;
use crate::pipeline::{Pipeline, Settings, Stopped};
use crate::simulate::{Fault, FaultWindow, Simulation, SimulationConfig, scenario};

/// How far in the past the demo's clock starts.
const BEHIND: Duration = Duration::from_mins(15);
/// How long the shop stays open.
const LASTS: Duration = Duration::from_hours(24);
/// Where the demo's alerts go.
const INBOX: &str = "127.0.0.1:9596";

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  throughline demo                                       a shop with incidents, at http://127.0.0.1:9595
  throughline demo --speed 60 --seed 7                   another one, sooner at the present
  throughline demo --no-incidents --fault slow-dependency

It needs the ports 4317, 4318, 9595 and 9596 of loopback. Its data go when it ends; nothing leaves this machine.")]
pub(super) struct DemoArgs {
    /// The same seed gives the same workload.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How fast the demo's clock runs until it meets the present: 1 to 1000.
    #[arg(long, default_value_t = 10.0, value_parser = speed)]
    speed: f64,
    /// Stage this fault all the time, besides the incidents; may be repeated.
    #[arg(long, value_name = "NAME")]
    fault: Vec<Fault>,
    /// Stage no incidents.
    #[arg(long)]
    no_incidents: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| (1.0..=1000.0).contains(speed));
    speed.ok_or_else(|| format!("`{text}` is no speed between 1 and 1000"))
}

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let data_dir = tempdir()?;
    let mut config =
        Config::load(None, &[format!("data_dir={}", data_dir.0.display())]).map_err(|errors| {
            anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
    config.notify =
        notify::Config::webhook(&format!("http://{INBOX}/webhook"), Duration::from_secs(5));
    config.correlate.queues = scenario::queues();
    config.correlate.functions = scenario::functions();
    config.rules.slo_files =
        vec![("demo.yaml".to_owned(), crate::evaluate::pack::DEMO_SLOS.to_owned())];
    let _guard =
        internal_telemetry::start(LogFormat::Text, "warn", &config.listen.ingest.to_string());
    let clock = Clock::accelerated(BEHIND, args.speed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (start, end) = (clock.now(), clock.now().saturating_add(LASTS));
    let stage = if args.no_incidents { scenario::quiet_scenario } else { scenario::demo_scenario };
    let mut scenario = stage(args.seed, start, end);
    scenario.faults.extend(args.fault.iter().map(|fault| FaultWindow {
        fault: *fault,
        from: start,
        to: end,
    }));
    runtime.block_on(play(config, clock, &scenario))
}

async fn play(
    config: Config,
    clock: Clock,
    scenario: &SimulationConfig,
) -> anyhow::Result<ExitCode> {
    let listener = tokio::net::TcpListener::bind(INBOX)
        .await
        .with_context(|| format!("cannot listen on {INBOX}; is another demo running?"))?;
    let inbox = Inbox::default();
    let inbox_server = tokio::spawn(axum::serve(listener, inbox.router()).into_future());
    let data_dir = config.data_dir.clone();
    let pipeline = match Pipeline::start(Settings::new(config, clock.clone())).await {
        Ok(pipeline) => pipeline,
        Err(errors) => return Err(anyhow!("{}", errors.join("\n"))),
    };
    let Listen { ingest, web, .. } = pipeline.addresses();
    say(&run::banner(&pipeline, &data_dir));
    say(&format!(
        "  alerts      http://{INBOX}  (what a pager would receive)\n\nThe demo's clock starts 15 minutes in the past. A shop takes orders; watch it at http://{web}"
    ));
    say(
        "Incidents follow: a throttle burst, a poison message, a cold-start storm. Alerts appear here as they are delivered:\n",
    );
    let feed = tokio::spawn(demo_feed::feed(
        Simulation::new(scenario),
        format!("http://{ingest}"),
        clock.clone(),
    ));
    let guide = tokio::spawn(guide(format!("http://{web}"), clock));
    let stopped = pipeline.run_until_signal().await;
    feed.abort();
    guide.abort();
    inbox_server.abort();
    Ok(match stopped {
        Stopped::Drained => ExitCode::SUCCESS,
        Stopped::DiskFailed => ExitCode::from(EXIT_DISK),
    })
}

/// Says what to try once there is something to see: the figures of now, and a request by its id.
async fn guide(web: String, clock: Clock) {
    let wait = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    wait(30).await;
    loop {
        if let Some(text) = figures(&web).await {
            say(&format!(
                "\n[{}] {text}\n",
                clock.now().to_string().get(11..19).unwrap_or_default()
            ));
        }
        wait(30).await;
    }
}

/// The figures of now, as the pages show them.
async fn figures(web: &str) -> Option<String> {
    let asking = Asking { client: reqwest::Client::new(), web };
    let quantiles = asking.quantiles("throughline_request_duration_seconds", "").await?;
    let mut text = format!("requests         {quantiles}");
    for function in ["checkout", "payment", "fulfil"] {
        let selector = format!("{{faas_name=\"{function}\"}}");
        if let Some(quantiles) =
            asking.quantiles("throughline_invocation_duration_seconds", &selector).await
        {
            let _ = write!(text, "\n  {function:14} {quantiles}");
        }
    }
    let mut counts = Vec::new();
    for (name, query) in [
        ("cold starts", "sum(increase(throughline_cold_starts_total[10m]))"),
        ("throttles", "sum(increase(throughline_throttles_total[10m]))"),
        ("retries", "sum(increase(throughline_retries_total[10m]))"),
        ("dead letters", "sum(increase(throughline_dlq_arrivals_total[10m]))"),
        ("in the DLQ", "sum(throughline_dlq_depth)"),
    ] {
        counts.push(format!("{name} {:.0}", asking.value(query).await.unwrap_or(0.0)));
    }
    let lag = asking.quantiles("throughline_queue_lag_seconds", "{queue=\"orders\"}").await;
    let _ = write!(
        text,
        "\n  last 10 min    {}\n  lag of orders  {}",
        counts.join(", "),
        lag.unwrap_or_default()
    );
    for slo in asking.get("/api/slos").await?["slos"].as_array().into_iter().flatten() {
        let number = |value: &serde_json::Value| value.as_f64().unwrap_or(0.0);
        let (name, left) =
            (slo["name"].as_str().unwrap_or_default(), number(&slo["budget_left_ratio"]) * 100.0);
        let _ = write!(
            text,
            "\n  {name:16} {left:.0} % of the budget left, burn rate {:.1} in 1 h",
            number(&slo["burn_rates"]["1h"])
        );
    }
    let slowest = asking.get("/api/requests?flow=POST+%2Forders&min_duration=2s&limit=1").await?;
    if let Some(id) = slowest["requests"][0]["id"].as_str() {
        let _ = write!(text, "\n  look at one:   throughline request {id}");
    }
    Some(text)
}

/// Questions to the demo's own daemon.
struct Asking<'a> {
    client: reqwest::Client,
    web: &'a str,
}

impl Asking<'_> {
    async fn get(&self, path: &str) -> Option<serde_json::Value> {
        self.client.get(format!("{}{path}", self.web)).send().await.ok()?.json().await.ok()
    }

    async fn value(&self, query: &str) -> Option<f64> {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/query", self.web)).ok()?;
        url.query_pairs_mut().append_pair("query", query);
        let answer: serde_json::Value =
            self.client.get(url).send().await.ok()?.json().await.ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// `p50 0.10 s, p95 …` of the last ten minutes.
    async fn quantiles(&self, metric: &str, selector: &str) -> Option<String> {
        let mut shown = Vec::new();
        for (name, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)] {
            let query =
                format!("histogram_quantile({quantile}, sum(rate({metric}{selector}[10m])))");
            shown.push(format!("{name} {:.2} s", self.value(&query).await?));
        }
        Some(shown.join(", "))
    }
}

/// A directory of its own that goes when the demo ends.
struct TempDir(std::path::PathBuf);

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempdir() -> anyhow::Result<TempDir> {
    let path = std::env::temp_dir().join(format!("throughline-demo-{}", std::process::id()));
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(TempDir(path))
}
