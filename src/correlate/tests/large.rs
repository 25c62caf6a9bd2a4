//! Requests of thousands of hops.

use super::*;
use crate::correlate::Outcome;

const BRANCHES: u64 = 5_000;

fn branch(n: u64) -> Told {
    span("work", [1, 9, 1], 10, 20).span(|span| span.span_id = SpanId((n + 1_000).to_be_bytes()))
}

/// In a trace of its own.
fn taken_up(n: u64, message: u64) -> Told {
    let branch = branch(n).received(&format!("m{message}"), "parts");
    branch.span(|span| {
        span.trace_id = TraceId(u128::from(n + 1_000).to_be_bytes());
        span.parent_id = None;
    })
}

/// A span id for each number.
fn numbered(n: u64) -> SpanId {
    SpanId((n + 1_000).to_be_bytes())
}

#[test]
fn a_chain_of_thousands_of_calls_is_one_request() {
    let call = |n: u64| {
        span("deep", [1, 9, 1], 10, 20).span(|span| {
            span.span_id = numbered(n);
            span.parent_id = (n > 0).then(|| numbered(n - 1));
        })
    };
    let mut world = World::new(Config::default());
    world.hear(&(0..9_000).rev().map(call).collect::<Vec<_>>()).wait(20);
    let hops: Vec<usize> = world.requests.values().map(|request| request.hops.len()).collect();
    assert_eq!(hops, [9_000]);
}

#[test]
fn a_thousand_runs_of_a_constant_request_id_are_as_many_requests() {
    let run = |n: u64| {
        let from = 100 * i64::try_from(n).unwrap();
        let head = span("aa", [1, 9, 0], from, from + 50).run("constant");
        head.span(|span| span.trace_id = TraceId(u128::from(n + 1).to_be_bytes()))
    };
    let mut world = World::new(Config::default());
    for some in (0..1_000).map(run).collect::<Vec<_>>().chunks(100) {
        world.hear(some).wait(1);
    }
    world.wait_for_the_end();
    assert_eq!((world.n_finals, world.engine.held.bytes), (1_000, 0));
}

fn later(told: Told) -> Told {
    told.span(|span| (span.start, span.end) = (at(40), at(50)))
}

/// All of it is one request; repeats change nothing; what comes late and failed makes it fail.
#[track_caller]
fn check_fan_out(told: &[Told], late: Told) {
    let mut world = World::new(Config::default());
    world.hear(told).wait(20);
    let shown: Vec<(usize, Outcome)> =
        world.requests.values().map(|request| (request.hops.len(), request.outcome)).collect();
    assert_eq!(shown, [(told.len(), Outcome::Ok)]);
    world.hear(told);
    let n = u64::try_from(told.len()).unwrap();
    let ledger = &world.engine.ledger().receivers[&Receiver::OtlpHttp];
    assert_eq!((ledger.applied, ledger.duplicate), (n, n));
    world.hear(&[late]).wait(1);
    assert_eq!(world.engine.open_by_flow(), [("split".into(), 1)]);
    // A message that failed is waited for until somebody could have tried it again.
    world.wait(200);
    let shown: Vec<(usize, Outcome)> =
        world.requests.values().map(|request| (request.hops.len(), request.outcome)).collect();
    assert_eq!(shown, [(told.len() + 1, Outcome::Error)]);
}

#[test]
fn five_thousand_branches_of_one_trace_are_one_request() {
    let entry = span("split", [1, 1, 0], 0, 5);
    let told: Vec<Told> = [entry].into_iter().chain((0..BRANCHES).map(branch)).collect();
    check_fan_out(&told, later(branch(BRANCHES)).failed("boom"));
}

#[test]
fn five_thousand_branches_by_messages_are_one_request() {
    let entry = span("split", [1, 1, 0], 0, 5);
    let entry = (0..BRANCHES).fold(entry, |entry, n| entry.sent(&format!("m{n}"), "parts"));
    let branches = (0..BRANCHES).map(|n| taken_up(n, n));
    let told: Vec<Told> = [entry].into_iter().chain(branches).collect();
    check_fan_out(&told, later(taken_up(BRANCHES, 7)).failed("boom"));
}

/// The invocation of its own span, in a trace that everybody uses.
fn of_constant_trace(n: u64) -> Told {
    let from = i64::try_from(n).unwrap();
    span("constant", [1, 9, 0], from, from + 1).span(|span| span.span_id = numbered(n))
}

/// How often the cell of the constant trace was looked at, in so many ticks with a fact each.
fn n_looks(world: &mut World, facts: std::ops::Range<u64>) -> usize {
    let cell = crate::correlate::graph::Cell::Trace(trace(1));
    let mut looked = |n: u64| {
        world.hear(&[of_constant_trace(n)]).wait(1);
        !world.engine.held.cells.is_dirty(&cell)
    };
    facts.filter(|&n| looked(n)).count()
}

#[test]
fn what_a_constant_id_costs_a_tick_does_not_grow_with_what_is_held() {
    let mut world = World::new(Config::default());
    let held = |n: u64| (0..n).map(of_constant_trace).collect::<Vec<_>>();
    world.hear(&held(1_000)).wait(1);
    assert_eq!(n_looks(&mut world, 1_000..1_020), 20, "a small one at once");
    let mut world = World::new(Config::default());
    world.hear(&held(6_500)).wait(1);
    // 6,500 facts wait 2.6 s: at every third tick.
    let n_looked = n_looks(&mut world, 6_500..6_521);
    assert_eq!(n_looked, 7);
    world.wait(5);
    assert_eq!(world.engine.held.graph.nodes.len(), 6_521, "all of it is worked out");
    // What waits is no reason to be forgotten.
    world.wait(870).hear(&[of_constant_trace(6_521)]).wait(40);
    assert_eq!(world.requests.len(), 6_522);
    world.wait_for_the_end();
    assert_eq!((world.n_finals, world.engine.held.bytes), (6_522, 0));
    assert!(world.engine.held.cells.heavy.is_empty());
}

#[test]
fn what_waits_in_a_heavy_cell_when_memory_is_short_goes_with_its_invocation() {
    let mut world = World::new(Config::default());
    let n = 6_100;
    world.hear(&(0..n).map(of_constant_trace).collect::<Vec<_>>()).wait(20);
    let inside = |head: u64, id: u64| {
        let own = of_constant_trace(head).kind(SpanKind::Client);
        own.span(|span| (span.parent_id, span.span_id) = (Some(numbered(head)), numbered(id)))
    };
    // The first is worked out, so the second waits.
    world.hear(&[inside(1, n + 1)]).wait(1).hear(&[inside(2, n + 2)]);
    world.engine.set_config(Config { memory_max_bytes: 4_000, ..Config::default() });
    world.wait(1);
    let cell = crate::correlate::graph::Cell::Trace(trace(1));
    assert!(!world.engine.held.cells.is_dirty(&cell), "it did not have to wait");
    assert!(world.n_finals > 6_000, "{} are final early", world.n_finals);
    world.wait_for_the_end();
    assert_eq!(u64::try_from(world.requests.len()).unwrap(), n, "none of its own");
    let spans: Vec<u32> = world.requests.values().map(|request| request.hops[0].spans).collect();
    assert_eq!(spans.iter().filter(|n| **n == 2).count(), 2);
    assert_eq!(world.engine.held.bytes, 0);
}

#[test]
fn records_under_a_constant_id_have_an_end() {
    use crate::correlate::weight::RECORDS_MAX;
    let n = u64::try_from(RECORDS_MAX).unwrap();
    let said = |n: u64| log("aa", i64::try_from(n).unwrap()).correlation("constant");
    let mut world = World::new(Config::default());
    world.hear(&(0..n).map(said).collect::<Vec<_>>()).wait(1);
    world.hear(&(n..n + 50).map(said).collect::<Vec<_>>()).wait(5);
    assert_eq!(world.uncorrelated.values().sum::<u64>(), 50);
    let finding = format!("`constant` in aa has {RECORDS_MAX} records: further ones join nothing");
    assert!(world.findings().contains(&finding), "{:?}", world.findings());
    world.wait_for_the_end();
    assert!(world.findings().is_empty());
    assert_eq!((world.n_finals, world.engine.held.bytes), (1, 0));
}

#[test]
fn records_without_a_span_are_told_apart_in_a_trace_that_everybody_uses() {
    // A head every 10 ms, and a record within each that names the trace alone.
    let n = 2_000;
    let head = |n: u64| {
        let from = 10 * i64::try_from(n).unwrap();
        span("constant", [1, 9, 0], from, from + 5).span(|span| span.span_id = numbered(n))
    };
    let record = |n: u64| {
        let mut told = log("constant", 10 * i64::try_from(n).unwrap() + 3);
        if let SignalKind::Log(record) = &mut told.signal.kind {
            record.trace = Some(TraceContext { trace_id: trace(1), span_id: None });
        }
        told
    };
    let mut world = World::new(Config::default());
    world.hear(&(0..n).map(head).chain((0..n).map(record)).collect::<Vec<_>>()).wait(1);
    let n_logs = world.engine.held.graph.nodes.values().map(|node| node.known.n_logs);
    assert!(n_logs.into_iter().all(|n_logs| n_logs == 1));
    world.wait_for_the_end();
    assert_eq!((world.n_finals, world.engine.held.bytes), (usize::try_from(n).unwrap(), 0));
}
