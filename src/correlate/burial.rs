//! Final invocations of one request id leave together: their attempts are told apart once for all of them.
//!
//! What was known of them comes in; the facts that they were made of go out of their cells, and what is
//! remembered of each is given.

use std::collections::{BTreeMap, BTreeSet};

use super::cells::{Cells, Remains, first_time, take_bundle};
use super::class::Class;
use super::dedup;
use super::fact::Mark;
use super::known::Known;
use super::runs::Parts;
use super::traces::BundleKey;
use crate::signal::{SpanId, Text, Timestamp, TraceContext, TraceId};

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
    pub(super) fn bury_runs(&mut self, id: &Text, nodes: &[&Known]) -> Vec<Remains> {
        let nothing = || Remains { marks: Vec::new(), keys: vec![dedup::run_key(id)] };
        let mut remains: Vec<Remains> = nodes.iter().map(|_| nothing()).collect();
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
        for (place, (trace, key)) in owners.bundles {
            if let (Some(cell), Some(own)) = (self.traces.get_mut(&trace), remains.get_mut(place)) {
                take_bundle(cell, trace, &key, own);
            }
            self.prune_trace(trace);
        }
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
