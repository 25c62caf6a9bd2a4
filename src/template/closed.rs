//! Whether every block of a template is closed: gotmpl does not ask.

use super::Error;

/// gotmpl accepts a block without its end, and an end without its block.
pub(super) fn check(text: &str) -> Result<(), Error> {
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut rest = 0;
    while let Some(found) = text.get(rest..).and_then(|tail| tail.find("{{")) {
        let start = rest + found;
        let inner = text.get(start + 2..).unwrap_or_default();
        let Some(length) = action_length(inner) else {
            return Err(Error {
                at: start,
                message: "the action is not closed by `}}`".to_owned(),
            });
        };
        let action = inner.get(..length).unwrap_or_default();
        let action = action.strip_prefix('-').unwrap_or(action).trim_start();
        let word = action.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        match word {
            "if" | "range" | "with" | "define" | "block" => open.push((start, word)),
            "end" if open.pop().is_none() => {
                return Err(Error { at: start, message: "`end` closes nothing".to_owned() });
            }
            "else" if open.is_empty() => {
                return Err(Error { at: start, message: "`else` without `if`".to_owned() });
            }
            _ => {}
        }
        rest = start + 2 + length + 2;
    }
    match open.last() {
        Some((at, word)) => {
            Err(Error { at: *at, message: format!("`{word}` is not closed by `{{{{ end }}}}`") })
        }
        None => Ok(()),
    }
}

/// Bytes until the action's `}}`, which does not count within quotes and comments.
fn action_length(inner: &str) -> Option<usize> {
    if inner.trim_start_matches(['-', ' ']).starts_with("/*") {
        let comment_end = inner.find("*/")? + 2;
        return inner.get(comment_end..)?.find("}}").map(|at| comment_end + at);
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match quote {
            Some(q) if c == q && !escaped => quote = None,
            // Raw text has no escapes.
            Some(q) => escaped = c == '\\' && q != '`' && !escaped,
            None if matches!(c, '"' | '`' | '\'') => quote = Some(c),
            None if c == '}' && inner.get(at..).is_some_and(|tail| tail.starts_with("}}")) => {
                return Some(at);
            }
            None => {}
        }
    }
    None
}
