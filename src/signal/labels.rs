//! Label sets that name series.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Fnv128, Text};

/// The label that holds a series's metric name.
pub const METRIC_NAME: &str = "__name__";

/// Labels sorted by name, names unique, no empty values (Prometheus data model). Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[(Text, Text)]>);

impl Labels {
    /// Sorts, drops empty values; of equal names the last wins.
    pub fn new(pairs: impl IntoIterator<Item = (Text, Text)>) -> Self {
        let mut sorted: Vec<(Text, Text)> = Vec::new();
        for (name, value) in pairs {
            match sorted.binary_search_by(|(n, _)| n.cmp(&name)) {
                Ok(at) => sorted[at].1 = value,
                Err(at) => sorted.insert(at, (name, value)),
            }
        }
        sorted.retain(|(_, value)| !value.is_empty());
        Self(sorted.into())
    }

    /// From borrowed pairs; see [`Labels::new`].
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self::new(pairs.iter().map(|(n, v)| (Text::from(*n), Text::from(*v))))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// Of all names and values together, in characters.
    pub fn n_chars(&self) -> usize {
        self.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum()
    }

    /// The series of a classic histogram's bucket up to `bound`; these are the histogram's labels.
    #[must_use]
    pub fn bucket(&self, bound: f64) -> Self {
        let le = if bound == f64::INFINITY { "+Inf".to_owned() } else { bound.to_string() };
        self.with(METRIC_NAME, &format!("{}_bucket", self.name())).with("le", &le)
    }

    /// The metric's name, empty where there is none.
    pub fn name(&self) -> &str {
        // It sorts before all names in lower case.
        match self.0.first() {
            Some((name, value)) if **name == *METRIC_NAME => value,
            _ => self.get(METRIC_NAME).unwrap_or_default(),
        }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (&**n, &**v))
    }

    pub fn pairs(&self) -> &[(Text, Text)] {
        &self.0
    }

    /// Whether this is the same copy, not only an equal one.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy with `name` set to `value`; an empty value removes it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        Self::new(self.0.iter().cloned().chain([(Text::from(name), Text::from(value))]))
    }

    /// A copy without `name`.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(n, _)| &**n != name).cloned().collect())
    }

    /// A copy with only the labels that `keep` accepts.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(n, _)| keep(n)).cloned().collect())
    }

    /// The same labels in the texts that `known` holds, which learns those that are new.
    #[must_use]
    pub fn shared(&self, known: &mut HashSet<Text>) -> Self {
        let mut share = |text: &Text| {
            let held = known.get(text).cloned();
            held.unwrap_or_else(|| {
                known.insert(Text::clone(text));
                Text::clone(text)
            })
        };
        Self(self.0.iter().map(|(name, value)| (share(name), share(value))).collect())
    }

    /// The fingerprint that Prometheus and Alertmanager show of a label set: FNV-1a over names and
    /// values, each followed by a byte that no UTF-8 has (`model/signature.go`).
    pub fn signature(&self) -> u64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for (name, value) in self.0.iter() {
            for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        hash
    }

    /// A stable hash of the whole set.
    pub fn fingerprint(&self) -> u128 {
        self.0
            .iter()
            .fold(Fnv128::default(), |hash, (n, v)| hash.field(n.as_bytes()).field(v.as_bytes()))
            .finish()
    }
}

impl Ord for Labels {
    /// By the first pair that differs. Texts of a store's labels are shared, and what is the same text
    /// need not be read.
    fn cmp(&self, other: &Self) -> Ordering {
        let text = |a: &Text, b: &Text| if Arc::ptr_eq(a, b) { Ordering::Equal } else { a.cmp(b) };
        let pairs = self.0.iter().zip(other.0.iter());
        let mut orders = pairs.map(|((n, v), (m, w))| text(n, m).then_with(|| text(v, w)));
        let differ = orders.find(|order| order.is_ne());
        differ.unwrap_or_else(|| self.0.len().cmp(&other.0.len()))
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Labels {
    /// As Prometheus shows a series: `name{a="b"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        f.write_str(name)?;
        let mut rest = self.iter().filter(|(n, _)| *n != METRIC_NAME).peekable();
        if rest.peek().is_none() && !name.is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        for (i, (n, v)) in rest.enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{n}={v:?}")?;
        }
        f.write_str("}")
    }
}

impl Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::collections::BTreeMap::<Text, Text>::deserialize(d).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_names_wins_and_empty_values_go() {
        let labels = Labels::of(&[("b", "1"), ("a", "2"), ("b", "3"), ("c", "")]);
        assert_eq!(labels.to_string(), r#"{a="2", b="3"}"#);
        assert_eq!(labels.with("a", "").to_string(), r#"{b="3"}"#);
        assert_eq!(Labels::of(&[(METRIC_NAME, "up")]).to_string(), "up");
    }
}
