//! Digests: what a value says, as a number, so that two tellings can be compared without keeping one.
//!
//! Anything that serde can show comes in; 64 bits go out, the same in every process and for the same
//! fields in the same order. Nothing is written anywhere: fields are folded into the number as they are
//! shown (a wide multiplication each, as wyhash does), longer texts by XXH3. Not for defence: whoever
//! chooses a signal's content may choose its digest, and only gains that it is taken for a repeat of itself.

use std::fmt;

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::number::u64_from_usize;

/// Odd, with its bits spread evenly (the golden ratio's fraction).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Where every digest begins: any number but zero (the fraction of pi).
const BEGIN: u64 = 0x243f_6a88_85a3_08d3;
/// Stands for what is not there.
const ABSENT: u64 = 0x452_8216;
/// Texts up to here are folded in as they are.
const SHORT: usize = 16;

/// The digest of a value. Of what serde cannot show, the digest of what came before.
pub(super) fn digest<T: Serialize + ?Sized>(value: &T) -> u64 {
    let mut digest = Digest::<true>(BEGIN);
    let _shown: Done = value.serialize(&mut digest);
    digest.0
}

/// The same, whatever the order in which maps give their entries: that of two hash tables which hold the
/// same is the same.
pub(super) fn digest_in_any_order<T: Serialize + ?Sized>(value: &T) -> u64 {
    let mut digest = Digest::<false>(BEGIN);
    let _shown: Done = value.serialize(&mut digest);
    digest.0
}

/// Entries of a map count one after the other (`IN_ORDER`), or each by itself and all added up.
struct Digest<const IN_ORDER: bool>(u64);

/// A map that is being shown.
struct Entries<'a, const IN_ORDER: bool> {
    digest: &'a mut Digest<IN_ORDER>,
    /// The entry at hand, and those before it; where their order does not count.
    entry: Digest<IN_ORDER>,
    sum: u64,
}

impl<const IN_ORDER: bool> Digest<IN_ORDER> {
    fn fold(&mut self, n: u64) {
        let wide = u128::from(self.0 ^ n).wrapping_mul(u128::from(FACTOR)).to_le_bytes();
        let (low, high) = wide.split_at(8);
        self.0 = eight(low) ^ eight(high).wrapping_add(FACTOR);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.fold(u64_from_usize(bytes.len()));
        if bytes.len() > SHORT {
            self.fold(xxh3_64(bytes));
            return;
        }
        let (whole, rest) = bytes.as_chunks::<8>();
        whole.iter().for_each(|chunk| self.fold(u64::from_le_bytes(*chunk)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(into, byte)| *into = *byte);
            self.fold(u64::from_le_bytes(last));
        }
    }
}

fn eight(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

type Done = Result<(), fmt::Error>;

macro_rules! fold_numbers {
    ($($name:ident: $n:ty),*) => {$(
        fn $name(self, n: $n) -> Done {
            self.fold(u64::from(n));
            Ok(())
        }
    )*};
}

macro_rules! fold_signed {
    ($($name:ident: $n:ty),*) => {$(
        fn $name(self, n: $n) -> Done {
            self.fold(i64::from(n).cast_unsigned());
            Ok(())
        }
    )*};
}

impl<'a, const IN_ORDER: bool> Serializer for &'a mut Digest<IN_ORDER> {
    type Ok = ();
    type Error = fmt::Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Entries<'a, IN_ORDER>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fold_numbers!(
        serialize_bool: bool, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64, serialize_char: char
    );
    fold_signed!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);

    fn serialize_u128(self, n: u128) -> Done {
        self.bytes(&n.to_le_bytes());
        Ok(())
    }

    fn serialize_i128(self, n: i128) -> Done {
        self.bytes(&n.to_le_bytes());
        Ok(())
    }

    fn serialize_f32(self, n: f32) -> Done {
        self.fold(u64::from(n.to_bits()));
        Ok(())
    }

    fn serialize_f64(self, n: f64) -> Done {
        self.fold(n.to_bits());
        Ok(())
    }

    fn serialize_str(self, text: &str) -> Done {
        self.bytes(text.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Done {
        self.bytes(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Done {
        self.fold(ABSENT);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        self.fold(!ABSENT);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Done {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, idx: u32, _: &'static str) -> Done {
        self.serialize_u32(idx)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        idx: u32,
        _: &'static str,
        value: &T,
    ) -> Done {
        self.fold(u64::from(idx));
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self, fmt::Error> {
        self.fold(u64_from_usize(length.unwrap_or(usize::MAX)));
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, fmt::Error> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, fmt::Error> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        idx: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, fmt::Error> {
        self.fold(u64::from(idx));
        Ok(self)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Entries<'a, IN_ORDER>, fmt::Error> {
        let digest = self.serialize_seq(length)?;
        Ok(Entries { digest, entry: Digest(BEGIN), sum: 0 })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, fmt::Error> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        idx: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self, fmt::Error> {
        self.serialize_tuple_variant(name, idx, variant, length)
    }

    /// As postcard shows it.
    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! fold_parts {
    ($($kind:ident::$part:ident($($name:ident)?)),*) => {$(
        impl<const IN_ORDER: bool> $kind for &mut Digest<IN_ORDER> {
            type Ok = ();
            type Error = fmt::Error;

            fn $part<T: Serialize + ?Sized>(&mut self, $($name: &'static str,)? value: &T) -> Done {
                value.serialize(&mut **self)
            }

            fn end(self) -> Done {
                Ok(())
            }
        }
    )*};
}

fold_parts!(
    SerializeSeq::serialize_element(),
    SerializeTuple::serialize_element(),
    SerializeTupleStruct::serialize_field(),
    SerializeTupleVariant::serialize_field(),
    SerializeStruct::serialize_field(_name),
    SerializeStructVariant::serialize_field(_name)
);

impl<const IN_ORDER: bool> SerializeMap for Entries<'_, IN_ORDER> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        if IN_ORDER { key.serialize(&mut *self.digest) } else { key.serialize(&mut self.entry) }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        if IN_ORDER {
            return value.serialize(&mut *self.digest);
        }
        let mut entry = std::mem::replace(&mut self.entry, Digest(BEGIN));
        value.serialize(&mut entry)?;
        // Spread once more: sums of what was folded alone could meet where entries exchanged their values.
        self.sum = self.sum.wrapping_add(xxh3_64(&entry.0.to_le_bytes()));
        Ok(())
    }

    fn end(self) -> Done {
        if !IN_ORDER {
            self.digest.fold(self.sum);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn what_differs_anywhere_has_another_digest() {
        let texts = ["", "a", "b", "ab", "ba", "eight by", "eight byt", "sixteen bytes ok"];
        let long = ["more than sixteen bytes", "more than sixteen bytes!"];
        let mut seen = BTreeSet::new();
        for text in texts.into_iter().chain(long) {
            for number in [None, Some(0_u64), Some(1), Some(u64::MAX)] {
                for list in [vec![], vec![0_i32], vec![0, 0], vec![-1], vec![1]] {
                    assert!(
                        seen.insert(digest(&(text, number, &list))),
                        "{text} {number:?} {list:?}"
                    );
                }
            }
        }
        assert_ne!(digest(&("ab", "c")), digest(&("a", "bc")));
        assert_ne!(digest(&(vec![1], vec![2, 3])), digest(&(vec![1, 2], vec![3])));
        assert_ne!(digest(&0.0), digest(&-0.0));
    }

    #[test]
    fn tables_are_told_apart_by_their_entries_and_not_by_their_order() {
        type Table = std::collections::HashMap<u32, Vec<u32>>;
        let table = |pairs: &[(u32, u32)]| -> Table {
            pairs.iter().map(|(key, value)| (*key, vec![*value])).collect()
        };
        let of = |pairs: &[(u32, u32)]| digest_in_any_order(&(1, table(pairs), 2));
        let some: Vec<(u32, u32)> = (0..100).map(|n| (n, n + 1)).collect();
        let other_way: Vec<(u32, u32)> = some.iter().rev().copied().collect();
        for _ in 0..3 {
            assert_eq!(of(&some), of(&other_way), "each table has a seed of its own");
        }
        let mut seen = BTreeSet::from([of(&some), of(&some[1..]), of(&[])]);
        for (a, b) in (0..99).flat_map(|a| (a + 1..100).map(move |b| (a, b))) {
            let mut exchanged = some.clone();
            (exchanged[a].1, exchanged[b].1) = (some[b].1, some[a].1);
            assert!(seen.insert(of(&exchanged)), "{a} and {b} exchanged their values");
        }
        let nested = |a: u32, b: u32| {
            let within = |n: u32| std::collections::HashMap::from([(1, n)]);
            digest_in_any_order(&std::collections::HashMap::from([(1, within(a)), (2, within(b))]))
        };
        assert_ne!(nested(1, 2), nested(2, 1));
    }

    #[test]
    fn a_digest_stays_what_it_is() {
        let value = BTreeMap::from([("key", (Some(-3), 2.5, true, 'x', [1_u8, 2]))]);
        assert_eq!(digest(&value), 11_735_515_183_200_233_711);
    }
}
