//! The TraceQL that Grafana's search form writes: `{resource.service.name="x" && duration>1s}`.
//!
//! Anything else is refused with its place, never half understood.

use std::time::Duration;

use crate::correlate::{Outcome, Request};

/// What must hold of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// One of its hops is of this service or function.
    Service(String),
    Flow(String),
    Failed(Failed),
    /// It lasted longer.
    Longer(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Yes,
    No,
}

impl Condition {
    pub(super) fn holds(&self, request: &Request) -> bool {
        match self {
            Self::Service(name) => request
                .hops
                .iter()
                .any(|hop| hop.service.as_deref() == Some(name) || *hop.function == **name),
            Self::Flow(name) => *request.flow == **name,
            Self::Failed(Failed::Yes) => request.outcome != Outcome::Ok,
            Self::Failed(Failed::No) => request.outcome == Outcome::Ok,
            Self::Longer(bound) => request.duration > *bound,
        }
    }
}

/// All conditions, which hold together. Err says what is not understood, and where.
pub(super) fn parse(query: &str) -> Result<Vec<Condition>, String> {
    let braced = query.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inner = braced.ok_or_else(|| format!("`{query}`: a selector is one pair of braces"))?;
    if inner.trim().is_empty() {
        return Ok(Vec::new());
    }
    split(inner).into_iter().map(|text| condition(text.trim())).collect()
}

/// At each `&&` outside of quotes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut is_quoted, mut is_escaped) = (0, false, false);
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'&' if !is_quoted && i >= from && text[i..].starts_with("&&") => {
                parts.push(&text[from..i]);
                from = i + 2;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn condition(text: &str) -> Result<Condition, String> {
    let refused = |why: &str| format!("`{text}`: {why}");
    let at = text.find(['=', '>', '<', '!']).ok_or_else(|| refused("no comparison"))?;
    let (field, rest) = text.split_at(at);
    let end = rest.find(|c| !"=<>!~".contains(c)).unwrap_or(rest.len());
    let (operator, value) = rest.split_at(end);
    let value = value.trim();
    let equal = |name: fn(String) -> Condition| match (operator, string(value)) {
        ("=", Some(text)) => Ok(name(text)),
        _ => Err(refused("only `= \"text\"` is understood here")),
    };
    match field.trim() {
        "resource.service.name"
        | ".service.name"
        | "rootServiceName"
        | "trace:rootService"
        | "resource.faas.name"
        | "span.faas.name"
        | ".faas.name" => equal(Condition::Service),
        "name" | "span:name" | "rootName" | "trace:rootName" => equal(Condition::Flow),
        "status" | "span:status" => match (operator, value) {
            ("=", "error") | ("!=", "ok") => Ok(Condition::Failed(Failed::Yes)),
            ("=", "ok") | ("!=", "error") => Ok(Condition::Failed(Failed::No)),
            _ => Err(refused("a status is `error` or `ok`")),
        },
        "duration" | "traceDuration" | "trace:duration" | "span:duration" => {
            let bound = duration(value).filter(|_| matches!(operator, ">" | ">="));
            bound.map(Condition::Longer).ok_or_else(|| refused("only `> 1s` is understood here"))
        }
        _ => Err(refused(
            "only resource.service.name, faas.name, name, status and duration can be asked for",
        )),
    }
}

/// A decimal number and a unit of Go's durations.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// A quoted text without its quotes and escapes.
fn string(value: &str) -> Option<String> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(query: &str, expected: &Expect) {
        let shown = match parse(query) {
            Ok(conditions) => format!("{conditions:?}"),
            Err(message) => format!("refused {message}"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn what_the_search_form_writes_is_understood() {
        check("{}", &expect![["[]"]]);
        check(
            r#"{resource.service.name="shop && \"co\"" && name="POST /orders" && status=error && duration>1.5s}"#,
            &expect![[
                r#"[Service("shop && \"co\""), Flow("POST /orders"), Failed(Yes), Longer(1.5s)]"#
            ]],
        );
        check("{ status = ok && traceDuration > 200ms }", &expect!["[Failed(No), Longer(200ms)]"]);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        check("up", &expect!["refused `up`: a selector is one pair of braces"]);
        check(
            "{ span.http.status_code = 500 }",
            &expect![
                "refused `span.http.status_code = 500`: only resource.service.name, faas.name, name, status and duration can be asked for"
            ],
        );
        check(
            r#"{ name =~ "a|b" }"#,
            &expect![[r#"refused `name =~ "a|b"`: only `= "text"` is understood here"#]],
        );
        check(
            "{ duration < 1s }",
            &expect!["refused `duration < 1s`: only `> 1s` is understood here"],
        );
        check(
            "{ status = error || status = ok }",
            &expect!["refused `status = error || status = ok`: a status is `error` or `ok`"],
        );
        check(
            "{ status = error } | rate()",
            &expect!["refused `{ status = error } | rate()`: a selector is one pair of braces"],
        );
        check("{ true }", &expect!["refused `true`: no comparison"]);
    }
}
