//! `throughline run`: the daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{EXIT_DISK, say, say_error};
use crate::clock::Clock;
use crate::config::Config;
use crate::internal_telemetry::{self, LogFormat};
use crate::pipeline::{Pipeline, Settings, Stopped};

#[derive(Args, Debug, Default)]
#[command(after_help = "Examples:
  throughline run                                        all defaults, data in ./throughline-data
  throughline run --config throughline.yaml --data-dir /var/lib/throughline
  throughline run --set listen.web=127.0.0.1:9600 --set correlate.settle_after=5s

`throughline check --config FILE` shows what is wrong with a file before a daemon reads it. SIGHUP or
POST /-/reload reads the file again; SIGTERM lets what was accepted finish.
Exit code 0: stopped as asked; 1: it could not start, and why is on stderr; 2: wrong usage; 74: the disk failed.")]
pub(super) struct RunArgs {
    /// The configuration file; without one, the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where journal and kept requests lie.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Overrides one key, as `correlate.settle_after=5s`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let mut sets = args.set.clone();
    if let Some(dir) = &args.data_dir {
        sets.push(format!("data_dir={}", std::path::absolute(dir)?.display()));
    }
    let config = match Config::load(args.config.as_deref(), &sets) {
        Ok(config) => config,
        Err(errors) => {
            errors.iter().for_each(|error| say_error(&error.to_string()));
            return Ok(ExitCode::FAILURE);
        }
    };
    let _guard =
        internal_telemetry::start(LogFormat::Auto, "info", &config.listen.ingest.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let data_dir = config.data_dir.clone();
        let settings = Settings {
            source: Some((args.config.clone(), sets)),
            ..Settings::new(config, Clock::wall())
        };
        let pipeline = match Pipeline::start(settings).await {
            Ok(pipeline) => pipeline,
            Err(errors) => {
                errors.iter().for_each(|error| say_error(error));
                return Ok(ExitCode::FAILURE);
            }
        };
        say(&banner(&pipeline, &data_dir));
        Ok(match pipeline.run_until_signal().await {
            Stopped::Drained => ExitCode::SUCCESS,
            Stopped::DiskFailed => ExitCode::from(EXIT_DISK),
        })
    })
}

/// One banner with every URL, and where the data lies.
pub(super) fn banner(pipeline: &Pipeline, data_dir: &Path) -> String {
    let (addresses, scheme) = (pipeline.addresses(), pipeline.scheme());
    format!(
        "throughline {} is ready\n  OTLP/gRPC   {scheme}://{}\n  ingest      {scheme}://{}  (OTLP/HTTP: /v1/traces, /v1/logs, /v1/metrics; /api/v1/write, /ingest/json, /ingest/aws/…, /ingest/gcp/pubsub, /ingest/azure/eventhub, /ingest/cloudflare/logpush, /ingest/vercel)\n  pages, API  {scheme}://{}\n  data        {}",
        env!("CARGO_PKG_VERSION"),
        addresses.otlp_grpc,
        addresses.ingest,
        addresses.web,
        data_dir.display()
    )
}
