//! Floats that are decimals of few digits, as whole numbers: what people measure has few digits, and whole
//! numbers that follow each other differ by little, where the bits of their floats differ by a lot.
//!
//! In: a float and a power of ten. Out: the whole number, where that gives the float back bit for bit.
//! Never true: a number that gives another float.

use super::chunk::Point;
use crate::number::{f64_from_i64, i64_from_f64};

/// Powers of ten, by the digits after the point.
const SCALES: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
/// Whole numbers up to here are exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// By what decimals of so many digits are multiplied; None where that many are not tried.
pub(crate) fn scale(digits: u8) -> Option<f64> {
    SCALES.get(usize::from(digits)).copied()
}

#[inline]
pub(crate) fn number(value: f64, scale: f64) -> Option<i64> {
    let scaled = value * scale;
    // The nearest; where this is another one, it does not give the value back.
    let number = i64_from_f64(scaled + 0.5_f64.copysign(scaled));
    let is_it = scaled.abs() < EXACT_MAX && of_number(number, scale).to_bits() == value.to_bits();
    is_it.then_some(number)
}

#[inline]
pub(crate) fn of_number(number: i64, scale: f64) -> f64 {
    f64_from_i64(number) / scale
}

/// The fewest digits by which all of these values that are finite are decimals; None where there are none.
pub(crate) fn digits(points: &[Point]) -> Option<u8> {
    let all_fit = |scale: f64| {
        points.iter().all(|point| !point.value.is_finite() || number(point.value, scale).is_some())
    };
    (0..).zip(SCALES).find_map(|(digits, scale)| all_fit(scale).then_some(digits))
}

/// The values times `scale`, where all of them are whole.
pub(crate) fn numbers(points: &[Point], scale: f64) -> Option<Vec<i64>> {
    points.iter().map(|point| number(point.value, scale)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_number_gives_its_float_back_or_there_is_none(
            bits in any::<u64>(),
            whole in -9_007_199_254_740_991..9_007_199_254_740_991_i64,
            digits in 0..7_u8,
        ) {
            let scale = scale(digits).unwrap();
            let odd = f64::from_bits(bits);
            prop_assert!(number(odd, scale).is_none_or(|n| of_number(n, scale).to_bits() == bits));
            let decimal = of_number(whole / 8, scale);
            let back = number(decimal, scale).map(|n| of_number(n, scale).to_bits());
            prop_assert_eq!(back, (decimal != 0.0 || whole / 8 == 0).then_some(decimal.to_bits()));
        }
    }

    #[test]
    fn digits_are_as_few_as_will_do_and_what_is_not_finite_needs_none() {
        let of = |values: &[f64]| {
            digits(&values.iter().map(|value| Point { t: 0, value: *value }).collect::<Vec<_>>())
        };
        assert_eq!(of(&[3.0, f64::NAN, -7.0]), Some(0));
        assert_eq!(of(&[3.0, 0.25]), Some(2));
        assert_eq!(of(&[0.000_001, f64::NEG_INFINITY]), Some(6));
        assert_eq!(of(&[0.1 + 0.2]), None);
        assert_eq!(of(&[-0.0]), None);
    }
}
