use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};

mod held_back;
mod outages;
mod restarts;
mod room;

use super::samples::no_files;
use super::{Command, Config, Dispatcher, Failure, PostedAlert, Receipt};
use crate::evaluate::{AlertState, RuleKey, Transition};
use crate::signal::{Labels, Text, Timestamp};

const ROUTES: &str = r#"
route:
  receiver: chat
  group_by: [alertname]
  group_interval: 1m
  repeat_interval: 1h
  routes:
    - matchers: ['severity="page"']
      receiver: pager
      continue: true
    - match: {team: shop}
      receiver: shop
inhibit_rules:
  - source_matchers: ['alertname="Down"']
    target_matchers: ['alertname="Slow"']
    equal: [fn]
receivers:
  - name: chat
    webhook_configs: [{url: 'http://127.0.0.1/chat'}]
  - name: pager
    webhook_configs: [{url: 'http://127.0.0.1/pager'}]
  - name: shop
    webhook_configs: [{url: 'http://127.0.0.1/shop', send_resolved: false}]
"#;

fn config(text: &str) -> Config {
    Config::try_new("am.yaml", text, no_files()).expect("a good config")
}

fn change(labels: &str, to: AlertState, at: u64) -> Transition {
    let pairs: Vec<(&str, &str)> =
        labels.split(' ').filter_map(|pair| pair.split_once('=')).collect();
    Transition {
        rule: RuleKey { file: "f".into(), group: "g".into(), name: "r".into() },
        labels: Labels::of(&pairs),
        annotations: BTreeMap::new(),
        to,
        at: Timestamp::from_nanos(at * 1_000_000_000),
        active_at: Timestamp::from_nanos(at * 1_000_000_000),
        value: 1.0,
        corrected: false,
        evidence: None,
    }
}

/// A script, one step a line: `5 fire a=b`, `9 resolve a=b`, `12 fail`; every second ticks, every
/// message is answered at once: delivered, unless the last `fail` line says otherwise.
#[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
fn check(script: &str, until: u64, expect: Expect) {
    let mut dispatcher = Dispatcher::new(config(ROUTES), "http://127.0.0.1:9595");
    let mut out = String::new();
    let mut failing = None;
    for second in 0..=until {
        let now = Timestamp::from_nanos(second * 1_000_000_000);
        for line in script.lines() {
            let mut words = line.trim().splitn(3, ' ');
            let (Some(at), Some(what)) = (words.next(), words.next()) else { continue };
            if at.parse() != Ok(second) {
                continue;
            }
            let labels = words.next().unwrap_or_default();
            match what {
                "fire" => dispatcher.apply(&change(labels, AlertState::Firing, second), now),
                "resolve" => dispatcher.apply(&change(labels, AlertState::Inactive, second), now),
                "fail" => failing = Some(labels == "retryably"),
                _ => failing = None,
            }
        }
        for message in dispatcher.tick(now) {
            let notice = &message.notice;
            let one = |alert: &super::notice::Alert| {
                let status = if alert.is_firing() { "firing" } else { "resolved" };
                format!("{}:{status}", alert.labels.get("alertname").unwrap_or("?"))
            };
            let shown: Vec<String> = notice.alerts.iter().map(one).collect();
            let fate = if failing.is_some() { " (fails)" } else { "" };
            let id = &message.id[..4];
            writeln!(
                out,
                "{second}s {} {} [{}] {id}{fate}",
                notice.receiver,
                shown.join(" "),
                notice.reason.as_str()
            )
            .expect("text");
            let failure = failing.map(|retryable| Failure {
                message: "answered 500".into(),
                retryable,
                retry_after: None,
            });
            dispatcher.receipt(&Receipt { id: message.id, at: now, failure, handle: None });
        }
    }
    expect.assert_eq(&out);
}

#[test]
fn a_ticket_waits_thirty_seconds_and_its_end_waits_for_the_interval() {
    check(
        "0 fire alertname=Slow\n40 resolve alertname=Slow",
        200,
        expect![[r"
        30s chat Slow:firing [first notification] fc97
        90s chat Slow:resolved [all alerts resolved] 576b
    "]],
    );
}

#[test]
fn a_page_goes_out_at_once_and_to_every_route_that_continues() {
    check(
        "1 fire alertname=Down severity=page team=shop",
        100,
        expect![[r"
        1s pager Down:firing [first notification] 7e6c
        1s shop Down:firing [first notification] b074
    "]],
    );
}

#[test]
fn a_new_alert_joins_its_group_at_the_next_interval() {
    check(
        "0 fire alertname=Slow fn=a\n35 fire alertname=Slow fn=b\n36 fire alertname=Slow fn=c",
        200,
        expect![[r"
        30s chat Slow:firing [first notification] fc97
        90s chat Slow:firing Slow:firing Slow:firing [new alerts added] 576b
    "]],
    );
}

#[test]
fn a_failed_message_is_sent_again_under_the_same_id() {
    check(
        "0 fail retryably\n1 fire alertname=Down severity=page\n5 heal",
        20,
        expect![[r"
        1s pager Down:firing [first notification] 7e6c (fails)
        2s pager Down:firing [first notification] 7e6c (fails)
        4s pager Down:firing [first notification] 7e6c (fails)
        8s pager Down:firing [first notification] 7e6c
    "]],
    );
}

#[test]
fn a_message_waits_until_the_one_before_it_has_arrived() {
    let mut dispatcher = Dispatcher::new(config(ROUTES), "http://127.0.0.1:9595");
    let at = |second: u64| Timestamp::from_nanos(second * 1_000_000_000);
    let page = "alertname=Down severity=page";
    dispatcher.apply(&change(page, AlertState::Firing, 1), at(1));
    let first = dispatcher.tick(at(1));
    assert_eq!(first.len(), 1);
    let id = Text::clone(&first[0].id);
    dispatcher.apply(&change(&format!("{page} fn=b"), AlertState::Firing, 2), at(2));
    for second in 2..200 {
        let due = dispatcher.tick(at(second));
        assert!(due.iter().all(|message| message.id == id), "{second}");
    }
    dispatcher.receipt(&Receipt { id, at: at(200), failure: None, handle: None });
    let next: Vec<_> = (200..300).flat_map(|second| dispatcher.tick(at(second))).collect();
    assert_eq!(next.first().map(|message| message.notice.alerts.len()), Some(2));
}

#[test]
fn an_alert_that_still_fires_is_repeated() {
    check(
        "0 fire alertname=Slow",
        4000,
        expect![[r"
        30s chat Slow:firing [first notification] fc97
        3630s chat Slow:firing [repeat interval elapsed] b85f
    "]],
    );
}

#[test]
fn an_alert_that_ends_before_its_wait_is_over_says_nothing() {
    check("0 fire alertname=Slow\n10 resolve alertname=Slow", 100, expect![[r""]]);
}

#[test]
fn a_symptom_is_inhibited_while_its_cause_fires() {
    check(
        "0 fire alertname=Down fn=a severity=page\n0 fire alertname=Slow fn=a\n0 fire alertname=Slow fn=b",
        40,
        expect![[r"
        0s pager Down:firing [first notification] 0306
        30s chat Slow:firing [first notification] fc97
    "]],
    );
}

#[test]
fn a_reload_keeps_what_was_told() {
    let mut dispatcher = Dispatcher::new(config(ROUTES), "http://x");
    dispatcher.apply(
        &change("alertname=Down severity=page", AlertState::Firing, 1),
        Timestamp::from_nanos(1),
    );
    let sent = dispatcher.tick(Timestamp::from_nanos(2));
    assert_eq!(sent.len(), 1);
    dispatcher.receipt(&Receipt {
        id: Text::clone(&sent[0].id),
        at: Timestamp::from_nanos(3),
        failure: None,
        handle: None,
    });
    dispatcher.set_config(config(ROUTES), Timestamp::from_nanos(4));
    assert_eq!(dispatcher.tick(Timestamp::from_nanos(5)), Vec::new());
}

#[test]
fn all_errors_of_a_config_come_at_once_with_their_places() {
    let text = "route:\n  receiver: nobody\n  group_wait: soon\n  routes:\n    - matchers: [oops]\n      mute_time_intervals: [night]\nreceivers:\n  - name: chat\n    slack_configs: [{}]\n";
    let errors = Config::try_new("am.yaml", text, no_files()).expect_err("a bad config");
    let shown: Vec<String> =
        errors.iter().map(|e| format!("{}:{}: {}", e.line, e.col, e.message)).collect();
    expect![[r#"
        9:21: Slack needs an `api_url` (incoming webhook) or an `app_token` (bot), here or in `global`
        2:13: no receiver `nobody` in `receivers`
        3:15: `soon` is no duration; write 30s, 5m or 4h
        5:18: `oops` is no matcher; write NAME="VALUE", !=, =~ or !~
        6:29: no time interval `night` in `time_intervals`"#]]
    .assert_eq(&shown.join("\n"));
}
