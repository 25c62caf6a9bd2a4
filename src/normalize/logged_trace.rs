//! Trace positions in log fields, where nothing but the text tells which kind it is.
//!
//! Text in, a [`TraceContext`] out: X-Ray's header or bare root, W3C's `traceparent`, or a trace id alone.

use super::trace_header::{traceparent, x_amzn_trace_id};
use crate::signal::{TraceContext, TraceId};

/// Reads `Root=1-8hex-24hex;Parent=16hex;…`, a bare `1-8hex-24hex`, a `traceparent`, or 32 hex digits.
pub(crate) fn trace_context(text: &str) -> Option<TraceContext> {
    let text = text.trim();
    traceparent(text).or_else(|| x_amzn_trace_id(text)).or_else(|| {
        let trace_id = TraceId::from_hex(text)?;
        Some(TraceContext { trace_id, span_id: None })
    })
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
