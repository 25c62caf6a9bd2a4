//! Numbers, durations and strings as PromQL and Go write them; both ways.

use std::fmt::Write as _;

use crate::number::{f64_from_i64, f64_from_u64, i64_from_f64};

/// A number literal: decimal, `0x` hexadecimal, octal behind a `0`, `inf`, `nan`; any case, with a sign for samples.
pub(super) fn number(text: &str) -> Option<f64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1.0, text.get(1..)?),
        b'+' => (1.0, text.get(1..)?),
        _ => (1.0, text),
    };
    if digits.eq_ignore_ascii_case("inf") {
        return Some(sign * f64::INFINITY);
    }
    if digits.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let valid = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        return if valid {
            Some(sign * f64_from_u64(u64::from_str_radix(hex, 16).ok()?))
        } else {
            None
        };
    }
    if let Some(octal) = digits.strip_prefix('0')
        && let Ok(n) = i64::from_str_radix(octal, 8)
        && octal.bytes().all(|b| b.is_ascii_digit())
    {
        return Some(sign * f64_from_i64(n));
    }
    let first = digits.as_bytes().first()?;
    if !(first.is_ascii_digit() || *first == b'.') {
        return None;
    }
    digits.parse::<f64>().ok().map(|x| sign * x)
}

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Milliseconds of `1h30m`; units in descending order, each at most once
/// (`model.ParseDuration` of prometheus/common).
pub(super) fn duration_millis(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let length = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let name = rest.get(..length)?;
        rest = rest.get(length..)?;
        let (_, millis) = units.by_ref().find(|(unit, _)| *unit == name)?;
        total = total.checked_add(count.checked_mul(*millis)?)?;
    }
    if text.is_empty() { None } else { Some(total) }
}

pub(super) fn duration_seconds(text: &str) -> Option<f64> {
    duration_millis(text).map(|millis| f64_from_i64(millis) / 1000.0)
}

/// `1h30m` for a whole number of milliseconds that fits; nothing for other values.
pub(super) fn duration_text(seconds: f64) -> Option<String> {
    let millis = seconds * 1000.0;
    if !(0.0..9e15).contains(&millis) || millis.fract() != 0.0 {
        return None;
    }
    let mut left = i64_from_f64(millis);
    if left == 0 {
        return Some("0s".to_owned());
    }
    let mut out = String::new();
    for (unit, length) in &UNITS[2..] {
        if left >= *length {
            // A String never fails to take text.
            let _ = write!(out, "{}{unit}", left / length);
            left %= length;
        }
    }
    Some(out)
}

/// Go's `strconv.FormatFloat(x, 'f', -1, 64)`.
pub(crate) fn plain_number(x: f64) -> String {
    if x.is_nan() {
        "NaN".to_owned()
    } else if x.is_infinite() {
        if x > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{x}")
    }
}

/// Go's `%g`: the shortest text, with an exponent below -4 and from 21 on.
pub(crate) fn short_number(x: f64) -> String {
    number_text(x, -4)
}

/// As the HTTP API writes values (`jsonutil.MarshalFloat`): with an exponent below 1e-6 and from 1e21 on.
pub(super) fn json_number(x: f64) -> String {
    number_text(x, -6)
}

/// The shortest text; with an exponent where that is less than `exponent_min`, or more than 20.
fn number_text(x: f64, exponent_min: i32) -> String {
    if !x.is_finite() || x == 0.0 {
        return plain_number(x);
    }
    let scientific = format!("{x:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (exponent_min..21).contains(&exponent) {
        return plain_number(x);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// A double-quoted string that the lexer reads back as it was.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    escape_into(text, &mut out);
    out.push('"');
    out
}

/// As [`quote`], for bytes of which some are no text.
pub(super) fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        escape_into(chunk.valid(), &mut out);
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

fn escape_into(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// A label name that needs no quotes.
pub(crate) fn is_label_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A metric name that needs no quotes.
pub(crate) fn is_metric_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let both = |x: f64| format!("{} {}", plain_number(x), short_number(x));
        assert_eq!(both(1e21), "1000000000000000000000 1e+21");
        assert_eq!(both(0.000_01), "0.00001 1e-05");
        assert_eq!(both(f64::INFINITY), "+Inf +Inf");
        assert_eq!(both(-0.5), "-0.5 -0.5");
        assert_eq!(both(-0.0), "-0 -0");
        let json = [1e-6, 9.9e-7, -1e-7, 1e20, -1e21].map(json_number);
        assert_eq!(json.join(" "), "0.000001 9.9e-07 -1e-07 100000000000000000000 -1e+21");
    }

    #[test]
    fn durations_take_each_unit_once_and_largest_first() {
        assert_eq!(duration_millis("1h30m"), Some(5_400_000));
        assert_eq!(duration_millis("1m30ms"), Some(60_030));
        assert_eq!(duration_millis("30m1h"), None);
        assert_eq!(duration_millis("5m5m"), None);
        assert_eq!(duration_millis(""), None);
        assert_eq!(duration_millis("9223372036854775807y"), None);
        assert_eq!(duration_text(5400.0).as_deref(), Some("1h30m"));
        assert_eq!(duration_text(0.0005), None);
    }
}
