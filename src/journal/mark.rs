//! The mark: how far the log is known to be on disk.
//!
//! ```text
//! "TLMARK" magic 6 | seq u64 | chain u32 | crc32c u32
//! ```
//!
//! Written after each group's sync and never synced itself: it may be behind what is on disk, never
//! ahead of it. So the damage of a record that was acknowledged is told from a torn write even where
//! nothing follows it, and what a crash of the process left needs no second writing.

use super::disk::Disk;
use super::segment::{u32_at, u64_at};

pub(super) const FILE: &str = "mark";
const MAGIC: &[u8; 6] = b"TLMARK";

/// The last record that is known to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) seq: u64,
    pub(super) chain: u32,
}

impl Mark {
    pub(super) fn write(self, disk: &mut impl Disk) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(22);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&self.chain.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        disk.write_at(FILE, 0, &bytes)
    }

    /// None where there is none, or one that the power cut in two: then nothing is known.
    pub(super) fn read(disk: &mut impl Disk) -> Option<Self> {
        let bytes = disk.read(FILE).ok()?;
        let is_whole = bytes.get(..6) == Some(MAGIC)
            && u32_at(&bytes, 18) == bytes.get(..18).map(crc32c::crc32c);
        is_whole.then_some(Self { seq: u64_at(&bytes, 6)?, chain: u32_at(&bytes, 14)? })
    }
}
