//! SQS: which queues there are, how many messages wait, which queue's dead letters lie where.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::call::{CallError, Caller, Service};
use super::config::{Poller, SUBJECTS_MAX};
use crate::collect::points::Points;
use crate::normalize::metric_stream::is_dead_letter_name;
use crate::number::f64_from_u64;
use crate::signal::{
    Batch, Labels, METRIC_NAME, MetricValue, Receiver, Text, Timestamp, source_queues,
};

/// Looks between two lists of queues: new queues are found within ten minutes by default.
const LISTED_EVERY: u32 = 10;
/// Queues of one page of a list.
const PAGE: u32 = 1000;

/// One queue as it was answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Depth {
    pub(super) queue: String,
    /// Visible messages.
    pub(super) n_visible: u64,
    /// The queues whose dead letters lie here; None: it is no dead-letter queue.
    pub(super) sources: Option<BTreeSet<String>>,
}

/// What is known of the queues between looks.
#[derive(Debug, Default)]
pub(super) struct Queues {
    urls: BTreeSet<String>,
    /// (dead-letter queue's ARN, its URL) of those that were named by a redrive policy.
    targets: BTreeMap<String, String>,
    n_looks: u32,
}

impl Queues {
    /// Every queue's depth; what failed is told beside.
    pub(super) async fn look(
        &mut self,
        caller: &Caller,
        poller: &Poller,
        failures: &mut Vec<String>,
    ) -> Vec<Depth> {
        if self.n_looks.is_multiple_of(LISTED_EVERY) {
            self.list(caller, poller, failures).await;
        }
        self.n_looks = self.n_looks.wrapping_add(1);
        let mut seen = BTreeMap::new();
        for url in self.urls.clone() {
            self.one(caller, &url, &mut seen, failures).await;
        }
        // Dead-letter queues that only a policy names.
        let named: BTreeSet<String> =
            seen.values().filter_map(|one: &Seen| one.target.clone()).collect();
        for arn in named {
            if seen.contains_key(&arn) {
                continue;
            }
            match self.url_of(caller, &arn).await {
                Ok(url) => self.one(caller, &url, &mut seen, failures).await,
                Err(error) => failures.push(error.to_string()),
            }
        }
        let asked = self.sources_of_unnamed(caller, &seen, failures).await;
        depths(&seen, asked)
    }

    async fn list(&mut self, caller: &Caller, poller: &Poller, failures: &mut Vec<String>) {
        let mut urls: BTreeSet<String> = poller.queue_urls.iter().cloned().collect();
        for prefix in &poller.queue_prefixes {
            let mut next = Value::Null;
            loop {
                let mut body = json!({"QueueNamePrefix": prefix, "MaxResults": PAGE});
                if !next.is_null() {
                    body["NextToken"] = next;
                }
                let answer = match caller.call(Service::Sqs, "ListQueues", &body).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        failures.push(error.to_string());
                        // What was known is asked on.
                        urls.extend(self.urls.iter().cloned());
                        break;
                    }
                };
                let listed = answer["QueueUrls"].as_array().into_iter().flatten();
                urls.extend(listed.filter_map(|url| url.as_str().map(str::to_owned)));
                next = answer["NextToken"].clone();
                if next.is_null() || urls.len() > SUBJECTS_MAX {
                    break;
                }
            }
        }
        if urls.len() > SUBJECTS_MAX {
            failures.push(format!("more than {SUBJECTS_MAX} queues; the rest is not asked for"));
        }
        self.urls = urls.into_iter().take(SUBJECTS_MAX).collect();
    }

    async fn one(
        &self,
        caller: &Caller,
        url: &str,
        seen: &mut BTreeMap<String, Seen>,
        failures: &mut Vec<String>,
    ) {
        let names = ["QueueArn", "ApproximateNumberOfMessages", "RedrivePolicy"];
        let body = json!({"QueueUrl": url, "AttributeNames": names});
        match caller.call(Service::Sqs, "GetQueueAttributes", &body).await {
            Ok(answer) => match Seen::read(&answer["Attributes"], url) {
                Some((arn, one)) => drop(seen.insert(arn, one)),
                None => failures.push(format!("{url}: the answer has no QueueArn")),
            },
            Err(error) => failures.push(error.to_string()),
        }
    }

    async fn url_of(&mut self, caller: &Caller, arn: &str) -> Result<String, CallError> {
        if let Some(url) = self.targets.get(arn) {
            return Ok(url.clone());
        }
        let mut parts = arn.rsplit(':');
        let (name, owner) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let body = json!({"QueueName": name, "QueueOwnerAWSAccountId": owner});
        let answer = caller.call(Service::Sqs, "GetQueueUrl", &body).await?;
        let url = answer["QueueUrl"].as_str().unwrap_or_default().to_owned();
        self.targets.insert(arn.to_owned(), url.clone());
        Ok(url)
    }

    /// Queues that are called as dead-letter queues are and that no policy here names: SQS is asked whose.
    async fn sources_of_unnamed(
        &self,
        caller: &Caller,
        seen: &BTreeMap<String, Seen>,
        failures: &mut Vec<String>,
    ) -> BTreeMap<String, BTreeSet<String>> {
        let mut found = BTreeMap::new();
        for (arn, one) in seen {
            let is_named = seen.values().any(|other| other.target.as_ref() == Some(arn));
            if is_named || !is_dead_letter_name(name_of(arn)) {
                continue;
            }
            let body = json!({"QueueUrl": one.url});
            match caller.call(Service::Sqs, "ListDeadLetterSourceQueues", &body).await {
                Ok(answer) => {
                    // The service spells this list with a small letter.
                    let urls = answer["queueUrls"].as_array().into_iter().flatten();
                    let names = urls.filter_map(|url| url.as_str()?.rsplit('/').next());
                    found.insert(arn.clone(), names.map(str::to_owned).collect());
                }
                Err(error) => failures.push(error.to_string()),
            }
        }
        found
    }
}

/// One queue's attributes.
#[derive(Clone, Debug)]
struct Seen {
    url: String,
    /// None: not told.
    n_visible: Option<u64>,
    /// The ARN of its dead-letter queue.
    target: Option<String>,
}

impl Seen {
    fn read(attributes: &Value, url: &str) -> Option<(String, Self)> {
        let arn = attributes["QueueArn"].as_str()?.to_owned();
        let policy = attributes["RedrivePolicy"].as_str();
        let policy: Option<Value> = policy.and_then(|text| serde_json::from_str(text).ok());
        let target =
            policy.and_then(|policy| policy["deadLetterTargetArn"].as_str().map(str::to_owned));
        let told = attributes["ApproximateNumberOfMessages"].as_str();
        let n_visible = told.and_then(|text| text.parse().ok());
        Some((arn, Self { url: url.to_owned(), n_visible, target }))
    }
}

fn name_of(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or_default()
}

fn depths(
    seen: &BTreeMap<String, Seen>,
    mut asked: BTreeMap<String, BTreeSet<String>>,
) -> Vec<Depth> {
    for (arn, one) in seen {
        if let Some(target) = &one.target {
            asked.entry(target.clone()).or_default().insert(name_of(arn).to_owned());
        }
    }
    let depth = |(arn, one): (&String, &Seen)| {
        let sources = asked.get(arn).cloned();
        Some(Depth { queue: name_of(arn).to_owned(), n_visible: one.n_visible?, sources })
    };
    seen.iter().filter_map(depth).collect()
}

/// The points of one look. A dead-letter queue names its sources.
pub(super) fn batch(depths: &[Depth], at: Timestamp) -> Batch {
    let mut points = Points::new(Receiver::Sqs, at);
    for Depth { queue, n_visible, sources } in depths {
        let name = match sources {
            Some(_) => "throughline_dlq_depth",
            None => "throughline_queue_depth",
        };
        let mut pairs: Vec<(Text, Text)> =
            vec![(METRIC_NAME.into(), name.into()), ("queue".into(), queue.as_str().into())];
        let source = source_queues(sources.iter().flatten().map(String::as_str));
        pairs.extend(source.map(|source| ("source_queue".into(), source)));
        points.add(Labels::new(pairs), points.at, MetricValue::Gauge(f64_from_u64(*n_visible)));
    }
    points.batch
}
