//! Relabelling as Prometheus has it: rules that change, keep or drop series by their labels.
//!
//! Source: prometheus.io/docs/prometheus/latest/configuration/configuration, `relabel_config`.

use regex::Regex;

use crate::go_regex;
use crate::signal::{Labels, Text};

/// One rule; `Default`s are Prometheus's.
#[derive(Clone, Debug)]
pub struct Relabel {
    pub source_labels: Vec<String>,
    pub separator: String,
    pub regex: Regex,
    pub target_label: String,
    pub replacement: String,
    pub action: Action,
}

impl PartialEq for Relabel {
    fn eq(&self, other: &Self) -> bool {
        let parts =
            |one: &Self| [&one.separator, &one.target_label, &one.replacement].map(String::clone);
        self.source_labels == other.source_labels
            && self.regex.as_str() == other.regex.as_str()
            && self.action == other.action
            && parts(self) == parts(other)
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    /// The words of `action`; None for others.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "replace" => Self::Replace,
            "keep" => Self::Keep,
            "drop" => Self::Drop,
            "keepequal" => Self::KeepEqual,
            "dropequal" => Self::DropEqual,
            "labelmap" => Self::LabelMap,
            "labeldrop" => Self::LabelDrop,
            "labelkeep" => Self::LabelKeep,
            "lowercase" => Self::Lowercase,
            "uppercase" => Self::Uppercase,
            _ => return None,
        })
    }

    /// Whether it needs `target_label`.
    pub const fn has_target(self) -> bool {
        matches!(
            self,
            Self::Replace | Self::Lowercase | Self::Uppercase | Self::KeepEqual | Self::DropEqual
        )
    }
}

/// A pattern that must fit the whole text.
///
/// # Errors
/// As Go tells them.
pub fn pattern(text: &str) -> Result<Regex, go_regex::Error> {
    go_regex::whole(text)
}

/// The labels after all rules; None where a rule drops the series.
pub fn apply(rules: &[Relabel], labels: Labels) -> Option<Labels> {
    rules.iter().try_fold(labels, |labels, rule| rule.apply(labels))
}

impl Relabel {
    fn apply(&self, labels: Labels) -> Option<Labels> {
        let values: Vec<&str> =
            self.source_labels.iter().map(|name| labels.get(name).unwrap_or_default()).collect();
        let value = values.join(&self.separator);
        let fits = |name: &str| self.regex.is_match(name);
        match self.action {
            Action::Keep => fits(&value).then_some(labels),
            Action::Drop => (!fits(&value)).then_some(labels),
            Action::KeepEqual => (value == self.target(&labels)).then_some(labels),
            Action::DropEqual => (value != self.target(&labels)).then_some(labels),
            Action::Lowercase => Some(labels.with(&self.target_label, &value.to_lowercase())),
            Action::Uppercase => Some(labels.with(&self.target_label, &value.to_uppercase())),
            Action::LabelDrop => Some(labels.filtered(|name| !fits(name))),
            Action::LabelKeep => Some(labels.filtered(fits)),
            Action::LabelMap => Some(self.mapped(&labels)),
            Action::Replace => Some(self.replaced(&value, labels)),
        }
    }

    fn target<'a>(&self, labels: &'a Labels) -> &'a str {
        labels.get(&self.target_label).unwrap_or_default()
    }

    fn mapped(&self, labels: &Labels) -> Labels {
        let renamed = labels.iter().filter_map(|(name, value)| {
            let found = self.regex.captures(name)?;
            Some((Text::from(go_regex::expanded(&found, &self.replacement)), Text::from(value)))
        });
        let renamed: Vec<(Text, Text)> = renamed.collect();
        Labels::new(labels.pairs().iter().cloned().chain(renamed))
    }

    fn replaced(&self, value: &str, labels: Labels) -> Labels {
        let Some(found) = self.regex.captures(value) else { return labels };
        let name = go_regex::expanded(&found, &self.target_label);
        let text = go_regex::expanded(&found, &self.replacement);
        if name.is_empty() { labels } else { labels.with(&name, &text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        action: Action,
        source: &[&str],
        regex: &str,
        [target, replacement]: [&str; 2],
    ) -> Relabel {
        Relabel {
            source_labels: source.iter().map(ToString::to_string).collect(),
            separator: ";".to_owned(),
            regex: pattern(regex).expect("a pattern"),
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            action,
        }
    }

    fn check(rule: Relabel, before: &[(&str, &str)], after: Option<&str>) {
        let found = apply(&[rule], Labels::of(before)).map(|labels| labels.to_string());
        assert_eq!(found.as_deref(), after);
    }

    #[test]
    fn each_action_does_what_prometheus_documents() {
        let ab = [("a", "foo"), ("b", "bar")];
        let replace = |regex, pair| rule(Action::Replace, &["a", "b"], regex, pair);
        check(
            replace("f(.*);(.*)r", ["c", "${2}-$1"]),
            &ab,
            Some(r#"{a="foo", b="bar", c="ba-oo"}"#),
        );
        check(replace("f(.*);(.*)", ["${2}", "x"]), &ab, Some(r#"{a="foo", b="bar", bar="x"}"#));
        check(replace("oo", ["a", "x"]), &ab, Some(r#"{a="foo", b="bar"}"#));
        check(replace("(.*)", ["a", ""]), &ab, Some(r#"{b="bar"}"#));
        check(rule(Action::Keep, &["a"], "fo+", ["", ""]), &ab, Some(r#"{a="foo", b="bar"}"#));
        check(rule(Action::Keep, &["a"], "o+", ["", ""]), &ab, None);
        check(rule(Action::Drop, &["a"], "fo+", ["", ""]), &ab, None);
        check(rule(Action::KeepEqual, &["a"], ".*", ["b", ""]), &ab, None);
        check(rule(Action::DropEqual, &["a"], ".*", ["b", ""]), &ab, Some(r#"{a="foo", b="bar"}"#));
        check(rule(Action::LabelDrop, &[], "a", ["", ""]), &ab, Some(r#"{b="bar"}"#));
        check(rule(Action::LabelKeep, &[], "a", ["", ""]), &ab, Some(r#"{a="foo"}"#));
        check(
            rule(Action::LabelMap, &[], "(a)", ["", "x_$1"]),
            &ab,
            Some(r#"{a="foo", b="bar", x_a="foo"}"#),
        );
        check(rule(Action::Uppercase, &["a"], ".*", ["a", ""]), &ab, Some(r#"{a="FOO", b="bar"}"#));
        check(
            rule(Action::Lowercase, &["a"], ".*", ["c", ""]),
            &[("a", "Ö")],
            Some(r#"{a="Ö", c="ö"}"#),
        );
    }
}
