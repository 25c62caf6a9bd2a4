//! The function `info`: adds labels of info series (by default `target_info`) to the elements of a
//! vector, joined by `instance` and `job`. What is never true: a label of the element overwritten.

use std::sync::Arc;

use super::EvalError;
use super::ast::{Expr, Kind, Shift};
use super::evaluate::Evaluator;
use super::value::Element;
use crate::series::{MatchOp, Matcher};
use crate::signal::{Labels, METRIC_NAME};

/// Labels that say which series belong together (`identifyingLabels` in `promql/info.go`).
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The metric whose labels are added where none is named.
const TARGET_INFO: &str = "target_info";

impl<'q> Evaluator<'q> {
    pub(super) fn join_info(
        &self,
        id: usize,
        args: &'q [Expr],
        t: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let elements = self.first_vector(args, t)?;
        let matchers = written_matchers(args);
        let (names, data): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| &*matcher.name == METRIC_NAME);
        let infos = self.select_at(id, self.info_time(args, t)?);
        if let Some(info) = infos.iter().find(|info| info.as_float().is_none()) {
            let message = format!("info metrics should be float type, but {} is not", info.labels);
            return Err(EvalError::Execution(message));
        }
        let mut out = Vec::with_capacity(elements.len());
        for element in elements {
            if is_info(&element.labels, &names) {
                out.push(element);
            } else if let Some(labels) = enriched(&element.labels, &infos, &data)? {
                out.push(Element { labels: Arc::new(labels), ..element });
            }
        }
        Ok(out)
    }

    /// Info series are read at the time at which the vector's own selector reads.
    pub(super) fn info_time(&self, args: &'q [Expr], t: i64) -> Result<i64, EvalError> {
        args.first().and_then(first_shift).map_or(Ok(t), |shift| self.shifted(shift, t))
    }
}

/// The shift of the first selector in the text.
fn first_shift(expr: &Expr) -> Option<&Shift> {
    match &expr.kind {
        Kind::Selector(selector) | Kind::Window { selector, .. } => Some(&selector.shift),
        _ => expr.children().into_iter().find_map(first_shift),
    }
}

fn written_matchers(args: &[Expr]) -> &[Matcher] {
    match args.get(1).map(|arg| &arg.unwrapped().kind) {
        Some(Kind::Selector(selector)) => &selector.matchers,
        _ => &[],
    }
}

/// What selects the info series of a call.
pub(super) fn info_matchers(args: &[Expr]) -> Vec<Matcher> {
    let mut matchers = written_matchers(args).to_vec();
    let names: Vec<MatchOp> =
        matchers.iter().filter(|m| &*m.name == METRIC_NAME).map(|m| m.op).collect();
    if names.is_empty() {
        matchers.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
    } else if !names.iter().any(|op| matches!(op, MatchOp::Equal | MatchOp::Regex)) {
        // A name that is only ruled out leaves the other info metrics. The pattern is valid.
        matchers.extend(Matcher::new(METRIC_NAME, MatchOp::Regex, ".+_info"));
    }
    matchers
}

/// Info series themselves stay as they are.
fn is_info(labels: &Labels, names: &[&Matcher]) -> bool {
    if names.is_empty() {
        return labels.name() == TARGET_INFO;
    }
    names.iter().all(|matcher| matcher.matches(labels.name()))
        && names.iter().any(|m| matches!(m.op, MatchOp::Equal | MatchOp::Regex))
}

/// The labels with those of the info series added; nothing where a matcher asks for a label that
/// none has.
fn enriched(
    labels: &Labels,
    infos: &[Element],
    data: &[&Matcher],
) -> Result<Option<Labels>, EvalError> {
    let belongs =
        |info: &&Element| IDENTIFYING.iter().all(|name| info.labels.get(name) == labels.get(name));
    let mut added: Vec<(&str, &str)> = Vec::new();
    let mut newest: Vec<&Element> = Vec::new();
    for info in infos.iter().filter(belongs) {
        match newest.iter_mut().find(|other| other.labels.name() == info.labels.name()) {
            Some(other) if other.t < info.t => *other = info,
            Some(other) if other.t == info.t => {
                return Err(EvalError::Execution(format!(
                    "found duplicate series for info metric: {} and {}",
                    other.labels, info.labels
                )));
            }
            Some(_) => {}
            None => newest.push(info),
        }
    }
    let wanted = |name: &str| data.is_empty() || data.iter().any(|m| &*m.name == name);
    for (name, value) in newest.iter().flat_map(|info| info.labels.iter()) {
        if name == METRIC_NAME || IDENTIFYING.contains(&name) || !wanted(name) {
            continue;
        }
        match added.iter().find(|(other, _)| *other == name) {
            Some((_, other)) if *other != value => {
                let message = format!("conflicting label: {name}");
                return Err(EvalError::Execution(message));
            }
            Some(_) => {}
            None => added.push((name, value)),
        }
    }
    if newest.is_empty() && data.iter().any(|matcher| !matcher.matches("")) {
        return Ok(None);
    }
    let mut enriched = labels.clone();
    for (name, value) in added {
        if labels.get(name).is_none() {
            enriched = enriched.with(name, value);
        }
    }
    Ok(Some(enriched))
}
