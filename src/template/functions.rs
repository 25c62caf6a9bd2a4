//! Prometheus's template functions (`template/template.go`), most of which are Alertmanager's too.
//!
//! All are pure. What depends on the alert (queries, the external URL) is where templates are run.

use std::sync::{Arc, LazyLock};

use gotmpl::{FuncMap, TemplateError, Value};
use regex::{Captures, Regex};

use super::go_number::{exact, significant};
use super::{LABEL, SHOW};
use crate::go_regex;
use crate::number::{f64_from_i64, f64_from_u64, i64_from_f64};
use crate::signal::{Labels, Timestamp, parse_duration};

pub(crate) type Answer = Result<Value, TemplateError>;

/// Everything that needs nothing but its arguments.
pub(crate) static FUNCTIONS: LazyLock<FuncMap> = LazyLock::new(|| {
    let mut map = FuncMap::new();
    numbers(&mut map);
    texts(&mut map);
    samples(&mut map);
    map
});

pub(crate) fn label_map(labels: &Labels) -> Value {
    let pairs = labels.iter().map(|(name, value)| (Arc::from(name), Value::String(value.into())));
    Value::Map(Arc::new(pairs.collect()))
}

fn numbers(map: &mut FuncMap) {
    add(map, SHOW, |args| Ok(text_value(show(arg(args, 0)))));
    add(map, "humanize", |args| Ok(text_value(humanize(number(arg(args, 0))?))));
    add(map, "humanize1024", |args| Ok(text_value(humanize_1024(number(arg(args, 0))?))));
    add(map, "humanizeDuration", |args| Ok(text_value(humanize_duration(number(arg(args, 0))?))));
    add(map, "humanizePercentage", |args| {
        Ok(text_value(significant(number(arg(args, 0))? * 100.0, 4) + "%"))
    });
    add(map, "humanizeTimestamp", |args| Ok(text_value(humanize_time(number(arg(args, 0))?))));
    add(map, "toTime", |args| Ok(text_value(humanize_time(number(arg(args, 0))?))));
    add(map, "parseDuration", |args| {
        let text = text(arg(args, 0));
        let parsed = parse_duration(&text);
        parsed
            .map(|d| Value::Float(d.as_secs_f64()))
            .ok_or_else(|| failed(format!("not a valid duration: {text:?}")))
    });
}

fn texts(map: &mut FuncMap) {
    add(map, "title", |args| Ok(text_value(title(&text(arg(args, 0))))));
    add(map, "toUpper", |args| Ok(text_value(text(arg(args, 0)).to_uppercase())));
    add(map, "toLower", |args| Ok(text_value(text(arg(args, 0)).to_lowercase())));
    add(map, "match", |args| {
        Ok(Value::Bool(regex(&text(arg(args, 0)))?.is_match(&text(arg(args, 1)))))
    });
    add(map, "reReplaceAll", |args| {
        let (replacement, subject) = (text(arg(args, 1)), text(arg(args, 2)));
        let regex = regex(&text(arg(args, 0)))?;
        Ok(text_value(
            regex
                .replace_all(&subject, |found: &Captures<'_>| {
                    go_regex::expanded(found, &replacement)
                })
                .into_owned(),
        ))
    });
    add(map, "stripPort", |args| Ok(text_value(strip_port(&text(arg(args, 0))))));
    add(map, "stripDomain", |args| Ok(text_value(strip_domain(&text(arg(args, 0))))));
    add(map, "safeHtml", |args| Ok(text_value(text(arg(args, 0)))));
    add(map, "urlQueryEscape", |args| Ok(text_value(gotmpl::url_encode(&text(arg(args, 0))))));
    add(map, "tableLink", |args| Ok(text_value(link(&text(arg(args, 0)), "1"))));
    add(map, "graphLink", |args| Ok(text_value(link(&text(arg(args, 0)), "0"))));
    add(map, "args", |args| {
        let named =
            args.iter().enumerate().map(|(i, arg)| (Arc::from(format!("arg{i}")), arg.clone()));
        Ok(Value::Map(Arc::new(named.collect())))
    });
    // Console templates are no part of this; alerts get the empty text (alert generator 1.0, 4.2).
    add(map, "tmpl", |_| Ok(text_value(String::new())));
}

fn samples(map: &mut FuncMap) {
    add(map, LABEL, |args| Ok(label(arg(args, 0), &text(arg(args, 1)))));
    add(map, "first", |args| match arg(args, 0) {
        Value::List(samples) if !samples.is_empty() => Ok(samples[0].clone()),
        _ => Err(failed("first() called on vector with no elements".to_owned())),
    });
    add(map, "label", |args| {
        let labels = arg(args, 1).field("Labels").cloned().unwrap_or(Value::Nil);
        Ok(label(&labels, &text(arg(args, 0))))
    });
    add(map, "value", |args| Ok(arg(args, 0).field("Value").cloned().unwrap_or(Value::Nil)));
    add(map, "strvalue", |args| {
        let labels = arg(args, 0).field("Labels").cloned().unwrap_or(Value::Nil);
        Ok(label(&labels, "__value__"))
    });
    add(map, "sortByLabel", |args| {
        let name = text(arg(args, 0));
        let Value::List(samples) = arg(args, 1) else { return Ok(Value::Nil) };
        let mut sorted: Vec<Value> = samples.to_vec();
        sorted.sort_by_cached_key(|sample| {
            sample.field("Labels").map(|labels| text(&label(labels, &name)))
        });
        Ok(Value::List(sorted.into()))
    });
}

pub(crate) fn add(map: &mut FuncMap, name: &str, function: fn(&[Value]) -> Answer) {
    map.insert(name.to_owned(), Arc::new(function));
}

/// An argument; one that is missing is nil.
pub(crate) fn arg(args: &[Value], at: usize) -> &Value {
    args.get(at).unwrap_or(&Value::Nil)
}

pub(crate) fn failed(message: String) -> TemplateError {
    TemplateError::Exec(message)
}

pub(crate) fn text_value(text: String) -> Value {
    Value::String(text.into())
}

pub(crate) fn text(value: &Value) -> String {
    show(value)
}

/// As Go prints it, but nil is the empty text.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Nil => String::new(),
        Value::Float(x) => exact(*x),
        other => other.to_string(),
    }
}

/// `convertToFloat`: numbers, and texts that hold one.
pub(crate) fn number(value: &Value) -> Result<f64, TemplateError> {
    match value {
        Value::Float(x) => Ok(*x),
        Value::Int(n) => Ok(f64_from_i64(*n)),
        Value::Uint(n) => Ok(f64_from_u64(*n)),
        Value::String(text) => text.parse().map_err(|_| failed(format!("`{text}` is no number"))),
        other => Err(failed(format!("can't convert {} to float", other.type_name()))),
    }
}

pub(crate) fn label(labels: &Value, name: &str) -> Value {
    labels.field(name).cloned().unwrap_or_else(|| text_value(String::new()))
}

pub(crate) fn regex(pattern: &str) -> Result<Regex, TemplateError> {
    go_regex::anywhere(pattern).map_err(|error| failed(format!("bad regular expression: {error}")))
}

fn link(expression: &str, tab: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", gotmpl::url_encode(expression))
}

/// The first letter of every word in upper case (`strings.Title`).
fn title(text: &str) -> String {
    let mut before = ' ';
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if before.is_alphanumeric() || before == '_' || before == '\'' {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        before = c;
    }
    out
}

fn strip_port(host_port: &str) -> String {
    let Some((host, port)) = host_port.rsplit_once(':') else { return host_port.to_owned() };
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.to_owned();
    }
    // Several colons without brackets are an IPv6 address without a port.
    if host.contains(':') || port.contains(']') { host_port.to_owned() } else { host.to_owned() }
}

fn strip_domain(host_port: &str) -> String {
    let host = strip_port(host_port);
    if host.parse::<std::net::IpAddr>().is_ok() {
        return host_port.to_owned();
    }
    let port = host_port.strip_prefix(&host).unwrap_or_default();
    format!("{}{port}", host.split('.').next().unwrap_or_default())
}

fn humanize(mut x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return significant(x, 4);
    }
    let mut prefix = "";
    if x.abs() >= 1.0 {
        for larger in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
            if x.abs() < 1000.0 {
                break;
            }
            prefix = larger;
            x /= 1000.0;
        }
        return significant(x, 4) + prefix;
    }
    smaller(x, "")
}

/// With the prefix of a thousandth, a millionth and so on.
fn smaller(mut x: f64, unit: &str) -> String {
    let mut prefix = "";
    for smaller in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if x.abs() >= 1.0 {
            break;
        }
        prefix = smaller;
        x *= 1000.0;
    }
    format!("{}{prefix}{unit}", significant(x, 4))
}

fn humanize_1024(mut x: f64) -> String {
    if x.abs() <= 1.0 || !x.is_finite() {
        return significant(x, 4);
    }
    let mut prefix = "";
    for larger in ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
        if x.abs() < 1024.0 {
            break;
        }
        prefix = larger;
        x /= 1024.0;
    }
    significant(x, 4) + prefix
}

pub(crate) fn humanize_duration(x: f64) -> String {
    if !x.is_finite() {
        return significant(x, 4);
    }
    if x == 0.0 {
        return significant(x, 4) + "s";
    }
    if x.abs() < 1.0 {
        return smaller(x, "s");
    }
    let sign = if x < 0.0 { "-" } else { "" };
    let x = x.abs();
    let whole = i64_from_f64(x);
    let (days, hours, minutes, seconds) =
        (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    if days != 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours != 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes != 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", significant(x, 4))
    }
}

/// As Go prints a time: `2015-06-23 13:19:44.128 +0000 UTC`.
fn humanize_time(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds, 4);
    }
    let shown = Timestamp::from_millis(i64_from_f64((seconds * 1000.0).round())).to_string();
    let shown = shown.trim_end_matches('Z').replacen('T', " ", 1);
    let shown = shown.trim_end_matches('0').trim_end_matches('.');
    let whole = if shown.contains('.') { shown.to_owned() } else { format!("{shown:0<19}") };
    format!("{whole} +0000 UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_keep_their_zeros() {
        assert_eq!(humanize_time(1_435_065_600.0), "2015-06-23 13:20:00 +0000 UTC");
        assert_eq!(humanize_time(1_435_065_584.128), "2015-06-23 13:19:44.128 +0000 UTC");
    }

    #[test]
    fn ports_and_domains_go() {
        assert_eq!(strip_port("::1"), "::1");
        assert_eq!(strip_domain("db.example:5432"), "db:5432");
    }
}
