//! Requests that are over and can still be corrected: held as bytes, found by what may correct them.
//!
//! Blocks of facts come in with the keys that lead to them; a signal that names one of the keys, or the
//! end of lateness, brings the facts back. Everything else about a request is worked out from its
//! facts anew, so nothing else is held. A block is whole: nothing in it is joined to what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::engine::Summary;
use super::fact::{Age, Source};
use super::pack::{Names, Reader};
use super::table::Table;
use crate::number::{u64_from_usize, usize_from_u32};
use crate::signal::{Text, Timestamp};

/// Blocks that one key may bring back: beyond it, those that come next stay as they are.
const AWAKENED_MAX: usize = 64;
/// What a key, a start and a block cost beside the bytes of the block, about.
const KEY_BYTES: usize = 40;
const BLOCK_BYTES: usize = 300;

/// Slots of [`Absent`].
const ABSENT: usize = 1 << 10;

/// Keys that were looked for and bring nothing back: signals of one trace come together, and nothing is
/// frozen between two ticks.
#[derive(Debug, Default)]
pub(super) struct Absent(Vec<u64>);

impl Absent {
    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }

    fn slot(key: u64) -> usize {
        usize::try_from(key).unwrap_or(0) % ABSENT
    }

    pub(super) fn has(&self, key: u64) -> bool {
        self.0.get(Self::slot(key)).is_some_and(|held| *held == key)
    }

    pub(super) fn note(&mut self, key: u64) {
        if self.0.is_empty() {
            self.0.resize(ABSENT, 0);
        }
        if let Some(held) = self.0.get_mut(Self::slot(key)) {
            *held = key;
        }
    }
}

/// Names a block for as long as it is held.
pub(super) type BlockId = u32;

/// What leads to a block: some keys only find it, others bring it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct BlockKey {
    pub(super) hash: u64,
    pub(super) awakens: bool,
}

/// An invocation that a late init may precede.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) place: u64,
    pub(super) time: Timestamp,
}

/// One request of a block, for lists.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) id: Text,
    pub(super) summary: Summary,
    /// A bit for each function and queue of it: where the bit is not set, the name is not there.
    pub(super) marks: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Block {
    #[serde(with = "as_bytes")]
    pub(super) bytes: Box<[u8]>,
    pub(super) lines: Box<[Line]>,
    pub(super) keys: Box<[BlockKey]>,
    pub(super) starts: Box<[Start]>,
    /// When one of its requests is final.
    pub(super) due: Age,
    /// Its facts are back; it is shown until the next tick has worked them out.
    pub(super) is_back: bool,
}

impl Block {
    fn weight(&self) -> u64 {
        let n_keys = self.keys.len() + self.starts.len();
        u64_from_usize(self.bytes.len() + n_keys * KEY_BYTES + self.lines.len() * BLOCK_BYTES)
    }
}

/// Where a key leads.
#[derive(Debug, Serialize, Deserialize)]
enum Led {
    One(BlockId, bool),
    Several(Vec<(BlockId, bool)>),
}

impl Led {
    fn all(&self) -> impl Iterator<Item = (BlockId, bool)> + '_ {
        let (one, several) = match self {
            Self::One(id, awakens) => (Some((*id, *awakens)), &[][..]),
            Self::Several(all) => (None, all.as_slice()),
        };
        one.into_iter().chain(several.iter().copied())
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Frozen {
    next: BlockId,
    blocks: Table<BlockId, Block>,
    keys: Table<u64, Led>,
    starts: BTreeSet<(Start, BlockId)>,
    due: BTreeSet<(Age, BlockId)>,
    back: Vec<BlockId>,
    /// Flows, and how many of their requests are held.
    pub(super) flows: BTreeMap<Text, u64>,
    pub(super) names: Names,
    pub(super) sources: Sources,
    /// Estimate of what all of it costs.
    pub(super) bytes: u64,
}

impl Frozen {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether a block with these keys can be held.
    pub(super) fn has_room(&self, keys: &[BlockKey]) -> bool {
        keys.iter().filter(|key| key.awakens).all(|key| {
            let led = self.keys.get(&key.hash);
            led.is_none_or(|led| led.all().filter(|(_, awakens)| *awakens).count() < AWAKENED_MAX)
        })
    }

    pub(super) fn add(&mut self, block: Block) {
        self.next = self.next.wrapping_add(1);
        let id = self.next;
        for key in &block.keys {
            match self.keys.entry(key.hash) {
                std::collections::hash_map::Entry::Vacant(slot) => {
                    slot.insert(Led::One(id, key.awakens));
                }
                std::collections::hash_map::Entry::Occupied(mut slot) => {
                    let mut all: Vec<(BlockId, bool)> = slot.get().all().collect();
                    all.push((id, key.awakens));
                    slot.insert(Led::Several(all));
                }
            }
        }
        self.starts.extend(block.starts.iter().map(|&start| (start, id)));
        self.due.insert((block.due, id));
        self.bytes += block.weight();
        for line in &block.lines {
            *self.flows.entry(Text::clone(&line.summary.flow)).or_default() += 1;
        }
        self.blocks.insert(id, block);
    }

    pub(super) fn get(&self, id: BlockId) -> Option<&Block> {
        self.blocks.get(&id)
    }

    /// All blocks, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (BlockId, &Block)> {
        self.blocks.iter().map(|(&id, block)| (id, block))
    }

    /// The blocks that something of this key belongs to.
    pub(super) fn found_by(&self, key: u64) -> Vec<BlockId> {
        self.keys.get(&key).into_iter().flat_map(Led::all).map(|(id, _)| id).collect()
    }

    /// The blocks that something of this key may change.
    pub(super) fn awakened_by(&self, key: u64) -> impl Iterator<Item = BlockId> {
        let led = self.keys.get(&key).into_iter().flat_map(Led::all);
        led.filter(|&(id, awakens)| awakens && self.is_asleep(id)).map(|(id, _)| id)
    }

    /// The blocks with an invocation of this place that starts within these times.
    pub(super) fn started(&self, from: Start, to: Timestamp) -> Vec<BlockId> {
        let until = (Start { time: to, ..from }, BlockId::MAX);
        let starts = self.starts.range((from, 0)..=until).map(|&(_, id)| id);
        starts.filter(|&id| self.is_asleep(id)).collect()
    }

    fn is_asleep(&self, id: BlockId) -> bool {
        self.blocks.get(&id).is_some_and(|block| !block.is_back)
    }

    /// The next block that is final, if it is by `age`.
    pub(super) fn due(&self, age: Age) -> Option<BlockId> {
        self.due.first().filter(|(due, _)| *due <= age).map(|&(_, id)| id)
    }

    /// The block that is final first, and when its last news came.
    pub(super) fn oldest(&self) -> Option<BlockId> {
        self.due.first().map(|&(_, id)| id)
    }

    /// A block's facts go back to where facts are held.
    pub(super) fn wake(&mut self, id: BlockId) {
        let Some(block) = self.blocks.get_mut(&id) else { return };
        if !block.is_back {
            block.is_back = true;
            self.due.remove(&(block.due, id));
            self.bytes = self.bytes.saturating_sub(block.weight());
            self.back.push(id);
            for line in &block.lines {
                if let Some(n) = self.flows.get_mut(&line.summary.flow) {
                    *n -= 1;
                    if *n == 0 {
                        self.flows.remove(&line.summary.flow);
                    }
                }
            }
        }
    }

    /// Forgets the blocks that are back.
    pub(super) fn forget(&mut self) {
        for id in std::mem::take(&mut self.back) {
            let Some(block) = self.blocks.remove(&id) else { continue };
            let numbers = Reader::new(&block.bytes, &self.names).list(Reader::small);
            numbers.into_iter().for_each(|number| self.sources.give_back(number));
            for key in &block.keys {
                let Some(led) = self.keys.get(&key.hash) else { continue };
                let mut rest: Vec<(BlockId, bool)> =
                    led.all().filter(|&(other, _)| other != id).collect();
                match (rest.pop(), rest.is_empty()) {
                    (None, _) => drop(self.keys.remove(&key.hash)),
                    (Some((id, awakens)), true) => {
                        self.keys.insert(key.hash, Led::One(id, awakens));
                    }
                    (Some(last), false) => {
                        rest.push(last);
                        self.keys.insert(key.hash, Led::Several(rest));
                    }
                }
            }
            for &start in &block.starts {
                self.starts.remove(&(start, id));
            }
        }
    }
}

/// Who spoke, each once for as long as a block names it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sources {
    numbers: Table<Arc<Source>, u32>,
    held: Vec<Option<Held>>,
    free: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    source: Arc<Source>,
    n_uses: u64,
}

impl Sources {
    pub(super) fn take(&mut self, source: &Arc<Source>) -> u32 {
        if let Some(&number) = self.numbers.get(source)
            && let Some(Some(held)) = self.held.get_mut(usize_from_u32(number))
        {
            held.n_uses += 1;
            return number;
        }
        let held = Some(Held { source: Arc::clone(source), n_uses: 1 });
        let number = self.free.pop().unwrap_or_else(|| {
            self.held.push(None);
            crate::number::u32_from_usize(self.held.len() - 1)
        });
        if let Some(slot) = self.held.get_mut(usize_from_u32(number)) {
            *slot = held;
        }
        self.numbers.insert(Arc::clone(source), number);
        number
    }

    pub(super) fn get(&self, number: u32) -> Arc<Source> {
        let held = self.held.get(usize_from_u32(number)).and_then(Option::as_ref);
        held.map(|held| Arc::clone(&held.source)).unwrap_or_default()
    }

    pub(super) fn give_back(&mut self, number: u32) {
        let Some(slot) = self.held.get_mut(usize_from_u32(number)) else { return };
        let Some(held) = slot else { return };
        held.n_uses -= 1;
        if held.n_uses == 0 {
            self.numbers.remove(&held.source);
            *slot = None;
            self.free.push(number);
        }
    }
}

/// Bytes as bytes: postcard writes a slice of numbers one by one.
mod as_bytes {
    use serde::de::{Deserializer, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Box<[u8]>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(bytes.into())
        }

        fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
            Ok(bytes.into())
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Box<[u8]>, D::Error> {
        d.deserialize_bytes(Bytes)
    }
}
