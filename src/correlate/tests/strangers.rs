//! Constants in place of ids: traces, correlation ids and request ids that strangers share.

use proptest::prelude::*;

use super::*;

/// Entries of one function in one trace.
type Entry = fn(u8) -> Told;

/// Each is told to have begun the trace.
fn root(n: u8) -> Told {
    span("api", [1, n, 0], i64::from(n) * 10, i64::from(n) * 10 + 5)
}

/// Of each the span above it is lost.
fn orphan(n: u8) -> Told {
    span("api", [1, n, n + 100], i64::from(n) * 10, i64::from(n) * 10 + 5)
        .correlation(&format!("c{n}"))
}

/// Each is told by its records alone.
fn record(n: u8) -> Told {
    let name = format!("run-{n}");
    log("api", i64::from(n) * 10).run(&name).correlation(&format!("c{n}")).traced(1, n + 100)
}

#[test]
fn a_trace_that_entries_share_joins_no_strangers_however_few_they_are() {
    let entries: [Entry; 3] = [root, orphan, record];
    for entry in entries {
        for n in [2, 8, 20, 21] {
            let mut world = World::new(Config::default());
            let told: Vec<Told> = (1..=n).map(entry).collect();
            world.hear(&told).wait(20);
            assert_eq!(world.requests.len(), usize::from(n), "{}", world.shown());
        }
    }
}

#[test]
fn a_trace_still_joins_what_names_no_other_request() {
    let called = |n: u8| span("pay", [1, n, 99], 20, 40);
    for second in [called(2), called(2).correlation("c1"), log("pay", 30).run("p").traced(1, 99)] {
        let mut world = World::new(Config::default());
        world.hear(&[root(1).correlation("c1"), second]).wait(20);
        assert_eq!(world.requests.len(), 1, "{}", world.shown());
    }
}

#[test]
fn what_began_a_trace_continues_nothing_in_it() {
    let continues = |told: Told| {
        let mut world = World::new(Config::default());
        world.hear(&[root(1)]).wait_for_the_end().hear(&[told]).wait(20);
        assert_eq!(world.requests.len(), 2);
        world.requests.values().any(|request| request.continues.is_some())
    };
    assert!(continues(orphan(2)));
    assert!(!continues(root(2)));
}

/// Requests of many clients, and an invocation that speaks of all of them under one request id.
fn audited(n: u8) -> Vec<Told> {
    let of = |n: u8| {
        let (from, id) = (i64::from(n) * 10, format!("c{n}"));
        let head = span("gw", [n, 1, 0], from, from + 5).correlation(&id);
        [head, log("audit", from + 1).run("local").correlation(&id)]
    };
    (1..=n).flat_map(of).collect()
}

#[test]
fn an_invocation_that_names_many_correlation_ids_joins_none_of_them_and_is_named() {
    let mut few = World::new(Config::default());
    few.hear(&audited(16)).wait(20);
    assert_eq!(few.requests.len(), 1, "what one invocation may work for");
    let mut many = World::new(Config::default());
    many.hear(&audited(200)).wait(20);
    assert_eq!(many.requests.len(), 201);
    assert_eq!(
        many.findings(),
        ["invocation `local` of audit names 200 correlation ids and is joined by none of them"]
    );
    many.wait_for_the_end();
    assert!(many.engine.findings().is_empty() && many.engine.held.graph.medleys.is_empty());
}

/// All of the above at once.
fn crowd() -> Vec<Told> {
    let entries = (1..=6).flat_map(|n| [root(n), orphan(n + 20), record(n + 40)]);
    let called = (1..=6).map(|n| span("pay", [1, n + 60, n + 120], i64::from(n) * 15, 200));
    entries.chain(called).chain(audited(20)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn strangers_are_told_apart_in_every_order(
        told in Just(crowd()).prop_shuffle(),
        n in 1..20_usize,
    ) {
        let mut first = World::new(Config::default());
        first.hear(&crowd()).wait_for_the_end();
        let mut second = World::new(Config::default());
        for some in told.chunks(n) {
            second.hear(some).wait(1);
        }
        second.wait_for_the_end();
        prop_assert_eq!(first.shown(), second.shown());
        prop_assert_eq!(first.requests, second.requests);
        prop_assert_eq!(first.invocations, second.invocations);
    }
}

#[test]
fn a_constant_message_id_joins_nothing_and_is_named_and_others_are_unharmed() {
    let run = |function: &str, n: i64| log(function, n * 10).run(&format!("{function}-{n}"));
    let mut told: Vec<Told> =
        (0..1_001).map(|n| run("fulfil", n).received("constant", "orders")).collect();
    told.push(run("checkout", 0).sent("constant", "orders").sent("m-1", "orders"));
    told.push(run("pay", 5).received("m-1", "orders"));
    let mut world = World::new(Config::default());
    world.hear(&told).wait(20);
    assert_eq!(world.requests.len(), 1_002, "one of them has two hops");
    assert!(world.requests.values().any(|request| request.hops.len() == 2));
    let named = "quarantined_key: message id `constant` is carried by more than 1000 invocations and joins nothing";
    let findings = world.engine.findings();
    let named_by = |one: &super::super::Finding| format!("{}: {}", one.kind, one.message);
    assert_eq!(findings.iter().map(named_by).collect::<Vec<_>>(), [named]);
    world.wait_for_the_end();
    assert!(world.engine.findings().is_empty());
}

#[test]
fn causes_in_a_ring_are_one_request_and_named_and_others_are_unharmed() {
    // Each says that the other called it; a third has nothing to do with them.
    let told = [
        span("ask", [1, 1, 2], 0, 50).run("a"),
        span("answer", [1, 2, 1], 10, 40).run("b"),
        span("alone", [2, 1, 0], 0, 10).run("c"),
    ];
    let mut world = World::new(Config::default());
    world.hear(&told).wait(20);
    assert_eq!(world.requests.len(), 2, "{}", world.shown());
    let rings = |world: &World| {
        let findings = world.engine.findings().into_iter();
        findings.filter(|one| one.kind == "cause_ring").map(|one| one.message).collect::<Vec<_>>()
    };
    assert_eq!(
        rings(&world),
        [
            "invocation `a` of ask is among its own causes: where causes form a ring, the first of it is taken for the entry"
        ]
    );
    world.wait_for_the_end();
    assert_eq!(rings(&world).len(), 1, "a person may look later");
}
