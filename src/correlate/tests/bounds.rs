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

/// Fifty requests, each of ids of its own, that are final one round later.
fn fifty_that_come_and_go(world: &mut World, round: i64) {
    let named = |n: i64| {
        log("f", n)
            .correlation(&format!("c-{n}"))
            .run(&format!("r-{n}"))
            .sent(&format!("m-{n}"), "q")
    };
    let told: Vec<Told> = (round * 50..(round + 1) * 50).map(named).collect();
    world.hear(&told).wait_for_the_end();
}

#[test]
fn what_is_over_gives_way_before_what_can_be_corrected() {
    let kinds = |memory_max_bytes: u64| -> (u64, Vec<&str>) {
        let mut world = World::new(Config { memory_max_bytes, ..Config::default() });
        (0..6).for_each(|round| fifty_that_come_and_go(&mut world, round));
        let told = world.engine.own_findings();
        let early = told.iter().filter(|one| one.kind == "effective_lateness");
        assert_eq!(early.count(), 0, "nothing is final early");
        let kinds = told.iter().map(|one| one.kind).collect();
        (world.engine.bytes(), kinds)
    };
    let (plenty, told) = kinds(256 << 20);
    assert_eq!(told, [""; 0]);
    // Fifty open ones take about 200,000.
    let (bounded, told) = kinds(400_000);
    assert_eq!(told, ["forgotten_ids"]);
    assert!(bounded < 125_000 && plenty > 250_000, "{bounded} of {plenty}");
}

#[test]
fn what_is_over_keeps_an_eighth_whatever_is_open() {
    let mut world = World::new(Config::default());
    (0..3).for_each(|round| fifty_that_come_and_go(&mut world, round));
    world.engine.set_config(Config { memory_max_bytes: 200_000, ..Config::default() });
    let open: Vec<Told> = (0..100).map(|n| log("f", n).run(&format!("o-{n}"))).collect();
    world.hear(&open).wait(1);
    assert!(world.engine.is_crowded());
    let kept = world.engine.remembered_bytes();
    assert!((24_000..=25_000).contains(&kept), "{kept}");
}

#[test]
fn weight_returns_to_nothing_when_all_is_forgotten() {
    let mut world = World::new(Config::default());
    (0..2).for_each(|round| fifty_that_come_and_go(&mut world, round));
    let mut declared = batch(&[log("f", 1), start("f", "", 2)]);
    declared.declared_id = Some(7);
    world.engine.apply(&declared, at(0));
    let mut hashed = batch(&[log("f", 1)]);
    hashed.body_hash = 7;
    world.engine.apply(&hashed, at(0));
    let saved = world.engine.save().concat();
    let restored = Engine::restore(Config::default(), &saved).unwrap();
    assert_eq!(restored.bytes(), world.engine.bytes());
    assert!(world.engine.bytes() > 80_000);
    world.wait(2 * 86_400 / 24).wait(86_400);
    assert_eq!(world.engine.bytes(), 0);
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
