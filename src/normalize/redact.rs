//! What must never reach the disk: values dropped, or replaced by a keyed hash, by their field's name.
//!
//! In: attributes, attribute values and JSON, as decoded. Out: the same without the fields that the
//! config drops, and with `hash:` and 32 hex digits in place of those it hashes; equal values have
//! equal hashes, whether a number or text carried them, so they still join.
//!
//! A name matches a field at any depth and in any case. It also matches the end of a dotted path:
//! `password` is found in the attribute `user.password`, and `user.password` in the object
//! `{"user":{"password":…}}`. Text that is itself a JSON object or list is looked into. Never true:
//! that free text is searched for secrets.

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::config::Redact;
use crate::signal::{Attributes, Labels, METRIC_NAME, Text, Value};

/// Hex digits kept of the hash: 128 bits, enough that no two values meet by chance.
const HASH_HEX_DIGITS: usize = 32;
/// SHA-256's block, for HMAC (RFC 2104).
const BLOCK_BYTES: usize = 64;

/// What is to be done with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    Drop,
    Hash,
}

/// [`Redact`], ready to use. Cheap where the config names nothing.
#[derive(Clone)]
pub struct Redactor {
    /// In lower case.
    drop: Vec<String>,
    hash: Vec<String>,
    inner: Sha256,
    outer: Sha256,
}

impl std::fmt::Debug for Redactor {
    /// Without the key's state.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor")
            .field("drop", &self.drop)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

impl Redactor {
    pub fn new(config: &Redact) -> Self {
        let lower =
            |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
        let mut key = [0_u8; BLOCK_BYTES];
        if config.hash_key.len() > BLOCK_BYTES {
            copy_into(&mut key, &Sha256::digest(&config.hash_key));
        } else {
            copy_into(&mut key, &config.hash_key);
        }
        Self {
            drop: lower(&config.drop),
            hash: lower(&config.hash),
            inner: Sha256::new().chain_update(key.map(|byte| byte ^ 0x36)),
            outer: Sha256::new().chain_update(key.map(|byte| byte ^ 0x5c)),
        }
    }

    /// True where the config names nothing, so that there is nothing to look for.
    pub fn is_idle(&self) -> bool {
        self.drop.is_empty() && self.hash.is_empty()
    }

    /// Redacts attributes in place, at any depth.
    pub fn attributes(&self, attributes: &mut Attributes) {
        if !self.is_idle() {
            self.entries(&mut attributes.0, &mut String::new());
        }
    }

    /// A series's labels, redacted; its metric name stays.
    pub fn labels(&self, labels: &Labels) -> Labels {
        if self.is_idle() {
            return labels.clone();
        }
        let value =
            |(name, value): &(Text, Text)| (Text::clone(name), Value::Str(Text::clone(value)));
        let mut attributes = Attributes(labels.pairs().iter().map(value).collect());
        attributes.0.retain(|(name, _)| &**name != METRIC_NAME);
        self.attributes(&mut attributes);
        let kept = attributes.0.into_iter().map(|(name, value)| (name, value.to_text().into()));
        Labels::new(kept.chain([(METRIC_NAME.into(), labels.name().into())]))
    }

    /// Redacts what lies inside a value (a log's body); the value itself has no name. True where
    /// something changed.
    pub fn value(&self, value: &mut Value) -> bool {
        !self.is_idle() && self.inside(value, &mut String::new())
    }

    /// Redacts JSON in place, at any depth. True where something changed.
    pub fn json(&self, json: &mut Json) -> bool {
        !self.is_idle() && self.inside_json(json, &mut String::new())
    }

    /// Redacts text that is a JSON object or list. None where nothing changed, or it is no JSON.
    pub fn text(&self, text: &str) -> Option<String> {
        if self.is_idle() || !text.trim_start().starts_with(['{', '[']) {
            return None;
        }
        let mut json: Json = serde_json::from_str(text).ok()?;
        self.inside_json(&mut json, &mut String::new()).then(|| json.to_string())
    }

    /// The hash that stands for `text`.
    pub fn hash(&self, text: &str) -> String {
        let inner = self.inner.clone().chain_update(text.as_bytes()).finalize();
        let digest = self.outer.clone().chain_update(inner).finalize();
        let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).take(HASH_HEX_DIGITS);
        let mut hash = String::from("hash:");
        hash.extend(digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)));
        hash
    }

    fn entries(&self, entries: &mut Vec<(Text, Value)>, path: &mut String) -> bool {
        let mut changed = false;
        entries.retain_mut(|(key, value)| {
            let length = push(path, key);
            let verdict = self.verdict(path);
            match verdict {
                Verdict::Hash => *value = Value::Str(self.hash(&value.to_text()).into()),
                Verdict::Keep => changed |= self.inside(value, path),
                Verdict::Drop => {}
            }
            path.truncate(length);
            changed |= verdict != Verdict::Keep;
            verdict != Verdict::Drop
        });
        changed
    }

    fn inside(&self, value: &mut Value, path: &mut String) -> bool {
        match value {
            Value::Map(entries) => self.entries(entries, path),
            Value::List(values) => {
                let mut changed = false;
                for item in values {
                    changed |= self.inside(item, path);
                }
                changed
            }
            Value::Str(text) => match self.text(text) {
                Some(redacted) => {
                    *text = redacted.into();
                    true
                }
                None => false,
            },
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => false,
        }
    }

    fn inside_json(&self, json: &mut Json, path: &mut String) -> bool {
        match json {
            Json::Object(entries) => {
                let mut changed = false;
                entries.retain(|key, value| {
                    let length = push(path, key);
                    let verdict = self.verdict(path);
                    match verdict {
                        Verdict::Hash => *value = Json::String(self.hash(&json_text(value))),
                        Verdict::Keep => changed |= self.inside_json(value, path),
                        Verdict::Drop => {}
                    }
                    path.truncate(length);
                    changed |= verdict != Verdict::Keep;
                    verdict != Verdict::Drop
                });
                changed
            }
            Json::Array(values) => {
                let mut changed = false;
                for item in values {
                    changed |= self.inside_json(item, path);
                }
                changed
            }
            Json::String(text) => match self.text(text) {
                Some(redacted) => {
                    *text = redacted;
                    true
                }
                None => false,
            },
            Json::Null | Json::Bool(_) | Json::Number(_) => false,
        }
    }

    /// Dropping is stronger than hashing.
    fn verdict(&self, path: &str) -> Verdict {
        let named = |names: &[String]| names.iter().any(|name| ends_with_name(path, name));
        if named(&self.drop) {
            Verdict::Drop
        } else if named(&self.hash) {
            Verdict::Hash
        } else {
            Verdict::Keep
        }
    }
}

/// Adds `.key` in lower case; gives the length to truncate back to.
fn push(path: &mut String, key: &str) -> usize {
    let length = path.len();
    if !path.is_empty() {
        path.push('.');
    }
    path.extend(key.chars().flat_map(char::to_lowercase));
    length
}

fn ends_with_name(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn json_text(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

fn copy_into(block: &mut [u8], bytes: &[u8]) {
    for (to, from) in block.iter_mut().zip(bytes) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(&Redact {
            drop: vec!["password".into(), "card.number".into()],
            hash: vec!["userId".into()],
            hash_key: b"key".to_vec(),
        })
    }

    fn check(json: &str, expect: &Expect) {
        let mut json: Json = serde_json::from_str(json).unwrap();
        redactor().json(&mut json);
        expect.assert_eq(&json.to_string());
    }

    #[test]
    fn the_hash_is_hmac_sha256() {
        // RFC 4231, test case 2, its first 32 digits.
        let jefe = Redactor::new(&Redact { hash_key: b"Jefe".to_vec(), ..Redact::default() });
        assert_eq!(
            jefe.hash("what do ya want for nothing?"),
            "hash:5bdcc146bf60754e6a042426089575c7"
        );
        // RFC 4231, test case 6: a key longer than a block is hashed first.
        let long = Redactor::new(&Redact { hash_key: vec![0xaa; 131], ..Redact::default() });
        assert_eq!(
            long.hash("Test Using Larger Than Block-Size Key - Hash Key First"),
            "hash:60e431591ee0b67f0d8a26aacbf5b77f"
        );
    }

    #[test]
    fn names_match_at_any_depth_and_in_any_case() {
        check(
            r#"{"a":[{"PassWord":1,"b":{"password":"x","c":2}}],"passwords":"kept"}"#,
            &expect![[r#"{"a":[{"b":{"c":2}}],"passwords":"kept"}"#]],
        );
    }

    #[test]
    fn dotted_names_match_paths_and_dotted_keys() {
        check(
            r#"{"card":{"number":"4111","type":"v"},"card.number":"4111","number":7,"app.userid":"u"}"#,
            &expect![[
                r#"{"app.userid":"hash:74fc58364b1e33d000839b677782f52f","card":{"type":"v"},"number":7}"#
            ]],
        );
    }

    #[test]
    fn json_inside_text_is_redacted_too() {
        check(
            r#"{"body":"{\"password\":\"x\",\"ok\":1}","plain":"{not json password"}"#,
            &expect![[r#"{"body":"{\"ok\":1}","plain":"{not json password"}"#]],
        );
    }

    #[test]
    fn numbers_and_text_of_one_value_hash_alike() {
        let redactor = redactor();
        let mut attributes = Attributes(vec![
            ("userId".into(), Value::Int(42)),
            ("user.USERID".into(), Value::Str("42".into())),
            ("db.password".into(), Value::Bool(true)),
            ("nested".into(), Value::Map(vec![("password".into(), Value::Int(1))])),
            ("list".into(), Value::List(vec![Value::Str(r#"{"password":1}"#.into())])),
        ]);
        redactor.attributes(&mut attributes);
        let expected = Value::Str(redactor.hash("42").into());
        assert_eq!(attributes.get("userId"), Some(&expected));
        assert_eq!(attributes.get("user.USERID"), Some(&expected));
        assert_eq!(attributes.get("db.password"), None);
        assert_eq!(attributes.get("nested"), Some(&Value::Map(vec![])));
        assert_eq!(attributes.get("list"), Some(&Value::List(vec![Value::Str("{}".into())])));
    }

    #[test]
    fn an_idle_redactor_changes_nothing() {
        let idle = Redactor::new(&Redact::default());
        assert!(idle.is_idle());
        assert_eq!(idle.text(r#"{"password":1}"#), None);
        assert!(!format!("{idle:?}").contains("inner"));
    }
}
