//! Attributes: what a signal says beside the vocabulary that we know.

use serde::{Deserialize, Serialize};

use super::Text;

/// An attribute's value, after OpenTelemetry's `AnyValue`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Text),
    List(Vec<Value>),
    Map(Vec<(Text, Value)>),
}

impl Value {
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(n) = self { Some(*n) } else { None }
    }

    /// The value as text: strings as they are, everything else as JSON would show it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Str(text) => text.to_string(),
            other => other.to_json().to_string(),
        }
    }

    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool(b) => (*b).into(),
            Self::Int(n) => (*n).into(),
            Self::Float(x) => (*x).into(),
            Self::Str(text) => (&**text).into(),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|(k, v)| (k.to_string(), v.to_json())).collect(),
            ),
        }
    }
}

/// Attributes in the order in which the sender gave them. At most [`Attributes::MAX`] are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attributes(pub Vec<(Text, Value)>);

impl Attributes {
    /// OpenTelemetry SDKs keep 128 by default (Attribute Limits); so do we.
    pub const MAX: usize = 128;
    /// Longest text value kept, in bytes; longer ones are cut at a character's border.
    pub const VALUE_BYTES_MAX: usize = 16 * 1024;

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(k, _)| &**k == key).map(|(_, v)| v)
    }

    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// The first of `keys` that is there as text: old and new names of one thing.
    pub fn first_str(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.str(key))
    }
}
