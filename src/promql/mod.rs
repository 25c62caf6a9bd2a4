//! PromQL: lexer, parser with positions, evaluator.

use std::time::Duration;

use crate::series::{RawSeries, SelectError, Selection};
use crate::signal::{Labels, Timestamp};

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

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {}

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
    pub fn parse(_text: &str) -> Result<Self, ParseError> {
        Ok(Self {})
    }

    /// Names of the metrics that its selectors name exactly.
    pub fn metrics(&self) -> Vec<String> {
        Vec::new()
    }

    pub fn instant(
        &self,
        _at: Timestamp,
        _options: &Options,
        _select: &Select<'_>,
    ) -> Result<Answer, EvalError> {
        Ok(Answer { output: Output::Vector(Vec::new()), warnings: Vec::new(), infos: Vec::new() })
    }

    pub fn range(
        &self,
        _range: Range,
        _options: &Options,
        _select: &Select<'_>,
    ) -> Result<Answer, EvalError> {
        Ok(Answer { output: Output::Matrix(Vec::new()), warnings: Vec::new(), infos: Vec::new() })
    }
}

/// Parses label matchers of a series selector: `match[]` of the HTTP API.
pub fn parse_matchers(_text: &str) -> Result<Vec<crate::series::Matcher>, ParseError> {
    Ok(Vec::new())
}

/// One parsed series description of promtool and promqltest: `name{a="b"} 1+2x3 _ stale`.
pub fn parse_series_description(
    _text: &str,
) -> Result<(Labels, Vec<Option<crate::series::SampleValue>>), ParseError> {
    Ok((Labels::default(), Vec::new()))
}
