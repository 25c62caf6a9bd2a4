//! What holds for every set of deltas.
#![expect(clippy::float_cmp, reason = "sums of whole numbers are exact")]

use proptest::prelude::*;

use super::catalog::{QUEUE_LAG, REQUESTS};
use super::slots::last_of;
use super::*;
use crate::number::f64_from_i64;
use crate::signal::{Labels, METRIC_NAME, Timestamp};

const OUTCOMES: [&str; 3] = ["ok", "error", "timeout"];

/// One increment: which outcome, when (milliseconds), how much.
#[derive(Clone, Copy, Debug)]
struct Delta {
    outcome: usize,
    t: i64,
    n: i64,
}

fn deltas(seconds: i64) -> impl Strategy<Value = Vec<Delta>> {
    let delta = (0..OUTCOMES.len(), 1..seconds * 1000, 1..5_i64);
    prop::collection::vec(delta.prop_map(|(outcome, t, n)| Delta { outcome, t, n }), 1..40)
}

fn labels(metric: &str, outcome: usize) -> Labels {
    Labels::of(&[(METRIC_NAME, metric), ("flow", "f"), ("outcome", OUTCOMES[outcome])])
}

fn apply(series: &mut Series, delta: Delta, sign: i64) {
    let at = Timestamp::from_millis(delta.t);
    series.add(&labels(REQUESTS, delta.outcome), at, f64_from_i64(delta.n * sign));
    series.observe(
        &labels(QUEUE_LAG, delta.outcome),
        at,
        f64_from_i64(delta.t) / 7e3,
        delta.n * sign,
    );
}

fn store(deltas: &[Delta], now: i64) -> Series {
    let mut series = Series::new(Config::default());
    for delta in deltas {
        apply(&mut series, *delta, 1);
    }
    series.tick(Timestamp::from_millis(now * 1000));
    series
}

fn read(series: &Series, start: i64, end: i64) -> Vec<RawSeries> {
    let matchers = [Matcher::new(METRIC_NAME, MatchOp::Regex, ".+").unwrap()];
    let selection = Selection {
        matchers: &matchers,
        start,
        end,
        samples_max: usize::MAX,
        windows: None,
        looks: None,
    };
    series.select(&selection).unwrap()
}

fn values(series: &Series, outcome: usize, start: i64, end: i64) -> Vec<(i64, f64)> {
    let wanted = labels(REQUESTS, outcome);
    let found = read(series, start, end).into_iter().find(|found| found.labels == wanted);
    let value = |sample: Sample| match sample.value {
        SampleValue::Float(value) => (sample.t, value),
        SampleValue::Histogram(_) => panic!("a counter"),
    };
    found.map(|found| found.samples.into_iter().map(value).collect()).unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn corrections_cancel(kept in deltas(3000), gone in deltas(3000), ticks in prop::collection::vec(0..9000_i64, 0..3)) {
        let mut series = Series::new(Config::default());
        for delta in kept.iter().chain(&gone) {
            apply(&mut series, *delta, 1);
        }
        for tick in ticks {
            series.tick(Timestamp::from_millis(tick * 1000));
        }
        for delta in &gone {
            apply(&mut series, *delta, -1);
        }
        series.tick(Timestamp::from_millis(9_000_000));
        prop_assert_eq!(read(&series, 0, i64::MAX), read(&store(&kept, 9000), 0, i64::MAX));
    }

    #[test]
    fn the_order_of_adds_does_not_matter(deltas in deltas(3000).prop_shuffle(), tick in 0..3000_i64) {
        let mut shuffled = Series::new(Config::default());
        for (i, delta) in deltas.iter().rev().enumerate() {
            if i == deltas.len() / 2 {
                shuffled.tick(Timestamp::from_millis(tick * 1000));
            }
            apply(&mut shuffled, *delta, 1);
        }
        shuffled.tick(Timestamp::from_millis(4_000_000));
        prop_assert_eq!(read(&shuffled, 0, i64::MAX), read(&store(&deltas, 4000), 0, i64::MAX));
    }

    #[test]
    fn a_sample_is_the_sum_of_all_deltas_until_the_end_of_its_second(deltas in deltas(600)) {
        let series = store(&deltas, 600);
        for outcome in 0..OUTCOMES.len() {
            for (t, value) in values(&series, outcome, i64::MIN, i64::MAX) {
                let naive: i64 = deltas
                    .iter()
                    .filter(|delta| delta.outcome == outcome && delta.t < t + 1000)
                    .map(|delta| delta.n)
                    .sum();
                prop_assert_eq!(value, f64_from_i64(naive));
            }
        }
    }

    #[test]
    fn compaction_keeps_the_value_at_the_end_of_every_slot(deltas in deltas(9000), age in 0..200_000_i64) {
        let series = store(&deltas, 9000 + age);
        for outcome in 0..OUTCOMES.len() {
            for end in (0..9000).step_by(600).map(|second| last_of(second, 600)) {
                let naive: i64 = deltas
                    .iter()
                    .filter(|delta| delta.outcome == outcome && delta.t < (end + 1) * 1000)
                    .map(|delta| delta.n)
                    .sum();
                let read = values(&series, outcome, i64::MIN, end * 1000);
                let last = read.last().map_or(0.0, |(_, value)| *value);
                prop_assert_eq!(last, f64_from_i64(naive), "at {}", end);
            }
        }
    }

    #[test]
    fn an_increase_is_what_was_added_in_between(deltas in deltas(600), from in 0..600_i64, width in 1..600_i64) {
        let series = store(&deltas, 1200);
        for outcome in 0..OUTCOMES.len() {
            let read = values(&series, outcome, from * 1000 - 1, (from + width) * 1000);
            let (Some((first, low)), Some((last, high))) = (read.first(), read.last()) else { continue };
            let naive: i64 = deltas
                .iter()
                .filter(|d| d.outcome == outcome && d.t >= first + 1000 && d.t < last + 1000)
                .map(|delta| delta.n)
                .sum();
            prop_assert_eq!(high - low, f64_from_i64(naive));
            prop_assert_eq!(*last, (from + width) * 1000);
        }
    }

    #[test]
    fn native_and_classic_counts_agree(deltas in deltas(600)) {
        let series = store(&deltas, 600);
        let last = |suffix: &str, le: &str| {
            let name = format!("{QUEUE_LAG}{suffix}");
            let wanted = labels(&name, deltas[0].outcome).with("le", le);
            let found = read(&series, 0, i64::MAX).into_iter().find(|found| found.labels == wanted);
            found.and_then(|found| found.samples.last().cloned()).map(|sample| sample.value)
        };
        let Some(SampleValue::Histogram(native)) = last("", "") else { panic!("a histogram") };
        prop_assert_eq!(native.positive.iter().map(|(_, n)| n).sum::<f64>(), native.count);
        prop_assert_eq!(last("_bucket", "+Inf"), Some(SampleValue::Float(native.count)));
        prop_assert_eq!(last("_count", ""), Some(SampleValue::Float(native.count)));
        prop_assert_eq!(last("_sum", ""), Some(SampleValue::Float(native.sum)));
    }
}

/// A matcher of one of the labels, its value sometimes a list, nothing, or a real expression.
fn matcher() -> impl Strategy<Value = Matcher> {
    let names = [METRIC_NAME, "zone", "le", "pod", "absent"];
    let values = [
        "",
        "a",
        "b",
        "a|b",
        "a|a|",
        ".*",
        "[ab]",
        "b.*",
        "m",
        "m_count",
        "m|h_bucket",
        "h",
        "0.5",
        "+Inf",
    ];
    let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
    let of = move |(name, op, value): (usize, usize, usize)| {
        let value =
            if matches!(ops[op], MatchOp::Regex | MatchOp::NotRegex) && values[value] == "+Inf" {
                "[+]Inf"
            } else {
                values[value]
            };
        Matcher::new(names[name], ops[op], value).unwrap()
    };
    (0..names.len(), 0..ops.len(), 0..values.len()).prop_map(of)
}

proptest! {
    #[test]
    fn a_selector_finds_what_looking_at_every_series_finds(
        held in prop::collection::vec((0..3_usize, 0..3_usize, 0..4_usize), 1..30),
        matchers in prop::collection::vec(matcher(), 1..4),
    ) {
        let mut series = Series::new(Config::default());
        let at = Timestamp::from_millis(5_000);
        for (metric, zone, pod) in held {
            let (zone, pod) = (["", "a", "b"][zone], ["", "a", "b", "c"][pod]);
            let of = |name: &str| Labels::of(&[(METRIC_NAME, name), ("zone", zone), ("pod", pod)]);
            match metric {
                0 => series.add(&of("m"), at, 1.0),
                1 => series.observe(&of("h"), at, 0.7, 1),
                _ => series.append(&of("m_count"), Sample { t: 5_000, value: SampleValue::Float(1.0) }),
            }
        }
        series.tick(Timestamp::from_millis(6_000));
        let all = series.label_sets(&[Matcher::new(METRIC_NAME, MatchOp::Regex, ".*").unwrap()], 0, 6_000);
        let expected: Vec<Labels> = all
            .into_iter()
            .filter(|labels| matchers.iter().all(|matcher| matcher.matches_labels(labels)))
            .collect();
        prop_assert_eq!(series.label_sets(&matchers, 0, 6_000), expected);
    }
}
