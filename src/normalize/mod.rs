//! Normalize: every platform's dialect to one vocabulary. Pure functions, no I/O, no clock.

pub mod allowance;
pub mod azure_records;
pub mod cloudflare;
pub mod cloudwatch_logs;
pub mod config;
pub mod exposition;
pub mod firehose;
pub mod inflate;
pub mod json_log;
pub mod lambda_telemetry;
pub mod metric_stream;
pub mod otlp;
pub mod pubsub;
pub mod redact;
pub mod remote_write;
pub(crate) mod semconv;
pub(crate) mod shorten;
pub mod show;
pub mod trace_header;
pub mod vercel;
pub mod xray;

mod access_log;
mod app_insights;
mod aws_messages;
mod aws_names;
mod azure_fields;
mod azure_metric;
mod azure_trigger;
mod broker_messages;
mod cloud_events;
mod carrier;
mod cloudwatch_spans;
mod emf;
mod event_time;
mod gather;
mod gcp_log_entry;
mod google_messages;
mod json_facts;
mod json_fields;
mod lambda_text;
mod logged_trace;
mod metric_stream_otel;
mod odd;
mod pieces;
mod send_answers;
mod trigger_events;
mod wire;

use crate::signal::Batch;

pub use config::Config;

/// What a decodable body became. `batch.rejected` is the number of `rejections`.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalized {
    pub batch: Batch,
    pub rejections: Vec<Rejection>,
}

/// One record that is bad for good; its neighbours are unharmed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rejection {
    /// Its position among the records of the body, from 0.
    pub index: usize,
    pub message: String,
}

/// A body that cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Undecodable {
    /// Byte offset of the trouble, where known.
    pub offset: usize,
    pub message: String,
}

/// How a delivery reached us, as far as dialects care.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub arrived: crate::signal::Timestamp,
    /// The header `Lambda-Function-Name`.
    pub function: Option<String>,
    /// Attributes of the whole delivery (Firehose common attributes).
    pub attributes: Vec<(String, String)>,
    /// Memory that what it becomes may take.
    pub allowance: allowance::Allowance,
}
