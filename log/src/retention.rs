//! Deleting sealed segments, oldest first.
//!
//! Append times of a partition never decrease, also when no record is left to tell the last one. So before the last record is
//! deleted, its append time is written to a file of its own, `lasttime`: 8 bytes of microseconds (little-endian), then their
//! CRC-32C.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::index::Summary;
use crate::partition::Partition;
use crate::segment::Segment;
use crate::{Deleted, LogError, Position, Result, files};

/// Deletes the oldest segments of a partition that are sealed, lie below `below` and hold nothing appended at
/// `appended_before_micros` or later.
pub(crate) fn delete_oldest(
    partition: &Partition,
    below: &Position,
    appended_before_micros: i64,
    deleted: &mut Vec<Deleted>,
) -> Result<()> {
    let keep_from = below.partition(&partition.source, partition.partition);
    let bases = partition.bases();
    let mut gone: Option<Deleted> = None;
    for pair in bases.windows(2) {
        let (base, end) = (pair[0], pair[1]);
        if end > keep_from {
            break;
        }
        let last_time = last_time(partition, base, end)?;
        if last_time >= appended_before_micros {
            break;
        }
        if partition.head()? == end {
            note_last_time(&partition.dir, last_time)?;
        }
        // Readers are told "deleted" from here on; those that have the file open finish.
        partition.forget_oldest();
        let path = files::base_path(&partition.dir, base, files::SEGMENT);
        let bytes = fs::metadata(&path).map_err(LogError::io("look at", &path))?.len();
        for extension in [files::SEGMENT, files::INDEX, files::TIME_INDEX] {
            files::remove_if_there(&files::base_path(&partition.dir, base, extension))?;
        }
        let (source, number) = (partition.source.clone(), partition.partition);
        let whole = gone.get_or_insert(Deleted { source, partition: number, from: base, to: end, bytes: 0 });
        (whole.to, whole.bytes) = (end, whole.bytes + bytes);
    }
    if let Some(gone) = gone {
        files::sync_dir(&partition.dir)?;
        deleted.push(gone);
    }
    Ok(())
}

fn last_time_path(dir: &Path) -> PathBuf {
    dir.join("lasttime")
}

fn note_last_time(dir: &Path, micros: i64) -> Result<()> {
    let bytes = micros.to_le_bytes();
    files::create_whole(&last_time_path(dir), &[&bytes[..], &crc32c::crc32c(&bytes).to_le_bytes()].concat())?;
    files::sync_dir(dir)
}

/// The append time that no later one of the partition may be less than, as far as retention has noted one.
pub(crate) fn noted_last_time(dir: &Path) -> Result<i64> {
    let path = last_time_path(dir);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(i64::MIN),
        Err(error) => return Err(LogError::io("read", &path)(error)),
    };
    match bytes.split_first_chunk::<8>() {
        Some((micros, crc)) if crc == crc32c::crc32c(micros).to_le_bytes() => Ok(i64::from_le_bytes(*micros)),
        _ => Err(LogError::damaged(&path, 0, "it is not what was written")),
    }
}

/// The last append time in a sealed segment.
fn last_time(partition: &Partition, base: u64, end: u64) -> Result<i64> {
    let path = files::base_path(&partition.dir, base, files::SEGMENT);
    let bytes = fs::metadata(&path).map_err(LogError::io("look at", &path))?.len();
    if let Some(summary) = Summary::load(&partition.dir, base, bytes)? {
        return Ok(summary.last_time);
    }
    let segment = Segment::open(&partition.dir, base, &partition.source, partition.partition, false, false)?;
    segment.last_time(end)
}
