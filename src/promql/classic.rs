//! Classic histograms: cumulative buckets that are series with the label `le`. The rules are those
//! of `bucketQuantile` and `BucketFraction` in `promql/quantile.go`. What is never true: a quantile
//! of a histogram without a `+Inf` bucket.

use super::text::number;

/// Relative difference below which a falling bucket is float noise (`smallDeltaTolerance`).
const NOISE: f64 = 1e-12;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClassicBucket {
    pub(super) upper: f64,
    /// Observations up to `upper`.
    pub(super) count: f64,
}

/// A result, and whether buckets fell by more than noise and were lifted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Repaired {
    pub(super) value: f64,
    pub(super) forced: bool,
}

pub(super) fn upper_bound(le: &str) -> Option<f64> {
    number(le)
}

/// Sorts, joins buckets with the same bound, and lifts counts that fall.
fn repair(mut buckets: Vec<ClassicBucket>) -> Option<(Vec<ClassicBucket>, bool)> {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return None;
    }
    let mut joined: Vec<ClassicBucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        match joined.last_mut() {
            Some(last) if last.upper.total_cmp(&bucket.upper).is_eq() => last.count += bucket.count,
            _ => joined.push(bucket),
        }
    }
    let mut forced = false;
    let mut highest = joined.first().map_or(0.0, |bucket| bucket.count);
    for bucket in joined.iter_mut().skip(1) {
        if bucket.count < highest || nearly(bucket.count, highest) {
            forced |= !nearly(bucket.count, highest);
            bucket.count = highest;
        } else {
            highest = bucket.count;
        }
    }
    Some((joined, forced))
}

#[expect(clippy::float_cmp, reason = "equal values are near, whatever their size")]
fn nearly(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() / (a.abs() + b.abs()) < NOISE
}

pub(super) fn quantile(q: f64, buckets: Vec<ClassicBucket>) -> Repaired {
    let plain = |value: f64| Repaired { value, forced: false };
    if q.is_nan() {
        return plain(f64::NAN);
    }
    if q < 0.0 {
        return plain(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return plain(f64::INFINITY);
    }
    let Some((buckets, forced)) = repair(buckets) else { return plain(f64::NAN) };
    let value = quantile_of(q, &buckets).unwrap_or(f64::NAN);
    Repaired { value, forced }
}

fn quantile_of(q: f64, buckets: &[ClassicBucket]) -> Option<f64> {
    let last = buckets.len().checked_sub(1)?;
    let observations = buckets.get(last)?.count;
    if last == 0 || observations == 0.0 || observations.is_nan() {
        return None;
    }
    let rank = q * observations;
    let at = buckets.partition_point(|bucket| bucket.count < rank).min(last);
    if at == last {
        return Some(buckets.get(last - 1)?.upper);
    }
    let bucket = buckets.get(at)?;
    let Some(below) = at.checked_sub(1).and_then(|at| buckets.get(at)) else {
        if bucket.upper <= 0.0 {
            return Some(bucket.upper);
        }
        return Some(bucket.upper * (rank / bucket.count));
    };
    let share = (rank - below.count) / (bucket.count - below.count);
    Some(below.upper + (bucket.upper - below.upper) * share)
}

/// The share of observations in `(lower, upper]`.
pub(super) fn fraction(lower: f64, upper: f64, buckets: Vec<ClassicBucket>) -> Repaired {
    let Some((buckets, forced)) = repair(buckets) else {
        return Repaired { value: f64::NAN, forced: false };
    };
    let count = buckets.last().map_or(0.0, |bucket| bucket.count);
    let value = if count == 0.0 || lower.is_nan() || upper.is_nan() {
        f64::NAN
    } else if lower >= upper {
        0.0
    } else {
        (rank_of(upper, &buckets).min(count) - rank_of(lower, &buckets).min(count)) / count
    };
    Repaired { value, forced }
}

fn rank_of(value: f64, buckets: &[ClassicBucket]) -> f64 {
    // The first bucket starts at 0 where its bound is positive.
    let first = buckets.first().map_or(0.0, |bucket| bucket.upper);
    let mut lower = if first > 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let mut rank = 0.0;
    for bucket in buckets {
        if lower >= value {
            return rank;
        }
        if bucket.upper > value {
            return if lower == f64::NEG_INFINITY {
                bucket.count
            } else if bucket.upper == f64::INFINITY {
                rank
            } else {
                rank + (bucket.count - rank) * (value - lower) / (bucket.upper - lower)
            };
        }
        (lower, rank) = (bucket.upper, bucket.count);
    }
    rank
}
