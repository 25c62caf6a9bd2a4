//! The entries of the fuzz targets with bytes of a seeded generator and with seeds that people wrote, so
//! that every build runs them.
//!
//! `THROUGHLINE_SEEDS` says how many seeds; bytes that failed once join the regressions.

#[path = "../dice/mod.rs"]
mod dice;
mod facts;
mod promql;
mod remote_write;

use std::fs;

use dice::Dice;

/// Seeds of an ordinary run.
const SEEDS: u64 = 150;
/// Bytes of the longest run.
const BYTES_MAX: u64 = 6_000;
/// Seeds that once failed.
const REGRESSIONS: [u64; 0] = [];
/// Queries of every form, one a line.
const QUERIES: &str = include_str!("seeds/queries.txt");
/// Queries that once failed.
const QUERY_REGRESSIONS: [&str; 0] = [];

fn bytes(seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let n = dice.draw() % BYTES_MAX;
    (0..n).map(|_| dice.draw().to_le_bytes()[0]).collect()
}

/// A few bytes of it changed, doubled, left out, or taken from another.
fn altered(of: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = of.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        let to = (at + dice.below(12)).min(bytes.len());
        match dice.below(4) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 => drop(bytes.drain(at..to)),
            2 => bytes.extend_from_within(at..to),
            _ => {
                let from = dice.below(other.len());
                let part = other[from..].iter().take(1 + dice.below(20)).copied();
                drop(bytes.splice(at..to, part));
            }
        }
    }
    bytes
}

fn n_seeds() -> u64 {
    let told = std::env::var("THROUGHLINE_SEEDS").ok().and_then(|n| n.parse().ok());
    told.unwrap_or(SEEDS)
}

#[test]
fn no_facts_break_the_engine() {
    for seed in (0..n_seeds()).chain(REGRESSIONS) {
        let trial = std::panic::catch_unwind(|| facts::run(&bytes(seed)));
        assert!(trial.is_ok(), "seed {seed} failed");
    }
}

fn ask(query: &str) {
    let trial = std::panic::catch_unwind(|| {
        promql::parse(query);
        promql::evaluate(query);
    });
    assert!(trial.is_ok(), "query {query:?} failed");
}

#[test]
fn no_query_breaks_the_language() {
    let queries: Vec<&str> = QUERIES.lines().collect();
    queries.iter().chain(&QUERY_REGRESSIONS).for_each(|query| ask(query));
    for seed in 0..20 * n_seeds() {
        let mut dice = Dice(seed);
        let [of, other] = [0; 2].map(|_| queries[dice.below(queries.len())].as_bytes());
        ask(&String::from_utf8_lossy(&altered(of, other, &mut dice)));
    }
}

#[test]
fn no_bytes_break_remote_write() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/seeds/remote_write");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the seeds")
        .map(|entry| entry.expect("a file").path())
        .collect();
    paths.sort();
    let requests: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("a seed")).collect();
    assert!(!requests.is_empty());
    requests.iter().for_each(|request| remote_write::run(request));
    for seed in 0..20 * n_seeds() {
        let mut dice = Dice(seed);
        let [of, other] = [0; 2].map(|_| dice.below(requests.len()));
        let bytes = altered(&requests[of], &requests[other], &mut dice);
        let trial = std::panic::catch_unwind(|| remote_write::run(&bytes));
        assert!(trial.is_ok(), "seed {seed} failed");
    }
}
