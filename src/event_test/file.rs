//! The file's format: YAML text in, checked tests or errors with their places out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::packed::is_packed;
use crate::evaluate::unit_test::ExpectedSample;
use crate::number::usize_from_u64;
use crate::signal::{Diagnostic, Labels, Text, Timestamp, parse_duration};

/// When a test begins that names no time.
const START: &str = "2026-01-01T00:00:00Z";
/// Longest test: a slip in a unit must not run for ever.
const END_MAX: Duration = Duration::from_hours(48);
/// Repetitions of one signal.
const TIMES_MAX: u64 = 100_000;

#[derive(Debug)]
pub(super) struct EventFile {
    pub(super) rule_files: Vec<String>,
    pub(super) slo_files: Vec<String>,
    pub(super) config_file: Option<String>,
    pub(super) notify_file: Option<String>,
    /// `key.path=value`, as `--set` takes it.
    pub(super) set: Vec<String>,
    pub(super) tests: Vec<EventTest>,
}

#[derive(Debug)]
pub(super) struct EventTest {
    pub(super) name: String,
    pub(super) start: Timestamp,
    /// From the start; at least the last time that is named.
    pub(super) end: Duration,
    pub(super) signals: Vec<Input>,
    pub(super) expectations: Vec<Expectation>,
    /// Alerts of these names fire at no time.
    pub(super) must_not_fire: Vec<Named>,
    /// Alerts of no other names fire.
    pub(super) fires_only: Option<FiresOnly>,
}

/// Line and column of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) col: usize,
}

#[derive(Debug)]
pub(super) struct Named {
    pub(super) place: Place,
    pub(super) name: String,
}

#[derive(Debug)]
pub(super) struct FiresOnly {
    pub(super) place: Place,
    pub(super) names: Vec<String>,
}

/// A request to the ingest port, made once or several times.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) place: Place,
    pub(super) at: Duration,
    pub(super) every: Duration,
    pub(super) times: u64,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
    /// Records that the daemon refuses for good; None: `becomes` says.
    pub(super) rejected: Option<u32>,
    /// What the body becomes, a line each.
    pub(super) becomes: Option<Vec<String>>,
    /// Why the daemon refuses the whole body.
    pub(super) refused: Option<String>,
}

#[derive(Debug)]
pub(super) enum Body {
    /// With placeholders.
    Inline(String),
    /// JSON with placeholders, parts of which are packed before it is sent.
    Packed(String),
    /// As it is.
    File(String),
}

#[derive(Debug)]
pub(super) struct Expectation {
    pub(super) place: Place,
    pub(super) at: Duration,
    pub(super) what: Expected,
}

#[derive(Debug)]
pub(super) enum Expected {
    /// None: no request is known by this key.
    Request {
        key: String,
        is: Option<Value>,
    },
    Query {
        expr: String,
        samples: Vec<ExpectedSample>,
    },
    /// All alerts of this name in a state.
    Alert {
        name: String,
        firing: Vec<ExpectedAlert>,
        pending: Option<Vec<ExpectedAlert>>,
    },
    /// All messages that a receiver was sent until then.
    Messages {
        receiver: String,
        messages: Vec<Value>,
    },
}

#[derive(Debug)]
pub(super) struct ExpectedAlert {
    /// All of them but `alertname`.
    pub(super) labels: Labels,
    /// Those that count.
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    rule_files: Vec<String>,
    #[serde(default)]
    slo_files: Vec<String>,
    config_file: Option<String>,
    notify_file: Option<String>,
    #[serde(default)]
    set: Vec<String>,
    event_tests: Vec<RawTest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    name: Option<String>,
    start: Option<Spanned<String>>,
    end: Option<Spanned<String>>,
    #[serde(default)]
    signals: Vec<Spanned<RawInput>>,
    #[serde(default)]
    expect: Vec<Spanned<RawExpectation>>,
    #[serde(default)]
    must_not_fire: Vec<Spanned<String>>,
    fires_only: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    at: Spanned<String>,
    every: Option<Spanned<String>>,
    times: Option<Spanned<u64>>,
    post: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    file: Option<String>,
    rejected: Option<u32>,
    becomes: Option<String>,
    refused: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpectation {
    at: Spanned<String>,
    request: Option<String>,
    is: Option<Value>,
    #[serde(default)]
    absent: bool,
    query: Option<String>,
    samples: Option<Vec<ExpectedSample>>,
    alert: Option<String>,
    firing: Option<Vec<RawAlert>>,
    pending: Option<Vec<RawAlert>>,
    receiver: Option<String>,
    messages: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlert {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

pub(super) fn parse(name: &str, text: &str) -> Result<EventFile, Vec<Diagnostic>> {
    let raw: RawFile =
        serde_saphyr::from_str(text).map_err(|error| vec![Diagnostic::yaml(name, text, &error)])?;
    let mut check = Check { name, text, errors: Vec::new() };
    let tests = raw.event_tests.into_iter().enumerate();
    let tests = tests.map(|(idx, test)| check.test(idx, test)).collect();
    if !check.errors.is_empty() {
        return Err(check.errors);
    }
    Ok(EventFile {
        rule_files: raw.rule_files,
        slo_files: raw.slo_files,
        config_file: raw.config_file,
        notify_file: raw.notify_file,
        set: raw.set,
        tests,
    })
}

fn place(at: &Location) -> Place {
    Place { line: usize_from_u64(at.line()), col: usize_from_u64(at.column()) }
}

struct Check<'a> {
    name: &'a str,
    text: &'a str,
    errors: Vec<Diagnostic>,
}

impl Check<'_> {
    fn test(&mut self, idx: usize, raw: RawTest) -> EventTest {
        let start = raw.start.as_ref().map_or_else(
            || Timestamp::parse_rfc3339(START).unwrap_or(Timestamp::EPOCH),
            |start| self.time(start),
        );
        let signals: Vec<Input> = raw.signals.into_iter().map(|one| self.input(one)).collect();
        let expectations: Vec<Expectation> =
            raw.expect.into_iter().filter_map(|one| self.expectation(one)).collect();
        let last = |input: &Input| {
            let times = u32::try_from(input.times.saturating_sub(1)).unwrap_or(u32::MAX);
            input.at.saturating_add(input.every.saturating_mul(times))
        };
        let named = signals.iter().map(last).chain(expectations.iter().map(|one| one.at));
        let end = raw.end.as_ref().map_or(Duration::ZERO, |end| self.duration(end));
        let end = named.max().unwrap_or_default().max(end);
        if end > END_MAX {
            let message = format!("test {} lasts longer than 48h", idx + 1);
            self.errors.push(Diagnostic::new(self.name, self.text, 0, 0, message));
        }
        let named = |one: Spanned<String>| Named { place: place(&one.referenced), name: one.value };
        EventTest {
            name: raw.name.unwrap_or_else(|| format!("test {}", idx + 1)),
            start,
            end,
            signals,
            expectations,
            must_not_fire: raw.must_not_fire.into_iter().map(named).collect(),
            fires_only: raw
                .fires_only
                .map(|only| FiresOnly { place: place(&only.referenced), names: only.value }),
        }
    }

    fn input(&mut self, raw: Spanned<RawInput>) -> Input {
        let (at, raw) = (raw.referenced, raw.value);
        let body = match (raw.body, raw.file) {
            (Some(Value::String(text)), None) => Body::Inline(text),
            (Some(value), None) if is_packed(&value) => Body::Packed(value.to_string()),
            (Some(value), None) => Body::Inline(value.to_string()),
            (None, Some(file)) => Body::File(file),
            _ => {
                self.error(&at, "a signal has a `body` or a `file`, one of them");
                Body::Inline(String::new())
            }
        };
        let times = raw.times.as_ref().map_or(1, |times| times.value);
        if times > TIMES_MAX || (times > 1 && raw.every.is_none()) {
            self.error(&at, &format!("`times` needs `every`, and is {TIMES_MAX} at the most"));
        }
        Input {
            place: place(&at),
            at: self.duration(&raw.at),
            every: raw.every.as_ref().map_or(Duration::ZERO, |every| self.duration(every)),
            times,
            path: raw.post,
            headers: raw.headers.into_iter().collect(),
            body,
            rejected: raw.rejected.or_else(|| raw.becomes.is_none().then_some(0)),
            becomes: raw.becomes.map(|text| text.trim().lines().map(str::to_owned).collect()),
            refused: raw.refused,
        }
    }

    fn expectation(&mut self, raw: Spanned<RawExpectation>) -> Option<Expectation> {
        let (location, raw) = (raw.referenced, raw.value);
        let at = self.duration(&raw.at);
        let what = raw.what();
        if what.is_none() {
            self.error(&location, "expect one of: `request` with `is` or `absent: true`; `query` with `samples`; `alert` with `firing` and `pending`; `receiver` with `messages`");
        }
        Some(Expectation { place: place(&location), at, what: what? })
    }

    fn duration(&mut self, raw: &Spanned<String>) -> Duration {
        parse_duration(&raw.value).unwrap_or_else(|| {
            let message = format!("`{}` is no duration; write 30s, 5m or 1h30m", raw.value);
            self.error(&raw.referenced, &message);
            Duration::ZERO
        })
    }

    fn time(&mut self, raw: &Spanned<String>) -> Timestamp {
        Timestamp::parse_rfc3339(&raw.value).unwrap_or_else(|| {
            let message = format!("`{}` is no time; write it like 2026-11-25T10:00:00Z", raw.value);
            self.error(&raw.referenced, &message);
            Timestamp::EPOCH
        })
    }

    fn error(&mut self, at: &Location, message: &str) {
        self.errors.push(Diagnostic::at(self.name, self.text, at, message));
    }
}

impl RawExpectation {
    /// None: it is none of the four, or has a key of another.
    fn what(self) -> Option<Expected> {
        let alerts = |raw: Vec<RawAlert>| raw.into_iter().map(ExpectedAlert::of).collect();
        let strays = (self.request.is_none() && (self.is.is_some() || self.absent))
            || (self.query.is_none() && self.samples.is_some())
            || (self.alert.is_none() && (self.firing.is_some() || self.pending.is_some()))
            || (self.receiver.is_none() && self.messages.is_some());
        match (self.request, self.query, self.alert, self.receiver) {
            _ if strays => None,
            (Some(key), None, None, None) if self.is.is_some() != self.absent => {
                Some(Expected::Request { key, is: self.is })
            }
            (None, Some(expr), None, None) => {
                Some(Expected::Query { expr, samples: self.samples.unwrap_or_default() })
            }
            (None, None, Some(name), None) => Some(Expected::Alert {
                name,
                firing: self.firing.map(alerts).unwrap_or_default(),
                pending: self.pending.map(alerts),
            }),
            (None, None, None, Some(receiver)) => {
                Some(Expected::Messages { receiver, messages: self.messages.unwrap_or_default() })
            }
            _ => None,
        }
    }
}

impl ExpectedAlert {
    fn of(raw: RawAlert) -> Self {
        let labels = raw.labels.iter().map(|(k, v)| (Text::from(&**k), Text::from(&**v)));
        Self { labels: Labels::new(labels), annotations: raw.annotations }
    }
}
