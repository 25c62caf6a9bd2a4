//! The settings, prepared for look-ups, and what was learned of functions and queues.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{Architecture, Config, FunctionConfig, QueueConfig};
use super::known::Known;
use super::request::DeadLetter;
use crate::signal::{MessageRef, Text, Via};

/// Functions and queues of which something is learned; more are treated as unknown.
pub(super) const LEARNED_MAX: usize = if cfg!(test) { 200 } else { 10_000 };

/// A platform's own deadline is up: what is not told by then is lost.
const TIMEOUT_SLACK: Duration = Duration::from_secs(30);

/// Checked settings with their indexes.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) config: Config,
    /// Dead-letter queue -> the queue that it belongs to.
    sources: BTreeMap<Text, Text>,
    queues: BTreeMap<Text, QueueConfig>,
    beginnings: BTreeSet<Text>,
    functions: BTreeMap<Text, FunctionConfig>,
}

/// What traffic taught: never unlearned, so that a quiet hour forgets nothing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Learned {
    /// Queues that somebody takes messages from.
    consumed: BTreeSet<Text>,
}

impl Rules {
    pub(super) fn new(config: Config) -> Self {
        let mut rules = Self {
            sources: BTreeMap::new(),
            queues: BTreeMap::new(),
            beginnings: BTreeSet::new(),
            functions: config.functions.iter().map(|f| (Text::clone(&f.name), f.clone())).collect(),
            config,
        };
        for queue in &rules.config.queues {
            rules.queues.insert(Text::clone(&queue.name), queue.clone());
            if queue.starts_request {
                rules.beginnings.insert(Text::clone(&queue.name));
            }
            if let Some(dlq) = &queue.dlq {
                rules.sources.insert(Text::clone(dlq), Text::clone(&queue.name));
            }
        }
        rules
    }

    pub(super) fn timeout(&self, function: &str) -> Option<Duration> {
        self.functions.get(function)?.timeout
    }

    /// How long a started invocation is waited for, where its timeout is known.
    pub(super) fn patience(&self, function: &str) -> Option<Duration> {
        Some(self.timeout(function)?.saturating_add(TIMEOUT_SLACK))
    }

    pub(super) fn memory_bytes(&self, known: &Known) -> Option<u64> {
        let configured = || self.functions.get(&known.function).and_then(|f| f.memory_bytes);
        known.memory_size_bytes.or_else(configured)
    }

    pub(super) fn architecture(&self, function: &str) -> Architecture {
        self.functions.get(function).map(|f| f.architecture).unwrap_or_default()
    }

    pub(super) fn incomplete_after(&self, flow: &str) -> Duration {
        let own = self.config.flows.iter().find(|known| *known.matches == *flow);
        own.and_then(|flow| flow.incomplete_after).unwrap_or(self.config.incomplete_after)
    }

    /// Whether taking this message up begins a request of its own.
    pub(super) fn begins_request(&self, message: &MessageRef) -> bool {
        message.queue.as_ref().is_some_and(|queue| self.beginnings.contains(queue))
    }

    /// Where a message was read from, if that is a dead-letter queue. The function is left empty.
    /// That of an asynchronous invocation has no name: what fell names its function.
    pub(super) fn dead_letter(&self, message: &MessageRef) -> Option<DeadLetter> {
        let queue = message.queue.clone();
        if message.via == Via::Invoke {
            let function = message.dead_letter_source.clone()?;
            let queue = queue.unwrap_or_default();
            return Some(DeadLetter { queue, source_queue: Text::default(), function });
        }
        let configured = || self.sources.get(queue.as_ref()?).cloned();
        let source_queue = message.dead_letter_source.clone().or_else(configured)?;
        let of_source = || self.queues.get(&source_queue)?.dlq.clone();
        let queue = queue.clone().or_else(of_source).unwrap_or_default();
        Some(DeadLetter { queue, source_queue, function: Text::default() })
    }

    pub(super) fn queue(&self, name: &Text) -> Option<&QueueConfig> {
        self.queues.get(name)
    }

    /// How long a failed receive of a message waits for the next one.
    pub(super) fn retry_after(&self, queue: Option<&QueueConfig>) -> Duration {
        self.config.retry_after_of(queue)
    }

    /// Whether a message on this queue has a consumer to wait for.
    pub(super) fn has_consumer(&self, learned: &Learned, queue: &Text) -> bool {
        !self.beginnings.contains(queue)
            && (self.queues.contains_key(queue) || learned.consumed.contains(queue))
    }
}

impl Learned {
    /// Learns from one invocation; true where something is new.
    pub(super) fn learn(&mut self, known: &Known) -> bool {
        let mut is_new = false;
        for queue in known.received.iter().filter_map(|message| message.queue.as_ref()) {
            if !self.consumed.contains(queue) && self.consumed.len() < LEARNED_MAX {
                is_new |= self.consumed.insert(Text::clone(queue));
            }
        }
        is_new
    }

    /// Of no further queue anything is learned.
    pub(super) fn is_full(&self) -> bool {
        self.consumed.len() >= LEARNED_MAX
    }
}
