use std::time::Duration;

use serde_json::json;

use super::impact::{of_firing, of_resolved};
use super::numbers::Numbers;
use super::version;
use crate::evaluate::alert::Impact;
use crate::number::f64_from_u64;
use crate::series::{Config, Sample, SampleValue, SelectError, Selection, Series};
use crate::signal::{Labels, METRIC_NAME, Timestamp};

/// Minutes since the epoch.
fn at(minutes: u64) -> Timestamp {
    Timestamp::from_nanos(minutes * 60_000_000_000)
}

/// A counter and its value at a minute.
struct Line<'a> {
    metric: &'a str,
    labels: &'a [(&'a str, &'a str)],
    value: &'a dyn Fn(u64) -> Option<f64>,
}

/// One sample a minute over 200 minutes.
fn store(lines: &[Line<'_>]) -> Series {
    let mut series = Series::new(Config::default());
    for minute in 0..=200 {
        for Line { metric, labels, value } in lines {
            let Some(value) = value(minute) else { continue };
            let labels = Labels::of(labels).with(METRIC_NAME, metric);
            let sample = Sample { t: at(minute).as_millis(), value: SampleValue::Float(value) };
            series.append(&labels, sample);
        }
        series.tick(at(minute));
    }
    series
}

/// A flow with ten requests a minute, of which from minute 190 on four are bad; an objective over it.
fn burning() -> Series {
    let all = |minute: u64| Some(f64_from_u64(minute * 10));
    let bad = |minute: u64| Some(f64_from_u64(minute.saturating_sub(190) * 4));
    let good = |minute: u64| Some(f64_from_u64(minute * 10 - minute.saturating_sub(190) * 4));
    let flow = ("flow", "POST /orders");
    let slo = [("slo", "in-time"), ("service", "shop")];
    let error = [flow, ("outcome", "error")];
    let ok = [flow, ("outcome", "ok")];
    store(&[
        Line { metric: "throughline_requests_total", labels: &ok, value: &good },
        Line { metric: "throughline_requests_total", labels: &error, value: &bad },
        Line { metric: "throughline_slo_events_total", labels: &slo, value: &all },
        Line { metric: "throughline_slo_good_total", labels: &slo, value: &good },
    ])
}

/// What is known of an alert with these labels when it fires, and when it ends ten minutes later.
fn found(labels: &[(&str, &str)]) -> (Option<Impact>, Option<Impact>) {
    let series = burning();
    let select = |selection: &Selection<'_>| -> Result<_, SelectError> { series.select(selection) };
    let numbers = Numbers { select: &select, at: at(200) };
    let objective = |_: Option<&str>, name: &str, at: Timestamp| {
        let left = if at.as_secs() < 195 * 60 { 0.9 } else { 0.7 };
        (name == "in-time").then(|| {
            json!({"target": 0.99, "window": "30d", "budget_left_ratio": left, "burn_rates": {"1h": 12.0}, "exhausted_at": "1970-01-03T00:00:00Z"})
        })
    };
    let labels = Labels::of(labels);
    let firing = of_firing(&labels, &numbers, &objective);
    (firing, of_resolved(&labels, at(190), &numbers, &objective))
}

/// Twenty of fifty in the last five minutes; eight in each of the last five steps of the trend.
fn check(labels: &[(&str, &str)], what: &str) -> (Impact, Impact) {
    let (firing, resolved) = found(labels);
    let (firing, resolved) = (firing.expect("figures"), resolved.expect("figures"));
    let counts = firing.counts.as_ref().expect("counts");
    assert_eq!((&*counts.what, counts.bad, counts.total), (what, 20, 50));
    let trend = firing.trend.as_ref().expect("a trend");
    assert_eq!(*trend.what, format!("bad {what}"));
    let expected: Vec<f64> = [vec![0.0; 10], vec![8.0; 5]].concat();
    assert_eq!(trend.values, expected);
    let peak = resolved.peak_ratio.expect("a peak");
    assert!((peak - 0.4).abs() < 1e-9, "{peak}");
    (firing, resolved)
}

#[test]
fn a_flow_tells_its_requests_exactly() {
    let (firing, resolved) = check(&[("flow", "POST /orders")], "requests");
    assert_eq!((firing.budget, resolved.budget), (None, None));
}

#[test]
fn an_objective_tells_its_events_its_budget_and_what_the_alert_spent() {
    let (firing, resolved) = check(&[("slo", "in-time"), ("service", "shop")], "events");
    let budget = firing.budget.expect("a budget");
    assert!((budget.left_ratio - 0.7).abs() < 1e-9 && (budget.whole_minutes - 432.0).abs() < 1e-6);
    assert_eq!((budget.burn_1h, budget.spent_ratio), (Some(12.0), None));
    assert_eq!(budget.gone_at, Timestamp::parse_rfc3339("1970-01-03T00:00:00Z"));
    let spent = resolved.budget.and_then(|budget| budget.spent_ratio).expect("what was spent");
    assert!((spent - 0.2).abs() < 1e-9, "{spent}");
}

#[test]
fn what_nothing_is_known_of_has_no_figures() {
    assert_eq!(found(&[("queue", "unknown")]), (None, None));
    assert_eq!(found(&[("instance", "a")]), (None, None));
}

#[test]
fn a_version_is_news_where_another_one_was_there_an_hour_ago() {
    let old = |minute: u64| Some(f64_from_u64(minute.min(187)));
    let new = |minute: u64| (minute >= 186).then(|| f64_from_u64(minute - 185));
    let label = |version| [("faas_name", "fulfil"), ("faas_version", version)];
    let series = store(&[
        Line { metric: "throughline_invocations_total", labels: &label("42"), value: &old },
        Line { metric: "throughline_invocations_total", labels: &label("43"), value: &new },
    ]);
    let select = |selection: &Selection<'_>| series.select(selection);
    let numbers = Numbers { select: &select, at: at(200) };
    let change = version("fulfil", &numbers).expect("a change");
    assert_eq!((&*change.version, change.before.as_deref()), ("43", Some("42")));
    assert_eq!(change.since, at(186));
    assert_eq!(version("fulfil", &numbers.before(Duration::from_hours(1))), None);
    assert_eq!(version("other", &numbers), None);
}
