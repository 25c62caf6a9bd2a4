//! Series of one test, in memory. Times may be anything; samples stay in ascending order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::file::InputSeries;
use crate::evaluate::Recorded;
use crate::promql::parse_series_description;
use crate::series::{RawSeries, STALE_NAN_BITS, Sample, SampleValue, SelectError, Selection};
use crate::signal::{Labels, Timestamp};

/// Samples of all input series together: a slip in a repetition must not fill the memory.
const SAMPLES_MAX: usize = 20_000_000;

#[derive(Debug, Default)]
pub(super) struct Memory {
    series: BTreeMap<Labels, Vec<Sample>>,
    n_samples: usize,
}

impl Memory {
    /// The i-th value lies `i` intervals after `start`.
    pub(super) fn load(
        &mut self,
        input: &InputSeries,
        start: Timestamp,
        interval: Duration,
    ) -> Result<(), String> {
        let text = format!("{} {}", input.series, input.values);
        let (labels, values) =
            parse_series_description(&text).map_err(|error| error.to_string())?;
        self.n_samples += values.len();
        if self.n_samples > SAMPLES_MAX {
            return Err(format!("more than {SAMPLES_MAX} samples in one test"));
        }
        let mut at = start;
        for value in values {
            if let Some(value) = value {
                self.put(labels.clone(), Sample { t: at.as_millis(), value });
            }
            at = at.saturating_add(interval);
        }
        Ok(())
    }

    /// Adds a sample; one at the same time is replaced.
    pub(super) fn put(&mut self, labels: Labels, sample: Sample) {
        let samples = self.series.entry(labels).or_default();
        let at = samples.partition_point(|held| held.t < sample.t);
        match samples.get_mut(at) {
            Some(held) if held.t == sample.t => *held = sample,
            _ => samples.insert(at, sample),
        }
    }

    pub(super) fn record(&mut self, recorded: &Recorded) {
        let value = recorded.value.unwrap_or(f64::from_bits(STALE_NAN_BITS));
        let sample = Sample { t: recorded.at.as_millis(), value: SampleValue::Float(value) };
        self.put(recorded.labels.clone(), sample);
    }

    pub(super) fn select(&self, selection: &Selection<'_>) -> Result<Vec<RawSeries>, SelectError> {
        let mut found = Vec::new();
        let mut n_read = 0;
        for (labels, samples) in &self.series {
            if !selection.matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
                continue;
            }
            let from = samples.partition_point(|sample| sample.t <= selection.start);
            let to = samples.partition_point(|sample| sample.t <= selection.end);
            let Some(within) = samples.get(from..to).filter(|within| !within.is_empty()) else {
                continue;
            };
            n_read += within.len();
            if n_read > selection.samples_max {
                return Err(SelectError::TooManySamples { max: selection.samples_max });
            }
            found.push(RawSeries::new(labels.clone(), within.to_vec()));
        }
        Ok(found)
    }
}
