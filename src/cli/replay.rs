//! `throughline replay`: captured telemetry through the whole pipeline, in simulated time.

mod capture;
mod show;
#[cfg(test)]
mod tests;
mod times;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::capture::Reading;
use self::wire::Wire;
use super::{say, say_error};
use crate::config::Config;
use crate::pipeline::replay::{Outcomes, Replay, RulesHold};

/// Of captured files: a day has 86,400 seconds, and what pages for a minute is seen as well.
const EVALUATION_INTERVAL: Duration = Duration::from_secs(15);

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  throughline replay tuesday/                            files of any dialect, packed or not
  throughline replay exported-logs/ --function checkout  a log group exported to S3
  throughline replay /var/lib/throughline --rules rules/ would these rules have paged?
  throughline replay spans.pb --from otlp-traces-pb --json | jq '.alerts[]'

Nothing is sent and nothing is changed. A data directory is replayed as its daemon lived it, with the
rules of --rules in place of its own; of files, each signal comes within a second of its time.
Exit code 0: replayed; 1: something could not be read.")]
pub(super) struct ReplayArgs {
    /// Captured payload files, folders of them, or the data directory of a daemon that is stopped.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What the files are; without it, they say so themselves.
    #[arg(long, value_name = "WIRE", value_parser = from)]
    from: Option<Wire>,
    /// Rule files, or folders of them (`*.yaml`, `*.yml`, but no `*.test.*`); may be given several times.
    #[arg(long, value_name = "DIR")]
    rules: Vec<PathBuf>,
    /// Settings of the daemon: fields, queues, flows, objectives, and rules unless `--rules` is given.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whose the records are, where nothing in them tells.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// How often rules of files are evaluated where their group does not say: `1s`, `15s`, `1m`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    evaluation_interval: Option<Duration>,
    /// Print JSON: every request and every alert.
    #[arg(long)]
    json: bool,
}

fn from(word: &str) -> Result<Wire, String> {
    Wire::named(word).ok_or_else(|| format!("there are {}", Wire::NAMES))
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = crate::signal::parse_duration(text).filter(|duration| !duration.is_zero());
    parsed.ok_or_else(|| format!("`{text}` is no duration; write `1s`, `15s` or `1m`"))
}

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let (outcomes, problems) = match replay(args)? {
        Ok(done) => done,
        Err(errors) => {
            errors.iter().for_each(|error| say_error(error));
            return Ok(ExitCode::FAILURE);
        }
    };
    problems.iter().for_each(|problem| say_error(problem));
    if args.json {
        say(&serde_json::to_string_pretty(&show::json(&outcomes))?);
    } else {
        say(show::text(&outcomes).trim_end());
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came of it, and what could not be read.
type Done = (Outcomes, Vec<String>);

fn replay(args: &ReplayArgs) -> anyhow::Result<Result<Done, Vec<String>>> {
    let mut config = match Config::load(args.config.as_deref(), &[]) {
        Ok(config) => config,
        Err(errors) => return Ok(Err(errors.iter().map(ToString::to_string).collect())),
    };
    if !args.rules.is_empty() {
        config.rules.files = rule_files(&args.rules)?;
    }
    let (journals, files): (Vec<&PathBuf>, Vec<&PathBuf>) =
        args.paths.iter().partition(|path| path.join("journal").is_dir());
    if let (Some(journal), true) = (journals.first(), args.paths.len() > 1) {
        anyhow::bail!("{} is a data directory; replay it alone", journal.display());
    }
    let interval = args.evaluation_interval.unwrap_or(EVALUATION_INTERVAL);
    if journals.is_empty() || args.evaluation_interval.is_some() {
        config.rules.evaluation_interval = interval;
    }
    let are_given = !args.rules.is_empty() || args.config.is_some();
    let hold = if are_given { RulesHold::Ours } else { RulesHold::TheJournals };
    let (mut problems, mut arrivals) = (Vec::new(), Vec::new());
    if journals.is_empty() {
        let mut reading = Reading {
            wire: args.from,
            function: args.function.as_deref(),
            config: &config.normalize,
            problems: Vec::new(),
            found: Vec::new(),
        };
        for path in files {
            reading.path(path)?;
        }
        (problems, arrivals) = (reading.problems, reading.found);
        // Where two come at once, the order of the files decides.
        arrivals.sort_by_key(|arrival| arrival.at);
    }
    let begin = arrivals.first().map(|first| first.at).unwrap_or_default();
    let mut replay = match Replay::new(&config, hold, begin) {
        Ok(replay) => replay,
        Err(errors) => return Ok(Err(errors)),
    };
    if let Some(journal) = journals.first() {
        let n_gone = replay.journal(journal).map_err(anyhow::Error::msg)?;
        if n_gone > 0 {
            say_error(&format!(
                "the first {n_gone} records are no longer in the journal: what they told is missing here"
            ));
        }
    } else if !arrivals.is_empty() {
        arrivals.into_iter().for_each(|arrival| replay.batch(arrival.batch, arrival.at));
        replay.settle();
    }
    Ok(Ok((replay.outcomes().map_err(anyhow::Error::msg)?, problems)))
}

/// (name, text) of every rule file.
fn rule_files(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    use anyhow::Context as _;
    let mut found = Vec::new();
    for path in paths {
        let mut files = vec![path.clone()];
        if path.is_dir() {
            let listed = std::fs::read_dir(path);
            let listed = listed.with_context(|| format!("cannot list {}", path.display()))?;
            files =
                listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
            files.retain(|file| is_rule_file(file));
            files.sort();
        }
        for file in files {
            let name = file.display().to_string();
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
            found.push((name, text));
        }
    }
    anyhow::ensure!(!found.is_empty(), "--rules: there is no rule file");
    Ok(found)
}

fn is_rule_file(path: &Path) -> bool {
    let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    is_yaml && path.is_file() && !stem.ends_with("test")
}
