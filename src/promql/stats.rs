//! Selectors of which only counts and sums of native histograms are read.
//!
//! Prometheus decodes no buckets for them and looks for resets as it reads, so their histograms say of
//! each whether its counter was reset; conflicts between series are then warned of. The same is done
//! here. Source: `detectHistogramStatsDecoding` in `promql/engine.go`, `HistogramStatsIterator`.

use std::sync::Arc;

use super::ast::{Expr, Kind};
use super::histogram::was_reset;
use crate::series::{CounterReset, Histogram, Sample, SampleValue};

/// What is read of native histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    Everything,
    /// Counts and sums.
    Stats,
}

/// What is read below `expr`; the nearest function that cares decides.
pub(super) fn reads(expr: &Expr, above: Reads) -> Reads {
    match &expr.kind {
        Kind::Subquery { .. } => Reads::Everything,
        Kind::Binary(binary) if binary.op.is_trim() => Reads::Everything,
        Kind::Call { function, .. } => match function.name {
            "histogram_count" | "histogram_sum" | "histogram_avg" => Reads::Stats,
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => {
                Reads::Everything
            }
            _ => above,
        },
        _ => above,
    }
}

/// Says of each histogram of a series whether its counter was reset, where nothing is known.
pub(super) fn hint(samples: &mut [Sample]) {
    let mut before: Option<Arc<Histogram>> = None;
    for sample in samples {
        let SampleValue::Histogram(now) = &mut sample.value else {
            before = None;
            continue;
        };
        let as_read = Arc::clone(now);
        if let (CounterReset::Unknown, Some(before)) = (now.counter_reset, &before) {
            let is_reset = was_reset(now, before);
            let known = if is_reset { CounterReset::Yes } else { CounterReset::No };
            Arc::make_mut(now).counter_reset = known;
        }
        before = Some(as_read);
    }
}
