//! One event test: what comes in at its time, what is expected at its time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};

use super::compare::{difference, is_like};
use super::file::{Body, EventTest, Expectation, Expected, ExpectedAlert, Input, Place};
use super::fill::fill;
use super::packed::packed;
use crate::config::Config;
use crate::correlate::Lookup;
use crate::evaluate::unit_test::{Compared, ExpectedSample, compare_query};
use crate::evaluate::{ActiveAlert, AlertState};
use crate::normalize::{Normalized, Rejection, show};
use crate::notify::Message;
use crate::notify::notifiers::{Rendered, Request, render};
use crate::pipeline::{Happened, Rehearsal};
use crate::receive::captured::{self, Captured};
use crate::signal::{Text, Timestamp, format_duration};

/// Characters of what there was that a failure shows.
const SHOWN_MAX: usize = 6_000;

/// A test under way.
pub(super) struct Run<'a> {
    file: &'a str,
    test: &'a EventTest,
    rehearsal: Rehearsal,
    /// When alerts of a name first fired.
    fired: BTreeMap<Text, Timestamp>,
    sent: Vec<Sent>,
    /// Checks that held.
    pub(super) passed: usize,
    pub(super) failures: Vec<String>,
}

/// A message as it would have gone out.
struct Sent {
    receiver: Text,
    shown: Value,
}

/// Reads a file that the test names.
pub(super) type ReadBeside<'a> = dyn Fn(&str) -> io::Result<Vec<u8>> + 'a;

enum Moment<'a> {
    Arrives(&'a Input, u64),
    Expects(&'a Expectation),
}

impl<'a> Run<'a> {
    pub(super) fn new(file: &'a str, test: &'a EventTest, rehearsal: Rehearsal) -> Self {
        Self {
            file,
            test,
            rehearsal,
            fired: BTreeMap::new(),
            sent: Vec::new(),
            passed: 0,
            failures: Vec::new(),
        }
    }

    /// What arrives at a time is there before what is expected at that time is looked at; ticks are
    /// before both.
    pub(super) fn all(&mut self, config: &Config, read: &ReadBeside<'_>) {
        let test = self.test;
        let mut moments: Vec<(Duration, u8, Moment<'a>)> = Vec::new();
        for input in &test.signals {
            for n in 0..input.times {
                let later = input.every.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
                moments.push((input.at.saturating_add(later), 0, Moment::Arrives(input, n + 1)));
            }
        }
        moments.extend(test.expectations.iter().map(|one| (one.at, 1, Moment::Expects(one))));
        moments.sort_by_key(|(at, order, _)| (*at, *order));
        for (at, _, moment) in moments {
            self.advance(at);
            match moment {
                Moment::Arrives(input, n) => {
                    if let Err(error) = self.arrive(input, n, config, read) {
                        // Nothing that follows means anything.
                        self.fail(input.place, &format!("{} {error}", input.path));
                        return;
                    }
                }
                Moment::Expects(expectation) => self.check(expectation),
            }
        }
        self.advance(test.end);
        self.quiet();
    }

    fn advance(&mut self, to: Duration) {
        let to = self.test.start.saturating_add(to);
        let Self { rehearsal, fired, sent, .. } = self;
        rehearsal.advance(to, &mut |happened| note(&happened, fired, sent));
    }

    fn arrive(
        &mut self,
        input: &Input,
        n: u64,
        config: &Config,
        read: &ReadBeside<'_>,
    ) -> Result<(), String> {
        let now = self.rehearsal.now();
        let body = match &input.body {
            Body::Inline(text) => fill(text, n, now)?.into_bytes(),
            Body::Packed(text) => {
                let value = serde_json::from_str(&fill(text, n, now)?);
                let value = value.map_err(|error| format!("is no JSON when filled in: {error}"))?;
                packed(value).to_string().into_bytes()
            }
            Body::File(file) => read(file).map_err(|error| format!("{file}: {error}"))?,
        };
        let is_protobuf = matches!(&input.body, Body::File(file) if has_extension(file, "pb"));
        let mut headers = input.headers.clone();
        let says = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
        if is_protobuf && !headers.iter().any(says) {
            headers.push(("content-type".to_owned(), "application/x-protobuf".to_owned()));
        }
        let request = Captured { path: &input.path, headers: &headers, body: &body };
        let read = match (captured::read(&request, now, &config.normalize), &input.refused) {
            (Ok(read), None) => read,
            (Err(error), Some(why)) if is_like(why, &error.to_string()) => {
                self.passed += 1;
                return Ok(());
            }
            (Err(error), _) => return Err(format!("cannot be read: {error}")),
            (Ok(_), Some(why)) => return Err(format!("was taken, expected a refusal: {why}")),
        };
        not_rejected(&read, input)?;
        if let Some(expected) = &input.becomes {
            self.becomes(input.place, expected, &show::text(&read));
        }
        let happened = self.rehearsal.take(read.batch);
        note(&happened, &mut self.fired, &mut self.sent);
        Ok(())
    }

    /// The text of what a body became, line by line.
    fn becomes(&mut self, place: Place, expected: &[String], got: &str) {
        let got: Vec<String> = got.lines().map(str::to_owned).collect();
        let is_same = expected.len() == got.len()
            && expected.iter().zip(&got).all(|(expected, got)| is_like(expected.trim(), got));
        if is_same {
            self.passed += 1;
        } else {
            self.fail(place, &differing("the body becomes something else", expected, &got));
        }
    }

    fn check(&mut self, expectation: &Expectation) {
        let Expectation { place, at, what } = expectation;
        let problem = match what {
            Expected::Request { key, is } => self.request(key, is.as_ref()),
            Expected::Query { expr, samples } => self.query(expr, samples),
            Expected::Alert { name, firing, pending } => {
                self.alerts(name, (AlertState::Firing, firing)).or_else(|| {
                    let pending = pending.as_ref()?;
                    self.alerts(name, (AlertState::Pending, pending))
                })
            }
            Expected::Messages { receiver, messages } => self.messages(receiver, messages),
        };
        match problem {
            None => self.passed += 1,
            Some(problem) => self.fail(*place, &format!("at {}: {problem}", format_duration(*at))),
        }
    }

    fn request(&self, key: &str, is: Option<&Value>) -> Option<String> {
        let state = self.rehearsal.state();
        let held = state.engine.read().unwrap_or_else(PoisonError::into_inner).lookup(key);
        let found = match held {
            Lookup::None => match state.archive.lookup(key) {
                Ok(found) => found,
                Err(error) => return Some(error.to_string()),
            },
            held => held,
        };
        match (found, is) {
            (Lookup::None, None) => None,
            (Lookup::None, Some(_)) => Some(format!("no request is known by `{key}`")),
            (Lookup::Several(all), _) => {
                let ids: Vec<&str> = all.iter().map(|request| &*request.id).collect();
                Some(format!("`{key}` belongs to {} requests: {}", ids.len(), ids.join(", ")))
            }
            (Lookup::One(request), is) => {
                let got = serde_json::to_value(&*request).unwrap_or_default();
                let problem = match is {
                    Some(is) => difference(is, &got)?,
                    None => "expected none".to_owned(),
                };
                Some(format!("the request of `{key}`: {problem}{}", whole(&got)))
            }
        }
    }

    fn query(&self, expr: &str, samples: &[ExpectedSample]) -> Option<String> {
        let series = &self.rehearsal.state().series;
        let answer = compare_query(expr, self.rehearsal.now(), samples, &|selection| {
            series.read().unwrap_or_else(PoisonError::into_inner).select(selection)
        });
        match answer {
            Err(error) => Some(format!("`{expr}`: {error}")),
            Ok(Compared { expected, got }) if expected == got => None,
            Ok(Compared { expected, got }) => {
                Some(differing(&format!("`{expr}`"), &expected, &got))
            }
        }
    }

    fn alerts(&self, name: &str, wanted: (AlertState, &[ExpectedAlert])) -> Option<String> {
        let (in_state, expected) = wanted;
        let evaluator = &self.rehearsal.state().evaluator;
        let active = evaluator.read().unwrap_or_else(PoisonError::into_inner).active();
        let got: Vec<&ActiveAlert> = active
            .iter()
            .filter(|alert| alert.state == in_state && alert.labels.get("alertname") == Some(name))
            .collect();
        let mut left = got.clone();
        for one in expected {
            if let Some(at) = left.iter().position(|alert| one.is(name, alert)) {
                left.remove(at);
            }
        }
        if left.is_empty() && got.len() == expected.len() {
            return None;
        }
        let state = if in_state == AlertState::Firing { "firing" } else { "pending" };
        let expected: Vec<String> = expected.iter().map(ExpectedAlert::shown).collect();
        let got: Vec<String> = got.into_iter().map(shown).collect();
        Some(differing(&format!("{name} {state}"), &expected, &got))
    }

    fn messages(&self, receiver: &str, expected: &[Value]) -> Option<String> {
        let sent: Vec<&Value> = self
            .sent
            .iter()
            .filter(|sent| *sent.receiver == *receiver)
            .map(|sent| &sent.shown)
            .collect();
        let problem = if sent.len() == expected.len() {
            let both = expected.iter().zip(&sent).enumerate();
            both.into_iter().find_map(|(idx, (expected, got))| {
                Some(format!("message {}: {}", idx + 1, difference(expected, got)?))
            })?
        } else {
            let (wanted, there) = (expected.len(), sent.len());
            format!("{receiver} was to be sent {wanted} messages and was sent {there}")
        };
        Some(format!("{problem}{}", whole(&json!(sent))))
    }

    /// What is not to fire at any time.
    fn quiet(&mut self) {
        let test = self.test;
        let names = {
            let evaluator = &self.rehearsal.state().evaluator;
            evaluator.read().unwrap_or_else(PoisonError::into_inner).alert_names()
        };
        let since = |at: &Timestamp| format_duration(at.since(test.start));
        for quiet in &test.must_not_fire {
            let name = &quiet.name;
            match self.fired.get(&**name) {
                Some(at) => {
                    let message = format!("{name} fired at {}", since(at));
                    self.fail(quiet.place, &message);
                }
                None if names.contains(&**name) => self.passed += 1,
                None => self.fail(quiet.place, &format!("no rule file has an alert `{name}`")),
            }
        }
        let Some(only) = &test.fires_only else { return };
        let is_named = |name: &Text| only.names.iter().any(|named| **named == **name);
        let others: Vec<String> = self
            .fired
            .iter()
            .filter(|(name, _)| !is_named(name))
            .map(|(name, at)| format!("{name} fired at {}", since(at)))
            .collect();
        if others.is_empty() {
            self.passed += 1;
        } else {
            self.fail(only.place, &others.join(", "));
        }
    }

    fn fail(&mut self, place: Place, problem: &str) {
        let Place { line, col } = place;
        self.failures.push(format!("{}:{line}:{col}: {}: {problem}", self.file, self.test.name));
    }
}

/// Whether as many records are rejected as the test says.
fn not_rejected(read: &Normalized, input: &Input) -> Result<(), String> {
    let (expected, got) = (input.rejected.unwrap_or(read.batch.rejected), read.batch.rejected);
    if expected == got {
        return Ok(());
    }
    let reason = |one: &Rejection| format!("\n    record {}: {}", one.index, one.message);
    let reasons: String = read.rejections.iter().map(reason).collect();
    Err(format!("{got} records rejected, expected {expected}{reasons}"))
}

fn note(happened: &Happened, fired: &mut BTreeMap<Text, Timestamp>, sent: &mut Vec<Sent>) {
    for one in happened.transitions.iter().filter(|one| one.to == AlertState::Firing) {
        let name = one.labels.get("alertname").unwrap_or_default();
        fired.entry(name.into()).or_insert(happened.at);
    }
    sent.extend(happened.messages.iter().map(|message| Sent {
        receiver: Text::clone(&message.notice.receiver),
        shown: json!({
            "at": happened.at,
            "notifier": message.notifier.to.kind(),
            "body": body(message),
        }),
    }));
}

/// JSON as it is, a mail as its text.
fn body(message: &Message) -> Value {
    match render(message) {
        Ok(Rendered { request: Request::Http(http), .. }) => http.body,
        Ok(Rendered { request: Request::Mail(mail), .. }) => {
            String::from_utf8_lossy(&mail.letter.formatted()).replace("\r\n", "\n").into()
        }
        Err(failure) => format!("cannot be rendered: {}", failure.message).into(),
    }
}

fn has_extension(file: &str, extension: &str) -> bool {
    Path::new(file).extension().is_some_and(|is| is == extension)
}

fn differing(what: &str, expected: &[String], got: &[String]) -> String {
    let list = |items: &[String]| match items {
        [] => "nothing".to_owned(),
        items => items.join("\n    "),
    };
    let (expected, got) = (list(expected), list(got));
    format!("{what}\n  expected:\n    {expected}\n  got:\n    {got}")
}

/// What there was, for whoever has to find out why.
fn whole(got: &Value) -> String {
    let text = serde_json::to_string_pretty(got).unwrap_or_default();
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let cut = if shown.len() < text.len() { "\n  (cut)" } else { "" };
    format!("\n  got:\n    {}{cut}", shown.replace('\n', "\n    "))
}

fn shown(alert: &ActiveAlert) -> String {
    let notes: Vec<String> =
        alert.annotations.iter().map(|(name, value)| format!("{name}={:?}", &**value)).collect();
    format!("{} annotations {{{}}}", alert.labels, notes.join(", "))
}

impl ExpectedAlert {
    fn is(&self, name: &str, alert: &ActiveAlert) -> bool {
        alert.labels == self.labels.with("alertname", name)
            && self.annotations.iter().all(|(name, value)| {
                alert.annotations.get(&**name).is_some_and(|got| is_like(value, got))
            })
    }

    fn shown(&self) -> String {
        let mut out = format!("{} annotations {{", self.labels);
        for (idx, (name, value)) in self.annotations.iter().enumerate() {
            let comma = if idx == 0 { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(out, "{comma}{name}={value:?}");
        }
        out + "}"
    }
}
