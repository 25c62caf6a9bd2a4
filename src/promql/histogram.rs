//! Arithmetic of native histograms, as `model/histogram/float_histogram.go` defines it. What comes
//! in: histograms with any resolution and zero bucket. What goes out: one in the coarser layout of
//! its inputs. What is never true: a sum of exponential and custom buckets.
#![expect(clippy::float_cmp, reason = "layouts match exactly or not at all")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::text::short_number;
use crate::number::{f64_from_i64, usize_from_u32};
use crate::series::{CounterReset, Histogram};

/// The schema that means custom bucket boundaries.
const CUSTOM: i32 = -53;

/// Above this exponent the bucket's bound is not a finite number.
const EXPONENT_MAX: i64 = 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

/// Exponential and custom buckets do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incompatible;

/// A result, and what happened on the way to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Combined {
    pub(crate) histogram: Histogram,
    /// Custom boundaries differed; only the common ones are left.
    pub(crate) bounds_reconciled: bool,
    /// One input says that its counter was reset, the other that it was not.
    pub(crate) resets_conflict: bool,
}

type Counts = Vec<(i32, f64)>;

pub(crate) fn is_custom(h: &Histogram) -> bool {
    h.schema == CUSTOM
}

/// Upper bound of exponential bucket `index`.
fn exponential_bound(schema: i32, index: i32) -> f64 {
    let index = i64::from(index);
    if schema <= 0 {
        let exponent = index.saturating_mul(1 << schema.saturating_neg().min(30));
        return if exponent == EXPONENT_MAX {
            f64::MAX
        } else {
            f64_from_i64(exponent.clamp(-2000, 2000)).exp2()
        };
    }
    let parts = 1_i64 << schema.min(30);
    if index == EXPONENT_MAX * parts {
        return f64::MAX;
    }
    (f64_from_i64(index) / f64_from_i64(parts)).exp2()
}

fn custom_bound(h: &Histogram, index: i32) -> f64 {
    let at = u32::try_from(index).map_or(usize::MAX, usize_from_u32);
    if index < 0 {
        return f64::NEG_INFINITY;
    }
    h.custom_bounds.get(at).copied().unwrap_or(f64::INFINITY)
}

fn bounds(h: &Histogram, index: i32) -> (f64, f64) {
    if is_custom(h) {
        (custom_bound(h, index.saturating_sub(1)), custom_bound(h, index))
    } else {
        let lower = exponential_bound(h.schema, index.saturating_sub(1));
        (lower, exponential_bound(h.schema, index))
    }
}

/// A bucket by its place; its borders cost two powers, so they are worked out when they are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Negative(i32),
    Zero,
    Positive(i32),
}

/// Every bucket's place and count in ascending order.
pub(crate) fn places(h: &Histogram) -> impl DoubleEndedIterator<Item = (Place, f64)> {
    let zero = (h.zero_count != 0.0).then_some((Place::Zero, h.zero_count));
    let negative = h.negative.iter().rev().map(|(index, n)| (Place::Negative(*index), *n));
    let positive = h.positive.iter().map(|(index, n)| (Place::Positive(*index), *n));
    negative.chain(zero).chain(positive)
}

/// The bucket there; one beside the zero bucket starts where that ends.
pub(crate) fn bucket_at(h: &Histogram, (place, count): (Place, f64)) -> Bucket {
    match place {
        Place::Negative(index) => {
            let (lower, upper) = bounds(h, index);
            let near = if lower < h.zero_threshold { h.zero_threshold } else { lower };
            Bucket { lower: -upper, upper: -near, count }
        }
        Place::Zero => Bucket { lower: -h.zero_threshold, upper: h.zero_threshold, count },
        Place::Positive(index) => {
            let (lower, upper) = bounds(h, index);
            let clipped = !is_custom(h) && lower < h.zero_threshold;
            Bucket { lower: if clipped { h.zero_threshold } else { lower }, upper, count }
        }
    }
}

/// Every bucket in ascending order.
pub(crate) fn buckets(h: &Histogram) -> Vec<Bucket> {
    places(h).map(|place| bucket_at(h, place)).collect()
}

/// Drops empty buckets.
pub(crate) fn compact(h: &mut Histogram) {
    h.positive.retain(|(_, count)| *count != 0.0);
    h.negative.retain(|(_, count)| *count != 0.0);
}

/// Merges neighbours until the resolution is `schema`.
pub(crate) fn reduce(h: &mut Histogram, schema: i32) {
    if is_custom(h) || schema >= h.schema {
        return;
    }
    let shift = h.schema.saturating_sub(schema).clamp(0, 31);
    let merge = |counts: &Counts| {
        let mut merged: Counts = Vec::with_capacity(counts.len());
        for (index, count) in counts {
            let index = ((index.saturating_sub(1)) >> shift) + 1;
            match merged.last_mut() {
                Some((last, sum)) if *last == index => *sum += count,
                _ => merged.push((index, *count)),
            }
        }
        merged
    };
    h.positive = merge(&h.positive);
    h.negative = merge(&h.negative);
    h.schema = schema;
}

/// The zero count with at least this threshold, and the threshold, which grows until it cuts no
/// populated bucket.
fn zero_count_within(h: &Histogram, mut threshold: f64) -> (f64, f64) {
    if threshold <= h.zero_threshold {
        return (h.zero_count, h.zero_threshold);
    }
    loop {
        let mut count = h.zero_count;
        let mut grown = threshold;
        for (index, n) in h.positive.iter().chain(&h.negative) {
            let (lower, upper) = bounds(h, *index);
            if lower < threshold {
                count += n;
                if upper > grown && *n != 0.0 {
                    grown = upper;
                }
            }
        }
        if grown == threshold {
            return (count, threshold);
        }
        threshold = grown;
    }
}

fn widen_zero(h: &mut Histogram, threshold: f64) {
    let (count, threshold) = zero_count_within(h, threshold);
    let (schema, zero) = (h.schema, threshold);
    let outside =
        |(index, _): &(i32, f64)| exponential_bound(schema, index.saturating_sub(1)) >= zero;
    h.positive.retain(outside);
    h.negative.retain(outside);
    h.zero_count = count;
    h.zero_threshold = threshold;
}

/// Keeps only the boundaries in `common`; counts go to the bucket that encloses theirs.
fn coarsen(h: &mut Histogram, common: &Arc<[f64]>) {
    let mut merged: BTreeMap<i32, f64> = BTreeMap::new();
    for (index, count) in &h.positive {
        let upper = custom_bound(h, *index);
        let at = common.partition_point(|bound| *bound < upper);
        *merged.entry(i32::try_from(at).unwrap_or(i32::MAX)).or_default() += count;
    }
    h.positive = merged.into_iter().collect();
    h.custom_bounds = Arc::clone(common);
}

/// Whether [`align`] would change nothing.
fn is_aligned(a: &Histogram, b: &Histogram) -> bool {
    a.schema == b.schema
        && if is_custom(a) {
            a.custom_bounds == b.custom_bounds
        } else {
            a.zero_threshold == b.zero_threshold
        }
}

/// Gives both the same layout; true where custom boundaries had to go.
fn align(a: &mut Histogram, b: &mut Histogram) -> Result<bool, Incompatible> {
    if is_custom(a) != is_custom(b) {
        return Err(Incompatible);
    }
    if is_custom(a) {
        if a.custom_bounds == b.custom_bounds {
            return Ok(false);
        }
        let both = |bound: &&f64| b.custom_bounds.contains(bound);
        let common: Arc<[f64]> = a.custom_bounds.iter().filter(both).copied().collect();
        coarsen(a, &common);
        coarsen(b, &common);
        return Ok(true);
    }
    while a.zero_threshold != b.zero_threshold {
        let wider = a.zero_threshold.max(b.zero_threshold);
        if wider.is_nan() {
            break;
        }
        widen_zero(a, wider);
        widen_zero(b, wider);
    }
    let schema = a.schema.min(b.schema);
    reduce(a, schema);
    reduce(b, schema);
    Ok(false)
}

/// Applies `f` to the counts of every bucket that either has. Both ascend.
fn zip(a: &Counts, b: &Counts, f: impl Fn(f64, f64) -> f64) -> Counts {
    let mut merged = Vec::with_capacity(a.len().max(b.len()));
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let heads = left.peek().into_iter().chain(right.peek());
        let Some(index) = heads.map(|(index, _)| *index).min() else { return merged };
        let of_a = left.next_if(|(at, _)| *at == index).map_or(0.0, |(_, count)| *count);
        let of_b = right.next_if(|(at, _)| *at == index).map_or(0.0, |(_, count)| *count);
        merged.push((index, f(of_a, of_b)));
    }
}

fn joined_reset(a: CounterReset, b: CounterReset) -> (CounterReset, bool) {
    use CounterReset::{Gauge, No, Unknown, Yes};
    match (a, b) {
        (a, b) if a == b => (a, false),
        (Gauge, _) | (_, Gauge) => (Gauge, false),
        (Yes, No) | (No, Yes) => (Unknown, true),
        _ => (Unknown, false),
    }
}

fn combine(
    a: &Histogram,
    b: &Histogram,
    f: impl Fn(f64, f64) -> f64,
) -> Result<Combined, Incompatible> {
    let (counter_reset, resets_conflict) = joined_reset(a.counter_reset, b.counter_reset);
    let zipped = |left: &Histogram, right: &Histogram| Histogram {
        counter_reset,
        schema: left.schema,
        zero_threshold: left.zero_threshold,
        zero_count: f(left.zero_count, right.zero_count),
        count: f(left.count, right.count),
        sum: f(left.sum, right.sum),
        positive: zip(&left.positive, &right.positive, &f),
        negative: zip(&left.negative, &right.negative, &f),
        custom_bounds: Arc::clone(&left.custom_bounds),
    };
    if is_aligned(a, b) {
        let histogram = zipped(a, b);
        return Ok(Combined { histogram, bounds_reconciled: false, resets_conflict });
    }
    let (mut left, mut right) = (a.clone(), b.clone());
    let bounds_reconciled = align(&mut left, &mut right)?;
    Ok(Combined { histogram: zipped(&left, &right), bounds_reconciled, resets_conflict })
}

pub(crate) fn add(a: &Histogram, b: &Histogram) -> Result<Combined, Incompatible> {
    combine(a, b, |x, y| x + y)
}

/// `a - b`: a gauge, whatever its inputs are.
pub(crate) fn subtract(a: &Histogram, b: &Histogram) -> Result<Combined, Incompatible> {
    let mut combined = combine(a, b, |x, y| x - y)?;
    combined.histogram.counter_reset = CounterReset::Gauge;
    Ok(combined)
}

fn map(h: &Histogram, f: impl Fn(f64) -> f64) -> Histogram {
    let counts = |counts: &Counts| counts.iter().map(|(i, n)| (*i, f(*n))).collect();
    Histogram {
        counter_reset: h.counter_reset,
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        zero_count: f(h.zero_count),
        count: f(h.count),
        sum: f(h.sum),
        positive: counts(&h.positive),
        negative: counts(&h.negative),
        custom_bounds: Arc::clone(&h.custom_bounds),
    }
}

fn as_gauge_if_negative(mut h: Histogram, factor: f64) -> Histogram {
    if factor < 0.0 {
        h.counter_reset = CounterReset::Gauge;
    }
    h
}

pub(crate) fn multiply(h: &Histogram, factor: f64) -> Histogram {
    as_gauge_if_negative(map(h, |x| x * factor), factor)
}

/// Division by zero leaves no buckets: each would be infinite.
pub(crate) fn divide(h: &Histogram, divisor: f64) -> Histogram {
    let mut quotient = as_gauge_if_negative(map(h, |x| x / divisor), divisor);
    if divisor == 0.0 {
        quotient.positive.clear();
        quotient.negative.clear();
    }
    quotient
}

/// Equal in every field but the counter reset; empty buckets do not matter, NaN equals NaN.
pub(crate) fn equal(a: &Histogram, b: &Histogram) -> bool {
    let same = |x: f64, y: f64| x == y || (x.is_nan() && y.is_nan());
    let populated = |counts: &Counts| -> Counts {
        counts.iter().copied().filter(|(_, count)| *count != 0.0).collect()
    };
    let same_counts = |x: &Counts, y: &Counts| {
        let (x, y) = (populated(x), populated(y));
        x.len() == y.len() && x.iter().zip(&y).all(|((i, n), (j, m))| i == j && same(*n, *m))
    };
    a.schema == b.schema
        && a.custom_bounds == b.custom_bounds
        && same(a.zero_threshold, b.zero_threshold)
        && same(a.zero_count, b.zero_count)
        && same(a.count, b.count)
        && same(a.sum, b.sum)
        && same_counts(&a.positive, &b.positive)
        && same_counts(&a.negative, &b.negative)
}

/// Whether the counter behind `current` was reset since `previous`.
pub(crate) fn was_reset(current: &Histogram, previous: &Histogram) -> bool {
    match current.counter_reset {
        CounterReset::Yes => return true,
        CounterReset::No => return false,
        // A gauge in a counter's function is treated like a counter, with a warning elsewhere.
        CounterReset::Unknown | CounterReset::Gauge => {}
    }
    if current.count < previous.count || is_custom(current) != is_custom(previous) {
        return true;
    }
    let mut before = previous.clone();
    let mut now = current.clone();
    if is_custom(current) {
        if align(&mut now, &mut before).is_err() {
            return true;
        }
    } else {
        if now.schema > before.schema || now.zero_threshold < before.zero_threshold {
            return true;
        }
        widen_zero(&mut before, now.zero_threshold);
        if before.zero_threshold != now.zero_threshold || now.zero_count < before.zero_count {
            return true;
        }
        reduce(&mut before, now.schema);
    }
    let fell = |now: &Counts, before: &Counts| {
        zip(now, before, |x, y| if x < y { 1.0 } else { 0.0 }).iter().any(|(_, fell)| *fell > 0.0)
    };
    fell(&now.positive, &before.positive) || fell(&now.negative, &before.negative)
}

/// A sum of histograms that keeps what rounding would lose (Neumaier's variant of Kahan).
#[derive(Clone, Debug)]
pub(crate) struct Accumulator {
    sum: Histogram,
    rest: Histogram,
    n: f64,
    /// The sum would overflow, so `sum` is a running mean.
    is_mean: bool,
}

/// What adding one histogram met.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    pub(crate) bounds_reconciled: bool,
}

impl Accumulator {
    pub(crate) fn new(first: &Histogram) -> Self {
        Self { sum: first.clone(), rest: map(first, |_| 0.0), n: 1.0, is_mean: false }
    }

    /// Adds one to the sum.
    pub(crate) fn add(&mut self, h: &Histogram) -> Result<Met, Incompatible> {
        let (sum, rest, met) = self.plus(h)?;
        (self.sum, self.rest) = (sum, rest);
        self.n += 1.0;
        Ok(met)
    }

    /// Adds one to what [`Accumulator::mean`] answers.
    pub(crate) fn add_to_mean(&mut self, h: &Histogram) -> Result<Met, Incompatible> {
        if !self.is_mean {
            let (sum, rest, met) = self.plus(h)?;
            if !overflows(&sum) {
                (self.sum, self.rest) = (sum, rest);
                self.n += 1.0;
                return Ok(met);
            }
            self.sum = divide(&self.sum, self.n);
            self.rest = divide(&self.rest, self.n);
            self.is_mean = true;
        }
        self.n += 1.0;
        let kept = (self.n - 1.0) / self.n;
        let scaled = Self {
            sum: multiply(&self.sum, kept),
            rest: multiply(&self.rest, kept),
            ..self.clone()
        };
        let (sum, rest, met) = scaled.plus(&divide(h, self.n))?;
        (self.sum, self.rest) = (sum, rest);
        Ok(met)
    }

    fn plus(&self, h: &Histogram) -> Result<(Histogram, Histogram, Met), Incompatible> {
        let (mut sum, mut rest) = (self.sum.clone(), self.rest.clone());
        let mut more = h.clone();
        let bounds_reconciled = align(&mut sum, &mut more)?;
        align(&mut rest, &mut more.clone())?;
        let (counter_reset, _) = joined_reset(self.sum.counter_reset, h.counter_reset);
        let mut lost = map(&sum, |_| 0.0);
        lost.positive = zip(&sum.positive, &more.positive, rounding);
        lost.negative = zip(&sum.negative, &more.negative, rounding);
        lost.zero_count = rounding(sum.zero_count, more.zero_count);
        lost.count = rounding(sum.count, more.count);
        lost.sum = rounding(sum.sum, more.sum);
        let rest = combine(&rest, &lost, |x, y| x + y)?.histogram;
        let mut sum = combine(&sum, &more, |x, y| x + y)?.histogram;
        sum.counter_reset = counter_reset;
        Ok((sum, rest, Met { bounds_reconciled }))
    }

    pub(crate) fn total(&self) -> Option<Histogram> {
        let combined = combine(&self.sum, &self.rest, |x, y| x + y).ok()?;
        Some(Histogram { counter_reset: self.sum.counter_reset, ..combined.histogram })
    }

    pub(crate) fn mean(&self) -> Option<Histogram> {
        if self.is_mean {
            return self.total();
        }
        let mean = combine(&self.sum, &self.rest, |x, y| x / self.n + y / self.n).ok()?;
        Some(Histogram { counter_reset: self.sum.counter_reset, ..mean.histogram })
    }
}

/// What `x + y` loses by rounding.
fn rounding(x: f64, y: f64) -> f64 {
    let sum = x + y;
    if sum.is_infinite() || sum.is_nan() {
        0.0
    } else if x.abs() >= y.abs() {
        (x - sum) + y
    } else {
        (y - sum) + x
    }
}

fn overflows(h: &Histogram) -> bool {
    let counts = h.positive.iter().chain(&h.negative).map(|(_, count)| *count);
    [h.zero_count, h.count, h.sum].into_iter().chain(counts).any(f64::is_infinite)
}

/// As Prometheus writes a histogram: `{count:2, sum:3, (1,2]:2}`.
pub(crate) fn text(h: &Histogram) -> String {
    let mut out = format!("{{count:{}, sum:{}", short_number(h.count), short_number(h.sum));
    for bucket in buckets(h).iter().filter(|bucket| bucket.count != 0.0) {
        let is_zero = !is_custom(h) && bucket.lower <= 0.0 && bucket.upper >= 0.0;
        let (open, close) = match bucket {
            _ if is_zero => ('[', ']'),
            bucket if bucket.upper <= 0.0 && !is_custom(h) => ('[', ')'),
            _ => ('(', ']'),
        };
        let (lower, upper) = (short_number(bucket.lower), short_number(bucket.upper));
        // A String never fails to take text.
        let _ = write!(out, ", {open}{lower},{upper}{close}:{}", short_number(bucket.count));
    }
    out.push('}');
    out
}
