//! The dialects whose bodies hold several records: a record of each, and what is around it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use throughline::normalize::otlp::{self, OtlpSignal};
use throughline::normalize::{
    Config, Normalized, Origin, Undecodable, azure_records, cloudflare, cloudwatch_logs, firehose,
    json_log, lambda_telemetry, metric_stream, vercel, xray,
};
use throughline::signal::Receiver;

pub(crate) type Read = fn(&[u8], &Origin, &Config) -> Result<Normalized, Undecodable>;

pub(crate) struct Dialect {
    pub(crate) name: &'static str,
    /// Signals of one record.
    pub(crate) signals: usize,
    /// The n-th record.
    pub(crate) record: fn(usize) -> Value,
    /// The records in their envelope.
    pub(crate) envelope: fn(&[Value]) -> Vec<u8>,
    pub(crate) read: Read,
}

fn lines(records: &[Value]) -> Vec<u8> {
    records.iter().map(|record| format!("{record}\n")).collect::<String>().into_bytes()
}

fn array(records: &[Value]) -> Vec<u8> {
    json!(records).to_string().into_bytes()
}

pub(crate) const DIALECTS: [Dialect; 18] = [
    Dialect {
        name: "json",
        signals: 1,
        record: |n| {
            json!({"timestamp": "2026-11-25T10:00:00.123Z", "level": "INFO", "requestId": format!("r-{n}"),
                "message": "order taken", "correlation_id": format!("o-{n}"), "items": [1, {"a": null}]})
        },
        envelope: lines,
        read: json_log::normalize,
    },
    Dialect {
        name: "telemetry",
        signals: 1,
        record: |n| {
            json!({"time": "2026-11-25T10:00:00.123Z", "type": "platform.report",
                "record": {"requestId": format!("r-{n}"), "status": "success", "metrics": {
                    "durationMs": 20.5, "billedDurationMs": 21, "memorySizeMB": 512, "maxMemoryUsedMB": 80}}})
        },
        envelope: array,
        read: lambda_telemetry::normalize,
    },
    Dialect {
        name: "cloudwatch",
        signals: 1,
        record: |n| {
            json!({"id": format!("{n:056}"), "timestamp": 1_795_600_800_123_u64,
                "message": format!("START RequestId: 8f507cfc-xmpl-4697-b07a-{n:012} Version: $LATEST")})
        },
        envelope: |events| {
            json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "/aws/lambda/checkout",
                "logStream": "s", "logEvents": events})
            .to_string()
            .into_bytes()
        },
        read: |body, origin, config| cloudwatch_logs::normalize(body, origin, config, 1 << 20),
    },
    Dialect {
        name: "metric stream",
        signals: 1,
        record: |n| {
            json!({"account_id": "1", "region": "us-east-1", "namespace": "AWS/SQS",
                "metric_name": "ApproximateNumberOfMessagesVisible", "dimensions": {"QueueName": format!("q{n}")},
                "timestamp": 1_795_600_800_000_u64, "value": {"max": 3.0, "min": 0.0, "sum": 5.0, "count": 2.0},
                "unit": "Count"})
        },
        envelope: lines,
        read: metric_stream::normalize,
    },
    Dialect {
        name: "xray",
        signals: 1,
        record: |n| {
            json!({"trace_id": format!("1-6925a1e0-{n:024x}"), "id": format!("{:016x}", n + 1), "name": "checkout",
                "start_time": 1_795_600_800.5, "end_time": 1_795_600_801.5,
                "http": {"request": {"method": "GET", "url": "https://a"}, "response": {"status": 200}},
                "annotations": {"correlation_id": "o"}, "links": [{"trace_id": "x"}]})
        },
        envelope: lines,
        read: xray::normalize,
    },
    Dialect {
        name: "cloudflare",
        signals: 1,
        record: |n| {
            json!({"WallTimeMs": 120, "Event": {"RayID": format!("ray-{n}"), "Response": {"Status": 201}},
                "EventTimestampMs": 1_795_600_800_000_u64, "EventType": "fetch", "Outcome": "ok",
                "ScriptName": "shop", "ScriptVersion": {"id": "v-9"}})
        },
        envelope: lines,
        read: cloudflare::normalize,
    },
    Dialect {
        name: "vercel",
        signals: 1,
        record: |n| {
            json!({"id": format!("e-{n}"), "source": "lambda", "timestamp": 1_795_600_800_283_u64, "projectId": "p",
                "projectName": "shop", "level": "info", "message": "taken", "entrypoint": "a.js",
                "requestId": format!("r-{n}"), "statusCode": 200, "proxy": {"method": "POST"}})
        },
        envelope: array,
        read: vercel::normalize,
    },
    Dialect {
        name: "azure",
        signals: 1,
        record: |n| {
            json!({"time": "2026-11-25T10:00:00Z", "resourceId": "/SITES/APP", "category": "FunctionAppLogs",
                "level": "Informational", "properties": {"message": "taken", "functionInvocationId": format!("i-{n}"),
                    "functionName": "Functions.hello", "level": "Information"}})
        },
        envelope: |records| json!({"records": records}).to_string().into_bytes(),
        read: azure_records::normalize,
    },
    Dialect {
        name: "powertools in CloudWatch",
        signals: 1,
        record: |n| {
            json!({"level": "INFO", "location": "handler:12", "message": "order taken",
                "timestamp": "2026-11-25 10:00:00,123+0000", "service": "shop", "cold_start": false,
                "function_name": "checkout", "function_memory_size": "512", "function_request_id": format!("r-{n}"),
                "correlation_id": format!("o-{n}"), "xray_trace_id": format!("1-6925a1e0-{n:024x}")})
        },
        envelope: |events| in_log_group("/aws/lambda/checkout", events),
        read: |body, origin, config| cloudwatch_logs::normalize(body, origin, config, 1 << 20),
    },
    Dialect {
        name: "spans in CloudWatch",
        signals: 1,
        record: |n| {
            json!({"resource": {"attributes": {"service.name": "shop", "faas.name": "checkout"}},
                "traceId": format!("6925a1e0{:024x}", n + 1), "spanId": format!("{:016x}", n + 1), "kind": "SERVER",
                "name": "POST /orders", "startTimeUnixNano": 1_795_600_800_000_000_000_u64,
                "endTimeUnixNano": 1_795_600_800_200_000_000_u64, "attributes": {"http.route": "/orders"},
                "status": {"code": "OK"}})
        },
        envelope: |events| in_log_group("aws/spans", events),
        read: |body, origin, config| cloudwatch_logs::normalize(body, origin, config, 1 << 20),
    },
    Dialect {
        name: "embedded metrics",
        signals: 2,
        record: |n| {
            json!({"_aws": {"Timestamp": 1_795_600_800_123_u64, "CloudWatchMetrics": [{"Namespace": "shop",
                "Dimensions": [["service"]], "Metrics": [{"Name": "Orders", "Unit": "Count"}]}]},
                "service": format!("shop-{n}"), "Orders": 3, "function_request_id": format!("r-{n}")})
        },
        envelope: lines,
        read: json_log::normalize,
    },
    Dialect {
        name: "events that functions log",
        signals: 1,
        record: |n| {
            json!({"timestamp": "2026-11-25T10:00:00.123Z", "level": "INFO", "message": "received",
                "function_request_id": format!("r-{n}"), "event": {"Records": [{"messageId": format!("m-{n}"),
                    "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:orders",
                    "attributes": {"SentTimestamp": "1795600799000", "ApproximateReceiveCount": "1"}}]}})
        },
        envelope: lines,
        read: json_log::normalize,
    },
    Dialect {
        name: "access log of API Gateway",
        signals: 1,
        record: |n| {
            json!({"requestId": format!("a-{n}"), "ip": "203.0.113.9", "requestTime": "25/Nov/2026:10:00:00 +0000",
                "requestTimeEpoch": 1_795_600_800_123_u64, "httpMethod": "POST", "routeKey": "POST /orders",
                "status": 201, "protocol": "HTTP/1.1", "responseLatency": 120, "integrationRequestId": format!("r-{n}")})
        },
        envelope: lines,
        read: json_log::normalize,
    },
    Dialect {
        name: "OTLP spans",
        signals: 1,
        record: |n| {
            json!({"traceId": format!("{:032x}", n + 1), "spanId": format!("{:016x}", n + 1), "kind": 2,
                "name": "POST /orders", "startTimeUnixNano": "1795600800000000000",
                "endTimeUnixNano": "1795600800200000000", "status": {},
                "attributes": [{"key": "http.route", "value": {"stringValue": "/orders"}}]})
        },
        envelope: |spans| {
            json!({"resourceSpans": [{"resource": {"attributes": [named()]}, "scopeSpans": [{"spans": spans}]}]})
                .to_string()
                .into_bytes()
        },
        read: |body, origin, config| of_otlp(body, OtlpSignal::Traces, origin, config),
    },
    Dialect {
        name: "OTLP log records",
        signals: 1,
        record: |n| {
            json!({"timeUnixNano": "1795600800000000000", "severityNumber": 9, "body": {"stringValue": "taken"},
                "traceId": format!("{:032x}", n + 1), "spanId": format!("{:016x}", n + 1),
                "attributes": [{"key": "order", "value": {"intValue": "7"}}]})
        },
        envelope: |records| {
            json!({"resourceLogs": [{"resource": {"attributes": [named()]}, "scopeLogs": [{"logRecords": records}]}]})
                .to_string()
                .into_bytes()
        },
        read: |body, origin, config| of_otlp(body, OtlpSignal::Logs, origin, config),
    },
    Dialect {
        name: "OTLP points",
        signals: 1,
        record: |n| {
            json!({"timeUnixNano": "1795600800000000000", "startTimeUnixNano": "1795600700000000000",
                "asInt": format!("{n}"), "attributes": [{"key": "n", "value": {"stringValue": format!("{n}")}}]})
        },
        envelope: |points| {
            json!({"resourceMetrics": [{"resource": {"attributes": [named()]}, "scopeMetrics": [{"metrics": [
                {"name": "orders", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": points}}]}]}]})
            .to_string()
            .into_bytes()
        },
        read: |body, origin, config| of_otlp(body, OtlpSignal::Metrics, origin, config),
    },
    Dialect {
        name: "Application Insights",
        signals: 1,
        record: |n| {
            json!({"time": "2026-11-25T10:00:00Z", "resourceId": "/SITES/APP", "Type": "AppTraces",
                "OperationId": format!("{:032x}", n + 1), "ParentId": format!("{:016x}", n + 1), "Message": "taken",
                "SeverityLevel": 1, "AppRoleName": "shop", "ItemCount": 1, "Properties": {"InvocationId": format!("i-{n}")}})
        },
        envelope: |records| json!({"records": records}).to_string().into_bytes(),
        read: azure_records::normalize,
    },
    Dialect {
        name: "metric stream by Firehose",
        signals: 1,
        record: |n| {
            json!({"account_id": "1", "region": "us-east-1", "namespace": "AWS/Lambda", "metric_name": "Throttles",
                "dimensions": {"FunctionName": format!("f{n}")}, "timestamp": 1_795_600_800_000_u64,
                "value": {"max": 3.0, "min": 0.0, "sum": 5.0, "count": 2.0}, "unit": "Count"})
        },
        envelope: |records| {
            let packed =
                records.iter().map(|record| json!({"data": STANDARD.encode(record.to_string())}));
            let packed: Vec<Value> = packed.collect();
            json!({"requestId": "d", "timestamp": 1_795_600_801_000_u64, "records": packed})
                .to_string()
                .into_bytes()
        },
        read: |body, origin, config| {
            firehose::normalize(body, origin, config, 1 << 20).map(|delivery| delivery.normalized)
        },
    },
];

/// The attribute of OTLP's resources.
fn named() -> Value {
    json!({"key": "faas.name", "value": {"stringValue": "checkout"}})
}

fn in_log_group(group: &str, records: &[Value]) -> Vec<u8> {
    let event = |(n, record): (usize, &Value)| json!({"id": format!("{n:056}"), "timestamp": 1_795_600_800_123_u64, "message": record.to_string()});
    let events: Vec<Value> = records.iter().enumerate().map(event).collect();
    json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": group, "logStream": "s", "logEvents": events})
        .to_string()
        .into_bytes()
}

fn of_otlp(
    bytes: &[u8],
    signal: OtlpSignal,
    origin: &Origin,
    config: &Config,
) -> Result<Normalized, Undecodable> {
    let (encoding, receiver) = (otlp::Encoding::Json, Receiver::OtlpHttp);
    otlp::normalize(&otlp::Body { bytes, signal, encoding, receiver }, origin, config)
}
