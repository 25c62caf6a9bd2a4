//! The alerts of a short-form objective: conditions and texts, from bad events and all.

use std::fmt::Write as _;

use super::burn::{Counts, Guard, PAGE, Pair, TICKET};
use super::print::RuleText;
use super::short_form::RawSlo;
use super::{Counter, Slo, Source, burn};
use crate::measure::Sli;
use crate::signal::format_duration;

/// The alerts: a page and a ticket where their pairs exist; one page for what may never happen.
pub(super) fn alerts(raw: &RawSlo, slo: &Slo, guard: Guard) -> Vec<RuleText> {
    if slo.error_budget() <= 0.0 {
        return vec![never(raw, slo)];
    }
    let rule = |severity: &str, name: &str, how: &str| {
        let pairs = slo.windows.of_severity(severity);
        let first = pairs.first()?;
        let expr = conditions(slo, &pairs, guard);
        let summary = format!("{}: the error budget of {} burns {how}", &*slo.service, &*slo.name);
        let description = description(slo, first, guard);
        Some(text(raw, slo, severity, Alert { name, expr, summary, description }))
    };
    [rule(PAGE, "SloBurnsFast", "too fast"), rule(TICKET, "SloBurnsSlowly", "faster than it may")]
        .into_iter()
        .flatten()
        .collect()
}

struct Alert<'a> {
    name: &'a str,
    expr: String,
    summary: String,
    description: String,
}

fn text(raw: &RawSlo, slo: &Slo, severity: &str, alert: Alert<'_>) -> RuleText {
    let Alert { name, expr, summary, description } = alert;
    let mut labels = raw.labels.clone();
    let own = [("severity", severity), ("service", &*slo.service), ("slo", &*slo.name)];
    labels.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    labels.extend(subject(slo).1);
    let annotations = [
        ("summary", summary),
        ("description", description),
        ("runbook_url", format!("{{{{ $externalURL }}}}/runbooks/{name}")),
    ];
    let annotations = annotations.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    RuleText { key: "alert", name: name.to_owned(), expr, hold: None, labels, annotations }
}

/// One event is one too many.
fn never(raw: &RawSlo, slo: &Slo) -> RuleText {
    let expr = format!("{} > 0\n", bad(slo, "5m"));
    let summary = format!("{}: {} may never happen, and did", &*slo.service, &*slo.name);
    let description = format!(
        "{{{{ $value | printf \"%.0f\" }}}} {} within 5 minutes. Fires at the first one: this objective has no error budget.",
        subject(slo).0
    );
    text(raw, slo, PAGE, Alert { name: "SloBurnsFast", expr, summary, description })
}

fn conditions(slo: &Slo, pairs: &[Pair], guard: Guard) -> String {
    let counts = Counts { bad: &|window| bad(slo, window), all: &|window| all(slo, window) };
    burn::from_counts(&counts, pairs, slo.error_budget(), guard)
}

fn bad(slo: &Slo, window: &str) -> String {
    match &slo.source {
        Source::Counters(_) => {
            format!("{} - {}", of_slo("events", slo, window), of_slo("good", slo, window))
        }
        // Where nothing was ever bad there is no counter of it.
        Source::Series { bad, .. } => format!("({} or vector(0))", sum(bad, window)),
        Source::Query(_) => String::new(),
    }
}

fn all(slo: &Slo, window: &str) -> String {
    match &slo.source {
        Source::Counters(_) => of_slo("events", slo, window),
        Source::Series { all, .. } => {
            let terms = all.iter().map(|counter| sum(std::slice::from_ref(counter), window));
            terms.map(|term| format!("({term} or vector(0))")).collect::<Vec<_>>().join(" + ")
        }
        Source::Query(_) => String::new(),
    }
}

fn of_slo(what: &str, slo: &Slo, window: &str) -> String {
    format!(
        "sum(increase(throughline_slo_{what}_total{{service={:?}, slo={:?}}}[{window}]))",
        &*slo.service, &*slo.name
    )
}

fn sum(counters: &[Counter], window: &str) -> String {
    let terms = counters.iter().map(|Counter { metric, labels }| {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("sum(increase({metric}{{{}}}[{window}]))", labels.join(", "))
    });
    terms.collect::<Vec<_>>().join(" + ")
}

/// What the objective's events are, and the label that leads to them.
fn subject(slo: &Slo) -> (String, Option<(String, String)>) {
    let of_flow = |flow: &Option<crate::signal::Text>| match flow {
        None => ("requests".to_owned(), None),
        Some(flow) => (format!("requests of {flow}"), Some(("flow".to_owned(), flow.to_string()))),
    };
    match &slo.source {
        Source::Counters(
            Sli::Availability { flow } | Sli::Latency { flow, .. } | Sli::Completeness { flow },
        ) => of_flow(flow),
        Source::Counters(Sli::Freshness { queue, .. }) => {
            (format!("messages of {queue}"), Some(("queue".to_owned(), queue.to_string())))
        }
        Source::Series { all, .. } => {
            let labels = all.iter().flat_map(|counter| &counter.labels);
            let mut named = labels.filter(|(name, _)| ["faas_name", "queue"].contains(name));
            match named.next() {
                Some((name, value)) => {
                    let what = if *name == "queue" { "dead letters in" } else { "attempts to run" };
                    (format!("{what} {value}"), Some(((*name).to_owned(), value.clone())))
                }
                None => ("events".to_owned(), None),
            }
        }
        Source::Query(_) => ("events".to_owned(), None),
    }
}

/// What is wrong with a bad event.
fn failing(slo: &Slo) -> String {
    match &slo.source {
        Source::Counters(Sli::Latency { threshold, .. }) => {
            format!("took longer than {}", format_duration(*threshold))
        }
        Source::Counters(Sli::Completeness { .. }) => "were lost on their way".to_owned(),
        Source::Counters(Sli::Freshness { threshold, .. }) => {
            format!("waited longer than {}", format_duration(*threshold))
        }
        Source::Series { .. } => "were throttled".to_owned(),
        Source::Counters(Sli::Availability { .. }) | Source::Query(_) => "failed".to_owned(),
    }
}

/// What happens now, what is allowed, how much there was of it and how much is left; and why the
/// alert did not come sooner.
fn description(slo: &Slo, first: &Pair, guard: Guard) -> String {
    let mut text = format!(
        "{{{{ $value | humanizePercentage }}}} of the {} {} lately; the objective of {}% over {} allows {}%.",
        subject(slo).0,
        failing(slo),
        slo.objective,
        format_duration(slo.windows.period),
        trimmed(100.0 - slo.objective),
    );
    text.push_str(&counts(slo, &format_duration(first.long)));
    let _ = write!(text, " Fires with at least {} bad events", guard.failures_min);
    if guard.z > 0.0 {
        text.push_str(" and only where chance alone does not explain the ratio");
    }
    text.push('.');
    text
}

/// Template text that says how many events of `recent` were bad, and how much of the budget is left.
fn counts(slo: &Slo, recent: &str) -> String {
    let window = format_duration(slo.windows.period);
    let left = format!(
        "1 - ({}) / ({}) / {}",
        bad(slo, &window),
        all(slo, &window),
        trimmed(slo.error_budget())
    );
    let ask = |query: &str, before: &str, show: &str| {
        format!(
            "{{{{ with query `{query}` }}}}{before}{{{{ . | first | value | {show} }}}}.{{{{ end }}}}"
        )
    };
    let whole = "printf \"%.0f\"";
    [
        ask(&bad(slo, recent), &format!(" Bad events in the last {recent}: "), whole),
        ask(&all(slo, recent), " Events in all: ", whole),
        ask(&left, " Budget left: ", "humanizePercentage"),
    ]
    .concat()
}

/// A number for people and queries: 0.1, not 0.09999999999999432.
fn trimmed(number: f64) -> String {
    let shown = format!("{number:.9}");
    shown.trim_end_matches('0').trim_end_matches('.').to_owned()
}
