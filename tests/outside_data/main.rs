//! Runs data that others wrote, from `THROUGHLINE_SHARED` (default `../shared`), and prints what
//! passed. Where the folder is missing it says so and passes.

#![expect(clippy::print_stdout, reason = "a harness of its own, whose output is what it is for")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod alertmanager;
#[path = "../dice/mod.rs"]
mod dice;
#[path = "../dice/garble.rs"]
mod garble;
mod mutations;
mod promql;
mod rules;
mod samples;
mod second_opinion;
mod slo;

/// What a suite found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// `FILE passed/total`
    pub(crate) lines: Vec<String>,
    /// What is not as it was agreed; any makes the run fail.
    pub(crate) problems: Vec<String>,
}

/// Every suite; a new one is a module beside this file and a word here.
const SUITES: [fn(&Path) -> Report; 6] =
    [alertmanager::run, promql::run, rules::run, samples::run, mutations::run, slo::run];

fn main() -> ExitCode {
    let shared = std::env::var_os("THROUGHLINE_SHARED");
    let shared = shared.map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    if !shared.is_dir() {
        println!("no outside data at {}", shared.display());
        return ExitCode::SUCCESS;
    }
    let mut n_problems = 0;
    for run in SUITES {
        let report = run(&shared);
        report.lines.iter().for_each(|line| println!("{line}"));
        report.problems.iter().for_each(|problem| println!("PROBLEM {problem}"));
        n_problems += report.problems.len();
    }
    if n_problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares with a golden text line by line; `UPDATE_GOLDEN=1` writes it anew.
pub(crate) fn golden(name: &str, shown: &str, report: &mut Report) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        if let Err(error) = std::fs::write(&path, shown) {
            report.problems.push(format!("{}: {error}", path.display()));
        }
        return;
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    let (held, shown): (Vec<&str>, Vec<&str>) = (held.lines().collect(), shown.lines().collect());
    let passed = shown.iter().filter(|line| held.contains(line)).count();
    report.lines.push(format!("{name} {passed}/{}", shown.len().max(held.len())));
    for line in shown.iter().filter(|line| !held.contains(line)) {
        report.problems.push(format!("{name}: new: {line}"));
    }
    for line in held.iter().filter(|line| !shown.contains(line)) {
        report.problems.push(format!("{name}: gone: {line}"));
    }
}
