//! The fuzz target's entry with bytes of a seeded generator, so that every build runs it.
//!
//! `THROUGHLINE_SEEDS` says how many seeds; bytes that failed once join [`REGRESSIONS`].

mod facts;

/// Seeds of an ordinary run.
const SEEDS: u64 = 150;
/// Bytes of the longest run.
const BYTES_MAX: u64 = 6_000;
/// Seeds that once failed.
const REGRESSIONS: [u64; 0] = [];

/// splitmix64, a byte a step.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let n = draw() % BYTES_MAX;
    (0..n).map(|_| draw().to_le_bytes()[0]).collect()
}

fn run(seed: u64) {
    let trial = std::panic::catch_unwind(|| facts::run(&bytes(seed)));
    assert!(trial.is_ok(), "seed {seed} failed");
}

#[test]
fn no_facts_break_the_engine() {
    let told = std::env::var("THROUGHLINE_SEEDS").ok().and_then(|n| n.parse().ok());
    let seeds = 0..told.unwrap_or(SEEDS);
    seeds.chain(REGRESSIONS).for_each(run);
}
