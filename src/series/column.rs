//! Float samples as columns of a sealed block, made to be compressed once more: times as deltas of
//! deltas; values as differences of whole numbers where all are decimals of few digits, else as planes
//! of bytes of XORed bits.
//!
//! Samples come in, strictly ascending; the same go out, bit for bit. Bytes that make no sense give
//! None, never another number.

use super::chunk::Point;
use crate::number::{f64_from_i64, i64_from_f64};

/// Decimal digits after the point that are tried.
const DIGITS: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];
/// Marks values that are no decimals.
const XORED: u8 = 255;
/// Whole numbers up to here are exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

pub(crate) fn encode(points: &[Point]) -> Vec<u8> {
    let mut bytes = put(Vec::new(), i64::try_from(points.len()).unwrap_or(i64::MAX));
    let (mut before, mut delta) = (0, 0);
    for point in points {
        let step = point.t.wrapping_sub(before);
        bytes = put(bytes, step.wrapping_sub(delta));
        (before, delta) = (point.t, step);
    }
    let decimals =
        (0..).zip(DIGITS).find_map(|(digits, scale)| Some((digits, whole(points, scale)?)));
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

pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Point>> {
    let mut rest = bytes;
    let n = usize::try_from(take(&mut rest)?).ok().filter(|n| *n <= bytes.len())?;
    let (mut t, mut delta) = (0_i64, 0_i64);
    let mut points = Vec::with_capacity(n);
    for _ in 0..n {
        delta = delta.wrapping_add(take(&mut rest)?);
        t = t.wrapping_add(delta);
        points.push(Point { t, value: 0.0 });
    }
    let (kind, mut rest) = rest.split_first()?;
    if *kind == XORED {
        let mut bits = 0;
        for (i, point) in points.iter_mut().enumerate() {
            let mut xor = [0; 8];
            for (plane, byte) in xor.iter_mut().enumerate() {
                *byte = *rest.get(plane * n + i)?;
            }
            bits ^= u64::from_be_bytes(xor);
            point.value = f64::from_bits(bits);
        }
        return (rest.len() == 8 * n).then_some(points);
    }
    let scale = DIGITS.get(usize::from(*kind))?;
    let mut number = 0_i64;
    for point in &mut points {
        number = number.wrapping_add(take(&mut rest)?);
        point.value = f64_from_i64(number) / scale;
    }
    rest.is_empty().then_some(points)
}

/// The values times `scale`, where all of them are whole and come back bit for bit.
fn whole(points: &[Point], scale: f64) -> Option<Vec<i64>> {
    let number = |point: &Point| {
        let scaled = (point.value * scale).round();
        let number = i64_from_f64(scaled);
        let back = f64_from_i64(number) / scale;
        (scaled.abs() < EXACT_MAX && back.to_bits() == point.value.to_bits()).then_some(number)
    };
    points.iter().map(number).collect()
}

fn put(bytes: Vec<u8>, number: i64) -> Vec<u8> {
    postcard::to_extend(&number, bytes).expect("memory grows")
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
    Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::number::f64_from_i64;

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
                        1 => f64_from_i64(number),
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
