//! Metric points as series.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn check(resource: &str, metric: &str, expect: &Expect) {
    let json = format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{resource}]}},"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#
    );
    expect.assert_eq(&render(&read_json(&json, OtlpSignal::Metrics)));
}

fn text(key: &str, value: &str) -> String {
    format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#)
}

#[test]
fn series_have_prometheus_names_and_the_resource_as_job_and_instance() {
    let resource = [
        text("service.namespace", "shop"),
        text("service.name", "checkout"),
        text("service.instance.id", "i-1"),
        text("faas.instance", "env-1"),
    ];
    check(
        &resource.join(","),
        &format!(
            r#"{{"name":"http.server.requests","unit":"{{request}}","sum":{{"isMonotonic":true,"aggregationTemporality":2,"dataPoints":[{{"startTimeUnixNano":1,"timeUnixNano":5,"asInt":7,"attributes":[{},{},{},{}]}}]}}}}"#,
            text("http.route", "/a"),
            text("b.c", "1"),
            text("b_c", "2"),
            text("job", "mine"),
        ),
        &expect![[r#"
            http_server_requests_total{b_c="1;2", http_route="/a", instance="i-1", job="shop/checkout"} @5 since 1: sum 7 Cumulative monotonic
            about http_server_requests_total: Counter "" ""
            target_info{faas_instance="env-1", instance="i-1", job="shop/checkout"} @0
        "#]],
    );
    check(
        &text("faas.instance", "env-1"),
        &format!(
            r#"{{"name":"queue.size","gauge":{{"dataPoints":[{{"timeUnixNano":5,"asDouble":1.5,"attributes":[{}]}}]}}}}"#,
            text("__name__", "evil"),
        ),
        &expect![[r#"
            queue_size{instance="env-1"} @5: gauge 1.5
            about queue_size: Gauge "" ""
        "#]],
    );
}

#[test]
fn metrics_are_described_under_the_names_of_their_series() {
    check(
        "",
        r#"{"name":"my.gauge","unit":"By","description":"d","gauge":{"dataPoints":[{"timeUnixNano":5,"asInt":1},{"timeUnixNano":6,"asInt":2}]}},
           {"name":"my_gauge","unit":"By","description":"other","gauge":{"dataPoints":[{"timeUnixNano":7,"asInt":1}]}},
           {"name":"rise","sum":{"isMonotonic":true,"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":5,"asInt":1}]}},
           {"name":"level","description":"may fall","sum":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":5,"asInt":1}]}},
           {"name":"bad","description":"no point is good","gauge":{"dataPoints":[{"asInt":1}]}}"#,
        &expect![[r#"
            my_gauge_bytes @5: gauge 1
            my_gauge_bytes @6: gauge 2
            my_gauge_bytes @7: gauge 1
            rise_total @5: sum 1 Delta monotonic
            level @5: sum 1 Cumulative
            about my_gauge_bytes: Gauge "d" "bytes"
            about rise_total: Counter "" ""
            about level: Gauge "may fall" ""
            rejected 5: bad: the point has no time
        "#]],
    );
}

#[test]
fn a_point_without_a_recorded_value_ends_its_series() {
    check(
        "",
        r#"{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":5,"flags":1}]}},
           {"name":"s","sum":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":5,"flags":1}]}},
           {"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":5,"flags":1}]}}"#,
        &expect![[r#"
            g @5: stale
            s @5: stale
            h @5: stale
            about g: Gauge "" ""
            about s: Gauge "" ""
            about h: Histogram "" ""
        "#]],
    );
}

#[test]
fn a_summarys_point_is_one_signal_with_its_quantiles() {
    check(
        "",
        r#"{"name":"rpc.duration","unit":"s","summary":{"dataPoints":[{"timeUnixNano":5,"count":"3","sum":1.5,"quantileValues":[{},{"quantile":0.99,"value":0.7},{"quantile":1,"value":0.9}]},{"timeUnixNano":6,"flags":1}]}}"#,
        &expect![[r#"
            rpc_duration_seconds @5: summary n=3 sum=1.5 [(0.0, 0.0), (0.99, 0.7), (1.0, 0.9)]
            rpc_duration_seconds @6: summary n=NaN sum=NaN []
            about rpc_duration_seconds: Summary "" "seconds"
        "#]],
    );
}

#[test]
fn histograms_that_cannot_be_right_are_rejected_point_by_point() {
    check(
        "",
        r#"{"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[
             {"timeUnixNano":5,"count":3,"sum":1,"bucketCounts":[1,2],"explicitBounds":[0.5]},
             {"timeUnixNano":5,"count":3,"bucketCounts":[3],"explicitBounds":[0.5]},
             {"timeUnixNano":5,"count":4,"bucketCounts":[1,2],"explicitBounds":[0.5]},
             {"timeUnixNano":5,"count":3,"bucketCounts":[1,1,1],"explicitBounds":[2,1]},
             {"timeUnixNano":5,"count":1,"bucketCounts":[1,0],"explicitBounds":["NaN"]}]}},
           {"name":"e","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[
             {"timeUnixNano":5,"count":3,"sum":1,"scale":2,"zeroCount":1,"positive":{"offset":-1,"bucketCounts":[1,1]}},
             {"timeUnixNano":5,"count":3,"scale":21},
             {"timeUnixNano":5,"count":3,"scale":2},
             {"timeUnixNano":5,"count":1,"scale":2,"negative":{"offset":2147483647,"bucketCounts":[1]}}]}},
           {"name":"u","histogram":{"dataPoints":[{"timeUnixNano":5,"count":0}]}}"#,
        &expect![[r#"
            h @5: histogram n=3 sum=1 [0.5] [1, 2] Cumulative
            e @5: exponential n=3 sum=1 scale=2 zero=1 +-1[1, 1] Delta
            about h: Histogram "" ""
            about e: Histogram "" ""
            rejected 1: h: 1 bucket counts do not fit 1 bounds
            rejected 2: h: the count 4 is not the 3 of the buckets
            rejected 3: h: the bounds do not rise
            rejected 4: h: the bounds do not rise
            rejected 6: e: scale 21 is out of range
            rejected 7: e: the count 3 is not the 0 of the buckets
            rejected 8: e: bucket offset 2147483647 is out of range
            rejected 9: u: the aggregation temporality is not told
        "#]],
    );
}

proptest! {
    #[test]
    fn no_bytes_panic_and_truncated_metrics_are_undecodable_or_less(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, OtlpSignal::Metrics, Encoding::Protobuf, &Config::default());
    }
}

#[test]
fn exemplars_belong_to_the_series_that_people_look_at() {
    let exemplar = |value: &str, more: &str| {
        format!(
            r#"{{"timeUnixNano":"5000000","spanId":"0102030405060708","traceId":"0102030405060708090a0b0c0d0e0f10",{value}{more}}}"#
        )
    };
    let attribute = |value: &str| format!(r#","filteredAttributes":[{}]"#, text("user.id", value));
    let exemplars = [
        exemplar(r#""asDouble":0.25"#, &attribute("u1")),
        exemplar(r#""asInt":"7""#, &attribute(&"long ".repeat(30))),
        exemplar(r#""asDouble":1"#, "").replace("5000000", "0"),
        exemplar(r#""asDouble":1"#, "").replace("5000000", "999000000000000"),
        exemplar(r#""other":1"#, ""),
    ];
    let exemplars = exemplars.join(",");
    check(
        "",
        &format!(
            r#"{{"name":"h","histogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":5000000,"count":2,"sum":7.25,"explicitBounds":[0.25,1],"bucketCounts":[1,0,1],"exemplars":[{exemplars}]}}]}}}},
               {{"name":"c","sum":{{"isMonotonic":true,"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":5000000,"asInt":2,"exemplars":[{exemplars}]}}]}}}}"#
        ),
        &expect![[r#"
            h @5000000: histogram n=2 sum=7.25 [0.25, 1.0] [1, 0, 1] Cumulative
            c_total @5000000: sum 2 Cumulative monotonic
            exemplar of h_bucket{le="0.25"}: 0102030405060708090a0b0c0d0e0f10 {span_id="0102030405060708", user_id="u1"} 0.25@5
            exemplar of h_bucket{le="+Inf"}: 0102030405060708090a0b0c0d0e0f10 {span_id="0102030405060708"} 7@5
            about h: Histogram "" ""
            exemplar of c_total: 0102030405060708090a0b0c0d0e0f10 {span_id="0102030405060708", user_id="u1"} 0.25@5
            exemplar of c_total: 0102030405060708090a0b0c0d0e0f10 {span_id="0102030405060708"} 7@5
            about c_total: Counter "" ""
        "#]],
    );
}

#[test]
fn what_a_resource_says_beside_its_name_is_target_info() {
    let resource = [
        text("service.name", "checkout"),
        text("service.instance.id", "i-1"),
        text("cloud.region", "eu-central-1"),
        text("deployment.environment.name", "prod"),
    ];
    let gauge = |name: &str, time: &str| {
        format!(
            r#"{{"name":"{name}","gauge":{{"dataPoints":[{{"timeUnixNano":{time},"asInt":1}}]}}}}"#
        )
    };
    let metrics = [gauge("a", "7000000"), gauge("b", "8000000"), gauge("c", "6000000")].join(",");
    check(
        &resource.join(","),
        &metrics,
        &expect![[r#"
            a{instance="i-1", job="checkout"} @7000000: gauge 1
            b{instance="i-1", job="checkout"} @8000000: gauge 1
            c{instance="i-1", job="checkout"} @6000000: gauge 1
            about a: Gauge "" ""
            about b: Gauge "" ""
            about c: Gauge "" ""
            target_info{cloud_region="eu-central-1", deployment_environment_name="prod", instance="i-1", job="checkout"} @8
        "#]],
    );
    // It says no more than its name, or has none.
    check(
        &text("service.name", "checkout"),
        &gauge("a", "7000000"),
        &expect![[r#"
            a{job="checkout"} @7000000: gauge 1
            about a: Gauge "" ""
        "#]],
    );
    check(
        &text("cloud.region", "eu-central-1"),
        &gauge("a", "7000000"),
        &expect![[r#"
            a @7000000: gauge 1
            about a: Gauge "" ""
        "#]],
    );
}

#[test]
fn samples_that_nothing_would_keep_are_refused() {
    let month = 30 * 24 * 3600 * 1_000_000_000_u64;
    let origin = Origin { arrived: Timestamp::from_nanos(2 * month), ..Origin::default() };
    let told = |nanos: u64| {
        let json = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"g","gauge":{{"dataPoints":[{{"timeUnixNano":"{nanos}","asInt":1}}]}}}}]}}]}}]}}"#
        );
        let body = Body {
            bytes: json.as_bytes(),
            signal: OtlpSignal::Metrics,
            encoding: Encoding::Json,
            receiver: Receiver::OtlpHttp,
        };
        let read = normalize(&body, &origin, &Config::default()).unwrap();
        read.rejections.first().map(|rejection| rejection.message.clone())
    };
    assert_eq!(told(month), None);
    assert_eq!(
        told(month - 1).as_deref(),
        Some(
            "g: the time 1970-01-30T23:59:59.999999999Z is too old: samples are kept for 720 hours"
        )
    );
    assert_eq!(told(2 * month + 600_000_000_000), None);
    assert!(told(2 * month + 600_000_000_001).is_some_and(|why| why.ends_with("10 minutes ahead")));
}
