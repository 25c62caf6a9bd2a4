//! A data directory as a daemon leaves it, and what an erasure makes of it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::clock::Clock;
use crate::correlate::RequestFilter;
use crate::journal::{Committed, Config as JournalConfig, Journal, Priority, Taken};
use crate::normalize::{self, Origin, json_log};
use crate::pipeline::verify::verify;
use crate::signal::Receiver;

/// Seconds of log: beyond lateness, so that the first requests are final.
const SECONDS: u64 = 1_000;
const START: u64 = 1_795_600_800;

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos((START + second) * 1_000_000_000)
}

fn config(dir: &Path) -> Config {
    let sets = [format!("data_dir={}", dir.display()), "archive.keep.sample=1.0".to_owned()];
    Config::load(None, &sets).unwrap()
}

/// A record of one person's request, or of another's.
fn batch(n: u64, second: u64, person: &str) -> Entry {
    let time = at(second);
    let body = format!(
        r#"{{"timestamp":"{time}","requestId":"run-{n}","function_name":"pay","correlation_id":"order-{person}-{n}x","user":"{person}","level":"ERROR","error":"no money","message":"for {person}"}}"#
    );
    let origin = Origin { arrived: time, ..Origin::default() };
    let batch = json_log::normalize(body.as_bytes(), &origin, &normalize::Config::default());
    let mut batch = batch.unwrap().batch;
    batch.receiver = Receiver::Json;
    batch.declared_id = Some(u128::from(n));
    Entry::Batch(Box::new(batch))
}

/// What a daemon would have written: requests of two people that are final, over and open, and a snapshot
/// on the way. The clock is moved by hand, or it would take as long.
fn written(dir: &Path) -> Config {
    let config = config(dir);
    let (archive, _) = recover::archive(dir, &config.archive).unwrap();
    let state = recover::state(&config, archive);
    state.begin_anew(&blocks(dir)).unwrap();
    let hand = Arc::new(std::sync::atomic::AtomicU64::new(at(0).as_nanos()));
    let clock = Clock::by_hand(Arc::clone(&hand));
    let points: Arc<Mutex<Vec<Point>>> = Arc::default();
    let noted = Arc::clone(&points);
    let mut nothing = journal::Back { restore: &mut |_| Ok(()), replay: &mut |_| Ok(()) };
    let size = JournalConfig::new(dir.join("journal"), 1 << 30);
    let on_commit = move |committed: Committed<()>| noted.lock().unwrap().push(committed.point);
    let (journal, _) = Journal::open(size, clock, &mut nothing, on_commit).unwrap();
    let put = |entry: &Entry, second: u64| {
        hand.store(at(second).as_nanos(), std::sync::atomic::Ordering::Relaxed);
        let durable = journal.append(entry.encode().unwrap(), (), Priority::Essential).unwrap();
        durable.blocking_recv().unwrap().unwrap();
        let point = *points.lock().unwrap().last().unwrap();
        state.apply(entry, point.log_time);
        point
    };
    for second in 0..SECONDS {
        for (n, person) in [(1, "ada"), (2, "bob")] {
            // Early ones are final by the end, those in the middle over, the last open.
            let n = match second {
                3 => n,
                940 => n + 10,
                999 => n + 20,
                _ => continue,
            };
            put(&batch(n, second, person), second);
        }
        let point = put(&Entry::Tick, second);
        if second == 700 {
            let snapshot = state.save(point).unwrap();
            let kept = Arc::clone(&state.archive);
            let before = Box::new(move || kept.persist().map_err(std::io::Error::other));
            journal.keep(Taken { before, ..Taken::from(snapshot) });
        }
    }
    journal.close();
    config
}

fn key(name: &str, value: &str) -> ErasureKey {
    ErasureKey { name: name.into(), value: value.into() }
}

/// What the next start would show.
fn state_of(config: &Config) -> State {
    recovered(config).unwrap().0
}

fn leads_nowhere(state: &State, id: &str) -> bool {
    let is_held = !matches!(read(&state.engine).lookup(id), Lookup::None);
    !is_held && matches!(state.archive.lookup(id).unwrap(), Lookup::None)
}

/// The text in any file, packed or not: segments and snapshots are read as what they hold.
fn stands_in(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if has(&std::fs::read(&path).unwrap()) {
                found.push(path.display().to_string());
            }
        }
    }
    let journal = dir.join("journal");
    for one in journal::inspect::inspect(&journal).unwrap().snapshots {
        let snapshot = journal::inspect::snapshot(&journal, &one.name).unwrap();
        let sections = snapshot.sections.iter().filter(|section| has(&section.bytes));
        found.extend(sections.map(|section| format!("{} of {}", section.name, one.name)));
    }
    let from = journal::inspect::begin(&journal).unwrap();
    journal::inspect::read(&journal, from, &mut |record| {
        if has(record.payload) {
            found.push(format!("record {}", record.seq));
        }
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn what_an_attribute_leads_to_is_nowhere_in_the_directory_and_the_rest_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path());
    assert!(!stands_in(folder.path(), "order-ada-1x").is_empty());
    let before = state_of(&config);
    let ledger = before.ledger();
    drop(before);
    let done = erase(&config, &[key("user", "ada")]).unwrap();
    assert_eq!((done.signals, done.held.len(), done.kept.len()), (3, 2, 1), "{done:?}");
    assert_eq!((done.named_in.as_slice(), done.series.as_slice()), (&[][..], &[][..]));
    assert_eq!(done.ledger, ledger, "counts stay");
    for text in ["ada", "order-ada-1x", "order-ada-11x", "order-ada-21x"] {
        assert_eq!(stands_in(folder.path(), text), Vec::<String>::new(), "{text}");
    }
    let checks = verify(folder.path()).unwrap();
    assert_eq!(
        checks.iter().filter_map(|check| check.problem.clone()).collect::<Vec<_>>(),
        [""; 0]
    );
    let after = state_of(&config);
    for n in [1, 11, 21] {
        assert!(leads_nowhere(&after, &format!("order-ada-{n}x")), "{n}");
        assert!(!leads_nowhere(&after, &format!("order-bob-{}x", n + 1)), "{n}");
    }
    assert_eq!(after.ledger(), ledger);
    let all = RequestFilter { limit: 100, ..RequestFilter::default() };
    assert_eq!(after.archive.requests(&all).unwrap().len(), 1);
    drop(after);
    // There is nothing left to do, and nothing is done.
    let again =
        erase(&config, &[key("user", "ada"), key("correlation_id", "order-ada-1x")]).unwrap();
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn an_id_that_nothing_carries_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path());
    let done = erase(&config, &[key("correlation_id", "order-eve")]).unwrap();
    assert!(done.is_empty() && done.held.is_empty());
    assert!(!stands_in(folder.path(), "order-ada-1x").is_empty());
}

/// Past the point of no return a start refuses the directory by name, and the same command finishes it; before
/// that everything is as it was.
#[test]
fn an_erasure_that_is_cut_short_is_finished_by_the_next_or_has_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path());
    let damaged = folder.path().join("journal.damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("1.journal"), "order-ada-1x").unwrap();
    let values = BTreeSet::from(["order-ada-1x".into()]);
    let renewed = || {
        let (state, end) = recovered(&config).unwrap();
        let mut found = Erasure { signals: 1, ..Erasure::default() };
        let old = Old { state, end, records: 9 };
        let renewed = old.renew(&values, &values, folder.path(), &mut found).unwrap();
        (renewed.unwrap(), found)
    };
    // Cut before anything was written but the copy of the archive: a start removes that.
    renewed();
    assert!(folder.path().join(ARCHIVE_ANEW).exists());
    assert!(!leads_nowhere(&state_of(&config), "order-ada-1x"));
    assert!(!folder.path().join(ARCHIVE_ANEW).exists());
    // Cut right behind the plan.
    let (renewed, found) = renewed();
    assert_eq!(found.kept.len(), 1);
    let snapshots: Vec<&Snapshot> = renewed.snapshots.iter().collect();
    let journal = folder.path().join("journal");
    renewal::write(&journal, &renewed.log, &snapshots).unwrap();
    let refused = recovered(&config).unwrap_err();
    assert!(
        refused.contains("an erasure was cut short; run the same `throughline erase`"),
        "{refused}"
    );
    assert!(verify(folder.path()).is_err());
    assert!(
        super::super::verify::repair(folder.path(), super::super::verify::Loss::Accepted).is_err()
    );
    // And once more, where the archive of before is gone and the copy is not in its place.
    let cut = renewal::finish(&journal, &mut || {
        std::fs::remove_dir_all(folder.path().join("archive"))?;
        Err(std::io::Error::other("the power went"))
    });
    cut.unwrap_err();
    let done = erase(&config, &[key("correlation_id", "order-ada-1x")]).unwrap();
    assert!(done.finished && done.is_empty(), "{done:?}");
    assert!(!damaged.exists());
    assert_eq!(stands_in(folder.path(), "order-ada-1x"), Vec::<String>::new());
    assert!(!leads_nowhere(&state_of(&config), "order-bob-2x"));
    let checks = verify(folder.path()).unwrap();
    assert!(checks.iter().all(|check| check.problem.is_none()), "{checks:?}");
}
