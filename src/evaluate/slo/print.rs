//! Rules as YAML: a writer for the little of it that rule files need.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::signal::format_duration;

/// Labels or annotations.
pub(super) type Pairs = BTreeMap<String, String>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RuleGroup {
    pub(super) name: String,
    /// None: the daemon's.
    pub(super) interval: Option<Duration>,
    pub(super) rules: Vec<RuleText>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct RuleText {
    /// `record` or `alert`.
    pub(super) key: &'static str,
    pub(super) name: String,
    pub(super) expr: String,
    /// Of an alert.
    pub(super) hold: Option<Duration>,
    pub(super) labels: Pairs,
    pub(super) annotations: Pairs,
}

impl RuleText {
    pub(super) fn record(name: impl Into<String>, expr: impl Into<String>, labels: Pairs) -> Self {
        Self {
            key: "record",
            name: name.into(),
            expr: expr.into(),
            hold: None,
            labels,
            annotations: Pairs::new(),
        }
    }
}

pub(super) fn rule_file(groups: &[RuleGroup]) -> String {
    if groups.is_empty() {
        return "groups: []\n".to_owned();
    }
    let mut out = "groups:\n".to_owned();
    for group in groups.iter().filter(|group| !group.rules.is_empty()) {
        line(&mut out, &format!("- name: {}", scalar(&group.name, 4)));
        if let Some(interval) = group.interval {
            line(&mut out, &format!("  interval: {}", format_duration(interval)));
        }
        line(&mut out, "  rules:");
        for rule in &group.rules {
            line(&mut out, &format!("  - {}: {}", rule.key, scalar(&rule.name, 6)));
            line(&mut out, &format!("    expr: {}", scalar(&rule.expr, 6)));
            if let Some(hold) = rule.hold {
                line(&mut out, &format!("    for: {}", format_duration(hold)));
            }
            pairs(&mut out, "labels", &rule.labels);
            pairs(&mut out, "annotations", &rule.annotations);
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn pairs(out: &mut String, key: &str, pairs: &Pairs) {
    if pairs.is_empty() {
        return;
    }
    line(out, &format!("    {key}:"));
    for (name, value) in pairs {
        line(out, &format!("      {}: {}", scalar(name, 8), scalar(value, 8)));
    }
}

/// Plain where that is surely read back as the same text, a block for several lines, else quoted.
fn scalar(text: &str, indent: usize) -> String {
    let is_block = text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && text.lines().all(|line| line == line.trim_end() && !line.chars().any(char::is_control));
    if is_block {
        let chomp = match text.strip_suffix('\n') {
            Some(rest) if !rest.ends_with('\n') => "|",
            Some(_) => "|+",
            None => "|-",
        };
        let mut out = chomp.to_owned();
        for line in text.lines() {
            out.push('\n');
            if !line.is_empty() {
                let _ = write!(out, "{:indent$}{line}", "");
            }
        }
        return out;
    }
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// JSON's strings are YAML's double-quoted ones (YAML 1.2, 1.3).
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_plain(text: &str) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '(');
    let word = text.to_ascii_lowercase();
    let is_word =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&word.as_str());
    starts_well
        && !is_word
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(|c| !c.is_control())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_is_read_back_as_it_was(text in "[ -~\\n]{0,40}|(y|no|true|12|~|\\|)") {
            let yaml = format!("key: {}\n", scalar(&text, 2));
            let read: BTreeMap<String, String> = serde_saphyr::from_str(&yaml).unwrap_or_default();
            prop_assert_eq!(read.get("key"), Some(&text), "{}", yaml);
        }
    }
}
