//! Damage of every kind to a data directory that a daemon left: found, or without effect; and a repair goes on
//! without no more than it says.
//!
//! One directory is written, with segments and two snapshots; each run damages a copy of it. The same
//! `verify`, repair and recovery as the commands' run on it; the oracle only knows what was acknowledged.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::super::erase::recovered;
use super::super::recover;
use super::super::state::{Entry, read};
use super::super::terms::Terms;
use super::super::verify::{Loss, Repair, repair, verify};
use super::at;
use crate::clock::Clock;
use crate::config::Config;
use crate::journal::tests::simulated_disk::Dice;
use crate::journal::tests::soon;
use crate::journal::{self, Committed, Journal, Point, Priority, Snapshot, Taken};
use crate::normalize::{self, Origin, json_log};
use crate::signal::Receiver;

/// Records of a batch.
const BATCH: u64 = 10;
const BATCHES: usize = 90;
/// Behind which batches a snapshot is taken.
const SNAPSHOTS: [usize; 2] = [30, 60];
/// Runs of every build; `CORRUPTIONS` asks for more.
const RUNS: u64 = 40;

type Files = BTreeMap<String, Vec<u8>>;

pub(super) fn config(dir: &Path) -> Config {
    Config::load(None, &[format!("data_dir={}", dir.display())]).unwrap()
}

fn batch(n: usize) -> Entry {
    let record = |i: u64| {
        let padding = "%".repeat(n % 7);
        format!(
            r#"{{"timestamp":"{}","requestId":"run-{n}","function_name":"load","level":"INFO","message":"{n} {i} {padding}"}}"#,
            at(n)
        )
    };
    let body: Vec<String> = (0..BATCH).map(record).collect();
    let origin = Origin { arrived: at(n), ..Origin::default() };
    let config = normalize::Config::default();
    let read = json_log::normalize(body.join("\n").as_bytes(), &origin, &config);
    let mut batch = read.unwrap().batch;
    batch.receiver = Receiver::Json;
    batch.declared_id = Some(u128::try_from(n).unwrap() + 1);
    Entry::Batch(Box::new(batch))
}

/// Writes a log as the daemon does, its clock moved by hand, and gives the journal's files.
pub(super) fn written(dir: &Path) -> Files {
    written_with(dir, |_n, snapshot| snapshot)
}

/// The same, of which snapshots are changed: each comes with how many batches were before it.
fn written_with(dir: &Path, change: impl Fn(usize, Snapshot) -> Snapshot) -> Files {
    // Small, so that there are several segments.
    written_in_segments(dir, 1 << 14, change)
}

/// The same, in segments of so many bytes.
fn written_in_segments(
    dir: &Path,
    segment_bytes: u64,
    change: impl Fn(usize, Snapshot) -> Snapshot,
) -> Files {
    let config = config(dir);
    let (archive, _) = recover::archive(dir, &config.archive).unwrap();
    let state = recover::state(&config, archive);
    state.begin_anew(&recover::blocks(dir)).unwrap();
    let hand = Arc::new(AtomicU64::new(at(0).as_nanos()));
    let last: Arc<Mutex<Point>> = Arc::default();
    let noted = Arc::clone(&last);
    let mut nothing = journal::Back { restore: &mut |_| Ok(()), replay: &mut |_| Ok(()) };
    let size = journal::Config::new(dir.join("journal"), 8 * segment_bytes);
    let size = journal::Config { size_max_bytes: 1 << 30, ..size };
    let on_commit = move |committed: Committed<()>| *noted.lock().unwrap() = committed.point;
    let clock = Clock::by_hand(Arc::clone(&hand));
    let (journal, _) = Journal::open(size, clock, &mut nothing, on_commit).unwrap();
    let put = |entry: &Entry, second: usize| {
        hand.store(at(second).as_nanos(), Ordering::Relaxed);
        let durable = journal.append(entry.encode().unwrap(), (), Priority::Essential).unwrap();
        durable.blocking_recv().unwrap().unwrap();
        let point = *last.lock().unwrap();
        state.apply(entry, point.log_time);
        point
    };
    put(&Terms::of(&config).entry().unwrap(), 0);
    for n in 0..BATCHES {
        put(&batch(n), n);
        let point = put(&Entry::Tick, n);
        if SNAPSHOTS.contains(&n) {
            keep(&journal, change(n, state.save(point).unwrap()));
        }
    }
    journal.close();
    drop(state);
    let named = std::fs::read_dir(dir.join("journal")).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(entry.path()).unwrap())
    });
    named.filter(|(name, _)| name != "reserve").collect()
}

fn keep(journal: &Journal<()>, snapshot: Snapshot) {
    let before = journal.health().snapshots;
    journal.keep(Taken::from(snapshot));
    assert!(soon(|| journal.health().snapshots > before), "the keeper writes it");
}

/// Changes something, and says what.
fn damage(files: &mut Files, dice: &mut Dice) -> String {
    let is_telling = |name: &&String| name.ends_with(".journal") || name.ends_with(".snapshot");
    let names: Vec<String> = files.keys().filter(is_telling).cloned().collect();
    let name = &names[dice.roll(names.len())];
    let size = files[name].len();
    let at = dice.roll(size);
    let other = &names[dice.roll(names.len())];
    let stretch = |bytes: &[u8], from: usize| bytes[from..(from + 64).min(bytes.len())].to_vec();
    match dice.roll(8) {
        0 => {
            files.get_mut(name).unwrap().truncate(at);
            format!("{name} is cut at byte {at}")
        }
        1 => {
            files.get_mut(name).unwrap()[at..].iter_mut().take(64).for_each(|byte| *byte = 0);
            format!("zeros at byte {at} of {name}")
        }
        2 => {
            let (mine, theirs) = (files[name].clone(), files[other].clone());
            files.insert(name.clone(), theirs);
            files.insert(other.clone(), mine);
            format!("{name} and {other} changed places")
        }
        3 => {
            // A write that went to the wrong place.
            let from = dice.roll(files[other].len());
            let moved = stretch(&files[other], from);
            let into = files.get_mut(name).unwrap()[at..].iter_mut();
            into.zip(moved).for_each(|(byte, moved)| *byte = moved);
            format!("byte {at} of {name} holds what byte {from} of {other} does")
        }
        _ => {
            files.get_mut(name).unwrap()[at] ^= 1 << dice.roll(8);
            format!("a bit of byte {at} of {name}")
        }
    }
}

/// What became of one.
#[derive(Default)]
struct Told {
    found: u64,
    given_up: u64,
    harmless: u64,
}

fn judge(files: &Files, what: &str, told: &mut Told) {
    let whole = u64::try_from(BATCHES).unwrap() * BATCH;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir(dir.join("journal")).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.join("journal").join(name), bytes).unwrap();
    }
    let is_found =
        verify(dir).map_or(true, |checks| checks.iter().any(|check| check.problem.is_some()));
    let gone = match repair(dir, Loss::Accepted).unwrap_or_else(|error| panic!("{what}: {error}")) {
        Repair::Done(report) => report.n_lost() * BATCH,
        Repair::NotNeeded => 0,
        Repair::WouldLose(_) => panic!("{what}: the loss was accepted"),
    };
    let (state, _) = recovered(&config(dir)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let counts = read(&state.engine).ledger().receivers.get(&Receiver::Json).cloned();
    let counts = counts.unwrap_or_default();
    let there = counts.applied + counts.late;
    assert!(counts.is_balanced(), "{what}: {counts:?}");
    assert!(there <= whole && whole - there <= gone, "{what}: {there} of {whole}, {gone} told");
    assert!(gone == 0 || is_found, "{what}: a loss that verify does not find");
    told.given_up += whole - there;
    if is_found {
        told.found += 1;
    } else {
        told.harmless += 1;
    }
}

#[test]
fn damage_is_found_or_without_effect_and_a_repair_loses_no_more_than_it_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, n) = match number("CORRUPTION_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("CORRUPTIONS").unwrap_or(RUNS)),
    };
    let folder = tempfile::tempdir().unwrap();
    let files = written(folder.path());
    let count = |end: &str| files.keys().filter(|name| name.ends_with(end)).count();
    assert!(count(".journal") > 1 && count(".snapshot") == 2, "{:?}", files.keys());
    let mut told = Told::default();
    judge(&files, "nothing", &mut told);
    assert_eq!((told.found, told.given_up), (0, 0));
    for seed in first..first + n {
        let mut damaged = files.clone();
        let what = damage(&mut damaged, &mut Dice::new(seed));
        judge(&damaged, &format!("CORRUPTION_SEED={seed}: {what}"), &mut told);
    }
    let Told { found, given_up, harmless } = told;
    let obligations = u64::try_from(BATCHES).unwrap() * BATCH * n;
    println!(
        "{n} corruptions of {obligations} signals: {found} found, {given_up} signals given up and said, {harmless} without effect"
    );
    assert!(n == 1 || found > harmless);
}

#[test]
fn an_older_snapshot_of_another_version_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let other = |n: usize, mut snapshot: Snapshot| {
        let sections = snapshot.sections.iter_mut().filter(|one| one.name.starts_with("engine."));
        sections.filter(|_| n == SNAPSHOTS[0]).for_each(|one| one.name = "engine.0".to_owned());
        snapshot
    };
    // So small that the first is full before the older snapshot is taken, and is cut behind it: a replay can
    // begin with neither the first record nor that snapshot.
    written_in_segments(folder.path(), 1 << 11, other);
    let journal = folder.path().join("journal");
    let names = std::fs::read_dir(&journal).unwrap().map(|one| one.unwrap().file_name());
    let mut segments: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".journal"))
        .collect();
    segments.sort();
    assert_ne!(segments[0], "00000000000000000001.journal", "it was cut: {segments:?}");
    let checks = verify(folder.path()).unwrap();
    assert!(checks.iter().all(|check| check.problem.is_none()), "{checks:?}");
    let passed_over = checks.iter().any(|check| check.found.contains("of another version"));
    assert!(passed_over, "{checks:?}");
}
