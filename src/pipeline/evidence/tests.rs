use std::time::Duration;

use serde_json::json;

use super::impact::{of_firing, of_resolved};
use super::matter::Matter;
use super::numbers::Numbers;
use super::version;
use crate::correlate::Outcome;
use crate::evaluate::Reads;
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
    let reads = Reads::default();
    let firing = of_firing(&labels, &reads, &numbers, &objective);
    (firing, of_resolved(&labels, &reads, at(190), (&numbers, &objective)))
}

/// Twenty of fifty in the last five minutes; eight in each of the last five steps of the trend.
fn check(labels: &[(&str, &str)], what: &str) -> (Impact, Impact) {
    let (firing, resolved) = found(labels);
    let (firing, resolved) = (firing.expect("figures"), resolved.expect("figures"));
    let counts = firing.counts.as_ref().expect("counts");
    assert_eq!((&*counts.what, counts.bad, counts.total), (what, 20, Some(50)));
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
    let (firing, resolved) = check(&[("slo", "in-time"), ("service", "shop")], "requests");
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

/// How an alert of a rule over `metrics` counts, as its headline has it, and its trend.
fn counted(labels: &[(&str, &str)], metrics: &[&str], store: &Series) -> String {
    let select = |selection: &Selection<'_>| -> Result<_, SelectError> { store.select(selection) };
    let numbers = Numbers { select: &select, at: at(200) };
    let reads = Reads {
        metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
        ..Reads::default()
    };
    let impact = of_firing(&Labels::of(labels), &reads, &numbers, &|_, _, _| None);
    let Some(Impact { counts, trend, .. }) = impact else { return "nothing".to_owned() };
    let counts = counts.map(|c| format!("{} of {:?} {} {}", c.bad, c.total, c.what, c.how));
    format!("{} | {}", counts.unwrap_or_default(), trend.map(|t| t.what).unwrap_or_default())
}

#[test]
fn what_is_counted_is_what_the_rule_is_about() {
    let ten = |minute: u64| Some(f64_from_u64(minute * 10));
    let one = |minute: u64| Some(f64_from_u64(minute));
    let two = |minute: u64| Some(f64_from_u64(minute * 2));
    let name = ("faas_name", "fulfil");
    let dlq = [("queue", "dlq"), ("source_queue", "orders"), name];
    let other = [("queue", "dlq"), ("source_queue", "orders"), ("faas_name", "other")];
    let series = store(&[
        Line { metric: "throughline_invocations_total", labels: &[name], value: &ten },
        Line { metric: "throughline_retries_total", labels: &[name], value: &two },
        Line { metric: "throughline_cold_starts_total", labels: &[name], value: &one },
        Line {
            metric: "throughline_throttles_total",
            labels: &[name, ("source", "platform")],
            value: &one,
        },
        Line {
            metric: "throughline_throttles_total",
            labels: &[name, ("source", "caller")],
            value: &two,
        },
        Line { metric: "throughline_dlq_arrivals_total", labels: &dlq, value: &one },
        Line { metric: "throughline_dlq_arrivals_total", labels: &other, value: &ten },
        Line {
            metric: "throughline_duplicate_deliveries_total",
            labels: &[("queue", "orders"), name],
            value: &one,
        },
    ]);
    let check = |labels: &[(&str, &str)], metric: &str, expect: &str| {
        let all = [metric, "throughline_invocations_total"];
        assert_eq!(counted(labels, &all, &series), expect, "{metric}");
    };
    check(&[name], "throughline_retries_total", "10 of Some(50) attempts were retries | retries");
    check(&[name], "throughline_cold_starts_total", "5 of Some(50) attempts cold | cold starts");
    check(&[name], "throughline_throttles_total", "10 of None throttles  | throttles");
    check(&dlq, "throughline_dlq_arrivals_total", "5 of None dead letters  | dead letters");
    let queue = [("queue", "orders"), name];
    let metric = "throughline_duplicate_deliveries_total";
    check(&queue, metric, "5 of None duplicate deliveries  | duplicate deliveries");
    // An objective that is not counted by us alone is told by what it is made of.
    let objective = [("slo", "unthrottled"), ("service", "shop"), name];
    check(&objective, "throughline_throttles_total", "10 of None throttles  | throttles");
    check(&[name], "throughline_invocation_duration_seconds_bucket", "nothing");
}

#[test]
fn what_an_alert_is_about_follows_from_its_objective_or_its_rule() {
    let check = |metrics: &[&str],
                 outcomes: &[&str],
                 slo: Option<serde_json::Value>,
                 expect: Matter| {
        let reads = Reads {
            metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
            outcomes: outcomes.iter().map(|name| (*name).into()).collect(),
        };
        assert_eq!(Matter::of(&Labels::of(&[]), &reads, &|| slo.clone()), expect, "{metrics:?}");
    };
    let all = || {
        use Outcome::{DeadLettered, Error, Incomplete, Throttled, Timeout};
        Matter::Failures(vec![DeadLettered, Timeout, Throttled, Error, Incomplete])
    };
    let (time, incomplete) =
        (Matter::Time(Duration::ZERO), Matter::Failures(vec![Outcome::Incomplete]));
    check(&["throughline_queue_lag_seconds_bucket", "throughline_dlq_depth"], &[], None, time);
    check(&["throughline_requests_total"], &["incomplete"], None, incomplete.clone());
    check(&["throughline_requests_total"], &["ok"], None, all());
    check(&["throughline_invocation_errors_total"], &[], None, all());
    check(&["throughline_cold_starts_total"], &[], None, Matter::ColdStarts);
    let throttled = Matter::Failures(vec![Outcome::Throttled]);
    check(&["throughline_throttles_total"], &[], None, throttled);
    let slow = Some(json!({"sli": "latency", "threshold": "2s"}));
    check(&["throughline_slo_events_total"], &[], slow, Matter::Time(Duration::from_secs(2)));
    check(&[], &[], Some(json!({"sli": "completeness"})), incomplete);
    check(&[], &[], Some(json!({"sli": "availability"})), all());
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
