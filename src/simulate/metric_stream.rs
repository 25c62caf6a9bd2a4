//! What CloudWatch counts, once a minute: invocations, errors, throttles, concurrency, and the depth and
//! age of queues and streams.
//!
//! As CloudWatch does, the same fact is told for several sets of dimensions; nothing may sum over them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::exporter::{Channel, Item, Told};
use super::plan::{ACCOUNT, CLICKS, Function, ORDERS, ORDERS_DLQ, REGION};
use super::queue::Depth;
use super::run::{Ending, Run};
use super::world::World;
use crate::correlate::request::millis;
use crate::number::f64_from_u64;
use crate::signal::Timestamp;

/// Counts since the last minute.
#[derive(Debug, Default)]
pub(super) struct Minute {
    functions: BTreeMap<Function, Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    n_invocations: u64,
    n_errors: u64,
    n_throttles: u64,
    duration_sum: Duration,
    duration_max: Duration,
}

impl Minute {
    pub(super) fn throttle(&mut self, function: Function) {
        self.functions.entry(function).or_default().n_throttles += 1;
    }

    pub(super) fn invocation(&mut self, run: &Run) {
        let counts = self.functions.entry(run.function).or_default();
        counts.n_invocations += 1;
        counts.n_errors += u64::from(run.ending != Ending::Ok);
        counts.duration_sum += run.duration();
        counts.duration_max = counts.duration_max.max(run.duration());
    }
}

/// The statistics of one period.
#[derive(Clone, Copy, Debug)]
struct Statistics {
    max: f64,
    sum: f64,
    count: u64,
}

impl Statistics {
    /// Of `count` observations that add up to `sum`.
    fn counted(sum: u64, count: u64) -> Self {
        Self { max: f64::from(u8::from(sum > 0)), sum: f64_from_u64(sum), count: count.max(1) }
    }

    fn level(max: f64) -> Self {
        Self { max, sum: max, count: 1 }
    }
}

impl World {
    /// Tells of the minute that ends now; CloudWatch stamps it with its begin.
    pub(super) fn tell_minute(&mut self, now: Timestamp) {
        let begin = now.saturating_sub(Duration::from_mins(1));
        let mut metrics = Vec::new();
        for (function, counts) in std::mem::take(&mut self.minute.functions) {
            let busy = self.instances.take_busy_max(function);
            metrics.extend(of_function(function, counts, busy, begin));
        }
        metrics.extend(of_queue(ORDERS, self.orders.take_depth(now), begin));
        metrics.extend(of_queue(ORDERS_DLQ, self.dead_letters.take_depth(now), begin));
        let oldest = self.shards.iter().filter_map(super::stream::Shard::oldest).min();
        let age = oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        let stream = json!({ "StreamName": CLICKS });
        let name = "GetRecords.IteratorAgeMilliseconds";
        let age = Statistics::level(millis(age));
        metrics.push(metric("AWS/Kinesis", name, &stream, age, begin));
        let told =
            metrics.into_iter().map(|metric| Told { ready: now, item: Item::Metric(metric) });
        self.exporter.put(Channel::Metrics, told.collect());
    }
}

fn of_function(function: Function, counts: Counts, busy: u64, time: Timestamp) -> Vec<Value> {
    let n = counts.n_invocations;
    let duration = Statistics {
        max: millis(counts.duration_max),
        sum: millis(counts.duration_sum),
        count: n.max(1),
    };
    let told = [
        ("Invocations", Statistics::counted(n, n)),
        ("Errors", Statistics::counted(counts.n_errors, n)),
        ("Throttles", Statistics::counted(counts.n_throttles, n + counts.n_throttles)),
        ("ConcurrentExecutions", Statistics::level(f64_from_u64(busy))),
        ("Duration", duration),
    ];
    let name = function.as_str();
    let sets = [json!({ "FunctionName": name }), json!({ "FunctionName": name, "Resource": name })];
    let each = told.into_iter().flat_map(|(metric_name, value)| {
        sets.each_ref().map(|set| metric("AWS/Lambda", metric_name, set, value, time))
    });
    each.collect()
}

fn of_queue(queue: &str, depth: Depth, time: Timestamp) -> [Value; 2] {
    let set = json!({ "QueueName": queue });
    let visible = Statistics::level(f64_from_u64(depth.visible_max));
    let age = Statistics::level(f64_from_u64(depth.oldest_age.as_secs()));
    [
        metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", &set, visible, time),
        metric("AWS/SQS", "ApproximateAgeOfOldestMessage", &set, age, time),
    ]
}

fn metric(namespace: &str, name: &str, set: &Value, value: Statistics, time: Timestamp) -> Value {
    let unit = match name {
        "Duration" | "GetRecords.IteratorAgeMilliseconds" => "Milliseconds",
        "ApproximateAgeOfOldestMessage" => "Seconds",
        _ => "Count",
    };
    json!({
        "metric_stream_name": "throughline",
        "account_id": ACCOUNT,
        "region": REGION,
        "namespace": namespace,
        "metric_name": name,
        "dimensions": set,
        "timestamp": time.as_millis(),
        "value": { "max": value.max, "min": 0.0, "sum": value.sum, "count": value.count },
        "unit": unit,
    })
}
