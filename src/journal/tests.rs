//! What the journal promises, on a disk that forgets (`simulated_disk`) and on a real one.

mod crash;
mod damage;
mod renewals;
mod repairs;
pub(crate) mod rig;
pub(crate) mod simulated_disk;

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use expect_test::expect;
use proptest::prelude::*;

use super::commit::{Committer, Queued};
use super::disk::LOCK;
use super::*;
use simulated_disk::{Fault, Platter, SimulatedDisk};

/// A record as recovery showed it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
    recovered_with(disk).map(|(shown, _)| shown)
}

/// The state is the list of all records: a snapshot holds it as one section.
fn recovered_with(disk: &SimulatedDisk) -> Result<(Vec<Shown>, recover::Found), Error> {
    let shown = std::cell::RefCell::new(Vec::new());
    let mut back = Back {
        restore: &mut |snapshot| {
            let section = snapshot.section("records").ok_or("there is no section of records")?;
            *shown.borrow_mut() =
                postcard::from_bytes(section).map_err(|error| error.to_string())?;
            Ok(())
        },
        replay: &mut |Replayed { seq, log_time, payload }| {
            shown.borrow_mut().push(Shown { seq, log_time, payload: payload.to_vec() });
            Ok(())
        },
    };
    let found = recover::recover(&mut disk.clone(), &mut back)?;
    Ok((shown.into_inner(), found))
}

fn recover_with(
    disk: &SimulatedDisk,
    replay: &mut dyn FnMut(Replayed<'_>) -> Result<(), String>,
) -> Result<recover::Found, Error> {
    recover::recover(&mut disk.clone(), &mut Back { restore: &mut |_| Ok(()), replay })
}

fn opened<T: Send + 'static>(
    disk: &SimulatedDisk,
    config: Config,
    clock: Clock,
    on_commit: impl FnMut(Committed<T>) + Send + 'static,
) -> Journal<T> {
    let back = &mut Back { restore: &mut |_| Ok(()), replay: &mut |_| Ok(()) };
    Journal::open_on((disk.clone(), None), config, clock, back, on_commit).unwrap().0
}

/// Committer and keeper without their threads: the test decides what a group is, and when a snapshot is
/// taken.
struct Session {
    committer: Committer<SimulatedDisk>,
    keeper: Keeper<SimulatedDisk>,
    status: Arc<Status>,
    state: Vec<Shown>,
    point: Point,
    recovery: Recovery,
}

impl Session {
    fn open(disk: &SimulatedDisk, segment_bytes: u64) -> Result<Self, Error> {
        let (state, found) = recovered_with(disk)?;
        let status = Arc::new(Status::default());
        let keeper = Keeper::new(disk.clone(), Arc::clone(&status), found.spares.clone());
        let point = found.position.last;
        let committer = Committer::new(disk.clone(), found.position, segment_bytes, Clock::wall())
            .with(Arc::clone(&status), found.spares);
        Ok(Self { committer, keeper, status, state, point, recovery: found.recovery })
    }

    /// True if the snapshot is on disk and the log cut behind it.
    fn snapshot(&mut self) -> bool {
        let before = self.status.snapshots.load(Ordering::Relaxed);
        let bytes = postcard::to_stdvec(&self.state).unwrap();
        let sections = vec![Section { name: "records".to_owned(), bytes }];
        let snapshot = Snapshot { point: self.point, sections };
        self.keeper.keep(Taken::from(snapshot));
        self.status.snapshots.load(Ordering::Relaxed) > before
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
        let payloads: Vec<_> = group.iter().map(|queued| queued.payload.clone()).collect();
        let (state, last) = (&mut self.state, &mut self.point);
        let is_good = self.committer.commit(group, &mut |Committed { point, .. }: Committed<()>| {
            let Point { seq, log_time, .. } = point;
            state.push(Shown { seq, log_time, payload: payloads[told].clone() });
            *last = point;
            told += 1;
        });
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

fn config(dir: &Path) -> Config {
    Config { segment_bytes: 300, reserve_bytes: 0, ..Config::new(dir.to_owned(), 1 << 30) }
}

/// For a disk that is counted: nothing happens on it but what the test asks for.
fn bare_config(size_max_bytes: u64) -> Config {
    let config = Config::new(PathBuf::from("/journal"), size_max_bytes);
    Config { segment_bytes: 1 << 20, reserve_bytes: 0, ..config }
}

fn open_real(
    dir: &Path,
    replay: &mut dyn FnMut(Replayed<'_>) -> Result<(), String>,
) -> Result<(Journal<()>, Recovery), Error> {
    let back = &mut Back { restore: &mut |_| Ok(()), replay };
    Journal::open(config(dir), Clock::wall(), back, |_| ())
}

fn open_simulated(disk: &SimulatedDisk, size_max_bytes: u64) -> Journal<()> {
    opened(disk, bare_config(size_max_bytes), Clock::wall(), |_| ())
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
    let journal = opened(&disk, bare_config(1 << 20), Clock::wall(), on_commit);
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
fn a_write_that_fails_poisons() {
    let disk = SimulatedDisk::default();
    let journal = open_simulated(&disk, 1 << 20);
    disk.platter().fault = Fault::WriteFailsFrom(0);
    assert_eq!(append(&journal, b"a", Priority::Batch), Err(Refused::Poisoned));
    assert!(journal.is_poisoned());
    journal.close();
}

/// A write without space is no failed sync: what is there stays, and the reserve lets ticks pass.
#[test]
fn a_full_disk_refuses_batches_and_lets_ticks_pass() {
    let disk = SimulatedDisk::default();
    let journal = open_simulated(&disk, 1 << 20);
    assert_eq!(append(&journal, b"a", Priority::Batch), Ok(1));
    disk.platter().fault = Fault::NoSpaceFrom(0);
    assert_eq!(append(&journal, b"tick", Priority::Essential), Ok(2));
    assert_eq!(append(&journal, b"b", Priority::Batch), Err(Refused::DiskFull));
    assert!(journal.health().is_disk_full && !journal.is_poisoned());
    journal.close();
    let shown = recovered(&disk).unwrap();
    assert_eq!(shown.last().map(|record| record.payload.as_slice()), Some(&b"tick"[..]));
}

/// What fills the disk would take the space of a file that is removed: the reserve becomes the log.
#[test]
fn a_full_disk_finds_the_reserve_written_over_and_not_given_back() {
    let disk = SimulatedDisk::default();
    disk.clone().create("reserve").unwrap();
    disk.clone().write_at("reserve", 0, &[0; 4096]).unwrap();
    let journal = open_simulated(&disk, 1 << 20);
    assert_eq!(append(&journal, b"a", Priority::Batch), Ok(1));
    disk.platter().fault = Fault::NoSpaceFrom(0);
    for seq in 2..20 {
        assert_eq!(append(&journal, b"tick", Priority::Essential), Ok(seq));
    }
    journal.close();
    let files = disk.platter().files();
    let lengths: Vec<(&str, usize)> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
    assert_eq!(lengths[1], ("00000000000000000002.journal", 4096), "{lengths:?}");
    assert!(!files.contains_key("reserve"), "{lengths:?}");
    assert_eq!(recovered(&disk).unwrap().len(), 19);
}

/// Half of a group may be in the old segment when the whole of it goes into the new one.
#[test]
fn what_a_write_without_space_left_behind_is_not_read_twice() {
    let disk = SimulatedDisk::default();
    disk.clone().create("reserve").unwrap();
    disk.clone().write_at("reserve", 0, &[0; 4096]).unwrap();
    let mut session = Session::open(&disk, 1 << 20).unwrap();
    assert!(session.append(vec![payload(0)]));
    disk.platter().fault = Fault::NoSpaceFrom(0);
    assert!(session.append(vec![vec![1; 10], vec![2; 400]]));
    assert!(session.append(vec![payload(3)]));
    let state = session.state.clone();
    drop(session);
    let (shown, _) = recovered_with(&disk).unwrap();
    assert_eq!(shown, state);
}

/// Two snapshots are kept, the log begins behind the older of them, its files are used again, and a
/// damaged newer one costs nothing.
#[test]
fn snapshots_cut_the_log_and_one_of_them_may_be_damaged() {
    let disk = SimulatedDisk::default();
    let mut session = Session::open(&disk, 220).unwrap();
    for i in 0..60 {
        assert!(session.append(vec![payload(i)]));
        assert!(i % 10 != 9 || session.snapshot());
    }
    let state = session.state.clone();
    drop(session);
    let files = disk.platter().files();
    let names: Vec<String> = files.keys().cloned().collect();
    expect![[r"
        00000000000000000037.spare
        00000000000000000043.spare
        00000000000000000049.journal
        00000000000000000050.snapshot
        00000000000000000055.journal
        00000000000000000060.snapshot
        mark"]]
    .assert_eq(&names.join("\n"));
    for spoil in [&["00000000000000000060.snapshot"][..], &[]] {
        let mut damaged = files.clone();
        spoil.iter().for_each(|name| damaged.get_mut(*name).unwrap()[70] ^= 1);
        let disk = SimulatedDisk::new(Platter::holding(&damaged));
        let (shown, found) = recovered_with(&disk).unwrap();
        assert_eq!(shown, state);
        assert_eq!(found.recovery.damaged_snapshots, u64::try_from(spoil.len()).unwrap());
    }
    // Without either nothing stands in for the records that were cut: said, not passed over.
    let mut gone = files;
    gone.retain(|name, _| snapshot::seq_of(name).is_none());
    let error = recovered(&SimulatedDisk::new(Platter::holding(&gone))).unwrap_err();
    assert!(error.to_string().contains("there is no snapshot that holds them"), "{error}");
}

#[test]
fn every_flipped_bit_of_a_snapshot_is_detected() {
    let sections =
        ["engine", "series"].map(|name| Section { name: name.to_owned(), bytes: payload(4) });
    let point = Point { seq: 7, log_time: Timestamp::from_nanos(9), chain: 5 };
    let snapshot = Snapshot { point, sections: sections.into() };
    let bytes = snapshot::encode(&snapshot).unwrap();
    assert_eq!(snapshot::decode(&bytes), Ok(snapshot));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(snapshot::decode(&damaged).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(snapshot::decode(&bytes[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn while_a_copy_is_made_nothing_is_removed() {
    let disk = SimulatedDisk::default();
    disk.clone().create("hold").unwrap();
    let mut session = Session::open(&disk, 220).unwrap();
    for i in 0..40 {
        assert!(session.append(vec![payload(i)]));
        assert!(i % 10 != 9 || session.snapshot());
    }
    let files = disk.platter().files();
    assert!(files.contains_key("00000000000000000001.journal"));
    assert_eq!(files.keys().filter(|name| snapshot::seq_of(name).is_some()).count(), 4);
}

#[test]
fn records_that_queue_while_the_disk_is_busy_are_one_group() {
    let disk = SimulatedDisk::default();
    let (open_gate, gate) = mpsc::sync_channel::<()>(1);
    let (announce, first_told) = mpsc::sync_channel::<u64>(16);
    let on_commit = move |done: Committed<()>| {
        announce.send(done.point.seq).unwrap();
        if done.point.seq == 1 {
            gate.recv().unwrap();
        }
    };
    let journal = opened(&disk, bare_config(1 << 20), Clock::wall(), on_commit);
    let queue = |payload: &[u8]| journal.append(payload.to_vec(), (), Priority::Batch).unwrap();
    let first = queue(b"first");
    assert_eq!(first_told.recv(), Ok(1));
    let before = disk.platter().operations;
    let others: Vec<_> = (0..5).map(|_| queue(b"other")).collect();
    open_gate.send(()).unwrap();
    assert_eq!(first.blocking_recv(), Ok(Ok(1)));
    let seqs: Vec<_> = others.into_iter().map(|durable| durable.blocking_recv()).collect();
    assert_eq!(seqs, (2..7).map(|seq| Ok(Ok(seq))).collect::<Vec<_>>());
    assert_eq!(disk.platter().operations - before, 3, "one write, one sync, one mark");
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
    let files = disk.platter().files();
    let segments = files.iter().filter(|(name, _)| segment::first_seq(name).is_some());
    let on_disk: usize = segments.map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(journal.health().disk_bytes, u64::try_from(on_disk).unwrap());
    journal.close();
    // A restart counts what it found.
    let journal = open_simulated(&disk, 300);
    assert_eq!(journal.health().disk_bytes, u64::try_from(on_disk).unwrap());
    assert_eq!(append(&journal, &[b'x'; 50], Priority::Batch), Err(Refused::DiskFull));
    assert_eq!(append(&journal, b"tick", Priority::Essential), Ok(5));
    journal.close();
}

/// Whether it comes to hold while the keeper works beside the test.
pub(crate) fn soon(holds: impl Fn() -> bool) -> bool {
    let look = |_| {
        std::thread::yield_now();
        holds()
    };
    (0..10_000_000).any(look)
}

/// Too little may be written since the last snapshot for another: then refusals would go on for an hour.
#[test]
fn at_its_size_a_snapshot_is_due_and_makes_room() {
    let disk = SimulatedDisk::default();
    let every = Config { segment_bytes: 200, snapshot_every_bytes: 1 << 20, ..bare_config(2_000) };
    let (tell, told) = mpsc::sync_channel(1_000);
    let on_commit = move |committed: Committed<()>| tell.send(committed.point).unwrap();
    let journal = opened(&disk, every, Clock::wall(), on_commit);
    let now = Clock::wall().now();
    assert!(!journal.is_snapshot_due(now));
    for n in 1..=2 {
        assert!(append(&journal, b"tick", Priority::Essential).is_ok());
        while append(&journal, &[b'x'; 50], Priority::Batch).is_ok() {}
        assert!(soon(|| journal.is_snapshot_due(now)), "snapshot {n}");
        let point = told.try_iter().last().unwrap();
        let snapshot = Snapshot { point, sections: Vec::new() };
        journal.keep(Taken::from(snapshot));
    }
    assert!(soon(|| append(&journal, &[b'x'; 50], Priority::Batch).is_ok()));
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
        let clock = Clock::accelerated(behind, 1.0);
        let journal = opened(&disk, bare_config(1 << 20), clock, |_| ());
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
    let error = recover_with(&disk, refuse).unwrap_err();
    expect!["record 2 cannot be applied: an unknown kind"].assert_eq(&error.to_string());
    assert_eq!(disk.platter().files(), before);
}

#[test]
fn a_second_daemon_is_locked_out() {
    let dir = tempfile::tempdir().unwrap();
    let open = || open_real(dir.path(), &mut |_| Ok(()));
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
    let log_time = recovery.log_time;
    assert_eq!(recovery, Recovery { records: 2, segments: 1, log_time, ..Recovery::default() });
}

#[test]
fn a_journal_is_private_to_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("made/on the way");
    let (journal, _) = open_real(&inner, &mut |_| Ok(())).unwrap();
    append(&journal, b"secret", Priority::Batch).unwrap();
    journal.close();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
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
            let (journal, recovery) = open_real(dir.path(), &mut replay).unwrap();
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

#[test]
fn a_log_whose_folder_is_gone_or_another_acknowledges_nothing_more() {
    let is_stopped_by = |change: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("journal");
        std::fs::create_dir(&dir).expect("a folder");
        std::fs::write(dir.join(LOCK), "x").expect("a file");
        let status = Arc::<Status>::default();
        let disk = RealDisk::at(&dir);
        let mut keeper = Keeper::new(disk, Arc::clone(&status), keeper::Spares::default());
        let mut look = || {
            keeper.look_for_the_log();
            status.poisoned.load(Ordering::Acquire)
        };
        assert!(!look());
        change(&dir);
        look()
    };
    assert!(!is_stopped_by(&|dir| std::fs::write(dir.join("other"), "y").expect("a file")));
    assert!(is_stopped_by(&|dir| std::fs::remove_dir_all(dir).expect("removed")));
    // A copy in its place, as a restore beside a running daemon puts one there.
    assert!(is_stopped_by(&|dir| {
        std::fs::rename(dir, dir.with_extension("old")).expect("renamed");
        std::fs::create_dir(dir).expect("a folder");
        std::fs::copy(dir.with_extension("old").join(LOCK), dir.join(LOCK)).expect("copied");
    }));
    let remove = |dir: &Path| std::fs::remove_file(dir.join(LOCK)).expect("removed");
    assert!(is_stopped_by(&remove), "another daemon may start here");
}
