//! Simulate: workloads of an online shop on Lambda, with known truth.
//!
//! A [`SimulationConfig`] in; [`Emission`]s in order of their arrival out, byte by byte the same for the
//! same config on every machine, and the [`ExpectedRequest`]s that they tell of. There is no clock, no
//! I/O and no shared state: time is simulated, randomness is seeded. A clean workload holds no error,
//! retry, throttle, loss or repeat; every one of these comes from a named [`Fault`].

pub mod config;
pub mod plan;
pub mod scenario;
pub mod truth;

mod book;
mod consumers;
mod exporter;
mod fan_out;
mod foreign;
mod instances;
mod logs;
mod metric_stream;
mod otlp;
mod payload;
mod platform;
mod queue;
mod random;
mod review;
mod run;
mod shop;
mod stream;
#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
mod tests;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

pub use config::{Fault, FaultWindow, Shuffle, SimulationConfig, StyleChoice};
pub use exporter::Header;
pub use truth::ExpectedRequest;

use crate::signal::Timestamp;
use config::{Delivery, REPEAT_MAX};
use exporter::Payload;
use random::Random;
use world::World;

/// How far a shuffled payload may be late.
const SHUFFLE_SPAN: Duration = Duration::from_mins(5);
/// A repeat comes within this time of the first delivery.
const REPEAT_SPAN: Duration = Duration::from_secs(30);

/// One HTTP POST to the ingest port, and when it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    pub at: Timestamp,
    /// Counts payloads from 0; repeats of one payload share it.
    pub number: u64,
    pub path: &'static str,
    pub content_type: &'static str,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

/// A workload in progress: an iterator over what it sends, that stages the world as far as needed.
#[derive(Debug)]
pub struct Simulation {
    world: World,
    delivery: Delivery,
    random: Random,
    waiting: BTreeMap<(Timestamp, u64), Emission>,
    n_payloads: u64,
    n_emissions: u64,
}

impl Simulation {
    pub fn new(config: &SimulationConfig) -> Self {
        Self {
            world: World::new(config),
            delivery: config.delivery,
            random: Random::new(config.seed, 2),
            waiting: BTreeMap::new(),
            n_payloads: 0,
            n_emissions: 0,
        }
    }

    /// The requests that ended since the last call. When the iterator is at its end, all have.
    pub fn take_truth(&mut self) -> Vec<ExpectedRequest> {
        self.world.book.take_closed()
    }

    /// Requests that are under way.
    pub fn n_open(&self) -> usize {
        self.world.book.n_open()
    }

    fn deliver(&mut self, payload: Payload) {
        let number = self.n_payloads;
        self.n_payloads += 1;
        let span = match self.delivery.shuffle {
            Shuffle::InOrder => self.delivery.delay_max,
            Shuffle::Shuffled => self.delivery.delay_max.max(SHUFFLE_SPAN),
        };
        let first = payload.at.saturating_add(self.wait(span));
        let emission = Emission {
            at: first,
            number,
            path: payload.path,
            content_type: payload.content_type,
            headers: payload.headers,
            body: payload.body,
        };
        for _ in 0..self.delivery.repeats.min(REPEAT_MAX) {
            let at = first.saturating_add(self.wait(REPEAT_SPAN));
            self.hold(Emission { at, ..emission.clone() });
        }
        self.hold(emission);
    }

    /// Up to `span`; nothing is drawn where there is nothing to draw.
    fn wait(&mut self, span: Duration) -> Duration {
        let most = u64::try_from(span.as_millis()).unwrap_or(u64::MAX - 1);
        if most == 0 { Duration::ZERO } else { self.random.millis(0, most) }
    }

    fn hold(&mut self, emission: Emission) {
        self.waiting.insert((emission.at, self.n_emissions), emission);
        self.n_emissions += 1;
    }
}

impl Iterator for Simulation {
    type Item = Emission;

    fn next(&mut self) -> Option<Emission> {
        loop {
            let next_event = self.world.next_at();
            let next_arrival = self.waiting.first_key_value().map(|(&(at, _), _)| at);
            match (next_arrival, next_event) {
                (None, None) => return None,
                // What the world sends later arrives later still.
                (Some(at), event) if event.is_none_or(|event| at < event) => {
                    return self.waiting.pop_first().map(|(_, emission)| emission);
                }
                _ => {
                    for payload in self.world.step() {
                        self.deliver(payload);
                    }
                }
            }
        }
    }
}
