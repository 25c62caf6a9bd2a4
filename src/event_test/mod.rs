//! Event tests: signals in, virtual time; requests, series, alerts and rendered messages out.
//!
//! A test file comes in ([`is_event_test`] tells it from one in promtool's format) with a way to read the
//! files that it names; how many checks held and what failed goes out. The whole daemon runs in simulated
//! time ([`crate::pipeline::Rehearsal`]), so a test sees what a pager would have been sent. No clock, no
//! socket; the files' own errors are failures, not panics. `docs/event-tests.md` describes the format.

#[cfg(test)]
mod catalog_tests;
mod compare;
mod file;
mod fill;
#[cfg(test)]
mod mutation_tests;
mod of_request;
mod packed;
mod run;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use self::file::EventFile;
pub use self::of_request::of_request;
use self::run::Run;
use crate::config::{Config, Outside};
use crate::evaluate::unit_test::{Case, TestReport};
use crate::pipeline::Rehearsal;

/// Bytes of a file that a test names.
pub type Read<'a> = dyn Fn(&Path) -> io::Result<Vec<u8>> + 'a;

/// Whether a test file holds event tests, and not rule unit tests.
pub fn is_event_test(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("event_tests:"))
}

/// Runs a file of event tests; the files that it names are relative to it.
pub fn run(path: &Path, text: &str, read: &Read<'_>) -> TestReport {
    let mut report = TestReport::default();
    let name = path.display().to_string();
    let file = match file::parse(&name, text) {
        Ok(file) => file,
        Err(errors) => {
            report.fail_file(errors.iter().map(ToString::to_string));
            return report;
        }
    };
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let config = match config(&file, dir, read) {
        Ok(config) => config,
        Err(errors) => {
            report.fail_file(errors);
            return report;
        }
    };
    for test in &file.tests {
        let mut case = Case::new(&test.name);
        match Rehearsal::new(&config, test.start) {
            Ok(rehearsal) => {
                let mut run = Run::new(&name, test, rehearsal);
                run.all(&config, &|file| read(&dir.join(file)));
                (case.passed, case.failures) = (run.passed, run.failures);
            }
            Err(errors) => {
                report.fail_file(errors);
                return report;
            }
        }
        report.add(case);
    }
    report
}

/// The configuration that the file's tests run under, or what is wrong with it.
fn config(file: &EventFile, dir: &Path, read: &Read<'_>) -> Result<Config, Vec<String>> {
    let text = |path: &Path| {
        read(path).and_then(|bytes| {
            String::from_utf8(bytes)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
        })
    };
    let outside = Outside {
        env: &|name| std::env::var(name).ok(),
        read: &text,
        glob: &|pattern| Ok(vec![pattern.to_owned()]),
    };
    let below = |file: &String| dir.join(file).display().to_string();
    let list = |key: &str, files: &[String]| {
        let files: Vec<String> = files.iter().map(below).collect();
        (!files.is_empty()).then(|| format!("{key}={}", serde_json::json!(files)))
    };
    let mut sets = file.set.clone();
    sets.extend(list("rules.files", &file.rule_files));
    sets.extend(list("slos.files", &file.slo_files));
    let notify = file.notify_file.as_ref().map(below);
    sets.extend(notify.map(|path| format!("notify.config={path}")));
    let config_file: Option<PathBuf> = file.config_file.as_ref().map(|file| dir.join(file));
    Config::try_new(config_file.as_deref(), &sets, &outside)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}
