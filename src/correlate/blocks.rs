//! Blocks of facts as they lie: each one record, with what leads to it and a line for each of its requests.
//!
//! A block comes in and its parts go out, read where they lie. A record that is not whole gives what it has:
//! this process wrote it, or a snapshot that was checked.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fact::Age;
use super::request::Outcome;
use super::table::Table;
use crate::number::{u32_from_usize, u64_from_usize, usize_from_u32};
use crate::shelf::{Handle, Raw, Shelf};
use crate::signal::Timestamp;

/// What a key, a start and a request cost beside the bytes of the block, about, with what measuring and
/// tombstones remember of what they lead to: 252,000 requests of 4 hops took 5.0 KB each.
const LEAD_BYTES: usize = 170;
/// What looking for a record by its identity costs: its quarter here, and its place in a table.
const TOLD_BYTES: usize = 18;
const REQUEST_BYTES: usize = 600;

/// Names a block for as long as it is held.
pub(super) type BlockId = u32;

/// What leads to a block, as a hash: some keys only find it, others bring it back (the lowest bit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct BlockKey(pub(super) u64);

impl BlockKey {
    pub(super) const fn finding(hash: u64) -> Self {
        Self(hash & !1)
    }

    pub(super) const fn awakening(hash: u64) -> Self {
        Self(hash | 1)
    }

    /// The key that both of a hash lie under.
    pub(super) const fn slot(self) -> u64 {
        self.0 & !1
    }

    pub(super) const fn awakens(self) -> bool {
        self.0 & 1 == 1
    }
}

/// An invocation that a late init may precede.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) place: u64,
    pub(super) time: Timestamp,
}

/// One request of a block, for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its id is a hash in hex digits.
    pub(super) id: u128,
    /// See [`super::frozen::Frozen::flow`].
    pub(super) flow: u32,
    pub(super) outcome: Outcome,
    pub(super) is_lacking: bool,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// A bit for each function and queue of it: where the bit is not set, the name is not there.
    pub(super) marks: u64,
}

const LINE_BYTES: usize = 46;
const KEY_BYTES: usize = 8;
const START_BYTES: usize = 16;
const RECORD_BYTES: usize = 4;

impl Line {
    fn write(&self, into: &mut Vec<u8>) {
        let outcome = Outcome::ALL.iter().position(|outcome| *outcome == self.outcome).unwrap_or(0);
        into.extend(self.id.to_be_bytes());
        into.extend(self.flow.to_le_bytes());
        into.extend([u8::try_from(outcome).unwrap_or(0), u8::from(self.is_lacking)]);
        for n in [self.start.as_nanos(), self.end.as_nanos(), self.marks] {
            into.extend(n.to_le_bytes());
        }
    }

    fn read(bytes: &[u8; LINE_BYTES]) -> Self {
        let mut rest = bytes.as_slice();
        let id = u128::from_be_bytes(raw(&mut rest));
        let flow = u32::from_le_bytes(raw(&mut rest));
        let [outcome, is_lacking] = raw(&mut rest);
        let outcome = Outcome::ALL.get(usize::from(outcome)).copied().unwrap_or(Outcome::Ok);
        let [start, end, marks] = [(); 3].map(|()| u64::from_le_bytes(raw(&mut rest)));
        let (start, end) = (Timestamp::from_nanos(start), Timestamp::from_nanos(end));
        Self { id, flow, outcome, is_lacking: is_lacking == 1, start, end, marks }
    }
}

/// The next bytes; zeros where there are none.
fn raw<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let Some((bytes, others)) = rest.split_first_chunk() else { return [0; N] };
    *rest = others;
    *bytes
}

/// A block that is to be put away.
#[derive(Debug)]
pub(super) struct NewBlock {
    pub(super) lines: Vec<Line>,
    pub(super) keys: Vec<BlockKey>,
    pub(super) starts: Vec<Start>,
    /// The records that have identities ([`super::fact::SignalId::short`]).
    pub(super) told: Vec<u32>,
    /// When one of its requests is final.
    pub(super) due: Age,
    pub(super) facts: Vec<u8>,
}

impl NewBlock {
    /// How many lines, keys, starts and records there are; these; the facts.
    fn record(&self) -> Vec<u8> {
        let beside = self.lines.len() * LINE_BYTES
            + self.keys.len() * KEY_BYTES
            + self.starts.len() * START_BYTES
            + self.told.len() * RECORD_BYTES;
        let mut record = Vec::with_capacity(16 + beside + self.facts.len());
        for n in [self.lines.len(), self.keys.len(), self.starts.len(), self.told.len()] {
            record.extend(u32_from_usize(n).to_le_bytes());
        }
        self.lines.iter().for_each(|line| line.write(&mut record));
        self.keys.iter().for_each(|key| record.extend(key.0.to_le_bytes()));
        for start in &self.starts {
            record.extend(start.place.to_le_bytes());
            record.extend(start.time.as_nanos().to_le_bytes());
        }
        self.told.iter().for_each(|told| record.extend(told.to_le_bytes()));
        record.extend_from_slice(&self.facts);
        record
    }
}

/// A block as it lies there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block<'a> {
    lines: &'a [[u8; LINE_BYTES]],
    keys: &'a [[u8; KEY_BYTES]],
    starts: &'a [[u8; START_BYTES]],
    told: &'a [[u8; RECORD_BYTES]],
    pub(super) facts: &'a [u8],
}

impl<'a> Block<'a> {
    fn of(record: &'a [u8]) -> Self {
        let mut rest = record;
        let [n_lines, n_keys, n_starts, n_told] =
            [(); 4].map(|()| usize_from_u32(u32::from_le_bytes(raw(&mut rest))));
        let lines = chunks(&mut rest, n_lines);
        let keys = chunks(&mut rest, n_keys);
        let starts = chunks(&mut rest, n_starts);
        let told = chunks(&mut rest, n_told);
        Self { lines, keys, starts, told, facts: rest }
    }

    pub(super) fn lines(self) -> impl Iterator<Item = Line> + 'a {
        self.lines.iter().map(Line::read)
    }

    pub(super) fn keys(self) -> impl Iterator<Item = BlockKey> + 'a {
        self.keys.iter().map(|key| BlockKey(u64::from_le_bytes(*key)))
    }

    pub(super) fn starts(self) -> impl Iterator<Item = Start> + 'a {
        self.starts.iter().map(|start| {
            let mut rest = start.as_slice();
            let [place, time] = [(); 2].map(|()| u64::from_le_bytes(raw(&mut rest)));
            Start { place, time: Timestamp::from_nanos(time) }
        })
    }

    pub(super) fn told(self) -> impl Iterator<Item = u32> + 'a {
        self.told.iter().map(|record| u32::from_le_bytes(*record))
    }

    pub(super) fn weight(self) -> u64 {
        let n_leads = self.keys.len() + self.starts.len();
        let lines = self.lines.len() * REQUEST_BYTES;
        let told = self.told.len() * TOLD_BYTES;
        u64_from_usize(self.facts.len() + n_leads * LEAD_BYTES + lines + told)
    }
}

/// So many of the next bytes' chunks.
fn chunks<'a, const N: usize>(rest: &mut &'a [u8], n: usize) -> &'a [[u8; N]] {
    let (own, others) = rest.split_at(n.saturating_mul(N).min(rest.len()));
    *rest = others;
    own.as_chunks().0
}

/// Where a block lies, and how it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filed {
    handle: Handle,
    pub(super) due: Age,
    /// Its facts are back; it is shown until the next tick has worked them out.
    pub(super) is_back: bool,
    /// Settings changed since it was put away: it may look different now.
    pub(super) is_of_other_settings: bool,
}

/// All blocks. A clone shares what they hold, for a snapshot that is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    pub(super) filed: Table<BlockId, Filed>,
    shelf: Shelf,
}

impl Blocks {
    pub(super) fn get(&self, id: BlockId) -> Option<Block<'_>> {
        self.filed.get(&id).map(|filed| self.block(filed))
    }

    pub(super) fn block(&self, filed: &Filed) -> Block<'_> {
        Block::of(self.shelf.get(filed.handle))
    }

    /// Puts a block under an id, and gives what it is weighed at.
    pub(super) fn add(&mut self, id: BlockId, block: &NewBlock) -> u64 {
        let (handle, due) = (self.shelf.put(&block.record()), block.due);
        let filed = Filed { handle, due, is_back: false, is_of_other_settings: false };
        self.filed.insert(id, filed);
        self.block(&filed).weight()
    }

    pub(super) fn remove(&mut self, id: BlockId) {
        if let Some(filed) = self.filed.remove(&id) {
            self.shelf.remove(filed.handle);
        }
    }
}

/// In a snapshot: each block by its id, the records as bytes.
type Written<'a> = (BlockId, Age, bool, bool, Raw<'a>);

impl Serialize for Blocks {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut ids: Vec<(&BlockId, &Filed)> = self.filed.iter().collect();
        ids.sort_unstable_by_key(|(id, _)| **id);
        s.collect_seq(ids.into_iter().map(|(&id, filed)| -> Written<'_> {
            let record = Raw(self.shelf.get(filed.handle));
            (id, filed.due, filed.is_back, filed.is_of_other_settings, record)
        }))
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let written: Vec<Written<'de>> = Deserialize::deserialize(d)?;
        let mut blocks = Self::default();
        for (id, due, is_back, is_of_other_settings, Raw(record)) in written {
            let handle = blocks.shelf.put(record);
            blocks.filed.insert(id, Filed { handle, due, is_back, is_of_other_settings });
        }
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_as_it_was() {
        for outcome in Outcome::ALL {
            let (start, end) = (Timestamp::from_nanos(7), Timestamp::from_nanos(u64::MAX));
            let is_lacking = outcome == Outcome::Incomplete;
            let line =
                Line { id: 1 << 127, flow: 3, outcome, is_lacking, start, end, marks: 1 << 63 };
            let mut bytes = Vec::new();
            line.write(&mut bytes);
            assert_eq!(Line::read(bytes.as_slice().try_into().unwrap()), line);
        }
    }
}
