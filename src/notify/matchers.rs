//! Alertmanager's matcher syntax: `severity="page"`, `team=~"a|b"`, `{a="b", c!="d"}`.
//!
//! Two grammars are in use: the one with UTF-8 names and quoted strings, and the classic one before it,
//! which takes nearly anything as a bare value. As in Alertmanager the first is tried, then the other.

use crate::series::{MatchOp, Matcher};

/// Parses one matcher or several, separated by commas. Nothing, or `{}`, is none.
pub fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    let bad = || format!("`{text}` is no matcher; write NAME=\"VALUE\", !=, =~ or !~");
    let parts = utf8(text).or_else(|| classic(text)).ok_or_else(bad)?;
    let matcher = |part: Part| {
        Matcher::new(&part.name, part.op, &part.value).map_err(|error| format!("`{text}`: {error}"))
    };
    parts.into_iter().map(matcher).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: String,
    op: MatchOp,
    value: String,
}

const OPERATORS: [(&str, MatchOp); 4] = [
    ("=~", MatchOp::Regex),
    ("!~", MatchOp::NotRegex),
    ("!=", MatchOp::NotEqual),
    ("=", MatchOp::Equal),
];

fn operator(text: &str) -> Option<(MatchOp, &str)> {
    OPERATORS.iter().find_map(|(sign, op)| Some((*op, text.strip_prefix(sign)?)))
}

/// Names and values are quoted as in Go, or have none of the characters with a meaning.
fn utf8(text: &str) -> Option<Vec<Part>> {
    let mut rest = text.trim();
    let is_open = rest.starts_with('{');
    if is_open {
        rest = rest.strip_prefix('{')?.trim_start();
    }
    let mut parts = Vec::new();
    while !rest.is_empty() && !rest.starts_with('}') {
        let (name, after) = word(rest)?;
        let (op, after) = operator(after.trim_start())?;
        let (value, after) = word(after.trim_start())?;
        if name.is_empty() {
            return None;
        }
        parts.push(Part { name, op, value });
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() || rest.starts_with('}') => {}
            None => return None,
        }
    }
    let closed = if is_open { rest == "}" } else { rest.is_empty() };
    closed.then_some(parts)
}

/// A quoted or bare word, and what follows it.
fn word(text: &str) -> Option<(String, &str)> {
    if !text.starts_with('"') {
        let reserved = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
        let end = text.find(reserved).unwrap_or(text.len());
        let (bare, rest) = text.split_at_checked(end)?;
        return (!bare.is_empty()).then(|| (bare.to_owned(), rest));
    }
    // The quote that opens is not the one that closes.
    let mut is_escaped = true;
    let end = text.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends.then_some(at + 1)
    })?;
    let (quoted, rest) = text.split_at_checked(end)?;
    Some((unquote(quoted)?, rest))
}

/// Go's string literal; None for an escape that Go does not know.
fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { escape(&mut chars)? } else { c });
    }
    Some(out)
}

/// What follows a backslash.
fn escape(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let n_digits = match chars.next()? {
        'a' => return Some('\u{7}'),
        'b' => return Some('\u{8}'),
        'f' => return Some('\u{c}'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'v' => return Some('\u{b}'),
        c @ ('\\' | '"') => return Some(c),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let digits: String = chars.take(n_digits).collect();
    let is_whole = digits.len() == n_digits && digits.bytes().all(|c| c.is_ascii_hexdigit());
    char::from_u32(u32::from_str_radix(&digits, 16).ok()?).filter(|_| is_whole)
}

/// The grammar before UTF-8 names: values are anything up to a comma, in quotes or not.
fn classic(text: &str) -> Option<Vec<Part>> {
    let inner = text.trim();
    let inner = inner.strip_prefix('{').unwrap_or(inner);
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let parts = split(inner);
    let last = parts.len().checked_sub(1)?;
    // A comma may stand at the end, not elsewhere beside nothing.
    let is_end = |(at, part): &(usize, &str)| *at == last && part.trim().is_empty();
    parts.into_iter().enumerate().filter(|part| !is_end(part)).map(|(_, part)| one(part)).collect()
}

/// Splits at commas that are not inside double quotes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ',' if !quoted => {
                parts.extend(text.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    parts.extend(text.get(from..));
    parts
}

fn one(text: &str) -> Option<Part> {
    let text = text.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let (name, rest) = text.split_at_checked(text.find(|c: char| !is_name(c))?)?;
    let (op, value) = operator(rest.trim_start())?;
    let starts_well = name.starts_with(|c: char| is_name(c) && !c.is_ascii_digit());
    let value = classic_value(value.trim()).filter(|_| starts_well)?;
    Some(Part { name: name.to_owned(), op, value })
}

/// Only `\n`, `\"` and `\\` are escapes; any other backslash is itself. Quotes stand at both ends or
/// nowhere.
fn classic_value(text: &str) -> Option<String> {
    let (inner, is_quoted) = match text.strip_prefix('"') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    let mut is_closed = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(c @ ('"' | '\\')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            '"' if is_quoted && chars.as_str().is_empty() => is_closed = true,
            '"' => return None,
            c => out.push(c),
        }
    }
    (is_closed == is_quoted).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let shown = match parse(text) {
            Ok(matchers) => matchers
                .iter()
                .map(|m| format!("{} {:?} {}", m.name, m.op, m.value))
                .collect::<Vec<_>>()
                .join("; "),
            Err(message) => message,
        };
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn reads_every_form_that_alertmanager_documents() {
        check(r#"severity="page""#, "severity Equal page");
        check("severity=page", "severity Equal page");
        check(r#"{a=~"x|y", b!="c,d"}"#, "a Regex x|y; b NotEqual c,d");
        check(r#"a !~ "b\"c""#, r#"a NotRegex b"c"#);
        check(r#"{a="b",}"#, "a Equal b");
        check("{}", "");
        check("", "");
    }

    #[test]
    fn names_may_be_any_text_in_quotes() {
        check(r#""server.address"="x", "ä ö"!="\u00fc""#, "server.address Equal x; ä ö NotEqual ü");
        check("Δ=ü", "Δ Equal ü");
    }

    #[test]
    fn what_only_the_classic_grammar_reads_still_reads() {
        check(r#"a=~"\d+""#, r"a Regex \d+");
        check("a=", "a Equal ");
        check("a=b c", "a Equal b c");
        check("a=b=c", "a Equal b=c");
        check("a='b'", "a Equal 'b'");
        check("{a=~x|y", "a Regex x|y");
    }

    #[test]
    fn names_what_it_cannot_read() {
        check("severity", r#"`severity` is no matcher; write NAME="VALUE", !=, =~ or !~"#);
        check(r#"a="b"#, r#"`a="b` is no matcher; write NAME="VALUE", !=, =~ or !~"#);
        check(r#"a=b""#, r#"`a=b"` is no matcher; write NAME="VALUE", !=, =~ or !~"#);
        check("a=b,,c=d", "`a=b,,c=d` is no matcher; write NAME=\"VALUE\", !=, =~ or !~");
        check("0a=b c", "`0a=b c` is no matcher; write NAME=\"VALUE\", !=, =~ or !~");
    }
}
