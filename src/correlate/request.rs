//! What the engine gives: requests, invocations and messages, as they are now known.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::number::{f64_from_u64, u64_from_f64};
use crate::signal::{ErrorKind, Text, Timestamp, Via};

/// Whether requests, each with the one that it continues, are one that went on after it was final: each but the
/// first continues another of them.
pub fn are_one(each: &[(&str, Option<&str>)]) -> bool {
    let is_among = |id: &str| each.iter().any(|(other, _)| *other == id);
    let later = each.iter().filter(|(_, continues)| continues.is_some_and(is_among)).count();
    each.len() > 1 && later + 1 == each.len()
}

/// A whole request: an entry invocation and all that it caused. Serializes as `/api/requests/{key}`
/// shows it; values that the telemetry does not tell are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// 32 hex digits: a hash of the entry's key.
    pub id: Text,
    /// Ids of former entries that this request now holds.
    pub aliases: Vec<Text>,
    /// The entry's method and route where known, else its function's name.
    pub flow: Text,
    pub outcome: Outcome,
    pub state: State,
    pub start: Timestamp,
    /// The last known end.
    pub end: Timestamp,
    #[serde(rename = "duration_ms", serialize_with = "ms", deserialize_with = "of_ms")]
    pub duration: Duration,
    /// From the start to the end of the entry hop.
    #[serde(
        rename = "response_ms",
        serialize_with = "ms_option",
        deserialize_with = "of_ms_option"
    )]
    pub response: Option<Duration>,
    /// The request of which this is a later part.
    pub continues: Option<Text>,
    pub keys: Vec<Key>,
    /// Sorted by start, then id.
    pub hops: Vec<Hop>,
    pub critical_path: Vec<PathPart>,
    pub missing: Vec<Missing>,
    pub cost_usd: Option<f64>,
    /// How many requests alike it counts as: 1, but where its source kept one of many.
    pub stands_for: u32,
}

/// One id that leads to a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub kind: KeyKind,
    pub value: Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    CorrelationId,
    TraceId,
    InvocationId,
    MessageId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Open,
    Finished,
    Final,
}

/// Of a hop and of a request. The order is from good to bad: the worst piece of work decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Incomplete,
    Error,
    Throttled,
    Timeout,
    DeadLettered,
}

impl Outcome {
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::Incomplete,
        Self::Error,
        Self::Throttled,
        Self::Timeout,
        Self::DeadLettered,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Incomplete => "incomplete",
            Self::Error => "error",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

/// One invocation's place in a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    pub id: Text,
    /// Ids of the hops that caused this one; empty for the entry.
    pub causes: Vec<Text>,
    pub via: Via,
    /// What joins it to its cause; None for an entry.
    pub evidence: Option<Evidence>,
    pub function: Text,
    pub service: Option<Text>,
    pub version: Option<Text>,
    pub invocation_id: Option<Text>,
    /// 1 for the first try of its piece of work.
    pub attempt: u32,
    /// The run, without init.
    pub start: Timestamp,
    pub end: Option<Timestamp>,
    #[serde(
        rename = "duration_ms",
        serialize_with = "ms_option",
        deserialize_with = "of_ms_option"
    )]
    pub duration: Option<Duration>,
    pub queue: Option<Text>,
    #[serde(
        rename = "queue_wait_ms",
        serialize_with = "ms_option",
        deserialize_with = "of_ms_option"
    )]
    pub queue_wait: Option<Duration>,
    pub cold_start: Option<bool>,
    #[serde(rename = "init_ms", serialize_with = "ms_option", deserialize_with = "of_ms_option")]
    pub init: Option<Duration>,
    pub outcome: Outcome,
    pub error: Option<Text>,
    pub message_ids: Vec<Text>,
    /// Reached from more than one entry.
    pub shared: bool,
    pub spans: u32,
    pub logs: u32,
    #[serde(rename = "billed_ms", serialize_with = "ms_whole", deserialize_with = "of_ms_option")]
    pub billed: Option<Duration>,
    /// This request's share.
    pub cost_usd: Option<f64>,
}

/// What an edge rests on, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    Trace,
    Link,
    MessageId,
    CorrelationId,
}

/// One stretch of the critical path; the stretches add up to the request's duration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathPart {
    pub hop: Text,
    pub part: Part,
    #[serde(rename = "ms", serialize_with = "ms", deserialize_with = "of_ms")]
    pub duration: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Init,
    Run,
    QueueWait,
    RetryWait,
    Downstream,
    Gap,
}

impl Part {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Run => "run",
            Self::QueueWait => "queue_wait",
            Self::RetryWait => "retry_wait",
            Self::Downstream => "downstream",
            Self::Gap => "gap",
        }
    }
}

/// Work that should have come and did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The hop after which it was expected.
    pub after: Text,
    pub expected: Text,
}

/// One attempt, counted once for its function however many requests share it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    /// The hop id that it has in every request.
    pub id: Text,
    pub function: Text,
    pub version: Option<Text>,
    pub start: Timestamp,
    pub end: Timestamp,
    /// None where nothing tells (a start without an end that was given up).
    pub duration: Option<Duration>,
    pub outcome: Outcome,
    /// Set when the outcome is not ok.
    pub error_kind: Option<ErrorKind>,
    pub attempt: u32,
    pub init: Option<Duration>,
    /// An init came before it.
    pub cold_start: bool,
    pub billed: Option<Duration>,
    /// Of the whole attempt, however many requests share it.
    pub cost_usd: Option<f64>,
    pub memory_size_bytes: Option<u64>,
    pub memory_used_bytes: Option<u64>,
    /// The configured limit, where known.
    pub timeout: Option<Duration>,
    /// A trace id for exemplars: the real one, else the request's id.
    pub exemplar: Text,
    /// Calls that its client spans made.
    pub calls: Vec<Call>,
    /// Throttles that a caller saw in it: the resource that refused.
    pub throttled_by: Vec<Text>,
    /// How work came to it from another function, for the service graph.
    pub caused_by: Option<CausedBy>,
    /// Signals that belong to it and name nothing to join by.
    pub uncorrelated: u32,
    /// How many attempts alike it counts as.
    pub stands_for: u32,
}

/// A call that an invocation made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub peer: Text,
    pub operation: Text,
    pub start: Timestamp,
    pub duration: Duration,
    pub ok: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CausedBy {
    pub function: Text,
    pub via: Via,
}

/// One taking-up of one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Message id and consuming invocation.
    pub id: Text,
    pub queue: Text,
    pub function: Text,
    pub taken_up: Timestamp,
    /// None where nothing tells when it was sent.
    pub lag: Option<Duration>,
    /// It was processed again after a success that nothing contradicts.
    pub duplicate: bool,
    /// It was read from a dead-letter queue.
    pub dead_letter: Option<DeadLetter>,
    /// The shard or partition that it was in, where its id names one; else the part that its message group
    /// falls into, `group-00` to `group-63`.
    pub partition: Option<Text>,
    pub exemplar: Text,
    /// How many taking-ups alike it counts as.
    pub stands_for: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The dead-letter queue.
    pub queue: Text,
    pub source_queue: Text,
    /// The function that failed on the source queue; empty where unknown.
    pub function: Text,
}

/// News of one tick, for measuring. A subject's later version replaces its earlier one.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Finished, or corrected after it was.
    Request(Box<Request>),
    /// No request any more: its entry gained a cause.
    RequestGone(Text),
    Invocation(Box<Invocation>),
    InvocationGone(Text),
    Delivery(Box<Delivery>),
    DeliveryGone(Text),
    /// No longer correctable: measuring may forget its contribution, the archive may keep it.
    RequestFinal(Box<Request>),
    /// As [`Change::RequestFinal`], of one that nobody keeps.
    RequestForgotten(Text),
    InvocationFinal(Text),
    DeliveryFinal(Text),
    /// Log records that name nothing to join by: `count` more of `function`, within the second of `at`.
    Uncorrelated {
        function: Text,
        count: u64,
        at: Timestamp,
    },
}

impl Request {
    /// What decides whether it is kept.
    pub fn line(&self) -> FinalLine<'_> {
        FinalLine {
            id: &self.id,
            flow: &self.flow,
            outcome: self.outcome,
            start: self.start,
            end: self.end,
        }
    }
}

/// A request that is about to be final, as far as it decides whether to keep it.
#[derive(Clone, Copy, Debug)]
pub struct FinalLine<'a> {
    pub id: &'a str,
    pub flow: &'a str,
    pub outcome: Outcome,
    pub start: Timestamp,
    pub end: Timestamp,
}

fn ms<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
    if s.is_human_readable() { s.serialize_f64(millis(*d)) } else { d.serialize(s) }
}

#[expect(clippy::ref_option, reason = "serde's serialize_with passes references")]
fn ms_option<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    if s.is_human_readable() { d.map(millis).serialize(s) } else { d.serialize(s) }
}

#[expect(clippy::ref_option, reason = "serde's serialize_with passes references")]
fn ms_whole<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    if s.is_human_readable() {
        d.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).serialize(s)
    } else {
        d.serialize(s)
    }
}

fn of_ms<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    if d.is_human_readable() {
        f64::deserialize(d).map(of_millis)
    } else {
        Duration::deserialize(d)
    }
}

fn of_ms_option<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    if d.is_human_readable() {
        Ok(Option::<f64>::deserialize(d)?.map(of_millis))
    } else {
        Option::<Duration>::deserialize(d)
    }
}

/// To the nearest nanosecond; what is negative or no number is zero.
fn of_millis(ms: f64) -> Duration {
    Duration::from_nanos(u64_from_f64((ms * 1e6).round()))
}

/// Milliseconds with their fraction.
pub fn millis(d: Duration) -> f64 {
    f64_from_u64(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)) / 1e6
}
