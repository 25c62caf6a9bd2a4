//! OpenTelemetry metric and attribute names as Prometheus spells them.
//!
//! In: a metric's name, unit and kind; attribute keys. Out: names that Prometheus 2.x takes:
//! `http.server.duration` in `s` becomes `http_server_duration_seconds`, monotonic sums end in
//! `_total`. Source: the OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility", and
//! Prometheus's own translation, whose results existing dashboards expect.

/// What a metric is, as far as its name depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    Gauge,
    MonotonicSum,
    Other,
}

/// The Prometheus name; empty where `name` holds nothing that could stand in one.
pub(super) fn metric_name(name: &str, unit: &str, kind: NameKind) -> String {
    let mut parts: Vec<&str> = name
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'))
        .filter(|p| !p.is_empty())
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let (main, per) = (unit_word(main.trim()), per_word(per.trim()));
    for part in main.split('_').filter(|part| !part.is_empty()) {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if !per.is_empty() && !parts.contains(&per) {
        parts.extend(["per", per]);
    }
    match kind {
        NameKind::MonotonicSum => move_to_end(&mut parts, "total"),
        NameKind::Gauge if unit == "1" => move_to_end(&mut parts, "ratio"),
        NameKind::Gauge | NameKind::Other => {}
    }
    let mut joined = parts.join("_");
    if joined.starts_with(|c: char| c.is_ascii_digit()) {
        joined.insert(0, '_');
    }
    joined
}

/// A unit in Prometheus's words: `bytes`, `bytes_per_second`; empty where it says nothing.
pub(super) fn unit_name(unit: &str) -> String {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    match (unit_word(main.trim()), per_word(per.trim())) {
        (main, "") => main.to_owned(),
        ("", per) => format!("per_{per}"),
        (main, per) => format!("{main}_per_{per}"),
    }
}

/// An attribute's key as a label name: what may not stand in one becomes `_`.
pub(super) fn label_name(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    if key.starts_with(|c: char| c.is_ascii_digit()) {
        name.push_str("key_");
    }
    name.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    name
}

fn move_to_end<'a>(parts: &mut Vec<&'a str>, word: &'a str) {
    parts.retain(|part| *part != word);
    parts.push(word);
}

/// UCUM units in Prometheus's words. Annotations (`{request}`) and `1` say nothing; a unit that is not
/// known stands for itself if it is a word.
fn unit_word(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        "1" => "",
        word if is_word(word) => word,
        _ => "",
    }
}

fn per_word(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        word if is_word(word) => word,
        _ => "",
    }
}

fn is_word(unit: &str) -> bool {
    unit.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus() {
        use NameKind::{Gauge, MonotonicSum, Other};
        for (name, unit, kind, want) in [
            ("http.server.request.duration", "s", Other, "http_server_request_duration_seconds"),
            ("http.server.duration.seconds", "s", Other, "http_server_duration_seconds"),
            ("faas.invocations", "{invocation}", MonotonicSum, "faas_invocations_total"),
            ("requests.total", "1", MonotonicSum, "requests_total"),
            ("requests.total.count", "", MonotonicSum, "requests_count_total"),
            ("system.cpu.utilization", "1", Gauge, "system_cpu_utilization_ratio"),
            ("process.memory.usage", "By", Gauge, "process_memory_usage_bytes"),
            ("network.io", "By/s", Gauge, "network_io_bytes_per_second"),
            ("queue.size", "{item}/s", Gauge, "queue_size_per_second"),
            ("temperature", "Cel", Gauge, "temperature_celsius"),
            ("load", "%", Gauge, "load_percent"),
            ("odd", "furlongs", Gauge, "odd_furlongs"),
            ("5xx errors", "", Other, "_5xx_errors"),
            ("a__b..c:d", "", Other, "a_b_c:d"),
            (
                "amazonaws.com/AWS/Lambda/Errors",
                "{Count}",
                Other,
                "amazonaws_com_AWS_Lambda_Errors",
            ),
            ("é", "s", Gauge, ""),
        ] {
            assert_eq!(metric_name(name, unit, kind), want, "{name} {unit}");
        }
    }

    #[test]
    fn units_are_words() {
        for (unit, want) in [
            ("By", "bytes"),
            ("By/s", "bytes_per_second"),
            ("{item}/s", "per_second"),
            ("{item}", ""),
            ("1", ""),
            ("", ""),
        ] {
            assert_eq!(unit_name(unit), want, "{unit}");
        }
    }

    #[test]
    fn labels_hold_letters_digits_and_underscores() {
        for (key, want) in
            [("http.route", "http_route"), ("5xx", "key_5xx"), ("a-é", "a__"), ("_x", "_x")]
        {
            assert_eq!(label_name(key), want);
        }
    }
}
