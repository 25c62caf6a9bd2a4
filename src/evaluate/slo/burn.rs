//! Burn rates: the windows and factors of multi-window, multi-burn-rate alerts (SRE workbook ch. 5,
//! table 5-8), and their expressions.

use std::time::Duration;

use crate::number::f64_from_u64;

/// Severities as the contract has them.
pub(super) const PAGE: &str = "page";
pub(super) const TICKET: &str = "ticket";

/// An alert fires when both windows burn faster than the factor: the long one so that it matters, the
/// short one so that it still happens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pair {
    pub(super) long: &'static str,
    pub(super) short: &'static str,
    /// How many times faster than the objective allows over its window.
    pub(super) factor: f64,
}

/// (severity, long window, its hours, short window, share of the budget spent in the long window).
const TABLE: [(&str, &str, f64, &str, f64); 4] = [
    (PAGE, "1h", 1.0, "5m", 0.02),
    (PAGE, "6h", 6.0, "30m", 0.05),
    (TICKET, "1d", 24.0, "2h", 0.1),
    (TICKET, "3d", 72.0, "6h", 0.1),
];

/// Windows that the pairs use, in ascending order.
pub(super) const WINDOWS: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];

/// The four pairs for an objective's window.
pub(super) fn pairs(window: Duration) -> [(&'static str, Pair); 4] {
    let hours = f64_from_u64(window.as_secs()) / 3600.0;
    TABLE.map(|(severity, long, long_hours, short, share)| {
        (severity, Pair { long, short, factor: share * hours / long_hours })
    })
}

pub(super) fn pairs_of(severity: &str, window: Duration) -> Vec<Pair> {
    pairs(window).into_iter().filter(|(of, _)| *of == severity).map(|(_, pair)| pair).collect()
}

/// The condition of one alert from counters of good and of all events. Without traffic the ratio is
/// 0/0, which is above nothing. With little traffic a single failure is a high ratio, so at least
/// `failures_min` must have failed in the long window.
pub(super) fn from_counters(
    selector: &str,
    pairs: &[Pair],
    budget: f64,
    failures_min: u64,
) -> String {
    let parts = pairs.iter().map(|Pair { long, short, factor }| {
        let failed = |window: &str| {
            format!(
                "({} - {})",
                increase("events", selector, window),
                increase("good", selector, window)
            )
        };
        let burns = |window: &str| {
            let all = increase("events", selector, window);
            format!("{} / {all} > {factor} * {budget}", failed(window))
        };
        format!(
            "(\n    {}\n  and\n    {}\n  and\n    round({}) >= {failures_min}\n)",
            burns(long),
            burns(short),
            failed(long)
        )
    });
    parts.collect::<Vec<_>>().join("\nor\n") + "\n"
}

fn increase(what: &str, selector: &str, window: &str) -> String {
    format!(
        "sum by (service, slo) (increase(throughline_slo_{what}_total{{{selector}}}[{window}]))"
    )
}

/// Sloth's condition from its recorded ratios (`internal/alert`).
pub(super) fn from_recordings(selector: &str, pairs: &[Pair], budget: f64) -> String {
    let parts = pairs.iter().map(|Pair { long, short, factor }| {
        let burns = |window: &str| {
            format!("    max(slo:sli_error:ratio_rate{window}{{{selector}}} > ({factor} * {budget})) without (sloth_window)\n")
        };
        format!("(\n{}    and\n{})\n", burns(short), burns(long))
    });
    parts.collect::<Vec<_>>().join("or\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_spend_the_same_share_of_any_window() {
        let factors =
            |days: u64| pairs(Duration::from_hours(days * 24)).map(|(_, pair)| pair.factor);
        let [page, slow_page, ticket, slow_ticket] = factors(30);
        assert_eq!(format!("{page} {slow_page} {ticket} {slow_ticket}"), "14.4 6 3 1");
        let [page, slow_page, ticket, slow_ticket] = factors(28);
        assert_eq!(
            format!("{page} {slow_page} {ticket} {slow_ticket}"),
            "13.44 5.6000000000000005 2.8000000000000003 0.9333333333333333"
        );
    }
}
