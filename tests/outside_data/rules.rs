//! promtool's own rule files and unit tests, and Prometheus's rule fixtures.
//!
//! What becomes of each stands in `tests/golden/promtool-rules.txt`, reviewed by hand against what
//! promtool says of the same file; `UPDATE_GOLDEN=1` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use throughline::evaluate::{Config, Evaluator, unit_test};

use crate::Report;

pub(crate) fn run(shared: &Path) -> Report {
    let mut report = Report::default();
    let mut shown = String::new();
    for folder in ["promtool-rules", "rules-fixtures", "compliance"] {
        let entries = fs::read_dir(shared.join("conformance").join(folder));
        let mut paths: Vec<PathBuf> =
            entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e != "md")) {
            let text = fs::read_to_string(path).unwrap_or_default();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let outcome = if text.lines().any(|line| line.starts_with("tests:")) {
                tests(path)
            } else if text.lines().any(|line| line.starts_with("groups:")) {
                rules(&name, &text)
            } else {
                continue;
            };
            let _ = writeln!(shown, "{folder}/{name} {outcome}");
        }
    }
    if !shown.is_empty() {
        alert_generator(shared, &mut report);
        crate::golden("promtool-rules.txt", &shown, &mut report);
    }
    report
}

/// The alert-generator specification's cases, over the rules that come with it.
fn alert_generator(shared: &Path, report: &mut Report) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/alert-generator.test.yaml");
    let rules = shared.join("conformance/compliance/alert_generator-rules.yaml");
    let read = |path: &Path| fs::read_to_string(if *path == *own { &own } else { &rules });
    let found = unit_test::run(&own, &read);
    let n_failed = found.failures().count();
    report.lines.push(format!("alert_generator {}/{}", found.passed(), found.passed() + n_failed));
    report.problems.extend(found.failures().map(|failure| format!("alert_generator: {failure}")));
}

fn tests(path: &Path) -> String {
    let found = unit_test::run(path, &|path| fs::read_to_string(path));
    let folder = path.parent().unwrap_or(Path::new("")).display().to_string();
    let failures: String = found
        .failures()
        .map(|failure| format!("\n  {}", failure.replace(&folder, "").replace('\n', "\n  ")))
        .collect();
    format!("{} passed, {} failed{failures}", found.passed(), found.failures().count())
}

fn rules(name: &str, text: &str) -> String {
    let config =
        Config { rule_files: vec![(name.to_owned(), text.to_owned())], ..Config::default() };
    match Evaluator::try_new(config) {
        Ok(_) => "accepted".to_owned(),
        Err(errors) => {
            let lines: String =
                errors.iter().map(|e| format!("\n  {}:{} {}", e.line, e.col, e.message)).collect();
            format!("refused{lines}")
        }
    }
}
