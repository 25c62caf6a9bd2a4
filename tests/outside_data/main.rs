//! Runs what others wrote down against this crate: captured payloads, conformance suites.
//!
//! In comes the folder that `THROUGHLINE_SHARED` names (default `../shared`, beside the crate); out go one
//! line `FILE passed/total` for each file and exit code 1 where anything failed. The folder is no part of
//! the repository: where it is missing, this says so and passes.
#![expect(clippy::print_stdout, reason = "the output is what this harness is for")]

mod samples;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A suite and the folder below the shared one that it reads.
struct Suite {
    name: &'static str,
    folder: &'static str,
    run: fn(shared: &Path) -> Report,
}

/// Every suite; a new one is a module beside this file and a line here.
const SUITES: &[Suite] =
    &[Suite { name: "samples", folder: "samples/serverless", run: samples::run }];

/// What came of a suite, file by file.
#[derive(Debug, Default)]
pub struct Report {
    pub files: Vec<FileReport>,
}

/// What came of one file.
#[derive(Debug)]
pub struct FileReport {
    pub file: String,
    pub passed: usize,
    pub total: usize,
    /// One text a failure: what was expected, what came.
    pub failures: Vec<String>,
}

fn main() -> ExitCode {
    let shared = shared_folder();
    let mut n_failures = 0;
    for suite in SUITES {
        if !shared.join(suite.folder).is_dir() {
            let missing = shared.join(suite.folder);
            println!("{}: skipped, {} is not there", suite.name, missing.display());
            continue;
        }
        let report = (suite.run)(&shared);
        n_failures += print(suite.name, &report);
    }
    if n_failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn shared_folder() -> PathBuf {
    std::env::var_os("THROUGHLINE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
}

/// Prints a report; gives the number of failures.
fn print(suite: &str, report: &Report) -> usize {
    for file in &report.files {
        println!("{} {}/{}", file.file, file.passed, file.total);
        for failure in &file.failures {
            println!("  {}", failure.replace('\n', "\n  "));
        }
    }
    let passed: usize = report.files.iter().map(|file| file.passed).sum();
    let total: usize = report.files.iter().map(|file| file.total).sum();
    println!("{suite}: {passed}/{total}");
    total - passed
}
