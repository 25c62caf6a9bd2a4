//! Float samples compressed as they come: times as deltas of deltas; values as differences of whole
//! numbers where those of the chunk are decimals of few digits, else XORed, as in Facebook's Gorilla
//! ("Gorilla: A Fast, Scalable, In-Memory Time Series Database", VLDB 2015, section 4.1). Differences are
//! written by Rice's code. A scraped gauge of two decimals that moves by little at even times takes about a
//! byte a sample, one that rests at a number less, at none (NaN) three.
//!
//! Samples come in, strictly ascending in time; the same samples go out, bit for bit. What is never
//! true: two samples at one time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bits::{BitReader, BitWriter};
use super::decimal;
use super::rice::{PARAMETER_BITS, Rice, Written};

/// Samples of one chunk: what an insertion out of order decodes and encodes again.
pub(crate) const SAMPLES_MAX: u16 = 240;
/// What a chunk begins with: its digits, and the parameters that its times and its values begin with.
const DIGITS_BITS: u8 = 3;
/// In the place of digits: the values are XORed.
const XORED: u8 = 7;

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
    /// Digits after the point that all values have at most, or [`XORED`].
    digits: u8,
    /// Leading zeros and significant bits of the last XOR that was written with its own window.
    window: Window,
    first: i64,
    last: i64,
    delta: i64,
    /// Of the last value.
    bits: u64,
    times: Rice,
    values: Rice,
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

/// What the next value of a decimal chunk differs from, after a value with these bits.
fn whole(bits: u64, scale: f64) -> i64 {
    decimal::number(f64::from_bits(bits), scale).unwrap_or_default()
}

impl OpenChunk {
    pub(crate) fn of(points: &[Point]) -> Self {
        Self::default().with(points)
    }

    /// An empty one for what comes after this one's samples: much like them.
    pub(crate) fn following(&self) -> Self {
        Self {
            digits: if self.digits == XORED { 0 } else { self.digits },
            times: Rice::starting(self.times.parameter()),
            values: Rice::starting(self.values.parameter()),
            ..Self::default()
        }
    }

    /// A chunk of these samples, which begins with the means of this one.
    pub(crate) fn with(&self, points: &[Point]) -> Self {
        let digits = decimal::digits(points).unwrap_or(XORED);
        let mut chunk = Self { digits, ..self.following() };
        points.iter().for_each(|point| chunk.push(*point));
        chunk
    }

    /// Appends a sample that is later than all before.
    pub(crate) fn push(&mut self, point: Point) {
        debug_assert!(self.n == 0 || point.t > self.last, "samples ascend");
        let scale = decimal::scale(self.digits);
        let number = scale.and_then(|scale| decimal::number(point.value, scale));
        if scale.is_some() && number.is_none() && point.value.is_finite() {
            let points: Vec<Point> = self.points().chain([point]).collect();
            *self = self.with(&points);
            return;
        }
        if self.n == 0 {
            self.first = point.t;
            self.begin();
        } else {
            let delta = point.t.wrapping_sub(self.last);
            self.times.push(&mut self.out, delta.wrapping_sub(self.delta));
            self.delta = delta;
        }
        let bits = point.value.to_bits();
        match (scale, number) {
            (Some(scale), Some(number)) => {
                let before = if self.n == 0 { 0 } else { whole(self.bits, scale) };
                self.values.push(&mut self.out, number.wrapping_sub(before));
            }
            (Some(_), None) if self.n > 0 && bits == self.bits => Rice::push_again(&mut self.out),
            (Some(_), None) => Rice::push_bits(&mut self.out, bits),
            (None, _) if self.n == 0 => self.out.push(bits, 64),
            (None, _) => self.push_xor(bits ^ self.bits),
        }
        (self.last, self.bits) = (point.t, bits);
        self.n += 1;
    }

    fn begin(&mut self) {
        self.out.push(u64::from(self.digits), DIGITS_BITS);
        for rice in [self.times, self.values] {
            self.out.push(u64::from(rice.parameter()), PARAMETER_BITS);
        }
    }

    fn push_xor(&mut self, xor: u64) {
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
    /// Of decimals.
    scale: Option<f64>,
    times: Rice,
    values: Rice,
    t: i64,
    delta: i64,
    number: i64,
    bits: u64,
    window: Window,
    reader: BitReader<'a>,
}

impl<'a> Points<'a> {
    fn new(n: u16, first: i64, bytes: &'a [u8]) -> Self {
        let mut points = Self {
            left: n,
            is_first: true,
            scale: None,
            times: Rice::default(),
            values: Rice::default(),
            t: first,
            delta: 0,
            number: 0,
            bits: 0,
            window: Window::default(),
            reader: BitReader::new(bytes),
        };
        if n > 0 && points.read_beginning().is_none() {
            points.left = 0;
        }
        points
    }

    fn read_beginning(&mut self) -> Option<()> {
        let mut read = |n: u8| u8::try_from(self.reader.read(n)?).ok();
        let digits = read(DIGITS_BITS)?;
        self.times = Rice::starting(read(PARAMETER_BITS)?);
        self.values = Rice::starting(read(PARAMETER_BITS)?);
        self.scale = decimal::scale(digits);
        (self.scale.is_some() || digits == XORED).then_some(())
    }

    #[inline]
    fn read_value(&mut self) -> Option<f64> {
        if let Some(scale) = self.scale {
            return Some(match self.values.read(&mut self.reader)? {
                Written::Number(change) => {
                    self.number = self.number.wrapping_add(change);
                    decimal::of_number(self.number, scale)
                }
                Written::Bits(bits) => {
                    (self.number, self.bits) = (0, bits);
                    f64::from_bits(bits)
                }
                Written::Again => f64::from_bits(self.bits),
            });
        }
        self.bits =
            if self.is_first { self.reader.read(64)? } else { self.bits ^ self.read_xor()? };
        Some(f64::from_bits(self.bits))
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
        if !self.is_first {
            let Written::Number(change) = self.times.read(&mut self.reader)? else { return None };
            self.delta = self.delta.wrapping_add(change);
            self.t = self.t.wrapping_add(self.delta);
        }
        let value = self.read_value()?;
        self.is_first = false;
        Some(Point { t: self.t, value })
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

    fn values() -> impl Strategy<Value = u64> {
        let decimal = |scale: f64| (-900..900_i64).prop_map(move |n| f64_from_i64(n) / scale);
        let odd = prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-0.0), Just(1e300)];
        prop_oneof![
            1 => any::<u64>(),
            8 => decimal(1.0).prop_map(f64::to_bits),
            8 => decimal(100.0).prop_map(f64::to_bits),
            1 => decimal(1e6).prop_map(f64::to_bits),
            1 => odd.prop_map(f64::to_bits),
        ]
    }

    /// Mostly of one kind, since one that is not makes the whole chunk another.
    fn chunks() -> impl Strategy<Value = Vec<(i64, u64)>> {
        let whole = (0..90_u32).prop_map(|n| f64::from(n).to_bits());
        let hundredths = (0..9000_u32).prop_map(|n| (f64::from(n) / 100.0).to_bits());
        let stale = prop_oneof![9 => hundredths.clone(), 1 => Just(crate::series::STALE_NAN_BITS)];
        let step = || prop_oneof![Just(15_000_i64), 1..40_000_i64, 1..i64::MAX / 300];
        let of = |value: BoxedStrategy<u64>| prop::collection::vec((step(), value), 1..240);
        prop_oneof![
            of(whole.boxed()),
            of(hundredths.boxed()),
            of(stale.boxed()),
            of(values().boxed())
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn a_chunk_gives_back_every_bit(
            steps in chunks(),
            before in chunks(),
            start in -100_000..1_i64 << 50,
        ) {
            let points = |steps: &[(i64, u64)]| -> Vec<Point> {
                let mut t = start;
                let mut next = |step: i64| {
                    t = t.saturating_add(step);
                    t
                };
                let point = |(step, bits): &(i64, u64)| (next(*step), f64::from_bits(*bits));
                steps.iter().map(point).map(|(t, value)| Point { t, value }).collect()
            };
            let (before, points) = (points(&before), points(&steps));
            let mut open = OpenChunk::of(&before).following();
            for (n, point) in points.iter().enumerate() {
                open.push(*point);
                let newest = open.newest().map(|point| bits([point]));
                prop_assert_eq!(newest, Some(bits([*point])));
                if n % 50 == 0 {
                    prop_assert_eq!(bits(open.points()), bits(points[..=n].to_vec()));
                }
            }
            prop_assert_eq!(bits(open.points()), bits(points.clone()));
            prop_assert_eq!(bits(OpenChunk::of(&points).points()), bits(points.clone()));
            let closed = open.close();
            prop_assert_eq!(bits(closed.points()), bits(points.clone()));
            let short = Chunk { bytes: closed.bytes[..closed.bytes.len() / 2].into(), ..closed };
            prop_assert!(short.points().count() <= points.len());
        }
    }

    fn bytes_a_sample(value: impl Fn(u16) -> f64) -> f64 {
        let points: Vec<Point> = (0..SAMPLES_MAX)
            .map(|i| Point { t: i64::from(i) * 15_000 + i64::from(i * 7 % 5), value: value(i) })
            .collect();
        assert_eq!(u64_from_usize(points.len()), u64::from(SAMPLES_MAX));
        f64_from_usize(OpenChunk::of(&points).n_bytes()) / f64::from(SAMPLES_MAX)
    }

    #[test]
    fn a_scraped_series_takes_about_a_byte_a_sample_where_it_moves_and_less_where_it_rests() {
        let resting = bytes_a_sample(|i| f64::from(i / 4 % 16));
        assert!(resting < 0.9, "{resting}, most of it for times that are not quite even");
        let gauge = bytes_a_sample(|i| f64::from(20_000 + i * 31 % 41) / 100.0);
        assert!(gauge < 1.6, "{gauge}");
        let counter = bytes_a_sample(|i| f64::from(u32::from(i) * 1000 + u32::from(i * 31 % 41)));
        assert!(counter < 2.4, "{counter}");
        let nothing = bytes_a_sample(|_| f64::NAN);
        assert!(nothing < 3.2, "{nothing}");
    }
}
