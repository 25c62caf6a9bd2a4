//! The book of truth: which requests are under way, and what happened to each.
//!
//! Flows write down every hop, and how many pieces of work are still to come; a request whose last
//! piece is done is closed and judged by the contract's rule: the worst of its pieces of work, each
//! by its last attempt.

use std::collections::BTreeMap;

use super::config::{Platform, StyleChoice, Voice};
use super::plan::Function;
use super::run::{Message, Reporting, Run, Taken};
use super::truth::{ExpectedHop, ExpectedRequest, Unknown};
use crate::correlate::Outcome;
use crate::correlate::request::{Evidence, millis};
use crate::number::f64_from_usize;
use crate::signal::Via;

#[derive(Debug, Default)]
pub(super) struct Book {
    open: BTreeMap<u64, Open>,
    n_opened: u64,
    closed: Vec<ExpectedRequest>,
}

#[derive(Debug)]
struct Open {
    correlation_id: String,
    flow: &'static str,
    /// Pieces of work still to come.
    n_pending: u32,
    hops: Vec<Placed>,
    lost_message_ids: Vec<String>,
    continues: Option<String>,
}

/// A hop, and the piece of work that it was a try of.
#[derive(Clone, Debug)]
struct Placed {
    hop: ExpectedHop,
    piece: String,
}

/// How a hop came about.
#[derive(Clone, Debug, Default)]
pub(super) struct Cause {
    pub(super) invocation_id: Option<String>,
    pub(super) evidence: Option<Evidence>,
    pub(super) attempt: u32,
}

impl Book {
    /// A new request, with its entry to come.
    pub(super) fn open(&mut self, flow: &'static str, correlation_id: &str) -> u64 {
        let number = self.n_opened;
        self.n_opened += 1;
        let request = Open {
            correlation_id: correlation_id.to_owned(),
            flow,
            n_pending: 1,
            hops: Vec::new(),
            lost_message_ids: Vec::new(),
            continues: None,
        };
        self.open.insert(number, request);
        number
    }

    /// More work will come.
    pub(super) fn expect(&mut self, request: u64, n: u32) {
        if let Some(open) = self.open.get_mut(&request) {
            open.n_pending += n;
        }
    }

    /// One piece of work is over; the last closes the request.
    pub(super) fn settle(&mut self, request: u64) {
        let Some(open) = self.open.get_mut(&request) else { return };
        debug_assert!(open.n_pending > 0, "every piece of work is announced before it is done");
        open.n_pending = open.n_pending.saturating_sub(1);
        if open.n_pending == 0
            && let Some(open) = self.open.remove(&request)
        {
            self.closed.extend(close(open));
        }
    }

    /// It is a later part of the request that this invocation began.
    pub(super) fn continues(&mut self, request: u64, entry: &str) {
        if let Some(open) = self.open.get_mut(&request) {
            open.continues = Some(entry.to_owned());
        }
    }

    pub(super) fn lose(&mut self, request: u64, message_id: &str) {
        if let Some(open) = self.open.get_mut(&request) {
            open.lost_message_ids.push(message_id.to_owned());
        }
    }

    /// The last failed try of a message is what put it into the dead-letter queue.
    pub(super) fn dead_letter(&mut self, message: &Message) {
        let Some(open) = self.open.get_mut(&message.request) else { return };
        let of_message = |placed: &&mut Placed| placed.hop.message_ids.contains(&message.id);
        if let Some(last) = open.hops.iter_mut().rev().find(of_message) {
            last.hop.outcome = Outcome::DeadLettered;
        }
    }

    /// A hop of one request alone.
    pub(super) fn hop(&mut self, request: u64, run: &Run, cause: Cause, style: StyleChoice) {
        let function = run.function.as_str();
        let piece = match &run.state {
            Some(state) => format!("{function}/{}/{}", state.execution, state.name),
            None => format!("{function}/{}", run.invocation_id),
        };
        let hop = hop(run, cause, style);
        self.place(request, Placed { hop, piece });
    }

    /// The hops of a run that took messages up: one in each of their requests.
    pub(super) fn taken(
        &mut self,
        run: &Run,
        evidence: impl Fn(&Message) -> Evidence,
        style: StyleChoice,
    ) {
        let of_each = || run.taken.iter().flat_map(|taken| taken.message.requests());
        let n_parts = of_each().count();
        let first = of_each().next();
        let shared = of_each().any(|request| Some(request) != first);
        for taken in &run.taken {
            let message = &taken.message;
            let cause = Cause {
                invocation_id: message.cause.clone(),
                evidence: message.cause.as_ref().map(|_| evidence(message)),
                attempt: message.n_receives,
            };
            let whole = hop(run, cause, style);
            let hop = ExpectedHop {
                outcome: part_outcome(run, taken),
                error: taken.failure.as_ref().map(ToString::to_string).or(whole.error),
                queue: Some(message.queue),
                queue_wait_ms: Some(millis(run.start.since(message.sent))),
                message_ids: vec![message.id.clone()],
                shared,
                cost_usd: whole.cost_usd / f64_from_usize(n_parts),
                ..whole
            };
            let piece = format!("{}/{}", run.function.as_str(), message.id);
            for request in message.requests() {
                self.place(request, Placed { hop: hop.clone(), piece: piece.clone() });
            }
        }
    }

    fn place(&mut self, request: u64, placed: Placed) {
        if let Some(open) = self.open.get_mut(&request) {
            open.hops.push(placed);
        }
    }

    /// Requests that are over, in the order in which they were; the book forgets them.
    pub(super) fn take_closed(&mut self) -> Vec<ExpectedRequest> {
        std::mem::take(&mut self.closed)
    }

    pub(super) fn n_open(&self) -> usize {
        self.open.len()
    }
}

fn part_outcome(run: &Run, taken: &Taken) -> Outcome {
    match &taken.failure {
        Some(_) if run.ending.outcome() == Outcome::Ok => Outcome::Error,
        _ => run.ending.outcome(),
    }
}

fn hop(run: &Run, cause: Cause, style: StyleChoice) -> ExpectedHop {
    let billed = run.billed();
    let timeout = || run.is_timed_out().then(|| timeout_text(run.function));
    ExpectedHop {
        function: run.function.as_str(),
        invocation_id: run.invocation_id.clone(),
        via: run.via,
        cause: cause.invocation_id,
        evidence: cause.evidence,
        attempt: cause.attempt,
        outcome: run.ending.outcome(),
        error: run.ending.failure().map(ToString::to_string).or_else(timeout),
        start: run.start,
        end: run.end,
        duration_ms: millis(run.duration()),
        cold_start: run.init.is_some(),
        init_ms: run.init.map(millis),
        queue: None,
        queue_wait_ms: None,
        message_ids: Vec::new(),
        shared: false,
        billed_ms: u64::try_from(billed.as_millis()).unwrap_or(u64::MAX),
        cost_usd: run.function.cost_usd(billed),
        told_by: style.of(run.function).own.into(),
        unknown: unknown(run, style.of(run.function)),
    }
}

/// What neither the function nor the platform tells of a run.
fn unknown(run: &Run, voice: Voice) -> Vec<Unknown> {
    let is_reported = match run.reporting {
        Reporting::Usual | Reporting::Late(_) => true,
        Reporting::Lost => false,
        Reporting::Filtered => run.is_timed_out(),
    };
    let has_events = match voice.platform {
        Platform::Silent => false,
        Platform::TelemetryApi | Platform::CloudWatch => run.reporting != Reporting::Filtered,
    };
    let mut unknown = Vec::new();
    if voice.platform == Platform::Silent || !is_reported {
        unknown.extend([Unknown::BilledMs, Unknown::CostUsd]);
        let is_told = has_events && voice.platform == Platform::TelemetryApi;
        if run.init.is_some() && !is_told {
            unknown.push(Unknown::InitMs);
        }
        // Records and END lines are stamped to the millisecond.
        if !voice.own.has_spans() && !is_told {
            unknown.push(Unknown::Microseconds);
        }
    }
    // Later attempts keep the request id: only the platform tells where one ends and the next begins.
    if !has_events && !voice.own.has_spans() && run.via == Via::EventBus {
        unknown.push(Unknown::Attempt);
    }
    unknown
}

/// Lambda's own words.
pub(super) fn timeout_text(function: Function) -> String {
    format!("Task timed out after {:.2} seconds", function.timeout().as_secs_f64())
}

fn close(open: Open) -> Option<ExpectedRequest> {
    let entry = open.hops.iter().find(|placed| placed.hop.cause.is_none())?;
    let init_ms = entry.hop.init_ms.unwrap_or_default();
    let init =
        std::time::Duration::from_nanos(crate::number::u64_from_f64((init_ms * 1e6).round()));
    let start = entry.hop.start.saturating_sub(init);
    let response = entry.hop.end.since(start);
    let entry_id = entry.hop.invocation_id.clone();
    let end = open.hops.iter().map(|placed| placed.hop.end).max().unwrap_or(start);
    let mut decisive: BTreeMap<&str, &ExpectedHop> = BTreeMap::new();
    for placed in &open.hops {
        decisive.insert(&placed.piece, &placed.hop);
    }
    let worst = decisive.values().map(|hop| hop.outcome).max().unwrap_or(Outcome::Ok);
    let lost = if open.lost_message_ids.is_empty() { Outcome::Ok } else { Outcome::Incomplete };
    let outcome = worst.max(lost);
    let mut hops: Vec<ExpectedHop> = open.hops.into_iter().map(|placed| placed.hop).collect();
    hops.sort_by(|a, b| {
        (a.start, a.function, &a.invocation_id).cmp(&(b.start, b.function, &b.invocation_id))
    });
    Some(ExpectedRequest {
        entry: entry_id,
        continues: open.continues,
        correlation_id: open.correlation_id,
        flow: open.flow,
        outcome,
        start,
        end,
        duration_ms: millis(end.since(start)),
        response_ms: millis(response),
        cost_usd: hops.iter().map(|hop| hop.cost_usd).sum(),
        hops,
        lost_message_ids: open.lost_message_ids,
    })
}
