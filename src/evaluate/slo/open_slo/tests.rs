//! OpenSLO files as text, rules and errors as text.

use expect_test::expect;

use crate::evaluate::slo::tests::{check, generated, loaded};
use crate::signal::Timestamp;

pub(in crate::evaluate::slo) const OPEN_SLO: &str = r#"apiVersion: openslo/v1
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
    expect![[r#"
        rules:
          - record: slo:sli_error:ratio_rate5m
            expr: |
              ((
                1 - (
                  (
                    sum(increase(http_total{code="200"}[5m]))
                  )
                  /
                  (
                    sum(increase(http_total[5m]))
                  )
                )
              )) >= 0
            labels:
              sloth_id: web-web-0
              sloth_service: web"#]]
    .assert_eq(&format!("rules:\n{}", ratio.collect::<Vec<_>>().join("\n")));
}

#[test]
fn what_open_slo_can_say_and_we_cannot_do_is_refused_by_name() {
    let text = OPEN_SLO
        .replace("isRolling: true", "isRolling: false")
        .replace("Occurrences", "Rarely")
        .replace("target: 0.99", "target: 99\n    timeSliceTarget: 0.9\n    compositeWeight: 2")
        .replace(
            "indicatorRef: ok",
            "indicatorRef: other\n  alertPolicies: [{alertPolicyRef: none}]",
        )
        + "---\napiVersion: openslo/v1\nkind: Dashboard\n";
    check(
        &text,
        &expect![[r#"
        slo.yaml:21:20: `budgetingMethod: Rarely` is none of Occurrences, Timeslices and RatioTimeslices
              budgetingMethod: Rarely
                               ^
        slo.yaml:20:5: a window has `isRolling: true` or a `calendar`
              - {duration: 4w, isRolling: false}
                ^
        slo.yaml:18:36: no AlertPolicy named `none` is in this file
              alertPolicies: [{alertPolicyRef: none}]
                                               ^
        slo.yaml:17:17: no SLI named `other` is in this file
              indicatorRef: other
                            ^
        slo.yaml:27:1: the kind `Dashboard` is not supported
            apiVersion: openslo/v1
            ^
    "#]],
    );
    let text = OPEN_SLO.replace("indicatorRef: ok", "indicatorRef: ok\n  alertPolicies: [{spec: {conditions: [{spec: {condition: {kind: burnrate, op: lte, threshold: 2, lookbackWindow: 1h}}}]}}]");
    check(
        &text,
        &expect![[r#"
        slo.yaml:18:80: `op: lte` is neither gt nor gte: a burn rate is too high, never too low
              alertPolicies: [{spec: {conditions: [{spec: {condition: {kind: burnrate, op: lte, threshold: 2, lookbackWindow: 1h}}}]}}]
                                                                                           ^
    "#]],
    );
}

/// The recorded ratio of five minutes, on one line.
fn ratio_of(text: &str) -> String {
    let rules = generated(text);
    let rule = rules.lines().skip_while(|line| !line.contains("ratio_rate5m")).skip(1);
    let expr = rule.take_while(|line| !line.contains("labels:")).map(str::trim);
    expr.filter(|line| *line != "expr: |").collect::<Vec<_>>().join(" ")
}

#[test]
fn time_slices_are_good_or_bad_as_a_whole_and_quiet_ones_are_no_slices() {
    let slices = |method: &str, more: &str| {
        ratio_of(
            &OPEN_SLO
                .replace("Occurrences", method)
                .replace("target: 0.99", &format!("target: 0.99\n    timeSliceWindow: 1m{more}")),
        )
    };
    expect![[r#"(1 - avg_over_time((((1 - (( 1 - ( ( sum(increase(http_total{code="200"}[1m])) ) / ( sum(increase(http_total[1m])) ) ) ))) >= 0) >= bool 0.95)[5m:1m])) >= 0"#]].assert_eq(&slices("Timeslices", "\n    timeSliceTarget: 0.95"));
    expect![[r#"(avg_over_time(((( 1 - ( ( sum(increase(http_total{code="200"}[1m])) ) / ( sum(increase(http_total[1m])) ) ) )) >= 0)[5m:1m])) >= 0"#]].assert_eq(&slices("RatioTimeslices", ""));
}

#[test]
fn a_calendar_window_counts_from_its_period_s_start() {
    let text = OPEN_SLO.replace(
        "{duration: 4w, isRolling: true}",
        "{duration: 1M, calendar: {startTime: 2022-01-01 00:00:00, timeZone: Europe/Berlin}}",
    );
    let loaded = loaded(&text);
    let now = Timestamp::parse_rfc3339("2026-11-25T20:00:00Z").expect("a time");
    let shown = crate::evaluate::slo::state::json(&loaded.slos[0], now, &|_| Ok(Vec::new()));
    assert_eq!(shown["window_began"], "2026-10-31T23:00:00.000000000Z");
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn an_alert_policy_stands_in_place_of_the_four_pairs() {
    let text = OPEN_SLO.replace(
        "indicatorRef: ok",
        "indicatorRef: ok\n  alertPolicies: [{alertPolicyRef: burns}]",
    ) + "\
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: burns}
spec:
  alertWhenBreaching: true
  conditions: [{conditionRef: fast}]
  notificationTargets: [{targetRef: somebody}]
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: fast}
spec:
  severity: page
  condition: {kind: burnrate, op: gt, threshold: 2, lookbackWindow: 45m, alertAfter: 5m}
";
    let rules = generated(&text);
    let alerts: Vec<&str> = rules.lines().skip_while(|line| !line.contains("alerts-")).collect();
    expect![[r#"
        - name: sloth-slo-alerts-web-web-0
          rules:
          - alert: fast
            expr: |
              max(slo:sli_error:ratio_rate45m{sloth_id="web-web-0", sloth_service="web", sloth_slo="web-0"}) without (sloth_window) > 2 * 0.01
            for: 5m
            labels:
              severity: page
              sloth_severity: page
            annotations:
              runbook_url: "{{ $externalURL }}/runbooks/SloBurnsFast"
              summary: "{{$labels.sloth_service}} {{$labels.sloth_slo}} SLO error budget burn rate is over expected."
              title: (page) {{$labels.sloth_service}} {{$labels.sloth_slo}} SLO error budget burn rate is too fast."#]].assert_eq(&alerts.join("\n"));
    assert!(rules.contains("ratio_rate45m"), "{rules}");
}
