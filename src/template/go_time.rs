//! Times and durations as Go prints them: layouts of `time.Format`, `1h2m3s`.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// `2026-11-25 14:02:00.5 +0000 UTC`: what Go prints of a time.
pub(crate) const DEFAULT_LAYOUT: &str = "2006-01-02 15:04:05.999999999 -0700 MST";
/// What Go's JSON writes.
pub(crate) const RFC_3339: &str = "2006-01-02T15:04:05.999999999Z07:00";

/// The elements of a layout, longer ones before those that they begin with.
const ELEMENTS: [&str; 28] = [
    "January", "Jan", "Monday", "Mon", "MST", "2006", "__2", "_2", "002", "01", "02", "03", "04",
    "05", "06", "15", "PM", "pm", "-07:00", "-0700", "-07", "Z07:00", "Z0700", "1", "2", "3", "4",
    "5",
];

/// `at` in `zone` (a name of the time zone database) in Go's layout.
pub(crate) fn format(layout: &str, at: Timestamp, zone: &str) -> Result<String, String> {
    let zone = TimeZone::get(zone).map_err(|_| format!("unknown time zone {zone}"))?;
    let at = at.to_zoned(zone);
    let mut out = String::with_capacity(layout.len() + 8);
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some(length) = fraction_length(rest) {
            fraction(rest.get(..length).unwrap_or_default(), &at, &mut out);
            rest = rest.get(length..).unwrap_or_default();
        } else if let Some(element) = element_at(rest) {
            write_element(element, &at, &mut out);
            rest = rest.get(element.len()..).unwrap_or_default();
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    Ok(out)
}

fn element_at(rest: &str) -> Option<&'static str> {
    let found = ELEMENTS.into_iter().find(|element| rest.starts_with(element))?;
    // `Jan` within a longer word in lower case is text ("Janet"), as in Go.
    let is_within_word = |element: &str| {
        rest.get(element.len()..)
            .and_then(|after| after.chars().next())
            .is_some_and(char::is_lowercase)
    };
    (!(matches!(found, "Jan" | "Mon") && is_within_word(found))).then_some(found)
}

/// `.000` or `,999`, wherever it stands: bytes of it.
fn fraction_length(rest: &str) -> Option<usize> {
    let digits = rest.strip_prefix(['.', ','])?;
    let kind = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let n_digits = digits.chars().take_while(|c| *c == kind).count();
    let follows_digit = digits.get(n_digits..)?.starts_with(|c: char| c.is_ascii_digit());
    (!follows_digit).then_some(1 + n_digits)
}

fn fraction(layout: &str, at: &Zoned, out: &mut String) {
    let n_digits = layout.len() - 1;
    let nanos = format!("{:09}", at.subsec_nanosecond());
    let digits = nanos.get(..n_digits.min(9)).unwrap_or(&nanos);
    let digits = if layout.contains('9') { digits.trim_end_matches('0') } else { digits };
    if !digits.is_empty() {
        out.push_str(layout.get(..1).unwrap_or("."));
        out.push_str(digits);
    }
}

fn write_element(element: &str, at: &Zoned, out: &mut String) {
    let hour_12 = match at.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let written = match element {
        "2006" => write!(out, "{:04}", at.year()),
        "06" => write!(out, "{:02}", at.year() % 100),
        "01" => write!(out, "{:02}", at.month()),
        "1" => write!(out, "{}", at.month()),
        "02" => write!(out, "{:02}", at.day()),
        "_2" => write!(out, "{:2}", at.day()),
        "2" => write!(out, "{}", at.day()),
        "002" => write!(out, "{:03}", at.day_of_year()),
        "__2" => write!(out, "{:3}", at.day_of_year()),
        "15" => write!(out, "{:02}", at.hour()),
        "03" => write!(out, "{hour_12:02}"),
        "3" => write!(out, "{hour_12}"),
        "04" => write!(out, "{:02}", at.minute()),
        "4" => write!(out, "{}", at.minute()),
        "05" => write!(out, "{:02}", at.second()),
        "5" => write!(out, "{}", at.second()),
        "PM" => write!(out, "{}", if at.hour() < 12 { "AM" } else { "PM" }),
        "pm" => write!(out, "{}", if at.hour() < 12 { "am" } else { "pm" }),
        "January" => write!(out, "{}", at.strftime("%B")),
        "Jan" => write!(out, "{}", at.strftime("%b")),
        "Monday" => write!(out, "{}", at.strftime("%A")),
        "Mon" => write!(out, "{}", at.strftime("%a")),
        "MST" => write!(out, "{}", at.strftime("%Z")),
        zone => write_offset(zone, at, out),
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

fn write_offset(element: &str, at: &Zoned, out: &mut String) -> std::fmt::Result {
    let seconds = at.offset().seconds();
    if element.starts_with('Z') && seconds == 0 {
        return out.write_char('Z');
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match element {
        "-07" => write!(out, "{sign}{hours:02}"),
        "-0700" | "Z0700" => write!(out, "{sign}{hours:02}{minutes:02}"),
        _ => write!(out, "{sign}{hours:02}:{minutes:02}"),
    }
}

/// `time.Duration.String`: `1h2m3.5s`, `1.5ms`, `0s`.
pub(crate) fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let decimal = |unit: u64, name: &str| {
        let (whole, part) = (nanos / unit, nanos % unit);
        let width = unit.ilog10();
        let width = usize::try_from(width).unwrap_or(0);
        let part = format!("{part:0width$}");
        let part = part.trim_end_matches('0');
        let point = if part.is_empty() { "" } else { "." };
        (whole, format!("{point}{part}{name}"))
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => {
            let (whole, rest) = decimal(1_000, "µs");
            format!("{sign}{whole}{rest}")
        }
        1_000_000..1_000_000_000 => {
            let (whole, rest) = decimal(1_000_000, "ms");
            format!("{sign}{whole}{rest}")
        }
        _ => {
            let (whole, rest) = decimal(1_000_000_000, "s");
            let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}{rest}"),
                (0, _) => format!("{sign}{minutes}m{seconds}{rest}"),
                _ => format!("{sign}{hours}h{minutes}m{seconds}{rest}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_do_what_those_of_go_do() {
        let at = "2026-01-05T07:08:09.120Z".parse().expect("a time");
        let cases = [
            (DEFAULT_LAYOUT, "UTC", "2026-01-05 07:08:09.12 +0000 UTC"),
            (RFC_3339, "Europe/Berlin", "2026-01-05T08:08:09.12+01:00"),
            ("Mon, 02 Jan 2006 15:04:05 MST", "Europe/Berlin", "Mon, 05 Jan 2026 08:08:09 CET"),
            ("Monday January _2 3:04PM 06", "America/New_York", "Monday January  5 2:08AM 26"),
            ("15:04:05.000 Z0700 at 5", "UTC", "07:08:09.120 Z at 9"),
            ("Janet 002", "UTC", "Janet 005"),
        ];
        for (layout, zone, expect) in cases {
            assert_eq!(format(layout, at, zone).as_deref(), Ok(expect), "{layout}");
        }
        assert_eq!(
            format("15", at, "Nowhere/Town"),
            Err("unknown time zone Nowhere/Town".to_owned())
        );
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        let cases = [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (12_000_000, "12ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (-3_723_000_000_000, "-1h2m3s"),
        ];
        for (nanos, expect) in cases {
            assert_eq!(duration(nanos), expect);
        }
    }
}
