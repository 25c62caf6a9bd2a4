//! The laws, on generated workloads: order and repeats do not matter, and the books balance.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Fewer orders than this.
const ORDERS_END: u8 = 6;

/// One order of a small shop: a call, a queue with batches and retries, a fan-out, losses.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a dice of its own")]
struct Order {
    at: i64,
    style: u8,
    is_lost: bool,
    /// Its message comes from somebody who tells nothing.
    is_foreign: bool,
    n_failures: u8,
    is_poisoned: bool,
    has_reports: bool,
    notifies: bool,
    /// Whose payment works under the caller's request id, and in which account each of them tells to be.
    shares_its_id: bool,
    account: Option<u8>,
}

fn order() -> impl Strategy<Value = Order> {
    let work = (0..5_000_i64, 0..4_u8, 0..10_u8, 0..3_u8, 0..8_u8);
    let told = (any::<[bool; 3]>(), proptest::option::of(0..3_u8), 0..4_u8);
    (work, told).prop_map(
        |(
            (at, style, lost, n_failures, poison),
            ([has_reports, notifies, shares_its_id], account, foreign),
        )| Order {
            at,
            style,
            is_lost: lost == 0,
            is_foreign: foreign == 0,
            n_failures,
            is_poisoned: poison == 0,
            has_reports,
            notifies,
            shares_its_id,
            account,
        },
    )
}

/// The request id of a caller: with some it is one that a few orders share.
fn run_of(order: &Order, n: u8) -> String {
    if order.account.is_some() { "front".to_owned() } else { format!("front-{n}") }
}

fn front(order: &Order, n: u8) -> Vec<Told> {
    let (from, run) = (order.at, run_of(order, n));
    let payment = if order.shares_its_id { run.clone() } else { format!("pay-{n}") };
    let message = format!("m{n}");
    let mut told = match order.style {
        3 => vec![
            log("checkout", from).run(&run).correlation(&format!("c{n}")),
            log("checkout", from + 80).run(&run).sent(&message, "orders"),
        ],
        _ => vec![
            span("checkout", [n, 1, 0], from, from + 100).run(&run).route("POST", "/orders"),
            span("checkout", [n, 2, 1], from + 10, from + 60).kind(SpanKind::Client),
            span("payment", [n, 3, 2], from + 20, from + 50).run(&payment),
            span("checkout", [n, 4, 1], from + 70, from + 71)
                .kind(SpanKind::Producer)
                .sent(&message, "orders"),
        ],
    };
    if order.has_reports || order.style == 3 {
        told.push(start("checkout", &run, from));
        told.push(report("checkout", &run, from + 105, 103));
        told.push(report("payment", &payment, from + 50, 30));
    }
    match order.account {
        Some(account) => {
            told.into_iter().map(|one| one.of_account(&format!("{account}"))).collect()
        }
        None => told,
    }
}

fn back(order: &Order, n: u8) -> Vec<Told> {
    let mut told = Vec::new();
    if order.notifies {
        let from = order.at + 400;
        let notify = |from: i64| log("notify", from).correlation(&format!("c{n}"));
        told.extend([notify(from), notify(from + 20)]);
        told.push(
            log("checkout", order.at + 5).run(&run_of(order, n)).correlation(&format!("c{n}")),
        );
    }
    told
}

/// Batches of the orders' messages, tried until they succeed or are dead-lettered.
fn consumers(orders: &[Order]) -> Vec<Told> {
    let mut told = Vec::new();
    let mut n_batch = 100_u8;
    for (first, chunk) in orders.chunks(2).enumerate() {
        for attempt in 1..=3_u8 {
            n_batch += 1;
            let from = 6_000 + 40_000 * i64::from(attempt) + 10 * i64::try_from(first).unwrap();
            let mut head = span("fulfil", [n_batch, 1, 0], from, from + 50)
                .kind(SpanKind::Consumer)
                .run(&format!("batch-{n_batch}"));
            let mut n_taken = 0;
            for (idx, order) in chunk.iter().enumerate() {
                let n = u8::try_from(first * 2 + idx + 1).unwrap();
                let message = format!("m{n}");
                if order.is_lost || attempt > order.n_failures.saturating_add(1) {
                    continue;
                }
                n_taken += 1;
                let failed = attempt <= order.n_failures;
                head = head.received(&message, "orders").count(u32::from(attempt));
                let mut own = span("fulfil", [n_batch, 2 + n, 1], from + 5, from + 15)
                    .kind(SpanKind::Consumer)
                    .received(&message, "orders");
                own = if order.style == 1 { own.link(n, 4, &message) } else { own };
                told.push(if failed { own.failed("KeyError") } else { own });
                if !failed {
                    let call = span("stock", [n_batch, 100 + n, 2 + n], from + 8, from + 12);
                    told.push(call);
                }
                if failed && order.is_poisoned && attempt == order.n_failures {
                    let drain = span("drain", [200 + n, 1, 0], from + 90_000, from + 90_010);
                    told.push(drain.received(&message, "orders-dlq").facts(|facts| {
                        facts.received[0].dead_letter_source = Some("orders".into());
                    }));
                }
            }
            if n_taken > 0 && attempt > 1 && chunk.iter().any(|order| order.is_foreign) {
                head = head.received(&format!("new-{n_batch}"), "orders").count(1);
            }
            if n_taken > 0 {
                told.push(head);
                told.push(report("fulfil", &format!("batch-{n_batch}"), from + 51, 50));
            }
        }
    }
    told
}

fn workload(orders: &[Order]) -> Vec<Told> {
    let mut told = consumers(orders);
    for (idx, order) in orders.iter().enumerate() {
        let n = u8::try_from(idx + 1).unwrap();
        if !order.is_foreign {
            told.extend(front(order, n));
            told.extend(back(order, n));
        }
    }
    told
}

/// Hears the signals in the given order, so many a second, and waits until all is final.
fn outcome_of(told: &[Told], sizes: &[usize]) -> World {
    let mut world = World::new(Config::default());
    let mut left = told;
    let mut sizes = sizes.iter().cycle();
    while !left.is_empty() {
        let n = sizes.next().copied().unwrap_or(1).clamp(1, left.len());
        let (now, later) = left.split_at(n);
        world.hear(now);
        if n % 2 == 0 {
            world.wait(u64::try_from(n).unwrap());
        }
        left = later;
    }
    world.wait_for_the_end();
    world
}

fn compare(a: &World, b: &World) {
    assert_eq!(a.shown(), b.shown());
    assert_eq!(a.requests, b.requests);
    let differing = |(a, b): &(&Invocation, &Invocation)| a != b;
    assert_eq!(a.invocations.values().zip(b.invocations.values()).find(differing), None);
    assert_eq!(a.invocations.len(), b.invocations.len());
    assert_eq!(a.deliveries, b.deliveries);
}

/// A workload, the same in another order, and how many signals of it are heard at once.
fn shuffled() -> impl Strategy<Value = (Vec<Told>, Vec<Told>, Vec<usize>)> {
    let told = orders().prop_map(|orders| workload(&orders));
    told.prop_filter("nobody speaks", |told| !told.is_empty()).prop_flat_map(|told| {
        let sizes = proptest::collection::vec(1..12_usize, 1..5);
        (Just(told.clone()), Just(told).prop_shuffle(), sizes)
    })
}

/// Each at a millisecond of its own: events of one request id, stage and time are one event.
fn orders() -> impl Strategy<Value = Vec<Order>> {
    let orders = proptest::collection::vec(order(), 1..usize::from(ORDERS_END));
    orders.prop_map(|mut orders| {
        for (own, order) in (0..).zip(&mut orders) {
            order.at += own - order.at % i64::from(ORDERS_END);
        }
        orders
    })
}

/// The letter of a message that nobody is known to have sent, in a batch with one whose request is final first.
#[test]
fn how_a_try_went_does_not_change_when_another_request_is_final() {
    let order = Order {
        at: 0,
        style: 0,
        is_lost: false,
        is_foreign: false,
        n_failures: 1,
        is_poisoned: false,
        has_reports: false,
        notifies: false,
        shares_its_id: false,
        account: None,
    };
    let foreign = Order { is_foreign: true, is_poisoned: true, n_failures: 2, ..order.clone() };
    let told = workload(&[foreign, order]);
    let at_once = outcome_of(&told, &[1000]);
    let (early, late): (Vec<Told>, Vec<Told>) =
        told.into_iter().partition(|told| told.signal.kind.event_time() < at(100_000));
    let mut one_by_one = World::new(Config::default());
    one_by_one.hear(&early);
    one_by_one.wait(120);
    one_by_one.hear(&late);
    one_by_one.wait_for_the_end();
    compare(&at_once, &one_by_one);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn order_and_batching_do_not_matter((told, other, sizes) in shuffled()) {
        let first = outcome_of(&told, &[1000]);
        let second = outcome_of(&other, &sizes);
        compare(&first, &second);
        prop_assert_eq!(first.n_finals, second.n_finals);
        // Everything that was measured is final, and nothing is left behind.
        prop_assert_eq!(second.engine.held.bytes, 0);
        prop_assert!(second.engine.held.graph.nodes.is_empty());
    }

    #[test]
    fn costs_of_requests_add_up_to_costs_of_invocations(orders in orders()) {
        let world = outcome_of(&workload(&orders), &[1000]);
        let requests: f64 = world.requests.values().filter_map(|r| r.cost_usd).sum();
        let invocations: f64 = world
            .invocations
            .values()
            .filter_map(|i| Some(i.billed?.as_secs_f64() * 0.000_016_666_7 + 0.000_000_2))
            .sum();
        prop_assert!((requests - invocations).abs() < 1e-12, "{requests} {invocations}");
    }

    #[test]
    fn parts_of_the_critical_path_add_up(orders in orders()) {
        let world = outcome_of(&workload(&orders), &[1000]);
        for request in world.requests.values() {
            let total: Duration = request.critical_path.iter().map(|part| part.duration).sum();
            prop_assert_eq!(total, request.duration);
        }
    }

    #[test]
    fn repeats_do_not_matter(
        (told, other, sizes) in shuffled(),
        repeated in 0..1000_usize,
    ) {
        let known = |told: &&Told| {
            told.signal.identity.is_some() || matches!(told.signal.kind, SignalKind::Span(_))
        };
        let once = outcome_of(&told, &[1000]);
        let mut twice = other.clone();
        for (idx, told) in other.iter().filter(known).enumerate() {
            let place = (idx * 7 + repeated) % twice.len();
            twice.insert(place, told.clone());
        }
        let repeated = outcome_of(&twice, &sizes);
        compare(&once, &repeated);
        let counts = &repeated.engine.ledger().receivers[&Receiver::OtlpHttp];
        prop_assert_eq!(counts.duplicate, u64::try_from(twice.len() - told.len()).unwrap());
    }

    #[test]
    fn conflicts_end_the_same_in_every_order(
        (told, other, sizes) in shuffled(),
    ) {
        let other_content = |told: &Told| told.clone().span(|span| span.failed = !span.failed);
        let conflicting: Vec<Told> = told.iter().map(other_content).collect();
        let spans = conflicting.iter().filter(|t| matches!(t.signal.kind, SignalKind::Span(_)));
        let spans: Vec<Told> = spans.cloned().collect();
        let first = outcome_of(&[told, spans.clone()].concat(), &[1000]);
        let second = outcome_of(&[spans, other].concat(), &sizes);
        compare(&first, &second);
        prop_assert_eq!((first.engine.held.bytes, second.engine.held.bytes), (0, 0));
    }

    #[test]
    fn the_books_balance(
        (told, other, sizes) in shuffled(),
        pauses in proptest::collection::vec(0..700_u64, 3),
        declared in proptest::collection::vec(0..3_u128, 8),
        full in any::<bool>(),
    ) {
        let max = if full { 3_000 } else { 1 << 20 };
        let mut world = World::new(Config { memory_max_bytes: max, ..Config::default() });
        let mut n = 0;
        let chunks = told.chunks(sizes[0]).chain(other.chunks(5));
        for (idx, chunk) in chunks.enumerate() {
            let mut delivery = batch(chunk);
            delivery.declared_id = declared.get(idx).copied().filter(|&id| id > 0);
            delivery.body_hash = declared.get(idx + 1).copied().unwrap_or(0);
            delivery.rejected = 1;
            n += u64::try_from(chunk.len()).unwrap() + 1;
            world.engine.apply(&delivery, at(0));
            if let Some(&secs) = pauses.get(idx / 4) {
                world.wait(secs);
            }
        }
        let counts = &world.engine.ledger().receivers[&Receiver::OtlpHttp];
        prop_assert!(counts.is_balanced());
        prop_assert_eq!(counts.received, n);
        world.wait_for_the_end();
        let finals: BTreeSet<_> = world.requests.values().map(|r| r.state).collect();
        prop_assert!(finals.iter().all(|state| *state == State::Final));
    }
}
