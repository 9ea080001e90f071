//! Sources on disk: creating one, and finding those that are there.

use std::path::Path;
use std::sync::Arc;

use crate::files::Disk;
use crate::format::{SEGMENT_HEADER_BYTES, decode_source, encode_source};
use crate::head::HeadFile;
use crate::known::Known;
use crate::partition::Partition;
use crate::partition_writer::{PartitionWriter, create_segment};
use crate::places::RecentPlaces;
use crate::{LogError, Result, files};

pub(crate) const SOURCE_FILE: &str = "source";
const PARTITIONS_MAX: u32 = 4096;

/// Checks the arguments of a source's creation.
pub(crate) fn check(name: &str, partitions: u32) -> Result<()> {
    files::check_source_name(name)?;
    if !(1..=PARTITIONS_MAX).contains(&partitions) {
        let reason = format!("{partitions} is not between 1 and {PARTITIONS_MAX}");
        return Err(LogError::Invalid { what: "the number of partitions", reason });
    }
    Ok(())
}

/// Creates a source that does not exist. Its `source` file comes last: what an attempt before it left half made is replaced.
pub(crate) fn create(
    disk: &Disk,
    log_dir: &Path,
    name: &str,
    partitions: u32,
    now_micros: i64,
) -> Result<Vec<PartitionWriter>> {
    check(name, partitions)?;
    let dir = log_dir.join(name);
    refuse_headless(disk, &dir)?;
    files::create_dir(disk, &dir)?;
    let mut writers = Vec::with_capacity(partitions as usize);
    for partition in 0..partitions {
        let dir = dir.join(partition.to_string());
        files::create_dir(disk, &dir)?;
        let active = Arc::new(create_segment(disk, &dir, name, partition, 0, now_micros, &Known::default())?);
        let head_file = HeadFile::create(disk, &dir, 0)?;
        files::sync_dir(disk, &dir)?;
        let (disk, source) = (disk.clone(), name.to_owned());
        writers.push(PartitionWriter {
            shared: Arc::new(Partition::written_here(disk, source, partition, dir, vec![0], active.clone(), 0)),
            active,
            head_file,
            next_offset: 0,
            durable_offset: 0,
            last_time_micros: i64::MIN,
            pending: Default::default(),
            reserved: 0,
            recent: RecentPlaces::of(partitions),
        });
    }
    // Where the file is after a power failure, the partitions are.
    files::sync_dir(disk, &dir)?;
    files::create_whole(disk, &dir.join(SOURCE_FILE), &encode_source(name, partitions))?;
    files::sync_dir(disk, &dir)?;
    files::sync_dir(disk, log_dir)?;
    Ok(writers)
}

/// The sources in a log's directory, with their numbers of partitions.
pub(crate) fn list(disk: &Disk, log_dir: &Path) -> Result<Vec<(String, u32)>> {
    let mut found = Vec::new();
    for name in files::list(disk, log_dir)? {
        if files::check_source_name(&name).is_ok() && files::is_dir(disk, &log_dir.join(&name))? {
            found.extend(partitions(disk, log_dir, &name)?.map(|partitions| (name, partitions)));
        }
    }
    found.sort();
    Ok(found)
}

/// The number of partitions of a source, or `None` if it does not exist.
pub(crate) fn partitions(disk: &Disk, log_dir: &Path, name: &str) -> Result<Option<u32>> {
    files::check_source_name(name)?;
    let path = log_dir.join(name).join(SOURCE_FILE);
    files::read(disk, &path)?.map(|bytes| decode_source(&path, name, &bytes)).transpose()
}

/// A directory with records but without its `source` file is damage, not a half-made source.
pub(crate) fn refuse_headless(disk: &Disk, dir: &Path) -> Result<()> {
    let path = dir.join(SOURCE_FILE);
    if files::exists(disk, &path)? || !files::is_dir(disk, dir)? {
        return Ok(());
    }
    for partition in files::list(disk, dir)? {
        let partition_dir = dir.join(partition);
        if !files::is_dir(disk, &partition_dir)? {
            continue;
        }
        for base in files::list_bases(disk, &partition_dir, files::SEGMENT)? {
            let segment = files::base_path(&partition_dir, base, files::SEGMENT);
            if base > 0 || files::size(disk, &segment)? > SEGMENT_HEADER_BYTES as u64 {
                return Err(LogError::damaged(&path, 0, "the file is missing, but the source has records"));
            }
        }
    }
    Ok(())
}
