//! Bits in and out of bytes, most significant first. What is never true: a read past the end that
//! gives a value.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not written yet.
    free: u8,
}

impl BitWriter {
    /// The `n` (at most 64) low bits of `value`.
    pub(crate) fn push(&mut self, value: u64, n: u8) {
        let mut left = n;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let take = left.min(self.free);
            let part = (value >> (left - take)) & ((1 << take) - 1);
            if let Some(last) = self.bytes.last_mut() {
                let [low, ..] = (part << (self.free - take)).to_le_bytes();
                *last |= low;
            }
            self.free -= take;
            left -= take;
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Box<[u8]> {
        self.bytes.into()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `n` (at most 64) bits; None where fewer are left.
    pub(crate) fn read(&mut self, n: u8) -> Option<u64> {
        let (mut value, mut left) = (0, usize::from(n));
        while left > 0 {
            let byte = u64::from(*self.bytes.get(self.at / 8)?);
            let rest = 8 - self.at % 8;
            let take = left.min(rest);
            let part = (byte >> (rest - take)) & ((1 << take) - 1);
            value = (value << take) | part;
            self.at += take;
            left -= take;
        }
        Some(value)
    }
}
