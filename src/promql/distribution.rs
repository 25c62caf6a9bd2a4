//! What a native histogram says about the observations in it: quantiles, fractions, deviation,
//! and the parts below or above a value. The rules are those of `promql/quantile.go`. What is
//! never true: interpolation into a bucket without end.

use super::histogram::{Bucket, Place, bucket_at, buckets, is_custom, places};
use super::kahan::Sum;
use crate::series::Histogram;

/// A quantile's value, and whether NaN observations had a part in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quantile {
    Value(f64),
    /// NaN counts as larger than any number, so the result is higher than without.
    Skewed(f64),
    /// The rank falls among the NaN observations.
    AmongNan,
}

fn in_zero_bucket(h: &Histogram, bucket: &Bucket) -> bool {
    !is_custom(h) && bucket.lower <= 0.0 && bucket.upper >= 0.0
}

/// A zero bucket with populated buckets on one side only is taken to lie on that side; the first
/// custom bucket starts at 0 if it can.
fn narrowed(h: &Histogram, mut bucket: Bucket) -> Bucket {
    if is_custom(h) {
        if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
            bucket.lower = 0.0;
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        if h.negative.is_empty() && !h.positive.is_empty() {
            bucket.lower = 0.0;
        } else if h.positive.is_empty() && !h.negative.is_empty() {
            bucket.upper = 0.0;
        }
    }
    bucket
}

/// The value below which a `fraction` of the bucket's observations lies.
fn value_at(h: &Histogram, bucket: &Bucket, fraction: f64) -> f64 {
    if is_custom(h) || in_zero_bucket(h, bucket) {
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        (lower + (upper - lower) * fraction).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - fraction)).exp2()
    }
}

/// The share of the bucket's observations that are at most `value`, which lies within it.
fn share_below(h: &Histogram, bucket: &Bucket, value: f64) -> f64 {
    if bucket.lower == f64::NEG_INFINITY {
        return 1.0;
    }
    if bucket.upper == f64::INFINITY {
        return 0.0;
    }
    if is_custom(h) || in_zero_bucket(h, bucket) {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let value = value.abs().log2();
    if bucket.lower > 0.0 {
        (value - lower) / (upper - lower)
    } else {
        1.0 - (value - upper) / (lower - upper)
    }
}

pub(crate) fn quantile(q: f64, h: &Histogram) -> Quantile {
    if q.is_nan() || h.count == 0.0 {
        return Quantile::Value(f64::NAN);
    }
    if q < 0.0 {
        return Quantile::Value(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return Quantile::Value(f64::INFINITY);
    }
    let has_nan = h.sum.is_nan();
    // From the nearer end, for precision. NaN observations count but are in no bucket, so with
    // them only the lower end is known.
    let forward = has_nan || q < 0.5;
    let mut rank = if forward { q * h.count } else { (1.0 - q) * h.count };
    let (found, mut count) =
        if forward { first_beyond(rank, places(h)) } else { first_beyond(rank, places(h).rev()) };
    let Some(bucket) = found.map(|found| bucket_at(h, found)) else {
        return if has_nan { Quantile::AmongNan } else { Quantile::Value(f64::NAN) };
    };
    let bucket = narrowed(h, bucket);
    count = count.min(h.count);
    if count < rank && has_nan {
        return Quantile::AmongNan;
    }
    let answer = if has_nan { Quantile::Skewed } else { Quantile::Value };
    if is_custom(h) && bucket.lower == f64::NEG_INFINITY || count < rank {
        return answer(bucket.upper);
    }
    if is_custom(h) && bucket.upper == f64::INFINITY {
        return answer(bucket.lower);
    }
    rank = if forward { rank - (count - bucket.count) } else { count - rank };
    answer(value_at(h, &bucket, rank / bucket.count))
}

/// The bucket with which the counts reach `rank`, or the last one, and what they reach.
fn first_beyond(
    rank: f64,
    places: impl Iterator<Item = (Place, f64)>,
) -> (Option<(Place, f64)>, f64) {
    let (mut count, mut found) = (0.0, None);
    for (place, n) in places.filter(|(_, n)| *n != 0.0) {
        count += n;
        found = Some((place, n));
        if count >= rank {
            break;
        }
    }
    (found, count)
}

/// The share of observations in `(lower, upper]`.
pub(crate) fn fraction(lower: f64, upper: f64, h: &Histogram) -> f64 {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, h) - rank_of(lower, h)) / h.count
}

/// How many observations are at most `value`.
fn rank_of(value: f64, h: &Histogram) -> f64 {
    let mut rank = 0.0;
    for bucket in buckets(h) {
        let bucket = narrowed(h, bucket);
        if bucket.lower >= value {
            return rank;
        }
        if bucket.upper > value {
            return rank + bucket.count * share_below(h, &bucket, value);
        }
        rank += bucket.count;
    }
    if h.sum.is_nan() { rank } else { rank.min(h.count) }
}

/// The variance of the observations, each taken as the middle of its bucket.
pub(crate) fn variance(h: &Histogram) -> f64 {
    let mean = h.sum / h.count;
    let mut total = Sum::default();
    for bucket in buckets(h).iter().filter(|bucket| bucket.count != 0.0) {
        let delta = middle(h, bucket) - mean;
        total.add(bucket.count * delta * delta);
    }
    total.total() / h.count
}

fn middle(h: &Histogram, bucket: &Bucket) -> f64 {
    if is_custom(h) {
        f64::midpoint(bucket.lower, bucket.upper)
    } else if in_zero_bucket(h, bucket) {
        0.0
    } else {
        let middle = (bucket.lower * bucket.upper).sqrt();
        if bucket.upper < 0.0 { -middle } else { middle }
    }
}

/// Which part of a histogram to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Below,
    Above,
}

/// The part of `h` below or above `cut`; its sum is estimated from the buckets
/// (`FloatHistogram.TrimBuckets`).
pub(crate) fn trim(h: &Histogram, cut: f64, keep: Keep) -> Histogram {
    let mut trimmed = h.clone();
    let mut parts =
        Parts { h, cut, keep, count: Sum::default(), sum: Sum::default(), cut_any: false };
    let (schema, threshold) = (h.schema, h.zero_threshold);
    let single = |index: i32, count: f64| Histogram {
        schema,
        zero_threshold: threshold,
        positive: vec![(index, count)],
        negative: Vec::new(),
        zero_count: 0.0,
        ..h.clone()
    };
    for (index, count) in &mut trimmed.negative {
        let mirrored = single(*index, *count);
        if let Some(bucket) = buckets(&mirrored).first() {
            let bucket = Bucket { lower: -bucket.upper, upper: -bucket.lower, count: bucket.count };
            *count = parts.keep(bucket);
        }
    }
    if h.zero_count != 0.0 {
        let bucket = Bucket { lower: -threshold, upper: threshold, count: h.zero_count };
        trimmed.zero_count = parts.keep(bucket);
    }
    for (index, count) in &mut trimmed.positive {
        if let Some(bucket) = buckets(&single(*index, *count)).first() {
            *count = parts.keep(*bucket);
        }
    }
    if parts.cut_any {
        trimmed.count = parts.count.total();
        trimmed.sum = parts.sum.total();
    }
    super::histogram::compact(&mut trimmed);
    trimmed
}

struct Parts<'a> {
    h: &'a Histogram,
    cut: f64,
    keep: Keep,
    count: Sum,
    sum: Sum,
    cut_any: bool,
}

impl Parts<'_> {
    /// How much of the bucket stays.
    fn keep(&mut self, bucket: Bucket) -> f64 {
        let bucket =
            if self.is_open_around_zero(&bucket) { bucket } else { narrowed(self.h, bucket) };
        let share = self.share(&bucket);
        if share < 1.0 && bucket.count != 0.0 {
            self.cut_any = true;
        }
        if share <= 0.0 || bucket.count == 0.0 {
            return 0.0;
        }
        let kept = bucket.count * share;
        self.count.add(kept);
        let part = if share >= 1.0 {
            bucket
        } else if self.keep == Keep::Below {
            Bucket { upper: self.cut, ..bucket }
        } else {
            Bucket { lower: self.cut, ..bucket }
        };
        self.sum.add(kept * self.typical(&part, in_zero_bucket(self.h, &bucket)));
        kept
    }

    /// The first custom bucket, where the cut lies below the 0 that it is taken to start at.
    fn is_open_around_zero(&self, bucket: &Bucket) -> bool {
        bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 && self.cut < 0.0
    }

    /// A bucket without end on the side of the cut is kept or dropped whole.
    fn share(&self, bucket: &Bucket) -> f64 {
        let cut = self.cut;
        let below = if cut == f64::INFINITY {
            1.0
        } else if cut == f64::NEG_INFINITY {
            0.0
        } else if self.is_open_around_zero(bucket) {
            return 0.0;
        } else if bucket.upper <= cut || bucket.lower == f64::NEG_INFINITY {
            1.0
        } else if bucket.lower >= cut {
            0.0
        } else {
            share_below(self.h, bucket, cut)
        };
        if self.keep == Keep::Below { below } else { 1.0 - below }
    }

    fn typical(&self, part: &Bucket, is_zero: bool) -> f64 {
        if part.lower == f64::NEG_INFINITY {
            return if self.keep == Keep::Below { part.upper.min(self.cut) } else { part.upper };
        }
        if part.upper == f64::INFINITY {
            return if self.keep == Keep::Above { part.lower.max(self.cut) } else { part.lower };
        }
        if is_zero || is_custom(self.h) {
            return f64::midpoint(part.lower, part.upper);
        }
        middle(self.h, part)
    }
}
