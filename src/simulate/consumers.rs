//! What happens to orders: `fulfil` takes them up in batches, and what fails three times ends in the
//! dead-letter queue, where `dlq-inspector` finds it.

use std::time::Duration;

use super::config::Fault;
use super::instances::{Started, whole_millis};
use super::plan::{Function, ORDERS, ORDERS_DLQ, RECEIVES_MAX, SHOP_EVENTS, VISIBILITY_TIMEOUT};
use super::run::{Failure, Message, Nature, Position, Run, Step, Taken, What};
use super::world::{Event, World};
use crate::correlate::request::Evidence;
use crate::signal::{Timestamp, Via};

/// Invocations of `fulfil` at once (an event source mapping's maximum concurrency).
const CONCURRENCY: usize = 20;
const INVENTORY: Duration = Duration::from_millis(18);
const INVENTORY_SLOWER: u32 = 60;
/// Longest answer of the inventory: its client gives up, so that a batch of five stays in its timeout.
const INVENTORY_MAX: Duration = Duration::from_secs(5);
const FIRST_TRY_FAILS: f64 = 0.55;
const DELIVERED_AGAIN: f64 = 0.2;
const FANNED_OUT: f64 = 0.2;
/// For one of many entries of a batched call.
const BRANCH: Duration = Duration::from_micros(300);
const REDRIVEN_AFTER: Duration = Duration::from_secs(20);
const REDRIVEN_WAIT: Duration = Duration::from_millis(120);

impl World {
    pub(super) fn poll_orders(&mut self, now: Timestamp) {
        if !self.orders.is_due(now) {
            return;
        }
        let backlog = self.is_active(Fault::QueueBacklog, now);
        if let Some(free) = self.orders.busy(if backlog { 1 } else { CONCURRENCY }, now) {
            return self.plan(free, Event::PollOrders);
        }
        let (dead, batch): (Vec<Message>, Vec<Message>) =
            self.orders.take(now).into_iter().partition(|m| m.n_receives >= RECEIVES_MAX);
        for message in dead {
            self.dead_letter(message, now);
        }
        if !batch.is_empty() {
            self.fulfil(now, batch);
        }
        if let Some(look) = self.orders.next_look(now) {
            self.plan(look, Event::PollOrders);
        }
    }

    pub(super) fn fulfil(&mut self, now: Timestamp, batch: Vec<Message>) {
        let Some(started) = self.acquire(Function::Fulfil, now) else {
            for message in batch {
                self.put_back(message, now.saturating_add(Duration::from_secs(1)));
            }
            return;
        };
        let mut run = self.begin(Function::Fulfil, Via::Queue, started);
        let mut cursor = run.start.saturating_add(self.work(Function::Fulfil));
        for mut message in batch {
            message.n_receives += 1;
            let taken = self.fulfil_one(&run, message, &mut cursor);
            run.taken.push(taken);
        }
        run.end = cursor.saturating_add(self.work(Function::Fulfil));
        run.correlation_id = only_correlation_id(&run);
        let end = run.end;
        self.orders.occupy(end);
        self.skew(&mut run);
        self.finish(&run);
        let is_linked = self.is_traced(Function::Fulfil);
        let evidence = |message: &Message| match message.position {
            Some(_) if is_linked => Evidence::Link,
            // Nobody who is seen ever sent this id.
            _ if message.nature == Nature::Redriven => Evidence::CorrelationId,
            _ => Evidence::MessageId,
        };
        self.book.taken(&run, evidence, self.style);
        for mut taken in run.taken {
            if taken.message.is_foreign {
                taken.message.cause = Some(run.invocation_id.clone());
            }
            self.after_fulfil(taken, now, end);
        }
    }

    /// One order: the inventory is asked, and the shop is told.
    fn fulfil_one(&mut self, run: &Run, message: Message, cursor: &mut Timestamp) -> Taken {
        let start = *cursor;
        let span = self.span_id();
        let mut taken =
            Taken { message, span, start, end: start, failure: None, steps: Vec::new() };
        let slower = self.is_active(Fault::QueueBacklog, start);
        let inventory = INVENTORY * if slower { INVENTORY_SLOWER } else { 1 };
        let reserve = What::Database { operation: "UpdateItem", table: "inventory-table" };
        if taken.message.nature == Nature::Again {
            *cursor = cursor.saturating_add(self.random.latency(Duration::from_millis(2)));
            taken.end = *cursor;
            return taken;
        }
        let mut step = self.call(reserve, inventory, cursor);
        step.end = step.end.min(start.saturating_add(INVENTORY_MAX));
        *cursor = step.end;
        taken.failure = self.verdict(&taken.message, start);
        step.failure.clone_from(&taken.failure);
        taken.steps.push(step);
        if taken.failure.is_none() {
            let id = self.random.uuid();
            let put = What::Send { message_id: id.clone(), queue: SHOP_EVENTS, via: Via::EventBus };
            let step = self.call(put, Duration::from_millis(9), cursor);
            self.announce(run, &taken.message, id, &step);
            taken.steps.push(step);
            if self.befalls(Fault::WideFanOut, FANNED_OUT, taken.message.sent) {
                self.fan_out(run, &mut taken, cursor);
            }
        }
        *cursor = cursor.saturating_add(Duration::from_millis(1));
        taken.end = *cursor;
        taken
    }

    fn verdict(&mut self, message: &Message, now: Timestamp) -> Option<Failure> {
        if message.nature == Nature::Poison {
            let text = "order line 1: `quantity` must be a positive number";
            return Some(Failure::new("ValidationError", text));
        }
        let stormy = self.is_active(Fault::RetryStorm, now) && message.n_receives == 1;
        let is_flaky = message.nature == Nature::Flaky && message.n_receives == 1;
        (is_flaky || stormy && self.random.chance(FIRST_TRY_FAILS))
            .then(|| Failure::new("ConnectionError", "connect ECONNREFUSED 10.0.7.21:6379"))
    }

    /// Tells the bus of each item of an order.
    fn fan_out(&mut self, run: &Run, taken: &mut Taken, cursor: &mut Timestamp) {
        self.book.expect(taken.message.request, self.branches);
        for _ in 0..self.branches {
            let id = self.random.uuid();
            let put = What::Send { message_id: id.clone(), queue: SHOP_EVENTS, via: Via::EventBus };
            let step = self.call(put, BRANCH, cursor);
            let event = self.event(run, &taken.message, id, &step);
            let sent = event.sent;
            self.plan_delivery(Function::Loyalty, event, sent);
            taken.steps.push(step);
        }
    }

    /// Tells the bus, which will invoke two functions.
    fn announce(&mut self, run: &Run, order: &Message, id: String, step: &Step) {
        let event = self.event(run, order, id, step);
        self.book.expect(order.request, 2);
        for function in [Function::NotifyCustomer, Function::Loyalty] {
            self.plan_delivery(function, event.clone(), event.sent);
        }
    }

    fn event(&self, run: &Run, order: &Message, id: String, step: &Step) -> Message {
        let position = Position { trace: run.position.trace, span: step.span };
        Message {
            id,
            queue: SHOP_EVENTS,
            via: Via::EventBus,
            sent: whole_millis(step.start),
            n_receives: 0,
            dead_letter_source: None,
            position: self.is_traced(Function::Fulfil).then_some(position),
            correlation_id: order.correlation_id.clone(),
            request: order.request,
            others: Vec::new(),
            cause: Some(run.invocation_id.clone()),
            nature: Nature::Sound,
            is_foreign: false,
        }
    }

    fn after_fulfil(&mut self, taken: Taken, received: Timestamp, end: Timestamp) {
        let message = taken.message;
        if taken.failure.is_some() {
            return self.put_back(message, received.saturating_add(VISIBILITY_TIMEOUT).max(end));
        }
        let again = matches!(message.nature, Nature::Sound | Nature::Flaky)
            && self.befalls(Fault::DuplicateDelivery, DELIVERED_AGAIN, message.sent);
        if again {
            let wait = self.random.millis(1_000, 4_000);
            let visible = whole_millis(end.saturating_add(wait));
            self.put_back(Message { nature: Nature::Again, ..message }, visible);
        } else {
            self.book.settle(message.request);
        }
    }

    fn put_back(&mut self, message: Message, visible: Timestamp) {
        if message.is_foreign {
            return self.plan(visible, Event::Foreign(Box::new(message)));
        }
        if let Some(look) = self.orders.put(message, visible) {
            self.plan(look, Event::PollOrders);
        }
    }

    /// The redrive policy moves the message; it keeps its id and its sent timestamp.
    fn dead_letter(&mut self, message: Message, now: Timestamp) {
        let fallen = self.fall(message);
        if let Some(look) = self.dead_letters.put(fallen, now) {
            self.plan(look, Event::PollDeadLetters);
        }
    }

    pub(super) fn fall(&mut self, message: Message) -> Message {
        self.book.dead_letter(&message);
        Message { queue: ORDERS_DLQ, n_receives: 0, dead_letter_source: Some(ORDERS), ..message }
    }

    pub(super) fn poll_dead_letters(&mut self, now: Timestamp) {
        if !self.dead_letters.is_due(now) {
            return;
        }
        if let Some(started) = self.acquire(Function::DlqInspector, now) {
            let batch = self.dead_letters.take(now);
            self.inspect(started, batch);
        }
        if let Some(look) = self.dead_letters.next_look(now) {
            self.plan(look, Event::PollDeadLetters);
        }
    }

    pub(super) fn inspect(&mut self, started: Started, batch: Vec<Message>) {
        let mut run = self.begin(Function::DlqInspector, Via::Queue, started);
        let mut cursor = run.start.saturating_add(self.work(Function::DlqInspector));
        for mut message in batch {
            message.n_receives += 1;
            let start = cursor;
            let put = What::Database { operation: "PutItem", table: "parked-orders-table" };
            let steps = vec![self.call(put, Duration::from_millis(7), &mut cursor)];
            let span = self.span_id();
            run.taken.push(Taken { message, span, start, end: cursor, failure: None, steps });
        }
        run.end = cursor.saturating_add(self.work(Function::DlqInspector));
        run.correlation_id = only_correlation_id(&run);
        self.finish(&run);
        let is_linked = self.is_traced(Function::DlqInspector);
        let evidence = |message: &Message| match message.position {
            Some(_) if is_linked => Evidence::Link,
            _ => Evidence::MessageId,
        };
        self.book.taken(&run, evidence, self.style);
        for taken in run.taken {
            self.plan_redrive(&taken.message, run.end);
            self.book.settle(taken.message.request);
        }
    }

    fn plan_redrive(&mut self, message: &Message, now: Timestamp) {
        // A new id would hide what it was: nobody could tell.
        if !message.is_foreign && self.is_active(Fault::Redrive, message.sent) {
            self.book.expect(message.request, 1);
            let at = whole_millis(now.saturating_add(REDRIVEN_AFTER));
            self.plan(at, Event::Redrive(Box::new(message.clone())));
        }
    }

    /// A move task makes a new message of it: id and sent timestamp are new, what it carries stays.
    /// By then whatever was wrong with it is mended.
    pub(super) fn redrive(&mut self, now: Timestamp, message: Message) {
        let moved = Message {
            id: self.random.uuid(),
            queue: ORDERS,
            sent: now,
            n_receives: 0,
            dead_letter_source: None,
            nature: Nature::Redriven,
            ..message
        };
        self.fulfil(now.saturating_add(REDRIVEN_WAIT), vec![moved]);
    }
}

/// The correlation id of a run that works for one message alone.
pub(super) fn only_correlation_id(run: &Run) -> Option<String> {
    match run.taken.as_slice() {
        [only] => only.message.correlation_id().map(str::to_owned),
        _ => None,
    }
}
