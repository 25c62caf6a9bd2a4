//! A Lambda environment as far as an extension sees it, written from its documentation: the Extensions
//! API, the Telemetry API with its limits, and a destination that can be slow, down or of bad temper.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post, put};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Waiting for what must come: long enough for a busy machine, never slept through when it comes.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) const IDENTIFIER: &str = "5ef7b2a4-0f29-4b5e-9e9e-0c3f1d2a7b11";

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn bytes(request: Request) -> Vec<u8> {
    axum::body::to_bytes(request.into_body(), 64 << 20).await.expect("a body").to_vec()
}

/// Waits until `ready` gives something; looks again at every notice.
async fn until<T>(notice: &Notify, what: &str, ready: impl Fn() -> Option<T>) -> T {
    let waiting = async {
        loop {
            let noticed = notice.notified();
            tokio::pin!(noticed);
            noticed.as_mut().enable();
            if let Some(found) = ready() {
                return found;
            }
            noticed.await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no {what}"))
}

// The environment.

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) name: Option<String>,
    pub(crate) registered: Option<Value>,
    pub(crate) subscriptions: Vec<Value>,
    pub(crate) port: Option<u16>,
    /// When `next` was asked.
    pub(crate) nexts: Vec<Instant>,
}

#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) address: SocketAddr,
    events: mpsc::Sender<Value>,
    inner: Arc<Inner>,
    client: reqwest::Client,
}

#[derive(Debug)]
struct Inner {
    seen: Mutex<Seen>,
    notice: Notify,
    events: tokio::sync::Mutex<mpsc::Receiver<Value>>,
    /// Schema versions that this environment takes.
    schemas: Vec<&'static str>,
}

impl Inner {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic")
    }
}

impl Environment {
    pub(crate) async fn start(schemas: &[&'static str]) -> Self {
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (events, receiver) = mpsc::channel(16);
        let inner = Arc::new(Inner {
            seen: Mutex::default(),
            notice: Notify::new(),
            events: tokio::sync::Mutex::new(receiver),
            schemas: schemas.to_vec(),
        });
        let router = Router::new()
            .route("/2020-01-01/extension/register", post(register))
            .route("/2020-01-01/extension/event/next", get(next))
            .route("/2022-07-01/telemetry", put(subscribe))
            .with_state(Arc::clone(&inner));
        let address = serve(router).await;
        Self { address, events, inner, client: reqwest::Client::new() }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.inner.seen()
    }

    /// Waits for the n-th call of `next`: the n-th phase is over.
    pub(crate) async fn next(&self, n: usize) -> Instant {
        until(&self.inner.notice, "call of next", || self.seen().nexts.get(n - 1).copied()).await
    }

    /// Posts telemetry as the platform does; the status of the answer.
    pub(crate) async fn post(&self, events: Value) -> u16 {
        let port = self.seen().port.expect("a subscription");
        let posted = self.client.post(format!("http://127.0.0.1:{port}/telemetry")).json(&events);
        posted.send().await.expect("an answer").status().as_u16()
    }

    /// Lambda hands an invocation to the function and its extensions.
    pub(crate) async fn invoke(&self, id: &str, deadline: Duration) {
        let event = json!({
            "eventType": "INVOKE", "deadlineMs": millis_from_now(deadline), "requestId": id,
            "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:checkout",
            "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700"},
        });
        self.events.send(event).await.expect("an extension that listens");
    }

    pub(crate) async fn shut_down(&self, reason: &str) -> Instant {
        let deadline = millis_from_now(Duration::from_secs(2));
        let event =
            json!({"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline});
        let sent = Instant::now();
        self.events.send(event).await.expect("an extension that listens");
        sent
    }
}

fn millis_from_now(later: Duration) -> i64 {
    let now = throughline::clock::Clock::wall().now();
    now.saturating_add(later).as_millis()
}

async fn register(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let name = request.headers().get("Lambda-Extension-Name").cloned();
    let Some(name) = name.and_then(|name| name.to_str().ok().map(str::to_owned)) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let body: Value = serde_json::from_slice(&bytes(request).await).expect("JSON");
    inner.seen().name = Some(name);
    inner.seen().registered = Some(body["events"].clone());
    let answer =
        json!({"functionName": "checkout", "functionVersion": "$LATEST", "handler": "app.handler"});
    ([("Lambda-Extension-Identifier", IDENTIFIER)], axum::Json(answer)).into_response()
}

async fn next(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    if headers.get("Lambda-Extension-Identifier").is_none_or(|id| id != IDENTIFIER) {
        return StatusCode::FORBIDDEN.into_response();
    }
    inner.seen().nexts.push(Instant::now());
    inner.notice.notify_waiters();
    match inner.events.lock().await.recv().await {
        Some(event) => axum::Json(event).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The limits are those of the subscription's JSON schema.
async fn subscribe(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let body: Value = serde_json::from_slice(&bytes(request).await).expect("JSON");
    inner.seen().subscriptions.push(body.clone());
    let refused = |reason: &str| {
        let error = json!({"errorType": "ValidationError", "errorMessage": reason});
        (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
    };
    if !inner.schemas.contains(&body["schemaVersion"].as_str().unwrap_or_default()) {
        return refused("schemaVersion is not supported");
    }
    let kinds = ["platform", "function", "extension"];
    let types = body["types"].as_array().cloned().unwrap_or_default();
    if types.is_empty() || types.iter().any(|kind| !kinds.iter().any(|known| kind == known)) {
        return refused("types");
    }
    let buffering = &body["buffering"];
    for (name, least, most) in
        [("maxItems", 1000, 10_000), ("maxBytes", 262_144, 1_048_576), ("timeoutMs", 25, 30_000)]
    {
        if !buffering[name].as_i64().is_some_and(|n| (least..=most).contains(&n)) {
            return refused(name);
        }
    }
    let uri = body["destination"]["URI"].as_str().unwrap_or_default();
    let port = uri
        .strip_prefix("http://sandbox.localdomain:")
        .and_then(|rest| rest.split('/').next().and_then(|port| port.parse().ok()));
    let Some(port) = port.filter(|_| body["destination"]["protocol"] == "HTTP") else {
        return refused("destination");
    };
    inner.seen().port = Some(port);
    "OK".into_response()
}

// The destination.

#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Unpacked.
    pub(crate) body: Vec<u8>,
    pub(crate) answered: u16,
}

impl Post {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        serde_json::from_slice(&self.body).expect("an array of events")
    }
}

#[derive(Debug, Default)]
struct Till {
    posts: Mutex<Vec<Post>>,
    /// Answers to come; 200 once there are none.
    answers: Mutex<VecDeque<u16>>,
    delay: Mutex<Duration>,
    notice: Notify,
}

/// A Throughline that only writes down.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) address: SocketAddr,
    till: Arc<Till>,
}

impl Destination {
    pub(crate) async fn start() -> Self {
        let till = Arc::new(Till::default());
        let router = Router::new().fallback(any(note)).with_state(Arc::clone(&till));
        Self { address: serve(router).await, till }
    }

    /// The answers to the next posts.
    pub(crate) fn answer(&self, statuses: &[u16]) {
        *self.till.answers.lock().expect("no panic") = statuses.iter().copied().collect();
    }

    pub(crate) fn delay(&self, delay: Duration) {
        *self.till.delay.lock().expect("no panic") = delay;
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.till.posts.lock().expect("no panic").clone()
    }

    /// Those that were answered 200.
    pub(crate) fn accepted(&self) -> Vec<Post> {
        self.posts().into_iter().filter(|post| post.answered == 200).collect()
    }

    /// Waits until enough is accepted.
    pub(crate) async fn until(&self, what: &str, enough: impl Fn(&[Post]) -> bool) -> Vec<Post> {
        until(&self.till.notice, what, || Some(self.accepted()).filter(|posts| enough(posts))).await
    }
}

async fn note(State(till): State<Arc<Till>>, request: Request) -> Response {
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    let raw = bytes(request).await;
    let mut body = Vec::new();
    match headers.get("content-encoding") {
        Some(_) => {
            flate2::read::GzDecoder::new(&*raw).read_to_end(&mut body).expect("gzip");
        }
        None => body = raw,
    }
    let delay = *till.delay.lock().expect("no panic");
    tokio::time::sleep(delay).await;
    let answered = till.answers.lock().expect("no panic").pop_front().unwrap_or(200);
    till.posts.lock().expect("no panic").push(Post { path, headers, body, answered });
    till.notice.notify_waiters();
    StatusCode::from_u16(answered).expect("a status").into_response()
}

// The extension.

/// A started extension; killed when dropped.
#[derive(Debug)]
pub(crate) struct Extension {
    child: Option<Child>,
    #[expect(dead_code, reason = "held for its drop")]
    folder: tempfile::TempDir,
    pub(crate) started: Instant,
}

impl Extension {
    /// Starts the binary as Lambda starts a layer's: in `extensions`, without arguments.
    pub(crate) fn start(environment: &Environment, url: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = layer(folder.path());
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", environment.address.to_string())
            .env("THROUGHLINE_URL", url)
            .env("THROUGHLINE_TELEMETRY_PORT", "0")
            .env("THROUGHLINE_OTLP", "off")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let child = Some(command.spawn().expect("it starts"));
        Self { child, folder, started }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a process").id()
    }

    /// Resident memory in KiB, now.
    pub(crate) fn resident_kib(&self) -> u64 {
        let pid = self.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    /// Waits for its end: exit code, and what it said on stderr.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let child = self.child.take().expect("a process");
        let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
        let output = tokio::time::timeout(PATIENCE, waiting).await.expect("it ends");
        let output = output.expect("no panic").expect("a status");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn layer(folder: &Path) -> PathBuf {
    let extensions = folder.join("extensions");
    std::fs::create_dir(&extensions).expect("a folder");
    let program = extensions.join("throughline");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_throughline"), &program).expect("a link");
    program
}

// What the platform tells.

pub(crate) fn start(id: &str) -> Value {
    json!({"time": "2026-11-25T10:00:00.000Z", "type": "platform.start",
        "record": {"requestId": id, "version": "$LATEST",
            "tracing": {"spanId": "54565fb41ac79632", "type": "X-Amzn-Trace-Id",
                "value": "Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}})
}

pub(crate) fn log(id: &str, text: &str) -> Value {
    json!({"time": "2026-11-25T10:00:00.010Z", "type": "function",
        "record": {"level": "INFO", "requestId": id, "message": text}})
}

pub(crate) fn done(id: &str) -> Value {
    json!({"time": "2026-11-25T10:00:00.020Z", "type": "platform.runtimeDone",
        "record": {"requestId": id, "status": "success", "metrics": {"durationMs": 20.0}}})
}

pub(crate) fn report(id: &str) -> Value {
    json!({"time": "2026-11-25T10:00:00.030Z", "type": "platform.report",
        "record": {"requestId": id, "status": "success", "metrics": {
            "durationMs": 20.5, "billedDurationMs": 21, "memorySizeMB": 512, "maxMemoryUsedMB": 80}}})
}
