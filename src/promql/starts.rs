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
    use super::super::{Options, Output, Query};
    use super::*;
    use crate::series::{RawSeries, SampleValue, Selection};
    use crate::signal::{Labels, METRIC_NAME};

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

    /// At 30 s, over the 32 s before, of a counter that was 5, 7 and 9, each 10 s after the other.
    fn asked(function: &str, starts: &[i64]) -> String {
        let sample = |(t, value)| Sample { t, value: SampleValue::Float(value) };
        let samples = [(10_000, 5.0), (20_000, 7.0), (30_000, 9.0)].map(sample).to_vec();
        let labels = Labels::of(&[(METRIC_NAME, "c_total")]);
        let held = RawSeries { starts: starts.to_vec(), ..RawSeries::new(labels, samples) };
        let select = |_: &Selection<'_>| Ok(vec![held.clone()]);
        let query = Query::parse(&format!("{function}(c_total[32s])")).unwrap();
        let answer = query.instant(30_000, &Options::default(), &select).unwrap();
        let Output::Vector(series) = answer.output else { return String::new() };
        match series[0].samples[0].value {
            SampleValue::Float(x) => x.to_string(),
            SampleValue::Histogram(_) => String::new(),
        }
    }

    #[test]
    fn a_start_makes_the_first_increment_count_and_tells_of_a_reset_without_a_fall() {
        let shown = |starts: &[i64]| ["resets", "increase", "rate"].map(|f| asked(f, starts));
        assert_eq!(shown(&[]), ["0", "5", "0.15625"], "nobody knows");
        assert_eq!(shown(&[5_000, 5_000, 5_000]), ["0", "9", "0.28125"], "from nothing at 5 s");
        assert_eq!(shown(&[5_000, 5_000, 25_000]), ["1", "16", "0.5"], "and again at 25 s");
        assert_eq!(shown(&[0, 0, 25_000]), ["1", "13.75", "0.4296875"], "the first is not known");
    }
}
