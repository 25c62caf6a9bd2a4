//! Alertmanager's template functions and the methods of its values.
//!
//! Texts and numbers come from the functions that Prometheus shares; what is here knows of times, of
//! lists of texts and of label sets.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use gotmpl::{FuncMap, TemplateError, Value};

use super::value::{DURATION, HTML, TIME, ZONE, duration, in_zone, map, moment, safe_html};
use crate::number::{f64_from_i64, i64_from_f64, i64_from_u64};
use crate::signal::Timestamp;
use crate::template::functions::{self as shared, Answer, add, arg, failed, number, text_value};
use crate::template::{METHOD, SHOW, go_time};

/// Names that are methods on Go's side: of label sets, alerts, times and durations.
pub(super) const METHODS: [&str; 13] = [
    "SortedPairs",
    "Names",
    "Values",
    "Remove",
    "Firing",
    "Resolved",
    "Format",
    "Unix",
    "UTC",
    "Sub",
    "Seconds",
    "Minutes",
    "Hours",
];
/// Functions that Prometheus and Alertmanager share.
const SHARED: [&str; 6] = ["toUpper", "toLower", "match", "reReplaceAll", "__label", "__show"];

/// Everything but `since`, which needs to know what time it is.
pub(super) static FUNCTIONS: LazyLock<FuncMap> = LazyLock::new(|| {
    let mut map: FuncMap = shared::FUNCTIONS.clone();
    map.retain(|name, _| SHARED.contains(&name.as_str()));
    texts(&mut map);
    lists(&mut map);
    times(&mut map);
    map
});

fn texts(map: &mut FuncMap) {
    add(map, SHOW, |args| Ok(text_value(show(arg(args, 0)))));
    add(map, "title", |args| Ok(text_value(title(&text(arg(args, 0))))));
    add(map, "trimSpace", |args| Ok(text_value(text(arg(args, 0)).trim().to_owned())));
    add(map, "safeHtml", |args| Ok(safe_html(text(arg(args, 0)))));
    add(map, "safeUrl", |args| Ok(text_value(text(arg(args, 0)))));
    add(map, "urlUnescape", |args| {
        let escaped = text(arg(args, 0));
        unescape(&escaped)
            .map(text_value)
            .ok_or_else(|| failed(format!("invalid URL escape in {escaped:?}")))
    });
    add(map, "toJson", |args| Ok(text_value(to_json(arg(args, 0)))));
}

fn lists(map: &mut FuncMap) {
    add(map, METHOD, |args| method(&text(arg(args, 0)), arg(args, 1), arg(args, 2)));
    add(map, "join", |args| {
        let parts: Vec<String> = items(arg(args, 1)).iter().map(text).collect();
        Ok(text_value(parts.join(&text(arg(args, 0)))))
    });
    add(map, "stringSlice", |args| Ok(Value::List(args.iter().cloned().collect())));
    add(map, "list", |args| Ok(Value::List(args.iter().cloned().collect())));
    add(map, "append", |args| {
        let rest = args.get(1..).unwrap_or_default();
        Ok(Value::List(items(arg(args, 0)).iter().chain(rest).cloned().collect()))
    });
    add(map, "dict", |args| {
        if args.len() % 2 == 1 {
            return Err(failed("dict needs a value for every name".to_owned()));
        }
        let pairs =
            args.chunks_exact(2).map(|pair| (Arc::from(text(arg(pair, 0))), arg(pair, 1).clone()));
        Ok(Value::Map(Arc::new(pairs.collect())))
    });
}

fn times(map: &mut FuncMap) {
    add(map, "date", |args| formatted(&text(arg(args, 0)), arg(args, 1)).map(text_value));
    add(map, "tz", |args| {
        let zone = text(arg(args, 0));
        let at = nanos(arg(args, 1), TIME)
            .ok_or_else(|| failed(format!("tz needs a time, not {}", arg(args, 1).type_name())))?;
        jiff::tz::TimeZone::get(&zone)
            .map_err(|_| failed(format!("unknown time zone {zone}")))
            .map(|_| in_zone(at, &zone))
    });
    add(map, "humanizeDuration", |args| {
        let seconds = match nanos(arg(args, 0), DURATION) {
            Some(nanos) => f64_from_i64(nanos) / 1e9,
            None => number(arg(args, 0))?,
        };
        Ok(text_value(shared::humanize_duration(seconds)))
    });
}

/// `since`: how long ago, seen from `now`.
pub(super) fn since(args: &[Value], now: Timestamp) -> Answer {
    let at = nanos(arg(args, 0), TIME)
        .ok_or_else(|| failed(format!("since needs a time, not {}", arg(args, 0).type_name())))?;
    Ok(duration(i64_from_u64(now.as_nanos()).saturating_sub(at)))
}

/// What an action prints, as HTML.
pub(super) fn show_html(args: &[Value]) -> String {
    match arg(args, 0).field(HTML) {
        Some(safe) => text(safe),
        None => gotmpl::html_escape(&show(arg(args, 0))),
    }
}

/// As Go prints it.
fn show(value: &Value) -> String {
    if let Some(nanos) = nanos(value, DURATION) {
        return go_time::duration(nanos);
    }
    if nanos(value, TIME).is_some() {
        return formatted(go_time::DEFAULT_LAYOUT, value).unwrap_or_default();
    }
    if let Some(html) = value.field(HTML) {
        return shared::show(html);
    }
    if let Some(pair) = pair(value) {
        return format!("{{{} {}}}", text(pair.name), text(pair.value));
    }
    if let Value::List(items) = value
        && let Some(pairs) = items.iter().map(pair).collect::<Option<Vec<_>>>()
        && !pairs.is_empty()
    {
        let shown = pairs.iter().map(|pair| format!("{}={}", text(pair.name), text(pair.value)));
        return shown.collect::<Vec<_>>().join(", ");
    }
    match value {
        Value::Map(pairs) if pairs.values().all(|value| matches!(value, Value::String(_))) => {
            let pairs = sorted_pairs(pairs);
            let shown: Vec<String> =
                pairs.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
            shown.join(", ")
        }
        other => shared::show(other),
    }
}

fn text(value: &Value) -> String {
    show(value)
}

/// An element of `SortedPairs`.
struct Pair<'a> {
    name: &'a Value,
    value: &'a Value,
}

/// A label set with the labels `Name` and `Value` alone reads as one, too.
fn pair(value: &Value) -> Option<Pair<'_>> {
    let Value::Map(fields) = value else { return None };
    let (name, value) = (fields.get("Name")?, fields.get("Value")?);
    (fields.len() == 2).then_some(Pair { name, value })
}

fn items(value: &Value) -> &[Value] {
    if let Value::List(items) = value { items } else { &[] }
}

/// The number under a mark.
fn nanos(value: &Value, mark: &str) -> Option<i64> {
    match value.field(mark) {
        Some(Value::Int(nanos)) => Some(*nanos),
        _ => None,
    }
}

fn formatted(layout: &str, time: &Value) -> Result<String, TemplateError> {
    let at = nanos(time, TIME)
        .ok_or_else(|| failed(format!("date needs a time, not {}", time.type_name())))?;
    let zone = time.field(ZONE).map(text).unwrap_or_default();
    let at = moment(at).map_err(|error| failed(error.to_string()))?;
    go_time::format(layout, at, &zone).map_err(failed)
}

/// A method, or the field of that name where the value has no such method.
fn method(name: &str, value: &Value, argument: &Value) -> Answer {
    if let Some(at) = nanos(value, TIME) {
        return of_time(name, value, at, argument);
    }
    if let Some(length) = nanos(value, DURATION) {
        let seconds = f64_from_i64(length) / 1e9;
        return match name {
            "Seconds" => Ok(Value::Float(seconds)),
            "Minutes" => Ok(Value::Float(seconds / 60.0)),
            "Hours" => Ok(Value::Float(seconds / 3600.0)),
            _ => Err(failed(format!("a duration has no method {name}"))),
        };
    }
    match (name, value) {
        ("Firing" | "Resolved", Value::List(alerts)) => {
            let status = name.to_lowercase();
            let has = |alert: &&Value| {
                alert.field("Status").and_then(Value::as_str) == Some(status.as_str())
            };
            Ok(Value::List(alerts.iter().filter(has).cloned().collect()))
        }
        ("Names" | "Values", Value::List(pairs)) => {
            let field = name.trim_end_matches('s');
            let part = |pair: &Value| pair.field(field).cloned().unwrap_or(Value::Nil);
            Ok(Value::List(pairs.iter().map(part).collect()))
        }
        ("SortedPairs", Value::Map(pairs)) => Ok(pair_list(pairs)),
        ("Names" | "Values", Value::Map(pairs)) => method(name, &pair_list(pairs), &Value::Nil),
        ("Remove", Value::Map(pairs)) => {
            let gone: Vec<String> = items(argument).iter().map(text).collect();
            let left = pairs.iter().filter(|(name, _)| !gone.iter().any(|gone| **gone == ***name));
            let left = left.map(|(name, value)| (Arc::clone(name), value.clone()));
            Ok(Value::Map(Arc::new(left.collect())))
        }
        (_, value) => Ok(value.field(name).cloned().unwrap_or(Value::Nil)),
    }
}

fn of_time(name: &str, time: &Value, at: i64, argument: &Value) -> Answer {
    match name {
        "Format" => formatted(&text(argument), time).map(text_value),
        "Unix" => Ok(Value::Int(at.div_euclid(1_000_000_000))),
        "UTC" => Ok(in_zone(at, "UTC")),
        "Sub" => nanos(argument, TIME)
            .map(|earlier| duration(at.saturating_sub(earlier)))
            .ok_or_else(|| failed("Sub needs a time".to_owned())),
        _ => Err(failed(format!("a time has no method {name}"))),
    }
}

/// By name, but `alertname` first.
fn sorted_pairs(pairs: &BTreeMap<Arc<str>, Value>) -> Vec<(&str, &Value)> {
    let is_first = |name: &str| name == "alertname";
    let all = || pairs.iter().map(|(name, value)| (&**name, value));
    all()
        .filter(|(name, _)| is_first(name))
        .chain(all().filter(|(name, _)| !is_first(name)))
        .collect()
}

fn pair_list(pairs: &BTreeMap<Arc<str>, Value>) -> Value {
    let pair = |(name, value): (&str, &Value)| {
        map([("Name", text_value(name.to_owned())), ("Value", value.clone())])
    };
    Value::List(sorted_pairs(pairs).into_iter().map(pair).collect())
}

/// The first letter of every word in upper case, the others in lower case (`cases.Title`).
fn title(text: &str) -> String {
    let mut is_within = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_within {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        is_within = c.is_alphanumeric() || (is_within && matches!(c, '_' | '\'' | '.'));
    }
    out
}

/// `%41` and `+` of a query; None where an escape is broken or the bytes are no text.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

/// As Go's `json.Marshal` writes Alertmanager's types: with their names, and `<`, `>`, `&` escaped.
fn to_json(value: &Value) -> String {
    let text = json(value).to_string();
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn json(value: &Value) -> serde_json::Value {
    if nanos(value, TIME).is_some() {
        return formatted(go_time::RFC_3339, value).unwrap_or_default().into();
    }
    if let Some(length) = nanos(value, DURATION) {
        return length.into();
    }
    match value {
        Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::Bool(is) => (*is).into(),
        Value::Int(n) => (*n).into(),
        Value::Uint(n) => (*n).into(),
        Value::Float(x) if x.fract() == 0.0 && x.abs() < 1e15 => i64_from_f64(*x).into(),
        Value::Float(x) => (*x).into(),
        Value::String(text) => (&**text).into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(fields) => {
            let is_ours = fields.contains_key("Status");
            let name = |name: &str| if is_ours { json_name(name) } else { name.to_owned() };
            fields.iter().map(|(field, value)| (name(field), json(value))).collect()
        }
    }
}

/// `StartsAt` to `startsAt`.
fn json_name(field: &str) -> String {
    if field == "NotificationReason" {
        return "notification_reason".to_owned();
    }
    let mut chars = field.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    match field.strip_prefix("ExternalURL") {
        Some(_) => "externalURL".to_owned(),
        None => first.into_iter().chain(chars).collect(),
    }
}
