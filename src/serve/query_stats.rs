//! What a query took, as Prometheus tells it where a client asks for `stats`.
//!
//! A query runs between [`Waiting::begin`] and what it spent; the times and samples of it come out. The most
//! samples at once are those that our evaluator holds, which fetches all before it begins.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{Clock, Stopwatch};
use crate::promql::Select;
use crate::promql::tally::Tally;
use crate::series::{RawSeries, SelectError, Selection};

/// A query that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting(Stopwatch);

/// One that computes.
#[derive(Debug)]
pub(super) struct Watched {
    queued: Duration,
    computing: Stopwatch,
    selecting_nanos: AtomicU64,
    tally: Tally,
}

/// What it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    queued: Duration,
    selecting: Duration,
    computing: Duration,
    queryable: u64,
    most: u64,
}

impl Waiting {
    pub(super) fn begin() -> Self {
        Self(Clock::stopwatch())
    }

    /// It has its turn.
    pub(super) fn has_turn(&self) -> Watched {
        Watched {
            queued: self.0.elapsed(),
            computing: Clock::stopwatch(),
            selecting_nanos: AtomicU64::new(0),
            tally: Tally::default(),
        }
    }
}

impl Watched {
    /// Where the query counts its samples.
    pub(super) fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// Reads what `select` reads, and how long that takes.
    pub(super) fn select(
        &self,
        select: &Select<'_>,
        selection: &Selection<'_>,
    ) -> Result<Vec<RawSeries>, SelectError> {
        let stopwatch = Clock::stopwatch();
        let found = select(selection);
        let nanos = u64::try_from(stopwatch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.selecting_nanos.fetch_add(nanos, Ordering::Relaxed);
        found
    }

    pub(super) fn end(&self) -> Spent {
        Spent {
            queued: self.queued,
            selecting: Duration::from_nanos(self.selecting_nanos.load(Ordering::Relaxed)),
            computing: self.computing.elapsed(),
            queryable: self.tally.queryable(),
            most: self.tally.most(),
        }
    }
}

impl Spent {
    /// `data.stats` of Prometheus 3, but for samples a step, which are not counted. Times are seconds.
    pub(super) fn json(&self) -> Value {
        let Self { queued, selecting, computing, queryable, most } = *self;
        let inner = computing.saturating_sub(selecting);
        json!({
            "timings": {
                "evalTotalTime": computing.as_secs_f64(),
                // Sorted as it is made.
                "resultSortTime": 0.0,
                "queryPreparationTime": selecting.min(computing).as_secs_f64(),
                "innerEvalTime": inner.as_secs_f64(),
                "execQueueTime": queued.as_secs_f64(),
                "execTotalTime": (queued + computing).as_secs_f64(),
            },
            "samples": { "totalQueryableSamples": queryable, "peakSamples": most },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Sample, SampleValue};
    use crate::signal::Labels;

    #[test]
    fn times_add_up() {
        let watched = Waiting::begin().has_turn();
        let samples = vec![Sample { t: 1, value: SampleValue::Float(1.0) }; 3];
        let select =
            |_: &Selection<'_>| Ok(vec![RawSeries::new(Labels::default(), samples.clone()); 2]);
        let selection = Selection {
            matchers: &[],
            start: 0,
            end: 1,
            samples_max: 10,
            windows: None,
            looks: None,
        };
        for _ in 0..2 {
            assert_eq!(watched.select(&select, &selection).map(|found| found.len()), Ok(2));
        }
        let spent = watched.end();
        assert!(spent.selecting <= spent.computing);
        let shown = Spent {
            queued: Duration::from_millis(500),
            selecting: Duration::from_millis(250),
            computing: Duration::from_secs(1),
            queryable: 12,
            most: 7,
        };
        assert_eq!(
            shown.json(),
            json!({
                "timings": {
                    "evalTotalTime": 1.0, "resultSortTime": 0.0, "queryPreparationTime": 0.25,
                    "innerEvalTime": 0.75, "execQueueTime": 0.5, "execTotalTime": 1.5,
                },
                "samples": { "totalQueryableSamples": 12, "peakSamples": 7 },
            })
        );
    }
}
