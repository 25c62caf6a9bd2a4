//! Function calls: which code answers for which function, and the functions of single elements.
//! What comes in: checked arguments. What goes out: a value of the function's type. What is never
//! true: a histogram passed through a function of floats; it is left out.

use std::f64::consts::{LN_2, PI};
use std::sync::Arc;

use super::EvalError;
use super::ast::{Expr, Kind};
use super::calendar::calendar;
use super::evaluate::Evaluator;
use super::over_time::any_present;
use super::signature::Function;
use super::value::{Element, Value};
use crate::number::f64_from_i64;
use crate::series::{MatchOp, SampleValue};
use crate::signal::{Labels, METRIC_NAME};

impl<'q> Evaluator<'q> {
    pub(super) fn call(
        &self,
        (expr, function): (&'q Expr, &'static Function),
        args: &'q [Expr],
        t: i64,
    ) -> Result<Value<'_>, EvalError> {
        use super::ast::Type;
        let name = function.name;
        if function.returns == Type::Scalar {
            return self.scalar_call(name, args, t).map(Value::Scalar);
        }
        let elements = match name {
            "absent_over_time" => self.absent_over_time(args, t)?,
            _ if args.iter().any(|arg| arg.value_type() == Type::Matrix) => {
                self.over_windows(name, args, t)?
            }
            "vector" => {
                let x = args.first().map_or(Ok(f64::NAN), |arg| self.scalar(arg, t))?;
                vec![Element::float(Arc::default(), x)]
            }
            "timestamp" => self.timestamp(args, t)?,
            "start_timestamp" => self.start_timestamp(args, t)?,
            "absent" => self.absent(args, t)?,
            "info" => self.join_info(expr.id, args, t)?,
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                self.sorted((expr, name), args, t)?
            }
            "label_replace" => self.label_replace(args, t)?,
            "label_join" => self.label_join(args, t)?,
            _ if name.starts_with("histogram_") => self.histogram_call(name, args, t)?,
            "minute" | "hour" | "day_of_month" | "day_of_week" | "day_of_year"
            | "days_in_month" | "month" | "year" => self.dates(name, args, t)?,
            _ => self.each(name, args, t)?,
        };
        Ok(Value::Vector(elements))
    }

    /// The vector that is the first argument.
    pub(super) fn first_vector(&self, args: &'q [Expr], t: i64) -> Result<Vec<Element>, EvalError> {
        args.first().map_or(Ok(Vec::new()), |arg| self.vector(arg, t))
    }

    fn scalar_call(&self, name: &str, args: &'q [Expr], t: i64) -> Result<f64, EvalError> {
        let seconds = |millis: i64| f64_from_i64(millis) / 1000.0;
        let range = self.range;
        Ok(match name {
            "time" => seconds(t),
            "pi" => PI,
            "step" => seconds(range.step),
            "range" => seconds(range.end.saturating_sub(range.start)),
            "start" => seconds(range.start),
            "end" => seconds(range.end),
            "min_of" | "max_of" => {
                let [x, y] = args else { return Ok(f64::NAN) };
                let (x, y) = (self.scalar(x, t)?, self.scalar(y, t)?);
                if x.is_nan() || y.is_nan() {
                    f64::NAN
                } else if name == "min_of" {
                    x.min(y)
                } else {
                    x.max(y)
                }
            }
            _ => {
                let elements = self.first_vector(args, t)?;
                let mut floats = elements.iter().filter_map(Element::as_float);
                match (floats.next(), floats.next()) {
                    (Some(x), None) => x,
                    _ => f64::NAN,
                }
            }
        })
    }

    /// Functions of one float each.
    fn each(&self, name: &str, args: &'q [Expr], t: i64) -> Result<Vec<Element>, EvalError> {
        let mut params = [0.0; 2];
        for (slot, arg) in params.iter_mut().zip(args.iter().skip(1)) {
            *slot = self.scalar(arg, t)?;
        }
        if name == "round" && args.len() < 2 {
            params[0] = 1.0;
        }
        let elements = self.first_vector(args, t)?;
        if name == "clamp" && params[0] > params[1] {
            return Ok(Vec::new());
        }
        let computed = elements.iter().filter_map(|element| {
            let x = float_function(name, element.as_float()?, params)?;
            Some(element.computed(SampleValue::Float(x)))
        });
        Ok(computed.collect())
    }

    fn timestamp(&self, args: &'q [Expr], t: i64) -> Result<Vec<Element>, EvalError> {
        // Only a selector's samples have a time of their own.
        let is_selector =
            args.first().is_some_and(|arg| matches!(arg.unwrapped().kind, Kind::Selector(_)));
        let elements = self.first_vector(args, t)?;
        let computed = elements.iter().map(|element| {
            let time = if is_selector { element.t } else { t };
            element.computed(SampleValue::Float(f64_from_i64(time) / 1000.0))
        });
        Ok(computed.collect())
    }

    /// Since when the samples of a selector count; nothing of any other expression, nor where storage
    /// keeps no start timestamps.
    fn start_timestamp(&self, args: &'q [Expr], t: i64) -> Result<Vec<Element>, EvalError> {
        let Some(arg) = args.first().map(Expr::unwrapped) else { return Ok(Vec::new()) };
        let Kind::Selector(selector) = &arg.kind else { return Ok(Vec::new()) };
        let t = self.shifted(&selector.shift, t)?;
        let told = self.series_of(arg.id).iter().filter_map(|series| {
            let at = self.newest(series, t)?;
            let start = f64_from_i64(*series.starts.get(at)?) / 1000.0;
            let element = Element::float(Arc::clone(&series.labels), start);
            Some(Element { drop_name: true, ..element })
        });
        Ok(told.collect())
    }

    fn absent(&self, args: &'q [Expr], t: i64) -> Result<Vec<Element>, EvalError> {
        if self.first_vector(args, t)?.is_empty() {
            return Ok(vec![Element::float(Arc::new(absent_labels(args)), 1.0)]);
        }
        Ok(Vec::new())
    }

    fn absent_over_time(&self, args: &'q [Expr], t: i64) -> Result<Vec<Element>, EvalError> {
        let Some(matrix) = args.first() else { return Ok(Vec::new()) };
        if any_present(&self.frame(matrix, t)?) {
            return Ok(Vec::new());
        }
        Ok(vec![Element::float(Arc::new(absent_labels(args)), 1.0)])
    }

    fn dates(&self, name: &str, args: &'q [Expr], t: i64) -> Result<Vec<Element>, EvalError> {
        if args.is_empty() {
            let x = calendar(name, f64_from_i64(t) / 1000.0);
            return Ok(vec![Element::float(Arc::default(), x)]);
        }
        let elements = self.first_vector(args, t)?;
        let computed = elements.iter().filter_map(|element| {
            let x = calendar(name, element.as_float()?);
            Some(element.computed(SampleValue::Float(x)))
        });
        Ok(computed.collect())
    }
}

/// The labels that a selector asks for by equality, each once.
fn absent_labels(args: &[Expr]) -> Labels {
    let selector = args.first().map(|arg| &arg.unwrapped().kind);
    let Some(Kind::Selector(selector) | Kind::Window { selector, .. }) = selector else {
        return Labels::default();
    };
    let mut seen: Vec<&str> = Vec::new();
    let mut labels = Labels::default();
    for matcher in &selector.matchers {
        if &*matcher.name == METRIC_NAME {
            continue;
        }
        if matcher.op == MatchOp::Equal && !seen.contains(&&*matcher.name) {
            seen.push(&matcher.name);
            labels = labels.with(&matcher.name, &matcher.value);
        } else {
            labels = labels.without(&matcher.name);
        }
    }
    labels
}

fn float_function(name: &str, x: f64, [a, b]: [f64; 2]) -> Option<f64> {
    Some(match name {
        "abs" => x.abs(),
        "ceil" => x.ceil(),
        "floor" => x.floor(),
        "exp" => x.exp(),
        "ln" => x.ln(),
        "log2" => x.log2(),
        "log10" => x.log10(),
        "sqrt" => x.sqrt(),
        "sgn" => {
            if x == 0.0 || x.is_nan() {
                x
            } else {
                x.signum()
            }
        }
        "round" => round_to(x, a),
        "clamp" => at_least(at_most(x, b), a),
        "clamp_min" => at_least(x, a),
        "clamp_max" => at_most(x, a),
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tan" => x.tan(),
        "asin" => x.asin(),
        "acos" => x.acos(),
        "atan" => x.atan(),
        "sinh" => x.sinh(),
        "cosh" => x.cosh(),
        "tanh" => x.tanh(),
        // Their squares and doubles would be infinite.
        "asinh" if x.abs() > LARGE => (x.abs().ln() + LN_2).copysign(x),
        "acosh" if x > LARGE => x.ln() + LN_2,
        "asinh" => x.asinh(),
        "acosh" => x.acosh(),
        "atanh" => x.atanh(),
        "rad" => x * PI / 180.0,
        "deg" => x * 180.0 / PI,
        _ => return None,
    })
}

/// Half goes up. The inverse is taken first, since 1/0.1 is exact and 0.1 is not.
fn round_to(x: f64, to_nearest: f64) -> f64 {
    let inverse = 1.0 / to_nearest;
    (x * inverse + 0.5).floor() / inverse
}

/// Beyond it `ln(2x)` is all that is left of an inverse hyperbolic function, to the last bit.
const LARGE: f64 = 268_435_456.0;

/// The lesser, as Go's `math.Min` has it: minus infinity whatever the other is, else NaN if one is.
fn at_most(x: f64, max: f64) -> f64 {
    let is_least = |x: f64| x.is_infinite() && x < 0.0;
    if is_least(x) || is_least(max) {
        f64::NEG_INFINITY
    } else if x.is_nan() || max.is_nan() {
        f64::NAN
    } else {
        x.min(max)
    }
}

/// The larger, as Go's `math.Max` has it.
fn at_least(x: f64, min: f64) -> f64 {
    -at_most(-x, -min)
}
