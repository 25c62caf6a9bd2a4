//! Upper bounds of classic buckets: the contract's, and the thresholds of objectives.
//!
//! Observations are filed under the smallest bound that held at their own time, so a correction
//! always finds the cell of what it corrects, even where a threshold came in between. A threshold's
//! count is exact for what happened after it was set.

use serde::{Deserialize, Serialize};

/// Classic bounds in seconds: 5 ms to 900 s, Lambda's longest run.
pub(crate) const CLASSIC: [f64; 17] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    900.0,
];
/// Bounds over the life of a store, thresholds of former configurations included: each is one more
/// classic bucket of every histogram.
pub(crate) const BOUNDS_MAX: usize = 64;
/// The class of observations above every bound.
pub(crate) const INFINITE: u16 = u16::MAX;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bound {
    value: f64,
    /// The second from which observations are filed under it.
    from: i64,
    shown: bool,
}

/// Bounds are only ever added; a class is a position in the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bounds(Vec<Bound>);

impl Default for Bounds {
    fn default() -> Self {
        Self(
            CLASSIC
                .iter()
                .map(|value| Bound { value: *value, from: i64::MIN, shown: true })
                .collect(),
        )
    }
}

impl Bounds {
    /// Shows these thresholds beside the classic bounds; new ones hold `from` a second on. Gives how
    /// many did not fit.
    pub(crate) fn set_thresholds(&mut self, thresholds: &[f64], from: i64) -> usize {
        for bound in self.0.iter_mut().skip(CLASSIC.len()) {
            bound.shown = false;
        }
        let mut refused = 0;
        for value in thresholds.iter().copied().filter(|value| value.is_finite() && *value > 0.0) {
            if let Some(bound) = self.0.iter_mut().find(|b| b.value.total_cmp(&value).is_eq()) {
                bound.shown = true;
            } else if self.0.len() < BOUNDS_MAX {
                self.0.push(Bound { value, from, shown: true });
            } else {
                refused += 1;
            }
        }
        refused
    }

    /// The class of an observation that happened in `second`.
    pub(crate) fn class(&self, value: f64, second: i64) -> u16 {
        let classic = CLASSIC.partition_point(|bound| *bound < value);
        let least = CLASSIC.get(classic).map(|bound| (classic, *bound));
        let thresholds = self.0.iter().enumerate().skip(CLASSIC.len());
        let least = thresholds
            .filter(|(_, bound)| bound.from <= second && value <= bound.value)
            .fold(least, |least, (class, bound)| match least {
                Some((_, value)) if value <= bound.value => least,
                _ => Some((class, bound.value)),
            });
        least.and_then(|(class, _)| u16::try_from(class).ok()).unwrap_or(INFINITE)
    }

    /// Whether what is filed under `class` lies at or below `bound`.
    pub(crate) fn is_below(&self, class: u16, bound: f64) -> bool {
        self.value(class) <= bound
    }

    fn value(&self, class: u16) -> f64 {
        self.0.get(usize::from(class)).map_or(f64::INFINITY, |bound| bound.value)
    }

    /// Bounds that are shown, ascending, infinity last.
    pub(crate) fn shown(&self) -> Vec<f64> {
        let mut values: Vec<f64> = self.0.iter().filter(|b| b.shown).map(|b| b.value).collect();
        values.push(f64::INFINITY);
        values.sort_by(f64::total_cmp);
        values
    }

    /// The smallest shown bound that holds `value`.
    pub(crate) fn shown_above(&self, value: f64) -> f64 {
        self.shown().into_iter().find(|bound| value <= *bound).unwrap_or(f64::INFINITY)
    }
}

/// A bound as the `le` label shows it.
pub(crate) fn le(bound: f64) -> String {
    if bound == f64::INFINITY { "+Inf".to_owned() } else { bound.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_files_only_what_happens_after_it_was_set() {
        let mut bounds = Bounds::default();
        let before = bounds.class(0.3, 99);
        assert_eq!(bounds.set_thresholds(&[0.3, 0.5, f64::NAN], 100), 0);
        assert_eq!(bounds.class(0.3, 99), before);
        assert_eq!(bounds.class(0.3, 100), 17);
        assert!(bounds.is_below(17, 0.3) && !bounds.is_below(before, 0.3));
        assert_eq!(bounds.class(1e9, 100), INFINITE);
        bounds.set_thresholds(&[], 200);
        assert_eq!(bounds.shown().len(), CLASSIC.len() + 1);
        assert_eq!(bounds.class(0.3, 300), 17);
    }

    #[test]
    fn bounds_are_shown_as_prometheus_shows_them() {
        let shown: Vec<String> = Bounds::default().shown().into_iter().map(le).collect();
        assert_eq!(
            shown.join(" "),
            "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 120 300 600 900 +Inf"
        );
    }
}
