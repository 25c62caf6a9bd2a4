//! Regular expressions as Go's `regexp` reads them (RE2 syntax, <https://golang.org/s/re2syntax>): those of
//! PromQL, of Alertmanager and of relabelling, compiled by the `regex` crate.
//!
//! Both read nearly the same language. Where they differ, the text is written anew: `\d`, `\s`, `\w`, `\b` are
//! ASCII in Go; a class has no classes and no set operations within; `{` that begins no count, `\<` and
//! `\Q…\E` are literal; octal escapes are read. What only the crate takes is refused.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use regex::{Captures, Regex, RegexBuilder};

/// The most repeats that Go takes.
const REPEATS_MAX: u32 = 1000;
/// Characters that are looked through for the end of a count or of a class: more than any has.
const AHEAD_MAX: usize = 32;

/// Groups within groups: the crate takes no more, and takes long to say so.
const NESTED_MAX: usize = 250;
/// How large an expression may be: it counts as the first of these that holds it.
const SIZES: [Size; 4] = [
    Size { compiled: SMALL, states: 16 << 10 },
    Size { compiled: 64 << 10, states: 128 << 10 },
    Size { compiled: 1 << 20, states: 1 << 20 },
    Size { compiled: 10 << 20, states: 2 << 20 },
];
/// Bytes of what people mostly write, compiled.
pub const SMALL: usize = 4 << 10;
/// The most that the crate takes for matching with groups in one pass, which it does only where that fits.
const ONE_PASS_MAX: usize = 1 << 20;
/// Bytes of all expressions of one request: one of the largest, or thirteen hundred of the smallest. A page
/// of text can hold a thousand of the largest.
const ROOM: usize = 64 << 20;

/// Bytes of an expression.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Once it is compiled.
    compiled: usize,
    /// Of the states that are made of it while it is matched, in each direction.
    states: usize,
}

impl Size {
    /// What it takes at the most, matched by one thread: itself forward and backward, its states, and where
    /// these become too many, two lists of places in the text for each of its parts, a pair for each group
    /// and for the whole.
    fn taken(self, n_groups: usize) -> usize {
        let Self { compiled, states } = self;
        let places = compiled.saturating_mul(2 * (n_groups + 1));
        // At worst each part has a row of its own, of 256 bytes' next states.
        let one_pass = if n_groups > 0 { (64 * compiled).min(ONE_PASS_MAX) } else { 0 };
        (2 * (compiled + states) + one_pass).saturating_add(places)
    }
}

/// What the expressions of one request may still take.
#[derive(Debug)]
pub struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(ROOM)
    }
}

/// An expression, and about how many bytes it takes.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub regex: Regex,
    pub n_bytes: usize,
}

/// Why a text is no regular expression, or one that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct Error(String);

const TOO_LARGE: &str = "expression too large";
const TOO_LARGE_TOGETHER: &str = "the regular expressions of the query are too large together";

impl Error {
    /// It can be read, and would take more than it may.
    pub fn is_too_large(&self) -> bool {
        self.0 == TOO_LARGE || self.0 == TOO_LARGE_TOGETHER
    }
}

/// Compiles what must fit a whole text, line ends included.
///
/// # Errors
/// Where Go would not take it, or where it would be too large once compiled.
pub fn whole(text: &str) -> Result<Regex, Error> {
    Regex::new(&format!("^(?s:{})$", translated(text)?)).map_err(error)
}

/// Compiles what must fit a whole text and takes its place in the room of a request. It can tell whether a
/// text fits, not what its groups hold, unless they have names.
///
/// # Errors
/// As for [`whole`], and where there is too little room left.
pub fn whole_within(text: &str, room: &mut Room) -> Result<Compiled, Error> {
    compiled(&Translated::new(text, Unnamed::Forgotten)?, room)
}

/// The same, with all groups.
///
/// # Errors
/// As for [`whole_within`].
pub fn captures_within(text: &str, room: &mut Room) -> Result<Regex, Error> {
    Ok(compiled(&Translated::new(text, Unnamed::Kept)?, room)?.regex)
}

fn compiled(translated: &Translated, room: &mut Room) -> Result<Compiled, Error> {
    let text = format!("^(?s:{})$", translated.text);
    for (size, taken) in SIZES.map(|size| (size, size.taken(translated.n_groups))) {
        if taken > room.0 {
            break;
        }
        let mut builder = RegexBuilder::new(&text);
        match builder.size_limit(size.compiled).dfa_size_limit(size.states).build() {
            Ok(regex) => {
                room.0 -= taken;
                return Ok(Compiled { regex, n_bytes: size.compiled });
            }
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(other) => return Err(error(other)),
        }
    }
    Err(Error(if room.0 < ROOM { TOO_LARGE_TOGETHER } else { TOO_LARGE }.to_owned()))
}

/// Compiles what is looked for anywhere in a text.
///
/// # Errors
/// As for [`whole`].
pub fn anywhere(text: &str) -> Result<Regex, Error> {
    Regex::new(&translated(text)?).map_err(error)
}

/// The template with what was matched in the place of `$1`, `$name`, `${name}`, as Go's `Regexp.Expand`
/// writes it: a name is as long as letters, digits and underscores go, one that is not there stands for
/// nothing, `$$` for `$`.
pub fn expanded(found: &Captures<'_>, template: &str) -> String {
    let (mut out, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = reference(after) {
            out.push_str(named(found, name).unwrap_or_default());
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// The name behind a `$`, and what follows; none where it is no reference.
fn reference(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{').unwrap_or(text);
    let is_part = |c: char| c == '_' || c.is_alphabetic() || c.is_numeric();
    let (name, after) = inner.split_at(inner.find(|c| !is_part(c)).unwrap_or(inner.len()));
    let after = if inner.len() < text.len() { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}

/// A group by its number, which has no leading zero, or by its name.
fn named<'t>(found: &Captures<'t>, name: &str) -> Option<&'t str> {
    let is_number =
        name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let group = if is_number { found.get(name.parse().ok()?) } else { found.name(name) };
    group.map(|group| group.as_str())
}

fn error(error: regex::Error) -> Error {
    Error(match error {
        regex::Error::CompiledTooBig(_) => TOO_LARGE.to_owned(),
        // The crate points at the place in several lines; the last one says what is wrong.
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    })
}

/// Whether it matters what groups without a name hold: each takes memory while it is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unnamed {
    Kept,
    Forgotten,
}

/// The same expression in the crate's syntax.
struct Translated {
    text: String,
    /// That are not forgotten.
    n_groups: usize,
}

impl Translated {
    fn new(text: &str, unnamed: Unnamed) -> Result<Self, Error> {
        let out = String::with_capacity(text.len());
        let mut reader = Reader { rest: text.chars().peekable(), out, unnamed, n_groups: 0 };
        reader.expression()?;
        Ok(Self { text: reader.out, n_groups: reader.n_groups })
    }
}

fn translated(text: &str) -> Result<String, Error> {
    Ok(Translated::new(text, Unnamed::Kept)?.text)
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    unnamed: Unnamed,
    n_groups: usize,
}

/// What stands in a class: one character, or the inside of a class of its own.
enum Member {
    One(char),
    Several(String),
}

impl Reader<'_> {
    fn expression(&mut self) -> Result<(), Error> {
        let (mut repeated, mut n_open) = (None, 0_usize);
        while let Some(c) = self.rest.next() {
            let before = repeated.take();
            match c {
                '*' | '+' | '?' => repeated = Some(self.repeat(c.to_string(), before)?),
                '{' => match self.count()? {
                    Some(count) => repeated = Some(self.repeat(count, before)?),
                    None => self.out.push_str(r"\{"),
                },
                '[' => self.class()?,
                '(' => {
                    n_open += 1;
                    if n_open > NESTED_MAX {
                        return Err(Error(format!(
                            "expression nests too deeply: more than {NESTED_MAX} groups"
                        )));
                    }
                    self.group()?;
                }
                ')' => {
                    n_open =
                        n_open.checked_sub(1).ok_or_else(|| Error("unexpected )".to_owned()))?;
                    self.out.push(')');
                }
                '\\' => self.escape()?,
                _ => self.out.push(c),
            }
        }
        if n_open > 0 { Err(Error("missing closing )".to_owned())) } else { Ok(()) }
    }

    /// A repeat with its `?`; none may follow another.
    fn repeat(&mut self, mut op: String, before: Option<String>) -> Result<String, Error> {
        if self.rest.next_if_eq(&'?').is_some() {
            op.push('?');
        }
        match before {
            None => {
                self.out.push_str(&op);
                Ok(op)
            }
            Some(before) => {
                Err(Error(format!("invalid nested repetition operator: `{before}{op}`")))
            }
        }
    }

    /// `{2}`, `{2,}` or `{2,3}` behind its brace; nothing is read where it is none.
    fn count(&mut self) -> Result<Option<String>, Error> {
        let ahead = self.rest.clone().take(AHEAD_MAX).take_while(|c| *c != '}');
        let ahead: String = ahead.collect();
        let is_closed = self.rest.clone().nth(ahead.chars().count()) == Some('}');
        let (least, most) = ahead.split_once(',').unwrap_or((&ahead, &ahead));
        let is_number = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_digit())
                && (text == "0" || !text.starts_with('0'))
        };
        if !is_closed || !is_number(least) || !(most.is_empty() || is_number(most)) {
            return Ok(None);
        }
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n <= REPEATS_MAX);
        let (min, max) =
            (number(least), if most.is_empty() { number(least) } else { number(most) });
        match (min, max) {
            (Some(min), Some(max)) if min <= max => {}
            _ => return Err(Error(format!("invalid repeat count: `{{{ahead}}}`"))),
        }
        self.rest.by_ref().take(ahead.chars().count() + 1).for_each(|_read| {});
        Ok(Some(format!("{{{ahead}}}")))
    }

    /// A group behind its parenthesis: `?P<name>`, `?<name>`, flags.
    fn group(&mut self) -> Result<(), Error> {
        self.out.push('(');
        let flags: String =
            self.rest.clone().take_while(|c| !matches!(c, ':' | ')' | '<')).collect();
        let Some(flags) = flags.strip_prefix('?') else {
            match self.unnamed {
                Unnamed::Kept => self.n_groups += 1,
                Unnamed::Forgotten => self.out.push_str("?:"),
            }
            return Ok(());
        };
        self.n_groups += usize::from(self.rest.clone().nth(flags.len() + 1) == Some('<'));
        if let Some(other) = flags.chars().find(|c| !matches!(c, 'i' | 'm' | 's' | 'U' | '-' | 'P'))
        {
            return Err(Error(format!("invalid or unsupported Perl syntax: `(?{other}`")));
        }
        Ok(())
    }

    /// An escape outside a class, behind its backslash.
    fn escape(&mut self) -> Result<(), Error> {
        match self.rest.peek().copied() {
            Some('b' | 'B') => {
                let c = self.rest.next().unwrap_or('b');
                let _ = write!(self.out, r"(?-u:\{c})");
            }
            Some(c @ ('A' | 'z')) => {
                self.rest.next();
                let _ = write!(self.out, r"\{c}");
            }
            Some('Q') => {
                self.rest.next();
                self.quoted();
            }
            _ => match self.member()? {
                Member::One(c) => self.literal(c),
                Member::Several(inside) => {
                    let _ = write!(self.out, "[{inside}]");
                }
            },
        }
        Ok(())
    }

    /// Literal up to `\E` or the end.
    fn quoted(&mut self) {
        while let Some(c) = self.rest.next() {
            if c == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(c);
        }
    }

    /// A class behind its bracket.
    fn class(&mut self) -> Result<(), Error> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut is_first = true;
        loop {
            let Some(c) = self.rest.next() else {
                return Err(Error("missing closing ]".to_owned()));
            };
            if c == ']' && !is_first {
                self.out.push(']');
                return Ok(());
            }
            is_first = false;
            let low = match c {
                '[' if self.rest.peek() == Some(&':') => match self.named() {
                    Some(named) => Member::Several(named),
                    None => Member::One('['),
                },
                '\\' => self.member()?,
                c => Member::One(c),
            };
            match low {
                Member::Several(inside) => self.out.push_str(&inside),
                Member::One(low) => {
                    self.literal(low);
                    self.range(low)?;
                }
            }
        }
    }

    /// The other end of a range in a class, where there is one.
    fn range(&mut self, low: char) -> Result<(), Error> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || matches!(ahead.next(), Some(']') | None) {
            return Ok(());
        }
        self.rest.next();
        let high = match self.rest.next() {
            Some('\\') => self.member()?,
            Some(c) => Member::One(c),
            None => return Err(Error("missing closing ]".to_owned())),
        };
        match high {
            Member::One(high) if low <= high => {
                self.out.push('-');
                self.literal(high);
                Ok(())
            }
            _ => Err(Error(format!("invalid character class range: `{low}-`"))),
        }
    }

    /// `[:alpha:]` in a class, behind its bracket; nothing is read where it has no end.
    fn named(&mut self) -> Option<String> {
        let ahead: String = self.rest.clone().take(AHEAD_MAX).collect();
        let (name, _) = ahead.split_once(":]")?;
        self.rest.by_ref().take(name.chars().count() + 2).for_each(|_read| {});
        Some(format!("[{name}:]"))
    }

    /// What an escape stands for, in a class or outside, behind its backslash.
    fn member(&mut self) -> Result<Member, Error> {
        let Some(c) = self.rest.next() else {
            return Err(Error("trailing backslash at end of expression".to_owned()));
        };
        let several = |inside: &str| Ok(Member::Several(inside.to_owned()));
        match c {
            'd' => several("0-9"),
            'D' => several("[^0-9]"),
            's' => several(r"\t\n\f\r "),
            'S' => several(r"[^\t\n\f\r ]"),
            'w' => several("0-9A-Za-z_"),
            'W' => several("[^0-9A-Za-z_]"),
            'p' | 'P' => Ok(Member::Several(self.property(c))),
            'a' => Ok(Member::One('\u{7}')),
            'f' => Ok(Member::One('\u{c}')),
            'n' => Ok(Member::One('\n')),
            'r' => Ok(Member::One('\r')),
            't' => Ok(Member::One('\t')),
            'v' => Ok(Member::One('\u{b}')),
            'x' => self.hexadecimal().map(Member::One),
            '0'..='7' => self.octal(c).map(Member::One),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(Member::One(c)),
            c => Err(Error(format!("invalid escape sequence: `\\{c}`"))),
        }
    }

    /// `\pN`, `\p{Greek}`; the crate knows what is a property.
    fn property(&mut self, c: char) -> String {
        let mut out = format!("\\{c}");
        let is_long = self.rest.peek() == Some(&'{');
        for c in self.rest.by_ref() {
            out.push(c);
            if !is_long || c == '}' {
                break;
            }
        }
        out
    }

    /// `\x7F` or `\x{10FFFF}`, behind the `x`.
    fn hexadecimal(&mut self) -> Result<char, Error> {
        let digits: String = if self.rest.next_if_eq(&'{').is_some() {
            self.rest.by_ref().take_while(|c| *c != '}').collect()
        } else {
            self.rest.by_ref().take(2).collect()
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| is_number);
        let c = code.and_then(char::from_u32);
        c.ok_or_else(|| Error(format!("invalid escape sequence: `\\x{digits}`")))
    }

    /// Up to three octal digits; one alone from 1 on would be a reference back, which there is none of.
    fn octal(&mut self, first: char) -> Result<char, Error> {
        let digit = |c: &char| c.is_digit(8);
        if first != '0' && !self.rest.peek().is_some_and(digit) {
            return Err(Error(format!("invalid escape sequence: `\\{first}`")));
        }
        let mut code = first.to_digit(8).unwrap_or(0);
        for _ in 0..2 {
            let Some(next) = self.rest.next_if(digit) else { break };
            code = code * 8 + next.to_digit(8).unwrap_or(0);
        }
        char::from_u32(code).ok_or_else(|| Error(format!("invalid escape sequence: `\\{first}`")))
    }

    /// A character as it is, in a class too.
    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }
}

#[cfg(test)]
mod tests;
