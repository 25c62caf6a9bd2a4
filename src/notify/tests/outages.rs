//! Receivers that are down for hours and days, in simulated time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{ROUTES, change, config};
use crate::evaluate::AlertState;
use crate::notify::{Dispatcher, Failure, Message, Receipt};
use crate::signal::{Text, Timestamp};

const STEP: u64 = 10;
const HOUR: u64 = 3_600;

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

/// A dispatcher with a page and a ticket that fire; ticks until `until`, answering by `fails`; gives
/// every attempt with its second.
fn run(until: u64, fails: &dyn Fn(&Message, u64) -> Option<Failure>) -> Vec<(u64, Message)> {
    let mut dispatcher = Dispatcher::new(config(ROUTES), "http://x");
    let firing = |labels: &str| change(labels, AlertState::Firing, 0);
    dispatcher.apply(&firing("alertname=Down fn=a severity=page"), at(0));
    dispatcher.apply(&firing("alertname=Slow fn=b severity=ticket"), at(0));
    let mut attempts = Vec::new();
    for second in (0..=until).step_by(usize::try_from(STEP).expect("small")) {
        for message in dispatcher.tick(at(second)) {
            let failure = fails(&message, second);
            let id = Text::clone(&message.id);
            dispatcher.receipt(&Receipt { id, at: at(second), failure, handle: None });
            attempts.push((second, message));
        }
    }
    attempts
}

fn down() -> Failure {
    Failure { message: "cannot connect".into(), retryable: true, retry_after: None }
}

fn to<'a>(attempts: &'a [(u64, Message)], receiver: &str) -> Vec<&'a (u64, Message)> {
    attempts.iter().filter(|(_, message)| &*message.notice.receiver == receiver).collect()
}

#[test]
fn a_receiver_that_is_down_for_a_day_hears_it_all_under_one_id_and_delays_nobody() {
    let attempts = run(25 * HOUR, &|message, second| {
        (&*message.notice.receiver == "pager" && second < 24 * HOUR).then(down)
    });
    let pager = to(&attempts, "pager");
    let (failed, delivered): (Vec<_>, Vec<_>) =
        pager.into_iter().partition(|(second, _)| *second < 24 * HOUR);
    let ids: BTreeSet<&str> = failed.iter().map(|(_, message)| &*message.id).collect();
    assert_eq!(ids.len(), 1, "one message, one id");
    // Every 225 to 300 s once the pauses have grown.
    assert!((280..=400).contains(&failed.len()), "{} attempts", failed.len());
    assert_eq!(ids.first().copied(), delivered.first().map(|(_, message)| &*message.id));
    assert!(delivered.first().is_some_and(|(second, _)| *second < 24 * HOUR + 310));
    let chat = to(&attempts, "chat");
    assert_eq!(chat.first().map(|(second, _)| *second), Some(30), "the chat waits for nobody");
}

#[test]
fn after_three_days_the_receiver_of_the_root_hears_of_it_instead() {
    let attempts = run(74 * HOUR, &|message, _| (&*message.notice.receiver == "pager").then(down));
    let told: Vec<&(u64, Message)> = to(&attempts, "chat")
        .into_iter()
        .filter(|(_, message)| message.notice.undelivered_to.is_some())
        .collect();
    let (second, message) = told.first().expect("a fallback");
    assert!((72 * HOUR..=72 * HOUR + 310).contains(second), "at {second} s");
    assert_eq!(message.notice.undelivered_to.as_deref(), Some("pager"));
    assert_eq!(told.len(), 1, "delivered, so told once");
}

#[test]
fn an_address_that_refuses_for_good_is_not_tried_again() {
    let gone = || Failure { message: "answered 404".into(), retryable: false, retry_after: None };
    let attempts = run(HOUR / 2, &|message, _| (&*message.notice.receiver == "pager").then(gone));
    assert_eq!(to(&attempts, "pager").len(), 1);
    let told = to(&attempts, "chat");
    assert!(told.iter().any(|(second, message)| {
        *second == STEP && message.notice.undelivered_to.as_deref() == Some("pager")
    }));
}

#[test]
fn the_other_side_may_ask_for_a_pause_but_not_for_silence() {
    for (asked, expect) in [(60, 60..=70), (86_400, 900..=910)] {
        let attempts = run(HOUR, &|message, second| {
            let is_first = &*message.notice.receiver == "pager" && second == 0;
            let retry_after = Some(Duration::from_secs(asked));
            is_first.then(|| Failure { retry_after, ..down() })
        });
        let seconds: Vec<u64> = to(&attempts, "pager").iter().map(|(second, _)| *second).collect();
        assert!(seconds.get(1).is_some_and(|at| expect.contains(at)), "{seconds:?}");
    }
}
