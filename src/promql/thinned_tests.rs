//! What is answered from the samples that a query looks at is what it is answered from all of them.

use std::path::Path;

use proptest::prelude::*;

use super::{Options, Output, Query, Range};
use crate::number::f64_from_i64;
use crate::series::{Config, RawSeries, STALE_NAN_BITS, Sample, SampleValue, Selection, Series};
use crate::signal::{Labels, METRIC_NAME, Timestamp};

const QUERIES: [&str; 8] = [
    "rate(throughline_requests_total[5m])",
    "increase(throughline_requests_total[1h])",
    "sum by (outcome) (rate(throughline_requests_total[100s] offset 37s))",
    "increase(throughline_requests_total[20m] @ 3000)",
    "rate(throughline_queue_lag_seconds[7m])",
    "histogram_quantile(0.9, rate(throughline_queue_lag_seconds[7m]))",
    "rate(throughline_queue_lag_seconds_bucket[10m])",
    "increase(throughline_queue_lag_seconds_sum[3h])",
];

/// Of samples that are kept as they are, at times of a query's own, and with `@`.
const LOOKED_AT: [&str; 9] = [
    "scraped",
    "sum(scraped offset 37s)",
    "timestamp(scraped)",
    "scraped - scraped offset -5m + scraped @ 9000",
    "absent(scraped)",
    "max_over_time(scraped[20m:90s])",
    "count_over_time(scraped[20m])",
    "sum(scraped offset 3h) > sum_over_time(scraped[1h:7m] offset 11m)",
    "scraped offset step()",
];

#[derive(Clone, Copy)]
enum Read {
    WhatIsLookedAt,
    Everything,
}

type Line = (String, Vec<f64>);

fn store(deltas: &[(i64, i64)], now: i64, folder: &Path) -> Series {
    let mut series = Series::create(Config::default(), folder).unwrap();
    for (second, n) in deltas {
        let at = Timestamp::from_millis(second * 1000);
        let one = |name| Labels::of(&[(METRIC_NAME, name), ("flow", "f"), ("outcome", "ok")]);
        series.add(&one("throughline_requests_total"), at, f64_from_i64(*n));
        series.observe(&one("throughline_queue_lag_seconds"), at, f64_from_i64(*second) / 99.0, 1);
    }
    // Each tick does one piece of sealing and merging.
    for step in 0..40 {
        series.tick(Timestamp::from_millis(now * 1000 + step));
    }
    series
}

fn lines(output: Output) -> Vec<Line> {
    let (Output::Vector(all) | Output::Matrix(all)) = output else { panic!("series") };
    let of = |value: &SampleValue| match value {
        SampleValue::Float(x) => vec![*x],
        SampleValue::Histogram(h) => {
            let buckets = h.positive.iter().map(|(_, n)| *n);
            [h.count, h.sum, h.zero_count].into_iter().chain(buckets).collect()
        }
    };
    let line = |one: RawSeries| {
        let times: Vec<i64> = one.samples.iter().map(|sample| sample.t).collect();
        let values = one.samples.iter().flat_map(|sample| of(&sample.value)).collect();
        (format!("{} {times:?}", one.labels), values)
    };
    all.into_iter().map(line).collect()
}

fn answer(text: &str, range: Range, series: &Series, read: Read) -> Vec<Line> {
    let select = |selection: &Selection<'_>| match read {
        Read::WhatIsLookedAt => series.select(selection),
        Read::Everything => {
            series.select(&Selection { windows: None, looks: None, ..selection.clone() })
        }
    };
    let query = Query::parse(text).unwrap();
    lines(query.range(range, &Options::default(), &select).unwrap().output)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rate_from_sums_is_the_rate_from_samples(
        // A negative delta makes a counter fall, and that has to be seen.
        deltas in prop::collection::vec(
            (0..20_000_i64, prop_oneof![9 => 1..9_i64, 1 => -3..0_i64]), 1..60),
        now in 20_000..90_000_i64,
        start in 0..20_000_i64,
        step in 1..4000_i64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let series = store(&deltas, now, folder.path());
        let end = (start + 20 * step) * 1000 + 5;
        let range = Range { start: start * 1000, end, step: step * 1000 };
        let instant = Range { start: end, end, step: 1000 };
        for (text, range) in QUERIES.iter().flat_map(|text| [(text, range), (text, instant)]) {
            let fast = answer(text, range, &series, Read::WhatIsLookedAt);
            let slow = answer(text, range, &series, Read::Everything);
            prop_assert_eq!(fast.len(), slow.len(), "{}", text);
            for ((labels, fast), (expected, slow)) in fast.iter().zip(&slow) {
                prop_assert_eq!((labels, fast.len()), (expected, slow.len()), "{}", text);
                let close = |(a, b): (&f64, &f64)| {
                    (a - b).abs() <= 1e-9 * b.abs() || (a.is_nan() && b.is_nan())
                };
                prop_assert!(
                    fast.iter().zip(slow).all(close), "{}: {:?} for {:?}", text, fast, slow);
            }
        }
    }
}

/// Scraped every ten seconds or so, with gaps, ends and what comes late.
fn scraped(series: &mut Series, gaps: &[(i64, u8, i64)], late: &[(i64, i64)]) {
    let labels = Labels::of(&[(METRIC_NAME, "scraped"), ("i", "1")]);
    let mut t = 0;
    for (gap, kind, n) in gaps {
        let value = match kind {
            0 => f64::from_bits(STALE_NAN_BITS),
            1 => f64::NAN,
            2 => f64_from_i64(*n) / 7.0,
            _ => f64_from_i64(*n) / 100.0,
        };
        for _ in 0..*gap {
            t += 10_000 + gap % 3;
            series.append(&labels, Sample { t, value: SampleValue::Float(value) });
        }
        t += gap * 1000 * i64::from(*kind % 4) * 60;
    }
    for (second, n) in late {
        let value = SampleValue::Float(f64_from_i64(*n));
        series.append(&labels, Sample { t: second * 1000, value });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_look_finds_what_it_would_find_among_all_samples(
        gaps in prop::collection::vec((1..40_i64, 0..9_u8, -9..900_i64), 1..60),
        late in prop::collection::vec((0..20_000_i64, 0..9_i64), 0..9),
        now in 20_000..90_000_i64,
        start in 0..20_000_i64,
        step in 1..2000_i64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut series = Series::create(Config::default(), folder.path()).unwrap();
        scraped(&mut series, &gaps, &[]);
        for tick in 0..40 {
            series.tick(Timestamp::from_millis(now * 1000 + tick));
        }
        // For stretches that are sealed by now, so that blocks and memory hold samples side by side.
        scraped(&mut series, &[], &late);
        let end = (start + 20 * step) * 1000 + 5;
        let range = Range { start: start * 1000, end, step: step * 1000 };
        let instant = Range { start: end, end, step: 1000 };
        for (text, range) in LOOKED_AT.iter().flat_map(|text| [(text, range), (text, instant)]) {
            let few = answer(text, range, &series, Read::WhatIsLookedAt);
            let all = answer(text, range, &series, Read::Everything);
            let bits = |lines: Vec<Line>| -> Vec<(String, Vec<u64>)> {
                let of = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect();
                lines.into_iter().map(|(labels, values)| (labels, of(values))).collect()
            };
            prop_assert_eq!(bits(few), bits(all), "{}", text);
        }
    }
}

/// A subquery that lasts as long as the query itself looks at times of its own all the same.
#[test]
fn a_subquery_as_long_as_its_query_looks_at_its_own_steps() {
    let folder = tempfile::tempdir().unwrap();
    let deltas: Vec<(i64, i64)> = (0..400).map(|n| (n * 20, n % 7)).collect();
    let mut series = store(&deltas, 9000, folder.path());
    scraped(&mut series, &[(90, 4, 1), (90, 4, 7), (90, 4, 900), (90, 4, 2), (90, 4, 800)], &[]);
    let range = Range { start: 2_000_000, end: 5_600_000, step: 600_000 };
    for text in [
        "max_over_time(rate(throughline_requests_total[5m])[1h:1m] @ end())",
        "sum_over_time(scraped[1h:1m] @ end())",
    ] {
        let few = answer(text, range, &series, Read::WhatIsLookedAt);
        let all = answer(text, range, &series, Read::Everything);
        assert_eq!(few, all, "{text}");
        assert!(!all.is_empty(), "{text}");
    }
}
