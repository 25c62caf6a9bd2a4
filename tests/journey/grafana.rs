//! What Grafana's Prometheus data source asks, call by call, over series that an agent pushed by remote
//! write; and what a query gets that asks for too much.

use std::time::Duration;

use expect_test::{Expect, expect};
use prost::Message as _;
use serde_json::{Value, json};
use throughline::clock::Clock;
use throughline::normalize::remote_write::message::{
    ExemplarV1, Label, MetadataV1, Sample, SeriesV1,
};

use super::{Daemon, invocation};

fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
    pairs
        .iter()
        .map(|(name, value)| Label { name: (*name).into(), value: (*value).into() })
        .collect()
}

/// A request of version 1: a series a name, ten samples each, every six seconds, rising by one.
fn pushed(base_ms: i64) -> Vec<u8> {
    let mut body = Vec::new();
    let mut field = |number: u8, message: Vec<u8>| {
        body.push(number << 3 | 2);
        prost::encoding::encode_varint(u64::try_from(message.len()).expect("short"), &mut body);
        body.extend(message);
    };
    for (name, region) in [("jobs_total", "a"), ("jobs_total", "b"), ("room.temperature", "a")] {
        let sample = |i: i32| Sample {
            value: f64::from(i),
            timestamp: base_ms - 54_000 + i64::from(i) * 6_000,
            start_timestamp: 0,
        };
        let exemplar =
            ExemplarV1 { labels: labels(&[("trace_id", "abc")]), value: 0.5, timestamp: base_ms };
        let series = SeriesV1 {
            labels: labels(&[("__name__", name), ("cloud.region", region), ("job", "shop")]),
            samples: (0..10).map(sample).collect(),
            exemplars: vec![exemplar],
            ..SeriesV1::default()
        };
        field(1, series.encode_to_vec());
    }
    let metadata = MetadataV1 {
        kind: 1,
        metric_family_name: "jobs_total".into(),
        help: "Jobs done.".into(),
        unit: Vec::new(),
    };
    field(3, metadata.encode_to_vec());
    snap::raw::Encoder::new().compress_vec(&body).expect("memory")
}

/// A daemon with the pushed series applied, and the time of their last samples, in whole seconds.
async fn daemon(dir: &std::path::Path, sets: &[&str]) -> (Daemon, i64) {
    let daemon = Daemon::start(dir, sets).await;
    let base = Clock::wall().now().as_millis() / 1000 - 5;
    let url = format!("http://{}/api/v1/write", daemon.pipeline.addresses().ingest);
    let answer = daemon
        .client
        .post(url)
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .body(pushed(base * 1000))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status().as_u16(), 204);
    assert_eq!(answer.headers()["x-prometheus-remote-write-samples-written"], "30");
    assert_eq!(answer.headers()["x-prometheus-remote-write-exemplars-written"], "3");
    daemon
        .until(
            &format!("/api/v1/query?query=count_over_time(jobs_total[5m])&time={base}"),
            |answer| answer["data"]["result"].as_array().is_some_and(|result| result.len() == 2),
        )
        .await;
    (daemon, base)
}

/// A call as `METHOD path | form body`, and its answer; `BASE` stands for the time of the last samples.
async fn call(daemon: &Daemon, base: i64, call: &str) -> (u16, Value) {
    let call = call.replace("BASE", &base.to_string());
    let (method, rest) = call.split_once(' ').expect("a method");
    let (path, body) = rest.split_once(" | ").unwrap_or((rest, ""));
    let url = format!("http://{}{path}", daemon.pipeline.addresses().web);
    let request = match method {
        "POST" => daemon
            .client
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.to_owned()),
        _ => daemon.client.get(url),
    };
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

async fn check(daemon: &Daemon, base: i64, calls: &[&str], expect: Expect) {
    let mut shown = String::new();
    for one in calls {
        let (status, answer) = call(daemon, base, one).await;
        let answer = answer.to_string().replace(&base.to_string(), "BASE");
        shown.extend([format!("{status} {answer}\n")]);
    }
    expect.assert_eq(&shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_finds_what_it_asks_of_prometheus() {
    let dir = tempfile::tempdir().expect("a folder");
    let (daemon, base) = daemon(dir.path(), &[]).await;
    check(
        &daemon,
        base,
        &[
            "POST /api/v1/query | query=1%2B1&time=4",
            "GET /api/v1/query?query=1%2B1&time=4",
            "POST /api/v1/query_range | query=sum+by+(job)+(jobs_total)&start=BASE.000&end=BASE.000&step=15",
            "GET /api/v1/query_exemplars?query=test&start=BASE000&end=BASE000",
            "GET /api/v1/query_exemplars?query=rate(jobs_total%7Bjob%3D%22shop%22%7D%5B1m%5D)&start=BASE&end=BASE",
            "POST /api/v1/labels | match[]=jobs_total&start=0&end=BASE&limit=40000",
            "GET /api/v1/label/U__cloud_2e_region/values?match[]=jobs_total&limit=40000",
            "GET /api/v1/label/__name__/values?match[]=%7Bjob%3D%22shop%22%7D&limit=1",
            "POST /api/v1/series | match[]={__name__=\"room.temperature\"}&limit=40000",
            "GET /api/v1/metadata?metric=jobs_total",
            "POST /api/v1/query | query={\"room.temperature\"}&time=BASE",
            "GET /api/v1/query?query=rate(%7B%22room.temperature%22%7D%5B1m%5D)&time=BASE",
            "GET /api/v1/query?query=jobs_total&time=BASE&limit=1",
            "POST /api/v1/query | query=sum(&time=4",
            "GET /api/v1/query_range?query=1&start=0&end=20000&step=1",
            "GET /api/v1/series",
            "GET /api/v1/query_range?query=1&start=-1e300&end=1e300&step=1",
        ],
        expect![[r#"
            200 {"data":{"result":[4,"2"],"resultType":"scalar"},"status":"success"}
            200 {"data":{"result":[4,"2"],"resultType":"scalar"},"status":"success"}
            200 {"data":{"result":[{"metric":{"job":"shop"},"values":[[BASE,"18"]]}],"resultType":"matrix"},"status":"success"}
            200 {"data":[],"status":"success"}
            200 {"data":[{"exemplars":[{"labels":{"trace_id":"abc"},"timestamp":BASE.0,"value":"0.5"}],"seriesLabels":{"__name__":"jobs_total","cloud.region":"a","job":"shop"}},{"exemplars":[{"labels":{"trace_id":"abc"},"timestamp":BASE.0,"value":"0.5"}],"seriesLabels":{"__name__":"jobs_total","cloud.region":"b","job":"shop"}}],"status":"success"}
            200 {"data":["__name__","cloud.region","job"],"status":"success"}
            200 {"data":["a","b"],"status":"success"}
            200 {"data":["jobs_total"],"status":"success","warnings":["results truncated due to limit"]}
            200 {"data":[{"__name__":"room.temperature","cloud.region":"a","job":"shop"}],"status":"success"}
            200 {"data":{"jobs_total":[{"help":"Jobs done.","type":"counter","unit":""}]},"status":"success"}
            200 {"data":{"result":[{"metric":{"__name__":"room.temperature","cloud.region":"a","job":"shop"},"value":[BASE,"9"]}],"resultType":"vector"},"status":"success"}
            200 {"data":{"result":[{"metric":{"cloud.region":"a","job":"shop"},"value":[BASE,"0.15"]}],"resultType":"vector"},"infos":["PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"room.temperature\" (1:6)"],"status":"success"}
            200 {"data":{"result":[{"metric":{"__name__":"jobs_total","cloud.region":"a","job":"shop"},"value":[BASE,"9"]}],"resultType":"vector"},"status":"success","warnings":["results truncated due to limit"]}
            400 {"error":"invalid parameter \"query\": 1:5: parse error: unexpected end of input","errorType":"bad_data","status":"error"}
            400 {"error":"exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)","errorType":"bad_data","status":"error"}
            400 {"error":"no match[] parameter provided","errorType":"bad_data","status":"error"}
            400 {"error":"exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)","errorType":"bad_data","status":"error"}
        "#]],
    )
    .await;
    let (status, build) = call(&daemon, base, "GET /api/v1/status/buildinfo").await;
    assert_eq!(status, 200);
    assert!(build["data"]["version"].as_str().is_some_and(|version| version.starts_with('3')));
    assert!(build["data"].get("features").is_none(), "with features Grafana takes us for Mimir");
    for path in ["rules?type=alert", "alerts"] {
        let (status, answer) = call(&daemon, base, &format!("GET /api/v1/{path}")).await;
        assert_eq!((status, &answer["status"]), (200, &Value::from("success")), "{path}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_cannot_mean_is_refused_and_times_and_values_are_prometheus_s() {
    let dir = tempfile::tempdir().expect("a folder");
    let (daemon, base) = daemon(dir.path(), &[]).await;
    let later = base + 400;
    check(
        &daemon,
        base,
        &[
            "POST /api/v1/query | query=time()&time=-10",
            "POST /api/v1/query | query=time()&time=4e10",
            "POST /api/v1/query | query=vector(1e21)&time=4",
            "POST /api/v1/query | query=vector(1e-7)&time=4",
            "POST /api/v1/query_range | query=jobs_total[5m]&start=BASE&end=BASE&step=15",
            "POST /api/v1/query | query=jobs_total[0s]&time=BASE",
            "POST /api/v1/query | query=rate(jobs_total[5m-10m])&time=BASE",
            "POST /api/v1/query | query=rate(jobs_total[step()])&time=BASE",
            &format!("POST /api/v1/query | query=count(jobs_total @ {later})&time=BASE"),
            &format!(
                "POST /api/v1/query | query=count(jobs_total @ {later})&time=BASE&lookback_delta=10m"
            ),
            "POST /api/v1/query | query=jobs_total&time=BASE&lookback_delta=-1s",
            "POST /api/v1/query | query=1&time=BASE&limit=-1",
            "GET /api/v1/query_exemplars?query=jobs_total&start=2&end=1",
            "POST /api/v1/series | match[]={job=shop}",
            "GET /api/v1/metadata?limit=-1&metric=jobs_total",
            "GET /api/v1/rules?exclude_alerts=maybe",
            "POST /api/v1/format_query | query=sum  by(job)  (jobs_total [ 5m ])",
            "POST /api/v1/format_query | query=sum  by(job)  (rate(jobs_total [ 5m ]))",
        ],
        expect![[r#"
            200 {"data":{"result":[-10,"-10"],"resultType":"scalar"},"status":"success"}
            200 {"data":{"result":[40000000000,"40000000000"],"resultType":"scalar"},"status":"success"}
            200 {"data":{"result":[{"metric":{},"value":[4,"1e+21"]}],"resultType":"vector"},"status":"success"}
            200 {"data":{"result":[{"metric":{},"value":[4,"1e-07"]}],"resultType":"vector"},"status":"success"}
            400 {"error":"invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector","errorType":"bad_data","status":"error"}
            400 {"error":"invalid parameter \"query\": 1:11: parse error: duration must be greater than 0","errorType":"bad_data","status":"error"}
            400 {"error":"invalid parameter \"query\": duration must be greater than 0","errorType":"bad_data","status":"error"}
            400 {"error":"invalid parameter \"query\": duration must be greater than 0","errorType":"bad_data","status":"error"}
            200 {"data":{"result":[],"resultType":"vector"},"status":"success"}
            200 {"data":{"result":[{"metric":{},"value":[BASE,"2"]}],"resultType":"vector"},"status":"success"}
            400 {"error":"invalid parameter \"lookback_delta\": cannot parse \"-1s\" to a valid duration","errorType":"bad_data","status":"error"}
            400 {"error":"invalid parameter \"limit\": \"-1\" is not a whole number","errorType":"bad_data","status":"error"}
            400 {"error":"invalid parameter \"end\": end timestamp must not be before start time","errorType":"bad_data","status":"error"}
            400 {"error":"invalid parameter \"match[]\": 1:6: parse error: unexpected identifier \"shop\" in label matching, expected string","errorType":"bad_data","status":"error"}
            200 {"data":{"jobs_total":[{"help":"Jobs done.","type":"counter","unit":""}]},"status":"success"}
            400 {"error":"invalid parameter \"exclude_alerts\": \"maybe\" is neither true nor false","errorType":"bad_data","status":"error"}
            400 {"error":"invalid parameter \"query\": 1:16: parse error: expected type instant vector in aggregation expression, got range vector","errorType":"bad_data","status":"error"}
            200 {"data":"sum by (job) (rate(jobs_total[5m]))","status":"success"}
        "#]],
    )
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_page_by_page_and_by_their_labels() {
    let dir = tempfile::tempdir().expect("a folder");
    let (daemon, base) = daemon(dir.path(), &[]).await;
    let rules =
        async |asked: &str| call(&daemon, base, &format!("GET /api/v1/rules{asked}")).await.1;
    let names = |data: &Value| -> Vec<String> {
        let groups = data["groups"].as_array().expect("groups").iter();
        groups.map(|group| group["name"].to_string()).collect()
    };
    let all = rules("").await["data"].clone();
    let mut paged = Vec::new();
    let mut asked = "?group_limit=1".to_owned();
    loop {
        let page = rules(&asked).await["data"].clone();
        assert_eq!(names(&page).len(), 1);
        paged.extend(names(&page));
        let Some(next) = page["groupNextToken"].as_str() else { break };
        asked = format!("?group_limit=1&group_next_token={next}");
    }
    assert!(paged.len() > 1 && paged == names(&all), "{paged:?}");
    assert_eq!(rules("?group_limit=1&group_next_token=other").await["errorType"], "bad_data");
    assert_eq!(rules("?group_next_token=other").await["errorType"], "bad_data");
    let severities = |data: &Value| -> Vec<Value> {
        let groups = data["groups"].as_array().expect("groups").iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
        rules.map(|rule| rule["labels"]["severity"].clone()).collect()
    };
    let paging = rules("?match[]=%7Bseverity%3D%22page%22%7D").await["data"].clone();
    let wanted: Vec<Value> = severities(&all).into_iter().filter(|s| s == "page").collect();
    assert!(!wanted.is_empty() && wanted.len() < severities(&all).len());
    assert_eq!(severities(&paging), wanted);
    assert_eq!(rules("?type=other").await["errorType"], "bad_data");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_asks_for_too_much_is_told_so_and_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let sets = ["query.samples_max=1000", "query.series_max=2", "query.concurrent_max=1"];
    let (daemon, base) = daemon(dir.path(), &sets).await;
    check(
        &daemon,
        base,
        &[
            "GET /api/v1/query?query=count_over_time(vector(1)%5B1h:1s%5D)&time=BASE",
            "GET /api/v1/query?query=%7Bjob%3D%22shop%22%7D&time=BASE",
            "GET /api/v1/query?query=jobs_total&time=BASE&limit=0",
        ],
        expect![[r#"
            422 {"error":"the query would read more than 1000 samples (query.samples_max); narrow its selectors or its range","errorType":"execution","status":"error"}
            422 {"error":"the query selects more than 2 series (query.series_max); narrow its selectors","errorType":"execution","status":"error"}
            200 {"data":{"result":[{"metric":{"__name__":"jobs_total","cloud.region":"a","job":"shop"},"value":[BASE,"9"]},{"metric":{"__name__":"jobs_total","cloud.region":"b","job":"shop"},"value":[BASE,"9"]}],"resultType":"vector"},"status":"success"}
        "#]],
    )
    .await;
    daemon.stop().await;
    let dir = tempfile::tempdir().expect("a folder");
    let (daemon, base) = self::daemon(dir.path(), &["query.timeout=200ms"]).await;
    let hostile = "count_over_time(count_over_time(vector(1)[40m:1s])[40m:1s])";
    let asked = format!("POST /api/v1/query | query={hostile}&time=BASE");
    let answered = tokio::time::timeout(Duration::from_mins(1), call(&daemon, base, &asked)).await;
    let (status, answer) = answered.expect("it ends");
    assert_eq!((status, &answer["errorType"]), (503, &Value::from("timeout")), "{answer}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_tempo_data_source_finds_a_request_and_opens_it_as_a_trace() {
    let dir = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(dir.path(), &[]).await;
    let said = invocation("r-7", "10:00:00", json!({"correlation_id": "o-7"}));
    assert_eq!(daemon.post("/ingest/aws/telemetry", "checkout", said).await, 200);
    let url = |path: &str| format!("http://{}{path}", daemon.pipeline.addresses().web);
    assert_eq!(
        daemon.client.get(url("/tempo/api/echo")).send().await.expect("an answer").status(),
        200
    );

    let search = "/tempo/api/search?limit=20&spss=3&q=%7Bresource.service.name%3D%22checkout%22%20%26%26%20duration%3E1ms%7D";
    let found = daemon.until(search, |answer| answer["traces"][0]["traceID"].is_string()).await;
    let trace = &found["traces"][0];
    assert_eq!(
        (&trace["rootServiceName"], &trace["rootTraceName"]),
        (&json!("checkout"), &json!("checkout"))
    );
    assert_eq!(trace["durationMs"], 100);
    let none = daemon.get("/tempo/api/search?q=%7Bstatus%3Derror%7D").await;
    assert_eq!(none, (200, json!({"traces": [], "metrics": {}})));
    let (status, refused) = daemon.get("/tempo/api/search?q=%7B%7D%20%7C%20rate()").await;
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("bad_query")));

    let id = trace["traceID"].as_str().expect("an id");
    let (status, told) = daemon.get(&format!("/tempo/api/v2/traces/{id}?start=0&end=9")).await;
    assert_eq!(status, 200);
    let span = &told["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((&span["traceId"], &span["name"]), (&json!(id), &json!("checkout")), "{told}");
    let path = url(&format!("/tempo/api/traces/{id}"));
    let answer = daemon.client.get(path).header("accept", "application/protobuf").send().await;
    let body = answer.expect("an answer").bytes().await.expect("a body");
    let data = opentelemetry_proto::tonic::trace::v1::TracesData::decode(body).expect("a trace");
    assert_eq!(data.resource_spans[0].scope_spans[0].spans[0].name, "checkout");
    assert_eq!(daemon.get("/tempo/api/v2/traces/00000000000000000000000000000001").await.0, 404);
    daemon.stop().await;
}
