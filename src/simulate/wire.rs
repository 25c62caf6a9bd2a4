//! How times and names are written on the wire.

use super::plan::Function;
use super::run::Run;
use crate::signal::{Timestamp, Via};

/// `2026-11-25T10:00:00.123456Z`, as the Telemetry API writes times.
pub(super) fn iso_micros(t: Timestamp) -> String {
    cut(t, 26)
}

/// `2026-11-25T10:00:00.123Z`, as the Lambda runtimes write times.
pub(super) fn iso_millis(t: Timestamp) -> String {
    cut(t, 23)
}

fn cut(t: Timestamp, length: usize) -> String {
    let text = t.to_string();
    format!("{}Z", text.get(..length).unwrap_or(&text))
}

/// `2026-11-25 10:00:00,123+0000`, as Powertools writes times.
pub(super) fn powertools(t: Timestamp) -> String {
    let text = t.to_string().replace('T', " ").replace('.', ",");
    format!("{}+0000", text.get(..23).unwrap_or(&text))
}

/// `messaging.system`.
pub(super) const fn system(via: Via) -> &'static str {
    match via {
        Via::Stream => "aws_kinesis",
        Via::EventBus => "aws.eventbridge",
        _ => "aws_sqs",
    }
}

/// The trace header that the platform passes on with a call.
pub(super) fn trace_header(run: &Run) -> Option<String> {
    let parent = run.parent?;
    let trace = parent.trace.to_string();
    let (seconds, rest) = trace.split_at_checked(8)?;
    Some(format!("Root=1-{seconds}-{rest};Parent={};Sampled=1", parent.span))
}

/// `shop` is the service of all functions, but every function logs under its own name.
pub(super) fn log_group(function: Function) -> String {
    format!("/aws/lambda/{}", function.as_str())
}
