//! `throughline slo generate`: Prometheus rule files from OpenSLO, Sloth or short-form specs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{say, say_error};
use crate::signal::parse_duration;

#[derive(Args, Debug)]
pub(super) struct SloArgs {
    #[command(subcommand)]
    command: SloCommand,
}

#[derive(Debug, Subcommand)]
enum SloCommand {
    /// Prints the rules that the files compile to.
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
    let mut texts = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        texts.push((path.display().to_string(), text));
    }
    match crate::evaluate::slo::generate(&texts, *period) {
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
