//! The changes that mending makes to files. Each is whole or not made, and what is damaged is set aside before it is replaced.

use std::path::{Path, PathBuf};

use super::mend::{Mended, stopped};
use crate::files::Disk;
use crate::{LogError, Result, files};

/// Makes changes, counts them, and notes what was done.
pub(super) struct Hands {
    pub disk: Disk,
    left: Option<u64>,
    pub mended: Vec<Mended>,
}

impl Hands {
    pub fn new(disk: &Disk, stop_after: Option<u64>) -> Self {
        Self { disk: disk.clone(), left: stop_after, mended: Vec::new() }
    }

    /// Before each change.
    pub fn step(&mut self) -> Result<()> {
        match &mut self.left {
            Some(0) => Err(stopped()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub fn note(&mut self, path: &Path, done: &str) {
        self.mended.push(Mended { path: path.to_owned(), done: done.to_owned() });
    }

    pub fn create_dir(&mut self, dir: &Path) -> Result<()> {
        if files::is_dir(&self.disk, dir)? {
            return Ok(());
        }
        self.step()?;
        files::create_dir(&self.disk, dir)?;
        self.sync_above(dir)
    }

    /// Creates or replaces a file.
    pub fn create(&mut self, path: &Path, bytes: &[u8], done: &str) -> Result<()> {
        self.step()?;
        files::create_whole(&self.disk, path, bytes)?;
        self.note(path, done);
        Ok(())
    }

    /// Keeps a copy of a file that is about to be replaced, durably. One that is missing has none.
    pub fn set_aside_copy(&mut self, path: &Path) -> Result<()> {
        let Some(bytes) = files::read(&self.disk, path)? else { return Ok(()) };
        let kept = self.aside(path, Some(&bytes))?;
        if !files::exists(&self.disk, &kept)? {
            self.step()?;
            files::create_whole(&self.disk, &kept, &bytes)?;
            self.sync_above(path)?;
            self.note(path, &format!("the original is kept in {}", kept.display()));
        }
        Ok(())
    }

    /// Gives a file another name, so that it no longer counts. One that is missing is left missing.
    pub fn set_aside(&mut self, path: &Path) -> Result<()> {
        if !files::exists(&self.disk, path)? {
            return Ok(());
        }
        let kept = self.aside(path, None)?;
        self.step()?;
        self.disk.rename(path, &kept).map_err(LogError::io("rename", path))?;
        self.sync_above(path)?;
        self.note(path, &format!("set aside as {}", kept.display()));
        Ok(())
    }

    pub fn sync_dir(&mut self, dir: &Path) -> Result<()> {
        self.step()?;
        files::sync_dir(&self.disk, dir)
    }

    fn sync_above(&self, path: &Path) -> Result<()> {
        path.parent().map_or(Ok(()), |dir| files::sync_dir(&self.disk, dir))
    }

    /// A free name beside a file for what was in it; the one that has these bytes already, if there is one.
    fn aside(&self, path: &Path, bytes: Option<&[u8]>) -> Result<PathBuf> {
        let mut number = 0_u32;
        loop {
            let mut name = path.as_os_str().to_owned();
            name.push(".damaged");
            if number > 0 {
                name.push(format!("-{number}"));
            }
            let name = PathBuf::from(name);
            match files::read(&self.disk, &name)? {
                None => return Ok(name),
                Some(found) if Some(&*found) == bytes => return Ok(name),
                Some(_) => number += 1,
            }
        }
    }
}
