//! Inert nouns that every stage shares: ids, times, labels, and the signals themselves.
//!
//! Nothing here does I/O, reads a clock or knows a wire format. A [`Batch`] is what one accepted
//! delivery became after normalizing; it is what the journal stores and the engine applies.

pub mod attributes;
pub mod batch;
pub mod diagnostic;
pub mod duration;
pub mod facts;
pub mod id;
pub mod labels;
pub mod masked;
pub mod metric;
pub mod odd;
pub mod secret_hash;
pub mod shown;
pub mod source_queues;
pub mod time;

pub use attributes::{Attributes, Value};
pub use batch::{
    Batch, LogRecord, Platform, PlatformStage, PlatformStatus, Receiver, Resource, Severity,
    Signal, SignalKind, Span, SpanKind, SpanLink,
};
pub use diagnostic::Diagnostic;
pub use duration::{format_duration, parse_bytes, parse_duration};
pub use facts::{ErrorFact, ErrorKind, Facts, Http, MessageRef, Peer, TraceContext, Via, Workflow};
pub use id::{Fnv128, SpanId, TraceId, hex_pair, span_identity};
pub use labels::{Labels, METRIC_NAME};
pub use metric::{
    BucketSpan, Exemplar, HistogramPoint, MetricMetadata, MetricPoint, MetricType, MetricValue,
    NativeHistogram, Remark, ResetHint, STALE_NAN_BITS, SummaryPoint, Temporality,
};
pub use odd::{OddKind, Oddity};
pub use secret_hash::SecretHash;
pub use source_queues::source_queues;
pub use time::Timestamp;

/// Shared immutable text.
pub type Text = std::sync::Arc<str>;
