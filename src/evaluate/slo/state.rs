//! How an objective stands: its events, what is left of its budget, how fast that burns.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::sloth::in_window;
use super::{Counter, Slo, Source};
use crate::evaluate::Select;
use crate::number::f64_from_u64;
use crate::promql::{Options, Output, Query};
use crate::series::{Matcher, RawSeries, SampleValue, Selection};
use crate::signal::{Labels, METRIC_NAME, Timestamp, format_duration};

/// How far back a counter's sample counts as its value, in milliseconds (PromQL's lookback).
const LOOKBACK_MS: i64 = 300_000;
/// Where a counter has no sample at a window's start, its first within this counts, in milliseconds:
/// old slots are coarse, and what began later has its zero there.
const FIRST_MS: i64 = 3_600_000;
/// Whose burn projects when the budget ends.
const HOUR: Duration = Duration::from_hours(1);
/// How often the window is halved to find where its data begins: to 40 s of 30 days, since of a young
/// objective that is all there is.
const COVERAGE_STEPS: u32 = 16;
/// Samples that one window may read.
const SAMPLES_MAX: usize = 10_000_000;

/// Good and all events, or their ratio alone where only a query tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Events {
    good: Option<f64>,
    total: Option<f64>,
    error_ratio: Option<f64>,
}

/// How the budget of a period stands.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Budget {
    /// Share of it that is left; below zero where more was spent.
    left: f64,
    /// Of the events so far, how many more may be bad.
    events: Option<f64>,
    minutes: f64,
}

/// One entry of `/api/slos`. What is not known (no event yet) is null.
pub(in crate::evaluate) fn json(slo: &Slo, now: Timestamp, select: &Select<'_>) -> Value {
    let period = slo.windows.period;
    let began = slo.calendar.as_ref().map(|calendar| calendar.began(now));
    let elapsed = began.map_or(period, |began| now.since(began).max(Duration::from_secs(1)));
    let events = events(slo, elapsed, now, select);
    let budget = budget(slo, events, elapsed);
    let burn_rates: BTreeMap<Duration, Option<f64>> = slo
        .windows
        .lengths()
        .into_iter()
        .map(|window| (window, burn(slo, window, now, select)))
        .collect();
    let shown = burn_rates.iter().map(|(window, burn)| (format_duration(*window), json!(burn)));
    let hour_burn = burn_rates.get(&HOUR).copied().unwrap_or_else(|| burn(slo, HOUR, now, select));
    json!({
        "name": *slo.name,
        "service": *slo.service,
        "sli": slo.source.kind(),
        "threshold": slo.source.threshold().map(format_duration),
        "target": slo.objective / 100.0,
        "window": format_duration(period),
        "window_began": began.map(|began| began.to_string()),
        "good": events.good,
        "total": events.total,
        "error_ratio": events.error_ratio,
        "budget_left_ratio": budget.left,
        "budget_left_events": budget.events,
        "budget_left_minutes": budget.minutes,
        "burn_rates": Value::Object(shown.collect::<Map<String, Value>>()),
        "exhausted_at": exhausted_at(budget.left, hour_burn, period, now),
        "data_coverage": coverage(slo, elapsed, now, select),
    })
}

fn burn(slo: &Slo, window: Duration, now: Timestamp, select: &Select<'_>) -> Option<f64> {
    let ratio = events(slo, window, now, select).error_ratio?;
    // An objective of 100 % has no budget: nothing burns as long as nothing is bad.
    if slo.error_budget() > 0.0 {
        Some(ratio / slo.error_budget())
    } else {
        (ratio == 0.0).then_some(0.0)
    }
}

/// A rolling period's budget is a share of its events. A calendar period's is for all of it: its
/// events so far are taken as what the rest will be like.
fn budget(slo: &Slo, events: Events, elapsed: Duration) -> Budget {
    let ratio = events.error_ratio.unwrap_or(0.0);
    let minutes = |length: Duration| f64_from_u64(length.as_secs()) / 60.0;
    let (whole, so_far) = (minutes(slo.windows.period), minutes(elapsed));
    let allowed = slo.error_budget() * whole;
    if allowed <= 0.0 {
        let left = if ratio > 0.0 { 0.0 } else { 1.0 };
        return Budget { left, events: events.total.map(|_| 0.0), minutes: 0.0 };
    }
    let left = 1.0 - ratio * so_far / allowed;
    let expected = events.total.map(|total| total * whole / so_far.max(f64::MIN_POSITIVE));
    Budget {
        left,
        events: expected.map(|expected| left * slo.error_budget() * expected),
        minutes: left * allowed,
    }
}

/// When the budget ends at the speed of the last hour; now where it has ended; None where it lasts
/// longer than its window.
fn exhausted_at(left: f64, burn: Option<f64>, window: Duration, now: Timestamp) -> Option<String> {
    if left <= 0.0 {
        return Some(now.to_string());
    }
    let burn = burn.filter(|burn| *burn > 0.0)?;
    let share = left / burn;
    (share <= 1.0).then(|| now.saturating_add(window.mul_f64(share)).to_string())
}

/// The share of the window in which the objective was measured, found by halving; None where only a
/// query tells its ratio.
fn coverage(slo: &Slo, window: Duration, now: Timestamp, select: &Select<'_>) -> Option<f64> {
    let counters = counters(slo)?;
    let is_there = |share: f64| {
        let at = now.saturating_sub(window.mul_f64(share)).as_millis();
        counters.all.iter().any(|counter| !read(counter, (at - LOOKBACK_MS, at), select).is_empty())
    };
    if is_there(1.0) {
        return Some(1.0);
    }
    let (mut there, mut missing) = (0.0, 1.0);
    for _ in 0..COVERAGE_STEPS {
        let middle = f64::midpoint(there, missing);
        if is_there(middle) { there = middle } else { missing = middle }
    }
    Some(there)
}

/// Bad events and all, as sums of counters; or good ones in place of the bad.
struct Sums {
    good: Option<Vec<Counter>>,
    bad: Option<Vec<Counter>>,
    all: Vec<Counter>,
}

fn counters(slo: &Slo) -> Option<Sums> {
    let labels = || vec![("service", slo.service.to_string()), ("slo", slo.name.to_string())];
    match &slo.source {
        Source::Counters(_) => Some(Sums {
            good: Some(vec![Counter { metric: "throughline_slo_good_total", labels: labels() }]),
            bad: None,
            all: vec![Counter { metric: "throughline_slo_events_total", labels: labels() }],
        }),
        Source::Series { bad, all } => {
            Some(Sums { good: None, bad: Some(bad.clone()), all: all.clone() })
        }
        Source::Query(_) => None,
    }
}

fn events(slo: &Slo, window: Duration, now: Timestamp, select: &Select<'_>) -> Events {
    if let Some(Sums { good, bad, all }) = counters(slo) {
        let sum = |counters: &[Counter]| {
            let all = counters.iter().filter_map(|c| increase(c, (window, now), select));
            all.reduce(|a, b| a + b)
        };
        let total = sum(&all);
        let good = match (good, bad) {
            (Some(good), _) => sum(&good),
            // No counter of bad events yet: none was bad.
            (None, Some(bad)) => total.map(|total| (total - sum(&bad).unwrap_or(0.0)).max(0.0)),
            (None, None) => None,
        };
        let error_ratio = match (good, total) {
            (Some(good), Some(total)) if total > 0.0 => Some((total - good).max(0.0) / total),
            _ => None,
        };
        return Events { good, total, error_ratio };
    }
    let Source::Query(ratio) = &slo.source else { return Events::default() };
    let text = in_window(ratio, &format_duration(window));
    Events { error_ratio: ratio_of(&text, now, select), ..Events::default() }
}

fn ratio_of(text: &str, now: Timestamp, select: &Select<'_>) -> Option<f64> {
    let options = Options { samples_max: SAMPLES_MAX, ..Options::default() };
    let answer = Query::parse(text)
        .ok()?
        .instant(now.as_millis(), &options, &|selection| select(selection))
        .ok()?;
    let value = match answer.output {
        Output::Scalar(_, value) => value,
        // The worst of several, as Sloth's alerts take the max.
        Output::Vector(series) => series.iter().filter_map(last).fold(f64::NAN, f64::max),
        Output::String(..) | Output::Matrix(_) => return None,
    };
    value.is_finite().then_some(value)
}

/// What the counter grew in the window, exactly: our counters have no resets, so their end less their
/// start is all there is. None where there is no such counter.
fn increase(
    counter: &Counter,
    (window, now): (Duration, Timestamp),
    select: &Select<'_>,
) -> Option<f64> {
    let (from, to) = (now.saturating_sub(window).as_millis(), now.as_millis());
    let ends = read(counter, (to - LOOKBACK_MS, to), select);
    let at_start: BTreeMap<Labels, f64> =
        values(&read(counter, (from - LOOKBACK_MS, from), select), last);
    let soon_after: BTreeMap<Labels, f64> =
        values(&read(counter, (from, (from + FIRST_MS).min(to)), select), first);
    let mut sum = None;
    for series in &ends {
        let Some(end) = last(series) else { continue };
        let start = at_start.get(&series.labels).or_else(|| soon_after.get(&series.labels));
        *sum.get_or_insert(0.0) += (end - start.copied().unwrap_or(0.0)).max(0.0);
    }
    sum
}

fn read(counter: &Counter, (start, end): (i64, i64), select: &Select<'_>) -> Vec<RawSeries> {
    let labels = counter.labels.iter().map(|(name, value)| Matcher::equal(name, value));
    let matchers: Vec<Matcher> =
        labels.chain([Matcher::equal(METRIC_NAME, counter.metric)]).collect();
    let selection = Selection {
        matchers: &matchers,
        start,
        end,
        samples_max: SAMPLES_MAX,
        windows: None,
        looks: None,
    };
    select(&selection).unwrap_or_default()
}

fn values(all: &[RawSeries], pick: fn(&RawSeries) -> Option<f64>) -> BTreeMap<Labels, f64> {
    all.iter().filter_map(|series| Some((series.labels.clone(), pick(series)?))).collect()
}

fn last(series: &RawSeries) -> Option<f64> {
    float(&series.samples.last()?.value)
}

fn first(series: &RawSeries) -> Option<f64> {
    float(&series.samples.first()?.value)
}

fn float(value: &SampleValue) -> Option<f64> {
    if let SampleValue::Float(x) = value { Some(*x) } else { None }
}
