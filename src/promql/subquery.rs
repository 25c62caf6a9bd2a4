//! Subqueries: an expression at many times, as the window of a function.
//!
//! In: the expression, the range and the step that are written. Out: a window for each series that it gave.
//! Never true: an expression that is evaluated twice at one time, however many windows hold it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{Expr, Kind};
use super::evaluate::{Evaluator, same_labels};
use super::value::{Element, Value, Window};
use super::{EvalError, Range};
use crate::series::{Sample, SampleValue};
use crate::signal::Labels;

/// Evaluations of one subquery at one time.
const SUBQUERY_STEPS_MAX: i64 = 1_000_000;

/// Milliseconds between evaluations of a subquery that names no step; Prometheus takes the global
/// evaluation interval, whose default is a minute.
const SUBQUERY_STEP_DEFAULT: i64 = 60_000;

/// What a subquery's inner expression was at times already asked for.
pub(super) type Memo = HashMap<(usize, i64), Rc<Vec<Element>>>;

impl<'q> Evaluator<'q> {
    /// Between which times a subquery is evaluated for `t`, and how far these lie apart.
    pub(super) fn subquery_range(&self, expr: &Expr, t: i64) -> Result<Range, EvalError> {
        let Kind::Subquery { range, step, shift, .. } = &expr.kind else {
            return Ok(Range { start: t, end: t, step: 1 });
        };
        let end = self.shifted(shift, t)?;
        let start = end.saturating_sub(self.positive(range)?);
        let step = match step {
            Some(step) => self.positive(step)?,
            None => SUBQUERY_STEP_DEFAULT,
        };
        Ok(Range { start, end, step })
    }

    /// When the inner expression of a subquery that is a whole query is evaluated.
    pub(super) fn times_of_subquery(&self, expr: &Expr) -> Result<Vec<i64>, EvalError> {
        let range = self.subquery_range(expr, self.range.start)?;
        let next = |t: &i64| t.checked_add(range.step).filter(|t| *t <= range.end);
        let first = Some(first_step(range)).filter(|t| *t <= range.end);
        Ok(std::iter::successors(first, next).collect())
    }

    /// What the inner expression is at the multiples of the step in `(start, end]`.
    pub(super) fn subquery(
        &self,
        inner: &'q Expr,
        range: Range,
    ) -> Result<Vec<Window<'_>>, EvalError> {
        let n_around = self.within_subqueries.get();
        self.within_subqueries.set(n_around + 1);
        let windows = self.evaluated(inner, range)?;
        self.within_subqueries.set(n_around);
        self.tally_windows(&windows);
        Ok(windows)
    }

    fn evaluated(&self, inner: &'q Expr, range: Range) -> Result<Vec<Window<'_>>, EvalError> {
        let Range { end, step, .. } = range;
        let mut t = first_step(range);
        if end.saturating_sub(t) / step > SUBQUERY_STEPS_MAX {
            let message = format!("a subquery would take more than {SUBQUERY_STEPS_MAX} steps");
            return Err(EvalError::Execution(message));
        }
        let mut places: HashMap<Arc<Labels>, usize> = HashMap::new();
        let mut windows: Vec<Window<'_>> = Vec::new();
        while t <= end {
            let elements = self.remembered(inner, t)?;
            let left = self.steps_left.get().checked_sub(elements.len() + 1);
            self.steps_left.set(left.ok_or(EvalError::TooManySteps { max: self.steps_max })?);
            for element in elements.iter() {
                let labels = Arc::clone(&element.labels);
                let place = *places.entry(labels).or_insert(windows.len());
                if place == windows.len() {
                    windows.push(Window {
                        labels: Arc::clone(&element.labels),
                        drop_name: false,
                        samples: Vec::new().into(),
                        starts: &[],
                        n_samples: 0,
                    });
                }
                let Some(window) = windows.get_mut(place) else { continue };
                window.drop_name |= element.drop_name;
                let samples = window.samples.to_mut();
                if samples.last().is_some_and(|last| last.t == t) {
                    return Err(same_labels());
                }
                samples.push(Sample { t, value: without_reset(&element.value) });
            }
            let Some(next) = t.checked_add(step) else { break };
            t = next;
        }
        Ok(windows)
    }

    fn remembered(&self, expr: &'q Expr, t: i64) -> Result<Rc<Vec<Element>>, EvalError> {
        let key = (expr.id, t);
        if let Some(elements) = self.memo.borrow().get(&key) {
            return Ok(Rc::clone(elements));
        }
        let elements = match self.eval(expr, t)? {
            Value::Vector(elements) => elements,
            Value::Scalar(x) => vec![Element::float(Arc::default(), x)],
            Value::Text(_) | Value::Matrix(_) => Vec::new(),
        };
        // An empty vector takes its place in the memo too.
        self.spend(elements.len().max(1))?;
        let elements = Rc::new(elements);
        self.memo.borrow_mut().insert(key, Rc::clone(&elements));
        Ok(elements)
    }
}

/// The first multiple of the step after the start.
fn first_step(Range { start, step, .. }: Range) -> i64 {
    let t = (start / step).saturating_mul(step);
    if t <= start { t.saturating_add(step) } else { t }
}

/// What storage knew about resets holds between neighbours, and a subquery may skip or repeat
/// samples, so resets are looked for anew.
fn without_reset(value: &SampleValue) -> SampleValue {
    use crate::series::CounterReset::{Gauge, Unknown};
    match value {
        SampleValue::Histogram(h) if h.counter_reset != Gauge && h.counter_reset != Unknown => {
            let histogram = crate::series::Histogram { counter_reset: Unknown, ..(**h).clone() };
            SampleValue::Histogram(Arc::new(histogram))
        }
        other => other.clone(),
    }
}
