//! What the journal promises, on a disk that forgets (`simulated_disk`) and on a real one.

mod crash;
mod damage;
mod simulated_disk;

use std::sync::mpsc;
use std::time::Duration;

use expect_test::expect;
use proptest::prelude::*;

use super::commit::{Committer, Queued};
use super::*;
use simulated_disk::{Fault, Flaw, Platter, SimulatedDisk};

/// A record as recovery showed it.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    seq: u64,
    log_time: Timestamp,
    payload: Vec<u8>,
}

/// Text that names its number; every fifth is long and packs well.
fn payload(i: usize) -> Vec<u8> {
    let text = format!("record {i}");
    if i % 5 == 4 { text.repeat(90).into_bytes() } else { text.into_bytes() }
}

/// Recovery alone, as the next start does it.
fn recovered(disk: &SimulatedDisk) -> Result<Vec<Shown>, Error> {
    let mut shown = Vec::new();
    recover::recover(&mut disk.clone(), &mut |replayed| {
        let Replayed { seq, log_time, payload } = replayed;
        shown.push(Shown { seq, log_time, payload: payload.to_vec() });
        Ok(())
    })?;
    Ok(shown)
}

/// The committer without its thread: the test decides what a group is.
struct Session {
    committer: Committer<SimulatedDisk>,
    recovery: Recovery,
}

impl Session {
    fn open(disk: &SimulatedDisk, segment_bytes: u64) -> Result<Self, Error> {
        let mut disk = disk.clone();
        let found = recover::recover(&mut disk, &mut |_| Ok(()))?;
        let status = Arc::new(Status::default());
        let committer = Committer::new(disk, found.position, segment_bytes, Clock::wall(), status);
        Ok(Self { committer, recovery: found.recovery })
    }

    /// One group; true if all of it was acknowledged, false if none of it was.
    fn append(&mut self, payloads: Vec<Vec<u8>>) -> bool {
        let (group, answers): (Vec<_>, Vec<_>) = payloads
            .into_iter()
            .map(|payload| {
                let (answer, durable) = oneshot::channel();
                (Queued { payload, item: (), answer }, durable)
            })
            .unzip();
        let mut told = 0;
        let is_good = self.committer.commit(group, &mut |_: Committed<()>| told += 1);
        let acknowledged = answers
            .into_iter()
            .map(oneshot::Receiver::blocking_recv)
            .filter(|durable| matches!(durable, Ok(Ok(_))))
            .count();
        assert_eq!(told, acknowledged, "the engine and the sender are told the same");
        assert!(is_good || acknowledged == 0, "a failed group is never acknowledged");
        is_good
    }
}

fn config(dir: &std::path::Path) -> Config {
    Config { segment_bytes: 300, ..Config::new(dir.to_owned()) }
}

fn open_simulated(disk: &SimulatedDisk, size_max_bytes: u64) -> Journal<()> {
    let config = Config { size_max_bytes, ..Config::new(PathBuf::from("/journal")) };
    let disk = (disk.clone(), None);
    Journal::open_on(disk, config, Clock::wall(), &mut |_| Ok(()), |_| ()).unwrap().0
}

/// Appends and waits for the sync.
fn append(journal: &Journal<()>, payload: &[u8], priority: Priority) -> Result<u64, Refused> {
    let durable = journal.append(payload.to_vec(), (), priority)?;
    durable.blocking_recv().unwrap_or(Err(Refused::Poisoned))
}

#[test]
fn a_failed_sync_poisons_and_nobody_is_told_otherwise() {
    let disk = SimulatedDisk::default();
    let (commits, committed) = mpsc::sync_channel(16);
    let on_commit = move |done: Committed<u8>| commits.send(done.item).unwrap();
    let config = Config::new(PathBuf::from("/journal"));
    let opened =
        Journal::open_on((disk.clone(), None), config, Clock::wall(), &mut |_| Ok(()), on_commit);
    let (journal, _) = opened.unwrap();
    let send = |item: u8| {
        let durable = journal.append(vec![item], item, Priority::Essential)?;
        durable.blocking_recv().unwrap_or(Err(Refused::Poisoned))
    };
    assert_eq!(send(1), Ok(1));
    assert!(!journal.is_poisoned());
    let now = disk.platter().operations;
    disk.platter().fault = Fault::SyncFailsFrom(now);
    assert_eq!(send(2), Err(Refused::Poisoned));
    assert!(journal.is_poisoned());
    // The disk would take them again. It is not asked: what it says now proves nothing.
    let operations = disk.platter().operations;
    for item in 3..6 {
        assert_eq!(send(item), Err(Refused::Poisoned));
    }
    journal.close();
    assert_eq!(disk.platter().operations, operations);
    assert_eq!(committed.iter().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_write_that_finds_the_disk_full_poisons() {
    let disk = SimulatedDisk::new(Platter::with(Flaw::None, Fault::AppendFailsFrom(0)));
    let journal = open_simulated(&disk, 1 << 20);
    assert_eq!(append(&journal, b"a", Priority::Batch), Err(Refused::Poisoned));
    assert!(journal.is_poisoned());
    journal.close();
}

#[test]
fn records_that_queue_while_the_disk_is_busy_are_one_group() {
    let disk = SimulatedDisk::default();
    let (open_gate, gate) = mpsc::sync_channel::<()>(1);
    let (announce, first_told) = mpsc::sync_channel::<u64>(16);
    let on_commit = move |done: Committed<()>| {
        announce.send(done.seq).unwrap();
        if done.seq == 1 {
            gate.recv().unwrap();
        }
    };
    let config = Config::new(PathBuf::from("/journal"));
    let opened =
        Journal::open_on((disk.clone(), None), config, Clock::wall(), &mut |_| Ok(()), on_commit);
    let (journal, _) = opened.unwrap();
    let queue = |payload: &[u8]| journal.append(payload.to_vec(), (), Priority::Batch).unwrap();
    let first = queue(b"first");
    assert_eq!(first_told.recv(), Ok(1));
    let before = disk.platter().operations;
    let others: Vec<_> = (0..5).map(|_| queue(b"other")).collect();
    open_gate.send(()).unwrap();
    assert_eq!(first.blocking_recv(), Ok(Ok(1)));
    let seqs: Vec<_> = others.into_iter().map(|durable| durable.blocking_recv()).collect();
    assert_eq!(seqs, (2..7).map(|seq| Ok(Ok(seq))).collect::<Vec<_>>());
    assert_eq!(disk.platter().operations - before, 2, "one append and one sync");
    journal.close();
}

#[test]
fn at_its_size_batches_are_refused_and_ticks_still_pass() {
    let disk = SimulatedDisk::default();
    let journal = open_simulated(&disk, 300);
    let mut taken = 0;
    let refused = loop {
        match append(&journal, &[b'x'; 50], Priority::Batch) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!((taken, refused), (3, Refused::DiskFull));
    assert_eq!(append(&journal, b"tick", Priority::Essential), Ok(4));
    assert_eq!(append(&journal, &[b'x'; 50], Priority::Batch), Err(Refused::DiskFull));
    assert!(!journal.is_poisoned());
    let on_disk: usize = disk.platter().files().values().map(Vec::len).sum();
    assert_eq!(journal.disk_bytes(), u64::try_from(on_disk).unwrap());
    journal.close();
    // A restart counts what it found.
    let journal = open_simulated(&disk, 300);
    assert_eq!(journal.disk_bytes(), u64::try_from(on_disk).unwrap());
    assert_eq!(append(&journal, &[b'x'; 50], Priority::Batch), Err(Refused::DiskFull));
    assert_eq!(append(&journal, b"tick", Priority::Essential), Ok(5));
    journal.close();
}

#[test]
fn a_record_too_long_to_be_read_back_is_refused() {
    let disk = SimulatedDisk::default();
    let journal = open_simulated(&disk, u64::MAX);
    for priority in [Priority::Batch, Priority::Essential] {
        let long = vec![0; segment::PAYLOAD_MAX + 1];
        assert_eq!(journal.append(long, (), priority).unwrap_err(), Refused::Full);
    }
    assert_eq!(append(&journal, b"next", Priority::Essential), Ok(1));
    journal.close();
}

#[test]
fn a_closed_journal_has_synced_what_was_queued_and_takes_no_more() {
    let disk = SimulatedDisk::default();
    let journal = open_simulated(&disk, 1 << 20);
    let queued: Vec<_> =
        (0..20).map(|i| journal.append(payload(i), (), Priority::Batch).unwrap()).collect();
    journal.close();
    for (durable, seq) in queued.into_iter().zip(1..) {
        assert_eq!(durable.blocking_recv(), Ok(Ok(seq)));
    }
    assert!(journal.append(b"late".to_vec(), (), Priority::Essential).is_err());
    disk.platter().cut_power(7);
    assert_eq!(recovered(&disk).unwrap().len(), 20);
}

#[test]
fn log_time_never_goes_back() {
    let disk = SimulatedDisk::default();
    for behind in [Duration::ZERO, Duration::from_hours(1), Duration::from_hours(2)] {
        let config = Config::new(PathBuf::from("/journal"));
        let clock = Clock::accelerated(behind, 1.0);
        let on_disk = (disk.clone(), None);
        let (journal, _) =
            Journal::open_on(on_disk, config, clock, &mut |_| Ok(()), |_| ()).unwrap();
        for _ in 0..3 {
            append(&journal, b"a", Priority::Essential).unwrap();
        }
        journal.close();
    }
    let shown = recovered(&disk).unwrap();
    let steps: Vec<u64> = shown
        .windows(2)
        .map(|pair| pair[1].log_time.as_nanos().checked_sub(pair[0].log_time.as_nanos()).unwrap())
        .collect();
    assert!(steps.iter().all(|step| *step > 0), "{steps:?}");
    // A clock that was set back waits, a nanosecond a record.
    assert_eq!(steps[2..], [1; 6]);
}

#[test]
fn a_record_that_cannot_be_applied_stops_the_start_and_changes_nothing() {
    let disk = SimulatedDisk::default();
    let mut session = Session::open(&disk, 1 << 20).unwrap();
    assert!(session.append((0..3).map(payload).collect()));
    let before = disk.platter().files();
    let refuse = &mut |replayed: Replayed<'_>| {
        if replayed.seq == 2 { Err("an unknown kind".to_owned()) } else { Ok(()) }
    };
    let error = recover::recover(&mut disk.clone(), refuse).unwrap_err();
    expect!["record 2 cannot be applied: an unknown kind"].assert_eq(&error.to_string());
    assert_eq!(disk.platter().files(), before);
}

#[test]
fn a_second_daemon_is_locked_out() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Journal::<()>::open(config(dir.path()), Clock::wall(), &mut |_| Ok(()), |_| ());
    let (first, _) = open().unwrap();
    append(&first, b"mine", Priority::Batch).unwrap();
    let error = open().unwrap_err();
    let text = error.to_string().replace(&dir.path().display().to_string(), "DIR");
    expect!["DIR is in use by another daemon; stop it, or choose another --data-dir"]
        .assert_eq(&text);
    // The refused one has touched nothing: the first goes on, and leaves the folder when it ends.
    assert_eq!(append(&first, b"still mine", Priority::Batch), Ok(2));
    first.close();
    drop(first);
    let (_second, recovery) = open().unwrap();
    assert_eq!(recovery, Recovery { records: 2, segments: 1, torn_bytes: 0 });
}

#[test]
fn a_journal_is_private_to_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("made/on the way");
    let (journal, _) =
        Journal::<()>::open(config(&inner), Clock::wall(), &mut |_| Ok(()), |_| ()).unwrap();
    append(&journal, b"secret", Priority::Batch).unwrap();
    journal.close();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    for entry in inner.read_dir().unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

/// A payload of any bytes; long ones are of few kinds of byte, so that they pack.
fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        proptest::collection::vec(any::<u8>(), 500..900),
        proptest::collection::vec(0_u8..3, 500..3000),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_comes_back_as_it_was_given(
        sessions in proptest::collection::vec(proptest::collection::vec(any_payload(), 0..8), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut written: Vec<Vec<u8>> = Vec::new();
        for session in sessions.into_iter().chain([Vec::new()]) {
            let mut shown: Vec<Vec<u8>> = Vec::new();
            let mut replay = |replayed: Replayed<'_>| {
                shown.push(replayed.payload.to_vec());
                Ok(())
            };
            let (journal, recovery) =
                Journal::open(config(dir.path()), Clock::wall(), &mut replay, |_| ()).unwrap();
            prop_assert_eq!(&shown, &written);
            prop_assert_eq!(recovery.records, u64::try_from(written.len()).unwrap());
            prop_assert_eq!(recovery.torn_bytes, 0);
            for payload in session {
                written.push(payload.clone());
                let seq = append(&journal, &payload, Priority::Batch);
                prop_assert_eq!(seq, Ok(u64::try_from(written.len()).unwrap()));
            }
            journal.close();
        }
    }
}
