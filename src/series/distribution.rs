//! A derived histogram: exponential buckets, exact classic counts and an exact sum, in slots.
//!
//! Each observation is filed in one cell: its base-2 exponential bucket (schema 5: neighbours differ
//! by 2.2 %) and the classic bound above it. Either view is a sum over cells.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::bounds::Bounds;
use super::counter::{cumulative, from_parts, to_parts};
use super::payload::SealedCounts;
use super::slots::{Delta, Slot, Slots};
use super::{CounterReset, Histogram};
use crate::number::{f64_from_i64, f64_from_usize, i64_from_u64, u64_from_usize};

/// 32 buckets a power of two.
pub(crate) const SCHEMA: i8 = 5;
/// The coarsest schema that Prometheus knows.
const SCHEMA_MIN: i8 = -4;
/// Exponential buckets of one series; beyond, neighbours merge (schema 4, 3, ...). Ten powers of two
/// at schema 5, 1 ms to 1 s; OpenTelemetry's SDKs hold 160.
pub(crate) const BUCKETS_MAX: usize = 320;
/// Prometheus's default zero threshold, 2^-128.
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;
/// The bucket of values at or below the zero threshold.
const ZERO: i16 = i16::MIN;
/// Where the exponent of a double lies, that of one half, and what is no exponent (IEEE 754).
const EXPONENT_AT: u32 = 52;
const HALF_EXPONENT: i64 = 1022;
const FRACTION: u64 = (1 << EXPONENT_AT) - 1;
/// Sums are exact to the nanosecond (or billionth of whatever the unit is).
const SUM_PARTS: i64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Cell {
    bucket: i16,
    class: u16,
}

/// What one slot holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    count: i64,
    sum: i64,
    /// Ascending by cell, none zero.
    cells: Vec<(Cell, i64)>,
}

/// Observations of one value.
#[derive(Clone, Copy, Debug)]
struct Seen {
    cell: Cell,
    /// Negative: taken away.
    n: i64,
    sum: i64,
}

impl Counts {
    fn observe(&mut self, seen: &Seen) {
        self.count = self.count.saturating_add(seen.n);
        self.sum = self.sum.saturating_add(seen.sum);
        self.add(seen.cell, seen.n);
    }

    fn add(&mut self, cell: Cell, n: i64) {
        match self.cells.binary_search_by_key(&cell, |(at, _)| *at) {
            Ok(at) => {
                self.cells[at].1 = self.cells[at].1.saturating_add(n);
                if self.cells[at].1 == 0 {
                    self.cells.remove(at);
                }
            }
            Err(at) => self.cells.insert(at, (cell, n)),
        }
    }

    /// Merges neighbours: one schema coarser.
    fn halve(&mut self) {
        for (cell, n) in std::mem::take(&mut self.cells) {
            self.add(halved(cell), n);
        }
    }

    fn below(&self, bounds: &Bounds, bound: f64) -> i128 {
        let held = self.cells.iter().filter(|(cell, _)| bounds.is_below(cell.class, bound));
        held.map(|(_, n)| i128::from(*n)).sum()
    }
}

impl Delta for Counts {
    fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        for (cell, n) in &other.cells {
            self.add(*cell, *n);
        }
    }

    fn is_zero(&self) -> bool {
        self.count == 0 && self.sum == 0 && self.cells.is_empty()
    }

    fn is_rise(&self) -> bool {
        self.count >= 0 && self.sum >= 0 && self.cells.iter().all(|(_, n)| *n >= 0)
    }

    fn heap_bytes(&self) -> usize {
        self.cells.capacity() * size_of::<(Cell, i64)>()
    }
}

/// Everything that a series ever observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals {
    count: i128,
    sum: i128,
    cells: BTreeMap<Cell, i64>,
}

impl Totals {
    /// Adds or (`sign` -1) takes away.
    fn apply(&mut self, counts: &Counts, sign: i64) {
        self.count += i128::from(counts.count) * i128::from(sign);
        self.sum += i128::from(counts.sum) * i128::from(sign);
        for (cell, n) in &counts.cells {
            self.add(*cell, n.saturating_mul(sign));
        }
    }

    /// Gives whether the cell is new.
    fn observe(&mut self, seen: &Seen) -> bool {
        self.count += i128::from(seen.n);
        self.sum += i128::from(seen.sum);
        self.add(seen.cell, seen.n)
    }

    /// Gives whether the cell is new.
    fn add(&mut self, cell: Cell, n: i64) -> bool {
        match self.cells.entry(cell) {
            Entry::Vacant(place) => {
                place.insert(n);
                return n != 0;
            }
            Entry::Occupied(mut held) => {
                *held.get_mut() = held.get().saturating_add(n);
                if *held.get() == 0 {
                    held.remove();
                }
            }
        }
        false
    }

    fn halve(&mut self) {
        for (cell, n) in std::mem::take(&mut self.cells) {
            let sum = self.cells.entry(halved(cell)).or_default();
            *sum = sum.saturating_add(n);
        }
        self.cells.retain(|_, n| *n != 0);
    }

    fn n_buckets(&self) -> usize {
        let mut last = None;
        self.cells.keys().filter(|cell| last.replace(cell.bucket) != Some(cell.bucket)).count()
    }

    fn below(&self, bounds: &Bounds, bound: f64) -> i128 {
        let held = self.cells.iter().filter(|(cell, _)| bounds.is_below(cell.class, bound));
        held.map(|(_, n)| i128::from(*n)).sum()
    }

    fn native(&self, schema: i8) -> Histogram {
        let mut zero_count = 0;
        let mut positive: Vec<(i32, f64)> = Vec::with_capacity(self.cells.len());
        for (cell, n) in &self.cells {
            match positive.last_mut() {
                _ if cell.bucket == ZERO => zero_count += n,
                Some((bucket, sum)) if *bucket == i32::from(cell.bucket) => {
                    *sum += f64_from_i64(*n);
                }
                _ => positive.push((i32::from(cell.bucket), f64_from_i64(*n))),
            }
        }
        Histogram {
            counter_reset: CounterReset::No,
            schema: i32::from(schema),
            zero_threshold: ZERO_THRESHOLD,
            zero_count: f64_from_i64(zero_count),
            count: from_parts(self.count, 1),
            sum: from_parts(self.sum, SUM_PARTS),
            positive,
            negative: Vec::new(),
            custom_bounds: Arc::from([]),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distribution {
    schema: i8,
    total: Totals,
    pub(crate) slots: Slots<Counts>,
    /// The last slot that retention dropped.
    pub(crate) dropped_to: Option<i64>,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { schema: SCHEMA, total: Totals::default(), slots: Slots::default(), dropped_to: None }
    }
}

impl Distribution {
    /// Files `n` (negative: takes away) observations of `value` under the classic bound `class`.
    pub(crate) fn observe(&mut self, key: i64, value: f64, class: u16, n: i64) {
        let mut bucket = bucket_of(value);
        for _ in self.schema..SCHEMA {
            bucket = halved_bucket(bucket);
        }
        let seen = Seen {
            cell: Cell { bucket, class },
            n,
            sum: to_parts(value, SUM_PARTS).saturating_mul(n),
        };
        self.slots.change(key, |counts| counts.observe(&seen));
        if self.total.observe(&seen) {
            self.keep_budget();
        }
    }

    fn keep_budget(&mut self) {
        while self.total.n_buckets() > BUCKETS_MAX && self.schema > SCHEMA_MIN {
            self.schema -= 1;
            self.total.halve();
            self.slots.for_each(Counts::halve);
        }
    }

    /// Gives up the slots before `horizon`, not what they sum up to; gives how many.
    pub(crate) fn drop_before(&mut self, horizon: i64) -> usize {
        let dropped = self.slots.take_before(horizon);
        self.dropped_to = dropped.last().map(|(key, _)| *key).or(self.dropped_to);
        dropped.len()
    }

    pub(crate) fn schema(&self) -> i8 {
        self.schema
    }

    /// How far a quantile may be off, as a part of it, where buckets were merged.
    pub(crate) fn merged_error(&self) -> Option<f64> {
        (self.schema < SCHEMA).then(|| f64::from(-self.schema).exp2().exp2() - 1.0)
    }

    /// Sealed slots in the buckets of today, which are never finer.
    pub(crate) fn coarsened(&self, mut sealed: SealedCounts) -> Vec<Slot<Counts>> {
        for _ in self.schema..sealed.schema {
            sealed.slots.iter_mut().for_each(|(_, counts)| counts.halve());
        }
        sealed.slots
    }

    pub(crate) fn bytes(&self) -> usize {
        self.total.cells.len() * size_of::<(Cell, i64)>() * 2
    }

    /// The present total as a native histogram.
    pub(crate) fn native_total(&self) -> Histogram {
        self.total.native(self.schema)
    }

    /// The present cumulative count of each bound.
    pub(crate) fn classic_total(&self, bounds: &Bounds) -> Vec<(f64, f64)> {
        let count = |bound| (bound, from_parts(self.total.below(bounds, bound), 1));
        bounds.shown().into_iter().map(count).collect()
    }

    /// Cumulative native histograms at each of `seconds`; times without news share one. `later` are
    /// all slots after the first of them.
    pub(crate) fn natives(
        &self,
        later: &[Slot<Counts>],
        seconds: &[i64],
    ) -> Vec<(i64, Arc<Histogram>)> {
        let mut rest = later;
        let mut sum = self.total.clone();
        for (_, counts) in rest {
            sum.apply(counts, -1);
        }
        let mut shared = Arc::new(sum.native(self.schema));
        let mut natives = Vec::with_capacity(seconds.len());
        for second in seconds {
            let before = rest.len();
            while let Some(((key, counts), tail)) = rest.split_first()
                && key <= second
            {
                sum.apply(counts, 1);
                rest = tail;
            }
            if rest.len() != before {
                shared = Arc::new(sum.native(self.schema));
            }
            natives.push((*second, Arc::clone(&shared)));
        }
        natives
    }

    /// Cumulative counts of what lies at or below `bound`; `later` as for [`Self::natives`].
    pub(crate) fn bucket_values(
        &self,
        later: &[Slot<Counts>],
        seconds: &[i64],
        at_or_below: (&Bounds, f64),
    ) -> Vec<(i64, f64)> {
        let (bounds, bound) = at_or_below;
        let total = self.total.below(bounds, bound);
        cumulative(later, total, seconds, |counts: &Counts| counts.below(bounds, bound))
            .map(|(second, n)| (second, from_parts(n, 1)))
            .collect()
    }

    pub(crate) fn sum_values(&self, later: &[Slot<Counts>], seconds: &[i64]) -> Vec<(i64, f64)> {
        cumulative(later, self.total.sum, seconds, |counts: &Counts| i128::from(counts.sum))
            .map(|(second, sum)| (second, from_parts(sum, SUM_PARTS)))
            .collect()
    }

    pub(crate) fn count_values(&self, later: &[Slot<Counts>], seconds: &[i64]) -> Vec<(i64, f64)> {
        cumulative(later, self.total.count, seconds, |counts: &Counts| i128::from(counts.count))
            .map(|(second, n)| (second, from_parts(n, 1)))
            .collect()
    }
}

/// Borders of the buckets of one power of two, from one half on.
static BORDERS: LazyLock<[f64; 1 << SCHEMA]> = LazyLock::new(|| {
    std::array::from_fn(|idx| (f64_from_usize(idx) / f64::from(1 << SCHEMA) - 1.0).exp2())
});

/// The schema-5 bucket of a value: `i` covers `(2^((i-1)/32), 2^(i/32)]`. Found by its power of two and
/// its place among the borders within one, since the logarithm may be off by its last digit at a border.
fn bucket_of(value: f64) -> i16 {
    if value <= ZERO_THRESHOLD {
        return ZERO;
    }
    if value.is_infinite() {
        return i16::MAX;
    }
    // Above the zero threshold no number is subnormal: the exponent of its half is in its bits.
    let bits = value.to_bits();
    let power = i64_from_u64(bits >> EXPONENT_AT) - HALF_EXPONENT;
    let fraction = f64::from_bits(bits & FRACTION | 0.5_f64.to_bits());
    let place = BORDERS.partition_point(|border| *border < fraction);
    let bucket = ((power - 1) << SCHEMA) + i64_from_u64(u64_from_usize(place));
    i16::try_from(bucket).unwrap_or(i16::MAX)
}

fn halved_bucket(bucket: i16) -> i16 {
    if bucket == ZERO {
        ZERO
    } else {
        (i32::from(bucket) + 1).div_euclid(2).try_into().unwrap_or(ZERO)
    }
}

fn halved(cell: Cell) -> Cell {
    Cell { bucket: halved_bucket(cell.bucket), ..cell }
}

/// Merges neighbours of ascending native buckets: one schema coarser.
pub(crate) fn halve_native(buckets: &[(i32, f64)]) -> Vec<(i32, f64)> {
    let mut merged: Vec<(i32, f64)> = Vec::with_capacity(buckets.len());
    for (bucket, n) in buckets {
        let bucket = bucket.saturating_add(1).div_euclid(2);
        match merged.last_mut() {
            Some((last, sum)) if *last == bucket => *sum += n,
            _ => merged.push((bucket, *n)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_within_the_borders_of_its_bucket() {
        let borders = (-64..64).map(|n| (f64::from(n) / 32.0).exp2());
        let beside = borders.flat_map(|border| [border.next_down(), border, border.next_up()]);
        for value in beside.chain([1e-9, 0.005, 0.1, 1.000_001, 3.7, 900.0, 1e30]) {
            let bucket = f64::from(bucket_of(value));
            assert!(value <= (bucket / 32.0).exp2(), "{value}");
            assert!(value > ((bucket - 1.0) / 32.0).exp2(), "{value}");
        }
        assert_eq!((bucket_of(1.0), bucket_of(2.0), bucket_of(0.0)), (0, 32, ZERO));
    }

    #[test]
    fn the_bucket_budget_merges_neighbours_and_corrections_still_cancel() {
        let mut held = Distribution::default();
        let values: Vec<f64> = (0..400_i32).map(|i| 0.001 * 1.03_f64.powi(i)).collect();
        for value in &values {
            held.observe(10, *value, 0, 1);
        }
        assert_eq!(held.schema, 4);
        assert!(held.total.n_buckets() <= BUCKETS_MAX);
        for value in &values {
            held.observe(10, *value, 0, -1);
        }
        assert!(held.slots.is_empty() && held.total == Totals::default());
    }

    #[test]
    fn classic_counts_are_exact_at_their_bounds() {
        let bounds = Bounds::default();
        let mut held = Distribution::default();
        for value in [0.1, 0.1001, 0.25, 0.2501] {
            held.observe(10, value, bounds.class(value, 10), 1);
        }
        let later = |second| held.slots.after(second);
        let at = |bound| held.bucket_values(&later(10), &[10], (&bounds, bound));
        assert_eq!(
            (at(0.1), at(0.25), at(0.5)),
            (vec![(10, 1.0)], vec![(10, 3.0)], vec![(10, 4.0)])
        );
        assert_eq!(held.sum_values(&later(9), &[9, 10]), [(9, 0.0), (10, 0.7002)]);
    }
}
