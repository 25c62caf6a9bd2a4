//! Go's text/template, as rule annotations and Alertmanager's files write it.
//!
//! Text comes in, corrected syntax trees or an error with its place go out; [`functions`] and
//! [`go_number`] do what Go's own do. The gotmpl crate parses and runs; what it does otherwise than Go
//! is corrected in its tree: unclosed blocks and unknown functions are refused at load, a missing label
//! is the empty text, methods are calls, numbers print as Go prints them. Pure: nothing here does I/O.

mod closed;
pub(crate) mod functions;
pub(crate) mod go_number;
pub(crate) mod go_time;
mod walk;

use gotmpl::parse::{ListNode, Parser};
use gotmpl::{TemplateError, Value};

pub(crate) use walk::{LABEL, METHOD, SHOW};

/// Name of a text's own body among its trees.
pub(crate) const MAIN: &str = "main";
/// Steps of all `range` together.
pub(crate) const RANGE_MAX: u64 = 10_000;
/// Bytes of a result; longer ones are cut.
const RESULT_BYTES_MAX: usize = 64 * 1024;

/// What differs between Prometheus's templates and Alertmanager's.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    /// Stands before every text.
    pub(crate) prefix: &'static str,
    /// Fields and variables that hold labels or annotations: a member that is missing is the empty text.
    pub(crate) maps: &'static [&'static str],
    /// Names that are methods of Go's values, not their fields.
    pub(crate) methods: &'static [&'static str],
    /// Whether there is a function of this name, beside Go's own.
    pub(crate) knows: fn(&str) -> bool,
}

/// Where and why a template does not parse; `at` is a byte offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    pub(crate) at: usize,
    pub(crate) message: String,
}

/// A body or a `define`, corrected.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) name: String,
    pub(crate) list: ListNode,
    /// The templates that it uses.
    pub(crate) calls: Vec<Call>,
}

/// A use of a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) at: usize,
    pub(crate) name: String,
}

/// The body, named [`MAIN`], and the templates that the text defines.
pub(crate) fn parse(text: &str, dialect: &Dialect) -> Result<Vec<Tree>, Error> {
    closed::check(text)?;
    let whole = format!("{}{text}", dialect.prefix);
    let (body, defines) = Parser::new(&whole, "{{", "}}")
        .and_then(Parser::parse)
        .map_err(|error| from_parser(text, dialect.prefix, &error))?;
    let mut trees = vec![Tree { name: MAIN.to_owned(), list: body, calls: Vec::new() }];
    trees.extend(defines.into_iter().map(|define| Tree {
        name: define.name.to_string(),
        list: define.body,
        calls: Vec::new(),
    }));
    for tree in &mut trees {
        tree.calls = walk::correct(&mut tree.list, dialect).map_err(|Error { at, message }| {
            Error { at: at.saturating_sub(dialect.prefix.len()), message }
        })?;
    }
    Ok(trees)
}

/// Runs one tree of `template` and cuts what is too long.
pub(crate) fn run(
    template: gotmpl::Template,
    trees: &[Tree],
    main: &str,
    dot: &Value,
) -> Result<String, TemplateError> {
    let mut template = template.max_range_iters(RANGE_MAX);
    for tree in trees {
        template = template.add_parse_tree(&tree.name, tree.list.clone());
    }
    template.execute_template_to_string(main, dot).map(cut)
}

fn cut(mut text: String) -> String {
    let end = text.floor_char_boundary(RESULT_BYTES_MAX);
    text.truncate(end);
    text
}

fn from_parser(text: &str, prefix: &str, error: &TemplateError) -> Error {
    let (TemplateError::Parse { line, col, message, .. }
    | TemplateError::Lex { line, col, message, .. }) = error
    else {
        return Error { at: 0, message: error.to_string() };
    };
    let col = if *line <= 1 { col.saturating_sub(prefix.len()) } else { *col };
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let within = text.get(before..).unwrap_or_default();
    let within = within.char_indices().nth(col.saturating_sub(1)).map_or(0, |(at, _)| at);
    Error { at: before + within, message: message.clone() }
}
