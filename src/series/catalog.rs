//! The contract's series: name, type, help, unit, and how finely sums are kept.
//!
//! Every name stands here once; measuring, serving and tests read it from here.

use crate::signal::MetricType;

/// Finished requests.
pub const REQUESTS: &str = "throughline_requests_total";
pub const REQUEST_DURATION: &str = "throughline_request_duration_seconds";
pub const RESPONSE_DURATION: &str = "throughline_response_duration_seconds";
pub const REQUEST_QUEUE_WAIT: &str = "throughline_request_queue_wait_seconds";
pub const REQUEST_COST: &str = "throughline_request_cost_usd_total";
pub const REQUESTS_OPEN: &str = "throughline_requests_open";
pub const INVOCATIONS: &str = "throughline_invocations_total";
pub const INVOCATION_ERRORS: &str = "throughline_invocation_errors_total";
pub const INVOCATION_COST: &str = "throughline_invocation_cost_usd_total";
pub const INVOCATION_DURATION: &str = "throughline_invocation_duration_seconds";
pub const INIT_DURATION: &str = "throughline_init_duration_seconds";
pub const COLD_STARTS: &str = "throughline_cold_starts_total";
pub const RETRIES: &str = "throughline_retries_total";
pub const NEAR_TIMEOUTS: &str = "throughline_near_timeouts_total";
pub const MEMORY_USED: &str = "throughline_memory_used_bytes";
pub const CONCURRENCY: &str = "throughline_concurrency";
pub const BILLED_GB_SECONDS: &str = "throughline_billed_gb_seconds_total";
pub const THROTTLES: &str = "throughline_throttles_total";
pub const QUEUE_LAG: &str = "throughline_queue_lag_seconds";
pub const QUEUE_OLDEST_AGE: &str = "throughline_queue_oldest_age_seconds";
pub const QUEUE_DEPTH: &str = "throughline_queue_depth";
pub const DLQ_DEPTH: &str = "throughline_dlq_depth";
pub const DLQ_ARRIVALS: &str = "throughline_dlq_arrivals_total";
pub const DUPLICATE_DELIVERIES: &str = "throughline_duplicate_deliveries_total";
pub const PARTITION_MESSAGES: &str = "throughline_partition_messages_total";
pub const DEPENDENCY_DURATION: &str = "throughline_dependency_duration_seconds";
pub const DEPENDENCY_CALLS: &str = "throughline_dependency_calls";
pub const UNCORRELATED_SIGNALS: &str = "throughline_uncorrelated_signals_total";
pub const SERVICE_GRAPH_REQUESTS: &str = "traces_service_graph_request_total";
pub const SERVICE_GRAPH_FAILED: &str = "traces_service_graph_request_failed_total";
pub const SERVICE_GRAPH_SERVER: &str = "traces_service_graph_request_server_seconds";
pub const SLO_GOOD: &str = "throughline_slo_good_total";
pub const SLO_EVENTS: &str = "throughline_slo_events_total";
pub const ALERTS: &str = "ALERTS";
pub const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

/// Values of the `outcome` label of requests and invocations, from good to bad.
pub const OUTCOMES: &[&str] =
    &["ok", "incomplete", "error", "throttled", "timeout", "dead_lettered"];
/// Values of the `outcome` label of calls.
pub const CALL_OUTCOMES: &[&str] = &["ok", "error"];
/// Values of the `error_kind` label.
pub const ERROR_KINDS: &[&str] = &[
    "timeout",
    "out_of_memory",
    "access_denied",
    "connection",
    "validation",
    "throttled",
    "other",
];

/// Sums are kept as whole multiples of this many parts of one.
const WHOLE: i64 = 1;
/// Nanoseconds and nano-gigabyte-seconds: 292 years fit one slot.
const NANO: i64 = 1_000_000_000;
/// Picodollars: one request's price is 200,000 of them; 9 million dollars fit one slot.
const PICO: i64 = 1_000_000_000_000;
/// Counters that are not ours: millionths; 9.2e12 fit one slot, totals have no such end.
pub(crate) const FOREIGN_PARTS: i64 = 1_000_000;

/// One metric of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricType,
    pub help: &'static str,
    pub unit: &'static str,
    /// Parts of one in which a counter's sums are exact.
    pub(crate) parts: i64,
    /// A label whose every value starts at zero as soon as one of them counts.
    pub(crate) closed_label: Option<ClosedLabel>,
    /// Metrics with the same labels that start at zero as soon as this one counts: a ratio of the two
    /// is there from the first event on.
    pub(crate) companions: &'static [&'static str],
}

/// A label with a closed list of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClosedLabel {
    pub(crate) name: &'static str,
    pub(crate) values: &'static [&'static str],
}

impl Metric {
    const fn new(
        name: &'static str,
        kind: MetricType,
        unit: &'static str,
        help: &'static str,
    ) -> Self {
        Self { name, kind, help, unit, parts: WHOLE, closed_label: None, companions: &[] }
    }

    const fn parts(self, parts: i64) -> Self {
        Self { parts, ..self }
    }

    const fn with(self, companions: &'static [&'static str]) -> Self {
        Self { companions, ..self }
    }

    const fn each(self, name: &'static str, values: &'static [&'static str]) -> Self {
        Self { closed_label: Some(ClosedLabel { name, values }), ..self }
    }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric::new(name, MetricType::Counter, "", help)
}

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric::new(name, MetricType::Gauge, unit, help)
}

const fn seconds(name: &'static str, help: &'static str) -> Metric {
    Metric::new(name, MetricType::Histogram, "seconds", help)
}

/// Every metric of the contract.
pub const METRICS: &[Metric] = &[
    counter(REQUESTS, "Finished requests.").each("outcome", OUTCOMES),
    seconds(REQUEST_DURATION, "Whole requests from start to last end, waits included.")
        .each("outcome", OUTCOMES),
    seconds(RESPONSE_DURATION, "Requests from start to the end of the entry hop.")
        .each("outcome", OUTCOMES),
    seconds(REQUEST_QUEUE_WAIT, "Waits on queues along the critical path of a request."),
    Metric::new(
        REQUEST_COST,
        MetricType::Counter,
        "usd",
        "Cost of every attempt and hop of finished requests.",
    )
    .parts(PICO)
    .each("outcome", OUTCOMES),
    gauge(REQUESTS_OPEN, "", "Requests that are not finished yet."),
    counter(INVOCATIONS, "Attempts that ended, good and bad.").each("outcome", OUTCOMES),
    counter(INVOCATION_ERRORS, "Attempts that failed, by kind of error.")
        .each("error_kind", ERROR_KINDS),
    Metric::new(
        INVOCATION_COST,
        MetricType::Counter,
        "usd",
        "Cost of attempts that ended, good and bad.",
    )
    .parts(PICO)
    .each("outcome", OUTCOMES),
    seconds(INVOCATION_DURATION, "One attempt, without init.").each("outcome", OUTCOMES),
    seconds(INIT_DURATION, "Init of an execution environment."),
    counter(COLD_STARTS, "Attempts with an init before them.").with(&[RETRIES, NEAR_TIMEOUTS]),
    counter(RETRIES, "Attempts after the first.").with(&[COLD_STARTS, NEAR_TIMEOUTS]),
    counter(NEAR_TIMEOUTS, "Attempts that used more than 90 % of their time limit.")
        .with(&[COLD_STARTS, RETRIES]),
    gauge(MEMORY_USED, "bytes", "Largest memory use of an attempt in the last 5 minutes."),
    gauge(CONCURRENCY, "", "Concurrent executions."),
    counter(BILLED_GB_SECONDS, "Billed time multiplied by configured memory, in GB-seconds.")
        .parts(NANO),
    counter(THROTTLES, "Refused work: told by the platform, or seen by a caller."),
    seconds(QUEUE_LAG, "Of each message: sent until its processing starts."),
    gauge(QUEUE_OLDEST_AGE, "seconds", "Age of the oldest message, from the broker."),
    gauge(QUEUE_DEPTH, "", "Visible messages, from the broker."),
    gauge(DLQ_DEPTH, "", "Messages in a dead-letter queue."),
    counter(DLQ_ARRIVALS, "Messages that fell into a dead-letter queue."),
    counter(DUPLICATE_DELIVERIES, "Messages that were processed with success more than once."),
    counter(PARTITION_MESSAGES, "Messages taken up, by the shard or partition that they were in."),
    seconds(DEPENDENCY_DURATION, "Calls that functions make.").each("outcome", CALL_OUTCOMES),
    Metric::new(DEPENDENCY_CALLS, MetricType::Histogram, "", "Calls of one attempt to one peer."),
    counter(UNCORRELATED_SIGNALS, "Signals that name nothing to join by."),
    counter(SERVICE_GRAPH_REQUESTS, "Invocations that one function caused in another.")
        .with(&[SERVICE_GRAPH_FAILED]),
    counter(SERVICE_GRAPH_FAILED, "Failed invocations that one function caused in another.")
        .with(&[SERVICE_GRAPH_REQUESTS]),
    seconds(SERVICE_GRAPH_SERVER, "Duration of invocations that one function caused in another."),
    counter(SLO_GOOD, "Good events of an objective.").with(&[SLO_EVENTS]),
    counter(SLO_EVENTS, "All events of an objective.").with(&[SLO_GOOD]),
    gauge(ALERTS, "", "Alerts that are pending or firing."),
    gauge(ALERTS_FOR_STATE, "seconds", "When an alert became active, in seconds since the epoch."),
];

/// The contract's metric of this name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_of_the_contract_is_in_the_catalog() {
        let contract = "throughline_requests_total throughline_request_duration_seconds \
            throughline_response_duration_seconds throughline_request_queue_wait_seconds \
            throughline_request_cost_usd_total throughline_requests_open \
            throughline_invocations_total throughline_invocation_errors_total \
            throughline_invocation_cost_usd_total throughline_invocation_duration_seconds throughline_init_duration_seconds \
            throughline_cold_starts_total throughline_retries_total \
            throughline_near_timeouts_total throughline_memory_used_bytes \
            throughline_concurrency throughline_billed_gb_seconds_total \
            throughline_throttles_total throughline_queue_lag_seconds \
            throughline_queue_oldest_age_seconds throughline_queue_depth throughline_dlq_depth \
            throughline_dlq_arrivals_total throughline_duplicate_deliveries_total \
            throughline_partition_messages_total throughline_dependency_duration_seconds throughline_dependency_calls \
            throughline_uncorrelated_signals_total traces_service_graph_request_total \
            traces_service_graph_request_failed_total \
            traces_service_graph_request_server_seconds throughline_slo_good_total \
            throughline_slo_events_total ALERTS ALERTS_FOR_STATE";
        let named: Vec<&str> = contract.split_whitespace().collect();
        let held: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(named, held);
    }

    #[test]
    fn names_end_as_their_types_ask() {
        for metric in METRICS {
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == MetricType::Counter, "{}", metric.name);
            assert!(find(metric.name).is_some_and(|found| found == metric));
        }
    }
}
