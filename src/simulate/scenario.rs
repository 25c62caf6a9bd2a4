//! The story of `throughline demo`: steady traffic, and three incidents that come and go.

use std::time::Duration;

use super::config::{BRANCHES, Delivery, Fault, FaultWindow, Load, SimulationConfig, StyleChoice};
use super::plan::{Function, ORDERS, ORDERS_DLQ, RECEIVES_MAX, VISIBILITY_TIMEOUT};
use crate::correlate::config::{Architecture, FunctionConfig, QueueConfig};
use crate::signal::Timestamp;

/// Traffic of the demo, in requests a second.
const PER_SECOND: f64 = 5.0;
/// Quiet time at the start, so that there is a normal to differ from.
const FIRST_AFTER: Duration = Duration::from_mins(3);
/// From the begin of one incident to the begin of the next; what it leaves behind (two more receives of
/// a poison message, thirty seconds each) is over by then.
const EVERY: Duration = Duration::from_secs(200);
/// From the begin of one round of incidents to the begin of the next.
const ROUND: Duration = Duration::from_mins(10);
/// Rounds that are staged ahead: two months of them.
const ROUNDS_MAX: u32 = 10_000;

/// What goes wrong, in this order, and for how long.
const INCIDENTS: [Incident; 3] = [
    Incident { fault: Fault::ThrottleBurst, lasts: Duration::from_secs(75) },
    Incident { fault: Fault::PoisonMessage, lasts: Duration::from_mins(1) },
    Incident { fault: Fault::ColdStartStorm, lasts: Duration::from_secs(90) },
];

struct Incident {
    fault: Fault,
    lasts: Duration,
}

/// Traffic from `start` on until `end`, with a throttle burst, a poison message and a cold start storm
/// that begin three minutes in and come again every ten minutes.
pub fn demo_scenario(seed: u64, start: Timestamp, end: Timestamp) -> SimulationConfig {
    let mut config = quiet_scenario(seed, start, end);
    for round in 0..ROUNDS_MAX {
        let begin = start.saturating_add(FIRST_AFTER).saturating_add(ROUND * round);
        if begin >= end {
            break;
        }
        let begins = (0_u32..).map(|n| begin.saturating_add(EVERY * n));
        config.faults.extend(INCIDENTS.iter().zip(begins).map(|(incident, from)| FaultWindow {
            fault: incident.fault,
            from,
            to: from.saturating_add(incident.lasts),
        }));
    }
    config
}

/// The same traffic, with nothing going wrong.
pub fn quiet_scenario(seed: u64, start: Timestamp, end: Timestamp) -> SimulationConfig {
    let duration = Some(end.since(start));
    SimulationConfig {
        seed,
        start,
        load: Load { per_second: PER_SECOND, requests: None, duration },
        faults: Vec::new(),
        style: StyleChoice::Mixed,
        delivery: Delivery::default(),
        branches: BRANCHES,
    }
}

/// What a daemon is told about the shop's queue.
pub fn queues() -> Vec<QueueConfig> {
    vec![QueueConfig {
        name: ORDERS.into(),
        dlq: Some(ORDERS_DLQ.into()),
        max_receive_count: Some(RECEIVES_MAX),
        visibility_timeout: Some(VISIBILITY_TIMEOUT),
        starts_request: false,
    }]
}

/// What a daemon is told about the shop's functions.
pub fn functions() -> Vec<FunctionConfig> {
    let told = |function: Function| FunctionConfig {
        name: function.as_str().into(),
        timeout: Some(function.timeout()),
        memory_bytes: Some(u64::from(function.memory_mb()) << 20),
        architecture: Architecture::X86_64,
    };
    Function::ALL.map(told).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_are_apart_and_come_again() {
        let start = Timestamp::from_nanos(0);
        let end = start.saturating_add(Duration::from_mins(25));
        let config = demo_scenario(1, start, end);
        let story: Vec<String> = config
            .faults
            .iter()
            .map(|w| format!("{}..{} {}", w.from.as_secs(), w.to.as_secs(), w.fault))
            .collect();
        assert_eq!(
            story,
            [
                "180..255 throttle-burst",
                "380..440 poison-message",
                "580..670 cold-start-storm",
                "780..855 throttle-burst",
                "980..1040 poison-message",
                "1180..1270 cold-start-storm",
                "1380..1455 throttle-burst",
                "1580..1640 poison-message",
                "1780..1870 cold-start-storm",
            ]
        );
    }
}
