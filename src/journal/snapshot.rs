//! Snapshots: the state behind one record, in named sections, in one checksummed file.
//!
//! ```text
//! file     "TLSNAP" magic 6 | version u32 | seq u64 | log time u64 | chain u32 | sections u32 | crc32c u32
//! section  name length u8 | name | length u64 | stored length u64 | crc32c u32 | stored (zstd)
//! ```
//!
//! A section's checksum begins with the one before it, as records' do. Sections and a place in the log
//! come in; a file goes out that is under its name only when all of it is on disk. Never is a damaged
//! file taken for a snapshot.

use super::disk::Disk;
use super::segment::{u32_at, u64_at};
use crate::number::u64_from_usize;
use crate::signal::Timestamp;

pub(super) const VERSION: u32 = 1;
const MAGIC: &[u8; 6] = b"TLSNAP";
const HEADER_BYTES: usize = 38;
/// zstd's fastest level: a snapshot should be over soon.
const LEVEL: i32 = 1;
/// No section is longer; a longer length is damage, not a reason to allocate.
const SECTION_MAX: u64 = 8 << 30;
/// The name under which a snapshot is written.
pub(super) const UNFINISHED: &str = "snapshot.unfinished";
/// Bytes that are written at once.
const WRITE_BYTES: usize = 4 << 20;

/// A place between two records: right behind `seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    pub seq: u64,
    pub log_time: Timestamp,
    /// The checksum of the record, which is that of all records up to it.
    pub chain: u32,
}

/// The state of one stage, as that stage writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The state behind `point`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub point: Point,
    pub sections: Vec<Section>,
}

impl Snapshot {
    /// The section's bytes; None where the version that wrote it had none of that name.
    pub fn section(&self, name: &str) -> Option<&[u8]> {
        self.sections
            .iter()
            .find(|section| section.name == name)
            .map(|section| section.bytes.as_slice())
    }
}

/// `00000000000000000042.snapshot`: by the last record that it holds.
pub(super) fn file_name(seq: u64) -> String {
    format!("{seq:020}.snapshot")
}

/// The number in a snapshot's name; None for other files.
pub(super) fn seq_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".snapshot")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// Names of all snapshots, newest first.
pub(super) fn names(disk: &mut impl Disk) -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> =
        disk.list()?.into_iter().filter(|name| seq_of(name).is_some()).collect();
    names.sort_by(|a, b| b.cmp(a));
    Ok(names)
}

/// Sections as a file holds them, packed one by one as they are made: the state is never there a second time as
/// a whole.
#[derive(Debug, Default)]
pub struct Packed(Vec<Stored>);

#[derive(Debug)]
struct Stored {
    /// Name and lengths.
    head: Vec<u8>,
    bytes: Vec<u8>,
}

impl Packed {
    /// Takes one more section.
    ///
    /// # Errors
    /// Where it cannot be packed, or has a name of more than 255 bytes.
    pub fn add(&mut self, section: &Section) -> std::io::Result<()> {
        let Section { name, bytes } = section;
        let stored = zstd::bulk::compress(bytes, LEVEL)?;
        let mut head = Vec::with_capacity(1 + name.len() + 16);
        head.push(u8::try_from(name.len()).map_err(|_long| std::io::ErrorKind::InvalidInput)?);
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(&u64_from_usize(bytes.len()).to_le_bytes());
        head.extend_from_slice(&u64_from_usize(stored.len()).to_le_bytes());
        self.0.push(Stored { head, bytes: stored });
        Ok(())
    }

    /// Gives the file, piece by piece.
    fn each_piece(
        &self,
        point: Point,
        put: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&point.seq.to_le_bytes());
        header.extend_from_slice(&point.log_time.as_nanos().to_le_bytes());
        header.extend_from_slice(&point.chain.to_le_bytes());
        header.extend_from_slice(&u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_le_bytes());
        let mut crc = crc32c::crc32c(&header);
        header.extend_from_slice(&crc.to_le_bytes());
        put(&header)?;
        for Stored { head, bytes } in &self.0 {
            crc = section_checksum(crc, head, bytes);
            put(head)?;
            put(&crc.to_le_bytes())?;
            put(bytes)?;
        }
        Ok(())
    }
}

pub(super) fn encode(snapshot: &Snapshot) -> std::io::Result<Vec<u8>> {
    let mut packed = Packed::default();
    snapshot.sections.iter().try_for_each(|section| packed.add(section))?;
    let mut out = Vec::new();
    packed.each_piece(snapshot.point, &mut |piece| {
        out.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(out)
}

/// The snapshot, or why the bytes are none.
pub(super) fn decode(bytes: &[u8]) -> Result<Snapshot, &'static str> {
    let cut_short = "it is cut short";
    let header = bytes.get(..HEADER_BYTES).ok_or(cut_short)?;
    if header.get(..6) != Some(MAGIC) {
        return Err("it does not begin as a snapshot does");
    }
    if u32_at(header, 6) != Some(VERSION) {
        return Err("it is of another version");
    }
    let mut crc = crc32c::crc32c(header.get(..HEADER_BYTES - 4).unwrap_or_default());
    if u32_at(header, HEADER_BYTES - 4) != Some(crc) {
        return Err("the header's checksum is wrong");
    }
    let point = Point {
        seq: u64_at(header, 10).ok_or(cut_short)?,
        log_time: Timestamp::from_nanos(u64_at(header, 18).ok_or(cut_short)?),
        chain: u32_at(header, 26).ok_or(cut_short)?,
    };
    let n_sections = u32_at(header, 30).ok_or(cut_short)?;
    let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let mut sections = Vec::new();
    for _ in 0..n_sections {
        let (section, after) = decode_section(rest, &mut crc)?;
        sections.push(section);
        rest = after;
    }
    if !rest.is_empty() {
        return Err("bytes follow its last section");
    }
    Ok(Snapshot { point, sections })
}

fn decode_section<'a>(bytes: &'a [u8], crc: &mut u32) -> Result<(Section, &'a [u8]), &'static str> {
    let cut_short = "it is cut short";
    let name_end = 1 + usize::from(*bytes.first().ok_or(cut_short)?);
    let length = u64_at(bytes, name_end).filter(|length| *length <= SECTION_MAX);
    let length = length.and_then(|length| usize::try_from(length).ok()).ok_or(cut_short)?;
    let stored_length = u64_at(bytes, name_end + 8).ok_or(cut_short)?;
    let stored_length = usize::try_from(stored_length).map_err(|_large| cut_short)?;
    let at = name_end + 20;
    let end = at.checked_add(stored_length).ok_or(cut_short)?;
    let stored = bytes.get(at..end).ok_or(cut_short)?;
    *crc = section_checksum(*crc, bytes.get(..name_end + 16).unwrap_or_default(), stored);
    if u32_at(bytes, name_end + 16) != Some(*crc) {
        return Err("a section's checksum is wrong");
    }
    let name = std::str::from_utf8(bytes.get(1..name_end).unwrap_or_default());
    let bytes_of = zstd::bulk::decompress(stored, length);
    let section = Section {
        name: name.map_err(|_not_text| "a section's name is no text")?.to_owned(),
        bytes: bytes_of.map_err(|_damaged| "a section does not unpack")?,
    };
    Ok((section, bytes.get(end..).unwrap_or_default()))
}

fn section_checksum(before: u32, head: &[u8], stored: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(before, head), stored)
}

/// Puts a snapshot under its name once all of it is on disk. Gives its length in bytes.
pub(super) fn write(disk: &mut impl Disk, point: Point, packed: &Packed) -> std::io::Result<u64> {
    disk.create(UNFINISHED)?;
    let (mut at, mut waiting) = (0, Vec::new());
    packed.each_piece(point, &mut |piece| {
        waiting.extend_from_slice(piece);
        if waiting.len() < WRITE_BYTES {
            return Ok(());
        }
        for part in waiting.chunks(WRITE_BYTES) {
            disk.write_at(UNFINISHED, at, part)?;
            at += u64_from_usize(part.len());
        }
        waiting.clear();
        Ok(())
    })?;
    disk.write_at(UNFINISHED, at, &waiting)?;
    disk.sync(UNFINISHED)?;
    disk.rename(UNFINISHED, &file_name(point.seq))?;
    disk.sync_dir()?;
    Ok(at + u64_from_usize(waiting.len()))
}
