//! What comes when its request is final: tries, records and dead letters of it go on with it.

use super::*;

/// Which request each continues, by flow and start; none where it begins.
fn continued(world: &World) -> Vec<String> {
    let mut requests: Vec<&Request> = world.requests.values().collect();
    requests.sort_by_key(|request| (request.start, Text::clone(&request.id)));
    let name = |request: &Request| format!("{}@{:.0}", request.flow, offset(request.start));
    let former = |id: &Text| world.requests.get(id).map_or_else(|| "?".to_owned(), name);
    let told = requests.iter().map(|request| match &request.continues {
        Some(id) => format!("{} continues {}", name(request), former(id)),
        None => name(request),
    });
    told.collect()
}

/// `first` is final, frozen before or not, when `later` comes.
#[track_caller]
fn check_later(first: &[Told], later: &[Told], expect: &[&str]) {
    for settle in [0, 20] {
        let mut world = World::new(Config::default());
        world.hear(first).wait(settle).wait_for_the_end();
        let n = world.n_finals;
        assert_eq!(n, world.requests.len(), "final");
        world.hear(later).wait(600);
        assert_eq!(continued(&world), expect);
        let ledger = &world.engine.ledger().receivers[&Receiver::OtlpHttp];
        assert_eq!(ledger.late, 0);
    }
}

fn run(function: &str, id: &str, from: i64, status: PlatformStatus) -> Vec<Told> {
    vec![start(function, id, from), report(function, id, from + 100, 100).status(status)]
}

fn failed(function: &str, id: &str, from: i64) -> Vec<Told> {
    run(function, id, from, PlatformStatus::Failure)
}

fn good(function: &str, id: &str, from: i64) -> Vec<Told> {
    run(function, id, from, PlatformStatus::Success)
}

/// A second of the retry's own clock: its events are other events than those of the run before.
fn anew(told: Vec<Told>) -> Vec<Told> {
    let renamed = |mut told: Told| {
        told.signal.identity = told.signal.identity.map(|identity| identity.wrapping_add(1));
        told
    };
    told.into_iter().map(renamed).collect()
}

const HOUR: i64 = 3_600_000;

#[test]
fn a_retry_continues_the_run_that_failed() {
    check_later(
        &failed("checkout", "c1", 0),
        &anew(good("checkout", "c1", HOUR)),
        &["checkout@0", "checkout@3600000 continues checkout@0"],
    );
}

#[test]
fn a_run_of_another_function_or_account_continues_nothing() {
    check_later(
        &failed("checkout", "c1", 0),
        &good("payment", "c1", HOUR),
        &["checkout@0", "payment@3600000"],
    );
    let of = |account: &str, told: Vec<Told>| -> Vec<Told> {
        told.into_iter().map(|told| told.of_account(account)).collect()
    };
    check_later(
        &of("1", failed("checkout", "c1", 0)),
        &of("2", anew(good("checkout", "c1", HOUR))),
        &["checkout@0", "checkout@3600000"],
    );
}

#[test]
fn the_number_of_a_try_goes_on_however_late_it_comes() {
    let mut world = World::new(Config::default());
    // Longer than tombstones last, as long as Lambda goes on trying.
    world.hear(&failed("checkout", "c1", 0)).wait(5 * 3_600);
    world.hear(&anew(good("checkout", "c1", 5 * HOUR))).wait(20);
    assert_eq!(continued(&world), ["checkout@0", "checkout@18000000 continues checkout@0"]);
    let attempts: Vec<u32> =
        world.requests.values().flat_map(|request| &request.hops).map(|hop| hop.attempt).collect();
    assert!(attempts.contains(&2), "{attempts:?}");
}

#[test]
fn a_destination_continues_the_run_that_it_tells_of() {
    let record = |named: Option<&str>| {
        let mut record = MessageRef::new("c1", Via::Invoke);
        record.dead_letter_source = named.map(Text::from);
        let told = log("handler", HOUR + 10).run("h1");
        let told = told.facts(|facts| facts.received.push(record));
        [good("handler", "h1", HOUR), vec![told]].concat()
    };
    let continues = ["checkout@0", "handler@3600000 continues checkout@0"];
    check_later(&failed("checkout", "c1", 0), &record(Some("checkout")), &continues);
    check_later(&failed("checkout", "c1", 0), &record(None), &continues);
    check_later(
        &failed("checkout", "c1", 0),
        &record(Some("payment")),
        &["checkout@0", "handler@3600000"],
    );
}

fn taken(n: u8, from: i64, queue: &str) -> Told {
    span("fulfil", [n, 1, 0], from, from + 100).received("m1", queue)
}

fn of(function: &str, told: Told) -> Told {
    let function = Some(Text::from(function));
    Told { resource: Resource { function, ..told.resource }, ..told }
}

fn dead_letter() -> Told {
    span("drain", [9, 1, 0], HOUR, HOUR + 100).received("m1", "orders-dlq").facts(|facts| {
        facts.received[0].dead_letter_source = Some("orders".into());
    })
}

#[test]
fn a_dead_letter_continues_the_tries_of_its_message() {
    let first = span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders");
    check_later(
        &[first, taken(2, 200, "orders").failed("boom")],
        &[dead_letter()],
        &["checkout@0", "drain@3600000 continues checkout@0"],
    );
}

#[test]
fn a_message_that_was_tried_more_than_once_may_fall_whatever_was_said_of_it() {
    let nobodys = [taken(2, 0, "orders").count(1), taken(3, 60_000, "orders").count(2)];
    check_later(&nobodys, &[dead_letter()], &["fulfil@0", "drain@3600000 continues fulfil@0"]);
}

#[test]
fn another_delivery_continues_the_one_that_failed() {
    check_later(
        &[taken(2, 0, "orders").failed("boom")],
        &[taken(3, HOUR, "orders").count(2)],
        &["fulfil@0", "fulfil@3600000 continues fulfil@0"],
    );
}

#[test]
fn a_delivery_after_a_good_one_continues_it_and_is_told_as_a_repeat() {
    let sender = span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders");
    for first in [vec![taken(2, 200, "orders")], vec![sender, taken(2, 200, "orders")]] {
        let own = if first.len() > 1 { "checkout@0" } else { "fulfil@200" };
        let again = format!("fulfil@3600000 continues {own}");
        check_later(&first, &[taken(3, HOUR, "orders")], &[own, &again]);
        let other = format!("audit@3600000 continues {own}");
        check_later(&first, &[of("audit", taken(3, HOUR, "orders"))], &[own, &other]);
        for (function, n_repeats) in [("fulfil", 1), ("audit", 0)] {
            let mut world = World::new(Config::default());
            world.hear(&first).wait_for_the_end();
            world.hear(&[of(function, taken(3, HOUR, "orders"))]).wait(20);
            let repeats = world.deliveries.values().filter(|delivery| delivery.duplicate);
            assert_eq!(repeats.count(), n_repeats, "{function}");
        }
    }
    // For as long as tombstones last.
    let mut world = World::new(Config::default());
    world.hear(&[taken(2, 200, "orders")]).wait_for_the_end().wait(10_000);
    world.hear(&[taken(3, HOUR, "orders")]).wait(20);
    assert_eq!(continued(&world), ["fulfil@200", "fulfil@3600000"]);
}

#[test]
fn what_a_function_of_another_account_did_is_no_reason_for_a_repeat() {
    for (account, n_repeats) in [("1", 1), ("2", 0)] {
        let mut world = World::new(Config::default());
        world.hear(&[taken(2, 200, "orders").run("r2").of_account("1")]).wait_for_the_end();
        world.hear(&[taken(3, HOUR, "orders").run("r3").of_account(account)]).wait(20);
        let repeats = world.deliveries.values().filter(|delivery| delivery.duplicate);
        assert_eq!(repeats.count(), n_repeats, "{account}");
    }
}

#[test]
fn who_was_there_before_a_request_was_final_goes_on_with_nothing_of_it() {
    // News of it, when the other is final, changes nothing of that: nor that it is frozen meanwhile.
    for settle in [1, 20] {
        let mut world = World::new(Config::default());
        world.hear(&[taken(2, 0, "orders")]).wait(850);
        world.hear(&[of("audit", taken(3, HOUR, "orders"))]).wait(settle).wait(100);
        assert_eq!(world.n_finals, 1);
        world.hear(&[of("audit", span("audit", [3, 2, 1], HOUR, HOUR + 50))]).wait(20);
        assert_eq!(continued(&world), ["fulfil@0", "audit@3600000"]);
    }
}

#[test]
fn who_comes_between_two_final_requests_goes_on_with_the_first() {
    let mut world = World::new(Config::default());
    world.hear(&[taken(2, 0, "orders")]).wait(850);
    world.hear(&[of("audit", taken(3, HOUR, "orders"))]).wait(100);
    world.hear(&[of("bill", taken(4, 2 * HOUR, "orders"))]).wait(850);
    assert_eq!(world.n_finals, 2);
    world.hear(&[of("bill", span("bill", [4, 2, 1], 2 * HOUR, 2 * HOUR + 50))]).wait(20);
    let expect = ["fulfil@0", "audit@3600000", "bill@7200000 continues fulfil@0"];
    assert_eq!(continued(&world), expect);
}

#[test]
fn a_message_that_one_did_and_another_failed_is_waited_for_as_long_as_any_that_failed() {
    let sender = span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders");
    let failed = of("audit", taken(4, 300, "orders").failed("boom"));
    let mut world = World::new(Config::default());
    world.hear(&[sender, taken(2, 200, "orders"), failed]).wait_for_the_end().wait(4 * 3_600);
    world.hear(&[dead_letter()]).wait(20);
    let continued = continued(&world);
    assert!(continued.contains(&"drain@3600000 continues checkout@0".to_owned()), "{continued:?}");
}

#[test]
fn each_delivery_after_a_good_one_is_told_as_a_repeat() {
    let mut world = World::new(Config::default());
    world.hear(&[taken(2, 200, "orders")]).wait_for_the_end();
    for (n, n_before) in [(3, 1), (4, 2), (5, 3)] {
        let again = taken(n, i64::from(n_before) * HOUR, "orders").count(n_before + 1);
        world.hear(&[again]).wait_for_the_end();
    }
    let repeats = world.deliveries.values().filter(|delivery| delivery.duplicate);
    assert_eq!((repeats.count(), world.deliveries.len()), (3, 4));
}

fn asked() -> Told {
    let mut run = MessageRef::new("c1", Via::Invoke);
    run.sent = Some(at(20));
    let call = span("front", [1, 2, 1], 20, 40).kind(SpanKind::Client);
    call.facts(|facts| facts.sent.push(run))
}

fn front() -> Vec<Told> {
    vec![span("front", [1, 1, 0], 0, 100), asked()]
}

#[test]
fn who_was_told_the_request_id_of_a_run_caused_it() {
    let expect = expect_test::expect![[r#"
        front: ok finished 0+150
          front#1 ok 0+100
          checkout#1 ok 50+100 <- front#1 invoke by MessageId
    "#]];
    let asked_for = good("checkout", "c1", 50);
    check(&[front(), asked_for.clone()].concat(), &expect);
    // In any order, also where one of them is frozen already.
    for parts in [[front(), asked_for.clone()], [asked_for, front()]] {
        let mut world = World::new(Config::default());
        for part in &parts {
            world.hear(part).wait(20);
        }
        expect.assert_eq(&world.shown());
    }
}

#[test]
fn a_retry_of_what_was_asked_for_is_of_the_same_request() {
    let tries = [failed("checkout", "c1", 50), anew(good("checkout", "c1", 60_000))].concat();
    check(
        &[front(), tries].concat(),
        &expect_test::expect![[r#"
            front: ok finished 0+60100
              front#1 ok 0+100
              checkout#1 error 50+100 <- front#1 invoke by MessageId
              checkout#2 ok 60000+100 <- front#1 invoke by MessageId
        "#]],
    );
}

#[test]
fn what_was_asked_for_and_came_much_later_continues_who_asked() {
    check_later(
        &front(),
        &good("checkout", "c1", HOUR),
        &["front@0", "checkout@3600000 continues front@0"],
    );
}

/// The trace `[n; 16]` as who knows its lower half only has it.
fn half(n: u8) -> TraceId {
    trace(n).as_half()
}

#[test]
fn half_a_trace_id_and_the_very_span_lead_to_the_caller() {
    let sender = || span("checkout", [1, 1, 0], 0, 100);
    let other_half = |parent: u8| {
        let own = span("fulfil", [1, 7, parent], 200, 300);
        own.span(|span| span.trace_id = half(1))
    };
    let linked = || {
        let own = span("fulfil", [2, 7, 0], 200, 300).link(1, 1, "");
        own.span(|span| span.links[0].trace_id = half(1))
    };
    for (other, evidence) in [(other_half(1), "Trace"), (linked(), "Link")] {
        for parts in [[sender(), other.clone()], [other.clone(), sender()]] {
            let mut world = World::new(Config::default());
            world.hear(&parts).wait(20);
            let at_once = world.shown();
            assert!(at_once.contains(&format!("<- checkout#1 unknown by {evidence}")), "{at_once}");
            // The first is frozen when the second comes.
            let mut world = World::new(Config::default());
            world.hear(&parts[..1]).wait(20).hear(&parts[1..]).wait(20);
            assert_eq!(world.shown(), at_once);
        }
    }
    let mut world = World::new(Config::default());
    world.hear(&[sender(), other_half(3)]).wait(20);
    assert_eq!(world.requests.len(), 2, "a span that the trace does not have proves nothing");
}

#[test]
fn a_trace_is_found_by_its_own_id_and_not_by_another_that_ends_alike() {
    let other = span("stranger", [1, 7, 0], 200, 300).span(|span| span.trace_id = half(1));
    for settle in [1, 20] {
        let mut world = World::new(Config::default());
        world.hear(&[span("checkout", [1, 1, 0], 0, 100), other.clone()]).wait(settle);
        let found = |key: TraceId| match world.engine.lookup(&key.to_string()) {
            crate::correlate::Lookup::One(request) => request.flow,
            other => panic!("{other:?}"),
        };
        assert_eq!([found(trace(1)), found(half(1))], ["checkout".into(), "stranger".into()]);
    }
}
