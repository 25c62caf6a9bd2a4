//! CloudWatch: what SQS and Lambda do not tell themselves.
//!
//! The answers are written as a metric stream's records and read by its dialect, so a team that polls and
//! streams counts each point once. A minute is taken when it is over and CloudWatch had time to fill it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::call::{CallError, Caller, Service};
use super::config::Poller;
use crate::normalize::{Config, Origin, metric_stream};
use crate::signal::{Batch, Receiver, Timestamp};

/// Queries of one call (the service's own bound).
const QUERIES_MAX: usize = 500;
/// CloudWatch's own period of these metrics.
const PERIOD: Duration = Duration::from_mins(1);
/// How long a minute may still change: Lambda's and SQS's metrics come within two minutes.
const UNSETTLED: Duration = Duration::from_mins(2);
/// How far back the first look goes.
const BACK: Duration = Duration::from_mins(15);
/// How far back any look goes: what is older is late.
const BACK_MAX: Duration = Duration::from_hours(3);

/// One metric of one subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    namespace: &'static str,
    name: &'static str,
    dimension: &'static str,
    subject: String,
    statistic: &'static str,
}

/// What is asked for, and up to when each was told.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    until: BTreeMap<Metric, Timestamp>,
    before: BTreeMap<Metric, Timestamp>,
}

impl Wanted {
    /// Follows the queues that there are and the functions of the configuration.
    pub(super) fn come_to(&mut self, poller: &Poller, queues: impl Iterator<Item = String>) {
        let metric = |namespace, name, dimension, statistic| {
            move |subject| Metric { namespace, name, dimension, subject, statistic }
        };
        let age = metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "Maximum");
        let throttles = metric("AWS/Lambda", "Throttles", "FunctionName", "Sum");
        let concurrent = metric("AWS/Lambda", "ConcurrentExecutions", "FunctionName", "Maximum");
        let functions = || poller.functions.iter().cloned();
        let all = queues.map(age).chain(functions().map(throttles));
        let mut until = BTreeMap::new();
        for metric in all.chain(functions().map(concurrent)) {
            let known = self.until.get(&metric).copied().unwrap_or(Timestamp::EPOCH);
            until.insert(metric, known);
        }
        self.until = until;
    }

    /// What is new; none where nothing is asked for.
    pub(super) async fn look(
        &mut self,
        caller: &Caller,
        config: &Config,
    ) -> Result<Vec<Batch>, CallError> {
        self.before = self.until.clone();
        let end = caller.now().saturating_sub(UNSETTLED);
        let end = Timestamp::EPOCH.saturating_add(Duration::from_secs(end.as_secs() / 60 * 60));
        let metrics: Vec<Metric> = self.until.keys().cloned().collect();
        let mut batches = Vec::new();
        for some in metrics.chunks(QUERIES_MAX) {
            let start = some.iter().filter_map(|metric| self.until.get(metric)).min().copied();
            let first = match start.filter(|start| *start > Timestamp::EPOCH) {
                Some(start) => start.max(end.saturating_sub(BACK_MAX)),
                None => end.saturating_sub(BACK),
            };
            if first >= end {
                continue;
            }
            let mut lines = String::new();
            let mut next = Value::Null;
            loop {
                let body = query(some, [first, end], &next);
                let answer = caller.call(Service::Cloudwatch, "GetMetricData", &body).await?;
                for result in answer["MetricDataResults"].as_array().into_iter().flatten() {
                    self.read(some, result, &mut lines);
                }
                next = answer["NextToken"].clone();
                if next.is_null() {
                    break;
                }
            }
            batches.extend(records(&lines, caller.now(), config));
        }
        Ok(batches)
    }

    /// What the last look gave is not on disk: it is asked for again.
    pub(super) fn forget(&mut self) {
        self.until = self.before.clone();
    }

    /// One metric's points as records of a metric stream.
    fn read(&mut self, metrics: &[Metric], result: &Value, lines: &mut String) {
        let position = result["Id"].as_str().and_then(|id| id.strip_prefix('m')?.parse().ok());
        let Some(metric) = position.and_then(|at: usize| metrics.get(at)) else { return };
        let values = result["Values"].as_array().into_iter().flatten();
        for (time, value) in result["Timestamps"].as_array().into_iter().flatten().zip(values) {
            let Some(told) = seconds(time) else { continue };
            let known = self.until.get(metric).copied().unwrap_or_default();
            if told < known {
                continue;
            }
            let key = if metric.statistic == "Sum" { "sum" } else { "max" };
            let record = json!({
                "namespace": metric.namespace,
                "metric_name": metric.name,
                "dimensions": {metric.dimension: metric.subject},
                "timestamp": told.as_millis(),
                "value": {"max": null, "sum": null, key: value},
                "unit": "",
            });
            lines.push_str(&record.to_string());
            lines.push('\n');
        }
        let times = result["Timestamps"].as_array().into_iter().flatten().filter_map(seconds);
        if let (Some(newest), Some(until)) = (times.max(), self.until.get_mut(metric)) {
            *until = (*until).max(newest.saturating_add(PERIOD));
        }
    }
}

/// Epoch seconds, or RFC 3339 as some implementations write.
fn seconds(time: &Value) -> Option<Timestamp> {
    match time {
        Value::Number(n) => n.as_f64().map(Timestamp::from_secs_f64),
        Value::String(text) => Timestamp::parse_rfc3339(text),
        _ => None,
    }
}

fn query(metrics: &[Metric], range: [Timestamp; 2], next: &Value) -> Value {
    let queries: Vec<Value> = metrics
        .iter()
        .enumerate()
        .map(|(at, metric)| {
            json!({
                "Id": format!("m{at}"),
                "MetricStat": {
                    "Metric": {
                        "Namespace": metric.namespace,
                        "MetricName": metric.name,
                        "Dimensions": [{"Name": metric.dimension, "Value": metric.subject}],
                    },
                    "Period": PERIOD.as_secs(),
                    "Stat": metric.statistic,
                },
                "ReturnData": true,
            })
        })
        .collect();
    let [start, end] = range.map(Timestamp::as_secs);
    let mut body = json!({
        "MetricDataQueries": queries,
        "StartTime": start,
        "EndTime": end,
        "ScanBy": "TimestampAscending",
    });
    if !next.is_null() {
        body["NextToken"] = next.clone();
    }
    body
}

/// None where nothing came.
fn records(lines: &str, arrived: Timestamp, config: &Config) -> Option<Batch> {
    if lines.is_empty() {
        return None;
    }
    let origin = Origin { arrived, ..Origin::default() };
    let mut batch = metric_stream::normalize(lines.as_bytes(), &origin, config).ok()?.batch;
    batch.receiver = Receiver::Cloudwatch;
    Some(batch)
}
