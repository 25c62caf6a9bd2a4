//! `throughline simulate`: a workload with known truth, as files.
//!
//! Payloads stand under `payloads/` by number; `deliveries.ndjson` says in order of arrival which of
//! them is posted where, when and with which headers (a repeat is a second line about the same file);
//! `truth.ndjson` holds one request a line, in the order in which they ended.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::clock::Clock;
use crate::number::f64_from_u64;
use crate::signal::Timestamp;
use crate::simulate::config::{
    BRANCHES, BRANCHES_MAX, Delivery, Load, RATE_MAX, REPEAT_MAX, REQUESTS_MAX,
};
use crate::simulate::{
    Emission, Fault, FaultWindow, Header, Shuffle, Simulation, SimulationConfig, StyleChoice,
};

/// Faults last for the middle three of five parts of the workload, so that there is calm before and after.
const PARTS: u32 = 5;

/// What to simulate and where to put it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  throughline simulate --seed 7 --requests 1000 --out workload
  throughline simulate --seed 7 --requests 1000 --fault poison-message --style json-logs --out workload
  throughline simulate --seed 7 --requests 100 --fault wide-fan-out --branches 5000 --out workload
  throughline simulate --seed 7 --requests 1000 --shuffle --repeat 2 --delay 2m --out workload")]
pub(super) struct SimulateArgs {
    /// The same seed (with the same other options and start) gives the same files, byte by byte.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many requests come from outside.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=REQUESTS_MAX))]
    pub requests: u64,
    /// Mean requests a second.
    #[arg(long, default_value_t = 10.0, value_parser = rate)]
    pub rate: f64,
    /// What goes wrong, from a fifth to four fifths of the workload; may be given several times.
    #[arg(long = "fault", value_name = "NAME")]
    pub faults: Vec<Fault>,
    /// In which words all functions speak.
    #[arg(long, value_name = "NAME", default_value = "mixed")]
    pub style: StyleChoice,
    /// Branches of an order that fans out (`--fault wide-fan-out`).
    #[arg(long, value_name = "N", default_value_t = BRANCHES, value_parser = clap::value_parser!(u32).range(1..=i64::from(BRANCHES_MAX)))]
    pub branches: u32,
    /// Payloads arrive up to this much later than they were sent: `500ms`, `30s`, `5m`.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    pub delay: Duration,
    /// Payloads overtake each other by up to five minutes.
    #[arg(long)]
    pub shuffle: bool,
    /// Each payload is delivered so many times more.
    #[arg(long, value_name = "R", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=i64::from(REPEAT_MAX)))]
    pub repeat: u32,
    /// When the first request comes, in RFC 3339; `now` for the present. Default: yesterday at midnight,
    /// UTC, so that files of one day are the same and no daemon takes them for the future.
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// A directory that is empty or does not exist.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write `500ms`, `30s` or `5m`");
    let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| *rate >= 0.001 && *rate <= RATE_MAX);
    rate.ok_or_else(|| {
        format!("`{text}` is no rate between 0.001 and {RATE_MAX} requests a second")
    })
}

/// Writes the workload.
///
/// # Errors
/// Where the directory holds something, or cannot be written.
pub(super) fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    let config = config(args, Clock::wall().now())?;
    let wrote = write(&config, &args.out)?;
    let Wrote { payloads, deliveries, requests } = wrote;
    let out = args.out.display();
    writeln!(
        std::io::stdout().lock(),
        "{out}: {requests} requests in truth.ndjson, told by {payloads} payloads in \
         {deliveries} deliveries, from {} on",
        config.start,
    )?;
    Ok(())
}

fn config(args: &SimulateArgs, now: Timestamp) -> anyhow::Result<SimulationConfig> {
    let start = match args.start.as_deref() {
        None => yesterday(now),
        Some("now") => now,
        Some(text) => Timestamp::parse_rfc3339(text)
            .with_context(|| format!("`{text}` is no RFC 3339 time like 2026-11-25T10:00:00Z"))?,
    };
    let lasts = Duration::from_secs(1).mul_f64(f64_from_u64(args.requests) / args.rate);
    let window = |&fault| FaultWindow {
        fault,
        from: start.saturating_add(lasts / PARTS),
        to: start.saturating_add(lasts / PARTS * (PARTS - 1)),
    };
    Ok(SimulationConfig {
        seed: args.seed,
        start,
        load: Load { per_second: args.rate, requests: Some(args.requests), duration: None },
        faults: args.faults.iter().map(window).collect(),
        style: args.style,
        delivery: Delivery {
            delay_max: args.delay,
            shuffle: if args.shuffle { Shuffle::Shuffled } else { Shuffle::InOrder },
            repeats: args.repeat,
        },
        branches: args.branches,
    })
}

fn yesterday(now: Timestamp) -> Timestamp {
    const DAY_SECS: u64 = 86_400;
    let day = (now.as_secs() / DAY_SECS).saturating_sub(1);
    Timestamp::EPOCH.saturating_add(Duration::from_secs(day * DAY_SECS))
}

/// How many of each were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wrote {
    payloads: u64,
    deliveries: u64,
    requests: u64,
}

/// A line of `deliveries.ndjson`.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    path: &'a str,
    content_type: &'a str,
    headers: &'a [Header],
    file: &'a str,
}

fn write(config: &SimulationConfig, out: &Path) -> anyhow::Result<Wrote> {
    let payloads = out.join("payloads");
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    if fs::read_dir(out)?.next().is_some() {
        bail!("{} is not empty; give a new directory, so that no two workloads mix", out.display());
    }
    fs::create_dir(&payloads)?;
    let mut deliveries = BufWriter::new(File::create(out.join("deliveries.ndjson"))?);
    let mut truth = BufWriter::new(File::create(out.join("truth.ndjson"))?);
    let mut wrote = Wrote::default();
    let mut simulation = Simulation::new(config);
    while let Some(emission) = simulation.next() {
        let file = file_name(&emission);
        let path = out.join(&file);
        if !path.exists() {
            fs::write(&path, &emission.body)
                .with_context(|| format!("cannot write {}", path.display()))?;
            wrote.payloads += 1;
        }
        let Emission { at, path, content_type, headers, .. } = &emission;
        line(&mut deliveries, &Line { at: *at, path, content_type, headers, file: &file })?;
        wrote.deliveries += 1;
        for request in simulation.take_truth() {
            line(&mut truth, &request)?;
            wrote.requests += 1;
        }
    }
    for request in simulation.take_truth() {
        line(&mut truth, &request)?;
        wrote.requests += 1;
    }
    deliveries.flush()?;
    truth.flush()?;
    Ok(wrote)
}

fn line(file: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *file, value)?;
    file.write_all(b"\n")?;
    Ok(())
}

fn file_name(emission: &Emission) -> String {
    let is_gzip = emission.headers.iter().any(|header| header.name == "content-encoding");
    let extension = match emission.content_type {
        "application/x-protobuf" if is_gzip => "pb.gz",
        "application/x-protobuf" => "pb",
        "application/x-ndjson" => "ndjson",
        _ => "json",
    };
    format!("payloads/{:07}.{extension}", emission.number)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn args(line: &str) -> Result<SimulateArgs, clap::Error> {
        let words = line.split_whitespace();
        Command::try_parse_from(std::iter::once("simulate").chain(words))
            .map(|command| command.args)
    }

    fn at_ten() -> Timestamp {
        Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap()
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn options_become_a_workload() {
        let args = args(
            "--seed 3 --requests 100 --fault timeouts --style otlp --delay 90s --shuffle --out x",
        );
        let config = config(&args.unwrap(), at_ten()).unwrap();
        assert_eq!(config.start.to_string(), "2026-11-24T00:00:00.000000000Z");
        let window = config.faults.first().unwrap();
        assert_eq!(window.from.to_string(), "2026-11-24T00:00:02.000000000Z");
        assert_eq!(window.to.to_string(), "2026-11-24T00:00:08.000000000Z");
        assert_eq!(config.delivery.delay_max, Duration::from_secs(90));
        assert_eq!(config.delivery.shuffle, Shuffle::Shuffled);
    }

    #[test]
    fn wrong_options_say_what_is_right() {
        for (line, said) in [
            ("--out x --fault gremlins", "poison-message"),
            ("--out x --style loud", "telemetry-api"),
            ("--out x --delay soon", "`soon` is no duration"),
            ("--out x --rate 0", "no rate between"),
            ("--out x --requests 0", "1..="),
            ("--seed 1", "--out <DIR>"),
        ] {
            let error = args(line).unwrap_err().to_string();
            assert!(error.contains(said), "{line}: {error}");
        }
    }

    #[test]
    fn files_and_index_agree_and_the_same_seed_writes_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let args = args("--requests 60 --fault retry-storm --repeat 1 --out x").unwrap();
        let config = config(&args, at_ten()).unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let wrote = write(&config, &one).unwrap();
        assert_eq!(write(&config, &two).unwrap(), wrote);
        assert_eq!(wrote.deliveries, wrote.payloads * 2);
        assert_eq!(wrote.requests, 60);
        assert_eq!(lines(&one.join("truth.ndjson")).len(), 60);
        for name in ["truth.ndjson", "deliveries.ndjson"] {
            assert_eq!(fs::read(one.join(name)).unwrap(), fs::read(two.join(name)).unwrap());
        }
        for delivery in lines(&one.join("deliveries.ndjson")) {
            let file = delivery["file"].as_str().unwrap();
            assert_eq!(fs::read(one.join(file)).unwrap(), fs::read(two.join(file)).unwrap());
            assert!(delivery["path"].as_str().unwrap().starts_with('/'));
            assert!(delivery["headers"].is_array());
        }
    }

    #[test]
    fn a_directory_that_holds_something_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "x").unwrap();
        let args = args("--requests 1 --out x").unwrap();
        let error = write(&config(&args, at_ten()).unwrap(), dir.path()).unwrap_err();
        assert!(error.to_string().contains("is not empty"), "{error}");
    }
}
