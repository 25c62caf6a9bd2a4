//! The way back: the newest good snapshot, then every record behind it by the chain.
//!
//! A bad record is a torn tail, an unfinished write of which nobody was told, if nothing proves that it
//! was once on disk: neither the mark, nor a snapshot, nor the first record of a later group, which is
//! written only after what is before it was synced. A torn tail is cut by writing the good part anew
//! beside it, syncing, renaming. Any other bad record is corruption: recovery stops and changes nothing.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::keeper::{FRESH, RESERVE_UNFINISHED, Spares, is_spare};
use super::mark::{self, Mark};
use super::segment::{self, HEADER_BYTES, Header, RECORD_HEAD_BYTES};
use super::snapshot::{self, Point, Snapshot};
use super::{Back, Error, Recovery, Replayed, renewal, repair};
use crate::number::u64_from_usize;

/// Where the next record goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// None: a new segment is begun.
    pub(super) segment: Option<String>,
    /// Where its records end.
    pub(super) segment_bytes: u64,
    /// Where the file does.
    pub(super) segment_length: u64,
    pub(super) last: Point,
}

#[derive(Debug)]
pub(super) struct Found {
    pub(super) position: Position,
    pub(super) recovery: Recovery,
    pub(super) disk_bytes: u64,
    /// Of the segments behind the snapshot: what makes the next one due.
    pub(super) replayed_bytes: u64,
    pub(super) spares: Spares,
}

/// The name under which the good part of a torn segment is written.
const REWRITE: &str = "rewrite";

pub(super) fn recover(disk: &mut impl Disk, back: &mut Back<'_>) -> Result<Found, Error> {
    let names = list(disk)?;
    if names.iter().any(|name| name == repair::PLAN) {
        return Err(Error::RepairUnfinished(disk.path("")));
    }
    if names.iter().any(|name| name == renewal::PLAN) {
        return Err(Error::ErasureUnfinished(disk.path("")));
    }
    let (from, refused) = restore(disk, back)?;
    let mark = Mark::read(disk);
    let mut walk = Walk::new(from, mark);
    walk.recovery.damaged_snapshots = u64_from_usize(refused.len());
    let segments = segments_from(&names, from.seq);
    if from.seq == 0 && !refused.is_empty() && starts_at(segments.first()) > 1 {
        return Err(Error::NoState { path: disk.path(""), reasons: refused.join("; ") });
    }
    let (mut position, mut replayed_bytes) = (Position::default(), 0);
    for (i, name) in segments.iter().enumerate() {
        let bytes = read(disk, name)?;
        let path = disk.path(name);
        let file = Bytes { bytes: &bytes, path: &path };
        walk.until = starts_at(segments.get(i + 1));
        let good = walk.segment(&file, back.replay)?;
        walk.recovery.segments += 1;
        replayed_bytes += u64_from_usize(good);
        if let Some(next) = segments.get(i + 1) {
            walk.check_next(&file, good, next)?;
        } else {
            walk.end(&file, good)?;
            position = settle(disk, &walk, name, bytes.get(..good).unwrap_or_default())?;
        }
    }
    if segments.is_empty() {
        walk.nothing(&disk.path(""))?;
    }
    position.last = walk.last;
    let found = finish(disk, position, walk.recovery)?;
    Ok(Found { replayed_bytes, ..found })
}

/// Counts what is there and notes how far it is known to last.
fn finish(disk: &mut impl Disk, position: Position, recovery: Recovery) -> Result<Found, Error> {
    let mut found =
        Found { position, recovery, disk_bytes: 0, replayed_bytes: 0, spares: Spares::default() };
    for name in list(disk)? {
        let io = |source| Error::Io { path: PathBuf::from(&name), source };
        if is_spare(&name) || segment::first_seq(&name).is_some() {
            found.disk_bytes += disk.len(&name).map_err(io)?;
        }
        if is_spare(&name) {
            found.spares.put(name.clone());
        }
        let unfinished = [
            FRESH,
            REWRITE,
            RESERVE_UNFINISHED,
            snapshot::UNFINISHED,
            repair::PLAN_UNFINISHED,
            renewal::PLAN_UNFINISHED,
        ];
        let is_of_another = [repair::SUFFIX, renewal::SUFFIX].iter().any(|end| name.ends_with(end));
        if unfinished.contains(&name.as_str()) || is_of_another {
            disk.remove(&name).map_err(io)?;
        }
    }
    let Point { seq, chain, .. } = found.position.last;
    let io = |source| Error::Io { path: mark::FILE.into(), source };
    disk.create(mark::FILE).map_err(io)?;
    Mark { seq, chain }.write(disk).map_err(io)?;
    Ok(found)
}

/// Gives the state to `back`: the newest snapshot that can be read, or an older one. Nothing of a
/// damaged one is used. Says what is wrong with those that were not taken.
fn restore(disk: &mut impl Disk, back: &mut Back<'_>) -> Result<(Point, Vec<String>), Error> {
    let io = |source| Error::Io { path: "snapshots".into(), source };
    let mut refused = Vec::new();
    for name in snapshot::names(disk).map_err(io)? {
        let decoded = snapshot::decode(&read(disk, &name)?);
        let restored = decoded.map_err(str::to_owned).and_then(|snapshot| {
            let Snapshot { point, .. } = snapshot;
            (back.restore)(snapshot).map(|()| point)
        });
        match restored {
            Ok(point) => return Ok((point, refused)),
            Err(reason) => {
                tracing::error!(event = "journal.snapshot.refused", name, reason);
                refused.push(format!("{name}: {reason}"));
            }
        }
    }
    Ok((Point::default(), refused))
}

pub(super) fn list(disk: &mut impl Disk) -> Result<Vec<String>, Error> {
    disk.list().map_err(|source| Error::Io { path: disk.path(""), source })
}

pub(super) fn read(disk: &mut impl Disk, name: &str) -> Result<Vec<u8>, Error> {
    disk.read(name).map_err(|source| Error::Io { path: disk.path(name), source })
}

/// The segments that hold what follows `seq`, in order.
pub(super) fn segments_from(names: &[String], seq: u64) -> Vec<String> {
    let mut segments: Vec<&String> =
        names.iter().filter(|name| segment::first_seq(name).is_some()).collect();
    segments.sort();
    let first = segments
        .iter()
        .rposition(|name| segment::first_seq(name).is_some_and(|first| first <= seq + 1));
    segments.into_iter().skip(first.unwrap_or(0)).cloned().collect()
}

/// The first record of the next segment; of none, never.
pub(super) fn starts_at(next: Option<&String>) -> u64 {
    next.and_then(|next| segment::first_seq(next)).unwrap_or(u64::MAX)
}

const BAD_RECORD: &str = "a record does not fit its checksum or the one before it";

/// One file while it is read.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) path: &'a Path,
}

fn corrupt(path: &Path, at: usize, reason: &'static str) -> Error {
    Error::Corrupt { path: path.to_owned(), offset: u64_from_usize(at), reason }
}

/// Goes along the chain, record by record.
#[derive(Debug)]
pub(super) struct Walk {
    /// The last good record.
    pub(super) last: Point,
    /// Records up to this one are in the state already.
    pub(super) from: Point,
    mark: Option<Mark>,
    /// Of the segment that was read last.
    version: u32,
    is_begun: bool,
    /// Where the next segment begins. What a segment holds from there on is left of a write that found no
    /// space and was made anew in the next.
    pub(super) until: u64,
    pub(super) recovery: Recovery,
}

impl Walk {
    pub(super) fn new(from: Point, mark: Option<Mark>) -> Self {
        let (last, recovery) = (Point::default(), Recovery::default());
        Self {
            last,
            from,
            mark,
            version: segment::VERSION,
            is_begun: false,
            until: u64::MAX,
            recovery,
        }
    }

    /// The last record of which something other than itself proves that it was on disk.
    fn known_durable(&self) -> u64 {
        self.mark.map_or(0, |mark| mark.seq).max(self.from.seq)
    }

    /// Where there is no segment at all.
    pub(super) fn nothing(&self, dir: &Path) -> Result<(), Error> {
        if self.known_durable() > 0 {
            return Err(corrupt(dir, 0, "the segments are gone"));
        }
        Ok(())
    }

    /// Replays one segment; gives the length of its good part.
    pub(super) fn segment(
        &mut self,
        file: &Bytes<'_>,
        replay: &mut dyn FnMut(Replayed<'_>) -> Result<(), String>,
    ) -> Result<usize, Error> {
        let Bytes { bytes, path } = *file;
        if bytes.len() < HEADER_BYTES {
            // The crash came while the segment was begun; no record can have been acknowledged in it.
            return Ok(0);
        }
        match segment::read_header(bytes) {
            Header::Good { version, first_seq, chain } => {
                self.begin(first_seq, chain).map_err(|reason| corrupt(path, 0, reason))?;
                self.version = version;
            }
            Header::OtherVersion(found) => {
                return Err(Error::Version { path: path.to_owned(), found });
            }
            Header::Bad(reason) => {
                let torn = bytes.iter().skip(HEADER_BYTES).all(|byte| *byte == 0);
                return if torn { Ok(0) } else { Err(corrupt(path, 0, reason)) };
            }
        }
        let mut at = HEADER_BYTES;
        while self.last.seq + 1 < self.until
            && let Some(record) = bytes
                .get(at..)
                .and_then(|rest| segment::read_record(rest, self.last.chain, self.last.seq + 1))
        {
            let Some(payload) = record.payload() else {
                return Err(corrupt(path, at, "a payload does not unpack"));
            };
            let (seq, log_time) = (record.seq, record.log_time);
            if seq > self.from.seq {
                replay(Replayed { seq, log_time, payload: &payload })
                    .map_err(|reason| Error::Replay { seq, reason })?;
                self.recovery.records += 1;
            }
            self.last = Point { seq, log_time, chain: record.crc };
            self.check_known().map_err(|reason| corrupt(path, at, reason))?;
            at += record.length;
        }
        Ok(at)
    }

    /// The first segment begins where the snapshot allows it, the others where the one before ended.
    fn begin(&mut self, first_seq: u64, chain: u32) -> Result<(), &'static str> {
        if self.is_begun {
            let follows = first_seq == self.last.seq + 1 && chain == self.last.chain;
            return if follows { Ok(()) } else { Err("it does not follow the segment before it") };
        }
        if first_seq > self.from.seq + 1 {
            return Err(if self.from.seq == 0 {
                "the segments before it are gone, and there is no snapshot that holds them"
            } else {
                "the segments between the snapshot and this one are gone"
            });
        }
        self.is_begun = true;
        self.last = Point { seq: first_seq - 1, chain, ..self.from };
        self.check_known()
    }

    fn check_known(&self) -> Result<(), &'static str> {
        let Point { seq, chain, .. } = self.last;
        if seq == self.from.seq && chain != self.from.chain {
            return Err("it is not the log that the snapshot was taken of");
        }
        let differs = |mark: Mark| mark.seq == seq && mark.chain != chain;
        if self.mark.is_some_and(differs) {
            return Err("it is not the log that the mark was written for");
        }
        Ok(())
    }

    /// Damage is where the records end, not where the next segment begins.
    pub(super) fn check_next(
        &self,
        file: &Bytes<'_>,
        good: usize,
        next: &str,
    ) -> Result<(), Error> {
        let is_short = segment::first_seq(next).is_some_and(|next| next != self.last.seq + 1);
        if is_short && self.torn_bytes(file.bytes, good) > 0 {
            return Err(corrupt(file.path, good, BAD_RECORD));
        }
        Ok(())
    }

    /// Tells a torn tail of the last segment from corruption.
    pub(super) fn end(&mut self, file: &Bytes<'_>, good: usize) -> Result<(), Error> {
        if self.last.seq < self.known_durable() {
            return Err(corrupt(file.path, good, "a record that was on disk is damaged or gone"));
        }
        if self.group_after(file.bytes, good) {
            return Err(corrupt(file.path, good, BAD_RECORD));
        }
        self.recovery.torn_bytes = u64_from_usize(self.torn_bytes(file.bytes, good));
        Ok(())
    }

    /// Bytes that look like the beginning of the next record. Others are zeros, or were here before.
    fn torn_bytes(&self, bytes: &[u8], good: usize) -> usize {
        let tail = bytes.get(good..).unwrap_or_default();
        let seq = segment::u64_at(tail, 8);
        let is_begun = seq.is_none_or(|seq| seq == self.last.seq + 1);
        if good < HEADER_BYTES || is_begun {
            let claimed = segment::u32_at(tail, 0).and_then(|n| usize::try_from(n).ok());
            let claimed = claimed.map_or(usize::MAX, |n| n.saturating_add(RECORD_HEAD_BYTES));
            return if good < HEADER_BYTES { tail.len() } else { tail.len().min(claimed) };
        }
        0
    }

    /// True if the first record of a later group of this journal lies whole behind the bad one: then the
    /// bad one was once on disk. Such a record fits behind the checksum that the bad one bears, or should
    /// bear; or the record behind it fits it. Looks at every byte, since the bad one's length may be what
    /// is wrong.
    fn group_after(&self, bytes: &[u8], bad: usize) -> bool {
        let (next_seq, chain) = (self.last.seq + 1, self.last.chain);
        let tail = bytes.get(bad..).unwrap_or_default();
        let shape = segment::read_unchained(tail);
        if let Some((record, whole)) = shape.and_then(|r| Some((r, tail.get(..r.length)?)))
            && let Some(behind) = tail.get(record.length..)
            && segment::read_record(behind, segment::checksum(chain, whole), next_seq + 1)
                .is_some_and(|record| record.is_first_of_group(self.version))
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
                && self.proves(&first, rest, borne)
            {
                return true;
            }
            at += 1;
        }
        false
    }

    /// Whether this record, or the one behind it, is whole and the first of a later group.
    fn proves(&self, first: &segment::Record<'_>, rest: &[u8], borne: Option<u32>) -> bool {
        let next_seq = self.last.seq + 1;
        let behind = rest
            .get(first.length..)
            .and_then(|behind| segment::read_record(behind, first.crc, first.seq + 1));
        if behind.is_some_and(|behind| behind.is_first_of_group(self.version)) {
            return true;
        }
        let is_whole = behind.is_some()
            || first.seq == next_seq + 1 && borne.is_some_and(|borne| first.follows(rest, borne));
        is_whole && first.seq > next_seq && first.is_first_of_group(self.version)
    }
}

/// Makes what was replayed from the last segment durable and decides where records go on.
fn settle(disk: &mut impl Disk, walk: &Walk, name: &str, good: &[u8]) -> Result<Position, Error> {
    let is_proven = walk.mark.is_some_and(|mark| mark.seq >= walk.last.seq)
        && good.len() >= HEADER_BYTES
        && walk.recovery.torn_bytes == 0;
    if !is_proven {
        // What lies in the page cache after a crash of the process may not be on disk, and a torn tail
        // must go: the segment is written anew.
        rewrite(disk, name, good)?;
    }
    // What is written from now on has marks of groups, so it needs a segment that says so.
    if good.len() < HEADER_BYTES || walk.version != segment::VERSION {
        return Ok(Position::default());
    }
    let segment_length =
        disk.len(name).map_err(|source| Error::Io { path: disk.path(name), source })?;
    Ok(Position {
        segment: Some(name.to_owned()),
        segment_bytes: u64_from_usize(good.len()),
        segment_length,
        last: walk.last,
    })
}

fn rewrite(disk: &mut impl Disk, name: &str, good: &[u8]) -> Result<(), Error> {
    let mut write = || {
        if good.len() < HEADER_BYTES {
            disk.remove(name)?;
            return disk.sync_dir();
        }
        disk.create(REWRITE)?;
        disk.write_at(REWRITE, 0, good)?;
        disk.sync(REWRITE)?;
        disk.rename(REWRITE, name)?;
        disk.sync_dir()
    };
    let written = write();
    written.map_err(|source| Error::Io { path: disk.path(name), source })
}
