//! One trace: its spans and the records that name them, cut into bundles of one invocation each.
//!
//! Facts of one trace come in; bundles (a head span, its members, its records) go out. A bundle never
//! spans two functions: a span whose parent lives elsewhere begins one of its own. Bundles are worked
//! out anew from the set of facts, so a child may come before its parent.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::fact::{LogFact, SpanFact};
use super::few::FewMap;
use super::graph::NodeId;
use super::table::Table;
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

pub(super) type Bundles = FewMap<BundleKey, Bundle>;

/// The invocation of a span that only the platform tells of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Alias {
    pub(super) invocation_id: Text,
    pub(super) function: Option<Text>,
}

/// Room that a trace begins with.
const SPANS_USUAL: usize = 8;
/// Spans in order of arrival that are looked through one by one.
const UNSORTED_FEW: usize = 64;

/// The spans of a trace by their ids: in order of arrival until they are looked at.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Spans {
    facts: Vec<SpanFact>,
    is_sorted: bool,
    /// Where they are many: the hash of each.
    hashes: Table<SpanId, u64>,
}

impl Spans {
    pub(super) fn insert(&mut self, fact: SpanFact) {
        self.is_sorted = self.facts.is_empty();
        if !self.hashes.is_empty() {
            self.hashes.insert(fact.span, fact.mark.hash);
        } else if self.facts.len() >= UNSORTED_FEW {
            self.hashes.extend(self.facts.iter().map(|own| (own.span, own.mark.hash)));
            self.hashes.insert(fact.span, fact.mark.hash);
        }
        if self.facts.capacity() == 0 {
            self.facts.reserve(SPANS_USUAL);
        }
        self.facts.push(fact);
    }

    /// What a span says, as a hash.
    pub(super) fn hash_of(&self, id: SpanId) -> Option<u64> {
        if !self.hashes.is_empty() {
            return self.hashes.get(&id).copied();
        }
        self.facts.iter().find(|fact| fact.span == id).map(|fact| fact.mark.hash)
    }

    /// To be called before spans are looked for.
    pub(super) fn sort(&mut self) {
        if !self.is_sorted {
            self.facts.sort_unstable_by_key(|fact| (fact.span, fact.mark.hash));
            self.facts.dedup_by_key(|fact| fact.span);
            self.is_sorted = true;
        }
    }

    fn position(&self, id: SpanId) -> Option<usize> {
        self.facts.binary_search_by_key(&id, |fact| fact.span).ok()
    }

    pub(super) fn get(&self, id: SpanId) -> Option<&SpanFact> {
        debug_assert!(self.is_sorted, "spans are sorted before they are looked for");
        self.facts.get(self.position(id)?)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &SpanFact> {
        self.facts.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    pub(super) fn take(&mut self, id: SpanId) -> Option<SpanFact> {
        let idx = self.facts.iter().position(|fact| fact.span == id)?;
        self.hashes.remove(&id);
        Some(self.facts.remove(idx))
    }

    /// Takes all of these out; `ids` is sorted.
    pub(super) fn take_all(&mut self, ids: &[SpanId]) -> Vec<SpanFact> {
        if !self.hashes.is_empty() {
            self.hashes.retain(|id, _| ids.binary_search(id).is_err());
        }
        self.facts.extract_if(.., |fact| ids.binary_search(&fact.span).is_ok()).collect()
    }

    pub(super) fn into_facts(self) -> Vec<SpanFact> {
        self.facts
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct TraceCell {
    /// It waits to be looked at.
    pub(super) is_dirty: bool,
    pub(super) spans: Spans,
    pub(super) logs: Vec<LogFact>,
    pub(super) aliases: BTreeMap<SpanId, BTreeSet<Alias>>,
    /// As of the last tick.
    pub(super) bundles: Bundles,
    /// A fact was taken out since: bundles that look the same may hold another.
    pub(super) is_torn: bool,
    /// Invocations that this trace alone tells of.
    pub(super) nodes: Vec<(Text, NodeId)>,
}

impl TraceCell {
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.logs.is_empty() && self.aliases.is_empty()
    }

    /// The parent of a span within its own resource.
    pub(super) fn own_parent(&self, span: &SpanFact) -> Option<&SpanFact> {
        let parent = self.spans.get(span.parent?)?;
        parent.source.is_same_place(&span.source).then_some(parent)
    }

    /// Cuts the trace into bundles.
    pub(super) fn cut(&self) -> Bundles {
        let heads = self.heads();
        let mut bundles = Bundles::default();
        for (span, &head) in self.spans.iter().zip(&heads) {
            let head = self.spans.facts.get(head).unwrap_or(span);
            bundles.update(&BundleKey::Head(head.span), |bundle| bundle.members.push(span.span));
        }
        let mut starts = Starts::default();
        for (idx, log) in self.logs.iter().enumerate() {
            if let Some(key) = self.bundle_of(log, &heads, (&bundles, &mut starts)) {
                bundles.update(&key, |bundle| bundle.logs.push(idx));
            }
        }
        for (key, bundle) in bundles.iter_mut() {
            bundle.run = self.run_of(key);
        }
        bundles
    }

    /// The position of the head of every span: its nearest ancestor that begins an invocation, or itself.
    fn heads(&self) -> Vec<usize> {
        let facts = &self.spans.facts;
        let parent = |span: &SpanFact| {
            let idx = span.parent.and_then(|parent| self.spans.position(parent))?;
            let is_own = facts.get(idx).is_some_and(|own| own.source.is_same_place(&span.source));
            (is_own && !begins(span)).then_some(idx)
        };
        let parents: Vec<Option<usize>> = facts.iter().map(parent).collect();
        let mut heads: Vec<Option<usize>> = vec![None; facts.len()];
        let mut path: Vec<usize> = Vec::new();
        for start in 0..facts.len() {
            let mut at = start;
            let head = loop {
                if let Some(&Some(head)) = heads.get(at) {
                    break head;
                }
                // Parents that form a ring have no first; the least id stands in.
                if let Some(ring) = path.iter().position(|&on_path| on_path == at) {
                    break path.iter().skip(ring).min().copied().unwrap_or(at);
                }
                path.push(at);
                match parents.get(at) {
                    Some(&Some(parent)) => at = parent,
                    _ => break at,
                }
            };
            for at in path.drain(..) {
                if let Some(own) = heads.get_mut(at) {
                    *own = Some(head);
                }
            }
        }
        heads.into_iter().enumerate().map(|(own, head)| head.unwrap_or(own)).collect()
    }

    fn bundle_of<'a>(
        &'a self,
        log: &LogFact,
        heads: &[usize],
        (bundles, starts): (&Bundles, &mut Starts<'a>),
    ) -> Option<BundleKey> {
        if let Some(span) = log.trace.and_then(|trace| trace.span_id) {
            let head = self.spans.position(span).and_then(|idx| heads.get(idx));
            if let Some(head) = head.and_then(|&head| self.spans.facts.get(head)) {
                return Some(BundleKey::Head(head.span));
            }
            if self.aliases.contains_key(&span) {
                return Some(BundleKey::Platform(span));
            }
        }
        let function = log.function_or_service()?;
        Some(match starts.of(self, bundles).nearest(function, log) {
            Some(head) => BundleKey::Head(head.span),
            None => match self.only_platform_span(function) {
                Some(span) => BundleKey::Platform(span),
                None => BundleKey::Records(Text::clone(function)),
            },
        })
    }

    /// The span by which the platform names an invocation of this function in the trace, where it is
    /// the only one: of several nothing tells whose a record is (Cloud Run's records name no span
    /// where the code does not pass it on).
    fn only_platform_span(&self, function: &Text) -> Option<SpanId> {
        let is_own = |alias: &Alias| alias.function.as_ref() == Some(function);
        let mut own = self.aliases.iter().filter(|(_, aliases)| aliases.iter().any(is_own));
        let (span, _) = own.next()?;
        own.next().is_none().then_some(*span)
    }

    fn run_of(&self, key: &BundleKey) -> Option<Text> {
        match key {
            BundleKey::Records(_) => None,
            BundleKey::Platform(span) => {
                self.aliases.get(span)?.first().map(|alias| Text::clone(&alias.invocation_id))
            }
            BundleKey::Head(span) => {
                let head = self.spans.get(*span)?;
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
        let mut at = self.spans.get(span)?;
        for _ in self.spans.iter() {
            if at.span == head {
                return None;
            }
            if names_one_message(at)
                && let [message] = at.facts().received.as_slice()
            {
                return Some(Text::clone(&message.id));
            }
            at = self.own_parent(at)?;
        }
        None
    }
}

/// The heads of a trace by their functions, in order of their starts, once a record asks.
#[derive(Default)]
struct Starts<'a> {
    by_function: BTreeMap<&'a Text, Vec<&'a SpanFact>>,
    is_filled: bool,
}

impl<'a> Starts<'a> {
    fn of(&mut self, cell: &'a TraceCell, bundles: &Bundles) -> &Self {
        if !std::mem::replace(&mut self.is_filled, true) {
            let heads = bundles.keys().filter_map(|key| match key {
                BundleKey::Head(span) => cell.spans.get(*span),
                _ => None,
            });
            for head in heads {
                if let Some(function) = head.function().or(head.source.name()) {
                    self.by_function.entry(function).or_default().push(head);
                }
            }
            for heads in self.by_function.values_mut() {
                heads.sort_by_key(|head| (head.start, head.span));
            }
        }
        self
    }

    /// The last head of the function, and of where the record was written, that began before the record;
    /// else the first after it. Of those that began at once the one with the least id.
    fn nearest(&self, function: &Text, log: &LogFact) -> Option<&'a SpanFact> {
        let heads = self.by_function.get(function)?;
        let is_here = |head: &&&'a SpanFact| log.source.is_same_place(&head.source);
        let (before, after) = heads.split_at(heads.partition_point(|head| head.start <= log.time));
        let last = before.iter().rev().find(is_here).map(|head| head.start);
        let began = |start| before.partition_point(|head| head.start < start);
        let first_of_last = last.and_then(|start| before.iter().skip(began(start)).find(is_here));
        first_of_last.or_else(|| after.iter().find(is_here)).copied()
    }
}

/// Whether a span is the processing of one message.
pub(super) fn names_one_message(span: &SpanFact) -> bool {
    span.kind == SpanKind::Consumer && span.facts().received.len() == 1
}

/// Whether a span begins an invocation, whatever is above it.
fn begins(span: &SpanFact) -> bool {
    span.facts().invocation_id.is_some() || span.kind == SpanKind::Server
}
