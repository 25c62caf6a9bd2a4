//! `throughline test`: rule unit tests in promtool's format, and event tests.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{say, say_error};
use crate::evaluate::unit_test::{self, Case, TestReport};
use crate::event_test;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  throughline test alert-rules/*.test.yaml
  throughline test orders.test.yaml --junit results.xml
  throughline test orders.events.yaml                   signals in; requests, alerts, messages out
  throughline test *.test.yaml --json | jq '.files[].tests[] | select(.failures != [])'

Exit code 0: all held; 1: something did not, or a file could not be read.")]
pub(super) struct TestArgs {
    /// Test files; the files that they name are relative to them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also writes what was found as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print JSON on stdout: every file, its tests, what held and what failed.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let mut failed = 0;
    let (mut suites, mut files) = (String::new(), Vec::new());
    for path in &args.files {
        let report = report(path);
        if args.json {
            files.push(as_json(path, &report));
        } else if report.failures().next().is_none() {
            say(&format!("{}: {} passed", path.display(), report.passed()));
        }
        for failure in report.failures() {
            failed += 1;
            if !args.json {
                say_error(&placed(path, failure));
            }
        }
        suites.push_str(&suite(&path.display().to_string(), &report));
    }
    if args.json {
        say(&serde_json::to_string_pretty(&serde_json::json!({ "files": files }))?);
    }
    if let Some(file) = &args.junit {
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n{suites}</testsuites>\n"
        );
        std::fs::write(file, xml).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A file is one of two kinds; it tells by its keys.
fn report(path: &Path) -> TestReport {
    match std::fs::read_to_string(path) {
        Ok(text) if event_test::is_event_test(&text) => {
            event_test::run(path, &text, &|path| std::fs::read(path))
        }
        _ => unit_test::run(path, &|path| std::fs::read_to_string(path)),
    }
}

/// A failure that says which file it is of.
fn placed(path: &Path, failure: &str) -> String {
    let file = path.display().to_string();
    if failure.starts_with(&file) { failure.to_owned() } else { format!("{file}: {failure}") }
}

fn as_json(path: &Path, report: &TestReport) -> serde_json::Value {
    let test = |case: &Case| serde_json::json!({"name": case.name, "passed": case.passed, "failures": case.failures});
    let tests: Vec<_> = report.cases.iter().map(test).collect();
    serde_json::json!({"file": path.display().to_string(), "tests": tests})
}

/// One file as a JUnit test suite.
fn suite(name: &str, report: &TestReport) -> String {
    let n_failed = report.cases.iter().filter(|case| !case.failures.is_empty()).count();
    let mut out = format!(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{n_failed}\">\n",
        escaped(name),
        report.cases.len()
    );
    for case in &report.cases {
        let (class, title) = (escaped(name), escaped(&case.name));
        let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{title}\"");
        if case.failures.is_empty() {
            out.push_str("/>\n");
            continue;
        }
        out.push_str(">\n");
        for failure in &case.failures {
            let first = escaped(failure.lines().next().unwrap_or_default());
            let _ =
                writeln!(out, "      <failure message=\"{first}\">{}</failure>", escaped(failure));
        }
        out.push_str("    </testcase>\n");
    }
    out.push_str("  </testsuite>\n");
    out
}

/// Text for XML; what XML 1.0 cannot hold is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_report_becomes_json() {
        let mut bad = Case::new("b");
        bad.fail("no");
        let mut report = TestReport::default();
        report.add(bad);
        let told = as_json(Path::new("x.test.yaml"), &report);
        assert_eq!(told["file"], "x.test.yaml");
        assert_eq!(told["tests"][0]["failures"][0], "b: no");
    }

    #[test]
    fn a_report_becomes_junit_xml() {
        let mut report = TestReport::default();
        report.add(Case { name: "good".to_owned(), passed: 2, failures: Vec::new() });
        let mut bad = Case::new("b<a>d \u{1}");
        bad.fail("alert \"A\" at 5m\n  got:\n    a & b");
        report.add(bad);
        expect![[r#"
            <testsuites>
              <testsuite name="x.test.yaml" tests="2" failures="1">
                <testcase classname="x.test.yaml" name="good"/>
                <testcase classname="x.test.yaml" name="b&lt;a&gt;d �">
                  <failure message="b&lt;a&gt;d �: alert &quot;A&quot; at 5m">b&lt;a&gt;d �: alert &quot;A&quot; at 5m
              got:
                a &amp; b</failure>
                </testcase>
              </testsuite>
            </testsuites>
        "#]]
        .assert_eq(&format!("<testsuites>\n{}</testsuites>\n", suite("x.test.yaml", &report)));
    }
}
