//! Promises about when alerts happen, with the real stages in simulated time.

use std::time::Duration;

use super::*;
use crate::evaluate::AlertState;
use crate::receive::captured::{self, Captured};

/// Good traffic before the failures: longer than the 15 minutes that lateness is measured over.
const BEFORE: u64 = 20 * 60;
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

fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").expect("a time")
}

fn config(rules: &str) -> Config {
    let mut config = Config::load(None, &[]).expect("defaults");
    config.rules.files = vec![("rules.yaml".to_owned(), rules.to_owned())];
    config.notify = notify::Config::webhook("http://127.0.0.1:1/", Duration::ZERO);
    config
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
            for one in happened.transitions.iter().filter(|one| one.to == AlertState::Firing) {
                let name = one.labels.get("alertname").unwrap_or_default().to_owned();
                let since = |at: Timestamp| at.since(start()).as_secs();
                fired.push((name, since(happened.at), since(one.at)));
            }
            pages.extend(happened.messages.iter().map(|message| (happened.at, message.notice.at)));
        });
        if second > delay {
            let body = span(second - delay);
            let request = Captured { path: "/v1/traces", headers: &[], body: &body };
            let read = captured::read(&request, at, &config.normalize).expect("readable");
            rehearsal.take(read.batch);
        }
    }
    assert_eq!(pages.len(), 3, "each alert is one page, sent at the tick that found it: {pages:?}");
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
    assert_eq!(names(&prompt), ["Direct", "Held", "Recorded"]);
    assert_eq!(names(&late), names(&prompt));
    for ((name, sent, burnt), (_, sent_late, burnt_late)) in prompt.iter().zip(&late) {
        // A tenth of five minutes' traffic has failed half a minute after the first failure.
        let due = BEFORE + if name == "Held" { 60 } else { 30 };
        assert!((due..=due + 2).contains(sent), "{name} is sent at {sent} s, due at {due} s");
        assert!(sent_late >= &(sent + DELAY), "{name}: {sent_late} s is too early");
        assert!(sent_late <= &(sent + DELAY + 2), "{name}: {sent_late} s, where it was {sent} s");
        assert!(burnt_late.abs_diff(*burnt) <= 1, "{name} tells of {burnt_late} s, not {burnt} s");
    }
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
