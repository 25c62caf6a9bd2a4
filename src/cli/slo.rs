//! `throughline slo generate`: Prometheus rule files from OpenSLO, Sloth or short-form specs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{say, say_error};
use crate::signal::parse_duration;

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct SloArgs {
    #[command(subcommand)]
    command: SloCommand,
}

const EXAMPLES: &str = "Examples:
  throughline slo generate slo/*.yaml > slo.rules.yaml
  throughline slo generate --period 28d sloth.yaml       another window than Sloth's 30d";

#[derive(Debug, Subcommand)]
enum SloCommand {
    /// Prints the rules that the files compile to.
    #[command(after_help = EXAMPLES)]
    Generate {
        /// OpenSLO, Sloth or short-form files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Window of Sloth specs, which name none [default: of an AlertWindows file, or 30d].
        #[arg(long, value_name = "DURATION", value_parser = period)]
        period: Option<Duration>,
    },
}

fn period(text: &str) -> Result<Duration, String> {
    let parsed = parse_duration(text).filter(|period| period.as_secs() >= 86_400);
    parsed.ok_or_else(|| format!("`{text}` is no window; write 28d, and at least 1d"))
}

pub(super) fn run(args: &SloArgs) -> anyhow::Result<ExitCode> {
    let SloCommand::Generate { files, period } = &args.command;
    let (mut texts, mut unread) = (Vec::new(), Vec::new());
    for path in files {
        match std::fs::read_to_string(path) {
            Ok(text) => texts.push((path.display().to_string(), text)),
            Err(error) => unread.push(format!("{}: cannot read it: {error}", path.display())),
        }
    }
    unread.iter().for_each(|error| say_error(error));
    match crate::evaluate::slo::generate(&texts, *period) {
        Ok(_) if !unread.is_empty() => Ok(ExitCode::FAILURE),
        Ok(rules) => {
            say(rules.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            errors.iter().for_each(|error| say_error(&error.to_string()));
            Ok(ExitCode::FAILURE)
        }
    }
}
