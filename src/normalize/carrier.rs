//! Carriers: the headers, attributes and objects in which tracers pass a trace on.
//!
//! A JSON object in, the position in a trace that it carries out. Names are read in any case. Where
//! several tracers wrote, the one whose ids are those of the sender's own spans comes first: W3C (under the
//! name of Google's client libraries too), B3, Datadog, Google Cloud, then X-Ray, which a platform adds by
//! itself.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::json_fields::Object;
use super::trace_header::{
    HEADER_BYTES_MAX, b3, datadog, traceparent, x_amzn_trace_id, x_cloud_trace_context,
};
use crate::signal::TraceContext;

/// Fields of one carrier that are looked at: servers allow about a hundred headers.
const FIELDS_MAX: usize = 256;
/// Longest text that is searched for an object, in bytes: the largest message of SQS, SNS and EventBridge.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Fields that tracers write, as text.
#[derive(Debug, Default)]
struct Written<'a> {
    traceparent: Option<Cow<'a, str>>,
    /// The same, as an attribute of a `CloudEvent` among headers.
    cloud_event: Option<Cow<'a, str>>,
    /// The same, from the client libraries of Pub/Sub.
    googclient: Option<Cow<'a, str>>,
    b3: Option<Cow<'a, str>>,
    b3_trace: Option<Cow<'a, str>>,
    b3_span: Option<Cow<'a, str>>,
    datadog_trace: Option<Cow<'a, str>>,
    datadog_parent: Option<Cow<'a, str>>,
    datadog_tags: Option<Cow<'a, str>>,
    google: Option<Cow<'a, str>>,
    xray: Option<Cow<'a, str>>,
    /// Datadog's carrier as a whole: an object, its text, or that in base64.
    datadog: Option<&'a Value>,
}

impl<'a> Written<'a> {
    fn of(carrier: &'a Object) -> Self {
        let mut written = Self::default();
        for (name, value) in carrier.iter().take(FIELDS_MAX) {
            let slot = match name.to_ascii_lowercase().as_str() {
                "traceparent" => &mut written.traceparent,
                "ce-traceparent" | "ce_traceparent" => &mut written.cloud_event,
                "googclient_traceparent" => &mut written.googclient,
                "b3" => &mut written.b3,
                "x-b3-traceid" => &mut written.b3_trace,
                "x-b3-spanid" => &mut written.b3_span,
                "x-datadog-trace-id" => &mut written.datadog_trace,
                "x-datadog-parent-id" => &mut written.datadog_parent,
                "x-datadog-tags" => &mut written.datadog_tags,
                "x-cloud-trace-context" => &mut written.google,
                "x-amzn-trace-id" | "awstraceheader" | "traceheader" | "trace-header" => {
                    &mut written.xray
                }
                "_datadog" => {
                    written.datadog = Some(value);
                    continue;
                }
                _ => continue,
            };
            *slot = text(value);
        }
        written
    }

    fn position(&self) -> Option<TraceContext> {
        let b3_pair = || b3(&format!("{}-{}", self.b3_trace.as_ref()?, self.b3_span.as_ref()?));
        let ids = || {
            let tags = self.datadog_tags.as_deref().unwrap_or_default();
            datadog(self.datadog_trace.as_deref()?, self.datadog_parent.as_deref(), tags)
        };
        let nested = || {
            let object = self.datadog_object()?;
            Written::of(&object).ids_inside()
        };
        let by = |header: &Option<Cow<'_, str>>, read: fn(&str) -> Option<TraceContext>| {
            header.as_deref().and_then(read)
        };
        by(&self.traceparent, traceparent)
            .or_else(|| by(&self.cloud_event, traceparent))
            .or_else(|| by(&self.googclient, traceparent))
            .or_else(|| by(&self.b3, b3))
            .or_else(b3_pair)
            .or_else(ids)
            .or_else(nested)
            .or_else(|| by(&self.google, x_cloud_trace_context))
            .or_else(|| by(&self.xray, x_amzn_trace_id))
    }

    /// What Datadog's object says; one inside it would be nobody's.
    fn ids_inside(mut self) -> Option<TraceContext> {
        self.datadog = None;
        self.position()
    }

    fn datadog_object(&self) -> Option<Cow<'a, Object>> {
        let value = self.datadog?;
        match value.as_object().filter(|object| !is_attribute(object)) {
            Some(object) => Some(Cow::Borrowed(object)),
            None => object_in(&text(value)?).map(Cow::Owned),
        }
    }
}

/// The position that a carrier names.
pub(crate) fn read(carrier: &Object) -> Option<TraceContext> {
    Written::of(carrier).position()
}

/// An object that is written as text, or as base64 of that.
pub(crate) fn object_in(text: &str) -> Option<Object> {
    let text = text.trim();
    if text.len() > PAYLOAD_BYTES_MAX {
        return None;
    }
    if text.starts_with('{') {
        return serde_json::from_str(text).ok();
    }
    // `{"`, `{ ` and `{` with a line's end begin so in base64.
    let is_packed = ["eyJ", "eyA", "ewo", "ew0"].iter().any(|start| text.starts_with(start));
    is_packed.then(|| STANDARD.decode(text).ok()).flatten().and_then(|plain| {
        let object: Object = serde_json::from_slice(&plain).ok()?;
        Some(object)
    })
}

/// The attribute of a message, in the spelling of SQS's events, of its API, or of SNS.
fn is_attribute(object: &Object) -> bool {
    ["dataType", "DataType", "Type"].iter().any(|name| object.contains_key(*name))
}

/// A field's text: a header, the first of several, a message attribute, or bytes as Kafka and RabbitMQ have them.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Array(items) => match items.first()? {
            Value::String(first) => Some(Cow::Borrowed(first)),
            _ => bytes(items).map(Cow::Owned),
        },
        Value::Object(attribute) => {
            if let Some(items) = attribute.get("bytes").and_then(Value::as_array) {
                return bytes(items).map(Cow::Owned);
            }
            let plain = ["stringValue", "StringValue", "Value"];
            let packed = ["binaryValue", "BinaryValue"];
            let first = |names: &[&str]| names.iter().find_map(|name| attribute.get(*name));
            first(&plain).or_else(|| first(&packed))?.as_str().map(Cow::Borrowed)
        }
        _ => None,
    }
}

fn bytes(items: &[Value]) -> Option<String> {
    let byte = |item: &Value| item.as_u64().and_then(|byte| u8::try_from(byte).ok());
    let bytes: Option<Vec<u8>> = items.iter().take(HEADER_BYTES_MAX).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(carriers: &[Value], expect: &Expect) {
        let shown = carriers.iter().map(|carrier| match read(carrier.as_object().unwrap()) {
            Some(TraceContext { trace_id, span_id: Some(span) }) => format!("{trace_id}/{span}\n"),
            Some(TraceContext { trace_id, span_id: None }) => format!("{trace_id}\n"),
            None => "nothing\n".to_owned(),
        });
        expect.assert_eq(&shown.collect::<String>());
    }

    #[test]
    fn every_tracers_headers_are_read_in_any_case() {
        check(
            &[
                json!({"TraceParent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
                json!({"googclient_traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
                json!({"X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad"}),
                json!({"AWSTraceHeader": "Root=1-67891233-abcdef012345678912345678"}),
                json!({"b3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"}),
                json!({"X-B3-TraceId": "64fe8b2a57d3eff7", "x-b3-spanid": "e457b5a2e4d86bd1"}),
                json!({"X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/1;o=1"}),
                json!({"x-datadog-trace-id": "987654321", "x-datadog-parent-id": "1234567890",
                    "x-datadog-tags": "_dd.p.tid=68126c4300000000,_dd.p.dm=-0"}),
                json!({"x-datadog-trace-id": "987654321"}),
                json!({"x-datadog-trace-id": "0", "x-datadog-parent-id": "7"}),
                json!({"x-b3-traceid": "64fe8b2a57d3eff7"}),
                json!({"host": "shop.example", "_datadog": 7}),
            ],
            &expect![[r#"
                0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331
                0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331
                67891233abcdef012345678912345678/463ac35c9f6413ad
                67891233abcdef012345678912345678
                80f198ee56343ba864fe8b2a57d3eff7/e457b5a2e4d86bd1
                000000000000000064fe8b2a57d3eff7/e457b5a2e4d86bd1
                105445aa7843bc8bf206b12000100000/0000000000000001
                68126c4300000000000000003ade68b1/00000000499602d2
                0000000000000000000000003ade68b1
                nothing
                nothing
                nothing
            "#]],
        );
    }

    #[test]
    fn attributes_bytes_and_packed_carriers_are_opened() {
        let carrier = json!({"x-datadog-trace-id": "11", "x-datadog-parent-id": "22"});
        let packed = STANDARD.encode(carrier.to_string());
        let bytes: Vec<u8> = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into();
        check(
            &[
                json!({"_datadog": carrier}),
                json!({"_datadog": carrier.to_string()}),
                json!({"_datadog": {"dataType": "String", "stringValue": carrier.to_string()}}),
                json!({"_datadog": {"dataType": "Binary", "binaryValue": packed}}),
                json!({"_datadog": {"Type": "Binary", "Value": packed}}),
                json!({"traceparent": bytes}),
                json!({"traceparent": {"DataType": "String", "StringValue":
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}),
                json!({"_datadog": {"_datadog": {"_datadog": carrier}}}),
            ],
            &expect![[r#"
                0000000000000000000000000000000b/0000000000000016
                0000000000000000000000000000000b/0000000000000016
                0000000000000000000000000000000b/0000000000000016
                0000000000000000000000000000000b/0000000000000016
                0000000000000000000000000000000b/0000000000000016
                0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331
                0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331
                nothing
            "#]],
        );
    }

    #[test]
    fn the_senders_own_tracer_wins_over_the_platforms_header() {
        check(
            &[json!({
                "x-amzn-trace-id": "Root=1-67891233-abcdef012345678912345678",
                "x-datadog-trace-id": "11", "x-datadog-parent-id": "22",
                "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            })],
            &expect![[r#"
                0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331
            "#]],
        );
    }
}
