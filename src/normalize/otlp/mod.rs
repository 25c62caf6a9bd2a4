//! OTLP: traces, logs and metrics, as protobuf or JSON, to a [`Normalized`] batch.
//!
//! In: a decompressed body of `Export{Trace,Logs,Metrics}ServiceRequest`. Out: spans, log records and
//! metric points, redacted, with their facts; and the records that were rejected, each with its index
//! and the reason. A record that cannot be right (no ids, no time, a field of a wrong type) rejects
//! itself alone. Never true: that a record of the body is neither among the signals nor among the
//! rejections, that half a record is accepted, that input panics.
//!
//! Traces and logs are read in place by a walker of our own (`protobuf`) and a JSON reader of our own
//! (`json`); both fill the same records (`record`), which one place turns into signals
//! (`gather`). Metrics go through the generated types; a point is a signal, a summary's too.
//!
//! Source: opentelemetry-proto 1.x; OTLP/JSON: the specification's "JSON Protobuf Encoding", and what
//! senders write instead: numbers as text and text as numbers, names of enums, snake_case keys, null.

mod exemplar;
mod gather;
mod id;
mod intern;
mod json;
mod json_metrics;
mod json_reader;
mod metric_name;
mod metric_series;
mod metrics;
mod protobuf;
mod record;

#[cfg(test)]
mod tests;

use crate::signal::Receiver;

use super::{Config, Normalized, Origin, Undecodable};
use gather::Gather;

/// Which of OTLP's three services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpSignal {
    Traces,
    Logs,
    Metrics,
}

/// How the body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

/// One export request, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// Decompressed.
    pub bytes: &'a [u8],
    pub signal: OtlpSignal,
    pub encoding: Encoding,
    /// Where it came in.
    pub receiver: Receiver,
}

/// Reads an export request. `batch.declared_id` and `batch.body_hash` are left to the caller.
///
/// # Errors
/// [`Undecodable`] where the body is no such request: not protobuf or JSON, another signal's request,
/// or more records than one delivery may hold.
pub fn normalize(
    body: &Body<'_>,
    origin: &Origin,
    config: &Config,
) -> Result<Normalized, Undecodable> {
    let mut gather = Gather::new(body.receiver, origin, config);
    match (body.encoding, body.signal) {
        (Encoding::Protobuf, OtlpSignal::Traces) => protobuf::traces(body.bytes, &mut gather)?,
        (Encoding::Protobuf, OtlpSignal::Logs) => protobuf::logs(body.bytes, &mut gather)?,
        (Encoding::Protobuf, OtlpSignal::Metrics) => metrics::protobuf(body.bytes, &mut gather)?,
        (Encoding::Json, signal) => json::request(body.bytes, signal, &mut gather)?,
    }
    Ok(gather.finish())
}
