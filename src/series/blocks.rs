//! The sealed blocks of a store: which there are, in which files, and the way to what they hold.
//!
//! Files are written whole under another name, then renamed, and synced when a snapshot
//! names them. What is never true: a file that changes once it has its name; one that is deleted while
//! a kept snapshot may name it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::block::{self, Builder, Index, Piece, Row};
use super::block_cache::{Cache, Held};
use super::table::SeriesId;
use crate::number::{u64_from_usize, usize_from_u32};

/// Series whose ids lie together are sealed together: what one tick seals or merges.
pub(crate) const SHARD: u64 = 512;
/// A file that a merge or retention made superfluous goes once this many snapshots were kept after it:
/// two are kept, and one may have been taken before and noted after.
const SNAPSHOTS_AFTER: u64 = 3;

const UNFINISHED: &str = "unfinished.new";

/// One block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Its name, and its rank: of two samples at one time that of the higher holds.
    pub(crate) seq: u64,
    pub(crate) shard: u64,
    /// How often its slots were merged; see `seal.rs`.
    pub(crate) level: u8,
    /// Seconds, `[from, to)`.
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) length: u64,
    n_rows: u64,
}

impl Block {
    pub(crate) fn file_name(&self) -> String {
        format!("{:016x}.{}", self.seq, super::snapshot::EXTENSION)
    }
}

/// A file that nothing reads any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Retired {
    name: String,
    /// Snapshots that had been kept when it retired.
    at: u64,
}

/// A block that gave no sense, and what it was read for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the series block {name} is damaged; what it held is lost")]
pub(crate) struct Damaged {
    pub(crate) name: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Blocks {
    /// Ascending by (shard, from, seq).
    list: Vec<Block>,
    next_seq: u64,
    retired: Vec<Retired>,
    n_snapshots: u64,
    #[serde(skip)]
    disk: Arc<Disk>,
    /// A snapshot may name what is there, so files must wait.
    #[serde(skip)]
    is_named: AtomicBool,
}

/// The way to what blocks hold, for readers that hold no lock of the store. A block that they know of may
/// be merged away meanwhile, and its file deleted: what they find damaged counts if it is still listed.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// None: nothing is ever sealed.
    folder: Option<PathBuf>,
    cache: Cache,
    /// Blocks that were found damaged by readers, for the next tick to take away.
    suspects: Mutex<Vec<u64>>,
    /// Blocks before this one are on disk whatever happens.
    synced_to: AtomicU64,
}

impl Blocks {
    pub(crate) fn set_folder(&mut self, folder: &Path) {
        self.disk = Arc::new(Disk { folder: Some(folder.to_owned()), ..Disk::default() });
    }

    pub(crate) fn has_folder(&self) -> bool {
        self.disk.folder.is_some()
    }

    pub(crate) fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    pub(crate) fn list(&self) -> &[Block] {
        &self.list
    }

    /// Bytes of all blocks on disk.
    pub(crate) fn n_bytes(&self) -> u64 {
        self.list.iter().map(|block| block.length).sum()
    }

    /// Bytes in memory, without what is cached: that has a bound of its own, and differs from run to run.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.list.len() * size_of::<Block>()
    }

    /// Names of the files that are read, and of those that kept snapshots may name.
    pub(crate) fn file_names(&self) -> Vec<String> {
        let retired = self.retired.iter().map(|retired| retired.name.clone());
        self.list.iter().map(Block::file_name).chain(retired).collect()
    }

    /// Writes the file of a block, which nothing reads before it is attached. On an error a file may lie
    /// about that the next start deletes.
    pub(crate) fn write(&mut self, place: Place, builder: Builder) -> std::io::Result<Block> {
        let Some(folder) = &self.disk.folder else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        let n_rows = builder.n_rows();
        let bytes = builder.finish()?;
        let Place { shard, level, from, to } = place;
        let length = u64_from_usize(bytes.len());
        let block = Block { seq: self.next_seq, shard, level, from, to, length, n_rows };
        self.next_seq += 1;
        let unfinished = folder.join(UNFINISHED);
        std::fs::write(&unfinished, &bytes)?;
        std::fs::rename(&unfinished, folder.join(block.file_name()))?;
        Ok(block)
    }

    pub(crate) fn attach(&mut self, blocks: Vec<Block>) {
        self.list.extend(blocks);
        self.list.sort_by_key(|block| (block.shard, block.from, block.seq));
    }

    /// Takes blocks away; their files wait until no snapshot names them.
    pub(crate) fn retire(&mut self, seqs: &[u64]) {
        let (gone, kept): (Vec<Block>, Vec<Block>) = std::mem::take(&mut self.list)
            .into_iter()
            .partition(|block: &Block| seqs.contains(&block.seq));
        self.list = kept;
        self.retired.extend(
            gone.iter().map(|block| Retired { name: block.file_name(), at: self.n_snapshots }),
        );
        if !self.is_named.load(Ordering::Relaxed) {
            self.delete_retired(u64::MAX);
        }
    }

    /// A snapshot is on disk, and of those before it one is kept.
    pub(crate) fn snapshot_kept(&mut self) {
        self.n_snapshots += 1;
        if let Some(up_to) = self.n_snapshots.checked_sub(SNAPSHOTS_AFTER) {
            self.delete_retired(up_to);
        }
    }

    fn delete_retired(&mut self, up_to: u64) {
        let Some(folder) = &self.disk.folder else { return };
        self.retired.retain(|retired| {
            // One that cannot be deleted now is tried again with the next.
            retired.at > up_to
                || std::fs::remove_file(folder.join(&retired.name))
                    .is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound)
        });
    }

    /// The blocks as they are now, for a snapshot: from now on it may name the files.
    pub(crate) fn frozen(&self) -> Self {
        self.is_named.store(true, Ordering::Relaxed);
        Self {
            list: self.list.clone(),
            retired: self.retired.clone(),
            disk: Arc::clone(&self.disk),
            is_named: AtomicBool::new(true),
            ..*self
        }
    }

    /// Brings all files to disk.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        let Some(folder) = &self.disk.folder else { return Ok(()) };
        let from = self.disk.synced_to.load(Ordering::Relaxed);
        let fresh = self.list.iter().filter(|block| block.seq >= from);
        for block in fresh {
            File::open(folder.join(block.file_name()))?.sync_all()?;
        }
        File::open(folder)?.sync_all()?;
        self.disk.synced_to.fetch_max(self.next_seq, Ordering::Relaxed);
        Ok(())
    }

    /// After a restore: takes away what is not there as it was, cuts what is longer. Gives the names.
    pub(crate) fn settle(&mut self) -> std::io::Result<Vec<String>> {
        let Some(folder) = self.disk.folder.clone() else { return Ok(Vec::new()) };
        self.is_named.store(true, Ordering::Relaxed);
        self.disk.synced_to.store(self.next_seq, Ordering::Relaxed);
        let mut lost = Vec::new();
        for block in &self.list {
            let path = folder.join(block.file_name());
            match std::fs::metadata(&path) {
                Ok(held) if held.len() > block.length => {
                    File::options().write(true).open(&path)?.set_len(block.length)?;
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            if self.index(block).is_err() {
                lost.push(block.seq);
            }
        }
        Ok(self.quarantine(&lost))
    }

    /// Takes away what readers found damaged since the last time; gives the names.
    pub(crate) fn quarantine_suspects(&mut self) -> Vec<String> {
        let seqs = std::mem::take(&mut *self.disk.suspects());
        if seqs.is_empty() {
            return Vec::new();
        }
        self.quarantine(&seqs)
    }

    /// Renames damaged files, for people to look at, and forgets them.
    fn quarantine(&mut self, seqs: &[u64]) -> Vec<String> {
        let Some(folder) = &self.disk.folder else { return Vec::new() };
        let (gone, kept): (Vec<Block>, Vec<Block>) = std::mem::take(&mut self.list)
            .into_iter()
            .partition(|block: &Block| seqs.contains(&block.seq));
        self.list = kept;
        let names: Vec<String> = gone.iter().map(Block::file_name).collect();
        for name in &names {
            // A file that is missing cannot be kept aside.
            let _ = std::fs::rename(folder.join(name), folder.join(format!("{name}.damaged")));
        }
        names
    }

    /// The blocks of a shard that end after `from` (seconds), ascending.
    fn after(&self, shard: u64, from: i64) -> impl Iterator<Item = &Block> {
        let at = self.list.partition_point(|block| block.shard < shard);
        let rest = self.list.get(at..).unwrap_or_default();
        rest.iter().take_while(move |block| block.shard == shard).filter(move |b| b.to > from)
    }

    /// Works with a way to the blocks of its own, whose cache goes with it: what is read once keeps nothing
    /// out that rules read every second.
    pub(crate) fn apart<T>(&self, work: impl FnOnce(&Disk) -> T) -> T {
        let apart = Disk { folder: self.disk.folder.clone(), ..Disk::default() };
        let done = work(&apart);
        let found = std::mem::take(&mut *apart.suspects());
        self.disk.suspects().extend(found);
        done
    }

    /// The blocks of a shard that end after `from` (seconds) and begin before `to`, ascending.
    pub(crate) fn of_shard(&self, shard: u64, (from, to): (i64, i64)) -> Arc<[Block]> {
        self.after(shard, from).filter(|block| block.from < to).cloned().collect()
    }

    /// Whether a block of this file name is read at all.
    pub(crate) fn lists(&self, name: &str) -> bool {
        self.list.iter().any(|block| block.file_name() == name)
    }

    pub(crate) fn index(&self, block: &Block) -> Result<Arc<Index>, Damaged> {
        self.disk.index(block)
    }
}

impl Disk {
    /// With nothing read yet.
    #[cfg(test)]
    pub(crate) fn elsewhere(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..Self::default() }
    }

    /// Shows what each of these blocks holds of a series.
    pub(crate) fn read_all<E: From<Damaged>>(
        &self,
        blocks: &[Block],
        id: SeriesId,
        mut show: impl FnMut(&Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        blocks.iter().try_for_each(|block| self.read(block, id, &mut show))
    }

    /// Shows what a block holds of a series.
    pub(crate) fn read<E: From<Damaged>>(
        &self,
        block: &Block,
        id: SeriesId,
        show: &mut impl FnMut(&Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let index = self.index(block)?;
        match index.row(id) {
            Some(row) => show(&Found { disk: self, block, row, index: &index }),
            None => Ok(()),
        }
    }

    pub(crate) fn index(&self, block: &Block) -> Result<Arc<Index>, Damaged> {
        if let Some(Held::Index(index)) = self.cache.get((block.seq, u32::MAX)) {
            return Ok(index);
        }
        let read = || {
            let length = block.length.checked_sub(u64_from_usize(block::TAIL_BYTES))?;
            let mark = self.bytes(block, 0, block::MARK_BYTES)?;
            let tail = self.bytes(block, length, block::TAIL_BYTES)?;
            let piece = block::index_piece(&mark, &tail, block.length)?;
            let index: Index = postcard::from_bytes(&self.piece(block, &piece)?).ok()?;
            (u64_from_usize(index.rows.len()) == block.n_rows).then_some(Arc::new(index))
        };
        let index = read().ok_or_else(|| self.suspect(block))?;
        let size = index.rows.len() * size_of::<Row>();
        self.cache.put((block.seq, u32::MAX), Held::Index(Arc::clone(&index)), size);
        Ok(index)
    }

    fn group(&self, block: &Block, index: &Index, row: &Row) -> Result<Arc<[u8]>, Damaged> {
        let key = (block.seq, row.group());
        if let Some(Held::Group(group)) = self.cache.get(key) {
            return Ok(group);
        }
        let read = || Some(Arc::<[u8]>::from(self.piece(block, index.group(row)?)?));
        let group = read().ok_or_else(|| self.suspect(block))?;
        self.cache.put(key, Held::Group(Arc::clone(&group)), group.len());
        Ok(group)
    }

    fn suspects(&self) -> MutexGuard<'_, Vec<u64>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a block is damaged.
    pub(crate) fn suspect(&self, block: &Block) -> Damaged {
        let mut suspects = self.suspects();
        if !suspects.contains(&block.seq) {
            suspects.push(block.seq);
        }
        Damaged { name: block.file_name() }
    }

    fn piece(&self, block: &Block, piece: &Piece) -> Option<Vec<u8>> {
        piece.open(&self.bytes(block, piece.offset, usize_from_u32(piece.length))?)
    }

    fn bytes(&self, block: &Block, offset: u64, length: usize) -> Option<Vec<u8>> {
        let end = offset.checked_add(u64_from_usize(length))?;
        if end > block.length {
            return None;
        }
        // Files are opened for each read: a store may have more of them than a process may open.
        let mut file = File::open(self.folder.as_ref()?.join(block.file_name())).ok()?;
        file.seek(SeekFrom::Start(offset)).ok()?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// Where a block goes: which series, which merge, which seconds `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) shard: u64,
    pub(crate) level: u8,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// What one block holds of one series.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    disk: &'a Disk,
    block: &'a Block,
    pub(crate) row: &'a Row,
    index: &'a Index,
}

impl Found<'_> {
    /// Reads the payload by `read`, which gives None where it makes no sense.
    pub(crate) fn payload<T>(
        &self,
        read: impl FnOnce(&Row, &[u8]) -> Option<T>,
    ) -> Result<T, Damaged> {
        let group = self.disk.group(self.block, self.index, self.row)?;
        let payload = self.row.payload(&group);
        let held = payload.and_then(|payload| read(self.row, payload));
        held.ok_or_else(|| self.disk.suspect(self.block))
    }
}
