//! PromQL: lexer, parser with positions, evaluator.
//!
//! Text comes in; [`Query::parse`] answers with a checked tree or an error that has a place in the
//! text. A query reads samples only through the function that it is given, each selector once, and
//! answers in the shapes of the Prometheus HTTP API. The language is that of Prometheus 3.x with
//! `promql-delayed-name-removal` on. What is never true: a query that panics, overflows the stack,
//! or depends on the order of a hash map.

mod aggregate;
mod ast;
mod binary;
mod calendar;
mod call;
mod check;
mod classic;
mod derived;
mod description;
mod distribution;
mod evaluate;
mod histogram;
mod histogram_call;
mod info_join;
pub mod json;
mod kahan;
mod labelling;
mod lexer;
mod notes;
mod over_time;
mod parser;
mod print;
mod rate;
mod selectors;
mod signature;
mod text;
mod value;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod thinned_tests;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::series::{MatchOp, Matcher, RawSeries, SelectError, Selection};
use crate::signal::{METRIC_NAME, Timestamp};

use ast::{Expr, Kind};
pub use description::{parse_series_description, parse_series_labels};

/// When to evaluate. An instant query has `start == end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Milliseconds since the epoch.
    pub start: i64,
    pub end: i64,
    /// Milliseconds; ignored where `start == end`.
    pub step: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How far back an instant selector looks. Prometheus's default: 5 min.
    pub lookback: Duration,
    /// Samples that one query may hold: those it reads, those of its subqueries and its answer.
    pub samples_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { lookback: Duration::from_mins(5), samples_max: 50_000_000 }
    }
}

/// A result, in the shapes of the Prometheus HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Scalar(i64, f64),
    String(i64, String),
    /// Each series has one sample.
    Vector(Vec<RawSeries>),
    Matrix(Vec<RawSeries>),
}

/// A result and what to tell about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub output: Output,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

/// A parsed expression. It prints in canonical form, which parses to the same expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    text: String,
    expr: Expr,
}

/// `at` is a byte offset into the expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    pub at: usize,
    pub end: usize,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("{0}")]
    Execution(String),
    #[error(transparent)]
    Select(#[from] SelectError),
}

/// Reads the series of one selection.
pub type Select<'a> = dyn Fn(&Selection<'_>) -> Result<Vec<RawSeries>, SelectError> + 'a;

impl Query {
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let expr = parser::parse(text)?;
        Ok(Self { text: text.to_owned(), expr })
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Names of the metrics that its selectors name exactly, sorted, each once.
    pub fn metrics(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        let mut rest = vec![&self.expr];
        while let Some(expr) = rest.pop() {
            if let Kind::Selector(selector) | Kind::Window { selector, .. } = &expr.kind {
                let exact = selector
                    .matchers
                    .iter()
                    .filter(|m| &*m.name == METRIC_NAME && m.op == MatchOp::Equal);
                names.extend(exact.map(|matcher| matcher.value.to_string()));
            }
            rest.extend(expr.children());
        }
        names.into_iter().collect()
    }

    /// The value at one time.
    ///
    /// # Errors
    /// Where elements do not match as the expression says, or it would read too many samples.
    pub fn instant(
        &self,
        at: Timestamp,
        options: &Options,
        select: &Select<'_>,
    ) -> Result<Answer, EvalError> {
        evaluate::instant(self, at.as_millis(), options, select)
    }

    /// The values at `start`, `start + step`, … up to `end`; at most 11,000 steps.
    ///
    /// # Errors
    /// As for [`Query::instant`], and for a step that is not positive or too small for the range.
    pub fn range(
        &self,
        range: Range,
        options: &Options,
        select: &Select<'_>,
    ) -> Result<Answer, EvalError> {
        evaluate::range(self, range, options, select)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.expr, f)
    }
}

/// Parses label matchers of a series selector: `match[]` of the HTTP API.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let expr = parser::parse(text)?;
    match expr.kind {
        Kind::Selector(selector) if selector.shift == ast::Shift::default() => {
            Ok(selector.matchers)
        }
        _ => Err(parser::error_at(expr.span, "expected label selectors only")),
    }
}
