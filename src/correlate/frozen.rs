//! Requests that are over and can still be corrected: held as bytes, found by what may correct them.
//!
//! Blocks of facts come in with the keys that lead to them; a signal that names one of the keys brings
//! the facts back, and everything about a request is worked out from them anew. What it leaves behind
//! once it is final lies beside them. A block is whole: nothing in it is joined to what is not.

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
/// What a key, a start and a request cost beside the bytes of the block, about, with what measuring and
/// tombstones remember of what they lead to: 36,000 requests of 4 hops took 5.8 to 6.9 KB each.
const KEY_BYTES: usize = 230;
const BLOCK_BYTES: usize = 800;

/// Slots of [`Absent`].
const ABSENT: usize = 1 << 10;

/// Keys that were looked for and bring nothing back: signals of one trace come together, and nothing is
/// frozen between two ticks.
#[derive(Default)]
pub(super) struct Absent(Vec<u64>);

impl std::fmt::Debug for Absent {
    /// No state: what is not here is only looked for again.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Absent").finish_non_exhaustive()
    }
}

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

/// What leads to a block, as a hash: some keys only find it, others bring it back (the lowest bit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct BlockKey(u64);

impl BlockKey {
    pub(super) const fn finding(hash: u64) -> Self {
        Self(hash & !1)
    }

    pub(super) const fn awakening(hash: u64) -> Self {
        Self(hash | 1)
    }

    /// The key that both of a hash lie under.
    const fn slot(self) -> u64 {
        self.0 & !1
    }

    const fn awakens(self) -> bool {
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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) id: Text,
    pub(super) summary: Summary,
    /// A bit for each function and queue of it: where the bit is not set, the name is not there.
    pub(super) marks: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Settings changed since it was put away: it may look different now.
    pub(super) is_of_other_settings: bool,
}

impl Block {
    fn weight(&self) -> u64 {
        let n_keys = self.keys.len() + self.starts.len();
        u64_from_usize(self.bytes.len() + n_keys * KEY_BYTES + self.lines.len() * BLOCK_BYTES)
    }
}

/// Where a key leads: to a block and, of several, to the others of its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Led {
    id: BlockId,
    awakens: bool,
}

/// What leads to blocks. Their own keys tell it: a snapshot does without.
#[derive(Debug, Default)]
struct Leads {
    first: Table<u64, Led>,
    /// The others, where one hash leads to several blocks.
    others: Table<u64, Vec<Led>>,
}

impl Leads {
    fn all(&self, hash: u64) -> impl Iterator<Item = Led> + '_ {
        let hash = hash & !1;
        let first = self.first.get(&hash).copied();
        let others = first.filter(|_| !self.others.is_empty()).and_then(|_| self.others.get(&hash));
        first.into_iter().chain(others.into_iter().flatten().copied())
    }

    fn add(&mut self, key: BlockKey, id: BlockId) {
        let led = Led { id, awakens: key.awakens() };
        match self.first.entry(key.slot()) {
            std::collections::hash_map::Entry::Vacant(slot) => drop(slot.insert(led)),
            std::collections::hash_map::Entry::Occupied(_) => {
                self.others.entry(key.slot()).or_default().push(led);
            }
        }
    }

    fn remove(&mut self, key: BlockKey, id: BlockId) {
        let mut rest: Vec<Led> = self.all(key.0).filter(|led| led.id != id).collect();
        self.others.remove(&key.slot());
        if rest.is_empty() {
            self.first.remove(&key.slot());
            return;
        }
        self.first.insert(key.slot(), rest.remove(0));
        if !rest.is_empty() {
            self.others.insert(key.slot(), rest);
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Frozen {
    next: BlockId,
    /// Shared with a snapshot that is being written.
    blocks: Table<BlockId, Arc<Block>>,
    #[serde(skip)]
    keys: Leads,
    #[serde(skip)]
    starts: BTreeSet<(Start, BlockId)>,
    #[serde(skip)]
    due: BTreeSet<(Age, BlockId)>,
    back: Vec<BlockId>,
    /// Flows, and how many of their requests are held.
    #[serde(skip)]
    pub(super) flows: BTreeMap<Text, u64>,
    pub(super) names: Names,
    pub(super) sources: Sources,
    /// Estimate of what all of it costs.
    pub(super) bytes: u64,
    /// Digest of the settings.
    settings: u64,
}

impl Frozen {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether a block with these keys can be held.
    pub(super) fn has_room(&self, keys: &[BlockKey]) -> bool {
        keys.iter()
            .filter(|key| key.awakens())
            .all(|key| self.keys.all(key.0).filter(|led| led.awakens).count() < AWAKENED_MAX)
    }

    pub(super) fn add(&mut self, block: Block) {
        self.next = self.next.wrapping_add(1);
        let id = self.next;
        self.bytes += block.weight();
        self.index(id, &block);
        self.blocks.insert(id, Arc::new(block));
    }

    /// What a snapshot writes, as it is now.
    pub(super) fn shared(&self) -> Self {
        Self {
            next: self.next,
            blocks: self.blocks.clone(),
            back: self.back.clone(),
            names: self.names.clone(),
            sources: self.sources.clone(),
            bytes: self.bytes,
            settings: self.settings,
            ..Self::default()
        }
    }

    fn index(&mut self, id: BlockId, block: &Block) {
        block.keys.iter().for_each(|key| self.keys.add(*key, id));
        self.starts.extend(block.starts.iter().map(|&start| (start, id)));
        if block.is_back {
            return;
        }
        self.due.insert((block.due, id));
        for line in &block.lines {
            match self.flows.get_mut(&line.summary.flow) {
                Some(n) => *n += 1,
                None => drop(self.flows.insert(Text::clone(&line.summary.flow), 1)),
            }
        }
    }

    /// Finds again what a snapshot does without.
    pub(super) fn reindex(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        let mut ids: Vec<BlockId> = blocks.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(block) = blocks.get(&id) {
                self.index(id, block);
            }
        }
        self.blocks = blocks;
    }

    /// What is put away from now on is under these settings.
    pub(super) fn set_settings(&mut self, settings: u64) {
        if std::mem::replace(&mut self.settings, settings) != settings {
            let blocks = self.blocks.values_mut().map(Arc::make_mut);
            blocks.for_each(|block| block.is_of_other_settings = true);
        }
    }

    pub(super) fn get(&self, id: BlockId) -> Option<&Block> {
        self.blocks.get(&id).map(|block| &**block)
    }

    /// All blocks, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (BlockId, &Block)> {
        self.blocks.iter().map(|(&id, block)| (id, &**block))
    }

    /// The blocks that something of this key belongs to.
    pub(super) fn found_by(&self, key: u64) -> Vec<BlockId> {
        self.keys.all(key).map(|led| led.id).collect()
    }

    /// The blocks that something of this key may change.
    pub(super) fn awakened_by(&self, key: u64) -> impl Iterator<Item = BlockId> {
        let led = self.keys.all(key).filter(|led| led.awakens && self.is_asleep(led.id));
        led.map(|led| led.id)
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
            let block = Arc::make_mut(block);
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
            block.keys.iter().for_each(|key| self.keys.remove(*key, id));
            for &start in &block.starts {
                self.starts.remove(&(start, id));
            }
        }
    }
}

/// Who spoke, each once for as long as a block names it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sources {
    numbers: Table<Arc<Source>, u32>,
    held: Vec<Option<Held>>,
    free: Vec<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
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
