//! Test files as text, reports as text.

use std::io;
use std::path::Path;

use expect_test::{Expect, expect};

use super::run;

const RULES: &str = "\
groups:
- name: g
  rules:
  - record: doubled
    expr: x * 2
  - alert: High
    expr: doubled > 4
    for: 1m
    labels: {severity: page}
    annotations: {summary: '{{ $labels.job }} is {{ $value }} in {{ $externalLabels.region }}'}
";

fn check(test: &str, expect: &Expect) {
    let read = |path: &Path| match path.to_str() {
        Some("dir/test.yaml") => Ok(test.to_owned()),
        Some("dir/rules.yaml") => Ok(RULES.to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let report = run(Path::new("dir/test.yaml"), &read);
    expect.assert_eq(&format!(
        "{} passed\n{}",
        report.passed(),
        report.failures().collect::<Vec<_>>().join("\n")
    ));
}

#[test]
fn alerts_and_expressions_are_checked_over_simulated_time() {
    let test = "\
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
- interval: 1m
  external_labels: {region: eu}
  input_series:
  - {series: 'x{job=\"a\"}', values: '1 2 3 4 5 _ stale'}
  alert_rule_test:
  - {eval_time: 2m, alertname: High}
  - eval_time: 3m
    alertname: High
    exp_alerts:
    - exp_labels: {severity: page, job: a}
      exp_annotations: {summary: a is 8 in eu}
  - {eval_time: 7m, alertname: High, exp_alerts: []}
  promql_expr_test:
  - expr: doubled
    eval_time: 3m
    exp_samples: [{labels: 'doubled{job=\"a\"}', value: 8}]
  - expr: doubled
    eval_time: 7m
  - expr: ALERTS
    eval_time: 2m
    exp_samples: [{labels: 'ALERTS{alertname=\"High\",alertstate=\"pending\",job=\"a\",severity=\"page\"}', value: 1}]
  - expr: count(ALERTS) or vector(0)
    eval_time: 7m
    exp_samples: [{value: 0}]
";
    check(
        test,
        &expect![[r"
        7 passed
    "]],
    );
}

#[test]
fn what_differs_is_shown_beside_what_was_expected() {
    let test = "\
rule_files: [rules.yaml]
tests:
- name: wrong
  input_series: [{series: x, values: 3x5}]
  alert_rule_test: [{eval_time: 5m, alertname: High}]
  promql_expr_test: [{expr: x, eval_time: 0, exp_samples: [{labels: x, value: 2}]}]
";
    check(
        test,
        &expect![[r#"
            0 passed
            wrong: alert High at 5m (dir/test.yaml:5)
              expected:
                nothing
              got:
                {alertname="High", severity="page"} annotations {summary=" is 6 in "}
            wrong: `x` at 0s (dir/test.yaml:6)
              expected:
                x 2
              got:
                x 3"#]],
    );
}

#[test]
fn errors_of_the_files_are_failures() {
    check(
        "rule_files: [none.yaml]\n",
        &expect![[r"
        0 passed
        cannot read the rule file none.yaml: entity not found"]],
    );
    check(
        "tests: [{interval: x}]\n",
        &expect![[r"
        0 passed
        dir/test.yaml:1:20: `x` is no duration; write 30s, 5m or 1h30m
            tests: [{interval: x}]
                               ^"]],
    );
    check(
        "test: []\n",
        &expect![[r"
        0 passed
        dir/test.yaml:1:1: unknown field `test`, expected one of rule_files, evaluation_interval, group_eval_order, fuzzy_compare, tests
            test: []
            ^"]],
    );
}
