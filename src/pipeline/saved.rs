//! The state as sections of a snapshot, and back.
//!
//! Each stage writes its own bytes, or gives what becomes bytes later, beside the work. Never is a part of
//! a snapshot taken without the rest: everything is read before anything is replaced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::state::{State, evaluator, read, write};
use super::terms::Terms;
use crate::correlate::{Engine, Piece};
use crate::gaps::Gaps;
use crate::journal::{Packed, Point, Section, Snapshot};
use crate::measure::Measure;
use crate::notify::Dispatcher;
use crate::series::Series;
use crate::series::export::HighWater;

// A layout that changes gets another number; between releases, and a reader of the one before.
const TERMS: &str = "terms.1";
const ENGINE: &str = "engine.11";
const MEASURE: &str = "measure.4";
const SERIES: &str = "series.1";
const EXPORTED: &str = "exported.1";
const EVALUATOR: &str = "evaluator.2";
const DISPATCHER: &str = "dispatcher.2";
const ARCHIVE: &str = "archive.1";
const GAPS: &str = "gaps.2";

/// How the names of the daemon's own metrics begin: no record holds what they were.
const OWN_METRICS: &str = "throughline_self_";

/// Series that are named where two states differ: one cause changes many.
const SERIES_NAMED_MAX: usize = 5;

/// One stage's bytes, or why there are none.
type Saved = Result<Vec<u8>, String>;

/// Takes one section.
type Put<'a> = &'a mut dyn FnMut(Section) -> Result<(), String>;

/// What a stage was at one moment: gives its sections wherever it is called, one by one, and shares nothing with
/// the stage that either would change for the other.
type Part = Box<dyn FnOnce(Put<'_>) -> Result<(), String> + Send>;

/// The state of one moment, of which not all is in bytes yet.
pub struct Moment {
    point: Point,
    parts: Vec<Part>,
}

impl std::fmt::Debug for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moment").field("point", &self.point).finish_non_exhaustive()
    }
}

impl Moment {
    /// Turns what is left into bytes, one stage after the other, and packs each section before the next is made.
    ///
    /// # Errors
    /// Which stage could not be saved.
    pub fn pack(self, packed: &mut Packed) -> Result<(), String> {
        self.give(&mut |section| packed.add(&section).map_err(text))
    }

    /// The same as they are, all at once.
    ///
    /// # Errors
    /// Which stage could not be saved.
    pub fn encode(self) -> Result<Snapshot, String> {
        let (point, mut sections) = (self.point, Vec::new());
        self.give(&mut |section| {
            sections.push(section);
            Ok(())
        })?;
        Ok(Snapshot { point, sections })
    }

    fn give(self, put: Put<'_>) -> Result<(), String> {
        for part in self.parts {
            // A stage that panics costs a snapshot, not the thread that keeps them.
            let panicked = |_panic| Err("a stage could not be saved".to_owned());
            catch_unwind(AssertUnwindSafe(|| part(&mut *put))).unwrap_or_else(panicked)?;
        }
        Ok(())
    }
}

/// A part of one section, which is made later.
fn later(name: &'static str, save: impl FnOnce() -> Saved + Send + 'static) -> Part {
    Box::new(move |put| {
        let bytes = save().map_err(|error| format!("{name}: {error}"))?;
        put(Section { name: name.to_owned(), bytes })
    })
}

/// A part that is in bytes already.
fn ready(name: &'static str, bytes: Saved) -> Part {
    later(name, || bytes)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Bytes that could not be made are like no others.
fn same<E>(a: &Result<Vec<u8>, E>, b: &Result<Vec<u8>, E>) -> bool {
    matches!((a, b), (Ok(a), Ok(b)) if a == b)
}

/// The engine's pieces, each a section: nobody puts them together.
fn pieces(engine: Vec<Piece>) -> Part {
    Box::new(move |put| {
        let mut sections = engine.into_iter().enumerate();
        sections.try_for_each(|(n, bytes)| put(Section { name: piece(n), bytes: bytes() }))
    })
}

fn piece(n: usize) -> String {
    if n == 0 { ENGINE.to_owned() } else { format!("{ENGINE}+{n}") }
}

fn joined(snapshot: &Snapshot) -> Vec<u8> {
    let pieces = (0..).map_while(|n| snapshot.section(&piece(n)));
    pieces.collect::<Vec<_>>().concat()
}

/// How two states differ.
#[derive(Debug)]
pub(super) struct Differences {
    pub(super) parts: Vec<String>,
    /// They cannot be where memory was short.
    pub(super) are_series_compared: bool,
}

impl State {
    /// What the log alone decides and another state holds otherwise, by part. Rules and series also hold
    /// what evaluations and the daemon's own metrics noted beside the log, which is left out.
    pub(super) fn differences(&self, other: &Self) -> Differences {
        let (mine, theirs) = (read(&self.engine).digests(), read(&other.engine).digests());
        let engine = mine.into_iter().zip(theirs).map(|(mine, theirs)| (mine.0, mine == theirs));
        let dispatchers = read(&self.dispatcher).save() == read(&other.dispatcher).save();
        let others = [
            ("measured", same(&self.measure().save(), &other.measure().save())),
            ("messages", dispatchers),
            ("kept", same(&self.archive.save(), &other.archive.save())),
            ("gaps", same(&self.gaps().save(), &other.gaps().save())),
            ("alerts", read(&self.evaluator).told().eq(read(&other.evaluator).told())),
            ("terms", self.terms() == other.terms()),
        ];
        let differing = engine.chain(others).filter(|(_, same)| !same);
        let is_own = |name: &str| name.starts_with(OWN_METRICS);
        let series = read(&self.series).differing(&read(&other.series), is_own);
        let are_series_compared = series.is_some();
        let series = series.into_iter().flatten().take(SERIES_NAMED_MAX);
        let series = series.map(|name| format!("series {name}"));
        let parts = differing.map(|(part, _)| part.to_owned()).chain(series).collect();
        Differences { parts, are_series_compared }
    }

    /// The state behind `point`. Blocks until all of it is in memory: nothing may change meanwhile.
    ///
    /// # Errors
    /// Which stage could not be saved.
    pub fn save(&self, point: Point) -> Result<Snapshot, String> {
        self.moment(point)?.encode()
    }

    /// The state behind `point`, for the keeper to turn into bytes when the stages are at work
    /// again. Blocks until it is taken: nothing may change meanwhile.
    ///
    /// # Errors
    /// That a stage could not be saved.
    pub fn moment(&self, point: Point) -> Result<Moment, String> {
        let (engine, measure) = std::thread::scope(|scope| {
            let engine = scope.spawn(|| read(&self.engine).moment());
            let measure = self.measure().shared();
            (engine.join(), measure)
        });
        let engine = engine.map_err(|_panicked| format!("{ENGINE}: it could not be saved"))?;
        let series = read(&self.series).frozen();
        let parts = vec![
            pieces(engine),
            ready(TERMS, serde_json::to_vec(&self.terms()).map_err(text)),
            later(MEASURE, move || measure.save().map_err(text)),
            later(SERIES, move || series.encode().map_err(text)),
            ready(EXPORTED, self.exported().save().map_err(text)),
            ready(EVALUATOR, read(&self.evaluator).save().map_err(text)),
            ready(DISPATCHER, Ok(read(&self.dispatcher).save())),
            ready(ARCHIVE, self.archive.save().map_err(text)),
            ready(GAPS, self.gaps().save().map_err(text)),
        ];
        Ok(Moment { point, parts })
    }

    /// Takes the state of a snapshot. `blocks` is the folder of the series' blocks.
    ///
    /// # Errors
    /// Which section cannot be read; then nothing has changed.
    pub fn restore(&self, snapshot: &Snapshot, blocks: &Path) -> Result<(), String> {
        let section = |name: &'static str| {
            snapshot.section(name).ok_or_else(|| format!("it has no section {name}"))
        };
        let wrong =
            |name: &'static str| move |error: &dyn std::fmt::Display| format!("{name}: {error}");
        let terms: Terms = serde_json::from_slice(section(TERMS)?).map_err(|e| wrong(TERMS)(&e))?;
        section(ENGINE)?;
        let engine = Engine::restore(terms.correlate.clone(), &joined(snapshot))
            .map_err(|e| wrong(ENGINE)(&e))?;
        let measure: Measure =
            Measure::restore(section(MEASURE)?).map_err(|e| wrong(MEASURE)(&e))?;
        let exported = HighWater::restore(section(EXPORTED)?).map_err(|e| wrong(EXPORTED)(&e))?;
        let routing = self.routing.load_full();
        let dispatcher =
            Dispatcher::restore((*routing).clone(), &terms.external_url, section(DISPATCHER)?)
                .map_err(|e| wrong(DISPATCHER)(&e))?;
        let mut evaluator = evaluator(&terms);
        evaluator.restore(section(EVALUATOR)?).map_err(|e| wrong(EVALUATOR)(&e))?;
        // Older versions watched for no gaps.
        let gaps = snapshot.section(GAPS).map_or_else(|| Ok(Gaps::default()), Gaps::restore);
        let gaps = gaps.map_err(|e| wrong(GAPS)(&e))?;
        let (archive, series) = (section(ARCHIVE)?, section(SERIES)?);
        let settings = terms.series.clone().unwrap_or_default();
        // The last one to be read: it removes what is not its own from the disk.
        let series = Series::restore(series, settings, blocks).map_err(|e| wrong(SERIES)(&e))?;
        self.archive.restore(archive).map_err(|e| wrong(ARCHIVE)(&e))?;
        *write(&self.engine) = engine;
        *self.measure() = measure;
        *write(&self.series) = series;
        *self.exported() = exported;
        *self.gaps() = gaps;
        *write(&self.evaluator) = evaluator;
        *write(&self.dispatcher) = dispatcher;
        self.archive.set_config(terms.archive.clone());
        self.set_terms(terms);
        Ok(())
    }
}
