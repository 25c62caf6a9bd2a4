//! Frozen requests: nobody can tell them from those that lie in the graph.

use proptest::prelude::*;

use super::*;
use crate::correlate::fact::{LogFact, Mark, PlatformFact, Source, SpanFact, Tellings};
use crate::correlate::pack::{Names, Pen, Reader};
use crate::correlate::{Lookup, RequestFilter};
use std::sync::Arc;

fn calls() -> Vec<Told> {
    vec![
        span("checkout", [1, 1, 0], 0, 100).run("r1").route("POST", "/orders").correlation("c1"),
        span("checkout", [1, 2, 1], 10, 60).kind(SpanKind::Client).sent("m1", "orders"),
        report("checkout", "r1", 101, 100),
        span("fulfil", [2, 1, 0], 500, 700).run("r2").received("m1", "orders").link(1, 2, "m1"),
    ]
}

fn n_frozen(world: &World) -> usize {
    world.engine.held.frozen.n_blocks()
}

#[test]
fn a_request_that_is_over_is_frozen_and_found_by_every_id() {
    let mut world = World::new(Config::default());
    world.hear(&calls()).wait(20);
    assert_eq!(n_frozen(&world), 1);
    assert!(world.engine.held.graph.nodes.is_empty() && world.engine.held.cells.runs.is_empty());
    let said = world.requests.values().next().unwrap().clone();
    let keys = said.keys.iter().map(|key| &key.value).chain(said.aliases.iter()).chain([&said.id]);
    for key in keys {
        assert_eq!(world.engine.lookup(key), Lookup::One(Box::new(said.clone())), "{key}");
    }
    for (function, n) in [("fulfil", 1), ("payment", 0)] {
        let filter =
            RequestFilter { function: Some(function.into()), limit: 9, ..Default::default() };
        assert_eq!(world.engine.requests(&filter).len(), n, "{function}");
    }
    assert_eq!(world.engine.open_by_flow(), [("POST /orders".into(), 0)]);
}

#[test]
fn what_comes_back_and_is_the_same_is_not_said_again() {
    let mut world = World::new(Config::default());
    world.hear(&calls()).wait(20).hear(&calls());
    let before = world.shown();
    assert!(matches!(world.engine.lookup("c1"), Lookup::One(_)), "shown until it is back");
    let now = world.now();
    assert_eq!(world.engine.tick(now), []);
    assert_eq!(world.shown(), before);
    assert_eq!(n_frozen(&world), 1, "frozen again at once");
    let ledger = &world.engine.ledger().receivers[&Receiver::OtlpHttp];
    assert_eq!((ledger.applied, ledger.duplicate), (4, 4));
}

#[test]
fn late_evidence_joins_what_is_frozen() {
    let mut world = World::new(Config::default());
    world.hear(&calls()[..3]).wait(20);
    world.hear(&calls()[3..]).wait(20);
    world.hear(&[span("front", [1, 9, 0], -50, 200).kind(SpanKind::Client)]).wait(20);
    let mut at_once = World::new(Config::default());
    at_once.hear(&calls()).hear(&[span("front", [1, 9, 0], -50, 200).kind(SpanKind::Client)]);
    at_once.wait(20);
    assert_eq!(world.requests, at_once.requests);
    assert_eq!(world.invocations, at_once.invocations);
    assert_eq!(world.deliveries, at_once.deliveries);
}

#[test]
fn a_repeat_that_names_nothing_of_the_frozen_first_is_a_conflict() {
    let known = |mut told: Told| {
        told.signal.identity = Some(77);
        vec![told]
    };
    let whole = known(log("checkout", 50).run("r1"));
    // Told elsewhere, or of nothing that joins it.
    let (elsewhere, alone) = (log("audit", 50).correlation("c9"), log("checkout", 50));
    for (less, of_its_own) in [(known(elsewhere), 1), (known(alone), 0)] {
        let mut at_once = World::new(Config::default());
        at_once.hear(&calls()).hear(&whole).hear(&less).wait(20);
        for [first, second] in [[&whole, &less], [&less, &whole]] {
            if of_its_own == 0 && std::ptr::eq(first, &raw const less) {
                continue;
            }
            let mut world = World::new(Config::default());
            world.hear(&calls()).hear(first).wait(20);
            assert!(world.engine.held.graph.nodes.is_empty(), "all is frozen");
            world.hear(second).wait(20);
            assert_eq!(world.requests, at_once.requests);
            let ledger = &world.engine.ledger().receivers[&Receiver::OtlpHttp];
            assert_eq!((ledger.applied, ledger.conflict), (5, 1));
        }
        // Also after a restart.
        let mut world = World::new(Config::default());
        world.hear(&calls()).hear(&whole).wait(20);
        let saved = world.engine.save().concat();
        world.engine = Engine::restore(Config::default(), &saved).unwrap();
        world.hear(&less).wait(20);
        assert_eq!(world.requests, at_once.requests);
        assert!(world.uncorrelated.is_empty());
    }
}

#[test]
fn a_frozen_request_is_final_without_coming_back() {
    let mut world = World::new(Config::default());
    world.hear(&calls()).wait(20);
    assert_eq!(n_frozen(&world), 1);
    let lateness = Config::default().allowed_lateness;
    world.engine.held.age = world.engine.held.age.saturating_add(lateness);
    let mut changes = Vec::new();
    assert!(world.engine.seal_due(1, &|_| true, &mut changes));
    assert!(world.engine.held.cells.dirty.is_empty(), "nothing came back");
    let is_last = |change: &Change| {
        matches!(
            change,
            Change::RequestFinal(_) | Change::InvocationFinal(_) | Change::DeliveryFinal(_)
        )
    };
    assert_eq!((changes.len(), changes.iter().all(is_last)), (4, true), "{changes:?}");
    world.hear(&calls());
    assert_eq!(world.engine.ledger().receivers[&Receiver::OtlpHttp].late, 4);
}

#[test]
fn what_a_frozen_request_sent_waited_since_then_when_it_is_taken_up_later() {
    let sent = |n: u8, message: &str| {
        span("checkout", [n, 1, 0], 0, 100).sent(message, "orders").run(message)
    };
    let taken = |n: u8, message: &str| {
        let mut told = span("fulfil", [n, 1, 0], 1_300_000, 1_300_100);
        told = told.facts(|facts| facts.received.push(MessageRef::new(message, Via::Queue)));
        told
    };
    // Of `orders` a consumer is known, so the other's end is awaited and it is frozen when nobody comes.
    let first = span("fulfil", [9, 1, 0], 500, 600).received("m0", "orders");
    let mut world = World::new(Config::default());
    world.hear(&[first, sent(1, "m1")]).wait(400);
    assert_eq!(n_frozen(&world), 2);
    world.wait_for_the_end().hear(&[taken(2, "m1")]).wait(20);
    let continued = world.requests.values().find(|request| request.continues.is_some()).unwrap();
    let hop = &continued.hops[0];
    assert_eq!(hop.queue.as_deref(), Some("orders"));
    assert_eq!(hop.queue_wait, Some(Duration::from_secs(1_300)));
}

#[test]
fn a_key_leads_to_what_is_kept_and_to_what_goes_on_with_it() {
    let of = |told: &[Told]| {
        let mut world = World::new(Config::default());
        world.hear(told).wait(20);
        world.engine.lookup("m1")
    };
    let sent = of(&[span("checkout", [1, 1, 0], 0, 100).sent("m1", "orders")]);
    let taken = of(&[span("fulfil", [2, 1, 0], 500, 600).received("m1", "orders")]);
    let (Lookup::One(first), Lookup::One(second)) = (sent.clone(), taken.clone()) else {
        panic!("each is one request");
    };
    let both = Lookup::Several(vec![(*first).clone(), (*second).clone()]);
    assert_eq!(taken.clone().or_also(sent.clone(), "m1"), both);
    assert_eq!(taken.clone().or_also(taken.clone(), "m1"), taken);
    assert_eq!(taken.or_also(sent.clone(), &first.id), sent, "the request of that very id");
    assert_eq!(Lookup::None.or_also(Lookup::None, "m1"), Lookup::None);
}

/// What is remembered of final requests, in no order.
fn left_behind(world: &World) -> Vec<String> {
    let held = &world.engine.held;
    let text = format!("{:#?}{:#?}{:#?}", held.memory, held.stubs, held.retired);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn what_is_frozen_leaves_behind_what_it_would_have_left_in_the_graph() {
    let stories = || {
        let mut told = calls();
        told.extend([
            log("notify", 900).correlation("c1"),
            span("notify", [3, 1, 0], 2_000, 2_010).facts(|facts| {
                let (execution_id, state) = ("w1".into(), "Charge".into());
                facts.workflow =
                    Some(crate::signal::Workflow { execution_id, state, retry_count: None });
            }),
            span("notify", [3, 2, 1], 2_001, 2_009).sent("m9", "orders"),
        ]);
        told
    };
    let run = |is_thawed: bool| {
        let mut world = World::new(Config::default());
        world.hear(&stories()).wait(400);
        assert!(n_frozen(&world) > 0 && world.engine.held.graph.nodes.is_empty());
        if is_thawed {
            // Settings that change nothing of it: but nobody looks.
            let settings = Config { joins_max: 999, ..Config::default() };
            world.engine.set_config(settings);
        }
        world.wait_for_the_end();
        assert_eq!(n_frozen(&world), 0);
        (left_behind(&world), world.n_finals, world.requests)
    };
    let (frozen, thawed) = (run(false), run(true));
    assert_eq!(frozen, thawed);
    assert!(frozen.0.iter().any(|line| line.contains("m9")), "{:?}", frozen.0);
}

fn of_instance(mut told: Told) -> Told {
    told.resource.instance = Some(Text::from("i1"));
    told
}

/// An init of 300 ms, 10 ms before the first run.
fn init() -> Told {
    let init = event("checkout", "", PlatformStage::InitReport, -10);
    of_instance(init.platform(|event| event.duration = Some(Duration::from_millis(300))))
}

fn run(name: &str, at: i64) -> Told {
    of_instance(report("checkout", name, at + 100, 100))
}

#[test]
fn an_init_that_comes_alone_is_given_to_its_run() {
    let run = run("r1", 0);
    let mut world = World::new(Config::default());
    world.hear(std::slice::from_ref(&run)).wait(2).hear(&[init()]).wait(60);
    let cold: Vec<bool> = world.invocations.values().map(|one| one.cold_start).collect();
    assert_eq!(cold, [true]);
}

#[test]
fn a_late_init_finds_its_frozen_run() {
    let mut world = World::new(Config::default());
    world.hear(&[run("cold", 0)]).wait(20).hear(&[run("warm", 3_000)]).wait(1);
    world.hear(&[init()]).wait(20);
    let cold: Vec<&str> = world
        .invocations
        .values()
        .filter(|invocation| invocation.cold_start)
        .map(|invocation| &*invocation.function)
        .collect();
    assert_eq!(cold, ["checkout"]);
    assert!(world.shown().contains("checkout#1 ok 0+100 init=300"), "{}", world.shown());
}

#[test]
fn a_late_run_that_began_first_takes_the_init_of_a_frozen_one() {
    let mut world = World::new(Config::default());
    world.hear(&[init(), run("second", 2_000)]).wait(20);
    assert_eq!(n_frozen(&world), 1);
    let cold = |world: &World| {
        let cold = world.invocations.values().filter(|one| one.cold_start);
        cold.map(|one| offset(one.start)).collect::<Vec<_>>()
    };
    assert_eq!(cold(&world), [2_000.0]);
    world.hear(&[run("first", 0)]).wait(20);
    assert_eq!(cold(&world), [0.0]);
    assert_eq!(n_frozen(&world), 2);
}

#[test]
fn a_run_that_comes_back_keeps_its_init_whoever_named_its_function() {
    let mut told = span("shop", [1, 1, 0], 0, 100).run("r1");
    (told.resource.service, told.resource.function) = (told.resource.function.take(), None);
    let run = of_instance(told.facts(|facts| facts.function = Some(Text::from("checkout"))));
    let mut world = World::new(Config::default());
    world.hear(&[init(), run]).wait(20);
    let cold =
        |world: &World| world.invocations.values().map(|one| one.cold_start).collect::<Vec<_>>();
    assert_eq!((n_frozen(&world), cold(&world)), (1, vec![true]));
    world.hear(&[log("checkout", 50).run("r1")]).wait(20);
    assert_eq!((n_frozen(&world), cold(&world)), (1, vec![true]));
}

#[test]
fn a_snapshot_holds_what_is_frozen() {
    let mut world = World::new(Config::default());
    world.hear(&calls()).wait(20);
    let saved = world.engine.save().concat();
    world.engine = Engine::restore(Config::default(), &saved).unwrap();
    assert!(matches!(world.engine.lookup("m1"), Lookup::One(_)));
    world.wait_for_the_end();
    assert_eq!(world.n_finals, 1);
    assert_eq!(n_frozen(&world), 0);
    assert_eq!(world.engine.held.frozen.bytes, 0);
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        "[a-z]{0,9}".prop_map(Text::from),
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".prop_map(Text::from),
        "\\PC{0,40}".prop_map(Text::from),
    ]
}

fn message() -> impl Strategy<Value = MessageRef> {
    let sent = proptest::option::of(any::<u64>().prop_map(Timestamp::from_nanos));
    let queue = proptest::option::of(text());
    (text(), queue, sent, proptest::option::of(any::<u32>()), any::<bool>()).prop_map(
        |(id, queue, sent, receive_count, failed)| {
            let trace =
                sent.map(|_| TraceContext { trace_id: trace(3), span_id: Some(span_id(4)) });
            let dead_letter_source = queue.clone();
            let via = if failed { Via::Queue } else { Via::Unknown };
            let group = receive_count.and_then(|n| u8::try_from(n % 300).ok());
            MessageRef {
                queue,
                sent,
                receive_count,
                dead_letter_source,
                group,
                trace,
                failed,
                ..MessageRef::new(id, via)
            }
        },
    )
}

prop_compose! {
    fn facts()(
        ids in proptest::option::of((text(), text())),
        correlation_ids in proptest::collection::vec(text(), 0..3),
        sent in proptest::collection::vec(message(), 0..3),
        received in proptest::collection::vec(message(), 0..3),
        cold_start in proptest::option::of(any::<bool>()),
        nanos in proptest::option::of(any::<u64>()),
    ) -> Facts {
        let (a, b) = ids.clone().unzip();
        let of = |kind| ids.as_ref().map(|(_, message)| ErrorFact { kind, message: Text::clone(message) });
        let peer = |(name, operation)| crate::signal::Peer { name, operation };
        let step = |(execution_id, state)| crate::signal::Workflow {
            execution_id, state, retry_count: cold_start.map(u32::from),
        };
        Facts {
            http: cold_start.map(|_| Http { method: a.clone(), route: b.clone(), status: Some(503) }),
            error: of(ErrorKind::Throttled),
            peer: ids.clone().map(peer),
            workflow: ids.clone().map(step),
            invocation_id: a,
            function: b,
            correlation_ids,
            sent,
            received,
            trigger: cold_start.map(|_| Via::Schedule),
            cold_start,
            stands_for: nanos.and_then(|n| std::num::NonZeroU32::new(u32::try_from(n % 100_000).ok()?)),
            duration: nanos.map(Duration::from_nanos),
        }
    }
}

proptest! {
    #[test]
    fn facts_are_read_as_they_were_written(
        facts in facts(),
        times in any::<[u64; 3]>(),
        identity in proptest::option::of(any::<u128>()),
        hash in any::<u64>(),
    ) {
        let [first, a, b] = times.map(Timestamp::from_nanos);
        let (start, end) = (a.min(b), a.max(b));
        let mut mark = Mark { identity: identity.map(Into::into), hash, age: Duration::from_secs(7), bytes: 0 };
        let source = Arc::new(Source::default());
        let log = LogRecord {
            time: start,
            severity: identity.map(|_| crate::signal::Severity::Warn),
            trace: Some(TraceContext { trace_id: trace(1), span_id: None }),
            body: Text::default(),
            facts: facts.clone(),
            attributes: Attributes::default(),
        };
        let mut tellings = Tellings::default();
        let log = LogFact::new(&log, Arc::clone(&source), mark, &mut tellings);
        let mut event = Platform::new(end, PlatformStage::Report);
        event.invocation_id = facts.invocation_id.clone();
        event.status = identity.map(|_| PlatformStatus::Timeout);
        event.billed = facts.duration;
        event.memory_used_bytes = Some(hash);
        event.span_id = Some(span_id(9));
        let event = PlatformFact::new(&event, Arc::clone(&source), mark);
        mark.identity = None;
        let Told { signal, .. } = span("f", [1, 2, 3], 0, 1);
        let SignalKind::Span(mut span) = signal.kind else { unreachable!("a span was made") };
        (span.start, span.end, span.facts, span.failed) = (start, end, facts, hash > 9);
        span.links.push(SpanLink { trace_id: trace(5), span_id: span_id(5), message_id: None });
        let span = SpanFact::new(&span, Arc::clone(&source), mark, &mut tellings);

        let mut names = Names::default();
        let mut pen = Pen::new(&mut names, first, Duration::from_secs(8));
        span.write(&mut pen);
        log.write(&mut pen);
        event.write(&mut pen);
        let bytes = pen.bytes;
        let mut reader = Reader::new(&bytes, &names);
        let read = SpanFact::read(&mut reader, trace(1), Arc::clone(&source));
        prop_assert_eq!(format!("{read:?}"), format!("{span:?}"));
        let read = LogFact::read(&mut reader, Arc::clone(&source));
        prop_assert_eq!(format!("{read:?}"), format!("{log:?}"));
        let read = PlatformFact::read(&mut reader, source);
        prop_assert_eq!(format!("{read:?}"), format!("{event:?}"));
    }
}
