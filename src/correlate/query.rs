//! Questions to the engine: by key, by filter, by flow, and what somebody should know.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::{Engine, Finding, HeldRequest, Lookup, RequestFilter};
use super::graph::NodeId;
use super::request::{Request, State};
use super::settle::standing;
use super::view;
use super::weak::WeakKey;
use crate::signal::Text;

/// Findings of one kind that are listed; the rest is only counted.
const LISTED_MAX: usize = 100;
/// Requests that one key may lead to.
const SEVERAL_MAX: usize = 100;

impl Engine {
    /// By any id that belongs to a request: its own id or alias, correlation, trace, invocation or
    /// message id.
    pub fn lookup(&self, key: &str) -> Lookup {
        let mut entries: BTreeSet<NodeId> = BTreeSet::new();
        for id in self.held.graph.named(key) {
            let owners = self.held.graph.nodes.get(&id).map(|node| node.owners.keys());
            entries.extend(owners.into_iter().flatten());
        }
        let mut found: Vec<Request> = entries
            .iter()
            .filter_map(|&entry| self.view_of(entry))
            .filter(|request| leads_to(key, request))
            .collect();
        // The exact id of one request is that request, whoever else holds it as an alias.
        if let Some(idx) = found.iter().position(|request| *request.id == *key) {
            return Lookup::One(Box::new(found.swap_remove(idx)));
        }
        found.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
        found.truncate(SEVERAL_MAX);
        match found.len() {
            0 => Lookup::None,
            1 => found.pop().map_or(Lookup::None, |request| Lookup::One(Box::new(request))),
            _ => Lookup::Several(found),
        }
    }

    /// Open and correctable requests, newest first.
    pub fn requests(&self, filter: &RequestFilter) -> Vec<Request> {
        let mut matching: Vec<(NodeId, &HeldRequest)> = self
            .held
            .requests
            .iter()
            .filter(|(_, held)| self.matches(held, filter))
            .map(|(&id, held)| (id, held))
            .collect();
        matching.sort_by(|(_, a), (_, b)| (b.summary.start, &b.id).cmp(&(a.summary.start, &a.id)));
        let views = matching.into_iter().filter_map(|(entry, _)| self.view_of(entry));
        let is_wanted = |request: &Request| {
            filter.outcome.is_none_or(|outcome| request.outcome == outcome)
                && filter.min_duration.is_none_or(|min| request.duration >= min)
        };
        views.filter(is_wanted).take(filter.limit).collect()
    }

    fn matches(&self, held: &HeldRequest, filter: &RequestFilter) -> bool {
        let summary = &held.summary;
        // Nobody has put an open request together yet.
        let is_open = summary.state == State::Open;
        let nodes = || held.reach.iter().filter_map(|id| self.held.graph.nodes.get(id));
        let has_function = |function: &Text| nodes().any(|node| node.known.function == *function);
        let has_queue = |queue: &Text| {
            nodes().any(|node| {
                let received = node.known.received.iter().map(|message| &message.queue);
                let sent = node.known.sent.iter().map(|sent| &sent.queue);
                received.chain(sent).any(|known| known.as_ref() == Some(queue))
            })
        };
        filter.flow.as_ref().is_none_or(|flow| summary.flow == *flow)
            && filter.outcome.is_none_or(|outcome| is_open || summary.outcome == outcome)
            && filter
                .min_duration
                .is_none_or(|min| is_open || summary.end.since(summary.start) >= min)
            && filter.start.is_none_or(|start| summary.start >= start)
            && filter.end.is_none_or(|end| summary.start <= end)
            && filter.function.as_ref().is_none_or(has_function)
            && filter.queue.as_ref().is_none_or(has_queue)
    }

    /// Requests that are not finished, by flow.
    pub fn open_by_flow(&self) -> Vec<(Text, u64)> {
        let mut flows: BTreeMap<Text, u64> = BTreeMap::new();
        for held in self.held.requests.values() {
            let n = flows.entry(Text::clone(&held.summary.flow)).or_default();
            *n += u64::from(held.summary.state == State::Open);
        }
        flows.into_iter().collect()
    }

    /// A request as it now stands.
    pub(super) fn view_of(&self, entry: NodeId) -> Option<Request> {
        let held = self.held.requests.get(&entry)?;
        let ground = self.ground();
        let flow = view::flow(&ground.graph.nodes.get(&entry)?.known);
        let standing = standing(ground, entry, &held.reach, flow);
        let mut request = view::request(ground, entry, &held.reach, &standing)?;
        // Final is what was said to be final; until then it can be corrected.
        if request.state == State::Final {
            request.state = State::Finished;
        }
        Some(request)
    }

    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.key_findings();
        findings.extend(self.request_findings());
        findings.extend(self.memory_findings());
        findings
    }

    fn key_findings(&self) -> Vec<Finding> {
        let quarantined = self.held.graph.quarantined.iter().take(LISTED_MAX);
        let findings = quarantined.map(|(key, n)| {
            let name = match key {
                WeakKey::Correlation(id) => format!("correlation id `{id}`"),
                WeakKey::Execution(id) => format!("workflow execution `{id}`"),
                WeakKey::Trace(trace) => format!("trace {trace}"),
            };
            Finding {
                kind: "quarantined_key",
                message: format!(
                    "{name} is carried by {n} unrelated invocations and joins nothing"
                ),
                since: self.held.now,
            }
        });
        findings.collect()
    }

    fn request_findings(&self) -> Vec<Finding> {
        let held = || self.held.requests.values();
        let lacking = held().filter(|held| held.summary.is_lacking).take(LISTED_MAX);
        let lacking = lacking.map(|held| Finding {
            kind: "incomplete_request",
            message: format!(
                "request {} of {} waits for something that never came",
                held.id, held.summary.flow
            ),
            since: held.summary.end,
        });
        let large = held().filter(|held| held.n_left_out > 0).take(LISTED_MAX);
        let large = large.map(|held| Finding {
            kind: "hops_max",
            message: format!("request {} has {} hops too many", held.id, held.n_left_out),
            since: held.summary.start,
        });
        lacking.chain(large).collect()
    }

    fn memory_findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some((since, lateness)) = self.held.notes.early {
            let message = format!(
                "memory was full: requests became final after {} s instead of {} s",
                lateness.as_secs(),
                self.rules.config.allowed_lateness.as_secs()
            );
            findings.push(Finding { kind: "effective_lateness", message, since });
        }
        if let Some((since, n)) = self.held.notes.dropped {
            let message = format!("memory is full of open requests: {n} signals were dropped");
            findings.push(Finding { kind: "memory", message, since });
        }
        let forgotten = self.held.memory.forgotten + self.held.stubs.forgotten;
        if forgotten > 0 {
            let message =
                format!("{forgotten} ids were forgotten early: repeats of them count anew");
            findings.push(Finding { kind: "forgotten_ids", message, since: self.held.now });
        }
        findings
    }
}

fn leads_to(key: &str, request: &Request) -> bool {
    *request.id == *key
        || request.aliases.iter().any(|alias| **alias == *key)
        || request.keys.iter().any(|own| *own.value == *key)
        || request.hops.iter().any(|hop| *hop.id == *key)
}
