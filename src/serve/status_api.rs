//! What Prometheus tells of itself (`/api/v1/status/*`, `targets`, `alertmanagers`), as far as it is true of
//! us.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::params::Params;
use super::prometheus_api::{Failure, success};
use super::setup::{ScrapeTarget, Setup};
use super::{Asking, Views};
use crate::series::{self, RawSeries, SampleValue};
use crate::signal::{Labels, METRIC_NAME, Timestamp, format_duration};

/// Entries of each list of `status/tsdb` where the client does not say; Prometheus's default.
const LIMIT: usize = 10;
const LIMIT_MAX: usize = 10_000;
/// Go's time that is none.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/api/v1/status/buildinfo", get(buildinfo))
        .route("/api/v1/status/config", get(config))
        .route("/api/v1/status/flags", get(flags))
        .route("/api/v1/status/runtimeinfo", get(runtimeinfo))
        .route("/api/v1/status/tsdb", get(tsdb))
        .route("/api/v1/status/walreplay", get(walreplay))
        .route("/api/v1/targets", get(targets))
        .route("/api/v1/alertmanagers", get(alertmanagers))
}

/// A version, and no `features`: with some, Grafana takes us for Mimir.
async fn buildinfo() -> Json<Value> {
    success(json!({
        "version": "3.5.0",
        "revision": concat!("throughline-", env!("CARGO_PKG_VERSION")),
        "branch": "main",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

async fn config(State(views): State<Views>) -> Json<Value> {
    success(json!({ "yaml": views.setup.load().config }))
}

async fn flags(State(views): State<Views>) -> Json<Value> {
    success(json!(views.setup.load().flags))
}

async fn runtimeinfo(State(views): State<Views>) -> Json<Value> {
    let Setup { retention, read_at, .. } = **views.setup.load();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    success(json!({
        "startTime": views.started_at,
        "serverTime": views.clock.now(),
        // A bad file is refused: what is in force was read.
        "reloadConfigSuccess": true,
        "lastConfigTime": read_at,
        "GOMAXPROCS": threads,
        "storageRetention": format_duration(retention),
    }))
}

/// Answered before recovery is over too.
async fn walreplay(State(views): State<Views>) -> Json<Value> {
    let start = (views.starting)();
    let state = if start.is_over { "done" } else { "in progress" };
    success(json!({ "min": 0, "max": start.records, "current": start.records, "state": state }))
}

async fn tsdb(State(views): State<Views>, params: Params) -> Result<Json<Value>, Failure> {
    let limit = match params.number("limit").map_err(Failure::bad)?.unwrap_or(LIMIT) {
        limit if (1..=LIMIT_MAX).contains(&limit) => limit,
        _ => return Err(Failure::bad("limit must be a positive number")),
    };
    let counted = views.ask(None, move |asking| {
        let all = (i64::MIN, i64::MAX);
        let goes_on = || asking.goes_on().is_ok();
        let found = series::label_sets_shared(&asking.views.series, &[], all, &goes_on);
        asking.goes_on()?;
        Ok(cardinality(&found, limit))
    });
    Ok(success(counted.await?))
}

/// Which names and labels have the most series.
fn cardinality(found: &[Labels], limit: usize) -> Value {
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_pair: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for labels in found {
        *by_name.entry(labels.name()).or_default() += 1;
        for pair in labels.iter() {
            *by_pair.entry(pair).or_default() += 1;
        }
    }
    let mut values: BTreeMap<&str, usize> = BTreeMap::new();
    let mut bytes: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, value) in by_pair.keys() {
        *values.entry(name).or_default() += 1;
        *bytes.entry(name).or_default() += value.len();
    }
    let n_pairs = by_pair.len();
    let named = |counts: BTreeMap<&str, usize>| most(counts.into_iter(), limit);
    let pairs = by_pair.into_iter().map(|((name, value), n)| (format!("{name}={value}"), n));
    json!({
        "headStats": { "numSeries": found.len(), "numLabelPairs": n_pairs },
        "seriesCountByMetricName": named(by_name),
        "labelValueCountByLabelName": named(values),
        "memoryInBytesByLabelName": named(bytes),
        "seriesCountByLabelValuePair": most(pairs, limit),
    })
}

/// The largest, the largest first.
fn most(counts: impl Iterator<Item = (impl Into<String>, usize)>, limit: usize) -> Value {
    let mut all: Vec<(String, usize)> = counts.map(|(name, n)| (name.into(), n)).collect();
    all.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    all.truncate(limit);
    all.into_iter().map(|(name, n)| json!({ "name": name, "value": n })).collect()
}

async fn alertmanagers(State(views): State<Views>) -> Json<Value> {
    let setup = views.setup.load();
    let active = setup.alertmanagers.iter().map(|url| json!({ "url": url }));
    success(json!({
        "activeAlertmanagers": active.collect::<Value>(),
        "droppedAlertmanagers": [],
    }))
}

/// What the last scrape of a target was like.
#[derive(Clone, Copy, Debug, Default)]
struct Scraped {
    /// None: not within five minutes.
    is_up: Option<bool>,
    at: Option<f64>,
    seconds: f64,
}

async fn targets(State(views): State<Views>, params: Params) -> Result<Json<Value>, Failure> {
    let pool = params.get("scrapePool").map(str::to_owned);
    let shows_active =
        params.get("state").is_none_or(|state| !state.eq_ignore_ascii_case("dropped"));
    let shown = views.ask(None, move |asking| {
        let setup = asking.views.setup.load();
        let wanted =
            |target: &&ScrapeTarget| pool.as_deref().is_none_or(|pool| *target.job == *pool);
        let scraped = if shows_active { last_scrapes(asking) } else { BTreeMap::new() };
        let active = setup.targets.iter().filter(|_| shows_active).filter(wanted).map(|target| {
            target_json(target, scraped.get(&target.labels).copied().unwrap_or_default())
        });
        Ok(json!({
            "activeTargets": active.collect::<Value>(),
            "droppedTargets": [],
            "droppedTargetCounts": {},
        }))
    });
    Ok(success(shown.await?))
}

/// By the labels of the target, from what each scrape leaves in the store.
fn last_scrapes(asking: &Asking<'_>) -> BTreeMap<Labels, Scraped> {
    let mut all: BTreeMap<Labels, Scraped> = BTreeMap::new();
    let now = asking.views.clock.now();
    let mut note = |query: &str, note: fn(&mut Scraped, f64)| {
        for (labels, value) in asking.instant(query, now).iter().filter_map(newest) {
            note(all.entry(labels).or_default(), value);
        }
    };
    note("up", |scraped, value| scraped.is_up = Some(value != 0.0));
    note("timestamp(up)", |scraped, value| scraped.at = Some(value));
    note("scrape_duration_seconds", |scraped, value| scraped.seconds = value);
    all
}

/// A series' labels without its name, and its value.
fn newest(one: &RawSeries) -> Option<(Labels, f64)> {
    let SampleValue::Float(value) = one.samples.last()?.value else { return None };
    let pairs = one.labels.pairs().iter().filter(|(name, _)| **name != *METRIC_NAME);
    Some((Labels::new(pairs.cloned()), value))
}

fn target_json(target: &ScrapeTarget, scraped: Scraped) -> Value {
    let ScrapeTarget { job, address, scheme, path, labels, interval, timeout } = target;
    // Parameters of the address may be secret.
    let path = path.split('?').next().unwrap_or_default();
    let url = format!("{scheme}://{address}{path}");
    let (health, error) = match scraped.is_up {
        Some(true) => ("up", ""),
        Some(false) => ("down", "the last scrape failed; the daemon's log says why"),
        None => ("unknown", ""),
    };
    let at = scraped
        .at
        .map_or_else(|| NEVER.to_owned(), |seconds| Timestamp::from_secs_f64(seconds).to_string());
    json!({
        "discoveredLabels": {
            "__address__": address, "__metrics_path__": path, "__scheme__": scheme, "job": job,
        },
        "labels": labels,
        "scrapePool": job,
        "scrapeUrl": url,
        "globalUrl": url,
        "lastError": error,
        "lastScrape": at,
        "lastScrapeDuration": scraped.seconds,
        "health": health,
        "scrapeInterval": format_duration(*interval),
        "scrapeTimeout": format_duration(*timeout),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_target_is_shown_as_prometheus_shows_it_and_without_its_parameters() {
        let target = ScrapeTarget {
            job: "broker".into(),
            address: "h:9419".into(),
            scheme: "http".into(),
            path: "/metrics?token=SECRET".into(),
            labels: Labels::of(&[("instance", "h:9419"), ("job", "broker")]),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
        };
        let shown =
            target_json(&target, Scraped { is_up: Some(true), at: Some(1.5), seconds: 0.25 });
        assert_eq!(
            shown,
            json!({
                "discoveredLabels": {
                    "__address__": "h:9419", "__metrics_path__": "/metrics", "__scheme__": "http",
                    "job": "broker",
                },
                "labels": {"instance": "h:9419", "job": "broker"},
                "scrapePool": "broker", "scrapeUrl": "http://h:9419/metrics",
                "globalUrl": "http://h:9419/metrics", "lastError": "",
                "lastScrape": "1970-01-01T00:00:01.500000000Z", "lastScrapeDuration": 0.25,
                "health": "up", "scrapeInterval": "15s", "scrapeTimeout": "10s",
            })
        );
        let never = target_json(&target, Scraped::default());
        assert_eq!((&never["health"], &never["lastScrape"]), (&"unknown".into(), &NEVER.into()));
    }

    #[test]
    fn what_has_the_most_series_comes_first() {
        let set = |name: &str, region: &str| Labels::of(&[(METRIC_NAME, name), ("region", region)]);
        let found = [set("a", "x"), set("a", "yy"), set("b", "x")];
        let shown = cardinality(&found, 1);
        assert_eq!(shown["headStats"], json!({"numSeries": 3, "numLabelPairs": 4}));
        assert_eq!(shown["seriesCountByMetricName"], json!([{"name": "a", "value": 2}]));
        assert_eq!(shown["memoryInBytesByLabelName"], json!([{"name": "region", "value": 3}]));
        assert_eq!(
            cardinality(&found, 9)["seriesCountByLabelValuePair"][0],
            json!({"name": "__name__=a", "value": 2})
        );
    }
}
