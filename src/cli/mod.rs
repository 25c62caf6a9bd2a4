//! The command line: one file a subcommand.
//!
//! Exit codes: 0 well, 1 problems in what was given or no start, 2 wrong usage, 74 the disk failed.

mod check;
mod demo;
mod demo_feed;
mod erase;
mod extension;
mod inbox;
mod notify;
mod query;
mod remote;
mod replay;
mod request;
mod run;
mod simulate;
mod slo;
mod test;
mod verify;
pub mod waterfall;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The disk failed (`EX_IOERR` of sysexits.h).
const EXIT_DISK: u8 = 74;

const EXAMPLES: &str = "Examples:
  throughline demo                                  a shop with incidents, to look at
  throughline                                       the daemon, on loopback, without any file
  throughline run --config throughline.yaml
  throughline request 5f0c…                         one request as a waterfall
  throughline query 'sum by (outcome) (rate(throughline_requests_total[5m]))'";

/// Whole requests across functions and queues; alerts with the evidence in them.
#[derive(Debug, Parser)]
#[command(name = "throughline", args_conflicts_with_subcommands = true, version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("THROUGHLINE_COMMIT"), ")"), after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon; no file needed. Also what runs without a command.
    Run(run::RunArgs),
    /// The daemon on throw-away data, fed by the simulator, with incidents and their alerts.
    Demo(demo::DemoArgs),
    /// The sidecar inside a Lambda environment: telemetry and OTLP to a Throughline.
    Extension(extension::ExtensionArgs),
    /// Checks config, rule, SLO and routing files; opens no socket.
    Check(check::CheckArgs),
    /// Runs rule unit tests in promtool's format, and event tests: signals in, alerts and messages out.
    Test(test::TestArgs),
    /// Captured telemetry through the whole pipeline: requests, and alerts that would have fired.
    Replay(replay::ReplayArgs),
    /// Writes workloads with known truth as payload files.
    Simulate(simulate::SimulateArgs),
    /// SLO files to rules.
    Slo(slo::SloArgs),
    /// One request as a text waterfall.
    Request(request::RequestArgs),
    /// A PromQL query against a running daemon.
    Query(query::QueryArgs),
    /// Tries the notifiers of a receiver out.
    Notify(notify::NotifyArgs),
    /// Whether journal, snapshots and state of a data directory agree.
    Verify(verify::VerifyArgs),
    /// Removes what a data directory holds of an id or an attribute; counts stay.
    Erase(erase::EraseArgs),
}

/// Parses the arguments, runs the command, gives the exit code.
pub fn main() -> ExitCode {
    // The first thing of all: every TLS client needs it, and only one provider may be installed.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a crypto provider is installed already");
    }
    let Arguments { command, run: unnamed } = Arguments::parse();
    let unsaid = || {
        if extension::is_layer() {
            Command::Extension(extension::ExtensionArgs::default())
        } else {
            Command::Run(unnamed)
        }
    };
    let result = match command.unwrap_or_else(unsaid) {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Extension(args) => extension::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Simulate(args) => simulate::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Slo(args) => slo::run(&args),
        Command::Request(args) => {
            block_on(request::run(&args)).and_then(|shown| shown).map(|()| ExitCode::SUCCESS)
        }
        Command::Query(args) => query::run(&args),
        Command::Notify(args) => notify::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Erase(args) => erase::run(&args),
    };
    result.unwrap_or_else(|error| {
        say_error(&format!("throughline: {error:#}"));
        ExitCode::FAILURE
    })
}

/// A line of output for people or pipes. A closed pipe ends the output, not the process.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line on stderr.
pub(crate) fn say_error(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A runtime for one client command.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}
