//! Promises about when alerts happen, with the real stages in simulated time.

use std::time::Duration;

use super::*;
use crate::evaluate::AlertState;
use crate::number::f64_from_u64;
use crate::receive::captured::{self, Captured};

/// Good traffic before the failures: longer than the 15 minutes that lateness is measured over.
const BEFORE: u64 = 20 * 60;
/// `correlate.settle_after`, in seconds.
const SETTLE_AFTER: u64 = 10;
/// How long everything fails.
const BURNS: u64 = 5 * 60;

const RULES: &str = "\
groups:
- name: g
  rules:
  - record: function:errors:ratio5m
    expr: >
      sum by (faas_name) (increase(throughline_invocations_total{outcome=\"error\"}[5m]))
      / sum by (faas_name) (increase(throughline_invocations_total[5m]))
  - alert: Direct
    expr: >
      sum by (faas_name) (increase(throughline_invocations_total{outcome=\"error\"}[5m]))
      / sum by (faas_name) (increase(throughline_invocations_total[5m])) > 0.1
    labels: {severity: page}
  - alert: Recorded
    expr: function:errors:ratio5m > 0.1
    labels: {severity: page}
  - alert: Held
    expr: function:errors:ratio5m > 0.1
    for: 30s
    labels: {severity: page}
";

/// Pages by the workbook's pairs: at 14.4 times the budget over an hour, or 6 times over six. There is
/// less data than an hour here, so it is the second that comes first.
const OBJECTIVE: &str = "\
kind: throughline/v1
service: shop
slos:
- {name: available, objective: 99.5, availability: {flow: fulfil}}
";

fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").expect("a time")
}

fn config(rules: &str) -> Config {
    let mut config = Config::load(None, &[]).expect("defaults");
    config.rules.files = vec![("rules.yaml".to_owned(), rules.to_owned())];
    config.rules.slo_files = vec![("slos.yaml".to_owned(), OBJECTIVE.to_owned())];
    config.notify = notify::Config::webhook("http://127.0.0.1:1/", Duration::ZERO);
    config
}

/// Failures after which the objective pages: the least number for which the lower end (Wilson, 95 %) of
/// what the ratio may be is above 6 times the budget of 0.5 %.
fn failures_that_page() -> u64 {
    let z: f64 = 1.6449;
    let is_enough = |bad: f64| {
        let all = f64_from_u64(BEFORE) + bad;
        let spread = z * (bad * (all - bad) / all + z * z / 4.0).sqrt();
        (bad + z * z / 2.0 - spread) / (all + z * z) > 6.0 * 0.005
    };
    (3..BURNS).find(|bad| is_enough(f64_from_u64(*bad))).expect("a burn that pages")
}

/// One invocation that ended at this second, as a span that is told as an SDK tells it.
fn span(second: u64) -> Vec<u8> {
    let end = start().saturating_add(Duration::from_secs(second));
    let begin = end.saturating_sub(Duration::from_millis(200));
    let fails = (BEFORE..BEFORE + BURNS).contains(&second);
    let status = if fails { r#"{"code":2,"message":"no stock"}"# } else { "{}" };
    let (begin, end) = (begin.as_nanos(), end.as_nanos());
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"faas.name","value":{{"stringValue":"fulfil"}}}}]}},
        "scopeSpans":[{{"spans":[{{"traceId":"{second:032x}","spanId":"{:016x}","kind":2,"name":"fulfil","startTimeUnixNano":"{begin}","endTimeUnixNano":"{end}","status":{status}}}]}}]}}]}}"#,
        second + 1
    )
    .into_bytes()
}

/// When each alert began to fire: (log time, time of evaluation), in seconds from the start.
fn fired(delay: u64) -> Vec<(String, u64, u64)> {
    let config = config(RULES);
    let mut rehearsal = Rehearsal::new(&config, start()).expect("a folder");
    let (mut fired, mut pages) = (Vec::new(), Vec::new());
    for second in 1..BEFORE + BURNS + delay {
        let at = start().saturating_add(Duration::from_secs(second));
        rehearsal.advance(at, &mut |happened| {
            let is_page = |one: &&Transition| one.labels.get("severity") == Some("page");
            let firing = happened.transitions.iter().filter(|one| one.to == AlertState::Firing);
            for one in firing.filter(is_page) {
                let name = one.labels.get("alertname").unwrap_or_default().to_owned();
                let since = |at: Timestamp| at.since(start()).as_secs();
                fired.push((name, since(happened.at), since(one.at)));
            }
            let messages = happened.messages.iter().filter(|message| {
                message.notice.group_labels.get("alertname") != Some("SloBurnsSlowly")
            });
            pages.extend(messages.map(|message| (happened.at, message.notice.at)));
        });
        if second > delay {
            let body = span(second - delay);
            let request = Captured { path: "/v1/traces", headers: &[], body: &body };
            let read = captured::read(&request, at, &config.normalize).expect("readable");
            rehearsal.take(read.batch);
        }
    }
    assert_eq!(pages.len(), 4, "each alert is one page, sent at the tick that found it: {pages:?}");
    assert!(pages.iter().all(|(sent, told)| sent == told), "{pages:?}");
    fired.sort();
    fired
}

#[test]
fn when_all_data_is_five_minutes_late_pages_come_within_two_seconds_of_it_and_not_before() {
    const DELAY: u64 = 300;
    let (prompt, late) = (fired(0), fired(DELAY));
    let names = |fired: &[(String, u64, u64)]| {
        fired.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&prompt), ["Direct", "Held", "Recorded", "SloBurnsFast"]);
    assert_eq!(names(&late), names(&prompt));
    for ((name, sent, burnt), (_, sent_late, burnt_late)) in prompt.iter().zip(&late) {
        // A tenth of five minutes' traffic has failed half a minute after the first failure. A request
        // is judged once it is over, and that is `settle_after` after its last end.
        let due = BEFORE
            + match name.as_str() {
                "Held" => 60,
                "SloBurnsFast" => failures_that_page() + SETTLE_AFTER,
                _ => 30,
            };
        assert!((due..=due + 2).contains(sent), "{name} is sent at {sent} s, due at {due} s");
        assert!(sent_late >= &(sent + DELAY), "{name}: {sent_late} s is too early");
        assert!(sent_late <= &(sent + DELAY + 2), "{name}: {sent_late} s, where it was {sent} s");
        assert!(burnt_late.abs_diff(*burnt) <= 1, "{name} tells of {burnt_late} s, not {burnt} s");
    }
}

/// One span of an invocation of `fulfil` that took 200 ms from this moment on.
fn one_span(n: u64, begin: Timestamp, status: &str) -> String {
    let (from, to) =
        (begin.as_nanos(), begin.saturating_add(Duration::from_millis(200)).as_nanos());
    format!(
        r#"{{"traceId":"{:032x}","spanId":"{:016x}","kind":2,"name":"fulfil","startTimeUnixNano":"{from}","endTimeUnixNano":"{to}","status":{status}}}"#,
        n + 1,
        n + 1
    )
}

#[test]
fn among_many_good_requests_that_came_later_the_one_that_failed_is_shown() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: 'sum by (faas_name) (increase(throughline_invocations_total{outcome=\"error\"}[5m])) > 0'}]}]";
    let config = config(rules);
    let mut rehearsal = Rehearsal::new(&config, start()).expect("a folder");
    let at = |ms: u64| start().saturating_add(Duration::from_millis(ms));
    let bad = one_span(0, at(1_000), r#"{"code":2,"message":"no stock"}"#);
    let good = (1..1_000).map(|n| one_span(n, at(1_000 + n), "{}"));
    let spans: Vec<String> = std::iter::once(bad).chain(good).collect();
    let body = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"faas.name","value":{{"stringValue":"fulfil"}}}}]}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    );
    let request = Captured { path: "/v1/traces", headers: &[], body: body.as_bytes() };
    rehearsal.advance(at(3_000), &mut |_| {});
    let read = captured::read(&request, at(3_000), &config.normalize).expect("readable");
    rehearsal.take(read.batch);
    let mut told = Vec::new();
    rehearsal.advance(at(30_000), &mut |happened| told.extend(happened.transitions));
    let fired = told.iter().find(|one| one.labels.get("alertname") == Some("A")).expect("it fires");
    let evidence = fired.evidence.as_ref().expect("evidence");
    let shown = evidence.request.as_ref().expect("a request");
    let failed = shown.failed.as_ref().expect("where it failed");
    assert_eq!((&*shown.outcome, &*failed.function), ("error", "fulfil"));
    assert_eq!(failed.error.as_deref(), Some("no stock"));
    assert!(fired.annotations["evidence"].contains("failed at fulfil: no stock"), "{fired:?}");
}

#[test]
fn the_same_entries_at_the_same_times_give_the_same() {
    let run = || {
        let config = config(RULES);
        let mut rehearsal = Rehearsal::new(&config, start()).expect("a folder");
        let mut told = Vec::new();
        for second in BEFORE..BEFORE + 30 {
            let at = start().saturating_add(Duration::from_secs(second));
            rehearsal.apply(&Entry::Tick, at);
            let body = span(second);
            let request = Captured { path: "/v1/traces", headers: &[], body: &body };
            let batch = captured::read(&request, at, &config.normalize).expect("readable").batch;
            rehearsal.take(batch);
            rehearsal.advance(at.saturating_add(Duration::from_secs(1)), &mut |happened| {
                told.push(happened);
            });
        }
        told
    };
    let first = run();
    assert!(!first.is_empty());
    assert_eq!(first, run());
}
