//! What is told of an invocation, the critical path, lists, and the books.

use std::num::NonZeroU32;

use expect_test::expect;

use super::super::RequestFilter;
use super::super::config::FunctionConfig;
use super::*;
use crate::signal::{Labels, MetricPoint, MetricValue, Peer};

fn path(told: &[Told]) -> String {
    let mut world = World::new(Config::default());
    world.hear(told).wait(20);
    let request = world.requests.values().next().unwrap();
    let total: Duration = request.critical_path.iter().map(|part| part.duration).sum();
    assert_eq!(total, request.duration, "parts add up");
    let mut text = String::new();
    for part in &request.critical_path {
        let hop = request.hops.iter().find(|hop| hop.id == part.hop).unwrap();
        let (name, ms) = (part.part.as_str(), millis(part.duration));
        writeln!(text, "{}#{} {name} {ms:.0}", hop.function, hop.attempt).unwrap();
    }
    text
}

/// As how many it counts: its requests, and its attempts.
fn times(told: &[Told]) -> (u32, Vec<u32>) {
    let mut world = World::new(Config::default());
    world.hear(told).wait(20);
    let attempts = world.invocations.values().map(|attempt| attempt.stands_for).collect();
    (world.requests.values().next().unwrap().stands_for, attempts)
}

#[test]
fn a_sampled_row_counts_for_its_like_unless_the_platform_tells_of_all_of_them() {
    let of = |n: u32| move |facts: &mut Facts| facts.stands_for = NonZeroU32::new(n);
    let row = || span("shop/hello", [1, 1, 0], 0, 200).run("r1").facts(of(4));
    let within = || log("shop/hello", 10).run("r1").facts(of(9));
    assert_eq!(times(&[row()]), (4, vec![4]));
    assert_eq!(times(&[within(), row()]), (4, vec![4]), "a row's own count goes first");
    assert_eq!(times(&[within()]), (9, vec![9]));
    let all = [row(), start("shop/hello", "r1", 0), report("shop/hello", "r1", 200, 200)];
    assert_eq!(times(&all), (1, vec![1]), "the host's own lines are not sampled");
}

fn client(function: &str, ids: [u8; 3], start: i64, end: i64) -> Told {
    let peer = Peer { name: "dynamodb".into(), operation: "GetItem".into() };
    span(function, ids, start, end).kind(SpanKind::Client).facts(|facts| facts.peer = Some(peer))
}

#[test]
fn the_critical_path_goes_through_calls_queues_and_inits() {
    expect![[r#"
        checkout#1 init 300
        checkout#1 run 50
        payment#1 run 40
        checkout#1 run 60
        fulfil#1 queue_wait 550
        fulfil#1 init 200
        fulfil#1 run 20
        fulfil#1 downstream 50
        fulfil#1 run 30
    "#]]
    .assert_eq(&path(&[
        start("checkout", "r1", 0),
        span("checkout", [1, 1, 0], 0, 200).run("r1"),
        report("checkout", "r1", 200, 200).platform(|event| {
            event.init_duration = Some(Duration::from_millis(300));
        }),
        span("payment", [1, 2, 1], 50, 90),
        span("checkout", [1, 3, 1], 150, 160).kind(SpanKind::Producer).sent("m1", "orders"),
        span("fulfil", [2, 1, 0], 900, 1000).run("r2").received("m1", "orders"),
        report("fulfil", "r2", 1000, 100)
            .platform(|event| event.init_duration = Some(Duration::from_millis(200))),
        client("fulfil", [2, 2, 1], 920, 970),
    ]));
}

#[test]
fn the_critical_path_shows_waits_for_retries_and_clock_skew_as_gaps() {
    expect![[r#"
        checkout#1 run 90
        fulfil#1 run 310
        fulfil#2 retry_wait 1200
        fulfil#2 run 100
    "#]]
    .assert_eq(&path(&[
        span("checkout", [1, 1, 0], 0, 500),
        span("checkout", [1, 2, 1], 100, 101).kind(SpanKind::Producer).sent("m1", "orders"),
        span("fulfil", [2, 1, 0], 90, 400).received("m1", "orders").failed("KeyError"),
        span("fulfil", [3, 1, 0], 1600, 1700).received("m1", "orders"),
    ]));
}

#[test]
fn a_dead_letter_waits_since_the_last_try_of_its_message() {
    let dead = span("drain", [4, 1, 0], 5_000, 5_100).received("m1", "orders-dlq");
    let dead = dead.facts(|facts| facts.received[0].dead_letter_source = Some("orders".into()));
    expect![[r#"
        checkout#1 run 100
        fulfil#1 queue_wait 100
        fulfil#1 run 200
        fulfil#2 retry_wait 1200
        fulfil#2 run 100
        drain#1 queue_wait 3300
        drain#1 run 100
    "#]]
    .assert_eq(&path(&[
        span("checkout", [1, 1, 0], 0, 500),
        span("checkout", [1, 2, 1], 100, 101).kind(SpanKind::Producer).sent("m1", "orders"),
        span("fulfil", [2, 1, 0], 200, 400).received("m1", "orders").failed("KeyError"),
        span("fulfil", [3, 1, 0], 1600, 1700).received("m1", "orders").failed("KeyError"),
        dead,
    ]));
}

fn told_checkout() -> Invocation {
    let function = FunctionConfig {
        name: "checkout".into(),
        timeout: Some(Duration::from_secs(3)),
        memory_bytes: None,
        architecture: super::super::config::Architecture::Arm64,
    };
    let mut world = World::new(Config { functions: vec![function], ..Config::default() });
    world.hear(&[
        span("front", [1, 9, 0], 0, 300),
        start("checkout", "r1", 10),
        span("checkout", [1, 1, 9], 11, 200).run("r1").failed("ValidationException: bad"),
        client("checkout", [1, 2, 1], 20, 60).failed("ThrottlingException"),
        report("checkout", "r1", 210, 200).platform(|event| {
            event.init_duration = Some(Duration::from_millis(300));
            event.memory_used_bytes = Some(7);
        }),
    ]);
    world.wait(20);
    let told = world.invocations.values().find(|i| &*i.function == "checkout").unwrap();
    Invocation { id: "ID".into(), ..told.clone() }
}

#[test]
fn an_invocation_is_told_once_with_all_that_is_known() {
    expect![[r#"
        Invocation {
            id: "ID",
            function: "checkout",
            version: None,
            start: 2023-11-14T22:13:20.010000000Z,
            end: 2023-11-14T22:13:20.210000000Z,
            duration: Some(
                200ms,
            ),
            outcome: Error,
            error_kind: Some(
                Validation,
            ),
            attempt: 1,
            init: Some(
                300ms,
            ),
            cold_start: true,
            billed: Some(
                200ms,
            ),
            cost_usd: Some(
                2.86668e-6,
            ),
            memory_size_bytes: Some(
                1073741824,
            ),
            memory_used_bytes: Some(
                7,
            ),
            timeout: Some(
                3s,
            ),
            exemplar: "01010101010101010101010101010101",
            calls: [
                Call {
                    peer: "dynamodb",
                    operation: "GetItem",
                    start: 2023-11-14T22:13:20.020000000Z,
                    duration: 40ms,
                    ok: false,
                },
            ],
            throttled_by: [
                "dynamodb",
            ],
            caused_by: Some(
                CausedBy {
                    function: "front",
                    via: Unknown,
                },
            ),
            uncorrelated: 0,
            stands_for: 1,
        }
    "#]]
    .assert_debug_eq(&told_checkout());
}

#[test]
fn lists_are_filtered_and_newest_first() {
    let mut world = World::new(Config::default());
    world.hear(&[
        span("a", [1, 1, 0], 0, 100).sent("m", "orders"),
        span("a", [2, 1, 0], 10, 500).failed("KeyError"),
        span("b", [3, 1, 0], 20, 50),
    ]);
    world.wait(20);
    let list = |filter: RequestFilter| {
        let requests = world.engine.requests(&RequestFilter { limit: 10, ..filter });
        requests.iter().map(|r| format!("{}@{:.0}", r.flow, offset(r.start))).collect::<Vec<_>>()
    };
    let all = RequestFilter::default;
    assert_eq!(list(all()), ["b@20", "a@10", "a@0"]);
    assert_eq!(list(RequestFilter { function: Some("a".into()), ..all() }), ["a@10", "a@0"]);
    assert_eq!(list(RequestFilter { queue: Some("orders".into()), ..all() }), ["a@0"]);
    let error = super::super::Outcome::Error;
    assert_eq!(list(RequestFilter { outcome: Some(error), ..all() }), ["a@10"]);
    let min = Duration::from_millis(99);
    assert_eq!(list(RequestFilter { min_duration: Some(min), ..all() }), ["a@10", "a@0"]);
    assert_eq!(list(RequestFilter { start: Some(at(5)), end: Some(at(15)), ..all() }), ["a@10"]);
}

#[test]
fn a_metric_point_is_taken_once() {
    let point = |value: f64| {
        let labels = Labels::of(&[("__name__", "up")]);
        let value = MetricValue::Gauge(value);
        let point = MetricPoint { labels, time: at(0), start: None, value };
        let mut told = told("x", SignalKind::Metric(Box::new(point)));
        told.signal.identity = Some(7);
        told
    };
    let mut engine = Engine::new(Config::default());
    let applied = engine.apply(&batch(&[span("a", [1, 1, 0], 0, 1), point(1.0)]), at(0));
    assert_eq!(applied.metrics, [1]);
    assert!(engine.apply(&batch(&[point(1.0), point(2.0)]), at(0)).metrics.is_empty());
    let counts = &engine.ledger().receivers[&Receiver::OtlpHttp];
    assert_eq!((counts.applied, counts.duplicate, counts.conflict), (2, 1, 1));
}

#[test]
fn a_declared_delivery_counts_once_and_another_body_is_a_conflict() {
    let mut engine = Engine::new(Config::default());
    let mut delivery = batch(&[log("a", 0).correlation("c"), log("a", 1).correlation("c")]);
    (delivery.declared_id, delivery.body_hash, delivery.rejected, delivery.filtered) =
        (Some(1), 5, 1, 2);
    engine.apply(&delivery, at(0));
    engine.apply(&delivery, at(0));
    delivery.body_hash = 6;
    engine.apply(&delivery, at(0));
    let mut broken = Batch::new(Receiver::Json, at(0));
    broken.undecodable_bytes = Some(99);
    engine.apply(&broken, at(0));
    let counts = &engine.ledger().receivers[&Receiver::OtlpHttp];
    assert_eq!((counts.received, counts.applied, counts.duplicate), (15, 2, 5));
    assert_eq!((counts.conflict, counts.rejected, counts.filtered), (5, 1, 2));
    let undecodable = &engine.ledger().undecodable;
    assert_eq!((undecodable.batches, undecodable.bytes), (1, 99));
}

#[test]
fn a_byte_identical_body_is_a_repeat_for_a_quarter_of_an_hour() {
    let mut world = World::new(Config::default());
    let mut body = batch(&[log("a", 0)]);
    body.body_hash = 5;
    world.engine.apply(&body, at(0));
    world.wait(800).engine.apply(&body, at(0));
    world.wait(200).engine.apply(&body, at(0));
    let counts = &world.engine.ledger().receivers[&Receiver::OtlpHttp];
    assert_eq!((counts.applied, counts.duplicate), (2, 1));
}
