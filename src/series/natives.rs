//! Native histograms that were scraped or pushed, in memory: the newest as they are, those before packed.
//!
//! In: histograms at ascending times, or out of order. Out: the same, bit for bit. In a packed run a
//! histogram with the buckets of the one before is told by what its counts grew, a byte or two each,
//! where it would take sixteen. Never true: two at one time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Histogram;
use crate::number::{f64_from_i64, i64_from_f64};

/// Histograms of one run, at most twice as many; and newest ones that are not packed.
const RUN: usize = 16;
/// Whole numbers up to here are exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

pub(crate) type Timed = (i64, Arc<Histogram>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Natives {
    packed: Vec<Run>,
    open: Vec<Timed>,
}

/// Never empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    first: i64,
    last: i64,
    /// Shared with readers.
    bytes: Arc<[u8]>,
}

/// One histogram of a run.
#[derive(Serialize, Deserialize)]
enum Packed {
    /// With another layout than the one before.
    Whole(Histogram),
    /// What zero bucket, count and buckets grew, all of them whole numbers; and the bits of the sum.
    Grown { reset: super::CounterReset, grown: Vec<i64>, sum: u64 },
    /// The same as XORed bits.
    Changed { reset: super::CounterReset, changed: Vec<u64>, sum: u64 },
}

impl Natives {
    pub(crate) fn insert(&mut self, t: i64, histogram: Arc<Histogram>) {
        let at = self.packed.partition_point(|run| run.last < t);
        let Some(run) = self.packed.get(at) else {
            put(&mut self.open, t, histogram);
            if self.open.len() > 2 * RUN {
                let newest = self.open.split_off(RUN);
                self.packed.extend(Run::of(&self.open));
                self.open = newest;
            }
            return;
        };
        let mut held = run.open();
        put(&mut held, t, histogram);
        self.packed.splice(at..=at, runs(&held));
    }

    pub(crate) fn remove(&mut self, t: i64) {
        if let Ok(at) = self.open.binary_search_by_key(&t, |(other, _)| *other) {
            self.open.remove(at);
            return;
        }
        let at = self.packed.partition_point(|run| run.last < t);
        if self.packed.get(at).is_some_and(|run| run.first <= t) {
            let mut held = self.packed[at].open();
            held.retain(|(other, _)| *other != t);
            self.packed.splice(at..=at, runs(&held));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packed.is_empty() && self.open.is_empty()
    }

    pub(crate) fn first(&self) -> Option<i64> {
        let packed = self.packed.first().map(|run| run.first);
        packed.or_else(|| self.open.first().map(|(t, _)| *t))
    }

    pub(crate) fn has_in(&self, start: i64, end: i64) -> bool {
        let inside = |run: &&Run| run.first >= start && run.last <= end;
        self.packed.iter().any(|run| inside(&run)) || !self.within(start, end).is_empty()
    }

    /// Those in `[start, end]`, ascending.
    pub(crate) fn within(&self, start: i64, end: i64) -> Vec<Timed> {
        let packed = self.packed.iter().filter(|run| run.first <= end && run.last >= start);
        let all = packed.flat_map(Run::open).chain(self.open.iter().cloned());
        all.filter(|(t, _)| (start..=end).contains(t)).collect()
    }

    /// What holds all of those in `[start, end]`; runs are shared.
    pub(crate) fn part(&self, start: i64, end: i64) -> Self {
        let runs = self.packed.iter().filter(|run| run.first <= end && run.last >= start);
        let open = self.open.iter().filter(|(t, _)| (start..=end).contains(t));
        Self { packed: runs.cloned().collect(), open: open.cloned().collect() }
    }

    /// Forgets what is older than `t`.
    pub(crate) fn drop_before(&mut self, t: i64) {
        let whole = self.packed.partition_point(|run| run.last < t);
        self.packed.drain(..whole);
        if self.packed.first().is_some_and(|run| run.first < t) {
            let mut held = self.packed[0].open();
            held.retain(|(other, _)| *other >= t);
            self.packed.splice(..1, runs(&held));
        }
        let n = self.open.partition_point(|(other, _)| *other < t);
        self.open.drain(..n);
        self.packed.shrink_to_fit();
        self.open.shrink_to_fit();
    }

    /// Bytes of runs and of those that are not packed, each with its last time.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (i64, usize)> {
        let packed = self.packed.iter().map(|run| (run.last, size_of::<Run>() + run.bytes.len()));
        packed.chain(self.open.iter().map(|(t, histogram)| {
            let buckets = histogram.positive.len() + histogram.negative.len();
            (*t, size_of::<Histogram>() + buckets * size_of::<(i32, f64)>())
        }))
    }
}

fn put(held: &mut Vec<Timed>, t: i64, histogram: Arc<Histogram>) {
    match held.binary_search_by_key(&t, |(other, _)| *other) {
        Ok(at) => held[at].1 = histogram,
        Err(at) => held.insert(at, (t, histogram)),
    }
}

/// Packs in runs of at most twice [`RUN`].
fn runs(held: &[Timed]) -> impl Iterator<Item = Run> {
    let length = if held.len() > 2 * RUN { RUN } else { 2 * RUN };
    held.chunks(length).filter_map(Run::of)
}

impl Run {
    fn of(held: &[Timed]) -> Option<Self> {
        let ((first, _), (last, _)) = (held.first()?, held.last()?);
        let (mut bytes, mut time, mut before) = (Vec::new(), *first, None);
        for (t, histogram) in held {
            let packed = packed(before, histogram);
            let gap = t.wrapping_sub(time);
            bytes = postcard::to_extend(&(gap, packed), bytes).expect("memory grows");
            (time, before) = (*t, Some(&**histogram));
        }
        Some(Self { first: *first, last: *last, bytes: bytes.into() })
    }

    /// Ends where the bytes make no sense, which ours never do.
    fn open(&self) -> Vec<Timed> {
        let (mut held, mut bytes, mut time): (Vec<Timed>, &[u8], i64) =
            (Vec::new(), &self.bytes, self.first);
        while let Ok(((gap, packed), rest)) = postcard::take_from_bytes::<(i64, Packed)>(bytes) {
            time = time.wrapping_add(gap);
            let before = held.last().map(|(_, histogram)| &**histogram);
            let Some(histogram) = opened(before, packed) else { break };
            held.push((time, Arc::new(histogram)));
            bytes = rest;
        }
        held
    }
}

/// Every count but the sum, in one order.
fn counts(histogram: &Histogram) -> impl Iterator<Item = f64> {
    let buckets = histogram.positive.iter().chain(&histogram.negative).map(|(_, n)| *n);
    [histogram.zero_count, histogram.count].into_iter().chain(buckets)
}

fn whole(x: f64) -> Option<i64> {
    let n = i64_from_f64(x);
    let is_same = f64_from_i64(n).to_bits() == x.to_bits();
    (x.abs() < EXACT_MAX && is_same).then_some(n)
}

fn has_layout_of(a: &Histogram, b: &Histogram) -> bool {
    let alike = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|((i, _), (j, _))| i == j)
    };
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.custom_bounds.len() == b.custom_bounds.len()
        && a.custom_bounds.iter().zip(&*b.custom_bounds).all(|(x, y)| x.to_bits() == y.to_bits())
        && alike(&a.positive, &b.positive)
        && alike(&a.negative, &b.negative)
}

fn packed(before: Option<&Histogram>, histogram: &Histogram) -> Packed {
    let Some(before) = before.filter(|before| has_layout_of(before, histogram)) else {
        return Packed::Whole(histogram.clone());
    };
    let sum = (histogram.sum.to_bits() ^ before.sum.to_bits()).reverse_bits();
    let reset = histogram.counter_reset;
    let pairs = || counts(before).zip(counts(histogram));
    let grown: Option<Vec<i64>> = pairs().map(|(x, y)| whole(y)?.checked_sub(whole(x)?)).collect();
    if let Some(grown) = grown {
        return Packed::Grown { reset, grown, sum };
    }
    let changed = pairs().map(|(x, y)| (x.to_bits() ^ y.to_bits()).reverse_bits());
    Packed::Changed { reset, changed: changed.collect(), sum }
}

fn opened(before: Option<&Histogram>, packed: Packed) -> Option<Histogram> {
    let (reset, sum, counts_now): (_, _, Vec<f64>) = match packed {
        Packed::Whole(histogram) => return Some(histogram),
        Packed::Grown { reset, grown, sum } => {
            let now = counts(before?)
                .zip(grown)
                .map(|(x, n)| Some(f64_from_i64(whole(x)?.checked_add(n)?)));
            (reset, sum, now.collect::<Option<_>>()?)
        }
        Packed::Changed { reset, changed, sum } => {
            let now = counts(before?).zip(changed);
            let now = now.map(|(x, bits)| f64::from_bits(x.to_bits() ^ bits.reverse_bits()));
            (reset, sum, now.collect())
        }
    };
    let mut histogram = before?.clone();
    let mut now = counts_now.into_iter();
    histogram.counter_reset = reset;
    histogram.zero_count = now.next()?;
    histogram.count = now.next()?;
    histogram.sum = f64::from_bits(histogram.sum.to_bits() ^ sum.reverse_bits());
    for (_, n) in histogram.positive.iter_mut().chain(&mut histogram.negative) {
        *n = now.next()?;
    }
    Some(histogram)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::CounterReset;
    use super::*;
    use crate::number::f64_from_usize;

    fn histogram(layout: u8, counts: &[u32], part: f64) -> Arc<Histogram> {
        let count = |n: &u32| f64::from(*n) * part;
        let from = i32::from(layout % 3);
        Arc::new(Histogram {
            counter_reset: if layout == 4 { CounterReset::Gauge } else { CounterReset::Unknown },
            schema: 3,
            zero_threshold: 0.001,
            zero_count: part,
            count: counts.iter().map(count).sum(),
            sum: counts.iter().map(count).sum::<f64>() * 0.37,
            positive: (from..).zip(counts.iter().map(count)).collect(),
            negative: Vec::new(),
            custom_bounds: Arc::from([]),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn histograms_in_any_order_read_back_as_a_map_would(
            given in prop::collection::vec(
                (0..300_i64, 0..5_u8, prop::collection::vec(0..9000_u32, 0..6), prop_oneof![Just(1.0), Just(0.3)]), 1..200),
            gone in prop::collection::vec(0..300_i64, 0..20),
            (start, end, cut) in (0..300_i64, 0..300_i64, 0..300_i64),
        ) {
            let (mut natives, mut naive) = (Natives::default(), BTreeMap::new());
            for (t, layout, counts, part) in given {
                let one = histogram(layout, &counts, part);
                natives.insert(t, Arc::clone(&one));
                naive.insert(t, one);
            }
            for t in gone {
                natives.remove(t);
                naive.remove(&t);
            }
            let read = |naive: &BTreeMap<i64, Arc<Histogram>>| -> Vec<Timed> {
                naive.iter().map(|(t, one)| (*t, Arc::clone(one))).collect()
            };
            prop_assert_eq!(natives.within(i64::MIN, i64::MAX), read(&naive));
            let within: Vec<Timed> =
                read(&naive).into_iter().filter(|(t, _)| (start..=end).contains(t)).collect();
            prop_assert_eq!(natives.has_in(start, end), !within.is_empty());
            prop_assert_eq!(natives.part(start, end).within(start, end), within.clone());
            prop_assert_eq!(natives.within(start, end), within);
            natives.drop_before(cut);
            let kept = naive.split_off(&cut);
            prop_assert_eq!(natives.first(), kept.keys().next().copied());
            prop_assert_eq!(natives.is_empty(), kept.is_empty());
            prop_assert_eq!(natives.within(i64::MIN, i64::MAX), read(&kept));
        }
    }

    #[test]
    fn a_scraped_histogram_takes_less_than_four_bytes_a_bucket() {
        let mut natives = Natives::default();
        for i in 0..480_u32 {
            let counts: Vec<u32> = (0..60).map(|bucket| i * (bucket % 7 + 1)).collect();
            natives.insert(i64::from(i) * 15_000, histogram(0, &counts, 1.0));
        }
        let bytes: usize = natives.sizes().map(|(_, bytes)| bytes).sum();
        let each = f64_from_usize(bytes) / f64_from_usize(480 * 60);
        assert!(each < 4.0, "{each} bytes a bucket, the newest included");
    }
}
