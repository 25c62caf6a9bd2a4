//! Text to PromQL, from anyone: what the fuzzer and the seeded tests both feed to the language.
//!
//! Any text in; a query, or an error with its place. Whatever comes, nothing panics, what a query prints is
//! a query that prints alike, and evaluating ends within its limits.

use std::sync::Arc;

use throughline::promql::{Options, Query, Range};
use throughline::series::{CounterReset, Histogram, RawSeries, Sample, SampleValue, Selection};
use throughline::signal::Labels;

/// Lexer and parser.
pub(crate) fn parse(text: &str) {
    match Query::parse(text) {
        Ok(query) => {
            let printed = query.to_string();
            let again = Query::parse(&printed).expect("what was printed is a query");
            assert_eq!(again.to_string(), printed);
        }
        Err(error) => assert!(error.at <= error.end && error.end <= text.len(), "{error:?}"),
    }
}

/// The evaluator, over a few series with every kind of sample.
pub(crate) fn evaluate(text: &str) {
    let Ok(query) = Query::parse(text) else { return };
    let options =
        Options { samples_max: 10_000, subquery_steps_max: 100_000, ..Options::default() };
    for range in [
        Range { start: 20_000, end: 20_000, step: 0 },
        Range { start: -10_000, end: 50_000, step: 7_000 },
    ] {
        let _ = query.range(range, &options, &|selection| Ok(select(selection)));
    }
}

fn histogram(schema: i32, count: f64) -> SampleValue {
    let is_custom = schema == -53;
    SampleValue::Histogram(Arc::new(Histogram {
        counter_reset: CounterReset::Unknown,
        schema,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count,
        sum: count * 1.5,
        positive: vec![(1, count)],
        negative: Vec::new(),
        custom_bounds: if is_custom { Arc::from([1.0, 2.0]) } else { Arc::from([]) },
    }))
}

fn select(selection: &Selection<'_>) -> Vec<RawSeries> {
    let sample = |t: i64, value| Sample { t: t * 10_000, value };
    let float = SampleValue::Float;
    let rows = [
        ("a", "1", vec![sample(0, float(1.0)), sample(1, float(f64::NAN)), sample(2, float(-3.0))]),
        ("a", "2", vec![sample(1, float(f64::INFINITY)), sample(3, float(0.0))]),
        ("b", "1", vec![sample(0, histogram(3, 2.0)), sample(2, histogram(0, 1.0))]),
        ("b", "2", vec![sample(0, histogram(-53, 2.0)), sample(2, float(4.0))]),
    ];
    let series = rows.into_iter().map(|(name, x, mut samples)| {
        samples.retain(|sample| sample.t > selection.start && sample.t <= selection.end);
        // Some storages know since when a sample counts.
        let starts = if x == "2" { vec![1_000; samples.len()] } else { Vec::new() };
        let labels = Labels::of(&[("__name__", name), ("x", x), ("le", "1")]);
        RawSeries { labels, samples, starts }
    });
    series
        .filter(|series| selection.matchers.iter().all(|m| m.matches_labels(&series.labels)))
        .collect()
}
