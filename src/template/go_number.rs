//! Numbers as Go prints them: `%v`, `%.4g`, `%e`.

/// The exponent from which Go's shortest `%g` writes one: 1e+06.
const SHORTEST_EXPONENT: usize = 6;

/// `%v`: the fewest digits that tell the number apart.
pub(crate) fn exact(x: f64) -> String {
    special(x).unwrap_or_else(|| general(&format!("{x:e}"), SHORTEST_EXPONENT))
}

/// `%.Ng`.
pub(crate) fn significant(x: f64, digits: usize) -> String {
    let after_point = digits.saturating_sub(1);
    special(x).unwrap_or_else(|| general(&format!("{x:.after_point$e}"), digits))
}

/// `strconv.FormatFloat(x, 'e', -1, 64)`: values of alerts in the HTTP API.
pub(crate) fn scientific(x: f64) -> String {
    special(x).unwrap_or_else(|| {
        let shown = format!("{x:e}");
        let (mantissa, exponent) = split(&shown);
        with_exponent(mantissa, exponent)
    })
}

fn special(x: f64) -> Option<String> {
    let text = if x.is_nan() {
        "NaN"
    } else if x == f64::INFINITY {
        "+Inf"
    } else if x == f64::NEG_INFINITY {
        "-Inf"
    } else {
        return None;
    };
    Some(text.to_owned())
}

/// `1.5e-7` to mantissa and exponent.
fn split(shown: &str) -> (&str, i32) {
    let (mantissa, exponent) = shown.split_once('e').unwrap_or((shown, "0"));
    (mantissa, exponent.parse().unwrap_or(0))
}

/// `%g` of what Rust shows as `1.2345e6`: plain from 1e-4 up to `10^exponent_max`, no zeros behind.
fn general(shown: &str, exponent_max: usize) -> String {
    let (mantissa, exponent) = split(shown);
    let mantissa = match mantissa.split_once('.') {
        Some(_) => mantissa.trim_end_matches('0').trim_end_matches('.'),
        None => mantissa,
    };
    let limit = i32::try_from(exponent_max).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        return with_exponent(mantissa, exponent);
    }
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    if exponent < 0 {
        let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
        return format!("{sign}0.{}{digits}", "0".repeat(zeros));
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    match digits.split_at_checked(whole) {
        Some((before, "")) => format!("{sign}{before}"),
        Some((before, after)) => format!("{sign}{before}.{after}"),
        None => format!("{sign}{digits:0<whole$}"),
    }
}

fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_go_does() {
        let shown: Vec<String> =
            [0.0, 1.0, -1.5, 1_234_567.5, 1e6, 999_999.0, 1e-4, 1e-5, 0.1 + 0.2, f64::NAN]
                .map(exact)
                .to_vec();
        assert_eq!(
            shown,
            [
                "0",
                "1",
                "-1.5",
                "1.2345675e+06",
                "1e+06",
                "999999",
                "0.0001",
                "1e-05",
                "0.30000000000000004",
                "NaN"
            ]
        );
        let shown: Vec<String> = [0.0, 1000.0, 12_345.0, 0.012_345_6, -99.995, f64::INFINITY]
            .map(|x| significant(x, 4))
            .to_vec();
        assert_eq!(shown, ["0", "1000", "1.234e+04", "0.01235", "-100", "+Inf"]);
        assert_eq!(scientific(1.0), "1e+00");
        assert_eq!(scientific(0.125), "1.25e-01");
    }
}
