//! Erasure: what a data directory holds of one id or attribute is removed, everything else stays.
//!
//! A directory that no daemon uses and the keys come in; what went and what still names it goes out. The
//! state is brought to where the log ends, requests that the keys lead to are let go of, and two snapshots
//! of what is left take the place of the log, so nothing that was received lies on the disk any more. Counts
//! stay: they name nobody. Never is a file removed before what takes its place is on disk.

mod carried;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use self::carried::Carried;
use super::recover::{self, Return, blocks};
use super::skipped::Skipped;
use super::state::{Entry, State, read, write};
use crate::config::Config;
use crate::correlate::Lookup;
use crate::journal::{self, Point, Snapshot, renewal};
use crate::signal::{Text, Timestamp};

/// Where kept requests are written anew; nothing until it takes the archive's place.
const ARCHIVE_ANEW: &str = "archive.erased";
/// Folders of former files, which hold what was received.
const FORMER: [&str; 2] = ["journal.damaged", "archive.damaged"];
/// Series that are named one by one.
const SERIES_MAX: usize = 20;

/// What is to be erased: an id or an attribute, and its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErasureKey {
    /// `correlation_id`, `trace_id`, `invocation_id`, `message_id`, `execution_id`, `request`; any other name
    /// is an attribute's.
    pub name: Text,
    pub value: Text,
}

/// What an erasure did.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Erasure {
    /// One that was cut short was finished first.
    pub finished: bool,
    /// Signals in the log that carried a key.
    pub signals: u64,
    /// Ids of requests that were open or correctable.
    pub held: BTreeSet<Text>,
    /// Ids of requests in the archive.
    pub kept: BTreeSet<Text>,
    /// Alerts and waiting messages that showed one of them.
    pub evidence: usize,
    /// Exemplars that led to one of them.
    pub exemplars: usize,
    /// Records of the log that two snapshots stand for now.
    pub records: u64,
    /// Series that have a value as a label: they stay, at most 20 are named.
    pub series: Vec<String>,
    /// Parts of the state in which a value still stands as text.
    pub named_in: Vec<String>,
    /// What stays counted, as `/api/ledger` has it.
    pub ledger: serde_json::Value,
}

impl Erasure {
    /// Nothing led to anything, so nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }
}

/// Erases.
///
/// # Errors
/// Where it is no data directory, a daemon uses it, it is damaged, or the disk fails. One that is cut short
/// after its point of no return is finished by the next.
pub fn erase(config: &Config, keys: &[ErasureKey]) -> Result<Erasure, String> {
    let data_dir = &config.data_dir;
    let journal = data_dir.join("journal");
    if !journal.is_dir() {
        return Err(format!("{}: there is no journal in it", data_dir.display()));
    }
    let _lock = super::folder::lock_existing(data_dir)?;
    let finished = renewal::finish(&journal, &mut || beside(data_dir)).map_err(text)?;
    let carried = Carried::read(&journal, keys)?;
    let mut found = Erasure { finished, signals: carried.signals, ..Erasure::default() };
    let (state, end) = recovered(config)?;
    let old = Old { state, end, records: carried.records };
    let values: BTreeSet<Text> = keys.iter().map(|key| Text::clone(&key.value)).collect();
    if let Some(renewed) = old.renew(&carried.ids, &values, data_dir, &mut found)? {
        renewed.put(data_dir)?;
    }
    Ok(found)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The state where the log ends, as a start brings it back.
pub(super) fn recovered(config: &Config) -> Result<(State, Point), String> {
    let (archive, lost) = recover::archive(&config.data_dir, &config.archive)?;
    if let Some(lost) = lost {
        tracing::error!(event = "archive.files.lost", message = lost.message);
    }
    let state = recover::state(config, archive);
    let (blocks, skipped) = (blocks(&config.data_dir), Skipped::read(&config.data_dir)?);
    let back = Return::of(&state, &blocks);
    let mut told = journal::Back {
        restore: &mut |snapshot| back.restore(&snapshot),
        replay: &mut |replayed| {
            back.begin()?;
            if skipped.is_left_out(replayed.seq) { Ok(()) } else { state.replay(replayed) }
        },
    };
    let end = renewal::read(&config.data_dir.join("journal"), &mut told).map_err(text)?;
    forget_unfinished(&config.data_dir)?;
    back.begin()?;
    Ok((state, end))
}

/// Removes what an erasure left that ended before its point of no return. Only once the journal was read: until
/// then it may be what takes the archive's place.
pub(super) fn forget_unfinished(data_dir: &Path) -> Result<(), String> {
    let anew = data_dir.join(ARCHIVE_ANEW);
    remove_folder(&anew).map_err(|error| format!("{}: {error}", anew.display()))
}

/// What the log made.
struct Old {
    state: State,
    end: Point,
    records: u64,
}

/// What takes its place.
struct Renewed {
    log: renewal::Log,
    snapshots: [Snapshot; 2],
}

impl Old {
    /// None where nothing carries a key: nothing has changed then.
    fn renew(
        self,
        ids: &BTreeSet<Text>,
        values: &BTreeSet<Text>,
        data_dir: &Path,
        found: &mut Erasure,
    ) -> Result<Option<Renewed>, String> {
        let Self { state, end, records } = self;
        if found.signals == 0 && !state.holds(ids)? {
            found.ledger = state.ledger();
            return Ok(None);
        }
        let now = end.log_time;
        state.apply(&Entry::Tick, now);
        let kept = state.archive.copy_without(&data_dir.join(ARCHIVE_ANEW), ids).map_err(text)?;
        state.let_go(ids, &kept.ids, now, found);
        found.kept = kept.requests;
        state.apply(&Entry::Tick, now);
        let first = state.save(end)?;
        // A record between two snapshots: damage of one leaves the other, as ever.
        let log = renewal::Log::behind(end, now, &Entry::Tick.encode().map_err(text)?);
        state.apply(&Entry::Tick, now);
        let second = state.save(log.last)?;
        found.records = records;
        found.series = state.series_that_name(values);
        found.named_in = named_in(&second, values);
        found.ledger = state.ledger();
        Ok(Some(Renewed { log, snapshots: [first, second] }))
    }
}

impl Renewed {
    fn put(&self, data_dir: &Path) -> Result<(), String> {
        let journal = data_dir.join("journal");
        sync_folder(data_dir).map_err(text)?;
        let snapshots: Vec<&Snapshot> = self.snapshots.iter().collect();
        renewal::write(&journal, &self.log, &snapshots).map_err(text)?;
        renewal::finish(&journal, &mut || beside(data_dir)).map_err(text)?;
        Ok(())
    }
}

impl State {
    /// Whether an id leads to anything that is held or kept.
    fn holds(&self, ids: &BTreeSet<Text>) -> Result<bool, String> {
        for id in ids {
            let is_held = !matches!(read(&self.engine).lookup(id), Lookup::None);
            if is_held || !matches!(self.archive.lookup(id).map_err(text)?, Lookup::None) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets go of requests that are held, and of what shows them or those of the archive.
    fn let_go(
        &self,
        ids: &BTreeSet<Text>,
        kept: &BTreeSet<Text>,
        now: Timestamp,
        found: &mut Erasure,
    ) {
        let erased = write(&self.engine).erase(ids, kept);
        {
            let (mut measure, mut series) = (self.measure(), write(&self.series));
            measure.count(&erased.changes, &mut series, now);
        }
        found.held = erased.requests.iter().map(|request| Text::clone(&request.id)).collect();
        let shown: BTreeSet<Text> = erased.ids().into_iter().chain(kept.iter().cloned()).collect();
        found.exemplars = write(&self.series).forget_exemplars(&shown);
        found.evidence = write(&self.dispatcher).forget_requests(&shown);
    }

    fn series_that_name(&self, values: &BTreeSet<Text>) -> Vec<String> {
        let named = read(&self.series).that_name(values);
        named.iter().take(SERIES_MAX).map(ToString::to_string).collect()
    }

    fn ledger(&self) -> serde_json::Value {
        serde_json::json!(read(&self.engine).ledger())
    }
}

/// Sections of a snapshot in which one of these stands as it is.
fn named_in(snapshot: &Snapshot, values: &BTreeSet<Text>) -> Vec<String> {
    // A text is written behind its length: what only begins alike is another one.
    let texts: Vec<Vec<u8>> =
        values.iter().filter_map(|value| postcard::to_stdvec(&**value).ok()).collect();
    let stands = |bytes: &[u8]| {
        texts.iter().any(|text| bytes.windows(text.len()).any(|window| window == text))
    };
    let sections = snapshot.sections.iter().filter(|section| stands(&section.bytes));
    sections.map(|section| section.name.clone()).collect()
}

/// Beside the journal: the archive without what was erased takes its place, former files go.
fn beside(data_dir: &Path) -> std::io::Result<()> {
    let (archive, anew) = (data_dir.join("archive"), data_dir.join(ARCHIVE_ANEW));
    if anew.exists() {
        remove_folder(&archive)?;
        std::fs::rename(&anew, &archive)?;
    }
    for entry in std::fs::read_dir(data_dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if FORMER.iter().any(|former| name.starts_with(former)) {
            remove_folder(&entry.path())?;
        }
    }
    sync_folder(data_dir)
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn remove_folder(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
