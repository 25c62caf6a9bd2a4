//! Binary operators: on scalars, elements, and vectors whose elements have to find each other.
//! What is never true: a result that depends on which of two matching elements came first; more
//! than one match is an error.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::EvalError;
use super::ast::{Binary, BinaryOp, Card, Expr, MatchBy, Matching, Span};
use super::distribution::{Keep, trim};
use super::evaluate::Evaluator;
use super::histogram::{add, compact, divide, equal, multiply, subtract};
use super::text::quote;
use super::value::{Element, Value, without_identity};
use crate::series::{Histogram, SampleValue};
use crate::signal::{Labels, METRIC_NAME, Text};

/// A binary operator's result for one pair; `keep` is what a comparison found.
struct Outcome {
    value: SampleValue,
    keep: bool,
}

/// What one pair asks for: the operator, its place, and what to do with comparisons.
#[derive(Clone, Copy)]
struct Operation<'q> {
    binary: &'q Binary,
    span: Span,
}

impl<'q> Evaluator<'q> {
    pub(super) fn binary(&self, expr: &'q Expr, t: i64) -> Result<Value<'_>, EvalError> {
        let (first, chain) = expr.chain();
        let mut left = self.eval(first, t)?;
        for (binary, span) in chain {
            let right = self.eval(&binary.right, t)?;
            left = self.named(self.applied(Operation { binary, span }, left, right)?)?;
        }
        Ok(left)
    }

    fn applied<'v>(
        &self,
        operation: Operation<'_>,
        left: Value<'v>,
        right: Value<'v>,
    ) -> Result<Value<'v>, EvalError> {
        let binary = operation.binary;
        match (left, right) {
            (Value::Scalar(x), Value::Scalar(y)) => Ok(Value::Scalar(scalars(binary.op, x, y))),
            (Value::Vector(elements), Value::Scalar(y)) => {
                let elements = elements.iter().filter_map(|element| {
                    let outcome = self.pair(operation, &element.value, &float(y))?;
                    finish(operation, element, outcome)
                });
                Ok(Value::Vector(elements.collect()))
            }
            (Value::Scalar(x), Value::Vector(elements)) => {
                let elements = elements.iter().filter_map(|element| {
                    let mut outcome = self.pair(operation, &float(x), &element.value)?;
                    if binary.op.is_comparison() {
                        // The vector's value is the one to keep, on either side.
                        outcome.value = element.value.clone();
                    }
                    finish(operation, element, outcome)
                });
                Ok(Value::Vector(elements.collect()))
            }
            (Value::Vector(left), Value::Vector(right)) => {
                let by = &binary.matching.by;
                Ok(Value::Vector(match binary.op {
                    BinaryOp::And => intersection(left, &right, by),
                    BinaryOp::Or => union(left, right, by),
                    BinaryOp::Unless => difference(left, &right, by),
                    _ => self.matched(operation, left, right)?,
                }))
            }
            _ => Ok(Value::Vector(Vec::new())),
        }
    }

    /// Applies the operator to one pair; nothing where their kinds do not go together.
    fn pair(
        &self,
        operation: Operation<'_>,
        left: &SampleValue,
        right: &SampleValue,
    ) -> Option<Outcome> {
        use SampleValue::{Float, Histogram};
        let op = operation.binary.op;
        let outcome = match (left, right) {
            (Float(x), Float(y)) => floats(op, *x, *y),
            (Float(x), Histogram(h)) if op == BinaryOp::Mul => Some(computed(multiply(h, *x))),
            (Histogram(h), Float(x)) => histogram_and_float(op, h, *x),
            (Histogram(g), Histogram(h)) => match op {
                BinaryOp::Equal => Some(Outcome { value: left.clone(), keep: equal(g, h) }),
                BinaryOp::NotEqual => Some(Outcome { value: left.clone(), keep: !equal(g, h) }),
                BinaryOp::Add | BinaryOp::Sub => return self.histograms(operation, g, h),
                _ => None,
            },
            (Float(_), Histogram(_)) => None,
        };
        if outcome.is_none() {
            let kind = |value: &SampleValue| match value {
                Float(_) => "float",
                Histogram(_) => "histogram",
            };
            let symbol = op.symbol();
            let message = format!(
                "incompatible sample types encountered for binary operator {symbol:?}: {} {symbol} \
                 {}",
                kind(left),
                kind(right)
            );
            self.notes.info(operation.span, &message);
        }
        outcome
    }

    fn histograms(
        &self,
        operation: Operation<'_>,
        left: &Histogram,
        right: &Histogram,
    ) -> Option<Outcome> {
        let adds = operation.binary.op == BinaryOp::Add;
        let combined = if adds { add(left, right) } else { subtract(left, right) };
        let word = if adds { "addition" } else { "subtraction" };
        let Ok(combined) = combined else {
            self.notes.mixed_schemas(operation.span, "");
            return None;
        };
        if combined.bounds_reconciled {
            self.notes.reconciled(operation.span, word);
        }
        if combined.resets_conflict {
            self.notes.resets_conflict(operation.span, word);
        }
        Some(computed(combined.histogram))
    }

    fn matched(
        &self,
        operation: Operation<'_>,
        left: Vec<Element>,
        right: Vec<Element>,
    ) -> Result<Vec<Element>, EvalError> {
        let matching = &operation.binary.matching;
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if !fills && (left.is_empty() || right.is_empty()) {
            return Ok(Vec::new());
        }
        let swapped = matching.card == Card::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        // Upstream turns the operands around for `group_right` but not what fills them, and its
        // tests hold it to that: `fill_left` is for the many side, wherever that stands.
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let (many_id, one_id) = if swapped {
            (operation.binary.right.id, operation.binary.left.id)
        } else {
            (operation.binary.left.id, operation.binary.right.id)
        };
        let key_of = |id: usize, element: &Element| {
            self.derived.get(id, &element.labels, |labels| signature(labels, &matching.by))
        };
        let one_keys: Vec<Arc<Labels>> = one.iter().map(|e| key_of(one_id, e)).collect();
        let index = unique(&one, &one_keys, matching)?;
        let mut join = Join {
            evaluator: self,
            operation,
            swapped,
            seen: HashMap::new(),
            purpose: usize::MAX - 1 - many_id,
            out: Vec::new(),
        };
        for element in &many {
            let key = key_of(many_id, element);
            let found = index.get(&key).and_then(|at| one.get(*at));
            let filled = fill_one.map(|x| Element::float(Arc::clone(&key), x));
            if let Some(other) = found.or(filled.as_ref()) {
                join.add(key, element, other)?;
            }
        }
        if let Some(x) = fill_many {
            for (element, key) in one.iter().zip(one_keys) {
                if !join.seen.contains_key(&key) {
                    let filled = Element::float(Arc::clone(&key), x);
                    join.add(key, &filled, element)?;
                }
            }
        }
        Ok(join.out)
    }
}

/// The elements of two vectors coming together.
struct Join<'e, 'q> {
    evaluator: &'e Evaluator<'q>,
    operation: Operation<'e>,
    /// The many side is the right one.
    swapped: bool,
    /// Labels of results by match group.
    seen: HashMap<Arc<Labels>, HashSet<Arc<Labels>>>,
    /// Names the making of result labels among the purposes of [`Derived`](super::derived::Derived).
    purpose: usize,
    out: Vec<Element>,
}

impl Join<'_, '_> {
    fn add(&mut self, key: Arc<Labels>, many: &Element, one: &Element) -> Result<(), EvalError> {
        let binary = self.operation.binary;
        let grouped = binary.matching.card != Card::OneToOne;
        let labels = if grouped {
            Arc::new(result_labels(binary, &many.labels, &one.labels))
        } else {
            let make = |labels: &Labels| result_labels(binary, labels, &one.labels);
            self.evaluator.derived.get(self.purpose, &many.labels, make)
        };
        let seen = self.seen.entry(key).or_default();
        let again = if grouped { !seen.insert(Arc::clone(&labels)) } else { !seen.is_empty() };
        if again {
            let why = if grouped {
                "grouping labels must ensure unique matches"
            } else {
                "many-to-one matching must be explicit (group_left/group_right)"
            };
            return Err(EvalError::Execution(format!("multiple matches for labels: {why}")));
        }
        if !grouped {
            seen.insert(Arc::clone(&labels));
        }
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        let Some(outcome) = self.evaluator.pair(self.operation, &left.value, &right.value) else {
            return Ok(());
        };
        let keeps_name = binary.op.is_comparison() || binary.op.is_trim();
        let drop_name = keeps_name && many.drop_name;
        let element = Element { labels, drop_name, t: many.t, value: many.value.clone() };
        if let Some(mut element) = finish(self.operation, &element, outcome) {
            element.drop_name &= keeps_name;
            self.out.push(element);
        }
        Ok(())
    }
}

fn result_labels(binary: &Binary, many: &Labels, one: &Labels) -> Labels {
    let matching = &binary.matching;
    let changes_meaning = !binary.op.is_comparison() && !binary.op.is_trim();
    let mut labels = if changes_meaning { without_identity(many) } else { many.clone() };
    if matching.card == Card::OneToOne {
        labels = match &matching.by {
            MatchBy::On(on) => labels.filtered(|name| has(on, name)),
            MatchBy::Ignoring(ignored) => labels.filtered(|name| !has(ignored, name)),
        };
    }
    for name in &matching.include {
        labels = labels.with(name, one.get(name).unwrap_or_default());
    }
    labels
}

fn has(names: &[Text], name: &str) -> bool {
    names.iter().any(|n| &**n == name)
}

/// The labels that decide which elements belong together.
fn signature(labels: &Labels, by: &MatchBy) -> Labels {
    match by {
        MatchBy::On(on) => labels.filtered(|name| has(on, name)),
        MatchBy::Ignoring(ignored) => {
            labels.filtered(|name| name != METRIC_NAME && !has(ignored, name))
        }
    }
}

/// The elements of the "one" side by signature.
fn unique(
    one: &[Element],
    keys: &[Arc<Labels>],
    matching: &Matching,
) -> Result<HashMap<Arc<Labels>, usize>, EvalError> {
    let mut index: HashMap<Arc<Labels>, usize> = HashMap::with_capacity(one.len());
    for (at, (element, key)) in one.iter().zip(keys).enumerate() {
        let Some(first) = index.insert(Arc::clone(key), at) else { continue };
        let first = one.get(first).map(|other| braced(&other.labels)).unwrap_or_default();
        let mut both = [first, braced(&element.labels)];
        both.sort();
        let side = if matching.card == Card::OneToMany { "left" } else { "right" };
        return Err(EvalError::Execution(format!(
            "found duplicate series for the match group {key} on the {side} hand-side of the \
             operation: [{}];many-to-many matching not allowed: matching labels must be unique on \
             one side",
            both.join(", ")
        )));
    }
    Ok(index)
}

/// Labels with the name among them, as Prometheus's errors show them.
fn braced(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", quote(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn keys(elements: &[Element], by: &MatchBy) -> HashSet<Labels> {
    elements.iter().map(|element| signature(&element.labels, by)).collect()
}

fn intersection(mut left: Vec<Element>, right: &[Element], by: &MatchBy) -> Vec<Element> {
    let keys = keys(right, by);
    left.retain(|element| keys.contains(&signature(&element.labels, by)));
    left
}

fn difference(mut left: Vec<Element>, right: &[Element], by: &MatchBy) -> Vec<Element> {
    let keys = keys(right, by);
    left.retain(|element| !keys.contains(&signature(&element.labels, by)));
    left
}

fn union(mut left: Vec<Element>, right: Vec<Element>, by: &MatchBy) -> Vec<Element> {
    let keys = keys(&left, by);
    left.extend(right.into_iter().filter(|e| !keys.contains(&signature(&e.labels, by))));
    left
}

/// The element that a pair leaves, if any.
fn finish(operation: Operation<'_>, element: &Element, outcome: Outcome) -> Option<Element> {
    let Binary { op, returns_bool, .. } = *operation.binary;
    if returns_bool {
        return Some(element.computed(float(if outcome.keep { 1.0 } else { 0.0 })));
    }
    if !outcome.keep {
        return None;
    }
    let mut finished = element.computed(outcome.value);
    if op.is_comparison() || op.is_trim() {
        finished.drop_name = element.drop_name;
    }
    Some(finished)
}

fn float(x: f64) -> SampleValue {
    SampleValue::Float(x)
}

fn computed(mut h: Histogram) -> Outcome {
    compact(&mut h);
    Outcome { value: SampleValue::Histogram(Arc::new(h)), keep: true }
}

fn histogram_and_float(op: BinaryOp, h: &Histogram, x: f64) -> Option<Outcome> {
    let h = match op {
        BinaryOp::Mul => multiply(h, x),
        BinaryOp::Div => divide(h, x),
        BinaryOp::TrimUpper => trim(h, x, Keep::Below),
        BinaryOp::TrimLower => trim(h, x, Keep::Above),
        _ => return None,
    };
    Some(computed(h))
}

fn arithmetic(op: BinaryOp, x: f64, y: f64) -> Option<f64> {
    Some(match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::Mod => x % y,
        BinaryOp::Pow => x.powf(y),
        BinaryOp::Atan2 => x.atan2(y),
        _ => return None,
    })
}

#[expect(clippy::float_cmp, reason = "the operators compare exactly")]
fn comparison(op: BinaryOp, x: f64, y: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Equal => x == y,
        BinaryOp::NotEqual => x != y,
        BinaryOp::Greater => x > y,
        BinaryOp::Less => x < y,
        BinaryOp::GreaterEqual => x >= y,
        BinaryOp::LessEqual => x <= y,
        _ => return None,
    })
}

fn floats(op: BinaryOp, x: f64, y: f64) -> Option<Outcome> {
    if let Some(keep) = comparison(op, x, y) {
        return Some(Outcome { value: float(x), keep });
    }
    arithmetic(op, x, y).map(|value| Outcome { value: float(value), keep: true })
}

/// Between scalars a comparison answers 0 or 1.
fn scalars(op: BinaryOp, x: f64, y: f64) -> f64 {
    match comparison(op, x, y) {
        Some(true) => 1.0,
        Some(false) => 0.0,
        None => arithmetic(op, x, y).unwrap_or(f64::NAN),
    }
}
