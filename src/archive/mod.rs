//! Archive: kept requests on disk, found by any id, time, duration, outcome.
//!
//! Final requests come in, one by one; what the policy keeps goes to the files of the day on which
//! it started, so retention removes whole days and never leaves tombstones. What is here lasts when a
//! snapshot says so ([`Archive::persist`]); what came after it is offered again by replay, under the
//! same ids, so nothing is kept twice.

mod day;
mod keep;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fjall::{Database, PersistMode};
use serde::{Deserialize, Serialize};

use self::day::{Day, day_of, end_of};
use self::keep::{Slowest, Verdict};
use crate::correlate::{FinalLine, Lookup, Request, RequestFilter};
use crate::signal::{Text, Timestamp};

/// What is kept, and how much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Keep every request whose outcome is not ok.
    pub errors: bool,
    /// Keep the slowest of each flow and hour.
    pub slowest_per_flow: usize,
    /// Keep this share of the rest, chosen by the hash of the id.
    pub sample: f64,
    pub size_max_bytes: u64,
    pub retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            errors: true,
            slowest_per_flow: 100,
            sample: 0.01,
            size_max_bytes: 10 << 30,
            retention: Duration::from_hours(7 * 24),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("archive: {0}; check that the data directory is writable and has room")]
    Store(String),
    #[error("archive: a kept request cannot be read: {0}; it is made anew at the next start")]
    Unreadable(String),
}

impl From<fjall::Error> for Error {
    fn from(error: fjall::Error) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<postcard::Error> for Error {
    fn from(error: postcard::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Blocks of files that are kept in memory.
const CACHE_BYTES: u64 = 16 << 20;
/// The store's own write-ahead files; its minimum, for they are not what makes us durable.
const JOURNAL_BYTES: u64 = 64 << 20;
/// One worker can wait for itself at a full memtable (fjall#257).
const WORKERS: usize = 2;
/// Days that are open at once: retention in days, and some for clocks that run ahead.
const DAYS_MAX: usize = 400;
/// Requests that one key leads to; a key of more is of no use to anybody.
const LOOKUP_MAX: usize = 100;
/// Rows that one listing looks at before it gives up.
const SCAN_MAX: usize = 200_000;

/// Requests that a copy was made without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub requests: BTreeSet<Text>,
    /// Every id that belongs to one of them, its own too.
    pub ids: BTreeSet<Text>,
}

pub struct Archive {
    db: Database,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    config: Config,
    days: BTreeMap<u64, Day>,
    slowest: Slowest,
    /// The size is reached and there is no older day to remove.
    is_full: bool,
    refused: u64,
    /// The minute in which the size was looked at last.
    checked_minute: u64,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    /// Opens the archive in `dir`, or makes it.
    pub fn open(dir: &Path, config: Config) -> Result<Self, Error> {
        let db = Database::builder(dir)
            .worker_threads(WORKERS)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .open()?;
        let mut days = BTreeMap::new();
        for day in Day::all(&db) {
            days.insert(day, Day::open(&db, day)?);
        }
        let state = State { config, days, ..State::default() };
        Ok(Self { db, state: Mutex::new(state) })
    }

    /// Removes everything: the whole log is replayed and makes it again.
    pub fn clear(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.slowest = Slowest::default();
        while !state.days.is_empty() {
            state.drop_oldest(&self.db)?;
        }
        Ok(())
    }

    /// From now on this is kept, and so much.
    pub fn set_config(&self, config: Config) {
        self.state().config = config;
    }

    /// What decides which requests are kept, for a snapshot. The requests themselves stay here.
    ///
    /// # Errors
    /// Only where memory fails.
    pub fn save(&self) -> Result<Vec<u8>, Error> {
        let state = self.state();
        Ok(postcard::to_stdvec(&(&state.slowest, state.refused))?)
    }

    /// Goes on from what [`Archive::save`] wrote.
    ///
    /// # Errors
    /// Where the bytes are not what it wrote; then nothing has changed.
    pub fn restore(&self, saved: &[u8]) -> Result<(), Error> {
        let (slowest, refused) = postcard::from_bytes(saved)?;
        let mut state = self.state();
        (state.slowest, state.refused) = (slowest, refused);
        Ok(())
    }

    /// Brings everything that was kept to disk. Blocks.
    pub fn persist(&self) -> Result<(), Error> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }

    /// Whether a request that is about to be final would be kept.
    pub fn wants(&self, line: &FinalLine<'_>) -> bool {
        let state = self.state();
        state.slowest.wants(line, &state.config)
    }

    /// Keeps a final request if it is one to keep.
    pub fn offer(&self, request: &Request) -> Result<(), Error> {
        let mut state = self.state();
        let State { slowest, config, .. } = &mut *state;
        match slowest.judge(&request.line(), config) {
            Verdict::Leave => return Ok(()),
            Verdict::Keep => {}
            Verdict::KeepInsteadOf(other) => {
                if let Some(day) = state.days.get(&day_of(other.start)) {
                    day.remove(&self.db, &other.id)?;
                }
            }
        }
        if let Some(day) = state.day(&self.db, day_of(request.start))? {
            return day.insert(&self.db, request);
        }
        state.refused += 1;
        Ok(())
    }

    /// By any id that belongs to a kept request.
    pub fn lookup(&self, key: &str) -> Result<Lookup, Error> {
        let days = self.days();
        for day in days.iter().rev() {
            if let Some(request) = day.get(key)? {
                return Ok(Lookup::One(Box::new(request)));
            }
        }
        let mut found: Vec<Request> = Vec::new();
        for day in days.iter().rev() {
            found.extend(day.find(key, LOOKUP_MAX.saturating_sub(found.len()))?);
        }
        found.sort_by(|a, b| a.start.cmp(&b.start).then_with(|| a.id.cmp(&b.id)));
        Ok(match found.pop() {
            None => Lookup::None,
            Some(one) if found.is_empty() => Lookup::One(Box::new(one)),
            Some(last) => {
                found.push(last);
                Lookup::Several(found)
            }
        })
    }

    /// Kept requests, newest first, by start; the filter's times are bounds of the start, inclusive.
    pub fn requests(&self, filter: &RequestFilter) -> Result<Vec<Request>, Error> {
        let mut found = Vec::new();
        let mut n_scanned = 0;
        for day in self.days().iter().rev() {
            day.list(filter, &mut found, &mut n_scanned)?;
            if found.len() >= filter.limit || n_scanned >= SCAN_MAX {
                break;
            }
        }
        Ok(found)
    }

    /// Removes days that are older than retention or over the size.
    pub fn tick(&self, now: Timestamp) -> Result<(), Error> {
        let mut state = self.state();
        let minute = now.as_secs() / 60;
        if state.checked_minute == minute {
            return Ok(());
        }
        state.checked_minute = minute;
        let horizon = now.saturating_sub(state.config.retention);
        while let Some((day, _)) = state.days.first_key_value()
            && end_of(*day) < horizon
        {
            state.drop_oldest(&self.db)?;
        }
        // Files go when the last reader does, so space comes back late: one day a minute.
        let is_over = self.db.disk_space()? > state.config.size_max_bytes;
        state.is_full = is_over && state.days.len() < 2;
        if is_over && !state.is_full {
            state.drop_oldest(&self.db)?;
        }
        Ok(())
    }

    /// Writes everything that is kept anew into `dir`, but for requests that one of these ids leads to:
    /// files of a store hold for a while what was removed from it. Gives what was left out; it takes
    /// part in no contest from now on. Blocks until all is on disk.
    ///
    /// # Errors
    /// Where a request cannot be read or written; what is in `dir` is then of no use.
    pub fn copy_without(&self, dir: &Path, ids: &BTreeSet<Text>) -> Result<LeftOut, Error> {
        let copy = Self::open(dir, self.state().config.clone())?;
        let mut left_out = LeftOut::default();
        for (number, day) in self.state().days.clone() {
            let anew = Day::open(&copy.db, number)?;
            day.each(&mut |request| {
                if request.ids().any(|id| ids.contains(id)) {
                    left_out.ids.extend(request.ids().cloned());
                    left_out.requests.insert(request.id);
                    return Ok(());
                }
                anew.insert(&copy.db, &request)
            })?;
        }
        copy.persist()?;
        self.state().slowest.forget(&left_out.requests);
        Ok(left_out)
    }

    /// Requests that were to be kept and found no room.
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panicking holder left is whole: every change of the state is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles of all days, oldest first: readers hold no lock while they read.
    fn days(&self) -> Vec<Day> {
        self.state().days.values().cloned().collect()
    }
}

impl State {
    /// The day's files, made if need be; None where there is no room.
    fn day(&mut self, db: &Database, day: u64) -> Result<Option<&Day>, Error> {
        if !self.days.contains_key(&day) {
            let is_newest = self.days.last_key_value().is_none_or(|(last, _)| *last < day);
            if self.is_full && is_newest {
                self.drop_oldest(db)?;
                self.is_full = false;
            }
            if self.days.len() < DAYS_MAX && !self.is_full {
                self.days.insert(day, Day::open(db, day)?);
            }
        }
        if self.is_full { Ok(None) } else { Ok(self.days.get(&day)) }
    }

    fn drop_oldest(&mut self, db: &Database) -> Result<(), Error> {
        if let Some((_, day)) = self.days.pop_first() {
            day.delete(db)?;
        }
        Ok(())
    }
}
