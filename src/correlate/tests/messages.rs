//! Messages: batches, duplicates, dead letters.

use expect_test::expect;

use super::super::config::QueueConfig;
use super::*;

fn with_dlq() -> Config {
    let queue = QueueConfig {
        name: "orders".into(),
        dlq: Some("orders-dlq".into()),
        max_receive_count: Some(3),
        visibility_timeout: None,
        starts_request: false,
    };
    Config { queues: vec![queue], ..Config::default() }
}

fn deliveries(world: &World) -> String {
    let mut deliveries: Vec<&Delivery> = world.deliveries.values().collect();
    deliveries.sort_by_key(|delivery| (delivery.taken_up, Text::clone(&delivery.id)));
    let mut text = String::new();
    for delivery in deliveries {
        let lag = delivery.lag.map_or(-1.0, millis);
        write!(text, "{} to {} lag={lag:.0}", delivery.queue, delivery.function).unwrap();
        if delivery.duplicate {
            text.push_str(" duplicate");
        }
        if let Some(letter) = &delivery.dead_letter {
            write!(text, " dead letter of {} by {}", letter.source_queue, letter.function).unwrap();
        }
        text.push('\n');
    }
    text
}

fn poisoned() -> Vec<Told> {
    vec![
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
        span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders").count(1).failed("KeyError"),
        span("fulfil", [3, 1, 0], 30_500, 30_800)
            .received("m1", "orders")
            .count(2)
            .failed("KeyError"),
        span("drain", [4, 1, 0], 60_000, 60_100).received("m1", "orders-dlq"),
    ]
}

#[test]
fn a_dead_letter_makes_the_request_dead_lettered_and_names_who_failed() {
    let mut world = World::new(with_dlq());
    world.hear(&poisoned()).wait(20);
    expect![[r#"
        checkout: dead_lettered finished 0+60100
          checkout#1 ok 0+100
          fulfil#1 error 500+300 <- checkout#1 queue by MessageId orders wait=500 [m1] (KeyError)
          fulfil#2 dead_lettered 30500+300 <- checkout#1 queue by MessageId orders wait=30500 [m1] (KeyError)
          drain#1 ok 60000+100 <- checkout#1 queue by MessageId orders-dlq wait=60000 [m1]
    "#]]
    .assert_eq(&world.shown());
    expect![[r#"
        orders to fulfil lag=500
        orders to fulfil lag=30500
        orders-dlq to drain lag=60000 dead letter of orders by fulfil
    "#]]
    .assert_eq(&deliveries(&world));
}

#[test]
fn a_dead_letter_is_known_by_its_source_without_configuration() {
    let mut world = World::new(Config::default());
    let mut told = poisoned();
    let last = told.pop().unwrap();
    told.push(last.facts(|f| f.received[0].dead_letter_source = Some("orders".into())));
    world.hear(&told).wait(20);
    assert_eq!(world.requests.values().next().unwrap().outcome.as_str(), "dead_lettered");
}

#[test]
fn a_dead_letter_blames_a_batch_that_said_it_was_fine() {
    let mut world = World::new(with_dlq());
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
        span("checkout", [5, 1, 0], 1, 101).sent("m2", "orders"),
        span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders").received("m2", "orders"),
        span("drain", [4, 1, 0], 60_000, 60_100).received("m1", "orders-dlq"),
    ]);
    world.wait(20);
    let mut outcomes: Vec<_> = world.requests.values().map(|r| r.outcome.as_str()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["dead_lettered", "ok"]);
}

#[test]
fn one_message_of_a_batch_fails_alone() {
    let mut world = World::new(Config::default());
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders"),
        span("checkout", [5, 1, 0], 1, 101).sent("m2", "orders"),
        span("fulfil", [2, 1, 0], 500, 800)
            .run("b")
            .received("m1", "orders")
            .received("m2", "orders"),
        log("fulfil", 600).run("b").received("m1", "orders").failed("KeyError"),
    ]);
    world.wait(200);
    expect![[r#"
        checkout: error finished 0+800
          checkout#1 ok 0+100
          fulfil#1 error 500+300 <- checkout#1 queue by MessageId orders wait=500 [m1] shared (KeyError)
        checkout: ok finished 1+799
          checkout#1 ok 1+100
          fulfil#1 ok 500+300 <- checkout#1 queue by MessageId orders wait=499 [m2] shared
    "#]]
    .assert_eq(&world.shown());
}

#[test]
fn a_message_taken_up_again_after_a_success_is_a_duplicate_delivery() {
    let mut world = World::new(Config::default());
    world.hear(&[
        span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders").sent("m2", "orders"),
        span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders"),
        span("fulfil", [3, 1, 0], 900, 1000).received("m1", "orders"),
        span("fulfil", [4, 1, 0], 500, 800).received("m2", "orders").failed("KeyError"),
        span("fulfil", [5, 1, 0], 1200, 1300).received("m2", "orders"),
    ]);
    world.wait(20);
    expect![[r#"
        orders to fulfil lag=500
        orders to fulfil lag=500
        orders to fulfil lag=900 duplicate
        orders to fulfil lag=1200
    "#]]
    .assert_eq(&deliveries(&world));
}

#[test]
fn what_came_in_an_envelope_was_taken_from_the_envelopes_queue() {
    let inner = |via: Via, queue: Option<&str>| {
        let mut message = MessageRef::new("e1", via);
        message.sent = Some(at(100));
        message.queue = queue.map(Text::from);
        move |facts: &mut Facts| {
            facts.received[0].sent = Some(at(150));
            facts.received.push(message);
        }
    };
    for (via, queue) in [(Via::EventBus, None), (Via::Topic, Some("news"))] {
        let taken = span("fulfil", [2, 1, 0], 500, 800).received("m1", "orders");
        let mut world = World::new(Config::default());
        world.hear(&[taken.facts(inner(via, queue))]).wait(20);
        let hop = world.requests.values().next().unwrap().hops[0].clone();
        let wait = hop.queue_wait.map(|wait| wait.as_millis());
        assert_eq!((hop.queue.as_deref(), wait), (Some("orders"), Some(400)), "{via:?}");
    }
}

#[test]
fn a_message_id_that_everybody_uses_joins_nothing() {
    let mut world =
        World::new(Config { settle_after: Duration::from_secs(1), ..Config::default() });
    let mut told = Vec::new();
    for a in 1..=11_u8 {
        for b in 1..=100_u8 {
            let mut one = span("checkout", [1, 1, 0], 0, 100).sent("1", "orders");
            one = one.span(|span| {
                span.trace_id = TraceId([a, b, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
            });
            told.push(one);
        }
    }
    told.push(span("fulfil", [200, 1, 0], 500, 800).received("1", "orders"));
    world.hear(&told).wait(3);
    assert_eq!(world.requests.len(), 1101);
}

#[test]
fn a_message_is_counted_in_its_shard_or_the_part_of_its_group_and_others_in_none() {
    let via =
        |via: Via| move |facts: &mut Facts| facts.received.iter_mut().for_each(|m| m.via = via);
    let taken = |n: u8, id: &str, way: Via| {
        span("count", [n, 1, 0], i64::from(n), 100).received(id, "clicks").facts(via(way))
    };
    let mut world = World::new(Config::default());
    let in_group = |facts: &mut Facts| {
        facts.received.iter_mut().for_each(|m| m.group = Some(MessageRef::group_of("tenant-7")));
    };
    world.hear(&[
        span("count", [6, 1, 0], 6, 100).received("77", "clicks").facts(in_group),
        taken(1, "shardId-000000000006:4959", Via::Stream),
        taken(2, "clicks-3:1041", Via::Stream),
        taken(3, "orders-3:1041", Via::Stream),
        taken(4, "4959", Via::Stream),
        taken(5, "clicks-3:1041b", Via::Queue),
    ]);
    world.wait(20);
    let mut found: Vec<&Delivery> = world.deliveries.values().collect();
    found.sort_by_key(|delivery| delivery.taken_up);
    let partitions: Vec<Option<&str>> = found.iter().map(|d| d.partition.as_deref()).collect();
    let group = format!("group-{:02}", MessageRef::group_of("tenant-7"));
    let expected =
        [Some("shardId-000000000006"), Some("clicks-3"), None, None, None, Some(&*group)];
    assert_eq!(partitions, expected);
}

/// A queue's message with an event of a bus inside: the one tells the queue, the other who sent it.
fn wrapped(told: Told, outer: &str, inner: &str) -> Told {
    let told = told.received(outer, "work");
    told.facts(|facts| facts.received.push(MessageRef::new(inner, Via::EventBus)))
}

fn put(function: &str, n: u8, event: &str) -> Told {
    let put = MessageRef::new(event, Via::EventBus);
    span(function, [n, 1, 0], 0, 50).facts(|facts| facts.sent.push(put))
}

#[test]
fn a_message_and_what_it_holds_are_one_delivery() {
    let tries = |n: u8, from: i64| {
        wrapped(span("work", [n, 1, 0], from, from + 40), "m1", "e1").failed("boom")
    };
    let dead = wrapped(span("drain", [9, 1, 0], 90_000, 90_030), "m1", "e1");
    let dead = dead.facts(|facts| {
        facts.received[0].queue = Some("work-dlq".into());
        facts.received[0].dead_letter_source = Some("work".into());
    });
    let mut world = World::new(Config::default());
    world.hear(&[put("front", 1, "e1"), tries(2, 1_000), tries(3, 31_000), dead]).wait(20);
    expect![[r#"
        front: dead_lettered finished 0+90030
          front#1 ok 0+50
          work#1 error 1000+40 <- front#1 queue by MessageId work wait=1000 [e1,m1] (boom)
          work#2 dead_lettered 31000+40 <- front#1 queue by MessageId work wait=31000 [e1,m1] (boom)
          drain#1 ok 90000+30 <- front#1 queue by MessageId work-dlq wait=90000 [e1,m1]
    "#]]
    .assert_eq(&world.shown());
    let found = world.engine.lookup("m1");
    assert!(matches!(&found, crate::correlate::Lookup::One(_)), "{found:?}");
}

#[test]
fn of_a_batch_of_envelopes_each_is_of_its_own_request() {
    let batch =
        wrapped(wrapped(span("work", [3, 1, 0], 500, 540).run("w1"), "m1", "e1"), "m2", "e2");
    let plain = batch.received("m3", "work");
    let told = [put("one", 1, "e1"), put("two", 2, "e2"), plain, report("work", "w1", 541, 40)];
    let mut world = World::new(Config::default());
    world.hear(&told).wait(20);
    let of_batch = |request: &Request| {
        let hop = request.hops.iter().find(|hop| &*hop.function == "work").unwrap();
        (hop.message_ids.join(","), hop.cost_usd.unwrap())
    };
    let mut shown: Vec<(String, f64)> = world.requests.values().map(of_batch).collect();
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    let ids: Vec<&str> = shown.iter().map(|(ids, _)| &**ids).collect();
    assert_eq!(ids, ["e1,m1", "e2,m2"], "the third was sent by nobody who is seen");
    assert!((shown[0].1 - shown[1].1).abs() < 2e-15, "{shown:?}");
}

#[test]
fn an_event_that_carries_its_own_invocation_was_made_there() {
    let event = |at: Option<TraceContext>| {
        let mut event = MessageRef::new("e1", Via::EventBus);
        event.trace = at;
        move |facts: &mut Facts| facts.received.push(event)
    };
    let own = TraceContext { trace_id: trace(1), span_id: Some(span_id(1)) };
    check(
        &[
            span("maker", [1, 1, 0], 0, 50).run("r1"),
            log("maker", 20).run("r1").facts(event(Some(own))),
            span("eater", [2, 1, 0], 300, 350).facts(event(None)),
        ],
        &expect![[r#"
            maker: ok finished 0+350
              maker#1 ok 0+50
              eater#1 ok 300+50 <- maker#1 eventbus by MessageId ? wait=280 [e1]
        "#]],
    );
}

#[test]
fn envelopes_that_several_signals_open_in_parts_are_one_delivery() {
    let holding = |told: Told, messages: [(&str, Via); 2]| {
        let messages = messages.map(|(id, via)| MessageRef::new(id, via));
        told.facts(|facts| facts.received.extend(messages))
    };
    let handler = |id: u8| span("work", [3, id, u8::from(id > 1)], 500, 540);
    let outer = holding(handler(1).run("w1"), [("m1", Via::Queue), ("n1", Via::Topic)]);
    let inner = holding(log("work", 510).run("w1"), [("n1", Via::Topic), ("e1", Via::EventBus)]);
    let mut world = World::new(Config::default());
    world.hear(&[put("one", 1, "e1"), outer, inner, report("work", "w1", 541, 40)]).wait(20);
    let hops: Vec<(String, String)> = world
        .requests
        .values()
        .flat_map(|r| &r.hops)
        .map(|hop| (hop.function.to_string(), hop.message_ids.join(",")))
        .collect();
    assert_eq!(hops.len(), 2, "one request: {hops:?}");
    assert!(hops.contains(&("work".to_owned(), "e1,m1,n1".to_owned())), "{hops:?}");
    let cost = |hop: &super::super::Hop| hop.cost_usd.unwrap_or_default();
    let whole = world.requests.values().flat_map(|r| &r.hops).map(cost).sum::<f64>();
    let billed = 0.04 * 0.000_016_666_7 + 0.000_000_2;
    assert!((whole - billed).abs() < 1e-12, "{whole}");
}

/// Neither was taken up, so the one is no envelope of the other and their invocation's cost is its own.
#[test]
fn what_was_made_in_an_invocation_came_in_no_envelope() {
    let own = TraceContext { trace_id: trace(1), span_id: Some(span_id(1)) };
    let made = ["q1", "e1"]
        .into_iter()
        .zip([Via::Queue, Via::EventBus])
        .map(|(id, via)| MessageRef { trace: Some(own), ..MessageRef::new(id, via) });
    let told = log("maker", 20).run("r1").facts(|facts| facts.received.extend(made));
    let mut world = World::new(Config::default());
    world.hear(&[span("maker", [1, 1, 0], 0, 50).run("r1"), told, report("maker", "r1", 51, 50)]);
    world.wait(1);
    let nodes: Vec<_> = world.engine.held.graph.nodes.values().collect();
    assert!(nodes.len() == 1 && nodes[0].known.envelopes.is_empty());
    world.wait(60);
    assert_eq!(world.requests.len(), 1);
}
