//! Functions of range vectors: each window becomes one value. What comes in: a frame of windows.
//! What goes out: an instant vector. What is never true: a value for a series without samples in
//! the window.

use std::sync::Arc;

use super::EvalError;
use super::aggregate::{larger, quantile, smaller};
use super::ast::{Expr, Span};
use super::edges::anchored;
use super::evaluate::Evaluator;
use super::kahan::{Mean, Sum, Variance};
use super::rate::{Change, Input, changes, resets};
use super::starts::Starts;
use super::value::{Element, Frame};
use crate::number::{f64_from_i64, f64_from_usize};
use crate::series::{Sample, SampleValue};

/// The scalar arguments beside the range vector.
type Params = [f64; 2];

impl<'q> Evaluator<'q> {
    /// Calls a function with one range vector among its arguments.
    pub(super) fn over_windows(
        &self,
        function: &str,
        args: &'q [Expr],
        t: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let is_window = |arg: &&Expr| arg.value_type() == super::ast::Type::Matrix;
        let Some(matrix) = args.iter().find(is_window) else { return Ok(Vec::new()) };
        let mut params = [0.0; 2];
        let scalars = args.iter().filter(|arg| !is_window(arg));
        for (slot, arg) in params.iter_mut().zip(scalars) {
            *slot = self.scalar(arg, t)?;
        }
        if function == "quantile_over_time" {
            let span = args.first().map_or(Span::default(), |arg| arg.span);
            self.check_quantile(params[0], span);
        }
        if matches!(function, "double_exponential_smoothing" | "holt_winters") {
            check_smoothing(params)?;
        }
        let frame = self.frame(matrix, t)?;
        let keeps_name = matches!(function, "last_over_time" | "first_over_time");
        let mut out = Vec::new();
        for window in frame.windows.iter().filter(|window| !window.samples.is_empty()) {
            self.interrupt.check()?;
            let name = window.labels.name();
            let n_samples = window.n_samples.max(window.samples.len());
            let (samples, starts, span) = (&window.samples, window.starts, matrix.span);
            let input = Input { samples, starts, n_samples, name, span };
            let value = self.window_value(function, input, params, (t, &frame));
            out.extend(value.map(|value| Element {
                labels: Arc::clone(&window.labels),
                drop_name: window.drop_name || !keeps_name,
                t,
                value,
            }));
        }
        Ok(out)
    }

    fn window_value(
        &self,
        function: &str,
        input: Input<'_>,
        params: Params,
        (t, frame): (i64, &Frame<'_>),
    ) -> Option<SampleValue> {
        let samples = input.samples;
        let value = match function {
            "rate" => return self.rate(Change::Rate, input, frame),
            "increase" => return self.rate(Change::Increase, input, frame),
            "delta" => return self.rate(Change::Delta, input, frame),
            "irate" => return self.instant_change(Change::Rate, input),
            "idelta" => return self.instant_change(Change::Delta, input),
            "deriv" => return self.line(input, None),
            "predict_linear" => return self.line(input, Some((t, params[0]))),
            "sum_over_time" | "avg_over_time" => return self.total_over_time(function, input),
            "last_over_time" => return samples.last().map(|sample| sample.value.clone()),
            "first_over_time" => return samples.first().map(|sample| sample.value.clone()),
            "count_over_time" => f64_from_usize(samples.len()),
            "present_over_time" => 1.0,
            "resets" => {
                let input = anchored(input, frame)?;
                resets(input.samples, &Starts::new(input.samples, input.starts))
            }
            "changes" => changes(anchored(input, frame)?.samples),
            "ts_of_last_over_time" => seconds(samples.last()?.t),
            "ts_of_first_over_time" => seconds(samples.first()?.t),
            _ => return self.floats_over_time(function, input, params),
        };
        Some(SampleValue::Float(value))
    }

    /// Functions that leave histograms out.
    fn floats_over_time(
        &self,
        function: &str,
        input: Input<'_>,
        params: Params,
    ) -> Option<SampleValue> {
        let points: Vec<(i64, f64)> = input.floats().collect();
        let (first_t, first) = *points.first()?;
        if points.len() < input.samples.len() {
            self.ignored_histograms(input);
        }
        let floats = || points.iter().map(|(_, x)| *x);
        let value = match function {
            "min_over_time" => floats().fold(first, smaller),
            "max_over_time" => floats().fold(first, larger),
            "stddev_over_time" => variance(floats()).sqrt(),
            "stdvar_over_time" => variance(floats()),
            "quantile_over_time" => quantile(params[0], floats().collect()),
            "mad_over_time" => {
                // A NaN would otherwise only count as a small value.
                if floats().any(f64::is_nan) {
                    return Some(SampleValue::Float(f64::NAN));
                }
                let median = quantile(0.5, floats().collect());
                quantile(0.5, floats().map(|x| (x - median).abs()).collect())
            }
            "ts_of_min_over_time" => time_of(&points, (first_t, first), |x, best| x <= best),
            "ts_of_max_over_time" => time_of(&points, (first_t, first), |x, best| x >= best),
            "double_exponential_smoothing" | "holt_winters" => smoothed(floats(), params)?,
            _ => return None,
        };
        Some(SampleValue::Float(value))
    }

    fn total_over_time(&self, function: &str, input: Input<'_>) -> Option<SampleValue> {
        let mut n_floats = 0;
        let (mut sum, mut mean) = (Sum::default(), Mean::default());
        for (_, x) in input.floats() {
            n_floats += 1;
            sum.add(x);
            mean.add(x);
        }
        let average = function == "avg_over_time";
        if n_floats == 0 {
            let values = input.samples.iter().map(|sample| &sample.value);
            return self.accumulate(values, average.then_some(()), input.span, input.name);
        }
        if n_floats < input.samples.len() {
            self.notes.mixed(input.span, input.name);
            return None;
        }
        Some(SampleValue::Float(if average { mean.mean() } else { sum.total() }))
    }
}

fn seconds(millis: i64) -> f64 {
    f64_from_i64(millis) / 1000.0
}

fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let mut variance = Variance::default();
    for x in values {
        variance.add(x);
    }
    variance.variance()
}

/// When the extreme was, the last time that it was; NaN gives way to any number.
fn time_of(points: &[(i64, f64)], first: (i64, f64), better: impl Fn(f64, f64) -> bool) -> f64 {
    let mut best = first;
    for (t, x) in points {
        if better(*x, best.1) || best.1.is_nan() {
            best = (*t, *x);
        }
    }
    seconds(best.0)
}

fn check_smoothing([smoothing, trend]: Params) -> Result<(), EvalError> {
    for (value, what) in [(smoothing, "smoothing"), (trend, "trend")] {
        if !(value > 0.0 && value < 1.0) {
            return Err(EvalError::Execution(format!(
                "invalid {what} factor. Expected: 0 < {} < 1, got: {value:.6}",
                if what == "trend" { "tf" } else { "sf" }
            )));
        }
    }
    Ok(())
}

/// Holt's linear method: level and trend, each smoothed with its factor.
fn smoothed(mut values: impl Iterator<Item = f64>, [smoothing, trend]: Params) -> Option<f64> {
    let mut level = values.next()?;
    let mut slope = None;
    for x in values {
        // The first difference is the first slope.
        let rise = slope.unwrap_or(x - level);
        let next = smoothing * x + (1.0 - smoothing) * (level + rise);
        slope = Some(trend * (next - level) + (1.0 - trend) * rise);
        level = next;
    }
    slope.map(|_| level)
}

/// Whether any window has a sample.
pub(super) fn any_present(frame: &Frame<'_>) -> bool {
    frame.windows.iter().any(|window| window.samples.iter().any(|_: &Sample| true))
}
