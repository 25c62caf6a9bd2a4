//! Requests as people see them.

use expect_test::{Expect, expect};

use super::*;
use crate::correlate::request::{Key, KeyKind, Missing, Part, PathPart};

fn at(ms: u64) -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-25T10:00:00Z")
        .unwrap()
        .saturating_add(Duration::from_millis(ms))
}

fn hop(id: &str, function: &str, from: u64, to: u64) -> Hop {
    Hop {
        id: id.into(),
        causes: Vec::new(),
        via: Via::Http,
        evidence: None,
        function: function.into(),
        service: Some("shop".into()),
        version: None,
        invocation_id: Some(format!("inv-{id}").into()),
        attempt: 1,
        start: at(from),
        end: Some(at(to)),
        duration: Some(Duration::from_millis(to - from)),
        queue: None,
        queue_wait: None,
        cold_start: Some(false),
        init: None,
        outcome: Outcome::Ok,
        error: None,
        message_ids: Vec::new(),
        shared: false,
        spans: 1,
        logs: 0,
        billed: Some(Duration::from_millis(to - from)),
        cost_usd: Some(0.000_000_1),
    }
}

fn caused(hop: Hop, cause: &str, via: Via, evidence: Evidence) -> Hop {
    Hop { causes: vec![cause.into()], via, evidence: Some(evidence), ..hop }
}

fn request(hops: Vec<Hop>) -> Request {
    let end = hops.iter().map(|hop| hop.end.unwrap_or(hop.start)).max().unwrap();
    Request {
        id: "4f1d0c9e8b7a6d5c4f1d0c9e8b7a6d5c".into(),
        aliases: Vec::new(),
        flow: "POST /orders".into(),
        outcome: hops.iter().map(|hop| hop.outcome).max().unwrap(),
        state: State::Finished,
        start: at(0),
        end,
        duration: end.since(at(0)),
        response: Some(Duration::from_micros(522_500)),
        continues: None,
        keys: vec![Key { kind: KeyKind::CorrelationId, value: "order-4711".into() }],
        hops,
        critical_path: Vec::new(),
        missing: Vec::new(),
        cost_usd: Some(0.000_004_2),
        stands_for: 1,
    }
}

fn order() -> Request {
    let checkout = Hop {
        cold_start: Some(true),
        init: Some(Duration::from_micros(310_500)),
        ..hop("a", "checkout", 311, 523)
    };
    let payment = caused(hop("b", "payment", 340, 470), "a", Via::Invoke, Evidence::Trace);
    let queued = |hop, wait| Hop {
        queue: Some("orders".into()),
        queue_wait: Some(Duration::from_millis(wait)),
        shared: true,
        ..caused(hop, "a", Via::Queue, Evidence::Link)
    };
    let failed = Hop {
        outcome: Outcome::Error,
        error: Some("ConnectionError: connect ECONNREFUSED 10.0.7.21:6379".into()),
        ..queued(hop("c", "fulfil", 1400, 1450), 900)
    };
    let fulfil = Hop { attempt: 2, ..queued(hop("d", "fulfil", 1700, 1780), 1200) };
    let notify =
        caused(hop("e", "notify-customer", 1800, 1834), "d", Via::EventBus, Evidence::MessageId);
    let part = |hop: &str, part, ms| PathPart {
        hop: hop.into(),
        part,
        duration: Duration::from_millis(ms),
    };
    Request {
        outcome: Outcome::Ok,
        critical_path: vec![
            part("a", Part::Init, 311),
            part("a", Part::Run, 189),
            part("d", Part::QueueWait, 1200),
            part("d", Part::Run, 80),
            part("e", Part::Gap, 20),
            part("e", Part::Run, 34),
        ],
        ..request(vec![checkout, payment, failed, fulfil, notify])
    }
}

#[expect(clippy::needless_pass_by_value, reason = "expect_test's own style")]
fn check(request: &Request, width: usize, ink: Ink, expect: Expect) {
    expect.assert_eq(&render(request, width, ink).replace('\u{1b}', "ESC"));
}

#[test]
fn a_request_across_a_queue_shows_waits_inits_and_retries_to_scale() {
    check(
        &order(),
        100,
        Ink::Plain,
        expect![[r#"
        POST /orders  ok  1.83 s  answered after 522 ms  finished  $0.0000042
        request 4f1d0c9e8b7a6d5c4f1d0c9e8b7a6d5c  started 2026-11-25T10:00:00.000000000Z
        correlation id order-4711

        checkout by http                              ▒▒▒▒████                       212 ms ok cold
        ├─ payment by invoke                               ██                        130 ms ok
        ├─ fulfil by queue orders (link) shared              ·············██        50.0 ms error
        │    ! ConnectionError: connect ECONNREFUSED 10.0.7.21:6379
        └─ fulfil #2 by queue orders (link) shared           ··················██   80.0 ms ok
           └─ notify-customer by event bus (message …                           █   34.0 ms ok
        · waits in a queue  ▒ init  █ runs  ░ end unknown

        where the time went
           311 ms   17 %  init checkout
           189 ms   10 %  run checkout
           1.20 s   65 %  queue wait fulfil
          80.0 ms    4 %  run fulfil
          20.0 ms    1 %  gap notify-customer
          34.0 ms    2 %  run notify-customer
    "#]],
    );
}

#[test]
fn a_narrow_terminal_cuts_names_not_bars() {
    check(
        &order(),
        20,
        Ink::Plain,
        expect![[r#"
        POST /orders  ok  1.83 s  answered after 522 ms  finished  …
        request 4f1d0c9e8b7a6d5c4f1d0c9e8b7a6d5c  started 2026-11-2…
        correlation id order-4711

        checkout by http            ▒██           212 ms ok cold
        ├─ payment by invoke         ██           130 ms ok
        ├─ fulfil by queue orders …   ·····█     50.0 ms error
        │    ! ConnectionError: connect ECONNREFUSED 10.0.7.21:6379
        └─ fulfil #2 by queue orde…   ·······█   80.0 ms ok
           └─ notify-customer by e…          █   34.0 ms ok
        · waits in a queue  ▒ init  █ runs  ░ end unknown

        where the time went
           311 ms   17 %  init checkout
           189 ms   10 %  run checkout
           1.20 s   65 %  queue wait fulfil
          80.0 ms    4 %  run fulfil
          20.0 ms    1 %  gap notify-customer
          34.0 ms    2 %  run notify-customer
    "#]],
    );
}

#[test]
fn what_is_missing_and_what_has_not_ended_is_named() {
    let lost = Missing { after: "a".into(), expected: "a consumer of message m-1".into() };
    let open = Hop { end: None, duration: None, ..hop("b", "payment", 20, 20) };
    let open = Hop {
        outcome: Outcome::Incomplete,
        ..caused(open, "a", Via::Unknown, Evidence::CorrelationId)
    };
    let request = Request {
        missing: vec![lost],
        state: State::Open,
        response: None,
        cost_usd: None,
        continues: Some("0000000000000000000000000000000a".into()),
        ..request(vec![hop("a", "checkout", 0, 100), open])
    };
    check(
        &request,
        80,
        Ink::Plain,
        expect![[r#"
        POST /orders  incomplete  100 ms  open
        request 4f1d0c9e8b7a6d5c4f1d0c9e8b7a6d5c  started 2026-11-25T10:00:00.000000000Z
        continues 0000000000000000000000000000000a
        correlation id order-4711

        checkout by http            █████████████████████████    100 ms ok
        └─ payment (correlation id)      ░░░░░░░░░░░░░░░░░░░░         ? incomplete
        · waits in a queue  ▒ init  █ runs  ░ end unknown

        missing
        a consumer of message m-1 after checkout
    "#]],
    );
}

#[test]
fn colours_show_outcomes_and_nothing_else_writes_to_the_terminal() {
    let bad = Hop {
        outcome: Outcome::Timeout,
        error: Some("Task timed out\u{1b}[2J\r\n".into()),
        ..hop("a", "check\u{7}out", 0, 3000)
    };
    check(
        &request(vec![bad]),
        80,
        Ink::Color,
        expect![[r#"
        ESC[1mPOST /ordersESC[0m  ESC[31mtimeoutESC[0m  3.00 s  answered after 522 ms  finished  $0.0000042
        ESC[2mrequest 4f1d0c9e8b7a6d5c4f1d0c9e8b7a6d5c  started 2026-11-25T10:00:00.000000000ZESC[0m
        ESC[2mcorrelation id order-4711ESC[0m

        check�out by http ESC[31m███████████████████████████████████ESC[0m    3.00 s ESC[31mtimeoutESC[0m
        ESC[31m  ! Task timed out�[2J��ESC[0m
        ESC[2m· waits in a queue  ▒ init  █ runs  ░ end unknownESC[0m
    "#]],
    );
}

#[test]
fn circles_and_strangers_among_causes_end() {
    let one = caused(hop("a", "one", 0, 10), "b", Via::Queue, Evidence::MessageId);
    let two = caused(hop("b", "two", 5, 15), "a", Via::Queue, Evidence::MessageId);
    let own = caused(hop("c", "own", 6, 7), "c", Via::Queue, Evidence::MessageId);
    let far = caused(hop("d", "far", 8, 9), "nobody", Via::Queue, Evidence::MessageId);
    let text = render(&request(vec![one, two, own, far]), 80, Ink::Plain);
    for name in ["one", "two", "own", "far"] {
        assert_eq!(text.matches(&format!("{name} by queue")).count(), 1, "{text}");
    }
}

#[test]
fn a_request_reads_back_from_the_json_that_the_api_writes() {
    let order = order();
    let json = serde_json::to_string(&order).unwrap();
    assert!(json.contains(r#""init_ms":310.5"#) && json.contains(r#""billed_ms":212"#), "{json}");
    assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), order);
    let bytes = postcard::to_stdvec(&order).unwrap();
    assert_eq!(postcard::from_bytes::<Request>(&bytes).unwrap(), order);
}

#[test]
fn durations_have_three_digits() {
    let shown =
        [7_312, 42_420, 212_000, 999_499, 1_834_200, 59_999_000, 125_000_000, 7_260_000_000]
            .map(|micros| short(Duration::from_micros(micros)));
    expect!["7.31 ms, 42.4 ms, 212 ms, 999 ms, 1.83 s, 1 m 00 s, 2 m 05 s, 2 h 01 m"]
        .assert_eq(&shown.join(", "));
}
