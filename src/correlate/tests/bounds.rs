//! What is told where a bound was met.

use super::*;

#[test]
fn that_ids_were_forgotten_early_is_told() {
    // Under one request id a final invocation of each function is remembered, up to a bound.
    let functions: Vec<String> = (0..66).map(|n| format!("f{n}")).collect();
    let told: Vec<Told> =
        functions.iter().zip(0..).map(|(f, n)| log(f, 10 * n).run("X-1")).collect();
    let kinds = |world: &World| -> Vec<&str> {
        world.engine.own_findings().iter().map(|finding| finding.kind).collect()
    };
    let mut few = World::new(Config::default());
    few.hear(&told[1..]).wait_for_the_end();
    assert_eq!(kinds(&few), [""; 0]);
    let mut many = World::new(Config::default());
    many.hear(&told).wait_for_the_end();
    assert_eq!(kinds(&many), ["forgotten_ids"]);
}

/// Each names an id of its own, and none comes again.
#[test]
fn what_is_remembered_of_ids_has_a_bound_by_memory() {
    let remembered = |memory_max_bytes: u64| {
        let mut world = World::new(Config { memory_max_bytes, ..Config::default() });
        for part in 0..6 {
            let named = |n| log("f", n).correlation(&format!("c-{n}")).run(&format!("r-{n}"));
            let told: Vec<Told> = (part * 50..(part + 1) * 50).map(named).collect();
            world.hear(&told).wait_for_the_end();
        }
        let is_told = world.engine.own_findings().iter().any(|one| one.kind == "forgotten_ids");
        (world.engine.held.retired.len(), world.engine.held.graph.weak.len(), is_told)
    };
    assert_eq!(remembered(256 << 20), (300, 300, false));
    assert_eq!(remembered(400_000), (190, 190, true));
}

#[test]
fn that_no_further_queue_is_learned_is_told() {
    let reads = |n: i64| {
        log("reader", n).run(&format!("r-{n}")).received(&format!("m-{n}"), &format!("q-{n}"))
    };
    let kinds = |n_queues: i64| -> Vec<&str> {
        let mut world = World::new(Config::default());
        world.hear(&(0..n_queues).map(reads).collect::<Vec<_>>()).wait(1);
        world.engine.own_findings().iter().map(|finding| finding.kind).collect()
    };
    let bound = i64::try_from(super::super::rules::LEARNED_MAX).unwrap();
    assert_eq!(kinds(bound - 1), [""; 0]);
    assert_eq!(kinds(bound), ["many_queues"]);
}
