//! The simulator's truth against the whole reading side: every payload is read by its dialect, the
//! engine puts requests together, and they must be the ones that were staged.

mod accounts;
mod against_oracle;
mod asleep;
mod batches;
mod borders;
mod fanned;
mod laws;
mod measured;
mod oracle;
mod mixed;
mod reading;
mod said;
mod seeds;
mod stories;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use throughline::correlate::request::millis;
use throughline::correlate::{Hop, Outcome, Request};
use throughline::signal::Timestamp;
use throughline::simulate::truth::{ExpectedHop, ExpectedRequest, Unknown};
use throughline::simulate::{
    Emission, Fault, FaultWindow, Shuffle, Simulation, SimulationConfig, StyleChoice,
};

/// Requests of one workload; enough for several batches, retries and dead letters.
const REQUESTS: u64 = 70;
/// Differences of one workload that are shown.
const SHOWN_MAX: usize = 12;

fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").expect("a time")
}

/// What nothing tells of each invocation.
type Unknowns<'a> = BTreeMap<&'a str, &'a [Unknown]>;

fn is_known(unknown: &[Unknown], what: Unknown) -> bool {
    !unknown.contains(&what)
}

/// A time as exactly as it is told.
fn time(time: Timestamp, unknown: &[Unknown]) -> String {
    if is_known(unknown, Unknown::Microseconds) {
        time.to_string()
    } else {
        format!("{} ms", time.as_millis())
    }
}

/// A hop as both sides must tell it: what nothing tells must be null.
fn expected_hop(hop: &ExpectedHop) -> String {
    let unknown = &hop.unknown;
    let init = hop.init_ms.filter(|_| is_known(unknown, Unknown::InitMs));
    let billed = Some(hop.billed_ms).filter(|_| is_known(unknown, Unknown::BilledMs));
    format!(
        "{} {} #{} {} after {:?} by {:?} ({:?}) {:?} {} {} wait {:?} cold {} init {init:?} billed {billed:?}",
        hop.function,
        hop.invocation_id,
        hop.attempt,
        hop.outcome.as_str(),
        hop.cause.iter().collect::<Vec<_>>(),
        hop.evidence,
        hop.shared,
        hop.message_ids,
        time(hop.start, unknown),
        time(hop.end, unknown),
        hop.queue_wait_ms,
        hop.cold_start,
    )
}

fn known_hop(hop: &Hop, request: &Request, unknowns: &Unknowns<'_>) -> String {
    let name = hop.invocation_id.as_deref().unwrap_or("?");
    let unknown = unknowns.get(name).copied().unwrap_or_default();
    // A step that is tried again also follows its first try.
    let is_own_try = |cause: &&Hop| hop.causes.len() > 1 && cause.function == hop.function;
    let causes: Vec<&str> = request
        .hops
        .iter()
        .filter(|cause| hop.causes.contains(&cause.id) && !is_own_try(cause))
        .filter_map(|cause| cause.invocation_id.as_deref())
        .collect();
    let end = hop.end.map_or("?".to_owned(), |end| time(end, unknown));
    let billed = hop.billed.map(|billed| billed.as_millis());
    format!(
        "{} {name} #{} {} after {causes:?} by {:?} ({:?}) {:?} {} {end} wait {:?} cold {} init {:?} billed {billed:?}",
        hop.function,
        hop.attempt,
        hop.outcome.as_str(),
        hop.evidence,
        hop.shared,
        hop.message_ids,
        time(hop.start, unknown),
        hop.queue_wait.map(millis),
        hop.cold_start.unwrap_or_default(),
        hop.init.map(millis),
    )
}

/// A request as the telemetry tells it. Asynchronous retries keep their request id, and records mark no
/// starts: attempts that only these tell of look like one that failed if any did.
fn as_told(expected: &ExpectedRequest) -> ExpectedRequest {
    let mut told = ExpectedRequest { hops: Vec::new(), ..expected.clone() };
    for hop in &expected.hops {
        let is_one = |other: &&mut ExpectedHop| {
            let is_same =
                (other.function, &other.invocation_id) == (hop.function, &hop.invocation_id);
            is_same && !is_known(&hop.unknown, Unknown::Attempt)
        };
        let Some(one) = told.hops.iter_mut().find(is_one) else {
            told.hops.push(hop.clone());
            continue;
        };
        one.end = one.end.max(hop.end);
        one.outcome = one.outcome.max(hop.outcome);
        one.cold_start |= hop.cold_start;
        told.outcome = told.outcome.max(one.outcome);
    }
    told
}

/// How one request differs from its truth; empty where it does not.
fn differences(expected: &ExpectedRequest, known: &Request) -> Vec<String> {
    let expected = &as_told(expected);
    let unknowns: Unknowns<'_> =
        expected.hops.iter().map(|hop| (&*hop.invocation_id, &*hop.unknown)).collect();
    let mut differences = Vec::new();
    let mut differ = |what: &str, truth: String, told: String| {
        if truth != told {
            differences.push(format!("{what}: {truth}\n  was told as {told}"));
        }
    };
    differ("flow", expected.flow.to_owned(), known.flow.to_string());
    differ("outcome", expected.outcome.as_str().into(), known.outcome.as_str().into());
    let sorted = |mut hops: Vec<String>| {
        hops.sort();
        hops.join("\n    ")
    };
    let hops = expected.hops.iter().map(expected_hop).collect();
    let told = known.hops.iter().map(|hop| known_hop(hop, known, &unknowns)).collect();
    differ("hops", sorted(hops), sorted(told));
    let is_told = |what| expected.hops.iter().all(|hop| is_known(&hop.unknown, what));
    if is_told(Unknown::InitMs) {
        // CloudWatch stamps the begin of an init to the millisecond.
        let millisecond = |t: Timestamp| t.as_millis().to_string();
        differ("start", millisecond(expected.start), millisecond(known.start));
        let response = known.response.map(millis).unwrap_or_default();
        if (response - expected.response_ms).abs() > 1.0 {
            differ("response", expected.response_ms.to_string(), response.to_string());
        }
    }
    if is_told(Unknown::Microseconds) {
        differ("end", expected.end.to_string(), known.end.to_string());
    }
    if is_told(Unknown::CostUsd) {
        let cost = |usd: f64| format!("{usd:.9}");
        differ("cost", cost(expected.cost_usd), known.cost_usd.map_or("?".into(), cost));
    }
    let path: Duration = known.critical_path.iter().map(|part| part.duration).sum();
    differ("critical path", format!("{:?}", known.duration), format!("{path:?}"));
    differences
}

fn check(config: &SimulationConfig) {
    let mut simulation = Simulation::new(config);
    let emissions: Vec<Emission> = simulation.by_ref().collect();
    let truth = simulation.take_truth();
    let known = reading::reconstruct(&emissions).requests;
    let by_entry: BTreeMap<&str, &Request> = known
        .values()
        .filter_map(|request| {
            let entry = request.hops.iter().find(|hop| hop.causes.is_empty())?;
            Some((&**entry.invocation_id.as_ref()?, request))
        })
        .collect();
    let mut wrong = Vec::new();
    for expected in &truth {
        match by_entry.get(&*expected.entry) {
            None => wrong.push(format!("{} {} is not known", expected.flow, expected.entry)),
            Some(known) => wrong.extend(
                differences(expected, known)
                    .into_iter()
                    .map(|d| format!("{}: {d}", expected.entry)),
            ),
        }
        let first = expected.continues.as_ref().and_then(|entry| by_entry.get(&**entry));
        let told = by_entry.get(&*expected.entry).and_then(|known| known.continues.as_ref());
        if first.map(|request| &request.id) != told {
            wrong.push(format!("{} continues {told:?}", expected.entry));
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
    let n_begun = truth.iter().filter(|request| request.continues.is_none()).count();
    assert_eq!(Some(n_begun), config.load.requests.and_then(|n| usize::try_from(n).ok()));
}

fn workload(style: StyleChoice, faults: &[Fault]) -> SimulationConfig {
    let window = |&fault| FaultWindow { fault, from: start(), to: Timestamp::MAX };
    let faults = faults.iter().map(window).collect();
    SimulationConfig { style, faults, branches: 12, ..SimulationConfig::new(1, start(), REQUESTS) }
}

#[test]
fn a_clean_workload_is_known_exactly_in_every_style() {
    for style in StyleChoice::ALL {
        check(&workload(style, &[]));
    }
}

fn check_in_every_style(faults: &[Fault]) {
    for style in StyleChoice::ALL {
        check(&workload(style, faults));
    }
}

/// One test a fault, so that they run side by side.
macro_rules! known_exactly {
    ($($name:ident: $($fault:ident)+;)*) => {
        $(#[test]
        fn $name() {
            check_in_every_style(&[$(Fault::$fault),+]);
        })*

        #[test]
        fn every_fault_has_a_test() {
            let tested: BTreeSet<Fault> = [$($(Fault::$fault),+),*].into();
            assert_eq!(tested, Fault::ALL.into());
        }
    };
}

known_exactly! {
    throttles_are_known_exactly: ThrottleBurst;
    poison_messages_are_known_exactly: PoisonMessage;
    cold_starts_are_known_exactly: ColdStartStorm;
    losses_are_known_exactly: LostMessage;
    timeouts_are_known_exactly: Timeouts;
    retries_are_known_exactly: RetryStorm;
    slow_dependencies_are_known_exactly: SlowDependency;
    backlogs_are_known_exactly: QueueBacklog;
    duplicates_are_known_exactly: DuplicateDelivery;
    fan_outs_are_known_exactly: WideFanOut;
    fan_ins_are_known_exactly: FanIn;
    redriven_messages_are_known_exactly: PoisonMessage Redrive;
    steps_that_wait_for_people_are_known_exactly: HumanStep;
    messages_to_strangers_are_known_exactly: ForeignConsumer;
    messages_of_strangers_are_known_exactly: ForeignProducer;
    messages_of_strangers_that_come_twice_are_known_exactly: ForeignProducer DuplicateDelivery;
    a_trace_of_everybody_joins_nobody: SharedTrace;
    wrong_clocks_are_known_exactly: ClockSkew;
    late_reports_are_known_exactly: LateReports;
    lost_reports_are_known_exactly: LostReports;
    functions_without_reports_are_known_exactly: FilteredReports;
}

#[test]
fn arrival_in_any_order_and_several_times_changes_nothing() {
    let mut config = workload(StyleChoice::Mixed, &[Fault::PoisonMessage, Fault::FanIn]);
    config.delivery.delay_max = Duration::from_mins(11);
    config.delivery.shuffle = Shuffle::Shuffled;
    config.delivery.repeats = 1;
    check(&config);
}

#[test]
fn a_fan_out_of_hundreds_of_branches_is_one_request() {
    let mut config = workload(StyleChoice::Mixed, &[Fault::WideFanOut]);
    config.load.requests = Some(12);
    config.branches = 600;
    let mut simulation = Simulation::new(&config);
    simulation.by_ref().for_each(drop);
    assert!(simulation.take_truth().iter().any(|request| request.hops.len() > 600));
    check(&config);
}

#[test]
fn lost_messages_are_named() {
    let config = workload(StyleChoice::Mixed, &[Fault::LostMessage]);
    let mut simulation = Simulation::new(&config);
    let emissions: Vec<Emission> = simulation.by_ref().collect();
    let lost: Vec<String> =
        simulation.take_truth().into_iter().flat_map(|request| request.lost_message_ids).collect();
    let known = reading::reconstruct(&emissions).requests;
    let incomplete = || known.values().filter(|request| request.outcome == Outcome::Incomplete);
    let named: Vec<&str> =
        incomplete().flat_map(|request| &request.missing).map(|one| &*one.expected).collect();
    assert!(!lost.is_empty());
    for id in lost {
        assert!(named.iter().any(|expected| expected.contains(&id)), "{id} in {named:?}");
    }
}

/// What is compared with the engine must not be the engine: short enough to be read, and its own.
#[test]
fn the_oracle_is_short_and_shares_no_code() {
    for page in [include_str!("oracle.rs"), include_str!("measured.rs"), include_str!("said.rs")] {
        assert!(page.lines().count() <= 300, "{} lines", page.lines().count());
        for module in ["correlate::", "measure::", "series::"] {
            assert!(!page.contains(&format!("throughline::{module}")), "{module}");
        }
    }
}
