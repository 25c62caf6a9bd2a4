//! Pieces: a body of JSON values and text lines in, one piece after another out.
//!
//! Log streams are impure: NDJSON, arrays, pretty-printed objects, text lines, text glued to an object,
//! objects cut off in the middle, broken UTF-8. A bad piece is given as [`Piece::Bad`] and reading goes
//! on behind it; its neighbours are unharmed. The work is linear in the body: attempts that may run
//! over the same bytes twice draw on one budget.

use std::borrow::Cow;

use serde_json::Value;

use super::json_fields::Object;

/// Longest single JSON value, in bytes. CloudWatch allows 1 MiB a log event and Pub/Sub 10 MB a
/// message; a `Value` of numbers takes sixteen times its text.
pub(crate) const VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Deepest nesting of a value that is read; deeper ones are bad.
pub(crate) const DEPTH_MAX: usize = 64;

/// How often all attempts together may run over the body.
const PASSES_MAX: usize = 4;

/// Candidates for the start of a glued object that are tried in one text line.
const GLUED_TRIES_MAX: usize = 8;

/// Text before a glued object, and the object: whether the object is a record of its own.
pub(crate) type IsGlued = fn(&str, &Object) -> bool;

#[derive(Debug)]
pub(crate) enum Piece<'a> {
    Json(Value),
    Text(Cow<'a, str>),
    /// Text that stood before an object on the same line; the object comes next.
    Prefix(&'a str),
    Bad(String),
}

#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    body: &'a [u8],
    at: usize,
    in_array: bool,
    budget: usize,
    is_glued: IsGlued,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(body: &'a [u8], is_glued: IsGlued) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let budget = body.len().saturating_mul(PASSES_MAX);
        Self { body, at: 0, in_array: false, budget, is_glued }
    }

    fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    fn line(&self) -> &'a [u8] {
        let rest = self.rest();
        rest.get(..line_len(rest)).unwrap_or_default()
    }

    fn pass_over(&mut self, is_passed: impl Fn(u8) -> bool) {
        self.at += self.rest().iter().take_while(|b| is_passed(**b)).count();
    }

    fn element(&mut self) -> Option<Piece<'a>> {
        self.pass_over(|b| b.is_ascii_whitespace() || b == b',');
        match self.rest().first()? {
            b']' => {
                self.at += 1;
                self.in_array = false;
                None
            }
            _ => Some(match parse_one(self.rest()) {
                Parsed::Value { value, len } => {
                    self.at += len;
                    checked(value)
                }
                Parsed::Cut { message } | Parsed::Wrong { message, .. } => {
                    self.at += self.bad_element_len();
                    Piece::Bad(message)
                }
            }),
        }
    }

    /// A bad element ends where its brackets balance, else before the next line that opens an object.
    fn bad_element_len(&mut self) -> usize {
        let rest = self.rest();
        if !matches!(rest.first(), Some(b'{' | b'[')) {
            let end = rest.iter().position(|b| matches!(b, b',' | b']' | b'\n'));
            return end.unwrap_or(rest.len()).max(1);
        }
        let window = rest.get(..self.budget.min(rest.len())).unwrap_or_default();
        let balanced = balanced_len(window);
        self.budget = self.budget.saturating_sub(balanced.unwrap_or(window.len()));
        balanced.unwrap_or_else(|| next_object_line(rest))
    }

    fn item(&mut self) -> Option<Piece<'a>> {
        self.pass_over(|b| b.is_ascii_whitespace());
        let rest = self.rest();
        match rest.first()? {
            b'[' if opens_array(rest) => {
                self.at += 1;
                self.in_array = true;
                None
            }
            b'{' => Some(self.object()),
            b'"' => Some(match parse_one(self.line()) {
                Parsed::Value { value, len } => {
                    self.at += len;
                    checked(value)
                }
                _ => self.text_line(),
            }),
            _ => Some(self.text_line()),
        }
    }

    /// An object on its own line, else over several.
    fn object(&mut self) -> Piece<'a> {
        let line = self.line();
        let mut parsed = parse_one(line);
        if matches!(parsed, Parsed::Cut { .. }) && line.len() < self.rest().len() {
            let window = self.rest().get(..self.budget.min(self.rest().len())).unwrap_or_default();
            let over_lines = parse_one(window);
            let n_read = match &over_lines {
                Parsed::Value { len, .. } => *len,
                Parsed::Cut { .. } => window.len(),
                Parsed::Wrong { n_read, .. } => *n_read,
            };
            self.budget = self.budget.saturating_sub(n_read);
            if matches!(over_lines, Parsed::Value { .. }) {
                parsed = over_lines;
            }
        }
        match parsed {
            Parsed::Value { value, len } => {
                self.at += len;
                checked(value)
            }
            Parsed::Cut { message } | Parsed::Wrong { message, .. } => {
                self.at += line.len();
                Piece::Bad(message)
            }
        }
    }

    /// A line of text, up to an object glued to it.
    fn text_line(&mut self) -> Piece<'a> {
        let line = self.line();
        self.at += line.len();
        let Ok(text) = std::str::from_utf8(line) else {
            return Piece::Bad("not UTF-8".to_owned());
        };
        if let Some(start) = glued_object(text, self.is_glued) {
            self.at -= line.len() - start;
            return Piece::Prefix(text.get(..start).unwrap_or_default().trim_end());
        }
        Piece::Text(text.trim_end().into())
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        while self.at < self.body.len() {
            let piece = if self.in_array { self.element() } else { self.item() };
            if piece.is_some() {
                return piece;
            }
        }
        None
    }
}

enum Parsed {
    Value {
        value: Value,
        len: usize,
    },
    /// The text ended within the value.
    Cut {
        message: String,
    },
    /// `n_read` bytes in, it was clear that this is no value.
    Wrong {
        message: String,
        n_read: usize,
    },
}

/// The value that `text` begins with.
fn parse_one(text: &[u8]) -> Parsed {
    let window = text.get(..VALUE_BYTES_MAX.min(text.len())).unwrap_or_default();
    let mut values = serde_json::Deserializer::from_slice(window).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Parsed::Value { value, len: values.byte_offset().max(1) },
        Some(Err(_)) if window.len() < text.len() => {
            let message = format!("a value of more than {VALUE_BYTES_MAX} bytes, or no JSON");
            Parsed::Wrong { message, n_read: window.len() }
        }
        Some(Err(e)) if e.is_eof() => Parsed::Cut { message: format!("JSON is cut off: {e}") },
        Some(Err(e)) => {
            Parsed::Wrong { message: format!("not JSON: {e}"), n_read: offset_of(window, &e) }
        }
        None => Parsed::Cut { message: "nothing to read".to_owned() },
    }
}

/// The byte where reading stopped.
fn offset_of(text: &[u8], e: &serde_json::Error) -> usize {
    let lines_before = e.line().saturating_sub(1);
    let before: usize = text.split(|b| *b == b'\n').take(lines_before).map(|l| l.len() + 1).sum();
    before + e.column()
}

fn checked<'a>(value: Value) -> Piece<'a> {
    match value {
        Value::String(text) => Piece::Text(Cow::Owned(text)),
        value if is_within_depth(&value, DEPTH_MAX) => Piece::Json(value),
        _ => Piece::Bad(format!("nested more than {DEPTH_MAX} deep")),
    }
}

/// Whether nothing in `value` lies deeper than `depth` levels. The recursion is bounded by `depth`.
pub(crate) fn is_within_depth(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => {
            depth > 0 && items.iter().all(|item| is_within_depth(item, depth - 1))
        }
        Value::Object(map) => {
            depth > 0 && map.values().all(|item| is_within_depth(item, depth - 1))
        }
        _ => true,
    }
}

fn line_len(text: &[u8]) -> usize {
    text.iter().position(|b| *b == b'\n').unwrap_or(text.len())
}

/// `[` opens JSON, and not a text line such as `[ERROR] no stock`, where a value follows that is
/// itself a container or a string.
fn opens_array(text: &[u8]) -> bool {
    let mut inside = text.iter().skip(1).filter(|b| !b.is_ascii_whitespace());
    matches!(inside.next(), Some(b'{' | b'[' | b'"' | b']'))
}

/// Length of the bracketed value at the start of `text`; None where it does not end.
fn balanced_len(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (i, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return Some(i + 1),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Bytes up to the next line that opens an object.
fn next_object_line(text: &[u8]) -> usize {
    let mut len = line_len(text);
    while let Some(rest) = text.get(len..).filter(|rest| !rest.is_empty()) {
        let opens = rest.iter().find(|b| !b.is_ascii_whitespace() && **b != b',');
        if opens == Some(&b'{') {
            return len;
        }
        len += 1 + line_len(rest.get(1..).unwrap_or_default());
    }
    text.len()
}

/// Where in a text line an object starts that is a record of its own.
fn glued_object(line: &str, is_glued: IsGlued) -> Option<usize> {
    line.match_indices("{\"").take(GLUED_TRIES_MAX).map(|(start, _)| start).find(|start| {
        let (text, tail) = line.split_at(*start);
        match parse_one(tail.as_bytes()) {
            Parsed::Value { value: Value::Object(object), .. } => is_glued(text, &object),
            _ => false,
        }
    })
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(body: impl AsRef<[u8]>, expect: &Expect) {
        let shown: Vec<String> =
            Pieces::new(body.as_ref(), |_, object| object.contains_key("time"))
                .map(|piece| match piece {
                    Piece::Json(value) => format!("json {value}"),
                    Piece::Text(text) => format!("text {text}"),
                    Piece::Prefix(text) => format!("glued {text}"),
                    Piece::Bad(message) => format!("bad  {message}"),
                })
                .collect();
        expect.assert_eq(&shown.join("\n"));
    }

    #[test]
    fn lines_arrays_and_pretty_objects_are_read() {
        check(
            "{\"a\":1}\r\n{\"b\":2}{\"c\":3}\n\n",
            &expect![[r#"
            json {"a":1}
            json {"b":2}
            json {"c":3}"#]],
        );
        check(
            "[{\"a\":1}, \"line\",\n{\"b\":2}]\n[{\"c\":3}]",
            &expect![[r#"
            json {"a":1}
            text line
            json {"b":2}
            json {"c":3}"#]],
        );
        check(
            "{\n  \"a\": {\n    \"b\": 1\n  }\n}\n{\"c\":3}",
            &expect![[r#"
            json {"a":{"b":1}}
            json {"c":3}"#]],
        );
        check("[]", &expect![[r#""#]]);
        check("\u{feff}{\"a\":1}", &expect![[r#"json {"a":1}"#]]);
    }

    #[test]
    fn text_lines_stay_text_and_glued_objects_come_apart() {
        check(
            "[ERROR] no stock\nfrom extension.{\"time\":1}\nsaw {\"x\":1}",
            &expect![[r#"
            text [ERROR] no stock
            glued from extension.
            json {"time":1}
            text saw {"x":1}"#]],
        );
    }

    #[test]
    fn bad_pieces_leave_their_neighbours_alone() {
        check(
            "{\"a\":1}\n{\"b\":\n{\"c\":3}",
            &expect![[r#"
            json {"a":1}
            bad  JSON is cut off: EOF while parsing a value at line 1 column 5
            json {"c":3}"#]],
        );
        check(
            "{\"a\":1}\n{\"b\":\"cut\n{\"c\":3}\n{\"d\":[",
            &expect![[r#"
            json {"a":1}
            bad  JSON is cut off: EOF while parsing a string at line 1 column 9
            json {"c":3}
            bad  JSON is cut off: EOF while parsing a list at line 1 column 6"#]],
        );
        check(
            "[{\"a\":1},{\"b\":oops},{\"c\":3}]",
            &expect![[r#"
            json {"a":1}
            bad  not JSON: expected value at line 1 column 6
            json {"c":3}"#]],
        );
        check(
            "[{\"a\":1},nonsense,{\"c\":3},{\"d\":",
            &expect![[r#"
            json {"a":1}
            bad  not JSON: expected ident at line 1 column 2
            json {"c":3}
            bad  JSON is cut off: EOF while parsing a value at line 1 column 5"#]],
        );
        check(
            b"{\"a\":\"\xff\"}\n\xff\xfe\n{\"c\":3}",
            &expect![[r#"
            bad  not JSON: invalid unicode code point at line 1 column 7
            bad  not UTF-8
            json {"c":3}"#]],
        );
    }

    #[test]
    fn deep_values_are_bad() {
        let deep = format!("{}1{}\n{{\"a\":1}}", "{\"a\":".repeat(70), "}".repeat(70));
        check(
            deep,
            &expect![[r#"
                bad  nested more than 64 deep
                json {"a":1}"#]],
        );
        let nested = format!("{{\"a\":{}1{}}}", "[".repeat(70), "]".repeat(70));
        check(nested, &expect!["bad  nested more than 64 deep"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let n = Pieces::new(&body, |_, _| true).count();
            prop_assert!(n <= body.len());
        }

        #[test]
        fn json_like_bytes_are_read_to_their_end(body in r#"[\[\]{}",:a1 \n\\]{0,200}"#) {
            let n = Pieces::new(body.as_bytes(), |_, _| true).count();
            prop_assert!(n <= body.len());
        }

        #[test]
        fn good_lines_survive_a_bad_line_between_them(bad in r"[a-z\[\],: ]{0,40}") {
            let body = format!("{{\"a\":1}}\n{{{bad}\n{{\"c\":3}}");
            let good = Pieces::new(body.as_bytes(), |_, _| false)
                .filter(|p| matches!(p, Piece::Json(v) if v.get("a").is_some() || v.get("c").is_some()))
                .count();
            prop_assert_eq!(good, 2);
        }
    }
}
