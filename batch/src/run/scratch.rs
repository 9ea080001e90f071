//! The scratch directory: sorted runs of partials that do not fit into memory.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use watershed_log::{FileHandle, FileSystem, OpenMode};
use watershed_pipelines::{
    partial::{CoreKernel, Partials},
    source::ViewCounts,
};

use crate::{
    columns,
    error::{BatchError, Result},
    manifest::StoredFile,
    store::WriterId,
    table::{
        read,
        write::{EncodedTable, TableSpec},
    },
};

/// Name of the file whose lock says that a run's directory is in use. The lock goes with the process.
const LOCK: &str = "lock";
/// What the names of sorted runs end in.
const RUN: &str = ".parquet";

/// One run's directory below the scratch directory; made with the first sorted run, deleted with this value.
#[derive(Debug)]
pub struct Scratch {
    on: Arc<dyn FileSystem>,
    directory: PathBuf,
    held: Mutex<Option<Arc<dyn FileHandle>>>,
    files: AtomicU64,
}

/// A sorted run in the scratch directory: one file per table.
#[derive(Debug)]
pub struct Spilled {
    on: Arc<dyn FileSystem>,
    files: Vec<StoredFile>,
}

impl Scratch {
    /// The directory of the run `writer` below `root`. Nothing is touched yet, but for what dead runs left, which is deleted.
    pub fn new(on: &Arc<dyn FileSystem>, root: &Path, writer: &WriterId) -> Scratch {
        delete_dead(&**on, root);
        Scratch {
            on: Arc::clone(on),
            directory: root.join(writer.as_str()),
            held: Mutex::new(None),
            files: AtomicU64::new(0),
        }
    }

    fn make(&self) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = Some(self.hold()?);
        }
        Ok(())
    }

    /// Makes the directory and takes its lock. Until the lock is taken, another run may hold this one for dead and delete the
    /// directory: then it is made again.
    fn hold(&self) -> Result<Arc<dyn FileHandle>> {
        let path = self.directory.join(LOCK);
        loop {
            self.on.create_dir_all(&self.directory).map_err(BatchError::io("create", &self.directory))?;
            let file = match self.on.open(&path, OpenMode::Replace) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(BatchError::io("create", &path))?,
            };
            while !file.try_lock(false).map_err(BatchError::io("lock", &path))? {
                std::thread::yield_now();
            }
            match self.on.look_at(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                seen => return seen.map(|_| file).map_err(BatchError::io("look at", &path)),
            }
        }
    }

    /// Writes a sorted run; gives it and its length in bytes. Counts and rejected records are not in it.
    pub fn write(&self, kernel: &CoreKernel, view: &str, partials: &Partials) -> Result<(Spilled, u64)> {
        self.make()?;
        let (mut files, mut written) = (Vec::new(), 0);
        for (i, layout) in kernel.tables().iter().enumerate() {
            let frame = kernel.to_frame(i, partials).map_err(BatchError::pipeline(view))?;
            let spec = TableSpec { name: layout.name.clone(), fingerprint: String::new(), key_columns: 0 };
            let table = EncodedTable::encode(&spec, &columns::to_arrow(&frame)?)?;
            let number = self.files.fetch_add(1, Ordering::Relaxed);
            let path = self.directory.join(format!("{number:08}{RUN}"));
            let file = table.describe(path.to_string_lossy().into_owned());
            let written_to = self.on.open(&path, OpenMode::Replace).map_err(BatchError::io("create", &path))?;
            written_to.write_all_at(&table.bytes, 0).map_err(BatchError::io("write", &path))?;
            written += file.bytes;
            files.push(file);
        }
        Ok((Spilled { on: Arc::clone(&self.on), files }, written))
    }
}

impl Spilled {
    /// Reads the run back, and deletes it.
    pub(super) fn read(self, kernel: &CoreKernel, view: &str) -> Result<Partials> {
        let partials = self.load(kernel, view)?;
        // What cannot be deleted now goes with the directory.
        self.files.iter().for_each(|file| drop(self.on.remove(Path::new(&file.path))));
        Ok(partials)
    }

    /// Reads the run back.
    ///
    /// # Errors
    /// A file that cannot be read, or is not what was written.
    pub fn load(&self, kernel: &CoreKernel, view: &str) -> Result<Partials> {
        let mut frames = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let path = Path::new(&file.path);
            let opened = self.on.open(path, OpenMode::Read).map_err(BatchError::io("open", path))?;
            let bytes = Bytes::from(opened.read_whole().map_err(BatchError::io("read", path))?);
            if blake3::hash(&bytes).to_hex().as_str() != file.checksum {
                return Err(BatchError::damaged(&file.path, "the checksum does not match"));
            }
            let batches: Result<Vec<_>> = read::batches(file, bytes, None)?.collect();
            frames.push(columns::from_arrow(&batches?)?);
        }
        kernel.from_frames(frames, ViewCounts::default()).map_err(BatchError::pipeline(view))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.held.get_mut().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            // What cannot be deleted now is deleted by the next run.
            let _ = delete(&*self.on, &self.directory);
        }
    }
}

/// Deletes a run's directory: the lock last, so that what is left belongs to a dead run.
fn delete(on: &dyn FileSystem, directory: &Path) -> io::Result<()> {
    for name in on.list(directory)?.iter().filter(|name| name.ends_with(RUN)) {
        on.remove(&directory.join(name))?;
    }
    on.remove(&directory.join(LOCK))?;
    on.remove_dir(directory)
}

/// Deletes the directories of runs that are no more: those whose lock is free. Others' directories, a log's with its free lock
/// among them, have other names. Only tidying: errors are left to others.
fn delete_dead(on: &dyn FileSystem, root: &Path) {
    let Ok(names) = on.list(root) else { return };
    for directory in names.iter().filter(|name| WriterId::is_one(name)).map(|name| root.join(name)) {
        // A power failure, or a death while it was deleted, may have left runs without their lock.
        let Ok(lock) = on.open(&directory.join(LOCK), OpenMode::WriteOrCreate) else { continue };
        if lock.try_lock(false).is_ok_and(|locked| locked) {
            let _ = delete(on, &directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use watershed_log::OperatingSystem;

    use super::*;

    #[test]
    fn dead_runs_are_cleaned_and_living_ones_are_not() {
        let root = tempfile::tempdir().unwrap();
        let on: Arc<dyn FileSystem> = Arc::new(OperatingSystem);
        let living = Scratch::new(&on, root.path(), &WriterId::from_u64(1));
        living.make().unwrap();
        let dead = root.path().join(WriterId::from_u64(2).as_str());
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("00000000.parquet"), "x").unwrap();

        let lockless = root.path().join(WriterId::from_u64(4).as_str());
        fs::create_dir(&lockless).unwrap();
        fs::write(lockless.join("00000000.parquet"), "x").unwrap();
        let other = root.path().join("log");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(LOCK), "").unwrap();
        let next = Scratch::new(&on, root.path(), &WriterId::from_u64(3));
        assert!(!dead.exists() && !lockless.exists());
        assert!(living.directory.exists());
        drop(next);
        drop(living);
        let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, std::slice::from_ref(&other));
        assert!(other.join(LOCK).exists(), "what is not a run's is left alone");
    }
}
