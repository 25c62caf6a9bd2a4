//! Event time cut into slots: fine for the newest minutes, coarser with age.
//!
//! A slot is named by its last whole second, so a sample stamped with that name holds everything
//! that happened before the second was over, and merging fine slots into a coarse one keeps the
//! cumulative value at the coarse slot's name. Slots are in ascending order and never empty.

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
pub(crate) trait Delta: Default {
    fn merge(&mut self, other: &Self);
    /// Nothing is left: corrections took all that was here.
    fn is_zero(&self) -> bool;
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
    /// Moves the borders for a present of `now` seconds.
    pub(crate) fn advance(&mut self, now: i64) {
        for (from, (_, age)) in self.0.iter_mut().zip(WIDTHS) {
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

/// The non-empty slots of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slots<D>(Vec<(i64, D)>);

impl<D> Default for Slots<D> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<D: Delta> Slots<D> {
    /// Merges `delta` into the slot named `key`; the slot goes when nothing is left in it.
    pub(crate) fn add(&mut self, key: i64, delta: &D) {
        let at = match self.0.last() {
            Some((last, _)) if *last >= key => self.0.partition_point(|(k, _)| *k < key),
            _ => self.0.len(),
        };
        if self.0.get(at).is_none_or(|(k, _)| *k != key) {
            self.0.insert(at, (key, D::default()));
        }
        let slot = &mut self.0[at].1;
        slot.merge(delta);
        if slot.is_zero() {
            self.0.remove(at);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn first(&self) -> Option<i64> {
        self.0.first().map(|(key, _)| *key)
    }

    pub(crate) fn last(&self) -> Option<i64> {
        self.0.last().map(|(key, _)| *key)
    }

    /// The slots later than `second`.
    pub(crate) fn after(&self, second: i64) -> &[(i64, D)] {
        let at = self.0.partition_point(|(key, _)| *key <= second);
        self.0.get(at..).unwrap_or_default()
    }

    /// Merges what has grown older than its zone.
    pub(crate) fn coarsen(&mut self, zones: &Zones) {
        let old = self.0.partition_point(|(key, _)| *key < zones.fine_from());
        if self.0.iter().take(old).all(|(key, _)| zones.key(*key) == *key) {
            return;
        }
        let fine = self.0.split_off(old);
        let mut coarse: Vec<(i64, D)> = Vec::new();
        for (key, delta) in std::mem::take(&mut self.0) {
            let key = zones.key(key);
            match coarse.last_mut() {
                Some((last, sum)) if *last == key => sum.merge(&delta),
                _ => coarse.push((key, delta)),
            }
        }
        coarse.retain(|(_, delta)| !delta.is_zero());
        coarse.extend(fine);
        self.0 = coarse;
    }

    /// Drops the slots older than `horizon`, of which the last becomes `dropped_to`; gives how many.
    pub(crate) fn drop_before(&mut self, horizon: i64, dropped_to: &mut Option<i64>) -> usize {
        let n = self.0.partition_point(|(key, _)| *key < horizon);
        if let Some((key, _)) = self.0.drain(..n).next_back() {
            *dropped_to = Some(key);
        }
        n
    }

    pub(crate) fn for_each(&mut self, mut change: impl FnMut(&mut D)) {
        self.0.iter_mut().for_each(|(_, delta)| change(delta));
    }

    /// What each slot occupies, with its name.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (i64, usize)> {
        let each = size_of::<(i64, D)>();
        self.0.iter().map(move |(key, delta)| (*key, each + delta.heap_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_coarsen_with_age_and_keep_their_sums() {
        let mut zones = Zones::default();
        let mut slots = Slots::<i64>::default();
        for second in 0..1200 {
            slots.add(zones.key(second), &1);
        }
        zones.advance(1800);
        slots.coarsen(&zones);
        assert_eq!(slots.0.first(), Some(&(9, 10)));
        assert_eq!(slots.0.len(), 60 + 600);
        zones.advance(600 + WIDTHS[1].1);
        slots.coarsen(&zones);
        assert_eq!(slots.0.first(), Some(&(59, 60)));
        zones.advance(1200 + WIDTHS[2].1);
        slots.coarsen(&zones);
        assert_eq!(slots.0, [(599, 600), (1199, 600)]);
    }

    #[test]
    fn a_correction_of_an_old_slot_cancels_after_compaction() {
        let mut zones = Zones::default();
        let mut slots = Slots::<i64>::default();
        slots.add(zones.key(12), &3);
        zones.advance(10_000);
        slots.coarsen(&zones);
        slots.add(zones.key(12), &-3);
        assert!(slots.is_empty());
    }
}
