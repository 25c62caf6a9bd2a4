//! HTML in which every text from outside is escaped: the only way to add one is [`Html::text`].

use std::fmt::{Display, Write as _};

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// A piece of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Html(String);

impl Html {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Markup of our own.
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Anything else; safe in text and in quoted attributes.
    pub(crate) fn text(&mut self, text: impl Display) -> &mut Self {
        let mut plain = String::new();
        // Writing to a String cannot fail.
        let _ = write!(plain, "{text}");
        for c in plain.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Control characters could reorder or hide what a reader sees.
                c if c.is_control() && c != '\n' && c != '\t' => self.0.push('\u{fffd}'),
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    pub(crate) fn add(&mut self, piece: &Self) -> &mut Self {
        self.0.push_str(&piece.0);
        self
    }

    /// `<tag class="class">text</tag>` for the closed set of tags used here.
    pub(super) fn cell(&mut self, class: &'static str, text: impl Display) -> &mut Self {
        self.raw("<td class=\"").raw(class).raw("\">").text(text).raw("</td>")
    }

    /// A link whose address is our own path and an escaped last part.
    pub(super) fn link(&mut self, path: &'static str, last: &str, text: impl Display) -> &mut Self {
        self.raw("<a href=\"").raw(path).text(encode(last)).raw("\">").text(text).raw("</a>")
    }
}

/// Percent-encodes what has a meaning in an address (RFC 3986 2.2).
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

impl IntoResponse for Html {
    fn into_response(self) -> Response {
        (
            [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CACHE_CONTROL, "no-store"),
            ],
            self.0,
        )
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_never_markup() {
        let mut html = Html::new();
        html.raw("<b title=\"").text("\"><script>alert('x')</script>\u{1b}[0m").raw("\">");
        assert_eq!(
            html.0,
            "<b title=\"&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;\u{fffd}[0m\">"
        );
        let mut html = Html::new();
        html.text("safe\u{202e}gpj.exe\u{2066}");
        assert_eq!(html.0, "safe\u{fffd}gpj.exe\u{fffd}");
        assert_eq!(encode("a/b?c"), "a%2Fb%3Fc");
    }
}
