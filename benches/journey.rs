//! Measures the whole journey on the real binary over loopback; `cargo bench --bench journey` prints the figures.
//!
//! - CPU seconds for a million spans (batches of 512, 12 attributes) with a sync before every
//!   acknowledgement, beside the same for a server that decodes and discards, in the same run.
//! - Peak memory of the daemon, and bytes for each request that it holds.
//! - Time from posting a failed invocation to its webhook, p50 and p99.
//!
//! `JOURNEY_SPANS` and `JOURNEY_EVENTS` change how much is sent. Nothing here fails for being slow.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a program that measures and prints, outside the daemon"
)]

use std::collections::HashMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

const BATCH: usize = 512;
const SPANS_PER_REQUEST: usize = 8;

fn main() {
    if let Some(port) = std::env::args().skip_while(|arg| arg != "--floor").nth(1) {
        return floor(&port);
    }
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let number = |name: &str, default| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (n_spans, n_events) = (number("JOURNEY_SPANS", 500_000), number("JOURNEY_EVENTS", 40));
    runtime.block_on(async {
        spans(n_spans).await;
        webhooks(n_events).await;
    });
}

/// A child that is killed at the end, whatever happens.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap_or_default()
    }

    /// User and system time so far, in seconds (proc_pid_stat(5), fields 14 and 15, in 1/100 s).
    fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        let after = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / 100.0
    }

    /// A line of `status` in MiB: `VmHWM` is the peak, `VmRSS` the present.
    fn mebibytes(&self, name: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0)
            / 1024.0
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

struct Ports {
    ingest: u16,
    web: u16,
}

fn daemon(dir: &Path, config: &str) -> (Server, Ports) {
    let ports = Ports { ingest: free_port(), web: free_port() };
    let file = dir.join("config.yaml");
    std::fs::write(&file, config).expect("a writable folder");
    let log = std::fs::File::create(dir.join("log")).expect("a writable folder");
    let child = Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args([
            "run",
            "--config",
            &file.display().to_string(),
            "--data-dir",
            &dir.join("data").display().to_string(),
        ])
        .args(["--set", &format!("listen.ingest=127.0.0.1:{}", ports.ingest)])
        .args(["--set", &format!("listen.web=127.0.0.1:{}", ports.web)])
        .args(["--set", &format!("listen.otlp_grpc=127.0.0.1:{}", free_port())])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the binary");
    (Server(child), ports)
}

async fn until_ok(url: &str) {
    for _ in 0..600 {
        if reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{url} did not answer");
}

fn attribute(key: &str, value: String) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value)) }),
        ..KeyValue::default()
    }
}

/// One batch of whole requests of eight spans each; `first` makes their ids unlike any other's.
fn batch(first: usize, now: u64) -> Vec<u8> {
    let span = |n: usize| {
        let (request, place) = ((first + n) / SPANS_PER_REQUEST, n % SPANS_PER_REQUEST);
        let id = |n: usize| u64::try_from(n + 1).unwrap_or(1).to_be_bytes().to_vec();
        let mut trace_id = vec![7; 8];
        trace_id.extend(id(request));
        let start = now + u64::try_from(place).unwrap_or(0) * 1_000_000;
        let names = [
            "http.request.method",
            "http.route",
            "server.address",
            "client.address",
            "user_agent.original",
            "url.scheme",
            "net.protocol",
            "code.function",
            "code.namespace",
            "thread.name",
            "deployment",
            "tenant",
        ];
        Span {
            trace_id,
            span_id: id(first + n),
            parent_span_id: if place == 0 { Vec::new() } else { id(first + n - place) },
            name: format!("operation {place}"),
            kind: if place == 0 { 2 } else { 3 },
            start_time_unix_nano: start,
            end_time_unix_nano: start + 5_000_000,
            attributes: names
                .iter()
                .map(|name| attribute(name, format!("{name} of {place}, some text")))
                .collect(),
            ..Span::default()
        }
    };
    let spans = (0..BATCH).map(span).collect();
    let resource = Resource {
        attributes: vec![
            attribute("service.name", "bench".to_owned()),
            attribute("faas.name", "bench".to_owned()),
        ],
        ..Resource::default()
    };
    let resource_spans = vec![ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn now_nanos() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(0)
}

async fn send(port: u16, bodies: &[Vec<u8>]) -> Duration {
    let client = reqwest::Client::new();
    let started = Instant::now();
    for body in bodies {
        let sent = client
            .post(format!("http://127.0.0.1:{port}/v1/traces"))
            .header("content-type", "application/x-protobuf")
            .body(body.clone())
            .send()
            .await
            .expect("an answer");
        assert!(sent.status().is_success(), "{}", sent.status());
    }
    started.elapsed()
}

async fn spans(n_spans: usize) {
    let n_batches = n_spans / BATCH;
    let per_million = |seconds: f64, batches: usize| seconds * 1e6 / (batches * BATCH) as f64;

    let floor_port = free_port();
    let this = std::env::current_exe().expect("a path");
    let floor = Server(
        Command::new(this).args(["--floor", &floor_port.to_string()]).spawn().expect("this binary"),
    );
    until_ok(&format!("http://127.0.0.1:{floor_port}/")).await;
    let dir = tempfile::tempdir().expect("a folder");
    let (daemon, ports) = daemon(dir.path(), "memory_max: 4GiB\n");
    until_ok(&format!("http://127.0.0.1:{}/-/ready", ports.web)).await;

    let now = now_nanos();
    let bodies: Vec<Vec<u8>> = (0..n_batches).map(|n| batch(n * BATCH, now)).collect();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    println!(
        "spans: {} in batches of {BATCH}, {} bytes a span",
        n_batches * BATCH,
        bytes / (n_batches * BATCH)
    );
    let before = floor.cpu_seconds();
    send(floor_port, &bodies).await;
    let discarding = per_million(floor.cpu_seconds() - before, n_batches);
    println!("decode and discard (axum, prost): {discarding:.2} CPU s a million spans");

    let (before, resident) = (daemon.cpu_seconds(), daemon.mebibytes("VmRSS"));
    let took = send(ports.ingest, &bodies).await;
    let acknowledged = daemon.cpu_seconds() - before;
    // The ticks that measure what was applied belong to the journey as well.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let whole = per_million(daemon.cpu_seconds() - before, n_batches);
    println!(
        "until acknowledged: {:.2} CPU s a million spans, {:.0} spans/s on one connection",
        per_million(acknowledged, n_batches),
        (n_batches * BATCH) as f64 / took.as_secs_f64()
    );
    println!(
        "whole journey, 25 s of ticks included: {whole:.2} CPU s a million spans, {:.1} times decode and discard",
        whole / discarding
    );
    let held = (daemon.mebibytes("VmRSS") - resident) * 1_048_576.0
        / (n_batches * BATCH / SPANS_PER_REQUEST) as f64;
    println!(
        "memory: peak {:.0} MiB, {held:.0} bytes resident for each correctable request of {SPANS_PER_REQUEST} spans",
        daemon.mebibytes("VmHWM")
    );
}

const RULES: &str = "groups:\n  - name: bench\n    rules:\n      - alert: Failed\n        expr: sum by (faas_name) (increase(throughline_invocations_total{outcome=\"error\"}[1m])) > 0\n        labels: {severity: page}\n";

async fn webhooks(n_events: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let arrivals: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let kept = Arc::clone(&arrivals);
    let take = move |axum::Json(message): axum::Json<serde_json::Value>| {
        for alert in message["alerts"].as_array().into_iter().flatten() {
            let name = alert["labels"]["faas_name"].as_str().unwrap_or_default().to_owned();
            kept.lock().expect("not poisoned").entry(name).or_insert_with(Instant::now);
        }
        async {}
    };
    tokio::spawn(
        axum::serve(listener, axum::Router::new().route("/", axum::routing::post(take)))
            .into_future(),
    );
    let path = |name: &str, text: &str| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::File::create(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("a writable folder");
        path
    };
    let rules = path("rules.yaml", RULES);
    let notify = path(
        "notify.yaml",
        &format!(
            "route: {{receiver: bench, group_by: ['...']}}\nreceivers: [{{name: bench, webhook_configs: [{{url: 'http://{address}/'}}]}}]\n"
        ),
    );
    let config = format!(
        "rules: {{files: ['{}']}}\nnotify: {{config: '{}'}}\n",
        rules.display(),
        notify.display()
    );
    let (_daemon, ports) = daemon(dir.path(), &config);
    until_ok(&format!("http://127.0.0.1:{}/-/ready", ports.web)).await;
    let client = reqwest::Client::new();
    let mut posted = Vec::new();
    for n in 0..n_events {
        let (name, time) =
            (format!("f{n}"), throughline::signal::Timestamp::from_nanos(now_nanos()));
        let event = serde_json::json!([{"time": time.to_string(), "type": "platform.report", "record": {"requestId": format!("r{n}"), "status": "failure", "errorType": "Boom", "metrics": {"durationMs": 5.0, "billedDurationMs": 5, "memorySizeMB": 128, "maxMemoryUsedMB": 60}}}]);
        let sent = client
            .post(format!("http://127.0.0.1:{}/ingest/aws/telemetry", ports.ingest))
            .header("lambda-function-name", &name)
            .json(&event)
            .send()
            .await;
        posted.push((name, Instant::now()));
        assert!(sent.is_ok_and(|answer| answer.status().is_success()));
        // Spread over the ticks, not in step with them.
        tokio::time::sleep(Duration::from_millis(370)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let arrivals = arrivals.lock().expect("not poisoned");
    let mut took: Vec<f64> = posted
        .iter()
        .filter_map(|(name, at)| {
            Some(arrivals.get(name)?.saturating_duration_since(*at).as_secs_f64())
        })
        .collect();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| {
        took.get(((took.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(f64::NAN)
    };
    println!(
        "bad event to webhook: {} of {n_events} arrived, p50 {:.2} s, p99 {:.2} s",
        took.len(),
        at(0.5),
        at(0.99)
    );
}

/// A server that decodes with prost and throws away: the lower bound to compare with.
fn floor(port: &str) {
    let decode = |body: axum::body::Bytes| async move {
        let decoded =
            ExportTraceServiceRequest::decode(body).map(|request| request.resource_spans.len());
        std::hint::black_box(decoded.unwrap_or(0));
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener =
            tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("the port");
        let routes = axum::Router::new()
            .route("/", axum::routing::get(|| async {}))
            .route("/v1/traces", axum::routing::post(decode))
            .layer(axum::extract::DefaultBodyLimit::disable());
        axum::serve(listener, routes).await.expect("served");
    });
}
