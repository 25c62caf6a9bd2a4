//! The times at which a query looks at a series for its newest sample.
//!
//! A dashboard of a day looks every few minutes at what is scraped every few seconds: of the samples
//! between two looks only the last is seen. In: samples in ascending order. Out: those that some look
//! finds to be the newest. Never true: a look that finds another sample than it would among all.

use super::{Sample, SampleValue};

/// Looks at `first`, `first + step`, … up to `last`; milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    pub first: i64,
    pub last: i64,
    /// Positive where there is more than one look.
    pub step: i64,
}

impl Looks {
    /// One look.
    pub fn once(t: i64) -> Self {
        Self { first: t, last: t, step: 0 }
    }

    pub(crate) fn is_one(self) -> bool {
        self.first == self.last
    }

    /// The first look that is not before `t`.
    fn from(self, t: i64) -> Option<i64> {
        if t <= self.first {
            return Some(self.first);
        }
        let step = self.step.max(1).unsigned_abs();
        let n_steps = t.abs_diff(self.first).div_ceil(step);
        let look = self.first.checked_add_unsigned(n_steps.checked_mul(step)?)?;
        (look <= self.last).then_some(look)
    }

    /// Shows those of ascending samples that are the newest at some look.
    #[inline]
    pub(crate) fn newest_of<T: Copy>(
        self,
        samples: impl Iterator<Item = (i64, T)>,
        mut show: impl FnMut(i64, T),
    ) {
        let mut newest: Option<(i64, T)> = None;
        let mut look = i64::MIN;
        for (t, value) in samples {
            if t > look || newest.is_none() {
                if let Some((t, value)) = newest.take() {
                    show(t, value);
                }
                let Some(next) = self.from(t) else { return };
                look = next;
            }
            newest = Some((t, value));
        }
        if let Some((t, value)) = newest {
            show(t, value);
        }
    }
}

/// Which samples of a series are wanted: those in `[start, end]` (milliseconds) that these looks find, or all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) looks: Option<Looks>,
}

impl Part {
    pub(crate) const EVERYTHING: Self = Self { start: i64::MIN, end: i64::MAX, looks: None };

    /// Of ascending floats within the part those that are wanted; only these are made of what they are
    /// kept as.
    #[inline]
    pub(crate) fn gather<T: Copy>(
        self,
        floats: impl Iterator<Item = (i64, T)>,
        value: impl Fn(T) -> f64,
        into: &mut Gathered,
    ) {
        let Gathered { samples, n_passed_over } = into;
        let sample = |(t, held)| Sample { t, value: SampleValue::Float(value(held)) };
        let Some(looks) = self.looks else {
            samples.extend(floats.map(sample));
            return;
        };
        let (before, mut n) = (samples.len(), 0);
        looks.newest_of(floats.inspect(|_| n += 1), |t, held| samples.push(sample((t, held))));
        *n_passed_over += n - (samples.len() - before);
    }
}

/// Samples as they are read.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) samples: Vec<Sample>,
    /// Those that were read and not wanted.
    pub(crate) n_passed_over: usize,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_look_finds_what_it_would_find_among_all(
            times in prop::collection::btree_set(-200..200_i64, 0..60),
            (first, n, step) in (-220..220_i64, 0..30_i64, 0..40_i64),
        ) {
            let looks = Looks { first, last: first + n * step, step };
            let mut kept = BTreeSet::new();
            looks.newest_of(times.iter().map(|t| (*t, ())), |t, ()| {
                kept.insert(t);
            });
            prop_assert!(kept.is_subset(&times));
            for look in (0..=n).map(|i| first + i * step) {
                let newest = |times: &BTreeSet<i64>| times.range(..=look).next_back().copied();
                prop_assert_eq!(newest(&kept), newest(&times), "at {}", look);
            }
            let n_looks = if looks.is_one() { 1 } else { n + 1 };
            prop_assert!(i64::try_from(kept.len()).unwrap() <= n_looks);
        }
    }

    #[test]
    fn looks_at_the_ends_of_time_do_not_overflow() {
        let looks = Looks { first: i64::MIN + 1, last: i64::MAX, step: 7 };
        let mut n = 0;
        looks.newest_of([i64::MIN, 0, i64::MAX].into_iter().map(|t| (t, ())), |_, ()| n += 1);
        assert!(n >= 1);
    }
}
