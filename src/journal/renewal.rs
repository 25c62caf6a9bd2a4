//! The log begins anew behind a state that stands for all of it: what was received is gone from the disk.
//!
//! Two snapshots, and the one record between them, come in. What goes out: a folder that holds them and
//! nothing else of a log. Never is anything removed before all that takes its place is on disk, and never
//! does a renewal that is cut short leave a folder that a start takes for whole.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::{Disk, RealDisk};
use super::keeper::HOLD;
use super::segment::{self, Head, Rank};
use super::snapshot::{self, Point, Snapshot};
use super::{Back, Error, recover};
use crate::signal::Timestamp;

/// While this file is there the folder is between two states and nothing else is done with it.
pub(super) const PLAN: &str = "erasure";
pub(super) const PLAN_UNFINISHED: &str = "erasure.new";
/// What a new file is called until all of them are on disk.
pub(super) const SUFFIX: &str = ".renewed";

/// A log of one record.
#[derive(Clone, Debug)]
pub struct Log {
    name: String,
    bytes: Vec<u8>,
    /// Its record's place.
    pub last: Point,
}

impl Log {
    /// The log that follows a state, with one record at `log_time`.
    pub fn behind(before: Point, log_time: Timestamp, payload: &[u8]) -> Self {
        let seq = before.seq + 1;
        let mut bytes = segment::header(seq, before.chain);
        let head = Head { seq, log_time, rank: Rank::FirstOfGroup };
        let chain = segment::write_record(&mut bytes, before.chain, head, payload);
        let name = segment::file_name(seq);
        Self { name, bytes, last: Point { seq, log_time, chain } }
    }
}

/// Names that the new files have in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Plan {
    into_place: BTreeSet<String>,
}

/// Gives the state back as a start does. The place behind the last record comes out.
///
/// # Errors
/// What would stop a start; and where a copy of the folder is being made.
pub fn read(dir: &Path, back: &mut Back<'_>) -> Result<Point, Error> {
    let mut disk = RealDisk::at(dir);
    if recover::list(&mut disk)?.iter().any(|name| name == HOLD) {
        let source = std::io::Error::other(
            "a copy is being made of the journal; wait for it, or remove this file",
        );
        return Err(Error::Io { path: disk.path(HOLD), source });
    }
    Ok(recover::recover(&mut disk, back)?.position.last)
}

/// Puts the new files beside the old ones, then the plan: from then on there is no way back.
///
/// # Errors
/// Where the disk fails; the folder is then as it was.
pub fn write(dir: &Path, log: &Log, snapshots: &[&Snapshot]) -> Result<(), Error> {
    let mut disk = RealDisk::at(dir);
    write_on(&mut disk, log, snapshots).map_err(|source| Error::Io { path: dir.to_owned(), source })
}

/// Finishes what [`write()`] began: old files go, new ones take their places, `beside` is done, and the plan
/// goes last. False where there is no plan.
///
/// # Errors
/// Where the disk fails, or `beside` does; it is to be tried again.
pub fn finish(dir: &Path, beside: &mut dyn FnMut() -> std::io::Result<()>) -> Result<bool, Error> {
    let mut disk = RealDisk::at(dir);
    finish_on(&mut disk, beside).map_err(|source| Error::Io { path: dir.to_owned(), source })
}

pub(super) fn write_on(
    disk: &mut impl Disk,
    log: &Log,
    snapshots: &[&Snapshot],
) -> std::io::Result<()> {
    let mut into_place = BTreeSet::from([log.name.clone()]);
    put(disk, &format!("{}{SUFFIX}", log.name), &log.bytes)?;
    for snapshot in snapshots {
        let name = snapshot::file_name(snapshot.point.seq);
        put(disk, &format!("{name}{SUFFIX}"), &snapshot::encode(snapshot)?)?;
        into_place.insert(name);
    }
    put(disk, PLAN_UNFINISHED, &serde_json::to_vec(&Plan { into_place })?)?;
    disk.sync_dir()?;
    disk.rename(PLAN_UNFINISHED, PLAN)?;
    disk.sync_dir()
}

pub(super) fn finish_on(
    disk: &mut impl Disk,
    beside: &mut dyn FnMut() -> std::io::Result<()>,
) -> std::io::Result<bool> {
    let names: BTreeSet<String> = disk.list()?.into_iter().collect();
    if !names.contains(PLAN) {
        return Ok(false);
    }
    let plan: Plan = serde_json::from_slice(&disk.read(PLAN)?)?;
    let unplaced = |name: &String| names.contains(&format!("{name}{SUFFIX}"));
    for name in &names {
        let is_new = name.ends_with(SUFFIX) || plan.into_place.contains(name) && !unplaced(name);
        if !is_new && name != PLAN {
            disk.remove(name)?;
        }
    }
    for name in plan.into_place.iter().filter(|name| unplaced(name)) {
        disk.rename(&format!("{name}{SUFFIX}"), name)?;
    }
    disk.sync_dir()?;
    beside()?;
    disk.remove(PLAN)?;
    disk.sync_dir()?;
    Ok(true)
}

/// A file that is on disk when this returns, but for its name.
fn put(disk: &mut impl Disk, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    disk.create(name)?;
    disk.write_at(name, 0, bytes)?;
    disk.sync(name)
}
