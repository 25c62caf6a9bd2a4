//! Which request shows an alert best, of those that the engine holds.

use std::time::Duration;

use super::matter::Matter;
use crate::correlate::request::Hop;
use crate::correlate::{Engine, Outcome, Request, RequestFilter};
use crate::signal::{Labels, Text, Timestamp};

/// How far back before the alert a request can be its evidence.
const REACH: Duration = Duration::from_mins(10);
/// Requests looked through for one alert, and of those that ended in one way.
const CANDIDATES_MAX: usize = 200;
const OF_OUTCOME_MAX: usize = 40;

pub(super) fn find(
    labels: &Labels,
    matter: &Matter,
    at: Timestamp,
    engine: &Engine,
) -> Option<Request> {
    let text = |name: &str| labels.get(name).map(Text::from);
    let all = RequestFilter {
        start: Some(at.saturating_sub(REACH)),
        limit: CANDIDATES_MAX,
        ..RequestFilter::default()
    };
    let named = RequestFilter {
        flow: text("flow"),
        function: text("faas_name"),
        queue: text("source_queue").or_else(|| text("queue")),
        ..all.clone()
    };
    if named.flow.is_none() && named.function.is_none() && named.queue.is_none() {
        return None;
    }
    let mut found = telling(&named, matter, engine);
    // A queue or function may be one that no request reached by this name; the flow still tells.
    for filter in [named, RequestFilter { flow: text("flow"), ..all }] {
        if found.is_empty() {
            found = engine.requests(&filter);
        }
    }
    found.into_iter().max_by_key(|request| rank(request, matter, labels))
}

/// Those that what the alert is about happened to. Among many good ones they would not be found by
/// looking through the newest.
fn telling(named: &RequestFilter, matter: &Matter, engine: &Engine) -> Vec<Request> {
    match matter {
        Matter::Failures(outcomes) => {
            let of = |outcome: &Outcome| {
                let (outcome, limit) = (Some(*outcome), OF_OUTCOME_MAX);
                engine.requests(&RequestFilter { outcome, limit, ..named.clone() })
            };
            outcomes.iter().flat_map(of).collect()
        }
        Matter::Time(min) if !min.is_zero() => {
            engine.requests(&RequestFilter { min_duration: Some(*min), ..named.clone() })
        }
        Matter::Time(_) | Matter::ColdStarts => Vec::new(),
    }
}

/// Whether it happened in the alert's function, then how bad it ended or how long what is asked about
/// took.
fn rank(request: &Request, matter: &Matter, labels: &Labels) -> (bool, Outcome, Duration) {
    let named = labels.get("faas_name");
    let in_function = |hop: &&Hop| named.is_none_or(|name| *hop.function == *name);
    let hops = || request.hops.iter().filter(in_function);
    let longest = |part: &dyn Fn(&Hop) -> Option<Duration>| hops().filter_map(part).max();
    match matter {
        Matter::Failures(outcomes) => {
            let fails = named.is_some() && hops().any(|hop| hop.outcome != Outcome::Ok);
            let is_asked = outcomes.contains(&request.outcome);
            let outcome = if is_asked { request.outcome } else { Outcome::Ok };
            (fails, outcome, request.duration)
        }
        Matter::Time(_) => {
            let took = match (labels.get("queue"), named) {
                (Some(queue), _) => {
                    longest(&|hop| hop.queue_wait.filter(|_| hop.queue.as_deref() == Some(queue)))
                }
                (None, Some(_)) => longest(&|hop| hop.duration),
                (None, None) => Some(request.duration),
            };
            (took.is_some(), Outcome::Ok, took.unwrap_or(request.duration))
        }
        Matter::ColdStarts => {
            let init = longest(&|hop| hop.init.filter(|_| hop.cold_start == Some(true)));
            (init.is_some(), Outcome::Ok, init.unwrap_or_default())
        }
    }
}
