//! Every selector's series, fetched once for all steps of a query, before anything is computed.
//!
//! In: a checked tree and the times at which it will be evaluated. Out: the series of each selector,
//! counted against the query's limits. Never true: a selection that goes on after the query was ended
//! from outside.

use std::borrow::Cow;
use std::sync::Arc;

use super::ast::{Edges, Expr, Kind};
use super::evaluate::{Evaluator, is_stale};
use super::stats::Reads;
use super::value::Series;
use super::{EvalError, Select};
use crate::series::looks::Looks;
use crate::series::windows::Windows;
use crate::series::{Matcher, RawSeries, SelectError, Selection};

/// A selector that waits for its series: matchers, and the times that it will look at.
pub(super) struct Wanted<'q> {
    id: usize,
    matchers: Cow<'q, [Matcher]>,
    start: i64,
    end: i64,
    /// Stale markers end a series for an instant selector; windows do not hold them.
    drops_stale: bool,
    reads: Reads,
    /// Where only the ends of windows matter.
    windows: Option<Windows>,
    /// When an instant selector is looked at.
    looks: Option<Looks>,
}

/// What selectors below an expression are wanted for.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    /// First and last time of evaluation.
    pub(super) times: (i64, i64),
    /// Milliseconds between them; None within a subquery, which has times of its own.
    pub(super) step: Option<i64>,
    pub(super) reads: Reads,
}

impl<'q> Evaluator<'q> {
    pub(super) fn collect(
        &self,
        expr: &'q Expr,
        scope: Scope,
        wanted: &mut Vec<Wanted<'q>>,
    ) -> Result<(), EvalError> {
        let selector_of = match &expr.kind {
            Kind::Selector(selector) => Some((selector, self.lookback, false)),
            Kind::Window { selector, range } => Some((selector, self.positive(range)?, true)),
            Kind::Binary(_) => return self.collect_chain(expr, scope, wanted),
            _ => None,
        };
        let Scope { times, step, reads } = scope;
        if let Some((selector, mut back, is_window)) = selector_of {
            let mut end = self.shifted(&selector.shift, times.1)?;
            if selector.edges == Edges::Smoothed {
                end = end.saturating_add(self.lookback);
            }
            if is_window && selector.edges != Edges::Within {
                back = back.saturating_add(self.lookback);
            }
            let first = self.shifted(&selector.shift, times.0)?;
            let start = first.saturating_sub(back);
            let matchers = Cow::Borrowed(selector.matchers.as_slice());
            let drops_stale = is_window || selector.edges == Edges::Smoothed;
            // Whether a histogram's counter was reset is seen beside the sample before.
            let step = step.filter(|_| reads == Reads::Everything);
            let looks = match (is_window, selector.edges) {
                (false, Edges::Within) if first == end => Some(Looks::once(end)),
                (false, Edges::Within) => step.map(|step| Looks { first, last: end, step }),
                _ => None,
            };
            wanted.push(Wanted {
                id: expr.id,
                matchers,
                start,
                end,
                drops_stale,
                reads,
                windows: None,
                looks,
            });
            return Ok(());
        }
        if let Kind::Call { function, args } = &expr.kind
            && function.name == "info"
        {
            wanted.push(self.infos(expr.id, args, times)?);
            return args.first().map_or(Ok(()), |arg| self.collect(arg, scope, wanted));
        }
        let mut within = Scope { reads: super::stats::reads(expr, reads), ..scope };
        if let Kind::Subquery { range, shift, .. } = &expr.kind {
            let range = self.positive(range)?;
            let start = self.shifted(shift, times.0)?.saturating_sub(range);
            within.times = (start, self.shifted(shift, times.1)?);
            within.step = None;
        }
        for child in expr.children() {
            self.collect(child, within, wanted)?;
        }
        if let Some(window) = rising_window(expr)
            && step.is_some()
            && let Some(last) = wanted.last_mut()
            && let Kind::Window { range, .. } = &window.kind
        {
            let width = self.positive(range)?;
            let ends = (last.start.saturating_add(width), last.end);
            last.windows = Some(Windows::new(ends, self.range.step, width));
        }
        Ok(())
    }

    /// The info series that a call of `info` joins.
    fn infos(
        &self,
        id: usize,
        args: &'q [Expr],
        times: (i64, i64),
    ) -> Result<Wanted<'q>, EvalError> {
        Ok(Wanted {
            id,
            matchers: Cow::Owned(super::info_join::info_matchers(args)),
            start: self.info_time(args, times.0)?.saturating_sub(self.lookback),
            end: self.info_time(args, times.1)?,
            drops_stale: false,
            reads: Reads::Everything,
            windows: None,
            looks: None,
        })
    }

    /// Of a chain of operators, which may be long.
    fn collect_chain(
        &self,
        expr: &'q Expr,
        mut scope: Scope,
        wanted: &mut Vec<Wanted<'q>>,
    ) -> Result<(), EvalError> {
        let (mut first, mut rights) = (expr, Vec::new());
        while let Kind::Binary(binary) = &first.kind {
            scope.reads = super::stats::reads(first, scope.reads);
            rights.push((&binary.right, scope));
            first = &binary.left;
        }
        self.collect(first, scope, wanted)?;
        let mut rest = rights.into_iter().rev();
        rest.try_for_each(|(right, scope)| self.collect(right, scope, wanted))
    }

    pub(super) fn fetch(
        &mut self,
        wanted: &Wanted<'_>,
        select: &Select<'_>,
    ) -> Result<(), EvalError> {
        self.interrupt.check()?;
        let (own, room) = (self.samples_left.get(), self.held.room());
        let selection = Selection {
            matchers: &wanted.matchers,
            start: wanted.start,
            end: wanted.end,
            samples_max: own.min(room),
            windows: wanted.windows.as_ref(),
            looks: wanted.looks,
        };
        let found = select(&selection);
        // Why it is not whole, where it was ended from outside.
        self.interrupt.check()?;
        let found = found.map_err(|error| match error {
            SelectError::TooManySamples { .. } if room < own => EvalError::Crowded,
            SelectError::TooManySamples { .. } => self.too_many_samples(),
            other => other.into(),
        })?;
        let left = self.series_left.get().checked_sub(found.len());
        self.series_left.set(left.ok_or(EvalError::TooManySeries { max: self.series_max })?);
        let mut fetched = Vec::with_capacity(found.len());
        for mut raw in found {
            if wanted.drops_stale {
                drop_stale(&mut raw);
            }
            if wanted.reads == Reads::Stats {
                super::stats::hint(&mut raw.samples);
            }
            self.spend(raw.samples.len())?;
            let seconds = wanted.windows.as_ref().and_then(|w| w.seconds_of(&raw.labels));
            let labels = Arc::new(raw.labels);
            fetched.push(Series { labels, samples: raw.samples, starts: raw.starts, seconds });
        }
        if self.data.len() <= wanted.id {
            self.data.resize_with(wanted.id + 1, Vec::new);
        }
        if let Some(slot) = self.data.get_mut(wanted.id) {
            *slot = fetched;
        }
        Ok(())
    }
}

fn drop_stale(raw: &mut RawSeries) {
    let mut samples = raw.samples.iter();
    raw.starts.retain(|_| samples.next().is_some_and(|sample| !is_stale(&sample.value)));
    raw.samples.retain(|sample| !is_stale(&sample.value));
}

/// The window of a counter of which a function needs only the ends.
fn rising_window(expr: &Expr) -> Option<&Expr> {
    let Kind::Call { function, args } = &expr.kind else { return None };
    let window = args.first()?.unwrapped();
    let is_plain = matches!(
        &window.kind,
        Kind::Window { selector, .. } if selector.edges == Edges::Within
    );
    (is_plain && matches!(function.name, "rate" | "increase")).then_some(window)
}
