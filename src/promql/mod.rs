//! PromQL: lexer, parser with positions, evaluator.
//!
//! Text comes in; [`Query::parse`] answers with a checked tree or an error that has a place in the
//! text. A query reads samples only through the function that it is given, each selector once, and
//! answers in the shapes of the Prometheus HTTP API. The language is that of Prometheus 3.x, its
//! experimental parts included. What is never true: a query that panics, overflows the stack,
//! or depends on the order of a hash map.

mod aggregate;
mod ast;
mod binary;
mod calendar;
mod call;
mod check;
mod classic;
mod columns;
mod derived;
mod description;
mod distribution;
mod edges;
mod evaluate;
mod fetch;
mod histogram;
mod histogram_call;
mod info_join;
pub mod json;
mod kahan;
mod labelling;
mod lexer;
pub mod limits;
mod notes;
mod over_time;
mod parser;
mod pin;
mod print;
mod rate;
mod selectors;
mod signature;
mod sliding;
mod starts;
mod stats;
mod subquery;
pub mod tally;
mod text;
mod value;

#[cfg(test)]
mod columns_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thinned_tests;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::go_regex::Room;
use crate::series::{MatchOp, Matcher, RawSeries, SelectError, Selection};
use crate::signal::{METRIC_NAME, Timestamp};

use ast::{Expr, Kind};
pub use description::{
    Offsets, parse_series_description, parse_series_labels, parse_series_starts,
};
use limits::{Interrupt, Pool, Stop};
use tally::Tally;

/// When to evaluate. An instant query has `start == end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Milliseconds since the epoch.
    pub start: i64,
    pub end: i64,
    /// Milliseconds; ignored where `start == end`.
    pub step: i64,
}

/// Steps of all subqueries of a query, and the samples found at each: work that no limit of samples read
/// knows of, since subqueries within subqueries multiply.
const SUBQUERY_STEPS_TOTAL_MAX: usize = 1_000_000_000;

#[derive(Clone, Debug)]
pub struct Options {
    /// How far back an instant selector looks. Prometheus's default: 5 min.
    pub lookback: Duration,
    /// Samples that one query may hold: those it reads, those of its subqueries and its answer.
    pub samples_max: usize,
    /// Series that its selectors may find together.
    pub series_max: usize,
    /// Steps that its subqueries may take together, and samples that these give: subqueries within
    /// subqueries hold few samples and still multiply the work.
    pub subquery_steps_max: usize,
    /// Whether a metric's name that no longer holds stays readable until the query ends, as Prometheus
    /// has it behind `promql-delayed-name-removal`; as a rule it goes at once.
    pub delayed_name_removal: bool,
    /// Ends it from outside.
    pub interrupt: Interrupt,
    /// What it shares with the queries that run beside it.
    pub pool: Pool,
    /// Counts the samples that it looks at, where somebody asks.
    pub tally: Option<Tally>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback: Duration::from_mins(5),
            samples_max: 50_000_000,
            series_max: usize::MAX,
            subquery_steps_max: SUBQUERY_STEPS_TOTAL_MAX,
            delayed_name_removal: false,
            interrupt: Interrupt::default(),
            pool: Pool::new(usize::MAX),
            tally: None,
        }
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

impl Output {
    pub fn n_samples(&self) -> usize {
        match self {
            Self::Scalar(..) | Self::String(..) => 1,
            Self::Vector(series) | Self::Matrix(series) => {
                series.iter().map(|series| series.samples.len()).sum()
            }
        }
    }
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
    /// It makes no sense as it is asked, whatever the series hold.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Execution(String),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error("the query selects more than {max} series (query.series_max); narrow its selectors")]
    TooManySeries { max: usize },
    #[error(
        "the subqueries of the query would take more than {max} steps, counted with the samples at each; widen their steps or narrow their ranges"
    )]
    TooManySteps { max: usize },
    #[error(
        "the queries that run at the moment hold as many samples as fit into memory; try again later, or narrow the query"
    )]
    Crowded,
    #[error("{}", match .0 {
        Stop::TimedOut => "query timed out in expression evaluation",
        Stop::Canceled => "query was canceled in expression evaluation",
    })]
    Stopped(Stop),
}

/// Reads the series of one selection.
pub type Select<'a> = dyn Fn(&Selection<'_>) -> Result<Vec<RawSeries>, SelectError> + 'a;

impl Query {
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let expr = parser::parse(text, &mut Room::default())?;
        Ok(Self { text: text.to_owned(), expr })
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The query with `@ at` on each of its selectors; None where its answer would still depend on
    /// when it is asked.
    pub fn pinned(&self, at: Timestamp) -> Option<Self> {
        let mut expr = self.expr.clone();
        pin::pin(&mut expr, at.as_millis()).then(|| Self::parse(&expr.to_string()).ok())?
    }

    /// The conditions of each of its selectors.
    pub fn selectors(&self) -> Vec<&[Matcher]> {
        let mut found = Vec::new();
        let mut rest = vec![&self.expr];
        while let Some(expr) = rest.pop() {
            if let Kind::Selector(selector) | Kind::Window { selector, .. } = &expr.kind {
                found.push(selector.matchers.as_slice());
            }
            rest.extend(expr.children());
        }
        found
    }

    /// Names of the metrics that its selectors name exactly, sorted, each once.
    pub fn metrics(&self) -> Vec<String> {
        let is_name = |m: &&Matcher| &*m.name == METRIC_NAME && m.op == MatchOp::Equal;
        let matchers = self.selectors().into_iter().flatten();
        let names: BTreeSet<String> =
            matchers.filter(is_name).map(|matcher| matcher.value.to_string()).collect();
        names.into_iter().collect()
    }

    /// The value at one time, milliseconds since the epoch.
    ///
    /// # Errors
    /// Where elements do not match as the expression says, or it would read too many samples.
    pub fn instant(
        &self,
        at: i64,
        options: &Options,
        select: &Select<'_>,
    ) -> Result<Answer, EvalError> {
        evaluate::instant(self, at, options, select)
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

/// Parses label matchers of a series selector, one of those that share the room for their regular
/// expressions: `match[]` of the HTTP API.
pub fn parse_matchers(text: &str, patterns: &mut Room) -> Result<Vec<Matcher>, ParseError> {
    let expr = parser::parse(text, patterns)?;
    match expr.kind {
        Kind::Selector(selector)
            if selector.shift == ast::Shift::default() && selector.edges == ast::Edges::Within =>
        {
            Ok(selector.matchers)
        }
        _ => Err(parser::error_at(expr.span, "expected label selectors only")),
    }
}
