//! Functions that change labels or the order of elements. What is never true: two elements with
//! the same labels in a result; that is an error.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::EvalError;
use super::aggregate::ascending;
use super::ast::Expr;
use super::check::text_of;
use super::evaluate::Evaluator;
use super::value::Element;
use crate::signal::{Labels, METRIC_NAME};

impl<'q> Evaluator<'q> {
    pub(super) fn label_replace(
        &self,
        args: &'q [Expr],
        t: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let mut elements = self.first_vector(args, t)?;
        let text = |at: usize| args.get(at).map_or("", text_of);
        let (target, replacement, source, pattern) = (text(1), text(2), text(3), text(4));
        let regex = self.pattern(pattern).map_err(|_| {
            EvalError::Execution(format!(
                "invalid regular expression in label_replace(): {pattern}"
            ))
        })?;
        check_target(target, "label_replace")?;
        for element in &mut elements {
            let value = element.labels.get(source).unwrap_or_default();
            let Some(captures) = regex.captures(value) else { continue };
            let mut expanded = String::new();
            captures.expand(replacement, &mut expanded);
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
        for element in &mut elements {
            let value = |name: &&str| element.labels.get(name).unwrap_or_default();
            let joined = sources.iter().map(value).collect::<Vec<_>>().join(separator);
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

fn unique(elements: Vec<Element>) -> Result<Vec<Element>, EvalError> {
    let mut seen = HashSet::new();
    if elements.iter().all(|element| seen.insert(Arc::clone(&element.labels))) {
        return Ok(elements);
    }
    let message = "vector cannot contain metrics with the same labelset";
    Err(EvalError::Execution(message.to_owned()))
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
