//! Trace and span ids, and the hash that names things.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Text;

const HEX_DIGITS: [u8; 16] = *b"0123456789abcdef";

/// A byte as two hex digits.
pub fn hex_pair(byte: u8) -> [u8; 2] {
    let digit = |n: u8| HEX_DIGITS.get(usize::from(n)).copied().unwrap_or(b'0');
    [digit(byte >> 4), digit(byte & 0xf)]
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $n:literal, $number:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub [u8; $n]);

        // As a number it is compared and hashed at once, without a loop over its bytes.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                $number::from_be_bytes(self.0).cmp(&$number::from_be_bytes(other.0))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                $number::from_be_bytes(self.0).hash(state);
            }
        }

        impl $name {
            /// From bytes of the exact length; all zeros is no id (W3C Trace Context 3.2.2.3).
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let id: [u8; $n] = bytes.try_into().ok()?;
                (id != [0; $n]).then_some(Self(id))
            }

            /// From hex digits of either case, of the exact length.
            pub fn from_hex(hex: &str) -> Option<Self> {
                let digits = hex.as_bytes();
                if digits.len() != $n * 2 {
                    return None;
                }
                let mut id = [0_u8; $n];
                for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
                    let [high, low] = *pair else { return None };
                    *byte = digit(high)? << 4 | digit(low)?;
                }
                (id != [0; $n]).then_some(Self(id))
            }
        }

        impl $name {
            /// As hex digits, by what is to be made of them.
            fn show<T>(self, take: impl FnOnce(&str) -> T) -> T {
                let mut digits = [0; $n * 2];
                for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
                    pair.copy_from_slice(&hex_pair(byte));
                }
                take(std::str::from_utf8(&digits).unwrap_or_default())
            }

            /// As hex digits.
            pub fn text(self) -> Text {
                self.show(|digits| Text::from(digits))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.show(|digits| f.write_str(digits))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let hex = String::deserialize(d)?;
                    Self::from_hex(&hex).ok_or_else(|| serde::de::Error::custom("not an id in hex digits"))
                } else {
                    <[u8; $n]>::deserialize(d).map(Self)
                }
            }
        }
    };
}

hex_id!(
    /// A W3C trace id; never all zeros.
    TraceId, 16, u128
);
hex_id!(
    /// A W3C span id; never all zeros.
    SpanId, 8, u64
);

impl TraceId {
    /// Its lower 64 bits, all that some tracers pass on.
    pub fn half(&self) -> u64 {
        let (_, lower) = self.0.split_at(8);
        u64::from_be_bytes(lower.try_into().unwrap_or_default())
    }

    /// The same with an upper half of zeros, as who knows no more of it has it.
    #[must_use]
    pub fn as_half(&self) -> Self {
        Self(u128::from(self.half()).to_be_bytes())
    }

    /// Whether the upper half is not told.
    pub fn is_half(&self) -> bool {
        *self == self.as_half()
    }
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

/// FNV-1a, 128 bits: names things stably across versions and machines. It is no defence against an
/// attacker who chooses the input; tables keyed by attacker-named text use the standard hasher.
#[derive(Clone, Copy, Debug)]
pub struct Fnv128(u128);

impl Default for Fnv128 {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Fnv128 {
    /// Adds one field; a separator keeps `("ab","c")` and `("a","bc")` apart.
    #[must_use]
    pub fn field(mut self, bytes: &[u8]) -> Self {
        for &byte in bytes.iter().chain(&[0xff]) {
            self.0 =
                (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        self
    }

    pub fn finish(self) -> u128 {
        self.0
    }
}

/// A span is known by its ids, whatever its sender calls it and whatever dialect told it.
pub fn span_identity(trace: &TraceId, span: SpanId) -> u128 {
    Fnv128::default().field(b"span").field(&trace.0).field(&span.0).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_either_case_and_refuse_zero_and_wrong_lengths() {
        assert_eq!(
            SpanId::from_hex("00F067aa0ba902b7").map(|id| id.to_string()).as_deref(),
            Some("00f067aa0ba902b7")
        );
        assert_eq!(SpanId::from_hex("0000000000000000"), None);
        assert_eq!(TraceId::from_hex("00f067aa0ba902b7"), None);
        assert_eq!(SpanId::from_bytes(&[1; 7]), None);
    }

    #[test]
    fn field_borders_count() {
        let a = Fnv128::default().field(b"ab").field(b"c").finish();
        let b = Fnv128::default().field(b"a").field(b"bc").finish();
        assert_ne!(a, b);
    }
}
