//! Parts of a date, in UTC. What comes in: seconds since the epoch. What goes out: the part, or
//! NaN where the time is no date of the Gregorian calendar up to year 9999.

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, tz::TimeZone};

use crate::number::{f64_from_i64, i64_from_f64};

fn date_time(seconds: f64) -> Option<DateTime> {
    if !seconds.is_finite() {
        return None;
    }
    let timestamp = Timestamp::from_second(i64_from_f64(seconds)).ok()?;
    Some(TimeZone::UTC.to_datetime(timestamp))
}

pub(super) fn calendar(part: &str, seconds: f64) -> f64 {
    let Some(at) = date_time(seconds) else { return f64::NAN };
    let date: Date = at.date();
    let number = match part {
        "minute" => i64::from(at.minute()),
        "hour" => i64::from(at.hour()),
        "day_of_month" => i64::from(date.day()),
        "day_of_week" => i64::from(date.weekday().to_sunday_zero_offset()),
        "day_of_year" => i64::from(date.day_of_year()),
        "days_in_month" => i64::from(date.days_in_month()),
        "month" => i64::from(date.month()),
        "year" => i64::from(date.year()),
        _ => return f64::NAN,
    };
    f64_from_i64(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_leap_day() {
        let parts =
            ["year", "month", "day_of_month", "days_in_month", "day_of_year", "day_of_week"];
        let leap_day = 1_582_934_400.0;
        let values: Vec<f64> = parts.iter().map(|part| calendar(part, leap_day)).collect();
        assert_eq!(format!("{values:?}"), "[2020.0, 2.0, 29.0, 29.0, 60.0, 6.0]");
        assert!(calendar("year", f64::NAN).is_nan());
        assert!(calendar("year", 1e300).is_nan());
    }
}
