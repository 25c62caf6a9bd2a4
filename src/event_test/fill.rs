//! Placeholders of inline bodies: `${n}`, `${n:16}`, `${time}`, `${time-2s}`, `${s}`, `${ms+1s}`, `${ns}`.
//!
//! `n` counts the repetitions of a signal from 1, with a width it is filled up with zeros (which are
//! digits of span ids too); the others are the time at which it arrives, moved by a duration: RFC 3339,
//! and seconds, milliseconds, nanoseconds since the epoch. `$${` is a literal `${`.

use crate::signal::{Timestamp, parse_duration};

/// Widest number: longer than any id.
const WIDTH_MAX: usize = 64;

/// The body of the `n`-th repetition, which arrives at `at`.
///
/// # Errors
/// Where a placeholder is none of the known ones.
pub(super) fn fill(text: &str, n: u64, at: Timestamp) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let unknown = |name: &str| {
            format!(
                "`${{{name}}}` is no placeholder; there are ${{n}}, ${{n:16}}, ${{time}}, ${{time-2s}}, ${{s}}, ${{ms}} and ${{ns}}; write $${{ for a literal one"
            )
        };
        let (name, after) = after.split_once('}').ok_or_else(|| unknown(after))?;
        out.push_str(&value(name, n, at).ok_or_else(|| unknown(name))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn value(name: &str, n: u64, at: Timestamp) -> Option<String> {
    if name == "n" {
        return Some(n.to_string());
    }
    if let Some(width) = name.strip_prefix("n:") {
        let width: usize = width.parse().ok().filter(|width| *width <= WIDTH_MAX)?;
        return Some(format!("{n:0width$}"));
    }
    let moved = name.find(['+', '-']).unwrap_or(name.len());
    let (unit, by) = name.split_at_checked(moved)?;
    let at = match (by.get(..1), by.get(1..).map(parse_duration)) {
        (None, _) => at,
        (Some("+"), Some(Some(by))) => at.saturating_add(by),
        (Some("-"), Some(Some(by))) => at.saturating_sub(by),
        _ => return None,
    };
    let nanos = at.as_nanos();
    match unit {
        "time" => Some(at.to_string()),
        "s" => Some((nanos / 1_000_000_000).to_string()),
        "ms" => Some((nanos / 1_000_000).to_string()),
        "ns" => Some(nanos.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_and_unknown_ones_are_named() {
        let at = Timestamp::parse_rfc3339("2026-11-25T10:00:02Z").expect("a time");
        let filled = fill("r-${n} ${n:4} ${time-1500ms} ${s} ${ms+1s} ${ns} $${n}", 7, at);
        let expected = "r-7 0007 2026-11-25T10:00:00.500000000Z 1795600802 1795600803000 1795600802000000000 ${n}";
        assert_eq!(filled.as_deref(), Ok(expected));
        for wrong in ["${x}", "${time-soon}", "${n:99}", "${n", "${time*2}"] {
            assert!(fill(wrong, 1, at).is_err(), "{wrong}");
        }
    }
}
