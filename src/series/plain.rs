//! Gauges, scraped, pushed and recorded samples: kept as they are, in ascending order of time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Histogram, Sample, SampleValue};

/// One series of samples. Nearly all are floats; the few native histograms stand apart so that a
/// float takes 16 bytes. No time is in both lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plain {
    floats: Vec<(i64, f64)>,
    histograms: Vec<(i64, Arc<Histogram>)>,
}

impl Plain {
    /// A sample at a time that is taken replaces what is there.
    pub(crate) fn insert(&mut self, sample: Sample) {
        match sample.value {
            SampleValue::Float(value) => {
                remove(&mut self.histograms, sample.t);
                put(&mut self.floats, sample.t, value);
            }
            SampleValue::Histogram(histogram) => {
                remove(&mut self.floats, sample.t);
                put(&mut self.histograms, sample.t, histogram);
            }
        }
    }

    pub(crate) fn has_in(&self, start: i64, end: i64) -> bool {
        !within(&self.floats, start, end).is_empty()
            || !within(&self.histograms, start, end).is_empty()
    }

    /// How many samples lie in `[start, end]`.
    pub(crate) fn n_in(&self, start: i64, end: i64) -> usize {
        within(&self.floats, start, end).len() + within(&self.histograms, start, end).len()
    }

    /// The samples in `[start, end]`, ascending.
    pub(crate) fn samples(&self, start: i64, end: i64) -> Vec<Sample> {
        let floats = within(&self.floats, start, end)
            .iter()
            .map(|(t, value)| Sample { t: *t, value: SampleValue::Float(*value) });
        let histograms = within(&self.histograms, start, end).iter();
        let mut samples: Vec<Sample> = floats.collect();
        if !histograms.as_slice().is_empty() {
            samples.extend(histograms.map(|(t, histogram)| Sample {
                t: *t,
                value: SampleValue::Histogram(Arc::clone(histogram)),
            }));
            samples.sort_by_key(|sample| sample.t);
        }
        samples
    }

    /// Drops what is older; gives how many samples that were.
    pub(crate) fn drop_before(&mut self, t: i64) -> usize {
        cut(&mut self.floats, t) + cut(&mut self.histograms, t)
    }

    /// Bytes of each sample, with its time.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (i64, usize)> {
        let floats = self.floats.iter().map(|(t, _)| (*t, size_of::<(i64, f64)>()));
        floats.chain(self.histograms.iter().map(|(t, histogram)| {
            let buckets = histogram.positive.len() + histogram.negative.len();
            (*t, size_of::<Histogram>() + buckets * size_of::<(i32, f64)>())
        }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }
}

fn put<V>(list: &mut Vec<(i64, V)>, t: i64, value: V) {
    let at = list.partition_point(|(other, _)| *other < t);
    match list.get_mut(at) {
        Some(held) if held.0 == t => held.1 = value,
        _ => list.insert(at, (t, value)),
    }
}

fn remove<V>(list: &mut Vec<(i64, V)>, t: i64) {
    if let Ok(at) = list.binary_search_by_key(&t, |(other, _)| *other) {
        list.remove(at);
    }
}

fn within<V>(list: &[(i64, V)], start: i64, end: i64) -> &[(i64, V)] {
    let from = list.partition_point(|(t, _)| *t < start);
    let to = list.partition_point(|(t, _)| *t <= end);
    list.get(from..to).unwrap_or_default()
}

fn cut<V>(list: &mut Vec<(i64, V)>, t: i64) -> usize {
    let n = list.partition_point(|(other, _)| *other < t);
    list.drain(..n);
    // A long-lived vector would otherwise keep the room of its fullest day.
    if list.capacity() > 2 * list.len() + 64 {
        list.shrink_to(list.len() + list.len() / 4);
    }
    n
}
