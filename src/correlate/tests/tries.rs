//! Messages whose sender nobody knows: their tries are one request.

use expect_test::expect;

use super::super::config::QueueConfig;
use super::*;

/// A try of messages that nobody is seen to send.
fn taken(n: u8, start: i64, ids: &[&str], count: u32) -> Told {
    let head = span("fulfil", [n, 1, 0], start, start + 100).run(&format!("f{n}"));
    ids.iter().fold(head, |head, id| head.received(id, "orders").count(count))
}

fn drained(n: u8, start: i64, id: &str) -> Told {
    let drain = span("drain", [n, 1, 0], start, start + 50).run(&format!("d{n}"));
    let drain = drain.received(id, "orders-dlq");
    drain.facts(|facts| facts.received[0].dead_letter_source = Some("orders".into()))
}

/// What one record in a batch blames its message for.
fn blamed(n: u8, time: i64, id: &str) -> Told {
    log("fulfil", time).run(&format!("f{n}")).received(id, "orders").failed("KeyError")
}

#[test]
fn a_failed_try_that_is_made_good_makes_one_good_request() {
    check(
        &[taken(1, 0, &["m1"], 1).failed("KeyError"), taken(2, 2_000, &["m1"], 2)],
        &expect![[r#"
            fulfil: ok finished 0+2100
              fulfil#1 error 0+100 [m1] (KeyError)
              fulfil#2 ok 2000+100 <- fulfil#1 queue by MessageId [m1]
        "#]],
    );
}

#[test]
fn what_ends_in_a_dead_letter_queue_is_one_request_with_its_reader() {
    let mut told: Vec<Told> = (0..3)
        .map(|n| {
            let start = 2_000 * i64::from(n);
            taken(n + 1, start, &["m1"], u32::from(n) + 1).failed("KeyError")
        })
        .collect();
    told.push(drained(9, 9_000, "m1"));
    check(
        &told,
        &expect![[r#"
        fulfil: dead_lettered finished 0+9050
          fulfil#1 error 0+100 [m1] (KeyError)
          fulfil#2 error 2000+100 <- fulfil#1 queue by MessageId [m1] (KeyError)
          fulfil#3 dead_lettered 4000+100 <- fulfil#2 queue by MessageId [m1] (KeyError)
          drain#1 ok 9000+50 <- fulfil#3 queue by MessageId [m1]
    "#]],
    );
}

#[test]
fn of_a_batch_only_what_is_tried_again_goes_on() {
    check(
        &[
            taken(1, 0, &["m1", "m2", "m3"], 1),
            blamed(1, 50, "m2"),
            taken(2, 2_000, &["m2", "m8", "m9"], 1),
            blamed(2, 2_050, "m9"),
            taken(3, 4_000, &["m9"], 2),
            span("stock", [2, 5, 1], 2_010, 2_020),
        ],
        &expect![[r#"
            fulfil: ok finished 0+2100
              fulfil#1 error 0+100 [m1,m2,m3] (KeyError)
              fulfil#1 ok 2000+100 <- fulfil#1 queue by MessageId [m2] shared
              stock#1 ok 2010+10 <- fulfil#1 unknown by Trace shared
            fulfil: ok finished 2000+2100
              fulfil#1 error 2000+100 [m8,m9] shared (KeyError)
              stock#1 ok 2010+10 <- fulfil#1 unknown by Trace shared
              fulfil#2 ok 4000+100 <- fulfil#1 queue by MessageId [m9]
        "#]],
    );
}

#[test]
fn what_a_message_carries_inside_is_no_work_of_its_own() {
    let inner = |facts: &mut Facts| {
        let mut inner = MessageRef::new("n1", Via::Topic);
        inner.queue = Some("news".into());
        facts.received.push(inner);
    };
    check(
        &[taken(1, 0, &["m1"], 1).failed("KeyError"), taken(2, 2_000, &["m1"], 2).facts(inner)],
        &expect![[r#"
            fulfil: ok finished 0+2100
              fulfil#1 error 0+100 [m1] (KeyError)
              fulfil#2 ok 2000+100 <- fulfil#1 queue by MessageId [m1]
        "#]],
    );
}

#[test]
fn several_consumers_of_one_message_are_requests_of_their_own() {
    let other = span("audit", [3, 1, 0], 1_000, 1_100).received("m1", "orders");
    check(
        &[taken(1, 0, &["m1"], 1).failed("KeyError"), other, taken(2, 2_000, &["m1"], 2)],
        &expect![[r#"
            fulfil: ok finished 0+2100
              fulfil#1 error 0+100 [m1] (KeyError)
              fulfil#2 ok 2000+100 <- fulfil#1 queue by MessageId [m1]
            audit: ok finished 1000+100
              audit#1 ok 1000+100 [m1]
        "#]],
    );
}

#[test]
fn a_batch_that_is_part_of_others_requests_takes_no_strangers_tries_along() {
    let told = [
        span("checkout", [7, 1, 0], -500, -400).sent("m2", "orders"),
        taken(1, 0, &["m1", "m2"], 1),
        blamed(1, 50, "m1"),
        taken(2, 2_000, &["m1"], 2).failed("KeyError"),
        taken(3, 4_000, &["m1"], 3),
    ];
    // That it is part of another's may be heard when its tries are joined.
    let mut world = World::new(Config::default());
    world.hear(&told[1..]).wait(1);
    assert_eq!(world.engine.held.requests.len(), 1);
    world.hear(&told[..1]).wait(20);
    let mut at_once = World::new(Config::default());
    assert_eq!(at_once.hear(&told).wait(20).requests, world.requests);
    check(
        &told,
        &expect![[r#"
            checkout: ok finished -500+600
              checkout#1 ok -500+100
              fulfil#1 ok 0+100 <- checkout#1 queue by MessageId orders wait=500 [m2]
            fulfil: ok finished 2000+2100
              fulfil#2 error 2000+100 [m1] (KeyError)
              fulfil#3 ok 4000+100 <- fulfil#2 queue by MessageId [m1]
        "#]],
    );
}

#[test]
fn a_sender_that_is_heard_late_is_the_cause_of_all_tries() {
    let tries = [taken(1, 0, &["m1"], 1).failed("KeyError"), taken(2, 2_000, &["m1"], 2)];
    let sender = span("checkout", [7, 1, 0], -500, -400).sent("m1", "orders");
    let mut world = World::new(Config::default());
    world.hear(&tries).wait(20).hear(std::slice::from_ref(&sender)).wait(20);
    let mut at_once = World::new(Config::default());
    at_once.hear(&tries).hear(&[sender]).wait(20);
    assert_eq!(world.requests, at_once.requests);
    expect![[r#"
        checkout: ok finished -500+2600
          checkout#1 ok -500+100
          fulfil#1 error 0+100 <- checkout#1 queue by MessageId orders wait=500 [m1] (KeyError)
          fulfil#2 ok 2000+100 <- checkout#1 queue by MessageId orders wait=2500 [m1]
    "#]]
    .assert_eq(&world.shown());
}

#[test]
fn a_later_try_wakes_what_is_frozen() {
    let tries = [taken(1, 0, &["m1"], 1).failed("KeyError"), taken(2, 2_000, &["m1"], 2)];
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new(Config::default());
        for n in order {
            world.hear(&tries[n..=n]).wait(200);
            assert!(world.engine.held.graph.nodes.is_empty(), "frozen");
        }
        let outcomes: Vec<&str> = world.requests.values().map(|r| r.outcome.as_str()).collect();
        assert_eq!(outcomes, ["ok"], "{order:?}");
    }
}

#[test]
fn tries_of_what_a_final_request_sent_continue_it_together() {
    let sender = span("checkout", [7, 1, 0], 0, 100).sent("m1", "orders");
    let mut world = World::new(Config::default());
    world.hear(&[sender]).wait(1_000);
    world.hear(&[
        taken(1, 1_000_000, &["m1"], 1).failed("KeyError"),
        taken(2, 1_002_000, &["m1"], 2),
    ]);
    world.wait(20);
    assert_eq!(world.requests.len(), 2);
    let continued: Vec<&Request> =
        world.requests.values().filter(|request| request.continues.is_some()).collect();
    assert_eq!((continued.len(), continued[0].hops.len()), (1, 2));
}

#[test]
fn a_queue_that_starts_requests_starts_one_for_all_tries_of_a_message() {
    let orders = QueueConfig {
        name: "orders".into(),
        dlq: None,
        max_receive_count: None,
        visibility_timeout: None,
        starts_request: true,
    };
    let mut world = World::new(Config { queues: vec![orders], ..Config::default() });
    world.hear(&[
        span("checkout", [7, 1, 0], -500, -400).sent("m1", "orders"),
        taken(1, 0, &["m1"], 1).failed("KeyError"),
        taken(2, 2_000, &["m1"], 2),
    ]);
    world.wait(20);
    let shown: Vec<(usize, &str)> =
        world.requests.values().map(|r| (r.hops.len(), r.outcome.as_str())).collect();
    assert_eq!(shown.iter().filter(|shown| **shown == (2, "ok")).count(), 1, "{shown:?}");
    assert_eq!(shown.len(), 2);
}

#[test]
fn an_id_with_too_many_takings_is_a_constant_and_joins_nothing() {
    let told = |n: u8| taken(n, i64::from(n) * 1_000, &["1"], 1);
    let n_requests = |n: u8| {
        let mut world = World::new(Config::default());
        // One after the other: the last of too many takes the others apart.
        for n in 1..=n {
            world.hear(&[told(n)]).wait(1);
        }
        world.wait(20).requests.len()
    };
    assert_eq!((n_requests(64), n_requests(65)), (1, 65));
}

#[test]
fn a_message_is_waited_for_and_counted_as_that_of_a_known_sender() {
    let mut world = World::new(Config::default());
    world.hear(&[taken(1, 0, &["m1"], 1), taken(2, 2_000, &["m1"], 2)]).wait(20);
    let duplicates = world.deliveries.values().filter(|delivery| delivery.duplicate).count();
    let attempts: Vec<u32> = world.invocations.values().map(|one| one.attempt).collect();
    assert_eq!((duplicates, attempts.iter().max(), world.requests.len()), (1, Some(&2), 1));
    assert!(world.invocations.values().all(|one| one.caused_by.is_none()));
}
