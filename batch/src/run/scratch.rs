//! The scratch directory: sorted runs of partials that do not fit into memory.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
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

/// One run's directory below the scratch directory; made with the first sorted run, deleted with this value.
#[derive(Debug)]
pub(super) struct Scratch {
    root: PathBuf,
    directory: PathBuf,
    held: Mutex<Option<File>>,
    files: AtomicU64,
}

/// A sorted run in the scratch directory: one file per table.
#[derive(Debug)]
pub(super) struct Spilled {
    files: Vec<StoredFile>,
}

impl Scratch {
    /// Nothing is touched yet, but for what dead runs left, which is deleted.
    pub(super) fn new(root: &Path, writer: &WriterId) -> Scratch {
        delete_dead(root);
        Scratch {
            root: root.to_owned(),
            directory: root.join(writer.as_str()),
            held: Mutex::new(None),
            files: AtomicU64::new(0),
        }
    }

    fn make(&self) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            fs::create_dir_all(&self.root).map_err(BatchError::io("create", &self.root))?;
            fs::create_dir_all(&self.directory).map_err(BatchError::io("create", &self.directory))?;
            let path = self.directory.join(LOCK);
            let file = File::create(&path).map_err(BatchError::io("create", &path))?;
            file.lock().map_err(BatchError::io("lock", &path))?;
            *held = Some(file);
        }
        Ok(())
    }

    /// Writes a sorted run; gives it and its length.
    pub(super) fn write(&self, kernel: &CoreKernel, view: &str, partials: &Partials) -> Result<(Spilled, u64)> {
        self.make()?;
        let (mut files, mut written) = (Vec::new(), 0);
        for (i, layout) in kernel.tables().iter().enumerate() {
            let frame = kernel.to_frame(i, partials).map_err(BatchError::pipeline(view))?;
            let spec = TableSpec { name: layout.name.clone(), fingerprint: String::new(), key_columns: 0 };
            let table = EncodedTable::encode(&spec, &columns::to_arrow(&frame)?)?;
            let number = self.files.fetch_add(1, Ordering::Relaxed);
            let path = self.directory.join(format!("{number:08}.parquet"));
            let file = table.describe(path.to_string_lossy().into_owned());
            fs::write(&path, &table.bytes).map_err(BatchError::io("write", &path))?;
            written += file.bytes;
            files.push(file);
        }
        Ok((Spilled { files }, written))
    }
}

impl Spilled {
    /// Reads the run back, and deletes it.
    pub(super) fn read(self, kernel: &CoreKernel, view: &str) -> Result<Partials> {
        let mut frames = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let path = Path::new(&file.path);
            let bytes = Bytes::from(fs::read(path).map_err(BatchError::io("read", path))?);
            if blake3::hash(&bytes).to_hex().as_str() != file.checksum {
                return Err(BatchError::damaged(&file.path, "the checksum does not match"));
            }
            let batches: Result<Vec<_>> = read::batches(file, bytes, None)?.collect();
            frames.push(columns::from_arrow(&batches?)?);
            // What cannot be deleted now goes with the directory.
            let _ = fs::remove_file(path);
        }
        kernel.from_frames(frames, ViewCounts::default()).map_err(BatchError::pipeline(view))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.held.get_mut().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Deletes the directories of runs that are no more: those whose lock is free. Only tidying: errors are left to others.
fn delete_dead(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let directory = entry.path();
        let Ok(file) = File::options().write(true).open(directory.join(LOCK)) else { continue };
        match file.try_lock() {
            Ok(()) => {
                let _ = fs::remove_dir_all(&directory);
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_runs_are_cleaned_and_living_ones_are_not() {
        let root = tempfile::tempdir().unwrap();
        let living = Scratch::new(root.path(), &WriterId::from_u64(1));
        living.make().unwrap();
        let dead = root.path().join(WriterId::from_u64(2).as_str());
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("00000000.parquet"), "x").unwrap();

        let next = Scratch::new(root.path(), &WriterId::from_u64(3));
        assert!(!dead.exists());
        assert!(living.directory.exists());
        drop(next);
        drop(living);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
