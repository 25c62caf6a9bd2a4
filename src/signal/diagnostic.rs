//! An error in a file that a person wrote: where it is, what is wrong, the line, a caret.

use std::fmt;

use serde_saphyr::Location;

use super::masked::{MASK, masked};

/// Of a line that is longer, so many characters around the place are shown.
const SHOWN_CHARS_MAX: usize = 160;

/// Shown as `file:line:col: message`, then the line and a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub file: String,
    /// From 1; 0 where no place is known.
    pub line: usize,
    /// In characters, from 1; 0 where no place is known.
    pub col: usize,
    pub message: String,
    /// The line's text, without its end.
    pub source_line: String,
    /// Where the caret stands below the line as it is shown.
    caret: usize,
}

impl Diagnostic {
    /// `text` is the whole file, from which the line is taken.
    pub fn new(
        file: &str,
        text: &str,
        line: usize,
        col: usize,
        message: impl Into<String>,
    ) -> Self {
        let source_line =
            line.checked_sub(1).and_then(|at| text.lines().nth(at)).unwrap_or_default().to_owned();
        let (file, message) = (file.to_owned(), message.into());
        Self { file, line, col, message, source_line, caret: col }
    }

    /// Of a file that may hold secrets, whose whole text is given: what is shown of it has none.
    #[must_use]
    pub fn without_secrets(mut self, text: &str) -> Self {
        let Some(masked) = masked(text, self.line, self.col) else { return self };
        (self.source_line, self.caret) = (masked.line, masked.col);
        // The YAML reader tells which text it did not want.
        if let Some((before, tail)) = self.message.split_once("string \"")
            && let Some((_, after)) = tail.rsplit_once('"')
        {
            self.message = format!("{before}string {MASK}{after}");
        }
        self
    }

    /// At a place that the YAML reader told.
    pub fn at(file: &str, text: &str, place: &Location, message: impl Into<String>) -> Self {
        let number = |n: u64| usize::try_from(n).unwrap_or(0);
        Self::new(file, text, number(place.line()), number(place.column()), message)
    }

    /// From the YAML reader's own error.
    pub fn yaml(file: &str, text: &str, error: &serde_saphyr::Error) -> Self {
        let plain = error.without_snippet().to_string();
        let message = plain.split(" at line ").next().unwrap_or_default();
        // The reader's advice is for whoever calls it, not for whoever wrote the file.
        let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
        let message = for_writers(message).to_owned();
        match error.location() {
            Some(place) => Self::at(file, text, &place, message),
            None => Self::new(file, text, 0, 0, message),
        }
    }
}

/// What the reader did not find, in words of who writes a file.
fn for_writers(message: &str) -> &str {
    match message {
        "expected mapping start" => "keys with their values are expected here, as `key: value`",
        "expected sequence start" => {
            "a list is expected here, as `[a, b]`, or `- a` on lines of their own"
        }
        other => other,
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, col, message, source_line, caret } = self;
        if *line == 0 {
            return write!(f, "{file}: {message}");
        }
        let (shown, caret) = around(source_line, (*caret).max(1));
        write!(f, "{file}:{line}:{col}: {message}\n    {shown}\n    {:>caret$}", "^")
    }
}

/// What is shown of a line, and where the caret stands below it.
fn around(line: &str, caret: usize) -> (String, usize) {
    let n_chars = line.chars().count();
    if n_chars <= SHOWN_CHARS_MAX {
        return (line.to_owned(), caret);
    }
    let from = caret.saturating_sub(SHOWN_CHARS_MAX / 2).min(n_chars - SHOWN_CHARS_MAX);
    let part: String = line.chars().skip(from).take(SHOWN_CHARS_MAX).collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if from + SHOWN_CHARS_MAX < n_chars { "…" } else { "" };
    (format!("{before}{part}{after}"), caret - from + before.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_place_and_a_caret() {
        let shown = Diagnostic::new("a.yaml", "x: 1\nfor: soon\n", 2, 6, "`soon` is no duration")
            .to_string();
        assert_eq!(shown, "a.yaml:2:6: `soon` is no duration\n    for: soon\n         ^");
    }

    #[test]
    fn what_the_yaml_reader_wants_is_said_in_words_of_the_file() {
        let read = |text: &str| {
            serde_saphyr::from_str::<std::collections::BTreeMap<String, Vec<u8>>>(text)
        };
        let said = |text: &str| Diagnostic::yaml("a.yaml", text, &read(text).unwrap_err()).message;
        assert_eq!(said("- a"), "keys with their values are expected here, as `key: value`");
        assert!(said("a: {b: 1}").starts_with("a list is expected here"));
    }

    #[test]
    fn of_a_long_line_only_what_is_around_the_place_is_shown() {
        let line = format!("{}!{}", "a".repeat(5_000), "b".repeat(5_000));
        for (col, marked) in [(1, 'a'), (5_001, '!'), (10_001, 'b')] {
            let shown = Diagnostic::new("a", &line, 1, col, "no").to_string();
            let lines: Vec<&str> = shown.lines().collect();
            assert!(lines[1].chars().count() <= SHOWN_CHARS_MAX + 6, "{shown}");
            let caret = lines[2].chars().count() - 1;
            assert_eq!(lines[1].chars().nth(caret), Some(marked), "{shown}");
        }
    }
}
