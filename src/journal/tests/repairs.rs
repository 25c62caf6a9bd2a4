//! What a repair keeps, on real folders that are damaged in every way that a byte, a file or a name can be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::simulated_disk::{Platter, SimulatedDisk};
use super::{Session, Shown, recovered};
use crate::journal::repair::{self, Report};
use crate::journal::{Back, Error, inspect};

type Files = BTreeMap<String, Vec<u8>>;

/// Where a snapshot is taken in the log of [`written`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Snapshots {
    None,
    /// One, behind the eighth record.
    One,
}

/// A log of fourteen records in several segments, groups of one to three among them, and what it holds.
fn written(snapshots: Snapshots) -> (Files, Vec<Shown>) {
    let disk = SimulatedDisk::default();
    let mut session = Session::open(&disk, 150).unwrap();
    let mut n = 0;
    for size in [1, 2, 1, 3, 1, 1, 1, 2, 1, 1] {
        let group = (0..size).map(|i| super::payload(n + i)).collect();
        assert!(session.append(group));
        n += size;
        if n == 8 && snapshots == Snapshots::One {
            assert!(session.snapshot());
        }
    }
    (disk.platter().files(), session.state)
}

/// A data directory with these files in its journal.
struct Folder(tempfile::TempDir);

impl Folder {
    fn of(files: &Files) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.journal()).unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.journal().join(name), bytes).unwrap();
        }
        folder
    }

    fn journal(&self) -> PathBuf {
        self.0.path().join("journal")
    }

    fn repair(&self) -> Option<Report> {
        repair::repair(&self.journal()).unwrap()
    }

    /// What the next start finds.
    fn recovered(&self) -> Result<Vec<Shown>, Error> {
        recovered(&SimulatedDisk::new(Platter::holding(&files_in(&self.journal()))))
    }
}

fn files_in(dir: &Path) -> Files {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    entries.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

/// Repairs, and holds what is left against what was written: everything is there but for what the report
/// names, in order. Gives the number of lost records; None where a start took the files as they were.
fn lost(damaged: &Files, state: &[Shown], what: &str) -> Option<u64> {
    let folder = Folder::of(damaged);
    let outlook = repair::outlook(&folder.journal()).unwrap();
    let Some(report) = folder.repair() else {
        assert_eq!(outlook, None, "{what}");
        folder.recovered().unwrap_or_else(|error| panic!("{what}: {error}"));
        return None;
    };
    assert_eq!(outlook.as_ref(), Some(&report), "{what}: it does what it said");
    let is_lost = |seq: u64| report.lost.iter().any(|lost| (lost.first..=lost.last).contains(&seq));
    let expected: Vec<_> =
        state.iter().filter(|shown| !is_lost(shown.seq)).map(|shown| &shown.payload).collect();
    let left = folder.recovered().unwrap_or_else(|error| panic!("{what}: {error}"));
    let left: Vec<_> = left.iter().map(|shown| &shown.payload).collect();
    assert_eq!(left, expected, "{what}: {report}");
    assert_eq!(folder.repair(), None, "{what}: once is enough");
    let seen = inspect::inspect(&folder.journal()).unwrap();
    assert_eq!(seen.damage, None, "{what}");
    for (name, bytes) in damaged {
        let kept = [folder.journal().join(name), folder.0.path().join(&report.aside).join(name)];
        let kept = kept.iter().any(|path| std::fs::read(path).is_ok_and(|found| found == *bytes));
        assert!(kept || name == "lock", "{what}: the bytes of {name} are gone");
    }
    assert_eq!(repair::reports(&folder.journal()), std::slice::from_ref(&report), "{what}");
    Some(report.n_lost())
}

/// Everything that one damaged byte can do, in every file.
fn each_byte(files: &Files, mut judge: impl FnMut(&Files, &str)) {
    for name in files.keys().filter(|name| name.ends_with(".journal")) {
        for at in 0..files[name].len() {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 0x10;
            judge(&damaged, &format!("byte {at} of {name}"));
        }
    }
}

#[test]
fn a_damaged_byte_costs_one_record_or_the_one_behind_it_too() {
    let (files, state) = written(Snapshots::None);
    let (mut n_repaired, mut n_harmless) = (0, 0);
    each_byte(&files, |damaged, what| match lost(damaged, &state, what) {
        None => {}
        Some(0) => n_harmless += 1,
        Some(n) => {
            assert!(n <= 2, "{what} costs {n}");
            n_repaired += 1;
        }
    });
    // Headers and checksums of records can be proven by what lies around them.
    assert!(n_repaired > 300 && n_harmless > 50, "{n_repaired} repaired, {n_harmless} for nothing");
}

#[test]
fn damage_that_a_snapshot_covers_costs_nothing() {
    let (files, state) = written(Snapshots::One);
    let covered: Vec<&String> = files.keys().filter(|name| name.ends_with(".journal")).collect();
    assert!(covered.len() > 3, "{covered:?}");
    for name in &covered[..2] {
        for at in 0..files[*name].len() {
            let mut damaged = files.clone();
            damaged.get_mut(*name).unwrap()[at] ^= 0x10;
            let n = lost(&damaged, &state, &format!("byte {at} of {name}"));
            assert!(n.is_none_or(|n| n == 0), "byte {at} of {name} costs {n:?}");
        }
    }
}

#[test]
fn files_that_change_places_cost_nothing_and_missing_ones_what_they_held() {
    let (files, state) = written(Snapshots::None);
    let names: Vec<String> =
        files.keys().filter(|name| name.ends_with(".journal")).cloned().collect();
    let mut swapped = files.clone();
    swapped.insert(names[0].clone(), files[&names[1]].clone());
    swapped.insert(names[1].clone(), files[&names[0]].clone());
    assert_eq!(lost(&swapped, &state, "swapped"), Some(0));
    let first = |name: &String| name.trim_end_matches(".journal").parse::<u64>().unwrap();
    for pair in names.windows(2) {
        let mut missing = files.clone();
        missing.remove(&pair[0]);
        let held = first(&pair[1]) - first(&pair[0]);
        assert_eq!(lost(&missing, &state, "missing"), Some(held));
        let mut cut = files.clone();
        cut.get_mut(&pair[0]).unwrap().truncate(40);
        assert_eq!(lost(&cut, &state, "cut"), Some(held));
    }
}

#[test]
fn stretches_of_zeros_and_several_damages_are_each_counted() {
    let (files, state) = written(Snapshots::None);
    let names: Vec<&String> = files.keys().filter(|name| name.ends_with(".journal")).collect();
    for length in [8, 64, 200] {
        for at in (0..120).step_by(7) {
            let mut damaged = files.clone();
            for name in [names[0], names[2]] {
                let bytes = damaged.get_mut(name).unwrap();
                bytes.iter_mut().skip(at).take(length).for_each(|byte| *byte = 0);
            }
            lost(&damaged, &state, &format!("{length} zeros at {at}"));
        }
    }
}

#[test]
fn damaged_snapshots_leave_what_the_log_holds() {
    let (mut files, state) = written(Snapshots::One);
    let snapshot = files.keys().find(|name| name.ends_with(".snapshot")).unwrap().clone();
    files.get_mut(&snapshot).unwrap()[50] ^= 1;
    let first = files.keys().next().unwrap().clone();
    assert_eq!(lost(&files, &state, "the whole log is there"), None);
    // The log was cut behind it: the state is gone, and with it the records.
    files.remove(&first);
    let second = files.keys().next().unwrap().clone();
    let gone = second.trim_end_matches(".journal").parse::<u64>().unwrap() - 1;
    assert_eq!(lost(&files, &state, "the log was cut"), Some(gone));
}

#[test]
fn a_repair_that_was_cut_short_is_refused_by_a_start_and_finished_by_the_next() {
    let (mut files, state) = written(Snapshots::None);
    files.values_mut().next().unwrap()[70] ^= 1;
    let whole = Folder::of(&files);
    let report = whole.repair().unwrap();
    let n_moves = repair::repair_in_part(&Folder::of(&files).journal(), 0).unwrap();
    assert!(n_moves > 3, "{n_moves}");
    for moves in 0..=n_moves {
        let folder = Folder::of(&files);
        repair::repair_in_part(&folder.journal(), moves).unwrap();
        let refused = folder.recovered().unwrap_err();
        assert!(matches!(refused, Error::RepairUnfinished(_)), "{moves} moves: {refused}");
        assert_eq!(folder.repair().unwrap().lost, report.lost);
        let left = folder.recovered().unwrap();
        assert_eq!(left.len(), state.len() - usize::try_from(report.n_lost()).unwrap());
        assert_eq!(files_in(&folder.journal()).len(), files_in(&whole.journal()).len());
    }
}

#[test]
fn a_log_of_another_version_is_left_alone() {
    let (mut files, _) = written(Snapshots::None);
    let mut damaged = files.clone();
    damaged.values_mut().next().unwrap()[70] ^= 1;
    let last = files.keys().rfind(|name| name.ends_with(".journal")).unwrap().clone();
    files = damaged;
    super::damage::of_another_version(files.get_mut(&last).unwrap());
    let folder = Folder::of(&files);
    let refused = repair::repair(&folder.journal()).unwrap_err();
    assert!(matches!(refused, Error::Version { found: 3, .. }), "{refused}");
    assert_eq!(files_in(&folder.journal()), files);
}

/// As after going back to a version that does not know a section.
#[test]
fn snapshots_that_the_state_does_not_take_stop_a_start_only_where_the_log_was_cut() {
    let (mut files, state) = written(Snapshots::One);
    let refuse = |files: &Files| {
        let disk = SimulatedDisk::new(Platter::holding(files));
        let n_replayed = std::cell::Cell::new(0);
        let mut back = Back {
            restore: &mut |_| Err("it has no section engine.3".to_owned()),
            replay: &mut |_| {
                n_replayed.set(n_replayed.get() + 1);
                Ok(())
            },
        };
        let found = crate::journal::recover::recover(&mut disk.clone(), &mut back);
        found.map(|found| (found.recovery.damaged_snapshots, n_replayed.get()))
    };
    assert_eq!(refuse(&files).unwrap(), (1, state.len()));
    let first = files.keys().next().unwrap().clone();
    files.remove(&first);
    let error = refuse(&files).unwrap_err();
    assert!(matches!(error, Error::NoState { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("no section engine.3") && said.contains("start that one"), "{said}");
    let folder = Folder::of(&files);
    assert_eq!(folder.repair(), None, "nothing is damaged");
}
