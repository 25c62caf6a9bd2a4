//! Looking at a journal without changing it.
//!
//! A folder comes in; what is there and what is wrong with it goes out. Never is anything written.

use std::path::{Path, PathBuf};

use super::disk::{Disk as _, RealDisk};
use super::mark::Mark;
use super::recover::{Bytes, Walk, segments_from, starts_at};
use super::segment::Header;
use super::snapshot::{self, Point, Snapshot};
use super::{Error, Replayed, renewal, segment};

/// What lies in a journal's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Inspection {
    pub segments: u64,
    /// Of all segments, or of those before the damage.
    pub records: u64,
    /// The first record that is there; 0: none.
    pub first_seq: u64,
    pub last_seq: u64,
    /// Bytes of an unfinished write at the end; the next start cuts them.
    pub torn_bytes: u64,
    /// Newest first.
    pub snapshots: Vec<SnapshotSeen>,
    /// What a start would refuse; none: the log is whole.
    pub damage: Option<String>,
}

/// One snapshot file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SnapshotSeen {
    pub name: String,
    /// The last record that it holds; 0 where it cannot be read.
    pub seq: u64,
    pub problem: Option<String>,
}

/// Reads every segment and every snapshot.
pub fn inspect(dir: &Path) -> Result<Inspection, Error> {
    let mut disk = RealDisk::at(dir);
    let names = list(&mut disk)?;
    if names.iter().any(|name| name == renewal::PLAN) {
        return Err(Error::ErasureUnfinished(dir.to_owned()));
    }
    let mut found = Inspection::default();
    let first = names.iter().filter_map(|name| segment::first_seq(name)).min();
    found.first_seq = first.unwrap_or(0);
    found.segments = crate::number::u64_from_usize(segments_from(&names, 0).len());
    let mut walk = Walk::new(start(&mut disk, found.first_seq)?, Mark::read(&mut disk));
    let outcome = walk_segments(&mut walk, &mut disk, &mut |_| Ok(()));
    (found.records, found.last_seq) = (walk.recovery.records, walk.last.seq);
    found.torn_bytes = walk.recovery.torn_bytes;
    found.damage = outcome.err().map(|error| error.to_string());
    for name in io(dir, snapshot::names(&mut disk))? {
        let seen = read_snapshot(&mut disk, dir, &name)?;
        let (seq, problem) = match seen {
            Ok(snapshot) => {
                let mut walk = Walk::new(snapshot.point, Mark::read(&mut disk));
                let fits = walk_segments(&mut walk, &mut disk, &mut |_| Ok(()));
                (snapshot.point.seq, fits.err().map(|error| error.to_string()))
            }
            Err(reason) => (0, Some(reason)),
        };
        found.snapshots.push(SnapshotSeen { name, seq, problem });
    }
    Ok(found)
}

/// The place before the first segment: what its header says.
fn start(disk: &mut RealDisk, first_seq: u64) -> Result<Point, Error> {
    let Some(seq) = first_seq.checked_sub(1) else { return Ok(Point::default()) };
    let name = segment::file_name(first_seq);
    let bytes = io(&disk.path(&name), disk.read(&name))?;
    let chain = match segment::read_header(&bytes) {
        Header::Good { chain, .. } => chain,
        // Said by the walk.
        Header::OtherVersion(_) | Header::Bad(_) => 0,
    };
    Ok(Point { seq, chain, ..Point::default() })
}

/// The place before the first record that is there.
pub fn begin(dir: &Path) -> Result<Point, Error> {
    let mut disk = RealDisk::at(dir);
    let first = list(&mut disk)?.iter().filter_map(|name| segment::first_seq(name)).min();
    start(&mut disk, first.unwrap_or(0))
}

/// The snapshot of this name.
pub fn snapshot(dir: &Path, name: &str) -> Result<Snapshot, Error> {
    let read = read_snapshot(&mut RealDisk::at(dir), dir, name)?;
    read.map_err(|reason| Error::Replay { seq: 0, reason })
}

/// Gives every record behind `from` to `replay`, in order.
pub fn read(
    dir: &Path,
    from: Point,
    replay: &mut dyn FnMut(Replayed<'_>) -> Result<(), String>,
) -> Result<Point, Error> {
    let mut disk = RealDisk::at(dir);
    let mut walk = Walk::new(from, Mark::read(&mut disk));
    walk_segments(&mut walk, &mut disk, replay)?;
    Ok(walk.last)
}

pub(super) fn walk_segments(
    walk: &mut Walk,
    disk: &mut RealDisk,
    replay: &mut dyn FnMut(Replayed<'_>) -> Result<(), String>,
) -> Result<(), Error> {
    let segments = segments_from(&list(disk)?, walk.from.seq);
    if segments.is_empty() {
        walk.nothing(&disk.path(""))?;
    }
    for (i, name) in segments.iter().enumerate() {
        let path = disk.path(name);
        let bytes = io(&path, disk.read(name))?;
        let file = Bytes { bytes: &bytes, path: &path };
        walk.until = starts_at(segments.get(i + 1));
        let good = walk.segment(&file, replay)?;
        match segments.get(i + 1) {
            Some(next) => walk.check_next(&file, good, next)?,
            None => walk.end(&file, good)?,
        }
    }
    Ok(())
}

fn read_snapshot(
    disk: &mut RealDisk,
    dir: &Path,
    name: &str,
) -> Result<Result<Snapshot, String>, Error> {
    let bytes = io(&dir.join(name), disk.read(name))?;
    Ok(snapshot::decode(&bytes).map_err(str::to_owned))
}

fn list(disk: &mut RealDisk) -> Result<Vec<String>, Error> {
    let path = disk.path("");
    io(&path, disk.list())
}

fn io<T>(path: &Path, done: std::io::Result<T>) -> Result<T, Error> {
    done.map_err(|source| Error::Io { path: PathBuf::from(path), source })
}
