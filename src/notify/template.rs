//! Alertmanager's templates: Go's text/template over a notice.
//!
//! `templates:` files become a [`Library`]; a text of the configuration becomes a [`Template`] that may
//! use what the library defines. A notice goes in, the filled-in text goes out. Pure; `since` counts
//! until the notice was made.

mod functions;
#[cfg(test)]
mod tests;
mod value;

use std::sync::{Arc, LazyLock};

use self::functions::{FUNCTIONS, METHODS, show_html};
use super::notice::Notice;
use crate::signal::Text;
use crate::template::functions::text_value;
use crate::template::{self, Dialect, Error, MAIN, SHOW, Tree};

/// What Alertmanager's own files define and other files use, in our words.
const DEFAULTS: &str = include_str!("template/defaults.tmpl");

const DIALECT: Dialect = Dialect {
    prefix: "",
    maps: &[
        "Labels",
        "Annotations",
        "GroupLabels",
        "CommonLabels",
        "CommonAnnotations",
        "RouteLabels",
    ],
    methods: &METHODS,
    knows: |name| FUNCTIONS.contains_key(name) || name == "since",
};

/// The templates that files define. A later definition of a name takes the place of the one before.
#[derive(Clone, Debug, Default)]
pub struct Library {
    trees: Vec<Tree>,
}

/// The definitions that need no file.
pub(crate) static DEFAULT_LIBRARY: LazyLock<Arc<Library>> = LazyLock::new(|| {
    let mut library = Library::default();
    // Checked by a test; a broken default would be an unknown template where it is used.
    let _ = library.add(DEFAULTS);
    Arc::new(library)
});

impl Library {
    /// The default definitions and those of `text` files to come.
    pub(crate) fn with_defaults() -> Self {
        Self::clone(&DEFAULT_LIBRARY)
    }

    /// A use of a template that nobody defines, when all files are in.
    pub(crate) fn check(&self) -> Result<(), Error> {
        undefined(&self.trees)
    }

    /// Adds a file's definitions.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), Error> {
        let trees = template::parse(text, &DIALECT)?;
        self.trees.extend(trees.into_iter().filter(|tree| tree.name != MAIN));
        Ok(())
    }
}

/// A checked text. Equal where the text is: two libraries are never in use at once.
#[derive(Clone)]
pub struct Template {
    text: Text,
    /// The text's own trees after the library's; None: the text has no actions.
    trees: Option<Arc<Vec<Tree>>>,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({:?})", self.text)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Template {
    pub(crate) fn parse(text: &str, library: &Library) -> Result<Self, Error> {
        if !text.contains("{{") {
            return Ok(Self { text: text.into(), trees: None });
        }
        let mut trees = library.trees.clone();
        trees.extend(template::parse(text, &DIALECT)?);
        undefined(&trees)?;
        Ok(Self { text: text.into(), trees: Some(Arc::new(trees)) })
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.text
    }

    /// Filled in as plain text.
    pub(crate) fn text(&self, notice: &Notice) -> Result<String, String> {
        self.expand(notice, gotmpl::Template::new("").funcs(FUNCTIONS.clone()))
    }

    /// Filled in as HTML: what the actions give is escaped, but for `safeHtml`.
    pub(crate) fn html(&self, notice: &Notice) -> Result<String, String> {
        let template = gotmpl::Template::new("").funcs(FUNCTIONS.clone());
        self.expand(notice, template.func(SHOW, |args| Ok(text_value(show_html(args)))))
    }

    fn expand(&self, notice: &Notice, template: gotmpl::Template) -> Result<String, String> {
        let Some(trees) = &self.trees else { return Ok(self.text.to_string()) };
        let now = notice.at;
        let template = template.func("since", move |args| functions::since(args, now));
        template::run(template, trees, MAIN, &value::of(notice)).map_err(|error| error.to_string())
    }
}

/// Go finds a `template` that nobody defines when the message is due: too late.
fn undefined(trees: &[Tree]) -> Result<(), Error> {
    let mut calls = trees.iter().rev().flat_map(|tree| &tree.calls);
    match calls.find(|call| !trees.iter().any(|tree| tree.name == call.name)) {
        Some(call) => {
            Err(Error { at: call.at, message: format!("no template `{}` is defined", call.name) })
        }
        None => Ok(()),
    }
}

/// One of the default definitions, filled in.
pub(crate) fn default_text(name: &str, notice: &Notice) -> String {
    let template = gotmpl::Template::new("").funcs(FUNCTIONS.clone());
    let filled = template::run(template, &DEFAULT_LIBRARY.trees, name, &value::of(notice));
    filled.unwrap_or_else(|error| format!("<error expanding template: {error}>"))
}
