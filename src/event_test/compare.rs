//! What is expected against what there is.
//!
//! Of an object only the keys that are named count; lists have the same length and order; `...` in a text
//! stands for any text.

use serde_json::Value;

/// Numbers this close are the same: they went through text.
const EPSILON: f64 = 1e-9;

/// Where they first differ, and how; None: what was expected is there.
pub(super) fn difference(expected: &Value, got: &Value) -> Option<String> {
    at(expected, got, "")
}

fn at(expected: &Value, got: &Value, path: &str) -> Option<String> {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            expected.iter().find_map(|(key, value)| match got.get(key) {
                Some(found) => at(value, found, &below(key)),
                None => Some(format!("{}: there is none; expected {value}", below(key))),
            })
        }
        (Value::Array(expected), Value::Array(got)) if expected.len() != got.len() => {
            let (wanted, there) = (expected.len(), got.len());
            Some(format!("{path}: expected {wanted} elements, got {there}"))
        }
        (Value::Array(expected), Value::Array(got)) => expected
            .iter()
            .zip(got)
            .enumerate()
            .find_map(|(idx, (expected, got))| at(expected, got, &format!("{path}[{idx}]"))),
        (Value::String(expected), Value::String(got)) if is_like(expected, got) => None,
        (Value::Number(a), Value::Number(b)) if is_close(a, b) => None,
        _ if expected == got => None,
        _ => Some(format!("{path}: expected {expected}, got {got}")),
    }
}

fn is_close(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else { return false };
    (a - b).abs() <= EPSILON * a.abs().max(b.abs()).max(1.0)
}

/// Whether a text is as expected, where `...` stands for anything.
pub(super) fn is_like(expected: &str, got: &str) -> bool {
    let pieces: Vec<&str> = expected.split("...").collect();
    let [first, between @ .., last] = pieces.as_slice() else { return expected == got };
    let Some(mut rest) = got.strip_prefix(first) else { return false };
    for piece in between {
        let Some((_, after)) = rest.split_once(*piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_named_counts() {
        let got = json!({"a": 1.0, "b": [{"c": "one two three", "d": null}], "e": true});
        for same in [
            json!({}),
            json!({"a": 1}),
            json!({"b": [{"d": null}]}),
            json!({"b": [{"c": "one ... three"}]}),
            json!({"b": [{"c": "...two..."}]}),
        ] {
            assert_eq!(difference(&same, &got), None, "{same}");
        }
        for (other, says) in [
            (json!({"a": 2}), "a: expected 2, got 1.0"),
            (json!({"b": []}), "b: expected 0 elements, got 1"),
            (json!({"b": [{"c": "two..."}]}), r#"b[0].c: expected "two...", got "one two three""#),
            (json!({"b": [{"f": null}]}), "b[0].f: there is none; expected null"),
            (json!({"e": "true"}), r#"e: expected "true", got true"#),
        ] {
            assert_eq!(difference(&other, &got).as_deref(), Some(says));
        }
    }

    #[test]
    fn three_dots_stand_for_any_text_and_nothing_else_does() {
        for (expected, got) in
            [("", ""), ("a...", "a"), ("...", ""), ("a...a", "aa"), ("a.b", "a.b")]
        {
            assert!(is_like(expected, got), "{expected} {got}");
        }
        for (expected, got) in [("a...a", "a"), ("a", "ab"), ("...b...", "ac"), ("a.b", "axb")] {
            assert!(!is_like(expected, got), "{expected} {got}");
        }
    }
}
