//! The evaluator. What comes in: a checked tree, the samples of its selectors, one time. What goes
//! out: the value at that time. What is never true: a read of storage while evaluating; every
//! selector is fetched once, for all steps of the query.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use regex::Regex;

use super::ast::{At, BinaryOp, DurationExpr, Edges, Expr, Kind, Shift, Type};
use super::columns::Columns;
use super::derived::Derived;
use super::fetch::Scope;
use super::limits::{Held, Interrupt};
use super::notes::Notes;
use super::stats::Reads;
use super::subquery::Memo;
use super::tally::Tally;
use super::value::{Element, Frame, IDENTITY, Series, Value, Window};
use super::{Answer, EvalError, Options, Output, Query, Range, Select};
use crate::go_regex::{self, Room};
use crate::number::{f64_from_i64, i64_from_f64};
use crate::series::windows::within;
use crate::series::{RawSeries, STALE_NAN_BITS, Sample, SampleValue, SelectError};
use crate::signal::Labels;

/// Points of one series in an answer, as in Prometheus's API.
const STEPS_MAX: i64 = 11_000;

/// Stands for the labels of an answer among the purposes of [`Derived`], which are node ids else.
const SHOWN: usize = usize::MAX;

pub(super) struct Evaluator<'q> {
    pub(super) range: Range,
    pub(super) notes: Notes<'q>,
    pub(super) interrupt: Interrupt,
    pub(super) lookback: i64,
    samples_max: usize,
    pub(super) samples_left: Cell<usize>,
    pub(super) series_left: Cell<usize>,
    pub(super) series_max: usize,
    pub(super) steps_left: Cell<usize>,
    pub(super) steps_max: usize,
    pub(super) held: Held,
    /// Series by the id of their selector.
    pub(super) data: Vec<Vec<Series>>,
    /// Nodes that were worked out at all steps, by their id.
    pub(super) columns: Vec<Option<Columns>>,
    pub(super) memo: RefCell<Memo>,
    pub(super) derived: Derived,
    /// Compiled patterns of `label_replace`, as many as the query has.
    patterns: RefCell<BTreeMap<String, Regex>>,
    pattern_room: RefCell<Room>,
    pub(super) delayed_name_removal: bool,
    pub(super) tally: Option<Tally>,
    /// Subqueries that are being evaluated, each within the one before; one that is the whole query does
    /// not count.
    pub(super) within_subqueries: Cell<i64>,
}

pub(super) fn instant(
    query: &Query,
    at: i64,
    options: &Options,
    select: &Select<'_>,
) -> Result<Answer, EvalError> {
    let range = Range { start: at, end: at, step: 0 };
    let evaluator = Evaluator::new(query, range, options, select)?;
    let output = match evaluator.eval(query.expr(), at)? {
        Value::Scalar(x) => Output::Scalar(at, x),
        Value::Text(text) => Output::String(at, text),
        Value::Vector(elements) => Output::Vector(vector(elements, at)?),
        Value::Matrix(frame) => Output::Matrix(matrix(frame)?),
    };
    evaluator.tally_up(query.expr())?;
    Ok(evaluator.notes.answer(output))
}

pub(super) fn range(
    query: &Query,
    range: Range,
    options: &Options,
    select: &Select<'_>,
) -> Result<Answer, EvalError> {
    check_steps(range)?;
    let expr = query.expr();
    if !matches!(expr.value_type(), Type::Scalar | Type::Vector) {
        return Err(EvalError::Invalid(format!(
            "invalid expression type {:?} for range query, must be Scalar or instant Vector",
            expr.value_type().documented()
        )));
    }
    let mut evaluator = Evaluator::new(query, range, options, select)?;
    if range.start < range.end {
        evaluator.precompute(expr)?;
        if let Some(whole) = evaluator.whole(expr)? {
            evaluator.tally_up(expr)?;
            return Ok(evaluator.notes.answer(Output::Matrix(whole)));
        }
    }
    let mut steps = Steps::default();
    let mut t = range.start;
    while t <= range.end {
        evaluator.add_step(expr, t, &mut steps)?;
        let Some(next) = t.checked_add(range.step.max(1)) else { break };
        t = next;
    }
    let output = Output::Matrix(steps.sorted());
    evaluator.tally_up(expr)?;
    Ok(evaluator.notes.answer(output))
}

/// The series of a range query as they grow.
#[derive(Default)]
struct Steps {
    places: HashMap<Arc<Labels>, usize, RandomState>,
    series: Vec<(Arc<Labels>, Vec<Sample>)>,
}

impl Steps {
    fn push(&mut self, labels: Arc<Labels>, sample: Sample) -> Result<(), EvalError> {
        let place = *self.places.entry(Arc::clone(&labels)).or_insert(self.series.len());
        if place == self.series.len() {
            self.series.push((labels, Vec::new()));
        }
        let Some((_, samples)) = self.series.get_mut(place) else { return Ok(()) };
        if samples.last().is_some_and(|last| last.t == sample.t) {
            return Err(same_labels());
        }
        samples.push(sample);
        Ok(())
    }

    fn sorted(self) -> Vec<RawSeries> {
        let raw = |(labels, samples): (Arc<Labels>, Vec<Sample>)| {
            let labels = Arc::unwrap_or_clone(labels);
            RawSeries::new(labels, samples)
        };
        drop(self.places);
        let mut series: Vec<RawSeries> = self.series.into_iter().map(raw).collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        series
    }
}

fn check_steps(range: Range) -> Result<(), EvalError> {
    let problem = if range.end < range.start {
        "the end of the range is before its start"
    } else if range.start == range.end {
        return Ok(());
    } else if range.step <= 0 {
        "zero or negative query resolution step widths are not accepted; try a positive integer"
    } else if range.end.saturating_sub(range.start) / range.step > STEPS_MAX {
        "exceeded maximum resolution of 11,000 points per timeseries; try decreasing the query \
         resolution (?step=XX)"
    } else {
        return Ok(());
    };
    Err(EvalError::Execution(problem.to_owned()))
}

pub(super) fn same_labels() -> EvalError {
    EvalError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

fn vector(elements: Vec<Element>, t: i64) -> Result<Vec<RawSeries>, EvalError> {
    let mut seen = std::collections::HashSet::new();
    let mut series = Vec::with_capacity(elements.len());
    for element in elements {
        let labels = element.shown_labels();
        if !seen.insert(labels.clone()) {
            return Err(same_labels());
        }
        series.push(RawSeries::new(labels, vec![Sample { t, value: element.value }]));
    }
    Ok(series)
}

fn matrix(frame: Frame<'_>) -> Result<Vec<RawSeries>, EvalError> {
    let mut series = BTreeMap::new();
    for window in frame.windows {
        let samples = window.samples.into_owned();
        let labels = super::value::shown(&window.labels, window.drop_name);
        if !samples.is_empty() && series.insert(labels, samples).is_some() {
            return Err(same_labels());
        }
    }
    let series = series.into_iter().map(|(labels, samples)| RawSeries::new(labels, samples));
    Ok(series.collect())
}

impl<'q> Evaluator<'q> {
    fn new(
        query: &'q Query,
        range: Range,
        options: &Options,
        select: &Select<'_>,
    ) -> Result<Self, EvalError> {
        let mut evaluator = Self {
            range,
            notes: Notes::new(query.text()),
            lookback: i64::try_from(options.lookback.as_millis()).unwrap_or(i64::MAX),
            interrupt: options.interrupt.clone(),
            samples_max: options.samples_max,
            samples_left: Cell::new(options.samples_max),
            series_left: Cell::new(options.series_max),
            series_max: options.series_max,
            steps_left: Cell::new(options.subquery_steps_max),
            steps_max: options.subquery_steps_max,
            held: Held::new(options.pool.clone()),
            data: Vec::new(),
            columns: Vec::new(),
            memo: RefCell::default(),
            derived: Derived::default(),
            patterns: RefCell::default(),
            pattern_room: RefCell::default(),
            delayed_name_removal: options.delayed_name_removal,
            tally: options.tally.clone(),
            within_subqueries: Cell::new(match query.expr().unwrapped().kind {
                Kind::Subquery { .. } => -1,
                _ => 0,
            }),
        };
        let mut wanted = Vec::new();
        let scope = Scope {
            times: (range.start, range.end),
            step: Some(range.step),
            reads: Reads::Everything,
        };
        evaluator.collect(query.expr(), scope, &mut wanted)?;
        for selector in wanted {
            evaluator.fetch(&selector, select)?;
        }
        Ok(evaluator)
    }

    /// Counts samples that the query holds.
    pub(super) fn spend(&self, n: usize) -> Result<(), EvalError> {
        self.room_for_samples(n)?;
        self.held.take(n)?;
        self.samples_left.set(self.samples_left.get() - n);
        Ok(())
    }

    /// Whether the query may hold so many more.
    pub(super) fn room_for_samples(&self, n: usize) -> Result<(), EvalError> {
        if n > self.samples_left.get() {
            return Err(self.too_many_samples());
        }
        Ok(())
    }

    pub(super) fn too_many_samples(&self) -> EvalError {
        SelectError::TooManySamples { max: self.samples_max }.into()
    }

    // Times.

    fn seconds(&self, expr: &DurationExpr) -> f64 {
        match expr {
            DurationExpr::Seconds(seconds) => *seconds,
            DurationExpr::Step => f64_from_i64(self.range.step) / 1000.0,
            DurationExpr::Range => {
                f64_from_i64(self.range.end.saturating_sub(self.range.start)) / 1000.0
            }
            DurationExpr::Sign { negative: true, inner } => -self.seconds(inner),
            DurationExpr::Paren(inner) | DurationExpr::Sign { inner, .. } => self.seconds(inner),
            DurationExpr::Smaller(left, right) => self.seconds(left).min(self.seconds(right)),
            DurationExpr::Larger(left, right) => self.seconds(left).max(self.seconds(right)),
            DurationExpr::Binary { op, left, right } => {
                let (left, right) = (self.seconds(left), self.seconds(right));
                match op {
                    BinaryOp::Add => left + right,
                    BinaryOp::Sub => left - right,
                    BinaryOp::Mul => left * right,
                    BinaryOp::Div => left / right,
                    BinaryOp::Mod => left % right,
                    BinaryOp::Pow => left.powf(right),
                    _ => f64::NAN,
                }
            }
        }
    }

    fn millis(&self, expr: &DurationExpr) -> Result<i64, EvalError> {
        let millis = (self.seconds(expr) * 1000.0).round();
        if !(-9.2e18..9.2e18).contains(&millis) {
            return Err(EvalError::Invalid(format!("duration {expr} is out of range")));
        }
        Ok(i64_from_f64(millis))
    }

    pub(super) fn positive(&self, expr: &DurationExpr) -> Result<i64, EvalError> {
        let millis = self.millis(expr)?;
        if millis <= 0 {
            return Err(EvalError::Invalid("duration must be greater than 0".to_owned()));
        }
        Ok(millis)
    }

    /// Where a selector with `shift` looks at time `t`.
    pub(super) fn shifted(&self, shift: &Shift, t: i64) -> Result<i64, EvalError> {
        let t = match shift.at {
            Some(At::Time(time)) => time,
            Some(At::Start) => self.range.start,
            Some(At::End) => self.range.end,
            None => t,
        };
        match &shift.offset {
            Some(offset) => Ok(t.saturating_sub(self.millis(offset)?)),
            None => Ok(t),
        }
    }

    /// Compiles a pattern that matches whole values, once a query.
    pub(super) fn pattern(&self, pattern: &str) -> Result<Regex, go_regex::Error> {
        if let Some(regex) = self.patterns.borrow().get(pattern) {
            return Ok(regex.clone());
        }
        let regex = go_regex::captures_within(pattern, &mut self.pattern_room.borrow_mut())?;
        self.patterns.borrow_mut().insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }

    // Values.

    fn add_step(&self, expr: &'q Expr, t: i64, steps: &mut Steps) -> Result<(), EvalError> {
        let elements = match self.eval(expr, t)? {
            Value::Scalar(x) => vec![Element::float(Arc::default(), x)],
            Value::Vector(elements) => elements,
            Value::Text(_) | Value::Matrix(_) => Vec::new(),
        };
        self.spend(elements.len())?;
        for element in elements {
            let labels = if element.drop_name {
                self.shown(&element.labels)
            } else {
                Arc::clone(&element.labels)
            };
            steps.push(labels, Sample { t, value: element.value })?;
        }
        Ok(())
    }

    pub(super) fn eval(&self, expr: &'q Expr, t: i64) -> Result<Value<'_>, EvalError> {
        self.interrupt.check()?;
        if let Some(elements) = self.at_step(expr.id, t) {
            return Ok(Value::Vector(elements));
        }
        self.named(self.eval_node(expr, t)?)
    }

    /// A node's value as the node around it sees it: without names that no longer hold, where these go
    /// at once.
    pub(super) fn named<'v>(&self, value: Value<'v>) -> Result<Value<'v>, EvalError> {
        match value {
            Value::Vector(elements) if !self.delayed_name_removal => {
                Ok(Value::Vector(self.without_names(elements)?))
            }
            value => Ok(value),
        }
    }

    /// Drops the names that no longer hold; series that nothing else told apart are an error.
    fn without_names(&self, mut elements: Vec<Element>) -> Result<Vec<Element>, EvalError> {
        if !elements.iter().any(|element| element.drop_name) {
            return Ok(elements);
        }
        let is_of_one = |pair: &[Element]| match pair {
            [a, b] => IDENTITY.iter().all(|name| a.labels.get(name) == b.labels.get(name)),
            _ => true,
        };
        let are_of_one = elements.windows(2).all(is_of_one);
        for element in elements.iter_mut().filter(|element| element.drop_name) {
            element.labels = self.shown(&element.labels);
            element.drop_name = false;
        }
        // Of one metric they differ in what is left.
        if are_of_one { Ok(elements) } else { super::labelling::unique(elements) }
    }

    /// The labels without the name, made once.
    pub(super) fn shown(&self, labels: &Arc<Labels>) -> Arc<Labels> {
        self.derived.get(SHOWN, labels, super::value::without_identity)
    }

    fn eval_node(&self, expr: &'q Expr, t: i64) -> Result<Value<'_>, EvalError> {
        match &expr.kind {
            Kind::Number(x) => Ok(Value::Scalar(*x)),
            Kind::Text(text) => Ok(Value::Text(text.clone())),
            Kind::Unary { negative: true, inner } => self.negated(inner, t),
            Kind::Paren(inner) | Kind::Unary { inner, .. } => self.eval(inner, t),
            Kind::Selector(selector) => {
                let t = self.shifted(&selector.shift, t)?;
                Ok(Value::Vector(if selector.edges == Edges::Smoothed {
                    self.smoothed_at(self.series_of(expr.id), t, expr.span)
                } else {
                    self.select_at(expr.id, t)
                }))
            }
            Kind::Window { .. } | Kind::Subquery { .. } => Ok(Value::Matrix(self.frame(expr, t)?)),
            Kind::Call { function, args } => self.call((expr, function), args, t),
            Kind::Aggregate(aggregate) => Ok(Value::Vector(self.aggregate(aggregate, t)?)),
            Kind::Binary(_) => self.binary(expr, t),
        }
    }

    fn negated(&self, inner: &'q Expr, t: i64) -> Result<Value<'_>, EvalError> {
        match self.eval(inner, t)? {
            Value::Scalar(x) => Ok(Value::Scalar(-x)),
            Value::Vector(mut elements) => {
                for element in &mut elements {
                    element.drop_name = true;
                    element.value = match &element.value {
                        SampleValue::Float(x) => SampleValue::Float(-x),
                        SampleValue::Histogram(h) => {
                            SampleValue::Histogram(Arc::new(super::histogram::multiply(h, -1.0)))
                        }
                    };
                }
                Ok(Value::Vector(elements))
            }
            other => Ok(other),
        }
    }

    pub(super) fn scalar(&self, expr: &'q Expr, t: i64) -> Result<f64, EvalError> {
        Ok(match self.eval(expr, t)? {
            Value::Scalar(x) => x,
            _ => f64::NAN,
        })
    }

    pub(super) fn vector(&self, expr: &'q Expr, t: i64) -> Result<Vec<Element>, EvalError> {
        Ok(match self.eval(expr, t)? {
            Value::Vector(elements) => elements,
            _ => Vec::new(),
        })
    }

    /// The newest sample of each series within the lookback; its own time is kept with it.
    pub(super) fn select_at(&self, id: usize, t: i64) -> Vec<Element> {
        let newest = |series: &Series| {
            let sample = series.samples.get(self.newest(series, t)?)?;
            let value = sample.value.clone();
            let labels = Arc::clone(&series.labels);
            Some(Element { labels, drop_name: false, t: sample.t, value })
        };
        self.series_of(id).iter().filter_map(newest).collect()
    }

    /// Where the sample is that an instant selector finds at `t`.
    pub(super) fn newest(&self, series: &Series, t: i64) -> Option<usize> {
        let n = series.samples.partition_point(|sample| sample.t <= t);
        let at = n.checked_sub(1)?;
        let sample = series.samples.get(at)?;
        let is_old = sample.t <= t.saturating_sub(self.lookback);
        (!is_old && !is_stale(&sample.value)).then_some(at)
    }

    pub(super) fn series_of(&self, id: usize) -> &[Series] {
        self.data.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    // Ranges.

    /// The samples that a range vector has at `t`; series without any are left out.
    pub(super) fn frame(&self, expr: &'q Expr, t: i64) -> Result<Frame<'_>, EvalError> {
        let unwrapped = expr.unwrapped();
        match &unwrapped.kind {
            Kind::Window { selector, range } => {
                let end = self.shifted(&selector.shift, t)?;
                let start = end.saturating_sub(self.positive(range)?);
                let edges = selector.edges;
                let before = if edges == Edges::Within { 0 } else { self.lookback };
                let after = if edges == Edges::Smoothed { self.lookback } else { 0 };
                let (from, to) = (start.saturating_sub(before), end.saturating_add(after));
                let windows = self.windows(unwrapped.id, from, to);
                Ok(Frame { start, end, edges, windows })
            }
            Kind::Subquery { inner, .. } => {
                let range = self.subquery_range(unwrapped, t)?;
                let windows = self.subquery(inner, range)?;
                let Range { start, end, .. } = range;
                Ok(Frame { start, end, edges: Edges::Within, windows })
            }
            _ => {
                let (start, end, edges) = (t, t, Edges::Within);
                Ok(Frame { start, end, edges, windows: Vec::new() })
            }
        }
    }

    fn windows(&self, id: usize, start: i64, end: i64) -> Vec<Window<'_>> {
        let mut windows = Vec::new();
        for series in self.series_of(id) {
            let first = series.samples.partition_point(|sample| sample.t <= start);
            let last = series.samples.partition_point(|sample| sample.t <= end);
            let samples = series.samples.get(first..last).unwrap_or_default();
            if !samples.is_empty() {
                let labels = Arc::clone(&series.labels);
                let seconds = series.seconds.as_deref();
                let n_samples = seconds.map_or(samples.len(), |all| within(all, start, end).len());
                let (samples, drop_name) = (samples.into(), false);
                let starts = series.starts.get(first..last).unwrap_or_default();
                windows.push(Window { labels, drop_name, samples, starts, n_samples });
            }
        }
        windows
    }
}

pub(super) fn is_stale(value: &SampleValue) -> bool {
    match value {
        SampleValue::Float(x) => x.to_bits() == STALE_NAN_BITS,
        SampleValue::Histogram(h) => h.sum.to_bits() == STALE_NAN_BITS,
    }
}
