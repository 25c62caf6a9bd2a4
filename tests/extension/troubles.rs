//! What goes wrong around an extension.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::runtime::{Destination, Environment, Extension, done, log, start};
use super::{LONG, ON_DEMAND, holds, told};

#[tokio::test]
async fn a_retried_batch_is_the_same_batch() {
    let environment = Environment::start(&ON_DEMAND).await;
    let destination = Destination::start().await;
    destination.answer(&[503, 429, 503]);
    let url = format!("http://{}", destination.address);
    let extension = Extension::start(&environment, &url, &[]);
    environment.next(1).await;
    environment.invoke("a", LONG).await;
    let first = json!([start("a"), log("a", "hello"), done("a")]);
    environment.post(first.clone()).await;
    destination.until("third try", |posts| holds(posts, "platform.start a")).await;
    // The platform itself posts a batch again whose answer it lost.
    environment.post(first).await;
    environment.next(2).await;
    environment.shut_down("SPINDOWN").await;
    extension.ended().await;
    let posts = destination.posts();
    let statuses: Vec<u16> = posts.iter().map(|post| post.answered).collect();
    assert_eq!(statuses, [503, 429, 503, 200]);
    let key = posts[0].header("idempotency-key");
    assert!(posts.iter().all(|post| post.header("idempotency-key") == key));
    assert!(posts.iter().all(|post| post.body == posts[0].body));
}

#[tokio::test]
async fn a_slow_destination_keeps_the_environment_no_longer_than_it_may() {
    let environment = Environment::start(&ON_DEMAND).await;
    let destination = Destination::start().await;
    destination.delay(Duration::from_millis(1500));
    let url = format!("http://{}", destination.address);
    let flush = [("THROUGHLINE_FLUSH_TIMEOUT_MS", "200")];
    let extension = Extension::start(&environment, &url, &flush);
    environment.next(1).await;
    environment.invoke("a", LONG).await;
    environment.post(json!([start("a"), done("a")])).await;
    let ended = Instant::now();
    let kept = environment.next(2).await.duration_since(ended);
    assert!(kept < Duration::from_millis(1200), "{kept:?}");
    assert!(destination.accepted().is_empty());
    // It arrives all the same, and once.
    destination.until("batch", |posts| holds(posts, "platform.runtimeDone a")).await;
    assert_eq!(told(&destination.accepted()), ["platform.start a", "platform.runtimeDone a"]);
    drop(extension);
}

#[tokio::test]
async fn what_a_dead_destination_misses_over_invocations_arrives_when_it_is_back() {
    let environment = Environment::start(&ON_DEMAND).await;
    let destination = Destination::start().await;
    destination.answer(&[503; 1000]);
    let url = format!("http://{}", destination.address);
    let extension = Extension::start(&environment, &url, &[]);
    environment.next(1).await;
    for (idx, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        environment.invoke(id, LONG).await;
        environment.post(json!([start(id), log(id, "hello"), done(id)])).await;
        environment.next(idx + 2).await;
    }
    destination.answer(&[]);
    environment.invoke("e", LONG).await;
    environment.post(json!([start("e"), done("e")])).await;
    let posts =
        destination.until("invocation", |posts| holds(posts, "platform.runtimeDone e")).await;
    let mut expected = Vec::new();
    for id in ["a", "b", "c", "d"] {
        let events = ["platform.start", "function", "platform.runtimeDone"];
        expected.extend(events.map(|event| format!("{event} {id}")));
    }
    expected.extend(["platform.start e".to_owned(), "platform.runtimeDone e".to_owned()]);
    assert_eq!(told(&posts), expected);
    drop(extension);
}

#[tokio::test]
async fn at_the_bound_the_platforms_events_stay_and_the_loss_is_told() {
    let environment = Environment::start(&ON_DEMAND).await;
    let destination = Destination::start().await;
    destination.answer(&[503; 1000]);
    let url = format!("http://{}", destination.address);
    let bound = [("THROUGHLINE_SPILL_BYTES", "65536")];
    let extension = Extension::start(&environment, &url, &bound);
    environment.next(1).await;
    let long = "x".repeat(10_000);
    for n in 0..10 {
        let id = format!("i{n}");
        environment.invoke(&id, LONG).await;
        assert_eq!(environment.post(json!([start(&id), log(&id, &long), done(&id)])).await, 200);
        environment.next(n + 2).await;
    }
    destination.answer(&[]);
    environment.shut_down("SPINDOWN").await;
    let (code, stderr) = extension.ended().await;
    assert_eq!(code, Some(0));
    let posts = destination.accepted();
    for n in 0..10 {
        assert!(holds(&posts, &format!("platform.runtimeDone i{n}")), "{n}: {:?}", told(&posts));
    }
    let events: Vec<_> = posts.iter().flat_map(super::runtime::Post::events).collect();
    let n_logs = events.iter().filter(|event| event["type"] == "function").count();
    let dropped: u64 = events
        .iter()
        .filter(|event| event["type"] == "platform.logsDropped")
        .filter_map(|event| event["record"]["droppedRecords"].as_u64())
        .sum();
    assert!(dropped > 0);
    assert_eq!(u64::try_from(n_logs).expect("few") + dropped, 10);
    assert!(stderr.contains("extension.destination.failed"), "{stderr}");
}

#[tokio::test]
async fn shutdown_sends_what_waits_within_two_seconds() {
    let environment = Environment::start(&ON_DEMAND).await;
    let destination = Destination::start().await;
    destination.answer(&[503, 503]);
    let url = format!("http://{}", destination.address);
    let extension = Extension::start(&environment, &url, &[]);
    environment.next(1).await;
    environment.invoke("a", LONG).await;
    environment.post(json!([start("a"), done("a")])).await;
    environment.next(2).await;
    let began = environment.shut_down("SPINDOWN").await;
    // The platform's last batch comes after the event.
    environment.post(json!([super::report("a")])).await;
    let (code, stderr) = extension.ended().await;
    let took = began.elapsed();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(holds(&destination.accepted(), "platform.report a"));
}

#[tokio::test]
async fn a_shutdown_without_a_destination_ends_in_time_and_says_what_is_lost() {
    let environment = Environment::start(&ON_DEMAND).await;
    // Nobody listens there.
    let nobody = super::free_port();
    let extension = Extension::start(&environment, &format!("http://{nobody}"), &[]);
    environment.next(1).await;
    environment.invoke("a", LONG).await;
    environment.post(json!([start("a"), log("a", "hello"), done("a")])).await;
    environment.next(2).await;
    let began = environment.shut_down("FAILURE").await;
    let (code, stderr) = extension.ended().await;
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    assert_eq!(code, Some(0));
    let lost = stderr.lines().find(|line| line.contains("extension.signals.dropped"));
    let lost: serde_json::Value = serde_json::from_str(lost.expect("a line")).expect("JSON");
    assert_eq!((&lost["records"], &lost["reason"]), (&json!(3), &json!("FAILURE")));
}

#[tokio::test]
async fn a_subscription_that_is_refused_leaves_otlp_and_the_function_alone() {
    let environment = Environment::start(&[]).await;
    let destination = Destination::start().await;
    let otlp = super::free_port();
    let ports = format!("{},{}", otlp.port(), super::free_port().port());
    let url = format!("http://{}", destination.address);
    let extension = Extension::start(&environment, &url, &[("THROUGHLINE_OTLP", &ports)]);
    environment.next(1).await;
    let schemas: Vec<_> = environment
        .seen()
        .subscriptions
        .iter()
        .map(|wanted| wanted["schemaVersion"].clone())
        .collect();
    assert_eq!(schemas, ["2022-12-13", "2025-01-29"]);
    let client = reqwest::Client::new();
    let export =
        client.post(format!("http://{otlp}/v1/traces")).json(&json!({"resourceSpans": []}));
    assert_eq!(export.send().await.expect("an answer").status(), 200);
    // Without telemetry nobody tells when an invocation ends: the environment is not kept for it.
    environment.invoke("a", LONG).await;
    environment.next(2).await;
    assert_eq!(destination.accepted().len(), 1);
    environment.shut_down("SPINDOWN").await;
    let (code, stderr) = extension.ended().await;
    assert_eq!(code, Some(0));
    assert!(stderr.contains("schemaVersion is not supported"), "{stderr}");
}

#[tokio::test]
async fn managed_instances_are_registered_and_subscribed_in_their_way() {
    let environment = Environment::start(&["2025-01-29"]).await;
    let destination = Destination::start().await;
    let url = format!("http://{}", destination.address);
    let managed = [("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances")];
    let extension = Extension::start(&environment, &url, &managed);
    environment.next(1).await;
    assert_eq!(environment.seen().registered, Some(json!(["SHUTDOWN"])));
    assert_eq!(environment.seen().subscriptions.len(), 1);
    // Invocations overlap and no event tells of them: batches go out as they come.
    environment.post(json!([start("a"), start("b"), done("b")])).await;
    destination.until("batch", |posts| holds(posts, "platform.runtimeDone b")).await;
    drop(extension);
}

#[tokio::test]
async fn settings_that_cannot_be_used_leave_the_function_alone() {
    let environment = Environment::start(&ON_DEMAND).await;
    let extension = Extension::start(&environment, "ftp://nowhere", &[]);
    environment.next(1).await;
    environment.invoke("a", LONG).await;
    environment.next(2).await;
    environment.shut_down("SPINDOWN").await;
    let (code, stderr) = extension.ended().await;
    assert_eq!(code, Some(0));
    assert!(stderr.contains("THROUGHLINE_URL is no http or https address"), "{stderr}");
    assert!(environment.seen().subscriptions.is_empty());
}

#[tokio::test]
async fn an_invocation_that_never_ends_keeps_the_environment_until_its_deadline() {
    let environment = Environment::start(&ON_DEMAND).await;
    let destination = Destination::start().await;
    let url = format!("http://{}", destination.address);
    let extension = Extension::start(&environment, &url, &[]);
    environment.next(1).await;
    environment.invoke("a", Duration::from_secs(1)).await;
    environment.post(json!([start("a"), log("a", "hello")])).await;
    environment.next(2).await;
    assert_eq!(told(&destination.accepted()), ["platform.start a", "function a"]);
    drop(extension);
}

#[tokio::test]
async fn a_large_post_goes_through_whole_and_a_rejected_batch_is_told() {
    let environment = Environment::start(&ON_DEMAND).await;
    let destination = Destination::start().await;
    destination.answer(&[413]);
    let url = format!("http://{}", destination.address);
    let extension = Extension::start(&environment, &url, &[]);
    environment.next(1).await;
    environment.invoke("a", LONG).await;
    // Twice `maxBytes` and some more, as the platform may post.
    let long = "x".repeat(2_500_000);
    assert_eq!(environment.post(json!([start("a"), log("a", &long)])).await, 200);
    destination.until("report", |posts| holds(posts, "platform.logsDropped")).await;
    assert_eq!(environment.post(json!([log("a", &long), done("a")])).await, 200);
    let posts = destination.until("log", |posts| holds(posts, "function a")).await;
    let dropped = posts.iter().flat_map(super::runtime::Post::events).find_map(|event| {
        (event["type"] == "platform.logsDropped").then(|| event["record"].clone())
    });
    let dropped = dropped.expect("a report");
    assert_eq!(dropped["droppedRecords"], 2);
    assert!(dropped["reason"].as_str().is_some_and(|reason| reason.contains("rejected")));
    drop(extension);
}
