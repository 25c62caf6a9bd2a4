//! What becomes of asynchronous invocations: destinations, and dead-letter queues of functions.

use expect_test::expect;

use super::super::request::DeadLetter;
use super::*;

/// A run of an asynchronous function under the request id `c1`.
fn run(from: i64, is_good: bool) -> Vec<Told> {
    let status = if is_good { PlatformStatus::Success } else { PlatformStatus::Failure };
    vec![start("checkout", "c1", from), report("checkout", "c1", from + 100, 100).status(status)]
}

fn record_of(id: &str, fell_from: Option<&str>) -> MessageRef {
    let mut record = MessageRef::new(id, Via::Invoke);
    record.sent = Some(at(70_000));
    record.dead_letter_source = fell_from.map(Text::from);
    record
}

/// Who is handed the record.
fn handler(run: &str, records: &[MessageRef]) -> Vec<Told> {
    let handed = |facts: &mut Facts| facts.received.extend_from_slice(records);
    vec![
        start("handler", run, 71_000),
        log("handler", 71_010).run(run).facts(handed),
        report("handler", run, 71_050, 50),
    ]
}

fn given_up() -> Vec<Told> {
    let failed = [run(0, false), run(60_000, false)].concat();
    [failed, handler("h1", &[record_of("c1", Some("checkout"))])].concat()
}

fn arrivals(world: &World) -> Vec<String> {
    let letters = world.deliveries.values().filter_map(|d| Some((d, d.dead_letter.as_ref()?)));
    let show = |(d, letter): (&Delivery, &DeadLetter)| {
        format!(
            "{:?} of {:?} by {} lag {:?}",
            letter.queue, letter.source_queue, letter.function, d.lag
        )
    };
    letters.map(show).collect()
}

#[test]
fn a_failed_invocation_and_its_handler_are_one_request() {
    let mut world = World::new(Config::default());
    world.hear(&given_up()).wait(20);
    expect![[r#"
        checkout: dead_lettered finished 0+71050
          checkout#1 error 0+100
          checkout#2 error 60000+100 <- checkout#1 unknown by MessageId
          handler#1 ok 71000+50 <- checkout#2 invoke by MessageId ? wait=1000 [c1]
    "#]]
    .assert_eq(&world.shown());
    assert_eq!(arrivals(&world), [r#""" of "" by checkout lag None"#]);
}

#[test]
fn a_record_of_success_goes_on_with_the_request() {
    let told = [run(0, true), handler("h1", &[record_of("c1", None)])].concat();
    check(
        &told,
        &expect![[r#"
        checkout: ok finished 0+71050
          checkout#1 ok 0+100
          handler#1 ok 71000+50 <- checkout#1 invoke by MessageId ? wait=1000 [c1]
    "#]],
    );
}

#[test]
fn it_does_not_matter_which_of_them_is_frozen_first() {
    let told = given_up();
    let mut at_once = World::new(Config::default());
    at_once.hear(&told).wait(600);
    let (runs, handler) = told.split_at(4);
    for parts in [[runs, handler], [handler, runs]] {
        let mut world = World::new(Config::default());
        world.hear(parts[0]).wait(300);
        assert!(world.engine.held.graph.nodes.is_empty(), "frozen");
        world.hear(parts[1]).wait(600);
        assert_eq!(world.requests, at_once.requests);
        assert_eq!(world.deliveries, at_once.deliveries);
    }
}

#[test]
fn records_that_come_together_in_a_batch_belong_each_to_its_own() {
    let other = |one: Told| one.platform(|event| event.invocation_id = Some("c2".into()));
    let mut others: Vec<Told> = run(500, false).into_iter().map(other).collect();
    others.iter_mut().for_each(|told| told.signal.identity = told.signal.identity.map(|id| id + 1));
    let queued = |id: &str| {
        let mut message = MessageRef::new(id, Via::Queue);
        message.queue = Some("failures".into());
        message
    };
    let in_queue = |id: &str| {
        let mut record = record_of(id, Some("checkout"));
        record.queue = Some("failures".into());
        record
    };
    let batch = [queued("o1"), in_queue("c1"), queued("o2"), in_queue("c2")];
    let mut world = World::new(Config::default());
    world.hear(&[run(0, false), others, handler("h1", &batch)].concat()).wait(20);
    expect![[r#"
        checkout: dead_lettered finished 0+71050
          checkout#1 error 0+100
          handler#1 ok 71000+50 <- checkout#1 invoke by MessageId failures wait=1000 [c1,o1] shared
        checkout: dead_lettered finished 500+70550
          checkout#1 error 500+100
          handler#1 ok 71000+50 <- checkout#1 invoke by MessageId failures wait=1000 [c2,o2] shared
    "#]]
    .assert_eq(&world.shown());
    let expected = r#""failures" of "" by checkout lag None"#;
    assert_eq!(arrivals(&world), [expected, expected]);
}

#[test]
fn a_dead_letter_queue_that_names_no_function_finds_it_by_the_request_id() {
    let mut message = MessageRef::new("o1", Via::Queue);
    message.queue = Some("checkout-dlq".into());
    let mut record = record_of("c1", Some(""));
    record.queue = Some("checkout-dlq".into());
    let mut world = World::new(Config::default());
    world.hear(&[run(0, false), handler("h1", &[message, record])].concat()).wait(20);
    let outcomes: Vec<&str> = world.requests.values().map(|r| r.outcome.as_str()).collect();
    assert_eq!(outcomes, ["dead_lettered"]);
    assert_eq!(arrivals(&world), [r#""checkout-dlq" of "" by checkout lag None"#]);
}

#[test]
fn a_request_id_of_several_functions_is_that_of_the_named_one() {
    let stranger = vec![start("other", "c1", 100), report("other", "c1", 150, 50)];
    let n_requests = |fell_from: Option<&str>| {
        let record = record_of("c1", fell_from);
        let mut world = World::new(Config::default());
        world.hear(&[run(0, false), stranger.clone(), handler("h1", &[record])].concat()).wait(20);
        world.requests.len()
    };
    assert_eq!((n_requests(Some("checkout")), n_requests(None)), (2, 3));
}
