//! What an erasure takes, and what it leaves as it was.

use std::collections::BTreeSet;

use super::*;
use crate::correlate::fact::encode;
use crate::correlate::ledger::Counts;
use crate::correlate::{Lookup, State};

/// Two requests of one flow, each through a message and a correlation id of its own.
fn two() -> Vec<Told> {
    let one = |n: u8, correlation: &str, run: &str, message: &str| {
        vec![
            span("checkout", [n, 1, 0], 0, 100)
                .run(run)
                .route("POST", "/o")
                .correlation(correlation),
            span("checkout", [n, 2, 1], 10, 60).kind(SpanKind::Client).sent(message, "orders"),
            span("fulfil", [n + 10, 1, 0], 500, 700)
                .received(message, "orders")
                .link(n, 2, message),
        ]
    };
    [
        one(1, "correlation-ada", "run-ada", "message-ada"),
        one(2, "correlation-bob", "run-bob", "message-bob"),
    ]
    .concat()
}

fn ids(ids: &[&str]) -> BTreeSet<Text> {
    ids.iter().map(|id| Text::from(*id)).collect()
}

/// Whether the text stands anywhere in what a snapshot would hold.
fn stands(world: &World, text: &str) -> bool {
    let saved = encode(&world.engine.held);
    saved.windows(text.len()).any(|window| window == text.as_bytes())
}

fn erase(world: &mut World, keys: &[&str]) -> usize {
    world.wait(0);
    let now = world.now();
    world.engine.tick(now);
    let erased = world.engine.erase(&ids(keys), &BTreeSet::new());
    world.engine.tick(now);
    erased.requests.len()
}

/// All ids of the request that has this one.
fn ids_of_the_request(world: &World, key: &str) -> BTreeSet<Text> {
    let has_it = |request: &&Request| request.keys.iter().any(|own| *own.value == *key);
    world.requests.values().find(has_it).unwrap().ids().cloned().collect()
}

/// By each id of one of them, open or frozen: it goes without a trace, the other stays as it is.
#[test]
fn what_an_id_leads_to_goes_and_nothing_else() {
    let trace = trace(1).to_string();
    for key in ["correlation-ada", "run-ada", "message-ada", &*trace] {
        for seconds in [2, 30] {
            let mut world = World::new(Config::default());
            world.hear(&two()).wait(seconds);
            let other = world.engine.lookup("correlation-bob");
            assert!(stands(&world, "correlation-ada"), "{key} after {seconds} s");
            assert_eq!(erase(&mut world, &[key]), 1, "{key} after {seconds} s");
            for gone in ["correlation-ada", "run-ada", "message-ada", &*trace] {
                assert_eq!(world.engine.lookup(gone), Lookup::None, "{gone} by {key}");
                assert!(!stands(&world, gone), "{gone} by {key} after {seconds} s");
            }
            assert_eq!(world.engine.lookup("correlation-bob"), other);
            assert!(world.engine.ledger().receivers.values().all(Counts::is_balanced));
        }
    }
    // Several ids of one request are one request.
    let mut world = World::new(Config::default());
    world.hear(&two()).wait(30);
    assert_eq!(erase(&mut world, &["correlation-ada", "run-ada", &trace]), 1);
    assert!(!stands(&world, "correlation-ada"));
}

#[test]
fn what_was_erased_comes_back_as_late_and_makes_nothing() {
    let mut world = World::new(Config::default());
    world.hear(&two()).wait(30);
    erase(&mut world, &["correlation-ada"]);
    let applied = |world: &World| world.engine.ledger().receivers[&Receiver::OtlpHttp].applied;
    let before = applied(&world);
    world.hear(&two()[..3]).wait(30);
    assert_eq!(applied(&world), before);
    assert_eq!(world.engine.lookup("correlation-ada"), Lookup::None);
    assert!(!stands(&world, "correlation-ada"));
}

/// An open request has not been counted, and is not counted for its end.
#[test]
fn an_open_request_that_goes_counts_as_none() {
    let mut world = World::new(Config::default());
    world.hear(&two()).wait(2);
    let Lookup::One(open) = world.engine.lookup("correlation-ada") else { panic!("one request") };
    assert_eq!(open.state, State::Open);
    let now = world.now();
    world.engine.tick(now);
    let erased = world.engine.erase(&ids(&["correlation-ada"]), &BTreeSet::new());
    assert!(erased.changes.contains(&Change::RequestGone(Text::clone(&open.id))));
    assert!(!erased.changes.iter().any(|change| matches!(change, Change::RequestFinal(_))));
}

/// A batch that names the id goes with all of its requests: it is one signal.
#[test]
fn a_batch_that_names_it_goes_whole_and_one_that_does_not_stays() {
    let mut told = two();
    told.push(
        span("batch", [30, 1, 0], 900, 950).received("message-x", "q").received("message-y", "q"),
    );
    told.push(span("checkout", [1, 3, 1], 20, 60).kind(SpanKind::Client).sent("message-x", "q"));
    told.push(span("checkout", [2, 3, 1], 20, 60).kind(SpanKind::Client).sent("message-y", "q"));
    let mut world = World::new(Config::default());
    world.hear(&told).wait(30);
    assert_eq!(erase(&mut world, &["correlation-ada"]), 1);
    assert!(matches!(world.engine.lookup("correlation-bob"), Lookup::One(_)));
    assert_eq!(erase(&mut world, &["message-y"]), 1);
    assert_eq!(world.engine.lookup("correlation-bob"), Lookup::None);
    assert!(!stands(&world, "message-x") && !stands(&world, "message-y"));
}

/// A message of nobody was in a batch of a request that is final and in one of a request that is not.
#[test]
fn what_a_final_request_tells_of_a_message_that_others_have_goes() {
    let mut world = World::new(Config::default());
    let mut told = two();
    told.truncate(2);
    let batch = span("fulfil", [11, 1, 0], 500, 700).received("nobodys", "orders");
    told.push(batch.received("message-ada", "orders"));
    world.hear(&told).wait(800);
    let again = span("fulfil", [12, 1, 0], 90_000, 90_100);
    world.hear(&[again.received("nobodys", "orders")]).wait(150);
    assert_eq!(world.engine.lookup("correlation-ada"), Lookup::None);
    let gone = ids_of_the_request(&world, "correlation-ada");
    let is_told = |world: &World| {
        let point = &world.engine.held.graph.messages["nobodys"];
        point.left.iter().flat_map(|left| &left.takings).any(|taking| gone.contains(&taking.id))
    };
    assert!(is_told(&world));
    world.engine.erase(&ids(&["correlation-ada"]), &gone);
    assert!(!is_told(&world));
}

/// What a request that is final and gone left behind is found by the ids that others remember of it.
#[test]
fn what_a_final_request_left_behind_goes_by_its_ids() {
    let mut world = World::new(Config::default());
    let mut told = two();
    told.push(span("checkout", [1, 4, 1], 20, 60).kind(SpanKind::Client).sent("message-lost", "q"));
    world.hear(&told).wait_for_the_end();
    assert!(stands(&world, "correlation-ada") && stands(&world, "message-lost"));
    let gone = ids_of_the_request(&world, "correlation-ada");
    let erased = world.engine.erase(&ids(&["run-ada"]), &gone);
    assert_eq!(erased.requests.len(), 0);
    assert!(!stands(&world, "correlation-ada") && !stands(&world, "message-lost"));
    assert!(stands(&world, "correlation-bob"));
}
