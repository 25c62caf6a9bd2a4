//! The engine and its series against the naive oracle, on many small workloads with faults at random.
//!
//! `THROUGHLINE_SEEDS` says how many seeds; a seed that failed once joins [`REGRESSIONS`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use throughline::correlate::request::{Part, millis};
use throughline::correlate::{self, Outcome, Request};
use throughline::signal::Timestamp;
use throughline::simulate::config::Delivery;
use throughline::simulate::{
    Emission, Fault, FaultWindow, Shuffle, Simulation, SimulationConfig, StyleChoice,
};

use crate::measured;
use crate::reading::{self, Known};
use crate::seeds::check_all;

/// Seeds of an ordinary run.
const SEEDS: u64 = 200;
/// Seeds that once failed.
const REGRESSIONS: [u64; 1] = [1408];
/// Requests of one workload.
const REQUESTS: u64 = 14;
/// Slots that are compared, in milliseconds.
const SLOT_MS: i64 = 10_000;
/// Inits that CloudWatch stamps to the millisecond may be that much apart, along a path.
const INITS_APART: Duration = Duration::from_millis(5);
/// Femto-dollars that a share may miss: what does not divide goes to one of them.
const ROUNDED_OFF: f64 = 100.0;
const FEMTO: f64 = 1e15;

/// A number below `n` that the seed and a purpose give (splitmix64).
pub(crate) fn dice(seed: u64, purpose: u64, n: u64) -> u64 {
    let mut mixed =
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % n
}

/// Up to three faults, any style, any order of arrival.
pub(crate) fn workload(seed: u64) -> SimulationConfig {
    let pick = |purpose, n: usize| {
        let n = u64::try_from(n).expect("small");
        usize::try_from(dice(seed, purpose, n)).expect("small")
    };
    let start = crate::start();
    let faults = (0..dice(seed, 1, 4)).map(|n| FaultWindow {
        fault: Fault::ALL[pick(10 + n, Fault::ALL.len())],
        from: start,
        to: start.saturating_add(Duration::from_mins(30)),
    });
    let shuffle = if dice(seed, 2, 2) == 0 { Shuffle::InOrder } else { Shuffle::Shuffled };
    SimulationConfig {
        style: StyleChoice::ALL[pick(3, StyleChoice::ALL.len())],
        faults: faults.collect(),
        branches: 7,
        delivery: Delivery {
            delay_max: Duration::from_secs(dice(seed, 4, 300)),
            shuffle,
            repeats: u32::try_from(dice(seed, 5, 2)).expect("small"),
        },
        ..SimulationConfig::new(seed, start, REQUESTS)
    }
}

/// A request, as far as the oracle tells.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) entry: String,
    /// The entry of the request of which it is a later part.
    pub(crate) continues: Option<String>,
    pub(crate) is_good: bool,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// Sorted by their lines.
    pub(crate) hops: Vec<Hop>,
    /// How long its critical path lay in queues, and waited to be tried again. Where several hops ended
    /// last, one of these.
    pub(crate) waits: Vec<(Duration, Duration)>,
}

/// An invocation in a request.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    /// All of it but money.
    pub(crate) line: String,
    /// The invocation, whatever the request.
    pub(crate) name: String,
    /// In femto-dollars: this request's share, and what the oracle knows of the whole.
    pub(crate) share: Option<f64>,
    pub(crate) whole: Option<f64>,
}

fn name(hop: &correlate::Hop) -> String {
    format!("{} {} {}", hop.function, hop.invocation_id.as_deref().unwrap_or("?"), hop.start)
}

fn known_hop(hop: &correlate::Hop, names: &BTreeMap<&str, String>) -> Hop {
    let name = name(hop);
    let causes: BTreeSet<&str> = hop.causes.iter().map(|id| &*names[&**id]).collect();
    let (went_well, end) = (hop.outcome == Outcome::Ok, hop.end.unwrap_or(hop.start));
    let ids: Vec<&str> = hop.message_ids.iter().map(|id| &**id).collect();
    let told = (hop.attempt, went_well, ids, hop.queue_wait);
    let proof = hop.evidence.map(|evidence| format!("{evidence:?}"));
    let line = format!("{name}..{end} {told:?} after {causes:?} by {proof:?}");
    Hop { line, name, share: hop.cost_usd.map(|usd| (usd * FEMTO).round()), whole: None }
}

/// What the engine says. `entries` are those of all requests.
fn known(request: &Request, entries: &BTreeMap<&str, &str>) -> Option<Found> {
    let entry = request.hops.iter().find(|hop| hop.causes.is_empty())?;
    let names = request.hops.iter().map(|hop| (&*hop.id, name(hop))).collect();
    let mut hops: Vec<Hop> = request.hops.iter().map(|hop| known_hop(hop, &names)).collect();
    hops.sort_by(|a, b| a.line.cmp(&b.line));
    let of = |part| {
        let parts = request.critical_path.iter().filter(|own| own.part == part);
        parts.map(|own| own.duration).sum::<Duration>()
    };
    let continued = request.continues.as_deref();
    Some(Found {
        entry: entry.invocation_id.as_deref().unwrap_or("?").to_owned(),
        continues: continued.map(|id| (*entries.get(id).unwrap_or(&"somebody")).to_owned()),
        is_good: request.outcome == Outcome::Ok,
        start: request.start,
        end: request.end,
        hops,
        waits: vec![(of(Part::QueueWait), of(Part::RetryWait))],
    })
}

/// All that the engine says.
pub(crate) fn told(daemon: &Known) -> Vec<Found> {
    let entries = daemon.requests.values().filter_map(|request| {
        let entry = request.hops.iter().find(|hop| hop.causes.is_empty())?;
        Some((&*request.id, entry.invocation_id.as_deref()?))
    });
    let entries = entries.collect();
    daemon.requests.values().filter_map(|request| known(request, &entries)).collect()
}

pub(crate) fn text(found: &Found) -> String {
    let Found { entry, continues, is_good, start, end, hops, waits: _ } = found;
    // CloudWatch stamps the begin of an init to the millisecond.
    let start = start.as_millis();
    let lines = hops.iter().map(|hop| format!("  {}\n", hop.line)).collect::<String>();
    format!("{entry} continues {continues:?} good: {is_good} {start}..{end}\n{lines}")
}

/// What the text of both does not hold: waits, and shares of the cost.
pub(crate) fn differ(expected: &Found, told: &Found) -> Option<String> {
    let near = |a: Duration, b: Duration| a.abs_diff(b) < INITS_APART;
    let ours = told.waits.first()?;
    if !expected.waits.iter().any(|one| near(one.0, ours.0) && near(one.1, ours.1)) {
        return Some(format!(
            "waits of {}: {:?}, not {:?}",
            told.entry, told.waits, expected.waits
        ));
    }
    let pairs = expected.hops.iter().zip(&told.hops);
    let mut shares = pairs.map(|(one, other)| (&one.line, one.share, other.share));
    let is_like = |one: Option<f64>, other: Option<f64>| match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= ROUNDED_OFF,
        (one, other) => one.is_none() && other.is_none(),
    };
    let wrong = shares.find(|(_, one, other)| !is_like(*one, *other))?;
    Some(format!("share of {}: {:?} fUSD, not {:?}", wrong.0, wrong.2, wrong.1))
}

/// Invocations whose shares do not add up to what the oracle says that they cost, to the last part.
fn badly_split(expected: &[Found], told: &[Found]) -> Option<String> {
    let mut shares: BTreeMap<&str, f64> = BTreeMap::new();
    for hop in told.iter().flat_map(|found| &found.hops) {
        *shares.entry(&hop.name).or_default() += hop.share.unwrap_or_default();
    }
    let hops = expected.iter().flat_map(|found| &found.hops);
    let mut wrong = hops.filter_map(|hop| {
        let (whole, sum) = (hop.whole?, shares.get(&*hop.name)?);
        ((whole - sum).abs() >= 0.5).then(|| format!("{} cost {whole}, split is {sum}", hop.name))
    });
    wrong.next()
}

/// Requests that ended, how many seconds they took, how many dollars they cost: by whether they ended
/// well and by ten seconds of event time, the width of a slot that is older than twenty minutes.
type Sums = BTreeMap<(bool, i64), Sum>;

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    n: f64,
    seconds: f64,
    usd: f64,
}

impl Sum {
    /// Inits count to the millisecond; the store adds up whole parts of money.
    fn is_like(&self, other: &Self) -> bool {
        (self.n - other.n).abs() < 1e-9
            && (self.seconds - other.seconds).abs() <= 0.001 * self.n + 1e-9
            && (self.usd - other.usd).abs() <= 1e-11 * self.n
    }
}

/// Of the oracle's requests.
fn sums(requests: &[Found]) -> Sums {
    let mut sums = Sums::new();
    for one in requests {
        let slot = one.end.as_millis().div_euclid(SLOT_MS);
        let sum = sums.entry((one.is_good, slot)).or_default();
        sum.n += 1.0;
        sum.seconds += millis(one.end.since(one.start)) / 1000.0;
        sum.usd += one.hops.iter().filter_map(|hop| hop.share).sum::<f64>() / FEMTO;
    }
    sums
}

/// The same of the series, as a query reads them.
fn series_sums(known: &Known) -> Sums {
    let mut sums = Sums::new();
    for series in reading::read_back(&known.series, "throughline_request.*_(total|sum)") {
        let is_good = series.labels.get("outcome") == Some("ok");
        let mut before = 0.0;
        for (t, value) in reading::floats(&series) {
            let more = value - std::mem::replace(&mut before, value);
            if more == 0.0 {
                continue;
            }
            let sum = sums.entry((is_good, t.div_euclid(SLOT_MS))).or_default();
            match series.labels.name() {
                "throughline_requests_total" => sum.n += more,
                "throughline_request_duration_seconds_sum" => sum.seconds += more,
                "throughline_request_cost_usd_total" => sum.usd += more,
                _ => {}
            }
        }
    }
    sums.retain(|_, sum| sum.n + sum.seconds + sum.usd > 0.0);
    sums
}

/// How the engine or the series differ from the oracle.
fn check(seed: u64) -> Result<(), String> {
    let config = workload(seed);
    let emissions: Vec<Emission> = Simulation::new(&config).collect();
    let batches: Vec<_> = emissions.iter().map(reading::read).collect();
    let mut expected = measured::requests(&batches);
    let daemon = reading::reconstruct(&emissions);
    let mut told = told(&daemon);
    expected.sort_by(|a, b| a.entry.cmp(&b.entry));
    told.sort_by(|a, b| a.entry.cmp(&b.entry));
    let faults: Vec<&str> = config.faults.iter().map(|window| window.fault.as_str()).collect();
    let about = format!("seed {seed}, {} {faults:?} {:?}", config.style.as_str(), config.delivery);
    let mut pairs = expected.iter().map(text).zip(told.iter().map(text));
    if let Some((one, other)) = pairs.find(|(one, other)| one != other) {
        return Err(format!("{about}: the oracle says\n{one}the engine says\n{other}"));
    }
    if expected.len() != told.len() {
        return Err(format!("{about}: {} requests, not {}", told.len(), expected.len()));
    }
    let differ = expected.iter().zip(&told).find_map(|(one, other)| differ(one, other));
    if let Some(differ) = differ.or_else(|| badly_split(&expected, &told)) {
        return Err(format!("{about}: {differ}"));
    }
    let (expected, told) = (sums(&expected), series_sums(&daemon));
    let is_like = expected.len() == told.len()
        && expected.iter().zip(&told).all(|((a, one), (b, other))| a == b && one.is_like(other));
    if is_like {
        Ok(())
    } else {
        Err(format!("{about}: sums of the oracle {expected:?}, of the series {told:?}"))
    }
}

#[test]
fn the_engine_agrees_with_the_oracle() {
    check_all(check, SEEDS, &REGRESSIONS);
}
