//! Aggregations over the elements of an instant vector. What comes in: elements and a grouping.
//! What goes out: one element a group, or some of the group's own elements. What is never true: a
//! group's result that depends on elements of another group.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::EvalError;
use super::ast::{Aggregate, AggregateOp, Expr, Grouping, Span};
use super::check::text_of;
use super::evaluate::Evaluator;
use super::histogram::{Accumulator, is_custom, text};
use super::kahan::{Mean, Sum};
use super::text::{plain_number, short_number};
use super::value::Element;
use crate::number::{f64_from_u64, f64_from_usize, i64_from_f64, usize_from_f64};
use crate::series::{CounterReset, SampleValue};
use crate::signal::{Labels, METRIC_NAME, Text};

/// Elements that aggregate to one; the name goes if that of any of them has to.
struct Group {
    labels: Arc<Labels>,
    drop_name: bool,
    elements: Vec<Element>,
}

impl<'q> Evaluator<'q> {
    pub(super) fn aggregate(
        &self,
        aggregate: &'q Aggregate,
        t: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let param = match &aggregate.param {
            Some(param) if aggregate.op != AggregateOp::CountValues => self.scalar(param, t)?,
            _ => 0.0,
        };
        let param_expr = aggregate.param.as_ref();
        self.check_param(aggregate.op, param, param_expr)?;
        let elements = self.vector(&aggregate.inner, t)?;
        if aggregate.op == AggregateOp::CountValues {
            let label = param_expr.map_or("", text_of);
            return Ok(count_values(elements, &aggregate.grouping, label));
        }
        let groups = self.groups(elements, aggregate);
        let span = aggregate.inner.span;
        let mut out = Vec::new();
        for group in groups {
            match aggregate.op {
                AggregateOp::Topk
                | AggregateOp::Bottomk
                | AggregateOp::Limitk
                | AggregateOp::LimitRatio => {
                    out.extend(self.some_of(aggregate.op, group.elements, param, span));
                }
                op => {
                    let value = self.reduced(op, &group.elements, param, span);
                    let labels = group.labels;
                    out.extend(value.map(|value| Element {
                        labels,
                        drop_name: group.drop_name,
                        t,
                        value,
                    }));
                }
            }
        }
        Ok(out)
    }

    /// Groups in the order of their first elements.
    fn groups(&self, elements: Vec<Element>, aggregate: &Aggregate) -> Vec<Group> {
        if aggregate.grouping == Grouping::All {
            if elements.is_empty() {
                return Vec::new();
            }
            let drop_name = elements.iter().any(|element| element.drop_name);
            return vec![Group { labels: Arc::default(), drop_name, elements }];
        }
        let mut places: HashMap<Arc<Labels>, usize, RandomState> = HashMap::default();
        let mut groups: Vec<Group> = Vec::new();
        for element in elements {
            let make = |labels: &Labels| group_labels(labels, &aggregate.grouping);
            let labels = self.derived.get(aggregate.inner.id, &element.labels, make);
            let place = *places.entry(Arc::clone(&labels)).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Group { labels, drop_name: false, elements: Vec::new() });
            }
            if let Some(group) = groups.get_mut(place) {
                group.drop_name |= element.drop_name;
                group.elements.push(element);
            }
        }
        groups
    }

    fn check_param(
        &self,
        op: AggregateOp,
        param: f64,
        expr: Option<&Expr>,
    ) -> Result<(), EvalError> {
        let error = |message: String| Err(EvalError::Execution(message));
        let span = expr.map_or(Span::default(), |expr| expr.span);
        match op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
                if param.is_nan() {
                    return error("Parameter value is NaN".to_owned());
                }
                if param.abs() >= 9.2e18 {
                    let word = if param > 0.0 { "overflows" } else { "underflows" };
                    return error(format!("Scalar value {} {word} int64", short_number(param)));
                }
            }
            AggregateOp::LimitRatio => {
                if param.is_nan() {
                    return error("Ratio value is NaN".to_owned());
                }
                if param.abs() > 1.0 {
                    let message = format!(
                        "ratio value should be between -1 and 1, got {}, capping to {}",
                        short_number(param),
                        param.signum()
                    );
                    self.notes.warn(span, &message);
                }
            }
            AggregateOp::Quantile => self.check_quantile(param, span),
            AggregateOp::CountValues if expr.map_or("", text_of).is_empty() => {
                return error("invalid label name \"\"".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn check_quantile(&self, q: f64, span: Span) {
        if q.is_nan() || !(0.0..=1.0).contains(&q) {
            let message =
                format!("quantile value should be between 0 and 1, got {}", short_number(q));
            self.notes.warn(span, &message);
        }
    }

    /// The floats of a group, and a note where histograms were left out.
    fn floats(&self, elements: &[Element], word: &str, span: Span) -> Vec<f64> {
        let floats: Vec<f64> = elements.iter().filter_map(Element::as_float).collect();
        if floats.len() < elements.len() {
            self.notes.info(span, &format!("ignored histogram in {word} aggregation"));
        }
        floats
    }

    fn reduced(
        &self,
        op: AggregateOp,
        elements: &[Element],
        param: f64,
        span: Span,
    ) -> Option<SampleValue> {
        let n = f64_from_usize(elements.len());
        let value = match op {
            AggregateOp::Count => n,
            AggregateOp::Group => 1.0,
            AggregateOp::Sum | AggregateOp::Avg => return self.total(op, elements, span),
            _ => {
                let floats = self.floats(elements, op.word(), span);
                let first = *floats.first()?;
                match op {
                    AggregateOp::Min => floats.iter().fold(first, |a, b| smaller(a, *b)),
                    AggregateOp::Max => floats.iter().fold(first, |a, b| larger(a, *b)),
                    AggregateOp::Stddev => variance(&floats).sqrt(),
                    AggregateOp::Stdvar => variance(&floats),
                    AggregateOp::Quantile => quantile(param, floats),
                    _ => return None,
                }
            }
        };
        Some(SampleValue::Float(value))
    }

    fn total(&self, op: AggregateOp, elements: &[Element], span: Span) -> Option<SampleValue> {
        let floats: Vec<f64> = elements.iter().filter_map(Element::as_float).collect();
        if floats.is_empty() {
            return self.histogram_total(op, elements, span);
        }
        if floats.len() < elements.len() {
            let message = "encountered a mix of histograms and floats for aggregation";
            self.notes.warn(span, message);
            return None;
        }
        Some(SampleValue::Float(if op == AggregateOp::Sum {
            let mut sum = Sum::default();
            for x in floats {
                sum.add(x);
            }
            sum.total()
        } else {
            let mut mean = Mean::default();
            for x in floats {
                mean.add(x);
            }
            mean.mean()
        }))
    }

    fn histogram_total(
        &self,
        op: AggregateOp,
        elements: &[Element],
        span: Span,
    ) -> Option<SampleValue> {
        let values = elements.iter().map(|element| &element.value);
        let average = op == AggregateOp::Avg;
        let name = elements.first().map_or("", |element| element.labels.name());
        self.accumulate(values, average.then_some(()), span, name)
    }

    /// The sum, or the mean if `average` is set, of histograms.
    pub(super) fn accumulate<'v>(
        &self,
        values: impl Iterator<Item = &'v SampleValue>,
        average: Option<()>,
        span: Span,
        name: &str,
    ) -> Option<SampleValue> {
        let mut total: Option<Accumulator> = None;
        let mut custom = false;
        let (mut some_reset, mut some_not) = (false, false);
        for value in values {
            let SampleValue::Histogram(h) = value else { continue };
            some_reset |= h.counter_reset == CounterReset::Yes;
            some_not |= h.counter_reset == CounterReset::No;
            let Some(total) = &mut total else {
                custom = is_custom(h);
                total = Some(Accumulator::new(h));
                continue;
            };
            let met = if average.is_some() { total.add_to_mean(h) } else { total.add(h) };
            let (Ok(met), true) = (met, is_custom(h) == custom) else {
                self.notes.mixed_schemas(span, name);
                return None;
            };
            if met.bounds_reconciled {
                self.notes.reconciled(span, "aggregation");
            }
        }
        if some_reset && some_not {
            self.notes.resets_conflict(span, "aggregation");
        }
        let total = total?;
        let mut h = if average.is_some() { total.mean()? } else { total.total()? };
        super::histogram::compact(&mut h);
        Some(SampleValue::Histogram(Arc::new(h)))
    }

    fn some_of(
        &self,
        op: AggregateOp,
        mut elements: Vec<Element>,
        param: f64,
        span: Span,
    ) -> Vec<Element> {
        if op == AggregateOp::LimitRatio {
            elements.retain(|element| in_ratio(&element.labels, param.clamp(-1.0, 1.0)));
            return elements;
        }
        let k = if i64_from_f64(param) < 1 { 0 } else { usize_from_f64(param) };
        if op != AggregateOp::Limitk && k > 0 {
            let _ = self.floats(&elements, op.word(), span);
            elements.retain(|element| element.as_float().is_some());
            let sign = if op == AggregateOp::Topk { -1.0 } else { 1.0 };
            elements.sort_by(|a, b| {
                let value = |e: &Element| e.as_float().map_or(f64::NAN, |x| x * sign);
                ascending(value(a), value(b))
            });
        }
        elements.truncate(k);
        elements
    }
}

/// NaN last.
pub(super) fn ascending(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    }
}

pub(super) fn group_labels(labels: &Labels, grouping: &Grouping) -> Labels {
    let has = |names: &[Text], name: &str| names.iter().any(|n| &**n == name);
    match grouping {
        Grouping::All => Labels::default(),
        Grouping::By(names) => labels.filtered(|name| has(names, name)),
        Grouping::Without(names) => {
            labels.filtered(|name| name != METRIC_NAME && !has(names, name))
        }
    }
}

/// Each element's value becomes a label, and then the elements of each label set are counted.
fn count_values(elements: Vec<Element>, grouping: &Grouping, label: &str) -> Vec<Element> {
    let mut counts: BTreeMap<Labels, (usize, bool)> = BTreeMap::new();
    for element in elements {
        let value = match &element.value {
            SampleValue::Float(x) => plain_number(*x),
            SampleValue::Histogram(h) => text(h),
        };
        let labels = match grouping {
            // The new label goes as well where it is named.
            Grouping::Without(_) => group_labels(&element.labels.with(label, &value), grouping),
            _ => group_labels(&element.labels, grouping).with(label, &value),
        };
        let (n, drop_name) = counts.entry(labels).or_default();
        *n += 1;
        *drop_name |= element.drop_name && label != METRIC_NAME;
    }
    let counted = |(labels, (n, drop_name))| Element {
        drop_name,
        ..Element::float(Arc::new(labels), f64_from_usize(n))
    };
    counts.into_iter().map(counted).collect()
}

/// Whether a series belongs to the share `ratio` of all series, or for a negative ratio to the
/// complement of `1 + ratio`; the series' hash decides, so that it is the same in every step.
fn in_ratio(labels: &Labels, ratio: f64) -> bool {
    let hash = u64::try_from(labels.fingerprint() >> 64).unwrap_or(u64::MAX);
    let place = f64_from_u64(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)) / f64_from_u64(u64::MAX);
    if ratio >= 0.0 { place < ratio || ratio >= 1.0 } else { place >= 1.0 + ratio }
}

pub(super) fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || b < a { b } else { a }
}

pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b > a { b } else { a }
}

/// The population variance, by Welford's method.
fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares, mut n) = (0.0, 0.0, 0.0);
    for x in values {
        if !x.is_finite() {
            return f64::NAN;
        }
        n += 1.0;
        let delta = x - mean;
        mean += delta / n;
        squares += delta * (x - mean);
    }
    squares / n
}

/// The quantile between the two nearest ranks; NaN is smaller than any number.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (a, b) => b.cmp(&a),
    });
    let last = values.len() - 1;
    let rank = q * f64_from_usize(last);
    let lower = usize_from_f64(rank.floor()).min(last);
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    at(lower) * (1.0 - weight) + at(upper) * weight
}
