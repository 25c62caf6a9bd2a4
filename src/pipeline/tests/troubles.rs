//! Every trouble, raised by what it tells of.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use super::super::folder::ours_alone;
use super::super::recover::{self, Recovered};
use super::super::start::few;
use super::super::state::{Entry, State};
use super::super::threads::Item;
use super::super::troubles::{Kind, Progress, StepWatch, Trouble, Troubles};
use super::super::verify::{Loss, Repair, repair};
use super::at;
use super::corruption::{config, written};
use crate::clock::Clock;
use crate::internal_telemetry::Metrics;
use crate::journal::tests::soon;
use crate::journal::{Committed, Health, Point, Priority};

/// What a start makes of a data directory.
struct Started {
    back: Recovered,
    state: State,
    lost: Option<Trouble>,
    /// Where records go that are on disk.
    _records: Receiver<Committed<Item>>,
}

fn started(dir: &Path) -> Started {
    started_by(dir, &Clock::by_hand(Arc::new(AtomicU64::new(at(1000).as_nanos()))))
}

fn started_by(dir: &Path, clock: &Clock) -> Started {
    let config = config(dir);
    let (archive, lost) = recover::archive(dir, &config.archive).unwrap();
    let state = recover::state(&config, archive);
    let (records, received) = sync_channel(64);
    let told = recover::Told { records, progress: Progress::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let back = runtime.block_on(recover::recover(&config, clock, &state, told)).unwrap();
    Started { back, state, lost, _records: received }
}

/// What a start tells of a data directory.
fn told(dir: &Path) -> Vec<Kind> {
    let Started { back, lost, .. } = started(dir);
    back.log.close();
    lost.iter().chain(&back.troubles).map(|trouble| trouble.kind).collect()
}

/// The last file of the journal with this ending.
fn last(dir: &Path, ending: &str) -> PathBuf {
    let files = std::fs::read_dir(dir.join("journal")).unwrap().map(|one| one.unwrap().path());
    files.filter(|path| path.to_string_lossy().ends_with(ending)).max().unwrap()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// How many of a file's bytes are more than the zeros that it was made with.
fn length(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn a_start_tells_what_it_found_wrong_with_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    written(dir);
    assert_eq!(told(dir), []);

    change(&last(dir, ".snapshot"), |bytes| bytes[100] ^= 1);
    assert_eq!(told(dir), [Kind::DamagedSnapshot]);

    std::fs::remove_file(last(dir, ".snapshot")).unwrap();
    // As a power cut leaves it that took the mark as well.
    std::fs::remove_file(dir.join("journal/mark")).unwrap();
    change(&last(dir, ".journal"), |bytes| {
        let end = length(bytes);
        bytes[end - 4..end].fill(0);
    });
    assert_eq!(told(dir), [Kind::TornTail]);

    std::fs::write(dir.join("skipped"), "7\n").unwrap();
    assert_eq!(told(dir), [Kind::RecordSkipped]);
    std::fs::remove_file(dir.join("skipped")).unwrap();

    change(&last(dir, ".journal"), |bytes| {
        let middle = length(bytes) / 2;
        bytes[middle] ^= 1;
    });
    assert!(matches!(repair(dir, Loss::Accepted), Ok(Repair::Done(_))));
    assert_eq!(told(dir), [Kind::JournalDamaged]);
    assert_eq!(told(dir), [Kind::JournalDamaged], "as long as the damaged files are there");
    std::fs::remove_dir_all(dir.join("journal.damaged")).unwrap();
    assert_eq!(told(dir), []);
}

#[test]
fn an_archive_that_cannot_be_read_is_lost_and_the_start_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("archive"), "no folder").unwrap();
    assert_eq!(told(folder.path()), [Kind::ArchiveLost]);
    assert_eq!(std::fs::read(folder.path().join("archive.damaged")).unwrap(), b"no folder");
    assert_eq!(told(folder.path()), []);
}

#[test]
fn a_clock_that_is_set_is_told_of_whichever_way() {
    let hand = Arc::new(AtomicU64::new(at(0).as_nanos()));
    let clock = Clock::by_hand(Arc::clone(&hand));
    let mut steps = StepWatch::new(&clock);
    let mut set = |second: usize| {
        hand.store(at(second).as_nanos(), Ordering::Relaxed);
        steps.look(&clock).map(|step| step.kind)
    };
    assert_eq!(
        [set(0), set(3600), set(3600), set(60)],
        [None, Some(Kind::ClockStep), None, Some(Kind::ClockStep)]
    );
    // While nobody watched: the log ends ahead of the clock of the next start.
    let folder = tempfile::tempdir().unwrap();
    written(folder.path());
    let told = |second: usize| {
        let hand = Arc::new(AtomicU64::new(at(second).as_nanos()));
        let started = started_by(folder.path(), &Clock::by_hand(hand));
        started.back.log.close();
        started.back.troubles.iter().map(|trouble| trouble.kind).collect::<Vec<_>>()
    };
    assert_eq!([told(0), told(1000)], [vec![Kind::ClockStep], vec![]]);
}

#[test]
fn the_journal_is_told_of_once_it_gets_worse() {
    let metrics = Arc::new(Metrics::try_new().unwrap());
    let troubles = Troubles::new(Arc::clone(&metrics));
    let seen = |is_disk_full, snapshots, snapshots_failed, second| {
        let health = Health { is_disk_full, snapshots, snapshots_failed, ..Health::default() };
        troubles.see(health, at(second));
        let shown = troubles.findings();
        shown.iter().map(|told| (told.kind, told.until)).collect::<Vec<_>>()
    };
    let lasting = |kind: &str| {
        let families = metrics.gather();
        let name = "throughline_self_pipeline_troubles_lasting";
        let mut of = families.iter().filter(|family| family.name() == name);
        let mut all = of.by_ref().flat_map(prometheus::proto::MetricFamily::get_metric);
        all.find(|one| one.get_label()[0].value() == kind)
            .map(|one| one.get_gauge().get_value() > 0.5)
    };
    let (full, fails) = (Kind::DiskFull.as_str(), Kind::SnapshotsFail.as_str());
    assert!(seen(false, 0, 0, 0).is_empty());
    assert_eq!(lasting(full), None);
    assert_eq!(seen(true, 0, 0, 1), [(full, None)]);
    assert_eq!(seen(true, 0, 0, 2), [(full, None)], "said once");
    assert_eq!(seen(true, 0, 1, 3), [(full, None), (fails, None)]);
    assert_eq!(seen(true, 0, 2, 4), [(full, None), (fails, None)], "one, however often");
    assert_eq!((lasting(full), lasting(fails)), (Some(true), Some(true)));
    // There is space again, and then a snapshot.
    assert_eq!(seen(false, 0, 2, 5), [(full, Some(at(5))), (fails, None)]);
    assert!(troubles.findings()[0].message.contains("was full"));
    assert_eq!((lasting(full), lasting(fails)), (Some(false), Some(true)));
    assert_eq!(seen(false, 1, 2, 6), [(full, Some(at(5))), (fails, Some(at(6)))]);
    // A new one beside the one that was; what was is gone after a while.
    assert_eq!(seen(true, 1, 2, 7), [(full, Some(at(5))), (fails, Some(at(6))), (full, None)]);
    assert_eq!(seen(true, 1, 2, 3606), [(full, None)]);
}

#[test]
fn a_snapshot_that_cannot_be_written_is_told_of_until_one_is() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path());
    let Started { back, state, _records, .. } = started(folder.path());
    // Something is in the way of the file in which a snapshot is begun.
    let in_the_way = folder.path().join("journal/snapshot.unfinished/x");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let metrics = Arc::new(Metrics::try_new().unwrap());
    let troubles = Troubles::new(Arc::clone(&metrics));
    troubles.watch(back.log.clone());
    let mut seq = 1_000;
    // By the clock a snapshot is due every hour, if anything was written.
    let mut look = |hours: usize, is_done: &dyn Fn(Health) -> bool| {
        seq += 1;
        runtime.block_on(back.log.write(Entry::Tick, Priority::Essential)).unwrap();
        let point = Point { seq, log_time: at(3600 * hours), ..Point::default() };
        back.log.snapshot(&state, point, &metrics);
        assert!(soon(|| is_done(back.log.health())), "the keeper tries");
        troubles.look(at(3600 * hours));
        troubles.findings().iter().map(|told| (told.kind, told.until)).collect::<Vec<_>>()
    };
    let fails = Kind::SnapshotsFail.as_str();
    assert_eq!(look(1, &|_| true), [], "the first look begins the hour");
    assert_eq!(look(3, &|health| health.snapshots_failed == 1), [(fails, None)]);
    std::fs::remove_dir_all(in_the_way.parent().unwrap()).unwrap();
    let written = look(5, &|health| health.snapshots == 1);
    assert_eq!(written, [(fails, Some(at(3600 * 5)))]);
    back.log.close();
}

#[test]
fn what_a_start_goes_on_from_is_told() {
    assert_eq!(few(1024).map(|trouble| trouble.kind), Some(Kind::FewDescriptors));
    assert_eq!(few(1 << 20).map(|trouble| trouble.kind), None);
    // A folder that everybody may read and nobody may change.
    let told = ours_alone(Path::new("/proc/self")).map(|trouble| trouble.kind);
    assert_eq!(told, Some(Kind::OpenDataDir));
    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    assert!(ours_alone(folder.path()).is_none(), "it is closed, and nothing is to be told");
    let mode = std::fs::metadata(folder.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
