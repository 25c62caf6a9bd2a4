//! Bits in and out of bytes, most significant first. What is never true: a read past the end that
//! gives a value.

use serde::{Deserialize, Serialize};

/// Bytes that room is made for at least.
const GROWTH_MIN: usize = 24;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not written yet.
    free: u8,
}

impl BitWriter {
    /// The `n` (at most 64) low bits of `value`.
    pub(crate) fn push(&mut self, value: u64, n: u8) {
        if n == 0 {
            return;
        }
        // From the top, so that whole bytes can be taken off.
        let mut rest = value << (64 - n);
        let mut left = n;
        if self.free > 0 {
            let take = left.min(self.free);
            let [top, ..] = rest.to_be_bytes();
            if let Some(last) = self.bytes.last_mut() {
                // Bits beyond `take` are none: what is pushed ends there, or the byte does.
                *last |= top >> (8 - self.free);
            }
            rest = rest.checked_shl(u32::from(take)).unwrap_or(0);
            self.free -= take;
            left -= take;
        }
        if left > 0 {
            let n_bytes = left.div_ceil(8);
            let bytes = rest.to_be_bytes();
            if self.bytes.capacity() - self.bytes.len() < usize::from(n_bytes) {
                // By a quarter: a store holds many of these, so what is free in them counts.
                self.bytes.reserve_exact((self.bytes.len() / 4).max(GROWTH_MIN));
            }
            self.bytes.extend_from_slice(bytes.get(..usize::from(n_bytes)).unwrap_or(&bytes));
            self.free = n_bytes * 8 - left;
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Box<[u8]> {
        self.bytes.into()
    }
}

/// Reads through a word that holds the next bits at its top.
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    rest: &'a [u8],
    word: u64,
    /// Bits of the word that are read from the bytes; those below are the same as will be read again.
    held: u8,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, word: 0, held: 0 }
    }

    /// The next `n` (at most 64) bits; None where fewer are left.
    #[inline]
    pub(crate) fn read(&mut self, n: u8) -> Option<u64> {
        if n > 56 {
            let high = self.read(n - 32)?;
            return Some((high << 32) | self.read(32)?);
        }
        if self.held < n {
            self.fill();
            if self.held < n {
                return None;
            }
        }
        if n == 0 {
            return Some(0);
        }
        let value = self.word >> (64 - n);
        self.word <<= n;
        self.held -= n;
        Some(value)
    }

    /// Fewer than `max` ones, the zero that ends them, and the `n` bits behind it, where all of them are at
    /// hand; `max + n` is 55 at most.
    #[inline]
    pub(crate) fn counted(&mut self, max: u8, n: u8) -> Option<(u8, u64)> {
        if self.held < max + n {
            self.fill();
        }
        let ones = u8::try_from(self.word.leading_ones()).unwrap_or(max);
        let length = ones + 1 + n;
        if ones >= max || length > self.held {
            return None;
        }
        let rest = self.word << (ones + 1);
        let low = (rest >> 1) >> (63 - n);
        self.word = rest << n;
        self.held -= length;
        Some((ones, low))
    }

    /// Takes whole bytes until at least 57 bits are held, or none are left.
    fn fill(&mut self) {
        if let Some(next) = self.rest.first_chunk() {
            self.word |= u64::from_be_bytes(*next) >> self.held;
            let n = (64 - self.held) / 8;
            self.rest = self.rest.get(usize::from(n)..).unwrap_or_default();
            self.held += n * 8;
            return;
        }
        while self.held <= 56
            && let Some((byte, rest)) = self.rest.split_first()
        {
            self.word |= u64::from(*byte) << (56 - self.held);
            self.held += 8;
            self.rest = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bits_come_out_as_they_went_in_and_none_beyond(
            parts in prop::collection::vec((any::<u64>(), 0..=64_u8), 0..80),
        ) {
            let mut writer = BitWriter::default();
            let (mut naive, mut n_bits) = (String::new(), 0_usize);
            for (value, n) in &parts {
                let value = if *n == 64 { *value } else { value & ((1 << n) - 1) };
                writer.push(value, *n);
                n_bits += usize::from(*n);
                if *n > 0 {
                    naive.extend([format!("{value:0width$b}", width = usize::from(*n))]);
                }
            }
            let written: String = writer.bytes().iter().map(|byte| format!("{byte:08b}")).collect();
            prop_assert_eq!(writer.bytes().len(), n_bits.div_ceil(8));
            prop_assert_eq!(&written[..n_bits], naive);
            prop_assert!(written[n_bits..].bytes().all(|bit| bit == b'0'));
            let mut reader = BitReader::new(writer.bytes());
            for (value, n) in parts {
                let value = if n == 64 { value } else { value & ((1 << n) - 1) };
                prop_assert_eq!(reader.read(n), Some(value));
            }
            prop_assert_eq!(reader.read(8), None);
        }

        #[test]
        fn bits_behind_ones_come_out_or_nothing_is_taken(
            parts in prop::collection::vec((0..=14_u8, any::<u64>(), 0..=27_u8), 0..60),
        ) {
            let low = |bits: u64, n: u8| if n == 0 { 0 } else { bits >> (64 - n) };
            let mut writer = BitWriter::default();
            for (ones, bits, n) in &parts {
                writer.push(((1 << ones) - 1) << 1, ones + 1);
                writer.push(low(*bits, *n), *n);
            }
            let mut reader = BitReader::new(writer.bytes());
            for (ones, bits, n) in parts {
                if let Some(read) = reader.counted(12, n) {
                    prop_assert_eq!(read, (ones, low(bits, n)));
                } else {
                    prop_assert!(ones >= 12);
                    prop_assert_eq!(reader.read(ones + 1), Some(((1 << ones) - 1) << 1));
                    prop_assert_eq!(reader.read(n), Some(low(bits, n)));
                }
            }
            prop_assert_eq!(reader.counted(12, 8), None);
        }
    }
}
