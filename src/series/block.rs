//! One sealed block: an immutable file with what the series of one shard hold of one stretch of time.
//!
//! The file is a mark with the version, groups of payloads (each group compressed and checksummed),
//! the index (of each series its place, its first and last time, its sum; compressed and checksummed),
//! and a tail that finds the index. Every byte is covered by a checksum or compared: what is never
//! true is a damaged file that gives a number.

use serde::{Deserialize, Serialize};

use super::table::SeriesId;
use crate::number::{u32_from_usize, u64_from_usize, usize_from_u32, usize_from_u64};

/// The first bytes of a file; the last is the version.
const MARK: [u8; 8] = *b"TLBLOCK\x01";
/// Index offset (8), its length, its length uncompressed, its checksum, the checksum of these (4 each).
pub(crate) const TAIL_BYTES: usize = 24;
/// Payloads that are compressed together: what reading one series decompresses.
const GROUP_BYTES: usize = 32 << 10;
/// No group or index of ours is longer uncompressed.
const RAW_MAX: usize = 256 << 20;
const ZSTD_LEVEL: i32 = 3;

/// Where a series lies in a block, and what can be known without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: SeriesId,
    group: u32,
    offset: u32,
    length: u32,
    pub(crate) span: Span,
    /// What a counter's slots sum up to.
    pub(crate) sum: i64,
    /// No slot is below zero.
    pub(crate) rises: bool,
}

/// First and last time: seconds of slots, milliseconds of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Span {
    pub(crate) fn joined(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// A stretch of the file that is compressed and checksummed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) length: u32,
    raw: u32,
    crc: u32,
}

impl Piece {
    /// What the bytes of this piece hold; None where they are not what was written.
    pub(crate) fn open(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (length, raw) = (usize_from_u32(self.length), usize_from_u32(self.raw));
        if bytes.len() != length || raw > RAW_MAX || crc32c::crc32c(bytes) != self.crc {
            return None;
        }
        zstd::bulk::decompress(bytes, raw).ok().filter(|held| held.len() == raw)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) groups: Vec<Piece>,
    /// Ascending by id.
    pub(crate) rows: Vec<Row>,
}

impl Index {
    pub(crate) fn row(&self, id: SeriesId) -> Option<&Row> {
        let at = self.rows.binary_search_by_key(&id, |row| row.id).ok()?;
        self.rows.get(at)
    }

    pub(crate) fn group(&self, row: &Row) -> Option<&Piece> {
        self.groups.get(usize_from_u32(row.group))
    }
}

impl Row {
    /// The number of the group that holds the payload.
    pub(crate) fn group(&self) -> u32 {
        self.group
    }

    pub(crate) fn payload<'a>(&self, group: &'a [u8]) -> Option<&'a [u8]> {
        let from = usize_from_u32(self.offset);
        group.get(from..from.checked_add(usize_from_u32(self.length))?)
    }
}

/// What one series puts into a block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Payload {
    pub(crate) span: Span,
    pub(crate) sum: i64,
    pub(crate) rises: bool,
    pub(crate) bytes: Vec<u8>,
}

/// Makes the bytes of a file. Series come in ascending order of id.
#[derive(Debug)]
pub(crate) struct Builder {
    file: Vec<u8>,
    group: Vec<u8>,
    index: Index,
}

impl Default for Builder {
    fn default() -> Self {
        Self { file: MARK.to_vec(), group: Vec::new(), index: Index::default() }
    }
}

impl Builder {
    pub(crate) fn add(&mut self, id: SeriesId, payload: &Payload) -> std::io::Result<()> {
        self.index.rows.push(Row {
            id,
            group: u32_from_usize(self.index.groups.len()),
            offset: u32_from_usize(self.group.len()),
            length: u32_from_usize(payload.bytes.len()),
            span: payload.span,
            sum: payload.sum,
            rises: payload.rises,
        });
        self.group.extend_from_slice(&payload.bytes);
        if self.group.len() >= GROUP_BYTES {
            self.end_group()?;
        }
        Ok(())
    }

    pub(crate) fn n_rows(&self) -> u64 {
        u64_from_usize(self.index.rows.len())
    }

    fn end_group(&mut self) -> std::io::Result<()> {
        let piece = put(&mut self.file, &self.group)?;
        self.index.groups.push(piece);
        self.group.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> std::io::Result<Vec<u8>> {
        if !self.group.is_empty() {
            self.end_group()?;
        }
        let index = postcard::to_stdvec(&self.index).map_err(std::io::Error::other)?;
        let piece = put(&mut self.file, &index)?;
        let mut tail = piece.offset.to_le_bytes().to_vec();
        for number in [piece.length, piece.raw, piece.crc] {
            tail.extend(number.to_le_bytes());
        }
        tail.extend(crc32c::crc32c(&tail).to_le_bytes());
        self.file.extend(tail);
        Ok(self.file)
    }
}

fn put(file: &mut Vec<u8>, raw: &[u8]) -> std::io::Result<Piece> {
    let compressed = zstd::bulk::compress(raw, ZSTD_LEVEL)?;
    let piece = Piece {
        offset: u64_from_usize(file.len()),
        length: u32_from_usize(compressed.len()),
        raw: u32_from_usize(raw.len()),
        crc: crc32c::crc32c(&compressed),
    };
    file.extend(compressed);
    Ok(piece)
}

/// Where the index lies, by the last bytes of a file of `length` bytes; None where they are damaged.
pub(crate) fn index_piece(mark: &[u8], tail: &[u8], length: u64) -> Option<Piece> {
    let (numbers, crc) = tail.split_at_checked(TAIL_BYTES - 4)?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(tail.get(at..at + 4)?.try_into().ok()?));
    let is_ours =
        mark == MARK && tail.len() == TAIL_BYTES && crc == crc32c::crc32c(numbers).to_le_bytes();
    let offset = u64::from_le_bytes(numbers.get(..8)?.try_into().ok()?);
    let piece = Piece { offset, length: u32_at(8)?, raw: u32_at(12)?, crc: u32_at(16)? };
    let end = offset.checked_add(u64::from(piece.length))?;
    (is_ours && end.checked_add(u64_from_usize(TAIL_BYTES))? == length).then_some(piece)
}

pub(crate) const MARK_BYTES: usize = MARK.len();

/// Reads the index of whole bytes of a file: the check of a whole block.
pub(crate) fn check(file: &[u8]) -> Option<Index> {
    let mark = file.get(..MARK_BYTES)?;
    let tail = file.get(file.len().checked_sub(TAIL_BYTES)?..)?;
    let piece = index_piece(mark, tail, u64_from_usize(file.len()))?;
    let bytes = |piece: &Piece| {
        let from = usize_from_u64(piece.offset);
        file.get(from..from.checked_add(usize_from_u32(piece.length))?)
    };
    let index: Index = postcard::from_bytes(&piece.open(bytes(&piece)?)?).ok()?;
    // Every byte between the mark and the tail belongs to one piece.
    let mut end = u64_from_usize(MARK_BYTES);
    for group in index.groups.iter().chain([&piece]) {
        group.open(bytes(group)?)?;
        if group.offset != end {
            return None;
        }
        end += u64::from(group.length);
    }
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut builder = Builder::default();
        for id in 0..40_u8 {
            let bytes = vec![id; 3000];
            let span = Span { first: i64::from(id), last: 99 };
            let payload = Payload { span, sum: i64::from(id), rises: true, bytes };
            builder.add(u64::from(id), &payload).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn a_flipped_bit_or_a_cut_anywhere_is_found() {
        let file = file();
        let index = check(&file).unwrap();
        assert_eq!((index.rows.len(), index.groups.len()), (40, 4));
        assert_eq!(index.row(7).unwrap().sum, 7);
        for at in 0..file.len() {
            for bit in [1, 128] {
                let mut damaged = file.clone();
                damaged[at] ^= bit;
                assert_eq!(check(&damaged), None, "byte {at}");
            }
            assert_eq!(check(&file[..at]), None, "cut at {at}");
        }
    }
}
