//! `throughline slo generate`: Prometheus rule files from OpenSLO, Sloth or short-form specs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{say, say_error};

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
    },
}

pub(super) fn run(args: &SloArgs) -> anyhow::Result<ExitCode> {
    let SloCommand::Generate { files } = &args.command;
    let mut texts = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        texts.push((path.display().to_string(), text));
    }
    match crate::evaluate::slo::generate(&texts) {
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
