//! The way back: every segment in order, every record by the chain.
//!
//! A bad record with nothing whole after it, in the last segment, is a torn tail: an unfinished write
//! of which nobody was told. It is cut by writing the good part anew beside it, syncing, renaming. A bad
//! record anywhere else is corruption: recovery stops and changes nothing.

use super::disk::Disk;
use super::segment::{self, HEADER_BYTES, Header, RECORD_HEAD_BYTES};
use super::{Error, Recovery, Replayed};
use crate::number::u64_from_usize;
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
            if i != last || whole_record_after(&bytes, good, &found.position) {
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
    let path = disk.path(name);
    let corrupt = |at: usize, reason| Error::Corrupt {
        path: path.clone(),
        offset: u64_from_usize(at),
        reason,
    };
    match segment::read_header(bytes) {
        Header::Good { first_seq, chain }
            if first_seq == found.position.next_seq && chain == found.position.chain => {}
        Header::Good { .. } => {
            return Err(corrupt(0, "it does not follow the segment before it"));
        }
        Header::OtherVersion(version) => {
            return Err(Error::Version { path: path.clone(), found: version });
        }
        Header::Bad(reason) => {
            let torn = bytes.iter().skip(HEADER_BYTES).all(|byte| *byte == 0);
            return if torn { Ok(0) } else { Err(corrupt(0, reason)) };
        }
    }
    let mut at = HEADER_BYTES;
    while let Some(record) = bytes
        .get(at..)
        .and_then(|rest| segment::read_record(rest, found.position.chain, found.position.next_seq))
    {
        let Some(payload) = record.payload() else {
            return Err(corrupt(at, "a payload does not unpack"));
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
/// good. Such a record fits behind the checksum that the bad one bears, or should bear; or there are two
/// of them, one behind the other. Looks at every byte, since the bad one's length may be what is wrong.
fn whole_record_after(bytes: &[u8], bad: usize, position: &Position) -> bool {
    let Position { next_seq, chain, .. } = *position;
    let tail = bytes.get(bad..).unwrap_or_default();
    let shape = segment::read_unchained(tail);
    if let Some((record, whole)) = shape.and_then(|r| Some((r, tail.get(..r.length)?)))
        && let Some(behind) = tail.get(record.length..)
        && segment::read_record(behind, segment::checksum(chain, whole), next_seq + 1).is_some()
    {
        return true;
    }
    let borne = segment::stored_checksum(tail);
    let mut at = 1;
    while let Some(rest) = tail.get(at..).filter(|rest| rest.len() >= RECORD_HEAD_BYTES) {
        // No more records can lie between than have place there: bytes that only look like a record
        // seldom pass.
        let seq_max = next_seq.saturating_add(u64_from_usize(at / RECORD_HEAD_BYTES));
        if let Some(first) = segment::read_unchained(rest)
            && (next_seq..=seq_max.max(next_seq + 1)).contains(&first.seq)
            && (first.seq == next_seq + 1 && borne.is_some_and(|borne| first.follows(rest, borne))
                || rest.get(first.length..).is_some_and(|behind| {
                    segment::read_record(behind, first.crc, first.seq + 1).is_some()
                }))
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
