//! How many samples a query looked at, as Prometheus counts them for `stats`: at every step, of an instant
//! selector the sample that it finds, of a window all that it holds, of a function of a subquery what the
//! subquery gave it. A native histogram counts for as many samples as it is large.
//!
//! In: a tree, evaluated. Out: counts, for those who asked for them. Never true: a count that costs a
//! query which nobody asked it of. Source: `samplesStats` of `promql/engine.go`, `HPoint.size`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::EvalError;
use super::ast::{Expr, Kind};
use super::evaluate::Evaluator;
use super::value::{Series, Window};
use crate::number::u64_from_usize;
use crate::series::{Histogram, SampleValue, runs};

/// Bytes of a histogram there without its lists, of an element of these, and of a sample.
const HISTOGRAM_BYTES: usize = 168;
const ELEMENT_BYTES: usize = 8;
const SAMPLE_BYTES: usize = 16;

/// Counts of one query, for who asks for them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    queryable: AtomicU64,
    most: AtomicU64,
}

impl Tally {
    /// Samples that were looked at, once for each step that looked.
    pub fn queryable(&self) -> u64 {
        self.0.queryable.load(Ordering::Relaxed)
    }

    /// Samples that the query held at once, those of its answer among them.
    pub fn most(&self) -> u64 {
        self.0.most.load(Ordering::Relaxed)
    }

    fn add(&self, n: u64) {
        self.0.queryable.fetch_add(n, Ordering::Relaxed);
    }
}

impl<'q> Evaluator<'q> {
    /// Counts what the selectors of an evaluated tree looked at.
    pub(super) fn tally_up(&self, root: &'q Expr) -> Result<(), EvalError> {
        let Some(tally) = &self.tally else { return Ok(()) };
        let times = match &root.unwrapped().kind {
            // What it shows is what its expression was at these times.
            Kind::Subquery { .. } => self.times_of_subquery(root.unwrapped())?,
            _ => self.times(),
        };
        let mut rest = match &root.unwrapped().kind {
            Kind::Subquery { inner, .. } => vec![&**inner],
            _ => vec![root],
        };
        while let Some(expr) = rest.pop() {
            match &expr.kind {
                Kind::Selector(_) | Kind::Window { .. } => tally.add(self.n_seen(expr, &times)?),
                Kind::Subquery { .. } => {}
                // Its second argument tells labels.
                Kind::Call { function, args } if function.name == "info" => {
                    rest.extend(args.first());
                }
                _ => rest.extend(expr.children()),
            }
        }
        tally.0.most.store(u64_from_usize(self.held.n()), Ordering::Relaxed);
        Ok(())
    }

    /// Counts what a subquery gave to a function, unless that stands in a subquery itself.
    pub(super) fn tally_windows(&self, windows: &[Window<'_>]) {
        if let (Some(tally), 0) = (&self.tally, self.within_subqueries.get()) {
            let samples = windows.iter().flat_map(|window| window.samples.iter());
            tally.add(samples.map(|sample| weight(&sample.value)).sum());
        }
    }

    fn times(&self) -> Vec<i64> {
        let step = self.range.step.max(1);
        let next = |t: &i64| t.checked_add(step).filter(|t| *t <= self.range.end);
        std::iter::successors(Some(self.range.start), next).collect()
    }

    fn n_seen(&self, expr: &'q Expr, times: &[i64]) -> Result<u64, EvalError> {
        let (mut n, series) = (0, self.series_of(expr.id));
        for t in times {
            self.interrupt.check()?;
            n += match &expr.kind {
                Kind::Selector(selector) => {
                    let t = self.shifted(&selector.shift, *t)?;
                    let newest = |series: &Series| {
                        Some(weight(&series.samples.get(self.newest(series, t)?)?.value))
                    };
                    series.iter().filter_map(newest).sum()
                }
                _ => self.frame(expr, *t)?.windows.iter().map(n_in).sum::<u64>(),
            };
        }
        Ok(n)
    }
}

fn n_in(window: &Window<'_>) -> u64 {
    let weights = window.samples.iter().map(|sample| weight(&sample.value));
    // Where a counter gave only the ends of windows, what lies between counts as well.
    weights.sum::<u64>().max(u64_from_usize(window.n_samples))
}

fn weight(value: &SampleValue) -> u64 {
    match value {
        SampleValue::Float(_) => 1,
        SampleValue::Histogram(histogram) => {
            let Histogram { positive, negative, custom_bounds, .. } = &**histogram;
            let of_side = |side: &[(i32, f64)]| side.len() + runs(side).count();
            let n = of_side(positive) + of_side(negative) + custom_bounds.len();
            u64_from_usize((HISTOGRAM_BYTES + 8 + n * ELEMENT_BYTES) / SAMPLE_BYTES)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{Options, Query, Range};
    use crate::series::{CounterReset, RawSeries, Sample, Selection};
    use crate::signal::{Labels, METRIC_NAME};

    /// Series `one`, `three` (of three label sets) and `native`, with a sample every ten seconds.
    fn counted(text: &str, range: Range) -> (u64, u64) {
        let tally = Tally::default();
        let options = Options { tally: Some(tally.clone()), ..Options::default() };
        let select = |selection: &Selection<'_>| {
            let series = |name: &str, i: u8| {
                let histogram = Histogram {
                    counter_reset: CounterReset::Unknown,
                    schema: 0,
                    zero_threshold: 0.0,
                    zero_count: 0.0,
                    count: 6.0,
                    sum: 9.0,
                    positive: vec![(1, 2.0), (2, 3.0), (7, 1.0)],
                    negative: Vec::new(),
                    custom_bounds: Arc::default(),
                };
                let value = match name {
                    "native" => SampleValue::Histogram(Arc::new(histogram)),
                    _ => SampleValue::Float(f64::from(i)),
                };
                let times = (0..200).map(|n| n * 10_000);
                let within = times.filter(|t| *t > selection.start && *t <= selection.end);
                let samples = within.map(|t| Sample { t, value: value.clone() }).collect();
                RawSeries::new(Labels::of(&[(METRIC_NAME, name), ("i", &i.to_string())]), samples)
            };
            let all = [("one", 1), ("three", 1), ("three", 2), ("three", 3), ("native", 1)];
            let all = all.map(|(name, i)| series(name, i));
            let wanted = |one: &RawSeries| {
                selection.matchers.iter().all(|matcher| matcher.matches_labels(&one.labels))
            };
            Ok(all.into_iter().filter(wanted).collect())
        };
        let query = Query::parse(text).unwrap();
        let answer = if range.start == range.end {
            query.instant(range.start, &options, &select)
        } else {
            query.range(range, &options, &select)
        };
        assert!(answer.is_ok(), "{text}: {answer:?}");
        (tally.queryable(), tally.most())
    }

    fn check(text: &str, at_once: u64, over_four_steps: u64) {
        let range = Range { start: 1_201_000, end: 1_201_000, step: 0 };
        assert_eq!(counted(text, range).0, at_once, "{text}");
        let range = Range { start: 1_201_000, end: 1_216_000, step: 5000 };
        if over_four_steps > 0 {
            assert_eq!(counted(text, range).0, over_four_steps, "{text}, four steps");
        }
    }

    #[test]
    fn samples_are_counted_as_prometheus_counts_them() {
        check("one", 1, 4);
        check("timestamp(one)", 1, 4);
        check("three", 3, 12);
        check("sum(three) + on () group_right () one", 4, 16);
        check("one @ 300", 1, 4);
        check("1 + 1", 0, 0);
        check("one[60s]", 6, 0);
        check("sum_over_time(one[60s])", 6, 24);
        check("rate(three[60s] offset 30s)", 18, 72);
        check("sum(max_over_time(three[60s]))", 18, 72);
        // Of a subquery counts what it gave; where it is the whole query, what it was made of.
        check("sum_over_time(one[60s:5s])", 12, 48);
        check("sum by (i) (max_over_time(three[60s:5s])) + max_over_time(three[60s:5s])", 72, 288);
        check("max_over_time(sum_over_time(one[60s])[20s:5s])", 4, 16);
        check("max_over_time(sum_over_time(one[60s:10s])[20s:5s])", 4, 16);
        check("one[60s:5s]", 12, 0);
        check("sum_over_time(one[60s])[20s:5s]", 24, 0);
        check("sum_over_time(one[60s:10s])[20s:5s]", 24, 0);
        // 168 bytes, two runs, three buckets, a time.
        check("native", 13, 52);
        check("histogram_count(rate(native[60s]))", 78, 312);
    }

    #[test]
    fn the_most_samples_at_once_are_those_that_were_fetched() {
        let range = Range { start: 1_201_000, end: 1_201_000, step: 0 };
        assert_eq!(counted("sum_over_time(three[60s])", range).1, 18);
        let untold = Query::parse("one").unwrap();
        let answer = untold.instant(1, &Options::default(), &|_| Ok(Vec::new()));
        assert!(answer.is_ok(), "without a tally");
    }
}
