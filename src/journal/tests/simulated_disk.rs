//! A disk that forgets, as disks do: what was not synced may be gone after a power cut, in part or whole.
//!
//! What comes in: the journal's calls. What goes out: what a kernel would answer, and after
//! [`Platter::cut_power`] what a real disk could hold. Never does it lose what was synced, unless told to.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::disk::{Disk, FileId};

/// What this disk does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flaw {
    #[default]
    None,
    /// Says that it synced, and did not.
    SyncDoesNothing,
    /// Says that it synced the directory, and did not.
    DirectoryIsForgotten,
}

/// The operation, counted from 0, that does not succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The power goes: this operation and every one after it fail, its effect may have begun.
    PowerGoesAt(u64),
    /// The first sync of a file from this operation on fails, once.
    SyncFailsFrom(u64),
    /// The first write from this operation on writes half and fails, once.
    WriteFailsFrom(u64),
    /// The same for want of space, which the second try finds.
    NoSpaceFrom(u64),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    writes: Vec<Write>,
    /// After a failed sync the kernel holds the pages for clean: no later sync writes them.
    forgotten: bool,
}

#[derive(Clone, Debug)]
struct Write {
    offset: usize,
    bytes: Vec<u8>,
}

/// Bytes that reach the disk together or not at all; small, so that records are torn.
const SECTOR_BYTES: usize = 16;

impl Inode {
    fn holding(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), durable: bytes.to_vec(), ..Self::default() }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.bytes, offset, bytes);
        self.writes.push(Write { offset, bytes: bytes.to_vec() });
    }

    /// Of what was not synced, a part survives: a beginning of each write, or any of its sectors.
    fn cut_power(&mut self, dice: &mut Dice) {
        let mut left = std::mem::take(&mut self.durable);
        for write in std::mem::take(&mut self.writes) {
            let kept = dice.roll(write.bytes.len() + 1);
            let in_order = dice.roll(2) == 0;
            for (i, sector) in write.bytes.chunks(SECTOR_BYTES).enumerate() {
                let offset = i * SECTOR_BYTES;
                if in_order && offset < kept {
                    let end = sector.len().min(kept - offset);
                    put(&mut left, write.offset + offset, &sector[..end]);
                } else if !in_order && dice.roll(2) == 0 {
                    put(&mut left, write.offset + offset, sector);
                }
            }
        }
        // The length may be there where the bytes are not.
        if dice.roll(4) == 0 && left.len() < self.bytes.len() {
            left.resize(self.bytes.len(), 0);
        }
        *self = Self::holding(&left);
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

/// Whether an operation fails, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fails {
    No,
    Once(Fault),
}

#[derive(Clone, Debug)]
enum Change {
    Link(String, usize),
    Unlink(String),
    Rename { from: String, to: String, inode: usize },
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, inode) => drop(names.insert(name.clone(), *inode)),
            Self::Unlink(name) => drop(names.remove(name)),
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

/// Everything that the disk holds, in its cache and for good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Platter {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    flaw: Flaw,
    pub(crate) fault: Fault,
    pub(crate) operations: u64,
}

impl Platter {
    /// An empty disk with this flaw and this fault.
    pub(super) fn with(flaw: Flaw, fault: Fault) -> Self {
        Self { flaw, fault, ..Self::default() }
    }

    /// Names and bytes as a program sees them now.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.names
            .iter()
            .map(|(name, inode)| (name.clone(), self.inodes[*inode].bytes.clone()))
            .collect()
    }

    /// A disk that holds these files for good.
    pub(super) fn holding(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut platter = Self::default();
        for (name, bytes) in files {
            platter.names.insert(name.clone(), platter.inodes.len());
            platter.inodes.push(Inode::holding(bytes));
        }
        platter.durable_names = platter.names.clone();
        platter
    }

    /// What is left after the power went: what was synced, any part of the writes that were not, any
    /// of the changes of the directory that were not. Where a file had grown, zeros may stand for what
    /// was not written.
    pub(crate) fn cut_power(&mut self, seed: u64) {
        let mut dice = Dice(seed);
        let mut names = self.durable_names.clone();
        for change in &self.changes {
            if dice.roll(2) == 0 {
                change.apply(&mut names);
            }
        }
        for inode in &mut self.inodes {
            inode.cut_power(&mut dice);
        }
        self.durable_names.clone_from(&names);
        self.names = names;
        self.changes.clear();
        self.fault = Fault::None;
    }

    fn inode(&mut self, name: &str) -> io::Result<&mut Inode> {
        let inode = *self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.inodes[inode])
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    /// Counts one operation; true if the power is gone when it ends.
    fn power_goes(&mut self) -> bool {
        let now = self.operations;
        self.operations += 1;
        matches!(self.fault, Fault::PowerGoesAt(at) if now >= at)
    }

    /// Once, for the fault that was asked for.
    fn fails(&mut self, is_this: impl Fn(Fault) -> Option<u64>) -> Fails {
        if is_this(self.fault).is_some_and(|from| self.operations > from) {
            return Fails::Once(std::mem::take(&mut self.fault));
        }
        Fails::No
    }

    /// True if the power was gone before the operation began: then it has no effect at all.
    fn is_dark(&self) -> bool {
        matches!(self.fault, Fault::PowerGoesAt(at) if self.operations > at)
    }
}

/// The journal's handle of a [`Platter`], which outlives it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<Platter>>);

impl SimulatedDisk {
    pub(super) fn new(platter: Platter) -> Self {
        Self(Arc::new(Mutex::new(platter)))
    }

    pub(crate) fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    /// One operation: none where the power is gone already; begun and unanswered where it goes now.
    fn operate<R>(&self, run: impl FnOnce(&mut Platter) -> io::Result<R>) -> io::Result<R> {
        let mut platter = self.platter();
        if platter.is_dark() {
            return Err(io::Error::other("no power"));
        }
        let is_last = platter.power_goes();
        let done = run(&mut platter);
        if is_last { Err(io::Error::other("the power went")) } else { done }
    }
}

impl Disk for SimulatedDisk {
    fn another(&self) -> Self {
        self.clone()
    }

    fn list(&mut self) -> io::Result<Vec<String>> {
        self.operate(|platter| Ok(platter.names.keys().cloned().collect()))
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.operate(|platter| Ok(platter.inode(name)?.bytes.clone()))
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.operate(|platter| {
            platter.inodes.push(Inode::default());
            platter.change(Change::Link(name.to_owned(), platter.inodes.len() - 1));
            Ok(())
        })
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.operate(|platter| {
            let fails = platter.fails(|fault| match fault {
                Fault::WriteFailsFrom(from) | Fault::NoSpaceFrom(from) => Some(from),
                _ => None,
            });
            let written = if fails == Fails::No { bytes.len() } else { bytes.len() / 2 };
            platter.inode(name)?.write(offset, &bytes[..written]);
            match fails {
                Fails::No => Ok(()),
                Fails::Once(Fault::NoSpaceFrom(_)) => Err(io::ErrorKind::StorageFull.into()),
                Fails::Once(_) => Err(io::Error::other("input/output error")),
            }
        })
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        let platter = self.platter();
        let inode = *platter.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(u64::try_from(platter.inodes[inode].bytes.len()).unwrap())
    }

    fn identity(&mut self, name: &str) -> io::Result<Option<FileId>> {
        let inode = self.platter().names.get(name).map(|inode| u64::try_from(*inode).unwrap());
        Ok(inode.map(|inode| FileId { device: 0, inode }))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.operate(|platter| {
            // A sync that the power interrupts has proven nothing: the bytes stay in doubt.
            let is_cut = matches!(platter.fault, Fault::PowerGoesAt(at) if platter.operations > at);
            let fails = platter.fails(|fault| match fault {
                Fault::SyncFailsFrom(from) => Some(from),
                _ => None,
            });
            let flaw = platter.flaw;
            let inode = platter.inode(name)?;
            if fails != Fails::No {
                inode.forgotten = true;
                return Err(io::Error::other("input/output error"));
            }
            if flaw != Flaw::SyncDoesNothing && !inode.forgotten && !is_cut {
                inode.durable.clone_from(&inode.bytes);
                inode.writes.clear();
            }
            Ok(())
        })
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.operate(|platter| {
            let is_cut = matches!(platter.fault, Fault::PowerGoesAt(at) if platter.operations > at);
            if platter.flaw == Flaw::None && !is_cut {
                platter.durable_names = platter.names.clone();
                platter.changes.clear();
            }
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.operate(|platter| {
            let inode = *platter.names.get(from).ok_or(io::ErrorKind::NotFound)?;
            platter.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), inode });
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.operate(|platter| {
            platter.inode(name)?;
            platter.change(Change::Unlink(name.to_owned()));
            Ok(())
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/journal").join(name)
    }
}

/// Even enough for choosing what survives (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014); the same from the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of 0 to `sides` - 1.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    }
}
