//! The two flows that clients start: `POST /orders` and `GET /catalog`.

use std::time::Duration;

use super::book::Cause;
use super::config::{Fault, Own};
use super::instances::whole_millis;
use super::plan::{CLICKS, Function, ORDERS, PARTNERS};
use super::run::{Ending, Failure, HttpEntry, Message, Nature, Position, Run, Step, What};
use super::stream::Shard;
use super::world::{Event, World};
use crate::correlate::request::Evidence;
use crate::signal::{Timestamp, Via};

/// Tries of a throttled call, as the AWS SDKs do it.
const CALL_ATTEMPTS_MAX: u32 = 3;
/// Share of invocations of `payment` that a throttle burst refuses.
const THROTTLED: f64 = 0.85;
const HANGING: f64 = 0.5;
const POISONED: f64 = 0.12;
const LOST: f64 = 0.3;
/// The bank's usual answer time, and how many times slower it gets.
const BANK: Duration = Duration::from_millis(45);
const BANK_SLOWER: u32 = 18;

/// One request as a flow sees it.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) request: u64,
    pub(super) correlation_id: String,
    pub(super) invocation_id: String,
}

/// What an invocation of `payment` came to.
enum Paid {
    Throttled,
    Done { end: Timestamp, is_ok: bool },
}

impl World {
    pub(super) fn order(&mut self, now: Timestamp) {
        let correlation_id = self.random.uuid();
        let Some(started) = self.acquire(Function::Checkout, now) else { return };
        let request = self.book.open("POST /orders", &correlation_id);
        let mut run = self.begin(Function::Checkout, Via::Http, started);
        if self.is_active(Fault::SharedTrace, now) && self.is_traced(Function::Checkout) {
            let client = Position { trace: self.importer, span: self.span_id() };
            run.position.trace = client.trace;
            run.parent = Some(client);
        }
        let caller = Caller {
            request,
            correlation_id: correlation_id.clone(),
            invocation_id: run.invocation_id.clone(),
        };
        run.correlation_id = Some(correlation_id);
        let mut cursor = run.start.saturating_add(self.work(Function::Checkout));
        let put = What::Database { operation: "PutItem", table: "orders-table" };
        run.steps.push(self.call(put, Duration::from_millis(7), &mut cursor));
        match self.pay(&caller, &mut run, &mut cursor) {
            None => {
                self.send_order(&caller, &mut run, &mut cursor);
                self.tell_partners(&mut run, &mut cursor);
                self.plan_review(&caller, cursor);
            }
            Some(failure) => run.ending = Ending::Failed(failure),
        }
        run.end = cursor.saturating_add(self.work(Function::Checkout));
        let status = if run.ending == Ending::Ok { 202 } else { 502 };
        run.http = Some(HttpEntry { method: "POST", route: "/orders", status });
        self.finish(&run);
        self.book.hop(request, &run, Cause { attempt: 1, ..Cause::default() }, self.style);
        self.book.settle(request);
    }

    /// Calls `payment`, again where it is throttled; answers why it failed in the end.
    fn pay(&mut self, caller: &Caller, run: &mut Run, cursor: &mut Timestamp) -> Option<Failure> {
        for attempt in 1..=CALL_ATTEMPTS_MAX {
            let start = *cursor;
            let span = self.span_id();
            let invoke = |end, failure| Step {
                what: What::Invoke(Function::Payment),
                span,
                start,
                end,
                failure,
            };
            let parent = Position { trace: run.position.trace, span };
            match self.payment(start.saturating_add(Duration::from_millis(2)), caller, parent) {
                Paid::Done { end, is_ok } => {
                    *cursor = end.saturating_add(Duration::from_millis(2));
                    let failure = (!is_ok).then(|| {
                        Failure::new("PaymentFailedException", "payment ended without a receipt")
                    });
                    run.steps.push(invoke(*cursor, failure.clone()));
                    return failure;
                }
                Paid::Throttled => {
                    let failure = Failure::new("TooManyRequestsException", "Rate Exceeded.");
                    *cursor = start.saturating_add(self.random.latency(Duration::from_millis(6)));
                    run.steps.push(invoke(*cursor, Some(failure.clone())));
                    if attempt == CALL_ATTEMPTS_MAX {
                        return Some(failure);
                    }
                    let backoff = Duration::from_millis(100) * attempt;
                    *cursor = cursor.saturating_add(self.random.latency(backoff));
                }
            }
        }
        None
    }

    fn payment(&mut self, at: Timestamp, caller: &Caller, parent: Position) -> Paid {
        if self.is_active(Fault::ThrottleBurst, at) && self.random.chance(THROTTLED) {
            self.minute.throttle(Function::Payment);
            return Paid::Throttled;
        }
        let Some(started) = self.acquire(Function::Payment, at) else { return Paid::Throttled };
        let mut run = self.begin(Function::Payment, Via::Invoke, started);
        run.correlation_id = Some(caller.correlation_id.clone());
        let carried = self.carries(Function::Checkout, Function::Payment);
        if carried {
            run.parent = Some(parent);
            run.position.trace = parent.trace;
        }
        let mut cursor = run.start.saturating_add(self.work(Function::Payment));
        let slower = if self.is_active(Fault::SlowDependency, at) { BANK_SLOWER } else { 1 };
        let bank = What::Http { host: "api.bank.example", method: "POST" };
        run.steps.push(self.call(bank, BANK * slower, &mut cursor));
        run.end = cursor.saturating_add(self.work(Function::Payment));
        let hangs = self.is_active(Fault::Timeouts, at) && self.random.chance(HANGING);
        if hangs || run.duration() >= Function::Payment.timeout() {
            run.ending = Ending::TimedOut;
            run.end = run.start.saturating_add(Function::Payment.timeout());
            run.steps.clear();
        }
        let end = run.end;
        // Of two that only share an id the earlier is the cause: a wrong clock would turn them around.
        if carried {
            self.skew(&mut run);
        }
        self.finish(&run);
        let evidence = if carried { Evidence::Trace } else { Evidence::CorrelationId };
        let cause = Cause {
            invocation_id: Some(caller.invocation_id.clone()),
            evidence: Some(evidence),
            attempt: 1,
        };
        self.book.hop(caller.request, &run, cause, self.style);
        Paid::Done { end, is_ok: run.ending == Ending::Ok }
    }

    /// Sends the order on, unless it gets lost on the way.
    fn send_order(&mut self, caller: &Caller, run: &mut Run, cursor: &mut Timestamp) {
        let id = self.random.uuid();
        let what = What::Send { message_id: id.clone(), queue: ORDERS, via: Via::Queue };
        let step = self.call(what, Duration::from_millis(11), cursor);
        let position = Position { trace: run.position.trace, span: step.span };
        let sent = whole_millis(step.start);
        run.steps.push(step);
        // What is put back must have fallen into the dead-letter queue.
        let is_poison = if self.is_active(Fault::PoisonMessage, sent) {
            self.random.chance(POISONED)
        } else {
            self.befalls(Fault::Redrive, POISONED, sent)
        };
        let is_lost = self.is_active(Fault::LostMessage, sent) && self.random.chance(LOST);
        if is_lost {
            self.book.lose(caller.request, &id);
            return;
        }
        self.book.expect(caller.request, 1);
        let message = Message {
            id,
            queue: ORDERS,
            via: Via::Queue,
            sent,
            n_receives: 0,
            dead_letter_source: None,
            position: self.is_traced(Function::Checkout).then_some(position),
            correlation_id: caller.correlation_id.clone(),
            request: caller.request,
            others: Vec::new(),
            cause: Some(caller.invocation_id.clone()),
            nature: if is_poison { Nature::Poison } else { Nature::Sound },
            is_foreign: false,
        };
        // The message can be seen when the send call has been answered.
        if let Some(look) = self.orders.put(message, whole_millis(*cursor)) {
            self.plan(look, Event::PollOrders);
        }
    }

    /// A copy for somebody else, of whose telemetry we see nothing.
    fn tell_partners(&mut self, run: &mut Run, cursor: &mut Timestamp) {
        if self.is_active(Fault::ForeignConsumer, *cursor) {
            let message_id = self.random.uuid();
            let what = What::Send { message_id, queue: PARTNERS, via: Via::Queue };
            run.steps.push(self.call(what, Duration::from_millis(11), cursor));
        }
    }

    pub(super) fn browse(&mut self, now: Timestamp) {
        let correlation_id = self.random.uuid();
        let Some(started) = self.acquire(Function::Catalog, now) else { return };
        let request = self.book.open("GET /catalog", &correlation_id);
        let mut run = self.begin(Function::Catalog, Via::Http, started);
        run.correlation_id = Some(correlation_id.clone());
        let mut cursor = run.start.saturating_add(self.work(Function::Catalog));
        let query = What::Database { operation: "Query", table: "products-table" };
        run.steps.push(self.call(query, Duration::from_millis(9), &mut cursor));
        let shard = self.random.below(self.shards.len());
        let sequence = self.shards.get_mut(shard).map_or_else(String::new, Shard::next_id);
        let what = What::Send { message_id: sequence.clone(), queue: CLICKS, via: Via::Stream };
        let step = self.call(what, Duration::from_millis(8), &mut cursor);
        let sent = whole_millis(step.start);
        run.steps.push(step);
        run.end = cursor.saturating_add(self.work(Function::Catalog));
        run.http = Some(HttpEntry { method: "GET", route: "/catalog", status: 200 });
        self.book.expect(request, 1);
        let message = Message {
            id: sequence,
            queue: CLICKS,
            via: Via::Stream,
            sent,
            n_receives: 0,
            dead_letter_source: None,
            // Kinesis records have no place for a trace header.
            position: None,
            correlation_id,
            request,
            others: Vec::new(),
            cause: Some(run.invocation_id.clone()),
            nature: Nature::Sound,
            is_foreign: false,
        };
        self.put_click(shard, message, whole_millis(cursor));
        self.finish(&run);
        self.book.hop(request, &run, Cause { attempt: 1, ..Cause::default() }, self.style);
        self.book.settle(request);
    }

    /// Whether a function's spans carry their context on.
    pub(super) fn is_traced(&self, function: Function) -> bool {
        self.style.of(function).own == Own::Spans
    }

    /// Whether trace context gets from one function to another.
    pub(super) fn carries(&self, from: Function, to: Function) -> bool {
        self.is_traced(from) && self.is_traced(to)
    }
}
