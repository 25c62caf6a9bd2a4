//! Whole numbers as few bits, of a sender whose numbers are about as large as those before: Rice's code,
//! whose parameter follows their mean.
//!
//! In: signed numbers, or 64 bits as they are. Out: the same. A number costs about two bits more than
//! its size beyond the usual, an unusual one its length and nineteen bits, and moves the mean only a little.
//! Never true: a reader whose mean is another than the writer's was.

use serde::{Deserialize, Serialize};

use super::bits::{BitReader, BitWriter};

/// So many ones open what does not fit the usual size.
const ESCAPE: u8 = 12;
/// Bits that tell the length of such a number; none is 64 bits as they are, [`AGAIN`] those before once more.
const LENGTH_BITS: u8 = 7;
const AGAIN: u8 = 65;
/// The mean is over about two to this power numbers.
const MEMORY: u32 = 4;
/// Bits of the parameter. Of 27 and more there are none, so that the sum fits its type.
pub(crate) const PARAMETER_BITS: u8 = 5;
const PARAMETER_MAX: u8 = 27;

/// The mean of what came, times sixteen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rice(u32);

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Number(i64),
    Bits(u64),
    Again,
}

impl Rice {
    /// As it is where such a parameter was reached before.
    pub(crate) fn starting(parameter: u8) -> Self {
        let parameter = u32::from(parameter.min(PARAMETER_MAX));
        Self(if parameter == 0 { 0 } else { 1 << (parameter + MEMORY) })
    }

    /// Low bits that are written as they are.
    #[inline]
    pub(crate) fn parameter(self) -> u8 {
        let log = ((self.0 >> MEMORY) | 1).ilog2();
        u8::try_from(log).unwrap_or(PARAMETER_MAX)
    }

    #[inline]
    fn learn(&mut self, size: u64) {
        let most = 1_u64 << (u32::from(self.parameter()) + MEMORY);
        let size = u32::try_from(size.min(most)).unwrap_or(u32::MAX);
        let sum = (self.0 - (self.0 >> MEMORY)).saturating_add(size);
        self.0 = sum.min(1 << (u32::from(PARAMETER_MAX) + MEMORY));
    }

    pub(crate) fn push(&mut self, out: &mut BitWriter, number: i64) {
        let size = zigzag(number);
        let parameter = self.parameter();
        let quotient = u8::try_from(size >> parameter).unwrap_or(u8::MAX);
        if quotient < ESCAPE {
            let ones = ((1_u64 << quotient) - 1) << 1;
            let low = size & ((1 << parameter) - 1);
            out.push((ones << parameter) | low, quotient + 1 + parameter);
        } else {
            let length = u8::try_from(u64::BITS - size.leading_zeros()).unwrap_or(64);
            escape(out, length);
            out.push(size, length);
        }
        self.learn(size);
    }

    /// What is no number. The mean stays.
    pub(crate) fn push_bits(out: &mut BitWriter, bits: u64) {
        escape(out, 0);
        out.push(bits, 64);
    }

    /// What is no number, and the same as before.
    pub(crate) fn push_again(out: &mut BitWriter) {
        escape(out, AGAIN);
    }

    #[inline]
    pub(crate) fn read(&mut self, reader: &mut BitReader<'_>) -> Option<Written> {
        let parameter = self.parameter();
        let size = if let Some((ones, low)) = reader.counted(ESCAPE, parameter) {
            (u64::from(ones) << parameter) | low
        } else {
            if reader.read(ESCAPE)? != (1 << ESCAPE) - 1 {
                return None;
            }
            match u8::try_from(reader.read(LENGTH_BITS)?).ok()? {
                0 => return reader.read(64).map(Written::Bits),
                length @ 1..=64 => reader.read(length)?,
                AGAIN => return Some(Written::Again),
                _ => return None,
            }
        };
        self.learn(size);
        Some(Written::Number((size >> 1).cast_signed() ^ -((size & 1).cast_signed())))
    }
}

fn escape(out: &mut BitWriter, length: u8) {
    let ones = (1_u64 << ESCAPE) - 1;
    out.push((ones << LENGTH_BITS) | u64::from(length), ESCAPE + LENGTH_BITS);
}

/// Small numbers of either sign as small ones without.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::number::f64_from_usize;

    fn written(numbers: &[Written]) -> BitWriter {
        let (mut rice, mut out) = (Rice::default(), BitWriter::default());
        for number in numbers {
            match number {
                Written::Number(number) => rice.push(&mut out, *number),
                Written::Bits(bits) => Rice::push_bits(&mut out, *bits),
                Written::Again => Rice::push_again(&mut out),
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn numbers_come_out_as_they_went_in(
            numbers in prop::collection::vec(
                prop_oneof![
                    4 => (-40..40_i64).prop_map(Written::Number),
                    1 => (any::<i64>(), 0..64_u8).prop_map(|(n, by)| Written::Number(n >> by)),
                    1 => any::<u64>().prop_map(Written::Bits),
                    1 => Just(Written::Again),
                ],
                0..300,
            ),
            start in any::<u8>(),
        ) {
            let out = written(&numbers);
            let (mut rice, mut reader) = (Rice::default(), BitReader::new(out.bytes()));
            for number in &numbers {
                prop_assert_eq!(rice.read(&mut reader), Some(*number));
            }
            prop_assert!(rice.parameter() <= PARAMETER_MAX);
            prop_assert_eq!(Rice::starting(start).parameter(), start.min(PARAMETER_MAX));
        }
    }

    #[test]
    fn one_outlier_costs_itself_and_no_more() {
        let n_bits = |numbers: &[i64]| {
            let numbers: Vec<Written> = numbers.iter().copied().map(Written::Number).collect();
            8 * written(&numbers).bytes().len()
        };
        let mut steady = vec![0; 240];
        assert_eq!(n_bits(&steady), 240);
        steady[99] = 15_000;
        assert_eq!(n_bits(&steady), 240 - 1 + 12 + 7 + 15 + 7, "the last are of a byte");
    }

    #[test]
    fn numbers_of_any_size_cost_little_more_than_their_size() {
        for size in [1_u64 << 4, 1 << 20, 1 << 26] {
            let mut state = 88_u64;
            let numbers: Vec<Written> = (0..1000)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    Written::Number((state % size).cast_signed() - (size / 2).cast_signed())
                })
                .collect();
            let bits = f64_from_usize(8 * written(&numbers).bytes().len()) / 1000.0;
            let least = f64::from(size.ilog2());
            assert!(bits < least + 2.1, "{bits} bits of {least}");
        }
    }
}
