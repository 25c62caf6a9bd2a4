//! A span and a log record as the wire gives them, before they are judged.
//!
//! In: filled field by field by the protobuf walker or the JSON reader. Out: taken by
//! [`super::gather`]. Texts are borrowed from the body where it allows.

use std::borrow::Cow;

use crate::normalize::semconv::{Exception, SpanStatus};
use crate::signal::{Attributes, SpanId, SpanKind, TraceId, Value};

use super::id::Id;

/// `opentelemetry.proto.trace.v1.Span`, as far as it matters.
#[derive(Clone, Debug, Default)]
pub(super) struct RawSpan<'a> {
    pub(super) trace_id: Id<TraceId>,
    pub(super) span_id: Id<SpanId>,
    pub(super) parent_id: Id<SpanId>,
    /// The enum's number.
    pub(super) kind: i32,
    pub(super) name: Cow<'a, str>,
    /// Nanoseconds since the epoch; 0 is not told.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) attributes: Attributes,
    pub(super) links: Vec<RawLink>,
    /// The last exception among its events.
    pub(super) exception: Option<Exception>,
    /// The enum's number.
    pub(super) status: i32,
    pub(super) status_message: Cow<'a, str>,
}

/// `Span.Link`.
#[derive(Clone, Debug, Default)]
pub(super) struct RawLink {
    pub(super) trace_id: Id<TraceId>,
    pub(super) span_id: Id<SpanId>,
    pub(super) attributes: Attributes,
}

/// `opentelemetry.proto.logs.v1.LogRecord`, as far as it matters.
#[derive(Clone, Debug, Default)]
pub(super) struct RawLog<'a> {
    /// Nanoseconds since the epoch; 0 is not told.
    pub(super) time: u64,
    pub(super) observed: u64,
    pub(super) severity: i32,
    pub(super) severity_text: Cow<'a, str>,
    pub(super) body: Option<Value>,
    pub(super) attributes: Attributes,
    pub(super) trace_id: Id<TraceId>,
    pub(super) span_id: Id<SpanId>,
}

/// The span's kind; an unspecified or unknown one is internal (trace.proto, `SpanKind`).
pub(super) fn span_kind(number: i32) -> SpanKind {
    match number {
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

pub(super) fn span_status(number: i32) -> SpanStatus {
    match number {
        1 => SpanStatus::Ok,
        2 => SpanStatus::Error,
        _ => SpanStatus::Unset,
    }
}
