//! Places within YAML scalars: where a byte of a value stands in its file.
//!
//! A YAML reader tells where a scalar begins. Its value may be quoted, folded or indented, so a byte
//! of the value is found again by walking both texts and comparing what is not white space.

use serde_saphyr::Location;

use crate::number::usize_from_u64;

/// Line and column, from 1, of byte `at` of `value`, the scalar that begins at `place` of `text`.
pub(crate) fn in_scalar(text: &str, place: &Location, value: &str, at: usize) -> (usize, usize) {
    let start = (usize_from_u64(place.line()), usize_from_u64(place.column()));
    let Some(offset) = offset(text, start) else { return start };
    let mut source = Cursor { text, offset, place: start };
    source.skip_opening(value);
    let before = value.get(..at).unwrap_or(value);
    for wanted in before.chars().filter(|c| !c.is_whitespace()) {
        source.advance_past(wanted);
    }
    // An error at the end of the value stands behind its last character, not at what follows it.
    if value.get(at..).is_some_and(|rest| !rest.trim().is_empty()) {
        source.skip_white_space();
    }
    source.place
}

/// The text with the key at this place, and what belongs to it, blanked; lines stay where they are.
/// None where there is nothing to blank.
pub(super) fn masked(text: &str, line: usize, col: usize) -> Option<String> {
    let (line_idx, indent) = (line.checked_sub(1)?, col.checked_sub(1)?);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let target = lines.get_mut(line_idx)?;
    let kept: String = target.chars().take(indent).collect();
    if target.trim().is_empty() || kept.len() == target.len() {
        return None;
    }
    *target = kept;
    for below in lines.iter_mut().skip(line_idx + 1) {
        let spaces = below.chars().take_while(|c| *c == ' ').count();
        if !below.trim().is_empty() && spaces <= indent {
            break;
        }
        below.clear();
    }
    Some(lines.join("\n") + "\n")
}

fn offset(text: &str, (line, col): (usize, usize)) -> Option<usize> {
    let lines = text.split_inclusive('\n').take(line.checked_sub(1)?);
    let before: usize = lines.map(str::len).sum();
    let within = text.get(before..)?.char_indices().nth(col.checked_sub(1)?)?.0;
    Some(before + within)
}

struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    place: (usize, usize),
}

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.offset..)?.chars().next()
    }

    fn step(&mut self) {
        let Some(c) = self.peek() else { return };
        self.offset += c.len_utf8();
        self.place =
            if c == '\n' { (self.place.0 + 1, 1) } else { (self.place.0, self.place.1 + 1) };
    }

    /// A quote, or the rest of the line of a block scalar's indicator.
    fn skip_opening(&mut self, value: &str) {
        let first = value.trim_start().chars().next();
        match self.peek() {
            Some('|' | '>') if first != self.peek() => {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.step();
                }
            }
            Some('"' | '\'') => self.step(),
            _ => {}
        }
    }

    fn skip_white_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.step();
        }
    }

    /// Moves behind the next `wanted`; what stands before it is white space or escaping.
    fn advance_past(&mut self, wanted: char) {
        let (offset, place) = (self.offset, self.place);
        while let Some(c) = self.peek() {
            self.step();
            if c == wanted {
                return;
            }
            if !c.is_whitespace() && c != '\\' && c != '\'' {
                break;
            }
        }
        (self.offset, self.place) = (offset, place);
        self.step();
    }
}
