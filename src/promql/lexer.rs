//! Text to tokens. Comments and space go; every token knows its bytes. What is never true: a text
//! that is not valid UTF-8; where escapes break it the token is [`Token::Broken`], which nothing takes.

use super::ParseError;
use super::ast::Span;
use super::text::{duration_seconds, number, quote_bytes};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or keyword.
    Word(String),
    /// A number, or a duration in seconds.
    Number(f64),
    Text(String),
    /// A string that is not valid UTF-8, as it is quoted.
    Broken(String),
    Symbol(&'static str),
    End,
}

/// Longest first, so that `=~` is not read as `=`.
const SYMBOLS: [&str; 27] = [
    "==", "!=", "<=", ">=", "=~", "!~", "</", ">/", "+", "-", "*", "/", "%", "^", "(", ")", "{",
    "}", "[", "]", ",", "=", "<", ">", ":", "@", "~",
];

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Within brackets a colon separates range and step instead of being part of a name.
    brackets: usize,
    tokens: Vec<(Token, Span)>,
}

pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Span)>, ParseError> {
    let mut lexer = Lexer { text, at: 0, brackets: 0, tokens: Vec::new() };
    while lexer.step()? {}
    let end = Span { start: text.len(), end: text.len() };
    lexer.tokens.push((Token::End, end));
    Ok(lexer.tokens)
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, end: usize, message: impl Into<String>) -> ParseError {
        ParseError { at: self.at, end, message: message.into() }
    }

    fn push(&mut self, token: Token, length: usize) {
        let span = Span { start: self.at, end: self.at + length };
        self.tokens.push((token, span));
        self.at += length;
    }

    /// Reads one token; false at the end.
    fn step(&mut self) -> Result<bool, ParseError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(false) };
        let second = rest.chars().nth(1).unwrap_or(' ');
        if first.is_whitespace() {
            self.at += first.len_utf8();
        } else if first == '#' {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
            self.number()?;
        } else if is_name_start(first)
            || (first == ':' && self.brackets == 0 && (is_name_start(second) || second == ':'))
        {
            self.word();
        } else if matches!(first, '"' | '\'' | '`') {
            self.quoted(first)?;
        } else {
            self.symbol(first)?;
        }
        Ok(true)
    }

    fn word(&mut self) {
        let colons = self.brackets == 0;
        let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || (c == ':' && colons));
        let rest = self.rest();
        let word = rest.get(..rest.find(ends).unwrap_or(rest.len())).unwrap_or_default();
        self.push(Token::Word(word.to_owned()), word.len());
    }

    fn symbol(&mut self, first: char) -> Result<(), ParseError> {
        let rest = self.rest();
        let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) else {
            let end = self.at + first.len_utf8();
            return Err(self.error(end, format!("unexpected character: {first:?}")));
        };
        match *symbol {
            "[" => self.brackets += 1,
            "]" => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        self.push(Token::Symbol(symbol), symbol.len());
        Ok(())
    }

    fn number(&mut self) -> Result<(), ParseError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let hex = bytes.len() > 1 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X');
        let mut length = 0;
        while let Some(&byte) = bytes.get(length) {
            let signed = length > 0
                && !hex
                && matches!(byte, b'+' | b'-')
                && matches!(bytes[length - 1], b'e' | b'E');
            if !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || signed) {
                break;
            }
            length += 1;
        }
        let written = rest.get(..length).unwrap_or_default();
        let value = number(written).or_else(|| duration_seconds(written));
        let Some(value) = value else {
            let message = format!("bad number or duration syntax: {written:?}");
            return Err(self.error(self.at + length, message));
        };
        self.push(Token::Number(value), length);
        Ok(())
    }

    fn quoted(&mut self, quote: char) -> Result<(), ParseError> {
        let rest = self.rest();
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if c == '\\' && quote != '`' {
                escaped = true;
            } else if c == '\n' && quote != '`' {
                break;
            } else if c == quote {
                let inner = rest.get(1..i).unwrap_or_default();
                let bytes = if quote == '`' { Ok(inner.into()) } else { unescape(inner) };
                let bytes = bytes.map_err(|message| self.error(self.at + i + 1, message))?;
                let token = String::from_utf8(bytes)
                    .map_or_else(|error| Token::Broken(quote_bytes(error.as_bytes())), Token::Text);
                self.push(token, i + 1);
                return Ok(());
            }
        }
        let what = if quote == '`' { "raw string" } else { "quoted string" };
        Err(self.error(self.text.len(), format!("unterminated {what}")))
    }
}

/// Go's escapes (`strutil.Unquote`).
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let kind = chars.next().ok_or("unterminated escape sequence in string")?;
        match simple_escape(kind) {
            Some(byte) => bytes.push(byte),
            None => coded_escape(kind, &mut chars, &mut bytes)?,
        }
    }
    Ok(bytes)
}

fn simple_escape(kind: char) -> Option<u8> {
    Some(match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '\'' => b'\'',
        '"' => b'"',
        _ => return None,
    })
}

fn coded_escape(
    kind: char,
    chars: &mut std::str::Chars<'_>,
    bytes: &mut Vec<u8>,
) -> Result<(), String> {
    let (digits, radix) = match kind {
        'x' => (2, 16),
        'u' => (4, 16),
        'U' => (8, 16),
        '0'..='7' => (2, 8),
        _ => return Err(format!("unknown escape sequence {kind:?}")),
    };
    let mut code = if radix == 8 { kind.to_digit(8).unwrap_or(0) } else { 0 };
    for _ in 0..digits {
        let digit = chars.next().and_then(|c| c.to_digit(radix));
        let digit = digit.ok_or("illegal character in escape sequence")?;
        code = code.wrapping_mul(radix) | digit;
    }
    if matches!(kind, 'u' | 'U') {
        let c = char::from_u32(code).ok_or("escape sequence is an invalid Unicode code point")?;
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        bytes.push(u8::try_from(code).map_err(|_| "octal escape value > 255")?);
    }
    Ok(())
}
