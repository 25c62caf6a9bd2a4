//! Runs data that others wrote, from `THROUGHLINE_SHARED` (default `../shared`), and prints what
//! passed. Where the folder is missing it says so and passes.

#![expect(clippy::print_stdout, reason = "a harness of its own, whose output is what it is for")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod promql;
mod samples;
mod second_opinion;

/// What a suite found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// `FILE passed/total`
    pub(crate) lines: Vec<String>,
    /// What is not as it was agreed; any makes the run fail.
    pub(crate) problems: Vec<String>,
}

/// Every suite; a new one is a module beside this file and a word here.
const SUITES: [fn(&Path) -> Report; 2] = [promql::run, samples::run];

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
