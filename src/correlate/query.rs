//! Questions to the engine: by key, by filter, by flow, and what somebody should know.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::blocks::{BlockId, Line};
use super::class::RUNS_MAX;
use super::engine::{Early, Engine, Finding, HeldRequest, Lookup, RequestFilter};
use super::freeze::mark_of;
use super::frozen::Frozen;
use super::graph::{Cell, NodeId, hash_of, hash_of_trace};
use super::points::TAKINGS_MAX;
use super::request::{Request, State};
use super::rules::LEARNED_MAX;
use super::settle::standing;
use super::tell::{hex, unhex};
use super::view;
use super::weak::WeakKey;
use super::weight::RECORDS_MAX;
use crate::signal::{Text, Timestamp, TraceId};

/// Findings of one kind that are listed; the rest is only counted.
const LISTED_MAX: usize = 100;
/// Requests that one key may lead to.
const SEVERAL_MAX: usize = 100;

impl Lookup {
    /// What a key leads to here and there; of a request that both have, this version.
    #[must_use]
    pub fn or_also(self, other: Self, key: &str) -> Self {
        let mut found = self.into_requests();
        for request in other.into_requests() {
            if !found.iter().any(|known| known.id == request.id) {
                found.push(request);
            }
        }
        Self::of(found, key)
    }

    /// Of requests that a key leads to. The exact id of one is that request, whoever else holds it as an
    /// alias.
    fn of(mut found: Vec<Request>, key: &str) -> Self {
        if let Some(idx) = found.iter().position(|request| *request.id == *key) {
            return Self::One(Box::new(found.swap_remove(idx)));
        }
        found.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
        found.truncate(SEVERAL_MAX);
        match found.len() {
            0 => Self::None,
            1 => found.pop().map_or(Self::None, |request| Self::One(Box::new(request))),
            _ => Self::Several(found),
        }
    }

    fn into_requests(self) -> Vec<Request> {
        match self {
            Self::None => Vec::new(),
            Self::One(request) => vec![*request],
            Self::Several(requests) => requests,
        }
    }
}

impl Engine {
    /// By any id that belongs to a request: its own id or alias, correlation, trace, invocation or
    /// message id.
    pub fn lookup(&self, key: &str) -> Lookup {
        let mut entries: BTreeSet<NodeId> = BTreeSet::new();
        for id in self.held.graph.named(key) {
            let owners = self.held.graph.nodes.get(&id).map(|node| node.owners.keys());
            entries.extend(owners.into_iter().flatten());
        }
        let held = entries.iter().filter_map(|&entry| self.view_of(entry));
        let frozen = self.blocks_of(key).into_iter().flat_map(|id| self.look_into(id));
        let mut found: Vec<Request> =
            held.chain(frozen).filter(|request| leads_to(key, request)).collect();
        // What comes back in this tick is still among the frozen.
        let mut seen = BTreeSet::new();
        found.retain(|request| seen.insert(Text::clone(&request.id)));
        Lookup::of(found, key)
    }

    /// Blocks of frozen requests that a key leads to, as many as are shown at most.
    fn blocks_of(&self, key: &str) -> BTreeSet<BlockId> {
        let trace = TraceId::from_hex(key).map(|trace| hash_of_trace(&trace));
        let hashes = [hash_of(key)].into_iter().chain(trace);
        let blocks = hashes.flat_map(|hash| self.held.frozen.found_by(hash));
        blocks.take(SEVERAL_MAX).collect()
    }

    /// Open and correctable requests, newest first.
    pub fn requests(&self, filter: &RequestFilter) -> Vec<Request> {
        let held = self.held.requests.iter().filter(|(_, held)| self.matches(held, filter));
        let held =
            held.map(|(&id, held)| ((held.summary.start, unhex(&held.id)), Place::Entry(id)));
        let frozen = &self.held.frozen;
        let lines = frozen.lines().filter(|(_, line)| may_match(line, frozen, filter));
        let lines = lines.map(|(block, line)| ((line.start, line.id), Place::Block(block)));
        let mut matching: BinaryHeap<((Timestamp, u128), Place)> = held.chain(lines).collect();
        let views =
            std::iter::from_fn(|| matching.pop()).filter_map(|((_, id), place)| match place {
                Place::Entry(entry) => self.view_of(entry),
                Place::Block(block) => {
                    self.look_into(block).into_iter().find(|request| unhex(&request.id) == id)
                }
            });
        let has_function =
            |request: &Request, name: &Text| request.hops.iter().any(|hop| hop.function == *name);
        let is_wanted = |request: &Request| {
            filter.outcome.is_none_or(|outcome| request.outcome == outcome)
                && filter.min_duration.is_none_or(|min| request.duration >= min)
                && filter.function.as_ref().is_none_or(|name| has_function(request, name))
        };
        // What comes back in this tick is still among the frozen.
        let mut seen = BTreeSet::new();
        let views = views.filter(|request| seen.insert(Text::clone(&request.id)));
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

    /// Requests that are held, finished or not, by flow.
    pub fn held_by_flow(&self) -> Vec<(Text, u64)> {
        let mut flows = self.held.frozen.flows.clone();
        for held in self.held.requests.values() {
            *flows.entry(Text::clone(&held.summary.flow)).or_default() += 1;
        }
        flows.into_iter().collect()
    }

    /// Requests that are not finished, by flow.
    pub fn open_by_flow(&self) -> Vec<(Text, u64)> {
        let mut flows: BTreeMap<Text, u64> = BTreeMap::new();
        for held in self.held.requests.values() {
            let n = flows.entry(Text::clone(&held.summary.flow)).or_default();
            *n += u64::from(held.summary.state == State::Open);
        }
        for flow in self.held.frozen.flows.keys() {
            flows.entry(Text::clone(flow)).or_default();
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

    /// Those that tell of the daemon itself and not of one request, at most one of a kind: keys that join
    /// nothing, bounds that were met, memory that was short.
    pub fn own_findings(&self) -> Vec<Finding> {
        let mut findings = self.key_findings();
        findings.truncate(1);
        findings.extend(self.held.notes.overlong.map(|(since, n)| Finding {
            kind: "hops_max",
            message: format!(
                "{n} requests had more than {} hops: the rest of each is left out",
                self.rules.config.hops_max
            ),
            since,
        }));
        findings.extend(self.memory_findings());
        findings
    }

    /// Keys that would join strangers, and join nothing.
    fn key_findings(&self) -> Vec<Finding> {
        let finding =
            |message: String| Finding { kind: "quarantined_key", message, since: self.held.now };
        let graph = &self.held.graph;
        let medleys = graph.medleys.iter().filter_map(|id| graph.nodes.get(id));
        let medleys = medleys.take(LISTED_MAX).map(|node| {
            let known = &node.known;
            let (id, n) =
                (known.invocation_id.as_ref().unwrap_or(&known.id), known.correlation_ids.len());
            finding(format!(
                "invocation `{id}` of {} names {n} correlation ids and is joined by none of them",
                known.function
            ))
        });
        let common = self.held.cells.common.iter().take(LISTED_MAX);
        let common = common.map(|id| {
            finding(format!(
                "invocation id `{id}` is carried by more than {RUNS_MAX} invocations of one function and joins none of them"
            ))
        });
        let quarantined = self.held.graph.quarantined.iter().take(LISTED_MAX);
        let findings = quarantined.map(|(key, n)| {
            let name = match key {
                WeakKey::Correlation(id) => format!("correlation id `{id}`"),
                WeakKey::Execution(id) => format!("workflow execution `{id}`"),
                WeakKey::Trace(trace) => format!("trace {trace}"),
            };
            finding(format!("{name} is carried by {n} unrelated invocations and joins nothing"))
        });
        let crowded = graph.crowded.iter().take(LISTED_MAX);
        let crowded = crowded.map(|id| {
            finding(format!(
                "message id `{id}` is carried by more than {TAKINGS_MAX} invocations and joins nothing"
            ))
        });
        let full = self.held.cells.full.iter().take(LISTED_MAX).map(|cell| {
            let name = match cell {
                Cell::Trace(trace) => format!("trace {trace}"),
                Cell::Run(id) => format!("invocation id `{id}`"),
                Cell::Records(function, key) => format!("`{key}` in {function}"),
            };
            finding(format!("{name} has {RECORDS_MAX} records: further ones join nothing"))
        });
        findings.chain(common).chain(crowded).chain(medleys).chain(full).collect()
    }

    fn request_findings(&self) -> Vec<Finding> {
        let held = || self.held.requests.values();
        let open = held().filter(|held| held.summary.is_lacking);
        let open = open.map(|held| (held.summary.end, unhex(&held.id), &*held.summary.flow));
        let frozen = &self.held.frozen;
        let over = frozen.lines().filter(|(_, line)| line.is_lacking);
        let over = over.map(|(_, line)| (line.end, line.id, frozen.flow(line.flow)));
        let mut lacking: Vec<(Timestamp, u128, &str)> = open.chain(over).collect();
        lacking.sort_unstable();
        lacking.dedup_by_key(|(_, id, _)| *id);
        let lacking = lacking.into_iter().take(LISTED_MAX).map(|(since, id, flow)| Finding {
            kind: "incomplete_request",
            message: format!("request {} of {flow} waits for something that never came", hex(id)),
            since,
        });
        let large = held().filter(|held| held.n_left_out > 0).take(LISTED_MAX);
        let large = large.map(|held| Finding {
            kind: "hops_max",
            message: format!("request {} has {} hops too many", held.id, held.n_left_out),
            since: held.summary.start,
        });
        let rings = self.held.notes.rings.iter();
        let rings = rings.map(|(function, ring)| Finding {
            kind: "cause_ring",
            message: format!(
                "invocation `{}` of {function} is among its own causes: where causes form a ring, the first of it is taken for the entry",
                ring.invocation
            ),
            since: ring.since,
        });
        lacking.chain(large).chain(rings).collect()
    }

    fn memory_findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(Early { since, least, .. }) = self.held.notes.early {
            let message = format!(
                "memory was full: requests became final after {} s instead of {} s",
                least.as_secs(),
                self.rules.config.allowed_lateness.as_secs()
            );
            findings.push(Finding { kind: "effective_lateness", message, since });
        }
        if let Some((since, n)) = self.held.notes.dropped {
            let message = format!("memory is full of open requests: {n} signals were dropped");
            findings.push(Finding { kind: "memory", message, since });
        }
        if self.held.learned.is_full() {
            let message = format!(
                "{LEARNED_MAX} queues were seen to have consumers: nobody waits for those of further ones but where `queues` names them"
            );
            findings.push(Finding { kind: "many_queues", message, since: self.held.now });
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

/// Where a request lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Entry(NodeId),
    Block(BlockId),
}

/// Whether a frozen request may be wanted; its view decides.
fn may_match(line: &Line, frozen: &Frozen, filter: &RequestFilter) -> bool {
    let names = filter.function.iter().chain(&filter.queue);
    let marks = names.fold(0, |marks, name| marks | mark_of(name));
    line.marks & marks == marks
        && filter.flow.as_ref().is_none_or(|flow| *frozen.flow(line.flow) == **flow)
        && filter.outcome.is_none_or(|outcome| line.outcome == outcome)
        && filter.min_duration.is_none_or(|min| line.end.since(line.start) >= min)
        && filter.start.is_none_or(|start| line.start >= start)
        && filter.end.is_none_or(|end| line.start <= end)
}

fn leads_to(key: &str, request: &Request) -> bool {
    *request.id == *key
        || request.aliases.iter().any(|alias| **alias == *key)
        || request.keys.iter().any(|own| *own.value == *key)
        || request.hops.iter().any(|hop| *hop.id == *key)
}
