//! `rate` and `increase` answered from sums are what they are answered from all samples.

use std::path::Path;

use proptest::prelude::*;

use super::{Options, Output, Query, Range};
use crate::number::f64_from_i64;
use crate::series::{Config, RawSeries, SampleValue, Selection, Series};
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

#[derive(Clone, Copy)]
enum Read {
    Ends,
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
    let select = |selection: &Selection<'_>| {
        let windows = selection.windows.filter(|_| matches!(read, Read::Ends));
        series.select(&Selection { windows, ..selection.clone() })
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
            let fast = answer(text, range, &series, Read::Ends);
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
