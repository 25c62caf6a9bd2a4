//! The extension as a process, in an environment that is played to it: what reaches the destination, how
//! long the environment is kept, what is lost and whether that is told.

#[path = "extension/runtime.rs"]
mod runtime;
#[path = "extension/troubles.rs"]
mod troubles;

use std::net::SocketAddr;
use std::time::Duration;

use runtime::{Destination, Environment, Extension, Post, done, log, report, start};
use serde_json::{Value, json};

const ON_DEMAND: [&str; 2] = ["2022-07-01", "2022-12-13"];
const LONG: Duration = Duration::from_secs(30);

/// Every event that reached the destination, as `type requestId`.
fn told(posts: &[Post]) -> Vec<String> {
    let events = posts.iter().filter(|post| post.path == "/ingest/aws/telemetry");
    let events = events.flat_map(Post::events);
    let text = |event: &Value| {
        let record = &event["record"];
        let detail = record["requestId"].as_str().or(record["name"].as_str()).unwrap_or_default();
        format!("{} {detail}", event["type"].as_str().unwrap_or_default()).trim_end().to_owned()
    };
    events.map(|event| text(&event)).collect()
}

fn holds(posts: &[Post], event: &str) -> bool {
    told(posts).iter().any(|told| told == event)
}

#[tokio::test]
async fn a_life_reaches_the_destination_under_its_functions_name() {
    let environment = Environment::start(&ON_DEMAND).await;
    let destination = Destination::start().await;
    let url = format!("http://{}/", destination.address);
    let extension = Extension::start(&environment, &url, &[("THROUGHLINE_TOKEN", "t0ken")]);
    environment.next(1).await;
    {
        let seen = environment.seen();
        assert_eq!(seen.name.as_deref(), Some("throughline"));
        assert_eq!(seen.registered, Some(json!(["INVOKE", "SHUTDOWN"])));
        assert_eq!(seen.subscriptions.len(), 1);
        assert_eq!(seen.subscriptions[0]["schemaVersion"], "2022-12-13");
        assert_eq!(seen.subscriptions[0]["types"], json!(["platform", "function"]));
    }
    environment.invoke("a", LONG).await;
    assert_eq!(environment.post(json!([start("a"), log("a", "hello")])).await, 200);
    assert_eq!(environment.post(json!([done("a")])).await, 200);
    environment.next(2).await;
    // The whole invocation was there before the environment could be frozen.
    assert_eq!(
        told(&destination.accepted()),
        ["platform.start a", "function a", "platform.runtimeDone a"]
    );
    // The report comes with the next invocation, or at the end.
    environment.post(json!([report("a")])).await;
    environment.shut_down("SPINDOWN").await;
    let (code, stderr) = extension.ended().await;
    assert_eq!(code, Some(0), "{stderr}");
    let posts = destination.accepted();
    assert_eq!(told(&posts).last().map(String::as_str), Some("platform.report a"));
    for post in &posts {
        assert_eq!(post.header("lambda-function-name"), "checkout");
        assert_eq!(post.header("authorization"), "Bearer t0ken");
        assert!(post.header("idempotency-key").starts_with(runtime::IDENTIFIER));
    }
    assert!(!stderr.contains("t0ken"));
}

#[tokio::test]
async fn otlp_of_the_function_goes_on_by_http_and_grpc() {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message as _;

    let environment = Environment::start(&ON_DEMAND).await;
    let destination = Destination::start().await;
    let (http, grpc) = (free_port(), free_port());
    let ports = format!("{},{}", http.port(), grpc.port());
    let url = format!("http://{}", destination.address);
    let extension = Extension::start(&environment, &url, &[("THROUGHLINE_OTLP", &ports)]);
    environment.next(1).await;
    environment.invoke("a", LONG).await;
    let spans = |name: &str| {
        let span = Span { name: name.to_owned(), ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    };
    let client = reqwest::Client::new();
    let protobuf = client
        .post(format!("http://{http}/v1/traces"))
        .header("content-type", "application/x-protobuf")
        .body(spans("one"));
    assert_eq!(protobuf.send().await.expect("an answer").status(), 200);
    let logs = client.post(format!("http://{http}/v1/logs")).json(&json!({"resourceLogs": []}));
    assert_eq!(logs.send().await.expect("an answer").text().await.expect("text"), "{}");
    let other = client.post(format!("http://{http}/v1/logs")).header("content-type", "text/csv");
    assert_eq!(other.send().await.expect("an answer").status(), 415);
    let message = spans("two");
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).expect("small").to_be_bytes());
    framed.extend(message);
    let h2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let call = h2
        .post(format!("http://{grpc}/opentelemetry.proto.collector.trace.v1.TraceService/Export"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(framed);
    let answer = call.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.bytes().await.expect("a body"), [0; 5].as_slice());
    environment.post(json!([start("a"), done("a")])).await;
    environment.next(2).await;
    let accepted = destination.accepted();
    let names: Vec<String> = accepted
        .iter()
        .filter(|post| post.path == "/v1/traces")
        .map(|post| ExportTraceServiceRequest::decode(&*post.body).expect("spans"))
        .flat_map(|request| request.resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .map(|span| span.name)
        .collect();
    assert_eq!(names, ["one", "two"]);
    let logs = accepted.iter().find(|post| post.path == "/v1/logs").expect("logs");
    assert_eq!(logs.header("content-type"), "application/json");
    drop(extension);
}

fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

#[tokio::test]
async fn a_start_is_quick_and_small() {
    let environment = Environment::start(&ON_DEMAND).await;
    let destination = Destination::start().await;
    let url = format!("http://{}", destination.address);
    let extension = Extension::start(&environment, &url, &[]);
    let init = environment.next(1).await.duration_since(extension.started);
    environment.invoke("a", LONG).await;
    environment.post(json!([start("a"), done("a")])).await;
    environment.next(2).await;
    let resident = extension.resident_kib();
    // Of an unoptimized build on a busy machine; `cargo bench --bench extension` has the figures.
    assert!(init < Duration::from_secs(2), "{init:?}");
    assert!((1..48 * 1024).contains(&resident), "{resident} KiB");
}

#[tokio::test]
async fn a_daemon_reads_what_the_extension_forwards() {
    use throughline::{clock::Clock, config::Config, pipeline};

    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let mut sets: Vec<String> = ["otlp_grpc", "ingest", "web"]
        .iter()
        .map(|name| format!("listen.{name}=127.0.0.1:0"))
        .collect();
    sets.push(format!("data_dir={}", folder.path().display()));
    let config = Config::load(None, &sets).expect("a good configuration");
    let settings = pipeline::Settings::new(config, Clock::wall());
    let daemon = pipeline::Pipeline::start(settings).await.expect("it starts");
    let environment = Environment::start(&ON_DEMAND).await;
    let url = format!("http://{}", daemon.addresses().ingest);
    let extension = Extension::start(&environment, &url, &[]);
    environment.next(1).await;
    environment.invoke("a", LONG).await;
    environment.post(json!([start("a"), log("a", "hello"), done("a")])).await;
    environment.next(2).await;
    environment.post(json!([report("a")])).await;
    environment.shut_down("SPINDOWN").await;
    let (code, stderr) = extension.ended().await;
    assert_eq!(code, Some(0), "{stderr}");
    let asking = async {
        loop {
            let url = format!("http://{}/api/requests/a", daemon.addresses().web);
            let answer = reqwest::get(url).await.expect("an answer");
            if let Ok(request) = answer.json::<Value>().await
                && request["hops"][0]["billed_ms"] == 21
            {
                return request;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let request = tokio::time::timeout(runtime::PATIENCE, asking).await.expect("a request");
    assert_eq!(request["hops"][0]["function"], "checkout");
    assert_eq!(request["hops"][0]["outcome"], "ok");
    assert_eq!(request["hops"][0]["logs"], 1);
}

#[test]
fn the_layer_holds_the_binary_where_lambda_looks_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (binary, zip) = (folder.path().join("binary"), folder.path().join("layer.zip"));
    std::fs::write(&binary, "a binary").expect("a file");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = |program: &std::path::Path, arguments: &[&std::path::Path]| {
        std::process::Command::new(program).args(arguments).output()
    };
    // Without these two programs there is nothing to try.
    if run("zip".as_ref(), &["-v".as_ref()]).is_err()
        || run("unzip".as_ref(), &["-v".as_ref()]).is_err()
    {
        return;
    }
    let built = run(&root.join("deploy/lambda-layer/build"), &[&binary, &zip]).expect("it runs");
    assert!(built.status.success(), "{built:?}");
    let listed = run("unzip".as_ref(), &["-Z".as_ref(), &zip]).expect("it runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let file = listed.lines().find(|line| line.ends_with("extensions/throughline"));
    assert!(file.is_some_and(|line| line.starts_with("-rwxr-xr-x")), "{listed}");
}
