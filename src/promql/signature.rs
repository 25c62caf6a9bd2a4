//! The functions of PromQL: names, argument and result types. What is never true: a function
//! listed here that the evaluator does not know (a test calls each of them).

use super::ast::Type;

/// How many arguments may follow the listed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    Exact,
    /// The last argument may be left out.
    LastOptional,
    /// The last argument may be left out, or repeated.
    Repeated,
    /// The last argument is given once or more.
    OneOrMore,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) args: &'static [Type],
    pub(crate) arity: Arity,
    pub(crate) returns: Type,
}

impl Function {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FUNCTIONS.iter().find(|function| function.name == name)
    }

    pub(crate) fn args_min(&self) -> usize {
        match self.arity {
            Arity::Exact | Arity::OneOrMore => self.args.len(),
            Arity::LastOptional | Arity::Repeated => self.args.len().saturating_sub(1),
        }
    }

    pub(crate) fn args_max(&self) -> Option<usize> {
        match self.arity {
            Arity::Exact | Arity::LastOptional => Some(self.args.len()),
            Arity::Repeated | Arity::OneOrMore => None,
        }
    }

    /// The type of argument `at`; a repeated last argument keeps its type.
    pub(crate) fn arg(&self, at: usize) -> Option<Type> {
        self.args.get(at).or(self.args.last()).copied()
    }
}

const S: Type = Type::Scalar;
const T: Type = Type::Text;
const V: Type = Type::Vector;
const M: Type = Type::Matrix;

const fn exact(name: &'static str, args: &'static [Type], returns: Type) -> Function {
    Function { name, args, arity: Arity::Exact, returns }
}

const fn of_vector(name: &'static str) -> Function {
    exact(name, &[V], V)
}

const fn of_matrix(name: &'static str) -> Function {
    exact(name, &[M], V)
}

const fn of_time(name: &'static str) -> Function {
    Function { name, args: &[V], arity: Arity::LastOptional, returns: V }
}

const fn with_arity(
    name: &'static str,
    args: &'static [Type],
    arity: Arity,
    returns: Type,
) -> Function {
    Function { name, args, arity, returns }
}

static FUNCTIONS: [Function; 91] = [
    of_vector("abs"),
    of_vector("absent"),
    of_matrix("absent_over_time"),
    of_vector("acos"),
    of_vector("acosh"),
    of_vector("asin"),
    of_vector("asinh"),
    of_vector("atan"),
    of_vector("atanh"),
    of_matrix("avg_over_time"),
    of_vector("ceil"),
    of_matrix("changes"),
    exact("clamp", &[V, S, S], V),
    exact("clamp_max", &[V, S], V),
    exact("clamp_min", &[V, S], V),
    of_vector("cos"),
    of_vector("cosh"),
    of_matrix("count_over_time"),
    of_time("day_of_month"),
    of_time("day_of_week"),
    of_time("day_of_year"),
    of_time("days_in_month"),
    of_vector("deg"),
    of_matrix("delta"),
    of_matrix("deriv"),
    exact("double_exponential_smoothing", &[M, S, S], V),
    exact("end", &[], S),
    of_vector("exp"),
    of_matrix("first_over_time"),
    of_vector("floor"),
    of_vector("histogram_avg"),
    of_vector("histogram_count"),
    exact("histogram_fraction", &[S, S, V], V),
    exact("histogram_quantile", &[S, V], V),
    with_arity("histogram_quantiles", &[V, T, S], Arity::OneOrMore, V),
    of_vector("histogram_stddev"),
    of_vector("histogram_stdvar"),
    of_vector("histogram_sum"),
    exact("holt_winters", &[M, S, S], V),
    of_time("hour"),
    of_matrix("idelta"),
    of_matrix("increase"),
    with_arity("info", &[V, V], Arity::LastOptional, V),
    of_matrix("irate"),
    with_arity("label_join", &[V, T, T, T], Arity::Repeated, V),
    exact("label_replace", &[V, T, T, T, T], V),
    of_matrix("last_over_time"),
    of_vector("ln"),
    of_vector("log10"),
    of_vector("log2"),
    of_matrix("mad_over_time"),
    exact("max_of", &[S, S], S),
    of_matrix("max_over_time"),
    exact("min_of", &[S, S], S),
    of_matrix("min_over_time"),
    of_time("minute"),
    of_time("month"),
    exact("pi", &[], S),
    exact("predict_linear", &[M, S], V),
    of_matrix("present_over_time"),
    exact("quantile_over_time", &[S, M], V),
    of_vector("rad"),
    exact("range", &[], S),
    of_matrix("rate"),
    of_matrix("resets"),
    with_arity("round", &[V, S], Arity::LastOptional, V),
    exact("scalar", &[V], S),
    of_vector("sgn"),
    of_vector("sin"),
    of_vector("sinh"),
    of_vector("sort"),
    with_arity("sort_by_label", &[V, T], Arity::Repeated, V),
    with_arity("sort_by_label_desc", &[V, T], Arity::Repeated, V),
    of_vector("sort_desc"),
    of_vector("sqrt"),
    exact("start", &[], S),
    of_vector("start_timestamp"),
    of_matrix("stddev_over_time"),
    of_matrix("stdvar_over_time"),
    exact("step", &[], S),
    of_matrix("sum_over_time"),
    of_vector("tan"),
    of_vector("tanh"),
    exact("time", &[], S),
    of_vector("timestamp"),
    of_matrix("ts_of_first_over_time"),
    of_matrix("ts_of_last_over_time"),
    of_matrix("ts_of_max_over_time"),
    of_matrix("ts_of_min_over_time"),
    exact("vector", &[S], V),
    of_time("year"),
];

/// Names of all functions.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}
