//! Bytes of a file to whole lines, lines to a batch.

use serde_json::json;

use super::config::{Format, Job};
use crate::normalize::{self, Origin, json_log};
use crate::number::u32_from_usize;
use crate::signal::{Batch, Receiver, Timestamp};

/// Longest line; a longer one is rejected. CloudWatch's own bound.
pub(super) const LINE_BYTES_MAX: usize = 256 * 1024;

/// Some whole lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) lines: Vec<u8>,
    /// Bytes of the file that it stands for.
    pub(super) length: usize,
    /// Lines that were longer than allowed and end or begin here.
    pub(super) n_too_long: u32,
    /// It ends within a line that is too long.
    pub(super) is_skipping: bool,
}

impl Chunk {
    /// What is read at once.
    pub(super) const BYTES_MAX: usize = 1 << 20;

    /// The whole lines of some bytes; all of them, half a line included, where `is_all`. None where there
    /// is no whole line yet.
    pub(super) fn cut(bytes: &[u8], was_skipping: bool, is_all: bool) -> Option<Self> {
        let last = bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let is_full = bytes.len() > LINE_BYTES_MAX;
        let (whole, is_skipping) = match last {
            Some(end) if !is_all => (end, false),
            None if !is_all && !is_full && !was_skipping => return None,
            // A line without an end, too long already: what there is of it goes.
            _ => (bytes.len(), last != Some(bytes.len()) && (is_full || was_skipping)),
        };
        let taken = bytes.get(..whole)?;
        let mut chunk = Self { lines: Vec::new(), length: whole, n_too_long: 0, is_skipping };
        let mut pieces = taken.split_inclusive(|byte| *byte == b'\n');
        if was_skipping {
            // The rest of a line that has been counted.
            pieces.next();
        }
        for line in pieces {
            if line.len() > LINE_BYTES_MAX {
                chunk.n_too_long += 1;
            } else {
                chunk.lines.extend_from_slice(line);
            }
        }
        Some(chunk)
    }
}

/// What lines become; empty ones are nothing.
pub(super) fn batch(
    lines: &[u8],
    job: &Job,
    arrived: Timestamp,
    config: &normalize::Config,
) -> Batch {
    let origin = Origin { arrived, function: job.function.clone(), ..Origin::default() };
    let empty = || Batch::new(Receiver::File, arrived);
    if lines.trim_ascii().is_empty() {
        return empty();
    }
    let text;
    let body = match job.format {
        Format::Json => lines,
        Format::Text => {
            text = as_json(lines);
            text.as_bytes()
        }
    };
    match json_log::normalize(body, &origin, config) {
        Ok(normalized) => normalized.batch,
        Err(_nothing_readable) => {
            let n = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            let rejected = u32_from_usize(n.count());
            Batch { rejected, undecodable_bytes: None, ..empty() }
        }
    }
}

/// A message a line, with its time where it begins with one.
fn as_json(lines: &[u8]) -> String {
    let mut out = String::with_capacity(lines.len() * 2);
    for line in String::from_utf8_lossy(lines).lines().filter(|line| !line.trim().is_empty()) {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        let time = Timestamp::parse_rfc3339(first).filter(|_| first.len() >= 20);
        let record = match time {
            Some(_) => json!({"timestamp": first, "message": rest}),
            None => json!({"message": line}),
        };
        out.push_str(&record.to_string());
        out.push('\n');
    }
    out
}
