//! Whom to ask in which region.

use std::time::Duration;

/// SQS and CloudWatch charge by the call: a minute is what CloudWatch's own metrics have.
pub const INTERVAL: Duration = Duration::from_mins(1);
/// Queues of one poller, and functions.
pub const SUBJECTS_MAX: usize = 500;

/// One entry of `aws`, or the queues of `queues` that have a `url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poller {
    pub region: String,
    /// In place of every service's own (`https://sqs.REGION.amazonaws.com`).
    pub endpoint: Option<String>,
    pub queue_prefixes: Vec<String>,
    pub queue_urls: Vec<String>,
    /// Whose throttles and concurrency are asked for.
    pub functions: Vec<String>,
    pub interval: Duration,
}
