//! Final invocations of one cell leave together: a cell is looked through once for all of them, and a trace
//! once for all that has facts in it.
//!
//! What was known of them comes in; the facts that they were made of go out of their cells, and what is
//! remembered of each is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cells::{Cells, Remains, bundle_id, first_time, name_records};
use super::class::Class;
use super::dedup;
use super::fact::Mark;
use super::graph::Cell;
use super::known::Known;
use super::runs::Parts;
use super::traces::{BundleKey, TraceCell};
use crate::number::u32_from_usize;
use crate::signal::{SpanId, Text, Timestamp, TraceContext, TraceId};

/// A bundle that is to be taken out of its trace, for the invocation at this place among those that are final.
#[derive(Debug)]
pub(super) struct Torn {
    pub(super) trace: TraceId,
    pub(super) key: BundleKey,
    pub(super) place: usize,
}

/// Whose each fact of the final invocations is, by their places.
#[derive(Default)]
struct Owners {
    platform: BTreeMap<u64, usize>,
    logs: BTreeMap<(Timestamp, u64), usize>,
    bundles: Vec<(usize, (TraceId, BundleKey))>,
    /// Whose they were, and when they began.
    gone: Vec<(Class, Timestamp)>,
}

impl Owners {
    fn add(&mut self, place: usize, class: Class, parts: Parts<'_>) {
        self.gone.push((class, first_time(&parts)));
        self.platform.extend(parts.platform.iter().map(|fact| (fact.mark.hash, place)));
        let records = parts.logs.iter().map(|record| record.log);
        self.logs.extend(records.map(|log| ((log.time, log.mark.hash), place)));
        self.bundles.extend(parts.bundles.into_iter().map(|bundle| (place, bundle)));
    }
}

fn keep(place: Option<&usize>, mark: &Mark, remains: &mut [Remains]) -> bool {
    if let Some(own) = place.and_then(|&place| remains.get_mut(place)) {
        own.marks.push(*mark);
    }
    place.is_none()
}

impl Cells {
    /// Takes the facts of final invocations of one cell out: what each leaves. What lies in traces is taken
    /// out by [`Cells::take_torn`], for all of them at once.
    pub(super) fn bury(
        &mut self,
        cell: &Cell,
        nodes: &[&Known],
        gap: Duration,
        torn: &mut Vec<Torn>,
    ) -> Vec<Remains> {
        match cell {
            Cell::Trace(trace) => self.bury_traced(*trace, nodes, torn),
            Cell::Run(id) => self.bury_runs(id, nodes, torn),
            Cell::Records(function, key) => {
                self.bury_records(&(Text::clone(function), Text::clone(key)), nodes, gap)
            }
        }
    }

    fn bury_traced(
        &mut self,
        trace: TraceId,
        nodes: &[&Known],
        torn: &mut Vec<Torn>,
    ) -> Vec<Remains> {
        let remains = nodes.iter().map(|_| Remains::default()).collect();
        let Some(cell) = self.traces.get_mut(&trace) else { return remains };
        for (place, node) in nodes.iter().enumerate() {
            let spans = node.places.iter().map(|own| own.span);
            let by_span = spans.flat_map(|span| [BundleKey::Head(span), BundleKey::Platform(span)]);
            let by_name = BundleKey::Records(Text::clone(&node.function));
            let key = by_span.chain([by_name]).find(|key| {
                let own = cell.bundles.get(key).filter(|bundle| bundle.run.is_none());
                own.is_some() && bundle_id(trace, key) == node.id
            });
            torn.extend(key.map(|key| Torn { trace, key, place }));
        }
        let gone: BTreeSet<&Text> = nodes.iter().map(|node| &node.id).collect();
        cell.nodes.retain(|(id, _)| !gone.contains(id));
        self.prune_trace(trace);
        remains
    }

    /// Takes bundles of final invocations out of their traces; `remains` are those of all invocations.
    pub(super) fn take_torn(&mut self, mut torn: Vec<Torn>, remains: &mut [Remains]) {
        torn.sort_by(|a, b| (a.trace, &a.key).cmp(&(b.trace, &b.key)));
        for of_trace in torn.chunk_by(|a, b| a.trace == b.trace) {
            let Some(first) = of_trace.first() else { continue };
            if let Some(cell) = self.traces.get_mut(&first.trace) {
                take_bundles(cell, of_trace, remains);
            }
            self.prune_trace(first.trace);
        }
    }

    fn bury_records(
        &mut self,
        key: &(Text, Text),
        nodes: &[&Known],
        gap: Duration,
    ) -> Vec<Remains> {
        let left = || Remains { marks: Vec::new(), keys: vec![dedup::record_key(&key.0, &key.1)] };
        let mut remains: Vec<Remains> = nodes.iter().map(|_| left()).collect();
        let places: BTreeMap<&Text, usize> =
            nodes.iter().enumerate().map(|(place, node)| (&node.id, place)).collect();
        let Some(cell) = self.records.get(key) else { return remains };
        let mut logs: BTreeMap<(Timestamp, u64), usize> = BTreeMap::new();
        for (naming, parts) in name_records(key, cell, gap) {
            let Some(&place) = places.get(&naming.id) else { continue };
            logs.extend(parts.logs.iter().map(|r| ((r.log.time, r.log.mark.hash), place)));
        }
        let Some(cell) = self.records.get_mut(key) else { return remains };
        cell.logs.retain(|log| keep(logs.get(&(log.time, log.mark.hash)), &log.mark, &mut remains));
        cell.nodes.retain(|(id, _)| !places.contains_key(id));
        cell.n_sealed = cell.n_sealed.saturating_add(u32_from_usize(nodes.len()));
        if cell.logs.is_empty() {
            self.records.remove(key);
        }
        remains
    }

    pub(super) fn bury_runs(
        &mut self,
        id: &Text,
        nodes: &[&Known],
        torn: &mut Vec<Torn>,
    ) -> Vec<Remains> {
        let nothing = || Remains { marks: Vec::new(), keys: vec![dedup::run_key(id)] };
        let mut remains: Vec<Remains> = nodes.iter().map(|_| nothing()).collect();
        self.sort_traces_of(id);
        let Some(owners) = self.owners_of(id, nodes) else { return remains };
        let mut aliases: Vec<(usize, TraceContext, SpanId)> = Vec::new();
        if let Some(cell) = self.runs.get_mut(id) {
            cell.platform.retain(|fact| {
                let place = owners.platform.get(&fact.mark.hash);
                let alias = place.zip(fact.event.trace.zip(fact.event.span_id));
                aliases.extend(alias.map(|(&place, (trace, span))| (place, trace, span)));
                keep(place, &fact.mark, &mut remains)
            });
            cell.logs.retain(|log| {
                keep(owners.logs.get(&(log.time, log.mark.hash)), &log.mark, &mut remains)
            });
            for (_, bundle) in &owners.bundles {
                cell.bundles.remove(bundle);
            }
            let gone: BTreeSet<&Text> = nodes.iter().map(|node| &node.id).collect();
            cell.nodes.retain(|(known, _)| !gone.contains(known));
            let counted = cell.gone.get_or_insert_default();
            owners.gone.iter().for_each(|&(class, began)| counted.add(class, began));
            if cell.is_empty() {
                self.forget_run(id);
            }
        }
        let bundles = owners.bundles.into_iter();
        torn.extend(bundles.map(|(place, (trace, key))| Torn { trace, key, place }));
        for (place, trace, span) in aliases {
            let trace = trace.trace_id;
            if let (Some(cell), Some(own)) = (self.traces.get_mut(&trace), remains.get_mut(place)) {
                cell.aliases.remove(&span);
                own.keys.push(dedup::span_key(&trace.0, &span.0));
            }
            self.prune_trace(trace);
        }
        remains
    }

    /// A trace that waits to be looked at may have spans in order of arrival.
    pub(super) fn sort_traces_of(&mut self, id: &Text) {
        let Some(cell) = self.runs.get(id) else { return };
        for (trace, _) in cell.bundles.keys() {
            if let Some(own) = self.traces.get_mut(trace) {
                own.spans.sort();
            }
        }
    }

    fn owners_of(&self, id: &Text, nodes: &[&Known]) -> Option<Owners> {
        let places: BTreeMap<&Text, usize> =
            nodes.iter().enumerate().map(|(place, node)| (&node.id, place)).collect();
        let mut owners = Owners::default();
        for (naming, parts) in self.named_attempts(id, self.runs.get(id)?).attempts {
            if let Some(&place) = places.get(&naming.id) {
                owners.add(place, naming.class, parts);
            }
        }
        Some(owners)
    }
}

/// Takes the facts of some bundles of a trace out; `torn` are sorted. The positions of records that stay
/// move.
fn take_bundles(cell: &mut TraceCell, torn: &[Torn], remains: &mut [Remains]) {
    let mut spans: Vec<(SpanId, usize)> = Vec::new();
    let mut logs: Vec<(usize, usize)> = Vec::new();
    for Torn { key, place, .. } in torn {
        let Some(bundle) = cell.bundles.remove(key) else { continue };
        cell.is_torn = true;
        spans.extend(bundle.members.into_iter().map(|span| (span, *place)));
        logs.extend(bundle.logs.into_iter().map(|idx| (idx, *place)));
    }
    spans.sort_unstable();
    logs.sort_unstable();
    let trace = torn.first().map(|torn| torn.trace);
    let ids: Vec<SpanId> = spans.iter().map(|(span, _)| *span).collect();
    cell.spans.sort();
    for fact in cell.spans.take_all(&ids) {
        let place = spans.binary_search_by_key(&fact.span, |(span, _)| *span);
        let place = place.ok().and_then(|idx| spans.get(idx));
        let own = place.and_then(|(_, place)| remains.get_mut(*place));
        if let Some((own, trace)) = own.zip(trace) {
            own.marks.push(fact.mark);
            own.keys.push(dedup::span_key(&trace.0, &fact.span.0));
        }
    }
    if logs.is_empty() {
        return;
    }
    let mut idx = 0;
    cell.logs.retain(|log| {
        let gone = logs.binary_search_by_key(&idx, |(idx, _)| *idx).ok();
        idx += 1;
        keep(gone.and_then(|at| logs.get(at)).map(|(_, place)| place), &log.mark, remains)
    });
    for (_, bundle) in cell.bundles.iter_mut() {
        for idx in &mut bundle.logs {
            *idx -= logs.partition_point(|(gone, _)| gone < idx);
        }
    }
}
