//! One writer: a lock that the operating system drops when the process dies, and who holds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::files::{Disk, OpenFile};
use crate::{FileSystem, LogError, OpenMode, OperatingSystem, Result, files};

/// A prober holds the lock, shared, for an instant. The bound is far beyond what that can take.
const ATTEMPTS_MAX: usize = 10_000;

/// The process that writes to a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Its process id.
    pub pid: u32,
    /// The socket on which it takes requests, if it has one.
    pub socket: Option<PathBuf>,
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

/// Who writes to the log in `dir` at this moment, or `None`. What a dead process left in the file does not count: the lock
/// itself is asked.
pub fn lock_holder(dir: impl AsRef<Path>) -> Result<Option<LockHolder>> {
    lock_holder_on(&(Arc::new(OperatingSystem) as Arc<dyn FileSystem>), dir)
}

/// The same, of a log whose files are elsewhere than with the operating system.
pub fn lock_holder_on(files: &Arc<dyn FileSystem>, dir: impl AsRef<Path>) -> Result<Option<LockHolder>> {
    let path = lock_path(dir.as_ref());
    let file = match files.open(&path, OpenMode::Read) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(LogError::io("open", &path))?,
    };
    for _ in 0..ATTEMPTS_MAX {
        if file.try_lock(true).map_err(LogError::io("lock", &path))? {
            return Ok(None);
        }
        // The holder writes its name right after taking the lock; until then the file is empty or names a dead process.
        if let Some(holder) = read_holder(files, &path).filter(|holder| files.is_running(holder.pid)) {
            return Ok(Some(holder));
        }
        std::thread::yield_now();
    }
    let reason = "the log is locked, but the lock file does not say by whom";
    Err(LogError::damaged(&path, 0, reason))
}

fn read_holder(disk: &Disk, path: &Path) -> Option<LockHolder> {
    serde_json::from_slice(&files::read(disk, path).ok()??).ok()
}

/// The writer's lock, held until dropped.
#[derive(Debug)]
pub(crate) struct WriterLock {
    disk: Disk,
    file: OpenFile,
    path: PathBuf,
}

impl WriterLock {
    pub fn take(disk: &Disk, dir: &Path, socket: Option<&Path>) -> Result<Self> {
        let path = lock_path(dir);
        let file = files::open(disk, &path, OpenMode::WriteOrCreate)?;
        lock_exclusively(disk, dir, &path, &file)?;
        let lock = Self { disk: disk.clone(), file, path };
        lock.announce(socket)?;
        Ok(lock)
    }

    /// Says in the lock file who holds it and where to talk to it.
    pub fn announce(&self, socket: Option<&Path>) -> Result<()> {
        let holder = LockHolder { pid: self.disk.process_id(), socket: socket.map(Path::to_owned) };
        let json = serde_json::to_vec(&holder)
            .map_err(|error| LogError::Invalid { what: "the control socket's path", reason: error.to_string() })?;
        self.file.set_bytes(0).map_err(LogError::io("truncate", &self.path))?;
        self.file.write_all_at(&json, 0).map_err(LogError::io("write", &self.path))
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        if let Err(error) = self.file.set_bytes(0) {
            tracing::warn!(path = %self.path.display(), %error, "could not empty the lock file");
        }
    }
}

fn lock_exclusively(disk: &Disk, dir: &Path, path: &Path, file: &OpenFile) -> Result<()> {
    let locked = || LogError::Locked { dir: dir.to_owned(), pid: read_holder(disk, path).map(|holder| holder.pid) };
    for _ in 0..ATTEMPTS_MAX {
        if file.try_lock(false).map_err(LogError::io("lock", path))? {
            return Ok(());
        }
        // Someone looking who holds the lock takes it shared for an instant: that is no reason to give up. Nor is a lock that
        // nobody says to hold: its holder is about to say so, or has given it up while it starts another process, which
        // has the file open until it runs a program of its own.
        if file.try_lock(true).map_err(LogError::io("lock", path))? {
            file.unlock().map_err(LogError::io("unlock", path))?;
        } else if read_holder(disk, path).is_some_and(|holder| disk.is_running(holder.pid)) {
            return Err(locked());
        }
        std::thread::yield_now();
    }
    Err(locked())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn take(dir: &Path, socket: Option<&Path>) -> Result<WriterLock> {
        WriterLock::take(&(Arc::new(OperatingSystem) as Disk), dir, socket)
    }

    #[test]
    fn the_holder_is_named_while_it_holds_and_not_after() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(lock_holder(dir.path()).unwrap(), None);
        let lock = take(dir.path(), Some(Path::new("/run/w.sock"))).unwrap();
        let me = LockHolder { pid: std::process::id(), socket: Some("/run/w.sock".into()) };
        assert_eq!(lock_holder(dir.path()).unwrap(), Some(me));
        let second = take(dir.path(), None).unwrap_err();
        assert!(matches!(second, LogError::Locked { pid: Some(pid), .. } if pid == std::process::id()));
        lock.announce(None).unwrap();
        assert_eq!(lock_holder(dir.path()).unwrap().unwrap().socket, None);
        drop(lock);
        assert_eq!(lock_holder(dir.path()).unwrap(), None);
        take(dir.path(), None).unwrap();
    }

    #[test]
    fn what_a_dead_process_left_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(lock_path(dir.path()), br#"{"pid":1,"socket":null}"#).unwrap();
        assert_eq!(lock_holder(dir.path()).unwrap(), None);
        take(dir.path(), None).unwrap();
    }

    #[test]
    fn a_lock_that_a_starting_process_has_inherited_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..300 {
            let lock = take(dir.path(), None).unwrap();
            // As a process has it between its start and its own program.
            let inherited = lock.file.clone();
            drop(lock);
            let begin = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    begin.wait();
                    std::thread::yield_now();
                    drop(inherited);
                });
                begin.wait();
                take(dir.path(), None).unwrap();
            });
        }
    }

    #[test]
    fn looking_does_not_keep_a_writer_out() {
        let dir = tempfile::tempdir().unwrap();
        take(dir.path(), None).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    lock_holder(dir.path()).unwrap();
                }
            });
            let taken: Vec<bool> = (0..200).map(|_| take(dir.path(), None).is_ok()).collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(taken.into_iter().all(|taken| taken));
        });
    }
}
