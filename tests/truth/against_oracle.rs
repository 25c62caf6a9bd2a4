//! The engine and its series against the naive oracle, on many small workloads with faults at random.
//!
//! `THROUGHLINE_SEEDS` says how many seeds; a seed that failed once joins [`REGRESSIONS`].

use std::collections::BTreeMap;
use std::time::Duration;

use throughline::correlate::request::millis;
use throughline::correlate::{Hop, Outcome, Request};
use throughline::series::export::ExportValue;
use throughline::signal::{METRIC_NAME, Timestamp};
use throughline::simulate::config::Delivery;
use throughline::simulate::{
    Emission, Fault, FaultWindow, Shuffle, Simulation, SimulationConfig, StyleChoice,
};

use crate::oracle;
use crate::reading::{self, Known};

/// Seeds of an ordinary run.
const SEEDS: u64 = 200;
/// Seeds that once failed.
const REGRESSIONS: [u64; 0] = [];
/// Requests of one workload.
const REQUESTS: u64 = 14;

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
    // Two hours of waiting would only cost time here.
    let all: Vec<Fault> = Fault::ALL.into_iter().filter(|f| *f != Fault::HumanStep).collect();
    let faults = (0..dice(seed, 1, 4)).map(|n| FaultWindow {
        fault: all[pick(10 + n, all.len())],
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

/// A request, as far as the oracle tells: its hops sorted, a line each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) entry: String,
    pub(crate) is_good: bool,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) hops: Vec<String>,
}

fn known(request: &Request) -> Option<Found> {
    let entry = request.hops.iter().find(|hop| hop.causes.is_empty())?;
    let line = |hop: &Hop| {
        let ids: Vec<&str> = hop.message_ids.iter().map(|id| &**id).collect();
        let id = hop.invocation_id.as_deref().unwrap_or("?");
        let (went_well, end) = (hop.outcome == Outcome::Ok, hop.end.unwrap_or(hop.start));
        format!("{} {id} {went_well} {ids:?} {}..{end}", hop.function, hop.start)
    };
    let mut hops: Vec<String> = request.hops.iter().map(line).collect();
    hops.sort();
    Some(Found {
        entry: entry.invocation_id.as_deref().unwrap_or("?").to_owned(),
        is_good: request.outcome == Outcome::Ok,
        start: request.start,
        end: request.end,
        hops,
    })
}

fn text(found: &Found) -> String {
    let Found { entry, is_good, start, end, hops } = found;
    // CloudWatch stamps the begin of an init to the millisecond.
    let (start, hops) = (start.as_millis(), hops.join("\n  "));
    format!("{entry} good: {is_good} {start}..{end}\n  {hops}\n")
}

/// How many requests ended well or not, how many seconds they took, how many dollars they cost.
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

/// By whether they ended well: of the oracle's requests; what they cost the engine tells alone.
fn sums(requests: &[Found], daemon: &Known) -> BTreeMap<bool, Sum> {
    let mut sums: BTreeMap<bool, Sum> = BTreeMap::new();
    for one in requests {
        let sum = sums.entry(one.is_good).or_default();
        sum.n += 1.0;
        sum.seconds += millis(one.end.since(one.start)) / 1000.0;
    }
    for one in daemon.requests.values() {
        let sum = sums.entry(one.outcome == Outcome::Ok).or_default();
        sum.usd += one.cost_usd.unwrap_or_default();
    }
    sums
}

/// The same of the series.
fn series_sums(known: &Known) -> BTreeMap<bool, Sum> {
    let mut sums: BTreeMap<bool, Sum> = BTreeMap::new();
    for series in known.series.export() {
        let of = |name: &str| series.labels.get(name).unwrap_or_default();
        let sum = sums.entry(of("outcome") == "ok").or_default();
        match (of(METRIC_NAME), &series.value) {
            ("throughline_requests_total", ExportValue::Counter(n)) => sum.n += n,
            ("throughline_request_duration_seconds", ExportValue::Histogram(h)) => {
                sum.seconds += h.native.sum;
            }
            ("throughline_request_cost_usd_total", ExportValue::Counter(usd)) => sum.usd += usd,
            _ => {}
        }
    }
    sums.retain(|_, sum| sum.n > 0.0);
    sums
}

/// How the engine or the series differ from the oracle.
fn check(seed: u64) -> Result<(), String> {
    let config = workload(seed);
    let emissions: Vec<Emission> = Simulation::new(&config).collect();
    let batches: Vec<_> = emissions.iter().map(reading::read).collect();
    let mut expected = oracle::requests(&batches);
    let daemon = reading::reconstruct(&emissions);
    let mut told: Vec<Found> = daemon.requests.values().filter_map(known).collect();
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
    let (expected, told) = (sums(&expected, &daemon), series_sums(&daemon));
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
    let told = std::env::var("THROUGHLINE_SEEDS").ok().and_then(|n| n.parse().ok());
    let seeds = (0..told.unwrap_or(SEEDS)).chain(REGRESSIONS);
    let wrong: Vec<String> = seeds.filter_map(|seed| check(seed).err()).collect();
    assert!(wrong.is_empty(), "{} seeds failed:\n{}", wrong.len(), wrong.join("\n"));
}
