use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::signal::{Batch, MetricValue, SignalKind, Timestamp};

/// A service that answers by action, and remembers what it was asked.
#[derive(Clone, Default)]
struct Fake {
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    n_busy: Arc<Mutex<u32>>,
}

async fn answer(State(fake): State<Fake>, headers: HeaderMap, body: String) -> Response {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let signature = header("authorization");
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{signature}");
    assert!(signature.contains("x-amz-target") && !header("x-amz-date").is_empty());
    let (_, action) = header("x-amz-target").split_once('.').expect("a target");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    fake.asked.lock().expect("whole").push((action.to_owned(), body.clone()));
    {
        let mut n_busy = fake.n_busy.lock().expect("whole");
        if *n_busy > 0 {
            *n_busy -= 1;
            let said =
                json!({"__type": "com.amazonaws.sqs#RequestThrottled", "message": "slow down"});
            return (StatusCode::BAD_REQUEST, said.to_string()).into_response();
        }
    }
    let arn = |name: &str| format!("arn:aws:sqs:eu-west-1:123456789012:{name}");
    let url = |name: &str| format!("http://sqs/123456789012/{name}");
    let policy =
        |name: &str| json!({"deadLetterTargetArn": arn(name), "maxReceiveCount": "3"}).to_string();
    let told = match action {
        "ListQueues" if body["NextToken"].is_null() => {
            json!({"QueueUrls": [url("orders")], "NextToken": "2"})
        }
        "ListQueues" => json!({"QueueUrls": [url("orders-mail"), url("orders-old-dlq")]}),
        "GetQueueUrl" => json!({"QueueUrl": url(body["QueueName"].as_str().expect("a name"))}),
        "ListDeadLetterSourceQueues" => json!({"queueUrls": [url("elsewhere")]}),
        "GetQueueAttributes" => {
            match body["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next()) {
                Some("orders") => {
                    json!({"Attributes": {"QueueArn": arn("orders"), "ApproximateNumberOfMessages": "7", "RedrivePolicy": policy("broken-orders")}})
                }
                Some("broken-orders") => {
                    json!({"Attributes": {"QueueArn": arn("broken-orders"), "ApproximateNumberOfMessages": "2"}})
                }
                Some("orders-old-dlq") => {
                    json!({"Attributes": {"QueueArn": arn("orders-old-dlq"), "ApproximateNumberOfMessages": "0"}})
                }
                _ => {
                    let said = json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue"});
                    return (StatusCode::BAD_REQUEST, said.to_string()).into_response();
                }
            }
        }
        "GetMetricData" => {
            let results =
                body["MetricDataQueries"].as_array().expect("queries").iter().filter_map(|query| {
                    let metric = &query["MetricStat"]["Metric"];
                    let end = body["EndTime"].as_u64().expect("seconds");
                    let values = match metric["MetricName"].as_str()? {
                        "Throttles" => json!([4.0, 1.0]),
                        "ApproximateAgeOfOldestMessage"
                            if metric["Dimensions"][0]["Value"] == "orders" =>
                        {
                            json!([31.0, 91.0])
                        }
                        _ => json!([]),
                    };
                    let times =
                        if values == json!([]) { json!([]) } else { json!([end - 120, end - 60]) };
                    Some(json!({"Id": query["Id"], "Timestamps": times, "Values": values}))
                });
            json!({"MetricDataResults": results.collect::<Vec<_>>()})
        }
        other => panic!("nobody asks for {other}"),
    };
    told.to_string().into_response()
}

struct Bench {
    fake: Fake,
    caller: Caller,
    poller: Poller,
}

async fn bench() -> Bench {
    drop(rustls::crypto::ring::default_provider().install_default());
    let fake = Fake::default();
    let router = Router::new().route("/", post(answer)).with_state(fake.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let poller = Poller {
        region: "eu-west-1".to_owned(),
        endpoint: Some(format!("http://{address}/")),
        queue_prefixes: vec!["orders".to_owned()],
        queue_urls: Vec::new(),
        functions: vec!["checkout".to_owned()],
        interval: Duration::from_mins(1),
    };
    let env = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" => Some("AKID".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
        _ => None,
    };
    let caller = Caller::with(&poller, Clock::wall(), env).expect("a client");
    Bench { fake, caller, poller }
}

#[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
fn check(batches: &[Batch], base: Timestamp, expect: Expect) {
    let mut out = String::new();
    for signal in batches.iter().flat_map(|batch| &batch.signals) {
        let SignalKind::Metric(point) = &signal.kind else { panic!("only points are polled") };
        let value = match &point.value {
            MetricValue::Gauge(value) => format!("{value}"),
            MetricValue::Sum { value, .. } => format!("+{value}"),
            other => format!("{other:?}"),
        };
        let _ =
            writeln!(out, "{} {value} {}s before", point.labels, base.since(point.time).as_secs());
    }
    expect.assert_eq(&out);
}

#[tokio::test]
async fn queues_tell_their_depth_and_policies_name_the_dead_letter_queues() {
    let Bench { fake, caller, poller } = bench().await;
    let (mut queues, mut failures) = (Queues::default(), Vec::new());
    let depths = queues.look(&caller, &poller, &mut failures).await;
    let at = Timestamp::from_millis(5_000);
    check(
        &[queues::batch(&depths, at)],
        at,
        expect![[r#"
        throughline_dlq_depth{queue="broken-orders", source_queue="orders"} 2 0s before
        throughline_queue_depth{queue="orders"} 7 0s before
        throughline_dlq_depth{queue="orders-old-dlq", source_queue="elsewhere"} 0 0s before
    "#]],
    );
    // One that is gone is told, and harms nobody; it is not 0.
    assert_eq!(failures, ["GetQueueAttributes: QueueDoesNotExist: no such queue"]);
    queues.look(&caller, &poller, &mut failures).await;
    let asked = fake.asked.lock().expect("whole");
    let n = |action: &str| asked.iter().filter(|(of, _)| of == action).count();
    assert_eq!((n("ListQueues"), n("GetQueueUrl")), (2, 1), "lists and names are remembered");
}

#[tokio::test]
async fn cloudwatch_tells_minutes_at_their_time_and_each_once() {
    let Bench { fake, caller, poller } = bench().await;
    let mut wanted = Wanted::default();
    let config = crate::normalize::Config::default();
    wanted.come_to(&poller, ["orders", "idle"].map(str::to_owned).into_iter());
    let batches = wanted.look(&caller, &config).await.expect("an answer");
    let end = {
        let asked = fake.asked.lock().expect("whole");
        let (_, body) = asked.last().expect("it asked");
        let (start, end) =
            (body["StartTime"].as_u64().expect("s"), body["EndTime"].as_u64().expect("s"));
        assert_eq!((end - start, end % 60), (900, 0));
        Timestamp::EPOCH.saturating_add(Duration::from_secs(end))
    };
    check(
        &batches,
        end,
        expect![[r#"
        throughline_throttles_total{faas_name="checkout", source="platform"} +4 120s before
        throughline_throttles_total{faas_name="checkout", source="platform"} +1 60s before
        throughline_queue_oldest_age_seconds{queue="orders"} 31 120s before
        throughline_queue_oldest_age_seconds{queue="orders"} 91 60s before
    "#]],
    );
    let again = wanted.look(&caller, &config).await.expect("an answer");
    assert!(again.iter().all(|batch| batch.signals.is_empty()), "{again:?}");
    wanted.forget();
    assert_eq!(wanted.look(&caller, &config).await.expect("an answer").len(), 0);
}

#[tokio::test]
async fn a_busy_service_is_asked_again_and_a_bad_request_is_not() {
    let Bench { fake, caller, .. } = bench().await;
    *fake.n_busy.lock().expect("whole") = 2;
    let body = json!({"QueueUrl": "http://sqs/1/broken-orders"});
    caller.call(call::Service::Sqs, "GetQueueAttributes", &body).await.expect("the third try");
    let n = || fake.asked.lock().expect("whole").len();
    assert_eq!(n(), 3);
    let body = json!({"QueueUrl": "http://sqs/1/none"});
    let error =
        caller.call(call::Service::Sqs, "GetQueueAttributes", &body).await.expect_err("none");
    assert_eq!((n(), error.is_retryable()), (4, false));
}
