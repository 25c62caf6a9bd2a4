//! The way on after damage: what is whole becomes a log again, what is not is set aside.
//!
//! A folder that a start refuses comes in. What goes out: the newest good snapshot, the whole records
//! behind it in a chain that is anchored anew, and beside the folder another one with every file that was
//! replaced, as it was. Never is a byte of those changed, never is a record left out that can be proven
//! whole, and never does a repair that is cut short leave a folder that a start takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{Disk as _, RealDisk};
use super::inspect::walk_segments;
use super::mark::{self, Mark};
use super::recover::{self, Walk};
use super::salvage::{Piece, Salvage, salvage};
use super::snapshot::{self, Point};
use super::{Error, renewal, segment};
use crate::number::u64_from_usize;

/// While this file is there the folder is between two states and nothing else is done with it.
pub(super) const PLAN: &str = "repair";
pub(super) const PLAN_UNFINISHED: &str = "repair.new";
/// What a new file is called until all of them are on disk.
pub(super) const SUFFIX: &str = ".repaired";
/// Folders of files that were set aside begin like this, beside the journal's.
const ASIDE: &str = "journal.damaged";
/// More are never looked for; the files of a further repair join those of the first.
const ASIDES_MAX: usize = 1_000;
const REPORT: &str = "report.json";
/// Runs of lost records that are named.
const RUNS_MAX: usize = 10;

/// A run of records that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    pub first: u64,
    pub last: u64,
}

/// What a repair does, or did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Acknowledged records that neither a snapshot nor the log holds whole; by their numbers of before.
    pub lost: Vec<Lost>,
    /// The state that the log goes on from; None: from nothing.
    pub snapshot: Option<u64>,
    /// Whole records behind it.
    pub records: u64,
    /// The folder, beside the journal's, in which the files that were replaced lie.
    pub aside: String,
}

impl Report {
    pub fn n_lost(&self) -> u64 {
        self.lost.iter().map(|lost| lost.last - lost.first + 1).sum()
    }
}

/// What is lost, in words.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.lost.is_empty() {
            return f.write_str("no acknowledged record is lost");
        }
        let runs = self.lost.iter().take(RUNS_MAX);
        let runs: Vec<String> =
            runs.map(|lost| format!("{} to {}", lost.first, lost.last)).collect();
        let more = if self.lost.len() > RUNS_MAX { " and more" } else { "" };
        let (n, runs) = (self.n_lost(), runs.join(", "));
        write!(f, "{n} acknowledged records are damaged for good (numbers {runs}{more})")
    }
}

/// Files on their way, so that a repair that was cut short can be finished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Plan {
    report: Report,
    /// Into the folder beside.
    away: BTreeSet<String>,
    /// From their unfinished names.
    into_place: Vec<String>,
}

/// What a repair of `dir` would do. None: a start takes it as it is.
///
/// # Errors
/// Where a file cannot be read, or was written by another version.
pub fn outlook(dir: &Path) -> Result<Option<Report>, Error> {
    let mut disk = RealDisk::at(dir);
    if let Some(plan) = unfinished(&mut disk)? {
        return Ok(Some(plan.report));
    }
    Ok(Draft::of(&mut disk)?.map(|draft| draft.report))
}

/// Does it.
///
/// # Errors
/// Where a file cannot be read or written. A repair that was cut short is finished by the next one.
pub fn repair(dir: &Path) -> Result<Option<Report>, Error> {
    let mut disk = RealDisk::at(dir);
    let plan = if let Some(plan) = unfinished(&mut disk)? {
        plan
    } else {
        let Some(draft) = Draft::of(&mut disk)? else { return Ok(None) };
        draft.write(&mut disk)?
    };
    finish(&mut disk, &plan)?;
    Ok(Some(plan.report))
}

/// Reports of repairs whose folders are still beside the journal's, oldest first.
pub fn reports(dir: &Path) -> Vec<Report> {
    let mut folders = asides(dir);
    folders.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    let read = |folder: PathBuf| serde_json::from_slice(&fs::read(folder.join(REPORT)).ok()?).ok();
    folders.into_iter().filter_map(read).collect()
}

fn asides(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("..")).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_aside = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE))
    };
    paths.filter(is_aside).collect()
}

/// A name that nothing has yet.
fn next_aside(dir: &Path) -> String {
    let name = |n: usize| if n == 0 { ASIDE.to_owned() } else { format!("{ASIDE}.{n}") };
    let free = (0..ASIDES_MAX).map(name).find(|name| !beside(dir, name).exists());
    free.unwrap_or_else(|| ASIDE.to_owned())
}

/// A folder of this name in the one that holds the journal's.
pub fn beside(dir: &Path, name: &str) -> PathBuf {
    dir.join("..").join(name)
}

fn unfinished(disk: &mut RealDisk) -> Result<Option<Plan>, Error> {
    if disk.path(renewal::PLAN).exists() {
        return Err(Error::ErasureUnfinished(disk.path("")));
    }
    let path = disk.path(PLAN);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = recover::read(disk, PLAN)?;
    let plan = serde_json::from_slice(&bytes).map_err(|source| Error::Io {
        path,
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, source),
    })?;
    Ok(Some(plan))
}

/// What was found, and what becomes of it.
#[derive(Debug)]
struct Draft {
    report: Report,
    found: Salvage,
    /// Whole records that the new log holds.
    kept: Vec<Piece>,
    base: Point,
    /// Snapshots that do not belong to it.
    useless: Vec<String>,
}

impl Draft {
    /// None: a start takes the folder as it is.
    fn of(disk: &mut RealDisk) -> Result<Option<Self>, Error> {
        let snapshots = snapshots(disk)?;
        let mark = Mark::read(disk);
        let newest = snapshots.iter().find_map(|seen| seen.point);
        let mut walk = Walk::new(newest.unwrap_or_default(), mark);
        match walk_segments(&mut walk, disk, &mut |_| Ok(())) {
            Ok(()) => return Ok(None),
            Err(Error::Corrupt { .. }) => {}
            Err(other) => return Err(other),
        }
        let found = salvage(disk)?;
        let base = snapshots.iter().filter_map(|seen| seen.point).find(|one| fits(&found, *one));
        let from = base.map_or(0, |base| base.seq);
        let kept = kept(&found.pieces, from).to_vec();
        let report = Report {
            lost: lost(&kept, from, mark.map_or(0, |mark| mark.seq)),
            snapshot: base.map(|base| base.seq),
            records: u64_from_usize(kept.iter().filter(|piece| piece.seq > from).count()),
            aside: next_aside(&disk.path("")),
        };
        let first = kept.first().map_or(from + 1, |piece| piece.seq.min(from + 1));
        let is_useful =
            |point: Point| (first..=from + 1).contains(&(point.seq + 1)) && fits(&found, point);
        let useless = snapshots.iter().filter(|seen| !seen.point.is_some_and(is_useful));
        let useless = useless.map(|seen| seen.name.clone()).collect();
        Ok(Some(Self { report, found, kept, base: base.unwrap_or_default(), useless }))
    }

    /// Writes everything that is new, then the plan: from then on there is no way back.
    fn write(self, disk: &mut RealDisk) -> Result<Plan, Error> {
        let mut away: BTreeSet<String> =
            self.useless.iter().chain(&self.found.strays).cloned().collect();
        // It speaks of the log of before.
        away.insert(mark::FILE.to_owned());
        let into_place = self.write_segments(disk, &mut away)?;
        let mut aside = RealDisk::open(&beside(&disk.path(""), &self.report.aside))?;
        let report = serde_json::to_vec_pretty(&self.report).unwrap_or_default();
        put(&mut aside, REPORT, &report)?;
        in_folder(&mut aside, RealDisk::sync_dir)?;
        let plan = Plan { report: self.report, away, into_place };
        put(disk, PLAN_UNFINISHED, &serde_json::to_vec_pretty(&plan).unwrap_or_default())?;
        in_folder(disk, |disk| {
            disk.sync_dir()?;
            disk.rename(PLAN_UNFINISHED, PLAN)?;
            disk.sync_dir()
        })?;
        Ok(plan)
    }

    /// Files that are whole and in their place stay. The others are written anew, and from the first gap
    /// on all are: numbers and chain go on without it. Gives the new names.
    fn write_segments(
        &self,
        disk: &mut RealDisk,
        away: &mut BTreeSet<String>,
    ) -> Result<Vec<String>, Error> {
        let anchored = self.kept.first().filter(|first| first.seq <= self.base.seq + 1);
        let mut cursor =
            anchored.map_or(Cursor { seq: self.base.seq + 1, chain: self.base.chain }, |first| {
                Cursor { seq: first.seq, chain: first.chain }
            });
        let (mut into_place, mut stays) = (Vec::new(), false);
        let files = &self.found.files;
        for (idx, file) in files.iter().enumerate() {
            let begin = self.kept.partition_point(|piece| piece.file < idx);
            let end = self.kept.partition_point(|piece| piece.file <= idx);
            let pieces = self.kept.get(begin..end).unwrap_or_default();
            if let (Some(first), Some(last), Some(next)) =
                (pieces.first(), pieces.last(), files.get(idx + 1))
                && file.is_clean
                && first.seq == file.first_seq
                && first.seq == cursor.seq
                && first.chain == cursor.chain
                && last.seq + 1 == next.first_seq
            {
                cursor = Cursor { seq: last.seq + 1, chain: last.crc };
                stays = true;
                continue;
            }
            away.insert(file.name.clone());
            if !pieces.is_empty() {
                let name = segment::file_name(cursor.seq);
                let source = recover::read(disk, &file.name)?;
                let bytes = anew(&source, pieces, &mut cursor);
                put(disk, &format!("{name}{SUFFIX}"), &bytes)?;
                into_place.push(name);
            }
        }
        if into_place.is_empty() && !stays {
            // A log of no records is one that begins behind the snapshot.
            let name = segment::file_name(cursor.seq);
            put(disk, &format!("{name}{SUFFIX}"), &segment::header(cursor.seq, cursor.chain))?;
            into_place.push(name);
        }
        Ok(into_place)
    }
}

/// Where the next record goes, and what it follows.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    seq: u64,
    chain: u32,
}

/// A segment of these records, numbered and chained from the cursor on.
fn anew(source: &[u8], pieces: &[Piece], cursor: &mut Cursor) -> Vec<u8> {
    let mut out = segment::header(cursor.seq, cursor.chain);
    for piece in pieces {
        let whole = source.get(piece.at..piece.at + piece.length).unwrap_or_default();
        cursor.chain = segment::copy_record(&mut out, cursor.chain, cursor.seq, whole);
        cursor.seq += 1;
    }
    out
}

/// A snapshot's file.
#[derive(Debug)]
struct Seen {
    name: String,
    /// None where it cannot be read.
    point: Option<Point>,
}

/// Newest first.
fn snapshots(disk: &mut RealDisk) -> Result<Vec<Seen>, Error> {
    let dir = disk.path("");
    let names = snapshot::names(disk).map_err(|source| Error::Io { path: dir, source })?;
    let mut seen = Vec::new();
    for name in names {
        let bytes = recover::read(disk, &name)?;
        let point = snapshot::decode(&bytes).ok().map(|snapshot| snapshot.point);
        seen.push(Seen { name, point });
    }
    Ok(seen)
}

/// Whether a snapshot was taken of this log, as far as the records beside it tell.
fn fits(found: &Salvage, point: Point) -> bool {
    let piece = |seq: u64| {
        let idx = found.pieces.binary_search_by_key(&seq, |piece| piece.seq).ok()?;
        found.pieces.get(idx)
    };
    piece(point.seq).is_none_or(|piece| piece.crc == point.chain)
        && piece(point.seq + 1).is_none_or(|piece| piece.chain == point.chain)
}

/// The records behind `from`, and those before it that they follow without a gap.
fn kept(pieces: &[Piece], from: u64) -> &[Piece] {
    let behind = pieces.partition_point(|piece| piece.seq <= from);
    let is_anchored = match (pieces.get(behind), behind.checked_sub(1).and_then(|i| pieces.get(i)))
    {
        (Some(first), _) => first.seq == from + 1,
        (None, Some(last)) => last.seq == from,
        (None, None) => false,
    };
    if !is_anchored {
        return pieces.get(behind..).unwrap_or_default();
    }
    let joined = |pair: &[Piece]| match pair {
        [a, b] => a.seq + 1 == b.seq && a.crc == b.chain,
        _ => false,
    };
    let before = pieces.get(..(behind + 1).min(pieces.len())).unwrap_or_default();
    let n_joined = before.windows(2).rev().take_while(|pair| joined(pair)).count();
    pieces.get(before.len() - 1 - n_joined..).unwrap_or_default()
}

/// What is missing behind `from`, up to the last record that was known to be on disk.
fn lost(kept: &[Piece], from: u64, known: u64) -> Vec<Lost> {
    let mut lost = Vec::new();
    let mut expected = from + 1;
    for piece in kept.iter().filter(|piece| piece.seq > from) {
        if piece.seq > expected {
            lost.push(Lost { first: expected, last: piece.seq - 1 });
        }
        expected = piece.seq + 1;
    }
    if known >= expected {
        lost.push(Lost { first: expected, last: known });
    }
    lost
}

/// A file that is on disk when this returns, but for its name.
fn put(disk: &mut RealDisk, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = disk.path(name);
    let mut write = || {
        disk.create(name)?;
        disk.write_at(name, 0, bytes)?;
        disk.sync(name)
    };
    write().map_err(|source| Error::Io { path, source })
}

fn in_folder(
    disk: &mut RealDisk,
    run: impl FnOnce(&mut RealDisk) -> std::io::Result<()>,
) -> Result<(), Error> {
    let path = disk.path("");
    run(disk).map_err(|source| Error::Io { path, source })
}

/// Moves what the plan says; what was moved before stays where it is.
fn finish(disk: &mut RealDisk, plan: &Plan) -> Result<(), Error> {
    in_folder(disk, |disk| {
        plan.away.iter().try_for_each(|name| set_aside(disk, plan, name))?;
        fs::File::open(beside(&disk.path(""), &plan.report.aside))?.sync_all()?;
        disk.sync_dir()?;
        plan.into_place.iter().try_for_each(|name| put_in_place(disk, name))?;
        disk.sync_dir()?;
        disk.remove(PLAN)?;
        disk.sync_dir()
    })
}

fn set_aside(disk: &RealDisk, plan: &Plan, name: &str) -> std::io::Result<()> {
    let (from, to) = (disk.path(name), beside(&disk.path(""), &plan.report.aside).join(name));
    if from.exists() && !to.exists() { fs::rename(from, to) } else { Ok(()) }
}

fn put_in_place(disk: &mut RealDisk, name: &str) -> std::io::Result<()> {
    let unfinished = format!("{name}{SUFFIX}");
    if disk.path(&unfinished).exists() { disk.rename(&unfinished, name) } else { Ok(()) }
}

/// A repair that ends after some of its moves; gives how many there are.
#[cfg(test)]
pub(super) fn repair_in_part(dir: &Path, moves: usize) -> Result<usize, Error> {
    let mut disk = RealDisk::at(dir);
    let Some(draft) = Draft::of(&mut disk)? else { return Ok(0) };
    let plan = draft.write(&mut disk)?;
    in_folder(&mut disk, |disk| {
        plan.away.iter().take(moves).try_for_each(|name| set_aside(disk, &plan, name))?;
        let mut placed = plan.into_place.iter().take(moves.saturating_sub(plan.away.len()));
        placed.try_for_each(|name| put_in_place(disk, name))
    })?;
    Ok(plan.away.len() + plan.into_place.len())
}
