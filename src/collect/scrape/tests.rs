use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use expect_test::{Expect, expect};
use tokio::sync::{mpsc, watch};

use super::fetch::{Fetched, Fetcher};
use super::pass::{Memory, When};
use super::presets::Preset;
use super::relabel::{Action, Relabel, pattern};
use super::*;
use crate::clock::Clock;
use crate::collect;
use crate::normalize::exposition::Format;
use crate::normalize::show;
use crate::receive::Delivery;
use crate::signal::{Labels, MetricValue, Receiver, Remark, SignalKind};

fn job(targets: &[&str]) -> Job {
    Job {
        name: "j".to_owned(),
        targets: targets.iter().map(ToString::to_string).collect(),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(2),
        scheme: "http".to_owned(),
        path: "/metrics".to_owned(),
        params: BTreeMap::new(),
        token: None,
        labels: Labels::default(),
        honor_labels: false,
        honor_timestamps: true,
        native_histograms: false,
        preset: None,
        relabel: Vec::new(),
        body_bytes_max: 1000,
        samples_max: 6,
    }
}

fn target(job: &Job) -> Target {
    job.targets().next().expect("a target")
}

fn show(batch: &Batch) -> String {
    let mut lines: Vec<String> = Vec::new();
    for signal in &batch.signals {
        let SignalKind::Metric(point) = &signal.kind else { panic!("only points are scraped") };
        // How long it took is not the test's.
        if point.labels.name() == "scrape_duration_seconds" {
            continue;
        }
        let value = match &point.value {
            MetricValue::Gauge(value) => value.to_string(),
            other => format!("{other:?}"),
        };
        lines.push(format!("{} {value} @{}\n", point.labels, point.time.as_millis()));
    }
    lines.sort();
    let mut out: String = lines.concat();
    for remark in &batch.remarks {
        let _ = writeln!(out, "# {}", show::remark(remark));
    }
    if batch.rejected > 0 {
        let _ = writeln!(out, "{} rejected", batch.rejected);
    }
    out
}

/// Pages of one target at 1 s, 2 s, …; None is a failed fetch.
#[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
fn check(job: &Job, pages: &[Option<&str>], expect: Expect) {
    let (target, mut memory, mut out) = (target(job), Memory::default(), String::new());
    for (second, page) in (1..).zip(pages) {
        let at = Timestamp::from_millis(second * 1000);
        let outcome = page.map(|page| {
            let page = Fetched { bytes: page.as_bytes().to_vec(), format: Format::Text };
            pass::read(&page, &target, at)
        });
        let outcome = match outcome.transpose() {
            Ok(outcome) => outcome,
            Err(why) => {
                let _ = writeln!(out, "failed: {why}");
                None
            }
        };
        let redactor = Redactor::new(&crate::normalize::Config::default().redact);
        let when = When { at, took: Duration::from_millis(5) };
        let batch = memory.batch(&target, outcome, when, &redactor);
        assert_eq!(batch.receiver, Receiver::Scrape);
        out.push_str(&show(&batch));
        out.push_str("--\n");
    }
    out.push_str(&show(&memory.end(&target, Timestamp::from_millis(99_000))));
    expect.assert_eq(&out);
}

#[test]
fn what_is_redacted_does_not_pass_in_an_exemplar() {
    let mut config = crate::normalize::Config::default();
    (config.redact.drop, config.redact.hash) = (vec!["User".to_owned()], vec!["tenant".to_owned()]);
    let target = target(&job(&["h:1"]));
    let page = "# TYPE a counter\na_total{user=\"ann\"} 1 # {trace_id=\"t\",user=\"ann\",tenant=\"shop\"} 1\n# EOF\n";
    let page = Fetched { bytes: page.as_bytes().to_vec(), format: Format::OpenMetrics };
    let at = Timestamp::from_millis(1000);
    let outcome = pass::read(&page, &target, at).expect("a page");
    let when = When { at, took: Duration::from_millis(5) };
    let redactor = Redactor::new(&config.redact);
    let batch = Memory::default().batch(&target, Some(outcome), when, &redactor);
    let told = batch.remarks.iter().find_map(|remark| match remark {
        Remark::Exemplar { series, exemplar } => Some((series, exemplar)),
        Remark::Metric(_) | Remark::Target { .. } | Remark::Odd(_) => None,
    });
    let (series, exemplar) = told.expect("an exemplar");
    let all = format!("{series} {exemplar:?}");
    assert!(!all.contains("ann") && !all.contains("shop") && all.contains("hash:"), "{all}");
    assert_eq!(&*exemplar.trace_id, "t");
}

#[test]
fn a_series_that_vanishes_ends_and_so_does_all_of_a_failed_scrape() {
    check(
        &job(&["h:1"]),
        &[
            Some("# TYPE a counter\n# HELP a Things.\na 1\nb{x=\"1\"} 2\ntold 3 500\n"),
            Some("a 2\n"),
            None,
        ],
        expect![[r#"
            a{instance="h:1", job="j"} 1 @1000
            b{instance="h:1", job="j", x="1"} 2 @1000
            scrape_samples_post_metric_relabeling{instance="h:1", job="j"} 3 @1000
            scrape_samples_scraped{instance="h:1", job="j"} 3 @1000
            scrape_series_added{instance="h:1", job="j"} 2 @1000
            told{instance="h:1", job="j"} 3 @500
            up{instance="h:1", job="j"} 1 @1000
            # about a: Counter "Things." ""
            --
            a{instance="h:1", job="j"} 2 @2000
            b{instance="h:1", job="j", x="1"} Stale @2000
            scrape_samples_post_metric_relabeling{instance="h:1", job="j"} 1 @2000
            scrape_samples_scraped{instance="h:1", job="j"} 1 @2000
            scrape_series_added{instance="h:1", job="j"} 0 @2000
            up{instance="h:1", job="j"} 1 @2000
            --
            a{instance="h:1", job="j"} Stale @3000
            scrape_samples_post_metric_relabeling{instance="h:1", job="j"} 0 @3000
            scrape_samples_scraped{instance="h:1", job="j"} 0 @3000
            scrape_series_added{instance="h:1", job="j"} 0 @3000
            up{instance="h:1", job="j"} 0 @3000
            --
            scrape_samples_post_metric_relabeling{instance="h:1", job="j"} Stale @99000
            scrape_samples_scraped{instance="h:1", job="j"} Stale @99000
            scrape_series_added{instance="h:1", job="j"} Stale @99000
            up{instance="h:1", job="j"} Stale @99000
        "#]],
    );
}

#[test]
fn labels_of_the_target_win_unless_the_page_is_honoured() {
    let mut job = Job { labels: Labels::of(&[("env", "prod")]), ..job(&["h:1"]) };
    let page = Some(
        "a{job=\"theirs\",exported_job=\"x\"} 1 500\na{job=\"theirs\",exported_job=\"x\"} 2 500\n",
    );
    check(
        &job,
        &[page],
        expect![[r#"
        a{env="prod", exported_exported_job="theirs", exported_job="x", instance="h:1", job="j"} 1 @500
        scrape_samples_post_metric_relabeling{env="prod", instance="h:1", job="j"} 1 @1000
        scrape_samples_scraped{env="prod", instance="h:1", job="j"} 2 @1000
        scrape_series_added{env="prod", instance="h:1", job="j"} 0 @1000
        up{env="prod", instance="h:1", job="j"} 1 @1000
        1 rejected
        --
        scrape_samples_post_metric_relabeling{env="prod", instance="h:1", job="j"} Stale @99000
        scrape_samples_scraped{env="prod", instance="h:1", job="j"} Stale @99000
        scrape_series_added{env="prod", instance="h:1", job="j"} Stale @99000
        up{env="prod", instance="h:1", job="j"} Stale @99000
    "#]],
    );
    job.honor_labels = true;
    job.honor_timestamps = false;
    check(
        &job,
        &[page],
        expect![[r#"
        a{env="prod", exported_job="x", instance="h:1", job="theirs"} 1 @1000
        scrape_samples_post_metric_relabeling{env="prod", instance="h:1", job="j"} 1 @1000
        scrape_samples_scraped{env="prod", instance="h:1", job="j"} 2 @1000
        scrape_series_added{env="prod", instance="h:1", job="j"} 1 @1000
        up{env="prod", instance="h:1", job="j"} 1 @1000
        1 rejected
        --
        a{env="prod", exported_job="x", instance="h:1", job="theirs"} Stale @99000
        scrape_samples_post_metric_relabeling{env="prod", instance="h:1", job="j"} Stale @99000
        scrape_samples_scraped{env="prod", instance="h:1", job="j"} Stale @99000
        scrape_series_added{env="prod", instance="h:1", job="j"} Stale @99000
        up{env="prod", instance="h:1", job="j"} Stale @99000
    "#]],
    );
}

#[test]
fn names_are_mapped_beside_the_originals_before_rules_drop_those() {
    let rule = Relabel {
        source_labels: vec!["__name__".to_owned()],
        separator: ";".to_owned(),
        regex: pattern("rabbitmq_.*").expect("a pattern"),
        target_label: String::new(),
        replacement: String::new(),
        action: Action::Drop,
    };
    let job = Job {
        preset: Some(Preset::Rabbitmq),
        relabel: vec![rule],
        labels: Labels::of(&[("cluster", "eu")]),
        ..job(&["h:1"])
    };
    let page =
        "rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"orders\"} 7\nrabbitmq_build_info 1\n";
    check(
        &job,
        &[Some(page), Some("other 1\n")],
        expect![[r#"
        scrape_samples_post_metric_relabeling{cluster="eu", instance="h:1", job="j"} 1 @1000
        scrape_samples_scraped{cluster="eu", instance="h:1", job="j"} 2 @1000
        scrape_series_added{cluster="eu", instance="h:1", job="j"} 1 @1000
        throughline_queue_depth{cluster="eu", queue="orders"} 7 @1000
        up{cluster="eu", instance="h:1", job="j"} 1 @1000
        --
        other{cluster="eu", instance="h:1", job="j"} 1 @2000
        scrape_samples_post_metric_relabeling{cluster="eu", instance="h:1", job="j"} 1 @2000
        scrape_samples_scraped{cluster="eu", instance="h:1", job="j"} 1 @2000
        scrape_series_added{cluster="eu", instance="h:1", job="j"} 1 @2000
        throughline_queue_depth{cluster="eu", queue="orders"} Stale @2000
        up{cluster="eu", instance="h:1", job="j"} 1 @2000
        --
        other{cluster="eu", instance="h:1", job="j"} Stale @99000
        scrape_samples_post_metric_relabeling{cluster="eu", instance="h:1", job="j"} Stale @99000
        scrape_samples_scraped{cluster="eu", instance="h:1", job="j"} Stale @99000
        scrape_series_added{cluster="eu", instance="h:1", job="j"} Stale @99000
        up{cluster="eu", instance="h:1", job="j"} Stale @99000
    "#]],
    );
}

#[test]
fn a_bad_page_or_one_with_too_much_is_a_failed_scrape() {
    check(
        &job(&["h:1"]),
        &[
            Some("a 1\nb\n"),
            Some("a 1\nb 1\nc 1\nd 1\ne 1\nf 1\ng 1\n"),
            Some("a 1 99999999999999\na 2 -5\n"),
        ],
        expect![[r#"
            failed: line 2: "" is no number
            scrape_samples_post_metric_relabeling{instance="h:1", job="j"} 0 @1000
            scrape_samples_scraped{instance="h:1", job="j"} 0 @1000
            scrape_series_added{instance="h:1", job="j"} 0 @1000
            up{instance="h:1", job="j"} 0 @1000
            --
            failed: more than samples_max (6) samples
            scrape_samples_post_metric_relabeling{instance="h:1", job="j"} 0 @2000
            scrape_samples_scraped{instance="h:1", job="j"} 0 @2000
            scrape_series_added{instance="h:1", job="j"} 0 @2000
            up{instance="h:1", job="j"} 0 @2000
            --
            scrape_samples_post_metric_relabeling{instance="h:1", job="j"} 2 @3000
            scrape_samples_scraped{instance="h:1", job="j"} 2 @3000
            scrape_series_added{instance="h:1", job="j"} 0 @3000
            up{instance="h:1", job="j"} 1 @3000
            2 rejected
            --
            scrape_samples_post_metric_relabeling{instance="h:1", job="j"} Stale @99000
            scrape_samples_scraped{instance="h:1", job="j"} Stale @99000
            scrape_series_added{instance="h:1", job="j"} Stale @99000
            up{instance="h:1", job="j"} Stale @99000
        "#]],
    );
}

#[test]
fn scrapes_lie_at_their_phase_of_the_interval() {
    let due = |now, phase| {
        let [now, phase, every] = [now, phase, 15].map(Duration::from_secs);
        next(Timestamp::EPOCH.saturating_add(now), every, phase).as_secs()
    };
    assert_eq!([due(0, 4), due(3, 4), due(4, 4), due(18, 4), due(19, 4)], [4, 4, 19, 19, 34]);
    let job = job(&["h:1", "h:2", "h:3"]);
    let phases: std::collections::BTreeSet<Duration> =
        job.targets().map(|target| target.phase).collect();
    assert_eq!(phases.len(), 3);
    assert!(phases.iter().all(|phase| *phase < job.interval));
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn provider() {
    // The first test that needs it installs it.
    drop(rustls::crypto::ring::default_provider().install_default());
}

#[tokio::test]
async fn a_page_is_asked_for_as_the_formats_have_it_and_read_within_bounds() {
    provider();
    let router = Router::new()
        .route(
            "/metrics",
            get(|headers: HeaderMap| async move {
                let header =
                    |name: &str| headers.get(name).map(|v| v.to_str().expect("text").to_owned());
                assert!(
                    header("accept")
                        .expect("it says")
                        .starts_with("application/openmetrics-text;version=1.0.0")
                );
                assert_eq!(header("x-prometheus-scrape-timeout-seconds").as_deref(), Some("2"));
                assert_eq!(header("authorization").as_deref(), Some("Bearer s3cret"));
                (
                    [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0")],
                    "a 1\n# EOF\n",
                )
            }),
        )
        .route("/moved", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/metrics")]) }))
        .route("/large", get(|| async { "a 1\n".repeat(300) }))
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_mins(1)).await;
                StatusCode::OK.into_response()
            }),
        );
    let address = serve(router).await;
    let fetched = async |path: &str, timeout: Duration| {
        let token = Some("s3cret".to_owned());
        let target = target(&Job { path: path.to_owned(), token, timeout, ..job(&[&address]) });
        Fetcher::try_new(&target).expect("a client").fetch(&target).await
    };
    let patient = Duration::from_secs(2);
    let page = fetched("/metrics", patient).await.expect("a page");
    assert_eq!((page.bytes.as_slice(), page.format), (&b"a 1\n# EOF\n"[..], Format::OpenMetrics));
    let error = async |path, timeout| fetched(path, timeout).await.expect_err("no page");
    assert_eq!(error("/moved", patient).await, "the target answered 302 Found");
    assert_eq!(error("/large", patient).await, "the page has more than 1000 bytes");
    let slow = error("/slow", Duration::from_millis(50)).await;
    assert!(slow.contains("timed out"), "{slow}");
}

#[tokio::test]
async fn a_reload_ends_the_series_of_targets_that_are_gone_and_a_stop_ends_none() {
    provider();
    let address = serve(Router::new().route("/metrics", get(|| async { "a 1\n" }))).await;
    let (accepted, mut deliveries) = mpsc::channel(16);
    let (stop, stopping) = watch::channel(false);
    let quick = Job {
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(100),
        ..job(&[&address])
    };
    let kept = Job { name: "kept".to_owned(), ..quick.clone() };
    let config = |scrapes| collect::Config { scrapes, ..collect::Config::default() };
    let (configs, config_seen) = watch::channel(config(vec![quick, kept.clone()]));
    let shared = Shared {
        normalize: Arc::new(ArcSwap::default()),
        clock: Clock::wall(),
        accepted,
        stopping,
    };
    let running = tokio::spawn(collect::run(config_seen, shared));
    let mut seen = async |wanted: &str| {
        loop {
            let Some(Delivery { batch, answer, .. }) = deliveries.recv().await else {
                return false;
            };
            let shown = show(&batch);
            answer.send(Ok(())).expect("somebody waits");
            if shown.contains(wanted) {
                return true;
            }
        }
    };
    assert!(seen(&format!("a{{instance=\"{address}\", job=\"j\"}} 1 @")).await);
    configs.send_replace(config(vec![kept]));
    assert!(seen(&format!("up{{instance=\"{address}\", job=\"j\"}} Stale")).await);
    assert!(seen(&format!("a{{instance=\"{address}\", job=\"kept\"}} 1 @")).await);
    stop.send_replace(true);
    assert!(!seen("Stale").await, "series outlive a restart");
    running.await.expect("it ends");
}
