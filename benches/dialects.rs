//! Lines and bytes a CPU second of every dialect, beside `serde_json` to `Value` over the same bytes in
//! the same run; `cargo bench --bench dialects` prints the table.
//!
//! Each dialect reads a body of about a megabyte of typical records, again and again for a second. The
//! floor reads the same text into `Value`s: for packed envelopes the text inside them, unpacked before;
//! for protobuf there is none, so the same request as OTLP/JSON stands in. `DIALECT_MS` changes how long
//! each runs. Nothing here fails for being slow.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a program that measures and prints, outside the daemon"
)]

use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use throughline::normalize::otlp::{self, Encoding, OtlpSignal};
use throughline::normalize::{
    Config, Normalized, Origin, azure_records, cloudflare, cloudwatch_logs, firehose, json_log,
    lambda_telemetry, metric_stream, pubsub, vercel, xray,
};
use throughline::signal::{Receiver, Timestamp};

const N: usize = 4_000;
const UNPACKED_MAX: usize = 64 << 20;

type Read = fn(&[u8], &Origin, &Config) -> Normalized;

/// A dialect: its name, a body, the text for the floor, and how it is read.
struct Dialect {
    name: &'static str,
    body: Vec<u8>,
    text: Vec<u8>,
    read: Read,
}

fn main() {
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let ms = std::env::var("DIALECT_MS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let each = Duration::from_millis(ms);
    let arrived = Timestamp::parse_rfc3339("2026-11-25T10:00:10Z").expect("a time");
    let origin = Origin { arrived, function: Some("checkout".to_owned()), ..Origin::default() };
    let config = Config::default();
    println!("| dialect | signals a s | MB a s | Value: MB a s | ratio |");
    println!("|---|---:|---:|---:|---:|");
    for dialect in dialects() {
        let normalized = (dialect.read)(&dialect.body, &origin, &config);
        assert!(
            normalized.rejections.is_empty(),
            "{}: {:?}",
            dialect.name,
            normalized.rejections.first()
        );
        let n_signals = normalized.batch.signals.len();
        let own = rate(each, || {
            black_box((dialect.read)(black_box(&dialect.body), &origin, &config));
        });
        let floor = rate(each, || values(black_box(&dialect.text)));
        let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        let megabytes = count(dialect.text.len()) / 1e6;
        println!(
            "| {} | {:.0} | {:.1} | {:.1} | {:.2} |",
            dialect.name,
            count(n_signals) * own,
            megabytes * own,
            megabytes * floor,
            floor / own,
        );
    }
}

/// Runs a second, on one thread that nobody waits for: runs a second of its CPU time.
fn rate(each: Duration, mut run: impl FnMut()) -> f64 {
    run();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut n = 0_u32;
    while began.elapsed() < each {
        run();
        n += 1;
    }
    f64::from(n) / (cpu_seconds() - cpu).max(1e-9)
}

/// CPU time of this thread, by the kernel's own account, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos: f64 = stat.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    nanos / 1e9
}

fn values(text: &[u8]) {
    for value in serde_json::Deserializer::from_slice(text).into_iter::<serde_json::Value>() {
        black_box(value.expect("JSON"));
    }
}

fn lines(line: impl Fn(usize) -> String) -> Vec<u8> {
    (0..N).map(|n| line(n) + "\n").collect::<String>().into_bytes()
}

fn array(line: impl Fn(usize) -> String) -> Vec<u8> {
    format!("[{}]", (0..N).map(line).collect::<Vec<_>>().join(",")).into_bytes()
}

fn plain(name: &'static str, body: Vec<u8>, read: Read) -> Dialect {
    Dialect { name, text: body.clone(), body, read }
}

fn log_line(n: usize) -> String {
    format!(
        r#"{{"timestamp":"2026-11-25T10:00:{:02}.123Z","level":"INFO","requestId":"8f507cfc-xmpl-4697-b07a-{n:012}","message":"order taken","correlation_id":"o-{n}","service":"shop","location":"app.handler:17","cold_start":false,"function_name":"checkout","function_memory_size":512,"amount":12.5,"items":["a","b"]}}"#,
        n % 10
    )
}

fn cloudwatch_payload() -> Vec<u8> {
    let event = |n: usize| {
        let message = serde_json::Value::String(log_line(n));
        format!(r#"{{"id":"{n:056}","timestamp":1795600801123,"message":{message}}}"#)
    };
    let events = (0..N).map(event).collect::<Vec<_>>().join(",");
    format!(r#"{{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"/aws/lambda/checkout","logStream":"2026/11/25/[$LATEST]ab","subscriptionFilters":["x"],"logEvents":[{events}]}}"#).into_bytes()
}

fn packed(plain: &[u8]) -> String {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).expect("memory");
    base64::engine::general_purpose::STANDARD.encode(encoder.finish().expect("memory"))
}

fn spans() -> ExportTraceServiceRequest {
    let text =
        |text: &str| Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
    let attribute =
        |key: String, value: &str| KeyValue { key, value: text(value), ..KeyValue::default() };
    let span = |n: usize| Span {
        trace_id: u128::try_from(n + 1).expect("small").to_be_bytes().to_vec(),
        span_id: u64::try_from(n + 1).expect("small").to_be_bytes().to_vec(),
        name: "GET /orders".to_owned(),
        kind: 3,
        start_time_unix_nano: 1_795_600_800_000_000_000,
        end_time_unix_nano: 1_795_600_800_100_000_000,
        attributes: (0..12)
            .map(|a| attribute(format!("app.attribute.{a}"), "a value of some length"))
            .collect(),
        ..Span::default()
    };
    let scope_spans =
        vec![ScopeSpans { spans: (0..N).map(span).collect(), ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

/// The same in OTLP/JSON.
fn spans_json() -> Vec<u8> {
    let attribute = |a: usize| {
        format!(
            r#"{{"key":"app.attribute.{a}","value":{{"stringValue":"a value of some length"}}}}"#
        )
    };
    let attributes = (0..12).map(attribute).collect::<Vec<_>>().join(",");
    let span = |n: usize| {
        format!(
            r#"{{"traceId":"{:032x}","spanId":"{:016x}","name":"GET /orders","kind":3,"startTimeUnixNano":"1795600800000000000","endTimeUnixNano":"1795600800100000000","attributes":[{attributes}]}}"#,
            n + 1,
            n + 1
        )
    };
    let spans = String::from_utf8(array(span)).expect("text");
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":{spans}}}]}}]}}"#).into_bytes()
}

fn otlp_read(bytes: &[u8], encoding: Encoding, origin: &Origin, config: &Config) -> Normalized {
    let body =
        otlp::Body { bytes, signal: OtlpSignal::Traces, encoding, receiver: Receiver::OtlpHttp };
    otlp::normalize(&body, origin, config).expect("spans")
}

fn dialects() -> Vec<Dialect> {
    let mut all = vec![
        plain("JSON logs", lines(log_line), |b, o, c| json_log::normalize(b, o, c).expect("logs")),
        plain(
            "Telemetry API",
            array(|n| {
                format!(
                    r#"{{"time":"2026-11-25T10:00:00.{:03}Z","type":"platform.report","record":{{"requestId":"8f507cfc-xmpl-4697-b07a-{n:012}","status":"success","metrics":{{"durationMs":20.5,"billedDurationMs":21,"memorySizeMB":512,"maxMemoryUsedMB":80}},"tracing":{{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}}}}}"#,
                    n % 1000
                )
            }),
            |b, o, c| lambda_telemetry::normalize(b, o, c).expect("events"),
        ),
        plain(
            "X-Ray segments",
            lines(|n| {
                format!(
                    r#"{{"trace_id":"1-6925a1e0-{n:024x}","id":"{:016x}","name":"checkout","start_time":1795600800.5,"end_time":1795600801.5,"http":{{"request":{{"method":"GET","url":"https://shop.example/orders"}},"response":{{"status":200}}}},"annotations":{{"correlation_id":"o-{n}"}},"subsegments":[{{"id":"{:016x}","name":"DynamoDB","namespace":"aws","start_time":1795600800.6,"end_time":1795600800.7,"aws":{{"operation":"PutItem","table_name":"stock","request_id":"r"}}}}]}}"#,
                    2 * n + 1,
                    2 * n + 2
                )
            }),
            |b, o, c| xray::normalize(b, o, c).expect("segments"),
        ),
        plain(
            "Cloudflare Logpush",
            lines(|n| {
                format!(
                    r#"{{"CPUTimeMs":4,"WallTimeMs":120,"Event":{{"RayID":"{n:016x}","Request":{{"URL":"https://shop.example/orders","Method":"POST"}},"Response":{{"Status":201}}}},"EventTimestampMs":1795600800000,"EventType":"fetch","Exceptions":[],"Logs":[{{"Level":"log","Message":["order {n} taken"],"TimestampMs":1795600800010}}],"Outcome":"ok","ScriptName":"shop","ScriptVersion":{{"id":"v-9"}}}}"#
                )
            }),
            |b, o, c| cloudflare::normalize(b, o, c).expect("events"),
        ),
        plain(
            "Vercel drains",
            array(|n| {
                format!(
                    r#"{{"id":"{n}","deploymentId":"dpl_1","source":"lambda","host":"a.vercel.app","timestamp":1795600800283,"projectId":"p","projectName":"shop","level":"info","message":"order taken","entrypoint":"api/orders.js","requestId":"643af4e3-{n}","statusCode":200,"executionRegion":"sfo1","proxy":{{"method":"POST","path":"/api/orders","statusCode":200}}}}"#
                )
            }),
            |b, o, c| vercel::normalize(b, o, c).expect("entries"),
        ),
        plain(
            "metric stream, JSON",
            lines(|n| {
                format!(
                    r#"{{"metric_stream_name":"s","account_id":"123456789012","region":"us-east-1","namespace":"AWS/SQS","metric_name":"ApproximateNumberOfMessagesVisible","dimensions":{{"QueueName":"q{n}"}},"timestamp":1795600800000,"value":{{"max":3.0,"min":0.0,"sum":5.0,"count":2.0}},"unit":"Count"}}"#
                )
            }),
            |b, o, c| metric_stream::normalize(b, o, c).expect("metrics"),
        ),
        plain("CloudWatch Logs, unpacked", cloudwatch_payload(), |b, o, c| {
            cloudwatch_logs::normalize(b, o, c, UNPACKED_MAX).expect("events")
        }),
    ];
    let payload = cloudwatch_payload();
    let firehose_body = format!(
        r#"{{"requestId":"r","timestamp":1795600801000,"records":[{{"data":"{}"}}]}}"#,
        packed(&payload)
    );
    all.push(Dialect {
        name: "Firehose (gzip, base64) of the same",
        body: firehose_body.into_bytes(),
        text: payload,
        read: |b, o, c| firehose::normalize(b, o, c, UNPACKED_MAX).expect("a delivery").normalized,
    });
    let entry = r#"{"insertId":"a","logName":"projects/p/logs/run.googleapis.com%2Fstdout","resource":{"type":"cloud_run_revision","labels":{"service_name":"shop","revision_name":"shop-1","location":"us","project_id":"p"}},"timestamp":"2026-11-25T10:00:00Z","severity":"INFO","trace":"projects/p/traces/62e900b2710d76f009d6e7785905449a","jsonPayload":{"message":"order taken","correlation_id":"o-1"}}"#;
    let data = base64::engine::general_purpose::STANDARD.encode(entry);
    let push = format!(
        r#"{{"message":{{"data":"{data}","messageId":"5187","publishTime":"2026-11-25T10:00:01Z"}},"subscription":"projects/p/subscriptions/s"}}"#
    );
    all.push(Dialect {
        name: "Pub/Sub push, one entry",
        body: push.into_bytes(),
        text: entry.as_bytes().to_vec(),
        read: |b, o, c| pubsub::normalize(b, o, c, UNPACKED_MAX).expect("a push").normalized,
    });
    let record = |n: usize| {
        format!(
            r#"{{"time":"2026-11-25T10:00:00Z","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.WEB/SITES/APP","category":"FunctionAppLogs","operationName":"Microsoft.Web/sites/functions/log","level":"Informational","location":"eastus2","properties":{{"appName":"app","roleInstance":"i","message":"order taken","category":"Function.hello.User","functionInvocationId":"00000000-0000-0000-0000-{n:012}","functionName":"Functions.hello","hostInstanceId":"h","level":"Information","levelId":2,"processId":9}}}}"#
        )
    };
    let records = String::from_utf8(array(record)).expect("text");
    all.push(plain(
        "Azure records",
        format!(r#"{{"records":{records}}}"#).into_bytes(),
        |b, o, c| azure_records::normalize(b, o, c).expect("records"),
    ));
    let json = spans_json();
    all.push(plain("OTLP/JSON spans", json.clone(), |b, o, c| otlp_read(b, Encoding::Json, o, c)));
    all.push(Dialect {
        name: "OTLP protobuf spans (MB of the JSON)",
        body: spans().encode_to_vec(),
        text: json,
        read: |b, o, c| otlp_read(b, Encoding::Protobuf, o, c),
    });
    all
}
