//! Our parser against the `promql-parser` crate: what the crate accepts, both must read alike. The crate
//! reads the expression, and it reads what our parser made of it and printed; it must see the same.
//!
//! `tests/golden/promql-parser-differences.txt` lists expressions on which the crate is known to be
//! wrong, one `expression<tab>reason` a line.

use std::collections::BTreeMap;
use std::fs;

use throughline::promql::Query;

const KNOWN: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/promql-parser-differences.txt");

/// All expressions compared so far.
#[derive(Debug)]
pub(crate) struct Opinions {
    known: BTreeMap<String, bool>,
    n_read: usize,
    n_alike: usize,
    pub(crate) problems: Vec<String>,
}

impl Opinions {
    pub(crate) fn new() -> Self {
        let text = fs::read_to_string(KNOWN).unwrap_or_default();
        let listed = text.lines().filter(|line| !line.starts_with('#'));
        let expressions = listed.filter_map(|line| line.split_once('\t'));
        let known = expressions.map(|(expression, _)| (expression.to_owned(), false)).collect();
        Self { known, n_read: 0, n_alike: 0, problems: Vec::new() }
    }

    /// Compares one expression; those that the crate refuses say nothing.
    pub(crate) fn hear(&mut self, expression: &str) {
        let Ok(theirs) = promql_parser::parser::parse(expression) else { return };
        self.n_read += 1;
        let difference = difference(expression, &theirs.to_string());
        match (difference, self.known.get_mut(expression)) {
            (None, None) => self.n_alike += 1,
            (None, Some(_)) => self.problems.push(format!(
                "{expression}: promql-parser reads it as we do; remove it from {KNOWN}"
            )),
            (Some(_), Some(seen)) => *seen = true,
            (Some(difference), None) => {
                self.problems.push(format!("{expression}: promql-parser: {difference}"));
            }
        }
    }

    pub(crate) fn line(&self) -> String {
        format!("promql-parser {}/{}", self.n_alike, self.n_read)
    }
}

/// The crate must read in our print what it read in the expression itself.
fn difference(expression: &str, theirs: &str) -> Option<String> {
    let ours = match Query::parse(expression) {
        Ok(query) => query.to_string(),
        Err(error) => return Some(format!("accepted there, refused here: {error}")),
    };
    match promql_parser::parser::parse(&ours) {
        Ok(again) if named(&again.to_string()) == named(theirs) => None,
        Ok(again) => Some(format!("{theirs}, but of our {ours} {again}")),
        Err(error) => Some(format!("refuses our print {ours}: {error}")),
    }
}

/// Names as they are mostly written: `{__name__="up"}` is `up`.
fn named(printed: &str) -> String {
    let mut parts = printed.split("{__name__=\"");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once("\"}") {
            Some((name, rest)) => out.extend([name, rest]),
            None => out.extend(["{__name__=\"", part]),
        }
    }
    out
}
