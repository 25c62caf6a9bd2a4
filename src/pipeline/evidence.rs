//! Where to look: a real request behind an alert.

use std::time::Duration;

use crate::correlate::request::{Hop, millis};
use crate::correlate::{Engine, Outcome, Request, RequestFilter};
use crate::evaluate::{AlertState, Evidence, Transition};
use crate::signal::{Labels, Text, Timestamp};

/// How far back before the alert a request can be its evidence.
const REACH: Duration = Duration::from_mins(10);
/// Requests looked through for one alert.
const CANDIDATES_MAX: usize = 200;

/// Gives firing transitions their evidence, in a key of its own and as annotations that every
/// receiver shows.
pub(super) fn attach(transitions: &mut [Transition], engine: &Engine, external_url: &str) {
    for transition in
        transitions.iter_mut().filter(|transition| transition.to == AlertState::Firing)
    {
        let Some(evidence) = find(&transition.labels, transition.at, engine, external_url) else {
            continue;
        };
        transition.annotations.insert("evidence".into(), sentence(&evidence).into());
        transition.annotations.insert("request_url".into(), Text::clone(&evidence.url));
        transition.evidence = Some(evidence);
    }
}

fn find(labels: &Labels, at: Timestamp, engine: &Engine, external_url: &str) -> Option<Evidence> {
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
    // An alert about dead letters is shown by one. A queue or function may be one that no request
    // reached by this name; the flow still tells.
    let dead = labels
        .get("source_queue")
        .map(|_| RequestFilter { outcome: Some(Outcome::DeadLettered), ..named.clone() });
    let flow = RequestFilter { flow: text("flow"), ..all };
    let found = dead
        .into_iter()
        .chain([named, flow])
        .map(|filter| engine.requests(&filter))
        .find(|found| !found.is_empty())?;
    let function = labels.get("faas_name");
    let worst = found.iter().max_by_key(|request| rank(request, function))?;
    Some(describe(worst, external_url))
}

/// Bad outcomes before good ones, then trouble in the function of the alert, then the slowest.
fn rank(request: &Request, function: Option<&str>) -> (Outcome, bool, Duration) {
    let in_function = |hop: &Hop| {
        function.is_some_and(|name| *hop.function == *name) && hop.outcome != Outcome::Ok
    };
    (request.outcome, request.hops.iter().any(in_function), request.duration)
}

fn describe(request: &Request, external_url: &str) -> Evidence {
    let slowest = request.critical_path.iter().max_by_key(|part| part.duration);
    let hop = slowest.and_then(|part| request.hops.iter().find(|hop| hop.id == part.hop));
    let name = match (slowest, hop) {
        (Some(part), Some(hop)) => format!("{} ({})", hop.function, part.part.as_str()),
        _ => request.flow.to_string(),
    };
    Evidence {
        request_id: Text::clone(&request.id),
        flow: Text::clone(&request.flow),
        outcome: request.outcome.as_str().into(),
        duration_ms: millis(request.duration),
        slowest: name.into(),
        slowest_ms: slowest.map_or(0.0, |part| millis(part.duration)),
        error: request.hops.iter().rev().find_map(|hop| hop.error.clone()),
        url: format!("{external_url}/requests/{}", request.id).into(),
    }
}

fn sentence(evidence: &Evidence) -> String {
    let Evidence { flow, outcome, duration_ms, slowest, slowest_ms, error, url, .. } = evidence;
    let error = error.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
    format!(
        "{flow} ended {outcome} after {duration_ms:.0} ms, {slowest_ms:.0} ms of it in {slowest}{error}. {url}"
    )
}
