//! How an invocation went: its facts in, one verdict out.
//!
//! The platform is believed before a span, a span before a record, but for one thing: that the runtime
//! answered is a success to the platform even where the function answered that it had failed, and then
//! its own head span says so. An error that a member span saw and the head survived does not count.

use super::known::Verdict;
use super::request::Outcome;
use super::runs::Parts;
use crate::signal::{ErrorFact, ErrorKind, Facts, PlatformStage, PlatformStatus, Text};

pub(super) fn judge(parts: &Parts<'_>) -> Verdict {
    let platform =
        by_platform(parts).filter(|&told| told != Outcome::Ok || !has_failed_head(parts));
    let outcome = platform.or_else(|| by_spans(parts)).unwrap_or_else(|| by_logs(parts));
    if outcome == Outcome::Ok {
        return Verdict { outcome, kind: None, text: None };
    }
    let kind = match outcome {
        Outcome::Timeout => ErrorKind::Timeout,
        _ => kind(parts),
    };
    let outcome = match kind {
        ErrorKind::Throttled if outcome == Outcome::Error => Outcome::Throttled,
        _ => outcome,
    };
    Verdict { outcome, kind: Some(kind), text: text(parts) }
}

/// Lambda's own words for an invocation that it stopped.
fn is_task_timeout(error: &ErrorFact) -> bool {
    error.kind == ErrorKind::Timeout
        && error.message.to_ascii_lowercase().contains("task timed out")
}

fn by_platform(parts: &Parts<'_>) -> Option<Outcome> {
    let status_of = |stage| {
        let events = parts.platform.iter().rev().map(|fact| &fact.event);
        events.filter(|event| event.stage == stage).find_map(|event| {
            event.status.or(event.error_type.as_ref().map(|_| PlatformStatus::Error))
        })
    };
    let status =
        status_of(PlatformStage::Report).or_else(|| status_of(PlatformStage::RuntimeDone))?;
    Some(match status {
        PlatformStatus::Success => Outcome::Ok,
        PlatformStatus::Failure | PlatformStatus::Error => Outcome::Error,
        PlatformStatus::Timeout => Outcome::Timeout,
    })
}

fn has_failed_head(parts: &Parts<'_>) -> bool {
    parts.heads.iter().any(|head| head.failed)
}

fn by_spans(parts: &Parts<'_>) -> Option<Outcome> {
    // A timeout kills the function before its span ends: only a record or the platform tells.
    if log_errors(parts).any(is_task_timeout) {
        return Some(Outcome::Timeout);
    }
    if parts.heads.is_empty() {
        return None;
    }
    let failed = || parts.heads.iter().filter(|head| head.failed);
    let timed_out = failed().filter_map(|head| head.facts().error.as_ref()).any(is_task_timeout);
    Some(match failed().next() {
        None => Outcome::Ok,
        Some(_) if timed_out => Outcome::Timeout,
        Some(_) => Outcome::Error,
    })
}

/// In a batch, an error record that names one message blames the message, not the invocation.
fn by_logs(parts: &Parts<'_>) -> Outcome {
    let logs = || parts.logs.iter().map(|record| record.log.facts());
    let mut ids = logs().flat_map(|facts| &facts.received).map(|message| &message.id);
    let first = ids.next();
    let is_batch = ids.any(|id| Some(id) != first);
    let blames = |facts: &Facts| facts.error.is_some() && (facts.received.is_empty() || !is_batch);
    if logs().any(blames) { Outcome::Error } else { Outcome::Ok }
}

fn log_errors<'p>(parts: &'p Parts<'_>) -> impl Iterator<Item = &'p ErrorFact> {
    parts.logs.iter().filter_map(|record| record.log.facts().error.as_ref())
}

/// Errors of failed heads; where these tell none, of the failed spans below them, the last first. What a call
/// met is no reason where the function names another: it may have been tried again.
fn span_errors<'p>(parts: &'p Parts<'_>) -> impl Iterator<Item = &'p ErrorFact> {
    let heads = parts.heads.iter().filter(|head| head.failed);
    let mut heads = heads.filter_map(|head| head.facts().error.as_ref()).peekable();
    let members = parts.spans.iter().rev().map(|member| member.span).filter(|span| span.failed);
    let members = members.filter(|_| heads.peek().is_none());
    let members: Vec<&ErrorFact> = members.filter_map(|span| span.facts().error.as_ref()).collect();
    heads.chain(members)
}

fn platform_errors<'p>(parts: &'p Parts<'_>) -> impl Iterator<Item = &'p Text> {
    parts.platform.iter().rev().filter_map(|fact| fact.event.error_type.as_ref())
}

/// The first telling kind: `Runtime.ExitError` says less than the record that came before it.
fn kind(parts: &Parts<'_>) -> ErrorKind {
    let platform = platform_errors(parts).map(|text| ErrorKind::of(text));
    let spans = span_errors(parts).map(|error| error.kind);
    let logs = log_errors(parts).map(|error| error.kind);
    platform
        .chain(spans)
        .chain(logs)
        .find(|&kind| kind != ErrorKind::Other)
        .unwrap_or(ErrorKind::Other)
}

fn text(parts: &Parts<'_>) -> Option<Text> {
    let spans = span_errors(parts).map(|error| &error.message);
    let logs = log_errors(parts).map(|error| &error.message);
    let timeout =
        parts.platform.iter().any(|fact| fact.event.status == Some(PlatformStatus::Timeout));
    let fallback = || timeout.then(|| Text::from("the platform stopped it at its timeout"));
    spans.chain(logs).chain(platform_errors(parts)).next().cloned().or_else(fallback)
}
