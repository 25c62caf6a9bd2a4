//! Power cuts at every operation of the disk, and what must be there afterwards.

use super::simulated_disk::{Fault, Flaw, Platter, SimulatedDisk};
use super::{Session, payload, recovered};

/// Ways in which one power cut can leave the disk.
const SEEDS: u64 = 8;
/// Small, so that the script crosses several segments.
const SEGMENT_BYTES: u64 = 220;
/// Sizes of the groups of each session, 0 for a snapshot; between sessions the daemon is stopped and
/// started again.
const SCRIPT: [&[usize]; 4] =
    [&[1, 1, 3, 1, 0], &[2, 1, 0, 1, 1, 2, 0, 1], &[], &[1, 4, 1, 0, 1, 2, 1, 0, 2]];

/// What the script did before the power went.
#[derive(Debug, Default)]
struct Told {
    attempted: Vec<Vec<u8>>,
    acknowledged: usize,
}

/// Runs the script until it ends or the disk fails.
fn run_script(disk: &SimulatedDisk) -> Told {
    let mut told = Told::default();
    for groups in SCRIPT {
        let Ok(mut session) = Session::open(disk, SEGMENT_BYTES) else { return told };
        for size in groups {
            if *size == 0 {
                // One that fails leaves the log as it is.
                session.snapshot();
                continue;
            }
            let group: Vec<_> = (0..*size).map(|i| payload(told.attempted.len() + i)).collect();
            told.attempted.extend(group.iter().cloned());
            if !session.append(group) {
                return told;
            }
            told.acknowledged = told.attempted.len();
        }
    }
    told
}

/// Says what is wrong with the journal that is left: every acknowledged record must be there, once, in
/// order, and nothing that nobody wrote.
fn judge(disk: &SimulatedDisk, told: &Told) -> Result<usize, String> {
    let records = recovered(disk).map_err(|error| error.to_string())?;
    if records.len() < told.acknowledged {
        return Err(format!("{} of {} acknowledged are left", records.len(), told.acknowledged));
    }
    for (i, record) in records.iter().enumerate() {
        if told.attempted.get(i) != Some(&record.payload) {
            return Err(format!("record {i} is not what was written"));
        }
        if record.seq != u64::try_from(i).unwrap() + 1 {
            return Err(format!("record {i} has the number {}", record.seq));
        }
    }
    if records.windows(2).any(|pair| pair[0].log_time >= pair[1].log_time) {
        return Err("log time went back".to_owned());
    }
    Ok(records.len())
}

/// One cut at one operation, one more right after the recovery, and one after new records.
fn cut_at(flaw: Flaw, operation: u64, seed: u64) -> Result<usize, String> {
    let platter = Platter::with(flaw, Fault::PowerGoesAt(operation));
    let disk = SimulatedDisk::new(platter);
    let mut told = run_script(&disk);
    disk.platter().cut_power(seed);
    let left = judge(&disk, &told)?;
    // What recovery has shown may have been acted on, so it is as good as acknowledged.
    told.attempted.truncate(left);
    told.acknowledged = left;
    disk.platter().cut_power(seed + 1);
    judge(&disk, &told)?;
    let mut session = Session::open(&disk, SEGMENT_BYTES).map_err(|error| error.to_string())?;
    let group = vec![b"after".to_vec(), b"the cut".to_vec()];
    told.attempted.extend(group.iter().cloned());
    if !session.append(group) {
        return Err("a recovered journal takes no records".to_owned());
    }
    told.acknowledged = told.attempted.len();
    drop(session);
    disk.platter().cut_power(seed + 2);
    judge(&disk, &told)
}

fn operations() -> u64 {
    let disk = SimulatedDisk::default();
    let told = run_script(&disk);
    assert_eq!(told.acknowledged, SCRIPT.concat().iter().sum::<usize>());
    let operations = disk.platter().operations;
    let names: Vec<_> = disk.platter().files().into_keys().collect();
    assert!(!names.contains(&"00000000000000000001.journal".to_owned()), "the log is cut");
    assert!(names.iter().any(|name| super::keeper::is_spare(name)), "files wait to be used again");
    operations
}

/// The first thing that is wrong, over all operations and seeds.
fn first_loss(flaw: Flaw) -> Result<(), String> {
    let (mut n_cuts, mut n_obligations) = (0, 0);
    // One more than there are: a cut after the script has ended.
    for operation in 0..=operations() {
        for seed in 0..SEEDS {
            n_obligations += cut_at(flaw, operation, seed)
                .map_err(|wrong| format!("cut at {operation}, seed {seed}: {wrong}"))?;
            n_cuts += 3;
        }
    }
    // tests/faults shows how much was tried.
    eprintln!("{n_cuts} power cuts, {n_obligations} obligations");
    Ok(())
}

#[test]
fn crash_at_every_operation_loses_nothing_acknowledged() {
    assert_eq!(first_loss(Flaw::None), Ok(()));
}

#[test]
fn the_crash_test_catches_a_disk_that_does_not_sync() {
    first_loss(Flaw::SyncDoesNothing).unwrap_err();
}

#[test]
fn the_crash_test_catches_a_disk_that_forgets_the_directory() {
    let wrong = first_loss(Flaw::DirectoryIsForgotten).unwrap_err();
    assert!(wrong.contains("acknowledged are left") || wrong.contains("are gone"), "{wrong}");
}

/// A process that dies leaves its writes in the page cache; after a failed sync the kernel holds them
/// for clean, so that only writing them anew makes them last.
#[test]
fn what_a_restart_has_replayed_outlasts_the_next_power_cut() {
    for from in 0..operations() {
        let fault = Fault::SyncFailsFrom(from);
        let disk = SimulatedDisk::new(Platter::with(Flaw::None, fault));
        let mut told = run_script(&disk);
        disk.platter().fault = Fault::None;
        let left = judge(&disk, &told).unwrap();
        told.attempted.truncate(left);
        told.acknowledged = left;
        for seed in 0..SEEDS {
            let disk = SimulatedDisk::new(disk.platter().clone());
            disk.platter().cut_power(seed);
            assert_eq!(judge(&disk, &told), Ok(left), "failed from {from}, seed {seed}");
        }
    }
}

#[test]
fn a_write_that_fails_half_way_is_never_acknowledged_and_is_cut() {
    let total = SCRIPT.concat().iter().sum::<usize>();
    let mut n_stopped = 0;
    for from in 0..operations() {
        let fault = Fault::WriteFailsFrom(from);
        let disk = SimulatedDisk::new(Platter::with(Flaw::None, fault));
        let told = run_script(&disk);
        n_stopped += usize::from(told.acknowledged < total);
        disk.platter().fault = Fault::None;
        judge(&disk, &told).unwrap();
    }
    assert!(n_stopped > 0);
}

#[test]
fn a_write_that_finds_no_space_once_loses_nothing() {
    let total = SCRIPT.concat().iter().sum::<usize>();
    let mut n_whole = 0;
    for from in 0..operations() {
        let fault = Fault::NoSpaceFrom(from);
        let disk = SimulatedDisk::new(Platter::with(Flaw::None, fault));
        let told = run_script(&disk);
        n_whole += usize::from(told.acknowledged == total);
        disk.platter().fault = Fault::None;
        judge(&disk, &told).unwrap();
    }
    assert!(n_whole > 0);
}
