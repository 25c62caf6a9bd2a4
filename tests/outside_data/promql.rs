//! Prometheus's own PromQL tests (`promql/promqltest/testdata`). Each evaluation is one case; an
//! instant one is run again, as upstream does: as the middle step of a range query, and with `@` on
//! every selector at other times (upstream's times before 1970 left out).
//!
//! Known failures stand in `tests/golden/promql-known-failures.txt`, one `file:line reason` a line;
//! `UPDATE_GOLDEN=1` writes the list anew and keeps the reasons that are there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use throughline::promql::{Answer, Options, Output, Query, Range};
use throughline::series::RawSeries;
use throughline::signal::{Labels, Timestamp};

use crate::Report;
use crate::second_opinion::Opinions;

mod compare;
mod script;
mod storage;

use compare::{Expected, check_notes, check_values};
use script::{Case, Command, When, commands};
use storage::Storage;

const KNOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/promql-known-failures.txt");

pub(crate) fn run(shared: &Path) -> Report {
    let mut report = Report::default();
    let folder = shared.join("conformance/promql");
    let Ok(entries) = fs::read_dir(&folder) else {
        report.lines.push(format!("no PromQL tests at {}", folder.display()));
        return report;
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    let mut known = known_failures();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut failures: BTreeMap<(String, usize), String> = BTreeMap::new();
    let (mut passed_all, mut total_all) = (0, 0);
    let mut opinions = Opinions::new();
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap_or_default();
        let (passed, total) = run_file(&name, &text, &mut failures);
        for command in commands(&text) {
            // What must fail may be refused here while it is read and there while it is evaluated.
            if let Command::Eval(case) = command
                && case.fails.is_none()
            {
                opinions.hear(&case.expr);
            }
        }
        report.lines.push(format!("{name} {passed}/{total}"));
        (passed_all, total_all) = (passed_all + passed, total_all + total);
    }
    report.lines.push(format!("promql {passed_all}/{total_all}"));
    report.lines.push(opinions.line());
    report.problems.append(&mut opinions.problems);
    if update {
        write_known(&failures, &known);
        return report;
    }
    for ((file, line), why) in failures {
        if known.remove(&(file.clone(), line)).is_none() {
            report.problems.push(format!("{file}:{line} {why}"));
        }
    }
    for ((file, line), _) in known {
        // A list binds only the files that it names and that are there.
        if files.iter().any(|path| path.ends_with(&file)) {
            report.problems.push(format!("{file}:{line} passes now; remove it from {KNOWN}"));
        }
    }
    report
}

fn known_failures() -> BTreeMap<(String, usize), String> {
    let text = fs::read_to_string(KNOWN).unwrap_or_default();
    let entry = |line: &str| {
        let (place, reason) = line.split_once(' ')?;
        let (file, number) = place.split_once(':')?;
        Some(((file.to_owned(), number.parse().ok()?), reason.to_owned()))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(entry).collect()
}

fn write_known(
    failures: &BTreeMap<(String, usize), String>,
    known: &BTreeMap<(String, usize), String>,
) {
    let mut text = String::from("# file:line reason; written by UPDATE_GOLDEN=1\n");
    for ((file, line), why) in failures {
        let reason = known.get(&(file.clone(), *line)).unwrap_or(why);
        let _ = writeln!(text, "{file}:{line} {reason}");
    }
    if let Err(error) = fs::write(KNOWN, text) {
        println!("could not write {KNOWN}: {error}");
    }
}

fn run_file(
    name: &str,
    text: &str,
    failures: &mut BTreeMap<(String, usize), String>,
) -> (usize, usize) {
    let mut storage = Storage::default();
    let (mut passed, mut total) = (0, 0);
    for command in commands(text) {
        match command {
            Command::Clear => storage = Storage::default(),
            Command::Load(load) => {
                if let Err(why) = storage.load(&load) {
                    println!("{name}:{} load: {why}", load.line);
                }
            }
            Command::Eval(case) => {
                total += 1;
                match run_case(&case, &storage) {
                    Ok(()) => passed += 1,
                    Err(why) => {
                        let why = why.lines().next().unwrap_or_default().to_owned();
                        failures.insert((name.to_owned(), case.line), why);
                    }
                }
            }
        }
    }
    (passed, total)
}

fn run_case(case: &Case, storage: &Storage) -> Result<(), String> {
    let answer = evaluate(case, storage);
    let answer = match (&case.fails, answer) {
        (None, Ok(answer)) => answer,
        (None, Err(why)) => return Err(format!("error: {why}")),
        (Some(_), Ok(_)) => return Err("should fail".to_owned()),
        (Some(expected), Err(why)) => {
            return if expected.matches(&why) { Ok(()) } else { Err(format!("fails with: {why}")) };
        }
    };
    check_notes(case, &answer)?;
    let expected = Expected::new(case)?;
    check_values(case, &expected, &answer.output)?;
    if let When::Instant(at) = case.when
        && reruns(case, &answer)
    {
        let values = middle_of_range(case, at, storage)?;
        let unordered = Case { ordered: false, ..case.clone() };
        check_values(&unordered, &expected, &values).map_err(|why| format!("as a range: {why}"))?;
    }
    if let When::Instant(at) = case.when {
        check_pinned(case, at, &expected, storage)?;
    }
    Ok(())
}

/// With `@` on its selectors a query gives the same whenever it is asked.
fn check_pinned(
    case: &Case,
    at: i64,
    expected: &Expected,
    storage: &Storage,
) -> Result<(), String> {
    let query = Query::parse(&case.expr).map_err(|error| error.to_string())?;
    let Some(pinned) = query.pinned(Timestamp::from_millis(at)) else { return Ok(()) };
    let times = if at == 0 { vec![-1000, 0, 1000] } else { vec![-10 * at, 0, at / 5, at, 10 * at] };
    for time in times {
        let asked = Case { expr: pinned.to_string(), when: When::Instant(time), ..case.clone() };
        let answer =
            evaluate(&asked, storage).map_err(|why| format!("{pinned} at {time}: {why}"))?;
        let output = match answer.output {
            Output::Vector(mut series) => {
                let samples = series.iter_mut().flat_map(|series| &mut series.samples);
                samples.for_each(|sample| sample.t = at);
                Output::Vector(series)
            }
            other => other,
        };
        check_values(case, expected, &output)
            .map_err(|why| format!("{pinned} at {time}: {why}"))?;
    }
    Ok(())
}

fn evaluate(case: &Case, storage: &Storage) -> Result<Answer, String> {
    let query = Query::parse(&case.expr).map_err(|error| error.to_string())?;
    let select = |selection: &throughline::series::Selection<'_>| Ok(storage.select(selection));
    // As upstream runs its suite.
    let options = Options { delayed_name_removal: true, ..Options::default() };
    let answer = match case.when {
        When::Instant(at) => query.instant(at, &options, &select),
        When::Range(range) => query.range(range, &options, &select),
    };
    answer.map_err(|error| error.to_string())
}

fn reruns(case: &Case, answer: &Answer) -> bool {
    let by_range = ["start()", "end()", "range()", "step()"];
    let expr = case.expr.to_ascii_lowercase();
    !by_range.iter().any(|call| expr.contains(call))
        && matches!(answer.output, Output::Scalar(..) | Output::Vector(_))
}

fn middle_of_range(case: &Case, at: i64, storage: &Storage) -> Result<Output, String> {
    let minute = 60_000;
    let range = Range { start: at - minute, end: at + minute, step: minute };
    let ranged = Case { when: When::Range(range), ..case.clone() };
    let answer = evaluate(&ranged, storage).map_err(|why| format!("as a range: {why}"))?;
    let Output::Matrix(series) = answer.output else { return Ok(answer.output) };
    let middle = |series: RawSeries| {
        let samples: Vec<_> = series.samples.into_iter().filter(|s| s.t == at).collect();
        (!samples.is_empty()).then_some(RawSeries::new(series.labels, samples))
    };
    let series: Vec<RawSeries> = series.into_iter().filter_map(middle).collect();
    Ok(match (case.values.as_slice(), series.as_slice()) {
        ([one], [only]) if script::is_scalar(one) && only.labels == Labels::default() => {
            match only.samples.first().map(|sample| &sample.value) {
                Some(throughline::series::SampleValue::Float(x)) => Output::Scalar(at, *x),
                _ => Output::Vector(series),
            }
        }
        _ => Output::Vector(series),
    })
}
