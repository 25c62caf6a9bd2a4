//! Alertmanager's matcher syntax: `severity="page"`, `team=~"a|b"`, `{a="b", c!="d"}`.

use crate::series::{MatchOp, Matcher};

/// Parses one matcher or several, separated by commas. Values may be quoted or bare.
pub(crate) fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    let inner = text.trim();
    let inner = inner.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(inner);
    split(inner)
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .map(|part| one(part.trim()))
        .collect()
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

fn one(text: &str) -> Result<Matcher, String> {
    let bad = || format!("`{text}` is no matcher; write NAME=\"VALUE\", !=, =~ or !~");
    let at = text.find(['=', '!']).ok_or_else(bad)?;
    let (name, rest) = text.split_at_checked(at).ok_or_else(bad)?;
    let operators = [
        ("=~", MatchOp::Regex),
        ("!~", MatchOp::NotRegex),
        ("!=", MatchOp::NotEqual),
        ("=", MatchOp::Equal),
    ];
    let (op, value) = operators
        .iter()
        .find_map(|(sign, op)| Some((*op, rest.strip_prefix(sign)?)))
        .ok_or_else(bad)?;
    let (name, value) =
        (unquote(name.trim()).ok_or_else(bad)?, unquote(value.trim()).ok_or_else(bad)?);
    if name.is_empty() {
        return Err(bad());
    }
    Matcher::new(&name, op, &value).map_err(|error| format!("`{text}`: {error}"))
}

/// Removes double quotes and their escapes; bare text stays; an unclosed quote is None.
fn unquote(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else {
        return (!text.contains('"')).then(|| text.to_owned());
    };
    let inner = rest.strip_suffix('"')?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                'n' => out.push('\n'),
                other => out.push(other),
            },
            '"' => return None,
            other => out.push(other),
        }
    }
    Some(out)
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
        assert_eq!(shown, expect);
    }

    #[test]
    fn reads_every_form_that_alertmanager_documents() {
        check(r#"severity="page""#, "severity Equal page");
        check("severity=page", "severity Equal page");
        check(r#"{a=~"x|y", b!="c,d"}"#, "a Regex x|y; b NotEqual c,d");
        check(r#"a !~ "b\"c""#, r#"a NotRegex b"c"#);
    }

    #[test]
    fn names_what_it_cannot_read() {
        check("severity", r#"`severity` is no matcher; write NAME="VALUE", !=, =~ or !~"#);
        check(r#"a="b"#, r#"`a="b` is no matcher; write NAME="VALUE", !=, =~ or !~"#);
    }
}
