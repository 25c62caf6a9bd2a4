//! `throughline erase`: removes what a data directory holds of an id or an attribute.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{say, say_error};
use crate::config::Config;
use crate::pipeline::{Erasure, ErasureKey, erase};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  throughline erase --key correlation_id=order-4711 throughline-data
  throughline erase --key user.id=4711 --config throughline.yaml /var/lib/throughline
  throughline erase --key trace_id=4bf92f3577b34da6a3ce929d0e0e4736 --json throughline-data | jq .held

The daemon is stopped, or the directory is a copy. NAME is correlation_id, trace_id, invocation_id, message_id,
execution_id or request; any other name is an attribute's. Whole requests go that a signal with the key belongs
to: open, finished and kept ones, and what shows them in alerts and exemplars. Then two snapshots take the place
of the log, so no received signal lies in the directory any more, whoever it was of: a replay of what came before
is no longer possible. Counts and series stay. What it did not remove, it names. Interrupted, it is run again.
Exit code 0: nothing of the key is left, or there was nothing; 1: something still names it, or it could not be
done.")]
pub(super) struct EraseArgs {
    /// What is to go; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", required = true, value_parser = key)]
    key: Vec<ErasureKey>,
    /// The daemon's configuration file, where it has one: no record holds where messages go.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory.
    dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn key(word: &str) -> Result<ErasureKey, String> {
    match word.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok(ErasureKey { name: name.into(), value: value.into() })
        }
        _ => Err("it is NAME=VALUE, as in correlation_id=order-4711".to_owned()),
    }
}

pub(super) fn run(args: &EraseArgs) -> anyhow::Result<ExitCode> {
    let sets = [format!("data_dir={}", std::path::absolute(&args.dir)?.display())];
    let config = match Config::load(args.config.as_deref(), &sets) {
        Ok(config) => config,
        Err(errors) => {
            errors.iter().for_each(|error| say_error(&error.to_string()));
            return Ok(ExitCode::FAILURE);
        }
    };
    let done = erase(&config, &args.key).map_err(anyhow::Error::msg)?;
    if args.json {
        say(&serde_json::to_string_pretty(&done)?);
    } else {
        told(&done).iter().for_each(|line| say(line));
    }
    let is_clean = done.series.is_empty() && done.named_in.is_empty();
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(done: &Erasure) -> Vec<String> {
    let mut lines = Vec::new();
    if done.finished {
        lines.push("an erasure that was cut short is finished".to_owned());
    }
    if done.is_empty() {
        lines.push("nothing carries it; nothing was changed".to_owned());
        return lines;
    }
    let ids = |ids: &std::collections::BTreeSet<crate::signal::Text>| {
        let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
        if ids.is_empty() { "none".to_owned() } else { ids.join(" ") }
    };
    lines.push(format!("signals    {} of the log carried it", done.signals));
    lines.push(format!("log        {} records became two snapshots", done.records));
    lines.push(format!("requests   {}", ids(&done.held)));
    lines.push(format!("kept       {}", ids(&done.kept)));
    lines.push(format!(
        "shown      by {} exemplars, {} alerts and messages",
        done.exemplars, done.evidence
    ));
    lines.push("remains    every count, in the ledger and in series".to_owned());
    for series in &done.series {
        lines.push(format!("REMAINS    a series is named by it: {series}"));
    }
    if !done.named_in.is_empty() {
        lines.push(format!("REMAINS    it stands as text in: {}", done.named_in.join(", ")));
    }
    lines
}
