//! Fields of JSON objects: looking values up by the many names that loggers use.
//!
//! Objects in, typed values out. A [`Reader`] looks into a record and into the object that is its
//! message, and remembers which fields it took, so that what is left can be kept as attributes.
//! Blank values and placeholders (`null`, `""`, `undefined`) are never a find.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use super::pieces::DEPTH_MAX;
use super::shorten::shorten;
use crate::number::u64_from_f64;
use crate::signal::{self, Attributes, Text};

pub(crate) type Object = Map<String, Value>;

/// Longest id that joins, in bytes; ARNs of workflow executions are the longest real ones.
pub(crate) const ID_BYTES_MAX: usize = 512;

/// Bytes of text that the attributes of one record may take together.
const ATTRIBUTES_BYTES_MAX: usize = 256 * 1024;

/// Attributes that are left for our own notes: what was dropped, the original time, glued text.
const RESERVED: usize = 3;

/// Looks fields up in a record, then in the object that is its message.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    record: &'a Object,
    message: Option<&'a Object>,
    taken: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(record: &'a Object) -> Self {
        Self { record, message: None, taken: Vec::new() }
    }

    /// Also looks into `message`, after the record itself.
    pub(crate) fn look_into(&mut self, message: &'a Object) {
        self.message = Some(message);
    }

    pub(crate) fn record(&self) -> &'a Object {
        self.record
    }

    pub(crate) fn message(&self) -> Option<&'a Object> {
        self.message
    }

    /// The first of the configured, then of the known names that is there; it stays an attribute.
    pub(crate) fn see(&self, configured: &[String], known: &[&str]) -> Option<&'a Value> {
        self.find(configured, known).map(|found| found.value)
    }

    /// The same, and it is no attribute any more.
    pub(crate) fn take(&mut self, configured: &[String], known: &[&str]) -> Option<&'a Value> {
        let found = self.find(configured, known)?;
        self.taken.extend(found.field);
        Some(found.value)
    }

    /// The first value under these names that reads as what is wanted; it is no attribute any more.
    pub(crate) fn take_as<T>(
        &mut self,
        configured: &[String],
        known: &[&str],
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let mut names = configured.iter().map(String::as_str).chain(known.iter().copied());
        let (wanted, field) = names.find_map(|name| {
            let found = self.find(&[], &[name])?;
            Some((read(found.value)?, found.field))
        })?;
        self.taken.extend(field);
        Some(wanted)
    }

    /// Every value under these names that is usable as an id, lists taken apart, without repeats.
    pub(crate) fn take_ids(
        &mut self,
        configured: &[String],
        known: &[&str],
        ids_max: usize,
    ) -> Vec<Text> {
        let mut ids: Vec<Text> = Vec::new();
        let mut seen = BTreeSet::new();
        for name in configured.iter().map(String::as_str).chain(known.iter().copied()) {
            let Some(found) = self.find(&[], &[name]) else { continue };
            let each = match found.value {
                Value::Array(items) => items.as_slice(),
                one => std::slice::from_ref(one),
            };
            let before = ids.len();
            for id in each.iter().filter_map(id) {
                if ids.len() < ids_max && seen.insert(Text::clone(&id)) {
                    ids.push(id);
                }
            }
            if ids.len() > before {
                self.taken.extend(found.field);
            }
        }
        ids
    }

    pub(crate) fn take_id(&mut self, configured: &[String], known: &[&str]) -> Option<Text> {
        id(self.take(configured, known)?)
    }

    /// Marks a field of the record as taken.
    pub(crate) fn mark(&mut self, field: &'a str) {
        self.taken.push(field);
    }

    /// What nobody took, in the record's order; what finds no room is counted in
    /// `dropped_attributes_count`.
    pub(crate) fn attributes(&self) -> Attributes {
        let mut kept = Vec::new();
        let mut room = ATTRIBUTES_BYTES_MAX;
        let mut n_dropped = 0_i64;
        let left = self
            .record
            .iter()
            .filter(|(key, value)| !value.is_null() && !self.taken.contains(&key.as_str()));
        for (key, value) in left {
            let cost = key.len() + size_of_text(value);
            if kept.len() + RESERVED >= Attributes::MAX || cost > room {
                n_dropped += 1;
                continue;
            }
            room -= cost;
            kept.push((Text::from(shorten(key, ID_BYTES_MAX)), attribute(value, DEPTH_MAX)));
        }
        if n_dropped > 0 {
            kept.push((Text::from("dropped_attributes_count"), signal::Value::Int(n_dropped)));
        }
        Attributes(kept)
    }

    fn find(&self, configured: &[String], known: &[&str]) -> Option<Found<'a>> {
        let names = configured.iter().map(String::as_str).chain(known.iter().copied());
        names.into_iter().find_map(|name| {
            let in_record = lookup(self.record, name).filter(|v| !is_blank(v));
            if let Some(value) = in_record {
                let field = self.record.get_key_value(name).map(|(key, _)| key.as_str());
                return Some(Found { value, field });
            }
            let value = lookup(self.message?, name).filter(|v| !is_blank(v))?;
            Some(Found { value, field: None })
        })
    }
}

/// A value, and the record's own field that holds it, where it is not nested.
struct Found<'a> {
    value: &'a Value,
    field: Option<&'a str>,
}

/// A path with dots reaches into objects; a key that itself holds the dots comes first.
pub(crate) fn lookup<'a>(object: &'a Object, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let inner = object.get(path.get(..dot)?)?.as_object()?;
        lookup(inner, path.get(dot + 1..)?)
    })
}

/// Text under a path, if it is not blank.
pub(crate) fn text<'a>(object: &'a Object, path: &str) -> Option<&'a str> {
    lookup(object, path)?.as_str().filter(|text| !is_placeholder(text))
}

/// An id: text that is no placeholder, or a number. Of one that is too long, enough to see that.
pub(crate) fn id(value: &Value) -> Option<Text> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            (!is_placeholder(text)).then(|| Text::from(shorten(text, ID_BYTES_MAX + 4)))
        }
        Value::Number(number) => Some(Text::from(number.to_string())),
        _ => None,
    }
}

/// A number, or text that is one.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|x: &f64| x.is_finite())
}

/// Milliseconds, or text that is them, to the nanosecond.
pub(crate) fn millis(value: &Value) -> Option<Duration> {
    let ms = number(value).filter(|ms| *ms >= 0.0)?;
    Some(Duration::from_nanos(u64_from_f64((ms * 1e6).round())))
}

/// A count that is not negative, or text that is one.
pub(crate) fn count(value: &Value) -> Option<u64> {
    number(value).filter(|x| *x >= 0.0).map(u64_from_f64)
}

/// A truth value in the spellings of formatters that only write text.
pub(crate) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        Value::Number(number) => match number.as_u64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        _ => None,
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => is_placeholder(text.trim()),
        _ => false,
    }
}

/// What formatters write where they know nothing. An id like this would join strangers.
pub(crate) fn is_placeholder(text: &str) -> bool {
    const WORDS: [&str; 8] =
        ["", "-", "null", "undefined", "none", "nil", "unknown", "service_undefined"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) || is_nil(text)
}

/// A UUID or a trace id of zeros (RFC 9562 section 5.9, W3C Trace Context 2.2.2.3).
fn is_nil(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| matches!(byte, b'0' | b'-'))
}

fn size_of_text(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len().min(Attributes::VALUE_BYTES_MAX),
        Value::Array(items) => items.iter().map(|item| 8 + size_of_text(item)).sum(),
        Value::Object(map) => map.iter().map(|(k, v)| 8 + k.len() + size_of_text(v)).sum(),
        _ => 8,
    }
}

/// An attribute's value; nothing below `depth` levels is kept.
pub(crate) fn attribute(value: &Value, depth: usize) -> signal::Value {
    let below = depth.saturating_sub(1);
    match value {
        Value::Null => signal::Value::Str(Text::from("")),
        Value::Bool(b) => signal::Value::Bool(*b),
        Value::Number(n) => match n.as_i64() {
            Some(whole) => signal::Value::Int(whole),
            None => signal::Value::Float(n.as_f64().unwrap_or_default()),
        },
        Value::String(text) => {
            signal::Value::Str(Text::from(shorten(text, Attributes::VALUE_BYTES_MAX)))
        }
        _ if depth == 0 => signal::Value::Str(Text::from("…")),
        Value::Array(items) => {
            signal::Value::List(items.iter().map(|item| attribute(item, below)).collect())
        }
        Value::Object(map) => signal::Value::Map(
            map.iter().map(|(k, v)| (Text::from(k.as_str()), attribute(v, below))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> &Object {
        value.as_object().unwrap()
    }

    #[test]
    fn paths_reach_into_objects_and_dotted_keys_come_first() {
        let value = json!({"a.b": 1, "a": {"b": 2, "c.d": {"e": 3}}});
        assert_eq!(lookup(object(&value), "a.b"), Some(&json!(1)));
        assert_eq!(lookup(object(&value), "a.c.d.e"), Some(&json!(3)));
        assert_eq!(lookup(object(&value), "a.x"), None);
    }

    #[test]
    fn placeholders_are_never_a_find() {
        let value = json!({"a": "undefined", "b": null, "c": " ", "d": "real"});
        let reader = Reader::new(object(&value));
        assert_eq!(reader.see(&[], &["a", "b", "c", "d"]), Some(&json!("real")));
    }

    #[test]
    fn configured_names_come_before_known_ones_and_the_record_before_its_message() {
        let value = json!({"known": 1, "mine": 2, "message": {"known": 3, "inner": 4}});
        let mut reader = Reader::new(object(&value));
        reader.look_into(object(&value["message"]));
        assert_eq!(reader.see(&["mine".to_owned()], &["known"]), Some(&json!(2)));
        assert_eq!(reader.see(&[], &["known"]), Some(&json!(1)));
        assert_eq!(reader.see(&[], &["inner"]), Some(&json!(4)));
    }

    #[test]
    fn ids_are_taken_from_lists_without_repeats_and_up_to_the_bound() {
        let value = json!({"ids": ["a", "b", "a", "", {"x": 1}, 7], "id": "b"});
        let mut reader = Reader::new(object(&value));
        let ids = reader.take_ids(&[], &["ids", "id"], 3);
        assert_eq!(ids.iter().map(|id| &**id).collect::<Vec<_>>(), ["a", "b", "7"]);
        assert_eq!(reader.attributes().0.len(), 1, "the field that added nothing stays");
    }

    #[test]
    fn attributes_have_room_for_so_much_and_say_what_they_left_out() {
        let long = "x".repeat(300 * 1024);
        let many: Vec<String> = (0..30).map(|_| "y".repeat(15 * 1024)).collect();
        let value = json!({"cut": long, "many": many, "small": 1});
        let attributes = Reader::new(object(&value)).attributes();
        assert_eq!(attributes.str("cut").map(str::len), Some(Attributes::VALUE_BYTES_MAX));
        assert_eq!(attributes.get("many"), None);
        assert_eq!(attributes.get("dropped_attributes_count"), Some(&signal::Value::Int(1)));
    }
}
