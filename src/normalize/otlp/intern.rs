//! One copy of text that comes again and again: attribute keys, span names, short values.
//!
//! In: borrowed text. Out: shared text, often one that was given before. A fixed table without
//! chaining: a collision replaces, so it never grows and nobody can make it slow.

use crate::signal::Text;

const N_SLOTS: usize = 512;
/// Longer text seldom comes again.
const INTERNED_BYTES_MAX: usize = 48;

#[derive(Debug)]
pub(super) struct Interner {
    slots: Vec<Option<Text>>,
}

impl Interner {
    pub(super) fn new() -> Self {
        Self { slots: vec![None; N_SLOTS] }
    }

    pub(super) fn text(&mut self, text: &str) -> Text {
        if text.len() > INTERNED_BYTES_MAX {
            return text.into();
        }
        let Some(slot) = self.slots.get_mut(place(text.as_bytes())) else { return text.into() };
        match slot {
            Some(known) if **known == *text => Text::clone(known),
            _ => {
                let new = Text::from(text);
                *slot = Some(Text::clone(&new));
                new
            }
        }
    }
}

/// Length, both ends and the middle tell attribute names well apart, at the cost of a few loads.
fn place(bytes: &[u8]) -> usize {
    let at = |i: usize| usize::from(bytes.get(i).copied().unwrap_or_default());
    let n = bytes.len();
    let ends = at(0) ^ (at(n.wrapping_sub(1)) << 2) ^ (at(n.wrapping_sub(2)) << 4);
    let middle = (at(n / 2) << 1) ^ (at(n / 3) << 3) ^ (at(n * 3 / 4) << 5);
    (ends ^ middle ^ (n * 7)) % N_SLOTS
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_same_text_is_one_copy_and_long_text_is_not_kept() {
        let mut interner = Interner::new();
        let (a, b) = (interner.text("http.route"), interner.text("http.route"));
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(&*interner.text(""), "");
        let long = "x".repeat(INTERNED_BYTES_MAX + 1);
        assert!(!Arc::ptr_eq(&interner.text(&long), &interner.text(&long)));
    }
}
