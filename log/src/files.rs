//! Creating files so that they are there whole or not at all, and naming them.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::file_system::write_all;
use crate::{FileHandle, FileSystem, LogError, Offset, OpenMode, Result};

/// Where the log's files are.
pub(crate) type Disk = Arc<dyn FileSystem>;
/// An open file of the log.
pub(crate) type OpenFile = Arc<dyn FileHandle>;

pub(crate) const SEGMENT: &str = "segment";
pub(crate) const INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const TORN: &str = "torn";
pub(crate) const UNFINISHED: &str = "tmp";

pub(crate) fn base_path(dir: &Path, base: Offset, extension: &str) -> PathBuf {
    dir.join(format!("{base:020}.{extension}"))
}

/// The base offset in a file's name, if the name has the given extension and is 20 digits otherwise.
pub(crate) fn base_of(name: &str, extension: &str) -> Option<Offset> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The names in a directory that are valid Unicode; the log makes no others.
pub(crate) fn list(disk: &Disk, dir: &Path) -> Result<Vec<String>> {
    disk.list(dir).map_err(LogError::io("list", dir))
}

/// The base offsets of the files with this extension, ascending.
pub(crate) fn list_bases(disk: &Disk, dir: &Path, extension: &str) -> Result<Vec<Offset>> {
    let mut bases: Vec<Offset> = list(disk, dir)?.iter().filter_map(|name| base_of(name, extension)).collect();
    bases.sort_unstable();
    Ok(bases)
}

pub(crate) fn create_dir(disk: &Disk, dir: &Path) -> Result<()> {
    disk.create_dir_all(dir).map_err(LogError::io("create", dir))
}

/// Makes names created in or removed from `dir` durable.
pub(crate) fn sync_dir(disk: &Disk, dir: &Path) -> Result<()> {
    disk.sync_dir(dir).map_err(LogError::io("fsync", dir))
}

/// Makes the name of `dir` durable, and those of the directories above it.
pub(crate) fn sync_above(disk: &Disk, dir: &Path) -> Result<()> {
    let dir = std::path::absolute(dir).map_err(LogError::io("find", dir))?;
    for (distance, above) in dir.ancestors().skip(1).enumerate() {
        match disk.sync_dir(above) {
            // Far above, there may be directories that this process may pass through and not read. It made none of them.
            Err(error) if distance > 0 && error.kind() == io::ErrorKind::PermissionDenied => break,
            synced => synced.map_err(LogError::io("fsync", above))?,
        }
    }
    Ok(())
}

pub(crate) fn open(disk: &Disk, path: &Path, mode: OpenMode) -> Result<OpenFile> {
    disk.open(path, mode).map_err(LogError::io("open", path))
}

/// Whether there is a file or a directory of this name. That it cannot be told is an error: what is there must not be taken
/// for missing and made anew.
pub(crate) fn exists(disk: &Disk, path: &Path) -> Result<bool> {
    match disk.look_at(path) {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(LogError::io("look at", path)(error)),
    }
}

/// Whether there is a directory of this name.
pub(crate) fn is_dir(disk: &Disk, path: &Path) -> Result<bool> {
    match disk.look_at(path) {
        Ok(found) => Ok(found.is_dir),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(LogError::io("look at", path)(error)),
    }
}

/// The size of a file.
pub(crate) fn size(disk: &Disk, path: &Path) -> Result<u64> {
    Ok(disk.look_at(path).map_err(LogError::io("look at", path))?.bytes)
}

/// A whole file; `None` if there is none.
pub(crate) fn read(disk: &Disk, path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Err(error) if is_missing(&error) => return Ok(None),
        opened => opened.map_err(LogError::io("open", path))?,
    };
    file.read_whole().map_err(LogError::io("read", path)).map(Some)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there(disk: &Disk, path: &Path) -> Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(LogError::io("remove", path)),
    }
}

/// Creates (or replaces) `path` with `bytes` so that it is there whole or not at all. The file is durable; its name is
/// once the directory has been synced. Returns a handle for reading and writing, placed after `bytes`.
pub(crate) fn create_whole(disk: &Disk, path: &Path, bytes: &[u8]) -> Result<OpenFile> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".");
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let file = disk.open(&unfinished, OpenMode::Replace).map_err(LogError::io("create", &unfinished))?;
    write_all(&*file, &mut [IoSlice::new(bytes)]).map_err(LogError::io("write", &unfinished))?;
    file.sync_all().map_err(LogError::io("fsync", &unfinished))?;
    disk.rename(&unfinished, path).map_err(LogError::io("name", path))?;
    Ok(file)
}

/// Whether a source may have this name: it becomes a directory's name.
pub(crate) fn check_source_name(name: &str) -> Result<()> {
    let accepted = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let first_fits = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if first_fits && name.len() <= 128 && name.bytes().all(accepted) && !name.ends_with(".tmp") && name != "lock" {
        return Ok(());
    }
    let reason = format!(
        "{name:?}: use 1 to 128 ASCII letters, digits, '_', '-' or '.', beginning with a letter, a digit or '_'; not \"lock\" \
         and not ending in \".tmp\""
    );
    Err(LogError::Invalid { what: "the source's name", reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_names_cannot_leave_the_directory() {
        for good in ["payments", "a", "_x", "eu.payments-2", "2024"] {
            check_source_name(good).unwrap();
        }
        let long = "x".repeat(129);
        for bad in ["", ".", "..", "../x", "a/b", "/a", "a\\b", "a\0b", "-a", ".a", "a b", "é", "a.tmp", "lock", &long]
        {
            assert!(matches!(check_source_name(bad), Err(LogError::Invalid { .. })), "{bad:?}");
        }
    }

    #[test]
    fn only_full_names_have_a_base() {
        assert_eq!(base_of("00000000000000000042.segment", SEGMENT), Some(42));
        for name in ["42.segment", "00000000000000000042.index", "00000000000000000042-99.torn", "x.segment"] {
            assert_eq!(base_of(name, SEGMENT), None, "{name}");
        }
        assert_eq!(base_of("+0000000000000000042.segment", SEGMENT), None);
    }
}
