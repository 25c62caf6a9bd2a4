//! Joining: what makes an invocation, and what makes a request.

use std::time::Duration;

use expect_test::expect;

use super::*;

#[test]
fn one_invocation_told_by_a_span_and_a_report_is_one_hop() {
    check(
        &[
            start("checkout", "r1", 0),
            span("checkout", [1, 1, 0], 5, 205).run("r1").route("POST", "/orders"),
            log("checkout", 100).run("r1"),
            report("checkout", "r1", 212, 210),
        ],
        &expect![[r#"
            POST /orders: ok finished 0+210
              checkout#1 ok 0+210
        "#]],
    );
}

#[test]
fn a_call_is_joined_by_its_parent_span() {
    check(
        &[
            span("payment", [1, 3, 2], 50, 90),
            span("checkout", [1, 2, 1], 40, 100).kind(SpanKind::Client),
            span("checkout", [1, 1, 0], 0, 200).route("POST", "/orders"),
        ],
        &expect![[r#"
            POST /orders: ok finished 0+200
              checkout#1 ok 0+200
              payment#1 ok 50+40 <- checkout#1 unknown by Trace
        "#]],
    );
}

#[test]
fn a_queue_hop_is_joined_by_message_id_alone() {
    check(
        &[
            span("fulfil", [2, 1, 0], 900, 1100).received("m1", "orders"),
            span("checkout", [1, 1, 0], 0, 200).sent("m1", "orders"),
        ],
        &expect![[r#"
            checkout: ok finished 0+1100
              checkout#1 ok 0+200
              fulfil#1 ok 900+200 <- checkout#1 queue by MessageId orders wait=900 [m1]
        "#]],
    );
}

#[test]
fn a_link_joins_and_carries_its_message() {
    check(
        &[
            span("checkout", [1, 1, 0], 0, 200).sent("m1", "orders"),
            span("fulfil", [2, 1, 0], 900, 1100).received("m1", "orders").link(1, 1, "m1"),
        ],
        &expect![[r#"
            checkout: ok finished 0+1100
              checkout#1 ok 0+200
              fulfil#1 ok 900+200 <- checkout#1 queue by Link orders wait=900 [m1]
        "#]],
    );
}

#[test]
fn a_correlation_id_joins_what_nothing_else_does() {
    check(
        &[
            log("notify", 500).correlation("c1"),
            log("notify", 700).correlation("c1"),
            log("checkout", 0).correlation("c1"),
            log("checkout", 100).correlation("c1"),
        ],
        &expect![[r#"
            checkout: ok finished 0+700
              checkout#1 ok 0+100
              notify#1 ok 500+200 <- checkout#1 unknown by CorrelationId
        "#]],
    );
}

#[test]
fn records_far_apart_are_invocations_of_their_own() {
    check(
        &[log("a", 0).correlation("c1"), log("a", 11_000).correlation("c1")],
        &expect![[r#"
            a: ok finished 0+11000
              a#1 ok 0+0
              a#1 ok 11000+0 <- a#1 unknown by CorrelationId
        "#]],
    );
}

#[test]
fn a_common_correlation_id_is_quarantined_and_named() {
    let mut world = World::new(Config::default());
    let told: Vec<Told> = (0..21)
        .map(|n| span("checkout", [n + 1, 1, 0], i64::from(n), 100).correlation("default"))
        .collect();
    world.hear(&told).wait(20);
    assert_eq!(world.requests.len(), 21);
    let findings = world.engine.findings();
    expect![[r#"
        [
            "quarantined_key: correlation id `default` is carried by 21 unrelated invocations and joins nothing",
        ]
    "#]]
    .assert_debug_eq(
        &findings.iter().map(|f| format!("{}: {}", f.kind, f.message)).collect::<Vec<_>>(),
    );
}

#[test]
fn twenty_entries_of_one_function_are_not_yet_too_common() {
    let mut world = World::new(Config::default());
    let told: Vec<Told> = (0..20)
        .map(|n| span("checkout", [n + 1, 1, 0], i64::from(n), 100).correlation("c1"))
        .collect();
    world.hear(&told).wait(20);
    assert_eq!(world.requests.len(), 1);
}

#[test]
fn a_lost_parent_span_still_joins_by_its_trace() {
    check(
        &[span("checkout", [1, 1, 0], 0, 200), span("payment", [1, 3, 2], 50, 90)],
        &expect![[r#"
            checkout: ok finished 0+200
              checkout#1 ok 0+200
              payment#1 ok 50+40 <- checkout#1 unknown by Trace
        "#]],
    );
}

#[test]
fn a_batch_shared_by_two_requests_splits_its_cost() {
    let mut world = World::new(Config::default());
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
        span("checkout", [2, 1, 0], 10, 110).sent("m2", "orders").sent("m3", "orders"),
        span("fulfil", [3, 1, 0], 500, 800)
            .run("r1")
            .received("m1", "orders")
            .received("m2", "orders")
            .received("m3", "orders"),
        report("fulfil", "r1", 800, 300),
    ]);
    world.wait(20);
    expect![[r#"
        checkout: ok finished 0+800
          checkout#1 ok 0+100
          fulfil#1 ok 500+300 <- checkout#1 queue by MessageId orders wait=500 [m1] shared
        checkout: ok finished 10+790
          checkout#1 ok 10+100
          fulfil#1 ok 500+300 <- checkout#1 queue by MessageId orders wait=490 [m2,m3] shared
    "#]]
    .assert_eq(&world.shown());
    let costs: Vec<f64> =
        world.requests.values().map(|request| request.cost_usd.unwrap()).collect();
    let whole: f64 = 0.3 * 0.000_016_666_7 + 0.000_000_2;
    assert!((costs.iter().sum::<f64>() - whole).abs() < 1e-15);
    let mut sorted = costs;
    sorted.sort_by(f64::total_cmp);
    assert!((sorted[0] * 2.0 - sorted[1]).abs() < 1e-14, "{sorted:?}");
}

#[test]
fn a_span_of_one_message_says_whose_its_downstream_is() {
    check(
        &[
            span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
            span("checkout", [2, 1, 0], 10, 110).sent("m2", "orders"),
            span("fulfil", [3, 1, 0], 500, 800)
                .kind(SpanKind::Consumer)
                .received("m1", "orders")
                .received("m2", "orders"),
            span("fulfil", [3, 2, 1], 510, 600).kind(SpanKind::Consumer).received("m1", "orders"),
            span("fulfil", [3, 3, 1], 610, 700).kind(SpanKind::Consumer).received("m2", "orders"),
            span("loyalty", [3, 4, 3], 620, 640),
            span("fulfil", [3, 5, 2], 520, 530).kind(SpanKind::Producer).sent("n1", "notes"),
            span("notify", [4, 1, 0], 900, 950).received("n1", "notes"),
        ],
        &expect![[r#"
            checkout: ok finished 0+950
              checkout#1 ok 0+100
              fulfil#1 ok 500+300 <- checkout#1 queue by MessageId orders wait=500 [m1] shared
              notify#1 ok 900+50 <- fulfil#1 queue by MessageId notes wait=380 [n1]
            checkout: ok finished 10+790
              checkout#1 ok 10+100
              fulfil#1 ok 500+300 <- checkout#1 queue by MessageId orders wait=490 [m2] shared
              loyalty#1 ok 620+20 <- fulfil#1 unknown by Trace
        "#]],
    );
}

#[test]
fn messages_of_a_queue_that_starts_requests_do_so() {
    let queue = super::super::config::QueueConfig {
        name: "orders".into(),
        dlq: None,
        max_receive_count: None,
        visibility_timeout: None,
        starts_request: true,
    };
    let mut world = World::new(Config { queues: vec![queue], ..Config::default() });
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders").correlation("c"),
        span("fulfil", [3, 1, 0], 500, 800).received("m1", "orders").correlation("c"),
    ]);
    world.wait(20);
    expect![[r#"
        checkout: ok finished 0+100
          checkout#1 ok 0+100
        fulfil: ok finished 500+300
          fulfil#1 ok 500+300 orders wait=500 [m1]
    "#]]
    .assert_eq(&world.shown());
}

#[test]
fn a_late_span_corrects_its_request() {
    let mut world = World::new(Config::default());
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).route("POST", "/orders"),
        span("fulfil", [2, 1, 0], 500, 800).link(1, 9, ""),
    ]);
    world.wait(20);
    assert_eq!(world.requests.len(), 1, "{}", world.shown());
    world.hear(&[span("pay", [1, 9, 1], 20, 60).failed("KeyError")]).wait(20);
    expect![[r#"
        POST /orders: error finished 0+800
          checkout#1 ok 0+100
          pay#1 error 20+40 <- checkout#1 unknown by Trace (KeyError)
          fulfil#1 ok 500+300 <- pay#1 unknown by Link
    "#]]
    .assert_eq(&world.shown());
}

#[test]
fn an_entry_that_gains_a_cause_becomes_an_alias() {
    let mut world = World::new(Config::default());
    world.hear(&[span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders")]).wait(20);
    let old = world.requests.keys().next().cloned().unwrap();
    world.hear(&[span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders")]).wait(20);
    assert_eq!(world.requests.len(), 1);
    let request = world.requests.values().next().unwrap();
    assert_eq!(request.aliases, [Text::clone(&old)]);
    let by = |key: &str| match world.engine.lookup(key) {
        super::super::Lookup::One(found) => found.id,
        other => panic!("{key}: {other:?}"),
    };
    assert_eq!(by(&old), request.id);
    assert_eq!(by("m1"), request.id);
    assert_eq!(by(&trace(2).to_string()), request.id);
}

#[test]
fn a_key_of_several_requests_gives_them_all() {
    let mut world = World::new(Config::default());
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
        span("checkout", [2, 1, 0], 10, 110).sent("m2", "orders"),
        span("fulfil", [3, 1, 0], 500, 800)
            .run("r1")
            .received("m1", "orders")
            .received("m2", "orders"),
    ]);
    world.wait(20);
    match world.engine.lookup("r1") {
        super::super::Lookup::Several(found) => assert_eq!(found.len(), 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.engine.lookup("nobody"), super::super::Lookup::None);
}

#[test]
fn a_reply_does_not_make_a_request_swallow_itself() {
    check(
        &[
            span("ask", [1, 1, 0], 0, 500).sent("question", "q").received("answer", "a"),
            span("tell", [2, 1, 0], 100, 200).sent("answer", "a").received("question", "q"),
        ],
        &expect![[r#"
            ask: ok finished 0+500
              ask#1 ok 0+500 a wait=0 [answer]
              tell#1 ok 100+100 <- ask#1 queue by MessageId q wait=100 [question]
        "#]],
    );
}

#[test]
fn the_platforms_own_span_is_a_parent_too() {
    let mut platform = start("checkout", "r1", 0).traced(1, 7);
    platform = platform.platform(|event| event.span_id = Some(span_id(8)));
    check(
        &[
            platform,
            report("checkout", "r1", 100, 100),
            span("checkout", [1, 2, 8], 5, 90).kind(SpanKind::Internal),
            span("payment", [1, 3, 8], 20, 40),
        ],
        &expect![[r#"
            checkout: ok finished 0+100
              checkout#1 ok 0+100
              payment#1 ok 20+20 <- checkout#1 unknown by Trace
        "#]],
    );
}

#[test]
fn records_without_anything_to_join_by_are_counted() {
    let mut world = World::new(Config::default());
    world.hear(&[log("a", 0), log("a", 5), log("b", 5)]).wait(20);
    assert!(world.requests.is_empty());
    let counts: Vec<String> = world.uncorrelated.iter().map(|(f, n)| format!("{f} {n}")).collect();
    assert_eq!(counts, ["a 2", "b 1"]);
    assert_eq!(world.engine.ledger().receivers[&Receiver::OtlpHttp].applied, 3);
}

#[test]
fn an_init_that_names_no_run_goes_to_the_first_one_after_it() {
    let init = event("checkout", "", PlatformStage::InitReport, 400)
        .platform(|event| event.duration = Some(Duration::from_millis(300)));
    let mut told = [
        init,
        start("checkout", "r1", 410),
        report("checkout", "r1", 510, 100),
        start("checkout", "r2", 5000),
        report("checkout", "r2", 5100, 100),
    ];
    for one in &mut told {
        one.resource.instance = Some(Text::from("environment 7"));
    }
    check(
        &told,
        &expect![[r#"
            checkout: ok finished 100+410
              checkout#1 ok 410+100 init=300
            checkout: ok finished 5000+100
              checkout#1 ok 5000+100
        "#]],
    );
}

#[test]
fn an_init_of_an_unnamed_environment_passes_by_a_run_that_was_warm() {
    let init = event("checkout", "", PlatformStage::InitReport, 400)
        .platform(|event| event.duration = Some(Duration::from_millis(300)));
    check(
        &[
            init,
            start("checkout", "warm", 410),
            report("checkout", "warm", 510, 100),
            span("checkout", [1, 1, 0], 450, 650),
        ],
        &expect![[r#"
            checkout: ok finished 100+550
              checkout#1 ok 450+200 init=300
            checkout: ok finished 410+100
              checkout#1 ok 410+100
        "#]],
    );
}

#[test]
fn an_init_of_which_only_the_begin_is_told_ends_by_the_report() {
    let report = report("checkout", "r1", 1510, 100)
        .platform(|event| event.init_duration = Some(Duration::from_millis(300)));
    check(
        &[
            event("checkout", "", PlatformStage::InitStart, 1100),
            start("checkout", "r1", 1410),
            report,
        ],
        &expect![[r#"
            checkout: ok finished 1100+410
              checkout#1 ok 1410+100 init=300
        "#]],
    );
}

#[test]
fn a_request_that_begins_to_share_a_hop_is_corrected_at_once() {
    let mut world = World::new(Config::default());
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
        span("fulfil", [3, 1, 0], 500, 800).received("m1", "orders").received("m2", "orders"),
    ]);
    world.wait(20);
    let shared = |world: &World| world.requests.values().any(|r| r.hops.iter().any(|h| h.shared));
    assert!(!shared(&world));
    world.hear(&[span("checkout", [2, 1, 0], 10, 110).sent("m2", "orders")]).wait(1);
    assert!(shared(&world), "{}", world.shown());
}

#[test]
fn a_request_is_corrected_when_another_comes_to_share_a_hop_far_below() {
    let sender = |name: &str, trace: u8, message: &str| {
        let head = span(name, [trace, 1, 0], 0, 100).run(name).sent(message, "work");
        [head, report(name, name, 101, 100)]
    };
    let taker = |trace: u8, messages: [&str; 2]| {
        let name = if trace == 7 { "middle" } else { "last" };
        let from = 1_000 * i64::from(trace);
        let head = span(name, [trace, 1, 0], from, from + 500).run(name);
        head.received(messages[0], "work").received(messages[1], "work")
    };
    let mut world = World::new(Config::default());
    world.hear(&sender("a", 1, "m-a")).hear(&sender("c", 2, "m-c"));
    world.hear(&[taker(7, ["m-b", "m-c"]).sent("m-x", "work"), taker(8, ["m-a", "m-x"])]);
    // What `c` caused is not over, so that nothing of it is frozen.
    world.hear(&[report("last", "last", 8_501, 500), start("c", "c2", 50).traced(2, 1)]).wait(30);
    let share = |world: &World| {
        let last =
            |request: &Request| request.hops.iter().find(|h| &*h.function == "last").cloned();
        world.requests.values().find(|r| &*r.flow == "a").and_then(last).unwrap().cost_usd.unwrap()
    };
    let before = share(&world);
    world.hear(&sender("b", 3, "m-b")).wait(1);
    assert!(share(&world) < before * 0.7, "a half became a third: {}", world.shown());
}

#[test]
fn a_request_with_too_many_hops_holds_the_bound_and_says_so() {
    let mut world = World::new(Config { hops_max: 3, ..Config::default() });
    let mut told = vec![span("front", [1, 1, 0], 0, 100)];
    told.extend((2..7).map(|n| span("back", [1, n, 1], i64::from(n), 50)));
    world.hear(&told).wait(20);
    assert_eq!(world.requests.values().next().unwrap().hops.len(), 3);
    assert_eq!(world.engine.findings()[0].kind, "hops_max");
    let own = &world.engine.own_findings()[0];
    assert!(own.kind == "hops_max" && own.message.starts_with("1 requests"), "{}", own.message);
    assert_eq!(world.invocations.len(), 6, "every invocation still counts for its function");
    world.wait_for_the_end();
    assert!(world.engine.held.graph.nodes.is_empty());
    let told = world.engine.own_findings();
    let saved = world.engine.save().concat();
    world.engine = Engine::restore(Config { hops_max: 3, ..Config::default() }, &saved).unwrap();
    assert_eq!(world.engine.own_findings(), told, "a restart forgets none of them");
}

/// A record that names its trace and no span, as Cloud Run's do.
fn in_trace(function: &str, time: i64) -> Told {
    let mut told = log(function, time);
    if let SignalKind::Log(record) = &mut told.signal.kind {
        record.trace = Some(TraceContext { trace_id: trace(1), span_id: None });
    }
    told
}

fn platform_in_trace(run: &str, id: u8, time: i64) -> Told {
    report("web", run, time, 100).platform(|event| {
        event.trace = Some(TraceContext { trace_id: trace(1), span_id: None });
        event.span_id = Some(span_id(id));
    })
}

#[test]
fn a_record_that_names_only_its_trace_is_of_the_platforms_invocation() {
    let mut world = World::new(Config::default());
    let other = in_trace("worker", 60);
    world.hear(&[in_trace("web", 50), other, platform_in_trace("i1", 8, 100)]).wait(20);
    let hops = || world.requests.values().flat_map(|request| &request.hops);
    let runs: Vec<_> =
        hops().map(|hop| (&*hop.function, hop.invocation_id.is_some(), hop.logs)).collect();
    assert_eq!(runs, [("web", true, 1), ("worker", false, 1)]);
}

#[test]
fn a_record_is_of_no_invocation_where_the_platform_names_several_of_its_function() {
    let mut world = World::new(Config::default());
    let runs = [platform_in_trace("i1", 8, 100), platform_in_trace("i2", 9, 2_100)];
    world.hear(&runs).hear(&[in_trace("web", 50)]).wait(20);
    let hops = world.requests.values().flat_map(|request| &request.hops);
    assert!(hops.filter(|hop| hop.invocation_id.is_some()).all(|hop| hop.logs == 0));
}
