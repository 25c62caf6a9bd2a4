//! Trace contexts as headers carry them: W3C, AWS X-Ray, Google Cloud, B3, Datadog.
//!
//! In: a header's value as text, from anyone. Out: the position in a trace that it names, or None
//! where it names none. A context without a valid trace id is never given.

use crate::signal::{SpanId, TraceContext, TraceId};

/// Longest header value looked at, in bytes: an X-Ray header with `Self`, `Lineage` and baggage stays
/// far below it.
pub(crate) const HEADER_BYTES_MAX: usize = 2048;

/// Reads W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`. Later versions may append fields; version
/// `ff` is invalid (W3C Trace Context 3.2.2.1).
pub fn traceparent(header: &str) -> Option<TraceContext> {
    let mut parts = bounded(header)?.split('-');
    let version = parts.next().filter(|v| is_hex(v, 2) && !v.eq_ignore_ascii_case("ff"))?;
    let trace_id = TraceId::from_hex(parts.next()?)?;
    let span_id = SpanId::from_hex(parts.next()?)?;
    parts.next().filter(|flags| is_hex(flags, 2))?;
    if version == "00" && parts.next().is_some() {
        return None;
    }
    Some(TraceContext { trace_id, span_id: Some(span_id) })
}

/// Reads `X-Amzn-Trace-Id` (also SQS's `AWSTraceHeader` and `_X_AMZN_TRACE_ID`):
/// `Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;…` in any order; unknown keys are skipped. A bare root, as
/// Powertools logs it, is read as well. The root's two parts are the W3C id.
pub fn x_amzn_trace_id(header: &str) -> Option<TraceContext> {
    let (mut root, mut parent) = (None, None);
    for part in bounded(header)?.split(';') {
        match part.split_once('=') {
            Some((key, value)) if key.trim().eq_ignore_ascii_case("root") => root = Some(value),
            Some((key, value)) if key.trim().eq_ignore_ascii_case("parent") => parent = Some(value),
            None if root.is_none() => root = Some(part),
            Some(_) | None => {}
        }
    }
    Some(TraceContext {
        trace_id: xray_root(root?.trim())?,
        span_id: parent.and_then(|id| SpanId::from_hex(id.trim())),
    })
}

/// Reads `X-Cloud-Trace-Context`: `<32 hex>[/<span id in decimal>][;o=<0|1>]` (Cloud Trace docs,
/// "Legacy HTTP header"). A span id of 0 means none.
pub fn x_cloud_trace_context(header: &str) -> Option<TraceContext> {
    let ids = bounded(header)?.split(';').next()?;
    let (trace, span) = ids.split_once('/').map_or((ids, None), |(t, s)| (t, Some(s)));
    let span_id = span.and_then(|digits| digits.trim().parse::<u64>().ok());
    Some(TraceContext {
        trace_id: TraceId::from_hex(trace.trim())?,
        span_id: span_id.and_then(|id| SpanId::from_bytes(&id.to_be_bytes())),
    })
}

/// Reads the single header `b3`: `<16 or 32 hex>-<16 hex>[-<sampled>[-<parent>]]`. Short trace ids are
/// padded on the left (openzipkin/b3-propagation). A lone sampling decision names no trace.
pub fn b3(header: &str) -> Option<TraceContext> {
    let mut parts = bounded(header)?.split('-');
    let trace = parts.next()?;
    let span_id = SpanId::from_hex(parts.next()?)?;
    let trace_id = match trace.len() {
        16 => TraceId::from_hex(&format!("{trace:0>32}")),
        _ => TraceId::from_hex(trace),
    }?;
    Some(TraceContext { trace_id, span_id: Some(span_id) })
}

/// Reads Datadog's ids: `x-datadog-trace-id` is the lower half of the trace id in decimal, `_dd.p.tid`
/// of `x-datadog-tags` the upper in hex (16 digits; absent where ids are 64 bits long),
/// `x-datadog-parent-id` the span in decimal.
pub fn datadog(trace: &str, parent: Option<&str>, tags: &str) -> Option<TraceContext> {
    let decimal = |digits: &str| digits.trim().parse::<u64>().ok();
    let lower = decimal(trace).filter(|&half| half != 0)?;
    let told = bounded(tags)?.split(',').find_map(|tag| tag.trim().strip_prefix("_dd.p.tid="));
    let upper = told.filter(|half| is_hex(half, 16));
    let trace_id =
        TraceId::from_hex(&format!("{}{lower:016x}", upper.unwrap_or("0000000000000000")))?;
    let span_id = parent.and_then(decimal).and_then(|id| SpanId::from_bytes(&id.to_be_bytes()));
    Some(TraceContext { trace_id, span_id })
}

/// `1-<8 hex>-<24 hex>` to the 32 digits.
fn xray_root(root: &str) -> Option<TraceId> {
    let mut parts = root.split('-');
    let (version, time, rest) = (parts.next()?, parts.next()?, parts.next()?);
    if version != "1" || time.len() != 8 || rest.len() != 24 || parts.next().is_some() {
        return None;
    }
    let mut digits = [0_u8; 32];
    digits.get_mut(..8)?.copy_from_slice(time.as_bytes());
    digits.get_mut(8..)?.copy_from_slice(rest.as_bytes());
    TraceId::from_hex(std::str::from_utf8(&digits).ok()?)
}

fn bounded(header: &str) -> Option<&str> {
    (header.len() <= HEADER_BYTES_MAX).then(|| header.trim())
}

fn is_hex(text: &str, n_digits: usize) -> bool {
    text.len() == n_digits && text.bytes().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(read: fn(&str) -> Option<TraceContext>, headers: &[&str], expect: &Expect) {
        let lines: Vec<String> = headers
            .iter()
            .map(|header| match read(header) {
                Some(TraceContext { trace_id, span_id: Some(span) }) => {
                    format!("{trace_id}/{span}")
                }
                Some(TraceContext { trace_id, span_id: None }) => format!("{trace_id}/-"),
                None => format!("no context: {header:?}"),
            })
            .collect();
        expect.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn traceparent_is_read_by_the_letter_and_later_versions_may_be_longer() {
        check(
            traceparent,
            &[
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                " 00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-00 ",
                "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                "00-4bf92f3577b34da6a3ce929d0e0e4736",
                "",
            ],
            &expect![[r#"
                4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7
                4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7
                4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7
                no context: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"
                no context: "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
                no context: "00-00000000000000000000000000000000-00f067aa0ba902b7-01"
                no context: "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"
                no context: "00-4bf92f3577b34da6a3ce929d0e0e4736"
                no context: """#]],
        );
    }

    #[test]
    fn xray_headers_are_read_in_any_order_and_unknown_keys_are_skipped() {
        check(
            x_amzn_trace_id,
            &[
                "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=1",
                "Sampled=?;Parent=463ac35c9f6413ad;Lineage=a87bd80c:1|68fd508a:5;Root=1-67891233-abcdef012345678912345678",
                "Self=1-67891233-000000000000000000000001;Root=1-67891233-ABCDEF012345678912345678",
                "1-67891233-abcdef012345678912345678",
                "Root=1-67891233-abcdef012345678912345678;Parent=xyz",
                "Root=2-67891233-abcdef012345678912345678",
                "Root=1-67891233-abcdef0123456789123456é8",
                "Root=1-00000000-000000000000000000000000",
                "Parent=463ac35c9f6413ad;Sampled=1",
            ],
            &expect![[r#"
                67891233abcdef012345678912345678/463ac35c9f6413ad
                67891233abcdef012345678912345678/463ac35c9f6413ad
                67891233abcdef012345678912345678/-
                67891233abcdef012345678912345678/-
                67891233abcdef012345678912345678/-
                no context: "Root=2-67891233-abcdef012345678912345678"
                no context: "Root=1-67891233-abcdef0123456789123456é8"
                no context: "Root=1-00000000-000000000000000000000000"
                no context: "Parent=463ac35c9f6413ad;Sampled=1""#]],
        );
    }

    #[test]
    fn google_span_ids_are_decimal() {
        check(
            x_cloud_trace_context,
            &[
                "105445aa7843bc8bf206b12000100000/1;o=1",
                "105445aa7843bc8bf206b12000100000/18446744073709551615",
                "105445aa7843bc8bf206b12000100000/0;o=0",
                "105445aa7843bc8bf206b12000100000",
                "105445aa/1;o=1",
            ],
            &expect![[r#"
                105445aa7843bc8bf206b12000100000/0000000000000001
                105445aa7843bc8bf206b12000100000/ffffffffffffffff
                105445aa7843bc8bf206b12000100000/-
                105445aa7843bc8bf206b12000100000/-
                no context: "105445aa/1;o=1""#]],
        );
    }

    #[test]
    fn short_b3_trace_ids_are_padded() {
        check(
            b3,
            &[
                "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90",
                "64fe8b2a57d3eff7-e457b5a2e4d86bd1",
                "64fe8b2a57d3eff7-e457b5a2e4d86bd1-d",
                "0",
                "64fe8b2a57d3eff-e457b5a2e4d86bd1",
            ],
            &expect![[r#"
                80f198ee56343ba864fe8b2a57d3eff7/e457b5a2e4d86bd1
                000000000000000064fe8b2a57d3eff7/e457b5a2e4d86bd1
                000000000000000064fe8b2a57d3eff7/e457b5a2e4d86bd1
                no context: "0"
                no context: "64fe8b2a57d3eff-e457b5a2e4d86bd1""#]],
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(header in ".{0,80}") {
            for read in [traceparent, x_amzn_trace_id, x_cloud_trace_context, b3] {
                let _ = read(&header);
            }
        }
    }
}
