//! Event time cut into slots: fine for the newest minutes, coarser with age.
//!
//! A slot is named by its last whole second, so a sample stamped with that name holds everything
//! that happened before the second was over, and merging fine slots into a coarse one keeps the
//! cumulative value at the coarse slot's name. Slots are in ascending order and never empty.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Width of slots in seconds, and up to which age they are that wide; the last width has no end.
///
/// Seconds for 20 minutes: longer than the allowed lateness of 15, so that corrections land where
/// their observation was. Tens of seconds for six hours, the long window of a page's burn rate;
/// minutes for a day and a half, for a ticket's; then ten minutes.
const WIDTHS: [(i64, i64); 3] = [(1, 20 * 60), (10, 6 * 3600), (60, 36 * 3600)];
const TEN_MINUTES: i64 = 600;
/// Reading back leaves at most this many seconds between samples: less than the five minutes that
/// an instant selector looks back.
pub(crate) const GRID_MAX: i64 = 240;

/// What a slot holds.
pub(crate) trait Delta: Clone + Default + Serialize + DeserializeOwned {
    fn merge(&mut self, other: &Self);
    /// Nothing is left: corrections took all that was here.
    fn is_zero(&self) -> bool;
    /// Nothing in it is below zero.
    fn is_rise(&self) -> bool;
    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize;
}

impl Delta for i64 {
    fn merge(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }

    fn is_zero(&self) -> bool {
        *self == 0
    }

    fn is_rise(&self) -> bool {
        *self >= 0
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// From which second on slots have each of [`WIDTHS`]. The borders are aligned so that no slot
/// straddles one, and only move forward. Before the first tick everything is a second wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Zones([i64; WIDTHS.len()]);

impl Default for Zones {
    fn default() -> Self {
        Self([i64::MIN; WIDTHS.len()])
    }
}

impl Zones {
    /// Moves the borders for a present of `now` seconds. Nothing younger than `fine_age` (seconds)
    /// becomes coarser.
    pub(crate) fn advance(&mut self, now: i64, fine_age: i64) {
        for (from, (_, age)) in self.0.iter_mut().zip(WIDTHS) {
            let age = age.max(fine_age);
            let border = now.saturating_sub(age).div_euclid(TEN_MINUTES) * TEN_MINUTES;
            *from = border.max(*from);
        }
    }

    /// From which second on slots are one second wide.
    pub(crate) fn fine_from(&self) -> i64 {
        self.0[0]
    }

    /// Width in seconds of the slot that holds `second`.
    pub(crate) fn width(&self, second: i64) -> i64 {
        let zone = self.0.iter().zip(WIDTHS).find(|(from, _)| second >= **from);
        zone.map_or(TEN_MINUTES, |(_, (width, _))| width)
    }

    /// The name of the slot that holds `second`.
    pub(crate) fn key(&self, second: i64) -> i64 {
        let width = self.width(second);
        last_of(second, width)
    }

    /// Seconds between the samples that are read back around `second`.
    pub(crate) fn spacing(&self, second: i64) -> i64 {
        self.width(second).min(GRID_MAX)
    }
}

/// The last second of the `width`-wide stretch that holds `second`.
pub(crate) fn last_of(second: i64, width: i64) -> i64 {
    second.div_euclid(width).saturating_mul(width).saturating_add(width - 1)
}

/// A slot: its name, and what happened in it.
pub(crate) type Slot<D> = (i64, D);

/// Slots of one packed run, at most twice as many; and newest slots that are not packed. A correction
/// of a packed slot decodes and encodes its run.
const RUN: usize = 64;

/// Ascending slots as bytes: of each its distance from the one before, and its delta, both in as few
/// bytes as they need (postcard's varints). Never empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    first: i64,
    last: i64,
    /// Shared with readers.
    bytes: Arc<[u8]>,
}

impl Run {
    fn of<D: Delta>(slots: &[Slot<D>]) -> Option<Self> {
        let ((first, _), (last, _)) = (slots.first()?, slots.last()?);
        Some(Self { first: *first, last: *last, bytes: pack(slots).into() })
    }

    fn slots<D: Delta>(&self) -> Vec<Slot<D>> {
        unpack(self.first, &self.bytes)
    }
}

/// Ascending slots as bytes, without the name of the first.
pub(crate) fn pack<D: Delta>(slots: &[Slot<D>]) -> Vec<u8> {
    let mut before = slots.first().map_or(0, |(key, _)| *key);
    slots.iter().fold(Vec::new(), |bytes, (key, delta)| {
        let gap = key.wrapping_sub(before);
        before = *key;
        postcard::to_extend(&(gap, delta), bytes).expect("memory grows")
    })
}

/// What [`pack`] packed; ends where the bytes make no sense.
pub(crate) fn unpack<D: Delta>(first: i64, mut bytes: &[u8]) -> Vec<Slot<D>> {
    let (mut slots, mut key) = (Vec::new(), first);
    while let Ok(((gap, delta), rest)) = postcard::take_from_bytes::<(i64, D)>(bytes) {
        key = key.wrapping_add(gap);
        slots.push((key, delta));
        bytes = rest;
    }
    slots
}

/// Joins slots that `name` gives the same name; those that cancel go.
pub(crate) fn joined<D: Delta>(
    slots: impl IntoIterator<Item = Slot<D>>,
    name: impl Fn(i64) -> i64,
) -> Vec<Slot<D>> {
    let mut joined: Vec<Slot<D>> = Vec::new();
    for (key, delta) in slots {
        let key = name(key);
        match joined.last_mut() {
            Some((last, sum)) if *last == key => sum.merge(&delta),
            _ => joined.push((key, delta)),
        }
    }
    joined.retain(|(_, delta)| !delta.is_zero());
    joined
}

/// The non-empty slots of one series: packed runs, then the newest as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slots<D> {
    packed: Vec<Run>,
    open: Vec<Slot<D>>,
}

impl<D> Default for Slots<D> {
    fn default() -> Self {
        Self { packed: Vec::new(), open: Vec::new() }
    }
}

impl<D: Delta> Slots<D> {
    /// Merges `delta` into the slot named `key`; the slot goes when nothing is left in it.
    pub(crate) fn add(&mut self, key: i64, delta: &D) {
        self.change(key, |slot| slot.merge(delta));
    }

    /// Changes the slot named `key`; the slot goes when nothing is left in it.
    pub(crate) fn change(&mut self, key: i64, change: impl Fn(&mut D)) {
        let at = self.packed.partition_point(|run| run.last < key);
        let Some(run) = self.packed.get(at) else {
            change_slot(&mut self.open, key, change);
            if self.open.len() > 2 * RUN {
                let newest = self.open.split_off(RUN);
                self.packed.extend(Run::of(&self.open));
                self.open = newest;
            }
            return;
        };
        let mut slots = run.slots();
        change_slot(&mut slots, key, change);
        self.packed.splice(at..=at, runs(&slots));
    }

    fn all(&self) -> Vec<Slot<D>> {
        self.after(i64::MIN)
    }

    /// Replaces everything by these ascending slots.
    fn set(&mut self, mut slots: Vec<Slot<D>>) {
        self.open = slots.split_off(slots.len().saturating_sub(RUN));
        self.packed = runs(&slots).collect();
        self.packed.shrink_to_fit();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packed.is_empty() && self.open.is_empty()
    }

    pub(crate) fn first(&self) -> Option<i64> {
        let packed = self.packed.first().map(|run| run.first);
        packed.or_else(|| self.open.first().map(|(key, _)| *key))
    }

    pub(crate) fn last(&self) -> Option<i64> {
        let open = self.open.last().map(|(key, _)| *key);
        open.or_else(|| self.packed.last().map(|run| run.last))
    }

    /// The slots later than `second`.
    pub(crate) fn after(&self, second: i64) -> Vec<Slot<D>> {
        let at = self.packed.partition_point(|run| run.last <= second);
        let packed = self.packed.get(at..).unwrap_or_default().iter().flat_map(Run::slots);
        packed.chain(self.open.iter().cloned()).skip_while(|(key, _)| *key <= second).collect()
    }

    /// Whether [`Slots::coarsen`] has something to look at.
    pub(crate) fn may_coarsen(&self, zones: &Zones) -> bool {
        self.first().is_some_and(|first| first < zones.fine_from())
    }

    /// Merges what has grown older than its zone.
    pub(crate) fn coarsen(&mut self, zones: &Zones) {
        if self.may_coarsen(zones) {
            self.set(joined(self.all(), |key| zones.key(key)));
        }
    }

    /// The slots older than `horizon`.
    pub(crate) fn before(&self, horizon: i64) -> Vec<Slot<D>> {
        if self.first().is_none_or(|first| first >= horizon) {
            return Vec::new();
        }
        let mut slots = self.all();
        slots.truncate(slots.partition_point(|(key, _)| *key < horizon));
        slots
    }

    /// Takes out the slots older than `horizon`.
    pub(crate) fn take_before(&mut self, horizon: i64) -> Vec<Slot<D>> {
        if self.first().is_none_or(|first| first >= horizon) {
            return Vec::new();
        }
        let mut slots = self.all();
        let kept = slots.split_off(slots.partition_point(|(key, _)| *key < horizon));
        self.set(kept);
        slots
    }

    pub(crate) fn for_each(&mut self, change: impl Fn(&mut D)) {
        let mut slots = self.all();
        slots.iter_mut().for_each(|(_, delta)| change(delta));
        self.set(slots);
    }

    /// What runs and slots occupy, with the last name of each.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (i64, usize)> {
        let packed = self.packed.iter().map(|run| (run.last, size_of::<Run>() + run.bytes.len()));
        let each = size_of::<Slot<D>>();
        packed.chain(self.open.iter().map(move |(key, delta)| (*key, each + delta.heap_bytes())))
    }
}

fn change_slot<D: Delta>(slots: &mut Vec<Slot<D>>, key: i64, change: impl Fn(&mut D)) {
    let at = match slots.last() {
        Some((last, _)) if *last >= key => slots.partition_point(|(k, _)| *k < key),
        _ => slots.len(),
    };
    if slots.get(at).is_none_or(|(k, _)| *k != key) {
        slots.insert(at, (key, D::default()));
    }
    let slot = &mut slots[at].1;
    change(slot);
    if slot.is_zero() {
        slots.remove(at);
    }
}

/// Packs slots in runs of at most twice [`RUN`].
fn runs<D: Delta>(slots: &[Slot<D>]) -> impl Iterator<Item = Run> {
    let length = if slots.len() > 2 * RUN { RUN } else { 2 * RUN };
    slots.chunks(length).filter_map(Run::of)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slots_coarsen_with_age_and_keep_their_sums() {
        let mut zones = Zones::default();
        let mut slots = Slots::<i64>::default();
        for second in 0..1200 {
            slots.add(zones.key(second), &1);
        }
        zones.advance(1800, 0);
        slots.coarsen(&zones);
        assert_eq!(slots.all().first(), Some(&(9, 10)));
        assert_eq!(slots.all().len(), 60 + 600);
        zones.advance(600 + WIDTHS[1].1, 0);
        slots.coarsen(&zones);
        assert_eq!(slots.all().first(), Some(&(59, 60)));
        zones.advance(1200 + WIDTHS[2].1, 0);
        slots.coarsen(&zones);
        assert_eq!(slots.all(), [(599, 600), (1199, 600)]);
    }

    #[test]
    fn a_correction_of_an_old_slot_cancels_after_compaction() {
        let mut zones = Zones::default();
        let mut slots = Slots::<i64>::default();
        slots.add(zones.key(12), &3);
        zones.advance(10_000, 0);
        slots.coarsen(&zones);
        slots.add(zones.key(12), &-3);
        assert!(slots.is_empty());
    }

    #[test]
    fn a_busy_counter_takes_less_than_four_bytes_a_slot() {
        let mut slots = Slots::<i64>::default();
        for second in 0..7200 {
            slots.add(second, &(second % 50 + 1));
        }
        let bytes: usize = slots.sizes().map(|(_, bytes)| bytes).sum();
        assert!(bytes < 4 * 7200, "{bytes}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn slots_in_any_order_read_back_as_a_map_would(
            deltas in prop::collection::vec((0..500_i64, -2..3_i64), 1..1500),
            cut in 0..500_i64,
        ) {
            let (mut slots, mut naive) = (Slots::<i64>::default(), BTreeMap::new());
            for (key, delta) in deltas {
                slots.add(key, &delta);
                *naive.entry(key).or_insert(0) += delta;
            }
            naive.retain(|_, delta| *delta != 0);
            prop_assert_eq!(slots.all(), naive.clone().into_iter().collect::<Vec<_>>());
            let kept = naive.split_off(&cut);
            prop_assert_eq!(slots.take_before(cut), naive.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(slots.all(), kept.into_iter().collect::<Vec<_>>());
        }
    }
}
