//! How much is bad, since when more than before, and what is left of the budget.

use std::time::Duration;

use super::numbers::{Counter, Numbers, equal, whole};
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

/// What an alert is about, by its labels.
enum Subject {
    /// Good and bad can be counted.
    Events { what: &'static str, bad: Counter, total: Counter },
    /// Only bad ones come.
    Arrivals { what: &'static str, counter: Counter },
    /// A figure that is too high.
    Level { what: &'static str, query: String },
}

impl Subject {
    fn of(labels: &Labels) -> Option<Self> {
        if let Some((slo, service)) = objective_of(labels) {
            let service = service.map(|service| equal("service", service));
            let matchers: Vec<String> = [equal("slo", slo)].into_iter().chain(service).collect();
            let matchers = matchers.join(",");
            let total = Counter::sum("throughline_slo_events_total", &matchers);
            let good = Counter::sum("throughline_slo_good_total", &matchers);
            return Some(Self::Events { what: "events", bad: total.clone().less(&good), total });
        }
        if labels.get("source_queue").is_some() {
            let queue = equal("queue", labels.get("queue")?);
            let counter = Counter::sum("throughline_dlq_arrivals_total", &queue);
            return Some(Self::Arrivals { what: "dead letters", counter });
        }
        if let Some(queue) = labels.get("queue") {
            let matchers = equal("queue", queue);
            let query = format!("max(throughline_queue_oldest_age_seconds{{{matchers}}})");
            return Some(Self::Level { what: "age of the oldest message", query });
        }
        let (what, metric, matcher) = match (labels.get("faas_name"), labels.get("flow")) {
            (Some(name), _) => {
                ("invocations", "throughline_invocations_total", equal("faas_name", name))
            }
            (None, Some(flow)) => ("requests", "throughline_requests_total", equal("flow", flow)),
            (None, None) => return None,
        };
        let bad = Counter::sum(metric, &format!("{matcher},outcome!=\"ok\""));
        Some(Self::Events { what, bad, total: Counter::sum(metric, &matcher) })
    }
}

/// Name and service of the objective that an alert is about: our labels, or Sloth's.
fn objective_of(labels: &Labels) -> Option<(&str, Option<&str>)> {
    let ours = labels.get("slo").map(|slo| (slo, labels.get("service")));
    ours.or_else(|| Some((labels.get("sloth_slo")?, labels.get("sloth_service"))))
}

/// Of an alert that begins.
pub(super) fn of_firing(
    labels: &Labels,
    numbers: &Numbers<'_>,
    objective: &Objective<'_>,
) -> Option<Impact> {
    let subject = Subject::of(labels);
    let trend = |what: String, values: Vec<f64>| {
        let is_flat = values.iter().all(|value| *value == 0.0);
        let trend = Trend { what: what.into(), step_s: TREND_STEP.as_secs(), values };
        (!is_flat).then_some(trend)
    };
    let (counts, trend) = match &subject {
        Some(Subject::Events { what, bad, total }) => {
            let values = numbers.windows(bad, TREND_STEP, TREND_STEPS);
            (counts(what, (bad, total), numbers), trend(format!("bad {what}"), values))
        }
        Some(Subject::Arrivals { what, counter }) => {
            let values = numbers.windows(counter, TREND_STEP, TREND_STEPS);
            (None, trend((*what).to_owned(), values))
        }
        Some(Subject::Level { what, query }) => {
            (None, trend((*what).to_owned(), numbers.steps(query, TREND_STEP, TREND_STEPS)))
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
    began: Timestamp,
    numbers: &Numbers<'_>,
    objective: &Objective<'_>,
) -> Option<Impact> {
    let peak_ratio = match Subject::of(labels) {
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

fn counts(what: &str, (bad, total): (&Counter, &Counter), numbers: &Numbers<'_>) -> Option<Counts> {
    let total = whole(numbers.grown(total, COUNTS_WINDOW)?);
    let bad = whole(numbers.grown(bad, COUNTS_WINDOW).unwrap_or(0.0));
    let window_s = COUNTS_WINDOW.as_secs();
    (total > 0 && bad > 0).then(|| Counts {
        what: what.into(),
        bad: bad.min(total),
        total,
        window_s,
    })
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
