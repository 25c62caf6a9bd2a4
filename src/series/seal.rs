//! The house-keeping of a store with a folder: seals what is old, merges blocks, forgets the oldest.
//!
//! Each tick does one piece: one shard sealed, or one stretch of one shard merged. What it does follows
//! from ticks and from what the store holds, so a replay makes the same blocks. What is never true:
//! something that can still be corrected in the usual way is sealed; something is in a block and in
//! the head.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Series;
use super::block::{Builder, Payload, Span};
use super::blocks::{Block, Damaged, Disk, Place, SHARD};
use super::payload::{self, SealedCounts};
use super::slots::{Slot, Zones, joined};
use super::store::second;
use super::table::{Data, Entry, SeriesId};
use crate::number::u64_from_usize;

const HOUR: i64 = 3600;
/// What one block of the first level spans, in seconds; also how often there is something to seal.
const WINDOW: i64 = 2 * HOUR;
/// The same when memory runs short: sealed early, merged later.
const WINDOW_IN_NEED: i64 = 600;
/// Blocks merge, and their slots become coarser, at these ages: the borders of the slots' zones.
static MERGES: [Merge; 2] = [
    Merge { level: 2, window: 72 * HOUR, age: 36 * HOUR },
    Merge { level: 1, window: 12 * HOUR, age: 6 * HOUR },
];
/// After a failed write the disk gets this many seconds of rest.
const REST: i64 = 60;
/// Names of damaged blocks that are remembered.
const DAMAGED_MAX: usize = 100;

struct Merge {
    level: u8,
    window: i64,
    age: i64,
}

/// How far sealing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealing {
    /// Everything before this second was sealed, in a pass over all shards.
    to: i64,
    /// The next shard of the pass that goes on.
    next_shard: u64,
    /// Nothing is tried before this second.
    rest_until: i64,
    damaged: Vec<String>,
}

impl Default for Sealing {
    fn default() -> Self {
        Self { to: i64::MIN, next_shard: 0, rest_until: i64::MIN, damaged: Vec::new() }
    }
}

#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error(transparent)]
    Disk(#[from] std::io::Error),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

impl Series {
    /// Blocks that were found damaged and set aside: what they held is lost. At most the last hundred.
    pub fn damaged_blocks(&self) -> &[String] {
        &self.sealing.damaged
    }

    pub(super) fn note_damaged(&mut self, names: Vec<String>) {
        self.dropped.blocks += u64_from_usize(names.len());
        self.sealing.damaged.extend(names);
        let excess = self.sealing.damaged.len().saturating_sub(DAMAGED_MAX);
        self.sealing.damaged.drain(..excess);
    }

    /// One piece of work.
    pub(super) fn keep_house(&mut self) {
        if !self.blocks.has_folder() {
            return;
        }
        let names = self.blocks.quarantine_suspects();
        self.note_damaged(names);
        let now = second(self.now);
        if now < self.sealing.rest_until {
            return;
        }
        let in_need = self.bytes() > self.config().memory_max_bytes / 4 * 3;
        let window = if in_need { WINDOW_IN_NEED } else { WINDOW };
        let border = self.zones.fine_from().div_euclid(window).saturating_mul(window);
        let done =
            if self.sealing.to < border { self.seal_next(border) } else { self.merge_next() };
        if done.is_err() {
            // What is not sealed stays in the head; a damaged block goes at the next tick.
            self.dropped.failed_writes += 1;
            self.sealing.rest_until = now.saturating_add(REST);
        }
    }

    /// Seals what the next shard holds before `border`.
    fn seal_next(&mut self, border: i64) -> Result<(), SealError> {
        let shard = self.sealing.next_shard;
        let ids = shard * SHARD..(shard + 1) * SHARD;
        if ids.start >= self.table.end() {
            (self.sealing.to, self.sealing.next_shard) = (border, 0);
            self.recount();
            return Ok(());
        }
        let mut builders: BTreeMap<i64, Builder> = BTreeMap::new();
        let mut spans: BTreeMap<SeriesId, Span> = BTreeMap::new();
        for entry in self.table.range(ids) {
            for (from, payload) in payloads(&entry.data, border) {
                builders.entry(from).or_default().add(entry.id, &payload)?;
                let span = spans.entry(entry.id).or_insert(payload.span);
                *span = span.joined(payload.span);
            }
        }
        let mut written = Vec::with_capacity(builders.len());
        for (from, builder) in builders {
            let place = Place { shard, level: 0, from, to: from.saturating_add(WINDOW) };
            written.push(self.blocks.write(place, builder)?);
        }
        self.blocks.attach(written);
        for (id, span) in spans {
            if let Some(entry) = self.table.get_mut(id) {
                entry.seal(border, span);
            }
        }
        self.sealing.next_shard += 1;
        Ok(())
    }

    /// Merges the first stretch of a shard that is old enough.
    fn merge_next(&mut self) -> Result<(), SealError> {
        let now = second(self.now);
        let found = MERGES.iter().find_map(|merge| {
            let stretch = |block: &Block| (block.shard, block.from.div_euclid(merge.window));
            let end = |block: &Block| (stretch(block).1 + 1).saturating_mul(merge.window);
            self.blocks
                .list()
                .chunk_by(|a, b| stretch(a) == stretch(b))
                .find(|blocks| {
                    blocks.iter().any(|block| block.level < merge.level)
                        && blocks.first().is_some_and(|block| end(block) <= now - merge.age)
                })
                .map(|blocks| (merge, blocks.to_vec()))
        });
        let Some((merge, blocks)) = found else { return Ok(()) };
        let Some(first) = blocks.first() else { return Ok(()) };
        let from = first.from.div_euclid(merge.window) * merge.window;
        let to = from.saturating_add(merge.window);
        let place = Place { shard: first.shard, level: merge.level, from, to };
        let builder = self.merged(&place)?;
        if builder.n_rows() > 0 {
            let block = self.blocks.write(place, builder)?;
            self.blocks.attach(vec![block]);
        }
        self.blocks.retire(&blocks.iter().map(|block| block.seq).collect::<Vec<_>>());
        Ok(())
    }

    fn merged(&self, place: &Place) -> Result<Builder, SealError> {
        let ids = place.shard * SHARD..(place.shard + 1) * SHARD;
        // They end after `from` and begin before `to`; stretches never overlap in part.
        let blocks = self.blocks.of_shard(place.shard, (place.from, place.to));
        self.blocks.apart(|disk| {
            let mut builder = Builder::default();
            for entry in self.table.range(ids).filter(|entry| entry.sealed.is_some()) {
                if let Some(payload) = self.merged_payload(entry, disk, &blocks)? {
                    builder.add(entry.id, &payload)?;
                }
            }
            Ok(builder)
        })
    }

    fn merged_payload(
        &self,
        entry: &Entry,
        disk: &Disk,
        blocks: &[Block],
    ) -> Result<Option<Payload>, SealError> {
        Ok(match &entry.data {
            Data::Counter(_) => {
                let mut slots = Vec::new();
                disk.read_all::<SealError>(blocks, entry.id, |found| {
                    slots.extend(found.payload(|row, bytes| Some(payload::counter(row, bytes)))?);
                    Ok(())
                })?;
                payload::of_counter(&coarser(slots, &self.zones))
            }
            Data::Distribution(held, _) => {
                let mut slots = Vec::new();
                disk.read_all::<SealError>(blocks, entry.id, |found| {
                    let sealed = found.payload(payload::distribution)?;
                    slots.extend(held.coarsened(sealed));
                    Ok(())
                })?;
                let slots = coarser(slots, &self.zones);
                payload::of_distribution(&SealedCounts { schema: held.schema(), slots })
            }
            Data::Plain(_) => {
                let mut payloads = Vec::new();
                disk.read_all::<SealError>(blocks, entry.id, |found| {
                    payloads.push(found.payload(|_, bytes| Some(bytes.to_vec()))?);
                    Ok(())
                })?;
                payload::merged_samples(&payloads)
            }
        })
    }

    /// Forgets blocks that retention or the bound of the folder ends; called once a minute.
    pub(super) fn forget_blocks(&mut self) {
        let horizon = second(self.now.saturating_sub(self.config().retention));
        let (mut excess, max) = (self.blocks.n_bytes(), self.config().size_max_bytes);
        let mut oldest: Vec<&Block> = self.blocks.list().iter().collect();
        oldest.sort_by_key(|block| (block.to, block.seq));
        let mut gone: Vec<Block> = Vec::new();
        for block in oldest {
            if block.to > horizon && excess <= max {
                break;
            }
            self.dropped.early_blocks += u64::from(block.to > horizon);
            excess = excess.saturating_sub(block.length);
            gone.push(block.clone());
        }
        for block in &gone {
            // One that cannot be read is gone as well; its series end with their next block.
            let Ok(index) = self.blocks.index(block) else { continue };
            for row in &index.rows {
                if let Some(entry) = self.table.get_mut(row.id) {
                    entry.forget(row.span);
                }
            }
        }
        self.blocks.retire(&gone.iter().map(|block| block.seq).collect::<Vec<_>>());
    }
}

/// Slots of several blocks in order, as coarse as their age makes them.
fn coarser<D: super::slots::Delta>(mut slots: Vec<Slot<D>>, zones: &Zones) -> Vec<Slot<D>> {
    slots.sort_by_key(|(key, _)| *key);
    joined(slots, |key| zones.key(key))
}

/// What a series holds before `border` (seconds), by the beginning of its window.
fn payloads(data: &Data, border: i64) -> Vec<(i64, Payload)> {
    let window = |second: i64| second.div_euclid(WINDOW) * WINDOW;
    match data {
        Data::Counter(counter) => by_window(&counter.slots.before(border), |(key, _)| window(*key))
            .filter_map(|(from, slots)| Some((from, payload::of_counter(slots)?)))
            .collect(),
        Data::Distribution(held, _) => {
            by_window(&held.slots.before(border), |(key, _)| window(*key))
                .filter_map(|(from, slots)| {
                    let sealed = SealedCounts { schema: held.schema(), slots: slots.to_vec() };
                    Some((from, payload::of_distribution(&sealed)?))
                })
                .collect()
        }
        Data::Plain(plain) => {
            let end = border.saturating_mul(1000).saturating_sub(1);
            by_window(&plain.samples(i64::MIN, end), |sample| window(sample.t.div_euclid(1000)))
                .filter_map(|(from, samples)| Some((from, payload::of_samples(samples)?)))
                .collect()
        }
    }
}

fn by_window<T>(
    held: &[T],
    window: impl Fn(&T) -> i64 + Copy,
) -> impl Iterator<Item = (i64, &[T])> {
    held.chunk_by(move |a, b| window(a) == window(b))
        .filter_map(move |held| Some((window(held.first()?), held)))
}
