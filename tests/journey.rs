//! The whole daemon in one process, over its own sockets: in by HTTP, out by its APIs, over a restart.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use throughline::clock::Clock;
use throughline::config::Config;
use throughline::pipeline::{Pipeline, Settings, Stopped};

#[path = "journey/doors.rs"]
mod doors;
#[path = "journey/grafana.rs"]
mod grafana;
#[path = "journey/posted_alerts.rs"]
mod posted_alerts;

/// Waiting for what a tick brings: long enough for a busy machine, never slept through when it comes.
const PATIENCE: Duration = Duration::from_mins(1);

fn config(dir: &Path, sets: &[&str]) -> Config {
    let mut all: Vec<String> = ["otlp_grpc", "ingest", "web"]
        .iter()
        .map(|name| format!("listen.{name}=127.0.0.1:0"))
        .collect();
    all.push(format!("data_dir={}", dir.display()));
    all.push("correlate.settle_after=1s".to_owned());
    all.extend(sets.iter().map(ToString::to_string));
    Config::load(None, &all).expect("a good configuration")
}

struct Daemon {
    pipeline: Pipeline,
    client: reqwest::Client,
}

impl Daemon {
    async fn start(dir: &Path, sets: &[&str]) -> Self {
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pipeline = Pipeline::start(Settings::new(config(dir, sets), Clock::wall()))
            .await
            .expect("it starts");
        Self { pipeline, client: reqwest::Client::new() }
    }

    async fn post(&self, path: &str, function: &str, body: Value) -> u16 {
        let url = format!("http://{}{path}", self.pipeline.addresses().ingest);
        let sent =
            self.client.post(url).header("lambda-function-name", function).json(&body).send().await;
        sent.expect("an answer").status().as_u16()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.pipeline.addresses().web);
        let answer = self.client.get(url).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Asks until the answer satisfies; the last answer is the error.
    async fn until(&self, path: &str, satisfied: impl Fn(&Value) -> bool) -> Value {
        let asking = async {
            loop {
                let (_, answer) = self.get(path).await;
                if satisfied(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if let Ok(answer) = tokio::time::timeout(PATIENCE, asking).await {
            return answer;
        }
        panic!("{path} stays {}", self.get(path).await.1)
    }

    async fn stop(self) {
        assert_eq!(self.pipeline.stop().await, Stopped::Drained);
    }
}

/// One invocation as the Telemetry API tells it, with what its log says.
#[expect(clippy::needless_pass_by_value, reason = "written in place")]
fn invocation(id: &str, at: &str, says: Value) -> Value {
    let time = |offset: &str| format!("2026-11-25T{at}.{offset}Z");
    let recent = |offset: &str| recent(&time(offset));
    let mut log =
        json!({"timestamp": recent("050"), "level": "INFO", "requestId": id, "message": "working"});
    for (name, value) in says.as_object().expect("an object") {
        log[name] = value.clone();
    }
    json!([
        {"time": recent("000"), "type": "platform.start", "record": {"requestId": id, "version": "1"}},
        {"time": recent("050"), "type": "function", "record": log},
        {"time": recent("100"), "type": "platform.runtimeDone", "record": {"requestId": id, "status": "success"}},
        {"time": recent("100"), "type": "platform.report", "record": {"requestId": id, "status": "success",
            "metrics": {"durationMs": 100.0, "billedDurationMs": 100, "memorySizeMB": 1024, "maxMemoryUsedMB": 80}}},
    ])
}

static BASE: std::sync::OnceLock<throughline::signal::Timestamp> = std::sync::OnceLock::new();

/// The same moment on the present day's clock: a minute ago, keeping the seconds apart.
fn recent(time: &str) -> String {
    let zero =
        throughline::signal::Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").expect("a time");
    let written = throughline::signal::Timestamp::parse_rfc3339(time).expect("a time");
    let base = BASE.get_or_init(|| Clock::wall().now().saturating_sub(Duration::from_mins(1)));
    base.saturating_add(written.since(zero)).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_crosses_a_queue_by_message_id_and_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(dir.path(), &[]).await;
    let sent =
        invocation("r-1", "10:00:00", json!({"sentMessageId": "m-1", "correlation_id": "o-1"}));
    let taken = invocation("r-2", "10:00:02", json!({"messageId": "m-1"}));
    assert_eq!(daemon.post("/ingest/aws/telemetry", "checkout", sent.clone()).await, 200);
    assert_eq!(daemon.post("/ingest/aws/telemetry", "fulfil", taken).await, 200);

    let finished = |answer: &Value| {
        answer["requests"][0]["state"] == "finished"
            && answer["requests"][0]["hops"].as_array().is_some_and(|hops| hops.len() == 2)
    };
    let found = daemon.until("/api/requests", finished).await;
    let request = &found["requests"][0];
    assert_eq!(request["flow"], "checkout");
    assert_eq!(request["outcome"], "ok");
    assert_eq!(request["hops"][1]["evidence"], "message_id", "{request}");
    let parts: f64 = request["critical_path"]
        .as_array()
        .expect("a path")
        .iter()
        .filter_map(|part| part["ms"].as_f64())
        .sum();
    assert!(
        (parts - request["duration_ms"].as_f64().expect("a duration")).abs() < 1e-6,
        "the path adds up"
    );
    for (also, n) in [
        ("function=fulfil&outcome=ok", 1),
        ("function=loyalty", 0),
        ("outcome=error", 0),
        ("flow=checkout&queue=none", 0),
        ("end=5", 0),
    ] {
        let (_, some) = daemon.get(&format!("/api/requests?key=o-1&{also}")).await;
        assert_eq!(some["requests"].as_array().map(Vec::len), Some(n), "{also}: {some}");
    }
    assert_eq!(daemon.get("/api/requests?key=o-1&outcome=good").await.0, 400);
    for key in ["m-1", "o-1", "r-2"] {
        let (status, one) = daemon.get(&format!("/api/requests/{key}")).await;
        assert_eq!((status, &one["id"]), (200, &request["id"]), "{key}");
    }
    let count = |answer: &Value| answer["data"]["result"][0]["value"][1] == "1";
    daemon
        .until("/api/v1/query?query=throughline_requests_total%7Boutcome=%22ok%22%7D", count)
        .await;
    let (_, books) = daemon.get("/api/ledger").await;
    assert_eq!(books["receivers"]["telemetry"]["applied"], 8);
    daemon.stop().await;

    let again = Daemon::start(dir.path(), &[]).await;
    assert_eq!(again.get("/api/ledger").await.1, books, "the books are what they were");
    let found_again = again.until("/api/requests", finished).await;
    assert_eq!(found_again["requests"][0]["hops"], request["hops"]);
    again
        .until("/api/v1/query?query=throughline_requests_total%7Boutcome=%22ok%22%7D", count)
        .await;
    // The same signals again: known, and counted as such.
    assert_eq!(again.post("/ingest/aws/telemetry", "checkout", sent).await, 200);
    let repeated =
        again.until("/api/ledger", |books| books["receivers"]["telemetry"]["received"] == 12).await;
    assert_eq!(repeated["receivers"]["telemetry"]["applied"], 8, "{repeated}");
    again.stop().await;
}

/// A place where webhooks arrive: the ids and bodies of what came.
async fn pager() -> (std::net::SocketAddr, Arc<Mutex<Vec<(String, Value)>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let arrived: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let kept = Arc::clone(&arrived);
    let take = async move |headers: axum::http::HeaderMap,
                           axum::Json(message): axum::Json<Value>| {
        let id = headers
            .get("webhook-id")
            .and_then(|id| id.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        kept.lock().expect("not poisoned").push((id, message));
    };
    tokio::spawn(
        axum::serve(listener, axum::Router::new().route("/", axum::routing::post(take)))
            .into_future(),
    );
    (address, arrived)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_told_once_over_a_restart_and_keeps_its_begin() {
    let dir = tempfile::tempdir().expect("a folder");
    let (address, arrived) = pager().await;
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a writable folder");
        path.display().to_string()
    };
    let rules = write(
        "rules.yaml",
        "groups: [{name: g, rules: [{alert: Failed, expr: 'sum by (faas_name) (increase(throughline_invocations_total{outcome=\"error\"}[5m])) > 0', labels: {severity: page}, annotations: {summary: '{{ $labels.faas_name }} fails'}}]}]\n",
    );
    let notify = write(
        "notify.yaml",
        &format!(
            "route: {{receiver: a, group_by: [alertname]}}\nreceivers: [{{name: a, webhook_configs: [{{url: 'http://{address}/'}}]}}]\n"
        ),
    );
    let sets = [format!("rules.files=['{rules}']"), format!("notify.config={notify}")];
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let data = dir.path().join("data");

    let daemon = Daemon::start(&data, &sets).await;
    let mut failed = invocation("r-9", "10:00:50", json!({}));
    failed[2]["record"]["status"] = "failure".into();
    failed[3]["record"]["status"] = "failure".into();
    assert_eq!(daemon.post("/ingest/aws/telemetry", "charge", failed).await, 200);
    let fires = |answer: &Value| answer["data"]["alerts"][0]["state"] == "firing";
    let before = daemon.until("/api/v1/alerts", fires).await;
    let (_, findings) = daemon.get("/api/findings").await;
    let of_charge = findings["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["function"] == "charge");
    let finding = of_charge.unwrap_or_else(|| panic!("no finding of the function: {findings}"));
    assert_eq!((&finding["kind"], &finding["message"]), (&json!("Failed"), &json!("charge fails")));
    while arrived.lock().expect("not poisoned").is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.stop().await;
    {
        let arrived = arrived.lock().expect("not poisoned");
        let alert = &arrived[0].1["alerts"][0];
        assert_eq!(alert["annotations"]["summary"], "charge fails");
        assert_eq!(
            alert["evidence"]["request"]["flow"], "charge",
            "a real request is in the message: {alert}"
        );
    }

    let again = Daemon::start(&data, &sets).await;
    let ticks =
        |answer: &Value| answer["data"]["result"][0]["value"][1].as_str().is_some_and(|n| n != "0");
    again.until("/api/v1/query?query=count_over_time(ALERTS[5s])%20%3E%202", ticks).await;
    let after = again.until("/api/v1/alerts", fires).await;
    assert_eq!(after["data"]["alerts"][0]["activeAt"], before["data"]["alerts"][0]["activeAt"]);
    again.stop().await;
    assert_eq!(arrived.lock().expect("not poisoned").len(), 1, "told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tokens_every_path_but_health_needs_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(
        dir.path(),
        &["auth.tokens=[{name: a, token: s3cret, scope: [ingest, read]}]"],
    )
    .await;
    assert_eq!(
        daemon.post("/ingest/json", "f", json!({"message": "x", "level": "INFO"})).await,
        401
    );
    for (path, status) in [
        ("/", 401),
        ("/api/ledger", 401),
        ("/metrics", 401),
        ("/-/healthy", 200),
        ("/-/ready", 200),
    ] {
        assert_eq!(daemon.get(path).await.0, status, "{path}");
    }
    let url = |path: &str| format!("http://{}{path}", daemon.pipeline.addresses().web);
    let read = daemon
        .client
        .get(url("/api/ledger"))
        .bearer_auth("s3cret")
        .send()
        .await
        .expect("an answer");
    assert_eq!(read.status(), 200);
    let write =
        daemon.client.post(url("/-/reload")).bearer_auth("s3cret").send().await.expect("an answer");
    assert_eq!(write.status(), 403, "a token that may read may not write");
    daemon.stop().await;
}

/// Telemetry is data: what it says is shown as it is, on every page, and is never markup.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_telemetry_is_text_on_every_page() {
    const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>";
    let dir = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(dir.path(), &[]).await;
    let says = json!({
        "correlation_id": HOSTILE, "messageId": HOSTILE, "level": "ERROR", "message": HOSTILE,
        "error": HOSTILE, "sentMessageId": "javascript:alert(3)",
    });
    let told = invocation("r-1", "10:00:00", says);
    assert_eq!(daemon.post("/ingest/aws/telemetry", HOSTILE, told).await, 200);
    // It stays open: a failed message comes again.
    let failed = |answer: &Value| answer["requests"][0]["outcome"] == "error";
    let found = daemon.until("/api/requests", failed).await;
    assert_eq!(found["requests"][0]["flow"], HOSTILE);
    let id = found["requests"][0]["id"].as_str().expect("an id").to_owned();
    let mut n_shown = 0;
    for path in ["/", "/requests", &format!("/requests/{id}"), "/queues", "/alerts", "/slos"] {
        let url = format!("http://{}{path}", daemon.pipeline.addresses().web);
        let answer = daemon.client.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let page = answer.text().await.expect("text");
        for markup in ["<script>alert", "<img", "\"javascript:", "onerror=alert(2)>"] {
            assert!(!page.contains(markup), "{markup} on {path}");
        }
        n_shown += usize::from(page.contains("&lt;script&gt;alert(1)"));
    }
    assert!(n_shown >= 2, "it was looked at where it is: {n_shown}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_others_could_read_is_closed() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).expect("our folder");
    let daemon = Daemon::start(dir.path(), &[]).await;
    let mode = std::fs::metadata(dir.path()).expect("a folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    daemon.stop().await;
}

/// Without a credential, what a browser does for somebody else's page is refused, under any name.
#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_another_site_writes_and_none_of_ours_runs_or_loads_what_is_not_ours() {
    let dir = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(dir.path(), &["listen.external_url=https://watch.example"]).await;
    let web = daemon.pipeline.addresses().web;
    let port = web.port();
    let local = format!("http://localhost:{port}");
    for (host, origin, status) in [
        (web.to_string(), "", 200),
        (web.to_string(), &*format!("http://{web}"), 200),
        (format!("localhost:{port}"), &*local, 200),
        (web.to_string(), "https://watch.example", 200),
        // A proxy's name, and nobody's page.
        ("throughline.internal".to_owned(), "", 200),
        (web.to_string(), "http://evil.example", 403),
        // It lets its name lead here.
        (format!("evil.example:{port}"), &*format!("http://evil.example:{port}"), 403),
    ] {
        let asked = daemon.client.post(format!("http://{web}/-/reload")).header("host", &host);
        let asked = if origin.is_empty() { asked } else { asked.header("origin", origin) };
        let answer = asked.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{host} {origin}");
    }
    for path in ["/", "/requests", "/api/ledger", "/metrics", "/nope", "/-/ready"] {
        let answer = daemon.client.get(format!("http://{web}{path}")).send().await;
        let answer = answer.expect("an answer");
        let header = |name: &str| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.split("; ").any(|one| one == part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_refused_at_a_reload_and_the_old_one_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let rules = dir.path().join("rules.yaml");
    let rule = |name: &str| {
        format!("groups: [{{name: g, rules: [{{alert: {name}, expr: vector(1)}}]}}]\n")
    };
    std::fs::write(&rules, rule("First")).expect("a writable folder");
    let sets = [format!("rules.files=['{}']", rules.display())];
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let all = Settings::new(config(&dir.path().join("data"), &sets), Clock::wall());
    let source = Some((None, sets.iter().map(ToString::to_string).collect()));
    let pipeline = Pipeline::start(Settings { source, ..all }).await.expect("it starts");
    let daemon = Daemon { pipeline, client: reqwest::Client::new() };
    let reload = async || {
        let url = format!("http://{}/-/reload", daemon.pipeline.addresses().web);
        let answer = daemon.client.post(url).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let names = async || {
        daemon.get("/api/v1/rules").await.1["data"]["groups"][0]["rules"][0]["name"].clone()
    };

    std::fs::write(&rules, "groups: [{name: g, rules: [{alert: Broken, expr: 'rate('}]}]\n")
        .expect("a writable folder");
    let (status, text) = reload().await;
    assert_eq!(status, 400);
    assert!(text.contains("rules.yaml:1:"), "{text}");
    assert_eq!(names().await, "First");

    std::fs::write(&rules, rule("Second")).expect("a writable folder");
    let (status, text) = reload().await;
    // What is read here names the default ports and folder, which no reload changes.
    let later =
        "`listen` changes at the next start only\n`data_dir` changes at the next start only\n";
    assert_eq!((status, text), (200, format!("reloaded\n{later}")));
    assert_eq!(names().await, "Second");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_or_a_locked_folder_is_told_plainly() {
    let dir = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(dir.path(), &[]).await;
    let web = format!("listen.web={}", daemon.pipeline.addresses().web);
    let other = tempfile::tempdir().expect("a folder");
    let taken = Pipeline::start(Settings::new(config(other.path(), &[&web]), Clock::wall()))
        .await
        .expect_err("the port is taken");
    assert!(taken[0].contains("cannot listen on"), "{taken:?}");
    let both = Pipeline::start(Settings::new(config(dir.path(), &[&web]), Clock::wall()))
        .await
        .expect_err("the port and the folder are taken");
    assert!(both[0].contains("in use") && both[1].contains("`listen.web`"), "{both:?}");
    let locked = Pipeline::start(Settings::new(config(dir.path(), &[]), Clock::wall()))
        .await
        .expect_err("the folder is locked");
    assert!(locked[0].contains("in use by another daemon"), "{locked:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_finds_what_it_asks_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(dir.path(), &[]).await;
    let (_, sum) = daemon.get("/api/v1/query?query=1%2B1&time=4").await;
    assert_eq!(
        sum,
        json!({"status": "success", "data": {"resultType": "scalar", "result": [4, "2"]}})
    );
    let (_, build) = daemon.get("/api/v1/status/buildinfo").await;
    assert!(build["data"]["version"].is_string() && build["data"].get("features").is_none());
    let (status, probe) = daemon
        .get("/api/v1/query_exemplars?query=test&start=1795600000000&end=1795600060000")
        .await;
    assert_eq!((status, probe), (200, json!({"status": "success", "data": []})));
    let (status, bad) = daemon.get("/api/v1/query?query=rate(x").await;
    assert_eq!((status, &bad["errorType"]), (400, &json!("bad_data")));
    assert_eq!(daemon.get("/api/nothing").await.0, 404);
    assert_eq!(daemon.get("/api/requests/unknown").await.0, 404);
    daemon.stop().await;
}
