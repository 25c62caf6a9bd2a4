//! Captured files to batches with the times at which they come.
//!
//! In: files and folders, packed or not. Out: batches. A file that says nothing of arrivals is taken as
//! if each of its signals had come within a second of its time; a workload of `throughline simulate`
//! says when each of its payloads came. Never is a file read that is larger than [`FILE_BYTES_MAX`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::times;
use super::wire::Wire;
use crate::normalize::{self, Origin, inflate};
use crate::receive::captured::{self, Captured};
use crate::signal::{Batch, Signal, Timestamp};

/// Of one file, unpacked.
const FILE_BYTES_MAX: usize = 1 << 30;
/// Lines that are decoded together: a file of many days is judged piece by piece.
const LINES_MAX: usize = 1000;
/// Folders within folders.
const DEPTH_MAX: usize = 16;
/// What the receivers allow of one body, for payloads that unpack others.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A batch and when it comes.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) at: Timestamp,
    pub(super) batch: Batch,
}

/// How captured files are read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) wire: Option<Wire>,
    pub(super) function: Option<&'a str>,
    pub(super) config: &'a normalize::Config,
    /// What could not be read, for people.
    pub(super) problems: Vec<String>,
    pub(super) found: Vec<Arrival>,
}

impl Reading<'_> {
    /// Reads a file, or every file below a folder.
    pub(super) fn path(&mut self, path: &Path) -> anyhow::Result<()> {
        if !path.is_dir() {
            return self.file(path);
        }
        if path.join("deliveries.ndjson").is_file() {
            return self.workload(path);
        }
        for file in files(path)? {
            self.file(&file)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let name = path.display();
        let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
        let modified = fs::metadata(path).and_then(|about| about.modified()).ok();
        let modified = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = Timestamp::EPOCH.saturating_add(modified.unwrap_or_default());
        let plain = inflate::inflate(&bytes, FILE_BYTES_MAX).with_context(|| format!("{name}"))?;
        let Some(wire) = self.wire.or_else(|| Wire::of(&plain)) else {
            bail!("{name}: it is not plain what this is; say `--from` with one of {}", Wire::NAMES);
        };
        let exported;
        let plain: &[u8] = if wire == Wire::Text {
            let Some(function) = self.function else {
                bail!("{name}: exported text does not say whose it is; give `--function NAME`");
            };
            exported = super::wire::enveloped(&plain, function, path);
            &exported
        } else {
            &plain
        };
        for piece in pieces(plain, wire) {
            let arrived = times::newest(piece).unwrap_or(modified);
            let origin =
                Origin { arrived, function: self.function.map(str::to_owned), ..Origin::default() };
            match wire.decode(piece, &origin, self.config, BODY_BYTES_MAX) {
                Ok(batch) => self.found.extend(by_second(batch)),
                Err(error) => self.problems.push(format!("{name}: {error}")),
            }
        }
        Ok(())
    }

    /// A folder that `throughline simulate` wrote.
    fn workload(&mut self, dir: &Path) -> anyhow::Result<()> {
        let index = dir.join("deliveries.ndjson");
        let text = fs::read_to_string(&index)
            .with_context(|| format!("cannot read {}", index.display()))?;
        for (at, line) in text.lines().enumerate() {
            let place = || format!("{}:{}", index.display(), at + 1);
            let delivery: Delivery = serde_json::from_str(line).with_context(place)?;
            let file = dir.join(&delivery.file);
            let bytes =
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let mut headers: Vec<(String, String)> =
                delivery.headers.into_iter().map(|header| (header.name, header.value)).collect();
            headers.push(("content-type".to_owned(), delivery.content_type));
            let request = Captured { path: &delivery.path, headers: &headers, body: &bytes };
            match captured::read(&request, delivery.at, self.config) {
                Ok(normalized) => {
                    self.found.push(Arrival { at: delivery.at, batch: normalized.batch });
                }
                Err(error) => self.problems.push(format!("{}: {error}", place())),
            }
        }
        Ok(())
    }
}

/// A line of `deliveries.ndjson`.
#[derive(Deserialize)]
struct Delivery {
    at: Timestamp,
    path: String,
    content_type: String,
    headers: Vec<Header>,
    file: String,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

/// Every file below a folder, sorted; hidden ones and those of no bytes are left out.
fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![(dir.to_owned(), 0)]);
    while let Some((folder, depth)) = folders.pop() {
        if depth > DEPTH_MAX {
            bail!("{}: more than {DEPTH_MAX} folders deep", folder.display());
        }
        let read = || format!("cannot list {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(read)? {
            let entry = entry.with_context(read)?;
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            let about = fs::metadata(entry.path()).with_context(read)?;
            if about.is_dir() && !is_hidden {
                folders.push((entry.path(), depth + 1));
            } else if about.is_file() && !is_hidden && about.len() > 0 {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What is decoded together: some lines where a line stands for itself, else the whole.
fn pieces(bytes: &[u8], wire: Wire) -> Vec<&[u8]> {
    let lines = wire.lines_max(bytes).map(|n| n.min(LINES_MAX));
    let Some(lines_max) = lines else { return vec![bytes] };
    let (mut found, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let end = ends.map(|(at, _)| at + 1).nth(lines_max.saturating_sub(1));
        let (piece, behind) = rest.split_at(end.unwrap_or(rest.len()));
        if !piece.trim_ascii().is_empty() {
            found.push(piece);
        }
        rest = behind;
    }
    found
}

/// One batch a second of event time, so that a capture of hours comes as it happened.
fn by_second(batch: Batch) -> Vec<Arrival> {
    let Batch { signals, .. } = &batch;
    let mut seconds: BTreeMap<u64, Vec<Signal>> = BTreeMap::new();
    for signal in signals {
        seconds.entry(signal.kind.event_time().as_secs()).or_default().push(signal.clone());
    }
    if seconds.is_empty() {
        return vec![Arrival { at: batch.arrived, batch }];
    }
    let last = seconds.keys().next_back().copied();
    let (mut found, mut counts) = (Vec::new(), Some((batch.rejected, batch.filtered)));
    for (second, signals) in seconds {
        let at = Timestamp::EPOCH.saturating_add(Duration::from_secs(second + 1));
        // What is bad for good has no time; it counts once, with the first.
        let (rejected, filtered) = counts.take().unwrap_or_default();
        let remarks = if Some(second) == last { batch.remarks.clone() } else { Vec::new() };
        let part = Batch {
            arrived: at,
            body_hash: 0,
            resources: batch.resources.clone(),
            signals,
            rejected,
            filtered,
            remarks,
            ..Batch::new(batch.receiver, at)
        };
        found.push(Arrival { at, batch: part });
    }
    found
}
