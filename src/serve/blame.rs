//! Blame: which hop and part of a flow makes its slowest requests slow.
//!
//! Finished requests that can still be corrected come in, of each flow the newest thousand; for each flow,
//! how much longer each part of the critical path is in the slowest hundredth than in the usual half comes
//! out. A request counts as many times as it stands for. Parts of a critical path add up to the duration, so
//! the shares are of what makes p99 differ from the usual, never of what one part lasts by itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;

use super::Views;
use super::params::Params;
use crate::correlate::request::{Part, millis};
use crate::correlate::{Request, RequestFilter, State as RequestState};
use crate::number::f64_from_u64;
use crate::signal::Text;

/// The newest requests of a flow that are looked at; views of them are made under the engine's lock, which
/// is given back between flows.
const REQUESTS_MAX: usize = 1_000;
/// Flows of one answer: those of the most requests.
const FLOWS_MAX: usize = 100;
/// One of so many requests, at least one, is among the slowest.
const SLOWEST_OF: u64 = 100;

/// One flow, with its parts, the most to blame first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct FlowBlame {
    pub(super) flow: Text,
    /// As many as those that were looked at stand for.
    pub(super) requests: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) parts: Vec<PartBlame>,
}

/// A part of the critical path at one function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PartBlame {
    pub(super) function: Text,
    pub(super) part: Part,
    /// Mean milliseconds in the slowest requests, and in the usual ones.
    pub(super) slow_ms: f64,
    pub(super) usual_ms: f64,
    /// Of all that parts last longer in the slowest than usually; 0 where it lasts no longer.
    pub(super) share: f64,
}

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/api/blame", get(blame))
}

async fn blame(State(views): State<Views>, params: Params) -> Response {
    let flow = params.get("flow").map(Text::from);
    Json(json!({ "flows": now(&views, flow) })).into_response()
}

/// Of the requests that are held now, of one flow or of all.
pub(super) fn now(views: &Views, flow: Option<Text>) -> Vec<FlowBlame> {
    let engine = || views.engine.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let flows = flow.map_or_else(|| largest(engine().held_by_flow()), |flow| vec![flow]);
    let blame = flows.into_iter().filter_map(|flow| {
        let filter = RequestFilter {
            flow: Some(Text::clone(&flow)),
            limit: REQUESTS_MAX,
            ..RequestFilter::default()
        };
        let requests = engine().requests(&filter);
        of_flow(flow, requests)
    });
    blame.collect()
}

/// The flows that hold the most requests, by name.
fn largest(mut flows: Vec<(Text, u64)>) -> Vec<Text> {
    flows.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    flows.truncate(FLOWS_MAX);
    let mut names: Vec<Text> = flows.into_iter().map(|(flow, _)| flow).collect();
    names.sort();
    names
}

/// A request's places among those of its flow, the fastest first: one for each that it stands for.
struct Ranked {
    request: Request,
    places: Range<u64>,
}

/// From the finished requests of a flow; None where there is none.
fn of_flow(flow: Text, mut requests: Vec<Request>) -> Option<FlowBlame> {
    requests.retain(|request| request.state != RequestState::Open);
    requests.sort_by(|a, b| (a.duration, &a.id).cmp(&(b.duration, &b.id)));
    let mut n = 0;
    let ranked: Vec<Ranked> = requests
        .into_iter()
        .map(|request| {
            let first = n;
            n += u64::from(request.stands_for.max(1));
            Ranked { request, places: first..n }
        })
        .collect();
    if n == 0 {
        return None;
    }
    let p99 = n - n.div_ceil(SLOWEST_OF);
    let (slow, usual) = (means(&ranked, p99..n), means(&ranked, n / 4..n - n / 4));
    let usual_ms = |key: &(Text, Part)| usual.get(key).copied().unwrap_or_default();
    let excess = |key: &(Text, Part), slow_ms: f64| (slow_ms - usual_ms(key)).max(0.0);
    let total: f64 = slow.iter().map(|(key, &slow_ms)| excess(key, slow_ms)).sum();
    let mut parts: Vec<PartBlame> = slow
        .iter()
        .map(|(key, &slow_ms)| PartBlame {
            function: Text::clone(&key.0),
            part: key.1,
            slow_ms,
            usual_ms: usual_ms(key),
            share: if total > 0.0 { excess(key, slow_ms) / total } else { 0.0 },
        })
        .collect();
    parts.sort_by(|a, b| b.share.total_cmp(&a.share));
    let at = |place: u64| {
        let found = ranked.iter().find(|ranked| ranked.places.contains(&place));
        found.map_or(Duration::ZERO, |ranked| ranked.request.duration)
    };
    let (p50_ms, p99_ms) = (millis(at(n / 2)), millis(at(p99)));
    Some(FlowBlame { flow, requests: n, p50_ms, p99_ms, parts })
}

/// Mean milliseconds of each part at each function, of the requests at these places.
fn means(ranked: &[Ranked], places: Range<u64>) -> BTreeMap<(Text, Part), f64> {
    let mut sums: BTreeMap<(Text, Part), f64> = BTreeMap::new();
    for Ranked { request, places: own } in ranked {
        let n = own.end.min(places.end).saturating_sub(own.start.max(places.start));
        for part in request.critical_path.iter().filter(|_| n > 0) {
            let hop = request.hops.iter().find(|hop| hop.id == part.hop);
            let function =
                hop.map_or_else(|| Text::from("unknown"), |hop| Text::clone(&hop.function));
            let sum = sums.entry((function, part.part)).or_default();
            *sum += millis(part.duration) * f64_from_u64(n);
        }
    }
    let n = f64_from_u64((places.end - places.start).max(1));
    sums.into_iter().map(|(key, sum)| (key, sum / n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::request::PathPart;
    use crate::correlate::{Hop, Outcome};
    use crate::signal::{Timestamp, Via};

    fn hop(function: &str) -> Hop {
        Hop {
            id: function.into(),
            causes: Vec::new(),
            via: Via::Http,
            evidence: None,
            function: function.into(),
            service: None,
            version: None,
            invocation_id: None,
            attempt: 1,
            start: Timestamp::EPOCH,
            end: None,
            duration: None,
            queue: None,
            queue_wait: None,
            cold_start: None,
            init: None,
            outcome: Outcome::Ok,
            error: None,
            message_ids: Vec::new(),
            shared: false,
            spans: 0,
            logs: 0,
            billed: None,
            cost_usd: None,
        }
    }

    /// A request whose path has these milliseconds of init at `front` and of waiting before `back`.
    fn request(n: usize, state: RequestState, ms: [u64; 2]) -> Request {
        let part = |(hop, part, ms): (&str, Part, u64)| PathPart {
            hop: hop.into(),
            part,
            duration: Duration::from_millis(ms),
        };
        let [init, wait] = ms;
        let path = [
            ("front", Part::Init, init),
            ("front", Part::Run, 50),
            ("back", Part::QueueWait, wait),
        ];
        Request {
            id: format!("{n:03}").into(),
            aliases: Vec::new(),
            flow: "POST /orders".into(),
            outcome: Outcome::Ok,
            state,
            start: Timestamp::EPOCH,
            end: Timestamp::EPOCH,
            duration: Duration::from_millis(init + 50 + wait),
            response: None,
            continues: None,
            keys: Vec::new(),
            hops: vec![hop("front"), hop("back")],
            critical_path: path.map(part).to_vec(),
            missing: Vec::new(),
            cost_usd: None,
            stands_for: 1,
        }
    }

    fn check(requests: Vec<Request>, expect: &expect_test::Expect) {
        let shown = of_flow("POST /orders".into(), requests).into_iter().map(|flow| {
            let parts = flow.parts.iter().map(|part| {
                let (function, name) = (&part.function, part.part.as_str());
                format!(
                    "  {function} {name} {:.0} {:.0} {:.2}\n",
                    part.slow_ms, part.usual_ms, part.share
                )
            });
            let parts: String = parts.collect();
            format!(
                "{} {} {:.0} {:.0}\n{parts}",
                flow.flow, flow.requests, flow.p50_ms, flow.p99_ms
            )
        });
        expect.assert_eq(&shown.collect::<String>());
    }

    #[test]
    #[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
    fn what_lasts_longer_than_usual_in_the_slowest_requests_is_to_blame() {
        let mut requests: Vec<Request> =
            (0..198).map(|n| request(n, RequestState::Finished, [0, 100])).collect();
        requests.push(request(198, RequestState::Final, [300, 200]));
        requests.push(request(199, RequestState::Finished, [300, 200]));
        requests.push(request(200, RequestState::Open, [90_000, 0]));
        check(
            requests,
            &expect_test::expect![[r#"
                POST /orders 200 150 550
                  front init 300 0 0.75
                  back queue_wait 200 100 0.25
                  front run 50 50 0.00
            "#]],
        );
    }

    #[test]
    fn a_request_counts_as_many_times_as_it_stands_for() {
        let rows = |stands_for: u32| {
            let slow = Request { stands_for, ..request(1, RequestState::Finished, [300, 100]) };
            let usual = Request { stands_for: 98, ..request(0, RequestState::Finished, [0, 100]) };
            let flow = of_flow("POST /orders".into(), vec![usual, slow]).unwrap();
            (flow.requests, flow.p50_ms, flow.p99_ms, flow.parts[0].usual_ms)
        };
        assert_eq!(rows(2), (100, 150.0, 450.0, 0.0));
        assert_eq!(rows(98), (196, 450.0, 450.0, 150.0), "as often slow as not");
    }

    #[test]
    fn flows_with_the_most_requests_are_told() {
        let flows = (0..200).map(|n| (Text::from(format!("{n:03}")), n % 150)).collect();
        let told = largest(flows);
        assert_eq!((told.len(), told.first().map(|flow| &**flow)), (FLOWS_MAX, Some("050")));
    }

    #[test]
    #[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
    fn one_request_blames_nobody() {
        check(
            vec![request(1, RequestState::Finished, [0, 100])],
            &expect_test::expect![[r#"
                POST /orders 1 150 150
                  back queue_wait 100 100 0.00
                  front init 0 0 0.00
                  front run 50 50 0.00
            "#]],
        );
    }
}
