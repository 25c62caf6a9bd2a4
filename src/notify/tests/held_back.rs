//! Silences, muted routes, inhibition and posted alerts: who hears what, and when.

use super::*;
use crate::notify::{Silence, SilenceMatcher, parse_matchers};

const TIMES: &str = r#"
route:
  receiver: chat
  group_by: [alertname]
  group_interval: 1m
  repeat_interval: 1h
  routes:
    - matchers: ['team="night"']
      mute_time_intervals: [first hour]
    - matchers: ['team="day"']
      active_time_intervals: [first hour]
    - matchers: ['severity="page"']
time_intervals:
  - name: first hour
    time_intervals: [{times: [{start_time: '00:00', end_time: '01:00'}]}]
inhibit_rules:
  - source_matchers: ['alertname=~"Down|Both"']
    target_matchers: ['alertname=~"Slow|Both"']
receivers:
  - name: chat
    webhook_configs: [{url: 'http://127.0.0.1/chat'}]
"#;

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

fn silence(id: &str, matchers: &str, from: u64, to: u64) -> Command {
    Command::SetSilence(Silence {
        id: id.into(),
        matchers: parse_matchers(matchers)
            .expect("matchers")
            .iter()
            .map(SilenceMatcher::of)
            .collect(),
        starts_at: at(from),
        ends_at: at(to),
        updated_at: at(from),
        created_by: "a person".into(),
        comment: "on it".into(),
    })
}

fn post(labels: &str, from: u64, to: Option<u64>) -> Command {
    Command::PostAlerts(vec![PostedAlert {
        labels: change(labels, AlertState::Firing, from).labels,
        annotations: BTreeMap::new(),
        starts_at: at(from),
        ends_at: to.map(at),
        generator_url: "http://elsewhere/graph".into(),
    }])
}

/// What happens, at which second.
enum Step {
    Fire(&'static str),
    Resolve(&'static str),
    Do(Command),
}

/// Every second ticks and every message is delivered at once.
#[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
fn check(steps: Vec<(u64, Step)>, until: u64, expect: Expect) {
    let mut dispatcher = Dispatcher::new(config(TIMES), "http://127.0.0.1:9595");
    let mut out = String::new();
    for second in 0..=until {
        for (_, step) in steps.iter().filter(|(when, _)| *when == second) {
            match step {
                Step::Fire(labels) => {
                    dispatcher.apply(&change(labels, AlertState::Firing, second), at(second));
                }
                Step::Resolve(labels) => {
                    dispatcher.apply(&change(labels, AlertState::Inactive, second), at(second));
                }
                Step::Do(command) => dispatcher.command(command, at(second)),
            }
        }
        for message in dispatcher.tick(at(second)) {
            let one = |alert: &crate::notify::notice::Alert| {
                let status = if alert.is_firing() { "firing" } else { "resolved" };
                format!("{} {status}", alert.labels.get("fn").unwrap_or("?"))
            };
            let shown: Vec<String> = message.notice.alerts.iter().map(one).collect();
            writeln!(out, "{second}s {} ({})", shown.join(", "), message.notice.reason.as_str())
                .expect("text");
            dispatcher.receipt(&Receipt {
                id: message.id,
                at: at(second),
                failure: None,
                handle: None,
            });
        }
    }
    expect.assert_eq(&out);
}

#[test]
fn a_silenced_alert_says_nothing_until_its_silence_ends() {
    check(
        vec![
            (0, Step::Do(silence("s", r#"fn=~"a|b""#, 0, 100))),
            (1, Step::Fire("alertname=X severity=page fn=a")),
            (1, Step::Fire("alertname=X severity=page fn=c")),
        ],
        200,
        expect![[r"
            1s c firing (first notification)
            121s a firing, c firing (new alerts added)
        "]],
    );
}

#[test]
fn the_end_of_an_alert_that_was_told_is_told_though_it_is_silenced() {
    check(
        vec![
            (1, Step::Fire("alertname=X severity=page fn=a")),
            (5, Step::Do(silence("s", "fn=a", 5, 4000))),
            (10, Step::Fire("alertname=X severity=page fn=b")),
            (20, Step::Resolve("alertname=X severity=page fn=a")),
            (30, Step::Resolve("alertname=X severity=page fn=b")),
        ],
        200,
        expect![[r"
            1s a firing (first notification)
            10s b firing (new alerts added)
            70s a resolved, b resolved (all alerts resolved)
        "]],
    );
}

#[test]
fn an_alert_that_is_only_held_back_is_not_called_resolved() {
    check(
        vec![
            (1, Step::Fire("alertname=X severity=page fn=a")),
            (5, Step::Do(silence("s", "fn=a", 5, 300))),
        ],
        400,
        expect![[r"
            1s a firing (first notification)
        "]],
    );
}

#[test]
fn a_silence_that_is_expired_by_hand_ends_at_once() {
    check(
        vec![
            (0, Step::Do(silence("s", "fn=a", 0, 4000))),
            (1, Step::Fire("alertname=X severity=page fn=a")),
            (30, Step::Do(Command::ExpireSilence("s".into()))),
        ],
        100,
        expect![[r"
            61s a firing (first notification)
        "]],
    );
}

#[test]
fn a_muted_route_speaks_after_its_time_and_an_active_one_within() {
    check(
        vec![
            (0, Step::Fire("alertname=X team=night fn=night")),
            (0, Step::Fire("alertname=X team=day fn=day")),
            (3500, Step::Fire("alertname=Y team=day fn=late")),
            (3590, Step::Resolve("alertname=X team=day fn=day")),
        ],
        7300,
        expect![[r"
            30s day firing (first notification)
            3530s late firing (first notification)
            3630s night firing (first notification)
            7230s night firing (repeat interval elapsed)
        "]],
    );
}

#[test]
fn what_matches_both_sides_is_inhibited_by_a_cause_and_not_by_its_like() {
    check(
        vec![
            (0, Step::Fire("alertname=Both severity=page fn=both")),
            (10, Step::Fire("alertname=Slow severity=page fn=slow")),
            (20, Step::Fire("alertname=Down severity=page fn=down")),
            (30, Step::Fire("alertname=Both severity=page fn=second")),
        ],
        50,
        expect![[r"
            0s both firing (first notification)
            20s down firing (first notification)
        "]],
    );
}

#[test]
fn a_posted_alert_is_routed_and_ends_when_it_said_or_when_nobody_repeats_it() {
    check(
        vec![
            (0, Step::Do(post("alertname=P severity=page fn=ends", 0, Some(90)))),
            (0, Step::Do(post("alertname=Q severity=page fn=fades", 0, None))),
            (200, Step::Do(post("alertname=Q severity=page fn=fades", 0, None))),
            (0, Step::Do(post("alertname=R severity=page fn=over", 0, Some(0)))),
        ],
        600,
        expect![[r"
            0s ends firing (first notification)
            0s fades firing (first notification)
            120s ends resolved (all alerts resolved)
            540s fades resolved (all alerts resolved)
        "]],
    );
}

#[test]
fn a_post_does_not_end_what_our_own_rule_says() {
    check(
        vec![
            (0, Step::Fire("alertname=X severity=page fn=a")),
            (5, Step::Do(post("alertname=X severity=page fn=a", 0, Some(5)))),
            (100, Step::Resolve("alertname=X severity=page fn=a")),
        ],
        200,
        expect![[r"
            0s a firing (first notification)
            120s a resolved (all alerts resolved)
        "]],
    );
}
