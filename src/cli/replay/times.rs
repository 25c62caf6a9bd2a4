//! When captured text happened, as far as it shows before anybody decodes it.
//!
//! Dialects judge times against the arrival, so a capture needs one: the newest time that lies with the
//! others. A far-off time (a token's expiry, a birthday) does not move it.

use std::sync::LazyLock;
use std::time::Duration;

use regex::bytes::Regex;

use crate::signal::Timestamp;

/// RFC 3339 and its relatives, or epoch seconds, milliseconds, microseconds or nanoseconds from 2001 to 2033.
static TIME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"\b(?:(20[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)|(1[0-9]{9}(?:[0-9]{3}){0,3})(?:\.[0-9]+)?)\b",
    )
    .ok()
});
/// Times that are looked at; the first of them tell enough.
const TIMES_MAX: usize = 20_000;
/// How far from the middle one a time may lie: half of what dialects believe.
const APART_MAX: Duration = Duration::from_hours(3 * 24);

/// The newest time of those that lie together; None where the text tells none.
pub(super) fn newest(text: &[u8]) -> Option<Timestamp> {
    let pattern = TIME.as_ref()?;
    let mut times: Vec<Timestamp> = pattern
        .captures_iter(text)
        .take(TIMES_MAX)
        .filter_map(|found| {
            let text =
                |at| found.get(at).and_then(|part| std::str::from_utf8(part.as_bytes()).ok());
            match (text(1), text(2)) {
                (Some(told), _) => rfc3339(told),
                (None, Some(digits)) => epoch(digits),
                (None, None) => None,
            }
        })
        .collect();
    times.sort_unstable();
    let middle = *times.get(times.len() / 2)?;
    let last = middle.saturating_add(APART_MAX);
    times.into_iter().rev().find(|time| *time <= last)
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text).or_else(|| Timestamp::parse_rfc3339(&format!("{text}Z")))
}

fn epoch(digits: &str) -> Option<Timestamp> {
    let nanos_each = match digits.len() {
        10 => 1_000_000_000,
        13 => 1_000_000,
        16 => 1_000,
        _ => 1,
    };
    Some(Timestamp::from_nanos(digits.parse::<u64>().ok()?.checked_mul(nanos_each)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_times_that_lie_together_counts() {
        let shown = |text: &str| newest(text.as_bytes()).map(|time| time.to_string());
        let told = r#"{"exp":1999999999,"timestamp":"2025-03-01T10:00:00.5Z","t":1740823199000}
            {"ts":"2025-03-01 10:00:01,250","born":"2001-01-01T00:00:00Z"}"#;
        assert_eq!(shown(told).as_deref(), Some("2025-03-01T10:00:01.250000000Z"));
        assert_eq!(
            shown("timeUnixNano\":\"1740823200000000001\"").as_deref(),
            Some("2025-03-01T10:00:00.000000001Z")
        );
        assert_eq!(shown("{\"n\":12345}"), None);
    }
}
