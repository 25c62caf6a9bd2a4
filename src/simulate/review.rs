//! The workflow `review-order`: one step at once, and one after a person has looked at the order.
//!
//! Step Functions hands its context object to `review`; a retry of a step is a new invocation with a
//! new request id. Between the two steps lie two hours, longer than any request is kept open: what
//! comes then is a request of its own, which continues the first.

use std::time::Duration;

use super::book::Cause;
use super::config::Fault;
use super::instances::whole_millis;
use super::plan::{Function, execution_arn};
use super::run::{Ending, Failure, Run, What, WorkflowState};
use super::shop::Caller;
use super::world::{Event, World};
use crate::correlate::request::Evidence;
use crate::signal::{Timestamp, Via};

/// Share of orders that a person looks at.
const REVIEWED: f64 = 0.3;
const STEP_FAILS: f64 = 0.3;
const RETRY_WAIT: Duration = Duration::from_secs(2);
/// How long people take.
const PERSON: Duration = Duration::from_hours(2);

/// A step that is due.
#[derive(Clone, Debug)]
pub(super) struct Review {
    state: WorkflowState,
    correlation_id: String,
    part: Part,
}

/// Which part of the order's story it belongs to.
#[derive(Clone, Debug)]
enum Part {
    /// The request that the order began.
    First { request: u64, cause: String },
    /// What comes after the person: a request of its own.
    Later { continues: String },
}

impl World {
    pub(super) fn plan_review(&mut self, caller: &Caller, now: Timestamp) {
        if !self.is_active(Fault::HumanStep, now) || !self.random.chance(REVIEWED) {
            return;
        }
        self.book.expect(caller.request, 1);
        let execution = execution_arn(&self.random.uuid());
        let review = Review {
            state: WorkflowState { execution, name: "Prepare", n_retries: 0 },
            correlation_id: caller.correlation_id.clone(),
            part: Part::First { request: caller.request, cause: caller.invocation_id.clone() },
        };
        let at = whole_millis(now.saturating_add(self.random.millis(300, 600)));
        self.plan(at, Event::Review(Box::new(review)));
    }

    pub(super) fn review(&mut self, now: Timestamp, mut review: Review) {
        let Some(started) = self.acquire(Function::Review, now) else {
            let again = now.saturating_add(Duration::from_secs(1));
            return self.plan(again, Event::Review(Box::new(review)));
        };
        let mut run = self.begin(Function::Review, Via::Workflow, started);
        run.correlation_id = Some(review.correlation_id.clone());
        run.state = Some(review.state.clone());
        let mut cursor = run.start.saturating_add(self.work(Function::Review));
        let put = What::Database { operation: "PutItem", table: "reviews-table" };
        let mut step = self.call(put, Duration::from_millis(12), &mut cursor);
        let is_first = review.state.n_retries == 0 && matches!(review.part, Part::First { .. });
        if is_first && self.random.chance(STEP_FAILS) {
            let failure = Failure::new("ConnectionError", "connect ECONNREFUSED 10.0.8.2:8000");
            step.failure = Some(failure.clone());
            run.ending = Ending::Failed(failure);
        }
        run.steps.push(step);
        run.end = cursor.saturating_add(self.work(Function::Review));
        self.finish(&run);
        let request = self.book_review(&run, &review);
        if run.ending == Ending::Ok {
            self.after_review(request, review, &run);
        } else {
            review.state.n_retries += 1;
            let again = whole_millis(run.end.saturating_add(RETRY_WAIT));
            self.plan(again, Event::Review(Box::new(review)));
        }
    }

    /// Answers the request that the step is part of.
    fn book_review(&mut self, run: &Run, review: &Review) -> u64 {
        match &review.part {
            Part::First { request, cause } => {
                let cause = Cause {
                    invocation_id: Some(cause.clone()),
                    // A state machine carries no trace; what it was given holds the order's id.
                    evidence: Some(Evidence::CorrelationId),
                    attempt: review.state.n_retries + 1,
                };
                self.book.hop(*request, run, cause, self.style);
                *request
            }
            Part::Later { continues } => {
                let flow = Function::Review.as_str();
                let request = self.book.open(flow, &review.correlation_id);
                self.book.continues(request, continues);
                self.book.hop(request, run, Cause { attempt: 1, ..Cause::default() }, self.style);
                request
            }
        }
    }

    fn after_review(&mut self, request: u64, review: Review, run: &Run) {
        if let Part::First { cause, .. } = review.part {
            let later = Review {
                state: WorkflowState { name: "Decide", n_retries: 0, ..review.state },
                correlation_id: review.correlation_id,
                part: Part::Later { continues: cause },
            };
            let at = whole_millis(run.end.saturating_add(PERSON));
            self.plan(at, Event::Review(Box::new(later)));
        }
        self.book.settle(request);
    }
}
