//! The store in a snapshot: its head as bytes, and the folder of its blocks.
//!
//! A snapshot holds everything that is not in a block (catalogue, slots, samples, exemplars, lateness,
//! counts) and names the block files that belong to it. What the folder holds beside them was made
//! after the snapshot: replaying the journal makes it again, so it is deleted. What is never true: a
//! snapshot that names a block which is not wholly on disk.

use std::collections::BTreeSet;
use std::path::Path;

use super::export::HighWater;
use super::{Config, Series};

/// The first byte of a snapshot; others are refused.
const VERSION: u8 = 3;
const HIGH_WATER_VERSION: u8 = 1;
/// How the names of block files end.
pub(crate) const EXTENSION: &str = "block";

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the series' part of the snapshot is of another version ({found:?})")]
    Version { found: Option<u8> },
    #[error("the series' part of the snapshot cannot be read: {0}")]
    Unreadable(#[from] postcard::Error),
    #[error("the folder of series blocks failed: {0}")]
    Disk(#[from] std::io::Error),
}

impl Series {
    /// An empty store whose blocks lie in `folder`, which is made where it is missing and emptied of
    /// blocks that an earlier life left.
    ///
    /// # Errors
    /// Where the folder cannot be made, read or emptied.
    pub fn create(config: Config, folder: &Path) -> Result<Self, SnapshotError> {
        keep_only(folder, &[])?;
        let mut series = Self::new(config);
        series.blocks.set_folder(folder);
        Ok(series)
    }

    /// What [`Series::restore`] makes this store of again.
    ///
    /// # Errors
    /// Where blocks cannot be brought to disk.
    pub fn save(&self) -> Result<Vec<u8>, SnapshotError> {
        self.frozen().encode()
    }

    /// The store as it is now, for a snapshot: what the series hold is shared with it until they change.
    pub fn frozen(&self) -> Frozen {
        Frozen(Self {
            config: self.config.clone(),
            table: self.table.frozen(),
            bounds: self.bounds.clone(),
            lateness: self.lateness.clone(),
            dropped: self.dropped,
            blocks: self.blocks.frozen(),
            sealing: self.sealing.clone(),
            remarks: self.remarks.clone(),
            ..*self
        })
    }

    /// A snapshot with what [`Series::save`] gave last is on disk, and of those before it one is kept:
    /// block files that no kept snapshot can name go. Until this is called they stay.
    pub fn snapshot_kept(&mut self) {
        self.blocks.snapshot_kept();
    }

    /// Names and lengths in bytes of the block files that the store reads.
    pub fn block_files(&self) -> Vec<(String, u64)> {
        let file = |block: &super::blocks::Block| (block.file_name(), block.length);
        self.blocks.list().iter().map(file).collect()
    }

    /// The store that was saved, under the settings of today.
    ///
    /// # Errors
    /// Where the bytes are not those of [`Series::save`], or the folder cannot be read.
    pub fn restore(bytes: &[u8], config: Config, folder: &Path) -> Result<Self, SnapshotError> {
        let mut series: Self = postcard::from_bytes(versioned(bytes, VERSION)?)?;
        series.set_config(config);
        series.blocks.set_folder(folder);
        keep_only(folder, &series.blocks.file_names())?;
        let lost = series.blocks.settle()?;
        series.note_damaged(lost);
        Ok(series)
    }
}

/// A store of one moment. Nothing changes it, and it answers no queries.
#[derive(Debug)]
pub struct Frozen(Series);

impl Frozen {
    /// What [`Series::restore`] makes the store of again. The blocks that it names are on disk then.
    ///
    /// # Errors
    /// Where blocks cannot be brought to disk.
    pub fn encode(self) -> Result<Vec<u8>, SnapshotError> {
        self.0.blocks.sync()?;
        Ok(postcard::to_extend(&self.0, vec![VERSION])?)
    }
}

impl HighWater {
    /// What [`HighWater::restore`] makes these marks of again.
    ///
    /// # Errors
    /// Where memory does not suffice.
    pub fn save(&self) -> Result<Vec<u8>, SnapshotError> {
        Ok(postcard::to_extend(self, vec![HIGH_WATER_VERSION])?)
    }

    /// The marks that were saved.
    ///
    /// # Errors
    /// Where the bytes are not those of [`HighWater::save`].
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Ok(postcard::from_bytes(versioned(bytes, HIGH_WATER_VERSION)?)?)
    }
}

fn versioned(bytes: &[u8], version: u8) -> Result<&[u8], SnapshotError> {
    match bytes.split_first() {
        Some((first, rest)) if *first == version => Ok(rest),
        first => Err(SnapshotError::Version { found: first.map(|(found, _)| *found) }),
    }
}

/// Whether these are the whole and unchanged bytes of a block file.
pub fn is_whole_block(file: &[u8]) -> bool {
    super::block::check(file).is_some()
}

/// Deletes block files that `named` does not name.
fn keep_only(folder: &Path, named: &[String]) -> std::io::Result<()> {
    let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_block = path.extension().is_some_and(|e| e == EXTENSION || e == "new");
        let is_named = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| named.contains(name));
        if is_block && !is_named {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}
