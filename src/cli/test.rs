//! `throughline test`: rule unit tests in promtool's format.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{say, say_error};

#[derive(Args, Debug)]
pub(super) struct TestArgs {
    /// Test files; the rule files that they name are relative to them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let mut failed = 0;
    for path in &args.files {
        let report = crate::evaluate::unit_test::run(path, &|path| std::fs::read_to_string(path));
        if report.failures.is_empty() {
            say(&format!("{}: {} passed", path.display(), report.passed));
        }
        for failure in &report.failures {
            failed += 1;
            say_error(&format!("{}: {failure}", path.display()));
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
