//! What is worked out for all steps at once is what is worked out step by step.

use proptest::prelude::*;

use super::{Answer, Options, Output, Query, Range};
use crate::number::f64_from_i64;
use crate::series::{RawSeries, STALE_NAN_BITS, Sample, SampleValue, SelectError, Selection};
use crate::signal::{Labels, METRIC_NAME};

const QUERIES: [&str; 34] = [
    "a",
    "a offset 45s",
    "a_total",
    "-a",
    "timestamp(a)",
    "rate(a_total[1m])",
    "increase(a_total[75s] offset 10s)",
    "delta(a[2m])",
    "irate(a_total[1m])",
    "idelta(a[1m])",
    "sum_over_time(a[1m])",
    "avg_over_time(a[50s])",
    "min_over_time(a[50s])",
    "max_over_time(a[50s])",
    "count_over_time(a[50s])",
    "present_over_time(a[20s])",
    "first_over_time(a[90s])",
    "last_over_time({x=~\"1|2\"}[90s])",
    "changes(a[3m])",
    "resets(a_total[3m])",
    "stddev_over_time(a[1m])",
    "stdvar_over_time(a[1m])",
    "quantile_over_time(0.3, a[1m])",
    "sum by (x) (rate(a_total[1m]))",
    "avg without (x) (a)",
    "min(a) + max(a)",
    "count by (y) ((max_over_time(a[1m])))",
    "group({x=~\"1|2\"})",
    "stddev(a)",
    "topk(2, a)",
    "sum by (__name__) (last_over_time({x=~\".+\"}[1m]))",
    "sum(a) / on () sum(rate(a_total[1m])) > 0.5",
    "max_over_time(sum(rate(a_total[1m]))[2m:15s])",
    "rate({__name__=~\"a.*\", x=\"2\"}[1m])",
];

/// Where samples lie, in tens of seconds, and what they are; kind 0 ends the series.
type Points = Vec<(i64, u8, i64)>;

fn series(name: &str, (x, y): (&str, &str), points: &Points) -> RawSeries {
    let mut total = 0.0;
    let mut samples: Vec<Sample> = Vec::new();
    for (gap, kind, n) in points {
        let t = samples.last().map_or(0, |last| last.t) + gap * 5000;
        let n = f64_from_i64(*n) / 7.0;
        total = if *kind == 2 { 0.0 } else { total + n.abs() };
        let value = match kind {
            0 => f64::from_bits(STALE_NAN_BITS),
            1 => f64::NAN,
            3 => f64::INFINITY,
            _ if name.ends_with("_total") => total,
            _ => n,
        };
        samples.push(Sample { t, value: SampleValue::Float(value) });
    }
    RawSeries::new(Labels::of(&[(METRIC_NAME, name), ("x", x), ("y", y)]), samples)
}

/// Text with the bits of each value: NaN is as good as any.
fn lines(answer: &Answer) -> Vec<(String, i64, u64)> {
    let (Output::Vector(all) | Output::Matrix(all)) = &answer.output else { panic!("series") };
    let mut lines = Vec::new();
    for one in all {
        for Sample { t, value } in &one.samples {
            let SampleValue::Float(x) = value else { panic!("floats") };
            let bits = if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() };
            lines.push((one.labels.to_string(), *t, bits));
        }
    }
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_steps_at_once_are_each_step_alone(
        points in prop::collection::vec(
            prop::collection::vec((1..6_i64, 0..14_u8, -9..50_i64), 0..40), 6),
        (start, step) in (-60_000..200_000_i64, 1000..70_000_i64),
    ) {
        let of = |i: usize| [("1", "p"), ("2", "p"), ("3", "q")][i % 3];
        let name = |i: usize| if i < 3 { "a" } else { "a_total" };
        let held: Vec<RawSeries> =
            points.iter().enumerate().map(|(i, points)| series(name(i), of(i), points)).collect();
        let select = |selection: &Selection<'_>| -> Result<Vec<RawSeries>, SelectError> {
            let mut found = held.clone();
            found.retain(|series| selection.matchers.iter().all(|m| m.matches_labels(&series.labels)));
            for series in &mut found {
                series.samples.retain(|s| s.t > selection.start && s.t <= selection.end);
            }
            Ok(found)
        };
        let end = start + 12 * step;
        for text in QUERIES {
            let query = Query::parse(text).unwrap();
            let options = Options::default();
            let whole = query.range(Range { start, end, step }, &options, &select);
            let mut alone = Vec::new();
            let mut failed = None;
            for t in (0..=12).map(|i| start + i * step) {
                match query.instant(t, &options, &select) {
                    Ok(answer) => alone.extend(lines(&answer)),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            alone.sort();
            match (whole, failed) {
                (Ok(whole), None) => prop_assert_eq!(lines(&whole), alone, "{}", text),
                (whole, failed) => prop_assert_eq!(whole.err(), failed, "{}", text),
            }
        }
    }
}

#[test]
fn a_remark_is_made_of_all_steps_as_of_one() {
    let points: Points = (0..9).map(|n| (2, 9, n)).collect();
    let held = [series("a", ("1", "p"), &points)];
    let select = |_: &Selection<'_>| -> Result<Vec<RawSeries>, SelectError> { Ok(held.to_vec()) };
    let query = Query::parse("sum(rate(a[1m]))").unwrap();
    let range = Range { start: 30_000, end: 60_000, step: 10_000 };
    let whole = query.range(range, &Options::default(), &select).unwrap();
    let one = query.instant(60_000, &Options::default(), &select).unwrap();
    assert_eq!((whole.infos.len(), &whole.infos), (1, &one.infos));
}
