//! Prometheus rule files: text in; checked groups, or every error with its place, out.
//!
//! The format is that of Prometheus 3 (`model/rulefmt`). What is never true: a rule whose expression
//! or template does not parse, or a key that was not understood.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::RuleKey;
use super::place::{in_scalar, masked};
use super::rule::{Ages, Alerting, Group, Kind, Rule};
use super::template::Template;
use crate::promql::Query;
use crate::signal::{Diagnostic, Text, parse_duration};

/// Errors of form that are shown at once; after so many the rest is likely to follow from them.
const FORM_ERRORS_MAX: usize = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    groups: Option<Vec<Spanned<RawGroup>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    name: Option<Spanned<String>>,
    interval: Option<Spanned<String>>,
    query_offset: Option<Spanned<String>>,
    limit: Option<Spanned<usize>>,
    labels: Option<RawLabels>,
    rules: Option<Vec<Spanned<RawRule>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    record: Option<Spanned<String>>,
    alert: Option<Spanned<String>>,
    expr: Option<Spanned<String>>,
    #[serde(rename = "for")]
    hold: Option<Spanned<String>>,
    keep_firing_for: Option<Spanned<String>>,
    labels: Option<RawLabels>,
    annotations: Option<RawLabels>,
}

type RawLabels = BTreeMap<String, Spanned<String>>;

/// Reads one rule file; `file` names it in errors and in the keys of its rules.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Group>, Vec<Diagnostic>> {
    let (raw, errors) = read(file, text);
    let mut check = Check { file, text, errors };
    let groups = check.file(raw.unwrap_or_default());
    if check.errors.is_empty() {
        Ok(groups)
    } else {
        check.errors.sort_by_key(|error| (error.line, error.col));
        Err(check.errors)
    }
}

/// Deserializes; where a key is unknown or there twice, notes it, blanks it and goes on, so that one
/// run shows every error.
fn read(file: &str, text: &str) -> (Option<RawFile>, Vec<Diagnostic>) {
    let mut errors = Vec::new();
    let mut readable = text.to_owned();
    while errors.len() < FORM_ERRORS_MAX {
        let error = match serde_saphyr::from_multiple::<RawFile>(&readable) {
            Ok(documents) => {
                let groups = documents.into_iter().filter_map(|raw| raw.groups).flatten().collect();
                return (Some(RawFile { groups: Some(groups) }), errors);
            }
            Err(error) => Diagnostic::yaml(file, text, &error),
        };
        let is_key = error.message.contains("unknown field") || error.message.contains("duplicate");
        let next = masked(&readable, error.line, error.col).filter(|_| is_key);
        errors.push(error);
        match next {
            Some(next) => readable = next,
            None => break,
        }
    }
    (None, errors)
}

/// Checks what was read, gathering errors.
struct Check<'a> {
    file: &'a str,
    text: &'a str,
    errors: Vec<Diagnostic>,
}

impl Check<'_> {
    fn file(&mut self, raw: RawFile) -> Vec<Group> {
        let mut seen = BTreeSet::new();
        let mut groups = Vec::new();
        for group in raw.groups.unwrap_or_default() {
            if let Some(name) = &group.value.name
                && !seen.insert(name.value.clone())
            {
                self.error(name, format!("a group named `{}` is already in this file", name.value));
            }
            groups.extend(self.group(group));
        }
        groups
    }

    fn group(&mut self, raw: Spanned<RawGroup>) -> Option<Group> {
        let RawGroup { name, interval, query_offset, limit, labels, rules } = raw.value;
        let place = Spanned::new((), raw.referenced, raw.defined);
        let Some(name) = name.filter(|name| !name.value.is_empty()) else {
            self.error(&place, "the group has no name".to_owned());
            return None;
        };
        let file: Text = self.file.into();
        let group_name: Text = name.value.as_str().into();
        let interval = self.duration(interval.as_ref()).filter(|interval| !interval.is_zero());
        let query_offset = self.duration(query_offset.as_ref());
        let shared = labels.unwrap_or_default();
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut checked = Vec::new();
        for raw in rules.unwrap_or_default() {
            let Some(mut rule) = self.rule(raw, &shared) else { continue };
            let n = names.entry(rule.name.to_string()).or_default();
            *n += 1;
            let own =
                if *n == 1 { Text::clone(&rule.name) } else { format!("{}#{n}", rule.name).into() };
            rule.key =
                RuleKey { file: Text::clone(&file), group: Text::clone(&group_name), name: own };
            checked.push(rule);
        }
        let limit = limit.map_or(0, |limit| limit.value);
        let reads_alerts =
            checked.iter().any(|rule| rule.metrics.iter().any(|metric| metric == "ALERTS"));
        Some(Group {
            file,
            name: group_name,
            interval,
            query_offset,
            limit,
            reads_alerts,
            rules: checked,
        })
    }

    fn rule(&mut self, raw: Spanned<RawRule>, shared: &RawLabels) -> Option<Rule> {
        let place = Spanned::new((), raw.referenced, raw.defined);
        let RawRule { record, alert, expr, hold, keep_firing_for, labels, annotations } = raw.value;
        let n_before = self.errors.len();
        let query = self.query(expr.as_ref(), &place);
        let own = labels.unwrap_or_default();
        self.label_names(shared.iter().chain(&own));
        let mut all = shared.clone();
        all.extend(own);
        let is_alert = alert.is_some();
        let name = self.name(record, alert, &place);
        let labels = self.templates(&all, is_alert);
        let ages = Ages {
            hold: self.duration(hold.as_ref()).unwrap_or_default(),
            keep_firing: self.duration(keep_firing_for.as_ref()).unwrap_or_default(),
        };
        let notes = annotations.unwrap_or_default();
        self.annotation_names(&notes);
        let annotations = self.templates(&notes, true);
        let kind = if is_alert {
            Kind::Alert(Alerting { ages, annotations })
        } else {
            let unfit = [("for", hold.as_ref()), ("keep_firing_for", keep_firing_for.as_ref())];
            let first_note = notes.values().next().map(|note| ("annotations", note));
            for (key, value) in
                unfit.iter().filter_map(|(key, v)| v.map(|v| (*key, v))).chain(first_note)
            {
                self.error(value, format!("a recording rule has no `{key}`"));
            }
            Kind::Record
        };
        let (name, query) = (name?, query?);
        let key = RuleKey { file: "".into(), group: "".into(), name: Text::clone(&name) };
        let metrics = query.metrics();
        (self.errors.len() == n_before).then_some(Rule { key, name, query, metrics, labels, kind })
    }

    fn name(
        &mut self,
        record: Option<Spanned<String>>,
        alert: Option<Spanned<String>>,
        place: &Spanned<()>,
    ) -> Option<Text> {
        match (record, alert) {
            (Some(_), Some(alert)) => {
                self.error(&alert, "a rule has one of `record` and `alert`, not both".to_owned());
                None
            }
            (None, None) => {
                self.error(place, "a rule has `record` or `alert`".to_owned());
                None
            }
            (Some(record), None) if !is_metric_name(&record.value) => {
                self.error(&record, format!("`{}` is no metric name", record.value));
                None
            }
            (None, Some(alert)) if alert.value.is_empty() => {
                self.error(&alert, "the alert has no name".to_owned());
                None
            }
            (Some(name), None) | (None, Some(name)) => Some(name.value.as_str().into()),
        }
    }

    fn query(&mut self, expr: Option<&Spanned<String>>, place: &Spanned<()>) -> Option<Query> {
        let Some(expr) = expr.filter(|expr| !expr.value.trim().is_empty()) else {
            self.error(place, "the rule has no `expr`".to_owned());
            return None;
        };
        match Query::parse(&expr.value) {
            Ok(query) => Some(query),
            Err(error) => {
                let (line, col) = in_scalar(self.text, &expr.referenced, &expr.value, error.at);
                self.errors.push(Diagnostic::new(self.file, self.text, line, col, error.message));
                None
            }
        }
    }

    fn label_names<'b>(&mut self, labels: impl Iterator<Item = (&'b String, &'b Spanned<String>)>) {
        for (name, value) in labels {
            if !is_label_name(name) || name == "__name__" {
                self.error(value, format!("`{name}` is no label name"));
            }
        }
    }

    fn annotation_names(&mut self, annotations: &RawLabels) {
        for (name, value) in annotations {
            if !is_label_name(name) {
                self.error(value, format!("`{name}` is no annotation name"));
            }
        }
    }

    fn templates(&mut self, texts: &RawLabels, is_template: bool) -> Vec<(Text, Template)> {
        let mut checked = Vec::new();
        for (name, value) in texts {
            if !is_template {
                checked.push((name.as_str().into(), Template::plain(&value.value)));
                continue;
            }
            match Template::parse(&value.value) {
                Ok(template) => checked.push((name.as_str().into(), template)),
                Err(error) => {
                    let (line, col) =
                        in_scalar(self.text, &value.referenced, &value.value, error.at);
                    let message = format!("template of `{name}`: {}", error.message);
                    self.errors.push(Diagnostic::new(self.file, self.text, line, col, message));
                }
            }
        }
        checked
    }

    fn duration(&mut self, raw: Option<&Spanned<String>>) -> Option<Duration> {
        let raw = raw?;
        let parsed = parse_duration(&raw.value);
        if parsed.is_none() {
            self.error(raw, format!("`{}` is no duration; write 30s, 5m or 1h30m", raw.value));
        }
        parsed
    }

    fn error<T>(&mut self, place: &Spanned<T>, message: String) {
        self.errors.push(Diagnostic::at(self.file, self.text, &place.referenced, message));
    }
}

/// UTF-8 names are allowed since Prometheus 3, but a recording rule's must not need quotes in PromQL.
fn is_metric_name(name: &str) -> bool {
    let mut chars = name.chars();
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    chars.next().is_some_and(is_start) && chars.all(|c| is_start(c) || c.is_ascii_digit())
}

fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':')
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expect: &Expect) {
        let shown = match parse("rules.yaml", text) {
            Ok(groups) => groups
                .iter()
                .flat_map(|group| group.rules.iter())
                .map(|rule| format!("{}/{}: {}", rule.key.group, rule.key.name, rule.query))
                .collect::<Vec<_>>(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        };
        expect.assert_eq(&shown.join("\n"));
    }

    #[test]
    fn rules_of_the_same_name_have_keys_of_their_own() {
        let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up == 0\n  - alert: A\n    expr: up == 1\n    for: 5m\n";
        check(
            text,
            &expect![[r"
            g/A: up == 0
            g/A#2: up == 1"]],
        );
    }

    #[test]
    fn every_error_of_a_file_is_shown_at_once_at_its_place() {
        let text = "\
groups:
- name: g
  intervall: 5s
  rules:
  - alert: A
    expr: up == (
    for: soon
  - alert: B
    expr: |
      sum by (job) (
        rate(x[5m)
      )
    labels:
      1a: b
    annotations:
      summary: '{{ if $value }}unclosed'
  - record: a:b
    expr: up
    for: 5m
    colour: red
";
        check(
            text,
            &expect![[r#"
            rules.yaml:3:3: unknown field `intervall`, expected one of name, interval, query_offset, limit, labels, rules
                  intervall: 5s
                  ^
            rules.yaml:6:18: unexpected end of input
                    expr: up == (
                                 ^
            rules.yaml:7:10: `soon` is no duration; write 30s, 5m or 1h30m
                    for: soon
                         ^
            rules.yaml:11:18: unexpected ")" in range selector, expected "]"
                        rate(x[5m)
                                 ^
            rules.yaml:14:11: `1a` is no label name
                      1a: b
                          ^
            rules.yaml:16:17: template of `summary`: `if` is not closed by `{{ end }}`
                      summary: '{{ if $value }}unclosed'
                                ^
            rules.yaml:19:10: a recording rule has no `for`
                    for: 5m
                         ^
            rules.yaml:20:5: unknown field `colour`, expected one of record, alert, expr, for, keep_firing_for, labels, annotations
                    colour: red
                    ^"#]],
        );
    }

    #[test]
    fn a_rule_needs_a_name_and_an_expression() {
        let text = "groups:\n- name: g\n  rules:\n  - expr: up\n  - alert: A\n  - alert: B\n    record: c\n    expr: up\n- name: g\n";
        check(
            text,
            &expect![[r"
            rules.yaml:4:5: a rule has `record` or `alert`
                  - expr: up
                    ^
            rules.yaml:5:5: the rule has no `expr`
                  - alert: A
                    ^
            rules.yaml:6:12: a rule has one of `record` and `alert`, not both
                  - alert: B
                           ^
            rules.yaml:9:9: a group named `g` is already in this file
                - name: g
                        ^"]],
        );
    }

    #[test]
    fn a_key_that_is_there_twice_is_an_error() {
        check(
            "groups:\n- name: g\n  name: h\n  rules: []\n",
            &expect![[r"
            rules.yaml:3:3: duplicate mapping key: name
                  name: h
                  ^"]],
        );
    }

    #[test]
    fn groups_of_every_document_are_read() {
        let text = "groups:\n- name: g\n  rules: [{alert: A, expr: up}]\n---\ngroups:\n- name: h\n  rules: [{alert: B, expr: up +}]\n";
        check(
            text,
            &expect![[r"
            rules.yaml:7:32: unexpected end of input
                  rules: [{alert: B, expr: up +}]
                                               ^"]],
        );
    }

    #[test]
    fn an_empty_file_has_no_rules() {
        check("", &expect![""]);
        check("# nothing yet\n", &expect![""]);
    }
}
