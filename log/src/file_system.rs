//! The machine as the log sees it: files, their locks, and which processes run. Everything the log does to a disk goes
//! through here, so that tests can put a disk of their own in its place ([`simulation`](crate::simulation)).

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must be there.
    Read,
    /// For reading and writing; it must be there.
    Write,
    /// For reading and writing; created if need be, else kept as it is.
    WriteOrCreate,
    /// For reading and writing; created, or emptied if it is there.
    Replace,
    /// For reading and writing; it must not be there.
    CreateNew,
}

/// What is known about a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Its size.
    pub bytes: u64,
}

/// Directories and names. What is created, renamed or removed is durable once its directory has been synced.
///
/// Errors are those of the operating system; what is missing is [`io::ErrorKind::NotFound`].
pub trait FileSystem: Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn FileHandle>>;

    /// Looks at a file or directory.
    fn look_at(&self, path: &Path) -> io::Result<FileInfo>;

    /// The names in a directory that are valid Unicode, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a directory and those above it, as far as they are missing.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file another name in the same directory, in one step; a file that has the name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file one more name in the same directory, in one step; [`io::ErrorKind::AlreadyExists`] if a file has it.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Those who have it open keep it.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory that is empty.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names created in or removed from a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The number of this process.
    fn process_id(&self) -> u32;

    /// Whether a process runs, where the system tells; else it is taken to.
    fn is_running(&self, process_id: u32) -> bool;
}

/// An open file. Closed when dropped, which also gives up its lock.
pub trait FileHandle: Debug + Send + Sync {
    /// Reads into `buffer` from byte `at` on; returns how much, 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes at byte `at`; returns how much. Does not move the place of [`FileHandle::write_vectored`].
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;

    /// Writes the slices one after the other at this handle's place, which moves on; returns how much.
    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sets this handle's place. It is 0 at first.
    fn seek(&self, at: u64) -> io::Result<()>;

    /// Makes the contents durable, and the size (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the contents durable, and all that is known about the file (`fsync`).
    fn sync_all(&self) -> io::Result<()>;

    /// The file's size.
    fn bytes(&self) -> io::Result<u64>;

    /// Cuts the file, or extends it by zeros.
    fn set_bytes(&self, bytes: u64) -> io::Result<()>;

    /// Takes the file's lock, shared with other readers or alone, if nobody holds it otherwise. Returns whether it could.
    fn try_lock(&self, shared: bool) -> io::Result<bool>;

    /// Gives the lock up.
    fn unlock(&self) -> io::Result<()>;

    /// All of the file.
    fn read_whole(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes()? as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.read_at(&mut bytes[filled..], filled as u64) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Writes all of `bytes` at byte `at`.
    fn write_all_at(&self, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => (bytes, at) = (&bytes[written..], at + written as u64),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads until `buffer` is full or the file ends; returns how much.
pub(crate) fn read_fully(file: &dyn FileHandle, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Fills `buffer`; a file that ends before is an error.
pub(crate) fn read_exact(file: &dyn FileHandle, buffer: &mut [u8], at: u64) -> io::Result<()> {
    let filled = read_fully(file, buffer, at)?;
    if filled == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes all of the slices at the handle's place.
pub(crate) fn write_all(file: &dyn FileHandle, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty ones at the beginning would look like a disk that takes nothing.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The files of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OperatingSystem;

impl FileSystem for OperatingSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn FileHandle>> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read);
        match mode {
            OpenMode::Read | OpenMode::Write => {}
            OpenMode::WriteOrCreate => _ = options.create(true).truncate(false),
            OpenMode::Replace => _ = options.create(true).truncate(true),
            OpenMode::CreateNew => _ = options.create_new(true),
        }
        Ok(Arc::new(options.open(path)?))
    }

    fn look_at(&self, path: &Path) -> io::Result<FileInfo> {
        let found = fs::metadata(path)?;
        Ok(FileInfo { is_dir: found.is_dir(), bytes: found.len() })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn process_id(&self) -> u32 {
        std::process::id()
    }

    fn is_running(&self, process_id: u32) -> bool {
        !Path::new("/proc/self").exists() || Path::new(&format!("/proc/{process_id}")).exists()
    }
}

impl FileHandle for File {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, at)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut file = self;
        Write::write_vectored(&mut file, slices)
    }

    fn seek(&self, at: u64) -> io::Result<()> {
        let mut file = self;
        Seek::seek(&mut file, SeekFrom::Start(at)).map(drop)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn try_lock(&self, shared: bool) -> io::Result<bool> {
        match if shared { self.try_lock_shared() } else { File::try_lock(self) } {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        File::unlock(self)
    }
}
