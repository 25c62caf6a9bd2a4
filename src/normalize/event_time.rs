//! Event times: what a record says of when it happened, judged against when it arrived.
//!
//! In come the spellings that loggers use (RFC 3339, Python's comma, epoch seconds to nanoseconds);
//! out goes a time that lies near the arrival. A record with an absurd time is kept at its fallback and
//! its own time kept beside it, because one broken clock must not hide what the record says.

use std::time::Duration;

use serde_json::Value;

use crate::number::{f64_from_u64, u64_from_f64, u64_from_i64};
use crate::signal::Timestamp;

/// Older than this at arrival, a time is taken for a broken clock: no transport that we read buffers
/// longer (CloudWatch subscriptions retry for 24 h, Firehose for 2 h), and replays of a week still work.
pub(crate) const PAST_MAX: Duration = Duration::from_hours(7 * 24);

/// Clocks of honest machines are less far ahead than this.
pub(crate) const FUTURE_MAX: Duration = Duration::from_mins(10);

/// The longest that anything runs: Step Functions' limit for an execution is a year.
pub(crate) const RUN_MAX: Duration = Duration::from_hours(366 * 24);

/// Refuses the time of a sample that lies ahead, or further back than `age_max`, beyond which no sample is
/// kept.
pub(crate) fn sample(time: Timestamp, arrived: Timestamp, age_max: Duration) -> Result<(), String> {
    if time > arrived.saturating_add(FUTURE_MAX) {
        return Err(format!("the time {time} is more than 10 minutes ahead"));
    }
    if time < arrived.saturating_sub(age_max) {
        let hours = age_max.as_secs() / 3600;
        return Err(format!("the time {time} is too old: samples are kept for {hours} hours"));
    }
    Ok(())
}

/// A time that can be used, and the told one where that was absurd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventTime {
    pub(crate) time: Timestamp,
    pub(crate) original: Option<Timestamp>,
}

/// The told time where it is plausible, else the fallback where that is, else the arrival.
pub(crate) fn judge(told: Option<Timestamp>, fallback: Timestamp, arrived: Timestamp) -> EventTime {
    let safe = if is_plausible(fallback, arrived) { fallback } else { arrived };
    match told {
        Some(time) if is_plausible(time, arrived) => EventTime { time, original: None },
        Some(absurd) => EventTime { time: safe, original: Some(absurd) },
        None if safe == fallback => EventTime { time: safe, original: None },
        None => EventTime { time: safe, original: Some(fallback) },
    }
}

/// Whether a time lies near enough to the arrival to be believed.
pub(crate) fn is_plausible(time: Timestamp, arrived: Timestamp) -> bool {
    time >= arrived.saturating_sub(PAST_MAX) && time <= arrived.saturating_add(FUTURE_MAX)
}

/// Reads a time in any of the loggers' spellings; None where it is none.
pub(crate) fn read(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => read_text(text),
        Value::Number(number) => match number.as_i64() {
            Some(whole) if whole > 0 => Some(from_epoch(whole)),
            Some(_) => None,
            None => number.as_f64().filter(|x| *x > 0.0).map(from_epoch_fraction),
        },
        _ => None,
    }
}

/// RFC 3339, or the same without an offset (then UTC, as Lambda's clocks are), or epoch digits.
pub(crate) fn read_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    // The longest spelling has nanoseconds and an offset; anything longer is prose.
    if text.len() > 40 || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return (text.len() >= 9).then(|| from_epoch(whole));
    }
    if let Ok(fraction) = text.parse::<f64>() {
        return (fraction > 1e8).then(|| from_epoch_fraction(fraction));
    }
    Timestamp::parse_rfc3339(text).or_else(|| Timestamp::parse_rfc3339(&format!("{text}Z")))
}

/// The unit is told by the size: seconds stay below 1e11 until the year 5138.
fn from_epoch(n: i64) -> Timestamp {
    let nanos_each = match n {
        ..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    Timestamp::from_nanos(u64_from_i64(n).saturating_mul(nanos_each))
}

/// To the microsecond: a double holds no more of today's seconds.
fn from_epoch_fraction(x: f64) -> Timestamp {
    let seconds = if x < 1e11 { x } else { x / 1e3 };
    let whole = u64_from_f64(seconds);
    let micros = u64_from_f64(((seconds - f64_from_u64(whole)) * 1e6).round());
    let nanos = whole.saturating_mul(1_000_000_000);
    Timestamp::from_nanos(nanos.saturating_add(micros.saturating_mul(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn an_epoch_beyond_all_bounds_is_the_last_time() {
        assert_eq!(read(&serde_json::json!(1e300)), Some(Timestamp::MAX));
        assert_eq!(read(&serde_json::json!(u64::MAX)), Some(Timestamp::MAX));
    }

    #[test]
    fn every_spelling_of_one_moment_is_the_same_moment() {
        let moment = at("2026-11-25T10:00:00.250Z");
        for spelling in [
            r#""2026-11-25T10:00:00.250Z""#,
            r#""2026-11-25 10:00:00,250+0000""#,
            r#""2026-11-25 10:00:00,250""#,
            r#""2026-11-25T12:00:00.250+02:00""#,
            "1795600800250",
            "1795600800250000",
            "1795600800250000000",
            "1795600800.25",
            "1795600800250.0",
            r#""1795600800250""#,
        ] {
            let value: Value = serde_json::from_str(spelling).unwrap();
            assert_eq!(read(&value), Some(moment), "{spelling}");
        }
        for none in [r#""yesterday""#, r#""12""#, "-5", "0", "true", r#""""#, "[1]"] {
            assert_eq!(read(&serde_json::from_str(none).unwrap()), None, "{none}");
        }
    }

    #[test]
    fn absurd_times_give_way_to_the_fallback_then_to_the_arrival() {
        let arrived = at("2026-11-25T10:00:00Z");
        let fallback = at("2026-11-25T09:59:00Z");
        let told = at("2026-11-20T10:00:00Z");
        assert_eq!(judge(Some(told), fallback, arrived).time, told);
        let old = at("2020-01-01T00:00:00Z");
        assert_eq!(
            judge(Some(old), fallback, arrived),
            EventTime { time: fallback, original: Some(old) }
        );
        assert_eq!(judge(None, old, arrived), EventTime { time: arrived, original: Some(old) });
        let ahead = at("2026-11-25T10:10:01Z");
        assert_eq!(judge(Some(ahead), arrived, arrived).time, arrived);
    }
}
