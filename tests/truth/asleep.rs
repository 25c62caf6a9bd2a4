//! Law 1 where requests sleep: what comes once they were over, put away, saved and restored makes of them what
//! it had made of them at once, and so of every sum; and they stay what they were when they are final. Law 3
//! where memory and time are short: starts change nothing, and the books balance.
//!
//! A seed gives the workload, how the clocks of its functions go, the order, what is repeated when, how long
//! nothing comes, and when the daemon starts again. `THROUGHLINE_SEEDS` says how many seeds; one that failed
//! once joins [`REGRESSIONS`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use throughline::correlate::ledger::Counts;
use throughline::correlate::{Config, Engine, Lookup, Request, State};
use throughline::series::RawSeries;
use throughline::signal::{Receiver, SignalKind};

use crate::against_oracle::dice;
use crate::laws::{Told, batch, shuffled, slots, told};
use crate::reading::{Daemon, Known, config};
use crate::seeds::seeds;

/// Seeds of an ordinary run.
const SEEDS: u64 = 30;
/// Seeds that once failed.
const REGRESSIONS: [u64; 0] = [];
/// Signals of one batch.
const BATCH_MAX: u64 = 12;
/// How long nothing comes at the most, and all in all: less than a request can be corrected.
const SILENCE_SECS_MAX: u64 = 60;
const SILENCES_SECS_MAX: u64 = 400;
/// Longer than a request can be corrected.
const FINAL_AFTER_SECS: u64 = 1_000;
/// How far clocks are off.
const SKEW_MS_MAX: u64 = 4_000;

/// The same as told by a clock that is ahead.
fn ahead(mut told: Told, by: Duration) -> Told {
    match &mut told.signal.kind {
        SignalKind::Span(span) => {
            (span.start, span.end) = (span.start.saturating_add(by), span.end.saturating_add(by));
        }
        SignalKind::Log(record) => record.time = record.time.saturating_add(by),
        SignalKind::Platform(event) => event.time = event.time.saturating_add(by),
        SignalKind::Metric(_) => {}
    }
    told
}

/// Every third workload is of functions whose clocks differ.
fn skewed(told: Vec<Told>, seed: u64) -> Vec<Told> {
    if dice(seed, 77, 3) != 0 {
        return told;
    }
    let skew = |told: &Told| {
        let name = told.resource.function.as_deref().unwrap_or_default();
        let purpose = name.bytes().fold(31, |sum, byte| sum * 7 % 65_521 + u64::from(byte));
        Duration::from_millis(dice(seed, 100_000 + purpose, SKEW_MS_MAX))
    };
    told.into_iter().map(|one| (skew(&one), one)).map(|(by, one)| ahead(one, by)).collect()
}

/// What people held up for hours is heard hours later.
fn eras(told: &[Told]) -> Vec<Vec<&Told>> {
    let soon = crate::start().saturating_add(Duration::from_hours(1));
    let (first, second) = told.iter().partition(|told| told.signal.kind.event_time() < soon);
    [first, second].into_iter().filter(|era: &Vec<&Told>| !era.is_empty()).collect()
}

/// Until the first of it happens.
fn await_era(daemon: &mut Daemon, era: &[&Told]) {
    let began = era.iter().map(|told| told.signal.kind.event_time()).min();
    let soon = crate::start().saturating_add(Duration::from_hours(1));
    while began.is_some_and(|began| began >= soon && daemon.now < began) {
        daemon.tick();
    }
}

/// All of an era at once, in the order of time.
fn hear_at_once(told: &[Told]) -> Daemon {
    let mut daemon = Daemon::new(crate::start());
    for mut era in eras(told) {
        await_era(&mut daemon, &era);
        era.sort_by_key(|told| told.signal.kind.event_time());
        daemon.apply(&batch(&era, crate::start()));
    }
    daemon
}

/// How often a daemon starts again: once in so many batches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Starts {
    Never,
    OnceIn(u64),
}

/// A few at a time, with silences and starts between.
fn hear_slowly(mut daemon: Daemon, told: &[Told], seed: u64, starts: Starts) -> Daemon {
    let mut n = 0;
    for era in eras(told) {
        await_era(&mut daemon, &era);
        let mut left = era.as_slice();
        let mut silence = SILENCES_SECS_MAX;
        while !left.is_empty() {
            n += 1;
            let size = usize::try_from(1 + dice(seed, 200_000 + n, BATCH_MAX)).expect("small");
            let (now, rest) = left.split_at(size.min(left.len()));
            daemon.apply(&batch(now, crate::start()));
            left = rest;
            if dice(seed, 300_000 + n, 4) == 0 {
                let secs = 1 + dice(seed, 400_000 + n, SILENCE_SECS_MAX).min(silence);
                silence = silence.saturating_sub(secs);
                (0..secs).for_each(|_| daemon.tick());
            }
            if let Starts::OnceIn(n_batches) = starts
                && dice(seed, 500_000 + n, n_batches) == 0
            {
                daemon.restart();
            }
        }
    }
    daemon
}

/// Every key of a request that may still be corrected leads to what was last said of it.
fn check_lookups(engine: &Engine, known: &Known, seed: u64) {
    for request in known.requests.values().filter(|request| request.state != State::Final) {
        let own = [&request.id].into_iter().chain(&request.aliases);
        for key in own.chain(request.keys.iter().map(|key| &key.value)) {
            let found: Vec<Request> = match engine.lookup(key) {
                Lookup::None => Vec::new(),
                Lookup::One(one) => vec![*one],
                Lookup::Several(several) => several,
            };
            let one = found.iter().find(|one| one.id == request.id);
            assert_eq!(one, Some(request), "seed {seed}: {key}");
        }
    }
}

/// The last value of each gauge, but of memory: that is kept of what came while it was new.
fn gauges(known: &Known) -> BTreeMap<String, String> {
    let all = crate::reading::read_back(&known.series, "throughline_.*");
    let sums: BTreeSet<String> = slots(known).into_keys().collect();
    let is_kept = |series: &&RawSeries| {
        let is_memory = series.labels.name() == "throughline_memory_used_bytes";
        !is_memory && !sums.contains(&series.labels.to_string())
    };
    let all = all.iter().filter(is_kept);
    let last = |series| Some((crate::reading::floats(series).last()?.1, series));
    let named = all.filter_map(last);
    named.map(|(value, series)| (series.labels.to_string(), value.to_string())).collect()
}

fn check_alike<T: PartialEq + std::fmt::Debug>(
    ours: &BTreeMap<String, T>,
    theirs: &BTreeMap<String, T>,
    about: &str,
) {
    let names = |all: &BTreeMap<String, T>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(ours), names(theirs), "{about}");
    for (name, mine) in ours {
        assert_eq!(Some(mine), theirs.get(name), "{about} {name}");
    }
}

/// The books, which balance.
fn books(daemon: &Daemon, seed: u64) -> Counts {
    let counts = daemon.engine.ledger().receivers[&Receiver::OtlpHttp].clone();
    assert!(counts.is_balanced(), "seed {seed}: {counts:?}");
    counts
}

/// In any order, some of them twice.
fn repeated(once: &[Told], seed: u64) -> Vec<Told> {
    let is_repeated = |(n, told): &(u64, &Told)| told.is_known() && dice(seed, 600_000 + n, 3) == 0;
    let repeats = (0..).zip(once).filter(is_repeated).map(|(_, told)| told.clone());
    shuffled(once.iter().cloned().chain(repeats).collect(), seed)
}

fn check(seed: u64) {
    let once = skewed(told(seed), seed);
    let daemon = Daemon::new(crate::start());
    let mut second = hear_slowly(daemon, &repeated(&once, seed), seed, Starts::OnceIn(6));
    let mut first = hear_at_once(&once);
    let counts = books(&second, seed);
    assert_eq!(usize::try_from(counts.applied), Ok(once.len()), "seed {seed}: {counts:?}");
    first.give_up();
    second.give_up();
    for (one, other) in first.known.requests.values().zip(second.known.requests.values()) {
        assert_eq!(one, other, "seed {seed}");
    }
    assert_eq!(first.known.requests.len(), second.known.requests.len(), "seed {seed}");
    let ours = slots(&first.known);
    check_alike(&ours, &slots(&second.known), &format!("seed {seed}"));
    check_alike(&gauges(&first.known), &gauges(&second.known), &format!("seed {seed}"));
    check_lookups(&second.engine, &second.known, seed);
    for daemon in [&mut first, &mut second] {
        daemon.restart();
        (0..FINAL_AFTER_SECS).for_each(|_| daemon.tick());
        check_alike(&ours, &slots(&daemon.known), &format!("seed {seed}, once final"));
    }
}

#[test]
fn it_does_not_matter_what_was_asleep() {
    seeds(SEEDS, &REGRESSIONS).for_each(check);
}

/// Less memory than a workload needs, and less time than its silences.
fn short(seed: u64) -> Config {
    let memory_max_bytes = (64 << 10) + dice(seed, 700_001, 512 << 10);
    let allowed_lateness = Duration::from_secs(20 + dice(seed, 700_002, 200));
    Config { memory_max_bytes, allowed_lateness, ..config() }
}

fn check_starts(seed: u64) {
    let all = repeated(&skewed(told(seed), seed), seed);
    let hear = |starts| {
        let mut daemon = Daemon::of(short(seed), crate::start());
        daemon = hear_slowly(daemon, &all, seed, starts);
        daemon.give_up();
        daemon
    };
    let (first, second) = (hear(Starts::Never), hear(Starts::OnceIn(3)));
    assert_eq!(books(&first, seed), books(&second, seed), "seed {seed}");
    assert_eq!(first.engine.digests(), second.engine.digests(), "seed {seed}");
    let about = format!("seed {seed}, short of memory");
    let shown = |known: &Known| {
        let all = known.requests.values();
        all.map(|request| (request.id.to_string(), request.clone())).collect::<BTreeMap<_, _>>()
    };
    check_alike(&shown(&first.known), &shown(&second.known), &about);
    check_alike(&slots(&first.known), &slots(&second.known), &about);
    check_alike(&gauges(&first.known), &gauges(&second.known), &about);
}

#[test]
fn starts_change_nothing_where_memory_and_time_are_short() {
    seeds(SEEDS, &[]).for_each(check_starts);
}
