//! Text that must never show: addresses that hold tokens, passwords, keys.
//!
//! Comes in from the configuration; goes out only through `Secret::expose`, at the connection. It has
//! no `Display`, its `Debug` says nothing, and it cannot be serialized.

use crate::signal::Text;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(Text);

impl Secret {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// For the connection alone: never for a log, an error or an answer.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}
