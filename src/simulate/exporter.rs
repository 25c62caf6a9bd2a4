//! Telemetry on its way out: what runs tell is gathered as SDKs, extensions and Firehose gather it, and
//! leaves as the payloads that they would post.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1 as trace;
use serde_json::Value;

use super::config::{Own, Platform, StyleChoice};
use super::payload;
use super::plan::Function;
use super::random::Random;
use super::run::Run;
use super::{logs, otlp, platform};
use crate::signal::{Text, Timestamp};

/// Items of one payload.
const ITEMS_MAX: usize = 500;

/// One HTTP request that an exporter makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// When it is sent.
    pub(super) at: Timestamp,
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<Header>,
    pub(super) body: Vec<u8>,
}

/// A header beside the content type.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Header {
    pub name: &'static str,
    pub value: String,
}

impl Header {
    pub(super) fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into() }
    }
}

/// Something told, in the form of its channel.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Span(Box<InstanceSpan>),
    /// A line of text or JSON.
    Line(String),
    /// An event of the Telemetry API.
    Event(Value),
    Log(LogEvent),
    /// A record of a metric stream.
    Metric(Value),
}

#[derive(Clone, Debug)]
pub(super) struct InstanceSpan {
    pub(super) instance: Text,
    pub(super) span: trace::Span,
}

/// A CloudWatch log event.
#[derive(Clone, Debug)]
pub(super) struct LogEvent {
    pub(super) stream: Text,
    pub(super) time: Timestamp,
    pub(super) message: String,
}

/// An item and when it can be sent.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) ready: Timestamp,
    pub(super) item: Item,
}

/// Where items are gathered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Channel {
    Traces(Function),
    Json(Function),
    /// The extension of one instance.
    Telemetry(Function, Text),
    CloudWatch(Function),
    Metrics,
}

impl Channel {
    /// How long the oldest item waits for company.
    const fn linger(&self) -> Duration {
        Duration::from_millis(match self {
            Self::Telemetry(..) => 100,
            Self::Traces(_) | Self::Json(_) => 500,
            Self::CloudWatch(_) => 1_500,
            Self::Metrics => 20_000,
        })
    }
}

#[derive(Debug)]
pub(super) struct Exporter {
    style: StyleChoice,
    random: Random,
    channels: BTreeMap<Channel, BTreeMap<(Timestamp, u64), Item>>,
    n_told: u64,
    n_log_events: u64,
}

impl Exporter {
    pub(super) fn new(seed: u64, style: StyleChoice) -> Self {
        let random = Random::new(seed, 1);
        Self { style, random, channels: BTreeMap::new(), n_told: 0, n_log_events: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Everything that a run says, and that the platform says of it.
    pub(super) fn tell(&mut self, run: &Run) {
        let voice = self.style.of(run.function);
        let instance = || Channel::Telemetry(run.function, Text::clone(&run.instance));
        match voice.own {
            Own::Spans | Own::SpansWithoutContext => {
                self.put(Channel::Traces(run.function), otlp::spans(run, voice.own));
            }
            Own::JsonLogs => self.put(Channel::Json(run.function), logs::lines(run)),
            Own::TelemetryLogs => self.put(instance(), logs::events(run)),
            Own::CloudWatchLogs => {
                self.put(Channel::CloudWatch(run.function), logs::log_events(run));
            }
        }
        match voice.platform {
            Platform::TelemetryApi => {
                // The report comes at best after the invocation, at worst with one of the next.
                let is_late = self.random.chance(0.2);
                let usual = self.random.millis(2, if is_late { 6_000 } else { 40 });
                self.put(instance(), platform::events(run, usual));
            }
            Platform::CloudWatch => {
                self.put(Channel::CloudWatch(run.function), platform::lines(run));
            }
            Platform::Silent => {}
        }
    }

    pub(super) fn put(&mut self, channel: Channel, told: Vec<Told>) {
        if told.is_empty() {
            return;
        }
        let buffer = self.channels.entry(channel).or_default();
        for Told { ready, item } in told {
            buffer.insert((ready, self.n_told), item);
            self.n_told += 1;
        }
    }

    /// What is sent at `now`.
    pub(super) fn flush(&mut self, now: Timestamp) -> Vec<Payload> {
        let mut payloads = Vec::new();
        let mut kept = BTreeMap::new();
        for (channel, mut items) in std::mem::take(&mut self.channels) {
            let oldest = items.first_key_value().map(|(&(ready, _), _)| ready);
            let is_due = oldest.is_some_and(|ready| ready.saturating_add(channel.linger()) <= now);
            if is_due {
                let later = items.split_off(&(now, u64::MAX));
                let ready: Vec<Item> = items.into_values().collect();
                for chunk in ready.chunks(ITEMS_MAX) {
                    payloads.push(self.pack(&channel, chunk, now));
                }
                items = later;
            }
            if !items.is_empty() {
                kept.insert(channel, items);
            }
        }
        self.channels = kept;
        payloads
    }

    fn pack(&mut self, channel: &Channel, items: &[Item], at: Timestamp) -> Payload {
        let id = self.random.uuid();
        match channel {
            Channel::Traces(function) => payload::traces(*function, items, at),
            Channel::Json(function) => payload::json_lines(*function, items, at, id),
            Channel::Telemetry(function, _) => payload::telemetry(*function, items, at, id),
            Channel::CloudWatch(function) => {
                let n_before = self.n_log_events;
                self.n_log_events += crate::number::u64_from_usize(items.len());
                payload::log_subscription(*function, items, n_before, payload::Sending { at, id })
            }
            Channel::Metrics => payload::metric_stream(items, at, id),
        }
    }
}
