//! Label matchers, as PromQL selectors have them.

use std::collections::BTreeSet;

use crate::go_regex::{self, Compiled, Room};
use crate::signal::{Labels, Text};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

/// One condition on one label; an absent label has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub name: Text,
    pub op: MatchOp,
    pub value: Text,
    pattern: Option<Pattern>,
}

/// What a regular expression comes down to. Those of selectors are mostly lists of values or
/// prefixes, which are ten times as fast to match as what they are written as.
#[derive(Clone, Debug)]
enum Pattern {
    /// Ascending: there may be as many as a query has room for.
    OneOf(Vec<String>),
    Prefix(String),
    Regex(Compiled),
}

impl Pattern {
    fn new(text: &str, room: &mut Room) -> Result<Self, go_regex::Error> {
        let is_plain = |text: &str| !text.contains(|c| r"\.+*?()|[]{}^$".contains(c));
        if let Some(prefix) = text.strip_suffix(".*").filter(|prefix| is_plain(prefix)) {
            return Ok(Self::Prefix(prefix.to_owned()));
        }
        let inner = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
        if let Some(mut values) = listed(inner) {
            values.sort_unstable();
            values.dedup();
            return Ok(Self::OneOf(values));
        }
        go_regex::whole_within(text, room).map(Self::Regex)
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::OneOf(values) => values.binary_search_by(|one| one.as_str().cmp(value)).is_ok(),
            Self::Prefix(prefix) => value.starts_with(prefix),
            Self::Regex(compiled) => compiled.regex.is_match(value),
        }
    }
}

/// The values of a list like `a|10\.0\.0\.1`, which is what dashboards write for those that are chosen.
fn listed(text: &str) -> Option<Vec<String>> {
    let mut values = vec![String::new()];
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let value = values.last_mut()?;
        match c {
            '|' => values.push(String::new()),
            '\\' => value.push(rest.next().filter(char::is_ascii_punctuation)?),
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => value.push(c),
        }
    }
    Some(values)
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Matcher {
    /// Regular expressions match the whole value; a bad one is the error.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, go_regex::Error> {
        Self::within(name, op, value, &mut Room::default())
    }

    /// The same, as one of many that a request holds at once.
    pub fn within(
        name: &str,
        op: MatchOp,
        value: &str,
        room: &mut Room,
    ) -> Result<Self, go_regex::Error> {
        let pattern = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(Pattern::new(value, room)?),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Self { name: name.into(), op, value: value.into(), pattern })
    }

    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), pattern: None }
    }

    pub fn matches(&self, value: &str) -> bool {
        let by_pattern = || self.pattern.as_ref().is_some_and(|pattern| pattern.matches(value));
        match self.op {
            MatchOp::Equal => *self.value == *value,
            MatchOp::NotEqual => *self.value != *value,
            MatchOp::Regex => by_pattern(),
            MatchOp::NotRegex => !by_pattern(),
        }
    }

    /// How large what it compares with is, which bounds how long that takes: bytes of a compiled expression.
    pub(crate) fn n_bytes(&self) -> usize {
        match &self.pattern {
            Some(Pattern::Regex(compiled)) => compiled.n_bytes,
            _ => 0,
        }
    }

    /// All values that match, where they can be told without looking at any: one, or a list. None also
    /// where an absent label matches.
    pub(crate) fn values(&self) -> Option<BTreeSet<&str>> {
        let values: BTreeSet<&str> = match (self.op, &self.pattern) {
            (MatchOp::Equal, _) => [&*self.value].into(),
            (MatchOp::Regex, Some(Pattern::OneOf(values))) => {
                values.iter().map(String::as_str).collect()
            }
            _ => return None,
        };
        (!values.contains("")).then_some(values)
    }

    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_ways_match_what_the_regular_expression_matches() {
        let patterns = [
            "",
            ".*",
            ".+",
            "a",
            "a|b",
            "(a|bc)",
            "a|",
            "a.*",
            "a.+",
            "a.",
            "(a)(b)",
            "(a|b)c",
            "a)|(b",
            "a\\.*",
            "[ab]",
            "A|é",
            "é.*",
            "a|b.*",
            "()",
            "a b",
            r"a\.|b",
            r"(a\||\\)",
            r"a\",
            r"a\d",
            r"\_|\-",
        ];
        let values = [
            "", "a", "b", "bc", "ab", "abc", "a.", "a\n", "A", "é", "éa", "ac", "a b", "b.*", "a|",
            "\\", "-", "_",
        ];
        for pattern in patterns {
            let Ok(whole) = go_regex::whole(pattern) else {
                assert!(Matcher::new("l", MatchOp::Regex, pattern).is_err(), "{pattern}");
                continue;
            };
            let matcher = Matcher::new("l", MatchOp::Regex, pattern).unwrap();
            for value in values {
                assert_eq!(matcher.matches(value), whole.is_match(value), "{pattern} on {value:?}");
            }
        }
    }
}
