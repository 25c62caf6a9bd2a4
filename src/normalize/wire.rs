//! The protobuf wire format, read in place.
//!
//! In: a message's bytes. Out: its fields in their order, as numbers and borrowed ranges. Nothing is
//! copied, and nothing outside of the given range is ever read. Groups (wire types 3 and 4) are
//! refused: no message of ours has one.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use std::borrow::Cow;

/// A message that does not follow the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Offset in the body, in bytes.
    pub(crate) offset: usize,
    pub(crate) message: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}", self.message, self.offset)
    }
}

/// A range of the body that still knows where in the body it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// One field's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(Message<'a>),
    /// No field that matters is one.
    Fixed32,
}

/// One field: its number, its value, and where it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    payload: Payload<'a>,
    offset: usize,
}

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(crate) fn offset(self) -> usize {
        self.offset
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes as text; what is no UTF-8 is shown as U+FFFD, because one bad byte in a name must
    /// not cost a whole span.
    pub(crate) fn text(self) -> Cow<'a, str> {
        match simdutf8::basic::from_utf8(self.bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(self.bytes),
        }
    }

    /// Takes the next field off the front; None at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, Fault> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        let Some(number) = number else {
            return Err(Fault { offset, message: "a field's number is out of range" });
        };
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                Payload::Bytes(self.take(length)?)
            }
            5 => {
                self.array::<4>()?;
                Payload::Fixed32
            }
            3 | 4 => return Err(Fault { offset, message: "groups are not supported" }),
            _ => return Err(Fault { offset, message: "an unknown wire type" }),
        };
        Ok(Some(Field { number, payload, offset }))
    }

    /// Takes the next message of those that stand each behind its length; None at the end.
    pub(crate) fn delimited(&mut self) -> Result<Option<Self>, Fault> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let length = self.varint()?;
        self.take(length).map(Some)
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for (i, &byte) in self.bytes.iter().enumerate().take(10) {
            let part = u64::from(byte & 0x7f);
            // The tenth byte holds the 64th bit alone.
            if i == 9 && byte > 1 {
                return Err(self.fault("a number is longer than 64 bits"));
            }
            value |= part << (7 * i);
            if byte < 0x80 {
                self.skip(i + 1);
                return Ok(value);
            }
        }
        Err(self.fault("a number is cut short"))
    }

    fn take(&mut self, length: u64) -> Result<Self, Fault> {
        let range = usize::try_from(length).ok().and_then(|length| self.bytes.get(..length));
        let Some(bytes) = range else {
            return Err(self.fault("a field is longer than what holds it"));
        };
        let taken = Self { bytes, offset: self.offset };
        self.skip(bytes.len());
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let Some(array) = self.bytes.first_chunk::<N>() else {
            return Err(self.fault("a fixed-width number is cut short"));
        };
        self.skip(N);
        Ok(*array)
    }

    fn skip(&mut self, n: usize) {
        self.bytes = self.bytes.get(n..).unwrap_or_default();
        self.offset += n;
    }

    fn fault(&self, message: &'static str) -> Fault {
        Fault { offset: self.offset, message }
    }
}

impl<'a> Field<'a> {
    pub(crate) fn varint(self) -> Result<u64, Fault> {
        if let Payload::Varint(n) = self.payload { Ok(n) } else { Err(self.wrong_type()) }
    }

    pub(crate) fn fixed64(self) -> Result<u64, Fault> {
        if let Payload::Fixed64(n) = self.payload { Ok(n) } else { Err(self.wrong_type()) }
    }

    pub(crate) fn message(self) -> Result<Message<'a>, Fault> {
        if let Payload::Bytes(message) = self.payload {
            Ok(message)
        } else {
            Err(self.wrong_type())
        }
    }

    pub(crate) fn text(self) -> Result<Cow<'a, str>, Fault> {
        self.message().map(Message::text)
    }

    pub(crate) fn fault(self, message: &'static str) -> Fault {
        Fault { offset: self.offset, message }
    }

    fn wrong_type(self) -> Fault {
        self.fault("a field has the wrong wire type")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(bytes: &[u8], expect: &Expect) {
        let mut message = Message::new(bytes);
        let mut lines = Vec::new();
        loop {
            lines.push(match message.next() {
                Ok(None) => break,
                Ok(Some(field)) => match field.payload {
                    Payload::Bytes(m) => format!("{}: {:?}@{}", field.number, m.bytes, m.offset),
                    other => format!("{}: {other:?}", field.number),
                },
                Err(fault) => {
                    lines.push(format!("{} at {}", fault.message, fault.offset));
                    break;
                }
            });
        }
        expect.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn fields_are_read_in_their_order() {
        check(
            &[
                0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0,
                0,
            ],
            &expect![[r"
                1: Varint(150)
                2: [104, 105]@5
                3: Fixed32
                4: Fixed64(2)"]],
        );
    }

    #[test]
    fn numbers_end_at_64_bits() {
        let ten = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        check(&[&[0x08], &ten[..], &[1]].concat(), &expect!["1: Varint(18446744073709551615)"]);
        check(
            &[&[0x08], &ten[..], &[2]].concat(),
            &expect!["a number is longer than 64 bits at 1"],
        );
    }

    #[test]
    fn what_is_cut_or_foreign_is_a_fault_with_its_place() {
        check(&[0x12, 5, 1], &expect!["a field is longer than what holds it at 2"]);
        check(&[0x08, 0x80], &expect!["a number is cut short at 1"]);
        check(&[0x21, 0], &expect!["a fixed-width number is cut short at 1"]);
        check(&[0x0b], &expect!["groups are not supported at 0"]);
        check(&[0x0f], &expect!["an unknown wire type at 0"]);
        check(&[0x00], &expect!["a field's number is out of range at 0"]);
    }
}
