//! What senders write as OTLP/JSON and generated readers trip over.

use expect_test::{Expect, expect};

use super::*;

const IDS: &str = r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174""#;

/// A span with `ids`, a time, and whatever is given.
fn check(rest: &str, expect: &Expect) {
    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{IDS},"endTimeUnixNano":"7",{rest}}}]}}]}}]}}"#
    );
    let shown = render(&read_json(&json, OtlpSignal::Traces));
    let short = shown.replace("5b8efff798038103d269b633813fc60c/eee19b7ec3c1b174", "ids");
    expect.assert_eq(short.trim_end());
}

#[test]
fn ids_are_hex_of_either_case() {
    check(
        r#""parentSpanId":"EEE19B7EC3C1B173""#,
        &expect![[r#"span "" Internal 7..7 ids<eee19b7ec3c1b173 []"#]],
    );
    check(r#""parentSpanId":"""#, &expect![[r#"span "" Internal 7..7 ids []"#]]);
    check(r#""parentSpanId":"0000000000000000""#, &expect![[r#"span "" Internal 7..7 ids []"#]]);
    check(r#""parentSpanId":"0x12""#, &expect!["rejected 0: the parent's span id is not 8 bytes"]);
    check(
        r#""parentSpanId":"7uGbfsPBsXM=""#,
        &expect!["rejected 0: the parent's span id is not 8 bytes"],
    );
}

#[test]
fn whole_numbers_are_text_or_numbers() {
    check(
        r#""startTimeUnixNano":3,"attributes":[{"key":"a","value":{"intValue":"-5"}},{"key":"b","value":{"intValue":5}},{"key":"c","value":{"intValue":1e2}}]"#,
        &expect![[r#"span "" Internal 3..7 ids [a=Int(-5), b=Int(5), c=Int(100)]"#]],
    );
    check(
        r#""attributes":[{"key":"a","value":{"intValue":"9223372036854775807"}}]"#,
        &expect![[r#"span "" Internal 7..7 ids [a=Int(9223372036854775807)]"#]],
    );
    check(
        r#""attributes":[{"key":"a","value":{"intValue":"five"}}]"#,
        &expect!["rejected 0: a whole number expected at byte 184"],
    );
}

#[test]
fn enums_are_numbers_or_names() {
    for kind in ["2", "\"2\"", "\"SPAN_KIND_SERVER\"", "\"server\""] {
        check(&format!(r#""kind":{kind}"#), &expect![[r#"span "" Server 7..7 ids []"#]]);
    }
    for code in ["2", "\"STATUS_CODE_ERROR\"", "\"Error\""] {
        check(
            &format!(r#""status":{{"code":{code}}}"#),
            &expect![[r#"span "" Internal 7..7 ids FAILED []"#]],
        );
    }
    check(r#""kind":77"#, &expect![[r#"span "" Internal 7..7 ids []"#]]);
    check(
        r#""kind":"KIND_OF""#,
        &expect!["rejected 0: an enum's number or name expected at byte 146"],
    );
}

#[test]
fn null_is_an_absent_value_everywhere() {
    check(
        r#""name":null,"kind":null,"startTimeUnixNano":null,"parentSpanId":null,"attributes":null,"events":null,"links":null,"status":null,"traceState":null,"flags":null"#,
        &expect![[r#"span "" Internal 7..7 ids []"#]],
    );
    check(
        r#""attributes":[null,{"key":"a","value":null},{"key":"b","value":{"stringValue":null}},{"key":"c"}],"events":[null],"links":[null],"status":{"code":null}"#,
        &expect![[r#"span "" Internal 7..7 ids []"#]],
    );
}

#[test]
fn floats_have_names_for_what_json_cannot_write() {
    check(
        r#""attributes":[{"key":"a","value":{"doubleValue":"NaN"}},{"key":"b","value":{"doubleValue":"-Infinity"}},{"key":"c","value":{"doubleValue":1}},{"key":"d","value":{"doubleValue":"2.5"}}]"#,
        &expect![[
            r#"span "" Internal 7..7 ids [a=Float(NaN), b=Float(-inf), c=Float(1.0), d=Float(2.5)]"#
        ]],
    );
}

#[test]
fn keys_may_be_snake_case() {
    let json = r#"{"resource_spans":[{"scope_spans":[{"spans":[{"trace_id":"5b8efff798038103d269b633813fc60c","span_id":"eee19b7ec3c1b174","parent_span_id":"eee19b7ec3c1b173","start_time_unix_nano":"1","end_time_unix_nano":"2","attributes":[{"key":"a","value":{"string_value":"x"}},{"key":"b","value":{"array_value":{"values":[{"bool_value":true}]}}}]}]}]}]}"#;
    expect![[r#"
        span "" Internal 1..2 5b8efff798038103d269b633813fc60c/eee19b7ec3c1b174<eee19b7ec3c1b173 [a=Str("x"), b=List([Bool(true)])]
    "#]]
    .assert_eq(&render(&read_json(json, OtlpSignal::Traces)));
}

#[test]
fn empty_and_nested_values_are_read() {
    check(
        r#""attributes":[{"key":"a","value":{"arrayValue":{}}},{"key":"b","value":{"kvlistValue":{}}},{"key":"c","value":{}},{"key":"d","value":{"bytesValue":"aGk="}},{"key":"e","value":{"bytesValue":"_-8="}},{"key":"f","value":{"kvlistValue":{"values":[{"key":"g","value":{"arrayValue":{"values":[{"intValue":1},null,{}]}}}]}}}]"#,
        &expect![[
            r#"span "" Internal 7..7 ids [a=List([]), b=Map([]), d=Str("aGk="), e=Str("/+8="), f=Map([("g", List([Int(1)]))])]"#
        ]],
    );
    check(
        r#""attributes":[{"key":"a","value":{"bytesValue":"no base64!"}}]"#,
        &expect!["rejected 0: base64 expected at byte 186"],
    );
}

#[test]
fn unknown_fields_are_skipped_and_of_repeated_keys_the_last_counts() {
    check(
        r#""name":"a","x":{"y":[1,{"z":null}]},"name":"b","kind":1,"kind":3"#,
        &expect![[r#"span "b" Client 7..7 ids []"#]],
    );
}

#[test]
fn a_value_of_a_wrong_type_rejects_its_span_alone() {
    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{IDS},"endTimeUnixNano":1,"name":5}},7,{{{IDS},"endTimeUnixNano":2}},null,{{{IDS},"endTimeUnixNano":3,"attributes":{{"a":1}}}}]}}]}}]}}"#
    );
    expect![[r#"
        span "" Internal 2..2 5b8efff798038103d269b633813fc60c/eee19b7ec3c1b174 []
        rejected 0: text expected at byte 144
        rejected 1: an object expected at byte 147
        rejected 3: the span has no trace id
        rejected 4: a list expected at byte 356
    "#]]
    .assert_eq(&render(&read_json(&json, OtlpSignal::Traces)));
}

#[test]
fn a_wrong_resource_rejects_all_its_spans_and_a_wrong_list_counts_once() {
    let span = format!(r#"{{{IDS},"endTimeUnixNano":1}}"#);
    let json = format!(
        r#"{{"resourceSpans":[
            {{"scopeSpans":[{{"spans":[{span},{span}]}}],"resource":{{"attributes":"x"}}}},
            {{"scopeSpans":[{{"spans":"x"}},{{"spans":[{span}]}}]}},
            {{"scopeSpans":true}},
            5
        ]}}"#
    );
    expect![[r#"
        span "" Internal 1..1 5b8efff798038103d269b633813fc60c/eee19b7ec3c1b174 []
        rejected 0: its resource is wrong: a list expected at byte 274
        rejected 1: its resource is wrong: a list expected at byte 274
        rejected 2: a list expected at byte 317
        rejected 4: a list expected at byte 458
        rejected 5: an object expected at byte 477
    "#]]
    .assert_eq(&render(&read_json(&json, OtlpSignal::Traces)));
}

#[test]
fn a_resource_behind_its_spans_counts() {
    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{IDS},"endTimeUnixNano":1}}]}}],"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}}}}]}}"#
    );
    let read = read_json(&json, OtlpSignal::Traces).unwrap();
    assert_eq!(read.batch.resources[0].service.as_deref(), Some("shop"));
    assert_eq!(read.batch.signals.len(), 1);
}

#[test]
fn what_is_no_request_is_undecodable_with_its_place() {
    let shown: Vec<String> = [
        &b"{\"resourceSpans\":[}"[..],
        b"[]",
        b"",
        b"{\"resourceSpans\":5}",
        b"{\"resourceLogs\":[]}",
        b"{} {}",
        b"{\"a\":\"\xff\"}",
        b"{\"resourceSpans\":[{\"resource\":",
    ]
    .iter()
    .map(|body| render(&read(body, OtlpSignal::Traces, Encoding::Json, &Config::default())))
    .collect();
    expect![[r"
        undecodable at 18: not OTLP/JSON: this begins no JSON value at byte 18
        undecodable at 0: not OTLP/JSON: an object expected
        undecodable at 0: not OTLP/JSON: the JSON ends too early at byte 0
        undecodable at 17: not OTLP/JSON: a list expected at byte 17
        undecodable at 16: not OTLP/JSON: another signal's request: send it to its own path
        undecodable at 3: not OTLP/JSON: text after the end of the JSON at byte 3
        undecodable at 6: not OTLP/JSON: no UTF-8 at byte 6
        undecodable at 30: not OTLP/JSON: the JSON ends too early at byte 30"]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn nesting_beyond_64_is_undecodable() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let json = format!(r#"{{"x":{deep}}}"#);
    expect!["undecodable at 68: not OTLP/JSON: nested too deeply at byte 68"]
        .assert_eq(&render(&read_json(&json, OtlpSignal::Traces)));
}

#[test]
fn an_empty_request_is_nothing() {
    for json in ["{}", r#"{"resourceSpans":[]}"#, r#"{"resourceSpans":null}"#, "\u{feff}{}"] {
        assert_eq!(render(&read_json(json, OtlpSignal::Traces)), "", "{json}");
    }
}

fn check_logs(records: &str, expect: &Expect) {
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#);
    expect.assert_eq(&render(&read_json(&json, OtlpSignal::Logs)));
}

#[test]
fn log_records_take_the_best_time_severity_and_body() {
    check_logs(
        r#"{"timeUnixNano":"5","observedTimeUnixNano":"6","severityNumber":"SEVERITY_NUMBER_ERROR2","severityText":"warn","body":{"stringValue":"hi"}},
           {"observedTimeUnixNano":6,"severityText":"Warning","body":{"intValue":"7"}},
           {"severityNumber":9,"body":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":1}}]}}},
           {"body":{"stringValue":"{\"level\":\"error\",\"message\":\"x\"}"}},
           {},
           {"body":"text"}"#,
        &expect![[r#"
            log 5 Some(Error) "hi" []
            log 6 Some(Warn) "7" []
            log 9000000000 Some(Info) "{\"a\":1}" []
            log 9000000000 Some(Error) "{\"level\":\"error\",\"message\":\"x\"}" []
            log 9000000000 None "" []
            rejected 5: an object expected at byte 492
        "#]],
    );
}

#[test]
fn the_metric_traps_reject_their_points_and_never_the_metric_in_silence() {
    let json = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
        {"name":"a","sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","isMonotonic":true,"dataPoints":[{"timeUnixNano":"5","asInt":"3","attributes":null}]}},
        {"name":"b","gauge":{"dataPoints":[{"timeUnixNano":5,"asDouble":"NaN"},{"timeUnixNano":5,"asDouble":"Infinity"},{"timeUnixNano":5,"asDouble":"lots"},{"timeUnixNano":5},{"asInt":1}]}},
        {"name":"c","histogram":{"aggregationTemporality":"1","dataPoints":[{"timeUnixNano":5,"count":"3","sum":"Infinity","bucketCounts":["1",2],"explicitBounds":["0.5"]},null]}},
        {"name":"d","histogram":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":5,"count":3,"sum":null,"bucketCounts":[],"explicitBounds":[],"flags":"0"}]}},
        {"name":"e","sum":"Infinity"},
        {"name":"f"},
        {"name":"g","sum":{"aggregationTemporality":"OFTEN","dataPoints":[{},{}]}},
        {"name":7,"gauge":{"dataPoints":[{"timeUnixNano":5,"asInt":1}]}},
        {"name":"h","exponential_histogram":{"aggregation_temporality":2,"data_points":[{"time_unix_nano":5,"count":"4","scale":"3","zero_count":"1","positive":{"offset":-2,"bucket_counts":["1","2"]}}]}}
    ]}]}]}"#;
    expect![[r#"
        a_total @5: sum 3 Cumulative monotonic
        b @5: gauge NaN
        b @5: gauge inf
        c @5: histogram n=3 sum=inf [0.5] [1, 2] Delta
        d @5: histogram n=3 sum=NaN [] [3] Delta
        h @5: exponential n=4 sum=NaN scale=3 zero=1 +-2[1, 2] Cumulative
        about a_total: Counter "" ""
        about b: Gauge "" ""
        about c: Histogram "" ""
        about d: Histogram "" ""
        about h: Histogram "" ""
        rejected 3: b: a number expected at byte 376
        rejected 4: b: the point has no value
        rejected 5: b: the point has no time
        rejected 7: c: the point has no time
        rejected 9: e: an object expected at byte 794
        rejected 10: f: the metric has no data of a known type
        rejected 11: g: an enum's number or name expected at byte 881
        rejected 12: g: an enum's number or name expected at byte 881
        rejected 13: text expected at byte 929
    "#]]
    .assert_eq(&render(&read_json(json, OtlpSignal::Metrics)));
}
