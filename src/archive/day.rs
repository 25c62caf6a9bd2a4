//! One day of kept requests: the requests by id, their keys, and their times.
//!
//! The three keyspaces change in one batch, so an index row never names a request that is not there.

use std::collections::BTreeSet;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};
use serde::{Deserialize, Serialize};

use super::{Error, SCAN_MAX};
use crate::correlate::{Outcome, Request, RequestFilter};
use crate::signal::{Text, Timestamp};

const DAY_SECS: u64 = 24 * 3600;
/// What a keyspace gathers in memory before it writes a file.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// Longer keys are indexed by their beginning; what is found is checked in full.
const KEY_BYTES_MAX: usize = 512;
/// Index rows of one request; the ids beyond lead nowhere.
const KEYS_MAX: usize = 4096;
/// No UTF-8 text holds this byte, so no key is the beginning of another one's row.
const SEPARATOR: u8 = 0xff;

/// Days since the epoch.
pub(super) fn day_of(at: Timestamp) -> u64 {
    at.as_secs() / DAY_SECS
}

/// The first moment after the day.
pub(super) fn end_of(day: u64) -> Timestamp {
    Timestamp::from_nanos(day.saturating_add(1).saturating_mul(DAY_SECS * 1_000_000_000))
}

/// Handles of one day's keyspaces; cheap to clone.
#[derive(Clone)]
pub(super) struct Day {
    /// id -> request.
    requests: Keyspace,
    /// key, separator, id -> nothing.
    keys: Keyspace,
    /// start (big-endian nanoseconds), id -> [`Summary`].
    times: Keyspace,
}

/// What a listing filters by before it reads the request itself.
#[derive(Serialize, Deserialize)]
struct Summary<'a> {
    flow: &'a str,
    outcome: Outcome,
    duration: std::time::Duration,
}

impl Day {
    pub(super) fn open(db: &Database, day: u64) -> Result<Self, Error> {
        let small = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let separated = || small().with_kv_separation(Some(KvSeparationOptions::default()));
        Ok(Self {
            requests: db.keyspace(&format!("day-{day}-requests"), separated)?,
            keys: db.keyspace(&format!("day-{day}-keys"), small)?,
            times: db.keyspace(&format!("day-{day}-times"), small)?,
        })
    }

    /// Days of which there are files, oldest first.
    pub(super) fn all(db: &Database) -> BTreeSet<u64> {
        let names = db.list_keyspace_names();
        names
            .iter()
            .filter_map(|name| name.strip_prefix("day-")?.split('-').next()?.parse().ok())
            .collect()
    }

    /// Removes the day's files as soon as nobody reads them any more.
    pub(super) fn delete(self, db: &Database) -> Result<(), Error> {
        for keyspace in [self.requests, self.keys, self.times] {
            db.delete_keyspace(keyspace)?;
        }
        Ok(())
    }

    pub(super) fn insert(&self, db: &Database, request: &Request) -> Result<(), Error> {
        // A request that was kept before may have had other keys.
        self.remove(db, &request.id)?;
        let summary =
            Summary { flow: &request.flow, outcome: request.outcome, duration: request.duration };
        let mut batch = db.batch();
        batch.insert(&self.requests, request.id.as_bytes(), postcard::to_stdvec(request)?);
        batch.insert(&self.times, time_row(request), postcard::to_stdvec(&summary)?);
        for key in keys_of(request) {
            batch.insert(&self.keys, key_row(key, &request.id), []);
        }
        Ok(batch.commit()?)
    }

    pub(super) fn remove(&self, db: &Database, id: &str) -> Result<(), Error> {
        let Some(request) = self.get(id)? else { return Ok(()) };
        let mut batch = db.batch();
        batch.remove(&self.requests, id.as_bytes());
        batch.remove(&self.times, time_row(&request));
        for key in keys_of(&request) {
            batch.remove(&self.keys, key_row(key, id));
        }
        Ok(batch.commit()?)
    }

    /// By its own id.
    pub(super) fn get(&self, id: &str) -> Result<Option<Request>, Error> {
        if id.is_empty() || id.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        let Some(bytes) = self.requests.get(id.as_bytes())? else { return Ok(None) };
        Ok(Some(postcard::from_bytes(&bytes)?))
    }

    /// Every request, by id.
    pub(super) fn each(
        &self,
        take: &mut dyn FnMut(Request) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for row in self.requests.iter() {
            let (_, bytes) = row.into_inner()?;
            take(postcard::from_bytes(&bytes)?)?;
        }
        Ok(())
    }

    /// Up to `limit` requests that a key belongs to.
    pub(super) fn find(&self, key: &str, limit: usize) -> Result<Vec<Request>, Error> {
        let prefix = key_row(key, "");
        let mut found = Vec::new();
        for row in self.keys.prefix(&prefix) {
            if found.len() >= limit {
                break;
            }
            let row = row.key()?;
            let Some(id) = row.get(prefix.len()..).and_then(|id| std::str::from_utf8(id).ok())
            else {
                continue;
            };
            found.extend(self.get(id)?.filter(|request| keys_of(request).contains(key)));
        }
        Ok(found)
    }

    /// Adds what the filter accepts, newest first, up to its limit.
    pub(super) fn list(
        &self,
        filter: &RequestFilter,
        found: &mut Vec<Request>,
        n_scanned: &mut usize,
    ) -> Result<(), Error> {
        let from = filter.start.unwrap_or_default().as_nanos().to_be_bytes().to_vec();
        let mut to = filter.end.unwrap_or(Timestamp::MAX).as_nanos().to_be_bytes().to_vec();
        to.push(SEPARATOR);
        if from > to {
            return Ok(());
        }
        for row in self.times.range(from..to).rev() {
            if found.len() >= filter.limit || *n_scanned >= SCAN_MAX {
                break;
            }
            *n_scanned += 1;
            let (row, summary) = row.into_inner()?;
            let summary: Summary<'_> = postcard::from_bytes(&summary)?;
            if !summary.is_accepted(filter) {
                continue;
            }
            let Some(id) = row.get(8..).and_then(|id| std::str::from_utf8(id).ok()) else {
                continue;
            };
            found.extend(self.get(id)?.filter(|request| has_hop(request, filter)));
        }
        Ok(())
    }
}

impl Summary<'_> {
    fn is_accepted(&self, filter: &RequestFilter) -> bool {
        filter.flow.as_deref().is_none_or(|flow| flow == self.flow)
            && filter.outcome.is_none_or(|outcome| outcome == self.outcome)
            && filter.min_duration.is_none_or(|least| self.duration >= least)
    }
}

fn has_hop(request: &Request, filter: &RequestFilter) -> bool {
    let function = |function: &Text| request.hops.iter().any(|hop| hop.function == *function);
    let queue = |queue: &Text| request.hops.iter().any(|hop| hop.queue.as_ref() == Some(queue));
    filter.function.as_ref().is_none_or(function) && filter.queue.as_ref().is_none_or(queue)
}

/// Everything but its own id that leads to a request.
fn keys_of(request: &Request) -> BTreeSet<&str> {
    let of_hops = request
        .hops
        .iter()
        .flat_map(|hop| hop.invocation_id.iter().chain(&hop.message_ids))
        .map(|id| &**id);
    let own = request.aliases.iter().map(|alias| &**alias);
    own.chain(request.keys.iter().map(|key| &*key.value))
        .chain(of_hops)
        .filter(|key| !key.is_empty())
        .take(KEYS_MAX)
        .collect()
}

fn key_row(key: &str, id: &str) -> Vec<u8> {
    let mut row: Vec<u8> = key.bytes().take(KEY_BYTES_MAX).collect();
    row.push(SEPARATOR);
    row.extend_from_slice(id.as_bytes());
    row
}

fn time_row(request: &Request) -> Vec<u8> {
    let mut row = request.start.as_nanos().to_be_bytes().to_vec();
    row.extend_from_slice(request.id.as_bytes());
    row
}
