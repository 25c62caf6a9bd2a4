//! Calendar-aligned windows: when the period that holds a time began.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Zoned};

use crate::signal::Timestamp;

/// Periods of a calendar-aligned objective that are looked through for the present one; a thousand
/// months are 83 years.
const PERIODS_MAX: i64 = 100_000;

/// Periods of one length, the first of which began at `start`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Calendar {
    start: Zoned,
    unit: Unit,
    /// Units a period.
    count: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

/// Of OpenSLO's shorthand (`1d`, `4w`, `1M`, `1Q`, `1Y`): how long it is about, and what it counts.
/// A `1m` in a calendar window can only be meant as a month.
fn period(text: &str) -> Option<(Unit, i64)> {
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let count: i64 = number.parse().ok().filter(|count| (1..=1000).contains(count))?;
    match unit {
        "h" => Some((Unit::Hour, count)),
        "d" => Some((Unit::Day, count)),
        "w" => Some((Unit::Week, count)),
        "M" | "m" => Some((Unit::Month, count)),
        "Q" => Some((Unit::Month, count * 3)),
        "Y" | "y" => Some((Unit::Year, count)),
        _ => None,
    }
}

/// How long a period is, months and years on average: for burn rates, which need no more.
pub(super) fn nominal(text: &str) -> Option<Duration> {
    let (unit, count) = period(text)?;
    let hours = match unit {
        Unit::Hour => 1,
        Unit::Day => 24,
        Unit::Week => 168,
        Unit::Month => 730,
        Unit::Year => 8760,
    };
    Some(Duration::from_hours(hours * u64::try_from(count).unwrap_or(1)))
}

impl Calendar {
    /// # Errors
    /// What is no start or no time zone, for people.
    pub(super) fn new(duration: &str, start: &str, time_zone: &str) -> Result<Self, String> {
        let (unit, count) =
            period(duration).ok_or_else(|| format!("`{duration}` is no calendar period"))?;
        let zone = TimeZone::get(time_zone)
            .map_err(|_| format!("`{time_zone}` is no time zone; write Europe/Berlin or UTC"))?;
        let date: DateTime = start
            .parse()
            .map_err(|_| format!("`{start}` is no start; write 2026-01-01 00:00:00"))?;
        let start = date.to_zoned(zone).map_err(|error| error.to_string())?;
        Ok(Self { start, unit, count })
    }

    /// When the period that holds `now` began; the first, where it has not begun yet.
    pub(crate) fn began(&self, now: Timestamp) -> Timestamp {
        let Ok(at) = jiff::Timestamp::from_millisecond(now.as_millis()) else { return now };
        let (mut low, mut high) = (0, PERIODS_MAX);
        while low < high {
            let middle = low + (high - low).div_euclid(2) + 1;
            match self.nth(middle) {
                Some(began) if began <= at => low = middle,
                _ => high = middle - 1,
            }
        }
        self.nth(low).map_or(now, |began| Timestamp::from_millis(began.as_millisecond()))
    }

    fn nth(&self, n: i64) -> Option<jiff::Timestamp> {
        let many = n.checked_mul(self.count)?;
        let span = Span::new();
        let span = match self.unit {
            Unit::Hour => span.try_hours(many),
            Unit::Day => span.try_days(many),
            Unit::Week => span.try_weeks(many),
            Unit::Month => span.try_months(many),
            Unit::Year => span.try_years(many),
        };
        Some(self.start.checked_add(span.ok()?).ok()?.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(period: &str, start: &str, zone: &str, now: &str) -> String {
        let calendar = Calendar::new(period, start, zone).expect("valid");
        calendar.began(Timestamp::parse_rfc3339(now).expect("a time")).to_string()
    }

    #[test]
    fn periods_begin_where_the_calendar_says_whatever_their_length() {
        let month = |now| began("1M", "2022-01-31 12:00:00", "UTC", now);
        assert_eq!(month("2022-03-01T00:00:00Z"), "2022-02-28T12:00:00.000000000Z");
        assert_eq!(month("2024-02-29T12:00:00Z"), "2024-02-29T12:00:00.000000000Z");
        assert_eq!(month("2020-01-01T00:00:00Z"), "2022-01-31T12:00:00.000000000Z");
        let week = began("1w", "2022-01-01 12:00:00", "UTC", "2026-11-25T10:00:00Z");
        assert_eq!(week, "2026-11-21T12:00:00.000000000Z");
    }

    #[test]
    fn days_keep_their_hour_where_clocks_change() {
        let day = |now| began("1d", "2026-03-01 00:00:00", "Europe/Berlin", now);
        assert_eq!(day("2026-03-10T12:00:00Z"), "2026-03-09T23:00:00.000000000Z");
        assert_eq!(day("2026-04-10T12:00:00Z"), "2026-04-09T22:00:00.000000000Z");
    }

    #[test]
    fn what_is_no_calendar_is_said_so() {
        let wrong = |period, start, zone| Calendar::new(period, start, zone).expect_err("wrong");
        assert_eq!(wrong("30 days", "2022-01-01", "UTC"), "`30 days` is no calendar period");
        assert!(wrong("1w", "soon", "UTC").starts_with("`soon` is no start"));
        assert!(wrong("1w", "2022-01-01 00:00:00", "Mars").starts_with("`Mars` is no time zone"));
    }
}
