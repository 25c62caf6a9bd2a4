//! The event bus: asynchronous invocations of `notify-customer` and `loyalty`.
//!
//! Lambda tries a failed asynchronous invocation twice more, after one and two minutes, under the same
//! request id.

use std::time::Duration;

use super::config::Fault;
use super::plan::{ASYNC_RETRY_WAITS, Function};
use super::run::{Ending, Failure, Message, Taken, What};
use super::world::{Event, World};
use crate::correlate::request::Evidence;
use crate::number::usize_from_u32;
use crate::signal::{Timestamp, Via};

/// Share of attempts that a retry storm fails; the third succeeds.
const ATTEMPT_FAILS: f64 = 0.6;

/// An event on its way to one function.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    function: Function,
    event: Message,
    /// Given at the first attempt, kept by the others.
    invocation_id: Option<String>,
}

impl World {
    pub(super) fn plan_delivery(&mut self, function: Function, event: Message, sent: Timestamp) {
        let at = sent.saturating_add(self.random.millis(60, 320));
        let delivery = Delivery { function, event, invocation_id: None };
        self.plan(at, Event::Deliver(Box::new(delivery)));
    }

    pub(super) fn deliver(&mut self, now: Timestamp, delivery: Delivery) {
        let function = delivery.function;
        let Some(started) = self.acquire(function, now) else {
            // Lambda keeps the event and tries again.
            let again = now.saturating_add(Duration::from_secs(1));
            return self.plan(again, Event::Deliver(Box::new(delivery)));
        };
        let mut run = self.begin(function, Via::EventBus, started);
        let invocation_id = delivery.invocation_id.unwrap_or_else(|| run.invocation_id.clone());
        run.invocation_id.clone_from(&invocation_id);
        let mut event = delivery.event;
        event.n_receives += 1;
        let parent = event.position.filter(|_| self.is_traced(function));
        if let Some(parent) = parent {
            run.parent = Some(parent);
            run.position.trace = parent.trace;
        }
        run.correlation_id = event.correlation_id().map(str::to_owned);
        let mut cursor = run.start.saturating_add(self.work(function));
        let start = cursor;
        let what = match function {
            Function::NotifyCustomer => What::Http { host: "email.example", method: "POST" },
            _ => What::Database { operation: "UpdateItem", table: "points-table" },
        };
        let mut step = self.call(what, Duration::from_millis(30), &mut cursor);
        step.failure = self.attempt(now, &event);
        if let Some(failure) = &step.failure {
            run.ending = Ending::Failed(failure.clone());
        }
        run.end = cursor.saturating_add(self.work(function));
        run.steps.push(step);
        let span = run.position.span;
        let failure = run.ending.failure().cloned();
        let end = run.end;
        run.taken =
            vec![Taken { message: event, span, start, end: cursor, failure, steps: Vec::new() }];
        self.skew(&mut run);
        self.finish(&run);
        let evidence = if parent.is_some() { Evidence::Trace } else { Evidence::MessageId };
        self.book.taken(&run, |_| evidence, self.style);
        let failed = run.ending != Ending::Ok;
        if let Some(taken) = run.taken.pop() {
            self.after_delivery(function, taken.message, invocation_id, failed.then_some(end));
        }
    }

    fn attempt(&mut self, now: Timestamp, event: &Message) -> Option<Failure> {
        let stormy = self.is_active(Fault::RetryStorm, now) && event.n_receives <= 2;
        (stormy && self.random.chance(ATTEMPT_FAILS))
            .then(|| Failure::new("ConnectionError", "connect ECONNREFUSED 10.0.3.7:443"))
    }

    /// Plans the next attempt after one that failed at `failed`, as long as there is one.
    fn after_delivery(
        &mut self,
        function: Function,
        event: Message,
        invocation_id: String,
        failed: Option<Timestamp>,
    ) {
        let n_done = usize_from_u32(event.n_receives).saturating_sub(1);
        match (failed, ASYNC_RETRY_WAITS.get(n_done)) {
            (Some(end), Some(&wait)) => {
                let at = end.saturating_add(wait + self.random.millis(0, 900));
                let delivery = Delivery { function, event, invocation_id: Some(invocation_id) };
                self.plan(at, Event::Deliver(Box::new(delivery)));
            }
            _ => event.requests().for_each(|request| self.book.settle(request)),
        }
    }
}
