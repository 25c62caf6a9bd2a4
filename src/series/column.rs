//! Float samples as columns of a sealed block, made to be compressed once more: times as deltas of
//! deltas; values as differences of whole numbers where all are decimals of few digits, else as planes
//! of bytes of XORed bits.
//!
//! Samples come in, strictly ascending; the same go out, bit for bit. Bytes that make no sense give
//! None, never another number.

use super::chunk::Point;
use super::decimal;

/// Marks values that are no decimals.
const XORED: u8 = 255;

pub(crate) fn encode(points: &[Point]) -> Vec<u8> {
    let mut bytes = put(Vec::new(), i64::try_from(points.len()).unwrap_or(i64::MAX));
    let (mut before, mut delta) = (0, 0);
    for point in points {
        let step = point.t.wrapping_sub(before);
        bytes = put(bytes, step.wrapping_sub(delta));
        (before, delta) = (point.t, step);
    }
    let decimals = decimal::digits(points).and_then(|digits| {
        let numbers = decimal::numbers(points, decimal::scale(digits)?)?;
        Some((digits, numbers))
    });
    if let Some((digits, numbers)) = decimals {
        bytes.push(digits);
        let mut before = 0;
        for number in numbers {
            bytes = put(bytes, number.wrapping_sub(before));
            before = number;
        }
        return bytes;
    }
    bytes.push(XORED);
    let mut before = 0;
    let xors: Vec<[u8; 8]> = points
        .iter()
        .map(|point| {
            let bits = point.value.to_bits();
            (std::mem::replace(&mut before, bits) ^ bits).to_be_bytes()
        })
        .collect();
    bytes.extend((0..8).flat_map(|plane| xors.iter().filter_map(move |x| x.get(plane))));
    bytes
}

/// Samples of a column, apart: what is read lies close together. Its room is used again.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) times: Vec<i64>,
    /// Each value as [`Decoded::value`] takes it, which is not asked of what nobody looks at.
    pub(crate) kept: Vec<i64>,
    /// Of decimals.
    scale: Option<f64>,
}

impl Decoded {
    /// Replaces what was there by the samples of these bytes.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<()> {
        self.times.clear();
        self.kept.clear();
        let mut rest = bytes;
        let n = usize::try_from(take(&mut rest)?).ok().filter(|n| *n <= bytes.len())?;
        let (mut t, mut delta) = (0_i64, 0_i64);
        self.times.resize(n, 0);
        take_all(&mut rest, &mut self.times)?;
        for slot in &mut self.times {
            delta = delta.wrapping_add(*slot);
            t = t.wrapping_add(delta);
            *slot = t;
        }
        let (kind, mut rest) = rest.split_first()?;
        self.scale = decimal::scale(*kind);
        if *kind == XORED {
            return self.read_xored(rest, n);
        }
        self.scale?;
        self.kept.resize(n, 0);
        take_all(&mut rest, &mut self.kept)?;
        let mut number = 0_i64;
        for slot in &mut self.kept {
            number = number.wrapping_add(*slot);
            *slot = number;
        }
        rest.is_empty().then_some(())
    }

    fn read_xored(&mut self, planes: &[u8], n: usize) -> Option<()> {
        let mut bits = 0;
        self.kept.reserve(n);
        for i in 0..n {
            let mut xor = [0; 8];
            for (plane, byte) in xor.iter_mut().enumerate() {
                *byte = *planes.get(plane * n + i)?;
            }
            bits ^= u64::from_be_bytes(xor);
            self.kept.push(bits.cast_signed());
        }
        (planes.len() == 8 * n).then_some(())
    }

    /// What the value is that is kept so.
    #[inline]
    pub(crate) fn value(&self, kept: i64) -> f64 {
        match self.scale {
            Some(scale) => decimal::of_number(kept, scale),
            None => f64::from_bits(kept.cast_unsigned()),
        }
    }
}

fn put(bytes: Vec<u8>, number: i64) -> Vec<u8> {
    postcard::to_extend(&number, bytes).expect("memory grows")
}

/// Set in each byte that is not the last of its number.
const GOES_ON: u64 = u64::from_ne_bytes([0x80; 8]);

/// Reads as many numbers as there are places. Nearly all take a byte, so eight are read at once where
/// eight do, and added up only after that.
fn take_all(bytes: &mut &[u8], places: &mut [i64]) -> Option<()> {
    let mut at = 0;
    while at < places.len() {
        if let Some((eight, rest)) = bytes.split_first_chunk::<8>()
            && u64::from_ne_bytes(*eight) & GOES_ON == 0
            && let Some(places) = places.get_mut(at..at + 8)
        {
            for (place, byte) in places.iter_mut().zip(eight) {
                *place = signed(u64::from(*byte));
            }
            *bytes = rest;
            at += 8;
        } else if let Some(place) = places.get_mut(at) {
            *place = take(bytes)?;
            at += 1;
        }
    }
    Some(())
}

fn signed(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// Postcard's form of a number: zigzag, then seven bits a byte, the lowest first. Most take one byte.
#[inline]
fn take(bytes: &mut &[u8]) -> Option<i64> {
    let (first, rest) = bytes.split_first()?;
    let mut number = u64::from(*first & 0x7f);
    *bytes = rest;
    if *first >= 0x80 {
        let mut shift = 7;
        loop {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            // The tenth byte holds the last bit.
            if shift == 63 && *byte > 1 {
                return None;
            }
            number |= u64::from(*byte & 0x7f) << shift;
            if *byte < 0x80 {
                break;
            }
            shift += 7;
        }
    }
    Some(signed(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::number::f64_from_i64;

    fn decode(bytes: &[u8]) -> Option<Vec<Point>> {
        let mut decoded = Decoded::default();
        decoded.read(&[1, 2, 3]);
        decoded.read(bytes)?;
        assert_eq!(decoded.times.len(), decoded.kept.len());
        let points = decoded.times.iter().zip(&decoded.kept);
        Some(points.map(|(t, kept)| Point { t: *t, value: decoded.value(*kept) }).collect())
    }

    fn bits(points: &[Point]) -> Vec<(i64, u64)> {
        points.iter().map(|point| (point.t, point.value.to_bits())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn columns_give_back_every_bit(
            steps in prop::collection::vec((1..1_i64 << 40, any::<u64>(), -5_000_000..5_000_000_i64), 0..300),
            kind in 0..3_u8,
            garbage in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut t = -9;
            let points: Vec<Point> = steps
                .into_iter()
                .map(|(step, bits, number)| {
                    t += step;
                    let value = match kind {
                        0 => f64::from_bits(bits),
                        1 => f64_from_i64(number >> (bits % 20)),
                        _ => f64_from_i64(number) / 100.0,
                    };
                    Point { t, value }
                })
                .collect();
            let bytes = encode(&points);
            prop_assert_eq!(decode(&bytes).map(|held| bits(&held)), Some(bits(&points)));
            prop_assert!(points.is_empty() || decode(&bytes[..bytes.len() - 1]).is_none());
            let _ = decode(&garbage);
        }
    }
}
