//! The disk, as an edge: what is written, what is synced. The production one here, a simulated one in
//! the tests.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Error;

/// A folder of files. Nothing is durable before it is synced: a file's bytes by [`Disk::sync`], its name
/// by [`Disk::sync_dir`].
pub(super) trait Disk: Send + 'static {
    /// The same folder, for another thread.
    fn another(&self) -> Self;
    /// Names of all files.
    fn list(&mut self) -> io::Result<Vec<String>>;
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>>;
    /// Makes an empty file; one of that name is emptied.
    fn create(&mut self, name: &str) -> io::Result<()>;
    /// Writes in place, or grows the file.
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn len(&mut self, name: &str) -> io::Result<u64>;
    /// `fdatasync`.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    fn sync_dir(&mut self) -> io::Result<()>;
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Which file has the name now: a copy of it is another one. None: there is none.
    fn identity(&mut self, name: &str) -> io::Result<Option<FileId>>;
    /// For errors.
    fn path(&self, name: &str) -> PathBuf;
}

/// A file for as long as it is there, whatever it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// One daemon a folder holds it.
pub(super) const LOCK: &str = "lock";

/// Files that stay open: what is written to alternates between two.
const OPEN_MAX: usize = 2;

/// A real folder, mode 0700, files 0600.
#[derive(Debug)]
pub(super) struct RealDisk {
    dir: PathBuf,
    /// Files that are written to: the segment and the mark, or a snapshot.
    open: Vec<(String, File)>,
}

impl RealDisk {
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let missing = dir.ancestors().take_while(|path| !path.exists()).count();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).and_then(|()| {
            // A folder that is new lasts only when the one that holds it is synced.
            dir.ancestors().skip(1).take(missing).try_for_each(|holder| {
                let is_here = holder.as_os_str().is_empty();
                File::open(if is_here { Path::new(".") } else { holder })?.sync_all()
            })
        });
        made.map_err(|source| Error::Io { path: dir.to_owned(), source })?;
        Ok(Self::at(dir))
    }

    /// A folder as it is: to be looked at.
    pub(super) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), open: Vec::new() }
    }

    /// One daemon a folder: the lock lasts as long as the file is open.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let path = self.dir.join(LOCK);
        let io_error = |source| Error::Io { path: path.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::Locked(self.dir.clone())),
            Err(TryLockError::Error(source)) => Err(io_error(source)),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&File> {
        if self.open.iter().all(|(open, _)| open != name) {
            let file = OpenOptions::new().write(true).open(self.dir.join(name))?;
            if self.open.len() >= OPEN_MAX {
                self.open.remove(0);
            }
            self.open.push((name.to_owned(), file));
        }
        let found = self.open.iter().find(|(open, _)| open == name);
        found.map(|(_, file)| file).ok_or_else(|| io::Error::other("no file is open"))
    }

    fn close(&mut self, name: &str) {
        self.open.retain(|(open, _)| open != name);
    }
}

impl Disk for RealDisk {
    fn another(&self) -> Self {
        Self::at(&self.dir)
    }

    fn list(&mut self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.dir.join(name))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(self.dir.join(name))?;
        drop(file);
        self.close(name);
        Ok(())
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all_at(bytes, offset)
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.dir.join(name))?.len())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.close(from);
        self.close(to);
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.close(name);
        fs::remove_file(self.dir.join(name))
    }

    fn identity(&mut self, name: &str) -> io::Result<Option<FileId>> {
        match fs::metadata(self.dir.join(name)) {
            Ok(found) => Ok(Some(FileId { device: found.dev(), inode: found.ino() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}
