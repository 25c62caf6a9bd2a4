//! How much is bad, since when more than before, and what is left of the budget.

use std::time::Duration;

use super::numbers::{Counter, Numbers, equal, whole};
use crate::evaluate::Reads;
use crate::evaluate::alert::{Budget, Counts, Impact, Trend};
use crate::number::{f64_from_u64, u64_from_f64};
use crate::signal::{Labels, Text, Timestamp, parse_duration};

/// What counts are told of.
const COUNTS_WINDOW: Duration = Duration::from_mins(5);
/// The trend covers half an hour.
const TREND_STEP: Duration = Duration::from_mins(2);
const TREND_STEPS: u32 = 15;
/// The peak of an alert is looked for in so many steps at the most, of a minute at the least.
const PEAK_STEPS_MAX: u32 = 120;

/// One objective as `/api/slos` shows it: by service (None: any) and name, at a time.
pub(super) type Objective<'a> =
    dyn Fn(Option<&str>, &str, Timestamp) -> Option<serde_json::Value> + 'a;

/// What is counted of an alert, by its labels and what its rule asks for.
enum Subject {
    /// Good and bad can be counted.
    Events { words: Words, bad: Counter, total: Counter },
    /// Only bad ones come.
    Arrivals { what: &'static str, counter: Counter },
    /// A figure that is too high.
    Level { what: &'static str, query: String },
}

/// How a message says it: `38 of 412 requests bad`, and of the trend `bad requests`.
#[derive(Clone, Copy)]
struct Words {
    what: &'static str,
    how: &'static str,
    trend: &'static str,
}

const REQUESTS: Words = Words { what: "requests", how: "bad", trend: "bad requests" };
const MESSAGES: Words = Words { what: "messages", how: "late", trend: "late messages" };

/// Of a rule that asks for a counter of a function: what that counts among the attempts.
const OF_ATTEMPTS: [(&str, Words); 3] = [
    (
        "throughline_retries_total",
        Words { what: "attempts", how: "were retries", trend: "retries" },
    ),
    (
        "throughline_near_timeouts_total",
        Words { what: "attempts", how: "near their time limit", trend: "near timeouts" },
    ),
    (
        "throughline_cold_starts_total",
        Words { what: "attempts", how: "cold", trend: "cold starts" },
    ),
];

impl Subject {
    fn of(labels: &Labels, reads: &Reads) -> Option<Self> {
        let asks = |metric: &str| reads.metrics.iter().any(|one| one == metric);
        // Objectives of other counters are told by those.
        let is_counted = reads.metrics.is_empty() || asks("throughline_slo_events_total");
        if let Some((slo, service)) = objective_of(labels).filter(|_| is_counted) {
            let service = service.map(|service| ("service", service));
            let matchers = all_equal([Some(("slo", slo)), service]);
            let total = Counter::sum("throughline_slo_events_total", &matchers);
            let good = Counter::sum("throughline_slo_good_total", &matchers);
            let words = if labels.get("queue").is_some() { MESSAGES } else { REQUESTS };
            return Some(Self::Events { words, bad: total.clone().less(&good), total });
        }
        let name = || labels.get("faas_name").map(|name| ("faas_name", name));
        if labels.get("source_queue").is_some() || asks("throughline_dlq_arrivals_total") {
            let matchers = all_equal([Some(("queue", labels.get("queue")?)), name()]);
            let counter = Counter::sum("throughline_dlq_arrivals_total", &matchers);
            return Some(Self::Arrivals { what: "dead letters", counter });
        }
        match (labels.get("queue"), labels.get("faas_name"), labels.get("flow")) {
            (Some(queue), ..) if asks("throughline_duplicate_deliveries_total") => {
                let matchers = all_equal([Some(("queue", queue)), name()]);
                let counter = Counter::sum("throughline_duplicate_deliveries_total", &matchers);
                Some(Self::Arrivals { what: "duplicate deliveries", counter })
            }
            (Some(queue), ..) => {
                let matchers = equal("queue", queue);
                let query = format!("max(throughline_queue_oldest_age_seconds{{{matchers}}})");
                Some(Self::Level { what: "age of the oldest message", query })
            }
            (None, Some(name), _) => Some(Self::of_function(name, &asks)),
            (None, None, Some(flow)) => {
                let (flow, metric) = (equal("flow", flow), "throughline_requests_total");
                // What is asked for by name is what is bad; otherwise all that did not go well.
                let asked = reads.outcomes.iter().filter(|one| ***one != *"ok");
                let asked: Vec<String> = asked.map(|one| equal("outcome", one)).collect();
                let outcome = match asked.as_slice() {
                    [one] => one.as_str(),
                    _ => "outcome!=\"ok\"",
                };
                let bad = Counter::sum(metric, &format!("{flow},{outcome}"));
                Some(Self::Events { words: REQUESTS, bad, total: Counter::sum(metric, &flow) })
            }
            (None, None, None) => None,
        }
    }

    fn of_function(name: &str, asks: &dyn Fn(&str) -> bool) -> Self {
        let function = equal("faas_name", name);
        if asks("throughline_throttles_total") {
            // The platform and the callers count the same refusals.
            let counter = Counter::largest("throughline_throttles_total", "source", &function);
            return Self::Arrivals { what: "throttles", counter };
        }
        let total = Counter::sum("throughline_invocations_total", &function);
        for (metric, words) in OF_ATTEMPTS {
            if asks(metric) {
                return Self::Events { words, bad: Counter::sum(metric, &function), total };
            }
        }
        let duration = "throughline_invocation_duration_seconds";
        if asks(duration) || asks(&format!("{duration}_bucket")) {
            let query =
                format!("histogram_quantile(0.95, sum(rate({duration}{{{function}}}[2m])))");
            return Self::Level { what: "p95 duration", query };
        }
        let words = Words { what: "invocations", how: "bad", trend: "bad invocations" };
        let bad =
            Counter::sum("throughline_invocations_total", &format!("{function},outcome!=\"ok\""));
        Self::Events { words, bad, total }
    }
}

/// A label matcher of PromQL for each that is known.
fn all_equal<const N: usize>(labels: [Option<(&str, &str)>; N]) -> String {
    let known = labels.into_iter().flatten();
    known.map(|(name, value)| equal(name, value)).collect::<Vec<_>>().join(",")
}

/// Name and service of the objective that an alert is about: our labels, or Sloth's.
pub(super) fn objective_of(labels: &Labels) -> Option<(&str, Option<&str>)> {
    let ours = labels.get("slo").map(|slo| (slo, labels.get("service")));
    ours.or_else(|| Some((labels.get("sloth_slo")?, labels.get("sloth_service"))))
}

/// Of an alert that begins.
pub(super) fn of_firing(
    labels: &Labels,
    reads: &Reads,
    numbers: &Numbers<'_>,
    objective: &Objective<'_>,
) -> Option<Impact> {
    let subject = Subject::of(labels, reads);
    let trend = |what: &str, values: Vec<f64>| {
        let is_flat = values.iter().all(|value| *value == 0.0);
        let trend = Trend { what: what.into(), step_s: TREND_STEP.as_secs(), values };
        (!is_flat).then_some(trend)
    };
    let (counts, trend) = match &subject {
        Some(Subject::Events { words, bad, total }) => {
            let values = numbers.windows(bad, TREND_STEP, TREND_STEPS);
            (counts(*words, (bad, total), numbers), trend(words.trend, values))
        }
        Some(Subject::Arrivals { what, counter }) => {
            let values = numbers.windows(counter, TREND_STEP, TREND_STEPS);
            (arrivals(what, counter, numbers), trend(what, values))
        }
        Some(Subject::Level { what, query }) => {
            (None, trend(what, numbers.steps(query, TREND_STEP, TREND_STEPS)))
        }
        None => (None, None),
    };
    let budget = budget(labels, numbers.at, objective);
    let is_known = counts.is_some() || trend.is_some() || budget.is_some();
    is_known.then_some(Impact { counts, trend, budget, peak_ratio: None })
}

/// Of an alert that ended, which had begun at `began`.
pub(super) fn of_resolved(
    labels: &Labels,
    reads: &Reads,
    began: Timestamp,
    (numbers, objective): (&Numbers<'_>, &Objective<'_>),
) -> Option<Impact> {
    let peak_ratio = match Subject::of(labels, reads) {
        Some(Subject::Events { bad, total, .. }) => peak((&bad, &total), began, numbers),
        _ => None,
    };
    let mut budget = budget(labels, numbers.at, objective);
    if let Some(budget) = &mut budget {
        let before = self::budget(labels, began, objective);
        budget.spent_ratio = before.map(|before| (before.left_ratio - budget.left_ratio).max(0.0));
    }
    let is_known = peak_ratio.is_some() || budget.is_some();
    is_known.then_some(Impact { budget, peak_ratio, ..Impact::default() })
}

fn counts(
    words: Words,
    (bad, total): (&Counter, &Counter),
    numbers: &Numbers<'_>,
) -> Option<Counts> {
    let total = whole(numbers.grown(total, COUNTS_WINDOW)?);
    let bad = whole(numbers.grown(bad, COUNTS_WINDOW).unwrap_or(0.0));
    (total > 0 && bad > 0).then(|| Counts {
        what: words.what.into(),
        how: words.how.into(),
        bad: bad.min(total),
        total: Some(total),
        window_s: COUNTS_WINDOW.as_secs(),
    })
}

fn arrivals(what: &str, counter: &Counter, numbers: &Numbers<'_>) -> Option<Counts> {
    let bad = whole(numbers.grown(counter, COUNTS_WINDOW)?);
    let (what, how, window_s) = (what.into(), Text::default(), COUNTS_WINDOW.as_secs());
    (bad > 0).then_some(Counts { what, how, bad, total: None, window_s })
}

/// The greatest share of bad events in one step between the beginning and now.
fn peak(
    (bad, total): (&Counter, &Counter),
    began: Timestamp,
    numbers: &Numbers<'_>,
) -> Option<f64> {
    let minute = Duration::from_mins(1);
    // The first bad events lie before the alert that they cause.
    let span = numbers.at.since(began).saturating_add(COUNTS_WINDOW);
    let n_steps =
        u32::try_from(span.as_secs().div_ceil(60)).unwrap_or(u32::MAX).min(PEAK_STEPS_MAX);
    let step = minute.max(span / n_steps.max(1));
    let bad = numbers.windows(bad, step, n_steps);
    let total = numbers.windows(total, step, n_steps);
    bad.iter()
        .zip(&total)
        .filter(|(_, total)| **total > 0.0)
        .map(|(bad, total)| (bad / total).min(1.0))
        .reduce(f64::max)
}

fn budget(labels: &Labels, at: Timestamp, objective: &Objective<'_>) -> Option<Budget> {
    let (slo, service) = objective_of(labels)?;
    let state = objective(service, slo, at)?;
    let left_ratio = state["budget_left_ratio"].as_f64()?;
    let allowed = 1.0 - state["target"].as_f64()?;
    let window = parse_duration(state["window"].as_str()?)?;
    let gone_at = state["exhausted_at"].as_str().and_then(Timestamp::parse_rfc3339);
    Some(Budget {
        slo: Text::from(slo),
        window_s: window.as_secs(),
        measured_s: state["data_coverage"]
            .as_f64()
            .map(|share| u64_from_f64(share * f64_from_u64(window.as_secs()))),
        left_ratio,
        whole_minutes: allowed * f64_from_u64(window.as_secs()) / 60.0,
        burn_1h: state["burn_rates"]["1h"].as_f64(),
        gone_at: gone_at.filter(|gone_at| *gone_at > at),
        spent_ratio: None,
    })
}

/// What a duration histogram had on average in the hour that ended ten minutes ago, in milliseconds.
pub(super) fn usual_ms(metric: &str, matchers: &str, numbers: &Numbers<'_>) -> Option<f64> {
    let (hour, before) = (Duration::from_hours(1), numbers.before(Duration::from_mins(10)));
    let part = |suffix: &str| Counter::sum(&format!("{metric}_{suffix}"), matchers);
    let count = before.grown(&part("count"), hour).filter(|count| *count >= 1.0)?;
    let sum = before.grown(&part("sum"), hour)?;
    Some(f64_from_u64(u64_from_f64(sum / count * 1e6)) / 1e3)
}
