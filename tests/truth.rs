//! The simulator's truth against the whole reading side: every payload is read by its dialect, the
//! engine puts requests together, and they must be the ones that were staged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::time::Duration;

use throughline::correlate::request::millis;
use throughline::correlate::{Change, Config, Engine, Hop, Outcome, Request};
use throughline::normalize::otlp::{Body, Encoding, OtlpSignal};
use throughline::normalize::{
    self, Normalized, Origin, firehose, json_log, lambda_telemetry, otlp,
};
use throughline::signal::{Batch, Fnv128, Receiver, Timestamp};
use throughline::simulate::config::Style;
use throughline::simulate::truth::{ExpectedHop, ExpectedRequest};
use throughline::simulate::{
    Emission, Fault, FaultWindow, Shuffle, Simulation, SimulationConfig, StyleChoice, scenario,
};

/// Requests of one workload; enough for several batches, retries and dead letters.
const REQUESTS: u64 = 70;
/// Differences of one workload that are shown.
const SHOWN_MAX: usize = 12;

fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").expect("a time")
}

fn header<'a>(emission: &'a Emission, name: &str) -> Option<&'a str> {
    emission.headers.iter().find(|header| header.name == name).map(|header| &*header.value)
}

/// Reads a payload as the ingest port does; nothing in it may be rejected.
fn read(emission: &Emission) -> Batch {
    let mut body = emission.body.clone();
    if header(emission, "content-encoding").is_some() {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).expect("gzip");
        body = plain;
    }
    let config = normalize::Config::default();
    let origin = Origin {
        arrived: emission.at,
        function: header(emission, "lambda-function-name").map(str::to_owned),
        attributes: Vec::new(),
    };
    let (receiver, normalized) = match emission.path {
        "/v1/traces" => {
            let (signal, encoding) = (OtlpSignal::Traces, Encoding::Protobuf);
            let body = Body { bytes: &body, signal, encoding, receiver: Receiver::OtlpHttp };
            (Receiver::OtlpHttp, otlp::normalize(&body, &origin, &config).expect("readable"))
        }
        "/ingest/json" => {
            (Receiver::Json, json_log::normalize(&body, &origin, &config).expect("readable"))
        }
        "/ingest/aws/telemetry" => (
            Receiver::Telemetry,
            lambda_telemetry::normalize(&body, &origin, &config).expect("readable"),
        ),
        "/ingest/aws/firehose" => {
            let delivery =
                firehose::normalize(&body, &origin, &config, 64 << 20).expect("readable");
            (Receiver::Firehose, delivery.normalized)
        }
        other => panic!("no receiver at {other}"),
    };
    let Normalized { mut batch, rejections } = normalized;
    assert!(rejections.is_empty(), "{} {rejections:?}", emission.path);
    assert_eq!(batch.receiver, receiver);
    let declared = header(emission, "idempotency-key")
        .or_else(|| header(emission, "x-amz-firehose-request-id"));
    batch.declared_id = declared.map(|id| Fnv128::default().field(id.as_bytes()).finish());
    batch.body_hash = Fnv128::default().field(&body).finish();
    batch
}

/// What the daemon knows at the end: the last that was said of each request.
fn reconstruct(emissions: &[Emission]) -> BTreeMap<String, Request> {
    let mut engine = Engine::new(Config {
        queues: scenario::queues(),
        functions: scenario::functions(),
        ..Config::default()
    });
    let mut requests = BTreeMap::new();
    let mut now = start();
    let mut tick = |engine: &mut Engine, now: Timestamp| {
        for change in engine.tick(now) {
            match change {
                Change::Request(request) => {
                    requests.insert(request.id.to_string(), *request);
                }
                Change::RequestGone(id) => {
                    requests.remove(&*id);
                }
                _ => {}
            }
        }
    };
    for emission in emissions {
        while now.saturating_add(Duration::from_secs(1)) <= emission.at {
            now = now.saturating_add(Duration::from_secs(1));
            tick(&mut engine, now);
        }
        engine.apply(&read(emission), emission.at.max(now));
    }
    // Until what is missing has been given up.
    for _ in 0..420 {
        now = now.saturating_add(Duration::from_secs(1));
        tick(&mut engine, now);
    }
    requests
}

/// A hop as both sides must tell it.
fn expected_hop(hop: &ExpectedHop, precision: Precision) -> String {
    let mut text = format!(
        "{} {} #{} {} by {:?} ({:?}) {:?}",
        hop.function,
        hop.invocation_id,
        hop.attempt,
        hop.outcome.as_str(),
        hop.evidence,
        hop.shared,
        hop.message_ids,
    );
    if precision == Precision::Exact {
        let wait = hop.queue_wait_ms.filter(|_| hop.queue.is_some());
        let _ = write!(text, " {} {} wait {wait:?}", hop.start, hop.end);
        let _ = write!(text, " init {:?} billed {}", hop.init_ms, hop.billed_ms);
    }
    text
}

fn known_hop(hop: &Hop, precision: Precision) -> String {
    let mut text = format!(
        "{} {} #{} {} by {:?} ({:?}) {:?}",
        hop.function,
        hop.invocation_id.as_deref().unwrap_or("?"),
        hop.attempt,
        hop.outcome.as_str(),
        hop.evidence,
        hop.shared,
        hop.message_ids,
    );
    if precision == Precision::Exact {
        let end = hop.end.map_or("?".to_owned(), |end| end.to_string());
        let _ = write!(text, " {} {end} wait {:?}", hop.start, hop.queue_wait.map(millis));
        let billed = hop.billed.map_or(0, |billed| billed.as_millis());
        let _ = write!(text, " init {:?} billed {billed}", hop.init.map(millis));
    }
    text
}

/// What of a request can be known. Records alone tell ends to the millisecond, and inits not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Precision {
    Exact,
    Records,
}

/// How one request differs from its truth; empty where it does not.
fn differences(expected: &ExpectedRequest, known: &Request, precision: Precision) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, truth: String, told: String| {
        if truth != told {
            differences.push(format!("{what}: {truth} was told as {told}"));
        }
    };
    differ("flow", expected.flow.to_owned(), known.flow.to_string());
    differ("outcome", expected.outcome.as_str().into(), known.outcome.as_str().into());
    let sorted = |mut hops: Vec<String>| {
        hops.sort();
        hops.join("\n    ")
    };
    let hops = expected.hops.iter().map(|hop| expected_hop(hop, precision)).collect();
    let told = known.hops.iter().map(|hop| known_hop(hop, precision)).collect();
    differ("hops", sorted(hops), sorted(told));
    if precision == Precision::Exact {
        // CloudWatch stamps the begin of an init to the millisecond.
        let millisecond = |t: Timestamp| t.as_millis().to_string();
        differ("start", millisecond(expected.start), millisecond(known.start));
        differ("end", expected.end.to_string(), known.end.to_string());
        let cost = |usd: f64| format!("{usd:.9}");
        differ("cost", cost(expected.cost_usd), known.cost_usd.map_or("?".into(), cost));
    }
    differences
}

fn check(config: &SimulationConfig) {
    let mut simulation = Simulation::new(config);
    let emissions: Vec<Emission> = simulation.by_ref().collect();
    let truth = simulation.take_truth();
    let known = reconstruct(&emissions);
    let by_entry: BTreeMap<&str, &Request> = known
        .values()
        .filter_map(|request| {
            let entry = request.hops.iter().find(|hop| hop.causes.is_empty())?;
            Some((&**entry.invocation_id.as_ref()?, request))
        })
        .collect();
    let is_records = config.style == StyleChoice::All(Style::JsonLogs);
    let precision = if is_records { Precision::Records } else { Precision::Exact };
    let mut wrong = Vec::new();
    for expected in &truth {
        match by_entry.get(&*expected.entry) {
            None => wrong.push(format!("{} {} is not known", expected.flow, expected.entry)),
            Some(known) => wrong.extend(
                differences(expected, known, precision)
                    .into_iter()
                    .map(|d| format!("{}: {d}", expected.entry)),
            ),
        }
    }
    let n_extra = known.len().saturating_sub(truth.len());
    let shown = wrong.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join("\n");
    let faults: Vec<_> = config.faults.iter().map(|window| window.fault.as_str()).collect();
    assert!(
        wrong.is_empty() && n_extra == 0,
        "seed {} {} {faults:?}: {} of {} requests, {} differences, {n_extra} requests that never were\n{shown}",
        config.seed,
        config.style.as_str(),
        known.len(),
        truth.len(),
        wrong.len(),
    );
    assert_eq!(truth.len(), usize::try_from(REQUESTS).expect("a small number"));
}

fn workload(style: StyleChoice, fault: Option<Fault>) -> SimulationConfig {
    let window = |fault| FaultWindow { fault, from: start(), to: Timestamp::MAX };
    let faults = fault.map(window).into_iter().collect();
    SimulationConfig { style, faults, ..SimulationConfig::new(1, start(), REQUESTS) }
}

#[test]
fn a_clean_workload_is_known_exactly_in_every_style() {
    for style in StyleChoice::ALL {
        check(&workload(style, None));
    }
}

/// Asynchronous retries keep their request id, and records mark no starts: without a word of the
/// platform, nothing tells a second attempt from a first that went on.
fn is_beyond_records(style: StyleChoice, fault: Fault) -> bool {
    style == StyleChoice::All(Style::JsonLogs) && fault == Fault::RetryStorm
}

#[test]
fn every_fault_is_known_exactly_in_every_style() {
    for fault in Fault::ALL {
        for style in StyleChoice::ALL {
            if !is_beyond_records(style, fault) {
                check(&workload(style, Some(fault)));
            }
        }
    }
}

#[test]
fn arrival_in_any_order_and_several_times_changes_nothing() {
    let mut config = workload(StyleChoice::Mixed, Some(Fault::PoisonMessage));
    config.delivery.shuffle = Shuffle::Shuffled;
    config.delivery.repeats = 1;
    check(&config);
}

#[test]
fn lost_messages_are_named() {
    let config = workload(StyleChoice::Mixed, Some(Fault::LostMessage));
    let mut simulation = Simulation::new(&config);
    let emissions: Vec<Emission> = simulation.by_ref().collect();
    let lost: Vec<String> =
        simulation.take_truth().into_iter().flat_map(|request| request.lost_message_ids).collect();
    let known = reconstruct(&emissions);
    let incomplete = || known.values().filter(|request| request.outcome == Outcome::Incomplete);
    let named: Vec<&str> =
        incomplete().flat_map(|request| &request.missing).map(|one| &*one.expected).collect();
    assert!(!lost.is_empty());
    for id in lost {
        assert!(named.iter().any(|expected| expected.contains(&id)), "{id} in {named:?}");
    }
}
