//! Whose an invocation is: a request id may be used in several functions, accounts and regions.
//!
//! What the facts tell of the three comes in; small numbers that stand for them go out, and the names of
//! the attempts of each. What is not told agrees with all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::assemble::Naming;
use super::cells::first_time;
use super::fact::Source;
use super::pack::{Pen, Reader};
use super::runs::{Parts, RunCell};
use super::tell::hex;
use crate::number::{u32_from_usize, usize_from_u32};
use crate::signal::{Fnv128, Text, Timestamp};

/// Attempts of one function under one request id. Lambda makes three and Google's queues a few dozen; an id
/// with more is a constant, and its runs have nothing to do with each other.
pub(super) const RUNS_MAX: usize = 64;
/// Functions, accounts and regions under one request id whose final attempts are counted.
const CLASSES_MAX: usize = 1_000;

/// A function, an account and a region as hashes; 0 is not told. Those of one request id are told apart by
/// them, so 32 bits are enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Class {
    function: u32,
    account: u32,
    region: u32,
}

impl Class {
    pub(super) fn of(
        function: Option<&Text>,
        account: Option<&Text>,
        region: Option<&Text>,
    ) -> Self {
        Self { function: short(function), account: short(account), region: short(region) }
    }

    /// As a signal tells it.
    pub(super) fn told(function: Option<&Text>, source: &Source) -> Self {
        Self::of(function, source.account.as_ref(), source.region.as_ref())
    }

    /// The same under the name that the function goes by where none is told.
    pub(super) fn named(self, function: &Text) -> Self {
        Self { function: short(Some(function)), ..self }
    }

    pub(super) fn agrees(self, other: Self) -> bool {
        let agree = |a: u32, b: u32| a == 0 || b == 0 || a == b;
        agree(self.function, other.function)
            && agree(self.account, other.account)
            && agree(self.region, other.region)
    }

    pub(super) fn write(self, pen: &mut Pen<'_>) {
        self.write_from(0, pen);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self::read_with(reader, |told, reader| part(told, 1, reader))
    }

    /// As [`Class::write`], where the function's name stands beside it.
    pub(super) fn write_beside(self, pen: &mut Pen<'_>) {
        self.write_from(1, pen);
    }

    pub(super) fn read_beside(reader: &mut Reader<'_>, function: &Text) -> Self {
        Self::read_with(reader, |told, _| if told & 1 == 0 { 0 } else { short(Some(function)) })
    }

    /// Which parts are told, and these from the `first` on.
    fn write_from(self, first: usize, pen: &mut Pen<'_>) {
        let parts = [self.function, self.account, self.region];
        pen.number(mask(parts));
        let told = parts.iter().skip(first).filter(|&&part| part != 0);
        told.for_each(|part| pen.raw(&part.to_be_bytes()));
    }

    fn read_with(reader: &mut Reader<'_>, function: impl Fn(u64, &mut Reader<'_>) -> u32) -> Self {
        let told = reader.number();
        let function = function(told, reader);
        Self { function, account: part(told, 2, reader), region: part(told, 4, reader) }
    }
}

fn part(told: u64, bit: u64, reader: &mut Reader<'_>) -> u32 {
    if told & bit == 0 { 0 } else { u32::from_be_bytes(reader.raw()) }
}

/// A bit for each part that is told.
fn mask(parts: [u32; 3]) -> u64 {
    parts.iter().rev().fold(0, |mask, &part| mask << 1 | u64::from(part != 0))
}

fn short(name: Option<&Text>) -> u32 {
    let bytes = name.map(|name| xxh3_64(name.as_bytes()).to_le_bytes());
    bytes.map_or(0, |[a, b, c, d, ..]| u32::from_le_bytes([a, b, c, d]).max(1))
}

/// Attempts that are final and gone, by whose they were: when they began, sorted. Of many the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gone(BTreeMap<Class, Vec<Timestamp>>);

impl Gone {
    pub(super) fn add(&mut self, class: Class, began: Timestamp) {
        if self.0.len() >= CLASSES_MAX && !self.0.contains_key(&class) {
            return;
        }
        let starts = self.0.entry(class).or_default();
        starts.insert(starts.partition_point(|start| *start <= began), began);
        starts.truncate(RUNS_MAX + 1);
    }

    /// Those of which only their number is remembered: they came before all that come now.
    pub(super) fn recalled(buried: impl Iterator<Item = (Class, u32)>) -> Self {
        let starts = |n: u32| vec![Timestamp::EPOCH; usize_from_u32(n).min(RUNS_MAX + 1)];
        Self(buried.map(|(class, n)| (class, starts(n))).collect())
    }

    /// Those of one function.
    fn of_function(&self, own: Class) -> impl Iterator<Item = (Class, &[Timestamp])> {
        let first = Class { function: own.function, account: 0, region: 0 };
        let all = self.0.range(first..).map(|(&class, starts)| (class, starts.as_slice()));
        all.take_while(move |(class, _)| class.function == own.function)
    }

    /// When those began that may be attempts of the same.
    fn like(&self, own: Class) -> Vec<Timestamp> {
        let agreeing = self.of_function(own).filter(|(class, _)| own.agrees(*class));
        let mut starts: Vec<Timestamp> = agreeing.flat_map(|(_, starts)| starts).copied().collect();
        starts.sort_unstable();
        starts
    }

    pub(super) fn write(&self, pen: &mut Pen<'_>) {
        let all: Vec<(&Class, &Vec<Timestamp>)> = self.0.iter().collect();
        pen.list(&all, |pen, (class, starts)| {
            class.write(pen);
            pen.list(starts, |pen, start| pen.time(*start));
        });
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let all = reader.list(|reader| (Class::read(reader), reader.list(Reader::time)));
        Self(all.into_iter().collect())
    }
}

/// The attempts of one function, account and region, earliest first.
#[derive(Debug)]
pub(super) struct Namesake<'a> {
    pub(super) function: Option<Text>,
    pub(super) class: Class,
    pub(super) attempts: Vec<Parts<'a>>,
}

/// The invocations under one request id.
#[derive(Debug, Default)]
pub(super) struct Named<'a> {
    pub(super) attempts: Vec<(Naming, Parts<'a>)>,
    /// Those of one function are too many to be attempts of one piece of work.
    pub(super) is_common: bool,
}

/// Names all attempts under a request id, those of one function side by side. A name depends on nothing that
/// goes when others are final: account and region are part of it where the function has several.
pub(super) fn name<'a>(id: &Text, cell: &RunCell, all: Vec<Namesake<'a>>) -> Named<'a> {
    let nothing = Gone::default();
    let gone = cell.gone.as_ref().unwrap_or(&nothing);
    let mut named = Named::default();
    let mut scopes = scopes(gone, &all).into_iter();
    for own in all {
        let scope = scopes.next().unwrap_or_default();
        let like = gone.like(own.class);
        let is_common = own.attempts.len() + like.len() > RUNS_MAX;
        named.is_common |= is_common;
        let mut hash = Fnv128::default().field(b"run").field(id.as_bytes());
        if let Some(function) = &own.function {
            hash = hash.field(function.as_bytes());
        }
        for part in [scope.account, scope.region] {
            hash = if part == 0 { hash } else { hash.field(&part.to_be_bytes()) };
        }
        let mut earlier: Option<Text> = None;
        for (idx, parts) in own.attempts.into_iter().enumerate() {
            let began = first_time(&parts);
            let n_before = idx + like.partition_point(|start| *start < began);
            let start = began.as_nanos().to_be_bytes();
            let own_hash = if n_before == 0 { hash } else { hash.field(&start) };
            let own_id = hex(own_hash.finish());
            let naming = Naming {
                id: Text::clone(&own_id),
                invocation_id: Some(Text::clone(id)),
                run: if is_common { 1 } else { u32_from_usize(n_before).saturating_add(1) },
                earlier: earlier.replace(own_id).filter(|_| !is_common),
                class: own.class,
            };
            named.attempts.push((naming, parts));
        }
    }
    named
}

/// What of each class its name holds beside the function: account and region, where the function has several.
fn scopes(gone: &Gone, all: &[Namesake<'_>]) -> Vec<Class> {
    let mut scopes = Vec::with_capacity(all.len());
    for kin in all.chunk_by(|a, b| a.function == b.function) {
        let own = kin.first().map(|own| own.class).unwrap_or_default();
        let live = kin.iter().map(|own| own.class);
        let classes: Vec<Class> = live.chain(gone.of_function(own).map(|(one, _)| one)).collect();
        let accounts = are_several(classes.iter().map(|class| class.account));
        let regions = are_several(classes.iter().map(|class| class.region));
        scopes.extend(kin.iter().map(|own| Class {
            function: 0,
            account: if accounts { own.class.account } else { 0 },
            region: if regions { own.class.region } else { 0 },
        }));
    }
    scopes
}

fn are_several(told: impl Iterator<Item = u32>) -> bool {
    let mut told = told.filter(|&name| name != 0);
    let first = told.next();
    told.any(|other| Some(other) != first)
}
