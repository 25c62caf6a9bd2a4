//! Start timestamps: since when the counter of a sample counts.
//!
//! In: the times of samples, and the starts that storage knows. Out: where a counter began anew though
//! it did not fall. Never true: a reset because of a start that is unknown or lies behind its sample.
//! Source: PROM-60, `isStartTimestampReset` and `checkStartTimeOverlap` in `promql/functions.go`.

use crate::series::Sample;

/// When a sample is, and since when it counts; 0 where that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) start: i64,
    pub(super) t: i64,
}

impl Told {
    /// Whether a counter began anew between the sample `before` and this one.
    pub(super) fn is_reset_after(self, before: Self) -> bool {
        if self.start == 0 || self.start >= self.t || self.start < before.t {
            return false;
        }
        // A delta starts where the one before ends. So does a cumulative counter whose start nobody
        // knew at first: of that one the sample before tells no start, or its own time.
        self.start > before.t || (before.start != 0 && before.start < before.t)
    }

    /// Whether it claims time in which the sample `before` already counted, without sharing its start.
    fn overlaps(self, before: Self) -> bool {
        self.start != 0 && self.start < before.t && self.start != before.start
    }
}

/// The starts of samples of one kind; nothing where storage keeps none.
#[derive(Debug)]
pub(super) struct Starts(Vec<Told>);

impl Starts {
    /// `starts` is as long as `samples`, or empty.
    pub(super) fn new(samples: &[Sample], starts: &[i64]) -> Self {
        let told = |(sample, start): (&Sample, &i64)| Told { start: *start, t: sample.t };
        Self(samples.iter().zip(starts).map(told).collect())
    }

    /// Whether the sample at `at` tells that the counter began anew after the one before.
    pub(super) fn is_reset(&self, at: usize) -> bool {
        let pair = at.checked_sub(1).and_then(|before| self.0.get(before..=at));
        matches!(pair, Some([before, now]) if now.is_reset_after(*before))
    }

    pub(super) fn overlap(&self) -> bool {
        self.0.windows(2).any(|pair| matches!(pair, [before, now] if now.overlaps(*before)))
    }

    /// Where the first sample began to count, if that is between `after` and the sample.
    pub(super) fn first_after(&self, after: i64) -> Option<i64> {
        let first = self.0.first()?;
        (first.start != 0 && first.start > after && first.start < first.t).then_some(first.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_reset(before: (i64, i64), now: (i64, i64)) -> bool {
        let told = |(start, t)| Told { start, t };
        told(now).is_reset_after(told(before))
    }

    #[test]
    fn a_counter_begins_anew_where_a_start_lies_between_two_samples() {
        assert!(is_reset((10, 20), (25, 30)));
        assert!(is_reset((0, 20), (25, 30)));
        assert!(!is_reset((10, 20), (10, 30)), "the same counter");
        assert!(!is_reset((10, 20), (0, 30)), "unknown");
        assert!(!is_reset((10, 20), (30, 30)), "no stretch of time");
        assert!(!is_reset((10, 20), (31, 30)), "behind its sample");
    }

    #[test]
    fn a_start_at_the_sample_before_is_a_delta_where_that_one_had_a_start() {
        assert!(is_reset((10, 20), (20, 30)));
        assert!(!is_reset((0, 20), (20, 30)));
        assert!(!is_reset((20, 20), (20, 30)));
        assert!(!is_reset((21, 20), (20, 30)));
    }
}
