//! Gathering: signals of one delivery come in one by one, a [`Normalized`] goes out.
//!
//! Equal resources are stored once. Never are there more than [`RECORDS_MAX`] records: a delivery that
//! holds more is refused as a whole, because a part of it cannot be acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json as json;

use super::allowance::{Allowance, weight};
use super::event_time;
use super::json_fields::Object;
use super::odd::Odd;
use super::pieces::{Piece, Pieces};
use super::redact::Redactor;
use super::{Normalized, Origin, Rejection, Undecodable};
use crate::number::{u32_from_usize, usize_from_u32};
use crate::signal::{
    Attributes, Batch, Fnv128, MetricPoint, Receiver, Resource, Signal, SignalKind, Text,
    Timestamp, Value,
};

/// Most records of one delivery. Each costs about half a KiB while it waits for the journal, so this
/// bounds one delivery to some 120 MiB whatever two-byte lines an attacker sends; the largest Firehose
/// buffer (64 MiB) filled with records of 256 bytes still fits.
pub(crate) const RECORDS_MAX: usize = 250_000;

/// Longest text of a rejection, in bytes.
const MESSAGE_BYTES_MAX: usize = 200;

/// What a record says of its speaker; it fills in what the delivery does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Speaker {
    pub(crate) service: Option<Text>,
    pub(crate) function: Option<Text>,
    pub(crate) version: Option<Text>,
    pub(crate) instance: Option<Text>,
    pub(crate) account: Option<Text>,
    pub(crate) region: Option<Text>,
    pub(crate) memory_bytes: Option<u64>,
}

/// A platform event's own name and time: with function and request id, its identity.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EventKey {
    pub(crate) name: String,
    pub(crate) time: Timestamp,
}

/// One record as a dialect understood it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) kind: SignalKind,
    pub(crate) speaker: Speaker,
    /// Set where the platform itself names the event.
    pub(crate) event: Option<EventKey>,
    /// Metric points that the record holds beside what it is itself.
    pub(crate) points: Vec<MetricPoint>,
}

/// The delivery so far.
#[derive(Debug)]
pub(crate) struct Gather {
    batch: Batch,
    rejections: Vec<Rejection>,
    /// Encoded resource to its index, so that equal ones are stored once.
    resources: BTreeMap<Vec<u8>, u32>,
    last: Option<u32>,
    /// Where set, rejections carry it in place of the running number.
    position: Option<usize>,
    attributes: Attributes,
    overflowed: bool,
    allowance: Allowance,
    odd: Odd,
}

impl Gather {
    pub(crate) fn new(receiver: Receiver, origin: &Origin, redactor: &Redactor) -> Self {
        let named = |(k, v): &(String, String)| {
            (Text::from(k.as_str()), Value::Str(Text::from(v.as_str())))
        };
        let mut attributes =
            Attributes(origin.attributes.iter().take(Attributes::MAX).map(named).collect());
        redactor.attributes(&mut attributes);
        Self {
            batch: Batch::new(receiver, origin.arrived),
            rejections: Vec::new(),
            resources: BTreeMap::new(),
            last: None,
            position: None,
            attributes,
            overflowed: false,
            allowance: origin.allowance.clone(),
            odd: Odd::default(),
        }
    }

    /// The resource of a delivery that names nobody but its common attributes.
    pub(crate) fn nobody(&self) -> Resource {
        Resource { attributes: self.attributes.clone(), ..Resource::default() }
    }

    pub(crate) fn arrived(&self) -> Timestamp {
        self.batch.arrived
    }

    /// From here on, rejections carry this position.
    pub(crate) fn at(&mut self, position: usize) {
        self.position = Some(position);
    }

    /// True where nothing more is taken: readers stop.
    pub(crate) fn is_full(&self) -> bool {
        self.overflowed
    }

    /// Reads a body that holds objects and nothing else, until the delivery is full. What is no object is
    /// rejected as `no_object`.
    pub(crate) fn objects(
        &mut self,
        body: &[u8],
        no_object: &str,
        mut read: impl FnMut(&Object, &mut Self),
    ) {
        for piece in Pieces::new(body, |_, _| false) {
            if self.is_full() {
                return;
            }
            match piece {
                Piece::Json(json::Value::Object(object)) => read(&object, self),
                Piece::Json(_) | Piece::Text(_) | Piece::Prefix(_) => self.reject(no_object),
                Piece::Bad(message) => self.reject(&message),
            }
        }
    }

    /// Adds a record spoken by `speaker`, completed by what the record itself says.
    pub(crate) fn accept(&mut self, identity: Option<u128>, speaker: &Resource, told: Told) {
        if !self.has_room() {
            return;
        }
        let mut kind = told.kind;
        match &mut kind {
            SignalKind::Platform(event) if event.durations().any(is_absurd) => {
                return self.reject("the platform tells a duration of more than a year");
            }
            // What it said stays among its attributes.
            SignalKind::Log(record) => record.facts.duration.take_if(|took| is_absurd(*took)),
            _ => None,
        };
        let resource = completed(speaker, told.speaker, &mut kind);
        self.odd.mend(&resource, &mut kind);
        let identity =
            identity.or_else(|| told.event.map(|key| platform_identity(&key, &resource, &kind)));
        let job = resource.function_or_service().cloned();
        let resource = self.resource(resource);
        self.push(Signal { identity, resource, kind });
        for (idx, mut point) in told.points.into_iter().enumerate() {
            if !self.has_room() {
                return;
            }
            // A point is as well known as its record.
            let identity = identity.map(|record| {
                let record = record.to_be_bytes();
                Fnv128::default().field(&record).field(&idx.to_be_bytes()).finish()
            });
            if let Some(job) = job.as_deref().filter(|_| point.labels.get("job").is_none()) {
                point.labels = point.labels.with("job", job);
            }
            let kind = SignalKind::Metric(Box::new(point));
            self.push(Signal { identity, resource, kind });
        }
    }

    fn push(&mut self, signal: Signal) {
        self.overflowed |= !self.allowance.spend(weight(&signal.kind));
        self.batch.signals.push(signal);
    }

    /// Counts a record that is bad for good.
    pub(crate) fn reject(&mut self, reason: &str) {
        if !self.has_room() {
            return;
        }
        let index = self.position.unwrap_or_else(|| self.n_records());
        let cut = reason.floor_char_boundary(MESSAGE_BYTES_MAX.min(reason.len()));
        let message = reason.get(..cut).unwrap_or_default().to_owned();
        self.overflowed |= !self.allowance.spend(size_of::<Rejection>() + message.len());
        self.rejections.push(Rejection { index, message });
    }

    /// Counts a record that policy removes.
    pub(crate) fn filter(&mut self) {
        self.batch.filtered = self.batch.filtered.saturating_add(1);
    }

    pub(crate) fn finish(mut self) -> Result<Normalized, Undecodable> {
        if self.overflowed {
            let message = if self.allowance.is_used_up() {
                "more in one delivery than memory is allowed for; send smaller ones".to_owned()
            } else {
                self.allowance.end_at_too_many();
                format!("more than {RECORDS_MAX} records in one delivery; send smaller ones")
            };
            return Err(Undecodable { offset: 0, message });
        }
        self.batch.remarks.extend(self.odd.into_remarks());
        self.batch.rejected = u32_from_usize(self.rejections.len());
        Ok(Normalized { batch: self.batch, rejections: self.rejections })
    }

    /// Like [`Gather::finish`], but a delivery of which nothing could be read is undecodable.
    pub(crate) fn finish_readable(self) -> Result<Normalized, Undecodable> {
        match self.rejections.first() {
            Some(first)
                if self.batch.signals.is_empty()
                    && self.batch.filtered == 0
                    && !self.overflowed =>
            {
                Err(Undecodable { offset: 0, message: first.message.clone() })
            }
            _ => self.finish(),
        }
    }

    /// Like [`Gather::finish_readable`], but a list that is JSON was read, whatever its records are: its sender
    /// is answered with success, and does not send it again.
    pub(crate) fn finish_list(self, body: &[u8]) -> Result<Normalized, Undecodable> {
        let is_list = || serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(body).is_ok();
        if self.batch.signals.is_empty() && is_list() {
            return self.finish();
        }
        self.finish_readable()
    }

    fn n_records(&self) -> usize {
        self.batch.signals.len() + self.rejections.len() + usize_from_u32(self.batch.filtered)
    }

    fn has_room(&mut self) -> bool {
        self.overflowed |= self.n_records() >= RECORDS_MAX;
        !self.overflowed
    }

    fn resource(&mut self, resource: Resource) -> u32 {
        let is_last = |i: &u32| self.batch.resources.get(usize_from_u32(*i)) == Some(&resource);
        if let Some(last) = self.last.filter(is_last) {
            return last;
        }
        let fresh = u32_from_usize(self.batch.resources.len());
        // Plain data always encodes; were it not so, the resource would only be stored twice.
        let index = match postcard::to_allocvec(&resource) {
            Ok(key) => *self.resources.entry(key).or_insert(fresh),
            Err(_) => fresh,
        };
        if index == fresh {
            self.batch.resources.push(resource);
        }
        self.last = Some(index);
        index
    }
}

/// The delivery's word comes first; a log record that names another function keeps that as a fact.
fn completed(delivery: &Resource, record: Speaker, kind: &mut SignalKind) -> Resource {
    if let (Some(own), SignalKind::Log(log)) = (&record.function, &mut *kind)
        && delivery.function.as_ref().is_some_and(|named| named != own)
    {
        log.facts.function = Some(Text::clone(own));
    }
    let mut resource = delivery.clone();
    let fill = |slot: &mut Option<Text>, own: Option<Text>| {
        if slot.is_none() {
            *slot = own;
        }
    };
    fill(&mut resource.service, record.service);
    fill(&mut resource.function, record.function);
    fill(&mut resource.version, record.version);
    fill(&mut resource.instance, record.instance);
    fill(&mut resource.account, record.account);
    fill(&mut resource.region, record.region);
    resource.memory_bytes = resource.memory_bytes.or(record.memory_bytes);
    resource
}

/// The time belongs to the identity because asynchronous retries reuse the request id: the start of
/// the second attempt is no repeat of the first. What no request id names is of an environment, and in
/// a burst several of one function begin and end in the same millisecond.
fn platform_identity(key: &EventKey, resource: &Resource, kind: &SignalKind) -> u128 {
    let (invocation, lasted) = match kind {
        SignalKind::Platform(event) => (event.invocation_id.as_deref(), event.duration),
        _ => (None, None),
    };
    let hash = Fnv128::default()
        .field(b"platform")
        .field(resource.function.as_deref().unwrap_or_default().as_bytes())
        .field(invocation.unwrap_or_default().as_bytes())
        .field(key.name.as_bytes())
        .field(&key.time.as_nanos().to_be_bytes());
    if invocation.is_some() {
        return hash.finish();
    }
    hash.field(resource.instance.as_deref().unwrap_or_default().as_bytes())
        .field(&lasted.unwrap_or_default().as_nanos().to_be_bytes())
        .finish()
}

/// Longer than anything runs: it would begin in another decade, and cost as much.
fn is_absurd(duration: Duration) -> bool {
    duration > event_time::RUN_MAX
}
