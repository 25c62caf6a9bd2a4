//! Fields of Azure Monitor records: names whose case varies, times of many spellings, properties that
//! are text.
//!
//! Objects and text in, typed values out. Envelopes spell `time`, `timeStamp` and `EventTimeString`, put
//! blanks inside times, write resource ids in capitals, and hold properties as an object, as JSON text,
//! or as the text of a Python dictionary (captured in 2026); what is none of these is None.

use serde_json::Value;

use super::event_time;
use super::json_fields::{Object, is_placeholder};
use crate::signal::Timestamp;

/// Times, in the order of their worth.
const TIME: [&str; 5] = ["time", "timeStamp", "eventTimestamp", "EventTimeString", "TimeGenerated"];

/// A field by its name, whatever the case; the spelling asked for comes first.
pub(super) fn field<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

/// Text of a field that says something.
pub(super) fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    field(object, name)?.as_str().map(str::trim).filter(|text| !is_placeholder(text))
}

/// When a record happened.
pub(super) fn time(record: &Object) -> Option<Timestamp> {
    TIME.iter().find_map(|name| read_time(field(record, name)?))
}

fn read_time(value: &Value) -> Option<Timestamp> {
    value.as_str().map_or_else(|| event_time::read(value), text_time)
}

/// A time in the spellings of Azure's services and hosts.
pub(super) fn text_time(text: &str) -> Option<Timestamp> {
    // `2021-02-04T07: 45: 44.58Z`: some relays put blanks behind the colons.
    let tight = text.replace(": ", ":");
    event_time::read_text(&tight).or_else(|| us_time(text.trim()))
}

/// `1/1/2021 8:40:06 PM +00:00`.
fn us_time(text: &str) -> Option<Timestamp> {
    // Longer texts are none, and parsing them would be wasted.
    let text = (text.len() <= 40).then_some(text)?;
    let read = |format: &str, text: &str| jiff::Timestamp::strptime(format, text).ok();
    let time = read("%m/%d/%Y %I:%M:%S %p %:z", text)
        .or_else(|| read("%m/%d/%Y %I:%M:%S %p %:z", &format!("{text} +00:00")))?;
    Some(Timestamp::from_nanos(u64::try_from(time.as_nanosecond()).ok()?))
}

/// The record's properties as an object, however they are written.
pub(super) fn properties(record: &Object) -> Option<Object> {
    match field(record, "properties")? {
        Value::Object(properties) => Some(properties.clone()),
        Value::String(text) => {
            let read = |text: &str| serde_json::from_str::<Object>(text).ok();
            read(text).or_else(|| read(&requoted(text)))
        }
        _ => None,
    }
}

/// The text with single-quoted strings in double quotes, Python's words in JSON's. A quote ends its
/// string where punctuation follows, so that `'it's'` stays one.
pub(super) fn requoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let (token, len) = match letter {
            '"' => double_quoted(rest),
            '\'' => single_quoted(rest),
            _ if letter.is_alphabetic() => word(rest),
            _ => (String::from(letter), letter.len_utf8()),
        };
        out.push_str(&token);
        rest = rest.get(len..).unwrap_or_default();
    }
    out
}

/// A string that is already JSON's, with its length.
fn double_quoted(text: &str) -> (String, usize) {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, letter)| {
        let ends = *letter == '"' && !is_escaped;
        is_escaped = *letter == '\\' && !is_escaped;
        ends
    });
    let len = end.map_or(text.len(), |(at, _)| at + 1);
    (text.get(..len).unwrap_or_default().to_owned(), len)
}

fn single_quoted(text: &str) -> (String, usize) {
    let mut out = String::from("\"");
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if letters.peek().is_some_and(|(_, next)| *next == '\'') => {
                letters.next();
                out.push('\'');
            }
            '\\' => {
                out.push('\\');
                out.extend(letters.next().map(|(_, next)| next));
            }
            '"' => out.push_str("\\\""),
            '\'' if ends_string(text.get(at + 1..).unwrap_or_default()) => {
                out.push('"');
                return (out, at + 1);
            }
            _ => out.push(letter),
        }
    }
    (out, text.len())
}

fn ends_string(rest: &str) -> bool {
    rest.trim_start().chars().next().is_none_or(|next| matches!(next, ',' | ':' | '}' | ']'))
}

fn word(text: &str) -> (String, usize) {
    let len = text.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(text.len());
    let word = text.get(..len).unwrap_or_default();
    let json = match word {
        "None" => "null",
        "True" => "true",
        "False" => "false",
        other => other,
    };
    (json.to_owned(), len)
}

/// What a resource id of Azure names, in small letters: envelopes write it in capitals or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AzureResource {
    pub(super) subscription: Option<String>,
    /// Provider and type without `microsoft.`: `web_sites`.
    pub(super) namespace: Option<String>,
    /// The resource's own name: of a function app, the app's.
    pub(super) name: Option<String>,
}

/// Reads `/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.WEB/SITES/APP`.
pub(super) fn resource(id: &str) -> AzureResource {
    let id = id.to_ascii_lowercase();
    let after = |key: &str| {
        let mut parts = id.split('/');
        parts.find(|part| *part == key)?;
        Some(parts)
    };
    let first = |key| after(key).and_then(|mut parts| parts.next()).map(str::to_owned);
    let mut provider = after("providers").into_iter().flatten();
    let (namespace, kind, name) = (provider.next(), provider.next(), provider.next());
    AzureResource {
        subscription: first("subscriptions"),
        namespace: namespace.zip(kind).map(|(namespace, kind)| {
            format!("{}_{kind}", namespace.strip_prefix("microsoft.").unwrap_or(namespace))
        }),
        name: name.filter(|name| !name.is_empty()).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_spelling_of_a_time_is_read() {
        for told in [
            json!({"time": "2021-01-01T20:40:06Z"}),
            json!({"Time": "2021-01-01T20: 40: 06Z"}),
            json!({"timeStamp": "2021-01-01T20:40:06+00:00"}),
            json!({"eventTimestamp": "1/1/2021 8:40:06 PM +00:00"}),
            json!({"EventTimeString": "1/1/2021 8:40:06 PM"}),
            json!({"TimeGenerated": 1_609_533_606_000_i64}),
        ] {
            let read = time(told.as_object().unwrap());
            assert_eq!(read, Timestamp::parse_rfc3339("2021-01-01T20:40:06Z"), "{told}");
        }
        assert_eq!(time(json!({"time": "SOME-ERROR"}).as_object().unwrap()), None);
    }

    #[test]
    fn properties_are_read_however_they_are_written() {
        let want = json!({"message": "it's \"so\"", "n": 1, "ok": true, "none": null});
        for told in [
            want.clone(),
            json!(want.to_string()),
            json!(r#"{'message': 'it's "so"', 'n': 1, 'ok': True, 'none': None}"#),
            json!(r#"{'message': "it's \"so\"", 'n': 1, 'ok': True, 'none': None}"#),
        ] {
            let record = json!({"Properties": told});
            let read = properties(record.as_object().unwrap()).map(Value::Object);
            assert_eq!(read.as_ref(), Some(&want), "{told}");
        }
        assert_eq!(properties(json!({"properties": "no object"}).as_object().unwrap()), None);
    }

    #[test]
    fn resource_ids_are_read_in_any_case() {
        let id = "/SUBSCRIPTIONS/S-1/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.WEB/SITES/APP";
        let read = resource(id);
        assert_eq!(read, resource(&id.to_ascii_lowercase()));
        assert_eq!(read.subscription.as_deref(), Some("s-1"));
        assert_eq!(read.namespace.as_deref(), Some("web_sites"));
        assert_eq!(read.name.as_deref(), Some("app"));
        assert_eq!(resource("nonsense"), AzureResource::default());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_requoted_to_its_end(text in ".{0,80}") {
            let _ = requoted(&text);
        }
    }
}
