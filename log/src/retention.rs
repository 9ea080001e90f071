//! Deleting sealed segments, oldest first.

use std::fs;

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
        if end > keep_from || last_time(partition, base, end)? >= appended_before_micros {
            break;
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
