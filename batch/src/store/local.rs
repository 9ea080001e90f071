//! A store in a local directory: what of it is on the disk.
//!
//! Object stores show what is durable. A file system shows what a power failure may still take away: a file whose writer was killed before it
//! synced it, or is about to. So an object gets its name when its contents are durable, and whoever finds the newest one of a folder
//! makes its name durable before anything is built on it: a later number, or the deletion of what it replaces.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use watershed_log::{FileSystem, OpenMode};

use super::layout::numbered;
use crate::error::{BatchError, Result};

/// The directory, and what of it is known to be durable.
pub(super) struct LocalDirectory {
    files: Arc<dyn FileSystem>,
    root: PathBuf,
    /// By folder: the highest number that is.
    settled: Mutex<BTreeMap<&'static str, u64>>,
    /// Whether the directory's own name is, and those of the ones above it.
    is_named: AtomicBool,
}

impl LocalDirectory {
    pub fn new(files: Arc<dyn FileSystem>, root: PathBuf) -> LocalDirectory {
        LocalDirectory { files, root, settled: Mutex::default(), is_named: AtomicBool::new(false) }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates a file, or finds one there ([`io::ErrorKind::AlreadyExists`]). Its contents are durable, its name is once it has been
    /// [synced](Self::sync).
    pub fn create(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(path);
        self.files.create_dir_all(path.parent().unwrap_or(&self.root))?;
        let staged = self.stage(&path, bytes)?;
        let linked = self.files.link(&staged, &path);
        // What cannot be removed now, garbage collection takes away.
        let _ = self.files.remove(&staged);
        linked
    }

    /// Writes a file beside `path` under a name that no object has (`<name>#<n>`), durably.
    fn stage(&self, path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        let mut number = 0_u64;
        loop {
            number += 1;
            let mut staged = path.as_os_str().to_owned();
            staged.push(format!("#{number}"));
            let staged = PathBuf::from(staged);
            let file = match self.files.open(&staged, OpenMode::CreateNew) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened?,
            };
            return match file.write_all_at(bytes, 0).and_then(|()| file.sync_all()) {
                Ok(()) => Ok(staged),
                Err(error) => {
                    let _ = self.files.remove(&staged);
                    Err(error)
                }
            };
        }
    }

    /// Makes a file that this process has written durable, and all names that lead to it.
    pub fn sync(&self, path: &str) -> Result<()> {
        self.sync_within(path)?;
        if !self.is_named.load(Ordering::Acquire) {
            self.sync_above()?;
            self.is_named.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Makes the numbered object durable that was found to be the newest, whoever made it.
    pub fn settle(&self, folder: &'static str, number: u64) -> Result<()> {
        let settled = || self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if settled().get(folder).is_some_and(|&known| number <= known) {
            return Ok(());
        }
        match self.sync_within(&numbered(folder, number)) {
            // Collected since it was found: what took its place is settled when it is found.
            Err(BatchError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            synced => synced?,
        }
        let mut settled = settled();
        let known = settled.entry(folder).or_default();
        *known = number.max(*known);
        Ok(())
    }

    /// Makes the names in a folder durable, those that are gone too.
    pub fn sync_names(&self, folder: &str) -> Result<()> {
        let folder = self.root.join(folder);
        self.files.sync_dir(&folder).map_err(BatchError::io("sync", &folder))
    }

    fn sync_within(&self, path: &str) -> Result<()> {
        let file = self.root.join(path);
        let opened = self.files.open(&file, OpenMode::Read);
        opened.and_then(|opened| opened.sync_all()).map_err(BatchError::io("sync", &file))?;
        for above in file.ancestors().skip(1) {
            self.files.sync_dir(above).map_err(BatchError::io("sync", above))?;
            if above == self.root {
                break;
            }
        }
        Ok(())
    }

    fn sync_above(&self) -> Result<()> {
        for (distance, above) in self.root.ancestors().skip(1).enumerate() {
            match self.files.sync_dir(above) {
                // Far above, there may be directories that this process may pass through and not read. It made none of them.
                Err(error) if distance > 0 && error.kind() == io::ErrorKind::PermissionDenied => break,
                synced => synced.map_err(BatchError::io("sync", above))?,
            }
        }
        Ok(())
    }
}
