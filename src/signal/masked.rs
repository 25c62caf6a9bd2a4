//! A line of YAML as it may be shown to anybody: without its secrets.
//!
//! A line and what stands above it come in; the line with a mask for each value of a secret key goes out.
//! It reads no YAML, since it is asked about files that are none: where it cannot tell where a value ends,
//! it masks more. Never less.

/// What Alertmanager shows, and reads back, in the place of a secret.
pub const MASK: &str = "<secret>";
/// Keys whose values nobody needs to see again.
const SECRET: [&str; 12] = [
    "api_secret",
    "api_url",
    "app_token",
    "bot_token",
    "credentials",
    "key",
    "password",
    "routing_key",
    "secret",
    "service_key",
    "token",
    "user_key",
];
/// Keys below which any text may be one.
const ALL_BELOW: [&str; 4] = ["endpoint_params", "http_headers", "params", "proxy_connect_header"];
/// Lists of receivers whose `url` is a secret.
const SECRET_URL: [&str; 3] = ["discord_configs", "googlechat_configs", "webhook_configs"];

/// A value of this key is a secret, within lists of this name.
pub fn is_secret(key: &str, within: &str) -> bool {
    SECRET.iter().any(|name| key == *name || key.ends_with(&format!("_{name}")))
        || key.ends_with("webhook_url")
        || (key == "url" && SECRET_URL.contains(&within))
}

/// Everything below this key may be a secret.
pub fn is_secret_below(key: &str) -> bool {
    ALL_BELOW.contains(&key)
}

/// One line without its secrets.
pub fn line(text: &str) -> String {
    masked(text, 1, 0).map_or_else(|| text.to_owned(), |masked| masked.line)
}

/// A line without its secrets, and where the character `col` (from 1) then is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Masked {
    pub(super) line: String,
    pub(super) col: usize,
}

/// Line `number` (from 1) of `text`; None where nothing in it is a secret.
pub(super) fn masked(text: &str, number: usize, col: usize) -> Option<Masked> {
    let above: Vec<&str> = text.lines().take(number).collect();
    let (line, above) = above.split_last()?;
    let above = keys_above(line, above);
    let within = |names: &[&str]| above.iter().any(|key| names.contains(&key.as_str()));
    let is_all = within(&ALL_BELOW) || above.iter().any(|key| is_secret(key, ""));
    let is_url = within(&SECRET_URL) || SECRET_URL.iter().any(|name| line.contains(name));
    let mut scan = Scan { rest: line, depth: 0, out: String::new(), caret: col };
    while !scan.rest.is_empty() {
        scan.step(is_all, is_url);
    }
    (scan.out != *line).then_some(Masked { line: scan.out, col: scan.caret })
}

/// The keys that a line stands below, by their indentation.
fn keys_above(line: &str, above: &[&str]) -> Vec<String> {
    let mut keys = Vec::new();
    let mut indent = indent_of(line);
    for line in above.iter().rev().filter(|line| !line.trim().is_empty()) {
        if indent_of(line) < indent {
            indent = indent_of(line);
            // All of them: the last may have been opened by a brace.
            keys.extend(line.split(['{', '[', ',', ' ']).filter_map(key_of));
        }
    }
    keys
}

fn key_of(word: &str) -> Option<String> {
    let key = word.trim().strip_suffix(':')?.trim_matches(['"', '\'']);
    (!key.is_empty()).then(|| key.to_owned())
}

/// Where the text begins, behind the dashes of lists.
fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-']).len()
}

struct Scan<'a> {
    rest: &'a str,
    /// Braces and brackets that are open.
    depth: usize,
    out: String,
    /// Where the character that was asked for is in what is out and rest, from 1.
    caret: usize,
}

impl<'a> Scan<'a> {
    /// Takes one thing from the line: a key with its value, where that is a secret, or one character.
    fn step(&mut self, is_all: bool, is_url: bool) {
        if let Some((key, length)) = key_at(self.rest, self.out.chars().next_back()) {
            self.keep(length);
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.keep(blank);
            let value = self.value();
            let within = if is_url { SECRET_URL[0] } else { "" };
            // Alertmanager's is a mapping, in which the credentials are masked.
            let is_header = key == "authorization" && !value.starts_with(['{', '[']);
            let is_login = key.ends_with("url") && value.contains('@');
            let is_any = is_all || is_secret_below(key) || is_header || is_login;
            if !value.is_empty() && (is_any || is_secret(key, within)) {
                self.mask(value.len());
            }
            return;
        }
        if is_all
            && self.out.trim_matches([' ', '-']).is_empty()
            && !self.rest.starts_with([' ', '-'])
        {
            let length = self.rest.len();
            return self.mask(length);
        }
        match self.rest.chars().next() {
            Some('{' | '[') => self.depth += 1,
            Some('}' | ']') => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        let length = self.rest.chars().next().map_or(0, char::len_utf8);
        self.keep(length);
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn keep(&mut self, length: usize) {
        let taken = self.take(length);
        self.out.push_str(taken);
    }

    fn mask(&mut self, length: usize) {
        let at = self.out.chars().count();
        let hidden = self.take(length).chars().count();
        self.out.push_str(MASK);
        if self.caret > at + hidden {
            self.caret = self.caret - hidden + MASK.len();
        } else if self.caret > at {
            self.caret = at + 1;
        }
    }

    /// The value at the start of the rest, as far as it can reach.
    fn value(&self) -> &'a str {
        let rest = self.rest;
        let end = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => closing_quote(rest, quote),
            Some('{' | '[') => closing_bracket(rest),
            Some('#') | None => Some(0),
            Some(_) if self.depth > 0 => rest.find([',', '}', ']']),
            Some(_) => rest.find(" #"),
        };
        rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest)
    }
}

/// A key at the start of `rest`, and its length with the colon.
fn key_at(rest: &str, before: Option<char>) -> Option<(&str, usize)> {
    if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')) {
        return None;
    }
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let name = quote.map_or(rest, |_| rest.get(1..).unwrap_or_default());
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let length = name.find(|c| !is_name(c)).filter(|length| *length > 0)?;
    let (key, tail) = name.split_at_checked(length)?;
    let tail = match quote {
        Some(quote) => tail.strip_prefix(quote)?,
        None => tail,
    };
    let tail = tail.trim_start().strip_prefix(':')?;
    let is_key = tail.is_empty() || quote.is_some() || tail.starts_with(' ');
    is_key.then(|| (key, rest.len() - tail.len()))
}

fn closing_quote(rest: &str, quote: char) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        let is_doubled = quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == quote);
        if (c == '\\' && quote == '"') || (c == quote && is_doubled) {
            chars.next();
        } else if c == quote {
            return Some(at + 1);
        }
    }
    None
}

fn closing_bracket(rest: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in rest.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let number = text.lines().count();
        let last = text.lines().last().unwrap_or_default();
        masked(text, number, 1).map_or_else(|| last.to_owned(), |masked| masked.line)
    }

    #[test]
    fn values_of_secret_keys_are_masked_however_they_are_written() {
        for (written, expected) in [
            ("token: hunter2", "token: <secret>"),
            ("  - token: 'hun''ter2' # why", "  - token: <secret> # why"),
            ("{name: a, token: hunter2, scope: [x]}", "{name: a, token: <secret>, scope: [x]}"),
            (r#"{"token": "hun\"ter2, x", "a": 1}"#, r#"{"token": <secret>, "a": 1}"#),
            ("{token: \"hunter2", "{token: <secret>"),
            ("hash_key: hunter2 and more", "hash_key: <secret>"),
            ("slack_api_url: https://hooks/hunter2", "slack_api_url: <secret>"),
            ("webhook_configs: [{url: 'https://h/hunter2'}]", "webhook_configs: [{url: <secret>}]"),
            ("webhook_configs:\n- url: https://h/hunter2", "- url: <secret>"),
            ("  webhook_configs:\n  - a: b\n    url: https://h/hunter2", "    url: <secret>"),
            ("proxy_url: http://me:hunter2@proxy", "proxy_url: <secret>"),
            ("authorization: Bearer hunter2", "authorization: <secret>"),
            ("authorization: {credentials: hunter2}", "authorization: {credentials: <secret>}"),
            ("http_headers: {X-A: {values: [hunter2]}}", "http_headers: <secret>"),
            ("http_headers:\n  X-A:\n    values: [hunter2]", "    values: <secret>"),
            ("http_headers:\n  X-A:\n    values:\n      - hunter2", "      - <secret>"),
            ("token: |\n  hunter2", "  <secret>"),
            ("é: ü, token: hunter2", "é: ü, token: <secret>"),
        ] {
            assert_eq!(shown(written), expected, "{written}");
        }
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in [
            "token_file: /run/secrets/token",
            "url: https://mimir/api/v1/push",
            "listen: {web: 0.0.0.0:9595, ingest: here}",
            "scope: [token]",
            "token:",
            "",
        ] {
            let text = format!("auth:\n  tokens:\n    - name: a\n      {line}");
            assert_eq!(shown(&text).trim_start(), line);
        }
    }

    #[test]
    fn the_caret_moves_with_what_it_points_at() {
        let line = "{token: hunter2hunter2, scope: [all]}";
        let col = line.find("all").unwrap_or_default() + 1;
        let masked = masked(line, 1, col).expect("a secret");
        assert_eq!(masked.line.get(masked.col - 1..masked.col + 2), Some("all"));
        let inside = super::masked(line, 1, 12).expect("a secret");
        assert_eq!(inside.col, 9, "where the mask begins");
    }
}
