//! Creating files so that they are there whole or not at all, and naming them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{LogError, Offset, Result};

pub(crate) const SEGMENT: &str = "segment";
pub(crate) const INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const TORN: &str = "torn";
pub(crate) const UNFINISHED: &str = "tmp";

pub(crate) fn base_path(dir: &Path, base: Offset, extension: &str) -> PathBuf {
    dir.join(format!("{base:020}.{extension}"))
}

/// The base offset in a file's name, if the name has the given extension and is 20 digits otherwise.
fn base_of(name: &str, extension: &str) -> Option<Offset> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The names in a directory that are valid Unicode; the log makes no others.
pub(crate) fn list(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(LogError::io("list", dir))? {
        let entry = entry.map_err(LogError::io("list", dir))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// The base offsets of the files with this extension, ascending.
pub(crate) fn list_bases(dir: &Path, extension: &str) -> Result<Vec<Offset>> {
    let mut bases: Vec<Offset> = list(dir)?.iter().filter_map(|name| base_of(name, extension)).collect();
    bases.sort_unstable();
    Ok(bases)
}

pub(crate) fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(LogError::io("create", dir))
}

/// Makes names created in or removed from `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    let handle = File::open(dir).map_err(LogError::io("open", dir))?;
    handle.sync_all().map_err(LogError::io("fsync", dir))
}

pub(crate) fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(LogError::io("remove", path))
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match remove(path) {
        Err(error) if error.is_not_found() => Ok(()),
        done => done,
    }
}

/// Creates (or replaces) `path` with `bytes` so that it is there whole or not at all. The file is durable; its name is
/// once the directory has been synced. Returns a handle for reading and writing, placed after `bytes`.
pub(crate) fn create_whole(path: &Path, bytes: &[u8]) -> Result<File> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".");
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&unfinished)
        .map_err(LogError::io("create", &unfinished))?;
    file.write_all(bytes).map_err(LogError::io("write", &unfinished))?;
    file.sync_all().map_err(LogError::io("fsync", &unfinished))?;
    fs::rename(&unfinished, path).map_err(LogError::io("name", path))?;
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
