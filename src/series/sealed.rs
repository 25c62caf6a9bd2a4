//! What blocks hold of one series, for reading: samples in a range, slots after a time. Slots bear the
//! names that their age gives them, though a block is only written anew, and coarser, when it is merged:
//! a range that begins or ends within a slot gets the same from a block as from memory.

use super::SelectError;
use super::blocks::{Damaged, Disk};
use super::distribution::{Counts, Distribution};
use super::looks::{Gathered, Part};
use super::payload;
use super::read::SAMPLE_SPACING_MS;
use super::slots::{Slot, Zones, joined};
use super::taken::Taken;
use crate::number::{u64_from_i64, usize_from_u64};

/// Samples of one series that room is made for before they are read.
const SAMPLES_AT_ONCE: usize = 1 << 14;

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

impl Taken {
    /// Samples of blocks that are wanted; of two at one time the later holds.
    pub(super) fn sealed_samples(&self, disk: &Disk, part: Part) -> Result<Gathered, Damaged> {
        let Part { start, end, looks } = part;
        let mut gathered = Gathered::default();
        let Some(span) = self.sealed.filter(|span| span.last >= start && span.first <= end) else {
            return Ok(gathered);
        };
        // About as many as there are, so that few are moved as they become more.
        let stretch = span.last.min(end).saturating_sub(span.first.max(start));
        let spacing = looks.map_or(SAMPLE_SPACING_MS, |looks| looks.step.max(SAMPLE_SPACING_MS));
        let n = usize_from_u64(u64_from_i64(stretch / spacing)).min(SAMPLES_AT_ONCE);
        gathered.samples.reserve(n);
        for block in &*self.blocks {
            disk.read::<Damaged>(block, self.id, &mut |found| {
                let span = found.row.span;
                if span.last >= start && span.first <= end {
                    found.payload(|_, bytes| payload::samples(bytes, part, &mut gathered))?;
                }
                Ok(())
            })?;
        }
        Ok(gathered)
    }

    /// Slots of a counter's blocks, not in order.
    pub(super) fn sealed_deltas(
        &self,
        disk: &Disk,
        reach: Reach,
    ) -> Result<Vec<Slot<i64>>, Damaged> {
        let mut slots = Vec::new();
        let key = |second| self.zones.key(second);
        if self.sealed.is_none_or(|span| key(span.last) <= reach.first) {
            return Ok(slots);
        }
        for block in &*self.blocks {
            disk.read::<Damaged>(block, self.id, &mut |found| {
                let span = found.row.span;
                if reach.needs_sum(found.row, &self.zones) {
                    slots.push((key(span.last), found.row.sum));
                } else if key(span.last) > reach.first {
                    let held = found.payload(|row, bytes| Some(payload::counter(row, bytes)))?;
                    let held = joined(held, key).into_iter();
                    slots.extend(held.filter(|(key, _)| *key > reach.first));
                }
                Ok(())
            })?;
        }
        Ok(slots)
    }

    /// The same of a histogram, which is `held` beside what is sealed.
    pub(super) fn sealed_counts(
        &self,
        held: &Distribution,
        disk: &Disk,
        reach: Reach,
    ) -> Result<Vec<Slot<Counts>>, Damaged> {
        let mut slots = Vec::new();
        let key = |second| self.zones.key(second);
        if self.sealed.is_none_or(|span| key(span.last) <= reach.first) {
            return Ok(slots);
        }
        for block in &*self.blocks {
            disk.read::<Damaged>(block, self.id, &mut |found| {
                if reach.needs_sum(found.row, &self.zones) {
                    let total = found.payload(payload::distribution_total)?;
                    slots.extend(joined(held.coarsened(total), key));
                } else if key(found.row.span.last) > reach.first {
                    let sealed = held.coarsened(found.payload(payload::distribution)?);
                    let sealed = joined(sealed, key).into_iter();
                    slots.extend(sealed.filter(|(key, _)| *key > reach.first));
                }
                Ok(())
            })?;
        }
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
