//! What a replay found, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::correlate::{Outcome, Request};
use crate::pipeline::replay::{Alerted, Outcomes};
use crate::signal::Timestamp;

/// Bad requests that people are shown.
const BAD_MAX: usize = 20;

pub(super) fn json(outcomes: &Outcomes) -> Value {
    json!({
        "start": outcomes.begin,
        "end": outcomes.end,
        "alerts": outcomes.alerts,
        "alerts_left_out": outcomes.n_more_alerts,
        "requests": outcomes.requests,
        "ledger": outcomes.ledger,
    })
}

pub(super) fn text(outcomes: &Outcomes) -> String {
    let mut out = String::new();
    let (Some(begin), Some(end)) = (outcomes.begin, outcomes.end) else {
        return "nothing was captured\n".to_owned();
    };
    let n = |of: Outcome, n: usize| format!("{n} {}", of.as_str());
    let counts: Vec<String> = outcomes.by_outcome().into_iter().map(|(of, k)| n(of, k)).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let _ = writeln!(out, "from {} to {}", short(begin), short(end));
    let _ = writeln!(out, "{} requests{counts}", outcomes.requests.len());
    let bad: Vec<&Request> =
        outcomes.requests.iter().filter(|request| request.outcome != Outcome::Ok).collect();
    for request in bad.iter().take(BAD_MAX) {
        let _ = writeln!(
            out,
            "  {}  {:<13} {:>9.1} ms  {}  {}",
            short(request.start),
            request.outcome.as_str(),
            request.duration.as_secs_f64() * 1e3,
            request.id,
            request.flow
        );
    }
    if bad.len() > BAD_MAX {
        let _ = writeln!(out, "  and {} more; --json tells all", bad.len() - BAD_MAX);
    }
    let n_alerts = outcomes.alerts.len();
    let alerts = if n_alerts == 1 { "alert" } else { "alerts" };
    let _ = writeln!(out, "{n_alerts} {alerts} would have fired");
    outcomes.alerts.iter().for_each(|alert| tell(alert, &mut out));
    if outcomes.n_more_alerts > 0 {
        let _ = writeln!(out, "  and {} more, which nobody counted in", outcomes.n_more_alerts);
    }
    out
}

fn tell(alert: &Alerted, out: &mut String) {
    let until = alert.resolved_at.map_or("fires still where the data ends".to_owned(), |at| {
        format!("resolved {}", short(at))
    });
    let _ = writeln!(out, "  {}  {}  {until}", short(alert.fired_at), alert.labels);
    if let Some(summary) = alert.annotations.get("summary") {
        let _ = writeln!(out, "      {summary}");
    }
}

/// To the millisecond: what people compare with their own notes.
fn short(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..23).map_or_else(|| text.clone(), |cut| format!("{cut}Z"))
}
