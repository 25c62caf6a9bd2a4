//! Laws 1, 2 and 5 on simulated workloads: order, batching and repeats change nothing, and the books
//! balance.
//!
//! A seed gives the workload, the order, the batches and the repeats. `THROUGHLINE_SEEDS` says how many
//! seeds; one that failed once joins [`REGRESSIONS`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use throughline::series::export::ExportValue;
use throughline::signal::{Batch, Receiver, Resource, Signal, SignalKind, Timestamp};
use throughline::simulate::{Emission, Simulation};

use crate::against_oracle::{dice, workload};
use crate::reading::{self, Daemon, Known};
use crate::seeds::seeds;

/// Seeds of an ordinary run.
const SEEDS: u64 = 40;
/// Seeds that once failed.
const REGRESSIONS: [u64; 1] = [43];
/// What is older than twenty minutes lies in slots of ten seconds.
const SLOT_MS: i64 = 10_000;
/// Signals of one batch.
const BATCH_MAX: u64 = 12;

/// A signal and who speaks.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) resource: Resource,
    pub(crate) signal: Signal,
}

impl Told {
    /// Whether a second one is known to be a repeat.
    pub(crate) fn is_known(&self) -> bool {
        self.signal.identity.is_some() || matches!(self.signal.kind, SignalKind::Span(_))
    }
}

/// Everything that a workload tells of requests, once, in order of arrival. Metric points are gauges,
/// which the laws leave out.
pub(crate) fn told(seed: u64) -> Vec<Told> {
    let mut config = workload(seed);
    config.delivery.repeats = 0;
    let emissions: Vec<Emission> = Simulation::new(&config).collect();
    let batches = emissions.iter().map(reading::read);
    let signals = batches.flat_map(|batch| {
        let resources = batch.resources;
        batch.signals.into_iter().map(move |signal| {
            let place = usize::try_from(signal.resource).expect("small");
            Told { resource: resources[place].clone(), signal }
        })
    });
    signals.filter(|told| !matches!(told.signal.kind, SignalKind::Metric(_))).collect()
}

pub(crate) fn shuffled<T>(mut items: Vec<T>, seed: u64) -> Vec<T> {
    for last in (1..items.len()).rev() {
        let n = u64::try_from(last).expect("small");
        let other = dice(seed, 1_000 + n, n + 1);
        items.swap(last, usize::try_from(other).expect("small"));
    }
    items
}

pub(crate) fn batch(told: &[&Told], arrived: Timestamp) -> Batch {
    let mut batch = Batch::new(Receiver::OtlpHttp, arrived);
    for (place, one) in told.iter().enumerate() {
        batch.resources.push(one.resource.clone());
        let resource = u32::try_from(place).expect("small");
        batch.signals.push(Signal { resource, ..one.signal.clone() });
    }
    batch
}

/// Hears the signals in this order, so many at once, and a few batches a second.
fn hear(told: &[Told], seed: u64, n_repeats: usize) -> Known {
    let start = crate::start();
    let mut daemon = Daemon::new(start);
    // What people held up for hours is heard hours later.
    let soon = start.saturating_add(Duration::from_hours(1));
    let is_soon = |told: &&Told| told.signal.kind.event_time() < soon;
    let (first, later): (Vec<_>, Vec<_>) = told.iter().partition(is_soon);
    let mut n = 0;
    for era in [first, later].iter().filter(|era| !era.is_empty()) {
        let began = era.iter().map(|told| told.signal.kind.event_time()).min();
        while began.is_some_and(|began| began >= soon && daemon.now < began) {
            daemon.tick();
        }
        let mut left = era.as_slice();
        while !left.is_empty() {
            n += 1;
            let size = usize::try_from(1 + dice(seed, 5_000 + n, BATCH_MAX)).expect("small");
            let (now, later) = left.split_at(size.min(left.len()));
            daemon.apply(&batch(now, start));
            if dice(seed, 9_000 + n, 4) == 0 {
                daemon.tick();
            }
            left = later;
        }
    }
    let counts = daemon.engine.ledger().receivers[&Receiver::OtlpHttp].clone();
    assert!(counts.is_balanced(), "seed {seed}: {counts:?}");
    assert_eq!(usize::try_from(counts.duplicate), Ok(n_repeats), "seed {seed}: {counts:?}");
    daemon.finish()
}

/// Every derived counter and histogram, bucket by bucket: what it had come to by the end of each slot of event
/// time in which it grew. Gauges and exemplars say what was known when; the laws leave them out.
pub(crate) fn slots(known: &Known) -> BTreeMap<String, Vec<(i64, f64)>> {
    let exported = known.series.export().into_iter();
    let is_sum = |value: &ExportValue| !matches!(value, ExportValue::Gauge(_));
    let summed = exported.filter(|one| is_sum(&one.value));
    let names: BTreeSet<String> = summed.map(|one| one.labels.name().to_owned()).collect();
    let names = names.into_iter().collect::<Vec<_>>().join("|");
    let mut slots = BTreeMap::new();
    for series in reading::read_back(&known.series, &format!("({names})(_bucket|_sum|_count)?")) {
        let mut grown: Vec<(i64, f64)> = Vec::new();
        for (t, value) in reading::floats(&series) {
            let slot = t.div_euclid(SLOT_MS);
            match grown.last_mut() {
                Some(last) if last.1.to_bits() == value.to_bits() => {}
                Some(last) if last.0 == slot => last.1 = value,
                _ => grown.push((slot, value)),
            }
        }
        slots.insert(series.labels.to_string(), grown);
    }
    slots
}

fn check(seed: u64) {
    let once = told(seed);
    let repeats: Vec<Told> =
        once.iter().filter(|told| told.is_known()).step_by(3).cloned().collect();
    let n_repeats = repeats.len();
    let first = hear(&once, seed, 0);
    let other = shuffled([once, repeats].concat(), seed);
    let second = hear(&other, seed + 1, n_repeats);
    let ids = |known: &Known| known.requests.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&second), "seed {seed}");
    for (one, other) in first.requests.values().zip(second.requests.values()) {
        assert_eq!(one, other, "seed {seed}");
    }
    let (ours, theirs) = (slots(&first), slots(&second));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "seed {seed}");
    for ((labels, mine), other) in ours.iter().zip(theirs.values()) {
        assert_eq!(mine, other, "seed {seed} {labels}");
    }
}

#[test]
fn order_batching_and_repeats_do_not_matter() {
    seeds(SEEDS, &REGRESSIONS).for_each(check);
}
