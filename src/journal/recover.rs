//! The way back: every segment in order, every record by the chain.
//!
//! A bad record with nothing whole after it, in the last segment, is a torn tail: an unfinished write
//! of which nobody was told. It is cut by writing the good part anew beside it, syncing, renaming. A bad
//! record anywhere else is corruption: recovery stops and changes nothing.

use super::disk::Disk;
use super::segment::{self, HEADER_BYTES, Header};
use super::{Error, Recovery, Replayed};
use crate::signal::Timestamp;

/// Where the next record goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// None: a new segment is begun.
    pub(super) segment: Option<String>,
    pub(super) segment_bytes: u64,
    pub(super) next_seq: u64,
    pub(super) chain: u32,
    pub(super) log_time: Timestamp,
}

#[derive(Debug)]
pub(super) struct Found {
    pub(super) position: Position,
    pub(super) recovery: Recovery,
    pub(super) disk_bytes: u64,
}

/// The name under which the good part of a torn segment is written.
const REWRITE: &str = "rewrite";

pub(super) fn recover(
    disk: &mut impl Disk,
    replay: &mut dyn FnMut(Replayed<'_>) -> Result<(), String>,
) -> Result<Found, Error> {
    let mut found = Found {
        position: Position { next_seq: 1, ..Position::default() },
        recovery: Recovery::default(),
        disk_bytes: 0,
    };
    let mut names: Vec<String> =
        list(disk)?.into_iter().filter(|name| segment::first_seq(name).is_some()).collect();
    names.sort();
    let last = names.len().saturating_sub(1);
    for (i, name) in names.iter().enumerate() {
        let bytes =
            disk.read(name).map_err(|source| Error::Io { path: disk.path(name), source })?;
        let good = read_segment(disk, name, &bytes, &mut found, replay)?;
        if good < bytes.len() {
            if i != last || whole_record_after(&bytes, good, found.position.next_seq) {
                let reason = "a record does not fit its checksum or the one before it";
                return Err(Error::Corrupt {
                    path: disk.path(name),
                    offset: u64::try_from(good).unwrap_or(u64::MAX),
                    reason,
                });
            }
            found.recovery.torn_bytes = u64::try_from(bytes.len() - good).unwrap_or(u64::MAX);
        }
        found.recovery.segments += 1;
        if i == last {
            // What lies in the page cache after a crash of the process may not be on disk, and a torn
            // tail must go: the last segment is written anew in either case.
            rewrite(disk, name, bytes.get(..good).unwrap_or_default())?;
            let is_empty = good < HEADER_BYTES;
            found.position.segment = (!is_empty).then(|| name.clone());
            found.position.segment_bytes = u64::try_from(good).unwrap_or(u64::MAX);
        }
        found.disk_bytes += u64::try_from(good).unwrap_or(u64::MAX);
    }
    Ok(found)
}

fn list(disk: &mut impl Disk) -> Result<Vec<String>, Error> {
    disk.list().map_err(|source| Error::Io { path: disk.path(""), source })
}

/// Replays one segment; gives the length of its good part.
fn read_segment(
    disk: &mut impl Disk,
    name: &str,
    bytes: &[u8],
    found: &mut Found,
    replay: &mut dyn FnMut(Replayed<'_>) -> Result<(), String>,
) -> Result<usize, Error> {
    if bytes.len() < HEADER_BYTES {
        // The crash came while the segment was begun; no record can have been acknowledged in it.
        return Ok(0);
    }
    let corrupt = |disk: &mut dyn FnMut(&str) -> std::path::PathBuf, reason| Error::Corrupt {
        path: disk(name),
        offset: 0,
        reason,
    };
    let mut path = |name: &str| disk.path(name);
    match segment::read_header(bytes) {
        Header::Good { first_seq, chain }
            if first_seq == found.position.next_seq && chain == found.position.chain => {}
        Header::Good { .. } => {
            return Err(corrupt(&mut path, "it does not follow the segment before it"));
        }
        Header::OtherVersion(version) => {
            return Err(Error::Version { path: path(name), found: version });
        }
        Header::Bad(reason) => {
            let torn = bytes.iter().skip(HEADER_BYTES).all(|byte| *byte == 0);
            return if torn { Ok(0) } else { Err(corrupt(&mut path, reason)) };
        }
    }
    let mut at = HEADER_BYTES;
    while let Some(record) = bytes
        .get(at..)
        .and_then(|rest| segment::read_record(rest, found.position.chain, found.position.next_seq))
    {
        let Some(payload) = record.payload() else {
            return Err(corrupt(&mut path, "a payload does not unpack"));
        };
        let replayed = Replayed { seq: record.seq, log_time: record.log_time, payload: &payload };
        replay(replayed).map_err(|reason| Error::Replay { seq: record.seq, reason })?;
        at += record.length;
        found.position.next_seq += 1;
        found.position.chain = record.crc;
        found.position.log_time = record.log_time;
        found.recovery.records += 1;
    }
    Ok(at)
}

/// True if a later record of this journal lies whole behind the bad one: then the bad one was once
/// good. Looks at every byte, with the chain of the record that stands before it there.
fn whole_record_after(bytes: &[u8], bad: usize, next_seq: u64) -> bool {
    let mut at = bad + 1;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= segment::RECORD_HEAD_BYTES) {
        if let Some(first) = segment::read_unchained(rest)
            && first.seq >= next_seq
            && first.seq < next_seq.saturating_add(1 << 32)
            && let Some(second_bytes) = rest.get(first.length..)
            && let Some(second) = segment::read_unchained(second_bytes)
            && second.seq == first.seq.wrapping_add(1)
            && second.follows(second_bytes, first.crc)
        {
            return true;
        }
        at += 1;
    }
    false
}

fn rewrite(disk: &mut impl Disk, name: &str, good: &[u8]) -> Result<(), Error> {
    let mut write = || {
        if good.len() < HEADER_BYTES {
            disk.remove(name)?;
            return disk.sync_dir();
        }
        disk.create(REWRITE)?;
        disk.append(REWRITE, good)?;
        disk.sync(REWRITE)?;
        disk.rename(REWRITE, name)?;
        disk.sync_dir()
    };
    let written = write();
    written.map_err(|source| Error::Io { path: disk.path(name), source })
}
