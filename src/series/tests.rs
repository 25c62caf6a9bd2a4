//! What the store promises, as text: one line an operation in, one line a series out.
#![expect(
    clippy::format_push_string,
    clippy::format_collect,
    clippy::float_cmp,
    reason = "text of a few lines reads best where it is made"
)]

use expect_test::{Expect, expect};

use super::catalog::{INVOCATIONS, QUEUE_LAG, REQUEST_COST};
use super::export::{ExportValue, HighWater};
use super::*;
use crate::signal::{Labels, METRIC_NAME, Timestamp};

fn at(second: f64) -> Timestamp {
    Timestamp::from_secs_f64(second)
}

fn named(text: &str) -> Labels {
    let mut words = text.split(',');
    let name = (METRIC_NAME, words.next().unwrap());
    let pairs = words.map(|pair| pair.split_once('=').unwrap());
    Labels::of(&std::iter::once(name).chain(pairs).collect::<Vec<_>>())
}

/// `add NAME,label=value SECOND DELTA`, `observe ...`, `append ...` or `tick SECOND`.
fn apply(series: &mut Series, operations: &str) {
    for operation in operations.lines() {
        let words: Vec<&str> = operation.split_whitespace().collect();
        match words[..] {
            ["tick", second] => series.tick(at(second.parse().unwrap())),
            ["add", labels, second, delta] => {
                series.add(&named(labels), at(second.parse().unwrap()), delta.parse().unwrap());
            }
            ["observe", labels, second, value, count] => series.observe(
                &named(labels),
                at(second.parse().unwrap()),
                value.parse().unwrap(),
                count.parse().unwrap(),
            ),
            ["append", labels, millis, value] => series.append(
                &named(labels),
                Sample {
                    t: millis.parse().unwrap(),
                    value: SampleValue::Float(value.parse().unwrap()),
                },
            ),
            [] => {}
            _ => panic!("{operation}"),
        }
    }
}

fn show(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => value.to_string(),
        SampleValue::Histogram(h) => {
            format!("{{count {} sum {} zero {} {:?}}}", h.count, h.sum, h.zero_count, h.positive)
        }
    }
}

fn select(series: &Series, matchers: &[Matcher], start: i64, end: i64) -> String {
    let selection =
        Selection { matchers, start, end, samples_max: 1_000_000, windows: None, looks: None };
    let mut text = String::new();
    for found in series.select(&selection).unwrap() {
        text += &found.labels.to_string();
        for sample in &found.samples {
            text += &format!(" {}@{}", show(&sample.value), sample.t);
        }
        text += "\n";
    }
    text
}

/// Operations, then the selection of one name over `(start, end]` in milliseconds.
#[expect(clippy::needless_pass_by_value, reason = "expect! is written in place")]
fn check(operations: &str, name: &str, range: std::ops::Range<i64>, expect: Expect) {
    let mut series = Series::new(Config::default());
    apply(&mut series, operations);
    let matchers = [Matcher::equal(METRIC_NAME, name)];
    expect.assert_eq(&select(&series, &matchers, range.start, range.end));
}

#[test]
fn a_counter_is_zero_before_its_first_increment_and_holds_until_now() {
    check(
        "add c 10.3 2
         add c 12.9 1
         tick 14",
        "c",
        0..100_000,
        expect![[r"
            c 0@9000 2@10000 2@11000 3@12000 3@13000 3@14000
        "]],
    );
}

#[test]
fn every_outcome_begins_at_zero_with_the_first_of_its_group() {
    check(
        "add throughline_invocations_total,faas_name=f,outcome=error 10 1
         tick 11",
        INVOCATIONS,
        8_000..11_000,
        expect![[r#"
            throughline_invocations_total{faas_name="f", outcome="dead_lettered"} 0@9000 0@10000 0@11000
            throughline_invocations_total{faas_name="f", outcome="error"} 0@9000 1@10000 1@11000
            throughline_invocations_total{faas_name="f", outcome="incomplete"} 0@9000 0@10000 0@11000
            throughline_invocations_total{faas_name="f", outcome="ok"} 0@9000 0@10000 0@11000
            throughline_invocations_total{faas_name="f", outcome="throttled"} 0@9000 0@10000 0@11000
            throughline_invocations_total{faas_name="f", outcome="timeout"} 0@9000 0@10000 0@11000
        "#]],
    );
}

#[test]
fn a_correction_that_takes_all_leaves_no_series() {
    check(
        "add throughline_invocations_total,faas_name=f,outcome=error 10 1
         add throughline_invocations_total,faas_name=f,outcome=error 10 -1
         tick 20",
        INVOCATIONS,
        0..100_000,
        expect![[""]],
    );
}

#[test]
fn money_adds_up_without_a_rest() {
    let mut operations = "add throughline_request_cost_usd_total,flow=f 10 0.3\n".to_owned();
    operations.push_str(&"add throughline_request_cost_usd_total,flow=f 10 0.1\n".repeat(3));
    operations.push_str("add throughline_request_cost_usd_total,flow=f 10 -0.3\n");
    check(
        &operations,
        REQUEST_COST,
        9_000..11_000,
        expect![[r#"
            throughline_request_cost_usd_total{flow="f"} 0.3@10000
        "#]],
    );
}

#[test]
fn a_histogram_answers_under_its_own_name() {
    check(
        "observe throughline_queue_lag_seconds,queue=q 10 0.5 2
         observe throughline_queue_lag_seconds,queue=q 11 0 1
         tick 12",
        QUEUE_LAG,
        0..100_000,
        expect![[r#"
            throughline_queue_lag_seconds{queue="q"} {count 0 sum 0 zero 0 []}@9000 {count 2 sum 1 zero 0 [(-32, 2.0)]}@10000 {count 3 sum 1 zero 1 [(-32, 2.0)]}@11000 {count 3 sum 1 zero 1 [(-32, 2.0)]}@12000
        "#]],
    );
}

#[test]
fn a_histogram_answers_as_classic_series_too() {
    let mut series = Series::new(Config::default());
    series.set_thresholds(&[0.3]);
    apply(
        &mut series,
        "observe throughline_queue_lag_seconds,queue=q 10 0.3 2
         observe throughline_queue_lag_seconds,queue=q 10 2000 1
         tick 10",
    );
    let names =
        Matcher::new(METRIC_NAME, MatchOp::Regex, "throughline_queue_lag_seconds_.+").unwrap();
    let le = Matcher::new("le", MatchOp::Regex, "|0.25|0.3|900|.Inf").unwrap();
    expect![[r#"
        throughline_queue_lag_seconds_bucket{le="+Inf", queue="q"} 0@9000 3@10000
        throughline_queue_lag_seconds_bucket{le="0.25", queue="q"} 0@9000 0@10000
        throughline_queue_lag_seconds_bucket{le="0.3", queue="q"} 0@9000 2@10000
        throughline_queue_lag_seconds_bucket{le="900", queue="q"} 0@9000 2@10000
        throughline_queue_lag_seconds_count{queue="q"} 0@9000 3@10000
        throughline_queue_lag_seconds_sum{queue="q"} 0@9000 2000.6@10000
    "#]]
    .assert_eq(&select(&series, &[names, le], 0, 100_000));
    let one = [Matcher::equal(METRIC_NAME, "throughline_queue_lag_seconds_count")];
    assert_eq!(series.label_sets(&one, 10_500, 20_000).len(), 1);
    assert_eq!(series.label_sets(&one, 11_000, 20_000).len(), 0);
    assert_eq!(series.label_sets(&one, 0, 8_999).len(), 0);
}

#[test]
fn a_threshold_set_in_between_does_not_keep_a_correction_from_its_cell() {
    let mut series = Series::new(Config::default());
    apply(&mut series, "tick 20\nobserve throughline_queue_lag_seconds,queue=q 10 0.3 1");
    series.set_thresholds(&[0.3]);
    apply(&mut series, "observe throughline_queue_lag_seconds,queue=q 10 0.3 -1");
    let any = Matcher::new(METRIC_NAME, MatchOp::Regex, ".+").unwrap();
    assert_eq!(select(&series, &[any], 0, 100_000), "");
}

#[test]
fn gauges_are_kept_as_they_are_and_the_last_of_a_time_holds() {
    check(
        "append g 3000 3
         append g 1000 1
         append g 2000 7
         append g 2000 2",
        "g",
        0..2_500,
        expect![[r"
            g 1@1000 2@2000
        "]],
    );
}

#[test]
fn a_staleness_marker_keeps_its_bits() {
    let mut series = Series::new(Config::default());
    let stale = SampleValue::Float(f64::from_bits(STALE_NAN_BITS));
    series.append(&named("g"), Sample { t: 5, value: stale });
    let matchers = [Matcher::equal(METRIC_NAME, "g")];
    let selection = Selection {
        matchers: &matchers,
        start: 0,
        end: 9,
        samples_max: 9,
        windows: None,
        looks: None,
    };
    let read = series.select(&selection).unwrap();
    let SampleValue::Float(value) = read[0].samples[0].value else { panic!("a float") };
    assert_eq!(value.to_bits(), STALE_NAN_BITS);
}

#[test]
fn compaction_keeps_values_at_the_ends_of_slots() {
    let operations: String = (0..1800).map(|second| format!("add c {second} 1\n")).collect();
    check(
        &(operations + "tick 3600"),
        "c",
        9_000..40_000,
        expect![[r"
            c 10@10000 20@19000 30@29000 40@39000 40@40000
        "]],
    );
}

#[test]
fn what_retention_drops_stays_in_the_sum_and_the_rest_goes() {
    let mut series =
        Series::new(Config { retention: std::time::Duration::from_hours(1), ..Config::default() });
    apply(&mut series, "add c 10 5\nadd c 5000 1\nadd d 10 1\ntick 5000");
    let any = [Matcher::new(METRIC_NAME, MatchOp::Regex, ".+").unwrap()];
    expect![[r"
        c 5@4999000 6@5000000
    "]]
    .assert_eq(&select(&series, &any, 4_998_000, 5_000_000));
    apply(&mut series, "tick 9000");
    assert_eq!(select(&series, &any, 0, 9_000_000), "");
    assert_eq!(series.n_series(), 0);
}

#[test]
fn more_series_than_the_bound_go_to_one_overflow_series_and_are_counted() {
    let mut series = Series::new(Config { series_per_metric_max: 2, ..Config::default() });
    apply(
        &mut series,
        "add c,a=1 10 1\nadd c,a=2 10 1\nadd c,a=3 10 1\nadd c,a=4 10 1\nadd c,a=4 10 -1
         append g,a=1 1 1\nappend g,a=2 1 1\nappend g,a=3 1 1\ntick 10",
    );
    let matchers = [Matcher::equal(METRIC_NAME, "c")];
    expect![[r#"
        c{a="1"} 1@10000
        c{a="2"} 1@10000
        c{otel_metric_overflow="true"} 1@10000
    "#]]
    .assert_eq(&select(&series, &matchers, 9_000, 10_000));
    // Each of the four contributions to a third and a fourth series; samples have their own bound.
    assert_eq!(series.overflowed(), 3);
    assert_eq!(series.n_series(), 6);
}

#[test]
fn samples_beyond_the_bound_of_their_metric_are_dropped_and_told() {
    let mut series = Series::new(Config { sampled_per_metric_max: 2, ..Config::default() });
    apply(
        &mut series,
        "append g,a=1 1 1\nappend g,a=2 1 1\nappend g,a=3 1 1\nappend g,a=1 2 5\ntick 10",
    );
    expect![[r#"
        g{a="1"} 1@1 5@2
        g{a="2"} 1@1
    "#]]
    .assert_eq(&select(&series, &[Matcher::equal(METRIC_NAME, "g")], 0, 10_000));
    assert_eq!(series.overflowed(), 1);
    let told: Vec<String> = series.findings().into_iter().map(|finding| finding.message).collect();
    assert!(
        matches!(&told[..], [one] if one.starts_with("g has 2 series, the most that there is room for; samples of new ones are dropped")),
        "{told:?}"
    );
}

#[test]
fn at_the_memory_bound_the_oldest_samples_go_first_and_sums_stay() {
    let mut series = Series::new(Config { memory_max_bytes: 4_000, ..Config::default() });
    for minute in 0..3000_i32 {
        series.append(
            &named("g"),
            Sample { t: i64::from(minute) * 60_000, value: SampleValue::Float(1.0) },
        );
        series.add(&named("c"), at(f64::from(minute) * 60.0), 1.0);
    }
    series.tick(at(3000.0 * 60.0));
    assert!(series.bytes() <= 4_000, "{}", series.bytes());
    assert!(series.dropped().samples > 2000);
    let matchers = [Matcher::equal(METRIC_NAME, "c")];
    expect![[r"
        c 3000@180000000
    "]]
    .assert_eq(&select(&series, &matchers, 179_999_000, 180_000_000));
}

#[test]
fn a_query_reads_no_more_than_it_may() {
    let mut series = Series::new(Config::default());
    apply(&mut series, "add c 10 1\ntick 1000");
    let matchers = [Matcher::equal(METRIC_NAME, "c")];
    let selection = Selection {
        matchers: &matchers,
        start: 0,
        end: i64::MAX,
        samples_max: 900,
        windows: None,
        looks: None,
    };
    assert_eq!(series.select(&selection), Err(SelectError::TooManySamples { max: 900 }));
}

#[test]
fn a_month_is_read_in_about_eleven_thousand_samples() {
    let mut series = Series::new(Config::default());
    apply(&mut series, "add c 10 1\nadd c 2591000 1\ntick 2592000");
    let matchers = [Matcher::equal(METRIC_NAME, "c")];
    let selection = Selection {
        matchers: &matchers,
        start: 0,
        end: i64::MAX,
        samples_max: 50_000,
        windows: None,
        looks: None,
    };
    let read = series.select(&selection).unwrap();
    let n = read[0].samples.len();
    assert!((9_000..=11_100).contains(&n), "{n}");
    assert!(read[0].samples.windows(2).all(|pair| pair[0].t < pair[1].t));
}

#[test]
fn exemplars_lead_from_buckets_to_the_slowest_and_the_newest() {
    let mut series = Series::new(Config::default());
    let address = Address::new(named("throughline_queue_lag_seconds,queue=q"));
    for (second, value, trace_id) in [(61.0, 3.0, "slow"), (62.0, 0.2, "mid"), (63.0, 0.1, "new")] {
        let seen = Observation { value, count: 1, exemplar: Some(&trace_id.into()) };
        series.observe_at(&address, at(second), seen);
    }
    let matchers = [Matcher::equal(METRIC_NAME, "throughline_queue_lag_seconds_bucket")];
    let mut text = String::new();
    for (labels, exemplars) in series.exemplars(&matchers, 0, i64::MAX) {
        for exemplar in exemplars {
            text += &format!("{labels} {} {} {}\n", exemplar.trace_id, exemplar.value, exemplar.t);
        }
    }
    expect![[r#"
        throughline_queue_lag_seconds_bucket{le="0.1", queue="q"} new 0.1 63000
        throughline_queue_lag_seconds_bucket{le="5", queue="q"} slow 3 61000
    "#]]
    .assert_eq(&text);
    let own = [Matcher::equal(METRIC_NAME, QUEUE_LAG)];
    let seen = Observation { value: 3.0, count: -1, exemplar: Some(&"slow".into()) };
    series.observe_at(&address, at(61.0), seen);
    assert_eq!(series.exemplars(&own, 0, i64::MAX)[0].1.len(), 1);
}

#[test]
fn what_is_exported_never_goes_down() {
    let mut series = Series::new(Config::default());
    let mut marks = HighWater::default();
    let mut text = String::new();
    for operations in [
        "add c 10 5\nobserve throughline_queue_lag_seconds,queue=q 10 0.3 2\ntick 11",
        "add c 10 -2\nobserve throughline_queue_lag_seconds,queue=q 10 0.3 -1\nobserve throughline_queue_lag_seconds,queue=q 10 0.9 1",
        "add c 10 3",
    ] {
        apply(&mut series, operations);
        let mut exported = series.export();
        marks.lift(&mut exported);
        for one in exported {
            match one.value {
                ExportValue::Counter(value) | ExportValue::Gauge(value) => {
                    text += &format!("{} {value} since {}\n", one.labels, one.created.as_secs());
                }
                ExportValue::Histogram(h) => {
                    let at_half = h.classic.iter().find(|(bound, _)| *bound >= 0.5).unwrap();
                    let last = h.classic.last().unwrap();
                    text += &format!("{:?} {at_half:?} {last:?}\n", h.native.positive);
                    assert_eq!(
                        h.native.count,
                        h.native.positive.iter().map(|(_, n)| n).sum::<f64>()
                    );
                }
            }
        }
    }
    expect![[r"
        c 5 since 9
        [(-55, 2.0)] (0.5, 2.0) (inf, 2.0)
        c 5 since 9
        [(-55, 2.0), (-4, 1.0)] (0.5, 2.0) (inf, 3.0)
        c 6 since 9
        [(-55, 2.0), (-4, 1.0)] (0.5, 2.0) (inf, 3.0)
    "]]
    .assert_eq(&text);
}

#[test]
fn a_snapshot_reads_back_as_the_same_store() {
    let mut series = Series::new(Config::default());
    apply(
        &mut series,
        "add throughline_invocations_total,faas_name=f,outcome=ok 10 1
         observe throughline_queue_lag_seconds,queue=q 10 0.3 2
         append g 1000 1
         tick 100",
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stray.block"), "of a later time").unwrap();
    let bytes = series.save().unwrap();
    let mut again = Series::restore(&bytes, Config::default(), folder.path()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(Series::restore(&bytes[1..], Config::default(), folder.path()).is_err());
    for store in [&mut series, &mut again] {
        apply(store, "add throughline_invocations_total,faas_name=f,outcome=ok 90 1");
    }
    let any = [Matcher::new(METRIC_NAME, MatchOp::Regex, ".+").unwrap()];
    assert_eq!(select(&series, &any, 0, 100_000), select(&again, &any, 0, 100_000));
    assert_eq!(again.n_series(), series.n_series());
}

#[test]
fn a_frozen_store_is_of_its_moment() {
    let happened = |second: u32| {
        format!(
            "add throughline_invocations_total,faas_name=f,outcome=ok {second} 1
             observe throughline_queue_lag_seconds,queue=q {second} 0.3 2
             append g {second} 1
             append g,new={second} {second} 1
             tick {second}"
        )
    };
    let mut series = Series::new(Config::default());
    apply(&mut series, &happened(10));
    series.note_lateness("g", Lateness::of(std::time::Duration::from_secs(1)), 1, at(10.0));
    let saved = series.save().unwrap();
    let frozen = series.frozen();
    for second in [11, 30, 4000, 90_000] {
        apply(&mut series, &happened(second));
        series.note_lateness("g", Lateness::of(std::time::Duration::from_secs(1)), 1, at(10.0));
    }
    assert_eq!(frozen.encode().unwrap(), saved);
    assert_ne!(series.save().unwrap(), saved);
}

#[test]
fn findings_say_what_is_full_lost_or_less_exact() {
    let mut series = Series::new(Config { series_per_metric_max: 2, ..Config::default() });
    apply(
        &mut series,
        "add c,a=1 10 1\nadd c,a=2 10 1\nadd c,a=3 10 1\nappend c,a=1 10000 9\ntick 10",
    );
    for i in 0..400 {
        let value = 0.001 * 1.03_f64.powi(i);
        series.observe(&named("throughline_queue_lag_seconds,queue=q"), at(10.0), value, 1);
    }
    let text: String =
        series.findings().iter().map(|f| format!("{}: {}\n", f.kind, f.message)).collect();
    expect![[r#"
        dropped_series: samples or deltas named a series of another kind and were not taken; rename their metric (1 so far)
        full_metric: c has 3 series, the most that there is room for; what names new ones goes to c{otel_metric_overflow="true"}
        merged_buckets: throughline_queue_lag_seconds{queue="q"} spans so many values that its buckets were merged; its quantiles hold within 4.4 %, others' within 2.2 %
    "#]]
    .assert_eq(&text);
}

#[test]
fn labels_of_one_kind_refuse_samples_of_another() {
    let mut series = Series::new(Config::default());
    apply(&mut series, "add c 10 1\nappend c 10000 9\nobserve c 10 1 1\ntick 10");
    assert_eq!(series.dropped().mismatched, 2);
}

#[test]
fn an_address_finds_its_series_in_every_store_and_after_it_came_again() {
    let address = Address::new(named("throughline_invocations_total,faas_name=f,outcome=ok"));
    let other = named("throughline_invocations_total,faas_name=g,outcome=ok");
    let total = |series: &mut Series| {
        series.tick(at(63.0));
        let labels = [(METRIC_NAME, INVOCATIONS), ("faas_name", "f"), ("outcome", "ok")];
        let read = select(series, &labels.map(|(name, is)| Matcher::equal(name, is)), 0, 63_000);
        read.split_whitespace().last().map(str::to_owned)
    };
    let mut first = Series::new(Config::default());
    first.add_to(&address, at(61.0), 1.0);
    let mut second = Series::new(Config::default());
    second.add(&other, at(61.0), 5.0);
    second.add_to(&address, at(61.0), 1.0);
    first.add_to(&address, at(62.0), 1.0);
    assert_eq!(
        (total(&mut first).as_deref(), total(&mut second).as_deref()),
        (Some("2@63000"), Some("1@63000"))
    );
}
