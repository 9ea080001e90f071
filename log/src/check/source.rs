//! Checking one source: its file, and its partitions.

use std::path::Path;

use super::{Expected, LogCheck, LogDamage, list, partition};
use crate::files::Disk;
use crate::format::{SEGMENT_HEADER_BYTES, decode_source};
use crate::sources::SOURCE_FILE;
use crate::{Result, files};

/// The sources of a log: those in its directory, and those that others know to have been there.
pub(super) fn names(disk: &Disk, dir: &Path, expected: &Expected) -> Result<Vec<String>> {
    let in_directory =
        |name: &String| files::check_source_name(name).is_ok() && files::is_dir(disk, &dir.join(name)).unwrap_or(true);
    let mut names: Vec<String> = list(disk, dir)?.into_iter().filter(in_directory).collect();
    let known = expected.partitions.keys().filter(|name| files::check_source_name(name).is_ok());
    names.extend(known.cloned());
    names.sort();
    names.dedup();
    Ok(names)
}

pub(super) fn check(
    disk: &Disk,
    dir: &Path,
    source: &str,
    expected: &Expected,
    written: bool,
    check: &mut LogCheck,
) -> Result<()> {
    let (dir, of) = (dir.join(source), (source, None));
    let path = dir.join(SOURCE_FILE);
    let bytes = files::read(disk, &path)?;
    let known = expected.partitions.get(source).copied();
    let partitions = match bytes.as_deref().map(|bytes| decode_source(&path, source, bytes)) {
        Some(Ok(partitions)) => partitions,
        Some(Err(error)) => {
            let partitions = guess(disk, &dir, known)?;
            check.find(of, &path, 0, LogDamage::Source { partitions }, error.reason());
            partitions
        }
        None if known.is_none() && !has_records(disk, &dir)? => {
            if !written {
                check.find(of, &dir, 0, LogDamage::Leftover, "a source whose creation was not finished");
            }
            return Ok(());
        }
        None => {
            let partitions = guess(disk, &dir, known)?;
            check.find(of, &path, 0, LogDamage::Source { partitions }, "the file is missing");
            partitions
        }
    };
    check.files += 1;
    check.bytes += bytes.map_or(0, |bytes| bytes.len() as u64);
    for number in 0..partitions {
        partition::check(disk, &dir.join(number.to_string()), source, number, expected, written, check)?;
    }
    let is_partition = |name: &str| name.parse::<u32>().is_ok_and(|n| n < partitions && n.to_string() == name);
    for name in list(disk, &dir)?.into_iter().filter(|name| name != SOURCE_FILE && !is_partition(name)) {
        check.find(of, &dir.join(&name), 0, LogDamage::Leftover, leftover(&name));
    }
    Ok(())
}

/// What a file that is none of the log's own is.
pub(super) fn leftover(name: &str) -> &'static str {
    match name {
        _ if name.contains(".damaged") => "set aside when the log was mended",
        _ if name.ends_with(".tmp") => "a dead writer had not finished it; the next one removes it",
        _ if name.ends_with(".torn") => "a torn tail that recovery cut off: never acknowledged",
        _ => "not a file of the log",
    }
}

/// The number of partitions that others know, or that there are directories for.
fn guess(disk: &Disk, dir: &Path, known: Option<u32>) -> Result<u32> {
    let highest = list(disk, dir)?.iter().filter_map(|name| name.parse::<u32>().ok()).max();
    Ok(known.unwrap_or(0).max(highest.map_or(0, |highest| highest + 1)).max(1))
}

/// Whether a source without its file has more than an unfinished creation leaves.
fn has_records(disk: &Disk, dir: &Path) -> Result<bool> {
    for name in list(disk, dir)?.into_iter().filter(|name| name.parse::<u32>().is_ok()) {
        let dir = dir.join(name);
        for base in files::list_bases(disk, &dir, files::SEGMENT)? {
            let bytes = files::read(disk, &files::base_path(&dir, base, files::SEGMENT))?;
            if base > 0 || bytes.is_some_and(|bytes| bytes.len() > SEGMENT_HEADER_BYTES) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
