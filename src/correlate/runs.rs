//! Attempts: the facts of one platform request id, or of one function and key, split by time.
//!
//! Asynchronous retries reuse the request id (AWS re:Post "Lambda async invocation retries"), so facts
//! of one id come in and attempts go out, in order of time. A split never depends on arrival.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::class::{Class, Gone, Namesake};
use super::fact::{LogFact, PlatformFact, SpanFact};
use super::few::FewSet;
use super::graph::NodeId;
use super::traces::BundleKey;
use crate::signal::{PlatformStage, Text, Timestamp, TraceId};

/// Starts of one invocation that two sources tell lie at most this far apart; what follows the last
/// fact of an invocation without a known end by more is another.
pub(super) const SAME_START: Duration = Duration::from_secs(1);

/// All facts that name one platform request id.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct RunCell {
    /// It waits to be looked at.
    pub(super) is_dirty: bool,
    pub(super) platform: Vec<PlatformFact>,
    pub(super) logs: Vec<LogFact>,
    /// Bundles of traces that belong here.
    pub(super) bundles: FewSet<(TraceId, BundleKey)>,
    /// Attempts that are final and gone; None: nobody has looked yet.
    pub(super) gone: Option<Gone>,
    pub(super) nodes: Vec<(Text, NodeId)>,
}

/// Records of one function that only a correlation or message id joins.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct RecordCell {
    /// It waits to be looked at.
    pub(super) is_dirty: bool,
    pub(super) logs: Vec<LogFact>,
    pub(super) n_sealed: u32,
    pub(super) nodes: Vec<(Text, NodeId)>,
}

/// A bundle's facts, borrowed from its trace.
#[derive(Debug)]
pub(super) struct BundleFacts<'a> {
    pub(super) key: (TraceId, BundleKey),
    pub(super) head: Option<&'a SpanFact>,
    pub(super) spans: Vec<Member<'a>>,
    pub(super) logs: Vec<Record<'a>>,
}

/// A span and the message whose processing it is part of.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    pub(super) span: &'a SpanFact,
    pub(super) under: Option<Text>,
}

/// A record and the message whose processing it is part of.
#[derive(Clone, Debug)]
pub(super) struct Record<'a> {
    pub(super) log: &'a LogFact,
    pub(super) under: Option<Text>,
}

/// All facts of one invocation.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) platform: Vec<&'a PlatformFact>,
    pub(super) heads: Vec<&'a SpanFact>,
    pub(super) spans: Vec<Member<'a>>,
    pub(super) logs: Vec<Record<'a>>,
    /// The bundles that spans and traced records came in.
    pub(super) bundles: Vec<(TraceId, BundleKey)>,
}

impl<'a> Parts<'a> {
    pub(super) fn add_bundle(&mut self, bundle: BundleFacts<'a>) {
        self.bundles.push(bundle.key);
        self.heads.extend(bundle.head);
        self.spans.extend(bundle.spans);
        self.logs.extend(bundle.logs);
    }

    /// Puts the facts in an order that only the set decides.
    pub(super) fn sort(&mut self) {
        self.platform.sort_by_key(|fact| (fact.event.time, fact.event.stage, fact.mark.hash));
        self.heads.sort_by_key(|span| (span.start, span.trace, span.span));
        self.spans.sort_by_key(|member| (member.span.start, member.span.trace, member.span.span));
        self.logs.sort_by_key(|record| (record.log.time, record.log.mark.hash));
    }
}

#[derive(Debug)]
enum Item<'a> {
    Platform(&'a PlatformFact),
    Bundle(BundleFacts<'a>),
    Log(&'a LogFact),
}

impl Item<'_> {
    fn function(&self) -> Option<&Text> {
        match self {
            Self::Platform(fact) => fact.source.function.as_ref(),
            Self::Log(fact) => fact.function(),
            Self::Bundle(bundle) => bundle
                .head
                .and_then(SpanFact::function)
                .or_else(|| bundle.logs.iter().find_map(|record| record.log.function())),
        }
    }

    fn source(&self) -> Option<&super::fact::Source> {
        match self {
            Self::Platform(fact) => Some(&fact.source),
            Self::Log(fact) => Some(&fact.source),
            Self::Bundle(bundle) => bundle
                .head
                .map(|head| &*head.source)
                .or_else(|| bundle.logs.first().map(|record| &*record.log.source)),
        }
    }

    fn account(&self) -> Option<&Text> {
        self.source().and_then(|source| source.account.as_ref())
    }

    fn region(&self) -> Option<&Text> {
        self.source().and_then(|source| source.region.as_ref())
    }

    /// When it happened, for ordering: the start of what starts, else its time.
    fn time(&self) -> Timestamp {
        match self {
            Self::Platform(fact) => fact.event.time,
            Self::Log(fact) => fact.time,
            Self::Bundle(bundle) => {
                let first = || bundle.logs.iter().map(|record| record.log.time).min();
                bundle.head.map(|head| head.start).or_else(first).unwrap_or_default()
            }
        }
    }

    fn order(&self) -> (Timestamp, u8, u64) {
        let (rank, hash) = match self {
            Self::Platform(fact) => {
                (u8::from(fact.event.stage > PlatformStage::Start), fact.mark.hash)
            }
            Self::Bundle(bundle) => (2, bundle.head.map_or(0, |head| head.mark.hash)),
            Self::Log(fact) => (3, fact.mark.hash),
        };
        (self.time(), rank, hash)
    }
}

/// What marks a start or an end; each attempt has one of each from each source, give or take a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Start,
    Head,
    Done,
    Report,
}

#[derive(Debug)]
struct Sweep<'a> {
    begin: Timestamp,
    end: Option<Timestamp>,
    last: Timestamp,
    signs: Vec<Sign>,
    parts: Parts<'a>,
}

impl<'a> Sweep<'a> {
    fn new(begin: Timestamp) -> Self {
        Self { begin, end: None, last: begin, signs: Vec::new(), parts: Parts::default() }
    }

    /// Whether something that began at `start` is another attempt.
    fn is_over_by(&self, start: Timestamp, sign: Sign) -> bool {
        let boundary = self.end.unwrap_or_else(|| self.last.saturating_add(SAME_START));
        let has_its_own = self.signs.contains(&sign);
        match sign {
            Sign::Start | Sign::Head => {
                start > boundary && (has_its_own || start > self.begin.saturating_add(SAME_START))
            }
            // A report may come late; only a second one of its kind tells of another attempt.
            Sign::Done | Sign::Report => has_its_own && start > boundary.saturating_add(SAME_START),
        }
    }

    fn note(&mut self, sign: Sign, end: Option<Timestamp>, last: Timestamp) {
        self.signs.push(sign);
        self.last = self.last.max(last);
        self.end = self.end.max(end);
    }

    fn take(&mut self, item: Item<'a>) {
        match item {
            Item::Platform(fact) => self.parts.platform.push(fact),
            Item::Log(log) => self.parts.logs.push(Record { log, under: None }),
            Item::Bundle(bundle) => self.parts.add_bundle(bundle),
        }
    }
}

/// When an interval item starts, what it shows, and when it ends.
fn reading(item: &Item<'_>) -> Option<(Timestamp, Sign, Option<Timestamp>)> {
    match item {
        Item::Bundle(bundle) => bundle.head.map(|head| (head.start, Sign::Head, Some(head.end))),
        Item::Log(_) => None,
        Item::Platform(fact) => {
            let time = fact.event.time;
            let began = time.saturating_sub(fact.event.duration.unwrap_or_default());
            match fact.event.stage {
                PlatformStage::Start => Some((time, Sign::Start, None)),
                PlatformStage::RuntimeDone => Some((began, Sign::Done, Some(time))),
                PlatformStage::Report => Some((began, Sign::Report, Some(time))),
                _ => None,
            }
        }
    }
}

/// Splits the facts of one function and request id into attempts, earliest first.
fn attempts(mut items: Vec<Item<'_>>) -> Vec<Parts<'_>> {
    items.sort_by_key(Item::order);
    let mut sweeps: Vec<Sweep<'_>> = Vec::new();
    let mut loose = Vec::new();
    for item in items {
        let Some((start, sign, end)) = reading(&item) else {
            loose.push(item);
            continue;
        };
        let is_next = sweeps.last().is_none_or(|sweep| sweep.is_over_by(start, sign));
        if is_next {
            sweeps.push(Sweep::new(start));
        }
        if let Some(sweep) = sweeps.last_mut() {
            sweep.note(sign, end, item.time());
            sweep.take(item);
        }
    }
    for item in loose {
        let time = item.time();
        if sweeps.is_empty() {
            sweeps.push(Sweep::new(time));
        }
        // A record belongs to the last attempt that had begun, give or take a clock's error.
        let began = |sweep: &Sweep<'_>| sweep.begin <= time.saturating_add(SAME_START);
        let idx = sweeps.iter().rposition(began).unwrap_or(0);
        if let Some(sweep) = sweeps.get_mut(idx) {
            sweep.take(item);
        }
    }
    sweeps.into_iter().map(|sweep| sweep.parts).collect()
}

/// Whether all items that tell the key tell the same.
fn agree<'b, 'a>(items: &'b [Item<'a>], key: impl Fn(&'b Item<'a>) -> Option<&'b Text>) -> bool {
    let mut told = items.iter().filter_map(key);
    let first = told.next();
    told.all(|other| Some(other) == first)
}

/// Parts items by a key that not all of them tell: those that do not go with the least key.
fn partition<'a>(
    items: Vec<Item<'a>>,
    key: impl for<'b> Fn(&'b Item<'a>) -> Option<&'b Text>,
) -> Vec<(Option<Text>, Vec<Item<'a>>)> {
    if agree(&items, &key) {
        return vec![(items.iter().find_map(&key).cloned(), items)];
    }
    let keys: BTreeSet<Text> = items.iter().filter_map(|item| key(item).cloned()).collect();
    let keys: Vec<Text> = keys.into_iter().collect();
    let mut classes: Vec<(Option<Text>, Vec<Item<'a>>)> =
        keys.iter().map(|name| (Some(Text::clone(name)), Vec::new())).collect();
    for item in items {
        let idx = key(&item).and_then(|name| keys.binary_search(name).ok()).unwrap_or(0);
        if let Some((_, class)) = classes.get_mut(idx) {
            class.push(item);
        }
    }
    classes
}

impl RunCell {
    pub(super) fn is_empty(&self) -> bool {
        self.platform.is_empty() && self.logs.is_empty() && self.bundles.is_empty()
    }

    /// The invocations that the facts tell of: for each function (and account, and region) its
    /// attempts, earliest first.
    pub(super) fn split<'a>(&'a self, bundles: Vec<BundleFacts<'a>>) -> Vec<Namesake<'a>> {
        let n_items = self.platform.len() + self.logs.len() + bundles.len();
        let mut items: Vec<Item<'a>> = Vec::with_capacity(n_items);
        items.extend(self.platform.iter().map(Item::Platform));
        items.extend(self.logs.iter().map(Item::Log));
        items.extend(bundles.into_iter().map(Item::Bundle));
        let keys = [Item::function, Item::account, Item::region];
        if keys.iter().all(|key| agree(&items, key)) {
            let [function, account, region] = keys.map(|key| items.iter().find_map(key));
            let class = Class::of(function, account, region);
            let function = function.cloned();
            return vec![Namesake { function, class, attempts: attempts(items) }];
        }
        let mut all = Vec::new();
        for (function, items) in partition(items, Item::function) {
            for (account, items) in partition(items, Item::account) {
                for (region, items) in partition(items, Item::region) {
                    let class = Class::of(function.as_ref(), account.as_ref(), region.as_ref());
                    let function = function.clone();
                    all.push(Namesake { function, class, attempts: attempts(items) });
                }
            }
        }
        all
    }
}

impl RecordCell {
    /// Records closer than `gap` to their neighbour are one invocation.
    pub(super) fn split(&self, gap: Duration) -> Vec<Parts<'_>> {
        let mut logs: Vec<&LogFact> = self.logs.iter().collect();
        logs.sort_by_key(|log| (log.time, log.mark.hash));
        let mut found: Vec<Parts<'_>> = Vec::new();
        let mut last: Option<Timestamp> = None;
        for log in logs {
            if last.is_none_or(|last| log.time.since(last) > gap) {
                found.push(Parts::default());
            }
            last = Some(log.time);
            if let Some(parts) = found.last_mut() {
                parts.logs.push(Record { log, under: None });
            }
        }
        found
    }
}
