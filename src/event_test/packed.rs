//! Bodies that platforms pack: what a test writes down plainly, as base64 or as text inside a body.
//!
//! An object with one of these keys and no other stands for a text: `$text`, the value as JSON in a text;
//! `$base64`, that in base64; `$gzip_base64`, that packed before. A value that is a text already is
//! packed as it is, and a list under `$lines` is one JSON value a line.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value};

const KEYS: [&str; 4] = ["$text", "$lines", "$base64", "$gzip_base64"];

/// Whether anything in it is to be packed.
pub(super) fn is_packed(value: &Value) -> bool {
    match value {
        Value::Object(object) => only(object).is_some() || object.values().any(is_packed),
        Value::Array(items) => items.iter().any(is_packed),
        _ => false,
    }
}

/// The value with everything packed that is to be.
pub(super) fn packed(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(packed).collect(),
        Value::Object(object) => match only(&object) {
            Some(key) => {
                let inner = object.into_iter().next().map(|(_, inner)| packed(inner));
                Value::String(pack(key, inner.unwrap_or_default()))
            }
            None => object.into_iter().map(|(key, inner)| (key, packed(inner))).collect(),
        },
        plain => plain,
    }
}

fn only(object: &Map<String, Value>) -> Option<&'static str> {
    let (key, _) = object.iter().next().filter(|_| object.len() == 1)?;
    KEYS.into_iter().find(|known| known == key)
}

fn pack(key: &str, value: Value) -> String {
    let plain = |value: Value| match value {
        Value::String(text) => text,
        value => value.to_string(),
    };
    match (key, value) {
        ("$lines", Value::Array(lines)) => {
            lines.into_iter().map(|line| plain(line) + "\n").collect()
        }
        ("$base64", value) => STANDARD.encode(plain(value)),
        ("$gzip_base64", value) => STANDARD.encode(gzip(plain(value).as_bytes())),
        (_, value) => plain(value),
    }
}

/// Writing to memory does not fail.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_plainly_is_packed_from_the_inside() {
        let value =
            json!({"a": [{"$base64": {"$lines": [{"b": 1}, "two"]}}], "c": {"$text": {"d": null}}});
        assert!(is_packed(&value));
        let data = STANDARD.encode("{\"b\":1}\ntwo\n");
        assert_eq!(packed(value), json!({"a": [data], "c": r#"{"d":null}"#}));
        let plain = json!({"$base64": 1, "other": {"$unknown": []}});
        assert!(!is_packed(&plain));
        assert_eq!(packed(plain.clone()), plain);
        let Value::String(text) = packed(json!({"$gzip_base64": "x"})) else { panic!("a text") };
        assert_eq!(STANDARD.decode(text).map(|bytes| bytes.starts_with(&[0x1f, 0x8b])), Ok(true));
    }
}
