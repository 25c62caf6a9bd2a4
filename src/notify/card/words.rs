//! Figures in the words of people: durations, times, shares, sparklines.

use std::time::Duration;

use crate::number::{f64_from_u64, u64_from_f64, usize_from_u64};
use crate::signal::Timestamp;

const DAY_S: u64 = 86_400;

/// Two units at the most: `2 h 5 min`.
pub(crate) fn duration(d: Duration) -> String {
    let seconds = d.as_secs();
    let (days, hours, minutes) = (seconds / DAY_S, seconds / 3600 % 24, seconds / 60 % 60);
    let two = |(large, unit): (u64, &str), (small, small_unit): (u64, &str)| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => two((minutes, "min"), (0, "s")),
        (0, ..) => two((hours, "h"), (minutes, "min")),
        _ => two((days, "d"), (hours, "h")),
    }
}

/// `6.1 s`, `250 ms`, `2 min`.
pub(crate) fn millis(ms: f64) -> String {
    if ms < 1_000.0 {
        format!("{ms:.0} ms")
    } else if ms < 120_000.0 {
        format!("{:.1} s", ms / 1_000.0)
    } else {
        duration(Duration::from_secs(u64_from_f64(ms / 1_000.0)))
    }
}

/// `14:02 UTC`, with the day where it is another than that of `now`.
pub(crate) fn time(at: Timestamp, now: Timestamp) -> String {
    let text = at.to_string();
    let (day, clock) = (text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default());
    if at.as_secs() / DAY_S == now.as_secs() / DAY_S {
        format!("{clock} UTC")
    } else {
        format!("{day} {clock} UTC")
    }
}

/// `9.2 %`; small shares keep two digits that count.
pub(crate) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent.abs() {
        0.0 => "0 %".to_owned(),
        x if x >= 99.95 || (x >= 10.0 && (x - x.round()).abs() < 0.05) => format!("{percent:.0} %"),
        x if x >= 1.0 => format!("{percent:.1} %"),
        x if x >= 0.01 => format!("{percent:.2} %"),
        _ => format!("{percent:.1e} %"),
    }
}

/// One bar a value, from none to the greatest: `▁▂█`.
pub(crate) fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let max = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let bar = |value: &f64| {
        if !value.is_finite() {
            return ' ';
        }
        let height = if max > 0.0 { (value / max * 7.0).ceil().clamp(0.0, 7.0) } else { 0.0 };
        BARS.get(usize_from_u64(u64_from_f64(height))).copied().unwrap_or('▁')
    };
    values.iter().map(bar).collect()
}

/// Line breaks become spaces.
pub(crate) fn one_line(text: &str) -> String {
    text.split(['\r', '\n']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// At most `max` letters; what is cut shows as `…`.
pub(crate) fn shortened(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// At most `max` bytes, cut between letters.
pub(crate) fn shortened_bytes(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max.saturating_sub('…'.len_utf8()));
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// `26 of 43 min`: minutes of the whole.
pub(crate) fn minutes(left: f64, whole: f64) -> String {
    let shown = |x: f64| if x.abs() < 10.0 { format!("{x:.1}") } else { format!("{x:.0}") };
    format!("{} of {} min", shown(left), shown(whole))
}

/// The share of `bad` among `total`.
pub(crate) fn share(bad: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| f64_from_u64(bad) / f64_from_u64(total))
}
