//! Batches of signals: what one accepted delivery became.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Attributes, Facts, MetricPoint, Remark, SpanId, Text, Timestamp, TraceContext, TraceId,
};

/// Where a batch came in; the key of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receiver {
    OtlpGrpc,
    OtlpHttp,
    Json,
    Firehose,
    Telemetry,
    Pubsub,
    Eventhub,
    RemoteWrite,
    /// Prometheus pages that we fetch.
    Scrape,
    Xray,
    Cloudflare,
    Vercel,
    /// Queues that we ask SQS for.
    Sqs,
    /// Metrics that we ask CloudWatch for.
    Cloudwatch,
    /// Lines of files that we follow.
    File,
}

impl Receiver {
    /// Its name in the ledger, in metrics and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttp => "otlp_http",
            Self::Json => "json",
            Self::Firehose => "firehose",
            Self::Telemetry => "telemetry",
            Self::Pubsub => "pubsub",
            Self::Eventhub => "eventhub",
            Self::RemoteWrite => "remote_write",
            Self::Scrape => "scrape",
            Self::Xray => "xray",
            Self::Cloudflare => "cloudflare",
            Self::Vercel => "vercel",
            Self::Sqs => "sqs",
            Self::Cloudwatch => "cloudwatch",
            Self::File => "file",
        }
    }
}

/// One delivery after normalizing and redacting: what the journal stores.
///
/// `signals.len() + rejected + filtered` is the number of signals received in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub receiver: Receiver,
    /// Names the delivery where its protocol does (Firehose request id, `Idempotency-Key`): a hash of
    /// the principal, the receiver and the id.
    pub declared_id: Option<u128>,
    /// A hash of the body as it was before decoding: tells a repeat from a conflict.
    pub body_hash: u128,
    /// When it reached us.
    pub arrived: Timestamp,
    pub resources: Vec<Resource>,
    pub signals: Vec<Signal>,
    /// Signals of this delivery that are bad for good.
    pub rejected: u32,
    /// Signals removed by policy (control messages).
    pub filtered: u32,
    /// Bytes of the body where it could not be decoded at all; then there are no signals.
    pub undecodable_bytes: Option<u64>,
    /// Said beside the signals; no part of the books.
    pub remarks: Vec<Remark>,
}

impl Batch {
    pub fn new(receiver: Receiver, arrived: Timestamp) -> Self {
        Self {
            receiver,
            declared_id: None,
            body_hash: 0,
            arrived,
            resources: Vec::new(),
            signals: Vec::new(),
            rejected: 0,
            filtered: 0,
            undecodable_bytes: None,
            remarks: Vec::new(),
        }
    }
}

/// Who speaks: a function, its environment, its account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// `service.name`.
    pub service: Option<Text>,
    /// `faas.name`, else the name in `cloud.resource_id` or in the log group; None where nothing tells
    /// (then `service` stands in).
    pub function: Option<Text>,
    /// `faas.version`.
    pub version: Option<Text>,
    /// `faas.instance`, or the log stream.
    pub instance: Option<Text>,
    /// `cloud.account.id`.
    pub account: Option<Text>,
    /// `cloud.region`.
    pub region: Option<Text>,
    pub memory_bytes: Option<u64>,
    pub attributes: Attributes,
}

impl Resource {
    /// The function's name, or the service's where no function is named.
    pub fn function_or_service(&self) -> Option<&Text> {
        self.function.as_ref().or(self.service.as_ref())
    }
}

/// One signal and how it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// A hash of what identifies it (span id, CloudWatch event id, platform request id and event type,
    /// metric point): a second one with the same identity is a repeat. None for plain log records.
    pub identity: Option<u128>,
    /// Index into [`Batch::resources`].
    pub resource: u32,
    pub kind: SignalKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SignalKind {
    Span(Box<Span>),
    Log(Box<LogRecord>),
    Platform(Box<Platform>),
    Metric(Box<MetricPoint>),
}

impl SignalKind {
    /// When it happened: a span's end, a record's or point's time.
    pub fn event_time(&self) -> Timestamp {
        match self {
            Self::Span(span) => span.end,
            Self::Log(record) => record.time,
            Self::Platform(event) => event.time,
            Self::Metric(point) => point.time,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpanKind {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

/// One timed operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent_id: Option<SpanId>,
    pub kind: SpanKind,
    pub name: Text,
    pub start: Timestamp,
    /// Never before `start`.
    pub end: Timestamp,
    pub failed: bool,
    pub links: Vec<SpanLink>,
    pub facts: Facts,
    pub attributes: Attributes,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanLink {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// `messaging.message.id` of the link's attributes.
    pub message_id: Option<Text>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Severity {
    /// From the words that loggers use, in any case; None for other words.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "trace" | "verbose" | "finest" => Self::Trace,
            "debug" | "fine" => Self::Debug,
            "info" | "information" | "informational" | "notice" | "default" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "err" => Self::Error,
            "fatal" | "critical" | "alert" | "emergency" => Self::Fatal,
            _ => return None,
        })
    }
}

/// One structured or plain log record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    pub time: Timestamp,
    pub severity: Option<Severity>,
    pub trace: Option<TraceContext>,
    /// The message, shortened to [`LogRecord::BODY_BYTES_MAX`].
    pub body: Text,
    pub facts: Facts,
    pub attributes: Attributes,
}

impl LogRecord {
    /// Longest body kept, in bytes; longer ones are cut at a character's border.
    pub const BODY_BYTES_MAX: usize = 64 * 1024;
}

/// What the platform itself reports about an environment or an invocation: Lambda's `platform.*`
/// events, and the START, END, REPORT and INIT lines of text logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platform {
    pub time: Timestamp,
    pub stage: PlatformStage,
    /// None for events of an environment (init, restore).
    pub invocation_id: Option<Text>,
    /// None where the event does not say.
    pub status: Option<PlatformStatus>,
    pub error_type: Option<Text>,
    /// Of the run for `RuntimeDone` and `Report`, of the init for `InitReport`.
    pub duration: Option<Duration>,
    pub billed: Option<Duration>,
    pub memory_size_bytes: Option<u64>,
    pub memory_used_bytes: Option<u64>,
    /// Of the init (or restore) that came before this invocation.
    pub init_duration: Option<Duration>,
    /// The trace that the invocation belongs to: `span_id` is its parent there.
    pub trace: Option<TraceContext>,
    /// The span id that the platform gave the invocation itself (`tracing.spanId`).
    pub span_id: Option<SpanId>,
    /// Free text that belongs to it: the reason of `LogsDropped`.
    pub text: Option<Text>,
}

impl Platform {
    /// All that it tells of how long something took.
    pub fn durations(&self) -> impl Iterator<Item = Duration> {
        [self.duration, self.billed, self.init_duration].into_iter().flatten()
    }

    pub fn new(time: Timestamp, stage: PlatformStage) -> Self {
        Self {
            time,
            stage,
            invocation_id: None,
            status: None,
            error_type: None,
            duration: None,
            billed: None,
            memory_size_bytes: None,
            memory_used_bytes: None,
            init_duration: None,
            trace: None,
            span_id: None,
            text: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlatformStage {
    InitStart,
    InitReport,
    Start,
    /// The runtime has answered; also the END line of text logs.
    RuntimeDone,
    /// The platform's account of the whole: also the REPORT line.
    Report,
    LogsDropped,
    /// Anything else of the platform that changes nothing (extension, telemetrySubscription).
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlatformStatus {
    Success,
    /// The function returned an error.
    Failure,
    /// The runtime crashed (out of memory, exit).
    Error,
    Timeout,
}
