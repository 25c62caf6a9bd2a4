//! Promises of the language as a whole: places of errors, precedence, printing, limits.

use std::sync::Arc;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::series::{Sample, SampleValue, SelectError};
use crate::signal::Labels;

/// The error with the text that it is about underlined.
fn check_error(text: &str, expect: &Expect) {
    let shown = match Query::parse(text) {
        Ok(query) => format!("parsed: {query}"),
        Err(error) => {
            let marks = "^".repeat((error.end - error.at).max(1));
            format!("{text}\n{}{marks} {}", " ".repeat(error.at), error.message)
        }
    };
    expect.assert_eq(&shown);
}

/// The tree with a parenthesis around every operation.
fn grouped(expr: &Expr) -> String {
    match &expr.kind {
        Kind::Binary(binary) => {
            let (left, right) = (grouped(&binary.left), grouped(&binary.right));
            format!("({left} {} {right})", binary.op.symbol())
        }
        Kind::Unary { inner, .. } => format!("(-{})", grouped(inner)),
        _ => expr.to_string(),
    }
}

fn check_grouping(text: &str, expect: &Expect) {
    expect.assert_eq(&grouped(&Query::parse(text).unwrap().expr));
}

/// Evaluates over series in the notation of promqltest, 10 s apart, and writes the answer down.
fn evaluated(series: &[&str], query: &str, range: Range) -> String {
    let parsed: Vec<RawSeries> = series
        .iter()
        .map(|line| {
            let (labels, values) = parse_series_description(line).unwrap();
            let times = (0..).step_by(10_000);
            let samples =
                times.zip(values).filter_map(|(t, value)| Some(Sample { t, value: value? }));
            RawSeries::new(labels, samples.collect())
        })
        .collect();
    let select = |selection: &Selection<'_>| -> Result<Vec<RawSeries>, SelectError> {
        let mut found = parsed.clone();
        found.retain(|series| selection.matchers.iter().all(|m| m.matches_labels(&series.labels)));
        for series in &mut found {
            series.samples.retain(|s| s.t > selection.start && s.t <= selection.end);
        }
        Ok(found)
    };
    let query = match Query::parse(query) {
        Ok(query) => query,
        Err(error) => return format!("parse error: {error}"),
    };
    let answer = if range.start == range.end {
        query.instant(range.start, &Options::default(), &select)
    } else {
        query.range(range, &Options::default(), &select)
    };
    match answer {
        Ok(answer) => shown(&answer),
        Err(error) => format!("error: {error}"),
    }
}

fn shown(answer: &Answer) -> String {
    let value = |value: &SampleValue| match value {
        SampleValue::Float(x) => text::short_number(*x),
        SampleValue::Histogram(h) => histogram::text(h),
    };
    let lines: Vec<String> = match &answer.output {
        Output::Scalar(_, x) => vec![text::short_number(*x)],
        Output::String(_, text) => vec![text.clone()],
        Output::Vector(series) => {
            series.iter().map(|s| format!("{} {}", s.labels, value(&s.samples[0].value))).collect()
        }
        Output::Matrix(series) => series
            .iter()
            .map(|s| {
                let points: Vec<String> = s
                    .samples
                    .iter()
                    .map(|p| format!("{}@{}", value(&p.value), p.t / 1000))
                    .collect();
                format!("{} {}", s.labels, points.join(" "))
            })
            .collect(),
    };
    lines.iter().chain(&answer.warnings).chain(&answer.infos).fold(String::new(), |all, line| {
        if all.is_empty() { line.clone() } else { format!("{all}\n{line}") }
    })
}

const fn at(seconds: i64) -> Range {
    Range { start: seconds * 1000, end: seconds * 1000, step: 0 }
}

#[test]
fn errors_point_at_what_is_wrong() {
    check_error(
        "sum(foo",
        &expect![[r#"
        sum(foo
               ^ unexpected end of input in aggregation, expected ")""#]],
    );
    check_error(
        "rate(foo)",
        &expect![[r#"
        rate(foo)
             ^^^ expected type range vector in call to function "rate", got instant vector"#]],
    );
    check_error(
        "foo{a=~\"(\"}",
        &expect![[r#"
            foo{a=~"("}
                   ^^^ error parsing regexp: missing closing )"#]],
    );
    check_error(
        "nope(foo)",
        &expect![[r#"
        nope(foo)
        ^^^^ unknown function with name "nope""#]],
    );
    check_error(
        "1 > 2",
        &expect![[r"
        1 > 2
          ^ comparisons between scalars must use BOOL modifier"]],
    );
    check_error(
        "{a=\"\"}",
        &expect![[r#"
        {a=""}
        ^^^^^^ vector selector must contain at least one non-empty matcher"#]],
    );
    check_error(
        "foo offset 5m offset 5m",
        &expect![[r"
        foo offset 5m offset 5m
        ^^^^^^^^^^^^^ offset may not be set multiple times"]],
    );
    check_error(
        "\"\\xff\"",
        &expect![[r#"
        "\xff"
        ^^^^^^ unexpected string "\xff" that is not valid UTF-8"#]],
    );
}

#[test]
fn functions_and_aggregations_count_their_arguments() {
    check_error(
        "time(1)",
        &expect![[r#"
        time(1)
        ^^^^^^^ expected 0 argument(s) in call to "time", got 1"#]],
    );
    check_error(
        "round()",
        &expect![[r#"
        round()
        ^^^^^^^ expected at least 1 argument(s) in call to "round", got 0"#]],
    );
    check_error(
        "topk(foo)",
        &expect![[r"
        topk(foo)
        ^^^^^^^^^ wrong number of arguments for aggregate expression provided, expected 2, got 1"]],
    );
    check_error(
        "sum(1, 2, foo)",
        &expect![[r"
        sum(1, 2, foo)
        ^^^^^^^^^^^^^^ wrong number of arguments for aggregate expression provided, expected 1, got 3"]],
    );
}

#[test]
fn operators_bind_as_in_prometheus() {
    check_grouping("1 + 2 * 3 ^ 2 ^ 2", &expect!["(1 + (2 * (3 ^ (2 ^ 2))))"]);
    check_grouping("-1 ^ 2 * 3", &expect!["((-(1 ^ 2)) * 3)"]);
    check_grouping("a or b and c unless d", &expect!["(a or ((b and c) unless d))"]);
    check_grouping("a - b - c", &expect!["((a - b) - c)"]);
    check_grouping("a == b + c > d", &expect!["((a == (b + c)) > d)"]);
    check_grouping("a offset 1m + 2", &expect!["(a offset 1m + 2)"]);
}

fn check_print(text: &str, expect: &Expect) {
    expect.assert_eq(&Query::parse(text).unwrap().to_string());
}

#[test]
fn queries_print_in_canonical_form() {
    check_print(
        "SUM (rate(x{a='b',c=~`\\d+`}[1h30m])) BY (job,) # comment",
        &expect![[r#"sum by (job) (rate(x{a="b",c=~"\\d+"}[1h30m]))"#]],
    );
    check_print("{\"a.b\", \"c d\"!=\"\"}", &expect![[r#"{__name__="a.b","c d"!=""}"#]]);
    check_print(
        "a/ON(x)GROUP_LEFT(y)b@1.5 offset -5m",
        &expect!["a / on (x) group_left (y) b @ 1.5 offset -5m"],
    );
    check_print("min_over_time(x[5m:] @ end())", &expect!["min_over_time(x[5m:] @ end())"]);
    check_print("0x1F + 1e3 + .5 + 1m - Inf", &expect!["31 + 1000 + 0.5 + 60 - Inf"]);
    check_print("x[5m * (2 + step())]", &expect!["x[5m * (2s + step())]"]);
}

#[test]
fn what_prometheus_does_not_read_is_an_error_here_too() {
    for text in [
        "max_over_time((2)[17s:7s])",
        "max_over_time(1[1m:])",
        "RATE(a[5m])",
        "on",
        "bool{a=\"b\"}",
        "Group_Left + 1",
        "NaN{}",
        "0 * on (a) vector(2)",
        "1 + fill (0) a",
    ] {
        assert!(Query::parse(text).is_err(), "{text}");
    }
    // Names that only braces can hold.
    check_print("{\"on\"}", &expect![[r#"{__name__="on"}"#]]);
    for (text, expected) in [
        ("010", "8"),
        ("089", "89"),
        ("0 * on() vector(2)", "{} 0"),
        ("vector(1) + ignoring() 2", "{} 3"),
        ("asinh(vector(-1e308))", "{} -709.889355822726"),
        ("acosh(vector(1e308))", "{} 709.889355822726"),
        ("clamp_min(vector(Inf), NaN)", "{} +Inf"),
        ("clamp_max(vector(-Inf), NaN)", "{} -Inf"),
        ("clamp(vector(NaN), Inf, Inf)", "{} +Inf"),
        ("clamp_max(vector(NaN), 1)", "{} NaN"),
        ("label_replace(vector(1), 'x', '$1é', 'y', '()')", "{} 1"),
        ("label_replace(vector(1), 'x', '${0}$$-$', 'y', '')", "{x=\"$-$\"} 1"),
    ] {
        assert_eq!(evaluated(&[], text, at(0)), expected, "{text}");
    }
}

/// As in a Prometheus without `promql-delayed-name-removal`.
#[test]
fn names_that_no_longer_hold_are_gone_at_once() {
    let series = ["a_total{i=\"1\"} 0+10x20", "b_total{i=\"1\"} 0+20x20"];
    let ranged = Range { start: 100_000, end: 110_000, step: 10_000 };
    for (text, expected) in [
        ("label_replace(rate(a_total[1m]), 'n', '$1', '__name__', '(.*)')", "{i=\"1\"} 1"),
        ("sum by (__name__) (rate(a_total[1m]))", "{} 1"),
        ("sum by (__name__) (abs(a_total))", "{} 100"),
        ("sum by (__name__) (a_total)", "a_total 100"),
        ("rate({i=\"1\"}[1m])", "error: vector cannot contain metrics with the same labelset"),
        ("sum(abs({i=\"1\"}))", "error: vector cannot contain metrics with the same labelset"),
        ("sum(last_over_time({i=\"1\"}[1m]))", "{} 300"),
    ] {
        assert_eq!(evaluated(&series, text, at(100)), expected, "{text}");
        let by_steps = evaluated(&series, text, ranged);
        let first =
            |text: &str| text.split_once('@').map_or(text.to_owned(), |(one, _)| one.to_owned());
        assert_eq!(first(&by_steps), expected, "{text}, over a range");
    }
}

#[test]
fn metrics_are_those_named_exactly() {
    let query =
        Query::parse("rate(b[5m]) / a + {__name__=\"c\"} or {__name__=~\"d.*\"} + a").unwrap();
    assert_eq!(query.metrics(), ["a", "b", "c"]);
}

#[test]
fn deep_and_long_queries_are_errors_and_not_crashes() {
    let nested = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(Query::parse(&nested).unwrap_err().message, "the expression is nested too deep");
    assert!(Query::parse(&"-".repeat(10_000)).is_err());
    assert!(Query::parse(&format!("a{}", "+a".repeat(10_000))).is_err());
    assert!(Query::parse(&format!("a[{}1{}]", "(".repeat(10_000), ")".repeat(10_000))).is_err());
    assert!(Query::parse(&format!("a{}", "[1m:]".repeat(10_000))).is_err());
    assert!(Query::parse(&"1".repeat(2 << 20)).is_err());
    let deepest = format!("{}1{}", "(".repeat(99), ")".repeat(99));
    assert_eq!(evaluated(&[], &deepest, at(0)), "1");
    for (open, close) in [
        ("abs(", ")"),
        ("sum(", ")"),
        ("a+(", ")"),
        ("vector(scalar(", "))"),
        ("label_replace(", ",\"\",\"\",\"\",\"\")"),
        ("max_over_time((", ")[2s:1s])"),
        ("histogram_quantile(1, ", ")"),
        ("topk(1, ", ")"),
        ("- -", ""),
        ("1 - a ^ - a ^", ""),
    ] {
        let deepest = (1..256).rev().find_map(|n| {
            let text = format!("{}a{}", open.repeat(n), close.repeat(n));
            Query::parse(&text).is_ok().then_some(text)
        });
        let _ = evaluated(&["a 1"], &deepest.unwrap(), at(0));
    }
    // Generated rules are chains of many operators, which do not nest.
    for (first, rest, expected) in [("1", "+1", "971"), ("a", " or a", "a 1")] {
        let longest = format!("{first}{}", rest.repeat(970));
        let printed = Query::parse(&longest).unwrap().clone().to_string();
        assert!(Query::parse(&printed).unwrap().to_string() == printed);
        assert_eq!(evaluated(&["a 1"], &longest, at(0)), expected);
    }
}

#[test]
fn queries_have_limits() {
    let second = Range { start: 0, end: 11_001_000, step: 1000 };
    expect![[
        "error: exceeded maximum resolution of 11,000 points per timeseries; try decreasing the \
         query resolution (?step=XX)"
    ]]
    .assert_eq(&evaluated(&[], "1", second));
    let options = Options { samples_max: 2, ..Options::default() };
    let select = |selection: &Selection<'_>| {
        assert_eq!(selection.samples_max, 2);
        let sample = |t| Sample { t, value: SampleValue::Float(1.0) };
        Ok(vec![RawSeries::new(Labels::default(), (0..3).map(sample).collect())])
    };
    let query = Query::parse("x[5m]").unwrap();
    assert_eq!(
        query.instant(10, &options, &select),
        Err(EvalError::Select(SelectError::TooManySamples { max: 2 }))
    );
    // What is told is the bound, not what the first selector left of it.
    let options = Options { samples_max: 4, ..Options::default() };
    let select = |selection: &Selection<'_>| {
        let sample = |t| Sample { t, value: SampleValue::Float(1.0) };
        match selection.samples_max {
            4 => Ok(vec![RawSeries::new(Labels::default(), (0..3).map(sample).collect())]),
            max => Err(SelectError::TooManySamples { max }),
        }
    };
    let query = Query::parse("sum_over_time(x[5m]) + sum_over_time(y[5m])").unwrap();
    assert_eq!(
        query.instant(10, &options, &select),
        Err(EvalError::Select(SelectError::TooManySamples { max: 4 }))
    );
}

#[test]
fn a_query_shares_memory_counts_its_series_and_can_be_ended() {
    let select = |_: &Selection<'_>| {
        let sample = |t| Sample { t, value: SampleValue::Float(1.0) };
        let one = |i: u32| {
            RawSeries::new(Labels::of(&[("i", &i.to_string())]), (0..3).map(sample).collect())
        };
        Ok((0..4).map(one).collect())
    };
    let asked = |options: &Options| {
        let query = Query::parse("sum(x) + sum(y)").unwrap();
        query.instant(2, options, &select).map(drop)
    };
    let pool = Pool::new(30);
    assert_eq!(asked(&Options { pool: pool.clone(), ..Options::default() }), Ok(()));
    assert_eq!(asked(&Options { pool, ..Options::default() }), Ok(()), "it is given back");
    let small = Options { pool: Pool::new(20), ..Options::default() };
    assert_eq!(asked(&small), Err(EvalError::Crowded));
    let few = Options { series_max: 7, ..Options::default() };
    assert_eq!(asked(&few), Err(EvalError::TooManySeries { max: 7 }));
    let ended = Options::default();
    ended.interrupt.set(Stop::Canceled);
    assert_eq!(asked(&ended), Err(EvalError::Stopped(Stop::Canceled)));
}

#[test]
fn windows_may_take_their_ends_from_beyond() {
    let series = ["c_total 0 10 20 5 15"];
    check_eval(&series, "increase(c_total[20s] anchored)", at(35), &expect!["{} 15"]);
    check_eval(&series, "increase(c_total[20s] smoothed)", at(35), &expect!["{} 15"]);
    check_eval(&series, "resets(c_total[20s] anchored)", at(35), &expect!["{} 1"]);
    check_eval(&series, "c_total smoothed", at(5), &expect!["c_total 5"]);
    for (text, expect) in [
        (
            "deriv(x[5m] anchored)",
            expect![[r"
            deriv(x[5m] anchored)
                  ^^^^^^^^^^^^^^ anchored modifier can only be used with: changes, delta, increase, rate, resets - not with deriv"]],
        ),
        (
            "x anchored",
            expect![[r"
            x anchored
            ^ anchored modifier can only be used on a range vector selector"]],
        ),
        (
            "x[5m] smoothed",
            expect![[r"
            x[5m] smoothed
            ^^^^^^^^^^^^^^ smoothed modifier needs a function around the range"]],
        ),
        (
            "rate(x[5m:] smoothed)",
            expect![[r"
            rate(x[5m:] smoothed)
                 ^^^^^^ smoothed modifier is not supported for subqueries"]],
        ),
        (
            "rate(x[5m] anchored smoothed)",
            expect![[r"
            rate(x[5m] anchored smoothed)
                 ^^^^^^^^^^^^^^ anchored and smoothed modifiers cannot be used together"]],
        ),
    ] {
        check_error(text, &expect);
    }
    check_print("rate(x[5m] @ 5 anchored)", &expect!["rate(x[5m] @ 5 anchored)"]);
    check_print("x smoothed offset 5m", &expect!["x offset 5m smoothed"]);
}

#[test]
fn a_pinned_query_answers_alike_at_any_time() {
    let pinned = |text: &str| {
        let query = Query::parse(text).unwrap().pinned(Timestamp::from_millis(5000));
        query.map(|query| query.to_string())
    };
    assert_eq!(pinned("a + b @ 7").as_deref(), Some("a @ 5 + b @ 7"));
    assert_eq!(pinned("rate(a[5m:])").as_deref(), Some("rate(a[5m:] @ 5)"));
    assert_eq!(pinned("a * time()"), None);
    assert_eq!(pinned("max_over_time(timestamp(a)[5m:])"), None);
}

fn check_eval(series: &[&str], query: &str, range: Range, expect: &Expect) {
    expect.assert_eq(&evaluated(series, query, range));
}

#[test]
fn increase_extrapolates_to_the_ends_of_the_range_but_not_below_zero() {
    let steady = ["c_total 10+10x9"];
    check_eval(&steady, "increase(c_total[60s])", at(90), &expect!["{} 60"]);
    // The first sample is 5 s into the range, and the series may have been there before.
    check_eval(&steady, "increase(c_total[55s])", at(90), &expect!["{} 55.00000000000001"]);
    // It ended 30 s ago: at most half an interval more.
    check_eval(&steady, "increase(c_total[90s])", at(120), &expect!["{} 65"]);
    // Started at 1: not further back than to where it would have been 0.
    check_eval(
        &["c_total _ _ 1+10x3"],
        "increase(c_total[60s])",
        at(50),
        &expect!["{} 31.000000000000004"],
    );
    check_eval(
        &["c_total 5 8 2 4"],
        "increase(c_total[60s])",
        at(30),
        &expect!["{} 8.166666666666668"],
    );
    check_eval(&["c_total 5"], "increase(c_total[60s])", at(30), &expect![""]);
}

#[test]
fn a_name_without_a_counters_ending_is_told() {
    check_eval(
        &["gauge 1 2"],
        "1 + rate(gauge[1m])",
        at(10),
        &expect![[r#"
            {} 1.025
            PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "gauge" (1:10)"#]],
    );
}

#[test]
fn a_stale_marker_and_the_lookback_end_a_series() {
    let series = ["a 1 stale 3", "b 1"];
    let range = Range { start: 0, end: 20_000, step: 10_000 };
    check_eval(&series, "a", range, &expect!["a 1@0 3@20"]);
    check_eval(&series, "b", at(299), &expect!["b 1"]);
    check_eval(&series, "b", at(300), &expect![""]);
    check_eval(&series, "a[1m]", at(20), &expect!["a 1@0 3@20"]);
}

#[test]
fn many_to_many_matches_are_errors() {
    let series = ["a{x=\"1\"} 1", "b{x=\"1\", y=\"1\"} 2", "b{x=\"1\", y=\"2\"} 3"];
    check_eval(
        &series,
        "a * on(x) b",
        at(0),
        &expect![[
            r#"error: found duplicate series for the match group {x="1"} on the right hand-side of the operation: [{__name__="b", x="1", y="1"}, {__name__="b", x="1", y="2"}];many-to-many matching not allowed: matching labels must be unique on one side"#
        ]],
    );
    check_eval(
        &series,
        "b * on(x) a",
        at(0),
        &expect![
            "error: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        ],
    );
    check_eval(
        &series,
        "b * on(x) group_left a",
        at(0),
        &expect![[r#"
        {x="1", y="1"} 2
        {x="1", y="2"} 3"#]],
    );
}

#[test]
fn native_histograms_of_different_resolution_add_up() {
    let series = [
        "h{i=\"1\"} {{schema:1 count:2 sum:3 buckets:[1 1] offset:1}}",
        "h{i=\"2\"} {{schema:0 count:1 sum:1 buckets:[1]}}",
    ];
    check_eval(&series, "sum(h)", at(0), &expect!["{} {count:3, sum:4, (0.5,1]:1, (1,2]:2}"]);
    check_eval(&series, "histogram_quantile(0.5, sum(h))", at(0), &expect!["{} 1.189207115002721"]);
    check_eval(
        &series,
        "h </ 1",
        at(0),
        &expect![[r#"
        h{i="1"} {count:0, sum:0}
        h{i="2"} {count:1, sum:1, (0.5,1]:1}"#]],
    );
}

#[test]
fn every_function_is_known_to_the_evaluator() {
    let series = ["m{le=\"1\"} 1 2", "m{le=\"+Inf\"} 1 2", "h {{count:2 sum:2 buckets:[2]}}x2"];
    for name in signature::names() {
        let args = signature::Function::named(name).unwrap().args.iter().map(|arg| match arg {
            ast::Type::Scalar => "0.5",
            ast::Type::Text => "\"le\"",
            ast::Type::Vector if name.starts_with("histogram_") => "h",
            ast::Type::Vector if name == "info" => "{__name__=\"m\"}",
            ast::Type::Vector => "m",
            ast::Type::Matrix => "m[1m]",
        });
        let query = format!("{name}({})", args.collect::<Vec<_>>().join(", "));
        let shown = evaluated(&series, &query, at(10));
        // These samples have no start timestamps.
        let may_be_empty =
            ["absent", "absent_over_time", "acosh", "start_timestamp"].contains(&name);
        assert!(!shown.contains("error") || name.starts_with("label_"), "{query}: {shown}");
        assert!(!shown.is_empty() || may_be_empty, "{query} answers nothing");
    }
}

#[test]
fn series_descriptions_hold_repetitions_gaps_and_histograms() {
    let (labels, values) =
        parse_series_description(r#"a_total{b="c d"} 1+2x2 _ stale -1e1x1 {{sum:1 count:2}}x1"#)
            .unwrap();
    assert_eq!(labels.to_string(), r#"a_total{b="c d"}"#);
    let shown: Vec<String> = values
        .iter()
        .map(|value| match value {
            None => "_".to_owned(),
            Some(SampleValue::Float(x)) if x.to_bits() == crate::series::STALE_NAN_BITS => {
                "stale".to_owned()
            }
            Some(SampleValue::Float(x)) => x.to_string(),
            Some(SampleValue::Histogram(h)) => histogram::text(h),
        })
        .collect();
    expect!["1 3 5 _ stale -10 -10 {count:2, sum:1} {count:2, sum:1}"].assert_eq(&shown.join(" "));
    assert!(parse_series_description("a 1x99999999999").is_err());
    assert!(parse_series_description("a 1 b").is_err());
    assert!(parse_series_description("a {{sum:1").is_err());
}

/// The same tree with every place forgotten.
fn placeless(query: &Query) -> Expr {
    fn forget(expr: &mut Expr) {
        expr.span = ast::Span::default();
        match &mut expr.kind {
            Kind::Paren(inner) | Kind::Unary { inner, .. } | Kind::Subquery { inner, .. } => {
                forget(inner);
            }
            Kind::Call { args, .. } => args.iter_mut().for_each(forget),
            Kind::Aggregate(aggregate) => {
                forget(&mut aggregate.inner);
                aggregate.param.iter_mut().for_each(forget);
            }
            Kind::Binary(binary) => {
                forget(&mut binary.left);
                forget(&mut binary.right);
            }
            Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Window { .. } => {}
        }
    }
    let mut expr = query.expr.clone();
    forget(&mut expr);
    expr
}

fn queries() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1".to_owned()),
        Just("0.25".to_owned()),
        Just("foo".to_owned()),
        Just("rate(foo{a=~\"b.+\",\"c d\"!=\"\"}[5m] offset -1h @ 3)".to_owned()),
        Just("{\"x.y\",a=\"\\n\\\"\"}".to_owned()),
        Just("vector(time())".to_owned()),
        Just("increase(foo[5m] smoothed)".to_owned()),
        "[a-z_]{1,8}",
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let vector = inner.clone().prop_map(|e| format!("vector(scalar({e}))"));
        prop_oneof![
            (inner.clone(), "(\\+|-|\\*|/|%|\\^| atan2 )", inner.clone())
                .prop_map(|(a, op, b)| format!("{a}{op}{b}")),
            (vector.clone(), "( and | or | unless on \\(a\\) | > bool |<=)", vector.clone())
                .prop_map(|(a, op, b)| format!("{a}{op}{b}")),
            inner.clone().prop_map(|e| format!("({e})")),
            inner.clone().prop_map(|e| format!("-{e}")),
            inner.clone().prop_map(|e| format!("sum by (a, \"b c\") ({e})")),
            inner.clone().prop_map(|e| format!("topk without () (2, {e})")),
            inner.prop_map(|e| format!("max_over_time(({e})[5m:1m + step()] offset 3s)")),
        ]
    })
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,60}") {
        let _ = Query::parse(&text);
        let _ = parse_series_description(&text);
    }

    #[test]
    fn parsing_near_queries_never_panics(text in "[a-c0-9(){}\\[\\]\"'`=~!<>/+\\-*^%:@,. \\\\]{0,60}") {
        let _ = Query::parse(&text);
        let _ = parse_series_description(&text);
    }

    #[test]
    fn a_printed_query_parses_to_the_same_tree(text in queries()) {
        if let Ok(query) = Query::parse(&text) {
            let printed = query.to_string();
            let again = Query::parse(&printed).map_err(|e| TestCaseError::fail(format!("{printed}: {e}")))?;
            prop_assert_eq!(placeless(&query), placeless(&again));
        }
    }

    #[test]
    fn evaluating_never_panics(text in queries(), seconds in -10_i64..100) {
        let series = ["foo{a=\"bb\"} 1 2 _ NaN 3", "x {{count:1 sum:1 buckets:[1]}}x3"];
        let _ = evaluated(&series, &text, at(seconds));
    }
}

#[test]
fn answers_are_the_same_for_any_order_of_series() {
    let forwards = ["a{i=\"1\"} 1", "a{i=\"2\"} 2"];
    let backwards = ["a{i=\"2\"} 2", "a{i=\"1\"} 1"];
    let range = Range { start: 0, end: 10_000, step: 10_000 };
    for query in ["a", "a * 2", "sum(a)", "a or on() vector(1)", "topk(1, a)"] {
        assert_eq!(evaluated(&forwards, query, range), evaluated(&backwards, query, range));
    }
    let shared = Arc::new(Labels::default());
    assert!(value::without_identity(&shared).is_empty());
}

#[test]
fn count_values_gives_up_its_label_where_that_is_named_without() {
    let series = ["x{a=\"1\", b=\"2\"} 7", "x{a=\"2\", b=\"2\"} 8"];
    let answer = |query: &str| evaluated(&series, query, at(0));
    expect![[r#"{b="2"} 2"#]].assert_eq(&answer("count_values without (a) (\"a\", x)"));
    expect![[r#"
        {a="7"} 1
        {a="8"} 1"#]]
    .assert_eq(&answer("count_values without (b) (\"a\", x)"));
    expect![[r#"
        {a="7", b="2"} 1
        {a="8", b="2"} 1"#]]
    .assert_eq(&answer("count_values by (b) (\"a\", x)"));
}
