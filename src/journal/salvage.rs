//! What of a damaged log can be proven whole.
//!
//! A folder of segments comes in; the place of every record goes out that its checksum, and the chain
//! before or behind it, prove to be as it was written. Never is a record taken that only looks whole,
//! and never is anything changed.
//!
//! Behind a bad record the chain is found again by what the bad record bears, or should bear, or by two
//! records that fit one another: of those the first is lost with the bad one, since nothing proves it.

use super::disk::Disk;
use super::segment::{self, HEADER_BYTES, Header, RECORD_HEAD_BYTES, Record};
use super::{Error, recover};
use crate::number::u64_from_usize;

/// A whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its file's position in [`Salvage::files`].
    pub(super) file: usize,
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) seq: u64,
    /// The checksum of the record before it.
    pub(super) chain: u32,
    /// Its own, as it should be.
    pub(super) crc: u32,
}

/// A segment's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    /// Its first record, by its header or else by its name.
    pub(super) first_seq: u64,
    /// None where the header cannot be read.
    chain: Option<u32>,
    /// Nothing in it is damaged, and its name is right.
    pub(super) is_clean: bool,
}

/// Everything that is whole, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Salvage {
    pub(super) files: Vec<File>,
    pub(super) pieces: Vec<Piece>,
    /// Files in whose place another one belongs.
    pub(super) strays: Vec<String>,
}

/// Reads every segment.
pub(super) fn salvage(disk: &mut impl Disk) -> Result<Salvage, Error> {
    let mut found = files(disk)?;
    let mut last: Option<End> = None;
    for idx in 0..found.files.len() {
        let Some(file) = found.files.get(idx) else { break };
        let bytes = recover::read(disk, &file.name)?;
        let next = found.files.get(idx + 1);
        let mut reader = Reader {
            bytes: &bytes,
            file: idx,
            until: next.map_or(u64::MAX, |next| next.first_seq),
            chain_behind: next.and_then(|next| next.chain),
            pieces: &mut found.pieces,
        };
        let begun = begin(file, last);
        let read = begun.map(|(from, is_sure)| reader.read(from, is_sure));
        let is_whole = read.as_ref().is_some_and(|read| read.is_whole);
        last = read.map_or(last, |read| read.end.or(last));
        if let Some(file) = found.files.get_mut(idx) {
            file.is_clean &= is_whole;
        }
    }
    Ok(found)
}

/// Where records go on: behind this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    seq: u64,
    crc: u32,
}

/// All segments by their first record; of two with the same the one with a good header.
fn files(disk: &mut impl Disk) -> Result<Salvage, Error> {
    let mut files: Vec<File> = Vec::new();
    for name in recover::segments_from(&recover::list(disk)?, 0) {
        let bytes = recover::read(disk, &name)?;
        let named = segment::first_seq(&name).unwrap_or_default();
        let (first_seq, chain) = match segment::read_header(&bytes) {
            Header::Good { first_seq, chain, .. } => (first_seq, Some(chain)),
            Header::OtherVersion(found) => {
                return Err(Error::Version { path: disk.path(&name), found });
            }
            Header::Bad(_) => (named, None),
        };
        let is_clean = chain.is_some() && first_seq == named;
        files.push(File { name, first_seq, chain, is_clean });
    }
    files.sort_by_key(|file| (file.first_seq, file.chain.is_none()));
    let mut found = Salvage::default();
    for file in files {
        if found.files.last().is_some_and(|last| last.first_seq == file.first_seq) {
            found.strays.push(file.name);
        } else {
            found.files.push(file);
        }
    }
    Ok(found)
}

/// The place before a file's first record, and whether it is proven. None: the file is of another log.
fn begin(file: &File, last: Option<End>) -> Option<(End, bool)> {
    let before = file.first_seq.saturating_sub(1);
    let follows = last.filter(|last| last.seq == before);
    match (file.chain, follows) {
        (Some(chain), Some(last)) => (chain == last.crc).then_some((last, true)),
        (Some(crc), None) => Some((End { seq: before, crc }, true)),
        (None, Some(last)) => Some((last, true)),
        (None, None) => Some((End { seq: before, crc: 0 }, false)),
    }
}

/// What one file gave.
#[derive(Clone, Copy, Debug)]
struct Read {
    end: Option<End>,
    is_whole: bool,
}

/// Goes through one file.
struct Reader<'a> {
    bytes: &'a [u8],
    file: usize,
    /// Where the next file begins.
    until: u64,
    /// The checksum of the record before that, as its header says.
    chain_behind: Option<u32>,
    pieces: &'a mut Vec<Piece>,
}

/// Where the chain is found again.
#[derive(Clone, Copy, Debug)]
struct Resumed {
    end: End,
    at: usize,
    /// The record before turned out whole but for the checksum that it bears.
    proven: Option<Piece>,
}

impl Reader<'_> {
    fn read(&mut self, from: End, is_sure: bool) -> Read {
        let (mut end, mut at, mut is_whole) = (from, HEADER_BYTES, is_sure);
        let mut has_read = is_sure;
        while end.seq + 1 < self.until {
            let rest = self.bytes.get(at..).unwrap_or_default();
            if let Some(record) = segment::read_record(rest, end.crc, end.seq + 1) {
                if record.payload().is_some() {
                    self.pieces.push(self.piece(&record, at, end.crc));
                } else {
                    is_whole = false;
                }
                end = End { seq: record.seq, crc: record.crc };
                at += record.length;
                has_read = true;
                continue;
            }
            let Some(resumed) = self.resume(at, end) else { break };
            self.pieces.extend(resumed.proven);
            (end, at) = (resumed.end, resumed.at);
            (is_whole, has_read) = (false, true);
        }
        Read { end: has_read.then_some(end), is_whole }
    }

    fn piece(&self, record: &Record<'_>, at: usize, chain: u32) -> Piece {
        let Record { seq, crc, length, .. } = *record;
        Piece { file: self.file, at, length, seq, chain, crc }
    }

    /// Behind the bad record at `bad`.
    fn resume(&self, bad: usize, before: End) -> Option<Resumed> {
        let tail = self.bytes.get(bad..)?;
        self.behind_its_shape(tail, bad, before).or_else(|| self.further_on(tail, bad, before))
    }

    /// Where the length of the bad record is right.
    fn behind_its_shape(&self, tail: &[u8], bad: usize, before: End) -> Option<Resumed> {
        let shape = segment::read_unchained(tail)?;
        let seq = before.seq + 1;
        let (whole, behind) = tail.split_at_checked(shape.length)?;
        let at = bad + shape.length;
        let should = segment::checksum(before.crc, whole);
        let is_proven = segment::read_record(behind, should, seq + 1).is_some()
            || seq + 1 == self.until && self.chain_behind == Some(should);
        if is_proven && shape.seq == seq && shape.payload().is_some() {
            let piece = Piece { crc: should, ..self.piece(&shape, bad, before.crc) };
            return Some(Resumed { end: End { seq, crc: should }, at, proven: Some(piece) });
        }
        segment::read_record(behind, shape.crc, seq + 1)?;
        Some(Resumed { end: End { seq, crc: shape.crc }, at, proven: None })
    }

    /// Looks at every byte behind it: what is wrong may be its length, or many records.
    fn further_on(&self, tail: &[u8], bad: usize, before: End) -> Option<Resumed> {
        let bad_seq = before.seq + 1;
        let borne = segment::stored_checksum(tail);
        let mut at = 1;
        while let Some(rest) = tail.get(at..).filter(|rest| rest.len() >= RECORD_HEAD_BYTES) {
            // No more records can lie between than have place there.
            let seq_max = bad_seq + 1 + u64_from_usize(at / RECORD_HEAD_BYTES);
            if let Some(first) = segment::read_unchained(rest)
                && (bad_seq + 1..=seq_max).contains(&first.seq)
                && first.seq < self.until
            {
                if first.seq == bad_seq + 1
                    && let Some(crc) = borne.filter(|borne| first.follows(rest, *borne))
                {
                    let end = End { seq: bad_seq, crc };
                    return Some(Resumed { end, at: bad + at, proven: None });
                }
                let behind = rest.get(first.length..).unwrap_or_default();
                if segment::read_record(behind, first.crc, first.seq + 1).is_some() {
                    let end = End { seq: first.seq, crc: first.crc };
                    return Some(Resumed { end, at: bad + at + first.length, proven: None });
                }
            }
            at += 1;
        }
        None
    }
}
