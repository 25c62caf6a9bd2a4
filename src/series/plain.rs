//! Gauges, scraped, pushed and recorded samples: kept bit for bit, in ascending order of time.

use serde::{Deserialize, Serialize};

use super::chunk::{Chunk, OpenChunk, Point, SAMPLES_MAX};
use super::looks::{Gathered, Part};
use super::natives::Natives;
use super::{Sample, SampleValue};

/// One series of samples. Nearly all are floats, in compressed chunks; the few native histograms
/// stand apart. No time is in both lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plain {
    /// Ascending, without overlaps, all before `open`.
    closed: Vec<Chunk>,
    open: OpenChunk,
    /// Most series have none.
    histograms: Option<Box<Natives>>,
}

impl Plain {
    /// A sample at a time that is taken replaces what is there.
    pub(crate) fn insert(&mut self, sample: Sample) {
        let t = sample.t;
        match sample.value {
            SampleValue::Float(value) => {
                if let Some(histograms) = &mut self.histograms {
                    histograms.remove(t);
                }
                self.insert_float(Point { t, value });
            }
            SampleValue::Histogram(histogram) => {
                self.remove_float(t);
                self.histograms.get_or_insert_default().insert(t, histogram);
            }
        }
    }

    /// Where there are any.
    fn natives(&self) -> Option<&Natives> {
        self.histograms.as_deref().filter(|held| !held.is_empty())
    }

    fn insert_float(&mut self, point: Point) {
        if self.last_float().is_none_or(|last| last < point.t) {
            // A full one is closed by what comes next: the newest sample is always in the open one.
            if self.open.n() == SAMPLES_MAX {
                let next = self.open.following();
                // Room for a few more, and not for twice as many.
                self.closed.reserve_exact(1 + self.closed.len() / 4);
                self.closed.push(std::mem::replace(&mut self.open, next).close());
            }
            self.open.push(point);
            return;
        }
        self.edit(point.t, |points| match points.binary_search_by_key(&point.t, |other| other.t) {
            Ok(at) => points[at] = point,
            Err(at) => points.insert(at, point),
        });
    }

    fn remove_float(&mut self, t: i64) {
        if self.last_float().is_some_and(|last| t <= last) {
            self.edit(t, |points| points.retain(|point| point.t != t));
        }
    }

    fn last_float(&self) -> Option<i64> {
        self.open.last().or_else(|| self.closed.last().map(|chunk| chunk.last))
    }

    /// Changes the chunk where `t` belongs; one that grew too long becomes two.
    fn edit(&mut self, t: i64, change: impl FnOnce(&mut Vec<Point>)) {
        let at = self.closed.partition_point(|chunk| chunk.last < t);
        let Some(chunk) = self.closed.get(at) else {
            let mut points: Vec<Point> = self.open.points().collect();
            change(&mut points);
            let is_long = points.len() > usize::from(SAMPLES_MAX);
            let newest = points.split_off(if is_long { points.len() / 2 } else { 0 });
            self.open = self.open.with(&newest);
            self.closed.extend(close(&points));
            return;
        };
        let mut points: Vec<Point> = chunk.points().collect();
        change(&mut points);
        let halves = points.len().div_ceil(usize::from(SAMPLES_MAX)).max(1);
        let length = points.len().div_ceil(halves).max(1);
        self.closed.splice(at..=at, points.chunks(length).filter_map(close));
    }

    fn floats(&self, start: i64, end: i64) -> impl Iterator<Item = Point> {
        let from = self.closed.partition_point(|chunk| chunk.last < start);
        let closed = self.closed.get(from..).unwrap_or_default();
        closed
            .iter()
            .take_while(move |chunk| chunk.first <= end)
            .flat_map(Chunk::points)
            .chain(self.open.points())
            .skip_while(move |point| point.t < start)
            .take_while(move |point| point.t <= end)
    }

    pub(crate) fn has_in(&self, start: i64, end: i64) -> bool {
        let has_histogram = |histograms: &Natives| histograms.has_in(start, end);
        self.floats(start, end).next().is_some() || self.natives().is_some_and(has_histogram)
    }

    /// The newest sample, where that is a float in `[start, end]` and can be told without unpacking others.
    pub(crate) fn newest(&self, start: i64, end: i64) -> Option<Sample> {
        let Point { t, value } = self.open.newest()?;
        let is_it = (start..=end).contains(&t) && self.natives().is_none();
        is_it.then_some(Sample { t, value: SampleValue::Float(value) })
    }

    /// What holds all samples in `[start, end]`, for reading without the store's lock: packed samples are
    /// shared with it.
    pub(crate) fn part(&self, start: i64, end: i64) -> Self {
        let from = self.closed.partition_point(|chunk| chunk.last < start);
        let to = self.closed.partition_point(|chunk| chunk.first <= end);
        let open = self.open.first().zip(self.open.last());
        let is_open = open.is_some_and(|(first, last)| first <= end && last >= start);
        Self {
            closed: self.closed.get(from..to).unwrap_or_default().to_vec(),
            open: if is_open { self.open.clone() } else { OpenChunk::default() },
            histograms: self.natives().map(|natives| Box::new(natives.part(start, end))),
        }
    }

    /// The samples in `[start, end]`, ascending.
    pub(crate) fn samples(&self, start: i64, end: i64) -> Vec<Sample> {
        let mut gathered = Gathered::default();
        self.append_to(&mut gathered, Part { start, end, looks: None });
        gathered.samples
    }

    /// Appends the samples that are wanted, ascending.
    pub(crate) fn append_to(&self, gathered: &mut Gathered, part: Part) {
        let Part { start, end, .. } = part;
        let before = gathered.samples.len();
        let floats = self.floats(start, end).map(|point| (point.t, point.value));
        part.gather(floats, |value| value, gathered);
        let Some(natives) = self.natives() else { return };
        let samples = &mut gathered.samples;
        let within = natives.within(start, end);
        let has_any = !within.is_empty();
        samples.extend(
            within
                .into_iter()
                .map(|(t, histogram)| Sample { t, value: SampleValue::Histogram(histogram) }),
        );
        if has_any && let Some(fresh) = samples.get_mut(before..) {
            fresh.sort_by_key(|sample| sample.t);
        }
    }

    /// Takes out what is older than `t`, ascending.
    pub(crate) fn take_before(&mut self, t: i64) -> Vec<Sample> {
        if self.first().is_none_or(|first| first >= t) {
            return Vec::new();
        }
        let taken = self.samples(i64::MIN, t.saturating_sub(1));
        let whole = self.closed.partition_point(|chunk| chunk.last < t);
        self.closed.drain(..whole);
        if self.closed.first().is_some_and(|chunk| chunk.first < t) {
            self.edit(t, |points| points.retain(|point| point.t >= t));
        }
        if self.open.first().is_some_and(|first| first < t) {
            let kept: Vec<Point> = self.open.points().filter(|point| point.t >= t).collect();
            self.open = self.open.with(&kept);
        }
        self.closed.shrink_to_fit();
        if let Some(histograms) = &mut self.histograms {
            histograms.drop_before(t);
        }
        taken
    }

    /// When the first sample was.
    pub(crate) fn first(&self) -> Option<i64> {
        let float = self.closed.first().map(|chunk| chunk.first).or_else(|| self.open.first());
        float.into_iter().chain(self.natives().and_then(Natives::first)).min()
    }

    /// Bytes of chunks and histograms, each with its last time.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (i64, usize)> {
        let closed = self.closed.iter().map(|chunk| (chunk.last, chunk.n_bytes()));
        let open = self.open.last().map(|last| (last, self.open.n_bytes()));
        closed.chain(open).chain(self.natives().into_iter().flat_map(Natives::sizes))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.n() == 0 && self.natives().is_none()
    }
}

fn close(points: &[Point]) -> Option<Chunk> {
    (!points.is_empty()).then(|| OpenChunk::of(points).close())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::number::f64_from_i64;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn samples_in_any_order_read_back_as_a_map_would(
            times in prop::collection::vec(0..900_i64, 1..700),
            cut in 0..900_i64,
            range in (0..900_i64, 0..900_i64),
        ) {
            let (mut plain, mut naive) = (Plain::default(), BTreeMap::new());
            for (value, t) in (0_i64..).zip(times) {
                let value = SampleValue::Float(f64_from_i64(value));
                plain.insert(Sample { t, value: value.clone() });
                naive.insert(t, value);
            }
            prop_assert_eq!(plain.samples(i64::MIN, i64::MAX).len(), naive.len());
            let read = |naive: &BTreeMap<i64, SampleValue>, from: i64, to: i64| -> Vec<Sample> {
                let held = naive.iter().filter(|(t, _)| (from..=to).contains(*t));
                held.map(|(t, value)| Sample { t: *t, value: value.clone() }).collect()
            };
            prop_assert_eq!(plain.samples(range.0, range.1), read(&naive, range.0, range.1));
            let newest = read(&naive, 0, 900).pop();
            prop_assert_eq!(plain.newest(0, 900), newest.clone());
            let is_in = |sample: &Sample| sample.t >= range.0 && sample.t <= range.1;
            prop_assert_eq!(plain.newest(range.0, range.1), newest.filter(is_in));
            prop_assert_eq!(plain.take_before(cut), read(&naive, i64::MIN, cut - 1));
            prop_assert_eq!(plain.samples(i64::MIN, i64::MAX), read(&naive, cut, i64::MAX));
        }
    }
}
