//! What really happened: the requests of a workload as the simulator staged them.
//!
//! One line of JSON a request in `truth.ndjson`, in the words of `/api/requests/{key}`. Ids that the
//! daemon makes up are not told; requests are found by `entry` (the entry's invocation id), by
//! `correlation_id`, or by any invocation or message id of a hop.

use serde::Serialize;

use super::config::Own;
use crate::correlate::Outcome;
use crate::correlate::request::Evidence;
use crate::signal::{Timestamp, Via};

/// One request, as it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExpectedRequest {
    /// The platform's request id of the entry's invocation.
    pub entry: String,
    /// The entry of the request of which this is a later part.
    pub continues: Option<String>,
    pub correlation_id: String,
    pub flow: &'static str,
    pub outcome: Outcome,
    /// The entry's start, or that of its init.
    pub start: Timestamp,
    pub end: Timestamp,
    pub duration_ms: f64,
    pub response_ms: f64,
    /// Sorted by start, function and invocation id.
    pub hops: Vec<ExpectedHop>,
    /// Messages that were sent and never taken up.
    pub lost_message_ids: Vec<String>,
    /// Of every attempt, shared invocations by their messages.
    pub cost_usd: f64,
}

/// One invocation of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExpectedHop {
    pub function: &'static str,
    pub invocation_id: String,
    /// The invocation that caused it; null for the entry.
    pub cause: Option<String>,
    pub via: Via,
    /// The strongest evidence that the telemetry gives; null for the entry.
    pub evidence: Option<Evidence>,
    pub attempt: u32,
    /// Of this request's part of it.
    pub outcome: Outcome,
    pub error: Option<String>,
    pub start: Timestamp,
    pub end: Timestamp,
    pub duration_ms: f64,
    pub cold_start: bool,
    pub init_ms: Option<f64>,
    pub queue: Option<&'static str>,
    pub queue_wait_ms: Option<f64>,
    pub message_ids: Vec<String>,
    /// Messages of other requests were in the same batch.
    pub shared: bool,
    pub billed_ms: u64,
    /// This request's share.
    pub cost_usd: f64,
    /// In which words the function speaks, so that a reader knows what can be known of it.
    pub told_by: ToldBy,
    /// What the telemetry does not tell of it; the values above are what happened.
    pub unknown: Vec<Unknown>,
}

/// A part of a hop that nothing tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    BilledMs,
    CostUsd,
    InitMs,
    /// Start and end are told to the millisecond.
    Microseconds,
    /// Attempts of an asynchronous invocation look like one.
    Attempt,
}

/// The function's own telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToldBy {
    Spans,
    SpansWithoutContext,
    JsonLogs,
    TelemetryLogs,
    CloudwatchLogs,
}

impl From<Own> for ToldBy {
    fn from(own: Own) -> Self {
        match own {
            Own::Spans => Self::Spans,
            Own::SpansWithoutContext => Self::SpansWithoutContext,
            Own::JsonLogs => Self::JsonLogs,
            Own::TelemetryLogs => Self::TelemetryLogs,
            Own::CloudWatchLogs => Self::CloudwatchLogs,
        }
    }
}
