//! How requests are put together: ages, bounds, what is known of functions and queues.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::signal::Text;

/// Checked settings of the engine. `Default` is the contract's defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Quiet time after which a request with nothing outstanding is finished.
    pub settle_after: Duration,
    /// Time without news after which a request that still waits for something is incomplete.
    pub incomplete_after: Duration,
    /// How long a failed attempt waits for its retry before it counts as the last.
    pub retry_after: Duration,
    /// How long after its last fact a request can still be corrected.
    pub allowed_lateness: Duration,
    /// Parentless invocations that one correlation id may join before it is quarantined.
    pub joins_max: usize,
    /// Entries of one function that one correlation id may name before it is quarantined.
    pub entries_max: usize,
    /// Hops of one request; more are counted, not held.
    pub hops_max: usize,
    /// How long a message or workflow token that nobody took up keeps a stub.
    pub pending_max: Duration,
    pub memory_max_bytes: u64,
    pub cost: CostConfig,
    pub functions: Vec<FunctionConfig>,
    pub queues: Vec<QueueConfig>,
    pub flows: Vec<FlowConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            settle_after: Duration::from_secs(10),
            incomplete_after: Duration::from_mins(5),
            retry_after: Duration::from_mins(3),
            allowed_lateness: Duration::from_mins(15),
            joins_max: 1000,
            entries_max: 20,
            hops_max: 10_000,
            pending_max: Duration::from_hours(24),
            memory_max_bytes: 256 << 20,
            cost: CostConfig::default(),
            functions: Vec::new(),
            queues: Vec::new(),
            flows: Vec::new(),
        }
    }
}

/// A message that can be seen again is taken up by then: a consumer polls for 20 s at most.
const POLLING_SLACK: Duration = Duration::from_secs(30);

impl Config {
    /// How long a failed receive from a queue waits for the next one.
    pub fn retry_after_of(&self, queue: Option<&QueueConfig>) -> Duration {
        let hidden = queue.and_then(|queue| queue.visibility_timeout);
        hidden.map_or(self.retry_after, |hidden| hidden.saturating_add(POLLING_SLACK))
    }

    /// The longest that a failed attempt waits for the next one.
    pub fn retry_after_max(&self) -> Duration {
        let queues = self.queues.iter().map(|queue| self.retry_after_of(Some(queue)));
        queues.fold(self.retry_after, Duration::max)
    }
}

/// Prices in USD; defaults are AWS Lambda's in us-east-1 (`facts` of 2025).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CostConfig {
    pub gb_second_x86_64: f64,
    pub gb_second_arm64: f64,
    pub request: f64,
}

impl Default for CostConfig {
    fn default() -> Self {
        Self {
            gb_second_x86_64: 0.000_016_666_7,
            gb_second_arm64: 0.000_013_333_4,
            request: 0.000_000_2,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionConfig {
    pub name: Text,
    pub timeout: Option<Duration>,
    pub memory_bytes: Option<u64>,
    pub architecture: Architecture,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    #[default]
    X86_64,
    Arm64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueConfig {
    pub name: Text,
    pub dlq: Option<Text>,
    /// After so many failed receives the message goes to the dead-letter queue.
    pub max_receive_count: Option<u32>,
    /// How long a message stays hidden after a failed receive; `retry_after` where it is not known.
    pub visibility_timeout: Option<Duration>,
    /// Messages of this queue begin requests of their own.
    pub starts_request: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowConfig {
    /// The flow's name, exactly.
    pub matches: Text,
    pub incomplete_after: Option<Duration>,
}
