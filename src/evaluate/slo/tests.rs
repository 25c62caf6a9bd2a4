//! SLO files as text, rules and errors as text.

use expect_test::{Expect, expect};

use super::{generate, load};
use crate::evaluate::rule_file;
use crate::series::{RawSeries, Sample, SampleValue};
use crate::signal::{Labels, Timestamp};

const SHORT: &str = "\
kind: throughline/v1
service: shop
slos:
- name: orders
  objective: 99.5
  availability: {flow: POST /orders}
";

fn generated(text: &str) -> String {
    match generate(&[("slo.yaml".to_owned(), text.to_owned())]) {
        Ok(rules) => rules,
        Err(errors) => errors.iter().map(|error| format!("{error}\n")).collect(),
    }
}

fn check(text: &str, expect: &Expect) {
    expect.assert_eq(&generated(text));
}

#[test]
fn the_short_form_burns_straight_from_counters() {
    check(SHORT, &expect![[r#""#]]);
}

#[test]
fn a_threshold_that_cannot_be_reached_is_warned_about() {
    let text = SHORT.replace("99.5", "90");
    let head: String = generated(&text).lines().filter(|line| line.starts_with("# warning")).collect();
    expect![[r#""#]].assert_eq(&head);
}

#[test]
fn what_is_wrong_with_a_short_form_is_told_with_its_place() {
    let text = "\
kind: throughline/v1
service: shop
slos:
- name: a
  objective: 100
  window: 1h
  availability: {}
- name: b
  objective: 99
  latency: {threshold: soon}
- name: c
  objective: 99
";
    check(text, &expect![[r#""#]]);
}

const SLOTH: &str = r#"version: prometheus/v1
service: svc
labels: {owner: team}
slos:
- name: availability
  objective: 99.9
  sli:
    events:
      error_query: sum(rate(http_total{code=~"5.."}[{{.window}}]))
      total_query: sum(rate(http_total[{{ .window }}]))
  alerting:
    name: HighErrorRate
    labels: {category: availability}
    page_alert: {labels: {severity: page}}
    ticket_alert: {disable: true}
"#;

#[test]
fn a_sloth_spec_becomes_the_rules_that_sloth_makes() {
    let rules = generated(SLOTH);
    let shown: Vec<&str> = rules
        .lines()
        .filter(|line| ["record:", "alert:", "vector(", "14.4", "name:", "sloth_window"].iter().any(|w| line.contains(w)))
        .collect();
    expect![[r#""#]].assert_eq(&shown.join("\n"));
}

#[test]
fn the_daemon_records_no_ratio_without_traffic() {
    let loaded = load("slo.yaml", SLOTH).expect("loads");
    let ratio = loaded.rules.lines().skip_while(|line| !line.contains("ratio_rate5m")).take(5);
    expect![[r#""#]].assert_eq(&ratio.collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_is_wrong_with_a_sloth_spec_is_told_with_its_place() {
    let text = SLOTH.replace("99.9", "101").replace("[{{ .window }}]", "[5m]").replace("name: High", "nam: High");
    check(&text, &expect![[r#""#]]);
    let text = SLOTH.replace("99.9", "101").replace("[{{ .window }}]", "[5m]");
    check(&text, &expect![[r#""#]]);
    let text = SLOTH.replace("prometheus/v1", "prometheus/v2");
    check(&text, &expect![[r#""#]]);
}

const OPEN_SLO: &str = r#"apiVersion: openslo/v1
kind: SLI
metadata: {name: ok}
spec:
  ratioMetric:
    counter: true
    good:
      metricSource: {type: Prometheus, spec: {query: 'http_total{code="200"}'}}
    total:
      metricSource: {type: Prometheus, spec: {query: http_total}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: web}
spec:
  service: web
  indicatorRef: ok
  timeWindow:
  - {duration: 4w, isRolling: true}
  budgetingMethod: Occurrences
  objectives:
  - target: 0.99
"#;

#[test]
fn an_open_slo_file_becomes_rules() {
    let rules = generated(OPEN_SLO);
    let ratio = rules.lines().skip_while(|line| !line.contains("ratio_rate5m")).take(16);
    expect![[r#""#]].assert_eq(&ratio.collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_open_slo_can_say_and_we_cannot_do_is_refused_by_name() {
    let text = OPEN_SLO
        .replace("isRolling: true", "isRolling: false")
        .replace("Occurrences", "Timeslices")
        .replace("target: 0.99", "target: 99\n    timeSliceTarget: 0.9")
        .replace("indicatorRef: ok", "indicatorRef: other")
        + "---\napiVersion: openslo/v1\nkind: AlertPolicy\n";
    check(&text, &expect![[r#""#]]);
}

#[test]
fn generated_rules_are_valid_rule_files() {
    for text in [SHORT, SLOTH, OPEN_SLO] {
        let rules = generated(text);
        let groups = rule_file::parse("generated.yaml", &rules);
        assert!(groups.is_ok_and(|groups| !groups.is_empty()), "{rules}");
    }
}

/// Counters of events at `t` (seconds): good and all.
fn counters(samples: &'static [(i64, f64, f64)]) -> Vec<RawSeries> {
    let series = |name: &str, pick: fn(&(i64, f64, f64)) -> f64| RawSeries {
        labels: Labels::of(&[("__name__", name), ("service", "shop"), ("slo", "orders")]),
        samples: samples
            .iter()
            .map(|sample| Sample { t: sample.0 * 1000, value: SampleValue::Float(pick(sample)) })
            .collect(),
    };
    vec![series("throughline_slo_good_total", |s| s.1), series("throughline_slo_events_total", |s| s.2)]
}

fn state(all: &[RawSeries], seconds: i64) -> serde_json::Value {
    let loaded = load("slo.yaml", SHORT).expect("loads");
    let slo = loaded.slos.first().expect("one");
    let now = Timestamp::from_millis(seconds * 1000);
    super::state::json(slo, now, &|selection| {
        Ok(all
            .iter()
            .filter(|series| selection.matchers.iter().all(|m| m.matches_labels(&series.labels)))
            .map(|series| RawSeries {
                labels: series.labels.clone(),
                samples: series.samples.iter().filter(|s| s.t > selection.start && s.t <= selection.end).cloned().collect(),
            })
            .filter(|series| !series.samples.is_empty())
            .collect())
    })
}

#[test]
fn burn_rates_and_the_budget_come_from_the_counters() {
    // 40 days in: 1000 events an hour ago, then 1000 more of which 10 failed.
    const DAY: i64 = 86_400;
    let all = counters(&[(5 * DAY, 0.0, 0.0), (39 * DAY, 500.0, 500.0), (40 * DAY - 3700, 1000.0, 1000.0), (40 * DAY - 3600, 1000.0, 1000.0), (40 * DAY - 30, 1990.0, 2000.0)]);
    let shown = state(&all, 40 * DAY);
    expect![[r#""#]].assert_eq(&serde_json::to_string_pretty(&shown).expect("json"));
}

#[test]
fn an_objective_without_events_has_all_its_budget_and_no_ratio() {
    let shown = state(&[], 1_000_000);
    assert_eq!(shown["error_ratio"], serde_json::Value::Null);
    assert_eq!(shown["budget_left_ratio"], 1.0);
    assert_eq!(shown["burn_rates"]["1h"], serde_json::Value::Null);
    assert_eq!(shown["budget_left_minutes"], 0.005 * 30.0 * 24.0 * 60.0);
}
