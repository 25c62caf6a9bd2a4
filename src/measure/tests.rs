//! What measuring promises: changes in, present totals out, one line a series.
#![expect(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "text of a few lines reads best where it is made"
)]

use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::correlate::Outcome;
use crate::correlate::request::{Call, CausedBy, DeadLetter, Key, KeyKind, Part, PathPart};
use crate::series::export::ExportValue;
use crate::series::{MatchOp, Matcher, RawSeries, SampleValue, Selection, catalog};
use crate::signal::{
    BucketSpan, ErrorKind, HistogramPoint, Labels, METRIC_NAME, MetricValue, Temporality, Via,
};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn request(id: &str, outcome: Outcome, end_millis: i64) -> Request {
    Request {
        id: id.into(),
        aliases: Vec::new(),
        flow: "POST /orders".into(),
        outcome,
        state: State::Finished,
        start: at(0),
        end: at(end_millis),
        duration: Duration::from_millis(1500),
        response: Some(Duration::from_millis(400)),
        continues: None,
        keys: vec![Key { kind: KeyKind::TraceId, value: format!("trace-{id}").into() }],
        hops: Vec::new(),
        critical_path: vec![PathPart {
            hop: "h".into(),
            part: Part::QueueWait,
            duration: Duration::from_millis(900),
        }],
        missing: Vec::new(),
        cost_usd: Some(0.000_004_2),
        stands_for: 1,
    }
}

fn invocation(id: &str, outcome: Outcome, end_millis: i64) -> Invocation {
    Invocation {
        id: id.into(),
        function: "checkout".into(),
        version: Some("42".into()),
        start: at(0),
        end: at(end_millis),
        duration: Some(Duration::from_millis(2800)),
        outcome,
        error_kind: (outcome != Outcome::Ok).then_some(ErrorKind::Connection),
        attempt: 2,
        init: Some(Duration::from_millis(310)),
        cold_start: true,
        billed: Some(Duration::from_millis(2800)),
        cost_usd: Some(0.000_023_4),
        memory_size_bytes: Some(512 << 20),
        memory_used_bytes: Some(100),
        timeout: Some(Duration::from_secs(3)),
        exemplar: "trace".into(),
        calls: ["GetItem", "PutItem"]
            .map(|operation| Call {
                peer: "dynamodb".into(),
                operation: operation.into(),
                start: at(0),
                duration: Duration::from_millis(5),
                ok: operation == "GetItem",
            })
            .to_vec(),
        throttled_by: vec!["payments".into()],
        caused_by: Some(CausedBy { function: "api".into(), via: Via::Queue }),
        uncorrelated: 3,
        stands_for: 1,
    }
}

fn delivery(id: &str, taken_up_millis: i64) -> Delivery {
    Delivery {
        id: id.into(),
        queue: "orders-dlq".into(),
        function: "redrive".into(),
        taken_up: at(taken_up_millis),
        lag: Some(Duration::from_secs(7)),
        duplicate: true,
        dead_letter: Some(DeadLetter {
            queue: "orders-dlq".into(),
            source_queue: "orders".into(),
            function: "worker".into(),
        }),
        partition: Some("shardId-000000000006".into()),
        exemplar: "trace".into(),
        stands_for: 1,
    }
}

fn boxed(request: Request) -> Change {
    Change::Request(Box::new(request))
}

/// Present totals that are not zero.
fn totals(series: &Series) -> String {
    let mut text = String::new();
    for one in series.export() {
        let line = match one.value {
            ExportValue::Counter(value) | ExportValue::Gauge(value) => value.to_string(),
            ExportValue::Histogram(h) => format!("count {} sum {}", h.native.count, h.native.sum),
        };
        if line != "0" && line != "count 0 sum 0" {
            text += &format!("{} {line}\n", one.labels);
        }
    }
    text
}

#[expect(clippy::needless_pass_by_value, reason = "expect! is written in place")]
fn check(changes: &[Change], expect: Expect) {
    let mut series = Series::new(crate::series::Config::default());
    Measure::new().apply(changes, &mut series, at(20_000));
    series.tick(at(20_000));
    expect.assert_eq(&totals(&series));
}

fn read(series: &Series) -> Vec<RawSeries> {
    let matchers = [Matcher::new(METRIC_NAME, MatchOp::Regex, ".+").unwrap()];
    let selection = Selection {
        matchers: &matchers,
        start: 0,
        end: i64::MAX,
        samples_max: usize::MAX,
        windows: None,
        looks: None,
    };
    series.select(&selection).unwrap()
}

#[test]
fn outcomes_and_error_kinds_are_those_of_the_engine() {
    assert_eq!(Outcome::ALL.map(Outcome::as_str), catalog::OUTCOMES);
    assert_eq!(ErrorKind::ALL.map(ErrorKind::as_str), catalog::ERROR_KINDS);
}

#[test]
fn a_finished_request_counts_for_its_flow() {
    check(
        &[boxed(request("a", Outcome::Ok, 10_000))],
        expect![[r#"
            throughline_request_cost_usd_total{flow="POST /orders", outcome="ok"} 0.0000042
            throughline_request_duration_seconds{flow="POST /orders", outcome="ok"} count 1 sum 1.5
            throughline_request_queue_wait_seconds{flow="POST /orders"} count 1 sum 0.9
            throughline_requests_total{flow="POST /orders", outcome="ok"} 1
            throughline_response_duration_seconds{flow="POST /orders", outcome="ok"} count 1 sum 0.4
        "#]],
    );
}

#[test]
fn a_correction_moves_a_request_between_outcomes() {
    let mut slow = request("a", Outcome::DeadLettered, 12_000);
    slow.cost_usd = None;
    check(
        &[
            boxed(request("a", Outcome::Ok, 10_000)),
            boxed(request("b", Outcome::Ok, 10_000)),
            boxed(slow),
        ],
        expect![[r#"
            throughline_request_cost_usd_total{flow="POST /orders", outcome="ok"} 0.0000042
            throughline_request_duration_seconds{flow="POST /orders", outcome="dead_lettered"} count 1 sum 1.5
            throughline_request_duration_seconds{flow="POST /orders", outcome="ok"} count 1 sum 1.5
            throughline_request_queue_wait_seconds{flow="POST /orders"} count 2 sum 1.8
            throughline_requests_total{flow="POST /orders", outcome="dead_lettered"} 1
            throughline_requests_total{flow="POST /orders", outcome="ok"} 1
            throughline_response_duration_seconds{flow="POST /orders", outcome="dead_lettered"} count 1 sum 0.4
            throughline_response_duration_seconds{flow="POST /orders", outcome="ok"} count 1 sum 0.4
        "#]],
    );
}

#[test]
fn what_sampling_left_out_counts_and_is_taken_back_with_what_it_kept() {
    let kept = Request { stands_for: 4, ..request("a", Outcome::Ok, 10_000) };
    let corrected = Request { stands_for: 3, outcome: Outcome::Error, ..kept.clone() };
    let attempt = Invocation {
        stands_for: 4,
        calls: Vec::new(),
        throttled_by: Vec::new(),
        caused_by: None,
        error_kind: None,
        ..invocation("i", Outcome::Ok, 10_000)
    };
    check(
        &[boxed(kept), Change::Invocation(Box::new(attempt)), boxed(corrected)],
        expect![[r#"
            throughline_billed_gb_seconds_total{faas_name="checkout"} 5.6
            throughline_cold_starts_total{faas_name="checkout"} 4
            throughline_init_duration_seconds{faas_name="checkout", faas_version="42"} count 4 sum 1.24
            throughline_invocation_cost_usd_total{faas_name="checkout", outcome="ok"} 0.0000936
            throughline_invocation_duration_seconds{faas_name="checkout", faas_version="42", outcome="ok"} count 4 sum 11.2
            throughline_invocations_total{faas_name="checkout", faas_version="42", outcome="ok"} 4
            throughline_memory_used_bytes{faas_name="checkout"} 100
            throughline_near_timeouts_total{faas_name="checkout"} 4
            throughline_request_cost_usd_total{flow="POST /orders", outcome="error"} 0.0000126
            throughline_request_duration_seconds{flow="POST /orders", outcome="error"} count 3 sum 4.5
            throughline_request_queue_wait_seconds{flow="POST /orders"} count 3 sum 2.7
            throughline_requests_total{flow="POST /orders", outcome="error"} 3
            throughline_response_duration_seconds{flow="POST /orders", outcome="error"} count 3 sum 1.2
            throughline_retries_total{faas_name="checkout"} 4
            throughline_uncorrelated_signals_total{faas_name="checkout"} 12
        "#]],
    );
}

#[test]
fn a_request_that_opens_again_counts_no_more() {
    let open = Request { state: State::Open, ..request("a", Outcome::Ok, 10_000) };
    check(&[boxed(request("a", Outcome::Ok, 10_000)), boxed(open)], expect![[""]]);
}

#[test]
fn an_invocation_counts_for_its_function_and_its_edges() {
    check(
        &[Change::Invocation(Box::new(invocation("i", Outcome::Error, 10_000)))],
        expect![[r#"
            throughline_billed_gb_seconds_total{faas_name="checkout"} 1.4
            throughline_cold_starts_total{faas_name="checkout"} 1
            throughline_dependency_calls{faas_name="checkout", peer="dynamodb"} count 1 sum 2
            throughline_dependency_duration_seconds{faas_name="checkout", operation="GetItem", outcome="ok", peer="dynamodb"} count 1 sum 0.005
            throughline_dependency_duration_seconds{faas_name="checkout", operation="PutItem", outcome="error", peer="dynamodb"} count 1 sum 0.005
            throughline_init_duration_seconds{faas_name="checkout", faas_version="42"} count 1 sum 0.31
            throughline_invocation_cost_usd_total{faas_name="checkout", outcome="error"} 0.0000234
            throughline_invocation_duration_seconds{faas_name="checkout", faas_version="42", outcome="error"} count 1 sum 2.8
            throughline_invocation_errors_total{error_kind="connection", faas_name="checkout"} 1
            throughline_invocations_total{faas_name="checkout", faas_version="42", outcome="error"} 1
            throughline_memory_used_bytes{faas_name="checkout"} 100
            throughline_near_timeouts_total{faas_name="checkout"} 1
            throughline_retries_total{faas_name="checkout"} 1
            throughline_throttles_total{faas_name="checkout", resource="payments", source="caller"} 1
            throughline_uncorrelated_signals_total{faas_name="checkout"} 3
            traces_service_graph_request_failed_total{client="api", connection_type="messaging_system", server="checkout"} 1
            traces_service_graph_request_server_seconds{client="api", connection_type="messaging_system", server="checkout"} count 1 sum 2.8
            traces_service_graph_request_total{client="api", connection_type="messaging_system", server="checkout"} 1
        "#]],
    );
}

#[test]
fn a_message_counts_its_lag_its_fall_and_its_repeat() {
    check(
        &[Change::Delivery(Box::new(delivery("m", 10_000)))],
        expect![[r#"
            throughline_dlq_arrivals_total{faas_name="worker", queue="orders-dlq", source_queue="orders"} 1
            throughline_duplicate_deliveries_total{faas_name="redrive", queue="orders-dlq"} 1
            throughline_partition_messages_total{partition="shardId-000000000006", queue="orders-dlq"} 1
            throughline_queue_lag_seconds{queue="orders-dlq"} count 1 sum 7
        "#]],
    );
}

#[test]
fn objectives_count_good_and_all_events_at_their_own_threshold() {
    let latency = |slo: &str, millis, whole_request| Objective {
        slo: slo.into(),
        service: "shop".into(),
        sli: Sli::Latency {
            flow: Some("POST /orders".into()),
            threshold: Duration::from_millis(millis),
            whole_request,
        },
    };
    let other = Sli::Availability { flow: Some("GET /".into()) };
    let mut measure = Measure::new();
    measure.set_objectives(vec![
        latency("whole", 1500, true),
        latency("whole-tight", 1499, true),
        latency("response", 400, false),
        Objective {
            slo: "up".into(),
            service: "shop".into(),
            sli: Sli::Availability { flow: None },
        },
        Objective { slo: "other".into(), service: "shop".into(), sli: other },
    ]);
    assert_eq!(measure.thresholds(), [1.5, 1.499, 0.4]);
    let mut series = Series::new(crate::series::Config::default());
    measure.apply(&[boxed(request("a", Outcome::Timeout, 10_000))], &mut series, at(11_000));
    let slo: String = totals(&series)
        .lines()
        .filter(|line| line.contains("slo"))
        .map(|l| format!("{l}\n"))
        .collect();
    expect![[r#"
        throughline_slo_events_total{service="shop", slo="response"} 1
        throughline_slo_events_total{service="shop", slo="up"} 1
        throughline_slo_events_total{service="shop", slo="whole"} 1
        throughline_slo_events_total{service="shop", slo="whole-tight"} 1
        throughline_slo_good_total{service="shop", slo="response"} 1
        throughline_slo_good_total{service="shop", slo="whole"} 1
    "#]]
    .assert_eq(&slo);
    let good = Labels::of(&[(METRIC_NAME, SLO_GOOD), ("slo", "up"), ("service", "shop")]);
    let found = read(&series).into_iter().find(|found| found.labels == good);
    assert!(found.is_some(), "an objective that only ever failed has a good counter at zero");
}

#[test]
fn what_is_final_is_forgotten_and_counts_as_it_was_said() {
    let mut measure = Measure::new();
    let mut series = Series::new(crate::series::Config::default());
    measure.apply(&[boxed(request("a", Outcome::Error, 10_000))], &mut series, at(11_000));
    // An objective that came later counts what comes later, whether or not somebody keeps the request.
    let (slo, service, sli) = ("up".into(), "shop".into(), Sli::Availability { flow: None });
    measure.set_objectives(vec![Objective { slo, service, sli }]);
    let last = Request { state: State::Final, ..request("a", Outcome::Error, 10_000) };
    let changes = [
        Change::RequestFinal(Box::new(last)),
        Change::Invocation(Box::new(invocation("i", Outcome::Ok, 10_000))),
        Change::InvocationFinal("i".into()),
        Change::Delivery(Box::new(delivery("m", 10_000))),
        Change::DeliveryFinal("m".into()),
    ];
    measure.apply(&changes, &mut series, at(11_000));
    assert_eq!(measure.n_correctable(), 0);
    let requests: Vec<String> = totals(&series)
        .lines()
        .filter(|line| line.starts_with(catalog::REQUESTS) || line.contains("slo_events"))
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(requests, [r#"throughline_requests_total{flow="POST /orders", outcome="error"} 1"#]);
}

#[test]
fn exemplars_lead_to_the_real_trace() {
    let mut series = Series::new(crate::series::Config::default());
    Measure::new().apply(&[boxed(request("a", Outcome::Ok, 10_000))], &mut series, at(11_000));
    let matchers = [Matcher::equal(METRIC_NAME, catalog::REQUEST_DURATION)];
    let found = series.exemplars(&matchers, 0, i64::MAX);
    assert_eq!(&*found[0].1[0].trace_id, "trace-a");
}

#[test]
fn lateness_is_how_long_after_their_event_time_samples_come() {
    let mut series = Series::new(crate::series::Config::default());
    Measure::new().apply(&[boxed(request("a", Outcome::Ok, 10_000))], &mut series, at(22_000));
    series.tick(at(22_000));
    let late = series.lateness(catalog::REQUESTS).as_secs_f64();
    assert!((12.0..13.2).contains(&late), "{late}");
    let bucket = series.lateness("throughline_request_duration_seconds_bucket").as_secs_f64();
    assert!((12.0..13.2).contains(&bucket), "{bucket}");
}

#[test]
fn the_memory_gauge_shows_the_largest_of_five_minutes_and_then_ends() {
    let mut measure = Measure::new();
    let mut series = Series::new(crate::series::Config::default());
    for (end, used) in [(60_000, 300), (120_000, 200)] {
        let used = Invocation {
            memory_used_bytes: Some(used),
            ..invocation(&end.to_string(), Outcome::Ok, end)
        };
        measure.apply(&[Change::Invocation(Box::new(used))], &mut series, at(end));
    }
    for minute in 3..10 {
        measure.apply(&[], &mut series, at(minute * 60_000));
    }
    let mut text = String::new();
    for found in read(&series).iter().filter(|found| found.labels.name() == catalog::MEMORY_USED) {
        for sample in &found.samples {
            let SampleValue::Float(value) = sample.value else { panic!("a float") };
            text += &format!("{value}@{} ", sample.t / 60_000);
        }
    }
    assert_eq!(text, "300@1 300@2 300@3 300@4 300@5 200@6 NaN@7 ");
}

fn point(name: &str, millis: i64, value: MetricValue) -> MetricPoint {
    let labels = Labels::of(&[(METRIC_NAME, name), ("job", "j")]);
    MetricPoint { labels, time: at(millis), start: None, value }
}

/// The last value of every series, after these points.
#[expect(clippy::needless_pass_by_value, reason = "expect! is written in place")]
fn check_points(points: &[MetricPoint], expect: Expect) {
    let mut measure = Measure::new();
    let mut series = Series::new(crate::series::Config::default());
    for point in points {
        measure.point(point, &mut series, at(10_000));
    }
    let mut text = String::new();
    for found in read(&series) {
        let last = found.samples.last().unwrap();
        let value = match &last.value {
            SampleValue::Float(value) => value.to_string(),
            SampleValue::Histogram(h) => {
                format!("schema {} count {} {:?}", h.schema, h.count, h.positive)
            }
        };
        text += &format!("{} {value}@{}\n", found.labels, last.t);
    }
    expect.assert_eq(&text);
}

#[test]
fn pushed_points_keep_their_names_and_deltas_add_up() {
    let sum = |value, temporality| MetricValue::Sum { value, monotonic: true, temporality };
    check_points(
        &[
            point("g", 1000, MetricValue::Gauge(3.5)),
            point("cumulative", 1000, sum(7.0, Temporality::Cumulative)),
            point("delta", 2000, sum(7.25, Temporality::Delta)),
            point("delta", 1000, sum(2.0, Temporality::Delta)),
            point("gone", 1000, MetricValue::Stale),
        ],
        expect![[r#"
            cumulative{job="j"} 7@1000
            delta{job="j"} 9.25@2000
            g{job="j"} 3.5@1000
            gone{job="j"} NaN@1000
        "#]],
    );
}

#[test]
fn a_counter_that_tells_since_when_it_counts_was_zero_then() {
    let sum = |value, monotonic| MetricValue::Sum {
        value,
        monotonic,
        temporality: Temporality::Cumulative,
    };
    let since = |start, point| MetricPoint { start: Some(at(start)), ..point };
    let far = 16 * 60_000;
    let points = [
        since(500, point("counter", 1_000, sum(7.0, true))),
        since(500, point("counter", 2_000, sum(9.0, true))),
        // A restart that no fall of the value shows.
        since(2_500, point("counter", 3_000, sum(10.0, true))),
        // Since the sample before, which is what it was then.
        since(3_000, point("counter", 4_000, sum(12.0, true))),
        since(500, point("gauge", 1_000, MetricValue::Gauge(3.0))),
        since(500, point("falls", 1_000, sum(3.0, false))),
        since(1_000, point("since_now", 1_000, sum(3.0, true))),
        since(1_000, point("long_ago", 1_000 + far, sum(3.0, true))),
        point("untold", 1_000, sum(3.0, true)),
    ];
    let stored = |points: &[MetricPoint]| {
        let mut measure = Measure::new();
        let mut series = Series::new(crate::series::Config::default());
        points.iter().for_each(|point| measure.point(point, &mut series, at(10_000)));
        let line = |found: &RawSeries| {
            let samples = found.samples.iter().map(|sample| {
                let SampleValue::Float(value) = sample.value else { panic!("a float") };
                format!(" {value}@{}", sample.t)
            });
            format!("{}{}\n", found.labels.name(), samples.collect::<String>())
        };
        read(&series).iter().map(line).collect::<String>()
    };
    let told = stored(&points);
    expect![[r"
        counter 0@500 7@1000 9@2000 0@2500 10@3000 12@4000
        falls 3@1000
        gauge 3@1000
        long_ago 3@961000
        since_now 3@1000
        untold 3@1000
    "]]
    .assert_eq(&told);
    let backwards: Vec<MetricPoint> = points.iter().rev().cloned().collect();
    assert_eq!(stored(&backwards), told);
}

#[test]
fn explicit_histograms_become_classic_series() {
    let explicit = || HistogramPoint::Explicit {
        count: 6,
        sum: 2.5,
        bounds: vec![0.1, 1.0],
        counts: vec![1, 2, 3],
    };
    let histogram = |temporality| MetricValue::Histogram { point: explicit(), temporality };
    check_points(
        &[
            point("h", 1000, histogram(Temporality::Cumulative)),
            point("d", 1000, histogram(Temporality::Delta)),
            point("d", 2000, histogram(Temporality::Delta)),
        ],
        expect![[r#"
            d_bucket{job="j", le="+Inf"} 12@2000
            d_bucket{job="j", le="0.1"} 2@2000
            d_bucket{job="j", le="1"} 6@2000
            d_count{job="j"} 12@2000
            d_sum{job="j"} 5@2000
            h_bucket{job="j", le="+Inf"} 6@1000
            h_bucket{job="j", le="0.1"} 1@1000
            h_bucket{job="j", le="1"} 3@1000
            h_count{job="j"} 6@1000
            h_sum{job="j"} 2.5@1000
        "#]],
    );
}

#[test]
fn exponential_histograms_become_native_ones() {
    let exponential = |scale, offset| HistogramPoint::Exponential {
        count: 3,
        sum: 5.0,
        scale,
        zero_count: 0,
        zero_threshold: 0.0,
        positive: BucketSpan { offset, counts: vec![1, 0, 2] },
        negative: BucketSpan::default(),
    };
    let histogram = |point, temporality| MetricValue::Histogram { point, temporality };
    check_points(
        &[
            point("h", 1000, histogram(exponential(2, -1), Temporality::Cumulative)),
            point("fine", 1000, histogram(exponential(10, 0), Temporality::Cumulative)),
            point("coarse", 1000, histogram(exponential(-5, 0), Temporality::Cumulative)),
            point("d", 2000, histogram(exponential(2, -1), Temporality::Delta)),
            point("d", 1000, histogram(exponential(1, -1), Temporality::Delta)),
        ],
        expect![[r#"
            d{job="j"} schema 1 count 6 [(0, 2.0), (1, 2.0), (2, 2.0)]@2000
            fine{job="j"} schema 8 count 3 [(1, 3.0)]@1000
            h{job="j"} schema 2 count 3 [(0, 1.0), (2, 2.0)]@1000
        "#]],
    );
}

#[derive(Clone, Debug)]
struct Version {
    kind: u8,
    subject: u8,
    outcome: Outcome,
    end_millis: i64,
}

impl Version {
    fn change(&self) -> Change {
        let id = self.subject.to_string();
        match self.kind {
            0 => boxed(request(&id, self.outcome, self.end_millis)),
            1 => Change::Invocation(Box::new(Invocation {
                memory_used_bytes: None,
                ..invocation(&id, self.outcome, self.end_millis)
            })),
            _ => Change::Delivery(Box::new(delivery(&id, self.end_millis))),
        }
    }

    fn gone(&self) -> Change {
        let id: Text = self.subject.to_string().into();
        match self.kind {
            0 => Change::RequestGone(id),
            1 => Change::InvocationGone(id),
            _ => Change::DeliveryGone(id),
        }
    }
}

fn versions() -> impl Strategy<Value = Vec<Version>> {
    let outcome = prop::sample::select(Outcome::ALL.to_vec());
    let version = (0..3_u8, 0..4_u8, outcome, 1000..100_000_i64).prop_map(
        |(kind, subject, outcome, end_millis)| Version { kind, subject, outcome, end_millis },
    );
    prop::collection::vec(version, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_gone_leaves_no_trace_in_any_series(versions in versions()) {
        let mut measure = Measure::new();
        let mut series = Series::new(crate::series::Config::default());
        let changes: Vec<Change> = versions.iter().map(Version::change).collect();
        measure.apply(&changes, &mut series, at(100_000));
        let gone: Vec<Change> = versions.iter().map(Version::gone).collect();
        measure.apply(&gone, &mut series, at(101_000));
        series.tick(at(200_000));
        prop_assert_eq!(read(&series), Vec::new());
        prop_assert_eq!(measure.n_correctable(), 0);
    }

    #[test]
    fn only_the_last_version_of_a_subject_counts(versions in versions()) {
        let run = |versions: &[Version]| {
            let mut measure = Measure::new();
            let mut series = Series::new(crate::series::Config::default());
            for version in versions {
                measure.apply(&[version.change()], &mut series, at(100_000));
            }
            series.tick(at(200_000));
            read(&series)
        };
        let is_last = |i: usize, v: &Version| {
            versions.iter().skip(i + 1).all(|w| (w.kind, w.subject) != (v.kind, v.subject))
        };
        let mut last: Vec<Version> = versions
            .iter()
            .enumerate()
            .filter(|(i, version)| is_last(*i, version))
            .map(|(_, version)| version.clone())
            .collect();
        last.reverse();
        prop_assert_eq!(run(&versions), run(&last));
    }
}
