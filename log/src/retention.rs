//! Deleting sealed segments, oldest first.
//!
//! Append times of a partition never decrease, also when no record is left to tell the last one. So before the last record is
//! deleted, its append time is written to a file of its own, `lasttime`: 8 bytes of microseconds (little-endian), then their
//! CRC-32C.

use std::path::{Path, PathBuf};

use crate::files::Disk;
use crate::index::Summary;
use crate::partition::Partition;
use crate::segment::Segment;
use crate::{Deleted, LogError, OpenMode, Position, Result, files};

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
            note_last_time(&partition.disk, &partition.dir, last_time)?;
        }
        let path = files::base_path(&partition.dir, base, files::SEGMENT);
        let bytes = files::size(&partition.disk, &path)?;
        // After a power failure an older segment must not be back where a younger one is gone: that would be a hole.
        files::sync_dir(&partition.disk, &partition.dir)?;
        // Readers are told "deleted" from here on; those that have the file open finish.
        partition.forget_oldest();
        if let Err(error) = files::remove_if_there(&partition.disk, &path) {
            if files::exists(&partition.disk, &path)? {
                partition.remember_oldest(base);
            }
            return Err(error);
        }
        for extension in [files::INDEX, files::TIME_INDEX] {
            files::remove_if_there(&partition.disk, &files::base_path(&partition.dir, base, extension))?;
        }
        let (source, number) = (partition.source.clone(), partition.partition);
        let whole = gone.get_or_insert(Deleted { source, partition: number, from: base, to: end, bytes: 0 });
        (whole.to, whole.bytes) = (end, whole.bytes + bytes);
    }
    if let Some(gone) = gone {
        files::sync_dir(&partition.disk, &partition.dir)?;
        deleted.push(gone);
    }
    Ok(())
}

pub(crate) fn last_time_path(dir: &Path) -> PathBuf {
    dir.join("lasttime")
}

pub(crate) fn note_last_time(disk: &Disk, dir: &Path, micros: i64) -> Result<()> {
    let bytes = micros.to_le_bytes();
    files::create_whole(disk, &last_time_path(dir), &[&bytes[..], &crc32c::crc32c(&bytes).to_le_bytes()].concat())?;
    files::sync_dir(disk, dir)
}

/// The append time that no later one of the partition may be less than, if retention has noted one.
pub(crate) fn noted_last_time(disk: &Disk, dir: &Path) -> Result<Option<i64>> {
    let path = last_time_path(dir);
    let Some(bytes) = files::read(disk, &path)? else { return Ok(None) };
    match bytes.split_first_chunk::<8>() {
        Some((micros, crc)) if crc == crc32c::crc32c(micros).to_le_bytes() => Ok(Some(i64::from_le_bytes(*micros))),
        _ => Err(LogError::damaged(&path, 0, "it is not what was written")),
    }
}

/// The last append time in a sealed segment.
fn last_time(partition: &Partition, base: u64, end: u64) -> Result<i64> {
    let Partition { disk, dir, source, partition, .. } = partition;
    let segment = Segment::open(disk, dir, base, source, *partition, false, OpenMode::Read)?;
    if let Some(summary) = Summary::load(disk, dir, base, segment.file_bytes()?, segment.salt)? {
        return Ok(summary.last_time);
    }
    segment.last_time(end)
}
