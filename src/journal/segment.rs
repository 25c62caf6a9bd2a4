//! The format on disk.
//!
//! A segment is a header and records:
//!
//! ```text
//! header  "TLJRNL" magic 6 | version u32 | first seq u64 | chain u32 | crc32c u32
//! record  length u32 | crc32c u32 | seq u64 | log time u64 | encoding u8 | payload
//! ```
//!
//! All numbers are little-endian. A record's checksum covers everything after itself and begins with
//! the checksum of the record before it: stale, moved or repeated records do not fit the chain. The
//! highest bit of the encoding marks the first record of a group: a group is written only after the one
//! before it was synced, so such a record proves that all before it were once on disk. What follows the
//! last record is zeros or what a former use of the file left.
//!
//! Version 1 had no such mark and every record stood for a group of its own; it is still read.

use crate::signal::Timestamp;

pub(super) const VERSION: u32 = 2;
/// The oldest version that is still read.
const VERSION_MIN: u32 = 1;
pub(super) const HEADER_BYTES: usize = 26;
pub(super) const RECORD_HEAD_BYTES: usize = 25;
const MAGIC: &[u8; 6] = b"TLJRNL";
/// Payloads from here on are compressed where that makes them smaller.
const COMPRESS_FROM: usize = 512;
/// zstd's fastest level: the disk is the slower part.
const LEVEL: i32 = 1;
/// No record is longer; a longer length is damage, not a reason to allocate.
pub(super) const PAYLOAD_MAX: usize = 256 << 20;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// Set in the encoding of a group's first record.
const FIRST: u8 = 0x80;

/// `00000000000000000042.journal`: by the first sequence number, so names sort as records do.
pub(super) fn file_name(first_seq: u64) -> String {
    format!("{first_seq:020}.journal")
}

/// The number in a segment's name; None for other files.
pub(super) fn first_seq(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".journal")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

pub(super) fn header(first_seq: u64, chain: u32) -> Vec<u8> {
    header_of(VERSION, first_seq, chain)
}

fn header_of(version: u32, first_seq: u64, chain: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&first_seq.to_le_bytes());
    bytes.extend_from_slice(&chain.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// What a header says, or why it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    Good { version: u32, first_seq: u64, chain: u32 },
    OtherVersion(u32),
    Bad(&'static str),
}

pub(super) fn read_header(bytes: &[u8]) -> Header {
    if bytes.get(..6) != Some(MAGIC) {
        return Header::Bad("it does not begin as a segment does");
    }
    let (Some(version), Some(first_seq), Some(chain)) =
        (u32_at(bytes, 6), u64_at(bytes, 10), u32_at(bytes, 18))
    else {
        return Header::Bad("the header is cut short");
    };
    if version == 0 {
        // No version is 0: the power went while the header was written, zeros stand for the rest.
        return Header::Bad("the header is cut short");
    }
    if !(VERSION_MIN..=VERSION).contains(&version) {
        // The checksum tells a damaged number from another version's.
        let ours = (VERSION_MIN..=VERSION).map(|version| header_of(version, first_seq, chain));
        let is_ours =
            ours.into_iter().any(|header| header.get(22..) == bytes.get(22..HEADER_BYTES));
        return if is_ours {
            Header::Bad("the header's version is damaged")
        } else {
            Header::OtherVersion(version)
        };
    }
    let checked = bytes.get(..22).map(crc32c::crc32c);
    if checked.is_none() || u32_at(bytes, 22) != checked {
        return Header::Bad("the header's checksum is wrong");
    }
    Header::Good { version, first_seq, chain }
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    FirstOfGroup,
    Further,
}

/// What a record says before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) log_time: Timestamp,
    pub(super) rank: Rank,
}

/// Appends one record to `out`, behind a record with the checksum `chain`; gives its own.
pub(super) fn write_record(out: &mut Vec<u8>, chain: u32, head: Head, payload: &[u8]) -> u32 {
    let compressed = if payload.len() >= COMPRESS_FROM {
        zstd::bulk::compress(payload, LEVEL).ok()
    } else {
        None
    };
    let (encoding, stored) = match &compressed {
        Some(small) if small.len() < payload.len() => (ZSTD, small.as_slice()),
        _ => (PLAIN, payload),
    };
    let from = out.len();
    let length = u32::try_from(stored.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&head.seq.to_le_bytes());
    out.extend_from_slice(&head.log_time.as_nanos().to_le_bytes());
    out.push(if head.rank == Rank::FirstOfGroup { encoding | FIRST } else { encoding });
    out.extend_from_slice(stored);
    let crc = checksum(chain, out.get(from..).unwrap_or_default());
    if let Some(place) = out.get_mut(from + 4..from + 8) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    crc
}

/// Appends a record as it lies on disk under another number and behind another one; gives its checksum.
pub(super) fn copy_record(out: &mut Vec<u8>, chain: u32, seq: u64, whole: &[u8]) -> u32 {
    let from = out.len();
    out.extend_from_slice(whole);
    if let Some(place) = out.get_mut(from + 8..from + 16) {
        place.copy_from_slice(&seq.to_le_bytes());
    }
    let crc = checksum(chain, out.get(from..).unwrap_or_default());
    if let Some(place) = out.get_mut(from + 4..from + 8) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    crc
}

/// Of a whole record, its own checksum field left out.
pub(super) fn checksum(chain: u32, record: &[u8]) -> u32 {
    let length = record.get(..4).unwrap_or_default();
    let rest = record.get(8..).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&chain.to_le_bytes()), length), rest)
}

/// The checksum that the record at the start of `bytes` bears, whatever else of it is wrong.
pub(super) fn stored_checksum(bytes: &[u8]) -> Option<u32> {
    u32_at(bytes, 4)
}

/// A record as it lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) seq: u64,
    pub(super) log_time: Timestamp,
    encoding: u8,
    stored: &'a [u8],
    pub(super) crc: u32,
    /// Bytes on disk, head included.
    pub(super) length: usize,
}

/// Reads the record at the start of `bytes`; None where it is cut short, damaged or not the next one.
pub(super) fn read_record(bytes: &[u8], chain: u32, seq: u64) -> Option<Record<'_>> {
    let record = read_unchained(bytes)?;
    (record.seq == seq && record.crc == checksum(chain, bytes.get(..record.length)?))
        .then_some(record)
}

/// Reads a record's shape without its place in the chain.
pub(super) fn read_unchained(bytes: &[u8]) -> Option<Record<'_>> {
    let stored_length =
        usize::try_from(u32_at(bytes, 0)?).ok().filter(|length| *length <= PAYLOAD_MAX)?;
    let length = RECORD_HEAD_BYTES.checked_add(stored_length)?;
    Some(Record {
        crc: u32_at(bytes, 4)?,
        seq: u64_at(bytes, 8)?,
        log_time: Timestamp::from_nanos(u64_at(bytes, 16)?),
        encoding: *bytes.get(24)?,
        stored: bytes.get(RECORD_HEAD_BYTES..length)?,
        length,
    })
}

impl Record<'_> {
    /// The payload as it was given; None where its encoding is unknown or it does not unpack.
    pub(super) fn payload(&self) -> Option<Vec<u8>> {
        match self.encoding & !FIRST {
            PLAIN => Some(self.stored.to_vec()),
            ZSTD => zstd::bulk::decompress(self.stored, PAYLOAD_MAX).ok(),
            _ => None,
        }
    }

    /// False where it was written together with the record before it.
    pub(super) fn is_first_of_group(&self, version: u32) -> bool {
        version < 2 || self.encoding & FIRST != 0
    }

    /// True if the record fits behind a record with this checksum.
    pub(super) fn follows(&self, bytes: &[u8], chain: u32) -> bool {
        bytes.get(..self.length).is_some_and(|whole| checksum(chain, whole) == self.crc)
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
