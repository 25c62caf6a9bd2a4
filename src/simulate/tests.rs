//! Whole workloads: the same seed gives the same bytes, payloads decode, truth and payloads agree.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use expect_test::{Expect, expect};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message as _;
use serde_json::Value;

use super::config::{Fault, FaultWindow, Shuffle, SimulationConfig, Style, StyleChoice};
use super::plan::Function;
use super::truth::ExpectedRequest;
use super::{Emission, Simulation};
use crate::correlate::Outcome;
use crate::signal::Timestamp;

fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap()
}

fn config(seed: u64, requests: u64) -> SimulationConfig {
    SimulationConfig::new(seed, start(), requests)
}

/// The fault lasts for the whole workload.
fn faulty(seed: u64, requests: u64, fault: Fault) -> SimulationConfig {
    let window = FaultWindow { fault, from: start(), to: Timestamp::MAX };
    SimulationConfig { faults: vec![window], ..config(seed, requests) }
}

struct Played {
    emissions: Vec<Emission>,
    truth: Vec<ExpectedRequest>,
}

fn play(config: &SimulationConfig) -> Played {
    let mut simulation = Simulation::new(config);
    let emissions: Vec<Emission> = simulation.by_ref().collect();
    assert_eq!(simulation.n_open(), 0, "every request ends");
    Played { emissions, truth: simulation.take_truth() }
}

fn plain(emission: &Emission) -> Vec<u8> {
    let is_gzip = emission.headers.iter().any(|header| header.name == "content-encoding");
    if is_gzip { gunzip(&emission.body) } else { emission.body.clone() }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// What an emission tells, one `function kind` or `function invocation-id` a signal.
#[derive(Default)]
struct Told {
    /// (function, invocation id) of each signal that names one.
    invocations: BTreeSet<(String, String)>,
    functions: BTreeSet<String>,
    by_kind: BTreeMap<String, usize>,
    metrics: Vec<Value>,
}

impl Told {
    fn of(emissions: &[Emission]) -> Self {
        let mut told = Self::default();
        for emission in emissions {
            let body = plain(emission);
            match emission.path {
                "/v1/traces" => told.traces(&body),
                "/ingest/json" => told.json_lines(&body),
                "/ingest/aws/telemetry" => told.telemetry(&body),
                "/ingest/aws/firehose" => told.firehose(&body),
                other => panic!("no such path: {other}"),
            }
        }
        told
    }

    fn signal(&mut self, function: &str, kind: &str, invocation: Option<&str>) {
        *self.by_kind.entry(kind.to_owned()).or_default() += 1;
        self.functions.insert(function.to_owned());
        if let Some(id) = invocation {
            self.invocations.insert((function.to_owned(), id.to_owned()));
        }
    }

    fn traces(&mut self, body: &[u8]) {
        for resource_spans in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
            let attributes = resource_spans.resource.unwrap().attributes;
            let text = |attributes: &[_], key: &str| {
                attributes
                    .iter()
                    .find(|one: &&opentelemetry_proto::tonic::common::v1::KeyValue| one.key == key)
                    .and_then(|one| match one.value.as_ref()?.value.as_ref()? {
                        Any::StringValue(text) => Some(text.clone()),
                        _ => None,
                    })
            };
            let function = text(&attributes, "faas.name").unwrap();
            for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
                let invocation = text(&span.attributes, "faas.invocation_id");
                self.signal(&function, "span", invocation.as_deref());
            }
        }
    }

    fn json_lines(&mut self, body: &[u8]) {
        for line in std::str::from_utf8(body).unwrap().lines() {
            if let Ok(record) = serde_json::from_str::<Value>(line) {
                self.record(&record);
            } else {
                assert!(line.contains("Task timed out after"), "{line}");
                self.signal("payment", "text line", None);
            }
        }
    }

    fn record(&mut self, record: &Value) {
        let function = record["function_name"].as_str().unwrap();
        self.signal(function, "json record", record["function_request_id"].as_str());
    }

    fn telemetry(&mut self, body: &[u8]) {
        let events: Vec<Value> = serde_json::from_slice(body).unwrap();
        assert!(!events.is_empty());
        for event in events {
            let kind = event["type"].as_str().unwrap();
            assert!(Timestamp::parse_rfc3339(event["time"].as_str().unwrap()).is_some());
            if kind == "function" {
                self.record(&event["record"]);
            } else {
                *self.by_kind.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }

    fn firehose(&mut self, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap();
        for record in body["records"].as_array().unwrap() {
            let encoded = record["data"].as_str().unwrap();
            let data = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
            if data.starts_with(&[0x1f, 0x8b]) {
                self.subscription(&gunzip(&data));
            } else {
                for line in std::str::from_utf8(&data).unwrap().lines() {
                    self.metrics.push(serde_json::from_str(line).unwrap());
                }
            }
        }
    }

    fn subscription(&mut self, payload: &[u8]) {
        let payload: Value = serde_json::from_slice(payload).unwrap();
        let group = payload["logGroup"].as_str().unwrap();
        let function = group.strip_prefix("/aws/lambda/").unwrap();
        for event in payload["logEvents"].as_array().unwrap() {
            assert_eq!(event["id"].as_str().unwrap().len(), 56);
            let message = event["message"].as_str().unwrap();
            if let Ok(record) = serde_json::from_str::<Value>(message) {
                self.record(&record);
            } else {
                let kind = message.split_whitespace().next().unwrap();
                let kind = if kind.starts_with("20") { "Task timed out" } else { kind };
                self.signal(function, kind, None);
            }
        }
    }

    /// The sum of a metric of one function, in its own set of dimensions.
    fn sum(&self, metric: &str, function: &str) -> f64 {
        let of_function = serde_json::json!({ "FunctionName": function });
        let found = self
            .metrics
            .iter()
            .filter(|one| one["metric_name"] == metric && one["dimensions"] == of_function);
        found.map(|one| one["value"]["sum"].as_f64().unwrap()).sum()
    }
}

/// Requests by flow and outcome, hops by function, outcome and attempt.
fn digest(truth: &[ExpectedRequest]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for request in truth {
        let outcome = request.outcome.as_str();
        *counts.entry(format!("request {} {outcome}", request.flow)).or_default() += 1;
        for hop in &request.hops {
            let (function, outcome) = (hop.function, hop.outcome.as_str());
            let line = format!("hop {function} {outcome} #{}", hop.attempt);
            *counts.entry(line).or_default() += 1;
        }
    }
    counts.into_iter().fold(String::new(), |text, (line, n)| text + &line + &format!(": {n}\n"))
}

#[expect(clippy::needless_pass_by_value, reason = "expect_test's own style")]
fn check(config: &SimulationConfig, expect: Expect) {
    expect.assert_eq(&digest(&play(config).truth));
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let (one, same, other) = (play(&config(1, 200)), play(&config(1, 200)), play(&config(2, 200)));
    assert_eq!(one.emissions, same.emissions);
    assert_eq!(one.truth, same.truth);
    assert_ne!(one.emissions, other.emissions);
}

#[test]
fn emissions_come_in_order_of_time() {
    for emission_pair in play(&faulty(3, 300, Fault::RetryStorm)).emissions.windows(2) {
        assert!(emission_pair[0].at <= emission_pair[1].at);
    }
}

#[test]
fn a_clean_workload_holds_nothing_bad() {
    check(
        &config(1, 500),
        expect![[r#"
            hop analytics ok #1: 314
            hop catalog ok #1: 314
            hop checkout ok #1: 186
            hop fulfil ok #1: 186
            hop loyalty ok #1: 186
            hop notify-customer ok #1: 186
            hop payment ok #1: 186
            request GET /catalog ok: 314
            request POST /orders ok: 186
        "#]],
    );
}

#[test]
fn a_throttle_burst_is_seen_by_callers() {
    check(
        &faulty(1, 200, Fault::ThrottleBurst),
        expect![[r#"
        hop analytics ok #1: 113
        hop catalog ok #1: 113
        hop checkout ok #1: 34
        hop checkout throttled #1: 53
        hop fulfil ok #1: 34
        hop loyalty ok #1: 34
        hop notify-customer ok #1: 34
        hop payment ok #1: 34
        request GET /catalog ok: 113
        request POST /orders ok: 34
        request POST /orders throttled: 53
    "#]],
    );
}

#[test]
fn poison_messages_end_in_the_dead_letter_queue_after_three_receives() {
    check(
        &faulty(1, 200, Fault::PoisonMessage),
        expect![[r#"
        hop analytics ok #1: 117
        hop catalog ok #1: 117
        hop checkout ok #1: 83
        hop dlq-inspector ok #1: 12
        hop fulfil dead_lettered #3: 12
        hop fulfil error #1: 12
        hop fulfil error #2: 12
        hop fulfil ok #1: 71
        hop loyalty ok #1: 71
        hop notify-customer ok #1: 71
        hop payment ok #1: 83
        request GET /catalog ok: 117
        request POST /orders dead_lettered: 12
        request POST /orders ok: 71
    "#]],
    );
}

#[test]
fn a_fault_alone_is_staged_however_few_the_requests_are() {
    for seed in 1..20 {
        let fanned_out = SimulationConfig { branches: 50, ..faulty(seed, 10, Fault::WideFanOut) };
        let orders = |truth: &[ExpectedRequest]| truth.iter().any(|r| r.flow == "POST /orders");
        let truth = play(&fanned_out).truth;
        let is_wide = truth.iter().any(|request| request.hops.len() > 50);
        assert_eq!(is_wide, orders(&truth), "seed {seed}");
        let truth = play(&faulty(seed, 10, Fault::Redrive)).truth;
        // Three receives fail, and the one that is put back is taken up once more.
        let n_tries = |request: &ExpectedRequest| {
            request.hops.iter().filter(|hop| hop.function == "fulfil").count()
        };
        let is_redriven = truth.iter().any(|request| n_tries(request) == 4);
        assert_eq!(is_redriven, orders(&truth), "seed {seed}");
    }
}

/// As `throughline simulate --requests 60 --rate 20` asks for it: the fault lasts 1.8 seconds.
#[test]
fn what_befalls_messages_is_staged_in_workloads_of_three_seconds() {
    let n_of = |request: &ExpectedRequest, function| {
        request.hops.iter().filter(|hop| hop.function == function).count()
    };
    let is_staged = |fault, request: &ExpectedRequest| match fault {
        Fault::WideFanOut => n_of(request, "loyalty") > 20,
        Fault::FanIn => request.flow == "GET /catalog" && n_of(request, "loyalty") == 1,
        Fault::DuplicateDelivery => n_of(request, "fulfil") == 2,
        _ => n_of(request, "fulfil") == 4,
    };
    for fault in [Fault::WideFanOut, Fault::FanIn, Fault::DuplicateDelivery, Fault::Redrive] {
        for seed in 1..6 {
            let at = |millis| start().saturating_add(Duration::from_millis(millis));
            let faults = vec![FaultWindow { fault, from: at(600), to: at(2_400) }];
            let mut config = SimulationConfig { branches: 20, faults, ..config(seed, 60) };
            config.load.per_second = 20.0;
            let truth = play(&config).truth;
            let staged = truth.iter().filter(|request| is_staged(fault, request)).count();
            assert!(staged > 0, "{} in seed {seed}", fault.as_str());
        }
    }
}

#[test]
fn lost_messages_make_requests_incomplete() {
    let played = play(&faulty(1, 200, Fault::LostMessage));
    for request in &played.truth {
        let is_incomplete = request.outcome == Outcome::Incomplete;
        assert_eq!(is_incomplete, !request.lost_message_ids.is_empty());
    }
    expect![[r#"
        hop analytics ok #1: 123
        hop catalog ok #1: 123
        hop checkout ok #1: 77
        hop fulfil ok #1: 54
        hop loyalty ok #1: 54
        hop notify-customer ok #1: 54
        hop payment ok #1: 77
        request GET /catalog ok: 123
        request POST /orders incomplete: 23
        request POST /orders ok: 54
    "#]]
    .assert_eq(&digest(&played.truth));
}

#[test]
fn timeouts_end_at_the_limit_and_fail_the_caller() {
    check(
        &faulty(1, 200, Fault::Timeouts),
        expect![[r#"
        hop analytics ok #1: 112
        hop catalog ok #1: 112
        hop checkout error #1: 40
        hop checkout ok #1: 48
        hop fulfil ok #1: 48
        hop loyalty ok #1: 48
        hop notify-customer ok #1: 48
        hop payment ok #1: 48
        hop payment timeout #1: 40
        request GET /catalog ok: 112
        request POST /orders ok: 48
        request POST /orders timeout: 40
    "#]],
    );
}

#[test]
fn retries_make_good_what_a_storm_broke() {
    check(
        &faulty(1, 200, Fault::RetryStorm),
        expect![[r#"
        hop analytics error #1: 56
        hop analytics ok #1: 73
        hop analytics ok #2: 56
        hop catalog ok #1: 129
        hop checkout ok #1: 71
        hop fulfil error #1: 39
        hop fulfil ok #1: 32
        hop fulfil ok #2: 39
        hop loyalty error #1: 43
        hop loyalty error #2: 25
        hop loyalty ok #1: 28
        hop loyalty ok #2: 18
        hop loyalty ok #3: 25
        hop notify-customer error #1: 40
        hop notify-customer error #2: 24
        hop notify-customer ok #1: 31
        hop notify-customer ok #2: 16
        hop notify-customer ok #3: 24
        hop payment ok #1: 71
        request GET /catalog ok: 129
        request POST /orders ok: 71
    "#]],
    );
}

#[test]
fn a_duplicate_delivery_is_a_second_success() {
    check(
        &faulty(1, 200, Fault::DuplicateDelivery),
        expect![[r#"
            hop analytics ok #1: 125
            hop catalog ok #1: 125
            hop checkout ok #1: 75
            hop fulfil ok #1: 75
            hop fulfil ok #2: 18
            hop loyalty ok #1: 75
            hop notify-customer ok #1: 75
            hop payment ok #1: 75
            request GET /catalog ok: 125
            request POST /orders ok: 75
        "#]],
    );
}

#[test]
fn a_cold_start_storm_makes_most_invocations_cold() {
    let share = |config: &SimulationConfig| {
        let truth = play(config).truth;
        let hops: Vec<_> = truth.iter().flat_map(|request| &request.hops).collect();
        let n_cold = hops.iter().filter(|hop| hop.cold_start).count();
        n_cold * 100 / hops.len()
    };
    assert!(share(&config(1, 300)) < 10);
    assert!(share(&faulty(1, 300, Fault::ColdStartStorm)) > 50);
}

#[test]
fn a_slow_dependency_and_a_backlog_show_in_durations_and_waits() {
    let played = play(&faulty(1, 300, Fault::SlowDependency));
    let mut payments: Vec<f64> = played
        .truth
        .iter()
        .flat_map(|request| &request.hops)
        .filter(|hop| hop.function == "payment")
        .map(|hop| hop.duration_ms)
        .collect();
    payments.sort_by(f64::total_cmp);
    assert!(payments[payments.len() / 2] > 500.0, "{payments:?}");

    let longest_wait = |config: &SimulationConfig| {
        let truth = play(config).truth;
        let waits =
            truth.iter().flat_map(|request| &request.hops).filter_map(|hop| hop.queue_wait_ms);
        waits.fold(0.0, f64::max)
    };
    let (calm, backlog) = (config(1, 300), faulty(1, 300, Fault::QueueBacklog));
    assert!(longest_wait(&calm) < 3_000.0, "{}", longest_wait(&calm));
    assert!(longest_wait(&backlog) > 10_000.0, "{}", longest_wait(&backlog));
}

#[test]
fn truth_and_payloads_tell_of_the_same_invocations() {
    for fault in Fault::ALL {
        for style in StyleChoice::ALL {
            let played = play(&SimulationConfig { style, ..faulty(5, 60, fault) });
            let told = Told::of(&played.emissions);
            let timed_out = |outcome| outcome == Outcome::Timeout;
            let hops = || played.truth.iter().flat_map(|request| &request.hops);
            let expected: BTreeSet<(String, String)> = hops()
                .filter(|hop| !timed_out(hop.outcome))
                .map(|hop| (hop.function.to_owned(), hop.invocation_id.clone()))
                .collect();
            let stopped: BTreeSet<(String, String)> = hops()
                .filter(|hop| timed_out(hop.outcome))
                .map(|hop| (hop.function.to_owned(), hop.invocation_id.clone()))
                .collect();
            let told_well: BTreeSet<_> = told.invocations.difference(&stopped).cloned().collect();
            assert_eq!(told_well, expected, "{fault} {}", style.as_str());
            for function in told.functions {
                assert!(Function::ALL.iter().any(|known| known.as_str() == function));
            }
        }
    }
}

#[test]
fn styles_cover_all_functions() {
    let faults = [Fault::PoisonMessage, Fault::Timeouts, Fault::HumanStep];
    for style in StyleChoice::ALL {
        let windows = faults.map(|fault| FaultWindow { fault, from: start(), to: Timestamp::MAX });
        let played = play(&SimulationConfig { style, faults: windows.to_vec(), ..config(1, 200) });
        let told = Told::of(&played.emissions);
        let missing: Vec<_> = Function::ALL
            .iter()
            .filter(|function| !told.functions.contains(function.as_str()))
            .collect();
        assert!(missing.is_empty(), "{} leaves out {missing:?}", style.as_str());
    }
}

#[test]
fn each_platform_speaks_its_own_words() {
    let kinds = |style| {
        let style = StyleChoice::All(style);
        let told = Told::of(&play(&SimulationConfig { style, ..config(1, 50) }).emissions);
        told.by_kind.into_keys().collect::<Vec<_>>().join(", ")
    };
    expect![[r#"
        otlp: platform.initReport, platform.initStart, platform.report, platform.runtimeDone, platform.start, span
        json-logs: json record
        telemetry-api: json record, platform.initReport, platform.initStart, platform.report, platform.runtimeDone, platform.start
        cloudwatch: END, INIT_START, REPORT, START, json record
    "#]].assert_eq(&format!(
        "otlp: {}\njson-logs: {}\ntelemetry-api: {}\ncloudwatch: {}\n",
        kinds(Style::Otlp),
        kinds(Style::JsonLogs),
        kinds(Style::TelemetryApi),
        kinds(Style::CloudWatch)
    ));
}

#[test]
fn cloudwatch_counts_what_happened() {
    let played = play(&faulty(1, 400, Fault::ThrottleBurst));
    let told = Told::of(&played.emissions);
    let hops = || played.truth.iter().flat_map(|request| &request.hops);
    for function in ["checkout", "payment", "catalog"] {
        let n_hops = hops().filter(|hop| hop.function == function).count();
        let counted = told.sum("Invocations", function);
        assert!((counted - crate::number::f64_from_usize(n_hops)).abs() < 0.5, "{function}");
    }
    assert!(told.sum("Throttles", "payment") > 50.0);
    assert!(told.sum("Throttles", "catalog") < 0.5);
}

#[test]
fn shuffling_repeating_and_delaying_keep_the_set_of_payloads() {
    let calm = play(&faulty(1, 150, Fault::RetryStorm));
    let mut wild_config = faulty(1, 150, Fault::RetryStorm);
    wild_config.delivery.shuffle = Shuffle::Shuffled;
    wild_config.delivery.repeats = 2;
    wild_config.delivery.delay_max = Duration::from_secs(20);
    let wild = play(&wild_config);
    assert_eq!(wild.truth, calm.truth);
    let mut counts: BTreeMap<(u64, &[u8]), usize> = BTreeMap::new();
    for emission in &wild.emissions {
        *counts.entry((emission.number, &emission.body)).or_default() += 1;
    }
    let bodies: BTreeMap<(u64, &[u8]), usize> =
        calm.emissions.iter().map(|emission| ((emission.number, &*emission.body), 3)).collect();
    assert_eq!(counts, bodies);
    let order = |played: &Played| -> Vec<u64> {
        let mut seen = BTreeSet::new();
        let numbers = played.emissions.iter().map(|emission| emission.number);
        numbers.filter(|number| seen.insert(*number)).collect()
    };
    assert_ne!(order(&wild), order(&calm), "payloads overtake each other");
}

#[test]
fn costs_of_shared_invocations_add_up() {
    let played = play(&config(1, 300));
    let hops = || played.truth.iter().flat_map(|request| &request.hops);
    assert!(hops().any(|hop| hop.shared && hop.function == "fulfil"), "batches are shared");
    let mut whole: BTreeMap<&str, f64> = BTreeMap::new();
    let mut shares: BTreeMap<&str, f64> = BTreeMap::new();
    for hop in hops().filter(|hop| hop.shared) {
        let function =
            Function::ALL.into_iter().find(|known| known.as_str() == hop.function).unwrap();
        let billed = Duration::from_millis(hop.billed_ms);
        whole.insert(&hop.invocation_id, function.cost_usd(billed));
        *shares.entry(&hop.invocation_id).or_default() += hop.cost_usd;
    }
    for (id, cost) in whole {
        assert!((shares[id] - cost).abs() < 1e-12, "{id}");
    }
}

#[test]
fn an_instance_runs_one_invocation_at_a_time() {
    let played = play(&faulty(2, 300, Fault::SlowDependency));
    let mut spans: BTreeMap<(String, String), Vec<(u64, u64)>> = BTreeMap::new();
    for emission in played.emissions.iter().filter(|emission| emission.path == "/v1/traces") {
        for of_instance in
            ExportTraceServiceRequest::decode(&*plain(emission)).unwrap().resource_spans
        {
            let resource = format!("{:?}", of_instance.resource);
            for span in of_instance.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                if span.attributes.iter().any(|one| one.key == "faas.invocation_id") {
                    let times = (span.start_time_unix_nano, span.end_time_unix_nano);
                    spans.entry((resource.clone(), String::new())).or_default().push(times);
                }
            }
        }
    }
    for times in spans.values_mut() {
        times.sort_unstable();
        for pair in times.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{pair:?}");
        }
    }
    assert!(spans.len() > 5);
}
