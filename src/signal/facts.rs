//! What a span or a log record says about the invocation it belongs to and the messages that it
//! handled, in one vocabulary, whatever the dialect.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fnv128, SpanId, Text, Timestamp, TraceId};

/// Everything a signal says that matters for joining and judging. Empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The platform's request id: `faas.invocation_id`, Lambda's `requestId`.
    pub invocation_id: Option<Text>,
    /// The function, where the signal names it and its resource does not (or names another).
    pub function: Option<Text>,
    pub correlation_ids: Vec<Text>,
    /// Messages that this signal says were sent.
    pub sent: Vec<MessageRef>,
    /// Messages that this signal says were taken up for processing.
    pub received: Vec<MessageRef>,
    pub cold_start: Option<bool>,
    /// `faas.trigger`, or what the event's shape tells.
    pub trigger: Option<Via>,
    pub error: Option<ErrorFact>,
    pub http: Option<Http>,
    /// For a client span: whom it called.
    pub peer: Option<Peer>,
    pub workflow: Option<Workflow>,
    /// A duration that a log record tells (`fields.duration_ms`).
    pub duration: Option<Duration>,
    /// How many alike it stands for, where its source kept one of many (Application Insights'
    /// `ItemCount`); None: for itself.
    pub stands_for: Option<NonZeroU32>,
}

/// How work came from one hop to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    Http,
    Invoke,
    Queue,
    Topic,
    Stream,
    EventBus,
    Schedule,
    Workflow,
    Unknown,
}

/// One message, as one side of it sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageRef {
    /// The platform's id: SQS `MessageId`, Kinesis `shard:sequence number`, EventBridge `id`, Pub/Sub `messageId`.
    pub id: Text,
    /// Queue, topic, stream or bus: its own name, not its ARN or URL.
    pub queue: Option<Text>,
    pub via: Via,
    /// When it was sent: SQS `SentTimestamp`, or the sending span's start.
    pub sent: Option<Timestamp>,
    /// How many times it has been received, this one included: SQS `ApproximateReceiveCount`.
    pub receive_count: Option<u32>,
    /// The queue that it fell out of, where it is read from a dead-letter queue. Of an asynchronous invocation
    /// that was given up: its function, empty where that is not told.
    pub dead_letter_source: Option<Text>,
    /// Which of [`MessageRef::GROUPS`] parts its message group or ordering key falls into: SQS
    /// `MessageGroupId`. Groups are as many as customers; their parts are few enough to count.
    pub group: Option<u8>,
    /// The trace context that the message itself carries.
    pub trace: Option<TraceContext>,
    /// True where this signal says that processing this very message failed.
    pub failed: bool,
}

impl MessageRef {
    pub const GROUPS: u8 = 64;

    /// The part that a message group falls into: the same everywhere and always.
    pub fn group_of(name: &str) -> u8 {
        let [first, ..] = Fnv128::default().field(name.as_bytes()).finish().to_le_bytes();
        first % Self::GROUPS
    }

    pub fn new(id: impl Into<Text>, via: Via) -> Self {
        Self {
            id: id.into(),
            queue: None,
            via,
            sent: None,
            receive_count: None,
            dead_letter_source: None,
            group: None,
            trace: None,
            failed: false,
        }
    }
}

/// A position in a trace: W3C `traceparent`, `X-Amzn-Trace-Id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    pub trace_id: TraceId,
    pub span_id: Option<SpanId>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFact {
    pub kind: ErrorKind,
    /// The error's own type and message, shortened: `ConditionalCheckFailedException: ...`.
    pub message: Text,
}

/// The closed list behind `throughline_invocation_errors_total{error_kind}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    Timeout,
    OutOfMemory,
    AccessDenied,
    Connection,
    Validation,
    Throttled,
    Other,
}

impl ErrorKind {
    pub const ALL: [Self; 7] = [
        Self::Timeout,
        Self::OutOfMemory,
        Self::AccessDenied,
        Self::Connection,
        Self::Validation,
        Self::Throttled,
        Self::Other,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::AccessDenied => "access_denied",
            Self::Connection => "connection",
            Self::Validation => "validation",
            Self::Throttled => "throttled",
            Self::Other => "other",
        }
    }

    /// Judges an error by its type and message, in the words that runtimes and SDKs use.
    pub fn of(text: &str) -> Self {
        // .NET's name for an object in the wrong state says nothing of its input.
        let text = text.to_ascii_lowercase().replace("invalidoperationexception", "");
        let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if any(&[
            "throttl",
            "toomanyrequests",
            "too many requests",
            "rate exceeded",
            "provisionedthroughputexceeded",
            "slowdown",
            "429",
        ]) {
            Self::Throttled
        } else if any(&[
            "outofmemory",
            "out of memory",
            "heap out of memory",
            "memoryerror",
            "nomemoryerror",
            "signal: killed",
        ]) {
            Self::OutOfMemory
        } else if any(&[
            // More instances than the other side has connections for: PostgreSQL, MySQL, pools before them.
            "too many connections",
            "too many clients",
            "connection slots",
            "max_user_connections",
            "no more connections allowed",
        ]) {
            Self::Connection
        } else if any(&["timed out", "timeout", "deadline exceeded", "deadlineexceeded"]) {
            Self::Timeout
        } else if any(&[
            "accessdenied",
            "access denied",
            "not authorized",
            "unauthorized",
            "forbidden",
            "permission denied",
        ]) {
            Self::AccessDenied
        } else if any(&[
            "econnrefused",
            "econnreset",
            "enotfound",
            "connection refused",
            "connection reset",
            "connectionerror",
            "connection error",
            "socket hang up",
            "broken pipe",
            "unreachable",
        ]) {
            Self::Connection
        } else if any(&[
            "validation",
            "invalid",
            "badrequest",
            "bad request",
            "schema",
            "malformed",
        ]) {
            Self::Validation
        } else {
            Self::Other
        }
    }
}

/// The HTTP side of an entry or of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    pub method: Option<Text>,
    pub route: Option<Text>,
    pub status: Option<u16>,
}

/// Whom a client span called, for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Service, database or queue: `rpc.service`, `db.system`, `server.address`, `messaging.destination.name`.
    pub name: Text,
    /// `rpc.method`, `db.operation.name`, `http.request.method`, or the span's name.
    pub operation: Text,
}

/// A step of a workflow, from its context object (Step Functions `Execution.Id`, `State.Name`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workflow {
    pub execution_id: Text,
    pub state: Text,
    pub retry_count: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_judged_by_the_words_that_runtimes_use() {
        for (text, kind) in [
            ("Task timed out after 3.00 seconds", ErrorKind::Timeout),
            ("Runtime.OutOfMemory", ErrorKind::OutOfMemory),
            ("FATAL ERROR: JavaScript heap out of memory", ErrorKind::OutOfMemory),
            ("TooManyRequestsException: Rate Exceeded", ErrorKind::Throttled),
            ("ProvisionedThroughputExceededException", ErrorKind::Throttled),
            ("AccessDeniedException: User is not authorized", ErrorKind::AccessDenied),
            ("connect ECONNREFUSED 10.0.0.1:5432", ErrorKind::Connection),
            ("FATAL: sorry, too many clients already", ErrorKind::Connection),
            ("remaining connection slots are reserved", ErrorKind::Connection),
            ("ER_CON_COUNT_ERROR: Too many connections", ErrorKind::Connection),
            ("ValidationException", ErrorKind::Validation),
            ("KeyError: 'id'", ErrorKind::Other),
            ("System.InvalidOperationException: no stock", ErrorKind::Other),
            ("System.InvalidOperationException: the request is invalid", ErrorKind::Validation),
        ] {
            assert_eq!(ErrorKind::of(text), kind, "{text}");
        }
    }
}
