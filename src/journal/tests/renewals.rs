//! A log that begins anew, cut at every operation of the disk: what is left is the log of before, the one
//! after, or a folder that says that it is neither and is finished by trying again.

use super::simulated_disk::{Fault, Platter, SimulatedDisk};
use super::{Session, Shown, payload, recovered, recovered_with};
use crate::journal::renewal::{Log, finish_on, write_on};
use crate::journal::{Error, Point, Section, Snapshot};

const SEEDS: u64 = 6;
/// The record that is to go.
const SECRET: &[u8] = b"what one person did";

/// A log of several segments, two snapshots and spares, the secret among its records.
fn written() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let mut session = Session::open(&disk, 150).unwrap();
    for n in 0..14 {
        let own = if n == 9 { SECRET.to_vec() } else { payload(n) };
        assert!(session.append(vec![own]));
        if n % 5 == 4 {
            assert!(session.snapshot());
        }
    }
    disk
}

fn snapshot(state: &[Shown], point: Point) -> Snapshot {
    let bytes = postcard::to_stdvec(state).unwrap();
    Snapshot { point, sections: vec![Section { name: "records".to_owned(), bytes }] }
}

fn without_secret(state: &[Shown]) -> Vec<Shown> {
    state.iter().filter(|shown| shown.payload != SECRET).cloned().collect()
}

fn renew(disk: &SimulatedDisk) -> Result<(), Error> {
    let (state, found) = recovered_with(disk)?;
    let mut kept = without_secret(&state);
    let before = found.position.last;
    let first = snapshot(&kept, before);
    let log = Log::behind(before, before.log_time, b"tick");
    kept.push(tick(log.last));
    let second = snapshot(&kept, log.last);
    let io = |source| Error::Io { path: "/journal".into(), source };
    write_on(&mut disk.clone(), &log, &[&first, &second]).map_err(io)?;
    finish_on(&mut disk.clone(), &mut || Ok(())).map_err(io)?;
    Ok(())
}

fn tick(at: Point) -> Shown {
    Shown { seq: at.seq, log_time: at.log_time, payload: b"tick".to_vec() }
}

fn payloads(state: &[Shown]) -> Vec<&[u8]> {
    state.iter().map(|shown| &*shown.payload).collect()
}

#[test]
fn a_renewal_that_is_cut_anywhere_leaves_one_log_or_says_so() {
    let files = written().platter().files();
    let fresh = |fault| {
        let disk = SimulatedDisk::new(Platter::holding(&files));
        disk.platter().fault = fault;
        disk
    };
    let disk = fresh(Fault::None);
    let old = recovered(&disk).unwrap();
    let mut new = without_secret(&old);
    assert_eq!(old.len(), new.len() + 1);
    let disk = fresh(Fault::None);
    renew(&disk).unwrap();
    let operations = disk.platter().operations;
    new.push(recovered(&disk).unwrap().pop().unwrap());
    let (mut n_old, mut n_finished, mut n_new) = (0, 0, 0);
    for operation in 0..=operations {
        for seed in 0..SEEDS {
            let disk = fresh(Fault::PowerGoesAt(operation));
            let _ = renew(&disk);
            disk.platter().cut_power(seed);
            let what = format!("cut at {operation}, seed {seed}");
            match recovered(&disk) {
                Ok(left) if left == old => n_old += 1,
                Ok(left) => {
                    assert_eq!(payloads(&left), payloads(&new), "{what}");
                    n_new += 1;
                }
                Err(Error::ErasureUnfinished(_)) => {
                    // It is cut short once more, then finished.
                    let now = disk.platter().operations;
                    disk.platter().fault = Fault::PowerGoesAt(now + seed);
                    let _ = finish_on(&mut disk.clone(), &mut || Ok(()));
                    disk.platter().cut_power(seed + 1);
                    finish_on(&mut disk.clone(), &mut || Ok(())).unwrap();
                    let left = recovered(&disk).unwrap();
                    assert_eq!(payloads(&left), payloads(&new), "{what}");
                    n_finished += 1;
                }
                Err(other) => panic!("{what}: {other}"),
            }
        }
    }
    assert!(n_old > 20 && n_finished > 20 && n_new > 0, "{n_old}, {n_finished}, {n_new}");
}

#[test]
fn a_renewed_log_takes_records_and_outlives_the_damage_of_its_newest_snapshot() {
    let disk = written();
    renew(&disk).unwrap();
    let names: Vec<String> = disk.platter().files().into_keys().collect();
    let kept = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    assert_eq!((kept(".journal"), kept(".snapshot"), names.len()), (1, 2, 3), "{names:?}");
    let mut session = Session::open(&disk, 150).unwrap();
    assert!(session.append(vec![b"further".to_vec()]));
    let mut files = disk.platter().files();
    let newest = names.iter().rfind(|name| name.ends_with(".snapshot")).unwrap();
    *files.get_mut(newest).unwrap().last_mut().unwrap() ^= 1;
    let left = recovered(&SimulatedDisk::new(Platter::holding(&files))).unwrap();
    assert_eq!(payloads(&left).last_chunk(), Some(&[&b"tick"[..], b"further"]));
    assert!(!payloads(&left).contains(&SECRET));
}
