//! JSON, read in place and forgivingly.
//!
//! In: a whole JSON text. Out: its values, one after the other, as the caller asks for them. Two kinds
//! of trouble are kept apart: text that is no JSON, or nested deeper than [`DEPTH_MAX`], ends the
//! reading ([`Fault`]); a value of another type than the one asked for is skipped and noted
//! ([`Reader::take_mismatch`]), so that the record that holds it can be rejected alone. `null` is an
//! absent value wherever it stands. Numbers may be written as text, as protobuf's JSON mapping does.

use std::borrow::Cow;

use crate::number::{i64_from_f64, u64_from_f64};

/// Deepest nesting of objects and lists. OTLP itself needs 12 levels; the rest is for attribute values.
pub(super) const DEPTH_MAX: usize = 64;
/// Above this a float no longer holds every whole number.
const WHOLE_FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

/// Text that is no JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Offset in the body, in bytes.
    pub(super) offset: usize,
    pub(super) message: &'static str,
}

/// A value of another type than the one that OTLP asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) offset: usize,
    pub(super) wanted: &'static str,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} expected at byte {}", self.wanted, self.offset)
    }
}

/// What a value begins like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    List,
    Text,
    Number,
    Bool,
    Null,
}

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    mismatch: Option<Mismatch>,
}

/// A place to come back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

impl Place {
    /// Offset in the body, in bytes.
    pub(super) fn offset(self) -> usize {
        self.0
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, mismatch: None }
    }

    /// The first mismatch since the last call.
    pub(super) fn take_mismatch(&mut self) -> Option<Mismatch> {
        self.mismatch.take()
    }

    /// Notes again what was taken; the earlier one stays.
    pub(super) fn put_back(&mut self, mismatch: Mismatch) {
        self.mismatch = Some(mismatch);
    }

    pub(super) fn place(&self) -> Place {
        Place(self.at)
    }

    /// Goes back to a place of the same nesting.
    pub(super) fn go_back(&mut self, place: Place) {
        self.at = place.0;
    }

    /// Makes sure that nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.byte() {
            None => Ok(()),
            Some(_) => Err(self.fault("text after the end of the JSON")),
        }
    }

    /// What comes next, after white space.
    pub(super) fn kind(&mut self) -> Result<Kind, Fault> {
        Ok(match self.byte() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::List,
            Some(b'"') => Kind::Text,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            Some(_) => return Err(self.fault("this begins no JSON value")),
            None => return Err(self.fault("the JSON ends too early")),
        })
    }

    /// Reads an object: `each` is given every key and must consume its value.
    pub(super) fn object(
        &mut self,
        each: impl FnMut(&mut Self, &str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.object_of::<Fault>(each)
    }

    /// Reads a list: `each` must consume one value at every call.
    pub(super) fn list(
        &mut self,
        each: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.list_of::<Fault>(each)
    }

    /// [`Reader::object`], where reading may end for other reasons too.
    pub(super) fn object_of<E: From<Fault>>(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.kind()? != Kind::Object {
            return Ok(self.no("an object")?);
        }
        self.enter()?;
        if self.byte() == Some(b'}') {
            self.leave();
            return Ok(());
        }
        loop {
            if self.byte() != Some(b'"') {
                return Err(self.fault("a key in quotes is missing").into());
            }
            let key = self.quoted()?;
            if self.byte() != Some(b':') {
                return Err(self.fault("a colon is missing").into());
            }
            self.at += 1;
            each(self, &key)?;
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.fault("a comma or the end of the object is missing").into()),
            }
        }
        self.leave();
        Ok(())
    }

    /// [`Reader::list`], where reading may end for other reasons too.
    pub(super) fn list_of<E: From<Fault>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.kind()? != Kind::List {
            return Ok(self.no("a list")?);
        }
        self.enter()?;
        if self.byte() == Some(b']') {
            self.leave();
            return Ok(());
        }
        loop {
            each(self)?;
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.fault("a comma or the end of the list is missing").into()),
            }
        }
        self.leave();
        Ok(())
    }

    /// Text; None for null and for anything else, which is noted.
    pub(super) fn string(&mut self) -> Result<Option<Cow<'a, str>>, Fault> {
        if self.kind()? == Kind::Text {
            return self.quoted().map(Some);
        }
        self.no("text").map(|()| None)
    }

    /// Text, empty where there is none.
    pub(super) fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.string().map(Option::unwrap_or_default)
    }

    pub(super) fn bool(&mut self) -> Result<Option<bool>, Fault> {
        let place = self.place();
        match self.scalar()?.as_deref() {
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            other => Ok(self.unfit(other.is_some(), place, "true or false")),
        }
    }

    pub(super) fn u64(&mut self) -> Result<Option<u64>, Fault> {
        let place = self.place();
        let scalar = self.scalar()?;
        let Some(text) = scalar.as_deref() else { return Ok(None) };
        let number = text.parse().ok().or_else(|| {
            let whole = whole_float(text).filter(|x| *x >= 0.0)?;
            Some(u64_from_f64(whole))
        });
        Ok(number.or_else(|| self.unfit(true, place, "a whole number")))
    }

    pub(super) fn i64(&mut self) -> Result<Option<i64>, Fault> {
        let place = self.place();
        let scalar = self.scalar()?;
        let Some(text) = scalar.as_deref() else { return Ok(None) };
        let number = text.parse().ok().or_else(|| whole_float(text).map(i64_from_f64));
        Ok(number.or_else(|| self.unfit(true, place, "a whole number")))
    }

    pub(super) fn i32(&mut self) -> Result<Option<i32>, Fault> {
        let place = self.place();
        let Some(number) = self.i64()? else { return Ok(None) };
        Ok(i32::try_from(number).ok().or_else(|| self.unfit(true, place, "a 32-bit number")))
    }

    /// A float; also `"NaN"`, `"Infinity"`, `"-Infinity"` (protobuf's JSON mapping).
    pub(super) fn f64(&mut self) -> Result<Option<f64>, Fault> {
        let place = self.place();
        let scalar = self.scalar()?;
        let Some(text) = scalar.as_deref() else { return Ok(None) };
        Ok(float(text).or_else(|| self.unfit(true, place, "a number")))
    }

    /// An enum's value: its number, or its name (`SPAN_KIND_SERVER`), which stands at the index of its
    /// number in `names`; names are compared without `prefix` and without case.
    pub(super) fn enumeration(
        &mut self,
        prefix: &str,
        names: &[&str],
    ) -> Result<Option<i32>, Fault> {
        let place = self.place();
        let scalar = self.scalar()?;
        let Some(text) = scalar.as_deref() else { return Ok(None) };
        let bare = match text.get(..prefix.len()) {
            Some(head) if head.eq_ignore_ascii_case(prefix) => text.get(prefix.len()..),
            _ => Some(text),
        };
        let by_name = bare.and_then(|bare| names.iter().position(|n| n.eq_ignore_ascii_case(bare)));
        let number = text.parse().ok().or_else(|| by_name.and_then(|n| i32::try_from(n).ok()));
        Ok(number.or_else(|| self.unfit(true, place, "an enum's number or name")))
    }

    /// Reads any value and forgets it.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        match self.kind()? {
            Kind::Object => self.object(|reader, _| reader.skip()),
            Kind::List => self.list(Self::skip),
            Kind::Text => self.quoted().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::Bool | Kind::Null => self.word().map(drop),
        }
    }

    /// Notes that the value at `place` is not what was wanted.
    pub(super) fn note(&mut self, place: Place, wanted: &'static str) {
        let offset = place.0 + leading_space(self.text.get(place.0..).unwrap_or_default());
        self.mismatch.get_or_insert(Mismatch { offset, wanted });
    }

    fn unfit<T>(&mut self, is_there: bool, place: Place, wanted: &'static str) -> Option<T> {
        if is_there {
            self.note(place, wanted);
        }
        None
    }

    /// Skips a value that is not what was wanted; null is no mismatch.
    fn no(&mut self, wanted: &'static str) -> Result<(), Fault> {
        let place = self.place();
        if self.kind()? != Kind::Null {
            self.note(place, wanted);
        }
        self.skip()
    }

    /// The text of a number, of a word or between quotes; None for null and for objects and lists,
    /// which are noted.
    fn scalar(&mut self) -> Result<Option<Cow<'a, str>>, Fault> {
        match self.kind()? {
            Kind::Text => self.quoted().map(Some),
            Kind::Number => self.number().map(|text| Some(Cow::Borrowed(text))),
            Kind::Bool => self.word().map(|text| Some(Cow::Borrowed(text))),
            Kind::Null => self.word().map(|_| None),
            Kind::Object | Kind::List => self.no("a plain value").map(|()| None),
        }
    }

    fn word(&mut self) -> Result<&'a str, Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for word in ["true", "false", "null"] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(word);
            }
        }
        Err(self.fault("an unknown word"))
    }

    /// RFC 8259, section 6: no leading zeros, digits on both sides of the point.
    fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') && self.digits() == 0 {
            return Err(self.fault("a digit is missing"));
        }
        if self.eat(b'.') && self.digits() == 0 {
            return Err(self.fault("a digit is missing"));
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            if self.digits() == 0 {
                return Err(self.fault("a digit is missing"));
            }
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let n = rest.iter().take_while(|c| c.is_ascii_digit()).count();
        self.at += n;
        n
    }

    fn eat(&mut self, wanted: u8) -> bool {
        let found = self.text.as_bytes().get(self.at) == Some(&wanted);
        self.at += usize::from(found);
        found
    }

    /// Reads text in quotes; borrowed unless it holds escapes.
    fn quoted(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.at += 1;
        let plain = self.plain();
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = String::from(plain);
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err(self.fault("a control character inside text")),
                None => return Err(self.fault("text without its closing quote")),
            }
            text.push_str(self.plain());
        }
    }

    /// The run up to a quote, a backslash or a control character.
    fn plain(&mut self) -> &'a str {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let n =
            rest.iter().position(|c| matches!(c, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len());
        let plain = self.text.get(self.at..self.at + n).unwrap_or_default();
        self.at += n;
        plain
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let escaped = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match escaped {
            Some(b'u') => return self.unicode_escape(),
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.fault("an unknown escape")),
        };
        self.at += 2;
        Ok(plain)
    }

    /// `\uXXXX`, or a pair of them; half a pair is shown as U+FFFD.
    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let Some(first) = self.hex4(self.at + 2) else {
            return Err(self.fault("an unknown escape"));
        };
        self.at += 6;
        let pair = self.text.get(self.at..self.at + 2) == Some("\\u");
        let second = if pair { self.hex4(self.at + 2) } else { None };
        if let (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) = (first, second) {
            self.at += 6;
            let code = 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4)?;
        let is_hex = digits.bytes().all(|c| c.is_ascii_hexdigit());
        is_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    }

    /// The next byte that is no white space; does not consume it.
    fn byte(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn enter(&mut self) -> Result<(), Fault> {
        if self.depth == DEPTH_MAX {
            return Err(self.fault("nested too deeply"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    fn fault(&self, message: &'static str) -> Fault {
        Fault { offset: self.at, message }
    }
}

/// A float as JSON or protobuf's JSON mapping writes it.
fn float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

fn whole_float(text: &str) -> Option<f64> {
    float(text).filter(|x| x.fract() == 0.0 && x.abs() <= WHOLE_FLOAT_MAX)
}

fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\n', '\r', '\t']).len()
}

#[cfg(test)]
#[path = "json_reader_tests.rs"]
mod tests;
