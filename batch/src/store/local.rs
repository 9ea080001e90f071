//! A store in a local directory: what of it is on the disk.
//!
//! Object stores show what is durable. A file system shows what a power failure may still take away: a file whose writer was killed before it
//! synced it, or is about to. So an object gets its name when its contents are durable, and whoever finds the newest one of a folder
//! makes its name durable before anything is built on it: a later number, or the deletion of what it replaces.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    /// Directories in which this process has written files whose names may not be.
    written: Mutex<BTreeSet<PathBuf>>,
}

impl LocalDirectory {
    pub fn new(files: Arc<dyn FileSystem>, root: PathBuf) -> LocalDirectory {
        let is_named = AtomicBool::new(false);
        LocalDirectory { files, root, settled: Mutex::default(), is_named, written: Mutex::default() }
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

    /// Makes the contents of a file durable that this process has written. Its name is once [`Self::sync_written`] has been done, which
    /// takes each directory once, however many files were written in it.
    pub fn sync_contents(&self, path: &str) -> Result<()> {
        let file = self.sync_file(path)?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend(self.above(&file).map(Path::to_owned));
        Ok(())
    }

    /// Makes the names of all files durable whose contents were synced alone. Nothing may be created before that names one of them.
    pub fn sync_written(&self) -> Result<()> {
        // Held to the end: who finds nothing left to sync may rely on it.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for directory in written.iter() {
            match self.files.sync_dir(directory) {
                // An attempt was given up, and its files are gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                synced => synced.map_err(BatchError::io("sync", directory))?,
            }
        }
        written.clear();
        Ok(())
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
        let file = self.sync_file(path)?;
        self.above(&file).try_for_each(|above| self.files.sync_dir(above).map_err(BatchError::io("sync", above)))
    }

    /// Makes a file's contents durable. Returns where it is.
    fn sync_file(&self, path: &str) -> Result<PathBuf> {
        let file = self.root.join(path);
        let opened = self.files.open(&file, OpenMode::Read);
        opened.and_then(|opened| opened.sync_all()).map_err(BatchError::io("sync", &file))?;
        Ok(file)
    }

    /// The directories that lead to a file, down from its own to the root.
    fn above<'a>(&'a self, file: &'a Path) -> impl Iterator<Item = &'a Path> {
        file.ancestors().skip(1).take_while(|above| above.starts_with(&self.root))
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
