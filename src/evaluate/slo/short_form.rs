//! The short form: objectives that are counted by the daemon itself at event time.
//!
//! ```yaml
//! kind: throughline/v1
//! service: shop
//! slos:
//! - {name: available, objective: 99.5, availability: {flow: POST /orders}}
//! - {name: fast, objective: 99, latency: {flow: POST /orders, threshold: 1s, measure: response}}
//! - {name: whole, objective: 99.9, completeness: {flow: POST /orders}}
//! - {name: fresh, objective: 99, freshness: {queue: orders, threshold: 30s}}
//! - {name: unthrottled, objective: 99.9, throttles: {function: fulfil, seen_by: platform}}
//! - {name: no-dead-letters, zero_tolerance: {dlq: orders-dlq}}
//! ```

use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::burn::{CONFIDENCES, Guard, PAGE, Pair, TICKET, Windows};
use super::document::Document;
use super::print::{Pairs, RuleGroup};
use super::sloth::is_objective;
use super::{Compiled, Counter, Slo, Source, short_rules};
use crate::measure::Sli;
use crate::signal::parse_duration;

/// The window of an objective that names none.
const WINDOW: Duration = Duration::from_hours(720);
/// Failures in the long window before an alert: one failure alone is 14.4 times a 99.5 % objective's
/// budget in any hour with 13 requests or fewer.
const FAILURES_MIN: u64 = 3;
/// How sure the long window must be that its true ratio is above the threshold. With three failures
/// of 13 it is; with three of 60 it could still be chance.
const CONFIDENCE: f64 = 0.95;
/// Shorter windows have no sensible burn rates: the longest pair looks back 3 days.
const WINDOW_MIN: Duration = Duration::from_hours(7 * 24);
/// Pairs of an objective's own.
const PAIRS_MAX: usize = 16;

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
pub(super) struct RawSlo {
    pub(super) name: Spanned<String>,
    #[expect(dead_code, reason = "people read it; rules do not carry it")]
    description: Option<String>,
    /// Percent of good events; `zero_tolerance` has none.
    objective: Option<Spanned<f64>>,
    window: Option<Spanned<String>>,
    availability: Option<RawFlow>,
    latency: Option<RawLatency>,
    completeness: Option<RawFlow>,
    freshness: Option<RawFreshness>,
    throttles: Option<RawThrottles>,
    zero_tolerance: Option<RawZeroTolerance>,
    /// In place of the four of the workbook.
    burn_rates: Option<Vec<Spanned<RawPair>>>,
    /// Failures in an alert's long window before it fires.
    min_failures: Option<u64>,
    /// That the long window's ratio is above the threshold; 0 asks the plain ratio.
    confidence: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) labels: Pairs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFlow {
    flow: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLatency {
    flow: Option<String>,
    threshold: Spanned<String>,
    measure: Option<Measured>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFreshness {
    queue: String,
    threshold: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawThrottles {
    function: String,
    #[serde(default)]
    seen_by: Seen,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawZeroTolerance {
    dlq: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPair {
    severity: Spanned<String>,
    long: Spanned<String>,
    short: Spanned<String>,
    factor: Spanned<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Measured {
    /// From the start to the end of the entry hop: what a caller waits for.
    Response,
    /// To the last end, queues included.
    Request,
}

/// Whose count of throttles is taken: both are views of the same refusals.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Seen {
    #[default]
    Platform,
    Caller,
}

pub(super) fn compile(document: &Document<'_>, out: &mut Compiled) {
    let spec: Spec = match document.read() {
        Ok(spec) => spec,
        Err(error) => return out.errors.push(error),
    };
    for raw in &spec.slos {
        let mut check = Check { document, out };
        let Some((slo, guard)) = check.slo(&spec.service, raw) else { continue };
        let place = raw.value.objective.as_ref().map_or(raw.referenced, |o| o.referenced);
        document.warn_unreachable(&place, &slo, out);
        let group = |name: String, interval, rules| RuleGroup { name, interval, rules };
        let name = format!("slo-{}-{}", slo.service, slo.name);
        let rules = short_rules::alerts(&raw.value, &slo, guard);
        let (pages, tickets) = rules
            .into_iter()
            .partition(|rule| rule.labels.get("severity").is_some_and(|s| s == PAGE));
        // A ticket's windows are hours long: once in 30 s is soon enough, and cheap.
        out.groups.push(group(name.clone(), None, pages));
        out.groups.push(group(format!("{name}-tickets"), Some(Duration::from_secs(30)), tickets));
        out.slos.push(slo);
    }
}

/// Checks one objective, gathering errors.
struct Check<'a, 'd> {
    document: &'a Document<'d>,
    out: &'a mut Compiled,
}

impl Check<'_, '_> {
    fn error(&mut self, place: &Location, message: impl Into<String>) {
        self.out.errors.push(self.document.error(place, message));
    }

    fn slo(&mut self, service: &str, raw: &Spanned<RawSlo>) -> Option<(Slo, Guard)> {
        let n_before = self.out.errors.len();
        let RawSlo { name, window, burn_rates, .. } = &raw.value;
        if name.value.is_empty() {
            self.error(&name.referenced, "the SLO has no name");
        }
        let period = window.as_ref().map_or(WINDOW, |window| self.window(window));
        let mut windows = Windows::of(period);
        if let Some(pairs) = burn_rates {
            windows.pairs = self.pairs(pairs, period);
        }
        let objective = self.objective(raw);
        if raw.value.zero_tolerance.is_some() {
            windows.pairs.clear();
        }
        let source = self.source(raw);
        let guard = self.guard(&raw.value);
        let source = source.filter(|_| self.out.errors.len() == n_before)?;
        let slo = Slo {
            name: name.value.as_str().into(),
            service: service.into(),
            objective,
            windows,
            calendar: None,
            source,
        };
        Some((slo, guard))
    }

    fn window(&mut self, raw: &Spanned<String>) -> Duration {
        let parsed = parse_duration(&raw.value).filter(|parsed| *parsed >= WINDOW_MIN);
        if parsed.is_none() {
            let message = format!("`{}` is no window; write 30d, and at least 7d", raw.value);
            self.error(&raw.referenced, message);
        }
        parsed.unwrap_or(WINDOW)
    }

    fn objective(&mut self, raw: &Spanned<RawSlo>) -> f64 {
        match (&raw.value.objective, &raw.value.zero_tolerance) {
            (Some(objective), None) if is_objective(objective.value) => return objective.value,
            (Some(objective), None) => self
                .error(&objective.referenced, "`objective` is a percentage above 0 and below 100"),
            (None, None) => self.error(&raw.referenced, "the SLO has no `objective`"),
            (Some(objective), Some(_)) => self.error(
                &objective.referenced,
                "`zero_tolerance` has no `objective`: nothing may be bad",
            ),
            (None, Some(_)) => {}
        }
        100.0
    }

    fn guard(&mut self, raw: &RawSlo) -> Guard {
        let confidence = raw.confidence.as_ref().map_or(CONFIDENCE, |confidence| confidence.value);
        let known = CONFIDENCES.iter().find(|(known, _)| (known - confidence).abs() < 1e-9);
        if let (None, Some(confidence)) = (known, &raw.confidence) {
            let known = CONFIDENCES.map(|(known, _)| known.to_string()).join(", ");
            self.error(&confidence.referenced, format!("`confidence` is one of {known}"));
        }
        let failures_min = raw.min_failures.unwrap_or(FAILURES_MIN).max(1);
        Guard { failures_min, z: known.map_or(0.0, |(_, z)| *z) }
    }

    fn pairs(&mut self, raw: &[Spanned<RawPair>], period: Duration) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for raw in raw.iter().take(PAIRS_MAX) {
            let RawPair { severity, long, short, factor } = &raw.value;
            let (long_length, short_length) = (self.length(long), self.length(short));
            let severity = match severity.value.as_str() {
                "page" => PAGE,
                "ticket" => TICKET,
                other => {
                    let message = format!("`severity: {other}` is neither page nor ticket");
                    self.error(&severity.referenced, message);
                    continue;
                }
            };
            if factor.value.is_nan() || factor.value <= 0.0 {
                self.error(&factor.referenced, "`factor` is above 0");
            }
            let (Some(long_length), Some(short_length)) = (long_length, short_length) else {
                continue;
            };
            if short_length >= long_length || long_length > period {
                let message = "`short` is shorter than `long`, and that no longer than the window";
                self.error(&short.referenced, message);
            }
            pairs.push(Pair {
                severity,
                long: long_length,
                short: short_length,
                factor: factor.value,
            });
        }
        if let Some(further) = raw.get(PAIRS_MAX) {
            self.error(&further.referenced, format!("more than {PAIRS_MAX} burn rates"));
        }
        pairs
    }

    fn length(&mut self, raw: &Spanned<String>) -> Option<Duration> {
        let parsed = parse_duration(&raw.value).filter(|parsed| !parsed.is_zero());
        if parsed.is_none() {
            self.error(&raw.referenced, format!("`{}` is no duration; write 1h", raw.value));
        }
        parsed
    }

    fn source(&mut self, raw: &Spanned<RawSlo>) -> Option<Source> {
        let RawSlo { availability, latency, completeness, freshness, throttles, .. } = &raw.value;
        let flow = |raw: &RawFlow| raw.flow.as_deref().map(Into::into);
        let found = [
            availability
                .as_ref()
                .map(|a| Some(Source::Counters(Sli::Availability { flow: flow(a) }))),
            completeness
                .as_ref()
                .map(|c| Some(Source::Counters(Sli::Completeness { flow: flow(c) }))),
            latency.as_ref().map(|latency| self.latency(latency)),
            freshness.as_ref().map(|freshness| self.freshness(freshness)),
            throttles.as_ref().map(|throttles| Some(throttled(throttles))),
            raw.value.zero_tolerance.as_ref().map(|zero| Some(dead_letters(&zero.dlq))),
        ];
        let mut found: Vec<Option<Source>> = found.into_iter().flatten().collect();
        if found.len() != 1 {
            self.error(
                &raw.referenced,
                "an SLO has one of `availability`, `latency`, `completeness`, `freshness`, `throttles` and `zero_tolerance`",
            );
        }
        found.pop().flatten()
    }

    fn latency(&mut self, latency: &RawLatency) -> Option<Source> {
        let threshold = self.threshold(&latency.threshold)?;
        Some(Source::Counters(Sli::Latency {
            flow: latency.flow.as_deref().map(Into::into),
            threshold,
            whole_request: matches!(latency.measure, Some(Measured::Request)),
        }))
    }

    fn freshness(&mut self, freshness: &RawFreshness) -> Option<Source> {
        let threshold = self.threshold(&freshness.threshold)?;
        let queue = freshness.queue.as_str().into();
        Some(Source::Counters(Sli::Freshness { queue, threshold }))
    }

    fn threshold(&mut self, raw: &Spanned<String>) -> Option<Duration> {
        let parsed = parse_duration(&raw.value).filter(|parsed| !parsed.is_zero());
        if parsed.is_none() {
            let message = format!("`{}` is no threshold; write 500ms", raw.value);
            self.error(&raw.referenced, message);
        }
        parsed
    }
}

/// Refused work against all that was asked for.
fn throttled(raw: &RawThrottles) -> Source {
    let function = ("faas_name", raw.function.clone());
    let source = match raw.seen_by {
        Seen::Platform => "platform",
        Seen::Caller => "caller",
    };
    let refused = Counter {
        metric: "throughline_throttles_total",
        labels: vec![function.clone(), ("source", source.to_owned())],
    };
    let run = Counter { metric: "throughline_invocations_total", labels: vec![function] };
    Source::Series { bad: vec![refused.clone()], all: vec![run, refused] }
}

/// Every dead letter is bad, and nothing else is an event.
fn dead_letters(dlq: &str) -> Source {
    let arrived = Counter {
        metric: "throughline_dlq_arrivals_total",
        labels: vec![("queue", dlq.to_owned())],
    };
    Source::Series { bad: vec![arrived.clone()], all: vec![arrived] }
}
