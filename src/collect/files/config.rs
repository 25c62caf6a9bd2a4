//! Which files, and what is in them.

use std::path::PathBuf;

/// One entry of `files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// `*` may stand in the last part.
    pub paths: Vec<PathBuf>,
    /// Whose records these are, where they do not say.
    pub function: Option<String>,
    pub format: Format,
    /// Files that are there at the first start are read from their end.
    pub from_end: bool,
}

/// What a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A JSON object.
    #[default]
    Json,
    /// A message, perhaps behind an RFC 3339 time and a blank.
    Text,
}
