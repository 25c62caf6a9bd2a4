//! What a finished request adds, at its end.

use super::contribution::Tally;
use super::{Objective, Sli};
use crate::correlate::request::{KeyKind, Part};
use crate::correlate::{Outcome, Request};
use crate::series::catalog::{
    REQUEST_COST, REQUEST_DURATION, REQUEST_QUEUE_WAIT, REQUESTS, RESPONSE_DURATION,
};
use crate::signal::Text;

/// The trace that its exemplars lead to: a real one, else the request itself.
pub(super) fn exemplar(request: &Request) -> Text {
    let trace = request.keys.iter().find(|key| key.kind == KeyKind::TraceId);
    Text::clone(trace.map_or(&request.id, |key| &key.value))
}

pub(super) fn tally(request: &Request, tally: &mut Tally<'_>) {
    let flow: (&str, &str) = ("flow", &request.flow);
    let labels = [flow, ("outcome", request.outcome.as_str())];
    tally.count(REQUESTS, &labels);
    tally.observe(REQUEST_DURATION, &labels, request.duration.as_secs_f64());
    if let Some(response) = request.response {
        tally.observe(RESPONSE_DURATION, &labels, response.as_secs_f64());
    }
    if let Some(cost) = request.cost_usd {
        tally.add(REQUEST_COST, &labels, cost);
    }
    let waits = request.critical_path.iter().filter(|part| part.part == Part::QueueWait);
    for wait in waits {
        tally.observe(REQUEST_QUEUE_WAIT, &[flow], wait.duration.as_secs_f64());
    }
}

/// Counts the request for an objective that it is an event of.
pub(super) fn tally_objective(request: &Request, objective: &Objective, tally: &mut Tally<'_>) {
    let Some(is_good) = judge(request, &objective.sli) else { return };
    objective.tally(is_good, tally);
}

/// Whether the request is good; None where it is no event of the indicator.
fn judge(request: &Request, sli: &Sli) -> Option<bool> {
    let is_of = |flow: &Option<Text>| flow.as_ref().is_none_or(|flow| *flow == request.flow);
    match sli {
        Sli::Availability { flow } => is_of(flow).then_some(request.outcome == Outcome::Ok),
        Sli::Latency { flow, threshold, whole_request } => {
            let took = if *whole_request { Some(request.duration) } else { request.response };
            took.filter(|_| is_of(flow)).map(|took| took <= *threshold)
        }
        Sli::Completeness { flow } => is_of(flow).then_some(request.outcome != Outcome::Incomplete),
        Sli::Freshness { .. } => None,
    }
}
