//! Changes of each payload of the catalog, of every dialect and every wire: a field lost, renamed, of another
//! type or meaning, in one half of them; bytes lost, repeated, cut off, in the other.
//!
//! Whatever comes, nothing panics, each rejected record has a reason and a count, a body is read the same
//! twice, and nothing is guessed: every name and id of a signal stands in what came. A build tries
//! [`EACH`] changes of each payload, `CATALOG_MUTATIONS` says how many instead. They follow from the
//! payload's place, so a failure names what to repeat.

use std::path::Path;

use base64::Engine as _;
use serde_json::Value;

use super::catalog_tests::catalog;
use super::file::{self, Body, Input};
use super::fill::fill;
use super::packed::packed;
use crate::normalize::{Config, Normalized, show};
use crate::receive::captured::{self, Captured};
use crate::signal::{Facts, MessageRef, SignalKind, Timestamp};

#[path = "../../tests/dice/change.rs"]
mod change;
#[path = "../../tests/dice/mod.rs"]
mod dice;
#[path = "../../tests/dice/garble.rs"]
mod garble;

use change::change;
use dice::Dice;
use garble::garbled;

/// Changes of each payload in every build.
const EACH: u64 = 60;
/// Problems that are shown.
const SHOWN_MAX: usize = 40;

/// A payload of the catalog, as its case writes it.
struct Payload {
    /// `FILE:LINE`.
    place: String,
    path: String,
    headers: Vec<(String, String)>,
    plain: Plain,
    arrived: Timestamp,
}

/// What is changed.
enum Plain {
    /// A JSON value each line; before parts of them are packed.
    Lines(Vec<Value>),
    Bytes(Vec<u8>),
}

/// A body, and all that it says in plain text.
struct Changed {
    body: Vec<u8>,
    said: String,
}

impl Plain {
    fn of(input: &Input, arrived: Timestamp, folder: &Path) -> Self {
        let filled = |text: &str| fill(text, 1, arrived).expect("the catalog's placeholders");
        let text = match &input.body {
            Body::Inline(text) | Body::Packed(text) => filled(text),
            Body::File(file) => return Self::Bytes(std::fs::read(folder.join(file)).expect(file)),
        };
        if let Ok(value) = serde_json::from_str(&text) {
            return Self::Lines(vec![value]);
        }
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let lines: Result<Vec<Value>, _> = lines.map(serde_json::from_str).collect();
        match lines {
            Ok(lines) if !lines.is_empty() => Self::Lines(lines),
            _ => Self::Bytes(text.into_bytes()),
        }
    }

    fn whole(&self) -> Changed {
        match self {
            Self::Lines(lines) => Changed { said: said(lines), body: written(lines.clone()) },
            Self::Bytes(bytes) => Changed { body: bytes.clone(), said: String::new() },
        }
    }

    fn changed(&self, n: u64, dice: &mut Dice) -> Changed {
        match self {
            Self::Lines(lines) if n.is_multiple_of(2) => {
                let mut lines = lines.clone();
                let at = dice.below(lines.len());
                change(&mut lines[at], dice);
                Changed { said: said(&lines), body: written(lines) }
            }
            plain => Changed { body: garbled(&plain.whole().body, dice), said: String::new() },
        }
    }
}

/// All text of a body, and what lies packed in it as base64.
fn said(lines: &[Value]) -> String {
    let mut said: String = lines.iter().map(Value::to_string).collect();
    lines.iter().for_each(|line| unpack(line, &mut said));
    said
}

fn unpack(value: &Value, said: &mut String) {
    match value {
        Value::String(text) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            said.extend(bytes.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        }
        Value::Array(items) => items.iter().for_each(|item| unpack(item, said)),
        Value::Object(map) => map.values().for_each(|item| unpack(item, said)),
        _ => {}
    }
}

fn written(lines: Vec<Value>) -> Vec<u8> {
    let lines = lines.into_iter().map(|line| packed(line).to_string());
    lines.collect::<Vec<_>>().join("\n").into_bytes()
}

fn payloads() -> Vec<Payload> {
    let mut all = Vec::new();
    for (path, text) in catalog() {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let folder = path.parent().expect("a folder");
        for test in file::parse(name, &text).expect("a test file").tests {
            for input in test.signals {
                let arrived = test.start.saturating_add(input.at);
                let plain = Plain::of(&input, arrived, folder);
                let mut headers = input.headers;
                let says = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
                if matches!(input.body, Body::File(_)) && !headers.iter().any(says) {
                    headers.push(("content-type".to_owned(), "application/x-protobuf".to_owned()));
                }
                let place = format!("{name}:{}", input.place.line);
                all.push(Payload { place, path: input.path, headers, plain, arrived });
            }
        }
    }
    all
}

fn read(payload: &Payload, body: &[u8]) -> Result<Normalized, String> {
    let captured = Captured { path: &payload.path, headers: &payload.headers, body };
    let config = Config::default();
    captured::read(&captured, payload.arrived, &config).map_err(|error| error.to_string())
}

#[test]
fn whatever_becomes_of_a_payload_the_books_balance_and_nothing_is_guessed() {
    let each = std::env::var("CATALOG_MUTATIONS").ok().and_then(|text| text.parse().ok());
    let each: u64 = each.unwrap_or(EACH);
    let payloads = payloads();
    assert!(payloads.len() > 100, "{} payloads", payloads.len());
    let (mut n_taken, mut n_rejections) = (0_u64, 0_usize);
    let mut problems = Vec::new();
    for (place, payload) in payloads.iter().enumerate() {
        for n in 0..each {
            let seed = u64::try_from(place).expect("few") * 1_000_003 + n;
            let changed = payload.plain.changed(n, &mut Dice(seed));
            match tried(payload, &changed, n) {
                Ok(None) => {}
                Ok(Some(rejections)) => {
                    n_taken += 1;
                    n_rejections += rejections;
                }
                Err(wrong) => {
                    let body = shown(&changed.body);
                    problems.push(format!("{}, change {n}: {wrong}: {body}", payload.place));
                }
            }
        }
    }
    println!(
        "{} payloads, {each} changes each: {n_taken} taken, {n_rejections} records rejected",
        payloads.len()
    );
    let n_problems = problems.len();
    problems.truncate(SHOWN_MAX);
    assert!(problems.is_empty(), "{n_problems} problems:\n{}", problems.join("\n"));
    assert!(n_taken > 0 && n_rejections > 0);
}

/// How many records of the `n`-th changed body were rejected; None: the whole body was. Some are read twice.
fn tried(payload: &Payload, changed: &Changed, n: u64) -> Result<Option<usize>, String> {
    let got = match read(payload, &changed.body) {
        Ok(got) => got,
        Err(why) if why.trim().is_empty() => return Err("refused without a reason".to_owned()),
        Err(_) => return Ok(None),
    };
    judge(&got)?;
    if !changed.said.is_empty() {
        Said::new(&changed.said, &payload.headers).all_of(&got)?;
    }
    if n.is_multiple_of(20) {
        let again = read(payload, &changed.body)?;
        if show::text(&again) != show::text(&got) {
            return Err("it is read in two ways".to_owned());
        }
    }
    Ok(Some(got.rejections.len()))
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(600).collect()
}

fn judge(got: &Normalized) -> Result<(), String> {
    let (n, told) = (got.rejections.len(), got.batch.rejected);
    if usize::try_from(told) != Ok(n) {
        return Err(format!("{told} are counted as rejected and {n} are named"));
    }
    if got.rejections.iter().any(|rejection| rejection.message.trim().is_empty()) {
        return Err("a rejection without a reason".to_owned());
    }
    let n_resources = u32::try_from(got.batch.resources.len()).expect("few");
    match got.batch.signals.iter().find(|signal| signal.resource >= n_resources) {
        Some(_) => Err("a signal of no resource".to_owned()),
        None => Ok(()),
    }
}

/// Letters and digits of all that came.
struct Said(String);

fn essence(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

impl Said {
    fn new(body: &str, headers: &[(String, String)]) -> Self {
        let headers = headers.iter().map(|(_, value)| value.as_str());
        Self(headers.chain([body]).map(essence).collect::<Vec<_>>().join(" "))
    }

    /// A Worker's event without a ray is named by a hash of it, which nothing says.
    fn invocation(&self, id: &str) -> Result<(), String> {
        let is_hash = id.strip_prefix("event-").is_some_and(|hash| hash.len() == 32);
        if is_hash { Ok(()) } else { self.told("invocation", id) }
    }

    /// An id that is made of several, such as a shard and a number, is told part by part.
    fn told(&self, what: &str, name: &str) -> Result<(), String> {
        let mut parts = name.split([':', '/']).map(essence);
        match parts.find(|part| !self.0.contains(part.as_str())) {
            Some(part) => Err(format!("{what} `{name}` is guessed: nothing says `{part}`")),
            None => Ok(()),
        }
    }

    fn all_of(&self, got: &Normalized) -> Result<(), String> {
        for resource in &got.batch.resources {
            for (what, name) in [
                ("function", &resource.function),
                ("service", &resource.service),
                ("version", &resource.version),
                ("account", &resource.account),
                ("region", &resource.region),
            ] {
                name.as_ref().map_or(Ok(()), |name| self.told(what, name))?;
            }
        }
        for signal in &got.batch.signals {
            match &signal.kind {
                SignalKind::Span(span) => {
                    self.told("trace", &span.trace_id.to_string())?;
                    self.told("span", &span.span_id.to_string())?;
                    self.facts(&span.facts)?;
                }
                SignalKind::Log(record) => self.facts(&record.facts)?,
                SignalKind::Platform(event) => {
                    let id = event.invocation_id.as_ref();
                    id.map_or(Ok(()), |id| self.invocation(id))?;
                }
                SignalKind::Metric(_) => {}
            }
        }
        Ok(())
    }

    fn facts(&self, facts: &Facts) -> Result<(), String> {
        facts.invocation_id.as_ref().map_or(Ok(()), |id| self.invocation(id))?;
        let ids = facts.function.iter().map(|name| ("function", name));
        let mut ids = ids.chain(facts.correlation_ids.iter().map(|id| ("correlation", id)));
        ids.try_for_each(|(what, id)| self.told(what, id))?;
        let mut messages = facts.sent.iter().chain(&facts.received);
        messages.try_for_each(|message| self.message(message))
    }

    fn message(&self, message: &MessageRef) -> Result<(), String> {
        self.told("message", &message.id)?;
        message.queue.as_ref().map_or(Ok(()), |queue| self.told("queue", queue))
    }
}
