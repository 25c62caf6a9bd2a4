//! How an objective stands: its events, what is left of its budget, how fast that burns.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::sloth::in_window;
use super::{Slo, Source, burn};
use crate::evaluate::Select;
use crate::number::f64_from_u64;
use crate::promql::{Options, Output, Query};
use crate::series::{Matcher, RawSeries, SampleValue, Selection};
use crate::signal::{Labels, METRIC_NAME, Timestamp, format_duration, parse_duration};

/// How far back a counter's sample counts as its value, in milliseconds (PromQL's lookback).
const LOOKBACK_MS: i64 = 300_000;
/// Where a counter has no sample at a window's start, its first within this counts, in milliseconds:
/// old slots are coarse, and what began later has its zero there.
const FIRST_MS: i64 = 3_600_000;
/// Samples that one window may read.
const SAMPLES_MAX: usize = 10_000_000;

/// Good and all events, or their ratio alone where only a query tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Events {
    good: Option<f64>,
    total: Option<f64>,
    error_ratio: Option<f64>,
}

/// One entry of `/api/slos`. What is not known (no event yet) is null.
pub(in crate::evaluate) fn json(slo: &Slo, now: Timestamp, select: &Select<'_>) -> Value {
    let Events { good, total, error_ratio } = events(slo, slo.window, now, select);
    let budget = slo.error_budget();
    let spent = error_ratio.map_or(0.0, |ratio| ratio / budget);
    let left = 1.0 - spent;
    let window_minutes = f64_from_u64(slo.window.as_secs()) / 60.0;
    let mut burn_rates = Map::new();
    let mut hour_burn = None;
    for window in burn::WINDOWS {
        let length = parse_duration(window).unwrap_or_default();
        let burn = events(slo, length, now, select).error_ratio.map(|ratio| ratio / budget);
        if window == "1h" {
            hour_burn = burn;
        }
        burn_rates.insert(window.to_owned(), json!(burn));
    }
    json!({
        "name": *slo.name,
        "service": *slo.service,
        "target": slo.objective / 100.0,
        "window": format_duration(slo.window),
        "good": good,
        "total": total,
        "error_ratio": error_ratio,
        "budget_left_ratio": left,
        "budget_left_minutes": left * budget * window_minutes,
        "burn_rates": burn_rates,
        "exhausted_at": exhausted_at(left, hour_burn, slo.window, now),
    })
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

fn events(slo: &Slo, window: Duration, now: Timestamp, select: &Select<'_>) -> Events {
    match &slo.source {
        Source::Counters(_) => {
            let good = increase("throughline_slo_good_total", slo, (window, now), select);
            let total = increase("throughline_slo_events_total", slo, (window, now), select);
            let ratio = match (good, total) {
                (Some(good), Some(total)) if total > 0.0 => Some((total - good).max(0.0) / total),
                _ => None,
            };
            Events { good, total, error_ratio: ratio }
        }
        Source::Query(ratio) => {
            let text = in_window(ratio, &format_duration(window));
            Events { error_ratio: ratio_of(&text, now, select), ..Events::default() }
        }
    }
}

fn ratio_of(text: &str, now: Timestamp, select: &Select<'_>) -> Option<f64> {
    let options = Options { samples_max: SAMPLES_MAX, ..Options::default() };
    let answer =
        Query::parse(text).ok()?.instant(now, &options, &|selection| select(selection)).ok()?;
    let value = match answer.output {
        Output::Scalar(_, value) => value,
        // The worst of several, as Sloth's alerts take the max.
        Output::Vector(series) => series.iter().filter_map(last).fold(f64::NAN, f64::max),
        Output::String(..) | Output::Matrix(_) => return None,
    };
    value.is_finite().then_some(value)
}

/// What the objective's counter grew in the window, exactly: our counters have no resets, so their
/// end less their start is all there is. None where there is no such counter.
fn increase(
    metric: &str,
    slo: &Slo,
    (window, now): (Duration, Timestamp),
    select: &Select<'_>,
) -> Option<f64> {
    let matchers = [
        Matcher::equal(METRIC_NAME, metric),
        Matcher::equal("service", &slo.service),
        Matcher::equal("slo", &slo.name),
    ];
    let read = |start: i64, end: i64| {
        let selection =
            Selection { matchers: &matchers, start, end, samples_max: SAMPLES_MAX, windows: None };
        select(&selection).unwrap_or_default()
    };
    let (from, to) = (now.saturating_sub(window).as_millis(), now.as_millis());
    let ends = read(to - LOOKBACK_MS, to);
    let at_start: BTreeMap<Labels, f64> = values(&read(from - LOOKBACK_MS, from), last);
    let soon_after: BTreeMap<Labels, f64> = values(&read(from, (from + FIRST_MS).min(to)), first);
    let mut sum = None;
    for series in &ends {
        let Some(end) = last(series) else { continue };
        let start = at_start.get(&series.labels).or_else(|| soon_after.get(&series.labels));
        *sum.get_or_insert(0.0) += (end - start.copied().unwrap_or(0.0)).max(0.0);
    }
    sum
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
