//! Requests that are over and can still be corrected: held as bytes, found by what may correct them.
//!
//! Blocks of facts come in with the keys that lead to them; a signal that names one of the keys brings
//! the facts back, and everything about a request is worked out from them anew. What it leaves behind
//! once it is final lies beside them. A block is whole: nothing in it is joined to what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::blocks::{Block, BlockId, BlockKey, Blocks, Line, NewBlock, Start};
use super::fact::{Age, SignalId, Source};
use super::pack::{Names, Reader};
use super::table::Table;
use crate::number::{u32_from_usize, usize_from_u32};
use crate::signal::{Text, Timestamp};

/// Blocks that one key may bring back: beyond it, those that come next stay as they are.
const AWAKENED_MAX: usize = 64;
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

/// Where a key leads: to a block and, of several, to the others of its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Led {
    id: BlockId,
    awakens: bool,
}

/// What leads to blocks, by hashes: one, and the others of the same hash. The blocks tell it themselves: a
/// snapshot does without.
#[derive(Debug)]
struct Leads<K, L> {
    first: Table<K, L>,
    others: Table<K, Vec<L>>,
}

impl<K, L> Default for Leads<K, L> {
    fn default() -> Self {
        Self { first: Table::default(), others: Table::default() }
    }
}

impl<K: Copy + Eq + Hash, L: Copy> Leads<K, L> {
    fn all(&self, hash: K) -> impl Iterator<Item = L> + '_ {
        let first = self.first.get(&hash).copied();
        let others = first.filter(|_| !self.others.is_empty()).and_then(|_| self.others.get(&hash));
        first.into_iter().chain(others.into_iter().flatten().copied())
    }

    fn add(&mut self, hash: K, lead: L) {
        match self.first.entry(hash) {
            std::collections::hash_map::Entry::Vacant(slot) => drop(slot.insert(lead)),
            std::collections::hash_map::Entry::Occupied(_) => {
                self.others.entry(hash).or_default().push(lead);
            }
        }
    }

    fn remove(&mut self, hash: K, is_gone: impl Fn(L) -> bool) {
        let mut rest: Vec<L> = self.all(hash).filter(|lead| !is_gone(*lead)).collect();
        self.others.remove(&hash);
        if rest.is_empty() {
            self.first.remove(&hash);
            return;
        }
        self.first.insert(hash, rest.remove(0));
        if !rest.is_empty() {
            self.others.insert(hash, rest);
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Frozen {
    next: BlockId,
    blocks: Blocks,
    #[serde(skip)]
    keys: Leads<u64, Led>,
    /// By the records in them that have identities of their own.
    #[serde(skip)]
    told: Leads<u32, BlockId>,
    #[serde(skip)]
    starts: BTreeSet<(Start, BlockId)>,
    #[serde(skip)]
    due: BTreeSet<(Age, BlockId)>,
    back: Vec<BlockId>,
    /// Flows, and how many of their requests are held.
    #[serde(skip)]
    pub(super) flows: BTreeMap<Text, u64>,
    flow_names: Shared<Text>,
    pub(super) names: Names,
    pub(super) sources: Shared<Arc<Source>>,
    /// Estimate of what all of it costs.
    pub(super) bytes: u64,
    /// Digest of the settings.
    settings: u64,
}

impl Frozen {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.filed.is_empty()
    }

    /// Whether a block with these keys can be held.
    pub(super) fn has_room(&self, keys: &[BlockKey]) -> bool {
        keys.iter()
            .filter(|key| key.awakens())
            .all(|key| self.keys.all(key.slot()).filter(|led| led.awakens).count() < AWAKENED_MAX)
    }

    pub(super) fn add(&mut self, block: &NewBlock) {
        self.next = self.next.wrapping_add(1);
        let id = self.next;
        self.bytes += self.blocks.add(id, block);
        self.index(id);
    }

    /// The number of a flow, which the line of a request holds.
    pub(super) fn number_of_flow(&mut self, flow: &Text) -> u32 {
        self.flow_names.take(flow)
    }

    /// The flow of a line.
    pub(super) fn flow(&self, number: u32) -> &str {
        self.flow_names.get(number).map_or("", |flow| flow)
    }

    /// What a snapshot writes, as it is now.
    pub(super) fn shared(&self) -> Self {
        Self {
            next: self.next,
            blocks: self.blocks.clone(),
            back: self.back.clone(),
            flow_names: self.flow_names.clone(),
            names: self.names.clone(),
            sources: self.sources.clone(),
            bytes: self.bytes,
            settings: self.settings,
            ..Self::default()
        }
    }

    fn index(&mut self, id: BlockId) {
        let Some(filed) = self.blocks.filed.get(&id) else { return };
        let block = self.blocks.block(filed);
        for key in block.keys() {
            self.keys.add(key.slot(), Led { id, awakens: key.awakens() });
        }
        block.told().for_each(|record| self.told.add(record, id));
        self.starts.extend(block.starts().map(|start| (start, id)));
        if filed.is_back {
            return;
        }
        self.due.insert((filed.due, id));
        for flow in block.lines().filter_map(|line| self.flow_names.get(line.flow)) {
            match self.flows.get_mut(flow) {
                Some(n) => *n += 1,
                None => drop(self.flows.insert(Text::clone(flow), 1)),
            }
        }
    }

    /// Finds again what a snapshot does without.
    pub(super) fn reindex(&mut self) {
        let mut ids: Vec<BlockId> = self.blocks.filed.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter().for_each(|id| self.index(id));
    }

    /// What is put away from now on is under these settings.
    pub(super) fn set_settings(&mut self, settings: u64) {
        if std::mem::replace(&mut self.settings, settings) != settings {
            let blocks = self.blocks.filed.values_mut();
            blocks.for_each(|filed| filed.is_of_other_settings = true);
        }
    }

    pub(super) fn get(&self, id: BlockId) -> Option<Block<'_>> {
        self.blocks.get(id)
    }

    /// Whether a block was put away under other settings.
    pub(super) fn is_of_other_settings(&self, id: BlockId) -> bool {
        self.blocks.filed.get(&id).is_some_and(|filed| filed.is_of_other_settings)
    }

    /// The requests of all blocks, in no order.
    pub(super) fn lines(&self) -> impl Iterator<Item = (BlockId, Line)> {
        let blocks = self.blocks.filed.iter();
        blocks.flat_map(|(&id, filed)| self.blocks.block(filed).lines().map(move |l| (id, l)))
    }

    #[cfg(test)]
    pub(super) fn n_blocks(&self) -> usize {
        self.blocks.filed.len()
    }

    /// The blocks that something of this key belongs to.
    pub(super) fn found_by(&self, key: u64) -> Vec<BlockId> {
        self.keys.all(BlockKey::finding(key).slot()).map(|led| led.id).collect()
    }

    /// The blocks that something of this key may change.
    pub(super) fn awakened_by(&self, key: u64) -> impl Iterator<Item = BlockId> {
        let led = self.keys.all(BlockKey::finding(key).slot());
        led.filter(|led| led.awakens && self.is_asleep(led.id)).map(|led| led.id)
    }

    /// The blocks that may hold the record of this identity; of very many, which were made to be alike, some.
    pub(super) fn holding(&self, identity: SignalId) -> impl Iterator<Item = BlockId> {
        self.told.all(identity.short()).take(AWAKENED_MAX).filter(|&id| self.is_asleep(id))
    }

    /// The blocks with an invocation of this place that starts within these times.
    pub(super) fn started(&self, from: Start, to: Timestamp) -> Vec<BlockId> {
        let until = (Start { time: to, ..from }, BlockId::MAX);
        let starts = self.starts.range((from, 0)..=until).map(|&(_, id)| id);
        starts.filter(|&id| self.is_asleep(id)).collect()
    }

    fn is_asleep(&self, id: BlockId) -> bool {
        self.blocks.filed.get(&id).is_some_and(|filed| !filed.is_back)
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
        let Some(filed) = self.blocks.filed.get_mut(&id).filter(|filed| !filed.is_back) else {
            return;
        };
        filed.is_back = true;
        let filed = *filed;
        self.due.remove(&(filed.due, id));
        self.back.push(id);
        let block = self.blocks.block(&filed);
        self.bytes = self.bytes.saturating_sub(block.weight());
        for flow in block.lines().filter_map(|line| self.flow_names.get(line.flow)) {
            if let Some(n) = self.flows.get_mut(flow) {
                *n -= 1;
                if *n == 0 {
                    self.flows.remove(flow);
                }
            }
        }
    }

    /// Forgets the blocks that are back.
    pub(super) fn forget(&mut self) {
        for id in std::mem::take(&mut self.back) {
            let Some(block) = self.blocks.get(id) else { continue };
            let sources = Reader::new(block.facts, &self.names).list(Reader::small);
            sources.into_iter().for_each(|number| self.sources.give_back(number));
            block.lines().for_each(|line| self.flow_names.give_back(line.flow));
            block.keys().for_each(|key| self.keys.remove(key.slot(), |led| led.id == id));
            block.told().for_each(|record| self.told.remove(record, |own| own == id));
            for start in block.starts() {
                self.starts.remove(&(start, id));
            }
            self.blocks.remove(id);
        }
    }
}

/// What many blocks name, each once for as long as a block does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de> + Eq + Hash"))]
pub(super) struct Shared<T> {
    numbers: Table<T, u32>,
    held: Vec<Option<Held<T>>>,
    free: Vec<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held<T> {
    value: T,
    n_uses: u64,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { numbers: Table::default(), held: Vec::new(), free: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Shared<T> {
    pub(super) fn take(&mut self, value: &T) -> u32 {
        if let Some(&number) = self.numbers.get(value)
            && let Some(Some(held)) = self.held.get_mut(usize_from_u32(number))
        {
            held.n_uses += 1;
            return number;
        }
        let held = Some(Held { value: value.clone(), n_uses: 1 });
        let number = self.free.pop().unwrap_or_else(|| {
            self.held.push(None);
            u32_from_usize(self.held.len() - 1)
        });
        if let Some(slot) = self.held.get_mut(usize_from_u32(number)) {
            *slot = held;
        }
        self.numbers.insert(value.clone(), number);
        number
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let held = self.held.get(usize_from_u32(number)).and_then(Option::as_ref);
        held.map(|held| &held.value)
    }

    pub(super) fn give_back(&mut self, number: u32) {
        let Some(slot) = self.held.get_mut(usize_from_u32(number)) else { return };
        let Some(held) = slot else { return };
        held.n_uses -= 1;
        if held.n_uses == 0 {
            self.numbers.remove(&held.value);
            *slot = None;
            self.free.push(number);
        }
    }
}
