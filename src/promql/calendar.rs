//! Parts of a date, in UTC. What comes in: seconds since the epoch. What goes out: the part in the
//! Gregorian calendar, without a first or last year, or NaN where the time is not finite.

use crate::number::{f64_from_i64, i64_from_f64};

const DAY: i64 = 86_400;
/// Days from the first of March of the year 0 to the epoch.
const EPOCH: i64 = 719_468;
/// Days of four centuries, after which all repeats.
const ERA: i64 = 146_097;

struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    /// Of days since the epoch. Years begin in March, so that a leap day is their last.
    fn of(days: i64) -> Self {
        let days = days + EPOCH;
        let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Months from March on have 153 days in five.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Self { year: era * 400 + year + later, month, day }
    }

    const fn is_of_leap_year(&self) -> bool {
        let year = self.year;
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    fn days_in_month(&self) -> i64 {
        match self.month {
            2 => 28 + i64::from(self.is_of_leap_year()),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn day_of_year(&self) -> i64 {
        let before = |month| Self { month, ..*self }.days_in_month();
        (1..self.month).map(before).sum::<i64>() + self.day
    }
}

pub(super) fn calendar(part: &str, seconds: f64) -> f64 {
    if !seconds.is_finite() {
        return f64::NAN;
    }
    let seconds = i64_from_f64(seconds);
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let date = Date::of(days);
    let number = match part {
        "minute" => second / 60 % 60,
        "hour" => second / 3600,
        "day_of_month" => date.day,
        // The epoch was a Thursday; Sunday is 0.
        "day_of_week" => (days + 4).rem_euclid(7),
        "day_of_year" => date.day_of_year(),
        "days_in_month" => date.days_in_month(),
        "month" => date.month,
        "year" => date.year,
        _ => return f64::NAN,
    };
    f64_from_i64(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARTS: [&str; 8] = [
        "year",
        "month",
        "day_of_month",
        "days_in_month",
        "day_of_year",
        "day_of_week",
        "hour",
        "minute",
    ];

    #[test]
    fn parts_of_a_leap_day() {
        let leap_day = 1_582_934_400.0;
        let values = PARTS.map(|part| calendar(part, leap_day));
        assert_eq!(format!("{values:?}"), "[2020.0, 2.0, 29.0, 29.0, 60.0, 6.0, 0.0, 0.0]");
        assert!(calendar("year", f64::NAN).is_nan());
        assert!(calendar("year", f64::INFINITY).is_nan());
    }

    #[test]
    fn milliseconds_by_mistake_are_a_year_too() {
        assert_eq!(calendar("year", 1e12).to_string(), "33658");
        assert_eq!(calendar("hour", 253_402_300_800.0).to_string(), "0");
    }

    proptest! {
        /// As the library of dates has it, where it has any.
        #[test]
        fn dates_are_those_of_the_calendar(seconds in -377_000_000_000_i64..253_000_000_000) {
            let zoned = jiff::tz::TimeZone::UTC;
            let at = zoned.to_datetime(jiff::Timestamp::from_second(seconds).unwrap());
            let date = at.date();
            let expected = [
                i64::from(date.year()),
                i64::from(date.month()),
                i64::from(date.day()),
                i64::from(date.days_in_month()),
                i64::from(date.day_of_year()),
                i64::from(date.weekday().to_sunday_zero_offset()),
                i64::from(at.hour()),
                i64::from(at.minute()),
            ];
            let told = PARTS.map(|part| calendar(part, f64_from_i64(seconds)));
            prop_assert_eq!(told.map(i64_from_f64), expected);
        }
    }
}
