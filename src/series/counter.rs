//! A derived counter: exact fixed-point deltas in slots.

use serde::{Deserialize, Serialize};

use super::slots::{Delta, Slot, Slots, Zones};
use crate::number::{f64_from_i64, f64_from_i128, i64_from_f64};

/// Sums are whole numbers of parts, so they are exact, whatever the order of the adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counter {
    /// Everything ever added, slots and what retention dropped.
    pub(crate) total: i128,
    pub(crate) slots: Slots<i64>,
    /// The last slot that retention dropped.
    pub(crate) dropped_to: Option<i64>,
}

impl Counter {
    pub(crate) fn add(&mut self, key: i64, delta: i64) {
        self.total = self.total.saturating_add(i128::from(delta));
        self.slots.add(key, &delta);
    }

    /// Gives up the slots before `horizon`, not what they sum up to; gives how many.
    pub(crate) fn drop_before(&mut self, horizon: i64) -> usize {
        let dropped = self.slots.take_before(horizon);
        self.dropped_to = dropped.last().map(|(key, _)| *key).or(self.dropped_to);
        dropped.len()
    }
}

/// Running sums at each of `seconds` (ascending), worked back from the `total` over the slots that
/// are `later` than the first of them: what a query costs is what its range holds.
pub(crate) fn cumulative<'a, D: Delta>(
    later: &'a [Slot<D>],
    total: i128,
    seconds: &'a [i64],
    of: impl Fn(&D) -> i128 + 'a,
) -> impl Iterator<Item = (i64, i128)> + 'a {
    let mut rest = later;
    let mut sum = total - rest.iter().map(|(_, delta)| of(delta)).sum::<i128>();
    seconds.iter().map(move |second| {
        while let Some(((key, delta), tail)) = rest.split_first()
            && key <= second
        {
            sum += of(delta);
            rest = tail;
        }
        (*second, sum)
    })
}

/// When a series is zero for the last time before its `first` slot.
pub(crate) fn origin(first: Option<i64>, dropped_to: Option<i64>, zones: &Zones) -> Option<i64> {
    dropped_to.or_else(|| first.map(|key| key.saturating_sub(zones.width(key))))
}

/// The nearest whole number of parts; NaN is none, and what does not fit a slot is its end.
pub(crate) fn to_parts(value: f64, parts: i64) -> i64 {
    i64_from_f64((value * f64_from_i64(parts)).round())
}

pub(crate) fn from_parts(sum: i128, parts: i64) -> f64 {
    f64_from_i128(sum) / f64_from_i64(parts)
}
