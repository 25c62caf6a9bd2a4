//! An error in a file that a person wrote: where it is, what is wrong, the line, a caret.

use std::fmt;

use serde_saphyr::Location;

use super::masked::{MASK, masked};

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
        let message =
            message.split(", set DuplicateKeyPolicy").next().unwrap_or_default().to_owned();
        match error.location() {
            Some(place) => Self::at(file, text, &place, message),
            None => Self::new(file, text, 0, 0, message),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, col, message, source_line, caret } = self;
        if *line == 0 {
            return write!(f, "{file}: {message}");
        }
        write!(
            f,
            "{file}:{line}:{col}: {message}\n    {source_line}\n    {:>width$}",
            "^",
            width = (*caret).max(1)
        )
    }
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
}
