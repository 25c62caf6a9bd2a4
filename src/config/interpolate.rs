//! `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` in one scalar.

use std::path::Path;

use super::Outside;

/// Fills in every reference; the text around stays. `$${` writes a literal `${`.
pub(super) fn interpolate(text: &str, dir: &Path, outside: &Outside<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let inner = tail.get(2..).unwrap_or_default();
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = inner;
            continue;
        }
        let Some((reference, after)) = inner.split_once('}') else {
            return Err(format!("`{tail}` is not closed by a brace"));
        };
        out.push_str(before);
        out.push_str(&resolve(reference, dir, outside)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn resolve(reference: &str, dir: &Path, outside: &Outside<'_>) -> Result<String, String> {
    if let Some(path) = reference.strip_prefix("file:") {
        let text = (outside.read)(&dir.join(path))
            .map_err(|error| format!("cannot read {path}: {error}"))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    let Some(name) = reference.strip_prefix("env:") else {
        return Err(format!("`${{{reference}}}` is neither ${{env:NAME}} nor ${{file:PATH}}"));
    };
    let (name, default) = match name.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (name, None),
    };
    (outside.env)(name).or_else(|| default.map(str::to_owned)).ok_or_else(|| {
        format!("the environment has no {name}; set it, or write ${{env:{name}:-default}}")
    })
}
