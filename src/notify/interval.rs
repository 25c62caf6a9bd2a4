//! Time intervals: when a route is muted or active, as Alertmanager's `time_intervals` say it.
//!
//! What comes in: intervals as written, and a point in time. What goes out: whether it lies inside, in
//! the interval's own time zone. Never does the machine's own zone or zone files matter.

use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::signal::Timestamp;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// Inside when every part that is written holds; a part holds when one of its ranges does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimeInterval {
    /// Minutes of the day, the end not included.
    times: Vec<Span>,
    /// Sunday is 0.
    weekdays: Vec<Span>,
    /// Negative ones count from the end of the month.
    days_of_month: Vec<Span>,
    months: Vec<Span>,
    years: Vec<Span>,
    zone: TimeZone,
}

/// From one number to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: i32,
    to: i32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawInterval {
    times: Vec<RawTimes>,
    weekdays: Vec<String>,
    days_of_month: Vec<String>,
    months: Vec<String>,
    years: Vec<String>,
    location: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTimes {
    start_time: String,
    end_time: String,
}

impl TimeInterval {
    pub(crate) fn try_new(raw: &RawInterval) -> Result<Self, String> {
        let zone = match raw.location.as_deref() {
            None | Some("" | "UTC") => TimeZone::UTC,
            // Alertmanager's word for the machine's own zone; where we run must not matter.
            Some("Local") => {
                return Err("`location: Local` is not supported; name a zone".to_owned());
            }
            Some(name) => TimeZone::get(name)
                .map_err(|_unknown| format!("`{name}` is no time zone; write Europe/Berlin"))?,
        };
        let weekday = |text: &str| position(&WEEKDAYS, text);
        let month = |text: &str| match text.parse() {
            Ok(n) => (1..=12).contains(&n).then_some(n),
            Err(_) => position(&MONTHS, text).map(|at| at + 1),
        };
        Ok(Self {
            times: raw.times.iter().map(times).collect::<Result<_, _>>()?,
            weekdays: spans(&raw.weekdays, "weekday", weekday)?,
            days_of_month: raw
                .days_of_month
                .iter()
                .map(|day| days(day))
                .collect::<Result<_, _>>()?,
            months: spans(&raw.months, "month", month)?,
            years: spans(&raw.years, "year", |text| text.parse().ok())?,
            zone,
        })
    }

    pub(crate) fn contains(&self, at: Timestamp) -> bool {
        let Ok(at) = jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())) else {
            return false;
        };
        let at = at.to_zoned(self.zone.clone());
        let minute = i32::from(at.hour()) * 60 + i32::from(at.minute());
        let weekday = i32::from(at.weekday().to_sunday_zero_offset());
        let in_month = i32::from(at.days_in_month());
        let day = i32::from(at.day());
        let holds = |spans: &[Span], inside: &dyn Fn(&Span) -> bool| {
            spans.is_empty() || spans.iter().any(inside)
        };
        holds(&self.times, &|span| (span.from..span.to).contains(&minute))
            && holds(&self.weekdays, &|span| span.contains(weekday))
            && holds(&self.days_of_month, &|span| span.in_month(in_month).contains(day))
            && holds(&self.months, &|span| span.contains(i32::from(at.month())))
            && holds(&self.years, &|span| span.contains(i32::from(at.year())))
    }
}

impl Span {
    const fn contains(self, n: i32) -> bool {
        self.from <= n && n <= self.to
    }

    /// Days from the end become days from the start; what is beyond the month is cut off.
    fn in_month(self, n_days: i32) -> Self {
        let plain = |day: i32| if day < 0 { n_days + day + 1 } else { day };
        // A span that begins after a short month's end holds on none of its days.
        Self { from: plain(self.from).max(1), to: plain(self.to).min(n_days) }
    }
}

fn position(names: &[&str], text: &str) -> Option<i32> {
    let at = names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    i32::try_from(at).ok()
}

/// `a` or `a:b`, each end read by `one`.
fn spans(
    texts: &[String],
    what: &str,
    one: impl Fn(&str) -> Option<i32>,
) -> Result<Vec<Span>, String> {
    let read = |text: &String| {
        let (from, to) = text.split_once(':').unwrap_or((text, text));
        let bad = || format!("`{text}` is no {what} and no range of them");
        let (from, to) = one(from.trim()).zip(one(to.trim())).ok_or_else(bad)?;
        if from > to {
            return Err(format!("`{text}` ends before it starts"));
        }
        Ok(Span { from, to })
    };
    texts.iter().map(read).collect()
}

fn days(text: &str) -> Result<Span, String> {
    let (from, to) = text.split_once(':').unwrap_or((text, text));
    let one = |part: &str| {
        let day: i32 = part.trim().parse().ok()?;
        (day != 0 && (-31..=31).contains(&day)).then_some(day)
    };
    let bad = || format!("`{text}` is no day of the month; write 1 to 31, or -1 for the last");
    let (from, to) = one(from).zip(one(to)).ok_or_else(bad)?;
    if from < 0 && to > 0 {
        return Err(format!("`{text}`: a range that starts from the end must end from the end"));
    }
    // In the longest month, which is the most generous.
    let span = Span { from, to }.in_month(31);
    if span.from > span.to {
        return Err(format!("`{text}` ends before it starts"));
    }
    Ok(Span { from, to })
}

fn times(raw: &RawTimes) -> Result<Span, String> {
    let minute = |text: &str| {
        let bad = || format!("`{text}` is no time of day; write 09:00, or 24:00 for the end");
        let (hours, minutes) = text.split_once(':').ok_or_else(bad)?;
        let two = |digits: &str, max: i32| {
            let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<i32>().ok().filter(|n| plain && *n <= max)
        };
        let at = two(hours, 24).zip(two(minutes, 59)).map(|(h, m)| h * 60 + m);
        at.filter(|at| *at <= 24 * 60).ok_or_else(bad)
    };
    let span = Span { from: minute(&raw.start_time)?, to: minute(&raw.end_time)? };
    if span.from >= span.to {
        return Err(format!("`{}` is not before `{}`", raw.start_time, raw.end_time));
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the interval holds at each time.
    fn check(yaml: &str, expect: &[(&str, bool)]) {
        let raw: RawInterval = serde_saphyr::from_str(yaml).expect("YAML");
        let interval = TimeInterval::try_new(&raw).expect("an interval");
        for (at, inside) in expect {
            let time = Timestamp::parse_rfc3339(at).expect("a time");
            assert_eq!(interval.contains(time), *inside, "{yaml} at {at}");
        }
    }

    #[test]
    fn office_hours_are_those_of_the_office_summer_and_winter() {
        check(
            "{times: [{start_time: '09:00', end_time: '17:00'}], weekdays: ['monday:friday'], location: Europe/Berlin}",
            &[
                ("2026-07-01T07:00:00Z", true),
                ("2026-07-01T15:00:00Z", false),
                ("2026-12-01T07:59:00Z", false),
                ("2026-12-01T08:00:00Z", true),
                ("2026-07-04T09:00:00Z", false),
            ],
        );
    }

    #[test]
    fn days_count_from_the_end_of_the_month_too() {
        check(
            "{days_of_month: ['-3:-1']}",
            &[
                ("2026-02-25T12:00:00Z", false),
                ("2026-02-26T00:00:00Z", true),
                ("2028-02-29T12:00:00Z", true),
                ("2028-02-26T12:00:00Z", false),
            ],
        );
        check("{days_of_month: ['31']}", &[("2026-04-30T12:00:00Z", false)]);
        check("{days_of_month: ['1:-1']}", &[("2026-04-30T12:00:00Z", true)]);
    }

    #[test]
    fn months_and_years_are_names_numbers_and_ranges() {
        check(
            "{months: ['january:march', '5', December], years: ['2026:2027']}",
            &[
                ("2026-03-31T23:59:59Z", true),
                ("2026-04-01T00:00:00Z", false),
                ("2027-05-01T00:00:00Z", true),
                ("2027-12-01T00:00:00Z", true),
                ("2028-01-01T00:00:00Z", false),
            ],
        );
        check(
            "{times: [{start_time: '22:00', end_time: '24:00'}]}",
            &[("2026-01-01T23:59:59Z", true)],
        );
    }

    #[test]
    fn what_cannot_be_is_named() {
        let errors: Vec<String> = [
            "{weekdays: [mon]}",
            "{weekdays: ['friday:monday']}",
            "{days_of_month: ['0']}",
            "{days_of_month: ['-1:5']}",
            "{days_of_month: ['10:3']}",
            "{months: ['13']}",
            "{times: [{start_time: '9:00', end_time: '17:00'}]}",
            "{times: [{start_time: '17:00', end_time: '09:00'}]}",
            "{location: Berlin}",
        ]
        .iter()
        .map(|yaml| {
            let raw: RawInterval = serde_saphyr::from_str(yaml).expect("YAML");
            TimeInterval::try_new(&raw).expect_err(yaml)
        })
        .collect();
        expect_test::expect![[r"
            `mon` is no weekday and no range of them
            `friday:monday` ends before it starts
            `0` is no day of the month; write 1 to 31, or -1 for the last
            `-1:5`: a range that starts from the end must end from the end
            `10:3` ends before it starts
            `13` is no month and no range of them
            `9:00` is no time of day; write 09:00, or 24:00 for the end
            `17:00` is not before `09:00`
            `Berlin` is no time zone; write Europe/Berlin"]]
        .assert_eq(&errors.join("\n"));
    }
}
