//! A point in time: nanoseconds since the Unix epoch, UTC.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::number::{f64_from_u64, i64_from_u64, u64_from_f64, u64_from_i64};

/// Nanoseconds since the Unix epoch, UTC. Shown and serialized for people as RFC 3339 with nine
/// digits; in binary formats as the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    pub const EPOCH: Self = Self(0);
    pub const MAX: Self = Self(u64::MAX);

    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds; times before the epoch become the epoch.
    pub fn from_millis(millis: i64) -> Self {
        Self(u64_from_i64(millis).saturating_mul(1_000_000))
    }

    /// From seconds with a fraction; NaN and times before the epoch become the epoch.
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self(u64_from_f64(seconds * 1e9))
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    pub fn as_millis(self) -> i64 {
        i64_from_u64(self.0 / 1_000_000)
    }

    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    pub fn as_secs_f64(self) -> f64 {
        f64_from_u64(self.0) / 1e9
    }

    #[must_use]
    pub fn saturating_add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(nanos(d)))
    }

    #[must_use]
    pub fn saturating_sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(d)))
    }

    /// Time from `earlier` to `self`; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Reads RFC 3339 (and ISO 8601 with a comma before the fraction, or an offset without a colon).
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let text = text.trim();
        let direct = text.parse::<jiff::Timestamp>().ok();
        let parsed =
            direct.or_else(|| text.replacen(',', ".", 1).parse::<jiff::Timestamp>().ok())?;
        u64::try_from(parsed.as_nanosecond()).ok().map(Self)
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(t) => write!(f, "{t:.9}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            Self::parse_rfc3339(&text)
                .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no RFC 3339 time")))
        } else {
            u64::deserialize(d).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nine_digits_and_reads_them_back() {
        let t = Timestamp::from_nanos(1_700_000_000_123_456_789);
        assert_eq!(t.to_string(), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(Timestamp::parse_rfc3339(&t.to_string()), Some(t));
    }

    #[test]
    fn reads_powertools_times() {
        let t = Timestamp::parse_rfc3339("2021-05-03 11:47:12,494+0000");
        assert_eq!(t.map(Timestamp::as_millis), Some(1_620_042_432_494));
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }
}
