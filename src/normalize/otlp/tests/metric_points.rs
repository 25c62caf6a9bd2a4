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
        &expect![[r"
            g @5: stale
            s @5: stale
            h @5: stale
        "]],
    );
}

#[test]
fn a_summarys_point_is_one_signal_with_its_quantiles() {
    check(
        "",
        r#"{"name":"rpc.duration","unit":"s","summary":{"dataPoints":[{"timeUnixNano":5,"count":"3","sum":1.5,"quantileValues":[{},{"quantile":0.99,"value":0.7},{"quantile":1,"value":0.9}]},{"timeUnixNano":6,"flags":1}]}}"#,
        &expect![[r"
            rpc_duration_seconds @5: summary n=3 sum=1.5 [(0.0, 0.0), (0.99, 0.7), (1.0, 0.9)]
            rpc_duration_seconds @6: summary n=NaN sum=NaN []
        "]],
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
        &expect![[r"
            h @5: histogram n=3 sum=1 [0.5] [1, 2] Cumulative
            e @5: exponential n=3 sum=1 scale=2 zero=1 +-1[1, 1] Delta
            rejected 1: h: 1 bucket counts do not fit 1 bounds
            rejected 2: h: the count 4 is not the 3 of the buckets
            rejected 3: h: the bounds do not rise
            rejected 4: h: the bounds do not rise
            rejected 6: e: scale 21 is out of range
            rejected 7: e: the count 3 is not the 0 of the buckets
            rejected 8: e: bucket offset 2147483647 is out of range
            rejected 9: u: the aggregation temporality is not told
        "]],
    );
}

proptest! {
    #[test]
    fn no_bytes_panic_and_truncated_metrics_are_undecodable_or_less(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, OtlpSignal::Metrics, Encoding::Protobuf, &Config::default());
    }
}
