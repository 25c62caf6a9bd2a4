//! The short form: objectives of flows, counted by the daemon itself at event time.
//!
//! ```yaml
//! kind: throughline/v1
//! service: shop
//! slos:
//! - name: orders-availability
//!   objective: 99.5
//!   availability: {flow: POST /orders}
//! ```

use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::document::Document;
use super::print::{Pairs, RuleGroup, RuleText};
use super::sloth::is_objective;
use super::{Compiled, Slo, Source, burn};
use crate::measure::Sli;
use crate::signal::{format_duration, parse_duration};

/// The window of an objective that names none.
const WINDOW: Duration = Duration::from_hours(720);
/// Failures in the long window before an alert: one failure alone is 14.4 times a 99.5 % objective's
/// budget in any hour with 13 requests or fewer.
const FAILURES_MIN: u64 = 3;
/// Shorter windows have no sensible burn rates: the longest pair looks back 3 days.
const WINDOW_MIN: Duration = Duration::from_hours(7 * 24);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    #[expect(dead_code, reason = "the format was chosen by it; unknown keys are refused")]
    kind: String,
    service: String,
    slos: Vec<Spanned<RawSlo>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSlo {
    name: Spanned<String>,
    #[expect(dead_code, reason = "people read it; rules do not carry it")]
    description: Option<String>,
    /// Percent of good events.
    objective: Spanned<f64>,
    window: Option<Spanned<String>>,
    availability: Option<RawAvailability>,
    latency: Option<RawLatency>,
    /// Failures in an alert's long window before it fires.
    min_failures: Option<u64>,
    #[serde(default)]
    labels: Pairs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAvailability {
    flow: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLatency {
    flow: Option<String>,
    threshold: Spanned<String>,
    measure: Option<Measured>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Measured {
    /// From the start to the end of the entry hop: what a caller waits for.
    Response,
    /// To the last end, queues included.
    Request,
}

pub(super) fn compile(document: &Document<'_>, out: &mut Compiled) {
    let spec: Spec = match document.read() {
        Ok(spec) => spec,
        Err(error) => return out.errors.push(error),
    };
    for raw in &spec.slos {
        let Some(slo) = slo(document, &spec, raw, out) else { continue };
        document.warn_unreachable(&raw.value.objective.referenced, &slo, out);
        out.groups.push(RuleGroup {
            name: format!("slo-{}-{}", slo.service, slo.name),
            rules: alerts(&raw.value, &slo),
        });
        out.slos.push(slo);
    }
}

fn slo(
    document: &Document<'_>,
    spec: &Spec,
    raw: &Spanned<RawSlo>,
    out: &mut Compiled,
) -> Option<Slo> {
    let n_before = out.errors.len();
    let RawSlo { name, objective, window, availability, latency, .. } = &raw.value;
    let mut error = |place, message: String| out.errors.push(document.error(place, message));
    if name.value.is_empty() {
        error(&name.referenced, "the SLO has no name".to_owned());
    }
    if !is_objective(objective.value) {
        error(
            &objective.referenced,
            "`objective` is a percentage above 0 and below 100".to_owned(),
        );
    }
    let mut parsed_window = WINDOW;
    if let Some(window) = window {
        match parse_duration(&window.value).filter(|parsed| *parsed >= WINDOW_MIN) {
            Some(parsed) => parsed_window = parsed,
            None => error(
                &window.referenced,
                format!("`{}` is no window; write 30d, and at least 7d", window.value),
            ),
        }
    }
    let sli = match (availability, latency) {
        (Some(availability), None) => {
            Some(Sli::Availability { flow: availability.flow.as_deref().map(Into::into) })
        }
        (None, Some(latency)) => {
            let threshold =
                parse_duration(&latency.threshold.value).filter(|parsed| !parsed.is_zero());
            if threshold.is_none() {
                error(
                    &latency.threshold.referenced,
                    format!("`{}` is no threshold; write 500ms", latency.threshold.value),
                );
            }
            threshold.map(|threshold| Sli::Latency {
                flow: latency.flow.as_deref().map(Into::into),
                threshold,
                whole_request: matches!(latency.measure, Some(Measured::Request)),
            })
        }
        _ => {
            error(&raw.referenced, "an SLO has one of `availability` and `latency`".to_owned());
            None
        }
    };
    let sli = sli.filter(|_| out.errors.len() == n_before)?;
    Some(Slo {
        name: name.value.as_str().into(),
        service: spec.service.as_str().into(),
        objective: objective.value,
        window: parsed_window,
        source: Source::Counters(sli),
    })
}

fn alerts(raw: &RawSlo, slo: &Slo) -> Vec<RuleText> {
    let selector = format!("service={:?}, slo={:?}", &*slo.service, &*slo.name);
    let failures_min = raw.min_failures.unwrap_or(FAILURES_MIN).max(1);
    let (flow, bad) = match &slo.source {
        Source::Counters(Sli::Availability { flow }) => (flow, "failed".to_owned()),
        Source::Counters(Sli::Latency { flow, threshold, .. }) => {
            (flow, format!("took longer than {}", format_duration(*threshold)))
        }
        Source::Query(_) => (&None, "failed".to_owned()),
    };
    let rule = |severity: &str, name: &str, how: &str| {
        let expr = burn::from_counters(
            &selector,
            &burn::pairs_of(severity, slo.window),
            slo.error_budget(),
            failures_min,
        );
        let mut labels = raw.labels.clone();
        labels.insert("severity".to_owned(), severity.to_owned());
        labels.extend(flow.as_ref().map(|flow| ("flow".to_owned(), flow.to_string())));
        let annotations = [
            (
                "summary",
                format!(
                    "{{{{ $labels.service }}}}: the error budget of {{{{ $labels.slo }}}} burns {how}"
                ),
            ),
            (
                "description",
                format!(
                    "{{{{ $value | humanizePercentage }}}} of {} {bad}; the objective of {}% over {} allows {}%.{}",
                    flow.as_ref().map_or_else(
                        || "requests".to_owned(),
                        |flow| format!("the requests of {flow}")
                    ),
                    slo.objective,
                    format_duration(slo.window),
                    trimmed(100.0 - slo.objective),
                    counts(slo, &selector, if severity == burn::PAGE { "1h" } else { "1d" }),
                ),
            ),
            ("runbook_url", format!("{{{{ $externalURL }}}}/runbooks/{name}")),
        ];
        let annotations =
            annotations.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
        RuleText { key: "alert", name: name.to_owned(), expr, labels, annotations }
    };
    vec![
        rule(burn::PAGE, "SloBurnsFast", "too fast"),
        rule(burn::TICKET, "SloBurnsSlowly", "faster than it may"),
    ]
}

/// Template text that says how many events of `recent` were bad, and how much of the budget is left.
fn counts(slo: &Slo, selector: &str, recent: &str) -> String {
    let window = format_duration(slo.window);
    let sum = |what: &str, window: &str| {
        format!("sum(increase(throughline_slo_{what}_total{{{selector}}}[{window}]))")
    };
    let bad = |window: &str| format!("{} - {}", sum("events", window), sum("good", window));
    let left = format!(
        "1 - ({}) / {} / {}",
        bad(&window),
        sum("events", &window),
        trimmed(slo.error_budget())
    );
    let ask = |query: &str, before: &str, show: &str| {
        format!(
            "{{{{ with query `{query}` }}}}{before}{{{{ . | first | value | {show} }}}}.{{{{ end }}}}"
        )
    };
    let whole = "printf \"%.0f\"";
    [
        ask(&bad(recent), &format!(" Bad events in the last {recent}: "), whole),
        ask(&sum("events", recent), " Events in all: ", whole),
        ask(&left, " Budget left: ", "humanizePercentage"),
    ]
    .concat()
}

/// A number for people and queries: 0.1, not 0.09999999999999432.
fn trimmed(number: f64) -> String {
    let shown = format!("{number:.9}");
    shown.trim_end_matches('0').trim_end_matches('.').to_owned()
}
