//! The evaluator as a whole: series in, transitions out, through journal, reload and restart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::{AlertState, Config, Evaluator, RuleFilter};
use crate::series::{RawSeries, STALE_NAN_BITS, Sample, SampleValue};
use crate::signal::{Labels, Timestamp};

/// An evaluator over series that a test sets, with its journal.
struct World {
    evaluator: Evaluator,
    series: Mutex<BTreeMap<Labels, Vec<Sample>>>,
    journal: Vec<Record>,
    shown: String,
    lateness: Duration,
}

enum Record {
    Changed(Box<super::Transition>),
    Kept(super::Kept),
}

fn config(rules: &str) -> Config {
    Config { rule_files: vec![("r.yaml".to_owned(), rules.to_owned())], ..Config::default() }
}

impl World {
    fn new(rules: &str) -> Self {
        let evaluator = Evaluator::try_new(config(rules)).expect("valid rules");
        Self {
            evaluator,
            series: Mutex::new(BTreeMap::new()),
            journal: Vec::new(),
            shown: String::new(),
            lateness: Duration::ZERO,
        }
    }

    fn set(&mut self, seconds: i64, name: &str, value: f64) {
        let mut series = self.series.lock().expect("no panic");
        let samples = series.entry(Labels::of(&[("__name__", name), ("job", "a")])).or_default();
        samples.retain(|sample| sample.t != seconds * 1000);
        samples.push(Sample { t: seconds * 1000, value: SampleValue::Float(value) });
        samples.sort_by_key(|sample| sample.t);
    }

    fn evaluate(&mut self, seconds: i64) {
        let series = &self.series;
        let select = |selection: &crate::series::Selection<'_>| {
            let series = series.lock().expect("no panic");
            let within = |s: &&Sample| s.t > selection.start && s.t <= selection.end;
            Ok(series
                .iter()
                .filter(|(labels, _)| selection.matchers.iter().all(|m| m.matches_labels(labels)))
                .map(|(labels, samples)| {
                    RawSeries::new(labels.clone(), samples.iter().filter(within).cloned().collect())
                })
                .filter(|series| !series.samples.is_empty())
                .collect())
        };
        let lateness = self.lateness;
        let now = Timestamp::from_millis(seconds * 1000);
        self.evaluator.tick(now);
        let found = self.evaluator.evaluate(now, &select, &|_| lateness);
        for transition in found.transitions {
            self.evaluator.apply(&transition);
            let corrected = if transition.corrected { " corrected" } else { "" };
            let (labels, at) = (&transition.labels, transition.at.as_secs());
            let _ =
                writeln!(self.shown, "{seconds}s {labels} {:?} at {at}s{corrected}", transition.to);
            self.journal.push(Record::Changed(Box::new(transition)));
        }
        self.journal.extend(found.kept.into_iter().map(Record::Kept));
        for sample in found.recorded {
            let at = sample.at.as_secs();
            let _ =
                writeln!(self.shown, "{seconds}s {} = {:?} at {at}s", sample.labels, sample.value);
            let value = sample.value.unwrap_or(f64::from_bits(STALE_NAN_BITS));
            let stored = Sample { t: sample.at.as_millis(), value: SampleValue::Float(value) };
            series.lock().expect("no panic").entry(sample.labels).or_default().push(stored);
        }
    }

    fn restart(&mut self, rules: &str) {
        self.evaluator = Evaluator::try_new(config(rules)).expect("valid rules");
        for record in &self.journal {
            match record {
                Record::Changed(transition) => self.evaluator.apply(transition),
                Record::Kept(kept) => self.evaluator.keep(kept),
            }
        }
    }

    fn check(&self, expect: &Expect) {
        expect.assert_eq(&self.shown);
    }
}

fn alert(expr: &str, more: &str) -> String {
    format!("groups:\n- name: g\n  interval: 10s\n  rules:\n  - alert: A\n    expr: {expr}\n{more}")
}

#[test]
fn a_pending_alert_survives_a_restart() {
    let rules = alert("x > 0", "    for: 20s\n");
    let mut world = World::new(&rules);
    world.set(1000, "x", 1.0);
    world.evaluate(1000);
    world.evaluate(1010);
    world.restart(&rules);
    world.evaluate(1020);
    world.check(&expect![[r#"
        1000s {alertname="A", job="a"} Pending at 1000s
        1020s {alertname="A", job="a"} Firing at 1020s
    "#]]);
}

#[test]
fn a_removed_rule_resolves() {
    let mut world = World::new(&alert("x > 0", ""));
    world.set(1000, "x", 1.0);
    world.evaluate(1000);
    world.evaluator.set_config(config("groups: []\n")).expect("valid");
    world.evaluate(1010);
    world.evaluate(1020);
    world.check(&expect![[r#"
        1000s {alertname="A", job="a"} Firing at 1000s
        1010s {alertname="A", job="a"} Inactive at 1010s
    "#]]);
    assert_eq!(world.evaluator.active(), []);
}

#[test]
fn a_reload_keeps_the_state_of_rules_that_stay() {
    let mut world = World::new(&alert("x > 0", ""));
    world.set(1000, "x", 1.0);
    world.evaluate(1000);
    world.evaluator.set_config(config(&alert("x > 0.5", ""))).expect("valid");
    world.evaluate(1010);
    world.evaluator.set_config(config("groups: [}")).expect_err("refused");
    world.evaluate(1020);
    world.check(&expect![[r#"
        1000s {alertname="A", job="a"} Firing at 1000s
    "#]]);
}

#[test]
fn an_alert_made_false_by_late_data_resolves_as_corrected() {
    let mut world = World::new(&alert("x > 0", ""));
    world.set(1000, "x", 1.0);
    world.evaluate(1000);
    world.set(1000, "x", 0.0);
    world.evaluate(1010);
    world.set(1020, "x", 1.0);
    world.evaluate(1020);
    world.set(1030, "x", 0.0);
    world.evaluate(1030);
    world.check(&expect![[r#"
        1000s {alertname="A", job="a"} Firing at 1000s
        1010s {alertname="A", job="a"} Inactive at 1010s corrected
        1020s {alertname="A", job="a"} Firing at 1020s
        1030s {alertname="A", job="a"} Inactive at 1030s
    "#]]);
}

#[test]
fn a_transition_that_was_not_journaled_is_proposed_again() {
    let mut world = World::new(&alert("1", ""));
    let select = |_: &crate::series::Selection<'_>| Ok(Vec::new());
    let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
    let first = world.evaluator.evaluate(at(1000), &select, &|_| Duration::ZERO);
    let second = world.evaluator.evaluate(at(1010), &select, &|_| Duration::ZERO);
    assert_eq!((first.transitions.len(), second.transitions.len()), (1, 1));
    assert_eq!(world.evaluator.active(), []);
    world.evaluator.apply(&second.transitions[0]);
    let third = world.evaluator.evaluate(at(1020), &select, &|_| Duration::ZERO);
    assert_eq!(third.transitions, []);
    assert_eq!(world.evaluator.active()[0].state, AlertState::Firing);
}

#[test]
fn the_offset_follows_lateness_and_evaluation_time_never_goes_back() {
    let mut world = World::new(&alert("x > 0", ""));
    world.lateness = Duration::from_secs(30);
    world.set(1000, "x", 1.0);
    world.evaluate(1020);
    world.evaluate(1030);
    world.lateness = Duration::from_mins(1);
    world.set(1001, "x", 0.0);
    world.evaluate(1040);
    world.lateness = Duration::ZERO;
    world.evaluate(1050);
    world.check(&expect![[r#"
        1030s {alertname="A", job="a"} Firing at 1000s
        1050s {alertname="A", job="a"} Inactive at 1050s
    "#]]);
}

#[test]
fn a_rule_sees_what_those_before_it_recorded() {
    let rules = "\
groups:
- name: g
  rules:
  - {record: 'a:x', expr: sum(x) * 2}
  - {record: 'b:x', expr: 'a:x + 1', labels: {kind: test}}
  - {alert: A, expr: 'b:x > 2'}
";
    let mut world = World::new(rules);
    world.set(1000, "x", 1.0);
    world.evaluate(1000);
    world.evaluate(1400);
    world.check(&expect![[r#"
        1000s {alertname="A", kind="test"} Firing at 1000s
        1000s a:x = Some(2.0) at 1000s
        1000s b:x{kind="test"} = Some(3.0) at 1000s
        1400s {alertname="A", kind="test"} Inactive at 1400s
        1400s a:x = None at 1400s
        1400s b:x{kind="test"} = None at 1400s
    "#]]);
}

#[test]
fn a_failed_rule_says_so_and_keeps_its_alerts() {
    let mut world = World::new(&alert("x > 0 and on () (y * on () z)", ""));
    world.set(1000, "x", 1.0);
    world.set(1000, "y", 1.0);
    world.set(1000, "z", 1.0);
    world.evaluate(1000);
    let second = Labels::of(&[("__name__", "z"), ("job", "b")]);
    let sample = Sample { t: 1_005_000, value: SampleValue::Float(1.0) };
    world.series.lock().expect("no panic").insert(second, vec![sample]);
    world.evaluate(1010);
    world.check(&expect![[r#"
        1000s {alertname="A", job="a"} Firing at 1000s
    "#]]);
    let shown = world.evaluator.rules_json(&RuleFilter::default());
    let rule = &shown["groups"][0]["rules"][0];
    assert_eq!(rule["health"], "err");
    assert!(rule["lastError"].as_str().is_some_and(|error| !error.is_empty()), "{rule}");
    assert_eq!(rule["state"], "firing");
}

#[test]
fn groups_run_once_an_interval_and_missed_ones_are_counted() {
    let mut world = World::new(&alert("vector(1)", ""));
    for seconds in [1000, 1001, 1005, 1009, 1010, 1050, 1020] {
        world.evaluate(seconds);
    }
    let shown = world.evaluator.rules_json(&RuleFilter::default());
    let group = &shown["groups"][0];
    assert_eq!(group["missedEvaluations"], 3, "{group}");
    assert_eq!(group["lastEvaluation"], "1970-01-01T00:17:30.000000000Z");
}

#[test]
fn an_alert_that_is_kept_firing_is_not_kept_longer_by_crashes() {
    let rules = alert("x > 0", "    keep_firing_for: 40s\n");
    let mut world = World::new(&rules);
    for seconds in (1000..1080).step_by(10) {
        world.set(seconds, "x", if seconds < 1020 { 1.0 } else { 0.0 });
        world.evaluate(seconds);
        world.restart(&rules);
    }
    world.check(&expect![[r#"
        1000s {alertname="A", job="a"} Firing at 1000s
        1060s {alertname="A", job="a"} Inactive at 1060s
    "#]]);
}

#[test]
fn time_that_nobody_watched_ages_no_alert() {
    let mut world = World::new(&alert("vector(1)", "    for: 1m\n"));
    world.evaluate(1000);
    world.evaluate(1010);
    for seconds in [10_000, 10_010, 10_020, 10_030, 10_040, 10_050] {
        world.evaluate(seconds);
    }
    world.check(&expect![[r#"
        1000s {alertname="A"} Pending at 1000s
        10050s {alertname="A"} Firing at 10050s
    "#]]);
}

#[test]
fn a_saved_evaluator_goes_on_where_it_was() {
    let rules =
        alert("x > 0", "    for: 30s\n    keep_firing_for: 30s\n  - {record: 'a:x', expr: x}\n");
    let run = |saves: &[i64]| {
        let mut world = World::new(&rules);
        for seconds in (1000..1150).step_by(10) {
            world.set(seconds, "x", if (1010..1060).contains(&seconds) { 1.0 } else { 0.0 });
            world.evaluate(seconds);
            if saves.contains(&seconds) {
                let saved = world.evaluator.save().expect("small");
                world.evaluator = Evaluator::try_new(config(&rules)).expect("valid rules");
                world.evaluator.restore(&saved).expect("ours");
                assert_eq!(world.evaluator.save(), Ok(saved));
            }
        }
        world.shown
    };
    let straight = run(&[]);
    assert!(straight.contains("Firing") && straight.contains("Inactive"), "{straight}");
    for seconds in (1000..1150).step_by(10) {
        assert_eq!(run(&[seconds]), straight, "saved at {seconds}");
    }
    let mut world = World::new(&rules);
    assert!(world.evaluator.restore(b"something else").is_err());
}

#[test]
fn a_rule_is_as_late_as_what_its_series_are_recorded_from() {
    let rules = "\
groups:
- name: g
  rules:
  - {record: 'b:x', expr: 'a:x + 1'}
  - {record: 'a:x', expr: sum(x)}
  - {alert: A, expr: 'b:x > 2'}
";
    let evaluator = Evaluator::try_new(config(rules)).expect("valid rules");
    let metrics: Vec<_> =
        evaluator.groups[0].rules.iter().map(|rule| rule.metrics.join(" ")).collect();
    assert_eq!(metrics, ["a:x x", "x", "a:x b:x x"]);
}

#[test]
fn what_a_round_did_not_reach_is_missed_and_comes_first_in_the_next() {
    let group = |name: &str| {
        format!("- {{name: {name}, interval: 1s, rules: [{{alert: {name}, expr: vector(1)}}]}}\n")
    };
    let rules = format!("groups:\n{}{}", group("a"), group("b"));
    let mut evaluator = Evaluator::try_new(config(&rules)).expect("valid rules");
    let select = |_: &crate::series::Selection<'_>| Ok(Vec::new());
    let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
    // The first group is evaluated; then all time is used up.
    let n_asked = std::sync::atomic::AtomicU64::new(0);
    let elapsed = || match n_asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0..=3 => Duration::ZERO,
        _ => Duration::from_mins(1),
    };
    let round = evaluator.begin(at(1000), &|_| Duration::ZERO).on_threads(1);
    let finished = round.evaluate(&select, &elapsed);
    let first = evaluator.finish(finished);
    assert_eq!((first.transitions.len(), first.missed), (1, 1));
    let next = evaluator.begin(at(1001), &|_| Duration::ZERO);
    let order: Vec<&str> = next.groups().collect();
    assert_eq!(order, ["b", "a"]);
}

#[test]
fn alert_series_end_with_a_marker() {
    let mut world = World::new(&alert("x > 0", "    for: 10s\n"));
    let show = |world: &World| {
        let mut shown = String::new();
        for (labels, value) in world.evaluator.alert_series() {
            let _ = writeln!(shown, "{labels} {value}");
        }
        shown
    };
    let mut shown = String::new();
    world.set(1000, "x", 1.0);
    for seconds in [1000, 1010] {
        world.evaluate(seconds);
        shown.push_str(&show(&world));
    }
    world.set(1020, "x", 0.0);
    for seconds in [1020, 1030, 1040, 1050, 1060] {
        world.evaluate(seconds);
        let _ = write!(shown, "{seconds}s\n{}", show(&world));
    }
    expect![[r#"
        ALERTS{alertname="A", alertstate="pending", job="a"} 1
        ALERTS_FOR_STATE{alertname="A", job="a"} 1000
        ALERTS{alertname="A", alertstate="firing", job="a"} 1
        ALERTS_FOR_STATE{alertname="A", job="a"} 1000
        ALERTS{alertname="A", alertstate="pending", job="a"} NaN
        1020s
        ALERTS{alertname="A", alertstate="firing", job="a"} NaN
        ALERTS{alertname="A", alertstate="pending", job="a"} NaN
        ALERTS_FOR_STATE{alertname="A", job="a"} NaN
        1030s
        ALERTS{alertname="A", alertstate="firing", job="a"} NaN
        ALERTS{alertname="A", alertstate="pending", job="a"} NaN
        ALERTS_FOR_STATE{alertname="A", job="a"} NaN
        1040s
        ALERTS{alertname="A", alertstate="firing", job="a"} NaN
        ALERTS_FOR_STATE{alertname="A", job="a"} NaN
        1050s
        1060s
    "#]]
    .assert_eq(&shown);
}

#[test]
fn the_http_api_filters_rules() {
    let rules = alert("x > 0", "  - record: a:x\n    expr: x\n");
    let mut world = World::new(&rules);
    world.set(1000, "x", 1.5);
    world.evaluate(1000);
    let only = RuleFilter { kind: Some("record".to_owned()), ..RuleFilter::default() };
    let shown = world.evaluator.rules_json(&only);
    assert_eq!(shown["groups"][0]["rules"].as_array().map(Vec::len), Some(1));
    let none = RuleFilter { rule_names: vec!["B".to_owned()], ..RuleFilter::default() };
    assert_eq!(world.evaluator.rules_json(&none)["groups"], serde_json::json!([]));
    assert_eq!(world.evaluator.alerts_json()["alerts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_http_api_s_shapes_are_prometheus_s() {
    let rules = alert(
        "x > 0",
        "    for: 20s\n    labels: {severity: page}\n    annotations: {summary: '{{ $value }}'}\n  - record: a:x\n    expr: x",
    );
    let mut world = World::new(&rules);
    world.set(1000, "x", 1.5);
    world.evaluate(1000);
    let shown = world.evaluator.rules_json(&RuleFilter::default());
    expect![[r#"
        {
          "groups": [
            {
              "evaluationTime": 0.0,
              "file": "r.yaml",
              "interval": 10.0,
              "lastEvaluation": "1970-01-01T00:16:40.000000000Z",
              "limit": 0,
              "missedEvaluations": 0,
              "name": "g",
              "rules": [
                {
                  "alerts": [
                    {
                      "activeAt": "1970-01-01T00:16:40.000000000Z",
                      "annotations": {
                        "summary": "1.5"
                      },
                      "labels": {
                        "alertname": "A",
                        "job": "a",
                        "severity": "page"
                      },
                      "state": "pending",
                      "value": "1.5e+00"
                    }
                  ],
                  "annotations": {
                    "summary": "{{ $value }}"
                  },
                  "duration": 20.0,
                  "evaluationTime": 0.0,
                  "health": "ok",
                  "keepFiringFor": 0.0,
                  "labels": {
                    "severity": "page"
                  },
                  "lastEvaluation": "1970-01-01T00:16:40.000000000Z",
                  "name": "A",
                  "query": "x > 0",
                  "queryOffset": "0s",
                  "state": "pending",
                  "type": "alerting"
                },
                {
                  "evaluationTime": 0.0,
                  "health": "ok",
                  "labels": {},
                  "lastEvaluation": "1970-01-01T00:16:40.000000000Z",
                  "name": "a:x",
                  "query": "x",
                  "queryOffset": "0s",
                  "type": "recording"
                }
              ]
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&shown).expect("json"));
}
