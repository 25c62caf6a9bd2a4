//! What is wrong with signals that are taken all the same.

use serde::{Deserialize, Serialize};

use super::Text;

/// Signals of one delivery and one function that have the same thing wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oddity {
    pub kind: OddKind,
    pub function: Text,
    /// How many times.
    pub n: u32,
    /// The first of them: a span's id, the beginning of an id.
    pub example: Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OddKind {
    /// A span that ended before it began: it counts as ended at its start.
    EndsBeforeStart,
    /// An id that is longer than any platform's: it joins nothing.
    HugeId,
}
