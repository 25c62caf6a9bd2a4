//! Facts as bytes: how a frozen request holds them.
//!
//! Facts come in and go out equal. Numbers are LEB128; times are differences to the time before them;
//! names that many share are numbers of [`Names`]; ids in the form of a UUID take 16 bytes, and an id or
//! an age that the block already has one or two.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fact::{Age, Mark};
use super::table::Table;
use super::tell::{hex, unhex};
use crate::number::{u32_from_usize, u64_from_usize, usize_from_u32};
use crate::signal::{
    ErrorFact, ErrorKind, Facts, Http, MessageRef, Peer, SpanId, Text, Timestamp, TraceContext,
    TraceId, Via, Workflow,
};

/// Names that are shared; what comes later is written out.
const NAMES_MAX: usize = 100_000;
/// Names longer than this are written out: they are seldom seen twice.
const NAME_BYTES_MAX: usize = 128;

/// Names of functions, queues, operations: each once, never forgotten.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Names {
    numbers: Table<Text, u32>,
    names: Vec<Text>,
}

impl Names {
    fn number(&mut self, name: &Text) -> Option<u32> {
        if let Some(&number) = self.numbers.get(name) {
            return Some(number);
        }
        if self.names.len() >= NAMES_MAX || name.len() > NAME_BYTES_MAX {
            return None;
        }
        let number = u32_from_usize(self.names.len());
        self.names.push(Text::clone(name));
        self.numbers.insert(Text::clone(name), number);
        Some(number)
    }
}

impl Names {
    /// Puts nothing in the place of the names that are meant.
    pub(super) fn blank(&mut self, is_meant: impl Fn(&Text) -> bool) {
        self.numbers.retain(|name, _| !is_meant(name));
        self.names
            .iter_mut()
            .filter(|name| is_meant(name))
            .for_each(|name| *name = Text::default());
    }
}

/// Room that a block begins with.
const BLOCK_USUAL: usize = 1 << 12;

/// Ids of one length, and ages, that a block remembers; what comes later is written out.
const SEEN_MAX: usize = 64;

/// What the block already has, in the order of its first place.
#[derive(Debug)]
struct Seen<T>(Vec<T>);

impl<T: Copy + Default + PartialEq> Seen<T> {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn position(&self, value: &T) -> Option<usize> {
        self.0.iter().position(|seen| seen == value)
    }

    fn note(&mut self, value: T) {
        if self.0.len() < SEEN_MAX {
            self.0.push(value);
        }
    }

    fn get(&self, n: u64) -> T {
        let idx = usize::try_from(n).unwrap_or(usize::MAX);
        self.0.get(idx).copied().unwrap_or_default()
    }
}

/// Writes a block.
#[derive(Debug)]
pub(super) struct Pen<'a> {
    pub(super) bytes: Vec<u8>,
    names: &'a mut Names,
    spans: Seen<[u8; 8]>,
    ids: Seen<[u8; 16]>,
    ages: Seen<Age>,
    last: Timestamp,
    newest: Age,
    /// The id that was written last: facts of one invocation follow one another.
    last_id: Option<(Text, usize)>,
}

/// Reads a block as it was written. What cannot be read is the least value of its kind: a block that
/// this process wrote is always whole, and a snapshot is checked before it is used.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    names: &'a Names,
    spans: Seen<[u8; 8]>,
    ids: Seen<[u8; 16]>,
    ages: Seen<Age>,
    last: Timestamp,
    newest: Age,
}

const WRITTEN: u64 = 0;
const UUID: u64 = 1;
const NAMED: u64 = 2;
const SEEN: u64 = 3;

impl<'a> Pen<'a> {
    /// `first` is near the block's times, `newest` not before any of its ages.
    pub(super) fn new(names: &'a mut Names, first: Timestamp, newest: Age) -> Self {
        let (spans, ids) = (Seen::new(), Seen::new());
        let (bytes, ages) = (Vec::with_capacity(BLOCK_USUAL), Seen::new());
        let mut pen = Self { bytes, names, spans, ids, ages, last: first, newest, last_id: None };
        pen.number(first.as_nanos());
        pen.duration(newest);
        pen
    }

    pub(super) fn number(&mut self, mut n: u64) {
        loop {
            let [low, ..] = n.to_le_bytes();
            n >>= 7;
            if n == 0 {
                return self.bytes.push(low);
            }
            self.bytes.push(low | 0x80);
        }
    }

    pub(super) fn length(&mut self, n: usize) {
        self.number(u64_from_usize(n));
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(super) fn list<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.length(values.len());
        values.iter().for_each(|value| write(self, value));
    }

    /// A difference either way, its sign in the lowest bit. Nothing, with a sign, announces a time that
    /// is too far away for that.
    pub(super) fn time(&mut self, time: Timestamp) {
        let (a, b) = (time.as_nanos(), std::mem::replace(&mut self.last, time).as_nanos());
        let (far, sign) = if a >= b { (a - b, 0) } else { (b - a, 1) };
        if far > u64::MAX >> 1 {
            self.number(1);
            self.number(a);
        } else {
            self.number(far << 1 | sign);
        }
    }

    pub(super) fn duration(&mut self, duration: Duration) {
        self.number(duration.as_secs());
        self.number(u64::from(duration.subsec_nanos()));
    }

    pub(super) fn span_time(&mut self, duration: Duration) {
        self.number(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// An id: seldom shared.
    pub(super) fn id(&mut self, text: &Text) {
        if let Some((last, n)) = &self.last_id
            && last == text
        {
            let n = *n;
            return self.number(u64_from_usize(n) << 2 | SEEN);
        }
        if let Some(id) = uuid(text) {
            let id = id.to_be_bytes();
            if let Some(n) = self.ids.position(&id) {
                self.last_id = Some((Text::clone(text), n));
                self.number(u64_from_usize(n) << 2 | SEEN);
            } else {
                self.ids.note(id);
                self.number(UUID);
                self.raw(&id);
            }
        } else {
            self.number(u64_from_usize(text.len()) << 2 | WRITTEN);
            self.raw(text.as_bytes());
        }
    }

    /// Its place among those that the block has, from 1, or 0 and the id.
    pub(super) fn span_id(&mut self, span: SpanId) {
        if let Some(n) = self.spans.position(&span.0) {
            self.length(n + 1);
        } else {
            self.spans.note(span.0);
            self.number(0);
            self.raw(&span.0);
        }
    }

    /// As [`Pen::span_id`].
    pub(super) fn trace_id(&mut self, trace: TraceId) {
        if let Some(n) = self.ids.position(&trace.0) {
            self.length(n + 1);
        } else {
            self.ids.note(trace.0);
            self.number(0);
            self.raw(&trace.0);
        }
    }

    /// A hash in 32 hex digits.
    pub(super) fn hash(&mut self, text: &Text) {
        self.raw(&unhex(text).to_be_bytes());
    }

    /// A name: often shared.
    pub(super) fn name(&mut self, text: &Text) {
        match self.names.number(text) {
            Some(number) => self.number(u64::from(number) << 2 | NAMED),
            None => self.id(text),
        }
    }

    pub(super) fn mark(&mut self, mark: &Mark) {
        self.option(mark.identity.as_ref(), |pen, identity| {
            pen.raw(&u128::from(*identity).to_be_bytes());
        });
        self.raw(&mark.hash.to_be_bytes());
        // What comes in one delivery has one age.
        if let Some(n) = self.ages.position(&mark.age) {
            return self.length(n + 1);
        }
        self.ages.note(mark.age);
        self.number(0);
        self.span_time(self.newest.saturating_sub(mark.age));
    }

    pub(super) fn context(&mut self, trace: &TraceContext) {
        self.trace_id(trace.trace_id);
        self.option(trace.span_id.as_ref(), |pen, span| pen.span_id(*span));
    }

    pub(super) fn via(&mut self, via: Via) {
        self.number(u64::from(via_number(via)));
    }

    fn message(&mut self, message: &MessageRef) {
        self.id(&message.id);
        self.option(message.queue.as_ref(), Self::name);
        self.number(u64::from(via_number(message.via)) << 1 | u64::from(message.failed));
        self.option(message.sent.as_ref(), |pen, sent| pen.time(*sent));
        self.option(message.receive_count.as_ref(), |pen, n| pen.number(u64::from(*n)));
        self.option(message.dead_letter_source.as_ref(), Self::name);
        self.option(message.group.as_ref(), |pen, n| pen.number(u64::from(*n)));
        self.option(message.trace.as_ref(), Self::context);
    }

    pub(super) fn facts(&mut self, facts: &Facts) {
        let is_told = [
            facts.invocation_id.is_some(),
            facts.function.is_some(),
            !facts.correlation_ids.is_empty(),
            !facts.sent.is_empty(),
            !facts.received.is_empty(),
            facts.cold_start.is_some(),
            facts.trigger.is_some(),
            facts.error.is_some(),
            facts.http.is_some(),
            facts.peer.is_some(),
            facts.workflow.is_some(),
            facts.duration.is_some(),
            facts.stands_for.is_some(),
        ];
        let mask = is_told.iter().rev().fold(0, |mask, &told| mask << 1 | u64::from(told));
        self.number(mask);
        facts.invocation_id.iter().for_each(|id| self.id(id));
        facts.function.iter().for_each(|name| self.name(name));
        if !facts.correlation_ids.is_empty() {
            self.list(&facts.correlation_ids, Self::id);
        }
        if !facts.sent.is_empty() {
            self.list(&facts.sent, Self::message);
        }
        if !facts.received.is_empty() {
            self.list(&facts.received, Self::message);
        }
        facts.cold_start.iter().for_each(|&cold| self.number(u64::from(cold)));
        facts.trigger.iter().for_each(|&via| self.via(via));
        facts.error.iter().for_each(|error| self.error(error));
        facts.http.iter().for_each(|http| self.http(http));
        facts.peer.iter().for_each(|peer| {
            self.name(&peer.name);
            self.name(&peer.operation);
        });
        facts.workflow.iter().for_each(|workflow| {
            self.id(&workflow.execution_id);
            self.name(&workflow.state);
            self.option(workflow.retry_count.as_ref(), |pen, n| pen.number(u64::from(*n)));
        });
        facts.duration.iter().for_each(|&duration| self.duration(duration));
        facts.stands_for.iter().for_each(|n| self.number(u64::from(n.get())));
    }

    fn error(&mut self, error: &ErrorFact) {
        let kind = ErrorKind::ALL.iter().position(|kind| *kind == error.kind);
        self.length(kind.unwrap_or(ErrorKind::ALL.len() - 1));
        self.name(&error.message);
    }

    fn http(&mut self, http: &Http) {
        self.option(http.method.as_ref(), Self::name);
        self.option(http.route.as_ref(), Self::name);
        self.option(http.status.as_ref(), |pen, status| pen.number(u64::from(*status)));
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], names: &'a Names) -> Self {
        let mut reader = Self {
            rest: bytes,
            names,
            spans: Seen::new(),
            ids: Seen::new(),
            ages: Seen::new(),
            last: Timestamp::EPOCH,
            newest: Age::default(),
        };
        reader.last = Timestamp::from_nanos(reader.number());
        reader.newest = reader.duration();
        reader
    }

    pub(super) fn number(&mut self) -> u64 {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let Some((&byte, rest)) = self.rest.split_first() else { break };
            self.rest = rest;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        n
    }

    pub(super) fn small(&mut self) -> u32 {
        u32::try_from(self.number()).unwrap_or(u32::MAX)
    }

    pub(super) fn raw<const N: usize>(&mut self) -> [u8; N] {
        match self.rest.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                *bytes
            }
            None => [0; N],
        }
    }

    pub(super) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.number() == 1).then(|| read(self))
    }

    pub(super) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let n = self.number();
        // Every value takes a byte at least.
        let n = usize::try_from(n).unwrap_or(usize::MAX).min(self.rest.len());
        (0..n).map(|_| read(self)).collect()
    }

    pub(super) fn time(&mut self) -> Timestamp {
        let n = self.number();
        let far = Duration::from_nanos(n >> 1);
        self.last = match n {
            1 => Timestamp::from_nanos(self.number()),
            _ if n & 1 == 0 => self.last.saturating_add(far),
            _ => self.last.saturating_sub(far),
        };
        self.last
    }

    pub(super) fn duration(&mut self) -> Duration {
        let secs = self.number();
        let nanos = u32::try_from(self.number()).unwrap_or(0).min(999_999_999);
        Duration::new(secs, nanos)
    }

    pub(super) fn span_time(&mut self) -> Duration {
        Duration::from_nanos(self.number())
    }

    pub(super) fn text(&mut self) -> Text {
        let n = self.number();
        match n & 3 {
            UUID => {
                let id = self.raw();
                self.ids.note(id);
                uuid_text(u128::from_be_bytes(id))
            }
            SEEN => uuid_text(u128::from_be_bytes(self.ids.get(n >> 2))),
            NAMED => {
                let number = usize::try_from(n >> 2).unwrap_or(usize::MAX);
                self.names.names.get(number).cloned().unwrap_or_default()
            }
            _ => {
                let len = usize::try_from(n >> 2).unwrap_or(usize::MAX).min(self.rest.len());
                let (bytes, rest) = self.rest.split_at(len);
                self.rest = rest;
                std::str::from_utf8(bytes).unwrap_or_default().into()
            }
        }
    }

    pub(super) fn span_id(&mut self) -> SpanId {
        let n = self.number();
        if n > 0 {
            return SpanId(self.spans.get(n - 1));
        }
        let id = self.raw();
        self.spans.note(id);
        SpanId(id)
    }

    pub(super) fn trace_id(&mut self) -> TraceId {
        let n = self.number();
        if n > 0 {
            return TraceId(self.ids.get(n - 1));
        }
        let id = self.raw();
        self.ids.note(id);
        TraceId(id)
    }

    pub(super) fn hash(&mut self) -> Text {
        hex(u128::from_be_bytes(self.raw()))
    }

    pub(super) fn mark(&mut self) -> Mark {
        let identity = self.option(|reader| u128::from_be_bytes(reader.raw()).into());
        let hash = u64::from_be_bytes(self.raw());
        let n = self.number();
        let age = if n > 0 {
            self.ages.get(n - 1)
        } else {
            let age = self.newest.saturating_sub(self.span_time());
            self.ages.note(age);
            age
        };
        Mark { identity, hash, age, bytes: 0 }
    }

    pub(super) fn context(&mut self) -> TraceContext {
        let trace_id = self.trace_id();
        TraceContext { trace_id, span_id: self.option(Self::span_id) }
    }

    pub(super) fn via(&mut self) -> Via {
        via_of(self.number())
    }

    fn message(&mut self) -> MessageRef {
        let id = self.text();
        let queue = self.option(Self::text);
        let n = self.number();
        let mut message = MessageRef::new(id, via_of(n >> 1));
        message.queue = queue;
        message.failed = n & 1 == 1;
        message.sent = self.option(Self::time);
        message.receive_count = self.option(Self::small);
        message.dead_letter_source = self.option(Self::text);
        message.group = self.option(Self::small).and_then(|n| u8::try_from(n).ok());
        message.trace = self.option(Self::context);
        message
    }

    pub(super) fn facts(&mut self) -> Facts {
        let mask = self.number();
        let told = |n: u32| mask >> n & 1 == 1;
        Facts {
            invocation_id: told(0).then(|| self.text()),
            function: told(1).then(|| self.text()),
            correlation_ids: if told(2) { self.list(Self::text) } else { Vec::new() },
            sent: if told(3) { self.list(Self::message) } else { Vec::new() },
            received: if told(4) { self.list(Self::message) } else { Vec::new() },
            cold_start: told(5).then(|| self.number() == 1),
            trigger: told(6).then(|| self.via()),
            error: told(7).then(|| self.error()),
            http: told(8).then(|| self.http()),
            peer: told(9).then(|| Peer { name: self.text(), operation: self.text() }),
            workflow: told(10).then(|| Workflow {
                execution_id: self.text(),
                state: self.text(),
                retry_count: self.option(Self::small),
            }),
            duration: told(11).then(|| self.duration()),
            stands_for: told(12).then(|| NonZeroU32::new(self.small())).flatten(),
        }
    }

    fn error(&mut self) -> ErrorFact {
        let kind = usize_from_u32(self.small());
        let kind = ErrorKind::ALL.get(kind).copied().unwrap_or(ErrorKind::Other);
        ErrorFact { kind, message: self.text() }
    }

    fn http(&mut self) -> Http {
        Http {
            method: self.option(Self::text),
            route: self.option(Self::text),
            status: self.option(|reader| u16::try_from(reader.number()).unwrap_or(0)),
        }
    }
}

const VIAS: [Via; 9] = [
    Via::Http,
    Via::Invoke,
    Via::Queue,
    Via::Topic,
    Via::Stream,
    Via::EventBus,
    Via::Schedule,
    Via::Workflow,
    Via::Unknown,
];

fn via_number(via: Via) -> u32 {
    u32_from_usize(VIAS.iter().position(|own| *own == via).unwrap_or(VIAS.len() - 1))
}

fn via_of(n: u64) -> Via {
    let idx = usize::try_from(n).unwrap_or(VIAS.len());
    VIAS.get(idx).copied().unwrap_or(Via::Unknown)
}

/// The number of a text that is a UUID in its usual form, lower case.
fn uuid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let mut n: u128 = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let digit = match (at, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => byte - b'0',
            (_, b'a'..=b'f') => byte - b'a' + 10,
            _ => return None,
        };
        n = n << 4 | u128::from(digit);
    }
    Some(n)
}

fn uuid_text(n: u128) -> Text {
    let mut text = String::with_capacity(36);
    for at in 0..32_u32 {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        let digit = u32::try_from(n >> (124 - at * 4) & 0xf).unwrap_or(0);
        text.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
    Text::from(text)
}
