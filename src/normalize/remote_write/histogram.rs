//! A native histogram on the wire to one that is known to be consistent.
//!
//! Never true of what goes out: a negative count, a bucket named twice, bounds that do not rise, an
//! integer histogram whose count is not that of its buckets.

use super::message::{Count, Histogram, Span, ZeroCount};
use crate::number::{f64_from_i64, f64_from_u64};
use crate::signal::{MetricValue, NativeHistogram, ResetHint, STALE_NAN_BITS};

/// Most buckets of one histogram; Prometheus's own clients keep 160.
const BUCKETS_MAX: usize = 4096;
/// Exponential schemas of Prometheus; those above 8 are brought down when they are stored.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=52;

pub(in crate::normalize) fn read(wire: &Histogram) -> Result<MetricValue, String> {
    if wire.sum.to_bits() == STALE_NAN_BITS {
        return Ok(MetricValue::Stale);
    }
    let is_custom = wire.schema == NativeHistogram::CUSTOM;
    if !is_custom && !SCHEMAS.contains(&wire.schema) {
        return Err(format!("schema {} is not known", wire.schema));
    }
    let positive = buckets(&wire.positive_spans, &wire.positive_deltas, &wire.positive_counts)?;
    let negative = buckets(&wire.negative_spans, &wire.negative_deltas, &wire.negative_counts)?;
    let native = NativeHistogram {
        reset: match wire.reset_hint {
            1 => ResetHint::Yes,
            2 => ResetHint::No,
            3 => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        },
        schema: wire.schema,
        zero_threshold: wire.zero_threshold,
        zero_count: match wire.zero_count {
            Some(ZeroCount::Int(n)) => f64_from_u64(n),
            Some(ZeroCount::Float(n)) => n,
            None => 0.0,
        },
        count: match wire.count {
            Some(Count::Int(n)) => f64_from_u64(n),
            Some(Count::Float(n)) => n,
            None => 0.0,
        },
        sum: wire.sum,
        positive,
        negative,
        custom_bounds: wire.custom_values.clone(),
    };
    if is_custom {
        check_custom(&native)?;
    } else if !native.custom_bounds.is_empty() {
        return Err("bounds of its own with an exponential schema".to_owned());
    }
    if native.count < 0.0 || native.zero_count < 0.0 || native.zero_threshold < 0.0 {
        return Err("a count or the zero threshold is negative".to_owned());
    }
    if matches!(wire.count, Some(Count::Int(_))) {
        check_count(&native)?;
    }
    Ok(MetricValue::Native(Box::new(native)))
}

/// Indexes and counts; empty buckets say nothing.
fn buckets(spans: &[Span], deltas: &[i64], counts: &[f64]) -> Result<Vec<(i32, f64)>, String> {
    let n = deltas.len().max(counts.len());
    let n_spanned: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if n > BUCKETS_MAX || spans.len() > BUCKETS_MAX {
        return Err(format!("more than {BUCKETS_MAX} buckets"));
    }
    if n_spanned != crate::number::u64_from_usize(n) {
        return Err(format!("the spans hold {n_spanned} buckets, not {n}"));
    }
    let mut absolute = Vec::with_capacity(n);
    let mut running = 0_i64;
    for delta in deltas {
        running = running.checked_add(*delta).ok_or("a bucket's count is out of range")?;
        absolute.push(f64_from_i64(running));
    }
    let mut counts = if deltas.is_empty() { counts.iter() } else { absolute.iter() };
    let mut index = 0_i32;
    let mut buckets = Vec::with_capacity(n);
    for (i, span) in spans.iter().enumerate() {
        if i > 0 && span.offset < 0 {
            return Err("spans overlap".to_owned());
        }
        index = index.checked_add(span.offset).ok_or("a bucket's index is out of range")?;
        for _ in 0..span.length {
            let count = *counts.next().ok_or("a bucket has no count")?;
            if count < 0.0 {
                return Err(format!("bucket {index} has the negative count {count}"));
            }
            if count != 0.0 {
                buckets.push((index, count));
            }
            index = index.checked_add(1).ok_or("a bucket's index is out of range")?;
        }
    }
    Ok(buckets)
}

fn check_custom(native: &NativeHistogram) -> Result<(), String> {
    let bounds = &native.custom_bounds;
    let is_rising = bounds.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    if !is_rising || bounds.iter().any(|bound| bound.is_nan() || *bound == f64::INFINITY) {
        return Err("custom bounds must rise and be finite".to_owned());
    }
    if !native.negative.is_empty() || native.zero_count != 0.0 {
        return Err("custom buckets have no negative and no zero bucket".to_owned());
    }
    let fits = |(i, _): &(i32, f64)| usize::try_from(*i).is_ok_and(|i| i <= bounds.len());
    if bounds.len() > BUCKETS_MAX || !native.positive.iter().all(fits) {
        return Err("a bucket lies beyond the custom bounds".to_owned());
    }
    Ok(())
}

/// Observations of NaN are in the count and in no bucket.
fn check_count(native: &NativeHistogram) -> Result<(), String> {
    let in_buckets = native.positive.iter().chain(&native.negative).map(|(_, n)| n);
    let total = in_buckets.sum::<f64>() + native.zero_count;
    let fits = if native.sum.is_nan() { total <= native.count } else { same(total, native.count) };
    if fits {
        return Ok(());
    }
    Err(format!("the count {} is not the {total} of the buckets", native.count))
}

/// Equal but for what sums above 2^53 lose.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= b.abs() * 1e-9
}
