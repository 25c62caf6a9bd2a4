//! One trace: its spans and the records that name them, cut into bundles of one invocation each.
//!
//! Facts of one trace come in; bundles (a head span, its members, its records) go out. A bundle never
//! spans two functions: a span whose parent lives elsewhere begins one of its own. Bundles are worked
//! out anew from the set of facts, so a child may come before its parent.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::fact::{LogFact, SpanFact};
use super::graph::NodeId;
use crate::signal::{SpanId, SpanKind, Text};

/// What holds a bundle together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum BundleKey {
    /// The span that begins the invocation.
    Head(SpanId),
    /// A span that only the platform knows: it names the invocation.
    Platform(SpanId),
    /// Records of a function that sends no spans.
    Records(Text),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bundle {
    pub(super) members: Vec<SpanId>,
    /// Positions in [`TraceCell::logs`].
    pub(super) logs: Vec<usize>,
    /// The platform's request id, where the bundle belongs to one.
    pub(super) run: Option<Text>,
}

/// The invocation of a span that only the platform tells of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Alias {
    pub(super) invocation_id: Text,
    pub(super) function: Option<Text>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct TraceCell {
    pub(super) spans: BTreeMap<SpanId, SpanFact>,
    pub(super) logs: Vec<LogFact>,
    pub(super) aliases: BTreeMap<SpanId, BTreeSet<Alias>>,
    /// As of the last tick.
    pub(super) bundles: BTreeMap<BundleKey, Bundle>,
    /// Invocations that this trace alone tells of.
    pub(super) nodes: Vec<(Text, NodeId)>,
}

impl TraceCell {
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.logs.is_empty() && self.aliases.is_empty()
    }

    /// The parent of a span within its own resource.
    pub(super) fn own_parent(&self, span: &SpanFact) -> Option<&SpanFact> {
        let parent = self.spans.get(&span.parent?)?;
        parent.source.is_same_place(&span.source).then_some(parent)
    }

    fn begins(&self, span: &SpanFact) -> bool {
        span.facts().invocation_id.is_some()
            || span.kind == SpanKind::Server
            || self.own_parent(span).is_none()
    }

    /// Cuts the trace into bundles.
    pub(super) fn cut(&self) -> BTreeMap<BundleKey, Bundle> {
        let heads = self.heads();
        let mut bundles: BTreeMap<BundleKey, Bundle> = BTreeMap::new();
        for (&span, &head) in &heads {
            let bundle = bundles.entry(BundleKey::Head(head)).or_default();
            bundle.members.push(span);
        }
        for (idx, log) in self.logs.iter().enumerate() {
            if let Some(key) = self.bundle_of(log, &heads, &bundles) {
                bundles.entry(key).or_default().logs.push(idx);
            }
        }
        for (key, bundle) in &mut bundles {
            bundle.run = self.run_of(key);
        }
        bundles
    }

    /// The head of every span: its nearest ancestor that begins an invocation, or itself.
    fn heads(&self) -> BTreeMap<SpanId, SpanId> {
        let mut heads = BTreeMap::new();
        for span in self.spans.values() {
            let mut path: Vec<SpanId> = Vec::new();
            let mut at = span;
            let head = loop {
                if let Some(&head) = heads.get(&at.span) {
                    break head;
                }
                // Parents that form a ring have no first; the least id stands in.
                if let Some(ring) = path.iter().position(|&id| id == at.span) {
                    break path.iter().skip(ring).min().copied().unwrap_or(at.span);
                }
                path.push(at.span);
                match self.own_parent(at) {
                    Some(parent) if !self.begins(at) => at = parent,
                    _ => break at.span,
                }
            };
            heads.extend(path.into_iter().map(|id| (id, head)));
        }
        heads
    }

    fn bundle_of(
        &self,
        log: &LogFact,
        heads: &BTreeMap<SpanId, SpanId>,
        bundles: &BTreeMap<BundleKey, Bundle>,
    ) -> Option<BundleKey> {
        if let Some(span) = log.trace.and_then(|trace| trace.span_id) {
            if let Some(&head) = heads.get(&span) {
                return Some(BundleKey::Head(head));
            }
            if self.aliases.contains_key(&span) {
                return Some(BundleKey::Platform(span));
            }
        }
        let function = log.function_or_service()?;
        let here = bundles.keys().filter_map(|key| match key {
            BundleKey::Head(span) => self.spans.get(span),
            _ => None,
        });
        let near = here
            .filter(|head| {
                head.function().or(head.source.name()) == Some(function)
                    && log.source.is_same_place(&head.source)
            })
            .map(|head| (head.start > log.time, head.start.since(log.time), head));
        // The last that began before the record, else the first after it.
        let nearest = near.min_by_key(|&(is_later, ahead, head)| {
            (is_later, ahead, log.time.since(head.start), head.span)
        });
        Some(match nearest {
            Some((_, _, head)) => BundleKey::Head(head.span),
            None => BundleKey::Records(Text::clone(function)),
        })
    }

    fn run_of(&self, key: &BundleKey) -> Option<Text> {
        match key {
            BundleKey::Records(_) => None,
            BundleKey::Platform(span) => {
                self.aliases.get(span)?.first().map(|alias| Text::clone(&alias.invocation_id))
            }
            BundleKey::Head(span) => {
                let head = self.spans.get(span)?;
                if let Some(id) = &head.facts().invocation_id {
                    return Some(Text::clone(id));
                }
                // The platform's own span of this invocation: exported, or known by name only.
                let own = self.aliases.get(span);
                let above = head.parent.and_then(|parent| self.aliases.get(&parent));
                let named = [own, above].into_iter().flatten().flatten().find(|alias| {
                    let function = head.function().or(head.source.name());
                    alias.function.is_none() || alias.function.as_ref() == function
                });
                named.map(|alias| Text::clone(&alias.invocation_id))
            }
        }
    }

    /// The message whose processing a member span is part of: the one that the nearest consumer span
    /// between it and its head names.
    pub(super) fn message_above(&self, span: SpanId, head: SpanId) -> Option<Text> {
        let mut at = self.spans.get(&span)?;
        for _ in 0..self.spans.len() {
            if at.span == head {
                return None;
            }
            if at.kind == SpanKind::Consumer
                && let [message] = at.facts().received.as_slice()
            {
                return Some(Text::clone(&message.id));
            }
            at = self.own_parent(at)?;
        }
        None
    }
}
