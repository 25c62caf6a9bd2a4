//! Float samples compressed as they come: delta-of-delta times, XORed values, as Facebook's Gorilla
//! ("Gorilla: A Fast, Scalable, In-Memory Time Series Database", VLDB 2015, section 4.1), with the bit
//! widths of Prometheus's chunks, whose times are milliseconds.
//!
//! Samples come in, strictly ascending in time; the same samples go out, bit for bit. What is never
//! true: two samples at one time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bits::{BitReader, BitWriter};

/// Samples of one chunk: what an insertion out of order decodes and encodes again.
pub(crate) const SAMPLES_MAX: u16 = 240;
/// Widths of a delta of deltas, by the number of ones before it; then all 64 bits.
const WIDTHS: [u8; 3] = [14, 17, 20];

/// One float sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// Milliseconds since the epoch.
    pub(crate) t: i64,
    pub(crate) value: f64,
}

/// A chunk that still grows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenChunk {
    n: u16,
    first: i64,
    last: i64,
    delta: i64,
    bits: u64,
    /// Leading zeros and significant bits of the last XOR that was written with its own window.
    window: Window,
    out: BitWriter,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Window {
    leading: u8,
    width: u8,
}

impl Window {
    const fn trailing(self) -> u8 {
        64 - self.leading - self.width
    }
}

impl OpenChunk {
    pub(crate) fn of(points: &[Point]) -> Self {
        let mut chunk = Self::default();
        points.iter().for_each(|point| chunk.push(*point));
        chunk
    }

    /// Appends a sample that is later than all before.
    pub(crate) fn push(&mut self, point: Point) {
        debug_assert!(self.n == 0 || point.t > self.last, "samples ascend");
        let bits = point.value.to_bits();
        if self.n == 0 {
            self.first = point.t;
            self.out.push(bits, 64);
        } else {
            let delta = point.t.wrapping_sub(self.last);
            self.push_time(delta.wrapping_sub(self.delta));
            self.delta = delta;
            self.push_value(bits ^ self.bits);
        }
        (self.last, self.bits) = (point.t, bits);
        self.n += 1;
    }

    fn push_time(&mut self, change: i64) {
        if change == 0 {
            return self.out.push(0, 1);
        }
        for (ones, width) in (1_u8..).zip(WIDTHS) {
            let half = 1_i64 << (width - 1);
            if (-half..half).contains(&change) {
                let unused = 64 - width;
                let low = change.cast_unsigned() << unused >> unused;
                return self.out.push((((1 << (ones + 1)) - 2) << width) | low, ones + 1 + width);
            }
        }
        self.out.push(0b1111, 4);
        self.out.push(change.cast_unsigned(), 64);
    }

    fn push_value(&mut self, xor: u64) {
        if xor == 0 {
            return self.out.push(0, 1);
        }
        let count = |n: u32| u8::try_from(n).unwrap_or(64);
        let (leading, trailing) = (count(xor.leading_zeros()).min(31), count(xor.trailing_zeros()));
        let held = self.window;
        if held.width > 0 && leading >= held.leading && trailing >= held.trailing() {
            self.out.push(0b10, 2);
            return self.out.push(xor >> held.trailing(), held.width);
        }
        self.window = Window { leading, width: 64 - leading - trailing };
        // 64 significant bits are written as 0, which never occurs.
        let opening = (0b11 << 11) | (u64::from(leading) << 6) | u64::from(self.window.width % 64);
        self.out.push(opening, 13);
        self.out.push(xor >> trailing, self.window.width);
    }

    pub(crate) fn n(&self) -> u16 {
        self.n
    }

    pub(crate) fn first(&self) -> Option<i64> {
        (self.n > 0).then_some(self.first)
    }

    pub(crate) fn last(&self) -> Option<i64> {
        (self.n > 0).then_some(self.last)
    }

    /// The last sample, without reading the others.
    pub(crate) fn newest(&self) -> Option<Point> {
        (self.n > 0).then(|| Point { t: self.last, value: f64::from_bits(self.bits) })
    }

    pub(crate) fn points(&self) -> Points<'_> {
        Points::new(self.n, self.first, self.out.bytes())
    }

    pub(crate) fn n_bytes(&self) -> usize {
        self.out.bytes().len()
    }

    pub(crate) fn close(self) -> Chunk {
        Chunk { n: self.n, first: self.first, last: self.last, bytes: self.out.into_bytes().into() }
    }
}

/// A chunk that is complete, and never empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    n: u16,
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Shared with readers.
    bytes: Arc<[u8]>,
}

impl Chunk {
    pub(crate) fn points(&self) -> Points<'_> {
        Points::new(self.n, self.first, &self.bytes)
    }

    pub(crate) fn n_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
}

/// Reads a chunk from its start; ends early where its bits do.
#[derive(Clone, Debug)]
pub(crate) struct Points<'a> {
    left: u16,
    is_first: bool,
    t: i64,
    delta: i64,
    bits: u64,
    window: Window,
    reader: BitReader<'a>,
}

impl<'a> Points<'a> {
    fn new(n: u16, first: i64, bytes: &'a [u8]) -> Self {
        let reader = BitReader::new(bytes);
        let window = Window::default();
        Self { left: n, is_first: true, t: first, delta: 0, bits: 0, window, reader }
    }

    fn read_time_change(&mut self) -> Option<i64> {
        if self.reader.read(1)? == 0 {
            return Some(0);
        }
        for width in WIDTHS {
            if self.reader.read(1)? == 0 {
                let (raw, unused) = (self.reader.read(width)?, 64 - width);
                // Shifting up and down again extends the sign.
                return Some((raw << unused).cast_signed() >> unused);
            }
        }
        self.reader.read(64).map(u64::cast_signed)
    }

    fn read_xor(&mut self) -> Option<u64> {
        if self.reader.read(1)? == 0 {
            return Some(0);
        }
        if self.reader.read(1)? == 1 {
            let leading = u8::try_from(self.reader.read(5)?).ok()?;
            let width = u8::try_from(self.reader.read(6)?).ok()?;
            let width = if width == 0 { 64 } else { width };
            if leading + width > 64 {
                return None;
            }
            self.window = Window { leading, width };
        }
        Some(self.reader.read(self.window.width)? << (self.window.trailing() % 64))
    }
}

impl Iterator for Points<'_> {
    type Item = Point;

    fn next(&mut self) -> Option<Point> {
        self.left = self.left.checked_sub(1)?;
        if self.is_first {
            self.is_first = false;
            self.bits = self.reader.read(64)?;
        } else {
            self.delta = self.delta.wrapping_add(self.read_time_change()?);
            self.t = self.t.wrapping_add(self.delta);
            self.bits ^= self.read_xor()?;
        }
        Some(Point { t: self.t, value: f64::from_bits(self.bits) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::number::{f64_from_i64, f64_from_usize, u64_from_usize};

    fn bits(points: impl IntoIterator<Item = Point>) -> Vec<(i64, u64)> {
        points.into_iter().map(|point| (point.t, point.value.to_bits())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_chunk_gives_back_every_bit(
            steps in prop::collection::vec((prop_oneof![Just(15_000_i64), 1..40_000_i64, 1..i64::MAX / 300], prop_oneof![any::<u64>(), (0..9_u64).prop_map(|n| f64_from_i64(n.cast_signed()).to_bits())]), 1..240),
            start in -100_000..1_i64 << 50,
        ) {
            let mut t = start;
            let points: Vec<Point> = steps
                .into_iter()
                .map(|(step, bits)| {
                    t = t.saturating_add(step);
                    Point { t, value: f64::from_bits(bits) }
                })
                .collect();
            let open = OpenChunk::of(&points);
            prop_assert_eq!(bits(open.points()), bits(points.clone()));
            let closed = open.close();
            prop_assert_eq!(bits(closed.points()), bits(points.clone()));
            let short = Chunk { bytes: closed.bytes[..closed.bytes.len() / 2].into(), ..closed };
            prop_assert!(short.points().count() <= points.len());
        }
    }

    #[test]
    fn a_scraped_gauge_takes_less_than_two_bytes_a_sample() {
        let points: Vec<Point> = (0..240_u8)
            .map(|i| Point { t: i64::from(i) * 15_000, value: f64::from(i / 4 % 16) })
            .collect();
        let n_bytes = f64_from_usize(OpenChunk::of(&points).n_bytes());
        assert!(n_bytes / 240.0 < 1.0, "{n_bytes}");
        assert_eq!(u64_from_usize(points.len()), u64::from(SAMPLES_MAX));
    }
}
