//! What blocks hold of one series, for reading: samples in a range, slots after a time. Slots bear the
//! names that their age gives them, though a block is only written anew, and coarser, when it is merged:
//! a range that begins or ends within a slot gets the same from a block as from memory.

use super::blocks::Damaged;
use super::distribution::Counts;
use super::payload;
use super::slots::{Slot, Zones, joined};
use super::table::{Data, Entry};
use super::{Sample, SelectError, Series};

/// Which slots a reader needs: those later than `first`. What is later than `last` only adds up, so it
/// comes as one slot a block. Both in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) detail: Detail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    Slots,
    /// A block that lies between the two and never falls comes as one slot as well.
    Sums,
}

impl Series {
    /// Samples of blocks in `[start, end]` (milliseconds); of two at one time the later holds.
    pub(super) fn sealed_samples(
        &self,
        entry: &Entry,
        start: i64,
        end: i64,
    ) -> Result<Vec<Sample>, Damaged> {
        let mut samples = Vec::new();
        if entry.sealed.is_none_or(|span| span.last < start || span.first > end) {
            return Ok(samples);
        }
        let stretch = (start.div_euclid(1000), end.div_euclid(1000).saturating_add(1));
        self.blocks.read::<Damaged>(entry.id, stretch, |found| {
            samples.extend(found.payload(|_, bytes| payload::samples(bytes, start, end))?);
            Ok(())
        })?;
        Ok(samples)
    }

    /// Slots of a counter's blocks, not in order.
    pub(super) fn sealed_deltas(
        &self,
        entry: &Entry,
        reach: Reach,
    ) -> Result<Vec<Slot<i64>>, Damaged> {
        let mut slots = Vec::new();
        let key = |second| self.zones.key(second);
        if entry.sealed.is_none_or(|span| key(span.last) <= reach.first) {
            return Ok(slots);
        }
        self.blocks.read::<Damaged>(entry.id, (reach.first, i64::MAX), |found| {
            let span = found.row.span;
            if reach.needs_sum(found.row, &self.zones) {
                slots.push((key(span.last), found.row.sum));
            } else if key(span.last) > reach.first {
                let held = found.payload(|row, bytes| Some(payload::counter(row, bytes)))?;
                slots.extend(joined(held, key).into_iter().filter(|(key, _)| *key > reach.first));
            }
            Ok(())
        })?;
        Ok(slots)
    }

    /// The same of a histogram.
    pub(super) fn sealed_counts(
        &self,
        entry: &Entry,
        reach: Reach,
    ) -> Result<Vec<Slot<Counts>>, Damaged> {
        let mut slots = Vec::new();
        let Data::Distribution(held, _) = &entry.data else { return Ok(slots) };
        let key = |second| self.zones.key(second);
        if entry.sealed.is_none_or(|span| key(span.last) <= reach.first) {
            return Ok(slots);
        }
        self.blocks.read::<Damaged>(entry.id, (reach.first, i64::MAX), |found| {
            if reach.needs_sum(found.row, &self.zones) {
                let total = found.payload(payload::distribution_total)?;
                slots.extend(joined(held.coarsened(total), key));
            } else if key(found.row.span.last) > reach.first {
                let sealed = joined(held.coarsened(found.payload(payload::distribution)?), key);
                slots.extend(sealed.into_iter().filter(|(key, _)| *key > reach.first));
            }
            Ok(())
        })?;
        Ok(slots)
    }
}

impl Reach {
    fn needs_sum(self, row: &super::block::Row, zones: &Zones) -> bool {
        let (first, last) = (zones.key(row.span.first), zones.key(row.span.last));
        let is_within = first > self.first && last <= self.last;
        first > self.last || (self.detail == Detail::Sums && row.rises && is_within)
    }
}

impl From<Damaged> for SelectError {
    fn from(Damaged { name }: Damaged) -> Self {
        Self::Damaged { name }
    }
}
