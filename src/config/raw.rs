//! The configuration exactly as written: every key optional, unknown keys refused.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::signal::{Diagnostic, masked};

/// A scalar as text, whatever YAML makes of it (`1`, `true`, `30s`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar(pub(super) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(Self)
    }
}

pub(super) type Value = Option<Spanned<Scalar>>;
pub(super) type Values = Option<List>;

/// A list of scalars; one alone is a list of one.
#[derive(Clone, Debug, Default)]
pub(super) struct List(Vec<Spanned<Scalar>>);

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a List {
    type Item = &'a Spanned<Scalar>;
    type IntoIter = std::slice::Iter<'a, Spanned<Scalar>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::<OneOrMany>::deserialize(d)?;
        Ok(Self(match value {
            OneOrMany::One(text) => vec![Spanned { value: Scalar(text), referenced, defined }],
            OneOrMany::Many(list) => list,
        }))
    }
}

enum OneOrMany {
    One(String),
    Many(Vec<Spanned<Scalar>>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or a list of names: `[a, b]`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(truth.to_string()))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(n.to_string()))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(n.to_string()))
    }

    fn visit_f64<E: de::Error>(self, x: f64) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(x.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
        let mut list = Vec::new();
        while let Some(one) = seq.next_element()? {
            list.push(one);
        }
        Ok(OneOrMany::Many(list))
    }
}

/// Lays an override over what was written.
pub(super) trait Merge {
    fn merge(&mut self, over: Self);
}

impl<T> Merge for Option<T> {
    fn merge(&mut self, over: Self) {
        if over.is_some() {
            *self = over;
        }
    }
}

/// A key that its section does not know.
#[derive(Clone, Debug)]
pub(super) struct Unknown {
    pub(super) place: Location,
    pub(super) message: String,
}

/// Tells of the keys that were read over, so that one does not keep the others' mistakes from being told.
pub(super) trait Section {
    fn unknown<'a>(&'a self, found: &mut Vec<&'a Unknown>);
}

impl<T: Section> Section for Option<T> {
    fn unknown<'a>(&'a self, found: &mut Vec<&'a Unknown>) {
        self.iter().for_each(|section| section.unknown(found));
    }
}

impl<T: Section> Section for Vec<T> {
    fn unknown<'a>(&'a self, found: &mut Vec<&'a Unknown>) {
        self.iter().for_each(|section| section.unknown(found));
    }
}

impl<T: Section> Section for Spanned<T> {
    fn unknown<'a>(&'a self, found: &mut Vec<&'a Unknown>) {
        self.value.unknown(found);
    }
}

/// What has no keys of ours.
macro_rules! leaf {
    ($($kind:ty),*) => {
        $(impl Section for $kind {
            fn unknown<'a>(&'a self, _: &mut Vec<&'a Unknown>) {}
        })*
    };
}

leaf!(Scalar, List, serde_json::Value);

impl<T> Section for std::collections::BTreeMap<String, T> {
    fn unknown<'a>(&'a self, _: &mut Vec<&'a Unknown>) {}
}

/// A raw identifier's name.
fn plain(field: &'static str) -> &'static str {
    field.trim_start_matches("r#")
}

fn unknown_key(key: &Spanned<String>, known: &[&'static str]) -> Unknown {
    let name = &key.value;
    let near = known.iter().map(|field| plain(field)).min_by_key(|field| distance(name, field));
    let near = near.filter(|field| distance(name, field) <= 1 + name.len() / 4);
    let message = if let Some(near) = near {
        format!("the key `{name}` is not known; did you mean `{near}`?")
    } else {
        let known: Vec<&str> = known.iter().map(|field| plain(field)).collect();
        format!("the key `{name}` is not known; here are {}", known.join(", "))
    };
    Unknown { place: key.referenced, message }
}

/// How many letters are to be put in, taken out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (other, above) in b.chars().zip(row.windows(2)) {
            let &[corner, above] = above else { continue };
            let changed = corner + usize::from(letter != other);
            left = changed.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

macro_rules! section {
    ($name:ident { $($field:ident: $kind:ty),* $(,)? }) => {
        #[derive(Debug, Default)]
        pub(super) struct $name {
            $(pub(super) $field: $kind,)*
            unknown: Vec<Unknown>,
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Keys;
                impl<'de> Visitor<'de> for Keys {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("keys with their values, as `key: value`")
                    }

                    /// All of its keys are commented out.
                    fn visit_none<E: de::Error>(self) -> Result<$name, E> {
                        Ok($name::default())
                    }

                    fn visit_some<D: serde::Deserializer<'de>>(self, d: D) -> Result<$name, D::Error> {
                        d.deserialize_map(self)
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut section = $name::default();
                        while let Some(key) = map.next_key::<Spanned<String>>()? {
                            $(if key.value == plain(stringify!($field)) {
                                section.$field = map.next_value()?;
                                continue;
                            })*
                            map.next_value::<IgnoredAny>()?;
                            section.unknown.push(unknown_key(&key, &[$(stringify!($field)),*]));
                        }
                        Ok(section)
                    }
                }
                d.deserialize_option(Keys)
            }
        }

        impl Section for $name {
            fn unknown<'a>(&'a self, found: &mut Vec<&'a Unknown>) {
                found.extend(&self.unknown);
                $(self.$field.unknown(found);)*
            }
        }

        impl Merge for $name {
            fn merge(&mut self, over: Self) {
                $(self.$field.merge(over.$field);)*
            }
        }
    };
}

section!(RawConfig {
    listen: RawListen,
    data_dir: Value,
    memory_max: Value,
    correlate: RawCorrelate,
    cost: RawCost,
    journal: RawJournal,
    series: RawSeries,
    query: RawQuery,
    archive: RawArchive,
    rules: RawRules,
    tls: Option<Spanned<RawTls>>,
    auth: RawAuth,
    redact: RawRedact,
    fields: RawFields,
    functions: Option<Vec<Spanned<RawFunction>>>,
    queues: Option<Vec<Spanned<RawQueue>>>,
    flows: Option<Vec<Spanned<RawFlow>>>,
    slos: RawSlos,
    notify: RawNotify,
    forward: RawForward,
    scrape: Option<Vec<Spanned<RawScrape>>>,
    aws: Option<Vec<Spanned<RawAws>>>,
    files: Option<Vec<Spanned<RawFiles>>>,
});
section!(RawListen {
    otlp_grpc: Value,
    ingest: Value,
    web: Value,
    insecure: Value,
    external_url: Value,
});
section!(RawCorrelate {
    settle_after: Value,
    incomplete_after: Value,
    retry_after: Value,
    allowed_lateness: Value,
    joins_max: Value,
    entries_max: Value,
    hops_max: Value,
    pending_max: Value,
});
section!(RawCost { gb_second_usd: RawGbSecond, request_usd: Value });
section!(RawGbSecond { x86_64: Value, arm64: Value });
section!(RawJournal { size_max: Value });
section!(RawSeries { retention: Value, size_max: Value, sampled_per_metric_max: Value });
section!(RawQuery {
    timeout: Value,
    lookback: Value,
    samples_max: Value,
    series_max: Value,
    concurrent_max: Value,
});
section!(RawArchive { keep: RawKeep, size_max: Value, retention: Value });
section!(RawKeep { errors: Value, slowest_per_flow: Value, sample: Value });
section!(RawRules { files: Values, evaluation_interval: Value, query_offset: Value });
section!(RawTls { cert_file: Value, key_file: Value, client_ca_file: Value, client_scope: Values });
section!(RawAuth {
    tokens: Option<Vec<Spanned<RawToken>>>,
    signatures: Option<Vec<Spanned<RawSignature>>>,
    pubsub: Option<Spanned<RawPubsub>>,
});
section!(RawPubsub { audience: Value, emails: Values, issuer: Value, keys_url: Value });
section!(RawSignature {
    name: Value,
    scheme: Value,
    secret: Value,
    secret_file: Value,
    verify: Value,
});
section!(RawToken {
    name: Value,
    token: Value,
    token_file: Value,
    scope: Values,
    receivers: Values,
});
section!(RawRedact { drop: Values, hash: Values, hash_key: Value, hash_key_file: Value });
section!(RawFields {
    correlation_id: Values,
    function: Values,
    invocation_id: Values,
    timestamp: Values,
    level: Values,
    duration_ms: Values,
    error: Values,
    cold_start: Values,
    sent_ids: Values,
    received_ids: Values,
});
section!(RawFunction { name: Value, timeout: Value, memory: Value, architecture: Value });
section!(RawQueue {
    name: Value,
    dlq: Value,
    max_receive_count: Value,
    visibility_timeout: Value,
    url: Value,
    starts_request: Value
});
section!(RawFlow { r#match: Value, incomplete_after: Value });
section!(RawSlos { files: Values });
section!(RawNotify { config: Value });
section!(RawRemoteWrite {
    url: Value,
    token: Value,
    token_file: Value,
    interval: Value,
    timeout: Value,
    protobuf_message: Value,
    send_native_histograms: Value,
    labels: Option<std::collections::BTreeMap<String, Spanned<Scalar>>>,
});
section!(RawForward {
    otlp: Option<Vec<Spanned<serde_json::Value>>>,
    remote_write: Option<Vec<Spanned<RawRemoteWrite>>>,
    alertmanagers: Option<Vec<Spanned<RawAlertmanager>>>,
});

section!(RawAlertmanager {
    url: Value,
    token: Value,
    token_file: Value,
    external_labels: Option<std::collections::BTreeMap<String, Spanned<Scalar>>>,
    drop_labels: Values,
});

section!(RawScrape {
    job: Value,
    targets: Values,
    interval: Value,
    timeout: Value,
    scheme: Value,
    path: Value,
    params: Option<std::collections::BTreeMap<String, List>>,
    token: Value,
    token_file: Value,
    labels: Option<std::collections::BTreeMap<String, Spanned<Scalar>>>,
    honor_labels: Value,
    honor_timestamps: Value,
    native_histograms: Value,
    preset: Value,
    relabel: Option<Vec<Spanned<RawRelabel>>>,
    body_max: Value,
    samples_max: Value,
});
section!(RawAws {
    region: Value,
    endpoint: Value,
    queue_prefixes: Values,
    queue_urls: Values,
    functions: Values,
    interval: Value,
});
section!(RawFiles { paths: Values, function: Value, format: Value, from: Value });
section!(RawRelabel {
    source_labels: Values,
    separator: Value,
    regex: Value,
    target_label: Value,
    replacement: Value,
    action: Value,
});

pub(super) fn parse(file: &str, text: &str) -> Result<RawConfig, Vec<Diagnostic>> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(RawConfig::default());
    }
    serde_saphyr::from_str(text)
        .map_err(|error| vec![Diagnostic::yaml(file, text, &error).without_secrets(text)])
}

/// The value of an override, without its secrets.
fn shown(path: &str, value: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or_default();
    if masked::is_secret(key, "") { masked::MASK.to_owned() } else { masked::line(value) }
}

/// `a.b=c` as the document `{"a": {"b": c}}` and the name under which its errors appear.
pub(super) fn override_document(set: &str) -> Result<(String, String), Vec<Diagnostic>> {
    let Some((path, value)) = set.split_once('=').filter(|(path, _)| !path.is_empty()) else {
        let as_file = format!("--set {set}");
        return Err(vec![Diagnostic::new(&as_file, "", 0, 0, "write --set key.path=value")]);
    };
    let as_file = format!("--set {path}={}", shown(path, value));
    let keys: Vec<&str> = path.split('.').collect();
    let open: String = keys.iter().map(|key| format!("{{{key}: ")).collect();
    let quoted =
        if value.starts_with(['[', '{']) { value.to_owned() } else { format!("{value:?}") };
    Ok((as_file, format!("{open}{quoted}{}", "}".repeat(keys.len()))))
}
