//! Functions that change labels or the order of elements. What is never true: two elements with
//! the same labels in a result; that is an error.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::EvalError;
use super::aggregate::ascending;
use super::ast::Expr;
use super::check::text_of;
use super::evaluate::{Evaluator, same_labels};
use super::limits::SAMPLE_BYTES;
use super::value::Element;
use crate::go_regex;
use crate::signal::{Labels, METRIC_NAME};

/// The longest label value that a query makes: far beyond what senders may give.
const VALUE_BYTES_MAX: usize = 65_536;

impl<'q> Evaluator<'q> {
    /// Judges label values that are made before they are: one alone, and all of a vector so far, which take
    /// as much memory as samples of as many bytes.
    fn check_value(
        &self,
        function: &str,
        n_bytes: usize,
        made: &mut usize,
    ) -> Result<(), EvalError> {
        self.interrupt.check()?;
        if n_bytes > VALUE_BYTES_MAX {
            let message = format!(
                "{function}() would make a label value of more than {VALUE_BYTES_MAX} bytes"
            );
            return Err(EvalError::Execution(message));
        }
        *made += n_bytes;
        self.room_for_samples(*made / SAMPLE_BYTES)
    }

    pub(super) fn label_replace(
        &self,
        args: &'q [Expr],
        t: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let mut elements = self.first_vector(args, t)?;
        let text = |at: usize| args.get(at).map_or("", text_of);
        let (target, replacement, source, pattern) = (text(1), text(2), text(3), text(4));
        let regex = self.pattern(pattern).map_err(|error| {
            let told: &dyn std::fmt::Display = if error.is_too_large() { &error } else { &pattern };
            EvalError::Execution(format!("invalid regular expression in label_replace(): {told}"))
        })?;
        check_target(target, "label_replace")?;
        let mut made = 0;
        for element in &mut elements {
            // An expression may be as large as a value is long.
            self.interrupt.check()?;
            let value = element.labels.get(source).unwrap_or_default();
            let Some(captures) = regex.captures(value) else { continue };
            // Each reference brings the whole value at the most.
            let most = replacement.matches('$').count().saturating_mul(value.len());
            self.check_value("label_replace", most.saturating_add(replacement.len()), &mut made)?;
            let expanded = go_regex::expanded(&captures, replacement);
            set_label(element, target, &expanded);
        }
        unique(elements)
    }

    pub(super) fn label_join(&self, args: &'q [Expr], t: i64) -> Result<Vec<Element>, EvalError> {
        let mut elements = self.first_vector(args, t)?;
        let text = |at: usize| args.get(at).map_or("", text_of);
        let (target, separator) = (text(1), text(2));
        check_target(target, "label_join")?;
        let sources: Vec<&str> = args.iter().skip(3).map(text_of).collect();
        if sources.contains(&"") {
            let message = "invalid source label name in label_join(): ".to_owned();
            return Err(EvalError::Execution(message));
        }
        let mut made = 0;
        for element in &mut elements {
            let value = |name: &&str| element.labels.get(name).unwrap_or_default();
            let values: Vec<&str> = sources.iter().map(value).collect();
            let n_bytes = values.iter().map(|value| value.len() + separator.len()).sum();
            self.check_value("label_join", n_bytes, &mut made)?;
            let joined = values.join(separator);
            set_label(element, target, &joined);
        }
        unique(elements)
    }

    pub(super) fn sorted(
        &self,
        (expr, name): (&'q Expr, &str),
        args: &'q [Expr],
        t: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let mut elements = self.first_vector(args, t)?;
        if self.range.start != self.range.end {
            let message =
                "sort is ineffective for range queries since results are always ordered by labels";
            self.notes.warn(expr.span, message);
        }
        let names: Vec<&str> = args.iter().skip(1).map(text_of).collect();
        match name {
            "sort" | "sort_desc" => {
                elements.retain(|element| element.as_float().is_some());
                let sign = if name == "sort" { 1.0 } else { -1.0 };
                let value = |e: &Element| e.as_float().map_or(f64::NAN, |x| x * sign);
                elements.sort_by(|a, b| ascending(value(a), value(b)));
            }
            "sort_by_label" => elements.sort_by(|a, b| by_labels(&a.labels, &b.labels, &names)),
            _ => elements.sort_by(|a, b| by_labels(&b.labels, &a.labels, &names)),
        }
        Ok(elements)
    }
}

fn check_target(name: &str, function: &str) -> Result<(), EvalError> {
    if name.is_empty() {
        let message = format!("invalid destination label name in {function}(): {name}");
        return Err(EvalError::Execution(message));
    }
    Ok(())
}

/// A name that is set anew stays when the query ends.
fn set_label(element: &mut Element, name: &str, value: &str) {
    element.labels = Arc::new(element.labels.with(name, value));
    if name == METRIC_NAME {
        element.drop_name = false;
    }
}

pub(super) fn unique(elements: Vec<Element>) -> Result<Vec<Element>, EvalError> {
    let mut seen = HashSet::new();
    if elements.iter().all(|element| seen.insert(Arc::clone(&element.labels))) {
        return Ok(elements);
    }
    Err(same_labels())
}

/// By the named labels in natural order, then by all labels.
fn by_labels(a: &Labels, b: &Labels, names: &[&str]) -> Ordering {
    for name in names {
        let value = |labels: &'_ Labels| labels.get(name).unwrap_or_default().to_owned();
        let order = natural(&value(a), &value(b));
        if order != Ordering::Equal {
            return order;
        }
    }
    a.cmp(b)
}

/// Runs of digits compare by their value: "4m5" comes before "4m600".
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (left, rest_a) = run(a);
        let (right, rest_b) = run(b);
        if left.is_empty() || right.is_empty() {
            return left.len().cmp(&right.len());
        }
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let order = if digits(left) && digits(right) {
            let (x, y) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then_with(|| left.len().cmp(&right.len()))
        } else {
            left.cmp(right)
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The leading digits, or all before the first digit, and the rest.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}
