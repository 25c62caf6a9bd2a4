//! Queries that mean harm: an error that says what to do, before more work than a limit allows is done.

use std::cell::Cell;

use super::limits::Pool;
use super::{EvalError, Options, Query, Range};
use crate::number::f64_from_i64;
use crate::series::{RawSeries, Sample, SampleValue, SelectError, Selection};
use crate::signal::{Labels, METRIC_NAME};

/// Three hundred series of one metric.
const SERIES: i64 = 300;

struct Asked {
    error: Option<EvalError>,
    /// Samples that the store gave out.
    n_given: usize,
}

/// Asks within `options` of a store that keeps to what a selection allows, as ours does.
fn asked(text: &str, range: Range, options: &Options) -> Asked {
    let n_given = Cell::new(0);
    let select = |selection: &Selection<'_>| -> Result<Vec<RawSeries>, SelectError> {
        let mut found = Vec::new();
        let mut left = selection.samples_max;
        for i in 0..SERIES {
            let labels = Labels::of(&[(METRIC_NAME, "a"), ("i", &i.to_string()), ("k", "v")]);
            if !selection.matchers.iter().all(|m| m.matches_labels(&labels)) {
                continue;
            }
            // A sample every ten seconds, as far back as anybody asks.
            let first = selection.start.div_euclid(10_000) + 1;
            let last = selection.end.div_euclid(10_000);
            let n = usize::try_from(last - first + 1).unwrap();
            if n > left {
                return Err(SelectError::TooManySamples { max: selection.samples_max });
            }
            left -= n;
            n_given.set(n_given.get() + n);
            let sample =
                |at: i64| Sample { t: at * 10_000, value: SampleValue::Float(f64_from_i64(at)) };
            found.push(RawSeries::new(labels, (first..=last).map(sample).collect()));
        }
        Ok(found)
    };
    let error = match Query::parse(text) {
        Ok(query) => query.range(range, options, &select).err(),
        Err(error) => Some(EvalError::Execution(error.message)),
    };
    Asked { error, n_given: n_given.get() }
}

const HOUR: Range = Range { start: 0, end: 3_600_000, step: 60_000 };

fn bounded() -> Options {
    Options {
        samples_max: 300_000,
        series_max: 1000,
        subquery_steps_max: 2_000_000,
        ..Options::default()
    }
}

#[test]
fn every_kind_of_hostile_query_ends_at_a_limit_that_it_names() {
    let cases = [
        // Huge ranges.
        ("sum_over_time(a[100y])", "would read more than 300000 samples"),
        ("sum_over_time(a[1h]) + sum_over_time(a[30d] offset -30d)", "would read more than"),
        ("a offset -100000000000y", "bad number or duration syntax"),
        // Tiny steps.
        ("max_over_time(vector(1)[1y:1ms])", "more than 1000000 steps"),
        ("max_over_time(vector(1)[10d:1s])", "would read more than 300000 samples"),
        ("max_over_time(a[1h:1s])", "would read more than 300000 samples"),
        // Subqueries within subqueries, which hold little.
        ("max_over_time(max_over_time(vector(1)[1h:1s])[1h:1s])", "more than 2000000 steps"),
        // Exploding regular expressions: they are matched in linear time, so only their size can hurt.
        ("a{i=~\"((((a{1000}){1000}){1000}){1000})\"}", "error parsing regexp"),
        (
            "label_replace(a @ 0, \"x\", \"$1\", \"i\", \"((((a{1000}){1000}){1000}){1000})\")",
            "invalid regular expression",
        ),
        // Cross products.
        ("a * on (k) a", "many-to-many matching not allowed"),
        ("a * on (k) group_left a", "many-to-many matching not allowed"),
        ("a @ 0 or a @ 1 or a @ 2 or a @ 3", "selects more than 1000 series"),
        // Answers that are larger than what they are made of.
        ("a + 0 or a * 2 or a - 5", "would read more than"),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let Asked { error, n_given } = asked(text, HOUR, &bounded());
        let said = error.map(|error| error.to_string()).unwrap_or_default();
        if !said.contains(expected) || n_given > 300_000 {
            wrong.push(format!("{text}: {said:?}, {n_given} samples"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each level makes a value ten times as long: a query of a kilobyte would fill any memory.
#[test]
fn a_query_makes_no_endless_label_values() {
    let joined = |levels| {
        let join = ",'v','-','k','k','k','k','k','k','k','k','k','k')";
        format!(
            "{}a @ 0{}",
            "label_join(".repeat(levels),
            join.replace("'v'", "'k'").repeat(levels)
        )
    };
    assert_eq!(asked(&joined(3), HOUR, &bounded()).error, None);
    let said = asked(&joined(20), HOUR, &bounded()).error.unwrap().to_string();
    assert!(said.contains("a label value of more than 65536 bytes"), "{said}");
    let replaced = format!("label_replace(a @ 0, 'k', '{}', 'k', '(.*)')", "$1".repeat(40_000));
    let said = asked(&replaced, HOUR, &bounded()).error.unwrap().to_string();
    assert!(said.contains("a label value of more than 65536 bytes"), "{said}");
    // Three hundred values of 50 KB are as much memory as half a million samples.
    let wide = format!("label_replace(a @ 0, 'x', '{}$1', 'i', '(.*)')", "y".repeat(50_000));
    let said = asked(&wide, HOUR, &bounded()).error.unwrap().to_string();
    assert!(said.contains("would read more than"), "{said}");
}

/// A page of text can hold a thousand expressions that are large once they are compiled; thirty are enough
/// to be too many.
#[test]
fn many_regular_expressions_are_too_large_together() {
    let large = "a=~\"\\\\pL{100}\",".repeat(30);
    for text in [format!("{{{large}}}"), format!("sum({{{large}}}) + 1")] {
        let error = Query::parse(&text).unwrap_err();
        let said =
            "error parsing regexp: the regular expressions of the query are too large together";
        assert_eq!(error.message, said);
    }
    let replaced =
        |i: usize| format!("label_replace(a{{i=\"1\"}} @ 0, 'x', '', 'i', '\\\\pL{{100}}|{i}')");
    let many: Vec<String> = (0..20).map(replaced).collect();
    let said = asked(&many.join(" or "), HOUR, &bounded()).error.unwrap().to_string();
    assert!(said.contains("in label_replace(): error parsing regexp: the regular expr"), "{said}");
    // What people write is small.
    let small = "a=~\"job-.+|web[0-9]{1,3}\",".repeat(1000);
    assert_eq!(Query::parse(&format!("{{{small}}}")).err(), None);
}

/// The crate takes a minute to refuse these.
#[test]
fn deep_groups_are_refused_before_they_are_read() {
    let deep = format!("{{a=~\"{}b{}\"}}", "(".repeat(100_000), ")".repeat(100_000));
    let error = Query::parse(&deep).unwrap_err();
    assert!(error.message.contains("nests too deeply"), "{}", error.message);
}

#[test]
fn evil_patterns_are_matched_in_linear_time() {
    let evil = format!("a{{i=~\"(x+x+)+y|{}\"}}", "(a|aa)+".repeat(20));
    assert!(asked(&evil, HOUR, &bounded()).error.is_none());
}

#[test]
fn the_memory_of_all_queries_is_a_limit_of_its_own_and_is_given_back() {
    // Room for the samples of one such query and not for two.
    let pool = Pool::new(150_000);
    let options = Options { pool: pool.clone(), ..bounded() };
    let text = "sum(rate(a[5m]))";
    assert!(asked(text, HOUR, &options).error.is_none());
    let twice = format!("{text} + {text}");
    assert_eq!(asked(&twice, HOUR, &options).error, Some(EvalError::Crowded));
    assert!(asked(text, HOUR, &options).error.is_none(), "what the other held is free again");
    let said = EvalError::Crowded.to_string();
    assert!(said.contains("try again later"), "{said}");
}

#[test]
fn a_query_that_was_ended_from_outside_stops_before_it_reads() {
    let options = bounded();
    options.interrupt.set(super::limits::Stop::TimedOut);
    let Asked { error, n_given } = asked("sum(rate(a[5m]))", HOUR, &options);
    assert_eq!(error.unwrap().to_string(), "query timed out in expression evaluation");
    assert_eq!(n_given, 0);
}
