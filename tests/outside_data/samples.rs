//! Captured payloads of the AWS, log and metric-stream dialects, against golden texts of our own.
//!
//! Every file of the folders in [`FOLDERS`] is either a case in [`CASES`] or listed, with the reason, in
//! `tests/golden/samples/not-payloads.txt`; a file that is neither fails, so that none is overlooked.
//! `UPDATE_GOLDEN=1` writes the golden texts anew; they are reviewed by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use throughline::normalize::{
    Config, Normalized, Origin, Undecodable, azure_records, cloudflare, cloudwatch_logs, firehose,
    json_log, lambda_telemetry, metric_stream, pubsub, show, vercel, xray,
};
use throughline::signal::Timestamp;

use crate::Report;

mod otel_metrics;

/// The folders whose every file is accounted for.
const FOLDERS: [&str; 16] = [
    "../otel/awsxray",
    "../otel/cloudflare",
    "../otel/vercel/logs",
    "../otel/vercel/speed-insights",
    "aws-events",
    "aws-recorded",
    "azure",
    "cwlogs",
    "emf",
    "firehose",
    "gcp",
    "lambda-json-logs",
    "lambda-text-logs",
    "metricstream",
    "powertools-logs",
    "telemetry-api",
];

/// More lines than this are shown as counts and their first [`HEAD_LINES`].
const LINES_MAX: usize = 40;
const HEAD_LINES: usize = 12;
const DECOMPRESSED_MAX: usize = 16 << 20;

/// How a file is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire {
    /// `/ingest/aws/xray`.
    Xray,
    /// `/ingest/cloudflare/logpush`.
    Cloudflare,
    /// `/ingest/vercel`.
    Vercel,
    /// `/ingest/json`.
    Json,
    /// An object whose values are log lines, which go to `/ingest/json` one by one.
    NamedLines,
    /// `/ingest/aws/telemetry`.
    Telemetry,
    /// `/ingest/aws/firehose`.
    Firehose,
    /// Decoded CloudWatch Logs payloads, or a forwarder's envelope around packed ones.
    CloudWatch,
    /// A JSON array of decoded payloads.
    CloudWatchList,
    /// A decoded payload between lines of prose.
    CloudWatchInProse,
    MetricStream,
    /// `/ingest/gcp/pubsub`.
    Pubsub,
    /// `/ingest/azure/eventhub`.
    Eventhub,
    /// OTLP/JSON that was decoded from a metric stream's record; it is encoded again.
    MetricStreamOtel,
    /// A function's event, logged by the function that it triggered.
    Event,
    /// Answers of the SQS API, as a consumer logs them: the messages anywhere in them.
    Received,
}

/// A file, how to read it, and when it arrived: shortly after what it tells of.
pub(crate) struct Case(pub(crate) &'static str, pub(crate) Wire, pub(crate) &'static str);

pub(crate) const CASES: &[Case] = &[
    Case("../otel/awsxray/awsMissingAwsField.txt", Wire::Xray, "2020-08-05T20:00:00Z"),
    Case("../otel/awsxray/awsValidAwsFields.txt", Wire::Xray, "2020-08-05T20:00:00Z"),
    Case("../otel/awsxray/ddbSample.txt", Wire::Xray, "2020-08-05T20:00:00Z"),
    Case(
        "../otel/awsxray/indepSubsegmentWithContentLengthString.txt",
        Wire::Xray,
        "2020-08-05T20:00:00Z",
    ),
    Case(
        "../otel/awsxray/indepSubsegmentWithInvalidSqlUrl.txt",
        Wire::Xray,
        "2020-08-05T20:00:00Z",
    ),
    Case("../otel/awsxray/indepSubsegmentWithSql.txt", Wire::Xray, "2020-08-05T20:00:00Z"),
    Case("../otel/awsxray/invalidNamespace.txt", Wire::Xray, "2020-08-05T20:00:00Z"),
    Case("../otel/awsxray/minCauseIsExceptionId.txt", Wire::Xray, "2020-08-05T20:00:00Z"),
    Case("../otel/awsxray/minCauseIsInvalid.txt", Wire::Xray, "2020-08-05T20:00:00Z"),
    Case("../otel/awsxray/minOtherFields.txt", Wire::Xray, "2020-08-05T20:00:00Z"),
    Case("../otel/awsxray/serverSample.txt", Wire::Xray, "2020-08-05T20:00:00Z"),
    Case("../otel/cloudflare/all_fields.txt", Wire::Cloudflare, "2023-03-03T05:30:00Z"),
    Case("../otel/vercel/logs/logs.json", Wire::Vercel, "2019-11-15T11:30:00Z"),
    Case(
        "../otel/vercel/speed-insights/speed_insights.ndjson",
        Wire::Vercel,
        "2019-11-15T11:30:00Z",
    ),
    Case("azure/alloy_custom_payload_json.json", Wire::Eventhub, "2024-09-18T00:46:00Z"),
    Case(
        "azure/alloy_custom_payload_json_with_records_string.json",
        Wire::Eventhub,
        "2024-09-18T00:46:00Z",
    ),
    Case("azure/alloy_custom_payload_text.txt", Wire::Eventhub, "2024-09-18T00:46:00Z"),
    Case("azure/alloy_logic_app_logs_message.json", Wire::Eventhub, "2023-03-17T08:45:00Z"),
    Case("azure/alloy_message_with_invalid_time.json", Wire::Eventhub, "2023-03-17T08:45:00Z"),
    Case(
        "azure/alloy_message_without_time_with_time_stamp.json",
        Wire::Eventhub,
        "2024-09-18T00:46:00Z",
    ),
    Case("azure/dt_events.json", Wire::Eventhub, "2021-02-04T07:46:00Z"),
    Case("azure/dt_not_known_category_record.json", Wire::Eventhub, "2021-02-04T07:46:00Z"),
    Case("azure/logzio_sample_logs.json", Wire::Eventhub, "2025-05-08T11:00:00Z"),
    Case("azure/otel_app-dependencies_first.json", Wire::Eventhub, "2023-04-18T09:04:00Z"),
    Case("azure/otel_metrics-records_subset.json", Wire::Eventhub, "2023-04-18T09:04:00Z"),
    Case(
        "azure/otel_servicebus_application-metrics-log.json",
        Wire::Eventhub,
        "2021-01-01T20:41:00Z",
    ),
    Case("azure/sumo_activity_log_fixtures.json", Wire::Eventhub, "2018-03-07T14:25:00Z"),
    Case("azure/sumo_metrics_fixtures.json", Wire::Eventhub, "2018-03-07T14:25:00Z"),
    Case("aws-events/dd_api_gateway_rest_event.json", Wire::Event, "2020-03-04T19:15:20Z"),
    Case("aws-events/dd_application_load_balancer.json", Wire::Event, "2025-04-30T18:30:00Z"),
    Case("aws-events/dd_eventbridge_event.json", Wire::Event, "2024-11-09T08:22:20Z"),
    Case("aws-events/dd_eventbridge_sns_event.json", Wire::Event, "2024-09-16T19:44:05Z"),
    Case("aws-events/dd_eventbridge_sqs_event.json", Wire::Event, "2023-08-03T22:49:10Z"),
    Case(
        "aws-events/dd_eventbridge_sqs_java_header_event.json",
        Wire::Event,
        "2023-08-03T22:49:10Z",
    ),
    Case("aws-events/dd_kinesis_event.json", Wire::Event, "2022-01-31T14:13:50Z"),
    Case("aws-events/dd_lambda_function_url_event.json", Wire::Event, "2021-11-17T17:17:30Z"),
    Case("aws-events/dd_s3_event.json", Wire::Event, "2023-01-07T00:00:05Z"),
    Case("aws-events/dd_sns_event.json", Wire::Event, "2022-01-31T14:13:45Z"),
    Case("aws-events/dd_sqs_event.json", Wire::Event, "2018-04-09T00:00:05Z"),
    Case("aws-events/dd_sqs_event_binary.json", Wire::Event, "2018-04-09T00:00:05Z"),
    Case("aws-events/dd_step_function_nested_event.json", Wire::Event, "2024-08-29T21:49:00Z"),
    Case("aws-events/ddpy_eventbridge-sqs.json", Wire::Event, "2023-08-03T22:49:10Z"),
    Case("aws-events/ddpy_kinesis-batch.json", Wire::Event, "2022-01-31T14:13:50Z"),
    Case("aws-events/ddpy_sqs-batch.json", Wire::Event, "2021-10-19T16:48:20Z"),
    Case("aws-events/ddpy_sqs-java-upstream.json", Wire::Event, "2024-03-08T20:21:40Z"),
    Case("aws-events/go_dynamodb-time-window-event.json", Wire::Event, "2016-12-02T01:27:05Z"),
    Case("aws-events/go_kinesis-event.json", Wire::Event, "2016-12-04T08:52:10Z"),
    Case("aws-events/go_kinesis-firehose-event.json", Wire::Event, "2017-10-05T15:33:50Z"),
    Case("aws-events/go_sns-event.json", Wire::Event, "2015-06-03T17:43:30Z"),
    Case("aws-events/go_sqs-event.json", Wire::Event, "2018-03-09T18:54:00Z"),
    Case("aws-events/pt_dynamoStreamEvent.json", Wire::Event, "2023-09-06T10:46:00Z"),
    Case("aws-events/pt_kinesisStreamEvent.json", Wire::Event, "2018-12-17T22:12:00Z"),
    Case("aws-events/pt_lambdaFunctionUrlEvent.json", Wire::Event, "2022-08-05T08:14:45Z"),
    Case("aws-events/pt_snsSqsEvent.json", Wire::Event, "2021-01-19T10:07:10Z"),
    Case("aws-events/pt_snsSqsFifoEvent.json", Wire::Event, "2022-10-14T13:35:30Z"),
    Case(
        "aws-events/rust_example-cloudwatch-alarm-sns-payload-single-metric.json",
        Wire::Event,
        "2015-06-03T17:43:30Z",
    ),
    Case(
        "aws-events/rust_example-kinesis-firehose-event.json",
        Wire::Event,
        "2017-10-05T15:33:50Z",
    ),
    Case(
        "aws-events/rust_example-kinesis-firehose-response.json",
        Wire::Event,
        "2017-10-05T15:33:50Z",
    ),
    Case("aws-events/rust_example-sqs-event.json", Wire::Event, "2018-03-09T18:54:00Z"),
    Case("aws-recorded/s3_to_sqs_xray.snapshot.json", Wire::Received, "2025-01-21T23:22:00Z"),
    Case("aws-recorded/sns_to_sqs_xray.snapshot.json", Wire::Received, "2023-08-24T23:36:20Z"),
    Case("aws-recorded/sqs_dlq.snapshot.json", Wire::Received, "2024-04-30T13:34:00Z"),
    Case(
        "cwlogs/dd_cloudwatch_customized_log_group_lambda_invocation.json",
        Wire::CloudWatch,
        "2020-03-05T16:31:00Z",
    ),
    Case("cwlogs/dd_cloudwatch_log.json", Wire::CloudWatch, "2015-08-24T19:04:00Z"),
    Case("cwlogs/dd_cloudwatch_log_coldstart.json", Wire::CloudWatch, "2020-06-04T15:30:00Z"),
    Case(
        "cwlogs/dd_cloudwatch_log_lambda_invocation.json",
        Wire::CloudWatch,
        "2020-03-05T16:31:00Z",
    ),
    Case("cwlogs/dd_cloudwatch_log_timeout.json", Wire::CloudWatch, "2020-06-09T15:03:00Z"),
    Case("cwlogs/dd_cloudwatch_logs.json", Wire::CloudWatch, "2020-03-05T16:31:00Z"),
    Case("cwlogs/dd_step_functions_log.json", Wire::CloudWatch, "2022-11-10T15:53:00Z"),
    Case("cwlogs/decoded_go_cloudwatch-logs-event.json", Wire::CloudWatch, "2015-08-24T19:04:00Z"),
    Case("cwlogs/nr_entry_lambda_sam.json", Wire::CloudWatch, "2019-01-31T11:52:00Z"),
    Case("cwlogs/nr_entry_lambda_timeout.json", Wire::CloudWatch, "2019-01-31T11:52:00Z"),
    Case("cwlogs/otel_only_control.ndjson", Wire::CloudWatch, "2025-03-07T02:43:00Z"),
    Case(
        "cwlogs/pt_cloudWatchLogEventWithPolicyLevel.json",
        Wire::CloudWatch,
        "2015-08-24T19:04:00Z",
    ),
    Case(
        "cwlogs/pt_kinesisStreamCloudWatchLogsEvent.json",
        Wire::CloudWatch,
        "2022-11-10T15:12:00Z",
    ),
    Case(
        "cwlogs/rust_example-cloudwatch_logs-event.json",
        Wire::CloudWatch,
        "2015-08-24T19:04:00Z",
    ),
    Case("cwlogs/sumo_cwlfixtures.json", Wire::CloudWatch, "2017-12-18T09:36:00Z"),
    Case("emf/py_add_metadata_output.json", Wire::Json, "2022-07-01T15:11:00Z"),
    Case("emf/py_capture_cold_start_metric_output.json", Wire::Json, "2022-07-01T14:59:00Z"),
    Case("emf/ts_addMetadataLog.json", Wire::Json, "2020-06-15T15:30:00Z"),
    Case("emf/ts_dimensionSetsLog.json", Wire::Json, "2025-11-17T22:15:00Z"),
    Case("emf/ts_multiValueMetricsLog.json", Wire::Json, "2020-06-15T15:30:00Z"),
    Case("firehose/cw_logs_control_and_bad_records.json", Wire::Firehose, "2023-05-18T15:35:00Z"),
    Case("firehose/cw_logs_mixed.json", Wire::Firehose, "2023-05-18T15:35:00Z"),
    Case("firehose/cw_logs_with_only_data_messages.json", Wire::Firehose, "2023-05-18T15:35:00Z"),
    Case(
        "firehose/decoded_cw_logs_with_only_data_messages.json",
        Wire::CloudWatchList,
        "2023-05-18T15:35:00Z",
    ),
    Case("firehose/dt_kinesis_request.json", Wire::Firehose, "2021-02-04T11:45:00Z"),
    Case("firehose/dt_kinesis_request_SNS_failure.json", Wire::Firehose, "2021-07-20T11:26:00Z"),
    Case(
        "firehose/dt_kinesis_request_record_data_decoded.txt",
        Wire::CloudWatchInProse,
        "2021-04-12T09:38:00Z",
    ),
    Case("gcp/alloy_pubsub_push_decoded_logentry.json", Wire::Pubsub, "2022-09-06T18:08:00Z"),
    Case("gcp/ce_binary_MessagePublishedData-complex.json", Wire::Pubsub, "2021-02-05T04:07:00Z"),
    Case("gcp/ce_structured_MessagePublishedData.json", Wire::Pubsub, "2021-02-05T04:07:00Z"),
    Case("gcp/dt_cloud_function_debug_text_record.json", Wire::Pubsub, "2021-04-13T10:28:00Z"),
    Case("gcp/dt_cloud_function_error_proto_record.json", Wire::Pubsub, "2021-04-13T10:28:00Z"),
    Case("gcp/dt_cloud_function_notice_json_record.json", Wire::Pubsub, "2021-04-13T10:28:00Z"),
    Case("gcp/dt_cloud_run_job_record.json", Wire::Pubsub, "2021-04-13T10:28:00Z"),
    Case("gcp/dt_cloudfunction_logentry.json", Wire::Pubsub, "2021-03-29T10:26:00Z"),
    Case(
        "gcp/dt_cloudfunction_logentry_invalid_timestamp.json",
        Wire::Pubsub,
        "2021-03-29T10:26:00Z",
    ),
    Case("gcp/ffc_legacy_pubsub-cloudevent-output.json", Wire::Pubsub, "2020-09-29T11:33:00Z"),
    Case("lambda-json-logs/lpt_json_log.ndjson", Wire::Json, "2024-02-09T08:43:00Z"),
    Case("lambda-json-logs/lpt_json_mixed_invalid.txt", Wire::Json, "2024-02-09T08:43:00Z"),
    Case("lambda-json-logs/lpt_json_mixed_with_plain.txt", Wire::Json, "2024-02-09T08:43:00Z"),
    Case("lambda-text-logs/dd_report_lines.json", Wire::NamedLines, "2024-02-09T08:43:00Z"),
    Case(
        "metricstream/cwstream_otel10_decoded.json",
        Wire::MetricStreamOtel,
        "2025-01-14T14:45:00Z",
    ),
    Case(
        "metricstream/otel_cwmetricstream_records_subset.ndjson",
        Wire::MetricStream,
        "2022-02-03T19:34:00Z",
    ),
    Case(
        "powertools-logs/py_bring_your_own_formatter_output.json",
        Wire::Json,
        "2021-12-30T13:42:00Z",
    ),
    Case(
        "powertools-logs/py_inject_lambda_context_output.json",
        Wire::Json,
        "2021-05-03T11:48:00Z",
    ),
    Case("powertools-logs/py_logging_stacktrace_output.json", Wire::Json, "2023-10-09T17:48:00Z"),
    Case("powertools-logs/py_sampling_debug_logs_output.json", Wire::Json, "2021-05-03T11:48:00Z"),
    Case(
        "powertools-logs/py_setting_utc_timestamp_output.json",
        Wire::Json,
        "2023-10-09T21:34:00Z",
    ),
    Case("powertools-logs/ts_correlationIdOutput.json", Wire::Json, "2021-05-03T11:48:00Z"),
    Case("powertools-logs/ts_logEventOutput.json", Wire::Json, "2024-08-14T10:09:00Z"),
    Case("telemetry-api/dd_bottlecap_batch.json", Wire::Telemetry, "2022-10-21T14:06:00Z"),
    Case("telemetry-api/dd_bottlecap_events.ndjson", Wire::Telemetry, "2022-10-21T14:06:00Z"),
    Case("telemetry-api/elastic_logsapi_client.json", Wire::Telemetry, "2021-02-04T20:01:00Z"),
    Case("telemetry-api/pyrepr_batch_invalid_json.txt", Wire::Telemetry, "2022-09-13T15:43:00Z"),
    Case("telemetry-api/rust_runtime_events.ndjson", Wire::Telemetry, "2022-10-21T14:06:00Z"),
];

/// Runs every case, and accounts for every file.
pub(crate) fn run(shared: &Path) -> Report {
    let samples = shared.join("samples/serverless");
    if !samples.is_dir() {
        let lines = vec![format!("no samples at {}", samples.display())];
        return Report { lines, problems: Vec::new() };
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/samples");
    let mut report = Report::default();
    for case in CASES {
        let outcome = check(case, &samples, &golden);
        report.lines.push(format!("{} {}/1", case.0, usize::from(outcome.is_ok())));
        report.problems.extend(outcome.err().map(|reason| format!("{}: {reason}", case.0)));
    }
    let unlisted = unlisted(&samples, &golden).into_iter();
    report.problems.extend(
        unlisted.map(|file| format!("{file}: neither a case nor listed in not-payloads.txt")),
    );
    report
}

fn check(case: &Case, samples: &Path, golden: &Path) -> Result<(), String> {
    let Case(file, wire, arrived) = case;
    let body = fs::read(samples.join(file)).map_err(|e| format!("cannot read it: {e}"))?;
    let got = shown(&body, *wire, arrived)?;
    let path = golden.join(format!("{}.txt", file.trim_start_matches("../")));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return write(&path, &got);
    }
    let expected = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if expected == got { Ok(()) } else { Err(difference(&expected, &got)) }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).and_then(|()| fs::write(path, text)).map_err(|e| e.to_string())
}

fn difference(expected: &str, got: &str) -> String {
    let (mut old, mut new) = (expected.lines(), got.lines());
    let mut line = 1;
    loop {
        match (old.next(), new.next()) {
            (None, None) => return "the texts differ in their line ends".to_owned(),
            (a, b) if a == b => line += 1,
            (a, b) => {
                let show = |text: Option<&str>| text.unwrap_or("(nothing)").to_owned();
                return format!("line {line}\n- {}\n+ {}", show(a), show(b));
            }
        }
    }
}

fn shown(body: &[u8], wire: Wire, arrived: &str) -> Result<String, String> {
    let arrived = Timestamp::parse_rfc3339(arrived).ok_or("the case's time is none")?;
    let origin = Origin { arrived, ..Origin::default() };
    let text = match normalize(body, wire, &origin)? {
        Ok(normalized) => digest(&show::text(&normalized)),
        Err(undecodable) => format!("undecodable: {undecodable}"),
    };
    Ok(format!("{text}\n"))
}

pub(crate) type Outcome = Result<Normalized, Undecodable>;

/// Reads a body by its wire; an error where it is not even what the wire unwraps.
pub(crate) fn normalize(body: &[u8], wire: Wire, origin: &Origin) -> Result<Outcome, String> {
    let config = Config::default();
    let json = || serde_json::from_slice::<Value>(body).map_err(|e| e.to_string());
    let cloudwatch =
        |body: &[u8]| cloudwatch_logs::normalize(body, origin, &config, DECOMPRESSED_MAX);
    let by_firehose = |body: &[u8]| {
        firehose::normalize(body, origin, &config, DECOMPRESSED_MAX)
            .map(|delivery| delivery.normalized)
    };
    Ok(match wire {
        Wire::Xray => xray::normalize(body, origin, &config),
        Wire::Cloudflare => cloudflare::normalize(body, origin, &config),
        Wire::Vercel => vercel::normalize(body, origin, &config),
        Wire::Json => json_log::normalize(body, origin, &config),
        Wire::Telemetry => lambda_telemetry::normalize(body, origin, &config),
        Wire::MetricStream => metric_stream::normalize(body, origin, &config),
        Wire::CloudWatch => cloudwatch(body),
        Wire::Firehose => by_firehose(body),
        Wire::NamedLines => {
            let object = json()?;
            let lines: Vec<&Value> =
                object.as_object().into_iter().flat_map(|o| o.values()).collect();
            let body = serde_json::to_vec(&lines).map_err(|e| e.to_string())?;
            json_log::normalize(&body, origin, &config)
        }
        Wire::CloudWatchList => {
            let list = json()?;
            let payloads: String =
                list.as_array().into_iter().flatten().map(Value::to_string).collect();
            cloudwatch(payloads.as_bytes())
        }
        Wire::CloudWatchInProse => {
            let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
            let start = text.find('{').unwrap_or_default();
            let end = text.rfind("\n}").map_or(text.len(), |at| at + 2);
            cloudwatch(text.get(start..end).unwrap_or_default().as_bytes())
        }
        Wire::Eventhub => azure_records::normalize(body, origin, &config),
        Wire::Pubsub => {
            pubsub::normalize(body, origin, &config, DECOMPRESSED_MAX).map(|push| push.normalized)
        }
        Wire::Event => json_log::normalize(&logged(&json()?), origin, &config),
        Wire::Received => {
            let mut messages = Vec::new();
            received(json()?, &mut messages);
            json_log::normalize(&logged(&json!({ "Records": messages })), origin, &config)
        }
        Wire::MetricStreamOtel => by_firehose(&otel_metrics::firehose_body(&json()?)?),
    })
}

/// The record of a function that logs its event.
fn logged(event: &Value) -> Vec<u8> {
    let record = json!({
        "level": "INFO", "message": "received", "function_name": "consumer",
        "function_request_id": "7b1f3a52-0f0c-4b0e-9a53-1c2d3e4f5a6b", "event": event,
    });
    record.to_string().into_bytes()
}

/// The messages anywhere in an answer, their bodies as text again.
fn received(value: Value, messages: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.into_iter().for_each(|item| received(item, messages)),
        Value::Object(mut object) if object.contains_key("ReceiptHandle") => {
            if let Some(body) = object.get_mut("Body").filter(|body| body.is_object()) {
                *body = Value::String(body.to_string());
            }
            messages.push(Value::Object(object));
        }
        Value::Object(object) => {
            object.into_iter().for_each(|(_, inner)| received(inner, messages));
        }
        _ => {}
    }
}

/// The text, or for many lines how often each kind of signal comes, the first lines and the last.
fn digest(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= LINES_MAX {
        return text.to_owned();
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for line in &lines {
        let words: Vec<&str> = line.split([' ', '{']).collect();
        let kind = match words.as_slice() {
            [_, kind @ ("platform" | "metric"), what, ..] => format!("{kind} {what}"),
            [_, "log", ..] => "log".to_owned(),
            _ => continue,
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let mut shown: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} x {kind}")).collect();
    shown.extend(lines.iter().take(HEAD_LINES).map(ToString::to_string));
    shown.push("...".to_owned());
    shown.extend(lines.last().map(ToString::to_string));
    shown.join("\n")
}

/// Files of the folders that nobody accounts for.
fn unlisted(samples: &Path, golden: &Path) -> Vec<String> {
    let listed = fs::read_to_string(golden.join("not-payloads.txt")).unwrap_or_default();
    let is_listed = |file: &str| listed.lines().any(|line| line.split(": ").next() == Some(file));
    let mut files = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(samples.join(folder)) else { continue };
        let names = entries
            .flatten()
            .map(|entry| entry.path())
            .filter_map(|path: PathBuf| Some(format!("{folder}/{}", path.file_name()?.to_str()?)));
        files.extend(
            names.filter(|file| {
                !is_listed(file) && !CASES.iter().any(|case| case.0 == file.as_str())
            }),
        );
    }
    files.sort();
    files
}
