//! Cutting text to a length.
//!
//! In: text of any length. Out: its longest prefix within the limit that ends at a character's
//! border. Never panics, never allocates.

/// Longest name of a metric or label of Prometheus's formats, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 1024;
/// Longest help text kept, in bytes.
pub(crate) const HELP_BYTES_MAX: usize = 1024;

/// The longest prefix of `text` of at most `bytes_max` bytes that ends at a character's border.
pub(crate) fn shorten(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_a_characters_border() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "abc");
        assert_eq!(shorten("aé", 2), "a");
        assert_eq!(shorten("é", 0), "");
    }
}
