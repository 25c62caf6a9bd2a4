//! What an invocation adds, at its end: once for its function, however many requests share it.

use super::contribution::Tally;
use crate::correlate::{Invocation, Outcome};
use crate::number::{f64_from_u64, f64_from_usize};
use crate::series::catalog::{
    BILLED_GB_SECONDS, COLD_STARTS, DEPENDENCY_CALLS, DEPENDENCY_DURATION, INIT_DURATION,
    INVOCATION_COST, INVOCATION_DURATION, INVOCATION_ERRORS, INVOCATIONS, NEAR_TIMEOUTS, RETRIES,
    SERVICE_GRAPH_FAILED, SERVICE_GRAPH_REQUESTS, SERVICE_GRAPH_SERVER, THROTTLES,
    UNCORRELATED_SIGNALS,
};
use crate::signal::Via;

/// Share of its limit beyond which an attempt is near its timeout.
const NEAR_TIMEOUT: f64 = 0.9;
/// What platforms bill as a gigabyte.
const GIGABYTE: f64 = 1_073_741_824.0;

pub(super) fn tally(invocation: &Invocation, tally: &mut Tally<'_>) {
    let name: (&str, &str) = ("faas_name", &invocation.function);
    let version = ("faas_version", invocation.version.as_deref().unwrap_or_default());
    let labels = [name, version, ("outcome", invocation.outcome.as_str())];
    tally.count(INVOCATIONS, &labels);
    if let Some(duration) = invocation.duration {
        tally.observe(INVOCATION_DURATION, &labels, duration.as_secs_f64());
    }
    if let Some(init) = invocation.init {
        tally.observe(INIT_DURATION, &[name, version], init.as_secs_f64());
    }
    if let Some(kind) = invocation.error_kind {
        tally.count(INVOCATION_ERRORS, &[name, ("error_kind", kind.as_str())]);
    }
    for (metric, counts) in [
        (COLD_STARTS, invocation.cold_start),
        (RETRIES, invocation.attempt > 1),
        (NEAR_TIMEOUTS, is_near_timeout(invocation)),
    ] {
        if counts {
            tally.count(metric, &[name]);
        }
    }
    if let (Some(billed), Some(bytes)) = (invocation.billed, invocation.memory_size_bytes) {
        let gigabytes = f64_from_u64(bytes) / GIGABYTE;
        tally.add(BILLED_GB_SECONDS, &[name], billed.as_secs_f64() * gigabytes);
    }
    if let Some(cost) = invocation.cost_usd {
        tally.add(INVOCATION_COST, &[name, ("outcome", invocation.outcome.as_str())], cost);
    }
    for resource in &invocation.throttled_by {
        tally.count(THROTTLES, &[name, ("resource", resource), ("source", "caller")]);
    }
    if invocation.uncorrelated > 0 {
        tally.add(UNCORRELATED_SIGNALS, &[name], f64::from(invocation.uncorrelated));
    }
    tally_calls(invocation, tally);
    tally_edge(invocation, tally);
}

fn is_near_timeout(invocation: &Invocation) -> bool {
    invocation.outcome == Outcome::Timeout
        || invocation
            .duration
            .zip(invocation.timeout)
            .is_some_and(|(took, limit)| took.as_secs_f64() > limit.as_secs_f64() * NEAR_TIMEOUT)
}

fn tally_calls(invocation: &Invocation, tally: &mut Tally<'_>) {
    let name: (&str, &str) = ("faas_name", &invocation.function);
    for call in &invocation.calls {
        let outcome = if call.ok { "ok" } else { "error" };
        let labels =
            [name, ("peer", &*call.peer), ("operation", &*call.operation), ("outcome", outcome)];
        tally.observe(DEPENDENCY_DURATION, &labels, call.duration.as_secs_f64());
    }
    let mut peers: Vec<&str> = invocation.calls.iter().map(|call| &*call.peer).collect();
    peers.sort_unstable();
    for calls in peers.chunk_by(|a, b| a == b) {
        let peer = calls.first().map_or("", |peer| peer);
        tally.observe(DEPENDENCY_CALLS, &[name, ("peer", peer)], f64_from_usize(calls.len()));
    }
}

/// The service graph has an edge where one function caused work of another.
fn tally_edge(invocation: &Invocation, tally: &mut Tally<'_>) {
    let Some(cause) = &invocation.caused_by else { return };
    let connection = match cause.via {
        Via::Queue | Via::Topic | Via::Stream | Via::EventBus => "messaging_system",
        Via::Http | Via::Invoke | Via::Schedule | Via::Workflow | Via::Unknown => "",
    };
    let labels = [
        ("client", &*cause.function),
        ("server", &*invocation.function),
        ("connection_type", connection),
    ];
    tally.count(SERVICE_GRAPH_REQUESTS, &labels);
    if invocation.outcome != Outcome::Ok {
        tally.count(SERVICE_GRAPH_FAILED, &labels);
    }
    if let Some(duration) = invocation.duration {
        tally.observe(SERVICE_GRAPH_SERVER, &labels, duration.as_secs_f64());
    }
}
