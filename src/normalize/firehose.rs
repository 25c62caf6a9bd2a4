//! The Firehose HTTP endpoint's body: records of base64, unpacked and read by what they hold.
//!
//! `{"requestId","timestamp","records":[{"data":…}]}` in; CloudWatch Logs payloads, metric stream records
//! (JSON or OpenTelemetry 1.0) or plain NDJSON inside. A bad record is rejected under its position and the
//! others are taken, because Firehose would repeat the whole delivery for it, in vain, for hours. The shape
//! of a Firehose transformation event (`invocationId`, `recordId`) is read too.
//! Source: docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::cloudwatch_logs::{self, unpack};
use super::gather::Gather;
use super::json_log::Rules;
use super::redact::Redactor;
use super::{Config, Normalized, Origin, Undecodable, json_log, metric_stream, metric_stream_otel};
use crate::signal::{Receiver, Resource, Text};

/// Firehose sends at most 10,000 records in one request.
const RECORDS_MAX: usize = 10_000;

/// What a delivery became, and the request id that the answer must repeat.
#[derive(Clone, Debug, PartialEq)]
pub struct FirehoseDelivery {
    pub request_id: String,
    pub normalized: Normalized,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow, alias = "invocationId")]
    request_id: Cow<'a, str>,
    #[serde(borrow, default)]
    region: Option<Cow<'a, str>>,
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
}

/// Reads a request's body. All its records together may hold `decompressed_max` bytes once unpacked; a
/// record that finds no room is rejected.
pub fn normalize(
    body: &[u8],
    origin: &Origin,
    config: &Config,
    decompressed_max: usize,
) -> Result<FirehoseDelivery, Undecodable> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|e| Undecodable {
        offset: e.column().saturating_sub(1),
        message: format!("no Firehose delivery: {e}"),
    })?;
    if body.records.len() > RECORDS_MAX {
        origin.allowance.end_at_too_many();
        let message = format!("more than {RECORDS_MAX} records in one request; send smaller ones");
        return Err(Undecodable { offset: 0, message });
    }
    let redactor = Redactor::new(&config.redact);
    let rules = Rules { fields: &config.fields, redactor: &redactor };
    let mut gather = Gather::new(Receiver::Firehose, origin, &redactor);
    let mut speaker = gather.nobody();
    speaker.region = body.region.as_deref().map(Text::from);
    let mut room = decompressed_max;
    for (position, record) in body.records.iter().enumerate() {
        gather.at(position);
        let unpacked = serde_json::from_str::<Record<'_>>(record.get())
            .map_err(|e| format!("no record: {e}"))
            .and_then(|record| unpack(&record.data, room));
        match unpacked {
            Ok(plain) => {
                room = room.saturating_sub(plain.len());
                read_content(&plain, &speaker, rules, &mut gather);
            }
            Err(reason) => gather.reject(&reason),
        }
    }
    Ok(FirehoseDelivery { request_id: body.request_id.into_owned(), normalized: gather.finish()? })
}

fn read_content(plain: &[u8], speaker: &Resource, rules: Rules<'_>, gather: &mut Gather) {
    if plain.trim_ascii().is_empty() {
        gather.reject("the record is empty");
    } else if cloudwatch_logs::is_payload(plain) {
        cloudwatch_logs::read_into(plain, speaker, rules, gather);
    } else if metric_stream::is_records(plain) {
        metric_stream::read_into(plain, speaker, gather);
    } else if metric_stream_otel::is_requests(plain) {
        metric_stream_otel::read_into(plain, speaker, gather);
    } else if is_binary(plain) {
        gather.reject(
            "the record is neither text nor of a binary format that is known, or it is cut off",
        );
    } else {
        json_log::read_into(plain, speaker, rules, gather);
    }
}

/// Logs hold no control characters but those of lines, tabs and colours.
fn is_binary(plain: &[u8]) -> bool {
    let is_odd = |b: &u8| b.is_ascii_control() && !matches!(b, b'\t' | b'\n' | b'\r' | 0x1b);
    plain.iter().take(64).any(is_odd)
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
#[path = "firehose_tests.rs"]
mod tests;
