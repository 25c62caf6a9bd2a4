//! `throughline verify`: whether a data directory holds together.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{say, say_error};
use crate::pipeline::{Check, Loss, Repair, repair, verify};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  throughline verify throughline-data
  throughline verify --json /var/lib/throughline | jq '.checks[] | select(.problem)'

  throughline verify --repair throughline-data

Nothing is changed but by --repair, which does what is needed for a start after damage: whole records go on,
replaced files are kept in journal.damaged beside the journal. Where acknowledged records would be lost it says
how many and does nothing without --accept-loss. Exit code 0: everything agrees; 1: something does not, or a
daemon uses the directory.")]
pub(super) struct VerifyArgs {
    /// The data directory of a daemon that is stopped, or a copy of one.
    dir: PathBuf,
    /// Make a damaged journal one that a start takes.
    #[arg(long)]
    repair: bool,
    /// Go on without acknowledged records that are damaged for good.
    #[arg(long, requires = "repair")]
    accept_loss: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let repaired = if args.repair {
        let loss = if args.accept_loss { Loss::Accepted } else { Loss::Refused };
        Some(repair(&args.dir, loss).map_err(anyhow::Error::msg)?)
    } else {
        None
    };
    if let Some(refused @ Repair::WouldLose(_)) = &repaired {
        say_error(&told(refused));
        return Ok(ExitCode::FAILURE);
    }
    let checks = verify(&args.dir).map_err(anyhow::Error::msg)?;
    let n_problems = checks.iter().filter(|check| check.problem.is_some()).count();
    if args.json {
        let report = match &repaired {
            Some(Repair::Done(report)) => Some(report),
            _ => None,
        };
        say(&serde_json::to_string_pretty(
            &serde_json::json!({"checks": checks, "repaired": report}),
        )?);
    } else {
        if let Some(repaired) = &repaired {
            say(&told(repaired));
        }
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

fn told(repaired: &Repair) -> String {
    match repaired {
        Repair::NotNeeded => "nothing needed a repair".to_owned(),
        Repair::WouldLose(report) => {
            format!("nothing was changed: {report}; --accept-loss goes on without them")
        }
        Repair::Done(report) => {
            format!(
                "repaired: {report}; what was replaced lies in {} of the data directory",
                report.aside
            )
        }
    }
}

fn line(check: &Check) -> String {
    let Check { what, found, problem } = check;
    match problem {
        None => format!("ok       {what:<9} {found}"),
        Some(problem) => format!("PROBLEM  {what:<9} {found}: {problem}"),
    }
}
