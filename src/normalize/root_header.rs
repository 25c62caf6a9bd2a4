//! Trace positions in log fields: X-Ray's ids and headers, W3C's `traceparent`.
//!
//! Text in, a [`TraceContext`] out; ids of zeros and of wrong lengths are never taken.

use crate::signal::{SpanId, TraceContext, TraceId};

/// Reads `Root=1-8hex-24hex;Parent=16hex;…` in any order (unknown keys are passed over), a bare
/// `1-8hex-24hex`, a `traceparent`, or 32 hex digits.
pub(crate) fn trace_context(text: &str) -> Option<TraceContext> {
    let text = text.trim();
    if text.contains('=') {
        let value = |name: &str| {
            text.split(';').find_map(|part| {
                let (key, value) = part.trim().split_once('=')?;
                key.eq_ignore_ascii_case(name).then_some(value)
            })
        };
        let trace_id = xray_root(value("Root")?)?;
        return Some(TraceContext {
            trace_id,
            span_id: value("Parent").and_then(SpanId::from_hex),
        });
    }
    traceparent(text).or_else(|| {
        let trace_id = xray_root(text).or_else(|| TraceId::from_hex(text))?;
        Some(TraceContext { trace_id, span_id: None })
    })
}

/// `1-8hex-24hex` without its version and dashes is the W3C trace id.
fn xray_root(text: &str) -> Option<TraceId> {
    let (epoch, unique) = text.strip_prefix("1-")?.split_once('-')?;
    (epoch.len() == 8 && unique.len() == 24)
        .then(|| TraceId::from_hex(&format!("{epoch}{unique}")))
        .flatten()
}

/// W3C Trace Context 3.2; later versions may add fields at the end.
fn traceparent(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let version = parts.next().filter(|v| v.len() == 2 && *v != "ff")?;
    version.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
    let trace_id = TraceId::from_hex(parts.next()?)?;
    let span_id = SpanId::from_hex(parts.next()?)?;
    parts.next().filter(|flags| flags.len() == 2)?;
    Some(TraceContext { trace_id, span_id: Some(span_id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let shown = trace_context(text)
            .map_or_else(|| "none".to_owned(), |t| format!("{} {:?}", t.trace_id, t.span_id));
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn each_spelling_gives_the_same_trace() {
        let trace = "67891233abcdef012345678912345678";
        check(
            "Sampled=1;Lineage=a:1|b:2;Parent=463ac35c9f6413ad;Root=1-67891233-abcdef012345678912345678",
            &format!("{trace} Some(463ac35c9f6413ad)"),
        );
        check("1-67891233-abcdef012345678912345678", &format!("{trace} None"));
        check(trace, &format!("{trace} None"));
        check(
            "00-67891233abcdef012345678912345678-463ac35c9f6413ad-01",
            &format!("{trace} Some(463ac35c9f6413ad)"),
        );
    }

    #[test]
    fn what_is_no_position_is_none() {
        for text in ["", "Root=", "1-67891233", "Root=2-67891233-abcdef012345678912345678", "0000"]
        {
            check(text, "none");
        }
    }
}
