//! When requests end: settling, losses, retries, lateness.

use std::collections::BTreeSet;

use expect_test::expect;

use super::super::config::QueueConfig;
use super::*;

#[test]
fn a_request_is_open_until_it_is_quiet() {
    let mut world = World::new(Config::default());
    world.hear(&[span("checkout", [1, 1, 0], 0, 100)]).wait(9);
    assert_eq!(world.engine.open_by_flow(), [("checkout".into(), 1)]);
    assert!(world.requests.is_empty());
    assert_eq!(world.invocations.len(), 1, "an invocation counts at once");
    world.wait(2);
    assert_eq!(world.engine.open_by_flow(), [("checkout".into(), 0)]);
    assert_eq!(world.requests.len(), 1);
}

#[test]
fn a_lost_message_makes_the_request_incomplete_and_names_it() {
    let mut world = World::new(Config::default());
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
        span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders"),
        span("checkout", [3, 1, 0], 1000, 1100).sent("m2", "orders"),
    ]);
    world.wait(299);
    assert_eq!(world.requests.len(), 1);
    world.wait(3);
    expect![[r#"
        checkout: ok finished 0+800
          checkout#1 ok 0+100
          fulfil#1 ok 500+300 <- checkout#1 queue by MessageId orders wait=500 [m1]
        checkout: incomplete finished 1000+100
          checkout#1 ok 1000+100
          missing after checkout#1: a consumer of message m2 on orders
    "#]]
    .assert_eq(&world.shown());
    assert_eq!(world.engine.findings()[0].kind, "incomplete_request");
}

#[test]
fn a_message_to_nobody_is_not_waited_for_until_somebody_takes_from_its_queue() {
    let mut world = World::new(Config::default());
    world.hear(&[span("checkout", [3, 1, 0], 1000, 1100).sent("m2", "orders")]).wait(20);
    assert_eq!(world.requests.values().next().unwrap().outcome.as_str(), "ok");
    world.hear(&[span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders")]).wait(320);
    let outcomes: Vec<&str> = world.requests.values().map(|r| r.outcome.as_str()).collect();
    assert!(outcomes.contains(&"incomplete"), "{outcomes:?}");
}

#[test]
fn a_start_without_an_end_is_incomplete_even_if_it_is_the_functions_first() {
    let mut world = World::new(Config::default());
    world.hear(&[
        start("checkout", "r1", 0),
        report("checkout", "r1", 100, 100),
        start("checkout", "r2", 1000),
        start("silent", "r3", 2000),
    ]);
    world.wait(320);
    expect![[r#"
        checkout: ok finished 0+100
          checkout#1 ok 0+100
        checkout: incomplete finished 1000+0
          checkout#1 incomplete 1000+-1
          missing after checkout#1: the end of invocation r2 of checkout
        silent: incomplete finished 2000+0
          silent#1 incomplete 2000+-1
          missing after silent#1: the end of invocation r3 of silent
    "#]]
    .assert_eq(&world.shown());
}

#[test]
fn a_retry_that_succeeds_makes_the_request_ok() {
    check(
        &[
            span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
            span("fulfil", [2, 1, 0], 500, 800)
                .received("m1", "orders")
                .count(1)
                .failed("ValidationException"),
            span("fulfil", [3, 1, 0], 2000, 2100).received("m1", "orders").count(2),
        ],
        &expect![[r#"
            checkout: ok finished 0+2100
              checkout#1 ok 0+100
              fulfil#1 error 500+300 <- checkout#1 queue by MessageId orders wait=500 [m1] (ValidationException)
              fulfil#2 ok 2000+100 <- checkout#1 queue by MessageId orders wait=2000 [m1]
        "#]],
    );
}

#[test]
fn a_failed_message_waits_for_its_retry() {
    let mut world = World::new(Config::default());
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
        span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders").failed("KeyError"),
    ]);
    world.wait(179);
    assert!(world.requests.is_empty());
    world.wait(2);
    assert_eq!(world.requests.values().next().unwrap().outcome.as_str(), "error");
}

#[test]
fn a_retry_is_waited_for_as_the_queue_is_set_up() {
    let queue = QueueConfig {
        name: "orders".into(),
        dlq: Some("orders-dlq".into()),
        max_receive_count: Some(3),
        visibility_timeout: Some(Duration::from_mins(4)),
        starts_request: false,
    };
    let dead_letters = QueueConfig {
        name: "orders-dlq".into(),
        dlq: None,
        max_receive_count: None,
        visibility_timeout: None,
        ..queue.clone()
    };
    let over_after = |n_received: u32, queues: &[&QueueConfig]| {
        let queues = queues.iter().copied().cloned().collect();
        let mut world = World::new(Config { queues, ..Config::default() });
        let attempt = span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders");
        let attempt = attempt.failed("KeyError").count(n_received);
        world.hear(&[span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"), attempt]);
        let seconds = (1..600).find(|_| !world.wait(1).requests.is_empty()).unwrap();
        let outcome = world.requests.values().next().unwrap().outcome.as_str();
        format!("{seconds} s: {outcome}")
    };
    // Hidden for 240 s, and taken up within 30; what came is heard of a tick later.
    assert_eq!(over_after(2, &[&queue]), "271 s: error");
    // The third is the last that the queue allows, and nobody is known to read what goes from there.
    assert_eq!(over_after(3, &[&queue]), "11 s: error");
    assert_eq!(over_after(3, &[&queue, &dead_letters]), "271 s: error");
}

#[test]
fn an_init_is_kept_for_as_long_as_its_run_waits() {
    let orders = QueueConfig {
        name: "orders".into(),
        dlq: None,
        max_receive_count: None,
        visibility_timeout: Some(Duration::from_hours(2)),
        starts_request: false,
    };
    let init = |time: i64| {
        event("fulfil", "", PlatformStage::InitReport, time)
            .platform(|event| event.duration = Some(Duration::from_millis(300)))
    };
    let failed = span("fulfil", [1, 1, 0], 500, 800).received("m1", "orders").failed("KeyError");
    let mut world = World::new(Config { queues: vec![orders], ..Config::default() });
    world.hear(&[init(490), failed]).wait(3_600);
    world.hear(&[init(3_600_490), span("fulfil", [2, 1, 0], 3_600_500, 3_600_800)]).wait(1);
    let cold = world.invocations.values().filter(|one| one.cold_start);
    let cold: BTreeSet<i64> = cold.map(|one| one.start.as_millis() - at(0).as_millis()).collect();
    assert_eq!(cold, BTreeSet::from([500, 3_600_500]));
    world.wait(2 * 3_600 + 1_200);
    assert!(world.engine.held.environments.is_empty());
}

#[test]
fn attempts_that_reuse_a_request_id_are_told_apart_by_time() {
    let failed = |told: Told| told.status(PlatformStatus::Failure);
    check(
        &[
            start("notify", "r1", 0),
            failed(report("notify", "r1", 100, 100)),
            start("notify", "r1", 60_000),
            log("notify", 60_050).run("r1"),
            failed(report("notify", "r1", 60_100, 100)),
            start("notify", "r1", 180_000),
            report("notify", "r1", 180_100, 100).status(PlatformStatus::Success),
        ],
        &expect![[r#"
            notify: ok finished 0+180100
              notify#1 error 0+100
              notify#2 error 60000+100 <- notify#1 unknown by MessageId
              notify#3 ok 180000+100 <- notify#2 unknown by MessageId
        "#]],
    );
}

#[test]
fn a_timeout_and_a_throttle_have_names_of_their_own() {
    check(
        &[
            start("slow", "r1", 0),
            report("slow", "r1", 3000, 3000).status(PlatformStatus::Timeout),
            span("busy", [1, 1, 0], 5000, 5100).failed("TooManyRequestsException: Rate Exceeded"),
        ],
        &expect![[r#"
            slow: timeout finished 0+3000
              slow#1 timeout 0+3000 (the platform stopped it at its timeout)
            busy: throttled finished 5000+100
              busy#1 throttled 5000+100 (TooManyRequestsException: Rate Exceeded)
        "#]],
    );
}

#[test]
fn what_a_call_met_names_no_failure_that_the_function_names_otherwise() {
    let call = || {
        let call = span("checkout", [1, 2, 1], 10, 20).kind(SpanKind::Client);
        call.failed("TooManyRequestsException: Rate Exceeded")
    };
    let head = span("checkout", [1, 1, 0], 0, 100);
    check(
        &[head.clone().failed("PaymentFailedException: declined"), call()],
        &expect![[r#"
        checkout: error finished 0+100
          checkout#1 error 0+100 (PaymentFailedException: declined)
    "#]],
    );
    let silent = head.span(|span| span.failed = true);
    check(
        &[silent, call()],
        &expect![[r#"
        checkout: throttled finished 0+100
          checkout#1 throttled 0+100 (TooManyRequestsException: Rate Exceeded)
    "#]],
    );
}

#[test]
fn nothing_continues_by_a_trace_that_is_quarantined() {
    let continued = |joins_max: usize| {
        let mut world = World::new(Config { joins_max, ..Config::default() });
        let strangers = (0..4).map(|n| span("checkout", [7, n + 1, 99], i64::from(n) * 10, 5));
        world.hear(&strangers.collect::<Vec<_>>()).wait_for_the_end();
        world.hear(&[span("checkout", [7, 50, 99], 5_000_000, 5)]).wait(20);
        world.requests.values().filter(|request| request.continues.is_some()).count()
    };
    assert_eq!((continued(4), continued(3)), (1, 0));
}

#[test]
fn what_comes_for_a_final_invocation_is_late_and_a_new_invocation_continues_its_request() {
    let mut world = World::new(Config::default());
    world.hear(&[span("checkout", [1, 1, 0], 0, 100).run("r1").sent("m1", "orders")]);
    world.wait(920);
    assert_eq!(world.n_finals, 1);
    let first = world.requests.keys().next().cloned().unwrap();
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).run("r1").sent("m1", "orders"),
        report("checkout", "r1", 100, 100),
        log("checkout", 50).run("r1"),
        log("checkout", 50).traced(1, 1),
        span("fulfil", [2, 1, 0], 900_000, 900_100).received("m1", "orders"),
    ]);
    world.wait(20);
    let counts = &world.engine.ledger().receivers[&Receiver::OtlpHttp];
    assert_eq!((counts.late, counts.applied, counts.received), (4, 2, 6));
    let continued: Vec<_> = world.requests.values().filter_map(|r| r.continues.clone()).collect();
    assert_eq!(continued, [first]);
    assert_eq!(world.invocations.len(), 2);
    // The message was sent when the first began, and nobody but its stub knows that any more.
    let waited = world.requests.values().filter_map(|request| request.hops[0].queue_wait);
    assert_eq!(waited.collect::<Vec<_>>(), [Duration::from_mins(15)]);
    assert_eq!(world.deliveries.values().next().unwrap().lag, Some(Duration::from_mins(15)));
}

#[test]
fn nothing_is_held_when_all_is_final() {
    let mut world = World::new(Config::default());
    world.hear(&[
        start("checkout", "r1", 0),
        span("checkout", [1, 1, 0], 0, 100).run("r1").sent("m1", "orders").correlation("c"),
        report("checkout", "r1", 100, 100),
        log("checkout", 50).run("r1"),
        log("checkout", 50).correlation("c"),
        log("checkout", 50).traced(1, 1),
        span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders").correlation("c"),
    ]);
    world.wait_for_the_end();
    let held = &world.engine.held;
    assert_eq!(held.bytes, 0);
    assert!(held.graph.nodes.is_empty() && held.graph.messages.is_empty());
    assert!(held.cells.traces.is_empty() && held.cells.runs.is_empty());
    assert!(held.cells.records.is_empty() && held.requests.is_empty() && held.due.is_empty());
}

#[test]
fn full_memory_makes_settled_requests_final_early_and_then_refuses_new_ones() {
    let mut world = World::new(Config { memory_max_bytes: 4_000, ..Config::default() });
    world.hear(&[span("a", [1, 1, 0], 0, 100), span("b", [2, 1, 0], 0, 100)]).wait(20);
    let more: Vec<Told> = (10..30).map(|n| span("c", [n, 1, 0], 0, 100)).collect();
    world.hear(&more);
    assert!(world.engine.is_full());
    world.hear(&[span("c", [10, 2, 1], 20, 30)]).wait(1);
    assert_eq!(world.n_finals, 2);
    let counts = &world.engine.ledger().receivers[&Receiver::OtlpHttp];
    assert!(counts.dropped["memory"] > 0);
    assert!(counts.is_balanced());
    let kinds: Vec<_> = world.engine.findings().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, ["effective_lateness", "memory", "forgotten_ids"]);
    // Once it has been well for as long as requests can be corrected, they are so as configured again.
    world.wait_for_the_end();
    let kinds: Vec<_> = world.engine.own_findings().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, ["memory", "forgotten_ids"]);
}

#[test]
fn many_small_requests_weigh_what_they_take() {
    let mut world = World::new(Config::default());
    let spans: Vec<Told> = (1..101).map(|n| span("a", [n, 1, 0], 0, 100)).collect();
    world.hear(&spans).wait(1);
    let each = world.engine.bytes() / 100;
    assert!((3_000..5_000).contains(&each), "{each} bytes");
    world.wait_for_the_end();
    // Its span, and its trace as what may be continued and as a key.
    let each = world.engine.bytes() / 100;
    assert!((500..1_200).contains(&each), "{each} bytes");
    world.wait(9_000);
    assert_eq!(world.engine.bytes(), 0);
}

#[test]
fn what_goes_on_with_held_requests_is_told_from_what_is_new() {
    let mut world = World::new(Config::default());
    world.hear(&[
        start("checkout", "r1", 0),
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
        log("checkout", 50).correlation("c1"),
    ]);
    world.wait(1);
    let goes_first = |told: &[Told]| world.engine.is_of_held(&batch(told));
    assert!(goes_first(&[span("stock", [1, 2, 1], 20, 40)]));
    assert!(goes_first(&[span("fulfil", [7, 1, 0], 200, 300).received("m1", "orders")]));
    assert!(goes_first(&[report("checkout", "r1", 100, 100)]));
    assert!(goes_first(&[log("checkout", 60).correlation("c1")]));
    assert!(!goes_first(&[span("stock", [2, 2, 0], 20, 40)]));
    assert!(!goes_first(&[start("checkout", "r2", 0), report("checkout", "r2", 100, 100)]));
    assert!(!goes_first(&[log("checkout", 60).correlation("c2")]));
    // By the most of it; what joins nothing takes no memory.
    let held = || span("stock", [1, 3, 1], 20, 40);
    let new = |trace| span("stock", [trace, 1, 0], 20, 40);
    assert!(goes_first(&[held(), new(8)]));
    assert!(!goes_first(&[held(), new(8), new(9)]));
    assert!(goes_first(&[log("checkout", 60)]));
}

#[test]
fn time_that_nobody_watched_ages_nothing() {
    let mut world = World::new(Config::default());
    world.hear(&[span("checkout", [1, 1, 0], 0, 100)]).wait(3);
    world.secs += 36_000;
    world.wait(5);
    assert!(world.requests.is_empty());
    world.wait(5);
    assert_eq!(world.requests.len(), 1);
}

#[test]
fn an_engine_comes_back_as_it_was_saved() {
    let told = [
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
        span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders"),
    ];
    let mut world = World::new(Config::default());
    world.hear(&told).wait(5);
    let saved = world.engine.save().concat();
    assert_eq!(saved, crate::correlate::fact::encode(&world.engine.held), "field by field");
    world.engine = Engine::restore(Config::default(), &saved).unwrap();
    world.hear(&told).wait(10);
    assert_eq!(world.requests.len(), 1);
    assert_eq!(world.engine.ledger().receivers[&Receiver::OtlpHttp].duplicate, 2);
    assert!(Engine::restore(Config::default(), &saved[..saved.len() / 2]).is_err());
}

#[test]
fn a_failed_head_is_believed_where_the_platform_only_says_that_it_was_answered() {
    let head = span("checkout", [1, 1, 0], 0, 90).run("r1").failed("KeyError: 'price'");
    let member = |id| span("checkout", [1, id, 1], 5, 10).kind(SpanKind::Client).failed("slow");
    check(
        &[
            head,
            report("checkout", "r1", 101, 100).status(PlatformStatus::Success),
            span("payment", [2, 1, 0], 0, 90).run("r2"),
            member(3),
            report("payment", "r2", 101, 100).status(PlatformStatus::Success),
        ],
        &expect![[r#"
            checkout: error finished 0+100
              checkout#1 error 0+100 (KeyError: 'price')
            payment: ok finished 0+100
              payment#1 ok 0+100
        "#]],
    );
}

#[test]
fn an_init_stays_with_its_invocation_when_that_is_final() {
    let init = |stage, time| event("pay", "", stage, time);
    let mut world = World::new(Config::default());
    world.hear(&[
        init(PlatformStage::InitStart, 0),
        init(PlatformStage::InitReport, 400).platform(|event| {
            event.duration = Some(Duration::from_millis(400));
        }),
        start("pay", "cold", 400),
        report("pay", "cold", 500, 100).platform(|event| {
            event.init_duration = Some(Duration::from_millis(400));
        }),
        start("pay", "warm", 600),
    ]);
    // The report of the second comes when the first is about to be final.
    world.wait(600).hear(&[report("pay", "warm", 700, 100)]).wait(600);
    let shown = |request: &Request| {
        let hop = &request.hops[0];
        let run = hop.invocation_id.as_deref().unwrap_or("?");
        format!("{run} {:.0} {:?} {:?}", offset(request.start), hop.cold_start, hop.init)
    };
    let mut told: Vec<String> = world.requests.values().map(shown).collect();
    told.sort();
    assert_eq!(told, ["cold 0 Some(true) Some(400ms)", "warm 600 Some(false) None"]);
}
