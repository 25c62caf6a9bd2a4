//! Lambda's text logs: one line (or multi-line event) in, what it is out.
//!
//! The platform's lines (START, END, REPORT, INIT, RESTORE, EXTENSION, timeouts, crashes) become
//! [`Platform`] events; the line formats of the runtimes tell time, request id and level; everything
//! else is [`Line::Plain`]. Nothing here is trusted to be well formed: a REPORT without its numbers is
//! plain text. Literal `\t` and `\n` are read as what they stand for, because forwarders escape twice.

use std::borrow::Cow;
use std::time::Duration;

use super::event_time;
use super::logged_trace;
use crate::number::u64_from_f64;
use crate::signal::{Platform, PlatformStage, PlatformStatus, Severity, SpanId, Text, Timestamp};

/// Longest free text kept of a platform line, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What a line is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line<'a> {
    /// Said by the platform, at the fallback's time where the line tells none.
    Platform(Box<PlatformLine>),
    /// In a format that a runtime or a logger writes.
    Log(LogLine<'a>),
    /// Anything else.
    Plain,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlatformLine {
    pub(crate) event: Platform,
    /// The function's version, told by START.
    pub(crate) version: Option<Text>,
    /// Whether the line itself tells its time.
    pub(crate) has_time: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogLine<'a> {
    pub(crate) time: Option<Timestamp>,
    pub(crate) invocation_id: Option<&'a str>,
    pub(crate) severity: Option<Severity>,
    pub(crate) message: &'a str,
}

/// Reads one line; platform events get the fallback's time where they tell none.
pub(crate) fn read(line: &str, fallback: Timestamp) -> Line<'_> {
    if let Some(event) = platform(line, fallback) {
        return Line::Platform(Box::new(event));
    }
    app_line(line).map_or(Line::Plain, Line::Log)
}

/// A line that a runtime or a logger writes.
pub(crate) fn app_line(line: &str) -> Option<LogLine<'_>> {
    let line = line.trim_end();
    tab_separated(line)
        .or_else(|| bracketed(line))
        .or_else(|| spaced(line))
        .or_else(|| leading_level(line))
}

/// Levels in the words of [`Severity::of`], and those of .NET, zap, syslog and `java.util.logging`.
pub(crate) fn severity(word: &str) -> Option<Severity> {
    Severity::of(word).or_else(|| {
        Some(match word.to_ascii_lowercase().as_str() {
            "panic" | "dpanic" | "crit" | "emerg" => Severity::Fatal,
            "severe" | "fail" => Severity::Error,
            "dbug" => Severity::Debug,
            "trce" => Severity::Trace,
            _ => return None,
        })
    })
}

fn platform(line: &str, fallback: Timestamp) -> Option<PlatformLine> {
    let line = unescaped(line);
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("START RequestId: ") {
        let event = about(PlatformStage::Start, request_id(rest)?, fallback);
        let version = field(rest, "Version: ", &[]).map(Text::from);
        return Some(PlatformLine { event, version, has_time: false });
    }
    let event = if let Some(rest) = line.strip_prefix("END RequestId: ") {
        about(PlatformStage::RuntimeDone, request_id(rest)?, fallback)
    } else if let Some(rest) = line.strip_prefix("REPORT RequestId: ") {
        report(rest, fallback)?
    } else if let Some(rest) = line.strip_prefix("RequestId: ") {
        crash(rest, fallback)?
    } else if let Some(event) = environment(line, fallback) {
        event
    } else {
        let event = timed_out(line)?;
        return Some(PlatformLine { event, version: None, has_time: true });
    };
    Some(PlatformLine { event, version: None, has_time: false })
}

/// Forwarders that escape twice leave a backslash and a letter where a tab or a line's end stood.
fn unescaped(line: &str) -> Cow<'_, str> {
    const STARTS: [&str; 6] = ["START ", "END ", "REPORT ", "INIT_", "RESTORE_", "RequestId: "];
    let is_escaped = line.contains("\\t") || line.contains("\\n");
    // Only what the platform writes: a log message may speak of `C:\temp`.
    if is_escaped && (STARTS.iter().any(|s| line.starts_with(s)) || line.contains(TIMED_OUT)) {
        Cow::Owned(line.replace("\\t", "\t").replace("\\n", "\n"))
    } else {
        Cow::Borrowed(line)
    }
}

fn about(stage: PlatformStage, invocation_id: &str, time: Timestamp) -> Platform {
    Platform { invocation_id: Some(Text::from(invocation_id)), ..Platform::new(time, stage) }
}

fn report(rest: &str, time: Timestamp) -> Option<Platform> {
    let mut event = about(PlatformStage::Report, request_id(rest)?, time);
    event.duration = Some(millis(rest, "Duration: ", &["Billed ", "Init ", "Restore "])?);
    event.billed = millis(rest, "Billed Duration: ", &[]);
    event.memory_size_bytes = megabytes(rest, "Memory Size: ");
    event.memory_used_bytes = megabytes(rest, "Max Memory Used: ");
    event.init_duration = millis(rest, "Init Duration: ", &[])
        .or_else(|| millis(rest, "Restore Duration: ", &["Billed "]));
    event.status = field(rest, "Status: ", &[]).and_then(status);
    event.error_type = field(rest, "Error Type: ", &[]).map(Text::from);
    event.trace = field(rest, "XRAY TraceId: ", &[]).and_then(logged_trace::trace_context);
    event.span_id = field(rest, "SegmentId: ", &[]).and_then(SpanId::from_hex);
    Some(event)
}

/// The platform's words for how an invocation or an init ended.
pub(crate) fn status(word: &str) -> Option<PlatformStatus> {
    Some(match word {
        "success" => PlatformStatus::Success,
        "failure" => PlatformStatus::Failure,
        "error" => PlatformStatus::Error,
        "timeout" => PlatformStatus::Timeout,
        _ => return None,
    })
}

/// `RequestId: ID Error: Runtime exited with error: signal: killed` and
/// `RequestId: ID Process exited before completing request`: the runtime is gone.
fn crash(rest: &str, time: Timestamp) -> Option<Platform> {
    let id = request_id(rest)?;
    let text = rest.get(id.len()..)?.trim();
    let error_type = if text.contains("signal: killed") {
        // The kernel kills nothing in the sandbox but what outgrows its memory.
        "Runtime.OutOfMemory"
    } else if text.starts_with("Error: ") || text.starts_with("Process exited before") {
        "Runtime.ExitError"
    } else {
        return None;
    };
    let mut event = about(PlatformStage::RuntimeDone, id, time);
    event.status = Some(PlatformStatus::Error);
    event.error_type = Some(Text::from(error_type));
    event.text = Some(short(text));
    Some(event)
}

/// Lines about the environment, which name no request.
fn environment(line: &str, time: Timestamp) -> Option<Platform> {
    let (word, rest) = line.split_once([' ', '\t'])?;
    let mut event = match word {
        "INIT_START" | "RESTORE_START" => Platform::new(time, PlatformStage::InitStart),
        "INIT_REPORT" | "RESTORE_REPORT" => {
            let mut event = Platform::new(time, PlatformStage::InitReport);
            event.duration = millis(rest, "Init Duration: ", &[])
                .or_else(|| millis(rest, "Restore Duration: ", &[]));
            event
        }
        "EXTENSION" | "TELEMETRY" | "LOGS" if rest.starts_with("Name: ") => {
            Platform::new(time, PlatformStage::Other)
        }
        _ => return None,
    };
    event.status = field(rest, "Status: ", &[]).and_then(status);
    event.error_type = field(rest, "Error Type: ", &[]).map(Text::from);
    event.text = Some(short(line));
    Some(event)
}

const TIMED_OUT: &str = " Task timed out after ";

/// `2020-06-09T15:02:26.150Z ID Task timed out after 3.00 seconds`.
fn timed_out(line: &str) -> Option<Platform> {
    let (head, tail) = line.split_once(TIMED_OUT)?;
    let (time, id) = head.split_once([' ', '\t'])?;
    let time = event_time::read_text(time)?;
    let mut event = about(PlatformStage::RuntimeDone, request_id(id)?, time);
    event.status = Some(PlatformStatus::Timeout);
    event.duration = tail.split_whitespace().next().and_then(|s| seconds(s, 1.0));
    event.text = Some(short(line.get(head.len()..)?.trim()));
    Some(event)
}

/// The request id that the text begins with.
fn request_id(text: &str) -> Option<&str> {
    let id = text.split_whitespace().next()?;
    is_request_id(id).then_some(id)
}

/// UUIDs, and the plain hex digits of emulators; never a word.
fn is_request_id(id: &str) -> bool {
    (8..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        && id.bytes().any(|b| b.is_ascii_digit())
}

/// The text after `name` up to a tab or the line's end, where `name` does not end a longer name.
fn field<'a>(text: &'a str, name: &str, not_after: &[&str]) -> Option<&'a str> {
    let (start, _) = text.match_indices(name).find(|(at, _)| {
        let before = text.get(..*at).unwrap_or_default();
        !not_after.iter().any(|prefix| before.ends_with(prefix))
    })?;
    let value = text.get(start + name.len()..)?;
    let value = value.split(['\t', '\n']).next().unwrap_or(value).trim();
    (!value.is_empty()).then_some(value)
}

fn millis(text: &str, name: &str, not_after: &[&str]) -> Option<Duration> {
    seconds(field(text, name, not_after)?.split_whitespace().next()?, 1e-3)
}

/// A duration of so many units of `unit` seconds; rounded to the nanosecond.
fn seconds(digits: &str, unit: f64) -> Option<Duration> {
    let n = digits.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0)?;
    Some(Duration::from_nanos(u64_from_f64((n * unit * 1e9).round())))
}

/// Lambda writes MB and means MiB.
fn megabytes(text: &str, name: &str) -> Option<u64> {
    let n: u64 = field(text, name, &[])?.split_whitespace().next()?.parse().ok()?;
    n.checked_mul(1024 * 1024)
}

fn short(text: &str) -> Text {
    Text::from(super::shorten::shorten(text, TEXT_BYTES_MAX))
}

/// Node and .NET: `TIME\tREQUEST_ID\tLEVEL\tMESSAGE`.
fn tab_separated(line: &str) -> Option<LogLine<'_>> {
    let mut parts = line.splitn(4, '\t');
    let time = event_time::read_text(parts.next()?)?;
    let id = parts.next()?.trim();
    let severity = severity(parts.next()?.trim())?;
    // Outside an invocation Node writes `undefined`.
    let invocation_id = is_request_id(id).then_some(id);
    let message = parts.next().unwrap_or_default();
    Some(LogLine { time: Some(time), invocation_id, severity: Some(severity), message })
}

/// Python: `[LEVEL]\tTIME\tREQUEST_ID\tMESSAGE`; and `[LEVEL] MESSAGE`, as its unhandled errors are.
fn bracketed(line: &str) -> Option<LogLine<'_>> {
    let (word, rest) = line.strip_prefix('[')?.split_once(']')?;
    let severity = Some(severity(word.trim())?);
    let mut parts = rest.trim_start_matches('\t').splitn(3, '\t');
    let time = parts.next().and_then(event_time::read_text);
    let id = parts.next().map(str::trim);
    if let (Some(time), Some(id)) = (time, id) {
        let invocation_id = is_request_id(id).then_some(id);
        let message = parts.next().unwrap_or_default();
        return Some(LogLine { time: Some(time), invocation_id, severity, message });
    }
    Some(LogLine { severity, message: rest.trim_start(), ..LogLine::default() })
}

/// Java's Lambda patterns and plain loggers: `TIME [REQUEST_ID] LEVEL MESSAGE`, the time in one word
/// or two. A time without an offset may be anybody's local time, so the transport's is better.
fn spaced(line: &str) -> Option<LogLine<'_>> {
    let two_words = line.match_indices(' ').nth(1).map_or(line.len(), |(at, _)| at);
    let one_word = line.find(' ').unwrap_or(line.len());
    let (time, rest) = [two_words, one_word].into_iter().find_map(|at| {
        let (time, rest) = line.split_at_checked(at)?;
        // A word of digits alone is a number in prose, not a time.
        let is_time = time.contains(':') && event_time::read_text(time).is_some();
        is_time.then(|| (Timestamp::parse_rfc3339(time), rest.trim_start()))
    })?;
    let mut words = rest.splitn(3, ' ');
    let first = words.next().unwrap_or_default();
    let second = words.next().map(str::trim);
    if is_request_id(first) {
        let message = rest.get(first.len()..).unwrap_or_default().trim_start();
        let severity = second.and_then(bare_level);
        return Some(LogLine { time, invocation_id: Some(first), severity, message });
    }
    Some(LogLine { time, invocation_id: None, severity: bare_level(first), message: rest })
}

/// `ERROR: no stock`, `WARN no stock`: a level in capitals leads.
fn leading_level(line: &str) -> Option<LogLine<'_>> {
    let word = line.split([' ', ':', '\t']).next()?;
    let is_capital = word.len() >= 4 && word.bytes().all(|b| b.is_ascii_uppercase());
    let severity = Some(is_capital.then(|| severity(word))??);
    Some(LogLine { severity, message: line, ..LogLine::default() })
}

fn bare_level(word: &str) -> Option<Severity> {
    severity(word.trim_matches(['[', ']', ':', '|']))
}

#[cfg(test)]
#[path = "lambda_text_tests.rs"]
mod tests;
