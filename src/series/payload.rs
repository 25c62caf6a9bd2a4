//! What one series puts into a sealed block, by its kind, and how it is read again.
//!
//! A counter's slots; a histogram's schema, sum over all its slots, and slots; samples as columns and
//! native histograms. Bytes that make no sense give None.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::block::{Payload, Row, Span};
use super::chunk::Point;
use super::column::{self, Decoded};
use super::distribution::Counts;
use super::looks::{Gathered, Part};
use super::slots::{Delta, Slot, pack, unpack};
use super::{Histogram, Sample, SampleValue};

/// Samples of one column: what a read decodes at least.
const COLUMN_SAMPLES: usize = 960;

pub(crate) fn of_counter(slots: &[Slot<i64>]) -> Option<Payload> {
    let sum = slots.iter().fold(0, |sum: i64, (_, delta)| sum.saturating_add(*delta));
    Some(Payload { span: span(slots)?, sum, rises: rises(slots), bytes: pack(slots) })
}

pub(crate) fn counter(row: &Row, bytes: &[u8]) -> Vec<Slot<i64>> {
    unpack(row.span.first, bytes)
}

/// A histogram's slots, with the schema that their buckets have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SealedCounts {
    pub(crate) schema: i8,
    pub(crate) slots: Vec<Slot<Counts>>,
}

pub(crate) fn of_distribution(sealed: &SealedCounts) -> Option<Payload> {
    let mut total = Counts::default();
    sealed.slots.iter().for_each(|(_, counts)| total.merge(counts));
    let head = postcard::to_stdvec(&(sealed.schema, total)).ok()?;
    let bytes = [head, pack(&sealed.slots)].concat();
    let (span, rises) = (span(&sealed.slots)?, rises(&sealed.slots));
    Some(Payload { span, sum: 0, rises, bytes })
}

pub(crate) fn distribution(row: &Row, bytes: &[u8]) -> Option<SealedCounts> {
    let ((schema, _), rest) = postcard::take_from_bytes::<(i8, Counts)>(bytes).ok()?;
    Some(SealedCounts { schema, slots: unpack(row.span.first, rest) })
}

/// All slots as one, named by the last.
pub(crate) fn distribution_total(row: &Row, bytes: &[u8]) -> Option<SealedCounts> {
    let ((schema, total), _) = postcard::take_from_bytes::<(i8, Counts)>(bytes).ok()?;
    Some(SealedCounts { schema, slots: vec![(row.span.last, total)] })
}

fn rises<D: Delta>(slots: &[Slot<D>]) -> bool {
    slots.iter().all(|(_, delta)| delta.is_rise())
}

fn span<D>(slots: &[Slot<D>]) -> Option<Span> {
    Some(Span { first: slots.first()?.0, last: slots.last()?.0 })
}

#[derive(Serialize, Deserialize)]
struct Column<'a> {
    first: i64,
    last: i64,
    #[serde(borrow)]
    bytes: &'a [u8],
}

type Parts<'a> = (Vec<Column<'a>>, Vec<(i64, Histogram)>);

/// Samples, ascending.
pub(crate) fn of_samples(samples: &[Sample]) -> Option<Payload> {
    let span = Span { first: samples.first()?.t, last: samples.last()?.t };
    let (mut floats, mut histograms) = (Vec::new(), Vec::new());
    for sample in samples {
        match &sample.value {
            SampleValue::Float(value) => floats.push(Point { t: sample.t, value: *value }),
            SampleValue::Histogram(held) => histograms.push((sample.t, Histogram::clone(held))),
        }
    }
    let columns: Vec<Vec<u8>> = floats.chunks(COLUMN_SAMPLES).map(column::encode).collect();
    let columns: Vec<Column<'_>> = floats
        .chunks(COLUMN_SAMPLES)
        .zip(&columns)
        .filter_map(|(points, bytes)| {
            Some(Column { first: points.first()?.t, last: points.last()?.t, bytes })
        })
        .collect();
    let bytes = postcard::to_stdvec(&(columns, histograms)).ok()?;
    Some(Payload { span, sum: 0, rises: false, bytes })
}

/// Payloads of samples as one, those of later ones holding where two are of one time. Columns that do
/// not overlap stay as they are.
pub(crate) fn merged_samples(payloads: &[Vec<u8>]) -> Option<Payload> {
    let (mut columns, mut histograms) = (Vec::new(), Vec::new());
    for payload in payloads {
        let (more, others): Parts<'_> = postcard::from_bytes(payload).ok()?;
        columns.extend(more);
        histograms.extend(others);
    }
    columns.sort_by_key(|column| column.first);
    let is_apart = columns.is_sorted_by(|a, b| a.last < b.first);
    if is_apart && histograms.is_empty() {
        let span = Span { first: columns.first()?.first, last: columns.last()?.last };
        let bytes = postcard::to_stdvec(&(columns, histograms)).ok()?;
        return Some(Payload { span, sum: 0, rises: false, bytes });
    }
    let mut merged = Gathered::default();
    for payload in payloads {
        samples(payload, Part::EVERYTHING, &mut merged)?;
    }
    of_samples(&latest(merged.samples))
}

/// Samples in ascending order, of those at one time the last.
pub(crate) fn latest(mut samples: Vec<Sample>) -> Vec<Sample> {
    if samples.is_sorted_by(|a, b| a.t < b.t) {
        return samples;
    }
    samples.reverse();
    samples.sort_by_key(|sample| sample.t);
    samples.dedup_by_key(|sample| sample.t);
    samples
}

/// Appends the samples that are wanted, ascending.
pub(crate) fn samples(bytes: &[u8], part: Part, into: &mut Gathered) -> Option<()> {
    let (columns, histograms): Parts<'_> = postcard::from_bytes(bytes).ok()?;
    let Part { start, end, .. } = part;
    let before = into.samples.len();
    let mut decoded = Decoded::default();
    for column in columns.iter().filter(|column| column.first <= end && column.last >= start) {
        decoded.read(column.bytes)?;
        let Decoded { times, kept, .. } = &decoded;
        let from = times.partition_point(|t| *t < start);
        let to = times.partition_point(|t| *t <= end).max(from);
        let times = times.get(from..to)?.iter();
        let within = times.zip(kept.get(from..to)?);
        part.gather(within.map(|(t, kept)| (*t, *kept)), |kept| decoded.value(kept), into);
    }
    let into = &mut into.samples;
    let n_floats = into.len();
    into.extend(
        histograms
            .into_iter()
            .filter(|(t, _)| (start..=end).contains(t))
            .map(|(t, histogram)| Sample { t, value: SampleValue::Histogram(Arc::new(histogram)) }),
    );
    if into.len() > n_floats
        && let Some(fresh) = into.get_mut(before..)
    {
        fresh.sort_by_key(|sample| sample.t);
    }
    Some(())
}
