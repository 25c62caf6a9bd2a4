//! One request id in several functions and accounts, and one that everybody uses.

use proptest::prelude::*;

use super::*;
use crate::correlate::Outcome;

/// A function that works under a request id, and its attempts as they were told.
fn attempts(world: &World) -> Vec<String> {
    let mut told: Vec<String> = world
        .invocations
        .values()
        .map(|one| format!("{}#{} {:.0}", one.function, one.attempt, offset(one.start)))
        .collect();
    told.sort();
    told
}

fn pair(id: &str) -> [Told; 2] {
    let aa = span("aa", [1, 1, 0], 0, 100).run(id).correlation("c1");
    [aa, span("bb", [2, 1, 0], 50, 150).run(id).correlation("c1")]
}

/// What is left when all is final, whether the facts lay in the graph or frozen.
fn when_final(id: &str, is_frozen: bool) -> World {
    let [aa, bb] = pair(id);
    // What waits for what nobody takes up is not put away.
    let bb = if is_frozen { bb } else { bb.sent("m1", "nobody") };
    let mut world = World::new(Config::default());
    world.hear(&[aa, bb]).wait(60);
    assert_eq!(world.engine.held.graph.nodes.is_empty(), is_frozen);
    world.wait_for_the_end();
    assert!(world.engine.held.cells.runs.is_empty() && world.engine.held.graph.nodes.is_empty());
    world
}

#[test]
fn functions_that_share_a_request_id_are_final_apart() {
    for is_frozen in [false, true] {
        let mut world = when_final("X-1", is_frozen);
        world.hear(&[log("cc", 5_000).run("X-1"), log("aa", 6_000).run("X-1")]).wait(60);
        assert_eq!(attempts(&world), ["aa#1 0", "aa#2 6000", "bb#1 50", "cc#1 5000"]);
    }
}

#[test]
fn what_is_late_is_late_for_each_function_of_a_request_id() {
    for is_frozen in [false, true] {
        let mut world = when_final("Y-1", is_frozen);
        world.hear(&[log("aa", 80).run("Y-1"), log("bb", 80).run("Y-1")]).wait(60);
        assert_eq!(world.engine.ledger().receivers[&Receiver::OtlpHttp].late, 2);
        assert_eq!(attempts(&world), ["aa#1 0", "bb#1 50"]);
    }
}

/// What is kept of a request is put together aside once it is final: there, too, the names of its hops hold
/// what their request id has of others that were final before.
#[test]
fn a_hop_is_named_alike_whenever_others_of_its_request_id_were_final() {
    let order = |n: u8, from: i64| {
        let payment = span("payment", [n, 2, 1], from + 10, from + 50).run("shared");
        [span("checkout", [n, 1, 0], from, from + 100), payment.of_account(&n.to_string())]
    };
    let first = || {
        let report = report("payment", "shared", 50, 40).of_account("1");
        [order(1, 0).as_slice(), &[report]].concat()
    };
    let mut at_once = World::new(Config::default());
    at_once.hear(&[first(), order(2, 60_000).to_vec()].concat()).wait_for_the_end();
    let mut apart = World::new(Config::default());
    apart.hear(&first()).wait(60).hear(&order(2, 60_000)).wait_for_the_end();
    assert_eq!(apart.requests, at_once.requests);
}

#[test]
fn accounts_that_share_a_request_id_are_told_apart_whenever_they_come() {
    let of = |account: &str, time: i64| log("aa", time).run("Z-1").of_account(account);
    let mut at_once = World::new(Config::default());
    at_once.hear(&[of("1", 0), of("2", 10)]).wait(60);
    assert_eq!(attempts(&at_once), ["aa#1 0", "aa#1 10"]);
    let mut later = World::new(Config::default());
    later.hear(&[of("1", 0)]).wait_for_the_end().hear(&[of("2", 10), of("1", 20)]).wait(60);
    assert_eq!(attempts(&later), ["aa#1 0", "aa#1 10"]);
    assert_eq!(later.engine.ledger().receivers[&Receiver::OtlpHttp].late, 1);
}

/// Two functions of one name hear of one event.
#[test]
fn what_failed_in_one_account_is_not_made_good_in_another() {
    for (account, outcome) in [("1", Outcome::Ok), ("2", Outcome::Error)] {
        let taken = |n: u8, from: i64| {
            let run = format!("r-{n}");
            span("fulfil", [n, 1, 0], from, from + 100).run(&run).received("m1", "orders")
        };
        let mut world = World::new(Config::default());
        world.hear(&[
            span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
            taken(2, 200).failed("KeyError").of_account("1"),
            taken(3, 400).of_account(account),
        ]);
        world.wait_for_the_end();
        let outcomes: Vec<Outcome> = world.requests.values().map(|r| r.outcome).collect();
        assert_eq!(outcomes, [outcome], "{account}");
    }
}

#[test]
fn an_id_stays_when_an_account_is_told_later() {
    let ids = |told: &[Told]| {
        let mut world = World::new(Config::default());
        world.hear(told).wait(60);
        world.requests.into_keys().collect::<Vec<_>>()
    };
    let untold = span("aa", [1, 1, 0], 0, 100).run("Z-1");
    let told = report("aa", "Z-1", 101, 100).of_account("1");
    assert_eq!(ids(std::slice::from_ref(&untold)), ids(&[untold, told]));
}

/// So many runs under one request id, and a stranger's beside them.
fn constant(n: u8) -> Vec<Told> {
    let run = |n: u8| span("aa", [n, 1, 0], 200 * i64::from(n), 200 * i64::from(n) + 50).run("id");
    (1..=n).map(run).chain([span("bb", [250, 1, 0], 7, 9).run("id")]).collect()
}

#[test]
fn a_request_id_of_too_many_runs_joins_none_of_them_and_is_named() {
    let mut few = World::new(Config::default());
    few.hear(&constant(64)).wait(60);
    assert_eq!(few.requests.len(), 2, "attempts of one piece of work, and a stranger");
    let mut many = World::new(Config::default());
    many.hear(&constant(65)).wait(60);
    assert_eq!((many.requests.len(), many.invocations.len()), (66, 66));
    assert!(many.invocations.values().all(|one| one.attempt == 1));
    assert_eq!(
        many.findings(),
        [
            "invocation id `id` is carried by more than 64 invocations of one function and joins none of them"
        ]
    );
    many.wait_for_the_end();
    assert!(many.engine.findings().is_empty() && many.engine.held.cells.runs.is_empty());
    assert_eq!((many.n_finals, many.engine.held.bytes), (66, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn a_constant_request_id_is_the_same_in_every_order(
        told in Just(constant(70)).prop_shuffle(),
        n in 1..40_usize,
    ) {
        let mut first = World::new(Config::default());
        first.hear(&constant(70)).wait_for_the_end();
        let mut second = World::new(Config::default());
        for some in told.chunks(n) {
            second.hear(some).wait(1);
        }
        second.wait_for_the_end();
        prop_assert_eq!(first.shown(), second.shown());
        prop_assert_eq!(first.invocations, second.invocations);
    }
}

#[test]
fn what_moves_to_another_account_wakes_what_it_joins() {
    let run = |n: u8, from: i64, account: &str| {
        span("aa", [n, 1, 0], from, from + 100).run("id").of_account(account)
    };
    // It is of the second attempt, which follows the first, until another account is known.
    let record = log("aa", 1_000).run("id").correlation("c1");
    let early = [run(1, 0, "2"), run(2, 900, "2"), record, log("bb", 2_000).correlation("c1")];
    let mut world = World::new(Config::default());
    world.hear(&early).wait(60).hear(&[run(3, 4_000, "1")]).wait(60);
    let mut at_once = World::new(Config::default());
    at_once.hear(&early).hear(&[run(3, 4_000, "1")]).wait(60);
    assert_eq!(world.requests.len(), 2, "{}", world.shown());
    assert_eq!(world.shown(), at_once.shown());
}
