//! Burn rates: the windows and factors of multi-window, multi-burn-rate alerts (SRE workbook ch. 5,
//! table 5-8), and their expressions.

use std::time::Duration;

use super::sloth::window_name;
use crate::number::f64_from_u64;
use crate::signal::format_duration;

/// Severities as the contract has them.
pub(super) const PAGE: &str = "page";
pub(super) const TICKET: &str = "ticket";

/// An alert fires when both windows burn faster than the factor: the long one so that it matters, the
/// short one so that it still happens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pair {
    pub(super) severity: &'static str,
    pub(super) long: Duration,
    pub(super) short: Duration,
    /// How many times faster than the objective allows over its window.
    pub(super) factor: f64,
}

impl Pair {
    /// One that spends a share of the budget of `period` within its long window.
    pub(super) fn spending(
        share: f64,
        severity: &'static str,
        (long, short): (Duration, Duration),
        period: Duration,
    ) -> Self {
        let hours = |window: Duration| f64_from_u64(window.as_secs()) / 3600.0;
        Self { severity, long, short, factor: share * hours(period) / hours(long) }
    }
}

/// An objective's window and the pairs that watch over it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Windows {
    pub(crate) period: Duration,
    pub(super) pairs: Vec<Pair>,
}

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// (severity, long window in hours, short one in minutes, share of the budget spent in the long one).
const TABLE: [(&str, u32, u32, f64); 4] =
    [(PAGE, 1, 5, 0.02), (PAGE, 6, 30, 0.05), (TICKET, 24, 120, 0.1), (TICKET, 72, 360, 0.1)];

impl Windows {
    /// The four pairs of the workbook.
    pub(super) fn of(period: Duration) -> Self {
        let pairs = TABLE.map(|(severity, long, short, share)| {
            Pair::spending(share, severity, (long * HOUR, short * MINUTE), period)
        });
        Self { period, pairs: pairs.to_vec() }
    }

    /// Every window of the pairs, ascending.
    pub(crate) fn lengths(&self) -> Vec<Duration> {
        let mut all: Vec<Duration> =
            self.pairs.iter().flat_map(|pair| [pair.long, pair.short]).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The shortest: what is happening now.
    pub(super) fn shortest(&self) -> Duration {
        self.lengths().first().copied().unwrap_or(5 * MINUTE)
    }

    pub(super) fn of_severity(&self, severity: &str) -> Vec<Pair> {
        self.pairs.iter().filter(|pair| pair.severity == severity).cloned().collect()
    }
}

/// When there is enough to judge: without it a single failure in a quiet hour is a page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Guard {
    /// Bad events in the long window.
    pub(super) failures_min: u64,
    /// Standard deviations of the one-sided confidence bound; 0 is none.
    pub(super) z: f64,
}

/// One-sided confidence that the true ratio is above the bound, and its z.
pub(super) const CONFIDENCES: [(f64, f64); 5] =
    [(0.0, 0.0), (0.8, 0.8416), (0.9, 1.2816), (0.95, 1.6449), (0.99, 2.3263)];

/// Bad and all events of an objective in a window, as PromQL.
pub(super) struct Counts<'a> {
    pub(super) bad: &'a dyn Fn(&str) -> String,
    pub(super) all: &'a dyn Fn(&str) -> String,
}

/// The condition of one alert. Short windows come first: their ratio is the alert's value. Without
/// traffic the ratio is 0/0, which is above nothing.
///
/// The long window is judged by Wilson's lower bound of the error ratio, which is below the ratio by
/// what chance could have added: (b + z²/2 - z √(b (n - b) / n + z²/4)) / (n + z²).
pub(super) fn from_counts(
    counts: &Counts<'_>,
    pairs: &[Pair],
    budget: f64,
    guard: Guard,
) -> String {
    let parts = pairs.iter().map(|Pair { long, short, factor, .. }| {
        let (long, short) = (format_duration(*long), format_duration(*short));
        let ratio = |window: &str| format!("({}) / ({})", (counts.bad)(window), (counts.all)(window));
        let threshold = format!("{factor} * {budget}");
        let bad = (counts.bad)(&long);
        let long_is_bad = if guard.z > 0.0 {
            let (n, z) = ((counts.all)(&long), guard.z);
            let (half, quarter) = (round(z * z / 2.0), round(z * z / 4.0));
            format!(
                "(({bad}) + {half} - {z} * sqrt(clamp_min(({bad}) * (1 - ({bad}) / ({n})), 0) + {quarter})) / (({n}) + {}) > {threshold}",
                round(z * z)
            )
        } else {
            format!("{} > {threshold}", ratio(&long))
        };
        format!(
            "(\n    {} > {threshold}\n  and\n    {long_is_bad}\n  and\n    round({bad}) >= {}\n)",
            ratio(&short),
            guard.failures_min
        )
    });
    parts.collect::<Vec<_>>().join("\nor\n") + "\n"
}

fn round(x: f64) -> f64 {
    (x * 10_000.0).round() / 10_000.0
}

/// Sloth's condition from its recorded ratios (`internal/alert`).
pub(super) fn from_recordings(selector: &str, pairs: &[Pair], budget: f64) -> String {
    let parts = pairs.iter().map(|Pair { long, short, factor, .. }| {
        let burns = |window: Duration| {
            let window = window_name(window);
            format!("    max(slo:sli_error:ratio_rate{window}{{{selector}}} > ({factor} * {budget})) without (sloth_window)\n")
        };
        format!("(\n{}    and\n{})\n", burns(*short), burns(*long))
    });
    parts.collect::<Vec<_>>().join("or\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_spend_the_same_share_of_any_window() {
        let factors = |days: u64| {
            let windows = Windows::of(Duration::from_hours(days * 24));
            let factors: Vec<String> =
                windows.pairs.iter().map(|pair| pair.factor.to_string()).collect();
            factors.join(" ")
        };
        assert_eq!(factors(30), "14.4 6 3 1");
        assert_eq!(factors(28), "13.44 5.6000000000000005 2.8000000000000003 0.9333333333333333");
    }
}
