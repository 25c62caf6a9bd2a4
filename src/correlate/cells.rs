//! Cells: the sets of facts from which invocations are worked out.
//!
//! Facts come in by their route and go out when their invocation is final. A cell that changed is dirty
//! until the next tick works its invocations out anew.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::assemble::{Naming, assemble};
use super::class::{self, Gone, Named};
use super::fact::{Age, LogFact, Mark, PlatformFact, SignalId, SpanFact};
use super::freeze::CellFacts;
use super::graph::{Cell, NodeId};
use super::known::Known;
use super::runs::{BundleFacts, Member, Parts, Record, RecordCell, RunCell};
use super::table::{self, Table};
use super::tell::hex;
use super::traces::{Alias, Bundle, BundleKey, Bundles, TraceCell, names_one_message};
use crate::signal::{Fnv128, SpanId, Text, Timestamp, TraceId};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Cells {
    pub(super) traces: Table<TraceId, Box<TraceCell>>,
    pub(super) runs: Table<Text, Box<RunCell>>,
    pub(super) records: Table<(Text, Text), RecordCell>,
    /// Each once.
    pub(super) dirty: Vec<Cell>,
    /// Request ids that too many runs of one function carry to be ids of one piece of work.
    pub(super) common: BTreeSet<Text>,
    /// Cells of very many facts, and when they may be worked out again.
    pub(super) heavy: BTreeMap<Cell, Age>,
    /// Cells that take no more records.
    pub(super) full: BTreeSet<Cell>,
}

/// A fact of a signal, ready to be held.
#[derive(Debug)]
pub(super) enum Fact {
    Span(SpanFact),
    Log(LogFact),
    Platform(PlatformFact),
}

impl Fact {
    pub(super) fn mark(&self) -> &Mark {
        match self {
            Self::Span(fact) => &fact.mark,
            Self::Log(fact) => &fact.mark,
            Self::Platform(fact) => &fact.mark,
        }
    }

    pub(super) fn canonical(&self) -> Vec<u8> {
        match self {
            Self::Span(fact) => fact.canonical(),
            Self::Log(fact) => fact.canonical(),
            Self::Platform(fact) => fact.canonical(),
        }
    }
}

/// What a final invocation leaves behind.
#[derive(Debug, Default)]
pub(super) struct Remains {
    pub(super) marks: Vec<Mark>,
    /// Tombstone keys.
    pub(super) keys: Vec<SignalId>,
}

impl Cells {
    /// Gives back the room of many that are gone.
    pub(super) fn shrink(&mut self) {
        table::shrink(&mut self.traces);
        table::shrink(&mut self.runs);
        table::shrink(&mut self.records);
    }

    pub(super) fn has(&self, cell: &Cell) -> bool {
        match cell {
            Cell::Run(id) => self.runs.contains_key(id),
            Cell::Trace(trace) => self.traces.contains_key(trace),
            Cell::Records(function, key) => {
                self.records.contains_key(&(Text::clone(function), Text::clone(key)))
            }
        }
    }

    pub(super) fn insert(&mut self, cell: &Cell, fact: Fact) {
        if let Fact::Platform(fact) = &fact {
            self.add_alias(fact);
        }
        let is_dirty = match (cell, fact) {
            (Cell::Trace(trace), fact) => {
                let own = self.traces.entry(*trace).or_default();
                match fact {
                    Fact::Span(fact) => own.spans.insert(fact),
                    Fact::Log(fact) => own.logs.push(fact),
                    Fact::Platform(_) => debug_assert!(false, "the platform's events are of runs"),
                }
                &mut own.is_dirty
            }
            (Cell::Run(id), fact) => {
                let own = self.runs.entry(Text::clone(id)).or_default();
                match fact {
                    Fact::Log(fact) => own.logs.push(fact),
                    Fact::Platform(fact) => {
                        if own.platform.is_empty() {
                            // Nearly always there is but one report.
                            own.platform.reserve_exact(1);
                        }
                        own.platform.push(fact);
                    }
                    Fact::Span(_) => debug_assert!(false, "spans are of traces"),
                }
                &mut own.is_dirty
            }
            (Cell::Records(function, key), fact) => {
                let key = (Text::clone(function), Text::clone(key));
                let own = self.records.entry(key).or_default();
                match fact {
                    Fact::Log(fact) => own.logs.push(fact),
                    _ => debug_assert!(false, "nothing but records is of records"),
                }
                &mut own.is_dirty
            }
        };
        if !std::mem::replace(is_dirty, true) {
            self.dirty.push(cell.clone());
        }
    }

    /// What a held span says, as a hash.
    pub(super) fn span_hash(&self, trace: &TraceId, span: SpanId) -> Option<u64> {
        self.traces.get(trace)?.spans.hash_of(span)
    }

    /// Takes a span out of its trace.
    pub(super) fn take_span(&mut self, trace: TraceId, span: SpanId) -> Option<Fact> {
        let own = self.traces.get_mut(&trace)?;
        own.is_torn = true;
        let taken = own.spans.take(span)?;
        self.touch(&Cell::Trace(trace));
        Some(Fact::Span(taken))
    }

    /// The next tick looks at a cell; it is made if it is not there.
    pub(super) fn touch(&mut self, cell: &Cell) {
        let is_dirty = match cell {
            Cell::Trace(trace) => &mut self.traces.entry(*trace).or_default().is_dirty,
            Cell::Run(id) => match self.runs.get_mut(id) {
                Some(own) => &mut own.is_dirty,
                None => &mut self.runs.entry(Text::clone(id)).or_default().is_dirty,
            },
            Cell::Records(function, key) => {
                let key = (Text::clone(function), Text::clone(key));
                &mut self.records.entry(key).or_default().is_dirty
            }
        };
        if !std::mem::replace(is_dirty, true) {
            self.dirty.push(cell.clone());
        }
    }

    /// A cell has been looked at.
    pub(super) fn settle(&mut self, cell: &Cell) {
        let is_dirty = match cell {
            Cell::Trace(trace) => self.traces.get_mut(trace).map(|own| &mut own.is_dirty),
            Cell::Run(id) => self.runs.get_mut(id).map(|own| &mut own.is_dirty),
            Cell::Records(function, key) => {
                let key = (Text::clone(function), Text::clone(key));
                self.records.get_mut(&key).map(|own| &mut own.is_dirty)
            }
        };
        if let Some(is_dirty) = is_dirty {
            *is_dirty = false;
        }
    }

    fn add_alias(&mut self, fact: &PlatformFact) {
        let (Some(trace), Some(span)) = (fact.event.trace, fact.event.span_id) else { return };
        let Some(id) = fact.event.invocation_id.clone() else { return };
        let alias = Alias { invocation_id: id, function: fact.source.function.clone() };
        let cell = self.traces.entry(trace.trace_id).or_default();
        if cell.aliases.entry(span).or_default().insert(alias) {
            self.touch(&Cell::Trace(trace.trace_id));
        }
    }

    /// Follows a cell to all cells that share invocations with it, and to these.
    /// None where one of them has more than `n_max`, or a request id that everybody uses.
    pub(super) fn near(
        &self,
        cell: Cell,
        n_max: usize,
        seen: &mut BTreeSet<Cell>,
        near: &mut Vec<NodeId>,
    ) -> Option<()> {
        let mut cells = vec![cell];
        while let Some(cell) = cells.pop() {
            if seen.contains(&cell) || !self.has(&cell) {
                continue;
            }
            if self.is_dirty(&cell) {
                return None;
            }
            match &cell {
                Cell::Trace(trace) => {
                    let Some(own) = self.traces.get(trace) else { continue };
                    few(&own.nodes, n_max)?;
                    near.extend(own.nodes.iter().map(|(_, id)| *id));
                    let runs = own.bundles.values().filter_map(|bundle| bundle.run.clone());
                    cells.extend(runs.map(Cell::Run));
                    let aliases = own.aliases.values().flatten();
                    cells.extend(aliases.map(|a| Cell::Run(Text::clone(&a.invocation_id))));
                }
                Cell::Run(id) => {
                    let own = self.runs.get(id).filter(|_| !self.common.contains(id))?;
                    few(&own.nodes, n_max)?;
                    near.extend(own.nodes.iter().map(|(_, id)| *id));
                    cells.extend(own.bundles.keys().map(|(trace, _)| Cell::Trace(*trace)));
                    let traces = own.platform.iter().filter_map(|fact| fact.event.trace);
                    cells.extend(traces.map(|trace| Cell::Trace(trace.trace_id)));
                }
                Cell::Records(function, key) => {
                    let own = self.records.get(&(Text::clone(function), Text::clone(key)));
                    near.extend(own.into_iter().flat_map(|own| &own.nodes).map(|(_, id)| *id));
                }
            }
            seen.insert(cell);
        }
        Some(())
    }

    /// Takes all facts of a cell out.
    pub(super) fn take(&mut self, cell: &Cell) -> Option<CellFacts> {
        let (spans, platform) = (Vec::new(), Vec::new());
        let gone = Gone::default();
        let of = |n_sealed, logs| CellFacts {
            cell: cell.clone(),
            n_sealed,
            gone,
            spans,
            logs,
            platform,
        };
        Some(match cell {
            Cell::Trace(trace) => {
                let own = self.traces.remove(trace)?;
                CellFacts { spans: own.spans.into_facts(), ..of(0, own.logs) }
            }
            Cell::Run(id) => {
                let own = self.forget_run(id)?;
                let gone = own.gone.unwrap_or_default();
                CellFacts { platform: own.platform, gone, ..of(0, own.logs) }
            }
            Cell::Records(function, key) => {
                let own = self.records.remove(&(Text::clone(function), Text::clone(key)))?;
                of(own.n_sealed, own.logs)
            }
        })
    }

    /// How many attempts of a cell are final and gone.
    pub(super) fn set_sealed(&mut self, cell: &Cell, n_sealed: u32, gone: Gone) {
        match cell {
            Cell::Trace(_) => {}
            Cell::Run(id) => {
                // It may have no facts but those that traces bring.
                self.touch(cell);
                if let Some(own) = self.runs.get_mut(id) {
                    own.gone = Some(gone);
                }
            }
            Cell::Records(function, key) => {
                let key = (Text::clone(function), Text::clone(key));
                if let Some(own) = self.records.get_mut(&key) {
                    own.n_sealed = n_sealed;
                }
            }
        }
    }

    /// Takes the record or event with this identity out of its cell.
    pub(super) fn take_fact(&mut self, cell: &Cell, identity: SignalId) -> Option<Fact> {
        let is_it = |mark: &Mark| mark.identity == Some(identity);
        let take_log = |logs: &mut Vec<LogFact>| {
            let idx = logs.iter().position(|log| is_it(&log.mark))?;
            Some(Fact::Log(logs.swap_remove(idx)))
        };
        let taken = match cell {
            Cell::Trace(trace) => {
                let own = self.traces.get_mut(trace)?;
                own.is_torn = true;
                // Bundles name records by their positions, which move: it is cut anew before it is read.
                self.heavy.remove(cell);
                take_log(&mut own.logs)
            }
            Cell::Run(id) => {
                let cell = self.runs.get_mut(id)?;
                match cell.platform.iter().position(|fact| is_it(&fact.mark)) {
                    Some(idx) => Some(Fact::Platform(cell.platform.swap_remove(idx))),
                    None => take_log(&mut cell.logs),
                }
            }
            Cell::Records(function, key) => take_log(
                &mut self.records.get_mut(&(Text::clone(function), Text::clone(key)))?.logs,
            ),
        };
        self.touch(cell);
        taken
    }

    /// Cuts a trace into bundles anew, hands those with a request id to their runs, and tells the
    /// invocations of the rest.
    pub(super) fn derive_trace(&mut self, trace: TraceId) -> Vec<Known> {
        let Some(cell) = self.traces.get_mut(&trace) else { return Vec::new() };
        cell.spans.sort();
        let new = cell.cut();
        let old = std::mem::replace(&mut cell.bundles, new);
        let is_torn = std::mem::take(&mut cell.is_torn);
        let runs = |bundles: &Bundles, others: &Bundles| {
            let other = bundles.iter().filter(|(key, b)| is_torn || others.get(*key) != Some(*b));
            other.filter_map(|(key, b)| Some((b.run.clone()?, key.clone()))).collect::<Vec<_>>()
        };
        let new_runs = runs(&cell.bundles, &old);
        for (run, key) in runs(&old, &cell.bundles) {
            if let Some(cell) = self.runs.get_mut(&run) {
                cell.bundles.remove(&(trace, key));
            }
            self.touch(&Cell::Run(run));
        }
        for (run, key) in new_runs {
            self.runs.entry(Text::clone(&run)).or_default().bundles.insert((trace, key), ());
            self.touch(&Cell::Run(run));
        }
        let Some(cell) = self.traces.get(&trace) else { return Vec::new() };
        let own = cell.bundles.iter().filter(|(_, bundle)| bundle.run.is_none());
        let known = own.map(|(key, bundle)| {
            let mut parts = Parts::default();
            parts.add_bundle(bundle_facts(cell, trace, key, bundle));
            assemble(parts, Naming::of(bundle_id(trace, key)))
        });
        known.collect()
    }

    pub(super) fn derive_run(&mut self, id: &Text) -> Vec<Known> {
        self.sort_traces_of(id);
        let Some(cell) = self.runs.get(id) else { return Vec::new() };
        let Named { attempts, is_common } = self.named_attempts(id, cell);
        let known = attempts.into_iter().map(|(naming, parts)| assemble(parts, naming)).collect();
        if is_common {
            self.common.insert(Text::clone(id));
        } else {
            self.common.remove(id);
        }
        known
    }

    /// Forgets all of a request id.
    pub(super) fn forget_run(&mut self, id: &Text) -> Option<Box<RunCell>> {
        self.common.remove(id);
        self.runs.remove(id)
    }

    pub(super) fn derive_records(
        &self,
        key: &(Text, Text),
        gap: std::time::Duration,
    ) -> Vec<Known> {
        let Some(cell) = self.records.get(key) else { return Vec::new() };
        let named = name_records(key, cell, gap);
        named.into_iter().map(|(naming, parts)| assemble(parts, naming)).collect()
    }

    pub(super) fn named_attempts<'a>(&'a self, id: &Text, cell: &'a RunCell) -> Named<'a> {
        let bundles = cell.bundles.keys().filter_map(|(trace, key)| {
            let traced = self.traces.get(trace)?;
            Some(bundle_facts(traced, *trace, key, traced.bundles.get(key)?))
        });
        class::name(id, cell, cell.split(bundles.collect()))
    }

    pub(super) fn prune_trace(&mut self, trace: TraceId) {
        if self.traces.get(&trace).is_some_and(|cell| cell.is_empty()) {
            self.traces.remove(&trace);
        }
    }
}

pub(super) fn name_records<'a>(
    key: &(Text, Text),
    cell: &'a RecordCell,
    gap: std::time::Duration,
) -> Vec<(Naming, Parts<'a>)> {
    let name = |(idx, parts): (usize, Parts<'a>)| {
        let hash = Fnv128::default().field(b"log").field(key.0.as_bytes()).field(key.1.as_bytes());
        let is_first = idx == 0 && cell.n_sealed == 0;
        let start = first_time(&parts).as_nanos().to_be_bytes();
        let hash = if is_first { hash } else { hash.field(&start) };
        (Naming::of(hex(hash.finish())), parts)
    };
    cell.split(gap).into_iter().enumerate().map(name).collect()
}

/// The time that names a later attempt. What was said of its times goes before records: one that was written
/// just before it may be as early as the attempt before it.
pub(super) fn first_time(parts: &Parts<'_>) -> Timestamp {
    let platform = parts.platform.iter().map(|fact| fact.event.time);
    let heads = parts.heads.iter().map(|head| head.start);
    let logs = || parts.logs.iter().map(|record| record.log.time).min();
    platform.chain(heads).min().or_else(logs).unwrap_or_default()
}

fn few(nodes: &[(Text, NodeId)], n_max: usize) -> Option<()> {
    (nodes.len() <= n_max).then_some(())
}

pub(super) fn bundle_id(trace: TraceId, key: &BundleKey) -> Text {
    let hash = match key {
        BundleKey::Head(span) => Fnv128::default().field(b"span").field(&trace.0).field(&span.0),
        BundleKey::Platform(span) => {
            Fnv128::default().field(b"platform").field(&trace.0).field(&span.0)
        }
        BundleKey::Records(function) => {
            Fnv128::default().field(b"trace").field(&trace.0).field(function.as_bytes())
        }
    };
    hex(hash.finish())
}

fn bundle_facts<'a>(
    cell: &'a TraceCell,
    trace: TraceId,
    key: &BundleKey,
    bundle: &Bundle,
) -> BundleFacts<'a> {
    let head = match key {
        BundleKey::Head(span) => cell.spans.get(*span),
        _ => None,
    };
    let mut spans = Vec::with_capacity(bundle.members.len());
    let members = bundle.members.iter().filter_map(|span| cell.spans.get(*span));
    spans.extend(members.map(|span| Member { span, under: None }));
    let head_id = head.map(|head| head.span);
    let mut others = spans.iter().filter(|member| Some(member.span.span) != head_id);
    let is_per_message = others.any(|member| names_one_message(member.span));
    let head_id = head_id.filter(|_| is_per_message);
    let under = |span| head_id.and_then(|head| cell.message_above(span, head));
    if is_per_message {
        spans.iter_mut().for_each(|member| member.under = under(member.span.span));
    }
    let logs = bundle.logs.iter().filter_map(|&idx| cell.logs.get(idx));
    BundleFacts {
        key: (trace, key.clone()),
        head,
        spans,
        logs: logs
            .map(|log| Record {
                log,
                under: log.trace.and_then(|trace| trace.span_id).and_then(under),
            })
            .collect(),
    }
}
