//! Rule unit tests in promtool's format (`docs/configuration/unit_testing_rules.md`).
//!
//! A test file and a way to read the rule files that it names come in; how many checks passed and
//! what failed goes out. Series live in memory, time is simulated, every group is evaluated at every
//! `evaluation_interval`, as promtool does it. The files' own errors are failures, not panics.

mod file;
mod memory;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::file::ExpectedSample;
use self::file::{AlertCheck, ExprCheck, Test, TestFile};
use self::memory::Memory;
use super::rule::{Group, Kind};
use super::{AlertState, Config, Evaluator, Select, rule_file};
use crate::promql::{self, Options, Output, Query};
use crate::series::{Histogram, Sample, SampleValue};
use crate::signal::{Labels, Text, Timestamp, format_duration};

/// Evaluations of one test: a year of minutes, so that a slip in a unit does not run for ever.
const EVALUATIONS_MAX: u128 = 600_000;

/// What became of one test file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestReport {
    pub cases: Vec<Case>,
}

/// What became of one test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    /// Checks that held.
    pub passed: usize,
    pub failures: Vec<String>,
}

impl TestReport {
    /// Checks that held.
    pub fn passed(&self) -> usize {
        self.cases.iter().map(|case| case.passed).sum()
    }

    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.cases.iter().flat_map(|case| &case.failures).map(String::as_str)
    }

    pub fn add(&mut self, case: Case) {
        self.cases.push(case);
    }

    /// The file itself is wrong.
    pub fn fail_file(&mut self, errors: impl IntoIterator<Item = String>) {
        let failures = errors.into_iter().collect();
        self.cases.push(Case { name: "the file".to_owned(), passed: 0, failures });
    }
}

impl Case {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Compares two lists of lines.
    pub fn check(&mut self, what: impl FnOnce() -> String, expected: &[String], got: &[String]) {
        if expected == got {
            self.passed += 1;
            return;
        }
        let list = |items: &[String]| match items {
            [] => "nothing".to_owned(),
            items => items.join("\n    "),
        };
        let (expected, got) = (list(expected), list(got));
        self.fail(format!("{}\n  expected:\n    {expected}\n  got:\n    {got}", what()));
    }

    pub fn fail(&mut self, message: impl AsRef<str>) {
        self.failures.push(format!("{}: {}", self.name, message.as_ref()));
    }
}

/// Runs a test file; `read` gives the text of it and of the rule files, which are relative to it.
pub fn run(path: &Path, read: &dyn Fn(&Path) -> io::Result<String>) -> TestReport {
    let mut report = TestReport::default();
    let name = path.display().to_string();
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            report.fail_file([format!("cannot read {name}: {error}")]);
            return report;
        }
    };
    let file = match file::parse(&name, &text) {
        Ok(file) => file,
        Err(errors) => {
            report.fail_file(errors.iter().map(ToString::to_string));
            return report;
        }
    };
    match groups(path, &file, read) {
        Ok(groups) => {
            for (idx, test) in file.tests.iter().enumerate() {
                let title = test.name.clone().unwrap_or_else(|| format!("test {}", idx + 1));
                let mut case = Case::new(&title);
                Run { name: &name, file: &file, test, case: &mut case }.all(&groups);
                report.add(case);
            }
        }
        Err(failures) => report.fail_file(failures),
    }
    report
}

/// The groups of all rule files, in promtool's order where the file gives one.
fn groups(
    path: &Path,
    file: &TestFile,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Vec<Arc<Group>>, Vec<String>> {
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let (mut all, mut failures) = (Vec::new(), Vec::new());
    for rule_file in &file.rule_files {
        match read(&dir.join(rule_file)) {
            Err(error) => failures.push(format!("cannot read the rule file {rule_file}: {error}")),
            Ok(text) => match rule_file::parse(rule_file, &text) {
                Ok(groups) => all.extend(groups),
                Err(errors) => failures.extend(errors.iter().map(ToString::to_string)),
            },
        }
    }
    let order = |group: &Group| file.group_eval_order.iter().position(|name| **name == *group.name);
    all.sort_by_key(|group| order(group).map_or((1, 0), |at| (0, at)));
    if failures.is_empty() { Ok(all.into_iter().map(Arc::new).collect()) } else { Err(failures) }
}

/// One test of a file.
struct Run<'a> {
    /// Of the file.
    name: &'a str,
    file: &'a TestFile,
    test: &'a Test,
    case: &'a mut Case,
}

impl Run<'_> {
    fn all(&mut self, groups: &[Arc<Group>]) {
        let interval = self.test.interval.unwrap_or(self.file.evaluation_interval);
        let mut memory = Memory::default();
        for input in &self.test.input_series {
            if let Err(error) = memory.load(input, self.test.start, interval) {
                self.fail(&format!("series `{}`: {error}", input.series));
                return;
            }
        }
        let alerts = self.test.alert_rule_test.iter().map(|check| check.eval_time);
        let exprs = self.test.promql_expr_test.iter().map(|check| check.eval_time);
        let end = alerts.chain(exprs).max().unwrap_or_default();
        let step = self.file.evaluation_interval;
        if end.as_nanos() / step.as_nanos().max(1) > EVALUATIONS_MAX {
            self.fail(&format!(
                "more than {EVALUATIONS_MAX} evaluations until {}",
                format_duration(end)
            ));
            return;
        }
        let config = Config {
            external_labels: self.test.external_labels.clone(),
            external_url: self.test.external_url.clone(),
            evaluation_interval: step,
            ..Config::default()
        };
        let mut evaluator = Evaluator::with_groups(groups.to_vec(), config);
        self.evaluate(&mut evaluator, &mut memory, (step, end));
        for check in &self.test.promql_expr_test {
            self.expr(check, &memory);
        }
    }

    /// Evaluates all groups from zero to `end`; checks alerts whose time lies in the interval that
    /// the last evaluation began.
    fn evaluate(
        &mut self,
        evaluator: &mut Evaluator,
        memory: &mut Memory,
        (step, end): (Duration, Duration),
    ) {
        let mut passed = Duration::ZERO;
        let mut failed_rules = BTreeSet::new();
        while passed <= end {
            let at = self.test.start.saturating_add(passed);
            evaluator.forget_gone();
            for idx in 0..evaluator.groups.len() {
                let found = evaluator.evaluate_group(idx, at, &|s| memory.select(s));
                found.transitions.iter().for_each(|transition| evaluator.apply(transition));
                found.recorded.iter().for_each(|sample| memory.record(sample));
                for (labels, value) in evaluator.alert_series() {
                    memory.put(
                        labels,
                        Sample { t: at.as_millis(), value: SampleValue::Float(value) },
                    );
                }
            }
            for (key, state) in &evaluator.rule_states {
                if let Some(error) = &state.error
                    && failed_rules.insert(key.clone())
                {
                    let time = format_duration(passed);
                    self.fail(&format!("rule {}/{} at {time}: {error}", key.group, key.name));
                }
            }
            let checks = &self.test.alert_rule_test;
            for check in
                checks.iter().filter(|c| c.eval_time >= passed && c.eval_time < passed + step)
            {
                self.alerts(check, evaluator);
            }
            passed += step;
        }
    }

    fn alerts(&mut self, check: &AlertCheck, evaluator: &Evaluator) {
        let mut got = Vec::new();
        for group in evaluator
            .groups
            .iter()
            .filter(|g| check.groupname.as_ref().is_none_or(|n| **n == *g.name))
        {
            for rule in group.rules.iter().filter(|rule| {
                matches!(rule.kind, Kind::Alert(_)) && *rule.name == *check.alertname
            }) {
                let alerts = evaluator.rule_states.get(&rule.key).map(|state| &state.alerts);
                let firing =
                    alerts.into_iter().flatten().filter(|(_, a)| a.state == AlertState::Firing);
                got.extend(firing.map(|(labels, alert)| {
                    let notes =
                        alert.annotations.iter().map(|(k, v)| (Text::clone(k), Text::clone(v)));
                    shown(labels, &notes.collect::<Vec<_>>())
                }));
            }
        }
        let mut expected: Vec<String> = check
            .exp_alerts
            .iter()
            .map(|alert| {
                shown(&alert.labels.with("alertname", &check.alertname), &alert.annotations)
            })
            .collect();
        got.sort();
        expected.sort();
        let time = format_duration(check.eval_time);
        let what = || format!("alert {} at {time} ({}:{})", check.alertname, self.name, check.line);
        self.case.check(what, &expected, &got);
    }

    fn expr(&mut self, check: &ExprCheck, memory: &Memory) {
        let time = format_duration(check.eval_time);
        let at = self.test.start.saturating_add(check.eval_time);
        let what = format!("`{}` at {time} ({}:{})", check.expr, self.name, check.line);
        let answer = Query::parse(&check.expr)
            .map_err(|error| error.to_string())
            .and_then(|query| {
                let answer = query.instant(at.as_millis(), &Options::default(), &|selection| {
                    memory.select(selection)
                });
                answer.map_err(|error| error.to_string())
            })
            .and_then(|answer| samples(answer.output));
        let got = match answer {
            Ok(got) => got,
            Err(error) => {
                self.case.fail(format!("{what}: {error}"));
                return;
            }
        };
        let mut expected = Vec::new();
        for sample in &check.exp_samples {
            match sample.parse() {
                Ok(sample) => expected.push(sample),
                Err(error) => {
                    self.case.fail(format!("{what}: {error}"));
                    return;
                }
            }
        }
        if self.file.fuzzy_compare {
            approach(&mut expected, &got);
        }
        self.case.check(|| what, &lines(&expected), &lines(&got));
    }

    fn fail(&mut self, message: &str) {
        self.case.fail(message);
    }
}

/// Labels of a sample and its value.
type Valued = (Labels, SampleValue);

/// What a query gave and what was expected of it, as lines that compare; or why there is no answer.
pub(crate) struct Compared {
    pub(crate) expected: Vec<String>,
    pub(crate) got: Vec<String>,
}

/// Asks a query that gives a vector or a scalar.
pub(crate) fn compare_query(
    expr: &str,
    at: Timestamp,
    expected: &[ExpectedSample],
    select: &Select<'_>,
) -> Result<Compared, String> {
    let query = Query::parse(expr).map_err(|error| error.to_string())?;
    let answer = query
        .instant(at.as_millis(), &Options::default(), select)
        .map_err(|error| error.to_string())?;
    let expected: Vec<Valued> =
        expected.iter().map(ExpectedSample::parse).collect::<Result<_, _>>()?;
    Ok(Compared { expected: lines(&expected), got: lines(&samples(answer.output)?) })
}

fn samples(output: Output) -> Result<Vec<Valued>, String> {
    match output {
        Output::Scalar(_, value) => Ok(vec![(Labels::default(), SampleValue::Float(value))]),
        Output::Vector(series) => {
            let one = |series: crate::series::RawSeries| {
                series.samples.into_iter().next_back().map(|sample| (series.labels, sample.value))
            };
            Ok(series.into_iter().filter_map(one).collect())
        }
        Output::String(..) | Output::Matrix(_) => {
            Err("the result is no vector and no scalar".to_owned())
        }
    }
}

/// Sorted, so that order does not count.
fn lines(samples: &[Valued]) -> Vec<String> {
    let mut lines: Vec<String> = samples
        .iter()
        .map(|(labels, value)| match value {
            SampleValue::Float(x) => format!("{labels} {x}"),
            SampleValue::Histogram(histogram) => format!("{labels} {}", comparable(histogram)),
        })
        .collect();
    lines.sort();
    lines
}

/// What of a histogram counts in a comparison: empty buckets and the hint do not.
fn comparable(histogram: &Histogram) -> String {
    let held = |buckets: &[(i32, f64)]| -> Vec<(i32, f64)> {
        buckets.iter().filter(|(_, count)| *count != 0.0).copied().collect()
    };
    let Histogram {
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive,
        negative,
        custom_bounds,
        ..
    } = histogram;
    format!(
        "{{{{schema:{schema} count:{count} sum:{sum} z_bucket:{zero_count} z_bucket_w:{zero_threshold} buckets:{:?} n_buckets:{:?} custom_values:{custom_bounds:?}}}}}",
        held(positive),
        held(negative)
    )
}

/// Replaces expected floats by those next to them, as promtool's `fuzzy_compare` does.
fn approach(expected: &mut [Valued], got: &[Valued]) {
    for (labels, value) in expected {
        let same = got.iter().find(|(other, _)| other == labels).map(|(_, value)| value);
        if let (SampleValue::Float(want), Some(SampleValue::Float(have))) = (&*value, same)
            && (want.next_down()..=want.next_up()).contains(have)
        {
            *value = SampleValue::Float(*have);
        }
    }
}

fn shown(labels: &Labels, annotations: &[(Text, Text)]) -> String {
    let mut notes = annotations.to_vec();
    notes.sort();
    let notes: Vec<String> =
        notes.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{labels} annotations {{{}}}", notes.join(", "))
}

/// A sample as a test expects it, read from its labels and value.
impl ExpectedSample {
    fn parse(&self) -> Result<Valued, String> {
        let labels = match self.labels.trim() {
            "" => Labels::default(),
            text => promql::parse_series_labels(text).map_err(|error| error.to_string())?,
        };
        let Some(histogram) = &self.histogram else {
            return Ok((labels, SampleValue::Float(self.value)));
        };
        let (_, values) = promql::parse_series_description(&format!("{{}} {histogram}"))
            .map_err(|error| error.to_string())?;
        match values.into_iter().next().flatten() {
            Some(value) => Ok((labels, value)),
            None => Err(format!("`{histogram}` is no histogram")),
        }
    }
}

#[cfg(test)]
mod tests;
