//! A place in a line of a scraped page, and what can be read there.

/// What is left of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    pub(super) const fn new(line: &'a str) -> Self {
        Self(line)
    }

    pub(super) const fn rest(&self) -> &'a str {
        self.0
    }

    pub(super) fn is_at(&self, c: char) -> bool {
        self.0.starts_with(c)
    }

    pub(super) fn take(&mut self, c: char) -> bool {
        let Some(rest) = self.0.strip_prefix(c) else { return false };
        self.0 = rest;
        true
    }

    pub(super) fn skip_blank(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn until(&mut self, is_end: impl Fn(char) -> bool) -> &'a str {
        let at = self.0.find(is_end).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(at);
        self.0 = rest;
        word
    }

    /// Up to a blank.
    pub(super) fn word(&mut self) -> &'a str {
        self.until(|c| c == ' ' || c == '\t')
    }

    pub(super) fn metric_name(&mut self) -> &'a str {
        self.until(|c| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
    }

    pub(super) fn label_name(&mut self) -> &'a str {
        self.until(|c| !(c.is_ascii_alphanumeric() || c == '_'))
    }

    /// A text in double quotes, with `\\`, `\"` and `\n` in it.
    pub(super) fn quoted(&mut self) -> Result<String, String> {
        if !self.take('"') {
            return Err("a value stands in double quotes".to_owned());
        }
        let mut is_escaped = false;
        for (at, c) in self.0.char_indices() {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => {
                    let (text, rest) = self.0.split_at(at);
                    self.0 = rest.strip_prefix('"').unwrap_or(rest);
                    return Ok(unescape(text));
                }
                _ => {}
            }
        }
        Err("a double quote is missing".to_owned())
    }
}

/// `\\`, `\"` and `\n` stand for what they name; another backslash is one.
pub(super) fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some(c @ ('\\' | '"')) => plain.push(c),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    plain
}
