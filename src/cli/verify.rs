//! `throughline verify`: whether a data directory holds together.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::say;
use crate::pipeline::{Check, verify};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  throughline verify throughline-data
  throughline verify --json /var/lib/throughline | jq '.checks[] | select(.problem)'

Nothing is changed. Exit code 0: everything agrees; 1: something does not, or a daemon uses the directory.")]
pub(super) struct VerifyArgs {
    /// The data directory of a daemon that is stopped, or a copy of one.
    dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let checks = verify(&args.dir).map_err(anyhow::Error::msg)?;
    let n_problems = checks.iter().filter(|check| check.problem.is_some()).count();
    if args.json {
        say(&serde_json::to_string_pretty(&serde_json::json!({"checks": checks}))?);
    } else {
        checks.iter().for_each(|check| say(&line(check)));
        let verdict = if n_problems == 0 {
            "everything agrees".to_owned()
        } else {
            format!("{n_problems} of {} checks found a problem", checks.len())
        };
        say(&verdict);
    }
    Ok(if n_problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(check: &Check) -> String {
    let Check { what, found, problem } = check;
    match problem {
        None => format!("ok       {what:<9} {found}"),
        Some(problem) => format!("PROBLEM  {what:<9} {found}: {problem}"),
    }
}
