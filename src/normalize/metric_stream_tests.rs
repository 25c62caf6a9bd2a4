use expect_test::{Expect, expect};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList, any_value};
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;
use prost::Message;
use serde_json::json;

use super::*;
use crate::normalize::{metric_stream_otel, show};

fn origin() -> Origin {
    Origin {
        arrived: Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap(),
        ..Origin::default()
    }
}

fn record(namespace: &str, name: &str, dimensions: &Value, unit: &str) -> String {
    json!({"metric_stream_name": "s", "account_id": "123456789012", "region": "eu-west-1",
        "namespace": namespace, "metric_name": name, "dimensions": dimensions,
        "timestamp": 1_795_600_740_000_i64,
        "value": {"max": 4.0, "min": 0.0, "sum": 7.0, "count": 3.0, "p99": 4.0}, "unit": unit})
    .to_string()
}

fn check(records: &[String], expect: &Expect) {
    let body = records.join("\n");
    expect.assert_eq(&show::outcome(&normalize(body.as_bytes(), &origin(), &Config::default())));
}

#[test]
fn the_age_of_a_stream_s_last_read_record_is_that_of_its_queue() {
    let (stream, name) = (json!({"StreamName": "clicks"}), "GetRecords.IteratorAgeMilliseconds");
    check(
        &[record("AWS/Kinesis", name, &stream, "Milliseconds")],
        &expect![[r#"
            2026-11-25T09:59:00.000000000Z metric throughline_queue_oldest_age_seconds{queue="clicks"} gauge=0.004 account=123456789012 region=eu-west-1
            1 signals, 0 rejected, 0 filtered"#]],
    );
    assert!(is_dead_letter_name("orders-poison") && !is_dead_letter_name("poison-control"));
}

#[test]
fn the_contracts_metrics_come_from_exactly_one_set_of_dimensions() {
    let function = json!({"FunctionName": "pay"});
    let alias = json!({"FunctionName": "pay", "Resource": "pay:live"});
    check(
        &[
            record("AWS/Lambda", "Throttles", &function, "Count"),
            record("AWS/Lambda", "Throttles", &alias, "Count"),
            record("AWS/Lambda", "Throttles", &json!({}), "Count"),
            record("AWS/Lambda", "ConcurrentExecutions", &function, "Count"),
            record(
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                &json!({"QueueName": "orders"}),
                "Count",
            ),
            record(
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                &json!({"QueueName": "orders-dlq"}),
                "Count",
            ),
            record(
                "AWS/SQS",
                "ApproximateAgeOfOldestMessage",
                &json!({"QueueName": "orders"}),
                "Seconds",
            ),
        ],
        &expect![[r#"
            2026-11-25T09:59:00.000000000Z metric throughline_throttles_total{faas_name="pay", source="platform"} sum=7 temporality=Delta account=123456789012 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric aws_lambda_throttles{account_id="123456789012", function_name="pay", region="eu-west-1", resource="pay:live", stat="sum"} gauge=7 account=123456789012 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric aws_lambda_throttles{account_id="123456789012", region="eu-west-1", stat="sum"} gauge=7 account=123456789012 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric throughline_concurrency{faas_name="pay"} gauge=4 account=123456789012 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric throughline_queue_depth{queue="orders"} gauge=4 account=123456789012 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric throughline_dlq_depth{queue="orders-dlq"} gauge=4 account=123456789012 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric throughline_queue_oldest_age_seconds{queue="orders"} gauge=4 account=123456789012 region=eu-west-1
            7 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn every_other_record_keeps_a_series_of_its_own() {
    check(
        &[
            record("AWS/CloudWatch/MetricStreams", "MetricUpdate", &json!({}), "None"),
            record(
                "AWS/ApiGateway",
                "5XXError",
                &json!({"ApiName": "shop", "Stage": "prod"}),
                "Count",
            ),
            record("MyApp", "HTTPCode_ELB", &json!({"region": "inner", "ID": "x"}), "Count"),
            record("AWS/Lambda", "Duration", &json!({"FunctionName": "pay"}), "Milliseconds"),
        ],
        &expect![[r#"
            2026-11-25T09:59:00.000000000Z metric aws_cloudwatch_metricstreams_metric_update{account_id="123456789012", region="eu-west-1", stat="max"} gauge=4 account=123456789012 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric aws_apigateway_5xx_error{account_id="123456789012", api_name="shop", region="eu-west-1", stage="prod", stat="sum"} gauge=7 account=123456789012 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric aws_myapp_http_code_elb{account_id="123456789012", dimension_region="inner", id="x", region="eu-west-1", stat="sum"} gauge=7 account=123456789012 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric aws_lambda_duration{account_id="123456789012", function_name="pay", region="eu-west-1", stat="max"} gauge=4 account=123456789012 region=eu-west-1
            4 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn bad_records_are_rejected_one_by_one() {
    let good =
        record("AWS/SQS", "ApproximateAgeOfOldestMessage", &json!({"QueueName": "q"}), "Seconds");
    check(
        &[
            good.clone(),
            "{\"namespace\":".to_owned(),
            good.replace("1795600740000", "1643916720000"),
            good.replace("1795600740000", "\"soon\""),
            good.replace("4.0", "null"),
            good,
        ],
        &expect![[r#"
            2026-11-25T09:59:00.000000000Z metric throughline_queue_oldest_age_seconds{queue="q"} gauge=4 account=123456789012 region=eu-west-1
            2026-11-25T09:59:00.000000000Z metric throughline_queue_oldest_age_seconds{queue="q"} gauge=4 account=123456789012 region=eu-west-1
            rejected 1: no metric stream record: EOF while parsing a value at line 1 column 13
            rejected 2: the timestamp lies more than 7 days before or 10 minutes after the arrival
            rejected 3: a metric record needs a timestamp
            rejected 4: the value lacks the statistics sum and max
            2 signals, 4 rejected, 0 filtered"#]],
    );
}

#[test]
fn a_dead_letter_queue_is_known_by_its_name() {
    for name in [
        "orders-dlq",
        "OrdersDLQ.fifo",
        "orders_dead_letter",
        "orders-dead-letter-queue",
        "dlq-orders",
    ] {
        assert!(is_dead_letter_name(name), "{name}");
    }
    for name in ["orders", "dlqueries", "deadline", "orders.fifo"] {
        assert!(!is_dead_letter_name(name), "{name}");
    }
}

#[test]
fn names_are_split_at_their_words() {
    for (name, expect) in [
        ("ApproximateNumberOfMessages", "approximate_number_of_messages"),
        ("HTTPCode_ELB", "http_code_elb"),
        ("5XXError", "5xx_error"),
        ("GetRecords.IteratorAgeMilliseconds", "get_records_iterator_age_milliseconds"),
        ("NATGateway", "nat_gateway"),
        ("Ec2Instance", "ec2_instance"),
    ] {
        assert_eq!(snake(name), expect);
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute_of(key, any_value::Value::StringValue(value.to_owned()))
}

fn attribute_of(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn otel_request() -> Vec<u8> {
    let quantile = |quantile, value| otlp::summary_data_point::ValueAtQuantile { quantile, value };
    let dimensions = KeyValueList { values: vec![text("FunctionName", "pay")] };
    let point = otlp::SummaryDataPoint {
        time_unix_nano: 1_795_600_740_000_000_000,
        count: 3,
        sum: 7.0,
        quantile_values: vec![quantile(0.0, 0.0), quantile(1.0, 4.0)],
        attributes: vec![
            text("Namespace", "AWS/Lambda"),
            text("MetricName", "Throttles"),
            attribute_of("Dimensions", any_value::Value::KvlistValue(dimensions)),
        ],
        ..otlp::SummaryDataPoint::default()
    };
    let metric = otlp::Metric {
        name: "amazonaws.com/AWS/Lambda/Throttles".to_owned(),
        unit: "{Count}".to_owned(),
        data: Some(otlp::metric::Data::Summary(otlp::Summary { data_points: vec![point] })),
        ..otlp::Metric::default()
    };
    let resource = OtlpResource {
        attributes: vec![
            text("cloud.account.id", "123456789012"),
            text("cloud.region", "eu-west-1"),
        ],
        ..OtlpResource::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![otlp::ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![otlp::ScopeMetrics {
                metrics: vec![metric],
                ..otlp::ScopeMetrics::default()
            }],
            ..otlp::ResourceMetrics::default()
        }],
    }
    .encode_length_delimited_to_vec()
}

#[test]
fn the_opentelemetry_format_gives_the_same_points_as_json() {
    let json = record("AWS/Lambda", "Throttles", &json!({"FunctionName": "pay"}), "Count");
    let from_json = normalize(json.as_bytes(), &origin(), &Config::default()).unwrap();
    let mut gather =
        Gather::new(Receiver::Firehose, &origin(), &Redactor::new(&Config::default().redact));
    let bytes = otel_request();
    assert!(metric_stream_otel::is_requests(&bytes));
    let nobody = gather.nobody();
    metric_stream_otel::read_into(&bytes, &nobody, &mut gather);
    assert_eq!(gather.finish().unwrap(), from_json);
}

#[test]
fn requests_follow_each_other_and_a_cut_one_is_rejected() {
    let mut bytes = [otel_request(), otel_request()].concat();
    bytes.truncate(bytes.len() - 1);
    let mut gather =
        Gather::new(Receiver::Firehose, &origin(), &Redactor::new(&Config::default().redact));
    let nobody = gather.nobody();
    metric_stream_otel::read_into(&bytes, &nobody, &mut gather);
    let normalized = gather.finish().unwrap();
    assert_eq!(normalized.batch.signals.len(), 1);
    assert_eq!(normalized.rejections.len(), 1);
    assert!(!metric_stream_otel::is_requests(b"hello\n"));
}
