//! Documents of a YAML file, and the format of each.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::Location;

use crate::signal::Diagnostic;

/// Documents of one file.
const DOCUMENTS_MAX: usize = 1000;

/// One document. Its text begins with as many empty lines as stand before it in its file, so that
/// every place in it is one of the file.
#[derive(Debug)]
pub(super) struct Document<'a> {
    file: &'a str,
    whole: &'a str,
    text: String,
    first_line: usize,
    head: Head,
}

#[derive(Debug, Default, Deserialize)]
struct Head {
    version: Option<String>,
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Sloth,
    OpenSlo,
    Short,
    /// Sloth's windows, for the Sloth specs beside it.
    AlertWindows,
    /// What it says instead.
    Unknown(String),
}

/// The documents that are not empty, and what cannot be read.
pub(super) fn split<'a>(file: &'a str, whole: &'a str) -> (Vec<Document<'a>>, Vec<Diagnostic>) {
    // A list as JSON: its items have no lines of their own.
    let listed = serde_json::from_str::<Vec<serde_json::Value>>(whole).unwrap_or_default();
    let listed: Vec<(usize, String)> = listed.iter().map(|item| (1, item.to_string())).collect();
    let is_text = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let mut parts: Vec<(usize, String)> = vec![(1, String::new())];
    // A list of objects (OpenSLO) is known by its first line; each item is a document of its own.
    let mut is_list = None;
    for (idx, line) in whole.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            parts.push((idx + 2, "\n".repeat(idx + 1)));
            is_list = None;
            continue;
        }
        if is_list.is_none() && is_text(line) {
            is_list = Some(line.starts_with("- "));
        }
        match line.strip_prefix("- ").filter(|_| is_list == Some(true)) {
            Some(item) => parts.push((idx + 1, format!("{}  {item}\n", "\n".repeat(idx)))),
            None => {
                if let Some((_, text)) = parts.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
    }
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    let parts = if listed.is_empty() { parts } else { listed };
    for (first_line, text) in parts.into_iter().filter(|(_, text)| text.lines().any(is_text)) {
        if documents.len() >= DOCUMENTS_MAX {
            let message = format!("more than {DOCUMENTS_MAX} documents; split the file");
            errors.push(Diagnostic::new(file, whole, first_line, 1, message));
            break;
        }
        match serde_saphyr::from_str::<Head>(&text) {
            Ok(head) => documents.push(Document { file, whole, text, first_line, head }),
            Err(error) => errors.push(Diagnostic::yaml(file, whole, &error)),
        }
    }
    (documents, errors)
}

impl Document<'_> {
    pub(super) fn format(&self) -> Format {
        let Head { version, api_version, kind } = &self.head;
        match (version.as_deref(), api_version.as_deref(), kind.as_deref()) {
            (Some("prometheus/v1"), None, None) => Format::Sloth,
            (None, Some("openslo/v1"), Some(_)) => Format::OpenSlo,
            (None, None, Some("throughline/v1")) => Format::Short,
            (None, Some("sloth.slok.dev/v1"), Some("AlertWindows")) => Format::AlertWindows,
            (_, Some(other), _) => {
                Format::Unknown(format!("`apiVersion: {other}` is not supported"))
            }
            (Some(other), ..) => Format::Unknown(format!("`version: {other}` is not supported")),
            (_, _, Some(other)) => Format::Unknown(format!("`kind: {other}` is not supported")),
            _ => Format::Unknown("nothing says what kind of file this is".to_owned()),
        }
    }

    pub(super) fn kind(&self) -> &str {
        self.head.kind.as_deref().unwrap_or_default()
    }

    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Diagnostic> {
        serde_saphyr::from_str(&self.text)
            .map_err(|error| Diagnostic::yaml(self.file, self.whole, &error))
    }

    pub(super) fn error(&self, place: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.file, self.whole, place, message)
    }

    pub(super) fn error_at_start(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.file, self.whole, self.first_line, 1, message)
    }
}
